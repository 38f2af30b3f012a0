"""Rows L48, L50 to L52 and L54: consents themselves, who opens a record, labels, links."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from .conftest import EVERYBODY, STAFF, Place, some
from .seeding import ACT_CODE, CANARY, CONFIDENTIALITY, OPEN, classes, marked, rule, sharing

PATCH = {"Content_Type": "application/json-patch+json"}


def undo(place: Place, ref: str) -> None:
    place.end(ref)


def organisation(place: Place, name: str) -> str:
    found = place.get("gp", f"Organization?name={name}").json()["entry"]
    return "/".join(found[0]["fullUrl"].split("/")[-2:])


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", EVERYBODY)
def test_L48_a_token_says_who_and_what_for_and_never_what_is_allowed(place: Place, who: str) -> None:
    said = place.g.persona(who)["token"].split(".")[1]
    claims = json.loads(urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    text = json.dumps(claims).lower()
    for word in ("consent/", "permit", "deny", "obligation", "confidentiality", "label", "goal/", "careplan/"):
        assert word not in text, claims


def test_L48_the_same_token_is_answered_by_todays_consents(place: Place) -> None:
    """Granted, taken back, granted, with one token and one connection, with nothing in between."""
    ref = place.made("patient", marked(OPEN, {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Open"}, "subject": {"reference": place.me}}))
    for _ in range(3):
        assert place.get("link-worker", ref).status_code == 404
        allowed = place.made("patient", sharing(place.me, [rule("permit", place.g.persona("link-worker")["fhirUser"], **{"class": classes("Goal")})]))
        for path in (ref, f"{ref}/_history"):
            assert place.get("link-worker", path).status_code == 200
        assert place.get("link-worker", f"Goal?_id={ref.split('/')[1]}").json()["total"] == 1
        undo(place, allowed)
        for path in (ref, f"{ref}/_history", f"{ref}/_history/1"):
            assert place.get("link-worker", path).status_code == 404
        assert place.get("link-worker", f"Goal?_id={ref.split('/')[1]}").json()["total"] == 0


# -- the Consent itself --------------------------------------------------------------------------------------------------


def test_L50_a_consent_is_shown_to_the_person_and_their_proxy_alone(place: Place) -> None:
    """Not even to somebody to whom the person opened all that is restricted, nor to whom it names."""
    worker = place.g.persona("link-worker")["fhirUser"]
    open_ = rule("permit", worker, securityLabel=[{"system": CONFIDENTIALITY, "code": "V"}])
    consent = place.made("patient", sharing(place.me, [open_, rule("permit", place.g.persona("gp")["fhirUser"], securityLabel=[{"system": CONFIDENTIALITY, "code": "V"}])]))
    try:
        assert place.get("link-worker", place.very["Goal"]).status_code == 200
        for who in STAFF:
            for form in ("Consent/{}", "Consent/{}/_history", "Consent/{}/_history/1"):
                place.alike(who, "GET", form, consent.split("/")[1], status=(404,))
            for path in ("Consent?_total=accurate", f"Consent?patient={place.g.patient}&_total=accurate", f"Consent?actor={worker}&_total=accurate", f"Patient?_revinclude=Consent:patient&_id={place.g.patient}"):
                assert "Consent/" not in place.get(who, path).text.split('"entry"', 1)[-1].replace("Consent?", ""), (who, path)
            for method in ("PUT", "PATCH", "DELETE"):
                media = PATCH if method == "PATCH" else {}
                body: Any = {"PUT": {"resourceType": "Consent", "id": "{}"}, "PATCH": [{"op": "test", "path": "/status", "value": "active"}], "DELETE": None}[method]
                place.alike(who, method, "Consent/{}", consent.split("/")[1], body=body, If_Match='W/"1"', status=(404,), **media)
            assert consent not in place.get(who, f"{place.me}/$everything").text
        assert place.get("patient", consent).status_code == 200
        why = place.get("link-worker", f"Consent/$explain?what={place.very['Goal']}")
        told = {p["name"]: p for p in why.json()["parameter"]}
        assert told["permit"]["valueBoolean"] is True and "consent" not in told and "Consent/" not in why.text, "they are told about themselves"
        assert place.get("link-worker", f"Consent/$explain?what={place.very['Goal']}&who={place.g.persona('gp')['fhirUser']}").status_code == 403
    finally:
        undo(place, consent)
    for who in STAFF:
        place.alike(who, "GET", "Consent/$explain?what=Goal/{}", place.hidden(who)["Goal"].split("/")[1], status=(404,))
        place.alike(who, "GET", f"Consent/$explain?what=Goal/{{}}&who={worker}&action=disclose&purpose=HMARKT", place.hidden(who)["Goal"].split("/")[1], status=(404,))


def test_L50_a_proxy_reads_what_the_person_decided(place: Place) -> None:
    consents = place.get("proxy", "Consent?_count=200").json()["entry"]
    assert len(consents) == place.get("patient", "Consent?_total=accurate&_summary=count").json()["total"]


# -- nobody lets themselves in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("link-worker", "gp", "social-worker", "community-nurse", "stranger", "hospital", "proxy", quick=("link-worker", "gp")))
def test_L51_nobody_writes_a_consent_for_themselves(place: Place, who: str) -> None:
    """Their own name, their organisation's, their role's; for a plan, for goals, for everything; and in every way in.

    A link worker once tried five: all are refused with one sentence, whether the person is here or not, and open nothing.
    """
    me, mine = place.me, place.g.persona(who)["fhirUser"]
    others = [organisation(place, name) for name in ("Kindly", "Faraway", "Example General", "Example Street")]
    tries = [
        *(sharing(me, [rule("permit", name, **{"class": classes(*types)})]) for name in (mine, *others[:2]) for types in (("Goal",), ("CarePlan",))), sharing(me, [rule("permit", mine)], performer=[{"reference": me}]),
        sharing(me, [rule("permit", mine)], verification=[{"verified": True, "verifiedWith": {"reference": me}, "verificationDate": "2026-11-01"}]), sharing(me, [rule("permit", others[0])], performer=[{"reference": mine}]),
        {**sharing(me, []), "provision": {"type": "permit"}}, {**sharing(me, []), "policyRule": {"coding": [{"system": "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis", "code": "consent"}]}, "provision": {"type": "permit", "actor": rule("permit", mine)["actor"]}},
    ]  # fmt: skip
    before = [place.get(who, q).json()["total"] for q in ("Goal?_total=accurate", "CarePlan?_total=accurate")]
    person = place.others["Patient"].split("/")[1]
    for body in tries:
        told = []
        for about in (me, f"Patient/{person}", "Patient/0198c0de-0000-7000-8000-000000000000"):
            sent = json.loads(json.dumps(body).replace(me, about))
            answer = place.ask(who, "POST", "Consent", body=sent)
            told.append((answer.status_code, answer.text.replace(about, me)))
        assert told[0] == told[1] == told[2] and told[0][0] == 403, told
    entry = {"resource": tries[0], "request": {"method": "POST", "url": "Consent"}}
    for kind in ("transaction", "batch"):
        answer = place.ask(who, "POST", "", body={"resourceType": "Bundle", "type": kind, "entry": [entry]})
        assert answer.status_code == 403 or answer.json()["entry"][0]["response"]["status"].startswith("403")
    assert place.ask(who, "PUT", "Consent?status=active&patient=x", body=tries[0]).status_code == 403
    assert place.ask(who, "POST", "Consent", body=tries[0], If_None_Exist="status=rejected").status_code == 403
    assert [place.get(who, q).json()["total"] for q in ("Goal?_total=accurate", "CarePlan?_total=accurate")] == before
    if who in ("link-worker", "stranger", "community-nurse"):
        assert before == [0, 0]
        assert place.get(who, f"/plans/{place.g.patient}").status_code == 404


def test_L51_the_person_gives_consent_in_their_own_name_and_unverified(place: Place) -> None:
    worker = place.g.persona("link-worker")["fhirUser"]
    for more in ({"performer": [{"reference": worker}]}, {"performer": [{"reference": place.others["Patient"]}]}, {"verification": [{"verified": True}]}):
        assert place.ask("patient", "POST", "Consent", body=sharing(place.me, [rule("permit", worker)], **more)).status_code == 422
    other = sharing(place.others["Patient"], [rule("permit", worker)])
    assert place.ask("patient", "POST", "Consent", body=other).status_code in (403, 422)


@pytest.mark.parametrize("who", some("link-worker", "stranger", "gp", "social-worker", "hospital", "proxy"))
def test_L51_nobody_alters_a_consent(place: Place, who: str) -> None:
    consent = place.made("patient", sharing(place.me, [rule("deny", organisation(place, "Kindly"))]))
    stored = place.get("patient", consent).json()
    changed = {**stored, "provision": {"provision": [rule("permit", place.g.persona(who)["fhirUser"])]}}
    expected, never = ((403,), (405,)) if who == "proxy" else ((404,), (404,))
    assert place.ask(who, "PUT", consent, body=changed, If_Match='W/"1"').status_code in expected
    assert place.ask(who, "PATCH", consent, body=[{"op": "replace", "path": "/status", "value": "inactive"}], If_Match='W/"1"', **PATCH).status_code in expected
    assert place.ask(who, "DELETE", consent, If_Match='W/"1"').status_code in never
    assert place.get("patient", consent).headers["etag"] == 'W/"1"'
    undo(place, consent)


# -- labels ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["patient", "gp"])
def test_L52_a_label_is_not_taken_off_by_writing(place: Place, who: str) -> None:
    """Left out, lowered, emptied, patched away, in a Bundle: it stays, whoever wrote it."""
    label = [{"system": CONFIDENTIALITY, "code": "V"}, {"system": ACT_CODE, "code": "PSY"}]
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Labelled"}, "subject": {"reference": place.me}}
    ref = place.made(who, {**body, "meta": {"security": label}})
    whole = {**body, "id": ref.split("/")[1]}
    for meta in ({}, {"meta": {"security": [{"system": CONFIDENTIALITY, "code": "N"}]}}, {"meta": {"security": [{"system": CONFIDENTIALITY, "code": "U"}, {"system": ACT_CODE, "code": "NORDSCLCD"}]}}):
        done = place.ask(who, "PUT", ref, body={**whole, **meta, "description": {"text": f"Labelled {len(str(meta))}"}}, If_Match=place.version(ref, who))
        assert done.status_code == 200, done.text
    for op in ({"op": "remove", "path": "/meta/security"}, {"op": "replace", "path": "/meta/security", "value": [{"system": CONFIDENTIALITY, "code": "L"}]}, {"op": "remove", "path": "/meta/security/0"}):
        assert place.ask(who, "PATCH", ref, body=[op], If_Match=place.version(ref, who), **PATCH).status_code in (200, 422)
    inside = {"resource": {**whole, "description": {"text": "In a Bundle"}}, "request": {"method": "PUT", "url": ref, "ifMatch": place.version(ref, who)}}
    assert place.ask(who, "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": [inside]}).status_code == 200
    assert {"V", "PSY"} <= {c["code"] for c in place.get("patient", ref).json()["meta"]["security"]}
    place.alike("social-worker", "GET", "Goal/{}", ref.split("/")[1], status=(404,))


# -- links -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["replaces", "replaced-by", "seealso", "refer"])
def test_L54_a_link_that_a_client_writes_opens_nothing(place: Place, type: str) -> None:
    """Neither the other's record to the person, nor theirs to whoever looks after the other."""
    other = place.others["Patient"]
    for who, ref, link in (("patient", place.me, other), ("hospital", other, place.me)):
        read = place.get(who, ref)
        if read.status_code != 200:
            continue
        linked = {**read.json(), "link": [{"other": {"reference": link}, "type": type}]}
        done = place.ask(who, "PUT", ref, body=linked, If_Match=read.headers["etag"])
        assert done.status_code in (200, 403, 422), done.text
    for who in ("patient", "proxy", "gp", "social-worker"):
        for kind in ("Patient", "Goal", "Condition"):
            place.alike(who, "GET", f"{kind}/{{}}", place.others[kind].split("/")[1], status=(404,))
        for path in ("Patient?_include=Patient:link&_include:iterate=Patient:link", f"Patient?link={other}", f"Patient?link:Patient.family={CANARY}O-FAMILY", f"{place.me}/$everything", "Goal?_count=200"):
            if "family" in path:
                place.guessed(who, "Patient?link:Patient.family={}-FAMILY", f"{CANARY}O", "CANONSO")
            else:
                place.silent(who, place.get(who, path))
    for kind in ("Goal", "CarePlan"):
        place.alike("hospital", "GET", f"{kind}/{{}}", place.very[kind].split("/")[1], status=(404,))
    for who, ref in (("patient", place.me), ("hospital", other)):
        read = place.get(who, ref)
        if read.status_code == 200 and "link" in read.json():
            bare = {k: v for k, v in read.json().items() if k != "link"}
            assert place.ask(who, "PUT", ref, body=bare, If_Match=read.headers["etag"]).status_code == 200
