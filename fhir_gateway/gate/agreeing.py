"""What a yes to a proposal of a discharge would make of the plan's medicine. docs/partners.md"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from ..domain import medicine_changes as changes
from ..domain import strict
from ..domain.labels import joined
from ..domain.main_plan import main_of
from ..domain.periods import LONDON
from ..domain.types import Ref, Stored
from .committing import Work
from .main_plan import counting, said_of


def today(work: Work) -> date:
    return work.ctx.at.astimezone(LONDON).date()


async def medicine_of(work: Work, order: Mapping[str, Any]) -> dict[str, Any] | None:
    """The Medication that it refers to."""
    type, _, id = str((order.get("medicationReference") or {}).get("reference", "")).split("/_history/")[0].partition("/")
    found = await work.get(Ref(type, id)) if type == "Medication" and id and "/" not in id else None
    return strict.decode(found.body) if found is not None and found.body is not None else None


async def agreed(work: Work, person: str, order: Stored, mine: Stored | None) -> dict[str, Any] | None:
    """The medicine of the plan as it would be after a yes; None where there is no plan that it could be of."""
    said = strict.decode(order.body or b"{}")
    medicine = await medicine_of(work, said)
    if mine is None:
        plan = await _plan(work, person)
        return changes.made(said, medicine, strict.decode(plan.body or b"{}")) if plan is not None else None
    there = strict.decode(mine.body or b"{}")
    body = changes.changed(there, said, medicine, today(work))
    security = joined(there.get("meta", {}).get("security", ()), said.get("meta", {}).get("security", ()))
    return {**body, "meta": {**there.get("meta", {}), "security": security}} if security else body


async def _plan(work: Work, person: str) -> Stored | None:
    plans = await counting(work, person)
    main = main_of((await said_of(work.ctx, person))[1], map(str, plans))
    return plans[Ref(*main.split("/", 1))] if main is not None else None


__all__ = ["agreed", "medicine_of", "today"]
