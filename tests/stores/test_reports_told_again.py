"""Reports of several months, as they are counted and kept: for fewer than five a figure stands still, whoever it is who comes, goes, or says no. docs/reports.md"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate, plans
from fhir_gateway.domain import strict
from fhir_gateway.domain.reporting import EVERYBODY, KINDS, Report
from fhir_gateway.domain.types import Drop
from fhir_gateway.gate import Counted, retaining
from fhir_gateway.gate.told_again import COUNTED, forgotten
from fhir_gateway.store import mongo

from ..test_plans import Place, opened
from .conftest import ENGINES

SCT = "http://snomed.info/sct"
SCORE = {"coding": [{"system": SCT, "code": "736534008", "display": "Wellbeing"}]}
NOVEMBER, DECEMBER, JANUARY = "2026-11-27T10:00:00Z", "2026-12-02T10:00:00Z", "2027-01-05T10:00:00Z"
WAITS = 18  # who wait for what they could not get; it counts as twenty, and seventeen as fifteen


@pytest_asyncio.fixture(params=ENGINES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    store = await mongo.open(request.getfixturevalue("database")) if request.param == "mongo" else None
    async with opened(tmp_path / "test.sqlite", store) as here:
        yield here


def plan(n: int, *, waits: bool, postcode: str = "NR30 1AA") -> dict[str, Any]:
    code = {"system": SCT, "code": "129006008" if waits else "129007004", "text": "Walking" if waits else "Climbing"}
    return {
        "plan": "1", "id": f"plan-{n}", "title": "A plan", "status": "active",
        "person": {"id": f"p-{n}", "name": {"family": f"Quux{n}"}, "birth_date": "1950-02-03", "address": {"lines": ["1 Secret Street"], "postcode": postcode}},
        "goals": [{"id": "g", "text": "My words", "code": code, "status": "in progress" if waits else "done", "importance": 9 if waits else 2}],
        "unmet_needs": [{"id": "u", "wanted": "A lift", "reason": "waiting list" if waits else "not affordable"}],
    }  # fmt: skip


async def came(place: Place, *numbers: int, waits: bool, postcode: str = "NR30 1AA") -> list[str]:
    people = []
    for n in numbers:
        saved = await plans.save(place.hospital, plan(n, waits=waits, postcode=postcode))
        people.append(str(saved.patient).removeprefix("Patient/"))
        for day, value in (("2026-01-01", n % 5), ("2026-03-01", n % 5 + 1)):
            body = {"resourceType": "Observation", "status": "final", "code": SCORE, "subject": {"reference": f"Patient/{people[-1]}"}, "effectiveDateTime": day, "valueQuantity": {"value": value}}
            await gate.create(place.patient(people[-1]), "Observation", strict.dump(body))
    return people


async def told(place: Place, at: str, kind: str, by: str = "") -> Counted:
    return await gate.counted_over_all(replace(place.operator, at=datetime.fromisoformat(at)), kind, by)


def counts(report: Report, line: str = EVERYBODY) -> dict[str, int | None]:
    return dict(next(r.counts for r in report.rows if r.group == line))


def moved(was: Report, now: Report) -> list[tuple[str, str]]:
    """Figures that were told and are not told so any more."""
    return [(r.group, c) for r, then in zip(now.rows, was.rows, strict=True) for c, n in then.counts.items() if n is not None and r.counts[c] != n]


async def says_no(place: Place, person: str, *, no: bool = True) -> None:
    await gate.record(place.patient(person), person, "national-data-opt-out", on=no)


async def test_one_who_says_no_or_yes_again_or_comes_changes_no_figure_of_any_report(place: Place) -> None:
    waiting = await came(place, *range(WAITS), waits=True)
    await came(place, *range(50, 67), waits=False)
    first = {kind: await told(place, NOVEMBER, kind) for kind in KINDS}
    assert counts(first["unmet-need"].report)["waiting list"] == 20 and counts(first["goals"].report)["importance 9"] == 20
    assert [(code, n) for (_, code), _, n in first["goals"].report.about] == [("129006008", 20), ("129007004", 15)]
    assert first["outcomes"].report.changes[0].counts == {"higher": None} and first["outcomes"].report.changes[0].score_after is not None
    await says_no(place, waiting[0])
    then = {kind: await told(place, DECEMBER, kind) for kind in KINDS}
    for kind in KINDS:
        was, now = first[kind].report, then[kind].report
        assert not moved(was, now) and (now.about, now.changes) == (was.about, was.changes), kind
    await says_no(place, waiting[0], no=False)
    await came(place, 40, waits=True)
    for kind in KINDS:
        assert not moved(first[kind].report, (await told(place, JANUARY, kind)).report), kind


async def test_the_figures_that_an_opt_out_of_one_would_move_do_move_where_nothing_was_told_before(place: Place) -> None:
    """So that the test before this one can fail."""
    waiting = await came(place, *range(WAITS), waits=True)
    await came(place, *range(50, 67), waits=False)
    await says_no(place, waiting[0])
    assert counts((await told(place, NOVEMBER, "unmet-need")).report)["waiting list"] == 15


async def test_a_figure_falls_by_a_step_for_five_who_go(place: Place) -> None:
    waiting = await came(place, *range(WAITS), waits=True)
    await came(place, *range(50, 67), waits=False)
    assert counts((await told(place, NOVEMBER, "unmet-need")).report)["waiting list"] == 20
    for person in waiting[:4]:
        await says_no(place, person)
    assert counts((await told(place, DECEMBER, "unmet-need")).report)["waiting list"] == 20
    for person in waiting[4:9]:
        await says_no(place, person)
    assert counts((await told(place, JANUARY, "unmet-need")).report)["waiting list"] == 15, "nine of eighteen are gone: nine are one step"


async def test_a_place_is_held_by_itself_where_others_move(place: Place) -> None:
    """One comes to NR30 while ten come elsewhere: everybody's figure moves, that of NR30 does not."""
    for n, postcode in ((0, "NR30 1AA"), (100, "CB4 2BB")):
        await came(place, *range(n, n + 12), waits=True, postcode=postcode)
        await came(place, *range(n + 50, n + 62), waits=False, postcode=postcode)
    first = (await told(place, NOVEMBER, "unmet-need", "locality")).report
    assert [counts(first, line)["waiting list"] for line in ("NR30", "CB4", EVERYBODY)] == [10, 10, 25]
    await came(place, 20, waits=True, postcode="NR30 1AA")
    await came(place, *range(120, 130), waits=True, postcode="CB4 2BB")
    then = (await told(place, DECEMBER, "unmet-need", "locality")).report
    assert [counts(then, line)["waiting list"] for line in ("NR30", "CB4", EVERYBODY)] == [10, 20, 35], "thirteen would be told as fifteen"


