"""The embedded store: one SQLite file, WAL, synchronous=FULL, one writer thread with group commit, readers per thread."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import apsw.bestpractice
import msgspec

from ..domain import audit
from ..domain import facts as facts_codec
from ..domain.predicate import matches
from ..domain.search import Query
from ..domain.types import (
    CONFIDENTIALITY,
    Bump,
    Close,
    Delay,
    Disclosed,
    Drop,
    Expect,
    Facts,
    Found,
    Keep,
    Linked,
    Note,
    Op,
    Predicate,
    Put,
    Queued,
    Ref,
    Remove,
    Send,
    Stored,
)  # fmt: skip
from ..domain.types import (
    Writer as By,
)
from . import sqlite_query
from .base import Fenced, Moved, Stale, Taken, Unavailable
from .sqlite_schema import migrate
from .sqlite_writer import Writer

BUSY_MS = 30_000
EPOCH0 = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = "r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient"
_by_encoder = msgspec.json.Encoder()
_by_decoder = msgspec.json.Decoder(By)


async def open(path: str | Path) -> SqliteStore:
    """Open (and bring up to date) the store in this file. Unavailable, in one sentence, when that cannot be."""
    return SqliteStore(Path(path))


def micros(at: datetime) -> int:
    d = at - EPOCH0
    return (d.days * 86_400 + d.seconds) * 1_000_000 + d.microseconds


def instant(us: int) -> datetime:
    return EPOCH0 + timedelta(microseconds=us)


class SqliteStore:
    """See `store.base.Store` for what each method promises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            db = self._connect()
            migrate(db)
            db.close()
        except apsw.NotADBError:
            raise Unavailable(f"{path} is not a gateway store: move it away or name another with GATEWAY_STORE.") from None
        except apsw.Error as e:
            raise Unavailable(f"{path} cannot be opened as a store ({e}): check the folder's rights and space.") from None
        self._local = threading.local()
        self._writer = Writer(self._connect, self._apply)
        self._appliers = {
            Put: _put, Remove: _remove, Note: _note, Bump: _bump, Expect: _expect, Keep: _keep, Drop: _drop, Send: _send,
            Close: _close, Delay: _delay, Linked: _linked, Disclosed: _disclosed,
        }  # fmt: skip

    def _connect(self) -> apsw.Connection:
        db = apsw.Connection(str(self.path), statementcachesize=500)
        db.set_busy_timeout(BUSY_MS)
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=OFF; PRAGMA temp_store=MEMORY;")
        db.execute("PRAGMA cache_size=-32000; PRAGMA wal_autocheckpoint=2000; PRAGMA mmap_size=268435456; PRAGMA recursive_triggers=ON;")
        return db

    def _apply(self, cursor: apsw.Cursor, op: Op) -> None:
        self._appliers[type(op)](cursor, op)  # type: ignore[operator]

    @property
    def _read(self) -> apsw.Connection:
        db = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._connect()
        return db

    def _rows(self, sql: str, params: Any = ()) -> list[Any]:
        try:
            return self._read.execute(sql, params).fetchall()
        except apsw.BusyError as e:
            raise Unavailable("the store is busy") from e

    async def commit(self, *ops: Op) -> None:
        if ops:
            await self._writer.submit(ops)

    async def get(self, ref: Ref) -> Stored | None:
        rows = self._rows(
            f"SELECT {COLUMNS}, e.value FROM resource r LEFT JOIN epoch e ON e.subject = r.patient WHERE r.type = ? AND r.id = ?", ref
        )
        return _stored(rows[0]) if rows else None

    async def get_many(self, refs: Sequence[Ref]) -> dict[Ref, Stored]:
        out = {}
        for ref in refs:
            found = await self.get(ref)
            if found is not None:
                out[ref] = found
        return out

    async def version(self, ref: Ref, version: int) -> Stored | None:
        rows = self._rows(f"SELECT {COLUMNS}, 0 FROM version r WHERE type = ? AND id = ? AND version = ?", (*ref, version))
        return _stored(rows[0]) if rows else None

    async def history(
        self, ref: Ref | None, type: str | None, predicate: Predicate, *, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50, oldest_first: bool = False,
    ) -> Found:  # fmt: skip
        where, params = ["1=1"], []
        if ref is not None:
            where.append("type = ? AND id = ?")
            params += [*ref]
        elif type is not None:
            where.append("type = ?")
            params.append(type)
        if since is not None:
            where.append("updated >= ?")
            params.append(micros(since))
        way, sign = ("ASC", ">") if oldest_first else ("DESC", "<")
        base = f"SELECT {COLUMNS}, 0 FROM version r WHERE {' AND '.join(where)}"
        hits: list[Stored] = []
        position = before
        while True:
            step = f" AND (updated, type, id, version) {sign} (?, ?, ?, ?)" if position is not None else ""
            sql = f"{base}{step} ORDER BY updated {way}, type {way}, id {way}, version {way} LIMIT {count + 1}"
            rows = self._rows(sql, (*params, *(position or ())))
            for row in rows:
                stored = _stored(row)
                if matches(predicate, stored.facts):
                    if len(hits) == count:
                        last = hits[-1]
                        return Found(tuple(hits), None, (micros(last.updated), last.ref.type, last.ref.id, last.version))
                    hits.append(stored)
                position = (row[3], row[0], row[1], row[2])
            if len(rows) <= count:
                return Found(tuple(hits))

    async def search(
        self, query: Query, predicate: Predicate, *, filtered: Predicate, count: int, after: tuple[Any, ...] | None = None,
        total: bool = False,
    ) -> Found:  # fmt: skip
        hits: list[Stored] = []
        position = None
        if count:
            sql, params = sqlite_query.select(query, predicate, filtered, count + 1, after)
            rows = self._rows(sql, params)
            hits = [_stored(row) for row in rows[:count]]
            position = sqlite_query.position(rows[count - 1]) if len(rows) > count else None
        exact = None
        if total:
            sql, params = sqlite_query.count_sql(query, predicate, filtered)
            exact = int(self._rows(sql, params)[0][0])
        return Found(tuple(hits), exact, position)

    async def patient_record(self, patient: str, types: Sequence[str]) -> list[Stored]:
        marks = ",".join("?" * len(types))
        sql = (
            f"SELECT {COLUMNS}, 0 FROM resource r WHERE deleted = 0 AND type IN ({marks}) AND rid IN "
            "(SELECT rid FROM acl WHERE field = 'patient' AND value = ?) ORDER BY type, id"
        )
        return [_stored(row) for row in self._rows(sql, (*types, patient))]

    async def patient_versions(self, patient: str, types: Sequence[str]) -> list[Stored]:
        marks = ",".join("?" * len(types))
        sql = f"SELECT {COLUMNS}, 0 FROM version r WHERE patient = ? AND type IN ({marks}) ORDER BY type, id, version"
        return [_stored(row) for row in self._rows(sql, (patient, *types))]

    async def directory(self, types: Sequence[str]) -> list[Stored]:
        marks = ",".join("?" * len(types))
        sql = f"SELECT {COLUMNS}, 0 FROM resource r WHERE deleted = 0 AND type IN ({marks}) ORDER BY type, id"
        return [_stored(row) for row in self._rows(sql, tuple(types))]

    async def concerned(self, ids: Collection[str]) -> set[str]:
        sql, params = sqlite_query.concerned_sql(ids)
        return {row[0] for row in self._rows(sql, params) if row[0]}

    async def epoch(self, subject: str) -> int:
        rows = self._rows("SELECT value FROM epoch WHERE subject = ?", (subject,))
        return rows[0][0] if rows else 0

    async def referrers(self, target: Ref) -> list[Ref]:
        sql = "SELECT r.type, r.id FROM acl a JOIN resource r ON r.rid = a.rid WHERE a.field = 'ref' AND a.value = ? AND r.deleted = 0"
        return [Ref(*row) for row in self._rows(sql, (str(target),))]

    async def notes(
        self, *, patient: str | None = None, user: str | None = None, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50,
    ) -> list[Note]:  # fmt: skip
        where, params = [], []
        for name, value in (("patient", patient), ("user", user)):
            if value is not None:
                where.append(f"{name} = ?")
                params.append(value)
        if since is not None:
            where.append("at >= ?")
            params.append(micros(since))
        if before is not None:
            where.append("(at, id) < (?, ?)")
            params += [*before]
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        sql = f"SELECT note FROM audit {clause} ORDER BY at DESC, id DESC LIMIT ?"
        return [audit.decode(row[0]) for row in self._rows(sql, (*params, count))]

    async def kept(self, kind: str, key: str, at: datetime) -> bytes | None:
        rows = self._rows("SELECT value, expires FROM kept WHERE kind = ? AND key = ?", (kind, key))
        if not rows or (rows[0][1] is not None and rows[0][1] <= micros(at)):
            return None
        return bytes(rows[0][0])

    async def kept_all(self, kind: str, at: datetime, prefix: str = "") -> dict[str, bytes]:
        sql = "SELECT key, value FROM kept WHERE kind = ? AND key >= ? AND key < ? AND (expires IS NULL OR expires > ?) ORDER BY key"
        return {k: bytes(v) for k, v in self._rows(sql, (kind, prefix, prefix + "\U0010ffff", micros(at)))}

    # -- sync ---------------------------------------------------------------------------------------------------------

    async def lease(self, remote: str, holder: str, at: datetime, seconds: float, count: int) -> list[Queued]:
        take = _Lease(remote, holder, micros(at), micros(at) + int(seconds * 1e6), count)
        self._appliers.setdefault(_Lease, _lease)  # type: ignore[arg-type]
        await self._writer.submit((take,))  # type: ignore[arg-type]
        return take.taken

    async def outbox(self, remote: str | None = None) -> dict[str, int]:
        clause, params = ("WHERE remote = ?", (remote,)) if remote else ("", ())
        return dict(self._rows(f"SELECT state, count(*) FROM outbox {clause} GROUP BY state", params))

    async def outbox_items(self, remote: str, state: str, count: int = 100) -> list[dict[str, Any]]:
        sql = (
            "SELECT entry, type || '/' || id, version, patient, why, tries, queued_at, due, detail FROM outbox "
            "WHERE remote = ? AND state = ? ORDER BY entry LIMIT ?"
        )
        names = ("entry", "ref", "version", "patient", "why", "tries", "queued_at", "due", "detail")
        items = [dict(zip(names, row, strict=True)) for row in self._rows(sql, (remote, state, count))]
        return [i | {"queued_at": instant(i["queued_at"]), "due": instant(i["due"])} for i in items]

    async def requeue(self, remote: str, state: str, at: datetime, refs: Sequence[Ref] | None = None) -> int:
        again = _Requeue(remote, state, micros(at), None if refs is None else tuple(refs))
        self._appliers.setdefault(_Requeue, _requeue)  # type: ignore[arg-type]
        await self._writer.submit((again,))  # type: ignore[arg-type]
        return again.moved

    async def link(self, remote: str, ref: Ref) -> Linked | None:
        rows = self._rows("SELECT body FROM link WHERE remote = ? AND type = ? AND id = ?", (remote, *ref))
        return _link(rows[0][0]) if rows else None

    async def link_by_remote(self, remote: str, remote_id: str) -> Linked | None:
        rows = self._rows("SELECT body FROM link WHERE remote = ? AND remote_id = ?", (remote, remote_id))
        return _link(rows[0][0]) if rows else None

    async def ledger(self, *, patient: str | None = None, remote: str | None = None, open_only: bool = False) -> list[Disclosed]:
        where, params = ["1=1"], []
        for name, value in (("patient", patient), ("remote", remote)):
            if value is not None:
                where.append(f"{name} = ?")
                params.append(value)
        if open_only:
            where.append("recalled IS NULL")
        sql = f"SELECT body FROM ledger WHERE {' AND '.join(where)} ORDER BY at, type, id"
        return [msgspec.msgpack.decode(row[0], type=Disclosed) for row in self._rows(sql, params)]

    # -- the operator's ------------------------------------------------------------------------------------------------

    async def counts(self) -> dict[str, int]:
        return dict(self._rows("SELECT type, count(*) FROM resource WHERE deleted = 0 GROUP BY type"))

    async def check(self) -> None:
        try:
            self._rows("SELECT 1 FROM epoch LIMIT 1")
        except apsw.Error as e:
            raise Unavailable(str(e)) from e

    def integrity(self) -> str:
        """`ok`, or what SQLite found wrong with the file."""
        return str(self._rows("PRAGMA integrity_check")[0][0])

    def backup(self, path: Path) -> None:
        """A consistent copy while serving."""
        target = apsw.Connection(str(path))
        with target.backup("main", self._read, "main") as copy:
            while not copy.done:
                copy.step(1000)
        target.close()

    async def close(self) -> None:
        self._writer.close()
        db = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local.db = None


