"""What becomes of a plan that waits beside the main one, by whoever was asked (`main_plan`): part of it, in its place, or ended.

They change nothing that they might not change otherwise. Where somebody who made the one may not see the other, neither names the other:
they stay side by side, and only which of them is the main one is kept. docs/main-plan.md
"""

from __future__ import annotations

from typing import Any, Final

from ..domain import main_plan, strict
from ..domain.problem import Problem, not_found
from ..domain.standing import named_by
from ..domain.types import Keep, Ref, Stored
from .committing import Work, again
from .context import Context
from .explaining import may
from .key_workers import may_see
from .main_plan import MAIN, counting, open_question, said_of, sees
from .merged_plans import choose, main_of_records, plans_of, records_now
from .preparing import put_edited
from .reading import allow
from .storing import put_by_house

WAYS: Final = ("part", "main", "end")


async def join_plans(ctx: Context, task: Ref, how: str) -> None:
    """Answer the question of this Task, as whom it asks. Problem: not-found, bad-request, forbidden, conflict when it is answered already."""
    if how not in WAYS:
        raise Problem("bad-request", "Another plan becomes part of the one that is there, the main one, or it is ended.", "how")
    if ctx.actor.drafts_only:
        raise Problem("forbidden", "A volunteer writes drafts; what becomes of another plan is for somebody else to say.")
    await again(lambda: _joined(ctx, task, how))


async def _joined(ctx: Context, task: Ref, how: str) -> None:
    asked = await ctx.house.store.get(task)
    await allow(ctx, "U", "accept", task, asked)
    body = strict.decode(asked.body or b"{}") if asked is not None else {}
    about = await open_question(ctx, asked) if asked is not None else None
    me = ctx.actor.ids | {ctx.actor.user} | (ctx.records if ctx.actor.kind == "patient" else frozenset())
    if asked is None or named_by(body.get("owner")).isdisjoint(me):
        raise not_found()
    if about is None:
        raise Problem("conflict", "This was answered already.")
    person, work = asked.facts.patients[0], Work(ctx)
    kept, said = await said_of(ctx, person)
    here = {str(r): s for r, s in (await counting(work, person)).items()}
    first = main_plan.main_of(said, (r for r in here if r != about))
    if about not in here and first is not None:
        await _joined_records(work, asked, body, here[first], about, how)
        return
    if about not in here or first is None or not await sees(ctx, here[first]):  # of one that they do not see they are not told
        raise Problem("conflict", "This was answered already.")
    if how == "end":
        await put_edited(work, here[about].ref, lambda plan: {**plan, "status": "revoked"}, if_match=here[about].version)
    else:
        whole, part = (here[first], here[about]) if how == "part" else (here[about], here[first])
        for plan in (whole, part):
            if not (await may(ctx, "correct", plan.ref)).permit:
                raise Problem("forbidden", "You may see these plans but not change them.")
        if await _may_name(work, part, whole):
            await put_edited(work, part.ref, lambda plan: _within(plan, str(whole.ref)), if_match=part.version)
        else:
            work.ops.append(Keep(MAIN, person, f"{whole.ref} {ctx.house.new_id()}".encode(), if_absent=kept is None, if_value=kept))
            await put_by_house(work, task, {**body, "status": "completed"}, asked, "update", "the plans stay side by side")
    await work.commit()


async def _joined_records(work: Work, asked: Stored, body: dict[str, Any], first: Stored, about: str, how: str) -> None:
    """The same where the other plan stands in another record of the person: nothing is written into either, for the records may be parted again. Where
    they said of three records before which plan goes on, it is that one beside which the other stands, and not `first`."""
    ctx, records = work.ctx, await records_now(work.ctx, asked.facts.patients[0])
    plans = {str(s.ref): s for several in (await plans_of(work, records)).values() for s in several}
    chosen = await main_of_records(ctx.house, records, list(plans.values()))
    first, other = plans[chosen] if chosen is not None and chosen != about else first, plans.get(about)
    if other is None or not await sees(ctx, first) or not await sees(ctx, other):
        raise Problem("conflict", "This was answered already.")
    if how == "end":
        raise Problem("business-rule", "The other plan stands in another record of this person, which may be parted from this one again: say which plan they go on with.", "how")
    for plan in (first, other):
        if not (await may(ctx, "correct", plan.ref)).permit:
            raise Problem("forbidden", "You may see these plans but not change them.")
    work.ops += choose(ctx, records, str(first.ref if how == "part" else other.ref))
    await put_by_house(work, asked.ref, {**body, "status": "completed"}, asked, "update", "the records have a plan each")
    await work.commit()


def _within(plan: dict[str, Any], whole: str) -> dict[str, Any]:
    return {**plan, "partOf": [{"reference": whole}]}


async def _may_name(work: Work, part: Stored, whole: Stored) -> bool:
    """Does everybody who made `part` see `whole`: then it may say what it is part of."""
    makers = sorted(m for m in part.facts.makers if m.startswith(("Organization/", "Practitioner/", "PractitionerRole/", "Patient/", "RelatedPerson/")))
    return bool(makers) and all([await may_see(work, {"reference": m}, whole) for m in makers])


__all__ = ["WAYS", "join_plans"]
