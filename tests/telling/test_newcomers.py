"""Access that begins by the directory: an organisation joined, confirmed, put in a sector or under another is told of, once, to whom it is news."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.vocabulary import HL7, ROLE_AT, SECTOR_SYSTEM
from fhir_gateway.gate.context import directory_now
from fhir_gateway.store import sqlite
from fhir_gateway.tell import newcomers, worker

from .place import Place
from .servers import Post, mail_server

NURSE = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/role", "code": "nurse", "display": "Nurse"}]}


@pytest.fixture
def post() -> Iterator[Post]:
    with mail_server() as p:
        yield p


@pytest_asyncio.fixture
async def place(tmp_path: Path, post: Post) -> AsyncIterator[Place]:
    here = Place(post)
    store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: here.now)
    await here.open(store)
    await here.choose()
    await here.later()
    yield here
    await store.close()


async def news(place: Place) -> int:
    """How many notices the change made; the letter, if any, goes out."""
    before = len(await place.states())
    await place.later()
    await place.later()
    return len(await place.states()) - before


async def settled(place: Place) -> None:
    """What came before is told."""
    await place.later()
    await place.later()


async def to_name(place: Place, *names: tuple[str, str], type: str = "permit") -> None:
    """Amina's consent about whoever goes by this `system`, `value`."""
    actor = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"identifier": {"system": s, "value": v}}} for s, v in names]
    body = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": place.names["amina"]},
        "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": type, "actor": actor}]},
    }  # fmt: skip
    await gate.create(place.me, "Consent", strict.dump(body))
    await settled(place)


async def granted(place: Place, *whom: str) -> None:
    await place.grant(*whom)
    await settled(place)


async def somebody(place: Place, key: str = "bo") -> None:
    await place.add(key, {"resourceType": "Practitioner", "active": True, "name": [{"family": key}]})


async def test_who_joins_an_organisation_that_a_consent_names_is_told_of_once(place: Place) -> None:
    await granted(place, "hospital")
    await somebody(place)
    assert await news(place) == 0, "nobody yet"
    await place.add("bo-role", place.role("bo", "hospital"))
    letters = len(place.post.letters)
    assert await news(place) == 1 and len(place.post.letters) == letters + 1
    await place.change(place.operator, "bo-role", telecom=[{"system": "phone", "value": "1"}])
    assert await news(place) == 0, "they were there already"
    await place.add("bo-again", place.role("bo", "hospital", code=[NURSE]))
    assert await news(place) == 0, "in another job, and let in before"


async def test_who_joins_where_no_consent_lets_in_is_not(place: Place) -> None:
    await granted(place, "hospital")
    await somebody(place)
    await place.add("bo-role", place.role("bo", "surgery"))
    assert await news(place) == 0
    await to_name(place, (ODS_CODE, "surgery"), type="deny")
    await somebody(place, "cy")
    await place.add("cy-role", place.role("cy", "surgery"))
    assert await news(place) == 0, "a no lets nobody in"


async def test_who_was_let_in_by_name_is_no_news_when_they_join(place: Place) -> None:
    await somebody(place)
    await granted(place, "hospital", "bo")
    await place.add("bo-role", place.role("bo", "hospital"))
    assert await news(place) == 0


async def test_somebody_to_whom_the_person_says_no_is_no_news(place: Place) -> None:
    await granted(place, "hospital")
    for key in ("bo", "cy", "di"):
        await somebody(place, key)
    await place.add("ward", {"resourceType": "Organization", "active": True, "name": "Ward", "partOf": {"reference": place.names["hospital"]}})
    await place.refuse("bo", "surgery")
    await settled(place)
    await place.add("bo-role", place.role("bo", "hospital"))
    assert await news(place) == 0, "a no by name"
    await place.add("cy-role", place.role("cy", "surgery"))
    assert await news(place) == 0
    await place.add("cy-too", place.role("cy", "hospital"))
    assert await news(place) == 1, "a no to another place of theirs says nothing of this one"
    await place.refuse("di", class_=[{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}])
    await settled(place)
    await place.add("di-role", place.role("di", "ward"))
    assert await news(place) == 1, "a no to some things is no no to all"


async def test_a_consent_that_is_over_or_ended_is_not_news(place: Place) -> None:
    key = await place.grant("hospital")
    await settled(place)
    await place.change(place.me, key, status="inactive")
    await place.grant("hospital", until="2026-11-24")
    await settled(place)
    await somebody(place)
    await place.add("bo-role", place.role("bo", "hospital"))
    assert await news(place) == 0


async def test_a_job_at_a_place_that_a_consent_names(place: Place) -> None:
    await to_name(place, (ROLE_AT, f"{place.names['hospital']} {NURSE['coding'][0]['system']}|nurse"))
    await somebody(place)
    await place.add("bo-role", place.role("bo", "hospital"))
    assert await news(place) == 0, "another job"
    await place.change(place.operator, "bo-role", code=[NURSE])
    assert await news(place) == 1


async def test_a_sector_that_is_confirmed(place: Place) -> None:
    await to_name(place, (SECTOR_SYSTEM, "housing"))
    await place.add("homes", {"resourceType": "Organization", "active": True, "name": "Homes", "identifier": [{"system": ODS_CODE, "value": "homes"}]})
    assert await news(place) == 0
    housing = [{"coding": [{"system": SECTOR_SYSTEM, "code": "housing"}]}]
    await place.change(place.operator, "homes", type=housing)
    assert await news(place) == 1
    await place.change(place.operator, "homes", name="Homes for all")
    assert await news(place) == 0


