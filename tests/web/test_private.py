"""What in my plan is private: by the forms of the pages, as a person fills them in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway

PRIVATE = "/my-plan/private"


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
