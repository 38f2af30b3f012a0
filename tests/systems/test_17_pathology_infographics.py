"""Row 17, pathology infographics (NEW Devon): the laboratory's results explained on the person's own page, by the laboratory's range and no other."""

from __future__ import annotations

from typing import Any

from .town import Programme, about, permit

LOINC, MMOL = "http://loinc.org", {"unit": "mmol/mol", "system": "http://unitsofmeasure.org", "code": "mmol/mol"}
SAYS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"


def long_sugar(patient: str, on: str, value: int, said: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "status": "final", "subject": about(patient), "effectiveDateTime": on, "valueQuantity": {"value": value, **MMOL},
        "code": {"coding": [{"system": LOINC, "code": "59261-8"}], "text": "Sugar over the last months (HbA1c)"},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "referenceRange": [{"low": {"value": 20, **MMOL}, "high": {"value": 41, **MMOL}}], "interpretation": [{"coding": [{"system": SAYS, "code": said}]}],
    }  # fmt: skip


def test_a_result_out_of_the_laboratorys_range_is_flagged_and_seen_by_whom_the_person_lets(programme: Programme) -> None:
    p = programme
    p.places(trust="health", laboratory="health", surgery="health", charity="voluntary")
    nurse, helper = p.staff(nan=("surgery", "practice-nurse"), hal=("charity", "volunteer"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Wyn", team=[("Nan", "surgery")]))
    wyn = p.person("wyn", patient)
    nurse.agree(patient)
    laboratory = p.system("laboratory", "laboratory", "--contributor", "--refers")
    for on, value, said in (("2026-11-18", 38, "N"), ("2026-05-04", 52, "H")):
        sent = laboratory.call("POST", "Observation", body=long_sugar(patient, on, value, said))
        assert sent.status_code == 201, sent.text

    wyn.page.get("/my-plan/results")
    for words in (
        "Sugar over the last months (HbA1c) 38 mmol/mol 18 November 2026 ● Whoever sent it says: Normal", "The range that came with it: from 20 mmol/mol to 41 mmol/mol.",
        "14 mmol/mol less than on 4 May 2026, when it was 52 mmol/mol.", "52 mmol/mol ▲ Whoever sent it says: High",
    ):  # fmt: skip
        assert words in wyn.page.words(), words
    assert '<svg class="app-picture app-trend"' in wyn.page.page and "2 readings. The lowest is 38, the highest 52, the last 38 mmol/mol." in wyn.page.words()

    there = f"/team/people/{patient}/results"
    assert "38 mmol/mol" in (nurse.page.get(there) and nurse.page.words()) and "Some information may be withheld." in nurse.page.words()
    assert helper.page.get(there).status_code == 404 and "mmol" not in helper.page.page
    yes = wyn.allow(permit(helper.user))
    assert helper.page.get(there).status_code == 200 and "38 mmol/mol" in helper.page.words()
    no = wyn.allow(permit(nurse.user, type="deny", code=[{"coding": [{"system": LOINC, "code": "59261-8"}]}]))
    assert "HbA1c" not in (nurse.page.get(there) and nurse.page.words()), "a no to this kind of result leaves no trace of it"
    wyn.end(no)
    assert "HbA1c" in (nurse.page.get(there) and nurse.page.words())
    wyn.end(yes)
    assert helper.page.get(there).status_code == 404
    assert [o["valueQuantity"]["value"] for o in nurse.find(f"Observation?patient={patient}&code={LOINC}|59261-8&_sort=date")] == [52, 38], "the trend, for a system"
