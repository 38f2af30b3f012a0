"""What must not, or no longer, be there: taken back, acknowledged, and told where it cannot be."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from ..domain import strict
from ..domain.reconcile import theirs_alone
from ..domain.types import Close, Delay, Disclosed, Keep, Linked, Op, Queued, Ref, Send
from ..gate import Context, House, may_send
from ..gate.telling import tell
from ..remote.client import Refusal
from . import attempts
from .attempts import Attempt, sent_open
from .links import etag_of, fields_of
from .partner import Partner, as_owner, began_there, local_references, loosened, outgoing
from .taking import pull_one
from .tally import Tally
from .turning import MOST

MOST_LOOKS = 4  # at a copy that changes each time that we ask to delete it
RECALL_LATE = timedelta(hours=1)  # what was to be taken back and still is not there: the person is told
TOLD_KEPT = timedelta(days=90)


async def take_back(house: House, partner: Partner, entry: Queued, link: Linked | None, tally: Tally) -> None:
    """Delete there what may not be there; the ledger row is closed when the server has acknowledged."""
    ctx = await as_owner(house, partner, "disclose")
    disclosed = await sent_open(house, partner, entry)
    attempt = await attempts.of(house, partner, entry.ref)
    adopted: list[Op] = []
    if link is None or link.gone:
        link = await attempts.found(partner, entry.ref) if attempt is not None or (disclosed and link is None) else None
        if link is None:
            await _not_there(house, partner, ctx, entry, attempt, disclosed, tally)
            return
        adopted = [link]
    if began_there(link):
        if not disclosed:
            await house.store.commit(Close(entry.entry, entry.fence, "superseded", "it is their own record"))
            return
        after = await _put_back(house, partner, ctx, link)
        if after is None:
            why = "what was written here and there cannot be told apart: take ours out of it by hand"
            detail = msgspec.json.encode({"status": 0, "text": why, "at": house.clock().isoformat()})
            told = await tell_once(house, partner, entry)
            await house.store.commit(
                Close(entry.entry, entry.fence, "parked", why), Keep("parked", f"{partner.name} {entry.ref}", detail), *told
            )
            tally.parked += 1
            return
    else:
        await attempts.recalling(house, partner, entry, attempt, *adopted)
        try:
            await _delete_there(house, partner, link, tally)
        except Exception as e:
            if attempts.nothing_left(e):
                await house.store.commit(attempts.as_before(partner, entry.ref, attempt))
            raise
        after = Linked(**{**fields_of(link), "gone": True})
    done = attempts.taken_back(ctx, partner, entry.ref, entry.patient, attempt, disclosed)
    await house.store.commit(Close(entry.entry, entry.fence, "recalled"), after, *done)
    tally.recalled += 1


async def _not_there(
    house: House, partner: Partner, ctx: Context, entry: Queued, attempt: Attempt | None, disclosed: list[Disclosed], tally: Tally
) -> None:
    """Nothing of it is there now: over, unless a request of ours may still arrive."""
    if attempts.may_arrive(house, attempt):
        await house.store.commit(Delay(entry.entry, entry.fence, house.clock() + attempts.HOLD / 4, "a request of ours may still arrive there"))
        tally.delayed += 1
        return
    done = attempts.taken_back(ctx, partner, entry.ref, entry.patient, attempt, disclosed) if disclosed or attempt else []
    await house.store.commit(Close(entry.entry, entry.fence, "superseded", "it is not there"), *done)


async def _put_back(house: House, partner: Partner, ctx: Context, link: Linked) -> Linked | None:
    """A record that began there is never deleted there: what was changed here goes, what they wrote stays. None where the two
    cannot be told apart."""
    stored = await house.store.get(link.ref)
    number = stored.version if stored is not None else 0
    found = [await house.store.version(link.ref, n + 1) for n in range(number)]
    versions = [(strict.decode(v.body), v.writer.user == ctx.actor.user) for v in found if v is not None and v.body is not None]
    body = theirs_alone(versions)
    if body is None:
        return None
    number = next((n for n, (_, by_them) in enumerate(versions) if not by_them), number)  # what came later is to be sent again, once it may
    names = {}
    for target in local_references(body):
        other = await house.store.link(partner.name, target)
        if other is not None and not other.gone:
            names[str(target)] = other.remote_id
    type, id = link.remote_id.split("/")
    copy = outgoing(body, link.ref, id, names, tagged=False)
    reply = await partner.server.update(type, id, copy, link.etag)
    there = reply.body or copy
    more = {"etag": reply.etag or etag_of(there), "version": number, "base_sent": strict.dump(copy), "base_received": strict.dump(there)}
    return Linked(**{**fields_of(link), **more})


async def _delete_there(house: House, partner: Partner, link: Linked, tally: Tally) -> None:
    """Delete the version that we know, after letting go of what still points to it there. Gone already is as good.

    Where they changed it meanwhile, their change is taken in as any of theirs is, and what there is then goes: consent before their edit.
    """
    type, id = link.remote_id.split("/")
    etag, let_go, left = link.etag, False, MOST_LOOKS
    while True:
        try:
            await partner.server.delete(type, id, etag)
            return
        except Refusal as e:
            if e.status in (404, 410):
                return
            if e.status == 409 and not let_go:
                let_go = True
                await _let_go(house, partner, link)
                continue
            left -= 1
            if e.status not in (400, 409, 412, 428) or not left:
                raise
            tally.add(await pull_one(house, partner, link))
            now = await house.store.link(partner.name, link.ref)
            if now is None or now.gone:
                raise
            before, etag = etag, now.etag
            if etag == before:  # ours is deleted, or theirs is in quarantine: what is there goes all the same
                reply = await partner.server.read(type, id)
                etag = reply.etag or etag_of(reply.body or {})
            if etag == before:
                raise


async def _let_go(house: House, partner: Partner, link: Linked) -> None:
    """Send what points to this once more, as it was sent before, with a logical reference in the place of the real one."""
    for referrer in await house.store.referrers(link.ref):
        held = await house.store.link(partner.name, referrer)
        if held is None or held.gone or held.base_sent is None:
            continue
        before = strict.decode(held.base_sent)
        copy = loosened(before, link.remote_id, link.ref)
        if copy == before:
            continue
        type, id = held.remote_id.split("/")
        reply = await partner.server.update(type, id, {**copy, "id": id}, held.etag)
        there = reply.body or copy
        await house.store.commit(
            Linked(
                **{
                    **fields_of(held),
                    "etag": reply.etag or etag_of(there),
                    "base_sent": strict.dump(copy),
                    "base_received": strict.dump(there),
                }
            )
        )


async def review(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    """Something that decides has changed for this person: recall what may no longer be there, release what now may go."""
    ctx = await as_owner(house, partner, "disclose")
    ops: list[Op] = []
    recalls: list[tuple[Disclosed, list[Ref]]] = []
    under_way = [d for ref, a in (await attempts.open_of(house, partner, entry.patient)).items() for d in attempts.rows(partner, ref, a)]
    waiting = await _recalls_waiting(house, partner, entry)
    for row in {d.ref: d for d in [*under_way, *await house.store.ledger(remote=partner.name, patient=entry.patient, open_only=True)]}.values():
        stored = await house.store.get(row.ref)
        if stored is None or stored.deleted or not (await may_send(ctx, partner.terms, stored)).permit:
            body = stored.body if stored is not None else None
            recalls.append((row, local_references(strict.decode(body)) if body else []))
        elif str(row.ref) in waiting:  # that recall asks nobody: what it takes goes again after it
            ops.append(Send(partner.name, row.ref, stored.version, entry.patient, "released"))
    ops += [Send(partner.name, row.ref, row.version, entry.patient, "recall") for row in _referrers_first(recalls)]
    withheld = await house.store.outbox_items(partner.name, "withheld", MOST, patient=entry.patient) if entry.patient else []
    refs = [Ref(*i["ref"].split("/")) for i in withheld]
    for ref in dict.fromkeys(refs):
        stored = await house.store.get(ref)
        if stored is not None and not stored.deleted and (await may_send(ctx, partner.terms, stored)).permit:
            ops.append(Send(partner.name, ref, stored.version, entry.patient, "released"))
    recalled = await _recalled_before(house, partner, ctx, entry)
    await house.store.commit(Close(entry.entry, entry.fence, "sent", "reviewed"), *ops, *recalled)


async def _recalls_waiting(house: House, partner: Partner, entry: Queued) -> set[str]:
    """What of this person is to be taken back and still is not."""
    if entry.patient is None:
        return set()
    open_now = [i for state in ("queued", "leased") for i in await house.store.outbox_items(partner.name, state, MOST, patient=entry.patient)]
    return {i["ref"] for i in open_now if i["why"] == "recall"}


def _referrers_first(recalls: list[tuple[Disclosed, list[Ref]]]) -> list[Disclosed]:
    """What points to others goes before them: servers keep what is still pointed to."""
    rows = {row.ref: (row, refs) for row, refs in recalls}
    order: dict[Ref, Disclosed] = {}
    on_the_way: set[Ref] = set()

    def visit(ref: Ref) -> None:
        if ref in order or ref in on_the_way:
            return
        on_the_way.add(ref)
        for other, (_, refs) in rows.items():
            if ref in refs and other != ref:
                visit(other)
        order[ref] = rows[ref][0]

    for ref in rows:
        visit(ref)
    return list(order.values())


async def _recalled_before(house: House, partner: Partner, ctx: Context, entry: Queued) -> list[Op]:
    """What was taken back earlier and may go again."""
    out: list[Op] = []
    rows = await house.store.ledger(remote=partner.name, patient=entry.patient)
    still = {d.ref for d in rows if d.recalled is None}
    for ref in dict.fromkeys(d.ref for d in rows if d.recalled is not None and d.ref not in still):
        stored = await house.store.get(ref)
        if stored is not None and not stored.deleted and (await may_send(ctx, partner.terms, stored)).permit:
            out.append(Send(partner.name, ref, stored.version, entry.patient, "released"))
    return out


async def tell_once(house: House, partner: Partner, entry: Queued) -> list[Op]:
    """A notice to the person and the privacy officer, once for each entry, where it was to take something back and has not."""
    key = f"{partner.name} {entry.entry}"
    if entry.patient is None or await house.store.kept("recall-told", key, house.clock()) is not None:
        return []
    if not await sent_open(house, partner, entry):
        return []
    if entry.why != "recall":
        stored = await house.store.get(entry.ref)
        if stored is not None and not stored.deleted:
            ctx = await as_owner(house, partner, "disclose")
            if (await may_send(ctx, partner.terms, stored)).permit:
                return []
    told = Keep("recall-told", key, b"", house.clock() + TOLD_KEPT, if_absent=True)
    return [told, *tell("recall-failed", entry.patient), *tell("recall-failed", entry.patient, "privacy-officer")]
