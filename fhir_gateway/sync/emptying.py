"""A stub in the place of a copy: where that was agreed on, and where that server does not delete it, for a record of theirs refers to it, say. docs/sync.md"""

from __future__ import annotations

from functools import partial

from ..domain import strict
from ..domain.types import Linked, Queued, Stored
from ..domain.withheld import says_more
from ..gate import House, may_send
from ..remote.client import Garbled, Refusal
from . import attempts, missing, put_back_there, stubs
from .letting_go import MOST_LOOKS
from .links import changed, etag_of
from .one_by_one import looked_at
from .partner import Partner, as_owner
from .tally import Tally
from .turning import MOST


async def stub_there(house: House, partner: Partner, entry: Queued, link: Linked, tally: Tally) -> Linked | None:
    """Leave a stub in the place of the version that we know; the link to it. None where it is to be deleted instead: that server refuses the
    stub, or kept more of the copy than it says."""
    type, id = link.remote_id.split("/")
    left, holding = MOST_LOOKS, partial(attempts.renewed, house, partner, entry, entry.ref)
    while True:
        copy = stubs.made(house, link)
        held = link.base_received or link.base_sent
        if await put_back_there.another_there(house, partner, link):
            return changed(link, gone=True)
        try:
            reply = await partner.server.update(type, id, copy, link.etag, strict.decode(held) if held else None, holding)
            there = reply.body or (await partner.server.read(type, id)).body or {}
        except Refusal as e:
            if await missing.gone(house, partner, e, link.remote_id):
                return changed(link, gone=True)
            if e.status in (400, 404, 405, 422):  # 404: kept from us by another gateway, where it may be deleted unseen
                return None
            left -= 1
            if e.status not in (409, 412, 428) or not left:
                raise
        else:
            stub = stubs.linked(link, copy, there, reply.etag)
            if says_more(there, copy):
                await house.store.commit(stub)  # by its ETag it is deleted
                return None
            return stub
        tally.add(await looked_at(house, partner, link, alone=True))
        now = await house.store.link(partner.name, link.ref)
        if now is None or now.gone:
            return now
        if now.etag == link.etag:  # theirs cannot be taken in: what is there goes all the same
            there = (await partner.server.read(type, id)).body or {}
            now = changed(now, etag=etag_of(there), base_received=strict.dump(there))
            if now.etag == link.etag:
                return None
        link = now


async def emptied(house: House, partner: Partner, entry: Queued, tally: Tally) -> Linked | None:
    """A stub stands there instead of what cannot be deleted, which says nothing any more; the link, committed where it is live. None where that
    server refuses it."""
    link = await house.store.link(partner.name, entry.ref)
    if link is None or link.gone:
        return link
    try:
        left = link if stubs.stands(link) else await stub_there(house, partner, entry, link, tally)
    except (Garbled, Refusal):
        return None
    if left is None:  # it kept a label or a tag of the copy, maybe more
        left = await house.store.link(partner.name, entry.ref)
    elif left is not link and not left.gone:
        await house.store.commit(left)
    return None if left is not None and not left.gone and (not stubs.stands(left) or stubs.kept_more(left)) else left


async def said_yes_to(house: House, partner: Partner, entry: Queued, stored: Stored) -> bool:
    """May it be there by now, and is that looked at, or it sent, after this anyway, so that nobody needs to be asked?"""
    if not (await may_send(await as_owner(house, partner, "disclose"), partner.terms, stored)).permit:
        return False
    after = [i for state in ("queued", "leased") for i in await house.store.outbox_items(partner.name, state, MOST, patient=entry.patient)]
    return any(i["why"] == "review" or (i["ref"] == str(entry.ref) and i["why"] != "recall" and i["entry"] > entry.entry) for i in after)
