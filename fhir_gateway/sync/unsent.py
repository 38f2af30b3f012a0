"""Changes that a partner refused, of what has been deleted here since: they are never sent, so nobody needs to see to them."""

from __future__ import annotations

from typing import Final

from ..domain.types import Drop, Op, Place, Queued, Stored
from ..gate import House
from ..gate.raising import seen_to
from .partner import Partner
from .recalling import ONLY_BY_HAND

MOST: Final = 10_000
CHANGES: Final = frozenset({"changed", "released"})  # why an entry is there


async def over(house: House, partner: Partner, entry: Queued, stored: Stored | None) -> None:
    """What was parked of this before it was deleted is superseded, with what they said of it: what is to be taken back of it is asked for by `entry`,
    or waits for a person already. Fenced where an operator was quicker."""
    if stored is None or not stored.deleted:
        return
    parked = [i for i in await house.store.outbox_items(partner.name, "parked", MOST, patient=entry.patient) if i["ref"] == str(entry.ref)]
    unsent = [i["entry"] for i in parked if i["why"] in CHANGES and i["version"] < stored.version and i["detail"] not in ONLY_BY_HAND]
    if not unsent:
        return
    ops: list[Op] = [Drop("parked", f"{partner.name} {entry.ref}")] if len(unsent) == len(parked) else []
    for number in unsent:
        ops += [Place(number, "parked", "superseded"), *await seen_to(house, partner.name, number)]
    await house.store.commit(*ops)
