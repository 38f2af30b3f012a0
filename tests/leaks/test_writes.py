"""Rows L19 to L27 and L53: what a writer could learn by writing."""

from __future__ import annotations

from typing import Any

import pytest

from ..test_bad_input import minted
from .conftest import EVERYBODY, Place, some
from .seeding import CANARY, DENIED, DROPPED, NOBODY, OPEN, OTHER, VERY, VERY_RESTRICTED, marked, rule, sharing

JSON_PATCH = {"Content_Type": "application/json-patch+json"}
WRITERS = ("gp", "social-worker", "hospital", "stranger", "link-worker", "patient")


def observation(about: str, name: str = "", **more: Any) -> dict[str, Any]:
    own = {"identifier": [{"system": "urn:leaks", "value": name}]} if name else {}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "Weight"}, "valueString": "62 kg", "subject": {"reference": about}, **own, **more}


def bundle(kind: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **more}


def entry(method: str, url: str, resource: dict[str, Any] | None = None, full: str = "", **request: Any) -> dict[str, Any]:
    return {**({"fullUrl": full} if full else {}), **({"resource": resource} if resource else {}), "request": {"method": method, "url": url, **request}}


def deny(place: Place, who: str, **what: Any) -> str:
    return place.made("patient", sharing(place.me, [rule("deny", place.g.persona(who)["fhirUser"], **what)]))


def undo(place: Place, consent: str) -> None:
    place.end(consent)


def hospital(place: Place) -> str:
    return next(
        "/".join(e["fullUrl"].split("/")[-2:]) for e in place.get("gp", "Organization?name=Example General Hospital").json()["entry"]
    )


def organisation_deny(place: Place) -> str:
    """The person objects to the hospital reading anything."""
    return place.made("patient", sharing(place.me, [rule("deny", hospital(place))]))


# -- conditional writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("gp", "hospital", "patient"))
def test_L19_a_conditional_create_does_not_match_the_hidden(place: Place, who: str) -> None:
    """The identifier of something hidden and one that nothing has: both create."""
    letter = VERY_RESTRICTED if who == "gp" else OTHER if who == "patient" else DENIED
    told = []
    for name in (f"{CANARY}{letter}-IDENTIFIER", "nothing-has-this"):
        body = {"resourceType": "Goal", "lifecycleStatus": "planned", "description": {"text": "Mine"}, "subject": {"reference": place.me}, "meta": {"tag": [{"system": "urn:leaks", "code": f"L19-{who}"}]}}
        answer = place.ask(who, "POST", "Goal", body=body, If_None_Exist=f"identifier=urn:names|{name}")
        told.append((answer.status_code, "".join(sorted(answer.headers)), len(answer.text)))
    assert told[0] == told[1] and told[0][0] == 201


def test_L19_a_retry_under_an_objection_finds_the_hospitals_own(place: Place) -> None:
    """It must not duplicate what it wrote itself, though it may not see it now; and it is not told what became of it."""
    body = observation(place.me, "L19-own")
    first = place.ask("hospital", "POST", "Observation", body=body, If_None_Exist="identifier=urn:leaks|L19-own")
    assert first.status_code == 201
    ref = first.headers["location"].split("/fhir/")[1].split("/_history")[0]
    changed = {**place.get("patient", ref).json(), "note": [{"text": "What became of it"}]}
    assert place.ask("gp", "PUT", ref, body={**place.get("gp", ref).json(), "note": changed["note"]}, If_Match='W/"1"').status_code == 200
    objection = organisation_deny(place)
    try:
        assert place.get("hospital", ref).status_code == 404
        again = place.ask("hospital", "POST", "Observation", body=body, If_None_Exist="identifier=urn:leaks|L19-own")
        assert again.status_code == 200 and again.headers["location"].endswith(f"{ref}/_history/1") and again.headers["etag"] == 'W/"1"'
        assert "What became of it" not in again.text
        assert place.get("patient", "Observation?identifier=urn:leaks|L19-own&_total=accurate").json()["total"] == 1
        # what somebody else wrote is not the hospital's own: it creates, and is not told
        place.made("gp", observation(place.me, "L19-theirs"))
        other = place.ask("hospital", "POST", "Observation", body=observation(place.me, "L19-theirs"), If_None_Exist="identifier=urn:leaks|L19-theirs")
        assert other.status_code == 201
    finally:
        undo(place, objection)


