"""Whom the pages list as readers of a plan: never the person, and to print for only those who may see it."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from .test_doors import as_
from .test_editing import editor, goal, ref

if TYPE_CHECKING:
    from ..conftest import Gateway

NOBODY = "Somebody we have no name for"


def test_who_changes_an_action_of_her_own_is_not_told_of_a_stranger_who_sees_everything(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get("/my-plan/sharing")
    assert NOBODY not in v.words()
    act = goal(demo, "a-exercise", "Task")
    editor(demo, "patient", ref(act)).save(when="after breakfast")
    number = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": demo.get("patient", f"Patient/{demo.patient}").json()["identifier"][0]["value"]}
    made = demo.call("patient", "POST", "Task", body={
        "resourceType": "Task", "status": "accepted", "intent": "plan", "description": "Water the plants", "for": {"reference": f"Patient/{demo.patient}"},
        "owner": {"identifier": number}, "requester": {"reference": f"Patient/{demo.patient}"},
    })  # fmt: skip
    assert made.status_code == 201 and goal(demo, "a-exercise", "Task")["owner"]["reference"] == f"Patient/{demo.patient}"
    v.get("/my-plan/sharing")
    assert NOBODY not in v.words() and "Example General Hospital" in v.words(), "the others are there as before"
    for page in ("/my-plan/sharing/hide", "/my-plan/sharing/why", "/my-plan/sharing/sees", "/my-plan/print"):
        v.get(page)
        assert NOBODY not in v.words(), page
    assert not re.search(r'<option value="Patient/', v.page), "nor does one print for her as for somebody else"


def test_one_prints_for_those_alone_who_may_see_a_plan(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get("/my-plan/print")
    offered = [ref for ref in re.findall(r'<option value="([^"]*)"', v.page) if ref]
    assert len(offered) >= 3 and not [ref for ref in offered if ref.startswith("sector:")], offered
    for whom in offered:
        v.get("/my-plan/print")
        assert v.send("/my-plan/print", **{"for": html.unescape(whom), "as": "page"}).status_code == 200, whom
    v.get("/my-plan/print")
    answer = v.send("/my-plan/print", **{"for": "sector:voluntary", "as": "page"})
    assert answer.status_code == 422 and "may not see your plan now, so there is nothing to print for them" in v.words()