async def test_an_import_tells_nobody_until_an_operator_confirms_it(place: Place) -> None:
    await granted(place, "hospital")
    await somebody(place)
    made = await gate.create(place.hospital, "PractitionerRole", strict.dump(place.role("bo", "hospital")))
    place.names["bo-role"] = str(made.ref)
    assert await news(place) == 0
    await place.change(place.operator, "bo-role", telecom=[{"system": "phone", "value": "1"}])
    assert await news(place) == 1


async def test_a_part_that_comes_under_an_organisation_a_consent_names(place: Place) -> None:
    await granted(place, "hospital")
    await place.add("ward", {"resourceType": "Organization", "active": True, "name": "Ward"})
    assert await news(place) == 0
    await place.change(place.operator, "ward", partOf={"reference": place.names["hospital"]})
    assert await news(place) == 1


async def test_a_member_of_the_team_whose_sector_is_confirmed(place: Place) -> None:
    """Until then they count only where a consent names them: a directory fact alone lets them in."""
    await place.add("helpers", {"resourceType": "Organization", "active": True, "name": "Helpers"})
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": place.names["amina"]}, "owner": {"reference": place.names["helpers"]},
        "description": "Come by on Friday",
    }  # fmt: skip
    place.names["task"] = str((await gate.create(place.me, "Task", strict.dump(task))).ref)
    from fhir_gateway.domain.types import Actor

    helpers = place.names["helpers"]
    them = gate.house_context(place.house, Actor("system", frozenset({"Device/x", helpers}), "Device/x", "Helpers", helpers, contributor=True))
    await place.change(them, "task", status="accepted")
    assert await news(place) == 0
    await place.change(place.operator, "helpers", type=[{"coding": [{"system": SECTOR_SYSTEM, "code": "social-care"}]}])
    assert await news(place) == 1


async def test_who_took_on_a_task_and_is_given_a_job_in_health_then(place: Place) -> None:
    """The task came first: until it is said where they work they count only where a consent names them."""
    await somebody(place)
    await place.add("helpers", {"resourceType": "Organization", "active": True, "name": "Helpers"})
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": place.names["amina"]}, "owner": {"reference": place.names["bo"]},
        "description": "Come by on Friday",
    }  # fmt: skip
    place.names["task"] = str((await gate.create(place.me, "Task", strict.dump(task))).ref)
    directory, _ = await directory_now(place.house)
    bo = gate.house_context(place.house, directory.actor(place.names["bo"], kind="professional", at=place.now, clinician=True))
    await place.change(bo, "task", status="accepted")
    await settled(place)
    await place.add("bo-helps", place.role("bo", "helpers"))
    assert await news(place) == 0, "no health or social care"
    await place.add("bo-role", place.role("bo", "hospital"))
    assert await news(place) == 1
    await place.add("bo-again", place.role("bo", "hospital", code=[NURSE]))
    assert await news(place) == 0
    await somebody(place, "cy")
    await place.add("cy-role", place.role("cy", "hospital"))
    assert await news(place) == 0, "a colleague of theirs is nobody new"


async def test_many_people_are_told_once_each_however_often_it_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop after each batch: the next round goes on with the next person."""
    people = [place.names["amina"]]
    for n in range(6):
        body: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": f"Other{n}"}]}
        people.append(str((await gate.create(place.hospital, "Patient", strict.dump(body))).ref))
    for person in people:
        place.names["amina"] = person
        actor = gate.house_context(place.house, place.me.actor)
        assert actor.actor.patient == person
        await place.grant("hospital")
    await settled(place)
    monkeypatch.setattr(newcomers, "BATCH", 2)
    monkeypatch.setattr(newcomers, "LONGEST_ROUND", -1.0)
    await somebody(place)
    await place.add("bo-role", place.role("bo", "hospital"))
    queued = []
    for _ in range(8):
        await newcomers.once(place.house, "w")
        queued.append(len([i for i in await place.house.store.outbox_items("tell:patient", "queued") if i["why"] == "new-access"]))
    assert queued[0] == 2 and queued[-1] == len(people), queued
    assert {i["patient"] for i in await place.house.store.outbox_items("tell:patient", "queued")} == set(people)
    assert not (await place.house.store.outbox(newcomers.DIRECTORY)).get("queued")
    assert isinstance(await worker.once(place.house, place.channels), worker.Told)


async def test_who_joins_a_group_that_a_consent_names(place: Place) -> None:
    """And whoever begins to work at an organisation in it."""
    await somebody(place)
    body = {"resourceType": "Group", "type": "practitioner", "actual": True, "name": "Night team", "member": [{"entity": {"reference": place.names["hospital"]}}]}
    await place.add("group", body)
    await granted(place, "group")
    await place.add("bo-role", place.role("bo", "hospital"))
    assert await news(place) == 1
    await somebody(place, "cy")
    both = [*body["member"], {"entity": {"reference": place.names["cy"]}}]  # type: ignore[misc]
    await place.change(place.operator, "group", member=both)
    assert await news(place) == 1
    await place.change(place.operator, "group", name="Nights")
    assert await news(place) == 0
