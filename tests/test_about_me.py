"""The form *About me*: filled in with what the plan says, and what the plan says made of its answers; by whom the person lets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import plans
from fhir_gateway.around import about_me as in_plan
from fhir_gateway.domain import strict
from fhir_gateway.domain.forms import about_me
from fhir_gateway.domain.forms.about_me import QUESTIONS
from fhir_gateway.domain.scopes import Scopes
from fhir_gateway.plans.editing import changed as edited

from .conftest import Gateway
from .test_forms import KNOWN, OWN, said, wrong
from .test_forms_over_http import extracted, kept, out, params, post, response
from .test_plans import harold, opened
from .web.test_doors import as_
from .web.test_forms_pages import begun, named, typed

FORM = OWN["about-me"]
NAMES = [i["linkId"] for i in FORM["item"]]


def of_plan(**words: str) -> dict[str, Any]:
    return about_me.begun("p", {"subject": {"reference": "Patient/1"}, "item": [said(k, words[k]) for k in QUESTIONS if k in words]}, "2026-01-01")[1]


# -- the rule ---------------------------------------------------------------------------------------------------------


def test_the_form_asks_what_the_plan_has_and_in_its_order() -> None:
    assert tuple(NAMES) == (about_me.BEFORE, *QUESTIONS) and wrong(FORM) == []
    assert KNOWN.questionnaire(about_me.ABOUT_ME) == FORM
    every = of_plan(**{k: k for k in QUESTIONS})
    assert wrong(every, FORM) == [] and about_me.said(every) == {k: k for k in QUESTIONS}


def test_what_was_left_stays_what_was_cleared_goes_and_what_was_answered_is_said() -> None:
    here = of_plan(most_important="Tea", my_wellness="Sun", how_to_support="Slowly")
    before = {"most_important": "Tea", "my_wellness": "Rain", "how_to_support": "Slowly"}  # somebody has said otherwise of `my_wellness` meanwhile
    now = {"most_important": "Coffee", "people_important": "Joan", "my_wellness": "Rain"}
    new = about_me.changed(here, before, now, "2026-02-02")
    assert about_me.said(new) == {"most_important": "Coffee", "people_important": "Joan", "my_wellness": "Sun"} and new["authored"] == "2026-02-02"
    assert new["identifier"] == here["identifier"] and wrong(new, FORM) == []
    assert about_me.changed(here, before, before, "2026-02-02") is here, "nothing answered otherwise is no change"
    alone = about_me.changed(here, {}, {"people_important": "Joan"}, "2026-02-02")
    assert about_me.said(alone) == {**about_me.said(here), "people_important": "Joan"}, "answers that were begun with nothing take nothing away"


def test_whatever_is_written_stands_in_the_order_of_the_form() -> None:
    """The page that changes it writes it, too, and answers out of order are refused."""
    for had in (set(c) for n in (1, 2, 7) for c in combinations(QUESTIONS, n)):
        for name in QUESTIONS:
            now = edited(of_plan(**{k: k for k in had}), "about-me", {(name,): "new"}, "2026-03-03T00:00:00Z")
            assert wrong(now, FORM) == [], (had, name)
            assert about_me.said(now) == {**{k: k for k in had}, name: "new"}


# -- over HTTP --------------------------------------------------------------------------------------------------------


def filled(demo: Gateway, who: str) -> dict[str, Any]:
    me = {"reference": f"Patient/{demo.patient}"}
    told = post(demo, who, "Questionnaire/about-me/$populate", params(subject=me))
    assert out(told, "issues") is None, told
    return {**out(told, "response"), "source": me, "author": me}


def answers(body: dict[str, Any]) -> dict[str, str]:
    return {i["linkId"]: i["answer"][0]["valueString"] for i in body.get("item", [])}


def sent(body: dict[str, Any], **words: str | None) -> dict[str, Any]:
    """As filled in, and then otherwise."""
    said_now = {**answers(body), **words}
    return {**body, "status": "completed", "authored": "2026-11-20T10:00:00Z", "item": [said(k, said_now[k]) for k in NAMES if said_now.get(k)]}


def about(demo: Gateway, who: str = "patient") -> dict[str, Any]:
    got = demo.get(who, f"/plans/{demo.patient}")
    assert got.status_code == 200, got.text
    return dict(got.json().get("about_me", {}))


def plans_own(demo: Gateway, who: str = "patient") -> list[dict[str, Any]]:
    found = demo.get(who, f"QuestionnaireResponse?patient={demo.patient}&identifier={about_me.SYSTEM}|").json()
    return [e["resource"] for e in found.get("entry", ())]


def test_the_form_begins_with_what_the_plan_says_and_its_answers_are_what_the_plan_says(demo: Gateway) -> None:
    was, (held,) = about(demo), plans_own(demo)
    begun_with = filled(demo, "patient")
    assert {k: v for k, v in answers(begun_with).items() if k != "before"} == {k: v for k, v in was.items() if k in QUESTIONS}
    id = kept(demo, "patient", sent(begun_with, most_important="My garden", my_wellness=None))
    assert about(demo) == was, "nothing is in the plan before it is extracted"
    dry = out(post(demo, "patient", f"QuestionnaireResponse/{id}/$extract", params(dry_run=True)), "return")
    assert [e["request"]["url"] for e in dry["entry"]] == [f"QuestionnaireResponse/{held['id']}"] and about(demo) == was

    assert extracted(demo, "patient", id) == [(f"QuestionnaireResponse/{held['id']}", "200")]
    assert about(demo) == {k: v for k, v in {**was, "most_important": "My garden", "written_on": "2026-11-20"}.items() if k != "my_wellness"}
    (now,) = plans_own(demo)
    assert now["id"] == held["id"] and now["identifier"] == held["identifier"], "one resource, with its history"
    assert extracted(demo, "patient", id) == [(f"QuestionnaireResponse/{held['id']}", "200")] and plans_own(demo) == [now], "twice the same writes nothing"
    (made,) = [e["resource"] for e in demo.get("patient", f"Provenance?target=QuestionnaireResponse/{held['id']}").json()["entry"] if "entity" in e["resource"]]
    assert made["entity"][0]["what"] == {"reference": f"QuestionnaireResponse/{id}/_history/1"}

    amended = {**sent(begun_with, most_important="My garden and my books", my_wellness=None), "id": id, "status": "amended"}
    assert demo.call("patient", "PUT", f"QuestionnaireResponse/{id}", body=amended, headers={"If-Match": 'W/"1"'}).status_code == 200
    extracted(demo, "patient", id)
    assert about(demo)["most_important"] == "My garden and my books" and about(demo)["people_important"] == was["people_important"]
    assert extracted(demo, "patient", held["id"]) == [], "what the plan says becomes nothing of itself"
    back = demo.call("patient", "POST", "/plans", body=demo.get("patient", f"/plans/{demo.patient}").json(), headers={"Content-Type": "application/json"})
    assert back.status_code in (200, 201), back.text
    assert len(plans_own(demo)) == 1 and about(demo)["most_important"] == "My garden and my books", "and the plan sent back says it, too"


def test_answers_that_no_form_filled_in_take_nothing_away(demo: Gateway) -> None:
    was = about(demo)
    for before in ([], [said("before", "QuestionnaireResponse/nobody/_history/1")], [said("before", f"QuestionnaireResponse/{plans_own(demo)[0]['id']}/_history/99999")]):
        extracted(demo, "patient", kept(demo, "patient", response(demo, "about-me", *before, said("also_worth_knowing", f"I sing {len(before)}"))))
        assert about(demo) == {**was, "also_worth_knowing": f"I sing {len(before)}", "written_on": "2026-11-20"}
        was = about(demo)


def test_who_may_not_see_or_change_it_does_neither(demo: Gateway) -> None:
    hidden = demo.call("stranger", "POST", "Questionnaire/about-me/$populate", body=params(subject={"reference": f"Patient/{demo.patient}"}))
    absent = demo.call("stranger", "POST", "Questionnaire/about-me/$populate", body=params(subject={"reference": "Patient/nobody"}))
    assert hidden.status_code == absent.status_code == 404 and hidden.json() == absent.json()

    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    assert about(demo, "gp") == about(demo)
    extracted(demo, "patient", kept(demo, "patient", {**sent(filled(demo, "patient"), most_important="For few"), "meta": {"security": [label]}}))
    assert about(demo)["most_important"] == "For few" and about(demo, "gp") == {}, "what is made of private answers is as private"
    assert plans_own(demo, "gp") == [] and "item" not in filled(demo, "gp"), "what is hidden from the GP is not filled in for them"
    theirs = kept(demo, "gp", response(demo, "about-me", said("most_important", "What I told my GP")))
    refused = demo.call("gp", "POST", f"QuestionnaireResponse/{theirs}/$extract", body={"resourceType": "Parameters"})
    assert refused.status_code == 422 and "the person themselves can put them into the plan" in refused.text and len(plans_own(demo)) == 1, "no second one beside it"
    assert [d for _, d in extracted(demo, "patient", theirs)] == ["200"] and about(demo)["most_important"] == "What I told my GP" and len(plans_own(demo)) == 1
    mine = filled(demo, "patient")
    assert label["code"] in [c["code"] for c in mine["meta"]["security"]], "what was filled in is as private"
    id = kept(demo, "patient", sent(mine, most_important="Nobody's business"))
    assert demo.get("gp", f"QuestionnaireResponse/{id}").status_code == 404


@pytest.mark.parametrize("item", [said("colour", "blue"), {"linkId": "most_important", "answer": [{"valueInteger": 3}]}])
def test_answers_that_do_not_fit_the_form_are_refused(demo: Gateway, item: dict[str, Any]) -> None:
    refused = demo.call("patient", "POST", "QuestionnaireResponse", body=response(demo, "about-me", item))
    assert refused.status_code == 422 and refused.json()["resourceType"] == "OperationOutcome"


# -- on the pages -----------------------------------------------------------------------------------------------------


def test_the_person_answers_it_on_the_page_and_reads_it_in_their_plan(demo: Gateway) -> None:
    was = about(demo)
    v = as_(demo, "patient")
    v.get("/forms")
    assert "About me" in v.words() and "Put them into the plan" not in v.words() and "not in the plan yet" not in v.words()
    at = begun(v, "about-me")
    assert was["most_important"] in v.words() and "What was said before" not in v.words() and "_history" not in v.page
    there = {named(v, i["text"]): was.get(i["linkId"], "") for i in FORM["item"][1:]}
    typed(v, at, **{**there, named(v, "What matters most to me?"): "My garden & my dog", named(v, "Who matters to me?"): ""})
    v.send(at.rsplit("/", 1)[0] + "/check")
    assert "What matters to me: My garden & my dog" in v.words() and "not in the plan yet" not in v.words(), v.words()
    v.get("/my-plan")
    assert "My garden & my dog" in v.words() and was["how_to_support"] in v.words() and was["people_important"] not in v.words()


def test_one_that_somebody_adds_beside_it_is_not_what_the_plan_says_and_makes_no_third(demo: Gateway) -> None:
    was, (own,) = about(demo), plans_own(demo)
    planted = {**{k: v for k, v in own.items() if k not in ("id", "meta", "text")}, "item": [said("most_important", "planted")]}
    assert demo.call("gp", "POST", "QuestionnaireResponse", body=planted).status_code == 201
    assert about(demo) == was
    begun_with = filled(demo, "patient")
    assert answers(begun_with)["most_important"] == was["most_important"], "the form begins with what the plan says"
    assert extracted(demo, "patient", kept(demo, "patient", sent(begun_with, most_important="My own words"))) == [(f"QuestionnaireResponse/{own['id']}", "200")]
    assert len(plans_own(demo)) == 2 and about(demo)["most_important"] == "My own words"


def test_an_app_that_was_not_let_in_to_plans_has_the_form_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "w.sqlite") as place:
            patient = (await plans.save(place.hospital, harold(about_me={"most_important": "Tea"}))).patient
            assert patient is not None and await in_plan.main_plan(place.patient(patient), patient) is not None
            app = replace(place.patient(patient), scopes=Scopes.parse("patient/QuestionnaireResponse.cruds"))
            now = await in_plan.said_now(app, patient, await in_plan.main_plan(app, patient))
            assert now is not None and about_me.said(dict(strict.decode(now.body or b"{}"))) == {"most_important": "Tea"}

    asyncio.run(run())
