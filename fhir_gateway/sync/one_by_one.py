"""What changed there is taken in one by one: what trips over a fault of ours waits alone, and stops nothing that comes beside it or after it."""

from __future__ import annotations

import structlog

from ..domain.problem import Problem
from ..domain.reasons import because
from ..domain.types import Linked
from ..gate import House
from ..remote.client import Down, Locked
from ..store.base import StoreError
from .ahead import Ahead
from .feed import Change
from .partner import Partner, as_owner
from .taking import apply, pull_one
from .tally import Tally
from .waiting import put_aside, quarantine

log = structlog.get_logger()
LATER = frozenset({"stale", "unavailable"})  # kinds of Problem that are none of this change's


async def taken(house: House, partner: Partner, change: Change, under_way: Ahead | None = None, *, fresh: bool = False) -> Tally:
    """As `apply`. It ends the reading only where others would fare no better: Down, Locked, StoreError, Problem unavailable or stale, and what
    the machine lacks."""
    try:
        return await apply(house, partner, change, under_way, fresh=fresh)
    except (Down, Locked, StoreError, OSError, MemoryError):
        raise
    except Exception as e:
        if isinstance(e, Problem) and e.kind in LATER:
            raise
        log.exception("change-failed", remote=partner.name)
        return await _waits(house, partner, change, e if isinstance(e, Problem) else because("fault", kind="cannot-apply"))


async def looked_at(house: House, partner: Partner, link: Linked, *, alone: bool = False) -> Tally:
    """As `pull_one`; what is read there is taken in as `taken` does: a withdrawal, and whoever looks at one after the other, goes on behind it."""
    return await pull_one(house, partner, link, alone=alone, take=taken)


async def _waits(house: House, partner: Partner, change: Change, p: Problem) -> Tally:
    """It waits with what it says, as what cannot be read does; without, where even whom it is about cannot be read off it."""
    ctx, link = await as_owner(house, partner, "access"), await house.store.link_by_remote(partner.name, change["id"])
    try:
        return await put_aside(house, partner, ctx, {**change, "resource": change["resource"] or {}}, link, p)
    except (StoreError, OSError, MemoryError):
        raise
    except Exception:
        return await quarantine(house, partner, ctx, change["id"], {"unreadable": True}, p, [])
