"""Is this the same person: NHS number together with date of birth and family name.

NHS number: https://digital.nhs.uk/services/nhs-number . Names are compared without case, accents, spaces and punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
NO_NUMBER = "This is no NHS number: it has 10 digits, and the last is worked out from the others. Look at each digit again."


def is_nhs_number(text: str) -> bool:
    """Ten digits, written without spaces, whose last is right by modulus 11.

    https://www.datadictionary.nhs.uk/attributes/nhs_number.html
    """
    if not re.fullmatch(r"[0-9]{10}", text) or not int(text):
        return False
    total: int = sum(int(digit) * weight for digit, weight in zip(text, (*range(10, 1, -1), 1), strict=True))
    return total % 11 == 0


def nhs_numbers(patient: Mapping[str, Any]) -> list[str]:
    """The NHS numbers of a Patient, without the spaces and hyphens that people write, each once; former ones left out."""
    own = [i for i in patient.get("identifier", []) if i.get("system") == NHS_NUMBER and i.get("value") and i.get("use") != "old"]
    return list(dict.fromkeys(str(i["value"]).replace(" ", "").replace("-", "") for i in own))


def nhs_number(patient: Mapping[str, Any]) -> str | None:
    """The NHS number of a Patient; None when it gives none."""
    return next(iter(nhs_numbers(patient)), None)


def agrees(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Same date of birth, and a family name in common; either missing is no agreement."""
    born = ours.get("birthDate"), theirs.get("birthDate")
    return bool(born[0]) and born[0] == born[1] and bool(families(ours) & families(theirs))


def contradicts(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Two dates of birth that differ, or family names that have nothing in common: not the same person, whatever else they share."""
    born = ours.get("birthDate"), theirs.get("birthDate")
    named = families(ours), families(theirs)
    return (all(born) and born[0] != born[1]) or (all(named) and not named[0] & named[1])


def other_given(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Both say given names, and none of them is the same: of two people of one family without a date of birth that is all that tells them apart."""
    mine, other = givens(ours), givens(theirs)
    return bool(mine and other) and not mine & other


def recognised(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Literal["same", "other", "unsure"]:
    """Whether a Patient that comes under a local id is the one that is here under it: another system, or another place, may give that id to anybody.

    `same` where date of birth and family name agree and the given names do not differ, or nothing of who they are is said otherwise than before; `other` where
    date of birth, family name or NHS number differ. What is missing agrees with nothing: then it is `unsure`.
    """
    numbers = nhs_number(ours), nhs_number(theirs)
    one_number = all(numbers) and numbers[0] == numbers[1]
    if agrees(ours, theirs) and (one_number or not other_given(ours, theirs)):
        return "same"
    if contradicts(ours, theirs) or (all(numbers) and not one_number):
        return "other"
    return "same" if _said(ours) == _said(theirs) else "unsure"


def _said(patient: Mapping[str, Any]) -> dict[str, Any]:
    """All that a Patient without a date of birth says: a name alone is no person."""
    return {k: v for k, v in patient.items() if k not in ("id", "meta", "text")}


def which(ours: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> tuple[str, Mapping[str, Any] | None]:
    """Which of these Patients elsewhere, found by our NHS number, is this person: (why it is not sure, or "", who it is, or None).

    Why: `disagrees`, `several`, `merged`, `inactive`. ("", None) where nobody has the number now.
    """
    number = nhs_number(ours)
    with_it = [p for p in known if number is not None and number in nhs_numbers(p)]
    used = [p for p in with_it if not retired(p)]
    if len(used) > 1:
        return "several", None
    if not used:
        return (retired(with_it[0]) if with_it else ""), None
    if len(nhs_numbers(used[0])) > 1 or len(nhs_numbers(ours)) > 1 or not agrees(ours, used[0]):
        return "disagrees", None
    return "", used[0]


def on_paper(patient: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """(NHS number, date of birth, family name) of a Patient that nobody has checked, to be looked up by; None unless it says each, and is in use."""
    here, names = (_objects(patient.get(part)) for part in ("identifier", "name"))
    numbers = nhs_numbers({"identifier": here})
    ordered = sorted(names, key=lambda n: {"official": 0, "usual": 1}.get(str(n.get("use")), 2) if n.get("use") != "old" else 3)
    family = next((n["family"] for n in ordered if isinstance(n.get("family"), str) and fold(n["family"])), None)
    born = patient.get("birthDate")
    if len(numbers) != 1 or family is None or not isinstance(born, str) or retired({**patient, "link": _objects(patient.get("link"))}):
        return None
    return numbers[0], born, family


def _objects(said: Any) -> list[Mapping[str, Any]]:
    return [o for o in said if isinstance(o, dict)] if isinstance(said, list) else []


def unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Why a Patient elsewhere that was this person may be somebody else, or of no use, by now: `changed`, `merged`, `inactive`; or ""."""
    if contradicts(ours, theirs) or nhs_numbers(ours) != nhs_numbers(theirs):
        return "changed"
    return retired(theirs) if ours.get("active") is not False else ""


def retired(patient: Mapping[str, Any]) -> str:
    """`merged` for one that was replaced by another, `inactive` for one that is in use no more (https://hl7.org/fhir/R4/patient.html#link)."""
    if any(k.get("type") == "replaced-by" for k in patient.get("link", ())):
        return "merged"
    return "inactive" if patient.get("active") is False else ""


def still_known(patient: Mapping[str, Any], was: Mapping[str, Any]) -> dict[str, Any]:
    """The Patient as a plan says it now, with what says who they are: a plan that does not speak of their family name, date of birth or NHS number
    takes none of it away."""
    out = dict(patient)
    if families(was) and not families(out):
        out["name"] = was["name"]
    if was.get("birthDate") and not out.get("birthDate"):
        out["birthDate"] = was["birthDate"]
    if nhs_numbers(was) and not nhs_numbers(out):
        out["identifier"] = [*out.get("identifier", ()), *(i for i in was["identifier"] if i.get("system") == NHS_NUMBER)]
    return out


def families(patient: Mapping[str, Any]) -> set[str]:
    """Every family name, folded for comparison."""
    return {folded for name in patient.get("name", []) if (folded := fold(str(name.get("family", ""))))}


def givens(patient: Mapping[str, Any]) -> set[str]:
    """Every given name, folded for comparison."""
    return {folded for name in patient.get("name", []) for given in name.get("given", ()) if (folded := fold(str(given)))}


def fold(text: str) -> str:
    """Letters only, lower case, no accents."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in bare if c.isalnum())
