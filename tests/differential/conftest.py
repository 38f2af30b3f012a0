"""Stores to try worlds in: one to play a world in, and for each engine one that holds it all and one that is thinned out."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ..conftest import in_memory
from ..stores.mongo_server import REAL, MongoServer, RealServer, drop
from .comparing import Pair
from .sides import MongoShelf, Shelf, SqliteShelf


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """What is tried here is not whether a disk keeps what it is given."""
    with in_memory(tmp_path) as path:
        yield path


@pytest_asyncio.fixture
async def scratch(folder: Path) -> AsyncIterator[Shelf]:
    shelf = await SqliteShelf.open(folder / "scratch.sqlite")
    yield shelf
    await shelf.close()


@pytest_asyncio.fixture
async def on_sqlite(folder: Path) -> AsyncIterator[Pair]:
    pair = await SqliteShelf.open(folder / "whole.sqlite"), await SqliteShelf.open(folder / "reduced.sqlite")
    yield pair
    for shelf in pair:
        await shelf.close()


@pytest_asyncio.fixture
async def on_mongo(folder: Path) -> AsyncIterator[Pair]:
    server = (RealServer() if REAL else MongoServer(folder)).start()
    uris = [server.uri(f"d{secrets.token_hex(6)}") for _ in range(2)]
    pair = await MongoShelf.open(uris[0]), await MongoShelf.open(uris[1])
    yield pair
    for shelf in pair:
        await shelf.close()
    for uri in uris if REAL else ():  # the stand-in's files go with their folder
        drop(uri)
    server.stop()
