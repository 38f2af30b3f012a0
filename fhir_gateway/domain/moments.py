"""The times of an HL7 v2 message (2.A.22, DTM) as FHIR has them. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from .er7 import Message, wrong
from .periods import LONDON, interval
from .periods import instant as instant_of

_TIME: Final = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)?(?:(\d\d)(?:\.\d{1,6})?)?)?)?)?([+-]\d{4})?", re.ASCII)


def moment(m: Message, segment: str, field: int) -> str:
    """A time stamp as a FHIR dateTime, with what precision it has; without a zone it is London's. "" where it is not said. Problem invalid."""
    said = m.text(segment, field)
    if not said:
        return ""
    found, place = _TIME.fullmatch(said), f"{segment}^{m.nth if segment == 'PID' else 1}^{field}"
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second, zone = found.groups()
        at = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59))
        if hour is None:
            return "-".join(p for p in (year, month, day) if p)
        aware = datetime.strptime(f"{at:%Y%m%d%H%M%S}{zone}", "%Y%m%d%H%M%S%z") if zone else at.replace(tzinfo=LONDON)
        return aware.astimezone(aware.tzinfo).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise wrong(f"`{said[:30]}` is no time (YYYYMMDDHHMMSS).", place, "102") from None


def instant(text: str, *, last: bool = False) -> datetime:
    """The first (`last`: the last) moment of a FHIR date or dateTime, to compare."""
    return instant_of(interval(text)[1 if last else 0])


__all__ = ["instant", "moment"]
