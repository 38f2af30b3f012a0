"""A choice on its way through the four steps: what was typed, what is wrong with it, what the Consent says of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from starlette.datastructures import FormData

from fhir_gateway.domain import choices, sharing
from fhir_gateway.domain.types import CONTACT, PLACES
from fhir_gateway.web.pages import details
from fhir_gateway.web.pages.draft import PARTS, PRIVATE, PURPOSES, Draft, given_words, mistakes, summary
from fhir_gateway.web.pages.sharing import said

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = date(2026, 11, 24)
NAMED = {"DocumentReference/d1": "Letter from the clinic"}


def draft(*more: tuple[str, str]) -> Draft:
    fields = {
        "who": "Practitioner/rosa", "until_choice": "day", "until-day": "31", "until-month": "1", "until-year": "2027",
        "why": "So that she can find me a choir", "version": "none",
    } | dict(more)  # fmt: skip
    return Draft.of(FormData([*fields.items(), ("parts", "goals"), ("parts", "about"), ("parts", "made-up")]))


def granted(d: Draft) -> dict[str, Any]:
    return sharing.grant(
        None, "Patient/amina", who=d.who, kinds=d.kinds(), labels=d.private, refs=d.things, purpose=d.purpose, until=d.last_day(), at=AT, rule_id="r1",
        words=summary(d, "Rosa Lind", NAMED, {0}), why=d.why,
    )  # fmt: skip


def test_what_was_chosen_is_what_the_list_shows() -> None:
    (row,) = choices.rows(granted(draft(("private", "mental"))))
    shown = said(row, {"Practitioner/rosa": "Rosa Lind"}, TODAY)
    assert shown == {
        "id": "r1", "no": False, "who": "Rosa Lind", "why": "So that she can find me a choir",
        "since": "24 November 2026",
        "what": f"My goals and what we will do\nWhat matters to me\nAlso private things: Mental health\n{details.LISTED[0]}",
        "until": "31 January 2027", "ended": False, "purpose": "To care for you", "can_change": True, "key": "Practitioner/rosa",
        "sees": None, "hides": False, "codes": [],
    }  # fmt: skip
    assert said(row, {}, date(2027, 2, 1))["ended"] and not said(row, {}, date(2027, 1, 31))["ended"]


def test_the_consent_keeps_the_sentence_the_person_read() -> None:
    (row,) = choices.rows(granted(draft()))
    assert row.words == (
        "Rosa Lind may see these parts of your plan: My goals and what we will do, What matters to me, until the end of 31 January 2027. "
        "They will also see your details, such as your NHS number, address and phone. They may look to care for you."
    )


SAID_AS = {
    "Patient": "NHS number", "CarePlan": "plan|get worse", "Goal": "goals", "Task": "tasks", "Condition": "illnesses and conditions",
    "ServiceRequest": "sent to and what you could not get", "QuestionnaireResponse": "answers", "CareTeam": "team",
    "RelatedPerson": "family", "Observation": "measurements", "DocumentReference": "documents", "Flag": "warnings", "AllergyIntolerance": "allergies",
    "MedicationStatement": "medicines", "MedicationRequest": "medicines", "Encounter": "stayed in hospital",
}  # fmt: skip


@pytest.mark.parametrize("part", [p for p in PARTS if p != "plan"])
def test_the_page_before_saving_names_all_that_is_given(part: str) -> None:
    """Every class of the consent is in the words of the last step."""
    chosen = replace(draft(), parts=(part,))
    rules = granted(chosen)["provision"]["provision"]
    classes = {c["code"] for r in rules for c in r.get("class", [])} | ({"CarePlan"} if part == "crisis" else set())
    assert "Patient" in classes
    for kind in classes:
        assert re.search(SAID_AS[kind], given_words(chosen, NAMED, {0}), re.I), f"{part} gives {kind} and does not say so"


def test_the_whole_plan_says_what_more_it_gives() -> None:
    chosen = replace(draft(), parts=("plan",))
    classes = {c["code"] for r in granted(chosen)["provision"]["provision"] for c in r.get("class", [])}
    assert {"Flag", "AllergyIntolerance"} <= classes, "what people need to know in a crisis"
    assert "MedicationStatement" in classes and classes.isdisjoint({"ClinicalImpression", "RiskAssessment"}), "what the plan's page shows of it"
    assert all(re.search(SAID_AS[kind], given_words(chosen, NAMED, {0}), re.I) for kind in classes)


def test_a_single_thing_is_named_before_saving_and_in_the_list() -> None:
    chosen = replace(draft(), parts=(), things=("DocumentReference/d1",))
    assert "Only this: Letter from the clinic, also if it is marked as private." in given_words(chosen, NAMED, {0})
    assert "Rosa Lind may see these parts of your plan: Letter from the clinic, until" in summary(chosen, "Rosa Lind", NAMED, {0})
    (row,) = choices.rows(granted(chosen))
    assert said(row, {}, TODAY, NAMED)["what"] == f"Letter from the clinic\n{details.LISTED[0]}"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_choice_comes_back_into_the_form_as_it_was_made(purpose: str) -> None:
    d = draft(("private", "mental"), ("things", "DocumentReference/d1"), ("purpose", purpose))
    (row,) = choices.rows(granted(d))
    back = Draft.of_choice(row, "none")
    assert back == replace(d, rule="r1", until=back.until)
    assert back.last_day() == d.last_day() and mistakes(back, "when", TODAY, known=True) == {}
    open_end = replace(d, until_choice="open")
    assert Draft.of_choice(choices.rows(granted(open_end))[0], "none").last_day() is None


def test_every_part_and_private_thing_of_the_page_is_one_that_a_consent_can_say() -> None:
    for part in PARTS:
        assert part in sharing.KINDS
    assert set(PRIVATE) == set(sharing.LABELS) and set(PURPOSES) == set(sharing.PURPOSES)


def test_all_her_details_are_a_choice_of_their_own_that_comes_back() -> None:
    for more in (("parts", "goals"), ("parts", "plan"), ("parts", "crisis"), ("things", "DocumentReference/d1"), ("why", "")):
        d = draft(("identity", "yes"), more)
        (row,) = choices.rows(granted(d))
        assert row.exact and "identity" in row.kinds and Draft.of_choice(row, "none").kinds() == d.kinds()
        assert details.OFFER[0] in said(row, {}, TODAY, NAMED)["what"]
    assert not draft().identity and not draft(("identity", "x")).identity and "identity" not in draft(("parts", "plan")).kinds()
    alone = replace(draft(("identity", "yes")), parts=())
    assert mistakes(alone, "what", TODAY, True) == {} and f"plan: {details.OFFER[0]}," in summary(alone, "Rosa Lind", NAMED, {0})


@pytest.mark.parametrize(
    ("views", "promised", "never"),
    [
        ({0}, ("NHS number", "address", "phone"), ()), ({CONTACT}, ("name", "one way to reach you"), ("such as",)),
        ({PLACES}, ("NHS number", "not where you live"), ("address",)), ({CONTACT | PLACES}, ("name",), ("such as", "way to reach")),
        ({0, CONTACT}, ("health or social care", "The others"), ()), ({PLACES, CONTACT | PLACES}, ("not where you live",), ("address", "way to reach")),
    ],
)  # fmt: skip
def test_what_is_said_of_her_details_is_what_this_reader_gets(views: set[int], promised: tuple[str, ...], never: tuple[str, ...]) -> None:
    told = summary(draft(), "Rosa Lind", NAMED, views)
    assert all(p in told for p in promised) and not any(n in told for n in never), told
    assert given_words(draft(), NAMED, views).endswith(f"{details.listed(views)}.")
    assert details.LISTED.keys() == details.SAID.keys() == {0, CONTACT, PLACES, CONTACT | PLACES}


def test_the_whole_plan_holds_its_parts() -> None:
    d = Draft.of(FormData([("parts", "goals"), ("parts", "plan")]))
    assert d.kinds() == ("plan",)


@pytest.mark.parametrize(
    ("step", "typed", "field"),
    [
        ("who", {}, "who"),
        ("when", {"until_choice": ""}, "until_choice"),
        ("when", {"until-month": "13"}, "until"),
        ("when", {"until-day": "", "until-month": "", "until-year": ""}, "until"),
        ("when", {"until-year": "2026"}, "until"),
        ("when", {"until-year": "9999"}, "until"),
        ("when", {"why": "x" * 501}, "why"),
    ],
)
def test_each_mistake_is_said_at_its_field(step: str, typed: dict[str, str], field: str) -> None:
    assert list(mistakes(draft(*typed.items()), step, TODAY, known=False)) == [field]


def test_today_is_still_a_day_to_share_until() -> None:
    d = draft(("until-day", "24"), ("until-month", "11"), ("until-year", "2026"))
    assert mistakes(d, "when", TODAY, known=True) == {}
    assert d.last_day() == TODAY


def test_until_i_stop_it_has_no_last_day_even_when_one_was_typed() -> None:
    assert draft(("until_choice", "open")).last_day() is None
