"""One main plan for each person, whichever door a CarePlan comes in by. docs/main-plan.md"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import gate, plans
from fhir_gateway.domain import main_plan, strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.scopes import Scopes
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.domain.vocabulary import HL7, OURS
from fhir_gateway.gate import Context

from .staff import consent, permit
from .test_plans import ODS, Place, harold, opened

MAIN = [{"coding": [{"system": "http://snomed.info/sct", "code": "2181441000000107"}]}]
ACTIONS = [{"coding": [{"system": f"{HL7}/consentaction", "code": c}]} for c in ("access", "correct")]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


def charity(place: Place, code: str = "RY9") -> Context:
    """A system of another organisation, registered to bring plans in."""
    org = place.organisations[code]
    return place.ctx(Actor("system", frozenset({f"Device/{code}", org, f"{ODS}|{code}"}), f"Device/{code}", code, org, "health", contributor=True))


def care_plan(patient: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "category": MAIN, "subject": {"reference": f"Patient/{patient}"}, **more}


async def made(ctx: Context, resource: dict[str, Any]) -> Ref:
    return (await gate.create(ctx, resource["resourceType"], strict.dump(resource))).ref


async def first(place: Place) -> tuple[str, Ref]:
    """Harold with a plan from the hospital: (his id, the plan)."""
    saved = await plans.save(place.hospital, harold())
    assert saved.patient
    (plan,) = await counting(place, saved.patient)
    return saved.patient, plan


async def hide(place: Place, patient: str, ref: Ref, who: str) -> None:
    """Harold lets `who` see everything but this one thing."""
    no = {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": str(ref)}}]}
    await made(place.patient(patient), consent(patient, permit(who, provision=[no])))


async def counting(place: Place, patient: str) -> list[Ref]:
    found = await place.house.store.patient_record(f"Patient/{patient}", ["CarePlan"])
    return [s.ref for s in found if main_plan.counts(strict.decode(s.body or b""))]


async def questions(ctx: Context, patient: str) -> list[dict[str, Any]]:
    found = await gate.search(ctx, "Task", [("patient", patient), ("code", "merge-plans")])
    return [strict.decode(e.body) for e in found.entries if e.body]


async def body(ctx: Context, ref: Ref) -> dict[str, Any]:
    return strict.decode((await gate.read(ctx, ref)).body)


async def test_who_sees_the_first_is_told_of_it_by_every_door(place: Place) -> None:
    patient, plan = await first(place)
    new = care_plan(patient)
    draft = await made(place.hospital, care_plan(patient, partOf=[{"reference": str(plan)}]))
    loose = {k: v for k, v in (await body(place.hospital, draft)).items() if k != "partOf"}

    def bundle(type: str) -> bytes:
        entry = {"fullUrl": "urn:uuid:01a20e05-0000-7000-8000-00000000000a", "resource": new, "request": {"method": "POST", "url": "CarePlan"}}
        return strict.dump({"resourceType": "Bundle", "type": type, "entry": [entry]})

    doors = [
        lambda: gate.create(place.hospital, "CarePlan", strict.dump(new)),
        lambda: gate.create(place.hospital, "CarePlan", strict.dump(new), if_none_exist="identifier=https://x.example|1"),
        lambda: gate.update_where(place.hospital, "CarePlan", "identifier=https://x.example|1", strict.dump(new)),
        lambda: gate.update(place.hospital, draft, strict.dump(loose), if_match=1),
        lambda: gate.patch(place.hospital, draft, lambda _: loose, if_match=1),
        lambda: gate.transaction(place.hospital, bundle("transaction")),
        lambda: gate.push(place.hospital, bundle("transaction")),
        lambda: plans.save(place.hospital, harold(id="another")),
    ]
    for n, door in enumerate(doors):
        with pytest.raises(Problem) as refused:
            await door()
        assert refused.value.kind == "conflict" and str(plan) in refused.value.text and "partOf" in refused.value.text, n
    answer = await gate.transaction(place.hospital, bundle("batch"))
    assert answer["entry"][0]["response"]["status"].startswith("409")
    with pytest.raises(Problem) as told:
        await gate.transaction(place.hospital, bundle("transaction"))
    assert told.value.issues[0].where.startswith("Bundle.entry[0]")
    assert await counting(place, patient) == [plan] and await questions(place.patient(patient), patient) == []


async def test_who_does_not_see_it_is_answered_as_if_it_were_the_first(place: Place) -> None:
    patient, plan = await first(place)
    other = charity(place)
    await hide(place, patient, plan, place.organisations["RY9"])
    here = await gate.create(other, "CarePlan", strict.dump(care_plan(patient, title="Ours")))
    assert here.did == "created" and here.issues == ()
    assert (await body(other, here.ref))["title"] == "Ours"
    found = await gate.search(other, "CarePlan", [("patient", patient), ("category", "2181441000000107")])
    assert [e.ref for e in found.entries] == [here.ref], "as if there were no other"
    assert await questions(other, patient) == [], "nor does what was asked tell of it"
    with pytest.raises(Problem):
        await made(other, care_plan(patient))
    (asked,) = await questions(place.patient(patient), patient)
    assert asked["focus"]["reference"] == str(here.ref) and asked["owner"] == {"reference": f"Patient/{patient}"}, "no key worker here may see both"
    assert (await plans.load(place.patient(patient), patient))["id"] == harold()["id"], "the plan stays what it was"
    assert (await gate.main_plan_of(place.hospital, f"Patient/{patient}")) == str(plan)


async def test_who_may_write_and_not_read_is_answered_as_if_there_were_none(place: Place) -> None:
    patient, plan = await first(place)
    blind = replace(place.hospital, scopes=Scopes.parse("system/CarePlan.c"))
    assert (await gate.create(blind, "CarePlan", strict.dump(care_plan(patient)))).body is None
    assert len(await questions(place.patient(patient), patient)) == 1 and plan in await counting(place, patient)


async def test_what_is_over_part_of_another_or_only_proposed_is_no_main_plan(place: Place) -> None:
    patient, plan = await first(place)
    for more in ({"status": "completed"}, {"status": "revoked"}, {"intent": "proposal"}, {"partOf": [{"reference": str(plan)}]}, {"category": []}):
        body = {k: v for k, v in care_plan(patient, **more).items() if v != []}
        await made(place.hospital, body)
    assert await counting(place, patient) == [plan]
    ended = await body_of(place, plan)
    await gate.update(place.hospital, plan, strict.dump(ended | {"status": "completed"}), if_match=1)
    new = await made(place.hospital, care_plan(patient))
    assert await counting(place, patient) == [new] and await gate.main_plan_of(place.hospital, f"Patient/{patient}") == str(new)


async def body_of(place: Place, ref: Ref) -> dict[str, Any]:
    stored = await place.house.store.get(ref)
    assert stored is not None and stored.body is not None
    return strict.decode(stored.body)


async def test_of_two_that_come_at_once_one_is_told_of_the_other(place: Place) -> None:
    patient = (await plans.save(place.hospital, harold())).patient
    assert patient
    (plan,) = await counting(place, patient)
    await gate.update(place.hospital, plan, strict.dump(await body_of(place, plan) | {"status": "completed"}), if_match=1)
    raw = strict.dump(care_plan(patient))
    done = await asyncio.gather(*(gate.create(place.hospital, "CarePlan", raw) for _ in range(4)), return_exceptions=True)
    assert sorted(type(d).__name__ for d in done) == ["Problem", "Problem", "Problem", "Written"]
    assert len(await counting(place, patient)) == 1


@pytest.mark.parametrize("answer", ["part", "main", "no"])
async def test_what_is_asked_ends_with_the_answer(place: Place, answer: str) -> None:
    patient, plan = await first(place)
    other = charity(place)
    await hide(place, patient, plan, place.organisations["RY9"])
    new = await made(other, care_plan(patient, title="Ours"))
    me = place.patient(patient)
    (asked,) = await questions(me, patient)
    mine, theirs = await body_of(place, plan), await body_of(place, new)
    if answer == "part":
        await gate.update(me, new, strict.dump(theirs | {"partOf": [{"reference": str(plan)}]}), if_match=1)
    elif answer == "main":
        await gate.update(me, plan, strict.dump(mine | {"partOf": [{"reference": str(new)}]}), if_match=1)
    else:
        await gate.update(me, new, strict.dump(theirs | {"status": "revoked"}), if_match=1)
    main = new if answer == "main" else plan
    assert await counting(place, patient) == [main] and await gate.main_plan_of(me, f"Patient/{patient}") == str(main)
    (told,) = await questions(me, patient)
    assert (told["id"], told["status"]) == (asked["id"], "completed")
    assert await questions(other, patient) == []


@pytest.mark.parametrize("how", ["part", "main", "end"])
async def test_who_was_asked_says_what_becomes_of_it_and_who_sent_it_learns_nothing_of_the_other(place: Place, how: str) -> None:
    patient, plan = await first(place)
    other = charity(place)
    await hide(place, patient, plan, place.organisations["RY9"])
    new = await made(other, care_plan(patient, title="Ours"))
    me, was = place.patient(patient), await body(other, new)
    (asked,) = await questions(me, patient)
    task = Ref("Task", asked["id"])
    for who in (other, place.hospital):
        with pytest.raises(Problem) as refused:
            await gate.join_plans(who, task, how)
        assert refused.value.kind == "not-found"
    await gate.join_plans(me, task, how)
    (told,) = await questions(me, patient)
    assert told["status"] == "completed"
    assert str(plan) not in strict.dump(await body(other, new)).decode()
    assert await body(other, new) == was or how == "end"
    assert (await body(other, new))["status"] == ("revoked" if how == "end" else "active")
    assert (await plans.load(me, patient))["title"] == ("Ours" if how == "main" else harold()["title"])
    with pytest.raises(Problem) as again:
        await gate.join_plans(me, task, how)
    assert again.value.kind == "conflict"


async def test_a_plan_says_what_it_is_part_of_where_who_made_it_sees_that(place: Place) -> None:
    patient, plan = await first(place)
    new = await made(replace(place.hospital, scopes=Scopes.parse("system/CarePlan.c")), care_plan(patient))
    me = place.patient(patient)
    (asked,) = await questions(me, patient)
    await gate.join_plans(me, Ref("Task", asked["id"]), "part")
    assert (await body_of(place, new))["partOf"] == [{"reference": str(plan)}]
    assert await counting(place, patient) == [plan] and [t["status"] for t in await questions(me, patient)] == ["completed"]


async def test_what_a_partners_server_brings_waits_beside_whoever_sees_the_first(place: Place) -> None:
    patient, plan = await first(place)
    new = await made(replace(place.hospital, beside=True), care_plan(patient))
    assert await counting(place, patient) == [plan, new]
    assert [t["focus"]["reference"] for t in await questions(place.patient(patient), patient)] == [str(new)]


class Watched:
    """A store, and what it is asked, in order."""

    def __init__(self, store: Any) -> None:
        self.store, self.asked = store, list[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self.store, name)


async def test_the_store_is_asked_the_same_whether_there_is_a_first_or_not(place: Place) -> None:
    other, seen = charity(place), []
    for status in ("active", "completed"):
        patient = await somebody(place)
        plan = await made(place.hospital, care_plan(patient, status=status))
        await hide(place, patient, plan, place.organisations["RY9"])
        assert (await gate.search(other, "CarePlan", [("patient", patient)])).entries == ()
        watched = place.house.store = Watched(place.house.store)  # type: ignore[assignment]
        written = await gate.create(other, "CarePlan", strict.dump(care_plan(patient)))
        place.house.store = watched.store
        after = len((await gate.search(other, "CarePlan", [("patient", patient)])).entries)
        seen.append((watched.asked, written.did, written.version, after))
        assert len(await questions(place.patient(patient), patient)) == (status == "active")
    assert seen[0] == seen[1]


def forged(patient: str, about: Ref, owner: str) -> dict[str, Any]:
    """What the gateway asks, in somebody else's hand."""
    asked = main_plan.question(str(about), f"Patient/{patient}", {"reference": owner}, [], "2026-11-24T09:00:00Z")
    return {k: v for k, v in asked.items() if k != "meta"}


