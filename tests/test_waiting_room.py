"""Whatever waits for a person is told, seen, corrected and settled: conflicts, what was parked, what could not be taken."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.commands import saying
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Close, Drop, Keep, Note, Place, Ref, Send
from fhir_gateway.domain.vocabulary import CHECK_IDENTITY, HL7, TASK_SYSTEM
from fhir_gateway.gate import waiting_room
from fhir_gateway.remote.client import Refusal, Unknown
from fhir_gateway.store import sqlite
from fhir_gateway.sync import push as pushing
from fhir_gateway.sync import waiting as waiting_of_sync
from fhir_gateway.sync import worker
from fhir_gateway.sync.ending import gone
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.replaying import replay as taken_again
from fhir_gateway.sync.taking import apply

from .stores.test_attempts import Here, Hub
from .telling.servers import mail_server

EVERY = [{"coding": [{"system": f"{HL7}/consentaction", "code": c}]} for c in ("access", "collect", "use", "disclose", "correct")]


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    """Amina's record, and the surgery's server: the surgery may read and change it."""
    there = Hub()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    with mail_server() as post:
        place = Here(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        await place.begin(store, there)
        who = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": place.names["surgery"]}}]
        permit = {"type": "permit", "period": {"end": "2040-12-31"}, "actor": who, "action": EVERY}
        await place.grant("surgery", provision={"provision": [permit]})
        await place.push()
        yield place
        await place.partner.server.close()
        await store.close()
    there.server.shutdown()


async def clash(here: Here, ours: str, theirs: str, ref: Ref | None = None) -> Ref:
    """A goal that both sides gave another description after they had agreed."""
    if ref is None:
        ref = await here.goal()
        await here.push()
    (name,) = here.there.goals()
    here.there.edit(name, description={"text": theirs})
    await here.change(here.me, "goal", description={"text": ours})
    await pull(here.house, here.partner)
    return ref


def said(here: Here) -> str:
    (name,) = here.there.goals()
    return str(here.there.held[name]["description"]["text"])


@pytest.mark.parametrize(
    ("ours", "theirs", "how"),
    [
        ("apples", "zebras", "ours"), ("zebras", "apples", "theirs"), pytest.param("zebras", "apples", "ours", marks=pytest.mark.slow),
        pytest.param("apples", "zebras", "theirs", marks=pytest.mark.slow),
    ],
)  # fmt: skip
async def test_settled_as_one_side_has_it_it_is_so_on_both(here: Here, ours: str, theirs: str, how: str) -> None:
    ref = await clash(here, ours, theirs)
    await here.change(here.me, "goal", startDate="2026-12-01")
    (conflict,) = await gate.conflicts(here.operator)
    await gate.settle(here.me, conflict["id"], how)
    await here.quiet()
    body = await here.body(ref)
    wanted = ours if how == "ours" else theirs
    assert body["description"]["text"] == wanted == said(here)
    assert body["startDate"] == "2026-12-01", "what was edited since stays"
    assert await gate.conflicts(here.operator) == []
    rows = await here.house.store.notes(patient=here.names["amina"], count=500)
    (row,) = [n for n in rows if n.what == "settle"]
    assert row.user == here.me.actor.user and row.refs == (str(ref),)


async def test_a_second_conflict_before_the_first_is_settled_keeps_both_losers(here: Here) -> None:
    ref = await clash(here, "apples", "zebras")
    await here.quiet()
    await clash(here, "bananas", "yaks", ref)
    first, second = await gate.conflicts(here.operator, content=True)
    kept = {c["ours"]["description"]["text"] for c in (first, second)} | {c["theirs"]["description"]["text"] for c in (first, second)}
    assert first["id"] != second["id"] and kept >= {"apples", "zebras", "bananas", "yaks"}
    await gate.settle(here.me, second["id"], "theirs")
    (left,) = await gate.conflicts(here.operator)
    assert left["id"] == first["id"]


@pytest.mark.slow
async def test_what_somebody_changed_again_in_the_same_place_is_overwritten_only_by_who_saw_it(here: Here) -> None:
    ref = await clash(here, "apples", "zebras")  # theirs is served
    await here.change(here.me, "goal", description={"text": "cherries"})
    (conflict,) = await gate.conflicts(here.operator)
    with pytest.raises(Problem, match="changed it again") as wrong:
        await gate.settle(here.operator, conflict["id"], "ours")
    assert wrong.value.kind == "conflict" and (await here.body(ref))["description"]["text"] == "cherries"
    with pytest.raises(Problem, match="you saw version 1"):
        await gate.settle(here.operator, conflict["id"], "ours", version=1)
    await gate.settle(here.operator, conflict["id"], "ours", version=conflict["version"])
    assert (await here.body(ref))["description"]["text"] == "apples"


@pytest.mark.slow
async def test_a_merged_resource_is_of_this_one_and_of_the_version_that_was_seen(here: Here) -> None:
    ref = await clash(here, "apples", "zebras")
    (conflict,) = await gate.conflicts(here.operator)
    merged = {**await here.body(ref), "description": {"text": "apples and zebras"}}
    old = {**merged, "meta": {**merged["meta"], "versionId": "1"}}
    other = {**merged, "id": "another"}
    moved = {**merged, "subject": {"reference": here.names["surgery"]}}
    for wrong in (old, other, moved):
        with pytest.raises(Problem) as said:
            await gate.settle(here.operator, conflict["id"], "merged", wrong)
        assert said.value.kind in ("stale", "bad-request", "business-rule", "invalid")
    await gate.settle(here.operator, conflict["id"], "merged", merged, reason="for Asha Patel")
    await here.quiet()
    assert said_both(here, await here.body(ref)) == {"apples and zebras"}
    rows = await here.house.store.notes(patient=here.names["amina"], count=500)
    assert [n.detail for n in rows if n.what == "settle"] == ["merged: for Asha Patel"]


def said_both(here: Here, body: dict[str, Any]) -> set[str]:
    return {body["description"]["text"], said(here)}


async def test_who_may_not_change_it_neither_sees_nor_settles_a_conflict(here: Here) -> None:
    await clash(here, "apples", "zebras")
    (conflict,) = await gate.conflicts(here.operator)
    assert [c.id for c in await gate.clashes(here.me)] == [conflict["id"]]
    assert await gate.clashes(here.hospital) == []
    for act in (gate.clash(here.hospital, conflict["id"]), gate.settle(here.hospital, conflict["id"], "ours"), gate.settle(here.me, "none", "ours")):
        with pytest.raises(Problem) as wrong:
            await act
        assert wrong.value.kind == "not-found"
    with pytest.raises(Problem):
        await gate.conflicts(here.me)
    mine = await gate.clash(here.me, conflict["id"])
    assert mine.theirs is not None
    assert (mine.ours["description"]["text"], mine.theirs["description"]["text"]) == ("apples", "zebras")


async def test_the_operator_reads_no_content_unless_they_say_so_and_that_is_written_down(here: Here) -> None:
    ref = await clash(here, "apples", "zebras")
    for lines in (await gate.conflicts(here.operator), await waiting_room.everything(here.operator)):
        assert lines and "apples" not in repr(lines) and "zebras" not in repr(lines)
    before = len(await here.house.store.notes(patient=here.names["amina"], count=500))
    assert "apples" in repr(await waiting_room.everything(here.operator, content=True))
    rows = await here.house.store.notes(patient=here.names["amina"], count=500)
    assert len(rows) > before and rows[0].user == "Device/op" and rows[0].refs == (str(ref),)


async def test_a_conflict_is_a_task_and_a_notice_until_it_is_settled_and_neither_leaves(here: Here) -> None:
    ref = await clash(here, "apples", "zebras")
    (task,) = [strict.read(t.body or b"") for t in await here.house.store.patient_record(here.names["amina"], ["Task"])]
    assert task["focus"]["reference"] == str(ref) and task["status"] == "requested" and "apples" not in repr(task)
    told = await here.house.store.outbox_items("tell:privacy-officer", "queued")
    assert [i["why"] for i in told] == ["conflict"]
    (conflict,) = await gate.conflicts(here.operator)
    await gate.settle(here.me, conflict["id"], "theirs")
    await here.quiet()
    (task,) = [strict.read(t.body or b"") for t in await here.house.store.patient_record(here.names["amina"], ["Task"])]
    assert task["status"] == "completed" and "Task" not in here.there.types()


@pytest.mark.slow
async def test_what_decides_who_may_see_is_settled_by_whoever_may_change_it_and_not_by_an_operator(here: Here) -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": here.names["amina"]}, "description": "bake"}
    ref = (await gate.create(here.me, "Task", strict.dump(task))).ref
    here.names["goal"] = str(ref)
    await here.push()
    (name,) = [n for n in here.there.held if n.startswith("Task/")]
    here.there.edit(name, description="zebras")
    await here.change(here.me, "goal", description="apples")
    await pull(here.house, here.partner)
    (conflict,) = await gate.conflicts(here.operator)
    with pytest.raises(Problem) as wrong:
        await gate.settle(here.operator, conflict["id"], "ours")
    assert wrong.value.kind == "forbidden"
    await gate.settle(here.me, conflict["id"], "ours")
    assert (await here.body(ref))["description"] == "apples"


# -- parked -----------------------------------------------------------------------------------------------------------


async def parked(here: Here, ref: Ref) -> list[tuple[str, list[str]]]:
    return [(i["kind"], i["can"]) for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)]


async def test_what_a_partner_refuses_is_tried_again_or_left_out_by_an_operator_with_a_reason(here: Here) -> None:
    here.there.refuses = {"POST Goal": 422}
    ref = await here.goal()
    await here.push()
    (item,) = [i for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)]
    assert (item["kind"], item["can"], item["why"]) == ("parked", ["retry", "skip"], "422: processing")
    with pytest.raises(Problem, match="Say why"):
        await waiting_room.skip(here.operator, item["id"], " ")
    await waiting_room.skip(here.operator, item["id"], "their system has no goals")
    assert await parked(here, ref) == [("skipped", ["retry"])]
    here.there.refuses = {}
    await waiting_room.retry(here.operator, [item["id"]])
    await here.push()
    assert len(here.there.goals()) == 1 and await parked(here, ref) == []
    with pytest.raises(Problem, match="waits as"):
        await waiting_room.retry(here.operator, [item["id"]])
    for act in (waiting_room.retry(here.me), waiting_room.skip(here.me, "1", "x"), waiting_room.everything(here.me)):
        with pytest.raises(Problem):
            await act


async def test_what_fails_here_again_and_again_is_parked_and_what_takes_back_is_not(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = await here.goal()

    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(pushing, "see_to", broken)
    for why in ("changed", "recall"):
        for _ in range(9):
            here.now += timedelta(minutes=30)
            await pushing.push(here.house, here.partner, "w")
        parked = [i["why"] for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)]
        assert parked == ["a fault here (RuntimeError)"], why
        if why == "changed":
            await here.house.store.commit(Send("hub", ref, 1, here.names["amina"], "recall"))
    assert [i["why"] for i in await here.house.store.outbox_items("hub", "queued", 9)] == ["recall"]


async def test_what_waited_for_a_partner_that_was_away_is_not_parked_by_one_fault(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, real = await here.goal(), pushing.see_to
    seen: list[Exception] = [Unknown("away")] * 10 + [RuntimeError("once")]

    async def odd(house: Any, partner: Any, entry: Any, tally: Any) -> None:
        if entry.ref == ref and seen:
            raise seen.pop(0)
        await real(house, partner, entry, tally)

    monkeypatch.setattr(pushing, "see_to", odd)
    for _ in range(14):
        here.now += timedelta(days=20)
        with suppress(Unknown):
            await pushing.push(here.house, here.partner, "w")
    assert not seen and await parked(here, ref) == [] and len(here.there.goals()) == 1


async def test_what_takes_back_a_part_of_what_is_there_is_tried_until_it_is_done(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody becomes at risk: their address is taken away there, however often we failed at it."""
    ref, real = await here.goal(), pushing.see_to
    await here.push()
    await here.house.store.commit(Send("hub", ref, 1, here.names["amina"], "changed"))

    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(pushing, "see_to", broken)
    for _ in range(12):
        here.now += timedelta(days=1)
        await pushing.push(here.house, here.partner, "w")
    assert await parked(here, ref) == [] and [i["why"] for i in await here.house.store.outbox_items("hub", "queued", 9)] == ["changed"]
    monkeypatch.setattr(pushing, "see_to", real)
    here.now += timedelta(days=20)
    await here.push()
    assert "queued" not in await here.house.store.outbox("hub")


