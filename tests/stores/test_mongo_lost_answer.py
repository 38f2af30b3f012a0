"""Through HTTP: the answer to a commit is lost. The caller hears what became of it once, or that nobody knows; sent again, it is there once."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from pymongo import MongoClient

from ..conftest import Gateway, gateway
from .mongo_server import REAL, MongoServer, started
from .wire import Wire

pytestmark = pytest.mark.skipif(bool(REAL), reason="fail points and the cut wire are for the stand-in, whose port is known")

NOBODY_KNOWS = "The store did not say whether this was written. Read before you repeat it."


@pytest.fixture(scope="module")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """Of this file alone: what is cut or killed here leaves transactions open in it."""
    yield from started(tmp_path_factory)


class Lossy:
    """A gateway process, the wire between it and its server, and the server's fail point for its connections alone."""

    def __init__(self, g: Gateway, wire: Wire, server: MongoServer, name: str) -> None:
        self.gateway, self.wire, self._server, self._name = g, wire, server, name

    def fail(self, commands: list[str], times: int, **how: Any) -> None:
        with MongoClient(self._server.uri("admin")) as client:
            data = {"failCommands": commands, "appName": self._name, **how}
            client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)

    def heal(self) -> None:
        self.wire.heal()
        with MongoClient(self._server.uri("admin")) as client:
            client.admin.command("configureFailPoint", "failCommand", mode="off")

    def goal(self, text: str) -> dict[str, Any]:
        return {
            "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": f"Patient/{self.gateway.patient}"},
            "identifier": [{"system": "urn:lost", "value": text}],
        }  # fmt: skip

    def create(self, text: str) -> httpx2.Response:
        return self.gateway.call("patient", "POST", "Goal", body=self.goal(text), headers={"If-None-Exist": f"identifier=urn:lost|{text}"})

    def there(self, text: str) -> int:
        found = self.gateway.get("patient", f"Goal?patient={self.gateway.patient}&identifier=urn:lost|{text}")
        assert found.status_code == 200, found.text
        return int(found.json()["total"])


@pytest.fixture(scope="module")
def lossy_gateway(mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lossy]:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    name = f"l{secrets.token_hex(5)}"
    wire = asyncio.run_coroutine_threadsafe(Wire(mongo_server.port).__aenter__(), loop).result(10)
    store = mongo_server.uri(name, appName=name, directConnection="true").replace(f":{mongo_server.port}/", f":{wire.port}/")
    try:
        with gateway(tmp_path_factory.mktemp("lossy"), "--demo", GATEWAY_STORE=store, GATEWAY_WORKER="false") as g:
            g.persona("patient")
            yield Lossy(g, wire, mongo_server, name)
    finally:
        asyncio.run_coroutine_threadsafe(wire.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)


@pytest.fixture
def lossy(lossy_gateway: Lossy) -> Iterator[Lossy]:
    yield lossy_gateway
    lossy_gateway.heal()


def unconfirmed(at: Lossy) -> None:
    at.fail(["commitTransaction"], 2, writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"})


def never_arrived(at: Lossy) -> None:
    at.fail(["commitTransaction"], 2, closeConnection=True)


def obeyed(at: Lossy) -> None:
    at.wire.cut("commitTransaction\0", "after", 2)


def and_nobody_answers(at: Lossy) -> None:
    """Whoever asks afterwards hears nothing."""
    at.wire.cut("killSessions\0", "after", 100)


SETTLED: dict[str, Callable[[Lossy], None]] = {"unconfirmed": unconfirmed, "never-arrived": never_arrived, "obeyed": obeyed}
UNSETTLED: dict[str, tuple[int, Callable[[Lossy], None]]] = {"never-arrived": (0, never_arrived), "obeyed": (1, obeyed)}


@pytest.mark.parametrize("how", SETTLED)
def test_a_commit_whose_answer_is_lost_is_answered_once_it_is_known(how: str, lossy: Lossy) -> None:
    SETTLED[how](lossy)
    made = lossy.create(how)
    assert made.status_code == 201, made.text
    lossy.heal()
    again = lossy.create(how)
    assert again.status_code == 200 and again.json()["id"] == made.json()["id"]
    assert lossy.there(how) == 1
    assert len(lossy.gateway.get("patient", f"Goal/{made.json()['id']}/_history").json()["entry"]) == 1


@pytest.mark.parametrize("how", UNSETTLED)
def test_when_nobody_knows_the_caller_is_told_so_and_a_resend_has_one_effect(how: str, lossy: Lossy) -> None:
    applied, lose = UNSETTLED[how]
    lose(lossy)
    and_nobody_answers(lossy)
    told = lossy.create(f"unknown-{how}")
    assert told.status_code == 503 and told.headers["retry-after"] == "5", told.text
    assert [i["diagnostics"] for i in told.json()["issue"]] == [NOBODY_KNOWS], json.dumps(told.json())
    lossy.heal()
    assert lossy.there(f"unknown-{how}") == applied
    resent = [lossy.create(f"unknown-{how}") for _ in range(2)]
    assert [a.status_code for a in resent] == [200 if applied else 201, 200]
    assert lossy.there(f"unknown-{how}") == 1 and len({a.json()["id"] for a in resent}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", UNSETTLED)
def test_an_update_of_unknown_outcome_sent_again_is_made_once(how: str, lossy: Lossy) -> None:
    made = lossy.create(f"update-{how}")
    where, body, seen = f"Goal/{made.json()['id']}", made.json() | {"lifecycleStatus": "completed"}, {"If-Match": made.headers["etag"]}
    applied, lose = UNSETTLED[how]
    lose(lossy)
    and_nobody_answers(lossy)
    told = lossy.gateway.call("patient", "PUT", where, body=body, headers=seen)
    assert told.status_code == 503 and NOBODY_KNOWS in told.text, told.text
    lossy.heal()
    assert lossy.gateway.call("patient", "PUT", where, body=body, headers=seen).status_code == (412 if applied else 200)
    assert lossy.gateway.get("patient", where).json()["lifecycleStatus"] == "completed"
    assert len(lossy.gateway.get("patient", f"{where}/_history").json()["entry"]) == 2
