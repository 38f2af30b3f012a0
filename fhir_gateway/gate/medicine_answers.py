"""The answer to what a discharge proposes of a plan's medicines (`discharging`): a yes changes the plan in the same commit, by the right of whoever
says it; a no keeps it, and says why. docs/partners.md"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..domain import medicine_changes as changes
from ..domain import strict
from ..domain.problem import Problem
from ..domain.referrals import reason_of
from ..domain.types import Ref, Stored
from .agreeing import agreed, medicine_of, reaches_others, today
from .asked_here import by_the_gateway
from .committing import Work
from .context import Written, ask_stored, need_scope
from .marking import who_writes
from .permitting import changeable
from .storing import put_by_house

PutNew = Callable[[Work, str, bytes], Awaitable[Written]]


async def answered(work: Work, task: Stored, was: Mapping[str, Any], now: Mapping[str, Any], put_new: PutNew) -> bool:
    """Is this change of a Task a yes to such a proposal; then the plan is changed with it. Problem invalid for a no without a reason, forbidden, conflict."""
    about = changes.asks_about(was)
    if about is None or not await by_the_gateway(work.ctx.house, task) or now.get("status") == was.get("status"):
        return False
    if not changes.is_open(was):
        raise Problem("conflict", "This was answered already.")
    if now.get("status") in changes.NO and not reason_of(now):
        raise Problem("invalid", "Say in `statusReason` why the plan stays as it is.", "Task.statusReason")
    if now.get("status") not in changes.YES:
        return False
    if work.ctx.actor.drafts_only:
        raise Problem("forbidden", "A volunteer writes drafts; what becomes of a medicine is for somebody else to say.")
    order, *mine = [await _seen(work, task, name) for name in (about.order, *about.mine)]
    if not about.look:
        await _follow(work, task.facts.patients[0], order, mine[0] if mine else None, put_new)
    return True


async def _seen(work: Work, task: Stored, name: str) -> Stored:
    """What it is about, where it is there for whoever answers. Problem forbidden, for hidden and absent alike."""
    type, _, id = name.partition("/")
    need_scope(work.ctx, "r", type)
    found = await work.get(Ref(type, id))
    if found is None or found.body is None or found.facts.patients != task.facts.patients or not (await ask_stored(work.ctx, work.ctx.action, found)).permit:
        raise Problem("forbidden", "You do not see what this asks about, so you cannot say yes to it. Say no, or leave it to the person.")
    return found


async def _follow(work: Work, person: str, order: Stored, mine: Stored | None, put_new: PutNew) -> None:
    """Into the commit: the medicine of the plan as it was ordered, and the Provenance of that. Nothing where the plan says so already."""
    ctx, body = work.ctx, await agreed(work, person, order, mine)
    if body is None:
        raise Problem("conflict", "There is no plan any more that this could be added to.")
    if ctx.actor.kind != "patient" and await reaches_others(work, person, order, mine, body):
        raise Problem("forbidden", "The person decides this. Say no, or leave it to them.")
    if mine is None:
        need_scope(ctx, "c", "MedicationStatement")
        ref = (await put_new(work, "MedicationStatement", strict.dump(body))).ref
    else:
        ref = mine.ref
        if ref not in await changeable(ctx, [ref]):
            raise Problem("forbidden", "You may see this medicine but not change it. The person can say yes.")
        there, said = (strict.decode(s.body or b"{}") for s in (mine, order))
        if not changes.differs(*[changes.says(b, await medicine_of(work, b), today(work))[0] for b in (there, said)]):
            return
        await put_by_house(work, ref, body, mine, "update", "as the discharge says", by=await who_writes(ctx, body, "PUT", mine))
    proof = changes.said_yes(str(ref), str(order.ref), ctx.actor.user, ctx.actor.organisation, ctx.at)
    await put_by_house(work, Ref("Provenance", ctx.house.new_id()), proof, None, "create", "who said yes to it", ours=True)


__all__ = ["answered"]
