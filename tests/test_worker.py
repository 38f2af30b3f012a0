"""The worker: what it does when a server is away, asks it to wait or does not know us, and what an operator sees of it from outside."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from fhir_gateway import gate, outbound
from fhir_gateway.domain import strict
from fhir_gateway.domain.copies import codes
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Down, RemoteServer, Unknown
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.push import push
from fhir_gateway.sync.state import Breakers, read

from .conftest import Gateway
from .faults.invariants import answers
from .telling.place import Place
from .telling.servers import certificate, mail_server, web_server
from .test_remotes import HUB, Recorder, partnered


class Scripted(Recorder):
    """Answers `says` to all but /metadata while it is a status; `names` are the requests it had."""

    def __init__(self) -> None:
        super().__init__()
        self.says, self.meta, self.more = 0, 0, dict[str, str]()
        self.names: list[str] = []
        self.most, self.now, self.lock, self.slow = 0, 0, threading.Lock(), 0.0

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.names.append(f"{method} {path}")
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.slow)
        with self.lock:
            self.now -= 1
        status = self.meta if path == "metadata" else self.says
        if status:
            return status, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing", "diagnostics": "no"}]}
        if path == "metadata":
            able = [{"type": t, "conditionalCreate": True} for t in ("Patient", "Goal", "Organization")]
            return 200, {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "resource": able}]}
        with self.lock:
            return super().answer(method, path, sent)

    def more_headers(self) -> dict[str, str]:
        return self.more


class Town(Place):
    """Some people, whose records may go to the surgery's server."""

    partner: Partner
    there: Scripted

    async def people(self, count: int, goals: int = 1) -> list[str]:
        """So many people more, each with so many goals, who let them go to the surgery."""
        out = []
        for n in range(count):
            body: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": f"F{n}"}]}
            person = str((await gate.create(self.hospital, "Patient", strict.dump(body))).ref)
            self.person = self.names["amina"] = person  # `me` and `grant` are theirs
            self.names[f"consent of {person}"] = self.names[await self.grant("surgery")]
            for g in range(goals):
                body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"walk {g}"}, "subject": {"reference": person}}
                await gate.create(self.me, "Goal", strict.dump(body))
            out.append(person)
        return out

    async def no(self, person: str) -> None:
        """They take it back."""
        self.names["amina"] = person
        await self.change(self.me, f"consent of {person}", status="inactive")

    def writes(self) -> list[str]:
        return [n for n in self.there.names if not n.startswith("GET")]

    async def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """The worker for so long on this clock, which goes on only while all its tasks pause: to the first that ends."""
        stop, end, tasks = asyncio.Event(), self.now + timedelta(seconds=seconds), 3
        pausing: list[tuple[datetime, int, asyncio.Future[None]]] = []

        async def pause(wait: float) -> None:
            me = asyncio.get_running_loop().create_future()
            pausing.append((self.now + timedelta(seconds=wait), next(self.numbers), me))
            if len(pausing) == tasks:
                pausing.sort()
                self.now, _, first = pausing.pop(0)
                first.set_result(None)
            await me
            if self.now >= end or until() or stop.is_set():
                stop.set()
                for _, _, other in pausing:
                    other.done() or other.set_result(None)

        await worker.serve(self.house, self.partner, "w", stop, pause)

    async def status(self) -> dict[str, Any]:
        return await worker.status(self.house, self.partner)


@contextmanager
def served() -> Iterator[Scripted]:
    there = Scripted()
    threading.Thread(target=there.server.serve_forever, args=(0.02,), daemon=True).start()
    yield there
    there.server.shutdown()
    there.server.server_close()


