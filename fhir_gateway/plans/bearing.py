"""Which stored resource a thing of a plan is, where several bear its identifier: anybody who may add to the record may write that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..domain import main_plan
from ..domain.mapping.merging import Held
from ..domain.types import Ref
from ..gate import Context
from .numbering import Own


async def told_apart(ctx: Context, patient: str, held: Mapping[Ref, Held]) -> dict[Ref, Held]:
    """The same; of several with one identifier it is said which were begun neither by who began the plan nor by the person."""
    count = Counter(h.own for h in held.values() if h.own is not None)
    several = [ref for ref, h in held.items() if h.own is not None and count[h.own] > 1]
    if not several:
        return dict(held)
    mains = [ref for ref, h in held.items() if _main(h)]
    began = {ref: s.created_by for ref, s in (await ctx.house.store.get_many([*several, *mains])).items()}
    theirs = {f"Patient/{patient}", *(began.get(ref) for ref in mains)} - {None}
    return {ref: h._replace(other=began.get(ref) not in theirs) if ref in several else h for ref, h in held.items()}


def bearers(held: Mapping[Ref, Held]) -> dict[Own, Held]:
    """Each thing of the plan by our identifier. Of several it is the main plan itself or what it names, else what who began the plan, or the person, began, else
    the oldest."""
    named = main_plan.of_main({h.ref: h.resource for h in held.values()})
    out: dict[Own, Held] = {}
    for h in sorted(held.values(), key=lambda h: (h.ref not in named, h.other, h.ref)):
        if h.own is not None:
            out.setdefault(h.own, h)
    return out


def _main(held: Held) -> bool:
    return held.ref.startswith("CarePlan/") and main_plan.counts(held.resource)


__all__ = ["bearers", "told_apart"]
