"""One person, one record: by NHS number together with date of birth and family name, whichever door a Patient comes in by.

The number is claimed in the commit that writes the Patient, so that two first messages about one person cannot make two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..domain import strict
from ..domain.identity import NHS_NUMBER, NO_NUMBER, agrees, is_nhs_number, nhs_number, nhs_numbers
from ..domain.problem import Problem
from ..domain.search import Query, Term, Value
from ..domain.types import Always, Drop, Keep, Never, Op, Ref, Stored
from ..store.base import Taken
from .context import Context
from .guessing import in_turn, may_try, missed

if TYPE_CHECKING:
    from .committing import Work

CLAIM = "nhs-number"


async def find_person(ctx: Context, patient: Mapping[str, Any], where: str = "Patient") -> Stored | None:
    """The person with this NHS number, if date of birth and family name agree; None when the number is not known here.

    Problem conflict when they disagree: nothing is written, a person must look. Each is written down, and who makes many waits:
    throttled, as in `finding`.
    """
    number = nhs_number(patient)
    if number is None or len(nhs_numbers(patient)) > 1:  # of two numbers neither is believed; writing it is refused
        return None
    async with in_turn(ctx):
        hits = await with_number(ctx, number)
        if not hits:
            return None
        if ctx.scopes is not None:
            await may_try(ctx)
        same = [h for h in hits if h.body is not None and agrees(strict.decode(h.body), patient)]
        if len(hits) > 1 or not same:
            await missed(ctx, hits)
            raise _disagrees(where)
        return same[0]


async def with_number(ctx: Context, number: str) -> list[Stored]:
    """Whoever holds this number, however it was written when it came in."""
    query = Query(("Patient",), (Term("identifier", "token", values=(Value(text=number, system=NHS_NUMBER),)),))
    hits = {s.ref: s for s in (await ctx.house.store.search(query, Always(), filtered=Never(), count=3)).hits}
    held = await ctx.house.store.kept(CLAIM, number, ctx.at)
    holder = await ctx.house.store.get(Ref("Patient", held.decode().removeprefix("Patient/"))) if held is not None else None
    if holder is not None and not holder.deleted:
        hits[holder.ref] = holder
    return list(hits.values())


def _disagrees(where: str) -> Problem:
    return Problem(
        "conflict",
        "The NHS number, date of birth and family name do not belong together here. Nothing was written; "
        "the message waits until a person has looked at it.",
        where,
    )


async def known_person(ctx: Context, type: str, resource: Mapping[str, Any]) -> Stored | None:
    """Whom a new Patient of somebody who brings people in turns out to be. None: nobody here, or no such resource."""
    if type != "Patient" or not _brings_people(ctx):
        return None
    return await find_person(ctx, resource)


def _brings_people(ctx: Context) -> bool:
    return ctx.actor.contributor or ctx.actor.operator


async def claimed(work: Work, ref: Ref, resource: Mapping[str, Any], before: Stored | None) -> list[Op]:
    """Claim the NHS number of a Patient that is being written, and let an earlier one go.

    Problem conflict where the number is another person's, business-rule where it is no NHS number or a person would change their own. One that
    is here already stays, whatever it is.
    """
    if ref.type != "Patient":
        return []
    if len(nhs_numbers(resource)) > 1:
        raise Problem("business-rule", "A person has one NHS number: mark a former one as `old`.", "Patient.identifier")
    ctx, number = work.ctx, nhs_number(resource)
    earlier = nhs_number(strict.decode(before.body)) if before is not None and before.body is not None else None
    if number == earlier:
        return []
    if before is not None and not (ctx.actor.contributor or ctx.actor.operator or ctx.scopes is None):
        raise Problem("business-rule", "An NHS number is changed by a registered health system, not here.", "Patient.identifier")
    ops = released(ref, before)
    if number is None:
        return ops
    if not is_nhs_number(number):  # with a wrong digit somebody who is here would be here twice
        raise Problem("business-rule", NO_NUMBER, "Patient.identifier")
    others = [h for h in await with_number(ctx, number) if h.ref != ref and h.body is not None]
    if before is None and _brings_people(ctx) and any(agrees(strict.decode(h.body or b""), resource) for h in others):
        raise Taken(CLAIM, number)  # the same person came in between: look again
    if others:
        async with in_turn(ctx):
            await missed(ctx, others)
    if others or number in work.numbers:
        raise _disagrees("Patient.identifier")
    work.numbers.add(number)
    held = await ctx.house.store.kept(CLAIM, number, ctx.at)  # of a person who is here no more
    return [*ops, Keep(CLAIM, number, str(ref).encode(), if_absent=held is None, if_value=held)]


def released(ref: Ref, before: Stored | None) -> list[Op]:
    """Let the NHS number of a Patient that is deleted or changed go."""
    number = nhs_number(strict.decode(before.body)) if ref.type == "Patient" and before is not None and before.body is not None else None
    return [Drop(CLAIM, number)] if number is not None else []
