"""Which Tasks the gateway itself asks: by who wrote their first version, for anybody may write a Task with the same code."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain import medicine_changes, strict
from ..domain.types import Ref, Stored
from .context import Context, House, ask_stored


async def by_the_gateway(house: House, task: Stored) -> bool:
    """Did the gateway itself propose this of a medicine."""
    first = task if task.version == 1 else await house.store.version(task.ref, 1)
    if first is None or first.writer.method != "SYSTEM":
        return False
    return medicine_changes.asks_about(strict.decode(first.body or b"{}")) is not None


async def asked_here(ctx: Context, tasks: Iterable[Ref]) -> frozenset[Ref]:
    """Those of these that the gateway itself proposed of a medicine, as far as this reader sees them: they were read before, so nothing is written down."""
    found = await ctx.house.store.get_many(list(tasks))
    return frozenset({t.ref for t in found.values() if not t.deleted and await by_the_gateway(ctx.house, t) and (await ask_stored(ctx, ctx.action, t)).permit})


__all__ = ["asked_here", "by_the_gateway"]
