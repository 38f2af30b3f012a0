"""What must not, or no longer, be there: taken back, acknowledged, and told where it cannot be."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import msgspec

from ..domain import strict
from ..domain.masked import found_again
from ..domain.reconcile import Conflict, Merge, Pull, reconcile, theirs_alone
from ..domain.spelling import spelled_as
from ..domain.types import Close, Delay, Disclosed, Keep, Linked, Op, Queued, Send, Stored
from ..gate import Context, House, may_send
from ..gate.ended import ended
from ..gate.raising import BY_HAND, TOLD, raise_task, seen_to
from ..gate.telling import tell
from ..gate.waiting_room import GONE
from ..remote.client import Garbled, Refusal
from ..store.base import Fenced
from . import attempts, belonging, emptying, missing, originals, put_back_there, reading_back, stubs, tags
from .attempts import Attempt, sent_open
from .leaving import AskAgain
from .letting_go import HIDDEN, MOST_LOOKS, REFERRED_TO, Stays, delete_there, gone
from .links import began_there, changed, etag_of, over
from .partner import Partner, as_owner, outgoing, pointed_at, sides, theirs_to_tag
from .recognising import theirs_to_write
from .renaming import named_otherwise
from .stubs import EMPTIED, EMPTY, UNDELETED
from .tally import Tally
from .turning import MOST
from .waiting import refused_there
from .whose import as_they_wrote

RECALL_LATE = timedelta(hours=1)  # what was to be taken back and still is not there: the person is told
STILL_THERE = "Another service still holds a copy of this that it should have given back. Ask them to delete it."
EMPTY_THERE = "Another service keeps an empty record in the place of this, and does not delete it. Ask them to delete it."
ENTWINED = "what was written here and there cannot be told apart: take ours out of it by hand"
UNSEEN = "that gateway does not let us see it any more: have what was written here taken out of it by hand, then say so"
ONLY_BY_HAND = frozenset({ENTWINED, REFERRED_TO, HIDDEN, UNSEEN}) | EMPTY
TOLD_KEPT = timedelta(days=90)
NOT_BY_NAME = frozenset({"Patient", "Consent"})  # others' records hang on the one; the other is ended, never deleted


async def take_back(house: House, partner: Partner, entry: Queued, link: Linked | None, tally: Tally) -> None:
    """Delete there what may not be there, or leave a stub of it, as was agreed on; the ledger row is closed when the server has acknowledged."""
    ctx = await as_owner(house, partner, "disclose")
    disclosed = await sent_open(house, partner, entry)
    attempt = await attempts.of(house, partner, entry.ref)
    adopted: list[Op] = []
    found = False  # by its id or its tag: no link says that it is there
    stored = await house.store.get(entry.ref)
    held = stored is not None and not stored.deleted  # here: else it is to be gone there, too
    if await ended(house, partner.name, entry.ref, disclosed) is not None:
        await house.store.commit(Close(entry.entry, entry.fence, "withheld" if held and entry.why != "recall" else "superseded", GONE))
        return
    if held and attempt is None and not disclosed and link is not None and stubs.stands(link) and partner.terms.recall == "stub":
        await house.store.commit(Close(entry.entry, entry.fence, "superseded" if entry.why == "recall" else "withheld", "a stub stands there in its place"))
        return
    theirs = link if theirs_to_write(link) and link is not None and not link.gone else None
    if theirs is not None:  # what is ours there is a copy that was made beside it
        link = None
    known = await house.store.link(partner.name, entry.ref)
    if link is None or link.gone:
        kept = began_there(known) and stored is not None and originals.by_them(ctx, stored)  # they took their copy back, and have their record
        look = attempt is not None or (disclosed and not kept)
        link = await _still_there(house, partner, entry, None if kept else known, attempt) if look else None
        if link is None and known is not None and began_there(known) and disclosed:
            if await originals.left_alone(house, partner, entry, ctx, known, stored, attempt):
                return
            if stored is not None and originals.by_them(ctx, stored) and await originals.is_there(house, partner, known):
                await _by_hand(house, partner, entry, ENTWINED, tally)  # they have sent another copy since, with it in it
                return
        if link is None:
            await _not_there(house, partner, ctx, entry, attempt, disclosed, tally)
            return
        found, adopted = True, [over(known, link)] if theirs is None else []
    if began_there(link) and not disclosed:
        await originals.deleted_here(house, partner, entry, ctx, link, stored, tally)
        return
    if began_there(link) and await originals.left_alone(house, partner, entry, ctx, link, stored, attempt):
        return
    try:
        if began_there(link):
            after = await _put_back(house, partner, entry, ctx, link, attempt, *adopted)
        else:
            if found or await tags.another_waits(house, partner.name, entry.ref):
                by_id = attempt is None and known is not None and link.remote_id == known.remote_id
                await _others_away(house, partner, entry, link, by_id, tally)
            await attempts.recalling(house, partner, entry, attempt, *adopted)
            away = await _taken_away(house, partner, entry, ctx, link, stored if held and theirs is None else None, tally)
            after = theirs or away
    except Stays as e:
        if theirs is None and held and stored is not None and await emptying.said_yes_to(house, partner, entry, stored):
            over_with = Close(entry.entry, entry.fence, "superseded", "it may be there again")
            again = [Send(partner.name, entry.ref, stored.version, entry.patient, "released"), *await named_otherwise(house, partner, stored, link)]
            await house.store.commit(over_with, *again, attempts.as_before(partner, entry.ref, attempt), *await seen_to(house, partner.name, entry.entry))
            return
        sent = [*attempts.rows(partner, entry.ref, attempt), *attempts.trail(ctx, partner, entry.ref, attempt), attempts.ended(partner, entry.ref)]
        await _by_hand(house, partner, entry, str(e), tally, *(sent if began_there(link) else [attempts.as_before(partner, entry.ref, attempt)]))
        return
    except Fenced:  # what is under way is written down by whoever holds the entry now
        raise
    except Exception as e:
        if attempts.nothing_left(e):
            await house.store.commit(attempts.as_before(partner, entry.ref, attempt))
        raise
    if not began_there(link) and not stubs.stands(after) and await _another_stays(house, partner, entry, after, attempt, tally):
        return
    done = [*attempts.taken_back(ctx, partner, entry.ref, entry.patient, attempt, disclosed), *await missing.forgotten(house, partner, link.remote_id)]
    await house.store.commit(Close(entry.entry, entry.fence, "recalled"), after, *done, *await seen_to(house, partner.name, entry.entry))
    tally.recalled += 1


async def _still_there(house: House, partner: Partner, entry: Queued, known: Linked | None, attempt: Attempt | None) -> Linked | None:
    """What we sent, and is there although no link leads to it or one says that it is gone: a server may have said so for a moment only (it
    failed over, or a backup was put back). By the id that it had, then by our tag. Refusal where neither can be asked."""
    people = [entry.patient] if entry.patient else []
    old = known if known is not None and known.gone and not theirs_to_write(known) else None
    if old is not None:
        try:
            there = (await missing.read(house, partner, old.remote_id)).body or {}
        except Garbled:
            return replace(old, gone=False)
        except Refusal as e:
            if e.status not in (404, 410):
                raise
        else:
            if not await belonging.another(house, partner, people, there) and not await put_back_there.other(house, partner, old, there):
                return replace(old, gone=False)
    try:
        return await attempts.found(house, partner, entry.ref, people)
    except Refusal:
        if old is None or attempt is not None:  # else its id says enough
            raise
        return None


async def _others_away(house: House, partner: Partner, entry: Queued, link: Linked | None, by_id: bool, tally: Tally) -> bool:
    """Deleted, beside the one that was found, where one was: whoever can read a copy of ours there can copy it, with our tag. Over when a search finds none.
    Before the link to the one is written down: afterwards nothing looks for others. Was there any."""
    people, first = [entry.patient] if entry.patient else [], {link.remote_id} if link is not None else set[str]()
    away = set(first)
    for _ in range(MOST_LOOKS):
        try:
            there = [attempts.adopted(partner, entry.ref, t, etag_of(t)) async for t in attempts.copies_there(house, partner, entry.ref, people)]
        except Refusal as e:
            if not by_id or isinstance(e, attempts.Endless):
                raise
            return away > first  # the id that it had says enough
        if not (others := [other for other in there if other.remote_id not in away]):
            return away > first
        for other in others:
            await house.store.commit(*attempts.held(house, entry))
            await delete_there(house, partner, entry, other, tally)
            away.add(other.remote_id)
    raise Refusal(409, "copies of it are made there as fast as they are deleted")


async def _taken_away(
    house: House, partner: Partner, entry: Queued, ctx: Context, link: Linked, stored: Stored | None, tally: Tally
) -> Linked:
    """Our copy there is deleted, or a stub of it left; the link as it is then. `stored`: what it is a copy of, where a stub may stand for it.
    Not where something else than consent takes it back: its retention is over, or it went to the wrong record. Where that server keeps what
    is referred to, a stub stands for it all the same, whatever was agreed on: Stays says so."""
    stub = partner.terms.recall == "stub" and stored is not None and not (await may_send(ctx, partner.terms, stored)).permit
    try:
        after = await emptying.stub_there(house, partner, entry, link, tally) if stub else None
    except Garbled:  # what is there can be compared with nothing: it is deleted
        after = None
    if after is not None:
        return after
    now = await house.store.link(partner.name, entry.ref)
    known = now is not None and now.remote_id == link.remote_id
    try:
        await delete_there(house, partner, entry, now if now is not None and known else link, tally)
    except (Stays, Refusal) as e:
        refused = isinstance(e, Refusal)
        if not known or not (e.unsupported if isinstance(e, Refusal) else str(e) == REFERRED_TO):
            raise
        left = await emptying.emptied(house, partner, entry, tally)
        if left is None:
            raise
        if not left.gone:
            raise Stays(UNDELETED if refused else EMPTIED) from None
        return left
    return changed(await house.store.link(partner.name, entry.ref) or link, gone=True)


async def _another_stays(house: House, partner: Partner, entry: Queued, after: Linked, attempt: Attempt | None, tally: Tally) -> bool:
    """Ours is gone there, as `after` says: another gateway may have deleted it before, and fetched it again under another id. Is a person asked to
    see to that? AskAgain where it is one that we may see: it is found by our tag. Whatever else goes wrong, what is under way stays
    written down: the deletion that comes back is ours."""
    before = attempts.as_before(partner, entry.ref, attempt)
    try:
        if await _gone_by_name(house, partner, entry, [], tally):
            return False
    except Refusal as e:
        if e.status not in (400, 412, 428):  # it asks which version, or which of several
            raise
        await house.store.commit(after, before)
        raise AskAgain from None
    await _by_hand(house, partner, entry, HIDDEN, tally, after, before)
    return True


async def _by_hand(house: House, partner: Partner, entry: Queued, why: str, tally: Tally, *also: Op) -> None:
    """Parked, and told, once: only a person can take it back."""
    if await _parked(house, partner, entry):
        await house.store.commit(Close(entry.entry, entry.fence, "superseded", "somebody is asked to see to it already"), *also)
        return
    detail = msgspec.json.encode({"status": 0, "text": why, "at": house.clock().isoformat()})
    told = await tell_once(house, partner, entry)
    await house.store.commit(Close(entry.entry, entry.fence, "parked", why), Keep("parked", f"{partner.name} {entry.ref}", detail), *also, *told)
    tally.parked += 1


async def _parked(house: House, partner: Partner, entry: Queued) -> bool:
    """Is another entry of this parked, to be taken back by hand?"""
    return "parked" in (await recalls_waiting(house, partner, entry)).get(str(entry.ref), {})


async def _not_there(
    house: House, partner: Partner, ctx: Context, entry: Queued, attempt: Attempt | None, disclosed: list[Disclosed], tally: Tally
) -> None:
    """Nothing of it is there now: over, unless a request of ours may still arrive."""
    if attempts.may_arrive(house, attempt):
        await house.store.commit(Delay(entry.entry, entry.fence, house.clock() + attempts.HOLD / 4, "a request of ours may still arrive there"))
        tally.delayed += 1
        return
    if (disclosed or attempt) and not await _gone_by_name(house, partner, entry, disclosed, tally):
        known = [*attempts.rows(partner, entry.ref, attempt), *attempts.trail(ctx, partner, entry.ref, attempt), attempts.ended(partner, entry.ref)]
        await _by_hand(house, partner, entry, HIDDEN, tally, *(known if attempt is not None else []))
        return
    done = attempts.taken_back(ctx, partner, entry.ref, entry.patient, attempt, disclosed) if disclosed or attempt else []
    done += await originals.once_here(house, partner, ctx, entry.ref)
    await house.store.commit(Close(entry.entry, entry.fence, "superseded", "it is not there"), *done, *await seen_to(house, partner.name, entry.entry))


async def _gone_by_name(house: House, partner: Partner, entry: Queued, disclosed: list[Disclosed], tally: Tally) -> bool:
    """What we see nothing of another gateway may keep from us: it fetched it, or we have lost its id. It is asked to delete what bears our
    name, or, where it does not offer that, what we see of it is deleted; its answer is the same where nothing does. False where somebody there has written in it, and where of what they fetched (`disclosed`, where nothing of it was seen) neither can be done. Fenced: whoever holds the entry now may
    have sent it anew, under the same name."""
    if entry.ref.type in NOT_BY_NAME or not (await partner.met()).gateway:
        return True
    await house.store.commit(*attempts.held(house, entry))
    try:
        await partner.server.delete_named(entry.ref.type, tags.name(house, entry.ref))
    except Refusal as e:
        if e.status in (405, 501):  # one by one, what we see of it
            return await _others_away(house, partner, entry, None, False, tally) or not any(d.fetched for d in disclosed)
        if e.status not in (404, 410):
            raise
        return e.status == 410
    return True


async def _put_back(
    house: House, partner: Partner, entry: Queued, ctx: Context, link: Linked, attempt: Attempt | None, *adopted: Op
) -> Linked:
    """A record that began there is never deleted there: what was changed here goes, what they wrote stays. Stays where the two
    cannot be told apart, or where it is kept from us there. It is written down before: what comes back of it, also before its answer, is no change of theirs."""
    stored = await house.store.get(link.ref)
    number = stored.version if stored is not None else 0
    found = [await house.store.version(link.ref, n + 1) for n in range(number)]
    versions = [(strict.decode(v.body), v.writer.user == ctx.actor.user) for v in found if v is not None and v.body is not None]
    body = theirs_alone(versions)
    if body is None:
        raise Stays(ENTWINED)
    number = next((n for n, (_, by_them) in enumerate(versions) if not by_them), number)  # what came later is to be sent again, once it may
    names = {}
    for target in pointed_at(body, sides(house, partner), house.base_url):
        other = await house.store.link(partner.name, target)
        if other is not None and not other.gone:
            names[str(target)] = other.remote_id
    held = link.base_received or link.base_sent or b"{}"
    base = strict.decode(held)
    body = found_again(body, base, {})
    names |= await as_they_wrote(house, partner, body, held, True)
    type, id = link.remote_id.split("/")
    await partner.met()  # of a gateway it is known how its ETags are, so nothing needs to be seen first
    copy = spelled_as(outgoing(body, id, names, theirs_to_tag(link), sides(house, partner), absolute=partner.absolute), base, partner.server.base)
    holding = partial(attempts.renewed, house, partner, entry, entry.ref)
    if await put_back_there.another_there(house, partner, link):
        return changed(link, gone=True)
    if await refused_there(house, partner, link):  # it stays there, and waits here as it did
        await attempts.recalling(house, partner, entry, attempt, *adopted)
        there = (await missing.read(house, partner, link.remote_id)).body or {}
        step = reconcile(base, there, copy)
        if isinstance(step, Conflict):
            raise Stays(ENTWINED)
        if isinstance(step, Pull | Merge):
            await partner.server.update(type, id, step.body or copy, etag_of(there), there, holding)
        return changed(link, version=number, base_sent=strict.dump(copy), base_received=strict.dump(copy))
    await attempts.recalling(house, partner, entry, attempt, *adopted, put_back=copy, agreed=number)
    try:
        reply = await partner.server.update(type, id, copy, link.etag, base, holding)
    except Refusal as e:
        if e.status == 404 and not await missing.gone(house, partner, e, link.remote_id):
            with suppress(Stays):
                if await gone(house, partner, link, e):
                    return changed(link, gone=True)
            raise Stays(UNSEEN) from None
        if e.status not in (409, 412) or (stored is not None and not stored.deleted):
            raise  # it is taken in, and then tried again
        reply = await partner.server.read(type, id)  # nothing is taken in any more of what is deleted here
        base = reply.body or {}
        if not attempts.put_back(attempt, base):
            if not attempts.sent(attempt, base):
                raise Stays(ENTWINED) from None
            reply = await partner.server.update(type, id, copy, reply.etag or etag_of(base), base, holding)
    seen = await reading_back.seen(house, partner, link.remote_id, reply, copy)
    received = strict.dump(seen) if seen is not None else None
    return changed(link, etag=reply.etag or etag_of(seen or {}), version=number, base_sent=strict.dump(copy), base_received=received)


async def recalls_waiting(house: House, partner: Partner, entry: Queued) -> dict[str, dict[str, list[int]]]:
    """What of this person is to be taken back and still is not: `Type/id`, and the entries of it by state."""
    waiting: dict[str, dict[str, list[int]]] = {}
    for state in ("queued", "leased", "parked") if entry.patient is not None else ():
        for i in await house.store.outbox_items(partner.name, state, MOST, patient=entry.patient):
            if i["why"] == "recall" or (state == "parked" and i["detail"] in ONLY_BY_HAND):
                waiting.setdefault(i["ref"], {}).setdefault(state, []).append(i["entry"])
    return waiting


async def tell_once(house: House, partner: Partner, entry: Queued) -> list[Op]:
    """A Task, and a notice to the person and the privacy officer, once for each entry, where it was to take something back and has not."""
    key = f"{partner.name} {entry.entry}"
    if entry.patient is None or await house.store.kept(TOLD, key, house.clock()) is not None:
        return []
    if not await sent_open(house, partner, entry):
        return []
    if entry.why != "recall":
        stored = await house.store.get(entry.ref)
        if stored is not None and not stored.deleted:
            ctx = await as_owner(house, partner, "disclose")
            if (await may_send(ctx, partner.terms, stored)).permit:
                return []
    ctx = await as_owner(house, partner, "access")
    empty = stubs.stands(await house.store.link(partner.name, entry.ref))
    task, ops = await raise_task(ctx, BY_HAND, EMPTY_THERE if empty else STILL_THERE, entry.patient, entry.ref)
    told = Keep(TOLD, key, str(task).encode(), house.clock() + TOLD_KEPT, if_absent=True)
    return [told, *ops, *tell("recall-failed", entry.patient), *tell("recall-failed", entry.patient, "privacy-officer")]
