"""`CarePlan/[id]/$document` of a record that has more than a document has room for: the plan is whole, and what is left out is said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import definitions, gate, plans
from fhir_gateway.domain import document, strict
from fhir_gateway.domain.validate import check
from fhir_gateway.gate import Context
from fhir_gateway.gate.gathering import plan_document
from fhir_gateway.store import sqlite

from .telling.place import Place
from .telling.servers import Post

R4 = definitions.load_r4()
ENOUGH = 12  # resources: room for the person, what is urgent and some of the plan


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(Post())
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: place.now)
    try:
        await place.open(store)
        saved = await plans.save(place.hospital, plans.read_plan(definitions.demo_file("plan.json")))
        place.names["amina"] = f"Patient/{saved.patient.removeprefix('Patient/')}"
        yield place
    finally:
        await store.close()


async def prescribed(place: Place, count: int, status: str) -> None:
    entries = []
    for n in range(count):
        body = {
            "resourceType": "MedicationRequest", "status": status, "intent": "order", "subject": {"reference": place.names["amina"]},
            "authoredOn": f"2020-{1 + n // 28 % 12:02}-{1 + n % 28:02}", "medicationCodeableConcept": {"text": f"Tablet {n}."},
        }  # fmt: skip
        entries.append({"resource": body, "request": {"method": "POST", "url": "MedicationRequest"}})
    for first in range(0, count, 300):
        await gate.transaction(place.hospital, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": entries[first : first + 300]}))


async def written(place: Place, reader: Context) -> dict[str, Any]:
    found = await gate.search(reader, "CarePlan", [("patient", place.names["amina"].removeprefix("Patient/"))])
    (main,) = [r for e in found.entries if "partOf" not in (r := strict.read(e.body))]
    out = json.loads(await plan_document(reader, main["id"]))
    assert [i for i in check(out, R4) if i.severity in ("error", "fatal")] == []
    return dict(out)


def refs(out: dict[str, Any]) -> set[str]:
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in out["entry"][1:]}


def sections(out: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["title"]: s for s in out["entry"][0]["resource"]["section"]}


@pytest.mark.slow
async def test_six_hundred_old_prescriptions_push_nothing_of_the_plan_out_and_those_left_out_are_counted(place: Place) -> None:
    before = await written(place, place.me)
    await prescribed(place, 600, "completed")
    active = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]}
    allergy = {"resourceType": "AllergyIntolerance", "clinicalStatus": active, "patient": {"reference": place.names["amina"]}, "code": {"text": "PENICILLIN"}}
    await gate.create(place.hospital, "AllergyIntolerance", strict.dump(allergy))
    out = await written(place, place.me)
    assert refs(before) <= refs(out) and place.names["amina"] in refs(out), "the person, the plan and all that it has"
    assert len(out["entry"]) == 1 + document.MOST and "PENICILLIN" in str(sections(out)["Allergies and warnings"])
    assert not [s for s in sections(out).values() if s.get("entry") and "emptyReason" in s]
    medicines = sections(out)["Medicines"]
    missing = 600 + len(sections(before).get("Medicines", {}).get("entry", ())) - len(medicines["entry"])
    assert missing > 100 and document.LEFT_OUT.format(most=document.MOST, more=missing) in medicines["text"]["div"]
    assert "Tablet 335." in medicines["text"]["div"] and "Tablet 0." not in medicines["text"]["div"], "the newest are there"
    assert [t for t, s in sections(out).items() if "Left out of this section" in s["text"]["div"]] == ["Medicines"]


async def test_a_section_that_is_cut_says_how_many_are_missing_and_never_that_there_is_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await prescribed(place, 3, "active")
    whole = await written(place, place.me)
    monkeypatch.setattr(document, "MOST", ENOUGH)
    cut = await written(place, place.me)
    assert len(cut["entry"]) == 1 + ENOUGH and place.names["amina"] in refs(cut) <= refs(whole)
    assert cut["entry"][1]["resource"]["resourceType"] == "CarePlan" and {"If things get worse"} <= {t for t, s in sections(cut).items() if s.get("entry")}
    assert list(sections(cut)) == list(sections(whole))
    for title, section in sections(whole).items():
        there, missing = sections(cut)[title], len(section.get("entry", ())) - len(sections(cut)[title].get("entry", ()))
        assert ("Left out of this section: " in there["text"]["div"]) == (missing > 0), title
        assert missing == 0 or (f"Left out of this section: {missing}." in there["text"]["div"] and "emptyReason" not in there), title
        assert missing == 0 or f"{title}: {len(there.get('entry', ()))} of {len(section['entry'])}<" in cut["entry"][0]["resource"]["text"]["div"]
    assert not sections(cut)["Medicines"].get("entry"), "a section of which nothing has room is there, too"


async def test_what_a_reader_may_not_see_is_not_counted_among_what_is_left_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await prescribed(place, 3, "active")
    await place.grant("asha")
    await place.refuse("asha", class_=[{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in ("MedicationRequest", "MedicationStatement")])
    monkeypatch.setattr(document, "MOST", ENOUGH)
    out = await written(place, await place.gp())
    assert len(out["entry"]) == 1 + ENOUGH
    assert "Medicines" not in sections(out) and "Left out of this section" in str(sections(out))
    assert "Medicines" in sections(await written(place, place.me))


def test_the_turns_of_what_is_in_a_record() -> None:
    mine = {"identifier": [{"system": "https://fhir-gateway.example/id/plan/goal", "value": "p/g"}]}
    order: list[tuple[dict[str, Any], bool]] = [
        ({"resourceType": "Patient"}, True),
        ({"resourceType": "CarePlan", "status": "active", "category": [{"coding": [{"system": document.SNOMED, "code": "736253002"}]}]}, False),
        ({"resourceType": "AllergyIntolerance"}, False),
        ({"resourceType": "Practitioner"}, True),
        ({"resourceType": "Goal", "lifecycleStatus": "active", **mine}, False),
        ({"resourceType": "Task", "status": "requested"}, True),
        ({"resourceType": "Condition"}, True),
        ({"resourceType": "CareTeam", "status": "active"}, True),
        ({"resourceType": "MedicationRequest", "status": "active"}, False),
        ({"resourceType": "Goal", "lifecycleStatus": "completed", **mine}, False),
        ({"resourceType": "MedicationRequest", "status": "completed"}, False),
    ]
    turns = [document.turn(r, named) for r, named in order]
    assert turns == sorted(turns) and len(set(turns)) == len(turns)
    refuted = {"resourceType": "AllergyIntolerance", "verificationStatus": {"coding": [{"code": "refuted"}]}}
    assert document.turn(refuted, False)[0] >= document.PAST and document.turn({"resourceType": "Observation", "status": "final"}, True)[0] == document.PAST
