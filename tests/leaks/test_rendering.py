"""Rows L28 to L33 and L57: what leaves of what is visible says nothing of what is not."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from ..staff import put_directory
from .conftest import ALL_STAFF, EVERYBODY, Place, some
from .seeding import CANARY, CONFIDENTIALITY, DROPPED, NOBODY, OPEN, SECRET, VERY, VERY_RESTRICTED, classes, marked, rule, sharing

LOOKERS = ("gp", "social-worker", "proxy")
PATCH = {"Content_Type": "application/json-patch+json"}


def surfaces(place: Place, ref: str) -> list[str]:
    """Everywhere this one resource comes out."""
    type, id = ref.split("/")
    return [
        ref, f"{ref}/_history/1", f"{ref}/_history", f"{type}?_id={id}", f"{type}/_history?_count=200", f"{place.me}/{type}?_count=200", f"{ref}?_summary=data", f"{ref}?_pretty=true",
        f"Patient?_id={place.g.patient}&_revinclude={type}:patient", f"{place.me}/$everything?_type={type}", f"?_type={type}&_id={id}",
    ]  # fmt: skip


@pytest.mark.parametrize("who", some(*LOOKERS))
def test_L28_references_say_nothing_but_the_opaque_id(place: Place, who: str) -> None:
    """Hidden, denied and absent targets look alike; display and identifier of a logical reference are gone; nothing is looked up."""
    for path in [*surfaces(place, place.seen), f"{place.seen}/$document"]:
        answer = place.silent(who, place.get(who, path))
        assert answer.status_code == 200 and "Seen by all" in answer.text, path
    body = place.get(who, place.seen).json()
    assert body["goal"] == [{"reference": r} for r in (place.very["Goal"], place.denied, f"Goal/{NOBODY}")]
    assert body["supportingInfo"][0]["type"] == "Observation" and "identifier" not in body["supportingInfo"][0]
    assert body["supportingInfo"][0]["extension"][0]["valueCode"] == "masked"
    # a url is kept as it came, and is never followed
    far = place.made("patient", {"resourceType": "List", "status": "current", "mode": "working", "subject": {"reference": place.me}, "entry": [
        {"item": {"reference": f"https://elsewhere.example/fhir/{place.very['Goal']}", "display": f"{CANARY}{DROPPED}-DISPLAY"}}, {"item": {"reference": f"urn:uuid:{NOBODY}", "display": f"{CANARY}{DROPPED}-DISPLAY"}},
        {"item": {"reference": f"{place.very['Goal']}/_history/1", "display": f"{CANARY}{DROPPED}-DISPLAY"}}, {"item": {"display": f"{CANARY}{DROPPED}-DISPLAY", "type": "Goal"}},
    ]})  # fmt: skip
    place.silent(who, place.get(who, far))


@pytest.mark.parametrize("who", some(*LOOKERS))
def test_L29_narrative_leaves_for_the_person_and_its_writer_alone(place: Place, who: str) -> None:
    div = {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{CANARY}{DROPPED}-NARRATIVE</div>'}
    composed = place.made("patient", {
        "resourceType": "Composition", "status": "final", "type": {"text": "Letter"}, "date": "2026-05-01", "title": "A letter", "author": [{"reference": place.me}], "subject": {"reference": place.me}, "text": div,
        "section": [{"title": "One", "text": div, "section": [{"title": "Inner", "text": div}]}, {"title": "Two", "entry": [{"reference": place.very["Goal"], "display": f"{CANARY}{DROPPED}-DISPLAY"}]}],
        "contained": [{"resourceType": "Observation", "id": "in", "status": "final", "code": {"text": "x"}, "valueString": "Inside", "hasMember": [{"reference": "Observation/x", "display": f"{CANARY}{DROPPED}-DISPLAY"}]}],
        "event": [{"detail": [{"reference": "#in"}]}],
    })  # fmt: skip
    for path in surfaces(place, composed):
        answer = place.silent(who, place.get(who, path))
        assert answer.status_code == 200, path
    seen = place.get(who, composed).json()
    assert "text" not in seen and "text" not in seen["section"][0] and [s["title"] for s in seen["section"]] == ["One", "Two"]
    assert seen["contained"][0]["valueString"] == "Inside"
    assert place.get("patient", composed).text.count("NARRATIVE") == 3


@pytest.mark.parametrize("who", ALL_STAFF)
def test_L30_the_bytes_of_an_attachment_are_hidden_in_every_form(place: Place, who: str) -> None:
    binary = place.very["Binary"].split("/")[1]
    for headers in ({}, {"Accept": "text/plain"}, {"Accept": "*/*"}, {"Accept": "image/png", "Range": "bytes=0-3"}, {"If_None_Match": 'W/"1"', "Accept": "text/plain"}):
        for method in ("GET", "HEAD"):
            place.alike(who, method, "Binary/{}", binary, status=(404,), **headers)
            place.alike(who, method, "Binary/{}/_history/1", binary, status=(404, 406), **headers)
    for path in ("Binary?_count=200", "Binary/_history", f"Binary?_id={binary}", f"{place.me}/Binary"):
        answer = place.silent(who, place.get(who, path))
        assert binary not in answer.text.replace(f"_id={binary}", "")
    place.alike(who, "PUT", "Binary/{}", binary, body={"resourceType": "Binary", "id": "{}", "contentType": "text/plain"}, status=(404,))


@pytest.mark.parametrize("who", some("gp", "social-worker", "hospital", "stranger"))
def test_L30_an_attachment_is_decided_by_what_its_security_context_names(place: Place, who: str) -> None:
    """It follows the document that it belongs to, also where that one is labelled, denied or deleted later."""
    document = place.made("patient", {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": place.me}, "description": "A letter", "content": [{"attachment": {"contentType": "text/plain"}}]})
    body = {"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": document}, "data": b64encode(f"{CANARY}{VERY_RESTRICTED}-BINARY".encode()).decode()}
    binary = place.made("patient", body)
    assert place.get("patient", binary).status_code == 200
    allowed = who in ("gp", "social-worker")
    assert place.get(who, binary).status_code == (200 if allowed else 404)
    assert place.get("patient", binary, Accept="text/plain").text.startswith(CANARY)
    labelled = place.ask("patient", "PATCH", document, body=[{"op": "add", "path": "/meta/security", "value": [VERY]}], If_Match='W/"1"', **PATCH)
    assert labelled.status_code == 200
    for accept in ("application/fhir+json", "text/plain"):
        for form in ("Binary/{}", "Binary/{}/_history/1", "Binary/{}/_history"):
            place.alike(who, "GET", form, binary.split("/")[1], status=(404, 406), Accept=accept)
    for path in ("Binary?_count=200", "Binary/_history?_count=200", "_history?_count=200", f"{place.me}/Binary", f"{place.me}/$everything"):
        assert binary.split("/")[1] not in place.silent(who, place.get(who, path)).text
    assert place.get("patient", binary).status_code == 200
    # an attachment of something that is hidden, or of nothing, is told apart by nobody
    for context in (place.hidden(who)["DocumentReference"], f"DocumentReference/{NOBODY}"):
        refused = place.ask(who, "POST", "Binary", body={"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": context}})
        assert refused.status_code == 422, refused.text
    place.alike(who, "POST", "Binary", place.hidden(who)["DocumentReference"].split("/")[1], body={"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": "DocumentReference/{}"}}, status=(422,))


@pytest.mark.parametrize("who", some(*LOOKERS))
def test_L31_arrays_keep_their_length_and_an_edit_loses_nothing(place: Place, who: str) -> None:
    plan = {
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "Edited", "subject": {"reference": place.me},
        "goal": [{"reference": place.very["Goal"], "display": f"{CANARY}{DROPPED}-1"}, {"reference": f"Goal/{NOBODY}", "display": f"{CANARY}{DROPPED}-2"}],
        "activity": [{"reference": {"reference": place.very["Task"], "display": f"{CANARY}{DROPPED}-3"}}, {"detail": {"status": "scheduled", "description": "Walk", "goal": [{"reference": place.very["Goal"], "display": f"{CANARY}{DROPPED}-4"}]}}],
    }  # fmt: skip
    ref = place.made("patient", plan)
    seen = place.silent(who, place.get(who, ref))
    assert [len(seen.json()[k]) for k in ("goal", "activity")] == [2, 2] and "SUBSETTED" not in seen.text
    if who == "proxy":
        return
    for edit in ("PUT", "json", "path"):
        read = place.get(who, ref)
        if edit == "PUT":
            done = place.ask(who, "PUT", ref, body={**read.json(), "title": "By PUT"}, If_Match=read.headers["etag"])
        elif edit == "json":
            done = place.ask(who, "PATCH", ref, body=[{"op": "replace", "path": "/title", "value": "By patch"}], If_Match=read.headers["etag"], **PATCH)
        else:
            part = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "CarePlan.title"}, {"name": "value", "valueString": "By path"}]
            done = place.ask(who, "PATCH", ref, body={"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}, If_Match=read.headers["etag"])
        assert done.status_code == 200, done.text
        place.silent(who, done)
        whole = place.get("patient", ref).json()
        assert (whole["goal"], whole["activity"]) == (plan["goal"], plan["activity"]), edit


@pytest.mark.parametrize("who", some(*LOOKERS))
def test_L32_lists_teams_and_documents_tell_of_the_visible(place: Place, who: str) -> None:
    there = {"reference": place.very["Condition"], "display": f"{CANARY}{DROPPED}-DISPLAY", "identifier": {"value": f"{CANARY}{DROPPED}-ID"}}
    me = {"reference": place.me}
    for body in (
        {"resourceType": "List", "status": "current", "mode": "working", "subject": me, "entry": [{"item": there}]},
        {"resourceType": "CareTeam", "status": "active", "subject": me, "reasonReference": [there], "participant": [{"member": {"reference": place.g.persona("gp")["fhirUser"]}}]},
        {"resourceType": "Provenance", "target": [me, there], "recorded": "2026-05-01T10:00:00Z", "agent": [{"who": me}], "entity": [{"role": "source", "what": there}]},
        {"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": me}]},
        {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, "subject": me, "encounter": {"reference": place.very["Encounter"], "display": f"{CANARY}{DROPPED}-DISPLAY"}},
    ):  # fmt: skip
        ref = place.made("patient", body)
        for path in (ref, f"{ref}/_history", f"{body['resourceType']}?_id={ref.split('/')[1]}"):
            assert place.silent(who, place.get(who, path)).status_code == 200
    # a document is built for its reader from what they may see; the parts they may not see are references as before
    built = place.silent(who, place.get(who, f"{place.seen}/$document"))
    parts = ["/".join(e["fullUrl"].split("/")[-2:]) for e in built.json()["entry"]]
    assert not set(parts) & (set(place.hidden(who).values()) | ({place.denied} if who != "social-worker" else set()))
    assert place.very["Goal"] in built.text
    # one that is stored is labelled by the most restricted of what it carries
    carried = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}]}, "subject": me}
    stored = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:0198c0de-0000-7000-8000-000000000002", "resource": carried}]}
    ref = place.made("patient", stored)
    assert place.get(who, ref).status_code == (200 if who == "proxy" else 404)


def test_L32_a_group_of_staff_tells_of_no_patient_and_one_of_patients_is_as_absent(place: Place) -> None:
    """Everybody reads the same of the one, whoever's consent names it, and nothing of the other."""
    readers = (*LOOKERS, "patient", "hospital", "stranger")
    member = [{"entity": {"reference": place.g.persona("link-worker")["fhirUser"]}}]
    of_staff = {"resourceType": "Group", "type": "practitioner", "actual": True, "name": "Night team", "member": member}
    (ref,) = put_directory(place.g, of_staff)
    of_one = place.made("patient", {"resourceType": "Group", "type": "person", "actual": True, "name": f"{CANARY}{VERY_RESTRICTED}-NAME", "member": [{"entity": {"reference": place.me}}], "meta": {"security": [VERY]}})
    before = {who: (place.get(who, ref).content, place.get(who, f"{ref}/_history").json()["total"]) for who in readers}
    assert len(set(before.values())) == 1
    consent = place.made("patient", sharing(place.me, [rule("permit", ref)]))
    assert before == {who: (place.get(who, ref).content, place.get(who, f"{ref}/_history").json()["total"]) for who in readers}
    for who in LOOKERS[:2]:
        found = [e["resource"]["id"] for e in place.silent(who, place.get(who, "Group?_count=200")).json()["entry"]]
        assert ref.split("/")[1] in found and of_one.split("/")[1] not in found
        place.alike(who, "GET", "Group/{}", of_one.split("/")[1], status=(404,))
    place.alike("patient", "POST", "Consent", place.others["Patient"].split("/")[1], body=sharing(place.me, [rule("deny", "Group/{}")]), status=(422,))
    place.end(consent)