@pytest.mark.parametrize("who", some(*WRITERS))
def test_L20_conditions_match_only_what_the_writer_sees(place: Place, who: str) -> None:
    """Update, patch and delete by a condition that only something hidden fulfils, with and without a version."""
    letter = OTHER if who in ("patient",) else VERY_RESTRICTED
    right, wrong = f"{CANARY}{letter}", f"CANONS{letter}"
    for condition in ("identifier=urn:names|{}-IDENTIFIER", "patient.identifier={}-IDENTIFIER", "_has:CarePlan:goal:identifier=urn:names|{}-IDENTIFIER", "_tag=urn:tags|{}-tag"):
        for headers in ({}, {"If_Match": 'W/"1"'}):
            place.guessed(who, f"Goal?{condition}", right, wrong, method="DELETE", **headers)
            place.guessed(who, f"Goal?{condition}", right, wrong, method="PATCH", body=[{"op": "test", "path": "/id", "value": "x"}], **headers, **JSON_PATCH)
        invalid = {"resourceType": "Goal", "lifecycleStatus": "bogus"}
        place.guessed(who, f"Goal?{condition}", right, wrong, method="PUT", body=invalid, If_Match='W/"1"')
    hidden = place.hidden(who)["Goal"].split("/")[1]
    for method, body in (("DELETE", None), ("PATCH", [{"op": "test", "path": "/id", "value": "x"}]), ("PUT", {"resourceType": "Goal", "id": "{}"})):
        media = JSON_PATCH if method == "PATCH" else {}
        place.alike(who, method, "Goal?_id={}", hidden, body=body, **media)
        for match in ('W/"1"', 'W/"2"', "*", '"x"'):
            place.alike(who, method, "Goal/{}", hidden, body=body, If_Match=match, **media)


def test_L20_several_matches_counts_the_visible(place: Place) -> None:
    """One that is seen and two that are not: that is one match. Two that are seen are several."""
    for labels in ((VERY,), (VERY,), ()):
        place.made("patient", observation(place.me, "L20-several", meta={"security": list(labels)} if labels else {"tag": [{"system": "urn:leaks", "code": "seen"}]}))
    done = place.ask("gp", "PATCH", "Observation?identifier=urn:leaks|L20-several", body=[{"op": "add", "path": "/note", "value": [{"text": "Seen"}]}], If_Match='W/"1"', **JSON_PATCH)
    assert done.status_code == 200, done.text
    assert place.ask("patient", "DELETE", "Observation?identifier=urn:leaks|L20-several", If_Match='W/"1"').status_code == 412
    gone = place.ask("gp", "DELETE", "Observation?identifier=urn:leaks|L20-several", If_Match='W/"2"')
    assert gone.status_code in (204, 403), gone.text


# -- a writer who may not read ----------------------------------------------------------------------------------------


