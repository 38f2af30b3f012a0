"""What others' RiskAssessments say on the pages: one judgement each, nothing of a mistake, and which stands in place of which."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fhir_gateway.domain import mapping, risks
from fhir_gateway.domain.booklet import booklet
from fhir_gateway.tables import load_tables

TIER = {"coding": [{"system": "urn:tier", "code": "amber", "display": "Amber"}]}


def risk(id: str, *predictions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "RiskAssessment", "id": id, "status": "final", "subject": {"reference": "Patient/1"}, **({"prediction": list(predictions)} if predictions else {}), **more}


def beside(*record: dict[str, Any], plan: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return risks.beside(plan or {}, list(record), load_tables())


def test_a_score_and_an_override_of_others_are_read_as_a_plan_would_say_them() -> None:
    score = risk("a", {"outcome": {"coding": [{"code": "adm", "display": "Admission"}]}, "qualitativeRisk": TIER}, method={"coding": [{"display": "PARR"}]}, occurrencePeriod={"start": "2026-11-01"})
    override = risk("b", {"outcome": {"text": "Admission"}, "qualitativeRisk": {"text": "red"}, "rationale": "Alone now"}, basedOn={"reference": "RiskAssessment/a"}, performer={"display": "Dr P"})
    assert beside(score, override) == [
        {"id": "a", "tier": "Amber", "of": "Admission", "method": "PARR", "on": "2026-11-01"},
        {"id": "b", "tier": "red", "of": "Admission", "reason": "Alone now", "by": "Dr P", "instead_of": "a"},
    ]


def test_each_prediction_is_a_risk_and_a_number_is_read_where_there_are_no_words() -> None:
    several = risk(
        "a", {"outcome": {"text": "Fall"}, "probabilityDecimal": Decimal("13.50")}, {"outcome": {"text": "Stroke"}, "probabilityRange": {"low": {"value": 5}}},
        {"outcome": {"text": "Admission"}, "relativeRisk": 2}, {"outcome": {"text": "Loneliness"}}, note=[{"text": "By telephone"}],
    )  # fmt: skip
    assert [(r["id"], r["of"], r.get("tier"), r["reason"]) for r in beside(several)] == [
        ("a", "Fall", "13.50 %", "By telephone"), ("a-1", "Stroke", "5 to 100 %", "By telephone"), ("a-2", "Admission", "× 2", "By telephone"), ("a-3", "Loneliness", None, "By telephone"),
    ]  # fmt: skip


def test_what_was_a_mistake_and_what_the_plan_holds_are_not_said_beside_it() -> None:
    right = risk("a", {"qualitativeRisk": TIER})
    assert beside(*(risk("a", {"qualitativeRisk": TIER}, status=s) for s in risks.NOT_MEANT)) == []
    assert beside(right, plan={"risks": [{"id": "a", "tier": "Amber"}]}) == []
    assert [r["tier"] for r in beside(right)] == ["Amber"] and beside() == []


def test_what_overrides_a_risk_of_the_plan_itself_says_so() -> None:
    plan = {"plan": "1", "id": "p", "person": {"id": "x"}, "risks": [{"id": "r-1", "tier": "amber"}]}
    (own,) = [{**e.resource, "id": "77"} for e in mapping.to_fhir(plan, load_tables()).entries if e.kind == "risk"]
    (theirs,) = beside(own, risk("b", {"qualitativeRisk": {"text": "red"}}, basedOn={"reference": "RiskAssessment/77"}), plan=plan)
    assert theirs == {"id": "b", "tier": "red", "instead_of": "r-1"}


def test_paper_has_them_too_and_a_plan_that_is_kept_does_not() -> None:
    plan = {"plan": "1", "risks": [{"id": "r-1", "tier": "green"}]}
    shown = risks.with_others(plan, [risk("a", {"outcome": {"text": "Fall"}, "qualitativeRisk": TIER})], load_tables())
    assert [r["tier"] for r in shown["risks"]] == ["green", "Amber"] and plan["risks"] == [{"id": "r-1", "tier": "green"}]
    (section,) = [s for s in booklet(shown, [], own=False).sections if s.key == "thoughts"]
    assert [(t.text, t.state) for t in section.things][-1] == ("Fall", "Amber")


def test_an_odd_one_breaks_no_page() -> None:
    for odd in ({"prediction": "x"}, {"prediction": [7, None]}, {"prediction": [{"qualitativeRisk": 7, "probabilityRange": "x", "rationale": 3}]}, {"note": "x", "basedOn": [], "occurrencePeriod": 3, "identifier": "x"}):
        assert [r["id"] for r in beside({**risk("a"), **odd})] in (["a"], [])


def test_what_is_said_once_does_not_fill_a_page_a_thousand_times() -> None:
    """838 kB of one assessment became a page of 800 MB."""
    made = beside(risk("a", *({"outcome": {"text": f"Fall {n}"}} for n in range(1000)), note=[{"text": "n" * 100_000}], mitigation="m" * 100_000))
    assert len(made) == risks.MOST and len(made[0]["reason"]) == 100_000 and len(str(made)) < 300_000
    assert made[1]["reason"].startswith("nnn") and made[1]["of"] == "Fall 1"
