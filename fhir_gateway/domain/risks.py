"""What others' RiskAssessments say, one judgement each, in the words that a plan has for a risk. Pure. https://hl7.org/fhir/R4/riskassessment.html"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from . import mapping
from .mapping import Tables
from .mapping.names import local, own_identifier
from .written_down import an_object, cut, objects

MOST: Final = 50
NOT_MEANT: Final = frozenset({"entered-in-error", "cancelled"})


def told(assessment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The RiskAssessment once for each prediction in it; nothing of what was a mistake or never happened.

    Where a prediction has no words for how high the risk is, its number stands for them; where the first has no reason, notes do. What the whole
    assessment says is said whole with the first only, and of no more than `MOST` predictions anything: a page is not to be many times what was sent.
    """
    if assessment.get("status") in NOT_MEANT:
        return
    base = {k: v for k, v in assessment.items() if k not in ("identifier", "prediction")}
    period = an_object(base.get("occurrencePeriod"))
    if "occurrenceDateTime" not in base and isinstance(day := period.get("start") or period.get("end"), str):
        base["occurrenceDateTime"] = day
    why = "\n".join(str(n["text"]) for n in objects(assessment.get("note")) if n.get("text"))
    again = {k: cut(v) if k == "mitigation" and isinstance(v, str) else v for k, v in base.items() if k != "note"}
    for n, prediction in enumerate((objects(assessment.get("prediction")) or [{}])[:MOST]):
        tier = prediction.get("qualitativeRisk") or ({"text": number} if (number := _number(prediction)) else None)
        reason = prediction.get("rationale") or (why if n == 0 else cut(why))
        yield {**(base if n == 0 else again), "prediction": [{**prediction, **({"qualitativeRisk": tier} if tier else {}), **({"rationale": reason} if reason else {})}]}


def _number(prediction: Mapping[str, Any]) -> str:
    """How likely, in percent, as it was sent; in `relativeRisk` against others."""
    if prediction.get("probabilityDecimal") is not None:
        return f"{prediction['probabilityDecimal']} %"
    between = an_object(prediction.get("probabilityRange"))
    low, high = (an_object(between.get(k)).get("value") for k in ("low", "high"))
    if low is not None or high is not None:
        return f"{low if low is not None else 0} to {high if high is not None else 100} %"
    return f"× {prediction['relativeRisk']}" if prediction.get("relativeRisk") is not None else ""


def beside(plan: Mapping[str, Any], record: Sequence[Mapping[str, Any]], tables: Tables) -> list[dict[str, Any]]:
    """Risks that others judged and the plan does not hold, as the plan would say them, each prediction by itself: which stands in place of which, too."""
    mine = {str(r.get("id")) for r in plan.get("risks") or () if isinstance(r, Mapping)}
    every = [r for r in record if r.get("resourceType") == "RiskAssessment"]
    own = [r for r in every if own_identifier(r) is not None]
    judged = [(r, said) for r in every if own_identifier(r) is None and str(r.get("id")) not in mine for said in _by_id(r)]
    around = [r for r in record if r.get("resourceType") in ("Organization", "Practitioner", "PractitionerRole")]
    read = mapping.read([*(said for _, said in judged), *around], tables, homeless=False) if judged else None
    return [{**read.became[name][1], **_instead_of(r, own)} for r, said in judged if read is not None and (name := f"RiskAssessment/{said['id']}") in read.became]


def _by_id(assessment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What it says, the first under its own id."""
    return [{**said, "id": f"{assessment.get('id')}" + (f"-{n}" if n else "")} for n, said in enumerate(told(assessment))]


def _instead_of(judged: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Which risk of the plan itself this one names as the one it is based on, by the id that the plan has for it."""
    based = judged.get("basedOn")
    name = based.get("reference") if isinstance(based, Mapping) else None
    return next(({"instead_of": id} for r in own if f"RiskAssessment/{r.get('id')}" == name and (id := local((own_identifier(r) or ("", "#"))[1]))), {})


def with_others(plan: dict[str, Any], record: Sequence[Mapping[str, Any]], tables: Tables) -> dict[str, Any]:
    """The plan as a page or a paper shows it, with those beside its own risks."""
    others = beside(plan, record, tables)
    return {**plan, "risks": [*(plan.get("risks") or ()), *others]} if others else plan


__all__ = ["beside", "told", "with_others"]
