"""Who looked, over time: a line for each with a mark for each time, drawn by the server, and the same as a table. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .words import LONDON, _, day

LEFT, RIGHT = 20, 300  # where time starts and ends, in the units of a picture 320 wide
LINES: Final = 6  # those who looked last; everybody else shares one more
COLUMNS: Final = 24  # times that stand in one column are one mark
TALL: Final = 48  # of a line: a name, what was allowed, what was not
ROWS: Final = 60  # of the table
LETTERS: Final = 42  # of a name in the picture


@dataclass(frozen=True, slots=True)
class Look:
    """One time that somebody looked, changed something, or was told no."""

    at: datetime
    who: str
    allowed: bool
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """So many times in one column. `shape`: yes, no, emergency; `size` is half its width."""

    x: int
    y: int
    shape: str
    size: int
    times: int


@dataclass(frozen=True, slots=True)
class Line:
    """One who looked: the name, where it stands, the marks."""

    name: str
    y: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One day of one who looked, in the table."""

    on: str
    who: str
    allowed: int
    refused: int
    emergency: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture: lines, what stands below its start and its end, in words; the table, and how many rows of it are not shown."""

    lines: tuple[Line, ...]
    start: str
    end: str
    said: str
    rows: tuple[Row, ...]
    older: int

    @property
    def height(self) -> int:
        return self.foot + 26

    @property
    def foot(self) -> int:
        """Where the line of time is."""
        return TALL * len(self.lines) + 8


def timeline(looks: Iterable[Look]) -> Timeline | None:
    """The picture; None where nobody looked twice, or all at one moment."""
    found = sorted(looks, key=lambda one: one.at)
    if not found or found[0].at == found[-1].at:
        return None
    first, last = found[0].at, found[-1].at
    names = list(dict.fromkeys(one.who for one in reversed(found)))
    alone, rest = (names, []) if len(names) <= LINES + 1 else (names[:LINES], names[LINES:])
    groups = [(name, [one for one in found if one.who == name]) for name in alone]
    if rest:
        groups.append((_("Everybody else"), [one for one in found if one.who in set(rest)]))
    lines = tuple(_line(name, TALL * n, some, first, last) for n, (name, some) in enumerate(groups))
    start, end = _ends(first, last)
    rows = _rows(found)
    return Timeline(lines, start, end, _said(groups), rows[:ROWS], max(0, len(rows) - ROWS))


def _line(name: str, top: int, looks: Sequence[Look], first: datetime, last: datetime) -> Line:
    counted = Counter((_column(one.at, first, last), "no" if not one.allowed else "emergency" if one.emergency else "yes") for one in looks)
    middle = top + 30
    marks = (
        Mark(_x(column), middle + (13 if shape == "no" else 0), shape, min(4 + times.bit_length(), 8), times) for (column, shape), times in sorted(counted.items())
    )  # fmt: skip
    return Line(name if len(name) <= LETTERS else name[: LETTERS - 1].rstrip() + "…", middle, tuple(marks))


def _column(at: datetime, first: datetime, last: datetime) -> int:
    return min(int((at - first) / (last - first) * COLUMNS), COLUMNS - 1)


def _x(column: int) -> int:
    return LEFT + round((RIGHT - LEFT) * column / (COLUMNS - 1))


def _ends(first: datetime, last: datetime) -> tuple[str, str]:
    """The days; where it is one day, the hours too."""
    a, b = (at.astimezone(LONDON) for at in (first, last))
    if a.date() != b.date():
        return day(a), day(b)
    return f"{day(a)}, {a:%H:%M}", f"{b:%H:%M}"


def _said(groups: Sequence[tuple[str, Sequence[Look]]]) -> str:
    def one(who: str, looks: Sequence[Look]) -> str:
        yes = sum(x.allowed for x in looks)
        return _("{who}: allowed {yes}, told no {no}.").format(who=who, yes=yes, no=len(looks) - yes)

    return " ".join(one(who, looks) for who, looks in groups)


def _rows(looks: Sequence[Look]) -> tuple[Row, ...]:
    """By day and by who, the newest first."""
    held: dict[tuple[str, str], list[Look]] = {}
    for one in reversed(looks):
        held.setdefault((day(one.at), one.who), []).append(one)
    return tuple(
        Row(on, who, sum(x.allowed for x in some), sum(not x.allowed for x in some), any(x.emergency and x.allowed for x in some)) for (on, who), some in held.items()
    )  # fmt: skip


__all__ = ["LEFT", "LINES", "RIGHT", "ROWS", "Line", "Look", "Mark", "Row", "Timeline", "timeline"]
