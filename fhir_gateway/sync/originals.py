"""A record that began there, when the copy of it here is gone: what is asked of them then, and what is not."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from ..domain.types import Close, Disclosed, Drop, Keep, Linked, Op, Queued, Ref, Send, Stored
from ..gate import Context, House, may_keep, may_send
from ..gate.context import note
from ..remote.client import Garbled, Refusal, Unknown
from . import attempts, missing, tags
from .attempts import Attempt
from .leaving import still_asked
from .links import changed, over
from .partner import Partner
from .tally import Tally

UNREAD: Final = "deleted-here"  # kept: by `<remote> <Patient/id> <Type/id>`, of what they may read to be deleted, and may not have read
HIDDEN: Final = b"hidden since"  # its value once a no was seen to keep it from them; before that when it was deleted
AT_A_TIME: Final = 200  # records that are looked up at once
LEFT: Final = "left-there"  # kept: by `<remote> <Patient/id> <Type/id>`, of what stays in their record and is about that person beside the first
NOT_ASKED = "they took their copy back: what was written here stays in their record"


async def deleted_here(house: House, partner: Partner, entry: Queued, ctx: Context, link: Linked, stored: Stored | None, tally: Tally) -> None:
    """A record that began there is deleted there by themselves alone. Another gateway reads in our history that it was deleted here, and
    judges; where consent kept that from it then, it is asked once it may know, to delete by its own rules the version that we know.
    It is asked once: a link without an ETag is one of which nothing is asked any more. Nor where they took their copy back themselves.
    AskAgain where they may not know of it any more at the moment at which that leaves."""
    over = Close(entry.entry, entry.fence, "superseded", "it is their own record")
    if stored is None or not stored.deleted or not link.etag:
        await house.store.commit(over)
        return
    if by_them(ctx, stored) or not (await partner.met()).gateway:
        await house.store.commit(over, changed(link, etag=""))
        return
    decision = await may_send(ctx, partner.terms, stored)
    if not decision.permit:
        await house.store.commit(*attempts.withheld(ctx, entry, stored, "consent does not let them know that it was deleted"))
        tally.withheld += 1
        return
    if entry.why != "released":
        await house.store.commit(over, *(Keep(UNREAD, _key(partner, stored, p), ctx.at.isoformat().encode()) for p in stored.facts.patients))
        return
    await house.store.commit(*attempts.held(house, entry))
    type, id = link.remote_id.split("/")
    try:
        await partner.server.delete(type, id, link.etag, partial(still_asked, house, partner, stored))
    except Refusal as e:
        if not await missing.gone(house, partner, e, link.remote_id):  # it is not as we know it, or not ours to delete: theirs stays
            await house.store.commit(over, changed(link, etag=""))
            return
    told = [note(ctx, "D", "disclose", decision, (str(link.ref),), patient=p, allowed=True, detail=f"deleted at {partner.name}, too") for p in stored.facts.patients]
    await house.store.commit(Close(entry.entry, entry.fence, "sent", "deleted there, too"), changed(link, gone=True), *told)
    tally.sent += 1


async def unread(house: House, partner: Partner, ctx: Context, patient: str | None) -> list[Op]:
    """What was deleted here of theirs and they might have read, for a review: a no may have come before they did, and by the yes after it
    their window has passed. Once they may know again, they are asked, as where it was deleted under the no; where no no came between, they
    have read it and judged. Over where their record is gone."""
    ops: list[Op] = []
    for key, said in (await house.store.kept_all(UNREAD, ctx.at, f"{partner.name} {patient} ")).items():
        ref = Ref(*key.rpartition(" ")[2].split("/"))
        stored, link = await house.store.get(ref), await house.store.link(partner.name, ref)
        if stored is None or not stored.deleted or link is None or link.gone or not link.etag:
            ops.append(Drop(UNREAD, key))
        elif not (await may_send(ctx, partner.terms, stored)).permit:
            ops += [Keep(UNREAD, key, HIDDEN)] if said != HIDDEN else []
        elif said == HIDDEN:
            ops += [Drop(UNREAD, key), Send(partner.name, ref, stored.version, patient, "released")]
    return ops


def read(partner: Partner, stored: Stored | None) -> list[Op]:
    """Their record is gone, too, or was never deleted here: that it may be unread is over."""
    return [Drop(UNREAD, _key(partner, stored, p)) for p in stored.facts.patients] if stored is not None else []


def _key(partner: Partner, stored: Stored, patient: str) -> str:
    return f"{partner.name} {patient} {stored.ref}"


def by_them(ctx: Context, stored: Stored) -> bool:
    """Was this deleted by their own system: they took their copy back, and have their record still, as far as we know. `ctx`: as their owner."""
    w = stored.writer
    return stored.deleted and w.kind == "system" and w.client is not None and w.organisation == ctx.actor.organisation


async def by_their_gateway(house: House, ctx: Context, stored: Stored) -> bool:
    """Was it deleted by the very client that made it here: their gateway, where that brought it. What another system of theirs deleted here stays
    deleted, as what anybody did."""
    if not by_them(ctx, stored):
        return False
    first = await house.store.version(stored.ref, 1)
    return first is None or first.writer.client in (None, stored.writer.client)


async def once_here(house: House, partner: Partner, ctx: Context, ref: Ref) -> list[Op]:
    """That this was a copy of a record of theirs, where they sent it and took it back before a link said so: what still names it here means
    that record. Known by the tag with which their system made it. `ctx`: as their owner."""
    stored = await house.store.get(ref)
    if stored is None or not by_them(ctx, stored) or await house.store.link(partner.name, ref) is not None:
        return []
    first, last = await house.store.version(ref, 1), await house.store.version(ref, stored.version - 1)
    if first is None or last is None or first.writer.client is None or first.writer.organisation != ctx.actor.organisation:
        return []
    id = await tags.began_at(house, last, (await partner.met()).gateway)
    return [over(None, replace(tags.home(partner.name, ref, id, {}), gone=True))] if id is not None else []


async def may_stay(house: House, partner: Partner, ctx: Context, stored: Stored | None, rows: Collection[Disclosed] = ()) -> bool:
    """May what left of this, by the open `rows` of the ledger, be there? Of what they took back themselves: as it was last. Nobody here took
    anything back by that."""
    if stored is not None and by_them(ctx, stored):
        stored = await house.store.version(stored.ref, stored.version - 1)
    return stored is not None and not stored.deleted and await may_keep(ctx, partner.terms, stored, rows)


async def left_alone(
    house: House, partner: Partner, entry: Queued, ctx: Context, link: Linked, stored: Stored | None, attempt: Attempt | None
) -> bool:
    """They took their copy back, and what was written here may stay in their record: nothing is asked of them. Not where their record
    is gone, too, nor where what was sent is to be back whatever consent says (`entry.why`: recall). Whom it is about besides is written down
    before consent is asked: a no of theirs comes in a lane of its own, and nothing that is deleted here is found by them."""
    if stored is None or entry.why == "recall" or not by_them(ctx, stored):
        return False
    if beside := set(stored.facts.patients) - {entry.patient}:
        await house.store.commit(*attempts.held(house, entry), *_left(partner, stored.ref, beside, ctx.at))
    if not await may_stay(house, partner, ctx, stored):
        return False
    if not await is_there(house, partner, link):
        return False
    known: list[Op] = [*attempts.rows(partner, link.ref, attempt), *attempts.trail(ctx, partner, link.ref, attempt), attempts.ended(partner, link.ref)]
    await house.store.commit(Close(entry.entry, entry.fence, "superseded", NOT_ASKED), *(known if attempt is not None else []))
    return True


def _left(partner: Partner, ref: Ref, beside: Iterable[str], at: datetime) -> list[Op]:
    return [Keep(LEFT, f"{partner.name} {person} {ref}", at.isoformat().encode()) for person in sorted(beside)]


async def left_beside(house: House, partner: Partner, person: str) -> tuple[set[str], list[Op]]:
    """Under whom the ledger has what was deleted here, stays there, and is about this person besides; and what forgets that where nothing of
    it is there any more."""
    under, ops = set[str](), list[Op]()
    for key in await house.store.kept_all(LEFT, house.clock(), f"{partner.name} {person} "):
        ref = Ref(*key.rpartition(" ")[2].split("/"))
        there = {d.patient for d in await house.store.ledger(remote=partner.name, ref=ref, open_only=True) if d.patient}
        under |= there
        ops += [] if there else [Drop(LEFT, key)]
    return under, ops


async def left_of(house: House, partner: Partner) -> set[str]:
    """Everybody whom something that was deleted here and stays there is about beside the first."""
    return {key.split(" ")[1] for key in await house.store.kept_all(LEFT, house.clock(), f"{partner.name} ")}


async def left_before(house: House, partner: Partner, rows: Collection[Disclosed]) -> tuple[set[str], list[Op]]:
    """`left_of`, with what writes it down, of what an earlier version left there. `rows`: what is open in the ledger."""
    refs, people, ops = sorted({row.ref for row in rows}), set[str](), list[Op]()
    for n in range(0, len(refs), AT_A_TIME):
        for ref, stored in (await house.store.get_many(refs[n : n + AT_A_TIME])).items():
            if stored.deleted and (beside := stored.facts.patients[1:]):
                people.update(beside)
                ops += _left(partner, ref, beside, house.clock())
    return people, ops


async def is_there(house: House, partner: Partner, link: Linked) -> bool:
    """Is their record there, as far as we may know."""
    try:
        await missing.read(house, partner, link.remote_id)
    except Refusal as e:
        return not await missing.gone(house, partner, e, link.remote_id)
    except (Garbled, Unknown):
        pass
    return True