def test_L32_a_document_says_how_private_the_most_private_part_of_it_is(place: Place) -> None:
    private = place.made("patient", {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Private"}, "subject": {"reference": place.me}, "meta": {"security": [{"system": CONFIDENTIALITY, "code": "R"}]}})
    plan = place.made("patient", {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "x", "subject": {"reference": place.me}, "goal": [{"reference": private}]})
    levels = {}
    for who in ("patient", "gp"):
        entry = place.get(who, f"{plan}/$document").json()["entry"]
        levels[who] = entry[0]["resource"].get("confidentiality", "N"), len(entry)
    assert levels["patient"][0] == "R" and levels["gp"][0] == "N" and levels["gp"][1] == levels["patient"][1] - 1


@pytest.mark.parametrize("who", EVERYBODY)
def test_L33_everything_is_everything_that_may_be_seen(place: Place, who: str) -> None:
    for form in ("Patient/{}/$everything", "Patient/{}/$everything?_count=1", "Patient/{}/$everything?_type=Goal", "Patient/{}/$everything?_since=2020-01-01T00:00:00Z", "Patient/{}/$everything?start=2020-01-01&end=2030-01-01", "Patient/{}/$everything?_summary=true"):
        if who != "hospital":
            place.alike(who, "GET", form, place.others["Patient"].split("/")[1], status=(404,))
    place.alike(who, "POST", "Patient/{}/$everything", place.hidden(who).get("Patient", f"Patient/{NOBODY}").split("/")[1], status=(404,))
    hidden = set(place.hidden(who).values())
    for form in (f"{place.me}/$everything?_count=7", "Patient/$everything?_count=9", f"{place.me}/$everything?_type=Goal,Provenance,Binary,Consent&_count=2"):
        path: str | None = form
        while path is not None:
            answer = place.silent(who, place.get(who, path))
            if answer.status_code == 404:
                break
            page = answer.json()
            assert not hidden & {"/".join(e["fullUrl"].split("/")[-2:]) for e in page.get("entry", ())}
            path = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), None)


