"""What is under way to a partner: written down before a request leaves, gone in the commit that writes down what became of it.

Who finds an attempt open knows that something may be there of which nothing else tells. It is looked for there by our tag; what is
found was disclosed when the attempt was made, under the consent of that moment. docs/notes/0019
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec

from ..domain import audit, strict
from ..domain.periods import instant, micros
from ..domain.types import Close, Disclosed, Drop, Keep, Linked, Op, Queued, Ref, Renew, Send, Stored
from ..gate import Context, Grounds, House
from ..gate.context import note
from ..remote.client import MANY, Down, Refusal, Unknown
from ..store.base import Taken
from . import belonging, tags
from .links import bare, began_there, etag_of, over
from .partner import Partner, as_owner
from .tally import Tally

KIND = "attempt"
HOLD = timedelta(seconds=60)  # longer than a request may take: so long nobody else sends this entry, and what left may still arrive
TAG_PAGES, TAG_SECONDS = 10, 50.0  # of a search by a tag of ours, which finds one or two
FAR, FAR_MOST = timedelta(hours=1), 1_000  # longer than an entry is put off, and how many are looked at for that
FRESH = timedelta(seconds=5)  # after which what is written down is no longer of the moment at which a request leaves


class Endless(Refusal):
    """Its list of what bears one tag of ours has no end: whether a copy is there is not known, so none is made. A person must look there."""

    def __init__(self) -> None:
        super().__init__(422, "asked for what bears the tag of this, it answers with a list without end")


class Try(msgspec.Struct, frozen=True):
    """One version that left, or was about to. `at` in microseconds; `sent` names the body."""

    version: int
    at: int
    sent: str
    consent: str | None = None
    epoch: int = 0
    on_behalf_of: str | None = None  # of a processor: for whom it keeps it

    @property
    def when(self) -> datetime:
        return instant(self.at)


class Attempt(msgspec.Struct, frozen=True):
    """Versions that may be there, and whether a deletion of ours is under way. The key is `<remote> <Type/id>`. `last`: microseconds at
    which a request that carries one of them left last, or was about to. `put_back`: a digest of what a recall puts in the place of what is
    theirs and was changed here, and `agreed` the version here on which both sides agree then."""

    patient: str | None
    tries: tuple[Try, ...] = ()
    recall: bool = False
    last: int = 0
    put_back: str = ""
    agreed: int = 0


async def of(house: House, partner: Partner, ref: Ref) -> Attempt | None:
    raw = await house.store.kept(KIND, _key(partner, ref), house.clock())
    attempt = msgspec.json.decode(raw, type=Attempt) if raw is not None else None
    if attempt is None or raw is None or max(attempt.last, *(t.at for t in attempt.tries), 0) <= micros(house.clock() + HOLD):
        return attempt
    now = micros(house.clock())  # our clock was ahead: it left at some moment before this one
    known = msgspec.structs.replace(attempt, last=now, tries=tuple(msgspec.structs.replace(t, at=min(t.at, now)) for t in attempt.tries))
    with suppress(Taken):
        await house.store.commit(Keep(KIND, _key(partner, ref), msgspec.json.encode(known), if_value=raw))
    return known


async def open_of(house: House, partner: Partner, patient: str | None = None) -> dict[Ref, Attempt]:
    """Those of this person, or of everybody."""
    kept = await house.store.kept_all(KIND, house.clock(), f"{partner.name} ")
    every = {Ref(*key.rpartition(" ")[2].split("/")): msgspec.json.decode(raw, type=Attempt) for key, raw in kept.items()}
    return {ref: a for ref, a in every.items() if patient is None or a.patient == patient}


async def begin(
    house: House, partner: Partner, entry: Queued, stored: Stored, before: Attempt | None, why: Grounds, copy: Mapping[str, Any]
) -> Attempt:
    """This version is about to leave, and this worker still holds the entry: Fenced otherwise. Taken where another lane began meanwhile, for
    which it goes ahead of something else: `before` is what was under way when it was looked for there."""
    raw = await house.store.kept(KIND, _key(partner, stored.ref), house.clock()) if before is not None else None
    if before is not None and (raw is None or msgspec.json.decode(raw, type=Attempt) != before):
        raise Taken(KIND, _key(partner, stored.ref))
    tries, now = before.tries if before is not None else (), micros(house.clock())
    if all(t.version != stored.version for t in tries):
        tries += (Try(stored.version, now, digest(copy), why.decision.consent, stored.epoch, why.on_behalf_of),)
    attempt = Attempt(next(iter(stored.facts.patients), None), tries, last=now)
    await house.store.commit(*held(house, entry), replace(_keep(partner, stored.ref, attempt), if_absent=before is None, if_value=raw))
    return attempt


async def renewed(house: House, partner: Partner, entry: Queued, ref: Ref) -> None:
    """A request that carries it is about to leave now: what is under way may arrive until HOLD from here, and so long this worker holds the
    entry. Fenced where it does not."""
    attempt, now = await of(house, partner, ref), house.clock()
    if attempt is None or attempt.recall:
        await house.store.commit(*held(house, entry))
    elif now >= instant(attempt.last) + FRESH:
        await house.store.commit(*held(house, entry), _keep(partner, ref, msgspec.structs.replace(attempt, last=micros(now))))


async def recalling(
    house: House, partner: Partner, entry: Queued, before: Attempt | None, *also: Op, put_back: Mapping[str, Any] | None = None, agreed: int = 0
) -> None:
    """A deletion there is about to leave, or `put_back`: when it comes back, it is ours."""
    was = before or Attempt(entry.patient)
    attempt = Attempt(entry.patient, was.tries, True, was.last, digest(put_back) if put_back is not None else "", agreed)
    await house.store.commit(*held(house, entry), _keep(partner, entry.ref, attempt), *also)


def nothing_left(e: BaseException) -> bool:
    """Can nothing of this request have been applied there? An answer that did not come, or 5xx, says nothing."""
    return not isinstance(e, Unknown) and not (isinstance(e, Down) and e.arrived)


def as_before(partner: Partner, ref: Ref, before: Attempt | None) -> Op:
    """What is under way is what was."""
    return ended(partner, ref) if before is None else _keep(partner, ref, before)


def sent(attempt: Attempt | None, there: Mapping[str, Any]) -> bool:
    """Is this what one of the tries sent, unchanged since?"""
    return which(attempt, there) is not None


def which(attempt: Attempt | None, there: Mapping[str, Any]) -> Try | None:
    """The last of the tries that sent this, where it is there unchanged."""
    named = digest(there)
    return next((t for t in reversed(attempt.tries) if t.sent == named), None) if attempt is not None else None


def put_back(attempt: Attempt | None, there: Mapping[str, Any]) -> bool:
    """Is this a record of theirs as our recall left it?"""
    return attempt is not None and attempt.put_back == digest(there)


def ended(partner: Partner, ref: Ref) -> Op:
    return Drop(KIND, _key(partner, ref))


def rows(partner: Partner, ref: Ref, attempt: Attempt | None) -> list[Disclosed]:
    """What the ledger says of these tries, once it is known that they got there, or cannot be known that they did not."""
    if attempt is None or attempt.patient is None:
        return []
    whom = partner.terms.organisation
    return [Disclosed(partner.name, ref, t.version, attempt.patient, whom, instant(t.at), t.consent, t.epoch, None, t.on_behalf_of) for t in attempt.tries]


def trail(ctx: Context, partner: Partner, ref: Ref, attempt: Attempt | None) -> list[Op]:
    """The audit's rows of tries of which no answer came, and which got there."""
    if attempt is None or not attempt.tries:
        return []
    detail = went(f"sent to {partner.name}, no answer came", attempt.tries[-1].on_behalf_of)
    return [note(ctx, "R", "disclose", None, (str(ref),), patient=attempt.patient, allowed=True, detail=detail)]


