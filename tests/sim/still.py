"""Time that passes only when everybody waits, and a store whose commits happen in the order in which they were asked for."""

from __future__ import annotations

import asyncio
import selectors
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fhir_gateway.store import sqlite_changes, sqlite_file
from fhir_gateway.store.sqlite import SqliteStore
from fhir_gateway.store.sqlite_writer import Writer


class Nothing(RuntimeError):
    """Everybody waits, and nothing will ever happen."""


class Waiting(selectors.SelectSelector):
    """Nothing comes from outside: whoever waits so long has waited as soon as asked."""

    loop: StillLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Nothing
        self.loop.passed += max(timeout, 0.0)
        return []


class StillLoop(asyncio.SelectorEventLoop):
    """The loop's time begins at 0 and is nobody's."""

    def __init__(self) -> None:
        self.passed = 0.0
        waiting = Waiting()
        waiting.loop = self
        super().__init__(waiting)

    def time(self) -> float:
        return self.passed


class Inline(Writer):
    """Each commit by itself, when it is asked for: no thread has a say in the order. Nothing is forced to the disk."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._db.pragma("synchronous", "OFF")

    def submit(self, ops: Sequence[Any]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wrong = self._write([ops])[0]
        if wrong is None:
            future.set_result(None)
        else:
            future.set_exception(wrong)
        return future


def opened(path: Path, clock: Callable[[], datetime], copy: Path | None = None) -> SqliteStore:
    """The store in this file, first a copy of another's where one is given."""
    if copy is not None:
        shutil.copyfile(copy, path)
    else:
        sqlite_file.prepare(path)
    store = SqliteStore(path, None, clock)
    store._writer.close()
    store._writer = Inline(lambda: sqlite_file.connect(path), sqlite_changes.apply, clock)
    return store


def closed(store: SqliteStore) -> None:
    while store._readers:
        store._readers.pop().close()
    store._writer.close()  # last: whoever is last moves all that was written to where it stays, and this one waits for no disk
