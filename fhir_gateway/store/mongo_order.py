"""The order of what is found, and where the next page of it begins, as MongoDB has it: held to `search.matches` as `mongo_query` is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..domain.search import Query
from .mongo_query import Filter, Said, both, either, hidden_by


def sort_fields(query: Query, *, filtered: int) -> Filter:
    """`s0`, `s1` …: what each resource is sorted by; null when it has nothing of that name."""
    return {f"s{i}": _sort_value(name, down, filtered) for i, (name, down) in enumerate(query.sort)}


def _sort_value(name: str, down: bool, filtered: int) -> Any:
    if name == "_lastUpdated":
        return "$updated"
    if name == "_id":
        return "$id"
    named: list[Any] = [{"$eq": ["$$k.n", {"$literal": name}]}]
    if filtered:
        named.append({"$not": [{"$in": [{"$ifNull": ["$$k.z", 0]}, hidden_by(filtered)]}]})
    mine = {"$filter": {"input": {"$ifNull": ["$key", []]}, "as": "k", "cond": {"$and": named}}}
    pick = "$max" if down else "$min"
    ranged, written = ({pick: {"$map": {"input": mine, "as": "k", "in": f"$$k.{field}"}}} for field in ("l", "t"))
    return {"$ifNull": [ranged, written, None]}


def sort_spec(query: Query) -> dict[str, int]:
    """What has no value to sort by comes last, either way; then by type and id, which is the order of the names."""
    out: dict[str, int] = {}
    for i, (_, down) in enumerate(query.sort):
        out |= {f"n{i}": 1, f"s{i}": -1 if down else 1}
    return out | {"_id": 1}


def null_fields(query: Query) -> Filter:
    return {f"n{i}": {"$cond": [{"$eq": [f"$s{i}", None]}, 1, 0]} for i in range(len(query.sort))}


def beyond(query: Query, after: Sequence[Any]) -> Said:
    """Strictly after a position: sort values, type, id."""
    *values, type, id = after
    rest: Said = {"_id": {"$gt": f"{type}/{id}"}}
    for i, ((_, down), value) in reversed(list(enumerate(zip(query.sort, values, strict=True)))):
        s = f"s{i}"
        if value is None:
            rest = both({s: None}, rest)
        else:
            rest = either({s: None}, _further(s, value, down), both({s: {"$eq": value}}, rest))
    return rest


def _further(s: str, value: Any, down: bool) -> Said:
    """Numbers come before texts; a comparison in a filter sees only its own kind."""
    if isinstance(value, str):
        return either({s: {"$lt": value}}, {s: {"$type": "number"}}) if down else {s: {"$gt": value}}
    return {s: {"$lt": value}} if down else either({s: {"$gt": value}}, {s: {"$type": "string"}})
