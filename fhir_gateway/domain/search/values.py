"""Written values as they are compared: folded text, dates as spans of instants, numbers with the precision they were given.

https://hl7.org/fhir/R4/search.html#string, #date, #number
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import inf, nextafter
from zoneinfo import ZoneInfo

DAWN, DUSK = -(2**62), 2**62  # the open ends of a date, as microseconds
LEAST, MOST = nextafter(-inf, 0), nextafter(inf, 0)  # the open ends of a number
LONDON = "Europe/London"
LONGEST = 1_000  # characters of a text that are compared

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?\d{1,60}(\.\d{1,60})?([eE][+-]?\d{1,3})?", re.ASCII)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000


def fold(text: str) -> str:
    """Without case, accents and runs of white space: how strings are compared."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return " ".join(text.lower().split())[:LONGEST]


@lru_cache(maxsize=8192)
def date_span(text: str, zone: str = LONDON) -> tuple[int, int] | None:
    """The instants a FHIR date, dateTime or instant stands for: microseconds since 1970 UTC, both inclusive. None for no date.

    What has no zone of its own is read in `zone`.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    try:
        return _span(found, zone)
    except (ValueError, OverflowError):
        return None


def _span(found: re.Match[str], zone: str) -> tuple[int, int]:
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    if hour is None:
        first = date(int(year), int(month or 1), int(day or 1))
        if day:
            last = first
        elif month:
            last = date(first.year, first.month, _month_length(first.year, first.month))
        else:
            last = date(first.year, 12, 31)
        return _local(first, 0, zone), _local(last, _DAY - 1, zone)
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        raise ValueError(hour)
    unit = 60_000_000
    within = (int(hour) * 60 + int(minute)) * unit
    if second is not None:
        unit = 1_000_000
        within += min(int(second), 59) * unit  # a leap second is the last of its minute
        if fraction is not None:
            digits = fraction[1:7]
            unit = int(10 ** (6 - len(digits)))
            within += int(digits) * unit
    day_ = date(int(year), int(month), int(day))
    if offset is None:
        low = _local(day_, within, zone)
    else:
        low = (day_.toordinal() - _EPOCH_DAY) * _DAY + within - _offset(offset)
    return low, low + unit - 1


def _local(day: date, within: int, zone: str) -> int:
    naive = datetime(day.year, day.month, day.day) + timedelta(microseconds=within)
    place = UTC if zone == "UTC" else ZoneInfo(zone)
    away = place.utcoffset(naive) if zone == "UTC" else naive.replace(tzinfo=place).utcoffset()
    assert away is not None
    return (day.toordinal() - _EPOCH_DAY) * _DAY + within - away // timedelta(microseconds=1)


def _offset(text: str) -> int:
    if text == "Z":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError(text)
    return (hours * 60 + minutes) * 60_000_000 * (-1 if text[0] == "-" else 1)


def _month_length(year: int, month: int) -> int:
    return 31 if month == 12 else (date(year, month + 1, 1) - date(year, month, 1)).days


def number(text: str) -> float | None:
    """The exact value, as near as a float comes."""
    return float(text) if _NUMBER.fullmatch(text) and abs(float(text)) != inf else None


def number_span(text: str) -> tuple[float, float] | None:
    """What a number asked for stands for, both ends inclusive: `100` is [99.5, 100.5). None for what is no number.

    `1e2` is [95, 105): so says https://hl7.org/fhir/R4/search.html#number.
    """
    if number(text) is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:  # pragma: no cover - the pattern has passed
        return None
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - (2 if exponent > 0 else 1))
    return float(value - half), nextafter(float(value + half), -inf)


def around(value: float) -> tuple[float, float]:
    """What `ap` accepts: 10 % either way."""
    return value - abs(value) / 10, value + abs(value) / 10


def split(text: str, at: str) -> list[str]:
    """At separators that are not escaped with a backslash; the parts keep their escapes."""
    if "\\" not in text:
        return text.split(at)
    parts, start, i = [], 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == at:
            parts.append(text[start:i])
            start = i + 1
        i += 1
    return [*parts, text[start:]]


def plain(text: str) -> str:
    r"""Without the escapes `\,` `\|` `\$` `\\`."""
    return re.sub(r"\\([,|$\\])", r"\1", text) if "\\" in text else text


def local(reference: str) -> bool:
    """Is this `Type/id`, a resource of this server."""
    type, slash, id = reference.partition("/")
    return bool(slash and type and id) and "/" not in id and ":" not in type and "#" not in type


def after_all(prefix: str) -> str | None:
    """The least text after everything that begins with `prefix`, None when there is none."""
    for i in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[i]) + 1
        if point == 0xD800:
            point = 0xE000
        if point <= 0x10FFFF:
            return prefix[:i] + chr(point)
    return None
