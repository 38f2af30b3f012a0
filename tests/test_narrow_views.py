"""Less of a person for those outside care, and no place of somebody at risk: read, searched, edited. One real server, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Gateway, gateway

SECRETS = ("1 Secret Street", "07700 900001", "secret@example.org")
RISK = {"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}
IDENTITY = "https://fhir-gateway.example/StructureDefinition/identity-details"
HOME = {"reference": "Location/refuge", "display": "Rose House"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("views"), "--demo") as g:
        me = g.get("patient", f"Patient/{g.patient}")
        person = me.json() | {
            "telecom": [{"system": "phone", "value": SECRETS[1], "rank": 2}, {"system": "email", "value": SECRETS[2], "rank": 1}],
            "address": [{"line": [SECRETS[0]], "city": "Hiddenham", "postalCode": "ZZ1 1ZZ"}],
        }
        assert g.call("patient", "PUT", f"Patient/{g.patient}", body=person, headers={"If-Match": me.headers["etag"]}).status_code == 200
        yield g


def share(g: Gateway, who: str, *, identity: bool = False, actions: tuple[str, ...] = ()) -> str:
    """The person lets somebody see the plan (or what `actions` say), and (`identity`) who and where they are; the consent's id."""
    classes = [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in ("Patient", "RelatedPerson", "Goal", "Task")]
    if identity:
        classes.append({"system": "urn:ietf:rfc:3986", "code": IDENTITY})
    me = {"reference": f"Patient/{g.patient}"}
    rule = {
        "type": "permit", "class": classes,
        "actor": [{
            "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "reference": {"reference": g.persona(who)["fhirUser"]},
        }],
        "securityLabel": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}],
    }  # fmt: skip
    if actions:
        rule["action"] = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in actions]
    answer = g.call("patient", "POST", "Consent", body={
        "resourceType": "Consent", "status": "active", "patient": me, "performer": [me],
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [rule]},
    })  # fmt: skip
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def stop(g: Gateway, consent: str) -> None:
    now = g.get("patient", f"Consent/{consent}")
    body = now.json() | {"status": "inactive"}
    assert g.call("patient", "PUT", f"Consent/{consent}", body=body, headers={"If-Match": now.headers["etag"]}).status_code == 200


def meta(g: Gateway, who: str, what: str, ref: str) -> Any:
    sent = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [RISK]}}]}
    return g.call(who, "POST", f"{ref}/${what}", body=sent)


def test_a_befriender_gets_a_name_and_one_way_to_get_in_touch(house: Gateway) -> None:
    me = f"Patient/{house.patient}"
    assert house.get("link-worker", me).status_code == 404
    consent = share(house, "link-worker")
    seen = house.get("link-worker", me).json()
    assert seen["name"] and [t["value"] for t in seen["telecom"]] == [SECRETS[2]]
    assert not {"address", "birthDate", "identifier", "gender", "generalPractitioner"} & seen.keys()
    for query in ("address-city=Hiddenham", "phone=07700 900001", "address-postalcode=ZZ1 1ZZ", "birthdate=gt1900-01-01", "identifier:missing=false", "gender=female"):
        assert house.get("link-worker", f"Patient?_id={house.patient}&{query}").json()["total"] == 0, query
        assert house.get("gp", f"Patient?_id={house.patient}&{query}").json()["total"] == 1, query
    assert house.get("link-worker", f"Patient?_id={house.patient}&email={SECRETS[2]}").json()["total"] == 1
    assert house.get("link-worker", "Goal?patient.address-city=Hiddenham").json()["total"] == 0
    assert house.get("link-worker", "Goal?patient.name=a").json()["total"] >= 0
    whole = house.get("link-worker", f"{me}/$everything").text
    assert not any(s in whole for s in SECRETS[:2])
    found = house.get("link-worker", f"Goal?patient={house.patient}&_include=Goal:patient").text
    assert '"Patient"' in found and not any(s in found for s in SECRETS[:2])
    told = house.get("link-worker", f"Consent/$explain?what={me}").json()
    assert any("get in touch" in str(p.get("valueString")) for p in told["parameter"])
    stop(house, consent)
    consent = share(house, "link-worker", identity=True)
    assert house.get("link-worker", me).json()["address"]
    assert house.get("link-worker", f"Patient?_id={house.patient}&address-city=Hiddenham").json()["total"] == 1
    stop(house, consent)