def test_L21_a_writer_who_may_not_read_is_told_where_it_is_and_no_more(place: Place) -> None:
    """Under an objection the hospital may still push; it gets 201 and nothing back, whatever it prefers."""
    objection = organisation_deny(place)
    try:
        for prefer in ("return=representation", "return=minimal", "handling=strict, return=representation", ""):
            answer = place.ask("hospital", "POST", "Observation", body=observation(place.me, "L21"), **({"Prefer": prefer} if prefer else {}))
            assert answer.status_code == 201 and not answer.content and "content-type" not in answer.headers, (prefer, answer.text)
            ref = answer.headers["location"].split("/fhir/")[1].split("/_history")[0]
            assert place.get("hospital", ref).status_code == 404
        whole = place.ask("hospital", "POST", "", body=bundle("transaction", entry("POST", "Observation", observation(place.me, "L21-t"))), Prefer="return=representation")
        assert whole.json()["entry"][0]["response"]["status"].startswith("201") and "resource" not in whole.json()["entry"][0]
        several = place.ask("hospital", "POST", "", body=bundle("batch", entry("POST", "Observation", observation(place.me, "L21-b"))), Prefer="return=representation")
        assert several.json()["entry"][0]["response"]["status"].startswith("201") and "resource" not in several.json()["entry"][0]
    finally:
        undo(place, objection)


async def test_L21_a_scope_to_write_does_not_bring_the_resource_back(place: Place) -> None:
    made = place.made("gp", observation(place.me, "L21-scope"))
    only = {"Authorization": f"Bearer {await minted(place.g, 'gp', 'user/Observation.cu')}", "Prefer": "return=representation"}
    created = place.ask(None, "POST", "Observation", body=observation(place.me, "L21-scope"), **only)
    assert created.status_code == 201 and not created.content
    body = observation(place.me, "L21-scope", id=made.split("/")[1], note=[{"text": "x"}])
    updated = place.ask(None, "PUT", made, body=body, If_Match='W/"1"', **only)
    assert updated.status_code == 200 and not updated.content
    same = place.ask(None, "PUT", made, body=body, If_Match='W/"2"', **only)
    assert same.status_code == 200 and not same.content


