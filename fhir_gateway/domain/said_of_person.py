"""What an ADT message says of the person otherwise than their record: proposed to them, and never written. Pure. docs/hl7v2.md"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .er7 import Message
from .identity import fold
from .moments import moment

LONGEST: Final = 200  # characters of one text
_GENDERS: Final = {"M": "male", "F": "female", "O": "other", "A": "other", "1": "male", "2": "female", "9": "other"}


@dataclass(frozen=True, slots=True)
class Other:
    """One thing that the hospital has otherwise than the record: `what` in words, and what it has. `place`: it says where somebody is."""

    what: str
    theirs: str
    place: bool = False


def otherwise(m: Message, patient: Mapping[str, Any]) -> list[Other]:
    """Of address, telephone, first name, gender and death: what the hospital has otherwise than this Patient, or beyond it."""
    return [o for o in (_address(m, patient), _phone(m, patient), _first_name(m, patient), _gender(m, patient), _death(m, patient)) if o is not None]


def _address(m: Message, patient: Mapping[str, Any]) -> Other | None:
    lines = [t for n in (1, 2, 3, 4) if (t := m.text("PID", 11, n))]
    code = m.text("PID", 11, 5)
    if not code or any(fold(str(a.get("postalCode", ""))) == fold(code) for a in patient.get("address", ()) if a.get("use") != "old"):
        return None
    return Other("address", ", ".join([*lines, code])[:LONGEST], place=True)


def _phone(m: Message, patient: Mapping[str, Any]) -> Other | None:
    theirs = m.text("PID", 13, 12) or m.text("PID", 13)
    digits = _digits(theirs)
    known = {_digits(str(t.get("value", ""))) for t in patient.get("telecom", ())}
    return Other("telephone", theirs[:LONGEST], place=True) if len(digits) >= 6 and digits not in known else None


def _digits(number: str) -> str:
    return re.sub(r"^(0044|44)", "0", re.sub(r"\D", "", number))


def _first_name(m: Message, patient: Mapping[str, Any]) -> Other | None:
    theirs = m.text("PID", 5, 2)
    known = {fold(g) for n in patient.get("name", ()) for g in n.get("given", ())} - {""}
    return Other("first name", theirs[:LONGEST]) if fold(theirs) and known and fold(theirs) not in known else None


def _gender(m: Message, patient: Mapping[str, Any]) -> Other | None:
    theirs = _GENDERS.get(m.text("PID", 8).upper(), "")
    return Other("gender", theirs) if theirs and patient.get("gender") not in (None, "unknown", theirs) else None


def _death(m: Message, patient: Mapping[str, Any]) -> Other | None:
    died = m.text("PID", 30).upper() == "Y" or bool(m.text("PID", 29))
    if not died or patient.get("deceasedBoolean") or patient.get("deceasedDateTime"):
        return None
    return Other("death", moment(m, "PID", 29)[:10] or "said, without a date")


__all__ = ["LONGEST", "Other", "otherwise"]
