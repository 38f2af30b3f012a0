"""Refusals that come before any look-up, or after one that was allowed, are in the trail like all others."""

from __future__ import annotations

from typing import Final

from ..domain.problem import Problem
from .context import Context, note

KEPT: Final = frozenset({"insufficient-scope", "stale"})
_WHAT: Final = {
    "GET": ("R", "read"), "HEAD": ("R", "read"), "POST": ("C", "create"), "PUT": ("U", "update"), "PATCH": ("U", "patch"), "DELETE": ("D", "delete"),
}  # fmt: skip


async def turned_away(ctx: Context, p: Problem, method: str, what: str, asked: str) -> None:
    """Write down that this asker was refused, unless it was written down where it was refused.

    `what` is what they wanted (`search`), else as the HTTP `method` says; `asked` names what they asked for (`Goal`, `Goal/1`): nothing was
    looked up for this row, which is of nobody's record.
    """
    if p.noted or p.kind not in KEPT:
        return
    letter, usual = _WHAT.get(method, ("E", "other"))
    p.noted = True
    await ctx.house.store.commit(
        note(ctx, "E" if what else letter, what or usual, None, (asked[:140],) if asked else (), allowed=False, detail=p.kind)
    )
