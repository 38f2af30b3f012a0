"""A partner that keeps records for a person's team: the cases in plain words, and what becomes of a copy when something changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import definitions, gate
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import CONTACT, PLACES, VIEW, Bump, Cut, Keep, Ref
from fhir_gateway.domain.vocabulary import CONFIRM_MEMBERSHIP, HANDLING_SYSTEM, HL7, LOCATION_PROTECTED, SECTOR_SYSTEM, TASK_SYSTEM
from fhir_gateway.gate import House, Remote
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner, as_owner

from .faults.scripted import Habits, scripted
from .test_at_once import LEVEL, R4, World, day, directory, grant, later, pass_time, task, to_organisation
from .test_remotes import recorder

CASES = json.loads((Path(__file__).parent / "cases/partners/processors.json").read_text())["cases"]
KNOWN = {
    "id", "title", "answer", "for", "team", "asked", "task", "claims", "own hand", "bob's team", "bob says", "serves", "enforces", "says", "labels", "why", "type", "dead",
}  # fmt: skip


@pytest_asyncio.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """The places of `test_at_once`, and a company whose cloud, with a help desk, keeps records for the surgery."""
    store = await sqlite.open(tmp_path / "once.sqlite")
    w = World(None)  # type: ignore[arg-type]
    w.house = House(store, w.now, w.new_id, R4, LabelSets.load(definitions.load("labels.json")), b"s" * 32, alarm=pytest.fail)
    await directory(w)
    for name, over in (("company", None), ("cloud", "company"), ("desk", "cloud")):
        part = {"partOf": {"reference": w.refs[over]}} if over else {}
        kind = [{"coding": [{"system": SECTOR_SYSTEM, "code": "voluntary"}]}]
        w.refs[name] = await w.make(w.operator, "Organization", name=name, active=True, type=kind, **part)
    w.refs["surgeon"] = await w.make(w.operator, "Practitioner", active=True, name=[{"family": "surgeon"}])
    await w.make(
        w.operator, "PractitionerRole", active=True, practitioner={"reference": w.refs["surgeon"]}, organization={"reference": w.refs["hospital"]},
        code=[{"coding": [{"system": "urn:role", "code": "surgeon"}]}],
    )  # fmt: skip
    with recorder() as there:
        w.there["cloud"] = there
        terms = Remote("cloud", w.refs["cloud"], audience=(w.refs["surgery"],), role="processor")
        w.house.remotes = (terms,)
        w.partners["cloud"] = Partner(terms, RemoteServer(there.url, w.now))
        yield w
        await w.partners["cloud"].server.close()
    await store.close()


# -- the cases -----------------------------------------------------------------------------------------------------------

WORKS_AT = {"surgery": "gp", "hospital": "surgeon", "charity": "link", "ward": "nurse", "gp": "gp"}  # who agrees for whom


async def in_team(w: World, person: str, *members: str, agreed: bool = True, by: Any = None, **more: Any) -> str:
    """A team that the ambulance puts together, or whoever it is; each member says "yes, I am"."""
    whom = [{"member": {"reference": w.refs[m]}, **more} for m in members]
    ctx = by or replace(await w.system("ambulance", frozenset({"contributor", "refer"})), scopes=None)
    ref = await w.make(ctx, "CareTeam", status="active", subject={"reference": person}, participant=whom)
    for m in members if agreed else ():
        if m == "charity":  # which the gateway asks nothing of itself
            code = {"coding": [{"system": TASK_SYSTEM, "code": CONFIRM_MEMBERSHIP}]}
            more = {"code": code, "focus": {"reference": ref}, "owner": {"reference": w.refs[m]}}
            await w.make(ctx, "Task", status="requested", intent="order", **{"for": {"reference": person}}, **more)
        found = await gate.search(await w.reader(WORKS_AT[m], person), "Task", [("patient", person), ("owner", w.refs[m])])
        for entry in found.entries:
            await gate.accept(await w.reader(WORKS_AT[m], person), entry.ref, status="accepted")
    return ref


def said(w: World, person: str, how: dict[str, Any]) -> dict[str, Any]:
    """What the person said, in the form of our pages; `only`: to nobody but these, `share`: with them this alone."""
    (kind,) = how.keys() & {"yes", "no", "only", "share"}
    named = [{"identifier": {"system": SECTOR_SYSTEM, "value": n.removeprefix("sector:")}} if n.startswith("sector:") else {"reference": w.refs[n]} for n in how[kind]]
    actor = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": n} for n in named]
    what = {
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": k} for k in how.get("kinds", ())],
        "securityLabel": [{"system": f"{HL7}/v3-Confidentiality", "code": x} for x in how.get("labels", ())],
    }  # fmt: skip
    rule = {k: v for k, v in ({"actor": actor} | what).items() if v}
    root: dict[str, Any] = {"provision": [{"type": "permit" if kind == "yes" else "deny", **rule}]}
    if kind == "only":
        root = {"type": "deny", "provision": [{"type": "permit", **rule}]}
    if kind == "share":
        root = {"type": "permit", **rule}
    return grant({}, person, provision=root)


async def answered(w: World, case: dict[str, Any]) -> tuple[str, str | None]:
    """The gate's own answer in this case: yes or no, and for whom."""
    assert not case.keys() - KNOWN, case.keys() - KNOWN
    ann, bob = [await w.make(await w.hospital(), "Patient", name=[{"family": n}], birthDate="1950-04-03") for n in ("Ann", "Bob")]
    for consent in (c for c in case.get("says", ()) if "yes" in c):
        await w.make(await w.me(ann), "Consent", **said(w, ann, consent))
    for place in case.get("task", ()):
        await task(w, ann, WORKS_AT[place], place)
    if team := case.get("team"):
        await in_team(w, ann, *team)
    if asked := case.get("asked"):
        await in_team(w, ann, *asked, agreed=False)
    if own := case.get("own hand"):
        who = WORKS_AT[own[0]]
        await in_team(w, ann, *own, by=await w.enter(w.refs[who], "professional", "user/*.cruds", roles=frozenset({"refer"})))
    for consent in case.get("bob says", ()):
        await w.make(await w.me(bob), "Consent", **said(w, bob, consent))
    if team := case.get("bob's team"):
        await in_team(w, bob, *team)
    for who in case.get("claims", ()):
        claim = {"id": "c", "user": w.refs[who], "reason": "on call", "at": day(w.at), "until": day(later(w))}
        await w.house.store.commit(Keep("claim", f"{ann} c", json.dumps(claim).encode(), later(w)), Bump(ann))
    body: dict[str, Any] = {"lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": ann}}
    if case.get("type") == "Condition":
        body = {"code": {"text": "a cold"}, "subject": {"reference": ann}}
    if case.get("type") == "Appointment":
        body = {"status": "booked", "start": day(w.at), "end": day(later(w)), "participant": [{"status": "accepted", "actor": {"reference": p}} for p in (ann, bob)]}
    if labels := case.get("labels"):
        body["meta"] = {"security": [{**LEVEL, "code": x} for x in labels]}
    ref = Ref(*(await w.make(await w.hospital(), case.get("type", "Goal"), **body)).split("/"))
    if case.get("dead"):
        await w.change(await w.hospital(), ann, deceasedDateTime=day(w.at))
    for consent in (c for c in case.get("says", ()) if "yes" not in c):
        await w.make(await w.me(ann), "Consent", **said(w, ann, consent))
    serves = tuple(w.refs.get(n, n) for n in case.get("serves", ["surgery"]))
    terms = Remote(case["id"], w.refs["cloud"], case.get("why", "TREAT"), audience=serves, enforces=case.get("enforces", "consents"), role="processor")
    stored = await w.house.store.get(ref)
    assert stored is not None
    found = await gate.grounds(await as_owner(w.house, Partner(terms, w.partners["cloud"].server), "disclose"), terms, stored)
    assert found.decision == await gate.may_send(await as_owner(w.house, Partner(terms, w.partners["cloud"].server), "disclose"), terms, stored)
    names = {ref: name for name, ref in w.refs.items()}
    return "yes" if found.decision.permit else "no", names[found.on_behalf_of] if found.on_behalf_of else None


