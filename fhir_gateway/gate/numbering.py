"""Events of a Subscription get their numbers: when they are sent, or before, when the subscriber is told how far they are.

An endpoint that refuses everything keeps nothing from `$status` and `$events`. Consent is asked in the commit that gives a number.
http://hl7.org/fhir/uv/subscriptions-backport . docs/notes/0027
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from ..domain.types import Expect, Keep, Op, Ref, Stored
from ..store.base import Moved, Taken
from .context import House
from .subscribers import State, Subscription, keep_state, may_be_told, reader_of, state_of

EVENT: Final = "subscription-event"  # kept, by `id number`
CAUGHT_UP: Final = timedelta(days=7)  # how long `$events` has an event
WAITING: Final = 5000  # events that have a number and were not taken yet: later ones get theirs when these are
AT_ONCE: Final = 200  # of one commit
LOOKED_AT: Final = 10  # times that many, each time its subscriber asks
RACES: Final = 5


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event that has its number."""

    ref: str
    patient: str | None
    method: str
    at: datetime
    entry: int


def event_key(id: str, number: int) -> str:
    return f"{id} {number:012d}"


def numbered(sub: Subscription, number: int, ref: Ref, patient: str | None, method: str, at: datetime, entry: int, now: datetime) -> Op:
    """This event under its number, for `$events`."""
    told = Told(ref=str(ref), patient=patient, method=method, at=at, entry=entry)
    return Keep(EVENT, event_key(sub.id, number), msgspec.json.encode(told), now + CAUGHT_UP)


def method_of(version: int, stored: Stored) -> str:
    return "DELETE" if stored.deleted and version == stored.version else "POST" if version == 1 else "PUT"


async def counted(house: House, sub: Subscription) -> State:
    """Its state, after everything that waits and may be told now has its number: so far it is about to be told that it is."""
    state, after, races, looks = (await state_of(house, sub.id))[0], 0, 0, 0
    while races < RACES and looks < LOOKED_AT:
        try:
            state, after = await _counted(house, sub, after)
        except (Taken, Moved):
            races += 1
            continue
        looks += 1
        if not after:
            break
    return state


async def _counted(house: House, sub: Subscription, after: int) -> tuple[State, int]:
    """The next of what waits, from this outbox entry on; the entry that was looked at last, 0 where there is no more."""
    state, was = await state_of(house, sub.id)
    number, given, now = state.number, dict(state.given), house.clock()
    reader = await reader_of(house, sub) if state.hears and len(given) < WAITING else None
    waiting = [e for s in ("queued", "leased") for e in await house.store.outbox_items(sub.queue, s, WAITING)] if reader is not None else []
    there = sorted((e for e in waiting if e["entry"] > after and str(e["entry"]) not in given), key=lambda e: int(e["entry"]))[:AT_ONCE]
    ops: list[Op] = []
    epochs: dict[str, int] = {}
    for e in there:
        ref = Ref(*e["ref"].split("/", 1))
        stored = await house.store.get(ref)
        for p in stored.facts.patients if stored is not None else ():
            epochs.setdefault(p, await house.store.epoch(p))
        if reader is None or stored is None or not (await may_be_told(reader, sub, ref, stored, epochs)).permit:
            continue  # it has no number; whoever sends the next finds that out for good
        number += 1
        given[str(e["entry"])] = number
        ops.append(numbered(sub, number, ref, e["patient"], method_of(e["version"], stored), e["queued_at"], e["entry"], now))
    new = msgspec.structs.replace(state, number=number, given=given, spoken=number)
    if new != state:
        await house.store.commit(*ops, *(Expect(p, n) for p, n in epochs.items()), *keep_state(sub.id, new, was, now))
    return new, int(there[-1]["entry"]) if len(there) == AT_ONCE else 0


__all__ = ["CAUGHT_UP", "EVENT", "Told", "counted", "event_key", "method_of", "numbered"]