def _stored(row: Any) -> Stored:
    type, id, version, updated, body, view, facts, writer, created_by, _, epoch = row[:11]
    return Stored(
        Ref(type, id), version, instant(updated), body, view, facts_codec.decode(facts), _by_decoder.decode(writer), epoch or 0, created_by
    )


# -- operations, inside the writer's transaction ---------------------------------------------------------------------------


def _current(cursor: apsw.Cursor, ref: Ref) -> tuple[Any, ...] | None:
    return cursor.execute("SELECT rid, version, created_by, facts, patient FROM resource WHERE type = ? AND id = ?", ref).fetchone()


def _put(cursor: apsw.Cursor, op: Put) -> None:
    now = _current(cursor, op.ref)
    if (now[1] if now else 0) != op.if_version:
        raise Stale(op.ref)
    facts, by = facts_codec.encode(op.facts), _by_encoder.encode(op.writer)
    patient = op.facts.patients[0] if op.facts.patients else None
    created_by = now[2] if now else op.writer.user
    updated = micros(op.at)
    values = (
        op.version, patient, updated, CONFIDENTIALITY.get(op.facts.confidentiality, 4), op.facts.low, op.facts.high, op.body, op.view,
        facts, by, created_by,
    )  # fmt: skip
    if now:
        rid = now[0]
        cursor.execute(
            "UPDATE resource SET version=?, patient=?, updated=?, conf=?, d0=?, d1=?, body=?, view=?, facts=?, writer=?, created_by=?, "
            "deleted=0 WHERE rid=?",
            (*values, rid),
        )
    else:
        cursor.execute(
            "INSERT INTO resource(version, patient, updated, conf, d0, d1, body, view, facts, writer, created_by, type, id) "
            "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*values, *op.ref),
        )
        rid = cursor.connection.last_insert_rowid()
    cursor.execute(
        "INSERT INTO version(type, id, version, patient, updated, body, view, facts, writer, created_by) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (*op.ref, op.version, patient, updated, op.body, op.view, facts, by, created_by),
    )
    sqlite_query.index(cursor, rid, op.ref.type, patient, op.keys, op.facts)


