"""Two gateways that are each other's partner: what began at one and was deleted at the other, with a no between."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.types import Op, Ref, Renew
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Down, Refusal, RemoteServer, Unknown
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.feed import change_of
from fhir_gateway.sync.letting_go import HIDDEN
from fhir_gateway.sync.partner import Partner, as_owner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push
from fhir_gateway.sync.reader import Lost
from fhir_gateway.sync.taking import apply

from .faults import invariants
from .sim.lines import Ask, of_gateway
from .sim.town import SHARED, Clock, Town

Meanwhile = tuple[str, Callable[[], Awaitable[None]]]


def line(ask: Ask, asked: list[str], lost: list[str], busy: list[str], meanwhile: list[Meanwhile], offers_not: list[str]) -> httpx2.MockTransport:
    async def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.method} {request.url}")
        if any(asked[-1].startswith(one) for one in busy):
            busy.clear()
            return httpx2.Response(429, request=request)
        if any(asked[-1].startswith(one) for one in offers_not):
            return httpx2.Response(405, json={"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-supported"}]}, request=request)
        said = asked[-1]
        status, headers, body = await ask(request, await request.aread())
        if meanwhile and said.startswith(meanwhile[0][0]):
            await meanwhile.pop()[1]()
        if any(said.startswith(one) for one in lost):
            lost.clear()
            raise httpx2.ReadError("lost on the way back", request=request)
        return httpx2.Response(status, headers=headers, content=body, request=request)

    return httpx2.MockTransport(handle)


class Both:
    """Gateways A and B, of one clock. The person at A may say no to B's home."""

    def __init__(self, a: Town, b: Town, clock: Clock) -> None:
        self.a, self.b, self.clock = a, b, clock
        self.asked: list[str] = []
        self.lost: list[str] = []  # how the request begins whose answer is lost next
        self.busy: list[str] = []  # how the request begins that is refused for a moment next
        self.offers_not: list[str] = []  # how the request begins that is never offered
        self.meanwhile: list[Meanwhile] = []  # how the request begins that is answered late, and what is done until then

    async def begin(self, folder: Path) -> Both:
        other = {"a": "b", "b": "a"}
        for town in (self.a, self.b):
            store = await sqlite.open(folder / f"{town.name}.sqlite", clock=self.clock.now)
            town.move_in(store, Remote(other[town.name], "", types=SHARED))  # type: ignore[arg-type]
            town.house = replace(town.house, store=store, remotes=())
            await town.found()
            town.terms = (replace(town.terms[0], organisation=town.names["home"]),)
            town.house = replace(town.house, remotes=town.terms)
        self.lines = {t.name: line(of_gateway(t.app(other[t.name])), self.asked, self.lost, self.busy, self.meanwhile, self.offers_not) for t in (self.a, self.b)}
        self.partners = {t.name: self.partner(t) for t in (self.a, self.b)}
        return self

    def partner(self, town: Town) -> Partner:
        """The other one, as a worker of this one's knows it."""
        terms = town.terms[0]
        return Partner(terms, RemoteServer(f"http://{terms.name}.test/fhir", self.clock.now, "Bearer x", self.lines[terms.name]))

    async def rounds(self, times: int = 3) -> None:
        for _ in range(times):
            for town in (self.b, self.a):
                await worker.once(town.house, self.partners[town.name])
            self.clock.at += timedelta(seconds=61)

    async def goal(self, town: Town) -> Ref:
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": town.names["amina"]}}
        return (await gate.create(town.hospital, "Goal", strict.dump(body))).ref

    async def there(self, town: Town, ref: Ref) -> Ref:
        """What it is called at the other one."""
        link = await town.house.store.link(town.terms[0].name, ref)
        assert link is not None
        return Ref(*link.remote_id.split("/"))

    async def deleted(self, town: Town, ref: Ref) -> bool:
        stored = await town.house.store.get(ref)
        assert stored is not None
        return stored.deleted

    async def yes(self, no: Ref, town: Town | None = None) -> None:
        town = town or self.a
        stored = await town.house.store.get(no)
        assert stored is not None and stored.body is not None
        body = {**strict.decode(stored.body), "status": "inactive"}
        await gate.update(town.person("amina"), no, strict.dump(body), if_match=stored.version)

    async def end(self) -> None:
        for town in (self.a, self.b):
            await self.partners[town.name].server.close()
            await town.house.store.close()


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    clock = Clock()
    two = await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(tmp_path)  # type: ignore[arg-type]
    await two.rounds()
    yield two
    await two.end()


async def deleted_under_a_no(both: Both) -> tuple[Ref, Ref, Ref]:
    """B's goal, A's copy, which A deletes while she keeps it from B, and her no."""
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    stored = await both.a.house.store.get(copy)
    assert stored is not None and not stored.deleted
    await gate.remove(both.a.hospital, copy, if_match=stored.version)
    await both.rounds(2)
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "seen"}, "subject": {"reference": both.a.names["amina"]}}
    await gate.create(both.a.hospital, "Observation", strict.dump(seen))  # B has read beyond the deletion by then
    await both.rounds(2)
    assert not await both.deleted(both.b, began), "B hears nothing of it"
    return began, copy, no


async def test_what_one_deleted_of_the_others_record_under_a_no_is_deleted_there_after_a_yes(both: Both) -> None:
    began, copy, no = await deleted_under_a_no(both)
    await both.yes(no)
    await both.rounds()
    assert await both.deleted(both.b, began) and await both.deleted(both.a, copy)
    assert all([(await worker.status(t.house, both.partners[t.name]))["quiet"] for t in (both.a, both.b)])


async def test_what_they_might_have_read_and_a_no_kept_from_them_before_they_did_is_deleted_there_after_a_yes(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    stored = await both.a.house.store.get(copy)
    assert stored is not None
    await gate.remove(both.a.hospital, copy, if_match=stored.version)
    await worker.once(both.a.house, both.partners["a"])
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "seen"}, "subject": {"reference": both.a.names["amina"]}}
    await gate.create(both.a.hospital, "Observation", strict.dump(seen))  # B has read beyond the deletion by then
    await both.rounds(2)
    assert not await both.deleted(both.b, began), "B hears nothing of it"
    await both.yes(no)
    await both.rounds()
    assert await both.deleted(both.b, began)
    await both_quiet(both)
    assert not await both.a.house.store.kept_all("deleted-here", both.clock.now())


class Interrupted:
    """A store after one of whose commits something happens, once: a worker holds on to its entry then, and is about to ask."""

    def __init__(self, store: Any, then: Callable[[], Awaitable[object]]) -> None:
        self.store, self.then = store, [then]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Op) -> None:
        await self.store.commit(*ops)
        if self.then and all(isinstance(op, Renew) for op in ops):
            await self.then.pop()()


async def test_a_no_while_they_are_about_to_be_asked_to_delete_their_record_holds(both: Both) -> None:
    began, copy, no = await deleted_under_a_no(both)
    await both.yes(no)

    async def says_no() -> None:
        await both.a.consents("amina", "home", "deny", cls="Goal")
        both.asked.clear()

    hooked = Interrupted(both.a.house.store, says_no)
    both.a.house = replace(both.a.house, store=hooked)
    await both.rounds()
    assert not hooked.then and not [n for n in both.asked if n.startswith("DELETE")], "it began after her no"
    assert not await both.deleted(both.b, began) and await both.deleted(both.a, copy)
    await both_quiet(both)


