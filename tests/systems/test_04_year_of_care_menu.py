"""Row 4: the Year of Care menu. She chooses from a menu of options; the choice is a referral with a task, which commissioners can count."""

from __future__ import annotations

import re

from ..conftest import Gateway
from ..web.test_doors import as_
from .referring import KINDLY, ask, entries, organisation, service, task_of


def test_choosing_from_the_menu_asks_for_it(demo: Gateway) -> None:
    owner = organisation(demo, KINDLY)
    for name, kind in (("Walking for health", "walking"), ("Cook and eat", "cooking")):
        service(demo, name, owner, kind)
    me = as_(demo, "patient")
    menu = me.get("/services?kind=https%3A%2F%2Ffhir-gateway.example%2FCodeSystem%2Fservice-category%7Cwalking")
    assert "Walking for health" in menu.text and "Cook and eat" not in menu.text
    (chosen,) = re.findall(r'href="/services/([^"?]+)"><span class="app-words">Walking', menu.text)
    ask(me, chosen, why="I want to walk again")
    (request,) = [r for r in entries(demo, f"ServiceRequest?patient={demo.patient}&status=active") if r["code"].get("text") == "Walking for health"]
    task = task_of(demo, "Walking for health")
    assert task["focus"]["reference"] == f"ServiceRequest/{request['id']}" and task["owner"]["reference"] == owner
    assert request["code"]["coding"][0]["code"] == "871731000000106" and request["performer"][1]["reference"] == f"HealthcareService/{chosen}"
    assert task["restriction"]["period"]["end"] > task["executionPeriod"]["end"], "a day more to finish"
    assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0, "asking shares nothing of the plan"
