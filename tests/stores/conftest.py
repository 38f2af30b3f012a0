"""One suite, every engine. `store` is an empty store; `reopen()` opens the same data again, as another process would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_gateway.store import sqlite
from fhir_gateway.store.base import Store

from .making import MORNING, Reopen
from .searches import Fresh

ENGINES = {"sqlite": lambda folder: sqlite.open(folder / "store.sqlite", clock=lambda: MORNING)}


@pytest_asyncio.fixture(params=sorted(ENGINES))
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    opened: list[Store] = []

    async def again() -> Store:
        opened.append(await ENGINES[request.param](tmp_path))
        return opened[-1]

    yield again
    for one in opened:
        await one.close()


@pytest.fixture(params=sorted(ENGINES))
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Fresh:
    """Another empty store each time: for properties, whose examples must not see each other. The caller closes it."""
    numbers = count()

    async def another() -> Store:
        folder = tmp_path / f"fresh-{next(numbers)}"
        folder.mkdir()
        return await ENGINES[request.param](folder)

    return another


@pytest_asyncio.fixture
async def store(reopen: Reopen) -> Store:
    return await reopen()
