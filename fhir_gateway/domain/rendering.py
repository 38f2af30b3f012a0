"""Which parts of a resource a reader gets: all of it, the filtered view, and of that the contact or the location-protected view.

A number of bits says which (`types.VIEW`, `CONTACT`, `PLACES`; 0 is all of it). `rendered` shows it and `put_back` is its other
half. The laws are those of `view`, for every number (tests/test_view.py):

    put_back(s, rendered(s, n), n) == s
    an edit of one element of rendered(s, n) changes that element of s alone

*contact*: name and preferred contact of a Patient, RelatedPerson or Person, contained ones too, for peer groups and befrienders. *location-protected*: no
address, telecom, practice, nor places, for people at risk: every element of R4 that is an Address, a ContactPoint or a reference to
a Location, at any depth (tests/test_places.py holds this to the official tables). What a type cannot be without is masked, not
removed. Nothing is looked up: the result does not depend on what else is kept; what the practice of somebody at risk is called,
wherever it is named, comes with the question (`types.Cut`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from . import view
from .entries import aligned, same
from .person import is_location_protected
from .practice import without
from .types import CONTACT, PLACES, PRACTICE, VIEW, Cut

Json = Any

PEOPLE: Final = frozenset({"Patient", "RelatedPerson", "Person"})
_CONTACT: Final = frozenset({"resourceType", "id", "meta", "active", "name", "telecom", "communication", "patient", "relationship"})
_WHOSE: Final[Mapping[str, frozenset[str]]] = {"Person": frozenset({"link"})}  # what `patient` is of a RelatedPerson
_PLACES: Final = frozenset({
    "address", "telecom", "generalPractitioner", "managingOrganization", "serviceProvider", "photo", "facility", "coverageArea",
    "location", "locationReference", "locationCode", "locationCodeableConcept", "locationAddress", "deliverFrom",
})  # fmt: skip
# Names that are a place's in some types only.
_PLACES_IN: Final[Mapping[str, frozenset[str]]] = {
    "contact": frozenset({"Device", "DeviceDefinition", "Endpoint", "MessageHeader", "Subscription"}),
    "destination": frozenset({"Encounter", "MedicationDispense", "SupplyDelivery"}),
    "domain": frozenset({"Contract"}),
    "origin": frozenset({"Encounter"}),
    "site": frozenset({"Contract", "ResearchStudy"}),
}
# A Location or somebody: which, a reference that gives only words or an identifier does not say.
_PERHAPS: Final[Mapping[str, frozenset[str]]] = {
    "actor": frozenset({"Appointment", "AppointmentResponse", "Schedule"}),
    "deliverTo": frozenset({"SupplyRequest"}),
    "performer": frozenset({"Contract"}),
    "reporter": frozenset({"MeasureReport"}),
}
_ORGANISATION: Final = frozenset({"name", "alias", "identifier", "contact"})  # of a contained one: they say which it is
_CHOICE: Final = re.compile(r"(value|defaultValue|fixed|pattern)(Address|ContactPoint)")
_MASK: Final[dict[str, Any]] = {"extension": [view.MASKED]}


def rendered(resource: Mapping[str, Any], views: int | Cut) -> dict[str, Any]:
    """What a reader with these views gets; shares what it did not change with the resource."""
    if not views:
        return dict(resource) if not isinstance(resource, dict) else resource
    return _cut(_own_view(resource), views)


def put_back(stored: Mapping[str, Any], edited: Mapping[str, Any], views: int | Cut) -> dict[str, Any]:
    """What a reader made of `rendered(stored, views)`, with everything put back that they were not shown."""
    if not views:
        return dict(edited)
    whole = view.view(stored)
    return view.restore(stored, _filled(whole, _cut(_own_view(stored), views), edited))


def _own_view(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The filtered view; of a RelatedPerson who is at risk themselves without their places: the person's permits do not open these."""
    shown = view.view(resource)
    return _cut(shown, PLACES) if resource.get("resourceType") == "RelatedPerson" and is_location_protected(resource) else shown


def closer(shown: Mapping[str, Any], practice: frozenset[str] = frozenset()) -> dict[int, dict[str, Any]]:
    """From the filtered view: what each of the narrower ones makes of it, where that is any less. `practice`: names that PRACTICE hides."""
    out = {bit: _cut(shown, Cut(bit, practice)) for bit in (CONTACT, PLACES, PRACTICE)}
    return {bit: less for bit, less in out.items() if less is not shown}


