"""The store to scale out: a MongoDB replica set, shared by many gateways and many workers. docs/mongodb.md shows shapes and indexes.

Every commit is one transaction, with a majority and on disk when it returns (`mongo_commit`); what must be of one moment is
read at one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
import pymongo
from bson import ObjectId
from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DocumentTooLarge, InvalidOperation, PyMongoError

from ..domain import audit
from ..domain.periods import instant, micros
from ..domain.sealing import Segment, TrailRow
from ..domain.search import Query, after_all
from ..domain.types import Disclosed, Found, Keep, Linked, Note, Op, Predicate, Queued, Ref, Send, Stored, Views
from . import linking, mongo_history, mongo_outbox, mongo_seals, mongo_search, mongo_server
from .base import AT_A_TIME, TooLong, Unavailable
from .mongo_changes import DAY, Changes
from .mongo_commit import transaction, written_once
from .mongo_documents import Document, kept_id, linked, linked_id, note_document, note_position, note_since, stored, version_id
from .mongo_query import among, both, of_types
from .mongo_search import EPOCH, RETURNED, Moment, Reader
from .mongo_server import DURABLE, SNAPSHOT, Database, cause, obeying, reading, unavailable

T = TypeVar("T")
DAWN: Final = datetime(1970, 1, 1, tzinfo=UTC)  # of what is not dated
SWEEP_EVERY: Final = 64  # values with an end, between two looks for those long over


async def open(uri: str, *, clock: Callable[[], datetime] = lambda: DAWN, search_seconds: float = 5.0) -> MongoStore:
    """Open (make, bring up to date) the store in this database. Unavailable, in one sentence, when that cannot be.

    `clock` (from `wiring`) dates the few operations of a commit that holds nothing dated. A search is given up after `search_seconds`.
    """
    client, db = mongo_server.connect(uri)
    try:
        await mongo_server.prepare(client, db)
    except BaseException:
        await client.close()
        raise
    return MongoStore(client, db, clock, search_seconds)


class MongoStore:
    """See `store.base.Store` for what each method promises."""

    largest_link: Final = 16 * 1024 * 1024 - 64 * 1024  # of one document, less what stands beside the two states

    def __init__(self, client: AsyncMongoClient[Document], db: Database, clock: Callable[[], datetime], search_seconds: float = 5.0) -> None:
        self._client, self._db, self._clock, self._search_seconds = client, db, clock, search_seconds
        self._now = db.with_options(read_concern=SNAPSHOT)  # one look, one moment
        self._closed = False
        self._writes = 0  # under way
        self._idle = asyncio.Event()

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        try:
            return await obeying(lambda: reading(ask))
        except InvalidOperation:
            raise Unavailable("the store is closed") from None

    async def _list(self, collection: str, filter: Any, fields: Document | None = None, *, sort: Any = None, count: int = 0) -> list[Document]:
        """One look. A count of 0 is all."""

        async def ask() -> list[Document]:
            return await self._now[collection].find({} if filter is True else filter, fields, sort=sort, limit=count).to_list()

        return [] if filter is False else await self._ask(ask)

    async def _steps(self, collection: str, *steps: Document) -> list[Document]:
        async def ask() -> list[Document]:
            return await (await self._now[collection].aggregate(list(steps))).to_list()

        return await self._ask(ask)

    async def get(self, ref: Ref) -> Stored | None:
        return (await self.get_many([ref])).get(ref)

    async def get_many(self, refs: Sequence[Ref]) -> dict[Ref, Stored]:
        if not refs:
            return {}
        wanted = among("_id", {str(ref) for ref in refs})
        found = {s.ref: s for s in map(stored, await self._steps("resource", {"$match": wanted}, *RETURNED))}
        return {ref: found[ref] for ref in refs if ref in found}

    async def version(self, ref: Ref, version: int) -> Stored | None:
        rows = await self._steps("version", {"$match": {"_id": {"$eq": version_id(ref, version)}}}, EPOCH)
        return stored(rows[0]) if rows else None

    async def history(
        self, ref: Ref | None, type: str | None, predicate: Predicate, *, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50, oldest_first: bool = False,
    ) -> Found:  # fmt: skip
        chapter = mongo_history.Chapter(ref, type, predicate, since, oldest_first)
        hits: list[Stored] = []
        while True:
            rows = await self._steps("version", *chapter.page(before, max(count + 1, 100)), EPOCH)
            incoming = await self._incoming(rows) if chapter.asks_incoming else {}
            for row in rows:
                before = chapter.position(row)
                if chapter.shows(row, incoming):
                    hits.append(stored(row))
                    if len(hits) > count:
                        return Found(tuple(hits[:count]), None, chapter.position_of(hits[count - 1]) if count else None)
            if chapter.ends(rows):
                return Found(tuple(hits))

    async def _incoming(self, rows: list[Document]) -> dict[str, frozenset[str]]:
        names = {f"{row['type']}/{row['id']}" for row in rows}
        by = await self._list("resource", both({"live": True}, among("acl.ref", names)), {"acl.ref": 1})
        return {name: frozenset(d["_id"] for d in by if name in d["acl"]["ref"]) for name in names}

    async def search(
        self, query: Query, predicate: Predicate, *, filtered: Predicate | Views, count: int, after: tuple[Any, ...] | None = None,
        total: bool = False,
    ) -> Found:  # fmt: skip
        reader = Reader(predicate, Views.of(filtered))

        async def look(moment: Moment) -> tuple[list[Document], int | None]:
            now = await mongo_search.settled_reader(reader, moment)
            hops = await mongo_search.hops(query, now, moment)
            rows = await mongo_search.page(query, now, hops, moment, count + 1, after) if count else []
            return rows, await mongo_search.total(query, now, hops, moment) if total else None

        one_look = not mongo_search.needs_several_looks(query, reader, total)
        rows, exact = await self._bounded(lambda: look(Moment(self._now.resource, None)) if one_look else self._instant(look))
        hits = tuple(stored(row) for row in rows[:count])
        if not count or len(rows) <= count:
            return Found(hits, exact)
        return Found(hits, exact, mongo_search.position(rows[count - 1]), {"beyond": stored(rows[count]).facts.patients})

    async def _bounded(self, ask: Callable[[], Awaitable[T]]) -> T:
        """`_ask` for at most `search_seconds`, of which the server is told. TooLong."""
        try:
            with pymongo.timeout(self._search_seconds):
                return await self._ask(ask)
        except Unavailable as wrong:
            if isinstance(wrong.__cause__, PyMongoError) and wrong.__cause__.timeout:
                raise TooLong("the question took too long") from None
            raise

    async def _instant(self, look: Callable[[Moment], Awaitable[T]]) -> T:
        """Several looks of one moment: none of them sees half a commit."""
        async with self._client.start_session() as session:
            await session.start_transaction(read_concern=SNAPSHOT, write_concern=DURABLE)
            try:
                result = await look(Moment(self._db.resource, session))
                await session.commit_transaction()  # what was read is with a majority
                return result
            except BaseException:
                if session.in_transaction:
                    await session.abort_transaction()
                raise

    async def _current(self, filter: Any) -> list[Stored]:
        steps = ({"$match": filter}, {"$sort": {"_id": 1}}, *RETURNED)
        return [] if filter is False else [stored(d) for d in await self._steps("resource", *steps)]

    async def patient_record(self, patient: str, types: Sequence[str]) -> list[Stored]:
        return await self._current(both({"patients": {"$eq": patient}}, {"live": True}, of_types(types)))

    async def patient_versions(self, patient: str, types: Sequence[str]) -> list[Stored]:
        filter = both({"patient": {"$eq": patient}}, of_types(types))
        steps = ({"$match": filter}, {"$sort": {"_id": 1}}, EPOCH)
        return [] if filter is False else [stored(d) for d in await self._steps("version", *steps)]

    async def directory(self, types: Sequence[str]) -> list[Stored]:
        return await self._current(both(of_types(types), {"live": True}))

    async def concerned(self, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        ways = [{"_id": {"$gte": f"{who} ", "$lt": f"{who}!"}} for who in sorted(ids)]
        rows = await self._list("tie", {"$or": ways, "n": {"$gt": 0}})
        return {patient for d in rows for who, _, patient in [d["_id"].rpartition(" ")] if who in ids}

    async def epoch(self, subject: str) -> int:
        rows = await self._list("epoch", {"_id": {"$eq": subject}})
        return int(rows[0]["value"]) if rows else 0

    async def referrers(self, target: Ref) -> list[Ref]:
        rows = await self._list("resource", {"acl.ref": {"$eq": str(target)}, "live": True}, {"type": 1, "id": 1}, sort=[("_id", 1)])
        return [Ref(d["type"], d["id"]) for d in rows]

    async def notes(
        self, *, patient: str | None = None, user: str | None = None, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50,
    ) -> list[Note]:  # fmt: skip
        filter = both(
            True if patient is None else {"patient": {"$eq": patient}},
            True if user is None else {"user": {"$eq": user}},
            True if since is None else {"at": {"$gte": note_since(micros(since))}},
            True if before is None else {"at": {"$lt": note_position(before)}},
        )
        rows = await self._list("audit", filter, {"note": 1}, sort=[("at", -1)], count=count) if count else []
        return [audit.decode(d["note"]) for d in rows]

    async def note(self, id: str) -> Note | None:
        rows = await self._list("audit", {"id": {"$eq": id}}, {"note": 1}, count=1)
        return audit.decode(rows[0]["note"]) if rows else None

    async def unsealed(self, count: int) -> list[TrailRow]:
        rows = await self._list("audit", {"seg": None}, mongo_seals.ROW, sort=[("at", 1)], count=count)
        return [mongo_seals.row(d) for d in rows]

    async def waiting(self) -> int:
        return await self._ask(lambda: self._db.audit.count_documents({"seg": None}))

    async def seal(self, segment: Segment, rows: Sequence[TrailRow]) -> None:
        await self._transaction(lambda s: mongo_seals.seal(self._db, s, segment, rows))

    async def segments(self, after: int = 0, count: int = 100) -> list[Segment]:
        rows = await self._list("segment", {"_id": {"$gt": after}}, sort=[("_id", 1)], count=count)
        return [mongo_seals.segment(d) for d in rows]

    async def segment_rows(self, number: int) -> list[TrailRow]:
        rows = await self._list("audit", {"seg": {"$eq": number}}, mongo_seals.ROW, sort=[("at", 1)])
        return [mongo_seals.row(d) for d in rows]

    async def rows_of(self, patient: str) -> list[tuple[int | None, TrailRow]]:
        rows = await self._list("audit", {"patient": {"$eq": patient}}, mongo_seals.ROW, sort=[("at", 1)])
        return [(d.get("seg"), mongo_seals.row(d)) for d in rows]

    async def strays(self) -> list[TrailRow]:
        last = await self._list("segment", {}, {"_id": 1}, sort=[("_id", -1)], count=1)
        beyond = int(last[0]["_id"]) if last else 0
        rows = await self._list("audit", {"$or": [{"seg": {"$gt": beyond}}, {"seg": {"$lt": 1}}]}, mongo_seals.ROW)
        return [mongo_seals.row(d) for d in rows]

    async def kept(self, kind: str, key: str, at: datetime) -> bytes | None:
        rows = await self._list("kept", {"_id": {"$eq": kept_id(kind, key)}})
        if not rows or (rows[0].get("ends") is not None and rows[0]["ends"] <= micros(at)):
            return None
        value: bytes = rows[0]["value"]
        return value

    async def kept_all(self, kind: str, at: datetime, prefix: str = "") -> dict[str, bytes]:
        start = kept_id(kind, prefix)
        filter = {"_id": {"$gte": start, "$lt": after_all(start)}}
        rows = await self._list("kept", filter, sort=[("_id", 1)])
        return {
            d["_id"].partition(" ")[2]: d["value"] for d in rows if d.get("ends") is None or d["ends"] > micros(at)
        }  # fmt: skip

    async def kept_each(self, kind: str, at: datetime, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        start = kept_id(kind, prefix)
        span = {"$gte": start, "$lt": after_all(start)}
        while rows := await self._list("kept", {"_id": span}, sort=[("_id", 1)], count=AT_A_TIME):
            for d in rows:
                if d.get("ends") is None or d["ends"] > micros(at):
                    yield d["_id"].partition(" ")[2], d["value"]
            span = {"$gt": rows[-1]["_id"], "$lt": after_all(start)}

    async def kept_count(self, kind: str, at: datetime, prefix: str = "") -> int:
        start = kept_id(kind, prefix)
        filter = {"_id": {"$gte": start, "$lt": after_all(start)}}
        return sum(d.get("ends") is None or d["ends"] > micros(at) for d in await self._list("kept", filter, {"ends": 1}))

    # -- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, *ops: Op) -> None:
        if not ops:
            return
        if len(ops) == 1 and isinstance(ops[0], Note):
            document = note_document(ObjectId(), ops[0])  # one row is a transaction by itself
            await self._write(lambda: written_once(self._db, "audit", document))
            return
        done = await self._write(lambda: self._changed(ops))
        if done.at is not None and any(isinstance(op, Keep) and op.expires is not None and hash(op.key) % SWEEP_EVERY == 0 for op in ops):
            await self._sweep(micros(done.at))

    async def _changed(self, ops: Sequence[Op]) -> Changes:
        sent = sum(isinstance(op, Send) for op in ops)
        entries = await reading(lambda: mongo_outbox.numbers(self._db, sent))  # numbers that a lost answer wastes are no loss

        async def act(session: AsyncClientSession) -> Changes:
            changes = Changes(ops, self._clock, entries)
            await changes.fetch(self._db, session)
            changes.apply()
            await changes.write(self._db, session)
            return changes

        return await transaction(self._client, self._db, act)

    async def _transaction(self, act: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        return await self._write(lambda: transaction(self._client, self._db, act))

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        self._writes += 1
        self._idle.clear()
        try:
            return await obeying(write)
        except DocumentTooLarge as wrong:
            raise unavailable(wrong) from wrong
        except BSONError as wrong:
            raise cause(wrong) from wrong
        finally:
            self._writes -= 1
            if not self._writes:
                self._idle.set()

    async def _sweep(self, now: int) -> None:
        """Forget what ended more than a day ago: by then no clock is wrong by enough to want it."""
        try:
            await self._db.kept.delete_many({"ends": {"$lt": now - DAY}})
        except PyMongoError:
            pass  # the next one does

    async def lease(self, remote: str, holder: str, at: datetime, seconds: float, count: int, reviews: bool = False) -> list[Queued]:
        return await self._transaction(lambda s: mongo_outbox.lease(self._db, s, remote, holder, at, seconds, count, reviews))

    async def requeue(
        self, remote: str, state: str, at: datetime, refs: Sequence[Ref] | None = None, *, into: str = "queued"
    ) -> int:
        return await self._transaction(lambda s: mongo_outbox.requeue(self._db, s, remote, state, refs, into))

    # -- sync ---------------------------------------------------------------------------------------------------------

    async def outbox(self, remote: str | None = None) -> dict[str, int]:
        match: Document = {} if remote is None else {"remote": {"$eq": remote}}
        rows = await self._steps("outbox", {"$match": match}, {"$group": {"_id": "$state", "n": {"$sum": 1}}})
        return {d["_id"]: d["n"] for d in rows}

    async def outbox_unfinished(self, remote: str) -> dict[tuple[str, str], tuple[int, datetime]]:
        match: Document = {"remote": {"$eq": remote}, "state": {"$in": ["queued", "leased", "parked"]}}
        group: Document = {"_id": {"state": "$state", "why": "$why"}, "n": {"$sum": 1}, "oldest": {"$min": "$queued_at"}}
        rows = await self._steps("outbox", {"$match": match}, {"$group": group})
        return {(d["_id"]["state"], d["_id"]["why"]): (d["n"], instant(d["oldest"])) for d in rows}

    async def outbox_items(self, remote: str, state: str, count: int = 100, *, patient: str | None = None, why: str | None = None) -> list[dict[str, Any]]:
        more = {k: {"$eq": v} for k, v in (("patient", patient), ("why", why)) if v is not None}
        filter = {"remote": {"$eq": remote}, "state": {"$eq": state}, **more}
        return [mongo_outbox.item(e) for e in await self._list("outbox", filter, sort=[("_id", 1)], count=count)] if count else []

    async def outbox_open(self, remote: str, refs: Sequence[Ref]) -> set[Ref]:
        rows = await self._steps("outbox", {"$match": {"open": {"$eq": remote}, "ref": {"$in": sorted(map(str, refs))}, "why": {"$ne": "review"}}}, {"$group": {"_id": "$ref"}})
        return {Ref(*d["_id"].split("/", 1)) for d in rows}

    async def link(self, remote: str, ref: Ref) -> Linked | None:
        return linked(await self._list("link", {"_id": {"$eq": linked_id(remote, ref)}}))

    async def link_by_remote(self, remote: str, remote_id: str) -> Linked | None:
        filter = {"there": {"$eq": f"{remote} {remote_id}"}, "_id.remote": {"$eq": remote}}
        return linking.newest(linking.decode(d["body"]) for d in await self._list("link", filter, sort=[("written", -1)]))

    async def links(self, remote: str, after: Ref | None = None, count: int = 500) -> list[Linked]:
        filter = {"_id.remote": {"$eq": remote}, "_id.ref": {"$gt": str(after or "")}}
        return [msgspec.msgpack.decode(d["body"], type=Linked) for d in await self._list("link", filter, sort=[("_id", 1)], count=count)]

    async def ledger(self, *, patient: str | None = None, remote: str | None = None, ref: Ref | None = None, open_only: bool = False) -> list[Disclosed]:
        filter = both(
            True if patient is None else {"patient": {"$eq": patient}},
            True if remote is None else {"remote": {"$eq": remote}},
            True if ref is None else {"type": {"$eq": ref.type}, "id": {"$eq": ref.id}},
            {"open": {"$gt": ""}} if open_only else True,
        )
        rows = await self._list("ledger", filter, {"body": 1}, sort=[("at", 1), ("type", 1), ("id", 1), ("version", 1)])
        return [msgspec.msgpack.decode(d["body"], type=Disclosed) for d in rows]

    # -- the operator's ------------------------------------------------------------------------------------------------

    async def counts(self) -> dict[str, int]:
        rows = await self._steps("resource", {"$match": {"live": True}}, {"$group": {"_id": "$type", "n": {"$sum": 1}}})
        return {d["_id"]: d["n"] for d in rows}

    async def check(self) -> None:
        await self._list("meta", {"_id": "format"})

    async def scrub(self) -> bool:
        """Never sure: what the servers do with the pages of a removed document is theirs to say (docs/retention.md)."""
        return False

    async def close(self) -> None:
        """What is under way is finished first."""
        self._closed = True
        if self._writes:
            await self._idle.wait()
        await self._client.close()


__all__ = ["MongoStore", "open"]