async def test_what_the_other_changed_meanwhile_stays_and_a_person_decides(both: Both) -> None:
    began, copy, no = await deleted_under_a_no(both)
    stored = await both.b.house.store.get(began)
    assert stored is not None
    body = {**strict.decode(stored.body or b""), "description": {"text": "run"}}
    await gate.update(both.b.hospital, began, strict.dump(body), if_match=stored.version)
    await both.rounds(2)
    await both.yes(no)
    await both.rounds()
    assert not await both.deleted(both.b, began) and await both.deleted(both.a, copy)
    both.clock.at += timedelta(hours=1)
    await both.rounds(2)
    assert not await both.deleted(both.b, began)
    assert (await worker.status(both.b.house, both.partners["b"]))["conflicts"] == 1


async def test_what_the_other_does_not_let_us_delete_stays_there_and_is_asked_for_once(both: Both) -> None:
    began, _, no = await deleted_under_a_no(both)
    await both.b.consents("amina", "home", "deny", cls="Goal")
    await both.yes(no)
    await both.rounds()
    assert not await both.deleted(both.b, began)
    for town in (both.a, both.b):
        status = await worker.status(town.house, both.partners[town.name])
        assert (status["quiet"], status["parked"]) == (True, 0)
    asked = [n for n in both.asked if n.startswith("DELETE http://b.test")]
    await both.yes(await both.a.consents("amina", "home", "deny", cls="Goal"))
    await both.rounds()
    assert len(asked) == 1 and [n for n in both.asked if n.startswith("DELETE http://b.test")] == asked


@pytest.mark.slow
async def test_what_is_deleted_where_both_may_see_it_is_deleted_there(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    await gate.remove(both.a.hospital, copy, if_match=1)
    await both.rounds()
    assert await both.deleted(both.b, began)


async def words(town: Town, ref: Ref) -> str:
    """What this goal says there; "" where it is gone."""
    stored = await town.house.store.get(ref)
    return "" if stored is None or stored.body is None else str(strict.decode(stored.body)["description"]["text"])


async def says(town: Town, ref: Ref, text: str) -> None:
    stored = await town.house.store.get(ref)
    assert stored is not None
    body = {**strict.decode(stored.body or b""), "description": {"text": text}}
    await gate.update(town.hospital, ref, strict.dump(body), if_match=stored.version)


async def sent_and_hidden(both: Both) -> tuple[Ref, Ref]:
    """A goal of B's, and its copy at A, which the person there keeps from B by now."""
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    return began, copy


async def fetched_and_hidden(both: Both) -> tuple[Ref, Ref]:
    """A goal of B's, and its copy at A, which A fetched before B sent it and the person there keeps from B by now."""
    began = await both.goal(both.b)
    await worker.once(both.a.house, both.partners["a"])
    link = await both.a.house.store.link_by_remote("b", str(began))
    assert link is not None
    await both.a.consents("amina", "home", "deny", cls="Goal")
    return began, link.ref


async def both_quiet(both: Both) -> None:
    for town in (both.a, both.b):
        status = await worker.status(town.house, both.partners[town.name])
        assert (status["quiet"], status["parked"], status["conflicts"]) == (True, 0, 0), status
        assert not await town.house.store.kept_all("recall-told", both.clock.now())


async def test_what_is_to_be_taken_back_goes_there_though_they_are_kept_from_seeing_it(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    no_there = await both.b.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await both.deleted(both.a, copy) and not await both.deleted(both.b, began)
    assert began not in {d.ref for d in await both.b.house.store.ledger(remote="a", patient=both.b.names["amina"], open_only=True)}
    await both_quiet(both)
    await both.yes(no)
    await both.yes(no_there, both.b)
    await both.rounds()
    assert await words(both.b, began) == "walk", "their record is theirs: nobody asks to delete it, though its copy was deleted here"
    assert await words(both.a, await both.there(both.b, began)) == "walk"
    await both_quiet(both)


@pytest.mark.slow
async def test_what_its_author_deletes_goes_there_though_they_are_kept_from_seeing_it(both: Both) -> None:
    began, copy = await sent_and_hidden(both)
    await gate.remove(both.b.hospital, began, if_match=1)
    await both.rounds()
    assert await both.deleted(both.a, copy)
    await both_quiet(both)


@pytest.mark.slow
async def test_what_somebody_there_wrote_in_since_stays_and_a_person_sees_to_it(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await says(both.a, copy, "run")
    await both.rounds()
    await gate.remove(both.b.hospital, began, if_match=1)
    await both.rounds()
    assert await words(both.a, copy) == "run"
    assert (await worker.status(both.b.house, both.partners["b"]))["parked"] == 1


async def test_our_words_go_out_of_their_record_though_we_are_kept_from_seeing_it(both: Both) -> None:
    began = await both.goal(both.a)
    await both.rounds()
    copy = await both.there(both.a, began)
    await says(both.b, copy, "swim")
    await both.rounds()
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await both.deleted(both.b, copy) and await words(both.a, began) == "swim"
    await both.b.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await words(both.a, began) == "walk"
    await both_quiet(both)


async def test_what_was_written_here_stays_in_their_record_when_they_take_their_copy_back(both: Both) -> None:
    began = await both.goal(both.a)
    await both.rounds()
    copy = await both.there(both.a, began)
    await says(both.b, copy, "swim")
    await both.rounds()
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await both.deleted(both.b, copy) and await words(both.a, began) == "swim"
    await both_quiet(both)
    await both.yes(no)
    await both.rounds()
    assert await words(both.a, began) == "swim" and await words(both.b, await both.there(both.a, began)) == "swim"
    await both_quiet(both)


async def test_a_change_that_was_refused_waits_for_nobody_once_they_have_taken_their_copy_back(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    await says(both.a, copy, "run")
    await both.rounds()
    assert await words(both.b, began) == "run"
    no = await both.b.consents("amina", "home", "deny", cls="Goal")
    await says(both.a, copy, "swim")
    for _ in range(3):
        await worker.once(both.a.house, both.partners["a"])
        both.clock.at += timedelta(seconds=61)
    (parked,) = await both.a.house.store.outbox_items("b", "parked")
    assert (parked["ref"], parked["detail"]) == (str(copy), "404: not-found"), "B does not let A see it any more"
    await both.rounds()
    assert await both.deleted(both.a, copy) and await words(both.b, began) == "run", "their record is theirs"
    await both_quiet(both)
    assert not await both.a.house.store.kept_all("parked", both.clock.now())
    await both.yes(no, both.b)
    await both.rounds()
    assert await words(both.b, began) == "run" and await words(both.a, await both.there(both.b, began)) == "run"
    await both_quiet(both)


async def test_what_was_fetched_there_and_is_hidden_is_not_made_a_second_time(both: Both) -> None:
    began, copy = await fetched_and_hidden(both)
    await both.rounds()
    assert await both.there(both.b, began) == copy
    await both_quiet(both)


async def test_what_was_fetched_and_is_kept_from_them_goes_when_they_delete_theirs(both: Both) -> None:
    began, copy = await fetched_and_hidden(both)
    await gate.remove(both.b.hospital, began, if_match=1)
    await both.rounds(2)
    assert await both.deleted(both.a, copy)
    await both_quiet(both)


async def aims(town: Town, ref: Ref) -> list[str]:
    """The goals that this plan names there."""
    stored = await town.house.store.get(ref)
    assert stored is not None and stored.body is not None
    return [g["reference"] for g in strict.decode(stored.body)["goal"]]


async def fetched_and_named(both: Both) -> tuple[Ref, Ref, Ref, Ref]:
    """B's goal, A's copy, which A fetched before B sent anything and has deleted since; A's plan that names it, and B's copy of that."""
    began = await both.goal(both.b)
    await worker.once(both.a.house, both.partners["a"])
    old = await both.a.house.store.link_by_remote("b", str(began))
    assert old is not None and await both.b.house.store.link("a", began) is None, "A fetched it, and B has sent nothing yet"
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "plan", "subject": {"reference": both.a.names["amina"]}, "goal": [{"reference": str(old.ref)}]}
    plan = (await gate.create(both.a.hospital, "CarePlan", strict.dump(body))).ref
    await worker.once(both.a.house, both.partners["a"])
    copy = await both.there(both.a, plan)
    assert await aims(both.b, copy) == [str(began)]
    await gate.remove(both.a.hospital, old.ref, if_match=1)
    return began, old.ref, plan, copy


async def test_a_plan_that_names_an_old_copy_which_is_gone_names_nothing_twice(both: Both) -> None:
    began, old, plan, copy = await fetched_and_named(both)
    await both.rounds()
    new = await both.there(both.b, began)
    assert new != old and await aims(both.b, copy) == [str(began)] and await aims(both.a, plan) == [str(new)]
    await both_quiet(both)


async def test_nor_where_what_it_was_a_copy_of_is_gone_too(both: Both) -> None:
    began, old, plan, copy = await fetched_and_named(both)
    await gate.remove(both.b.hospital, began, if_match=1)
    await both.rounds()
    assert await aims(both.b, copy) == [str(began)] and await aims(both.a, plan) == [str(old)]
    await both_quiet(both)


async def test_a_plan_names_what_was_taken_back_and_came_again_as_it_did_before(both: Both) -> None:
    began = await both.goal(both.a)
    await both.rounds()
    old = await both.there(both.a, began)
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "plan", "subject": {"reference": both.b.names["amina"]}, "goal": [{"reference": str(old)}]}
    plan = (await gate.create(both.b.hospital, "CarePlan", strict.dump(body))).ref
    await both.rounds()
    copy = await both.there(both.b, plan)
    assert await aims(both.a, copy) == [str(began)]
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    await both.yes(no)
    await both.rounds()
    assert await both.deleted(both.b, old) and await both.there(both.a, began) != old, "it has a new name there"
    written = await plan_of(both.b, plan)
    await gate.update(both.b.hospital, plan, strict.dump({**written, "title": "walks"}), if_match=int(written["meta"]["versionId"]))
    await both.rounds()
    assert (await plan_of(both.a, copy))["title"] == "walks" and await aims(both.a, copy) == [str(began)]
    await both_quiet(both)


async def test_a_plan_names_what_came_again_also_where_the_first_copy_was_gone_before_a_link_told_of_it(both: Both) -> None:
    began = await both.goal(both.a)
    await worker.once(both.a.house, both.partners["a"])
    old = await both.there(both.a, began)
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "plan", "subject": {"reference": both.b.names["amina"]}, "goal": [{"reference": str(old)}]}
    plan = (await gate.create(both.b.hospital, "CarePlan", strict.dump(body))).ref
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await worker.once(both.a.house, both.partners["a"])
    assert await both.deleted(both.b, old) and await both.b.house.store.link("a", old) is None
    await both.yes(no)
    await worker.once(both.a.house, both.partners["a"])
    await both.rounds()
    assert await both.there(both.a, began) != old and await aims(both.a, await both.there(both.b, plan)) == [str(began)]
    link = await both.b.house.store.link("a", old)
    assert link is not None and link.gone and link.remote_id == str(began)
    await both_quiet(both)


async def came_again_and_is_named(both: Both, over: bool) -> tuple[Ref, Ref, Ref, dict[str, Any]]:
    """A's goal; of B's copies of it the one that came after A took back the first, of which no link at B tells; B's list that names that one, and
    A's copy of the list. `over`: the link of the first copy is."""
    began = await both.goal(both.a)
    await worker.once(both.a.house, both.partners["a"])
    if not over:
        await worker.once(both.b.house, both.partners["b"])
    old = await both.there(both.a, began)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await worker.once(both.a.house, both.partners["a"])
    if over:
        await worker.once(both.b.house, both.partners["b"])
    link = await both.b.house.store.link("a", old)
    assert await both.deleted(both.b, old) and link is not None and link.gone == over and link.remote_id == str(began)
    await both.yes(no)
    await worker.once(both.a.house, both.partners["a"])
    new = await both.there(both.a, began)
    assert new != old and await both.b.house.store.link("a", new) is None, "no link at B tells of it yet"
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "walked"}, "subject": {"reference": both.b.names["amina"]}, "focus": [{"reference": str(new)}]}
    walked = (await gate.create(both.b.hospital, "Observation", strict.dump(body))).ref
    await worker.once(both.a.house, both.partners["a"])
    copy = await both.a.house.store.link_by_remote("b", str(walked))
    assert copy is not None
    there = (await both.partners["b"].server.read("Observation", copy.ref.id)).body
    assert there is not None and there["focus"] == [{"reference": str(began)}]
    return began, new, walked, there


