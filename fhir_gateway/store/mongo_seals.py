"""Sealed segments of the trail in MongoDB: a row that is in a segment has its number as `seg`; the row itself stays as it is.

Rows of many processes become visible in any order: whatever has no `seg` yet is sealed next, however late it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pymongo.asynchronous.client_session import AsyncClientSession

from ..domain.sealing import Segment, TrailRow
from .base import Taken
from .mongo_documents import EON, Document
from .mongo_server import Database

ROW: Final = {"at": 1, "patient": 1, "user": 1, "note": 1, "seg": 1}


def row(d: Document) -> TrailRow:
    us, _, id = d["at"].partition(" ")
    return TrailRow(int(us) - EON, id, d["patient"], d["user"], d["note"], d["_id"])


def segment(d: Document) -> Segment:
    return Segment(int(d["_id"]), int(d["rows"]), d["head"], d["listed"])


def segment_document(s: Segment) -> Document:
    return {"_id": s.number, "rows": s.rows, "head": s.head, "listed": s.listed}


async def seal(db: Database, session: AsyncClientSession, s: Segment, rows: Sequence[TrailRow]) -> None:
    last: Any = await db.segment.find_one({}, {"_id": 1}, sort=[("_id", -1)], session=session)
    if (int(last["_id"]) if last else 0) + 1 != s.number:
        raise Taken("segment", str(s.number))
    await db.segment.insert_one(segment_document(s), session=session)
    done = await db.audit.update_many({"_id": {"$in": [r.place for r in rows]}, "seg": None}, {"$set": {"seg": s.number}}, session=session)
    if done.modified_count != len(rows):
        raise Taken("segment", str(s.number))
