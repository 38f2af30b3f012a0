"""Is this the same person: NHS number together with date of birth and family name.

NHS number: https://digital.nhs.uk/services/nhs-number . Names are compared without case, accents, spaces and punctuation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"


def nhs_number(patient: Mapping[str, Any]) -> str | None:
    """The NHS number of a Patient, without spaces; None when it gives none."""
    for identifier in patient.get("identifier", []):
        if identifier.get("system") == NHS_NUMBER and identifier.get("value"):
            return str(identifier["value"]).replace(" ", "")
    return None


def agrees(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Same date of birth, and a family name in common; either missing is no agreement."""
    born = ours.get("birthDate"), theirs.get("birthDate")
    return bool(born[0]) and born[0] == born[1] and bool(families(ours) & families(theirs))


def families(patient: Mapping[str, Any]) -> set[str]:
    """Every family name, folded for comparison."""
    return {folded for name in patient.get("name", []) if (folded := fold(str(name.get("family", ""))))}


def fold(text: str) -> str:
    """Letters only, lower case, no accents."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in bare if c.isalnum())
