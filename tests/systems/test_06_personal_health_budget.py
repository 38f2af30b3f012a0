"""Row 6: the Bedfordshire pilot. A notional budget counts once the multi-agency risk group said yes, and never by the yes of whoever asked."""

from __future__ import annotations

from typing import Any

from ..conftest import Gateway
from ..staff import Colleague, put_directory, signed_in
from ..web.test_doors import as_
from .referring import NEW
from .town import ODS, SECTOR, Programme, about, classes, permit

OURS = "https://fhir-gateway.example"
HEALTH = {"coding": [{"system": f"{OURS}/CodeSystem/sector", "code": "health"}]}
AUTHORISES = {"coding": [{"system": f"{OURS}/CodeSystem/task", "code": "authorise-budget"}]}  # an operator says so of a group


def test_a_line_counts_once_another_of_the_group_authorised_it(demo: Gateway) -> None:
    asha, tom = demo.persona("gp")["fhirUser"], demo.persona("social-worker")["fhirUser"]
    (group,) = put_directory(demo, {"resourceType": "Organization", "active": True, "name": "Risk group", "type": [HEALTH, AUTHORISES]})
    put_directory(demo, *({"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": p}, "organization": {"reference": group}} for p in (asha, tom)))
    me = {"reference": f"Patient/{demo.patient}"}
    money = {"url": f"{OURS}/StructureDefinition/funded-by", "extension": [
        {"url": "amount", "valueMoney": {"value": 1200, "currency": "GBP"}}, {"url": "period", "valuePeriod": {"start": "2026-11-01", "end": "2027-10-31"}}]}  # fmt: skip
    request = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"text": "Swimming with a helper"}, "subject": me,
               "requester": {"reference": asha}, "extension": [money]}  # fmt: skip
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"system": f"{OURS}/CodeSystem/task", "code": "authorise-budget"}]},
            "description": "Say yes or no to this budget", "for": me, "focus": {"reference": NEW}, "requester": {"reference": asha}, "owner": {"reference": group}}  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": NEW, "resource": request, "request": {"method": "POST", "url": "ServiceRequest"}}, {"resource": task, "request": {"method": "POST", "url": "Task"}}]}  # fmt: skip
    made = demo.call("gp", "POST", "", body=bundle)
    assert made.status_code == 200, made.text
    asked_for, place = (e["response"]["location"].split("/fhir/")[-1].split("/_history")[0] for e in made.json()["entry"])
    amina = as_(demo, "patient")

    def said() -> str:
        amina.get("/asked")
        return amina.words()

    def move(who: Colleague | Gateway, status: str, by: str = "") -> Any:
        now = who.call(by, "GET", place) if isinstance(who, Gateway) else who.get(place)
        body, headers = now.json() | {"status": status}, {"If-Match": now.headers["etag"]}
        done = who.call(by, "PUT", place, body=body, headers=headers) if isinstance(who, Gateway) else who.call("PUT", place, body=body, headers=headers)
        assert done.status_code == 200, done.text

    assert "Swimming with a helper: 1200 GBP" in said() and "it waits to be authorised" in said()
    move(signed_in(demo, "asha-of-the-group", asha, organisation=group), "completed")
    assert "whoever authorised it had asked for it" in said(), "nobody authorises what they asked for"
    move(demo, "requested", "gp")
    move(demo, "completed", "patient")
    assert "whoever authorised it is not of the group" in said(), "nor does the person herself"
    move(demo, "requested", "gp")
    move(signed_in(demo, "tom-of-the-group", tom, organisation=group), "completed")
    assert "Authorised" in said() and "Does not count" not in said()
    now = demo.get("gp", asked_for)
    money["extension"][0]["valueMoney"]["value"] = 9000
    more = demo.call("gp", "PUT", asked_for, body=now.json() | {"extension": [money]}, headers={"If-Match": now.headers["etag"]})
    assert more.status_code == 200 and "it was changed after it was authorised" in said()


def test_a_yes_stays_with_what_it_was_said_to(demo: Gateway) -> None:
    """A Task that was answered is moved to a larger line, or taken over by whoever answers it: neither counts."""
    asha, tom, rosa = (demo.persona(p)["fhirUser"] for p in ("gp", "social-worker", "link-worker"))
    groups = put_directory(demo, *({"resourceType": "Organization", "active": True, "name": n, "type": [HEALTH, AUTHORISES]} for n in ("Panel", "Friends")))
    panel, friends = groups
    put_directory(demo, *({"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": p}, "organization": {"reference": o}} for p, o in ((asha, panel), (tom, panel), (rosa, friends))))
    me = {"reference": f"Patient/{demo.patient}"}

    def line(name: str, value: int) -> str:
        money = {"url": f"{OURS}/StructureDefinition/funded-by", "extension": [{"url": "amount", "valueMoney": {"value": value, "currency": "GBP"}}]}
        made = demo.call("gp", "POST", "ServiceRequest", body={"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"text": name}, "subject": me, "requester": {"reference": asha}, "extension": [money]})
        assert made.status_code == 201, made.text
        return f"ServiceRequest/{made.json()['id']}"

    small, large = line("A small line", 10), line("A large line", 9000)
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"system": f"{OURS}/CodeSystem/task", "code": "authorise-budget"}]},
            "description": "Say yes or no", "for": me, "focus": {"reference": small}, "requester": {"reference": asha}, "owner": {"reference": panel}}  # fmt: skip
    place = f"Task/{demo.call('gp', 'POST', 'Task', body=task).json()['id']}"
    of_panel = signed_in(demo, "tom-of-the-panel", tom, organisation=panel)
    now = of_panel.get(place)
    assert of_panel.call("PUT", place, body=now.json() | {"status": "completed"}, headers={"If-Match": now.headers["etag"]}).status_code == 200
    amina = as_(demo, "patient")
    amina.get("/asked")
    said = amina.words()
    assert said.count("Authorised") >= 1 and "nobody was asked to authorise it" in said
    before = said.count("it was changed after it was authorised")
    now = demo.get("gp", place)
    moved = demo.call("gp", "PUT", place, body=now.json() | {"focus": {"reference": large}}, headers={"If-Match": now.headers["etag"]})
    assert moved.status_code == 200, moved.text
    amina.get("/asked")
    assert amina.words().count("it was changed after it was authorised") == before + 1, "the yes was to another line"


