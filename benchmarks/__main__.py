"""Starts every contender, loads the same records, visits them in short interleaved slices with wrk, prints and keeps a page.

Figures: CPU milliseconds per request of the server's whole process tree (its database included), medians over the rounds.
Needs `wrk` (Debian). Contenders that cannot be had are named as absent, never estimated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "results.md"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Contender:
    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    figures: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def tree(pid: int) -> list[int]:
    out = [pid]
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for p in child.read_text().split():
            out += tree(int(p))
    return out


def cpu(pid: int) -> float:
    """Seconds of CPU this process tree has used."""
    total = 0
    for p in tree(pid):
        try:
            fields = Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def resident(pid: int) -> float:
    """MiB resident of this process tree."""
    pages = 0
    for p in tree(pid):
        pages += int(Path(f"/proc/{p}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def slice_of(c: Contender, seconds: float, connections: int) -> None:
    before = cpu(c.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", c.url]
    for k, v in c.headers.items():
        command += ["-H", f"{k}: {v}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", done).group(1))  # type: ignore[union-attr]
    if "Non-2xx" in done:
        raise SystemExit(f"{c.name} answered with errors: {done}")
    c.figures.append((cpu(c.pid) - before) * 1000 / requests)
    c.rates.append(requests / seconds)


def start(args: list[str], env: dict[str, str], url: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(args, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    for _ in range(600):
        try:
            if httpx2.get(url, timeout=1).status_code < 500:
                return process
        except httpx2.HTTPError:
            pass
        if process.poll() is not None:
            raise SystemExit(f"{args} ended with {process.returncode}")
        time.sleep(0.05)
    raise SystemExit(f"{args} does not answer")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--seconds", type=float, default=3)
    ask.add_argument("--connections", type=int, default=16)
    ask.add_argument("--people", type=int, default=250)
    given = ask.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not here: on Debian, apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        run(given, Path(folder))


def run(given: argparse.Namespace, folder: Path) -> None:
    port = 18080
    env = {"GATEWAY_DATA": str(folder / "data"), "GATEWAY_PORT": str(port), "GATEWAY_LOG_LEVEL": "error"}
    python = sys.executable
    began = time.monotonic()
    gateway = start([python, "-m", "fhir_gateway", "serve", "--demo"], env, f"http://127.0.0.1:{port}/health")
    while httpx2.get(f"http://127.0.0.1:{port}/health").status_code != 200:
        time.sleep(0.02)
    first = time.monotonic() - began
    processes = [gateway]
    try:
        base = f"http://127.0.0.1:{port}/fhir"
        people(folder, env, given.people)
        me, gp = token(env, "patient"), token(env, "gp")
        found = httpx2.get(f"{base}/CarePlan?patient={me['patient']}&category=2181441000000107", headers=bearer(gp)).json()
        plan = found["entry"][0]["resource"]
        size = len(httpx2.get(f"{base}/CarePlan/{plan['id']}", headers=bearer(me)).content)
        processes.append(start([python, "-m", "uvicorn", "benchmarks.bare:app", "--port", "18081", "--log-level", "error", "--no-access-log"],
                               {"BENCH_BYTES": str(size)}, "http://127.0.0.1:18081/"))  # fmt: skip
        contenders = [
            Contender("bare uvicorn, same number of bytes", "http://127.0.0.1:18081/", pid=processes[1].pid),
            Contender("gateway: read, the person's bytes", f"{base}/CarePlan/{plan['id']}", bearer(me), gateway.pid),
            Contender("gateway: read, the GP's filtered view", f"{base}/CarePlan/{plan['id']}", bearer(gp), gateway.pid),
            Contender("gateway: search by patient", f"{base}/CarePlan?patient={me['patient']}", bearer(gp), gateway.pid),
            Contender("gateway: search + `_include=CarePlan:goal`",
                      f"{base}/CarePlan?patient={me['patient']}&category=2181441000000107&_include=CarePlan:goal", bearer(gp), gateway.pid),
        ]  # fmt: skip
        absent = []
        peer = fhirstarter(python, plan, processes)
        if peer is None:
            absent.append("fhirstarter (pip install fhirstarter into a virtual environment named in BENCH_FHIRSTARTER)")
        else:
            contenders.append(peer)
        for _ in range(given.rounds):
            for c in contenders:
                slice_of(c, given.seconds, given.connections)
        page(given, contenders, absent, size, first, resident(gateway.pid))
    finally:
        for process in processes:
            process.terminate()
            process.wait(15)


def fhirstarter(python: str, plan: dict[str, Any], processes: list[subprocess.Popen[bytes]]) -> Contender | None:
    other = os.environ.get("BENCH_FHIRSTARTER", "")
    if not other:
        return None
    process = start([other, "-m", "uvicorn", "benchmarks.peer_fhirstarter:app", "--port", "18082", "--log-level", "error", "--no-access-log"],
                    {"BENCH_PLAN": json.dumps(plan), "FHIR_SEQUENCE": "R4B"}, f"http://127.0.0.1:18082/CarePlan/{plan['id']}")  # fmt: skip
    processes.append(process)
    return Contender("fhirstarter: read (no storage, sign-in, consent, audit)", f"http://127.0.0.1:18082/CarePlan/{plan['id']}", pid=process.pid)


def people(folder: Path, env: dict[str, str], n: int) -> None:
    """About eight resources for each of n invented people, brought in like anybody's."""
    files = []
    for i in range(n):
        plan = {
            "plan": "1", "id": f"bench-{i}", "title": "A plan", "status": "active",
            "person": {"id": f"p{i}", "name": {"given": ["Bench"], "family": f"Person{i}"}, "birth_date": "1950-01-01"},
            "needs": [{"id": "n1", "text": "Something"}], "goals": [{"id": f"g{j}", "text": f"Goal {j}", "needs": ["n1"], "status": "planned"} for j in range(3)],
            "actions": [{"id": "a1", "text": "Do it", "goals": ["g0"], "who": "person", "status": "planned"}],
        }  # fmt: skip
        file = folder / f"bench-{i}.json"
        file.write_text(json.dumps(plan))
        files.append(str(file))
    subprocess.run([sys.executable, "-m", "fhir_gateway", "import", *files, "--json"], env={**os.environ, **env}, check=True, capture_output=True, cwd=ROOT)


