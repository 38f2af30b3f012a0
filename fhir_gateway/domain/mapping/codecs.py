"""Named codecs: how one value of a plan is said in FHIR, and back. A rule that needs logic is one of these, never an expression.

`out(value, way)` gives the FHIR value, or MISSING when FHIR cannot say it exactly: then the value is kept beside. `back(value,
way)` gives the plan's value or MISSING. A string is only ever copied: nothing a person typed is looked into.
Primitive values are in `primitives`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .names import EXTENSIONS, ODS, OWN_ORGANISATION, kind_of, local, quote, system
from .paths import MISSING
from .primitives import (
    CODE,
    as_boolean,
    as_canonical,
    as_code,
    as_coding,
    as_date,
    as_foreign_system,
    as_integer,
    as_moment,
    as_number,
    as_text,
    as_uri,
    as_web_address,
    coding_back,
    is_text,
)

if TYPE_CHECKING:
    from .ways import Inward, Outward


class Codec(NamedTuple):
    out: Callable[[Any, Outward], Any]
    back: Callable[[Any, Inward], Any]
    whole: bool = True  # reads and writes everything under its path


class Instead(NamedTuple):
    """A FHIR value that stands for the plan's word without saying it exactly: the word is kept beside."""

    value: Any


def _same(kind: Callable[[Any, Any], Any]) -> Codec:
    return Codec(kind, kind)


def ranged(low: int, high: int) -> Codec:
    """A whole number from `low` to `high`."""

    def one(value: Any, way: Any) -> Any:
        return value if type(value) is int and low <= value <= high else MISSING

    return Codec(one, as_integer)


def constant(word: Any) -> Codec:
    """The plan says exactly this."""

    def one(value: Any, way: Any) -> Any:
        return value if value == word and type(value) is type(word) else MISSING

    return Codec(one, one)


def coded(words: Mapping[str, str], also: Mapping[str, str], table: Mapping[str, str]) -> Codec:
    """The plan's word to a code. Words of `also` are said by a code that has another word of its own: the word is kept beside.

    `table` is code to word; a code it does not know comes back as it is.
    """

    def out(value: Any, way: Any) -> Any:
        if type(value) is not str:
            return MISSING
        code = words.get(value)
        if code is not None:
            return code
        near = also.get(value)
        return MISSING if near is None else Instead(near)

    def back(value: Any, way: Any) -> Any:
        return table.get(value, value) if type(value) is str else MISSING

    return Codec(out, back)


# -- references -------------------------------------------------------------------------------------------------------


def link(kind: str) -> Codec:
    """A local id of the plan as a reference to the resource made of it; an id the plan does not have is kept by name."""

    def out(value: Any, way: Outward) -> Any:
        if not is_text(value):
            return MISSING
        url = way.urls.get((kind, value))
        if url is not None:
            return {"reference": url}
        return {"type": way.type_of(kind), "identifier": {"system": system(kind), "value": way.value(quote(value))}}

    def back(value: Any, way: Inward) -> Any:
        if not isinstance(value, dict):
            return MISSING
        found = way.find(value)
        if found is not None:
            return found.id if found.kind == kind else MISSING
        return _named(value, kind)

    return Codec(out, back)


def _named(reference: Mapping[str, Any], kind: str) -> Any:
    identifier = reference.get("identifier")
    if isinstance(identifier, dict) and kind_of(identifier.get("system")) == kind and isinstance(identifier.get("value"), str):
        id = local(identifier["value"])
        return MISSING if id is None else id
    return MISSING


def _who(value: Any, way: Outward) -> Any:
    """`person`, somebody of the team, a contact, or a name in the plan's own words."""
    if not is_text(value):
        return MISSING
    if value == "person":
        return {"reference": way.patient}
    if value in way.team:
        return {"type": "Practitioner", **way.team_name(value)}
    url = way.urls.get(("contact", value))
    return {"reference": url} if url is not None else {"display": value}


def _reached(value: Any, way: Outward) -> Any:
    """The same with the number of somebody of the team, for whoever sees a crisis plan and not the team: a friend's stands in their own record."""
    made, member = _who(value, way), way.team.get(value) if is_text(value) else None
    number = member.get("phone") if member is not None and value != "person" else None
    return {**made, "extension": [{"url": TEAM_PHONE, "valueContactPoint": {"system": "phone", "value": number}}]} if is_text(number) else made


