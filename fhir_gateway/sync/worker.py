"""The worker: pushes and pulls at its own pace, never inside a request.

What goes out and what comes in have a task and a breaker each, so that neither waits for the other (`state`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog

from .. import gate
from ..gate import House
from ..remote.client import Down, Elsewhere, Locked, Unknown
from ..store.base import StoreError
from . import attempts, meeting
from .away import while_away
from .backfill import anew as filled_anew
from .backfill import backfill
from .hooks import called, pace
from .looking_again import looked_again
from .moved import stand
from .partner import Partner
from .pull import pull
from .push import push
from .reader import Lost, Reader
from .recalling import RECALL_LATE
from .state import Breaker, Breakers, keep_abilities
from .status import ledger, oldest_recall, preview, status
from .sweeping import missed_again, reread, sweep
from .tally import Tally
from .turning import anew as turned_anew
from .turning import turned

log = structlog.get_logger()
IDLE_SECONDS = 0.25
LOOK_SECONDS = 5.0  # while it waits: whether another process found that server well again
WATCH_SECONDS = 60.0
EASY = 500  # states in a window that is read at the usual pace: what is known by its version is still read by us, and written by that server
STEP = 25  # resources that are taken in between two times that a person hears how far it is

Told = Callable[[Tally, int | None], None]  # what was done so far, and how much is left to send; None while it is read there, of which nobody knows
Pause = Callable[[float], Awaitable[None]]  # for so many seconds, or until there is something to do


def _never() -> bool:
    return False


async def once(
    house: House, partner: Partner, holder: str = "once", *, most: int = 1_000,
    stopped: Callable[[], bool] = _never, told: Told | None = None,
) -> Tally:  # fmt: skip
    """Until nothing moves any more (or `most` times out and in), or `stopped`; `told` hears after each batch, and after each STEP that was taken in,
    what was done so far, and how much is left (`Told`).

    Raises Down, Unknown or Locked when the server does not answer; Elsewhere where it is not the one that we were in step with.
    """
    await stand(house, partner)
    total, both, reader = Tally(), await Breakers.of(house, partner.name), Reader(house, partner.name, holder)
    inward = partner.terms.direction != "out"
    await backfill(house, partner, stopped, lambda: _told(house, partner, total, told))
    try:
        for _ in range(most):
            tally, known = Tally(), set(total.turned_away)
            while not stopped():
                try:
                    batch = await _tried(partner, both, both.push, lambda: _outward(house, partner, holder, both.push, stopped))
                except Unknown:  # of one entry it may say nothing of the others
                    if both.push.open:
                        raise
                    batch = Tally(seen=1, delayed=1)
                tally.add(batch)
                total.add(batch)
                await _told(house, partner, total, told)
                if not batch.seen:
                    break
            if inward and not stopped():
                await reader.takes_over(stopped)
                taken = await _tried(partner, both, both.pull, lambda: _inward(house, partner, reader, _going(reader, total, stopped, told)))
                tally.add(taken)
                total.add(taken)
                await _told(house, partner, total, told)
            tally.turned_away -= known  # refused again: nothing follows from it
            if stopped() or not tally.anything or (tally.delayed and tally.seen == tally.delayed):
                break
    finally:
        await reader.leaves()
    return total


async def swept(house: House, partner: Partner) -> Tally:
    """Everything there is looked at; all that is here, and what may be there, by the next round."""
    tally = await sweep(house, partner)
    await filled_anew(house, partner)
    await turned_anew(house, partner)
    return tally


def _going(reader: Reader, total: Tally, stopped: Callable[[], bool], told: Told | None) -> Callable[[Tally], Awaitable[None]]:
    """For a round that a person asked for: it ends before the next change once they stop it, and they hear how far it is."""
    heard = 0

    async def going(taken: Tally) -> None:
        nonlocal heard
        if stopped():
            raise Lost
        await reader.still()
        if told is not None and taken.pulled >= heard + STEP:
            heard, so_far = taken.pulled, Tally()
            so_far.add(total)
            so_far.add(taken)
            told(so_far, None)

    return going


async def _told(house: House, partner: Partner, total: Tally, told: Told | None) -> None:
    if told is not None:
        told(total, await _left(house, partner))


async def _left(house: House, partner: Partner) -> int:
    """How many entries are still to be sent."""
    states = await house.store.outbox(partner.name)
    return states.get("queued", 0) + states.get("leased", 0)


async def _tried(
    partner: Partner, both: Breakers, breaker: Breaker, doing: Callable[[], Awaitable[Tally]], probe: Callable[[], Awaitable[Any]] | None = None
) -> Tally:
    """What this did, after `probe` let it through; how it went is kept. Where nothing is left to send after a failure, that server is looked at.
    Elsewhere: no failure of anybody's."""
    try:
        if probe is not None:
            await probe()
        tally = await doing()
        looks = breaker.way == "push" and breaker.state.kind == "away" and not tally.seen and probe is None and not await _left(breaker.house, partner)
        if looks:
            await partner.server.abilities()
    except Elsewhere:
        raise
    except (Down, Unknown, Locked) as e:
        await both.failed(breaker, e)
        raise
    if breaker.way == "pull" or tally.asked or probe is not None or looks:
        await breaker.went()
    return tally