def test_nobody_is_shown_where_somebody_at_risk_is(house: Gateway) -> None:
    me = f"Patient/{house.patient}"
    task = house.call("patient", "POST", "Task", body={
        "resourceType": "Task", "status": "draft", "intent": "plan", "description": "Visit", "for": {"reference": me}, "location": HOME,
    }).json()  # fmt: skip
    assert "location" in house.get("gp", f"Task/{task['id']}").json()
    assert meta(house, "patient", "meta-add", me).status_code == 200
    try:
        for who in ("gp", "social-worker", "proxy"):
            seen = house.get(who, me)
            if seen.status_code == 200:
                assert not {"address", "telecom", "generalPractitioner"} & seen.json().keys() and seen.json()["name"], who
                assert "location-protected" not in seen.text
            for path in (f"Task/{task['id']}", f"Task/{task['id']}/_history", f"Task/{task['id']}/_history/1", f"{me}/_history", f"{me}/$everything", f"Patient?_id={house.patient}"):
                said = house.get(who, path).text
                assert "refuge" not in said and "Rose House" not in said and not any(s in said for s in SECRETS), (who, path)
        plan = house.get("gp", f"/plans/{house.patient}", Accept="application/json").text
        assert not any(s in plan for s in SECRETS)
        for query in ("Patient?address-city=Hiddenham", "Patient?phone:missing=false", f"Patient?_id={house.patient}&general-practitioner:missing=false", "Task?patient.address-city=Hiddenham",
                      "Patient?_has:Task:patient:status=draft&address=1"):  # fmt: skip
            assert house.get("gp", query).json()["total"] == 0, query
        by_city = house.get("gp", "Patient?_sort=address-city&_elements=id").json()
        assert any(e["resource"]["id"] == house.patient for e in by_city["entry"])
        condition = house.call("gp", "PUT", "Patient?address-city=Hiddenham", body={"resourceType": "Patient", "active": True})
        assert condition.status_code != 200
        assert house.get("patient", me).json()["address"][0]["city"] == "Hiddenham", "the person sees it"
        consent = share(house, "gp", identity=True)
        assert house.get("gp", me).json()["address"], "and whom they name for it"
        stop(house, consent)
    finally:
        assert meta(house, "patient", "meta-delete", me).status_code == 200
    assert house.get("gp", me).json()["address"]


