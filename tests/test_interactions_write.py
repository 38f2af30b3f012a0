"""PATCH, conditions and Bundles as an outsider uses them, and what they may never tell. One real server."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from .conftest import Gateway
from .test_bad_input import minted
from .test_hidden import NOBODY, same

JSON_PATCH = "application/json-patch+json"
URN = "urn:uuid:11111111-1111-4111-8111-11111111111{}"


def goal(demo: Gateway, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "identifier": [{"system": "urn:test", "value": name}], "lifecycleStatus": "active",
        "description": {"text": "Sing"}, "subject": {"reference": f"Patient/{demo.patient}"},
    } | changes  # fmt: skip


def made(demo: Gateway, name: str, who: str = "patient", **changes: Any) -> dict[str, Any]:
    answer = demo.call(who, "POST", "Goal", body=goal(demo, name, **changes))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def patched(demo: Gateway, who: str, where: str, operations: Any, match: str | None = 'W/"1"', **headers: str) -> Any:
    sent = {"Content-Type": JSON_PATCH, **headers, **({"If-Match": match} if match else {})}
    return demo.call(who, "PATCH", where, body=operations, headers=sent)


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def found(demo: Gateway, name: str, who: str = "patient") -> list[dict[str, Any]]:
    return [e["resource"] for e in demo.get(who, f"Goal?identifier=urn:test|{name}").json().get("entry", [])]


def outcome(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said["resourceType"] == "OperationOutcome" and all(i["diagnostics"] for i in said["issue"])
    return said


# -- PATCH ------------------------------------------------------------------------------------------------------------


def test_a_json_patch_changes_what_it_names(demo: Gateway) -> None:
    one = made(demo, "p1", target=[{"measure": {"text": "x"}, "detailQuantity": {"value": 1.5}}])
    raw = b'[{"op":"test","path":"/lifecycleStatus","value":"active"},{"op":"replace","path":"/description/text","value":"Dance"},' \
        b'{"op":"add","path":"/target/0/detailQuantity/value","value":2.50}]'  # fmt: skip
    done = demo.call("patient", "PATCH", f"Goal/{one['id']}", raw=raw, headers={"Content-Type": JSON_PATCH, "If-Match": 'W/"1"'})
    assert done.status_code == 200 and done.headers["etag"] == 'W/"2"' and "last-modified" in done.headers
    assert b'"value":2.50' in done.content and done.json()["description"] == {"text": "Dance"}
    assert demo.get("patient", f"Goal/{one['id']}").content == done.content
    assert demo.get("patient", f"Goal/{one['id']}/_history").json()["entry"][0]["request"]["method"] in ("PATCH", "PUT")


def test_a_fhirpath_patch_changes_what_it_names(demo: Gateway) -> None:
    one = made(demo, "p2")
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "operation", "part": [
            {"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Goal"}, {"name": "name", "valueString": "note"},
            {"name": "value", "valueAnnotation": {"text": "Well done"}},
        ]}],
    }  # fmt: skip
    done = demo.call("patient", "PATCH", f"Goal/{one['id']}", body=parameters, headers={"If-Match": 'W/"1"'})
    assert done.status_code == 200, done.text
    assert done.json()["note"] == [{"text": "Well done"}] and done.json()["meta"]["versionId"] == "2"


def test_an_edit_by_a_filtered_reader_leaves_what_they_were_not_shown(demo: Gateway) -> None:
    addressed = {"reference": f"Condition/{NOBODY}", "display": "what nobody else is told"}
    one = made(demo, "p3", addresses=[addressed], note=[{"text": "mine"}])
    seen = demo.get("gp", f"Goal/{one['id']}").json()
    assert seen["addresses"] == [{"reference": f"Condition/{NOBODY}"}]
    done = patched(demo, "gp", f"Goal/{one['id']}", [{"op": "add", "path": "/note/-", "value": {"text": "theirs"}}])
    assert done.status_code == 200, done.text
    assert "display" not in done.text and "display" not in demo.get("gp", f"Goal/{one['id']}").text
    put = demo.call("gp", "PUT", f"Goal/{one['id']}", body={**done.json(), "note": [{"text": "mine"}]}, headers={"If-Match": 'W/"2"'})
    assert put.status_code == 200 and "display" not in put.text and "display" not in demo.get("gp", f"Goal/{one['id']}/_history").text
    whole = demo.get("patient", f"Goal/{one['id']}").json()
    assert whole["addresses"] == [addressed] and whole["note"] == [{"text": "mine"}]


def test_a_test_of_what_was_not_shown_tells_nothing(demo: Gateway) -> None:
    one = made(demo, "p4", addresses=[{"reference": f"Condition/{NOBODY}", "display": "secret"}])
    answers = [
        patched(demo, "gp", f"Goal/{one['id']}", [{"op": "test", "path": "/addresses/0/display", "value": v}, replace("/id", one["id"])])
        for v in ("secret", "guess")
    ]
    assert [a.status_code for a in answers] == [422, 422] and answers[0].content == answers[1].content
    moved = patched(demo, "gp", f"Goal/{one['id']}", [{"op": "copy", "from": "/addresses/0/display", "path": "/description/text"}])
    outcome(moved, 422)


def test_what_the_server_sets_and_whose_record_it_is_cannot_be_patched(demo: Gateway) -> None:
    one = made(demo, "p5")
    for path, value in (
        ("/id", "x"), ("/meta/versionId", "99"), ("/meta/lastUpdated", "2020-01-01T00:00:00Z"), ("/resourceType", "Consent"),
        ("/subject/reference", f"Patient/{NOBODY}"),
    ):  # fmt: skip
        assert patched(demo, "patient", f"Goal/{one['id']}", [replace(path, value)]).status_code in (400, 422), path
    assert demo.get("patient", f"Goal/{one['id']}").json() == one


@pytest.mark.parametrize("match, status", [(None, 400), ('W/"99"', 412), ('"x"', 400)])
def test_a_patch_says_which_version_it_saw(demo: Gateway, match: str | None, status: int) -> None:
    one = made(demo, f"p6-{status}-{match}")
    outcome(patched(demo, "patient", f"Goal/{one['id']}", [replace("/description/text", "x")], match), status)


@pytest.mark.parametrize(
    "raw, media, status",
    [
        (b'{"op":"add"}', JSON_PATCH, 400), (b"[", JSON_PATCH, 400), (b"", JSON_PATCH, 400), (b"[" * 5_000, JSON_PATCH, 400),
        (b'[{"op":"add","op":"remove","path":"/x"}]', JSON_PATCH, 400), (b'[{"op":"add","path":"/activity/999","value":{}}]', JSON_PATCH, 422),
        (b'[{"op":"test","path":"/lifecycleStatus","value":"nope"}]', JSON_PATCH, 422), (b'[{"op":"add","path":"/zzz","value":1}]', JSON_PATCH, 422),
        (b"[" + b'{"op":"test","path":"/lifecycleStatus","value":"active"},' * 9_999 + b'{"op":"test","path":"/a"}]', JSON_PATCH, 413),
        (b"[]", "application/fhir+json", 400), (b'{"resourceType":"Goal"}', "application/fhir+json", 400), (b"[]", "text/plain", 415),
        (b"<diff/>", "application/xml-patch+xml", 415), (b'{"resourceType":"Parameters","parameter":[{"name":"x"}]}', "application/json", 400),
    ],
)  # fmt: skip
def test_a_bad_patch_is_refused_and_changes_nothing(demo: Gateway, raw: bytes, media: str, status: int) -> None:
    one = made(demo, f"bad-{hash((raw, media))}")
    outcome(demo.call("patient", "PATCH", f"Goal/{one['id']}", raw=raw, headers={"Content-Type": media, "If-Match": 'W/"1"'}), status)
    assert demo.get("patient", f"Goal/{one['id']}").json() == one


@pytest.mark.parametrize("who", ["stranger", "link-worker"])
def test_a_patch_of_what_is_hidden_is_a_patch_of_what_is_absent(demo: Gateway, who: str) -> None:
    one = made(demo, f"hidden-{who}")
    for match in (None, 'W/"1"', 'W/"9"'):
        for operations in ([replace("/description/text", "x")], [{"op": "test", "path": "/x", "value": 1}]):
            there = patched(demo, who, f"Goal/{one['id']}", operations, match)
            same(there, patched(demo, who, f"Goal/{NOBODY}", operations, match), one["id"], NOBODY)
            assert there.status_code == 404


# -- conditions -------------------------------------------------------------------------------------------------------


def test_a_conditional_update_changes_the_one_match_or_creates(demo: Gateway) -> None:
    where = "Goal?identifier=urn:test|c1"
    first = demo.call("patient", "PUT", where, body=goal(demo, "c1"))
    assert first.status_code == 201 and first.headers["location"].endswith("/_history/1")
    outcome(demo.call("patient", "PUT", where, body=goal(demo, "c1", description={"text": "Dance"})), 400)  # it matches now: If-Match
    second = demo.call("patient", "PUT", where, body=goal(demo, "c1", description={"text": "Dance"}), headers={"If-Match": 'W/"1"'})
    assert second.status_code == 200 and second.json()["id"] == first.json()["id"] and second.json()["meta"]["versionId"] == "2"
    outcome(demo.call("patient", "PUT", where, body=goal(demo, "c1", id=NOBODY), headers={"If-Match": 'W/"2"'}), 400)
    made(demo, "c1")
    outcome(demo.call("patient", "PUT", where, body=goal(demo, "c1"), headers={"If-Match": 'W/"2"'}), 412)
    outcome(demo.call("patient", "PUT", "Goal?identifier=urn:test|none", body=goal(demo, "none"), headers={"If-Match": 'W/"2"'}), 412)
    outcome(demo.call("patient", "PUT", "Goal?identifier=urn:test|none", body=goal(demo, "none", id=NOBODY)), 405)
    assert found(demo, "none") == []


def test_a_conditional_patch_and_delete_need_the_one_match(demo: Gateway) -> None:
    where = "Goal?identifier=urn:test|c2"
    change = [replace("/description/text", "Dance")]
    outcome(patched(demo, "patient", where, change), 404)
    outcome(demo.call("patient", "DELETE", where, headers={"If-Match": 'W/"1"'}), 404)
    one = made(demo, "c2")
    outcome(patched(demo, "patient", where, change, None), 400)
    assert patched(demo, "patient", where, change).json()["description"] == {"text": "Dance"}
    made(demo, "c2")
    outcome(patched(demo, "patient", where, change), 412)
    outcome(demo.call("patient", "DELETE", where, headers={"If-Match": 'W/"2"'}), 412)
    outcome(demo.call("patient", "DELETE", f"Goal?_id={one['id']}"), 400)
    gone = demo.call("patient", "DELETE", f"Goal?_id={one['id']}", headers={"If-Match": 'W/"2"'})
    assert gone.status_code == 204 and gone.headers["etag"] == 'W/"3"' and not gone.content
    assert demo.get("patient", f"Goal/{one['id']}").status_code == 410


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("query, status", [("", 405), ("_format=json", 400), ("bogus=1", 400), ("_sort=_id", 400), ("identifier:bogus=1", 400), ("%ff=1", 400)])
def test_a_condition_must_be_one(demo: Gateway, method: str, query: str, status: int) -> None:
    body = None if method == "DELETE" else goal(demo, "x") if method == "PUT" else []
    media = JSON_PATCH if method == "PATCH" else "application/fhir+json"
    answer = demo.call("patient", method, f"Goal?{query}" if query else "Goal", body=body, headers={"Content-Type": media, "If-Match": 'W/"1"'})
    outcome(answer, status)


def test_a_condition_matches_only_what_its_writer_may_see(demo: Gateway) -> None:
    one = made(demo, "c3")
    where, nowhere = "Goal?identifier=urn:test|c3", "Goal?identifier=urn:test|never"
    for who in ("stranger", "link-worker"):
        for match in ({}, {"If-Match": 'W/"1"'}):
            for method, body in (("PUT", goal(demo, "c3")), ("DELETE", None)):
                there = demo.call(who, method, where, body=body, headers=match)
                same(there, demo.call(who, method, nowhere, body=body, headers=match), "c3", "never")
        same(patched(demo, who, where, []), patched(demo, who, nowhere, []), "c3", "never")
        there = demo.call(who, "POST", "Goal", body=goal(demo, "c3"), headers={"If-None-Exist": "identifier=urn:test|c3"})
        assert there.status_code == 422 and one["id"] not in there.text
    assert demo.get("patient", f"Goal/{one['id']}").json() == one


def test_a_condition_cannot_ask_about_what_the_view_leaves_out(demo: Gateway) -> None:
    plan = {
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": f"Patient/{demo.patient}"},
        "addresses": [{"type": "Condition", "identifier": {"system": "urn:secret", "value": "x"}}],
    }  # fmt: skip
    one = demo.call("patient", "POST", "CarePlan", body=plan).json()
    assert patched(demo, "patient", "CarePlan?condition:identifier=urn:secret|x", []).json() == one
    assert demo.get("gp", f"CarePlan/{one['id']}").status_code == 200
    outcome(patched(demo, "gp", "CarePlan?condition:identifier=urn:secret|x", []), 404)


def test_a_conditional_create_is_answered_with_what_is_there(demo: Gateway) -> None:
    asked = {"If-None-Exist": "identifier=urn:test|c5"}
    first = demo.call("patient", "POST", "Goal", body=goal(demo, "c5"), headers=asked)
    again = demo.call("patient", "POST", "Goal", body=goal(demo, "c5", description={"text": "Other"}), headers=asked)
    assert (first.status_code, again.status_code) == (201, 200) and again.json() == first.json()
    assert again.headers["location"] == first.headers["location"] and again.headers["etag"] == 'W/"1"'
    demo.call("patient", "DELETE", f"Goal/{first.json()['id']}", headers={"If-Match": 'W/"1"'})
    third = demo.call("patient", "POST", "Goal", body=goal(demo, "c5"), headers=asked)
    assert third.status_code == 201 and third.json()["id"] != first.json()["id"]


def test_a_condition_by_the_name_of_a_copy_is_answered_like_any_other(demo: Gateway) -> None:
    """Where nothing bears the name nobody's consents are gone through, and it is answered the same."""
    name = {"system": "https://fhir-gateway.example/id/resource", "code": "0123456789abcdef.c8"}
    copy = goal(demo, "c8", meta={"tag": [name]})
    where = f"_tag={name['system']}|{name['code']}"
    first, again = (demo.call("hospital", "POST", "Goal", body=copy, headers={"If-None-Exist": where}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200) and again.json() == first.json()
    either = demo.call("hospital", "POST", "Goal", body=copy, headers={"If-None-Exist": f"_tag={name['system']}|never,{name['system']}|{name['code']}"})
    assert (either.status_code, either.json()["id"]) == (200, first.json()["id"])
    there = demo.call("stranger", "PUT", f"Goal?{where}", body=copy)
    same(there, demo.call("stranger", "PUT", f"Goal?{where}9", body=copy), "c8", "c89")
    demo.call("hospital", "DELETE", f"Goal/{first.json()['id']}", headers={"If-Match": 'W/"1"'})
    assert demo.call("hospital", "POST", "Goal", body=copy, headers={"If-None-Exist": where}).status_code == 201
    third = demo.call("hospital", "POST", "Goal", body=goal(demo, "c9"), headers={"If-None-Exist": f"_tag:not={name['system']}|never"})
    outcome(third, 412)


def test_who_wrote_it_once_matches_it_though_they_see_it_no_more(demo: Gateway) -> None:
    asked = {"If-None-Exist": "identifier=urn:test|c6"}
    first = demo.call("hospital", "POST", "Goal", body=goal(demo, "c6"), headers=asked)
    assert first.status_code == 201, first.text
    deny = {
        "type": "deny",
        "actor": [{
            "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "reference": {"reference": demo.persona("hospital")["fhirUser"]},
        }],
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}],
    }  # fmt: skip
    consent = demo.call("patient", "POST", "Consent", body={
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{demo.patient}"},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [deny]},
    })  # fmt: skip
    assert consent.status_code == 201, consent.text
    try:
        if demo.get("hospital", f"Goal/{first.json()['id']}").status_code == 404:
            mine = demo.get("patient", f"Goal/{first.json()['id']}")
            demo.call("patient", "PUT", f"Goal/{first.json()['id']}", body={**mine.json(), "note": [{"text": "not for them"}]}, headers={"If-Match": mine.headers["etag"]})
            again = demo.call("hospital", "POST", "Goal", body=goal(demo, "c6"), headers=asked)
            assert again.status_code == 200 and again.headers["location"] == first.headers["location"]
            assert "not for them" not in again.text
            assert len(found(demo, "c6")) == 1
        else:
            pytest.fail("the consent of this test does not hide anything")
    finally:
        ended = consent.json() | {"status": "inactive"}
        demo.call("patient", "PUT", f"Consent/{ended['id']}", body=ended, headers={"If-Match": consent.headers["etag"]})


