"""How far each subscriber is, for the operator: of where it is told only the host, for an address and its headers may hold secrets."""

from __future__ import annotations

from typing import Any

from .context import House
from .subscribers import State, Subscription, everybody, states_of


async def subscriber_states(house: House) -> list[dict[str, Any]]:
    """`{id, client, organisation, place, types, patients, content, status, number, queued, last_sent, failing_since, failing_s, next_try, failures,
    trouble, ends}` of each Subscription that is not ended, by client and id. Times as text, `failing_s` in seconds."""
    states = await states_of(house)
    live = sorted((s for s in (await everybody(house)).values() if not s.ended), key=lambda s: (s.client, s.id))
    return [await _standing(house, sub, states.get(sub.id, State())) for sub in live]


async def _standing(house: House, sub: Subscription, state: State) -> dict[str, Any]:
    queued = await house.store.outbox(sub.queue)
    return {
        "id": sub.id, "client": sub.client, "organisation": sub.organisation, "place": sub.place, "types": sorted(sub.types or ()),
        "patients": sorted(sub.patients or ()), "content": sub.content or "plain", "status": state.status, "number": state.number,
        "queued": queued.get("queued", 0) + queued.get("leased", 0), "last_sent": _text(state.sent), "failing_since": _text(state.failing),
        "failing_s": max(0.0, (house.clock() - state.failing).total_seconds()) if state.failing else 0.0,
        "next_try": _text(state.due), "failures": state.failures, "trouble": state.trouble, "ends": _text(sub.ends),
    }  # fmt: skip


def _text(at: Any) -> str | None:
    return at.isoformat() if at is not None else None


__all__ = ["subscriber_states"]