async def test_L22_a_patch_is_no_way_to_read(place: Place) -> None:
    """`test`, `copy` and `move` ask about a resource: whoever may not read it may not ask; nor about what the view holds back."""
    made = place.made("patient", marked(OPEN, {
        "resourceType": "Condition", "subject": {"reference": place.me}, "code": {"text": "Plain"},
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "evidence": [{"detail": [{"reference": "Observation/x", "display": f"{CANARY}{DROPPED}-DISPLAY", "identifier": {"value": f"{CANARY}{DROPPED}-ID"}}]}],
    }))  # fmt: skip
    right = f"{CANARY}{DROPPED}"
    for path, value in (("/evidence/0/detail/0/display", "{}-DISPLAY"), ("/evidence/0/detail/0/identifier/value", "{}-ID"), ("/text/status", "{}")):
        place.guessed("gp", made, right, f"CANONS{DROPPED}", method="PATCH", body=[{"op": "test", "path": path, "value": value}], If_Match='W/"1"', **JSON_PATCH)
    for source in ("/text", "/evidence/0/detail/0/display"):
        copied = place.ask("gp", "PATCH", made, body=[{"op": "copy", "from": source, "path": "/note/-"}], If_Match='W/"1"', **JSON_PATCH)
        assert copied.status_code == 422, copied.text
    only = {"Authorization": f"Bearer {await minted(place.g, 'gp', 'user/Condition.u')}"}
    for value in ("Plain", "Other"):
        asked = place.ask(None, "PATCH", made, body=[{"op": "test", "path": "/code/text", "value": value}], If_Match='W/"1"', **only, **JSON_PATCH)
        assert asked.status_code == 403 and "insufficient_scope" in asked.headers["www-authenticate"], "a scope to change is none to read"
    path = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "Condition.code.where(text='Plain').text"}]}]}
    assert place.ask(None, "PATCH", made, body=path, If_Match='W/"1"', **only).status_code == 403
    inside = bundle("batch", entry("PATCH", made, {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="}, ifMatch='W/"1"'))
    assert place.ask(None, "POST", "", body=inside, **only).json()["entry"][0]["response"]["status"].startswith("403")


def test_L22_a_right_guess_at_what_the_view_holds_back_is_a_change_like_a_wrong_one(place: Place) -> None:
    """Saving a guess answers the same: were the right one `unchanged`, a version that does not move would say so."""
    guesses: dict[str, list[Any]] = {}
    for guess in (f"{CANARY}{DROPPED}", f"CANONS{DROPPED}"):
        ref = place.made("patient", {
            "resourceType": "Observation", "status": "final", "code": {"text": "Guessed at"}, "subject": {"reference": place.me},
            "text": {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{CANARY}{DROPPED}</div>'},
            "focus": [{"reference": f"Goal/{NOBODY}", "display": f"{CANARY}{DROPPED}"}, {"reference": f"Goal/{NOBODY}", "identifier": {"system": "urn:names", "value": f"{CANARY}{DROPPED}"}}],
        })  # fmt: skip
        seen = place.get("gp", ref).json()
        same = place.ask("gp", "PUT", ref, body=seen, If_Match='W/"1"')
        assert same.headers["etag"] == 'W/"1"', "what they were shown, sent back, changes nothing"
        told = []
        for change in (
            lambda r, g: r["focus"][0].update(display=g), lambda r, g: r["focus"][1].update(identifier={"system": "urn:names", "value": g}),
            lambda r, g: r.update(text={"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{g}</div>'}),
        ):  # fmt: skip
            read = place.get("gp", ref)
            body = read.json()
            change(body, guess)
            done = place.ask("gp", "PUT", ref, body=body, If_Match=read.headers["etag"], Prefer="return=minimal")
            told.append((done.status_code, done.headers["etag"], done.headers["location"].replace(ref, "")))
        patch = [{"op": "add", "path": "/focus/0/display", "value": guess}]
        done = place.ask("gp", "PATCH", ref, body=patch, If_Match=place.version(ref, "gp"), Prefer="return=minimal", **JSON_PATCH)
        guesses[guess] = [*told, (done.status_code, done.headers.get("etag"))]
    right, wrong = guesses.values()
    assert right[:3] == wrong[:3], (right, wrong)


def test_L19_a_repeated_message_is_answered_by_todays_consent(place: Place) -> None:
    """Under its name (`Idempotency-Key`, `Bundle.identifier`) a push has one effect, and its answer no more than may be read now."""
    one, name = observation(place.me, "L19-key"), {"Idempotency_Key": "leaks-L19"}
    first = place.ask("hospital", "POST", "Observation", body=one, Prefer="return=representation", **name)
    whole = bundle("transaction", entry("POST", "Observation", observation(place.me, "L19-bundle")), entry("GET", first.headers["location"].split("/fhir/")[1].split("/_history")[0]), identifier={"system": "urn:leaks", "value": "L19"})
    assert first.status_code == 201 and first.content
    assert "62 kg" in place.ask("hospital", "POST", "", body=whole).text
    objection = organisation_deny(place)
    try:
        again = place.ask("hospital", "POST", "Observation", body=one, Prefer="return=representation", **name)
        assert (again.status_code, again.headers["location"]) == (201, first.headers["location"]) and not again.content
        assert "62 kg" not in place.ask("hospital", "POST", "", body=whole, Prefer="return=representation").text
    finally:
        undo(place, objection)
    for who in ("gp", "stranger"):  # another's name for a message is nobody else's
        stranger = place.ask(who, "POST", "Observation", body=one, **name)
        assert stranger.status_code == (201 if who == "gp" else 422) and first.headers["location"] not in str(stranger.headers)


def test_L22_who_may_not_read_may_not_overwrite_blindly(place: Place) -> None:
    """`no-read-no-update`: the author of something, once denied, changes it no more, and is told what a stranger is told."""
    ref = place.made("hospital", observation(place.me, "L22-blind"))
    objection = organisation_deny(place)
    try:
        for method, body, media in (
            ("PUT", observation(place.me, "L22-blind", id="{}"), {}), ("PATCH", [{"op": "test", "path": "/status", "value": "final"}], JSON_PATCH), ("DELETE", None, {}),
        ):  # fmt: skip
            for match in ('W/"1"', 'W/"7"'):
                place.alike("hospital", method, "Observation/{}", ref.split("/")[1], body=body, If_Match=match, status=(404,), **media)
    finally:
        undo(place, objection)
    assert place.get("patient", ref).headers["etag"] == 'W/"1"'


# -- references, duplicates, verdicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("gp", "hospital", "patient", "stranger"))
def test_L23_a_reference_to_the_hidden_is_kept_like_one_to_the_absent(place: Place, who: str) -> None:
    hidden = place.hidden(who)
    told = []
    for target in (hidden["Goal"], f"Goal/{NOBODY}"):
        body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "Refers", "subject": {"reference": place.me}, "goal": [{"reference": target}]}
        answer = place.silent(who, place.ask(who, "POST", "CarePlan", body=body))
        told.append((answer.status_code, len(answer.text)))
    assert told[0] == told[1] and told[0][0] == (422 if who == "stranger" else 201)
    person = hidden.get("Patient", f"Patient/{NOBODY}").split("/")[1]
    for type in ("Observation", "Goal", "Task", "Consent", "RelatedPerson", "Provenance", "Binary", "CareTeam", "List"):
        body = {
            "Observation": observation("Patient/{}"), "Goal": {"lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": "Patient/{}"}},
            "Task": {"status": "requested", "intent": "order", "for": {"reference": "Patient/{}"}}, "Consent": sharing("Patient/{}", [rule("permit", "Organization/x")]),
            "RelatedPerson": {"active": True, "patient": {"reference": "Patient/{}"}}, "CareTeam": {"status": "active", "subject": {"reference": "Patient/{}"}},
            "Provenance": {"target": [{"reference": "Patient/{}"}], "recorded": "2026-05-01T10:00:00Z", "agent": [{"who": {"reference": place.g.persona(who)["fhirUser"]}}]},
            "Binary": {"contentType": "text/plain", "securityContext": {"reference": "Patient/{}"}}, "List": {"status": "current", "mode": "working", "subject": {"reference": "Patient/{}"}},
        }[type]  # fmt: skip
        if who != "hospital":  # which may write for everybody it brought
            place.alike(who, "POST", type, person, body={"resourceType": type, **body}, status=(403, 422))


def test_L23_deleting_what_the_hidden_points_to_is_no_conflict(place: Place) -> None:
    told = []
    for labels in ((), (VERY,)):
        target = place.made("gp", observation(place.me))
        place.made("patient", observation(place.me, derivedFrom=[{"reference": target}], meta={"security": list(labels), "tag": [{"code": "x"}]} if labels else {"tag": [{"code": "x"}]}))
        answer = place.ask("gp", "DELETE", target, If_Match='W/"1"')
        told.append((answer.status_code, answer.text, sorted(answer.headers)))
    assert told[0] == told[1] and told[0][0] == 204


@pytest.mark.parametrize("who", some("gp", "stranger", "social-worker", "link-worker", "patient"))
def test_L24_a_duplicate_is_told_only_to_those_who_may_see_the_other(place: Place, who: str) -> None:
    """A person who is here, hidden, and one who is not: whoever may bring nobody in learns nothing from trying."""
    for number in ("9990000026", "9990000034"):
        person = {"resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": number}], "name": [{"family": "Else", "given": ["Some"]}], "birthDate": "1950-01-01"}
        plan = {"plan": "1", "id": "plan-x", "title": "A plan", "status": "active", "person": {"id": "x", "nhs_number": number, "name": {"given": ["Some"], "family": "Else"}, "birth_date": "1950-01-01"}}
        said = [place.ask(who, "POST", "Patient", body=person), place.ask(who, "POST", "Patient", body=person, If_None_Exist=f"identifier={number}"), place.ask(who, "PUT", f"Patient?identifier={number}", body=person)]
        said += [place.ask(who, "POST", "/plans", body=plan), place.ask(who, "POST", "", body=bundle("transaction", entry("POST", "Patient", person)))]
        told = [(a.status_code, a.text.replace(number, "N")) for a in said]
        if number == "9990000026":
            first = told
    assert told == first
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "The same again"}, "subject": {"reference": place.me}, "identifier": [{"system": "urn:names", "value": "taken-already"}]}
    if who in ("gp", "social-worker"):  # business identifiers of hidden records are free
        hidden = place.made("patient", {**goal, "meta": {"security": [VERY]}})
        assert place.get(who, hidden).status_code == 404
        assert place.ask(who, "DELETE", place.made(who, goal), If_Match='W/"1"').status_code == 204