async def _outward(house: House, partner: Partner, holder: str, breaker: Breaker, stopped: Callable[[], bool]) -> Tally:
    tally, wrong = Tally(), None
    try:
        tally.add(await reread(house, partner))
    except (Down, Unknown) as e:  # what is to be taken back does not wait for it
        wrong = e
    await turned(house, partner)
    tally.add(await push(house, partner, holder, width=min(breaker.width, partner.concurrency), stopped=stopped))
    await attempts.counted(house, partner)
    tally.seen += await looked_again(house, partner)
    await keep_abilities(house, partner)
    if partner.terms.direction == "out":  # no pull looks after them
        await _pace(house, partner)
        tally.add(await missed_again(house, partner))
    if wrong is not None:
        raise wrong
    return tally


async def _inward(house: House, partner: Partner, reader: Reader, going: Callable[[Tally], Awaitable[None]] | None = None) -> Tally:
    tally = Tally()
    with suppress(Lost):
        await pull(house, partner, reader.still if going is None else lambda: going(tally), tally)
        await keep_abilities(house, partner)
    partner.stirred = partner.stirred or tally.pulled > 0
    return tally


# -- for as long as it runs ---------------------------------------------------------------------------------------------


async def run(house: House, partners: Sequence[Partner], holder: str, stop: asyncio.Event, pause: Pause | None = None) -> None:
    """Serve every partner until `stop`. Whose server it is may be mistyped: that is said."""
    for partner in partners:
        known = True
        with suppress(StoreError):  # said elsewhere
            known = await gate.owner_known(house, partner.terms)
        if not known:
            log.warning("nobody-there", remote=partner.name, organisation=partner.terms.organisation, help="nothing goes there: look at its `organisation`")
    await asyncio.gather(*(serve(house, p, holder, stop, pause) for p in partners))


async def serve(house: House, partner: Partner, holder: str, stop: asyncio.Event, pause: Pause | None = None) -> None:
    """Push as soon as something is due, pull every `poll_seconds`. `pause` may be another clock's. Where nothing goes there any more, what
    went is taken back by the same push."""
    rest = pause or (lambda seconds: _sleep(stop, seconds))
    both = await _known(house, partner, stop, rest)
    if both is None:
        return
    doing = [_watch(house, partner, holder, both.push, stop, rest), _push_loop(house, partner, holder, both, stop, rest)]
    if partner.terms.direction != "out":
        doing.append(_pull_loop(house, partner, holder, both, stop, rest))
    async with asyncio.TaskGroup() as together:  # who ends this has ended all of them when it returns
        for one in doing:
            together.create_task(one)


async def _known(house: House, partner: Partner, stop: asyncio.Event, rest: Pause) -> Breakers | None:
    """How it went with this partner so far, as soon as the store says so; None where it is to stop before."""
    while not stop.is_set():
        try:
            return await Breakers.of(house, partner.name)
        except StoreError:  # said elsewhere
            await rest(LOOK_SECONDS)
    return None


