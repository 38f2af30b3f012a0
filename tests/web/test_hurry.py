"""One screen for those in a hurry, and a link to it that says nothing of whom it is about. docs/in-a-hurry.md"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx2
import pytest

from fhir_gateway.domain.problem import Problem
from fhir_gateway.gate.linking import LASTS, sealed, unsealed
from tests.conftest import VERIFY
from tests.web.test_doors import PASSWORD, Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway


def test_it_has_what_matters_the_crisis_plan_and_whom_to_ring_and_little_else(demo: Gateway) -> None:
    v = as_(demo, "gp")
    here = f"/team/people/{demo.patient}/in-a-hurry"
    assert "You have not looked at this plan before." in (v.get(here) and v.words())
    said = v.words()
    for there in ("Amina Example", "born 7 April 1951", "Allergy: Penicillin Dangerous", "Falls easily", "If I fall or cannot get up", "Leila has a key", "Cooking for my family", "01632 960101", "07700 900019"):
        assert there in said, there
    assert "Direct payment" not in said and "Hip exercises" not in said and '<a dir="ltr" href="tel:07700900019"' in v.page, "its parts change places in a language that runs from right to left"
    assert f'href="{here}"' in v.get(f"/team/people/{demo.patient}").text
    v.http.close()


def test_it_says_what_changed_since_this_reader_last_looked_and_nothing_that_is_hidden_from_them(demo: Gateway) -> None:
    v = as_(demo, "social-worker")
    here = f"/team/people/{demo.patient}/in-a-hurry"
    v.get(here)
    v.get(here)
    assert "Nothing that you may see has changed since" in v.words()
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "subject": {"reference": f"Patient/{demo.patient}"}}
    very = {"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}}
    for body in ({**goal, "description": {"text": "Sing in the choir"}}, {**goal, **very, "description": {"text": "A secret wish"}}):
        assert demo.call("patient", "POST", "Goal", body=body).status_code == 201
    v.get(here)
    assert "A goal: Sing in the choir" in v.words() and "A secret wish" not in v.page
    v.get(here)
    assert "Sing in the choir" not in v.words(), "they have seen it now"
    v.http.close()


def test_the_whole_plan_begins_with_it_too_with_who_and_when(demo: Gateway) -> None:
    v = as_(demo, "social-worker")
    here = f"/team/people/{demo.patient}"
    v.get(here)
    v.get(here)
    assert "Nothing that you may see has changed since" in v.words()
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "subject": {"reference": f"Patient/{demo.patient}"}}
    very = {"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}}
    for body in ({**goal, "description": {"text": "Ring my <i>sister</i>"}}, {**goal, **very, "description": {"text": "A secret wish"}}):
        assert demo.call("gp" if "meta" not in body else "patient", "POST", "Goal", body=body).status_code == 201
    v.get(here)
    assert re.search(r"A goal: Ring my <i>sister</i> \([^)]*, Dr Asha Patel\)", v.words()), v.words()
    assert "A secret wish" not in v.page and "<i>sister" not in v.page
    v.get(here)
    assert "Ring my <i>sister</i> (" not in v.words(), "they have seen it now"
    v.http.close()


@pytest.mark.parametrize("who", ["stranger", "link-worker"])
def test_who_may_not_see_the_person_finds_nothing(demo: Gateway, who: str) -> None:
    v = as_(demo, who)
    assert v.get(f"/team/people/{demo.patient}/in-a-hurry").status_code == v.get("/team/people/nobody/in-a-hurry").status_code == 404
    v.http.close()


def test_a_link_leads_who_may_see_the_person_there_and_tells_nothing(demo: Gateway) -> None:
    made = demo.call("hospital", "POST", f"/patients/{demo.patient}/link")
    assert made.status_code == 201, made.text
    url = made.json()["url"]
    assert demo.patient not in url and set(made.json()) == {"url", "until"}
    outside = httpx2.get(url, verify=VERIFY)
    assert outside.status_code == 303 and outside.headers["location"].startswith("/sign-in?next="), "it opens nothing by itself"
    path = url.removeprefix(demo.base)
    newcomer = Visitor(demo)
    newcomer.get(path)
    signed = newcomer.send("/sign-in", username="gp", password=PASSWORD)
    assert signed.url.path == f"/team/people/{demo.patient}/in-a-hurry", "whoever signs in for it goes on to where it leads"
    newcomer.http.close()
    gp, stranger = as_(demo, "gp"), as_(demo, "stranger")
    assert gp.get(path).url.path == f"/team/people/{demo.patient}/in-a-hurry" and "If I fall or cannot get up" in gp.words()
    assert stranger.get(path).status_code == 404 and "Amina" not in stranger.page
    for wrong in (path[:-2], path + "A", "/open/x", "/open/" + "A" * 3000):
        assert gp.get(wrong).status_code in (404, 414), wrong
    assert demo.call("stranger", "POST", f"/patients/{demo.patient}/link").status_code == demo.call("stranger", "POST", "/patients/nobody/link").status_code == 404
    gp.http.close()
    stranger.http.close()


def test_a_link_ends_after_a_shift_and_is_of_one_store_alone() -> None:
    made = datetime(2026, 11, 26, 8, tzinfo=UTC)
    token = sealed(b"a" * 32, "ann", made + LASTS)
    assert unsealed(b"a" * 32, token, made + LASTS) == "ann"
    for secret, at, said in ((b"b" * 32, made, "not"), (b"a" * 32, made + LASTS + timedelta(seconds=1), "ended")):
        with pytest.raises(Problem, match=said):
            unsealed(secret, token, at)
