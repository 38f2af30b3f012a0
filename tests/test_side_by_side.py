"""What goes out and what comes in of one partner at the same time: neither acts on a link that the other has changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.remote.client import Down, Unknown
from fhir_gateway.sync import worker
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push

from .faults.rig import Rig, rigged
from .test_believing import ACTIONS


async def edited_there(rig: Rig, wait: float) -> Ref:
    """They edit our copy, and what they let it refer to is slow to answer."""
    ref = await rig.goal()
    await rig.settled()
    [copy] = rig.there.named("Goal")
    rig.there.write({**copy, "addresses": [{"reference": "Condition/c1"}], "note": [{"text": "theirs"}]}, rig.now + timedelta(seconds=1))
    rig.now += timedelta(seconds=5)
    rig.there.fault("GET", "Condition/c1", times=1, wait=wait, status=404)
    return ref


async def yes(rig: Rig) -> None:
    await rig.grant("surgery", provision={"provision": [{"type": "permit", "actor": [rig.reader()], "action": ACTIONS}]})


async def hers_is_whole(rig: Rig, ref: Ref) -> None:
    """Her record is here as she wrote it, and one copy of it there."""
    stored, link = await rig.house.store.get(ref), await rig.house.store.link("hub", ref)
    assert stored is not None and not stored.deleted, "our own deletion there was taken for theirs"
    [copy] = rig.there.named("Goal")
    assert link is not None and not link.gone and link.remote_id == f"Goal/{copy['id']}"


@pytest.mark.parametrize("where", ["in one process", "in two"])
async def test_a_recall_while_a_pull_waits_is_never_taken_for_their_deletion(tmp_path: Path, where: str) -> None:
    async with rigged(tmp_path) as rig:
        ref = await edited_there(rig, 0.6)
        house, partner = await rig.second() if where == "in two" else (rig.house, rig.partner)

        async def out() -> None:
            await asyncio.sleep(0.2)
            await rig.no()
            for _ in range(4):
                await push(rig.house, rig.partner, "w")

        await asyncio.gather(pull(house, partner), out())
        link = await rig.house.store.link("hub", ref)
        assert link is not None and link.gone and rig.there.named("Goal") == []
        rows = [d for d in await rig.house.store.ledger(remote="hub") if d.ref == ref]
        assert rows and all(d.recalled is not None for d in rows)
        await yes(rig)
        for _ in range(4):
            await pull(house, partner)
            await push(rig.house, rig.partner, "w")
        await hers_is_whole(rig, ref)
        if where == "in two":
            await partner.server.close()
            await house.store.close()


@pytest.mark.parametrize("where", ["in one process", pytest.param("in two", marks=pytest.mark.slow)])
async def test_what_we_sent_and_see_there_before_its_answer_is_no_change_of_theirs(tmp_path: Path, where: str) -> None:
    """She edits the same words once more while the first edit is on its way: nothing clashes, and her last words stand on both sides."""
    async with rigged(tmp_path) as rig:
        ref = await rig.goal()
        rig.names["goal"] = str(ref)
        await rig.settled()
        house, partner = await rig.second() if where == "in two" else (rig.house, rig.partner)
        put = rig.there.fault("PUT", "Goal", times=1, applied=True, wait=0.8)
        await rig.change(rig.me, "goal", description={"text": "run"})
        sending = asyncio.create_task(push(rig.house, rig.partner, "w"))
        for _ in range(500):
            if rig.there.named("Goal")[0]["description"]["text"] == "run":
                break
            await asyncio.sleep(0.01)
        await rig.change(rig.me, "goal", description={"text": "swim"})
        await pull(house, partner)
        await sending
        assert put.left == 0
        await rig.settled()
        stored = await rig.house.store.get(ref)
        assert stored is not None and strict.decode(stored.body or b"")["description"]["text"] == "swim" and stored.version == 3
        assert rig.there.named("Goal")[0]["description"]["text"] == "swim"
        assert not await rig.house.store.kept_all("conflict", rig.now)
        if where == "in two":
            await partner.server.close()
            await house.store.close()


async def test_a_worker_whose_line_is_slow_inward_takes_back_and_sends_again_outward(tmp_path: Path) -> None:
    async with rigged(tmp_path, poll_seconds=0.05) as rig:
        ref, stop = await edited_there(rig, 0.8), asyncio.Event()
        working = asyncio.create_task(worker.serve(rig.house, rig.partner, "w", stop))
        await asyncio.sleep(0.3)
        await rig.no()

        async def until(done: Any) -> None:
            for _ in range(150):
                if await done():
                    return
                rig.now += timedelta(seconds=1)
                await asyncio.sleep(0.05)
            raise AssertionError("it does not come to rest")

        async def back() -> bool:
            link = await rig.house.store.link("hub", ref)
            return link is not None and link.gone and not rig.there.named("Goal")

        async def there_again() -> bool:
            link = await rig.house.store.link("hub", ref)
            return link is not None and not link.gone and len(rig.there.named("Goal")) == 1

        await until(back)
        await asyncio.sleep(0.8)  # the line has answered
        assert await back(), "the ended link lives again"
        await yes(rig)
        await until(there_again)
        stop.set()
        await working
        for _ in range(3):
            try:
                await pull(rig.house, rig.partner)
                await push(rig.house, rig.partner, "w")
            except (Down, Unknown):
                rig.now += timedelta(minutes=6)
        await hers_is_whole(rig, ref)
