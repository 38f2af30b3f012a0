"""Who is let in when many come at once: so many requests in hand, so many bytes of bodies, so fast by each client.

Whoever is turned away hears 429 or 503 with Retry-After before anything is read or looked up. Counted in this process alone: with
several processes each has its own share.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nlargest
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..domain.problem import Problem, outcome
from .line import Line

OPEN: Final = frozenset({"/health", "/metrics"})  # who watches over us must get through when nobody does
MOST_KNOWN: Final = 10_000  # clients whose pace is remembered
MB: Final = 1024 * 1024
TOO_MANY: Final = "This client has too many requests under way at once. Wait for their answers."
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency`: requests in hand; `wait_seconds`: how long one of them may stand in line before work on it begins; `rate`: requests a second of one client, in the long run (0: no limit); `bodies`: bytes of
    request bodies held at once; `body_seconds`: how long a body may pause, and six times that for the whole of it."""

    concurrency: int = 64
    wait_seconds: float = 0.25
    rate: float = 0.0
    bodies: int = 128 * MB
    body_seconds: float = 10.0
    burst_seconds: float = 10.0  # what may come at once: so many seconds' worth of `rate`
    strangers: float = 100.0  # failed attempts a second from one address, in the long run
    strangers_at_once: float = 2_000.0

    @property
    def share(self) -> int:
        """The most that one client may have in hand, so that others find a place."""
        return max(1, self.concurrency // 2)


def neighbourhood(address: str) -> str:
    """Whose address this is: an IPv4 address by itself, however it is written, and of IPv6 the /64 that one customer is given."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, IPv6Address) and known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((known, 64), strict=False)) if isinstance(known, IPv6Address) else str(known)


@dataclass(slots=True)
class Pace:
    """A token bucket for each client: `take` is None, or how many seconds it has to wait."""

    rate: float
    burst: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, key: str, now: float) -> float | None:
        if self.rate <= 0:
            return None
        left, at = self._left.pop(key, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.rate)
        wait = None if left >= 1 else (1 - left) / self.rate
        self._left[key] = (left - 1 if wait is None else left, now)
        if len(self._left) > MOST_KNOWN:
            self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """A tenth of them, those who have most of their burst: who asked often is remembered however many others come."""
        for key in nlargest(MOST_KNOWN // 10, self._left, key=lambda k: self._left[k][0] + (now - self._left[k][1]) * self.rate):
            del self._left[key]


class Admission:
    """Counts what is in hand. `front` puts it before an app; `client` is asked once somebody is known."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = lambda: asyncio.get_running_loop().time()) -> None:
        self.limits, self._clock = limits, clock
        self.pace = Pace(limits.rate, max(limits.rate * limits.burst_seconds, 1.0))
        self.attempts = Pace(limits.strangers, limits.strangers_at_once)
        self.line = Line(limits.wait_seconds, self._clock)
        self.in_hand = 0
        self.bodies = 0
        self.turned_away = 0
        self._of: dict[str, int] = {}
        self._unread: dict[bytes, int] = {}  # in hand, by token or cookie as they came: nobody has looked whose they are

    def client(self, state: dict[str, Any], key: str) -> None:
        """The request whose `state` this is comes from this client, and counts once, however often it is asked for.

        Problem throttled when it asks too fast, or for too much at once.
        """
        if state.get("client"):
            return
        self._paced(self.pace, key)
        if self._of.get(key, 0) >= self.limits.share:
            raise Problem("throttled", TOO_MANY, headers={"Retry-After": "1"})
        self._of[key] = self._of.get(key, 0) + 1
        state["client"] = key

    def stranger(self, address: str) -> None:
        """Somebody at this address could not say who they are. Problem throttled when that happens too often."""
        self._paced(self.attempts, neighbourhood(address))

    def _paced(self, pace: Pace, key: str) -> None:
        if (wait := pace.take(key, self._clock())) is not None:
            seconds = math.ceil(wait)
            text = f"These are more requests than one client may send. Wait {seconds} s, then go on."
            raise Problem("throttled", text, headers={"Retry-After": str(seconds)})

    def front(self, app: ASGIApp) -> ASGIApp:
        """The app, entered by no more than may be in hand."""

        async def enter(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in OPEN:
                await app(scope, receive, send)
                return
            if self.in_hand >= self.limits.concurrency:
                await self._away(scope, send)
                return
            shown = credentials(scope)
            if shown and self._unread.get(shown, 0) >= self.limits.share:
                await told(scope, send, MANY)
                return
            self.in_hand += 1
            self._unread[shown] = self._unread.get(shown, 0) + 1
            state = scope.setdefault("state", {})
            state["body"] = 0
            try:
                if await self.line.turn():
                    await app(scope, self._measured(state, receive), send)
                else:
                    await self._away(scope, send)
            finally:
                self.in_hand -= 1
                self.bodies -= state["body"]
                _less(self._unread, shown)
                if key := state.get("client"):
                    _less(self._of, key)

        return enter

    async def _away(self, scope: Scope, send: Send) -> None:
        self.turned_away += 1
        await told(scope, send, BUSY)

    def _measured(self, state: dict[str, Any], receive: Receive) -> Receive:
        """What is received is counted, and may not stop for long. Problem too-slow, unavailable."""
        end, whole = 0.0, False

        async def take() -> Message:
            nonlocal end, whole
            if whole:  # from now on only the visitor's leaving can come
                return await receive()
            now = self._clock()
            end = end or now + 6 * self.limits.body_seconds
            try:
                async with asyncio.timeout(min(self.limits.body_seconds, max(end - now, 0.001))):
                    message = await receive()
            except TimeoutError:
                raise Problem("too-slow", "The body did not arrive in time. Send it again.", headers={"Connection": "close"}) from None
            whole = not message.get("more_body", False)
            part = len(message.get("body", b""))
            if part:
                state["body"] += part
                self.bodies += part
                if self.bodies > self.limits.bodies:
                    raise Problem("unavailable", "Too much is being sent here at once. Try again in a moment.", headers={"Retry-After": "1", "Connection": "close"})
            return message

        return take


def credentials(scope: Scope) -> bytes:
    """The bearer token or the cookies of a request, unread; empty for somebody who shows neither."""
    cookie = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
        if name == b"cookie":
            cookie = value
    return cookie


def _less(counts: dict[K, int], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said at the door, ready to be sent."""

    status: int
    for_programs: bytes
    for_people: bytes


def _ready(p: Problem) -> Answer:
    page = f'<!doctype html><html lang="en"><title>Please try again</title><h1>Please try again</h1><p>{p.text}</p></html>'
    return Answer(p.status, msgspec.json.encode(outcome(p.issues)), page.encode())


BUSY: Final = _ready(Problem("unavailable", "Many people are using this service at once. Try again in a moment."))
MANY: Final = _ready(Problem("throttled", TOO_MANY))


async def told(scope: Scope, send: Send, answer: Answer) -> None:
    """`answer`, as cheaply as can be."""
    page = any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
    body, media = (answer.for_people, b"text/html; charset=utf-8") if page else (answer.for_programs, b"application/fhir+json; charset=utf-8")
    headers = [
        (b"content-type", media), (b"content-length", str(len(body)).encode()), (b"retry-after", b"1"),
        (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"default-src 'none'"),
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
