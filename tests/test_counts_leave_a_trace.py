"""A count tells yes or no about a person: they see that it was asked, and so does who reviews an emergency."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from fhir_gateway.domain.audit import decode
from fhir_gateway.domain.trail_words import sentence
from fhir_gateway.domain.types import Note

from .conftest import Gateway
from .test_emergencies import WHY, end

COUNTS = (
    "Goal?patient={p}&_summary=count", "Goal?patient={p}&_count=0", "Condition?patient={p}&code=none-such&_summary=count",
    "Task?patient={p}&_count=0&status=rejected", "Patient/{p}/Goal?_summary=count", "Goal?_summary=count", "Patient?_id={p}&_summary=count",
    "Patient?_has:Goal:patient:lifecycle-status=active&_summary=count", "Condition?patient={p}&code=none-such", "Goal?patient={p}&_total=accurate&_count=0",
)  # fmt: skip


def rows(g: Gateway, user: str) -> list[Note]:
    """Of the trail what is about the person of the demo and was done by this user, oldest first."""
    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        found = [decode(r) for (r,) in db.execute("SELECT note FROM audit WHERE patient = ? ORDER BY aid", (f"Patient/{g.patient}",))]
    return [n for n in found if n.user_name.endswith(user)]


@pytest.fixture
def opened(demo: Gateway) -> Iterator[Gateway]:
    end(demo)
    assert demo.call("stranger", "POST", f"/patients/{demo.patient}/break-glass", body=WHY).status_code == 201
    yield demo
    end(demo)


@pytest.mark.parametrize("search", COUNTS)
def test_each_count_is_one_row_for_the_person(demo: Gateway, search: str) -> None:
    before = rows(demo, "Asha Patel")
    answer = demo.get("gp", search.format(p=demo.patient))
    assert answer.status_code == 200 and "entry" not in answer.json()
    (row,) = rows(demo, "Asha Patel")[len(before):]
    some = answer.json()["total"] > 0
    assert row.allowed and row.what == "search" and "?" in row.query and row.basis, row
    assert row.detail.startswith("counted" if some else "found nothing") and bool(row.refs) is some, row
    assert ("was told how many there are of" if some else "searched your record and found nothing") in sentence(row)


def test_so_is_each_in_a_batch(demo: Gateway) -> None:
    asked = [COUNTS[0], COUNTS[2]]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": u.format(p=demo.patient)}} for u in asked]}
    before = rows(demo, "Asha Patel")
    assert [e["response"]["status"][:3] for e in demo.call("gp", "POST", "", body=bundle).json()["entry"]] == ["200", "200"]
    assert len(rows(demo, "Asha Patel")) == len(before) + 2


def test_whoever_reviews_an_emergency_sees_that_it_was_counted(opened: Gateway) -> None:
    for search in COUNTS[:4]:
        assert opened.get("stranger", search.format(p=opened.patient)).status_code == 200
    (item,) = [e for e in opened.lines("emergencies", "list", "--json") if e["live"]]
    assert item["looked"] == 4 and item["read"]["Goal"] > 0, item