@pytest_asyncio.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    with served() as there, mail_server() as post:
        place = Town(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        await place.open(store, Remote("hub", "surgery-code"))
        terms = Remote("hub", place.names["surgery"])
        place.house.remotes, place.there = (terms,), there
        place.partner = Partner(terms, RemoteServer(there.url, lambda: place.now), poll_seconds=600)
        yield place
        await place.partner.server.close()
        await store.close()


# -- a server that is away, asks us to wait, or does not know us ---------------------------------------------------------------


async def test_a_server_that_asks_us_to_wait_is_asked_nothing_until_then(town: Town) -> None:
    await town.people(6)
    town.there.says, town.there.meta, town.there.more = 429, 429, {"Retry-After": "120"}
    began = town.now
    await town.run(119)
    assert len(town.there.names) == 1, "one request told us, whatever waits"
    status = await town.status()
    assert status["paused"] == "it answered 429" and status["since"] == began.isoformat()
    assert datetime.fromisoformat(status["next_try"]) == began + timedelta(seconds=120)
    town.there.says, town.there.meta, town.there.more = 0, 0, {}
    await town.run(60)
    status = await town.status()
    assert status["quiet"] and not status["paused"] and status["lag_s"] == 0
    assert len([n for n in town.there.held if n.startswith("Goal/")]) == 6


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
async def test_no_pause_is_longer_than_five_minutes_whatever_chance_says(town: Town, chance: float) -> None:
    town.house.chance, both = lambda: chance, await Breakers.of(town.house, "hub")
    waits = []
    for _ in range(15):
        await both.push.failed(Down("away"))
        waits.append(both.push.wait())
    assert waits == sorted(waits) and waits[0] == 0.75 + chance / 2 and 180 <= waits[-1] <= 300
    await town.people(1)
    town.there.says = 503
    for _ in range(12):
        town.now += timedelta(seconds=301)
        with suppress(Down):
            await push(town.house, town.partner, "w")
    (dues,) = [{i["due"] - town.now for i in await town.house.store.outbox_items("hub", "queued") if i["tries"] > 8}]
    assert dues and max(dues) <= timedelta(seconds=300)


@pytest.mark.slow
async def test_what_a_server_asks_for_holds_after_a_restart_too(town: Town) -> None:
    await town.people(1)
    town.there.says, town.there.meta, town.there.more = 503, 503, {"Retry-After": "600"}
    await town.run(5)
    town.partner = Partner(town.partner.terms, town.partner.server, poll_seconds=60)
    await town.run(500)
    assert len(town.there.names) == 1


@pytest.mark.slow
async def test_an_hour_away_costs_few_requests_and_then_everything_goes_in_order(town: Town) -> None:
    await town.people(3, goals=2)
    away, town.partner.server.base = town.partner.server.base, "http://127.0.0.1:9/fhir"
    with capture_logs() as said:
        await town.run(3600)
    tried = [e for e in said if e["event"] == "remote-away" and e["way"] == "push"]
    assert 14 <= len(tried) <= 25, "a second, two, four, up to five minutes"
    assert len([e for e in said if e["event"] == "alarm"]) == 2, "one for each way, once"
    status = await town.status()
    assert "cannot be reached" in status["paused"] and 3590 < status["lag_s"] <= 3910 and not status["quiet"]
    assert max(i["tries"] for i in await town.house.store.outbox_items("hub", "queued")) <= 5, "what was not tried has all its tries"
    town.partner.server.base = away
    with capture_logs() as said:
        await town.run(420)
    assert {"remote-back"} == {e["event"] for e in said} and (await town.status())["quiet"]
    for person in {g["subject"]["reference"] for g in town.there.held.values() if g["resourceType"] == "Goal"}:
        theirs = [w for w in map(json.loads, town.there.written) if w.get("subject", {}).get("reference") == person and w["resourceType"] == "Goal"]
        assert [g["description"]["text"] for g in theirs] == ["walk 0", "walk 1"], "each person's in order"


@pytest.mark.slow
async def test_five_failures_open_it_and_one_look_comes_before_the_next_entry(town: Town) -> None:
    await town.people(3)
    town.there.says = 500
    await town.run(40, lambda: len(town.writes()) >= 5)
    state = await read(town.house, "hub", "push")
    assert state.failures == 5 and len(town.writes()) == 5
    town.there.names.clear()
    town.there.meta = 500
    await town.run(120)
    assert town.writes() == [] and "GET metadata" in town.there.names, "half open: it is looked at, nothing is sent"
    town.there.names.clear()
    town.there.meta = 0
    await town.run(301, lambda: bool(town.writes()))
    assert len(town.writes()) == 1, "it answers again: one entry is tried"


async def test_who_does_not_know_us_is_not_hammered_and_an_alarm_is_raised_once(town: Town) -> None:
    """E7; H39"""
    await town.people(4)
    town.there.says = 401
    with capture_logs() as said:
        await town.run(1800)
    assert len([e for e in said if e["event"] == "alarm" and "push" in e["what"]]) == 1
    assert 6 <= len(town.writes()) <= 10
    assert (await town.status())["paused"] == "it answered 401"
    town.there.says = 0
    await town.run(301)
    assert (await town.status())["quiet"] and not (await town.status())["paused"]


@pytest.mark.slow
async def test_a_page_that_cannot_be_read_does_not_hold_the_recalls(town: Town) -> None:
    (person,) = await town.people(1)
    await town.run(10)
    assert "Goal" in town.there.types()
    answer, town.there.answer = town.there.answer, lambda m, p, s: (500, {}) if m == "GET" and p != "metadata" else answer(m, p, s)  # type: ignore[method-assign]
    await town.run(400)
    assert (await read(town.house, "hub", "pull")).failures >= 5
    await town.no(person)
    await town.run(5)
    assert "Goal" not in town.there.types() and (await read(town.house, "hub", "push")).kind == ""


@pytest.mark.slow
async def test_a_recall_goes_before_what_waits_of_others(town: Town) -> None:
    first, *_ = await town.people(1)
    await town.run(5)
    await town.people(12, goals=2)
    await town.no(first)
    town.there.names.clear()
    await town.run(60)
    deleted = next(n for n, name in enumerate(town.writes()) if name.startswith("DELETE"))
    assert deleted < 8, "not after all the others"


# -- side by side --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_people_go_side_by_side_and_each_in_order(town: Town) -> None:
    await town.people(6, goals=3)
    town.there.slow = 0.02
    await town.run(30)
    assert 2 < town.there.most <= town.partner.concurrency
    assert (await town.status())["quiet"]
    written = [json.loads(w) for w in town.there.written]
    for person in {w["subject"]["reference"] for w in written if w["resourceType"] == "Goal"}:
        assert [w["description"]["text"] for w in written if w.get("subject", {}).get("reference") == person and w["resourceType"] == "Goal"] == ["walk 0", "walk 1", "walk 2"]


@pytest.mark.slow
@pytest.mark.parametrize(("met", "times"), [(0, 30), (500, 30), (1_000, 15), (100_000, 6)])
async def test_what_was_just_sent_and_stands_in_each_window_again_is_read_more_seldom(town: Town, met: int, times: int) -> None:
    """Its echo is in every window as long as that reaches back: read each two seconds it costs both sides as much as the sending. Each ten
    seconds it is, a third of the overlap."""
    town.partner = Partner(town.partner.terms, town.partner.server, poll_seconds=2)
    town.partner.heard["another feed"] = frozenset(map(str, range(met)))
    await town.run(59)
    assert len([n for n in town.there.names if n.startswith("GET Goal?")]) == times


async def test_what_many_refer_to_is_sent_once(town: Town) -> None:
    people = await town.people(6)
    for person in people:
        town.names["amina"] = person
        await town.change(town.hospital, "amina", managingOrganization={"reference": town.names["hospital"]})
    town.there.slow = 0.01
    town.partner.concurrency = 6
    for _ in range(8):
        await push(town.house, town.partner, "w")
    assert len([w for w in town.there.written if '"resourceType": "Organization"' in w]) == 1


async def test_what_was_not_begun_is_given_back_at_once(town: Town) -> None:
    await town.people(8)
    town.there.says = 503
    with pytest.raises(Down):
        await push(town.house, town.partner, "w", width=2)
    states = await town.house.store.outbox("hub")
    assert "leased" not in states and states["queued"] >= 8


@pytest.mark.slow
async def test_a_hanging_up_server_is_given_a_rest(town: Town) -> None:
    """Five answers in a row that do not come count as away; none of the entries is lost."""
    await town.people(8)
    answer = town.there.answer
    town.there.answer = lambda m, p, s: (0, {}) if m == "POST" else answer(m, p, s)  # type: ignore[method-assign]
    with pytest.raises(Unknown):
        await push(town.house, town.partner, "w", width=8)
    town.there.answer = answer  # type: ignore[method-assign]
    await town.run(120)
    assert (await town.status())["quiet"] and len([n for n in town.there.held if n.startswith("Goal/")]) == 8


async def test_a_failure_after_which_nothing_is_left_to_send_is_not_said_for_ever(town: Town) -> None:
    """No request of ours would show that it is well again: it is looked at, and only where nothing waits."""
    (person,) = await town.people(1)
    answer, refuses = town.there.answer, [503]
    town.there.answer = lambda m, p, s: (refuses[0], {}) if refuses[0] else answer(m, p, s)  # type: ignore[method-assign]
    await town.run(2)
    assert (await town.status())["paused"]
    await town.no(person)  # before anything went
    refuses[0] = 0
    await town.run(60)
    status = await town.status()
    assert (status["paused"], status["next_try"], status["failures"], status["quiet"]) == ("", None, 0, True) and not town.there.held


async def test_of_a_refused_key_no_next_try_is_said_that_has_passed_where_nothing_is_left_to_send(town: Town) -> None:
    (person,) = await town.people(1)
    town.there.says = 401
    await town.run(2)
    status = await town.status()
    assert (status["state"], status["queued"] > 0) == ("locked", True) and status["next_try"]
    await town.no(person)
    town.there.says = 0
    await town.run(90)
    status = await town.status()
    assert status["queued"] == 0 and status["quiet"] and not town.there.held
    assert status["next_try"] is None or datetime.fromisoformat(status["next_try"]) > town.now


async def test_a_worker_takes_back_what_is_agreed_on_no_more_also_where_nothing_goes_there_any_longer(town: Town) -> None:
    await town.people(2)
    await town.run(5)
    assert [n for n in town.there.held if n.startswith("Goal/")]
    town.partner = Partner(replace(town.partner.terms, direction="in"), town.partner.server, poll_seconds=600)
    town.house.remotes = (town.partner.terms,)
    await town.run(10)
    assert not [n for n in town.there.held if n.startswith(("Goal/", "Patient/"))] and (await town.status())["quiet"]


# -- what is said of it --------------------------------------------------------------------------------------------------------


async def test_it_is_not_quiet_while_a_withdrawn_copy_is_there(town: Town) -> None:
    """H11: a recall that is parked, delayed or being tried is open."""
    (person,) = await town.people(1)
    await town.run(5)
    assert (await town.status())["quiet"]
    answer, refuses = town.there.answer, [503]
    town.there.answer = lambda m, p, s: (refuses[0], {}) if m == "DELETE" and refuses[0] else answer(m, p, s)  # type: ignore[method-assign]
    await town.no(person)
    await town.run(5)
    status = await town.status()
    assert status["recalls_open"] == 2 and not status["quiet"], "it is tried again"
    refuses[0] = 422
    await town.run(700)
    status = await town.status()
    assert (status["queued"], status["recalls_open"], status["parked"], status["quiet"]) == (0, 2, 2, False)
    opened = [i for i in await worker.ledger(town.house, town.partner) if i["open"]]
    assert {i["ref"].split("/")[0] for i in opened} == {"Goal", "Patient"} and all(i["sent"] and "422" in i["why"] for i in opened)
    refuses[0] = 0
    await town.house.store.requeue("hub", "parked", town.now)
    await town.run(5)
    status = await town.status()
    assert status["recalls_open"] == 0 and status["quiet"]
    assert all(i["recalled"] and not i["open"] for i in await worker.ledger(town.house, town.partner))


@pytest.mark.slow
async def test_a_recall_older_than_an_hour_raises_an_alarm_once(town: Town) -> None:
    (person,) = await town.people(1)
    await town.run(5)
    answer = town.there.answer
    town.there.answer = lambda m, p, s: (422, {}) if m == "DELETE" else answer(m, p, s)  # type: ignore[method-assign]
    await town.no(person)
    with capture_logs() as said:
        await town.run(3500)
        assert not [e for e in said if e["event"] == "alarm"]
        await town.run(700)
    assert len([e for e in said if e["event"] == "alarm" and "taken back" in e["what"]]) == 1


@pytest.mark.parametrize("first", [pytest.param("no", marks=pytest.mark.slow), "away"])
async def test_of_what_is_not_taken_back_within_an_hour_somebody_is_told_also_while_nobody_is_tried(town: Town, first: str) -> None:
    """Her no is looked at, and the hour counted, without a word to that server."""
    (person,) = await town.people(1)
    await town.run(5)
    away, town.partner.server.base = town.partner.server.base, "http://127.0.0.1:9/fhir"
    if first == "away":
        await gate.create(town.me, "Goal", strict.dump({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": person}}))
        await town.run(900)
    await town.no(person)
    await town.run(3500)

    async def asked() -> list[tuple[str, str]]:
        """Of each Task to take something back by hand: of what type, and how far it is."""
        tasks = [strict.decode(t.body or b"") for t in await town.house.store.patient_record(person, ["Task"])]
        return sorted((t["focus"]["reference"].split("/")[0], t["status"]) for t in tasks if t["code"]["coding"][0]["code"] == "recall-by-hand")

    assert await asked() == [] and (await town.status())["recalls_open"] == 2
    assert {i["why"] for i in await town.house.store.outbox_items("hub", "queued")} <= {"recall", "changed"}, "what decides is looked at"
    await town.run(400)
    assert await asked() == [("Goal", "requested"), ("Patient", "requested")]
    for whom in ("patient", "privacy-officer"):
        assert [i["why"] for i in await town.house.store.outbox_items(f"tell:{whom}", "queued") if i["patient"] == person].count("recall-failed") == 2
    await town.run(900)
    assert len(await asked()) == 2, "once"
    town.partner.server.base = away
    await town.run(400)
    assert not town.there.held and (await town.status())["recalls_open"] == 0
    assert {state for _, state in await asked()} == {"completed"}


@pytest.mark.slow
async def test_a_stop_loses_nothing_and_the_next_goes_on(town: Town) -> None:
    await town.people(4, goals=2)
    seen: list[int | None] = []
    await worker.once(town.house, town.partner, "w", stopped=lambda: len(town.writes()) >= 3, told=lambda tally, left: seen.append(left))
    assert seen and "leased" not in await town.house.store.outbox("hub") and not (await town.status())["quiet"]
    tally = await worker.once(town.house, town.partner, "w")
    assert (await town.status())["quiet"] and tally.sent < 12
    assert len(town.there.written) == len({str(codes(json.loads(w))) for w in town.there.written}), "nothing was sent twice"


@pytest.mark.slow
async def test_once_goes_on_past_one_answer_that_did_not_come(town: Town) -> None:
    await town.people(3)
    answer, lost = town.there.answer, [1]

    def loses(m: str, p: str, s: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if m == "POST" and lost:
            lost.clear()
            return 0, {}
        return answer(m, p, s)

    town.there.answer = loses  # type: ignore[method-assign]
    tally = await worker.once(town.house, town.partner, "w")
    assert tally.delayed == 1 and tally.sent == 4, "of the others"


@pytest.mark.slow
async def test_an_ended_certificate_pauses_and_nothing_goes(town: Town, tmp_path: Path) -> None:
    """H39"""
    await town.people(1)
    trusted, tls = certificate(tmp_path, ends=-timedelta(days=1))
    with web_server(tls) as there:
        town.partner.server.base = f"https://127.0.0.1:{there.port}/fhir"
        town.partner.server.http = outbound.client(5, authority=trusted)
        await town.run(60)
        status = await town.status()
        assert "cannot be reached" in status["paused"] and status["queued"] >= 2 and there.got == []


# -- from outside, in processes of their own ---------------------------------------------------------------------------------------


def metric(g: Gateway, name: str, labels: str = 'remote="hub"') -> float:
    lines = httpx2.get(f"{g.base}/metrics").text.splitlines()
    return float(next(x for x in lines if x.startswith(f"{name}{{{labels}}}")).split()[-1])


async def metadata(g: Gateway) -> int:
    async with httpx2.AsyncClient() as client:
        return (await client.get(f"{g.base}/fhir/metadata")).status_code


@contextmanager
def running(g: Gateway, *args: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "fhir_gateway", *args]
    process = subprocess.Popen(command, env=g.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=g.data.parent)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_another_process_says_since_when_and_why_it_is_paused(tmp_path: Path) -> None:
    with served() as there, partnered(tmp_path, {**HUB, "url": there.url}) as g:
        there.says = 401
        with running(g, "worker") as process:
            until(lambda: bool(g.lines("sync", "status", "--json")[0]["paused"]))
            (status,) = g.lines("sync", "status", "--json")
            assert status["paused"] == "it answered 401" and status["since"] and status["next_try"] and not status["quiet"]
            assert metric(g, "gateway_remote_paused") == 1 and metric(g, "gateway_sync_lag_seconds") > 0
            assert asyncio.run(answers(lambda: metadata(g))) == [], "I10: who asks this gateway is answered meanwhile"
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=20)
        assert process.returncode == 0
        events = [json.loads(line) for line in said.splitlines()]
        assert len([e for e in events if e["event"] == "alarm" and "push" in e["what"]]) == 1
        there.says = 0
        assert g.command("sync", "run", "--once").returncode == 0
        (status,) = g.lines("sync", "status", "--json")
        assert status["quiet"] and not status["paused"] and status["last_push"] and status["last_pull"]
        assert metric(g, "gateway_remote_paused") == 0 and metric(g, "gateway_sync_entries_total", 'outcome="sent",remote="hub"') > 0


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path: Path, sign: signal.Signals) -> None:
    with served() as there, partnered(tmp_path, {**HUB, "url": there.url}) as g:
        there.slow = 0.1
        with running(g, "sync", "run", "--once") as process:
            until(lambda: len(there.written) >= 3)
            process.send_signal(sign)
            out, said = process.communicate(timeout=20)
        assert process.returncode == 1 and "stopped; run it again to go on" in said and "still to send" in out and "Traceback" not in said
        before, there.slow = len(there.written), 0.0
        assert g.command("sync", "run", "--once").returncode == 0
        assert len(there.written) > before
        creates = [json.loads(w) for w in there.written if "id" not in json.loads(w)]
        assert len(creates) == len({str(codes(w)) for w in creates}), "nothing was made twice"
        there.names.clear()
        with running(g, "sync", "run") as process:
            until(lambda: bool(there.names))
            process.send_signal(sign)
            assert process.wait(20) == 0


@pytest.mark.slow
def test_a_first_sync_shows_on_a_terminal_how_far_it_is_and_goes_on_there_once_it_was_stopped(tmp_path: Path) -> None:
    with served() as there, partnered(tmp_path, {**HUB, "url": there.url}) as g:
        there.slow = 0.05
        first, code = on_a_terminal(g, lambda shown: len(marks(shown)) >= 3)
        assert code == 1 and marks(first) == sorted(marks(first)), "what was done grows"
        done, total = marks(first)[-1]
        assert 0 < done < total and "hub: " in first and " sent, " in first and "stopped; run it again to go on" in first
        written, there.slow = len(there.written), 0.0
        second, code = on_a_terminal(g, lambda shown: False)
        assert code == 0 and marks(second)[-1][0] == marks(second)[-1][1], "to its end"
        assert marks(second)[-1][1] < total, "what was done is not to be done again"
        creates = [json.loads(w) for w in there.written if "id" not in json.loads(w)]
        assert len(there.written) > written and len(creates) == len({str(codes(w)) for w in creates}), "nothing was made twice"


def marks(shown: str) -> list[tuple[int, int]]:
    """Each `done/of so many` that the bar stood at, as it first stood there."""
    return list(dict.fromkeys((int(done), int(of)) for done, of in re.findall(r"(\d+)/(\d+)", shown)))


def on_a_terminal(g: Gateway, enough: Callable[[str], bool]) -> tuple[str, int]:
    """`sync run --once` where a person looks on, stopped once they have seen `enough`: all that was shown, and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "fhir_gateway", "sync", "run", "--once"], env={**g.env, "TERM": "xterm", "COLUMNS": "120"},
                               stdout=subprocess.DEVNULL, stderr=theirs, stdin=theirs, cwd=g.data.parent)  # fmt: skip
    os.close(theirs)
    shown, stopped = b"", False
    with suppress(OSError):  # which is how a terminal says that nobody writes to it any more
        while part := os.read(ours, 4096):
            shown += part
            if not stopped and enough(shown.decode(errors="replace")):
                stopped = True
                process.send_signal(signal.SIGINT)
    os.close(ours)
    return shown.decode(errors="replace"), process.wait(60)
