"""One transaction, exactly once: tried again while it certainly left nothing, and never when nobody can tell.

Each transaction writes a marker of its own. Where the answer to the commit is lost, the marker settles it: we write the same
marker ourselves, outside. If that is refused because it is there, the transaction was applied, and we wait until a majority has
it. If ours goes in, the transaction never was and never can be (its own marker could not be written any more): it is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import pymongo
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, InvalidOperation, PyMongoError

from .base import Unsettled
from .mongo_documents import Document
from .mongo_server import DURABLE, SNAPSHOT, Database, again, pause, unavailable

T = TypeVar("T")
PATIENCE: Final = 15.0  # seconds during which a commit is tried again
SETTLE_TRIES: Final = 6
SETTLE_MS: Final = 3_000  # how long one attempt to settle waits for a transaction that is still open


async def transaction(client: AsyncMongoClient[Document], db: Database, act: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
    """What `act` returns, once all it wrote is with a majority and on disk. Its own refusals leave no trace.

    Unavailable when nothing was written, Unsettled when nobody can tell.
    """
    end, tries = time.monotonic() + PATIENCE, 0
    while True:
        marker = ObjectId()
        async with client.start_session() as session:
            try:
                await session.start_transaction(read_concern=SNAPSHOT, write_concern=DURABLE)
                result = await act(session)
                await db.marker.insert_one({"_id": marker, "at": marker.generation_time}, session=session)
            except PyMongoError as wrong:
                await _abort(session)
                if not again(wrong) or time.monotonic() > end:
                    raise unavailable(wrong) from wrong
            except BaseException:
                await _abort(session)
                raise
            else:
                if await _committed(db, session, marker, end):
                    return result
        await pause(tries)
        tries += 1


async def _abort(session: AsyncClientSession) -> None:
    try:
        if session.in_transaction:
            with pymongo.timeout(SETTLE_MS / 1_000):  # a server that says nothing is not asked for long
                await session.abort_transaction()
    except (PyMongoError, InvalidOperation):
        pass  # it ends by itself, with its session


async def _committed(db: Database, session: AsyncClientSession, marker: ObjectId, end: float) -> bool:
    """True: it is there for good. False: it is not, and may be tried again. Unsettled when that cannot be told in time."""
    try:
        await session.commit_transaction()
        return True
    except PyMongoError as wrong:
        applied = await _settled(db, session, marker)
        if applied is None:
            raise Unsettled("the store did not say whether the change was made") from wrong
        if not applied and time.monotonic() > end:
            raise unavailable(wrong) from wrong
        return applied


async def _settled(db: Database, session: AsyncClientSession, marker: ObjectId) -> bool | None:
    for tries in range(SETTLE_TRIES):
        try:
            with pymongo.timeout(3 * SETTLE_MS / 1_000):
                await db.client.admin.command("killSessions", [session.session_id])  # what is still open can only be undone
                await _void(db, marker)
                found = await db.marker.find_one({"_id": marker})  # with a majority, that is: for good
            if found is not None:
                return "void" not in found
        except PyMongoError:
            pass
        await pause(tries + 5)
    return None


async def _void(db: Database, marker: ObjectId) -> None:
    """Write the marker ourselves, unless it is there. While the transaction is open the server lets us wait for its end."""
    ours = {"_id": marker, "at": marker.generation_time, "void": True}
    await db.command("insert", "marker", documents=[ours], maxTimeMS=SETTLE_MS, writeConcern=DURABLE.document)


async def written_once(db: Database, collection: str, document: Document) -> None:
    """One document by itself: its name is ours alone, so that a second try cannot write it twice."""
    end, tries = time.monotonic() + PATIENCE, 0
    while True:
        try:
            await db[collection].insert_one(document)
            return
        except DuplicateKeyError as wrong:
            if tries == 0:
                raise unavailable(wrong) from wrong
            if await _there(db, collection, document["_id"]):
                return
            raise Unsettled("the store did not say whether the change was made") from wrong
        except PyMongoError as wrong:
            tries += 1
            if not again(wrong):
                raise unavailable(wrong) from wrong
            if tries >= SETTLE_TRIES or time.monotonic() > end:
                raise Unsettled("the store did not say whether the change was made") from wrong
            await pause(tries + 4)


async def _there(db: Database, collection: str, id: object) -> bool:
    """With a majority, that is: for good."""
    for tries in range(SETTLE_TRIES):
        try:
            if await db[collection].find_one({"_id": id}, {"_id": 1}) is not None:
                return True
        except PyMongoError:
            pass
        await pause(tries + 4)
    return False