EITHER = pytest.mark.parametrize("over", [True, False], ids=["the link is over", "the link is live and its copy deleted"])


@EITHER
async def test_a_list_names_once_what_came_again_while_only_the_link_of_its_first_copy_tells_of_it(both: Both, over: bool) -> None:
    began, new, walked, there = await came_again_and_is_named(both, over)
    await apply(both.b.house, both.partners["b"], change_of(there), fresh=True)
    assert (await plan_of(both.b, walked))["focus"] == [{"reference": str(new)}]
    await both.rounds()
    assert (await plan_of(both.b, walked))["focus"] == [{"reference": str(new)}] and (await plan_of(both.a, Ref("Observation", there["id"])))["focus"] == [{"reference": str(began)}]
    assert await version(both.b, walked) == 1
    await both_quiet(both)


@EITHER
async def test_and_where_that_is_deleted_before_a_link_tells_of_it(both: Both, over: bool) -> None:
    began, new, walked, there = await came_again_and_is_named(both, over)
    await gate.remove(both.b.hospital, new, if_match=1)
    await apply(both.b.house, both.partners["b"], change_of(there), fresh=True)
    await both.rounds()
    assert (await plan_of(both.b, walked))["focus"] == [{"reference": str(new)}] and await version(both.b, walked) == 1
    await gate.update(both.b.hospital, walked, strict.dump({**await plan_of(both.b, walked), "status": "amended"}), if_match=1)
    await both.rounds()
    copy = await plan_of(both.a, Ref("Observation", there["id"]))
    assert (copy["status"], copy["focus"]) == ("amended", [{"reference": str(began)}])
    assert await both.deleted(both.a, began)
    await both_quiet(both)


