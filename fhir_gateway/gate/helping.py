"""A referral for a plan brings who takes it on into the team of that plan, and out of it when its Task, the referral or the plan is over: in the same commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from ..domain import helping, read_only
from ..domain.helping import Change
from ..domain.periods import micros
from ..domain.types import Stored
from ..domain.versions import Version, chains_of
from .committing import Work
from .context import ask, directory_now
from .somebody import askers_of

Putting = Callable[..., Awaitable[Any]]  # `preparing.put_by_house`
TAKEN_ON, OVER = "they took on what was asked for by a referral", "what they were asked for is over"


async def settle_helpers(work: Work, put: Putting) -> None:
    """Write who goes from a team, and who comes into one, by the Tasks of this commit and what they are for."""
    ctx, helped = work.ctx, work.helped
    work.helped = {}
    directory, _ = ctx.place or await directory_now(ctx.house)
    at = micros(ctx.at)
    for ref, people in sorted(helped.items()):
        if len(people) != 1:
            continue
        while True:
            chains, now = await _record(work, people[0])
            change = helping.out(chains, at)
            if change is None and str(ref) in chains and ref.type == "Task":
                lets = [c for c in helping.into(str(ref), chains, ctx.actor, directory, at) if await _could(work, c, now)]
                change = lets[0] if lets else None
            if change is None:
                break
            team = now[change.team]
            await put(work, team.ref, change.body, team, "update", OVER if change.by is None else TAKEN_ON, ours=True, by=change.by)


async def _could(work: Work, change: Change, now: Mapping[str, Stored]) -> bool:
    """Could each whose word brings somebody in write their name into the team now: they see it and its plan, and may change it."""
    house = work.ctx.house
    directory, _ = work.ctx.place or await directory_now(house)
    plan, team = now[change.plan].facts, now[change.team].facts
    known = await askers_of(house, {w.user for w in change.hands})
    for w in change.hands:
        for asker in known[w.user]:
            a = replace(asker.actor, btg_role=False)
            they = a.kind == w.kind and a.organisation == w.organisation and (a.kind != "system" or f"client|{w.client}" in a.ids)
            if not they or a.drafts_only or read_only.refuses(house.read_only, a.ids, team, directory):
                continue
            ctx = replace(asker, actor=a)
            if all([(await ask(ctx, *question)).permit for question in (("access", plan), ("access", team), ("correct", team))]):
                break
        else:
            return False
    return True


async def _record(work: Work, person: str) -> tuple[dict[str, list[Version]], dict[str, Stored]]:
    """What is asked about, with what this commit writes; and each as it is last."""
    versions = await work.ctx.house.store.patient_versions(person, helping.KINDS)
    found = [s for s in versions if s.facts.patients == (person,) and s.ref not in work.gone]
    new = [s for ref, s in work.written.items() if ref.type in helping.KINDS and s.facts.patients == (person,) and ref not in work.gone]
    every = [*found, *(s for s in new if not any(f.ref == s.ref and f.version == s.version for f in found))]
    last: dict[str, Stored] = {}
    for s in every:
        if str(s.ref) not in last or last[str(s.ref)].version < s.version:
            last[str(s.ref)] = s
    return chains_of(every), last


__all__ = ["settle_helpers"]