async def _push_loop(house: House, partner: Partner, holder: str, both: Breakers, stop: asyncio.Event, rest: Pause) -> None:
    filled = False

    async def outward() -> Tally:
        nonlocal filled
        if not filled:
            await backfill(house, partner, stop.is_set)
            filled = True
        return await _outward(house, partner, holder, both.push, stop.is_set)

    while not stop.is_set():
        tally = await _round(partner, both, both.push, outward, rest)
        if tally is not None:
            await rest(0.0 if tally.anything and tally.delayed < tally.seen else IDLE_SECONDS)


async def _pull_loop(house: House, partner: Partner, holder: str, both: Breakers, stop: asyncio.Event, rest: Pause) -> None:
    """Read by whoever holds the claim; the others look whether it still does."""
    left, reader = partner.poll_seconds, Reader(house, partner.name, holder)

    async def inward() -> Tally:
        nonlocal left
        tally = await _inward(house, partner, reader)
        left = await _pace(house, partner)
        left = 0.0 if tally.seen and await meeting.wait(house, partner) else left
        await reader.rests(left)
        return tally

    while not stop.is_set():
        if not await _reads(partner, reader, both.pull):
            await rest(min(partner.poll_seconds, LOOK_SECONDS))
            continue
        if await _round(partner, both, both.pull, inward, rest) is None:
            continue
        while left > 0 and not stop.is_set() and not await _called(house, partner):
            step = min(left, IDLE_SECONDS) if partner.hooks.listening else left
            await rest(step)
            left -= step
    await reader.leaves()


async def _reads(partner: Partner, reader: Reader, breaker: Breaker) -> bool:
    try:
        await stand(breaker.house, partner)
        if reader.claim is None:  # how it goes for whoever reads now, and may have to be gone on from
            await breaker.look()
        return await reader.mine()
    except Elsewhere:
        await reader.leaves()
        return False
    except StoreError:
        return False  # said elsewhere


async def _pace(house: House, partner: Partner) -> float:
    """Seconds until what changes there is asked for again: later where much was just sent, whose echo is read in each window as long as that reaches back."""
    seconds = await pace(house, partner.terms, partner.hooks, partner.poll_seconds, partner.server, partner.abilities)
    met = sum(map(len, partner.heard.values()))
    return max(seconds, min(seconds * met / EASY, partner.overlap_seconds / 3))


async def _called(house: House, partner: Partner) -> bool:
    try:
        return await called(house, partner.name, partner.hooks, house.clock().timestamp())
    except StoreError:
        return False  # said elsewhere


async def _round(partner: Partner, both: Breakers, breaker: Breaker, doing: Callable[[], Awaitable[Tally]], rest: Pause) -> Tally | None:
    """One round behind its breaker; None when it may not be now, or went wrong."""
    try:
        await stand(breaker.house, partner)
        if wait := breaker.wait():
            await rest(min(wait, LOOK_SECONDS))
            await breaker.look()
            return None
        return await _tried(partner, both, breaker, doing, partner.server.abilities if breaker.probes else None)
    except Elsewhere:
        await rest(LOOK_SECONDS)
        return None
    except (Down, Unknown, Locked):
        return None
    except Exception as e:
        log.exception("sync-failed", remote=partner.name)
        await both.failed(breaker, e)
        return None


async def _watch(house: House, partner: Partner, holder: str, push: Breaker, stop: asyncio.Event, rest: Pause) -> None:
    """An alarm, once, for what is to be taken back and still is there after an hour; what needs nobody there is done while nobody is tried."""
    told = False
    while not stop.is_set():
        try:
            if push.open or partner.elsewhere is not None:
                await while_away(house, partner, holder, stop.is_set)
            oldest = await oldest_recall(house, partner)
            late = oldest is not None and house.clock() - oldest >= RECALL_LATE
            if late and not told:
                log.error("alarm", what=f"Something was to be taken back from {partner.name} more than an hour ago and is still there: `fhir-gateway sync recalls`.")
            told = late
        except StoreError:
            pass  # said elsewhere
        except Exception:
            log.exception("sync-failed", remote=partner.name)
        await rest(WATCH_SECONDS)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass


__all__ = ["Told", "ledger", "once", "preview", "run", "serve", "status", "turned"]
