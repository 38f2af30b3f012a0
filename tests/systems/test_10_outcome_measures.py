"""Row 10, LTC6, HIEQ, EQ-5D, SQ28: answers and a score before and after; the change is seen with its dates. No wording of an instrument is kept here."""

from __future__ import annotations

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

    assert other.total(f"Observation?patient={patient}") == 0
    yes = ben.allow(permit(other.user, **classes("Observation")))
    assert other.total(f"Observation?patient={patient}&code={SNOMED}|736535009") == 2 and other.total(f"QuestionnaireResponse?patient={patient}") == 0
    ben.end(yes)
    assert other.total(f"Observation?patient={patient}") == 0
