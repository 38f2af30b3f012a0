"""One service of a directory as FHIR: who offers it, where it is, what it is and whom it is for.

References between them are `{"reference": "@KEY"}`, KEY an identifier `system|value`, until the importer knows where each is here. Names of
people are never taken: a directory is read by everybody, and says how to reach a service and not a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ..vocabulary import OURS, SECTOR_SYSTEM
from .reading import TIME, Item, listed, no_time, schedules

DISTRICT: Final = f"{OURS}/id/postcode-district"  # identifier of a Location that stands for a postcode district: NR30
COVERS: Final = f"{OURS}/id/area"  # of a Location that stands for an area called by a name
CATEGORY: Final = f"{OURS}/CodeSystem/service-category"
_POSTCODE: Final = re.compile(r"\b([A-Z]{1,2}[0-9][A-Z0-9]?) *[0-9][A-Z]{2}\b")
_OUTWARD: Final = re.compile(r"\b[A-Z]{1,2}[0-9][A-Z0-9]?\b")
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufeff]")
_DAYS: Final = {"MO": "mon", "TU": "tue", "WE": "wed", "TH": "thu", "FR": "fri", "SA": "sat", "SU": "sun"}
_PHONES: Final = {"voice": "phone", "cell": "phone", "fax": "fax", "text": "sms", "sms": "sms", "pager": "pager", "video": "other", "textphone": "other"}

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """A directory's words in ours: which of its organisations are known here already, which area is which postcode districts, which of its
    terms is which category of ours. `source` tells one directory from another."""

    source: str = "directory"
    unnamed: bool = False  # nobody said what the directory is called: `source` is what stands for any
    organisations: Mapping[str, str] = field(default_factory=dict)  # their id -> what it is here: `Organization/…`, `system|value`
    areas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name, in small letters -> NR30, NR31
    categories: Mapping[str, str] = field(default_factory=dict)  # id, code or name of a term, in small letters -> befriending


def system_of(source: str, kind: str) -> str:
    """The identifier system of what came from this directory; `kind` is service, organisation or location."""
    return f"{OURS}/id/open-referral/{source}/{kind}"


def district_of(text: str) -> str:
    """`NR30` of a postcode or of a district, however it is written; "" when it is neither."""
    said = re.sub(r"\s+", " ", text.strip().upper())
    full = _POSTCODE.fullmatch(said)
    return full[1] if full else said if _OUTWARD.fullmatch(said) else ""


def resources(item: Item, words: Words) -> Iterator[tuple[str, Resource]]:
    """(key, resource) of everything this service is, what it refers to first."""
    said = item.said
    owner = said["organization"]
    known = words.organisations.get(str(owner["id"]))
    by = known if known else f"{system_of(words.source, 'organisation')}|{owner['id']}"
    if not known:
        yield by, _organisation(owner, words)
    places: list[str] = []
    districts: list[str] = []
    for place in _locations(said):
        key = f"{system_of(words.source, 'location')}|{place['id']}"
        yield key, _location(place, words)
        places.append(key)
        districts += _districts_of(place)
    areas = listed(said.get("service_areas"))
    covered = list(_areas(areas, words))
    if not any(c.startswith(f"{DISTRICT}|") for c in covered):  # whoever lives beside its hall finds it, whatever its area is called
        covered += [f"{DISTRICT}|{d}" for d in dict.fromkeys(districts)]
    for key in covered:
        yield key, _area(key)
    yield f"{system_of(words.source, 'service')}|{item.id}", _service(said, words, by, places, covered)


def _service(said: Mapping[str, Any], words: Words, by: str, places: Iterable[str], covered: Iterable[str]) -> Resource:
    times, closed = _times(said)
    details = [_text(said, k) for k in ("alert", "fees_description", "fees", "interpretation_services", "wait_time", "accreditations")]
    ages = _ages(said)
    return _without_nothing({
        "resourceType": "HealthcareService",
        "identifier": [{"system": system_of(words.source, "service"), "value": str(said["id"])}],
        "active": said.get("status", "active") == "active",
        "providedBy": _to(by),
        "category": list(_categories(said, words)),
        "location": [_to(p) for p in dict.fromkeys(places)],
        "name": _text(said, "name"),
        "comment": "\n\n".join(t for t in (_text(said, "alternate_name"), _text(said, "description")) if t),
        "extraDetails": "\n\n".join(dict.fromkeys([*(d for d in details if d), *_costs(said)])),
        "telecom": [*_phones(said), *_web(said, "email", "email"), *_web(said, "url", "url")],
        "coverageArea": [_to(c) for c in dict.fromkeys(covered)],
        "eligibility": [{"comment": t} for t in (_text(said, "eligibility_description"), ages) if t],
        "program": [{"text": t} for t in (_text(p, "name") for p in listed([said.get("program")])) if t],
        "communication": [_language(name) for name in listed(said.get("languages")) if _text(name, "name") or _text(name, "code")],
        "referralMethod": [{"text": t} for t in (_text(said, "application_process"),) if t],
        "availableTime": times,
        "availabilityExceptions": "\n".join(closed),
    })  # fmt: skip


def _organisation(owner: Mapping[str, Any], words: Words) -> Resource:
    """No file says of what sector somebody is, nor of what they are a part: both decide what opens to them. Voluntary, until an operator says."""
    registered = [
        {"system": f"https://org-id.guide/list/{_token(_text(i, 'identifier_scheme'))}", "value": _text(i, "identifier")}
        for i in listed(owner.get("organization_identifiers")) if _token(_text(i, "identifier_scheme")) and _text(i, "identifier")
    ]  # fmt: skip
    return _without_nothing({
        "resourceType": "Organization",
        "identifier": [{"system": system_of(words.source, "organisation"), "value": str(owner["id"])}, *registered],
        "active": True,
        "type": [{"coding": [{"system": SECTOR_SYSTEM, "code": "voluntary"}]}],
        "name": _text(owner, "name"),
        "alias": [t for t in (_text(owner, "alternate_name"),) if t],
        "telecom": [*_phones(owner), *_web(owner, "email", "email"), *_web(owner, "website", "url")],
    })  # fmt: skip


def _location(place: Mapping[str, Any], words: Words) -> Resource:
    address = next((a for a in listed(place.get("addresses"))), {})
    lines = [t for t in (_text(address, "address_1"), _text(address, "address_2")) if t]
    return _without_nothing({
        "resourceType": "Location",
        "identifier": [{"system": system_of(words.source, "location"), "value": str(place["id"])}],
        "status": "active",
        "name": _text(place, "name"),
        "description": "\n".join(t for t in (_text(place, "description"), _text(place, "transportation"), *_access(place)) if t),
        "mode": "instance",
        "telecom": _phones(place),
        "address": {
            "line": lines, "city": _text(address, "city"), "district": _text(address, "region"), "state": _text(address, "state_province"),
            "postalCode": _text(address, "postal_code"), "country": _text(address, "country"),
        },
        "position": _position(place),
    })  # fmt: skip


def _area(key: str) -> Resource:
    system, _, value = key.partition("|")
    name = f"Postcode district {value}" if system == DISTRICT else value
    return {
        "resourceType": "Location", "identifier": [{"system": system, "value": value}], "status": "active", "name": name, "mode": "kind",
        "physicalType": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/location-physical-type", "code": "area"}]},
    }  # fmt: skip


# -- the parts --------------------------------------------------------------------------------------------------------


def _locations(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for at in listed(said.get("service_at_locations")):
        place = at.get("location")
        if isinstance(place, Mapping) and place.get("id"):
            yield place


def _districts_of(place: Mapping[str, Any]) -> list[str]:
    return [d for d in (district_of(_text(a, "postal_code")) for a in listed(place.get("addresses"))) if d]


def _areas(areas: Iterable[Mapping[str, Any]], words: Words) -> Iterator[str]:
    """Postcode districts where an area is said by them, or where the mapping says which they are; else the area by its name."""
    for area in areas:
        name = _text(area, "name")
        text = " ".join(t for t in (name, _text(area, "description"), _text(area, "extent")) if t).upper()
        known = words.areas.get(name.lower())
        only = bool(name) and not _OUTWARD.sub("", _POSTCODE.sub(r"\1", name.upper())).strip(" ,;/AND&")
        found = list(known) if known else _OUTWARD.findall(_POSTCODE.sub(r"\1", text)) if only or "POSTCODE" in text else []
        yield from (f"{DISTRICT}|{d}" for d in dict.fromkeys(found))
        if not found and name:
            yield f"{COVERS}|{name[:120]}"


def _categories(said: Mapping[str, Any], words: Words) -> Iterator[Resource]:
    for attribute in listed(said.get("attributes")):
        term = attribute.get("taxonomy_term")
        if not isinstance(term, Mapping):
            continue
        detail = term.get("taxonomy_detail")
        uri = _text(detail, "uri") if isinstance(detail, Mapping) else ""
        code, name = _text(term, "code") or _text(term, "id"), _text(term, "name")
        system = uri if re.match(r"(https?://|urn:)\S+\Z", uri) else system_of(words.source, "taxonomy")
        ours = next((c for c in (words.categories.get(t.lower()) for t in (_text(term, "id"), code, name) if t) if c), "")
        codings = [{"system": CATEGORY, "code": ours}] if ours else []
        codings += [{"system": system, "code": re.sub(r"\s+", " ", code), **({"display": name} if name else {})}] if code else []
        yield _without_nothing({"coding": codings, "text": name})


def _phones(said: Mapping[str, Any]) -> list[Resource]:
    out = []
    for p in listed(said.get("phones")):
        number = _text(p, "number").strip('"').strip()
        extension = _text(p, "extension")
        if number:
            out.append({"system": _PHONES.get(_text(p, "type").lower(), "phone"), "value": f"{number} ext. {extension}" if extension else number})
    return out


def _web(said: Mapping[str, Any], key: str, system: str) -> list[Resource]:
    text = _text(said, key)
    good = "@" in text if system == "email" else text.lower().startswith(("http://", "https://"))
    return [{"system": system, "value": text}] if good else []


def _times(said: Mapping[str, Any]) -> tuple[list[Resource], list[str]]:
    times: list[Resource] = []
    texts: list[str] = []
    for s in schedules(said):
        days = [_DAYS[d] for d in re.findall(r"MO|TU|WE|TH|FR|SA|SU", _text(s, "byday").upper())]
        opens, closes = _clock(_text(s, "opens_at")), _clock(_text(s, "closes_at"))
        if days and _text(s, "freq").upper() in ("", "WEEKLY") and not no_time(s):
            one = _without_nothing({"daysOfWeek": list(dict.fromkeys(days)), "availableStartTime": opens, "availableEndTime": closes})
            times += [one] if one not in times else []
        texts += [t for t in (_text(s, "description"), _text(s, "notes")) if t and t not in texts]
    return times, texts


def _clock(text: str) -> str:
    found = TIME.match(text)
    return "" if not found else found[0] if found[2] else f"{found[0]}:00"


def _ages(said: Mapping[str, Any]) -> str:
    low, high = (_text(said, k) for k in ("minimum_age", "maximum_age"))
    return f"Ages {low} to {high}" if low and high else f"From {low} years" if low else f"Up to {high} years" if high else ""


def _costs(said: Mapping[str, Any]) -> Iterator[str]:
    for c in listed(said.get("cost_options")):
        if _text(c, "amount"):
            yield " ".join(t for t in (_text(c, "option"), _text(c, "amount"), _text(c, "currency").upper(), _text(c, "amount_description")) if t)


def _access(place: Mapping[str, Any]) -> Iterator[str]:
    yield from (t for t in (_text(a, "description") for a in listed(place.get("accessibility"))) if t)


def _language(said: Mapping[str, Any]) -> Resource:
    code, name = _text(said, "code"), _text(said, "name")
    coding = [{"system": "urn:ietf:bcp:47", "code": code}] if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", code) else []
    return _without_nothing({"coding": coding, "text": name or code})


def _position(place: Mapping[str, Any]) -> Resource:
    try:
        north, east = (Decimal(str(place[k])) for k in ("latitude", "longitude"))
    except (KeyError, InvalidOperation):
        return {}
    right = north.is_finite() and east.is_finite() and abs(north) <= 90 and abs(east) <= 180
    return {"longitude": east, "latitude": north} if right else {}


def _text(said: Mapping[str, Any], key: str) -> str:
    """What is said here as text a page can show: no control characters, nothing at the ends; "" for nothing and for what is no text."""
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return ""
    return _UNSEEN.sub("", str(value)).strip()


def _token(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9-]{2,20}", text) else ""


def _to(key: str) -> Resource:
    return {"reference": f"@{key}"}


def _without_nothing(node: Resource) -> Resource:
    """FHIR has no empty values."""
    out: Resource = {}
    for name, value in node.items():
        kept = _without_nothing(value) if isinstance(value, dict) else value
        if kept is False or (kept not in ("", None) and kept != [] and kept != {}):
            out[name] = kept
    return out
