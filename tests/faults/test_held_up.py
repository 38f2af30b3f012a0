"""A recall that is held up there holds up no other of the same person, and what cannot be deleted there says nothing any more. docs/partners.md"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.withheld import is_stub, says_more, stub
from fhir_gateway.sync.looking_again import looked_again
from fhir_gateway.sync.push import push

from ..test_believing import Beside, beside
from .scripted import Habits

KEEPS = Habits(keeps_referred=True)  # as Blaze, and HAPI as it comes


@pytest_asyncio.fixture
async def here(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Beside]:
    async with beside(tmp_path, getattr(request, "param", KEEPS)) as place:
        yield place


def of(*types: str) -> list[dict[str, str]]:
    return [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in types]


async def at_once(here: Beside) -> None:
    """What is done without waiting a moment."""
    for _ in range(8):
        await push(here.house, here.partner, "w")


async def test_a_recall_of_her_entry_that_waits_for_another_try_holds_up_no_later_no_of_hers(here: Beside) -> None:
    await here.goal()
    await here.settled()
    here.there.fault("DELETE", "Patient/", status=423)
    await here.refuse("surgery", class_=of("Patient"))
    await at_once(here)
    states = await here.house.store.outbox_items("hub", "queued", 10)
    assert [i["why"] for i in states] == ["recall"] and here.texts() == ["walk"], "tried, and put off"
    await here.refuse("surgery", class_=of("Goal"))
    await at_once(here)
    assert here.texts() == [], "within the same second"


# -- what that server keeps, for a record of theirs refers to it ----------------------------------------------------------


async def referred_to(here: Beside, **more: Any) -> tuple[Ref, str]:
    """A goal of hers there, and the plan that a nurse there wrote about both; `more` of that."""
    ref = await here.goal()
    await here.settled()
    (goal,) = here.there.named("Goal")
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": goal["subject"], "goal": [{"reference": f"Goal/{goal['id']}"}]}
    theirs = here.there.write({**plan, **more})
    await here.settled()
    return ref, f"CarePlan/{theirs['id']}"


async def answer(here: Beside, status: str) -> None:
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status=status)
    for _ in range(4):
        await here.round()


async def tasks(here: Beside) -> list[tuple[str, str]]:
    found = [strict.decode(s.body or b"{}") for s in await here.house.store.patient_record(here.names["amina"], ["Task"])]
    return sorted((t["status"], t["description"]) for t in found if t["code"]["coding"][0]["code"] == "recall-by-hand")


def only_stubs(here: Beside) -> None:
    (goal,), (person,) = here.there.named("Goal"), here.there.named("Patient")
    assert is_stub(goal) and not says_more(goal, stub(here.house.r4, "Goal", [])), goal
    assert is_stub(person) and not says_more(person, stub(here.house.r4, "Patient", [])), person


SCRIPT = {"text": {"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>'}}


@pytest.mark.parametrize("more", [pytest.param({}, id="known here"), pytest.param(SCRIPT, id="in quarantine")])
async def test_what_a_record_of_theirs_keeps_there_says_nothing_and_goes_when_that_lets_go_of_it(here: Beside, more: dict[str, Any]) -> None:
    _, plan = await referred_to(here, **more)
    theirs = dict(here.there.held[plan])
    await answer(here, "inactive")
    only_stubs(here)
    assert here.there.held[plan] == theirs, "nobody touches theirs"
    parked = await here.house.store.outbox_items("hub", "parked", 10)
    assert {i["ref"].split("/")[0] for i in parked} == {"Goal", "Patient"} and all("only a stub of it stands there" in i["detail"] for i in parked)
    told = await tasks(here)
    assert len(told) == 2 and all(s == "requested" and "an empty record" in text for s, text in told)
    assert await looked_again(here.house, here.partner) == 2
    await here.round()
    only_stubs(here)
    assert len(await here.house.store.outbox_items("hub", "parked", 10)) == 2 and await tasks(here) == told, "asked again, and told once"
    here.there.remove(plan)
    here.now += timedelta(hours=1)
    assert await looked_again(here.house, here.partner) == 2
    await here.settled()
    status = await here.status()
    assert not here.there.named("Goal") and not here.there.named("Patient") and status["parked"] == 0 and status["quiet"]
    assert all(d.recalled for d in await here.house.store.ledger(remote="hub")) and {s for s, _ in await tasks(here)} == {"completed"}


@pytest.mark.parametrize("here", [pytest.param(KEEPS, id="keeps"), pytest.param(Habits(keeps_referred=True, must_match=True, stale=409), id="409")], indirect=True)
async def test_a_yes_puts_the_copy_where_the_stub_stands_and_nothing_takes_it_back_again(here: Beside) -> None:
    ref, plan = await referred_to(here)
    before = {g["id"] for g in here.there.named("Goal")}
    await answer(here, "inactive")
    only_stubs(here)
    await answer(here, "active")
    here.now += timedelta(hours=2)
    assert await looked_again(here.house, here.partner) == 0
    await here.settled()
    assert here.texts() == ["walk"] and {g["id"] for g in here.there.named("Goal")} == before and here.there.named("Patient")[0]["name"]
    status, link = await here.status(), await here.link(ref)
    assert status["parked"] == 0 and status["quiet"] and link is not None and link.version == 1 and plan in here.there.held
    assert {s for s, _ in await tasks(here)} == {"completed"} and await here.text(ref) == "walk"


async def test_what_they_changed_meanwhile_is_read_first(here: Beside) -> None:
    ref, _ = await referred_to(here)
    (goal,) = here.there.named("Goal")
    here.there.fault("DELETE", "Goal/", times=1, status=409, act=lambda _: here.there.write({**goal, "description": {"text": "swim"}}))
    await answer(here, "inactive")
    only_stubs(here)
    kept = [await here.text(ref), str(await here.house.store.kept_all("quarantine", here.now, "hub "))]
    assert "swim" in "".join(kept), "theirs is here, or waits for a person"


async def test_a_stub_whose_label_that_server_keeps_is_written_over_by_a_yes_without_end(here: Beside) -> None:
    here.there.habits = Habits(keeps_referred=True, adds_up=True)
    await referred_to(here)
    await answer(here, "inactive")
    await answer(here, "active")
    (goal,) = here.there.named("Goal")
    await here.round(4)
    (later,) = here.there.named("Goal")
    assert later["description"]["text"] == "walk" and later["meta"]["versionId"] == goal["meta"]["versionId"], "once"


async def test_a_yes_while_the_stub_is_asked_for_again_leaves_nothing_parked(here: Beside) -> None:
    await referred_to(here)
    await answer(here, "inactive")
    assert await looked_again(here.house, here.partner) == 2
    await answer(here, "active")
    await here.settled()
    assert here.texts() == ["walk"] and here.there.named("Patient")[0]["name"]
    assert (await here.status())["parked"] == 0 and {s for s, _ in await tasks(here)} == {"completed"}


NAMES = Habits(keeps_referred=True, names_referrer=True)  # as HAPI


async def end_no(here: Beside) -> None:
    """The last that she said ends."""
    await here.change(here.me, list(here.names)[-1], status="inactive")


@pytest.mark.parametrize("here", [pytest.param(KEEPS, id="keeps"), pytest.param(NAMES, id="names what refers")], indirect=True)
@pytest.mark.parametrize("lost", [pytest.param(False, id="answered"), pytest.param(True, id="no answer")])
async def test_what_is_whole_again_is_pointed_to_again_by_what_let_go_of_it(here: Beside, lost: bool) -> None:
    """Ours let go of it so that it could be deleted, and it was not: a record of theirs points to it, too."""
    ref, _ = await referred_to(here)
    ours = await here.plan(ref)
    await here.settled()
    (goal,), link = here.there.named("Goal"), await here.link(ours)
    assert link is not None and here.there.held[link.remote_id]["goal"] == [{"reference": f"Goal/{goal['id']}"}]
    if lost:
        here.there.fault("PUT", "Goal/", times=1, cut="before", applied=True)
    await here.refuse("surgery", class_=of("Goal"))
    await here.round(3)
    (empty,) = here.there.named("Goal")
    assert is_stub(empty) and "reference" not in here.there.held[link.remote_id]["goal"][0]
    assert (await here.status())["parked"] == 1 and len(await tasks(here)) == 1
    if lost:
        here.there.fault("PUT", "Goal/", times=1, cut="before", applied=True)
    await end_no(here)
    await here.settled()
    assert here.there.held[f"Goal/{goal['id']}"]["description"]["text"] == "walk"
    assert here.there.held[link.remote_id]["goal"] == [{"reference": f"Goal/{goal['id']}"}]
    assert (await here.status())["parked"] == 0 and [s for s, _ in await tasks(here)] == ["completed"]


@pytest.mark.parametrize("here", [pytest.param(KEEPS, id="keeps"), pytest.param(NAMES, id="names what refers")], indirect=True)
async def test_how_often_it_was_away_does_not_say_that_theirs_refers_to_it(here: Beside) -> None:
    await here.goal()
    await here.settled()
    here.there.fault("DELETE", "Goal/", status=503)
    await here.refuse("surgery")
    for _ in range(12):
        await here.round()
        here.now += timedelta(hours=1)
    assert any(i["tries"] > 8 for i in await here.house.store.outbox_items("hub", "queued", 10))
    here.there.well()
    here.there.fault("DELETE", "Goal/", times=6, status=409)
    await here.settled()
    assert not here.there.held and not any(map(is_stub, here.there.ever("Goal"))) and {s for s, _ in await tasks(here)} == {"completed"}


@pytest.mark.parametrize("here", [pytest.param(Habits(deletes=False), id="405")], indirect=True)
async def test_where_nothing_is_deleted_at_all_a_stub_takes_its_place_too(here: Beside) -> None:
    await here.goal()
    await here.settled()
    before = {g["id"] for g in here.there.named("Goal")}
    await answer(here, "inactive")
    only_stubs(here)
    parked = await here.house.store.outbox_items("hub", "parked", 10)
    assert len(parked) == 2 and all("offers no deletion" in i["detail"] for i in parked)
    await answer(here, "active")
    await here.settled()
    assert here.texts() == ["walk"] and {g["id"] for g in here.there.named("Goal")} == before and (await here.status())["parked"] == 0


async def test_a_stub_that_they_delete_is_for_nobody_to_see_to_any_more(here: Beside) -> None:
    _, plan = await referred_to(here)
    await answer(here, "inactive")
    for name in [n for n in here.there.held if n.startswith(("CarePlan/", "Goal/", "Patient/"))]:
        here.there.remove(name)
    await here.round()
    here.now += timedelta(hours=1)
    await looked_again(here.house, here.partner)
    await here.settled()
    status = await here.status()
    assert status["parked"] == 0 and all(d.recalled for d in await here.house.store.ledger(remote="hub")) and {s for s, _ in await tasks(here)} == {"completed"}
    assert plan not in here.there.held


async def test_a_copy_that_goes_over_the_stub_for_another_reason_than_a_yes_leaves_nothing_parked(here: Beside) -> None:
    """It was not agreed on for a while."""
    ref, _ = await referred_to(here)
    ours = await here.plan(ref)
    await here.settled()
    link = await here.link(ours)
    key = next(k for k, v in here.names.items() if v == str(ref))
    agreed = here.partner.terms
    here.partner.terms = replace(agreed, types=frozenset({"Patient", "CarePlan"}))
    await here.change(here.me, key, description={"text": "swim"})
    await here.round(2)
    assert is_stub(here.there.named("Goal")[0]) and (await here.status())["parked"] == 1
    here.partner.terms = agreed
    await here.change(here.me, key, description={"text": "run"})
    await here.settled()
    assert here.texts() == ["run"] and (await here.status())["parked"] == 0 and [s for s, _ in await tasks(here)] == ["completed"]
    assert link is not None and here.there.held[link.remote_id]["goal"] == [{"reference": f"Goal/{here.there.named('Goal')[0]['id']}"}]


@pytest.mark.parametrize("here", [pytest.param(KEEPS, id="keeps"), pytest.param(NAMES, id="names what refers")], indirect=True)
async def test_a_yes_that_comes_before_the_no_could_be_carried_out_asks_nobody(here: Beside) -> None:
    ref, _ = await referred_to(here)
    ours = await here.plan(ref)
    await here.settled()
    link, before = await here.link(ours), {g["id"] for g in here.there.named("Goal")}
    here.there.fault("DELETE", status=503)
    await here.refuse("surgery", class_=of("Goal"))
    await here.round(2)
    await end_no(here)
    await here.round()
    here.there.well()
    await here.settled()
    assert here.texts() == ["walk"] and {g["id"] for g in here.there.named("Goal")} == before and not await tasks(here)
    assert link is not None and here.there.held[link.remote_id]["goal"] == [{"reference": f"Goal/{here.there.named('Goal')[0]['id']}"}]


@pytest.mark.parametrize("here", [pytest.param(NAMES, id="names what refers")], indirect=True)
async def test_a_copy_of_ours_that_refers_to_it_and_cannot_be_changed_there_is_waited_for_and_then_leaves_nothing_whole(here: Beside) -> None:
    goal = await here.goal()
    await here.plan(goal)
    await here.settled()
    here.there.fault("PUT", "CarePlan/", status=422)
    await here.refuse("surgery", class_=of("Goal"))
    await here.one_push()
    await here.one_push()
    assert here.texts() == ["walk"] and (await here.status())["parked"] == 0
    await here.round(8)
    assert is_stub(here.there.named("Goal")[0]) and (await here.status())["parked"] == 1
    here.there.well()
    here.now += timedelta(hours=1)
    assert await looked_again(here.house, here.partner) == 1
    await here.settled()
    assert not here.there.named("Goal") and (await here.status())["parked"] == 0


REFUSED = {"modifierExtension": [{"url": "http://their.example/ruled-out", "valueBoolean": True}]}


@pytest.mark.parametrize("wrong", [pytest.param({"nonsense": 1}, id="no Goal"), pytest.param(REFUSED, id="refused")])
async def test_what_they_wrote_on_it_and_was_refused_here_does_not_keep_it_whole(here: Beside, wrong: dict[str, Any]) -> None:
    ref, _ = await referred_to(here)
    (goal,) = here.there.named("Goal")
    here.there.write({**goal, "description": {"text": "swim"}, **wrong})
    await here.round()
    assert f"Goal/{goal['id']}" in await here.waiting() and await here.text(ref) == "walk"
    await answer(here, "inactive")
    only_stubs(here)
    await answer(here, "active")
    await here.settled()
    assert here.texts() == ["walk"] and (await here.status())["parked"] == 0
