"""Outbound: what consent still lets go, at the moment of sending; recall of what it no longer does.

Each outbox entry is leased with a fence, asked about, sent with a request that is safe to repeat, and closed in the same
commit as its link, its ledger row and its audit row.
"""

from __future__ import annotations

import structlog

from ..domain.types import Delay, Queued
from ..gate import House
from ..remote.client import Down, Locked, Refusal, Unknown
from ..store.base import Fenced
from .partner import Partner
from .sending import Turned, later, one, refused
from .tally import Tally
from .turning import noticed

log = structlog.get_logger()
LEASE_SECONDS = 60.0
BATCH = 20


async def push(house: House, partner: Partner, holder: str) -> Tally:
    """One batch of due outbox entries."""
    tally = Tally()
    for entry in await house.store.lease(partner.name, holder, house.clock(), LEASE_SECONDS, BATCH):
        tally.seen += 1
        try:
            await _tried(house, partner, entry, tally)
        except Fenced:  # somebody else's meanwhile
            continue
    return tally


async def _tried(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    try:
        await one(house, partner, entry, tally)
        await noticed(house, partner, entry.patient)
    except Turned as e:  # while what it refers to was sent: asked anew, now
        tally.add(e.tally)
        await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), "it changed, or what is allowed did"))
    except (Down, Unknown) as e:
        await later(house, partner, entry, e)
        tally.delayed += 1
        if isinstance(e, Down):
            partner.paused = str(e)
            raise
    except Locked as e:
        await later(house, partner, entry, e)
        partner.paused = str(e)
        raise
    except Refusal as e:
        await refused(house, partner, entry, e, tally)
    except (AttributeError, KeyError, TypeError) as e:  # an answer of no shape that we know: what stands behind it goes on
        log.error("answer-not-understood", remote=partner.name, kind=type(e).__name__)
        await later(house, partner, entry, Unknown(f"its answer is not of a resource's shape ({type(e).__name__})"))
        tally.delayed += 1


__all__ = ["Tally", "push"]