def _remove(cursor: apsw.Cursor, op: Remove) -> None:
    now = _current(cursor, op.ref)
    if now is None or now[1] != op.if_version:
        raise Stale(op.ref)
    rid, _, created_by, facts, patient = now
    by, updated = _by_encoder.encode(op.writer), micros(op.at)
    cursor.execute(
        "UPDATE resource SET version=?, updated=?, body=NULL, view=NULL, writer=?, deleted=1 WHERE rid=?", (op.version, updated, by, rid)
    )
    cursor.execute(
        "INSERT INTO version(type, id, version, patient, updated, body, view, facts, writer, created_by) VALUES (?,?,?,?,?,NULL,NULL,?,?,?)",
        (*op.ref, op.version, patient, updated, facts, by, created_by),
    )
    sqlite_query.unindex(cursor, rid)


def _note(cursor: apsw.Cursor, op: Note) -> None:
    cursor.execute(
        "INSERT INTO audit(at, id, patient, user, note) VALUES (?,?,?,?,?)", (micros(op.at), op.id, op.patient, op.user, audit.encode(op))
    )


def _bump(cursor: apsw.Cursor, op: Bump) -> None:
    cursor.execute("INSERT INTO epoch VALUES (?, 1) ON CONFLICT(subject) DO UPDATE SET value = value + 1", (op.subject,))


