"""Row 8, My Self Care Plan of Oxfordshire: questions lead to goals and a plan for a crisis. Who wrote on paper has it typed in by a coordinator; whose words they are is kept."""

from __future__ import annotations

from ..web.test_forms_pages import begun, named, typed
from .town import Programme, about, classes, permit

FORM = "Questionnaire/my-own-words"


def test_a_coordinator_types_for_the_person_and_the_answers_stay_the_persons(programme: Programme) -> None:
    p = programme
    p.places(trust="health", hub="health", elsewhere="health")
    coordinator, stranger = p.staff(cy=("hub", "care-coordinator"), sol=("elsewhere", "care-coordinator"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Ivy", team=[("Cy", "hub")]))
    ivy = p.person("ivy", patient)
    assert stranger.page.get(f"/forms/my-own-words?person={patient}").status_code == 404
    assert coordinator.page.get(f"/forms/my-own-words?person={patient}").status_code == 404, "named in the team, and not yet agreed"
    coordinator.agree(patient)

    known = coordinator.call("POST", f"{FORM}/$populate", body={"resourceType": "Parameters", "parameter": [{"name": "subject", "valueReference": about(patient)}]})
    assert known.status_code == 200 and '"QuestionnaireResponse"' in known.text and patient in known.text, known.text
    asked = {"resourceType": "Parameters", "parameter": [{"name": "subject", "valueReference": about(patient)}]}
    assert stranger.call("POST", f"{FORM}/$populate", body=asked).status_code == 404, "what is known already is known to whoever may read it"

    v = coordinator.page
    at = begun(v, "my-own-words", f"?person={patient}")
    typed(v, at, **{named(v, "What matters most to me?"): "My choir"})
    at = at[:-1] + "1"
    typed(v, at, go="more:q1", **{"q1-0-1": "Sing on Sundays again", "q1-0-2": "9", "q1-0-4": "8"})
    typed(v, at, **{"q1-0-1": "Sing on Sundays again", "q1-0-2": "9", "q1-0-4": "8", "q1-1-1": "Walk to the church"})
    at = at[:-1] + "2"
    typed(v, at, **{"q2-0-0": "yes"})
    typed(v, at, **{"q2-0-0": "yes", "q2-0-1-0-0": "A cold", "q2-0-1-0-2": "Ring the hub"})
    assert "Sing on Sundays again" not in [g["text"] for g in ivy.plan(patient)["goals"]], "nothing of it is in the plan before it is sent"
    v.send(at[:-1] + "check")
    assert "A goal: Sing on Sundays again" in v.words() and "A plan: What to do if things get worse" in v.words()

    answers = ivy.one(f"QuestionnaireResponse?patient={patient}&questionnaire=https://fhir-gateway.example/Questionnaire/my-own-words")
    assert answers["status"] == "completed"
    assert answers["source"] == {"reference": ivy.user} and answers["author"] == {"reference": coordinator.user}, "whose words, and who typed them"
    plan = ivy.plan(patient)
    sing = next(g for g in plan["goals"] if g["text"] == "Sing on Sundays again")
    assert sing["importance"] == 9 and "Walk to the church" in [g["text"] for g in plan["goals"]]
    (crisis,) = [c for c in plan["contingency"] if c.get("triggers") == ["A cold"]]
    assert crisis["what_should_happen"] == ["Ring the hub"]
    goal = next(g for g in ivy.find(f"Goal?patient={patient}") if g["description"]["text"] == "Sing on Sundays again")
    (whence,) = [w for w in ivy.find(f"Provenance?target=Goal/{goal['id']}") if "entity" in w]
    assert whence["entity"][0]["what"]["reference"].startswith(f"QuestionnaireResponse/{answers['id']}/_history/")
    by = {a["type"]["coding"][0]["code"]: a["who"]["reference"] for a in whence["agent"]}
    assert by == {"assembler": coordinator.user, "informant": ivy.user}

    ivy.page.get("/my-plan/who-looked")
    assert "Cy" in ivy.page.words()
    ivy.page.get("/my-plan/print")
    paper = ivy.page.http.post("/my-plan/print", data={**ivy.page.fields("/my-plan/print"), "for": "", "as": "page"}).text
    assert "Sing on Sundays again" in paper and "Ring the hub" in paper, "and on paper again"
    ivy.page.get("/my-plan")
    assert "Sing on Sundays again" in ivy.page.words() and "Ring the hub" in ivy.page.words()
    assert stranger.status(f"QuestionnaireResponse/{answers['id']}") == 404 and stranger.total(f"Goal?patient={patient}") == 0
    yes = ivy.allow(permit(stranger.user, **classes("CarePlan", "Goal")))
    assert "Sing on Sundays again" in [g["text"] for g in stranger.plan(patient)["goals"]], "shared with another professional, once she says so"
    assert stranger.status(f"QuestionnaireResponse/{answers['id']}") == 404, "and not what she answered"
    ivy.end(yes)
    assert stranger.total(f"Goal?patient={patient}") == 0
    assert stranger.call("POST", f"QuestionnaireResponse/{answers['id']}/$extract", body={"resourceType": "Parameters"}).status_code == 404
