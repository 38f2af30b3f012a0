"""Questions that fall due: which Task asks what from when on, what answers end it, and who sees that; under a clock of ours. Its pages are told
in tests/systems/test_10_*.py."""

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
from fhir_gateway.around import follow_ups
from fhir_gateway.domain import follow_ups as rules
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.domain.vocabulary import ACT_CODE, SECTOR_SYSTEM
from fhir_gateway.gate import Context
from fhir_gateway.store import sqlite

from .staff import consent, permit
from .telling.place import Place
from .telling.servers import Post

FORM = "https://town.example/Questionnaire/how-are-you"
DAY = date(2026, 12, 4)
ASKED = {
    "resourceType": "Task", "status": "requested", "for": {"reference": "Patient/1"}, "executionPeriod": {"start": "2026-12-04", "end": "2026-12-18"},
    "input": [{"type": {"coding": [{"system": rules.SDC, "code": "questionnaire"}]}, "valueCanonical": f"{FORM}|1"}],
}  # fmt: skip
GIVEN = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": f"{FORM}|2", "subject": {"reference": "Patient/1"}, "authored": "2026-12-05T10:00:00Z",
         "item": [{"linkId": "1", "answer": [{"valueInteger": 0}]}]}  # fmt: skip

SEVEN = [{"linkId": "1", "answer": [{"valueInteger": 7}]}]


@pytest.mark.parametrize(("task", "given", "today", "said"), [
    ({}, {}, date(2026, 12, 5), True),
    ({}, {"authored": "2026-12-03"}, date(2026, 12, 5), False),  # of before
    ({}, {"authored": None}, date(2026, 12, 3), False),
    ({}, {"authored": "2027-12-05"}, date(2026, 12, 3), False),  # nobody answers tomorrow
    ({}, {"status": "in-progress"}, date(2026, 12, 5), False),
    ({}, {"item": None}, date(2026, 12, 5), False),  # an empty form says nothing
    ({}, {"item": [{"linkId": "g", "item": [{"linkId": "1"}]}]}, date(2026, 12, 5), False),
    ({}, {"item": [{"linkId": "g", "item": [{"linkId": "1", "answer": [{"valueBoolean": False}]}]}]}, date(2026, 12, 5), True),
    ({}, {"questionnaire": f"{FORM}-2"}, date(2026, 12, 5), False),
    ({}, {"subject": {"reference": "Patient/2"}}, date(2026, 12, 5), False),
    ({"status": "rejected"}, {}, date(2026, 12, 5), False),
    ({"executionPeriod": None, "restriction": {"period": {"end": "2026-11-20"}}}, {}, date(2026, 12, 5), True),  # due by a day, and asked at once
    ({"input": [{"type": {"text": "Questionnaire"}, "valueCanonical": FORM}]}, {}, date(2026, 12, 5), True),
    ({"input": [{"type": {"text": "leaflet"}, "valueCanonical": FORM}]}, {}, date(2026, 12, 5), False),
])  # fmt: skip
def test_what_answers_end_what_was_asked(task: dict[str, Any], given: dict[str, Any], today: date, said: bool) -> None:
    assert rules.answers(GIVEN | given, ASKED | task, today) is said


def test_each_time_is_a_task_of_its_own_on_its_own_day() -> None:
    made = list(rules.tasks("Patient/1", "Practitioner/n", FORM, "How are you", rules.days(DAY, 13, 3), 14, "2026-12-01T10:00:00Z"))
    assert [(t["executionPeriod"]["start"], t["executionPeriod"]["end"]) for t in made] == [("2026-12-04", "2026-12-18"), ("2027-03-05", "2027-03-19"), ("2027-06-04", "2027-06-18")]
    assert all(t["owner"] == t["for"] == {"reference": "Patient/1"} and rules.asked_by(t) for t in made)


