"""From when on a feed is read next: a watermark for each, by that server's clock, and how far that clock was ahead of ours when it was set.

Where that clock falls back, by ours, what is written there from then on is stamped before the watermark: it falls by as much.
No date of theirs is believed beyond AHEAD of our own clock: a watermark of the year 2998 would hide all that comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from ..domain.types import Drop, Keep
from ..gate import House
from ..remote.client import EVER
from .feed import Feed, Page, utc
from .partner import Partner

log = structlog.get_logger()
AHEAD: Final = timedelta(minutes=15)  # so far may a watermark be ahead of our clock; of a clock that is further ahead more is read again
MARK: Final = "watermark"  # kept: the instant, and seconds ahead, by `<remote> <feed>`


@dataclass(frozen=True, slots=True)
class Clock:
    """How many seconds that server's clock is ahead of ours: at least and at most, for an answer takes its time."""

    least: float
    most: float

    @classmethod
    def of(cls, page: Page, asked: datetime, came: datetime) -> Clock | None:
        """By the `Date` of an answer, which is cut to the second; None where there is none."""
        if page.date is None:
            return None
        return cls((page.date - came).total_seconds(), (page.date - asked).total_seconds() + 1)


async def since_when(house: House, partner: Partner, feed: Feed) -> str | None:
    found = await _kept(house, partner, feed)
    return found[0] if found is not None else None


async def move(house: House, partner: Partner, feed: Feed, newest: str, begun: str, clock: Clock | None) -> None:
    """To the newest stamp seen, that server's time when the window began, or AHEAD of ours, whichever is earliest, less the overlap. Never
    backwards. Where nothing came, it stays."""
    if not newest:
        return
    mark = _less(min(newest, begun or newest, _latest(house)), partner.overlap_seconds)
    since = await since_when(house, partner, feed)
    if since is None or mark > since:
        await _keep(house, partner, feed, mark, clock)


async def fallen(house: House, partner: Partner, feed: Feed, clock: Clock | None) -> bool:
    """Has that server's clock been put back since the watermark was set, by more than the overlap has room for? Then the watermark was, too."""
    found = await _kept(house, partner, feed)
    if found is None or found[1] is None or clock is None:
        return False
    fall = found[1] - clock.least
    if fall <= max(1.0, partner.overlap_seconds / 2):  # the other half is for what is committed late
        return False
    log.warning("clock-put-back", remote=partner.name, feed=feed.name, seconds=round(fall))
    await _keep(house, partner, feed, _less(found[0], fall), clock)
    return True


async def taken_over(house: House, partner: Partner, every: Sequence[Feed]) -> None:
    """Before there was a watermark for each feed there was one for all."""
    one = await house.store.kept(MARK, partner.name, house.clock())
    if one is None:
        return
    new = [f for f in every if await since_when(house, partner, f) is None]
    await house.store.commit(*(Keep(MARK, f"{partner.name} {f.name}", one) for f in new), Drop(MARK, partner.name))


async def _kept(house: House, partner: Partner, feed: Feed) -> tuple[str, float | None] | None:
    """The watermark, and how far ahead of ours that clock was at most (None: not known). None too where it is of the future: kept before it
    was bounded, or our own clock was put back. Then all is read once."""
    kept = await house.store.kept(MARK, f"{partner.name} {feed.name}", house.clock())
    at, _, ahead = (kept or b"").decode().partition(" ")
    if not at or at > _latest(house):
        return None
    return at, min(float(ahead), AHEAD.total_seconds()) if ahead else None  # further than that no watermark was taken from it


async def _keep(house: House, partner: Partner, feed: Feed, at: str, clock: Clock | None) -> None:
    value = at if clock is None else f"{at} {clock.most:.3f}"
    await house.store.commit(Keep(MARK, f"{partner.name} {feed.name}", value.encode()))


def _latest(house: House) -> str:
    return utc((house.clock() + AHEAD).isoformat())


def _less(at: str, seconds: float) -> str:
    try:
        return max(utc((datetime.fromisoformat(at) - timedelta(seconds=seconds)).isoformat()), utc(EVER))
    except OverflowError:  # of the first year
        return utc(EVER)
