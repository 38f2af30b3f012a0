"""What changes while a subscriber's endpoint is away, asked for again or off is kept, counted, or seen to be missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate.subscriber_states import subscriber_states

from .subscribing import Listened, listened, said, subscription


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listened]:
    async with listened(tmp_path) as place:
        await place.grant("surgery")
        yield place


async def read(here: Listened, id: str) -> dict[str, Any]:
    return strict.decode((await gate.read(await here.as_system(), Ref("Subscription", id))).body)


async def put(here: Listened, id: str, **more: Any) -> dict[str, Any]:
    body = {**await read(here, id), **more}
    return strict.decode((await gate.update(await here.as_system(), Ref("Subscription", id), strict.dump(body))).body or b"{}")


async def counts(here: Listened, id: str) -> int:
    """By `$status`."""
    told = (await gate.status(await here.as_system(), id, []))["entry"][0]["resource"]["parameter"]
    return int(next(p["valueString"] for p in told if p["name"] == "events-since-subscription-start"))


async def caught_up(here: Listened, id: str) -> list[tuple[int, str]]:
    """By `$events`."""
    return said(await gate.events(await here.as_system(), id, []))[1]


def numbers(here: Listened) -> list[int]:
    """Of the events that came, each once."""
    return sorted({n for n, _ in here.hook.events()})


async def until_quiet(here: Listened) -> None:
    here.now += timedelta(hours=2)
    for _ in range(3):
        await here.tell()


async def test_what_changes_while_it_is_asked_for_again_is_kept_and_counted(here: Listened) -> None:
    """Between a PUT of another header and a handshake that takes most of a day."""
    id = await here.subscribe(header=["X-Key: 1"])
    goals = [str(await here.goal("one"))]
    await here.tell()
    here.hook.status = 503
    await put(here, id, channel={**(await read(here, id))["channel"], "header": ["X-Key: 2"]})
    for n in range(4):
        goals.append(str(await here.goal(f"while away {n}")))
        here.now += timedelta(hours=3)
        await here.tell()
    assert await counts(here, id) == 5 and [f for _, f in await caught_up(here, id)] == goals
    here.hook.status = 200
    await until_quiet(here)
    assert numbers(here) == [1, 2, 3, 4, 5] and {f for _, f in here.hook.events()} == set(goals) and await here.status_of(id) == "active"


async def test_the_number_shows_that_something_was_missed_while_it_was_off(here: Listened) -> None:
    """By the handshake, `$status` and the next event: one number is nobody's, whether something changed meanwhile or not."""
    id = await here.subscribe()
    await here.goal("one")
    await here.tell()
    await put(here, id, status="off")
    await here.goal("missed")
    await here.tell()
    await put(here, id, status="requested")
    await until_quiet(here)
    handshake = here.hook.bodies()[-1]["entry"][0]["resource"]["parameter"]
    assert next(p["valueString"] for p in handshake if p["name"] == "events-since-subscription-start") == "2"
    await here.goal("after")
    await here.tell()
    assert numbers(here) == [1, 3] and [n for n, _ in await caught_up(here, id)] == [1, 3] and await counts(here, id) == 3


@pytest.mark.slow
@pytest.mark.parametrize("away", ["refuses", "is gone"])
async def test_what_an_endpoint_does_not_take_can_be_asked_for(here: Listened, away: str) -> None:
    id = await here.subscribe()
    if away == "is gone":
        here.hook.server.shutdown()
        here.hook.server.server_close()
    here.hook.status = 503
    goals = []
    for n in range(3):
        goals.append(str(await here.goal(f"goal {n}")))
        await here.tell()
    assert await counts(here, id) == 3 and await caught_up(here, id) == [(n + 1, g) for n, g in enumerate(goals)]
    for _ in range(9):
        here.now += timedelta(hours=4)
        await here.tell()
    assert await here.status_of(id) == "error"
    goals.append(str(await here.goal("in error")))
    assert await counts(here, id) == 4 and await caught_up(here, id) == [(n + 1, g) for n, g in enumerate(goals)]


