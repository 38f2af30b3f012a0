"""Whose a plan is that gives its person neither an NHS number nor an id: nobody is known by a name alone, or by a place in a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate, plans
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem

from .conftest import Gateway
from .test_partners import WARD
from .test_plans import Place, opened

KHAN = {"name": {"family": "Khan", "given": ["Amir"]}, "birth_date": "1960-05-05"}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


def plan(person: dict[str, Any], goal: str, **more: Any) -> dict[str, Any]:
    return {"plan": "1", "person": person, "goals": [{"id": "g1", "text": goal}], **more}


async def test_who_is_named_by_nothing_but_a_name_is_refused_and_nothing_is_written(place: Place) -> None:
    for person in (KHAN, {"name": KHAN["name"]}):
        with pytest.raises(Problem) as refused:
            await plans.save(place.hospital, plan(person, "To walk"))
        assert refused.value.kind == "invalid" and "person.nhs_number" in refused.value.text and refused.value.where == "person"
    assert not (await gate.search(place.operator, "Patient", [])).entries


async def test_an_id_of_the_plan_names_one_person_and_never_two(place: Place) -> None:
    first = await plans.save(place.hospital, plan(KHAN, "To walk", id="p-1"))
    again = await plans.save(place.hospital, plan(KHAN, "To walk further", id="p-1"))
    assert again.patient == first.patient and again.written == 1
    for other in ({"name": {"family": "Khan", "given": ["Bea"]}, "birth_date": "1960-05-05"}, {"name": {"family": "Khan", "given": ["Bea"]}}, KHAN | {"birth_date": "1961-05-05"}):
        with pytest.raises(Problem) as refused:
            await plans.save(place.hospital, plan(other, "Hers", id="p-1"))
        assert refused.value.kind == "conflict"
    assert [g["text"] for g in (await plans.load(place.hospital, str(first.patient)))["goals"]] == ["To walk further"]


async def test_two_of_one_family_without_a_date_of_birth_are_told_apart_by_their_given_names(place: Place) -> None:
    await plans.save(place.hospital, plan({"id": "7", "name": {"family": "Khan", "given": ["Amir"]}}, "His", id="p-1"))
    with pytest.raises(Problem) as refused:
        await plans.save(place.hospital, plan({"id": "7", "name": {"family": "Khan", "given": ["Bea"]}}, "Hers", id="p-1"))
    assert refused.value.kind == "conflict"


async def test_whoever_leaves_out_what_only_bears_the_id_of_another_is_told_that_it_stays(place: Place) -> None:
    saved = await plans.save(place.hospital, plan(KHAN, "To walk", id="p-1", medicines=[{"id": "m-1", "text": "Aspirin", "how": "One a day"}]))
    me = place.patient(str(saved.patient))
    (aspirin,) = [strict.decode(e.body or b"{}") for e in (await gate.search(me, "MedicationStatement", [])).entries]
    twin = {k: v for k, v in aspirin.items() if k not in ("id", "meta")} | {"medicationCodeableConcept": {"text": "Vitamin D"}}
    ref = (await gate.create(place.hospital, "MedicationStatement", strict.dump(twin))).ref
    read = await plans.load(me, str(saved.patient))
    assert len(read["medicines"]) == 2 and (await plans.save(me, read)).pending == []
    without = {**read, "medicines": [m for m in read["medicines"] if m["text"] == "Aspirin"]}
    done = await plans.save(me, without)
    assert done.written == 0 and any(f"{ref} stays" in p for p in done.pending), "200 said nothing of it"
    await gate.remove(me, ref, if_match=1)
    assert await plans.load(me, str(saved.patient)) == without and (await plans.save(me, without)).pending == []


def test_a_list_says_of_each_whom_it_is_about(demo: Gateway, tmp_path: Path) -> None:
    """Three people of one name in one ward's list: each would have the jobs of the others."""
    file = tmp_path / "ward.json"
    for patient in ({"surname": "Khan", "dob": "1960-05-05"}, {"surname": "Khan", "forenames": ["Amir"]}):
        file.write_text(json.dumps({"patient": patient, "jobs": [{"ref": "w1", "what": "Warfarin clinic", "state": "todo"}]}))
        done = demo.command("import", str(file), "--mapping", str(WARD), "--json")
        assert done.returncode == 1 and "person.nhs_number" in done.stdout + done.stderr and "Khan" not in done.stdout + done.stderr
    made = demo.command("map", "to-fhir", str(file), "--mapping", str(WARD))
    assert made.returncode == 0 and not [e for e in json.loads(made.stdout)["entry"] if "ifNoneExist" in e["request"]], "elsewhere, too, it would be united with somebody else"


def test_what_a_plan_without_an_id_becomes_is_united_with_nobody_elses(demo: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan(KHAN | {"nhs_number": "9434765919"}, "To walk")))
    made = json.loads(demo.command("map", "to-fhir", str(file)).stdout)["entry"]
    assert {e["request"]["url"]: e["request"]["ifNoneExist"] for e in made if "ifNoneExist" in e["request"]} == {"Patient": "identifier=https://fhir.nhs.uk/Id/nhs-number|9434765919"}
    file.write_text(json.dumps(plan(KHAN, "To walk", id="p-1")))
    made = json.loads(demo.command("map", "to-fhir", str(file)).stdout)["entry"]
    assert all("ifNoneExist" in e["request"] for e in made)
