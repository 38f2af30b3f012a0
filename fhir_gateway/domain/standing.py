"""What is known about one person now: their consents, who looks after them, who is invited, links, death.

Nothing here reads a clock. Periods are kept and judged at the instant of the question; `next_change` says when an answer may
turn without anything being written. The paragraph "A legitimate relationship exists now if …" of consent.md is `relationship`. `building` makes
a Standing out of the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from .descendants import Descendants
from .grants import Grant, Rule, walk
from .periods import FOR_EVER, LONDON, covers, instant, micros
from .types import Actor, BreakGlass
from .vocabulary import ACT_REASON, IMPLICIT_POLICIES, IMPLIED_PURPOSES, UK_DIRECT_CARE

STANDING_TYPES: Final = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient", "RelatedPerson"})
ACCEPTED: Final = frozenset({"accepted", "ready", "in-progress", "on-hold"})  # Task.status: taken on and still open
OPEN: Final = ACCEPTED | {"requested", "received", "draft"}
CONFIRMED: Final = ACCEPTED | {"completed"}  # of a Task that asks "are you in this team?"
MEMO: Final = 128  # askers remembered with one standing
_FOR_CARE: Final = frozenset(f"{ACT_REASON}|{p}" for p in IMPLIED_PURPOSES)
FACTS: Final = "https://fhir-gateway.example/StructureDefinition/"  # extensions an operator keeps on a Patient


# -- what is known ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds where a person has said nothing (consent.md 1.9), set by the deployment.

    `break_glass`: "override" lets an emergency through, "consent-only" does not unless a consent permits it.
    `urgent_care`: references or identifiers of organisations registered as urgent care.
    `descendants`: what a deny by a code covers besides it.
    """

    implicit: str = UK_DIRECT_CARE
    break_glass: str = "override"
    urgent_care: frozenset[str] = frozenset()
    descendants: Descendants = Descendants()  # noqa: RUF009 - it never changes

    def __post_init__(self) -> None:
        if self.implicit != UK_DIRECT_CARE and self.implicit not in IMPLICIT_POLICIES:
            raise ValueError(f"`{self.implicit}` is not a policy: {UK_DIRECT_CARE}, {', '.join(sorted(IMPLICIT_POLICIES))}")
        if self.break_glass not in ("override", "consent-only"):
            raise ValueError(f"`{self.break_glass}` is not a way to break the glass: override, consent-only")

    def said(self) -> tuple[object, ...]:
        """All of it in a few words, to tell when it has changed."""
        return self.implicit, self.break_glass, self.urgent_care, self.descendants.digest