@pytest.mark.parametrize(
    "scopes, method, path",
    [
        ("patient/Goal.rs", "PATCH", "Goal/x"), ("patient/Goal.rs", "DELETE", "Goal?_id=x"), ("patient/Goal.u", "PUT", "Goal?_id=x"),
        ("patient/Goal.u", "PATCH", "Goal?_id=x"), ("patient/Goal.d", "DELETE", "Goal?_id=x"), ("patient/Goal.cud", "GET", "Goal/x/_history"),
        ("patient/Goal.cruds", "GET", "Patient/$everything"), ("patient/Goal.cruds", "GET", "CarePlan/x/$document"),
        ("patient/Goal.cud", "GET", "Goal/_history"), ("patient/Goal.cud", "POST", "Goal/x/$validate"),
    ],
)  # fmt: skip
async def test_what_the_sign_in_does_not_allow_is_refused_before_any_look_up(demo: Gateway, scopes: str, method: str, path: str) -> None:
    bearer = {"Authorization": f"Bearer {await minted(demo, 'patient', scopes)}", "If-Match": 'W/"1"'}
    body: Any = goal(demo, "scopes") if method in ("PUT", "POST") else [] if method == "PATCH" else None
    media = {"Content-Type": JSON_PATCH if method == "PATCH" else "application/fhir+json"}
    answer = demo.call(None, method, path, body=body, headers=bearer | media)
    outcome(answer, 403)
    assert "insufficient_scope" in answer.headers["www-authenticate"]
    if "cruds" not in scopes:
        asked = {"If-None-Exist": "identifier=urn:test|scopes"}
        outcome(demo.call(None, "POST", "Goal", body=goal(demo, "scopes"), headers={**bearer, **asked}), 403)
    assert found(demo, "scopes") == []


