"""Every hit is decided again before it leaves: an index that says too much gives a 503 and an alarm on every surface, never data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from .conftest import Gateway, gateway

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
HL7 = "http://terminology.hl7.org/CodeSystem"
SECRET = "Canary seven"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    """The demo with one restricted goal, which the GP may not see, and the id of it."""
    with gateway(tmp_path_factory.mktemp("house"), "--demo") as g:
        made = g.call("hospital", "POST", "Goal", body=goal(g))
        assert made.status_code == 201, made.text
        yield g, made.json()["id"]


def goal(g: Gateway) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": SECRET}, "subject": {"reference": f"Patient/{g.patient}"},
        "identifier": [{"system": "urn:canary", "value": "7"}], "meta": {"security": [{"system": CONFIDENTIALITY, "code": "R"}]},
    }  # fmt: skip


def spoil(g: Gateway, id: str, level: int) -> None:
    """Behind the gate's back, in the file: the goal's level as the index has it; 4 is restricted."""
    with apsw.Connection(str(g.data / "gateway.sqlite")) as db:
        db.set_busy_timeout(5_000)
        db.execute("UPDATE resource SET conf = ? WHERE type = 'Goal' AND id = ?", (level, id))
        assert db.changes() == 1


def alarms(g: Gateway) -> int:
    found = re.search(r"^gateway_alarms_total (\d+)", g.call(None, "GET", "/metrics").text, re.M)
    assert found
    return int(found[1])


SURFACES = (
    "Goal?patient={p}", "Goal", "Goal?_id={id}", "Goal?patient={p}&_summary=count&_count=10", "Goal?patient={p}&_count=0", "Goal?_summary=count",
    "Goal?patient={p}&_total=accurate&_count=1", "Patient/{p}/Goal?_summary=count", "Goal?identifier=urn:canary|7", "Patient/{p}/Goal",
    "Patient/{p}/*", "Patient?_id={p}&_revinclude=Goal:subject", "Patient?_id={p}&_revinclude=*", "Patient/{p}/$everything",
    "Patient/$everything", "/plans/{p}", "?_type=Goal,CarePlan",
)  # fmt: skip


@pytest.mark.parametrize("surface", SURFACES)
def test_an_index_that_says_too_much_gives_no_data(house: tuple[Gateway, str], surface: str) -> None:
    g, id = house
    path = surface.format(p=g.patient, id=id)
    spoil(g, id, 4)
    whole = g.get("gp", path)
    assert whole.status_code == 200 and SECRET not in whole.text
    before = alarms(g)
    spoil(g, id, 0)
    try:
        answer = g.get("gp", path)
        assert answer.status_code == 503, answer.text
        assert SECRET not in answer.text and id not in answer.text
        assert alarms(g) > before
        assert f"search predicate and decision differ on Goal/{id}" in g.log.read_text()
    finally:
        spoil(g, id, 4)


WRITES = (
    ("POST", "Goal", {"If-None-Exist": "identifier=urn:canary|7"}),
    ("PUT", "Goal?identifier=urn:canary|7", {}),
    ("DELETE", "Goal?identifier=urn:canary|7", {"If-Match": 'W/"1"'}),
    ("POST", "Goal/_search", {"Content-Type": "application/x-www-form-urlencoded"}),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "headers"), WRITES)
def test_nor_does_a_condition_or_a_posted_search(house: tuple[Gateway, str], method: str, path: str, headers: dict[str, str]) -> None:
    g, id = house
    spoil(g, id, 0)
    try:
        raw = b"identifier=urn:canary|7" if path.endswith("_search") else None if method == "DELETE" else json.dumps(goal(g)).encode()
        answer = g.call("gp", method, path, raw=raw, headers=headers)
        assert answer.status_code == 503 and SECRET not in answer.text, answer.text
    finally:
        spoil(g, id, 4)
    assert g.call("patient", "GET", f"Goal/{id}").json()["meta"]["versionId"] == "1"


def test_nor_does_a_batch(house: tuple[Gateway, str]) -> None:
    g, id = house
    asked = [f"Goal?patient={g.patient}", f"Goal/{id}", f"Patient/{g.patient}/$everything", f"Patient/{g.patient}"]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": u}} for u in asked]}
    spoil(g, id, 0)
    try:
        answer = g.call("gp", "POST", "", body=bundle)
        assert answer.status_code == 200 and SECRET not in answer.text
        assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == ["503", "404", "503", "200"]
    finally:
        spoil(g, id, 4)


def test_nor_what_is_read_by_id_nor_a_history_nor_a_document(house: tuple[Gateway, str]) -> None:
    """These ask the evaluator, and history the versions themselves: a spoilt index does not reach them. A document of the main plan
    looks for what belongs to it, and is refused like any search."""
    g, id = house
    plans = {e["resource"]["title"]: e["resource"]["id"] for e in g.get("gp", f"CarePlan?patient={g.patient}").json()["entry"]}
    main, plan = plans["Amina's plan"], plans["Falls prevention plan"]
    assert g.get("gp", f"CarePlan/{main}/$document").status_code == 200
    spoil(g, id, 0)
    try:
        for path in (f"Goal/{id}", f"Goal/{id}/_history", f"Goal/{id}/_history/1"):
            assert g.get("gp", path).status_code == 404
        for path in (f"Patient/{g.patient}/_history", "Goal/_history", "_history?_count=200", f"CarePlan/{plan}/$document", f"CarePlan?_id={plan}&_include=CarePlan:goal"):
            answer = g.get("gp", path)
            assert answer.status_code == 200 and SECRET not in answer.text, path
        refused = g.get("gp", f"CarePlan/{main}/$document")
        assert refused.status_code == 503 and SECRET not in refused.text and id not in refused.text
    finally:
        spoil(g, id, 4)


def one_hop(g: Gateway, plan: str, goal_id: str) -> dict[str, Any]:
    """A no to everybody about whatever is one hop from this plan."""
    return {
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{g.patient}"},
        "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "deny", "data": [{"meaning": "related", "reference": {"reference": f"CarePlan/{plan}"}}]}]},
    }  # fmt: skip


def test_what_a_hidden_plan_refers_to_is_hidden_on_every_path(house: tuple[Gateway, str]) -> None:
    """`related` reaches what refers to the plan and what the plan refers to: by id as by search."""
    g, _ = house
    plan = next(
        e["resource"] for e in g.get("patient", f"CarePlan?patient={g.patient}").json()["entry"] if e["resource"].get("goal")
    )
    aim = plan["goal"][0]["reference"]
    assert g.get("gp", aim).status_code == 200
    made = g.call("patient", "POST", "Consent", body=one_hop(g, plan["id"], aim))
    assert made.status_code == 201, made.text
    try:
        for path in (aim, f"{aim}/_history", f"{aim}/_history/1", f"CarePlan/{plan['id']}"):
            assert g.get("gp", path).status_code == 404, path
        assert g.get("gp", f"Goal?_id={aim.removeprefix('Goal/')}").json()["total"] == 0
        for path, status in (("Goal?patient={p}", 200), ("Goal/_history", 200), ("Patient/{p}/$everything", 404), ("Patient/{p}", 404)):
            answer = g.get("gp", path.format(p=g.patient))  # the plan refers to the Patient, too
            assert answer.status_code == status and aim not in answer.text, (path, answer.text[:300])
    finally:
        done = g.call("patient", "PUT", f"Consent/{made.json()['id']}", body=made.json() | {"status": "inactive"}, headers={"If-Match": 'W/"1"'})
        assert done.status_code == 200, done.text
    assert g.get("gp", aim).status_code == 200
