"""The lines between the servers, and what goes wrong on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import httpx2

from fhir_gateway.domain import strict
from fhir_gateway.sync.links import began_there

from ..faults.invariants import here_of
from ..faults.scripted import There
from .town import PEOPLE, Process, Town

if TYPE_CHECKING:
    from .story import Story

Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[[httpx2.Request, bytes], Awaitable[Answer]]

# How likely each is, of a hundred requests.
WEATHER = {
    "good": {},
    "bad": {"lost": 5, "unanswered": 8, "5xx": 6, "5xx applied": 4, "slow": 6, "twice": 5, "garbled": 4, "429": 2, "dies": 1},
    "unanswered": {"unanswered": 40, "lost": 10},
    "twice": {"twice": 40},
    "slow": {"slow": 60},
    "busy": {"429": 30, "503": 20},
    "away": {"unreachable": 100},
    "locked": {"401": 100},
}  # fmt: skip
RETRY = ("2", "120", "-5", "1000000000", "soon", "date")


def of_hub(there: There) -> Ask:
    async def ask(request: httpx2.Request, raw: bytes) -> Answer:
        answer = there.answer(there.arrived(request.method, str(request.url), dict(request.headers), raw))
        return answer.status, dict(answer.headers), answer.body

    return ask


def of_gateway(app: Any) -> Ask:
    straight = httpx2.ASGITransport(app)

    async def ask(request: httpx2.Request, raw: bytes) -> Answer:
        headers = {k: v for k, v in request.headers.items() if k not in ("content-length", "transfer-encoding")}
        answer = await straight.handle_async_request(httpx2.Request(request.method, request.url, headers=headers, content=raw))
        await answer.aread()
        kept = {k: v for k, v in answer.headers.items() if k not in ("content-length", "transfer-encoding", "content-encoding")}
        return answer.status_code, kept, answer.content

    return ask


class Line(httpx2.AsyncBaseTransport):
    """From a process of `town` to the server called `name`."""

    def __init__(self, story: Story, town: Town, process: Process, name: str, ask: Ask) -> None:
        self.story, self.town, self.process, self.name, self.ask = story, town, process, name, ask

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.process.alive()
        raw = await request.aread()
        story, what = self.story, f"{request.method} {request.url.raw_path.decode().partition('?')[0]}"
        ref = await self._carries(request, raw)
        if ref:
            story.begun[self.town.name, self.name].append((story.exactly(), ref))
        fault = story.draw(self.name)
        try:
            status, headers, body = await self._answered(request, raw, fault)
        except httpx2.TransportError as e:
            story.say(f"{self.process.name} -> {self.name} {what} {ref} [{fault}] {type(e).__name__}")
            raise
        story.say(f"{self.process.name} -> {self.name} {what} {ref} [{fault}] {status}")
        self.process.alive()
        return httpx2.Response(status, headers=headers, content=body, request=request)

    async def _carries(self, request: httpx2.Request, raw: bytes) -> str:
        """Of whom or what it tells them, by our name: a record of ours, who has an NHS number, that a record of theirs was deleted here."""
        if request.method == "GET" or request.url.path.endswith("_search"):
            said = f"{request.url} {raw.decode()}"
            return next((self.town.names[who] for who, (number, _) in PEOPLE.items() if number in said), "")
        if request.method == "DELETE":
            link = await self.town.store.link_by_remote(self.name, "/".join(request.url.path.split("/")[-2:]))
            return str(link.ref) if link is not None and began_there(link) else ""
        if request.method not in ("POST", "PUT"):
            return ""
        return here_of(self.town.house, strict.read(raw))

    async def _answered(self, request: httpx2.Request, raw: bytes, fault: str) -> Answer:
        r = self.story.random
        if fault == "unreachable":
            raise httpx2.ConnectError("unreachable", request=request)
        await asyncio.sleep(r.random() * 0.05)
        if fault in ("5xx", "429", "503", "401"):
            return self._refused(fault)
        if fault == "lost":
            raise httpx2.ReadError("lost on the way there", request=request)
        if fault == "slow":  # it arrives and is done whether or not anybody waits
            return await asyncio.shield(self.story.beside(self._late(request, raw, r.uniform(1, 55))))
        if fault == "twice" and not self._makes_two(request):
            first = await self._done(request, raw)
            return await self._done(request, raw) if r.random() < 0.5 else (await self._done(request, raw), first)[1]
        if fault == "dies" and r.random() < 0.5:
            self.process.die()
            self.process.alive()
        status, headers, body = await self._done(request, raw)
        if fault == "dies":
            self.process.die()
            self.process.alive()
        await asyncio.sleep(r.random() * 0.05)
        if fault == "unanswered":
            raise httpx2.ReadError("lost on the way back", request=request)
        if fault == "5xx applied":
            return r.choice((500, 502, 503, 504)), {}, b""
        if fault == "garbled":
            return status, headers, body[: len(body) // 2]
        return status, headers, body

    def _makes_two(self, request: httpx2.Request) -> bool:
        """A server without conditional create keeps both of a POST that the network doubles, whoever sent it."""
        return self.name == "hub" and request.method == "POST" and not self.story.habits.conditional_create

    async def _done(self, request: httpx2.Request, raw: bytes) -> Answer:
        return await asyncio.shield(self.story.beside(self.ask(request, raw)))

    async def _late(self, request: httpx2.Request, raw: bytes, seconds: float) -> Answer:
        await asyncio.sleep(seconds)
        return await self.ask(request, raw)

    def _refused(self, fault: str) -> Answer:
        r = self.story.random
        status = {"5xx": r.choice((500, 502, 503)), "429": 429, "503": 503, "401": 401}[fault]
        retry = r.choice(RETRY) if fault in ("429", "503") else ""
        if retry == "date":
            retry = format_datetime(self.story.now() + timedelta(seconds=30), usegmt=True)
        return status, {"Retry-After": retry} if retry else {}, b""
