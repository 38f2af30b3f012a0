"""A backup is a whole store, made while others write."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fhir_gateway.store import sqlite

from .making import goal, note


async def test_a_backup_opens_as_a_store_of_whole_commits(tmp_path: Path) -> None:
    store = await sqlite.open(tmp_path / "store.sqlite")
    await store.commit(*(goal(f"g{i}") for i in range(50)), *(note(f"g{i}") for i in range(50)))
    await asyncio.gather(store.backup(tmp_path / "copy.sqlite"), *(store.commit(goal(f"h{i}"), note(f"h{i}")) for i in range(50)))
    await store.close()
    copy = await sqlite.open(tmp_path / "copy.sqlite")
    goals = (await copy.counts())["Goal"]
    assert goals >= 50 and len(await copy.notes(count=1000)) == goals and await copy.integrity() == "ok"
    await copy.close()
    assert sorted(f.name for f in tmp_path.iterdir() if ".part" in f.name) == []
