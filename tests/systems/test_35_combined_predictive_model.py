"""Row 35, Combined Predictive Model, EARLI, PARR: everybody gets a score, and a professional's override stands beside it."""

from __future__ import annotations

from typing import Any

from .town import Programme, about, permit

METHOD = "https://town.example/risk-method"
TIER = "https://town.example/risk-tier"


def risk(patient: str, method: str, tier: str, why: str = "", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "RiskAssessment", "status": "final", "subject": about(patient), "occurrenceDateTime": "2026-11-19",
        "method": {"coding": [{"system": METHOD, "code": method}]},
        "prediction": [{"outcome": {"text": "Unplanned admission within a year"}, "qualitativeRisk": {"coding": [{"system": TIER, "code": tier}], "text": tier}, **({"rationale": why} if why else {})}],
    } | more  # fmt: skip


def test_the_professionals_override_is_kept_beside_the_score(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", elsewhere="health", charity="voluntary")
    gp, stranger, helper = p.staff(gil=("practice", "gp"), sid=("elsewhere", "gp"), hob=("charity", "link-worker"))
    source = p.system("model", "trust", "--contributor", "--refers")
    people = {name: p.bring(source, p.plan_of(name, team=[("Gil", "practice")])) for name in ("Una", "Vic")}
    scores = {name: source.make(risk(id, "combined-model", tier)) for (name, id), tier in zip(people.items(), ("amber", "green"), strict=True)}
    for id in people.values():
        gp.agree(id)

    why, first = "Her husband died this week", {"reference": f"RiskAssessment/{scores['Una']['id']}"}
    override = gp.make(risk(people["Una"], "professional", "red", why, basedOn=first, performer={"reference": gp.user}))
    listed = gp.find("RiskAssessment?_sort=-date&_count=50")
    assert {r["id"] for r in listed} == {scores["Una"]["id"], scores["Vic"]["id"], override["id"]}, "the list of the team's own people"
    red = [r for r in listed if r["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "red"]
    assert [r["basedOn"]["reference"] for r in red] == [f"RiskAssessment/{scores['Una']['id']}"]
    assert gp.read(f"RiskAssessment/{scores['Una']['id']}")["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "amber", "the score stays as it was"
    assert [r["id"] for r in gp.find(f"RiskAssessment?method={METHOD}|professional")] == [override["id"]]
    gp.page.get(f"/team/people/{people['Una']}")
    told = gp.page.words()
    assert "Unplanned admission within a year: amber" in told and "Unplanned admission within a year: red How it was found professional" in told, "as the tool's and the GP's software sent them"
    assert f"Why {why}" in told and "Instead of amber" in told, "which stands in place of which, and why"
    # the same in her plan, as the practice's own software writes it: page and file have both, and which stands in place of which
    model = {"id": "r-1", "method": "Combined model", "of": "Unplanned admission within a year", "tier": "amber", "on": "2026-11-19"}
    judged = {"id": "r-2", "method": "As her GP sees it", "of": "Unplanned admission within a year", "tier": "red", "on": "2026-11-20", "reason": why, "instead_of": "r-1"}
    sent = gp.call("POST", "/plans", body=gp.plan(people["Una"]) | {"risks": [model, judged]}, headers={"Content-Type": "application/json"})
    assert sent.status_code == 201, sent.text
    assert gp.plan(people["Una"])["risks"] == [model, judged]
    gp.page.get(f"/team/people/{people['Una']}")
    words = gp.page.words()
    shown = words[words.index("Risk, as professionals see it") :]
    assert "red" in shown and "amber" in shown and why in shown, "both on one page, with why"
    helper.knows_nothing_of(f"RiskAssessment/{override['id']}", f"RiskAssessment/{scores['Una']['id']}")
    una = p.person("una", people["Una"])
    una.allow(permit(p.place("charity")))
    assert helper.total(f"CarePlan?patient={people['Una']}") == 1
    helper.knows_nothing_of(f"RiskAssessment/{override['id']}", f"RiskAssessment/{scores['Una']['id']}")  # a yes in general shows no charity a risk
    assert "risks" not in helper.plan(people["Una"]) and helper.total(f"RiskAssessment?patient={people['Una']}") == 0
    helper.page.get(f"/team/people/{people['Una']}")
    assert "Her husband died" not in helper.page.words() and "amber" not in helper.page.words()
    assert una.read(f"RiskAssessment/{override['id']}")["prediction"][0]["rationale"] == why, "she reads what is said of her"
    una.page.get("/my-plan")
    assert "Unplanned admission within a year: red" in una.page.words()
    una.page.get("/my-plan/who-looked")
    assert "Gil" in una.page.words()
    assert stranger.total("RiskAssessment") == 0 and stranger.status(f"RiskAssessment/{override['id']}") == 404
