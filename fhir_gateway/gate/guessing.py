"""Guessing who somebody is, slowed: each asker has a few misses an hour, then waits, longer each time.

One count for every door where a name and a date of birth can be tried against an NHS number: a look-up (`finding`) and a Patient
that is brought in (`identifying`). Where the right name is the everyday thing only a miss counts, so a system that brings in
thousands of people without one never waits.
"""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ..domain.pauses import pause
from ..domain.problem import Problem
from ..domain.types import Keep, Stored
from ..store.base import Taken
from .context import Context, note

TRIES: Final = "finding"
FREE: Final = 10  # misses in an hour
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=4), timedelta(minutes=15)
FORGOTTEN: Final = timedelta(hours=1)


def in_turn(ctx: Context) -> Lock:
    """One try of an asker at a time, so that many at once are not all made before the first is counted."""
    return ctx.house._guessing.setdefault(ctx.actor.user, Lock())


async def counted(ctx: Context) -> None:
    """One more try, counted before anything is looked at. Problem throttled, with Retry-After, while this asker must wait."""
    for _ in range(20):
        raw, tries, until = await _tries(ctx)
        await _wait(ctx, until)
        if await _kept(ctx, raw, tries + 1, ctx.at):
            return
    raise Problem("throttled", "Too many tries at once. Try again in a moment.", headers={"Retry-After": "2"})


async def forgiven(ctx: Context) -> None:
    """A person who was found does not count."""
    for _ in range(20):
        raw, tries, _until = await _tries(ctx)
        if tries < 1 or await _kept(ctx, raw, tries - 1, ctx.at):
            return


async def may_try(ctx: Context) -> None:
    """Problem throttled, as in `counted`; counts nothing."""
    await _wait(ctx, (await _tries(ctx))[2])


async def missed(ctx: Context, whose: Iterable[Stored]) -> None:
    """A try that found another's number: counted, and written down for everybody whose number it is. Problem throttled."""
    trail = [note(ctx, "E", "find", None, patient=str(s.ref), allowed=False, detail="known number, another name or birth date") for s in whose]
    await ctx.house.store.commit(*trail)
    if ctx.scopes is not None:
        await counted(ctx)


async def _wait(ctx: Context, until: float) -> None:
    if ctx.at.timestamp() >= until:
        return
    wait = int(until - ctx.at.timestamp()) + 1
    await ctx.house.store.commit(note(ctx, "E", "find", None, allowed=False, detail="too many tries"))
    text = f"Too many people were looked for and not found. Wait {wait} seconds, then try again."
    raise Problem("throttled", text, headers={"Retry-After": str(wait)})


async def _tries(ctx: Context) -> tuple[bytes | None, int, float]:
    raw = await ctx.house.store.kept(TRIES, ctx.actor.user, ctx.at)
    tries, until = msgspec.json.decode(raw) if raw else (0, 0.0)
    return raw, int(tries), float(until)


async def _kept(ctx: Context, before: bytes | None, tries: int, at: datetime) -> bool:
    wait = pause(tries, FREE, FIRST_WAIT, LONGEST_WAIT)
    value = msgspec.json.encode((tries, at.timestamp() + wait if wait else 0.0))
    try:
        await ctx.house.store.commit(
            Keep(TRIES, ctx.actor.user, value, at + FORGOTTEN, if_absent=before is None, if_value=before)
        )
    except Taken:
        return False
    return True


__all__ = ["counted", "forgiven", "in_turn", "may_try", "missed"]
