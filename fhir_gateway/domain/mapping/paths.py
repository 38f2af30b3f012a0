"""FHIR paths of the tables, compiled: `target[0].measure.text`, `telecom[system=phone].value`, `extension[own:when-text].valueString`.

A segment is a name, a name with a place in the list, or a name with `key=value` that tells one list element from others.
`extension[x]` is short for `extension[url=x]`; `own:` and `hl7:` stand for the two bases of extension URLs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..strict import MAX_DEPTH
from .names import EXTENSIONS

HL7: Final = "http://hl7.org/fhir/StructureDefinition/"
BASES: Final = {"own:": EXTENSIONS, "hl7:": HL7, "ukcore:": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-"}


class Missing:
    """No value here. Unlike None it is never part of a plan."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


class Segment(NamedTuple):
    name: str
    place: int | None = None
    key: str = ""
    value: str = ""
    each: bool = False  # every element of a list (with key and value: every such element)


_SEGMENT = re.compile(r"(_?[A-Za-z][A-Za-z0-9]*)(?:\[([^\]]*)\])?(?:\.|$)")


def parse(path: str, *, each: bool = False) -> tuple[Segment, ...]:
    """The segments of a path; `each` makes the last one stand for all elements. ValueError when it is not a path."""
    out: list[Segment] = []
    at = 0
    while at < len(path):
        m = _SEGMENT.match(path, at)
        if m is None:
            raise ValueError(f"`{path}` is not a path")
        out.append(_segment(m[1], m[2]))
        at = m.end()
        if len(out) > MAX_DEPTH:  # no resource is as deep
            raise ValueError(f"`{path[:60]}…` is not a path")
    if not out or path.endswith("."):
        raise ValueError(f"`{path}` is not a path")
    if each:
        out[-1] = out[-1]._replace(each=True)
    return tuple(out)


def _segment(name: str, inside: str | None) -> Segment:
    if inside is None:
        return Segment(name)
    if inside.isdigit():
        return Segment(name, place=int(inside))
    key, _, value = inside.partition("=") if "=" in inside else ("url", "", inside)
    return Segment(name, key=key, value=expand(value))


def expand(url: str) -> str:
    """`own:goal-importance` to its full URL; anything else as it is."""
    for short, base in BASES.items():
        if url.startswith(short):
            return base + url[len(short) :]
    return url


def spelled(segments: tuple[Segment, ...]) -> str:
    """The path as FHIRPath readers would write it, without places: for error messages and the R4 look-up."""
    return ".".join(s.name for s in segments)


def getter(segments: tuple[Segment, ...]) -> Callable[[Any], Any]:
    """A function from a resource to what stands there, or MISSING. With `each` on the last segment: a list."""
    steps = [_step(s) for s in segments]
    if len(steps) == 1:
        return steps[0]

    def get(node: Any) -> Any:
        for step in steps:
            node = step(node)
            if node is MISSING:
                return MISSING
        return node

    return get


def _step(s: Segment) -> Callable[[Any], Any]:
    name, index, key, value = s.name, s.place, s.key, s.value
    if s.each:

        def every(node: Any) -> Any:
            found = node.get(name) if type(node) is dict else None
            if type(found) is not list:
                return MISSING
            if key:
                found = [e for e in found if type(e) is dict and e.get(key) == value]
            return found or MISSING

        return every
    if key:

        def match(node: Any) -> Any:
            found = node.get(name) if type(node) is dict else None
            if type(found) is list:
                for e in found:
                    if type(e) is dict and e.get(key) == value:
                        return e
            return MISSING

        return match
    if index is not None:

        def place(node: Any) -> Any:
            found = node.get(name) if type(node) is dict else None
            return found[index] if type(found) is list and index < len(found) else MISSING

        return place

    def plain(node: Any) -> Any:
        return node.get(name, MISSING) if type(node) is dict else MISSING

    return plain


def setter(segments: tuple[Segment, ...]) -> Callable[[dict[str, Any], Any], None]:
    """A function that puts a value there, making what is missing on the way. With `each`: a list of elements, added."""
    way = [_reach(s) for s in segments[:-1]]
    last = segments[-1]
    final = _put_all(last) if last.each else _put_one(last)
    if not way:
        return final

    def put(node: dict[str, Any], value: Any) -> None:
        for reach in way:
            node = reach(node)
        final(node, value)

    return put


def _reach(s: Segment) -> Callable[[dict[str, Any]], dict[str, Any]]:
    name, index, key, value = s.name, s.place, s.key, s.value
    if key:

        def match(node: dict[str, Any]) -> dict[str, Any]:
            found = node.setdefault(name, [])
            for e in found:
                if e.get(key) == value:
                    return e  # type: ignore[no-any-return]
            fresh: dict[str, Any] = {key: value}
            found.append(fresh)
            return fresh

        return match
    if index is not None:

        def place(node: dict[str, Any]) -> dict[str, Any]:
            found = node.setdefault(name, [])
            while len(found) <= index:
                found.append({})
            return found[index]  # type: ignore[no-any-return]

        return place

    def plain(node: dict[str, Any]) -> dict[str, Any]:
        return node.setdefault(name, {})  # type: ignore[no-any-return]

    return plain


def _put_one(s: Segment) -> Callable[[dict[str, Any], Any], None]:
    if s.place is None and not s.key:
        name = s.name

        def plain(node: dict[str, Any], value: Any) -> None:
            node[name] = value

        return plain
    if s.key:
        raise ValueError(f"`{s.name}[{s.value}]` at the end of a path needs `each` or `list`")
    index, listed = s.place or 0, s.name

    def place(node: dict[str, Any], value: Any) -> None:
        found = node.setdefault(listed, [])
        if index < len(found):
            found[index] = value
        else:
            found.append(value)

    return place


def _put_all(s: Segment) -> Callable[[dict[str, Any], Any], None]:
    name, key, value = s.name, s.key, s.value

    def put(node: dict[str, Any], elements: Any) -> None:
        found = node.setdefault(name, [])
        found += [{key: value, **e} for e in elements] if key else elements

    return put
