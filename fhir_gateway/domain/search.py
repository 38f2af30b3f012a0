"""Query string to Query, resource to index keys, and `matches(query, resource)`: the executable specification of search.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """One of the OR'd values of a parameter.

    `prefix` (eq ne gt lt ge le sa eb ap) and `low`/`high` for dates, numbers, quantities; `system` None = any system
    (token `code`), "" = no system (token `|code`); `text` folded for strings.
    """

    text: str = ""
    system: str | None = None
    exact: str = ""
    prefix: str = "eq"
    low: float | int | None = None
    high: float | int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One parameter: values are OR'd; terms of a query are AND'd."""

    name: str
    kind: str  # token string reference date number quantity uri composite special
    modifier: str = ""
    values: tuple[Value, ...] = ()
    chain: Query | None = None  # `subject:Patient.name=x`: this reference must point to a match of `chain`
    has: tuple[str, str] | None = None  # `_has:Goal:patient:…`: (referring type, its reference parameter), `chain` = the rest


@dataclass(frozen=True, slots=True)
class Include:
    source: str
    name: str  # or "*"
    target: str = ""
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search. `types` has one entry except for searches over several types."""

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
