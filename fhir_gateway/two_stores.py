"""Two stores of any engine as rows, so that one becomes a copy of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .settings import Refused
from .store.base import StoreError
from .store.copying import Rows
from .store.sqlite_copy import SqliteRows


@asynccontextmanager
async def open_rows(source: str, target: str, source_key: str | None = None, target_key: str | None = None) -> AsyncIterator[tuple[Rows, Rows]]:
    """Two stores as rows, to copy the first to the second, which is taken for the copy. Refused when either cannot be;
    Unavailable when one of them fails meanwhile."""
    from pymongo.errors import PyMongoError

    from .store import mongo_server

    opened: list[Rows] = []
    try:
        try:
            opened.append(await _source_rows(source, source_key))
            opened.append(_target_rows(target, target_key))
            await opened[1].begin()
        except StoreError as refused:
            raise Refused(str(refused)) from None
        yield opened[0], opened[1]
    except PyMongoError as wrong:
        raise mongo_server.unavailable(wrong) from wrong
    finally:
        for one in opened:
            await one.close()


async def _source_rows(address: str, key: str | None) -> Rows:
    if address.startswith("sqlite:"):
        return SqliteRows(Path(address.removeprefix("sqlite:")), target=False, key=key)
    from .store.mongo_copy import MongoRows

    return await MongoRows(address).open()


def _target_rows(address: str, key: str | None) -> Rows:
    if address.startswith("sqlite:"):
        return SqliteRows(Path(address.removeprefix("sqlite:")), target=True, key=key)
    from .store.mongo_copy import MongoRows

    return MongoRows(address)