async def with_and_without(place: Place) -> AsyncIterator[tuple[Context, str]]:
    """The charity and somebody with a main plan that it does not see; then it and somebody without."""
    for status in ("active", "completed"):
        patient = await somebody(place)
        plan = await made(place.hospital, care_plan(patient, status=status))
        await hide(place, patient, plan, place.organisations["RY9"])
        yield charity(place), patient


async def refusal(doing: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(Problem) as refused:
        await doing
    return refused.value.kind, refused.value.text


@pytest.mark.parametrize("hand", ["made", "changed"])
async def test_a_question_that_the_gateway_did_not_ask_tells_nothing_of_a_plan_that_its_writer_does_not_see(place: Place, hand: str) -> None:
    said, org = [], place.organisations["RY9"]
    async for other, patient in with_and_without(place):
        about = await made(other, care_plan(patient))
        task = forged(patient, about, org)
        if hand == "made":
            ref = await made(other, task)
        else:
            team = {"resourceType": "CareTeam", "status": "active", "subject": task["for"], "participant": [{"member": {"reference": org}}]}
            await made(other, team)
            found = await gate.search(other, "Task", [("patient", patient), ("code", "confirm-membership")])
            (ref,) = [e.ref for e in found.entries]
            await gate.patch(other, ref, lambda b, task=task: {**b, **task}, if_match=1)
        said.append([await refusal(gate.join_plans(other, ref, how)) for how in ("part", "main", "end")])
        assert (await body(other, about))["status"] == "active"
    assert said[0] == said[1]


async def test_nor_is_it_closed_by_the_gateway(place: Place) -> None:
    said = []
    async for other, patient in with_and_without(place):
        here = await made(other, care_plan(patient))
        next = await made(other, care_plan(patient, status="revoked"))
        task = await made(other, forged(patient, next, place.organisations["RY9"]))
        entry = [
            {"resource": {**await body(other, ref), "status": status}, "request": {"method": "PUT", "url": str(ref), "ifMatch": 'W/"1"'}}
            for ref, status in ((here, "revoked"), (next, "active"))
        ]
        await gate.transaction(other, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": entry}))
        said.append((await body(other, task))["status"])
    assert said == ["requested", "requested"]


async def test_who_was_asked_and_does_not_see_the_first_any_more_is_told_of_none(place: Place) -> None:
    patient, plan = await first(place)
    other, org = charity(place), place.organisations["RX9"]
    await hide(place, patient, plan, place.organisations["RY9"])
    await made(other, care_plan(patient))
    me = place.patient(patient)
    (asked,) = await questions(me, patient)
    task = Ref("Task", asked["id"])
    await gate.patch(me, task, lambda b: {**b, "owner": {"reference": org}}, if_match=1)
    await hide(place, patient, plan, org)
    told = [await refusal(gate.join_plans(place.hospital, task, how)) for how in ("part", "main", "end")]
    assert {kind for kind, _ in told} == {"conflict"}


async def test_a_link_to_the_next_page_tells_nothing_of_a_plan_that_its_reader_does_not_see(place: Place) -> None:
    said = []
    async for other, patient in with_and_without(place):
        here = await made(other, care_plan(patient))
        for n in range(2):
            await made(other, {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"{n}"}, "subject": {"reference": f"Patient/{patient}"}})
        asked = [("patient", patient), ("_count", "1")]
        page = await gate.search(other, "Goal", asked)
        assert page.next
        await gate.patch(other, here, lambda b: {**b, "status": "revoked"}, if_match=1)
        try:
            said.append(len((await gate.search(other, "Goal", [("_page", page.next)])).entries))
        except Problem as p:
            said.append(p.kind)
    assert said[0] == said[1]


async def test_a_volunteer_does_not_say_which_plan_is_the_main_one(place: Place) -> None:
    patient, plan = await first(place)
    await hide(place, patient, plan, place.organisations["RY9"])
    await made(charity(place), care_plan(patient))
    me, vic = place.patient(patient), Actor("professional", frozenset({"Practitioner/v"}), "Practitioner/v", sector="voluntary", drafts_only=True)
    await made(me, consent(patient, permit("Practitioner/v", action=ACTIONS)))
    (asked,) = await questions(me, patient)
    task = Ref("Task", asked["id"])
    await gate.patch(me, task, lambda b: {**b, "owner": {"reference": vic.user}}, if_match=1)
    for how in ("part", "main", "end"):
        assert (await refusal(gate.join_plans(place.ctx(vic), task, how)))[0] == "forbidden"
    assert await gate.main_plan_of(me, f"Patient/{patient}") == str(plan)


def key_worker(patient: str, who: str) -> dict[str, Any]:
    flag = {"url": f"{OURS}/StructureDefinition/key-worker", "valueBoolean": True}
    return {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{patient}"}, "participant": [{"member": {"reference": who}, "extension": [flag]}]}


@pytest.mark.parametrize("they", ["see it", "see no tasks", "volunteer"])
async def test_a_key_worker_is_asked_who_sees_the_question_and_may_answer_it(place: Place, they: str) -> None:
    patient, plan = await first(place)
    who = str(await made(place.operator, {"resourceType": "Practitioner", "active": True, "name": [{"family": "Key"}]}))
    job = {"coding": [{"system": f"{OURS}/CodeSystem/role", "code": "volunteer" if they == "volunteer" else "social-worker"}]}
    role = {"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": who}, "organization": {"reference": place.organisations["D82999"]}, "code": [job]}
    await made(place.operator, role)
    me = place.patient(patient)
    await made(me, key_worker(patient, who))
    no = {"type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Task"}]}
    await made(me, consent(patient, permit(who, **({"provision": [no]} if they == "see no tasks" else {}))))
    await hide(place, patient, plan, place.organisations["RY9"])
    await made(charity(place), care_plan(patient))
    (asked,) = await questions(me, patient)
    assert asked["owner"] == {"reference": who if they == "see it" else f"Patient/{patient}"}
    theirs = place.ctx(Actor("professional", frozenset({who}), who, sector="health"))
    assert len(await questions(theirs, patient)) == (they == "see it")


