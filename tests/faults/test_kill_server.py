"""`kill -9` of the whole server at many moments loses nothing that was acknowledged."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ..conftest import Gateway, gateway


def goal(g: Gateway, n: int) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "identifier": [{"system": "urn:kill", "value": str(n)}], "lifecycleStatus": "active",
        "description": {"text": f"Goal number {n}"}, "subject": {"reference": f"Patient/{g.patient}"},
    }  # fmt: skip


def write_until_killed(g: Gateway, acknowledged: dict[str, bytes], counter: list[int], stop: threading.Event) -> None:
    while not stop.is_set():
        counter[0] += 1
        try:
            answer = g.call("patient", "POST", "Goal", body=goal(g, counter[0]))
        except httpx2.HTTPError:
            return
        if answer.status_code == 201:
            acknowledged[answer.json()["id"]] = answer.content


def kills(folder: Path, points: int, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    counter = [0]
    with gateway(folder, "--demo") as g:
        g.persona("patient")
        for point in range(points):
            stop = threading.Event()
            writers = [threading.Thread(target=write_until_killed, args=(g, acknowledged, counter, stop)) for _ in range(3)]
            for w in writers:
                w.start()
            stop.wait(chance.uniform(0.01, 0.35))
            g.stop(signal.SIGKILL)
            stop.set()
            for w in writers:
                w.join(10)
            g.start("--demo")
            if point % 10 == 9 or point == points - 1:
                g._tokens.clear()
                for id, body in acknowledged.items():
                    there = g.get("patient", f"Goal/{id}")
                    assert there.status_code == 200 and there.content == body, f"after kill {point}: {id}"
    assert acknowledged


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    kills(tmp_path, 3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_by_fifty_kills(tmp_path: Path) -> None:
    kills(tmp_path, 50, seed=2)