async def test_what_named_their_record_as_held_back_names_it_once_a_link_to_it_is_found(both: Both) -> None:
    began = await both.goal(both.b)
    await worker.once(both.b.house, both.partners["b"])  # and A has not read there yet: no link leads from its copy
    copy = await both.there(both.b, began)
    await both.a.consents("amina", "home", "deny", cls="Goal")
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "walked"}, "subject": {"reference": both.a.names["amina"]}, "focus": [{"reference": str(copy)}]}
    walked = (await gate.create(both.a.hospital, "Observation", strict.dump(body))).ref
    while (await push(both.a.house, both.partners["a"], "w")).seen:
        pass

    async def named() -> Any:
        there = await both.b.house.store.get(await both.there(both.a, walked))
        assert there is not None and there.body is not None
        return strict.decode(there.body)["focus"]

    assert "reference" not in (await named())[0], "it is held back"
    await both.rounds()
    assert (await both.there(both.a, copy)) == began and await named() == [{"reference": str(began)}]
    await both_quiet(both)


async def planted(both: Both, secret: Ref) -> tuple[Ref, list[str]]:
    """A goal of B's that is deleted, and bore the tag of a copy of A's secret one; and what a plan of B's that names it names at A."""
    tag = copies.tag(both.a.house.name, secret.id)
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "old"}, "subject": {"reference": both.b.names["amina"]}, "meta": {"tag": [tag]}}
    old = (await gate.create(both.b.hospital, "Goal", strict.dump(goal))).ref
    await gate.remove(both.b.hospital, old, if_match=1)
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "plan", "subject": {"reference": both.b.names["amina"]}, "goal": [{"reference": str(old)}]}
    plan = (await gate.create(both.b.hospital, "CarePlan", strict.dump(body))).ref
    await worker.once(both.a.house, both.partners["a"])
    link = await both.a.house.store.link_by_remote("b", str(plan))
    assert link is not None
    return old, await aims(both.a, link.ref)


@pytest.mark.slow
async def test_a_planted_tag_on_what_they_deleted_names_nothing_here_that_they_may_not_have(both: Both) -> None:
    await both.a.consents("amina", "home", "deny", cls="Goal")
    old, named = await planted(both, await both.goal(both.a))
    assert named == [str(old)], "as they wrote it"


@pytest.mark.slow
async def test_a_planted_tag_on_what_they_deleted_names_nothing_of_somebody_else(both: Both) -> None:
    bens = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "his"}, "subject": {"reference": both.a.names["ben"]}}
    old, named = await planted(both, (await gate.create(both.a.hospital, "Goal", strict.dump(bens))).ref)
    assert named == [str(old)]


@pytest.mark.slow
async def test_what_they_sent_and_delete_is_no_conflict_where_their_deletion_is_read_before_it_is_asked_for(both: Both) -> None:
    began, copy = await sent_and_hidden(both)
    await gate.remove(both.b.hospital, began, if_match=1)
    await worker.once(both.a.house, both.partners["a"])
    assert await both.deleted(both.a, copy)
    await both.rounds()
    await both_quiet(both)


@pytest.mark.slow
async def test_what_was_fetched_and_written_in_here_stays_when_they_delete_theirs(both: Both) -> None:
    began = await both.goal(both.b)
    await worker.once(both.a.house, both.partners["a"])
    link = await both.a.house.store.link_by_remote("b", str(began))
    assert link is not None
    await says(both.a, link.ref, "run")
    await worker.once(both.a.house, both.partners["a"])
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    stored = await both.b.house.store.get(began)
    assert stored is not None and await words(both.b, began) == "walk", "what was written here went out of it, by the no"
    await gate.remove(both.b.hospital, began, if_match=stored.version)
    await both.rounds()
    assert await words(both.a, link.ref) == "run"
    assert (await worker.status(both.a.house, both.partners["a"]))["conflicts"] == 1


async def test_what_had_no_answer_and_nobody_carries_on_counts_as_sent_once_it_may_arrive_no_more(tmp_path: Path) -> None:
    clock = Clock()
    both = await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(tmp_path)  # type: ignore[arg-type]
    await both.a.consents("amina", "home", "deny")
    await both.rounds()
    assert (await worker.status(both.b.house, both.partners["b"]))["parked"] == 1, "she herself"
    began = await both.goal(both.b)
    both.lost.append(f"GET http://a.test/fhir/{both.a.names['amina']}")
    with pytest.raises(Down):
        await worker.once(both.b.house, both.partners["b"])
    for _ in range(4):
        clock.at += timedelta(seconds=12)
        await worker.once(both.b.house, both.partners["b"])
    said = await worker.status(both.b.house, both.partners["b"])
    assert (both.lost, said["quiet"]) == ([], False), "what was sent may still arrive"
    await gate.remove(both.b.hospital, began, if_match=1)
    await both.rounds()
    said = await worker.status(both.b.house, both.partners["b"])
    assert (said["quiet"], said["recalls_open"]) == (True, 0), said
    ledger = await both.b.house.store.ledger(remote="a", patient=both.b.names["amina"], open_only=True)
    assert {d.ref for d in ledger} == {Ref(*both.b.names["amina"].split("/"))}, "it counts as if it had got there"
    await both.end()


@pytest.mark.slow
async def test_what_was_taken_back_and_may_go_again_is_there_once(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    no = await both.b.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    await both.yes(no, both.b)
    await both.rounds(4)
    assert await words(both.a, await both.there(both.b, began)) == "walk"
    await both_quiet(both)


@pytest.mark.slow
async def test_where_a_stub_was_agreed_on_what_is_kept_from_us_is_deleted(both: Both) -> None:
    both.b.terms = (replace(both.b.terms[0], recall="stub"),)
    both.partners["b"].terms, both.b.house = both.b.terms[0], replace(both.b.house, remotes=both.b.terms)
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.b.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await both.deleted(both.a, copy)
    await both_quiet(both)


async def plan_of(town: Town, ref: Ref) -> dict[str, Any]:
    stored = await town.house.store.get(ref)
    assert stored is not None and stored.body is not None
    return strict.decode(stored.body)


async def changes(town: Town, ref: Ref, **elements: Any) -> None:
    stored = await town.house.store.get(ref)
    assert stored is not None
    body = {**strict.decode(stored.body or b""), **elements}
    await gate.update(town.hospital, ref, strict.dump(body), if_match=stored.version)


def called(plan: dict[str, Any]) -> list[str]:
    """What the goals of this plan are, wherever they may not be shown; "?" where nothing says which."""
    return [g.get("reference") or g.get("identifier", {}).get("value", "?") for g in plan.get("goal", [])]


async def a_plan_of_which_each_holds_goals_back(both: Both) -> tuple[Ref, Ref, list[Ref]]:
    """A's plan, what it is called at B, and A's two goals in it: A keeps its goals from B, and B its own from A."""
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.b.consents("amina", "home", "deny", cls="Goal")
    goals = [await both.goal(both.a), await both.goal(both.a)]
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "one", "subject": {"reference": both.a.names["amina"]},
            "goal": [{"reference": str(g)} for g in goals]}  # fmt: skip
    ref = (await gate.create(both.a.hospital, "CarePlan", strict.dump(body))).ref
    await both.rounds()
    return ref, await both.there(both.a, ref), goals


