"""A server that lets nobody go through more than so many entries of one search (E12): what lies behind is read all the same, or it is said."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fhir_gateway.commands.saying import lines
from fhir_gateway.sync.sweeping import sweep

from .rig import Rig, rigged
from .scripted import Habits

slow = pytest.mark.slow
CAPPED = Habits(feed="search", page=3, cap=9)  # so 12 of one search


async def test_more_than_can_be_gone_through_in_one_search_comes_whole(tmp_path: Path) -> None:
    """A bulk import of twenty in twenty seconds, less than the overlap."""
    async with rigged(tmp_path, CAPPED) as rig:
        texts = sorted(rig.theirs(f"g{n:02}", rig.now - timedelta(seconds=20 - n))["description"]["text"] for n in range(20))
        assert await rig.round(1) == []
        assert await rig.here() == texts and (await rig.status())["in_step"]
        await sweep(rig.house, rig.partner)
        assert (await rig.status())["in_step"], "nor is a list of everything cut short"
        await rig.sound()


async def _observed(rig: Rig) -> int:
    found = await rig.house.store.patient_record(rig.names["amina"], ["Observation"])
    return len(found)


async def test_what_no_search_can_reach_is_said_and_keeps_nothing_else_back(tmp_path: Path) -> None:
    async with rigged(tmp_path, CAPPED) as rig:
        stamp = rig.now - timedelta(seconds=20)
        for n in range(20):
            rig.theirs(f"g{n:02}", stamp)
        rig.theirs("later", rig.now - timedelta(seconds=5))
        seen = {"resourceType": "Observation", "status": "final", "code": {"text": "pulse"}, "subject": {"reference": rig.her}}
        rig.there.write(seen)
        assert await rig.round(3) == []
        here, said = await rig.here(), await rig.status()
        assert "later" in here and len(here) == 13 and await _observed(rig) == 1, "it goes on behind it, and with the other types"
        assert (said["unread"], said["in_step"], said["quiet"]) == (1, False, True)
        assert any("cannot be read" in line and "sweep" in line for line in lines(said))
        await sweep(rig.house, rig.partner)
        assert (await rig.status())["unread"] == 1
        rig.there.habits.cap = 0
        await sweep(rig.house, rig.partner)
        await rig.settled()
        assert len(await rig.here()) == 21 and (await rig.status())["in_step"]
        await rig.sound()


@slow
async def test_a_refusal_of_a_moment_skips_nothing(tmp_path: Path) -> None:
    """400 to a next page once, where all have one stamp: it is asked once more before anything counts as out of reach."""
    async with rigged(tmp_path, Habits(feed="search", page=3)) as rig:
        for n in range(10):
            rig.theirs(f"g{n:02}", rig.now)
        rig.there.fault("GET", "", times=1, status=400, when=lambda a: a.query.get("_offset") == "3")
        assert await rig.round(1) == []
        assert len(await rig.here()) == 10 and (await rig.status())["unread"] == 0
        await rig.sound()