def went(what: str, on_behalf_of: str | None) -> str:
    """What an audit row of a disclosure says, and for whom a processor keeps it (`domain.audit.kept_for`)."""
    return what + (audit.FOR + on_behalf_of if on_behalf_of else "")


async def there_now(house: House, partner: Partner, patient: str | None) -> list[Disclosed]:
    """What the ledger has as there: sent, or fetched from here where their server is a gateway, which keeps it under our name."""
    known = await house.store.ledger(remote=partner.name, patient=patient, open_only=True)
    return [d for d in known if not d.fetched or partner.abilities is None or partner.abilities.gateway]


async def sent_open(house: House, partner: Partner, entry: Queued) -> list[Disclosed]:
    """What we sent of this resource, or may have sent, or they fetched, and we have not taken back."""
    known = await there_now(house, partner, entry.patient)
    return [d for d in known if d.ref == entry.ref] + rows(partner, entry.ref, await of(house, partner, entry.ref))


def taken_back(
    ctx: Context, partner: Partner, ref: Ref, patient: str | None, attempt: Attempt | None, disclosed: Sequence[Disclosed]
) -> list[Op]:
    """The ledger's rows closed, with the audit's row, and the attempt over."""
    closed = [replace(d, recalled=ctx.at) for d in disclosed]
    recalled = note(ctx, "D", "recall", None, (str(ref),), patient=patient, allowed=True, detail=f"taken back from {partner.name}")
    return [*closed, *trail(ctx, partner, ref, attempt), recalled, ended(partner, ref)]


