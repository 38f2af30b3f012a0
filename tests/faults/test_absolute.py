"""At a server that refers to its own records by their whole address, everything comes and goes as at any other. docs/sync.md"""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.remote.replies import relative
from fhir_gateway.sync.pull import pull

from .rig import Rig, rigged
from .scripted import Habits

ABSOLUTE = Habits(absolute=True)


async def quarantined(rig: Rig) -> dict[str, bytes]:
    return await rig.house.store.kept_all("quarantine", rig.now, "hub ")


async def test_what_they_write_and_change_comes_here(tmp_path: Path) -> None:
    async with rigged(tmp_path, ABSOLUTE) as rig:
        await rig.goal("walk")
        await rig.settled()
        (copy,) = rig.there.named("Goal")
        assert copy["subject"]["reference"] == f"{rig.there.url}/{rig.her}"
        rig.there.write({**copy, "note": [{"text": "by them"}]})
        rig.there.write({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "theirs"}, "subject": {"reference": rig.her}})
        rig.there.write({"resourceType": "Observation", "status": "final", "code": {"text": "seen"}, "subject": {"reference": rig.her}, "focus": [{"reference": f"Goal/{copy['id']}"}]})
        await rig.settled()
        assert not await quarantined(rig) and "theirs" in await rig.here()
        stored = await rig.house.store.get(Ref(*rig.names["walk"].split("/")))
        assert stored is not None and strict.decode(stored.body or b"{}")["note"] == [{"text": "by them"}]
        (seen,) = await rig.house.store.patient_record(rig.names["amina"], ["Observation"])
        assert strict.decode(seen.body or b"{}")["focus"] == [{"reference": rig.names["walk"]}], "as it is called here, so that the gate knows what it names"
        before = len(rig.there.asked)
        await rig.round(3)
        assert not [a for a in rig.there.asked[before:] if a.method != "GET"], "and then nothing moves"


async def test_a_no_of_theirs_about_somebody_we_share_closes_here(tmp_path: Path) -> None:
    async with rigged(tmp_path, ABSOLUTE) as rig:
        await rig.settled()
        held = len(await rig.house.store.patient_record(rig.names["amina"], ["Consent"]))
        rig.there.write({
            "resourceType": "Consent", "status": "active", "patient": {"reference": rig.her}, "dateTime": "2026-11-25", "provision": {"type": "deny"},
            "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]},
        })  # fmt: skip
        told = await pull(rig.house, rig.partner)
        assert not told.ignored and len(await rig.house.store.patient_record(rig.names["amina"], ["Consent"])) == held + 1


async def test_a_create_whose_answer_is_lost_is_known_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, ABSOLUTE) as rig:
        await rig.settled()
        rig.there.fault("POST", "Goal", times=1, applied=True, cut="before")
        await rig.goal("walk")
        await rig.settled()
        await rig.change(rig.me, "walk", description={"text": "walk more"})
        await rig.settled()
        assert [g["description"]["text"] for g in rig.there.named("Goal")] == ["walk more"] and not await quarantined(rig)
        await rig.no()
        await rig.settled()
        assert not rig.there.named("Goal")


@pytest.mark.parametrize(("said", "read"), [
    ("https://Their.Example/fhir/Patient/1", "Patient/1"), ("HTTPS://their.example:443/fhir/Patient/1", "Patient/1"), ("https://their.example/fhir//Patient/1/_history/2", "Patient/1/_history/2"),
    ("https://their.example/fhir/Patient/1", "Patient/1"), ("https://their.example:8443/fhir/Patient/1", ""), ("http://their.example/fhir/Patient/1", ""),
    ("https://their.example/FHIR/Patient/1", ""), ("https://their.example.evil/fhir/Patient/1", ""), ("https://their.example/fhir2/Patient/1", ""), ("Patient/1", ""), ("urn:uuid:1", ""),
])  # fmt: skip
def test_an_address_is_theirs_however_they_spell_scheme_host_and_port(said: str, read: str) -> None:
    assert relative({"patient": {"reference": said}}, "https://their.example/fhir") == {"patient": {"reference": read or said}}
    assert relative({"patient": {"reference": said}}, "https://THEIR.example:443/fhir") == {"patient": {"reference": read or said}}, "nor how our settings do"
