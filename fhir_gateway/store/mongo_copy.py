"""The MongoDB store as rows. While a copy is under way, a mark keeps every gateway from starting on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from ..domain import facts
from ..domain.sealing import Segment
from ..domain.types import Ref
from . import mongo_server
from .base import Unavailable
from .copying import BATCH, PARTS, Row, key_of, plain
from .mongo_documents import (
    EON,
    Document,
    current_document,
    deleted_document,
    kept_id,
    ledger_document,
    linked_id,
    version_document,
)
from .mongo_seals import segment as segment_row
from .mongo_seals import segment_document
from .mongo_server import COPYING, unavailable

_ORDER: Final = {"link": "written"}


class MongoRows:
    def __init__(self, uri: str) -> None:
        self._client, self._db = mongo_server.connect(uri)

    async def open(self) -> MongoRows:
        """To be copied from. Unavailable when it cannot be used, or when nothing is there: nothing is made of it then."""
        try:
            there = set(await self._db.list_collection_names()) & set(mongo_server.INDEXES)
        except PyMongoError as wrong:
            raise unavailable(wrong) from wrong
        if not there:
            raise Unavailable(f"There is no store in the MongoDB database `{self._db.name}`: name the one to copy from.")
        await mongo_server.prepare(self._client, self._db)
        return self

    async def begin(self) -> None:
        try:
            there = sorted(set(await self._db.list_collection_names()) & set(mongo_server.INDEXES))
            if there or await self._db.meta.find_one({"_id": COPYING}):
                raise Unavailable(
                    f"The MongoDB database `{self._db.name}` is not empty: name one that is not there, or drop it first (db.dropDatabase())."
                )
            await mongo_server.prepare(self._client, self._db)
            await self._db.meta.insert_one({"_id": COPYING})
        except PyMongoError as wrong:
            raise unavailable(wrong) from wrong

    async def finish(self) -> None:
        await self._db.meta.delete_one({"_id": COPYING})

    async def close(self) -> None:
        await self._client.close()

    async def counts(self) -> dict[str, int]:
        return {part: await self._db[part].count_documents({}) for part in PARTS if part != "number"} | {"number": 1}

    async def read(self, part: str) -> AsyncIterator[list[Row]]:
        if part == "number":
            d: Any = await self._db.counter.find_one({"_id": "outbox"})
            yield [(int(d["n"]) if d else 0,)]
            return
        batch: list[Row] = []
        async for d in self._all(part):
            batch.append(tuple(plain(v) for v in _ROWS[part](d)))
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _all(self, part: str) -> AsyncIterator[Document]:
        """Every document, in the order of `PARTS`."""
        if part == "audit":
            looks = [({"seg": {"$gt": 0}}, [("seg", 1), ("at", 1)]), ({"seg": None}, [("at", 1)])]
        else:
            looks = [({}, [(_ORDER.get(part, "_id"), 1)])]
        for filter, order in looks:
            async for d in self._db[part].find(filter, batch_size=BATCH).sort(order):
                yield d

    async def write(self, part: str, rows: Sequence[Row]) -> None:
        if part == "number":
            await self._db.counter.update_one({"_id": "outbox"}, {"$max": {"n": rows[0][0]}}, upsert=True)
            return
        documents = [_DOCUMENTS[part](row) for row in rows]
        try:
            await self._db[part].insert_many(documents)
            if part == "segment":
                for row in rows:
                    await self._seal(row[0], row[1])
            if part == "resource":
                await self._tie(documents)
        except PyMongoError as wrong:
            raise unavailable(wrong) from wrong

    async def _seal(self, number: int, count: int) -> None:
        """The next rows, as they were written, are of this segment."""
        names = [d["_id"] async for d in self._db.audit.find({"seg": None}, {"_id": 1}).sort("_id", 1).limit(count)]
        await self._db.audit.update_many({"_id": {"$in": names}}, {"$set": {"seg": number}})

    async def _tie(self, documents: list[Document]) -> None:
        ties = Counter(tie for d in documents for tie in d["ties"])
        if ties:
            await self._db.tie.bulk_write([UpdateOne({"_id": tie}, {"$inc": {"n": n}}, upsert=True) for tie, n in sorted(ties.items())])


# -- documents to rows ----------------------------------------------------------------------------------------------------


def _version_row(d: Document) -> Row:
    names = ("type", "id", "version", "patient", "updated", "created_by", "writer", "facts", "body")
    return (*(d[n] for n in names), d.get("view"))


def _resource_row(d: Document) -> Row:
    keys = [
        (k["n"], k.get("t", ""), k.get("s", ""), k.get("x", ""), plain(k.get("l")), plain(k.get("h")), int(k.get("z", 0)))
        for k in d.get("key", ())
    ]
    return (*_version_row(d), not d["live"], keys)


def _kept_row(d: Document) -> Row:
    kind, _, key = d["_id"].partition(" ")
    return kind, key, d["value"], d.get("ends")


def _audit_row(d: Document) -> Row:
    us, _, id = d["at"].partition(" ")
    return int(us) - EON, id, d["patient"], d["user"], d["note"]


def _outbox_row(d: Document) -> Row:
    type, _, id = d["ref"].partition("/")
    names = ("version", "patient", "why", "state", "due", "queued_at", "tries", "fence", "holder", "taken", "until", "detail")
    return (d["_id"], d["remote"], d["lane"], type, id, *(d[n] for n in names))


def _link_row(d: Document) -> Row:
    type, _, id = d["_id"]["ref"].partition("/")
    remote = d["_id"]["remote"]
    return remote, type, id, d["there"][len(remote) + 1 :], d["body"]


def _ledger_row(d: Document) -> Row:
    return d["remote"], d["type"], d["id"], d["version"], d["at"], d["patient"], d.get("recalled"), d["body"]


_ROWS: Final[dict[str, Callable[[Document], Row]]] = {
    "version": _version_row, "resource": _resource_row, "epoch": lambda d: (d["_id"], d["value"]), "audit": _audit_row, "segment": segment_row, "kept": _kept_row,
    "outbox": _outbox_row, "link": _link_row, "ledger": _ledger_row,
}  # fmt: skip


# -- rows to documents ------------------------------------------------------------------------------------------------------


def _version_of(row: Row) -> Document:
    type, id, version, patient, updated, created_by, writer, known, body, view = row
    return version_document(Ref(type, id), version, updated, patient, created_by, writer, known, body, view)


def _resource_of(row: Row) -> Document:
    type, id, version, patient, updated, created_by, writer, known, body, view, deleted, keys = row
    if deleted:
        before = {"_id": f"{type}/{id}", "type": type, "id": id, "patient": patient, "created_by": created_by, "facts": known}
        return deleted_document(before, version, updated, writer)
    return current_document(version, updated, created_by, writer, known, facts.decode(known), [key_of(k) for k in keys], body, view)


def _audit_of(row: Row) -> Document:
    at, id, patient, user, note = row
    return {"_id": ObjectId(), "at": f"{at + EON:018d} {id}", "id": id, "patient": patient, "user": user, "note": note}


def _kept_of(row: Row) -> Document:
    kind, key, value, expires = row
    return {"_id": kept_id(kind, key), "value": value} | ({} if expires is None else {"ends": expires})


def _outbox_of(row: Row) -> Document:
    d = dict(zip(PARTS["outbox"], row, strict=True))
    d["_id"], d["ref"] = d.pop("entry"), f"{d.pop('type')}/{d.pop('id')}"
    return d | ({"open": d["remote"]} if d["state"] in ("queued", "leased") else {})


def _link_of(row: Row) -> Document:
    remote, type, id, remote_id, body = row
    return {"_id": linked_id(remote, Ref(type, id)), "there": f"{remote} {remote_id}", "written": ObjectId(), "body": body}


def _ledger_of(row: Row) -> Document:
    remote, type, id, version, at, patient, recalled, body = row
    return ledger_document(remote, Ref(type, id), version, at, patient, recalled, body)


_DOCUMENTS: Final[dict[str, Callable[[Row], Document]]] = {
    "version": _version_of, "resource": _resource_of, "epoch": lambda row: {"_id": row[0], "value": row[1]}, "audit": _audit_of,
    "segment": lambda row: segment_document(Segment(*row)),
    "kept": _kept_of, "outbox": _outbox_of, "link": _link_of, "ledger": _ledger_of,
}  # fmt: skip
