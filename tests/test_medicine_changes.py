"""A discharge that says otherwise of a plan's medicines: proposed once, said yes or no to, and the plan is changed by nobody else. docs/partners.md"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate, plans
from fhir_gateway.around import answering
from fhir_gateway.domain import medicine_changes, strict
from fhir_gateway.domain.medicines import period
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import Context

from .staff import consent, permit
from .test_main_plan import ACTIONS, charity, made
from .test_plans import Place, harold, opened

URN = "urn:uuid:01a20e05-0000-7000-8000-0000000000"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


def order(name: str, status: str = "active", how: str = "One in the morning", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest", "status": status, "intent": "order", "medicationCodeableConcept": {"text": name}, "authoredOn": "2026-11-20",
        "dosageInstruction": [{"text": how}], **more,
    }  # fmt: skip


STOPPED = order("Aspirin 75 mg tablets", "stopped", statusReason={"text": "Not with apixaban"})
CHANGED = order("Bisoprolol 2.5 mg tablets", how="Two in the morning")
NEW = order("Apixaban 5 mg tablets", how="One twice a day", reasonCode=[{"text": "Found on the ward"}])
LISTED = [{"id": "m-1", "text": "Aspirin 75 mg tablets", "how": "One in the morning", "status": "taking"}, {"id": "m-2", "text": "Bisoprolol 2.5 mg tablets", "how": "One in the morning", "status": "taking"}]


async def with_a_plan(place: Place) -> str:
    saved = await plans.save(place.hospital, harold(medicines=LISTED))
    assert saved.patient
    return saved.patient


async def discharged(place: Place, patient: str, *orders: dict[str, Any], status: str = "finished", **more: Any) -> dict[str, Any]:
    about = {"subject": {"reference": f"Patient/{patient}"}}
    stay = {"resourceType": "Encounter", "status": status, "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}, **about, **more}
    every = [stay, *({**o, **about, "encounter": {"reference": f"{URN}10"}} for o in orders)]
    entries = [{"fullUrl": f"{URN}{10 + n}", "resource": r, "request": {"method": "POST", "url": r["resourceType"]}} for n, r in enumerate(every)]
    return await gate.transaction(place.hospital, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": entries}))


async def proposed(ctx: Context, patient: str, status: str = "requested") -> list[dict[str, Any]]:
    found = await gate.search(ctx, "Task", [("patient", patient), ("code", "change-medicine"), ("status", status), ("_count", "50")])
    return [strict.decode(e.body) for e in found.entries if e.body]


async def of(me: Context, patient: str) -> dict[str, dict[str, Any]]:
    """Each open proposal, by the name of the medicine that was ordered."""
    found = {}
    for task in await proposed(me, patient):
        ref = Ref(*task["focus"]["reference"].split("/"))
        found[strict.decode((await gate.read(me, ref)).body)["medicationCodeableConcept"]["text"]] = task
    return found


async def says(me: Context, task: dict[str, Any], **more: Any) -> dict[str, Any]:
    await gate.patch(me, Ref("Task", task["id"]), lambda t: {**t, **more}, if_match=int(task["meta"]["versionId"]))
    return strict.decode((await gate.read(me, Ref("Task", task["id"]))).body)


async def shown_of(me: Context, task: dict[str, Any]) -> str:
    return await answering.shown(me, task, await answering.about(me, task))


async def yes(me: Context, task: dict[str, Any], seen: str = "") -> str:
    """As a page sends it, with the versions that it showed."""
    return await answering.answer(me, task["id"], "accept", seen=seen or await shown_of(me, task))


async def medicines(me: Context, patient: str) -> dict[str, dict[str, Any]]:
    return {m["text"]: m for m in (await plans.load(me, patient))["medicines"]}


async def test_each_change_is_proposed_and_only_a_yes_changes_the_plan(place: Place) -> None:
    patient = await with_a_plan(place)
    me, before = place.patient(patient), await medicines(place.patient(patient), patient)
    await discharged(place, patient, STOPPED, CHANGED, NEW)
    asked = await of(me, patient)
    assert set(asked) == {"Aspirin 75 mg tablets", "Bisoprolol 2.5 mg tablets", "Apixaban 5 mg tablets"}
    assert await medicines(me, patient) == before, "the plan is never changed by itself"
    assert {t["description"] for t in asked.values()} == {medicine_changes.ASKED} and await proposed(place.hospital, patient) == [], "for whom it asks, and the person"

    with pytest.raises(Problem) as no:
        await says(me, asked["Bisoprolol 2.5 mg tablets"], status="rejected")
    assert no.value.kind == "invalid"
    kept = await says(me, asked["Bisoprolol 2.5 mg tablets"], status="rejected", statusReason={"text": "I feel faint on two"})
    assert kept["status"] == "rejected" and kept["statusReason"]["text"] == "I feel faint on two" and await medicines(me, patient) == before
    with pytest.raises(Problem) as over:
        await says(me, kept, status="accepted")
    assert over.value.kind == "conflict"

    assert {(await says(me, asked[n], status="accepted"))["status"] for n in ("Aspirin 75 mg tablets", "Apixaban 5 mg tablets")} == {"completed"}
    now = await medicines(me, patient)
    assert now["Aspirin 75 mg tablets"]["status"] == "stopped" and now["Aspirin 75 mg tablets"]["change"]["reason"] == "Not with apixaban"
    assert now["Apixaban 5 mg tablets"]["how"] == "One twice a day" and now["Apixaban 5 mg tablets"]["change"]["kind"] == "new"
    assert now["Bisoprolol 2.5 mg tablets"] == before["Bisoprolol 2.5 mg tablets"]
    aspirin = asked["Aspirin 75 mg tablets"]
    proof = await gate.search(me, "Provenance", [("target", aspirin["input"][0]["valueReference"]["reference"])])
    sources = [s["what"] for e in proof.entries for s in strict.decode(e.body or b"{}").get("entity", ())]
    assert sources == [aspirin["focus"]], "the change says of which discharge it is"


async def test_sent_again_it_is_proposed_once_and_corrected_it_takes_the_place(place: Place) -> None:
    patient = await with_a_plan(place)
    me = place.patient(patient)
    await asyncio.gather(discharged(place, patient, STOPPED, CHANGED), discharged(place, patient, STOPPED, CHANGED))
    asked = await of(me, patient)
    assert len(await proposed(me, patient)) == 2
    await says(me, asked["Aspirin 75 mg tablets"], status="rejected", statusReason={"text": "I was told to go on"})
    await discharged(place, patient, STOPPED, CHANGED)
    assert [t["id"] for t in await proposed(me, patient)] == [asked["Bisoprolol 2.5 mg tablets"]["id"]], "neither what is open nor what was answered is asked again"

    await discharged(place, patient, CHANGED | {"dosageInstruction": [{"text": "Three in the morning"}]})
    (corrected,) = await proposed(me, patient)
    assert corrected["id"] == asked["Bisoprolol 2.5 mg tablets"]["id"] and corrected["focus"] != asked["Bisoprolol 2.5 mg tablets"]["focus"]
    with pytest.raises(Problem) as stale:
        await says(me, asked["Bisoprolol 2.5 mg tablets"], status="accepted")
    assert stale.value.kind == "stale", "nobody says yes to what was corrected meanwhile"
    await discharged(place, patient, CHANGED | {"dosageInstruction": [{"text": "One in the morning"}]})
    assert await proposed(me, patient) == [] and len(await proposed(me, patient, "cancelled")) == 1, "as in the plan"


async def test_an_older_discharge_that_comes_late_takes_the_place_of_nothing_newer(place: Place) -> None:
    patient = await with_a_plan(place)
    me, three, half = place.patient(patient), {"dosageInstruction": [{"text": "Three in the morning"}]}, {"dosageInstruction": [{"text": "Half in the morning"}]}
    await discharged(place, patient, CHANGED | three)
    asked = await proposed(me, patient)
    await discharged(place, patient, CHANGED | half | {"authoredOn": "2019-01-02T10:00:00Z"})
    await discharged(place, patient, STOPPED | {"medicationCodeableConcept": CHANGED["medicationCodeableConcept"]}, period={"end": "2019-01-02"})
    assert await proposed(me, patient) == asked
    await says(me, asked[0], status="rejected", statusReason={"text": "I feel faint"})
    await discharged(place, patient, CHANGED | half | {"authoredOn": "2019"})
    assert await proposed(me, patient) == [], "nor of what was answered"
    await discharged(place, patient, CHANGED | half | {"authoredOn": "2019-01-02"}, period={"end": "2026-11-21"})
    assert len(await proposed(me, patient)) == 1, "it was prescribed long ago, and the stay ends now"


async def test_what_was_ordered_and_is_deleted_or_a_mistake_asks_nobody_any_more(place: Place) -> None:
    patient = await with_a_plan(place)
    me = place.patient(patient)
    await discharged(place, patient, STOPPED, CHANGED, NEW)
    asked = await of(me, patient)
    await gate.remove(place.hospital, Ref(*asked["Aspirin 75 mg tablets"]["focus"]["reference"].split("/")), if_match=1)
    assert {t["id"] for t in await proposed(me, patient)} == {asked[n]["id"] for n in ("Bisoprolol 2.5 mg tablets", "Apixaban 5 mg tablets")}
    await gate.patch(place.hospital, Ref(*asked["Apixaban 5 mg tablets"]["focus"]["reference"].split("/")), lambda m: {**m, "status": "entered-in-error"}, if_match=1)
    assert [t["id"] for t in await proposed(me, patient)] == [asked["Bisoprolol 2.5 mg tablets"]["id"]]
    await plans.save(me, {**await plans.load(me, patient), "medicines": [m for m in LISTED if m["id"] != "m-2"]})
    assert await proposed(me, patient) == []
    assert {t["statusReason"]["text"] for t in await proposed(me, patient, "cancelled")} == {medicine_changes.GONE}
    assert set(await medicines(me, patient)) == {"Aspirin 75 mg tablets"}, "nothing of the plan was changed by it"


async def test_nothing_is_proposed_of_what_is_no_discharge_or_by_hand(place: Place) -> None:
    patient = await with_a_plan(place)
    me = place.patient(patient)
    await discharged(place, patient, STOPPED, status="in-progress")
    assert await proposed(me, patient) == []
    ours = {"resourceType": "Task", "status": "requested", "intent": "proposal", "code": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": "change-medicine"}]}}
    task = await made(me, ours | {"for": {"reference": f"Patient/{patient}"}, "owner": {"reference": f"Patient/{patient}"}, "focus": {"reference": "MedicationRequest/none"}})
    await gate.patch(me, task, lambda t: {**t, "status": "completed"}, if_match=1)


@pytest.mark.parametrize(("code", "order", "says"), [
    ("EMER", CHANGED, medicine_changes.ASKED), ("AMB", CHANGED, medicine_changes.PRESCRIBED), ("VR", order("Amoxicillin"), medicine_changes.PRESCRIBED),
    ("VR", CHANGED | {"category": [{"coding": [{"code": "discharge"}]}]}, medicine_changes.ASKED),
])  # fmt: skip
async def test_only_what_somebody_left_a_hospital_with_is_called_a_discharge(place: Place, code: str, order: dict[str, Any], says: str) -> None:
    patient = await with_a_plan(place)
    await discharged(place, patient, order, **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}})
    assert [t["description"] for t in await proposed(place.patient(patient), patient)] == [says]


async def test_a_pharmacy_is_asked_only_where_it_may_see_both_and_change_the_plan(place: Place) -> None:
    patient = await with_a_plan(place)
    me, chemist = place.patient(patient), place.organisations["RY9"]
    named = {"dispenseRequest": {"performer": {"reference": chemist}}}
    await discharged(place, patient, STOPPED | named)
    (first,) = await proposed(me, patient)
    assert first["owner"]["reference"] == f"Patient/{patient}", "nobody let it in"
    await made(me, consent(patient, permit(chemist, action=ACTIONS)))
    await discharged(place, patient, CHANGED | named, order("Aspirin 75 mg tablets", "stopped", **named))
    assert {t["owner"]["reference"] for t in await proposed(me, patient)} == {chemist}
    mine = next(t for t in await proposed(me, patient) if t["id"] != first["id"])["input"][0]["valueReference"]["reference"]
    no = {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": mine}}]}
    await made(me, consent(patient, permit(chemist, action=ACTIONS, provision=[no])))
    await discharged(place, patient, CHANGED | named | {"dosageInstruction": [{"text": "Three in the morning"}]})
    (hidden,) = [t for t in await proposed(me, patient) if t.get("input", [{}])[0].get("valueReference", {}).get("reference") == mine]
    assert hidden["owner"]["reference"] == f"Patient/{patient}", "what is hidden from it is not asked of it"


ALL_ACTIONS = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("access", "correct", "collect")]


async def test_what_the_person_hid_is_read_by_nobody_through_another_s_yes(place: Place) -> None:
    patient = await with_a_plan(place)
    chemist, other = place.organisations["D82999"], place.organisations["RY9"]
    named = {"dispenseRequest": {"performer": {"reference": chemist}}}
    await made(place.patient(patient), consent(patient, permit(chemist, action=ALL_ACTIONS)))
    why = {"statusReason": {"text": "Took forty of them"}}
    await discharged(place, patient, order("Olanzapine 10 mg tablets", reasonCode=[{"text": "Psychosis on the ward"}], **named), STOPPED | why | named)
    asked = await of(place.patient(patient), patient)
    assert {t["owner"]["reference"] for t in asked.values()} == {chemist}
    no = {"type": "deny", "data": [{"meaning": "instance", "reference": t["focus"]} for t in asked.values()]}
    await made(place.patient(patient), consent(patient, permit(other, provision=[no])))
    before = await plans.load(charity(place), patient)
    for task in asked.values():
        with pytest.raises(Problem) as refused:
            await yes(charity(place, "D82999"), task)
        assert refused.value.kind == "forbidden" and "The person decides this." in refused.value.text
    assert await plans.load(charity(place), patient) == before
    assert await yes(place.patient(patient), asked["Aspirin 75 mg tablets"]), "the person may say it, whoever else is asked"
    assert (await medicines(place.patient(patient), patient))["Aspirin 75 mg tablets"]["status"] == "stopped"


@pytest.mark.parametrize("rule", ["a kind", "an author", "none"])
async def test_what_some_see_of_the_plan_alone_is_asked_of_the_person(place: Place, rule: str) -> None:
    patient = await with_a_plan(place)
    chemist, other = place.organisations["D82999"], place.organisations["RY9"]
    coding = {"system": "http://hl7.org/fhir/resource-types", "code": "MedicationStatement"}
    ward = place.hospital.actor.organisation
    yes = {"a kind": permit(other, **{"class": [coding]}), "none": permit(other), "an author": permit(other, provision=[{"type": "deny", "data": [{"meaning": "authoredby", "reference": {"reference": ward}}]}])}[rule]
    await made(place.patient(patient), consent(patient, permit(chemist, action=ALL_ACTIONS)))
    await made(place.patient(patient), consent(patient, yes))
    named = {"dispenseRequest": {"performer": {"reference": chemist}}}
    await discharged(place, patient, NEW | named)
    (task,) = await proposed(place.patient(patient), patient)
    assert task["owner"]["reference"] == (chemist if rule == "none" else f"Patient/{patient}")


async def test_what_a_document_brings_is_proposed_as_well(place: Place) -> None:
    patient = await with_a_plan(place)
    about = {"subject": {"reference": f"Patient/{patient}"}}
    front = {
        "resourceType": "Composition", "status": "final", "type": {"text": "Discharge summary"}, "date": "2026-11-20", "title": "Discharge summary", "author": [{"display": "Ward 4"}],
        **about,
    }  # fmt: skip
    category = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/medicationrequest-category", "code": "discharge"}]}]
    entries = [{"fullUrl": f"{URN}{20 + n}", "resource": r} for n, r in enumerate([front, NEW | about | {"category": category}])]
    document = strict.dump({"resourceType": "Bundle", "type": "document", "identifier": {"system": "urn:ietf:rfc:3986", "value": f"{URN}30"}, "timestamp": "2026-11-20T12:00:00Z", "entry": entries})
    for _ in range(2):
        saved = await plans.bring_in(place.hospital, document, "document.json")
        assert not saved.refused
    assert set(await of(place.patient(patient), patient)) == {"Apixaban 5 mg tablets"} and len(await proposed(place.patient(patient), patient)) == 1


def test_a_prescription_of_a_plan_is_changed_in_its_own_words() -> None:
    today = date(2026, 11, 27)
    for name, kind in (("MedicationRequest", dict), ("MedicationStatement", list)):
        mine = {"resourceType": name, "status": "active", "medicationCodeableConcept": {"text": "Aspirin 75 mg tablets"}}
        course = {"timing": {"repeat": {"boundsPeriod": {"end": "2026-12-04"}}}}
        more = order("Aspirin 75 mg tablets") | {"dosageInstruction": [{"text": "Two", **course}]}
        assert isinstance(medicine_changes.changed(mine, STOPPED, None, today)["statusReason"], kind)
        now = medicine_changes.changed(mine, more, None, today)
        assert medicine_changes.says(now)[0].how == "Two" and period(now)[1] == "2026-12-04"
        again = medicine_changes.changed(now | {"status": "stopped"}, order("Aspirin 75 mg tablets"), None, today)
        assert period(again) == (None, None), "what is taken again has no end that was of another time"


async def planned(place: Place, *listed: dict[str, Any]) -> tuple[str, Context]:
    saved = await plans.save(place.hospital, harold(medicines=[{"id": f"m-{n}", "status": "taking", **m} for n, m in enumerate(listed)]))
    assert saved.patient
    return saved.patient, place.patient(saved.patient)


async def accepted(place: Place, patient: str) -> dict[str, dict[str, Any]]:
    """Every proposal with a yes; each medicine of the plan then, by how it is taken."""
    for task in await proposed(place.patient(patient), patient):
        await yes(place.patient(patient), task)
    return {m.get("how", ""): m for m in (await plans.load(place.patient(patient), patient))["medicines"]}


async def test_what_is_written_into_the_plan_is_all_that_was_ordered(place: Place) -> None:
    taper = "Week 1: 8 tablets (40 mg) each morning. " * 13 + "Then 1 tablet a day less each week. STOP on 20 December and do NOT take with ibuprofen."
    why = "Pulse still fast. " * 40 + "Look again in May."
    patient = await with_a_plan(place)
    await discharged(place, patient, order("Bisoprolol 2.5 mg tablets", how=taper, statusReason={"text": why}), order("Prednisolone 5 mg tablets", how=taper))
    beside = {"text": "One at night", "asNeededBoolean": True, "additionalInstruction": [{"text": "Stop after 7 days"}], "maxDosePerPeriod": {"numerator": {"value": 1}, "denominator": {"value": 1, "unit": "d"}}}
    await discharged(place, patient, order("Zopiclone 7.5 mg tablets") | {"dosageInstruction": [beside]})
    await accepted(place, patient)
    now = await medicines(place.patient(patient), patient)
    assert now["Bisoprolol 2.5 mg tablets"]["how"] == now["Prednisolone 5 mg tablets"]["how"] == taper
    assert now["Bisoprolol 2.5 mg tablets"]["change"]["reason"] == why
    assert now["Zopiclone 7.5 mg tablets"]["how"].splitlines() == ["One at night", "as needed", "Stop after 7 days", "More is in the record"]


def without_dose(ordered: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in ordered.items() if k != "dosageInstruction"}


LEVODOPA = ({"text": "Levodopa", "how": "100 mg in the morning"}, {"text": "Levodopa", "how": "50 mg in the evening"})


async def test_of_two_lines_of_one_medicine_the_one_that_was_meant_is_stopped(place: Place) -> None:
    patient, _ = await planned(place, *LEVODOPA)
    await discharged(place, patient, order("Levodopa", how="100 mg in the morning"), order("Levodopa", "stopped", how="50 mg in the evening", statusReason={"text": "Saw things"}))
    now = await accepted(place, patient)
    assert {how: m["status"] for how, m in now.items()} == {"100 mg in the morning": "taking", "50 mg in the evening": "stopped"}


@pytest.mark.parametrize("orders", [
    [order("Levodopa", how="75 mg at noon")], [without_dose(order("Levodopa", "stopped"))], [order("Levodopa", how="100 mg in the morning"), order("Levodopa", how="25 mg at night")],
])  # fmt: skip
async def test_where_nobody_can_tell_which_line_is_meant_a_yes_changes_nothing_by_itself(place: Place, orders: list[dict[str, Any]]) -> None:
    patient, me = await planned(place, *LEVODOPA)
    before = (await plans.load(me, patient))["medicines"]
    await discharged(place, patient, *orders)
    (task,) = await proposed(me, patient)
    assert task["description"] == medicine_changes.LOOK_AT_ALL
    await yes(place.patient(patient), task)
    assert (await plans.load(me, patient))["medicines"] == before and [t["id"] for t in await proposed(me, patient, "completed")] == [task["id"]]
    await discharged(place, patient, *orders)
    assert await proposed(me, patient) == []


async def test_two_new_lines_of_one_medicine_are_both_proposed(place: Place) -> None:
    patient, _ = await planned(place)
    await discharged(place, patient, *[order(str(m["text"]), how=str(m["how"])) for m in LEVODOPA])
    assert set(await accepted(place, patient)) == {"100 mg in the morning", "50 mg in the evening"}


async def test_another_strength_is_a_difference_and_goes_with_its_dose(place: Place) -> None:
    code = {"system": "http://snomed.info/sct", "code": "386872004", "display": "Ramipril"}
    patient, me = await planned(place, {"text": "Ramipril 2.5 mg capsules", "code": code, "how": "One in the morning"})
    stronger = {"medicationCodeableConcept": {"text": "Ramipril 10 mg capsules", "coding": [code]}}
    await discharged(place, patient, order("", how="One in the morning", **stronger))
    assert len(await proposed(me, patient)) == 1
    (now,) = (await accepted(place, patient)).values()
    assert now["text"] == "Ramipril 10 mg capsules" and now["how"] == "One in the morning" and now["change"]["was"] == "Ramipril 2.5 mg capsules: One in the morning"
    assert await proposed(me, patient) == []
    await discharged(place, patient, order("", how="One in the morning", medicationCodeableConcept={"text": "Ramipril 10000 micrograms capsules", "coding": [code]}))
    assert await proposed(me, patient) == [], "the same in another unit"


async def test_a_course_ends_when_it_was_ordered_to(place: Place) -> None:
    patient, _ = await planned(place, {"text": "Nitrofurantoin 50 mg capsules", "how": "One at night", "status": "stopped", "to": "2026-10-01"})
    course = {"timing": {"repeat": {"boundsPeriod": {"start": "2026-11-20", "end": "2026-12-26"}}}}
    await discharged(place, patient, order("Amoxicillin 500 mg capsules") | {"dosageInstruction": [{"text": "One three times a day", **course}]}, order("Nitrofurantoin 50 mg capsules", how="Two at night"))
    now = await accepted(place, patient)
    assert (now["One three times a day"]["from"], now["One three times a day"]["to"]) == ("2026-11-20", "2026-12-26")
    assert now["Two at night"].get("status") in (None, "taking") and "to" not in now["Two at night"]


async def test_what_the_plan_says_not_to_take_and_is_ordered_is_to_be_looked_at(place: Place) -> None:
    patient, me = await planned(place, {"text": "Penicillin V 250 mg tablets", "do_not": True})
    before = (await plans.load(me, patient))["medicines"]
    await discharged(place, patient, order("Penicillin V 250 mg tablets", how="Two four times a day"))
    (task,) = await proposed(me, patient)
    assert task["description"] == medicine_changes.LOOK_AT_ALL
    await yes(place.patient(patient), task)
    assert (await plans.load(me, patient))["medicines"] == before


async def test_a_medicine_that_an_order_contains_is_read(place: Place) -> None:
    patient = await with_a_plan(place)
    inside = {k: v for k, v in STOPPED.items() if k != "medicationCodeableConcept"} | {"contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "Aspirin 75 mg tablets"}}], "medicationReference": {"reference": "#m"}}
    await discharged(place, patient, inside)
    await accepted(place, patient)
    assert (await medicines(place.patient(patient), patient))["Aspirin 75 mg tablets"]["status"] == "stopped"


async def test_nobody_says_yes_to_what_their_page_did_not_show(place: Place) -> None:
    patient = await with_a_plan(place)
    me = place.patient(patient)
    await discharged(place, patient, CHANGED)
    (task,) = await proposed(me, patient)
    shown = await shown_of(me, task)
    for again in (CHANGED | {"dosageInstruction": [{"text": "TEN in the morning"}]}, None):
        if again is None:  # the plan's own medicine
            (task,) = await proposed(me, patient)
            shown = await shown_of(me, task)
            await gate.patch(me, Ref(*task["input"][0]["valueReference"]["reference"].split("/")), lambda m: {**m, "dosage": [{"text": "Half in the morning"}]}, if_match=1)
        else:
            await discharged(place, patient, again)
        for seen in (shown, "x"):
            with pytest.raises(Problem) as stale:
                await yes(place.patient(patient), task, seen)
            assert stale.value.kind == "stale"
    assert (await medicines(me, patient))["Bisoprolol 2.5 mg tablets"]["how"] == "Half in the morning"
    assert await yes(place.patient(patient), (await proposed(me, patient))[0])
    assert (await medicines(me, patient))["Bisoprolol 2.5 mg tablets"]["how"] == "TEN in the morning"


async def test_whoever_sends_a_discharge_learns_nothing_of_the_plan_from_it(place: Place) -> None:
    patient = await with_a_plan(place)
    epochs = [await place.house.store.epoch(f"Patient/{patient}")]
    for orders in ((STOPPED, CHANGED), (order("Aspirin 75 mg tablets"),), (STOPPED, CHANGED, NEW)):
        answer = await discharged(place, patient, *orders)
        assert {e["response"]["status"] for e in answer["entry"]} == {"201 Created"}
        epochs.append(await place.house.store.epoch(f"Patient/{patient}"))
    assert len({after - before for before, after in itertools.pairwise(epochs)}) == 1, "an epoch shows in links to a next page"
