"""Thresholds of a deployment's own for readings: none unless it says who answers for them and when somebody looks; then a Task, and no reading is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.around import readings
from fhir_gateway.domain import strict
from fhir_gateway.domain.readings import observations, read
from fhir_gateway.domain.scopes import Scopes
from fhir_gateway.domain.thresholds import Thresholds, parse

from .spoken import consent, permit
from .test_plans import Place, opened

MAKER = "Northfield Care Software, 01632 960100"
LIMITS = "SYSTOLIC>180; SYSTOLIC<90; SATS<92; TEMP>39.5"


def limits(said: str = LIMITS, hours: str = "Mon-Fri 08:00-18:00", team: str = "RX9") -> Thresholds:
    found = parse(said, MAKER, hours, team)
    assert found is not None
    return found


# -- the rule ---------------------------------------------------------------------------------------------------------


def test_nothing_said_is_no_threshold_and_half_of_it_is_refused() -> None:
    assert parse("", " ", "", "") is None
    whole = (LIMITS, MAKER, "Mon-Fri 08:00-18:00", "RX9")
    for n in range(4):
        with pytest.raises(ValueError, match="is not set: thresholds need all four"):
            parse(*("" if k == n else words for k, words in enumerate(whole)))


@pytest.mark.parametrize(
    ("text", "crossed"),
    [
        ("BP 200 120", ["Systolic blood pressure 200 mmHg is above 180"]), ("BP 180 120", []), ("BP 180.01 120", ["Systolic blood pressure 180.01 mmHg is above 180"]),
        ("BP 90 60", []), ("BP 89.99 60", ["Systolic blood pressure 89.99 mmHg is below 90"]), ("SATS 91", ["Oxygen saturation 91 % is below 92"]), ("PULSE 200", []), ("TEMP 39.5", []),
    ],
)  # fmt: skip
def test_a_reading_is_beyond_a_threshold_by_its_number_and_by_nothing_else(text: str, crossed: list[str]) -> None:
    (made,) = observations(read(text), text, "Patient/p", "2026-11-24T09:00:00Z")
    assert limits().crossed(made) == crossed


@pytest.mark.parametrize("said", ["SYSTOLIC", "SYSTOLIC=180", "SYSTOLIC>>180", "BP>180", "SYSTOLIC>1800", "SATS>101", "STEPS<10", "SYSTOLIC>180, SATS<92", "SYSTOLIC>１80"])
def test_a_limit_that_cannot_be_meant_is_said_and_not_guessed(said: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_READING_LIMITS: `"):
        limits(said)


@pytest.mark.parametrize("hours", ["always", "Mon-Fri", "Fri-Mon 08:00-18:00", "Mon-Fri 18:00-08:00", "Mon-Fri 08:00-08:00", "Mon-Fri 08:00-25:00", "Mon-Frid 08:00-18:00", "mon-fri 8-18"])
def test_hours_that_cannot_be_meant_are_said_and_not_guessed(hours: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_READING_HOURS: `"):
        limits(hours=hours)


@pytest.mark.parametrize(
    ("at", "looked"),
    [
        (datetime(2026, 11, 24, 8, 0, tzinfo=UTC), True), (datetime(2026, 11, 24, 7, 59, 59, tzinfo=UTC), False), (datetime(2026, 11, 24, 18, 0, tzinfo=UTC), False),
        (datetime(2026, 11, 28, 12, 0, tzinfo=UTC), False), (datetime(2026, 7, 3, 17, 30, tzinfo=UTC), False), (datetime(2026, 7, 3, 7, 30, tzinfo=UTC), True),
    ],
)  # fmt: skip
def test_hours_are_those_of_london_in_summer_and_in_winter(at: datetime, looked: bool) -> None:
    assert limits().looked_at(at) is looked


# -- what comes of it -------------------------------------------------------------------------------------------------


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A house, on a Tuesday morning, whose hospital passes readings on."""
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


async def somebody(place: Place) -> str:
    body = {"resourceType": "Patient", "name": [{"family": "Only"}], "birthDate": "1950-01-01"}
    return (await gate.create(place.hospital, "Patient", strict.dump(body))).ref.id


async def kept(place: Place, id: str, type: str) -> list[dict[str, Any]]:
    return [strict.decode(e.body) for e in (await gate.search(place.patient(id), type, [("patient", id)])).entries if e.body is not None]


async def test_without_them_no_value_is_judged(place: Place) -> None:
    id = await somebody(place)
    taken = await readings.by_message(place.hospital, id, "BP 250 150")
    assert taken.new and not taken.task and not taken.said and await kept(place, id, "Task") == []


