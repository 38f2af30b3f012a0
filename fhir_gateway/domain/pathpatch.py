"""FHIRPath Patch on a resource. https://hl7.org/fhir/R4/fhirpatch.html

A path here is a place, not a value: names, `[0]`, `first()`, `last()`, `where(…)` with comparisons of texts, numbers and
booleans, `ofType(…)`, `as`, `extension('url')`. That is what the specification calls a simple path, and nothing in it can
run long. Elements and their `_element` twins (ids and extensions of primitives) move together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import simplepath
from .modifiers import plain
from .patch import DEEPEST, MOST_OPERATIONS, copied, depth, full, size
from .problem import Problem
from .r4 import R4, Element
from .simplepath import Spot

MOST_STEPS: Final = 3_000_000  # values looked at, two seconds' work at the worst
TYPES: Final = ("add", "insert", "delete", "replace", "move")
_PARTS: Final = {
    "add": ("path", "name", "value"), "insert": ("path", "index", "value"), "delete": ("path",), "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}  # fmt: skip

Json = Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One `operation` parameter, read."""

    type: str
    path: str
    where: str
    name: str = ""
    index: int = 0
    source: int = 0
    destination: int = 0
    value: Json = None  # the parameter part that holds it


def patched(resource: Mapping[str, Any], parameters: Mapping[str, Any], r4: R4) -> dict[str, Any]:
    """`resource` after every operation of `parameters`, or as if none had been tried.

    Problem bad-request for what is no FHIRPath Patch, cannot-apply for a path that leads nowhere or to several places,
    too-large for more than 500 operations.
    """
    operations = read(parameters)
    grown = size(resource) + sum(size(o.value) for o in operations)
    if grown * sum(1 + len(o.path) // 12 for o in operations) > MOST_STEPS:
        raise Problem("too-large", "This patch asks too much of a resource of this size: send fewer operations at once.")
    out: dict[str, Any] = copied(resource)
    for operation in operations:
        _DO[operation.type](out, operation, r4)
    done = full(out)
    assert isinstance(done, dict)
    return done


# -- reading ----------------------------------------------------------------------------------------------------------


def read(parameters: Mapping[str, Any]) -> list[Operation]:
    """The operations of a Parameters resource. Problem bad-request, too-large, business-rule, invalid: what changes what they mean."""
    if parameters.get("resourceType") != "Parameters":
        raise Problem("bad-request", "A FHIRPath Patch is a Parameters resource.", "resourceType")
    listed = parameters.get("parameter", [])
    if not isinstance(listed, list):
        raise Problem("bad-request", "`parameter` must be a list.", "Parameters.parameter")
    if len(listed) > MOST_OPERATIONS:
        raise Problem("too-large", f"A patch may have {MOST_OPERATIONS} operations, this one has {len(listed)}.", "Parameters.parameter")
    plain(parameters, "Parameters")
    return [_operation(p, f"Parameters.parameter[{at}]") for at, p in enumerate(listed)]


def _operation(parameter: Json, where: str) -> Operation:
    if not isinstance(parameter, dict) or parameter.get("name") != "operation":
        raise Problem("bad-request", "Each parameter of a FHIRPath Patch is called `operation`.", f"{where}.name")
    parts = parameter.get("part")
    if not isinstance(parts, list) or not all(isinstance(p, dict) for p in parts):
        raise Problem("bad-request", "An operation needs its parts: type and path at least.", f"{where}.part")
    held = {str(p.get("name")): p for p in parts}
    if len(held) < len(parts):
        raise Problem("bad-request", "A part of an operation stands once.", f"{where}.part")
    type = _text(held.get("type"), where, "type")
    if type not in TYPES:
        raise Problem("bad-request", f"`{type[:40]}` is not an operation of FHIRPath Patch: {', '.join(TYPES)} are.", where)
    said: dict[str, Any] = {}
    for name in _PARTS[type]:
        if name not in held:
            raise Problem("bad-request", f"The operation {type} needs the part `{name}`.", where)
        part = held[name]
        said[name] = part if name == "value" else _text(part, where, name) if name in ("path", "name") else _whole(part, where, name)
    return Operation(type, said.pop("path"), where, **said)


def _text(part: Json, where: str, name: str) -> str:
    value = next((v for k, v in (part or {}).items() if k in ("valueString", "valueCode")), None)
    if not isinstance(value, str) or not value:
        raise Problem("bad-request", f"The part `{name}` must be a text.", where)
    return value


def _whole(part: Json, where: str, name: str) -> int:
    value = next((v for k, v in part.items() if k in ("valueInteger", "valueUnsignedInt", "valuePositiveInt")), None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Problem("bad-request", f"The part `{name}` must be a whole number, 0 or more.", where)
    return value


# -- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class New:
    """A value to be put in: its type ("" for a group of parts), what stands in JSON, and the `_name` twin if it has one."""

    type: str
    value: Json
    twin: Json = None


def _new(part: Mapping[str, Any], path: str, r4: R4, where: str) -> New:
    """`value[x]`, a `resource`, or parts that make up a group such as Patient.contact at `path`."""
    found = [k for k in part if k.startswith(("value", "_value"))]
    name = next((k.lstrip("_") for k in found), "")
    if name and all(k.lstrip("_") == name for k in found):
        type = name[len("value") :]
        primitive = type[:1].lower() + type[1:]
        return New(primitive if r4.is_primitive(primitive) else type, copied(part.get(name)), copied(part.get("_" + name)))
    if isinstance(part.get("resource"), dict) and not found:
        return New("Resource", copied(part["resource"]))
    parts = part.get("part")
    if found or not isinstance(parts, list) or not parts:
        raise Problem("bad-request", "The part `value` needs one value[x], or parts of its own.", where)
    group: dict[str, Any] = {}
    for inner in parts:
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise Problem("bad-request", "Each part of a value needs a name.", where)
        _into(group, f"{path}.{inner['name']}", inner["name"], _new(inner, f"{path}.{inner['name']}", r4, where), r4, where)
    return New("", group)


def _into(holder: dict[str, Any], path: str, name: str, new: New, r4: R4, where: str) -> None:
    """Put `new` into the element `name` of `holder`: at the end of a list, or where nothing stands yet."""
    element = r4.element(path)
    if element is None:
        raise Problem("cannot-apply", f"`{path[:120]}` is not an element.", where)
    key = _json_name(path, name, new, element, r4)
    if depth(new.value) + path.count(".") > DEEPEST:
        raise Problem("cannot-apply", f"At `{path[:120]}` this would be nested too deep.", where)
    if element.many:
        there = holder.setdefault(key, [])
        if not isinstance(there, list):
            raise Problem("cannot-apply", f"`{path[:120]}` is not a list here.", where)
        simplepath.insert(holder, key, len(there), new.value, new.twin)
        return
    if key in holder or "_" + key in holder:
        raise Problem("cannot-apply", f"`{path[:120]}` has a value already: replace it.", where)
    simplepath.put(holder, key, None, new.value, new.twin)


def _json_name(path: str, name: str, new: New, element: Element, r4: R4) -> str:
    """`value` and a Quantity is `valueQuantity`."""
    stem = path[: len(path) - len(name)] + name + "[x]"
    if name.endswith("[x]"):
        stem, name = path, name[:-3]
    if r4.element(stem) is not None and new.type:
        return name + new.type[:1].upper() + new.type[1:]
    return name


# -- doing ------------------------------------------------------------------------------------------------------------


def _one(resource: dict[str, Any], op: Operation, r4: R4) -> Spot:
    """The one place a path leads to."""
    spots = simplepath.find(resource, op.path, r4, op.where)
    if not spots:
        raise Problem("cannot-apply", f"There is nothing at `{op.path[:120]}`.", op.where)
    if len(spots) > 1:
        raise Problem("cannot-apply", f"`{op.path[:120]}` leads to {len(spots)} places, not to one.", op.where)
    return spots[0]


def _add(resource: dict[str, Any], op: Operation, r4: R4) -> None:
    spot = _one(resource, op, r4)
    value, path = spot.value, f"{spot.path}.{op.name}"
    if not isinstance(value, dict):
        raise Problem("cannot-apply", f"Nothing can be added to `{op.path[:120]}`: it has no elements.", op.where)
    _into(value, path, op.name, _new(op.value, path, r4, op.where), r4, op.where)


def _insert(resource: dict[str, Any], op: Operation, r4: R4) -> None:
    holder, key, items, path = _list(resource, op, r4)
    if op.index > len(items):
        raise Problem("cannot-apply", f"The list at `{op.path[:120]}` has {len(items)} entries: nothing goes in at {op.index}.", op.where)
    new = _new(op.value, path, r4, op.where)
    if depth(new.value) + path.count(".") > DEEPEST:
        raise Problem("cannot-apply", f"At `{op.path[:120]}` this would be nested too deep.", op.where)
    simplepath.insert(holder, key, op.index, new.value, new.twin)


def _delete(resource: dict[str, Any], op: Operation, r4: R4) -> None:
    """What is not there is deleted already (https://hl7.org/fhir/R4/fhirpatch.html)."""
    if not simplepath.find(resource, op.path, r4, op.where):
        return
    spot = _one(resource, op, r4)
    if spot.holder is None:
        raise Problem("cannot-apply", "A patch cannot delete the whole resource.", op.where)
    simplepath.take(spot.holder, spot.key, spot.index)


def _replace(resource: dict[str, Any], op: Operation, r4: R4) -> None:
    spot = _one(resource, op, r4)
    if spot.holder is None:
        raise Problem("cannot-apply", "A patch cannot replace the whole resource.", op.where)
    new = _new(op.value, spot.path, r4, op.where)
    if depth(new.value) + spot.path.count(".") > DEEPEST:
        raise Problem("cannot-apply", f"At `{op.path[:120]}` this would be nested too deep.", op.where)
    key = spot.key
    if spot.stem and new.type:  # a choice may change its type
        simplepath.take(spot.holder, key, None)
        key = spot.stem + new.type[:1].upper() + new.type[1:]
    simplepath.put(spot.holder, key, spot.index, new.value, new.twin)


def _move(resource: dict[str, Any], op: Operation, r4: R4) -> None:
    holder, key, items, _ = _list(resource, op, r4)
    for at in (op.source, op.destination):
        if at >= len(items):
            raise Problem("cannot-apply", f"The list at `{op.path[:120]}` has {len(items)} entries: there is none at {at}.", op.where)
    value, twin = simplepath.take(holder, key, op.source)
    simplepath.insert(holder, key, op.destination, value, twin)


def _list(resource: dict[str, Any], op: Operation, r4: R4) -> tuple[dict[str, Any], str, list[Json], str]:
    """The list at the end of a path: who holds it, under which name, and its entries."""
    holder, key, path = simplepath.named(resource, op.path, r4, op.where)
    element = r4.element(path)
    if element is None or not element.many:
        raise Problem("cannot-apply", f"`{op.path[:120]}` is not a list.", op.where)
    items = holder.setdefault(key, [])
    if not isinstance(items, list):
        raise Problem("cannot-apply", f"`{op.path[:120]}` is not a list here.", op.where)
    return holder, key, items, path


_DO: Final = {"add": _add, "insert": _insert, "delete": _delete, "replace": _replace, "move": _move}
