"""Their server is put back from a backup: an id that is given again is another record's, and a state of yesterday is no edit. docs/sync.md"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhir_gateway import gate
from fhir_gateway.domain import copies
from fhir_gateway.domain.types import Keep, Ref, Send
from fhir_gateway.gate.settling import CONFLICT
from fhir_gateway.sync import missing, resending
from fhir_gateway.sync.looking_again import looked_again
from fhir_gateway.sync.push import push

from .rig import Rig, rigged
from .scripted import Body, Habits, There


def backup(there: There) -> Callable[[], None]:
    """What is there now is put back by this: with its stamps, its versions, and the ids that were not given yet."""
    kept = dict(there.held), list(there.history), dict(there._count), dict(there._last), there._numbers

    def put_back() -> None:
        held, history, count, last, numbers = kept
        there.held, there.history, there._count, there._last, there._numbers = dict(held), list(history), dict(count), dict(last), numbers

    return put_back


async def begun(rig: Rig, more: bool = False) -> str:
    """Hers there is more than `secret` alone: `Patient/id` there, of somebody else where `more`."""
    await rig.goal("kept all along")
    await rig.settled()
    rig.now += timedelta(hours=1)
    if not more:
        return rig.her
    body = {"resourceType": "Patient", "name": [{"family": "Elsewhere"}]}
    return f"Patient/{rig.there.write(body)['id']}"


def written(rig: Rig, whose: str, **more: Any) -> Body:
    rig.now += timedelta(minutes=1)
    return rig.there.write(
        {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "another record"}, "subject": {"reference": whose}, **more}
    )


def at(rig: Rig, text: str) -> str:
    return next(n for n, b in rig.there.held.items() if b.get("description", {}).get("text") == text)


LATER = pytest.mark.slow
WHOSE = [(False, True), pytest.param((True, True), marks=LATER), pytest.param((True, False), marks=LATER), (False, False)]


@pytest.mark.parametrize("recall", ["delete", pytest.param("stub", marks=LATER)])
@pytest.mark.parametrize("more", WHOSE)
async def test_a_record_that_has_the_id_of_our_copy_now_is_not_taken_back_in_its_place(tmp_path: Path, more: tuple[bool, bool], recall: str) -> None:
    async with rigged(tmp_path, Habits(reads_versions=more[1])) as rig:
        rig.partner.terms = replace(rig.partner.terms, recall=recall)
        whose = await begun(rig, more[0])
        put_back = backup(rig.there)
        await rig.goal("secret")
        await rig.settled()
        name = at(rig, "secret")
        put_back()
        assert f"Goal/{written(rig, whose)['id']}" == name
        await rig.no()
        rig.there.asked.clear()
        await rig.round(4)
        assert rig.there.held[name]["description"]["text"] == "another record", "it is not ours"
        assert not [a for a in rig.there.asked if a.method in ("PUT", "DELETE") and a.path == name]
        status = await rig.status()
        assert status["quiet"] and not status["recalls_open"]


@pytest.mark.parametrize("more", WHOSE)
async def test_a_record_that_has_the_id_of_our_copy_now_is_not_written_over(tmp_path: Path, more: tuple[bool, bool]) -> None:
    async with rigged(tmp_path, Habits(reads_versions=more[1])) as rig:
        whose = await begun(rig, more[0])
        put_back = backup(rig.there)
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        put_back()
        written(rig, whose)
        await rig.change(rig.me, "ours", note=[{"text": "more"}])
        await rig.round(3)
        assert rig.there.held[name]["description"]["text"] == "another record" and "note" not in rig.there.held[name]
        assert rig.there.held[at(rig, "ours")]["note"] == [{"text": "more"}] and (await rig.status())["quiet"]
        assert await rig.here() == sorted(["kept all along", "ours"] + ["another record"] * (not more[0]))


@pytest.mark.parametrize("feed", ["system", pytest.param("search", marks=LATER)])
@pytest.mark.parametrize("more", WHOSE)
async def test_a_record_that_has_the_id_of_our_copy_now_is_no_edit_of_it(tmp_path: Path, more: tuple[bool, bool], feed: Any) -> None:
    async with rigged(tmp_path, Habits(reads_versions=more[1], feed=feed)) as rig:
        whose = await begun(rig, more[0])
        put_back = backup(rig.there)
        ref = await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        put_back()
        there = written(rig, whose)
        if more[1]:  # somebody goes on with it
            rig.there.write({**there, "note": [{"text": "theirs"}]})
        await rig.round(3)
        assert await rig.text(ref) == "ours" and rig.there.held[name]["description"]["text"] == "another record"
        assert at(rig, "ours") != name and (await rig.status())["quiet"]
        assert await rig.here() == sorted(["kept all along", "ours"] + ["another record"] * (not more[0]))
        rig.one_each()
        await rig.no()
        await rig.round(3)
        assert rig.there.held[name]["description"]["text"] == "another record" and "ours" not in rig.texts()


async def test_a_record_that_has_the_id_of_our_lost_copy_does_not_keep_it_from_being_sent_again(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        whose = await begun(rig)
        put_back = backup(rig.there)
        await rig.goal("ours")
        await rig.settled()
        put_back()
        written(rig, whose)
        assert (await resending.resend(rig.house, rig.partner, rig.operator, "put back from yesterday")).queued == 1
        await rig.round(3)
        assert rig.texts() == ["another record", "kept all along", "ours"] and (await rig.status())["quiet"]


async def test_an_edit_there_while_our_clock_and_theirs_differ_is_lost_by_no_look_at_numbers(tmp_path: Path) -> None:
    """Versions that jump, a clock that is put back, and no earlier version to be read: it may be of before, or an edit. A person decides."""
    async with rigged(tmp_path, Habits(reads_versions=False)) as rig:
        ref = await rig.goal("ours")
        await rig.settled()
        await rig.change(rig.me, "ours", note=[{"text": "today"}])
        await rig.settled()
        there = rig.there.held[at(rig, "ours")]
        rig.there._count[f"Goal/{there['id']}"] = 0
        rig.there.write({**there, "description": {"text": "an edit of theirs"}}, rig.now - timedelta(hours=1))
        rig.there.extra = [rig.there._changed(rig.there.history[-1])]
        await rig.round(3)
        assert await rig.text(ref) == "ours"
        (kept,) = (await rig.house.store.kept_all(CONFLICT, rig.now, "hub ")).values()
        assert b"an edit of theirs" in kept


async def test_who_takes_our_tag_off_in_an_edit_has_edited_our_copy(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        ref = await rig.goal("ours")
        await rig.settled()
        name, there = at(rig, "ours"), rig.there.held[at(rig, "ours")]
        rig.there.write({**there, "meta": {}, "description": {"text": "theirs"}})
        await rig.round(2)
        assert await rig.text(ref) == "theirs"
        await rig.no()
        await rig.round(3)
        assert name not in rig.there.held


@pytest.mark.parametrize("reads_versions", [True, False])
@pytest.mark.parametrize("versions", ["numbers", pytest.param("words", marks=LATER)])
@pytest.mark.parametrize("seen", ["by a feed", "at our next edit"])
async def test_a_state_of_yesterday_is_no_edit_and_ours_goes_there_again(tmp_path: Path, seen: str, versions: Any, reads_versions: bool) -> None:
    if versions == "words" and not reads_versions:
        pytest.skip("nothing tells that from an edit under a clock that was put back")
    async with rigged(tmp_path, Habits(versions=versions, reads_versions=reads_versions)) as rig:
        ref = await rig.goal("walk")
        await rig.settled()
        put_back = backup(rig.there)
        rig.now += timedelta(hours=1)
        await rig.change(rig.me, "walk", note=[{"text": "today"}])
        await rig.settled()
        put_back()
        if seen == "by a feed":
            rig.there.history[-1], name = rig.there.history[-1], at(rig, "walk")
            rig.there.extra = [rig.there._changed(next(k for k in rig.there.history if k.name == name))]
        else:
            await rig.change(rig.me, "walk", description={"text": "run"})
        await rig.round(3)
        rig.there.extra = []
        await rig.round(2)
        (there,) = rig.there.named("Goal")
        stored = await rig.house.store.get(ref)
        assert stored is not None and b"today" in (stored.body or b""), "here nothing is put back"
        assert there["note"] == [{"text": "today"}] and (await rig.status())["quiet"]
        assert not await rig.house.store.kept_all(CONFLICT, rig.now, "hub ")
        rig.one_each()


async def gone_on_from_yesterday(rig: Rig) -> Ref:
    """Our goal, whose copy there was put back to before our last change and then edited."""
    ref = await rig.goal("walk")
    await rig.settled()
    put_back = backup(rig.there)
    rig.now += timedelta(hours=1)
    await rig.change(rig.me, "walk", note=[{"text": "today"}])
    await rig.settled()
    put_back()
    rig.now += timedelta(minutes=5)
    rig.there.write({**rig.there.named("Goal")[0], "description": {"text": "run"}})
    await rig.round(3)
    return ref


async def test_what_they_made_of_a_state_of_yesterday_waits_for_a_person_beside_ours(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        ref = await gone_on_from_yesterday(rig)
        stored = await rig.house.store.get(ref)
        assert stored is not None and b"today" in (stored.body or b"") and b"walk" in (stored.body or b"")
        (kept,) = (await rig.house.store.kept_all(CONFLICT, rig.now, "hub ")).values()
        assert b"run" in kept


@pytest.mark.parametrize("how", ["ours", "theirs"])
async def test_no_later_edit_of_ours_goes_over_what_they_made_of_it_until_a_person_decides(tmp_path: Path, how: str) -> None:
    async with rigged(tmp_path) as rig:
        ref = await gone_on_from_yesterday(rig)
        await rig.change(rig.me, "walk", statusDate="2026-01-02")
        await rig.round(3)
        stored = await rig.house.store.get(ref)
        assert stored is not None
        await rig.house.store.commit(Send("hub", ref, stored.version, rig.names["amina"], "released"))  # as a review queues it
        await rig.round(3)
        (there,) = rig.there.named("Goal")
        assert there["description"] == {"text": "run"} and "statusDate" not in there, "nothing goes over theirs"
        assert (await rig.status())["quiet"]
        (kept,) = (await rig.house.store.kept_all(CONFLICT, rig.now, "hub ")).values()
        await gate.settle(rig.me, json.loads(kept)["id"], how)
        await rig.round(3)
        (there,) = rig.there.named("Goal")
        assert there["description"]["text"] == await rig.text(ref) == {"ours": "walk", "theirs": "run"}[how]
        assert there["statusDate"] == "2026-01-02", "what was changed here meanwhile goes then"


async def test_a_record_of_theirs_as_it_was_yesterday_waits_for_a_person(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("ours")
        await rig.settled()
        there = rig.theirs("theirs")
        await rig.round(2)
        put_back = backup(rig.there)
        rig.now += timedelta(hours=1)
        rig.there.write({**there, "description": {"text": "theirs of today"}})
        await rig.round(2)
        assert await rig.here() == ["ours", "theirs of today"]
        put_back()
        name = f"Goal/{there['id']}"
        rig.there.extra = [rig.there._changed(next(k for k in rig.there.history if k.name == name))]
        await rig.round(3)
        assert await rig.here() == ["ours", "theirs of today"]
        (kept,) = (await rig.house.store.kept_all(CONFLICT, rig.now, "hub ")).values()
        assert b"theirs" in kept and rig.there.held[name]["description"]["text"] == "theirs", "nothing goes over it by itself"
        assert copies.codes(rig.there.held[name]) == []
        await gate.settle(rig.me, json.loads(kept)["id"], "ours")
        rig.there.extra = []
        await rig.round(3)
        assert rig.there.held[name]["description"]["text"] == "theirs of today" and (await rig.status())["quiet"]


async def test_what_gives_no_answer_is_not_written_over(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        rig.there.fault("GET", name, cut="before")
        await rig.change(rig.me, "ours", note=[{"text": "more"}])
        rig.there.asked.clear()
        await rig.round(2)
        assert "PUT" not in {a.method for a in rig.there.asked if a.path == name} and (await rig.status())["queued"]
        rig.there.well()
        await rig.settled()
        assert rig.there.held[name]["note"] == [{"text": "more"}]


async def test_what_is_not_ours_to_read_is_not_written_over_and_waits_for_a_person(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        rig.there.fault("GET", name, status=403)
        await rig.change(rig.me, "ours", note=[{"text": "more"}])
        await rig.round(4)
        assert "note" not in rig.there.held[name] and (await rig.status())["parked"] == 1


async def doubts(rig: Rig) -> None:
    """They lack much of what they are known to have, by their lists."""
    await rig.house.store.commit(Keep(missing.MARK, "hub doubted", msgspec.json.encode(missing.Doubt(rig.now, 3, 4, "lists"))))


@pytest.mark.parametrize("doubted", [False, True])
async def test_what_comes_in_a_shape_that_cannot_be_kept_is_written_over_by_its_version_unless_they_seem_to_have_been_put_back(tmp_path: Path, doubted: bool) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        if doubted:
            await doubts(rig)
        rig.there.fault("GET", name, applied=True, change=lambda b: {**b, "note": []})
        await rig.change(rig.me, "ours", statusDate="2026-01-02")
        await rig.round(2)
        assert ("statusDate" not in rig.there.held[name]) == doubted == bool((await rig.status())["queued"])
        await rig.house.store.commit(missing.believed(rig.partner))
        await rig.settled()
        assert rig.there.held[name]["statusDate"] == "2026-01-02", "and it goes once they have again what they had"


@pytest.mark.parametrize("fault", [{"status": 403}, pytest.param({"cut": "before"}, marks=LATER), {"status": 500}], ids=["forbidden", "no answer", "failing"])
@pytest.mark.parametrize("doubted", [pytest.param(False, marks=LATER), True])
async def test_what_cannot_be_read_is_taken_back_unless_they_seem_to_have_been_put_back(tmp_path: Path, doubted: bool, fault: dict[str, Any]) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        if doubted:
            await doubts(rig)
        rig.there.fault("GET", name, **fault)
        await rig.no()
        rig.there.asked.clear()
        while (await push(rig.house, rig.partner, "w")).anything:
            pass
        assert (name in {a.path for a in rig.there.asked if a.method == "DELETE"}) != doubted
        assert bool((await rig.status())["recalls_open"]) == doubted and not (await rig.status())["parked"]
        rig.there.well()
        await rig.settled()
        assert rig.texts() == []


@pytest.mark.parametrize("until", ["they are believed again", "it can be read again"])
async def test_a_recall_that_waits_for_a_look_is_a_persons_after_an_hour_and_goes_by_itself_after_all(tmp_path: Path, until: str) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        await doubts(rig)
        rig.there.fault("GET", name, status=403)
        await rig.no()
        await rig.round(2)
        assert not (await rig.status())["parked"] and (await rig.status())["recalls_open"]
        rig.now += timedelta(hours=1)
        await rig.round()
        (waits,) = await rig.house.store.outbox_items("hub", "parked", 10)
        assert waits["detail"] == missing.UNREADABLE and name in rig.there.held
        assert len(await rig.house.store.patient_record(rig.names["amina"], ["Task"])) == 1, "who sees to it is asked"
        assert await looked_again(rig.house, rig.partner) == 0
        if until == "it can be read again":
            rig.there.well()
        else:
            await rig.house.store.commit(missing.believed(rig.partner))
        rig.now += timedelta(hours=2)
        assert await looked_again(rig.house, rig.partner) == 1
        await rig.round()
        assert name not in rig.there.held and not (await rig.status())["recalls_open"] and not (await rig.status())["parked"]
