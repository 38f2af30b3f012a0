"""Search keys of one resource; those that name the practice of somebody at risk say so, and say it anew when the practice changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..domain import search as searching
from ..domain import strict, view
from ..domain.practice import practice_of
from ..domain.rendering import closer
from ..domain.search import Query
from ..domain.types import All, Facts, Has, Key, Never, Put, Ref, Relabel, Stored
from .committing import Work
from .context import Context, directory_now, stand

AT_ONCE = 200


async def keyed(work: Work, final: dict[str, Any], shown: dict[str, Any], facts: Facts) -> tuple[Key, ...]:
    """The keys of what this commit writes."""
    names: set[str] = set()
    for person in facts.patients:
        mine = Ref("Patient", person.removeprefix("Patient/"))
        new = work.new.get(mine)
        if facts.type == "Patient" and facts.id == mine.id:
            names |= practice_of(final, await _directory(work.ctx))
        elif new is not None:
            names |= practice_of(strict.read(new.body or b"{}"), await _directory(work.ctx))
        else:
            names |= (await stand(work.ctx.house, [person], None, work.ctx.place))[person].practice
    return searching.keys(final, work.ctx.house.r4, shown, closer(shown, frozenset(names)))


async def keyed_again(work: Work, person: Ref, final: dict[str, Any], before: Stored | None) -> bool:
    """Where a Patient names another practice, or is at risk from now on or no longer: the keys of whatever names it, in this commit.
    Is it so."""
    directory = await _directory(work.ctx)
    then = practice_of(strict.read(before.body), directory) if before is not None and before.body is not None else frozenset[str]()
    now = practice_of(final, directory)
    if then == now:
        return False
    r4 = work.ctx.house.r4

    def keys(body: bytes) -> tuple[Key, ...]:
        whole = strict.read(body)
        shown = view.view(whole)
        return searching.keys(whole, r4, shown, closer(shown, now))

    me = str(person)
    for n, op in enumerate(work.ops):
        if isinstance(op, Put) and me in op.facts.patients and op.ref != person:
            work.ops[n] = replace(op, keys=keys(op.body))
    if before is None:
        return True
    naming, after = All((Has("patient", frozenset({me})), Has("ref", then | now))), None
    while True:
        found = await work.ctx.house.store.search(Query(()), naming, filtered=Never(), count=AT_ONCE, after=after)
        for s in found.hits:
            if s.ref != person and s.ref not in work.new and s.ref not in work.gone and s.body is not None:
                work.ops.append(Relabel(s.ref, s.version, s.updated, s.body, s.view or s.body, s.facts, keys(s.body), s.writer))
        after = found.after
        if after is None:
            return True


async def _directory(ctx: Context) -> Any:
    return (ctx.place or await directory_now(ctx.house))[0]
