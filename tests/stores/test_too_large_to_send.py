"""What MongoDB could not write down once it is sent (16 MB hold both states of it, as sent and as received) is refused alone, before it leaves. docs/sync.md"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import waiting_room

from ..faults import invariants
from ..faults.scripted import Body, There
from ..telling.servers import mail_server
from ..test_believing import Beside
from .making import Reopen

pytestmark = pytest.mark.slow
HALF = 8 * 1024 * 1024  # of what one document holds
WORDS = "larger than the store here can write down of what both sides agreed on"


class Telling(There):
    """Adds a text of its own to each document that it is sent."""

    adds = ""

    def _put(self, name: str, body: Body, method: str, at: datetime | None) -> Body:
        return super()._put(name, {**body, "description": body.get("description", "") + self.adds} if name.startswith("DocumentReference") else body, method, at)


@pytest_asyncio.fixture
async def here(reopen: Reopen) -> AsyncIterator[Beside]:
    there = Telling()
    with mail_server() as post:
        place = Beside(post)
        there.clock = lambda: place.now
        yield await place.begin_on(await reopen(), there)
        await place.partner.server.close()


async def scan(here: Beside, size: int) -> Ref:
    """A document of hers with so many characters of data."""
    data: dict[str, Any] = {"attachment": {"contentType": "image/png", "data": "A" * (size // 4 * 4)}}
    body = {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": here.names["amina"]}, "content": [data]}
    ref = (await gate.create(here.me, "DocumentReference", strict.dump(body))).ref
    here.names["scan"] = str(ref)
    return ref


async def parked(here: Beside) -> list[dict[str, Any]]:
    return [i for i in await waiting_room.everything(here.operator) if i["kind"] == "parked"]


@pytest.mark.parametrize("reopen", ["mongo"], indirect=True)
async def test_what_cannot_be_written_down_once_it_is_sent_is_refused_alone_before_it_leaves(here: Beside) -> None:
    await here.goal("before")
    ref = await scan(here, HALF + 200_000)
    await here.goal("after")
    assert await here.round(3) == [], "nothing counts as away, or as a fault of the store"
    assert here.texts() == ["after", "before"] and not here.there.ever("DocumentReference"), "it never left"
    (waits,) = await parked(here)
    assert waits["ref"] == str(ref) and WORDS in waits["why"], waits
    await here.goal("later")
    await here.change(here.me, "before", description={"text": "changed"})
    await here.round(2)
    assert here.texts() == ["after", "changed", "later"]
    small: list[dict[str, Any]] = [{"attachment": {"contentType": "image/png", "data": "AAAA"}}]
    await here.change(here.me, "scan", content=small)
    await here.settled()
    assert [d["content"] for d in here.there.named("DocumentReference")] == [small], "made smaller, it goes"
    await here.change(here.me, "scan", content=[{"attachment": {"contentType": "image/png", "data": "B" * (HALF + 200_000)}}])
    await here.round(3)
    assert [d["content"] for d in here.there.named("DocumentReference")] == [small], "nor does an update leave"
    assert [(i["ref"], WORDS in i["why"]) for i in await parked(here)] == [(str(ref), True)] * 2, "of each version that was refused"
    await no(here)


@pytest.mark.parametrize("reopen", ["mongo"], indirect=True)
async def test_what_they_make_too_large_is_parked_and_a_no_takes_it_back(here: Beside) -> None:
    """It left, for it fitted; what they answer does not fit beside it."""
    assert isinstance(here.there, Telling)
    here.there.adds = "x" * 200_000
    ref = await scan(here, HALF - 40_000)
    await here.goal("after")
    assert await here.round(3) == []
    assert here.texts() == ["after"] and len(here.there.named("DocumentReference")) == 1
    assert [(i["ref"], WORDS in i["why"]) for i in await parked(here)] == [(str(ref), True)]
    await no(here)
    (row,) = [d for d in await here.house.store.ledger(remote="hub") if d.ref == ref]
    assert row.recalled is not None


@pytest.mark.parametrize("reopen", ["sqlite"], indirect=True)
async def test_a_store_that_can_write_it_down_sends_it(here: Beside) -> None:
    await scan(here, HALF + 200_000)
    await here.settled()
    assert len(here.there.named("DocumentReference")) == 1 and not await parked(here)


async def no(here: Beside) -> None:
    """Her no: none of it is there, and nothing is left of it."""
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    await here.round(6)
    assert here.texts() == [] and not here.there.named("DocumentReference")
    assert (await here.status())["quiet"]
    assert await invariants.wrong(here.house, [(here.partner, here.there)]) == []
