"""Races of revocation: eight readers and two workers against one change, made by another process over the same store.

No answer begun after the change was acknowledged carries data. What a worker had begun to send arrives at most a moment later, and
is taken back.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey

from fhir_gateway import gate
from fhir_gateway.auth import clients
from fhir_gateway.auth.demo import demo_token
from fhir_gateway.auth.oauth import OAuth
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import HL7, POLICY_SYSTEM
from fhir_gateway.gate import Context
from fhir_gateway.settings import load
from fhir_gateway.wiring import Wired, context_as, new_id, now, open_wired, operator

from ..conftest import Gateway, gateway, times
from ..stores.mongo_server import REAL, MongoServer, RealServer, drop
from ..test_remotes import Recorder, recorder, toml

READERS, WORKERS = 8, 2
AFTER = 3  # answers of each reader that begin after the acknowledgement
MOMENT = 2.0  # seconds in which what a worker had begun to send may still arrive, on a busy machine
KEYS = {"keys": [ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True).as_dict(private=False)]}


@dataclass
class Reader:
    """Asks the same again and again, in a thread of its own."""

    url: str
    token: str
    canary: str
    answers: list[tuple[float, int, bool]] = field(default_factory=list)  # begun, status, with data

    def run(self, stop: threading.Event) -> None:
        with httpx2.Client(headers={"Authorization": f"Bearer {self.token}"}, timeout=60) as http:
            while not stop.is_set():
                begun = time.monotonic()
                answer = http.get(self.url)
                self.answers.append((begun, answer.status_code, self.canary in answer.text))


@dataclass
class Course:
    """Servers over one store, and this process as the one that changes things."""

    w: Wired
    bases: list[str]
    there: list[Recorder]
    refs: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)

    async def make(self, ctx: Context, type: str, /, **body: Any) -> str:
        return str((await gate.create(ctx, type, json.dumps({"resourceType": type, **body}).encode())).ref)

    async def change(self, ctx: Context, ref: str, /, **to: Any) -> None:
        stored = await self.w.store.get(Ref(*ref.split("/")))
        assert stored is not None and stored.body is not None
        await gate.update(ctx, stored.ref, json.dumps(json.loads(stored.body) | to).encode(), if_match=stored.version)

    async def me(self, person: str) -> Context:
        ctx = await context_as(self.w, "patient")
        return replace(ctx, actor=replace(ctx.actor, ids=frozenset({person}), user=person, patient=person), launch=person)

    async def accept(self, who: str, person: str) -> None:
        ctx = await context_as(self.w, who)
        for entry in (await gate.search(ctx, "Task", [("patient", person.removeprefix("Patient/")), ("status", "requested")])).entries:
            await gate.accept(ctx, entry.ref)

    async def token(self, who: str) -> str:
        if who not in self.tokens:
            self.tokens[who], _ = await demo_token(
                self.w.store, who, issuer=self.w.settings.base, audience=self.w.tokens.audience, at=now(), jti=new_id(), life=timedelta(hours=12)
            )
        return self.tokens[who]

    def oauth(self) -> OAuth:
        return OAuth(self.w.store, self.w.tokens, self.w.settings.base, self.w.settings.fhir_base, new_id, timedelta(minutes=15))


# -- who is let in how, and what ends it -------------------------------------------------------------------------------


async def consent_stopped(c: Course, person: str) -> tuple[str, Any, Any]:
    actor = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": c.refs["kindly"]}}]
    body = {
        "status": "active", "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": person},
        "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "permit", "actor": actor}]},
    }  # fmt: skip
    me = await c.me(person)
    ref = await c.make(me, "Consent", **body)
    return "link-worker", lambda: c.change(me, ref, status="inactive"), None


async def task_completed(c: Course, person: str) -> tuple[str, Any, Any]:
    body = {"status": "requested", "intent": "order", "for": {"reference": person}, "owner": {"reference": c.refs["community"]}}
    ref = await c.make(await context_as(c.w, "hospital"), "Task", **body)
    await c.accept("community-nurse", person)
    nurse = await context_as(c.w, "community-nurse")
    return "community-nurse", lambda: c.change(nurse, ref, status="completed"), None


async def team_ended(c: Course, person: str) -> tuple[str, Any, Any]:
    hospital = await context_as(c.w, "hospital")
    member = [{"member": {"reference": c.refs["community"]}}]
    ref = await c.make(hospital, "CareTeam", status="active", subject={"reference": person}, participant=member)
    await c.accept("community-nurse", person)
    return "community-nurse", lambda: c.change(hospital, ref, status="inactive"), None


async def role_ended(c: Course, person: str) -> tuple[str, Any, Any]:
    body = {"status": "requested", "intent": "order", "for": {"reference": person}, "owner": {"reference": c.refs["ben-role"]}}
    await c.make(await context_as(c.w, "hospital"), "Task", **body)
    await c.accept("community-nurse", person)
    op = operator(c.w)
    return "community-nurse", lambda: c.change(op, c.refs["ben-role"], active=False), lambda: c.change(op, c.refs["ben-role"], active=True)


async def partner_removed(c: Course, person: str) -> tuple[str, Any, Any]:
    id = f"partner-{secrets.token_hex(4)}"
    await clients.add(c.w.store, clients.Client(id, "system", "Partner", "system/*.rs", jwks=KEYS, organisation=c.refs["hospital"], purpose="TREAT"))
    return id, lambda: c.oauth().remove_client(id, now()), None


KINDS = (consent_stopped, task_completed, team_ended, role_ended, partner_removed)


async def race(c: Course, n: int) -> None:
    """One revocation while everybody reads."""
    hospital = await context_as(c.w, "hospital")
    person = await c.make(hospital, "Patient", name=[{"family": "Race"}], birthDate="1950-04-03")
    canary = f"race {n} {secrets.token_hex(6)}"
    goal = await c.make(hospital, "Goal", lifecycleStatus="active", description={"text": canary}, subject={"reference": person})
    kind = KINDS[n % len(KINDS)]
    who, shut, restore = await kind(c, person)
    token, id, p = await c.token(who), goal.removeprefix("Goal/"), person.removeprefix("Patient/")
    paths = (f"Goal/{id}", f"Goal?patient={p}", f"Patient/{p}/$everything", f"Goal?_id={id}", f"Goal/{id}/_history")
    readers = [Reader(f"{c.bases[i % len(c.bases)]}/fhir/{paths[i % len(paths)]}", token, canary) for i in range(READERS)]
    stop = threading.Event()
    threads = [threading.Thread(target=r.run, args=(stop,), daemon=True) for r in readers]
    for t in threads:
        t.start()
    try:
        await until(lambda: all(r.answers for r in readers))
        assert all(r.answers[0][2] for r in readers), f"{kind.__name__}: {[(r.url, r.answers[0]) for r in readers]}"
        if c.there and kind is consent_stopped:
            await until(lambda: any(canary in json.dumps(r) for there in c.there for r in list(there.held.values())))
            c.said["copies at the partner"] += 1
        if c.there:
            await c.change(hospital, goal, description={"text": canary + " again"})  # waits for the workers
        await shut()
        acknowledged = time.monotonic()
        await until(lambda: all(sum(b > acknowledged for b, *_ in r.answers) >= AFTER for r in readers))
    finally:
        stop.set()
        for t in threads:
            await asyncio.to_thread(t.join, 60)
        if restore is not None:
            await restore()
    wrong = [(r.url, b - acknowledged, s) for r in readers for b, s, data in r.answers if data and b > acknowledged]
    assert not wrong, f"race {n}, {kind.__name__}: {wrong}"
    assert {s for r in readers for b, s, _ in r.answers if b > acknowledged} <= {200, 401, 404}
    c.said["answers after"] += sum(b > acknowledged for r in readers for b, *_ in r.answers)
    c.said[kind.__name__] += 1
    if kind is consent_stopped and c.there:
        await quiet(c, canary, acknowledged)


async def quiet(c: Course, canary: str, acknowledged: float) -> None:
    """Whatever had left is taken back; nothing arrives later than a moment after."""
    await until(lambda: not any(canary in json.dumps(r) for there in c.there for r in list(there.held.values())))
    arrived = [at - acknowledged for there in c.there for at, text in list(there.arrived) if canary in text and at > acknowledged]
    c.late += arrived
    assert all(late < MOMENT for late in arrived), arrived


async def until(true: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it takes too long"
        await asyncio.sleep(0.005)


@contextmanager
def workers(g: Gateway) -> Iterator[None]:
    with ExitStack() as stack:
        for n in range(WORKERS):
            log = stack.enter_context(open(g.data.parent / f"worker-{n}.log", "ab"))
            p = subprocess.Popen([sys.executable, "-m", "fhir_gateway", "worker"], env=g.env, stdout=log, stderr=log, cwd=g.data.parent)
            stack.callback(p.wait, 20)
            stack.callback(p.terminate)
        yield


def run(gateways: list[Gateway], there: list[Recorder], races: int, monkeypatch: pytest.MonkeyPatch) -> Course:
    for name in [k for k in os.environ if k.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    for name, value in gateways[0].env.items():
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, value)

    async def all_of_them() -> Course:
        w = await open_wired(load())
        try:
            course = Course(w, [g.base for g in gateways], there, await names(w))
            for n in range(races):
                await race(course, n)
                if n % 20 == 19:
                    print(f"{n + 1} races, {course.said['answers after']} answers after, arrivals after: {len(course.late)}", flush=True)
            return course
        finally:
            await w.close()

    return asyncio.run(all_of_them())


async def names(w: Wired) -> dict[str, str]:
    """The demo's organisations and the nurse's role."""
    called = {"Kindly Neighbours": "kindly", "Example Community Team": "community", "Example General Hospital": "hospital"}
    found = await w.store.directory(["Organization", "PractitionerRole", "Practitioner"])
    bodies = [(str(s.ref), json.loads(s.body or b"{}")) for s in found]
    refs = {called[b["name"]]: ref for ref, b in bodies if b["resourceType"] == "Organization" and b["name"] in called}
    (ben,) = [ref for ref, b in bodies if b["resourceType"] == "Practitioner" and b["name"][0]["family"] == "Okafor"]
    (refs["ben-role"],) = [ref for ref, b in bodies if b.get("practitioner", {}).get("reference") == ben]
    return refs


def on_sqlite(folder: Path, races: int, monkeypatch: pytest.MonkeyPatch) -> Course:
    with recorder() as there:
        config = toml(folder, {"name": "kindly", "organisation": "org-kindly-ref", "url": there.url})
        with gateway(folder, "--demo", GATEWAY_WORKER="false") as seeded:
            kindly = seeded.get("patient", "Organization?name=Kindly").json()["entry"][0]["resource"]["id"]
        config.write_text(config.read_text().replace("org-kindly-ref", f"Organization/{kindly}"))
        with gateway(folder, "--demo", GATEWAY_CONFIG=str(config), GATEWAY_WORKER="false") as g, workers(g):
            return run([g], [there], races, monkeypatch)


def test_no_answer_begun_after_a_revocation_carries_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = on_sqlite(tmp_path, 5, monkeypatch)
    assert {k.__name__ for k in KINDS} <= set(course.said)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_a_hundred_races_and_in_soak_a_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = on_sqlite(tmp_path, min(times(100), 1_000), monkeypatch)
    print(dict(course.said), "arrivals after:", sorted(round(x, 3) for x in course.late)[-5:])


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_two_gateways_on_one_mongodb_know_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = (RealServer() if REAL else MongoServer(tmp_path)).start()
    uri = server.uri(f"r{secrets.token_hex(6)}")
    env = {"GATEWAY_STORE": uri, "GATEWAY_BASE_URL": "http://127.0.0.1:8499", "GATEWAY_WORKER": "false"}
    try:
        with gateway(tmp_path / "one", "--demo", **env) as one, gateway(tmp_path / "two", "--demo", **env) as two:
            run([one, two], [], min(times(10), 100), monkeypatch)
    finally:
        if REAL:
            drop(uri)
        server.stop()
