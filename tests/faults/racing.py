"""What lets a reader in and what ends it, while eight readers and two workers are at it: one race, and a course of them.

Every kind opens one record to one reader and, where it can, to one partner, and says how to end that. The change is made by another
process over the same store than those that answer and send.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
from joserfc.jwk import ECKey

from fhir_gateway import gate
from fhir_gateway.auth import clients, people
from fhir_gateway.auth.demo import demo_token
from fhir_gateway.auth.oauth import OAuth
from fhir_gateway.demo.cast import PASSWORD
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import HL7, POLICY_SYSTEM
from fhir_gateway.gate import Context
from fhir_gateway.wiring import Wired, context_as, new_id, now, operator

from ..test_remotes import Recorder

READERS = 8
AFTER = 3  # answers of each reader that begin after the acknowledgement
MOMENT = 2.0  # seconds in which what a worker had begun to send may still arrive, on a busy machine
KEYS = {"keys": [ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True).as_dict(private=False)]}
Act = Callable[[], Awaitable[Any]]


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
    """Servers over one store, partners by the name of their organisation, and this process as the one that changes things."""

    w: Wired
    bases: list[str]
    there: dict[str, Recorder]
    refs: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)  # seconds after the acknowledgement, of what a worker had begun to send

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

    def holds(self, canary: str) -> set[str]:
        """Which partners have it now."""
        return {name for name, r in self.there.items() if any(canary in json.dumps(held) for held in list(r.held.values()))}


# -- who is let in how, and what ends it -------------------------------------------------------------------------------


@dataclass
class Opened:
    """`reader` by name, `partner` whom it lets have copies, what `shut`s it, and what makes the demo as it was."""

    reader: str
    shut: Act
    partner: str = ""
    restore: Act | None = None


def consent(person: str, organisation: str) -> dict[str, Any]:
    actor = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": organisation}}]
    return {
        "status": "active", "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": person},
        "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "permit", "actor": actor}]},
    }  # fmt: skip


async def consent_stopped(c: Course, person: str) -> Opened:
    me = await c.me(person)
    ref = await c.make(me, "Consent", **consent(person, c.refs["kindly"]))
    return Opened("link-worker", lambda: c.change(me, ref, status="inactive"), "kindly")


async def task_completed(c: Course, person: str) -> Opened:
    body = {"status": "requested", "intent": "order", "for": {"reference": person}, "owner": {"reference": c.refs["community"]}}
    ref = await c.make(await context_as(c.w, "hospital"), "Task", **body)
    await c.accept("community-nurse", person)
    nurse = await context_as(c.w, "community-nurse")
    return Opened("community-nurse", lambda: c.change(nurse, ref, status="completed"), "community")


async def team_ended(c: Course, person: str) -> Opened:
    hospital = await context_as(c.w, "hospital")
    member = [{"member": {"reference": c.refs["community"]}}]
    ref = await c.make(hospital, "CareTeam", status="active", subject={"reference": person}, participant=member)
    await c.accept("community-nurse", person)
    return Opened("community-nurse", lambda: c.change(hospital, ref, status="inactive"), "community")


async def role_ended(c: Course, person: str) -> Opened:
    """Somebody's role: it never let a partner have anything."""
    body = {"status": "requested", "intent": "order", "for": {"reference": person}, "owner": {"reference": c.refs["ben-role"]}}
    await c.make(await context_as(c.w, "hospital"), "Task", **body)
    await c.accept("community-nurse", person)
    op = operator(c.w)
    role = c.refs["ben-role"]
    return Opened("community-nurse", lambda: c.change(op, role, active=False), restore=lambda: c.change(op, role, active=True))


async def organisation_closed(c: Course, person: str) -> Opened:
    """What a person's role is to a reader, an organisation's place in the directory is to a partner."""
    op, community = operator(c.w), c.refs["community"]
    hospital = await context_as(c.w, "hospital")
    body = {"status": "requested", "intent": "order", "for": {"reference": person}, "owner": {"reference": community}}
    ref = await c.make(hospital, "Task", **body)
    await c.accept("community-nurse", person)

    async def restore() -> None:
        await c.change(hospital, ref, status="cancelled")
        await c.change(op, community, active=True)

    return Opened("community-nurse", lambda: c.change(op, community, active=False), "community", restore)


