"""A partner that offers Subscriptions calls us: the call wakes a pull and says nothing; it is asked more seldom while it calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Abilities, RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import hooks, worker
from fhir_gateway.sync.hooks import Hooks
from fhir_gateway.sync.partner import Partner

from .conftest import gateway
from .subscribing import hook, subscription
from .telling.place import Place
from .telling.servers import Post
from .test_remotes import Recorder

GOALS = Remote("hub", "surgery", types=frozenset({"Goal", "CarePlan"}))
CAN = Abilities(frozenset({"Goal", "CarePlan", "Subscription"}), frozenset(), False, frozenset())


class Calling(Recorder):
    """Keeps Subscriptions as well; they have the status that is set."""

    status = "requested"
    searches = 0
    refuses: frozenset[str] = frozenset()

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "metadata":
            return 200, {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "resource": [{"type": t} for t in sorted(CAN.types)]}]}
        if method == "GET" and path.startswith("Goal?"):
            self.searches += 1
        if method == "POST" and path == "Subscription" and sent["criteria"].rstrip("?") in self.refuses:
            return 422, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "business-rule"}]}
        if method == "POST" and path == "Subscription":
            self.numbers += 1
            self.held[f"Subscription/{self.numbers}"] = made = {**sent, "id": str(self.numbers)}
            return 201, made
        if method == "GET" and path.startswith("Subscription/"):
            found = self.held.get(path)
            return (200, {**found, "status": self.status}) if found else (404, {"resourceType": "OperationOutcome"})
        return super().answer(method, path, sent)


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[tuple[Place, Calling, RemoteServer]]:
    there = Calling()
    threading.Thread(target=there.server.serve_forever, args=(0.02,), daemon=True).start()
    place = Place(Post())
    store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
    await place.open(store, GOALS)
    server = RemoteServer(there.url, lambda: place.now)
    yield place, there, server
    await server.close()
    await store.close()
    there.server.shutdown()


async def test_it_is_asked_to_call_and_is_asked_more_seldom_while_it_does(here: tuple[Place, Calling, RemoteServer]) -> None:
    place, there, server = here
    house, known = place.house, Hooks("auto")

    async def pace(can: Abilities = CAN) -> float:
        return await hooks.pace(house, GOALS, known, 2.0, server, can)

    assert await pace() == 2.0
    made = [r for r in there.held.values() if r["resourceType"] == "Subscription"]
    assert sorted(m["criteria"] for m in made) == ["CarePlan?", "Goal?"] and not any("payload" in m["channel"] for m in made)
    endpoint = made[0]["channel"]["endpoint"]
    assert hooks.knows(house, "hub", endpoint.rpartition("/")[2]) and not hooks.knows(house, "other", endpoint.rpartition("/")[2])
    there.status = "active"
    place.now += timedelta(seconds=11)
    assert await pace() == 2.0  # no call came yet
    assert not await hooks.called(house, "hub", known, 10.0)
    await hooks.call(house, "hub")
    assert await hooks.called(house, "hub", known, 10.0) and not await hooks.called(house, "hub", known, 20.0)
    assert await pace() == 20.0
    place.now += timedelta(hours=2)
    assert await pace() == 2.0  # silent for an hour
    await hooks.call(house, "hub")
    assert await pace() == 20.0
    there.status = "error"
    place.now += timedelta(minutes=11)
    assert await pace() == 2.0 and not [r for r in there.held.values() if r["resourceType"] == "Subscription"]
    there.status = "active"
    place.now += timedelta(minutes=11)
    await pace()
    assert len([r for r in there.held.values() if r["resourceType"] == "Subscription"]) == 2
    known = Hooks("off")
    assert await pace() == 2.0 and not [r for r in there.held.values() if r["resourceType"] == "Subscription"]


async def test_a_partner_that_offers_none_or_cannot_reach_us_is_asked_as_before(here: tuple[Place, Calling, RemoteServer]) -> None:
    place, there, server = here
    none = Abilities(frozenset({"Goal"}), frozenset(), False, frozenset())
    assert await hooks.pace(place.house, GOALS, Hooks("auto"), 2.0, server, none) == 2.0
    place.house.base_url = "http://gateway.example/fhir"  # in the clear, over a network
    assert await hooks.pace(place.house, GOALS, Hooks("auto"), 2.0, server, CAN) == 2.0
    assert not [r for r in there.held.values() if r["resourceType"] == "Subscription"]


async def test_a_consent_calls_too_whatever_types_were_agreed(here: tuple[Place, Calling, RemoteServer]) -> None:
    """It may close something here: it is not asked for more seldom unless it calls."""
    place, there, server = here
    there.status = "active"
    can = Abilities(CAN.types | {"Consent"}, frozenset(), False, frozenset())
    for known in (Hooks("auto"), Hooks("auto")):
        await hooks.pace(place.house, GOALS, known, 2.0, server, can)
    assert sorted(r["criteria"] for r in there.held.values() if r["resourceType"] == "Subscription") == ["CarePlan?", "Consent?", "Goal?"]
    await hooks.call(place.house, "hub")
    assert await hooks.pace(place.house, GOALS, known, 2.0, server, can) == 20.0
    await server.delete("Subscription", next(r["id"] for r in there.held.values() if r.get("criteria") == "Consent?"))
    assert await hooks.pace(place.house, GOALS, Hooks("auto"), 2.0, server, can) == 2.0


@pytest.mark.slow
@pytest.mark.parametrize(("refused", "paced"), [("Organization", 20.0), ("Task", 2.0)])
async def test_a_type_that_is_refused_keeps_no_other_from_being_told_of(here: tuple[Place, Calling, RemoteServer], refused: str, paced: float) -> None:
    """As another gateway refuses what is nobody's record: that changes seldom, and need not call for the rest to be asked for more seldom."""
    place, there, server = here
    there.status, there.refuses = "active", frozenset({refused})
    terms = replace(GOALS, types=frozenset({"CarePlan", "Goal", "Organization", "Patient", "Task"}))
    can, known = Abilities(terms.types | {"Subscription"}, frozenset(), False, frozenset()), Hooks("auto")
    await hooks.call(place.house, "hub")
    for _ in range(3):
        last = await hooks.pace(place.house, terms, known, 2.0, server, can)
        place.now += timedelta(minutes=11)
    assert {r["criteria"].rstrip("?") for r in there.held.values() if r["resourceType"] == "Subscription"} == terms.types - {refused}
    assert last == paced


