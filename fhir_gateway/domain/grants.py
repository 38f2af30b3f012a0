"""The nouns of consent: a Grant is one Consent as a tree of Rules. `provisions` reads it from FHIR; consent.md 1.3 to 1.6."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .periods import covers
from .vocabulary import PURPOSES

Verdict = Literal["permit", "deny", ""]
SHARED: Final = frozenset({"access", "disclose", "use"})  # what a rule without `action` speaks of: not collect, not correct
IGNORED_SCOPES: Final = frozenset({"treatment", "adr"})
RESEARCH: Final = PURPOSES["HRESCH"] | PURPOSES["CLINTRL"]


@dataclass(frozen=True, slots=True)
class Labels:
    """A rule's securityLabel: the highest level a permit reaches (the lowest a deny hits), sensitivities, legal restrictions.

    `sensitivity` is closed downwards: a set's own members are in it.
    """

    level: int | None = None
    sensitivity: frozenset[str] = frozenset()
    legal: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """One provision. Empty sets and None mean "not said". `who` and `custodians` are references or `system|value`.

    `purposes` is closed downwards for this rule's type, as `system|code`; `said` holds the purposes as written.
    `what` is False when nothing limits which resources it speaks of.
    """

    type: Verdict
    path: str
    id: str = ""
    who: frozenset[str] = frozenset()
    said: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    low: int | None = None
    high: int | None = None
    actions: frozenset[str] = frozenset()
    env: frozenset[str] = frozenset()
    labels: Labels | None = None
    types: frozenset[str] = frozenset()
    profiles: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    data_low: int | None = None
    data_high: int | None = None
    dated: bool = False
    instances: frozenset[str] = frozenset()
    related: frozenset[str] = frozenset()
    authored: frozenset[str] = frozenset()
    custodians: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    what: bool = False
    rules: tuple[Rule, ...] = ()

    def count(self) -> int:
        """This rule and all below it."""
        return 1 + sum(rule.count() for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Grant:
    """One Consent as rules. `proxy` is the legal basis when it makes somebody a proxy, else empty."""

    id: str
    version: int
    status: str
    root: Rule
    scope: str = "patient-privacy"
    proxy: str = ""
    patient: str | None = None
    under: frozenset[str] = frozenset()  # what its `policy.uri` quote (`groups.quoting`): a yes under an agreement on sharing opens to that agreement's partners alone

    def speaks(self) -> bool:
        """Is it a consent about sharing that is in a state to have any effect."""
        return self.status == "active" and self.scope not in IGNORED_SCOPES

    def in_force(self, at: int) -> bool:
        return self.speaks() and covers(self.root.low, self.root.high, at)


def walk(rule: Rule) -> Iterator[Rule]:
    """A rule and all below it."""
    yield rule
    for child in rule.rules:
        yield from walk(child)


def names(grant: Grant) -> frozenset[str]:
    """Everybody a consent names; `*` when some permit in it is open to anyone."""
    out = frozenset().union(*(r.who for r in walk(grant.root)))
    return out | {"*"} if _open(grant.root) else out


def _open(rule: Rule) -> bool:
    if rule.who:
        return False
    return rule.type == "permit" or any(_open(r) for r in rule.rules)