def _who_back(value: Any, way: Inward) -> Any:
    if not isinstance(value, dict):
        return MISSING
    extension = value.get("extension")
    for e in extension if isinstance(extension, list) else ():
        if isinstance(e, dict) and e.get("url") == MEMBER and isinstance(e.get("valueString"), str):
            return e["valueString"]
    found = way.find(value)
    if found is not None:
        return "person" if found.kind == "person" else found.id if found.kind == "contact" else found.name or MISSING
    member = _named(value, "team")
    if member is not MISSING:
        return member
    return value["display"] if isinstance(value.get("display"), str) else MISSING


MEMBER: Final = EXTENSIONS + "plan-member"
TEAM_PHONE: Final = EXTENSIONS + "team-phone"


def _professional(value: Any, way: Outward) -> Any:
    """Somebody of the team or a name in words: where FHIR takes neither the person nor those in their own life."""
    return MISSING if value == "person" or (is_text(value) and ("contact", value) in way.urls) else _who(value, way)


def _owner(value: Any, way: Outward) -> Any:
    """Who does it. A health or social care organisation is named by its own identifier, so that it can find its work and take it
    on; a voluntary one by its place in the team alone, for a Task invites whoever it names, and that is the person's to do."""
    if not is_text(value) or value not in way.team or value == "person":
        return _who(value, way)
    place = way.team[value].get("organisation")
    reference = _organisation(place, way) if isinstance(place, dict) and place.get("sector") in ("health", "social-care") else MISSING
    if not isinstance(reference, dict) or "identifier" not in reference:
        return _who(value, way)
    name = way.team[value].get("name")
    out = {"extension": [{"url": MEMBER, "valueString": value}], "type": "Organization", "identifier": reference["identifier"]}
    return out | ({"display": name} if is_text(name) else {})


ORGANISATION_KEYS: Final = {"ods": ODS, "id": OWN_ORGANISATION}
SECTOR: Final = EXTENSIONS + "sector"


def _organisation(value: Any, way: Any) -> Any:
    """`{ods or id, name, sector}` as a reference by identifier. Anything more than that is kept beside, whole."""
    if type(value) is not dict or not value or not value.keys() <= {"ods", "id", "name", "sector"}:
        return MISSING
    if ("ods" in value and "id" in value) or not all(is_text(v) for v in value.values()):
        return MISSING
    if "sector" in value and not CODE.match(value["sector"]):
        return MISSING
    out: dict[str, Any] = {}
    if "sector" in value:
        out["extension"] = [{"url": SECTOR, "valueCode": value["sector"]}]
    out["type"] = "Organization"
    for key, name in ORGANISATION_KEYS.items():
        if key in value:
            out["identifier"] = {"system": name, "value": value[key]}
    if "name" in value:
        out["display"] = value["name"]
    return out if len(out) > 1 else MISSING


def _organisation_back(value: Any, way: Inward) -> Any:
    if not isinstance(value, dict):
        return MISSING
    found = way.find(value)
    identifier = value.get("identifier")
    if found is not None and found.kind != "organisation":
        return MISSING
    if isinstance(identifier, dict) and kind_of(identifier.get("system")) is not None:
        return MISSING  # somebody of the team without an organisation
    if found is None and value.get("type") != "Organization" and not str(value.get("reference", "")).startswith("Organization"):
        return MISSING
    out: dict[str, Any] = dict(found.more) if found is not None else {}
    for key, name in ORGANISATION_KEYS.items():
        if isinstance(identifier, dict) and identifier.get("system") == name and isinstance(identifier.get("value"), str):
            out[key] = identifier["value"]
    if isinstance(value.get("display"), str):
        out["name"] = value["display"]
    for e in value.get("extension", ()) if isinstance(value.get("extension"), list) else ():
        if isinstance(e, dict) and e.get("url") == SECTOR and isinstance(e.get("valueCode"), str):
            out["sector"] = e["valueCode"]
    return out or MISSING