@pytest.mark.parametrize("who", EVERYBODY)
def test_L25_no_verdict_speaks_of_the_hidden(place: Place, who: str) -> None:
    """$validate, errors of searches and of writes: nothing of anybody's, no stack, no SQL."""
    hidden = place.hidden(who)
    whole = {"resourceType": "Goal", "id": "{}", "lifecycleStatus": "active", "description": {"text": "x" * 5_300_000}, "subject": {"reference": place.me}}
    for method, sent in (("PUT", {"Content_Type": "text/plain"}), ("PUT", {"Content_Type": "application/xml"}), ("PUT", {"Content_Encoding": "br"}), ("PATCH", {"Content_Type": "application/fhir+json"}), ("PUT", {"If_Match": "x"}), ("PUT", {"Content_Type": "application/fhir+json; fhirVersion=5.0"})):
        place.alike(who, method, "Goal/{}", hidden["Goal"].split("/")[1], body={"resourceType": "Goal", "id": "{}"}, **sent)
    if who == "stranger":
        place.alike(who, "PUT", "Goal/{}", hidden["Goal"].split("/")[1], body=whole, status=(413,), If_Match='W/"1"')
    for mode in ("", "?mode=update", "?mode=delete", "?mode=create"):
        for type in ("Goal", "CarePlan", "Observation"):
            place.alike(who, "POST", f"{type}/{{}}/$validate{mode}", hidden[type].split("/")[1], status=(404,))
            place.alike(who, "POST", f"{type}/{{}}/$validate{mode}", hidden[type].split("/")[1], body={"resourceType": type, "id": "{}"}, status=(404,))
    refers = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": place.me}, "goal": [{"reference": "Goal/{}"}]}
    place.alike(who, "POST", "CarePlan/$validate", hidden["Goal"].split("/")[1], body=refers, status=(200,))
    answers = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "Questionnaire/{}", "subject": {"reference": place.me}, "basedOn": [{"reference": "CarePlan/{}"}]}
    place.alike(who, "POST", "QuestionnaireResponse/$validate", hidden["CarePlan"].split("/")[1], body=answers, status=(200,))
    for method, path, raw in (
        ("GET", "Goal?_sort=bogus", None), ("GET", "Goal?_count=x", None), ("GET", "Goal?patient:Bogus.name=x", None), ("GET", "Goal?start-date=%27%20OR%201=1", None), ("GET", "Goal/%00", None),
        ("GET", "Goal?_page=00ff", None), ("POST", "Goal", b"{"), ("POST", "Goal", b'{"resourceType":"Goal"}'), ("PUT", hidden["Goal"], b"{"), ("PATCH", hidden["Goal"], b"["), ("POST", "", b"[]"), ("GET", "Goal/x/_history/99999999999999999999", None),
        ("POST", "Goal", b"\xff"), ("GET", "Goal?" + "x" * 17_000, None),
    ):  # fmt: skip
        answer = place.silent(who, place.ask(who, method, path, raw=raw))
        assert 400 <= answer.status_code < 500 and "resourceType" in answer.text, (method, path, answer.status_code)
        for word in ("Traceback", "sqlite", "SELECT", "apsw", ".py", "File \""):
            assert word not in answer.text, (path, answer.text)


