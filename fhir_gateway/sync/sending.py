"""One outbox entry: asked about at the moment of sending, sent with a request that is safe to repeat, and what is done when that fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from ..domain import strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.labels import with_labels
from ..domain.rendering import put_back, rendered
from ..domain.types import Close, Delay, Disclosed, Keep, Linked, Note, Op, Queued, Ref, Send, Stored
from ..gate import Context, House, may_send, shown_to
from ..gate.context import ask_stored, note
from ..remote.client import Refusal, RemoteServer, Reply
from ..store.base import Fenced, Taken
from . import attempts
from .attempts import Attempt, sent_open
from .links import etag_of, fields_of, id_of, same
from .partner import TAG, Partner, as_owner, began_there, local_references, outgoing
from .reading_back import flags
from .recalling import RECALL_LATE, review, take_back, tell_once
from .taking import pull_one
from .tally import Tally
from .waiting import deleted_there

TRIES = 8


class Turned(Exception):
    """Between the question and the sending something changed: ask again. `tally` says what was taken in meanwhile."""

    def __init__(self, tally: Tally | None = None) -> None:
        super().__init__()
        self.tally = tally or Tally()


class Other(Exception):
    """A copy of ours is there already, and it is not as we sent it."""

    def __init__(self, there: dict[str, Any]) -> None:
        super().__init__()
        self.there = there


async def one(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    if entry.why == "review":
        await review(house, partner, entry, tally)
        return
    stored = await house.store.get(entry.ref)
    link = await house.store.link(partner.name, entry.ref)
    if stored is None or stored.deleted or entry.why == "recall":
        await take_back(house, partner, entry, link, tally)
        return
    ctx = await as_owner(house, partner, "disclose")
    if not (await may_send(ctx, partner.terms, stored)).permit:
        await _withhold(house, partner, entry, stored, ctx, link, tally)
        return
    if await deleted_there(house, partner, link):
        await house.store.commit(Close(entry.entry, entry.fence, "superseded", "it was deleted there: a person decides"))
        return
    ops = await send(house, partner, entry, ctx, stored, link)
    went = any(isinstance(op, Note) for op in ops)
    end = Close(entry.entry, entry.fence, *(("sent", f"version {stored.version}") if went else ("superseded", "it is there already")))
    try:
        await house.store.commit(end, *ops)
    except Fenced:
        await attempts.late(house, partner, stored.ref, ops)
        raise
    tally.sent += went


async def send(house: House, partner: Partner, entry: Queued, ctx: Context, stored: Stored, link: Linked | None) -> list[Op]:
    """Send this version and what it refers to; the operations that record it: only a new link where that server has it already.

    What began there and is as they wrote it is not sent back, not even to mark it. Raises what the remote raises, and Turned.
    """
    ref = stored.ref
    live = link if link is not None and not link.gone else None
    theirs = began_there(live)
    before = await attempts.of(house, partner, ref) if stored.facts.patients else None
    if live is not None and theirs and live.version == stored.version:
        return [live, *_known(ctx, partner, ref, before)]
    views = await shown_to(ctx, partner.terms, stored)
    body = with_labels(rendered(strict.decode(stored.body or b""), views), strict.decode(stored.body or b""))
    names = await _targets(house, partner, entry, ctx, ref, body)
    copy = outgoing(body, ref, live.remote_id.split("/")[1] if live else None, names, tagged=not theirs)
    held = (live.base_received or live.base_sent) if live is not None else None  # what that server has, as far as we know
    if live is not None and held is not None and same(strict.decode(held), copy):
        more = await _never_noted(house, partner, ctx, stored) if before is None and not theirs else []
        agreed = Linked(**{**fields_of(live), "version": stored.version, "base_sent": live.base_sent or strict.dump(copy)})
        return [agreed, *_known(ctx, partner, ref, before), *more]
    if live is not None and theirs:
        copy = put_back(strict.decode(live.base_received or live.base_sent or b"{}"), copy, views)
    known = await _looked_for(partner, ref, before) if live is None else None
    decision = await ask_stored(ctx, "disclose", stored)
    attempt = await attempts.begin(house, partner, entry, stored, before, decision, copy) if stored.facts.patients else None
    try:
        await _as_asked(house, partner, stored)
        reply = await _conditional(partner.server, ref, copy, live, before, known)
    except Exception as e:
        if attempt is not None and attempts.nothing_left(e):
            await house.store.commit(attempts.as_before(partner, ref, before))
        if isinstance(e, Other):
            raise Turned(await _adopt(house, partner, ref, e.there, before)) from None
        raise
    there = reply.body or copy
    remote_id = f"{ref.type}/{there.get('id') or id_of(reply, live)}"
    linked = Linked(
        partner.name, ref, remote_id, reply.etag or etag_of(there), str(there.get("meta", {}).get("lastUpdated", "")),
        stored.version, strict.dump(copy), strict.dump(there),
    )  # fmt: skip
    trail = [
        note(ctx, "R", "disclose", decision, (str(ref),), patient=person, allowed=True, detail=f"sent to {partner.name}")
        for person in stored.facts.patients or (None,)
    ]
    dropped = await flags(house, partner, copy, there)
    return [linked, *trail, *dropped, *_known(ctx, partner, ref, attempt, trail=False)]


def _known(ctx: Context, partner: Partner, ref: Ref, attempt: Attempt | None, *, trail: bool = True) -> list[Op]:
    """It got there: the ledger says since when, and the attempt is over."""
    if attempt is None:
        return []
    return [*attempts.rows(partner, ref, attempt), attempts.ended(partner, ref), *(attempts.trail(ctx, partner, ref, attempt) if trail else [])]


async def _never_noted(house: House, partner: Partner, ctx: Context, stored: Stored) -> list[Op]:
    """A copy of ours is there, and the ledger, which may be of before a restore, says nothing of it."""
    person = next(iter(stored.facts.patients), None)
    if person is None or any(d.ref == stored.ref for d in await house.store.ledger(remote=partner.name, patient=person, open_only=True)):
        return []
    decision = await ask_stored(ctx, "disclose", stored)
    row = Disclosed(partner.name, stored.ref, stored.version, person, partner.terms.organisation, ctx.at, decision.consent, stored.epoch)
    return [row, note(ctx, "R", "disclose", decision, (str(stored.ref),), patient=person, allowed=True, detail=f"found at {partner.name}")]


async def _adopt(house: House, partner: Partner, ref: Ref, there: dict[str, Any], before: Attempt | None) -> Tally:
    """A copy of ours is there of which we do not know when it was agreed on: linked, and united with ours. Nothing there is overwritten."""
    link = attempts.adopted(partner, ref, there, "")
    await house.store.commit(link, *attempts.rows(partner, ref, before), attempts.ended(partner, ref))
    return await pull_one(house, partner, link)


async def _as_asked(house: House, partner: Partner, stored: Stored) -> None:
    """What it refers to may have taken long: at the moment it leaves it is still this version, and still allowed. Turned otherwise."""
    now = await house.store.get(stored.ref)
    if now is None or now.version != stored.version:
        raise Turned
    if stored.facts.patients and not (await may_send(await as_owner(house, partner, "disclose"), partner.terms, now)).permit:
        raise Turned


async def _looked_for(partner: Partner, ref: Ref, before: Attempt | None) -> dict[str, Any] | None:
    """Where that server does not say that it creates on condition, our tag is looked for first."""
    if ref.type in (await partner.met()).conditional_create:
        return None
    try:
        return await attempts.copy_there(partner, ref)
    except Refusal:
        if before is not None:  # another create might be a second copy
            raise
        return None


async def _conditional(
    server: RemoteServer, ref: Ref, copy: dict[str, Any], live: Linked | None, before: Attempt | None, known: dict[str, Any] | None
) -> Reply:
    """Create only if our tag is not there yet; else update what we last saw. Other where it is there as somebody else left it."""
    if live is not None:
        return await server.update(ref.type, live.remote_id.split("/")[1], copy, live.etag)
    reply = Reply(200, known) if known is not None else await server.create(ref.type, copy, f"_tag={TAG}|{ref.id}")
    if reply.status == 200 and reply.body and not same(reply.body, copy):
        if not attempts.sent(before, reply.body):
            raise Other(reply.body)
        return await server.update(ref.type, reply.body["id"], {**copy, "id": reply.body["id"]}, reply.etag or etag_of(reply.body))
    return reply


async def _targets(house: House, partner: Partner, entry: Queued, ctx: Context, ref: Ref, body: dict[str, Any]) -> dict[str, str]:
    """What this refers to goes first, as far as it may go; a circle is cut here and closed by the later update."""
    names: dict[str, str] = {}
    partner.pushing.add(ref)
    try:
        for target in local_references(body):
            link = await house.store.link(partner.name, target)
            if link is not None and not link.gone:
                names[str(target)] = link.remote_id
                continue
            if target in partner.pushing or not house.r4.has_type(target.type):
                continue
            remote_id = await _ahead(house, partner, entry, ctx, target)
            if remote_id:
                names[str(target)] = remote_id
    finally:
        partner.pushing.discard(ref)
    return names


async def _ahead(house: House, partner: Partner, entry: Queued, ctx: Context, target: Ref) -> str | None:
    stored = await house.store.get(target)
    if stored is None or stored.deleted or target.type == "Consent":
        return None
    if target.type not in NO_PATIENT_DATA and not await _may_go(partner, ctx, stored):
        return None
    link = await house.store.link(partner.name, target)
    if await deleted_there(house, partner, link):
        return None
    try:
        ops = await send(house, partner, entry, ctx, stored, link)
    except Turned:
        link = await house.store.link(partner.name, target)  # it may have been found there
        return link.remote_id if link is not None and not link.gone else None
    cut = bool(partner.pushing & set(local_references(strict.decode(stored.body or b"{}"))))
    again: list[Op] = [Send(partner.name, target, stored.version, next(iter(stored.facts.patients), None), "changed")] if cut else []
    await house.store.commit(*ops, *again)
    return next(op.remote_id for op in ops if isinstance(op, Linked))


async def _may_go(partner: Partner, ctx: Context, stored: Stored) -> bool:
    return partner.terms.takes(stored.ref.type) and (await may_send(ctx, partner.terms, stored)).permit


async def _withhold(
    house: House, partner: Partner, entry: Queued, stored: Stored, ctx: Context, link: Linked | None, tally: Tally
) -> None:
    """Consent says no: nothing leaves; what left earlier is taken back."""
    live = link is not None and not link.gone
    if (live and not began_there(link)) or await sent_open(house, partner, entry):
        await take_back(house, partner, entry, link, tally)
        return
    why = "consent does not let this go there"
    trail = [note(ctx, "R", "disclose", None, (str(stored.ref),), patient=p, allowed=False) for p in stored.facts.patients]
    await house.store.commit(Close(entry.entry, entry.fence, "withheld", why), *trail)
    tally.withheld += 1


# -- when it does not work ---------------------------------------------------------------------------------------------


async def later(house: House, partner: Partner, entry: Queued, e: Exception) -> None:
    wait = getattr(e, "wait", None) or min(300.0, 2.0**entry.tries)
    due = house.clock() + timedelta(seconds=wait * (0.75 + house.chance() / 2))
    late = house.clock() - entry.queued_at >= RECALL_LATE
    told = await tell_once(house, partner, entry) if late else []
    try:
        await house.store.commit(Delay(entry.entry, entry.fence, due, str(e)), *told)
    except Taken:  # told meanwhile
        await house.store.commit(Delay(entry.entry, entry.fence, due, str(e)))


async def refused(house: House, partner: Partner, entry: Queued, e: Refusal, tally: Tally) -> None:
    """A version conflict, or a deletion there, is pulled and merged, then sent again; what the server will not take is parked with its words."""
    link = await house.store.link(partner.name, entry.ref)
    live = link is not None and not link.gone
    if (e.status in (409, 412) or (e.status in (404, 410) and live)) and entry.tries < TRIES:
        if link is not None and live:
            tally.add(await pull_one(house, partner, link))
        if entry.tries <= 2:  # merged just now: send the result at once
            await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), str(e)))
        else:
            await later(house, partner, entry, e)
            tally.delayed += 1
    elif entry.tries < 2 and e.status not in (400, 422):
        await later(house, partner, entry, e)
        tally.delayed += 1
    else:
        detail = msgspec.json.encode({"status": e.status, "text": e.text, "at": house.clock().isoformat()})
        told = await tell_once(house, partner, entry)
        await house.store.commit(
            Close(entry.entry, entry.fence, "parked", f"{e.status}: {e.text}"), Keep("parked", f"{partner.name} {entry.ref}", detail), *told
        )
        tally.parked += 1