async def test_what_a_partner_says_in_the_details_of_its_refusal_alone_is_kept(here: Here) -> None:
    said = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "details": {"text": "the period ends first"}}]}
    kept = strict.decode(waiting_of_sync.refusal_kept(here.house, here.partner, Ref("Goal", "1"), Refusal(422, "invalid", said)).value)
    assert kept["outcome"]["issue"] == [{"severity": "error", "code": "invalid", "diagnostics": "the period ends first"}]


async def test_one_entry_is_left_out_or_tried_again_and_not_another_of_the_same_resource(here: Here) -> None:
    ref = await here.goal()
    await here.push()
    for why in ("changed", "recall"):
        await here.house.store.commit(Send("hub", ref, 1, here.names["amina"], why))
        (entry,) = await here.house.store.lease("hub", "w", here.now, 60, 1)
        await here.house.store.commit(Close(entry.entry, entry.fence, "parked", "422: no"))
    assert await parked(here, ref) == [("parked", ["retry", "skip"]), ("recall", ["retry", "gone"])]
    (change, recall) = [i["id"] for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)]
    await waiting_room.skip(here.operator, change, "not needed")
    assert sorted(await parked(here, ref)) == [("recall", ["retry", "gone"]), ("skipped", ["retry"])]
    assert await waiting_room.retry(here.operator, [change]) == {"hub": 1}
    assert await parked(here, ref) == [("recall", ["retry", "gone"])] and (await here.house.store.outbox("hub"))["queued"] == 1
    assert recall != change


