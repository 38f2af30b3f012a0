"""What must hold after any run, and that each of it says so when it does not."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.masked import HELD_BACK, found_again
from fhir_gateway.domain.types import Keep, Ref, Send
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Refusal, RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.store.journalled import OPENED
from fhir_gateway.sync import attempts
from fhir_gateway.sync.backfill import backfill
from fhir_gateway.sync.feed import change_of
from fhir_gateway.sync.partner import Partner, as_owner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.sweeping import reread, sweep
from fhir_gateway.sync.taking import apply, pull_one

from ..stores.test_attempts import Here
from ..telling.servers import mail_server
from . import invariants
from .rig import rigged
from .scripted import There


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[tuple[Here, There, Ref]]:
    """Amina's goal at the surgery's server, changed on both sides."""
    with mail_server() as post:
        place = Here(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        await place.open(store, Remote("hub", "surgery-code"))
        terms = Remote("hub", place.names["surgery"])
        place.house.remotes, there = (terms,), There(clock=lambda: place.now)
        place.partner = Partner(terms, RemoteServer(there.url, lambda: place.now, transport=there.transport()))
        await backfill(place.house, place.partner)
        await place.grant("surgery")
        ref = await place.goal()
        await place.looked_after()
        await place.push()
        (copy,) = there.named("Goal")
        there.write({**copy, "note": [{"text": "by them"}]})
        await place.change(place.me, "goal", description={"text": "run"})
        await pull(place.house, place.partner)
        await place.push()
        yield place, there, ref
        await place.partner.server.close()
        await store.close()


async def said(place: Here, there: There, **more: Any) -> set[str]:
    return {sentence.split()[0] for sentence in await invariants.wrong(place.house, [(place.partner, there)], **more)}


async def test_a_good_run_has_nothing_wrong(here: tuple[Here, There, Ref]) -> None:
    place, there, ref = here
    earlier = invariants.digests(await invariants.versions(place.house.store), await invariants.notes(place.house.store))
    begun = invariants.carried(place.house, there.asked, lambda _: place.now)
    assert (place.now, str(ref)) in begun
    assert "note" in await place.body(ref)
    more = {"acknowledged": [(ref, 1), (ref, 3)], "earlier": earlier, "begun": {"hub": begun}}
    assert await invariants.wrong(place.house, [(place.partner, there)], **more) == []
    await place.refuse("surgery")
    await place.push()
    assert await invariants.wrong(place.house, [(place.partner, there)], **more) == []
    assert await invariants.answers(lambda: _two_hundred()) == []


async def test_each_says_what_is_wrong(here: tuple[Here, There, Ref]) -> None:
    place, there, ref = here
    store, (copy,) = place.house.store, there.named("Goal")
    every, trail = await invariants.versions(store), await invariants.notes(store)
    assert await said(place, there, acknowledged=[(ref, 9)]) == {"I1"}
    assert invariants.versions_are_contiguous([s for s in every if s.version != 2])
    assert invariants.versions_have_one_audit_row(every, [n for n in trail if not n.detail.startswith("version 2")])
    assert invariants.versions_have_one_audit_row(every, [*trail, *trail])
    shut = {str(ref): [(place.now - timedelta(seconds=1), None)]}
    assert await said(place, there, begun={"hub": [(place.now, str(ref))]}, shut={"hub": shut}) == {"I6"}
    there.write({k: v for k, v in copy.items() if k != "id"})
    assert await said(place, there) == {"I7"}
    there.held = {n: b for n, b in there.held.items() if n == f"Goal/{copy['id']}" or not n.startswith("Goal/")}
    assert await said(place, there, earlier={f"{ref}/1": "another"}) == {"I8"}
    there.held[f"Goal/{copy['id']}"] = {**copy, "description": {"text": "swim"}}
    assert await said(place, there) == {"I5"}
    del there.held[f"Goal/{copy['id']}"]
    assert await said(place, there) == {"I5"}
    assert await invariants.answers(lambda: _two_hundred(503))


async def test_words_tags_and_references_there_are_what_their_owner_may_see(here: tuple[Here, There, Ref]) -> None:
    place, there, ref = here
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": place.names["amina"]}, "goal": [{"reference": str(ref)}]}
    await gate.create(place.me, "CarePlan", strict.dump(body))
    await place.push()
    assert await said(place, there) == set()
    (plan,) = there.named("CarePlan")
    div = "<div xmlns='http://www.w3.org/1999/xhtml'>what nobody there may see</div>"
    more: dict[str, dict[str, Any]] = {
        "narrative": {"text": {"status": "generated", "div": div}},
        "tag": {"meta": {**plan["meta"], "tag": [*plan["meta"]["tag"], {"system": "urn:clinic", "code": "closed"}]}},
        "display": {"goal": [{**plan["goal"][0], "display": "Stop drinking"}]},
        "identifier": {"goal": [{**plan["goal"][0], "identifier": {"system": "urn:clinic", "value": "closed"}}]},
        "held back, though it is there": {"goal": [{"type": "Goal", "identifier": {"system": HELD_BACK, "value": str(ref)}}]},
    }
    for what, change in more.items():
        there.held[f"CarePlan/{plan['id']}"] = {**plan, **change}
        assert await said(place, there) == {"I5"}, what


async def test_an_element_that_is_said_not_to_be_kept_there_is_not_compared_and_others_are(here: tuple[Here, There, Ref]) -> None:
    place, there, _ = here
    (copy,) = there.named("Goal")
    less = {k: v for k, v in copy.items() if k != "note"}
    there.held[f"Goal/{copy['id']}"] = less
    assert await said(place, there) == {"I5"}
    await place.house.store.commit(Keep("dropped", "hub Goal.note", b"2026-11-01"))
    assert await said(place, there) == set()
    there.held[f"Goal/{copy['id']}"] = {k: v for k, v in less.items() if k != "description"}
    assert await said(place, there) == {"I5"}


async def test_what_stays_where_it_may_not_and_what_waits_is_said(here: tuple[Here, There, Ref]) -> None:
    place, there, ref = here
    await place.refuse("surgery")
    assert await said(place, there) == {"I4", "I5"}, "the recall waits, and the copy is there"
    await place.push()
    assert await said(place, there) == set()
    await place.house.store.commit(Send("hub", ref, 99, place.names["amina"]))
    await place.push()
    assert await said(place, there) == {"I4"}
    stored = await place.house.store.get(ref)
    assert stored is not None
    assert invariants.digests([stored], []) != invariants.digests([replace(stored, body=strict.dump({}))], [])


@pytest.mark.parametrize("kind", ["conflict", "parked", "deleted-there"])
async def test_what_waits_for_a_person_is_not_excused_from_consent(here: tuple[Here, There, Ref], kind: str) -> None:
    place, there, ref = here
    (copy,) = there.named("Goal")
    await place.refuse("surgery")
    await place.push()
    await place.house.store.commit(Keep(kind, f"hub {ref}", b"{}"))
    there.held[f"Goal/{copy['id']}"] = copy
    assert await said(place, there) == {"I5"}


@pytest.mark.parametrize("forged", ["UPDATE version SET body = x'7b7d' WHERE type = 'Goal' AND version = 1",
                                    "DELETE FROM audit WHERE aid = (SELECT max(aid) - 2 FROM audit)"], ids=["version", "audit"])  # fmt: skip
async def test_what_was_written_in_the_middle_of_a_story_and_forged_since_is_found(tmp_path: Path, forged: str) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal()
        await rig.settled()
        await rig.change(rig.me, "walk", description={"text": "run"})
        await rig.settled()
        await rig.sound()
        with closing(sqlite3.connect(rig.file)) as db:
            for trigger in ("version_fixed", "audit_kept"):
                db.execute(f"DROP TRIGGER {trigger}")
            db.execute(forged)
            db.commit()
        with pytest.raises(AssertionError, match="I8"):
            await rig.sound()


async def _two_hundred(code: int = 200) -> int:
    return code


# -- short stories that the simulation found (tests/sim) ---------------------------------------------------------------


async def test_a_deletion_there_ends_what_was_under_way(here: tuple[Here, There, Ref]) -> None:
    """An update that was not answered, and then they deleted it: nothing is left open for ever."""
    place, there, ref = here
    there.fault("PUT", "Goal/", times=1, cut="before", applied=True)
    await place.change(place.me, "goal", description={"text": "swim"})
    await place.push(1)
    assert await place.attempts()
    there.remove(next(n for n in there.held if n.startswith("Goal/")))
    await pull(place.house, place.partner)
    await place.quiet(0.2)
    assert await place.attempts() == [] and (await place.status())["quiet"]
    assert await said(place, there) == set()
    assert (await place.status())["conflicts"] == 1 and await place.body(ref)


async def test_no_task_that_the_gateway_raises_goes_to_a_partner(here: tuple[Here, There, Ref]) -> None:
    """Nor to one that is configured later, and gets what was here before."""
    place, there, _ = here
    (copy,) = there.named("Goal")
    there.write({**copy, "description": {"text": "theirs"}})
    await place.change(place.me, "goal", description={"text": "ours"})
    await pull(place.house, place.partner)
    (task,) = [s for s in await place.house.store.patient_record(place.names["amina"], ["Task"]) if b"settle-conflict" in (s.body or b"")]
    assert not (await gate.may_send(await as_owner(place.house, place.partner, "disclose"), place.partner.terms, task)).permit


async def test_a_person_whose_record_is_to_be_reviewed_is_sent_to_a_new_partner(here: tuple[Here, There, Ref]) -> None:
    place, _, _ = here
    other = Remote("other", place.names["surgery"])
    place.house.remotes = (*place.house.remotes, other)
    amina = Ref(*place.names["amina"].split("/"))
    await place.house.store.commit(Send("other", amina, 0, str(amina), "review"))
    await backfill(place.house, Partner(other, place.partner.server))
    assert (str(amina), "changed") in {(i["ref"], i["why"]) for i in await place.house.store.outbox_items("other", "queued")}


async def test_what_they_refer_to_and_we_do_not_have_stays_as_they_wrote_it(here: tuple[Here, There, Ref]) -> None:
    place, there, _ = here
    (person,) = there.named("Patient")
    about = {"resourceType": "Observation", "status": "final", "code": {"text": "walked"}, "subject": {"reference": f"Patient/{person['id']}"}}
    theirs = there.write({**about, "focus": [{"reference": "Goal/t77"}]})
    await pull(place.house, place.partner)
    (ours,) = await place.house.store.patient_record(place.names["amina"], ["Observation"])
    place.names["walked"] = str(ours.ref)
    await place.change(await place.gp(), "walked", valueString="a mile")
    await place.push()
    now = there.held[f"Observation/{theirs['id']}"]
    assert now["valueString"] == "a mile" and now["focus"] == [{"reference": "Goal/t77"}]
    await place.refuse("surgery")
    await place.push()
    now = there.held[f"Observation/{theirs['id']}"]
    assert "valueString" not in now and now["focus"] == [{"reference": "Goal/t77"}], "our words are taken back, and theirs stay"


def test_what_another_gateway_held_back_and_lets_us_have_now_is_one_reference() -> None:
    held = {"identifier": {"system": HELD_BACK, "value": "Goal/theirs"}, "type": "Goal"}
    for shown in ({"reference": "Goal/ours"}, {"reference": "Goal/ours", "type": "Goal"}):
        assert found_again({"goal": [held]}, {"goal": [shown]}, {"Goal/theirs": "Goal/ours"}) == {"goal": [shown]}
    assert found_again({"goal": [held]}, {"goal": [{"reference": "Goal/theirs"}]}, {}) == {"goal": [{"reference": "Goal/theirs"}]}
    assert found_again({"goal": [held]}, {"goal": [{"reference": "Goal/ours"}]}, {}) == {"goal": [held]}


async def test_what_names_a_copy_of_ours_before_its_answer_is_here_names_ours(here: tuple[Here, There, Ref]) -> None:
    """Else it stands there twice once the answer is here: seed 1680."""
    place, there, _ = here
    there.fault("POST", "Goal", times=1, status=503, applied=True)
    ref = await place.goal("swim")
    await place.push(1)
    (copy,) = [b for b in there.named("Goal") if b["description"] == {"text": "swim"}]
    (person,) = there.named("Patient")
    about = {"resourceType": "Observation", "status": "final", "code": {"text": "swam"}, "subject": {"reference": f"Patient/{person['id']}"}}
    there.write({**about, "focus": [{"reference": f"Goal/{copy['id']}"}]})
    await pull(place.house, place.partner)
    (ours,) = await place.house.store.patient_record(place.names["amina"], ["Observation"])
    assert strict.decode(ours.body or b"")["focus"] == [{"reference": str(ref)}]


async def test_what_they_sent_here_and_name_by_their_own_id_is_not_there_twice(here: tuple[Here, There, Ref]) -> None:
    """It bears their tag, and was deleted before any link told of it: seed 22."""
    place, there, _ = here
    there.habits.gateway, place.partner.abilities = "f" * 16, None
    (person,), them = there.named("Patient"), await as_owner(place.house, place.partner, "access")
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "theirs"}, "subject": {"reference": place.names["amina"]}}
    sent = await gate.create(them, "Goal", strict.dump(copies.tagged(body, [copies.tag("f" * 16, "g9")])))
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": body["subject"], "goal": [{"reference": str(sent.ref)}]}
    ours = await gate.create(place.me, "CarePlan", strict.dump(plan))
    await gate.remove(them, sent.ref, if_match=1)
    theirs = {**plan, "subject": {"reference": f"Patient/{person['id']}"}, "goal": [{"reference": "Goal/g9"}], "period": {"start": "2026"}}
    fetched = there.write(copies.tagged(theirs, [copies.tag(place.house.name, ours.ref.id)]))
    await pull(place.house, place.partner)
    await place.push()
    assert (await place.body(ours.ref))["goal"] == plan["goal"] and (await place.body(ours.ref))["period"] == {"start": "2026"}
    assert there.held[f"CarePlan/{fetched['id']}"]["goal"] == [{"reference": "Goal/g9"}]


async def test_what_they_changed_before_our_second_try_is_taken_in(here: tuple[Here, There, Ref]) -> None:
    """The first was applied and answered 503; the second is answered 200, and without a body by a server that says little."""
    place, there, _ = here
    there.habits.minimal = True
    there.fault("POST", "Goal", times=1, status=503, applied=True)
    ref = await place.goal("swim")
    await place.push(1)
    (copy,) = [b for b in there.named("Goal") if b["description"] == {"text": "swim"}]
    there.write({**copy, "note": [{"text": "on Mondays"}]})
    await place.quiet(0.1)
    await pull(place.house, place.partner)
    assert (await place.body(ref))["note"] == [{"text": "on Mondays"}]


async def test_a_no_while_we_look_what_is_there_holds(here: tuple[Here, There, Ref]) -> None:
    """A server without ETags is read before each update, and may take its time: seed 38."""
    place, there, _ = here
    there.habits.etag = "none"
    await place.change(place.me, "goal", description={"text": "swim"})
    await place.push()
    await place.change(place.me, "goal", description={"text": "a secret"})
    looked: list[str] = []

    async def slowly(request: httpx2.Request) -> httpx2.Response:
        said = there.answer(there.arrived(request.method, str(request.url), dict(request.headers), await request.aread()))
        if not looked and request.method == "GET" and request.url.path.rpartition("/")[0].endswith("/Goal"):
            looked.append(request.url.path)
            await place.refuse("surgery")
        return httpx2.Response(said.status, headers=said.headers, content=said.body, request=request)

    place.partner.server = RemoteServer(there.url, lambda: place.now, transport=httpx2.MockTransport(slowly))
    await place.push(1)
    assert looked and "a secret" not in str([a.raw for a in there.asked]), "nothing leaves after her no"
    await place.push()
    assert await said(place, there) == set()


async def test_what_another_gateway_does_not_let_us_see_is_not_taken_back(here: tuple[Here, There, Ref]) -> None:
    """Their person closed our copy to us: it says 404 as of nothing, and nobody here knows whether it is gone (seed 204)."""
    place, there, ref = here
    there.habits.gateway = "f" * 16
    place.partner.abilities = None
    there.fault("DELETE", "Goal/", status=404)
    stored = await place.house.store.get(ref)
    assert stored is not None
    await gate.remove(place.me, ref, if_match=stored.version)
    await place.push()
    assert (await place.status())["parked"] == (await place.status())["recalls_open"] == 1 and (await place.rows(ref))[-1].recalled is None
    assert [b for b in there.named("Goal")] and await said(place, there) == {"I4", "I5"}, "it is there and may not be, and waits for a person"
    there.well()
    await place.house.store.requeue("hub", "parked", place.now, [ref])
    await place.push()
    assert not there.named("Goal") and await said(place, there) == set()


async def test_what_another_gateway_does_not_let_us_see_is_not_deleted_here(here: tuple[Here, There, Ref]) -> None:
    """Their 404 is no deletion of theirs: ours stays, and a change of it waits for an operator."""
    place, there, ref = here
    there.habits.gateway = "f" * 16
    place.partner.abilities = None
    hidden = there.fault("", "Goal/", status=404)
    link = await place.house.store.link("hub", ref)
    assert link is not None
    with pytest.raises(Refusal):
        await pull_one(place.house, place.partner, link)
    hidden.left = 0
    there.fault("PUT", "Goal/", times=1, cut="before", applied=True)
    await place.change(place.me, "goal", description={"text": "swim"})
    await place.push(1)
    hidden.left = 1_000_000
    assert await place.attempts()
    await place.quiet(0.1)
    now, said_now = await place.house.store.link("hub", ref), await place.status()
    assert hidden.left < 1_000_000 and now is not None and not now.gone and await place.body(ref)
    assert said_now["parked"] == 1 and said_now["conflicts"] == 0
    await attempts.counted(place.house, place.partner)
    assert (await place.status())["quiet"] and await said(place, there) == set()
    assert {d.version for d in await place.rows(ref)} >= {now.version + 1}, "it may have got there"
    there.well()
    await place.house.store.requeue("hub", "parked", place.now, [ref])
    await place.push()
    assert there.named("Goal")[0]["description"] == {"text": "swim"}


@pytest.mark.parametrize("then", ["a restore", "a sweep", "a page"])
async def test_whoever_looks_at_everything_passes_over_what_they_do_not_let_us_see(here: tuple[Here, There, Ref], then: str) -> None:
    """One that cannot be read stops nothing else, and nobody here is asked to see to it."""
    place, there, ref = here
    there.habits.gateway = "f" * 16
    place.partner.abilities = None
    there.fault("GET", "Goal/", status=404)
    if then == "a restore":
        await place.house.store.commit(Keep(*OPENED, b"now"))
        await reread(place.house, place.partner)
    elif then == "a sweep":
        there.fault("GET", "Goal", body=b'{"resourceType": "Bundle", "type": "searchset"}')
        await sweep(place.house, place.partner)
    else:
        (copy,) = there.named("Goal")
        told = {**copy, "meta": {**copy["meta"], "versionId": "0", "lastUpdated": "2020-01-01T00:00:00Z"}}
        await apply(place.house, place.partner, change_of(told))
    status, asked = await place.status(), [(a.method, a.path) for a in there.asked]
    assert ("GET", f"Goal/{there.named('Goal')[0]['id']}") in asked, "it was asked for"
    assert "note" in await place.body(ref) and status["quiet"] and status["conflicts"] == status["quarantined"] == 0
    there.well()
    assert await said(place, there) == set()


async def test_what_they_keep_from_us_may_be_changed_or_deleted_there_and_nothing_else(here: tuple[Here, There, Ref]) -> None:
    place, there, ref = here
    closed, (copy,) = {"hub": {str(ref)}}, there.named("Goal")
    there.held[f"Goal/{copy['id']}"] = {**copy, "description": {"text": "swim"}}
    assert (await said(place, there), await said(place, there, closed=closed)) == ({"I5"}, set())
    del there.held[f"Goal/{copy['id']}"]
    assert (await said(place, there), await said(place, there, closed=closed)) == ({"I5"}, set())
    await place.refuse("surgery")
    await place.push()
    there.held[f"Goal/{copy['id']}"] = copy
    assert await said(place, there, closed=closed) == {"I5"}
