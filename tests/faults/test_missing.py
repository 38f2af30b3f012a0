"""A 404 of what was there: of a proxy, of a moment, or because it is gone. docs/sync.md"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.commands import saying
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.remote.client import Down, Unknown
from fhir_gateway.store.journalled import opening
from fhir_gateway.sync import foreseeing, looking_again, missing, resending, worker

from ..test_pulling import slow
from .rig import Rig, rigged
from .scripted import Habits

PROXY = {"status": 404, "body": b"<html>404</html>", "headers": {"Content-Type": "text/html"}}


@pytest.mark.parametrize("proxy", [True, pytest.param(False, marks=slow)])
async def test_her_no_while_a_404_of_a_moment_is_answered_is_carried_out(tmp_path: Path, proxy: bool) -> None:
    async with rigged(tmp_path) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        await rig.no()
        rig.there.fault("", "Goal", **(PROXY if proxy else {"status": 404}))
        await rig.round(1)
        assert not [d for d in await rig.house.store.ledger(remote="hub") if d.ref == ref and d.recalled], "nothing is taken back yet"
        rig.there.well()
        await rig.round(2)
        assert rig.there.named("Goal") == [], "that is asked for again at once, not five minutes later"
        await rig.round(6)
        assert (await rig.status())["quiet"] and (await rig.status())["missing"] == 0


def hide(rig: Rig, list: dict[str, Any]) -> None:
    """They let us see their goals no more: FHIR's 404 to each, and that to a search."""
    rig.there.fault("", "Goal/", status=404)
    rig.there.fault("GET", "Goal", when=lambda asked: asked.path == "Goal", **list)


EMPTY = {"resourceType": "Bundle", "type": "searchset"}
NEXT = {"applied": True, "change": lambda _: {**EMPTY, "link": [{"relation": "next", "url": "Goal?page=2"}]}}
BROKEN = {"applied": True, "change": lambda _: {**EMPTY, "entry": [{"resource": {"resourceType": "Goal"}}]}}


@pytest.mark.parametrize("list", [
    pytest.param({"status": 403}, id="forbidden"), pytest.param({"status": 404}, id="no such thing", marks=slow), pytest.param({"status": 400}, id="bad", marks=slow),
    pytest.param(NEXT, id="an empty page with a next one", marks=slow), pytest.param(BROKEN, id="what cannot be read", marks=slow),
])  # fmt: skip
async def test_her_no_while_they_hide_it_from_us_stays_open_until_it_is_taken_back(tmp_path: Path, list: dict[str, Any]) -> None:
    async with rigged(tmp_path) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        hide(rig, list)
        await rig.no()
        await rig.round(7)
        assert not [d for d in await rig.house.store.ledger(remote="hub") if d.ref == ref and d.recalled], "it is there"
        assert not (await rig.status())["quiet"]
        rig.there.well()
        await rig.round(6)
        assert rig.there.named("Goal") == [] and (await rig.status())["quiet"]


