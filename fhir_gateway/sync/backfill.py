"""First contact outward: what was here before a partner was configured is queued for it like anything new.

Consent is asked when each is sent, as always. The position is kept in the commit of what it covers, so a stop loses and doubles nothing.
"""

from __future__ import annotations

import msgspec

from ..domain.search import Query
from ..domain.types import Always, Keep, Never, Op, Send
from ..gate import House
from .partner import Partner

PAGE = 200
EVERYTHING = Query(())


async def backfill(house: House, partner: Partner) -> int:
    """Queue everything of people that this partner has no copy of yet; how many. Once for each partner, by name."""
    terms = next((r for r in house.remotes if r.name == partner.name), None)
    kept = await house.store.kept("backfill", partner.name, house.clock())
    after = tuple(msgspec.json.decode(kept)) if kept else None
    if terms is None or after == ():
        return 0
    queued = 0
    while after != ():
        found = await house.store.search(EVERYTHING, Always(), filtered=Never(), count=PAGE, after=after)
        sends: list[Op] = []
        for stored in found.hits:
            person = next(iter(stored.facts.patients), None)
            if person is not None and terms.takes(stored.ref.type) and await house.store.link(partner.name, stored.ref) is None:
                sends.append(Send(partner.name, stored.ref, stored.version, person))
        after = tuple(found.after or ())
        await house.store.commit(*sends, Keep("backfill", partner.name, msgspec.json.encode(after)))
        queued += len(sends)
    return queued
