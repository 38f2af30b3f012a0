"""Whoever is shown less can send back what they were given, and change one thing of it: what they were not shown is still there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Gateway, gateway
from .test_narrow_views import RISK, meta, share, stop

PLACE = {"text": "SECRETPLACE"}
HOME = {"type": "Location", "display": "SECRETPLACE"}
LABEL = {"url": "urn:x:label", "valueMeta": {"security": [{"system": "http://labels.example", "code": "tells"}]}}
ADDRESS = {"url": "urn:x:home", "valueAddress": PLACE}
WORDS = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">SECRETPLACE</div>'}
LOINC = {"system": "http://loinc.org", "code": "59284-0"}


def resources(me: str) -> list[dict[str, Any]]:
    """One of a dozen types, each with what a rule asks for and a view leaves out."""
    who = {"reference": me}
    clinic = {"resourceType": "Organization", "id": "o", "name": "SECRETPLACE clinic", "address": [PLACE]}
    shelter = {"resourceType": "Location", "id": "l", "name": "SECRETPLACE"}
    some = {"text": "x"}
    found: list[dict[str, Any]] = [
        {"resourceType": "Task", "status": "draft", "intent": "plan", "for": who, "location": HOME, "input": [
            {"type": some, "valueAddress": PLACE}, {"type": some, "valueReference": HOME}, {"type": some, "valueContactPoint": {"system": "phone", "value": "SECRETPLACE"}}]},
        {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": who, "serviceProvider": {"display": "SECRETPLACE"},
         "hospitalization": {"destination": {"display": "SECRETPLACE"}}, "contained": [shelter], "location": [{"location": {"reference": "#l"}}]},
        {"resourceType": "Appointment", "status": "booked", "participant": [{"actor": who, "status": "accepted"}, {"actor": HOME, "status": "accepted"}], "description": "x",
         "start": "2026-11-26T10:00:00Z", "end": "2026-11-26T11:00:00Z"},
        {"resourceType": "Observation", "status": "final", "code": some, "subject": who, "effectiveDateTime": "2026-01-01", "valueString": "x"},
        {"resourceType": "Procedure", "status": "completed", "subject": who, "performedDateTime": "2026-01-01", "performer": [{"actor": {"reference": "#o"}}], "contained": [clinic], "code": some},
        {"resourceType": "Claim", "status": "active", "type": some, "use": "claim", "patient": who, "created": "2026-01-01", "provider": {"display": "x"}, "priority": some,
         "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "x"}}], "facility": HOME, "item": [{"sequence": 1, "productOrService": some, "locationAddress": PLACE}]},
        {"resourceType": "MedicationDispense", "status": "completed", "subject": who, "medicationCodeableConcept": some, "destination": HOME, "whenHandedOver": "2026-01-01"},
        {"resourceType": "Device", "patient": who, "contact": [{"system": "phone", "value": "SECRETPLACE"}], "status": "active"},
        {"resourceType": "SupplyRequest", "quantity": {"value": 1}, "itemCodeableConcept": some, "deliverTo": who, "deliverFrom": HOME},
        {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": who, "locationReference": [HOME], "code": some},
        {"resourceType": "Goal", "lifecycleStatus": "active", "description": some, "subject": who},
        {"resourceType": "CareTeam", "status": "active", "subject": who, "telecom": [{"system": "phone", "value": "SECRETPLACE"}], "name": "x"},
        {"resourceType": "Composition", "status": "final", "type": {"coding": [LOINC]}, "subject": who, "date": "2026-01-01", "author": [who], "title": "x",
         "section": [{"title": "x", "text": WORDS}]},
    ]  # fmt: skip
    return [{**r, "extension": [ADDRESS, LABEL], "text": WORDS} for r in found]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("edits"), "--demo") as g:
        yield g


@pytest.fixture(scope="module")
def made(house: Gateway) -> list[str]:
    refs = []
    for body in resources(f"Patient/{house.patient}"):
        answer = house.call("patient", "POST", body["resourceType"], body=body)
        assert answer.status_code == 201, (body["resourceType"], answer.text)
        refs.append(f"{body['resourceType']}/{answer.json()['id']}")
    return refs


def unchanged_and_edited(g: Gateway, who: str, ref: str, name: str = "language", values: tuple[Any, Any] = ("cy", "fr"), kind: str = "valueCode") -> None:
    """GET and PUT again is nothing; a JSON Patch and a FHIRPath Patch of one element change that element alone."""
    whole, now = g.get("patient", ref).json(), g.get(who, ref)
    assert now.status_code == 200, (who, ref)
    same = g.call(who, "PUT", ref, body=now.json(), headers={"If-Match": now.headers["etag"]})
    assert same.status_code == 200, (who, ref, same.text)
    assert same.headers["etag"] == now.headers["etag"] and g.get("patient", ref).json() == whole, (who, ref)
    type = ref.split("/")[0]
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": f"{type}.{name}"}, {"name": "value", kind: values[1]}]
    ways: list[tuple[Any, Any, dict[str, str]]] = [
        (values[0], [{"op": "add", "path": f"/{name}", "value": values[0]}], {"Content-Type": "application/json-patch+json"}),
        (values[1], {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}, {}),
    ]
    for value, patch, header in ways:
        etag = g.get(who, ref).headers["etag"]
        answer = g.call(who, "PATCH", ref, body=patch, headers={"If-Match": etag, **header})
        assert answer.status_code == 200, (who, ref, value, answer.text)
        after = g.get("patient", ref).json()
        assert after.pop(name) == value
        assert {k: v for k, v in after.items() if k != "meta"} == {k: v for k, v in whole.items() if k not in ("meta", name)}, (who, ref, value)


def test_the_filtered_view_can_be_sent_back_and_edited(house: Gateway, made: list[str]) -> None:
    for ref in made:
        unchanged_and_edited(house, "gp", ref)


def test_the_location_protected_view_can_be_sent_back_and_edited(house: Gateway, made: list[str]) -> None:
    me = f"Patient/{house.patient}"
    assert meta(house, "patient", "meta-add", me).status_code == 200
    try:
        for ref in (*made, me):
            assert "SECRETPLACE" not in house.get("gp", ref).text, ref
            unchanged_and_edited(house, "gp", ref)
    finally:
        assert meta(house, "patient", "meta-delete", me).status_code == 200


def test_what_is_wrong_by_the_editors_own_hand_is_said_where_it_is_in_what_they_sent(house: Gateway, made: list[str]) -> None:
    me, task = f"Patient/{house.patient}", made[0]
    assert meta(house, "patient", "meta-add", me).status_code == 200
    try:
        now = house.get("gp", task)
        for change, where in (({"status": "bogus"}, "Task.status"), ({"input": [*now.json()["input"], {"valueString": "x"}]}, "Task.input[3]"), ({"meta": "x"}, "Task.meta"),
                              ({"meta": {"security": ["x"]}}, "Task.meta"), ({"extension": "x"}, "Task.extension"), ({"input": {"type": 1}}, "Task.input"), ({"contained": [1]}, "Task.contained")):  # fmt: skip
            answer = house.call("gp", "PUT", task, body={**now.json(), **change}, headers={"If-Match": now.headers["etag"]})
            assert answer.status_code == 422 and where in answer.text and "SECRETPLACE" not in answer.text, (change, answer.text)
        visit = copy.deepcopy(house.get("gp", made[1]).json())
        visit["contained"] = [{"resourceType": "Practitioner", "id": "l"}]
        visit["participant"] = [{"individual": {"reference": "#l"}}]
        answer = house.call("gp", "PUT", made[1], body=visit, headers={"If-Match": house.get("gp", made[1]).headers["etag"]})
        assert answer.status_code in (200, 422) and "SECRETPLACE" not in answer.text, answer.text
    finally:
        assert meta(house, "patient", "meta-delete", me).status_code == 200
    assert RISK["code"] not in house.get("patient", me).text


def test_the_contact_view_can_be_sent_back_and_edited(house: Gateway) -> None:
    me = f"Patient/{house.patient}"
    consent = share(house, "link-worker", actions=("access", "correct"))
    try:
        assert "birthDate" not in house.get("link-worker", me).json()
        unchanged_and_edited(house, "link-worker", me, "active", (False, True), "valueBoolean")
    finally:
        stop(house, consent)
