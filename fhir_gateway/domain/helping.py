"""Whoever takes a referral on for a plan is in the team of that plan while they do it: put in when they accept its Task, out when that is over.

A referral is for a plan that its `basedOn` names, and the team is the one that the plan names (`CarePlan.careTeam`). To be in it opens what the
person shares with the team and nothing else; the referral brings them in as if whoever referred had written their name there, and may only
where they could (`referring`). docs/referrals.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from .bundle import instant
from .directory import Directory
from .periods import bounds
from .periods import instant as moment
from .referrals import ENDED, request_of
from .referring import JUDGED, counts
from .relationships import JOINED, from_task, put_in
from .standing import ACCEPTED, OPEN, named_by, own_hand
from .types import Actor, Writer
from .versions import Version, since
from .vocabulary import OURS

KINDS: Final = ("Task", "ServiceRequest", "CarePlan", "CareTeam")
MEMBER: Final = f"{OURS}/StructureDefinition/plan-member"
MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
Chains = Mapping[str, Sequence[Version]]  # a person's KINDS as they will be, by reference, oldest version first


class Change(NamedTuple):
    """A team as it is to be; `by`: whose referral puts somebody in, None where somebody's time is over. They come in if each of `hands` sees the
    team and its `plan`, and may change the team, now."""

    team: str
    body: dict[str, Any]
    by: Writer | None = None
    plan: str = ""
    hands: tuple[Writer, ...] = ()


def concerns(now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> bool:
    """Is this Task of a referral (None: gone) taken on, or was it."""
    return any(t is not None and t.get("status") in ACCEPTED and bool(request_of(t)) for t in (now, before))


def loses(now: Mapping[str, Any] | None, before: Mapping[str, Any], element: str) -> bool:
    """Does this referral (None: gone) lead to a plan, this plan to a team, no more, by being over or by naming it no more."""

    def leads(body: Mapping[str, Any] | None) -> set[str]:
        return {n for r in body.get(element, ()) for n in named_by(r)} if body is not None and body.get("status") not in ENDED else set()

    return not leads(before) <= leads(now)


# -- out --------------------------------------------------------------------------------------------------------------


def out(chains: Chains, at: int) -> Change | None:
    """The first team in which somebody is still whom a Task brought in and brings in no more, without them."""
    for team in sorted(t for t in chains if t.startswith("CareTeam/")):
        late: dict[int, list[int]] = {}
        for n, user, task in _put_in(chains[team], at):
            last = _last(task, team, user, chains, at)
            if last is not None and _later(chains[team][-1].body["participant"][n], last):
                late.setdefault(last, []).append(n)
        for last, members in sorted(late.items())[:1]:
            return Change(team, _ended(chains[team][-1].body, members, last or at, at))
    return None


def _last(task: str, team: str, user: str, chains: Chains, at: int) -> int | None:
    """The last instant for which they are in this team, whom this Task brought in; None where nothing ends it."""
    chain = chains.get(task, ())
    if chain and _holds(chain, user) and any(w.team == team for w in _ways(chain, chains)):
        return _until(chain[-1].body)
    return None if _otherwise(task, team, user, chains) else at - MILLISECOND


def _holds(chain: Sequence[Version], user: str) -> bool:
    """Have they taken it on, and is it theirs still: with this owner, and open since."""
    owner = named_by(chain[-1].body.get("owner"))
    for v in reversed(chain):
        if v.body.get("status") not in ACCEPTED or named_by(v.body.get("owner")) != owner:
            return False
        if v.writer.user == user:
            return True
    return False


def _otherwise(task: str, team: str, user: str, chains: Chains) -> bool:
    """Does another Task that they have taken on bring them into this team: by the person's own word, or all of it by somebody who brought them
    in before. Only who said which team the plan has may be another, if it was so when they came."""
    joined = [v for v in chains[team] if v.writer.method == JOINED and _has(v.body, user)]
    by = {v.writer.user for v in joined} - {user}

    def trusted(version: Version, *, of_old: bool = False) -> bool:
        w = version.writer
        refers = w.may_refer and w.judged == JUDGED
        return w.kind == "patient" or (w.user in by and refers) or (of_old and w.user != user and any(version.at <= v.at for v in joined))

    for ref, chain in chains.items():
        if ref.startswith("Task/") and ref != task and _holds(chain, user):
            named = _named(chain)
            for way in _ways(chain, chains):
                if way.team == team and named is not None and all(map(trusted, (named, way.task, way.request))) and trusted(way.plan, of_old=True):
                    return True
    return False


def _put_in(chain: Sequence[Version], at: int) -> Iterator[tuple[int, str, str]]:
    """Which members of a team (by place in it) a referral put in and are not out yet, by the rule by which they count as that, and where another
    system wrote the same time to the second: with who that is, and by which Task, as it was said when they came."""
    for member, by in put_in(chain, SECOND):
        if by is not None and by.writer.method == JOINED and _later(chain[-1].body["participant"][member.place], at):
            mine = [p for p in by.body.get("participant", ()) if named_by(p.get("member")) == member.names]
            called = next((str(e.get("valueString")) for p in mine[-1:] for e in p.get("extension", ()) if e.get("url") == MEMBER), "")
            yield member.place, min(member.names), f"Task/{called.removeprefix('joined-').rpartition('-')[0]}"


def _ended(team: Mapping[str, Any], members: Sequence[int], last: int, at: int) -> dict[str, Any]:
    """`last` is the last instant of these members, to the millisecond, and not before they began; who has not begun is in it no more."""

    def over(p: Mapping[str, Any]) -> dict[str, Any]:
        return {**p, "period": {**p.get("period", {}), "end": instant(moment(max(last, _span(p)[0] or last)))}}

    found = ((n, p, (_span(p)[0] or last) > max(last, at)) for n, p in enumerate(team["participant"]))
    return {**team, "participant": [over(p) if n in members else p for n, p, future in found if n not in members or not future]}


# -- in ---------------------------------------------------------------------------------------------------------------


def into(task: str, chains: Chains, actor: Actor, directory: Directory, at: int) -> Iterator[Change]:
    """The teams that whoever just took this Task on comes into, with them in it. None where they come into none, or were brought in by this
    Task before: who was taken out of the team stays out until they are asked anew."""
    chain = chains[task]
    body, user = chain[-1].body, actor.user
    if actor.organisation not in directory.organisations:  # they are in it for where they work, and nowhere else
        return
    if actor.kind != "professional" or not user.startswith("Practitioner/") or chain[-1].writer.user != user or body.get("status") not in ACCEPTED:
        return
    asked = next(from_task(task, chain, directory, {task: user}), None)
    if asked is None or not asked.counts or own_hand(asked, actor) or asked.names.isdisjoint(actor.opening):
        return
    named = _named(chain)
    if named is None or (asked.high is not None and asked.high <= at):
        return
    for way in _ways(chain, chains):
        there = chains[way.team]
        open = since(there, lambda b: b.get("status") in ("active", None))
        hands = (named, way.task, way.request, way.plan)
        brought = all(_by_another(v, actor) and counts(v.writer, directory, v.at) for v in hands)
        before = any(v.writer.method == JOINED and v.at >= named.at and _has(v.body, user) for v in there)
        if brought and not before and open is not None and _by_another(open, actor):
            period = max(at, asked.low or at), asked.high
            by = replace(named.writer, method=JOINED, saw_all=False, client=None, contributor=False)
            joined = _joined(there[-1].body, task, actor, directory, way.what, period)
            yield Change(way.team, joined, by, way.of, tuple(v.writer for v in hands))


def _named(chain: Sequence[Version]) -> Version | None:
    """The version of a Task that asked its owner."""
    owner = named_by(chain[-1].body.get("owner"))
    return since(chain, lambda b: b.get("status") in OPEN and named_by(b.get("owner")) == owner)


class Way(NamedTuple):
    """From a Task to a team, each step with the version that said it: of which referral the Task is (`task`), for which plan that is
    (`request`), and which team the plan has (`plan`). `of` is that plan, `what` was asked for."""

    team: str
    of: str
    what: str
    task: Version
    request: Version
    plan: Version


def _ways(chain: Sequence[Version], chains: Chains) -> list[Way]:
    """Every way from this Task to a team: what is over leads nowhere, and what was brought back, by whoever brought it back."""
    ref = request_of(chain[-1].body)
    request, asks = chains.get(ref), since(chain, lambda b: request_of(b) == ref)
    if request is None or asks is None:
        return []
    code = request[-1].body.get("code") or {}
    what = str(code.get("text") or next((c.get("display") for c in code.get("coding", ()) if c.get("display")), ""))
    plans = [(p, by) for p, by in _linked(request, "basedOn") if p.startswith("CarePlan/") and p in chains]
    return [
        Way(team, p, what, asks, by, by_plan) for p, by in plans for team, by_plan in _linked(chains[p], "careTeam") if team.startswith("CareTeam/") and team in chains
    ]  # fmt: skip


def _linked(chain: Sequence[Version], element: str) -> list[tuple[str, Version]]:
    """What this element names now, of what is not over, and the version by which it came to."""
    found = [n for r in chain[-1].body.get(element, ()) for n in named_by(r)]
    first = ((n, since(chain, lambda b, n=n: b.get("status") not in ENDED and any(n in named_by(r) for r in b.get(element, ())))) for n in found)
    return [(n, v) for n, v in first if v is not None]


def _by_another(by: Version, actor: Actor) -> bool:
    """Is this the word of somebody else: neither they themselves nor their organisation wrote it."""
    w = by.writer
    return w.user != actor.user and (w.organisation is None or w.organisation not in actor.ids)


def _joined(team: Mapping[str, Any], task: str, actor: Actor, directory: Directory, what: str, span: tuple[int, int | None]) -> dict[str, Any]:
    period = {name: instant(moment(at)) for name, at in zip(("start", "end"), span, strict=True) if at is not None}
    place = directory.organisations.get(actor.organisation or "")
    name = directory.people.get(actor.user, ("", frozenset()))[0]
    others = team.get("participant", [])
    called = [  # by which a plan as a file knows them
        {"url": MEMBER, "valueString": f"joined-{task.split('/')[1]}-{len(others)}"},
        *([{"url": f"{OURS}/StructureDefinition/team-person", "valueReference": {"type": "Practitioner", "display": name}}] if name else []),
    ]
    one = {
        "extension": called,
        **({"role": [{"text": what}]} if what else {}), "member": {"reference": actor.user, **({"display": name} if name else {})},
        **({"onBehalfOf": {"reference": place.ref, **({"display": place.name} if place.name else {})}} if place else {}), "period": period,
    }  # fmt: skip
    return {**team, "participant": [*others, one]}


# -- times ------------------------------------------------------------------------------------------------------------


def _has(team: Mapping[str, Any], user: str) -> bool:
    return any(user in named_by(p.get("member")) for p in team.get("participant", ()))


def _until(task: Mapping[str, Any]) -> int | None:
    """The last instant of this Task's own time."""
    try:
        return bounds((task.get("restriction") or {}).get("period"))[1]
    except (ValueError, TypeError):
        return 0


def _later(participant: Mapping[str, Any], than: int) -> bool:
    high = _span(participant)[1]
    return high is None or high > than + MILLISECOND


def _span(participant: Mapping[str, Any]) -> tuple[int | None, int | None]:
    try:
        return bounds(participant.get("period"))
    except (ValueError, TypeError):
        return 1, 0


__all__ = ["KINDS", "Change", "concerns", "into", "loses", "out"]
