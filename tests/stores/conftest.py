"""One suite, every engine. `store` is an empty store; `reopen()` opens the same data again, as another process would."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_gateway.store import mongo, sqlite
from fhir_gateway.store.base import Store

from .making import MORNING, Reopen
from .mongo_server import REAL, RUNNING, MongoServer, drop, started, wipe
from .searches import Fresh

ENGINES = ("mongo", "sqlite")
SLOW_ON_MONGO = (
    "test_a_backlog_of_one_person_drains", "test_whatever_workers_do_order_and_fences_hold", "test_who_is_asked_for_a_round", "test_a_claim_is_written_when",
)  # fmt: skip
ATTEMPTS_ON_MONGO = ("test_what_was_sent_without_an_answer", "test_a_deletion_that_we_began", "test_who_is_killed")  # the others with test-all
TOLD_ON_MONGO = ("test_what_happens_within_a_minute", "test_who_dies_after_sending", "test_two_workers", "test_what_was_taken")  # the others with test-all


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the stand-in for MongoDB takes long for is left to `make test-all`."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if params.get("fresh") == "mongo" or (params.get("reopen") == "mongo" and item.name.startswith(SLOW_ON_MONGO)):
            item.add_marker("slow")
        if params.get("reopen") == "mongo" and item.path.name == "test_attempts.py" and not item.name.startswith(ATTEMPTS_ON_MONGO):
            item.add_marker("slow")
        if params.get("place") == "mongo" and not item.name.startswith(TOLD_ON_MONGO):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One server for all tests of this process; files whose tests break things have another (what is left open slows it for a minute)."""
    yield from started(tmp_path_factory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test that failed by waiting: what the server was doing."""
    report = yield
    if report.failed and "timed out" in report.longreprtext:
        report.sections += [("a MongoDB server", server.says()) for server in RUNNING]
    return report


@pytest.fixture
def database(mongo_server: MongoServer) -> Iterator[str]:
    """The address of a database that nobody else has."""
    uri = mongo_server.uri(f"t{secrets.token_hex(6)}")
    yield uri
    if REAL:  # the stand-in's files go with their folder
        drop(uri)


@pytest_asyncio.fixture(params=ENGINES)
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    opened: list[Store] = []
    make: Callable[[], Awaitable[Store]]
    if request.param == "mongo":
        uri = request.getfixturevalue("database")
        make = lambda: mongo.open(uri, clock=lambda: MORNING)  # noqa: E731
    else:
        make = lambda: sqlite.open(tmp_path / "store.sqlite", clock=lambda: MORNING)  # noqa: E731

    async def again() -> Store:
        opened.append(await make())
        return opened[-1]

    yield again
    for one in opened:
        await one.close()


@pytest.fixture(params=ENGINES)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fresh]:
    """Another empty store each time: for properties, whose examples must not see each other. The caller closes it."""
    if request.param == "mongo":
        yield from _fresh_mongo(request.getfixturevalue("mongo_server"))
        return
    numbers = count()

    async def another() -> Store:
        folder = tmp_path / f"fresh-{next(numbers)}"
        folder.mkdir()
        return await sqlite.open(folder / "store.sqlite", clock=lambda: MORNING)

    yield another


def _fresh_mongo(server: MongoServer) -> Iterator[Fresh]:
    """Emptied and used again: a database is dear to make. What is found is asked here, not how soon: there is time for an answer."""
    free: list[str] = []
    made: list[str] = []

    async def another() -> Store:
        if not free:
            made.append(server.uri(f"f{secrets.token_hex(6)}", socketTimeoutMS=120_000))
            free.append(made[-1])
        uri = free.pop()
        wipe(uri)
        store = await mongo.open(uri, clock=lambda: MORNING)
        close = store.close

        async def closed() -> None:
            await close()
            free.append(uri)

        store.close = closed  # type: ignore[method-assign]
        return store

    yield another
    for uri in made:
        if REAL:
            drop(uri)


@pytest_asyncio.fixture
async def store(reopen: Reopen) -> Store:
    return await reopen()
