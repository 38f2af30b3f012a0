"""Acting for somebody: Amina's daughter reads what a lawful proxy may (consent.md 1.7), by token, page session and FHIR."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Gateway

LEGAL_BASIS = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NOBODY = "0198c0de-0000-7000-8000-000000000000"


def total(demo: Gateway, who: str, search: str) -> int:
    return int(demo.get(who, search).json()["total"])


def role(demo: Gateway) -> tuple[dict[str, Any], str]:
    """The consent that makes Leila a proxy, and its ETag."""
    found = demo.get("patient", f"Consent?patient={demo.patient}").json()["entry"]
    (id,) = [e["resource"]["id"] for e in found if e["resource"]["policyRule"]["coding"][0]["system"] == LEGAL_BASIS]
    read = demo.get("patient", f"Consent/{id}")
    return read.json(), read.headers["etag"]


def put_role(demo: Gateway, **changes: Any) -> None:
    consent, etag = role(demo)
    done = demo.call("patient", "PUT", f"Consent/{consent['id']}", body=consent | changes, headers={"If-Match": etag})
    assert done.status_code == 200, done.text


def test_a_token_of_the_proxy_says_whose_record_it_is_for(demo: Gateway) -> None:
    (token,) = demo.lines("token", "--as", "proxy", "--json")
    assert token["fhirUser"].startswith("RelatedPerson/") and token["patient"] == demo.patient
    assert demo.get("proxy", f"Patient/{demo.patient}").status_code == 200


def test_the_proxy_reads_the_plan_over_fhir_and_as_json(demo: Gateway) -> None:
    mine = {e["resource"]["id"] for e in demo.get("patient", f"Goal?patient={demo.patient}").json()["entry"]}
    hers = {e["resource"]["id"] for e in demo.get("proxy", f"Goal?patient={demo.patient}").json()["entry"]}
    assert mine and hers == mine
    plan = demo.get("proxy", f"/plans/{demo.patient}")
    assert plan.status_code == 200
    theirs, own = plan.json(), demo.get("patient", f"/plans/{demo.patient}").json()
    assert [g["text"] for g in theirs["goals"]] == [g["text"] for g in own["goals"]]
    everything = demo.get("proxy", f"Patient/{demo.patient}/$everything").json()
    assert {"Patient", "CarePlan", "Goal", "CareTeam"} <= {e["resource"]["resourceType"] for e in everything["entry"]}


def test_a_proxy_role_reads_and_changes_nothing(demo: Gateway) -> None:
    read = demo.get("proxy", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]
    changed = demo.call("proxy", "PUT", f"Goal/{read['id']}", body=read | {"lifecycleStatus": "cancelled"},
                        headers={"If-Match": f'W/"{read["meta"]["versionId"]}"'})  # fmt: skip
    assert changed.status_code == 403, changed.text
    assert demo.get("patient", f"Goal/{read['id']}").json()["meta"]["versionId"] == read["meta"]["versionId"]


def test_the_proxy_reaches_nobody_elses_record(demo: Gateway) -> None:
    other = demo.call("hospital", "POST", "Patient", body={
        "resourceType": "Patient", "name": [{"family": "Else", "given": ["Somebody"]}], "birthDate": "1950-01-01",
    })  # fmt: skip
    assert other.status_code == 201, other.text
    hidden, absent = demo.get("proxy", f"Patient/{other.json()['id']}"), demo.get("proxy", f"Patient/{NOBODY}")
    assert hidden.status_code == absent.status_code == 404 and hidden.content == absent.content
    assert total(demo, "proxy", "Patient?_total=accurate") == 1


@pytest.mark.parametrize("label", ["NOPAT", "TBOO"])
def test_what_is_kept_from_the_person_is_kept_from_her_proxy(demo: Gateway, label: str) -> None:
    made = demo.call("hospital", "POST", "Observation", body={
        "resourceType": "Observation", "status": "final", "code": {"text": "Not yet talked over"},
        "meta": {"security": [{"system": ACT_CODE, "code": label}]}, "subject": {"reference": f"Patient/{demo.patient}"},
    })  # fmt: skip
    assert made.status_code == 201, made.text
    id = made.json()["id"]
    assert demo.get("hospital", f"Observation/{id}").status_code == 200
    assert demo.get("proxy", f"Observation/{id}").status_code == demo.get("patient", f"Observation/{id}").status_code == 404
    assert total(demo, "proxy", f"Observation?patient={demo.patient}&_id={id}") == 0


def test_a_no_that_names_the_proxy_hides_that_one_thing(demo: Gateway) -> None:
    leila = demo.persona("proxy")["fhirUser"]
    goals = [e["resource"]["id"] for e in demo.get("proxy", f"Goal?patient={demo.patient}").json()["entry"]]
    made = demo.call("patient", "POST", "Consent", body={
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{demo.patient}"},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{
            "type": "deny",
            "actor": [{"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                       "reference": {"reference": leila}}],
            "data": [{"meaning": "instance", "reference": {"reference": f"Goal/{goals[0]}"}}],
        }]},
    })  # fmt: skip
    assert made.status_code == 201, made.text
    assert demo.get("proxy", f"Goal/{goals[0]}").status_code == 404
    assert demo.get("gp", f"Goal/{goals[0]}").status_code == 200
    assert total(demo, "proxy", f"Goal?patient={demo.patient}") == len(goals) - 1
    off = made.json() | {"status": "inactive"}
    assert demo.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": made.headers["etag"]}).status_code == 200
    assert demo.get("proxy", f"Goal/{goals[0]}").status_code == 200


def test_explain_speaks_of_the_proxy_by_name_and_by_reference(demo: Gateway) -> None:
    for who in ("proxy", demo.persona("proxy")["fhirUser"]):
        (said,) = demo.lines("explain", "--who", who, "--what", f"Patient/{demo.patient}", "--json")
        assert (said["decision"], said["basis"], said["consent"]) == ("permit", "proxy", role(demo)[0]["id"])


def test_the_end_of_the_role_ends_it_at_once_on_every_surface(demo: Gateway) -> None:
    try:
        put_role(demo, status="inactive")
        for path in (f"Patient/{demo.patient}", f"Patient/{demo.patient}/$everything", f"/plans/{demo.patient}"):
            assert demo.get("proxy", path).status_code == 404, path
        assert total(demo, "proxy", f"Goal?patient={demo.patient}") == 0
        (said,) = demo.lines("explain", "--who", "proxy", "--what", f"Patient/{demo.patient}", "--json")
        assert (said["decision"], said["basis"]) == ("deny", "no-proxy-role")
    finally:
        put_role(demo, status="active")
    assert demo.get("proxy", f"/plans/{demo.patient}").status_code == 200


def test_the_last_day_of_the_role_ends_it_by_itself(demo: Gateway) -> None:
    before = role(demo)[0]["provision"]
    put_role(demo, provision=before | {"period": {"start": "2026-02-03", "end": "2026-03-01"}})
    assert demo.get("proxy", f"/plans/{demo.patient}").status_code == 404
    put_role(demo, provision=before)
    assert json.loads(demo.get("proxy", f"/plans/{demo.patient}").content)["goals"]
