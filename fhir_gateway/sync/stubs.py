"""Stubs: what stands at a partner in the place of a copy that was taken back, where `recall = "stub"` was agreed on, or it is not deleted there. docs/notes/0029

The link to one is a live link whose last agreed body is the stub, of no version of ours. A stub is never applied here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain import copies, strict
from ..domain.reasons import because
from ..domain.types import Drop, Linked, Op, Place, Send, Stored
from ..domain.withheld import is_stub, says_more, says_otherwise, sticks, stub
from ..gate import Context, House
from ..gate.raising import seen_to
from ..remote.client import Reply
from . import attempts
from .links import changed, etag_of
from .partner import Partner, as_owner
from .renaming import named_otherwise
from .tally import Tally, ignored
from .turning import MOST
from .waiting import quarantine

EMPTIED = "only a stub of it stands there, for other records there refer to it: have it taken out of them, and it is deleted"
UNDELETED = "only a stub of it stands there, for that server offers no deletion: have it deleted there by hand, then say so"
EMPTY = frozenset({EMPTIED, UNDELETED})


def made(house: House, link: Linked) -> dict[str, Any]:
    """The stub of what this link leads to, as it is to stand there."""
    before = strict.decode(link.base_received or link.base_sent or b"{}")
    by = copies.tags(before) or [copies.tag(house.name, link.ref.id)]
    return {**stub(house.r4, link.ref.type, by), "id": link.remote_id.split("/")[1]}


def stands(link: Linked | None) -> bool:
    """Is what we left there a stub."""
    return link is not None and not link.gone and link.base_sent is not None and is_stub(strict.decode(link.base_sent))


def kept_more(link: Linked) -> bool:
    """Did that server, by what it answered, keep more of the copy than labels where this stub was to stand."""
    return says_otherwise(strict.decode(link.base_received or b"{}"), strict.decode(link.base_sent or b"{}"))


def linked(link: Linked, copy: Mapping[str, Any], there: Mapping[str, Any], etag: str = "") -> Linked:
    """The link to a stub, as it stands there now."""
    updated = str(there.get("meta", {}).get("lastUpdated", ""))
    now = {"etag": etag or etag_of(there), "remote_updated": updated, "version": 0, "gone": False}
    return changed(link, **now, base_sent=strict.dump(copy), base_received=strict.dump(there))


async def came_back(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> Tally:
    """A stub of ours stands there: what a recall waited for, or one that this store does not know of (it was restored), or that was changed."""
    ctx = await as_owner(house, partner, "access")
    copy = made(house, link)
    now, attempt = linked(link, copy, there), await attempts.of(house, partner, link.ref)
    if says_more(there, copy):
        if not stands(link):
            stored = await house.store.get(link.ref)
            again = [Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None))] if stored is not None else []
            await house.store.commit(now, *again)
            return ignored("a stub of ours")
        return await written_over(house, partner, ctx, link, there)
    if attempt is not None and attempt.recall:
        if partner.terms.recall == "stub":
            return await attempts.came_back(house, partner, ctx, now, attempt)
        await house.store.commit(now)  # it could not be deleted: the recall itself says what becomes of it
        return ignored("a stub of ours")
    stored = await house.store.get(link.ref)
    known = stands(link) or stored is None
    again = [] if known or stored is None else [Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None))]
    await house.store.commit(now, *again)
    return ignored("a stub of ours")


async def written_over(house: House, partner: Partner, ctx: Context, link: Linked, there: Mapping[str, Any]) -> Tally:
    """A stub of ours was changed there. Our own copy, put back, of which no answer came, is known; theirs waits for a person."""
    now = changed(link, etag=etag_of(there), base_received=strict.dump(there))
    if attempts.sent(await attempts.of(house, partner, link.ref), there):
        stored = await house.store.get(link.ref)
        again = await whole_again(house, partner, stored, link) if stored is not None else []
        await house.store.commit(changed(now, base_sent=strict.dump(there)), *again)
        return Tally()
    return await quarantine(house, partner, ctx, link.remote_id, dict(there), because("over-a-stub", link.ref.type), [now])


async def whole_again(house: House, partner: Partner, stored: Stored, link: Linked) -> list[Op]:
    """For the commit that has the copy stand where the stub of `link` stood: what let go of it goes once more, and that it could not be deleted
    is for nobody to see to any more."""
    over = await named_otherwise(house, partner, stored, link)
    for i in await house.store.outbox_items(partner.name, "parked", MOST, patient=next(iter(stored.facts.patients), None)):
        if i["ref"] == str(stored.ref) and i["detail"] in EMPTY:
            over += [Place(i["entry"], "parked", "superseded"), Drop("parked", f"{partner.name} {stored.ref}"), *await seen_to(house, partner.name, i["entry"])]
    return over


async def left_over(partner: Partner, link: Linked, reply: Reply, copy: Mapping[str, Any]) -> bool:
    """Did that server, which now has the copy again, keep the stub's label or mark on it."""
    there = reply.body if reply.body is not None else (await partner.server.read(*link.remote_id.split("/"))).body
    return there is not None and sticks(there, copy)
