"""`kill -9` of the whole server at many moments loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_gateway.domain.types import Note
from fhir_gateway.store import sqlite

from ..conftest import Gateway, gateway


def goal(g: Gateway, n: int) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "identifier": [{"system": "urn:kill", "value": str(n)}], "lifecycleStatus": "active",
        "description": {"text": f"Goal number {n}"}, "subject": {"reference": f"Patient/{g.patient}"},
    }  # fmt: skip


def discharge(g: Gateway, n: int) -> dict[str, Any]:
    """A push of two resources that belong together."""
    me = {"reference": f"Patient/{g.patient}"}
    return {
        "resourceType": "Bundle", "type": "transaction", "identifier": {"system": "urn:kill", "value": f"push-{n}"},
        "entry": [
            {"request": {"method": "POST", "url": "Observation"}, "resource": {
                "resourceType": "Observation", "identifier": [{"system": "urn:kill", "value": f"obs-{n}"}], "status": "final",
                "code": {"text": "Pulse"}, "subject": me}},
            {"request": {"method": "POST", "url": "Task"}, "resource": {
                "resourceType": "Task", "identifier": [{"system": "urn:kill", "value": f"task-{n}"}], "status": "requested", "intent": "order",
                "description": "Visit", "for": me}},
        ],
    }  # fmt: skip


@dataclass
class Seen:
    """What clients were told, and what they sent without hearing back."""

    goals: dict[str, bytes] = field(default_factory=dict)
    pushes: dict[int, bytes] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    counter: Iterator[int] = field(default_factory=lambda: count(1))


def write_until_killed(g: Gateway, seen: Seen, stop: threading.Event) -> None:
    while not stop.is_set():
        n = next(seen.counter)
        try:
            answer = g.call("patient", "POST", "Goal", body=goal(g, n))
        except httpx2.HTTPError:
            return
        if answer.status_code == 201:
            seen.goals[answer.json()["id"]] = answer.content


def push_until_killed(g: Gateway, seen: Seen, stop: threading.Event) -> None:
    while not stop.is_set():
        n = next(seen.counter)
        try:
            answer = g.call("hospital", "POST", "", body=discharge(g, n))
        except httpx2.HTTPError:
            seen.unanswered.add(n)
            return
        assert answer.status_code == 200, answer.text
        seen.pushes[n] = answer.content


def found(g: Gateway, type: str, name: str) -> int:
    return int(g.get("patient", f"{type}?patient={g.patient}&identifier=urn:kill|{name}").json()["total"])


def check(g: Gateway, seen: Seen, point: int) -> None:
    """Everything acknowledged is there, whole, with its audit row and its outbox entry; what was not is resent to one effect."""
    for id, body in seen.goals.items():
        there = g.get("patient", f"Goal/{id}")
        assert there.status_code == 200 and there.content == body, f"after kill {point}: {id}"
    for n, answered in seen.pushes.items():
        assert found(g, "Observation", f"obs-{n}") == found(g, "Task", f"task-{n}") == 1, f"after kill {point}: push {n}"
        assert g.call("hospital", "POST", "", body=discharge(g, n)).content == answered, f"after kill {point}: push {n} sent again"
    for n in sorted(seen.unanswered):
        both = {found(g, "Observation", f"obs-{n}"), found(g, "Task", f"task-{n}")}
        assert both in ({0}, {1}), f"after kill {point}: push {n} is there by half"
        resent = g.call("hospital", "POST", "", body=discharge(g, n))
        assert resent.status_code == 200, resent.text
        assert found(g, "Observation", f"obs-{n}") == found(g, "Task", f"task-{n}") == 1
        seen.pushes[n] = resent.content
    seen.unanswered.clear()


def check_store(g: Gateway, seen: Seen) -> None:
    """In the closed store: each version has its audit row and its entry for the partner, and no entry is of what is not there."""
    import apsw

    db = apsw.Connection(str(g.data / "gateway.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    versions = {(t, i, v) for t, i, v in db.execute("SELECT type, id, version FROM version WHERE type IN ('Goal', 'Observation', 'Task')")}
    queued = {(t, i, v) for t, i, v in db.execute("SELECT type, id, version FROM outbox WHERE remote = 'remote' AND why = 'changed'")}
    assert {i for _, i, _ in versions} >= seen.goals.keys()
    assert versions <= queued, sorted(versions - queued)[:3]
    assert not {q for q in queued if q[0] in ("Goal", "Observation", "Task")} - versions
    told = Counter(ref for n in notes(g) if n.allowed and n.action in ("C", "U") for ref in n.refs)
    for type, id, _ in versions:
        wanted = sum(1 for t, i, _ in versions if (t, i) == (type, id))
        assert told[f"{type}/{id}"] >= wanted, f"{type}/{id}: {wanted} versions, {told[f'{type}/{id}']} rows"


def notes(g: Gateway) -> list[Note]:
    async def all_of_them() -> list[Note]:
        store = await sqlite.open(g.data / "gateway.sqlite")
        try:
            return await store.notes(count=1_000_000)
        finally:
            await store.close()

    return asyncio.run(all_of_them())


def kills(folder: Path, points: int, seed: int) -> None:
    chance = random.Random(seed)
    seen = Seen()
    remote = {"GATEWAY_REMOTE_URL": "http://127.0.0.1:9/fhir", "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "false"}
    with gateway(folder, "--demo", **remote) as g:
        g.persona("patient")
        g.persona("hospital")
        for point in range(points):
            stop = threading.Event()
            writers = [threading.Thread(target=write_until_killed, args=(g, seen, stop)) for _ in range(2)]
            writers += [threading.Thread(target=push_until_killed, args=(g, seen, stop))]
            for w in writers:
                w.start()
            end = time.monotonic() + 20
            while point == 0 and not (seen.goals and seen.pushes) and time.monotonic() < end:
                stop.wait(0.01)  # a slow machine has something to lose too
            stop.wait(chance.uniform(0.01, 0.35))
            g.stop(signal.SIGKILL)
            stop.set()
            for w in writers:
                w.join(10)
            g.start("--demo")
            if point % 10 == 9 or point == points - 1:
                g._tokens.clear()
                check(g, seen, point)
        g.stop()
        check_store(g, seen)
    assert seen.goals and seen.pushes


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    kills(tmp_path, 3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_by_fifty_kills(tmp_path: Path) -> None:
    kills(tmp_path, 50, seed=2)
