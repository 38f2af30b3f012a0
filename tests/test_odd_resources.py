"""One resource of a partner that is of no shape, or not for us to read, waits alone: it stops no pull, no push and no recall."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Keep
from fhir_gateway.remote.client import Down, Unknown
from fhir_gateway.store.journalled import opening
from fhir_gateway.sync import meeting
from fhir_gateway.sync.push import push
from fhir_gateway.sync.replaying import replay
from fhir_gateway.sync.sweeping import reread, sweep
from fhir_gateway.sync.worker import once, status

from .faults.scripted import Habits
from .test_pulling import Begin, Shared
from .test_pulling import begin as begin


def later(here: Shared, seconds: int = 60) -> None:
    here.now += timedelta(seconds=seconds)


async def waiting(here: Shared) -> list[str]:
    return sorted(i["id"] for i in await here.quarantined())


# -- what comes in ----------------------------------------------------------------------------------------------------------------


async def test_what_refers_to_something_that_cannot_be_read_comes_and_so_does_what_stands_behind_it(begin: Begin) -> None:
    here = await begin()
    here.there.write({"resourceType": "Observation", "id": "bad", "status": "final", "code": {"text": "bad"}, "category": [], "subject": {"reference": here.her}})
    here.seen("c", "Condition", here.now + timedelta(seconds=1), evidence=[{"detail": [{"reference": "Observation/bad"}]}])
    here.seen("good", at=here.now + timedelta(seconds=2))
    later(here)
    await here.pull()
    assert (await here.texts("Condition"), await here.texts(), await waiting(here)) == (["c"], ["good"], ["Observation/bad"])


async def test_what_speaks_of_somebody_whom_we_may_not_look_at_waits_and_nothing_behind_it(begin: Begin) -> None:
    here = await begin()
    here.there.fault("GET", "Patient/zz", status=403)
    hidden = here.there.write({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/zz"}})
    here.there.write({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/.."}})
    here.seen("good", at=here.now + timedelta(seconds=2))
    later(here)
    tally = await here.pull()
    assert (await here.texts(), await waiting(here)) == (["good"], [f"Observation/{hidden['id']}"])
    assert not any("refuses to be asked" in why for why in tally.ignored)
    assert not [a for a in here.there.asked if ".." in a.path], "what is no id is nobody"


async def test_what_came_without_a_name_is_not_asked_for_and_stops_nobody(begin: Begin) -> None:
    here = await begin()
    here.there.extra = [b'{"resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"%s"}}}' % here.her.encode()]
    await here.pull()
    (item,) = await here.quarantined()
    with pytest.raises(Problem, match="without a name"):
        await replay(here.house, here.partner, here.operator, item["item"])
    await here.house.store.commit(Keep("identity-met", f"hub {here.names['amina']}", here.her.encode()))
    here.seen("good")
    await here.pull()
    assert await here.texts() == ["good"] and len(await here.quarantined()) == 1


async def test_of_somebody_met_all_is_read_but_what_cannot_be(begin: Begin) -> None:
    """In the list of what she has there, and in what waited for her, stands what we may not look at."""
    here = await begin()
    here.there.fault("GET", "Patient/zz", status=403)
    for n, words in enumerate(("a", "b", "c")):
        more = {"performer": [{"reference": "Patient/zz"}]} if words == "a" else {}
        here.seen(words, at=here.now + timedelta(seconds=n), **more)
    await here.house.store.commit(Keep("identity-met", f"hub {here.names['amina']}", here.her.encode()))
    later(here)
    await here.pull()
    assert await here.texts() == ["b", "c"]
    (held,) = await waiting(here)
    here.there.fault("GET", held, status=403)
    await here.house.store.commit(Keep("identity-met", f"hub {here.names['amina']}", here.her.encode()))
    here.seen("d")
    later(here)
    await here.pull()
    assert (await here.texts(), await waiting(here)) == (["b", "c", "d"], [held])
    assert await here.house.store.kept_all("identity-met", here.now) == {}


async def test_who_is_met_is_caught_up_after_what_has_changed_some_in_each_round_and_by_one_worker(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await begin()
    monkeypatch.setattr(meeting, "PEOPLE", 1)
    held = f"{here.her} {(here.now + timedelta(seconds=3)).isoformat()}"
    await here.house.store.commit(Keep("identity-met", f"hub {here.names['amina']}", held.encode()), Keep("identity-met", "hub Patient/b", b"Patient/b"))
    here.seen("new")
    begun = len(here.there.asked)
    await here.pull()
    asked = [a.query.get("patient", a.query) for a in here.there.asked[begun:] if a.query]
    assert here.her not in asked and "Patient/b" in asked, "another worker has her"
    assert set(await here.house.store.kept_all("identity-met", here.now)) == {f"hub {here.names['amina']}"}
    assert {str(a) for a in asked[asked.index("Patient/b") :]} == {"Patient/b"} and asked.index("Patient/b"), "the feeds come before"
    later(here)
    await here.pull()
    assert await here.house.store.kept_all("identity-met", here.now) == {} and not await meeting.wait(here.house, here.partner)


# -- looking at all that is there -------------------------------------------------------------------------------------------------

ODD = {"refused": {"status": 403}, "something else": {"body": b'{"resourceType":"Basic","id":"x"}'}, "of no shape": {"body": b""}}


@pytest.mark.parametrize("how", ODD)
async def test_one_that_is_missing_in_a_list_and_cannot_be_read_keeps_no_deletion_from_being_seen(begin: Begin, how: str) -> None:
    here = await begin(Habits(feed="search"))
    made = [here.seen(f"{n}") for n in range(5)]
    await here.pull()
    for one in made[:2]:
        here.there.remove(f"Observation/{one['id']}")
    first = made[0]["id"]
    here.there.fault("GET", f"Observation/{first}", **(ODD[how] | ({"body": strict.dump({**made[0], "category": []})} if how == "of no shape" else {})))
    await sweep(here.house, here.partner)
    assert await here.texts() == ["0", "2", "3", "4"], "of the one nothing is known, the other is gone"
    assert await here.house.store.kept("watermark", "hub sweep", here.now) is not None


async def test_after_a_restore_what_cannot_be_read_there_holds_back_no_recall(begin: Begin) -> None:
    here = await begin()
    await here.goal()
    await here.house.store.commit(*opening(here.now))
    here.there.fault("GET", "Patient/", body=strict.dump({**here.there.named("Patient")[0], "name": []}))
    await here.refuse("surgery")
    await once(here.house, here.partner)
    assert here.there.named("Goal") == []


async def test_who_answers_everything_with_something_else_is_away_and_is_read_again(begin: Begin) -> None:
    here = await begin()
    for n in range(5):
        await here.goal(f"{n}")
    await here.house.store.commit(*opening(here.now))
    odd = here.there.fault("GET", "Goal/", body=b"<html>")
    with pytest.raises(Unknown):
        await reread(here.house, here.partner)
    here.there.rules.remove(odd)
    for goal in here.there.named("Goal"):
        here.there.write({**goal, "note": [{"text": "theirs"}]})
    assert (await reread(here.house, here.partner)).pulled == 5


async def test_what_they_answer_oddly_after_a_restore_holds_back_no_recall_however_much_it_is(begin: Begin) -> None:
    here = await begin()
    for n in range(7):
        await here.goal(f"{n}")
    await here.house.store.commit(*opening(here.now))
    here.there.fault("GET", "Goal/", body=b"<html>", headers={"Content-Type": "text/html"})
    await here.refuse("surgery")
    waits = await status(here.house, here.partner)
    assert (waits["recalls_open"], waits["quiet"]) == (len(await here.house.store.ledger(remote="hub", open_only=True)), False), "a no that was not looked at"
    with suppress(Unknown):
        await once(here.house, here.partner)
    assert here.there.named("Goal") == []
    later(here)
    await once(here.house, here.partner)
    there = await status(here.house, here.partner)
    assert (there["recalls_open"], there["paused"], there["quiet"]) == (0, "", True), "what cannot be read was tried twice"


async def test_a_server_that_fails_one_read_after_a_restore_takes_back_what_it_is_asked_to(begin: Begin) -> None:
    here = await begin()
    await here.goal()
    await here.house.store.commit(*opening(here.now))
    here.there.fault("GET", "Goal/", status=500)
    await here.refuse("surgery")
    for _ in range(3):
        with suppress(Down):
            await once(here.house, here.partner)
    assert here.there.named("Goal") == [] and (await status(here.house, here.partner))["quiet"]


# -- what is taken back -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recall", ["delete", "stub"])
async def test_a_copy_that_they_made_unreadable_is_taken_back(begin: Begin, recall: str) -> None:
    here = await begin(recall=recall)
    await here.goal()
    (copy,) = here.there.named("Goal")
    here.there.write({**copy, "note": []})
    await here.refuse("surgery")
    for _ in range(4):
        await push(here.house, here.partner, "w")
        later(here)
    assert here.there.named("Goal") == [] and all(d.recalled for d in await here.house.store.ledger(remote="hub") if d.ref.type == "Goal")
