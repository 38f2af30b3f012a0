"""Whose record a copy is: a tag on it for every gateway that holds it, by the gateway's name and its own id. docs/notes/0024"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import strict

SYSTEM: Final = "https://fhir-gateway.example/id/resource"
_NAMED: Final = re.compile(r"([0-9a-f]{16})\.([A-Za-z0-9.-]{1,64})")  # a gateway's name, and an id there

Tag = dict[str, Any]


def tag(gateway: str, id: str) -> Tag:
    """What a copy of this gateway's resource bears."""
    return {"system": SYSTEM, "code": f"{gateway}.{id}"}


def tags(body: Mapping[str, Any]) -> list[Tag]:
    """Every tag of a gateway on this."""
    return [dict(t) for t in body.get("meta", {}).get("tag", []) if t.get("system") == SYSTEM]


def codes(body: Mapping[str, Any]) -> list[str]:
    return [str(t.get("code", "")) for t in tags(body)]


def parts(code: str) -> tuple[str, str] | None:
    """(name of a gateway, id there) of a tag's code; None for what is none, such as the bare ids that copies once bore."""
    found = _NAMED.fullmatch(code)
    return (found[1], found[2]) if found is not None else None


def at(gateway: str, body: Mapping[str, Any]) -> str | None:
    """The id at the gateway of this name of what this is a copy of; None when it is of no record there."""
    found = (parts(c) for c in codes(body)) if gateway else ()
    return next((p[1] for p in found if p is not None and p[0] == gateway), None)


def added(body: Mapping[str, Any], was: Mapping[str, Any]) -> list[str]:
    """The codes on this that `was` did not bear, nor by the id alone, as copies once did."""
    had = set(codes(was))
    return [code for code in codes(body) if code not in had and (parts(code) or ("", ""))[1] not in had]


def tagged(body: Mapping[str, Any], by: Sequence[Tag]) -> dict[str, Any]:
    """The same with exactly these tags of gateways."""
    meta = {k: v for k, v in body.get("meta", {}).items() if k != "tag"}
    every = [t for t in body.get("meta", {}).get("tag", []) if t.get("system") != SYSTEM] + [dict(t) for t in by]
    if every:
        meta["tag"] = every
    out = {k: v for k, v in body.items() if k != "meta"}
    return {**out, "meta": meta} if meta else out


def kept(raw: bytes, was: Mapping[str, Any]) -> bytes:
    """What replaces a copy is a copy: with the tags of gateways that it leaves out. Problem malformed for what is no JSON."""
    had = tags(was)
    if not had:
        return raw
    body = strict.read(raw)
    meta = body.get("meta", {})
    given = meta.get("tag", []) if isinstance(meta, dict) else None
    if not isinstance(given, list) or not all(isinstance(t, dict) for t in given):
        return raw  # refused by whoever reads it
    missing = [t for t in had if t.get("code") not in codes(body)]
    return strict.dump(tagged(body, [*missing, *tags(body)])) if missing else raw
