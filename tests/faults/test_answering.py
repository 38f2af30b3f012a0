"""I10: whatever a partner does, and whatever waits for it, everybody else is answered. What a backlog does is E22's test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from .invariants import nobody_is_starved
from .rig import rigged
from .scripted import page

slow = pytest.mark.slow
LARGE = 20 * 1024 * 1024
MANY = page(*({"resource": {"resourceType": "Goal", "id": f"x{n}", "lifecycleStatus": "active", "description": {"text": "x" * 180_000}}} for n in range(100)))
WORST: dict[str, dict[str, Any]] = {
    "hangs": {"wait": 1.0}, "drips": {"drip": 0.002, "applied": True, "times": 3}, "zipped bomb": {"bomb": 4 * LARGE}, "20 MiB of one number": {"body": b"9" * LARGE},
    "20 MiB of depth": {"body": b"[" * LARGE}, "a page of almost 20 MiB": {"body": MANY},
}  # fmt: skip


@pytest.mark.parametrize("how", ["hangs", *(pytest.param(h, marks=slow) for h in WORST if h != "hangs")])
async def test_who_reads_here_is_answered_whatever_a_partner_answers(tmp_path: Path, how: str) -> None:
    """What is long is read at one go, in less than I10's second; nobody waits at all for what does not come."""
    most = 0.15 if how in ("hangs", "drips") else 1.0
    async with rigged(tmp_path, patience=0.3) as rig:
        await rig.goal()
        await rig.settled()
        quiet = await rig.readers(asyncio.sleep(0.5))
        await rig.change(rig.me, "walk", description={"text": "run"})
        rig.there.fault("", "", **WORST[how])
        busy = await rig.readers(rig.round())
        assert nobody_is_starved(quiet, busy, most) == []
        rig.there.well()
        await rig.settled()
        await rig.sound()