async def test_each_case_of_a_processor(w: World) -> None:
    w.house.remotes = ()
    wrong = []
    for case in CASES:
        got = await answered(w, case)
        if got != (case["answer"], case.get("for")):
            wrong.append(f"{case['id']} {case['title']} {got}")
    assert not wrong, "\n".join(wrong)


def test_each_case_has_an_id_and_a_sentence() -> None:
    assert len({c["id"] for c in CASES}) == len(CASES) and all(c["title"] and ("for" in c) == (c["answer"] == "yes") for c in CASES)


# -- what becomes of a copy ------------------------------------------------------------------------------------------------

Change = Callable[[], Awaitable[Any]]


async def she_says_no_to_the_surgery(w: World, p: str, team: str) -> Change:
    return lambda: to_organisation(w, p, "surgery", type="deny")


async def she_says_no_to_the_cloud(w: World, p: str, team: str) -> Change:
    return lambda: to_organisation(w, p, "cloud", type="deny")


async def she_says_no_to_who_owns_the_cloud(w: World, p: str, team: str) -> Change:
    return lambda: to_organisation(w, p, "company", type="deny")


async def a_no_to_the_cloud_begins_by_itself(w: World, p: str, team: str) -> Change:
    await to_organisation(w, p, "cloud", type="deny", period={"start": day(later(w))})
    return lambda: pass_time(w)


