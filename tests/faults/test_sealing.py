"""Sealing while others write, killed at many moments; and the witness outside, who is told every head, also after they were away."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.types import Note
from fhir_gateway.store import sqlite
from fhir_gateway.tell.channel import Failed
from fhir_gateway.tell.heads import HeadFile, once, run

from ..stores.making import MORNING, at, note
from ..stores.test_seals import House

WRITER = """
import asyncio, itertools, sys
sys.path.insert(0, {root!r})
from fhir_gateway import gate
from fhir_gateway.store import sqlite
from tests.stores.making import MORNING, note
from tests.stores.test_seals import House

async def main():
    store = await sqlite.open({path!r}, clock=lambda: MORNING)
    sealer = gate.Sealer(House(store))

    async def seal():
        while True:
            await sealer.seal()
            await asyncio.sleep(0.002)

    asyncio.get_running_loop().create_task(seal())
    for i in itertools.count():
        await asyncio.gather(*(store.commit(note(f"{name}-{{i}}-{{j}}", when=i)) for j in range(5)))
        print(i, flush=True)

asyncio.run(main())
"""


def writer(path: Path, name: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen([sys.executable, "-c", WRITER.format(root=root, path=str(path), name=name)], stdout=subprocess.PIPE, text=True, cwd=root)


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_and_all_verifies(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "s.sqlite", set[str]()
    for round in range(6):
        several = [writer(path, f"r{round}w{n}") for n in range(2)]
        for w in several:  # both are at work
            assert w.stdout is not None
            w.stdout.readline()
        time.sleep(0.1 + round * 0.13)
        for n, w in enumerate(several):
            w.send_signal(signal.SIGKILL)
            said, _ = w.communicate(timeout=30)
            acknowledged |= {f"r{round}w{n}-{line}-{j}" for line in ["0", *said.split()] for j in range(5)}

    async def look() -> None:
        store = await sqlite.open(path, clock=lambda: MORNING)
        await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
        verdict = await gate.verify(House(store))  # type: ignore[arg-type]
        there = {n.id for n in await store.notes(count=10**6)}
        assert verdict.wrong == [] and verdict.waiting == 0 and acknowledged <= there and verdict.rows == len(there)
        assert verdict.segments > 6
        await store.close()

    asyncio.run(look())


async def test_it_is_sealed_at_the_end_and_the_witness_has_every_head(tmp_path: Path) -> None:
    store = await sqlite.open(tmp_path / "s.sqlite", clock=lambda: MORNING)
    house: Any = House(store)
    kept = tmp_path / "heads"
    stop = asyncio.Event()
    running = asyncio.create_task(run(house, HeadFile(kept), 3600, stop))
    await store.commit(note("one"))
    await asyncio.sleep(0.05)
    assert await store.waiting() == 1, "not before its time"
    stop.set()
    await running
    assert await store.waiting() == 0 and kept.read_text().split() == [s.head for s in await store.segments()]
    await store.close()


class Away:
    """A witness who does not answer."""

    async def tell(self, heads: Any) -> None:
        raise Failed("cannot be reached")

    async def close(self) -> None: ...


async def test_a_witness_who_was_away_is_told_all_and_none_twice(tmp_path: Path) -> None:
    store = await sqlite.open(tmp_path / "s.sqlite", clock=lambda: MORNING)
    house: Any = House(store)
    sealer, kept = gate.Sealer(house), HeadFile(tmp_path / "heads")
    for i in range(3):
        await store.commit(note(f"r{i}", when=i))
        await once(sealer, Away())
    await once(sealer, kept)
    await once(sealer, kept)
    heads = kept.path.read_text().split()
    assert heads == [s.head for s in await store.segments()] and len(heads) == 3
    assert (await gate.verify(house, kept=dict(enumerate(heads, 1)))).wrong == []
    await store.close()


@pytest.mark.slow
async def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    """Prints how long sealing and verifying takes; docs/audit.md has the figures."""
    store = await sqlite.open(tmp_path / "s.sqlite", clock=lambda: MORNING)
    house: Any = House(store)
    rows = [Note(f"0198f7a2-{i:04x}-7abc-8def-{i:012x}", at(i), "R", "read", True, "Practitioner/gp", "Dr Shah", "Organization/gp", "app", "TREAT", f"Patient/{i % 500}", (f"Goal/{i}",), "", "implicit") for i in range(100_000)]
    for i in range(0, len(rows), 1_000):
        await store.commit(*rows[i : i + 1_000])
    began = time.perf_counter()
    made = await gate.Sealer(house).seal()
    sealed = time.perf_counter()
    verdict = await gate.verify(house)
    verified = time.perf_counter()
    proof, _ = await gate.proof_of(house, "Patient/7")
    proved = time.perf_counter()
    print(f"\n{len(made)} segments: sealed in {sealed - began:.2f} s, verified in {verified - sealed:.2f} s, {sum(len(s.rows) for s in proof.segments)} rows proved in {proved - verified:.2f} s")
    assert verdict.wrong == [] and verdict.rows == 100_000 and verified - began < 120
    await store.close()
