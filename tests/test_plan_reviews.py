"""A plan's review falls due, is on the lists of those who see the plan, and goes: under a clock of ours. Its pages are told in
tests/systems/test_01_*.py. docs/main-plan.md"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.around import plan_reviews
from fhir_gateway.domain import strict
from fhir_gateway.domain.plan_reviews import REVIEW, REVIEWED, looked_at, review_of
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.domain.vocabulary import SECTOR_SYSTEM
from fhir_gateway.gate import Context
from fhir_gateway.store import sqlite

from .staff import consent, permit
from .telling.place import Place
from .telling.servers import Post

DAY = date(2026, 11, 25)  # of `Place`
WHO = {"url": "responsible", "valueReference": {"display": "Nora"}}


def plan(next: str | None, last: str | None = None, **more: Any) -> dict[str, Any]:
    said = [{"url": REVIEW, "extension": [*([{"url": "next", "valueDate": next}] if next else []), WHO]}]
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "A plan", "extension": [*said, *([{"url": REVIEWED, "valueDate": last}] if last else [])], **more}


@pytest.mark.parametrize(("next", "last", "due", "late"), [
    ("2026-11-26", None, False, False),
    ("2026-11-25", None, True, False),
    ("2026-11-24", None, True, True),
    ("2026-11-24", "2026-11-23", True, True),  # looked at before the day that was then said
    ("2026-11-24", "2026-11-24", False, False),
    ("2026-11-24", "2026-11-25", False, False),
    ("2026-11", None, True, False),  # some day of this month
    ("2026-11", "2026-11-02", False, False),
    ("2026-10", None, True, True),
    ("2026", None, True, False),
    ("2027", None, False, False),
])  # fmt: skip
def test_a_review_is_due_from_its_day_on_until_it_was_looked_at(next: str, last: str | None, due: bool, late: bool) -> None:
    review = review_of(plan(next, last))
    assert review is not None and (review.due(DAY), review.late(DAY)) == (due, late)


def test_a_plan_that_is_over_or_says_no_day_has_no_review() -> None:
    assert [review_of(p) for p in (plan(None), plan("2026-11-01", status="completed"), plan("2026-11-01", status="draft"), {"resourceType": "CarePlan", "status": "active"})] == [None] * 4


def test_writing_it_down_changes_the_two_days_and_nothing_else() -> None:
    before = plan("2026-11-24", "2026-08-24", note=[{"text": "n"}])
    done = looked_at(before, DAY, date(2027, 2, 25))
    assert [e["valueDate"] for e in done["extension"] if e["url"] == REVIEWED] == ["2026-11-25"]
    assert [e["extension"] for e in done["extension"] if e["url"] == REVIEW] == [[{"url": "next", "valueDate": "2027-02-25"}, WHO]]
    assert {k: v for k, v in done.items() if k != "extension"} == {k: v for k, v in before.items() if k != "extension"}
    moved = looked_at(before, None, date(2026, 12, 1))
    assert review_of(moved) is not None and [e for e in moved["extension"] if e["url"] == REVIEWED] == [{"url": REVIEWED, "valueDate": "2026-08-24"}]
    assert looked_at({"resourceType": "CarePlan"}, None, None) == {"resourceType": "CarePlan"}


def days(plan: dict[str, Any]) -> tuple[str, str]:
    """(the next day, the last look), "" where the plan says none."""
    said = {e["url"]: e for e in plan.get("extension", ())}
    parts = {p["url"]: p for p in said.get(REVIEW, {}).get("extension", ())}
    return parts.get("next", {}).get("valueDate", ""), said.get(REVIEWED, {}).get("valueDate", "")


@pytest.mark.parametrize(("next", "last", "on", "kept"), [
    ("2027-02-01", "2026-11-20", "2026-10-01", ("2027-02-01", "2026-11-20")),  # a look that was forgotten, written down after a later one
    ("2027-02-01", "2026-08-20", "2026-10-01", ("2027-02-01", "2026-10-01")),
    ("2026-11-24", None, "2026-10-01", ("2026-11-24", "2026-10-01")),  # it is due: that look came before its day
    ("2027-02", None, "2026-11-25", ("2027-02", "2026-11-25")),
    ("2026-11-24", None, "2026-11-25", ("", "2026-11-25")),
    ("2026-11", None, "2026-11-25", ("", "2026-11-25")),
    (None, "2026-11", "2026-11-02", ("", "2026-11-02")),  # the same month, said more closely
    (None, "2026-11", "2026-10-31", ("", "2026-11")),
])  # fmt: skip
def test_an_older_look_and_no_word_of_the_next_take_nothing_away(next: str | None, last: str | None, on: str, kept: tuple[str, str]) -> None:
    done = looked_at(plan(next, last), date.fromisoformat(on), None)
    assert days(done) == kept and WHO in done["extension"][-1]["extension"]
    assert days(looked_at(plan(next, last), date.fromisoformat(on), None, clear=True)) == ("", kept[1]), "but where it was said to go"
    assert days(looked_at(plan(next, last), date.fromisoformat(on), date(2027, 5, 1))) == ("2027-05-01", kept[1])


@pytest.mark.parametrize(("every", "on", "next"), [
    ("3 months", "2026-11-25", "2027-02-25"), ("Every 3 months", "2026-11-30", "2027-02-28"), ("8 weeks", "2026-11-25", "2027-01-20"), ("1 year", "2028-02-29", "2029-02-28"),
    ("10 days", "2026-12-25", "2027-01-04"), ("1 month", "2026-12-31", "2027-01-31"), ("60 months", "2026-11-25", "2031-11-25"),
    ("0 days", "2026-11-25", ""), ("999 years", "2026-11-25", ""), ("when Ann is back", "2026-11-25", ""), ("", "2026-11-25", ""),
])  # fmt: skip
def test_where_nobody_says_the_next_it_follows_from_how_often(every: str, on: str, next: str) -> None:
    often = {"url": "every", "valueString": every}
    before = plan(None)
    before["extension"][0]["extension"].append(often)
    done = looked_at(before, date.fromisoformat(on), None)
    assert days(done) == (next, on) and often in done["extension"][-1]["extension"]
    assert days(looked_at(before, date.fromisoformat(on), None, clear=True)) == ("", on)


@pytest.mark.parametrize(("next", "every", "proposed"), [
    ("2027-02-01", "3 months", date(2027, 2, 1)), ("2026-11-25", "3 months", date(2027, 2, 25)), (None, "3 months", date(2027, 2, 25)), ("2026-11-20", "", None),
    ("2027-02", "3 months", None), ("2040-01-01", "3 months", None), (None, "", None),
])  # fmt: skip
def test_the_form_proposes_the_day_that_the_plan_has_or_says_how_often(next: str | None, every: str, proposed: date | None) -> None:
    of = plan(next)
    of["extension"][0]["extension"].append({"url": "every", "valueString": every})
    assert plan_reviews.to_propose(of, DAY) == proposed


@dataclass
class Reviewed:
    """A person, the nurse whom she lets see and change, and a plan of hers."""

    place: Place
    nurse: Context

    @property
    def person(self) -> str:
        return self.place.names["amina"].removeprefix("Patient/")

    async def make(self, next: str | None, **more: Any) -> str:
        body = plan(next, subject={"reference": f"Patient/{self.person}"}, **more)
        return (await gate.create(self.place.hospital, "CarePlan", strict.dump(body))).ref.id

    async def listed(self, who: Context) -> list[str]:
        return [d.plan for d in await plan_reviews.due_of_all(replace(who, at=self.place.now))]

    async def write(self, who: Context, plan: str, on: date | None, then: date | None = None, version: int | None = None) -> str:
        who = replace(who, at=self.place.now)
        now, _ = await plan_reviews.of_plan(who, plan, {f"Patient/{self.person}"})
        return (await plan_reviews.write_down(who, plan, version or now, on, then)).did


@pytest_asyncio.fixture
async def reviewed(tmp_path: Path) -> AsyncIterator[Reviewed]:
    place = Place(Post())
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: place.now)
    await place.open(store)
    every = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect", "correct")]
    await gate.create(place.me, "Consent", strict.dump(consent(place.names["amina"].removeprefix("Patient/"), permit(place.names["asha"], action=every))))
    yield Reviewed(place, await place.gp())
    await store.close()


async def test_it_is_on_the_list_from_its_day_on_and_goes_when_it_was_looked_at_or_moved(reviewed: Reviewed) -> None:
    main = await reviewed.make("2026-11-27")
    other = await reviewed.make("2026-12", partOf=[{"reference": f"CarePlan/{main}"}])
    assert await reviewed.listed(reviewed.nurse) == []
    reviewed.place.now += timedelta(days=2)
    assert await reviewed.listed(reviewed.nurse) == await reviewed.listed(reviewed.place.me) == [main]
    reviewed.place.now += timedelta(days=4)
    assert await reviewed.listed(reviewed.nurse) == [main, other]
    today = reviewed.place.now.date()
    await reviewed.write(reviewed.nurse, main, today)
    assert await reviewed.listed(reviewed.nurse) == [other]
    await reviewed.write(reviewed.place.me, other, None, today + timedelta(days=30))
    assert await reviewed.listed(reviewed.place.me) == []
    reviewed.place.now += timedelta(days=30)
    assert await reviewed.listed(reviewed.nurse) == [other]
    body = json.loads((await gate.read(reviewed.nurse, Ref("CarePlan", main))).body)
    await gate.update(reviewed.nurse, Ref("CarePlan", main), strict.dump({**body, **plan("2026-12-01", "2026-12-02")} | {"id": main}), if_match=2)
    assert await reviewed.listed(reviewed.nurse) == [other], "looked at on its day or after it, by whatever way it was written"


async def test_nobody_hears_of_it_who_may_not_see_the_plan(reviewed: Reviewed) -> None:
    main = await reviewed.make("2026-11-01")
    assert await reviewed.listed(reviewed.nurse) == [main]
    no = consent(reviewed.person, permit(reviewed.place.names["asha"], type="deny", **{"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "CarePlan"}]}))
    await gate.create(reviewed.place.me, "Consent", strict.dump(no))
    charity = Actor("professional", frozenset({"Practitioner/c", f"{SECTOR_SYSTEM}|voluntary"}), "Practitioner/c", sector="voluntary")
    for who in (reviewed.nurse, gate.house_context(reviewed.place.house, charity)):
        assert await reviewed.listed(who) == []
        with pytest.raises(Problem) as hidden:
            await reviewed.write(who, main, DAY)
        assert hidden.value.kind == "not-found"
    assert await reviewed.listed(reviewed.place.me) == [main]


async def test_who_may_only_read_hears_of_it_and_writes_nothing_down(reviewed: Reviewed) -> None:
    main = await reviewed.make("2026-11-01")
    await reviewed.place.add("ben", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Ek"}]})
    ben = gate.house_context(reviewed.place.house, Actor("professional", frozenset({reviewed.place.names["ben"], f"{SECTOR_SYSTEM}|health"}), reviewed.place.names["ben"], sector="health"))
    await gate.create(reviewed.place.me, "Consent", strict.dump(consent(reviewed.person, permit(reviewed.place.names["ben"]))))
    assert await reviewed.listed(ben) == [main]
    with pytest.raises(Problem) as no:
        await reviewed.write(ben, main, DAY)
    assert no.value.kind == "forbidden" and await reviewed.listed(ben) == [main]


async def test_a_volunteer_proposes_it_and_the_person_accepts(reviewed: Reviewed) -> None:
    main = await reviewed.make("2026-11-01")
    vic = replace(reviewed.nurse, actor=replace(reviewed.nurse.actor, drafts_only=True))
    assert await reviewed.write(vic, main, DAY) == "drafted"
    assert await reviewed.listed(reviewed.place.me) == [main]
    (waits,) = await gate.drafts_for(reviewed.place.me, f"Patient/{reviewed.person}")
    await gate.answer_draft(reviewed.place.me, f"Patient/{reviewed.person}", waits.draft.id, "accept")
    assert await reviewed.listed(reviewed.place.me) == []


@pytest.mark.parametrize(("on", "then", "version", "kind"), [
    (None, None, None, "invalid"),
    (DAY + timedelta(days=1), None, None, "invalid"),
    (DAY - timedelta(days=366 * 6), None, None, "invalid"),
    (DAY, DAY, None, "invalid"),
    (DAY, DAY + timedelta(days=366 * 6), None, "invalid"),
    (DAY, None, 7, "stale"),
])  # fmt: skip
async def test_what_cannot_be_said_of_it_is_refused_and_changes_nothing(reviewed: Reviewed, on: date | None, then: date | None, version: int | None, kind: str) -> None:
    main = await reviewed.make("2026-11-01")
    with pytest.raises(Problem) as no:
        await reviewed.write(reviewed.nurse, main, on, then, version)
    assert no.value.kind == kind and await reviewed.listed(reviewed.nurse) == [main]


async def test_more_than_fill_a_page_were_looked_at_and_one_still_waits(reviewed: Reviewed) -> None:
    for n in range(60):
        more = {"extension": plan("2026-10-01", "2026-10-02")["extension"], "subject": {"reference": f"Patient/{reviewed.person}"}}
        await gate.create(reviewed.place.hospital, "CarePlan", strict.dump({"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": f"{n}", **more}))
    waits = await reviewed.make("2026-11-01")
    assert await reviewed.listed(reviewed.nurse) == [waits]
