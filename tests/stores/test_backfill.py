"""First contact outward, of much: queued once, page by page, wherever it is stopped; what is in memory does not grow with it."""

from __future__ import annotations

import itertools
import signal
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_gateway.domain.types import Drop, Ref, Send
from fhir_gateway.store import sqlite
from fhir_gateway.store.base import Store
from fhir_gateway.sync import backfill as filling
from fhir_gateway.sync.backfill import backfill

from ..conftest import Gateway, times
from ..faults.scripted import There, scripted
from ..telling.servers import mail_server
from ..test_believing import Beside
from ..test_worker import running, until


@pytest_asyncio.fixture
async def here(store: Store) -> AsyncIterator[Beside]:
    there = There()
    with mail_server() as post:
        place = Beside(post)
        there.clock = lambda: place.now
        await place.begin_on(store, there)
        await store.commit(Drop("backfill", "hub"))  # what is here is yet to be gone through
        yield place
        await place.partner.server.close()


async def before(here: Beside, count: int) -> list[Ref]:
    """Goals of Amina's that were here before anybody was told of."""
    remotes, here.house.remotes = here.house.remotes, ()
    refs = [await here.goal(f"g{n}") for n in range(count)]
    here.house.remotes = remotes
    return refs


async def test_what_was_here_is_queued_once_wherever_it_is_stopped(here: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "PAGE", 3)
    refs = await before(here, 10)
    await here.house.store.commit(*(Send("hub", ref, 1, here.names["amina"]) for ref in refs[:4]))
    assert await here.house.store.outbox_open("hub", refs) == set(refs[:4]) and not await here.house.store.outbox_open("other", refs)
    rounds = 0
    while not await filling.filled(here.house, here.partner.terms):
        looks = itertools.count()
        await backfill(here.house, here.partner, lambda looks=looks: next(looks) > 0)  # type: ignore[misc]
        rounds += 1
    queued = [i["ref"] for i in await here.house.store.outbox_items("hub", "queued")]
    assert rounds > 3 and [queued.count(str(ref)) for ref in refs] == [1] * len(refs)
    await here.settled()
    assert here.texts() == sorted(f"g{n}" for n in range(10)) and await here.house.store.outbox_open("hub", refs) == set()


async def test_what_is_agreed_on_later_is_queued_once_wherever_it_is_stopped(here: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the agreement changes again in the middle: what left it and is back in it is gone through anew."""
    monkeypatch.setattr(filling, "PAGE", 3)
    house, terms = here.house, here.partner.terms
    few, more = (replace(terms, types=frozenset(types)) for types in (("Patient",), ("Patient", "Goal")))
    house.remotes = (few,)
    assert await backfill(house, here.partner) == 0 and await filling.filled(house, few)
    refs = await before(here, 8)
    house.remotes = (more,)

    async def steps(count: int) -> int:
        queued = 0
        for _ in range(count):
            looks = itertools.count()
            queued += await backfill(house, here.partner, lambda looks=looks: next(looks) > 0)  # type: ignore[misc]
        return queued

    pages: list[int] = []

    async def told() -> None:
        pages.append(len(await house.store.outbox_items("hub", "queued")))

    assert await steps(2) > 0 and not await filling.filled(house, more)
    house.remotes = (few,)
    assert await backfill(house, here.partner) == 0 and await filling.filled(house, few)
    house.remotes = (more,)
    await steps(1)
    await backfill(house, here.partner, told=told)
    queued = [i["ref"] for i in await house.store.outbox_items("hub", "queued")]
    assert [queued.count(str(ref)) for ref in refs] == [1] * len(refs) and await filling.filled(house, more)
    assert len(pages) > 1 and pages == sorted(pages), "it is said after each page how much there is to send"
    assert await backfill(house, here.partner) == 0


@pytest.mark.slow
async def test_what_waits_already_is_not_held_in_memory(tmp_path: Path) -> None:
    """Sixty thousand entries wait; as a list they would take tens of MB."""
    there = There()
    with mail_server() as post:
        here = await Beside(post).begin(tmp_path / "store.sqlite", there)
        await here.house.store.commit(Drop("backfill", "hub"))  # what is here is yet to be gone through
        await before(here, 20)
        for start in range(0, 60_000, 5_000):
            await here.house.store.commit(*(Send("hub", Ref("Goal", f"x{n}"), 1, f"Patient/{n}") for n in range(start, start + 5_000)))
        tracemalloc.start()
        try:
            assert await backfill(here.house, here.partner) >= 20
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 4 << 20, f"{peak / 2**20:.1f} MB"
        await here.end()


@pytest.mark.slow
async def test_a_first_sync_that_is_stopped_again_and_again_makes_each_copy_once(tmp_path: Path) -> None:
    """A hundred goals; ten thousand in `make soak`."""
    count = times(100)
    there = There()
    with mail_server() as post, scripted() as listening:
        here = await Beside(post).begin(tmp_path / "store.sqlite", there)
        refs = await before(here, count)
        await here.end()
        remote = {"GATEWAY_REMOTE_URL": listening.url, "GATEWAY_REMOTE_ORGANISATION": here.names["surgery"]}
        g = Gateway(tmp_path / "data", 0, {"GATEWAY_STORE": f"sqlite:{tmp_path / 'store.sqlite'}", **remote})
        slow = listening.fault("POST", "Goal", wait=0.1, applied=True)  # so that a signal comes before all has gone, on any machine
        for turn, sign in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGINT)):
            enough = (turn + 1) * count // 5
            with running(g, "sync", "run", "--once") as process:
                until(lambda enough=enough: len(listening.requests("POST", "Goal")) >= enough, 600)  # type: ignore[misc]
                process.send_signal(sign)
                out, said = process.communicate(timeout=60)
            assert process.returncode == 1 and "run it again to go on" in said and "still to send" in out and "Traceback" not in said
        listening.rules.remove(slow)
        with running(g, "sync", "run", "--once") as process:
            out, said = process.communicate(timeout=1_200)
        assert process.returncode == 0, out + said
        made = [k for k in listening.history if k.name.startswith("Goal/")]
        assert sorted(k.body["description"]["text"] for k in made if k.body) == sorted(f"g{n}" for n in range(count)), "each once, and not sent again"
        store = await sqlite.open(tmp_path / "store.sqlite")
        links = [await store.link("remote", ref) for ref in refs]
        await store.close()
        assert all(link is not None and not link.gone for link in links)


