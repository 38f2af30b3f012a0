"""A store that an earlier version kept in step goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_gateway.domain.types import Keep
from fhir_gateway.gate import waiting_room
from fhir_gateway.store import sqlite, sqlite_file, sqlite_schema
from fhir_gateway.store.base import Unavailable
from fhir_gateway.sync.worker import once

from .rig import rigged


@pytest.mark.parametrize("mark", [b"[]", b'["Condition","x"]'])
async def test_what_was_parked_left_out_or_withheld_before_is_not_queued_again(tmp_path: Path, mark: bytes) -> None:
    """Marks of how far a partner was gone through, of before they named the types: at the end, or under way."""
    async with rigged(tmp_path) as rig:
        rig.there.fault("POST", "Goal", status=422, when=lambda asked: b"poison" in asked.raw)
        await rig.goal("fine")
        await rig.goal("poison one")
        left_out = await rig.goal("poison two")
        await rig.round(3)
        items = {i["ref"]: i for i in await waiting_room.everything(rig.operator)}
        await waiting_room.skip(rig.operator, items[str(left_out)]["id"], "their system has no such goals")
        await rig.no()
        await rig.round(2)
        await rig.goal("withheld")
        await rig.round(2)
        before, sent = await rig.house.store.outbox("hub"), len(rig.there.requests("POST"))
        assert before["parked"] == before["skipped"] == 1 and before["withheld"] >= 1
        await rig.house.store.commit(Keep("backfill", "hub", mark))
        await once(rig.house, rig.partner)
        after = await rig.house.store.outbox("hub")
        assert after | {"sent": before["sent"]} == before and len(rig.there.requests("POST")) == sent
        await rig.grant("surgery")
        await once(rig.house, rig.partner)
        assert "withheld" in rig.texts(), "a yes has what waited for it looked at, as ever"


async def test_a_store_that_this_version_has_touched_is_none_for_the_one_before(tmp_path: Path) -> None:
    """It would ask its partners from a watermark that it cannot read, and go through everything anew."""
    file = tmp_path / "store.sqlite"
    db = sqlite_file.connect(file)
    sqlite_schema.migrate(db, sqlite_schema.STEPS[:5])
    await (await sqlite.open(file)).close()
    with pytest.raises(Unavailable, match="newer fhir-gateway"):
        sqlite_schema.migrate(db, sqlite_schema.STEPS[:5])
    db.close()
