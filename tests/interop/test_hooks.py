"""HAPI and a second gateway call us when something changes there, and we ask them at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ..conftest import Gateway, free_port, gateway
from .agreement import tag_of
from .driving import START, SecondGateway, running
from .peers import hapi
from .test_peers import Pair, goals, put, wait_for

pytestmark = pytest.mark.interop


def test_a_change_there_is_here_within_two_seconds_though_it_is_asked_every_ten_minutes(tmp_path: Path) -> None:
    with hapi("--set", "subscriptionIntervalInMs=200") as url:
        remote = {"GATEWAY_REMOTE_URL": url, "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "true", "GATEWAY_REMOTE_POLL_SECONDS": "600"}
        with gateway(tmp_path, "--demo", **remote) as g:
            pair = Pair(g, url)
            goal = goals(pair)[0]
            copy = wait_for(lambda: pair.copy("Goal", goal["id"]), 60)
            assert copy is not None, g.log.read_text()[-2000:]
            active = wait_for(lambda: [s for s in pair.there("Subscription") if s["status"] == "active"], 60)
            assert {s["criteria"] for s in active} <= {f"{s['criteria'].split('?')[0]}?" for s in active} and wait_for(
                lambda: "Goal?" in {s["criteria"] for s in pair.there("Subscription") if s["status"] == "active"}, 60
            ), g.log.read_text()[-2000:]
            assert all("payload" not in s["channel"] for s in pair.there("Subscription"))
            time.sleep(3)  # what our own copies caused is over
            took = []
            for n in range(3):
                latest = pair.copy("Goal", goal["id"])
                assert latest is not None
                assert put(f"{url}/Goal/{latest['id']}", latest | {"note": [{"text": f"Seen {n}"}]}).status_code == 200
                began = time.monotonic()
                seen = wait_for(lambda n=n: g.get("patient", f"Goal/{goal['id']}").json().get("note", [{}])[-1].get("text") == f"Seen {n}", 30)  # type: ignore[misc]
                took.append(time.monotonic() - began)
                assert seen, g.log.read_text()[-3000:]
                time.sleep(1.5)
            print("\nseconds:", [round(t, 2) for t in took])
            assert sorted(took)[1] < 2, took
            (status,) = g.lines("sync", "status", "--json")
            assert status["quarantined"] == 0 and status["conflicts"] == 0, status
            # A stranger's call is answered alike, and wakes nothing.
            ours = pair.there("Subscription")[0]["channel"]["endpoint"]
            right = httpx2.post(ours, content=b"<x>")
            wrong = httpx2.post(ours[:-4] + "beef", content=b"{}")
            nobody = httpx2.post(ours.replace("/remote/", "/elsewhere/"))
            assert [(r.status_code, r.content, sorted(r.headers)) for r in (right, wrong, nobody)] == [(200, b"", sorted(right.headers))] * 3
            assert httpx2.get(ours).status_code == 405


def test_a_second_gateway_calls_us_and_its_deletions_are_told_too(tmp_path: Path) -> None:
    """It is asked every ten minutes; its operator lists us among those who may be called."""
    port = free_port()
    (tmp_path / "data").mkdir()
    there = SecondGateway(tmp_path)
    there.g.env |= {"GATEWAY_WORKER": "true", "GATEWAY_SUBSCRIBERS": f"127.0.0.1:{port}"}
    with running(there):
        asked = {"GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "true", "GATEWAY_REMOTE_POLL_SECONDS": "600"}
        g = Gateway(tmp_path / "data", port, {**there.remote, **asked}).start("--demo", wait=START)
        try:
            body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Swim"}, "subject": {"reference": f"Patient/{g.patient}"}}
            goal = g.call("patient", "POST", "Goal", body=body).json()

            def copy() -> Any:
                return next((r for r in there.all("Goal") if tag_of(r) == goal["id"]), None)

            assert wait_for(copy, 60) is not None, g.log.read_text()[-2000:]
            made = wait_for(lambda: [s for s in there.all("Subscription") if s["criteria"] == "Goal?"], 60)
            assert made and made[0]["status"] == "active" and "payload" not in made[0]["channel"], g.log.read_text()[-2000:]
            time.sleep(3)  # what our own copies caused is over
            took = []
            for n in range(3):
                assert there.put(copy() | {"note": [{"text": f"Seen {n}"}]}).status_code == 200
                began = time.monotonic()
                seen = wait_for(lambda n=n: g.get("patient", f"Goal/{goal['id']}").json().get("note", [{}])[-1].get("text") == f"Seen {n}", 30)  # type: ignore[misc]
                took.append(time.monotonic() - began)
                assert seen, g.log.read_text()[-3000:] + there.g.log.read_text()[-3000:]
                time.sleep(1.5)
            print("\nseconds:", [round(t, 2) for t in took])
            assert sorted(took)[1] < 3, took
            assert there.delete(copy()).status_code == 204
            began = time.monotonic()
            assert wait_for(lambda: g.get("patient", f"Goal/{goal['id']}").status_code == 410, 30), g.log.read_text()[-3000:]
            assert time.monotonic() - began < 5
            (status,) = g.lines("sync", "status", "--json")
            assert status["quarantined"] == 0 and status["conflicts"] == 0, status
        finally:
            g.stop()