# -- the law ----------------------------------------------------------------------------------------------------------

WRITERS = ("hospital", "charity", "person")
STEPS = st.tuples(st.sampled_from(("create", "transaction", "begin", "end", "delete", "apart", "join")), st.sampled_from(WRITERS), st.integers(0, 3))


@given(st.lists(STEPS, min_size=2, max_size=7))
@settings(max_examples=12, deadline=None)
def test_whatever_is_written_by_any_door_a_person_has_at_most_one_main_plan_and_every_other_is_asked_about(steps: list[tuple[str, str, int]]) -> None:
    asyncio.run(_law(steps))


async def _law(steps: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "law.sqlite") as place:
            patient = await somebody(place)
            who = {"hospital": place.hospital, "charity": charity(place), "person": place.patient(patient)}
            await made(who["person"], consent(patient, permit(place.organisations["RX9"]), permit(place.organisations["RY9"], provision=[unseen(place)])))
            made_here: list[Ref] = []
            for what, writer, n in steps:
                try:
                    await _step(who[writer], what, patient, made_here, n)
                except Problem as p:
                    assert p.kind in ("conflict", "not-found", "forbidden"), p
                counted = {str(r) for r in await counting(place, patient)}
                asked = {t["focus"]["reference"] for t in await questions(who["person"], patient)}
                main = main_plan.main_of(await gate.main_plan_of(place.hospital, f"Patient/{patient}"), counted)
                assert counted - {main} <= asked, "one main plan, and of every other somebody was asked"
                assert await questions(who["charity"], patient) == []


