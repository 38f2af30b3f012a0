"""The wheel in my plan: a picture of the person's own spokes with the same facts in a table, and a goal from one of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fhir_gateway.domain.mapping.names import system
from fhir_gateway.domain.results import is_wheel, one_spoke
from fhir_gateway.web.pages.pictures import planned_wheel
from fhir_gateway.web.pages.wheels import filled_in

from .test_doors import as_
from .test_forms_pages import fill_in, typed
from .test_templates import page

if TYPE_CHECKING:
    from ..conftest import Gateway

OWN = {"system": "https://fhir-gateway.example/CodeSystem/wheel", "code": "own-wheel"}
PLANNED = {"plan": "1", "person": {"id": "p"}, "wheels": [{
    "id": "w-1", "title": "My week", "by": "person", "on": "2026-03-04",
    "spokes": [{"name": "Sleep", "now": 2, "next": 6, "why": "The shifts"}, {"name": "A veryveryverylongname <b>", "now": 9}, {"name": "Money"}],
}]}  # fmt: skip


def test_a_wheel_of_the_plan_is_a_picture_with_a_title_words_and_the_same_as_a_table() -> None:
    html = page(PLANNED)
    (svg,) = re.findall(r'<svg class="app-picture app-wheel".*?</svg>', html, re.S)
    assert 'aria-labelledby="wheel-1-title wheel-1-desc"' in svg and '<title id="wheel-1-title">My week</title>' in svg
    assert "Sleep: 2, hoped for 6; A veryveryverylongname &lt;b&gt;: 9; Money: not said" in svg and svg.count('class="spoke"') == 3
    table = re.search(r"<table.*?</table>", html[html.index(svg) :], re.S)
    assert table
    rows = [re.findall(r'<span class="app-words">(.*?)</span>', r) for r in re.findall(r"<tr.*?</tr>", table[0], re.S)[1:]]
    assert rows == [["Sleep", "2", "6"], ["A veryveryverylongname &lt;b&gt;", "9", "not said"], ["Money", "not said", "not said"]]
    assert "now 2 out of 10, I would like 6" in html and "The shifts" in html, "and in words, with why"
    assert "<svg" not in page({**PLANNED, "wheels": [{"id": "w", "spokes": []}]}), "no spokes, no picture"


def test_of_wheels_that_were_filled_in_the_newest_of_each_name_stands_in_the_plan() -> None:
    def wheel(id: str, on: str, now: int, title: str = "My wheel", **more: Any) -> dict[str, Any]:
        spoke = {"code": {"text": "Sleep"}, "valueInteger": now, "referenceRange": [{"low": {"value": 7}}]}
        return {"resourceType": "Observation", "id": id, "status": "final", "effectiveDateTime": on, "code": {"coding": [OWN], "text": title}, "component": [spoke], **more}

    planned = {"identifier": [{"system": system("wheel"), "value": "p/w-1"}]}
    record = [
        wheel("old", "2026-05-04", 3), wheel("new", "2026-11-02", 5), wheel("work", "2026-01-01", 1, "Work"), wheel("wrong", "2026-12-01", 9, status="entered-in-error"),
        wheel("planned", "2026-12-02", 2, **planned), {"resourceType": "Goal", "id": "g", "code": {"coding": [OWN]}},
    ]  # fmt: skip
    shown = filled_in(record)
    assert [(w.id, w.text, [(line.label, line.text) for line in w.lines]) for w in shown] == [
        ("new", "My wheel", [("Sleep", "now 5 out of 10, I would like 7"), ("Filled in", "2 November 2026")]),
        ("work", "Work", [("Sleep", "now 1 out of 10, I would like 7"), ("Filled in", "1 January 2026")]),
    ]  # fmt: skip


def test_the_wheel_that_was_filled_in_is_in_my_plan_and_for_whom_it_is_shared(demo: Gateway) -> None:
    amina, gp, helper = as_(demo, "patient"), as_(demo, "gp"), as_(demo, "link-worker")
    fill_in(amina, Sleep=(3, 7), Money=(8, 9))
    amina.get("/my-plan")
    assert "How I am doing, part by part" in amina.words() and "Sleep: 3, hoped for 7; Money: 8, hoped for 9" in amina.page and 'href="#wheels"' in amina.page
    there = f"/team/people/{demo.patient}"
    gp.get(there)
    assert "Sleep: 3, hoped for 7" in gp.page
    helper.get(there)
    assert "Sleep" not in helper.page and "app-wheel" not in helper.page
    for v in (amina, gp, helper):
        v.http.close()


# -- a goal from a spoke -----------------------------------------------------------------------------------------------


def test_a_goal_is_offered_for_what_should_be_higher_and_without_a_hope_for_the_lowest() -> None:
    def growing(*spokes: tuple[Any, Any]) -> list[str]:
        drawn = planned_wheel({"spokes": [{"name": str(n), "now": now, "next": hoped} for n, (now, hoped) in enumerate(spokes)]})
        assert drawn is not None
        return [s.name for s in drawn.growing]

    assert growing((6, 7), (3, 8), (9, 9), (5, 4)) == ["1", "0"], "the lowest first"
    assert growing((6, None), (2, None), (2, None), (None, None)) == ["1", "2"] and growing((10, None)) == growing((None, 9)) == []


def test_one_spoke_is_of_a_wheel_that_stands_and_says_what_is_hoped_for_in_one_way() -> None:
    next = {"extension": [{"url": "https://fhir-gateway.example/StructureDefinition/wheel-next", "valueInteger": 8}]}
    spokes = [{"code": {"text": "Sleep"}, "valueInteger": 3, "referenceRange": [{"low": {"value": 7}}]}, {"code": {"text": "Money"}, "valueInteger": 5, **next}, {"code": {"text": "Music"}}]
    wheel = {"resourceType": "Observation", "id": "o", "status": "final", "meta": {"security": [{"code": "R"}]}, "code": {"coding": [OWN]}, "component": spokes}
    alone = [one_spoke(wheel, n) for n in range(3)]
    assert [f and f["component"] for f in alone] == [
        [spokes[0]], [{"code": {"text": "Money"}, "valueInteger": 5, "referenceRange": [{"low": {"value": 8}}]}], [{"code": {"text": "Music"}}],
    ]  # fmt: skip
    assert all(f and f["meta"] == wheel["meta"] for f in alone), "as private as the wheel"
    assert one_spoke(wheel, 3) is one_spoke(wheel, -1) is one_spoke({**wheel, "status": "entered-in-error"}, 0) is one_spoke({**wheel, "code": {}}, 0) is None


def test_a_button_begins_a_goal_and_it_says_where_it_comes_from(demo: Gateway) -> None:
    amina, gp = as_(demo, "patient"), as_(demo, "gp")
    fill_in(amina, Music=(4, 8), Family=(9, 9))
    amina.get("/my-plan/results")
    at = re.findall(r'action="(/my-plan/wheels/[^/"]+/goal)"', amina.page)[0]
    buttons = re.findall(r"A goal for ([^<]+)</button>", amina.page)
    assert buttons[0] == "Music" and "Family" not in buttons, "what is as it should be is no goal"
    amina.get("/my-plan")
    assert f'action="{at}"' in amina.page
    first = amina.send(at, spoke="0")
    assert first.status_code == 200 and first.url.path.startswith("/forms/goal-from-wheel/") and first.url.path.endswith("/0")
    assert "From this spoke of my wheel" in amina.words() and 'value="Music"' in amina.page and 'value="8"' in amina.page
    here = str(first.url.path)
    typed(amina, here, **{"q0-0-3": "Play the organ again", "q0-0-4": "7", "q0-0-5": "9", "q0-0-6-day": "1", "q0-0-6-month": "3", "q0-0-6-year": "2027"})
    assert "Check your answers" in amina.words() and "Play the organ again" in amina.words() and "Observation/" not in amina.words()
    assert "Play the organ again" not in gp.get(f"/team/people/{demo.patient}").text, "nothing is in the plan before it is sent"
    answers = f"QuestionnaireResponse/{str(amina.send(here[:-1] + 'check').url.path).split('/')[3]}"
    assert "A goal: Play the organ again" in amina.words()
    amina.get("/my-plan")
    for words in ("Play the organ again", "9 out of 10", "Music: 7 out of 10", "1 March 2027", "Where I was when I set this goal: 4 out of 10"):
        assert words in amina.words(), words

    wheel = f"Observation/{at.split('/')[3]}"
    (goal,) = [g for g in found(demo, f"Goal?patient={demo.patient}&_count=200") if g["description"].get("text") == "Play the organ again"]
    assert goal["addresses"] == [{"reference": wheel}] and goal["expressedBy"] == {"reference": f"Patient/{demo.patient}"}
    (made,) = [p for p in found(demo, f"Provenance?target=Goal/{goal['id']}") if p.get("entity")]
    assert made["entity"][0]["what"]["reference"].startswith(f"{answers}/_history/") and made["agent"][0]["who"] == {"reference": f"Patient/{demo.patient}"}
    assert wheel in str(demo.get("gp", answers).json()["item"]), "and the answers name the wheel"
    for v in (amina, gp):
        v.http.close()


def test_a_goal_of_a_private_wheel_is_as_private_and_what_is_no_spoke_of_theirs_is_not_there(demo: Gateway) -> None:
    amina = as_(demo, "patient")
    amina.get("/my-plan/results")
    wheel = {"resourceType": "Observation", "status": "final", "code": {"coding": [OWN], "text": "Private"}, "component": [{"code": {"text": "Drink"}, "valueInteger": 2}],
             "effectiveDateTime": "2026-11-20", "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "ETH"}]}}  # fmt: skip
    mine, theirs = (demo.call("hospital", "POST", "Observation", body={**wheel, "subject": {"reference": f"Patient/{id}"}}) for id in (demo.patient, other(demo)))
    assert mine.status_code == theirs.status_code == 201, (mine.text, theirs.text)
    amina.get("/my-plan/results")
    assert "A goal for Drink" in amina.page
    token = amina.fields(f"/my-plan/wheels/{mine.json()['id']}/goal")
    first = amina.http.post(f"/my-plan/wheels/{mine.json()['id']}/goal", data={**token, "spoke": "0"})
    assert first.status_code == 200, first.text
    amina._seen(first)
    typed(amina, str(first.url.path), **{"q0-0-3": "One dry day a week"})
    sent = amina.send(str(first.url.path)[:-1] + "check")
    kept = demo.get("patient", f"QuestionnaireResponse/{sent.url.path.split('/')[3]}").json()
    assert "ETH" in [c["code"] for c in kept["meta"]["security"]], "as private as the wheel that it is from"
    weight = next(o["id"] for o in found(demo, f"Observation?patient={demo.patient}&_count=200") if not is_wheel(o))
    for id, spoke in ((theirs.json()["id"], "0"), ("nobody", "0"), (mine.json()["id"], "1"), (mine.json()["id"], "-1"), (mine.json()["id"], ""), (mine.json()["id"], "9" * 400), (weight, "0")):
        assert amina.http.post(f"/my-plan/wheels/{id}/goal", data={**token, "spoke": spoke}).status_code == 404, (id, spoke)
    gp = as_(demo, "gp")
    gp.get(f"/team/people/{demo.patient}")
    assert "A goal for" not in gp.page, "it is the person who makes a goal of their wheel"
    for v in (amina, gp):
        v.http.close()


def found(demo: Gateway, search: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in demo.get("gp", search).json()["entry"]]


def other(demo: Gateway) -> str:
    """Somebody else's Patient."""
    return str(demo.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Another"}]}).json()["id"])
