"""What is counted and not shown: decided again like what is shown, and written down for each person of whom something was counted.

A count answers yes or no about a person as well as a page does (leak list L04). So a total that is too large to look at is not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..domain.standing import Standing
from ..domain.types import Decision, Found, Note, Stored
from .checking import decide_again
from .context import Context, note, why_shown

MOST = 10_000  # the largest total that is told: above it a Bundle has none
AT_ONCE = 250  # decided again in one step; no more are in memory
NAMED = 20  # of what was counted of one person, those that their log names


@dataclass(slots=True)
class Counted:
    """What of one person was counted: how many, the first of them, and why it may be."""

    why: Decision
    many: int = 0
    refs: list[str] = field(default_factory=list)


def too_large(found: Found) -> bool:
    """Is this more than is decided again, so that no total is told."""
    return found.total is not None and found.total > MOST


async def counted_again(
    ctx: Context, ask: Callable[..., Coroutine[Any, Any, Found]], found: Found, standings: Mapping[str, Standing]
) -> dict[str, Counted]:
    """All that this total counts, each permitted by the evaluator, by person; nothing when the page shows all of it, or no total is told.

    Problem unavailable where the evaluator says no to one of them. `ask` is the search that found the total.
    """
    out: dict[str, Counted] = {}
    if not found.total or found.total <= len(found.hits) or too_large(found):
        return out
    after: Any = None
    while True:
        page = await ask(count=AT_ONCE, after=after, total=False)
        await decide_again(ctx, page.hits, standings)
        await _written_down(ctx, page.hits, out)
        after = page.after
        if after is None:
            return out
        await asyncio.sleep(0)  # others are served between two steps


async def _written_down(ctx: Context, hits: Sequence[Stored], out: dict[str, Counted]) -> None:
    of: dict[str, list[Stored]] = {}
    for stored in hits:
        for person in stored.facts.patients:
            of.setdefault(person, []).append(stored)
    for person, theirs in of.items():
        known = out.get(person)
        if known is None:
            known = out[person] = Counted(await why_shown(ctx, theirs))
        elif ctx.actor.btg_role and known.why.basis != "break-glass":
            why = await why_shown(ctx, theirs)
            known.why = why if why.basis == "break-glass" else known.why
        known.many += len(theirs)
        known.refs += [str(s.ref) for s in theirs[: max(0, NAMED - len(known.refs))]]


def counted_of(ctx: Context, counted: Mapping[str, Counted], query: str, told: Collection[str | None]) -> list[Note]:
    """One audit row for each person of whom something was counted and nothing shown; `told` have a row of their own."""
    return [
        note(ctx, "E", "search", c.why, c.refs, patient=p, query=query, allowed=True, detail=f"counted {c.many}")
        for p, c in counted.items() if p not in told
    ]  # fmt: skip


__all__ = ["Counted", "counted_again", "counted_of", "too_large"]