async def test_what_each_holds_back_is_lost_and_doubled_by_no_edit_of_the_other(both: Both) -> None:
    ref, copy, goals = await a_plan_of_which_each_holds_goals_back(both)
    ours = [str(g) for g in goals]
    theirs = str(await both.goal(both.b))
    there = (await plan_of(both.b, copy))["goal"]
    assert len(there) == 2
    await changes(both.b, copy, title="two", goal=[*there, {"reference": theirs}])
    await both.rounds()
    plan = await plan_of(both.a, ref)
    assert plan["title"] == "two" and called(plan) == [*ours, theirs]
    await changes(both.a, ref, description="three")
    await both.rounds()
    plan = await plan_of(both.b, copy)
    assert plan["description"] == "three" and called(plan) == [*ours, theirs]
    for town, there_is in ((both.a, ref), (both.b, copy)):
        await changes(town, there_is, note=[{"text": town.name}])
        await changes(town, there_is, title=f"of {town.name}" if town is both.b else "two")
    await both.rounds(4)
    for town, there_is in ((both.a, ref), (both.b, copy)):
        plan = await plan_of(town, there_is)
        assert called(plan) == [*ours, theirs] and plan["title"] == "of b" and [n["text"] for n in plan["note"]] == ["a", "b"]
    await both_quiet(both)


@pytest.mark.slow
async def test_what_one_takes_out_beside_what_is_held_back_is_out_on_both_sides(both: Both) -> None:
    ref, copy, goals = await a_plan_of_which_each_holds_goals_back(both)
    await changes(both.a, ref, goal=[{"reference": str(goals[1])}])
    await both.rounds()
    assert called(await plan_of(both.b, copy)) == [str(goals[1])]
    seen = (await plan_of(both.b, copy))["goal"]
    await changes(both.b, copy, goal=[{"reference": str(await both.goal(both.b))}, *seen])
    await both.rounds()
    await changes(both.b, copy, goal=seen, title="two")
    await both.rounds()
    for town, there_is in ((both.a, ref), (both.b, copy)):
        assert called(await plan_of(town, there_is)) == [str(goals[1])]
    await both_quiet(both)


async def test_a_gateway_that_puts_marks_in_the_place_of_everything_changes_nothing_and_is_shown_nothing(both: Both) -> None:
    """As earlier versions of a gateway did, over HTTP."""
    ref, _, goals = await a_plan_of_which_each_holds_goals_back(both)
    ask, before = of_gateway(both.a.app("b")), await both.a.house.store.get(ref)
    assert before is not None
    mark = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}], "type": "Goal"}
    held = {"type": "Goal", "identifier": {"system": "https://fhir-gateway.example/id/held-back", "value": str(goals[0])}}
    for marks in ([mark, mark], [held, mark], [{"reference": str(goals[0])}, mark]):
        body = strict.dump({**strict.decode(before.body or b""), "goal": marks})
        request = httpx2.Request("PUT", f"http://a.test/fhir/{ref}", headers={"Authorization": "Bearer x", "If-Match": f'W/"{before.version}"', "Content-Type": "application/fhir+json"})
        status, _, said = await ask(request, body)
        assert status == 200 and called(strict.decode(said)) == [str(g) for g in goals], said
        now = await both.a.house.store.get(ref)
        assert now is not None and now.version == before.version


async def seen_by(town: Town) -> tuple[Ref, Ref]:
    """A goal and who says so: a practitioner without any identifier, whom the other gateway has not met."""
    await town.add("nia", {"resourceType": "Practitioner", "name": [{"family": "Rees"}]})
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": town.names["amina"]},
            "expressedBy": {"reference": town.names["nia"], "display": "Nia Rees"}}  # fmt: skip
    return (await gate.create(town.hospital, "Goal", strict.dump(body))).ref, Ref(*town.names["nia"].split("/"))


async def leads_somewhere(town: Town, ref: Ref) -> bool:
    """In every version of it, where its reference is one of here."""
    stored = await town.house.store.get(ref)
    assert stored is not None
    versions = [await town.house.store.version(ref, n + 1) for n in range(stored.version)]
    named = [strict.decode(v.body).get("expressedBy", {}).get("reference") for v in versions if v is not None and v.body]
    return all([n is None or await town.house.store.get(Ref(*n.split("/"))) is not None for n in named])


@pytest.mark.parametrize("first", ["pushed", "pulled", "pushed and pulled"])
async def test_whom_the_other_has_not_met_yet_is_no_dangling_reference_and_no_conflict(both: Both, first: str) -> None:
    began, nia = await seen_by(both.b)
    here, there = (both.a, both.partners["a"]), (both.b, both.partners["b"])
    for town, partner in (here, there) if first == "pulled" else (there,):
        await worker.once(town.house, partner)
    if first == "pushed and pulled":  # before anything is sent from here
        await pull(both.a.house, both.partners["a"])
    await both.rounds()
    copy = await both.there(both.b, began)
    plan, stored = await plan_of(both.a, copy), await both.a.house.store.get(copy)
    assert await leads_somewhere(both.a, copy) and stored is not None and stored.version <= 2
    assert plan["expressedBy"] == {"reference": str(await both.there(both.b, nia)), "display": "Nia Rees"}
    assert (await plan_of(both.b, began))["expressedBy"] == {"reference": str(nia), "display": "Nia Rees"}
    await changes(both.a, copy, description={"text": "walk far"})
    await both.rounds()
    whole = await plan_of(both.b, began)
    assert whole["description"]["text"] == "walk far" and whole["expressedBy"] == {"reference": str(nia), "display": "Nia Rees"}
    await both_quiet(both)


async def test_what_is_never_met_here_goes_back_as_they_wrote_it(both: Both) -> None:
    """The other gateway sends nothing."""
    began, nia = await seen_by(both.b)
    await worker.once(both.a.house, both.partners["a"])
    link = await both.a.house.store.link_by_remote("b", str(began))
    assert link is not None and await leads_somewhere(both.a, link.ref)
    assert "reference" not in (said := (await plan_of(both.a, link.ref))["expressedBy"]) and said["display"] == "Nia Rees"
    await changes(both.a, link.ref, description={"text": "walk far"})
    await worker.once(both.a.house, both.partners["a"])
    whole = await plan_of(both.b, began)
    assert whole["description"]["text"] == "walk far" and whole["expressedBy"] == {"reference": str(nia), "display": "Nia Rees"}
    await changes(both.b, began, description={"text": "walk on"})
    await worker.once(both.a.house, both.partners["a"])
    plan = await plan_of(both.a, link.ref)
    assert plan["expressedBy"] == said and plan["description"]["text"] == "walk on"


def agreed(both: Both, *types: str) -> None:
    """What A and B agree on, as A says."""
    both.a.terms = (replace(both.a.terms[0], types=frozenset({"Patient", *types})),)
    both.a.house = replace(both.a.house, remotes=both.a.terms)
    both.partners["a"].terms = both.a.terms[0]


@pytest.mark.slow
async def test_what_was_deleted_under_a_no_while_its_type_was_not_agreed_on_is_deleted_there_once_both_are_over(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    agreed(both, "Observation")
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds(2)
    await gate.remove(both.a.hospital, copy, if_match=1)
    await both.rounds(2)
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "seen"}, "subject": {"reference": both.a.names["amina"]}}
    await gate.create(both.a.hospital, "Observation", strict.dump(seen))  # B has read beyond the deletion by then
    await both.rounds(2)
    await both.yes(no)
    await both.rounds(2)
    assert not await both.deleted(both.b, began), "B hears nothing of it"
    agreed(both, "Observation", "Goal")
    await both.rounds(2)
    assert await both.deleted(both.b, began)
    assert all([(await worker.status(t.house, both.partners[t.name]))["quiet"] for t in (both.a, both.b)])


