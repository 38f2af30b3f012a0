"""Asks at a given pace, whatever becomes of what was asked before: an open loop, in a process of its own, that says how late it was itself.

`python -m benchmarks.asking` reads one JSON object on standard input and writes one on standard output. A request's time counts from when
it was due, so that a queue anywhere counts, this process's own too; how late each one left is told apart (`late`), and how much of a core
this process used. Where either is much, it was the asker that was measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).resolve().parent.parent
ENDED, UNSENT = 0, -1  # in place of a status: the connection ended without an answer; no connection was free
DRAIN = 30.0  # seconds that the last answers may take


@dataclass
class Plan:
    """`rate`: requests a second, or 0: each connection asks again when it is answered. `shares`: how often each request is picked."""

    port: int
    requests: list[str]
    shares: list[float]
    connections: int
    rate: float
    seconds: float
    seed: int = 1


@dataclass
class Seen:
    """Milliseconds from due to answered by status; refusals (429, 503) that do not say when to come again; milliseconds from due to sent."""

    by: dict[int, list[float]] = field(default_factory=dict)
    silent: int = 0
    late: list[float] = field(default_factory=list)
    used: float = 0.0  # of one core
    seconds: float = 0.0

    @property
    def answered(self) -> list[float]:
        return sorted(ms for status, of in self.by.items() if 200 <= status < 300 for ms in of)

    @property
    def refused(self) -> list[float]:
        return sorted(ms for status in (429, 503) for ms in self.by.get(status, ()))

    @property
    def count(self) -> int:
        return sum(len(of) for of in self.by.values())


class Line(asyncio.Protocol):
    """A connection kept open, one request at a time."""

    transport: asyncio.Transport

    def __init__(self, asker: Asker) -> None:
        self.asker, self.due, self.got, self.missing, self.head = asker, 0.0, b"", -1, b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def ask(self, request: bytes, due: float) -> None:
        self.due, self.missing, self.got = due, -1, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.got += data
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = self.got[:end].lower() + b"\r\n"
            length = self.head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            self.missing = int(length) - (len(self.got) - end - 4)
        else:
            self.missing -= len(data)
        if self.missing <= 0:
            self.asker.told(self, int(self.head[9:12]), b"\r\nretry-after: " in self.head)
            if b"\r\nconnection: close" in self.head:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.asker.lost(self)


class Asker:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.seen, self.idle, self.busy = plan, Seen(), deque[Line](), set[Line]()
        self.requests = [r.encode() for r in plan.requests]
        self.dice, self.end, self.quiet, self.opening = random.Random(plan.seed), 0.0, asyncio.Event(), set[asyncio.Task[None]]()

    async def run(self) -> Seen:
        for _ in range(0, self.plan.connections, 20):
            await asyncio.gather(*(self.open() for _ in range(min(20, self.plan.connections - len(self.idle)))))
        used, start = time.process_time(), time.monotonic()
        self.end = start + self.plan.seconds
        await (self.at_a_pace(start) if self.plan.rate else self.in_a_round(start))
        self.seen.seconds = time.monotonic() - start
        self.seen.used = (time.process_time() - used) / self.seen.seconds
        if self.busy:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.quiet.wait(), DRAIN)
        for line in list(self.busy):
            self.seen.by.setdefault(ENDED, []).append((time.monotonic() - line.due) * 1000)
        return self.seen

    async def open(self) -> None:
        _, line = await asyncio.get_running_loop().create_connection(lambda: Line(self), "127.0.0.1", self.plan.port)
        self.idle.append(line)

    async def at_a_pace(self, start: float) -> None:
        sent = 0
        while (now := time.monotonic()) < self.end:
            while (due := start + sent / self.plan.rate) <= now:
                sent += 1
                self.send(due)
            await asyncio.sleep(0.001)

    async def in_a_round(self, start: float) -> None:
        while self.idle:
            self.send(start)
        await asyncio.sleep(self.plan.seconds)

    def send(self, due: float) -> None:
        if not self.idle:
            self.seen.by.setdefault(UNSENT, []).append(0.0)
            return
        line = self.idle.popleft()
        self.busy.add(line)
        line.ask(self.dice.choices(self.requests, self.plan.shares)[0], due)
        self.seen.late.append((time.monotonic() - due) * 1000)

    def told(self, line: Line, status: int, when: bool) -> None:
        now = time.monotonic()
        self.busy.discard(line)
        self.seen.by.setdefault(status, []).append((now - line.due) * 1000)
        self.seen.silent += status in (429, 503) and not when
        self.idle.append(line)
        if not self.plan.rate and now < self.end:
            self.send(now)
        self.rest(now)

    def lost(self, line: Line) -> None:
        if line in self.busy:
            self.busy.discard(line)
            self.seen.by.setdefault(ENDED, []).append((time.monotonic() - line.due) * 1000)
        if line in self.idle:
            self.idle.remove(line)
        if time.monotonic() < self.end:
            task = asyncio.ensure_future(self.open())
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)
        self.rest(time.monotonic())

    def rest(self, now: float) -> None:
        if not self.busy and now >= self.end:
            self.quiet.set()


def ask(plan: Plan) -> Seen:
    """What was seen by an asker in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.asking"], input=json.dumps(asdict(plan)), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    said: dict[str, Any] = json.loads(done.stdout)
    return Seen({int(status): of for status, of in said.pop("by").items()}, **said)


if __name__ == "__main__":
    json.dump(asdict(uvloop.run(Asker(Plan(**json.load(sys.stdin))).run())), sys.stdout)
