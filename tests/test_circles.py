"""Two records that refer to each other go one after the other: what a reader at the partner may see in between is said in docs/notes/0031."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.masked import HELD_BACK
from fhir_gateway.domain.types import Ref
from fhir_gateway.sync.partner import local_references

from . import test_believing
from .faults.scripted import Body
from .test_believing import Beside

here = test_believing.here
slow = pytest.mark.slow
__all__ = ["here"]


async def circle(here: Beside) -> tuple[Ref, Ref]:
    """A plan, and a task of its own that is in it."""
    me = {"reference": here.names["amina"]}
    plan: Body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": me}
    first = (await gate.create(here.me, "CarePlan", strict.dump(plan))).ref
    task: Body = {"resourceType": "Task", "status": "requested", "intent": "plan", "for": me, "focus": {"reference": str(first)}}
    second = (await gate.create(here.me, "Task", strict.dump(task))).ref
    here.names["plan"] = str(first)
    await here.change(here.me, "plan", activity=[{"reference": {"reference": str(second)}}])
    return first, second


def loose(body: Body) -> list[str]:
    """What it names by identifier only."""
    return [r["identifier"]["value"] for r in (body.get("focus", {}), *(a["reference"] for a in body.get("activity", ()))) if r.get("identifier", {}).get("system") == HELD_BACK]


def whole(here: Beside) -> bool:
    there = [*here.there.named("CarePlan"), *here.there.named("Task")]
    return len(there) == 2 and not any(loose(b) for b in there)


@pytest.mark.parametrize("fault", [pytest.param(None, marks=slow), pytest.param({"method": "POST"}, marks=slow), {"method": "PUT"}, pytest.param({"method": "POST", "skip": 1}, marks=slow)])
async def test_each_version_there_refers_to_what_is_there_and_in_the_end_to_the_other(here: Beside, fault: dict[str, Any] | None) -> None:
    """Whatever request of the three fails, answered or done and not answered."""
    await circle(here)
    if fault is not None:
        here.there.fault(times=1, status=503, applied=True, when=lambda a: a.path.startswith(("CarePlan", "Task")), **fault)
    known: set[str] = set()
    await here.settled()
    for kept in here.there.history:
        known.add(kept.name)
        assert {str(r) for r in local_references(kept.body or {})} <= known, "no version leads to nothing"
    assert whole(here)
    written = [k.name.split("/")[0] for k in here.there.history if k.name.startswith(("CarePlan", "Task"))]
    assert len(written) == 3 and {*written} == {"CarePlan", "Task"}, "each is made, and one of the two is written once more"


async def test_where_one_of_the_two_may_not_go_the_other_goes_without_it(here: Beside) -> None:
    here.partner.terms = replace(here.partner.terms, types=frozenset({"Patient", "CarePlan"}))
    here.house.remotes = (here.partner.terms,)
    _, second = await circle(here)
    await here.settled()
    assert [loose(p) for p in here.there.named("CarePlan")] == [[str(second)]] and not here.there.named("Task")
