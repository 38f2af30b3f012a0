"""Who wrote what, on behalf of whom, from which system: a Provenance of every write, under the consent of what was written."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_gateway import definitions
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.validate import check
from fhir_gateway.domain.writings import named, of

from .conftest import Gateway

TYPES = definitions.load_r4().types


@pytest.fixture(scope="module")
def goal(demo: Gateway) -> str:
    """Made by the hospital's system, changed by the person, patched by the person, then one that only she sees."""
    me = {"reference": f"Patient/{demo.patient}"}
    body: dict[str, Any] = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": me}
    made = demo.call("hospital", "POST", "Goal", body=body)
    assert made.status_code == 201, made.text
    ref = str(made.headers["location"].split("/fhir/")[1].split("/_history")[0])
    now = demo.get("patient", ref)
    changed = demo.call("patient", "PUT", ref, body={**now.json(), "description": {"text": "run"}}, headers={"If-Match": now.headers["etag"]})
    assert changed.status_code == 200, changed.text
    patch = [{"op": "replace", "path": "/lifecycleStatus", "value": "completed"}]
    done = demo.call("patient", "PATCH", ref, body=patch, headers={"If-Match": changed.headers["etag"], "Content-Type": "application/json-patch+json"})
    assert done.status_code == 200, done.text
    return ref


def found(g: Gateway, who: str, search: str) -> list[dict[str, Any]]:
    answer = g.get(who, search)
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", [])]


def did(p: dict[str, Any]) -> tuple[str, str, str]:
    return p["target"][0]["reference"].rsplit("/", 1)[1], p["activity"]["coding"][0]["code"], p["agent"][0]["who"]["reference"].split("/")[0]


def test_every_write_has_one_that_says_who_and_from_where(demo: Gateway, goal: str) -> None:
    made = found(demo, "patient", f"Provenance?target={goal}")
    assert [did(p) for p in made] == [("3", "UPDATE", "Patient"), ("2", "UPDATE", "Patient"), ("1", "CREATE", "Device")]
    first = made[-1]
    assert first["agent"][0]["onBehalfOf"]["reference"].startswith("Organization/") and first["agent"][-1]["who"]["identifier"]["value"] == "hospital"
    for p in made:
        assert [i for i in check(p, definitions.load_r4()) if i.severity in ("error", "fatal")] == []
        version = demo.get("patient", p["target"][0]["reference"])
        assert version.json()["meta"]["lastUpdated"] == p["recorded"]
        assert demo.get("patient", f"Provenance/{p['id']}").json() == p


def test_r4_parameters_find_what_they_should(demo: Gateway, goal: str) -> None:
    me = demo.persona("patient")["fhirUser"]
    about = f"Provenance?target={goal}"
    assert len(found(demo, "patient", f"{about}&agent={me}")) == 2 and found(demo, "patient", f"{about}&agent=Practitioner/nobody") == []
    assert len(found(demo, "patient", f"{about}&recorded=ge2020-01-01")) == 3 and found(demo, "patient", f"{about}&recorded=lt2020-01-01") == []
    assert {p["id"] for p in found(demo, "patient", about)} <= {p["id"] for p in found(demo, "patient", f"Provenance?patient={demo.patient}&_count=200")}
    assert demo.get("patient", f"{about}&_total=accurate").json()["total"] == 3 == demo.get("patient", f"{about}&_summary=count").json()["total"]
    ids, path = [], f"{about}&_count=2"
    while path:
        page = demo.get("patient", path).json()
        ids += [e["resource"]["id"] for e in page.get("entry", [])]
        path = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), "")
    assert len(ids) == len(set(ids)) == 3


def test_a_hop_leads_to_those_that_are_made_as_well(demo: Gateway, goal: str) -> None:
    """By what the reader sees: the person's number, what a goal is called, a name of who wrote it."""
    number = "https://fhir.nhs.uk/Id/nhs-number|" + demo.get("patient", f"Patient/{demo.patient}").json()["identifier"][0]["value"]
    mine = [p["id"] for p in found(demo, "patient", f"Provenance?patient={demo.patient}&_count=200")]
    for name in ("patient.identifier", "patient:identifier", "patient:Patient.identifier"):
        assert [p["id"] for p in found(demo, "patient", f"Provenance?{name}={number}&_count=200")] == mine != [], name
        assert found(demo, "stranger", f"Provenance?{name}={number}") == [] == found(demo, "patient", f"Provenance?{name}=urn:x|1")
    assert demo.get("patient", f"Provenance?patient.identifier={number}&_total=accurate").json()["total"] == len(mine)
    by_me = [p["id"] for p in found(demo, "patient", f"Provenance?target={goal}&agent=Patient/{demo.patient}")]
    assert [p["id"] for p in found(demo, "patient", f"Provenance?target={goal}&agent:Patient.identifier={number}")] == by_me != []
    of_goal = [p["id"] for p in found(demo, "patient", f"Provenance?target={goal}")]
    assert [p["id"] for p in found(demo, "patient", f"Provenance?target:Goal._id={goal.split('/')[1]}")] == of_goal != []


def test_of_what_is_hidden_there_is_none(demo: Gateway, goal: str) -> None:
    id = found(demo, "patient", f"Provenance?target={goal}")[0]["id"]
    absent = id[: -len("00000000")] + "00000000"
    assert found(demo, "gp", f"Provenance?target={goal}"), "who sees the goal sees who wrote it"
    for path in (f"Provenance?target={goal}&_total=accurate", f"Provenance?patient={demo.patient}&_total=accurate"):
        assert demo.get("stranger", path).json()["total"] == 0
    here, nowhere = demo.get("stranger", f"Provenance/{id}"), demo.get("stranger", f"Provenance/{absent}")
    assert here.status_code == nowhere.status_code == 404 and here.content == nowhere.content


def test_none_of_them_is_written_over(demo: Gateway, goal: str) -> None:
    one = found(demo, "patient", f"Provenance?target={goal}")[0]
    answer = demo.call("patient", "PUT", f"Provenance/{one['id']}", body={**one, "recorded": "2020-01-01T00:00:00Z"}, headers={"If-Match": 'W/"1"'})
    assert answer.status_code in (404, 405), answer.text
    assert demo.call("patient", "DELETE", f"Provenance/{one['id']}", headers={"If-Match": 'W/"1"'}).status_code in (404, 405)
    assert demo.get("patient", f"Provenance/{one['id']}").json() == one


def test_an_id_says_of_which_version_it_is_and_nothing_else_does() -> None:
    ref = Ref("Goal", "0198f7a2-1234-7abc-8def-0123456789ab")
    id = named(TYPES, ref, 12)
    assert id is not None and len(id) <= 64 and of(TYPES, id) == (ref, 12)
    for wrong in ("v999.1.x", "v1", "v1.01.x", "x1.1.x", "v1.1.", "v1.1." + "x" * 70, ref.id):
        assert of(TYPES, wrong) is None
    assert named(TYPES, Ref("Goal", "x" * 64), 1) is None and named(TYPES, Ref("NoType", "x"), 1) is None
