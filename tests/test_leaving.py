"""At the moment when something leaves: who may have it, and how much of it, is what holds then, however long what came before took."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.remote.client import RemoteServer, Unknown
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push

from .faults.scripted import Habits, Rule, There
from .stores.test_relabelling import KNEE, sets_with
from .telling.servers import mail_server
from .test_believing import Beside
from .test_narrow_views import RISK
from .test_remote import goal

RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def slowly(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


class Leaving(Beside):
    """Something may happen here while that server has a request of ours in its hands."""

    meanwhile: tuple[str, str, Callable[[], Awaitable[object]]] | None = None
    since: int = 0  # how many requests had arrived by then

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        asked = self.there.arrived(request.method, str(request.url), dict(request.headers), request.content)
        fault = self.there.due(asked)
        said = self.there.spoiled(asked, fault)
        if self.meanwhile is not None and asked.method == self.meanwhile[0] and asked.path.startswith(self.meanwhile[1]):
            (_, _, then), self.meanwhile = self.meanwhile, None
            await then()
            self.since = len(self.there.asked)
        if fault is not None and fault.cut:
            raise httpx2.ReadError("cut", request=request)
        return httpx2.Response(said.status, headers=said.headers, content=said.body)

    async def labelled(self, key: str, *codings: dict[str, str]) -> None:
        stored = await self.house.store.get(Ref(*self.names[key].split("/")))
        meta = strict.decode(stored.body or b"{}").get("meta", {}) if stored is not None else {}
        await self.change(self.me, key, meta={**{k: v for k, v in meta.items() if k not in ("versionId", "lastUpdated")}, "security": list(codings)})

    async def visit(self, **more: Any) -> Ref:
        """A Task that names a place, and an organisation that is not there yet."""
        body = {
            "resourceType": "Task", "status": "draft", "intent": "plan", "description": "Visit", "for": {"reference": self.names["amina"]},
            "requester": {"reference": self.names["hospital"]}, "location": {"display": "Rose House", "type": "Location"}, **more,
        }  # fmt: skip
        ref = (await gate.create(self.me, "Task", strict.dump(body))).ref
        self.names["visit"] = str(ref)
        return ref

    def left(self, text: str) -> list[tuple[str, str]]:
        """What carried this after it happened."""
        return [(a.method, a.path) for a in self.there.asked[self.since :] if text.encode() in a.raw]


@pytest_asyncio.fixture
async def here(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Leaving]:
    habits, agreed = getattr(request, "param", (None, {}))
    there = There(habits)
    with mail_server() as post:
        place = Leaving(post)
        there.clock = lambda: place.now
        server = RemoteServer(there.url, lambda: place.now, transport=httpx2.MockTransport(place.handle))
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        await place.begin_on(store, there, server, **agreed)
        yield place
        await place.end()


# -- how much of it ---------------------------------------------------------------------------------------------------------


async def test_a_place_that_is_protected_while_what_it_names_is_sent_ahead_stays_here(here: Leaving) -> None:
    here.meanwhile = ("POST", "Organization", lambda: here.labelled("amina", RISK))
    ref = await here.visit()
    await here.round(2)
    assert here.meanwhile is None and not here.left("Rose House")
    (task,) = here.there.named("Task")
    assert "location" not in task and (await here.link(ref)) is not None and (await here.status())["quiet"]


@pytest.mark.parametrize("here", [(Habits(etag="none", versions="none"), {}), slowly((Habits(etag="odd"), {})), slowly((Habits(minimal=True), {}))], indirect=True)
async def test_a_place_that_is_protected_while_we_look_what_is_there_stays_here(here: Leaving) -> None:
    await here.visit()
    await here.round(2)
    await here.change(here.me, "visit", location={"display": "Oak House", "type": "Location"})
    here.there.fault("PUT", "Task/", times=1, status=412)
    here.meanwhile = ("GET", "Task/", lambda: here.labelled("amina", RISK))
    await here.round(3)
    assert here.meanwhile is None and not here.left("Oak House")
    (task,) = here.there.named("Task")
    assert "location" not in task and (await here.status())["quiet"]


@pytest.mark.parametrize("here", [(None, {"enforces": "nothing"})], indirect=True)
async def test_what_is_labelled_restricted_while_what_it_names_is_sent_ahead_stays_here(here: Leaving) -> None:
    here.meanwhile = ("POST", "Organization", lambda: here.labelled("visit", RESTRICTED))
    await here.visit()
    await here.round(2)
    assert here.meanwhile is None and not here.left("Rose House") and not here.there.named("Task")


async def test_what_newer_value_sets_label_while_what_it_names_is_sent_ahead_leaves_with_its_label(here: Leaving) -> None:
    """No version is added by that, and it still may go."""
    newer = replace(here.house, label_sets=sets_with(KNEE, ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "SEX")))
    here.meanwhile = ("POST", "Organization", lambda: gate.relabel(newer))
    await here.visit(code={"coding": [KNEE]})
    await here.round(2)
    assert here.meanwhile is None and here.there.named("Task")
    assert all(b"SEX" in a.raw for a in here.there.asked if b"Rose House" in a.raw)


# -- for how long it is held ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("here", [(Habits(etag="none"), {})], indirect=True)
async def test_an_entry_is_held_a_minute_from_the_request_that_carries_it_not_from_the_look_before(here: Leaving) -> None:
    await here.goal()
    await here.round(2)
    await here.change(here.me, "walk", description={"text": "run"})

    async def long(seconds: int) -> None:
        here.now += timedelta(seconds=seconds)

    async def another() -> None:
        await long(45)
        assert (await push(here.house, here.partner, "another")).seen == 0, "the first may still arrive"

    async def looked() -> None:
        await long(50)
        here.meanwhile = ("PUT", "Goal/", another)

    here.meanwhile = ("GET", "Goal/", looked)
    assert (await push(here.house, here.partner, "w")).sent == 1
    assert here.meanwhile is None and here.texts() == ["run"]


async def test_what_was_tried_again_may_arrive_a_minute_after_the_last_try(here: Leaving) -> None:
    """Two requests that are lost on the way; then her no. It is not there, but the second may be on its way."""
    ref = await here.goal()
    here.there.fault("POST", "Goal", times=2, cut="before")
    for _ in range(2):
        with pytest.raises(Unknown):
            await push(here.house, here.partner, "w")
        here.now += timedelta(seconds=40)
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    key = f"hub {ref}"
    assert (await push(here.house, here.partner, "w")).delayed and await here.house.store.kept("attempt", key, here.now)
    await here.round(2)
    assert not await here.house.store.kept("attempt", key, here.now) and (await here.status())["quiet"]


@pytest.mark.parametrize("here", [(Habits(conditional_create=False), {})], indirect=True)
async def test_what_may_still_arrive_is_not_made_twice_where_that_server_creates_without_conditions(here: Leaving) -> None:
    """The answer did not come in time; the request comes to that server only after we have looked there."""
    await here.goal()
    here.there.fault("POST", "Goal", times=1, cut="before")
    with pytest.raises(Unknown):
        await push(here.house, here.partner, "w")
    late = next(a for a in reversed(here.there.asked) if (a.method, a.path) == ("POST", "Goal"))
    here.now += timedelta(seconds=10)
    assert (await push(here.house, here.partner, "w")).delayed and not here.there.named("Goal"), "it is not made once more"
    here.there.answer(late)
    await here.round(2)
    assert len(here.there.named("Goal")) == 1 and (await here.status())["quiet"]


@pytest.mark.parametrize("here", [(Habits(conditional_create=False), {})], indirect=True)
async def test_what_can_arrive_no_more_is_made_anew_where_that_server_creates_without_conditions(here: Leaving) -> None:
    await here.goal()
    here.there.fault("POST", "Goal", times=1, cut="before")
    with pytest.raises(Unknown):
        await push(here.house, here.partner, "w")
    here.now += timedelta(seconds=61)
    assert (await push(here.house, here.partner, "w")).sent == 1 and len(here.there.named("Goal")) == 1


# -- what points to a copy that is taken back -------------------------------------------------------------------------------


async def held_fast(here: Leaving) -> tuple[Ref, str]:
    """A goal and a Task about it, there, on a server that deletes nothing that is referred to; what the Task is called there."""
    goal = await here.goal()
    task = await here.visit()
    await here.change(here.me, "visit", focus={"reference": str(goal)})
    await here.round(2)
    (name,) = [f"Goal/{g['id']}" for g in here.there.named("Goal")]
    here.there.fault("DELETE", name, status=409, when=lambda _: f"'{name}'" in str(list(here.there.held.values())))
    link = await here.link(task)
    assert link is not None and here.there.held[link.remote_id]["focus"] == {"reference": name}
    return task, link.remote_id


async def not_the_goals(here: Leaving) -> None:
    await here.refuse("surgery", class_=[{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}])


async def test_what_points_to_a_copy_is_let_go_of_as_it_is_there_and_with_a_row(here: Leaving) -> None:
    task, name = await held_fast(here)
    await not_the_goals(here)
    await here.round(2)
    assert not here.there.named("Goal") and (await here.status())["quiet"]
    assert here.there.held[name]["focus"]["identifier"]["value"].startswith("Goal/") and here.there.held[name]["location"]["display"] == "Rose House"
    rows = [n for n in await here.house.store.notes(patient=here.names["amina"], count=50) if str(task) in n.refs and "without its reference" in n.detail]
    assert len(rows) == 1 and rows[0].what == "disclose"


async def test_what_points_to_a_copy_is_not_sent_again_with_a_place_that_is_protected_by_now(here: Leaving) -> None:
    _, name = await held_fast(here)
    await here.labelled("amina", RISK)
    await not_the_goals(here)
    here.since = len(here.there.asked)
    await here.round(4)
    assert not here.left("Rose House") and not here.there.named("Goal") and "location" not in here.there.held[name] and (await here.status())["quiet"]


@pytest.mark.parametrize("here", [(None, {}), (None, {"direction": "out"})], indirect=True)
async def test_what_they_changed_in_what_points_to_a_copy_stays_and_the_copy_goes(here: Leaving) -> None:
    _, name = await held_fast(here)
    here.now += timedelta(seconds=60)
    here.there.write({**here.there.held[name], "note": [{"text": "by them"}]})
    await not_the_goals(here)
    for _ in range(3):
        await push(here.house, here.partner, "w")
        here.now += timedelta(seconds=61)
    assert not here.there.named("Goal") and not await here.house.store.outbox_items("hub", "parked")
    assert "identifier" in here.there.held[name]["focus"]


async def test_a_no_while_what_points_to_a_copy_is_looked_at_keeps_it_from_being_sent_again(here: Leaving) -> None:
    _, name = await held_fast(here)
    here.there.habits.etag, here.partner.server.tags = "none", "none"
    await not_the_goals(here)
    here.meanwhile = ("GET", name, lambda: here.refuse("surgery"))
    await here.round(4)
    assert here.meanwhile is None and not here.left("Visit") and not here.there.named("Goal") and name not in here.there.held


# -- what is ours taken out of what is theirs -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["pull", slowly("push")])
@pytest.mark.parametrize("here", [(None, {"enforces": "nothing"})], indirect=True)
async def test_what_is_put_back_there_without_an_answer_is_no_change_of_theirs(here: Leaving, first: str) -> None:
    """Her note on a goal of theirs goes out of it there, since it is restricted by now; here it stays."""
    person = here.there.named("Patient")[0]["id"]
    here.there.write(goal("theirs", lifecycleStatus="active", subject={"reference": f"Patient/{person}"}))
    await here.round()
    (ref,) = [s.ref for s in await here.house.store.patient_record(here.names["amina"], ["Goal"])]
    here.names["theirs"] = str(ref)
    await here.change(here.me, "theirs", note=[{"text": "mine"}])
    await here.round()
    assert [g.get("note") for g in here.there.named("Goal")] == [[{"text": "mine"}]]
    await here.labelled("theirs", RESTRICTED)
    here.there.fault("PUT", "Goal/", times=1, applied=True, cut="before")
    with pytest.raises(Unknown):
        await push(here.house, here.partner, "w")
    assert [g.get("note") for g in here.there.named("Goal")] == [None]
    here.now += timedelta(seconds=1 if first == "pull" else 61)
    await (pull(here.house, here.partner) if first == "pull" else push(here.house, here.partner, "w"))
    await here.round(2)
    stored = await here.house.store.get(ref)
    assert stored is not None and strict.decode(stored.body or b"")["note"] == [{"text": "mine"}] and (await here.status())["quiet"]
    assert not await here.house.store.kept_all("attempt", here.now) and all(d.recalled for d in await here.house.store.ledger(remote="hub") if d.ref == ref)


# -- what another gateway kept from us --------------------------------------------------------------------------------------


async def kept_from_us(here: Leaving, what: str) -> Rule:
    """A goal there, on another gateway, which a person there keeps from us; ours is then changed or withdrawn, and parked."""
    await here.goal()
    await here.round(2)
    hidden = here.there.fault("", "Goal/", status=404)
    if what == "changed":
        await here.change(here.me, "walk", description={"text": "run"})
    else:
        await not_the_goals(here)
    for _ in range(3):
        await worker.once(here.house, here.partner)
        here.now += timedelta(minutes=5)
    assert (await here.house.store.outbox("hub"))["parked"] == 1
    return hidden


@pytest.mark.parametrize("here", [(Habits(gateway="f" * 16), {})], indirect=True)
@pytest.mark.parametrize(("what", "then"), [("changed", "at once"), ("withdrawn", "later"), slowly("changed", "later"), slowly("withdrawn", "at once")])
async def test_what_another_gateway_kept_from_us_goes_by_itself_once_we_may_see_it(here: Leaving, what: str, then: str) -> None:
    hidden = await kept_from_us(here, what)
    since = len(here.there.asked)
    for _ in range(36):
        await worker.once(here.house, here.partner)
        here.now += timedelta(minutes=5)
    looks = [a for a in here.there.asked[since:] if a.path.startswith("Goal/")]
    assert len(looks) == 3 and {a.method for a in looks} == {"GET"}, "it is looked at once an hour, and nothing is sent"
    hidden.left = 0
    if then == "at once":
        person = here.there.named("Patient")[0]["id"]
        here.there.write(goal("theirs", lifecycleStatus="active", subject={"reference": f"Patient/{person}"}))
    for _ in range(2 if then == "at once" else 13):
        await worker.once(here.house, here.partner)
        here.now += timedelta(minutes=1 if then == "at once" else 5)
    assert "walk" not in here.texts() and ("run" in here.texts()) == (what == "changed")
    status = await here.status()
    assert status["parked"] == status["recalls_open"] == 0 and status["quiet"]


@pytest.mark.parametrize("here", [(Habits(gateway="f" * 16), {})], indirect=True)
async def test_what_was_written_here_into_a_record_that_is_kept_from_us_is_taken_out_once_we_may_see_it(here: Leaving) -> None:
    await here.goal()
    await here.round(2)
    person = here.there.named("Patient")[0]["id"]
    theirs = here.there.write(goal("theirs", lifecycleStatus="active", subject={"reference": f"Patient/{person}"}))
    here.now += timedelta(minutes=1)
    await worker.once(here.house, here.partner)
    link = await here.house.store.link_by_remote("hub", f"Goal/{theirs['id']}")
    assert link is not None
    here.names["theirs"] = str(link.ref)
    await here.change(here.me, "theirs", note=[{"text": "secret"}])
    await here.round(2)
    assert "note" in here.there.held[f"Goal/{theirs['id']}"]
    hidden = here.there.fault("", f"Goal/{theirs['id']}", status=404)
    await not_the_goals(here)
    await here.round(3)
    assert (await here.house.store.outbox("hub"))["parked"] == 1
    hidden.left = 0
    for _ in range(14):
        await worker.once(here.house, here.partner)
        here.now += timedelta(minutes=5)
    assert "note" not in here.there.held[f"Goal/{theirs['id']}"] and (await here.status())["quiet"]
