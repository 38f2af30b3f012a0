"""fixed[x], pattern[x], minValue[x], maxValue[x]: one value against another. https://hl7.org/fhir/R4/elementdefinition.html"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .. import primitives, units

NUMBERS = (int, Decimal, float)


def equal(value: Any, fixed: Any) -> bool:
    """Whether this is exactly that: the same members, the same order; numbers by value. An element's own `id` is no content."""
    if type(fixed) is dict:
        same = type(value) is dict and value.keys() - {"id"} == fixed.keys() - {"id"}
        return same and all(equal(value[k], f) for k, f in fixed.items() if k != "id")
    if type(fixed) is list:
        return type(value) is list and len(value) == len(fixed) and all(map(equal, value, fixed))
    if type(fixed) in NUMBERS:
        return type(value) in NUMBERS and Decimal(str(value)) == Decimal(str(fixed))
    return type(value) is type(fixed) and value == fixed


def fits(value: Any, pattern: Any) -> bool:
    """Whether everything the pattern has is there, whatever else is; each of its items at any place in the list."""
    if type(pattern) is dict:
        return type(value) is dict and all(k in value and fits(value[k], p) for k, p in pattern.items())
    if type(pattern) is list:
        return type(value) is list and all(any(fits(v, p) for v in value) for p in pattern)
    return equal(value, pattern)


def compare(value: Any, bound: Any) -> int | None:
    """-1, 0, 1: before or below, equal, after or above; None where the two cannot be compared."""
    if type(value) is dict and type(bound) is dict:
        return units.compare(value, bound)
    if type(value) in NUMBERS and type(bound) in NUMBERS:
        a, b = Decimal(str(value)), Decimal(str(bound))
        return (a > b) - (a < b)
    if type(value) is str and type(bound) is str:
        first, last = primitives.span(value), primitives.span(bound)
        if first is None or last is None:
            return None
        return -1 if first[1] < last[0] else 1 if first[0] > last[1] else 0
    return None
