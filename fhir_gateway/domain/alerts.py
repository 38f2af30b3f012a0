"""How an allergy or a warning of a record stands: read once for the page, the paper and the document. Pure.

https://hl7.org/fhir/R4/allergyintolerance.html https://hl7.org/fhir/R4/flag.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Literal

from .in_force import is_past, is_to_come
from .written_down import an_object, objects, over

SNOMED: Final = "http://snomed.info/sct"
ABSENT: Final = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"
NOTHING_KNOWN: Final[Mapping[tuple[str, str], str]] = {  # somebody asked, and wrote down that there is none
    (SNOMED, "716186003"): "No known allergies", (SNOMED, "160244002"): "No known allergies", (ABSENT, "no-known-allergies"): "No known allergies",
    (SNOMED, "409137002"): "No known allergies to medicines", (ABSENT, "no-known-medication-allergies"): "No known allergies to medicines",
    (SNOMED, "429625007"): "No known food allergies", (ABSENT, "no-known-food-allergies"): "No known food allergies",
    (SNOMED, "428607008"): "No known allergies to things around us", (ABSENT, "no-known-environmental-allergies"): "No known allergies to things around us",
    (SNOMED, "428197003"): "No known insect allergies", (ABSENT, "no-allergy-info"): "Nobody has found out about allergies",
}  # fmt: skip

Stands = Literal["now", "not yet", "over"]


def none_known(allergy: Mapping[str, Any]) -> str:
    """That there is none, in a sentence, where this says so and it holds; "" of any other."""
    codes = [(str(c.get("system")), str(c.get("code"))) for c in objects(an_object(allergy.get("code")).get("coding"))]
    return next((NOTHING_KNOWN[c] for c in codes if c in NOTHING_KNOWN), "") if not over(allergy) else ""


def is_unsure(allergy: Mapping[str, Any]) -> bool:
    """Nobody has made sure of it."""
    return any(c.get("code") == "unconfirmed" for c in objects(an_object(allergy.get("verificationStatus")).get("coding")))


def flag_stands(flag: Mapping[str, Any], today: date | None) -> Stands:
    """Whether a warning holds on this day: by its status, and by its period."""
    period = an_object(flag.get("period"))
    if flag.get("status") == "inactive" or is_past(period.get("end"), today):
        return "over"
    return "not yet" if is_to_come(period.get("start"), today) else "now"


__all__ = ["NOTHING_KNOWN", "SNOMED", "Stands", "flag_stands", "is_unsure", "none_known"]
