"""A referral ends when all that was asked for by it has ended: completed where something was done, else revoked, with the reason that was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from ..domain import strict
from ..domain.referrals import OVER, closed, request_of
from ..domain.types import Ref, Stored
from .committing import Work

MOST: Final = 200  # Tasks of one referral


def requests_over(task: dict[str, Any]) -> set[Ref]:
    """The referral that this Task was about, where the Task is over."""
    name = request_of(task)
    return {Ref("ServiceRequest", name.removeprefix("ServiceRequest/"))} if name and task.get("status") in OVER else set()


async def closing(work: Work) -> AsyncIterator[tuple[Stored, dict[str, Any]]]:
    """Referrals that close with this commit, and as what. One that the same commit writes is its writer's to close; what it only proposes closes nothing."""
    written = work.written
    for ref in sorted(work.over):
        stored = await work.ctx.house.store.get(ref)
        if stored is None or stored.body is None or ref in written or ref in work.gone:
            continue
        named = [r for r in await work.ctx.house.store.referrers(ref) if r.type == "Task"][:MOST]
        tasks = [written.get(r) or await work.ctx.house.store.get(r) for r in {*named, *(r for r in written if r.type == "Task")} if r not in work.gone]
        same = [t for t in tasks if t is not None and t.body is not None and t.facts.patients == stored.facts.patients]
        bodies = [b for b in (strict.decode(t.body or b"{}") for t in same) if request_of(b) == str(ref)]
        body = closed(strict.decode(stored.body), bodies)
        if body is not None:
            yield stored, body
