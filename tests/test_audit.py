"""One row of the trail: as bytes, as a BALP AuditEvent, as a sentence."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.audit import BALP, decode, encode, event
from fhir_gateway.domain.trail_words import sentence
from fhir_gateway.domain.types import Note

NOTE = Note(
    "0198", datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC), "R", "read", True, "Practitioner/p", "Dr Shah", "Organization/gp",
    "app-1", "TREAT", "Patient/a", ("CarePlan/1",), "", "explicit", "c1",
)  # fmt: skip
REFUSED = replace(NOTE, allowed=False, basis="implicit")


def told(note: Note, **changes: Any) -> str:
    return sentence(replace(note, **changes))


# -- in plain words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Dr Shah looked at your plan."),
        (
            {"refs": ("CarePlan/1", "Goal/1", "Goal/2", "Condition/3")},
            "Dr Shah looked at your plan, 2 goals and a need or condition.",
        ),
        ({"refs": ()}, "Dr Shah looked at your record."),
        ({"what": "search", "action": "E", "refs": ("Goal/1",)}, "Dr Shah searched and saw a goal."),
        ({"what": "update", "refs": ("Consent/c",)}, "Dr Shah changed your sharing choices."),
        ({"what": "everything"}, "Dr Shah looked at everything in your record."),
        ({"user_name": "", "what": "disclose"}, "Organization/gp was sent your plan."),
        ({"what": "recall"}, "Dr Shah was asked to give back your plan."),
        ({"user": "Patient/a", "user_name": "Ada"}, "You looked at your plan."),
        ({"user": "Patient/a", "what": "who-looked", "allowed": True}, "You looked at who had looked at your record."),
        ({"basis": "break-glass"}, "Dr Shah looked at your plan in an emergency."),
        ({"what": "break-glass", "basis": "break-glass", "refs": ("Patient/a",)}, "Dr Shah opened your record in an emergency."),
        ({"user": "Patient/a", "what": "sign-out-everywhere", "refs": ()}, "You signed out everywhere."),
        ({"user": "Patient/a", "what": "authorize", "refs": ()}, "You let in an app."),
        ({"user": "Patient/a", "what": "token", "refs": ()}, "You used an app."),
        ({"user": "Patient/a", "what": "token-reused", "refs": (), "allowed": False}, "An app that you let in was stopped: somebody else may have had its key."),
        ({"user": "", "user_name": "", "organisation": None, "what": "token", "allowed": False}, "Somebody tried to sign in and could not."),
        ({"user": "Patient/a", "what": "sign-in", "refs": (), "allowed": False}, "Somebody with your user name tried to sign in and could not."),
        ({"allowed": False}, "Dr Shah tried to look at your plan and was told no."),
        ({"allowed": False, "what": "create", "refs": ("Task/",)}, "Dr Shah tried to add an action and was told no."),
        ({"what": "login", "action": "E", "refs": ()}, "Dr Shah signed in."),
        ({"what": "login", "allowed": False}, "Dr Shah tried to sign in and could not."),
        ({"user_name": "", "organisation": None}, "Somebody looked at your plan."),
        (
            {"refs": ("NutritionOrder/1", "VisionPrescription/2")},
            "Dr Shah looked at 2 parts of your record.",
        ),
    ],
)
def test_a_sentence_says_who_did_what_and_whether_they_were_told_no(changes, said):
    assert told(NOTE, **changes) == said


def test_a_sentence_never_gives_an_id_or_a_query_away():
    said = told(NOTE, refs=("Goal/secret-id", "Patient/other"), query="name=Smith", detail="0198-secret")
    assert "secret" not in said and "Smith" not in said and "other" not in said


# -- the AuditEvent ---------------------------------------------------------------------------------------------------


def codes(e: dict[str, Any]) -> tuple[str, list[str], str, str]:
    return e["type"]["code"], [s["code"] for s in e["subtype"]], e["action"], e["outcome"]


def agent(e: dict[str, Any], code: str) -> dict[str, Any]:
    return next(a for a in e["agent"] if a["type"]["coding"][0]["code"] == code)


def entity(e: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [x for x in e.get("entity", []) if x["type"]["code"] == code]


@pytest.mark.parametrize(
    ("what", "letter", "pattern", "subtype", "action", "client"),
    [
        ("read", "R", "PatientRead", "read", "R", "110152"),
        ("vread", "R", "PatientRead", "vread", "R", "110152"),
        ("search", "R", "PatientQuery", "search", "E", "110153"),
        ("create", "C", "PatientCreate", "create", "C", "110153"),
        ("update", "U", "PatientUpdate", "update", "U", "110153"),
        ("patch", "U", "PatientUpdate", "patch", "U", "110153"),
        ("delete", "D", "PatientDelete", "delete", "D", "110153"),
    ],
)
def test_what_was_done_is_told_in_its_pattern(what, letter, pattern, subtype, action, client):
    e = event(replace(NOTE, what=what, action=letter, query="CarePlan?patient=a"), "https://here.example/fhir")
    assert e["meta"]["profile"] == [BALP + pattern]
    assert codes(e) == ("rest", [subtype], action, "0")
    assert agent(e, client)["who"] == {"identifier": {"value": "app-1"}} and agent(e, client)["network"]
    server = agent(e, "110153" if client == "110152" else "110152")
    assert server["who"] == e["source"]["observer"] and server["network"] == {"address": "https://here.example/fhir", "type": "5"}
    assert agent(e, "IRCP")["who"] == {"reference": "Practitioner/p"} and agent(e, "IRCP")["requestor"] is True
    assert entity(e, "1")[0]["what"] == {"reference": "Patient/a"}
    data = entity(e, "2")
    if what == "search":
        assert b64decode(data[0]["query"]) == b"CarePlan?patient=a" and data[0]["role"]["code"] == "24" and "what" not in data[0]
    else:
        assert [d["what"]["reference"] for d in data] == ["CarePlan/1"]


def test_without_a_person_it_is_the_plain_pattern():
    assert event(replace(NOTE, patient=None, refs=("Organization/o",)))["meta"]["profile"] == [BALP + "Read"]


def test_reading_a_person_names_them_as_patient_and_as_data():
    e = event(replace(NOTE, refs=("Patient/a",)))
    assert e["meta"]["profile"] == [BALP + "PatientRead"]
    assert len(entity(e, "1")) == len(entity(e, "2")) == 1


def test_a_refusal_is_an_authorization_decision():
    e = event(REFUSED)
    assert e["meta"]["profile"] == [BALP + "AuthZconsent"]
    assert codes(e) == ("110113", ["AuthZ-Consent"], "E", "8")
    assert e["outcomeDesc"] == "implicit"
    assert {a["type"]["coding"][0]["code"] for a in e["agent"]} == {"110150", "authserver", "IRCP", "PROV"}
    assert agent(e, "authserver")["who"] == e["source"]["observer"]
    assert [x["what"]["reference"] for x in e["entity"]] == ["Patient/a", "Consent/c1"]
    assert codes(event(replace(REFUSED, basis="rbac")))[1] == ["AuthZ-Role"]


@pytest.mark.parametrize("lacks", [{"consent": None}, {"client": None}, {"organisation": None}, {"patient": None}, {"user": ""}])
def test_a_pattern_is_claimed_only_with_everything_it_asks_for(lacks):
    assert "meta" not in event(replace(REFUSED, **lacks))


def test_several_things_at_once_are_no_basic_read():
    e = event(replace(NOTE, refs=("Goal/1", "Goal/2")))
    assert "meta" not in e and len(entity(e, "2")) == 2


def test_a_disclosure_says_what_went_to_whom():
    e = event(replace(NOTE, what="disclose", user="", client="hospital-server"))
    assert e["meta"]["profile"] == [BALP + "PrivacyDisclosure.Source"]
    assert codes(e) == ("110106", ["disclose"], "R", "0")
    assert agent(e, "110153")["who"] == e["source"]["observer"]
    assert agent(e, "110152")["who"] == {"identifier": {"value": "hospital-server"}}


def test_signing_in_and_what_only_we_do():
    assert codes(event(replace(NOTE, what="login", action="E", patient=None, refs=()))) == ("110114", ["110122"], "E", "0")
    assert codes(event(replace(NOTE, what="login", action="E", allowed=False)))[3] == "8"
    e = event(replace(NOTE, what="conflict", action="U"))
    assert "meta" not in e and e["subtype"][0]["system"].startswith("https://fhir-gateway.example/")


def test_what_a_command_did_says_so():
    act = replace(NOTE, user="Device/operator", user_name="Operator", client=None, organisation=None, purpose="HOPERAT", what="export")
    (by,) = [a["who"] for a in event(act)["agent"] if a.get("network", {}).get("type") == "1" and not a.get("requestor")][:1]
    assert by == {"identifier": {"value": "a command on this machine"}}
    assert event(act)["purposeOfEvent"][0]["coding"][0]["code"] == "HOPERAT"
    assert "a page of this gateway" in str(event(replace(act, user="Practitioner/p")))


def test_times_are_utc_with_milliseconds():
    there = datetime(2026, 11, 24, 14, 0, 0, 5000, tzinfo=timezone(timedelta(hours=2)))
    assert event(replace(NOTE, at=there))["recorded"] == "2026-11-24T12:00:00.005Z"


@pytest.mark.parametrize(
    "note",
    [NOTE, REFUSED, replace(NOTE, what="search", query=""), replace(NOTE, what="disclose"), replace(NOTE, what="login", refs=(), patient=None),
     replace(NOTE, what="break-glass"), replace(REFUSED, user="", user_name="", organisation=None, client=None, patient=None, refs=("CarePlan/1",))],
)  # fmt: skip
def test_every_event_is_valid_r4(note):
    from fhir_gateway.domain.r4 import R4
    from fhir_gateway.domain.validate import check

    tables = Path(__file__).parents[1] / "profiles" / "r4"
    r4 = R4(**{n: (tables / f"{n}.json").read_bytes() for n in ("structures", "search", "codes", "extensions")})
    assert [i for i in check(event(note), r4) if i.severity in ("error", "fatal")] == []


# -- as bytes ---------------------------------------------------------------------------------------------------------

words = st.text(max_size=10)
notes = st.builds(
    Note, id=words, at=st.datetimes(timezones=st.just(UTC)), action=st.sampled_from("CRUDE"), what=words, allowed=st.booleans(), user=words,
    user_name=words, organisation=st.none() | words, client=st.none() | words, purpose=words, patient=st.none() | words,
    refs=st.lists(words, max_size=3).map(tuple), query=words, basis=words, consent=st.none() | words,
    obligations=st.lists(words, max_size=2).map(tuple), detail=words,
)  # fmt: skip


@given(notes)
def test_a_row_survives_as_bytes(note):
    assert decode(encode(note)) == note


@given(notes)
def test_any_row_can_be_told(note):
    assert sentence(note).endswith(".")
    assert event(note)["resourceType"] == "AuditEvent"