async def partner_removed(c: Course, person: str) -> Opened:
    """Its sign-in as a client, and its organisation, which is what copies are sent to."""
    opened, id = await organisation_closed(c, person), f"partner-{secrets.token_hex(4)}"
    await clients.add(c.w.store, clients.Client(id, "system", "Partner", "system/*.rs", jwks=KEYS, organisation=c.refs["community"], purpose="TREAT"))

    async def shut() -> None:
        await c.oauth().remove_client(id, now())
        await opened.shut()

    return Opened(id, shut, "community", opened.restore)


async def client_removed(c: Course, person: str) -> Opened:
    """The sign-in alone, of an organisation that may look after them for as long."""
    id = f"partner-{secrets.token_hex(4)}"
    await clients.add(c.w.store, clients.Client(id, "system", "Partner", "system/*.rs", jwks=KEYS, organisation=c.refs["hospital"], purpose="TREAT"))
    return Opened(id, lambda: c.oauth().remove_client(id, now()))


async def claim_ended(c: Course, person: str) -> Opened:
    nurse, id = await context_as(c.w, "community-nurse"), person.removeprefix("Patient/")
    await gate.claim(nurse, id, "on call tonight")
    return Opened("community-nurse", lambda: gate.end_claim(nurse, id))


async def emergency_ended(c: Course, person: str) -> Opened:
    medic, id = await context_as(c.w, "stranger"), person.removeprefix("Patient/")
    await gate.break_glass(medic, id, "found on the floor", "incapacity-vital-interest")
    return Opened("stranger", lambda: gate.end_emergency(medic, id))


async def emergency_stopped(c: Course, person: str) -> Opened:
    """By the privacy officer."""
    medic, officer = await context_as(c.w, "stranger"), await context_as(c.w, "privacy-officer")
    begun = await gate.break_glass(medic, person.removeprefix("Patient/"), "found on the floor", "incapacity-vital-interest")
    return Opened("stranger", lambda: gate.stop_emergency(officer, begun.id))


async def account_role_taken(c: Course, person: str) -> Opened:
    """The account's role for emergencies, while one is under way and the token still speaks of it."""
    await emergency_ended(c, person)
    account = await people.find(c.w.store, "stranger", now())
    assert account is not None and "break-glass" in account.roles
    without = replace(account, roles=tuple(r for r in account.roles if r != "break-glass"))
    return Opened("stranger", lambda: people.add(c.w.store, without, PASSWORD), restore=lambda: people.add(c.w.store, account, PASSWORD))


async def account_closed(c: Course, person: str) -> Opened:
    opened = await account_role_taken(c, person)
    account = await people.find(c.w.store, "stranger", now())
    assert account is not None
    return Opened("stranger", lambda: people.add(c.w.store, replace(account, closed=True), PASSWORD), restore=opened.restore)


KINDS = (
    consent_stopped, task_completed, team_ended, role_ended, organisation_closed, partner_removed, client_removed, claim_ended,
    emergency_ended, emergency_stopped, account_role_taken, account_closed,
)  # fmt: skip


# -- one race ----------------------------------------------------------------------------------------------------------