def test_L33_a_page_of_everything_dies_with_what_let_it_be_read(place: Place) -> None:
    page = place.get("social-worker", f"{place.me}/$everything?_count=2").json()
    following = next(link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next")
    assert place.get("social-worker", following).status_code == 200
    shut = place.made("patient", sharing(place.me, [rule("deny", place.g.persona("social-worker")["fhirUser"])]))
    assert place.get("social-worker", following).status_code == 404
    place.end(shut)


def test_L33_everything_brings_along_nothing_that_the_view_takes_out(place: Place) -> None:
    """Neither the place and the practice of somebody at risk nor, for a befriender, which surgery a person goes to."""
    refuge = place.made("hospital", {"resourceType": "Location", "status": "active", "name": "Women's Refuge House", "address": {"line": ["7 Secret Lane"]}})
    visit = {"resourceType": "Encounter", "status": "finished", "class": {"code": "HH"}, "subject": {"reference": place.me}, "location": [{"location": {"reference": refuge}}]}
    place.made("hospital", visit)
    surgery = f"Organization/{place.get('gp', 'Organization?identifier=D82001').json()['entry'][0]['resource']['id']}"
    now = place.get("patient", place.me)
    registered = now.json() | {"generalPractitioner": [{"reference": surgery}]}
    assert place.ask("patient", "PUT", place.me, body=registered, If_Match=now.headers["etag"]).status_code == 200
    befriender = place.made("patient", sharing(place.me, [rule("permit", place.g.persona("link-worker")["fhirUser"], **{"class": classes("Patient")})]))
    risk = {"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}
    mark = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [risk]}}]}

    def brought(who: str) -> set[str]:
        """Everything of the directory on any page of it."""
        out, path = set[str](), f"{place.me}/$everything?_count=50"
        while path:
            page = place.get(who, path).json()
            out |= {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in page["entry"] if e["search"]["mode"] == "include"}
            path = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), "")
        return out

    try:
        assert {refuge, surgery} <= brought("social-worker"), "whom nobody endangers is shown whole"
        assert surgery not in brought("link-worker")
        assert place.ask("patient", "POST", f"{place.me}/$meta-add", body=mark).status_code == 200
        for who in ("social-worker", "proxy"):
            assert not {refuge, surgery, place.g.persona("gp")["fhirUser"]} & brought(who), who
        assert {refuge, surgery} <= brought("patient")
    finally:
        place.ask("patient", "POST", f"{place.me}/$meta-delete", body=mark)
        place.end(befriender)
        then = place.get("patient", place.me)
        place.ask("patient", "PUT", place.me, body={**then.json(), "generalPractitioner": now.json()["generalPractitioner"]}, If_Match=then.headers["etag"])