@dataclass(frozen=True, slots=True)
class Relationship:
    """Somebody looks after this person: `names` from `low` to `high` (microseconds, inclusive, None open).

    `origin`: team, practitioner, task, referral, claim. `source` is the record that says so, `writer` who wrote it there.
    `counts` is False until everything the paragraph asks for is true, `why` then says what is missing.
    `consent_needed`: the owner is no health or social care organisation, so it counts while the person's consent names them.
    `team` is the CareTeam of a member, by whose name they may also be granted. `place`, where it is not empty: only for who asks by one of
    these names, too (for whom a member came in by a referral).
    """

    names: frozenset[str]
    origin: str
    source: str
    low: int | None = None
    high: int | None = None
    writer: str = ""
    writer_organisation: str | None = None
    counts: bool = True
    why: str = ""
    consent_needed: bool = False
    team: str = ""
    reason: str = ""
    place: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open Task or ServiceRequest: its named owner may read that one resource."""

    ref: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Broken:
    """A consent that is in a state to have effect but cannot be computed."""

    id: str
    version: int
    where: str
    why: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Another record of the same person, as an operator wrote it. `merged` (replaces/replaced-by) joins consents; others only deny.

    `shut`: it leads there by a Patient that is deleted: what closes there closes here, and nothing there opens anything here."""

    other: str
    merged: bool
    shut: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about one person. `age` wins over `born` where both are given; `died` is the last instant they may have lived."""

    patient: str
    grants: tuple[Grant, ...] = ()
    broken: tuple[Broken, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    invitations: tuple[Invitation, ...] = ()
    links: tuple[Link, ...] = ()
    died: int | None = None
    ndoo: bool = False
    capacity_lost: bool = False
    born: tuple[int, int] | None = None
    age: int | None = None
    safeguarding: frozenset[str] = frozenset()  # proxies whose role is suspended at once
    no_notify: bool = False  # telling the person would endanger them
    at_risk: bool = False  # nobody is shown where they are
    practice: frozenset[str] = frozenset()  # of somebody at risk: what their practice, and who works there, is called (`practice`)
    practices: frozenset[frozenset[str]] = frozenset()  # the same of each of several merged records
    groups: tuple[Relationship, ...] = ()  # memberships that only give a further name (`team`)
    emergencies: tuple[BreakGlass, ...] = ()  # accesses in an emergency to this person's record, each of one actor
    policy: Policy = field(default_factory=Policy)
    gone: bool = False  # their Patient is deleted: what opens and stood in it counts no more
    memo: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)  # of `consent.decide`
    asks_referrers: bool = field(init=False, compare=False, repr=False)  # some rule speaks of what is one hop away

    def __post_init__(self) -> None:
        object.__setattr__(self, "asks_referrers", any(r.related for g in self.grants for r in walk(g.root)))

    @property
    def also(self) -> frozenset[str]:
        """Other people's standings that a decision about this one needs (links)."""
        return frozenset(link.other for link in self.links)

    def next_edge(self, at: int) -> int | None:
        """`next_change` in microseconds, remembered until it has passed."""
        since, edge = self.memo.get("edge") or (at + 1, None)
        if at < since or (edge is not None and at >= edge):
            edge = next_edge(self, at)
            self.memo["edge"] = (at, edge)
        return edge

    def next_change(self, at: datetime) -> datetime | None:
        """The next instant when a period begins or ends, or a child turns 16."""
        edge = next_edge(self, micros(at))
        return None if edge is None else instant(edge)


# -- the question -----------------------------------------------------------------------------------------------------


def relationship(standing: Standing, actor: Actor, at: datetime) -> Relationship | None:
    """The legitimate relationship that exists now, or None. Of several the first by source."""
    return related(standing, actor, micros(at))


def related(standing: Standing, actor: Actor, at: int) -> Relationship | None:
    for r in standing.relationships:
        if _holds(standing, r, actor, at) and _before_death(standing, r):
            return r
    return None


def _holds(standing: Standing, r: Relationship, actor: Actor, at: int) -> bool:
    if not r.counts or r.names.isdisjoint(actor.opening) or not covers(r.low, r.high, at):
        return False
    if r.place and r.place.isdisjoint(actor.opening):
        return False
    if r.consent_needed and not consented(standing, r.names, at, actor.apart):
        return False
    if r.origin == "claim":  # by one's own word, for the organisation one said it for; in the voluntary sector it counts for nothing
        here = r.writer_organisation is None or r.writer_organisation in actor.ids
        return here and actor.sector in ("health", "social-care")
    return not own_hand(r, actor)


def in_team(standing: Standing, actor: Actor, at: int, called: frozenset[str]) -> bool:
    """Is this asker, by one of these names of theirs, a member of a team of the person now: asked in, confirmed, and not by their own hand."""
    return any(
        r.origin == "team" and not r.names.isdisjoint(called) and _holds(standing, r, actor, at) and _before_death(standing, r)
        for r in standing.relationships
    )


def own_hand(r: Relationship, actor: Actor) -> bool:
    """Did the asker, or their organisation, write this themselves. It never counts for them."""
    if r.writer and (r.writer == actor.user or r.writer in actor.ids):
        return True
    return r.writer_organisation is not None and r.writer_organisation in actor.ids


def _before_death(standing: Standing, r: Relationship) -> bool:
    """After a death only the team of record keeps its relationship."""
    return standing.died is None or (r.low is not None and r.low <= standing.died) or r.low is None


