"""Nobody answers for their own look at a record: not by the name of another of their jobs, nor once the line of the log is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import Context
from fhir_gateway.gate.context import directory_now
from fhir_gateway.gate.proving import is_oneself
from fhir_gateway.store import sqlite

from .telling.place import Place
from .telling.servers import Post


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    here = Place(Post())
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: here.now)
    await here.open(store)
    await here.add("ben", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Ek"}]})
    await here.add("ben-role", here.role("ben", "surgery"))
    await here.grant("asha")
    yield here
    await store.close()


async def signed_in(place: Place, who: str, *, officer: bool = True) -> Context:
    directory, _ = await directory_now(place.house)
    ctx = gate.house_context(place.house, directory.actor(place.names[who], kind="professional", at=place.now, clinician=True))
    return replace(ctx, officer=officer, signed_in=place.now)


async def asked_of(place: Place, who: str) -> tuple[str, str]:
    """The id of the question about a look by `who`, and of its line."""
    await gate.read(await signed_in(place, who, officer=False), Ref(*place.names["amina"].split("/")))
    me = place.me
    rows = await gate.who_looked(me, place.names["amina"].removeprefix("Patient/"))
    row = next(r for r in rows if r["user"] == place.names[who])
    assert await gate.not_recognised(me, row["id"])
    return row["question"], row["id"]


async def refused(ctx: Context, question: str) -> str:
    with pytest.raises(Problem) as no:
        await gate.answer_question(ctx, question, "right", "It was needed")
    return f"{no.value.kind}: {no.value}"


@pytest.mark.parametrize(("looked", "answers"), [("asha-role", "asha"), ("asha", "asha-role"), ("asha-role", "asha-role")])
async def test_an_officer_does_not_answer_for_their_own_look_whichever_job_it_was_by(place: Place, looked: str, answers: str) -> None:
    question, _ = await asked_of(place, looked)
    assert (await refused(await signed_in(place, answers), question)).startswith("forbidden")
    await gate.answer_question(await signed_in(place, "ben-role"), question, "right", "It was needed")


@pytest.mark.parametrize(("broke", "reviews"), [("asha-role", "asha"), ("asha", "asha-role"), ("asha-role", "asha-role"), ("asha-role", "asha-ward"), ("asha-ward", "asha")])
async def test_nobody_reviews_their_own_emergency_whichever_job_it_was_by(place: Place, broke: str, reviews: str) -> None:
    await place.add("asha-ward", place.role("asha", "hospital"))
    by = await signed_in(place, broke, officer=False)
    opened = await gate.break_glass(replace(by, actor=replace(by.actor, btg_role=True)), place.names["amina"].removeprefix("Patient/"), "She is unconscious in the ambulance", "incapacity-vital-interest")
    officer = await signed_in(place, reviews)
    with pytest.raises(Problem) as no:
        await gate.review(officer, opened.id, "justified", "It was needed")
    assert no.value.kind == "forbidden" and "Somebody else" in no.value.text
    waiting, _ = await gate.emergencies(officer)
    assert [e["id"] for e in waiting] == [opened.id] and waiting[0]["reviews"] == [], "it still waits"
    await gate.review(await signed_in(place, "ben-role"), opened.id, "justified", "It was needed")
    assert (await gate.emergencies(officer))[0] == []


async def test_a_job_that_is_over_or_gone_was_theirs_all_the_same(place: Place) -> None:
    role = Ref(*place.names["asha-role"].split("/"))
    asha = await signed_in(place, "asha")
    await place.change(place.operator, "asha-role", active=False)
    assert await is_oneself(asha, str(role))
    await gate.remove(place.operator, role, if_match=2)
    assert await is_oneself(asha, str(role)) and not await is_oneself(await signed_in(place, "ben"), str(role))
    assert not await is_oneself(asha, "PractitionerRole/none") and not await is_oneself(asha, place.names["surgery"])


async def test_nobody_answers_for_a_line_that_is_gone(place: Place, tmp_path: Path) -> None:
    question, line = await asked_of(place, "asha")
    with sqlite3.connect(tmp_path / "gateway.sqlite") as db:  # as a log that is cut does it
        db.execute("DROP TRIGGER audit_kept")
        assert db.execute("DELETE FROM audit WHERE id = ?", (line,)).rowcount == 1
    assert [await refused(await signed_in(place, who), question) for who in ("asha", "ben")] == ["forbidden: The line that this asks about is here no more, so nobody can say whose look it was."] * 2
