"""Bad input gets its clear answer and changes nothing."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_gateway.auth.demo import demo_token
from fhir_gateway.auth.keys import ring
from fhir_gateway.auth.tokens import mint
from fhir_gateway.store import sqlite

from .conftest import Gateway


def goal(patient: str, **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Sing"},
        "subject": {"reference": f"Patient/{patient}"},
    } | changes  # fmt: skip


def count(demo: Gateway) -> int:
    return int(demo.get("patient", f"Goal?patient={demo.patient}&_total=accurate").json()["total"])


def refused(demo: Gateway, status: int, where: str, **call: Any) -> dict[str, Any]:
    before = count(demo)
    answer = demo.call("patient", call.pop("method", "POST"), call.pop("path", "Goal"), **call)
    assert answer.status_code == status, answer.text
    outcome: dict[str, Any] = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert any(where in (i.get("expression") or [""])[0] for i in outcome["issue"]), outcome
    assert all(i["diagnostics"] for i in outcome["issue"])
    assert count(demo) == before
    return outcome


def test_wrong_type(demo: Gateway) -> None:
    refused(demo, 422, "Goal.lifecycleStatus", body=goal(demo.patient, lifecycleStatus=7))


def test_unknown_code(demo: Gateway) -> None:
    outcome = refused(demo, 422, "Goal.lifecycleStatus", body=goal(demo.patient, lifecycleStatus="bogus"))
    assert "`bogus`" in outcome["issue"][0]["diagnostics"]


@pytest.mark.parametrize("day", ["٢٠٢٦-٠١-٠١", "２０２６", "2026-11-1１"])
def test_a_date_in_the_digits_of_another_script(demo: Gateway, day: str) -> None:
    refused(demo, 422, "Goal.startDate", body=goal(demo.patient, startDate=day))


def test_missing_subject(demo: Gateway) -> None:
    body = goal(demo.patient)
    del body["subject"]
    refused(demo, 422, "Goal", body=body)


def test_every_problem_at_once(demo: Gateway) -> None:
    outcome = refused(demo, 422, "Goal", body=goal(demo.patient, lifecycleStatus="bogus", startDate="tomorrow", zzz=1))
    assert len(outcome["issue"]) >= 3


def test_another_patients_reference(demo: Gateway) -> None:
    refused(demo, 422, "Goal.subject", body=goal("0198c0de-0000-7000-8000-000000000000"))


def test_moving_to_another_person(demo: Gateway) -> None:
    made = demo.call("patient", "POST", "Goal", body=goal(demo.patient))
    moved = {**made.json(), "subject": {"reference": "Patient/0198c0de-0000-7000-8000-000000000000"}}
    answer = demo.call("patient", "PUT", f"Goal/{made.json()['id']}", body=moved, headers={"If-Match": made.headers["etag"]})
    assert answer.status_code == 422


@pytest.mark.parametrize("match, status", [(None, 400), ('W/"99"', 412), ('"nonsense"', 400)])
def test_stale_or_missing_if_match(demo: Gateway, match: str | None, status: int) -> None:
    made = demo.call("patient", "POST", "Goal", body=goal(demo.patient))
    where = f"Goal/{made.json()['id']}"
    changed = made.json() | {"description": {"text": "Dance"}}
    answer = demo.call("patient", "PUT", where, body=changed, headers={"If-Match": match} if match else {})
    assert answer.status_code == status, answer.text
    assert demo.get("patient", where).content == made.content


def test_duplicate_key(demo: Gateway) -> None:
    refused(demo, 400, "", raw=b'{"resourceType":"Goal","lifecycleStatus":"active","lifecycleStatus":"active"}')


def test_six_mebibytes(demo: Gateway) -> None:
    big = json.dumps(goal(demo.patient, note=[{"text": "x" * (6 * 1024 * 1024)}])).encode()
    refused(demo, 413, "", raw=big)


def test_no_token_and_bad_tokens(demo: Gateway) -> None:
    good = demo.persona("patient")["token"]
    assert demo.get(None, "Goal").status_code == 401
    for bad in ["nonsense", good[:-6] + "AAAAAA", good + "x"]:
        answer = demo.call(None, "GET", "Goal", headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "method, path, headers, status",
    [
        ("GET", "Plan", {}, 404),
        ("GET", "Goal/$frobnicate", {}, 404),
        ("PATCH", "Goal", {}, 405),
        ("GET", "Goal", {"Accept": "application/fhir+xml"}, 406),
        ("POST", "Goal", {"Content-Type": "application/fhir+xml"}, 415),
        ("GET", "Goal?_count=-1", {}, 400),
        ("GET", "Goal?lifecycle-status:bogus=active", {}, 400),
        ("GET", "Goal?start-date=never", {}, 400),
        ("GET", f"Goal?_id={'x' * 17_000}", {}, 414),
    ],
)
def test_addresses_and_media(demo: Gateway, method: str, path: str, headers: dict[str, str], status: int) -> None:
    raw = b"{}" if method in ("POST", "PATCH") else None
    answer = demo.call("patient", method, path, headers=headers, raw=raw)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_unknown_parameter_is_named_only_when_strict(demo: Gateway) -> None:
    lenient = demo.get("patient", f"Goal?patient={demo.patient}&bogus=1")
    assert lenient.status_code == 200
    assert "bogus" not in next(link["url"] for link in lenient.json()["link"] if link["relation"] == "self")
    assert demo.get("patient", f"Goal?patient={demo.patient}&bogus=1", Prefer="handling=strict").status_code == 400


def test_a_professional_writes_no_consent(demo: Gateway) -> None:
    consent = {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{demo.patient}"},
        "policy": [{"uri": "https://example.org/policy"}],
        "provision": {"type": "permit"},
    }  # fmt: skip
    for who in ("gp", "link-worker", "hospital", "stranger"):
        assert demo.call(who, "POST", "Consent", body=consent).status_code == 403


async def minted(demo: Gateway, who: str, scopes: str | None = None, ago: int = 0) -> str:
    """A token of this persona from the gateway's own key, as it would be with other scopes or some minutes older."""
    store = await sqlite.open(demo.data / "gateway.sqlite")
    try:
        at = datetime.now(UTC) - timedelta(minutes=ago)
        audience = f"{demo.base}/fhir"
        _, caller = await demo_token(
            store, who, issuer=demo.base, audience=audience, at=at, jti=f"t-{who}-{ago}-{scopes}", life=timedelta(minutes=15)
        )
        if scopes is not None:
            caller = replace(caller, scopes=scopes)
        return mint((await ring(store, datetime.now(UTC))).signer, caller, audience, at)
    finally:
        await store.close()