async def fetched_under_their_no(tmp_path: Path) -> tuple[Both, Ref, Ref]:
    """B's Amina keeps her record from A from the first; A's goal, which B fetched all the same, and B's copy."""
    clock = Clock()
    both = await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(tmp_path)  # type: ignore[arg-type]
    await both.b.consents("amina", "home", "deny")
    began = await both.goal(both.a)
    await both.rounds()
    link = await both.b.house.store.link_by_remote("a", str(began))
    assert link is not None and await words(both.b, link.ref) == "walk"
    known = await both.a.house.store.ledger(remote="b", patient=both.a.names["amina"])
    assert [(d.fetched, d.recalled) for d in known if d.ref == began] == [(True, None)], "nothing of it was sent"
    return both, began, link.ref


async def test_what_they_fetched_and_keep_from_us_goes_by_its_name_after_a_no(tmp_path: Path) -> None:
    both, began, copy = await fetched_under_their_no(tmp_path)
    amina = both.a.names["amina"]

    async def page() -> list[tuple[bool, str]]:
        return [(g.fetched, g.state) for g in await gate.given(both.a.person("amina")) if g.ref == began]

    assert await page() == [(True, "there")]
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await both.deleted(both.b, copy) and not await both.deleted(both.a, began)
    rows = [d for d in await both.a.house.store.ledger(remote="b", patient=amina) if d.ref == began]
    assert all(d.recalled for d in rows) and await page() == [(True, "back")]
    await both.end()


async def test_what_they_fetched_and_keep_from_us_is_for_a_person_where_it_cannot_be_asked_for_by_name(tmp_path: Path) -> None:
    both, began, copy = await fetched_under_their_no(tmp_path)
    both.offers_not.append("DELETE http://b.test/fhir/Goal?")
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert not await both.deleted(both.b, copy)
    (said,) = [r for r in await worker.ledger(both.a.house, both.partners["a"]) if r["open"]]
    assert (said["ref"], said["fetched"]) == (str(began), True) and said["why"].startswith("parked")
    assert [i["detail"] for i in await both.a.house.store.outbox_items("b", "parked", why="recall")] == [HIDDEN]
    assert not [d for d in await both.a.house.store.ledger(remote="b") if d.ref == began and d.recalled], "nothing says that it is back"
    await both.end()


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["a no", "a no, a yes and a no"])
async def test_a_page_that_was_on_its_way_brings_nothing_that_was_asked_back_since(tmp_path: Path, again: bool) -> None:
    """B's Amina keeps her record from A, so A would never see that copy."""
    clock = Clock()
    both = await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(tmp_path)  # type: ignore[arg-type]
    await both.rounds()
    await both.b.consents("amina", "home", "deny")
    began = await both.goal(both.a)

    async def says_no() -> None:
        no = await both.a.consents("amina", "home", "deny", cls="Goal")
        await worker.once(both.a.house, both.partners["a"])
        assert [n for n in both.asked if n.startswith("DELETE http://b.test/fhir/Goal?_tag=")]
        if again:
            await both.yes(no)
            both.meanwhile.append(("GET http://a.test/fhir/Goal/", says_no_again))

    async def says_no_again() -> None:
        await both.a.consents("amina", "home", "deny", cls="Goal")
        await worker.once(both.a.house, both.partners["a"])

    both.meanwhile.append(("GET http://a.test/fhir/_history", says_no))
    await worker.once(both.b.house, both.partners["b"])
    assert not both.meanwhile
    await both.rounds()
    assert [s for s in await invariants.records(both.b.house.store) if s.ref.type == "Goal"] == [] and not await both.deleted(both.a, began)
    assert not [r for r in await worker.ledger(both.a.house, both.partners["a"]) if r["open"] and r["ref"] == str(began)]
    await both_quiet(both)
    await both.end()


async def test_what_they_read_again_after_a_no_and_did_not_keep_is_sent(tmp_path: Path) -> None:
    """B's Amina keeps her record from A, so A sees nothing of what became of the copy."""
    clock = Clock()
    both = await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(tmp_path)  # type: ignore[arg-type]
    await both.rounds()
    await both.b.consents("amina", "home", "deny")
    began = await both.goal(both.a)
    await worker.once(both.b.house, both.partners["b"])  # B reads it before A sends it
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await worker.once(both.a.house, both.partners["a"])
    await worker.once(both.b.house, both.partners["b"])
    link = await both.b.house.store.link_by_remote("a", str(began))
    assert link is not None and await both.deleted(both.b, link.ref)
    await both.yes(no)
    await worker.once(both.b.house, both.partners["b"])  # it is shown to B again before A has looked at what she said
    await both.rounds()
    there = [s for s in await invariants.records(both.b.house.store) if s.ref.type == "Goal"]
    assert [await words(both.b, s.ref) for s in there] == ["walk"]
    await both_quiet(both)
    await both.end()


async def fetched_again_under_a_no(both: Both) -> tuple[Ref, Ref]:
    """A's second copy of B's goal, and the no under which it has it: A deleted the one that B had sent, of which B hears nothing, and fetched it again."""
    began = await both.goal(both.b)
    await worker.once(both.b.house, both.partners["b"])
    first = await both.there(both.b, began)
    deleted = await both.a.house.store.get(first)
    assert deleted is not None
    no = await both.a.consents("amina", "home", "deny")  # so B hears nothing of the deletion
    await gate.remove(both.a.hospital, first, if_match=deleted.version)
    await worker.once(both.a.house, both.partners["a"])
    second = await both.a.house.store.link_by_remote("b", str(began))
    assert second is not None and second.ref != first and await words(both.a, second.ref) == "walk", "A fetched it again"
    return second.ref, no


@pytest.mark.slow
async def test_what_they_deleted_and_fetched_again_is_taken_back_under_its_new_id(both: Both) -> None:
    second, _ = await fetched_again_under_a_no(both)
    await both.b.consents("amina", "home", "deny", cls="Goal")
    await worker.once(both.b.house, both.partners["b"])
    assert await both.deleted(both.a, second)


@pytest.mark.slow
async def test_it_is_taken_back_also_where_the_first_deletion_is_seen_there_before_it_is_answered(both: Both) -> None:
    second, no = await fetched_again_under_a_no(both)
    await both.b.consents("amina", "home", "deny", cls="Goal")
    both.lost.append("DELETE http://a.test/fhir/Goal/")
    await push(both.b.house, both.partners["b"], "once", width=1)
    with pytest.raises(Unknown):
        await push(both.b.house, both.partners["b"], "once", width=1)
    assert not both.lost
    read = both.asked[-1].replace("DELETE", "GET")

    async def still() -> None:
        if read in both.asked:
            raise Lost  # it reads no further: of the second one it learns nothing

    await both.yes(no)
    with pytest.raises(Lost):
        await pull(both.b.house, both.partners["b"], still)
    await both.a.consents("amina", "home", "deny")
    await both.rounds()
    assert await both.deleted(both.a, second)
    rows = await both.b.house.store.ledger(remote="a", patient=both.b.names["amina"])
    assert all(d.recalled for d in rows)
    await both_quiet(both)