async def test_of_a_backlog_that_was_refused_consent_is_asked_of_what_is_shown_and_all_is_tried_again_in_batches(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [await here.goal(f"goal {n}") for n in range(5)]
    await here.push()
    for n, ref in enumerate(refs):
        await here.house.store.commit(Send("hub", ref, 1, here.names["amina"], "recall" if n == 4 else "changed"))
    for _ in refs:
        (entry,) = await here.house.store.lease("hub", "w", here.now, 60, 1)
        await here.house.store.commit(Close(entry.entry, entry.fence, "parked", "422: no"))
    shown = await waiting_room.everything(here.operator, most=2)
    assert [i["kind"] for i in shown] == ["parked", "recall"], "what is to be taken back is among them"
    assert await waiting_room.totals(here.operator) == {"recall": 1, "parked": 4, "skipped": 0}
    last = (await waiting_room.everything(here.operator))[-1]
    assert await waiting_room.one(here.operator, last["kind"], last["id"]) == last
    assert await waiting_room.one(here.operator, "skipped", last["id"]) is None
    monkeypatch.setattr(waiting_room, "BATCH", 2)
    commits = 0
    commit = here.mortal.store.commit

    async def counted(*ops: Any) -> None:
        nonlocal commits
        commits += 1
        assert sum(isinstance(op, Place) for op in ops) == sum(isinstance(op, Note) for op in ops) <= 2
        await commit(*ops)

    here.mortal.commit = counted  # type: ignore[method-assign]
    assert await waiting_room.retry(here.operator) == {"hub": 5} and commits == 3
    del here.mortal.commit
    assert await waiting_room.totals(here.operator) == {"recall": 0, "parked": 0, "skipped": 0}


async def test_all_that_was_refused_is_tried_again_beyond_what_is_looked_at_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        await here.house.store.commit(Send("hub", await here.goal(f"goal {n}"), 1, here.names["amina"], "changed"))
    while leased := await here.house.store.lease("hub", "w", here.now, 60, 20):
        await here.house.store.commit(*(Close(e.entry, e.fence, "parked", "422: no") for e in leased))
    parked_now = (await waiting_room.totals(here.operator))["parked"]
    monkeypatch.setattr(waiting_room, "MOST", 2)
    assert parked_now >= 5 and await waiting_room.retry(here.operator) == {"hub": parked_now}
    assert (await here.house.store.outbox("hub"))["queued"] == parked_now and (await waiting_room.totals(here.operator))["parked"] == 0


async def test_what_is_to_be_taken_back_is_not_left_out_and_is_a_task_until_it_is_back(here: Here) -> None:
    ref = await here.goal()
    await here.push()
    here.there.refuses = {"DELETE Goal": 422}
    await here.no()
    await here.push()
    item, *others = [i for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)]
    assert all((i["kind"], i["can"]) == ("recall", ["retry", "gone"]) for i in (item, *others))
    with pytest.raises(Problem, match="takes back"):
        await waiting_room.skip(here.operator, item["id"], "no time")

    async def asked() -> set[str]:
        found = [strict.read(t.body or b"") for t in await here.house.store.patient_record(here.names["amina"], ["Task"])]
        return {t["status"] for t in found if t["focus"]["reference"] == str(ref)}

    assert await asked() == {"requested"}
    here.there.refuses = {}
    await waiting_room.retry(here.operator)
    await here.push()
    assert not here.there.goals() and await asked() == {"completed"}