@pytest.mark.slow
async def test_what_a_person_says_no_to_while_it_waits_has_no_number_if_nobody_was_told_of_it_and_is_not_shown_if_somebody_was(here: Listened) -> None:
    id = await here.subscribe()
    here.hook.status = 503
    await here.goal("counted")
    assert await counts(here, id) == 1
    await here.goal("not counted")
    await here.refuse("surgery")
    assert await counts(here, id) == 1 and await caught_up(here, id) == []
    here.hook.status = 200
    await until_quiet(here)
    assert here.hook.events() == [] and await counts(here, id) == 1


@pytest.mark.slow
async def test_a_number_that_was_said_is_not_given_twice(here: Listened) -> None:
    """The endpoint cannot be reached, `$status` counted the event, the person says no: what comes next has the next number."""
    id = await here.subscribe()
    await here.goal("one")
    assert await counts(here, id) == 1
    here.hook.server.shutdown()
    here.hook.server.server_close()
    await here.tell()
    await here.refuse("surgery")
    await until_quiet(here)
    assert await counts(here, id) == 1 and await caught_up(here, id) == []


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["active", "requested"])
async def test_a_put_of_active_or_requested_in_error_begins_again_at_once(here: Listened, asked: str) -> None:
    id = await here.subscribe()
    here.hook.status = 503
    await here.goal("one")
    for _ in range(8):
        await here.tell()
        here.now += timedelta(hours=4)
    await here.tell()
    assert await here.status_of(id) == "error"
    here.hook.status = 200
    came = len(here.hook.came)
    assert (await put(here, id, status=asked))["status"] == "requested"
    await here.tell()
    assert await here.status_of(id) == "active" and [k for k, _ in here.hook.told()][came:] == ["handshake", "event-notification"]


@pytest.mark.slow
async def test_a_handshake_that_fails_is_an_error_in_words_and_tried_again(here: Listened) -> None:
    here.hook.status = 403
    id = await here.subscribe()
    body = await read(here, id)
    assert (body["status"], body["error"]) == ("error", "it answered 403")
    here.hook.status = 200
    here.now += timedelta(seconds=20)
    await here.tell()
    body = await read(here, id)
    assert body["status"] == "active" and "error" not in body


@pytest.mark.slow
async def test_a_change_of_status_is_another_version(here: Listened) -> None:
    made = await gate.create(await here.as_system(), "Subscription", strict.dump(subscription(f"http://{here.hook.place}/told")))
    seen = [(1, made.updated)]
    for status in (200, 503, 200):
        here.hook.status = status
        here.now += timedelta(seconds=20)
        if status == 503:
            await put(here, made.ref.id, status="requested")
        await here.tell()
        answer = await gate.read(await here.as_system(), made.ref)
        meta = strict.decode(answer.body)["meta"]
        assert meta["versionId"] == str(answer.version) and answer.version > seen[-1][0] and answer.updated > seen[-1][1]
        seen.append((answer.version, answer.updated))
    before = (await gate.read(await here.as_system(), made.ref)).version
    await here.goal()
    await here.tell()
    assert (await gate.read(await here.as_system(), made.ref)).version == before
    with pytest.raises(Problem, match="changed meanwhile"):
        await gate.update(await here.as_system(), made.ref, strict.dump(await read(here, made.ref.id)), if_match=1)


async def test_what_a_no_withholds_while_it_is_away_ends_that_it_is_failing(here: Listened) -> None:
    """A later failure is counted anew: a week after a blip one more 503 turned the Subscription off."""
    id = await here.subscribe()
    await here.goal("one")
    await here.tell()
    here.hook.status = 503
    await here.edit("one", description={"text": "two"})
    await here.tell()
    [before] = await subscriber_states(here.house)
    here.hook.status = 200
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    here.now += timedelta(seconds=30)
    await here.tell()
    [after] = await subscriber_states(here.house)
    assert before["trouble"] == "it answered 503" and before["failing_since"] and not after["trouble"] and not after["failing_since"] and not after["next_try"]
    await here.grant("surgery")
    here.now += timedelta(days=8)
    await here.tell()
    here.hook.status = 503
    await here.edit("one", description={"text": "three"})
    await here.tell()
    assert await here.status_of(id) == "active"
    here.hook.status = 200
    await until_quiet(here)
    assert here.hook.events()[-1][1] == here.names["one"] and await here.status_of(id) == "active"
