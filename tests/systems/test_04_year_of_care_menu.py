"""Row 4: the Year of Care menu. She chooses from a menu of options; the choice is a referral with a task, and who plans services counts what was chosen."""

from __future__ import annotations

import json
import re

from ..conftest import Gateway
from ..web.test_doors import as_
from .counted import CLOSED, County
from .referring import KINDLY, ask, entries, knows_nothing_of, move, organisation, service, task_of
from .town import Programme


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
    kind = "https://fhir-gateway.example/CodeSystem/service-category"
    named = [s["name"] for s in entries(demo, f"HealthcareService?service-category={kind}|walking")]
    assert "Walking for health" in named and "Cook and eat" not in named, "the menu, for a system"
    knows_nothing_of(demo, "stranger", f"ServiceRequest/{request['id']}", f"Task/{task['id']}")
    assert request["code"]["coding"][0]["code"] == "871731000000106" and request["performer"][1]["reference"] == f"HealthcareService/{chosen}"
    assert task["restriction"]["period"]["end"] > task["executionPeriod"]["end"], "a day more to finish"
    assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0, "asking shares nothing of the plan"
    ask(me, re.findall(r'href="/services/([^"?]+)"><span class="app-words">Cook', me.get("/services?words=cook").text)[0])
    move(demo, task, "link-worker", "accepted")
    move(demo, task, "link-worker", "completed", output=[{"type": {"text": "Outcome"}, "valueString": "She walks with us on Mondays"}])
    other = task_of(demo, "Cook and eat")
    move(demo, other, "link-worker", "rejected", statusReason={"text": "The course is full"})
    me.get("/asked")
    for words in ("She walks with us on Mondays", "The course is full"):
        assert words in me.words(), "she hears what became of each choice"
    stood = {r["code"]["text"]: r["status"] for r in entries(demo, f"ServiceRequest?patient={demo.patient}&_count=100") if "text" in r["code"]}
    assert (stood["Walking for health"], stood["Cook and eat"]) == ("completed", "revoked"), "and so does whoever counts them: one had, one not"
    knows_nothing_of(demo, "stranger", f"Task/{other['id']}")


def test_who_plans_services_is_told_how_many_chose_and_had_it_and_nothing_of_anybody(county: County) -> None:
    told = county.report("choices")
    (row,) = [r for r in told if "group" in r]
    assert row["counts"]["asked for a service"] == 35, "36: twenty, ten and six, and not the three who opted out"
    assert row["counts"]["waits for it"] == 30 and row["counts"]["had it"] is None, "nobody had it yet: not told"
    by_place = county.rows("choices", "--by", "locality")
    assert all(n is None or n >= 5 for r in by_place.values() for n in r["counts"].values())
    assert [(r["about"]["code"], r["people"]) for r in told if "about" in r] == [("871731000000106", 30)], "what they were sent to"
    assert not [w for w in (*CLOSED, *county.numbers) if w in json.dumps(told)]
    p = Programme(county, "s04")
    p.places(council="social-care")
    (planner,) = p.staff(pia=("council", "commissioner"))
    assert planner.page.get("/operator/reports?kind=choices").status_code in (403, 404) and planner.total("ServiceRequest") == 0
