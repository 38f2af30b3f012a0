"""Row 34, Doc@home (Barnsley): a person uploads results from home and allows selected professionals to see them."""

from __future__ import annotations

from .town import SNOMED, Programme, about, classes, permit


def test_the_named_nurse_reads_the_results_and_her_colleague_does_not(programme: Programme) -> None:
    p = programme
    p.places(trust="health", team="health")
    nurse, colleague = p.staff(nell=("team", "community-nurse"), cass=("team", "community-nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Hal"))
    hal = p.person("hal", patient)

    result = hal.make({
        "resourceType": "Observation", "status": "final", "subject": about(patient), "performer": [about(patient)], "effectiveDateTime": "2026-11-20T07:30:00Z",
        "code": {"coding": [{"system": SNOMED, "code": "431314004", "display": "Peripheral oxygen saturation"}]},
        "valueQuantity": {"value": 93, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    })  # fmt: skip
    seen = f"Observation/{result['id']}"
    assert nurse.status(seen) == colleague.status(seen) == 404
    yes = hal.allow(permit(nurse.user, **classes("Observation")))
    assert nurse.read(seen)["valueQuantity"]["value"] == 93
    assert nurse.total(f"Observation?patient={patient}") == 1
    assert colleague.status(seen) == 404 and colleague.total(f"Observation?patient={patient}") == 0
    assert nurse.total(f"CarePlan?patient={patient}") == 0, "results were shared, the plan was not"
    nurse.change(seen, expect=403, note=[{"text": "I have seen this"}])

    hal.page.get("/my-plan/who-looked")
    assert "Nell" in hal.page.words() and "Cass" in hal.page.words(), "he sees who looked, and who tried"
    hal.end(yes)
    assert nurse.status(seen) == 404
