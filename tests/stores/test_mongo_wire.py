"""Errors on the wire: an effect exactly once, or a clear refusal. Connections cut before and after a command is obeyed, another
primary, a write concern that fails, transient errors, commits whose outcome nobody said."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId
from pymongo import MongoClient
from pymongo.network_layer import PyMongoProtocol

from fhir_gateway.domain.types import Always, Bump, Close, Keep, Ref, Send
from fhir_gateway.store import mongo, mongo_commit
from fhir_gateway.store.base import Stale, Taken, Unavailable, Unsettled

from .making import ANN, MORNING, at, goal, note
from .mongo_server import REAL, MongoServer, started
from .wire import Wire

WALK = Ref("Goal", "walk")
TRANSIENT, UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"

pytestmark = pytest.mark.skipif(bool(REAL), reason="fail points and the cut wire are for the stand-in, whose port is known")


@pytest.fixture(scope="module")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """Of this file alone: what is cut or killed here leaves transactions open in it."""
    yield from started(tmp_path_factory)


class Faulty:
    """A store, another that looks from aside, and ways to break what is between the first and its server."""

    through = ""

    def __init__(self, store: mongo.MongoStore, aside: mongo.MongoStore, wire: Wire, server: MongoServer, name: str) -> None:
        self.store, self.aside, self.wire, self._server, self.name = store, aside, wire, server, name

    def fail(self, commands: list[str], times: int = 1, skip: int = 0, **how: Any) -> None:
        """The next commands of the first store's connections fail like this."""
        mode: Any = {"times": times} | ({"skip": skip} if skip else {})
        with MongoClient(self._server.uri("admin")) as client:
            client.admin.command("configureFailPoint", "failCommand", mode=mode, data={"failCommands": commands, "appName": self.name, **how})

    def heal(self) -> None:
        """And what is open is undone, as the server does by itself after a minute."""
        self.wire.heal()
        with MongoClient(self._server.uri("admin")) as client:
            client.admin.command("configureFailPoint", "failCommand", mode="off")
            client.admin.command("killAllSessions", [])

    @asynccontextmanager
    async def patient_for(self, ms: int) -> AsyncIterator[None]:
        """The first store waits so long for an answer."""
        was, self.store = self.store, await mongo.open(f"{self.through}&socketTimeoutMS={ms}", clock=lambda: MORNING)
        try:
            yield
        finally:
            await self.store.close()
            self.store = was

    async def write(self) -> None:
        """One of everything; each is there exactly once, whatever happened on the way."""
        await self.store.commit(goal("walk"), note("n1"), Bump(ANN), Keep("jti", "j", b"1", if_absent=True), Send("hospital", WALK, 1, ANN))

    async def once(self) -> bool:
        """All of it once (True) or none of it (False), seen from aside."""
        seen = (
            len((await self.aside.history(None, None, Always())).hits), len(await self.aside.notes()), await self.aside.epoch(ANN),
            len(await self.aside.kept_all("jti", at())), sum((await self.aside.outbox()).values()), len(await self.aside.counts()),
        )  # fmt: skip
        assert seen in ((1,) * 6, (0,) * 6), seen
        return seen[0] == 1


@pytest_asyncio.fixture
async def faulty(mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Faulty]:
    monkeypatch.setattr(mongo_commit, "PATIENCE", 1.5)
    name = f"w{secrets.token_hex(5)}"
    async with Wire(mongo_server.port) as wire:
        aside = await mongo.open(mongo_server.uri(name), clock=lambda: MORNING)
        # the server tells its own address to those who ask for a replica set: through the wire only directly
        told = mongo_server.uri(name, appName=name, directConnection="true", serverSelectionTimeoutMS=3000)
        store = await mongo.open(told.replace(f":{mongo_server.port}/", f":{wire.port}/"), clock=lambda: MORNING)
        f = Faulty(store, aside, wire, mongo_server, name)
        f.through = told.replace(f":{mongo_server.port}/", f":{wire.port}/")
        yield f
        f.heal()
        await store.close()
        await aside.close()


COMMANDS = (pytest.param("find", marks=pytest.mark.slow), "insert", pytest.param("update", marks=pytest.mark.slow), "commitTransaction")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_connection_cut_once_is_no_loss_and_no_double(faulty: Faulty, command: str, when: str) -> None:
    faulty.wire.cut(f"{command}\0", when)
    await faulty.write()
    assert faulty.wire.made == 1 and await faulty.once()


