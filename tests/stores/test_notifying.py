"""Subscribers are told over both stores: by several workers at once, and after one that died in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict, topics
from fhir_gateway.domain.types import Close
from fhir_gateway.sync import notifying

from ..subscribing import Listened, listened, said
from .conftest import ENGINES

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(params=ENGINES)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Listened]:
    async with listened(tmp_path, request.getfixturevalue("database") if request.param == "mongo" else "") as place:
        yield place


async def test_numbers_have_no_gap_for_what_is_withheld(here: Listened) -> None:
    mine = await here.grant("surgery")
    id = await here.subscribe()
    await here.goal("one")
    await here.tell()
    await here.goal("two")
    await here.change(here.me, mine, status="inactive")
    await here.goal("three")
    await here.tell()
    await here.grant("surgery")
    await here.goal("four")
    await here.tell()
    assert here.hook.events() == [(1, here.names["one"]), (2, here.names["four"])]
    assert await here.house.store.outbox(f"sub:{id}") == {"sent": 2, "withheld": 1}


async def test_what_changed_of_one_person_goes_together(here: Listened) -> None:
    """Twenty events of a notification, or as few as its subscriber wants; changes of one resource one after the other."""
    await here.grant("surgery")
    id, few = await here.subscribe(), await here.subscribe(extension=[{"url": topics.MOST, "valuePositiveInt": 12}])
    for n in range(30):
        await here.goal(f"goal {n}")
    await here.edit("goal 0", description={"text": "changed"})
    before = len(here.hook.came)
    await here.tell()
    came = here.hook.bodies()[before:]
    told = {i: [said(b)[1] for b in came if i in str(b)] for i in (id, few)}
    assert [len(events) for events in told[id]] == [20, 11] and [len(events) for events in told[few]] == [12, 12, 7]
    for notifications in told.values():
        events = [e for those in notifications for e in those]
        assert [n for n, _ in events] == list(range(1, 32)) and [f for _, f in events] == [*(here.names[f"goal {n}"] for n in range(30)), here.names["goal 0"]]


async def test_workers_that_race_give_each_event_one_number_and_none_twice(here: Listened) -> None:
    """Three of them, over five people: every event arrives once, the numbers are 1 to n."""
    people = [here.names["amina"]]
    for n in range(4):
        made = await gate.create(here.hospital, "Patient", strict.dump({"resourceType": "Patient", "name": [{"family": f"Person {n}"}]}))
        people.append(str(made.ref))
    for person in people:
        here.names["amina"] = person
        await here.grant("surgery")
    await here.subscribe()
    expected = []
    for n in range(20):
        here.names["amina"] = people[n % 5]
        expected.append(str(await here.goal(f"goal {n}")))
    for _ in range(10):
        await asyncio.gather(*(notifying.once(here.house, here.http, f"w{n}") for n in range(3)))
    events = here.hook.events()
    assert sorted(n for n, _ in events) == list(range(1, 21)) and sorted(f for _, f in events) == sorted(expected)


async def test_whoever_asks_while_workers_send_gives_no_number_twice_and_takes_none_back(here: Listened) -> None:
    """`$status` gives numbers, too; the endpoint refuses half of the time, and cannot be reached at last."""
    await here.grant("surgery")
    id = await here.subscribe()
    ctx, expected, seen = await here.as_system(), [], [0]

    async def asks() -> None:
        bundle = await gate.status(ctx, id, [])
        seen.append(int(next(p["valueString"] for p in bundle["entry"][0]["resource"]["parameter"] if p["name"] == "events-since-subscription-start")))

    for n in range(12):
        expected.append(str(await here.goal(f"goal {n}")))
        here.hook.status = 503 if n % 2 else 200
        await asyncio.gather(*(notifying.once(here.house, here.http, f"w{n}") for n in range(2)), asks())
        here.now += timedelta(minutes=6)
    here.hook.server.shutdown()
    here.hook.server.server_close()
    expected.append(str(await here.goal("last")))
    await asyncio.gather(*(notifying.once(here.house, here.http, f"w{n}") for n in range(2)), asks())
    await asks()
    assert seen == sorted(seen) and seen[-1] == 13
    assert said(await gate.events(ctx, id, []))[1] == [(n + 1, f) for n, f in enumerate(expected)]
    assert {(n, f) for n, f in here.hook.events()} <= {(n + 1, f) for n, f in enumerate(expected)}


async def test_a_worker_that_dies_after_it_sent_sends_it_again_under_the_same_number(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    goal = await here.goal()
    store = here.house.store

    class Dies:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def commit(self, *ops: Any) -> None:
            if any(isinstance(op, Close) for op in ops):
                raise KeyboardInterrupt
            await store.commit(*ops)

    here.house.store = Dies()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        await notifying.one(here.house, here.http, id, "w1")
    here.house.store = store
    assert here.hook.events() == [(1, str(goal))]
    await here.tell()
    assert len(here.hook.events()) == 1  # it is held by whoever died
    here.now += timedelta(seconds=notifying.LEASE_SECONDS + 1)
    other = await here.goal("other")
    for _ in range(3):
        await here.tell()
    assert here.hook.events() == [(1, str(goal)), (1, str(goal)), (2, str(other))]