async def the_team_ends(w: World, p: str, team: str) -> Change:
    ctx = replace(await w.system("ambulance", frozenset({"contributor", "refer"})), scopes=None)
    return lambda: w.change(ctx, team, status="inactive")


async def the_member_leaves(w: World, p: str, team: str) -> Change:
    ctx = replace(await w.system("ambulance", frozenset({"contributor", "refer"})), scopes=None)
    return lambda: w.change(ctx, team, participant=None)


async def the_goal_is_restricted(w: World, p: str, team: str) -> Change:
    async def shut() -> None:
        await w.change(await w.me(p), w.refs[f"goal of {p}"], meta={"security": [LEVEL]})

    return shut


async def the_surgery_becomes_part_of_who_was_told_no(w: World, p: str, team: str) -> Change:
    await to_organisation(w, p, "charity", type="deny")
    return lambda: w.change(w.operator, w.refs["surgery"], partOf={"reference": w.refs["charity"]})


async def the_surgery_closes(w: World, p: str, team: str) -> Change:
    await w.change(w.operator, w.refs["surgery"], partOf=None)
    return lambda: w.change(w.operator, w.refs["surgery"], active=False)


SHUTS = [
    she_says_no_to_who_owns_the_cloud, a_no_to_the_cloud_begins_by_itself, the_member_leaves, the_goal_is_restricted,
    the_surgery_becomes_part_of_who_was_told_no, the_surgery_closes,
]  # fmt: skip
QUICK = [she_says_no_to_the_surgery, she_says_no_to_the_cloud, the_team_ends]


async def ann(w: World, *team: str, **more: Any) -> tuple[str, str]:
    """A person with a goal, and the surgery in her team, or these; the team's reference."""
    p = await w.make(await w.hospital(), "Patient", name=[{"family": "Lee"}], birthDate="1950-04-03", **more)
    goal = {"lifecycleStatus": "active", "description": {"text": f"goal of {p}"}, "subject": {"reference": p}}
    w.refs[f"goal of {p}"] = await w.make(await w.hospital(), "Goal", **goal)
    return p, await in_team(w, p, *(team or ("surgery",)))


def at_the_cloud(w: World, p: str) -> bool:
    return any(r.get("description") == {"text": f"goal of {p}"} for r in w.there["cloud"].held.values())


async def synced(w: World) -> None:
    for _ in range(2):
        await worker.once(w.house, w.partners["cloud"])


@pytest.mark.parametrize("facts", [QUICK, pytest.param(SHUTS, marks=pytest.mark.slow)], ids=["quick", "all"])
async def test_what_a_processor_keeps_is_taken_back_when_the_team_may_have_it_no_more(w: World, facts: list[Any]) -> None:
    for fact in facts:
        p, team = await ann(w)
        shut = await fact(w, p, team)
        await synced(w)
        assert at_the_cloud(w, p), fact.__name__
        (row,) = [d for d in await w.house.store.ledger(patient=p, open_only=True) if d.ref.type == "Goal"]
        assert (row.recipient, row.on_behalf_of) == (w.refs["cloud"], w.refs["surgery"])
        await shut()
        if fact is not the_goal_is_restricted:
            await w.change(await w.me(p), w.refs[f"goal of {p}"], note=[{"text": f"again {p}"}])
        await synced(w)
        assert not at_the_cloud(w, p), fact.__name__
        assert not [m for m in w.there["cloud"].written if f"again {p}" in m], f"{fact.__name__}: sent after the change"
        rows = [d for d in await w.house.store.ledger(patient=p) if d.ref.type == "Goal"]
        assert all(d.recalled and d.on_behalf_of == w.refs["surgery"] for d in rows), "for whom it was kept is still known"