def _person_name_back(value: Any, way: Inward) -> Any:
    """The name of a person somebody else's record refers to."""
    if not isinstance(value, dict):
        return MISSING
    found = way.find(value)
    if found is not None:
        return found.name if found.kind in ("practitioner", "contact") and found.name else MISSING
    if str(value.get("reference", "")).startswith("Organization") or value.get("type") == "Organization":
        return MISSING
    return value["display"] if isinstance(value.get("display"), str) else MISSING


# -- words for others' concepts ---------------------------------------------------------------------------------------


def _concept_back(value: Any, way: Any) -> Any:
    """The words of a CodeableConcept: its text, else the first display, else the first code."""
    if not isinstance(value, dict):
        return MISSING
    if isinstance(value.get("text"), str):
        return value["text"]
    codings = value.get("coding")
    for key in ("display", "code"):
        for coding in codings if isinstance(codings, list) else ():
            if isinstance(coding, dict) and isinstance(coding.get(key), str):
                return coding[key]
    return MISSING


def _human_name_back(value: Any, way: Any) -> Any:
    return person_name({"name": [value]}) or MISSING


def person_name(resource: Mapping[str, Any]) -> str:
    """The name of a Patient, Practitioner or RelatedPerson as one line."""
    names = resource.get("name")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, dict):
            parts = [*name.get("prefix", ()), *name.get("given", ()), name.get("family", "")]
            return str(name.get("text") or " ".join(str(p) for p in parts if p))
    return ""


def _nhs_number(value: Any, way: Any) -> Any:
    """Written without spaces, as the NHS number's own system asks."""
    if not is_text(value):
        return MISSING
    bare = value.replace(" ", "")
    return value if bare == value or not (bare.isascii() and bare.isdigit()) else Instead(bare)


_CURRENCIES: Final = frozenset(
    ["GBP", "EUR", "USD", "AUD", "CAD", "CHF", "CNY", "CZK", "DKK", "HKD", "HUF", "INR", "JPY", "KRW", "MXN", "NOK", "NZD", "PKR", "PLN", "RON", "SEK", "SGD", "TRY", "ZAR", "BDT", "LKR", "NGN"]
)


_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?\Z", re.ASCII)


def _language(value: Any, way: Any) -> Any:
    """A BCP-47 tag of language, script and region; `Bengali` in words is kept beside."""
    return value if type(value) is str and _LANGUAGE.match(value) else MISSING


def _currency(value: Any, way: Any) -> Any:
    return value if type(value) is str and value in _CURRENCIES else MISSING


def _never(value: Any, way: Any) -> Any:
    return MISSING


def _medication_back(value: Any, way: Inward) -> Any:
    """What a medicine is called that is a record of its own: as the reference says, else as that record does."""
    if not isinstance(value, dict):
        return MISSING
    if is_text(value.get("display")):
        return value["display"]
    found = way.find(value)
    return found.name if found is not None and found.kind == "medication" and found.name else MISSING


CODECS: Final[dict[str, Codec]] = {
    "text": _same(as_text),
    "code": _same(as_code),
    "uri": _same(as_uri),
    "web-address": _same(as_web_address),
    "foreign-system": _same(as_foreign_system),
    "coding": Codec(as_coding, coding_back),
    "canonical": _same(as_canonical),
    "date": _same(as_date),
    "moment": _same(as_moment),
    "boolean": _same(as_boolean),
    "number": _same(as_number),
    "reading": _same(as_number),
    "who": Codec(_who, _who_back),
    "reached": Codec(_reached, _who_back),
    "owner": Codec(_owner, _who_back),
    "professional": Codec(_professional, _who_back),
    "organisation": Codec(_organisation, _organisation_back),
    "concept-words": Codec(_never, _concept_back),
    "medication": Codec(_never, _medication_back),
    "person-name": Codec(_never, _person_name_back),
    "human-name": Codec(_never, _human_name_back),
    "nhs-number": Codec(_nhs_number, as_text),
    "language": Codec(_language, as_text),
    "currency": Codec(_currency, as_text),
    "stages": Codec(_never, _never),
}
"""By the name a table uses. `table:`, `link:`, `range:` and `is:` rows make theirs."""
