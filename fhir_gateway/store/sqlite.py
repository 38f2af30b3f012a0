"""The embedded store: one SQLite file, WAL, synchronous=FULL, one writer thread with group commit, a reading connection a thread.

Reads run where they are called: a look-up costs less than handing it to another thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from ..domain import audit
from ..domain.periods import instant, micros
from ..domain.sealing import Segment, TrailRow
from ..domain.search import Query
from ..domain.types import Disclosed, Found, Linked, Note, Op, Predicate, Queued, Ref, Stored, Views
from . import linking, sqlite_changes, sqlite_file, sqlite_query, sqlite_seals
from .base import AT_A_TIME, TooLong, Unavailable
from .sqlite_history import Chapter
from .sqlite_outbox import Lease, Requeue
from .sqlite_rows import COLUMNS, stored
from .sqlite_writer import Writer

STEPS = 20_000  # of the engine's virtual machine between two looks at the clock: about a millisecond
_GET = f"SELECT {COLUMNS} FROM resource r WHERE r.type = ? AND r.id = ?"
_VERSION = f"SELECT {COLUMNS} FROM version r WHERE r.type = ? AND r.id = ? AND r.version = ?"


def _undated() -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC)


async def open(path: str | Path, *, key: str | None = None, clock: Callable[[], datetime] = _undated, search_seconds: float = 5.0) -> SqliteStore:
    """Open (make, bring up to date) the store in this file. Unavailable, in one sentence, when that cannot be.

    `key`, 64 hex digits, encrypts the file, its log and its backups. `clock` (from `wiring`) dates the few operations of a commit that holds nothing dated.
    A search is given up after `search_seconds` of work: reads run where they are called, and others wait.
    """
    where = Path(path)
    await asyncio.to_thread(sqlite_file.prepare, where, key)
    return SqliteStore(where, key, clock, search_seconds)


class SqliteStore:
    """See `store.base.Store` for what each method promises."""

    largest_link: Final = 900_000_000  # of the 1,000,000,000 bytes of one value

    def __init__(self, path: Path, key: str | None, clock: Callable[[], datetime], search_seconds: float = 5.0) -> None:
        self.path, self._key, self._search_seconds = path, key, search_seconds
        self._inode = sqlite_file.inode(path)
        self._local = threading.local()
        self._readers: list[apsw.Connection] = []
        self._writer = Writer(lambda: sqlite_file.connect(path, key), sqlite_changes.apply, clock)

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def _reader(self) -> apsw.Connection:
        try:
            db: apsw.Connection = self._local.db
        except AttributeError:
            db = self._local.db = sqlite_file.connect(self.path, self._key, reading=True)
            self._readers.append(db)
        return db

    def _rows(self, sql: str, params: Any = ()) -> list[Any]:
        try:
            return self._reader.execute(sql, params).fetchall()
        except sqlite_file.FAILING as wrong:
            raise sqlite_file.unavailable(wrong) from wrong
        except apsw.InterruptError:
            raise TooLong("the question took too long") from None
        except apsw.ConnectionClosedError:
            raise Unavailable("the store is closed") from None

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """What is asked inside may take `search_seconds` in all. TooLong."""
        end, db = time.monotonic() + self._search_seconds, self._reader
        db.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        try:
            yield
        finally:
            db.set_progress_handler(None)

    @contextmanager
    def _instant(self) -> Iterator[None]:
        """Several reads of one moment: none of them sees half a commit. Nothing may be awaited inside."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            self._rows("COMMIT")

    async def get(self, ref: Ref) -> Stored | None:
        rows = self._rows(_GET, ref)
        return stored(rows[0]) if rows else None

    async def get_many(self, refs: Sequence[Ref]) -> dict[Ref, Stored]:
        with self._instant():
            found = {ref: self._rows(_GET, ref) for ref in refs}
        return {ref: stored(rows[0]) for ref, rows in found.items() if rows}

    async def version(self, ref: Ref, version: int) -> Stored | None:
        rows = self._rows(_VERSION, (*ref, version))
        return stored(rows[0]) if rows else None

    async def history(
        self, ref: Ref | None, type: str | None, predicate: Predicate, *, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50, oldest_first: bool = False,
    ) -> Found:  # fmt: skip
        chapter = Chapter(ref, type, predicate, since, oldest_first)
        hits: list[Stored] = []
        while True:
            rows = self._rows(*chapter.page(before, max(count + 1, 100)))
            for row in rows:
                before = chapter.position(row)
                if chapter.shows(row, self._rows):
                    hits.append(stored(row))
                    if len(hits) > count:
                        return Found(tuple(hits[:count]), None, chapter.position_of(hits[count - 1]) if count else None)
            if chapter.ends(rows):
                return Found(tuple(hits))
            await asyncio.sleep(0)  # a predicate that hides much may need many pages: others want their turn

    async def search(
        self, query: Query, predicate: Predicate, *, filtered: Predicate | Views, count: int, after: tuple[Any, ...] | None = None,
        total: bool = False,
    ) -> Found:  # fmt: skip
        rows: list[Any] = []
        exact: int | None = None
        with self._instant(), self._bounded():
            if count:
                rows = self._rows(*sqlite_query.select(query, predicate, filtered, count + 1, after))
            if total:
                exact = self._rows(*sqlite_query.count_sql(query, predicate, filtered))[0][0]
        hits = tuple(stored(row) for row in rows[:count])
        if not count or len(rows) <= count:
            return Found(hits, exact)
        return Found(hits, exact, sqlite_query.position(rows[count - 1]), {"beyond": stored(rows[count]).facts.patients})

    async def patient_record(self, patient: str, types: Sequence[str]) -> list[Stored]:
        sql = (
            f"SELECT {COLUMNS} FROM acl a CROSS JOIN resource r ON r.rid = a.rid WHERE a.field = 'patient' AND a.value = ? "
            f"AND r.deleted = 0 AND r.type IN ({_marks(types)}) ORDER BY r.type, r.id"
        )
        return [stored(row) for row in self._rows(sql, (patient, *types))]

    async def patient_versions(self, patient: str, types: Sequence[str]) -> list[Stored]:
        sql = (
            f"SELECT {COLUMNS} FROM version r WHERE r.patient = ? AND r.type IN ({_marks(types)}) ORDER BY r.type, r.id, r.version"
        )
        return [stored(row) for row in self._rows(sql, (patient, *types))]

    async def directory(self, types: Sequence[str]) -> list[Stored]:
        sql = f"SELECT {COLUMNS} FROM resource r WHERE r.deleted = 0 AND r.type IN ({_marks(types)}) ORDER BY r.type, r.id"
        return [stored(row) for row in self._rows(sql, tuple(types))]

    async def concerned(self, ids: Collection[str]) -> set[str]:
        return {row[0] for row in self._rows(*sqlite_query.concerned_sql(ids)) if row[0]} if ids else set()

    async def epoch(self, subject: str) -> int:
        rows = self._rows("SELECT value FROM epoch WHERE subject = ?", (subject,))
        return rows[0][0] if rows else 0

    async def referrers(self, target: Ref) -> list[Ref]:
        sql = (
            "SELECT r.type, r.id FROM acl a JOIN resource r ON r.rid = a.rid WHERE a.field = 'ref' AND a.value = ? AND r.deleted = 0 "
            "ORDER BY r.type, r.id"
        )
        return [Ref(*row) for row in self._rows(sql, (str(target),))]

    async def notes(
        self, *, patient: str | None = None, user: str | None = None, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50,
    ) -> list[Note]:  # fmt: skip
        where, params = _equal({"patient": patient, "user": user})
        if since is not None:
            where.append("at >= ?")
            params.append(micros(since))
        if before is not None:
            where.append("(at, id) < (?, ?)")
            params += before
        rows = self._rows(f"SELECT note FROM audit{_where(where)} ORDER BY at DESC, id DESC LIMIT ?", (*params, count))
        return [audit.decode(row[0]) for row in rows]

    async def note(self, id: str) -> Note | None:
        rows = self._rows("SELECT note FROM audit WHERE id = ? LIMIT 1", (id,))
        return audit.decode(rows[0][0]) if rows else None

    async def unsealed(self, count: int) -> list[TrailRow]:
        return sqlite_seals.unsealed(self._rows, count)

    async def waiting(self) -> int:
        return sqlite_seals.waiting(self._rows)

    async def seal(self, segment: Segment, rows: Sequence[TrailRow]) -> None:
        await self._writer.submit((sqlite_seals.Seal(segment, rows),))

    async def segments(self, after: int = 0, count: int = 100) -> list[Segment]:
        return sqlite_seals.segments(self._rows, after, count)

    async def segment_rows(self, number: int) -> list[TrailRow]:
        return sqlite_seals.segment_rows(self._rows, number)

    async def rows_of(self, patient: str) -> list[tuple[int | None, TrailRow]]:
        return sqlite_seals.rows_of(self._rows, patient)

    async def strays(self) -> list[TrailRow]:
        return sqlite_seals.strays(self._rows)

    async def kept(self, kind: str, key: str, at: datetime) -> bytes | None:
        rows = self._rows("SELECT value, expires FROM kept WHERE kind = ? AND key = ?", (kind, key))
        if not rows or (rows[0][1] is not None and rows[0][1] <= micros(at)):
            return None
        value: bytes = rows[0][0]
        return value

    async def kept_all(self, kind: str, at: datetime, prefix: str = "") -> dict[str, bytes]:
        sql = (
            "SELECT key, value FROM kept WHERE kind = ? AND key >= ? AND key < ? AND (expires IS NULL OR expires > ?) ORDER BY key"
        )
        return dict(self._rows(sql, (kind, prefix, prefix + "\U0010ffff", micros(at))))

    async def kept_each(self, kind: str, at: datetime, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        sql = "SELECT key, value FROM kept WHERE kind = ? AND key >= ? AND key < ? AND key > ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?"
        last = ""
        while rows := self._rows(sql, (kind, prefix, prefix + "\U0010ffff", last, micros(at), AT_A_TIME)):
            for key, value in rows:
                yield key, value
            last = rows[-1][0]
            await asyncio.sleep(0)

    async def kept_count(self, kind: str, at: datetime, prefix: str = "") -> int:
        sql = "SELECT count(*) FROM kept WHERE kind = ? AND key >= ? AND key < ? AND (expires IS NULL OR expires > ?)"
        return int(self._rows(sql, (kind, prefix, prefix + "\U0010ffff", micros(at)))[0][0])

    # -- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, *ops: Op) -> None:
        if ops:
            await self._writer.submit(ops)

    async def lease(self, remote: str, holder: str, at: datetime, seconds: float, count: int, reviews: bool = False) -> list[Queued]:
        lease = Lease(remote, holder, at, seconds, count, reviews)
        await self._writer.submit((lease,))
        return lease.taken

    async def requeue(
        self, remote: str, state: str, at: datetime, refs: Sequence[Ref] | None = None, *, into: str = "queued"
    ) -> int:
        again = Requeue(remote, state, at, None if refs is None else tuple(refs), into)
        await self._writer.submit((again,))
        return again.moved

    # -- sync ---------------------------------------------------------------------------------------------------------

    async def outbox(self, remote: str | None = None) -> dict[str, int]:
        where, params = _equal({"remote": remote})
        return dict(self._rows(f"SELECT state, count(*) FROM outbox{_where(where)} GROUP BY state", params))

    async def outbox_unfinished(self, remote: str) -> dict[tuple[str, str], tuple[int, datetime]]:
        sql = "SELECT state, why, count(*), min(queued_at) FROM outbox WHERE remote = ? AND state IN ('queued', 'leased', 'parked') GROUP BY state, why"
        return {(state, why): (n, instant(oldest)) for state, why, n, oldest in self._rows(sql, (remote,))}

    async def outbox_items(self, remote: str, state: str, count: int = 100, *, patient: str | None = None, why: str | None = None) -> list[dict[str, Any]]:
        names = ("entry", "ref", "version", "patient", "why", "tries", "queued_at", "due", "detail", "holder", "until")
        where, params = _equal({"remote": remote, "state": state, "patient": patient, "why": why})
        sql = f"SELECT entry, type || '/' || id, version, patient, why, tries, queued_at, due, detail, holder, until FROM outbox{_where(where)} ORDER BY entry LIMIT ?"
        items = [dict(zip(names, row, strict=True)) for row in self._rows(sql, (*params, count))]
        for item in items:
            item |= {name: instant(item[name]) for name in ("queued_at", "due", "until") if item[name] is not None}
        return items

    async def outbox_open(self, remote: str, refs: Sequence[Ref]) -> set[Ref]:
        sql = "SELECT 1 FROM outbox WHERE remote = ? AND type = ? AND id = ? AND state IN ('queued', 'leased') AND why <> 'review' LIMIT 1"
        return {ref for ref in refs if self._rows(sql, (remote, *ref))}

    async def link(self, remote: str, ref: Ref) -> Linked | None:
        return _one(Linked, self._rows("SELECT body FROM link WHERE remote = ? AND type = ? AND id = ?", (remote, *ref)))

    async def link_by_remote(self, remote: str, remote_id: str) -> Linked | None:
        sql = "SELECT body FROM link WHERE remote = ? AND remote_id = ? ORDER BY rowid DESC"
        return linking.newest(linking.decode(row[0]) for row in self._rows(sql, (remote, remote_id)))

    async def links(self, remote: str, after: Ref | None = None, count: int = 500) -> list[Linked]:
        sql = "SELECT body FROM link WHERE remote = ? AND (type, id) > (?, ?) ORDER BY type, id LIMIT ?"
        return [msgspec.msgpack.decode(row[0], type=Linked) for row in self._rows(sql, (remote, *(after or ("", "")), count))]

    async def ledger(self, *, patient: str | None = None, remote: str | None = None, ref: Ref | None = None, open_only: bool = False) -> list[Disclosed]:
        where, params = _equal({"patient": patient, "remote": remote, "type": ref and ref.type, "id": ref and ref.id})
        if open_only:
            where.append("recalled IS NULL")
        rows = self._rows(f"SELECT body FROM ledger{_where(where)} ORDER BY at, type, id, version", params)
        return [msgspec.msgpack.decode(row[0], type=Disclosed) for row in rows]

    # -- the operator's ------------------------------------------------------------------------------------------------

    async def counts(self) -> dict[str, int]:
        return dict(self._rows("SELECT type, count(*) FROM resource WHERE deleted = 0 GROUP BY type"))

    async def check(self) -> None:
        self._rows("SELECT 1 FROM epoch LIMIT 1")
        if not sqlite_file.is_still(self.path, self._inode):
            raise Unavailable("the file of the store is not the one that was opened")

    async def integrity(self) -> str:
        """`ok`, or what SQLite found wrong with the file."""
        return await asyncio.to_thread(sqlite_file.integrity, self.path, self._key)

    async def backup(self, to: str | Path) -> None:
        """A consistent copy, while others read and write; `to` is replaced when the copy is whole. Unavailable when it cannot be."""
        await asyncio.to_thread(sqlite_file.backup, self.path, Path(to), self._key)

    async def scrub(self) -> bool:
        """Overwrite what was removed. False when it must be tried again, since others were reading."""
        try:
            return await asyncio.to_thread(sqlite_file.scrub, self.path, self._key)
        except sqlite_file.FAILING as wrong:
            raise sqlite_file.unavailable(wrong) from wrong

    async def close(self) -> None:
        """What is under way is finished first."""
        await asyncio.sleep(0)  # what this turn of the loop has submitted is handed over
        await asyncio.to_thread(self._writer.close)
        while self._readers:
            self._readers.pop().close()


def _one(type: type[Linked], rows: list[Any]) -> Linked | None:
    return msgspec.msgpack.decode(rows[0][0], type=type) if rows else None


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


def _equal(columns: dict[str, Any]) -> tuple[list[str], list[Any]]:
    asked = {name: value for name, value in columns.items() if value is not None}
    return [f"{name} = ?" for name in asked], list(asked.values())


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


__all__ = ["SqliteStore", "open"]
