"""Whose record a resource belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhir_gateway.domain.compartment import NO_PATIENT_DATA, patients, subject

EXAMPLES = Path(__file__).parents[2] / "shared" / "data" / "examples"
A, B = {"reference": "Patient/a"}, {"reference": "Patient/b"}

FIRST_CLASS = {"Goal", "CarePlan", "Condition", "Task", "Consent", "CareTeam", "RelatedPerson", "Observation"}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Goal", "subject": A}, ("Patient/a",)),
        ({"resourceType": "Task", "for": A, "owner": B}, ("Patient/a",)),
        ({"resourceType": "Coverage", "beneficiary": A, "payor": [B]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "Patient", "id": "a", "link": [{"other": B}]}, ("Patient/a",)),
        ({"resourceType": "RelatedPerson", "patient": {"reference": "Patient/a/_history/3"}}, ("Patient/a",)),
        ({"resourceType": "Observation", "performer": [B], "subject": A}, ("Patient/a", "Patient/b")),
        (
            {"resourceType": "CarePlan", "subject": A, "activity": [{"detail": {"performer": [B, A]}}]},
            ("Patient/a", "Patient/b"),
        ),
        ({"resourceType": "Group", "member": [{"entity": B}, {"entity": A}]}, ("Patient/b", "Patient/a")),
        ({"resourceType": "Binary", "securityContext": A}, ("Patient/a",)),
        ({"resourceType": "Provenance", "target": [{"reference": "Goal/g"}, A]}, ("Patient/a",)),
        (
            {"resourceType": "Goal", "subject": A, "contained": [{"resourceType": "Observation", "subject": B}]},
            ("Patient/a", "Patient/b"),
        ),
        (
            {"resourceType": "Goal", "subject": {"reference": "#p"}, "contained": [{"resourceType": "Patient", "id": "p"}]},
            (),
        ),
        (
            {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "a"}},
                                                 {"resource": {"resourceType": "Goal", "subject": B}}]},
            ("Patient/a", "Patient/b"),
        ),
        ({"resourceType": "Observation", "subject": A, "focus": [B]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "Observation", "subject": A, "extension": [{"url": "urn:x", "extension": [{"url": "y", "valueReference": B}]}]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "Observation", "subject": A, "code": {"coding": [{"extension": [{"url": "y", "valueReference": B}]}]}}, ("Patient/a", "Patient/b")),
        ({"resourceType": "Observation", "subject": A, "contained": [{"resourceType": "Basic", "extension": [{"url": "y", "valueReference": B}]}]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "Communication", "subject": A, "about": [{"reference": "Patient/b/_history/2"}]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "List", "subject": A, "entry": [{"item": B}]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "QuestionnaireResponse", "subject": A, "item": [{"item": [{"answer": [{"valueReference": B}]}]}]}, ("Patient/a", "Patient/b")),
        ({"resourceType": "List", "entry": [{"item": B}]}, ()),
        ({"resourceType": "CareTeam", "extension": [{"url": "urn:x", "valueReference": B}]}, ()),
        ({"resourceType": "Consent", "patient": A, "extension": [{"url": "urn:x", "valueReference": B}]}, ("Patient/a",)),
        ({"resourceType": "Patient", "id": "a", "extension": [{"url": "urn:x", "valueReference": B}]}, ("Patient/a",)),
        ({"resourceType": "MedicationStatement", "subject": A, "informationSource": B}, ("Patient/a",)),
        ({"resourceType": "Neverheardof", "subject": A}, ("Patient/a",)),
        ({"resourceType": "Goal", "subject": {"identifier": {"value": "9990000018"}}}, ()),
        ({"resourceType": "Goal", "subject": {"reference": "https://elsewhere.example/Patient/a"}}, ()),
    ],
)  # fmt: skip
def test_every_person_a_resource_names_is_found_its_own_subject_first(resource, expected):
    assert patients(resource) == expected
    assert subject(resource) == (expected[0] if expected else None)


def test_a_type_without_patient_data_is_nobodys():
    assert patients({"resourceType": "Questionnaire", "subject": A}) == ()
    assert "Questionnaire" in NO_PATIENT_DATA
    assert not NO_PATIENT_DATA & {
        "Patient",
        "Group",
        "Bundle",
        "Binary",
        "Device",
        "Provenance",
        "AuditEvent",
        "Basic",
        "Parameters",
    }


@pytest.mark.parametrize("rubbish", [None, 1, "x", [], [None], {"reference": 3}, {"reference": None}, [[A]]])
def test_what_has_the_wrong_shape_is_nobodys_and_nothing_breaks(rubbish):
    assert patients({"resourceType": "Goal", "subject": rubbish, "contained": rubbish}) in ((), ("Patient/a",))


def test_the_real_examples_mostly_name_somebody():
    if not EXAMPLES.exists():
        pytest.skip("../shared/data/examples is not here")
    silent: dict[str, int] = {}
    seen = 0
    for file in sorted(EXAMPLES.rglob("*.json")):
        resource = json.loads(file.read_text())
        if not isinstance(resource, dict) or resource.get("resourceType") in NO_PATIENT_DATA | {None}:
            continue
        seen += 1
        if not patients(resource):
            silent[resource["resourceType"]] = silent.get(resource["resourceType"], 0) + 1
    assert seen > 700
    # read one by one: logical or contained subjects, a Group, a Location, no subject at all
    assert {t: n for t, n in silent.items() if t in FIRST_CLASS} == {"Observation": 10, "Task": 6, "RelatedPerson": 1}