async def refused_back(here: Here) -> tuple[Ref, str]:
    """A goal that they would not give back, and its recall."""
    ref = await here.goal()
    await here.push()
    here.there.refuses = {"DELETE Goal": 422}
    await here.no()
    await here.push()
    (id,) = [i["id"] for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)]
    return ref, id


async def how(here: Here, ref: Ref) -> list[tuple[str, str]]:
    """How the person is told that it is, and why."""
    return [(g.state, g.why) for g in await gate.given(here.me) if g.ref == ref]


async def test_a_recall_that_they_say_is_done_is_ended_with_a_reason_and_never_off_the_ledger(here: Here) -> None:
    ref, id = await refused_back(here)
    assert await how(here, ref) == [("refused", "")]
    for by, why in ((here.operator, " "), (here.operator, "x" * 501), (here.me, "Dr Patel, by telephone")):
        with pytest.raises(Problem):
            await gone(here.house, [here.partner], by, id, why)
    await gone(here.house, [here.partner], here.operator, id, "Dr Patel, by telephone")
    assert await how(here, ref) == [("ended", "Dr Patel, by telephone")]
    assert [d.recalled for d in await here.rows(ref)] == [None], "we took nothing back"
    status = await here.status()
    assert status["quiet"] and status["recalls_open"] == 0
    (line,) = [i for i in await worker.ledger(here.house, here.partner) if i["ref"] == str(ref)]
    assert (line["open"], line["recalled"], line["why"]) == (False, None, "they say that it is gone: Dr Patel, by telephone")
    tasks = [strict.read(t.body or b"") for t in await here.house.store.patient_record(here.names["amina"], ["Task"])]
    assert {t["status"] for t in tasks if t["focus"]["reference"] == str(ref)} == {"completed"}
    rows = await here.house.store.notes(patient=here.names["amina"], count=500)
    assert [n.detail for n in rows if n.detail.startswith("recall ended")] == ["recall ended, they say that it is gone: Dr Patel, by telephone at hub"]
    here.there.refuses = {}
    await here.house.store.commit(Send("hub", Ref("Patient", "x"), 0, here.names["amina"], "review"))  # as any change of a consent
    await here.quiet()
    assert len(here.there.goals()) == 1 and await how(here, ref) == [("ended", "Dr Patel, by telephone")], "nobody asks for it any more"
    with pytest.raises(Problem, match="waits as"):
        await gone(here.house, [here.partner], here.operator, id, "again")