def token(env: dict[str, str], who: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "fhir_gateway", "token", "--as", who, "--json"], env={**os.environ, **env}, check=True, capture_output=True, cwd=ROOT
    )
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['token']}"}


def page(given: argparse.Namespace, contenders: list[Contender], absent: list[str], size: int, first: float, memory: float) -> None:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    lines = [
        "# Benchmark",
        "",
        f"Made by `make bench` (`python -m benchmarks --rounds {given.rounds} --seconds {given.seconds:g} --connections {given.connections} "
        f"--people {given.people}`) on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {model}, Python {platform.python_version()}.",
        f"Dataset: the demo and {given.people} more people; the CarePlan read has {size} bytes. Token, scope, consent, audit in the commit "
        "(synchronous=FULL, before the answer) are on for every gateway figure. Contenders are visited round-robin in one run.",
        "",
        "| | CPU ms per request, median | min - max | requests a second, median |",
        "|---|---|---|---|",
    ]
    for c in contenders:
        lines.append(
            f"| {c.name} | {statistics.median(c.figures):.3f} | {min(c.figures):.3f} - {max(c.figures):.3f} | {statistics.median(c.rates):,.0f} |"
        )
    lines += ["", f"Start to first answer, demo data included: {first:.1f} s. Resident after the run: {memory:.0f} MiB."]
    lines += [f"Absent in this run: {a}." for a in absent]
    PAGE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
