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
NUMBER: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?")
OTHER_UNITS: Final = frozenset({"LB", "LBS", "POUND", "POUNDS", "ST", "STONE", "STONES", "OZ", "OUNCES", "F", "FAHRENHEIT", "KPA"})  # a number beside one is no number of ours
ADVICE: Final = "If you feel unwell, call 111. If you feel very unwell, call 999."


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
    """What a word announces; of one part the value is the reading itself. `units`: how people may write its unit. `mistaken`: another unit is in use for it, so that
    no word may follow the number unparted."""

    codes: tuple[tuple[str, str, str], ...]
    parts: tuple[Part, ...]
    example: str
    units: str
    mistaken: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """The readings of a text message, each with its numbers as they were typed, and what else was written."""

    readings: tuple[tuple[Kind, tuple[str, ...]], ...]
    words: str = ""


def _one(loinc: str, words: str, unit: str, ucum: str, least: float, most: float, example: str, units: str, snomed: str = "", *, mistaken: bool = False) -> Kind:
    codes = ((LOINC, loinc, words), *(((SNOMED, snomed, words),) if snomed else ()))
    return Kind(codes, (Part(codes, unit, ucum, least, most),), example, units, mistaken)


_PRESSURE: Final = Kind(
    ((LOINC, "85354-9", "Blood pressure panel"), (SNOMED, "75367002", "Blood pressure")),
    (
        Part(((LOINC, "8480-6", "Systolic blood pressure"), (SNOMED, "72313002", "Systolic arterial pressure")), "mmHg", "mm[Hg]", 40, 300),
        Part(((LOINC, "8462-4", "Diastolic blood pressure"), (SNOMED, "1091811000000102", "Diastolic arterial pressure")), "mmHg", "mm[Hg]", 20, 200),
    ),
    "BP 141 80",
    "mmhg",
)
KINDS: Final = {
    "BP": _PRESSURE,
    "PULSE": _one("8867-4", "Heart rate", "beats/min", "/min", 20, 300, "PULSE 72", "bpm|beats"),
    "SATS": _one("2708-6", "Oxygen saturation", "%", "%", 40, 100, "SATS 94", "%"),
    "TEMP": _one("8310-5", "Body temperature", "°C", "Cel", 25, 45, "TEMP 36.8", "°?c", mistaken=True),
    "WEIGHT": _one("29463-7", "Body weight", "kg", "kg", 1, 500, "WEIGHT 70.5", "kgs?|kilos?", "27113001", mistaken=True),
}


def _pattern(name: str, kind: Kind) -> str:
    numbers = r"(?:[\s/,;:]+|\s*over\s*)".join([NUMBER.pattern] * len(kind.parts))
    return rf"{name}[\s:=/,;]*({numbers})(?:\s*(?:{kind.units}))?(?![0-9a-z%°]|\.[0-9])"


_READING: Final = re.compile("|".join(rf"(?P<{name}>(?<![0-9a-z]){_pattern(name, kind)})" for name, kind in KINDS.items()), re.IGNORECASE)


def read(text: str) -> Message:
    """What a message says. Problem invalid says what would be right, and whom to call."""
    if len(text) > LONGEST:
        raise _refused(f"Readings are one text message of at most {LONGEST} characters.")
    text = text.strip()
    found = list(_READING.finditer(text))
    first = re.split(r"[\s/,;:0-9]", text, maxsplit=1)[0]
    kind = KINDS.get(first.upper())
    if kind is None:
        raise _refused(f"A reading begins with {', '.join(KINDS)}, such as `{_PRESSURE.example}`; not `{first[:20]}`.")
    rest, end = [], 0
    for m in found:
        rest.append(text[end : m.start()])
        end = m.end()
    rest.append(text[end:])
    words = " ".join(w for part in rest if (w := " ".join(part.split()).strip(" ,;:/.")))
    if not found or found[0].start() or not _only_words(rest, words, found):
        raise _refused(f"This is not a reading that is understood here: send it such as `{kind.example}`.{f' Not understood: `{words[:40]}`.' if words else ''}")
    return Message(tuple(_checked(KINDS[str(m.lastgroup).upper()], tuple(NUMBER.findall(m[0]))) for m in found), words)