@pytest.mark.parametrize("then", ["retry", "yes", pytest.param("edited there", marks=pytest.mark.slow)])
async def test_an_ended_recall_is_asked_for_again_by_a_retry_a_later_no_or_when_it_shows_itself(here: Here, then: str) -> None:
    ref, id = await refused_back(here)
    await gone(here.house, [here.partner], here.operator, id, "Dr Patel, by telephone")
    here.there.refuses = {}
    if then == "retry":
        await waiting_room.retry(here.operator, [id])
    elif then == "edited there":
        here.there.edit(here.there.goals()[0], description={"text": "run"})
        await pull(here.house, here.partner)
        assert await how(here, ref) == [("asked-back", "")]
        await here.house.store.commit(Send("hub", Ref("Patient", "x"), 0, here.names["amina"], "review"))
    else:
        del here.there.held[here.there.goals()[0]]
        for key in [k for k in here.names if k.startswith("consent")]:
            await here.change(here.me, key, status="active")
        await here.quiet()
        assert await how(here, ref) == [("there", "")] and len(here.there.goals()) == 1
        assert [i["why"] for i in await waiting_room.everything(here.operator) if i["ref"] == str(ref)] == []
        await here.no()
    await here.quiet()
    assert not here.there.goals() and {state for state, _ in await how(here, ref)} == {"back"}