async def came_back(house: House, partner: Partner, ctx: Context, now: Linked, attempt: Attempt) -> Tally:
    """A recall of ours is seen there before its answer was: it is done. `now`: the link as it is then. Of a deletion at another gateway the
    recall itself says so: it has still to ask for what was fetched again (`recalling`)."""
    if now.gone and not began_there(now) and (await partner.met()).gateway:
        await house.store.commit(now)
        return Tally()
    rows_open = await house.store.ledger(remote=partner.name, patient=attempt.patient, open_only=True)
    known = [d for d in rows_open if d.ref == now.ref] + rows(partner, now.ref, attempt)
    await house.store.commit(now, *taken_back(ctx, partner, now.ref, attempt.patient, attempt, known))
    return Tally(recalled=1)


def withheld(ctx: Context, entry: Queued, stored: Stored, why: str) -> list[Op]:
    """Nothing of this leaves now; it is looked at again when what decides has changed."""
    trail = [note(ctx, "R", "disclose", None, (str(stored.ref),), patient=p, allowed=False) for p in stored.facts.patients]
    return [Close(entry.entry, entry.fence, "withheld", why), *trail]


def may_arrive(house: House, attempt: Attempt | None) -> bool:
    """Could a request of ours still be on its way?"""
    return attempt is not None and any(house.clock() < instant(max(attempt.last, t.at)) + HOLD for t in attempt.tries)


async def counted(house: House, partner: Partner) -> None:
    """What had no answer, may arrive no more, and nobody carries on counts as if it had got there: the ledger has it, so a no looks for it
    there. Nobody does where nothing of that person waits: what it was sent ahead for was parked, withheld or deleted, or who asked died.
    Of an entry of the directory, which is nobody's, no ledger tells: whoever sends it next looks for it there by our tag."""
    now = house.clock()
    if partner.counted is not None and timedelta(0) <= now - partner.counted < HOLD:
        return
    partner.counted = now
    await _due_again(house, partner, now)
    for ref in await open_of(house, partner):
        attempt = await of(house, partner, ref)
        if attempt is None or attempt.recall or may_arrive(house, attempt):
            continue
        if attempt.patient is not None and any([await house.store.outbox_items(partner.name, state, 1, patient=attempt.patient) for state in ("queued", "leased")]):
            continue
        raw = await house.store.kept(KIND, _key(partner, ref), now)
        if raw is None or msgspec.json.decode(raw, type=Attempt) != attempt:
            continue
        ctx, over = await as_owner(house, partner, "disclose"), Keep(KIND, _key(partner, ref), raw, now, if_value=raw)  # not what was begun since
        with suppress(Taken):
            await house.store.commit(*rows(partner, ref, attempt), *trail(ctx, partner, ref, attempt), over)


