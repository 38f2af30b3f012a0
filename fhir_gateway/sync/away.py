"""What is done of a withdrawal while that server is not tried: all but to ask it. docs/sync.md"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..domain.types import Queued, Ref
from ..gate import House
from ..gate.raising import TOLD, seen_to
from ..store.base import Taken
from .partner import Partner
from .push import push
from .recalling import RECALL_LATE, tell_once
from .turning import MOST, turned


async def while_away(house: House, partner: Partner, holder: str, stopped: Callable[[], bool]) -> None:
    """What decides is looked at, so that what is to be taken back is known, and told where that is late. Nothing is asked of that server."""
    await turned(house, partner)
    while not stopped() and (await push(house, partner, holder, stopped=stopped, reviews=True)).seen:
        pass
    told = [entry for entry in await _late(house, partner) if not stopped() and await _told(house, partner, entry)]
    if told:
        still = {i["entry"] for state in ("queued", "leased", "parked") for i in await house.store.outbox_items(partner.name, state, MOST, why="recall")}
        for entry in told:
            if entry.entry not in still:  # another process had it back meanwhile
                await house.store.commit(*await seen_to(house, partner.name, entry.entry))


async def _late(house: House, partner: Partner) -> list[Queued]:
    """What was to be taken back for RECALL_LATE and nobody was told of."""
    known, before = await house.store.kept_all(TOLD, house.clock(), f"{partner.name} "), house.clock() - RECALL_LATE
    return [
        Queued(i["entry"], 0, partner.name, Ref(*i["ref"].split("/")), i["version"], i["patient"], i["why"], i["tries"], i["queued_at"])
        for i in await house.store.outbox_items(partner.name, "queued", MOST, why="recall")
        if i["queued_at"] <= before and f"{partner.name} {i['entry']}" not in known
    ]


async def _told(house: House, partner: Partner, entry: Queued) -> bool:
    ops = await tell_once(house, partner, entry)
    with suppress(Taken):  # another process told it
        if ops:
            await house.store.commit(*ops)
            return True
    return False
