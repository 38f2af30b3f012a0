"""Whom and what a record of theirs names is understood however it is spelled, or waits with a reason: it is never passed over. docs/sync.md"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.reasons import OURS, words
from fhir_gateway.domain.spelling import named
from fhir_gateway.domain.types import Ref
from fhir_gateway.sync.pull import pull

from .rig import Rig, rigged
from .scripted import Body, Habits

HOSPITAL = "http://hospital.example/mrn"
NO: Body = {
    "resourceType": "Consent", "status": "active", "dateTime": "2026-11-25", "provision": {"type": "deny"},
    "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]},
}  # fmt: skip


async def consents(rig: Rig) -> int:
    return len(await rig.house.store.patient_record(rig.names["amina"], ["Consent"]))


async def body(rig: Rig, type: str) -> Any:
    (stored,) = await rig.house.store.patient_record(rig.names["amina"], [type])
    return strict.decode(stored.body or b"{}")


async def test_a_no_of_theirs_closes_here_however_it_names_her(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.settled()
        ways = [f"{rig.her}/_history/2", f"{rig.there.url}/{rig.her}/_history/2", f"{rig.house.base_url}/{rig.names['amina']}"]
        for closed, way in enumerate(ways, start=await consents(rig) + 1):
            rig.there.write({**NO, "patient": {"reference": way}})
            told = await pull(rig.house, rig.partner)
            assert not told.ignored and await consents(rig) == closed, way
        assert not await rig.waiting()


async def test_a_no_of_theirs_that_names_her_so_that_nobody_can_follow_it_waits_with_the_reason(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        nhs = {"system": NHS_NUMBER, "value": "9000000009"}
        await rig.change(replace(rig.hospital, may_refer=True), "amina", identifier=[nhs])
        await rig.settled()
        before, ways = await consents(rig), [
            {"patient": {"identifier": nhs}},
            {"patient": {"type": "Patient", "identifier": {"system": HOSPITAL, "value": "7"}}},
            {"patient": {"reference": "urn:uuid:5ed0d3f1-8f3a-4f0b-8e64-9a4be3a1c0de"}},
            {"patient": {"reference": "#p"}, "contained": [{"resourceType": "Patient", "id": "p", "name": [{"family": "Elsewhere"}]}]},
            {"patient": {"reference": "#p"}, "contained": [{"resourceType": "Patient", "id": "p", "identifier": [nhs]}]},
            {"patient": {"reference": f"Patient?identifier={NHS_NUMBER}|{nhs['value']}"}},
        ]  # fmt: skip
        names = {f"Consent/{rig.there.write({**NO, **way})['id']}" for way in ways}
        told = await pull(rig.house, rig.partner)
        assert await rig.waiting() == names and not told.ignored
        assert await consents(rig) == before + 3, "what says no to her by her NHS number holds while it waits, once for each"
        kept = [json.loads(v) for v in (await rig.house.store.kept_all("quarantine", rig.now, "hub ")).values()]
        assert {words(item["kind"], item["outcome"]) for item in kept} == {OURS["said-otherwise"]}
        assert not (await rig.status())["in_step"]


async def test_what_says_by_its_number_that_it_is_about_somebody_else_is_kept_of_nobody(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.settled()
        other = {"system": NHS_NUMBER, "value": "9434765919"}
        rig.there.write({**NO, "patient": {"identifier": other}})
        rig.there.write({**NO, "patient": {"reference": f"Patient?identifier={NHS_NUMBER}|{other['value']}"}})
        rig.there.write({**NO, "patient": {"reference": "#p"}, "contained": [{"resourceType": "Patient", "id": "p", "identifier": [other]}]})
        rig.there.write({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "a group's"}, "subject": {"type": "Group", "identifier": {"system": HOSPITAL, "value": "g"}}})
        told = await pull(rig.house, rig.partner)
        assert told.ignored["about nobody whom this partner and we share"] == 4 and not await rig.waiting()


async def test_what_they_name_in_a_version_is_that_here_and_goes_back_in_that_version(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        walk = await rig.goal("walk")
        await rig.settled()
        there = f"Goal/{rig.there.named('Goal')[0]['id']}"
        focus = [{"reference": f"{there}/_history/1"}, {"reference": there}, {"reference": f"{rig.there.url}/{there}/_history/2"}]
        seen = rig.there.write({"resourceType": "Observation", "status": "final", "code": {"text": "seen"}, "subject": {"reference": f"{rig.her}/_history/1"}, "focus": focus})
        await rig.settled()
        here = await body(rig, "Observation")
        assert here["subject"]["reference"] == rig.names["amina"] and here["focus"] == [{"reference": str(walk)}] * 3
        asked = len(rig.there.asked)
        await rig.round(3)
        assert not [a for a in rig.there.asked[asked:] if a.method != "GET"], "and then nothing moves"
        rig.names["seen"] = f"Observation/{here['id']}"
        await rig.change(rig.me, "seen", note=[{"text": "by us"}])
        await rig.settled()
        now = rig.there.held[f"Observation/{seen['id']}"]
        assert now["note"] == [{"text": "by us"}] and now["subject"] == {"reference": f"{rig.her}/_history/1"}
        assert now["focus"] == [{"reference": f"{there}/_history/1"}, {"reference": there}, {"reference": f"{there}/_history/2"}]


async def test_what_of_ours_they_name_in_a_version_is_let_go_of_before_it_is_taken_back(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(keeps_referred=True)) as rig:
        await rig.goal("walk")
        await rig.goal("run")
        await rig.settled()
        walk, run = sorted(rig.there.named("Goal"), key=lambda g: g["description"]["text"] != "walk")
        rig.there.write({**run, "addresses": [{"reference": f"Goal/{walk['id']}/_history/1"}]})
        await rig.settled()
        stored = await rig.house.store.get(Ref(*rig.names["run"].split("/")))
        assert stored is not None and strict.decode(stored.body or b"{}")["addresses"] == [{"reference": rig.names["walk"]}]
        gone = Ref(*rig.names["walk"].split("/"))
        await gate.remove(rig.me, gone, if_match=await rig.versions(gone))
        await rig.settled()
        assert rig.texts() == ["run"] and "reference" not in rig.there.named("Goal")[0]["addresses"][0]


@pytest.mark.parametrize(("text", "name"), [
    ("Patient/1", "Patient/1"), ("Patient/1/_history/2", "Patient/1"), ("Patient/1/_history/", ""), ("Patient/1/2", ""), ("http://x/Patient/1", ""),
    ("Patient?identifier=a/b", ""), ("#p", ""), ("urn:uuid:1", ""), ("patient/1", ""), ("Patient/1/_history/2/3", ""), ("Patient/", ""),
])  # fmt: skip
def test_what_a_reference_names(text: str, name: str) -> None:
    assert named(text) == name
