"""Five times as many requests as can be answered: how long the answered ones take, what the others hear, how much memory it costs.

`python -m benchmarks.overload`: the gateway with its demo people and default limits, asked by three people for everything in a plan,
for searches, and to add to it. First as fast as it will go, sixteen at a time: that is its capacity. Then an open loop at a multiple
of it: requests leave when they are due, whether or not earlier ones are answered, and their time counts from then. At last large
bodies from many connections at once. Prints the figures and keeps them in `benchmarks/overload.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .contenders import Run, observation
from .measuring import cpu, resident

PAGE = Path(__file__).with_name("overload.md")
PEOPLE = ("gp", "hospital", "patient")
MOST_OPEN = 400  # connections: fewer than the gateway's limit, which is not what is measured
PORT = 18080
LARGE = 4 * 1024 * 1024


@dataclass
class Seen:
    """Seconds from when each request was due until its answer was whole, by status; 0 for a connection that ended without."""

    by: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.by.setdefault(status, []).append(seconds)

    @property
    def served(self) -> list[float]:
        return sorted(s for status, of in self.by.items() if status in (200, 201) for s in of)

    @property
    def count(self) -> int:
        return sum(len(of) for of in self.by.values())


class Line:
    """A connection kept open, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> int:
        """The status, once the whole answer is here. ConnectionError when it ends before."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0]
        await self.reader.readexactly(int(length or 0))
        if b"connection: close" in head.lower():
            self.writer.close()
        return status


class Lines:
    """Open connections to one port, used again."""

    def __init__(self, port: int) -> None:
        self.port, self.idle, self.open = port, list[Line](), 0

    async def warm(self, count: int) -> None:
        """Open them beforehand: how long a full queue of the kernel keeps a new connection waiting is not what is measured."""
        while self.open < count:
            for reader, writer in await asyncio.gather(*(asyncio.open_connection("127.0.0.1", self.port, limit=2**24) for _ in range(20))):
                self.idle.append(Line(reader, writer))
                self.open += 1

    async def ask(self, request: bytes, seen: Seen, due: float) -> None:
        line: Line | None = None
        status = 0
        try:
            if self.idle:
                line = self.idle.pop(0)
            else:
                self.open += 1
                line = Line(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**24))
            status = await line.ask(request)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        seen.add(status, time.monotonic() - due)
        if status and line is not None and not line.writer.is_closing():
            self.idle.append(line)
        else:
            self.open -= 1
            if line is not None:
                line.writer.close()


def requests(tokens: dict[str, str], patient: str) -> list[bytes]:
    """What people ask, in the shares in which they ask it: mostly reading."""
    body = json.dumps(observation(patient)).encode()
    asked = []
    for token in tokens.values():
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/fhir+json\r\n"
        for path in (f"{patient}/$everything", f"{patient}/$everything", f"CarePlan?patient={patient}&_include=CarePlan:goal", f"Goal?patient={patient}"):
            asked.append(f"GET /fhir/{path} HTTP/1.1\r\n{head}\r\n".encode())
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {tokens['hospital']}\r\nContent-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
    return [*asked, f"POST /fhir/Observation HTTP/1.1\r\n{head}\r\n".encode() + body]


async def capacity(lines: Lines, asked: list[bytes], seconds: float) -> tuple[float, Seen]:
    """Answers a second, sixteen at a time."""
    seen, end = Seen(), time.monotonic() + seconds
    dice = random.Random(1)

    async def one() -> None:
        while (now := time.monotonic()) < end:
            await lines.ask(dice.choice(asked), seen, now)

    await asyncio.gather(*(one() for _ in range(16)))
    return len(seen.served) / seconds, seen


async def flood(lines: Lines, asked: list[bytes], rate: float, seconds: float) -> Seen:
    """So many requests a second, whatever becomes of those before."""
    await lines.warm(400)
    seen, start, sent = Seen(), time.monotonic(), 0
    dice = random.Random(2)
    under_way: set[asyncio.Task[None]] = set()
    while (now := time.monotonic()) < start + seconds:
        while sent < (now - start) * rate:
            due = start + sent / rate
            sent += 1
            if not lines.idle and lines.open >= MOST_OPEN:
                seen.add(-1, 0.0)  # no connection left to send it on: said on the page
                continue
            task = asyncio.create_task(lines.ask(dice.choice(asked), seen, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.sleep(0.002)
    await asyncio.gather(*under_way)
    return seen


async def large_bodies(port: int, token: str, connections: int) -> Seen:
    """So many connections, each with a body of 4 MiB."""
    seen = Seen()
    body = b'{"resourceType":"Goal","x":"' + b"a" * LARGE + b'"}'
    head = f"POST /fhir/Goal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n"
    lines, request = Lines(port), head.encode() + body
    await asyncio.gather(*(lines.ask(request, seen, time.monotonic()) for _ in range(connections)))
    return seen


def percentile(of: list[float], share: float) -> float:
    return of[min(len(of) - 1, int(len(of) * share))] * 1000 if of else float("nan")


async def watched(pid: int, doing: Awaitable[Seen]) -> tuple[Seen, float]:
    """The result, and the most memory (MiB) the process had meanwhile."""
    most, done = 0.0, asyncio.ensure_future(doing)
    while not done.done():
        most = max(most, resident(pid))
        await asyncio.sleep(0.1)
    return await done, most


def line(name: str, seen: Seen, seconds: float, memory: float) -> str:
    statuses = Counter({status: len(of) for status, of in seen.by.items()})
    others = ", ".join(f"{n} x {'no connection' if status < 0 else status or 'ended'}" for status, n in sorted(statuses.items()) if status not in (200, 201))
    served = seen.served
    away = sorted(s for status, of in seen.by.items() if status in (429, 503) for s in of)
    return (
        f"| {name} | {seen.count / seconds:,.0f} | {len(served) / seconds:,.0f} | {percentile(served, 0.5):.0f} | {percentile(served, 0.99):.0f} | "
        f"{percentile(away, 0.99):.0f} | {others or 'none'} | {memory:.0f} |"
    )


def token(env: dict[str, str], who: str) -> dict[str, str]:
    command = [sys.executable, "-m", "fhir_gateway", "token", "--as", who, "--json"]
    said: dict[str, str] = json.loads(subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout)
    return said


async def measure(run: Run, args: argparse.Namespace, say: Callable[[str], None]) -> None:
    env = {"GATEWAY_PORT": str(PORT), "GATEWAY_DATA": str(run.folder / "data")}
    pid = run.start("gateway", [sys.executable, "-m", "fhir_gateway", "serve", "--demo"], env, f"http://127.0.0.1:{PORT}/health")
    people = {who: token(env, who) for who in PEOPLE}
    tokens = {who: said["token"] for who, said in people.items()}
    asked = requests(tokens, "Patient/" + people["patient"]["patient"].removeprefix("Patient/"))
    before = resident(pid)
    most, first = await capacity(Lines(PORT), asked, args.seconds)
    say(f"Made by `python -m benchmarks.overload --seconds {args.seconds:g} --times {args.times:g}` on {datetime.now(UTC):%Y-%m-%d}, "
        f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}; the machine is shared, and whoever asks runs on it too.\n")
    say("| | asked a second | answered a second | p50 ms | p99 ms | p99 ms of 429 and 503 | other answers | MiB at most |")
    say("|---|---|---|---|---|---|---|---|")
    say(line("sixteen at a time, as fast as it goes", first, args.seconds, before))
    used = cpu(pid)
    seen, memory = await watched(pid, flood(Lines(PORT), asked, most * args.times, args.seconds * 2))
    say(line(f"{args.times:g} times that, an open loop", seen, args.seconds * 2, memory))
    used = (cpu(pid) - used) / (args.seconds * 2)
    again, calm = await capacity(Lines(PORT), asked, args.seconds)
    say(line("sixteen at a time, straight after", calm, args.seconds, resident(pid)))
    start = time.monotonic()
    seen, memory = await watched(pid, large_bodies(PORT, tokens["hospital"], args.bodies))
    say(line(f"{args.bodies} bodies of 4 MiB at once, none of them valid", seen, time.monotonic() - start, memory))
    say(f"\nDuring the flood the gateway used {used * 100:.0f} % of one core. Answered a second straight after: {again / most * 100:.0f} % of before.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--times", type=float, default=5)
    parser.add_argument("--bodies", type=int, default=200)
    args = parser.parse_args()
    said = ["# Overload\n"]

    def say(text: str) -> None:
        print(text, flush=True)
        said.append(text)

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            asyncio.run(measure(run, args, say))
        finally:
            run.stop()
    PAGE.write_text("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
