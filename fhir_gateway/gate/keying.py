"""Search keys of one resource; those that name the practice of somebody at risk say so, and say it anew when the practice changes, or
by the directory whoever works there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..domain import search as searching
from ..domain import strict
from ..domain.directory import DIRECTORY_TYPES, Directory, confirmed
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
        mine = Ref("Patient", person.removeprefix("Patient/"))
        new = work.new.get(mine)
        if facts.type == "Patient" and facts.id == mine.id:
            names |= practice_of(final, await _directory(work.ctx))
        elif new is not None:
            names |= practice_of(strict.decode(new.body or b"{}"), await _directory(work.ctx))
        else:
            names |= (await stand(work.ctx.house, [person], None, work.ctx.place))[person].practice
    return searching.keys(final, work.ctx.house.r4, shown, closer(shown, frozenset(names)))


async def keyed_again(work: Work, person: Ref, final: dict[str, Any], before: Stored | None) -> bool:
    """Where a Patient names another practice, or is at risk from now on or no longer: the keys of whatever names it, in this commit.
    Is it so."""
    directory = await _directory(work.ctx)
    then = practice_of(strict.decode(before.body), directory) if before is not None and before.body is not None else frozenset[str]()
    now = practice_of(final, directory)
    if then == now:
        return False
    await _keyed_as(work, person, then | now, now, before is not None)
    return True


async def keyed_by_the_directory(work: Work) -> None:
    """Where this commit changes who works at a practice, or what it is called: the same for everybody at risk who is with it."""
    changed = {ref: s for ref, s in work.new.items() if ref.type in DIRECTORY_TYPES and s.body is not None}
    if not changed:
        return
    before = await _directory(work.ctx)
    names = {n for ref, s in changed.items() for n in _around(before, str(ref), strict.decode(s.body or b"{}"))}
    people = [s for s in await _at_risk(work.ctx) if s.facts.refs & names]
    after = before
    for ref, s in changed.items() if people else ():
        after = after.having(str(ref), strict.decode(s.body or b"{}"), confirmed(s.writer))
    for person in people:
        body = strict.decode((work.new.get(person.ref) or person).body or b"{}")
        then, now = practice_of(body, before), practice_of(body, after)
        if then != now:
            await _keyed_as(work, person.ref, then | now, now, True)
            work.ops += await sent_again(work.ctx, person.ref)


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


async def _keyed_as(work: Work, person: Ref, names: frozenset[str], now: frozenset[str], stored: bool) -> None:
    """The keys of whatever names one of these in this person's record, with the practice as it is `now`."""
    r4 = work.ctx.house.r4

    def keys(body: bytes) -> tuple[Key, ...]:
        whole = strict.decode(body)
        shown = rendered(whole, VIEW)
        return searching.keys(whole, r4, shown, closer(shown, now))

    me = str(person)
    for n, op in enumerate(work.ops):
        if isinstance(op, Put) and me in op.facts.patients and op.ref != person:
            work.ops[n] = replace(op, keys=keys(op.body))
    naming, after = All((Has("patient", frozenset({me})), Has("ref", names))), None
    while stored:
        found = await work.ctx.house.store.search(Query(()), naming, filtered=Never(), count=AT_ONCE, after=after)
        for s in found.hits:
            if s.ref != person and s.ref not in work.new and s.ref not in work.gone and s.body is not None:
                work.ops.append(Relabel(s.ref, s.version, s.updated, s.body, s.view or s.body, s.facts, keys(s.body), s.writer))
        after = found.after
        if after is None:
            return


async def _directory(ctx: Context) -> Any:
    return (ctx.place or await directory_now(ctx.house))[0]
