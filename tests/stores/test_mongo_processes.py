"""Two gateways and two workers, each a process of its own, on one MongoDB: no effect is doubled, none is lost."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_gateway.auth import clients
from fhir_gateway.store import mongo

from ..conftest import Gateway, gateway
from ..test_story import discharge, goal_of_hospital
from .mongo_server import REAL, MongoServer, drop, started

BASE = "http://127.0.0.1:8499"  # the address of both, as behind a balancer; nobody listens there
KEY = ECKey.generate_key("P-384")


class Elsewhere:
    """Another organisation's FHIR server: what was written there, how often."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.kept: dict[str, dict[str, Any]] = {}
        self.url = ""


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    there = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            rest = {"mode": "server", "interaction": [{"code": "history-system"}]}
            about = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [rest]}
            kept = there.kept.get("/".join(self.path.rsplit("/", 2)[-2:]))
            self.say(200, kept or (about if self.path.endswith("/metadata") else {"resourceType": "Bundle", "type": "history"}))

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/_search"):
                return self.say(400, {"resourceType": "OperationOutcome"})
            sent = json.loads(raw)
            there.made[json.dumps(sent.get("description", sent.get("identifier")), sort_keys=True)] += 1
            time.sleep(0.01)  # long enough for another worker to come
            id = self.path.rpartition("/")[2] if self.command == "PUT" else secrets.token_hex(8)
            there.kept[f"{sent['resourceType']}/{id}"] = now = {**sent, "id": id, "meta": {**sent.get("meta", {}), "versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"}}
            self.say(201, now)

        do_PUT = do_POST

        def say(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(raw)))
            if "id" in body:
                self.send_header("Location", f"{there.url}/{body['resourceType']}/{body['id']}/_history/1")
                self.send_header("ETag", 'W/"1"')
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there.url = f"http://127.0.0.1:{server.server_port}/fhir"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield there
    server.shutdown()


class Pair:
    def __init__(self, one: Gateway, two: Gateway, uri: str, there: Elsewhere) -> None:
        self.one, self.two, self.uri, self.there = one, two, uri, there
        two._tokens = one._tokens

    def both(self, n: int) -> Gateway:
        return (self.one, self.two)[n % 2]


@pytest.fixture(scope="module")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """Of this file alone: what is cut or killed here leaves transactions open in it."""
    yield from started(tmp_path_factory)


@pytest.fixture(scope="module")
def pair(mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    uri = mongo_server.uri(f"p{secrets.token_hex(6)}")
    with elsewhere() as there:
        env = {
            "GATEWAY_STORE": uri, "GATEWAY_BASE_URL": BASE, "GATEWAY_WORKER": "false", "GATEWAY_REMOTE_URL": there.url,
            "GATEWAY_REMOTE_ORGANISATION": "D82001",
        }  # fmt: skip
        with gateway(tmp_path_factory.mktemp("one"), "--demo", **env) as one, gateway(tmp_path_factory.mktemp("two"), "--demo", **env) as two:
            yield Pair(one, two, uri, there)
    if REAL:
        drop(uri)


def at_once(pair: Pair, ask: Any, times: int = 8) -> list[httpx2.Response]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda n: ask(pair.both(n)), range(times)))


def new_goal(pair: Pair, text: str) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": f"Patient/{pair.one.patient}"},
        "identifier": [{"system": "urn:pair", "value": text}],
    }  # fmt: skip


def test_what_one_gateway_wrote_the_other_reads_at_once(pair: Pair) -> None:
    pair.one.persona("patient")
    for n in range(4):
        made = pair.both(n).call("patient", "POST", "Goal", body=new_goal(pair, f"read {n}"))
        assert made.status_code == 201, made.text
        seen = pair.both(n + 1).get("patient", f"Goal/{made.json()['id']}")
        assert seen.status_code == 200 and seen.json() == made.json()


def test_of_updates_at_both_gateways_one_wins(pair: Pair) -> None:
    made = pair.one.call("patient", "POST", "Goal", body=new_goal(pair, "contested"))
    goal, etag = made.json(), made.headers["etag"]
    answers = at_once(pair, lambda g: g.call("patient", "PUT", f"Goal/{goal['id']}", body=goal | {"description": {"text": str(g.port)}}, headers={"If-Match": etag}))
    assert sorted(a.status_code for a in answers) == [200] + [412] * 7
    history = pair.two.get("patient", f"Goal/{goal['id']}/_history").json()
    assert len(history["entry"]) == 2


def test_of_conditional_creates_at_both_gateways_one_is_made(pair: Pair) -> None:
    body = new_goal(pair, "only once")
    answers = at_once(pair, lambda g: g.call("patient", "POST", "Goal", body=body, headers={"If-None-Exist": "identifier=urn:pair|only once"}))
    assert {a.status_code for a in answers} <= {200, 201} and sum(a.status_code == 201 for a in answers) == 1, [a.text for a in answers]
    assert len({a.json()["id"] for a in answers}) == 1


def test_a_push_repeated_at_both_gateways_has_one_effect(pair: Pair) -> None:
    pair.one.persona("hospital")
    push = discharge(goal_of_hospital(pair.one), "pair")
    answers = at_once(pair, lambda g: g.call("hospital", "POST", "", body=push))
    assert {a.status_code for a in answers} == {200}, [a.text[:300] for a in answers]
    assert len({a.content for a in answers}) == 1
    assert pair.two.get("patient", f"Observation?patient={pair.one.patient}&identifier=urn:test|obs-pair").json()["total"] == 1


