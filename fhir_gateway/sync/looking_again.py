"""What was parked since a server kept its copy from us goes again by itself, once we are let see it.

Another gateway says 404 of what it has not and of what the person there keeps from us, and so may any server (`missing.NotKnown`); nothing tells
us when that ends. So each copy is read again from time to time: soon where something came in from there since (a Consent, say), else once an
hour. To read is to tell nothing. So is what nobody could read at a server that seems to have been put back, which then goes by its version alone
once that is over.

So is a stub that stands there because that server did not delete it, for a record of theirs refers to it, say: nothing tells us when that is over, so it
is asked for again to be deleted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from datetime import timedelta
from typing import Final

from ..domain.types import Drop, Place, Ref
from ..gate import House
from ..remote.client import Garbled, Refusal, Unknown
from ..store.base import Fenced
from . import stubs
from .letting_go import HIDDEN
from .missing import NOT_KNOWN, UNREADABLE, lacking, read
from .partner import Partner
from .put_back_there import put_back_lately
from .recalling import UNSEEN
from .stubs import EMPTY

SOON: Final = timedelta(minutes=1)
SELDOM: Final = timedelta(hours=1)
MOST: Final = 100  # copies that are read at a time
LONGEST: Final = timedelta(seconds=10)  # what is to be sent does not wait longer
LISTED: Final = 10_000


async def looked_again(house: House, partner: Partner) -> int:
    """Queue again what is kept from us no more, or is known to be gone by now; how many entries. Down, Locked."""
    at, last = house.clock(), partner.looked_again
    if last is not None and at < last + (SOON if partner.stirred else SELDOM):
        return 0
    partner.looked_again, partner.stirred = at, False
    parked = await house.store.outbox_items(partner.name, "parked", LISTED)
    hidden: dict[str, list[int]] = defaultdict(list)
    unread, empty = set[str](), set[str]()
    gateway = bool(parked) and (await partner.met()).gateway
    for item in parked:
        if item["detail"] == UNREADABLE:
            unread.add(item["ref"])
        if item["detail"] in EMPTY:
            empty.add(item["ref"])
        if item["detail"] in (NOT_KNOWN, UNREADABLE, *EMPTY) or (gateway and (item["detail"] in (HIDDEN, UNSEEN) or item["detail"].startswith("404:"))):
            hidden[item["ref"]].append(item["entry"])
    if not hidden:
        return 0
    count = Counter(item["ref"] for item in parked)
    ahead = sorted(ref for ref in hidden if ref > partner.looked_until) or sorted(hidden)
    queued, believed = 0, bool(unread) and not await put_back_lately(house, partner)
    for n, ref in enumerate(ahead):
        if n == MOST or house.clock() > at + LONGEST:
            partner.stirred = True  # the rest in a minute
            break
        partner.looked_until = ref
        if ref in empty:
            link = await house.store.link(partner.name, Ref(*ref.split("/")))
            again = link is None or link.gone or stubs.stands(link)
        else:
            again = (believed and ref in unread) or await _seen_again(house, partner, Ref(*ref.split("/")))
        if again:
            alone = [Drop("parked", f"{partner.name} {ref}")] if count[ref] == len(hidden[ref]) else []
            with suppress(Fenced):  # an operator was quicker
                await house.store.commit(*(Place(number, "parked", "queued") for number in hidden[ref]), *alone)
                queued += len(hidden[ref])
    return queued


async def _seen_again(house: House, partner: Partner, ref: Ref) -> bool:
    link = await house.store.link(partner.name, ref)
    if link is None or link.gone:
        return False
    try:
        await read(house, partner, link.remote_id)
    except Refusal as e:
        return e.status == 410 or (e.status == 404 and not (await partner.met()).gateway and await lacking(partner, link.remote_id))
    except Garbled:
        return True
    except Unknown:
        return False
    return True