def _expect(cursor: apsw.Cursor, op: Expect) -> None:
    row = cursor.execute("SELECT value FROM epoch WHERE subject = ?", (op.subject,)).fetchone()
    if (row[0] if row else 0) != op.epoch:
        raise Moved(op.subject)


def _keep(cursor: apsw.Cursor, op: Keep) -> None:
    if op.if_absent or op.if_value is not None:
        row = cursor.execute("SELECT value, expires FROM kept WHERE kind = ? AND key = ?", (op.kind, op.key)).fetchone()
        if op.if_absent and row is not None and not _ended(row[1], op):
            raise Taken(op.kind, op.key)
        if op.if_value is not None and (row is None or bytes(row[0]) != op.if_value):
            raise Taken(op.kind, op.key)
    expires = micros(op.expires) if op.expires else None
    cursor.execute("INSERT OR REPLACE INTO kept VALUES (?,?,?,?)", (op.kind, op.key, op.value, expires))


def _ended(expires: int | None, op: Keep) -> bool:
    """An ended value does not stand in the way of a later one with an end of its own."""
    import time

    return expires is not None and expires <= time.time_ns() // 1000


def _drop(cursor: apsw.Cursor, op: Drop) -> None:
    cursor.execute("DELETE FROM kept WHERE kind = ? AND key = ?", (op.kind, op.key))
    if op.must_exist and cursor.connection.changes() == 0:
        raise Taken(op.kind, op.key)


