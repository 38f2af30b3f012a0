"""What must hold holds at the end of every simulated story, and a seed tells the same story each time. docs/sync.md"""

from __future__ import annotations

import asyncio
import os
import re
import sys

import pytest

from .conftest import ROOT

SOAK = "SOAK" in os.environ
SEEDS = 10_000 if SOAK else 300
# Of all that follow, those that once ended wrong in a way of their own: told beside the 300.
FOUND = (834, 1010, 1108, 1124, 1367, 1386, 2043, 2358, 2501, 3100, 4132, 5044, 5358, 5410, 5529, 6481, 6643, 8013)
# What is not mended yet; any other fails.
OPEN: frozenset[int] = frozenset()
ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}


async def told(*arguments: str) -> tuple[int, str]:
    """What `python -m tests.sim` says, in a process whose sets are in an order that is always the same."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sim", *arguments, cwd=ROOT, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    return child.returncode or 0, said.decode()


async def test_a_seed_tells_the_same_story_twice() -> None:
    first, again = await asyncio.gather(told("--seed", "1", "--acts", "10"), told("--seed", "1", "--acts", "10"))
    assert first == again and "-- quiet" in first[1] and first[0] == 0, first[1][-3000:]


@pytest.mark.slow
@pytest.mark.timeout(8 * 3600 if SOAK else 600)
async def test_three_hundred_seeds_and_those_once_found_and_in_soak_ten_thousand_end_well() -> None:
    half = SEEDS // 2
    found = ",".join(str(seed) for seed in FOUND if seed >= SEEDS)
    runs = await asyncio.gather(told("--seeds", f"0-{half - 1}"), told("--seeds", f"{half}-{SEEDS - 1},{found}".rstrip(",")))
    said = "\n".join(said for _, said in runs)
    assert all("seeds told" in said for _, said in runs), said[-20_000:]
    assert {int(n) for n in re.findall(r"^seed (\d+) ends wrong", said, re.MULTILINE)} <= OPEN, said[-20_000:]
