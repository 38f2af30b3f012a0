"""Outbound: what consent still lets go, at the moment of sending; recall of what it no longer does.

Each outbox entry is leased with a fence, asked about, sent with a request that is safe to repeat, and closed in the same
commit as its link, its ledger row and its audit row. Lanes (people) go side by side, each in its order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ..domain.types import Delay, Queued
from ..gate import House
from ..remote.client import Down, Forbidden, Locked, Refusal, Unknown
from ..store.base import Fenced, StoreError
from .leaving import AskAgain
from .moved import stand
from .partner import Partner
from .putting_off import failed, later, refused
from .sending import see_to
from .tally import Tally
from .turning import noticed

log = structlog.get_logger()
LEASE_SECONDS = 60.0  # an entry at work is held longer, by its attempt
ROUND = timedelta(seconds=30)  # what has not begun by then goes back
BATCHES = 4  # entries leased for each that may be under way
UNKNOWN_MOST = 5  # answers in a row that did not come: then that server counts as away


@dataclass
class _Round:
    """Leased entries, and how it goes with them."""

    waiting: deque[Queued]
    until: datetime
    tally: Tally = field(default_factory=Tally)
    unknown: int = 0  # in a row
    wrong: Exception | None = None  # why it ended early


async def push(
    house: House, partner: Partner, holder: str, *, width: int | None = None, stopped: Callable[[], bool] = lambda: False, reviews: bool = False
) -> Tally:
    """One batch of due outbox entries, `width` of them at once; of `reviews` alone, for which nothing is asked of that server. Down, Unknown or Locked when that server does not answer: what was not
    tried is given back. Elsewhere before anything is leased."""
    if not reviews:
        await stand(house, partner)
    width = width or partner.concurrency
    count = width * BATCHES if width > 1 else 1
    leased = await house.store.lease(partner.name, holder, house.clock(), LEASE_SECONDS, count, reviews)
    r = _Round(deque(leased), house.clock() + ROUND)
    await asyncio.gather(*(_lane(house, partner, r, stopped) for _ in range(min(width, len(leased)))))
    for entry in r.waiting:
        with suppress(StoreError):
            await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), "given back", untried=True))
    if r.wrong is not None:
        raise r.wrong
    return r.tally


async def _lane(house: House, partner: Partner, r: _Round, stopped: Callable[[], bool]) -> None:
    while r.waiting and r.wrong is None and house.clock() < r.until and not stopped():
        entry = r.waiting.popleft()
        r.tally.seen += 1
        try:
            await _tried(house, partner, entry, r)
        except Fenced:  # somebody else's meanwhile
            continue
        except Exception as e:
            r.wrong = r.wrong or e


async def _tried(house: House, partner: Partner, entry: Queued, r: _Round) -> None:
    tally = r.tally
    try:
        try:
            await see_to(house, partner, entry, tally)
            await noticed(house, partner, entry)
        except Refusal as e:
            if isinstance(e, Forbidden):
                await partner.server.forbidden_to_write(entry.patient or str(entry.ref), entry.ref.type, house.new_id())
            await refused(house, partner, entry, e, tally)
        r.unknown = 0
    except AskAgain as e:  # while what it refers to was sent: asked anew, now
        tally.add(e.tally)
        await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), "it changed, or what is allowed did"))
    except (Down, Locked) as e:
        await later(house, partner, entry, e)
        tally.delayed += 1
        raise
    except Unknown as e:
        await later(house, partner, entry, e)
        tally.delayed += 1
        r.unknown += 1
        if r.unknown >= UNKNOWN_MOST or (r.unknown == r.tally.seen and not r.waiting):
            raise
    except StoreError:
        raise
    except Exception as e:  # a fault of ours with this one: the others go on
        log.exception("entry-failed", remote=partner.name)
        await failed(house, partner, entry, e, tally)


__all__ = ["Tally", "push"]
