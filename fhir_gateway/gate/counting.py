"""What is counted and not shown: decided again like what is shown, and written down for each person of whom something was counted.

A count answers yes or no about a person as well as a page does (leak list L04).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ..domain.standing import Standing
from ..domain.types import Found, Note, Stored
from .checking import decide_again
from .context import Context, note, why_shown

COUNTED = 1_000  # of what one search counted, the first that are decided again and written down
AT_ONCE = 250
NAMED = 20  # of what was counted of one person, those that their log names


async def counted_again(
    ctx: Context, ask: Callable[..., Coroutine[Any, Any, Found]], found: Found, standings: Mapping[str, Standing]
) -> list[Stored]:
    """The first `COUNTED` of what this total counts, each permitted by the evaluator; nothing when the page shows all of it.

    Problem unavailable where the evaluator says no to one of them. `ask` is the search that found the total.
    """
    if not found.total or found.total <= len(found.hits):
        return []
    out: list[Stored] = []
    after: Any = None
    while len(out) < COUNTED:
        page = await ask(count=AT_ONCE, after=after, total=False)
        await decide_again(ctx, page.hits, standings)
        out += page.hits
        after = page.after
        if after is None:
            break
    return out


async def counted_of(ctx: Context, counted: Sequence[Stored], query: str, told: set[str | None]) -> list[Note]:
    """One audit row for each person of whom something was counted and nothing shown; `told` have a row of their own."""
    of: dict[str, list[Stored]] = {}
    for stored in counted:
        for person in stored.facts.patients:
            if person not in told:
                of.setdefault(person, []).append(stored)
    return [
        note(ctx, "E", "search", await why_shown(ctx, theirs), [str(s.ref) for s in theirs[:NAMED]], patient=p, query=query, allowed=True, detail=f"counted {len(theirs)}")
        for p, theirs in of.items()
    ]  # fmt: skip


__all__ = ["counted_again", "counted_of"]
