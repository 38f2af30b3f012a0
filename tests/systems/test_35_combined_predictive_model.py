"""Row 35, Combined Predictive Model, EARLI, PARR: everybody gets a score, and a professional's override stands beside it."""

from __future__ import annotations

from typing import Any

from .town import Programme, about

METHOD = "https://town.example/risk-method"
TIER = "https://town.example/risk-tier"


def risk(patient: str, method: str, tier: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "RiskAssessment", "status": "final", "subject": about(patient), "occurrenceDateTime": "2026-11-19",
        "method": {"coding": [{"system": METHOD, "code": method}]},
        "prediction": [{"outcome": {"text": "Unplanned admission within a year"}, "qualitativeRisk": {"coding": [{"system": TIER, "code": tier}]}}],
    } | more  # fmt: skip


def test_the_professionals_override_is_kept_beside_the_score(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", elsewhere="health")
    gp, stranger = p.staff(gil=("practice", "gp"), sid=("elsewhere", "gp"))
    source = p.system("model", "trust", "--contributor", "--refers")
    people = {name: p.bring(source, p.plan_of(name, team=[("Gil", "practice")])) for name in ("Una", "Vic")}
    scores = {name: source.make(risk(id, "combined-model", tier)) for (name, id), tier in zip(people.items(), ("amber", "green"), strict=True)}
    for id in people.values():
        gp.agree(id)

    override = gp.make(risk(people["Una"], "professional", "red", basedOn={"reference": f"RiskAssessment/{scores['Una']['id']}"}, performer={"reference": gp.user},
                            note=[{"text": "Her husband died this week"}]))  # fmt: skip
    listed = gp.find("RiskAssessment?_sort=-date&_count=50")
    assert {r["id"] for r in listed} == {scores["Una"]["id"], scores["Vic"]["id"], override["id"]}, "the list of the team's own people"
    red = [r for r in listed if r["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "red"]
    assert [r["basedOn"]["reference"] for r in red] == [f"RiskAssessment/{scores['Una']['id']}"]
    assert gp.read(f"RiskAssessment/{scores['Una']['id']}")["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "amber", "the score stays as it was"
    assert [r["id"] for r in gp.find(f"RiskAssessment?method={METHOD}|professional")] == [override["id"]]
    assert stranger.total("RiskAssessment") == 0 and stranger.status(f"RiskAssessment/{override['id']}") == 404