async def test_a_line_of_other_places_is_not_told_where_one_person_made_it(place: Place) -> None:
    """Nine live in IP1 and ten with the tenth: its new line, and what is left elsewhere, would say what she answered."""
    await came(place, *range(9), waits=True, postcode="IP1 1AA")
    await came(place, *range(20, 35), waits=False, postcode="NR30 1AA")
    await came(place, *range(40, 55), waits=True, postcode="CB4 2BB")
    first = (await told(place, NOVEMBER, "unmet-need", "locality")).report
    await came(place, 9, waits=False, postcode="IP1 1AA")
    then = (await told(place, DECEMBER, "unmet-need", "locality")).report
    assert [r.group for r in then.rows] == [r.group for r in first.rows] and "IP1" not in {r.group for r in first.rows}
    assert not moved(first, then)


async def test_what_cannot_be_compared_is_told_again_with_its_day(place: Place) -> None:
    """As after a restore of a backup from before it was counted."""
    await came(place, *range(20), waits=True)
    await came(place, *range(50, 65), waits=False)
    first = await told(place, NOVEMBER, "unmet-need")
    for key in await place.house.store.kept_all(COUNTED, first.at):
        await place.house.store.commit(Drop(COUNTED, key))
    await came(place, *range(100, 130), waits=True)
    then = await told(place, DECEMBER, "unmet-need")
    assert then.report == first.report and then.earlier == {"rows": first.at} and then.counted("rows") == first.at and then.at > first.at
    assert counts((await told(place, "2028-01-02T10:00:00Z", "unmet-need")).report)["waiting list"] == 50, "for a year after its month"


