"""A medicine is one that was prescribed or one that nobody prescribed: neither is made the other, so that what the person said of it stays with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate, plans
from fhir_gateway.domain import sharing, strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.plans.bringing import bring_in
from fhir_gateway.plans.laying import contribute

from .test_hidden_from_plans import NURSE, hidden, nurse, shared, versions
from .test_plans import Place, harold, opened

ORDER = {"intent": "ordered", "on": "2026-10-01"}
PLAIN = {"id": "m1", "text": "Lithium", "how": "one at night"}
MEDICINES = ("MedicationStatement", "MedicationRequest")


async def told(writing: Awaitable[Any]) -> Problem:
    with pytest.raises(Problem) as refused:
        await writing
    return refused.value


async def seen(place: Place, patient: str) -> list[str]:
    """The medicines that the nurse is shown."""
    pages = [await gate.search(nurse(place), t, [("patient", patient)]) for t in MEDICINES]
    return [strict.decode(e.body)["medicationCodeableConcept"]["text"] for page in pages for e in page.entries if e.body is not None]


def with_(plan: dict[str, Any], *medicines: dict[str, Any]) -> dict[str, Any]:
    return {**plan, "medicines": list(medicines)}


@pytest.mark.parametrize("prescribed", [False, True], ids=["nobody prescribed it", "it was prescribed"])
@pytest.mark.parametrize("named", [True, False], ids=["with an id", "without one"])
def test_a_hidden_medicine_is_not_made_the_other_kind(tmp_path: Path, prescribed: bool, named: bool) -> None:
    plain = PLAIN if named else {k: v for k, v in PLAIN.items() if k != "id"}
    ordered = {**plain, "prescription": ORDER}
    was, becomes = (ordered, plain) if prescribed else (plain, ordered)

    async def run() -> None:
        async with opened(tmp_path / "m.sqlite") as place:
            patient = (await plans.save(place.hospital, with_(harold(), was))).patient
            assert patient is not None
            await shared(place, patient)
            (ref,) = [r for r in await versions(place, patient) if r.split("/")[0] in MEDICINES]
            await gate.put_on(place.patient(patient), Ref(*ref.split("/")), {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "MH"}]})
            await hidden(place, patient, [ref])
            assert await seen(place, patient) == []
            before = await versions(place, patient)
            mine = await plans.load(place.patient(patient), patient)
            other = with_(mine, becomes)
            part = {"plan": "1", "person": mine["person"], "medicines": [becomes]}
            ways: list[Callable[[], Awaitable[Any]]] = [
                lambda: plans.save(place.patient(patient), other),
                lambda: plans.save(place.patient(patient), other, dry_run=True),
                lambda: plans.save(place.hospital, with_(harold(), becomes)),
                lambda: bring_in(place.hospital, strict.dump(with_(harold(), becomes)), "plan.json"),
            ]
            if named and not prescribed:  # what is not spoken of stays, and a part without an id is one more
                ways.append(lambda: contribute(place.hospital, part))
            for way in ways:
                problem = await told(way())
                assert (problem.kind, problem.status) == ("conflict", 409)
                assert "Lithium" in problem.text and ("nobody prescribed:" in problem.text) is not prescribed, problem.text
            assert await versions(place, patient) == before and await seen(place, patient) == []

    asyncio.run(run())


def test_another_systems_medicine_is_not_made_the_other_kind(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "o.sqlite") as place:
            patient = (await plans.save(place.hospital, harold())).patient
            assert patient is not None
            theirs = {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "Lithium"}, "subject": {"reference": f"Patient/{patient}"}}
            id = (await gate.create(place.hospital, "MedicationStatement", strict.dump(theirs))).ref.id
            mine = await plans.load(place.patient(patient), patient)
            problem = await told(plans.save(place.patient(patient), with_(mine, {"id": id, "text": "Lithium", "prescription": ORDER})))
            assert problem.kind == "conflict"

    asyncio.run(run())


def test_the_one_is_ended_and_the_other_added_beside_it(tmp_path: Path) -> None:
    """And a list without ids may grow, shrink and move: what stands where another kind stood is told by its words."""

    async def run() -> None:
        async with opened(tmp_path / "b.sqlite") as place:
            patient = (await plans.save(place.hospital, with_(harold(), PLAIN))).patient
            assert patient is not None
            me = place.patient(patient)
            mine = await plans.load(me, patient)
            both = with_(mine, {**PLAIN, "status": "stopped"}, {**PLAIN, "id": "m2", "prescription": ORDER})
            await plans.save(me, both)
            loaded = await plans.load(me, patient)
            assert [(m["id"], "prescription" in m) for m in loaded["medicines"]] == [("m1", False), ("m2", True)]
            await plans.save(me, with_(loaded, {**PLAIN, "id": "m2", "prescription": ORDER}))
            a, b, c = {"text": "A"}, {"text": "B", "prescription": ORDER}, {"text": "C", "prescription": ORDER}
            lists: list[list[dict[str, Any]]] = [[a, b], [b], [b, c], [c, a], [a, c, b]]
            for several in lists:
                await plans.save(me, with_(await plans.load(me, patient), *several))
                assert sorted(m["text"] for m in (await plans.load(me, patient))["medicines"]) == sorted(m["text"] for m in several)

    asyncio.run(run())


def test_a_no_to_the_whole_plan_from_before_it_held_prescriptions_hides_them_in_searches(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "w.sqlite") as place:
            patient = (await plans.save(place.hospital, with_(harold(), {**PLAIN, "prescription": ORDER}))).patient
            assert patient is not None
            await shared(place, patient)
            assert await seen(place, patient) == ["Lithium"]
            (ref,) = [r for r in await versions(place, patient) if r.split("/")[0] in MEDICINES]
            no = sharing.hide(None, f"Patient/{patient}", who=NURSE, kinds=["plan"], at=place.house.clock(), rule_id="h")
            for rule in no["provision"]["provision"]:
                rule["class"] = [c for c in rule["class"] if c["code"] != "MedicationRequest"]
            await gate.create(place.patient(patient), "Consent", strict.dump(no))
            assert await seen(place, patient) == []
            assert (await told(gate.read(nurse(place), Ref(*ref.split("/"))))).kind == "not-found"

    asyncio.run(run())
