"""Which parts of a resource a reader gets: all of it, the filtered view, and of that the contact or the location-protected view.

A number of bits says which (`types.VIEW`, `CONTACT`, `PLACES`; 0 is all of it). `rendered` shows it and `put_back` is its other
half. The laws are those of `view`, for every number (tests/test_view.py):

    put_back(s, rendered(s, n), n) == s
    an edit of one element of rendered(s, n) changes that element of s alone

*contact*: name and preferred contact of a Patient or RelatedPerson, for peer groups and befrienders. *location-protected*: no
address, telecom, practice, nor places, for people at risk. Nothing is looked up: the result does not depend on what else is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import view
from .entries import aligned, same
from .types import CONTACT, PLACES, VIEW

Json = Any

PEOPLE: Final = frozenset({"Patient", "RelatedPerson"})
_CONTACT: Final = frozenset({"resourceType", "id", "meta", "active", "name", "telecom", "communication", "patient", "relationship"})
_PLACES: Final = frozenset({
    "address", "telecom", "generalPractitioner", "managingOrganization", "location", "locationReference", "locationCode", "photo",
    "valueAddress", "valueContactPoint",
})  # fmt: skip


def rendered(resource: Mapping[str, Any], views: int) -> dict[str, Any]:
    """What a reader with these views gets; shares what it did not change with the resource."""
    if not views:
        return dict(resource) if not isinstance(resource, dict) else resource
    return _cut(view.view(resource), views)


def put_back(stored: Mapping[str, Any], edited: Mapping[str, Any], views: int) -> dict[str, Any]:
    """What a reader made of `rendered(stored, views)`, with everything put back that they were not shown."""
    if not views:
        return dict(edited)
    whole = view.view(stored)
    return view.restore(stored, _filled(whole, _cut(whole, views), edited))


def closer(shown: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """From the filtered view: what each of the two narrower ones makes of it, where that is any less."""
    out = {bit: _cut(shown, bit) for bit in (CONTACT, PLACES)}
    return {bit: less for bit, less in out.items() if less is not shown}


def _cut(shown: Mapping[str, Any], views: int) -> dict[str, Any]:
    out: Any = shown
    if views & CONTACT and shown.get("resourceType") in PEOPLE:
        out = _contact(out)
    if views & PLACES:
        out = _placeless(out, _locations(shown))
    assert isinstance(out, dict)
    return out


def _contact(shown: Mapping[str, Any]) -> dict[str, Any]:
    out = {k: v for k, v in shown.items() if k in _CONTACT}
    ways = [t for t in shown.get("telecom", ()) if isinstance(t, dict) and t.get("use") != "old"]
    if ways:
        out["telecom"] = [min(ways, key=_rank)]
    else:
        out.pop("telecom", None)
    return out


def _rank(way: Mapping[str, Any]) -> int:
    rank = way.get("rank")
    return rank if type(rank) is int else 99


def _placeless(node: Json, inside: frozenset[str]) -> Json:
    """`inside` names the contained Locations."""
    if isinstance(node, list):
        entries = [_placeless(item, inside) for item in node]
        return entries if any(a is not b for a, b in zip(entries, node, strict=True)) else node
    if not isinstance(node, Mapping) or node.get("resourceType") == "BodyStructure":  # its location is in the body
        return node
    if _is_place(node, inside):
        return {"extension": [view.MASKED], "type": "Location"}
    if node.get("resourceType") == "Location":
        return {k: v for k, v in node.items() if k in ("resourceType", "id")}
    out = {k: _placeless(v, inside) if type(v) in (dict, list) else v for k, v in node.items() if k not in _PLACES}
    if len(out) == len(node) and all(out[k] is node[k] for k in node):
        return node
    return out or {"extension": [view.MASKED]}


def _is_place(node: Mapping[str, Any], inside: frozenset[str] = frozenset()) -> bool:
    """A reference to a Location, here, elsewhere or contained."""
    target = node.get("reference")
    if isinstance(target, str) and ("Location" in target.split("/") or target in inside):
        return True
    return node.get("type") == "Location" and ("identifier" in node or "display" in node or target is not None)


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
        if seen.get("type") == "Location" and view.MASKED in seen.get("extension", ()) and seen.keys() == {"type", "extension"}:
            return edited
        edited = _unmarked(whole, seen, edited)
        out: dict[str, Json] = {}
        for key, value in whole.items():
            if key in edited and key in seen:
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


def _listed(whole: Sequence[Json], seen: Sequence[Json], edited: Sequence[Json]) -> list[Json]:
    """Entries they were not shown stay where they are; new ones come last."""
    came = aligned(seen, edited)
    if len(whole) == len(seen):
        return [item if was is None else _filled(whole[was], seen[was], item) for item, was in zip(edited, came, strict=True)]
    at = iter(range(len(seen)))
    where = {id(s): next(at) for s in seen}
    made = {was: item for item, was in zip(edited, came, strict=True) if was is not None}
    out: list[Json] = []
    for entry in whole:
        if id(entry) not in where:
            out.append(entry)
        elif where[id(entry)] in made:
            out.append(made[where[id(entry)]])
    return [*out, *(item for item, was in zip(edited, came, strict=True) if was is None)]


__all__ = ["CONTACT", "PEOPLE", "PLACES", "VIEW", "closer", "put_back", "rendered"]
