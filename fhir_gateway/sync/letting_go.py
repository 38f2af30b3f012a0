"""A copy deleted there, after what else points to it there has let go of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..domain import copies, strict
from ..domain.labels import with_labels
from ..domain.rendering import rendered
from ..domain.spelling import named
from ..domain.types import Linked, Queued
from ..gate import House, grounds, shown_to
from ..gate.context import note
from ..remote.client import Garbled, Refusal, Unknown
from . import attempts, missing, reading_back, stubs
from .leaving import as_asked
from .links import began_there, changed, etag_of
from .one_by_one import looked_at
from .partner import Partner, as_owner, elsewhere, incoming, loosened, outgoing, said_in, sides
from .put_back_there import another_there
from .recognising import theirs_to_write
from .said_before import refusals
from .tally import Tally
from .waiting import refused_there

RACES = 4  # refusals in a row by when what of ours points to it, and goes itself, is gone
LAST = 7  # by when it is not waited for any more: nothing stays whole there for longer
MOST_LOOKS = 4  # at a copy that changes each time that we ask to delete it
REFERRED_TO = "records that began there refer to it, so it cannot be deleted: have it taken out of them by hand, then try again"
HIDDEN = "that gateway does not let us see it any more, so it cannot be told whether it is gone: have it deleted there by hand, then say so"


class Stays(Exception):
    """It cannot be deleted there, or cannot be known to be: the text says why. A person sees to it."""


async def delete_there(house: House, partner: Partner, entry: Queued, link: Linked, tally: Tally) -> None:
    """Delete the version that we know, after letting go of what still points to it there. Gone already is as good (`gone`), and so is an id
    that was given to something else since they were put back.

    Where they changed it meanwhile, their change is taken in as any of theirs is, or put aside where it cannot be, and what is there then goes:
    consent before their edit.
    Stays where that server keeps it, for a record of theirs points to it, known here or not, or where it is not to be known whether it is gone.
    """
    type, id = link.remote_id.split("/")
    etag, let_go, theirs, ours, left = link.etag, False, False, False, MOST_LOOKS
    known = etag  # of what both sides agreed on: what is there may be of another
    if await another_there(house, partner, link):
        return
    while True:
        try:
            await partner.server.delete(type, id, etag)
            return
        except Refusal as e:
            if await gone(house, partner, link, e):
                return
            if e.status == 409 and not let_go:
                let_go = True
                theirs, ours = await _let_go(house, partner, entry, link, tally)
                continue
            left -= 1
            if e.status == 409 and let_go and stubs.stands(link):
                raise Stays(REFERRED_TO) from None
            if e.status not in (400, 409, 412, 428) or not left:
                raise
            tally.add(await looked_at(house, partner, link, alone=True))
            await house.store.commit(*attempts.held(house, entry))
            now = await house.store.link(partner.name, link.ref)
            if now is None or now.gone:
                raise
            before, etag, known, agreed = etag, now.etag, now.etag, known
            if known == agreed:  # ours is deleted, or theirs is in quarantine: what is there goes all the same
                etag = await _named_there(house, partner, link.remote_id)
            if etag == before and e.status == 409 and (theirs or await _kept_for_theirs(house, partner, entry, link, e, ours)):
                raise Stays(REFERRED_TO) from None
            if etag == before:
                raise


async def _kept_for_theirs(house: House, partner: Partner, entry: Queued, link: Linked, e: Refusal, ours: bool) -> bool:
    """Nobody is known to point to it, and what is there, as it is there, is not deleted: 409. Is that for a record of theirs?

    Where that server names what points to it, by whose that is. Else, and where it names what no link leads to, which a request of ours may have made just now,
    by how often it said so in a row: how often it was tried says nothing, for it may have been away. `ours`: something of ours, which is to go itself, does.
    """
    links = [held for name in e.names - {link.remote_id} if (held := await house.store.link_by_remote(partner.name, name)) is not None]
    mine = [held for held in links if not began_there(held) and not theirs_to_write(held)]
    if links and not mine:
        return True
    return await refusals(house, partner, entry) >= (LAST if ours or mine else RACES)


async def gone(house: House, partner: Partner, link: Linked, e: Refusal) -> bool:
    """Is nothing there any more (`missing.gone`)? Stays where that is not to be known."""
    if await missing.gone(house, partner, e, link.remote_id, seen=True):
        return True
    if e.status != 404:
        return False
    try:  # of what it deleted and we may see, a gateway says so to a read alone
        await partner.server.read(*link.remote_id.split("/"))
    except Refusal as looked:
        if await missing.gone(house, partner, looked, link.remote_id, seen=True):
            return True
    except (Garbled, Unknown):
        pass
    raise Stays(HIDDEN) from None


async def _named_there(house: House, partner: Partner, remote_id: str) -> str:
    """The ETag of what is there, whatever shape that is of."""
    try:
        reply = await missing.read(house, partner, remote_id)
    except Garbled as e:
        return e.etag
    return reply.etag or etag_of(reply.body or {})


async def _let_go(house: House, partner: Partner, entry: Queued, link: Linked, tally: Tally) -> tuple[bool, bool]:
    """Put what points to this there once more, as it is there, with a logical reference in the place of the real one. What began there
    is theirs and stays as it is; whether any of that points to this. And whether something of ours still does, which is to go itself."""
    theirs = ours = False
    for referrer in await house.store.referrers(link.ref):
        for _ in range(2):
            held = await house.store.link(partner.name, referrer)
            ours = ours or await attempts.of(house, partner, referrer) is not None
            if held is None or held.gone or held.base_sent is None:
                break
            agreed = there = strict.decode(held.base_received or held.base_sent)
            if (refused := await refused_there(house, partner, held)) and not began_there(held):  # what they wrote stays, and waits here as it did
                there = (await missing.read(house, partner, held.remote_id)).body or {}
            if loosened(there, {link.remote_id: str(link.ref)}) == there:
                break
            if await another_there(house, partner, held):
                break
            if began_there(held) or theirs_to_write(held):
                theirs = True
                break
            try:
                ours = not await _put_loosened(house, partner, entry, link, held, there, agreed if refused else None) or ours
                break
            except Refusal as e:
                if e.status not in (409, 412) and not await missing.gone(house, partner, e, held.remote_id):
                    break  # the deletion says once more what keeps it
                tally.add(await looked_at(house, partner, held, alone=True))
    return theirs, ours


async def _put_loosened(
    house: House, partner: Partner, entry: Queued, link: Linked, held: Linked, there: dict[str, Any], agreed: dict[str, Any] | None
) -> bool:
    """`there`, which is what both sides agreed on, or (`agreed`) is not. Was it put. Nothing of it is there afterwards that was not before, and
    nothing that may not be shown by now. What may not be there at all has an entry of its own, which takes it back. AskAgain, Fenced."""
    ctx, stored = await as_owner(house, partner, "disclose"), await house.store.get(held.ref)
    if stored is None or stored.deleted:
        return False
    why = await grounds(ctx, partner.terms, stored)
    if not why.decision.permit:
        return False
    said = said_in(strict.decode(stored.body or b"{}"))
    whole, views = incoming(there, held.ref, {link.remote_id: str(link.ref)}, said, sides(house, partner)), await shown_to(ctx, partner.terms, stored)
    type, id = held.remote_id.split("/")
    names = {text: text for text in said_in(there) if named(text) not in ("", link.remote_id)}
    by = copies.tags(strict.decode(held.base_sent or b"{}"))
    copy = outgoing(with_labels(rendered(whole, views), whole), id, names, by, sides(house, partner), absolute=elsewhere(there))
    reply = await partner.server.update(type, id, copy, held.etag if agreed is None else etag_of(there), there, partial(as_asked, house, partner, entry, stored, views, held))
    seen = await reading_back.seen(house, partner, held.remote_id, reply, copy)
    detail = attempts.went(f"sent to {partner.name} without its reference to what is taken back", why.on_behalf_of)
    trail = [note(ctx, "R", "disclose", why.decision, (str(held.ref),), patient=p, allowed=True, detail=detail) for p in stored.facts.patients]
    received = strict.dump(seen) if seen is not None else None
    again = changed(held, etag=reply.etag or etag_of(seen or {}), base_sent=strict.dump(copy), base_received=received)
    if agreed is not None:
        again = changed(held, base_received=strict.dump(loosened(agreed, {link.remote_id: str(link.ref)})))
    await house.store.commit(again, *trail, *await missing.forgotten(house, partner, held.remote_id))
    return True
