"""What of a resource no table speaks of, and how to put it back: nothing another system wrote is lost by our writing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from . import paths
from .carrier import UNMAPPED
from .names import own_identifier
from .paths import Segment
from .tables import Table

# Every resource's own, the server's, and what the mapping writes by itself.
OURS: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "text", "subject", "for", "patient", "partOf", "source"})
EXTRA: Final = "x_fhir"  # the key of a plan's item under which they travel
LINKS: Final = frozenset({"addresses", "goal", "supportingInfo", "careTeam", "activity"})  # of the main CarePlan


def leftover(resource: Mapping[str, Any], table: Table) -> list[tuple[str, Any]]:
    """(path, value) of every element that the table does not know, deepest whole elements, in the resource's order."""
    known = table.known
    out: list[tuple[str, Any]] = []
    skip = OURS | (LINKS if table.kind == "plan" else frozenset()) | (frozenset({"participant", "status", "name"}) if table.kind == "team" else frozenset())
    for name, value in resource.items():
        if name in skip:
            continue
        if name == "identifier":
            out += [(f"identifier[{n}]", i) for n, i in _others(resource, table)]
            continue
        out += _below(name, value, known, name, table)
    return out


def _others(resource: Mapping[str, Any], table: Table) -> Iterator[tuple[int, Any]]:
    found = resource["identifier"]
    for n, i in enumerate(found if isinstance(found, list) else [found]):
        if own_identifier({"identifier": i}) is None and not any(
            s[0].name == "identifier" and isinstance(i, dict) and i.get(s[0].key) == s[0].value for s in table.known
        ):
            yield n, i


def _below(name: str, value: Any, known: Iterable[tuple[Segment, ...]], spelled: str, table: Table) -> Iterator[tuple[str, Any]]:
    """Leftovers of one member; `known` are the paths that may begin with it."""
    mine = [s for s in known if s and s[0].name == name]
    if not isinstance(value, list):
        yield from _one(value, [s[1:] for s in mine], spelled, table)
        return
    for n, element in enumerate(value):
        if name == "extension" and isinstance(element, dict) and element.get("url") == UNMAPPED:
            continue
        fits = [s[1:] for s in mine if _is(s[0], n, element)]
        yield from _one(element, fits, f"{spelled}[{n}]", table)


def _is(segment: Segment, n: int, element: Any) -> bool:
    if segment.key:
        return isinstance(element, dict) and element.get(segment.key) == segment.value
    return segment.each or segment.place == n


def _one(value: Any, rest: list[tuple[Segment, ...]], spelled: str, table: Table) -> Iterator[tuple[str, Any]]:
    if any(not r for r in rest):
        return  # a row takes the whole of it
    if not rest or not isinstance(value, dict):
        yield spelled, value
        return
    named = {r[0].name for r in rest}
    for name, below in value.items():
        if name in named:
            yield from _below(name, below, rest, f"{spelled}.{name}", table)
        elif name in ("url", "use", "system", "linkId", "type") or (name == "extension" and _only_ours(below)):
            continue
        else:
            yield f"{spelled}.{name}", below


def _only_ours(extension: Any) -> bool:
    return isinstance(extension, list) and all(isinstance(e, dict) and e.get("url") == UNMAPPED for e in extension)


def restore(resource: dict[str, Any], rest: Iterable[tuple[str, Any]]) -> None:
    """Put leftovers back where they were, as far as what they hung on is still there; never over what the plan says."""
    for path, value in rest:
        try:
            segments = paths.parse(path)
        except ValueError:
            continue
        if segments[0].name not in OURS:
            _put(resource, segments, value)


def _put(node: Any, segments: tuple[Segment, ...], value: Any) -> None:
    s, rest = segments[0], segments[1:]
    if type(node) is not dict:
        return
    if s.place is None:
        if not rest:
            node.setdefault(s.name, value)
        elif s.name in node:
            _put(node[s.name], rest, value)
        else:
            node[s.name] = {}
            _put(node[s.name], rest, value)
        return
    found = node.setdefault(s.name, [])
    if type(found) is not list:
        return
    if not rest:
        if value not in found:
            found.append(value)
    elif s.place < len(found):
        _put(found[s.place], rest, value)