def consented(standing: Standing, names: frozenset[str], at: int, apart: frozenset[str] = frozenset()) -> bool:
    """Does a permit of the person's own, in force now, name one of them: to see, for direct care, and more than single things. Not one
    under an agreement on sharing of which they are no partner (`apart`)."""
    return any(g.in_force(at) and not g.proxy and g.under.isdisjoint(apart) and _lets_see(g.root, names, at) for g in standing.grants)


def _lets_see(rule: Rule, names: frozenset[str], at: int) -> bool:
    if not covers(rule.low, rule.high, at) or (rule.actions and "access" not in rule.actions) or (rule.purposes and rule.purposes.isdisjoint(_FOR_CARE)):
        return False
    single = rule.instances or rule.related or rule.authored
    if rule.type == "permit" and not single and not rule.who.isdisjoint(names):
        return True
    return any(_lets_see(r, names, at) for r in rule.rules)


def team_names(standing: Standing, actor: Actor, at: int, of: frozenset[str] | None = None) -> frozenset[str]:
    """Teams and groups of this person's record that the asker belongs to now, by all of their names or by `of`: further names of
    theirs, for this person only."""
    ids = actor.ids if of is None else of
    out = {g.team for g in standing.groups if covers(g.low, g.high, at) and not g.names.isdisjoint(ids)}
    for r in standing.relationships:
        here = not r.place or not r.place.isdisjoint(ids)
        if r.team and r.counts and covers(r.low, r.high, at) and here and not r.names.isdisjoint(ids) and not own_hand(r, actor):
            out.add(r.team)
    return frozenset(out)


def is_self(actor: Actor, standing: Standing) -> bool:
    """Is this the person, by this record or one that an operator merged with it."""
    mine = actor.patient
    return mine is not None and (mine == standing.patient or any(k.merged and not k.shut and k.other == mine for k in standing.links))


def invited(standing: Standing, names: frozenset[str]) -> frozenset[str]:
    """`Type/id` of the open Tasks and referrals that name the asker."""
    return frozenset(i.ref for i in standing.invitations if not i.names.isdisjoint(names))


def named_by(reference: Any) -> frozenset[str]:
    """Whom a Reference names: its target here, else its logical identifier. Never both: they could be two."""
    if not isinstance(reference, dict):
        return frozenset()
    target, identifier = reference.get("reference") or "", reference.get("identifier") or {}
    if target and ":" not in target and not target.startswith("#"):
        return frozenset({target.split("/_history/", 1)[0]})
    if identifier.get("value") and identifier.get("system"):
        return frozenset({f"{identifier['system']}|{identifier['value']}"})
    return frozenset()


# -- when an answer may turn ------------------------------------------------------------------------------------------


def next_edge(standing: Standing, at: int) -> int | None:
    return min((e for e in _edges(standing) if e > at), default=None)


def _edges(s: Standing) -> Iterator[int]:
    spans: list[tuple[int | None, int | None]] = [(r.low, r.high) for r in (*s.relationships, *s.groups)]
    spans += [(b.low, b.high) for b in s.broken]
    spans += [(r.low, r.high) for g in s.grants if g.speaks() for r in walk(g.root)]
    for low, high in spans:
        if low is not None:
            yield low
        if high is not None:
            yield high + 1
    yield from (micros(e.expires) + 1 for e in s.emergencies)
    if s.born is not None:
        yield birthday(s.born[0], 16)


def birthday(born: int, years: int) -> int:
    """The instant a person turns this old, in London."""
    day = instant(born).astimezone(LONDON)
    if day.year + years > 9999:
        return FOR_EVER
    try:
        return micros(day.replace(year=day.year + years))
    except ValueError:  # 29 February
        return micros(day.replace(year=day.year + years, month=3, day=1))


def age_at(standing: Standing, at: int) -> int | None:
    if standing.age is not None:
        return standing.age
    if standing.born is None:
        return None
    return 16 if at >= birthday(standing.born[0], 16) else 15