async def test_who_was_counted_is_kept_by_hashes_for_a_year_and_goes_with_the_record(place: Place) -> None:
    people = await came(place, *range(12), waits=True)
    first = await told(place, NOVEMBER, "unmet-need", "locality")
    await told(place, NOVEMBER, "outcomes")
    kept = await place.house.store.kept_all(COUNTED, first.at)
    text = json.dumps([(k, v.decode()) for k, v in kept.items()])
    assert len(kept) == 5 and not any(word in text for word in ("Patient", "NR30", "Quux", *people)), kept.keys()
    assert not await place.house.store.kept_all(COUNTED, datetime.fromisoformat("2027-12-01T00:00:01Z"))
    mine = await forgotten(place.house, f"Patient/{people[0]}", first.at)
    assert {k.key.split(" ")[0] for k in mine} == {"unmet-need", "outcomes"}
    due = retaining.Due(f"Patient/{people[0]}", "adult", "2010-01-01", "2018-01-01", "due", 1, 0, False)
    await retaining.dispose(place.operator, due, "olive")
    assert not await forgotten(place.house, f"Patient/{people[0]}", first.at) and await forgotten(place.house, f"Patient/{people[1]}", first.at)
    assert sum(len(v) for v in (await place.house.store.kept_all(COUNTED, first.at)).values()) < sum(len(v) for v in kept.values())


@pytest.mark.parametrize("first", ["", "locality"])
async def test_no_table_of_the_grouping_that_is_closed_is_kept_to_be_told_later(place: Place, first: str) -> None:
    """By place until a year after; a table by practice that was counted meanwhile would be told then, of the days of the other."""
    await came(place, *range(24), waits=True)
    if first:
        await told(place, NOVEMBER, "unmet-need", first)
    await told(place, DECEMBER, "unmet-need")
    names = {key.split(" ")[1] for key in await place.house.store.kept_all(COUNTED, datetime.fromisoformat(DECEMBER), "unmet-need ") if "2026-12" in key}
    assert names == ({"rows", "rows-locality"} if first else {"rows", "rows-locality", "rows-practice"})


async def test_who_says_no_is_in_none_of_the_reports(place: Place) -> None:
    """Ten of eighteen who wait say no; a year and a month later nothing is held by what was told then."""
    waiting = await came(place, *range(WAITS), waits=True)
    await came(place, *range(50, 67), waits=False)
    seen = {"coverage": "has a plan", "goals": "importance 9", "unmet-need": "waiting list"}
    first = {kind: (await told(place, NOVEMBER, kind)).report for kind in (*seen, "outcomes")}
    for person in waiting[:10]:
        await says_no(place, person)
    then = {kind: (await told(place, "2028-01-05T10:00:00Z", kind)).report for kind in first}
    for kind in ("goals", "unmet-need"):
        assert (counts(first[kind])[seen[kind]], counts(then[kind])[seen[kind]]) == (20, 10), kind
    assert [(n, m) for (_, _, n), (_, _, m) in zip(sorted(first["goals"].about), sorted(then["goals"].about), strict=True)] == [(20, 10), (15, 15)]
    assert (first["coverage"].rows[-1].people, then["coverage"].rows[-1].people) == (35, 25)
    assert (first["outcomes"].changes[0].people, then["outcomes"].changes[0].people) == (30, 20)
    assert first["outcomes"].changes[0].score_after is not None and then["outcomes"].changes[0].score_after is None, "of so many left there is no mean"
