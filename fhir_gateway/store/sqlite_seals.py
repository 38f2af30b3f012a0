"""Sealed segments of the trail in the file: a segment is a range of `aid`, the order in which rows were committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from ..domain.sealing import Segment, TrailRow
from .base import Taken
from .sqlite_writer import Group

Rows = Callable[[str, Any], list[Any]]
# a note that is a text is no row of ours: it is read as its bytes, after one that no note begins with, for it may hold what no text does
ROW: Final = "a.at, a.id, a.patient, a.user, CASE typeof(a.note) WHEN 'text' THEN CAST(x'00' || a.note AS BLOB) ELSE a.note END, a.aid"
_SEALED: Final = "(SELECT coalesce(max(last), 0) FROM segment)"


@dataclass(slots=True)
class Seal:
    segment: Segment
    rows: Sequence[TrailRow]


def seal(group: Group, op: Seal) -> None:
    s, cursor = op.segment, group.cursor
    first, last = min(r.place for r in op.rows), max(r.place for r in op.rows)
    number: Any
    sealed: Any
    there: Any
    ((number, sealed),) = cursor.execute("SELECT coalesce(max(number), 0), coalesce(max(last), 0) FROM segment").fetchall()
    ((there,),) = cursor.execute(f"SELECT count(*) FROM audit WHERE aid > {_SEALED} AND aid <= ?", (last,)).fetchall()
    if number + 1 != s.number or first <= sealed or there != len(op.rows):
        raise Taken("segment", str(s.number))
    cursor.execute("INSERT INTO segment VALUES (?,?,?,?,?,?)", (s.number, s.rows, first, last, s.head, s.listed))


def unsealed(rows: Rows, count: int) -> list[TrailRow]:
    return _trail(rows(f"SELECT {ROW} FROM audit a WHERE a.aid > {_SEALED} ORDER BY a.aid LIMIT ?", (count,)))


def waiting(rows: Rows) -> int:
    return int(rows(f"SELECT count(*) FROM audit a WHERE a.aid > {_SEALED}", ())[0][0])


def segments(rows: Rows, after: int, count: int) -> list[Segment]:
    return [Segment(*row) for row in rows("SELECT number, rows, head, listed FROM segment WHERE number > ? ORDER BY number LIMIT ?", (after, count))]


def segment_rows(rows: Rows, number: int) -> list[TrailRow]:
    sql = f"SELECT {ROW} FROM segment s JOIN audit a ON a.aid BETWEEN s.first AND s.last WHERE s.number = ? ORDER BY a.aid"
    return _trail(rows(sql, (number,)))


def rows_of(rows: Rows, patient: str) -> list[tuple[int | None, TrailRow]]:
    sql = f"SELECT (SELECT number FROM segment s WHERE s.last >= a.aid ORDER BY s.number LIMIT 1), {ROW} FROM audit a WHERE a.patient = ? ORDER BY a.at, a.id"
    return [(row[0], TrailRow(*row[1:])) for row in rows(sql, (patient,))]


def strays(rows: Rows) -> list[TrailRow]:
    """What is before, or between, the ranges of the segments."""
    ranges = rows("SELECT first, last FROM segment WHERE typeof(first) = 'integer' AND typeof(last) = 'integer' ORDER BY first", ())  # else somebody was at the file
    if not ranges:
        return []
    gaps = [(-(2**63), ranges[0][0]), *((a[1] + 1, b[0]) for a, b in pairwise(ranges))]
    return [r for low, high in gaps if low < high for r in _trail(rows(f"SELECT {ROW} FROM audit a WHERE a.aid >= ? AND a.aid < ?", (low, high)))]


def _trail(found: list[Any]) -> list[TrailRow]:
    return [TrailRow(*row) for row in found]
