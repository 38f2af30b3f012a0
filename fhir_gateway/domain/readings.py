"""A reading that somebody sends as a text message, `BP 141 80`, as an Observation; and what is wrong with one, in words they can act on.

Codes: LOINC as https://hl7.org/fhir/R4/observation-vitalsigns.html asks, with SNOMED CT beside them. Nothing here judges a value (`thresholds` does, where a deployment has any).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from .periods import instant, interval
from .problem import Problem
from .vitals import CATEGORY, LOINC

SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
LONGEST: Final = 160  # characters of one text message
AHEAD: Final = timedelta(minutes=10)  # by which the clocks of two systems may differ
OLDEST: Final = timedelta(days=3652)
NUMBER: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a reading: its codes, unit, and the least and most that can be one at all."""

    codes: tuple[tuple[str, str, str], ...]  # system, code, display
    unit: str
    ucum: str
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Kind:
    """What a first word announces; of one part the value is the reading itself."""

    codes: tuple[tuple[str, str, str], ...]
    parts: tuple[Part, ...]
    example: str


def _one(loinc: str, words: str, unit: str, ucum: str, least: float, most: float, example: str, snomed: str = "") -> Kind:
    codes = ((LOINC, loinc, words), *(((SNOMED, snomed, words),) if snomed else ()))
    return Kind(codes, (Part(codes, unit, ucum, least, most),), example)


_PRESSURE: Final = Kind(
    ((LOINC, "85354-9", "Blood pressure panel"), (SNOMED, "75367002", "Blood pressure")),
    (
        Part(((LOINC, "8480-6", "Systolic blood pressure"), (SNOMED, "72313002", "Systolic arterial pressure")), "mmHg", "mm[Hg]", 40, 300),
        Part(((LOINC, "8462-4", "Diastolic blood pressure"), (SNOMED, "1091811000000102", "Diastolic arterial pressure")), "mmHg", "mm[Hg]", 20, 200),
    ),
    "BP 141 80",
)
KINDS: Final = {
    "BP": _PRESSURE,
    "PULSE": _one("8867-4", "Heart rate", "beats/min", "/min", 20, 300, "PULSE 72"),
    "SATS": _one("2708-6", "Oxygen saturation", "%", "%", 40, 100, "SATS 94"),
    "TEMP": _one("8310-5", "Body temperature", "°C", "Cel", 25, 45, "TEMP 36.8"),
    "WEIGHT": _one("29463-7", "Body weight", "kg", "kg", 1, 500, "WEIGHT 70.5", "27113001"),
}


def read(text: str) -> tuple[Kind, tuple[str, ...]]:
    """What a message says: its kind and its numbers as they were typed. Problem invalid says what would be right."""
    if len(text) > LONGEST:
        raise Problem("invalid", f"A reading is one text message of at most {LONGEST} characters.", "text")
    first, *rest = [*re.split(r"[\s/,;:]+", text.strip()), ""]
    kind = KINDS.get(first.upper())
    if kind is None:
        raise Problem("invalid", f"A reading begins with {', '.join(KINDS)}, such as `{_PRESSURE.example}`; not `{first[:20]}`.", "text")
    numbers = tuple(word for word in rest if word)
    if len(numbers) != len(kind.parts) or not all(NUMBER.match(n) for n in numbers):
        raise Problem("invalid", f"This is not a reading that is understood here: send it such as `{kind.example}`.", "text")
    for number, part in zip(numbers, kind.parts, strict=True):
        if not part.least <= float(number) <= part.most:
            raise Problem("invalid", f"`{number}` {part.unit} cannot be the {part.codes[0][2].lower()}: from {part.least:g} to {part.most:g}. Send it again.", "text")
    if kind is _PRESSURE and float(numbers[0]) <= float(numbers[1]):
        raise Problem("invalid", f"In a blood pressure the first number is the higher one, such as `{kind.example}`: `{numbers[0]}` is not above `{numbers[1]}`. Send it again.", "text")
    return kind, numbers


def taken_at(at: str, now: datetime) -> str:
    """When a reading was sent, as it was said. Problem invalid: no instant, one that has not come, or of years ago: it would lead every picture for good."""
    try:
        then = instant(interval(at)[0])
    except ValueError:
        raise Problem("invalid", f"`at` is an instant such as 2026-11-20T08:00:00Z, not `{at[:40]}`.", "at") from None
    if not now - OLDEST < then < now + AHEAD:
        raise Problem("invalid", f"`at` says when the reading was sent: `{at[:40]}` has not come yet, or is more than ten years ago.", "at")
    return at


def observation(text: str, person: str, at: str, message: tuple[str, str] | None = None) -> dict[str, Any]:
    """The Observation of a message from this person (`Patient/…`), taken at this instant. `message` is its name (system, value). Problem as `read`."""
    kind, numbers = read(text)
    values = [
        {"value": Decimal(number), "unit": part.unit, "system": UCUM, "code": part.ucum} for number, part in zip(numbers, kind.parts, strict=True)
    ]
    measured: dict[str, Any] = (
        {"valueQuantity": values[0]}
        if len(values) == 1
        else {"component": [{"code": _code(p.codes), "valueQuantity": v} for p, v in zip(kind.parts, values, strict=True)]}
    )
    return {
        "resourceType": "Observation", **({"identifier": [{"system": message[0], "value": message[1]}]} if message else {}), "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}], "code": _code(kind.codes), "subject": {"reference": person},
        "effectiveDateTime": at, "performer": [{"reference": person}], **measured, "note": [{"text": text.strip()}],
    }  # fmt: skip


def _code(codes: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    return {"coding": [{"system": s, "code": c, "display": d} for s, c, d in codes]}


__all__ = ["KINDS", "Kind", "Part", "observation", "read"]