async def test_a_deletion_of_ours_is_none_of_theirs_where_the_question_after_it_is_refused_for_a_moment(both: Both) -> None:
    began = await both.goal(both.a)
    await both.rounds()
    copy = await both.there(both.a, began)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    both.busy.append("DELETE http://b.test/fhir/Goal?")
    with pytest.raises(Down):
        await worker.once(both.a.house, both.partners["a"])
    assert not both.busy and await both.deleted(both.b, copy), "and by its name it is not asked for yet"
    await pull(both.a.house, both.partners["a"])
    said = await worker.status(both.a.house, both.partners["a"])
    assert said["conflicts"] == said["quarantined"] == 0 and not await both.deleted(both.a, began)
    await both.rounds()
    rows = await both.a.house.store.ledger(remote="b", patient=both.a.names["amina"])
    assert all(d.recalled for d in rows if d.ref == began)
    await both.yes(no)
    await both.rounds()
    assert await words(both.b, await both.there(both.a, began)) == "walk"
    await both_quiet(both)


@pytest.mark.slow
async def test_another_copy_there_that_we_may_see_is_taken_back_with_the_first(both: Both) -> None:
    began = await both.goal(both.a)
    await both.rounds()
    first = await both.there(both.a, began)
    stored = await both.b.house.store.get(first)
    assert stored is not None and stored.body is not None
    clone = {k: v for k, v in strict.decode(stored.body).items() if k != "id"}
    clone["meta"] = {"tag": clone["meta"]["tag"]}
    other = (await gate.create(both.b.hospital, "Goal", strict.dump(clone))).ref
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await worker.once(both.a.house, both.partners["a"])
    assert await both.deleted(both.b, first) and await both.deleted(both.b, other)
    await both.rounds()
    await both_quiet(both)


@pytest.mark.slow
async def test_who_deletes_so_late_that_another_has_sent_it_anew_leaves_that_there(both: Both) -> None:
    began = await both.goal(both.a)
    await both.rounds()
    first = await both.there(both.a, began)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")

    async def another() -> None:
        both.clock.at += timedelta(minutes=5)
        other = both.partner(both.a)
        await worker.once(both.a.house, other, "other")
        await both.yes(no)
        await worker.once(both.a.house, other, "other")
        await both.b.consents("amina", "home", "deny")  # else A may delete it only by its id

    both.meanwhile.append(("DELETE http://b.test/fhir/Goal/", another))
    await worker.once(both.a.house, both.partners["a"])
    copy = await both.there(both.a, began)
    assert not both.meanwhile and copy != first
    assert await both.deleted(both.b, first) and await words(both.b, copy) == "walk"
    await both.rounds()
    await both_quiet(both)


@pytest.mark.slow
async def test_what_they_fetched_and_wrote_in_stays_there_and_a_person_sees_to_it(tmp_path: Path) -> None:
    both, began, copy = await fetched_under_their_no(tmp_path)
    await says(both.b, copy, "run")
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await words(both.b, copy) == "run"
    (said,) = [r for r in await worker.ledger(both.a.house, both.partners["a"]) if r["open"]]
    assert (said["ref"], said["fetched"]) == (str(began), True) and said["why"].startswith("parked")
    assert HIDDEN in {i["detail"] for i in await both.a.house.store.outbox_items("b", "parked")}
    await both.end()


@pytest.mark.slow
async def test_what_they_fetched_goes_when_it_is_deleted_here_and_may_be_fetched_again_after_a_yes(tmp_path: Path) -> None:
    both, began, copy = await fetched_under_their_no(tmp_path)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await both.deleted(both.b, copy)
    await both.yes(no)
    await says(both.a, began, "swim")
    await both.rounds()
    link = await both.b.house.store.link_by_remote("a", str(began))
    assert link is not None and await words(both.b, link.ref) == "swim"
    await gate.remove(both.a.hospital, began, if_match=2)
    await both.rounds()
    assert await both.deleted(both.b, link.ref)
    await both.end()


@pytest.mark.slow
async def test_a_system_there_deletes_nothing_here_by_a_name_that_its_gateway_never_gave(tmp_path: Path) -> None:
    both, _, copy = await fetched_under_their_no(tmp_path)
    own = await both.goal(both.b)
    stored = await both.b.house.store.get(copy)
    assert stored is not None and stored.body is not None
    planted = {**strict.decode(stored.body), "meta": {"tag": [{"system": copies.SYSTEM, "code": f"{both.a.house.name}.planted"}]}}
    planted.pop("id")
    home = gate.house_context(both.b.house, replace((await as_owner(both.b.house, both.partners["b"], "access")).actor, user="Device/other"))
    theirs = (await gate.create(replace(home, client="other"), "Goal", strict.dump(planted))).ref  # another system of the same organisation's
    server = both.partners["a"].server
    for id in ("planted", own.id, "nobody"):
        assert (await server.delete_named("Goal", f"{copies.SYSTEM}|{both.a.house.name}.{id}")).status == 204
    for ref in (own, theirs):
        with pytest.raises(Refusal):
            await server.delete("Goal", ref.id)
        assert not await both.deleted(both.b, ref)
    await both.end()


async def a_goal_that_names_one_thing(both: Both) -> tuple[Ref, Ref]:
    """A's goal, which addresses a condition, what it is called at B, once both are in step."""
    condition = await a_condition(both.a, "begun with")
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": both.a.names["amina"]},
            "addresses": [{"reference": str(condition)}], "note": [{"text": "first"}]}  # fmt: skip
    ref = (await gate.create(both.a.hospital, "Goal", strict.dump(body))).ref
    await both.rounds()
    return ref, await both.there(both.a, ref)


async def a_condition(town: Town, text: str) -> Ref:
    body = {"resourceType": "Condition", "code": {"text": text}, "subject": {"reference": town.names["amina"]}}
    return (await gate.create(town.hospital, "Condition", strict.dump(body))).ref


async def version(town: Town, ref: Ref) -> int:
    stored = await town.house.store.get(ref)
    assert stored is not None
    return stored.version


async def named(town: Town, goal: dict[str, Any]) -> list[str]:
    """What the conditions say that this goal addresses, in their order."""
    said = [await town.house.store.get(Ref(*a["reference"].split("/"))) for a in goal["addresses"]]
    return [str(strict.decode(s.body)["code"]["text"]) for s in said if s is not None and s.body is not None]


@pytest.mark.parametrize(("first", "deciding"), [("a", {"a"}), ("b", {"b"}), ("a while b sends", {"a"}), ("both", {"a", "b"})])
async def test_where_both_name_something_else_in_one_place_they_come_to_one_answer(both: Both, first: str, deciding: set[str]) -> None:
    """What each calls what both name is its own: who wins must not be read off that. A conflict waits where one
    was seen, `deciding`: not at B where it meets what A made of both, for what B said stands."""
    ref, copy = await a_goal_that_names_one_thing(both)
    conditions = {town.name: await a_condition(town, f"of {town.name}") for town in (both.a, both.b)}
    await both.rounds()
    before = await version(both.a, ref), await version(both.b, copy)
    for town, there_is in ((both.a, ref), (both.b, copy)):
        await changes(town, there_is, addresses=[{"reference": str(conditions[town.name])}], note=[{"text": "first"}, {"text": f"noted at {town.name}"}])
    for town in (both.b, both.a):  # what they have is taken in before anything is sent
        if first == "both" or first[0] == town.name:
            await pull(town.house, both.partners[town.name])
    for town in (both.b, both.a):
        if first == town.name:
            await worker.once(town.house, both.partners[town.name])
    await both.rounds(4)
    (here, ours), (there, theirs) = [(town, await plan_of(town, r)) for town, r in ((both.a, ref), (both.b, copy))]
    assert await named(here, ours) == await named(there, theirs) and ours["note"] == theirs["note"] and len(ours["note"]) == 3
    for town, there_is, was in ((both.a, ref, before[0]), (both.b, copy, before[1])):
        status = await worker.status(town.house, both.partners[town.name])
        assert (status["conflicts"], status["queued"], status["parked"], status["quarantined"]) == (town.name in deciding, 0, 0, 0), (town.name, status)
        assert await version(town, there_is) <= was + 2, "its own edit, and at most one more"


