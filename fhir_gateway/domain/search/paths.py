"""The FHIRPath that R4's search parameters use, resolved against the R4 tables once, then walked as closures over plain JSON.

Only that sublanguage: paths, `|`, `as`, `.as()`, `.ofType()`, `[0]`, `.where(resolve() is X)`, `.where(a='b')`,
`.where(hasExtension('url'))`, `.extension('url')`. A choice becomes one place for each type it may have
(`Observation.value as Quantity` is `valueQuantity`), so that a walk never asks what it found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..r4 import R4, Element, names

Step = tuple[str, ...]  # ("in", name) ("at", index) ("eq", name, value) ("ext", url) ("points", type)
Visit = Callable[[Any, list[Any]], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where values stand and of which type: steps through the JSON, FHIR type, and where its children are defined."""

    steps: tuple[Step, ...]
    type: str
    owner: str
    below: str = ""
    element: Element | None = None


def root(type: str) -> Place:
    return Place((), type, type)


def places(expression: str, start: Place, r4: R4) -> list[Place]:
    """Every place an expression means, from `start`; ValueError for what search expressions do not use."""
    return [p for part in _union(expression) for p in _part(part, start, r4)]


def _part(text: str, start: Place, r4: R4) -> list[Place]:
    if text.startswith("("):
        end = _closes(text)
        found, rest = places(text[1:end], start, r4), text[end + 1 :].strip()
    else:
        first = _names(re.split(r"\sas\s", text)[0])[0]
        rest = text[len(first) :]
        if first in (start.type, "Resource", "DomainResource"):
            found = [start]
        elif first[:1].isupper():
            return []
        else:
            found, rest = [start], "." + text
    cast = re.search(r"\sas\s+(\w+)$", rest)
    for step in _names(rest[: cast.start()] if cast else rest):
        found = [p for f in found for p in _step(step, f, r4)]
    return _of_type(found, cast.group(1)) if cast else found


def _step(step: str, place: Place, r4: R4) -> list[Place]:
    called = re.fullmatch(r"(\w+)\((.*)\)", step)
    if called:
        return _called(called.group(1), called.group(2).strip(), place)
    name, _, index = step.partition("[")
    found = _children(name, place, r4)
    return [_further(p, ("at", index.rstrip("]"))) for p in found] if index else found


def _called(name: str, argument: str, place: Place) -> list[Place]:
    if name in ("as", "ofType"):
        return _of_type([place], argument)
    if name == "extension":
        return [replace(place, steps=(*place.steps, ("in", "extension"), ("ext", argument.strip("'"))), type="Extension", owner="Extension", below="")]
    if name == "where":
        if points := re.fullmatch(r"resolve\(\) is (\w+)", argument):
            return [_further(place, ("points", points.group(1)))]
        if equal := re.fullmatch(r"(\w+)\s*=\s*'([^']*)'", argument):
            return [_further(place, ("eq", *equal.groups()))]
        if has := re.fullmatch(r"hasExtension\('([^']*)'\)", argument):
            return [_further(place, ("has", has.group(1)))]
    raise ValueError(f"search expressions do not use {name}({argument})")


def _further(place: Place, step: Step) -> Place:
    return replace(place, steps=(*place.steps, step))


def _of_type(found: list[Place], type: str) -> list[Place]:
    return [p for p in found if p.type.lower() == type.lower()]  # R4 writes `as DateTime` in places


def _children(name: str, place: Place, r4: R4) -> list[Place]:
    if not r4.knows(place.owner):
        return []
    below = f"{place.below}.{name}" if place.below else name
    elements = r4.type(place.owner).elements
    if (e := elements.get(below)) is not None:
        return [_at(name, e.types[0] if e.types else "", place, below, e)]
    if (e := elements.get(below + "[x]")) is not None:
        return [_at(j, t, place, below + "[x]", e) for j, t in zip(names(name + "[x]", e), e.types, strict=True)]
    return []


def _at(name: str, type: str, place: Place, below: str, e: Element) -> Place:
    steps = (*place.steps, ("in", name))
    if e.ref:
        owner, _, path = e.ref.partition(".")
        return Place(steps, "BackboneElement", owner, path, e)
    if type in ("BackboneElement", "Element", ""):
        return Place(steps, "BackboneElement", place.owner, below, e)
    return Place(steps, type, type, "", e)


def extension_values(place: Place, r4: R4) -> list[Place]:
    """Where an Extension keeps its value: one place for each type it may have."""
    return _children("value", place, r4)


# -- walking ----------------------------------------------------------------------------------------------------------


def walk(steps: tuple[Step, ...], visit: Visit) -> Visit:
    """A closure that visits what stands at `steps` below a node. JSON of a wrong shape has nothing there."""
    for i in range(len(steps) - 1, -1, -1):
        step = steps[i]
        if step[0] == "in":
            index = int(steps[i + 1][1]) if i + 1 < len(steps) and steps[i + 1][0] == "at" else None
            visit = _in(step[1], index, visit)
        elif step[0] != "at":
            visit = _if(_TESTS[step[0]](*step[1:]), visit)
    return visit


def _in(name: str, index: int | None, visit: Visit) -> Visit:
    def go(node: Any, out: list[Any]) -> None:
        if type(node) is not dict:
            return
        value = node.get(name)
        if value is None:
            return
        if type(value) is list:
            for item in value if index is None else value[index : index + 1]:
                if item is not None:
                    visit(item, out)
        else:
            visit(value, out)

    return go


def _if(test: Callable[[Any], bool], visit: Visit) -> Visit:
    def go(node: Any, out: list[Any]) -> None:
        if type(node) is dict and test(node):
            visit(node, out)

    return go


def target_type(reference: dict[str, Any]) -> str | None:
    """The type a Reference says it points at; None when it does not say."""
    text = reference.get("reference")
    if isinstance(text, str) and text and not text.startswith(("#", "urn:")):
        parts = text.split("/_history/", 1)[0].split("/")
        if len(parts) >= 2:
            return parts[-2]
    kind = reference.get("type")
    return kind.rsplit("/", 1)[-1] if isinstance(kind, str) else None


def _extensions(node: dict[str, Any]) -> list[Any]:
    found = node.get("extension")
    return found if type(found) is list else []


_TESTS: dict[str, Callable[..., Callable[[Any], bool]]] = {
    "eq": lambda name, value: lambda node: node.get(name) == value,
    "ext": lambda url: lambda node: node.get("url") == url,
    "has": lambda url: lambda node: any(type(e) is dict and e.get("url") == url for e in _extensions(node)),
    "points": lambda type: lambda node: target_type(node) in (type, None),
}  # fmt: skip


# -- text -------------------------------------------------------------------------------------------------------------


def _union(text: str) -> list[str]:
    return [p.strip() for p in _outside(text, "|")]


def _names(text: str) -> list[str]:
    return [n for n in _outside(text.strip().lstrip("."), ".") if n]


def _outside(text: str, at: str) -> list[str]:
    """Split at a character that stands outside parentheses and quotes."""
    parts, depth, start, quoted = [], 0, 0, False
    for i, c in enumerate(text):
        quoted ^= c == "'"
        depth += 0 if quoted else (c == "(") - (c == ")")
        if c == at and depth == 0 and not quoted:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _closes(text: str) -> int:
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i
    raise ValueError(f"a parenthesis is never closed: {text}")
