"""Searches through the gate: pages and their links, what a sign-in's scopes allow of them and of every hop, includes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fhir_gateway import definitions, gate
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.scopes import Scopes
from fhir_gateway.domain.types import Actor, Bump, Found, Put, Ref, Writer
from fhir_gateway.gate import Context, House, Page
from fhir_gateway.gate.context import directory_now
from fhir_gateway.store import sqlite

DEVICE = "Device/hospital"


class Place:
    """A house with one person in it, and the contexts that ask."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.hospital = gate.house_context(house, Actor("system", frozenset({DEVICE}), DEVICE, "A hospital", contributor=True))
        self.patient = ""

    async def make(self, type: str, **body: Any) -> str:
        made = await gate.create(self.hospital, type, json.dumps({"resourceType": type, **body}).encode())
        return made.ref.id

    async def goal(self, **more: Any) -> str:
        return await self.make(
            "Goal", lifecycleStatus="active", description={"text": "walk"}, subject={"reference": f"Patient/{self.patient}"}, **more
        )

    async def me(self, scopes: str = "patient/*.cruds") -> Context:
        """The person, signed in with these scopes."""
        person = f"Patient/{self.patient}"
        actor = Actor("patient", frozenset({person}), person, "Ann", patient=person)
        where = await directory_now(self.house)
        return Context(self.house, actor, self.house.clock(), scopes=Scopes.parse(scopes), client="app", launch=person, place=where)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    at, n = datetime(2026, 11, 24, 12, tzinfo=UTC), 0

    def now() -> datetime:
        nonlocal at
        at += timedelta(milliseconds=1)
        return at

    def new_id() -> str:
        nonlocal n
        n += 1
        return str(UUID(int=n))

    store = await sqlite.open(tmp_path / "search.sqlite")
    labels = LabelSets.load((definitions.profiles_dir() / "labels.json").read_bytes())
    here = Place(House(store, now, new_id, definitions.load_r4(), labels, b"k" * 32))
    here.patient = await here.make("Patient", name=[{"family": "Lee"}], birthDate="1950-04-03")
    yield here
    await store.close()


def ids(page: Page, mode: str = "match") -> list[str]:
    return [e.ref.id for e in page.entries if e.mode == mode]


async def refused(ctx: Context, type: str | None, *params: tuple[str, str], within: Ref | None = None) -> str:
    with pytest.raises(Problem) as caught:
        await gate.search(ctx, type, params, within=within)
    return caught.value.kind


# -- pages --------------------------------------------------------------------------------------------------------------


async def test_pages_are_full_and_together_everything(place: Place) -> None:
    made = [await place.goal() for _ in range(7)]
    ctx = await place.me()
    page = await gate.search(ctx, "Goal", [("_count", "3"), ("_total", "accurate")])
    seen, sizes = ids(page), [len(page.entries)]
    while page.next:
        page = await gate.search(ctx, "Goal", [("_page", page.next)])
        seen, sizes = seen + ids(page), [*sizes, len(page.entries)]
        assert page.total == 7
    assert seen == sorted(made) and sizes == [3, 3, 1]


async def test_a_page_link_says_nothing_and_is_of_no_use_elsewhere(place: Place) -> None:
    for _ in range(3):
        await place.goal(identifier=[{"system": "http://nhs", "value": "9990000018"}])
    ctx = await place.me()
    link = (await gate.search(ctx, "Goal", [("identifier", "http://nhs|9990000018"), ("_count", "1")])).next
    assert link is not None and "9990000018" not in link and b"9990000018".hex() not in link
    assert len(ids(await gate.search(ctx, "Goal", [("_page", link)]))) == 1
    mine = Ref("Patient", place.patient)
    for other, type, within in (
        (ctx, "CarePlan", None), (ctx, None, None), (ctx, "Goal", mine), (replace(ctx, purpose="HRESCH"), "Goal", None), (replace(ctx, client="other"), "Goal", None),
        (replace(ctx, actor=replace(ctx.actor, user="Patient/other")), "Goal", None),
    ):  # fmt: skip
        assert await refused(other, type, ("_page", link), within=within) == "not-found"
    for odd in ("", "x", link[:-2], link[:8] + ("A" if link[8] != "A" else "B") + link[9:], "é", "00" * 40):
        assert await refused(ctx, "Goal", ("_page", odd)) == "not-found"
    everything = (await gate.everything(ctx, place.patient, [("_count", "1")])).next
    history = (await gate.history(ctx, "Goal", None, [("_count", "1")])).next
    assert everything and history
    for link in (everything, history):
        assert await refused(ctx, "Goal", ("_page", link)) == "not-found"
    with pytest.raises(Problem, match="does not work any more"):
        await gate.history(ctx, "CarePlan", None, [("_page", history)])