async def _due_again(house: House, partner: Partner, now: datetime) -> None:
    """What was put off to a moment that is farther than anything is put off: by a clock of ours that was ahead. It is due now."""
    far = now + max(FAR, timedelta(seconds=2 * partner.missing_seconds))
    late = [Ref(*i["ref"].split("/")) for i in await house.store.outbox_items(partner.name, "queued", FAR_MOST) if i["due"] > far]
    if late:
        await house.store.requeue(partner.name, "queued", now, late)


async def found(house: House, partner: Partner, ref: Ref, people: Collection[str]) -> Linked | None:
    """A link to the copy there that bears our tag. Refusal where that server cannot be searched by it."""
    there = await copy_there(house, partner, ref, people)
    return None if there is None else adopted(partner, ref, there, etag_of(there))


async def copy_there(house: House, partner: Partner, ref: Ref, people: Collection[str]) -> dict[str, Any] | None:
    """The first of `copies_there`; None where there is none."""
    async for there in copies_there(house, partner, ref, people):
        return there
    return None


async def copies_there(house: House, partner: Partner, ref: Ref, people: Collection[str]) -> AsyncIterator[dict[str, Any]]:
    """What there bears our tag, and is not about others than `people`; a record of theirs, or a copy of another of ours, by its link, is none.
    Refusal where that server cannot be searched by it; Endless; Down."""
    end = asyncio.get_running_loop().time() + TAG_SECONDS
    pages = partner.server.search(ref.type, {"_tag": tags.condition(house, ref), "_count": str(MANY)})
    for n in range(TAG_PAGES):
        try:
            async with asyncio.timeout_at(end):
                page = await anext(pages, None)
        except TimeoutError:
            raise Endless if n else Down("it cannot be searched by a tag in time") from None
        for entry in page.entries if page is not None else ():
            there = entry.value.get("resource") if not entry.broken else None
            if not isinstance(there, dict) or there["resourceType"] != ref.type or not tags.names(there, house, ref):
                continue
            link = await house.store.link_by_remote(partner.name, f"{ref.type}/{there.get('id')}")
            if link is not None and not link.gone and (began_there(link) or link.ref != ref):
                continue
            if not await belonging.another(house, partner, people, there):
                yield dict(there)
        if page is None or not page.next:
            return
    raise Endless


def adopted(partner: Partner, ref: Ref, there: Mapping[str, Any], etag: str) -> Linked:
    """A link to a copy of ours, of which we do not know when both sides agreed last."""
    return Linked(partner.name, ref, f"{ref.type}/{there['id']}", etag, str(there.get("meta", {}).get("lastUpdated", "")), began_there=False)


async def late(house: House, partner: Partner, ref: Ref, ops: Sequence[Op]) -> None:
    """It was sent, and meanwhile the entry is somebody else's, who may not know that it got there: it is written down, and looked at."""
    sent = {op.version: op.patient for op in ops if isinstance(op, Disclosed)}
    now = await of(house, partner, ref)
    if now is not None and set(sent) <= {t.version for t in now.tries}:
        return  # they carry it on
    link = await house.store.link(partner.name, ref)
    mine = [over(link, op) if isinstance(op, Linked) else op for op in ops if not isinstance(op, Drop)]
    mine = [op for op in mine if not isinstance(op, Linked) or link is None or link.gone]
    people = {p for p in sent.values() if p}
    again = [Send(partner.name, Ref("Patient", p.removeprefix("Patient/")), 0, p, "review") for p in people]
    await house.store.commit(*mine, *again)


def digest(body: Mapping[str, Any]) -> str:
    return sha256(strict.dump(bare(body))).hexdigest()[:32]


def held(house: House, entry: Queued) -> list[Op]:
    return [Renew(entry.entry, entry.fence, house.clock() + HOLD)]


def _keep(partner: Partner, ref: Ref, attempt: Attempt) -> Keep:
    return Keep(KIND, _key(partner, ref), msgspec.json.encode(attempt))


def _key(partner: Partner, ref: Ref) -> str:
    return f"{partner.name} {ref}"
