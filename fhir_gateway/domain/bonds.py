"""Who an asker is to one person, as the second engine works it out: names, relationship, invitations, what is in force, when that turns.

`reach` asks here, `consent.decide` asks `standing` and `periods`. The two read the same records and share no code, so that a
mistake in one is seen by the other (consent.md section 3); `tests/test_two_engines.py` holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from .grants import IGNORED_SCOPES, RESEARCH, Grant, Rule
from .periods import EPOCH, LONDON, MICRO
from .standing import Relationship, Standing
from .types import Actor
from .vocabulary import ACT_REASON, NOT_TREATMENT, PURPOSES

Span = tuple[int | None, int | None]


def during(span: Span, at: int) -> bool:
    """Is this instant between the two, both included; None is open."""
    first, last = span
    return not ((first is not None and at < first) or (last is not None and at > last))


def alive(grant: Grant, at: int) -> bool:
    """Is this consent in force: active, about sharing, its root period not over (1.4)."""
    dead = grant.status != "active" or grant.scope in IGNORED_SCOPES
    return not dead and during((grant.root.low, grant.root.high), at)


def serves(rule: Rule, asked: str) -> bool:
    """Does the rule speak of this purpose (`system|code`), by v3-ActReason is-a; a permit of TREAT never of population health (1.3)."""
    if not rule.said:
        research = bool(rule.purposes)
        return not research or asked in {f"{ACT_REASON}|{c}" for c in RESEARCH}
    return any(asked == said or ((asked, said) in _NARROWER and not _out_of(rule, asked, said)) for said in rule.said)


_NARROWER = frozenset((f"{ACT_REASON}|{c}", f"{ACT_REASON}|{wider}") for wider, below in PURPOSES.items() for c in below)
_CARE = tuple(f"{ACT_REASON}|{c}" for c in ("TREAT", "ETREAT", "ERTREAT", "COC", "CAREMGT"))  # what the default is for
_NO_CARE = frozenset(f"{ACT_REASON}|{c}" for c in NOT_TREATMENT)


def _out_of(rule: Rule, asked: str, said: str) -> bool:
    return rule.type != "deny" and said == f"{ACT_REASON}|TREAT" and asked in _NO_CARE


# -- who the asker is -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whole:
    """One person by all records that operators say are theirs: what ends access in any of them ends it here.

    `heard`: each record whose consents count, None where it is not at hand, with False for one that only says no.
    """

    records: frozenset[str]
    joined: frozenset[str]  # those of them whose consents open, too: no Patient on the way there is deleted
    heard: tuple[tuple[Standing | None, bool], ...]
    died: int | None
    opted_out: bool
    suspended: frozenset[str]
    grown: bool  # a merged record says that they are 16 or older


def person_of(standing: Standing, standings: Mapping[str, Standing], at: int) -> Whole:
    """From this record along every merge, from record to record; what is linked in another way ends there, and its consents only say no."""
    records, joined = {standing.patient}, {standing.patient}
    at_hand = {**standings, standing.patient: standing}
    grew = -1
    while grew != len(records) + len(joined):
        grew = len(records) + len(joined)
        for one in [at_hand[r] for r in records if r in at_hand]:
            records |= {k.other for k in one.links if k.merged}
            if one.patient in joined and not one.gone:
                joined |= {k.other for k in one.links if k.merged and not k.shut}
    ours = [at_hand[r] for r in records if r in at_hand]
    unsure = {k.other for one in ours for k in one.links} - records
    full = [(at_hand.get(r), r in joined) for r in sorted(records)]
    every = full + [(at_hand.get(r), False) for r in sorted(unsure)]
    dead = sorted(one.died for one in ours if one.died is not None)
    return Whole(
        frozenset(records), frozenset(joined), tuple(every), dead[0] if dead else None, any(one.ndoo for one in ours),
        frozenset(name for one in ours for name in one.safeguarding),
        any(_grew_up(one, standing, at) for one in ours),
    )  # fmt: skip


def names(standing: Standing, actor: Actor, at: int, of: frozenset[str]) -> set[str]:
    """Every name of the asker for this person: their own (`of`), and those of the person's teams and groups they belong to now."""
    out = set(of)
    for group in standing.groups:
        if of & group.names and during((group.low, group.high), at):
            out.add(group.team)
    for r in standing.relationships:
        elsewhere = bool(r.place) and not of & r.place
        if r.team and r.counts and not elsewhere and of & r.names and during((r.low, r.high), at) and not _by_themselves(r, actor):
            out.add(r.team)
    return out


