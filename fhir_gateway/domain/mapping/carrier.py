"""What a plan says and FHIR has no place for travels on the resource it belongs to, in one extension a value.

Extension `plan-unmapped`: `path` (a JSON list of keys), `json` (the value as JSON text, absent when the plan has no such key) and
`as` (what stands in FHIR instead; once somebody changes that, FHIR's word is the newer one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from .. import strict
from ..problem import Problem
from .names import EXTENSIONS
from .paths import MISSING

UNMAPPED: Final = EXTENSIONS + "plan-unmapped"


class Kept(NamedTuple):
    """One value: its path below the element that carries it, the value or MISSING, and what FHIR says in its place or None."""

    path: tuple[str, ...]
    value: Any
    instead: str | None = None


def write(element: dict[str, Any], kept: list[Kept]) -> None:
    """Hang these on a resource or element."""
    element.setdefault("extension", []).extend(_extension(k) for k in kept)


def _extension(k: Kept) -> dict[str, Any]:
    parts = [{"url": "path", "valueString": dump(list(k.path))}]
    if k.instead is not None:
        parts.append({"url": "as", "valueString": k.instead})
    if k.value is not MISSING:
        parts.append({"url": "json", "valueString": dump(k.value)})
    return {"url": UNMAPPED, "extension": parts}


def read(element: Mapping[str, Any]) -> list[Kept]:
    """What hangs on a resource or element. What cannot be read (somebody else's hand) is passed over."""
    found = element.get("extension")
    if not isinstance(found, list):
        return []
    return [k for e in found if type(e) is dict and e.get("url") == UNMAPPED and (k := _kept(e)) is not None]


def _kept(extension: Mapping[str, Any]) -> Kept | None:
    parts = {p.get("url"): p.get("valueString") for p in extension.get("extension", ()) if isinstance(p, dict)}
    try:
        path = load(str(parts["path"]))
        value = load(str(parts["json"])) if "json" in parts else MISSING
    except (KeyError, Problem):
        return None
    if not isinstance(path, list) or not path or not all(isinstance(p, str) for p in path):
        return None
    return Kept(tuple(path), value, parts.get("as"))


def load(text: str) -> Any:
    """The one JSON value in this text, decimals exact. Problem malformed: what `strict` refuses, or another number of values."""
    held = strict.read_list(b"[" + text.encode() + b"]")
    if len(held) != 1:
        raise Problem("malformed", "This is more than one value.")
    return held[0]


def dump(value: Any) -> str:
    """JSON text in ASCII, keys in order, decimals as written: equal values give equal text."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dump(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dump(v) for v in value) + "]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value)
