"""What their server does not keep of what we sent (E23): said once, and never taken for a deletion of theirs, whatever it answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import waiting_room

from .rig import Rig, rigged
from .scripted import Habits

slow = pytest.mark.slow
NOTE, DAY = [{"text": "slowly"}], "2026-11-02"
DROPS = ("statusDate", "note")
KINDS: list[dict[str, Any]] = [
    dict(minimal=True),
    dict(lies=True),
    dict(minimal=True, feed="search"),
    dict(minimal=True, etag="none"),
    dict(lies=True, feed="search", reads_versions=False),
    dict(lies=True, etag="none"),
    dict(lies=True, etag="odd", versions="words"),
    dict(lies=True, etag="none", versions="none"),
    dict(minimal=True, etag="none", versions="none", feed="search"),
    dict(etag="odd", versions="none"),
]


async def body_of(rig: Rig, ref: Ref) -> dict[str, Any]:
    stored = await rig.house.store.get(ref)
    return strict.decode(stored.body or b"{}") if stored is not None else {}


async def dropped(rig: Rig) -> list[str]:
    return sorted(i["id"] for i in await waiting_room.everything(rig.operator) if i["kind"] == "dropped")


async def _kept_here_and_said_once(folder: Path, habits: dict[str, Any]) -> None:
    async with rigged(folder, Habits(drops=DROPS, **habits)) as rig:
        ref = await rig.goal()
        await rig.change(rig.me, "walk", statusDate=DAY, note=NOTE)
        await rig.settled()
        assert await dropped(rig) == ["Goal.note", "Goal.statusDate"]
        versions, there = await rig.versions(ref), len(rig.there.ever("Goal"))
        await rig.round(2)
        assert (await rig.versions(ref), len(rig.there.ever("Goal"))) == (versions, there), "and it comes to rest"
        rig.there.write({**rig.there.named("Goal")[0], "description": {"text": "theirs"}})
        await rig.settled()
        body = await body_of(rig, ref)
        assert (body["statusDate"], body["note"], body["description"]["text"]) == (DAY, NOTE, "theirs")
        assert await dropped(rig) == ["Goal.note", "Goal.statusDate"] and (await rig.status())["in_step"] and not (await rig.status())["conflicts"]
        await rig.sound()


@pytest.mark.parametrize("habits", KINDS[:2], ids=str)
async def test_what_is_not_kept_there_is_said_and_no_deletion_whatever_is_answered(tmp_path: Path, habits: dict[str, Any]) -> None:
    await _kept_here_and_said_once(tmp_path, habits)


@slow
@pytest.mark.parametrize("habits", KINDS[2:], ids=str)
async def test_what_is_not_kept_there_is_said_and_no_deletion_whatever_the_server_is_like(tmp_path: Path, habits: dict[str, Any]) -> None:
    await _kept_here_and_said_once(tmp_path, habits)


@slow
@pytest.mark.parametrize("reads_versions", [True, False])
@pytest.mark.parametrize("habits", [dict(minimal=True), dict(lies=True), dict(lies=True, feed="search")], ids=str)
async def test_what_was_edited_there_before_we_looked_lost_nothing_by_what_was_not_kept(
    tmp_path: Path, habits: dict[str, Any], reads_versions: bool
) -> None:
    async with rigged(tmp_path, Habits(drops=DROPS, reads_versions=reads_versions, **habits)) as rig:

        def edit(_: object) -> None:
            rig.there.write({**rig.there.named("Goal")[0], "description": {"text": "theirs"}})

        rig.there.fault("POST", "Goal", times=1, applied=True, after=edit)
        ref = await rig.goal()
        await rig.change(rig.me, "walk", statusDate=DAY, note=NOTE)
        await rig.settled()
        body = await body_of(rig, ref)
        assert (body["statusDate"], body["note"], body["description"]["text"]) == (DAY, NOTE, "theirs")
        assert await dropped(rig) == ["Goal.note", "Goal.statusDate"]
        await rig.sound()


@pytest.mark.parametrize("habits", [dict(), dict(minimal=True, feed="search", reads_versions=False)], ids=str)
async def test_what_they_delete_of_what_was_kept_is_deleted_here(tmp_path: Path, habits: dict[str, Any]) -> None:
    async with rigged(tmp_path, Habits(**habits)) as rig:
        ref = await rig.goal()
        await rig.change(rig.me, "walk", statusDate=DAY, note=NOTE)
        await rig.settled()
        rig.there.write({k: v for k, v in rig.there.named("Goal")[0].items() if k not in DROPS})
        await rig.settled()
        assert not set(DROPS) & set(await body_of(rig, ref)) and await dropped(rig) == []
        await rig.sound()


@slow
async def test_what_is_kept_of_one_and_not_of_another_is_no_deletion_either(tmp_path: Path) -> None:
    """A server that keeps notes, and not this one: the version that we wrote is read before a deletion is believed."""
    async with rigged(tmp_path, Habits(lies=True)) as rig:
        await rig.goal()
        await rig.change(rig.me, "walk", note=[{"text": "kept"}])
        await rig.settled()
        rig.there.habits.drops = ("note",)
        rig.there.fault("POST", "Goal", times=1, applied=True, after=lambda _: rig.there.write(
            {**next(g for g in rig.there.named("Goal") if "note" not in g), "description": {"text": "theirs"}}))  # fmt: skip
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "run"}, "note": NOTE, "subject": {"reference": rig.names["amina"]}}
        ref = (await gate.create(rig.me, "Goal", strict.dump(body))).ref
        await rig.settled()
        here = await body_of(rig, ref)
        assert (here["note"], here["description"]["text"]) == (NOTE, "theirs") and await dropped(rig) == ["Goal.note"]
        await rig.sound()


async def test_where_nothing_is_taken_in_what_is_not_kept_is_said_all_the_same(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(drops=("note",), lies=True)) as rig:
        rig.partner.terms = replace(rig.partner.terms, direction="out")
        rig.house.remotes = (rig.partner.terms,)
        await rig.goal()
        await rig.change(rig.me, "walk", note=NOTE)
        await rig.settled()
        assert await dropped(rig) == ["Goal.note"]
        await rig.sound()