def _send(cursor: apsw.Cursor, op: Send) -> None:
    import time

    now = time.time_ns() // 1000
    cursor.execute(
        "INSERT INTO outbox(remote, type, id, version, patient, why, due, queued_at) VALUES (?,?,?,?,?,?,0,?)",
        (op.remote, *op.ref, op.version, op.patient, op.why, now),
    )


def _held(cursor: apsw.Cursor, entry: int, fence: int) -> None:
    row = cursor.execute("SELECT fence, state FROM outbox WHERE entry = ?", (entry,)).fetchone()
    if row is None or row[0] != fence or row[1] != "leased":
        raise Fenced(str(entry))


def _close(cursor: apsw.Cursor, op: Close) -> None:
    _held(cursor, op.entry, op.fence)
    cursor.execute("UPDATE outbox SET state = ?, detail = ?, holder = NULL, until = NULL WHERE entry = ?", (op.state, op.detail, op.entry))


def _delay(cursor: apsw.Cursor, op: Delay) -> None:
    _held(cursor, op.entry, op.fence)
    cursor.execute(
        "UPDATE outbox SET state = 'queued', due = ?, detail = ?, holder = NULL, until = NULL WHERE entry = ?",
        (micros(op.due), op.detail, op.entry),
    )


def _linked(cursor: apsw.Cursor, op: Linked) -> None:
    cursor.execute("INSERT OR REPLACE INTO link VALUES (?,?,?,?,?)", (op.remote, *op.ref, op.remote_id, msgspec.msgpack.encode(op)))


def _link(body: bytes) -> Linked:
    return msgspec.msgpack.decode(body, type=Linked)


def _disclosed(cursor: apsw.Cursor, op: Disclosed) -> None:
    recalled = micros(op.recalled) if op.recalled else None
    cursor.execute(
        "INSERT OR REPLACE INTO ledger VALUES (?,?,?,?,?,?,?,?)",
        (op.remote, *op.ref, op.version, micros(op.at), op.patient, recalled, msgspec.msgpack.encode(op)),
    )


class _Lease:
    __slots__ = ("at", "count", "holder", "remote", "taken", "until")

    def __init__(self, remote: str, holder: str, at: int, until: int, count: int) -> None:
        self.remote, self.holder, self.at, self.until, self.count = remote, holder, at, until, count
        self.taken: list[Queued] = []


def _lease(cursor: apsw.Cursor, op: _Lease) -> None:
    """The oldest due entry of each person (and of each resource without one) whose earlier entries are all done."""
    cursor.execute(
        "UPDATE outbox SET state = 'queued', holder = NULL WHERE remote = ? AND state = 'leased' AND until <= ?", (op.remote, op.at)
    )
    rows = cursor.execute(
        "SELECT entry, type, id, version, patient, why, tries, queued_at FROM outbox o WHERE remote = ? AND state = 'queued' AND due <= ? "
        "AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.remote = o.remote AND p.state IN ('queued', 'leased') AND p.entry < o.entry "
        "AND p.patient IS o.patient AND (o.patient IS NOT NULL OR (p.type = o.type AND p.id = o.id))) ORDER BY entry LIMIT ?",
        (op.remote, op.at, op.count),
    ).fetchall()
    for entry, type, id, version, patient, why, tries, queued_at in rows:
        cursor.execute(
            "UPDATE outbox SET state='leased', holder=?, until=?, fence=fence+1, tries=tries+1 WHERE entry=?", (op.holder, op.until, entry)
        )
        fence = cursor.execute("SELECT fence FROM outbox WHERE entry = ?", (entry,)).fetchone()[0]
        op.taken.append(Queued(entry, fence, op.remote, Ref(type, id), version, patient, why, tries, instant(queued_at)))


class _Requeue:
    __slots__ = ("at", "moved", "refs", "remote", "state")

    def __init__(self, remote: str, state: str, at: int, refs: tuple[Ref, ...] | None) -> None:
        self.remote, self.state, self.at, self.refs, self.moved = remote, state, at, refs, 0


def _requeue(cursor: apsw.Cursor, op: _Requeue) -> None:
    if op.refs is None:
        cursor.execute("UPDATE outbox SET state='queued', due=0 WHERE remote=? AND state=?", (op.remote, op.state))
        op.moved = cursor.connection.changes()
        return
    for ref in op.refs:
        cursor.execute("UPDATE outbox SET state='queued', due=0 WHERE remote=? AND state=? AND type=? AND id=?", (op.remote, op.state, *ref))
        op.moved += cursor.connection.changes()


__all__ = ["Facts", "SqliteStore", "open"]
