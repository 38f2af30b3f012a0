"""Five times as many requests as can be answered: how long the answered ones take, what the others hear, how much memory it costs.

`python -m benchmarks.overload`: the gateway with its demo people, two hundred more in the caseload of their hospital, and default limits. Three
people ask for everything about a person, search in a record and in the caseload, and write. First sixteen at a time, as fast as it goes, then a
flood: the more of what is answered of the two is its capacity. Then an open loop at a multiple of it (`asking`, a process of its own that says
how late it was itself). At last large bodies from many connections at once. Several rounds, because a machine is rarely quiet. Prints the figures and keeps them in `benchmarks/overload.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .asking import ENDED, UNSENT, Plan, Seen, ask
from .contenders import Run, bring_people, observation, token
from .measuring import cpu, resident

PAGE = Path(__file__).with_name("overload.md")
PEOPLE = ("gp", "hospital", "patient")
CASELOAD = 200  # people
OPEN = 400  # connections: fewer than the gateway lets one address have, which is not what is measured
PORT = 18080
LARGE = 4 * 1024 * 1024


def requests(tokens: dict[str, str], patient: str) -> tuple[list[str], list[float]]:
    """What people ask, and in which shares: mostly reading, a tenth of it in the whole caseload, a fourteenth of it writing."""
    asked: list[tuple[str, float]] = []
    for each in tokens.values():
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {each}\r\nAccept: application/fhir+json\r\n"
        for path, share in ((f"{patient}/$everything", 2.0), (f"CarePlan?patient={patient}&_include=CarePlan:goal", 1.0), (f"Goal?patient={patient}", 1.0)):
            asked.append((f"GET /fhir/{path} HTTP/1.1\r\n{head}\r\n", share))
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {tokens['hospital']}\r\n"
    asked.append((f"GET /fhir/Goal?_count=50 HTTP/1.1\r\n{head}\r\n", 1.5))
    body = json.dumps(observation(patient))
    asked.append((f"POST /fhir/Observation HTTP/1.1\r\n{head}Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n{body}", 1.0))
    return [text for text, _ in asked], [share for _, share in asked]


@dataclass
class Step:
    """What one step of a round showed: what was asked, the gateway's share of one core, its memory (MiB at most)."""

    seen: Seen
    used: float
    memory: float

    @property
    def rate(self) -> float:
        return len(self.seen.answered) / self.seen.seconds


def step(pid: int, plan: Plan) -> Step:
    """One step, with an eye on the gateway's process tree."""
    before, most = cpu(pid), 0.0
    with ThreadPoolExecutor(1) as beside:
        asking = beside.submit(ask, plan)
        while not asking.done():
            most = max(most, resident(pid))
            try:
                asking.result(0.1)
            except TimeoutError:
                continue
    seen = asking.result()
    return Step(seen, (cpu(pid) - before) / seen.seconds, most)


def percentile(of: list[float], share: float) -> float:
    return of[min(len(of) - 1, int(len(of) * share))] if of else float("nan")


def line(name: str, steps: list[Step]) -> str:
    """A row of the page: the median of the rounds, and for what matters most the worst of them."""

    def middle(of: Callable[[Step], float]) -> float:
        return statistics.median(of(s) for s in steps)

    statuses = Counter[int]()
    for s in steps:
        statuses.update({status: len(of) for status, of in s.seen.by.items()})
    names = {UNSENT: "not sent", ENDED: "ended"}
    told = ", ".join(f"{n:,} x {names.get(status, status)}" for status, n in sorted(statuses.items()))
    p99 = [percentile(s.seen.answered, 0.99) for s in steps]
    return (
        f"| {name} | {middle(lambda s: s.seen.count / s.seen.seconds):,.0f} | {middle(lambda s: s.rate):,.0f} | {middle(lambda s: percentile(s.seen.answered, 0.5)):.0f} "
        f"| {statistics.median(p99):.0f} ({max(p99):.0f}) | {middle(lambda s: percentile(s.seen.refused, 0.99)):.0f} | {told} "
        f"| {middle(lambda s: percentile(sorted(s.seen.late), 0.99)):.0f} | {middle(lambda s: s.used * 100):.0f} % | {max(s.memory for s in steps):.0f} |"
    )


