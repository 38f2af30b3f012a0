"""Thresholds of a deployment's own for readings by text message: off unless it says who answers for them, when somebody looks, and who. Pure.

Software that watches readings and calls somebody is a medical device. None is set here, and none has a default: whoever sets one is named on every
Task that comes of it. docs/readings.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Final

from .directory import ODS_CODE
from .periods import LONDON
from .readings import KINDS, Part
from .written_down import an_object, objects

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_PRESSURES: Final = dict(zip(("SYSTOLIC", "DIASTOLIC"), KINDS["BP"].parts, strict=True))
MEASURED: Final[Mapping[str, Part]] = _PRESSURES | {name: kind.parts[0] for name, kind in KINDS.items() if len(kind.parts) == 1}
_LIMIT: Final = re.compile(r"([A-Za-z]+)\s*([<>])\s*([0-9]{1,3}(?:\.[0-9]{1,2})?)")
_HOURS: Final = re.compile(r"([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? ([0-2][0-9]:[0-5][0-9])-([0-2][0-9]:[0-5][0-9])")
MEANT: Final = "SYSTOLIC>180; DIASTOLIC>110; SATS<92"


@dataclass(frozen=True, slots=True)
class Limit:
    """One number that is not to be above (`over`), or below, another."""

    part: Part
    over: bool
    number: Decimal

    def crossed(self, value: Decimal) -> bool:
        return value > self.number if self.over else value < self.number


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`manufacturer` answers for the limits; `team` (a reference, or `system|value`) looks on these days (0 is Monday) from `begin` to `end` in London."""

    limits: tuple[Limit, ...]
    manufacturer: str
    days: frozenset[int]
    begin: time
    end: time
    team: str

    def looked_at(self, at: datetime) -> bool:
        """Does somebody look at this moment."""
        here = at.astimezone(LONDON)
        return here.weekday() in self.days and self.begin <= here.time() < self.end

    def crossed(self, reading: Mapping[str, Any]) -> list[str]:
        """What of an Observation of ours is beyond a limit, in words; nothing where all is within."""
        out: list[str] = []
        for measured in (reading, *objects(reading.get("component"))):
            codes = {(c.get("system"), c.get("code")) for c in objects(an_object(measured.get("code")).get("coding"))}
            value = an_object(measured.get("valueQuantity")).get("value")
            for limit in self.limits:
                system, code, words = limit.part.codes[0]
                if value is not None and (system, code) in codes and limit.crossed(Decimal(str(value))):
                    out.append(f"{words} {value} {limit.part.unit} is {'above' if limit.over else 'below'} {limit.number}")
        return out


def parse(limits: str, manufacturer: str, hours: str, team: str) -> Thresholds | None:
    """None where nothing is said. ValueError says what is missing or wrong: there is no threshold of nobody's, and none that nobody looks at."""
    said = {"LIMITS": limits.strip(), "MANUFACTURER": manufacturer.strip(), "HOURS": hours.strip(), "TEAM": team.strip()}
    if not any(said.values()):
        return None
    if missing := next((name for name, words in said.items() if not words), None):
        raise ValueError(f"GATEWAY_READING_{missing} is not set: thresholds need all four of them, or none is set")
    days, begin, end = _hours(said["HOURS"])
    place = said["TEAM"] if "/" in said["TEAM"] else f"{ODS_CODE}|{said['TEAM']}"
    return Thresholds(tuple(_limit(p.strip()) for p in said["LIMITS"].split(";") if p.strip()), " ".join(said["MANUFACTURER"].split()), days, begin, end, place)


def _limit(text: str) -> Limit:
    found = _LIMIT.fullmatch(text)
    part = MEASURED.get(found[1].upper()) if found is not None else None
    if found is None or part is None:
        raise ValueError(f"GATEWAY_READING_LIMITS: `{text[:40]}` must be such as `{MEANT}`, of {', '.join(MEASURED)}")
    number = Decimal(found[3])
    if not Decimal(str(part.least)) <= number <= Decimal(str(part.most)):
        raise ValueError(f"GATEWAY_READING_LIMITS: `{text[:40]}` is beyond what a reading can be, from {part.least:g} to {part.most:g}")
    return Limit(part, found[2] == ">", number)


def _hours(text: str) -> tuple[frozenset[int], time, time]:
    found = _HOURS.fullmatch(text)
    if found is None or found[1] not in DAYS or (found[2] or found[1]) not in DAYS:
        raise ValueError(f"GATEWAY_READING_HOURS: `{text[:40]}` must be such as `Mon-Fri 08:00-18:00`, in London")
    first, last = DAYS.index(found[1]), DAYS.index(found[2] or found[1])
    try:
        begin, end = time.fromisoformat(found[3]), time.fromisoformat(found[4])
    except ValueError:
        raise ValueError(f"GATEWAY_READING_HOURS: `{text[:40]}` has an hour that no day has") from None
    if first > last or begin >= end:
        raise ValueError(f"GATEWAY_READING_HOURS: `{text[:40]}` must end after it begins, on one day of a week from Monday to Sunday")
    return frozenset(range(first, last + 1)), begin, end


__all__ = ["Limit", "Thresholds", "parse"]
