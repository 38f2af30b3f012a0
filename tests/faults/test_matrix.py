"""The rows E1 to E9 of design's table of faults, by a scripted server and a line that can be cut; the others are in the files beside this.

`matrix.py` says which test is which row's. What a row leaves is looked at by the same invariants each time.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import strict
from fhir_gateway.gate import waiting_room
from fhir_gateway.sync.backfill import backfill

from . import matrix
from .proxy import Weather
from .rig import rigged
from .scripted import Habits

slow = pytest.mark.slow
FEEDS: tuple[Any, ...] = ("system", "type", "search")


# -- the line ---------------------------------------------------------------------------------------------------------------------


@slow
async def test_E01_an_hour_without_a_line_keeps_everybodys_order_and_then_all_is_there(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        first = await rig.goal()
        await rig.settled()
        asked = len(rig.there.asked)
        rig.line.down()
        for n in range(4):
            await rig.change(rig.me, "walk", description={"text": f"walk {n}"})
            await rig.round(4)
        await rig.another()
        second = await rig.goal("swim")
        assert len(await rig.round(44)) >= 44 and len(rig.there.asked) == asked
        status = await rig.status()
        assert status["queued"] >= 2 and status["lag_s"] >= 2_640
        rig.line.up()
        await rig.settled()
        texts = [k.body["description"]["text"] for k in rig.there.history if k.name.startswith("Goal/") and k.body]
        assert texts == ["walk", "walk 3", "swim"] and await rig.link(first) is not None and await rig.link(second) is not None
        await rig.sound()


@slow
@pytest.mark.parametrize("weather", [Weather(silent=True), Weather(limit=60), Weather(limit=400), Weather(reset_after=200)], ids=str)
async def test_E02_what_hangs_or_ends_on_the_way_is_not_known_and_is_there_once_in_the_end(tmp_path: Path, weather: Weather) -> None:
    """Also of a change, and of what is taken back."""
    async with rigged(tmp_path, patience=0.3) as rig:
        ref = await rig.goal()
        await rig.settled()
        for doing in (lambda: rig.change(rig.me, "walk", description={"text": "run"}), rig.no):
            rig.line.weather = weather
            await doing()
            await rig.round(2)
            rig.line.weather = Weather()
            rig.line.drop()
            await rig.settled()
            assert (await rig.status())["quiet"] and not await rig.house.store.kept_all("attempt", rig.now, "hub ")
        assert rig.texts() == [] and all(d.recalled for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)
        await rig.sound()


@pytest.mark.parametrize("method", ["POST", pytest.param("PUT", marks=slow), pytest.param("DELETE", marks=slow)])
async def test_E03_what_was_applied_and_whose_answer_was_lost_is_there_once(tmp_path: Path, method: str) -> None:
    """Three times in a row, by a reset."""
    async with rigged(tmp_path) as rig:
        rig.there.fault(method, "Goal", times=3, applied=True, cut="before")
        ref = await rig.goal()
        await rig.settled()
        await rig.change(rig.me, "walk", description={"text": "run"})
        await rig.settled()
        assert rig.texts() == ["run"]
        assert [k.method for k in rig.there.history if k.name.startswith("Goal/")] == ["POST", "PUT"]
        await rig.no()
        await rig.settled()
        assert rig.texts() == [] and all(d.recalled for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)
        await rig.sound()


# -- what it refuses --------------------------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize("status", [400, 422])
async def test_E06_one_that_is_refused_is_parked_with_its_reason_and_everything_else_goes(tmp_path: Path, status: int) -> None:
    async with rigged(tmp_path) as rig:
        rig.there.fault("", "Goal", status=status, when=lambda a: b"poison" in a.raw)
        bad = await rig.goal("poison")
        beside, first = await rig.goal("beside"), rig.names["amina"]
        await rig.another()
        await rig.goal("of another")
        rig.names["amina"] = first
        await rig.round(12)
        assert rig.texts() == ["beside", "of another"] and (await rig.status())["parked"] == 1
        (item,) = [i for i in await waiting_room.everything(rig.operator) if i["ref"] == str(bad)]
        assert str(status) in item["why"] and "processing" in item["why"]
        await rig.change(rig.me, "beside", description={"text": "still"})
        await rig.settled()
        assert rig.texts() == ["of another", "still"] and await rig.link(beside) is not None
        await waiting_room.skip(rig.operator, item["id"], "it is known")
        assert (await rig.status())["parked"] == 0 and await rig.link(bad) is None
        await rig.change(rig.me, "poison", description={"text": "well"})
        await rig.settled()
        assert rig.texts() == ["of another", "still", "well"], "a later version goes"
        await rig.sound()


@slow
@pytest.mark.parametrize("stale", [409, 412])
@pytest.mark.parametrize("feed", FEEDS)
async def test_E08_a_version_conflict_is_merged_or_both_are_kept_and_nothing_is_overwritten(tmp_path: Path, feed: str, stale: int) -> None:
    async with rigged(tmp_path, Habits(stale=stale, feed=feed)) as rig:  # type: ignore[arg-type]
        ref = await rig.goal()
        await rig.settled()
        for turn, (theirs, ours) in enumerate([({"startDate": "2026-11-01"}, {"statusDate": "2026-11-02"}), ({"description": {"text": "theirs"}}, {"description": {"text": "ours"}})]):
            (there,) = rig.there.named("Goal")
            rig.there.fault("GET", "", times=1, skip=1, status=503)  # and the look at it does not come at once
            rig.there.write({**there, **theirs})
            await rig.change(rig.me, "walk", **ours)
            await rig.settled()
            assert (await rig.status())["conflicts"] == turn
        (there,), stored = rig.there.named("Goal"), await rig.house.store.get(ref)
        assert stored is not None and stored.body is not None
        mine = strict.read(stored.body)
        assert (mine["startDate"], mine["statusDate"]) == ("2026-11-01", "2026-11-02") == (there["startDate"], there["statusDate"])
        assert mine["description"]["text"] == there["description"]["text"] and mine["description"]["text"] in ("ours", "theirs")
        (kept,) = (await rig.house.store.kept_all("conflict", rig.now, "hub ")).values()
        assert b"ours" in kept and b"theirs" in kept
        await rig.sound()


@slow
async def test_E08_a_conflict_without_end_parks_one_and_stops_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal()
        await rig.settled()
        rig.there.fault("PUT", "Goal", status=409, when=lambda a: b"run" in a.raw)
        await rig.change(rig.me, "walk", description={"text": "run"})
        await rig.goal("beside")
        await rig.settled()
        assert rig.texts() == ["beside", "walk"] and (await rig.status())["parked"] == 1
        rig.there.well()
        await waiting_room.retry(rig.operator)
        await rig.settled()
        assert rig.texts() == ["beside", "run"]
        await rig.sound()


@slow
@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("changed", [True, False])
async def test_E09_what_they_deleted_is_not_made_anew(tmp_path: Path, feed: str, status: int, changed: bool) -> None:
    async with rigged(tmp_path, Habits(feed=feed), sweep_hours=0.5) as rig:  # type: ignore[arg-type]
        ref = await rig.goal()
        await rig.settled()
        name = f"Goal/{rig.there.named('Goal')[0]['id']}"
        rig.there.remove(name)
        rig.there.fault("", name, status=status)
        if changed:
            await rig.change(rig.me, "walk", description={"text": "run"})
        for _ in range(3):  # where no feed tells of deletions, everything is looked at, once in half an hour
            await rig.settled()
            rig.now += timedelta(minutes=31)
        assert rig.texts() == [] and (await rig.status())["quiet"] and (await rig.status())["conflicts"] == changed
        assert await rig.here() == (["run"] if changed else [])
        assert len(rig.there.ever("Goal")) == 1 and await rig.versions(ref) == 2
        await backfill(rig.house, rig.partner)
        await rig.settled()
        assert not rig.there.ever("Task"), "what asks somebody to decide stays here"
        await rig.sound()


# -- the table --------------------------------------------------------------------------------------------------------------------


def test_every_row_has_tests_that_are_there_and_every_test_here_has_its_row() -> None:
    assert list(matrix.ROWS) == [f"E{n}" for n in range(1, 26)] and all(r.tests for r in matrix.ROWS.values()) and matrix.missing() == []
    for file in Path(__file__).parent.glob("test_matrix*.py"):
        for name, row in re.findall(r"^async def (test_E(\d\d)_\w+)", file.read_text(), re.M):
            assert f"faults/{file.name}::{name}" in matrix.ROWS[f"E{int(row)}"].tests


def test_the_page_shows_the_table() -> None:
    assert matrix.page() == matrix.PAGE.read_text(), "python -m tests.faults.matrix"
