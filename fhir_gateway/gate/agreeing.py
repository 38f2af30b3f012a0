"""What a yes to a proposal of a discharge would make of the plan's medicine, and whether somebody would read in it what they may not see. docs/partners.md"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from ..domain import medicine_changes as changes
from ..domain import strict
from ..domain.facts import in_nobodys_name
from ..domain.labels import joined
from ..domain.main_plan import main_of
from ..domain.opening import opens
from ..domain.periods import LONDON
from ..domain.types import Facts, Ref, Stored, Writer
from .committing import Work
from .context import ask, filled, stand
from .main_plan import counting, said_of
from .marking import labelled
from .somebody import askers


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


async def would_reach(work: Work, person: str, things: Sequence[Stored], *, look: bool) -> bool:
    """Is what is to be asked for the person alone to say (`reaches_others`): an order, and of the plan what it means. What is to be looked at is as it is."""
    order, mine = things[0], things[1] if things[1:] else None
    body = strict.decode(mine.body or b"{}") if look and mine is not None else await agreed(work, person, order, mine)
    return body is None or await reaches_others(work, person, order, mine, body, nobodys=True)


async def reaches_others(work: Work, person: str, order: Stored, mine: Stored | None, body: dict[str, Any], *, nobodys: bool = False) -> bool:
    """Might anybody see the medicine of the plan as it would be (`body`) who may not see this order: by what the person said of either, or as who made it.
    `nobodys`: it is not known yet who will have made it."""
    house, known = work.ctx.house, await stand(work.ctx.house, [person], None)
    ref = mine.ref if mine is not None else Ref("MedicationStatement", house.new_id())
    shown = labelled(work.ctx, body, ref, Writer(work.ctx.actor.user, method="SYSTEM"), mine)[0]
    if mine is not None or nobodys:
        shown = in_nobodys_name(shown, mine.facts if mine is not None else None)
    plan = await _plan(work, person)
    near = frozenset({str(plan.ref)} if plan is not None else ())
    told, shown = await filled(house, order.facts, known), await filled(house, shown, known)
    shown = replace(shown, referred_by=shown.referred_by | near) if mine is None else shown
    return opens(told, shown, known) or (mine is not None and await _as_makers(work, told, shown))


async def _as_makers(work: Work, told: Facts, shown: Facts) -> bool:
    """What they made themselves its makers see, also where they may see nothing else."""
    names = shown.makers | ({shown.keeper} if shown.keeper else set())
    found = [s for name in sorted(names - told.makers) for s in await askers(work.ctx.house, name)]
    return any([(await ask(s, "access", shown)).permit and not (await ask(s, "access", told)).permit for s in found])


__all__ = ["agreed", "medicine_of", "reaches_others", "today", "would_reach"]