@pytest.mark.slow
async def test_what_waited_goes_when_the_team_begins_and_another_agreement_takes_it_back(w: World) -> None:
    p, team = await ann(w)
    ctx = replace(await w.system("ambulance", frozenset({"contributor", "refer"})), scopes=None)
    await w.change(ctx, team, status="inactive")
    await synced(w)
    assert not at_the_cloud(w, p)
    await in_team(w, p, "surgery")
    await synced(w)
    assert at_the_cloud(w, p), "what was withheld still waits"
    now = replace(w.partners["cloud"].terms, role="recipient", audience=())
    w.partners["cloud"] = Partner(now, w.partners["cloud"].server)
    w.house.remotes = (now,)
    await synced(w)
    assert not at_the_cloud(w, p), "as a recipient it needs her yes"


@pytest.mark.slow
async def test_another_member_of_the_team_is_enough_for_it_to_stay(w: World) -> None:
    terms = replace(w.partners["cloud"].terms, audience=(w.refs["surgery"], w.refs["ward"]))
    w.partners["cloud"], w.house.remotes = Partner(terms, w.partners["cloud"].server), (terms,)
    p, team = await ann(w, "surgery", "ward")
    await synced(w)
    assert at_the_cloud(w, p)
    ctx = replace(await w.system("ambulance", frozenset({"contributor", "refer"})), scopes=None)
    await w.change(ctx, team, participant=[{"member": {"reference": w.refs["ward"]}}])
    await synced(w)
    assert at_the_cloud(w, p), "the ward is still there"
    await to_organisation(w, p, "surgery", type="deny")  # which has left the team, and reads from the cloud
    await synced(w)
    assert not at_the_cloud(w, p)


# -- what it is shown, and what it may do ------------------------------------------------------------------------------------


async def test_it_gets_what_the_team_is_shown_and_nothing_of_where_somebody_at_risk_is(w: World) -> None:
    p, _ = await ann(w, address=[{"city": "Hiddenham"}], telecom=[{"system": "phone", "value": "07700 900001"}])
    terms, ref = w.partners["cloud"].terms, Ref(*p.split("/"))

    async def shown(terms: Remote) -> Cut:
        stored = await w.house.store.get(ref)
        assert stored is not None
        return await gate.shown_to(await as_owner(w.house, Partner(terms, w.partners["cloud"].server), "disclose"), terms, stored)

    assert await shown(terms) == Cut(VIEW), "as the surgery is shown it, whatever sector the cloud is of"
    assert await shown(replace(terms, role="recipient")) == Cut(VIEW | CONTACT), "for itself it would be told how to reach her alone"
    assert await shown(replace(terms, audience=(*terms.audience, w.refs["charity"]))) == Cut(VIEW | CONTACT), "a charity reads there, too"
    await w.change(await w.hospital(), p, meta={"security": [{"system": HANDLING_SYSTEM, "code": LOCATION_PROTECTED}]})
    assert (await shown(terms)).bits & PLACES
    await synced(w)
    assert "Hiddenham" not in json.dumps(w.there["cloud"].held)


async def test_it_writes_as_itself_and_for_nobody(w: World) -> None:
    """What it brings is judged by what the person lets the cloud do, and not by what the surgery may: it waits in quarantine."""
    p, _ = await ann(w)
    ctx = await as_owner(w.house, w.partners["cloud"], "access")
    goal = Ref(*w.refs[f"goal of {p}"].split("/"))
    for attempt in (
        lambda: w.change(ctx, str(goal), lifecycleStatus="completed"),
        lambda: w.make(ctx, "Goal", lifecycleStatus="active", description={"text": "theirs"}, subject={"reference": p}),
        lambda: w.make(ctx, "CareTeam", status="active", subject={"reference": p}, participant=[{"member": {"reference": w.refs["cloud"]}}]),
        lambda: gate.remove(ctx, goal, if_match=1),
        lambda: gate.read(ctx, goal),
    ):
        with pytest.raises(Problem) as refused:
            await attempt()
        assert refused.value.kind in ("not-found", "forbidden", "business-rule"), refused.value


