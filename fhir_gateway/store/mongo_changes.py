"""What a commit changes: fetch what its operations name, apply them in memory one after the other, write what came out.

All of it inside one transaction. Two transactions that write the same document cannot both be: what a condition rests on is
therefore written (`guard`), never only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from zlib import crc32

import msgspec
from bson import ObjectId
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from ..domain import facts
from ..domain.periods import micros
from ..domain.types import (
    Bump,
    Close,
    Delay,
    Disclosed,
    Dispose,
    Drop,
    Expect,
    Keep,
    Linked,
    Note,
    Op,
    Place,
    Put,
    Relabel,
    Remove,
    Renew,
    Send,
)
from . import linking
from .base import HURRY, URGENT, Fenced, Moved, Stale, Taken
from .mongo_documents import (
    Document,
    current_document,
    deleted_document,
    kept_id,
    ledger_document,
    link_there,
    linked_id,
    note_document,
    resource_document,
    version_document,
)
from .mongo_server import Database, spread
from .written import encode_writer

DAY: Final = 86_400_000_000
SHARED: Final = "directory"  # the epoch that every writer expects: its guard is split, so that writers do not wait for each other
PARTS: Final = 16
LINK_PARTS: Final = 1_024  # guards of what is linked: so many that hardly two wait for each other
_BEFORE: Final = {"version": 1, "type": 1, "id": 1, "patient": 1, "created_by": 1, "facts": 1, "ties": 1, "live": 1}


class Changes:
    """One commit under way. `apply` raises StoreError or ValueError; nothing is written before `write`."""

    def __init__(self, ops: Sequence[Op], clock: Callable[[], datetime], entries: Sequence[int]) -> None:
        self.ops, self._clock = ops, clock
        self._entries = iter(entries)  # numbers for what is sent
        self.at = max((at for op in ops if (at := getattr(op, "at", None)) is not None), default=None)
        self.before: dict[str, Document] = {}
        self.resources: dict[str, Document] = {}
        self.versions: list[Document] = []
        self.ties: Counter[str] = Counter()
        self.kept: dict[str, Document | None] = {}
        self.kept_changed: set[str] = set()
        self.epochs: dict[str, int] = {}
        self.bumped: Counter[str] = Counter()
        self.expected: set[str] = set()
        self.outbox: dict[int, Document] = {}
        self.outbox_changed: set[int] = set()
        self.sent: list[Document] = []
        self.there: dict[tuple[str, str | None], set[str]] = {}  # open rows of whom a review or recall is queued: as many as say whether one stays
        self.links: dict[str, Document] = {}
        self.linked_before: dict[str, Linked] = {}  # of this commit's resources, and of others with the same copies there
        self.claimed: set[str] = set()  # copies there that a link is made live to
        self.ledger: dict[str, Document] = {}
        self.notes: list[Document] = []
        self.disposed: list[Dispose] = []

    def now(self) -> datetime:
        return self.at or self._clock()

    # -- fetch ------------------------------------------------------------------------------------------------------------

    async def fetch(self, db: Database, session: AsyncClientSession) -> None:
        names = {str(op.ref) for op in self.ops if isinstance(op, (Put, Relabel, Remove))}
        names |= {str(ref) for op in self.ops if isinstance(op, Dispose) for ref in op.refs}
        if names:
            async for d in db.resource.find({"_id": {"$in": sorted(names)}}, _BEFORE, session=session):
                self.before[d["_id"]] = d
        kept = {
            kept_id(op.kind, op.key) for op in self.ops
            if isinstance(op, Drop) or (isinstance(op, Keep) and (op.if_absent or op.if_value is not None))
        }  # fmt: skip
        if kept:
            async for d in db.kept.find({"_id": {"$in": sorted(kept)}}, session=session):
                self.kept[d["_id"]] = d
        subjects = {op.subject for op in self.ops if isinstance(op, Expect)}
        if subjects:
            async for d in db.epoch.find({"_id": {"$in": sorted(subjects)}}, session=session):
                self.epochs[d["_id"]] = d.get("value", 0)
        linked = [op for op in self.ops if isinstance(op, Linked)]
        if linked:
            either = [{"_id": {"$in": [linked_id(op.remote, op.ref) for op in linked]}}, {"there": {"$in": [link_there(op) for op in linked]}}]
            async for d in db.link.find({"$or": either}, {"body": 1}, session=session):
                link = linking.decode(d["body"])
                self.linked_before[f"{link.remote} {link.ref}"] = link
        entries = {op.entry for op in self.ops if isinstance(op, (Close, Delay, Renew, Place))}
        if entries:
            async for d in db.outbox.find({"_id": {"$in": sorted(entries)}}, session=session):
                self.outbox[d["_id"]] = d
        enough = 1 + sum(isinstance(op, Disclosed) for op in self.ops)
        urgent = {(op.remote, op.patient) for op in self.ops if isinstance(op, Send) and op.why in URGENT}
        for remote, person in urgent | {(e["remote"], e["patient"]) for e in self.outbox.values() if e["why"] in URGENT}:
            rows = db.ledger.find({"patient": person, "open": remote}, {"_id": 1}, session=session).limit(enough)
            self.there[remote, person] = {row_name(**d["_id"]) async for d in rows}

    # -- apply ------------------------------------------------------------------------------------------------------------

    def apply(self) -> None:
        for op in self.ops:
            if isinstance(op, Expect):  # an epoch as it was before this commit, wherever it stands in the list
                if self.epochs.get(op.subject, 0) != op.epoch:
                    raise Moved(op.subject)
                self.expected.add(op.subject)
        for op in self.ops:
            if not isinstance(op, Expect):
                _CHANGES[type(op)](self, op)

    def _current(self, op: Put | Remove) -> Document | None:
        if op.version != op.if_version + 1:
            raise ValueError(f"version {op.version} does not follow {op.if_version}")
        name = str(op.ref)
        now = self.resources.get(name) or self.before.get(name)
        if (now["version"] if now else 0) != op.if_version:
            raise Stale(op.ref)
        return now

    def _becomes(self, name: str, before: Document | None, after: Document) -> None:
        self.ties.update(after["ties"])
        self.ties.subtract((before or {}).get("ties") or ())
        self.resources[name] = after

    def put(self, op: Put) -> None:
        now = self._current(op)
        after = resource_document(op, now["created_by"] if now else op.writer.user)
        self._becomes(str(op.ref), now, after)
        self.versions.append(
            version_document(
                op.ref, op.version, after["updated"], after["patient"], after["created_by"], after["writer"], after["facts"], op.body,
                after.get("view"),
            )
        )  # fmt: skip

    def relabel(self, op: Relabel) -> None:
        now = self.resources.get(str(op.ref)) or self.before.get(str(op.ref))
        if now is None or now["version"] != op.version or now.get("live") is False:
            raise Stale(op.ref)
        view = None if op.view == op.body else op.view
        writer, known = encode_writer(op.writer), facts.encode(op.facts)
        after = current_document(op.version, micros(op.updated), now["created_by"], writer, known, op.facts, op.keys, op.body, view)
        self._becomes(str(op.ref), now, after)

    def remove(self, op: Remove) -> None:
        now = self._current(op)
        if now is None:
            raise Stale(op.ref)
        by, updated = encode_writer(op.writer), micros(op.at)
        self._becomes(str(op.ref), now, deleted_document(now, op.version, updated, by))
        self.versions.append(
            version_document(op.ref, op.version, updated, now.get("patient"), now.get("created_by"), by, now["facts"], None, None)
        )

    def dispose(self, op: Dispose) -> None:
        for ref in op.refs:
            self.ties.subtract(self.before.get(str(ref), {}).get("ties") or ())
        for kind, key in op.kept:
            self._keeps(kept_id(kind, key), None)
        self.disposed.append(op)

    def bump(self, op: Bump) -> None:
        self.bumped[op.subject] += 1

    def keep(self, op: Keep) -> None:
        id = kept_id(op.kind, op.key)
        there = self.kept.get(id)
        if op.if_absent and there and (there.get("ends") is None or there["ends"] > micros(self.now())):  # an ended one is not there
            raise Taken(op.kind, op.key)
        if op.if_value is not None and (there is None or there["value"] != op.if_value):
            raise Taken(op.kind, op.key)
        self._keeps(id, {"_id": id, "value": op.value} | ({} if op.expires is None else {"ends": micros(op.expires)}))

    def drop(self, op: Drop) -> None:
        id = kept_id(op.kind, op.key)
        if op.must_exist and self.kept.get(id) is None:
            raise Taken(op.kind, op.key)
        there = self.kept.get(id)
        if op.if_value is None or (there is not None and there["value"] == op.if_value):
            self._keeps(id, None)

    def _keeps(self, id: str, document: Document | None) -> None:
        self.kept[id] = document
        self.kept_changed.add(id)

    def send(self, op: Send) -> None:
        self.sent.append({
            "_id": next(self._entries), "remote": op.remote, "open": op.remote, "lane": op.lane, "ref": str(op.ref),
            "version": op.version, "patient": op.patient, "why": op.why, "state": "queued", "due": self._due(op.why, op.remote, op.patient), "queued_at": micros(self.now()),
            "tries": 0, "fence": 0, "holder": None, "taken": None, "until": None, "detail": "",
        })  # fmt: skip

    def _due(self, why: str, remote: str, person: str | None) -> int:
        return HURRY if why in URGENT and self.there[remote, person] else 0

    def _held(self, entry: int, fence: int) -> Document:
        there = self.outbox.get(entry)
        if there is None or there["fence"] != fence or there["state"] != "leased":
            raise Fenced(str(entry))
        self.outbox_changed.add(entry)
        return there

    def _given_back(self, entry: int, fence: int, **sets: Any) -> None:
        self._held(entry, fence).update(sets, holder=None, taken=None, until=None)

    def close(self, op: Close) -> None:
        if op.state in ("queued", "leased"):
            raise ValueError(f"an entry does not end as {op.state}")
        self._given_back(op.entry, op.fence, state=op.state, detail=op.detail)
        self.outbox[op.entry].pop("open", None)

    def delay(self, op: Delay) -> None:
        self._given_back(op.entry, op.fence, state="queued", due=micros(op.due), detail=op.detail)
        self.outbox[op.entry]["tries"] -= op.untried

    def renew(self, op: Renew) -> None:
        self._held(op.entry, op.fence)["until"] = micros(op.until)

    def place(self, op: Place) -> None:
        if op.was in ("queued", "leased"):
            raise ValueError(f"an entry that is {op.was} is a worker's")
        there = self.outbox.get(op.entry)
        if there is None or there["state"] != op.was:
            raise Fenced(str(op.entry))
        self.outbox_changed.add(op.entry)
        there["state"] = op.state
        if op.state == "queued":
            there.update(due=self._due(there["why"], there["remote"], there["patient"]), tries=0, open=there["remote"])

    def linked(self, op: Linked) -> None:
        name, there = f"{op.remote} {op.ref}", link_there(op)
        was = self.linked_before.get(name)
        linking.expected(op, was)
        if linking.becomes_live(op, was):
            linking.unclaimed(op, (link for link in self.linked_before.values() if link_there(link) == there))
            self.claimed.add(there)
        body = linking.encode(op)
        self.linked_before[name] = linking.decode(body)
        self.links[name] = {"_id": linked_id(op.remote, op.ref), "there": there, "written": ObjectId(), "body": body}

    def disclosed(self, op: Disclosed) -> None:
        """The same row again, with `recalled`, closes it."""
        at, recalled = micros(op.at), None if op.recalled is None else micros(op.recalled)
        row = ledger_document(op.remote, op.ref, op.version, at, op.patient, recalled, msgspec.msgpack.encode(op))
        name = row_name(op.remote, str(op.ref), op.version, at)
        self.ledger[name] = row
        there = self.there.get((op.remote, op.patient), set())
        (there.add if recalled is None else there.discard)(name)

    def note(self, op: Note) -> None:
        self.notes.append(note_document(ObjectId(), op))

    # -- write --------------------------------------------------------------------------------------------------------------

    async def write(self, db: Database, session: AsyncClientSession) -> None:
        writes: dict[str, list[Any]] = {
            "epoch": [UpdateOne({"_id": s}, {"$inc": {"value": n}}, upsert=True) for s, n in sorted(self.bumped.items())],
            "counter": self._guards(),
            "resource": [
                ReplaceOne({"_id": id}, d) if id in self.before else InsertOne(d) for id, d in sorted(self.resources.items())
            ],
            "version": [InsertOne(d) for d in self.versions],
            "tie": [UpdateOne({"_id": id}, {"$inc": {"n": n}}, upsert=True) for id, n in sorted(self.ties.items()) if n],
            "outbox": [InsertOne(d) for d in self.sent] + [ReplaceOne({"_id": i}, self.outbox[i]) for i in sorted(self.outbox_changed)],
            "link": [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in self.links.values()],
            "ledger": [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in self.ledger.values()],
            "audit": [InsertOne(d) for d in self.notes],
        }  # fmt: skip
        for name, several in writes.items():
            if several:
                await db[name].bulk_write(several, session=session)
        await self._write_kept(db, session)
        for op in self.disposed:
            await _disposed(db, session, op)

    def _guards(self) -> list[Any]:
        """Whoever expects an epoch writes to its guard; whoever moves it, to all of the guard: of the two only one commits. Of two that link the
        same copy there, too."""
        out: list[Any] = []
        for subject in sorted(self.expected | set(self.bumped)):
            parts = range(PARTS) if subject == SHARED and subject in self.bumped else [_part(subject)]
            out += [UpdateOne({"_id": f"guard {part} {subject}"}, {"$inc": {"n": 1}}, upsert=True) for part in parts]
        for part in sorted({crc32(there.encode()) % LINK_PARTS for there in self.claimed}):
            out.append(UpdateOne({"_id": f"guard link {part}"}, {"$inc": {"n": 1}}, upsert=True))
        return out

    async def _write_kept(self, db: Database, session: AsyncClientSession) -> None:
        gone = sorted(id for id in self.kept_changed if self.kept[id] is None)
        if gone:
            await db.kept.delete_many({"_id": {"$in": gone}}, session=session)
        stays = [ReplaceOne({"_id": id}, d, upsert=True) for id in sorted(self.kept_changed) if (d := self.kept[id]) is not None]
        if stays:
            await db.kept.bulk_write(stays, session=session)


def row_name(remote: str, ref: str, version: int, at: int) -> str:
    """Of a row of the ledger."""
    return f"{remote} {ref} {version} {at}"


async def _disposed(db: Database, session: AsyncClientSession, op: Dispose) -> None:
    names = sorted(map(str, op.refs))
    await db.resource.delete_many({"_id": {"$in": names}}, session=session)
    for ref in op.refs:
        await db.version.delete_many({"_id": {"$gte": f"{ref} ", "$lt": f"{ref}!"}}, session=session)  # `Type/id number`
        await db.ledger.delete_many({"type": ref.type, "id": ref.id}, session=session)
    await db.outbox.delete_many({"$or": [{"ref": {"$in": names}}, {"patient": op.person}]}, session=session)
    await db.ledger.delete_many({"patient": op.person}, session=session)
    await db.link.delete_many({"_id.ref": {"$in": names}}, session=session)


def _part(subject: str) -> int:
    return int(spread() * PARTS) if subject == SHARED else 0


_CHANGES: Final[dict[type, Callable[[Changes, Any], None]]] = {
    Put: Changes.put, Relabel: Changes.relabel, Remove: Changes.remove, Dispose: Changes.dispose, Bump: Changes.bump, Keep: Changes.keep, Drop: Changes.drop, Send: Changes.send,
    Close: Changes.close, Delay: Changes.delay, Renew: Changes.renew, Place: Changes.place, Linked: Changes.linked, Disclosed: Changes.disclosed, Note: Changes.note,
}  # fmt: skip