@pytest.mark.parametrize("when", ["unread", "unanswered"])
@pytest.mark.parametrize("command", [pytest.param("insert", marks=pytest.mark.slow), pytest.param("update", marks=pytest.mark.slow), "commitTransaction"])
async def test_a_server_that_says_nothing_once_is_no_loss_and_no_double(faulty: Faulty, command: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stays: only the clock tells."""
    monkeypatch.setattr(mongo_commit, "PATIENCE", 15.0)
    async with faulty.patient_for(500):
        faulty.wire.cut(f"{command}\0", when)
        await faulty.write()
        assert faulty.wire.made == 1 and await faulty.once()


@pytest.mark.slow
@pytest.mark.parametrize(("command", "most"), [("insert", 5.0), ("update", 5.0), ("commitTransaction", 15.0)])
async def test_a_server_that_says_nothing_any_more_is_not_waited_for_without_end(
    faulty: Faulty, command: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wait for the answer (two to a commit, which the driver asks once more), and shorter ones until it is known what became of it."""
    monkeypatch.setattr(mongo_commit, "SETTLE_MS", 300)
    monkeypatch.setattr("fhir_gateway.store.mongo_server.READ_PATIENCE", 1.5)
    async with faulty.patient_for(3_000):
        for word in (command, "abortTransaction", "killSessions"):
            faulty.wire.cut(f"{word}\0", "unread", 1_000)
        began = time.monotonic()
        with pytest.raises(Unsettled if command == "commitTransaction" else Unavailable):
            await faulty.write()
        assert time.monotonic() - began < most
    faulty.heal()
    assert not await faulty.once()
    await faulty.write()
    assert await faulty.once()


@pytest.mark.slow
async def test_nor_is_it_for_an_audit_row(faulty: Faulty) -> None:
    async with faulty.patient_for(2_000):
        faulty.wire.cut("insert\0", "unread", 1_000)
        began = time.monotonic()
        with pytest.raises(Unsettled):
            await faulty.store.commit(note("n1"))
        assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_again_and_again_is_settled(faulty: Faulty, when: str) -> None:
    """The driver asks once more by itself; that is lost, too. Then the marker tells."""
    faulty.wire.cut("commitTransaction\0", when, 2)
    await faulty.write()
    assert faulty.wire.made == 2 and await faulty.once()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_audit_row_whose_answer_is_lost_is_there_once(faulty: Faulty, when: str) -> None:
    faulty.wire.cut("insert\0", when)
    await faulty.store.commit(note("n1"))
    assert faulty.wire.made == 1 and [n.id for n in await faulty.aside.notes()] == ["n1"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["find", "update", "insert", "commitTransaction"])
@pytest.mark.parametrize(("code", "labels"), [(10107, None), (189, None), (112, [TRANSIENT]), (251, [TRANSIENT]), (91, None)])
async def test_another_primary_and_transient_errors_are_tried_again(faulty: Faulty, command: str, code: int, labels: list[str] | None) -> None:
    faulty.fail([command], errorCode=code, **({"errorLabels": labels} if labels else {}))
    await faulty.write()
    assert await faulty.once()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["insert", "commitTransaction"])
async def test_what_stays_broken_is_a_refusal_that_wrote_nothing(faulty: Faulty, command: str) -> None:
    faulty.fail([command], times=10_000, errorCode=112, errorLabels=[TRANSIENT])
    with pytest.raises(Unavailable):
        await faulty.write()
    faulty.heal()
    assert not await faulty.once()
    await faulty.write()
    assert await faulty.once()


@pytest.mark.parametrize(
    ("code", "name"),
    [(64, "WriteConcernFailed"), *(pytest.param(*p, marks=pytest.mark.slow) for p in ((100, "UnsatisfiableWriteConcern"), (91, "ShutdownInProgress")))],
)
async def test_a_write_concern_that_fails_is_settled_not_guessed(faulty: Faulty, code: int, name: str) -> None:
    """The server applied the commit and says that a majority may not have it: it is there once."""
    faulty.fail(["commitTransaction"], writeConcernError={"code": code, "errmsg": name})
    await faulty.write()
    assert await faulty.once()


