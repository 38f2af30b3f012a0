"""JSON Patch on a resource. https://www.rfc-editor.org/rfc/rfc6902, https://hl7.org/fhir/R4/http.html#patch

Applied to what this reader was shown, so a `test` can ask about nothing else. Numbers keep their digits. What a patch leaves
empty is left out afterwards: FHIR has no empty lists or objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from .problem import Problem

MOST_OPERATIONS: Final = 500
MOST_NODES: Final = 100_000  # what may be copied and moved, in values
TEXT: Final = 64  # so many characters of a text count as a value more
DEEPEST: Final = 66  # one more than a resource may be, which the reader then refuses by name
OPERATIONS: Final = ("add", "remove", "replace", "move", "copy", "test")
_NEEDS: Final = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from"}

Json = Any


def patched(resource: Mapping[str, Any], operations: Json) -> dict[str, Any]:
    """`resource` after all operations, or as if none had been tried. What is left empty is taken out.

    Problem bad-request for what is no JSON Patch, cannot-apply for a path that is not there and for a `test` that fails,
    too-large for more than 500 operations or copies without measure.
    """
    done = applied(resource, operations)
    if not isinstance(done, dict):
        raise Problem("cannot-apply", "After this patch there would be no resource left.")
    return {k: v for k, v in ((k, full(v, k)) for k, v in done.items()) if not _empty(v)}


def applied(document: Json, operations: Json) -> Json:
    """RFC 6902 as it stands; `document` is not touched."""
    if not isinstance(operations, list):
        raise Problem("bad-request", "A JSON Patch is a list of operations.")
    if len(operations) > MOST_OPERATIONS:
        raise Problem("too-large", f"A patch may have {MOST_OPERATIONS} operations, this one has {len(operations)}.")
    root = {"": copied(document)}  # so that the whole document has a holder, too
    spent = 0
    for at, operation in enumerate(operations):
        spent += _apply(root, operation, f"[{at}]")
        if spent > MOST_NODES:
            raise Problem("too-large", "This patch copies and moves too much.", f"[{at}]")
    return root[""]


def _apply(root: dict[str, Json], operation: Json, where: str) -> int:
    """One operation; how many values it copied or moved."""
    name, path, more = _read(operation, where)
    if name == "remove":
        _take(root, path, where)
    elif name == "test":
        if not equal(_get(root, path, where), more):
            _cannot(f"The test of `{_shown(path)}` failed.", where)
    elif name == "replace":
        _get(root, path, where)
        _put(root, path, copied(more), where, over=True)
    elif name == "add":
        _put(root, path, copied(more), where)
    else:
        source = _pointer(more, f"{where}.from")
        if name == "move":
            if path[: len(source)] == source and len(path) > len(source):
                raise Problem("bad-request", "A value cannot be moved into itself.", where)
            found = _take(root, source, where)
        else:
            found = copied(_get(root, source, where))
        _put(root, path, found, where)
        return weight(found)
    return 0


def _read(operation: Json, where: str) -> tuple[str, list[str], Json]:
    if not isinstance(operation, dict):
        raise Problem("bad-request", "Each operation of a JSON Patch is an object.", where)
    name = operation.get("op")
    if name not in OPERATIONS:
        raise Problem("bad-request", f"`{str(name)[:40]}` is not an operation of JSON Patch.", f"{where}.op")
    needed = _NEEDS.get(name)
    if needed is not None and needed not in operation:
        raise Problem("bad-request", f"The operation {name} needs `{needed}`.", f"{where}.{needed}")
    return name, _pointer(operation.get("path"), f"{where}.path"), operation.get(needed) if needed else None


def _pointer(text: Json, where: str) -> list[str]:
    """https://www.rfc-editor.org/rfc/rfc6901; the first step is the holder of the whole."""
    if not isinstance(text, str):
        raise Problem("bad-request", "A path is a text such as /status.", where)
    if text and not text.startswith("/"):
        raise Problem("bad-request", f"`{text[:80]}` is not a path: it must begin with a slash.", where)
    steps = text.split("/")[1:]
    if any("~" in s.replace("~0", "").replace("~1", "") for s in steps):
        raise Problem("bad-request", f"`{text[:80]}` is not a path: ~ is written ~0.", where)
    return ["", *(s.replace("~1", "/").replace("~0", "~") for s in steps)]


