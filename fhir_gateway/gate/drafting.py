"""A volunteer's write is judged like any other and then kept beside the record: nobody sees it there, nothing of it is searched, sent or
counted, until the person accepts it (`drafts_waiting`). docs/volunteers.md"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..domain import drafts, strict
from ..domain.bundle import instant
from ..domain.drafts import Draft, Item
from ..domain.problem import Problem
from ..domain.types import Decision, Keep, Op, Ref, Stored
from .committing import Work
from .context import Context, Written, notes

KEPT: Final = "draft"
EXTRACTED: Final = "extracted"  # what answers became, kept beside a write and true of it alone: it waits with it
Mark = Callable[[Work, Draft], Awaitable[None]]


def waits(ctx: Context, resource: Mapping[str, Any], before: Stored | None) -> bool:
    """Is this write kept as a draft (`drafts.waits`)."""
    if not ctx.actor.drafts_only:
        return False
    was = strict.decode(before.body) if before is not None and before.body is not None else None
    return drafts.waits(ctx.actor, resource, was, before is not None and before.writer.user == ctx.actor.user)


async def keep(work: Work, item: Item, stored: Stored, decision: Decision, mark: Mark) -> None:
    """Put one change into the draft that this commit makes. Problem forbidden, written down, for what is no part of a plan."""
    ctx, facts = work.ctx, stored.facts
    letter = "C" if not item.over else "D" if item.body is None else "U"
    why = drafts.refused(facts) or ("A draft is about one person." if work.drafted and work.new[Ref(*work.drafted[0].ref.split("/"))].facts.patients != facts.patients else "")
    if why:
        await ctx.house.store.commit(*notes(ctx, letter, "draft", Decision(False, "rbac", rule="volunteer"), facts, Ref(facts.type, "") if letter == "C" else stored.ref))
        raise Problem("forbidden", why)
    work.drafted.append(item)
    work.new[stored.ref] = stored
    work.trail += notes(ctx, letter, "draft", decision, facts, stored.ref, allowed=True)
    if work.draft is None:
        work.draft = Ref("Task", ctx.house.new_id())

    async def propose(work: Work, beside: Sequence[Op]) -> Sequence[Op]:
        return await _proposed(work, facts.patients[0], beside, mark)

    work.propose = propose


async def _proposed(work: Work, patient: str, beside: Sequence[Op], mark: Mark) -> Sequence[Op]:
    """The draft and its Task, into the commit; what is left to be written beside it now."""
    ctx, a = work.ctx, work.ctx.actor
    assert work.draft is not None
    if len(await ctx.house.store.kept_all(KEPT, ctx.at, prefix=f"{patient} ")) >= drafts.MOST:
        raise Problem("conflict", f"{drafts.MOST} drafts wait for this person. Nothing was written: let them look at these first.")
    later = [op for op in beside if isinstance(op, Keep) and op.kind == EXTRACTED]
    kept = tuple((op.key, op.value.decode()) for op in later)
    draft = Draft(work.draft.id, patient, a.user, a.name, a.organisation, ctx.client, a.kind, instant(ctx.at), tuple(work.drafted), kept)
    await mark(work, draft)
    work.ops.append(Keep(KEPT, draft.key, msgspec.json.encode(draft), if_absent=True))
    return [op for op in beside if op not in later]


def told(work: Work, ref: Ref) -> Written:
    """What a volunteer is told of it: where it would be, and that it waits."""
    return Written(ref, 0, work.ctx.at, None, "drafted", shown=False, draft=work.draft)


__all__ = ["EXTRACTED", "KEPT", "keep", "told", "waits"]