async def test_a_page_link_dies_with_any_change_of_what_decides(place: Place) -> None:
    for _ in range(3):
        await place.goal()
    ctx = await place.me()
    link = (await gate.search(ctx, "Goal", [("_count", "1")])).next
    assert link is not None
    await place.house.store.commit(Bump(f"Patient/{place.patient}"))
    assert await refused(ctx, "Goal", ("_page", link)) == "not-found"


# -- scopes -------------------------------------------------------------------------------------------------------------


async def test_no_scope_no_search_and_several_types_need_each(place: Place) -> None:
    await place.goal()
    ctx = await place.me("patient/Goal.rs patient/CarePlan.rs patient/Observation.r")
    assert await refused(ctx, "Observation") == "insufficient-scope"
    assert await refused(ctx, None) == "insufficient-scope"
    assert await refused(ctx, None, ("_type", "Goal,Observation")) == "insufficient-scope"
    assert await refused(ctx, "Observation", within=Ref("Patient", place.patient)) == "insufficient-scope"
    assert len(ids(await gate.search(ctx, None, [("_type", "Goal,CarePlan")]))) == 1


async def test_every_hop_needs_a_scope_of_its_own(place: Place) -> None:
    """Without it a chain would tell, by its hits, what the sign-in may not search."""
    goal = await place.goal()
    goals_only, both = await place.me("patient/Goal.rs"), await place.me("patient/Goal.rs patient/Patient.rs")
    for param in (("patient.birthdate", "1950-04-03"), ("subject:Patient.family", "lee"), ("_has:CarePlan:goal:status", "active"), ("patient._has:Goal:patient:_id", "1")):
        assert await refused(goals_only, "Goal", param) == "insufficient-scope", param
    assert ids(await gate.search(both, "Goal", [("patient.birthdate", "1950-04-03")])) == [goal]
    assert ids(await gate.search(both, "Goal", [("subject.family", "lee")])) == [goal]
    assert await refused(both, "Patient", ("_has:CarePlan:patient:status", "active")) == "insufficient-scope"


async def test_what_scopes_allow_of_a_type_holds_in_every_search_and_at_every_hop(place: Place) -> None:
    kinds = {k: await place.make("Observation", status="final", code={"coding": [{"code": k}]}, subject={"reference": f"Patient/{place.patient}"},
                                 category=[{"coding": [{"code": k}]}]) for k in ("a", "b", "c")}  # fmt: skip
    goal = await place.goal()
    one = await place.me("patient/Observation.rs?category=a patient/Goal.rs patient/Patient.rs")
    two = await place.me("patient/Observation.rs?category=a patient/Observation.rs?category=b patient/Goal.rs patient/Patient.rs")
    all_ = await place.me("patient/*.rs patient/Observation.rs?category=a")
    assert ids(await gate.search(one, "Observation", [])) == [kinds["a"]]
    assert ids(await gate.search(two, "Observation", [("_total", "accurate")])) == [kinds["a"], kinds["b"]]
    assert len(ids(await gate.search(all_, "Observation", []))) == 3
    assert ids(await gate.search(two, None, [("_type", "Goal,Observation")])) == [goal, kinds["a"], kinds["b"]]
    assert ids(await gate.search(one, "Observation", [("category", "b")])) == []
    assert ids(await gate.search(one, "Patient", [("_has:Observation:patient:code", "a")])) == [place.patient]
    assert ids(await gate.search(one, "Patient", [("_has:Observation:patient:code", "b")])) == []
    assert ids(await gate.search(two, "Patient", [("_revinclude", "Observation:patient")]), "include") == [kinds["a"], kinds["b"]]


# -- what comes along ---------------------------------------------------------------------------------------------------


