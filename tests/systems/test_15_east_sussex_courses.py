"""Row 15, Know Your Own Health in East Sussex: a coaching course for a goal. It ends its task and its referral, and says what became of the goal."""

from __future__ import annotations

from .referring import NEW
from .town import Programme, about, actions, classes, permit

COURSE = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/service-category", "code": "course"}], "text": "Coaching course"}
FOR_GOAL = "http://hl7.org/fhir/StructureDefinition/resource-pertainsToGoal"
ACHIEVED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/goal-achievement", "code": "achieved"}]}


def test_a_coaching_course_ends_its_task_its_referral_and_says_what_became_of_the_goal(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", coaches="voluntary", others="voluntary")
    gp, coach, stranger = p.staff(gia=("surgery", "gp"), cole=("coaches", "coach"), sid=("others", "coach"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Nell", team=[("Gia", "surgery")]))
    nell = p.person("nell", patient)
    gp.agree(patient)
    goal = f"Goal/{gp.one(f'Goal?patient={patient}')['id']}"

    course = {
        "resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": COURSE, "subject": about(patient), "requester": {"reference": gp.user},
        "performer": [{"reference": p.place("coaches")}], "extension": [{"url": FOR_GOAL, "valueReference": {"reference": goal}}],
    }  # fmt: skip
    asked = {
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "Six sessions of coaching", "for": about(patient), "focus": {"reference": NEW},
        "requester": {"reference": gp.user}, "owner": {"reference": p.place("coaches")}, "extension": [{"url": FOR_GOAL, "valueReference": {"reference": goal}}],
    }  # fmt: skip
    made = gp.call("POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": NEW, "resource": course, "request": {"method": "POST", "url": "ServiceRequest"}}, {"resource": asked, "request": {"method": "POST", "url": "Task"}}]})  # fmt: skip
    assert made.status_code == 200, made.text
    request, task = (e["response"]["location"].split("/fhir/")[-1].split("/_history")[0] for e in made.json()["entry"])

    coach.knows_nothing_of(goal)  # asked, and let in to nothing
    assert coach.agree(patient) == 1
    yes = nell.allow(permit(p.place("coaches"), **classes("Goal"), **actions("access", "correct")))
    assert [g["id"] for g in coach.find(f"Goal?patient={patient}")] == [goal.split("/")[1]] and coach.total(f"Condition?patient={patient}") == 0
    for ref in (request, task, goal):
        stranger.knows_nothing_of(ref)

    coach.change(goal, achievementStatus=ACHIEVED, lifecycleStatus="completed", note=[{"text": "She walks there every day"}])
    coach.change(task, status="completed", output=[{"type": {"text": "Outcome"}, "valueString": "Six of six sessions"}])
    assert gp.read(task)["extension"][0]["valueReference"]["reference"] == goal and gp.read(request)["status"] == "completed"
    gp.page.get(f"/asked?for={patient}")
    assert "Six of six sessions" in gp.page.words()
    (told,) = nell.plan(patient)["goals"]
    assert (told["status"], told["outcome"]) == ("done", "met"), "what became of it is in her plan"
    nell.page.get("/my-plan")
    assert "She walks there every day" in nell.page.words()

    nell.end(yes)
    coach.knows_nothing_of(goal)
    stranger.page.get(f"/asked?for={patient}")
    assert "Coaching" not in stranger.page.words()