def test_who_asks_does_not_choose_who_may_say_yes(demo: Gateway) -> None:
    """The yes of a group of the asker's own choice makes no line count."""
    asha, tom = demo.persona("gp")["fhirUser"], demo.persona("social-worker")["fhirUser"]
    friends_are = {"resourceType": "Organization", "active": True, "name": "Friends of Asha", "type": [HEALTH]}
    (friends,) = put_directory(demo, friends_are)
    put_directory(demo, {"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": tom}, "organization": {"reference": friends}})
    me, friend, amina = {"reference": f"Patient/{demo.patient}"}, signed_in(demo, "tom-the-friend", tom, organisation=friends), as_(demo, "patient")
    money = {"url": f"{OURS}/StructureDefinition/funded-by", "extension": [{"url": "amount", "valueMoney": {"value": 700, "currency": "GBP"}}]}
    request = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"text": "A favour"}, "subject": me, "requester": {"reference": asha}, "extension": [money]}
    asked = f"ServiceRequest/{demo.call('gp', 'POST', 'ServiceRequest', body=request).json()['id']}"
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "code": AUTHORISES, "description": "Say yes or no", "for": me, "focus": {"reference": asked},
            "requester": {"reference": asha}, "owner": {"reference": friends}}  # fmt: skip
    place = f"Task/{demo.call('gp', 'POST', 'Task', body=task).json()['id']}"
    now = friend.get(place)
    assert friend.call("PUT", place, body=now.json() | {"status": "completed"}, headers={"If-Match": now.headers["etag"]}).status_code == 200
    amina.get("/asked")
    line = amina.words().split("A favour: 700 GBP")[1][:100]
    assert "Does not count yet" in line and "the group that was asked does not authorise budgets" in line


PILOT = {"coding": [{"system": "https://town.example/pilots", "code": "personal-health-budget"}], "text": "Personal health budget pilot"}


def test_the_group_reads_what_the_consent_to_the_pilot_opens_and_nothing_before(programme: Programme) -> None:
    """The person joins the pilot by a consent of that category; the group reads plan, outcome and budget by it, and by nothing else."""
    p = programme
    p.places(trust="health", surgery="health", elsewhere="voluntary")
    sector = {"coding": [{"system": SECTOR, "code": "voluntary"}]}
    p.codes["group"] = "S06RISK"
    p.settled({"resourceType": "Organization", "id": "s06-group", "active": True, "name": "Risk group (s06)", "identifier": [{"system": ODS, "value": "S06RISK"}], "type": [sector, AUTHORISES]})
    gp, chair, stranger = p.staff(gil=("surgery", "gp"), ria=("group", "chair"), sid=("elsewhere", "chair"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Hal", team=[("Gil", "surgery")]))
    hal = p.person("hal", patient)
    gp.agree(patient)
    money = {"url": f"{OURS}/StructureDefinition/funded-by", "extension": [{"url": "amount", "valueMoney": {"value": 300, "currency": "GBP"}}]}
    line = gp.make({"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"text": "A rowing machine"}, "subject": about(patient), "requester": {"reference": gp.user}, "extension": [money]})
    budget, plan = f"ServiceRequest/{line['id']}", f"CarePlan/{gp.one(f'CarePlan?patient={patient}')['id']}"
    goal = f"Goal/{gp.one(f'Goal?patient={patient}')['id']}"
    gp.change(goal, achievementStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/goal-achievement", "code": "improving"}]})
    task = gp.make({"resourceType": "Task", "status": "requested", "intent": "order", "code": AUTHORISES, "description": "Say yes or no to the rowing machine", "for": about(patient),
                    "focus": {"reference": budget}, "requester": {"reference": gp.user}, "owner": {"reference": p.place("group")}})  # fmt: skip
    assert chair.read(f"Task/{task['id']}")["focus"]["reference"] == budget, "the group reads that it is asked"
    chair.knows_nothing_of(budget, plan, goal)
    stranger.knows_nothing_of(f"Task/{task['id']}", budget, plan)

    joined = hal.allow(permit(p.place("group"), **classes("CarePlan", "Goal", "ServiceRequest")), category=[PILOT])
    assert hal.read(joined)["category"][0]["coding"][0]["code"] == "personal-health-budget"
    assert chair.read(budget)["extension"][0]["extension"][0]["valueMoney"]["value"] == 300
    assert chair.read(plan)["title"] == "Hal's plan" and chair.read(goal)["achievementStatus"]["coding"][0]["code"] == "improving"
    assert chair.total(f"Condition?patient={patient}") == 0, "what the pilot does not need stays shut"
    hal.page.get("/asked")
    assert "A rowing machine: 300 GBP" in hal.page.words() and "it waits to be authorised" in hal.page.words()
    chair.change(f"Task/{task['id']}", status="completed")
    hal.page.get("/asked")
    assert "Authorised" in hal.page.words() and "it waits to be authorised" not in hal.page.words()
    hal.end(joined)
    chair.knows_nothing_of(budget, plan, goal)
    stranger.page.get(f"/asked?for={patient}")
    assert "rowing" not in stranger.page.words()
