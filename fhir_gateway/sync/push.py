"""Outbound: what consent still lets go, at the moment of sending; recall of what it no longer does.

Each outbox entry is leased with a fence, asked about, sent with a request that is safe to repeat, and closed in the same
commit as its link, its ledger row and its audit row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from ..domain import strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.labels import with_labels
from ..domain.reconcile import theirs_alone
from ..domain.rendering import put_back, rendered
from ..domain.types import Close, Delay, Disclosed, Keep, Linked, Note, Op, Queued, Ref, Send, Stored
from ..gate import Context, House, may_send, shown_to
from ..gate.context import ask_stored, note
from ..gate.telling import tell
from ..remote.client import Down, Locked, Refusal, RemoteServer, Reply, Unknown
from ..store.base import Fenced, Taken
from .partner import TAG, Partner, as_owner, began_there, local_references, loosened, outgoing
from .turning import MOST, noticed

LEASE_SECONDS = 60.0
RECALL_LATE = timedelta(hours=1)  # what was to be taken back and still is not there: the person is told
TOLD_KEPT = timedelta(days=90)
TRIES = 8
BATCH = 20


@dataclass
class Tally:
    """What one round did."""

    sent: int = 0
    withheld: int = 0
    recalled: int = 0
    parked: int = 0
    delayed: int = 0
    pulled: int = 0
    refused: int = 0
    conflicts: int = 0
    seen: int = 0  # outbox entries looked at

    def add(self, other: Tally) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def anything(self) -> bool:
        return any(getattr(self, n) for n in self.__dataclass_fields__)


class Turned(Exception):
    """Between the question and the sending something changed: ask again."""


async def push(house: House, partner: Partner, holder: str) -> Tally:
    """One batch of due outbox entries."""
    tally = Tally()
    for entry in await house.store.lease(partner.name, holder, house.clock(), LEASE_SECONDS, BATCH):
        tally.seen += 1
        try:
            await _one(house, partner, entry, tally)
            await noticed(house, partner, entry.patient)
        except Fenced:
            continue
        except Turned:  # while what it refers to was sent: asked anew, now
            await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), "it changed, or what is allowed did"))
        except (Down, Unknown) as e:
            await _later(house, partner, entry, e)
            tally.delayed += 1
            if isinstance(e, Down):
                partner.paused = str(e)
                raise
        except Locked as e:
            await _later(house, partner, entry, e)
            partner.paused = str(e)
            raise
        except Refusal as e:
            await _refused(house, partner, entry, e, tally)
    return tally


async def _one(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    if entry.why == "review":
        await _review(house, partner, entry, tally)
        return
    stored = await house.store.get(entry.ref)
    link = await house.store.link(partner.name, entry.ref)
    if stored is None or stored.deleted or entry.why == "recall":
        await _take_back(house, partner, entry, link, tally)
        return
    ctx = await as_owner(house, partner, "disclose")
    if not (await may_send(ctx, partner.terms, stored)).permit:
        await _withhold(house, partner, entry, stored, ctx, link, tally)
        return
    ops = await send(house, partner, ctx, stored, link)
    if any(isinstance(op, Note) for op in ops):
        await house.store.commit(Close(entry.entry, entry.fence, "sent", f"version {stored.version}"), *ops)
        tally.sent += 1
    else:
        await house.store.commit(Close(entry.entry, entry.fence, "superseded", "it is there already"), *ops)


async def send(house: House, partner: Partner, ctx: Context, stored: Stored, link: Linked | None) -> list[Op]:
    """Send this version and what it refers to; the operations that record it: only a new link where that server has it already.

    What began there and is as they wrote it is not sent back, not even to mark it. Raises what the remote raises, and Turned.
    """
    ref = stored.ref
    live = link if link is not None and not link.gone else None
    theirs = began_there(live)
    if live is not None and theirs and live.version == stored.version:
        return [live]
    views = await shown_to(ctx, partner.terms, stored)
    body = with_labels(rendered(strict.read(stored.body or b""), views), strict.read(stored.body or b""))
    names = await _targets(house, partner, ctx, ref, body)
    copy = outgoing(body, ref, live.remote_id.split("/")[1] if live else None, names, tagged=not theirs)
    held = (live.base_received or live.base_sent) if live is not None else None  # what that server has, as far as we know
    if live is not None and held is not None and _same(strict.read(held), copy):
        return [Linked(**{**_fields(live), "version": stored.version})]
    if live is not None and theirs:
        copy = put_back(strict.read(live.base_received or live.base_sent or b"{}"), copy, views)
    await _as_asked(house, partner, stored)
    reply = await _conditional(partner.server, ref, copy, live)
    there = reply.body or copy
    remote_id = f"{ref.type}/{there.get('id') or _id_of(reply, live)}"
    linked = Linked(
        partner.name, ref, remote_id, reply.etag or _etag_of(there), str(there.get("meta", {}).get("lastUpdated", "")),
        stored.version, strict.dump(copy), strict.dump(there),
    )  # fmt: skip
    decision = await ask_stored(ctx, "disclose", stored)
    ops: list[Op] = [linked]
    for person in stored.facts.patients or (None,):
        ops.append(note(ctx, "R", "disclose", decision, (str(ref),), patient=person, allowed=True, detail=f"sent to {partner.name}"))
    if stored.facts.patients:
        ops.append(
            Disclosed(partner.name, ref, stored.version, stored.facts.patients[0], partner.terms.organisation, ctx.at, decision.consent, stored.epoch)
        )
    return ops


async def _as_asked(house: House, partner: Partner, stored: Stored) -> None:
    """What it refers to may have taken long: at the moment it leaves it is still this version, and still allowed. Turned otherwise."""
    now = await house.store.get(stored.ref)
    if now is None or now.version != stored.version:
        raise Turned
    if stored.facts.patients and not (await may_send(await as_owner(house, partner, "disclose"), partner.terms, now)).permit:
        raise Turned


async def _conditional(server: RemoteServer, ref: Ref, copy: dict[str, Any], live: Linked | None) -> Reply:
    """Create only if our tag is not there yet; else update what we last saw."""
    if live is None:
        reply = await server.create(ref.type, copy, f"_tag={TAG}|{ref.id}")
        if reply.status == 200 and reply.body and not _same(reply.body, copy):
            return await server.update(ref.type, reply.body["id"], {**copy, "id": reply.body["id"]}, reply.etag or _etag_of(reply.body))
        return reply
    return await server.update(ref.type, live.remote_id.split("/")[1], copy, live.etag)


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Equal but for what a server sets itself."""

    def bare(r: dict[str, Any]) -> dict[str, Any]:
        meta = {k: v for k, v in r.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source")}
        return {**{k: v for k, v in r.items() if k not in ("id", "text")}, "meta": meta}

    return bare(a) == bare(b)


async def _targets(house: House, partner: Partner, ctx: Context, ref: Ref, body: dict[str, Any]) -> dict[str, str]:
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
            remote_id = await _ahead(house, partner, ctx, target)
            if remote_id:
                names[str(target)] = remote_id
    finally:
        partner.pushing.discard(ref)
    return names


async def _ahead(house: House, partner: Partner, ctx: Context, target: Ref) -> str | None:
    stored = await house.store.get(target)
    if stored is None or stored.deleted or target.type == "Consent":
        return None
    if target.type not in NO_PATIENT_DATA and not await _may_go(partner, ctx, stored):
        return None
    try:
        ops = await send(house, partner, ctx, stored, await house.store.link(partner.name, target))
    except Turned:
        return None
    cut = bool(partner.pushing & set(local_references(strict.read(stored.body or b"{}"))))
    again: list[Op] = [Send(partner.name, target, stored.version, next(iter(stored.facts.patients), None), "changed")] if cut else []
    await house.store.commit(*ops, *again)
    return next(op.remote_id for op in ops if isinstance(op, Linked))


async def _may_go(partner: Partner, ctx: Context, stored: Stored) -> bool:
    return partner.terms.takes(stored.ref.type) and (await may_send(ctx, partner.terms, stored)).permit


# -- what must not, or no longer, be there -----------------------------------------------------------------------------


async def _withhold(
    house: House, partner: Partner, entry: Queued, stored: Stored, ctx: Context, link: Linked | None, tally: Tally
) -> None:
    """Consent says no: nothing leaves; what left earlier is taken back."""
    if link is not None and not link.gone and (not began_there(link) or await _sent_open(house, partner, entry)):
        await _take_back(house, partner, entry, link, tally)
        return
    why = "consent does not let this go there"
    trail = [note(ctx, "R", "disclose", None, (str(stored.ref),), patient=p, allowed=False) for p in stored.facts.patients]
    await house.store.commit(Close(entry.entry, entry.fence, "withheld", why), *trail)
    tally.withheld += 1


async def _take_back(house: House, partner: Partner, entry: Queued, link: Linked | None, tally: Tally) -> None:
    """Delete there what may not be there; the ledger row is closed when the server has acknowledged."""
    if link is None or link.gone:
        await house.store.commit(Close(entry.entry, entry.fence, "superseded", "it is not there"))
        return
    ctx = await as_owner(house, partner, "disclose")
    disclosed = await _sent_open(house, partner, entry)
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
        await _delete_there(house, partner, link)
        after = Linked(**{**_fields(link), "gone": True})
    closed = [Disclosed(d.remote, d.ref, d.version, d.patient, d.recipient, d.at, d.consent, d.epoch, ctx.at) for d in disclosed]
    trail: list[Note] = [
        note(ctx, "D", "recall", None, (str(entry.ref),), patient=entry.patient, allowed=True, detail=f"taken back from {partner.name}")
    ]
    await house.store.commit(Close(entry.entry, entry.fence, "recalled"), after, *closed, *trail)
    tally.recalled += 1


async def _sent_open(house: House, partner: Partner, entry: Queued) -> list[Disclosed]:
    """What we sent of this resource and have not taken back."""
    rows = await house.store.ledger(remote=partner.name, patient=entry.patient, open_only=True)
    return [d for d in rows if d.ref == entry.ref]


async def _put_back(house: House, partner: Partner, ctx: Context, link: Linked) -> Linked | None:
    """A record that began there is never deleted there: what was changed here goes, what they wrote stays. None where the two
    cannot be told apart."""
    stored = await house.store.get(link.ref)
    number = stored.version if stored is not None else 0
    found = [await house.store.version(link.ref, n + 1) for n in range(number)]
    versions = [(strict.read(v.body), v.writer.user == ctx.actor.user) for v in found if v is not None and v.body is not None]
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
    more = {"etag": reply.etag or _etag_of(there), "version": number, "base_sent": strict.dump(copy), "base_received": strict.dump(there)}
    return Linked(**{**_fields(link), **more})


async def _delete_there(house: House, partner: Partner, link: Linked) -> None:
    """Delete, after letting go of what still points to it there. Gone already is as good."""
    type, id = link.remote_id.split("/")
    try:
        await partner.server.delete(type, id)
    except Refusal as e:
        if e.status in (404, 410):
            return
        if e.status != 409:
            raise
        await _let_go(house, partner, link)
        await partner.server.delete(type, id)


async def _let_go(house: House, partner: Partner, link: Linked) -> None:
    """Send what points to this once more, as it was sent before, with a logical reference in the place of the real one."""
    for referrer in await house.store.referrers(link.ref):
        held = await house.store.link(partner.name, referrer)
        if held is None or held.gone or held.base_sent is None:
            continue
        before = strict.read(held.base_sent)
        copy = loosened(before, link.remote_id, link.ref)
        if copy == before:
            continue
        type, id = held.remote_id.split("/")
        reply = await partner.server.update(type, id, {**copy, "id": id}, held.etag)
        there = reply.body or copy
        await house.store.commit(
            Linked(
                **{
                    **_fields(held),
                    "etag": reply.etag or _etag_of(there),
                    "base_sent": strict.dump(copy),
                    "base_received": strict.dump(there),
                }
            )
        )


async def _review(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    """Something that decides has changed for this person: recall what may no longer be there, release what now may go."""
    ctx = await as_owner(house, partner, "disclose")
    ops: list[Op] = []
    recalls: list[tuple[Disclosed, list[Ref]]] = []
    for row in {d.ref: d for d in await house.store.ledger(remote=partner.name, patient=entry.patient, open_only=True)}.values():
        stored = await house.store.get(row.ref)
        if stored is None or stored.deleted or not (await may_send(ctx, partner.terms, stored)).permit:
            body = stored.body if stored is not None else None
            recalls.append((row, local_references(strict.read(body)) if body else []))
    ops += [Send(partner.name, row.ref, row.version, entry.patient, "recall") for row in _referrers_first(recalls)]
    withheld = await house.store.outbox_items(partner.name, "withheld", MOST, patient=entry.patient) if entry.patient else []
    refs = [Ref(*i["ref"].split("/")) for i in withheld]
    for ref in dict.fromkeys(refs):
        stored = await house.store.get(ref)
        if stored is not None and not stored.deleted and (await may_send(ctx, partner.terms, stored)).permit:
            ops.append(Send(partner.name, ref, stored.version, entry.patient, "released"))
    recalled = await _recalled_before(house, partner, ctx, entry)
    await house.store.commit(Close(entry.entry, entry.fence, "sent", "reviewed"), *ops, *recalled)


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


# -- when it does not work ---------------------------------------------------------------------------------------------


async def _later(house: House, partner: Partner, entry: Queued, e: Exception) -> None:
    wait = getattr(e, "wait", None) or min(300.0, 2.0**entry.tries)
    due = house.clock() + timedelta(seconds=wait * (0.75 + house.chance() / 2))
    late = house.clock() - entry.queued_at >= RECALL_LATE
    told = await tell_once(house, partner, entry) if late else []
    try:
        await house.store.commit(Delay(entry.entry, entry.fence, due, str(e)), *told)
    except Taken:  # told meanwhile
        await house.store.commit(Delay(entry.entry, entry.fence, due, str(e)))


async def tell_once(house: House, partner: Partner, entry: Queued) -> list[Op]:
    """A notice to the person and the privacy officer, once for each entry, where it was to take something back and has not."""
    key = f"{partner.name} {entry.entry}"
    if entry.patient is None or await house.store.kept("recall-told", key, house.clock()) is not None:
        return []
    if not await _sent_open(house, partner, entry):
        return []
    if entry.why != "recall":
        stored = await house.store.get(entry.ref)
        if stored is not None and not stored.deleted:
            ctx = await as_owner(house, partner, "disclose")
            if (await may_send(ctx, partner.terms, stored)).permit:
                return []
    told = Keep("recall-told", key, b"", house.clock() + TOLD_KEPT, if_absent=True)
    return [told, *tell("recall-failed", entry.patient), *tell("recall-failed", entry.patient, "privacy-officer")]


async def _refused(house: House, partner: Partner, entry: Queued, e: Refusal, tally: Tally) -> None:
    """A version conflict is pulled and merged, then sent again; what the server will not take is parked with its words."""
    from .pull import pull_one

    link = await house.store.link(partner.name, entry.ref)
    if e.status in (404, 410) and link is not None:
        await house.store.commit(Linked(**{**_fields(link), "gone": True}))
        await _later(house, partner, entry, e)
        tally.delayed += 1
    elif e.status in (409, 412) and entry.tries < TRIES:
        if link is not None and not link.gone:
            tally.add(await pull_one(house, partner, link))
        if entry.tries <= 2:  # merged just now: send the result at once
            await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), str(e)))
        else:
            await _later(house, partner, entry, e)
            tally.delayed += 1
    elif entry.tries < 2 and e.status not in (400, 422):
        await _later(house, partner, entry, e)
        tally.delayed += 1
    else:
        detail = msgspec.json.encode({"status": e.status, "text": e.text, "at": house.clock().isoformat()})
        told = await tell_once(house, partner, entry)
        await house.store.commit(
            Close(entry.entry, entry.fence, "parked", f"{e.status}: {e.text}"), Keep("parked", f"{partner.name} {entry.ref}", detail), *told
        )
        tally.parked += 1


def _fields(link: Linked) -> dict[str, Any]:
    return {name: getattr(link, name) for name in Linked.__dataclass_fields__}


def _etag_of(body: dict[str, Any]) -> str:
    version = body.get("meta", {}).get("versionId")
    return f'W/"{version}"' if version else ""


def _id_of(reply: Reply, live: Linked | None) -> str:
    if live is not None:
        return live.remote_id.split("/")[1]
    parts = reply.location.split("/_history")[0].rstrip("/").split("/")
    if len(parts) < 2 or not parts[-1]:
        raise Refusal(reply.status, "it created something without saying under which id")
    return parts[-1]


__all__ = ["Tally", "push", "send"]
