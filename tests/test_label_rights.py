"""Who puts a privacy label on, who takes one off, and who is told of it. One real server, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Gateway

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LEVEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LEGAL = "https://fhir-gateway.example/CodeSystem/legal-restriction"
SNOMED = "http://snomed.info/sct"
SEX = {"system": ACT, "code": "SEX"}
MH = {"system": ACT, "code": "MH"}
RESTRICTED = {"system": LEVEL, "code": "R"}


def goal(demo: Gateway, text: str = "Walk to the shop", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": f"Patient/{demo.patient}"}, **more,
    }  # fmt: skip


def made(demo: Gateway, who: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = demo.call(who, "POST", body["resourceType"], body=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def meta_op(demo: Gateway, who: str, what: str, ref: str, *labels: dict[str, str], reason: str = "") -> Any:
    parameters: list[dict[str, Any]] = [{"name": "meta", "valueMeta": {"security": list(labels)}}]
    if reason:
        parameters.append({"name": "reason", "valueString": reason})
    return demo.call(who, "POST", f"{ref}/${what}", body={"resourceType": "Parameters", "parameter": parameters})


def labels_of(answer: Any) -> set[str]:
    body = answer.json()
    meta = body.get("meta", {}) if body["resourceType"] != "Parameters" else next((p["valueMeta"] for p in body.get("parameter", ())), {})
    return {c["code"] for c in meta.get("security", ())}


@pytest.mark.parametrize("way", ["put", "json-patch", "meta-add"])
def test_the_person_and_the_author_raise_a_label_and_it_is_a_version(demo: Gateway, way: str) -> None:
    for who, at in (("patient", "1"), ("gp", "2")):
        mine = made(demo, "gp", goal(demo, f"raised by {way} {at}"))
        ref = f"Goal/{mine['id']}"
        now = demo.get(who, ref)
        match = {"If-Match": now.headers["etag"]}
        if way == "put":
            body = now.json()
            body["meta"] = {**body["meta"], "security": [SEX]}
            answer = demo.call(who, "PUT", ref, body=body, headers=match)
        elif way == "json-patch":
            patch = [{"op": "add", "path": "/meta/security", "value": [SEX]}]
            answer = demo.call(who, "PATCH", ref, body=patch, headers={**match, "Content-Type": "application/json-patch+json"})
        else:
            answer = meta_op(demo, who, "meta-add", ref, SEX)
        assert answer.status_code == 200, answer.text
        whole = demo.get("patient", ref)
        assert whole.headers["etag"] == 'W/"2"' and labels_of(whole) == {"SEX", "R"}
        assert demo.get("community-nurse", ref).status_code == demo.get("social-worker", ref).status_code == 404


def test_what_it_is_about_is_told_to_the_person_and_the_writer_and_how_private_it_is_to_readers(demo: Gateway) -> None:
    mine = made(demo, "gp", goal(demo, "known by label"))
    ref = f"Goal/{mine['id']}"
    meta_op(demo, "patient", "meta-add", ref, SEX)
    assert labels_of(demo.get("patient", ref)) == {"SEX", "R"} == labels_of(demo.get("patient", f"{ref}/$meta"))
    seen = demo.get("gp", ref)  # the author's own goal stays theirs to read
    assert seen.status_code == 200 and labels_of(seen) == {"R"} == labels_of(demo.get("gp", f"{ref}/$meta"))
    found = {who: demo.get(who, f"Goal?_security={ACT}|SEX&_id={mine['id']}").json()["total"] for who in ("patient", "gp", "community-nurse")}
    assert found == {"patient": 1, "gp": 0, "community-nurse": 0}
    assert demo.get("gp", f"Goal?_security={LEVEL}|R&_id={mine['id']}").json()["total"] == 1
    assert demo.get("gp", f"Goal?_security:not={ACT}|SEX&_id={mine['id']}").json()["total"] == 1


def test_a_label_that_takes_the_sight_of_it_from_whoever_puts_it_on_is_put_on_and_answered(demo: Gateway) -> None:
    mine = made(demo, "patient", goal(demo, "not for me"))
    ref = f"Goal/{mine['id']}"
    answer = meta_op(demo, "patient", "meta-add", ref, {"system": ACT, "code": "NOPAT"})
    assert answer.status_code == 200 and answer.json() == {"resourceType": "Parameters"}, answer.text
    assert demo.get("patient", ref).status_code == 404
    assert meta_op(demo, "patient", "meta-add", ref, SEX).status_code == 404


def test_asking_for_a_label_does_not_tell_whether_it_was_there(demo: Gateway) -> None:
    for there in (True, False):
        ref = f"Goal/{made(demo, 'gp', goal(demo, f'asked {there}'))['id']}"
        meta_op(demo, "patient", "meta-add", ref, *([SEX, RESTRICTED] if there else [RESTRICTED]))
        answer = meta_op(demo, "gp", "meta-add", ref, SEX)
        assert (answer.status_code, answer.headers["etag"], labels_of(answer)) == (200, 'W/"3"', {"R", "SEX"}), there


@pytest.mark.parametrize("way", ["put", "json-patch", "fhirpath-patch", "put without meta"])
def test_no_update_lowers_a_label(demo: Gateway, way: str) -> None:
    mine = made(demo, "gp", goal(demo, f"kept {way}", meta={"security": [MH, {"system": ACT, "code": "NODSCLCD"}]}))
    ref = f"Goal/{mine['id']}"
    meta_op(demo, "patient", "meta-add", ref, SEX)
    for who in ("patient", "gp"):
        now = demo.get(who, ref)
        body, match = now.json(), {"If-Match": now.headers["etag"]}
        if way == "json-patch":
            patch: Any = [{"op": "remove", "path": "/meta/security"}, {"op": "replace", "path": "/description/text", "value": f"by {who}"}]
            answer = demo.call(who, "PATCH", ref, body=patch, headers={**match, "Content-Type": "application/json-patch+json"})
        elif way == "fhirpath-patch":
            steps = [("delete", "Goal.meta.security[0]", None), ("replace", "Goal.description.text", f"by {who}")]
            patch = {"resourceType": "Parameters", "parameter": [
                {"name": "operation", "part": [{"name": "type", "valueCode": t}, {"name": "path", "valueString": p}, *([{"name": "value", "valueString": v}] if v else [])]}
                for t, p, v in steps
            ]}  # fmt: skip
            answer = demo.call(who, "PATCH", ref, body=patch, headers=match)
        else:
            body["description"]["text"] = f"by {who}"
            body["meta"] = {"security": [{"system": LEVEL, "code": "N"}]}
            if way == "put without meta":
                del body["meta"]
            answer = demo.call(who, "PUT", ref, body=body, headers=match)
        assert answer.status_code == 200, answer.text
        whole = demo.get("patient", ref)
        assert labels_of(whole) == {"MH", "SEX", "R", "NODSCLCD"} and whole.json()["description"]["text"] == f"by {who}"


def test_the_person_takes_off_what_they_put_on_and_nothing_else(demo: Gateway) -> None:
    mine = made(demo, "gp", goal(demo, "undone", meta={"security": [MH]}))
    ref = f"Goal/{mine['id']}"
    meta_op(demo, "patient", "meta-add", ref, SEX)
    assert meta_op(demo, "patient", "meta-delete", ref, MH).status_code == 403
    assert meta_op(demo, "gp", "meta-delete", ref, SEX).status_code == 422, "the role needs a reason"
    assert meta_op(demo, "social-worker", "meta-delete", ref, SEX, reason="x").status_code == 404
    done = meta_op(demo, "patient", "meta-delete", ref, SEX)
    assert done.status_code == 200 and labels_of(done) == {"MH", "R"}
    assert meta_op(demo, "patient", "meta-delete", ref, SEX).status_code in (200, 403)


@pytest.mark.parametrize("way", ["meta-add", "put", "json-patch"])
def test_nobody_but_the_person_and_who_made_it_makes_a_thing_more_private(demo: Gateway, way: str) -> None:
    """Whoever may change it could shut it to the person, or to who wrote it, for good."""
    mine, theirs = made(demo, "patient", goal(demo, f"mine, {way}")), made(demo, "gp", goal(demo, f"the surgery's, {way}"))

    def put_on(who: str, ref: str, label: dict[str, str]) -> Any:
        if way == "meta-add":
            return meta_op(demo, who, "meta-add", ref, label)
        now = demo.get(who, ref)
        match, meta = {"If-Match": now.headers["etag"]}, now.json().get("meta", {})
        security = [*meta.get("security", []), label]
        if way == "json-patch":
            patch = [{"op": "add", "path": "/meta/security", "value": security}]
            return demo.call(who, "PATCH", ref, body=patch, headers={**match, "Content-Type": "application/json-patch+json"})
        return demo.call(who, "PUT", ref, body={**now.json(), "meta": {**meta, "security": security}}, headers=match)

    nopat, hfea = {"system": ACT, "code": "NOPAT"}, {"system": LEGAL, "code": "HFEA"}
    for ref in (f"Goal/{mine['id']}", f"Goal/{theirs['id']}"):
        before = demo.get("patient", ref)
        for label in (nopat, hfea, SEX, RESTRICTED):
            refused = put_on("social-worker", ref, label)
            assert refused.status_code == 403 and "put on by the person" in refused.text, refused.text
        assert demo.get("patient", ref).headers["etag"] == before.headers["etag"]
    assert put_on("gp", f"Goal/{mine['id']}", nopat).status_code == 403, "the person made it"
    assert put_on("social-worker", f"Goal/{mine['id']}", {"system": LEVEL, "code": "N"}).status_code == 200, "no more than it is"
    assert put_on("gp", f"Goal/{theirs['id']}", SEX).status_code == 200
    assert put_on("patient", f"Goal/{mine['id']}", SEX).status_code == 200


def test_staff_cannot_keep_the_person_from_their_own_record_but_can_say_that_they_are_at_risk(demo: Gateway) -> None:
    me = f"Patient/{demo.patient}"
    assert meta_op(demo, "social-worker", "meta-add", me, {"system": ACT, "code": "NOPAT"}).status_code == 403
    assert meta_op(demo, "social-worker", "meta-add", me, RESTRICTED).status_code == 403
    mark = {"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}
    assert meta_op(demo, "social-worker", "meta-add", me, mark).status_code == 200
    assert demo.get("patient", me).status_code == 200
    assert meta_op(demo, "gp", "meta-delete", me, mark, reason="It was a test").status_code == 200


def test_what_its_codes_mean_labels_a_thing_whoever_writes_them(demo: Gateway) -> None:
    ref = f"Goal/{made(demo, 'patient', goal(demo, 'coded by another'))['id']}"
    now = demo.get("gp", ref)
    body = {**now.json(), "addresses": [], "category": [{"coding": [{"system": SNOMED, "code": "35489007"}]}]}
    answer = demo.call("gp", "PUT", ref, body={k: v for k, v in body.items() if v != []}, headers={"If-Match": now.headers["etag"]})
    assert answer.status_code == 200, answer.text
    assert "MH" in labels_of(demo.get("patient", ref))


def test_an_ordinary_thing_is_ordinary_again_when_the_person_has_undone_their_label(demo: Gateway) -> None:
    mine = made(demo, "gp", goal(demo, "open again"))
    ref = f"Goal/{mine['id']}"
    meta_op(demo, "patient", "meta-add", ref, SEX)
    assert demo.get("community-nurse", ref).status_code == 404
    assert meta_op(demo, "patient", "meta-delete", ref, SEX, RESTRICTED).status_code == 200
    assert demo.get("social-worker", ref).status_code == 200
    version = demo.get("patient", ref).headers["etag"]
    assert version == 'W/"3"'
    past = demo.get("social-worker", f"{ref}/_history/2")
    assert past.status_code == 404, "the version that carried the label stays as closed as it was"
    assert {e["resource"]["meta"]["versionId"] for e in demo.get("social-worker", f"{ref}/_history").json()["entry"]} == {"1", "3"}


def test_a_wider_version_does_not_open_what_is_labelled_now(demo: Gateway) -> None:
    mine = made(demo, "gp", goal(demo, "closed later"))
    ref = f"Goal/{mine['id']}"
    assert demo.get("social-worker", f"{ref}/_history/1").status_code == 200
    meta_op(demo, "patient", "meta-add", ref, SEX)
    assert demo.get("social-worker", f"{ref}/_history/1").status_code == 404
    assert demo.get("social-worker", f"{ref}/_history").status_code == 404


def test_who_has_the_role_takes_a_wrong_label_off_with_a_reason_and_the_person_reads_of_it(demo: Gateway) -> None:
    depressed = {"resourceType": "Condition", "subject": {"reference": f"Patient/{demo.patient}"}, "code": {"coding": [{"system": SNOMED, "code": "35489007"}]}}
    mine = made(demo, "gp", depressed)
    ref = f"Condition/{mine['id']}"
    assert labels_of(demo.get("gp", ref)) == {"MH", "R"}, "set when it was written, and its writer is told"
    assert demo.get("social-worker", ref).status_code == 404
    assert meta_op(demo, "gp", "meta-delete", ref, MH, RESTRICTED, reason="Coded for the wrong person").status_code == 200
    assert demo.get("social-worker", ref).status_code == 200
    now = demo.get("gp", ref)
    changed = demo.call("gp", "PUT", ref, body={**now.json(), "note": [{"text": "later"}]}, headers={"If-Match": now.headers["etag"]})
    assert changed.status_code == 200 and demo.get("social-worker", ref).status_code == 200, "its codes do not bring it back"
    assert meta_op(demo, "patient", "meta-add", ref, MH).status_code == 200
    assert demo.get("social-worker", ref).status_code == 404, "but a person may"


def test_legal_restrictions_stay(demo: Gateway) -> None:
    mine = made(demo, "patient", goal(demo, "legal", meta={"security": [{"system": LEGAL, "code": "HFEA"}]}))
    ref = f"Goal/{mine['id']}"
    assert meta_op(demo, "gp", "meta-delete", ref, {"system": LEGAL, "code": "HFEA"}, reason="please").status_code == 404
    theirs = f"Goal/{made(demo, 'gp', goal(demo, 'of the surgery'))['id']}"
    assert meta_op(demo, "gp", "meta-delete", theirs, {"system": LEGAL, "code": "HFEA"}, reason="please").status_code == 403
    assert labels_of(demo.get("patient", ref)) == {"HFEA", "R"}


def test_bad_input_is_named(demo: Gateway) -> None:
    ref = f"Goal/{made(demo, 'gp', goal(demo, 'bad input'))['id']}"
    for body, status in (
        ({"resourceType": "Parameters", "parameter": [1, {"name": [], "valueMeta": {"tag": [{"code": "x"}]}}]}, 400),
        ({"resourceType": "Goal"}, 400), ({"resourceType": "Parameters"}, 400), ({"resourceType": "Parameters", "parameter": "x"}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [{"code": 1}]}}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": "R"}}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": []}]}, 400),
    ):  # fmt: skip
        for what in ("meta-add", "meta-delete"):
            answer = demo.call("gp", "POST", f"{ref}/${what}", body=body)
            assert answer.status_code == status, (what, body, answer.text)
    assert demo.get("gp", "Goal/nobody/$meta").status_code == 404
    assert demo.get("stranger", f"{ref}/$meta").content == demo.get("stranger", "Goal/nobody/$meta").content
