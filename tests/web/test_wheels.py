"""The wheel in my plan: a picture of the person's own spokes with the same facts in a table, of a plan and of a form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fhir_gateway.domain.mapping.names import system
from fhir_gateway.web.pages.wheels import filled_in

from .test_doors import Visitor, as_
from .test_forms_pages import begun, typed
from .test_templates import page

if TYPE_CHECKING:
    from ..conftest import Gateway

OWN = {"system": "https://fhir-gateway.example/CodeSystem/wheel", "code": "own-wheel"}
PLANNED = {"plan": "1", "person": {"id": "p"}, "wheels": [{
    "id": "w-1", "title": "My week", "by": "person", "on": "2026-03-04",
    "spokes": [{"name": "Sleep", "now": 2, "next": 6, "why": "The shifts"}, {"name": "A veryveryverylongname <b>", "now": 9}, {"name": "Money"}],
}]}  # fmt: skip


def fill_in(v: Visitor, **spokes: tuple[int, int]) -> None:
    """The wheel as its person types and sends it."""
    at = begun(v, "my-wheel")
    answers: dict[str, Any] = {}
    for n, (name, (now, hoped)) in enumerate(spokes.items()):
        if n:
            typed(v, at, go="more:q0-0-1", **answers)
        answers |= {f"q0-0-1-{n}-0": name, f"q0-0-1-{n}-1": str(now), f"q0-0-1-{n}-2": str(hoped)}
    typed(v, at, **answers)
    v.send(at[:-1] + "check")
    assert "A wheel: My wheel" in v.words()


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
    found = filled_in(record)
    assert [(w.id, w.text, [(line.label, line.text) for line in w.lines]) for w in found] == [
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