@pytest.mark.parametrize("known", [True, False])
async def test_reading_what_is_in_quarantine_is_in_the_persons_own_log_under_the_name_here(here: Here, known: bool) -> None:
    """Also of what is not here yet, for it names her; an entry that names nobody says so."""
    ref = None
    if known:
        ref = await here.goal()
        await here.push()
        (name,) = here.there.goals()
        here.there.edit(name, lifecycleStatus="no-such-status")
        await pull(here.house, here.partner)
    else:
        name = await made_there(here, lifecycleStatus="no-such-status")
    seen = len(await here.house.store.notes(patient=here.names["amina"], count=500))
    (item,) = [i for i in await waiting_room.everything(here.operator, content=True) if i["kind"] == "quarantine"]
    assert "no-such-status" in repr(item) and item["ref"] == name
    rows = await here.house.store.notes(patient=here.names["amina"], count=500)
    assert len(rows) == seen + 1
    assert (rows[0].user, rows[0].detail) == ("Device/op", "what waits: quarantine") and rows[0].refs == ((str(ref),) if ref else ())
    await here.house.store.commit(Keep("quarantine", "hub Goal/x", strict.dump({"item": "x", "id": "Goal/x", "at": "", "outcome": None, "body": {}})))
    await waiting_room.everything(here.operator, content=True)
    assert "quarantine, which names nobody here" in repr([n.detail for n in await here.house.store.notes(count=5)])


# -- quarantine -------------------------------------------------------------------------------------------------------


async def made_there(here: Here, **more: Any) -> str:
    """A goal that began at the surgery's server, about Amina; or what `more` says."""
    (amina,) = [n for n in here.there.held if n.startswith("Patient/")]
    here.there.numbers += 1
    name = f"{more.get('resourceType', 'Goal')}/{here.there.numbers}"
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "sing"}, "subject": {"reference": amina}, "meta": {"tag": [{"code": "sung"}]}}
    here.there.keep(name, {**body, **more}, 1)
    await pull(here.house, here.partner)
    return name


async def goals(here: Here) -> list[str]:
    found = await here.house.store.patient_record(here.names["amina"], ["Goal"])
    return [strict.read(g.body or b"")["description"]["text"] for g in found]


@pytest.mark.parametrize("corrected", ["there", pytest.param("by a file", marks=pytest.mark.slow)])
async def test_what_could_not_be_taken_is_corrected_and_replayed(here: Here, corrected: str) -> None:
    await pull(here.house, here.partner)  # first contact
    name = await made_there(here, lifecycleStatus="singing")
    (item,) = [i for i in await waiting_room.everything(here.operator, content=True) if i["kind"] == "quarantine"]
    assert await goals(here) == [] and item["ref"] == name and "Goal.lifecycleStatus" in item["why"] and item["tries"] == 1
    assert (await taken_again(here.house, here.partner, here.operator, item["id"])).refused == 1
    (again,) = [i for i in await waiting_room.everything(here.operator) if i["kind"] == "quarantine"]
    assert (again["id"], again["tries"], again["at"]) == (item["id"], 2, item["at"]), "it stays, and says how often"
    if corrected == "there":
        here.there.edit(name, lifecycleStatus="active")
        await taken_again(here.house, here.partner, here.operator, item["id"])
    else:
        await taken_again(here.house, here.partner, here.operator, item["id"], {**item["body"], "lifecycleStatus": "active"})
    await here.quiet()
    assert await goals(here) == ["sing"] and here.there.held[name]["lifecycleStatus"] == "active"
    assert [i for i in await waiting_room.everything(here.operator) if i["kind"] == "quarantine"] == []
    with pytest.raises(Problem):
        await taken_again(here.house, here.partner, here.operator, item["id"])


async def test_a_correction_is_about_the_same_person_by_an_operator_who_is_there_and_in_one_commit_with_its_link(here: Here) -> None:
    await pull(here.house, here.partner)
    name = await made_there(here, lifecycleStatus="singing")
    (item,) = [i for i in await waiting_room.everything(here.operator, content=True) if i["kind"] == "quarantine"]
    good = {**item["body"], "lifecycleStatus": "active"}
    with pytest.raises(Problem, match="same person"):
        await taken_again(here.house, here.partner, here.operator, item["id"], {**good, "subject": {"reference": "Patient/another"}})
    by_token = replace(here.operator, scopes=here.me.scopes or frozenset(), signed_in=None)  # type: ignore[arg-type]
    with pytest.raises(Problem, match="Sign in again"):
        await taken_again(here.house, here.partner, by_token, item["id"], good)
    commits: list[list[str]] = []
    commit = here.mortal.store.commit

    async def seen(*ops: Any) -> None:
        commits.append([type(op).__name__ for op in ops])
        await commit(*ops)

    here.mortal.commit = seen  # type: ignore[method-assign]
    await taken_again(here.house, here.partner, here.operator, item["id"], good)
    del here.mortal.commit
    (write,) = [ops for ops in commits if "Put" in ops]
    assert {"Linked", "Send", "Drop"} <= set(write)
    assert await goals(here) == ["sing"] and not await here.house.store.kept_all("quarantine", here.now)
    assert f"corrected by an operator: {name} at hub" in [n.detail for n in await here.house.store.notes(patient=here.names["amina"], count=20)]
    await here.quiet()
    await pull(here.house, here.partner)
    assert await goals(here) == ["sing"] and here.there.held[name]["lifecycleStatus"] == "active"


