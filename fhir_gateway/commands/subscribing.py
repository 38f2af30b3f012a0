"""`subscriptions list`: who asked to be told of changes, and how far they are."""

from __future__ import annotations

from ..gate.subscriber_states import subscriber_states
from ..settings import load
from ..wiring import wired
from .syncing import line


async def every(as_json: bool) -> int:
    """Every Subscription that is not ended, by client and id."""
    async with wired(load()) as w:
        for said in await subscriber_states(w.house):
            wanted = ", ".join(said["types"]) or "all types"
            trouble = f"; {said['trouble']}, next try {said['next_try']}" if said["trouble"] else ""
            line(said, as_json, f"{said['id']}: {said['client']} at {said['place']}, {wanted}: {said['status']}, event {said['number']}, {said['queued']} to tell{trouble}")
    return 0
