"""Of several workers one reads what changes at a partner; where it dies, stops or is too slow, another goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store.base import Unavailable
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.reader import HOLD, Lost, Reader

from . import test_attempts
from .test_attempts import Here

here = test_attempts.here


class Workers:
    """Workers of one store, each with a key of its own; `asked` counts who read the feed there."""

    def __init__(self, here: Here) -> None:
        self.here, self.asked, self.stop = here, Counter[str](), asyncio.Event()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        answer = here.there.answer

        def counted(method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if path.startswith("_history"):
                self.asked[here.there.headers["authorization"]] += 1
            return answer(method, path, sent)

        here.there.answer = counted  # type: ignore[method-assign]

    def partner(self, name: str) -> Partner:
        server = RemoteServer(self.here.there.url, lambda: self.here.now, name)
        return Partner(self.here.partner.terms, server)

    def begin(self, name: str) -> None:
        self.tasks[name] = asyncio.create_task(worker.serve(self.here.house, self.partner(name), name, self.stop, lambda s: asyncio.sleep(0.01)))

    async def kill(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks.pop(name), return_exceptions=True)

    async def read(self, times: int = 3) -> set[str]:
        """Who reads while the feed is read so often."""
        before = self.asked.copy()
        for _ in range(2_000):
            if sum((self.asked - before).values()) >= times:
                return set(self.asked - before)
            await asyncio.sleep(0.01)
        raise AssertionError("nobody reads")

    async def over(self) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks.values())


async def test_one_of_two_workers_reads_and_the_other_goes_on_when_it_is_killed_or_stopped(here: Here) -> None:
    both = Workers(here)
    both.begin("a")
    assert await both.read() == {"a"}
    both.begin("b")
    assert await both.read(6) == {"a"}
    await both.kill("a")
    here.now += HOLD / 2
    await asyncio.sleep(0.3)
    assert "b" not in both.asked, "it may only be slow; what the first had asked may still arrive"
    here.now += HOLD
    assert "b" in await both.read()
    await both.over()
    later = Workers(here)
    later.begin("c")
    assert "c" in await later.read(), "who stops gives it back"
    await later.over()


async def test_who_is_killed_has_ended_whole_when_that_is_said(here: Here) -> None:
    """A part of it that takes its time to end is waited for: what it still asks is asked before, and not after."""
    watching, ended = asyncio.Event(), asyncio.Event()

    async def pause(seconds: float) -> None:
        if seconds < worker.WATCH_SECONDS:
            await asyncio.sleep(0.01)
            return
        watching.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(50):
                await asyncio.sleep(0)
            ended.set()

    both = Workers(here)
    both.tasks["a"] = asyncio.create_task(worker.serve(here.house, both.partner("a"), "a", both.stop, pause))
    await asyncio.wait_for(watching.wait(), 30)
    await both.kill("a")
    assert ended.is_set()


@pytest.mark.parametrize("when", ["at the start", "as it takes over"])
async def test_a_store_that_does_not_answer_for_a_moment_ends_no_worker(here: Here, when: str) -> None:
    both, kept, failed = Workers(here), here.mortal.kept, Counter[str]()
    ways = ("hub push", "hub pull") if when == "at the start" else ("hub pull",)
    spare = 0 if when == "at the start" else 1  # what the start asks, too

    async def away(kind: str, key: str, at: Any) -> bytes | None:
        if kind == "remote-state" and key in ways:
            failed[key] += 1
            if spare < failed[key] <= spare + 2:
                raise Unavailable("for a moment")
        raw: bytes | None = await kept(kind, key, at)
        return raw

    here.mortal.kept = away  # type: ignore[method-assign]
    both.begin("a")
    assert await both.read() == {"a"} and max(failed.values()) >= spare + 3
    await both.over()


async def test_who_is_asked_for_a_round_takes_over_from_who_rests_and_waits_for_who_is_at_work(here: Here) -> None:
    both = Workers(here)
    at_rest = Reader(here.house, "hub", "a")
    assert await at_rest.mine() and not await Reader(here.house, "hub", "b").mine()
    await worker.once(here.house, both.partner("hand"), "hand")
    assert set(both.asked) == {"hand"} and await Reader(here.house, "hub", "b").mine(), "and gives it back"
    with pytest.raises(Lost):
        await at_rest.still()
    assert not await at_rest.mine()
    here.now += timedelta(minutes=1)
    at_work = Reader(here.house, "hub", "c")
    assert await at_work.mine()
    await at_work.still()
    with capture_logs() as log:
        waiting = asyncio.create_task(worker.once(here.house, both.partner("late"), "late"))
        for _ in range(200):  # a slow disk takes its time
            if any(e["event"] == "reader-waits" for e in log):
                break
            await asyncio.sleep(0.05)
        assert "late" not in both.asked
        await at_work.rests(2)
        await waiting
    assert "late" in both.asked and [e["event"] for e in log if e["event"] == "reader-waits"] == ["reader-waits"]


async def test_a_claim_is_written_when_much_of_its_time_has_gone_and_not_each_time(here: Here) -> None:
    reader, commits = Reader(here.house, "hub", "a"), 0
    commit = here.mortal.commit

    async def counted(*ops: Any) -> None:
        nonlocal commits
        commits += 1
        await commit(*ops)

    here.mortal.commit = counted  # type: ignore[method-assign]
    for _ in range(30):
        assert await reader.mine()
        await reader.rests(2)
        here.now += timedelta(seconds=1)
    assert commits <= 6
    assert reader.claim is not None and reader.claim.until >= here.now + HOLD / 2
