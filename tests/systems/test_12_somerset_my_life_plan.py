"""Row 12, Somerset My Life Plan: after hospital a charity helps with the plan, each charity by the person's own yes."""

from __future__ import annotations

from .town import Programme, about, permit


def test_the_charity_that_the_person_chose_sees_the_plan_and_no_other(programme: Programme) -> None:
    p = programme
    p.places(trust="health", hospital="health", age_uk="voluntary", diabetes_uk="voluntary")
    mel, dan = p.staff(mel=("age_uk", "link-worker"), dan=("diabetes_uk", "link-worker"))
    ward = p.system("ward", "trust", "--contributor", "--refers")
    patient = p.bring(ward, p.plan_of("Edith"))
    edith = p.person("edith", patient)

    discharged = {
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "Help Edith with her plan after her heart failure",
        "for": about(patient), "owner": {"reference": p.place("age_uk")},
    }  # fmt: skip
    task = ward.make(discharged)
    assert mel.read(f"Task/{task['id']}")["description"].startswith("Help Edith"), "who is asked reads what they are asked"
    assert mel.total(f"CarePlan?patient={patient}") == 0, "and nothing else before Edith said yes"
    assert dan.status(f"Task/{task['id']}") == 404
    mel.agree(patient)
    assert mel.total(f"CarePlan?patient={patient}") == 0, "to accept is not enough for a charity"

    yes = edith.allow(permit(p.place("age_uk")))
    assert mel.plan(patient)["goals"][0]["text"] == "Edith walks to the shop and back"
    assert dan.total(f"CarePlan?patient={patient}") == 0 and dan.status(f"/plans/{patient}") == 404
    plan = mel.one(f"CarePlan?patient={patient}")["id"]
    hidden, absent = dan.get(f"CarePlan/{plan}"), dan.get("CarePlan/0198c0de-0000-7000-8000-000000000000")
    assert hidden.status_code == absent.status_code == 404 and hidden.content == absent.content

    edith.end(yes)
    assert mel.status(f"CarePlan/{plan}") == 404, "from the next request on"
