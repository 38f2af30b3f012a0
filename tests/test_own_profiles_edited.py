"""What a plan made, edited: it goes on being that thing, is held to its profile, and what was wrong before is not its editor's to put right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import definitions, gate, plans
from fhir_gateway.domain import strict
from fhir_gateway.domain.mapping.names import system
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.tables import load_tables

from .test_plans import Place, harold, opened

KNOWN = definitions.read_definitions(None)
CODED = {"coding": [{"system": "http://snomed.info/sct", "code": "129006008"}]}


def held(place: Place) -> None:
    """From now on the house holds what plans made to our profiles, as a gateway does."""
    place.house = replace(place.house, definitions=KNOWN, profiles=load_tables().profiles)


async def refused(writing: Awaitable[Any]) -> Problem:
    with pytest.raises(Problem) as told:
        await writing
    return told.value


async def first(place: Place, patient: str, type: str) -> dict[str, Any]:
    bodies = [strict.decode(e.body) for e in (await gate.search(place.patient(patient), type, [("patient", patient)])).entries if e.body is not None]
    return min((b for b in bodies if b["identifier"][0]["system"] in (system("goal"), system("need"))), key=lambda b: str(b["identifier"]))


def test_an_update_does_not_take_a_thing_out_of_its_plan(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "i.sqlite") as place:
            patient = (await plans.save(place.hospital, harold())).patient
            assert patient is not None
            held(place)
            me, goal = place.patient(patient), await first(place, patient, "Goal")
            ref, at = Ref("Goal", goal["id"]), int(goal["meta"]["versionId"])
            bare = {k: v for k, v in goal.items() if k != "identifier"}
            other = [{"system": system("goal"), "value": "another/goal"}]
            another = [{"system": system("need"), "value": goal["identifier"][0]["value"]}]
            for identifier in ({}, {"identifier": other}, {"identifier": another}, {"identifier": [{"value": goal["identifier"][0]["value"]}]}):
                wordless = await refused(gate.update(me, ref, strict.dump({**bare, **identifier, "description": CODED}), if_match=at))
                assert wordless.kind == "invalid" and "Goal.description.text" in [i.where for i in wordless.issues], identifier
            for identifier in ({}, {"identifier": other}):
                nameless = await refused(gate.update(me, ref, strict.dump({**bare, **identifier}), if_match=at))
                assert (nameless.kind, nameless.issues[0].where) == ("business-rule", "Goal.identifier")
            patched = await refused(gate.patch(me, ref, lambda b: {k: v for k, v in b.items() if k != "identifier"}, if_match=at))
            assert patched.kind == "business-rule"
            more = [{"system": "urn:theirs", "value": "7"}, *goal["identifier"]]
            assert (await gate.update(me, ref, strict.dump({**goal, "identifier": more}), if_match=at)).did == "updated"

    asyncio.run(run())


def test_what_was_wrong_before_is_labelled_ended_and_edited_and_nothing_new_is_wrong(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "w.sqlite") as place:
            patient = (await plans.save(place.hospital, harold())).patient
            assert patient is not None
            need = await first(place, patient, "Condition")
            old = {k: v for k, v in need.items() if k not in ("id", "meta", "text")} | {"code": CODED}
            old["identifier"] = [{**need["identifier"][0], "value": need["identifier"][0]["value"] + "-old"}]
            ref = (await gate.create(place.patient(patient), "Condition", strict.dump(old))).ref  # as an earlier release took it
            held(place)
            me = place.patient(patient)
            assert "Condition.code.text" in [i.where for i in (await refused(gate.create(me, "Condition", strict.dump(old)))).issues]
            labelled = await gate.put_on(me, ref, {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "MH"}]})
            assert "MH" in {c["code"] for c in strict.decode(labelled.body or b"")["meta"]["security"]}
            noted = await gate.patch(me, ref, lambda b: {**b, "note": [{"text": "It is better."}]}, if_match=labelled.version)
            worse = await refused(gate.patch(me, ref, lambda b: {k: v for k, v in b.items() if k != "category"}, if_match=noted.version))
            assert worse.kind == "invalid" and {i.where for i in worse.issues} == {"Condition.category"}, worse.issues
            wrong = await refused(gate.patch(me, ref, lambda b: {**b, "recordedDate": "soon"}, if_match=noted.version))
            assert wrong.kind == "invalid" and {i.where for i in wrong.issues} == {"Condition.recordedDate"}
            mistake = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}]}
            ended = await gate.patch(me, ref, lambda b: {k: v for k, v in b.items() if k != "clinicalStatus"} | {"verificationStatus": mistake}, if_match=noted.version)
            assert ended.did == "updated"
            right = await gate.patch(me, ref, lambda b: {**b, "code": {**CODED, "text": "Walking"}}, if_match=ended.version)
            again = await refused(gate.patch(me, ref, lambda b: {**b, "code": CODED}, if_match=right.version))
            assert {i.where for i in again.issues} == {"Condition.code.text"}

    asyncio.run(run())


def test_answers_that_fit_the_form_no_longer_are_marked_private_all_the_same(tmp_path: Path) -> None:
    """What matters to a person was kept before it was a form, with its lines in another order."""

    async def run() -> None:
        async with opened(tmp_path / "w.sqlite") as place:
            patient = (await plans.save(place.hospital, harold(about_me={"most_important": "Tea", "my_wellness": "Sun"}))).patient
            assert patient is not None
            found = (await gate.search(place.patient(patient), "QuestionnaireResponse", [("patient", patient), ("identifier", f"{system('about-me')}|")])).entries
            (about,) = [strict.decode(e.body) for e in found if e.body is not None]
            ref = Ref("QuestionnaireResponse", about["id"])
            turned = {**about, "item": [*reversed(about["item"]), {"linkId": "shoe_size", "answer": [{"valueString": "9"}]}]}
            kept = await gate.update(place.patient(patient), ref, strict.dump(turned), if_match=int(about["meta"]["versionId"]))  # as an earlier release took it
            held(place)
            me = place.patient(patient)
            assert (await refused(gate.create(me, "QuestionnaireResponse", strict.dump({k: v for k, v in turned.items() if k not in ("id", "meta")})))).kind == "invalid"
            labelled = await gate.put_on(me, ref, {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]})
            assert "V" in {c["code"] for c in strict.decode(labelled.body or b"")["meta"]["security"]} and labelled.version > kept.version
            worse = await refused(gate.patch(me, ref, lambda b: {**b, "item": [*b["item"], {"linkId": "hat_size"}]}, if_match=labelled.version))
            assert worse.kind == "invalid"

    asyncio.run(run())
