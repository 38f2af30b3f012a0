"""A stub in the place of a copy: it says nothing, it is never applied, and the copy takes its place again. docs/notes/0029"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import definitions, gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Send
from fhir_gateway.domain.validate import check
from fhir_gateway.domain.withheld import is_stub, says_more, stub
from fhir_gateway.store.base import Store
from fhir_gateway.sync.sweeping import sweep
from fhir_gateway.sync.taking import pull_one

from ..faults.scripted import Habits, There
from ..telling.servers import mail_server
from ..test_believing import Beside

SECRET = "walk to the clinic"
HABITS = {
    "plain": Habits(), "minimal": Habits(minimal=True), "search": Habits(feed="search"), "by type": Habits(feed="type"), "words": Habits(versions="words"),
    "no etag": Habits(etag="none"), "odd etag": Habits(etag="odd"), "409": Habits(stale=409), "If-Match": Habits(must_match=True), "tagless": Habits(tags=False),
}  # fmt: skip


class Stubbed(Beside):
    """The surgery's server holds a goal of Amina's. `no` and `yes` are hers."""

    async def start(self, store: Store, there: There) -> Stubbed:
        await self.begin_on(store, there, recall="stub")
        self.ref = await self.goal(SECRET)
        await self.settled()
        assert [g["description"]["text"] for g in there.named("Goal")] == [SECRET]
        self.was = self.one()["id"]
        return self

    def one(self) -> dict[str, Any]:
        (goal,) = self.there.named("Goal")
        return goal

    async def no(self) -> None:
        for key in [k for k in self.names if k.startswith("consent")]:
            await self.change(self.me, key, status="inactive")

    async def yes(self) -> None:
        for key in [k for k in self.names if k.startswith("consent")]:
            await self.change(self.me, key, status="active")

    async def there_is_a_stub(self) -> dict[str, Any]:
        await self.settled()
        goal, status = self.one(), await self.status()
        assert is_stub(goal) and not says_more(goal, stub(self.house.r4, "Goal", [])), goal
        assert goal["id"] == self.was and SECRET not in str(self.there.held) and self.names["amina"] not in str(goal.get("subject"))
        assert all(d.recalled for d in await self.house.store.ledger(remote="hub")) and status["quiet"] and not status["parked"]
        await self.nothing_came_of_it()
        return goal

    async def the_copy_is_back(self) -> dict[str, Any]:
        await self.settled()
        goal = self.one()
        assert not is_stub(goal) and goal["description"] == {"text": SECRET} and "security" not in goal["meta"], goal
        assert [d.recalled for d in await self.house.store.ledger(remote="hub") if d.ref == self.ref][-1] is None
        assert (await self.status())["quiet"]
        await self.nothing_came_of_it()
        return goal

    async def nothing_came_of_it(self) -> None:
        stored = await self.house.store.get(self.ref)
        assert stored is not None and stored.version == 1 and await self.text(self.ref) == SECRET
        assert "NODSCLCD" not in str(stored.body) and not await self.house.store.kept_all("conflict", self.now, "hub ")


@pytest_asyncio.fixture
async def here(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Stubbed]:
    there = There(HABITS[getattr(request, "param", "plain")])
    with mail_server() as post:
        place = Stubbed(post)
        there.clock = lambda: place.now
        yield await place.start(store, there)
        await place.partner.server.close()


def with_habits(*quick: str) -> Any:
    return pytest.mark.parametrize("here", [h if h in quick else pytest.param(h, marks=pytest.mark.slow) for h in HABITS], indirect=True)


@with_habits("plain")
async def test_a_stub_takes_the_place_of_the_copy_and_the_copy_that_of_the_stub(here: Stubbed) -> None:
    await here.no()
    await here.there_is_a_stub()
    await sweep(here.house, here.partner)
    await here.there_is_a_stub()
    (person,) = here.there.named("Patient")
    assert is_stub(person) and "name" not in person
    await here.yes()
    back = await here.the_copy_is_back()
    assert back["id"] == here.was and here.there.named("Patient")[0]["name"] and not here.there.requests("DELETE", "Goal")
    await here.no()
    await here.there_is_a_stub()


@pytest.mark.slow
@with_habits(*HABITS)
@pytest.mark.parametrize("applied", [True, False])
async def test_whatever_is_lost_on_the_way_a_stub_stands_there_in_the_end(here: Stubbed, applied: bool) -> None:
    for status in (500, 503, 408):
        here.there.fault("PUT", "Goal", times=3, status=status, applied=applied)
        await here.no()
        await here.there_is_a_stub()
        here.there.fault("PUT", "Goal", times=3, status=status, applied=applied)
        await here.yes()
        assert (await here.the_copy_is_back())["id"] == here.was


@pytest.mark.slow
async def test_a_stub_that_this_store_knows_nothing_of_is_not_applied(here: Stubbed) -> None:
    before = await here.link(here.ref)
    assert before is not None
    await here.no()
    await here.there_is_a_stub()
    await here.house.store.commit(before)  # as a restore would leave it, after which all is read again
    await pull_one(here.house, here.partner, before)
    await here.there_is_a_stub()
    await here.yes()
    await here.the_copy_is_back()


@pytest.mark.slow
async def test_what_is_written_there_over_a_stub_waits_for_a_person(here: Stubbed) -> None:
    await here.no()
    theirs = {**await here.there_is_a_stub(), "description": {"text": "swim"}}
    here.there.write(theirs)
    await here.settled()
    await here.nothing_came_of_it()
    assert await here.waiting() == {f"Goal/{here.was}"}
    await here.yes()
    await here.the_copy_is_back()


@pytest.mark.slow
async def test_an_edit_there_before_the_stub_is_taken_in_first(here: Stubbed) -> None:
    await here.no()
    here.there.write({**here.one(), "description": {"text": "swim"}})
    await here.round(3)
    goal = here.one()
    assert is_stub(goal) and not says_more(goal, stub(here.house.r4, "Goal", [])) and "swim" not in str(goal)


@pytest.mark.slow
async def test_a_stub_that_they_delete_deletes_nothing_here(here: Stubbed) -> None:
    await here.no()
    await here.there_is_a_stub()
    here.there.remove(f"Goal/{here.was}")
    await here.settled()
    await here.nothing_came_of_it()
    await here.yes()
    assert (await here.the_copy_is_back())["id"] != here.was


@pytest.mark.slow
async def test_what_is_deleted_here_leaves_no_stub(here: Stubbed) -> None:
    await here.no()
    await here.there_is_a_stub()
    await gate.remove(here.me, here.ref, if_match=1)
    await here.settled()
    assert not here.there.named("Goal") and (await here.status())["quiet"]


@pytest.mark.slow
async def test_what_is_taken_back_though_consent_lets_it_go_leaves_no_stub(here: Stubbed) -> None:
    """As at the end of its retention."""
    await here.house.store.commit(Send("hub", here.ref, 1, here.names["amina"], "recall"))
    await here.settled()
    assert not here.there.named("Goal") and [d.ref for d in await here.house.store.ledger(remote="hub") if d.recalled] == [here.ref]


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 422, 405])
async def test_a_server_that_refuses_the_stub_has_the_copy_deleted(here: Stubbed, status: int) -> None:
    here.there.fault("PUT", "Goal", status=status, when=lambda a: b"NODSCLCD" in a.raw)
    await here.no()
    await here.settled()
    assert not here.there.named("Goal") and all(d.recalled for d in await here.house.store.ledger(remote="hub"))
    here.there.well()
    await here.yes()
    await here.the_copy_is_back()


@pytest.mark.slow
async def test_a_server_that_keeps_labels_has_the_stub_deleted_before_the_copy_is_put_back(here: Stubbed) -> None:
    here.there.habits = Habits(adds_up=True)
    await here.no()
    await here.there_is_a_stub()
    await here.yes()
    assert (await here.the_copy_is_back())["id"] != here.was


@pytest.mark.slow
async def test_a_server_that_keeps_what_the_copy_was_about_has_it_deleted(here: Stubbed) -> None:
    here.there.habits = Habits(adds_up=True)
    labelled = {**here.one(), "meta": {**here.one()["meta"], "tag": [*here.one()["meta"]["tag"], {"system": "http://ward.example", "code": "HIV"}]}}
    here.there.write(labelled)
    await here.settled()
    await here.no()
    await here.settled()
    assert not here.there.named("Goal") and all(d.recalled for d in await here.house.store.ledger(remote="hub"))


@pytest.mark.slow
async def test_another_gateways_stub_is_not_taken_in(here: Stubbed) -> None:
    tag = {"system": "https://fhir-gateway.example/id/resource", "code": f"{'0' * 16}.x"}
    here.there.write({**stub(here.house.r4, "Goal", [tag]), "subject": {"reference": f"Patient/{here.there.named('Patient')[0]['id']}"}})
    await here.settled()
    assert not await here.waiting() and await here.house.store.link_by_remote("hub", "Goal/t9") is None
    await here.nothing_came_of_it()


def test_a_stub_is_of_the_shape_of_its_type_and_names_nobody() -> None:
    r4 = definitions.load_r4()
    for type in r4.types:
        one = stub(r4, type, [])
        wrong = [i for i in check({**one}, r4) if i.severity == "error" and i.code == "structure"]
        assert not wrong and is_stub(one) and '"reference"' not in strict.dump(one).decode(), type


