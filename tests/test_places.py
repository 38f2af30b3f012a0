"""The location-protected view, held to the official R4 tables: no Address, ContactPoint or place in any type survives it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.entries import same
from fhir_gateway.domain.rendering import put_back, rendered
from fhir_gateway.domain.types import PLACES, VIEW

R4 = load_r4()
PROTECTED = VIEW | PLACES
ADDRESS = {"text": "SECRETPLACE", "city": "SECRETPLACE"}
WAY = {"system": "phone", "value": "SECRETPLACE"}
HERE = [
    {"reference": "Location/SECRETPLACE"},
    {"type": "Location", "display": "SECRETPLACE"},
    {"type": "http://hl7.org/fhir/StructureDefinition/Location", "identifier": {"value": "SECRETPLACE"}},
]
UNSAID = {"display": "SECRETPLACE"}  # where R4 lets the element refer to a Location or an Organization only


def holding(type: str, path: str, value: Any) -> dict[str, Any]:
    """A resource of this type with `value` at this path and as little else as can be."""
    steps = path.split(".")
    for at in range(len(steps), 0, -1):
        element, name = R4.type(type).elements[".".join(steps[:at])], steps[at - 1]
        if name.endswith("[x]"):
            kind = "Address" if value is ADDRESS else "ContactPoint" if value is WAY else "Reference"
            name = name[:-3] + kind
        value = {name: [value] if element.many else value}
    return {"resourceType": type, "id": "a", **value}


def everywhere(type: str) -> Iterator[dict[str, Any]]:
    deep = [{"url": "urn:x:deep", "extension": [{"url": "urn:x", "valueAddress": ADDRESS}, {"url": "urn:y", "valueContactPoint": WAY}]}]
    for path, e in R4.type(type).elements.items():
        if "Address" in e.types:
            yield holding(type, path, ADDRESS)
        if "ContactPoint" in e.types:
            yield holding(type, path, WAY)
        if "ContactDetail" in e.types:
            yield holding(type, path, {"name": "x", "telecom": [WAY]})
        if "Reference" in e.types:
            if "Location" in e.targets or not e.targets:
                yield from (holding(type, path, place) for place in HERE)
            if e.targets and set(e.targets) <= {"Location", "Organization"} and "Location" in e.targets:
                yield holding(type, path, UNSAID)
        if e.types == ("BackboneElement",):
            yield holding(type, path, {"extension": deep})
    if type == "Device":
        yield {"resourceType": type, "url": "http://SECRETPLACE.example"}
    if type not in ("Bundle", "Binary", "Parameters"):
        yield {"resourceType": type, "extension": deep}
        yield {"resourceType": type, "extension": [{"url": "urn:x", "valueReference": HERE[0]}], "_language": {"extension": deep}}


@pytest.mark.parametrize("type", R4.types)
def test_no_type_tells_a_place_and_none_is_lost_by_an_edit(type: str) -> None:
    for whole in everywhere(type):
        holder = {"resourceType": "Basic", "id": "b", "author": {"reference": "#a"}, "contained": [{**whole, "id": "a"}]}
        for resource in (whole, holder):
            seen = rendered(resource, PROTECTED)
            assert "SECRETPLACE" not in json.dumps(seen), resource
            assert same(rendered(seen, PROTECTED), seen), resource
            assert same(put_back(resource, copy.deepcopy(seen), PROTECTED), resource), resource
            edited = put_back(resource, {**copy.deepcopy(seen), "language": "cy"}, PROTECTED)
            assert same(edited, {**resource, "language": "cy"}), resource


def test_what_is_contained_tells_no_place_and_keeps_no_loose_end() -> None:
    visit = {
        "resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
        "contained": [
            {"resourceType": "Location", "id": "l", "name": "SECRETPLACE", "managingOrganization": {"reference": "#m"}},
            {"resourceType": "Organization", "id": "m", "name": "SECRETPLACE"},
            {"resourceType": "Organization", "id": "o", "name": "SECRETPLACE", "identifier": [{"value": "SECRETPLACE"}], "active": True},
            {"resourceType": "Practitioner", "id": "p", "telecom": [WAY], "name": [{"text": "Ann"}]},
        ],
        "location": [{"location": {"reference": "#l"}, "physicalType": {"text": "SECRETPLACE"}}],
        "account": [{"reference": "#o"}], "participant": [{"individual": {"reference": "#p"}}],
    }  # fmt: skip
    seen = copy.deepcopy(rendered(visit, PROTECTED))
    assert "SECRETPLACE" not in json.dumps(seen) and [c["id"] for c in seen["contained"]] == ["o", "p"]
    assert same(put_back(visit, seen, PROTECTED), visit)
    seen["contained"][1]["name"][0]["text"] = "Bea"
    whole = copy.deepcopy(visit)
    whole["contained"][3]["name"][0]["text"] = "Bea"
    assert same(put_back(visit, seen, PROTECTED), whole)
    seen["contained"][0]["active"] = False
    whole["contained"][2]["active"] = False
    assert same(put_back(visit, seen, PROTECTED), whole)


def test_an_address_of_the_readers_own_takes_the_place_of_the_one_that_was_masked() -> None:
    task = {"resourceType": "Task", "input": [{"type": {"text": "where"}, "valueAddress": ADDRESS}]}
    seen = copy.deepcopy(rendered(task, PROTECTED))
    seen["input"][0]["valueAddress"] = {"line": ["2 New Street"]}
    assert put_back(task, seen, PROTECTED)["input"][0]["valueAddress"] == {"line": ["2 New Street"]}
