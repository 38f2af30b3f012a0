"""Opt-outs and places together: a place of which so many said no that fewer than five are left is in no report, by no way of asking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from fhir_gateway.domain.periods import LONDON
from fhir_gateway.domain.reporting import EVERYBODY, Change, Report, Row
from fhir_gateway.domain.types import Keep
from fhir_gateway.gate import Counted
from fhir_gateway.gate.surveying import REPORT
from fhir_gateway.store import sqlite

from .conftest import Gateway, gateway
from .test_reports import plan
from .web.test_doors import Visitor
from .web.test_operator import operator

KINDS = ("coverage", "goals", "unmet-need", "outcomes")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Twelve in each of two places and fifteen in a third; in one of them eight said no to being counted, by an opt-out."""
    folder = tmp_path_factory.mktemp("filtered")
    with gateway(folder, "--demo") as g:
        files = []
        for n in range(39):
            file = folder / f"{n}.json"
            file.write_text(json.dumps(plan(n, "ZE1 1AA" if n < 12 else "CB4 2BB" if n < 27 else "IP1 1AA")))
            files.append(str(file))
        brought = g.lines("import", *files, "--json")
        for one in brought[:8]:
            done = g.command("patients", "record", one["patient"], "national-data-opt-out", "--evidence", "A letter")
            assert done.returncode == 0, done.stderr
        yield g


@pytest.fixture(scope="module")
def olu(town: Gateway) -> Visitor:
    return operator(town)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_place_of_four_nothing_is_told(town: Gateway, olu: Visitor, kind: str) -> None:
    said = [town.command("report", kind, "--by", "locality", *how).stdout for how in ((), ("--json",), ("--fhir",))]
    said.append(olu.get(f"/operator/reports?kind={kind}&by=locality").text)
    assert not any("ZE1" in s for s in said)
    rows = [json.loads(line) for line in said[1].splitlines() if "group" in line]
    assert all(r["people"] is None or r["people"] >= 5 for r in rows)
    assert all(n is None or n >= 5 for r in rows for n in r["counts"].values())
    if kind == "outcomes":
        assert not rows and "Nothing can be told of so few people." in said[0] and "Nothing can be told of so few people." in said[3]
        return
    known = {r["group"]: r for r in rows}
    assert known["CB4"]["people"] == 15
    alone = [json.loads(line) for line in town.command("report", kind, "--json").stdout.splitlines() if "group" in line]
    assert alone[0]["people"] == known["everybody"]["people"]


def test_a_place_and_a_choice_that_there_is_not_are_refused_whoever_is_left(town: Gateway) -> None:
    assert town.command("report", "goals", "--by", "ZE1").returncode == 1
    assert town.command("report", "goals", "--by", "practice").returncode == 1, "reports are by place since the first"


# -- what is told again -----------------------------------------------------------------------------------------------


def test_what_is_told_again_is_said_to_be_of_its_day(town: Gateway, olu: Visitor) -> None:
    """By command, as JSON, as FHIR and on the page."""
    now, then = datetime.now(UTC).replace(microsecond=0), datetime(2026, 3, 4, 10, tzinfo=UTC)
    score = Change("http://loinc.org", "12345-6", "Wellbeing", 30, {"higher": 20})
    rows = (Row(EVERYBODY, 40, {"asked again": 20, "answered": 10, "not answered in time": 10}),)
    report = Report("outcomes", ("asked again", "answered", "not answered in time"), rows, (), (score,))
    counted = Counted(now, now + timedelta(days=1), "", report, {"rows": then, score.part: then})

    async def keep() -> None:
        store = await sqlite.open(town.data / "gateway.sqlite")
        await store.commit(Keep(REPORT, f"{now.astimezone(LONDON):%Y-%m} outcomes ", msgspec.json.encode(counted), counted.until))
        await store.close()

    asyncio.run(keep())
    plain = town.command("report", "outcomes").stdout
    assert plain.count("As counted on 04 March 2026, told again") == 2 and f"counted on {now.astimezone(LONDON):%d %B %Y}" in plain
    assert [datetime.fromisoformat(line["at"]) for line in town.lines("report", "outcomes", "--json")] == [then, then]
    (fhir,) = town.lines("report", "outcomes", "--fhir")
    assert {k: datetime.fromisoformat(v) for k, v in fhir["period"].items()} == {"start": then, "end": now}
    page = olu.get("/operator/reports?kind=outcomes").text
    assert "The next table was counted on 4 March 2026 and is told again" in page and "Wellbeing (counted on 4 March 2026)" in page
