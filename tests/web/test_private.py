"""What in my plan is private: by the forms of the pages, as a person fills them in."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fhir_gateway.domain import consent, labels, sharing
from fhir_gateway.domain.provisions import parse
from fhir_gateway.domain.standing import Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, Facts
from fhir_gateway.web.pages import draft, private

from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway

PRIVATE = "/my-plan/private"
AT = datetime(2026, 11, 25, 9, tzinfo=UTC)


def first_goal(v: Visitor) -> str:
    found = re.search(r'href="(/my-plan/private/Goal/[^"]+)"', v.get(PRIVATE).text)
    assert found, v.words()
    return found.group(1)


def test_the_person_says_what_a_goal_is_about_and_takes_it_back(demo: Gateway) -> None:
    v = as_(demo, "patient")
    assert "Say what is private in my plan" in v.words()
    page = first_goal(v)
    ref = page.removeprefix("/my-plan/private/")
    assert demo.get("social-worker", ref).status_code == 200
    v.get(page)
    assert "people who look after you no longer see it" in v.words()
    saved = v.send(page, about="sexual")
    assert saved.url.path == PRIVATE and "Saved" in v.words() and "Sexual health" in v.words()
    assert demo.get("social-worker", ref).status_code == 404
    assert {c["code"] for c in demo.get("patient", ref).json()["meta"]["security"]} == {"SEX", "R"}
    v.get(page)
    v.send(page, about="mental")
    assert {c["code"] for c in demo.get("patient", ref).json()["meta"]["security"]} == {"MH", "R"}
    v.get(page)
    v.send(page, about="general")
    assert demo.get("social-worker", ref).status_code == 200
    assert "Took a privacy label off something in your plan or record" in v.get("/my-plan/who-looked?mine=yes").text.replace("&#39;", "'")


def test_what_was_marked_by_its_writer_or_its_codes_cannot_be_taken_off_here(demo: Gateway) -> None:
    body = {
        "resourceType": "Condition", "subject": {"reference": f"Patient/{demo.patient}"},
        "code": {"text": "Feeling low", "coding": [{"system": "http://snomed.info/sct", "code": "35489007"}]},
    }  # fmt: skip
    made = demo.call("gp", "POST", "Condition", body=body).json()
    v = as_(demo, "patient")
    page = f"{PRIVATE}/Condition/{made['id']}"
    v.get(page)
    assert "This was marked as Mental health" in v.words()
    v.send(page, about="general")
    assert demo.get("social-worker", f"Condition/{made['id']}").status_code == 404


WHO = Actor("professional", frozenset({"Practitioner/a"}), "Practitioner/a", sector="health")


def seen(word: str, *bodies: dict[str, Any]) -> bool:
    """Does somebody who looks after the person see what they marked with this word."""
    (system, code), _counts = private.WORDS[word]
    carried = labels.read([{"system": system, "code": code}])
    facts = Facts("Goal", "g", ("Patient/p",), carried.confidentiality, carried.sensitivity)
    given = tuple(parse(b, f"c{i}", 1) for i, b in enumerate(bodies))
    known = Standing("Patient/p", given, relationships=(Relationship(WHO.ids, "claim", "x"),), policy=Policy())
    return consent.decide(Ask(WHO, "access", AT), facts, {"Patient/p": known}).permit


def said(how: Callable[..., dict[str, Any]], word: str, who: str | None) -> dict[str, Any]:
    return how(None, "Patient/p", who=who, kinds=("goals",) if how is sharing.grant else (), labels=(word,), at=AT, rule_id="r")


@pytest.mark.parametrize("word", sorted(private.WORDS))
def test_every_word_of_the_page_is_one_that_hides_and_opens_what_it_marks_and_nothing_that_another_marks(word: str) -> None:
    assert set(private.SAID) == {"general", *sharing.LABELS} and {"mental", "sexual", "social"} <= set(sharing.LABELS)
    assert not seen(word)
    yes = said(sharing.grant, word, "Practitioner/a")
    assert seen(word, yes)
    assert [other for other in private.WORDS if other != word and seen(other, yes)] == []
    every = sharing.grant(None, "Patient/p", who="Practitioner/a", kinds=("goals",), labels=tuple(sharing.LABELS), at=AT, rule_id="r")
    assert seen(word, every)
    assert not seen(word, every, said(sharing.hide, word, "Practitioner/a"))
    assert not seen(word, every, said(sharing.hide, word, None))


def test_hiding_and_sharing_offer_the_words_of_the_page(demo: Gateway) -> None:
    v = as_(demo, "patient")
    page = first_goal(v)
    v.get(page)
    assert all(text in v.words() for text in private.SAID.values())
    v.get("/my-plan/sharing/hide")
    assert all(text in v.words() for text in draft.PRIVATE.values())


def test_words_that_may_be_private_are_pointed_out(demo: Gateway) -> None:
    body = {
        "resourceType": "Goal", "lifecycleStatus": "active", "subject": {"reference": f"Patient/{demo.patient}"},
        "description": {"text": "See the abortion clinic"},
    }  # fmt: skip
    demo.call("patient", "POST", "Goal", body=body)
    v = as_(demo, "patient")
    v.get(PRIVATE)
    assert "The words may be about: sexual health" in v.words()


def test_hiding_where_i_am_and_showing_it_again(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get(PRIVATE)
    v.send(f"{PRIVATE}/where")
    assert "Nobody is shown where you are now" in v.words()
    seen = demo.get("gp", f"Patient/{demo.patient}").json()
    assert not {"address", "telecom", "generalPractitioner"} & seen.keys()
    v.send(f"{PRIVATE}/where")
    assert "can see where you are again" in v.words()


def test_wrong_ways_are_answered_in_words(demo: Gateway) -> None:
    v = as_(demo, "patient")
    page = first_goal(v)
    v.get(page)
    assert "Choose what this is about" in v.send(page, about="everything").text
    for wrong in ("Goal/nobody", f"Patient/{demo.patient}", "Nothing/1"):
        assert v.get(f"{PRIVATE}/{wrong}").status_code == 404
    assert v.http.post(page, data={"about": "general"}).status_code == 403
    assert as_(demo, "gp").get(PRIVATE).status_code in (403, 404)