def _shown(path: list[str]) -> str:
    return "/".join(path)[:80] or "the whole"


def _cannot(text: str, where: str) -> NoReturn:
    raise Problem("cannot-apply", text, where)


def _get(root: Json, path: list[str], where: str) -> Json:
    node = root
    for step in path:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list):
            node = node[_index(step, len(node) - 1, path, where)]
        else:
            _cannot(f"There is nothing at `{_shown(path)}`.", where)
    return node


def _index(step: str, most: int, path: list[str], where: str) -> int:
    if not (step.isascii() and step.isdigit() and len(step) < 8) or (step[0] == "0" and len(step) > 1) or int(step) > most:
        _cannot(f"`{step[:20]}` is no place in the list at `{_shown(path[:-1])}`.", where)
    return int(step)


def _put(root: Json, path: list[str], value: Json, where: str, *, over: bool = False) -> None:
    holder, step = _get(root, path[:-1], where) if len(path) > 1 else root, path[-1]
    if len(path) + depth(value) > DEEPEST:
        _cannot(f"At `{_shown(path)}` this would be nested too deep.", where)
    if isinstance(holder, dict):
        holder[step] = value
    elif isinstance(holder, list) and over:
        holder[_index(step, len(holder) - 1, path, where)] = value
    elif isinstance(holder, list):
        holder.insert(len(holder) if step == "-" else _index(step, len(holder), path, where), value)
    else:
        _cannot(f"There is nothing at `{_shown(path[:-1])}` to add to.", where)


def _take(root: Json, path: list[str], where: str) -> Json:
    found = _get(root, path, where)
    holder = _get(root, path[:-1], where) if len(path) > 1 else root
    if isinstance(holder, dict):
        del holder[path[-1]]
        if len(path) == 1:
            holder[""] = None
    else:
        del holder[_index(path[-1], len(holder) - 1, path, where)]
    return found


# -- values -----------------------------------------------------------------------------------------------------------


def copied(node: Json) -> Json:
    """The same value, nothing shared."""
    if isinstance(node, dict):
        return {k: copied(v) for k, v in node.items()}
    return [copied(v) for v in node] if isinstance(node, list) else node


def equal(a: Json, b: Json) -> bool:
    """Equal as RFC 6902 has it: numbers by their value, true is not 1, objects whatever their order."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, Decimal)) and isinstance(b, (int, Decimal)):
        return a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and bool(a == b)


def size(node: Json) -> int:
    """How many values, lists and objects counted too."""
    return sum(len(layer) for layer in _layers(node))


def weight(node: Json) -> int:
    """How many values, and more for long texts."""
    return sum(1 + len(v) // TEXT if isinstance(v, str) else 1 for layer in _layers(node) for v in layer)


def depth(node: Json) -> int:
    """How many levels: 1 for a text, one more for each list or object around."""
    return sum(1 for _ in _layers(node))


def _layers(node: Json) -> Iterator[list[Json]]:
    layer = [node]
    while layer:
        yield layer
        layer = [v for n in layer if isinstance(n, (dict, list)) for v in (n.values() if isinstance(n, dict) else n)]


def full(node: Json, name: str = "") -> Json:
    """Without lists and objects that are empty. In a list of `_given` nothing is taken out: places count there."""
    if isinstance(node, dict):
        return {k: v for k, v in ((k, full(v, k)) for k, v in node.items()) if not _empty(v)}
    if isinstance(node, list):
        items = [full(v) for v in node]
        return items if name.startswith("_") else [v for v in items if not _empty(v)]
    return node


def _empty(value: Json) -> bool:
    return isinstance(value, (dict, list)) and not value