def test_nobody_is_shown_which_practice_somebody_at_risk_is_with(house: Gateway) -> None:
    """consent.md: *location-protected* (no address, telecom, GP, nor places ...; for people at risk)."""
    me = f"Patient/{house.patient}"
    (ods,) = [r["identifier"] for r in house.get("patient", me).json()["generalPractitioner"]]
    (surgery,) = [e["resource"] for e in house.get("gp", f"Organization?identifier={ods['system']}|{ods['value']}").json()["entry"]]
    practice, doctor = f"Organization/{surgery['id']}", house.persona("gp")["fhirUser"]
    names = {practice, ods["value"], surgery["name"], doctor}
    team = next(e["resource"] for e in house.get("patient", f"CareTeam?patient={house.patient}").json()["entry"] if e["resource"].get("participant"))
    link = [{"member": {"reference": practice, "display": surgery["name"]}}, {"member": {"reference": doctor}, "onBehalfOf": {"identifier": ods}}]
    now = house.get("patient", f"CareTeam/{team['id']}")
    with_them = {**now.json(), "participant": [*now.json()["participant"], *link]}
    assert house.call("patient", "PUT", f"CareTeam/{team['id']}", body=with_them, headers={"If-Match": now.headers["etag"]}).status_code == 200
    visit = house.call("hospital", "POST", "Encounter", body={
        "resourceType": "Encounter", "status": "finished", "class": {"code": "HH"}, "subject": {"reference": me}, "serviceProvider": {"reference": practice},
        "contained": [{"resourceType": "Organization", "id": "s", "identifier": [ods], "name": surgery["name"]}],
        "participant": [{"individual": {"type": "Practitioner", "display": surgery["name"]}}, {"individual": {"reference": doctor}}],
        "extension": [{"url": "urn:x", "valueReference": {"identifier": ods}}, {"url": "urn:y", "valueReference": {"reference": "#s"}}, {"url": "urn:z", "valueIdentifier": ods}],
    })  # fmt: skip
    assert visit.status_code == 201, visit.text
    seeing = f"Encounter/{visit.headers['location'].split('/Encounter/')[1].split('/')[0]}"
    searches = (
        f"CareTeam?patient={house.patient}&participant={practice}", f"CareTeam?patient={house.patient}&participant={doctor}",
        f"CareTeam?patient={house.patient}&participant:Organization.name={surgery['name']}", f"Encounter?patient={house.patient}&participant={doctor}",
        f"CareTeam?patient={house.patient}&participant:identifier={ods['system']}|{ods['value']}",
    )  # fmt: skip
    for query in searches[:4]:
        assert house.get("social-worker", query).json()["total"] >= 1, query
    before = {q: house.get("gp", q).json()["total"] for q in searches}
    assert meta(house, "patient", "meta-add", me).status_code == 200
    try:
        for query in searches:
            assert house.get("social-worker", query).json()["total"] == 0, query
            assert house.get("gp", query).json()["total"] == before[query], "the practice finds its own work"
        of_the_team = house.get("social-worker", f"Organization?_has:CareTeam:participant:patient={house.patient}&_id={surgery['id']}").json()
        assert of_the_team["total"] == 0
        for who in ("social-worker", "proxy"):  # the hospital wrote of the practice itself: its own versions it knows
            for path in (
                f"CareTeam/{team['id']}", f"CareTeam/{team['id']}/_history", f"CareTeam?patient={house.patient}&_include=CareTeam:participant&_include=*",
                f"Task?patient={house.patient}", seeing, f"{seeing}/_history/1", me, f"{me}/_history", f"{me}/$everything?_type=CareTeam,Task,Encounter,Patient,CarePlan,Goal",
                f"{me}/$everything?_count=200",
            ):  # fmt: skip
                said = house.get(who, path)
                assert said.status_code == 404 or not [n for n in names if n in said.text], (who, path, [n for n in names if n in said.text])
            plan = house.get(who, f"/plans/{house.patient}", Accept="application/json")
            assert plan.status_code == 404 or not [n for n in (ods["value"], surgery["name"]) if n in plan.text], who
        stored = house.get("patient", f"CareTeam/{team['id']}").json()
        seen = house.get("social-worker", f"CareTeam/{team['id']}")
        assert len(seen.json()["participant"]) == len(stored["participant"]), "nobody is left out, so that their number says nothing"
        edited = house.call("social-worker", "PUT", f"CareTeam/{team['id']}", body={**seen.json(), "name": "Round Harold"}, headers={"If-Match": seen.headers["etag"]})
        assert edited.status_code == 200 and not [n for n in names if n in edited.text], edited.text
        after = house.get("patient", f"CareTeam/{team['id']}").json()
        assert after["participant"] == stored["participant"] and after["name"] == "Round Harold"
        patch = [{"op": "add", "path": "/participant/0/period", "value": {"start": "2026-01-01"}}]
        again = house.call("social-worker", "PATCH", f"CareTeam/{team['id']}", body=patch, headers={"If-Match": edited.headers["etag"], "Content-Type": "application/json-patch+json"})
        assert again.status_code == 200, again.text
        now_there = house.get("patient", f"CareTeam/{team['id']}").json()["participant"]
        assert [{k: v for k, v in p.items() if k != "period"} for p in now_there] == [{k: v for k, v in p.items() if k != "period"} for p in stored["participant"]]
        oracle = house.call("social-worker", "PATCH", f"CareTeam/{team['id']}", body=[{"op": "test", "path": f"/participant/{len(stored['participant']) - 2}/member/reference", "value": practice}],
                            headers={"If-Match": again.headers["etag"], "Content-Type": "application/json-patch+json"})  # fmt: skip
        assert oracle.status_code == 422 or oracle.status_code == 400, oracle.text
    finally:
        assert meta(house, "patient", "meta-delete", me).status_code == 200
    for query in searches[:4]:
        assert house.get("social-worker", query).json()["total"] >= 1, "and found again"


