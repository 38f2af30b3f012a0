"""A server may say for a moment that something is gone: a fail-over, a copy that lags, a backup put back. Her no looks all the same."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from fhir_gateway.remote.client import Down, Unknown
from fhir_gateway.store.journalled import opening
from fhir_gateway.sync.worker import once

from .rig import rigged
from .scripted import Body, Habits


@pytest.mark.parametrize("how", ["written over", "told by the feed", "nowhere by its tag"])
async def test_what_was_said_to_be_gone_and_is_there_is_taken_back(tmp_path: Path, how: Literal["written over", "told by the feed", "nowhere by its tag"]) -> None:
    habits = Habits(tags=how != "nowhere by its tag")
    async with rigged(tmp_path, habits) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        name = f"Goal/{rig.there.named('Goal')[0]['id']}"
        rig.there.fault("GET", name, times=1, status=404)
        if how == "told by the feed":
            gone = {"request": {"method": "DELETE", "url": name}, "response": {"status": "204", "lastModified": (rig.now + timedelta(seconds=5)).isoformat()}}
            rig.there.extra = [json.dumps(gone).encode()]
        else:
            rig.there.fault("PUT", name, times=1, status=404)
            await rig.change(rig.me, "secret", note=[{"text": "more"}])
        rig.now += timedelta(seconds=10)
        await rig.round()
        rig.there.extra = []
        rig.there.well()
        await rig.no()
        await rig.round(3)
        assert name not in rig.there.held and (await rig.status())["quiet"]
        assert all(d.recalled is not None for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)


async def test_what_is_gone_indeed_is_looked_for_once_and_is_over(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(tags=False)) as rig:
        ref = await rig.goal("theirs to delete")
        await rig.settled()
        name = f"Goal/{rig.there.named('Goal')[0]['id']}"
        await rig.change(rig.me, "theirs to delete", note=[{"text": "more"}])
        rig.there.fault("PUT", name, status=410)
        rig.there.remove(name)
        await rig.round(2)
        await rig.no()
        await rig.round(2)
        assert (await rig.status())["quiet"] and all(d.recalled is not None for d in await rig.house.store.ledger(remote="hub") if d.ref == ref)
        assert not [a for a in rig.there.requests("DELETE") if a.path == name]


async def test_what_a_proxy_says_is_not_there_is_neither_taken_back_nor_deleted_here(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        for n in range(3):
            await rig.goal(f"g{n}")
        await rig.settled()
        await rig.house.store.commit(*opening(rig.now))
        rig.there.fault("", "Goal/", status=404, body=b"<html>nginx</html>", headers={"Content-Type": "text/html"})
        with suppress(Unknown):
            await once(rig.house, rig.partner)
        assert await rig.here() == ["g0", "g1", "g2"], "read after a restore"
        await rig.no()
        with suppress(Unknown):
            await once(rig.house, rig.partner)
        assert not (await rig.status())["quiet"] and (await rig.status())["recalls_open"] >= 3
        rig.there.well()
        await rig.round(4)
        assert rig.texts() == [] and (await rig.status())["quiet"]


@pytest.mark.parametrize("version", ["é1", "1\n2", pytest.param("x" * 200_000, marks=pytest.mark.slow)])
async def test_a_version_that_no_header_can_carry_holds_back_no_recall(tmp_path: Path, version: str) -> None:
    """Where no header says an ETag it is made of the versionId; what cannot be sent back is none."""

    def odd(answer: Body) -> Body:
        some = [answer, *(e.get("resource", {}) for e in answer.get("entry", []))]
        for one in some:
            if one.get("resourceType") == "Goal":
                one["meta"]["versionId"] = version
        return answer

    async with rigged(tmp_path) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        rig.there.fault("GET", "", change=odd)
        rig.there.write({**rig.there.named("Goal")[0], "note": [{"text": "theirs"}]}, rig.now + timedelta(seconds=1))
        rig.there.habits.etag = "none"
        rig.now += timedelta(seconds=30)
        await rig.round(2)
        link = await rig.link(ref)
        assert link is not None and link.etag == ""
        await rig.house.store.commit(replace(link, etag=f'W/"{version}"'))  # as it was kept before
        await rig.no()
        await rig.round(3)
        assert rig.texts() == [] and (await rig.status())["quiet"]


async def test_what_is_forbidden_of_one_person_holds_back_no_recall_of_another(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        one = rig.names["amina"]
        for n in range(4):
            await rig.goal(f"a{n}")
        await rig.settled()
        kept_from_us = {f"Goal/{g['id']}" for g in rig.there.named("Goal")}
        other = await rig.another()
        await rig.goal("theirs")
        await rig.settled()
        rig.there.fault("PUT", "Goal/", status=403, when=lambda asked: asked.path in kept_from_us)
        rig.names["amina"] = one
        for n in range(4):
            await rig.change(rig.me, f"a{n}", note=[{"text": "more"}])
        assert await rig.round() == [], "nobody is locked out for it"
        rig.names["amina"] = other
        await rig.no()
        await rig.round()
        assert "theirs" not in rig.texts() and not (await rig.status())["paused"]
        await rig.round(8)
        assert (await rig.status())["parked"] == 4, "each of hers is refused"


@pytest.mark.parametrize("offers", [204, *(pytest.param(n, marks=pytest.mark.slow) for n in (405, 500))], ids=lambda n: f"deletion of nothing {n}")
async def test_what_is_forbidden_of_three_people_is_parked_and_holds_back_nobody_else(tmp_path: Path, offers: int) -> None:
    """Who may write there is not locked out for it: that is asked by the deletion of what is not there, which a key that only reads is refused."""
    async with rigged(tmp_path) as rig:
        people = [rig.names["amina"]]
        for n in range(4):
            if n:
                people.append(await rig.another())
            await rig.goal(f"g{n}")
        await rig.settled()
        rig.there.fault("PUT", "Goal/", status=403, when=lambda asked: b"g3" not in asked.raw)
        if offers != 204:
            rig.there.fault("DELETE", "Goal/", status=offers, when=lambda asked: asked.path not in {k.name for k in rig.there.history})
        for n in range(3):
            rig.names["amina"] = people[n]
            await rig.change(rig.me, f"g{n}", note=[{"text": "more"}])
        assert await rig.round() == [], "nobody is locked out for it"
        rig.names["amina"] = people[3]
        await rig.no()
        await rig.round()
        assert "g3" not in rig.texts() and not (await rig.status())["paused"]
        await rig.round(8)
        assert (await rig.status())["parked"] == 3
        looked = [a for a in rig.there.requests("DELETE", "Goal/") if a.path not in {k.name for k in rig.there.history}]
        assert looked and not any(a.raw for a in looked), "it carries nothing"


async def test_a_server_that_says_404_in_plain_words_is_believed_where_it_says_so_of_what_nobody_has_and_lists_it_not(tmp_path: Path) -> None:
    """Else a recall of what is gone there would stay open for ever."""
    async with rigged(tmp_path) as rig:
        refs = [await rig.goal("gone there"), await rig.goal("kept there")]
        await rig.settled()
        there = {g["description"]["text"]: f"Goal/{g['id']}" for g in rig.there.named("Goal")}
        plainly = {"status": 404, "body": b"No such thing here.", "headers": {"Content-Type": "text/plain"}}
        rig.there.fault("", "Goal/", when=lambda asked: asked.path.split("?")[0] not in rig.there.held, **plainly)
        rig.there.held.pop(there["gone there"])
        await rig.no()
        await rig.round(3)
        assert rig.texts() == [], "what is there is taken back at once"
        rig.now += timedelta(seconds=2 * rig.partner.missing_seconds)  # it counts as any other 404 does
        await rig.round(3)
        assert rig.texts() == [] and (await rig.status())["quiet"]
        assert all(d.recalled is not None for d in await rig.house.store.ledger(remote="hub") if d.ref in refs)


@pytest.mark.parametrize("where", ["Goal", pytest.param("", marks=pytest.mark.slow)])
async def test_who_says_404_to_everything_says_nothing_of_one_copy(tmp_path: Path, where: str) -> None:
    """Of all goals, while /metadata is answered; and of all, /metadata too. What is there is taken back when that is over."""
    async with rigged(tmp_path) as rig:
        await rig.goal("secret")
        await rig.settled()
        await rig.no()
        rig.there.fault("", where, status=404, body=b"No such thing here.", headers={"Content-Type": "text/plain"})
        with suppress(Unknown, Down):
            await once(rig.house, rig.partner)
        assert (await rig.status())["recalls_open"] >= 1 and rig.texts() == ["secret"]
        rig.there.well()
        await rig.round(4)
        assert rig.texts() == [] and (await rig.status())["quiet"]
