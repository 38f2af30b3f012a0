"""`kill -9` to the worker when its request has arrived, was applied, or was answered: nothing stays at a partner that nobody knows of."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import copies
from fhir_gateway.domain.types import Ref
from fhir_gateway.store import sqlite
from fhir_gateway.sync.pull import pull

from ..stores.test_attempts import Here, Hub
from ..telling.servers import mail_server
from .invariants import wrong
from .rig import begun

STAGES = ("arrived", "applied", "answered")


class Killer(Hub):
    """Kills who asks, at the nth request that writes."""

    victim, stage, left, killed = 0, "", 0, ""
    soon: Callable[[float], object]

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.left -= method != "GET"
        mine = self.left == 0 and method != "GET" and not self.killed
        if mine and self.stage == "arrived":
            return self.kill(method)
        answer = super().answer(method, path, sent)
        if mine and self.stage == "applied":
            return self.kill(method)
        if mine:
            self.killed = method
            self.soon(random.uniform(0, 0.005))
        return answer

    def kill(self, method: str) -> tuple[int, dict[str, Any]]:
        self.killed = method
        os.kill(self.victim, signal.SIGKILL)
        return 0, {}


async def worker_killed(here: Here, there: Killer, file: Path, stage: str, left: int) -> None:
    """A worker of its own works until it is done or killed; its lease then runs out."""
    there.victim = 0
    there.stage, there.left, there.killed = stage, left, ""
    child = begun(str(file), there.url, here.names["surgery"], here.now.isoformat())
    there.victim = child.pid
    loop = asyncio.get_running_loop()
    there.soon = lambda seconds: loop.call_soon_threadsafe(loop.call_later, seconds, lambda: child.kill())
    assert await child.over(60) in (0, -signal.SIGKILL)
    here.now += timedelta(seconds=90)


async def kills(folder: Path, points: int) -> Counter[str]:
    there, chance, seen = Killer(), random.Random(7), Counter[str]()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    file = folder / "store.sqlite"
    with mail_server() as post:
        here = Here(post)
        store = await sqlite.open(file, clock=lambda: here.now)
        await here.begin(store, there)
        refs: list[Ref] = []
        for point in range(points):
            stage, may = STAGES[point % 3], True
            refs += [await here.goal(), await here.goal("run")]
            if point % 2:
                await here.quiet(0.1)
                await here.change(here.me, "goal", description={"text": f"run {point}"})
            if point % 4 == 3:
                await here.no()
                may = False
            await worker_killed(here, there, file, stage, 1 if point % 4 == 1 else chance.randint(1, 2))
            seen[f"{there.killed} {stage}"] += 1
            if may and chance.random() < 0.5:
                await here.no()
                may = False
            await here.quiet()
            await pull(here.house, here.partner)
            await check(here, there, refs, may)
            if not may:
                await here.grant("surgery")
                await here.quiet(0.1)
        await here.partner.server.close()
        await store.close()
    there.server.shutdown()
    there.server.server_close()
    return seen


async def check(here: Here, there: Hub, refs: list[Ref], may: bool) -> None:
    rows = await here.house.store.ledger(remote="hub")
    for ref in refs:
        held = there.tagged("Goal", copies.tag(here.house.name, ref.id)["code"])
        assert len(held) == may, f"{ref}: {len(held)} copies"
        mine = [d for d in rows if d.ref == ref]
        assert any(d.recalled is None for d in mine) == may and (mine or str(ref) not in there.ever)
        await here.body(ref)
    assert await here.attempts() == [] and (await here.status())["quiet"]
    assert await wrong(here.house, [(here.partner, there)]) == []


async def test_a_killed_worker_leaves_nothing_that_nobody_knows_of(tmp_path: Path) -> None:
    assert sum(n for what, n in (await kills(tmp_path, 3)).items() if not what.startswith(" ")) >= 2


@pytest.mark.slow
async def test_forty_kills_leave_nothing_that_nobody_knows_of(tmp_path: Path) -> None:
    began = time.monotonic()
    seen = await kills(tmp_path, 40)
    print(seen, f"{time.monotonic() - began:.0f} s")
    assert sum(n for what, n in seen.items() if not what.startswith(" ")) >= 36
    assert {what.split()[-1] for what in seen if not what.startswith(" ")} == set(STAGES)