@slow
async def test_what_they_hide_from_us_for_hours_is_asked_of_a_person_and_goes_on_by_itself_when_it_is_seen_again(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("one")
        await rig.settled()
        hide(rig, {"status": 403})
        await rig.change(rig.me, "one", note=[{"text": "more"}])
        for _ in range(12):
            await rig.round(1)
            rig.now += timedelta(minutes=10)
        status = await rig.status()
        assert status["parked"] == 1 and status["conflicts"] == 0 and await rig.here() == ["one"], "nobody says that they deleted it"
        await rig.no()
        for _ in range(12):
            await rig.round(1)
            rig.now += timedelta(minutes=10)
        (waits,) = [i for i in await rig.house.store.outbox_items("hub", "parked", 9) if i["why"] == "recall"]
        assert waits["detail"] == missing.NOT_KNOWN
        rig.there.well()
        rig.now += timedelta(hours=2)
        assert await looking_again.looked_again(rig.house, rig.partner)
        await rig.round(6)
        assert rig.there.named("Goal") == [] and (await rig.status())["quiet"]


async def test_a_404_of_a_moment_is_forgotten_once_it_is_written_there_again(tmp_path: Path) -> None:
    """Hours later one more is the first again: what comes in is down, so no pull looks at it in between."""
    async with rigged(tmp_path) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        rig.there.fault("GET", "_history", status=503)
        rig.there.fault("", "Goal/", times=2, status=404)
        await rig.change(rig.me, "secret", note=[{"text": "one"}])
        await rig.round(3)
        assert rig.there.named("Goal")[0]["note"] and (await rig.status())["missing"] == 0
        rig.now += timedelta(hours=20)
        rig.there.fault("GET", "Goal", body=strict.dump(EMPTY), when=lambda asked: "_id" in asked.query)
        rig.there.fault("", "Goal/", times=1, status=404)
        await rig.no()
        await rig.round(1)
        assert rig.there.named("Goal") == [] or not [d for d in await rig.house.store.ledger(remote="hub") if d.ref == ref and d.recalled]
        await rig.round(3)
        assert rig.there.named("Goal") == []


async def test_after_a_restore_a_404_of_a_moment_deletes_nothing_here(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await restored(rig, **PROXY)
        await restored(rig, status=404)


async def restored(rig: Rig, **fault: object) -> None:
    for n in range(2):
        await rig.goal(f"g{n}")
    await rig.settled()
    here = await rig.here()
    await rig.house.store.commit(*opening(rig.now))
    rig.there.fault("GET", "Goal", **fault)
    try:
        await worker.once(rig.house, rig.partner, most=2)
    except (Down, Unknown):
        pass
    assert await rig.here() == here
    rig.there.well()
    await rig.round(12)
    assert await rig.here() == here and (await rig.status())["conflicts"] == 0


@slow
async def test_what_a_sweep_misses_once_stays_and_what_is_missed_again_goes(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(feed="search"), sweep_hours=1.0) as rig:
        for n in range(4):
            await rig.goal(f"g{n}")
        await rig.settled()
        once, gone = (f"Goal/{g['id']}" for g in rig.there.named("Goal")[:2])
        rig.there.held.pop(gone)
        rig.there.history = [k for k in rig.there.history if k.name != gone]
        rig.there._last.pop(gone, None)
        rig.there.fault("GET", once, status=404)
        rig.there.fault("GET", "Goal", applied=True, change=lambda b: {**b, "entry": [e for e in b.get("entry", []) if e.get("resource", {}).get("id") != once[5:]]})
        rig.now += timedelta(hours=3)
        await rig.round(1)
        assert len(await rig.here()) == 4
        status, foreseen = await rig.status(), [i async for i in foreseeing.preview(rig.house, rig.partner) if i["would"] == "wait"]
        assert status["missing"] == 2 and not status["in_step"] and "2 answered 404 there, seen once" in "\n".join(saying.lines(status))
        assert {i["ref"] for i in foreseen} == {once, gone} and all("seen once: counts as deleted there" in i["why"] for i in foreseen)
        rig.there.well()
        await rig.round(8)
        assert (await rig.status())["in_step"]
        assert await rig.here() == sorted(g["description"]["text"] for g in rig.there.named("Goal")) and len(await rig.here()) == 3


@slow
async def test_a_server_that_lost_most_of_it_for_longer_deletes_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup put back there, after ours was, say: what they have is read, and most of it answers 404."""
    async with rigged(tmp_path) as rig:
        for n in range(12):
            await rig.goal(f"g{n}")
        await rig.settled()
        alarms: list[str] = []
        monkeypatch.setattr(rig.house, "alarm", alarms.append)
        await rig.house.store.commit(*opening(rig.now))
        rig.there.fault("", "Goal", status=404)
        await worker.once(rig.house, rig.partner, most=2)
        assert (await rig.status())["missing"] == 12
        await rig.round(9)
        assert len(await rig.here()) == 12 and len(alarms) == 1 and "lists 1 of the 13" in alarms[0]
        rig.there.well()
        await rig.round(3)
        assert len(await rig.here()) == 12 and (await rig.status())["missing"] == 0


@slow
async def test_what_is_gone_there_and_answers_404_is_taken_back_in_the_end(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(feed="search"), sweep_hours=0) as rig:
        await rig.goal("secret")
        await rig.settled()
        for goal in rig.there.named("Goal"):
            rig.there.held.pop(f"Goal/{goal['id']}")
            rig.there._last.pop(f"Goal/{goal['id']}", None)
        await rig.no()
        await rig.round(1)
        assert not (await rig.status())["quiet"]
        await rig.round(20)
        assert (await rig.status())["quiet"]


@pytest.mark.parametrize("before", [pytest.param(True, marks=slow, id="before it is met"), pytest.param(False, id="after it was met")])
async def test_what_was_written_and_sent_after_the_backup_is_taken_back_at_her_no(tmp_path: Path, before: bool) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("old")
        await rig.settled()
        lost = Ref("Goal", "lost-by-the-restore")
        rig.now += timedelta(seconds=5)
        rig.theirs("written since", meta={"tag": [copies.tag(rig.house.name, lost.id)]})
        await rig.house.store.commit(*opening(rig.now))
        if before:
            await rig.no()
        await rig.round(4)
        rows = [d for d in await rig.house.store.ledger(remote="hub", patient=rig.names["amina"]) if d.ref == lost]
        assert len(rows) == 1 and len(rig.there.named("Goal")) == (0 if before else 2)
        (shown,) = [g for g in await gate.given(rig.me) if g.ref == lost]
        assert shown.state == ("back" if before else "there")
        await rig.no()
        await rig.round(6)
        assert rig.there.named("Goal") == []
        rows = [d for d in await rig.house.store.ledger(remote="hub", patient=rig.names["amina"]) if d.ref == lost]
        assert len(rows) == 1 and rows[0].recalled


def emptied(rig: Rig) -> None:
    """Started again from nothing."""
    rig.there.held.clear()
    rig.there.history.clear()
    rig.there._last.clear()


async def lost(rig: Rig) -> None:
    """It is away for a while, comes back without anything, and most of it is missed."""
    rig.house.alarm = lambda text: None
    emptied(rig)
    await rig.house.store.commit(*opening(rig.now))  # so each of them is looked at
    await worker.once(rig.house, rig.partner, most=2)
    await rig.round(9)


async def test_a_server_that_lost_everything_gets_it_again_when_an_operator_says_so(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        for n in range(12):
            await rig.goal(f"g{n}")
        await rig.settled()
        rig.theirs("began there")
        await rig.round(2)
        here = await rig.here()
        await lost(rig)
        status = await rig.status()
        assert status["lost"]["listed"] <= 1 and status["lost"]["known"] >= 13 and not status["in_step"]
        assert "sync resend hub --reason TEXT" in "\n".join(saying.lines(status))
        assert {g.state for g in await gate.given(rig.me)} == {"missing"}
        did = await resending.resend(rig.house, rig.partner, rig.operator, "their disk broke")
        assert did.done and did.queued == 13 and len(did.theirs) == 1
        await rig.round(4)
        assert sorted(g["description"]["text"] for g in rig.there.named("Goal")) == sorted(set(here) - {"began there"})
        assert await rig.here() == here
        status = await rig.status()
        assert status["quiet"] and not status["lost"] and not status["resending"] and status["parked"] == status["missing"] == 0
        assert {g.state for g in await gate.given(rig.me) if g.ref.type == "Goal"} == {"there"}
        await rig.no()
        await rig.round(4)
        assert rig.there.named("Goal") == [] and (await rig.status())["quiet"]


async def test_what_was_withdrawn_before_it_is_sent_again_does_not_go_and_a_stop_loses_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        for n in range(12):
            await rig.goal(f"g{n}")
        await rig.settled()
        await lost(rig)
        asked = iter([False] * 5)
        did = await resending.resend(rig.house, rig.partner, rig.operator, "their disk broke", lambda: next(asked, True))
        assert not did.done and (await rig.status())["resending"]
        before = await rig.here()
        await rig.round(3)
        assert await rig.here() == before, "while it is on, nothing is deleted here"
        await rig.no()
        assert (await resending.resend(rig.house, rig.partner, rig.operator, "their disk broke")).done
        await rig.round(6)
        assert rig.there.named("Goal") == [] and await rig.here() == before and (await rig.status())["quiet"]
