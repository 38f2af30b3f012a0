"""Versions in order of time, page by page, under a predicate: a version's own facts decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from ..domain import facts
from ..domain.periods import micros
from ..domain.predicate import matches
from ..domain.types import All, Always, Any_, ByPerson, Has, Not, Only, Predicate, Ref, Stored
from .sqlite_rows import COLUMNS

Rows = Callable[[str, Any], list[Any]]
_REFERRERS: Final = (
    "SELECT r.type || '/' || r.id FROM acl a JOIN resource r ON r.rid = a.rid WHERE a.field = 'ref' AND a.value = ? AND r.deleted = 0"
)


class Chapter:
    """The versions of one resource, one type or all, since an instant, newest or oldest first."""

    def __init__(self, ref: Ref | None, type: str | None, predicate: Predicate, since: datetime | None, oldest_first: bool) -> None:
        self._predicate = predicate
        self._incoming = _asks(predicate, "referred_by")
        self._way, self._beyond = ("ASC", ">") if oldest_first else ("DESC", "<")
        where: list[str] = []
        self._params: list[Any] = []
        self._order = ["updated", "type", "id", "version"]
        if ref is not None:
            where.append("r.type = ? AND r.id = ?")
            self._params += ref
        elif type is not None:
            where.append("r.type = ?")
            self._params.append(type)
            self._order.remove("type")  # the index of a type has no further column for it
        if since is not None:
            where.append("r.updated >= ?")
            self._params.append(micros(since))
        self._where = where
        self._asked = 0

    def page(self, before: tuple[Any, ...] | None, count: int) -> tuple[str, list[Any]]:
        """`count` rows beyond a position, with their parameters; rows that the predicate hides included."""
        where, params = list(self._where), list(self._params)
        if before is not None:
            at = dict(zip(("updated", "type", "id", "version"), before, strict=True))
            columns = ", ".join(f"r.{name}" for name in self._order)
            where.append(f"({columns}) {self._beyond} ({', '.join('?' * len(self._order))})")
            params += [at[name] for name in self._order]
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        order = ", ".join(f"r.{name} {self._way}" for name in self._order)
        self._asked = count
        return f"SELECT {COLUMNS} FROM version r {clause} ORDER BY {order} LIMIT ?", [*params, count]

    def ends(self, rows: list[Any]) -> bool:
        return len(rows) < self._asked

    def shows(self, row: Any, rows: Rows) -> bool:
        if isinstance(self._predicate, Always):
            return True
        known = facts.decode(row[6])
        if self._incoming:
            incoming = frozenset(r[0] for r in rows(_REFERRERS, (f"{row[0]}/{row[1]}",)))
            known = replace(known, referred_by=incoming)
        return matches(self._predicate, known)

    def position(self, row: Any) -> tuple[Any, ...]:
        return row[3], row[0], row[1], row[2]

    def position_of(self, hit: Stored) -> tuple[Any, ...]:
        return micros(hit.updated), hit.ref.type, hit.ref.id, hit.version


def _asks(predicate: Predicate, field: str) -> bool:
    match predicate:
        case All(parts) | Any_(parts):
            return any(_asks(p, field) for p in parts)
        case ByPerson(groups):
            return any(_asks(p, field) for _, p in groups)
        case Not(part):
            return _asks(part, field)
        case Has(asked, _) | Only(asked, _):
            return asked == field
    return False
