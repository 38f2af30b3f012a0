"""Tags of gateways that any writer puts on a record, at an honest server or here: they neither make a record ours nor keep one from going."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Linked, Put, Ref, Send
from fhir_gateway.remote.client import Down, Unknown
from fhir_gateway.sync.links import began_there, changed, kept
from fhir_gateway.sync.partner import as_owner
from fhir_gateway.sync.push import push

from ..test_believing import ACTIONS
from .rig import Rig, rigged
from .scripted import Habits

SOMEBODY = "0123456789abcdef"


def tagged(code: str) -> dict[str, Any]:
    return {"tag": [{"system": copies.SYSTEM, "code": code}]}


def slow(value: str) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


async def annotated(rig: Rig, code: str) -> str:
    """A record of theirs that came here, bears this tag there by some writer's hand (`ID`: its id here), and got a note here: `Goal/id` there."""
    await rig.goal("ours")
    await rig.settled()
    name = f"Goal/{rig.theirs('the original')['id']}"
    await rig.round(2)
    link = await rig.house.store.link_by_remote("hub", name)
    assert link is not None
    there = rig.there.held[name]
    tag = tagged(code.replace("ID", link.ref.id).replace("US", rig.house.name))
    rig.there.write({**there, "meta": {**there["meta"], **tag}})
    await rig.round(2)
    rig.names["theirs"] = str(link.ref)
    await rig.change(rig.me, "theirs", note=[{"text": "her own note"}])
    await rig.round(2)
    assert rig.there.held[name]["note"] == [{"text": "her own note"}]
    return name


@pytest.mark.parametrize("code", [f"{SOMEBODY}.ID", slow("US.ID"), slow("ID")])
async def test_a_record_of_theirs_stays_theirs_whatever_tag_anybody_puts_on_it(tmp_path: Path, code: str) -> None:
    async with rigged(tmp_path) as rig:
        name = await annotated(rig, code)
        assert copies.codes(rig.there.held[name]) == []  # what we send says of no record of theirs that it is a copy of ours
        await rig.no()
        await rig.grant("surgery", provision={"type": "deny", "actor": [rig.reader()], "action": ACTIONS})
        await rig.round(6)
        assert rig.there.held[name]["description"]["text"] == "the original" and "note" not in rig.there.held[name]
        assert not [a for a in rig.there.asked if a.method == "DELETE" and a.path.endswith(name)]
        assert (await rig.status())["quiet"]


@pytest.mark.parametrize("ours", [True, False])
def test_a_link_of_before_it_was_kept_who_made_it_says_so_from_its_first_change_on(ours: bool) -> None:
    def sent(code: str) -> bytes:
        return strict.dump({"resourceType": "Goal", "meta": tagged(code)})

    codes = [f"{SOMEBODY}.walk", f"{SOMEBODY}.other"]
    link = Linked("hub", Ref("Goal", "walk"), "Goal/1", base_sent=sent(codes[not ours]))
    assert began_there(link) is not ours
    assert began_there(kept(changed(link, base_sent=sent(codes[ours])))) is not ours


@pytest.mark.parametrize("recall", ["delete", slow("stub")])
async def test_a_no_takes_back_every_copy_that_bears_our_tag_where_no_link_says_which_is_ours(tmp_path: Path, recall: str) -> None:
    async with rigged(tmp_path) as rig:
        rig.partner.terms = replace(rig.partner.terms, recall=recall)
        await rig.goal("first")
        await rig.settled()
        original = f"Goal/{rig.theirs('the original')['id']}"
        await rig.round(2)
        rig.there.fault("POST", "Goal", times=1, applied=True, cut="before")
        ref = await rig.goal("secret")
        with suppress(Down, Unknown):  # its answer is lost
            await push(rig.house, rig.partner, "w")
        real = next(g for g in rig.there.named("Goal") if g["description"]["text"] == "secret")
        rig.now += timedelta(seconds=1)
        rig.there.write({**{k: v for k, v in real.items() if k != "id"}, "description": {"text": "secret, copied there"}})
        rig.there.write({**rig.there.held[original], "meta": real["meta"]})  # theirs, of which a link says so
        rig.now += timedelta(seconds=1)
        rig.there.write({**real, "note": [{"text": "seen"}]})
        await rig.round(14)
        await rig.no()
        await rig.round(10)
        left = [g.get("description", {}).get("text") for g in rig.there.named("Goal")]
        assert left == (["the original"] if recall == "delete" else [None, "the original", None]), left  # None: a stub
        assert all(d.recalled for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)


