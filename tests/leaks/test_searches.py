"""Rows L07 to L13: what a search brings along, what it may ask about others, by what it may look and sort."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from .conftest import ALL_STAFF, EVERYBODY, READERS, Place, some
from .seeding import ACT_CODE, CANARY, CONFIDENTIALITY, DROPPED, NOBODY, OPEN, OTHER, VERY, VERY_RESTRICTED, marked, rule, sharing

WRONG = "CANONS"  # as long as CANARY, and nowhere


def refs(answer: Any) -> set[str]:
    return {"/".join(e["fullUrl"].split("/")[-2:]) for e in answer.json().get("entry", ())}


def wrong(right: str) -> str:
    return right.replace(CANARY, WRONG)


@pytest.mark.parametrize("who", EVERYBODY)
def test_L07_nothing_hidden_is_brought_along(place: Place, who: str) -> None:
    """Forwards, backwards, again and again, and everything: each by its own permission."""
    seen = place.seen.split("/")[1]
    hidden = set(place.hidden(who).values()) | ({place.denied} if place.secrets(who) and who not in ("patient", "social-worker") else set())
    for form in (
        f"CarePlan?_id={seen}&_include=CarePlan:goal&_include=CarePlan:condition&_include=CarePlan:activity-reference", f"CarePlan?_id={seen}&_include=*",
        f"CarePlan?_id={seen}&_include=*&_include:iterate=*", "CarePlan?_include=CarePlan:goal:Goal&_include:iterate=Goal:patient", f"Patient?_id={place.g.patient}&_revinclude=*",
        f"Patient?_id={place.g.patient}&_revinclude=Goal:patient&_revinclude=Provenance:target&_revinclude=Task:patient&_revinclude=Group:member",
        "CarePlan?_revinclude=Provenance:target&_revinclude:iterate=Provenance:target", f"Patient?_id={place.g.patient}&_revinclude=Goal:patient&_revinclude:iterate=CarePlan:goal&_revinclude:iterate=List:item",
        "Practitioner?_revinclude=Provenance:agent&_revinclude=Composition:author&_count=20", "Organization?_revinclude=*&_count=2", f"{place.me}/CarePlan?_include=CarePlan:goal",
        f"CarePlan?_id={seen}&_include=CarePlan:goal&_summary=true", f"?_type=CarePlan&_id={seen}&_include=*",
    ):  # fmt: skip
        answer = place.silent(who, place.get(who, form))
        assert answer.status_code in (200, 400) and not (answer.status_code == 200 and refs(answer) & hidden), form
    for type, ref in place.hidden(who).items():
        place.alike(who, "GET", f"{type}?_id={{}}&_include=*&_revinclude=*", ref.split("/")[1], status=(200,))


@pytest.mark.parametrize("who", EVERYBODY)
def test_L08_a_chain_through_the_hidden_ends_where_nothing_is(place: Place, who: str) -> None:
    letters = {s[-1] for s in place.secrets(who) if s.startswith(CANARY)}
    for form in (
        "Goal?patient.family={}-FAMILY", "Goal?subject:Patient.name={}-GIVEN", "CarePlan?subject:Patient.given={}-GIVEN", "CarePlan?goal.identifier=urn:names|{}-IDENTIFIER",
        "CarePlan?condition.code:text={}-TEXT", "CarePlan?condition.identifier={}-IDENTIFIER", "List?item:Goal.identifier={}-IDENTIFIER", "Provenance?target:Goal.identifier={}-IDENTIFIER",
        "CarePlan?goal.patient.family={}-FAMILY", "CarePlan?activity-reference:Task.identifier={}-IDENTIFIER", "Observation?focus:Goal.identifier={}-IDENTIFIER", "Group?member:Patient.family={}-FAMILY",
    ):  # fmt: skip
        for letter in letters & {VERY_RESTRICTED, OTHER}:
            place.guessed(who, form, f"{CANARY}{letter}", f"{WRONG}{letter}")
            answer = place.guessed(who, f"{form}&_total=accurate", f"{CANARY}{letter}", f"{WRONG}{letter}")
            assert answer.status_code != 200 or answer.json()["total"] == 0, form
    for form in ("CarePlan?goal={}", "CarePlan?goal=Goal/{}", "Observation?focus=Goal/{}", "List?item=Goal/{}", "CarePlan?goal:Goal={}"):
        answer = place.silent(who, place.get(who, form.replace("{}", place.hidden(who)["Goal"].split("/")[1])))
        assert not refs(answer) & set(place.hidden(who).values()), "what points to the hidden is found by the opaque id that it shows anyway, and only if it is seen itself"
    for form in ("Goal?patient={}", "Goal?subject=Patient/{}", "Observation?patient:Patient={}", "Goal?patient._id={}"):
        place.alike(who, "GET", f"{form}&_total=accurate", place.hidden(who).get("Patient", f"Patient/{NOBODY}").split("/")[1], status=(200,))


@pytest.mark.parametrize("who", EVERYBODY)
def test_L09_a_reverse_chain_through_the_hidden_ends_where_nothing_is(place: Place, who: str) -> None:
    letters = {s[-1] for s in place.secrets(who) if s.startswith(CANARY)} & {VERY_RESTRICTED, OTHER}
    for form in (
        "Patient?_has:Goal:patient:identifier={}-IDENTIFIER", "Patient?_has:Observation:patient:code=urn:codes|{}-code", "Patient?_has:Condition:patient:code:text={}-TEXT",
        "Patient?_has:RelatedPerson:patient:name={}-FAMILY", "Patient?_has:Goal:patient:_tag=urn:tags|{}-tag", "Patient?_has:Group:member:identifier={}-IDENTIFIER",
        "Patient?_has:CarePlan:subject:goal.identifier={}-IDENTIFIER", "Patient?_has:Goal:patient:_has:CarePlan:goal:identifier={}-IDENTIFIER", "Practitioner?_has:Provenance:agent:target.identifier={}-IDENTIFIER",
        "Goal?_has:CarePlan:goal:identifier={}-IDENTIFIER", "Organization?_has:Patient:organization:family={}-FAMILY", "Practitioner?_has:Composition:author:title={}-COMPOSITION",
    ):  # fmt: skip
        for letter in letters:
            answer = place.guessed(who, f"{form}&_total=accurate", f"{CANARY}{letter}", f"{WRONG}{letter}")
            assert answer.status_code == 400 or answer.json()["total"] == 0, form
    for type, ref in place.hidden(who).items():
        if type not in ("Patient", "Binary", "Group"):
            place.alike(who, "GET", f"Patient?_has:{type}:patient:_id={{}}&_total=accurate", ref.split("/")[1])


@pytest.mark.parametrize("who", some(*(r for r in READERS if r != "patient")))
def test_L10_what_the_view_takes_out_is_not_found_by_it(place: Place, who: str) -> None:
    """Identifier, display and narrative of what a visible plan refers to: right guess, wrong guess, one answer."""
    right = f"{CANARY}{DROPPED}"
    for form in (
        "CarePlan?goal:identifier=urn:names|{}-IDENTIFIER", "CarePlan?goal:identifier={}-IDENTIFIER", "CarePlan?goal:text={}-DISPLAY", "CarePlan?condition:text={}-DISPLAY",
        "CarePlan?activity-reference:text={}-DISPLAY", "CarePlan?activity-reference:identifier={}-IDENTIFIER", "CarePlan?_text={}-NARRATIVE", "CarePlan?_content={}-DISPLAY", "CarePlan?identifier={}-IDENTIFIER",
        "Patient?_has:CarePlan:subject:goal:identifier={}-IDENTIFIER",
    ):  # fmt: skip
        place.guessed(who, f"{form}&_total=accurate", right, wrong(right))
        place.guessed(who, form, right, wrong(right), Prefer="handling=strict")
    for form in ("CarePlan?goal:identifier=urn:names|{}-IDENTIFIER", "CarePlan?goal:identifier={}-IDENTIFIER&_total=accurate"):
        assert place.get("patient", form.replace("{}", right)).json()["entry"], "the person is shown it, so may look by it"


@pytest.mark.parametrize("who", ALL_STAFF)
def test_L11_nothing_hidden_decides_the_order(place: Place, who: str) -> None:
    """Two that this reader sees, with values behind them that only the person is shown: they lie as they lay without them."""
    for form in ("Goal?_sort={}", "CarePlan?_sort={}", "Observation?_sort={}", "Task?_sort={}", "Patient?_sort={}"):
        type = form.split("?")[0]
        for by in ("_lastUpdated", "-_lastUpdated", "_id", "identifier", "-identifier", "patient", "subject", "goal", "-goal", "code", "focus", "family", "birthdate", "_tag", "_security", "date", "based-on"):
            answer = place.silent(who, place.get(who, f"{type}?_sort={by}&_count=3"))
            assert answer.status_code in (200, 400), (type, by)
            assert answer.status_code == 400 or not refs(answer) & set(place.hidden(who).values())


def test_L11_what_the_view_takes_out_does_not_sort(place: Place) -> None:
    """Observations alike but for the identifier and display of what they focus on, written in every order."""
    made = []
    for name in ("M", "Z", "A", "Q"):
        focus = {"reference": f"Condition/{NOBODY}", "display": f"{name}-{CANARY}{DROPPED}-DISPLAY", "identifier": {"system": "urn:names", "value": f"{name}-{CANARY}{DROPPED}"}}
        made.append(place.made("patient", {
            "resourceType": "Observation", "status": "final", "code": {"text": "Sorted"}, "subject": {"reference": place.me}, "focus": [focus],
            "effectiveDateTime": "2033-01-01", "text": {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{name}</div>'},
        }))  # fmt: skip
    for by in ("focus", "-focus", "date", "patient,focus", "based-on,focus", "_security,-focus"):
        answer = place.silent("gp", place.get("gp", f"Observation?date=2033&_sort={by}"))
        if answer.status_code == 200:
            assert ["/".join(e["fullUrl"].split("/")[-2:]) for e in answer.json()["entry"]] == made, by


@pytest.mark.parametrize("who", EVERYBODY)
def test_L12_odd_parameters_are_ands_or_nothing(place: Place, who: str) -> None:
    """Text and filter searches that are not offered are left out, or refused when asked strictly; the rest stands beside consent."""
    letters = {s[-1] for s in place.secrets(who) if s.startswith(CANARY)} & {VERY_RESTRICTED, OTHER}
    for form in ("Goal?_text={}-NARRATIVE", "Goal?_content={}-GOAL", "Goal?_filter=identifier eq {}-IDENTIFIER", "Goal?_list={}-IDENTIFIER", "Goal?_query={}", "Goal?_contained=both&identifier={}-IDENTIFIER", "Observation?_containedType=contained&code={}-code"):
        for letter in letters:
            sent = quote(form, safe="?=&{}:|_")
            lenient = place.guessed(who, sent, f"{CANARY}{letter}", f"{WRONG}{letter}")
            assert lenient.status_code in (200, 400)
            strict = place.guessed(who, sent, f"{CANARY}{letter}", f"{WRONG}{letter}", Prefer="handling=strict")
            assert strict.status_code == 400, form
    hidden_list = place.hidden(who).get("List", f"List/{NOBODY}").split("/")[1]
    lenient = place.get(who, f"Goal?_list={hidden_list}&_total=accurate").json()["total"]
    assert lenient == place.get(who, f"Goal?_list={NOBODY}&_total=accurate").json()["total"] == place.get(who, "Goal?_total=accurate").json()["total"]
    for form in ("Goal?identifier:contains={}", "Patient?family:contains={}", "Patient?family:contains={}-FAM", "Patient?name:exact={}-FAMILY", "Goal?identifier:not={}-IDENTIFIER", "Condition?code:text={}", "Goal?_tag=urn:tags|{}-tag", "Goal?_tag:not=urn:tags|{}-tag"):
        for letter in letters:
            place.guessed(who, f"{form}&_total=accurate&_count=100", f"{CANARY}{letter}", f"{WRONG}{letter}")
    for form in ("Goal?identifier:missing=true", "Goal?identifier:missing=false", "Goal?start-date:missing=false", "Patient?family:missing=false", "CarePlan?goal:missing=true", "Observation?focus:missing=false", "Goal?lifecycle-status:not=completed"):
        answer = place.silent(who, place.get(who, f"{form}&_total=accurate&_count=200"))
        assert answer.json()["total"] == len(refs(answer)) and not refs(answer) & set(place.hidden(who).values())


@pytest.mark.parametrize("who", EVERYBODY)
def test_L13_labels_find_and_show_nothing_hidden(place: Place, who: str) -> None:
    for form in (f"Goal?_security={CONFIDENTIALITY}|V", "Goal?_security=V", "_history", f"Goal?_security={ACT_CODE}|NOPAT", "Goal?_security:not=N", "Patient?_has:Goal:patient:_security=V", "Goal?_security:missing=false", "CarePlan?goal._security=V", "?_type=Goal,Condition&_security=V"):
        answer = place.silent(who, place.get(who, f"{form}{'&' if '?' in form else '?'}_count=200"))
        assert answer.status_code == 200 and not refs(answer) & set(place.hidden(who).values()), form
    for ref in refs(place.get(who, f"Goal?_security={CONFIDENTIALITY}|V&_count=200")):
        assert place.get(who, ref).status_code == 200, "found by a label only what is read by its id"


def test_L13_why_something_is_sensitive_is_shown_to_the_person_alone(place: Place) -> None:
    """Who reads it by its level is told the level and how to handle it, not what the person (or a label service) said it is about.

    v3-ActCode says of its sensitivity codes that they are for use inside a policy domain, not to be shown to recipients.
    """
    violence, ours = {"system": ACT_CODE, "code": "SDV"}, {"system": "https://fhir-gateway.example/CodeSystem/sensitivity", "code": "SOCIAL"}
    handling = {"system": ACT_CODE, "code": "NORDSCLCD"}
    wrote = place.made("gp", {**marked(OPEN, {"resourceType": "Condition", "code": {"text": "Bruises"}, "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}, "subject": {"reference": place.me}})})
    patch = [{"op": "add", "path": "/meta/security", "value": [violence, ours, handling]}]
    assert place.ask("patient", "PATCH", wrote, body=patch, If_Match='W/"1"', Content_Type="application/json-patch+json").status_code == 200
    mine = {c["code"] for c in place.get("patient", wrote).json()["meta"]["security"]}
    assert mine == {"R", "SDV", "SOCIAL", "NORDSCLCD"}
    for path in (wrote, f"{wrote}/_history/2", f"Condition?_id={wrote.split('/')[1]}", f"{wrote}/_history", f"{wrote}?_elements=code", f"Condition?_id={wrote.split('/')[1]}&_summary=true"):
        answer = place.get("gp", path)
        assert answer.status_code == 200 and "Bruises" in answer.text
        assert "SDV" not in answer.text and "SOCIAL" not in answer.text, path
    told = {c["code"] for c in place.get("gp", wrote).json()["meta"]["security"]}
    assert told == {"R", "NORDSCLCD"}
    for label in ("SDV", "SOCIAL"):
        assert place.get("gp", f"Condition?_security={label}&_total=accurate").json()["total"] == 0
        assert place.get("patient", f"Condition?_security={label}&_total=accurate").json()["total"] == 1
    # an edit by somebody who was not shown the labels takes none of them away
    read = place.get("gp", wrote)
    saved = place.ask("gp", "PUT", wrote, body={**read.json(), "note": [{"text": "Seen"}]}, If_Match=read.headers["etag"])
    assert saved.status_code == 200 and "SDV" not in saved.text
    assert {c["code"] for c in place.get("patient", wrote).json()["meta"]["security"]} == mine


def test_L13_a_reader_whom_the_person_lets_by_a_label_finds_it_by_no_other(place: Place) -> None:
    label = {"system": ACT_CODE, "code": "SDV"}
    made = place.made("patient", marked(OPEN, {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Be safe"}, "subject": {"reference": place.me}}, label))
    grant = rule("permit", place.g.persona("link-worker")["fhirUser"], securityLabel=[label, {"system": CONFIDENTIALITY, "code": "R"}])
    allowed = place.made("patient", sharing(place.me, [grant]))
    try:
        assert place.get("link-worker", made).status_code == 200
        for form in ("Goal?_security=V", "Goal?_security=HIV", f"Goal?_security={VERY['code']}&_total=accurate"):
            assert "entry" not in place.get("link-worker", form).json()
    finally:
        place.end(allowed)
