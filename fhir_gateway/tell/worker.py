"""The worker that tells: leases what is queued, asks who may be told now, waits for a safe time, sends, tries again.

At least once: what was sent when the process died before it wrote that down is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from ..domain import notices
from ..domain.types import Close, Delay, Keep, Op, Queued
from ..gate import House
from ..gate.choosing import Recipient
from ..gate.recipients import Notice, keep_notice, notice, recipients
from ..gate.telling import DIRECTORY, QUEUES
from ..store.base import Fenced
from . import newcomers
from .channel import Channels, Failed, Message

log = structlog.get_logger()
LEASE_SECONDS = 60.0
LONGEST_ROUND = 30.0  # of one entry: then the rest waits for another lease
TRIES = 10
FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0  # between attempts, in seconds
BATCH = 10
IDLE_SECONDS = 1.0
PAUSE_SECONDS = (1.0, 60.0)
DONE = frozenset({"sent", "joined", "page"})


@dataclass
class Told:
    """What one round did, in entries."""

    sent: int = 0
    waiting: int = 0
    nobody: int = 0
    parked: int = 0
    moved_directory: bool = False  # it looked to whom changes of the directory are news

    @property
    def moved(self) -> bool:
        return bool(self.sent or self.nobody or self.parked or self.moved_directory)


async def run(house: House, channels: Channels, holder: str, stop: asyncio.Event) -> None:
    """Deliver until `stop`."""
    pause = PAUSE_SECONDS[0]
    while not stop.is_set():
        try:
            moved = (await once(house, channels, holder)).moved
            wait, pause = (0.0 if moved else IDLE_SECONDS), PAUSE_SECONDS[0]
        except Exception:
            log.exception("telling-failed")
            wait, pause = pause, min(pause * 2, PAUSE_SECONDS[1])
        try:
            await asyncio.wait_for(stop.wait(), wait)
        except TimeoutError:
            pass


async def once(house: House, channels: Channels, holder: str = "once") -> Told:
    """One round over what changed in the directory, then over both queues."""
    told = Told()
    told.moved_directory = await newcomers.once(house, holder)
    for queue in QUEUES:
        if not (await house.store.outbox(queue)).keys() & {"queued", "leased"}:
            continue  # a look is cheaper than a lease
        entries = await house.store.lease(queue, holder, house.clock(), LEASE_SECONDS, BATCH)
        await asyncio.gather(*(_entry(house, channels, e, told) for e in entries))
    return told


async def _entry(house: House, channels: Channels, entry: Queued, told: Told) -> None:
    """One entry to everybody who may be told now, asked again before each."""
    loop = asyncio.get_running_loop()
    began, seen = loop.time(), dict[str, Notice]()
    while loop.time() - began < LONGEST_ROUND:
        person = next((r for r in await recipients(house, entry) if r.ref not in seen), None)
        if person is None:
            break
        seen[person.ref] = await _one(house, channels, entry, person)
    else:
        seen["more"] = Notice(entry.why, "waiting", entry.queued_at, house.clock(), due=house.clock())
    try:
        await house.store.commit(_end(entry, seen, house.clock(), told))
    except Fenced:
        log.info("lease-lost", queue=entry.remote, entry=entry.entry)


def _end(entry: Queued, seen: Mapping[str, Notice], now: datetime, told: Told) -> Op:
    states = {n.state for n in seen.values()}
    if "waiting" in states:
        told.waiting += 1
        due = min(n.due or now for n in seen.values() if n.state == "waiting")
        trouble = next((n.trouble for n in seen.values() if n.state == "waiting" and n.trouble), "waits for its time")
        return Delay(entry.entry, entry.fence, due, trouble)
    if "failed" in states or (not seen and entry.remote == QUEUES[1]):
        told.parked += 1
        trouble = next((f"{n.channel}: {n.trouble}" for n in seen.values() if n.state == "failed"), "no privacy officer is registered")
        return Close(entry.entry, entry.fence, "parked", trouble)
    if not seen:
        told.nobody += 1
        return Close(entry.entry, entry.fence, "withheld", "nobody is to be told")
    told.sent += 1
    return Close(entry.entry, entry.fence, "shown" if states == {"page"} else "sent", ", ".join(sorted(states)))


async def _one(house: House, channels: Channels, entry: Queued, person: Recipient) -> Notice:
    """What became of this entry for this recipient; written down when it changed."""
    known = await notice(house, person.ref, entry.entry)
    if known is not None and known.state in DONE:
        return known
    fresh = known is None or (known.state == "failed" and entry.tries == 0)  # an operator queued it again
    before = Notice(entry.why, "waiting", entry.queued_at, house.clock()) if fresh or known is None else known
    if before.state == "failed":
        return before
    now = house.clock()
    after, more = await _attempt(house, channels, entry, person, before, now)
    if after != known:
        await house.store.commit(keep_notice(person.ref, entry.entry, after), *more)
    return after


async def _attempt(
    house: House, channels: Channels, entry: Queued, person: Recipient, before: Notice, now: datetime
) -> tuple[Notice, list[Op]]:  # fmt: skip
    channel = person.choice.channel
    n = replace(before, at=now, channel=channel, due=None)
    queue = person.officer and entry.why == "break-glass" and channel not in channels.by  # `/privacy` shows each emergency in any case
    if channel == "page" or queue:
        return replace(n, channel="page", state="page"), []
    former = entry.why in ("choice-changed", "address-code")  # to a place of their own: nothing else is joined to it
    last = await house.store.kept("told", person.ref, now)
    if not former and last is not None and msgspec.json.decode(last, type=datetime) > entry.queued_at:
        return replace(n, state="joined"), []
    due = max(entry.queued_at + timedelta(seconds=channels.gather_seconds), before.due if before.due and before.trouble else now, now)
    due = now if person.code and not before.trouble else notices.next_safe(person.choice, due)
    if due > now:
        return replace(before, channel=channel, due=due), []
    try:
        await _send(house, channels, entry, person, now)
    except Failed as wrong:
        return _again(house, entry, n, wrong, now), []
    ops: list[Op] = [] if former else [Keep("told", person.ref, msgspec.json.encode(now))]
    return replace(n, state="sent", trouble=""), ops


async def _send(house: House, channels: Channels, entry: Queued, person: Recipient, now: datetime) -> None:
    channel = channels.by.get(person.choice.channel)
    if channel is None:
        raise Failed("is not set up here", final=True)
    words = notices.words(person.choice.language, channels.sign_in, officer=person.officer, code=person.code)
    id = channels.name(f"{entry.entry} {person.ref}")
    await channel.send(Message(id, person.choice.address or person.ref, words.subject, words.text, person.choice.language, now))


def _again(house: House, entry: Queued, n: Notice, wrong: Failed, now: datetime) -> Notice:
    """Later, with growing waits; or never, when it would not help or was tried often enough."""
    failures = n.failures + 1
    final = wrong.final or failures >= TRIES
    log.warning("not-told", queue=entry.remote, entry=entry.entry, channel=n.channel, trouble=wrong.trouble, failures=failures, parked=final)
    if final:
        return replace(n, state="failed", failures=failures, trouble=wrong.trouble)
    wait = max(wrong.wait or 0.0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (failures - 1)) * (0.75 + house.chance() / 2))
    return replace(n, state="waiting", failures=failures, trouble=wrong.trouble, due=now + timedelta(seconds=min(wait, LONGEST_WAIT)))


# -- what an operator sees --------------------------------------------------------------------------------------------


async def status(house: House, channels: Channels) -> list[dict[str, Any]]:
    """`{queue, queued, sent, shown, withheld, parked, oldest_s, troubles, channels}` of each queue: no names, no addresses.
    In `tell:directory` changes of the directory wait until it is known to whom they are news; `sent` are those that were looked at."""
    out = []
    for queue in (*QUEUES, DIRECTORY):
        states = await house.store.outbox(queue)
        waiting = await house.store.outbox_items(queue, "queued", 1)
        parked = await house.store.outbox_items(queue, "parked", 1_000)
        oldest = max(0.0, (house.clock() - waiting[0]["queued_at"]).total_seconds()) if waiting else 0.0
        troubles: dict[str, int] = {}
        for item in parked:
            troubles[item["detail"]] = troubles.get(item["detail"], 0) + 1
        out.append({
            "queue": queue, "queued": states.get("queued", 0) + states.get("leased", 0), "sent": states.get("sent", 0), "shown": states.get("shown", 0),
            "withheld": states.get("withheld", 0), "parked": states.get("parked", 0), "oldest_s": round(oldest, 1),
            "troubles": troubles, "channels": [] if queue == DIRECTORY else sorted(channels.by),
        })  # fmt: skip
    return out


async def retry(house: House, queue: str) -> int:
    """Queue what was parked again, with fresh tries; how many."""
    return await house.store.requeue(queue, "parked", house.clock())
