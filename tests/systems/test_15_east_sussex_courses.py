"""Row 15: a self-management course in East Sussex. It ends its task and its referral, and something becomes of the goal."""

from __future__ import annotations

from ..conftest import Gateway
from ..staff import save
from ..web.test_doors import as_
from .referring import KINDLY, ask, entries, move, organisation, service, task_of


def test_a_coaching_course_ends_its_task_its_referral_and_says_what_became_of_the_goal(demo: Gateway) -> None:
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