# -- bundles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("gp", "hospital", "stranger", "patient", "proxy"))
def test_L26_a_bundle_fails_for_the_hidden_as_for_the_absent(place: Place, who: str) -> None:
    hidden = {type: ref.split("/")[1] for type, ref in place.hidden(who).items()}
    mine = observation(place.me)
    whole = {"resourceType": "Goal", "id": "{}", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": place.me}}
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="}
    for kind in ("transaction", "batch"):
        for e in (
            entry("GET", "Goal/{}"), entry("HEAD", "Goal/{}"), entry("GET", "Goal/{}/_history"), entry("GET", "Goal/{}/_history/1"), entry("GET", "Goal?_id={}"), entry("GET", "Goal/{}", ifNoneMatch='W/"1"'),
            entry("DELETE", "Goal/{}", ifMatch='W/"1"'), entry("DELETE", "Goal/{}"), entry("DELETE", "Goal?_id={}"), entry("PUT", "Goal/{}", whole, ifMatch='W/"1"'), entry("PUT", "Goal?_id={}", whole, ifMatch='W/"1"'),
            entry("PATCH", "Goal/{}", patch, ifMatch='W/"1"'), entry("PATCH", "Goal?_id={}", patch, ifMatch='W/"1"'), entry("POST", "Goal/{}/$validate"), entry("GET", "Patient/{}/$everything"), entry("GET", "CarePlan/{}/$document"),
            entry("POST", "Observation", observation(place.me, hasMember=[{"reference": "Observation?_id={}"}])), entry("POST", "Observation", observation("Patient?_id={}")),
            entry("GET", "Patient/{}/Goal"),
        ):  # fmt: skip
            if kind == "batch" and e["request"]["method"] == "POST" and "validate" not in e["request"]["url"]:
                continue  # a conditional reference is a transaction's
            type = "Patient" if "Patient" in str(e) and "Patient" in hidden and "{}" in str(e).split("Patient", 1)[1][:12] else "CarePlan" if "CarePlan" in e["request"]["url"] else "Observation" if "Observation?_id" in str(e) else "Goal"
            answer = place.alike(who, "POST", "", hidden.get(type, NOBODY), body=bundle(kind, entry("POST", "Observation", {**mine, "status": "bogus"}) if kind == "transaction" else e, e), Prefer="return=representation")
            alone = place.alike(who, "POST", "", hidden.get(type, NOBODY), body=bundle(kind, e))
            assert {answer.status_code, alone.status_code} <= {200, 400, 403, 404, 405, 422}, (e, answer.text)


@pytest.mark.parametrize("who", ["gp", "hospital"])
def test_L26_a_conditional_reference_means_what_the_writer_sees(place: Place, who: str) -> None:
    letter = VERY_RESTRICTED
    for condition in ("Goal?identifier=urn:names|{}-IDENTIFIER", "Goal?_tag=urn:tags|{}-tag", "Goal?patient.identifier={}-IDENTIFIER"):
        body = bundle("transaction", entry("POST", "CarePlan", {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": place.me}, "goal": [{"reference": condition}]}))
        answer = place.guessed(who, "", f"{CANARY}{letter}", f"CANONS{letter}", method="POST", body=body)
        assert answer.status_code == 422
    number = bundle("transaction", entry("POST", "Observation", observation("Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|{}")))
    if who == "gp":
        assert place.guessed(who, "", "9990000026", "9990000034", method="POST", body=number).status_code == 422


def test_L27_what_is_contained_is_its_containers_and_its_own_persons(place: Place) -> None:
    """A contained resource that names another person belongs to that person as well: nobody who may not see both sees it."""
    other = place.others["Patient"]
    code = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}]}
    inside = {"resourceType": "Observation", "id": "in", "status": "final", "code": {"text": f"{CANARY}{OTHER}-CONTAINED"}, "subject": {"reference": other}}
    about = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "About two", "subject": {"reference": place.me}, "contained": [inside], "supportingInfo": [{"reference": "#in"}]}
    for who in ("gp", "patient", "stranger"):
        place.alike(who, "POST", "CarePlan", other.split("/")[1], body={**about, "contained": [{**inside, "subject": {"reference": "Patient/{}"}}]}, status=(422,))
    made = place.made("hospital", about)
    for who in ("gp", "social-worker", "patient", "proxy", "link-worker"):
        place.alike(who, "GET", "CarePlan/{}", made.split("/")[1], status=(404,))
        assert made.split("/")[1] not in place.silent(who, place.get(who, "CarePlan?_count=200&_total=accurate")).text
        assert made.split("/")[1] not in place.silent(who, place.get(who, f"{place.me}/$everything" if who != "link-worker" else "_history")).text
    # its codes label the container
    secret = {**inside, "code": code, "subject": {"reference": place.me}}
    marked_ = place.made("patient", {**about, "title": "x", "contained": [secret]})
    place.alike("gp", "GET", "CarePlan/{}", marked_.split("/")[1], status=(404,))
    # and it is found by nothing of its own
    open_ = place.made("patient", {**about, "title": "Open", "contained": [{**secret, "code": {"text": f"{CANARY}{OPEN}"}, "identifier": [{"value": "of-what-is-inside"}]}]})
    assert place.get("gp", open_).status_code == 200
    for form in ("Observation?identifier=of-what-is-inside", f"Observation?_id={open_.split('/')[1]}%23in", "Observation/in", f"{open_}%23in"):
        answer = place.get("gp", form)
        assert answer.status_code == 404 or "entry" not in answer.json(), form


