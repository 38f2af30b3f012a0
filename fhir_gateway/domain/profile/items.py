"""One element of a resource as profiles see it: its value, its `_twin`, its type, its place."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

Path = tuple[Any, str, int]  # (path of the holder, name, index or -1), as in `validate`


def nodes(node: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list; none where that is no list."""
    some = node.get(name)
    return [n for n in some if type(n) is dict] if type(some) is list else []


class Item(NamedTuple):
    value: Any
    twin: Any
    kind: str  # its type where the JSON tells it: a choice's, a resource's
    path: Path


def below(item: Item, name: str, json: dict[str, str] | None = None) -> list[Item]:
    """The elements called `name`; `json` has the names (and types) of a choice, otherwise a choice is taken as it comes."""
    holder = item.value if type(item.value) is dict else item.twin
    if type(holder) is not dict:
        return []
    if json:
        found = []
        for key in holder:
            kind = json.get(key)
            if kind is not None:
                found += _at(holder, key, kind, item.path)
            elif key[:1] == "_" and key[1:] in json and key[1:] not in holder:
                found += _at(holder, key[1:], json[key[1:]], item.path)
        return found
    if name in holder or "_" + name in holder:
        return _at(holder, name, "", item.path)
    size = len(name)
    chosen = {k.lstrip("_") for k in holder if k.lstrip("_").startswith(name) and k.lstrip("_")[size : size + 1].isupper()}
    return [x for key in sorted(chosen) for x in _at(holder, key, _type(key[size:]), item.path)]


def _at(holder: dict[str, Any], key: str, kind: str, path: Path) -> list[Item]:
    value, twin = holder.get(key), holder.get("_" + key)
    if type(value) is list or type(twin) is list:
        pairs = zip_longest(value if type(value) is list else (), twin if type(twin) is list else ())
        return [_item(v, t, kind, (path, key, i)) for i, (v, t) in enumerate(pairs) if v is not None or t is not None]
    return [_item(value, twin, kind, (path, key, -1))]


def _item(value: Any, twin: Any, kind: str, path: Path) -> Item:
    if not kind and type(value) is dict and type(value.get("resourceType")) is str:
        kind = value["resourceType"]
    return Item(value, twin, kind, path)


PRIMITIVES = {"Base64Binary", "Boolean", "Canonical", "Code", "Date", "DateTime", "Decimal", "Id", "Instant", "Integer", "Markdown", "Oid",
              "PositiveInt", "String", "Time", "UnsignedInt", "Uri", "Url", "Uuid"}  # fmt: skip


def _type(suffix: str) -> str:
    return suffix[:1].lower() + suffix[1:] if suffix in PRIMITIVES else suffix


def named(extension: Item, url: str) -> bool:
    return type(extension.value) is dict and extension.value.get("url") == url
