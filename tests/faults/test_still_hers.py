"""Their server is put back from a backup, and gives the id of somebody's Patient to a stranger: nothing goes to the stranger and nothing of theirs
comes in, whatever shape they are of, and whoever looks first. docs/sync.md"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.sync import identity

from .rig import Rig, rigged
from .scripted import Body, Habits
from .test_put_back_there import LATER, backup, begun, written

NAMED: Body = {"name": [{"family": "Elsewhere"}], "birthDate": "1980-01-01"}
ODD = {
    "a number for a date": {**NAMED, "birthDate": 1980},
    "an object for a list": {**NAMED, "name": {"family": "Elsewhere"}},
    "an element of no standard": {**NAMED, "shoe": 1},
    "more than is read": {**NAMED, "name": [{"family": f"E{i}"} for i in range(5001)]},
    "nothing at all": {},
}
FIRST = [pytest.param(kind, marks=[] if kind in ("a number for a date", "nothing at all", "more than is read") else LATER) for kind in ODD]


async def stranger(rig: Rig, **who: Any) -> tuple[str, str]:
    """`hers` went there, and all that is put back: who has her id there now is somebody else. She here, and the id: both `Patient/id`."""
    await begun(rig)
    put_back = backup(rig.there)
    here = await rig.another()
    await rig.goal("hers")
    await rig.settled()
    name = rig.her
    put_back()
    rig.now += timedelta(minutes=2)
    assert f"Patient/{rig.there.write({'resourceType': 'Patient', **who})['id']}" == name
    return here, name


def sent_to(rig: Rig, name: str) -> list[str]:
    """What we ever wrote there about whom this names."""
    return [k.body["description"]["text"] for k in rig.there.history if k.body and k.body["resourceType"] == "Goal" and k.body["subject"] == {"reference": name}]


@pytest.mark.parametrize("kind", FIRST)
@pytest.mark.parametrize("feed", [pytest.param("system", marks=LATER), "search"])
async def test_what_is_about_a_stranger_of_whatever_shape_comes_into_nobodys_record(tmp_path: Path, feed: Any, kind: str) -> None:
    async with rigged(tmp_path, Habits(feed=feed)) as rig:
        here, name = await stranger(rig, **ODD[kind])
        was = dict(rig.there.held[name])
        for text in ("a stranger's", "another stranger's"):
            written(rig, name, description={"text": text})
        await rig.round(3)
        assert await rig.here(here) == ["hers"]
        assert rig.there.held[name] == was, "nothing is written over the stranger"
        assert sorted(sent_to(rig, name)) == ["a stranger's", "another stranger's"]
        assert sent_to(rig, rig.her) == ["hers"], "hers is made anew"


@pytest.mark.parametrize("direction", [pytest.param("both", marks=LATER), "out"])
@pytest.mark.parametrize("who", [NAMED, pytest.param(ODD["a number for a date"], marks=LATER), pytest.param(ODD["more than is read"], marks=LATER)], ids=["read", "odd", "much"])
async def test_what_is_new_of_her_goes_under_no_stranger(tmp_path: Path, who: Body, direction: str) -> None:
    async with rigged(tmp_path) as rig:
        rig.partner.terms = replace(rig.partner.terms, direction=direction)
        rig.house = replace(rig.house, remotes=(rig.partner.terms,))
        _, name = await stranger(rig, **who)
        await rig.goal("new secret")
        await rig.round(3)
        assert sent_to(rig, name) == []
        assert "new secret" in sent_to(rig, rig.her) and rig.her != name


async def test_where_it_is_not_to_be_told_whose_it_is_nothing_goes_or_comes_and_a_person_looks(tmp_path: Path) -> None:
    """They show no earlier version, and theirs is a later one than ours was."""
    async with rigged(tmp_path, Habits(reads_versions=False)) as rig:
        odd = ODD["a number for a date"]
        here, name = await stranger(rig, **odd)
        for _ in range(3):
            rig.there.write({"resourceType": "Patient", "id": name.removeprefix("Patient/"), **odd})
        written(rig, name, description={"text": "a stranger's"})
        await rig.goal("new secret")
        await rig.round(3)
        assert await rig.here(here) == ["hers", "new secret"]
        assert sent_to(rig, name) == ["a stranger's"]
        assert [d.ref for d in await identity.waiting(rig.house, rig.partner)] == [here]


async def test_who_is_still_there_is_looked_at_once_in_a_minute_before_something_is_made(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(drops=["birthDate"])) as rig:
        await begun(rig)
        rig.now += timedelta(hours=1)
        rig.there.asked.clear()
        for text in ("one", "two", "three"):
            await rig.goal(text)
        await rig.round(1)
        assert {"one", "two", "three"} <= set(sent_to(rig, rig.her))
        assert len([a for a in rig.there.asked if a.method == "GET" and a.path == rig.her]) <= 1


async def test_what_was_seen_of_them_is_forgotten_when_it_is_believed_no_more(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        partner, at = rig.partner, rig.now
        partner.met_again.clear()
        for n in range(1_000):
            partner.met_now(f"Patient/{n}", at + timedelta(seconds=n))
            partner.met_now("Patient/again", at + timedelta(seconds=n))
        assert len(partner.met_again) <= 61, "a long run keeps what it looked at within a minute, and no more"
        now = at + timedelta(seconds=999)
        assert partner.met_lately("Patient/999", now) and partner.met_lately("Patient/again", now) and partner.met_lately("Patient/940", now)
        assert not partner.met_lately("Patient/939", now) and not partner.met_lately("Patient/none", now)
        assert not partner.met_lately("Patient/999", at), "our clock was put back"
        partner.met_now("Patient/1", at)
        assert list(partner.met_again) == ["Patient/1"]