async def test_includes_of_every_kind(place: Place) -> None:
    goal, other = await place.goal(), await place.goal()
    plan = await place.make(
        "CarePlan", status="active", intent="plan", subject={"reference": f"Patient/{place.patient}"}, goal=[{"reference": f"Goal/{goal}"}, {"reference": "Goal/not-here"}]
    )
    ctx = await place.me()

    async def brought(type: str, *params: tuple[str, str]) -> set[str]:
        page = await gate.search(ctx, type, params)
        assert set(ids(page)) <= {goal, other, plan, place.patient}
        return set(ids(page, "include"))

    assert await brought("CarePlan", ("_include", "CarePlan:goal")) == {goal}
    assert await brought("CarePlan", ("_include", "CarePlan:goal:Patient")) == set()
    assert await brought("CarePlan", ("_include", "CarePlan:goal"), ("_include:iterate", "Goal:patient")) == {goal, place.patient}
    assert await brought("CarePlan", ("_include", "*")) == {goal, place.patient}
    assert await brought("Goal", ("_id", goal), ("_revinclude", "CarePlan:goal")) == {plan}
    assert await brought("Goal", ("_id", goal), ("_revinclude", "*")) == {plan}
    assert await brought("Goal", ("_id", other), ("_revinclude", "*")) == set()
    assert await brought("Patient", ("_revinclude", "*")) == {goal, other, plan}
    assert await brought("Patient", ("_revinclude", "Goal:*"), ("_revinclude:iterate", "CarePlan:goal")) == {goal, other, plan}
    assert await brought("Patient", ("_revinclude", "Goal:subject:Group")) == set()


async def test_what_comes_along_is_whole_or_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from fhir_gateway.gate import searching

    monkeypatch.setattr(searching, "INCLUDED", 3)
    for _ in range(3):
        await place.goal()
    ctx = await place.me()
    for include in ("Goal:patient", "*", "Goal:*"):
        assert len(ids(await gate.search(ctx, "Patient", [("_revinclude", include)]), "include")) == 3
    await place.goal()
    for include in ("Goal:patient", "*", "Goal:*"):
        assert await refused(ctx, "Patient", ("_revinclude", include)) == "bad-request"


# -- compartments -------------------------------------------------------------------------------------------------------


async def test_a_compartment_is_more_than_patient(place: Place) -> None:
    me = {"reference": f"Patient/{place.patient}"}
    mine = await place.make("Observation", status="final", code={"text": "x"}, subject=me)
    theirs = await place.make("Observation", status="final", code={"text": "x"}, subject={"reference": "Group/1"}, performer=[me])
    task = await place.make("Task", status="requested", intent="order", **{"for": me})
    goal = await place.goal()
    ctx, whole = await place.me(), Ref("Patient", place.patient)
    assert ids(await gate.search(ctx, "Observation", [], within=whole)) == [mine, theirs]
    assert ids(await gate.search(ctx, "Observation", [("patient", place.patient)])) == [mine]
    assert ids(await gate.search(ctx, "Patient", [], within=whole)) == [place.patient]
    every = ids(await gate.search(ctx, None, [], within=whole))
    assert set(every) == {mine, theirs, goal, place.patient} and task not in every, "Task.for is not in R4's table"
    assert ids(await gate.search(ctx, None, [("_type", "Goal,Observation")], within=whole)) == [goal, mine, theirs]
    assert ids(await gate.search(ctx, "Goal", [], within=Ref("Patient", "somebody-else"))) == []
    assert await refused(ctx, "Organization", within=whole) == "bad-request"


async def test_what_speaks_of_two_people_is_found_by_either(place: Place) -> None:
    """Naming one of them finds no less than naming nobody."""
    other = await place.make("Patient", name=[{"family": "Bo"}])
    both = await place.make("Appointment", status="proposed", participant=[
        {"actor": {"reference": f"Patient/{p}"}, "status": "accepted"} for p in (place.patient, other)
    ])  # fmt: skip
    ctx = place.hospital
    assert ids(await gate.search(ctx, "Appointment", [])) == [both]
    for person in (place.patient, other):
        for params in ([("patient", person)], [("patient", person), ("_total", "accurate")], [("patient", f"{person},nobody")]):
            page = await gate.search(ctx, "Appointment", params)
            assert ids(page) == [both] and page.total == 1, params
        assert ids(await gate.search(ctx, "Appointment", [], within=Ref("Patient", person))) == [both]
        assert both in ids(await gate.everything(ctx, person))
    more = [await place.make("Appointment", status="proposed", participant=[{"actor": {"reference": f"Patient/{place.patient}"}, "status": "accepted"}]) for _ in range(2)]
    first = await gate.search(ctx, "Appointment", [("patient", place.patient), ("_count", "1")])
    assert first.next is not None
    second = await gate.search(ctx, "Appointment", [("_page", first.next)])
    assert ids(first) + ids(second) == sorted([both, *more])[:2]


