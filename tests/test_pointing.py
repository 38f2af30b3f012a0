"""A reference that does not say what it points to, held to the official R4 tables."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.compartment import SUBJECT
from fhir_gateway.domain.directory import NO_PATIENT_DATA
from fhir_gateway.domain.entries import same
from fhir_gateway.domain.r4 import names
from fhir_gateway.domain.view import restore, view

R4 = load_r4()
SCRIPT = Path(__file__).parents[1] / "scripts" / "compile_pointing.py"
UNSAID: list[dict[str, Any]] = [{"display": "SECRET"}, {"identifier": {"system": "urn:x", "value": "SECRET"}}, {"reference": "urn:uuid:1", "display": "SECRET"}]


def test_what_references_may_point_to_is_as_the_official_tables_say() -> None:
    made = runpy.run_path(str(SCRIPT))
    assert made["OUT"].read_text() == made["compiled"](R4), "run scripts/compile_pointing.py"


def holding(type: str, path: str, value: Any) -> dict[str, Any]:
    steps = path.split(".")
    for at in range(len(steps), 0, -1):
        element, name = R4.type(type).elements[".".join(steps[:at])], steps[at - 1]
        name = name[:-3] + "Reference" if name.endswith("[x]") else names(name, element)[0]
        value = {name: [value] if element.many else value}
    return {"resourceType": type, "id": "a", **value}


@pytest.mark.parametrize("type", R4.types)
def test_words_alone_are_hidden_wherever_R4_lets_something_of_a_patient_stand(type: str) -> None:
    for path, e in R4.type(type).elements.items():
        if "Reference" not in e.types or type in NO_PATIENT_DATA or path == SUBJECT.get(type, "subject"):
            continue  # the record's own subject is left as it is
        for said in (*UNSAID, {"extension": [{"url": "urn:x", "valueReference": UNSAID[0]}]}):
            whole = holding(type, path, said)
            for resource in (whole, {"resourceType": "Basic", "id": "b", "author": {"reference": "#a"}, "contained": [whole]}):
                seen = view(resource)
                if not e.targets or not NO_PATIENT_DATA.issuperset(e.targets) or "extension" in said:
                    assert "SECRET" not in json.dumps(seen), (path, resource)
                assert same(view(seen), seen)
                assert same(restore(resource, copy.deepcopy(seen)), resource)
                assert same(restore(resource, {**copy.deepcopy(seen), "language": "cy"}), {**resource, "language": "cy"})


def test_who_can_only_be_a_professional_or_a_place_keeps_their_name() -> None:
    for resource in (
        {"resourceType": "Encounter", "serviceProvider": {"display": "St Example"}, "location": [{"location": {"display": "Ward 3"}}]},
        {"resourceType": "Patient", "generalPractitioner": [{"display": "The surgery"}]},
        {"resourceType": "MedicationRequest", "medicationReference": {"display": "Aspirin"}},
        {"resourceType": "Observation", "code": {"coding": [{"display": "Weight"}]}},
    ):
        assert view(resource) == resource
