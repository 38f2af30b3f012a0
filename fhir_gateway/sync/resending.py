"""A server that lost what it had, restored from nothing or from an old copy, gets it again: an operator says so, `sync resend`. docs/sync.md

First every link is looked at, then what answered that it is not there is queued like anything new: consent is asked when each is sent. How far
it is stands in the commit of what it covers. The ledger's rows stay open, so that a no looks there for the old copy too, should it turn up again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ..domain.directory import NO_PATIENT_DATA
from ..domain.problem import Problem
from ..domain.types import Drop, Keep, Linked, Op, Place, Ref, Send
from ..gate import Context, House
from ..gate.context import note
from ..gate.waiting_room import RECALLS, resends
from ..remote.client import Refusal
from ..store.base import Fenced, Moved
from . import missing
from .links import began_there, changed
from .moved import stand
from .partner import Partner
from .put_back_there import other
from .recognising import theirs_to_write
from .sweeping import live
from .waiting import DELETED

KIND: Final = "lost-there"  # kept: by `<remote> <Type/id>`, until it is queued again
PAGE: Final = 100
MOST: Final = 10_000


class _Mark(msgspec.Struct, frozen=True):
    """Everything up to this (type, id) was looked at; None: all of it."""

    after: tuple[str, str] | None = ("", "")


@dataclass
class Resent:
    """`looked` at, `lost` there and now queued again, and `theirs`: began there, is there no more, and stays here unsent. `done`: to the end."""

    looked: int = 0
    queued: int = 0
    theirs: list[Ref] = field(default_factory=list)
    done: bool = False


async def resend(house: House, partner: Partner, by: Context, why: str, stopped: Callable[[], bool] = lambda: False) -> Resent:
    """Queue again what that server was known to have and says now that it has not. Stopped, the next goes on where it was.
    Problem: forbidden, business-rule; Down, Locked, Unknown or Refusal where it does not answer."""
    trail, told = await resends(by, partner.name, why), Resent()
    if partner.terms.direction == "in":
        raise Problem("business-rule", f"Nothing goes to {partner.name}: its `direction` is `in`.", "direction")
    await stand(house, partner)
    kept = await house.store.kept(*missing.resending(partner), house.clock())
    mark = msgspec.json.decode(kept, type=_Mark) if kept is not None else _Mark()
    await house.store.commit(trail, _keep(partner, mark))
    if mark.after is not None and not await _looked(house, partner, by, why, mark.after, told, stopped):
        return told
    if not await _queued(house, partner, told, stopped):
        return told
    await house.store.commit(Drop(*missing.resending(partner)), missing.believed(partner))
    told.done = True
    return told


async def _looked(house: House, partner: Partner, by: Context, why: str, after: tuple[str, str], told: Resent, stopped: Callable[[], bool]) -> bool:
    """Every link to what is not there any more is closed; false where it was stopped."""
    async for link in live(house, partner, Ref(*after) if any(after) else None):
        if stopped():
            return False
        told.looked += 1
        if await _there(house, partner, link):
            continue
        mark = _keep(partner, _Mark((link.ref.type, link.ref.id)))
        with suppress(Moved):  # written meanwhile by a pull: there again
            await house.store.commit(*await _lost(house, partner, by, why, link, told), mark)
    await house.store.commit(_keep(partner, _Mark(None)))
    return True


async def _there(house: House, partner: Partner, link: Linked) -> bool:
    """By its id, or not to be known: no search for it says that it is gone. What has the id now may be another. Refusal where it answers neither."""
    try:
        there = await partner.server.read(*link.remote_id.split("/"))
        return theirs_to_write(link) or not await other(house, partner, link, there.body or {})
    except Refusal as e:
        if e.status not in (404, 410):
            raise
        return e.status == 404 and not await missing.lacking(partner, link.remote_id)


async def _lost(house: House, partner: Partner, by: Context, why: str, link: Linked, told: Resent) -> list[Op]:
    """The link is closed. A person, and what is in the directory, is looked for there anew when it is sent; any other record that began there
    waits for a person, as where they deleted it, and is not deleted here."""
    stored = await house.store.get(link.ref)
    person = next(iter(stored.facts.patients), None) if stored is not None else None
    row = note(by, "U", "sync", None, (str(link.ref),), patient=person, allowed=True, detail=f"lost there, they say, at {partner.name}: {why.strip()}")
    ops: list[Op] = [changed(link, gone=True), missing.settled(partner, link.remote_id), row]
    key, at = f"{partner.name} {link.ref}", house.clock().isoformat().encode()
    if link.ref.type in NO_PATIENT_DATA:  # goes ahead of what refers to it
        return ops
    if link.ref.type != "Patient" and (began_there(link) or theirs_to_write(link)):
        told.theirs.append(link.ref)
        return [*ops, Keep(DELETED, key, at)]
    return [*ops, Keep(KIND, key, at)]


async def _queued(house: House, partner: Partner, told: Resent, stopped: Callable[[], bool]) -> bool:
    """What was lost is queued again, and what was refused of the same people meanwhile; false where it was stopped."""
    kept = sorted(await house.store.kept_all(KIND, house.clock(), f"{partner.name} "))
    for n in range(0, len(kept), PAGE):
        if stopped():
            return False
        keys = kept[n : n + PAGE]
        found = await house.store.get_many([Ref(*key.rpartition(" ")[2].split("/")) for key in keys])
        sends = [Send(partner.name, s.ref, s.version, next(iter(s.facts.patients), None)) for s in found.values()]
        for person in sorted({s.patient for s in sends if s.patient}):
            await _again(house, partner, person)
        await house.store.commit(*sends, *(Drop(KIND, key) for key in keys))
        told.queued += len(sends)
    return True


async def _again(house: House, partner: Partner, person: str) -> None:
    """What was parked of this person, for what it refers to was missing."""
    for item in await house.store.outbox_items(partner.name, "parked", MOST, patient=person):
        if item["why"] not in RECALLS:
            with suppress(Fenced):  # an operator was quicker
                await house.store.commit(Place(item["entry"], "parked", "queued"), Drop("parked", f"{partner.name} {item['ref']}"))


def _keep(partner: Partner, mark: _Mark) -> Keep:
    return Keep(missing.MARK, missing.resending(partner)[1], msgspec.json.encode(mark))


__all__ = ["KIND", "Resent", "resend"]
