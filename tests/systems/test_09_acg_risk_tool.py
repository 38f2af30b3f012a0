"""Row 9, ACG: a practice ranks its people by risk and finds whom to offer a plan. What the rank is, charities are not shown unless the person says so."""

from __future__ import annotations

import json
from typing import Any

from .town import Programme, about, classes, permit

TIER = "https://town.example/risk-tier"


def ranked(patient: str, tier: str) -> dict[str, Any]:
    return {
        "resourceType": "RiskAssessment", "status": "final", "subject": about(patient), "occurrenceDateTime": "2026-11-19", "method": {"text": "ACG"},
        "prediction": [{"outcome": {"text": "Emergency admission"}, "qualitativeRisk": {"coding": [{"system": TIER, "code": tier}]}}],
    }  # fmt: skip


def test_ranks_come_in_as_a_file_and_no_charity_is_shown_them_by_a_yes_in_general(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", charity="voluntary")
    gp, helper = p.staff(gia=("practice", "gp"), cal=("charity", "link-worker"))
    source = p.system("acg", "trust", "--contributor", "--refers")
    patient = p.bring(source, p.plan_of("Roy", team=[("Gia", "practice")]))
    roy = p.person("roy", patient)
    gp.agree(patient)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": ranked(patient, "high"), "request": {"method": "POST", "url": "RiskAssessment"}}]}
    file = p.town.folder / "s09-ranks.json"
    file.write_text(json.dumps(bundle))
    (line,) = p.town.command("import", "--as", f"{p.key}-acg", str(file))
    assert line["written"] == 1 and not line["refused"], line

    rank = gp.one(f"RiskAssessment?patient={patient}")
    assert rank["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "high", "the practice finds whom to offer a plan"
    yes = roy.allow(permit(p.place("charity")))
    assert helper.total(f"CarePlan?patient={patient}") == 1, "Roy shared his record with the charity"
    hidden, absent = helper.get(f"RiskAssessment/{rank['id']}"), helper.get("RiskAssessment/0198c0de-0000-7000-8000-000000000000")
    assert hidden.status_code == absent.status_code == 404 and hidden.content == absent.content
    assert helper.total(f"RiskAssessment?patient={patient}") == 0
    assert TIER not in helper.get(f"Patient/{patient}/$everything").text
    assert roy.total(f"RiskAssessment?patient={patient}") == 1, "he sees it himself"

    roy.end(yes)
    roy.allow(permit(p.place("charity"), **classes("RiskAssessment")))
    assert helper.read(f"RiskAssessment/{rank['id']}")["id"] == rank["id"], "and shows it to whom he wants"
