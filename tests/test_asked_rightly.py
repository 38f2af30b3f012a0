"""What is asked of a partner, and what is not: by whom a copy was deleted, about whom a tag is, and after our own clock was wrong. docs/sync.md"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.types import Op, Ref, Renew
from fhir_gateway.gate import Context
from fhir_gateway.remote.client import Down, Unknown
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import as_owner

from .faults.rig import rigged
from .faults.scripted import Habits
from .sim.town import Clock, Town
from .test_two_gateways import Both, aims, both_quiet, deleted_under_a_no, says

slow = pytest.mark.slow


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    clock = Clock()
    two = await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(tmp_path)  # type: ignore[arg-type]
    await two.rounds()
    yield two
    await two.end()


async def system_of_theirs(both: Both) -> Context:
    """At A: another system of the organisation that runs B."""
    owner = (await as_owner(both.a.house, both.partners["a"], "access")).actor
    return replace(gate.house_context(both.a.house, replace(owner, user="Device/pas")), client="pas")


async def goals(town: Town) -> list[str]:
    found = await town.house.store.patient_record(town.names["amina"], ["Goal"])
    return [strict.decode(s.body)["description"]["text"] for s in found if s.body is not None and not s.deleted]


def deletions(both: Both, began: Ref) -> list[str]:
    return [asked for asked in both.asked if asked.startswith(f"DELETE http://b.test/fhir/{began}")]


async def test_what_another_system_of_theirs_deleted_here_stays_deleted(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    stored = await both.a.house.store.get(copy)
    assert stored is not None and stored.writer.client == "b", "their gateway brought it"
    await gate.remove(await system_of_theirs(both), copy, if_match=stored.version)
    await worker.once(both.a.house, both.partners["a"])
    await says(both.b, began, "run")
    await both.rounds()
    assert await goals(both.a) == [] and await both.deleted(both.a, copy)


async def test_what_they_read_to_be_deleted_here_and_keep_is_asked_for_by_no_later_consent(both: Both) -> None:
    began = await both.goal(both.b)
    await both.rounds()
    copy = await both.there(both.b, began)
    await both.b.consents("amina", "home", "deny", cls="Goal")  # so nothing of A's changes or deletes it
    stored = await both.a.house.store.get(copy)
    assert stored is not None and not stored.deleted
    await gate.remove(both.a.hospital, copy, if_match=stored.version)
    await both.rounds()
    assert not await both.deleted(both.b, began)
    both.asked.clear()
    await both.a.consents("amina", "surgery")
    await both.rounds()
    assert deletions(both, began) == []


async def test_a_no_as_the_question_leaves_keeps_it_here(both: Both) -> None:
    """They are asked to delete their own only while they may know that it was deleted here."""
    began, copy, no = await deleted_under_a_no(both)
    seat, commit, again = both.a.house.store, both.a.house.store.commit, list[Ref]()
    again_due = [True]

    async def then_a_no(*ops: Op) -> None:
        await commit(*ops)
        if any(isinstance(op, Renew) for op in ops) and again_due and again_due.pop():
            again.append(await both.a.consents("amina", "home", "deny", cls="Goal"))

    seat.commit = then_a_no  # type: ignore[method-assign]
    both.asked.clear()
    await both.yes(no)
    await worker.once(both.a.house, both.partners["a"])
    assert again and deletions(both, began) == [] and not await both.deleted(both.b, began)
    await both.yes(again[0])
    await both.rounds()
    assert await both.deleted(both.b, began) and await both.deleted(both.a, copy)
    await both_quiet(both)


@pytest.mark.parametrize("whose", ["amina", "ben"])
async def test_what_they_deleted_leads_from_nobody_to_a_record_of_somebody_else(both: Both, whose: str) -> None:
    """A name of theirs stands for our record that it was a copy of, in a record about the same person."""
    ours = await both.goal(both.a)
    await both.rounds()
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "old"}, "subject": {"reference": both.b.names["amina"]}}
    home = await as_owner(both.b.house, both.partners["b"], "access")
    system = replace(gate.house_context(both.b.house, replace(home.actor, user="Device/other")), client="other")
    tagged = {**goal, "meta": {"tag": [copies.tag(both.a.house.name, ours.id)]}}
    old = (await gate.create(system, "Goal", strict.dump(tagged))).ref
    await gate.remove(both.b.hospital, old, if_match=1)
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "plan", "subject": {"reference": both.b.names[whose]}, "goal": [{"reference": str(old)}]}
    plan = (await gate.create(both.b.hospital, "CarePlan", strict.dump(body))).ref
    await worker.once(both.a.house, both.partners["a"])
    link = await both.a.house.store.link_by_remote("b", str(plan))
    assert link is not None
    assert await aims(both.a, link.ref) == [str(ours if whose == "amina" else old)]


@pytest.mark.parametrize("reads", [True, pytest.param(False, marks=slow)])
async def test_what_bears_our_tag_and_is_about_somebody_whom_nobody_linked_is_not_taken_back(tmp_path: Path, reads: bool) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("first")
        await rig.settled()
        rig.there.fault("POST", "Goal", times=1, applied=True, cut="before")
        ref = await rig.goal("secret")
        with suppress(Down, Unknown):
            await rig.round()
        ours = next(g for g in rig.there.named("Goal") if g["description"]["text"] == "secret")
        stranger = rig.there.write({"resourceType": "Patient", "name": [{"family": "Stranger"}], "birthDate": "1970-01-01"})
        copied: dict[str, Any] = {k: v for k, v in ours.items() if k != "id"}
        clone = rig.there.write({**copied, "note": [{"text": "a copy of our copy"}]})
        other = rig.there.write({**copied, "subject": {"reference": f"Patient/{stranger['id']}"}, "description": {"text": "about a stranger"}})
        if not reads:
            rig.there.fault("GET", f"Patient/{stranger['id']}", status=403)
        await rig.no()
        await rig.round(6)
        left = {f"Goal/{g['id']}" for g in rig.there.named("Goal")}
        assert not {f"Goal/{ours['id']}", f"Goal/{clone['id']}"} & left, "hers is taken back"
        assert (f"Goal/{other['id']}" in left) is reads, "who cannot be read holds nothing back"
        assert all(d.recalled for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)


@pytest.mark.parametrize("what", ["put off", "without an answer"])
async def test_a_clock_of_ours_that_was_ahead_for_a_moment_delays_no_recall(tmp_path: Path, what: str) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("first")
        await rig.settled()
        if what == "put off":
            rig.there.fault("DELETE", "Goal/", status=503)
            rig.now += timedelta(days=1)
            await rig.no()
        else:
            rig.there.fault("POST", "Goal", applied=False, cut="before")
            rig.now += timedelta(days=1)
            await rig.goal("secret")
        with suppress(Down, Unknown):
            await worker.once(rig.house, rig.partner)
        rig.now -= timedelta(days=1)
        rig.there.well()
        if what != "put off":
            await rig.no()
        for _ in range(10):
            with suppress(Down, Unknown):
                await worker.once(rig.house, rig.partner)
            rig.now += timedelta(minutes=1)
        status = await rig.status()
        assert rig.texts() == [] and status["quiet"] and not status["recalls_open"]


async def test_a_gateway_that_deletes_nothing_by_a_name_is_asked_one_by_one(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(gateway="b" * 16)) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        copied = {k: v for k, v in rig.there.named("Goal")[0].items() if k != "id"}
        rig.there.fault("DELETE", "Goal", when=lambda asked: asked.path == "Goal", status=405)
        await rig.no()
        rig.there.write(copied)  # fetched again, under another id
        await rig.round(4)
        status = await rig.status()
        assert rig.texts() == [] and status["quiet"] and status["parked"] == 0
        assert all(d.recalled for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)
