"""What is under way to a partner: written down before a request leaves, gone in the commit that writes down what became of it.

Who finds an attempt open knows that something may be there of which nothing else tells. It is looked for there by our tag; what is
found was disclosed when the attempt was made, under the consent of that moment. docs/notes/0019
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec

from ..domain import strict
from ..domain.periods import instant, micros
from ..domain.types import Decision, Disclosed, Drop, Keep, Linked, Op, Queued, Ref, Renew, Send, Stored
from ..gate import Context, House
from ..gate.context import note
from ..remote.client import Down, Unknown
from .feed import change_of
from .links import bare, etag_of
from .partner import TAG, Partner, our_tag

KIND = "attempt"
HOLD = timedelta(seconds=60)  # as long as a request may take: so long nobody else sends this entry, and what left may still arrive


class Try(msgspec.Struct, frozen=True):
    """One version that left, or was about to. `at` in microseconds; `sent` names the body."""

    version: int
    at: int
    sent: str
    consent: str | None = None
    epoch: int = 0


class Attempt(msgspec.Struct, frozen=True):
    """Versions that may be there, and whether a deletion of ours is under way. The key is `<remote> <Type/id>`."""

    patient: str | None
    tries: tuple[Try, ...] = ()
    recall: bool = False


async def of(house: House, partner: Partner, ref: Ref) -> Attempt | None:
    raw = await house.store.kept(KIND, _key(partner, ref), house.clock())
    return msgspec.json.decode(raw, type=Attempt) if raw is not None else None


async def open_of(house: House, partner: Partner, patient: str | None = None) -> dict[Ref, Attempt]:
    """Those of this person, or of everybody."""
    kept = await house.store.kept_all(KIND, house.clock(), f"{partner.name} ")
    every = {Ref(*key.rpartition(" ")[2].split("/")): msgspec.json.decode(raw, type=Attempt) for key, raw in kept.items()}
    return {ref: a for ref, a in every.items() if patient is None or a.patient == patient}


async def begin(
    house: House, partner: Partner, entry: Queued, stored: Stored, before: Attempt | None, decision: Decision, copy: Mapping[str, Any]
) -> Attempt:
    """This version is about to leave, and this worker still holds the entry: Fenced otherwise."""
    tries = before.tries if before is not None else ()
    if all(t.version != stored.version for t in tries):
        tries += (Try(stored.version, micros(house.clock()), digest(copy), decision.consent, stored.epoch),)
    attempt = Attempt(next(iter(stored.facts.patients), None), tries)
    await house.store.commit(*held(house, entry), _keep(partner, stored.ref, attempt))
    return attempt


async def recalling(house: House, partner: Partner, entry: Queued, before: Attempt | None, *also: Op) -> None:
    """A deletion there is about to leave: when it comes back, it is ours."""
    attempt = Attempt(entry.patient, before.tries if before is not None else (), recall=True)
    await house.store.commit(*held(house, entry), _keep(partner, entry.ref, attempt), *also)


def nothing_left(e: BaseException) -> bool:
    """Can nothing of this request have been applied there? An answer that did not come, or 5xx, says nothing."""
    return not isinstance(e, Unknown) and not (isinstance(e, Down) and e.arrived)


def as_before(partner: Partner, ref: Ref, before: Attempt | None) -> Op:
    """What is under way is what was."""
    return ended(partner, ref) if before is None else _keep(partner, ref, before)


def sent(attempt: Attempt | None, there: Mapping[str, Any]) -> bool:
    """Is this what one of the tries sent, unchanged since?"""
    return attempt is not None and any(t.sent == digest(there) for t in attempt.tries)


def ended(partner: Partner, ref: Ref) -> Op:
    return Drop(KIND, _key(partner, ref))


def rows(partner: Partner, ref: Ref, attempt: Attempt | None) -> list[Disclosed]:
    """What the ledger says of these tries, once it is known that they got there, or cannot be known that they did not."""
    if attempt is None or attempt.patient is None:
        return []
    whom = partner.terms.organisation
    return [Disclosed(partner.name, ref, t.version, attempt.patient, whom, instant(t.at), t.consent, t.epoch) for t in attempt.tries]


def trail(ctx: Context, partner: Partner, ref: Ref, attempt: Attempt | None) -> list[Op]:
    """The audit's rows of tries of which no answer came, and which got there."""
    if attempt is None or not attempt.tries:
        return []
    return [note(ctx, "R", "disclose", None, (str(ref),), patient=attempt.patient, allowed=True, detail=f"sent to {partner.name}, no answer came")]


async def sent_open(house: House, partner: Partner, entry: Queued) -> list[Disclosed]:
    """What we sent of this resource, or may have sent, and have not taken back."""
    known = await house.store.ledger(remote=partner.name, patient=entry.patient, open_only=True)
    return [d for d in known if d.ref == entry.ref] + rows(partner, entry.ref, await of(house, partner, entry.ref))


def taken_back(
    ctx: Context, partner: Partner, ref: Ref, patient: str | None, attempt: Attempt | None, disclosed: Sequence[Disclosed]
) -> list[Op]:
    """The ledger's rows closed, with the audit's row, and the attempt over."""
    closed = [Disclosed(d.remote, d.ref, d.version, d.patient, d.recipient, d.at, d.consent, d.epoch, ctx.at) for d in disclosed]
    recalled = note(ctx, "D", "recall", None, (str(ref),), patient=patient, allowed=True, detail=f"taken back from {partner.name}")
    return [*closed, *trail(ctx, partner, ref, attempt), recalled, ended(partner, ref)]


def may_arrive(house: House, attempt: Attempt | None) -> bool:
    """Could a request of ours still be on its way?"""
    return attempt is not None and any(house.clock() < instant(t.at) + HOLD for t in attempt.tries)


async def found(partner: Partner, ref: Ref) -> Linked | None:
    """A link to the copy there that bears our tag. Refusal where that server cannot be searched by it."""
    there = await copy_there(partner, ref)
    return None if there is None else adopted(partner, ref, there, etag_of(there))


async def copy_there(partner: Partner, ref: Ref) -> dict[str, Any] | None:
    """The copy there that bears our tag. Refusal where that server cannot be searched by it."""
    async for page in partner.server.search(ref.type, {"_tag": f"{TAG}|{ref.id}"}):
        for entry in page.get("entry", []):
            there = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(there, dict) and not change_of(there)["broken"] and there["resourceType"] == ref.type and our_tag(there) == ref.id:
                return dict(there)
    return None


def adopted(partner: Partner, ref: Ref, there: Mapping[str, Any], etag: str) -> Linked:
    """A link to a copy of ours, of which we do not know when both sides agreed last."""
    return Linked(partner.name, ref, f"{ref.type}/{there['id']}", etag, str(there.get("meta", {}).get("lastUpdated", "")))


async def late(house: House, partner: Partner, ref: Ref, ops: Sequence[Op]) -> None:
    """It was sent, and meanwhile the entry is somebody else's, who may not know that it got there: it is written down, and looked at."""
    sent = {op.version: op.patient for op in ops if isinstance(op, Disclosed)}
    now = await of(house, partner, ref)
    if now is not None and set(sent) <= {t.version for t in now.tries}:
        return  # they carry it on
    link = await house.store.link(partner.name, ref)
    mine = [op for op in ops if not isinstance(op, (Drop, Linked)) or (isinstance(op, Linked) and (link is None or link.gone))]
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