# -- Prefer -----------------------------------------------------------------------------------------------------------


def test_prefer_says_what_comes_back(demo: Gateway) -> None:
    minimal = demo.call("patient", "POST", "Goal", body=goal(demo, "r1"), headers={"Prefer": "return=minimal"})
    assert minimal.status_code == 201 and not minimal.content and minimal.headers["location"] and minimal.headers["etag"] == 'W/"1"'
    where = minimal.headers["location"].split("/fhir/")[1].split("/_history")[0]
    said = patched(demo, "patient", where, [replace("/description/text", "x")], Prefer="return=OperationOutcome")
    assert said.status_code == 200 and said.json()["resourceType"] == "OperationOutcome"
    whole = patched(demo, "patient", where, [replace("/description/text", "y")], 'W/"2"', Prefer="return=representation; handling=lenient")
    assert whole.json()["description"] == {"text": "y"}
    gone = demo.call("patient", "DELETE", where, headers={"If-Match": 'W/"3"', "Prefer": "return=OperationOutcome"})
    assert gone.status_code == 200 and gone.json()["resourceType"] == "OperationOutcome"


# -- Bundles ----------------------------------------------------------------------------------------------------------


def entry(method: str, url: str, resource: Any = None, full_url: str = "", **request: str) -> dict[str, Any]:
    out: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    return out | ({"resource": resource} if resource is not None else {}) | ({"fullUrl": full_url} if full_url else {})


