"""The tag that says whose record a copy is joins no two people's records, whoever put it there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.masked import HELD_BACK
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.remote.client import Down
from fhir_gateway.sync.partner import as_owner
from fhir_gateway.sync.push import push
from fhir_gateway.sync.waiting import QUARANTINE

from .faults.rig import ACTIONS, Rig, rigged


async def pushed(rig: Rig, times: int) -> None:
    for _ in range(times):
        try:
            await push(rig.house, rig.partner, "w")
        except Down:
            pass


async def test_nobody_but_a_system_says_of_whom_a_record_is_a_copy_and_of_ours_nobody(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        victim = await rig.goal()

        def goal(code: str) -> bytes:
            tag = {"system": copies.SYSTEM, "code": code}
            body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": rig.names["amina"]}}
            return strict.dump({**body, "meta": {"tag": [tag]}})

        system = await as_owner(rig.house, rig.partner, "access")
        ours = f"{rig.house.name}.{victim.id}"
        for who, code in ((rig.me, ours), (rig.me, f"{'0' * 16}.x"), (rig.me, victim.id), (system, ours)):
            with pytest.raises(Problem, match="only the gateway that sends the copy"):
                await gate.create(who, "Goal", goal(code))
        copy = (await gate.create(system, "Goal", goal(f"{'0' * 16}.x"))).ref
        rig.names["copy"] = str(copy)
        held = strict.decode((await rig.house.store.get(copy)).body or b"")  # type: ignore[union-attr]
        await rig.change(rig.me, "copy", **{k: v for k, v in held.items() if k == "meta"}, note=[{"text": "mine"}])
        assert copies.codes(strict.decode((await rig.house.store.get(copy)).body or b"")) == [f"{'0' * 16}.x"]  # type: ignore[union-attr]


async def test_what_bears_our_tag_and_is_about_somebody_else_is_joined_with_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("hers")
        await rig.settled()
        hers = rig.names["amina"]
        await rig.another()
        other = await rig.goal("theirs")
        await rig.settled()
        about = rig.her
        assert about != next(g for g in rig.there.named("Goal") if g["description"]["text"] == "hers")["subject"]["reference"], hers
        rig.names["amina"] = hers
        rig.there.fault("POST", "Goal", times=1, status=503)
        mine = await rig.goal("mine")
        await pushed(rig, 1)
        tag = copies.tag(rig.house.name, mine.id)
        planted = rig.there.write({
            "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "planted"}, "subject": {"reference": about}, "meta": {"tag": [tag]}
        })  # fmt: skip
        rig.now += rig.now.resolution * 400_000_000
        await pushed(rig, 3)
        link = await rig.house.store.link("hub", mine)
        assert link is None and rig.there.held[f"Goal/{planted['id']}"]["description"]["text"] == "planted"
        kept = await rig.house.store.kept_all(QUARANTINE, rig.now)
        assert f"hub Goal/{planted['id']}" in kept
        stored = await rig.house.store.get(Ref("Goal", mine.id))
        assert stored is not None and stored.version == 1 and other != mine
        assert (await rig.house.store.outbox("hub"))["parked"] == 1
        await rig.round(2)  # nor does the feed join them
        assert await rig.house.store.link("hub", mine) is None


async def test_a_copy_that_they_fetched_before_her_no_goes_though_nothing_ever_went_there_that_says_who_she_is(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.change(rig.hospital, "amina", identifier=[{"system": NHS_NUMBER, "value": "9434765919"}], birthDate="1951-04-07", name=[{"family": "Example"}])
        mine = await rig.goal("fetched")
        await rig.no()
        who = {"identifier": [{"system": NHS_NUMBER, "value": "9434765919"}], "birthDate": "1951-04-07", "name": [{"family": "Example"}]}
        theirs = rig.there.write({"resourceType": "Patient", **who})
        rig.there.write({
            "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "fetched"}, "subject": {"reference": f"Patient/{theirs['id']}"},
            "meta": {"tag": [copies.tag(rig.house.name, mine.id)]},
        })  # fmt: skip
        await rig.round(3)
        assert rig.there.named("Goal") == [] and f"Patient/{theirs['id']}" in rig.there.held
        assert not await rig.house.store.kept_all(QUARANTINE, rig.now)


async def test_what_bears_our_tag_and_speaks_of_two_people_is_joined_with_neither(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        hers = rig.names["amina"]
        mine = await rig.goal("secret")
        await rig.settled()
        await rig.no()
        await rig.round(4)
        await rig.another()
        await rig.goal("theirs")
        await rig.settled()
        held_back = {"identifier": {"system": HELD_BACK, "value": hers}}
        planted = rig.theirs("written by somebody else", expressedBy=held_back, meta={"tag": [copies.tag(rig.house.name, mine.id)]})
        rig.names["amina"] = hers
        await rig.grant("surgery", provision={"provision": [{"type": "permit", "actor": [rig.reader()], "action": ACTIONS}]})
        await rig.round(4)
        assert rig.there.held[f"Goal/{planted['id']}"] == planted and await rig.here() == ["secret"]
        assert not await rig.house.store.kept_all("conflict", rig.now)
        assert f"hub Goal/{planted['id']}" in await rig.house.store.kept_all(QUARANTINE, rig.now)