@pytest.mark.slow
async def test_an_unknown_commit_that_was_applied_is_not_made_twice(faulty: Faulty) -> None:
    faulty.fail(["commitTransaction"], times=2, writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"})
    await faulty.write()
    assert await faulty.once()
    with pytest.raises(Stale):
        await faulty.store.commit(goal("walk"))
    with pytest.raises(Taken):
        await faulty.store.commit(Keep("jti", "j", b"2", if_absent=True))


@pytest.mark.slow
async def test_when_nobody_can_tell_the_caller_is_told_so(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the commit is lost and then nothing answers any more: the one refusal that leaves it open says so."""
    monkeypatch.setattr(mongo_commit, "SETTLE_TRIES", 2)
    faulty.wire.cut("commitTransaction\0", "after")
    faulty.wire.cut("commitTransaction\0", "before")
    writing = asyncio.ensure_future(faulty.write())
    await faulty.wire.cut_made.wait()
    faulty.wire.cut("killSessions\0", "before", 100)
    with pytest.raises(Unsettled):
        await writing
    faulty.wire.heal()
    assert await faulty.once(), "it was obeyed: only its answer is lost"


@pytest.mark.slow
async def test_readings_are_asked_again(faulty: Faulty) -> None:
    await faulty.write()
    for code in (10107, 11602, 189):
        faulty.fail(["aggregate", "find"], errorCode=code)
        found = await faulty.store.get(WALK)
        assert found is not None and found.version == 1
    faulty.wire.cut("aggregate\0", "after")
    assert await faulty.store.get(WALK) is not None
    faulty.fail(["aggregate"], times=10_000, errorCode=10107)
    with pytest.raises(Unavailable):
        await faulty.store.get(WALK)


@pytest.mark.parametrize("what", ["reading", "writing", "an audit row"])
async def test_who_is_told_to_end_while_the_driver_writes_ends(database: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the turn of the loop in which the driver's wait is over Python 3.11 forgets it: the task would go on for ever."""
    store = await mongo.open(database, clock=lambda: MORNING)
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "reading": lambda: store.kept("thing", "a", MORNING), "writing": lambda: store.commit(Keep("thing", "a", b"1")), "an audit row": lambda: store.commit(note(str(ObjectId()))),
    }  # fmt: skip
    write = PyMongoProtocol.write

    async def goes_on() -> None:
        while True:
            await asked[what]()

    async def cancelled_in_that_turn(self: PyMongoProtocol, message: bytes) -> None:
        await write(self, message)
        if once and once.pop():
            asyncio.get_running_loop().call_soon(task.cancel)

    once = [True]
    task = asyncio.create_task(goes_on())
    with monkeypatch.context() as m:
        m.setattr(PyMongoProtocol, "write", cancelled_in_that_turn)
        await asyncio.wait([task], timeout=10)
    ended = task.done()
    task.cancel()  # whatever was found, it goes on no longer
    await asyncio.wait([task])
    assert ended and task.cancelled(), "it was told to end, and goes on"
    await store.commit(Keep("thing", "b", b"1"))
    assert await store.kept("thing", "b", MORNING) == b"1", "the store is as good as before"
    await store.close()


@pytest.mark.slow
async def test_a_lease_whose_answer_is_lost_is_held_by_one(faulty: Faulty) -> None:
    await faulty.write()
    faulty.wire.cut("commitTransaction\0", "after", 2)
    (held,) = await faulty.store.lease("hospital", "w1", at(), 60, 10)
    assert await faulty.aside.lease("hospital", "w2", at(1), 60, 10) == []
    faulty.wire.cut("commitTransaction\0", "after", 2)
    await faulty.store.commit(Close(held.entry, held.fence, "sent"))
    assert await faulty.aside.outbox() == {"sent": 1}


# -- a process that dies ----------------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from fhir_gateway.store import mongo
from tests.stores.making import goal, note

async def main():
    store = await mongo.open(sys.argv[1])
    async def one(lane):
        for n in range(10_000):
            id = f"{sys.argv[2]}-{lane}-{n}"
            await store.commit(goal(id), note(id))
            sys.stdout.write(id + chr(10)); sys.stdout.flush()
    await asyncio.gather(*(one(lane) for lane in range(4)))
asyncio.run(main())
"""


def killed_writers(uri: str, root: Path, rounds: int) -> set[str]:
    """What writers said was written before each was killed."""
    acknowledged: set[str] = set()
    for n in range(rounds):
        process = subprocess.Popen([sys.executable, "-c", WRITER, uri, f"r{n}"], stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ))
        assert process.stdout is not None
        for _ in range(7 + 5 * n):
            acknowledged.add(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        acknowledged |= set(process.stdout.read().split("\n")[:-1])  # whole lines
        process.wait()
    return acknowledged - {""}


async def test_kill_9_of_a_writer_loses_nothing_acknowledged(database: str) -> None:
    acknowledged = await asyncio.to_thread(killed_writers, database, Path(__file__).resolve().parents[2], 3)
    assert len(acknowledged) > 30
    store = await mongo.open(database)
    try:
        written = {h.ref.id for h in (await store.history(None, None, Always(), count=100_000)).hits}
        assert acknowledged <= written
        assert written == {n.id for n in await store.notes(count=100_000)}, "half a commit"
        await store.commit(goal("after"), note("after"))
    finally:
        await store.close()
