"""The database: how it is reached, what it must be, its collections and indexes; and which errors mean that it cannot answer now.

Nothing is retried by the driver: every retry is written here or in `mongo_commit`, bounded, and never guesses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from bson import ObjectId
from pymongo import AsyncMongoClient, ReadPreference, UpdateOne, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern

from .base import TooBig, Unavailable
from .mongo_documents import Document

T = TypeVar("T")
Database = AsyncDatabase[Document]

COPYING: Final = "copying"  # the mark of a copy under way
FORMAT: Final = 3  # of the documents; a newer one is refused
OLDEST: Final = (7, 0)
DEFAULT_DATABASE: Final = "fhir_gateway"
DURABLE: Final = WriteConcern(w="majority", j=True, wtimeout=10_000)
MAJORITY: Final = ReadConcern("majority")
SNAPSHOT: Final = ReadConcern("snapshot")
READ_TRIES: Final = 4
READ_PATIENCE: Final = 15.0  # seconds after which a reading is not asked again
_DAY: Final = 86_400

# Every index there is, by collection: fields, and what else is said of it. The name is made of the fields.
INDEXES: Final[dict[str, tuple[tuple[tuple[str, ...], Document], ...]]] = {
    "resource": (
        (("patients", "_id"), {}),  # a person's record, in order
        (("keys",), {}),  # one parameter and value
        (("acl.ref",), {}),  # who refers to it
        (("id",), {}),
        (("updated",), {}),
    ),
    "version": ((("patient", "_id"), {}), (("at",), {}), (("type_at",), {})),
    "epoch": (),
    "tie": (),
    "audit": ((("patient", "at"), {}), (("user", "at"), {}), (("at",), {}), (("id",), {}), (("seg", "at"), {})),
    "segment": (),
    "kept": ((("ends",), {"sparse": True}),),
    "outbox": ((("open", "_id"), {"sparse": True}), (("remote", "state", "_id"), {})),
    "link": ((("there",), {}),),
    "ledger": ((("patient", "at"), {}), (("remote", "at"), {}), (("open", "at"), {"sparse": True})),
    "counter": (),
    "marker": ((("at",), {"expireAfterSeconds": _DAY}),),
}


def connect(uri: str) -> tuple[AsyncMongoClient[Document], Database]:
    """A client that retries nothing by itself, and the database the address names. Unavailable when the address is none."""
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            uri, retryWrites=False, retryReads=False, tz_aware=True, connect=False, **_patience(uri)
        )
        db = client.get_default_database(
            DEFAULT_DATABASE, read_preference=ReadPreference.PRIMARY, write_concern=DURABLE, read_concern=MAJORITY
        )
    except (InvalidURI, ConfigurationError, ValueError):
        raise Unavailable("GATEWAY_STORE is not an address of MongoDB: write mongodb://HOST:PORT/DATABASE?replicaSet=NAME.") from None
    return client, db


def _patience(uri: str) -> dict[str, Any]:
    """Milliseconds, unless the address says otherwise."""
    wanted = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 5_000, "socketTimeoutMS": 30_000, "waitQueueTimeoutMS": 15_000}
    return {name: ms for name, ms in wanted.items() if name.lower() not in uri.lower()}


# -- what went wrong ----------------------------------------------------------------------------------------------------

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml: the machines', not the caller's fault.
_FAILING: Final = frozenset({
    6, 7, 13, 18, 24, 50, 64, 79, 89, 91, 100, 112, 133, 134, 189, 202, 225, 239, 246, 251, 262, 290, 317, 333, 9001, 10107, 11600, 11602,
    13435, 13436, 14031, 16500, 46841,
})  # fmt: skip
_AGAIN: Final = frozenset({6, 7, 89, 91, 112, 133, 134, 189, 239, 246, 251, 262, 9001, 10107, 11000, 11600, 11602, 13435, 13436})
_TOO_LARGE: Final = frozenset({10334, 17280, 17419, 17420})


def again(wrong: PyMongoError) -> bool:
    """Is it over by itself: another primary, a broken connection, somebody else's write in between.

    A name that was free a moment ago is taken inside a transaction: its next try sees it.
    """
    if isinstance(wrong, ServerSelectionTimeoutError):
        return False
    if isinstance(wrong, ConnectionFailure) or wrong.has_error_label("TransientTransactionError"):
        return True
    return bool(codes_of(wrong) & _AGAIN)


def code_of(wrong: PyMongoError) -> int | None:
    return getattr(wrong, "code", None)


def codes_of(wrong: PyMongoError) -> set[int | None]:
    """Of the command, and of each write in it."""
    return {code_of(wrong), *(e.get("code") for e in (getattr(wrong, "details", None) or {}).get("writeErrors", ()))}


def cause(wrong: BaseException) -> BaseException:
    """The driver wraps what a text cannot be written for."""
    return wrong.__cause__ or wrong


def unavailable(wrong: PyMongoError | DocumentTooLarge) -> Exception:
    """What the caller is told: `Unavailable`, without the server's words (they may hold values); a mistake of ours stays what it is."""
    codes = set() if isinstance(wrong, DocumentTooLarge) else codes_of(wrong)
    if isinstance(wrong, DocumentTooLarge) or codes & _TOO_LARGE:
        return TooBig("a record with all it is searched by is more than MongoDB keeps in one document (16 MB)")
    if isinstance(wrong, OperationFailure) and not codes & _FAILING and not again(wrong):
        return wrong
    return Unavailable(f"the store cannot answer now ({type(wrong).__name__.removesuffix('Error').lower()})")


