"""A partner can make us do so much, and no more: read, hold in memory, keep, and let others wait."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from fhir_gateway.domain import strict
from fhir_gateway.gate import waiting_room
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.sync import ahead, attempts, waiting
from fhir_gateway.sync.push import push
from fhir_gateway.sync.replaying import replay

from .faults.rig import rigged
from .faults.scripted import Habits
from .test_pulling import Begin, Shared
from .test_pulling import begin as begin

slow = pytest.mark.slow
Answer = Callable[[httpx2.Request], dict[str, Any] | None]


class Instead(httpx2.AsyncBaseTransport):
    """A line on which some requests are answered by `answer`, and all else by that server."""

    def __init__(self, answer: Answer, wait: float = 0.0) -> None:
        self.answer, self.wait, self.line = answer, wait, httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = self.answer(request)
        if body is None:
            return await self.line.handle_async_request(request)
        await asyncio.sleep(self.wait)
        return httpx2.Response(200, headers={"Content-Type": "application/fhir+json", "ETag": 'W/"1"'}, content=strict.dump(body))


def through(here: Any, answer: Answer, wait: float = 0.0) -> None:
    here.partner.server = RemoteServer(here.there.url, lambda: here.now, transport=Instead(answer, wait))


def fan(width: int, her: str, read: list[str]) -> Answer:
    """Each Observation/x leads to `width` others that nobody has seen."""

    def answer(request: httpx2.Request) -> dict[str, Any] | None:
        id = request.url.path.rsplit("/", 1)[1]
        if request.method != "GET" or not id.startswith("x"):
            return None
        read.append(id)
        members = [{"reference": f"Observation/x{len(read)}-{n}"} for n in range(width)]
        meta = {"versionId": "1", "lastUpdated": "2026-11-25T12:00:00Z"}
        about = {"status": "final", "code": {"text": id}, "subject": {"reference": her}, "hasMember": members}
        return {"resourceType": "Observation", "id": id, "meta": meta, **about}

    return answer


# -- what one change leads to ------------------------------------------------------------------------------------------


async def test_a_change_that_leads_to_ever_more_waits_and_what_stands_behind_it_comes(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MOST", 20)
    here, read = await begin(), list[str]()
    through(here, fan(20, here.her, read))
    first = here.seen("first", hasMember=[{"reference": "Observation/x0"}])
    here.seen("good", "Condition", at=here.now + timedelta(seconds=2))
    here.now += timedelta(seconds=60)
    await asyncio.wait_for(here.pull(), 10)
    assert await here.texts("Condition") == ["good"]
    assert len(read) == 39, "twenty, once more at the end of the window, and one of them is of who has her id there now"
    assert [i["id"] for i in await here.quarantined()] == [f"Observation/{first['id']}"]


@slow
async def test_a_change_whose_targets_take_too_long_waits(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "SECONDS", 0.3)
    here, read = await begin(), list[str]()
    through(here, fan(20, here.her, read), wait=0.2)
    here.seen("first", hasMember=[{"reference": "Observation/x0"}])
    here.seen("good", "Condition", at=here.now + timedelta(seconds=2))
    here.now += timedelta(seconds=60)
    await asyncio.wait_for(here.pull(), 10)
    assert await here.texts("Condition") == ["good"] and len(read) <= 4


async def test_what_refers_to_many_comes_once_these_have_come(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MOST", 5)
    here = await begin(Habits(feed="system"))
    for n in range(12):
        here.seen("part", id=f"p{n}", at=here.now + timedelta(seconds=3))
    here.seen("whole", "CarePlan", at=here.now + timedelta(seconds=2), supportingInfo=[{"reference": f"Observation/p{n}"} for n in range(12)])
    here.now += timedelta(seconds=60)
    tally = await here.pull()
    assert tally.refused == 1, "it led too far at first"
    assert (await here.texts("CarePlan"), len(await here.texts()), await here.quarantined()) == (["whole"], 12, [])


async def test_a_crowd_that_one_change_speaks_of_is_not_looked_up_one_by_one(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MOST", 10)
    here = await begin()
    members = [{"entity": {"reference": f"Patient/s{n}"}} for n in range(30)]
    for n in range(30):
        here.there.write({"resourceType": "Patient", "id": f"s{n}", "name": [{"family": "Secret"}]})
    here.there.write({"resourceType": "Group", "type": "person", "actual": True, "name": "Secret club", "member": members})
    here.now += timedelta(seconds=60)
    await here.pull()
    assert len(here.there.requests("GET", "Patient/s")) <= 20
    assert "Secret" not in repr(await here.quarantined()), "of what is about nobody known here no word is kept"


async def test_what_refers_to_each_other_and_cannot_be_taken_is_read_once_for_each_change(begin: Begin) -> None:
    here = await begin()
    ids = [f"c{n}" for n in range(7)]
    for id in ids:
        others = [{"reference": f"Observation/{o}"} for o in ids if o != id]
        here.seen("c", id=id, status="nonsense", hasMember=others)
    here.seen("good", "Condition", at=here.now + timedelta(seconds=2))
    here.now += timedelta(seconds=60)
    await asyncio.wait_for(here.pull(), 20)
    assert await here.texts("Condition") == ["good"]
    assert len(here.there.requests("GET", "Observation/c")) <= len(ids) ** 2
    assert len(await here.quarantined()) == len(ids)


async def test_a_withdrawal_waits_for_nothing_that_their_edit_leads_to(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("secret")
        await rig.settled()
        copy, read = rig.there.named("Goal")[0], list[str]()
        through(rig, fan(20, rig.her, read))
        rig.there.write({**copy, "addresses": [{"reference": "Observation/x0"}]}, rig.now + timedelta(seconds=1))
        await rig.no()
        for _ in range(3):
            await asyncio.wait_for(push(rig.house, rig.partner, "w"), 10)
        assert rig.there.named("Goal") == [] and read == []
        assert (await rig.status())["recalls_open"] == 0
        assert await rig.house.store.kept_all("quarantine", rig.now, "hub "), "their edit is kept for a person"


# -- what one search finds ---------------------------------------------------------------------------------------------


def endless(base: str, type: str, read: list[str]) -> Answer:
    """A search for this type by a tag has a next page each time, with something new on it."""

    def answer(request: httpx2.Request) -> dict[str, Any] | None:
        if request.method != "GET" or not request.url.path.endswith(f"/{type}") or not {"_tag", "page"} & set(request.url.params):
            return None
        read.append(str(request.url))
        entry = {"resource": {"resourceType": type, "id": f"e{len(read)}", "meta": {"versionId": "1"}}}
        return {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": f"{base}/{type}?page={len(read)}"}], "entry": [entry]}

    return answer


async def test_a_search_by_tag_without_end_parks_one_and_stops_neither_others_nor_the_pull(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(conditional_create=False)) as rig:
        await rig.settled()
        read: list[str] = []
        through(rig, endless(rig.there.url, "Goal", read))
        await rig.goal("hers")
        await rig.another()
        while (await asyncio.wait_for(push(rig.house, rig.partner, "w"), 10)).anything:
            pass
        status = await rig.status()
        assert len(read) <= 10 and rig.there.named("Goal") == []
        assert (status["parked"], status["queued"], len(rig.there.named("Patient"))) == (1, 0, 2)


@slow
async def test_a_search_by_tag_that_takes_too_long_parks_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "TAG_SECONDS", 0.5)
    async with rigged(tmp_path, Habits(conditional_create=False)) as rig:
        await rig.settled()
        read: list[str] = []
        through(rig, endless(rig.there.url, "Goal", read), wait=0.2)
        await rig.goal("hers")
        await asyncio.wait_for(push(rig.house, rig.partner, "w"), 10)
        assert (await rig.status())["parked"] == 1 and len(read) <= 3


# -- what is held in memory --------------------------------------------------------------------------------------------


def long(base: str, pages: int, size: int) -> Answer:
    """A history of `pages`, each of `size` bytes in ten entries, about nobody who is known here."""
    read: list[str] = []

    def answer(request: httpx2.Request) -> dict[str, Any] | None:
        if request.method != "GET" or not request.url.path.endswith("/_history"):
            return None
        read.append(str(request.url))
        meta = {"versionId": "1", "lastUpdated": "2026-11-25T11:00:00Z"}
        about = {"status": "final", "subject": {"reference": "Patient/nobody"}}
        entries = [
            {"resource": {"resourceType": "Observation", "id": f"n{len(read)}-{k}", "meta": meta, **about, "code": {"text": f"{len(read)}-{k}" + "a" * (size // 10)}}}
            for k in range(10)
        ]
        more = [{"relation": "next", "url": f"{base}/_history?page={len(read)}"}] if len(read) < pages else []
        return {"resourceType": "Bundle", "type": "history", "meta": {"lastUpdated": "2026-11-25T12:00:00Z"}, "link": more, "entry": entries}

    return answer


async def test_of_a_long_history_no_more_is_held_than_a_page_and_what_came_is_called(begin: Begin) -> None:
    here = await begin(Habits(feed="system"))
    through(here, long(here.there.url, 12, 1_000_000))
    tracemalloc.start()
    try:
        await here.pull()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000, f"{peak:,} bytes for pages of 1 MB, 12 MB in all"


# -- what is kept ------------------------------------------------------------------------------------------------------


async def nonsense(here: Shared, ids: Iterable[str], size: int = 2_000) -> None:
    """Observations about her that no rule lets in."""
    for id in ids:
        here.seen("x" * size, id=id, status="nonsense")
    here.now += timedelta(seconds=60)
    await here.pull()


async def test_what_is_refused_is_kept_in_bounds_with_one_alarm(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_WHOLE", 2)
    monkeypatch.setattr(waiting, "MOST", 4)
    here = await begin()
    with capture_logs() as logs:
        await nonsense(here, [f"q{n}" for n in range(7)])
        await nonsense(here, ["q7"])
        await nonsense(here, ["q1", "q3"])  # once more: no more is kept of it than before
    items = {i["id"]: i["body"] for i in await here.quarantined()}
    assert set(items) == {*(f"Observation/q{n}" for n in range(4)), "unnamed/more"}
    assert ["left_out" in items[f"Observation/q{n}"] for n in range(4)] == [False, False, True, True]
    assert len([e for e in logs if e["event"] == "alarm"]) == 1
    assert len(await waiting_room.everything(here.operator)) == 5


@slow
async def test_what_is_refused_and_large_is_kept_by_name_and_read_again_when_it_is_replayed(begin: Begin) -> None:
    here = await begin()
    await nonsense(here, ["big"], 200_000)
    (item,) = await here.quarantined()
    assert item["body"] == {"left_out": True, "size": item["body"]["size"]} and item["body"]["size"] > 200_000
    here.seen("small", id="big")
    await replay(here.house, here.partner, here.operator, item["item"])
    assert await here.texts() == ["small"] and await here.quarantined() == []


@slow
async def test_a_change_that_was_refused_and_not_kept_whole_is_read_there_again_when_it_is_replayed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONGEST", 300)
    monkeypatch.setattr(waiting, "BRIEF", 300)
    here = await begin()
    here.seen("a", id="o")
    here.now += timedelta(seconds=60)
    await here.pull()
    await here.refuse("surgery")
    here.seen("b" * 500, id="o")
    here.now += timedelta(seconds=60)
    await here.pull()
    (item,) = await here.quarantined()
    assert "left_out" in item["body"] and await here.texts() == ["a"]
    await replay(here.house, here.partner, here.operator, item["item"])
    (item,) = await here.quarantined()
    assert "left_out" in item["body"] and item["tries"] == 2, "she still says no"
    no = next(k for k in reversed(here.names) if k.startswith("consent"))
    await here.change(here.me, no, status="inactive")
    await replay(here.house, here.partner, here.operator, item["item"])
    assert await here.texts() == ["b" * 500] and await here.quarantined() == []


@slow
async def test_a_withdrawal_whose_copy_cannot_be_found_for_a_list_without_end_is_told(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.settled()
        rig.there.fault("POST", "Goal", applied=True, cut="before")
        await rig.goal("secret")
        await rig.round(1)
        rig.there.well()
        assert len(rig.there.named("Goal")) == 1
        through(rig, endless(rig.there.url, "Goal", []))
        await rig.no()
        rig.now += timedelta(minutes=5)
        await rig.round(4)
        status = await rig.status()
        assert (status["recalls_open"], status["quiet"]) == (1, False)
        assert await rig.house.store.kept_all("recall-told", rig.now), "somebody is asked to have it deleted there"
