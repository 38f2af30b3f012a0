"""The tables, and how an older file becomes a newer one: numbered steps, one transaction each, resumable."""

from __future__ import annotations

from typing import Final

import apsw

from .base import Unavailable
from .sqlite_index import KEY_SCHEMA
from .sqlite_lacks import LACKS_SCHEMA

OURS: Final = 0x46474154  # PRAGMA application_id, "FGAT": whose file this is

# Large columns stand last: what a decision needs is read without walking over the bodies.
# A `view` equal to its body is kept as NULL.
_RECORDS: Final = """
CREATE TABLE resource(
  rid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, patient TEXT, updated INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0, conf INTEGER, d0 INTEGER, d1 INTEGER, created_by TEXT, writer BLOB NOT NULL,
  facts BLOB NOT NULL, body BLOB, view BLOB, UNIQUE(type, id));
CREATE INDEX resource_patient ON resource(patient, type, deleted);
CREATE INDEX resource_type_updated ON resource(type, deleted, updated, id);

CREATE TABLE version(
  vid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, patient TEXT, updated INTEGER NOT NULL,
  created_by TEXT, writer BLOB NOT NULL, facts BLOB NOT NULL, body BLOB, view BLOB, UNIQUE(type, id, version));
CREATE INDEX version_type ON version(type, updated, id, version);
CREATE INDEX version_all ON version(updated, type, id, version);
CREATE INDEX version_patient ON version(patient, type, id, version) WHERE patient IS NOT NULL;
CREATE TRIGGER version_fixed BEFORE UPDATE ON version BEGIN SELECT RAISE(ABORT, 'versions are never changed'); END;
CREATE TRIGGER version_kept BEFORE DELETE ON version BEGIN SELECT RAISE(ABORT, 'versions are never removed'); END;

CREATE TABLE epoch(subject TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

_TRAIL: Final = """
CREATE TABLE audit(
  aid INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL, patient TEXT, user TEXT NOT NULL, note BLOB NOT NULL);
CREATE INDEX audit_patient ON audit(patient, at, id) WHERE patient IS NOT NULL;
CREATE INDEX audit_user ON audit(user, at, id);
CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is never changed'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is never removed'); END;
"""

_KEPT: Final = """
CREATE TABLE kept(kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER, PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE INDEX kept_end ON kept(expires) WHERE expires IS NOT NULL;
"""

# `lane` is the person, or the resource that is nobody's: one entry of a lane runs at a time, in order.
_SYNC: Final = """
CREATE TABLE outbox(
  entry INTEGER PRIMARY KEY AUTOINCREMENT, remote TEXT NOT NULL, lane TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
  version INTEGER NOT NULL, patient TEXT, why TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'queued', due INTEGER NOT NULL,
  queued_at INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, fence INTEGER NOT NULL DEFAULT 0, holder TEXT, taken INTEGER,
  until INTEGER, detail TEXT NOT NULL DEFAULT '');
CREATE INDEX outbox_lane ON outbox(remote, lane, entry, state, due, until, taken) WHERE state IN ('queued', 'leased');
CREATE INDEX outbox_resource ON outbox(remote, type, id, entry) WHERE state IN ('queued', 'leased');
CREATE INDEX outbox_state ON outbox(remote, state, entry);

CREATE TABLE link(
  remote TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, remote_id TEXT NOT NULL, body BLOB NOT NULL, UNIQUE(remote, type, id));
CREATE INDEX link_remote ON link(remote, remote_id);

CREATE TABLE ledger(
  remote TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL, patient TEXT,
  recalled INTEGER, body BLOB NOT NULL, UNIQUE(remote, type, id, version, at));
CREATE INDEX ledger_patient ON ledger(patient, remote);
CREATE INDEX ledger_open ON ledger(remote, patient) WHERE recalled IS NULL;
"""

# A bare `_id`, of any type: a file that was never analysed is read from end to end for it otherwise.
_BARE_ID: Final = "CREATE INDEX resource_id ON resource(id);"

# A version is removed only by a disposal, which names what goes in the commit itself and leaves nothing here.
_DISPOSAL: Final = """
CREATE TABLE disposing(type TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY(type, id)) WITHOUT ROWID;
DROP TRIGGER version_kept;
CREATE TRIGGER version_kept BEFORE DELETE ON version
WHEN NOT EXISTS (SELECT 1 FROM disposing d WHERE d.type = OLD.type AND d.id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'versions are never removed'); END;
"""

# The trail by time and by id, and its sealed segments. Rows of one file are written one transaction after the other: `aid` is the
# order of their commits, whichever process writes, so a segment is a range of it.
_SEALS: Final = """
CREATE INDEX audit_at ON audit(at, id);
CREATE INDEX audit_id ON audit(id);
CREATE TABLE segment(
  number INTEGER PRIMARY KEY, rows INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, head TEXT NOT NULL, listed BLOB NOT NULL);
CREATE TRIGGER segment_fixed BEFORE UPDATE ON segment BEGIN SELECT RAISE(ABORT, 'segments are never changed'); END;
CREATE TRIGGER segment_kept BEFORE DELETE ON segment BEGIN SELECT RAISE(ABORT, 'segments are never removed'); END;
"""

# No table is another. What sync keeps of a partner (how far it was gone through and read, what is under way) is: a program that does not know it
# must not go on from it.
_SYNC_MARKS: Final = "-- marks of sync by type, watermarks with their clock"

STEPS: Final = (_RECORDS + _TRAIL + _KEPT + _SYNC + KEY_SCHEMA, _BARE_ID, LACKS_SCHEMA, _DISPOSAL, _SEALS, _SYNC_MARKS)


def migrate(db: apsw.Connection, steps: tuple[str, ...] = STEPS) -> None:
    """Bring the file up to this program's version; killed half-way, the next start goes on from the last whole step.

    Unavailable when the file is newer than the program, or somebody else's.
    """
    while True:
        db.execute("BEGIN IMMEDIATE")  # also proves that the file can be written
        try:
            have = int(db.pragma("user_version"))
            _recognise(db, have, len(steps))
            if have < len(steps):
                db.execute(steps[have])
                db.pragma("user_version", have + 1)
                db.pragma("application_id", OURS)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if have + 1 >= len(steps):
            return


def _recognise(db: apsw.Connection, have: int, known: int) -> None:
    if int(db.pragma("application_id")) != OURS and db.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
        raise Unavailable("it holds something else than a store of this gateway: move it away or name another with GATEWAY_STORE.")
    if have > known:
        raise Unavailable(f"it was written by a newer fhir-gateway (format {have}, this one knows {known}): upgrade, or restore a backup.")