def test_a_page_link_of_one_gateway_leads_on_at_the_other(pair: Pair) -> None:
    ids: list[str] = []
    page = pair.one.get("patient", f"Goal?patient={pair.one.patient}&_sort=-_lastUpdated&_count=2").json()
    turn = 1
    while True:
        ids += [e["resource"]["id"] for e in page["entry"]]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            break
        answer = pair.both(turn).get("patient", following[0].removeprefix(BASE))
        assert answer.status_code == 200, answer.text
        page, turn = answer.json(), turn + 1
    whole = pair.one.get("patient", f"Goal?patient={pair.one.patient}&_sort=-_lastUpdated&_count=200").json()
    assert turn > 2 and ids == [e["resource"]["id"] for e in whole["entry"]]


def test_a_grant_at_one_gateway_holds_and_stops_at_the_other(pair: Pair) -> None:
    """Each gateway keeps what it has compiled of a person's consents; the epoch tells it when that is over."""
    from ..test_story import permit, sharing

    rosa = pair.one.persona("link-worker")["fhirUser"]
    plan = pair.one.get("patient", f"CarePlan?patient={pair.one.patient}").json()["entry"][0]["resource"]["id"]
    for _ in range(2):
        assert {pair.both(n).get("link-worker", f"CarePlan/{plan}").status_code for n in range(2)} == {404}
        made = pair.one.call("patient", "POST", "Consent", body=sharing(pair.one, [permit(rosa, "CarePlan", "Goal")]))
        assert made.status_code == 201, made.text
        assert {pair.both(n).get("link-worker", f"CarePlan/{plan}").status_code for n in range(2)} == {200}
        off = made.json() | {"status": "inactive"}
        done = pair.two.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": made.headers["etag"]})
        assert done.status_code == 200, done.text


def test_a_client_assertion_works_once_at_either_gateway(pair: Pair) -> None:
    async def register() -> None:
        store = await mongo.open(pair.uri)
        public = KEY.as_dict(private=False) | {"kid": KEY.thumbprint()}
        await clients.add(store, clients.Client("pair", "system", "Pair", "system/*.rs", jwks={"keys": [public]}))
        await store.close()

    asyncio.run(register())
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": "pair", "sub": "pair", "aud": f"{BASE}/oauth/token", "exp": now + 200, "jti": "once"}
    said = jwt.encode({"alg": "ES384", "kid": KEY.thumbprint(), "typ": "JWT"}, claims, KEY, algorithms=["ES384"])
    form = {
        "grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion": said,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }  # fmt: skip
    answers = at_once(pair, lambda g: httpx2.post(f"{g.base}/oauth/token", data=form))
    assert sorted(a.status_code for a in answers) == [200] + [401] * 7, [a.text for a in answers]


@pytest.mark.slow
def test_two_workers_send_each_version_once(pair: Pair) -> None:
    for n in range(20):
        made = pair.both(n).call("patient", "POST", "Goal", body=new_goal(pair, f"send {n}"))
        assert made.status_code == 201, made.text
    workers = [
        subprocess.Popen([sys.executable, "-m", "fhir_gateway", "worker"], env=pair.both(n).env, stderr=subprocess.DEVNULL, cwd=pair.one.data.parent)
        for n in range(2)
    ]  # fmt: skip
    try:
        end = time.monotonic() + 120  # two workers and the command that asks share two cores with another test
        while time.monotonic() < end:
            (status,) = pair.one.lines("sync", "status", "--json")
            if status["quiet"]:
                break
            time.sleep(0.3)
        assert status["quiet"], status
    finally:
        for w in workers:
            w.terminate()
        ended = [w.wait(15) for w in workers]
    assert ended == [0, 0]
    sent = {json.dumps({"text": f"send {n}"}): pair.there.made[json.dumps({"text": f"send {n}"})] for n in range(20)}
    assert set(sent.values()) == {1}, sent


def test_a_gateway_says_503_while_its_database_is_away_and_serves_again_after(tmp_path: Path) -> None:
    if REAL:
        pytest.skip("somebody else's server is not stopped here")
    (tmp_path / "db").mkdir()
    server = MongoServer(tmp_path / "db").start()
    try:
        env = {"GATEWAY_STORE": server.uri("away", serverSelectionTimeoutMS=800)}
        with gateway(tmp_path / "g", "--demo", **env) as g:
            me = g.patient
            body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": f"Patient/{me}"}}
            assert g.call("patient", "POST", "Goal", body=body).status_code == 201
            server.stop(9)
            for answer in (g.call("patient", "POST", "Goal", body=body), g.get("patient", f"Goal?patient={me}"), g.get(None, "/health")):
                assert answer.status_code == 503, answer.text
            server.start()
            end = time.monotonic() + 20
            while g.get(None, "/health").status_code != 200 and time.monotonic() < end:
                time.sleep(0.1)
            assert g.call("patient", "POST", "Goal", body=body).status_code == 201
            assert g.get("patient", f"Goal?patient={me}&_summary=count").status_code == 200
    finally:
        server.stop(9)