async def pause(tries: int) -> None:
    """Longer each time, and not in step with others."""
    await asyncio.sleep((0.2 + 0.8 * spread()) * min(0.002 * 2**tries, 0.25))


def spread() -> float:
    """From 0 to 1, another each time and in each process: names of the driver's own making differ everywhere. No secret."""
    return hash(ObjectId()) % 1_000 / 1_000


async def obeying(doing: Callable[[], Awaitable[T]]) -> T:
    """What this returns or raises; CancelledError where its task was cancelled meanwhile and the driver took no notice.

    It writes to the server by `asyncio.wait_for`, which up to Python 3.11 forgets a cancellation that comes in the turn in which the
    wait ends (https://github.com/python/cpython/issues/86296): who was told to end would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await doing()
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


async def reading(ask: Callable[[], Awaitable[T]]) -> T:
    """A reading is asked again when the server moved; Unavailable when it stays away, or lets us wait."""
    end, tries = time.monotonic() + READ_PATIENCE, 0
    while True:
        try:
            return await ask()
        except PyMongoError as wrong:
            tries += 1
            if tries >= READ_TRIES or not again(wrong) or time.monotonic() > end:
                raise unavailable(wrong) from wrong
            await pause(tries + 4)


# -- at the start ---------------------------------------------------------------------------------------------------------


async def prepare(client: AsyncMongoClient[Document], db: Database) -> None:
    """Make or bring up to date the store in this database. Unavailable, in one sentence, when that cannot be."""
    try:
        await _fit(client)
        await _ours(db)
        await _indexed(db)
        await _upgraded(db)
        await _transacts(client, db)
    except Unavailable as refused:
        raise Unavailable(f"The MongoDB database `{db.name}` cannot be used: {refused}") from None
    except PyMongoError as wrong:
        raise Unavailable(f"The MongoDB database `{db.name}` cannot be used: {_first_words(wrong)}") from None


def _first_words(wrong: PyMongoError) -> str:
    if isinstance(wrong, ServerSelectionTimeoutError):
        return (
            "no primary answers: start the servers, initiate the replica set (rs.initiate()), and see that GATEWAY_STORE names them and "
            "their replicaSet."
        )
    if code_of(wrong) in (13, 18):
        return "this user may not use it: give them the role readWrite on it, and check the password in GATEWAY_STORE."
    return f"{type(wrong).__name__} at the start: see the server's log."


async def _fit(client: AsyncMongoClient[Document]) -> None:
    hello = await client.admin.command("hello")
    if hello.get("msg") == "isdbgrid":
        raise Unavailable("it is behind mongos, which this gateway has not been tried with: name the replica set itself.")
    if not hello.get("setName"):
        raise Unavailable(
            "it is a standalone server, which has no transactions: start mongod with --replSet rs0, run rs.initiate() once, and add "
            "?replicaSet=rs0 to GATEWAY_STORE."
        )
    version = tuple((await client.admin.command("buildInfo"))["versionArray"][:2])
    if version < OLDEST:
        raise Unavailable(f"it is version {'.'.join(map(str, version))}: this gateway needs MongoDB {'.'.join(map(str, OLDEST))} or newer.")
    if hello.get("logicalSessionTimeoutMinutes") is None:
        raise Unavailable("it offers no sessions, so no transactions: use a replica set of MongoDB's own servers.")


async def _ours(db: Database) -> None:
    if await db.meta.find_one({"_id": COPYING}) is not None:
        raise Unavailable("a copy into it is under way or stopped half-way: wait, or drop it (db.dropDatabase()) and copy again.")
    told = await db.meta.find_one({"_id": "format"})
    if told is None:
        if foreign := sorted(set(await db.list_collection_names()) - set(INDEXES) - {"meta"}):
            raise Unavailable(f"it holds something else (`{foreign[0]}`): name another database in GATEWAY_STORE.")
        await db.meta.update_one({"_id": "format"}, {"$setOnInsert": {"version": FORMAT}}, upsert=True)
    elif told["version"] > FORMAT:
        raise Unavailable(f"it was written by a newer fhir-gateway (format {told['version']}, this one knows {FORMAT}): upgrade, or restore a backup.")


async def _indexed(db: Database) -> None:
    """Make what is missing; refuse what is there under the same name and is another."""
    there = set(await db.list_collection_names())
    for name, wanted in INDEXES.items():
        if name not in there:
            await _made(db, name)
        have = await db[name].index_information()
        for fields, options in wanted:
            index = "_".join(f"{f}_1" for f in fields)
            if index not in have:
                await db[name].create_index([(f, 1) for f in fields], name=index, **options)
                have = await db[name].index_information()
            if not _same_index(have.get(index), fields, options):
                raise Unavailable(
                    f"its index `{index}` on `{name}` is not the one this gateway made: run db.{name}.dropIndex('{index}') and start again."
                )


async def _upgraded(db: Database) -> None:
    """Bring documents of an older format up to this one; killed half-way, the next start goes on.

    2: an audit row has its id as a field, too. 3: no document is another; what sync keeps of a partner is, and a program that does not know it
    must not go on from it.
    """
    told = await db.meta.find_one({"_id": "format"})
    if told is None or told["version"] >= FORMAT:
        return
    while older := await db.audit.find({"id": None}, {"at": 1}, limit=1_000).to_list():
        await db.audit.bulk_write([UpdateOne({"_id": d["_id"]}, {"$set": {"id": d["at"].partition(" ")[2]}}) for d in older])
    await db.meta.update_one({"_id": "format"}, {"$set": {"version": FORMAT}})


async def _made(db: Database, name: str) -> None:
    try:
        await db.create_collection(name)  # before any transaction needs it
    except PyMongoError as wrong:
        if code_of(wrong) != 48 and name not in await db.list_collection_names():  # another process was quicker
            raise


def _same_index(have: Any, fields: tuple[str, ...], options: Document) -> bool:
    if have is None or [(f, int(way)) for f, way in have["key"]] != [(f, 1) for f in fields]:
        return False
    told = {k: v for k, v in have.items() if k in ("sparse", "unique", "expireAfterSeconds", "partialFilterExpression", "collation", "hidden") and v}
    return told == options


async def _transacts(client: AsyncMongoClient[Document], db: Database) -> None:
    try:
        async with client.start_session() as s:
            await s.start_transaction(read_concern=SNAPSHOT, write_concern=DURABLE)
            await db.counter.update_one({"_id": "started"}, {"$inc": {"n": 1}}, upsert=True, session=s)
            await s.commit_transaction()
    except OperationFailure as wrong:
        if again(wrong):
            return  # another process starts at this moment, by a transaction
        raise Unavailable("it cannot run a transaction with majority writes: use a replica set with the WiredTiger engine.") from None