async def test_no_correction_makes_a_task_of_a_gateways_own(here: Here) -> None:
    await pull(here.house, here.partner)
    (amina,) = [n for n in here.there.held if n.startswith("Patient/")]
    task = {"resourceType": "Task", "status": "dancing", "intent": "order", "for": {"reference": amina}, "lifecycleStatus": None, "description": "Call her"}
    await made_there(here, **task)
    (item,) = [i for i in await waiting_room.everything(here.operator, content=True) if i["kind"] == "quarantine"]
    good = {k: v for k, v in task.items() if v is not None} | {"status": "requested"}
    own = {"coding": [{"system": TASK_SYSTEM, "code": CHECK_IDENTITY}]}
    before = await here.house.store.patient_record(here.names["amina"], ["Task"])
    with pytest.raises(Problem, match="gateway's own"):
        await taken_again(here.house, here.partner, here.operator, item["id"], {**good, "code": own})
    assert len(await here.house.store.patient_record(here.names["amina"], ["Task"])) == len(before)
    assert [i["id"] for i in await waiting_room.everything(here.operator) if i["kind"] == "quarantine"] == [item["id"]]


async def test_what_is_not_for_us_to_take_stays_and_nothing_newer_is_dropped(here: Here) -> None:
    await pull(here.house, here.partner)
    name = await made_there(here, lifecycleStatus="singing")
    (item,) = [i for i in await waiting_room.everything(here.operator) if i["kind"] == "quarantine"]
    here.there.edit(name, lifecycleStatus="active", subject={"reference": "Patient/nobody"})
    tally = await taken_again(here.house, here.partner, here.operator, item["id"])
    assert tally.ignored and not tally.pulled and await here.house.store.kept("quarantine", f"hub {name}", here.now) is not None
    del here.there.held[name]
    here.there.deleted.append(name)
    await here.house.store.commit(Drop("quarantine", f"hub {name}", if_value=b"another"))
    tally = await taken_again(here.house, here.partner, here.operator, item["id"])
    assert list(tally.ignored) == ["gone there"] and not await here.house.store.kept_all("quarantine", here.now)


# -- what is broken ---------------------------------------------------------------------------------------------------


