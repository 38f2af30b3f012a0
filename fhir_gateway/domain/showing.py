"""Which of the views of a person somebody is shown: all, how to reach them, or not where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from .merged import as_one
from .person import bears_protection
from .rendering import PEOPLE
from .rules import Live, rules_for
from .standing import Standing, is_self
from .types import CONTACT, PLACES, PRACTICE, VIEW, Ask, Cut, Facts, Has, Never, Predicate
from .vocabulary import IDENTITY, SECTOR_SYSTEM

NOTHING: Final[Predicate] = Never()
CONTACT_VIEW: Final = "VIEW-CONTACT"
LOCATION_VIEW: Final = "VIEW-LOCATION-PROTECTED"
CARE: Final = ("health", "social-care")
VIEW_BITS: Final[Mapping[str, int]] = {CONTACT_VIEW: CONTACT, LOCATION_VIEW: PLACES}
NO_OBLIGATIONS: Final[frozenset[str]] = frozenset()


def shown_as(ask: Ask, type: str, standing: Standing, standings: Mapping[str, Standing]) -> frozenset[str]:
    """Obligations to show less of a person: to those outside health and social care how to reach them and no more, and to nobody
    where somebody at risk is, unless a permit opens the identity details (to a named recipient, of somebody at risk)."""
    a = ask.actor
    contact = type in PEOPLE and a.sector not in CARE and a.kind in ("professional", "system")
    if not (contact or standing.at_risk) or (a.kind == "patient" and is_self(a, standing)):
        return NO_OBLIGATIONS
    trees = rules_for(replace(ask, action="access"), standing, standings).trees
    open_to = [w for tree in trees if not (tree.only_denies or tree.closed) for w in _identity(tree.root)]
    out = {CONTACT_VIEW} if contact and not open_to else set()
    if standing.at_risk and not any(open_to):
        out.add(LOCATION_VIEW)
    return frozenset(out)


def owed(ask: Ask, facts: Facts, standing: Standing, standings: Mapping[str, Standing]) -> frozenset[str]:
    """`shown_as`, and of a RelatedPerson who is at risk themselves nothing of where they are: the person's permits do not open that."""
    duties = shown_as(ask, facts.type, standing, standings)
    own = facts.type == "RelatedPerson" and bears_protection(facts) and not (ask.actor.kind == "patient" and is_self(ask.actor, standing))
    return duties | {LOCATION_VIEW} if own else duties


def _identity(node: Live) -> Iterator[bool]:
    """The permits in force for this asker that open the identity details: does each name who receives them."""
    if node.rule.type == "permit" and node.allowed and IDENTITY in node.rule.profiles:
        yield any(not w.startswith(SECTOR_SYSTEM) for w in node.rule.who)
    for child in node.rules:
        yield from _identity(child)


def views(ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> Cut:
    """What a filtered reader gets of this resource: the view, and which narrower one."""
    here = [as_one(standings[p], standings) for p in facts.patients if p in standings]
    found = [(s, shown_as(ask, "Patient", s, standings)) for s in here]  # any type may contain a Patient
    hidden = frozenset[str]().union(*(_practice(ask, s, duties) for s, duties in found))
    duties = frozenset[str]().union(*(d for _, d in found))
    return Cut(VIEW | sum(VIEW_BITS[duty] for duty in duties) | (PRACTICE if hidden else 0), hidden)


def _practice(ask: Ask, standing: Standing, duties: frozenset[str]) -> frozenset[str]:
    """The names of the practice that this asker is not shown: those who work there know it, and find their own work by it. Who works at
    one of several, of merged records, is shown none: the other may be where the person went to be safe."""
    known = all(not names.isdisjoint(ask.actor.ids) for names in standing.practices or {standing.practice})
    return standing.practice if LOCATION_VIEW in duties and not known else NO_OBLIGATIONS


def narrowed(ask: Ask, standings: Mapping[str, Standing]) -> tuple[Predicate, Predicate, Predicate]:
    """The same for a search: of which resources this reader gets the contact view, the location-protected one, and that without the practice."""
    known = {p: as_one(s, standings) for p, s in standings.items()}
    said = {p: shown_as(ask, "Patient", s, standings) for p, s in known.items()}
    contact = frozenset(p for p, duties in said.items() if CONTACT_VIEW in duties)
    places = frozenset(p for p, duties in said.items() if LOCATION_VIEW in duties)
    practice = frozenset(p for p, duties in said.items() if _practice(ask, known[p], duties))
    return (
        Has("patient", contact) if contact else NOTHING,
        Has("patient", places) if places else NOTHING,
        Has("patient", practice) if practice else NOTHING,
    )
