"""Primitive values of a plan as FHIR has them: what can be said exactly is copied, anything else is MISSING.

https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any, Final, TypeGuard

from .names import ACTION_KIND, NHS_NUMBER, ODS, OWN_ORGANISATION, PLAN_SYSTEM, kind_of
from .paths import MISSING

_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
CODE: Final = re.compile(r"[^\s]+(?: [^\s]+)*\Z")
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\Z", re.ASCII)
_TIME = re.compile(
    r"T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?(Z|[+-](0\d|1[0-3]):[0-5]\d|[+-]14:00)\Z", re.ASCII
)


def is_text(value: Any) -> TypeGuard[str]:
    """A FHIR string can hold it: not empty, not only white space, no control characters."""
    return type(value) is str and not value.isspace() and value != "" and _NO_TEXT.search(value) is None


def as_text(value: Any, way: Any) -> Any:
    return value if is_text(value) else MISSING


def as_code(value: Any, way: Any) -> Any:
    return value if is_text(value) and CODE.match(value) else MISSING


_ABSOLUTE = re.compile(r"(https?://[A-Za-z0-9][^\s<>\"{}|\\^`]*|urn:(?!uuid:|oid:)[a-z0-9-]+:[^\s<>\"{}\\^`]+)\Z")


def is_absolute(value: Any) -> bool:
    """An absolute address, as code systems have."""
    return is_text(value) and _ABSOLUTE.match(value) is not None


def as_uri(value: Any, way: Any) -> Any:
    return value if is_absolute(value) else MISSING


def as_canonical(value: Any, way: Any) -> Any:
    """An absolute address, with `|version` where one is named."""
    address, _, version = value.partition("|") if is_text(value) else ("", "", "")
    return value if is_absolute(address) and (value == address or CODE.match(version)) else MISSING


def as_web_address(value: Any, way: Any) -> Any:
    return value if as_uri(value, way) is not MISSING and value.startswith(("https://", "http://")) else MISSING


_TAKEN: Final = frozenset({NHS_NUMBER, ODS, OWN_ORGANISATION, PLAN_SYSTEM})


def as_foreign_system(value: Any, way: Any) -> Any:
    """The system of a number that somebody else gave: never one by which the gateway itself knows people."""
    return MISSING if value in _TAKEN or kind_of(value) is not None else as_uri(value, way)


_CODING: Final = frozenset({"system", "version", "code", "display"})


def as_coding(value: Any, way: Any) -> Any:
    """`{system, code, display}`, whichever are said, of a system that is not the plan's own."""
    if type(value) is not dict or not value or not value.keys() <= _CODING or not all(is_text(v) for v in value.values()):
        return MISSING
    if value.get("system") == ACTION_KIND or as_uri(value.get("system", "urn:x:y"), way) is MISSING or as_code(value.get("code", "x"), way) is MISSING:
        return MISSING
    return value


def coding_back(value: Any, way: Any) -> Any:
    if not isinstance(value, dict) or value.get("system") == ACTION_KIND:
        return MISSING
    return {k: v for k, v in value.items() if k in _CODING and isinstance(v, str)} or MISSING


def is_date(value: Any) -> bool:
    """A FHIR date: a year, a month or a day that exists."""
    m = _DATE.match(value) if type(value) is str else None
    if m is None or m[1] == "0000":
        return False
    try:
        date(int(m[1]), int(m[2] or 1), int(m[3] or 1))
    except ValueError:
        return False
    return True


def as_date(value: Any, way: Any) -> Any:
    return value if is_date(value) else MISSING


def is_moment(value: Any) -> bool:
    """A FHIR dateTime: a date, or a full day with time and zone."""
    if is_date(value):
        return True
    return type(value) is str and len(value) > 10 and is_date(value[:10]) and _TIME.match(value, 10) is not None


def as_moment(value: Any, way: Any) -> Any:
    return value if is_moment(value) else MISSING


def as_boolean(value: Any, way: Any) -> Any:
    return value if type(value) is bool else MISSING


def as_integer(value: Any, way: Any) -> Any:
    return value if type(value) is int and -(2**31) <= value < 2**31 else MISSING


def is_number(value: Any) -> bool:
    """A FHIR decimal of at most 18 digits."""
    if type(value) is int:
        return -(10**18) < value < 10**18
    if type(value) is not Decimal or not value.is_finite():
        return False
    digits = value.as_tuple()
    return len(digits.digits) <= 18 and -18 <= int(digits.exponent) <= 18


def as_number(value: Any, way: Any) -> Any:
    return value if is_number(value) else MISSING
