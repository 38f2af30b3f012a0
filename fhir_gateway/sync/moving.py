"""An operator says that a partner's server is the same one, with the same records, at its new address: `sync moved`. docs/sync.md

Their word is tried first: of what is linked some is read at the new address, which tells it ids and nothing else. Nothing is taken in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from ..domain import strict
from ..domain.problem import Problem
from ..domain.types import Linked
from ..gate import Context, House
from ..gate.waiting_room import moves
from ..remote.client import Refusal, Unknown
from ..remote.origin import canonical
from ..store.base import Taken
from . import tags
from .links import same
from .moved import address_kept, elsewhere, guard
from .partner import Partner
from .sweeping import live

MOST: Final = 30  # are read
FEW: Final = 10  # times as many must be as they are known, as are another record by now
Verdict = Literal["same", "another", "missing", "unsure"]


@dataclass(frozen=True, slots=True)
class Same:
    """Where it was, where it is, and of those that were `looked` at how many are there as they are known, and how many are not there."""

    first: str
    now: str
    looked: int
    same: int
    missing: int


async def moved(house: House, partner: Partner, by: Context, why: str) -> Same:
    """From now on this is where the partner's server is; everything that is known of it stays. Problem: forbidden, business-rule where it is where it
    was, or what is there now is not what is known; Down, Locked, Unknown or Refusal where it does not answer, and nothing is changed then."""
    first, now = await elsewhere(house, partner), canonical(partner.server.base)
    if first is None:
        raise Problem("business-rule", f"{partner.name} is where it was: {now}.", "url")
    trail = await moves(by, partner.name, first, now, why)
    partner.server.may_ask = None
    try:
        found = await _looked(house, partner)
    finally:
        guard(house, partner)
    looked = sum(found.values())
    if found["another"] * FEW > found["same"] or (looked and not found["same"]):
        raise Problem(
            "business-rule",
            f"This is not the same server: of {looked} records that were looked at {found['same']} are there as they are known, {found['another']} are something else, {found['missing']} are not there. "
            f"Put the old address back ({first}), and give the server at {now} a [[remote]] with a name of its own.",
            "url",
        )
    try:
        await house.store.commit(address_kept(partner, now, first), trail)
    except Taken:
        raise Problem("business-rule", f"Somebody else has said meanwhile where {partner.name} is: look again.", "url") from None
    return Same(first, now, looked, found["same"], found["missing"])


async def _looked(house: House, partner: Partner) -> Counter[Verdict]:
    """What became of the first of those that are linked."""
    found: Counter[Verdict] = Counter()
    async for link in live(house, partner):
        found[await _verdict(house, partner, link)] += 1
        if sum(found.values()) >= MOST:
            break
    return found


async def _verdict(house: House, partner: Partner, link: Linked) -> Verdict:
    """Is this there under its id now, by our tag or word for word. Without the tag that it bore it is another; what began there may have been edited."""
    try:
        there = (await partner.server.read(*link.remote_id.split("/"))).body or {}
    except Refusal as e:
        if e.status in (404, 410):
            return "missing"
        if e.status == 403:
            return "unsure"
        raise
    except Unknown:
        return "unsure"
    held = strict.decode(link.base_received or link.base_sent or b"{}")
    if tags.names(there, house, link.ref) or same(held, there):
        return "same"
    return "another" if tags.names(held, house, link.ref) else "unsure"


__all__ = ["Same", "moved"]
