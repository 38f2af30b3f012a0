"""Search keys of one resource; those that name the practice of somebody at risk say so, and say it anew when the practice changes, or
by the directory whoever works there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..domain import search as searching
from ..domain import strict
from ..domain.directory import DIRECTORY_TYPES, Directory, confirmed
from ..domain.merged import records_of
from ..domain.person import at_risk
from ..domain.practice import practice_of
from ..domain.rendering import closer, rendered
from ..domain.search import Query
from ..domain.standing import named_by
from ..domain.types import VIEW, All, Any_, Confidential, Facts, Has, Key, Never, Put, Ref, Relabel, Stored
from ..domain.vocabulary import HANDLING_SYSTEM, LOCATION_PROTECTED
from .context import Context, directory_now, stand
from .outgoing import sent_again

if TYPE_CHECKING:
    from .committing import Work

AT_ONCE = 200
RESTRICTED = 4  # of U L M N R V


async def keyed(work: Work, final: dict[str, Any], shown: dict[str, Any], facts: Facts) -> tuple[Key, ...]:
    """The keys of what this commit writes."""
    names: set[str] = set()
    for person in facts.patients:
        mine = _patient(person)
        standing = (await stand(work.ctx.house, [person], None, work.ctx.place))[person]
        written = facts.type == "Patient" and facts.id == mine.id
        if written or not work.new.keys().isdisjoint(map(_patient, records_of(standing))):
            bodies = await _bodies(work, person)
            names |= _practices({**bodies, mine: final} if written else bodies, await _directory(work.ctx))
        else:
            names |= standing.practice
    return searching.keys(final, work.ctx.house.r4, shown, closer(shown, frozenset(names)))


async def keyed_again(work: Work, person: Ref, final: dict[str, Any], before: Stored | None) -> bool:
    """Where a Patient names another practice, or is at risk from now on or no longer: the keys of whatever names it, in this commit.
    Is it so."""
    directory = await _directory(work.ctx)
    bodies = await _bodies(work, str(person))
    was = strict.decode(before.body) if before is not None and before.body is not None else {}
    then, now = (_practices({**bodies, person: body}, directory) for body in (was, final))
    if then == now:
        return False
    for record in {**bodies, person: final}:
        await _keyed_as(work, record, then | now, now, before is not None, itself=record != person)
    return True


async def keyed_by_links(work: Work, groups: Iterable[frozenset[str]], names: frozenset[str]) -> None:
    """The keys of people whose records an operator joins or parts in this commit: each group is one person from now on. `names`, what any
    of their practices was called before."""
    for records in groups:
        bodies = {ref: body for record in sorted(records) for ref, body in (await _bodies(work, record)).items() if str(ref) in records}
        now = _practices(bodies, await _directory(work.ctx))
        for ref in bodies:
            await _keyed_as(work, ref, names | now, now, True, itself=True)


async def _bodies(work: Work, person: str) -> dict[Ref, Mapping[str, Any]]:
    """The Patients of this person as this commit leaves them: this record and those merged with it."""
    standing = (await stand(work.ctx.house, [person], None, work.ctx.place))[person]
    refs = [_patient(record) for record in sorted(records_of(standing))]
    held = await work.ctx.house.store.get_many([r for r in refs if r not in work.new])
    found = [work.new.get(r) or held.get(r) for r in refs]
    return {s.ref: strict.decode(s.body) for s in found if s is not None and s.body is not None}


def _patient(record: str) -> Ref:
    return Ref("Patient", record.removeprefix("Patient/"))


def _practices(bodies: Mapping[Ref, Mapping[str, Any]], directory: Directory) -> frozenset[str]:
    """By what names the practices of these records of one person are hidden, if they are at risk."""
    return frozenset[str]().union(*(practice_of(b, directory, linked=len(bodies) > 1) for b in bodies.values()))


async def keyed_by_the_directory(work: Work) -> None:
    """Where this commit changes who works at a practice, or what it is called: the same for everybody at risk who is with it."""
    changed = {ref: s for ref, s in work.new.items() if ref.type in DIRECTORY_TYPES and ref.type != "Group" and s.body is not None}
    if not changed:
        return
    before = await _directory(work.ctx)
    names = {n for ref, s in changed.items() for n in _around(before, str(ref), strict.decode(s.body or b"{}"))}
    people = {s.ref: await _bodies(work, str(s.ref)) for s in await _at_risk(work.ctx) if s.facts.refs & names or await _merged(work, s)}
    after = before
    for ref, s in changed.items() if people else ():
        after = after.having(str(ref), strict.decode(s.body or b"{}"), confirmed(s.writer))
    for person in {frozenset(bodies): bodies for bodies in people.values()}.values():
        then, now = _practices(person, before), _practices(person, after)
        for ref in person if then != now else ():
            await _keyed_as(work, ref, then | now, now, True, itself=len(person) > 1)
        if then != now:
            work.ops += await sent_again(work.ctx, next(iter(person)))


async def _merged(work: Work, person: Stored) -> bool:
    """Is this record merged with another, that may be with another practice."""
    return bool((await stand(work.ctx.house, [str(person.ref)], None, work.ctx.place))[str(person.ref)].links)


def _around(directory: Directory, ref: str, body: Mapping[str, Any]) -> Iterator[str]:
    """By which names a Patient may be with the practice that this resource of the directory tells of, now or before."""
    roles = [r for r in (directory.roles.get(ref), *directory.roles_of.get(ref, ())) if r is not None]
    places = {n for e in ("organization", "providedBy") for n in named_by(body.get(e))} | {ref, directory.services.get(ref, "")}
    places |= {r.organisation for r in roles if r.organisation}
    people = named_by(body.get("practitioner")) | {r.practitioner for r in roles if r.practitioner} | {ref}
    there = [r for r in directory.roles.values() if r.organisation in places or r.practitioner in people]
    places |= {r.organisation for r in there if r.organisation}
    there += [r for r in directory.roles.values() if r.organisation in places]
    yield from places | people | {s for s, o in directory.services.items() if o in places}
    yield from (f"{i.get('system', '')}|{i.get('value', '')}" for i in body.get("identifier", ()) if isinstance(i, Mapping))
    for place in places:
        yield from directory.organisations[place].identifiers if place in directory.organisations else ()
    for r in there:
        yield from {r.ref, *r.identifiers, r.practitioner or "", *directory.people.get(r.practitioner or "", ("", frozenset[str]()))[1]}


async def _at_risk(ctx: Context) -> list[Stored]:
    """Everybody at risk: few, so that it is they who are looked through and not all who are with a practice."""
    marked = Any_((Has("label", frozenset({f"{HANDLING_SYSTEM}|{LOCATION_PROTECTED}"})), Confidential(">=", RESTRICTED)))
    out: list[Stored] = []
    after: Any = None
    while True:
        found = await ctx.house.store.search(Query(("Patient",)), marked, filtered=Never(), count=AT_ONCE, after=after)
        out += [s for s in found.hits if at_risk(s.facts)]
        after = found.after
        if after is None:
            return out


async def _keyed_as(work: Work, person: Ref, names: frozenset[str], now: frozenset[str], stored: bool, *, itself: bool = False) -> None:
    """The keys of whatever names one of these in this person's record, with the practice as it is `now`; of the Patient `itself` where
    it is another that is being written."""
    r4 = work.ctx.house.r4

    def keys(body: bytes) -> tuple[Key, ...]:
        whole = strict.decode(body)
        shown = rendered(whole, VIEW)
        return searching.keys(whole, r4, shown, closer(shown, now))

    me = str(person)
    for n, op in enumerate(work.ops):
        if isinstance(op, Put) and me in op.facts.patients and (itself or op.ref != person):
            work.ops[n] = replace(op, keys=keys(op.body))
    naming, after = All((Has("patient", frozenset({me})), Has("ref", names))), None
    while stored:
        found = await work.ctx.house.store.search(Query(()), naming, filtered=Never(), count=AT_ONCE, after=after)
        for s in found.hits:
            if (itself or s.ref != person) and s.ref not in work.new and s.ref not in work.gone and s.body is not None:
                work.ops.append(Relabel(s.ref, s.version, s.updated, s.body, s.view or s.body, s.facts, keys(s.body), s.writer))
        after = found.after
        if after is None:
            return


async def _directory(ctx: Context) -> Any:
    return (ctx.place or await directory_now(ctx.house))[0]
