"""Readings over time as a line, drawn by the server: where each point stands, and where the range that came with the newest one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ...domain.results import Kind, Reading, Value, chosen
from .words import short

START, END, TOP, BOTTOM = 60, 300, 20, 120  # of the field of a picture 320 by 150
APART = 14  # units between two numbers at the side
DRAWN = 60  # readings at most: the newest


@dataclass(frozen=True, slots=True)
class Point:
    """One reading: where it stands, and where it lies beside the range (above, below, outside, else a dot)."""

    x: int
    y: int
    side: str


@dataclass(frozen=True, slots=True)
class Series:
    """One part of the readings, as a line."""

    code: str
    points: tuple[Point, ...]
    low: Decimal  # of all that are drawn, which are of one unit
    high: Decimal

    @property
    def line(self) -> str:
        return " ".join(f"{p.x},{p.y}" for p in self.points)


@dataclass(frozen=True, slots=True)
class Trend:
    """The picture: lines, the band of the range (top and bottom) where there is one, and numbers at the side."""

    series: tuple[Series, ...]
    band: tuple[int, int] | None
    labels: tuple[tuple[int, str], ...]
    first: Reading
    last: Reading


def trend(kind: Kind) -> Trend | None:
    """The picture of a kind with two numbers or more on different days, in the unit of the newest; None where there is no line to draw."""
    newest = [v for v in kind.newest.values if v.number is not None]
    found = {v.code: _same_unit(kind.told, v) for v in newest}
    found = {code: same for code, same in found.items() if len(same) > 1}
    days = [r.at for same in found.values() for r, _ in same if r.at is not None]
    if not found or min(days) == max(days):
        return None
    ends = _ends(newest[0]) if len(found) == 1 and len(newest) == 1 else ()
    numbers = [n for same in found.values() for _, n in same]
    across, up = _across(min(days), max(days)), _up([*numbers, *ends])
    drawn = [r for same in found.values() for r, _ in same]
    return Trend(
        tuple(_series(code, same, across, up) for code, same in found.items()),
        _band(newest[0], up) if ends else None,
        _labels([(up(n), n) for n in (max(numbers), min(numbers), *ends)]),
        min(drawn, key=lambda r: r.at or 0), max(drawn, key=lambda r: r.at or 0),
    )  # fmt: skip


def _series(code: str, same: Sequence[tuple[Reading, Decimal]], across: _Scale, up: _Scale) -> Series:
    numbers = [n for _, n in same]
    return Series(code, tuple(Point(across(r.at or 0), up(n), _side(r, code)) for r, n in same), min(numbers), max(numbers))


def _same_unit(readings: Sequence[Reading], like: Value) -> list[tuple[Reading, Decimal]]:
    out = []
    for r in readings:
        v = chosen(r.values, like.code)
        if v is not None and v.number is not None and r.at is not None and (v.ucum or v.unit) == (like.ucum or like.unit):
            out.append((r, v.number))
    return out[-DRAWN:]


def _side(reading: Reading, code: str) -> str:
    found = chosen(reading.values, code)
    return found.mark if found is not None else ""


def _ends(value: Value) -> tuple[Decimal, ...]:
    """The ends of the one range that the value was held against."""
    usual = [r for r in value.ranges if r.usual]
    return tuple(n for n in (usual[0].high, usual[0].low) if n is not None) if len(usual) == 1 and value.side else ()


def _band(value: Value, up: _Scale) -> tuple[int, int]:
    usual = next(r for r in value.ranges if r.usual)
    return (TOP if usual.high is None else up(usual.high), BOTTOM if usual.low is None else up(usual.low))


@dataclass(frozen=True, slots=True)
class _Scale:
    """A number to a place."""

    low: Decimal
    high: Decimal
    start: int
    end: int

    def __call__(self, n: Decimal | int) -> int:
        part = (Decimal(n) - self.low) / (self.high - self.low)
        return self.start + round((self.end - self.start) * float(part))


def _across(first: int, last: int) -> _Scale:
    return _Scale(Decimal(first), Decimal(last), START, END)


def _up(numbers: Sequence[Decimal]) -> _Scale:
    low, high = min(numbers), max(numbers)
    return _Scale(low, high, BOTTOM, TOP) if high > low else _Scale(low - 1, low + 1, BOTTOM, TOP)


def _labels(wanted: Sequence[tuple[int, Decimal]]) -> tuple[tuple[int, str], ...]:
    """Those that have room, the first ones first."""
    out: list[tuple[int, str]] = []
    for y, n in wanted:
        if all(abs(y - other) >= APART for other, _ in out):
            said = short(n)
            out.append((y, said if len(said) <= 6 else f"{float(n):.3g}"))
    return tuple(out)


__all__ = ["DRAWN", "Point", "Series", "Trend", "trend"]
