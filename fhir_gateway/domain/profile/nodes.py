"""What a node of a resource says, as far as a `Judge` asks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .items import Item
from .shapes import Shape

Node = dict[str, Any]
CODED = ("Coding", "CodeableConcept", "Quantity")


def declared(node: Node) -> Iterator[str]:
    meta = node.get("meta")
    some = meta.get("profile") if type(meta) is dict else None
    yield from (p for p in some if type(p) is str) if type(some) is list else ()


def is_coded(shape: Shape, item: Item) -> bool:
    """Whether a binding means anything here; a definition may bind what has no code of its own."""
    if type(item.value) is dict:
        return (item.kind or (shape.at[0] if shape.at is not None else "")) in CODED
    return type(item.value) is str


def codings(value: Any) -> Iterator[Node]:
    if type(value) is dict:
        some = value.get("coding")
        if type(some) is list:
            yield from (c for c in some if type(c) is dict)
        elif "code" in value and type(value["code"]) is str:
            yield value


def has_value(some: list[Any]) -> list[bool]:
    return [len(some) == 1 and type(some[0]) not in (dict, list)]


def last_names(profiles: Sequence[str]) -> str:
    return ", ".join(p.rpartition("/")[2] for p in profiles)


def show(value: Any) -> str:
    if type(value) is not dict:
        return f"`{str(value)[:120]}`"
    coded = next(codings(value), value)
    return ", ".join(f"{k} `{str(v)[:80]}`" for k, v in coded.items() if type(v) not in (dict, list)) or "what the profile fixes"
