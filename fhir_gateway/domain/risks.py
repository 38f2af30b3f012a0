"""What others' RiskAssessments say, one judgement each, in the words that a plan has for a risk. Pure. https://hl7.org/fhir/R4/riskassessment.html"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .written_down import an_object, objects

NOT_MEANT: Final = frozenset({"entered-in-error", "cancelled"})


def told(assessment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The RiskAssessment once for each prediction in it; nothing of what was a mistake or never happened.

    Where a prediction has no words for how high the risk is, its number stands for them; where it has no reason, notes do.
    """
    if assessment.get("status") in NOT_MEANT:
        return
    base = {k: v for k, v in assessment.items() if k not in ("identifier", "prediction")}
    period = an_object(base.get("occurrencePeriod"))
    if "occurrenceDateTime" not in base and isinstance(day := period.get("start") or period.get("end"), str):
        base["occurrenceDateTime"] = day
    why = "\n".join(str(n["text"]) for n in objects(assessment.get("note")) if n.get("text"))
    for prediction in objects(assessment.get("prediction")) or [{}]:
        tier = prediction.get("qualitativeRisk") or ({"text": number} if (number := _number(prediction)) else None)
        reason = prediction.get("rationale") or why
        yield {**base, "prediction": [{**prediction, **({"qualitativeRisk": tier} if tier else {}), **({"rationale": reason} if reason else {})}]}


def _number(prediction: Mapping[str, Any]) -> str:
    """How likely, in percent, as it was sent; in `relativeRisk` against others."""
    if prediction.get("probabilityDecimal") is not None:
        return f"{prediction['probabilityDecimal']} %"
    between = an_object(prediction.get("probabilityRange"))
    low, high = (an_object(between.get(k)).get("value") for k in ("low", "high"))
    if low is not None or high is not None:
        return f"{low if low is not None else 0} to {high if high is not None else 100} %"
    return f"× {prediction['relativeRisk']}" if prediction.get("relativeRisk") is not None else ""


__all__ = ["told"]