@pytest.mark.parametrize("peeking", [True, False])
async def test_a_next_page_is_promised_only_where_something_may_be_seen_on_it(place: Place, peeking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What names somebody who has not opened it is no hit, is not counted, and is no next page; whatever the engine can tell."""
    if not peeking:
        search = place.house.store.search

        async def plainly(*args: Any, **more: Any) -> Found:
            return replace(await search(*args, **more), extra={})

        monkeypatch.setattr(place.house.store, "search", plainly)
    other = await place.make("Patient", name=[{"family": "Bo"}])

    def of(*people: str) -> list[dict[str, Any]]:
        return [{"actor": {"reference": f"Patient/{p}"}, "status": "accepted"} for p in people]

    mine = [await place.make("Appointment", status="proposed", participant=of(place.patient)) for _ in range(2)]
    await place.make("Appointment", status="proposed", participant=of(place.patient, other))
    ctx = await place.me("patient/*.rs")
    for params in ([("_count", "2")], [("_count", "2"), ("_sort", "-_id")], [("_count", "2"), ("_total", "accurate")], [("_count", "1")]):
        page = await gate.search(ctx, "Appointment", [("patient", place.patient), *params])
        seen, pages = ids(page), 1
        while page.next:
            page = await gate.search(ctx, "Appointment", [("_page", page.next)])
            assert page.entries, "no empty page"
            seen, pages = seen + ids(page), pages + 1
        assert sorted(seen) == mine and pages == (2 if params == [("_count", "1")] else 1), params


async def merge(place: Place, person: str, other: str, how: str) -> None:
    """An operator says that these two records are of one person."""
    stored = await place.house.store.get(Ref("Patient", person))
    assert stored is not None and stored.body is not None
    body = json.dumps(json.loads(stored.body) | {"link": [{"other": {"reference": f"Patient/{other}"}, "type": how}]}).encode()
    writer = Writer("Device/operator", kind="operator")
    put = Put(stored.ref, 2, place.house.clock(), body, body, stored.facts, (), writer, 1)
    await place.house.store.commit(put, Bump(str(stored.ref)))


async def test_a_merged_record_is_searched_as_it_is_shown(place: Place) -> None:
    """The person reads what was filed under their other name as its view: what the view drops is not found either."""
    old = await place.make("Patient", name=[{"family": "Lee"}], birthDate="1950-04-03")
    for subject in (old, place.patient):
        await place.make(
            "CarePlan", status="active", intent="plan", subject={"reference": f"Patient/{subject}"}, goal=[{"reference": "Goal/1", "identifier": {"value": "7"}}]
        )
    await merge(place, old, place.patient, "replaced-by")
    await merge(place, place.patient, old, "replaces")
    ctx = replace(await place.me(), launch=None, scopes=None)
    for person, found in ((old, 0), (place.patient, 1)):
        page = await gate.search(ctx, "CarePlan", [("patient", person)])
        assert len(page.entries) == 1 and (b'"7"' in (page.entries[0].body or b"")) is bool(found)
        assert len((await gate.search(ctx, "CarePlan", [("patient", person), ("goal:identifier", "7")])).entries) == found


async def test_who_looked_into_a_compartment_in_vain_is_told_to_the_person(place: Place) -> None:
    await place.goal()
    stranger = "Practitioner/stranger"
    where = await directory_now(place.house)
    actor = Actor("professional", frozenset({stranger}), stranger, "Dr Other")
    ctx = Context(place.house, actor, place.house.clock(), scopes=Scopes.parse("user/*.rs"), client="app", place=where)
    assert ids(await gate.search(ctx, "Goal", [], within=Ref("Patient", place.patient))) == []
    rows = [n for n in await place.house.store.notes(patient=f"Patient/{place.patient}") if n.user == stranger]
    assert [(n.allowed, n.query) for n in rows] == [(False, f"Patient/{place.patient}/Goal?")]
