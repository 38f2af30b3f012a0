"""Subscribers are told: consent asked again at the moment of sending, nothing of what a record holds.

A number is given in the commit that writes the event down, just before it leaves or when they ask how far they are; what was not
permitted never had one.
http://hl7.org/fhir/uv/subscriptions-backport . docs/notes/0027
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import httpx2
import structlog

from .. import outbound
from ..domain import strict, topics
from ..domain.problem import Problem
from ..domain.topics import Event
from ..domain.types import Close, Decision, Delay, Drop, Expect, Op, Queued, Stored
from ..gate import Context, House
from ..gate.context import note
from ..gate.numbering import EVENT, counted, event_key, method_of, numbered
from ..gate.subscribers import (
    CHANGED,
    STATE,
    SUBSCRIPTION,
    State,
    Subscription,
    everybody,
    keep_state,
    may_be_told,
    reader_of,
    state_of,
    states_of,
    unsealed,
)
from ..gate.subscribing import PUT_AWAY, with_state
from ..store.base import Fenced, Moved, StoreError, Taken

log = structlog.get_logger()
IDLE_SECONDS: Final = 0.5
LEASE_SECONDS: Final = 60.0
AT_ONCE: Final = 4  # Subscriptions of one client: a slow endpoint holds up nobody else
FIRST_WAIT, LONGEST_WAIT, WHEN_IN_ERROR = 1.0, 300.0, 3600.0  # seconds between tries
ERROR_AFTER, OFF_AFTER = timedelta(days=1), timedelta(days=7)
BETWEEN_HANDSHAKES: Final = timedelta(seconds=10)
RACES: Final = 5
Going = tuple[Queued, Stored, Decision]


class Undelivered(Exception):
    """The endpoint did not take it. `arrived`: it may have been read all the same."""

    def __init__(self, trouble: str, *, arrived: bool) -> None:
        super().__init__(trouble)
        self.trouble, self.arrived = trouble, arrived


def client() -> httpx2.AsyncClient:
    """No redirects; the address that was checked is the one that is connected to (`outbound`)."""
    return outbound.client(topics.LONGEST_TIMEOUT, connect=5.0)


async def run(house: House, holder: str, stop: asyncio.Event) -> None:
    """Tell every subscriber until `stop`, each at its own pace."""
    http, busy = client(), dict[str, asyncio.Task[bool]]()
    try:
        while not stop.is_set():
            try:
                await _begin(house, http, holder, busy)
            except Exception:
                log.exception("notifying-failed")
            try:
                await asyncio.wait_for(stop.wait(), IDLE_SECONDS)
            except TimeoutError:
                pass
    finally:
        for task in busy.values():
            task.cancel()
        await asyncio.gather(*busy.values(), return_exceptions=True)
        await http.aclose()


async def _begin(house: House, http: httpx2.AsyncClient, holder: str, busy: dict[str, asyncio.Task[bool]]) -> None:
    for id in [id for id, task in busy.items() if task.done()]:
        del busy[id]
    subs = await everybody(house)
    if not subs:
        return
    states = await states_of(house)
    of = Counter(subs[id].client for id in busy if id in subs)
    for sub in subs.values():
        if sub.id in busy or of[sub.client] >= AT_ONCE or not await _has_work(house, sub, states.get(sub.id)):
            continue
        of[sub.client] += 1
        busy[sub.id] = asyncio.create_task(_until_quiet(house, http, sub.id, holder))


async def _has_work(house: House, sub: Subscription, kept: State | None) -> bool:
    """A look is cheaper than a lease."""
    now, state = house.clock(), kept or State()
    if sub.ended:
        return kept is not None or now >= sub.updated + PUT_AWAY
    if state.status != "off" and sub.ends is not None and sub.ends <= now:
        return True
    if state.status != "off" and state.due is not None and state.due > now:
        return False
    if (state.status in ("requested", "error") and not state.shaken) or _beats(sub, state, house):
        return True
    return any([await house.store.outbox_items(sub.queue, s, 1) for s in ("queued", "leased")])


def _beats(sub: Subscription, state: State, house: House) -> bool:
    """Is it time for a heartbeat: so long after what was last sent to them, whatever else happened here."""
    return bool(sub.heartbeat and state.status == "active" and state.sent and house.clock() >= state.sent + timedelta(seconds=sub.heartbeat))


async def _until_quiet(house: House, http: httpx2.AsyncClient, id: str, holder: str) -> bool:
    try:
        while await one(house, http, id, holder):
            pass
    except (Taken, Fenced, Moved):
        pass  # somebody else is at it
    except StoreError as wrong:
        log.warning("not-notified", subscription=id, trouble=str(wrong))
    except Exception:
        log.exception("notifying-failed", subscription=id)
    return False


async def once(house: House, http: httpx2.AsyncClient, holder: str = "once") -> None:
    """Everything that is due now, to everybody."""
    for id in await everybody(house):
        await _until_quiet(house, http, id, holder)


# -- one Subscription -------------------------------------------------------------------------------------------------


async def one(house: House, http: httpx2.AsyncClient, id: str, holder: str) -> bool:
    """The next thing to do for this Subscription; whether there may be more at once."""
    sub = (await everybody(house)).get(id)
    if sub is None:
        return False
    state, was = await state_of(house, id)
    now = house.clock()
    if sub.ended:
        return await _forgotten(house, sub, holder)
    reader = await reader_of(house, sub)
    over = "its time is over" if sub.ends is not None and sub.ends <= now else "this client is registered no more" if reader is None else ""
    over = over or _barred(house, sub)
    if over and state.status != "off":
        await _swap(house, sub, with_state(state, status="off", trouble=over), was)
        log.info("subscription-off", subscription=id, why=over)
        return True
    if state.status == "off" or reader is None:
        return await _let_go(house, sub, holder, "the Subscription is off")
    if state.due is not None and state.due > now:
        return False
    if not state.shaken:
        return await _greeted(house, http, sub, state, was)
    entries = await house.store.lease(sub.queue, holder, now, LEASE_SECONDS, sub.most)
    if entries:
        return await _notified(house, http, sub, reader, entries)
    if _beats(sub, state, house):
        return await _without_event(house, http, sub, state, was, "heartbeat")
    return False


def _barred(house: House, sub: Subscription) -> str:
    """The operator may have taken its place off the list meanwhile."""
    try:
        topics.address(sub.endpoint, topics.places_of(sub.client, house.subscribers))
    except Problem:
        return "its endpoint is not among the places that this server may tell"
    return "" if unsealed(house, sub) is not None else "its headers cannot be read here any more: send them again"


async def _let_go(house: House, sub: Subscription, holder: str, why: str) -> bool:
    entries = await house.store.lease(sub.queue, holder, house.clock(), LEASE_SECONDS, 100)
    if not entries:
        return False
    state, was = await state_of(house, sub.id)
    gone = {str(e.entry) for e in entries}
    left = with_state(state, given={k: n for k, n in state.given.items() if k not in gone}, noted=state.noted - gone)
    await house.store.commit(*(Close(e.entry, e.fence, "withheld", why) for e in entries), *(keep_state(sub.id, left, was, house.clock()) if left != state else ()))
    return True


async def _forgotten(house: House, sub: Subscription, holder: str) -> bool:
    """Ended by its subscriber: what is queued is let go, then all that was kept of it; that it was there, for ten minutes."""
    if await _let_go(house, sub, holder, "the Subscription was deleted"):
        return True
    if any([await house.store.outbox_items(sub.queue, s, 1) for s in ("queued", "leased")]):
        return False  # another worker holds the last of it
    events = await house.store.kept_all(EVENT, house.clock(), f"{sub.id} ")
    over = (Drop(SUBSCRIPTION, sub.id), CHANGED) if house.clock() >= sub.updated + PUT_AWAY else ()
    await house.store.commit(*(Drop(EVENT, key) for key in events), Drop(STATE, sub.id), *over)
    return False


# -- what is sent -----------------------------------------------------------------------------------------------------


async def _greeted(house: House, http: httpx2.AsyncClient, sub: Subscription, state: State, was: bytes | None) -> bool:
    """The handshake: an endpoint that does not answer it is told nothing. However often it is asked for, it comes every ten seconds at most."""
    now = house.clock()
    if state.sent is not None and now < state.sent + BETWEEN_HANDSHAKES:
        return False
    await _swap(house, sub, with_state(state, sent=now), was)
    await counted(house, sub)  # it says how far it is, with all that waits
    state, was = await state_of(house, sub.id)
    return await _without_event(house, http, sub, state, was, "handshake")


async def _without_event(house: House, http: httpx2.AsyncClient, sub: Subscription, state: State, was: bytes | None, kind: str) -> bool:
    """A handshake or a heartbeat; whether it was taken."""
    try:
        await _post(house, http, sub, state, kind, state.number)
    except Undelivered as wrong:
        await _failed(house, sub, state, was, wrong)
        return False
    await _swap(house, sub, _well(state, house), was)
    return True


async def _notified(house: House, http: httpx2.AsyncClient, sub: Subscription, reader: Context, entries: Sequence[Queued]) -> bool:
    """Those of these events that may be told now, in one notification."""
    state, going, fresh = await _numbered(house, sub, reader, entries)
    if not going:
        await _nothing_left(house, sub)
        return True
    events = sorted((_event(house, state, g) for g in going), key=lambda e: e.number)
    try:
        await _post(house, http, sub, state, "event-notification", events[-1].number, events)
    except Undelivered as wrong:
        await _undelivered(house, sub, going, fresh, wrong)
        return False
    for _ in range(RACES):
        state, was = await state_of(house, sub.id)
        done = {str(e.entry) for e, _, _ in going}
        left = with_state(state, given={k: n for k, n in state.given.items() if k not in done}, noted=state.noted - done)
        try:
            await house.store.commit(*(Close(e.entry, e.fence, "sent") for e, _, _ in going), *keep_state(sub.id, _well(left, house), was, house.clock()))
            return True
        except Taken:
            continue
    return False


async def _nothing_left(house: House, sub: Subscription) -> None:
    """Whatever had not been taken may not be told any more: nobody knows that the endpoint is still away, so a later failure is counted anew."""
    state, was = await state_of(house, sub.id)
    if state.failing is None or any([await house.store.outbox_items(sub.queue, s, 1) for s in ("queued", "leased")]):
        return
    trouble = state.trouble if state.status == "error" else ""
    await _swap(house, sub, with_state(state, failures=0, failing=None, due=None, trouble=trouble), was)


async def _numbered(house: House, sub: Subscription, reader: Context, entries: Sequence[Queued]) -> tuple[State, list[Going], list[int]]:
    """Each entry is asked about now; what may go has a number and is written down, what may not is closed. Once more when a consent
    or another worker came between. The last of the answer: numbers that no try before this one had."""
    for _ in range(RACES):
        state, was = await state_of(house, sub.id)
        number, given, noted, first = state.number, dict(state.given), set(state.noted), state.number + 1
        ops: list[Op] = []
        going: list[Going] = []
        epochs: dict[str, int] = {}
        for e in entries:
            stored = await house.store.get(e.ref)
            for p in stored.facts.patients if stored is not None else ():
                epochs.setdefault(p, await house.store.epoch(p))
            decision = await may_be_told(reader, sub, e.ref, stored, epochs)
            if stored is None or not decision.permit:
                given.pop(str(e.entry), None)
                noted.discard(str(e.entry))
                ops.append(Close(e.entry, e.fence, "withheld", decision.basis or decision.rule))
                continue
            if str(e.entry) not in given:
                number += 1
                given[str(e.entry)] = number
                ops.append(numbered(sub, number, e.ref, e.patient, method_of(e.version, stored), e.queued_at, e.entry, house.clock()))
            if str(e.entry) not in noted:
                noted.add(str(e.entry))
                ops += (note(reader, "R", "notify", decision, (str(e.ref),), patient=p, detail=f"by Subscription/{sub.id}") for p in stored.facts.patients)
            going.append((e, stored, decision))
        state = with_state(state, number=number, given=given, noted=frozenset(noted))
        try:
            await house.store.commit(*ops, *(Expect(p, n) for p, n in epochs.items()), *keep_state(sub.id, state, was, house.clock()))
        except (Taken, Moved):
            continue
        return state, going, list(range(first, number + 1))
    return state, [], []


def _event(house: House, state: State, going: Going) -> Event:
    e, stored, _ = going
    return Event(state.given[str(e.entry)], e.queued_at, str(e.ref), method_of(e.version, stored))


async def _undelivered(house: House, sub: Subscription, going: Sequence[Going], fresh: Sequence[int], wrong: Undelivered) -> None:
    """The entries wait. A number that nobody can have seen is given back, where it is the last."""
    for _ in range(RACES):
        state, was = await state_of(house, sub.id)
        ops: list[Op] = []
        if not wrong.arrived and fresh and fresh[-1] == state.number and fresh[0] > state.spoken:
            ops = [Drop(EVENT, event_key(sub.id, n)) for n in fresh]
            state = with_state(state, number=fresh[0] - 1, given={k: n for k, n in state.given.items() if n < fresh[0]})
        later = _worse(house, state, wrong)
        try:  # the Subscription has the next moment: a new handshake that is answered lets them go at once
            await house.store.commit(*(Delay(e.entry, e.fence, house.clock(), wrong.trouble) for e, _, _ in going), *ops, *keep_state(sub.id, later, was, house.clock()))
            return
        except Taken:
            continue


def _well(state: State, house: House) -> State:
    return with_state(state, status="active", failures=0, failing=None, due=None, trouble="", sent=house.clock(), shaken=True, begun=True)


def _worse(house: House, state: State, wrong: Undelivered) -> State:
    """Later, with growing waits; `error` at once by a handshake, by anything else after a day. From then on it is tried each hour, and is `off`
    after a week."""
    now, since = house.clock(), state.failing or house.clock()
    late = now >= since + ERROR_AFTER
    status = "off" if now >= since + OFF_AFTER else "error" if late or not state.shaken else state.status
    wait = WHEN_IN_ERROR if late else min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(state.failures, 10))
    due = now + timedelta(seconds=wait * (0.75 + house.chance() / 2))
    return with_state(state, status=status, failures=state.failures + 1, failing=since, due=due, trouble=wrong.trouble)


async def _failed(house: House, sub: Subscription, state: State, was: bytes | None, wrong: Undelivered) -> None:
    log.info("subscriber-away", subscription=sub.id, place=sub.place, trouble=wrong.trouble, failures=state.failures + 1)
    await _swap(house, sub, _worse(house, state, wrong), was)


async def _swap(house: House, sub: Subscription, new: State, was: bytes | None) -> None:
    """Taken where somebody else moved it."""
    await house.store.commit(*keep_state(sub.id, new, was, house.clock()))


async def _post(
    house: House, http: httpx2.AsyncClient, sub: Subscription, state: State, kind: str, number: int, events: Sequence[Event] = ()
) -> None:  # fmt: skip
    """One POST to the endpoint, nothing read of the answer but its status. Undelivered."""
    address, here = f"{house.base_url}/Subscription/{sub.id}", house.clock()
    body, sent = b"", dict(unsealed(house, sub) or ())
    if not sub.plain:
        first = topics.status(address, False, "requested" if kind == "handshake" else state.status, kind, number, events, house.base_url, sub.content)
        body = strict.dump(topics.notification(house.new_id(), first, address, here, events, house.base_url, sub.content))
        sent["content-type"] = sub.media
    try:
        async with asyncio.timeout(sub.timeout), http.stream("POST", sub.endpoint, content=body, headers=sent) as answer:
            status = answer.status_code
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol, httpx2.InvalidURL):
        raise Undelivered("cannot be reached", arrived=False) from None
    except (TimeoutError, httpx2.TimeoutException):
        raise Undelivered("did not answer in time", arrived=True) from None
    except (httpx2.HTTPError, OSError):
        raise Undelivered("the connection broke off", arrived=True) from None
    if not 200 <= status < 300:
        raise Undelivered(f"it answered {status}", arrived=True)


__all__ = ["client", "once", "one", "run"]
