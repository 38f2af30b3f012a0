"""What somebody knows of a plan, laid over it: a partner's list, of which only what it says anew counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..domain import mapping
from ..domain.laid import unsaid
from ..domain.plan import overlay, refuse_other_medicines, refuse_twice
from ..domain.problem import Problem
from ..gate import Context
from ..tables import load_tables
from .keeping import Saved, load, person_of, save
from .said import in_list, remember_list
from .texts import checked


async def contribute(ctx: Context, part: Mapping[str, Any], *, by: str = "", dry_run: bool = False) -> Saved:
    """Write what somebody knows of a plan: what is here already and not spoken of stays. What they said so the last time (`by`: in which
    list of theirs) is not said anew: others may have said otherwise since, that a medicine is stopped. Problems as of `save`; invalid where two things of a list have
    one id, conflict where a medicine has the id of another one: the dose of the one would be the other's."""
    refuse_twice(part)
    mapped = mapping.to_fhir(checked(dict(part)), load_tables())
    patient = await person_of(ctx, next(e for e in mapped.entries if e.kind == "person"), of_list=True)
    whole: dict[str, Any] = {}
    if patient is not None:
        try:
            whole = await load(ctx, patient)
        except Problem as p:
            if p.kind != "not-found":
                raise
    said = await in_list(ctx, patient, by) if patient is not None else None
    new = unsaid(part, msgspec.json.decode(said, type=dict[str, str]), whole) if said is not None else part
    refuse_other_medicines(whole, new)
    saved = await save(ctx, overlay(whole, new), dry_run=dry_run, over=True)
    if saved.patient is not None and not dry_run and not saved.drafted:
        await remember_list(ctx, saved.patient, by, part, said)
    return saved


__all__ = ["contribute"]
