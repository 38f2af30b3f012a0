"""FHIR dates as intervals: microseconds since 1970 UTC, both ends inclusive. What has no zone is read in Europe/London.

https://hl7.org/fhir/R4/datatypes.html#Period: "the end … is inclusive of any time in that moment".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
FOR_EVER = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICRO - 1
DAWN = (datetime(1, 1, 1, tzinfo=LONDON) - EPOCH) // MICRO  # what begins earlier begins here: no calendar of ours goes further
_SHAPE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII)


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC of an aware instant."""
    d = at - EPOCH
    return (d.days * 86_400 + d.seconds) * 1_000_000 + d.microseconds


def instant(at: int) -> datetime:
    """The aware instant, in UTC; beyond our calendar its first or last, which London can tell, too."""
    return EPOCH + timedelta(0, 0, min(max(at, DAWN), FOR_EVER))


@lru_cache(maxsize=4096)
def interval(text: str) -> tuple[int, int]:
    """First and last microsecond of a date, dateTime or instant of any precision. ValueError for anything else.

    Kept to what `instant` can give back, in UTC and in London: year 1 east of here and 9999 west of here go beyond it.
    """
    low, high = _interval(text)
    return min(max(low, DAWN), FOR_EVER), min(max(high, DAWN), FOR_EVER)


def _interval(text: str) -> tuple[int, int]:
    found = _SHAPE.fullmatch(text)
    if not found:
        raise ValueError(f"`{text[:40]}` is not a FHIR date or dateTime")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if hour is None:
        first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=LONDON)
        if int(year) == 9999:  # as good as for ever
            return micros(first), FOR_EVER
        return micros(first), micros(_next(first, month, day)) - 1
    where = LONDON if zone is None else UTC if zone == "Z" else datetime.fromisoformat(f"2000-01-01T00:00{zone}").tzinfo
    at = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=where)
    low = micros(at)
    if second is None:
        return low, low + 60_000_000 - 1
    if fraction is None:
        return low, low + 1_000_000 - 1
    digits = fraction[:6]
    low += int(digits.ljust(6, "0"))
    return low, low + 10 ** (6 - len(digits)) - 1


def _next(first: datetime, month: str | None, day: str | None) -> datetime:
    if day:
        then = first.replace(tzinfo=None) + timedelta(days=1)
        return then.replace(tzinfo=LONDON)
    if month:
        return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first.replace(year=first.year + 1)


def bounds(period: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    """(low, high) of a Period; None is open. ValueError for what is no date."""
    if not period:
        return None, None
    low = interval(period["start"])[0] if period.get("start") else None
    high = interval(period["end"])[1] if period.get("end") else None
    return low, high


def covers(low: int | None, high: int | None, at: int) -> bool:
    return (low is None or low <= at) and (high is None or at <= high)