async def test_an_expired_token(demo: Gateway) -> None:
    bearer = {"Authorization": f"Bearer {await minted(demo, 'patient', ago=30)}"}
    before = count(demo)
    answer = demo.call(None, "POST", "Goal", body=goal(demo.patient), headers=bearer)
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert count(demo) == before


@pytest.mark.parametrize(
    "scopes, method, path, status",
    [
        ("patient/Goal.r", "GET", "Goal", 403),
        ("patient/Goal.s", "GET", "CarePlan", 403),
        ("patient/Goal.rs", "POST", "Goal", 403),
        ("patient/Goal.cruds", "GET", "Goal", 200),
        ("openid", "GET", "Goal/0198c0de-0000-7000-8000-000000000000", 403),
    ],
)
async def test_the_wrong_scope(demo: Gateway, scopes: str, method: str, path: str, status: int) -> None:
    bearer = {"Authorization": f"Bearer {await minted(demo, 'patient', scopes)}"}
    before = count(demo)
    answer = demo.call(None, method, path, body=goal(demo.patient) if method == "POST" else None, headers=bearer)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert re.search(r'error="insufficient_scope", scope="(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.[cruds]"', answer.headers["www-authenticate"])
    assert count(demo) == before


def test_a_number_beyond_all_bounds(demo: Gateway) -> None:
    huge = b'{"plan": "1", "id": "x", "person": {"name": {"family": "B"}}, "x_big": 1e99999999999999999999}'
    assert demo.call("patient", "POST", "/plans", raw=huge, headers={"Content-Type": "application/json"}).status_code == 400
    assert demo.call("patient", "POST", "Goal", raw=b'{"resourceType":"Goal","x":1e99999999999999999999}').status_code in (400, 422)


@pytest.mark.parametrize("path", ["/patients/find", "/patients/{p}/facts", "/plans", "Patient/$validate", "Goal"])
def test_a_body_nested_without_end(demo: Gateway, path: str) -> None:
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = demo.call("gp", "POST", path.format(p=demo.patient), raw=deep, headers={"Content-Type": "application/json"} if path[0] == "/" else None)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "9" * 310, "9" * 5000, "9" * 5000 + ".5", "0." + "3" * 400, "0e99999"])
def test_a_number_that_other_readers_cannot_hold_is_refused_and_named(demo: Gateway, number: str) -> None:
    """They would read infinity, or nothing at all: the record it stood in could be opened by nobody."""
    extension = [{"url": "http://example.org/e", "valueDecimal": 0.125}]
    for who, method, path, body in (
        ("patient", "POST", "Goal", goal(demo.patient, extension=extension)),
        ("gp", "POST", "RelatedPerson", {"resourceType": "RelatedPerson", "patient": {"reference": f"Patient/{demo.patient}"}, "extension": extension}),
        ("patient", "POST", "Goal/$validate", goal(demo.patient, extension=extension)),
    ):
        answer = demo.call(who, method, path, raw=json.dumps(body).replace("0.125", number).encode())
        assert answer.status_code == 400, answer.text
        said = answer.json()["issue"][0]["diagnostics"]
        assert "number" in said and (len(number) >= 5000 or (f"`{number[:40]}" in said and "line 1, column" in said)), said


