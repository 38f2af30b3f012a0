"""How likely a run of fresh seeds has too few of what it counts on, though nothing is wrong: a false alarm.

    nice .venv/bin/python -m tests.differential.chances 1600

Worlds are asked, on SQLite, and the answers counted by world. Seeds have their turns (`worlds.TURNS`), so a run of `LONG` has a known
number of worlds of each; how much a world of one turn brings is taken as measured, but worlds that bring anything for as few as the
measured number still leaves likely (Clopper and Pearson's lower limit, one in a thousand). Their sum is exact.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from collections import Counter
from math import exp, lgamma, log
from pathlib import Path

from .comparing import Counted, case_of, differs
from .sides import SqliteShelf
from .test_differential import LONG, OFTEN
from .worlds import TURNS

DOUBT = 0.001
Share = dict[int, float]  # how much a world brings: how many of the worlds


async def measured(worlds: int, folder: Path) -> list[list[dict[str, int]]]:
    """For each place in TURNS what its worlds brought."""
    scratch = await SqliteShelf.open(folder / "scratch.sqlite")
    pair = await SqliteShelf.open(folder / "whole.sqlite"), await SqliteShelf.open(folder / "reduced.sqlite")
    out: list[list[dict[str, int]]] = [[] for _ in TURNS]
    start = secrets.randbelow(10**9)
    for seed in range(start, start + worlds):
        count = Counted()
        found = await differs(case_of(seed), scratch, {"sqlite": pair}, count)
        if found is not None:
            raise SystemExit(str(found))
        out[seed % len(TURNS)].append(count.showing)
    for shelf in (scratch, *pair):
        await shelf.close()
    return out


def fewer(what: str, least: int, worlds: list[list[dict[str, int]]]) -> float:
    """The chance that a run of LONG counts fewer than `least` of `what`."""
    sums = [1.0] + [0.0] * (least - 1)  # by sum, as far as it is too small
    for of_turn in worlds:
        share = doubted(Counter(w.get(what, 0) for w in of_turn))
        for _ in range(LONG // len(TURNS)):
            sums = [sum(sums[n - v] * p for v, p in share.items() if v <= n) for n in range(least)]
    return sum(sums)


def doubted(brought: Counter[int]) -> Share:
    n, some = brought.total(), brought.total() - brought[0]
    less = lowest(some, n) / (some / n) if some else 0.0
    share = {v: less * k / n for v, k in brought.items() if v}
    return {**share, 0: 1 - sum(share.values())}


def lowest(some: int, n: int) -> float:
    """The least share of which `some` or more of `n` are not less likely than DOUBT."""
    low, high = 0.0, some / n
    for _ in range(50):
        p = (low + high) / 2
        likely = sum(exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p)) for k in range(some, n)) + p**n
        low, high = (p, high) if likely < DOUBT else (low, p)
    return low


def main(worlds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(worlds, Path(folder)))
    for what, least in OFTEN.items():
        mean = LONG / len(TURNS) * sum(sum(w.get(what, 0) for w in t) / len(t) for t in found)
        print(f"{what:22} at least {least:2}   on average {mean:6.1f}   chance of fewer {fewer(what, least, found):.0e}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_600)
