"""Allergies, warnings and the day of the last change on the pages: words, in the order that matters, and only what this reader may see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.alerts import NOTHING_KNOWN, SNOMED
from fhir_gateway.web.pages import render
from fhir_gateway.web.pages.alerts import Alerts, alerts
from fhir_gateway.web.pages.plan_view import plan_view

from .test_doors import as_
from .test_templates import json_values, request
from .test_urgent import AMINA, filled

if TYPE_CHECKING:
    from ..conftest import Gateway

TODAY = date(2026, 11, 24)
NOTHING = "Nothing is recorded here that you may see."
CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
CATEGORY = "http://terminology.hl7.org/CodeSystem/flag-category"
PEANUT: dict[str, Any] = {
    "resourceType": "AllergyIntolerance", "id": "a1", "criticality": "high", "type": "allergy", "category": ["food"],
    "code": {"coding": [{"system": SNOMED, "code": "91935009", "display": "Allergy to peanut"}]}, "onsetAge": {"value": 4, "code": "a", "unit": "a"},
    "recordedDate": "2020-05-01", "lastOccurrence": "2024-03", "note": [{"text": "Carries a <pen>"}],
    "reaction": [{"manifestation": [{"text": "Rash"}, {"coding": [{"system": SNOMED, "code": "271825005", "display": "Hard to breathe"}]}],
                  "severity": "severe", "description": "Within minutes", "onset": "2019-02-03"}],
}  # fmt: skip


def allergy(name: str, clinical: str = "active", verified: str = "confirmed", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "AllergyIntolerance", "id": name, "code": {"text": name}, "clinicalStatus": {"coding": [{"system": CLINICAL, "code": clinical}]},
        "verificationStatus": {"coding": [{"system": VERIFIED, "code": verified}]}, **more,
    }  # fmt: skip


def flag(name: str, status: str = "active", **period: str) -> dict[str, Any]:
    return {"resourceType": "Flag", "id": name, "status": status, "code": {"text": name}, "period": period}


def told(*record: dict[str, Any], own: bool = False) -> str:
    """The words of the part of the page that is about these."""
    found = alerts(record, TODAY, own=own)
    html = bytes(render(request(), "team_person.html", plan=plan_view({}, TODAY, own=own), own=own, empty=True, alerts=found).body).decode()
    part = re.search(r'<section aria-labelledby="alerts">.*?</section>', html, re.S)
    assert part
    return " ".join(re.sub(r"<[^>]+>", " ", part.group()).split())


# -- what is said -----------------------------------------------------------------------------------------------------


def test_an_allergy_is_told_with_how_dangerous_what_happens_and_when() -> None:
    said = told(PEANUT)
    for words in (
        "Allergy to peanut Dangerous", "High: it could put their life in danger", "Rash, Hard to breathe (severe), 3 February 2019: Within minutes",
        "Allergy, food", "Since the age of 4 years", "Last time March 2024", "Written down on 1 May 2020", "Carries a &lt;pen&gt;",
    ):  # fmt: skip
        assert words in said, words
    assert "91935009" not in said and "271825005" not in said, "no codes where there are words"
    assert "it could put my life in danger" in told(PEANUT, own=True)


def test_dangerous_ones_come_first_and_what_is_over_last() -> None:
    names = ["Grass", "Wasps", "Latex", "Eggs", "Milk"]
    held = [
        allergy("Milk", "resolved"), allergy("Grass", criticality="low"), allergy("Eggs", verified="refuted", criticality="high"),
        allergy("Latex", criticality="unable-to-assess"), allergy("Wasps", criticality="high"), allergy("Typo", verified="entered-in-error"),
    ]  # fmt: skip
    found = [(i.text, i.state) for i in alerts(held, TODAY, own=False).allergies]
    assert found == [("Wasps", "Dangerous"), ("Latex", ""), ("Grass", ""), ("Eggs", "Ruled out"), ("Milk", "Over")]
    assert {n for n, _ in found} == set(names)
    assert "Is it sure? No, nobody has made sure" in told(allergy("Latex", verified="unconfirmed"))


@pytest.mark.parametrize("known", NOTHING_KNOWN)
def test_no_known_allergies_are_said_when_somebody_wrote_it_down(known: tuple[str, str]) -> None:
    code = {"coding": [{"system": known[0], "code": known[1]}], "text": "NKA"}
    said = told(allergy("n", code=code, recordedDate="2026-05-01"))
    assert f"{NOTHING_KNOWN[known]}. Somebody wrote this down on 1 May 2026." in said
    assert said.count(NOTHING) == 1, "of warnings alone"
    assert known[1] not in said


@pytest.mark.parametrize(("clinical", "verified"), [("active", "refuted"), ("active", "entered-in-error"), ("resolved", "confirmed"), ("inactive", "confirmed")])
def test_no_known_allergies_are_not_claimed_by_what_does_not_hold(clinical: str, verified: str) -> None:
    code = {"coding": [{"system": SNOMED, "code": "716186003"}]}
    assert "No known allergies" not in told(allergy("n", clinical, verified, code=code))


def test_where_nothing_may_be_seen_nothing_is_claimed() -> None:
    said = told()
    assert said.count(NOTHING) == 2 and "That does not mean that there is none." in said
    assert "No known" not in said and "no allergies" not in said.lower()


def test_warnings_that_hold_come_first_with_what_they_are_about_and_how_long() -> None:
    held = [
        flag("Past", end="2026-11-23"), flag("Stopped", "inactive"), flag("Wrong", "entered-in-error"), flag("Soon", start="2027-01-01"),
        flag("Dog", start="2026-01-01", end="2026-11-24") | {"category": [{"coding": [{"system": CATEGORY, "code": "safety"}]}]},
    ]  # fmt: skip
    found = alerts(held, TODAY, own=False).warnings
    assert [(w.text, w.state) for w in found] == [("Dog", "Now"), ("Soon", "Not yet"), ("Past", "Over"), ("Stopped", "Over")]
    assert "Dog Now What it is about Safety From 1 January 2026 Until 24 November 2026" in told(*held)


def test_codes_without_words_are_folded_away_and_nothing_is_left_without_a_name() -> None:
    bare = {"coding": [{"system": SNOMED, "code": "294505008"}]}
    for said, name in ((told(allergy("n", code=bare)), "An allergy that is not described"), (told(flag("n") | {"code": bare}), "A warning that is not described")):
        assert name in said and re.search(r"What is not described, for a professional http://snomed.info/sct\|294505008", said)
    of = allergy("n", code=None, reaction=[{"substance": {"text": "Aspirin"}, "manifestation": [bare]}])
    assert "Aspirin" in told(of) and "a reaction that is not described" in told(of)


@settings(deadline=None)
@given(st.sampled_from(sorted({*PEANUT, "clinicalStatus", "onsetRange", "onsetPeriod"} - {"resourceType", "id"})), json_values, st.sampled_from(["AllergyIntolerance", "Flag"]))
def test_an_odd_record_is_still_a_page(key: str, odd: Any, type: str) -> None:
    assert told({**PEANUT, "resourceType": type, "status": "active", key: odd})


# -- to whom ----------------------------------------------------------------------------------------------------------


@contextmanager
def recorded(demo: Gateway, body: dict[str, Any]) -> Iterator[str]:
    """Of the GP, for a while."""
    made = demo.call("gp", "POST", body["resourceType"], body=body)
    assert made.status_code == 201, made.text
    ref = f"{body['resourceType']}/{made.json()['id']}"
    try:
        yield ref
    finally:
        assert demo.call("gp", "DELETE", ref, headers={"If-Match": made.headers["etag"]}).status_code == 204


def subject(demo: Gateway) -> dict[str, str]:
    return {"reference": f"Patient/{demo.patient}"}


@pytest.mark.parametrize(("who", "path"), [("patient", "/my-plan"), *((who, "/team/people/{}") for who in ("proxy", "gp", "social-worker"))])
def test_allergies_and_warnings_stand_before_the_plan(demo: Gateway, who: str, path: str) -> None:
    v = as_(demo, who)
    v.get(path.format(demo.patient))
    words = v.words()
    assert "Penicillin Dangerous" in words and "Falls easily" in words and "Swollen face and lips, Hard to breathe (severe), June 1998" in words
    assert words.index("Penicillin") < words.index("Falls easily") < words.index("What matters to me")


def test_urgent_care_reads_them_where_it_is_promised(demo: Gateway) -> None:
    pia = as_(demo, "paramedic")
    assert "warnings, allergies" in pia.get("/team/find").text
    found = filled(pia, "/team/find", AMINA)
    assert found.url.path == f"/team/people/{demo.patient}"
    words = pia.words()
    assert "Penicillin Dangerous" in words and "Falls easily" in words and "Some information may be withheld." in words
    assert words.index("Some information may be withheld.") < words.index("Penicillin") < words.index("If things get worse")


def test_what_is_private_is_absent_to_urgent_care_and_not_claimed(demo: Gateway) -> None:
    """Hidden equals absent: the words of the page are those of a record that has none."""
    restricted = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
    pia = as_(demo, "paramedic")
    pia.get(f"/team/people/{demo.patient}")
    before = pia.words()
    hidden = {**flag("Secretly afraid of a neighbour"), "meta": restricted, "subject": subject(demo), "period": {"start": "2026-01-01"}}
    hidden.pop("id")
    with recorded(demo, hidden):
        pia.get(f"/team/people/{demo.patient}")
        assert pia.words() == before and "Secretly" not in pia.page


def test_who_may_see_nothing_else_is_shown_an_allergy_and_that_alone(demo: Gateway) -> None:
    """A person without any plan here, whom urgent care finds."""
    person = {"resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000263"}],
              "name": [{"family": "Planless", "given": ["Nell"]}], "birthDate": "1970-01-02"}  # fmt: skip
    made = demo.call("hospital", "POST", "Patient", body=person)
    assert made.status_code == 201, made.text
    id, pia = made.json()["id"], as_(demo, "paramedic")
    assert pia.get(f"/team/people/{id}").status_code == 404, "nothing to see is no page"
    none = {"resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{id}"}, "recordedDate": "2026-05-01",
            "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]}, "code": {"coding": [{"system": SNOMED, "code": "716186003"}]}}  # fmt: skip
    assert demo.call("hospital", "POST", "AllergyIntolerance", body=none).status_code == 201
    assert pia.get(f"/team/people/{id}").status_code == 200
    words = pia.words()
    assert "No known allergies. Somebody wrote this down on 1 May 2026." in words and words.count(NOTHING) == 1
    assert "There is nothing of a plan here that you can see." in words and "Some information may be withheld." in words and "Planless" not in pia.page
    assert as_(demo, "stranger").get(f"/team/people/{id}").status_code == 404


def test_the_person_asks_why_hides_and_labels_one(demo: Gateway) -> None:
    me = as_(demo, "patient")
    me.get("/my-plan")
    (ref,) = set(re.findall(r"/my-plan/private/(AllergyIntolerance/[^\"]+)", me.page))
    for path in (f"/my-plan/sharing/why?what={ref}", f"/my-plan/sharing/hide?thing={ref}", f"/my-plan/private/{ref}"):
        answer = me.get(path)
        assert answer.status_code == 200 and "Penicillin" in me.words(), path
    me.get(f"/my-plan/sharing/hide?thing={ref}")
    assert re.search(rf'value="{re.escape(ref)}"[^>]* checked', me.page), "what was asked to be hidden is chosen"


# -- when it last changed ---------------------------------------------------------------------------------------------


def test_the_plan_and_each_goal_say_when_they_last_changed_and_by_whom(demo: Gateway) -> None:
    found = [e["resource"] for e in demo.get("gp", f"Goal?patient={demo.patient}").json()["entry"]]
    goal = next(g for g in found if "one-pot supper" in g["description"]["text"])  # a step on the way to one of three
    changed = {**goal, "note": [*goal.get("note", []), {"text": "Going well"}]}
    put = demo.call("gp", "PUT", f"Goal/{goal['id']}", body=changed, headers={"If-Match": f'W/"{goal["meta"]["versionId"]}"'})
    assert put.status_code == 200, put.text
    on = put.json()["meta"]["lastUpdated"][:10]
    said = r"Last changed:? \d{1,2} [A-Z][a-z]+ \d{4}, Dr Asha Patel, Example Street Surgery"
    for who, path in (("patient", "/my-plan"), ("gp", f"/team/people/{demo.patient}")):
        v = as_(demo, who)
        v.get(path)
        assert len(re.findall(said, v.words())) == 2, "the plan and this goal"
        assert len(re.findall(r"Last changed \d{1,2} [A-Z][a-z]+ \d{4}, A computer system, Example General Hospital", v.words())) == 2, "and the two others"
        assert str(int(on[8:])) in re.findall(r"Last changed: (\d{1,2}) ", v.words())


def test_who_changed_what_the_reader_may_not_see_is_not_told(demo: Gateway) -> None:
    pia = as_(demo, "paramedic")
    pia.get(f"/team/people/{demo.patient}")
    to_ring = r"Dr Asha Patel,? (?:Phone )?01632 960101"  # the crisis plan says to contact her
    assert len(re.findall(to_ring, pia.words())) == 2
    assert "Last changed" in pia.words() and "Asha Patel" not in re.sub(to_ring, "", pia.words()), "she changed a goal, which urgent care does not see"


def test_an_empty_part_is_falsy() -> None:
    assert not Alerts() and alerts([PEANUT], TODAY, own=True)
