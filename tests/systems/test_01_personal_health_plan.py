"""Row 1, Personal Health Plan (East of England): a person and their key worker write a plan in a session; systems read it as FHIR."""

from __future__ import annotations

from typing import Any

from .town import Programme


def test_the_plan_of_a_session_goes_in_is_read_as_fhir_and_comes_back_equal(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", other_practice="health")
    key, other = p.staff(nora=("practice", "practice-nurse"), omar=("other_practice", "gp"))
    source = p.system("plans", "trust", "--contributor", "--refers")
    plan: dict[str, Any] = p.plan_of(
        "Ivy", team=[("Nora", "practice")], created="2026-02-03",
        about_me={"most_important": "Sunday lunch with my grandsons", "please_do_and_dont": "Do ring first"},
        contingency=[{"id": "k-1", "name": "If I cannot breathe", "triggers": ["Cold air"], "what_should_happen": ["Ring the nurse"]}],
        x_session={"minutes": 45, "room": "Blue"},
    )  # fmt: skip
    plan["team"][0] |= {"key_worker": True, "role": "Key worker"}
    patient = p.bring(source, plan)
    ivy = p.person("ivy", patient)

    assert key.status(f"/plans/{patient}") == 404, "until she confirmed that she is in the team"
    assert key.agree(patient) >= 1
    careplan = next(c for c in key.find(f"CarePlan?patient={patient}") if c["title"] == "Ivy's plan")
    assert key.read(f"CarePlan/{careplan['id']}")["status"] == "active"
    (team,) = key.find(f"CareTeam?patient={patient}")
    worker = next(m for m in team["participant"] if any(e.get("valueBoolean") for e in m.get("extension", ())))
    assert worker["role"][0]["text"] == "Key worker"
    goal = key.one(f"Goal?patient={patient}")
    assert goal["description"]["text"] == "Ivy walks to the shop and back"

    assert ivy.plan(patient) == plan, "what went in comes back, word for word"
    again = source.call("POST", "/plans", body=plan, headers={"Content-Type": "application/json"})
    assert again.status_code == 200 and again.json()["written"] == 0, again.text
    assert other.status(f"CarePlan/{careplan['id']}") == 404 and other.total(f"Goal?patient={patient}") == 0