def sent(demo: Gateway, type: str, *entries: dict[str, Any], who: str = "patient", **headers: str) -> Any:
    return demo.call(who, "POST", "", body={"resourceType": "Bundle", "type": type, "entry": list(entries)}, headers=headers)


def statuses(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [e["response"]["status"][:3] for e in answer.json()["entry"]]


def binary_patch(*operations: dict[str, Any]) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": JSON_PATCH, "data": data}


def path_patch(path: str, **value: Any) -> dict[str, Any]:
    part = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": path}, {"name": "value", **value}]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}


def test_a_transaction_does_everything_in_the_order_of_r4(demo: Gateway) -> None:
    gone, kept, other = made(demo, "t1"), made(demo, "t2"), made(demo, "t3")
    me = f"Patient/{demo.patient}"
    document = {
        "resourceType": "DocumentReference", "status": "current", "subject": {"reference": me},
        "content": [{"attachment": {"url": URN.format(1)}}], "description": URN.format(1),
    }  # fmt: skip
    plan = {
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": "Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9990000018"},
        "goal": [{"reference": URN.format(1)}, {"reference": "Goal?identifier=urn:test|t-new"}, {"reference": "Goal?identifier=urn:test|t2"}],
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN.format(1)}">goal</a></div>'},
    }  # fmt: skip
    answer = sent(
        demo, "transaction",
        entry("GET", "Goal?identifier=urn:test|t1"),
        entry("GET", f"Goal/{kept['id']}"),
        entry("PATCH", "Goal?identifier=urn:test|t3", binary_patch(replace("/description/text", "by JSON")), ifMatch='W/"1"'),
        entry("PATCH", f"Goal/{kept['id']}", path_patch("Goal.description.text", valueString="by path"), ifMatch='W/"1"'),
        entry("POST", "CarePlan", plan),
        entry("POST", "Goal", goal(demo, "t-new"), URN.format(1)),
        entry("POST", "DocumentReference", document),
        entry("PUT", "Goal?identifier=urn:test|t-put", goal(demo, "t-put")),
        entry("DELETE", "Goal?identifier=urn:test|t1", ifMatch='W/"1"'),
        entry("HEAD", f"Goal/{other['id']}"),
        entry("GET", f"Goal/{other['id']}/_history"),
    )  # fmt: skip
    assert statuses(answer) == ["200", "200", "200", "200", "201", "201", "201", "201", "204", "200", "200"]
    entries = answer.json()["entry"]
    assert entries[0]["resource"]["total"] == 0  # what was deleted is gone when it is searched for
    assert entries[1]["resource"]["description"] == {"text": "by path"} and entries[1]["response"]["etag"] == 'W/"2"'
    assert entries[1]["fullUrl"] == f"{demo.base}/fhir/Goal/{kept['id']}"
    assert demo.get("patient", f"Goal/{other['id']}").json()["description"] == {"text": "by JSON"}
    new = entries[5]["response"]["location"].split("/_history")[0]
    made_plan = demo.get("patient", entries[4]["response"]["location"].split("/_history")[0]).json()
    assert made_plan["subject"] == {"reference": me}
    assert [g["reference"] for g in made_plan["goal"]] == [new, new, f"Goal/{kept['id']}"]
    assert f'href="{new}"' in made_plan["text"]["div"]
    doc = demo.get("patient", entries[6]["response"]["location"].split("/_history")[0]).json()
    assert doc["content"][0]["attachment"]["url"] == new and doc["description"] == URN.format(1)
    assert "resource" not in entries[9] and len(entries[10]["resource"]["entry"]) == 2
    assert demo.get("patient", f"Goal/{gone['id']}").status_code == 410


