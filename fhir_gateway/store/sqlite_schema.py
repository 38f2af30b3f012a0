"""The tables, and how an older file becomes a newer one: numbered steps, one transaction each, resumable."""

from __future__ import annotations

import apsw

from .base import Unavailable
from .sqlite_query import KEY_SCHEMA

CORE = """
CREATE TABLE resource(
  rid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, patient TEXT, updated INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0, conf INTEGER, d0 INTEGER, d1 INTEGER, body BLOB, view BLOB, facts BLOB, writer BLOB,
  created_by TEXT, UNIQUE(type, id));
CREATE INDEX resource_patient ON resource(patient, type, deleted);
CREATE INDEX resource_type_updated ON resource(type, deleted, updated, id);
CREATE TABLE version(
  vid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, patient TEXT, updated INTEGER NOT NULL,
  body BLOB, view BLOB, facts BLOB NOT NULL, writer BLOB NOT NULL, created_by TEXT, UNIQUE(type, id, version));
CREATE INDEX version_type ON version(type, updated, id, version);
CREATE INDEX version_all ON version(updated, type, id, version);
CREATE INDEX version_patient ON version(patient, updated);
CREATE TRIGGER version_fixed BEFORE UPDATE ON version BEGIN SELECT RAISE(ABORT, 'versions are never changed'); END;
CREATE TRIGGER version_kept BEFORE DELETE ON version BEGIN SELECT RAISE(ABORT, 'versions are never removed'); END;
CREATE TABLE epoch(subject TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE audit(
  aid INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL, patient TEXT, user TEXT NOT NULL, note BLOB NOT NULL);
CREATE INDEX audit_patient ON audit(patient, at, id) WHERE patient IS NOT NULL;
CREATE INDEX audit_user ON audit(user, at, id);
CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is never changed'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is never removed'); END;
CREATE TABLE kept(kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER, PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE TABLE outbox(
  entry INTEGER PRIMARY KEY AUTOINCREMENT, remote TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
  patient TEXT, why TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'queued', due INTEGER NOT NULL, queued_at INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, fence INTEGER NOT NULL DEFAULT 0, holder TEXT, until INTEGER, detail TEXT);
CREATE INDEX outbox_open ON outbox(remote, state, entry);
CREATE INDEX outbox_patient ON outbox(remote, patient, state);
CREATE TABLE link(
  remote TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, remote_id TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(remote, type, id)) WITHOUT ROWID;
CREATE INDEX link_remote ON link(remote, remote_id);
CREATE TABLE ledger(
  remote TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL, patient TEXT,
  recalled INTEGER, body BLOB NOT NULL, PRIMARY KEY(remote, type, id, version, at)) WITHOUT ROWID;
CREATE INDEX ledger_patient ON ledger(patient, remote);
"""

STEPS = (CORE + KEY_SCHEMA,)


def migrate(db: apsw.Connection) -> None:
    """Bring the file up to this program's version. Unavailable when the file is newer than the program."""
    have = int(db.pragma("user_version"))
    if have > len(STEPS):
        raise Unavailable(f"This store was written by a newer fhir_gateway (format {have}, this one knows {len(STEPS)}): upgrade.")
    for number in range(have, len(STEPS)):
        with db:
            if int(db.pragma("user_version")) == number:
                db.execute(STEPS[number])
                db.pragma("user_version", number + 1)