async def race(c: Course, n: int) -> None:
    """One revocation while everybody reads and copies are on their way."""
    hospital = await context_as(c.w, "hospital")
    person = await c.make(hospital, "Patient", name=[{"family": "Race"}], birthDate="1950-04-03")
    canary = f"race {n} {secrets.token_hex(6)}"
    goal = await c.make(hospital, "Goal", lifecycleStatus="active", description={"text": canary}, subject={"reference": person})
    kind = KINDS[n % len(KINDS)]
    name = kind.__name__
    opened = await kind(c, person)
    copied = opened.partner in c.there
    if copied:
        await until(lambda: opened.partner in c.holds(canary), f"{name}: the first copy")
        c.said["copies at a partner"] += 1
    readers = await at_work(c, opened.reader, person, goal, canary)
    stop = threading.Event()
    threads = [threading.Thread(target=r.run, args=(stop,), daemon=True) for r in readers]
    for t in threads:
        t.start()
    try:
        await until(lambda: all(r.answers for r in readers), name)
        assert all(r.answers[0][2] for r in readers), f"{name}: {[(r.url, r.answers[0]) for r in readers]}"
        await c.change(hospital, goal, description={"text": canary + " again"})  # what the workers send while it ends
        if copied:
            await asyncio.sleep(secrets.randbelow(400) / 1000)  # they look four times a second: before, meanwhile or after
        await opened.shut()
        acknowledged, at = time.monotonic(), now()
        await until(lambda: all(sum(b > acknowledged for b, *_ in r.answers) >= AFTER for r in readers), f"{name}: answers after")
        if copied:
            await taken_back(c, opened.partner, person, canary, acknowledged, at)
    finally:
        stop.set()
        for t in threads:
            await asyncio.to_thread(t.join, 60)
        if opened.restore is not None:
            await opened.restore()
    wrong = [(r.url, b - acknowledged, s) for r in readers for b, s, data in r.answers if data and b > acknowledged]
    assert not wrong, f"race {n}, {name}: {wrong}"
    assert {s for r in readers for b, s, _ in r.answers if b > acknowledged} <= {200, 401, 404}
    others = [p for p, r in c.there.items() if p != opened.partner and any(canary in text for _, text in list(r.arrived))]
    assert not others, f"race {n}, {name}: it went to {others}"
    c.said["answers before"] += sum(b <= acknowledged and data for r in readers for b, _, data in r.answers)
    c.said["answers after"] += sum(b > acknowledged for r in readers for b, *_ in r.answers)
    c.said[name] += 1


async def at_work(c: Course, who: str, person: str, goal: str, canary: str) -> list[Reader]:
    """Eight, each with a question of its own, in turn at each server."""
    token, id, p = await c.token(who), goal.removeprefix("Goal/"), person.removeprefix("Patient/")
    paths = (
        f"Goal/{id}", f"Goal?patient={p}", f"Patient/{p}/$everything", f"Goal?_id={id}", f"Goal/{id}/_history", f"Goal/{id}/_history/1",
        f"Patient/{p}/Goal", f"Patient?_id={p}&_revinclude=Goal:patient",
    )  # fmt: skip
    return [Reader(f"{c.bases[i % len(c.bases)]}/fhir/{paths[i % len(paths)]}", token, canary) for i in range(READERS)]


async def taken_back(c: Course, partner: str, person: str, canary: str, acknowledged: float, at: datetime) -> None:
    """Nothing was let go after the acknowledgement; what had left is taken back, and what was on its way arrives within a moment."""

    async def closed() -> bool:
        rows = await c.w.store.ledger(patient=person, remote=partner)
        return bool(rows) and all(d.recalled is not None for d in rows) and not c.holds(canary)

    end = time.monotonic() + 90
    while not await closed():
        assert time.monotonic() < end, f"{partner} holds it still: {c.holds(canary)}"
        await asyncio.sleep(0.02)
    let_go = [n.at - at for n in await c.w.store.notes(patient=person, count=500) if n.what == "disclose" and n.allowed and n.at > at]
    assert not let_go, f"let go after the acknowledgement: {let_go}"
    arrived = [t - acknowledged for t, text in list(c.there[partner].arrived) if canary in text and t > acknowledged]
    assert all(late < MOMENT for late in arrived), arrived
    c.late += arrived
    c.said["the second copy had left" if any("again" in text and canary in text for _, text in c.there[partner].arrived) else "it was held back"] += 1
    c.said["taken back"] += 1


async def until(true: Callable[[], bool], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it takes too long: {what}"
        await asyncio.sleep(0.005)