async def test_a_reading_beyond_one_is_kept_and_its_team_asked_in_the_makers_name(place: Place) -> None:
    place.house.thresholds = limits()
    id = await somebody(place)
    ordinary = await readings.by_message(place.hospital, id, "BP 141 80", message="1")
    assert not ordinary.task and not ordinary.said and await kept(place, id, "Task") == []
    high = await readings.by_message(place.hospital, id, "BP 200 120", message="2")
    (task,) = await kept(place, id, "Task")
    assert high.task == f"Task/{task['id']}" and high.said == readings.SOMEBODY
    assert task["focus"] == {"reference": high.ref} and task["owner"] == {"reference": place.organisations["RX9"]} and task["priority"] == "urgent"
    assert task["description"] == f"Look at this reading. It is beyond a threshold of {MAKER}, who answer for it.", "who may see the Task may be closed to the number"
    again = await readings.by_message(place.hospital, id, "BP 200 120", message="2")
    assert (again.ref, again.task, again.said) == (high.ref, high.task, high.said), "who lost the answer is told again what to say"
    assert not again.new and len(await kept(place, id, "Task")) == 1, "sent twice, asked once"


async def test_of_several_readings_of_a_message_what_is_beyond_one_is_what_the_task_names(place: Place) -> None:
    place.house.thresholds = limits()
    id = await somebody(place)
    taken = await readings.by_message(place.hospital, id, "PULSE 72, BP 200 120, feel awful", message="1")
    (task,) = await kept(place, id, "Task")
    (pressure,) = [o for o in await kept(place, id, "Observation") if o.get("component")]
    assert task["focus"] == {"reference": f"Observation/{pressure['id']}"} == {"reference": taken.ref} and taken.task == f"Task/{task['id']}" and len(taken.also) == 1
    assert "feel awful" in taken.said and taken.said.endswith(readings.SOMEBODY) and pressure["note"] == [{"text": "PULSE 72, BP 200 120, feel awful"}]
    again = await readings.by_message(place.hospital, id, "PULSE 72, BP 200 120, feel awful", message="1")
    assert again == taken._replace(new=False) and len(await kept(place, id, "Observation")) == 2


async def test_when_nobody_looks_the_person_is_told_so(place: Place) -> None:
    place.house.thresholds = limits(hours="Tue 18:00-20:00")
    id = await somebody(place)
    late = await readings.by_message(place.hospital, id, "SATS 85")
    assert late.said == readings.LATER and late.task and len(await kept(place, id, "Task")) == 1, "it waits on their list"


async def test_where_the_team_cannot_be_asked_the_reading_is_kept_and_the_person_told(place: Place) -> None:
    rung: list[str] = []
    place.house.alarm = rung.append
    id = await somebody(place)
    place.house.thresholds = limits(team="NOBODY")
    lost = await readings.by_message(place.hospital, id, "SATS 85")
    place.house.thresholds = limits()
    narrow = replace(place.hospital, scopes=Scopes.parse("system/Observation.c system/Provenance.c"))
    shut = await readings.by_message(narrow, id, "SATS 84")
    assert [lost.said, shut.said] == [readings.NOBODY] * 2 and not lost.task and not shut.task
    assert len(await kept(place, id, "Observation")) == 2 and await kept(place, id, "Task") == [] and len(rung) == 2


async def test_where_the_person_lets_the_team_see_nothing_of_it_they_are_told_so(place: Place) -> None:
    """Who was asked and may not look helps nobody in danger."""
    rung: list[str] = []
    place.house.alarm, place.house.thresholds = rung.append, limits(team="RY9")
    id, team = await somebody(place), place.organisations["RY9"]
    await gate.create(place.patient(id), "Consent", strict.dump(consent(id, permit(team))))
    assert (await readings.by_message(place.hospital, id, "BP 200 120", message="1")).said == readings.SOMEBODY and not rung
    no = permit(team, type="deny", **{"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]})
    await gate.create(place.patient(id), "Consent", strict.dump(consent(id, no)))
    high = await readings.by_message(place.hospital, id, "BP 201 121", message="2")
    assert high.said == readings.NOBODY and not high.task and len(rung) == 1
    assert not [t for t in await kept(place, id, "Task") if "20" in t["description"]], "the number is not told to whom it is hidden from"
    assert (await readings.by_message(place.hospital, id, "BP 201 121", message="2")).said == readings.NOBODY and len(rung) == 1
