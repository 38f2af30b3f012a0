"""Numbers and quantities to index keys."""

from __future__ import annotations

from decimal import Decimal
from math import nextafter
from typing import Any

from ..r4 import R4
from ..types import Key
from .paths import Place, Visit
from .values import LEAST, LONGEST, MOST


def text_of(v: Any, part: str) -> str:
    value = v.get(part) if type(v) is dict else None
    return value[:LONGEST] if type(value) is str else ""


def numbers(name: str, place: Place, r4: R4) -> Visit | None:
    if place.type == "Range":
        return lambda v, out: _ranged(name, "number", v, out)
    if not r4.is_primitive(place.type):
        return None

    def emit(v: Any, out: list[Key]) -> None:
        if (n := _float(v)) is not None:
            out.append(Key(name, "number", "", "", "", n, n))

    return emit


def _float(v: Any) -> float | None:
    if type(v) not in (int, float, Decimal):
        return None
    try:
        return min(max(float(v), LEAST), MOST)
    except OverflowError:
        return MOST if v > 0 else LEAST


def quantities(name: str, place: Place, r4: R4) -> Visit | None:
    if place.type == "Range":
        return lambda v, out: _ranged(name, "quantity", v, out)
    if place.type in ("Quantity", "Age", "Duration", "Count", "Distance", "Money"):
        return lambda v, out: _one_quantity(name, v, out)
    return None


def _one_quantity(name: str, v: Any, out: list[Key]) -> None:
    n = _float(v.get("value")) if type(v) is dict else None
    if n is None:
        return
    low, high = n, n
    match v.get("comparator"):
        case "<":
            low, high = LEAST, nextafter(n, LEAST)
        case "<=":
            low = LEAST
        case ">":
            low, high = nextafter(n, MOST), MOST
        case ">=":
            high = MOST
    if currency := text_of(v, "currency"):
        out.append(Key(name, "quantity", currency, "urn:iso:std:iso:4217", "", low, high))
        return
    code, unit = text_of(v, "code"), text_of(v, "unit")
    if code or not unit:
        out.append(Key(name, "quantity", code, text_of(v, "system"), "", low, high))
    if unit and unit != code:
        out.append(Key(name, "quantity", unit, "", "", low, high))


def _ranged(name: str, kind: str, v: Any, out: list[Key]) -> None:
    if type(v) is not dict:
        return
    first, last = v.get("low"), v.get("high")
    ends = [_float(e.get("value")) if type(e) is dict else None for e in (first, last)]
    if ends == [None, None]:
        return
    about = first if type(first) is dict else last
    unit, system = text_of(about, "code") or text_of(about, "unit"), text_of(about, "system")
    low, high = (LEAST if ends[0] is None else ends[0]), (MOST if ends[1] is None else ends[1])
    out.append(Key(name, kind, "" if kind == "number" else unit, "" if kind == "number" else system, "", low, high))