def looks_after(standing: Standing, actor: Actor, at: int, died: int | None) -> bool:
    """Has the asker a legitimate relationship with this person now; after a death only one that began before."""
    return any(_ties(standing, r, actor, at, died) for r in standing.relationships)


def _ties(standing: Standing, r: Relationship, actor: Actor, at: int, died: int | None) -> bool:
    mine = actor.ids - actor.past
    if not (r.counts and mine & r.names) or (r.place and not mine & r.place):
        return False
    if r.origin == "claim":
        if actor.sector not in ("health", "social-care") or not {r.writer_organisation or ""} <= {*actor.ids, ""}:
            return False
    elif _by_themselves(r, actor):
        return False
    if died is not None and r.low is not None and r.low > died:
        return False
    return during((r.low, r.high), at) and (not r.consent_needed or _said_yes(standing, r.names, at, actor.apart))


def _by_themselves(r: Relationship, actor: Actor) -> bool:
    """It was written by the asker or by their organisation."""
    hands = {r.writer, r.writer_organisation or ""} - {""}
    return bool(hands & {*actor.ids, actor.user})


def _said_yes(standing: Standing, whom: frozenset[str], at: int, apart: frozenset[str]) -> bool:
    for grant in standing.grants:
        if grant.proxy or grant.under & apart or not alive(grant, at):
            continue
        waiting = [grant.root]
        while waiting:
            rule = waiting.pop()
            reads = not rule.actions or "access" in rule.actions
            if not (reads and during((rule.low, rule.high), at) and any(serves(rule, p) for p in _CARE)):
                continue
            if rule.type == "permit" and rule.who & whom and not (rule.instances | rule.related | rule.authored):
                return True
            waiting += rule.rules
    return False


def _rules(top: Rule) -> Iterator[Rule]:
    waiting = [top]
    while waiting:
        rule = waiting.pop()
        waiting += rule.rules
        yield rule


def invitations(standing: Standing, called: set[str]) -> set[str]:
    """`Type/id` of the open Tasks and referrals that are addressed to one of these names."""
    return {i.ref for i in standing.invitations if called & i.names}


def younger_than_16(standing: Standing, at: int) -> bool:
    """Only where the age is known; a birthday begins at midnight in London."""
    if standing.age is not None:
        return standing.age < 16
    if standing.born is None:
        return False
    return _years(standing.born[0], at) < 16


def _grew_up(other: Standing, own: Standing, at: int) -> bool:
    """Does another record of somebody say, in the way that this one tells their age, that they are 16 or older."""
    if own.age is not None:
        return other.age is not None and other.age >= 16
    return other.born is not None and _years(other.born[0], at) >= 16


def _years(born: int, at: int) -> int:
    then, now = _london(born), _london(at)
    return now.year - then.year - ((now.month, now.day) < (then.month, then.day))


def _london(at: int) -> datetime:
    return (EPOCH + at * MICRO).astimezone(LONDON)


def turns(standing: Standing, at: int) -> int | None:
    """The first instant after `at` when something here may begin or end without being written."""
    spans: list[Span] = [(r.low, r.high) for r in standing.relationships]
    spans += [(g.low, g.high) for g in standing.groups]
    spans += [(b.low, b.high) for b in standing.broken]
    for grant in standing.grants:
        spans += [(rule.low, rule.high) for rule in _rules(grant.root)]
    edges = [edge for low, high in spans for edge in (low, None if high is None else high + 1) if edge is not None and edge > at]
    if standing.born is not None and younger_than_16(standing, at):
        edges.append(_sixteenth(standing.born[0]))
    return min(edges, default=None)


def _sixteenth(born: int) -> int:
    day = _london(born)
    leap = day.month == 2 and day.day == 29
    then = day.replace(year=day.year + 16, month=3, day=1) if leap else day.replace(year=day.year + 16)
    return (then - EPOCH) // MICRO
