"""The index of the embedded store: search keys, what consent asks of (`acl`), people's records (`member`) and who is tied to whom (`tie`).

Written here, beside the resource's own row; asked by the statements of `sqlite_query`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from ..domain.predicate import values_of
from ..domain.types import Facts, Key
from .sqlite_lacks import lacking

KEY_SCHEMA = """
CREATE TABLE key(
  rid INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, type TEXT NOT NULL, text TEXT NOT NULL, system TEXT NOT NULL,
  exact TEXT NOT NULL, low, high, hidden INTEGER NOT NULL, PRIMARY KEY(rid, name, n)) WITHOUT ROWID;
CREATE INDEX key_text ON key(name, text, type, system, hidden) WHERE text <> '';
CREATE INDEX key_range ON key(name, type, low, high, hidden) WHERE low IS NOT NULL;
CREATE TABLE acl(rid INTEGER NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(rid, field, value)) WITHOUT ROWID;
CREATE INDEX acl_value ON acl(field, value);
CREATE TABLE member(
  patient TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(patient, type, id)) WITHOUT ROWID;
CREATE TABLE tie(who TEXT NOT NULL, patient TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(who, patient, rid)) WITHOUT ROWID;
"""

TYING = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient"})  # whom these name may know the person
_MULTI = {
    "patient": "patients", "profile": "profiles", "sens": "sensitivity", "label": "other_labels", "legal": "legal", "code": "codes",
    "author": "authors", "maker": "makers", "ref": "refs",
}  # fmt: skip
_OF_ORIGIN = ("custodian", "keeper", "source", "sourced")
FIELDS = frozenset((*_MULTI, *_OF_ORIGIN))


def index(cursor: apsw.Cursor, rid: int, type: str, patient: str | None, keys: Iterable[Key], facts: Facts) -> None:
    """Replace every row of this resource, whose row in `resource` is there already."""
    unindex(cursor, rid)
    cursor.executemany("INSERT INTO key VALUES (?,?,?,?,?,?,?,?,?,?)", key_rows(rid, type, keys))
    listed = acl_rows(rid, facts)
    cursor.executemany("INSERT INTO acl VALUES (?,?,?)", listed)
    lacks = lacking(facts, [row[1:] for row in listed])
    cursor.executemany(
        "INSERT INTO member(patient, type, id, rid, lacks) VALUES (?,?,?,?,?)", [(p, type, facts.id, rid, lacks) for p in dict.fromkeys(facts.patients)]
    )
    knows = facts.authors | facts.refs if type in TYING else facts.authors
    if knows and facts.patients:
        cursor.executemany("INSERT INTO tie VALUES (?,?,?)", [(w, p, rid) for w in knows for p in dict.fromkeys(facts.patients)])


def unindex(cursor: apsw.Cursor, rid: int) -> None:
    """Forget every row of this resource, whose row in `resource` is still there."""
    mine = "(SELECT value FROM acl WHERE rid = ?1 AND field = 'patient')"
    cursor.execute(
        f"DELETE FROM tie WHERE who IN (SELECT value FROM acl WHERE rid = ?1 AND field IN ('author', 'ref')) AND patient IN {mine} AND rid = ?1",
        (rid,),
    )
    cursor.execute(
        f"DELETE FROM member WHERE patient IN {mine} AND (type, id) = (SELECT type, id FROM resource WHERE rid = ?1)", (rid,)
    )
    cursor.execute("DELETE FROM key WHERE rid = ?", (rid,))
    cursor.execute("DELETE FROM acl WHERE rid = ?", (rid,))


def key_rows(rid: int, type: str, keys: Iterable[Key]) -> list[tuple[Any, ...]]:
    return [(rid, k.name, n, type, k.text, k.system, k.exact, k.low, k.high, int(k.hidden)) for n, k in enumerate(keys)]


def acl_rows(rid: int, facts: Facts) -> list[tuple[int, str, str]]:
    rows = [(rid, field, value) for field, name in _MULTI.items() for value in dict.fromkeys(getattr(facts, name))]
    return rows + [(rid, field, value) for field in _OF_ORIGIN for value in sorted(values_of(facts, field))]