@pytest.mark.parametrize(
    "broken, status",
    [
        (entry("GET", f"Goal/{NOBODY}"), 404),
        (entry("PATCH", "Goal?identifier=urn:test|nothing", binary_patch(), ifMatch='W/"1"'), 404),
        (entry("DELETE", f"Goal/{NOBODY}", ifMatch='W/"1"'), 404),
        (entry("PUT", f"Goal/{NOBODY}", {"resourceType": "Goal", "id": NOBODY}, ifMatch='W/"1"'), 404),
        (entry("POST", "Goal", {"resourceType": "Goal"}), 422),
        (entry("GET", "Goal?bogus:bogus=1&_sort=bogus"), 400),
        (entry("GET", "Goal/1/2/3/4"), 404),
        (entry("POST", "Goal/$frobnicate", {"resourceType": "Parameters"}), 404),
        (entry("PATCH", f"Goal/{NOBODY}", {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}, ifMatch='W/"1"'), 415),
        (entry("PATCH", f"Goal/{NOBODY}", {"resourceType": "Binary", "contentType": JSON_PATCH, "data": "%%%"}, ifMatch='W/"1"'), 400),
        (entry("PUT", "Goal", {"resourceType": "Goal"}), 400),
        (entry("POST", "Goal/1", {"resourceType": "Goal"}), 400),
        (entry("POST", "", {"resourceType": "Bundle", "type": "batch"}), 400),
        (entry("DELETE", "Goal/1/_history/1"), 400), (entry("DELETE", "Goal/$validate", ifMatch='W/"1"'), 404),
        (entry("GET", "metadata"), 400), (entry("GET", "Goal/_search?_id=1"), 404), (entry("GET", "Plan/1"), 400), (entry("GET", "http://elsewhere.example/Goal/1"), 400), (entry("GET", "../health"), 400),
        (entry("TRACE", "Goal"), 400), ({"resource": {"resourceType": "Goal"}}, 400), ({"fullUrl": "urn:x"}, 400), (entry("GET", "Goal", ifMatch="x"), 400),
        ({"request": {"method": "POST", "url": "Goal", "ifNoneExist": 7}, "resource": {"resourceType": "Goal"}}, 400),
    ],
)  # fmt: skip
def test_a_transaction_that_cannot_be_done_whole_is_not_done(demo: Gateway, broken: dict[str, Any], status: int) -> None:
    name = f"half-{hash(json.dumps(broken))}"
    outcome(sent(demo, "transaction", entry("POST", "Goal", goal(demo, name)), broken), status)
    assert found(demo, name) == []
    batch = sent(demo, "batch", entry("POST", "Goal", goal(demo, name)), broken)
    assert statuses(batch)[0] == "201" and statuses(batch)[1] == str(status)
    assert batch.json()["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert len(found(demo, name)) == 1


def test_nothing_is_written_twice_in_one_transaction_however_it_is_named(demo: Gateway) -> None:
    one = made(demo, "twice")
    changed = {**one, "description": {"text": "x"}}
    by_id = entry("PUT", f"Goal/{one['id']}", changed, ifMatch='W/"1"')
    for other in (
        entry("DELETE", f"Goal/{one['id']}", ifMatch='W/"1"'), entry("DELETE", "Goal?identifier=urn:test|twice", ifMatch='W/"1"'),
        entry("PUT", "Goal?identifier=urn:test|twice", changed, ifMatch='W/"1"'),
        entry("PATCH", f"Goal/{one['id']}", binary_patch(replace("/description/text", "y")), ifMatch='W/"1"'),
    ):  # fmt: skip
        assert sent(demo, "transaction", by_id, other).status_code in (400, 404)
    assert demo.get("patient", f"Goal/{one['id']}").json() == one
    both = sent(demo, "batch", by_id, entry("DELETE", f"Goal/{one['id']}", ifMatch='W/"2"'))
    assert statuses(both) == ["200", "204"]


def test_conditional_creates_in_a_bundle_find_what_is_there_and_each_other(demo: Gateway) -> None:
    condition = "identifier=urn:test|cc"
    bundle = [
        entry("POST", "Goal", goal(demo, "cc"), URN.format(1), ifNoneExist=condition), entry("POST", "Goal", goal(demo, "cc"), URN.format(2), ifNoneExist=condition),
        entry("POST", "CarePlan", {
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": f"Patient/{demo.patient}"},
            "goal": [{"reference": URN.format(1)}, {"reference": URN.format(2)}],
        }),
    ]  # fmt: skip
    first = sent(demo, "transaction", *bundle)
    assert statuses(first) == ["201", "200", "201"]
    again = sent(demo, "transaction", *bundle)
    assert statuses(again) == ["200", "200", "201"]
    plan = demo.get("patient", again.json()["entry"][2]["response"]["location"].split("/_history")[0]).json()
    assert len(found(demo, "cc")) == 1 and {g["reference"] for g in plan["goal"]} == {f"Goal/{found(demo, 'cc')[0]['id']}"}


def test_entries_say_what_was_seen_and_what_is_wanted_back(demo: Gateway) -> None:
    one = made(demo, "e1")
    updated = demo.get("patient", f"Goal/{one['id']}").headers["last-modified"]
    reads = sent(
        demo, "batch",
        entry("GET", f"Goal/{one['id']}", ifNoneMatch='W/"1"'), entry("GET", f"Goal/{one['id']}", ifNoneMatch='W/"7"'),
        entry("GET", f"Goal/{one['id']}", ifModifiedSince=updated), entry("GET", f"Goal/{one['id']}?_elements=lifecycleStatus"),
        entry("POST", "Goal/$validate", {"resourceType": "Goal"}), entry("GET", f"Patient/{demo.patient}/$everything?_count=3"),
        entry("GET", "_history?_count=1"), entry("GET", "?_type=Goal&_count=1"), entry("GET", f"Goal/{one['id']}/_history/1"),
    )  # fmt: skip
    assert statuses(reads) == ["304", "200", "304", "200", "200", "200", "200", "200", "200"]
    assert "resource" not in reads.json()["entry"][0] and "identifier" not in reads.json()["entry"][3]["resource"]
    assert reads.json()["entry"][4]["resource"]["resourceType"] == "OperationOutcome"
    new = entry("POST", "Goal", goal(demo, "e2"))
    assert "resource" not in sent(demo, "batch", new).json()["entry"][0]
    whole = sent(demo, "transaction", new, Prefer="return=representation").json()["entry"][0]
    assert whole["resource"]["description"] == {"text": "Sing"} and whole["fullUrl"].endswith(whole["resource"]["id"])
    assert sent(demo, "transaction", new, Prefer="return=OperationOutcome").json()["entry"][0]["response"]["outcome"]["issue"]


def test_bundles_tell_nothing_of_what_is_hidden(demo: Gateway) -> None:
    one = made(demo, "b-hidden")
    def tried(id: str, name: str) -> Any:
        return sent(
            demo, "batch", entry("GET", f"Goal/{id}"), entry("DELETE", f"Goal/{id}", ifMatch='W/"1"'), entry("GET", f"Goal/{id}/_history"),
            entry("PATCH", f"Goal/{id}", binary_patch(replace("/description/text", "x")), ifMatch='W/"1"'), entry("GET", f"Goal/{id}/_history/1"),
            entry("DELETE", f"Goal?identifier=urn:test|{name}", ifMatch='W/"1"'), entry("POST", f"Goal/{id}/$validate", {"resourceType": "Parameters"}),
            entry("PATCH", f"Goal?identifier=urn:test|{name}", binary_patch(), ifMatch='W/"1"'), who="stranger",
        )  # fmt: skip
    there, nowhere = tried(one["id"], "b-hidden"), tried(NOBODY, "b-absent")
    assert statuses(there) == ["404"] * 8
    assert there.text.replace(one["id"], NOBODY).replace("b-hidden", "b-absent") == nowhere.text
    assert demo.get("patient", f"Goal/{one['id']}").json() == one


def test_a_part_of_a_resource_cannot_be_written_back(demo: Gateway) -> None:
    one = made(demo, "part")
    for query in ("_summary=true", "_summary=text", "_summary=data", "_elements=lifecycleStatus"):
        part = demo.get("patient", f"Goal/{one['id']}?{query}").json()
        outcome(demo.call("patient", "PUT", f"Goal/{one['id']}", body=part, headers={"If-Match": 'W/"1"'}), 422)
    whole = demo.get("patient", f"Goal/{one['id']}?_summary=false").json()
    assert whole == one and demo.call("patient", "PUT", f"Goal/{one['id']}", body=whole, headers={"If-Match": 'W/"1"'}).status_code == 200