@dataclass
class Asked:
    """A person, the nurse whom she lets see and add to her record, and a form; it is a Wednesday, and nothing is asked yet."""

    place: Place
    nurse: Context
    form: str

    @property
    def person(self) -> str:
        return self.place.names["amina"].removeprefix("Patient/")

    async def ask(self, days: int = 7, **more: Any) -> list[str]:
        return await follow_ups.ask_again(self.nurse, self.person, self.form, self.place.now.date() + timedelta(days=days), **more)

    async def now(self, who: Context | None = None) -> list[str]:
        """The Tasks that are due, as this reader finds them."""
        who = replace(who or self.place.me, at=self.place.now)
        mine, _ = await follow_ups.of_person(who, self.person)
        assert [d.task for d in mine] == [d.task for d in await follow_ups.due_of_all(who)]
        return [f"Task/{d.task}" for d in mine]

    async def answer(self, who: Context | None = None, **more: Any) -> Ref:
        who = replace(who or self.place.me, at=self.place.now)
        body = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": FORM, "subject": {"reference": f"Patient/{self.person}"}, "item": SEVEN, **more}
        return (await gate.create(who, "QuestionnaireResponse", strict.dump(body))).ref

    async def task(self, name: str, who: Context | None = None) -> dict[str, Any]:
        return dict(json.loads((await gate.read(who or self.place.me, Ref(*name.split("/")))).body))


@pytest_asyncio.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    place = Place(Post())
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: place.now)
    await place.open(store)
    every = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect", "correct")]
    yes = consent(place.names["amina"].removeprefix("Patient/"), permit(place.names["asha"], action=every))
    await gate.create(place.me, "Consent", strict.dump(yes))
    form = {"resourceType": "Questionnaire", "url": FORM, "status": "active", "title": "How are you", "subjectType": ["Patient"], "item": [{"linkId": "1", "type": "integer", "text": "From 0 to 10"}]}
    made = await gate.create(place.operator, "Questionnaire", strict.dump(form))
    yield Asked(place, await place.gp(), made.ref.id)
    await store.close()


async def test_it_is_on_nobodys_page_before_its_day_and_is_done_once_it_is_answered(asked: Asked) -> None:
    first, second = await asked.ask(7, weeks=13, times=2)
    assert await asked.now() == await asked.now(asked.nurse) == []
    await asked.answer()  # of before: it ends nothing
    asked.place.now += timedelta(days=7)
    assert await asked.now() == await asked.now(asked.nurse) == [first]
    given = await asked.answer()
    assert await asked.now() == await asked.now(asked.nurse) == []
    done = await asked.task(first, asked.nurse)
    assert done["status"] == "completed" and [o["valueReference"]["reference"] for o in done["output"]] == [str(given)]
    assert (await asked.task(second))["status"] == "requested"
    asked.place.now += timedelta(weeks=13)
    assert await asked.now() == [second]
    asked.place.now += timedelta(days=15)
    assert [d.late for d in (await follow_ups.of_person(replace(asked.place.me, at=asked.place.now), asked.person))[0]] == [True]


async def test_answers_in_progress_end_nothing_until_they_are_finished_and_once(asked: Asked) -> None:
    (task,) = await asked.ask(0)
    begun = await asked.answer(status="in-progress")
    assert await asked.now() == [task]
    body = json.loads((await gate.read(asked.place.me, begun)).body)
    await gate.update(asked.place.me, begun, strict.dump({**body, "status": "completed"}), if_match=1)
    assert await asked.now() == []
    body = json.loads((await gate.read(asked.place.me, begun)).body)
    await gate.update(asked.place.me, begun, strict.dump({**body, "status": "amended"}), if_match=2)
    assert len((await asked.task(task))["output"]) == 1


async def test_an_empty_form_ends_nothing_until_something_is_answered_in_it(asked: Asked) -> None:
    (task,) = await asked.ask(0)
    empty = await asked.answer(item=[{"linkId": "1"}])
    assert await asked.now() == await asked.now(asked.nurse) == [task] and (await asked.task(task))["status"] == "requested"
    body = json.loads((await gate.read(asked.place.me, empty)).body)
    await gate.update(asked.place.me, empty, strict.dump({**body, "status": "amended", "item": SEVEN}), if_match=1)
    assert await asked.now() == [] and [o["valueReference"]["reference"] for o in (await asked.task(task))["output"]] == [str(empty)]