def measure(run: Run, args: argparse.Namespace, say: Callable[[str], None]) -> None:
    env = {"GATEWAY_PORT": str(PORT), "GATEWAY_DATA": str(run.folder / "data"), "GATEWAY_LOG_LEVEL": "error"}
    pid = run.start("gateway", [sys.executable, "-m", "fhir_gateway", "serve", "--demo"], env, f"http://127.0.0.1:{PORT}/health")
    bring_people(run.folder, env, CASELOAD)
    said = {who: token(env, who) for who in PEOPLE}
    tokens = {who: of["token"] for who, of in said.items()}
    asked, shares = requests(tokens, "Patient/" + said["patient"]["patient"].removeprefix("Patient/"))
    calm, flood, after = list[Step](), list[Step](), list[Step]()
    loads = [os.getloadavg()[0]]
    for n in range(args.rounds):
        calm.append(step(pid, Plan(PORT, asked, shares, 16, 0, args.seconds, n)))
        pressed = step(pid, Plan(PORT, asked, shares, OPEN, calm[-1].rate * args.times, args.seconds, n))  # sixteen do not always ask for all it can do
        most = max(calm[-1].rate, pressed.rate)
        flood.append(step(pid, Plan(PORT, asked, shares, OPEN, most * args.times, args.seconds * 2, n)))
        after.append(step(pid, Plan(PORT, asked, shares, 16, 0, args.seconds, n)))
        loads.append(os.getloadavg()[0])
    body = '{"resourceType":"Goal","x":"' + "a" * LARGE + '"}'
    head = f"POST /fhir/Goal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens['hospital']}\r\nContent-Type: application/fhir+json\r\n"
    large = step(pid, Plan(PORT, [f"{head}Content-Length: {len(body)}\r\n\r\n{body}"], [1.0], args.bodies, 0, 0.5))
    say(f"Made by `python -m benchmarks.overload --seconds {args.seconds:g} --times {args.times:g} --rounds {args.rounds}` on {datetime.now(UTC):%Y-%m-%d}, "
        f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, load {min(loads):.1f} to {max(loads):.1f}; "
        f"figures are the median of {args.rounds} rounds (in brackets the worst).\n")
    say("| | asked a second | answered a second | p50 ms | p99 ms | p99 ms of 429 and 503 | told | sent late, p99 ms | of one core | MiB at most |")
    say("|---|---|---|---|---|---|---|---|---|---|")
    say(line("sixteen at a time, as fast as it goes", calm))
    say(line(f"{args.times:g} times the most it answers, an open loop", flood))
    say(line("sixteen at a time, straight after", after))
    say(line(f"{args.bodies} bodies of 4 MiB at once, none of them valid", [large]))
    verdict(calm, flood, after, say)


BOUND = 1_000.0  # milliseconds
WORDS = """
A request's time counts from when it was due. *Not sent*: no connection of the asker's was free, all of them waited for the gateway; no answer at all, so
a failing. *Sent late*: how long after it was due a request left, the asker's own delay; it is in the times as well. *Of one core*: what the gateway got, which on a busy
machine is less than it wants; times grow as that falls, so they are to be read beside those of sixteen at a time in the same run.
"""


def verdict(calm: list[Step], flood: list[Step], after: list[Step], say: Callable[[str], None]) -> None:
    """What was asked for, and whether it held in each of the rounds."""
    kept = statistics.median(f.rate / c.rate for f, c in zip(flood, calm, strict=True))
    again = statistics.median(a.rate / c.rate for a, c in zip(after, calm, strict=True))
    good = sum(percentile(f.seen.answered, 0.99) < BOUND for f in flood)
    other = sum(len(of) for f in flood for status, of in f.seen.by.items() if status not in (200, 201, 429, 503, UNSENT))
    unsent = sum(len(f.seen.by.get(UNSENT, ())) for f in flood) / sum(f.seen.count for f in flood)
    asker = statistics.median(f.seen.used for f in flood)
    say(WORDS)
    say(f"- p99 of those answered under a second in the flood: in {good} of {len(flood)} rounds.")
    say(f"- Told anything but an answer, 429 or 503: {other}; told so without Retry-After: {sum(f.seen.silent for f in flood)}; not sent: {unsent * 100:.1f} %.")
    say(f"- Answered a second in the flood: {kept * 100:.0f} % of before it; straight after: {again * 100:.0f} %.")
    say(f"- The asker used {asker * 100:.0f} % of one core in the flood.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--times", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bodies", type=int, default=200)
    args = parser.parse_args()
    said = ["# Overload\n"]

    def say(text: str) -> None:
        print(text, flush=True)
        said.append(text)

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            measure(run, args, say)
        finally:
            run.stop()
    PAGE.write_text("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
