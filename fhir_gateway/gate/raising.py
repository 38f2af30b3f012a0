"""Tasks that the gateway raises where a person must act on what came from, or lies at, a partner; closed when it is done.

They are restricted, seen by the person and whoever may see restricted things of theirs, and stay here: no partner is sent one.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain import strict
from ..domain.types import Op, Ref, Send
from ..domain.vocabulary import CONFIDENTIALITY_SYSTEM, TASK_SYSTEM
from .committing import Work
from .context import Context, House
from .disclosing import owner_of
from .storing import put_by_house

SETTLE: Final = "settle-conflict"  # Task.code: two versions wait for somebody to choose
BY_HAND: Final = "recall-by-hand"  # Task.code: a copy that cannot be taken back
LONGEST: Final = 900  # characters of what is to be done
TOLD: Final = "recall-told"  # kept: the Task of it, by `<remote> <entry>`


def task_of_the_house(ctx: Context, code: str, text: str, person: str, focus: str) -> dict[str, Any]:
    """A Task of the gateway's own about `focus`, for whoever runs it: restricted, in this person's record, owned by nobody."""
    return {
        "resourceType": "Task",
        "meta": {"security": [{"system": CONFIDENTIALITY_SYSTEM, "code": "R"}]},
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": code}]},
        "description": text[:LONGEST],
        "focus": {"reference": focus},
        "for": {"reference": person},
        "authoredOn": ctx.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


async def raise_task(ctx: Context, code: str, text: str, person: str, focus: Ref) -> tuple[Ref, list[Op]]:
    """A new Task about `focus` in this person's record, and the operations that write it, for a commit with what it is about."""
    work, ref = Work(ctx), Ref("Task", ctx.house.new_id())
    await put_by_house(work, ref, task_of_the_house(ctx, code, text, person, str(focus)), None, "sync", f"raised: {code}")
    return ref, [*_kept_here(work.ops), *work.trail]


async def close_task(ctx: Context, name: str) -> list[Op]:
    """The operations that complete this Task (`Task/…`); none where it is closed already or gone."""
    stored = await ctx.house.store.get(Ref("Task", name.removeprefix("Task/"))) if name else None
    if stored is None or stored.deleted or stored.body is None:
        return []
    body = strict.decode(stored.body)
    if body.get("status") in ("completed", "cancelled", "failed", "rejected", "entered-in-error"):
        return []
    work = Work(ctx)
    await put_by_house(work, stored.ref, {**body, "status": "completed"}, stored, "sync", "it is done")
    return [*_kept_here(work.ops), *work.trail]


async def seen_to(house: House, remote: str, entry: int) -> list[Op]:
    """The operations that complete the Task of this outbox entry, where somebody was asked to take its copy back by hand: it is back, may be
    there again, or they say that it is gone."""
    task = await house.store.kept(TOLD, f"{remote} {entry}", house.clock())
    terms = next((r for r in house.remotes if r.name == remote), None)
    return await close_task(await owner_of(house, terms, "access"), task.decode()) if task and terms is not None else []


def _kept_here(ops: list[Op]) -> list[Op]:
    return [op for op in ops if not isinstance(op, Send)]


__all__ = ["BY_HAND", "SETTLE", "TOLD", "close_task", "raise_task", "seen_to", "task_of_the_house"]
