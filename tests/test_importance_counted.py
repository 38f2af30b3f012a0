"""How much goals matter, counted as all else of goals is: by people, few not told, and what was kept before it was counted still read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.one_counted import of_person
from fhir_gateway.domain.reporting import COLUMNS, EVERYBODY, IMPORTANCE
from fhir_gateway.domain.types import Keep
from fhir_gateway.gate.surveying import REPORT

from .conftest import Gateway, gateway
from .test_plans import opened
from .web.test_operator import operator

TODAY = date(2026, 11, 26)
URL = "https://fhir-gateway.example/StructureDefinition/goal-importance"


def goal(*importance: int, status: str = "active") -> dict[str, Any]:
    return {"resourceType": "Goal", "lifecycleStatus": status, "extension": [{"url": URL, "valueInteger": n} for n in importance]}


def plan(n: int, *importance: int) -> dict[str, Any]:
    return {
        "plan": "1", "id": f"plan-{n}", "title": "A plan", "status": "active", "person": {"id": f"p-{n}", "name": {"family": f"Quux{n}"}, "birth_date": "1950-02-03"},
        "goals": [{"id": f"g{i}", "text": "My words", "status": "in progress", "importance": of} for i, of in enumerate(importance)],
    }  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Twelve to whom their goal matters most, twelve to whom it matters little, three in between, and some who have none."""
    folder = tmp_path_factory.mktemp("importance")
    with gateway(folder, "--demo") as g:
        files = []
        for n in range(33):
            file = folder / f"{n}.json"
            file.write_text(json.dumps(plan(n, *([10, 10] if n < 12 else [3, 2] if n < 24 else [7] if n < 27 else []))))
            files.append(str(file))
        assert all(b["written"] for b in g.lines("import", *files, "--json"))
        yield g


def test_a_person_counts_once_for_each_importance_and_of_no_other_number() -> None:
    def importance(*goals: dict[str, Any]) -> set[str]:
        return {c for c in of_person("goals", "", goals, TODAY).has if c.startswith("importance")}

    assert importance(goal(9), goal(9), goal(2)) == {"importance 9", "importance 2"}
    assert importance(goal(), goal(0), goal(11), goal(99)) == set()
    assert importance(goal(5, status="entered-in-error")) == set()
    wrong = {"resourceType": "Goal", "lifecycleStatus": "active", "extension": [{"url": URL, "valueString": "Alf hides my keys"}]}
    assert importance(wrong) == set()


def test_goals_are_counted_by_importance_and_few_are_not_told(town: Gateway) -> None:
    (row,) = (r for r in town.lines("report", "goals", "--json") if "group" in r)
    told = {c: n for c, n in row["counts"].items() if c in IMPORTANCE}
    assert list(told) == list(IMPORTANCE)
    assert {c: n for c, n in told.items() if n is not None} == {"importance 10": 10, "importance 2": 10, "importance 3": 10}
    assert told["importance 7"] is None and told["importance 1"] is None, "three look like none"
    (fhir,) = town.lines("report", "goals", "--fhir")
    ten = next(g for g in fhir["group"] if g["code"]["text"] == "importance 10")
    assert [p.get("count") for p in ten["population"]] == [row["people"], 10]
    assert "importance 10: 10" in town.command("report", "goals").stdout


def test_the_page_says_how_much_goals_matter_in_the_words_of_the_plan(town: Gateway) -> None:
    page = operator(town).get("/operator/reports?kind=goals")
    assert page.status_code == 200 and 'scope="col">How much it matters: 10</th>' in page.text


async def test_what_was_kept_before_importance_was_counted_is_read_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path / "test.sqlite") as place:
        columns = [c for c in COLUMNS["goals"] if c not in IMPORTANCE]
        report = {"kind": "goals", "columns": columns, "rows": [{"group": EVERYBODY, "people": 25, "counts": dict.fromkeys(columns, 10)}], "about": [], "changes": []}
        old = {"at": "2026-11-01T10:00:00Z", "until": "2026-12-01T00:00:00Z", "by": "", "report": report}
        await place.house.store.commit(Keep(REPORT, "2026-11 goals ", json.dumps(old).encode(), datetime.fromisoformat("2026-12-01T00:00:00Z")))
        told = (await gate.counted_over_all(place.operator, "goals")).report
        assert told.columns == tuple(columns) and told.rows[0].people == 25 and told.rows[0].counts["has a goal"] == 10