async def test_what_they_may_read_and_are_not_sent_is_theirs_to_keep_until_they_may_read_it_no_more(both: Both) -> None:
    """A person may let them look here and have nothing sent: what their gateway looked at is not asked back, and nobody reads that it is."""
    await both.a.consents("amina", "home", "deny", actions=("disclose",))
    began = await both.goal(both.a)
    await both.rounds()
    link = await both.b.house.store.link_by_remote("a", str(began))
    assert link is not None and await words(both.b, link.ref) == "walk", "it was fetched"

    async def now() -> tuple[list[tuple[bool, str]], str]:
        page = [(g.fetched, g.state) for g in await gate.given(both.a.person("amina")) if g.ref == began]
        assert not [i async for i in worker.preview(both.a.house, both.partners["a"]) if i["ref"] == str(began) and i["would"] == "take back"]
        return page, await words(both.b, link.ref)

    assert await now() == ([(True, "there")], "walk")
    await says(both.a, began, "run")
    await both.a.consents("amina", "surgery", "deny", cls="Goal")  # she is looked at again, whoever it is that she says no to
    await both.rounds()
    assert await now() == ([(True, "there")], "run") and not [n for n in both.asked if n.startswith("DELETE")]
    await both_quiet(both)
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await now() == ([(True, "back")], "") and await words(both.a, began) == "run"


async def test_what_they_read_for_somebody_who_was_told_no_is_asked_back_once_for_each_version(both: Both) -> None:
    terms = replace(both.a.terms[0], audience=(both.a.names["surgery"],))
    both.a.terms = (terms,)
    both.a.house = replace(both.a.house, remotes=both.a.terms)
    both.lines["a"] = line(of_gateway(both.a.app("b")), both.asked, both.lost, both.busy, both.meanwhile, both.offers_not)
    both.partners = {"a": both.partner(both.a), "b": both.partner(both.b)}
    await both.a.consents("amina", "surgery", "deny", cls="Goal")
    began = await both.goal(both.a)
    await both.rounds(4)
    page = [(g.fetched, g.state) for g in await gate.given(both.a.person("amina")) if g.ref == began]
    assert page == [(True, "back")], "read there by the surgery, it would be what she said no to"
    back = [n for n in both.asked if n.startswith("DELETE http://b.test")]  # the one that is seen, and what else bears our name
    await both.rounds(4)
    assert len(back) == 2 and [n for n in both.asked if n.startswith("DELETE http://b.test")] == back
    assert not await both.b.house.store.patient_record(both.b.names["amina"], ["Goal"])
    await both_quiet(both)


async def rows_of(both: Both, ref: Ref) -> list[tuple[int, bool, bool]]:
    """Which version of A's went to B, whether it was read there, and whether it is back."""
    return [(d.version, d.fetched, d.recalled is not None) for d in await both.a.house.store.ledger(remote="b", ref=ref)]


async def test_what_was_sent_and_taken_back_is_not_theirs_again_by_a_history_that_goes_on(both: Both) -> None:
    """Their gateway's next look shows it once more, and it brings nothing again that was asked back. One that reads all from the start, as
    after a restore, may have it again: it is theirs, and goes by her next no."""
    no = await both.a.consents("amina", "home", "deny", actions=("disclose",))
    began = await both.goal(both.a)
    await both.rounds()
    await both.yes(no)
    await says(both.a, began, "run")
    await worker.once(both.a.house, both.partners["a"])
    copy = await both.there(both.a, began)
    await both.rounds()
    assert (2, False, False) in await rows_of(both, began) and await words(both.b, copy) == "run"
    await both.a.consents("amina", "home", "deny", actions=("disclose",))
    await both.rounds(6)

    async def page() -> list[tuple[bool, str]]:
        return [(g.fetched, g.state) for g in await gate.given(both.a.person("amina")) if g.ref == began]

    assert await both.deleted(both.b, copy) and await page() == [(False, "back")]
    assert all(back for _, _, back in await rows_of(both, began))
    server = both.partners["b"].server
    said = await both.a.house.store.get(began)
    assert said is not None
    for since in (said.updated.isoformat(), (said.updated - timedelta(minutes=5)).isoformat()):
        assert any([given.entries async for given in server.history("Goal", since)])
    assert await page() == [(False, "back")], "its last look once more"
    assert any([given.entries async for given in server.history("Goal", None)])
    assert await page() == [(True, "there"), (False, "back")] and (2, True, False) in await rows_of(both, began)
    before = len([n for n in both.asked if n.startswith("DELETE http://b.test")])
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert len([n for n in both.asked if n.startswith("DELETE http://b.test")]) > before, "it is asked for by its name"
    assert all(back for _, _, back in await rows_of(both, began)) and {state for _, state in await page()} == {"back"}


async def test_what_a_restore_knows_as_fetched_alone_and_was_sent_since_is_taken_back_as_what_was_sent(both: Both, tmp_path: Path) -> None:
    no = await both.a.consents("amina", "home", "deny", actions=("disclose",))
    began = await both.goal(both.a)
    await both.rounds()
    await both.yes(no)
    await says(both.a, began, "run")
    async with backed_up(both, tmp_path):
        await worker.once(both.a.house, both.partners["a"])
        copy = await both.there(both.a, began)
        assert (2, False, False) in await rows_of(both, began) and await words(both.b, copy) == "run"
    assert await rows_of(both, began) == [(1, True, False)], "the copy is of before it was sent"
    await both.rounds()
    assert (2, False, False) in await rows_of(both, began)
    await both.a.consents("amina", "home", "deny", actions=("disclose",))
    await both.rounds()
    assert await both.deleted(both.b, copy) and await words(both.a, began) == "run"


@asynccontextmanager
async def backed_up(both: Both, folder: Path) -> AsyncIterator[None]:
    """What A wrote meanwhile is lost: it goes on with the copy of before."""
    with closing(sqlite3.connect(folder / "a.sqlite")) as now, closing(sqlite3.connect(folder / "copy.sqlite")) as copy:
        now.backup(copy)
    yield
    await both.a.house.store.close()
    both.a.house = replace(both.a.house, store=await sqlite.open(folder / "copy.sqlite", clock=both.clock.now))
    both.lines["a"] = line(of_gateway(both.a.app("b")), both.asked, both.lost, both.busy, both.meanwhile, both.offers_not)
    both.partners = {"a": both.partner(both.a), "b": both.partner(both.b)}
