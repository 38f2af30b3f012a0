"""Records of one person that an operator merged, read together: what of another counts beside this one. Pure; once for page, paper and document.

Each reader has of each record what they may see of it. Allergies and warnings are all listed, of crisis plans those that are in force, of medicines those that are
taken or may be: each says that it stands in another record. docs/main-plan.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .alerts import none_known
from .in_force import crisis_plans, in_force
from .medicines import OVER, RESOURCES, taken, taken_by_record
from .plans_of_others import counts_elsewhere, is_plan_of_others
from .written_down import objects, over

Record = Sequence[Mapping[str, Any]]
AROUND: Final = ("person", "team", "contacts")  # of a plan: who is meant in it


@dataclass(frozen=True, slots=True)
class Other:
    """Another record of the same person, as a reader may see it: the plan that it makes, and the resources."""

    plan: Mapping[str, Any]
    record: Record


def has_allergy(record: Iterable[Mapping[str, Any]]) -> bool:
    """Whether an allergy stands in it that nobody has ruled out, nor said to be over."""
    return any(r.get("resourceType") == "AllergyIntolerance" and not over(r) and not none_known(r) for r in record)


def believed(records: Sequence[Record]) -> list[list[Mapping[str, Any]]]:
    """Each record of one person without its "no known allergies" where another of them has an allergy: whoever wrote that did not know of it."""
    having = [has_allergy(r) for r in records]
    return [[r for r in record if not (r.get("resourceType") == "AllergyIntolerance" and none_known(r) and any(having[:n] + having[n + 1 :]))] for n, record in enumerate(records)]


def counting(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What of the plan of another record is read with this one: crisis plans that are in force, medicines, and who is meant there. Not its goals, needs or papers."""
    lists = {"contingency": [c for c in crisis_plans(plan) if in_force(c)], "medicines": [m for m in objects(plan.get("medicines")) if taken(m) != "a mistake"]}
    return {**{k: plan[k] for k in AROUND if k in plan}, **{k: v for k, v in lists.items() if v}}


def lasting(other: Other) -> Other:
    """The same without medicines that are over: what another paper would say otherwise is in it, and nothing else."""
    plan = counting(other.plan)
    medicines = [m for m in objects(plan.get("medicines")) if taken(m) not in OVER]
    record = [r for r in other.record if (r.get("resourceType") not in RESOURCES or taken_by_record(r) not in OVER) and (not is_plan_of_others(r) or counts_elsewhere(r))]
    kept = {k: v for k, v in plan.items() if k not in ("person", "medicines") and ("contingency" in plan or k not in AROUND)}
    return Other({**kept, **({"medicines": medicines} if medicines else {})}, record)


__all__ = ["Other", "Record", "believed", "counting", "has_allergy", "lasting"]
