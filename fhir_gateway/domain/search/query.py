"""What a search asks, as data. Stores render it; `matching` is what they are held to. https://hl7.org/fhir/R4/search.html"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Value:
    """One of the OR'd values of a parameter.

    `prefix` (eq ne gt lt ge le sa eb ap) and `low`/`high` for dates, numbers, quantities; `system` None = any system
    (token `code`), "" = no system (token `|code`); `text` folded for strings. `types`: what an id without a type
    (`subject=123`) may point to; () is anything. A composite's `text` is joined as its keys are; `exact` "*" means the
    text may go on (its last part is a string).
    """

    text: str = ""
    system: str | None = None
    exact: str = ""
    prefix: str = "eq"
    low: float | int | None = None
    high: float | int | None = None
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """One parameter: values are OR'd; terms of a query are AND'd."""

    name: str
    kind: str  # token string reference date number quantity uri composite special
    modifier: str = ""
    values: tuple[Value, ...] = ()
    chain: Query | None = None  # `subject:Patient.name=x`: this reference must point to a match of `chain`
    has: tuple[str, str] | None = None  # `_has:Goal:patient:…`: (referring type, its reference parameter), `chain` = the rest
    any: tuple[Query, ...] = ()  # the resource itself must match one of these: a compartment, the parts a sign-in allows

    @property
    def key_name(self) -> str:
        """The name of the keys this looks at: `:identifier` and `:of-type` have keys of their own."""
        return f"{self.name}:{self.modifier}" if self.modifier in ("identifier", "of-type") else self.name


@dataclass(frozen=True, slots=True)
class Include:
    source: str
    name: str  # or "*"
    target: str = ""
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search. `types` has one entry except for searches over several types; () is every type."""

    types: tuple[str, ...]
    terms: tuple[Term, ...] = ()
    includes: tuple[Include, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()  # (parameter, descending)
    count: int | None = None
    total: str = "none"  # none, estimate, accurate
    summary: str = ""
    elements: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # ignored parameters, absent from the self link
    used: tuple[tuple[str, str], ...] = ()  # what goes into the self link


def with_terms(query: Query, more: tuple[Term, ...]) -> Query:
    """The same search with further terms."""
    return replace(query, terms=query.terms + more)
