"""What a search leaves behind that shows nobody: a row for itself, and for all of whom it counted; a total too large to look at is not told."""

from __future__ import annotations

import json

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.bundle import searchset
from fhir_gateway.gate import House, counting
from fhir_gateway.store.base import Store

from .test_linked import somebody
from .test_relabelling import SETS, house, person

HOW_MANY = 45


async def with_goals(store: Store, monkeypatch: pytest.MonkeyPatch, most: int) -> tuple[House, gate.Context]:
    """Ann with goals, at a house where a count of more than `most` is not told."""
    here = house(store, SETS)
    me = person(here, await somebody(here, "Ann"))
    for n in range(HOW_MANY):
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"{n}"}, "subject": {"reference": me.actor.patient}}
        await gate.create(me, "Goal", json.dumps(body).encode())
    monkeypatch.setattr(counting, "MOST", most)
    monkeypatch.setattr(counting, "AT_ONCE", 10)
    return here, me


@pytest.mark.parametrize("params", [[("_summary", "count")], [("_total", "accurate"), ("_count", "0")]])
async def test_all_that_a_total_counts_is_written_down(store: Store, monkeypatch: pytest.MonkeyPatch, params: list[tuple[str, str]]) -> None:
    _, me = await with_goals(store, monkeypatch, HOW_MANY)
    page = await gate.search(me, "Goal", params)
    assert page.total == HOW_MANY and not page.entries
    row = next(n for n in await store.notes(patient=me.actor.patient) if n.what == "search")
    assert row.detail == f"counted {HOW_MANY}" and row.basis == "self" and len(set(row.refs)) == counting.NAMED


@pytest.mark.parametrize("params", [[("_summary", "count")], [("_total", "accurate"), ("_count", "0")], [("_total", "accurate"), ("_count", "3")]])
async def test_a_total_that_is_not_looked_at_is_not_told(store: Store, monkeypatch: pytest.MonkeyPatch, params: list[tuple[str, str]]) -> None:
    _, me = await with_goals(store, monkeypatch, HOW_MANY - 1)
    page = await gate.search(me, "Goal", params)
    assert page.total is None and len(page.entries) == (3 if params[-1] == ("_count", "3") else 0)
    found = [n for n in await store.notes() if n.what == "search"]
    assert len(found) == 1 and found[0].query == f"Goal?{'&'.join(f'{k}={v}' for k, v in params)}", "the search itself is written down"
    bundle = json.loads(searchset(page, "http://gateway.example/fhir", {}))
    assert "total" not in bundle


async def test_a_search_by_name_and_birth_date_that_finds_nobody_is_written_down(store: Store) -> None:
    """It is in no person's log: whose it would be is not known, or is not to be told. It is in the trail, once, whether they exist or not."""
    here = house(store, SETS)
    me, other = person(here, await somebody(here, "Ann")), await somebody(here, "Somebody Hidden")
    for name in ("Hidden", "Nobody"):
        page = await gate.search(me, "Patient", [("name", name), ("birthdate", "1980-01-01")])
        assert page.total == 0
        row = (await store.notes())[0]
        assert (row.what, row.allowed, row.patient, row.refs, row.user) == ("search", True, None, (), me.actor.user)
        assert row.query == f"Patient?name={name}&birthdate=1980-01-01"
    assert not [n for n in await store.notes(patient=f"Patient/{other}") if n.what == "search"]
    assert len([n for n in await store.notes() if n.what == "search"]) == 2
