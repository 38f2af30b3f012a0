"""What a partner wrote and was refused here stays as it is there until that is settled: nothing of ours goes over it. docs/sync.md, E8"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway.commands import saying
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import waiting_room
from fhir_gateway.sync.replaying import replay

from .faults.scripted import Body
from .test_believing import ACTIONS, Beside, beside

UNKNOWN = {"modifierExtension": [{"url": "http://their.example/ruled-out", "valueBoolean": True}]}
NOTE = [{"text": "ruled out after a test"}]


@pytest_asyncio.fixture(name="beside")
async def _beside(tmp_path: Path) -> AsyncIterator[Beside]:
    async with beside(tmp_path, None) as place:
        yield place


async def agreed(b: Beside, whose: str) -> Body:
    """A goal that both sides have, as it is there: `ours`, or `theirs`, which began there."""
    if whose == "ours":
        await b.goal("walk")
    else:
        b.there.write({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": f"Patient/{b.there.named('Patient')[0]['id']}"}})
    await b.round(2)
    (stored,) = await b.house.store.patient_record(b.names["amina"], ["Goal"])
    b.names["walk"] = str(stored.ref)
    return now(b)


def now(b: Beside) -> Body:
    (there,) = b.there.named("Goal")
    return there


async def here(b: Beside) -> dict[str, Any]:
    stored = await b.house.store.get(Ref(*b.names["walk"].split("/")))
    assert stored is not None and stored.body is not None
    return strict.read(stored.body)


@pytest.mark.parametrize("whose", ["ours", "theirs"])
async def test_what_was_refused_is_not_written_over_and_corrected_there_it_comes_in_whole(beside: Beside, whose: str) -> None:
    there = beside.there.write({**await agreed(beside, whose), **UNKNOWN, "note": NOTE})
    await beside.round()
    await beside.change(beside.me, "walk", startDate="2026-02-02")
    await beside.round(2)
    assert now(beside) == there, "nothing of ours went over it"
    (item,) = await waiting_room.everything(beside.operator)
    assert item["holds"] and "nothing from here goes over it" in saying.waiting(item)
    assert not (await beside.status())["in_step"]
    beside.there.write({k: v for k, v in there.items() if k not in UNKNOWN})
    await beside.round(2)
    for side in (now(beside), await here(beside)):
        assert (side["note"], side["startDate"]) == (NOTE, "2026-02-02")
    assert (await beside.status())["in_step"]


@pytest.mark.parametrize("settled", ["ours stands", "corrected", "reverted there", "a yes"])
async def test_a_note_under_a_consent_that_only_lets_them_read_stays_there_until_that_is_settled(beside: Beside, settled: str) -> None:
    await beside.change(beside.me, next(k for k in beside.names if k.startswith("consent")), status="inactive")
    read = [a for a in ACTIONS if a["coding"][0]["code"] in ("access", "disclose")]
    await beside.grant("surgery", provision={"provision": [{"type": "permit", "actor": [beside.reader()], "action": read}]})
    there = beside.there.write({**(before := await agreed(beside, "ours")), "note": NOTE})
    await beside.round()
    await beside.change(beside.me, "walk", startDate="2026-02-02")
    await beside.round(2)
    assert now(beside) == there
    (item,) = await waiting_room.everything(beside.operator, content=True)
    if settled == "reverted there":
        beside.there.write(before)
    elif settled == "ours stands":
        await replay(beside.house, beside.partner, beside.operator, item["id"], await here(beside))
    else:
        await beside.grant("surgery", provision={"provision": [{"type": "permit", "actor": [beside.reader()], "action": ACTIONS}]})
        if settled == "a yes":
            await beside.change(beside.me, "walk", startDate="2026-02-03")
        else:
            await replay(beside.house, beside.partner, beside.operator, item["id"], {**item["body"], "note": [{"text": "corrected"}]})
    await beside.round(2)
    note = {"corrected": [{"text": "corrected"}], "a yes": NOTE}.get(settled)
    for side in (now(beside), await here(beside)):
        assert (side.get("note"), side["startDate"]) == (note, "2026-02-03" if settled == "a yes" else "2026-02-02")
    assert (await beside.status())["in_step"]


@pytest.mark.parametrize("whose", ["ours", "theirs"])
async def test_a_no_goes_before_what_was_refused_and_takes_nothing_of_theirs_out_of_their_own_record(beside: Beside, whose: str) -> None:
    there = await agreed(beside, whose)
    await beside.change(beside.me, "walk", startDate="2026-02-02")
    await beside.round()
    beside.there.write({**now(beside), **UNKNOWN, "note": NOTE})
    await beside.round()
    await beside.grant("surgery", provision={"provision": [{"type": "deny", "actor": [beside.reader()]}]})
    await beside.round(3)
    left = beside.there.named("Goal")
    if whose == "ours":
        assert left == []
    else:
        assert [(g["note"], g["modifierExtension"], "startDate" in g, g["id"]) for g in left] == [(NOTE, UNKNOWN["modifierExtension"], False, there["id"])]
    assert (await beside.status())["recalls_open"] == 0