texts = st.sampled_from(["Ann", "Bea", "Cy"])
edits = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(["gender", "name", "telecom", "address", "active"]), texts),
    st.tuples(st.just("json"), st.sampled_from(["/gender", "/name/0/text", "/active"]), texts),
    st.tuples(st.just("fhirpath"), st.sampled_from(["Patient.gender", "Patient.active"]), texts),
)
VALUES: dict[str, Any] = {"gender": "other", "active": True}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits)
def test_an_edit_by_somebody_who_is_shown_less_loses_nothing_they_were_not_shown(house: Gateway, edit: tuple[str, str, str]) -> None:
    me = f"Patient/{house.patient}"
    way, where, text = edit
    meta(house, "patient", "meta-add", me)
    before = house.get("patient", me).json()
    now = house.get("gp", me)
    match = {"If-Match": now.headers["etag"]}
    if way == "put":
        new = {"name": [{"text": text, "family": text}], "telecom": [{"system": "sms", "value": text}], "address": [{"city": text}]} | VALUES
        answer = house.call("gp", "PUT", me, body={**now.json(), where: new[where]}, headers=match)
    elif way == "json":
        value = VALUES.get(where.split("/")[1], text)
        patch: Any = [{"op": "add", "path": where, "value": value}]
        answer = house.call("gp", "PATCH", me, body=patch, headers={**match, "Content-Type": "application/json-patch+json"})
    else:
        name = where.split(".")[1]
        kind = "valueBoolean" if name == "active" else "valueCode"
        parts = [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"}, {"name": "name", "valueString": name}, {"name": "value", kind: VALUES[name]}]
        answer = house.call("gp", "PATCH", me, body={"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}, headers=match)
    assert answer.status_code in (200, 422), answer.text
    assert not any(s in answer.text for s in SECRETS)
    after = house.get("patient", me).json()
    touched = where.strip("/").split("/")[0].removeprefix("Patient.")
    for name in before.keys() | after.keys():
        if name in ("meta", touched):
            continue
        assert after.get(name) == before.get(name), name
    for name in ("address", "telecom"):
        assert all(entry in after[name] for entry in before[name]), "what was not shown is still there"
    assert json.dumps(RISK["code"]) in json.dumps(after["meta"])


def test_a_relative_at_risk_themselves_is_not_found_where_they_are(house: Gateway) -> None:
    """consent.md: Patient and RelatedPerson have two more views."""
    me = {"reference": f"Patient/{house.patient}"}
    meta(house, "patient", "meta-delete", me["reference"])  # the person themself is at no risk now
    body = {"resourceType": "RelatedPerson", "patient": me, "name": [{"family": "Elsewhere"}], "address": [{"city": "Farham", "postalCode": "QQ9 9QQ"}], "telecom": [{"system": "phone", "value": "07700 900777"}]}
    made = house.call("patient", "POST", "RelatedPerson", body=body)
    assert made.status_code == 201, made.text
    ref = f"RelatedPerson/{made.json()['id']}"
    assert house.get("gp", ref).json()["address"]
    assert house.get("gp", "RelatedPerson?address-postalcode=QQ9 9QQ").json()["total"] == 1
    assert meta(house, "patient", "meta-add", ref).status_code == 200
    for who in ("gp", "social-worker"):
        seen = house.get(who, ref)
        assert seen.status_code == 200 and seen.json()["name"] and not {"address", "telecom"} & seen.json().keys(), who
        assert "stays hidden" in house.get(who, f"Consent/$explain?what={ref}").text, who
        for query in ("address-postalcode=QQ9 9QQ", "address-city=Farham", "phone=07700 900777"):
            assert house.get(who, f"RelatedPerson?{query}").json()["total"] == 0, (who, query)
    assert house.get("patient", ref).json()["address"]
    assert meta(house, "patient", "meta-delete", ref).status_code == 200
    assert house.get("gp", "RelatedPerson?address-postalcode=QQ9 9QQ").json()["total"] == 1


def test_a_person_contained_elsewhere_is_cut_to_the_contact_view_too(house: Gateway) -> None:
    me = {"reference": f"Patient/{house.patient}"}
    meta(house, "patient", "meta-delete", me["reference"])
    body = {
        "resourceType": "Task", "status": "draft", "intent": "plan", "for": me, "requester": {"reference": "#p"}, "owner": {"reference": "#r"},
        "contained": [
            {"resourceType": "Patient", "id": "p", "name": [{"family": "Shown"}], "birthDate": "1931-01-31", "address": [{"city": "Containham"}],
             "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9000000009"}]},
            {"resourceType": "RelatedPerson", "id": "r", "patient": me, "birthDate": "1931-01-31", "name": [{"family": "Shown"}]},
            {"resourceType": "Person", "id": "q", "name": [{"family": "Shown too"}], "birthDate": "1931-01-31", "address": [{"city": "Containham"}],
             "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9000000009"}]},
        ],
        "extension": [{"url": "urn:x", "valueReference": {"reference": "#q"}}],
    }  # fmt: skip
    made = house.call("patient", "POST", "Task", body=body)
    assert made.status_code == 201, made.text
    consent = share(house, "link-worker")
    try:
        for path in (f"Task/{made.json()['id']}", f"Task?_id={made.json()['id']}"):
            seen = house.get("link-worker", path).text
            assert "Shown" in seen and "Shown too" in seen and not any(s in seen for s in ("1931", "Containham", "9000000009")), path
            assert "Containham" in house.get("gp", path).text
    finally:
        stop(house, consent)


def test_a_focus_by_nhs_number_is_neither_shown_nor_found(house: Gateway) -> None:
    number = {"system": "https://fhir.hl7.org.uk/Id/nhs-number", "value": "9000000009"}
    made = house.call("patient", "POST", "Observation", body={
        "resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{house.patient}"},
        "focus": [{"identifier": number, "display": "Mum"}],
    })  # fmt: skip
    assert made.status_code == 201, made.text
    seen = house.get("gp", f"Observation/{made.json()['id']}")
    assert seen.status_code == 200 and "9000000009" not in seen.text and "Mum" not in seen.text
    query = f"Observation?focus:identifier={number['system']}|{number['value']}"
    assert house.get("gp", query).json()["total"] == 0 and house.get("patient", query).json()["total"] == 1