async def test_a_copy_of_ours_about_a_person_whose_record_cannot_be_read_keeps_nothing_from_being_taken_back(tmp_path: Path) -> None:
    """At a server that takes whatever it is sent."""
    async with rigged(tmp_path) as rig:
        await rig.goal("secret")
        await rig.settled()
        (ours,) = rig.there.named("Goal")
        rig.now += timedelta(seconds=1)
        person = rig.there.write({"resourceType": "Patient", "name": "x"})
        clone = {k: v for k, v in ours.items() if k != "id"}
        rig.there.write({**clone, "description": {"text": "beside it"}, "subject": {"reference": f"Patient/{person['id']}"}})
        await rig.round(2)
        await rig.no()
        await rig.round(8)
        assert "secret" not in rig.texts(), "ours is taken back"
        assert all(d.recalled for d in await rig.house.store.ledger(remote="hub"))
        status = await rig.status()
        assert status["quiet"] and not status["recalls_open"]


async def test_an_edit_adds_no_tag_of_a_gateway_whoever_makes_it(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(gateway=SOMEBODY)) as rig:
        await rig.goal("hers")
        await rig.grant("hospital", provision={"provision": [{"type": "permit", "actor": [rig.reader()], "action": ACTIONS}]})
        for key, who in (("hers", rig.me), ("hers", await as_owner(rig.house, rig.partner, "access")), ("amina", rig.hospital)):
            with pytest.raises(Problem, match="only the gateway that sends the copy"):
                await rig.change(who, key, meta=tagged(f"{SOMEBODY}.no-such-thing"))


async def test_what_got_the_tag_of_a_partner_later_is_ours_and_goes_there(tmp_path: Path) -> None:
    """As an edit could put it on once."""
    async with rigged(tmp_path, Habits(gateway=SOMEBODY)) as rig:
        ref = await rig.goal("hers")
        for one in (Ref(*rig.names["amina"].split("/")), ref):
            was = await rig.house.store.get(one)
            assert was is not None and was.body is not None
            body = strict.decode(was.body)
            planted = strict.dump({**body, "meta": {**body["meta"], **tagged(f"{SOMEBODY}.no-such-thing")}})
            put = Put(one, was.version + 1, rig.now, planted, planted, was.facts, (), was.writer, was.version)
            await rig.house.store.commit(put, Send("hub", one, was.version + 1, rig.names["amina"]))
        await rig.settled()
        [there] = rig.there.named("Goal")
        assert there["description"]["text"] == "hers" and there["subject"]["reference"] == rig.her
        assert copies.codes(there) == [f"{rig.house.name}.{ref.id}"]


async def test_what_came_as_a_copy_of_a_record_there_that_is_not_there_waits_for_a_person(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(gateway=SOMEBODY)) as rig:
        system = await as_owner(rig.house, rig.partner, "access")
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": rig.names["amina"]}}
        made = await gate.create(system, "Goal", strict.dump({**body, "meta": tagged(f"{SOMEBODY}.no-such-thing")}))
        plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": body["subject"], "goal": [{"reference": str(made.ref)}]}
        await gate.create(rig.me, "CarePlan", strict.dump(plan))
        await rig.round(3)
        assert rig.there.named("Goal") == []
        [parked] = await rig.house.store.outbox_items("hub", "parked", 10)
        assert parked["ref"] == str(made.ref) and "not there, or not for us to see" in parked["detail"]
        [there] = rig.there.named("CarePlan")
        assert "reference" not in there["goal"][0], "what refers to it goes all the same"