@pytest.mark.parametrize(
    "media, status",
    [("application/fhir+xml", 415), ("application/fhir+json; fhirVersion=3.0", 415), ("application/fhir+json; charset=latin-1", 415)],
)
def test_media_that_is_not_ours(demo: Gateway, media: str, status: int) -> None:
    refused(demo, status, "Content-Type", body=goal(demo.patient), headers={"Content-Type": media})


def test_rules_that_change_the_meaning(demo: Gateway) -> None:
    refused(demo, 422, "implicitRules", body=goal(demo.patient, implicitRules="https://example.org/rules"))


MODIFIED = {"modifierExtension": [{"url": "https://example.org/only-if-she-agrees", "valueBoolean": True}]}


@pytest.mark.parametrize(
    ("bundle", "entry", "request_", "where"),
    [
        ({"implicitRules": "https://example.org/rules"}, {}, {}, "Bundle.implicitRules"),
        ({}, MODIFIED, {}, "Bundle.entry[0].modifierExtension[0]"),
        ({}, {}, MODIFIED, "Bundle.entry[0].request.modifierExtension[0]"),
        ({}, {"search": MODIFIED}, {}, "Bundle.entry[0].search.modifierExtension[0]"),
        ({}, {"link": [{"relation": "self", "url": "urn:x", **MODIFIED}]}, {}, "Bundle.entry[0].link[0].modifierExtension[0]"),
    ],
)
def test_what_changes_the_meaning_of_a_request_in_a_bundle_is_not_passed_over(
    demo: Gateway, bundle: dict[str, Any], entry: dict[str, Any], request_: dict[str, Any], where: str
) -> None:
    """https://hl7.org/fhir/R4/extensibility.html#modifierExtension"""
    sent = {
        "resourceType": "Bundle", "type": "transaction", **bundle,
        "entry": [{"resource": goal(demo.patient), "request": {"method": "POST", "url": "Goal", **request_}, **entry}],
    }  # fmt: skip
    said = refused(demo, 422, where, path="", body=sent)
    assert [i["expression"] for i in said["issue"]] == [[where]]


def test_in_a_batch_only_the_entry_whose_meaning_is_changed_is_refused(demo: Gateway) -> None:
    before = count(demo)
    plain = {"resource": goal(demo.patient), "request": {"method": "POST", "url": "Goal"}}
    answer = demo.call("patient", "POST", "", body={"resourceType": "Bundle", "type": "batch", "entry": [{**plain, **MODIFIED}, plain]})
    first, second = (e["response"] for e in answer.json()["entry"])
    assert first["status"].startswith("422") and first["outcome"]["issue"][0]["expression"] == ["Bundle.entry[0].modifierExtension[0]"]
    assert second["status"].startswith("201") and count(demo) == before + 1
    assert demo.call("patient", "DELETE", second["location"].split("/_history")[0], headers={"If-Match": second["etag"]}).status_code == 204


def test_what_changes_the_meaning_of_a_parameter_is_not_passed_over(demo: Gateway) -> None:
    where = "Parameters.parameter[0].part[2].valueTiming.modifierExtension[0]"
    one = demo.call("patient", "POST", "Goal", body=goal(demo.patient)).json()["id"]
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Goal.lifecycleStatus"}, {"name": "value", "valueCode": "completed"}]
    for operation, at in (
        ({"name": "operation", "part": parts, **MODIFIED}, "Parameters.parameter[0].modifierExtension[0]"),
        ({"name": "operation", "part": [*parts[:2], {**parts[2], **MODIFIED}]}, "Parameters.parameter[0].part[2].modifierExtension[0]"),
        ({"name": "operation", "part": [*parts[:2], {"name": "value", "valueTiming": MODIFIED}]}, where),
    ):
        refused(demo, 422, at, method="PATCH", path=f"Goal/{one}", body={"resourceType": "Parameters", "parameter": [operation]})
    assert demo.get("patient", f"Goal/{one}").json()["lifecycleStatus"] == "active"
    asked = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "Practitioner/x", **MODIFIED}]}
    for path in ("Goal/$validate", "Consent/$explain", "Consent/$preview", f"Goal/{one}/$meta-add", "Questionnaire/$populate", "QuestionnaireResponse/$extract"):
        refused(demo, 422, "Parameters.parameter[0].modifierExtension[0]", path=path, body=asked)
    rules = {"resourceType": "Parameters", "implicitRules": "https://example.org/rules", "parameter": [{"name": "operation", "part": parts}]}
    refused(demo, 422, "Parameters.implicitRules", method="PATCH", path=f"Goal/{one}", body=rules)
    assert demo.call("patient", "DELETE", f"Goal/{one}", headers={"If-Match": 'W/"1"'}).status_code == 204


