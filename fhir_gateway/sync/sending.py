"""One outbox entry: asked about at the moment of sending, sent with a request that is safe to repeat. What is done when that fails: `putting_off`."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ..domain import copies, said_again, strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.labels import with_labels
from ..domain.masked import found_again
from ..domain.rendering import put_back, rendered
from ..domain.spelling import spelled_as
from ..domain.types import Close, Delay, Linked, Note, Op, Queued, Ref, Send, Stored
from ..gate import Context, House, grounds, may_keep, may_send, shown_to
from ..gate.disclosing import NOT_AGREED
from ..remote.client import Asking, Refusal, Reply
from ..store.base import Fenced, Moved, Taken, TooBig
from . import attempts, identity, joining, recognising, stubs, tags, unsent
from .attempts import Attempt, sent_open
from .leaving import AskAgain, as_asked
from .letting_go import Stays, delete_there
from .links import began_there, changed, etag_of, id_of, same
from .one_by_one import looked_at
from .partner import Partner, as_owner, elsewhere, local_references, outgoing, pointed_at, sides, theirs_to_tag
from .put_back_there import another_there
from .recalling import take_back
from .recording import adopt, home, known_there, never_noted, recorded
from .renaming import named_otherwise
from .reviewing import review
from .still_hers import before_making
from .taking import at_home, pull_one
from .tally import Tally
from .waiting import deleted_there, held_there, refused_there
from .whose import as_they_wrote, called_there

TOO_LARGE: Final = "it is larger than the store here can write down of what both sides agreed on: send it in parts"


class Differs(Exception):
    """A copy of ours is there already, and it is not as we sent it."""

    def __init__(self, there: dict[str, Any]) -> None:
        super().__init__()
        self.there = there


class MayArrive(Exception):
    """That server makes a second copy of what it is sent twice, and one that we sent before is not there and may be on its way."""


async def see_to(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    link = await house.store.link(partner.name, entry.ref)
    try:
        await (review(house, partner, entry, tally) if entry.why == "review" else _one(house, partner, entry, link, tally))
    except Moved:  # a pull, or another worker, wrote the link meanwhile
        raise AskAgain from None
    except Taken as e:
        if e.kind != "link":
            raise
        raise Refusal(409, "what is there is linked with another record here") from None
    except TooBig:  # only with what they answered
        raise Refusal(0, TOO_LARGE) from None


async def _one(house: House, partner: Partner, entry: Queued, link: Linked | None, tally: Tally) -> None:
    stored = await house.store.get(entry.ref)
    if stored is None or stored.deleted or entry.why == "recall":
        await unsent.over(house, partner, entry, stored)
        await take_back(house, partner, entry, link, tally)
        return
    ctx = await as_owner(house, partner, "disclose")
    if not (await may_send(ctx, partner.terms, stored)).permit:
        await _withhold(house, partner, entry, stored, ctx, link, tally)
        return
    if await deleted_there(house, partner, link):
        await _for_a_person(house, partner, entry, ctx, tally, "it was deleted there")
        return
    if await held_there(house, partner, link):
        await _for_a_person(house, partner, entry, ctx, tally, "what is there was made of an older state")
        return
    if not stubs.stands(link) and link is not None and await refused_there(house, partner, link):
        tally.add(await looked_at(house, partner, link))  # perhaps it was put right there, or may be taken by now
        if not await refused_there(house, partner, await house.store.link(partner.name, entry.ref)):
            raise AskAgain
        await _for_a_person(house, partner, entry, ctx, tally, "what they wrote there is in quarantine")
        return
    try:
        if await recognising.waits(house, partner, stored, link):
            raise identity.Waits
        ops = await send(house, partner, entry, ctx, stored, link, tally)
    except identity.Waits:
        await _not_sure(house, partner, entry, stored, ctx, tally)
        return
    except MayArrive:
        await _may_arrive(house, entry, tally)
        return
    went = _went(ops)
    end = Close(entry.entry, entry.fence, *(("sent", f"version {stored.version}") if went else ("superseded", "it is there already")))
    try:
        await house.store.commit(end, *ops)
    except Fenced:
        await attempts.late(house, partner, stored.ref, ops)
        raise
    tally.sent += went


def _went(ops: list[Op]) -> bool:
    """Did something reach them, by what records it? Only a new link where they had it already."""
    return any(isinstance(op, Note) for op in ops)


async def _for_a_person(house: House, partner: Partner, entry: Queued, ctx: Context, tally: Tally, why: str) -> None:
    """A person decides whether this goes there (`why`): what was under way is over once nothing of it may still arrive."""
    before = await attempts.of(house, partner, entry.ref)
    if attempts.may_arrive(house, before):
        await _may_arrive(house, entry, tally)
        return
    await house.store.commit(
        Close(entry.entry, entry.fence, "superseded", f"{why}: a person decides"), *known_there(ctx, partner, entry.ref, before)
    )


async def _may_arrive(house: House, entry: Queued, tally: Tally) -> None:
    await house.store.commit(Delay(entry.entry, entry.fence, house.clock() + attempts.HOLD / 4, "a request of ours may still arrive there"))
    tally.delayed += 1


async def send(
    house: House, partner: Partner, entry: Queued, ctx: Context, stored: Stored, link: Linked | None, tally: Tally, on_the_way: frozenset[Ref] = frozenset()
) -> list[Op]:
    """Send this version and what it refers to; the operations that record it: only a new link where that server has it already.
    `on_the_way`: what it is sent ahead for; what goes ahead of this is recorded and counted in `tally`.

    What began there and is as they wrote it is not sent back, not even to mark it. Raises what the remote raises, AskAgain and MayArrive.
    """
    ref = stored.ref
    live = link if link is not None and not link.gone else None
    theirs = began_there(live)
    before = await attempts.of(house, partner, ref)
    if live is not None and theirs and live.version == stored.version:
        return [changed(live), *known_there(ctx, partner, ref, before)]
    if live is not None:
        await recognising.still(house, partner, ctx, stored, live)
    if live is not None and recognising.theirs_to_write(live):
        return [changed(live, version=stored.version)]
    if live is None and before is None and await recognising.met(house, partner, ctx, stored, link):
        raise AskAgain
    if live is None:
        await before_making(house, partner, stored.facts.patients, ref)
    views = await shown_to(ctx, partner.terms, stored)
    held = (live.base_received or live.base_sent) if live is not None else None  # what that server has, as far as we know
    whole = found_again(strict.decode(stored.body or b""), strict.decode(held or b"{}"), {})  # what they name is not held back from them
    body = with_labels(rendered(whole, views), whole)
    names = await _targets(house, partner, entry, ctx, body, tally, on_the_way | {ref})
    names |= await called_there(house, partner, ctx, body, names)
    if held is not None:
        names |= await as_they_wrote(house, partner, body, held, theirs)
    by = theirs_to_tag(live) if live is not None and theirs else [*await tags.came_with(house, stored), copies.tag(house.name, ref.id)]
    copy = outgoing(body, live.remote_id.split("/")[1] if live else None, names, by, sides(house, partner), absolute=partner.absolute)
    copy = spelled_as(copy, strict.decode(held), partner.server.base) if held is not None else copy
    if live is not None and held is not None and same(strict.decode(held), copy):
        more = await never_noted(house, partner, ctx, stored) if before is None and not theirs else []
        agreed = changed(live, version=stored.version, base_sent=live.base_sent or strict.dump(copy))
        return [agreed, *known_there(ctx, partner, ref, before), *more]
    if live is not None and theirs:
        copy = put_back(strict.decode(live.base_received or live.base_sent or b"{}"), copy, views)
    if live is None and (id := await tags.began_at(house, stored, (await partner.met()).gateway)):
        await home(house, partner, stored, link, id)
    person = names.get(next(iter(stored.facts.patients), ""))
    if link is None and before is None and (theirs_of_it := await joining.with_theirs(house, partner, ctx, stored, person)) is not None:
        raise AskAgain(await at_home(house, partner, *theirs_of_it))
    if live is not None and await another_there(house, partner, live, recall=False):
        raise AskAgain(await pull_one(house, partner, live))
    copy = copy if theirs else _said(house, partner, copy)
    if 2 * len(strict.dump(copy)) > house.store.largest_link:
        raise Refusal(0, TOO_LARGE)
    known = await _looked_for(house, partner, stored, before) if live is None else None
    why = await grounds(ctx, partner.terms, stored)
    try:
        attempt = await attempts.begin(house, partner, entry, stored, before, why, copy)
    except Taken:  # another lane sends it at this moment, or another worker's
        raise MayArrive from None
    try:
        asking = partial(as_asked, house, partner, entry, stored, views, link)
        reply = await _conditional(house, partner, stored.ref, copy, live, before, known, asking)
    except Fenced:  # what is under way is written down by whoever holds the entry now
        raise
    except Exception as e:
        if attempts.nothing_left(e):
            await house.store.commit(attempts.as_before(partner, ref, before))
        if isinstance(e, Differs):
            raise AskAgain(await adopt(house, partner, stored, link, e.there, before)) from None
        if isinstance(e, Refusal) and e.status in (400, 422) and partner.absolute and elsewhere(copy):  # HAPI, as it comes, refuses these
            partner.absolute = False
            raise AskAgain from None
        raise
    if live is not None and stubs.stands(live) and await stubs.left_over(partner, live, reply, copy):
        await _made_anew(house, partner, entry, replace(live, etag=reply.etag or etag_of(reply.body or copy)))
    if before is not None and live is None and reply.status == 201:
        await _twins_away(house, partner, entry, ref, before, f"{ref.type}/{id_of(reply, None)}")
    done = await recorded(house, partner, ctx, stored, link, copy, reply, why)
    if live is None:
        done += await named_otherwise(house, partner, stored, link)
    elif stubs.stands(live):
        done += await stubs.whole_again(house, partner, stored, live)
    return [*done, *known_there(ctx, partner, ref, attempt, trail=False)]


def _said(house: House, partner: Partner, copy: dict[str, Any]) -> dict[str, Any]:
    """With what it says in our extensions as narrative, unless it is then larger than what is taken back, or written down of what was agreed on."""
    told = said_again.said(copy)
    return told if told is copy or len(strict.dump(told)) <= min(partner.limits.body, house.store.largest_link // 2) else copy


async def _made_anew(house: House, partner: Partner, entry: Queued, live: Linked) -> None:
    """What is left of a stub there is deleted and the copy asked for again; where a record of theirs points to it, it stays as it is."""
    with suppress(Stays):
        await delete_there(house, partner, entry, live, Tally())
        await house.store.commit(changed(await house.store.link(partner.name, live.ref) or live, gone=True))
        raise AskAgain


async def _twins_away(house: House, partner: Partner, entry: Queued, ref: Ref, before: Attempt, made: str) -> None:
    """A try that had no answer had got there all the same, and that server made another: it looks and creates in two steps (Azure does). As we
    sent it, it goes; what somebody has changed since stays, and waits in quarantine once it is met."""
    if (await partner.met()).gateway:
        return
    with suppress(Refusal, Stays):
        there = [t async for t in attempts.copies_there(house, partner, ref, [entry.patient] if entry.patient else []) if attempts.sent(before, t)]
        for twin in there:
            if f"{ref.type}/{twin['id']}" != made:
                await delete_there(house, partner, entry, attempts.adopted(partner, ref, twin, etag_of(twin)), Tally())


async def _looked_for(house: House, partner: Partner, stored: Stored, before: Attempt | None) -> dict[str, Any] | None:
    """Where that server does not say that it creates on condition, our tag is looked for first; so it is for an entry of the directory that
    another worker may have under way, for some look and create in two steps. MayArrive where nothing bears it yet."""
    if stored.ref.type in (await partner.met()).conditional_create and (stored.facts.patients or before is None):
        return None
    try:
        there = await attempts.copy_there(house, partner, stored.ref, stored.facts.patients)
    except Refusal as e:
        if before is not None or isinstance(e, attempts.Endless):  # another create might be a second copy
            raise
        return None
    if there is None and attempts.may_arrive(house, before):
        raise MayArrive
    return there


async def _conditional(
    house: House, partner: Partner, ref: Ref, copy: dict[str, Any], live: Linked | None, before: Attempt | None,
    known: dict[str, Any] | None, asking: Asking,
) -> Reply:  # fmt: skip
    """Create only if our tag is not there yet; else update what we last saw. Differs where it is there as somebody else left it, and what
    `asking` raises, which comes before each request that carries `copy`."""
    server = partner.server
    if live is not None:
        held = live.base_received or live.base_sent
        return await server.update(ref.type, live.remote_id.split("/")[1], copy, live.etag, strict.decode(held) if held else None, asking)
    reply = Reply(200, known) if known is not None else await server.create(ref.type, copy, f"_tag={tags.condition(house, ref)}", asking)
    if reply.status == 200 and reply.body is None:  # it is there already, and they do not say how: somebody may have changed it since
        reply = await server.read(ref.type, id_of(reply, None))
    if reply.status == 200 and reply.body and not same(reply.body, copy):
        if not attempts.sent(before, reply.body):
            raise Differs(reply.body)
        id = reply.body["id"]
        return await server.update(ref.type, id, {**copy, "id": id}, reply.etag or etag_of(reply.body), reply.body, asking)
    return reply


async def _targets(
    house: House, partner: Partner, entry: Queued, ctx: Context, body: dict[str, Any], tally: Tally, on_the_way: frozenset[Ref]
) -> dict[str, str]:
    """What this refers to goes first, as far as it may go; a circle is cut here and closed by the later update."""
    names: dict[str, str] = {}
    referred = set(local_references(body))
    for target in pointed_at(body, sides(house, partner), house.base_url):
        link = await house.store.link(partner.name, target)
        if link is not None and not link.gone:
            names[str(target)] = link.remote_id
            continue
        if target in on_the_way or not house.r4.has_type(target.type):
            continue
        one_at_a_time = target.type in NO_PATIENT_DATA and not any(r.type in NO_PATIENT_DATA for r in on_the_way)
        async with partner.shared if one_at_a_time else nullcontext():
            try:
                remote_id = await _ahead(house, partner, entry, ctx, target, tally, on_the_way)
            except Refusal:  # of its own it is said; what gives its address goes without it
                if target in referred:
                    raise
                remote_id = None
        if remote_id:
            names[str(target)] = remote_id
    return names


async def _ahead(
    house: House, partner: Partner, entry: Queued, ctx: Context, target: Ref, tally: Tally, on_the_way: frozenset[Ref]
) -> str | None:
    stored = await house.store.get(target)
    if stored is None or stored.deleted or target.type == "Consent":
        return None
    if target.type not in NO_PATIENT_DATA and not (await may_send(ctx, partner.terms, stored)).permit:
        return None
    if await identity.unsure(house, partner, stored.facts.patients):
        return None
    link = await house.store.link(partner.name, target)
    if link is not None and not link.gone:  # by another lane, just now
        return link.remote_id
    if await deleted_there(house, partner, link):
        return None
    try:
        ops = await send(house, partner, entry, ctx, stored, link, tally, on_the_way)
        cut = bool(on_the_way & set(local_references(strict.decode(stored.body or b"{}"))))
        again: list[Op] = [Send(partner.name, target, stored.version, next(iter(stored.facts.patients), None), "changed")] if cut else []
        await house.store.commit(*ops, *again)
        tally.sent += _went(ops)
    except tags.NotAtHome:
        if target.type == "Patient":  # else what refers to it names it by identifier
            raise
        return None
    except (AskAgain, Moved, Taken) as e:
        link = await house.store.link(partner.name, target)  # it may have been found there
        if link is not None and not link.gone:
            return link.remote_id
        if target.type == "Patient" and not isinstance(e, Taken):  # what is about somebody does not go without them: nothing would send it again
            raise AskAgain from None
        return None
    return next((op.remote_id for op in ops if isinstance(op, Linked)), None)


async def _withhold(
    house: House, partner: Partner, entry: Queued, stored: Stored, ctx: Context, link: Linked | None, tally: Tally
) -> None:
    """Consent says no: nothing leaves; what left earlier is taken back, but for what they only fetched and may keep."""
    live = link is not None and not link.gone
    there = await sent_open(house, partner, entry)
    if not await may_keep(ctx, partner.terms, stored, there) if there else live and not began_there(link):
        await take_back(house, partner, entry, link, tally)
        return
    why = "consent does not let this go there" if partner.terms.takes(stored.ref.type) else NOT_AGREED
    await house.store.commit(*attempts.withheld(ctx, entry, stored, why))
    tally.withheld += 1


async def _not_sure(house: House, partner: Partner, entry: Queued, stored: Stored, ctx: Context, tally: Tally) -> None:
    """Who this is about is not sure there: nothing leaves until somebody has looked."""
    await house.store.commit(*attempts.withheld(ctx, entry, stored, "it is not sure who this is there"))
    tally.withheld += 1
