"""The FHIRPath that R4's search parameters use, compiled to closures over plain JSON.

Only that sublanguage: paths, `|`, `as`, `.as()`, `.ofType()`, `.where(resolve() is X)`, `.where(a='b')`, `.exists()`, indexes.
A found value comes with its FHIR type, which JSON does not say. https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from .r4 import R4

Typed = tuple[str, Any]  # (FHIR type, JSON value)


def split_union(text: str) -> list[str]:
    """`a | b | c` to its parts, parentheses respected."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [p.strip() for p in parts]


def compile_expression(text: str, type: str, r4: R4) -> Callable[[dict[str, Any]], list[Typed]]:
    """The values this expression finds in a resource of `type`. Parts about other types are left out."""
    if text == DECEASED:
        return _deceased
    paths = [p for part in split_union(text) if (p := _path(part, type, r4)) is not None]

    def find(resource: dict[str, Any]) -> list[Typed]:
        found: list[Typed] = []
        for path in paths:
            found += path([(type, resource)])
        return found

    return find


DECEASED = "Patient.deceased.exists() and Patient.deceased != false"


def _deceased(resource: dict[str, Any]) -> list[Typed]:
    """The one search expression with `and`: has this person died."""
    return [("boolean", bool(resource.get("deceasedDateTime") or resource.get("deceasedBoolean")))]


def _path(part: str, type: str, r4: R4) -> Callable[[list[Typed]], list[Typed]] | None:
    text = part.strip()
    cast: str | None = None
    while text.startswith("(") and text.endswith(")") and _closes(text) == len(text) - 1:
        inner = text[1:-1].strip()
        if len(split_union(inner)) > 1:
            paths = [p for u in split_union(inner) if (p := _path(u, type, r4)) is not None]
            return (lambda found: [v for p in paths for v in p(found)]) if paths else None
        text = inner
    if text.startswith("("):
        end = _closes(text)
        head, rest = _path(text[: end + 1], type, r4), text[end + 1 :].lstrip(".")
        if head is None:
            return None
        steps = _steps(rest, r4)
        return lambda found: _run(steps, head(found))
    match = re.match(r"^(.*?) as ([A-Za-z]+)$", text)
    if match:
        text, cast = match.group(1).strip(), match.group(2)
    names = text.split(".", 1)
    if names[0] not in (type, "Resource", "DomainResource"):
        if names[0][:1].isupper():
            return None
        names = ["", text]
    steps = _steps(names[1] if len(names) > 1 else "", r4)
    if cast:
        steps = [*steps, _only(cast)]
    return lambda found: _run(steps, found)


def _closes(text: str) -> int:
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i
    return len(text) - 1


def _run(steps: list[Callable[[list[Typed]], list[Typed]]], found: list[Typed]) -> list[Typed]:
    for step in steps:
        if not found:
            break
        found = step(found)
    return found


def _steps(text: str, r4: R4) -> list[Callable[[list[Typed]], list[Typed]]]:
    out: list[Callable[[list[Typed]], list[Typed]]] = []
    for name in _names(text):
        call = re.match(r"^(\w+)\((.*)\)$", name)
        index = re.match(r"^(\w+)\[(\d+)\]$", name)
        if call is None and index is None:
            out.append(_child(name, r4))
        elif index is not None:
            out += [_child(index.group(1), r4), lambda f, n=int(index.group(2)): f[n : n + 1]]  # type: ignore[misc]
        elif call is not None:
            out.append(_call(call.group(1), call.group(2).strip()))
    return out


def _names(text: str) -> list[str]:
    names, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "." and depth == 0:
            names.append(text[start:i])
            start = i + 1
    if text[start:]:
        names.append(text[start:])
    return names


