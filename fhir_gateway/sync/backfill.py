"""First contact outward: what was here before a partner was configured is queued for it like anything new.

Consent is asked when each is sent, as always. The position is kept in the commit of what it covers, so a stop loses and doubles nothing.
"""

from __future__ import annotations

import msgspec

from ..domain.search import Query
from ..domain.types import Always, Keep, Never, Op, Send
from ..gate import House
from ..store.base import Taken
from .partner import Partner

PAGE, MOST = 200, 1_000_000
DONE = b"[]"
EVERYTHING = Query(())


async def backfill(house: House, partner: Partner) -> int:
    """Queue everything of people that this partner has no copy of and that waits for it no longer; how many. Once for each partner,
    by name, and by one worker at a time."""
    terms = next((r for r in house.remotes if r.name == partner.name), None)
    kept = await house.store.kept("backfill", partner.name, house.clock())
    if terms is None or kept == DONE:
        return 0
    waiting = {i["ref"] for state in ("queued", "leased") for i in await house.store.outbox_items(partner.name, state, MOST)}
    queued = 0
    while kept != DONE:
        after = tuple(msgspec.json.decode(kept)) if kept else None
        found = await house.store.search(EVERYTHING, Always(), filtered=Never(), count=PAGE, after=after)
        sends: list[Op] = []
        for stored in found.hits:
            person = next(iter(stored.facts.patients), None)
            if person is None or not terms.takes(stored.ref.type) or str(stored.ref) in waiting:
                continue
            if await house.store.link(partner.name, stored.ref) is None:
                sends.append(Send(partner.name, stored.ref, stored.version, person))
        done = msgspec.json.encode(found.after or ())
        try:
            await house.store.commit(*sends, Keep("backfill", partner.name, done, if_absent=kept is None, if_value=kept))
        except Taken:  # another worker is at it
            return queued
        queued, kept = queued + len(sends), done
    return queued
