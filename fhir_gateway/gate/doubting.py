"""Who somebody is at a partner is in doubt: a Task says so until it is settled. sync.md, Identity; docs/notes/0023"""

from __future__ import annotations

from ..domain import strict
from ..domain.types import Note, Op, Ref
from ..domain.vocabulary import CHECK_IDENTITY
from .committing import Work, settle
from .context import Context
from .raising import task_of_the_house
from .storing import put_by_house


async def in_doubt(ctx: Context, task: Ref, person: Ref, why: str, *also: Op) -> None:
    """Write `also` and the Task `task` about this person, in one commit. It is as private as a consent: seen by the person, and by
    nobody else but those who are listed it as work."""
    work, body = Work(ctx), task_of_the_house(ctx, CHECK_IDENTITY, why, str(person), str(person))
    await put_by_house(work, task, body, None, "sync", "raised because it is not sure who this is at a partner")
    await work.commit(*also)


async def sure_again(ctx: Context, task: Ref, *also: Op | Note) -> None:
    """Write `also`, and that this Task is done, in one commit."""
    work, stored = Work(ctx), await ctx.house.store.get(task)
    if stored is None or stored.deleted or stored.body is None:
        await settle(ctx, *also)
        return
    body = strict.decode(stored.body)
    if body.get("status") != "completed":
        await put_by_house(work, task, {**body, "status": "completed"}, stored, "sync", "it is sure again who this is at a partner")
    await work.commit(*also)


__all__ = ["in_doubt", "sure_again"]
