"""What each operation of a commit writes. Called on the writer's thread, inside the group's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import apsw
import msgspec

from ..domain import facts
from ..domain.periods import micros
from ..domain.types import CONFIDENTIALITY, Bump, Disclosed, Dispose, Drop, Expect, Keep, Linked, Put, Ref, Relabel, Remove
from . import linking, sqlite_index, sqlite_outbox, sqlite_seals
from .base import Moved, Stale, Taken
from .sqlite_rows import encode_writer
from .sqlite_writer import Group

DAY: Final = 86_400_000_000
SWEEP_EVERY: Final = 64  # values with an end, between two looks for those long over


def apply(group: Group, op: Any) -> None:
    """StoreError when it cannot be; ValueError when the caller asked for nonsense."""
    _CHANGES[type(op)](group, op)


# -- records --------------------------------------------------------------------------------------------------------------


def _current(cursor: apsw.Cursor, ref: Ref, replaces: int, becomes: int) -> tuple[Any, ...] | None:
    """rid, patient, created_by and facts of the version to be replaced. Stale when that is not the current one."""
    if becomes != replaces + 1:
        raise ValueError(f"version {becomes} does not follow {replaces}")
    row = cursor.execute("SELECT version, rid, patient, created_by, facts FROM resource WHERE type = ? AND id = ?", ref).fetchone()
    if (row[0] if row else 0) != replaces:
        raise Stale(ref)
    return row[1:] if row else None


def _put(group: Group, op: Put) -> None:
    cursor, ref = group.cursor, op.ref
    now = _current(cursor, ref, op.if_version, op.version)
    known, by, updated = facts.encode(op.facts), encode_writer(op.writer), micros(op.at)
    patient = op.facts.patients[0] if op.facts.patients else None
    view = None if op.view == op.body else op.view
    created_by = now[2] if now else op.writer.user
    conf = CONFIDENTIALITY.get(op.facts.confidentiality, CONFIDENTIALITY["V"])
    values = (op.version, patient, updated, conf, op.facts.low, op.facts.high, created_by, by, known, op.body, view)
    if now:
        rid = now[0]
        cursor.execute(
            "UPDATE resource SET version=?, patient=?, updated=?, conf=?, d0=?, d1=?, created_by=?, writer=?, facts=?, body=?, view=?, "
            "deleted=0 WHERE rid=?",
            (*values, rid),
        )
    else:
        cursor.execute(
            "INSERT INTO resource(version, patient, updated, conf, d0, d1, created_by, writer, facts, body, view, type, id) "
            "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*values, *ref),
        )
        rid = cursor.connection.last_insert_rowid()
    _version(cursor, ref, op.version, patient, updated, created_by, by, known, op.body, view)
    sqlite_index.index(cursor, rid, ref.type, patient, op.keys, op.facts)


def _relabel(group: Group, op: Relabel) -> None:
    cursor, f = group.cursor, op.facts
    row = cursor.execute("SELECT version, rid, deleted FROM resource WHERE type = ? AND id = ?", op.ref).fetchone()
    if row is None or row[0] != op.version or row[2]:
        raise Stale(op.ref)
    conf = CONFIDENTIALITY.get(f.confidentiality, CONFIDENTIALITY["V"])
    view = None if op.view == op.body else op.view
    values = (conf, f.low, f.high, facts.encode(f), op.body, view, row[1])
    cursor.execute("UPDATE resource SET conf=?, d0=?, d1=?, facts=?, body=?, view=? WHERE rid=?", values)
    sqlite_index.index(cursor, row[1], op.ref.type, f.patients[0] if f.patients else None, op.keys, f)


def _remove(group: Group, op: Remove) -> None:
    cursor, ref = group.cursor, op.ref
    now = _current(cursor, ref, op.if_version, op.version)
    if now is None:
        raise Stale(ref)
    rid, patient, created_by, known = now
    by, updated = encode_writer(op.writer), micros(op.at)
    cursor.execute(
        "UPDATE resource SET version=?, updated=?, writer=?, body=NULL, view=NULL, deleted=1 WHERE rid=?", (op.version, updated, by, rid)
    )
    _version(cursor, ref, op.version, patient, updated, created_by, by, known, None, None)
    sqlite_index.unindex(cursor, rid)


def _dispose(group: Group, op: Dispose) -> None:
    cursor = group.cursor
    for ref in op.refs:
        row = cursor.execute("SELECT rid FROM resource WHERE type = ? AND id = ?", ref).fetchone()
        if row:
            sqlite_index.unindex(cursor, row[0])
            cursor.execute("DELETE FROM resource WHERE rid = ?", row)
        cursor.execute("INSERT INTO disposing VALUES (?, ?)", ref)
        for table in ("version", "outbox", "link", "ledger", "disposing"):
            cursor.execute(f"DELETE FROM {table} WHERE type = ? AND id = ?", ref)
    for table in ("outbox", "ledger"):
        cursor.execute(f"DELETE FROM {table} WHERE patient = ?", (op.person,))
    for name in op.kept:
        cursor.execute("DELETE FROM kept WHERE kind = ? AND key = ?", name)


def _version(cursor: apsw.Cursor, ref: Ref, *values: Any) -> None:
    cursor.execute(
        "INSERT INTO version(type, id, version, patient, updated, created_by, writer, facts, body, view) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (*ref, *values),
    )


# -- epochs -----------------------------------------------------------------------------------------------------------------


def _bump(group: Group, op: Bump) -> None:
    group.cursor.execute("INSERT INTO epoch VALUES (?, 1) ON CONFLICT(subject) DO UPDATE SET value = value + 1", (op.subject,))


def _expect(group: Group, op: Expect) -> None:
    row = group.cursor.execute("SELECT value FROM epoch WHERE subject = ?", (op.subject,)).fetchone()
    if (row[0] if row else 0) != op.epoch:
        raise Moved(op.subject)


# -- named values -----------------------------------------------------------------------------------------------------------


def _keep(group: Group, op: Keep) -> None:
    name = (op.kind, op.key)
    if op.if_absent or op.if_value is not None:
        row = group.cursor.execute("SELECT value, expires FROM kept WHERE kind = ? AND key = ?", name).fetchone()
        if op.if_absent and row and (row[1] is None or row[1] > micros(group.now())):  # an ended one is not there
            raise Taken(*name)
        if op.if_value is not None and (row is None or row[0] != op.if_value):
            raise Taken(*name)
    expires = None if op.expires is None else micros(op.expires)
    group.cursor.execute(
        "INSERT INTO kept VALUES (?,?,?,?) ON CONFLICT(kind, key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
        (*name, op.value, expires),
    )
    if expires is not None and group.at is not None and hash(op.key) % SWEEP_EVERY == 0:
        _sweep(group.cursor, micros(group.at))


def _sweep(cursor: apsw.Cursor, now: int) -> None:
    """Forget what ended more than a day ago: by then no clock is wrong by enough to want it."""
    cursor.execute(
        "DELETE FROM kept WHERE (kind, key) IN (SELECT kind, key FROM kept WHERE expires IS NOT NULL AND expires < ? LIMIT 500)", (now - DAY,)
    )


def _drop(group: Group, op: Drop) -> None:
    only, value = ("", ()) if op.if_value is None else (" AND value = ?", (op.if_value,))
    group.cursor.execute(f"DELETE FROM kept WHERE kind = ? AND key = ?{only}", (op.kind, op.key, *value))
    if op.must_exist and group.cursor.connection.changes() == 0:
        raise Taken(op.kind, op.key)


# -- links and the ledger ---------------------------------------------------------------------------------------------------


def _linked(group: Group, op: Linked) -> None:
    cursor, key = group.cursor, (op.remote, *op.ref)
    row: Any = cursor.execute("SELECT body FROM link WHERE remote = ? AND type = ? AND id = ?", key).fetchone()
    was = linking.decode(row[0]) if row else None
    linking.expected(op, was)
    if linking.becomes_live(op, was):
        there: Any = cursor.execute("SELECT body FROM link WHERE remote = ? AND remote_id = ?", (op.remote, op.remote_id)).fetchall()
        linking.unclaimed(op, (linking.decode(body) for (body,) in there))
    cursor.execute("INSERT OR REPLACE INTO link VALUES (?,?,?,?,?)", (*key, op.remote_id, linking.encode(op)))


def _disclosed(group: Group, op: Disclosed) -> None:
    """The same row again, with `recalled`, closes it."""
    recalled = None if op.recalled is None else micros(op.recalled)
    group.cursor.execute(
        "INSERT OR REPLACE INTO ledger VALUES (?,?,?,?,?,?,?,?)",
        (op.remote, *op.ref, op.version, micros(op.at), op.patient, recalled, msgspec.msgpack.encode(op)),
    )


_CHANGES: Final[dict[type, Callable[[Group, Any], None]]] = {
    Put: _put, Relabel: _relabel, Remove: _remove, Dispose: _dispose, Bump: _bump, Expect: _expect, Keep: _keep, Drop: _drop, Linked: _linked, Disclosed: _disclosed,
    **sqlite_outbox.CHANGES, sqlite_seals.Seal: sqlite_seals.seal,
}  # fmt: skip
