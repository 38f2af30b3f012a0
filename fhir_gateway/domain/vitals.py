"""R4's vital signs profiles, which any Observation with one of their LOINC codes must meet.

https://hl7.org/fhir/R4/observation-vitalsigns.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .rule_shapes import UCUM, each, has_choice

Node = dict[str, Any]
Say = Callable[[str, str, str, str], None]  # issue code, where below the observation, sentence, profile

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LENGTHS, MASSES, PRESSURE = ("cm", "[in_i]"), ("kg", "[lb_av]", "g"), ("mm[Hg]",)
UNITS: dict[str, tuple[str, ...]] = {
    "9279-1": ("/min",), "8867-4": ("/min",), "2708-6": ("%",), "8310-5": ("Cel", "[degF]"), "8302-2": LENGTHS,
    "9843-4": LENGTHS, "29463-7": MASSES, "39156-5": ("kg/m2",), "85354-9": (), "85353-1": (),
}  # fmt: skip
PANEL, BLOOD_PRESSURE, SYSTOLIC, DIASTOLIC = "85353-1", "85354-9", "8480-6", "8462-4"


def check(observation: Node, say: Say) -> None:
    """Say what keeps an Observation with a vital sign's code from being one."""
    codings = each(observation.get("code"), "coding")
    signs = [c["code"] for c in codings if c.get("system") == LOINC and str(c.get("code")) in UNITS]
    if not signs:
        return
    kinds = [c for k in each(observation, "category") for c in each(k, "coding") if c.get("system") == CATEGORY]
    if not any(c.get("code") == "vital-signs" for c in kinds):
        say("structure", "category", "A vital sign has the category `vital-signs`.", "vitalsigns")
    if "subject" not in observation:
        say("required", "subject", "A vital sign has a subject.", "vitalsigns")
    _when(observation, say)
    empty = not has_choice(observation, "value") and "dataAbsentReason" not in observation
    if empty and "component" not in observation and "hasMember" not in observation:
        say("invariant", "", "A vital sign has a value or says why not.", "vs-2")
    for part in each(observation, "component"):
        if not has_choice(part, "value") and "dataAbsentReason" not in part:
            say("invariant", "component", "A component of a vital sign has a value or says why not.", "vs-3")
    for sign in signs:
        _sign(sign, observation, say)


def _when(observation: Node, say: Say) -> None:
    if not has_choice(observation, "effective"):
        say("required", "effective", "A vital sign has a time or a period.", "vitalsigns")
    if "effectiveTiming" in observation or "effectiveInstant" in observation:
        say("structure", "effective", "A vital sign's time is a dateTime or a Period.", "vitalsigns")
    at = observation.get("effectiveDateTime")
    if type(at) is str and len(at) < 8:
        say("invariant", "effectiveDateTime", "A vital sign's time is at least a day.", "vs-1")


def _sign(sign: str, observation: Node, say: Say) -> None:
    value = observation.get("valueQuantity")
    if sign == PANEL:
        if has_choice(observation, "value") or "hasMember" not in observation:
            say("structure", "hasMember", "A vital signs panel has members and no value.", "vitalspanel")
    elif sign == BLOOD_PRESSURE:
        _pressure(observation, say)
    elif type(value) is dict:
        _quantity(value, UNITS[sign], "valueQuantity", say)
    elif has_choice(observation, "value"):
        say("structure", "value", "This vital sign is a Quantity.", "vitalsigns")
    elif sign == "39156-5":
        say("required", "valueQuantity", "A body mass index has a value.", "bmi")


def _pressure(observation: Node, say: Say) -> None:
    if "valueQuantity" in observation:
        say("structure", "valueQuantity", "A blood pressure has its values in components.", "bp")
    for code, words in ((SYSTOLIC, "systolic"), (DIASTOLIC, "diastolic")):
        parts = [
            p for p in each(observation, "component")
            if any(c.get("system") == LOINC and c.get("code") == code for c in each(p.get("code"), "coding"))
        ]  # fmt: skip
        if len(parts) != 1:
            say("structure", "component", f"A blood pressure has one {words} component.", "bp")
        for part in parts:
            if type(part.get("valueQuantity")) is dict:
                _quantity(part["valueQuantity"], PRESSURE, "component", say)
            elif has_choice(part, "value"):
                say("structure", "component", f"The {words} pressure is a Quantity.", "bp")


def _quantity(value: Node, units: tuple[str, ...], at: str, say: Say) -> None:
    for name in ("value", "unit", "system", "code"):
        if name not in value and "_" + name not in value:
            say("required", at, f"A vital sign's quantity needs `{name}`.", "vitalsigns")
    if "system" in value and value["system"] != UCUM:
        say("value", at, f"A vital sign's unit is a UCUM unit ({UCUM}).", "vitalsigns")
    if "code" in value and value["code"] not in units:
        say("code-invalid", at, f"`{str(value['code'])[:20]}` is not this vital sign's unit ({' or '.join(units)}).", "vitalsigns")