async def test_of_what_is_broken_and_about_nobody_known_only_its_name_is_kept_and_not_without_bound(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (amina,) = [n for n in here.there.held if n.startswith("Patient/")]
    monkeypatch.setattr(waiting_of_sync, "MOST_WHOLE", 3)

    async def comes(id: str, **body: Any) -> None:
        resource = {"resourceType": "Goal", "id": id, "secret": "words of somebody", **body}
        change = {"id": f"Goal/{id}", "resource": resource, "updated": "", "broken": "It is broken.", "doubt": ""}
        await apply(here.house, here.partner, change)

    await comes("hers", subject={"reference": amina})
    await comes("nobodys", subject={"reference": "Patient/nobody"})
    kept = {k: strict.decode(v) for k, v in (await here.house.store.kept_all("quarantine", here.now, "hub ")).items()}
    assert "words of somebody" in repr(kept["hub Goal/hers"]) and kept["hub Goal/hers"]["people"] == [here.names["amina"]]
    assert "words of somebody" not in repr(kept["hub Goal/nobodys"]) and kept["hub Goal/nobodys"]["body"]["size"] > 50
    copy = [h for h in [h async for h in gate.whole_record(here.operator, here.names["amina"].removeprefix("Patient/"), "olive")] if h.name.startswith("quarantine ")]
    assert [h.name for h in copy] == ["quarantine hub Goal/hers"] and "words of somebody" in repr(copy[0].line), "her copy of all that is held has it"
    for n in range(5):
        await comes(f"n{n}")
    await comes("hers2", subject={"reference": amina})
    kept = await here.house.store.kept_all("quarantine", here.now, "hub ")  # type: ignore[assignment]
    assert {k.removeprefix("hub ") for k in kept} == {"Goal/hers", "Goal/nobodys", "Goal/n0", "unnamed/more", "Goal/hers2"}
    here.partner.terms = replace(here.partner.terms, types=frozenset({"Task"}))
    await comes("hers3", subject={"reference": amina})
    assert await here.house.store.kept("quarantine", "hub Goal/hers3", here.now) is None, "of a type that was not agreed on"


@pytest.mark.slow
async def test_a_change_of_theirs_that_was_refused_is_replayed_over_what_was_changed_here_since(here: Here) -> None:
    ref = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    here.there.edit(name, lifecycleStatus="singing", description={"text": "sing"})
    await pull(here.house, here.partner)
    (item,) = [i for i in await waiting_room.everything(here.operator, content=True) if i["kind"] == "quarantine"]
    await here.change(here.me, "goal", startDate="2026-12-01")
    await taken_again(here.house, here.partner, here.operator, item["id"], {**item["body"], "lifecycleStatus": "active"})
    body = await here.body(ref)
    assert (body["description"]["text"], body["startDate"]) == ("sing", "2026-12-01")


@pytest.mark.slow
async def test_who_somebody_is_said_otherwise_there_is_told_to_the_privacy_officer_once(here: Here) -> None:
    (name,) = [n for n in here.there.held if n.startswith("Patient/")]
    for family in ("Other", "Another"):
        held = here.there.held[name]
        here.there.keep(name, {**held, "name": [{"family": family}]}, int(held["meta"]["versionId"]) + 1)
        await pull(here.house, here.partner)
    assert [i["why"] for i in await here.house.store.outbox_items("tell:privacy-officer", "queued")] == ["identity"]
    (item,) = [i for i in await waiting_room.everything(here.operator) if i["kind"] == "quarantine"]
    assert item["tries"] == 2 and "Another" not in repr(item)
    (who,) = [i for i in await waiting_room.everything(here.operator) if i["kind"] == "identity"]
    assert who["ref"] == here.names["amina"] and who["can"] == []
    assert who["command"] == f"fhir-gateway patients settle {here.names['amina']} {here.partner.name}"


# -- the inbox --------------------------------------------------------------------------------------------------------


async def test_a_refused_message_is_told_to_the_privacy_officer_once_and_ended_with_a_reason(here: Here) -> None:
    sender = replace(here.hospital, client="trust")
    goal = {"resourceType": "Goal", "lifecycleStatus": "singing", "subject": {"reference": here.names["amina"]}}
    entry = {"resource": goal, "request": {"method": "POST", "url": "Goal"}}
    for _ in range(2):
        with pytest.raises(Problem):
            await gate.push(sender, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}))
    assert [i["why"] for i in await here.house.store.outbox_items("tell:privacy-officer", "queued")] == ["inbox-waits"]
    (item,) = [i for i in await waiting_room.everything(here.operator) if i["kind"] == "inbox"]
    assert item["remote"] == "trust" and item["can"] == ["replay", "end"] and "singing" not in repr(item) and "Goal.lifecycleStatus" in item["why"]
    for act in (waiting_room.end(here.operator, item["id"], ""), waiting_room.end(here.me, item["id"], "x"), waiting_room.end(here.operator, "none", "x")):
        with pytest.raises(Problem):
            await act
    await waiting_room.end(here.operator, item["id"], "sent again by letter")
    assert await waiting_room.everything(here.operator) == []


async def test_what_waits_of_a_partner_that_is_in_the_settings_no_more_is_said(here: Here) -> None:
    ref = await here.goal("walk")
    await here.push()
    assert await waiting_room.not_configured(here.operator) == []
    for state in ("parked", ""):
        await here.house.store.commit(Send("hub", ref, 1, here.names["amina"]))
        (entry,) = await here.house.store.lease("hub", "w", here.now, 60, 1) if state else (None,)
        if entry is not None:
            await here.house.store.commit(Close(entry.entry, entry.fence, state, "422: no"))
    await here.house.store.commit(Keep("quarantine", "hub Goal/x", b"{}"))
    assert await waiting_room.not_configured(here.operator) == [], "it is in the settings"
    here.house.remotes = ()
    (one,) = await waiting_room.not_configured(here.operator)
    assert {k: n for k, n in one.items() if n} == {"remote": "hub", "queued": 1, "parked": 1, "quarantine": 1}
    assert saying.not_configured(one).startswith("hub is in the settings no more: 1 wait to go there, 1 were refused there, 1 of theirs are in quarantine. To do:")
    with pytest.raises(Problem):
        await waiting_room.not_configured(here.me)
