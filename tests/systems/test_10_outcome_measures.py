"""Row 10, LTC6, HIEQ, EQ-5D, SQ28: answers and a score before and after; the change is seen with its dates. No wording of an instrument is kept here."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from .town import SNOMED, Programme, about, classes, permit

VAS = {"system": SNOMED, "code": "736535009"}


def test_two_scores_are_a_change_with_its_dates(programme: Programme) -> None:
    p = programme
    p.places(trust="health", team="health", research="voluntary")
    nurse, other = p.staff(noa=("team", "nurse"), eli=("research", "researcher"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Ben", team=[("Noa", "team")]))
    ben = p.person("ben", patient)
    nurse.agree(patient)
    for day, value in (("2026-11-18", 62), ("2026-05-04", 45)):
        answers = ben.make({
            "resourceType": "QuestionnaireResponse", "status": "completed", "subject": about(patient), "author": about(patient), "source": about(patient), "authored": day,
            "questionnaire": "https://town.example/Questionnaire/how-are-you|1.0", "item": [{"linkId": "vas", "answer": [{"valueInteger": value}]}],
        })  # fmt: skip
        nurse.make({
            "resourceType": "Observation", "status": "final", "subject": about(patient), "effectiveDateTime": day, "code": {"coding": [VAS]}, "valueInteger": value,
            "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}]}],
            "derivedFrom": [{"reference": f"QuestionnaireResponse/{answers['id']}"}],
        })  # fmt: skip

    scores = [(o["effectiveDateTime"], o["valueInteger"]) for o in nurse.find(f"Observation?patient={patient}&code={SNOMED}|736535009&_sort=date")]
    assert scores == [("2026-05-04", 45), ("2026-11-18", 62)]
    ben.page.get("/my-plan/results")
    assert "17 more than on 4 May 2026" in ben.page.words(), ben.page.words()
    found = nurse.find(f"Observation?patient={patient}&code={SNOMED}|736535009&date=ge2026-11-01&_include=Observation:derived-from")
    assert {r["resourceType"] for r in found} == {"Observation", "QuestionnaireResponse"}, "each score with the answers and their version of the questions"
    assert next(r for r in found if r["resourceType"] == "QuestionnaireResponse")["questionnaire"].endswith("|1.0")

    # LTC6, HIEQ and SQ28 have no number of their own here: what is scored by a code of the town is kept and shown in the same way
    for day, value in (("2026-05-04", 11), ("2026-11-18", 17)):
        nurse.make({"resourceType": "Observation", "status": "final", "subject": about(patient), "effectiveDateTime": day, "code": {"coding": [{"system": "https://town.example/scores", "code": "ltc6"}], "text": "LTC6"}, "valueInteger": value,
                    "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}]}]})  # fmt: skip
    for who, at in ((ben, "/my-plan/results"), (nurse, f"/team/people/{patient}/results")):
        who.page.get(at)
        words = who.page.words()
        assert "LTC6" in words and "6 more than on 4 May 2026" in words and "17 more than on 4 May 2026" in words, words
        assert "<svg" in who.page.page and "<table" in who.page.page, "a picture, and the same as a table"
    assert other.page.get(f"/team/people/{patient}/results").status_code == 404

    assert other.total(f"Observation?patient={patient}") == 0
    yes = ben.allow(permit(other.user, **classes("Observation")))
    assert other.total(f"Observation?patient={patient}&code={SNOMED}|736535009") == 2 and other.total(f"QuestionnaireResponse?patient={patient}") == 0
    ben.end(yes)
    assert other.total(f"Observation?patient={patient}") == 0


def test_the_same_questions_fall_due_again_on_his_page_and_the_nurses_until_they_are_answered(programme: Programme) -> None:
    p = programme
    p.places(hospital="health", practice="health", far="health")
    nurse, stranger = p.staff(una=("practice", "nurse"), sol=("far", "nurse"))
    patient = p.bring(p.system("again", "hospital", "--contributor", "--refers"), p.plan_of("Bert", team=[("Una", "practice")]))
    bert = p.person("bert", patient)
    nurse.agree(patient)
    today = datetime.now(ZoneInfo("Europe/London")).date()
    at = f"/team/people/{patient}/ask"
    nurse.page.get(at)
    wrong = {"form": "scores", "first-day": "31", "first-month": "2", "first-year": "2030", "weeks": "13", "times": "two", "within": "14"}
    assert nurse.page.send(at, **wrong).status_code == 422 and "Write a number from 1 to 24" in nurse.page.words() and "a day that exists" in nurse.page.words()
    nurse.page.send(at, **{**wrong, "first-day": str(today.day), "first-month": str(today.month), "first-year": str(today.year), "times": "2"})
    later = today + timedelta(weeks=13)
    assert "finds the questions on their page" in nurse.page.words() and f"from {later.day} " in nurse.page.words()

    title = bert.get("Questionnaire/scores").json()["title"]
    bert.page.get("/my-plan")
    assert "Questions for you" in bert.page.words() and bert.page.words().count(title) >= 1 and 'href="/forms/scores"' in bert.page.page
    assert f"{later.day} {later:%B %Y}" not in bert.page.words(), "what is not due yet is on the team's page alone"
    nurse.page.get("/team")
    assert "Questions that are due" in nurse.page.words() and title in nurse.page.words()
    stranger.page.get("/team")
    assert "Questions that are due" not in stranger.page.words() and stranger.page.get(at).status_code == 404

    bert.make({
        "resourceType": "QuestionnaireResponse", "questionnaire": "https://fhir-gateway.example/Questionnaire/scores", "status": "completed", "subject": about(patient),
        "author": about(patient), "item": [{"linkId": "scores", "item": [{"linkId": "health-today", "answer": [{"valueInteger": 70}]}]}],
    })  # fmt: skip
    tasks = sorted(nurse.find(f"Task?patient={patient}&code=complete-questionnaire"), key=lambda t: t["executionPeriod"]["start"])
    assert [t["status"] for t in tasks] == ["completed", "requested"] and tasks[0]["output"][0]["valueReference"]["reference"].startswith("QuestionnaireResponse/")
    bert.page.get("/my-plan")
    nurse.page.get("/team")
    assert "Questions for you" not in bert.page.words() and "Questions that are due" not in nurse.page.words()
    bert.change(f"Task/{tasks[1]['id']}", status="rejected")
    nurse.page.get(f"/team/people/{patient}")
    assert "Questions that this person is asked" not in nurse.page.words(), "he said no to the other"
    assert stranger.total(f"Task?patient={patient}") == 0

    # what he does not want to answer he says so of, and whoever asked sees it
    nurse.page.get(at)
    nurse.page.send(at, **{**wrong, "form": "my-wheel", "first-day": str(today.day), "first-month": str(today.month), "first-year": str(today.year), "times": "1"})
    asked = nurse.one(f"Task?patient={patient}&code=complete-questionnaire&status=requested")
    bert.page.get("/my-plan")
    bert.page.send(f"/questions/{asked['id']}/no")
    assert "You are not asked this any more" in bert.page.words() and "Questions for you" not in bert.page.words()
    assert nurse.read(f"Task/{asked['id']}")["status"] == "rejected"
