"""Row 23, MAGIC's shared decisions: what there was to choose from, what mattered, what was chosen; the option not chosen is kept and shown."""

from __future__ import annotations

from typing import Any

from .town import Programme, about, permit, save

CODE = {"system": "https://fhir-gateway.example/CodeSystem/plan-observation", "code": "decision"}
BASE = "https://fhir-gateway.example/StructureDefinition"


def option(text: str, chosen: bool, good: str, bad: str) -> dict[str, Any]:
    said = [{"url": f"{BASE}/option-for", "valueString": good}, {"url": f"{BASE}/option-against", "valueString": bad}]
    return {"code": {"text": text}, "valueBoolean": chosen, "extension": said}


def test_a_decision_is_one_thing_with_every_option_in_it(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", other_surgery="health")
    gp, stranger = p.staff(gp=("surgery", "gp"), sid=("other_surgery", "gp"))
    knee = {
        "id": "d-1", "question": "What to do about my knee", "matters": "Kneeling in my garden", "goals": ["g-1"], "on": "2026-05-01", "with": "t-0",
        "helped_by": "A leaflet with pictures", "why": "I want to try without a hospital first",
        "options": [
            {"text": "Exercises for three months", "chosen": True, "good": "At home", "bad": "It takes long"},
            {"text": "An operation", "chosen": False, "good": "It may last ten years", "bad": "Weeks in bed"},
        ],
    }  # fmt: skip
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Meg", team=[("Dr Gupta", "surgery")], decisions=[knee]))
    meg = p.person("meg", patient)
    gp.agree(patient)

    # in the plan, in FHIR with its goal, and on the pages, as one
    assert meg.plan(patient)["decisions"] == [knee]
    made = gp.one(f"Observation?patient={patient}&code={CODE['system']}|decision")
    goal = gp.one(f"Goal?patient={patient}")
    assert made["focus"] == [{"reference": f"Goal/{goal['id']}"}] and made["valueString"] == "Kneeling in my garden"
    assert [(c["code"]["text"], c["valueBoolean"]) for c in made["component"]] == [("Exercises for three months", True), ("An operation", False)]
    for who, page in ((meg, "/my-plan"), (gp, f"/team/people/{patient}")):
        who.page.get(page)
        words = who.page.words()
        shown = words[words.index("What to do about my knee") :]
        for text in ("Kneeling in my garden", "Meg walks to the shop and back", "Exercises for three months Chosen", "An operation Not chosen", "It may last ten years", "Weeks in bed", "Dr Gupta"):
            assert text in shown, f"{page}: {text}"

    stranger.knows_nothing_of(f"Observation/{made['id']}", f"Goal/{goal['id']}")
    assert stranger.status(f"/plans/{patient}") == 404 and stranger.page.get(f"/team/people/{patient}").status_code == 404, "what she chose and why is for whom she shares with"
    hide = meg.allow(permit(gp.user, type="deny", data=[{"meaning": "instance", "reference": {"reference": f"Observation/{made['id']}"}}]))
    gp.knows_nothing_of(f"Observation/{made['id']}")
    gp.page.get(f"/team/people/{patient}")
    assert "An operation" not in gp.page.words() and "decisions" not in gp.plan(patient)
    meg.end(hide)

    # another choice: the first is not lost, and what was chosen before is in the history
    other = [{**o, "chosen": o["text"] == "An operation"} for o in knee["options"]]
    sent = meg.call("POST", "/plans", body={**meg.plan(patient), "decisions": [{**knee, "options": other, "why": "It hurts at night"}]}, headers={"Content-Type": "application/json"})
    assert sent.status_code == 201 and sent.json()["written"] == 1, sent.text
    now = gp.read(f"Observation/{made['id']}")
    assert now["component"][0]["code"]["text"] == "Exercises for three months" and now["component"][0]["valueBoolean"] is False
    assert gp.read(f"Observation/{made['id']}/_history/1")["component"][0]["valueBoolean"] is True
    printed = gp.get(f"CarePlan/{gp.one(f'CarePlan?patient={patient}')['id']}/$document").text
    assert "An operation" in printed and "Exercises for three months" in printed

    # by an app of the surgery, as FHIR alone
    plan = gp.one(f"CarePlan?patient={patient}")
    new = {
        "resourceType": "Observation", "status": "final", "code": {"coding": [CODE], "text": "Tablets for my blood pressure"}, "subject": about(patient), "focus": [{"reference": f"Goal/{goal['id']}"}],
        "effectiveDateTime": "2026-06-01", "valueString": "Not feeling dizzy", "component": [option("One tablet", False, "Simple", "Dizzy in the morning"), option("Walk first, and look again", True, "No tablets", "It may not be enough")],
    }  # fmt: skip
    told = gp.make(new)
    assert save(gp, {**plan, "supportingInfo": [*plan.get("supportingInfo", []), {"reference": f"Observation/{told['id']}"}]}, f'W/"{plan["meta"]["versionId"]}"').status_code == 200
    (_, tablets) = meg.plan(patient)["decisions"]
    assert tablets["question"] == "Tablets for my blood pressure" and tablets["goals"] == ["g-1"]
    assert [(o["text"], o["chosen"], o["bad"]) for o in tablets["options"]] == [("One tablet", False, "Dizzy in the morning"), ("Walk first, and look again", True, "It may not be enough")]
    meg.page.get("/my-plan")
    assert "One tablet Not chosen" in meg.page.words()