@pytest.mark.slow
async def test_what_is_changed_made_or_deleted_there_waits_and_ours_goes_on(w: World) -> None:
    with scripted(Habits(feed="system"), w.now) as there:
        terms = w.partners["cloud"].terms
        partner = Partner(terms, RemoteServer(there.url, w.now))
        p, _ = await ann(w, identifier=[{"system": NHS_NUMBER, "value": "9990000018"}])
        other, _ = await ann(w)

        async def rounds() -> None:
            for _ in range(4):
                w.at += timedelta(seconds=40)
                await worker.once(w.house, partner)

        await rounds()
        assert there.requests("POST", "Patient/_search"), "it was asked for whom the surgery may send"
        copies = {g["description"]["text"]: g for g in there.named("Goal")}
        there.write({**copies[f"goal of {p}"], "description": {"text": "theirs"}})
        there.write({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "new"}, "subject": copies[f"goal of {p}"]["subject"]})
        there.remove(f"Goal/{copies[f'goal of {other}']['id']}")
        await rounds()
        waits = [json.loads(v) for v in (await w.house.store.kept_all("quarantine", w.at, "cloud ")).values()]
        clashes = [json.loads(v) for v in (await w.house.store.kept_all("conflict", w.at, "cloud ")).values()]
        assert len(waits) == 2 and [c["ref"] for c in clashes] == [w.refs[f"goal of {other}"]], (waits, clashes)
        for who in (p, other):
            here = [s for s in await w.house.store.patient_record(who, ["Goal"]) if not s.deleted]
            assert [json.loads(s.body or b"{}")["description"]["text"] for s in here] == [f"goal of {who}"], "as it was, and nothing beside it"
        await w.change(await w.me(p), w.refs[f"goal of {p}"], note=[{"text": "hers"}])
        await rounds()
        (now,) = [g for g in there.named("Goal") if g["id"] == copies[f"goal of {p}"]["id"]]
        assert now["note"] == [{"text": "hers"}], "ours goes there all the same"
        there.write({**now, "description": {"text": "theirs again"}})
        await w.change(await w.me(p), w.refs[f"goal of {p}"], description={"text": "ours"})
        await rounds()
        kept = [json.loads(v) for v in (await w.house.store.kept_all("conflict", w.at, "cloud ")).values()]
        assert {c["ref"] for c in kept} == {w.refs[f"goal of {p}"], w.refs[f"goal of {other}"]}, "both versions are kept for a person to decide"
        await to_organisation(w, p, "surgery", type="deny")
        await rounds()
        assert not [g for g in there.named("Goal") if g["id"] == now["id"]]
        await partner.server.close()


# -- what is told ----------------------------------------------------------------------------------------------------------


async def dry_run_and_ledger(w: World, p: str) -> None:
    said = {i["ref"]: (i["would"], i["for"]) async for i in worker.preview(w.house, w.partners["cloud"])}
    assert said[w.refs[f"goal of {p}"]] == ("send", w.refs["surgery"])
    await synced(w)
    await to_organisation(w, p, "surgery", type="deny")
    await synced(w)
    taken = [r for r in await worker.ledger(w.house, w.partners["cloud"]) if r["ref"] == w.refs[f"goal of {p}"]]
    assert taken and all(r["for"] == w.refs["surgery"] and r["recalled"] for r in taken)


async def test_person_operator_dry_run_and_ledger_are_told_for_whom_it_is_kept(w: World) -> None:
    p, _ = await ann(w)
    await dry_run_and_ledger(w, p)
    me = await w.me(p)
    rows = [r for r in await gate.who_looked(me, p.split("/")[1]) if r["what"] == "disclose" and r["allowed"]]
    assert rows and {(r["organisation"], r["for"]) for r in rows} == {(w.refs["cloud"], w.refs["surgery"])}
    assert all(r["sentence"].endswith(", to keep for somebody in your team.") for r in rows)
    p, _ = await ann(w)
    me, goal = await w.me(p), Ref(*w.refs[f"goal of {p}"].split("/"))
    told = await gate.why(me, goal, w.refs["cloud"])
    assert not told.decision.permit and told.kept_for == (w.refs["surgery"],)
    assert "They may keep a copy of it for surgery, and not for themselves." in told.text
    by_operator = await gate.explain(w.house, await gate.askers(w.house, w.refs["cloud"]), "disclose", goal)
    assert by_operator.kept_for == (w.refs["surgery"],)
    surgery = await gate.why(me, goal, w.refs["surgery"])
    assert surgery.decision.permit and surgery.kept_for == ()
    await to_organisation(w, p, "cloud", type="deny")
    assert (await gate.why(me, goal, w.refs["cloud"])).kept_for == ()