def _call(name: str, argument: str) -> Callable[[list[Typed]], list[Typed]]:
    if name in ("as", "ofType"):
        return _only(argument)
    if name == "exists":
        return lambda found: [("boolean", bool(found))]
    if name == "where":
        of = re.match(r"^resolve\(\) is (\w+)$", argument)
        if of:
            return _pointing_at(of.group(1))
        equal = re.match(r"^(\w+)\s*=\s*'([^']*)'$", argument)
        if equal:
            key, value = equal.groups()
            return lambda found: [(t, v) for t, v in found if isinstance(v, dict) and v.get(key) == value]
        extended = re.match(r"^hasExtension\('([^']*)'\)$", argument)
        if extended:
            url = extended.group(1)
            return lambda found: [(t, v) for t, v in found if isinstance(v, dict) and _has_extension(v, url)]
    if name == "extension":
        url = argument.strip("'")
        return lambda found: [x for _, v in found if isinstance(v, dict) for x in _extended(v, url)]
    raise ValueError(f"search expressions do not use {name}({argument})")


def _has_extension(value: dict[str, Any], url: str) -> bool:
    return any(e.get("url") == url for e in value.get("extension", ()))


def _extended(value: dict[str, Any], url: str) -> Iterator[Typed]:
    """The values of the extensions with this url, with the type their name gives them."""
    for e in value.get("extension", ()):
        if e.get("url") == url:
            for key, got in e.items():
                if key.startswith("value"):
                    kind = key[5:]
                    yield (kind if kind[:1] + kind[1:] in COMPLEX else kind[:1].lower() + kind[1:]), got


COMPLEX = frozenset(
    ["Address", "Age", "Annotation", "Attachment", "CodeableConcept", "Coding", "ContactPoint", "Count", "Distance", "Duration", "HumanName", "Identifier", "Money", "Period", "Quantity", "Range", "Ratio", "Reference", "SampledData", "Signature", "Timing"]
)


def _only(type: str) -> Callable[[list[Typed]], list[Typed]]:
    return lambda found: [(t, v) for t, v in found if t == type]


def _pointing_at(type: str) -> Callable[[list[Typed]], list[Typed]]:
    """References whose target, as they name it, is of this type."""

    def keep(found: list[Typed]) -> list[Typed]:
        return [(t, v) for t, v in found if isinstance(v, dict) and target_type(v) in (type, None)]

    return keep


def target_type(reference: dict[str, Any]) -> str | None:
    """The type a Reference says it points at; None when it does not say."""
    text = str(reference.get("reference", ""))
    if text and not text.startswith(("#", "urn:")):
        parts = text.split("/_history/")[0].split("/")
        if len(parts) >= 2:
            return parts[-2]
    return reference.get("type")


def _child(name: str, r4: R4) -> Callable[[list[Typed]], list[Typed]]:
    known: dict[str, list[tuple[str, str, str]]] = {}

    def keys_of(type: str) -> list[tuple[str, str, str]]:
        """(JSON key, type of its value, path below) of this child in a type: several for a choice."""
        found = known.get(type)
        if found is None:
            found = known[type] = _keys(type, name, r4)
        return found

    def step(found: list[Typed]) -> list[Typed]:
        out: list[Typed] = []
        for type, value in found:
            if not isinstance(value, dict):
                continue
            for key, kind, _ in keys_of(type):
                got = value.get(key)
                if got is None:
                    continue
                if isinstance(got, list):
                    out += [(kind, g) for g in got if g is not None]
                else:
                    out.append((kind, got))
        return out

    return step


def _keys(type: str, name: str, r4: R4) -> list[tuple[str, str, str]]:
    """Elements without a type of their own (backbones) carry their path as their type: `Goal.target`."""
    path = f"{type}.{name}"
    element = r4.element(path)
    if element is None:
        return []
    if element.ref:
        return [(name, element.ref if "." in element.ref else path, path)]
    choice = r4.element(f"{path}[x]") is not None and len(element.types) >= 1 and _is_choice(type, name, r4)
    if choice:
        whole = r4.element(f"{path}[x]")
        types = whole.types if whole else element.types
        return [(name + t[:1].upper() + t[1:], t, path) for t in types]
    kind = element.types[0] if element.types else ""
    return [(name, path if kind in ("BackboneElement", "Element", "") else kind, path)]


def _is_choice(type: str, name: str, r4: R4) -> bool:
    owner, _, below = type.partition(".")
    if not r4.knows(owner):
        return False
    key = f"{below}.{name}[x]" if below else f"{name}[x]"
    return key in r4.type(owner).elements