async def somebody(place: Place) -> str:
    """A person without any plan."""
    body = {"resourceType": "Patient", "name": [{"family": "Law"}], "birthDate": "1950-01-01"}
    return (await made(place.hospital, body)).id


def unseen(place: Place) -> dict[str, Any]:
    """The charity sees nothing that the hospital made."""
    return {"type": "deny", "data": [{"meaning": "authoredby", "reference": {"reference": place.organisations["RX9"]}}]}


async def _step(ctx: Context, what: str, patient: str, made_here: list[Ref], n: int) -> None:
    new = care_plan(patient)
    if what == "create":
        made_here.append(await made(ctx, new))
        return
    if what == "transaction":
        entry = {"fullUrl": "urn:uuid:01a20e05-0000-7000-8000-00000000000a", "resource": new, "request": {"method": "POST", "url": "CarePlan"}}
        answer = await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}))
        made_here.append(Ref("CarePlan", answer["entry"][0]["response"]["location"].split("/_history")[0].rsplit("/", 1)[1]))
        return
    if len(made_here) <= n:
        return
    stored = await ctx.house.store.get(made_here[n])
    assert stored is not None
    if stored.deleted:
        return
    if what == "delete":
        await gate.remove(ctx, stored.ref, if_match=stored.version)
        return
    to = {"begin": {"status": "active"}, "end": {"status": "completed"}, "apart": {"partOf": None}, "join": {"partOf": [{"reference": "CarePlan/elsewhere"}]}}[what]
    await gate.patch(ctx, stored.ref, lambda b: {k: v for k, v in (b | to).items() if v is not None}, if_match=stored.version)