async def test_it_is_shown_and_ended_only_where_the_person_lets_them_see_it(asked: Asked) -> None:
    (task,) = await asked.ask(0)
    hospital = gate.house_context(asked.place.house, replace(asked.place.hospital.actor, contributor=True))
    assert await asked.now(hospital) == []
    await asked.answer(hospital)
    assert await asked.now() == [task], "who may not see what was asked ends it by no answer of theirs"
    no = consent(asked.person, permit(asked.place.names["asha"], type="deny", **{"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Task"}]}))
    await gate.create(asked.place.me, "Consent", strict.dump(no))
    assert await asked.now(asked.nurse) == [] and await asked.now() == [task]
    charity = Actor("professional", frozenset({"Practitioner/c", f"{SECTOR_SYSTEM}|voluntary"}), "Practitioner/c", sector="voluntary")
    assert await asked.now(gate.house_context(asked.place.house, charity)) == []


async def test_a_task_of_somebody_else_is_ended_by_whom_it_asks_and_who_may_change_it_alone(asked: Asked) -> None:
    place = asked.place
    await place.add("ben", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Ek"}]})
    ben = gate.house_context(place.house, Actor("professional", frozenset({place.names["ben"], f"{SECTOR_SYSTEM}|health"}), place.names["ben"], sector="health"))
    every = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect")]
    await gate.create(place.me, "Consent", strict.dump(consent(asked.person, permit(place.names["ben"], action=every))))
    (body,) = rules.tasks(f"Patient/{asked.person}", place.names["asha"], FORM, "How are you", [place.now.date()], 14, "2026-11-01T10:00:00Z")

    async def task(**more: Any) -> str:
        return str((await gate.create(asked.nurse, "Task", strict.dump({**body, **more}))).ref)

    work = await task(owner={"reference": place.names["asha"]})  # a review that she is to make with the person
    other = await task(code={"text": "Ring her, then fill this in"})
    await asked.answer(ben)
    assert [(await asked.task(t, ben))["status"] for t in (work, other)] == ["requested", "requested"]
    await asked.answer(asked.nurse)
    assert [(await asked.task(t, ben))["status"] for t in (work, other)] == ["completed", "requested"]
    his = await task(owner={"reference": place.names["ben"]})
    await asked.answer(ben)
    assert (await asked.task(his, ben))["status"] == "completed"


async def test_private_answers_end_it_and_stay_private(asked: Asked) -> None:
    (task,) = await asked.ask(0)
    given = await asked.answer(meta={"security": [{"system": ACT_CODE, "code": "SEX"}]})
    no = consent(asked.person, permit(asked.place.names["asha"], type="deny", securityLabel=[{"system": ACT_CODE, "code": "SEX"}]))
    await gate.create(asked.place.me, "Consent", strict.dump(no))
    assert (await asked.task(task, asked.nurse))["status"] == "completed"
    with pytest.raises(Problem) as hidden:
        await gate.read(asked.nurse, given)
    assert hidden.value.kind == "not-found"


async def test_what_a_volunteer_hands_in_ends_it_once_the_person_accepts(asked: Asked) -> None:
    (task,) = await asked.ask(0)
    vic = replace(asked.nurse, actor=replace(asked.nurse.actor, drafts_only=True))
    await asked.answer(vic)
    assert await asked.now() == [task]
    (waits,) = await gate.drafts_for(asked.place.me, f"Patient/{asked.person}")
    await gate.answer_draft(asked.place.me, f"Patient/{asked.person}", waits.draft.id, "accept")
    assert await asked.now() == []


async def test_the_person_says_no_and_who_asked_takes_it_back(asked: Asked) -> None:
    tasks = await asked.ask(0, weeks=1, times=2)
    await follow_ups.decline(asked.place.me, tasks[0].split("/")[1])
    await follow_ups.decline(asked.nurse, tasks[1].split("/")[1])
    assert [(await asked.task(t))["status"] for t in tasks] == ["rejected", "cancelled"]
    with pytest.raises(Problem) as over:
        await follow_ups.decline(asked.place.me, tasks[0].split("/")[1])
    assert over.value.kind == "conflict"


@pytest.mark.parametrize("wrong", [{"days": -1}, {"days": 366 * 6}, {"times": 0}, {"times": 25, "weeks": 1}, {"times": 2}, {"times": 2, "weeks": 500}, {"within": 0}])
async def test_what_cannot_be_asked_is_said_and_asks_nothing(asked: Asked, wrong: dict[str, int]) -> None:
    with pytest.raises(Problem) as no:
        await asked.ask(**wrong)
    assert no.value.kind == "invalid" and await asked.now() == []