def test_nothing_whose_meaning_an_extension_changes_is_kept(demo: Gateway) -> None:
    """So no page, paper, document, alert or report has it as if it were plain: whoever sent it is told where it stands."""
    of = {"subject": {"reference": f"Patient/{demo.patient}"}}
    within: list[tuple[str, dict[str, Any], str]] = [
        ("Goal", {"lifecycleStatus": "active", "description": {"text": "x"}, "target": [{"dueDate": "2027-01-01", **MODIFIED}]}, "target[0]."),
        ("Goal", {"lifecycleStatus": "active", "description": {"text": "x"}, "contained": [{"resourceType": "Condition", "id": "c", **of, **MODIFIED}]}, "contained[0]."),
        ("CarePlan", {"status": "active", "intent": "plan", "activity": [{"detail": {"status": "not-started", **MODIFIED}}]}, "activity[0].detail."),
        ("MedicationStatement", {"status": "active", "medicationCodeableConcept": {"text": "x"}, "dosage": [{"text": "One", **MODIFIED}]}, "dosage[0]."),
        ("MedicationRequest", {"status": "active", "intent": "order", "medicationCodeableConcept": {"text": "x"}, **MODIFIED}, ""),
        ("Condition", {"code": {"text": "x"}, **MODIFIED}, ""),
        ("Observation", {"status": "final", "code": {"text": "x"}, "component": [{"code": {"text": "y"}, **MODIFIED}]}, "component[0]."),
        ("QuestionnaireResponse", {"status": "completed", "item": [{"linkId": "1", **MODIFIED}]}, "item[0]."),
    ]
    for type, more, at in within:
        answer = demo.call("patient", "POST", type, body={"resourceType": type, **of, **more})
        assert answer.status_code == 422, answer.text
        assert f"{type}.{at}modifierExtension[0]" in {i["expression"][0] for i in answer.json()["issue"] if i["code"] == "extension"}, answer.text


def test_no_text_of_the_json_parsing_suite_is_more_than_refused(demo: Gateway, shared: Path) -> None:
    """Through the real server: every `reject` is a 4xx, nothing is a 5xx, and nothing of it is kept."""
    before = count(demo)
    cases = [json.loads(line) for line in (shared / "suites/json-parsing.jsonl").read_text().splitlines()]
    sent = {"Authorization": f"Bearer {demo.persona('patient')['token']}", "Content-Type": "application/fhir+json"}
    with httpx2.Client(headers=sent, timeout=30) as client:
        for case in cases:
            status = client.post(f"{demo.base}/fhir/Goal", content=base64.b64decode(case["b64"])).status_code
            assert status in (400, 413, 422), (case["name"], status)  # none of them is a Goal
    assert len(cases) == 318 and count(demo) == before
    assert demo.get(None, "/health").status_code == 200


def test_a_plan_is_changed_only_as_it_was_read_where_its_writer_says_so(demo: Gateway) -> None:
    """Without the name of what was read, a copy of yesterday takes out what the person wrote since."""
    JSON = {"Content-Type": "application/json"}
    read = demo.get("gp", f"/plans/{demo.patient}")
    tag = read.headers["ETag"]
    assert demo.get("gp", f"/plans/{demo.patient}").headers["ETag"] == tag, "the same as long as nothing changed"
    hers = demo.get("patient", f"/plans/{demo.patient}").json()
    hers["goals"].append({"id": "g-since", "text": "Written since", "status": "in progress"})
    assert demo.call("patient", "POST", "/plans", body=hers, headers=JSON).status_code == 201
    old = {**read.json(), "title": "Changed by the GP"}
    for said in (tag, f"W/{tag}", '"7"', "*", ""):
        refused = demo.call("gp", "POST", "/plans", body=old, headers={**JSON, "If-Match": said})
        assert refused.status_code == 412 and "Written since" not in refused.text, (said, refused.text)
    assert "Written since" in demo.get("patient", f"/plans/{demo.patient}").text
    now = demo.get("gp", f"/plans/{demo.patient}")
    assert demo.call("gp", "POST", "/plans", body={**now.json(), "title": "Changed by the GP"}, headers={**JSON, "If-Match": now.headers["ETag"]}).status_code == 201
    assert demo.get("patient", f"/plans/{demo.patient}").json()["title"] == "Changed by the GP"
    assert "Written since" in demo.get("patient", f"/plans/{demo.patient}").text
