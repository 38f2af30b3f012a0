"""What is there already and names a record as it was called before, or as held back, goes once more when the record has a name there."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.types import Linked, Op, Ref, Send, Stored
from ..gate import House
from ..gate.several import about_others_too
from .links import began_there
from .partner import Partner


async def named_otherwise(house: House, partner: Partner, stored: Stored, was: Linked | None) -> list[Op]:
    """For the commit that makes a link to this live, whoever makes it: a push, or a pull or a question that found what is there. `was`: its link until now."""
    again: list[Op] = []
    for referrer in await _that_name(house, partner, stored, was):
        other, known = await house.store.get(referrer), await house.store.link(partner.name, referrer)
        if other is not None and not other.deleted and known is not None and not known.gone and not began_there(known):
            again.append(Send(partner.name, referrer, other.version, next(iter(other.facts.patients), None), "changed"))
    return again


async def _that_name(house: House, partner: Partner, stored: Stored, was: Linked | None) -> Iterable[Ref]:
    """What may name it there. All of a person's record names the person: of one who was never there it is only what went without them."""
    if not stored.facts.patients:
        return ()
    if stored.ref.type != "Patient" or was is not None:
        return await house.store.referrers(stored.ref)
    person = str(stored.ref)
    there = [d.ref for d in await house.store.ledger(remote=partner.name, patient=person, open_only=True) if d.ref != stored.ref]
    return sorted({*there, *[s.ref async for s in about_others_too(house, [person])]})