def _only_words(rest: list[str], words: str, found: list[re.Match[str]]) -> bool:
    """Is what stands beside readings no more than words: no number, no other unit of one, no reading without its number."""
    said = {w.upper() for w in re.findall(r"[^\W\d_]+", words)}
    parted = all(not after.strip() or after.lstrip(" ")[0] in ",;.\r\n" for m, after in zip(found, rest[1:], strict=True) if KINDS[str(m.lastgroup)].mistaken)
    return words.isprintable() and not re.search(r"\d", words) and said.isdisjoint({*KINDS, *OTHER_UNITS}) and parted


def _checked(kind: Kind, numbers: tuple[str, ...]) -> tuple[Kind, tuple[str, ...]]:
    for number, part in zip(numbers, kind.parts, strict=True):
        if not part.least <= float(number) <= part.most:
            raise _refused(f"`{number}` {part.unit} cannot be the {part.codes[0][2].lower()}: from {part.least:g} to {part.most:g}. Send it again.")
    if kind is _PRESSURE and float(numbers[0]) <= float(numbers[1]):
        raise _refused(f"In a blood pressure the first number is the higher one, such as `{kind.example}`: `{numbers[0]}` is not above `{numbers[1]}`. Send it again.")
    return kind, numbers


def _refused(why: str) -> Problem:
    return Problem("invalid", f"{why} Nobody has read your message. {ADVICE}", "text")


def taken_at(at: str, now: datetime) -> str:
    """When a reading was sent, as it was said. Problem invalid: no instant, one that has not come, or of years ago: it would lead every picture for good."""
    try:
        then = instant(interval(at)[0])
    except ValueError:
        raise Problem("invalid", f"`at` is an instant such as 2026-11-20T08:00:00Z, not `{at[:40]}`.", "at") from None
    if not now - OLDEST < then < now + AHEAD:
        raise Problem("invalid", f"`at` says when the reading was sent: `{at[:40]}` has not come yet, or is more than ten years ago.", "at")
    return at


def observations(message: Message, text: str, person: str, at: str, name: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """An Observation of each reading of a message (`text`, as it was typed) from this person (`Patient/…`), taken at this instant. `name` is its name (system, value)."""
    return [_observation(kind, numbers, text, person, at, name and (name[0], name[1] + (f" {n}" if n > 1 else ""))) for n, (kind, numbers) in enumerate(message.readings, 1)]


def _observation(kind: Kind, numbers: tuple[str, ...], text: str, person: str, at: str, name: tuple[str, str] | None) -> dict[str, Any]:
    values = [
        {"value": Decimal(number), "unit": part.unit, "system": UCUM, "code": part.ucum} for number, part in zip(numbers, kind.parts, strict=True)
    ]
    measured: dict[str, Any] = (
        {"valueQuantity": values[0]}
        if len(values) == 1
        else {"component": [{"code": _code(p.codes), "valueQuantity": v} for p, v in zip(kind.parts, values, strict=True)]}
    )
    return {
        "resourceType": "Observation", **({"identifier": [{"system": name[0], "value": name[1]}]} if name else {}), "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}], "code": _code(kind.codes), "subject": {"reference": person},
        "effectiveDateTime": at, "performer": [{"reference": person}], **measured, "note": [{"text": text.strip()}],
    }  # fmt: skip


def _code(codes: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    return {"coding": [{"system": s, "code": c, "display": d} for s, c, d in codes]}


__all__ = ["ADVICE", "KINDS", "Kind", "Message", "Part", "observations", "read", "taken_at"]
