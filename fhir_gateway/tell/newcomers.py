"""Turns a change of the directory into notices: one for each person to whose record it lets somebody in who was not let in before.

How far it came is kept with the notices it queued, in one commit: a stop loses none, and nobody is told twice of one change.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from ..domain.types import Close, Delay, Keep, Op, Queued
from ..gate import House
from ..gate.arriving import is_news, news
from ..gate.telling import DIRECTORY, tell
from ..store.base import Fenced, Taken

log = structlog.get_logger()
LEASE_SECONDS = 60.0
LONGEST_ROUND = 30.0  # of one change: then it goes on under another lease
BATCH = 100  # people between two commits
ENTRIES = 10
KEPT = timedelta(days=30)
AGAIN = timedelta(minutes=1)


async def once(house: House, holder: str) -> bool:
    """One round over what changed in the directory; whether there was something to do."""
    if not (await house.store.outbox(DIRECTORY)).keys() & {"queued", "leased"}:
        return False
    entries = await house.store.lease(DIRECTORY, holder, house.clock(), LEASE_SECONDS, ENTRIES)
    for entry in entries:
        try:
            await _spread(house, entry)
        except (Fenced, Taken):
            log.info("lease-lost", queue=DIRECTORY, entry=entry.entry)
        except Exception:
            log.exception("newcomers-failed", entry=entry.entry)
            await house.store.commit(Delay(entry.entry, entry.fence, house.clock() + AGAIN, "failed"))
    return bool(entries)


async def _spread(house: House, entry: Queued) -> None:
    """Queue its notices, from the person on where an earlier round came to."""
    told = await news(house, entry)
    loop, key = asyncio.get_running_loop(), f"{entry.entry:012d}"
    began, kept = loop.time(), await house.store.kept("newcomers", key, house.clock())
    due = [p for p in (told.people if told else ()) if kept is None or p > kept.decode()]
    for first in range(0, len(due), BATCH):
        some = due[first : first + BATCH]
        ops: list[Op] = []
        for person in some:
            if told is not None and await is_news(house, told, person):
                ops += tell("new-access", person)
            await asyncio.sleep(0)
        mark = some[-1].encode()
        ops.append(Keep("newcomers", key, mark, house.clock() + KEPT, if_value=kept, if_absent=kept is None))
        over = first + BATCH >= len(due)
        late = loop.time() - began > LONGEST_ROUND
        end = Close(entry.entry, entry.fence, "sent", "") if over else Delay(entry.entry, entry.fence, house.clock(), "goes on") if late else None
        await house.store.commit(*ops, *([end] if end is not None else []))
        kept = mark
        if late:
            return
    if not due:
        await house.store.commit(Close(entry.entry, entry.fence, "sent", ""))
