"""Audit rows: newest first, in pages, for a person and for a user."""

from __future__ import annotations

import asyncio
from typing import Any

from fhir_gateway.domain.types import Note
from fhir_gateway.store.base import Store

from .making import ANN, BOB, at, goal, micros, note


def ids(notes: list[Note]) -> list[str]:
    return [n.id for n in notes]


async def test_a_row_comes_back_as_it_was_written(store: Store) -> None:
    full = Note(
        "n1", at(0.001), "E", "search", False, "Practitioner/gp", "Dr Ann Lee", "Organization/s", "client", "TREAT", ANN, ("Goal/a", "Goal/b"),
        "status=active", "explicit", "Consent/c", ("redact",), "more words: é \U0001f600",
    )  # fmt: skip
    await store.commit(full)
    assert await store.notes() == [full] == await store.notes(patient=ANN) == await store.notes(user="Practitioner/gp")


async def test_rows_are_newest_first_for_a_person_and_for_a_user(store: Store) -> None:
    await store.commit(note("b", when=1), note("a", when=1), note("c", when=2, patient=BOB), note("d", when=3, user="Patient/ann"))
    await store.commit(note("e", when=0, patient=None))
    assert ids(await store.notes()) == ["d", "c", "b", "a", "e"]
    assert ids(await store.notes(patient=ANN)) == ["d", "b", "a"]
    assert ids(await store.notes(user="Practitioner/gp")) == ["c", "b", "a", "e"]
    assert ids(await store.notes(patient=ANN, user="Practitioner/gp")) == ["b", "a"]
    assert ids(await store.notes(since=at(2))) == ["d", "c"]
    assert ids(await store.notes(patient=ANN, count=2)) == ["d", "b"]
    assert await store.notes(patient="Patient/none") == []


async def test_pages_of_the_trail_are_the_trail(store: Store) -> None:
    await store.commit(*(note(f"n{i:03}", when=i // 7) for i in range(100)))
    whole = ids(await store.notes(patient=ANN, count=1000))
    assert whole == sorted(whole, reverse=True)
    seen: list[str] = []
    before: tuple[Any, ...] | None = None
    while page := await store.notes(patient=ANN, before=before, count=9):
        seen += ids(page)
        before = (micros(page[-1].at), page[-1].id)
    assert seen == whole


async def test_every_write_of_a_crowd_has_its_row(store: Store) -> None:
    """Group commit mixes rows of many: each is written once, whatever the size of its group."""
    commits = [store.commit(note(f"r{i}")) for i in range(333)]
    commits += [store.commit(goal(f"g{i}"), note(f"w{i}"), note(f"v{i}")) for i in range(77)]
    await asyncio.gather(*commits)
    expected = [f"r{i}" for i in range(333)] + [f"{c}{i}" for c in "wv" for i in range(77)]
    assert sorted(ids(await store.notes(count=10_000))) == sorted(expected)
