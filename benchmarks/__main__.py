"""Starts every contender, loads the same records, visits them in short interleaved slices with wrk, prints and keeps a page.

Figures: CPU milliseconds per request of the server's whole process tree (its database included), medians over the rounds.
Needs `wrk` (Debian). Contenders that cannot be had are named as absent, never estimated.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from . import contenders
from .contenders import ROOT, Run
from .measuring import visit

PAGE = ROOT / "benchmarks" / "results.md"
COLUMNS = {
    "read": "read", "view": "read, filtered view", "search": "search by patient (8 plans)", "include": "+ category + `_include=CarePlan:goal`",
    "create": "create", "transaction": "transaction of 20",
}  # fmt: skip
BUDGET = {"read": 0.35, "view": 0.35, "search": 0.70, "include": 0.90, "create": 1.5, "transaction": 15.0}
TIMES_HAPI = {"read": 6, "search": 15, "include": 12, "create": 6, "transaction": 5}  # performance.md: the gateway takes at most one of so many parts


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--seconds", type=float, default=3)
    ask.add_argument("--connections", type=int, default=16)
    ask.add_argument("--people", type=int, default=250)
    ask.add_argument("--alone", action="store_true", help="the gateway and bare uvicorn only; prints, keeps no page")
    given = ask.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not here: on Debian, apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            measure(run, given)
        finally:
            run.stop()
        text = page(run, given)
    print(text)
    if not given.alone:
        PAGE.write_text(text)


def measure(run: Run, given: argparse.Namespace) -> None:
    patient, found, beside = contenders.gateway(run, given.people)
    run.resources = len(found) + len(beside)
    contenders.bare(run, 3500)
    if not given.alone:
        contenders.fhirstarter(run, patient, found)
        contenders.hapi(run, patient, found, beside)
        run.absent.append("Medplum (its server needs PostgreSQL and Redis and a build of its own; performance.md has its figures of another day)")
    for warm in run.tasks:
        visit(warm, min(given.seconds, 2), given.connections, run.folder)
        warm.figures.clear()
        warm.rates.clear()
    for n in range(given.rounds):
        print(f"round {n + 1} of {given.rounds}", file=sys.stderr)
        for task in run.tasks:
            visit(task, given.seconds, given.connections, run.folder)


def page(run: Run, given: argparse.Namespace) -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    lines = [
        "# Benchmark",
        "",
        f"Made by `make bench` (`python -m benchmarks --rounds {given.rounds} --seconds {given.seconds:g} --connections {given.connections} "
        f"--people {given.people}`) on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {model}, Python {platform.python_version()}.",
        f"CPU milliseconds per request of the server's whole process tree, medians of {given.rounds} rounds after one to warm up; every contender is "
        f"visited round-robin in one run. Dataset: the demo and {given.people} more people, {run.resources} resources, the same in HAPI; fhirstarter keeps "
        "nothing and answers from what was given to it. Token, scope, consent, audit in the commit "
        "(synchronous=FULL, before the answer) and full validation of writes are on for every gateway figure.",
        "",
        "| CPU ms a request | " + " | ".join(COLUMNS.values()) + " | MiB after the run |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    names = list(dict.fromkeys(t.contender for t in run.tasks))
    for name in names:
        by_kind = {t.kind: t for t in run.tasks if t.contender == name}
        cells = [f"{by_kind[k].median:.3g}" if k in by_kind else "" for k in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {run.memory.get(name, 0):.0f} |")
    lines.append("| budget | " + " | ".join(f"{BUDGET[k]:g}" for k in COLUMNS) + " | 150 |")
    lines += [*ratios(run), "", "The gateway's spread and rate:", "", "| | CPU ms, min - max | requests a second, median |", "|---|---|---|"]
    for t in (t for t in run.tasks if t.contender == "gateway"):
        lines.append(f"| {COLUMNS[t.kind]} | {min(t.figures):.3f} - {max(t.figures):.3f} | {sorted(t.rates)[len(t.rates) // 2]:,.0f} |")
    lines += ["", f"Start to first answer, demo data included: {run.first_answer:.1f} s."]
    lines += [f"Absent in this run: {a}." for a in run.absent]
    over = [f"{COLUMNS[t.kind]} {t.median:.3g} of {BUDGET[t.kind]:g} ms" for t in run.tasks if t.contender == "gateway" and t.median > BUDGET[t.kind]]
    hapi = {t.kind: t.median for t in run.tasks if t.contender.startswith("HAPI")}
    mine = {t.kind: t.median for t in run.tasks if t.contender == "gateway"}
    over += [f"{COLUMNS[k]} 1/{hapi[k] / mine[k]:.1f} of HAPI's, wanted 1/{n}" for k, n in TIMES_HAPI.items() if k in hapi and hapi[k] < n * mine[k]]
    if (held := run.memory.get("gateway", 0)) > 150:
        over.append(f"memory {held:.0f} of 150 MiB")
    lines += ["", f"Missed: {'; '.join(over)}. Why: [README](README.md)." if over else "Every figure is within its budget."]
    return "\n".join(lines) + "\n"


def ratios(run: Run) -> list[str]:
    """How often the gateway's CPU goes into each other contender's, in this run."""
    mine = {t.kind: t.median for t in run.tasks if t.contender == "gateway"}
    others = {t.contender for t in run.tasks} - {"gateway"}
    out = []
    for name in sorted(others):
        cells = {t.kind: f"{t.median / mine[t.kind]:.1f}x" for t in run.tasks if t.contender == name}
        out.append(f"| {name}, as a multiple of the gateway | " + " | ".join(cells.get(k, "") for k in COLUMNS) + " | |")
    return out


if __name__ == "__main__":
    main()
