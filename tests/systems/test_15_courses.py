"""Rows 15, 21 and 27: courses and a signposting hub. What is done, declined or missed comes back to whoever referred, in order."""

from __future__ import annotations

from ..conftest import Gateway
from ..staff import save
from ..web.test_doors import as_
from .referring import KINDLY, ask, entries, move, order, organisation, service, task_of


def test_a_coaching_course_ends_its_task_its_referral_and_says_what_became_of_the_goal(demo: Gateway) -> None:
    """Row 15."""
    ask(as_(demo, "gp"), service(demo, "Coaching course", organisation(demo, KINDLY), "course"), demo.patient, "Her goal is to walk")
    task = task_of(demo, "Coaching course", "gp")
    move(demo, task, "link-worker", "accepted")
    move(demo, task, "link-worker", "completed", output=[{"type": {"text": "Outcome"}, "valueString": "Six of six sessions"}])
    assert entries(demo, f"ServiceRequest?_id={task['focus']['reference'].split('/')[1]}", "gp")[0]["status"] == "completed"
    goal = demo.get("patient", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]
    achieved = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/goal-achievement", "code": "improving"}]}
    done = save(demo, goal | {"achievementStatus": achieved}, f'W/"{goal["meta"]["versionId"]}"')
    assert done.status_code == 200, done.text
    assert "Six of six sessions" in as_(demo, "gp").get(f"/asked?for={demo.patient}").text


def test_the_hub_closes_the_loop_in_order(demo: Gateway) -> None:
    """Row 21."""
    gp, hub = as_(demo, "gp"), as_(demo, "link-worker")
    ask(gp, service(demo, "Signposting hub", organisation(demo, KINDLY), "advice"), demo.patient)
    task = task_of(demo, "Signposting hub", "gp")
    hub.get("/team")
    assert hub.send(f"/team/tasks/{task['id']}/accept").status_code == 200
    move(demo, task, "link-worker", "completed")
    assert order(demo, task, "gp") == ["requested", "accepted", "completed"]
    page = gp.get(f"/asked?for={demo.patient}").text
    at = [page.index(w, page.index("Signposting hub")) for w in (": Asked<", ": Accepted<", ": Done<")]
    assert at == sorted(at)


def test_who_did_not_come_to_the_course_is_seen_by_who_referred(demo: Gateway) -> None:
    """Row 27: Expert Patient Programme, DAFNE, DESMOND."""
    ask(as_(demo, "gp"), service(demo, "DESMOND", organisation(demo, KINDLY), "education"), demo.patient)
    task = task_of(demo, "DESMOND", "gp")
    move(demo, task, "link-worker", "accepted")
    move(demo, task, "link-worker", "failed", statusReason={"text": "Did not attend"}, businessStatus={"text": "Did not attend"})
    assert "Did not attend" in as_(demo, "gp").get(f"/asked?for={demo.patient}").text
    (request,) = entries(demo, f"ServiceRequest?_id={task['focus']['reference'].split('/')[1]}", "gp")
    assert request["status"] == "revoked" and request["extension"][0]["valueString"] == "Did not attend"
