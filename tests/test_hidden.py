"""Hidden equals absent, on each surface of the main story: one answer for what is not there and what is not for you."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from .conftest import Gateway

NOBODY = "0198c0de-0000-7000-8000-000000000000"


def ids(demo: Gateway) -> dict[str, str]:
    """One resource of each kind in Amina's record."""
    found = demo.get("patient", f"Patient/{demo.patient}/$everything").json()
    return {e["resource"]["resourceType"]: e["resource"]["id"] for e in found["entry"] if e["search"]["mode"] == "match"}


def same(one: Any, other: Any, there: str, here: str) -> None:
    assert one.status_code == other.status_code
    assert one.text.replace(there, here) == other.text
    assert set(one.headers) == set(other.headers)


@pytest.mark.parametrize("who", ["stranger", "link-worker", "community-nurse"])
def test_every_kind_of_record_is_hidden_like_the_absent(demo: Gateway, who: str) -> None:
    for type, id in ids(demo).items():
        for form in ("{}/{}", "{}/{}/_history", "{}/{}/_history/1"):
            same(demo.get(who, form.format(type, id)), demo.get(who, form.format(type, NOBODY)), id, NOBODY)
        assert demo.get(who, f"{type}?_id={id}").json()["total"] == 0
        for method in ("PUT", "DELETE"):
            body = {"resourceType": type, "id": id} if method == "PUT" else None
            other = {"resourceType": type, "id": NOBODY} if method == "PUT" else None
            headers = {"If-Match": 'W/"1"'}
            same(
                demo.call(who, method, f"{type}/{id}", body=body, headers=headers),
                demo.call(who, method, f"{type}/{NOBODY}", body=other, headers=headers),
                id,
                NOBODY,
            )


@pytest.mark.parametrize("who", ["stranger", "link-worker"])
def test_searches_tell_nothing(demo: Gateway, who: str) -> None:
    me = demo.patient
    for query in (
        f"Goal?patient={me}", f"Goal?subject=Patient/{me}", "Goal", "CarePlan?_include=CarePlan:goal&_include:iterate=Goal:patient",
        "Goal?patient.family=Example", "Patient?family=Example", "Patient?_has:Goal:patient:lifecycle-status=active",
        "Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9990000018", f"Patient/{me}/Goal", "Goal?_sort=-start-date",
        "Consent", f"Consent?patient={me}", "RelatedPerson", f"Observation?_lastUpdated=gt2020-01-01&subject=Patient/{me}",
    ):  # fmt: skip
        answer = demo.get(who, query)
        assert answer.status_code == 200, (query, answer.text)
        assert answer.json().get("total") == 0 and "entry" not in answer.json(), query
    assert demo.get(who, "_history").json().get("entry", []) == [] or all(
        e["resource"]["resourceType"] in ("Organization", "Practitioner", "PractitionerRole") for e in demo.get(who, "_history").json()["entry"]
    )


def test_a_page_link_is_its_readers_own_and_dies_with_a_change_of_consent(demo: Gateway) -> None:
    first = demo.get("gp", f"Goal?patient={demo.patient}&_count=1").json()
    url = urlsplit(next(link["url"] for link in first["link"] if link["relation"] == "next"))
    following = f"{url.path}?{url.query}"
    assert demo.get("gp", following).status_code == 200
    for who in ("stranger", "patient", "social-worker"):
        assert demo.get(who, following).status_code == 404
    deny = {
        "type": "deny",
        "actor": [{
            "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "reference": {"reference": demo.persona("gp")["fhirUser"]},
        }],
    }  # fmt: skip
    consent = {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{demo.patient}"},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [deny]},
    }  # fmt: skip
    made = demo.call("patient", "POST", "Consent", body=consent)
    assert made.status_code == 201, made.text
    assert demo.get("gp", following).status_code == 404
    assert demo.get("gp", f"Goal?patient={demo.patient}").json()["total"] == 0
    assert demo.get("social-worker", f"Goal?patient={demo.patient}").json()["total"] > 0
    ended = made.json() | {"status": "inactive"}
    gone = demo.call("patient", "PUT", f"Consent/{ended['id']}", body=ended, headers={"If-Match": made.headers["etag"]})
    assert gone.status_code == 200
    assert demo.get("gp", f"Goal?patient={demo.patient}").json()["total"] > 0


def test_nobody_opens_a_record_by_writing_themselves_in(demo: Gateway) -> None:
    """CareTeam, Task, ServiceRequest, generalPractitioner, PractitionerRole: none of it works for its own writer."""
    me, sam = f"Patient/{demo.patient}", demo.persona("stranger")["fhirUser"]
    tries = [
        {"resourceType": "CareTeam", "status": "active", "subject": {"reference": me}, "participant": [{"member": {"reference": sam}}]},
        {"resourceType": "Task", "status": "accepted", "intent": "order", "for": {"reference": me}, "owner": {"reference": sam}},
        {
            "resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": {"reference": me},
            "performer": [{"reference": sam}],
        },
        {"resourceType": "Practitioner", "active": True},
        {"resourceType": "PractitionerRole", "practitioner": {"reference": sam}},
        {"resourceType": "Organization", "name": "Mine"},
    ]  # fmt: skip
    for body in tries:
        assert demo.call("stranger", "POST", body["resourceType"], body=body).status_code in (403, 422)
    # the hospital may write, and names the stranger as having accepted: that does not open anything either
    for body in tries[:3]:
        demo.call("hospital", "POST", body["resourceType"], body=body)
    assert demo.get("stranger", f"CarePlan?patient={demo.patient}").json()["total"] == 0
    assert demo.get("stranger", f"Patient/{demo.patient}").status_code == 404
