"""Inbound: what changed there, merged with what changed here, through the same gate as any client.

Each feed has its watermark, which is never ahead of what was applied. It is the newest stamp seen or that server's own time when
the window began, whichever is earlier, less an overlap. What is met again is known by its version. docs/notes/0020
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

import structlog

from ..gate import House
from ..remote.client import Down, Refusal, Unknown
from . import beyond, meeting, missing, watermarks
from .ahead import SECONDS, Ahead
from .asked import types_of
from .feed import Change, Expired, Feed, change_of, feeds, later, pages, stamped, state_of
from .moved import stand
from .one_by_one import taken
from .partner import Partner
from .reader import Still, alone
from .sweeping import due, missed_again, sweep
from .tally import Tally, ignored
from .watermarks import Clock

log = structlog.get_logger()
RESTARTS = 3
AGAIN = 20  # changes that led too far and are looked at once more at the end of their window


async def pull(house: House, partner: Partner, still: Still = alone, tally: Tally | None = None) -> Tally:
    """Everything that changed there since the watermarks. Down where a feed cannot be read to its end, or none can be read; Elsewhere before anything is asked. `still` is awaited
    before each change that is taken in: what it raises ends the reading (`reader.Reader.still`). `tally` has what was done so far."""
    tally = Tally() if tally is None else tally
    if partner.terms.direction == "out":
        return tally
    await stand(house, partner)
    abilities = await partner.met()
    every = feeds(partner.terms, abilities)
    await watermarks.taken_over(house, partner, every)
    refused: list[Refusal] = []
    for feed in every:
        try:
            await _window(house, partner, feed, still, tally)
            partner.refused.discard(feed.name)
        except Refusal as e:
            refused.append(e)
            tally.add(ignored("that server refuses to be asked for this type"))
            if feed.name not in partner.refused:  # said when it begins: this is asked again each round
                log.warning("feed-refused", remote=partner.name, feed=feed.name, status=e.status)
            partner.refused.add(feed.name)
    if refused and len(refused) == len(every):
        raise Down(f"it cannot be asked what has changed ({refused[0]})")
    tally.add(await meeting.caught_up(house, partner, types_of(partner.terms, abilities), still))
    tally.add(await missed_again(house, partner))
    if await due(house, partner):
        tally.add(await sweep(house, partner, still))
    return tally


async def _window(house: House, partner: Partner, feed: Feed, still: Still, tally: Tally) -> None:
    """From the watermark to the last page. A page that cannot be had, or a clock that was put back, begins it anew; what was applied is not
    applied again."""
    known, why = set(partner.heard.get(feed.name, ())), ""
    for _ in range(1 + RESTARTS):
        try:
            partner.heard[feed.name] = await _read(house, partner, feed, known, tally, still)
            return
        except Expired as e:
            why = str(e)
    raise Down(f"its pages of {feed.name} cannot be read to the end ({why})")


async def _read(house: House, partner: Partner, feed: Feed, known: set[str], tally: Tally, still: Still) -> frozenset[str]:
    """One reading of the window; every state met in it."""
    since, asked = await watermarks.since_when(house, partner, feed), house.clock()
    met: set[str] = set()
    before: dict[str, Change] = {}  # in a history, whose pages go back: the newest state of each resource, by its stamp and version alone
    begun = newest = last = ""
    far: dict[str, None] = {}
    rising, clock = not feed.history, None
    async for page in pages(partner, feed, since):
        if page.beyond:
            await beyond.noted(house, partner, feed.name, page.beyond)
        if not begun:
            begun, clock = page.at, Clock.of(page, asked, house.clock())
            if await watermarks.fallen(house, partner, feed, clock):
                raise Expired("its clock was put back")
        for change in sorted(page.changes, key=lambda c: not c["id"].startswith("Patient/")):
            known_newer = before.get(change["id"]) if feed.history else None
            if known_newer is not None and later(known_newer, change):
                continue
            one = change if known_newer is None else {**change, "doubt": " behind another page"}
            if feed.history:
                before[one["id"]] = stamped(one) if known_newer is None or one["updated"] > known_newer["updated"] else known_newer
            state = state_of(one)
            if state not in met and state not in known:
                await still()
                ahead = Ahead()
                tally.add(await taken(house, partner, one, ahead))
                known.add(state)
                if ahead.far and len(far) < AGAIN:
                    far[one["id"]] = None
            met.add(state)
        stamps = [c["updated"] for c in page.changes if c["updated"]]
        rising = rising and [last, *stamps] == sorted([last, *stamps])
        last, newest = max([last, *stamps]), max([newest, *stamps])
        if rising:  # whatever comes is later than what came
            await watermarks.move(house, partner, feed, newest, begun, clock)
    tally.add(await _once_more(house, partner, far, still))
    await watermarks.move(house, partner, feed, newest, begun, clock)
    return frozenset(met)


async def _once_more(house: House, partner: Partner, far: Collection[str], still: Still) -> Tally:
    """What led too far: what it leads to may have come by itself. For as long as one change has; the rest is replayed by a person."""
    tally, end = Tally(), asyncio.get_running_loop().time() + SECONDS
    for name in far:
        with suppress(Refusal, Unknown):
            if asyncio.get_running_loop().time() < end and (there := await missing.now(house, partner, name)) is not None:
                await still()
                tally.add(await taken(house, partner, change_of(there), fresh=True))
    return tally


__all__ = ["pull"]