# -- moving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("hospital", "gp", "patient"))
def test_L53_nothing_is_moved_to_another_person(place: Place, who: str) -> None:
    other = place.others["Patient"]
    ref = place.made(who, observation(place.me))
    for about in (other, f"Patient/{NOBODY}"):
        moved = place.ask(who, "PUT", ref, body=observation(about, id=ref.split("/")[1]), If_Match='W/"1"')
        assert moved.status_code == 422, moved.text
        patched = place.ask(who, "PATCH", ref, body=[{"op": "replace", "path": "/subject/reference", "value": about}], If_Match='W/"1"', **JSON_PATCH)
        assert patched.status_code == 422, patched.text
        added = place.ask(who, "PUT", ref, body=observation(place.me, id=ref.split("/")[1], performer=[{"reference": about}]), If_Match='W/"1"')
        assert added.status_code == 422
    assert place.get("patient", ref).headers["etag"] == 'W/"1"'


def test_L53_a_provenance_is_not_moved_by_its_target(place: Place) -> None:
    """Its people are those of what it is about: pointing it elsewhere would move it."""
    agent = [{"who": {"reference": "Organization/elsewhere"}}]
    body = {"resourceType": "Provenance", "target": [{"reference": place.seen}], "recorded": "2026-05-01T10:00:00Z", "agent": agent}
    ref = place.made("hospital", {**body, "target": [{"reference": next(r for r in [place.made("hospital", observation(place.me))])}]})
    assert place.get("patient", ref).status_code == 200
    for target in (place.others["Goal"], place.others["Patient"]):
        moved = place.ask("hospital", "PUT", ref, body={**body, "id": ref.split("/")[1], "target": [{"reference": target}]}, If_Match='W/"1"')
        assert moved.status_code == 422, moved.text
    for target in (place.very["Goal"], f"Goal/{NOBODY}"):
        kept = place.ask("hospital", "PUT", ref, body={**body, "id": ref.split("/")[1], "target": [{"reference": target}]}, If_Match=place.version(ref))
        assert kept.status_code == 200, kept.text
        assert place.get("patient", ref).status_code == 200, "still in her record, though what it speaks of is not to be seen by its writer"
