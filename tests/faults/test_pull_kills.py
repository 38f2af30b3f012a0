"""`kill -9` to a worker that takes in what changed there: when its request has arrived, and a moment after it was answered. Nothing is lost, and nothing is
here twice.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .invariants import digests, notes, versions
from .rig import Rig, rigged
from .scripted import Habits


async def changes(rig: Rig, chance: random.Random, point: int) -> None:
    """New there, changed there, deleted there, changed on both sides in different places."""
    theirs = [g for g in rig.there.named("Goal") if g["description"]["text"].startswith("new")]
    for n in range(2):
        rig.theirs(f"new {point}.{n}")
    if theirs:
        rig.there.write({**chance.choice(theirs), "description": {"text": f"new {point}.edit"}})
    if len(theirs) > 3 and rig.there.habits.feed != "search":
        rig.there.remove(f"Goal/{theirs[0]['id']}")
    (walk,) = [g for g in rig.there.named("Goal") if not g["description"]["text"].startswith("new")]
    rig.there.write({**walk, "description": {"text": f"walk {point}"}})
    if point % 2:
        await rig.change(rig.me, "walk", statusDate=f"2026-11-{point % 28 + 1:02}")


async def kills(folder: Path, feed: Any, points: int) -> Counter[str]:
    chance, seen = random.Random(f"{feed}"), Counter[str]()
    async with rigged(folder, Habits(feed=feed, page=3)) as rig:
        loop = asyncio.get_running_loop()

        def now(_: object) -> None:
            os.kill(rig.victim.pid, signal.SIGKILL)  # it waits for the answer

        def soon(_: object) -> None:
            wait = chance.uniform(0, 0.03)
            loop.call_soon_threadsafe(loop.call_later, wait, lambda: rig.victim.kill())

        await rig.goal()
        await rig.settled()
        for point in range(points):
            await changes(rig, chance, point)
            rig.earlier = digests(await versions(rig.house.store), await notes(rig.house.store))
            stage = ("arrived", "answered")[point % 2]
            pages = 2 if feed == "system" else 12
            rule = rig.there.fault("GET", "", times=1, skip=chance.randint(0, pages), **({"before": now} if stage == "arrived" else {"applied": True, "after": soon}))
            ended = await rig.worked("pull")
            assert ended in (0, -signal.SIGKILL)
            seen[stage if ended and not rule.left else "lived"] += 1
            rig.there.well()
            await rig.settled()
            await rig.same()
            await rig.sound()
    return seen


async def test_a_killed_pull_loses_and_doubles_nothing(tmp_path: Path) -> None:
    assert (await kills(tmp_path, "system", 1))["lived"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("feed", ["system", "type", "search"])
async def test_killed_pulls_lose_and_double_nothing(tmp_path: Path, feed: str) -> None:
    """Twenty kills in all."""
    began = time.monotonic()
    seen = await kills(tmp_path, feed, 8)
    print(feed, seen, f"{time.monotonic() - began:.0f} s")
    assert seen["arrived"] + seen["answered"] >= 7 and seen["arrived"] and seen["answered"]
