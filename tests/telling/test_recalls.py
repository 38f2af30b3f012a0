"""A recall that fails is told, to the person and the privacy officer, once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref, Send
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Down, RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import away, status
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.push import push

from ..test_remotes import Recorder
from .place import Place
from .servers import mail_server


class Stubborn(Recorder):
    """Takes everything and gives nothing back while `refuses` is a status."""

    refuses = 0

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method == "DELETE" and self.refuses:
            issue = {"severity": "error", "code": "processing", "diagnostics": "no"}
            return self.refuses, {"resourceType": "OperationOutcome", "issue": [issue]}
        return super().answer(method, path, sent)



class Partnered(Place):
    partner: Partner

    async def push(self, rounds: int = 12) -> None:
        for _ in range(rounds):
            try:
                await push(self.house, self.partner, "w")
            except Down:
                return

    async def queued(self) -> dict[str, int]:
        """How many notices of a failed recall were queued in each queue."""
        out = {}
        for queue in ("tell:patient", "tell:privacy-officer"):
            items = [i for s in ("queued", "sent", "shown", "withheld", "parked") for i in await self.house.store.outbox_items(queue, s)]
            out[queue] = len([i for i in items if i["why"] == "recall-failed"])
        return out


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[tuple[Partnered, Stubborn]]:
    """Amina's record is at the surgery's server; then she says no to the surgery."""
    there = Stubborn()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    with mail_server() as post:
        place = Partnered(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        terms = Remote("hub", "surgery-code")
        await place.open(store, terms)
        surgery = place.names["surgery"]
        place.house.remotes = (terms := Remote("hub", surgery),)
        place.partner = Partner(terms, RemoteServer(there.url, lambda: place.now))
        await place.grant("surgery")
        goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": place.names["amina"]}}
        await gate.create(place.me, "Goal", strict.dump(goal))
        await place.push()
        assert "Goal" in there.types()
        yield place, there
        await place.partner.server.close()
        await store.close()
    there.server.shutdown()


async def refuse(place: Partnered) -> None:
    """She takes the consent back; what it opened is to be recalled."""
    key = next(k for k in place.names if k.startswith("consent"))
    await place.change(place.me, key, status="inactive")


async def test_a_recall_that_works_is_told_to_nobody(here: tuple[Partnered, Stubborn]) -> None:
    place, there = here
    await refuse(place)
    await place.push()
    assert "Goal" not in there.types() and await place.queued() == {"tell:patient": 0, "tell:privacy-officer": 0}


@pytest.mark.parametrize("waits", ["a review", "recalls"])
async def test_a_recall_is_seen_and_told_behind_however_much_else_waits(here: tuple[Partnered, Stubborn], monkeypatch: pytest.MonkeyPatch, waits: str) -> None:
    """As after a first sync: the oldest 10,000 of what is queued are none of it."""
    place, _ = here
    for module in (status, away):
        monkeypatch.setattr(module, "MOST", 3)
    await place.house.store.commit(*(Send("hub", Ref("Goal", f"g{n}"), 1, f"Patient/p{n}") for n in range(5)))
    await refuse(place)
    if waits == "recalls":
        await away.while_away(place.house, place.partner, "w", lambda: False)
        assert await place.house.store.outbox_items("hub", "queued", why="recall")
    seen = await status.open_recalls(place.house, place.partner)
    assert {r.split("/")[0] for r in seen} >= {"Goal", "Patient"} and await status.oldest_recall(place.house, place.partner) == place.now
    if waits == "recalls":
        place.now += timedelta(hours=2)
        await away.while_away(place.house, place.partner, "w", lambda: False)
        assert (await place.queued())["tell:patient"] == len(seen)


async def test_a_recall_that_is_refused_is_told_with_its_parking(here: tuple[Partnered, Stubborn]) -> None:
    place, there = here
    there.refuses = 422
    await refuse(place)
    await place.push()
    parked = len(await place.house.store.outbox_items("hub", "parked"))
    told = await place.queued()
    assert "Goal" in there.types() and parked >= 1 and told == {"tell:patient": parked, "tell:privacy-officer": parked}
    await place.house.store.requeue("hub", "parked", place.now)
    await place.push()
    assert await place.queued() == told, "once for each"


async def test_a_recall_that_does_not_get_through_for_an_hour_is_told_once(here: tuple[Partnered, Stubborn]) -> None:
    place, there = here
    there.refuses = 503
    await refuse(place)
    await place.push()
    assert await place.queued() == {"tell:patient": 0, "tell:privacy-officer": 0}, "not at the first failure"
    await place.later(3700)
    await place.push()
    told = await place.queued()
    assert told == {"tell:patient": 1, "tell:privacy-officer": 1}
    for _ in range(3):
        await place.later(400)
        await place.push(1)
    assert await place.queued() == told
    there.refuses = 0
    for _ in range(10):
        await place.later(400)
        await place.push()
    assert "Goal" not in there.types()


@pytest.mark.parametrize("status", [422, 503])
async def test_a_copy_that_may_stay_and_cannot_be_sent_is_no_failed_recall(here: tuple[Partnered, Stubborn], status: int) -> None:
    place, there = here
    there.refuses = status
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "bake"}, "subject": {"reference": place.names["amina"]}}
    await gate.create(place.me, "Goal", strict.dump(goal))
    await place.later(7200)
    await place.push()
    assert await place.queued() == {"tell:patient": 0, "tell:privacy-officer": 0}