def _cut(shown: Mapping[str, Any], cut: int | Cut) -> dict[str, Any]:
    views, practice = (cut.bits, cut.practice) if isinstance(cut, Cut) else (cut, frozenset[str]())
    out: Any = shown
    if views & PRACTICE:
        out = without(out, practice)
    if views & CONTACT:
        out = _contacts(out)
    if views & PLACES:
        out = _placeless(out, "", "", _locations(shown))
    if views & (PLACES | PRACTICE | CONTACT):
        out = _without_loose_ends(shown, out)
    assert isinstance(out, dict)
    return out


def _contacts(node: Json) -> Json:
    """Every Patient, RelatedPerson and Person in it, itself or contained, cut to the contact view."""
    if isinstance(node, list):
        entries = [_contacts(item) for item in node]
        return entries if any(a is not b for a, b in zip(entries, node, strict=True)) else node
    if not isinstance(node, Mapping):
        return node
    if node.get("resourceType") in PEOPLE:
        less = _contact(node)
        return node if same(less, node) else less
    out = {k: _contacts(v) if isinstance(v, dict | list) else v for k, v in node.items()}
    return out if any(out[k] is not node[k] for k in out) else node


def _contact(shown: Mapping[str, Any]) -> dict[str, Any]:
    kept = _CONTACT | _WHOSE.get(shown["resourceType"], frozenset())
    out = {k: v for k, v in shown.items() if k in kept}
    ways = [t for t in shown.get("telecom", ()) if isinstance(t, dict) and t.get("use") != "old"]
    if ways:
        out["telecom"] = [min(ways, key=_rank)]
    else:
        out.pop("telecom", None)
    return out


def _rank(way: Mapping[str, Any]) -> int:
    rank = way.get("rank")
    return rank if type(rank) is int else 99


def _placeless(node: Json, name: str, type: str, inside: frozenset[str]) -> Json:
    """`node`, found under `name` in a resource of this `type`; `inside` names the contained Locations."""
    if isinstance(node, list):
        entries = [_placeless(item, name, type, inside) for item in node if name != "contained" or not _is_location(item)]
        return entries if len(entries) != len(node) or any(a is not b for a, b in zip(entries, node, strict=True)) else node
    if not isinstance(node, Mapping):
        return node
    type = node.get("resourceType", type)
    if _is_place(node, inside) or (type in _PERHAPS.get(name, ()) and _says_not_what(node)):
        return {**_MASK, "type": "Location"}
    if _is_location(node):
        return {k: v for k, v in node.items() if k in ("resourceType", "id")}
    out: dict[str, Json] = {}
    for key, value in node.items():
        if _CHOICE.fullmatch(key):
            out[key] = value if value == _MASK else dict(_MASK)
        elif key == "url" and node.get("resourceType") == "Device":  # where it is reached
            continue
        elif not _is_hidden(key, type) and not (name == "contained" and type == "Organization" and key in _ORGANISATION):
            out[key] = _placeless(value, key, type, inside) if isinstance(value, dict | list) else value
            if out[key] == [] != value:
                del out[key]
    if name == "contained" and type == "Organization" and not {"name", "identifier"}.isdisjoint(node):
        given = node.get("identifier")
        out["identifier"] = given if given == [_MASK] else [dict(_MASK)]
    if len(out) == len(node) and all(k in node and out[k] is node[k] for k in out):
        return node
    return out or dict(_MASK)


def _is_hidden(key: str, type: str) -> bool:
    if key == "location" and type in ("BodyStructure", "OperationOutcome"):  # in the body, in a resource
        return False
    return key in _PLACES or type in _PLACES_IN.get(key, ())


def _is_location(node: Json) -> bool:
    return isinstance(node, Mapping) and node.get("resourceType") == "Location"


def _is_place(node: Mapping[str, Any], inside: frozenset[str] = frozenset()) -> bool:
    """A reference to a Location, here, elsewhere or contained."""
    target = node.get("reference")
    if isinstance(target, str) and ("Location" in target.split("/") or target in inside):
        return True
    kind = node.get("type")
    named = isinstance(kind, str) and kind.rsplit("/", 1)[-1] == "Location"
    return named and ("identifier" in node or "display" in node or target is not None)


def _says_not_what(node: Mapping[str, Any]) -> bool:
    return not {"display", "identifier"}.isdisjoint(node) and "reference" not in node and "type" not in node


