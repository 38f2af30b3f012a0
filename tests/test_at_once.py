"""At once: whatever `decide` reads, when it changes, the very next answer is right: read, search, page link, history, what was queued.

A table of facts. For each a reader is let in, everything is warm, one page of a search is out, one copy is at a partner and the next
version waits for it; then the fact changes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from fhir_gateway import definitions, gate
from fhir_gateway.auth.tokens import Caller
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.standing import FACTS, Policy
from fhir_gateway.domain.types import Actor, Bump, Keep, Ref
from fhir_gateway.domain.vocabulary import HL7, POLICY_SYSTEM, ROLE_AT, SECTOR_SYSTEM
from fhir_gateway.gate import Context, House, Remote
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner

from .test_remotes import Recorder, recorder

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
BASIS = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"
Change = Callable[[], Awaitable[Any]]
LEVEL = {"system": f"{HL7}/v3-Confidentiality", "code": "R"}


@dataclass
class World:
    """One house, its directory, one partner for each organisation. The clock moves a millisecond a look, and where it is told to."""

    house: House
    at: datetime = START
    n: int = 0
    refs: dict[str, str] = field(default_factory=dict)
    there: dict[str, Recorder] = field(default_factory=dict)
    partners: dict[str, Partner] = field(default_factory=dict)

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def new_id(self) -> str:
        self.n += 1
        return str(UUID(int=self.n))

    @property
    def operator(self) -> Context:
        return gate.house_context(self.house, Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))

    async def hospital(self) -> Context:
        return replace(await self.system("hospital", frozenset({"contributor", "refer"})), scopes=None)

    async def merger(self) -> Context:
        """An operator who keeps the register of people."""
        ctx = await self.hospital()
        return replace(ctx, actor=replace(ctx.actor, operator=True))

    async def system(self, place: str, roles: frozenset[str] = frozenset()) -> Context:
        return await self.enter(f"Device/{place}", "system", "system/*.cruds", organisation=self.refs[place], client=place, roles=roles)

    async def me(self, person: str) -> Context:
        return await self.enter(person, "patient", "patient/*.cruds", patient=person, launch=person)

    async def enter(self, user: str, kind: Any, scopes: str, **more: Any) -> Context:
        purpose = more.pop("purpose", "TREAT")
        caller = Caller(user, more.pop("client", "app"), user, kind, scopes, "us", "j", self.at + timedelta(hours=1), purpose, **more)
        return await gate.enter(self.house, caller)

    async def reader(self, who: str, person: str) -> Context:
        """A worker by name, the organisation's own system, or somebody's proxy."""
        if who == "proxy":
            carer = self.refs[f"carer of {person}"]
            return await self.enter(carer, "proxy", "patient/*.cruds", patient=person, launch=person)
        purpose = "ETREAT" if who == "medic" else "TREAT"
        return await self.enter(self.refs[who], "professional", "user/*.cruds", purpose=purpose)

    async def make(self, ctx: Context, type: str, /, **body: Any) -> str:
        return str((await gate.create(ctx, type, json.dumps({"resourceType": type, **body}).encode())).ref)

    async def change(self, ctx: Context, ref: str, /, **to: Any) -> None:
        """Set elements; None takes one away."""
        stored = await self.house.store.get(Ref(*ref.split("/")))
        assert stored is not None and stored.body is not None
        body = {k: v for k, v in (json.loads(stored.body) | to).items() if v is not None}
        await gate.update(ctx, stored.ref, json.dumps(body).encode(), if_match=stored.version)

    async def accept_all(self, who: str, person: str, status: str = "accepted") -> None:
        ctx = await self.reader(who, person)
        for entry in (await gate.search(ctx, "Task", [("patient", person)])).entries:
            await gate.accept(ctx, entry.ref, status=status)


@pytest_asyncio.fixture(loop_scope="function")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await sqlite.open(tmp_path / "once.sqlite")
    labels = LabelSets.load(definitions.load("labels.json"))
    w = World(None)  # type: ignore[arg-type]
    w.house = House(store, w.now, w.new_id, R4, labels, b"s" * 32, alarm=pytest.fail, policy=Policy(urgent_care=frozenset({"urn:x|999"})))
    await directory(w)
    with recorder() as ward, recorder() as surgery, recorder() as charity:
        w.there = {"ward": ward, "surgery": surgery, "charity": charity}
        terms = {name: Remote(name, w.refs[name]) for name in w.there}
        w.house.remotes = tuple(terms.values())
        w.partners = {name: Partner(terms[name], RemoteServer(r.url, w.now), sweep_hours=0) for name, r in w.there.items()}
        yield w
        for p in w.partners.values():
            await p.server.close()
    await store.close()


R4 = definitions.load_r4()
KINDS = {"trust": "health", "surgery": "health", "charity": "voluntary", "hospital": "health", "ambulance": "health"}


async def directory(w: World) -> None:
    op = w.operator
    for name, sector in KINDS.items():
        system, value = ("urn:x", "999") if name == "ambulance" else (ODS_CODE, name)
        kind = [{"coding": [{"system": SECTOR_SYSTEM, "code": sector}]}]
        w.refs[name] = await w.make(op, "Organization", name=name, active=True, type=kind, identifier=[{"system": system, "value": value}])
    dept = [{"coding": [{"system": f"{HL7}/organization-type", "code": "dept"}]}]
    w.refs["ward"] = await w.make(op, "Organization", name="ward", active=True, type=dept, partOf={"reference": w.refs["trust"]})
    for who, place in (("nurse", "ward"), ("gp", "surgery"), ("link", "charity"), ("medic", "ambulance")):
        w.refs[who] = await w.make(op, "Practitioner", active=True, name=[{"family": who}])
        w.refs[f"{who}-role"] = await w.make(
            op, "PractitionerRole", active=True, practitioner={"reference": w.refs[who]}, organization={"reference": w.refs[place]},
            code=[{"coding": [{"system": "urn:role", "code": who}]}],
        )  # fmt: skip


# -- ways in -----------------------------------------------------------------------------------------------------------


def day(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def grant(whom: Any, person: str, period: dict[str, str] | None = None, type: str = "permit", **more: Any) -> dict[str, Any]:
    """In the form our pages write."""
    actor = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": whom}]
    rule = {"type": type, "actor": actor, **({"period": period} if period else {})}
    policy = more.pop("policy", {"system": POLICY_SYSTEM, "code": "uk-direct-care"})
    return {
        "status": "active", "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": person},
        "policyRule": {"coding": [policy]}, "provision": {"provision": [rule]},
    } | more  # fmt: skip


async def consents(w: World, person: str, whom: Any, **more: Any) -> str:
    return await w.make(await w.me(person), "Consent", **grant(whom, person, **more))


async def to_organisation(w: World, person: str, name: str, **more: Any) -> str:
    return await consents(w, person, {"reference": w.refs[name]}, **more)


async def task(w: World, person: str, who: str = "gp", place: str = "surgery", **more: Any) -> str:
    body: dict[str, Any] = {"status": "requested", "intent": "order", "for": {"reference": person}, "owner": {"reference": w.refs[place]}}
    ref = await w.make(await w.hospital(), "Task", **body, **more)
    await w.accept_all(who, person)
    return ref


async def team(w: World, person: str, **member: Any) -> str:
    body = {"status": "active", "subject": {"reference": person}, "participant": [{"member": {"reference": w.refs["surgery"]}, **member}]}
    ref = await w.make(await w.hospital(), "CareTeam", **body)
    await w.accept_all("gp", person)
    return ref


def later(w: World, days: float = 7) -> datetime:
    return w.at + timedelta(days=days)


async def pass_time(w: World, days: float = 8) -> None:
    w.at += timedelta(days=days)


# -- the table: each opens, and returns what shuts ---------------------------------------------------------------------


async def a_consent_is_stopped(w: World, p: str) -> Change:
    ref = await to_organisation(w, p, "charity")
    return lambda: stop(w, p, ref)


async def stop(w: World, p: str, ref: str) -> None:
    await w.change(await w.me(p), ref, status="inactive")


async def a_consent_was_a_mistake(w: World, p: str) -> Change:
    ref = await to_organisation(w, p, "charity")

    async def shut() -> None:
        await w.change(await w.me(p), ref, status="entered-in-error")

    return shut


async def a_consent_ends_by_itself(w: World, p: str) -> Change:
    await to_organisation(w, p, "charity", period={"end": day(later(w))})
    return lambda: pass_time(w)


async def the_person_says_no(w: World, p: str) -> Change:
    await task(w, p)
    return lambda: to_organisation(w, p, "surgery", type="deny")


async def a_no_begins_by_itself(w: World, p: str) -> Change:
    await task(w, p)
    await to_organisation(w, p, "surgery", type="deny", period={"start": day(later(w))})
    return lambda: pass_time(w)


async def a_task_is_completed(w: World, p: str) -> Change:
    ref = await task(w, p)

    async def shut() -> None:
        await w.change(await w.reader("gp", p), ref, status="completed")

    return shut


async def a_task_runs_out(w: World, p: str) -> Change:
    await task(w, p, restriction={"period": {"end": day(later(w))}})
    return lambda: pass_time(w)


async def a_team_ends(w: World, p: str) -> Change:
    ref = await team(w, p)

    async def shut() -> None:
        await w.change(await w.hospital(), ref, status="inactive")

    return shut


async def a_member_leaves(w: World, p: str) -> Change:
    ref = await team(w, p)

    async def shut() -> None:
        await w.change(await w.hospital(), ref, participant=None)

    return shut


async def a_membership_ends_by_itself(w: World, p: str) -> Change:
    await team(w, p, period={"end": day(later(w))})
    return lambda: pass_time(w)


async def a_referral_is_completed(w: World, p: str) -> Change:
    who = {"reference": w.refs["surgery"]}
    ref = await w.make(await w.hospital(), "ServiceRequest", status="active", intent="order", subject={"reference": p}, performer=[who])
    about = {"focus": {"reference": ref}, "code": {"coding": [{"system": f"{POLICY_SYSTEM.replace('policy', 'task')}", "code": "confirm-membership"}]}}
    await task(w, p, **about)  # a question only: no task of care by itself

    async def shut() -> None:
        await w.change(await w.hospital(), ref, status="completed")

    return shut


async def the_general_practice_changes(w: World, p: str) -> Change:
    await w.change(await w.hospital(), p, generalPractitioner=[{"reference": w.refs["surgery"]}])
    await w.accept_all("gp", p)

    async def shut() -> None:
        await w.change(await w.hospital(), p, generalPractitioner=None)

    return shut


async def a_role_ends(w: World, p: str) -> Change:
    await to_organisation(w, p, "ward")
    return lambda: w.change(w.operator, w.refs["nurse-role"], active=False)


async def a_role_runs_out(w: World, p: str) -> Change:
    await to_organisation(w, p, "ward")
    await w.change(w.operator, w.refs["nurse-role"], period={"end": day(later(w))})
    return lambda: pass_time(w)


async def a_role_becomes_another(w: World, p: str) -> Change:
    await consents(w, p, {"identifier": {"system": ROLE_AT, "value": f"{w.refs['trust']} urn:role|nurse"}})
    return lambda: w.change(w.operator, w.refs["nurse-role"], code=[{"coding": [{"system": "urn:role", "code": "porter"}]}])


async def a_ward_leaves_the_trust(w: World, p: str) -> Change:
    await to_organisation(w, p, "trust")
    return lambda: w.change(w.operator, w.refs["ward"], partOf=None)


async def an_organisation_closes(w: World, p: str) -> Change:
    await task(w, p)
    return lambda: w.change(w.operator, w.refs["surgery"], active=False)


async def an_organisation_that_a_consent_names_closes(w: World, p: str) -> Change:
    await to_organisation(w, p, "charity")
    return lambda: w.change(w.operator, w.refs["charity"], active=False)


async def an_organisation_that_a_consent_names_by_its_code_closes(w: World, p: str) -> Change:
    await consents(w, p, {"identifier": {"system": ODS_CODE, "value": "charity"}})
    return lambda: w.change(w.operator, w.refs["charity"], active=False)


async def a_part_of_what_a_consent_names_closes(w: World, p: str) -> Change:
    await to_organisation(w, p, "trust")
    return lambda: w.change(w.operator, w.refs["ward"], active=False)


async def an_organisation_becomes_voluntary(w: World, p: str) -> Change:
    await task(w, p)
    return lambda: w.change(w.operator, w.refs["surgery"], type=[{"coding": [{"system": SECTOR_SYSTEM, "code": "voluntary"}]}])


async def group(w: World, *whom: str, **member: Any) -> str:
    """A group of staff, written by an operator."""
    return await w.make(w.operator, "Group", type="practitioner", actual=True, member=[{"entity": {"reference": w.refs[n]}, **member} for n in whom])


async def a_member_leaves_a_group(w: World, p: str) -> Change:
    ref = await group(w, "nurse", "link")
    await consents(w, p, {"reference": ref})
    return lambda: w.change(w.operator, ref, member=[{"entity": {"reference": w.refs["link"]}}])


async def a_member_of_a_group_is_no_longer_active(w: World, p: str) -> Change:
    ref = await group(w, "nurse-role")
    await consents(w, p, {"reference": ref})
    return lambda: w.change(w.operator, ref, member=[{"entity": {"reference": w.refs["nurse-role"]}, "inactive": True}])


async def a_membership_of_a_group_ends_by_itself(w: World, p: str) -> Change:
    await consents(w, p, {"reference": await group(w, "charity", period={"end": day(later(w))})})
    return lambda: pass_time(w)


async def a_group_is_no_longer_active(w: World, p: str) -> Change:
    ref = await group(w, "charity")
    await consents(w, p, {"reference": ref})
    return lambda: w.change(w.operator, ref, active=False)


async def a_group_is_deleted(w: World, p: str) -> Change:
    ref = await group(w, "trust")
    await consents(w, p, {"reference": ref})
    return lambda: gate.remove(w.operator, Ref(*ref.split("/")), if_match=1)


async def an_organisation_in_a_group_closes(w: World, p: str) -> Change:
    await consents(w, p, {"reference": await group(w, "charity")})
    return lambda: w.change(w.operator, w.refs["charity"], active=False)


async def somebody_joins_a_group_that_is_told_no(w: World, p: str) -> Change:
    await task(w, p)
    ref = await group(w, "nurse")
    await consents(w, p, {"reference": ref}, type="deny")
    return lambda: w.change(w.operator, ref, member=[{"entity": {"reference": w.refs["surgery"]}}])


async def merged_records_part(w: World, p: str) -> Change:
    other = await w.make(await w.hospital(), "Patient", name=[{"family": "Same"}], birthDate="1950-04-03")
    await to_organisation(w, other, "charity")
    await w.change(await w.merger(), p, link=[{"other": {"reference": other}, "type": "replaces"}])

    async def shut() -> None:
        await w.change(await w.merger(), p, link=None)

    return shut


async def linked_by_an_operator(w: World, p: str, *, first: bool) -> Change:
    """Who is let in by the other record's consent loses this one's when an operator parts them, whichever is named first."""
    other = await w.make(await w.hospital(), "Patient", name=[{"family": "Same"}], birthDate="1950-04-03")
    await to_organisation(w, other, "charity")
    one, two = (r.removeprefix("Patient/") for r in ((p, other) if first else (other, p)))
    await gate.link(w.operator, one, two, "replaces", evidence="the same NHS number")
    return lambda: gate.link(w.operator, one, two, "", evidence="it was a mistake")


async def linked_records_part(w: World, p: str) -> Change:
    return await linked_by_an_operator(w, p, first=True)


async def linked_records_part_the_other_way_round(w: World, p: str) -> Change:
    return await linked_by_an_operator(w, p, first=False)


async def a_consent_of_the_merged_record_is_stopped(w: World, p: str) -> Change:
    other = await w.make(await w.hospital(), "Patient", name=[{"family": "Same"}], birthDate="1950-04-03")
    ref = await to_organisation(w, other, "charity")
    await w.change(await w.merger(), p, link=[{"other": {"reference": other}, "type": "replaces"}])
    return lambda: stop(w, other, ref)


async def proxied(w: World, p: str) -> str:
    me, carer = await w.me(p), w.refs[f"carer of {p}"]
    return await w.make(me, "Consent", **grant({"reference": carer}, p, policy={"system": BASIS, "code": "consent"}, provision={
        "type": "permit", "actor": [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": carer}}],
    }))  # fmt: skip


async def a_proxy_role_is_stopped(w: World, p: str) -> Change:
    ref = await proxied(w, p)
    return lambda: stop(w, p, ref)


async def the_person_dies(w: World, p: str) -> Change:
    await proxied(w, p)

    async def shut() -> None:
        await w.change(await w.hospital(), p, deceasedDateTime=day(w.at))

    return shut


async def a_proxy_is_a_danger(w: World, p: str) -> Change:
    await proxied(w, p)

    async def shut() -> None:
        who = {"reference": w.refs[f"carer of {p}"]}
        await w.change(await w.hospital(), p, extension=[{"url": FACTS + "safeguarding-proxy", "valueReference": who}])

    return shut


async def a_child_turns_16(w: World, p: str) -> Change:
    await w.change(await w.hospital(), p, birthDate=(w.at + timedelta(days=7)).replace(year=w.at.year - 16).strftime("%Y-%m-%d"))
    await gate.appoint(w.operator, p.removeprefix("Patient/"), w.refs[f"carer of {p}"], "parental-responsibility", grantor="surgery", evidence="a birth certificate")
    return lambda: pass_time(w)


async def a_claim_ends(w: World, p: str) -> Change:
    claim = {"id": "c", "user": w.refs["gp"], "reason": "on call", "at": day(w.at), "until": day(later(w))}
    await w.house.store.commit(Keep("claim", f"{p} c", json.dumps(claim).encode(), later(w)), Bump(p))
    return lambda: pass_time(w)


def started(house: House, policy: Policy) -> House:
    """Another start of the server, over the same store."""
    return House(house.store, house.clock, house.new_id, R4, house.label_sets, house.secret, policy=policy, remotes=house.remotes)


async def the_policy_changes(w: World, p: str) -> Change:
    await task(w, p)

    async def shut() -> None:
        w.house = started(w.house, Policy("Policy-deny"))

    return shut


async def urgent_care_is_taken_off_the_list(w: World, p: str) -> Change:
    async def shut() -> None:
        w.house = started(w.house, Policy())

    return shut


async def the_record_is_labelled_restricted(w: World, p: str) -> Change:
    await task(w, p)

    async def shut() -> None:
        for goal in w.refs[f"goals of {p}"].split():
            await w.change(await w.me(p), goal, meta={"security": [LEVEL]})

    return shut


async def what_it_hangs_on_is_hidden(w: World, p: str) -> Change:
    """A rule about what is one hop away: the record itself is not touched, another begins to point at it."""
    await task(w, p)
    plan = await w.make(await w.hospital(), "CarePlan", status="active", intent="plan", subject={"reference": p})
    near = {"data": [{"meaning": "related", "reference": {"reference": plan}}]}
    await w.make(await w.me(p), "Consent", **grant({}, p, provision={"provision": [{"type": "deny", **near}]}))

    async def shut() -> None:
        goals = [{"reference": g} for g in w.refs[f"goals of {p}"].split()]
        await w.change(await w.me(p), plan, goal=goals)

    return shut


# name of the reader, the partner that reads as they do (or None)
SHUTS: list[tuple[Callable[[World, str], Awaitable[Change]], str, str | None]] = [
    (a_consent_is_stopped, "link", "charity"),
    (a_consent_was_a_mistake, "link", "charity"),
    (a_consent_ends_by_itself, "link", "charity"),
    (the_person_says_no, "gp", "surgery"),
    (a_no_begins_by_itself, "gp", "surgery"),
    (a_task_is_completed, "gp", "surgery"),
    (a_task_runs_out, "gp", "surgery"),
    (a_team_ends, "gp", "surgery"),
    (a_member_leaves, "gp", "surgery"),
    (a_membership_ends_by_itself, "gp", "surgery"),
    (a_referral_is_completed, "gp", "surgery"),
    (the_general_practice_changes, "gp", "surgery"),
    (a_role_ends, "nurse", None),
    (a_role_runs_out, "nurse", None),
    (a_role_becomes_another, "nurse", None),
    (a_ward_leaves_the_trust, "nurse", "ward"),
    (an_organisation_closes, "gp", "surgery"),
    (an_organisation_that_a_consent_names_closes, "link", "charity"),
    (an_organisation_that_a_consent_names_by_its_code_closes, "link", "charity"),
    (a_part_of_what_a_consent_names_closes, "nurse", "ward"),
    (an_organisation_becomes_voluntary, "gp", "surgery"),
    (a_member_leaves_a_group, "nurse", None),
    (a_member_of_a_group_is_no_longer_active, "nurse", None),
    (a_membership_of_a_group_ends_by_itself, "link", "charity"),
    (a_group_is_no_longer_active, "link", "charity"),
    (a_group_is_deleted, "nurse", "ward"),
    (an_organisation_in_a_group_closes, "link", "charity"),
    (somebody_joins_a_group_that_is_told_no, "gp", "surgery"),
    (merged_records_part, "link", "charity"),
    (linked_records_part, "link", "charity"),
    (linked_records_part_the_other_way_round, "link", "charity"),
    (a_consent_of_the_merged_record_is_stopped, "link", "charity"),
    (a_proxy_role_is_stopped, "proxy", None),
    (the_person_dies, "proxy", None),
    (a_proxy_is_a_danger, "proxy", None),
    (a_child_turns_16, "proxy", None),
    (a_claim_ends, "gp", None),
    (the_policy_changes, "gp", "surgery"),
    (urgent_care_is_taken_off_the_list, "medic", None),
    (the_record_is_labelled_restricted, "gp", "surgery"),
    (what_it_hangs_on_is_hidden, "gp", "surgery"),
]


OF_THE_RECORD = (the_record_is_labelled_restricted, what_it_hangs_on_is_hidden)  # no epoch: a page is judged by what it finds


async def shown(w: World, who: str, person: str, type: str) -> tuple[bool, int, bool]:
    """(a read by id, how many a search finds, is a history there) as this reader, now."""
    ctx = await w.reader(who, person)
    ref = Ref(*w.refs[f"goals of {person}"].split()[0].split("/"))
    found = await gate.search(ctx, type, [("patient", person)])
    out = []
    for ask in (gate.read(ctx, ref), gate.history(ctx, *ref)):
        try:
            await ask
            out.append(True)
        except Problem as p:
            assert p.kind == "not-found", p
            out.append(False)
    return out[0], len(found.entries), out[1]


async def begun(w: World, who: str) -> tuple[str, str]:
    """A person with two things in their record, and which type they are of."""
    person = await w.make(await w.hospital(), "Patient", name=[{"family": "Lee"}], birthDate="1950-04-03")
    type = "Flag" if who == "medic" else "Goal"
    about = {"subject": {"reference": person}}
    words = {"status": "active", "code": {"text": "risk"}} if type == "Flag" else {"lifecycleStatus": "active", "description": {"text": "walk"}}
    w.refs[f"goals of {person}"] = " ".join([await w.make(await w.hospital(), type, **about, **words) for _ in range(2)])
    if who == "proxy":
        w.refs[f"carer of {person}"] = await w.make(await w.me(person), "RelatedPerson", active=True, patient={"reference": person})
    return person, type


@pytest.mark.parametrize(("fact", "who", "partner"), SHUTS, ids=[f.__name__ for f, *_ in SHUTS])
async def test_the_very_next_answer_knows(world: World, fact: Callable[[World, str], Awaitable[Change]], who: str, partner: str | None) -> None:
    w = world
    person, type = await begun(w, who)
    if fact is not urgent_care_is_taken_off_the_list:
        assert await shown(w, who, person, type) == (False, 0, False)
    shut = await fact(w, person)
    assert await shown(w, who, person, type) == (True, 2, True)
    first = await gate.search(await w.reader(who, person), type, [("patient", person), ("_count", "1")])
    assert first.next is not None
    if partner is not None:
        await worker.once(w.house, w.partners[partner])
        assert type in w.there[partner].types()
        await w.change(await w.hospital(), w.refs[f"goals of {person}"].split()[1], note=[{"text": "again"}])  # waits for the partner
    sent = sum(r["resourceType"] == type for r in w.there[partner].held.values()) if partner else 0
    assert sent == (2 if partner else 0)
    await shut()
    assert await shown(w, who, person, type) == (False, 0, False)
    try:
        assert not (await gate.search(await w.reader(who, person), type, [("_page", first.next)])).entries
        assert fact in OF_THE_RECORD, "the page link outlived the change"
    except Problem as gone:
        assert gone.kind == "not-found"
    if partner is not None:
        before = len(w.there[partner].written)
        await worker.once(w.house, w.partners[partner])
        assert type not in w.there[partner].types(), "it is still there"
        assert not [m for m in w.there[partner].written[before:] if "again" in m], "it was sent after the change"


# -- and everyone who may see it at once -------------------------------------------------------------------------------


async def a_consent_is_given(w: World, p: str) -> Change:
    return lambda: to_organisation(w, p, "charity")


async def a_consent_begins_by_itself(w: World, p: str) -> Change:
    await to_organisation(w, p, "charity", period={"start": day(later(w))})
    return lambda: pass_time(w)


async def a_no_ends_by_itself(w: World, p: str) -> Change:
    await task(w, p)
    await to_organisation(w, p, "surgery", type="deny", period={"end": day(later(w))})
    return lambda: pass_time(w)


async def a_task_is_accepted(w: World, p: str) -> Change:
    body: dict[str, Any] = {"status": "requested", "intent": "order", "for": {"reference": p}, "owner": {"reference": w.refs["surgery"]}}
    await w.make(await w.hospital(), "Task", **body)
    return lambda: w.accept_all("gp", p)


async def a_role_begins_by_itself(w: World, p: str) -> Change:
    await to_organisation(w, p, "ward")
    await w.change(w.operator, w.refs["nurse-role"], period={"start": day(later(w))})
    return lambda: pass_time(w)


async def a_ward_joins_the_trust(w: World, p: str) -> Change:
    await w.change(w.operator, w.refs["ward"], partOf=None)
    await to_organisation(w, p, "trust")
    return lambda: w.change(w.operator, w.refs["ward"], partOf={"reference": w.refs["trust"]})


async def somebody_joins_a_group_that_is_let_in(w: World, p: str) -> Change:
    ref = await group(w, "nurse")
    await consents(w, p, {"reference": ref})
    return lambda: w.change(w.operator, ref, member=[{"entity": {"reference": w.refs["charity"]}}])


async def a_membership_of_a_group_begins_by_itself(w: World, p: str) -> Change:
    await consents(w, p, {"reference": await group(w, "nurse-role", period={"start": day(later(w))})})
    return lambda: pass_time(w)


async def a_group_that_is_told_no_is_left(w: World, p: str) -> Change:
    await task(w, p)
    ref = await group(w, "gp", "surgery")
    await consents(w, p, {"reference": ref}, type="deny")
    return lambda: w.change(w.operator, ref, member=None)


OPENS: list[tuple[Callable[[World, str], Awaitable[Change]], str, str | None]] = [
    (a_consent_is_given, "link", "charity"),
    (a_consent_begins_by_itself, "link", "charity"),
    (a_no_ends_by_itself, "gp", "surgery"),
    (a_task_is_accepted, "gp", "surgery"),
    (a_role_begins_by_itself, "nurse", None),
    (a_ward_joins_the_trust, "nurse", "ward"),
    (somebody_joins_a_group_that_is_let_in, "link", "charity"),
    (a_membership_of_a_group_begins_by_itself, "nurse", None),
    (a_group_that_is_told_no_is_left, "gp", "surgery"),
]


@pytest.mark.parametrize(("fact", "who", "partner"), OPENS, ids=[f.__name__ for f, *_ in OPENS])
async def test_whoever_may_now_sees_it_at_once(world: World, fact: Callable[[World, str], Awaitable[Change]], who: str, partner: str | None) -> None:
    w = world
    person, type = await begun(w, who)
    open_ = await fact(w, person)
    assert await shown(w, who, person, type) == (False, 0, False)
    if partner is not None:
        await worker.once(w.house, w.partners[partner])
        assert type not in w.there[partner].types()
    await open_()
    assert await shown(w, who, person, type) == (True, 2, True)
    if partner is not None:
        await worker.once(w.house, w.partners[partner])
        assert type in w.there[partner].types(), "what was withheld still waits"


async def test_an_etag_is_the_version_and_nothing_else(world: World) -> None:
    """An epoch in it would turn each change of consent into a 412, and tell readers of it."""
    w = world
    person, _ = await begun(w, "gp")
    await task(w, person)
    goal = w.refs[f"goals of {person}"].split()[0]
    ref = Ref(*goal.split("/"))
    before = await gate.read(await w.reader("gp", person), ref)
    await to_organisation(w, person, "charity")
    after = await gate.read(await w.reader("gp", person), ref)
    assert (before.version, before.updated, before.body) == (after.version, after.updated, after.body)
    await gate.update(await w.me(person), ref, json.dumps({**json.loads(after.body), "lifecycleStatus": "completed"}).encode(), if_match=before.version)


async def test_a_new_agreement_takes_back_what_it_does_not_cover(world: World) -> None:
    """The same partner, from the next start on, enforces nothing and is read by somebody who was told no."""
    w = world
    person, type = await begun(w, "gp")
    await task(w, person)
    await to_organisation(w, person, "charity", type="deny")
    await worker.once(w.house, w.partners["surgery"])
    assert type in w.there["surgery"].types()
    wider = replace(w.partners["surgery"].terms, audience=(w.refs["charity"],), enforces="nothing")
    again = Partner(wider, w.partners["surgery"].server)
    await worker.once(w.house, again)
    assert type not in w.there["surgery"].types()


async def test_an_attachment_goes_nowhere_by_being_referred_to(world: World) -> None:
    """It is nobody's by itself, so that what is denied to a reader of the partner, and a recall, would pass it by."""
    w = world
    person, _ = await begun(w, "gp")
    need = await w.make(await w.hospital(), "Condition", code={"text": "a secret"}, subject={"reference": person})
    paper = await w.make(await w.hospital(), "Binary", contentType="text/plain", securityContext={"reference": need}, data="aGlkZGVu")
    content = [{"attachment": {"contentType": "text/plain", "title": "letter"}}]
    await w.make(
        await w.hospital(), "DocumentReference", status="current", subject={"reference": person}, content=content,
        context={"related": [{"reference": paper}]},
    )  # fmt: skip
    await task(w, person)
    no = grant({"reference": w.refs["charity"]}, person, type="deny")
    no["provision"]["provision"][0]["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": "Condition"}]
    await w.make(await w.me(person), "Consent", **no)
    terms = replace(w.partners["surgery"].terms, audience=(w.refs["charity"],))
    partner = Partner(terms, w.partners["surgery"].server)
    await worker.once(w.house, partner)
    assert "DocumentReference" in w.there["surgery"].types() and not {"Binary", "Condition"} & w.there["surgery"].types()
    assert "aGlkZGVu" not in "".join(w.there["surgery"].written)


async def test_a_directory_that_grows_recalls_what_the_new_reader_may_not_see(world: World) -> None:
    """Nothing is written about the person: another organisation comes under one that reads from the partner."""
    w = world
    person, type = await begun(w, "gp")
    await task(w, person)
    await to_organisation(w, person, "charity", type="deny")
    terms = replace(w.partners["surgery"].terms, audience=(w.refs["trust"],), enforces="labels")
    partner = Partner(terms, w.partners["surgery"].server)
    await worker.once(w.house, partner)
    assert type in w.there["surgery"].types()
    await w.change(w.operator, w.refs["charity"], partOf={"reference": w.refs["trust"]})
    await worker.once(w.house, partner)
    assert type not in w.there["surgery"].types()