@pytest.mark.parametrize("once", [True, False])
async def test_where_nothing_of_theirs_is_taken_any_more_none_is_left_there(here: tuple[Place, Calling, RemoteServer], once: bool) -> None:
    place, there, server = here
    await hooks.pace(place.house, GOALS, Hooks("auto"), 2.0, server, CAN)
    assert [r for r in there.held if r.startswith("Subscription/")]
    partner = Partner(replace(GOALS, direction="out"), server, hooks=Hooks("auto"))
    place.house.remotes = (partner.terms,)
    if once:
        await worker.once(place.house, partner)
    else:
        stop = asyncio.Event()
        working = asyncio.create_task(worker.serve(place.house, partner, "w", stop))
        await _until(lambda: not [r for r in there.held if r.startswith("Subscription/")])
        stop.set()
        await working
    assert not [r for r in there.held if r.startswith("Subscription/")] and not await place.house.store.kept_all("hook-there", place.now)


async def test_a_call_wakes_a_pull_at_once_though_not_all_of_its_subscriptions_are_known_to_be_active(here: tuple[Place, Calling, RemoteServer]) -> None:
    """As where they cannot cover all that it is asked for (HAPI's feed over everything): it calls, and its time has not come."""
    place, there, server = here
    stop = asyncio.Event()
    partner = Partner(GOALS, server, poll_seconds=600, hooks=Hooks("auto"))
    working = asyncio.create_task(worker.serve(place.house, partner, "w", stop))
    try:
        await _until(lambda: partner.hooks.tended is not None and len([r for r in there.held if r.startswith("Subscription/")]) == 2)
        before = there.searches
        await hooks.call(place.house, "hub")
        await _until(lambda: there.searches > before)
    finally:
        stop.set()
        await working


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(100):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within two seconds")


@pytest.mark.slow
def test_over_http_from_the_first_request_to_the_event(tmp_path: Path) -> None:
    """A registered system, the worker inside `serve`, two operations, and a stranger at the door that partners call."""
    with hook() as h, gateway(tmp_path, "--demo", GATEWAY_SUBSCRIBERS=h.place) as g:
        body = subscription(f"http://{h.place}/told", f"Goal?patient={g.patient}")
        made = g.call("hospital", "POST", "Subscription", body=body)
        assert made.status_code == 201 and made.json()["status"] == "requested", made.text
        id = made.json()["id"]

        def until(true: Any) -> Any:
            for _ in range(200):
                if found := true():
                    return found
                asyncio.run(asyncio.sleep(0.1))
            raise AssertionError(g.log.read_text()[-3000:])

        until(lambda: g.get("hospital", f"Subscription/{id}").json()["status"] == "active")
        goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": f"Patient/{g.patient}"}}
        new = g.call("hospital", "POST", "Goal", body=goal).json()["id"]
        assert until(h.events) == [(1, f"Goal/{new}")]
        for path in (f"Subscription/{id}/$events?eventsSinceNumber=1", f"Subscription/{id}/$status", "Subscription/$status"):
            assert g.get("hospital", path).status_code == 200
            assert g.call("hospital", "POST", path.partition("?")[0], body={"resourceType": "Parameters"}).status_code == 200
        assert g.get("hospital", f"Subscription/{id}/$events?eventsSinceNumber=x").status_code == 400
        assert g.call("hospital", "PATCH", f"Subscription/{id}", raw=b"[]", headers={"Content-Type": "application/json-patch+json"}).status_code == 405
        assert g.call("hospital", "DELETE", f"Subscription/{id}").status_code == 204
        assert g.get("hospital", f"Subscription/{id}").status_code == 404
        answers = [httpx2.post(f"{g.base}/sync/hook/{name}/{'0' * 64}", content=b"x" * 100) for name in ("hub", "..%2f", "é")]
        assert {(a.status_code, a.content) for a in answers} <= {(200, b""), (404, answers[1].content)}