def _without_loose_ends(shown: Mapping[str, Any], out: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what was contained only for a place that is gone: nothing may be contained that nothing refers to (dom-3)."""
    if out is shown or not isinstance(out.get("contained"), list):
        return out
    loose = frozenset(_inward(shown)) - frozenset(_inward(out))
    kept = [c for c in out["contained"] if f"#{c.get('id')}" not in loose]
    if len(kept) == len(out["contained"]):
        return out
    return _without_loose_ends(shown, {k: kept if k == "contained" else v for k, v in out.items() if k != "contained" or kept})


def _inward(node: Json) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _inward(item)
    elif isinstance(node, Mapping):
        if isinstance(node.get("reference"), str) and node["reference"].startswith("#"):
            yield node["reference"]
        for value in node.values():
            if isinstance(value, dict | list):
                yield from _inward(value)


def _locations(resource: Mapping[str, Any]) -> frozenset[str]:
    contained = resource.get("contained")
    inside = contained if isinstance(contained, list) else []
    return frozenset(f"#{c.get('id')}" for c in inside if isinstance(c, Mapping) and c.get("resourceType") == "Location")


# -- and back ---------------------------------------------------------------------------------------------------------


def _filled(whole: Json, seen: Json, edited: Json) -> Json:
    """What they made of `seen`, as if they had been shown `whole`: what they added stands beside what they were not shown."""
    if seen is whole:
        return edited
    if same(seen, edited):
        return whole
    if isinstance(whole, list) and isinstance(seen, list) and isinstance(edited, list):
        return _listed(whole, seen, edited)
    if isinstance(whole, Mapping) and isinstance(seen, Mapping) and isinstance(edited, Mapping):
        if seen.keys() == {"type", "extension"} and view.MASKED in seen["extension"]:
            return edited  # theirs, in the place of what was hidden
        if seen.get("resourceType") == "Organization" and seen.get("identifier") == [_MASK] != whole.get("identifier"):
            seen, edited = _with_its_own(seen), _with_its_own(edited)
        edited = _unmarked(whole, seen, edited)
        out: dict[str, Json] = {}
        for key, value in whole.items():
            if key in edited and key in seen and _CHOICE.fullmatch(key) and not same(seen[key], edited[key]):
                out[key] = edited[key]
            elif key in edited and key in seen:
                out[key] = _filled(value, seen[key], edited[key])
            elif key in edited:
                out[key] = _beside(value, edited[key])
            elif key not in seen:
                out[key] = value
            elif isinstance(value, list) and isinstance(seen[key], list) and (kept := _listed(value, seen[key], ())):
                out[key] = kept
        out.update((k, v) for k, v in edited.items() if k not in out)
        return out
    return edited


def _beside(hidden: Json, theirs: Json) -> Json:
    """Of a list nothing is lost that they were not shown; what they say again is there already."""
    if not isinstance(hidden, list) or not isinstance(theirs, list):
        return theirs
    return [*hidden, *(item for item in theirs if not any(same(item, h) for h in hidden))]


def _unmarked(whole: Mapping[str, Any], seen: Mapping[str, Any], edited: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the mark in the place of an element that was nothing but a place."""
    mine = edited.get("extension")
    if "extension" in whole or seen.get("extension") != [view.MASKED] or not isinstance(mine, list) or view.MASKED not in mine:
        return edited
    rest = [e for e in mine if e != view.MASKED]
    return {k: rest if k == "extension" else v for k, v in edited.items() if k != "extension" or rest}


def _with_its_own(organisation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the mark in the place of what says which organisation it is."""
    given = organisation.get("identifier")
    rest = [i for i in given if i != _MASK] if isinstance(given, list) else given
    return {k: rest if k == "identifier" else v for k, v in organisation.items() if k != "identifier" or rest}


def _listed(whole: Sequence[Json], seen: Sequence[Json], edited: Sequence[Json]) -> list[Json]:
    """Entries they were not shown stay where they are; new ones come last."""
    came = aligned(seen, edited)
    if len(whole) == len(seen):
        return [item if was is None else _filled(whole[was], seen[was], item) for item, was in zip(edited, came, strict=True)]
    where = {_which(s): at for at, s in enumerate(seen)}
    made = {was: item for item, was in zip(edited, came, strict=True) if was is not None}
    out: list[Json] = []
    for entry in whole:
        at = where.get(_which(entry))
        if at is None:
            out.append(entry)
        elif at in made:
            out.append(_filled(entry, seen[at], made[at]))
    return [*out, *(item for item, was in zip(edited, came, strict=True) if was is None)]


def _which(entry: Json) -> object:
    """Entries are left out of `telecom`, which are shown as they are, and of `contained`, which have a name."""
    return entry["id"] if isinstance(entry, Mapping) and "resourceType" in entry and "id" in entry else id(entry)


__all__ = ["CONTACT", "PEOPLE", "PLACES", "PRACTICE", "VIEW", "Cut", "closer", "put_back", "rendered"]