@pytest.mark.parametrize("who", some(*LOOKERS))
def test_L57_what_tells_of_a_visible_thing_is_judged_by_itself(place: Place, who: str) -> None:
    """A restricted Provenance of a goal that everybody sees; one about two goals, of which one is hidden; and the trail."""
    open_ = place.made("patient", marked(OPEN, {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Open"}, "subject": {"reference": place.me}}))
    agent = [{"who": {"reference": place.me}}]
    about = {"resourceType": "Provenance", "recorded": "2026-05-01T10:00:00Z", "agent": agent}
    shut = place.made("patient", marked(VERY_RESTRICTED, {**about, "target": [{"reference": open_}]}, VERY))
    both = place.made("patient", {**about, "target": [{"reference": open_}, {"reference": place.very["Goal"], "display": f"{CANARY}{DROPPED}-DISPLAY", "identifier": SECRET | {"value": f"{CANARY}{DROPPED}-ID"}}]})
    for form in (f"Goal?_id={open_.split('/')[1]}&_revinclude=Provenance:target", f"Goal?_id={open_.split('/')[1]}&_revinclude=*", f"Goal?_id={open_.split('/')[1]}&_revinclude=AuditEvent:entity", f"Provenance?target={open_}"):
        answer = place.silent(who, place.get(who, form))
        assert answer.status_code == 200 and (shut in answer.text) == (who == "proxy" and "AuditEvent" not in form), form
        assert "AuditEvent" not in json.dumps([e["resource"]["resourceType"] for e in answer.json().get("entry", ())])
    assert place.get(who, both).json()["target"][1] == {"reference": place.very["Goal"]}
    place.alike(who, "GET", "Goal?_id={}&_revinclude=Provenance:target&_revinclude=AuditEvent:entity", place.hidden(who)["Goal"].split("/")[1], status=(200,))


# -- operations that came later ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("gp", "stranger", "social-worker", "link-worker", "hospital"))
def test_L37_the_labels_of_the_hidden_are_neither_told_nor_changed(place: Place, who: str) -> None:
    """`$meta`, `$meta-add` and `$meta-delete` at something hidden are those at nothing, whatever they carry."""
    meta = {"name": "meta", "valueMeta": {"tag": [{"system": "urn:leaks", "code": "x"}]}}
    reason = {"name": "reason", "valueString": "to try"}
    for type, ref in place.hidden(who).items():
        place.alike(who, "GET", f"{type}/{{}}/$meta", ref.split("/")[1], status=(404,))
        for operation in ("$meta-add", "$meta-delete"):
            body = {"resourceType": "Parameters", "parameter": [meta, reason]}
            place.alike(who, "POST", f"{type}/{{}}/{operation}", ref.split("/")[1], body=body, status=(403, 404))


@pytest.mark.parametrize("who", some("gp", "stranger", "social-worker", "link-worker", "hospital"))
def test_L37_nobody_tries_out_what_others_would_see(place: Place, who: str) -> None:
    """`Consent/$preview` is for the person and who acts for them: for everybody else there is nothing by that name."""
    body = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "sector:health"}]}
    answer = place.silent(who, place.ask(who, "POST", "Consent/$preview", body=body))
    assert answer.status_code in (403, 404), answer.text
