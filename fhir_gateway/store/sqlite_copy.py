"""The embedded store as rows. A copy is written beside its place and takes its name when it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import apsw

from ..domain import facts
from ..domain.types import CONFIDENTIALITY
from . import sqlite_file, sqlite_index
from .base import Unavailable
from .copying import BATCH, PARTS, Row, key_of

_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
_ORDER: Final = {"link": " ORDER BY rowid", "version": " ORDER BY vid", "audit": " ORDER BY aid", "segment": " ORDER BY number"}
_RESOURCE: Final = "SELECT rid, type, id, version, patient, updated, created_by, writer, facts, body, view, deleted FROM resource ORDER BY rid"
_KEYS: Final = (
    "SELECT rid, name, text, system, exact, low, high, hidden FROM key WHERE rid BETWEEN ? AND ? ORDER BY rid, n"
)


class SqliteRows:
    def __init__(self, path: Path, *, target: bool, key: str | None = None) -> None:
        """Unavailable when a source is not there, or cannot be opened. `key`: what it is encrypted by."""
        self._key = key
        self._path = path
        self._work = path.with_name(path.name + ".copying") if target else path
        self._db: apsw.Connection | None = None
        if not target:
            if not path.is_file():
                raise Unavailable(f"{path} is not there.")
            sqlite_file.prepare(path, key)
            self._db = sqlite_file.connect(path, key, reading=True)

    @property
    def db(self) -> apsw.Connection:
        assert self._db is not None
        return self._db

    async def begin(self) -> None:
        if self._path.exists():
            raise Unavailable(f"{self._path} is there already: name a file that is not.")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for left in (self._work, *self._beside()):
            left.unlink(missing_ok=True)  # of a copy that stopped half-way
        sqlite_file.prepare(self._work, self._key)
        self._db = sqlite_file.connect(self._work, self._key)

    async def finish(self) -> None:
        db = self.db
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        await self.close()
        for left in self._beside():
            left.unlink(missing_ok=True)
        sqlite_file.settle(self._work, self._path)

    def _beside(self) -> tuple[Path, ...]:
        return tuple(self._work.with_name(self._work.name + end) for end in ("-wal", "-shm"))

    async def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    async def counts(self) -> dict[str, int]:
        return {part: 1 if part == "number" else self._one(f"SELECT count(*) FROM {part}") for part in PARTS}

    def _one(self, sql: str) -> int:
        """The one number this asks for; 0 when there is none."""
        found = self.db.execute(sql).fetchall()
        value: Any = found[0][0] if found else 0
        return int(value)

    async def read(self, part: str) -> AsyncIterator[list[Row]]:
        if part == "number":
            yield [(self._one(_LAST),)]
            return
        sql = _RESOURCE if part == "resource" else f"SELECT {', '.join(PARTS[part])} FROM {part}{_ORDER.get(part, '')}"
        cursor = self.db.execute(sql)
        while rows := list(islice(cursor, BATCH)):
            yield self._with_keys(rows) if part == "resource" else rows

    def _with_keys(self, rows: list[Row]) -> list[Row]:
        found = self.db.execute(_KEYS, (rows[0][0], rows[-1][0])).fetchall()
        keys = {rid: [(*k[1:8],) for k in several] for rid, several in groupby(found, key=lambda k: k[0])}
        return [(*row[1:11], bool(row[11]), keys.get(row[0], [])) for row in rows]

    async def write(self, part: str, rows: Sequence[Row]) -> None:
        with self.db:
            if part == "resource":
                for row in rows:
                    self._resource(row)
            elif part == "number":
                self._number(rows[0][0])
            elif part == "segment":
                for row in rows:
                    self._segment(row)
            else:
                names = PARTS[part]
                self.db.executemany(f"INSERT INTO {part}({', '.join(names)}) VALUES ({','.join('?' * len(names))})", rows)

    def _resource(self, row: Row) -> None:
        type, id, version, patient, updated, created_by, writer, known, body, view, deleted, keys = row
        f = facts.decode(known)
        conf = CONFIDENTIALITY.get(f.confidentiality, CONFIDENTIALITY["V"])
        values = (type, id, version, patient, updated, int(deleted), conf, f.low, f.high, created_by, writer, known, body, view)
        cursor = self.db.cursor()
        cursor.execute(
            "INSERT INTO resource(type, id, version, patient, updated, deleted, conf, d0, d1, created_by, writer, facts, body, view) "
            "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            values,
        )
        if not deleted:
            sqlite_index.index(cursor, self.db.last_insert_rowid(), type, patient, [key_of(k) for k in keys], f)

    def _segment(self, row: Row) -> None:
        number, count, head, listed = row
        before = self._one("SELECT max(last) FROM segment") if number > 1 else 0
        (last,) = self.db.execute("SELECT aid FROM audit WHERE aid > ? ORDER BY aid LIMIT 1 OFFSET ?", (before, count - 1)).fetchone() or (before,)
        self.db.execute("INSERT INTO segment VALUES (?,?,?,?,?,?)", (number, count, before + 1, last, head, listed))

    def _number(self, last: int) -> None:
        self.db.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
        if last:
            self.db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('outbox', ?)", (last,))
