"""`matches(query, resource)`: the executable specification of search, written for reading, not for speed.

Both stores are held to it, in what they find and in which order. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..r4 import R4
from ..rendering import rendered
from ..types import Cut, Key
from .indexing import keys
from .query import Query, Term, Value
from .values import local

Lookup = Callable[[str, str], Iterable[tuple[dict[str, Any], int | Cut]]]


def matches(query: Query, resource: dict[str, Any], *, filtered: int | Cut, r4: R4, lookup: Lookup | None = None) -> bool:
    """Does this resource answer the query, for a reader who gets these views of it (bits; 0 is all of it)?

    Chains and `_has` ask `lookup(type, id)`, id "" for all of the type: the resources this reader may see, and whether each
    is filtered for them. Without a `lookup` nothing else is to be seen.
    """
    own = keys(rendered(resource, filtered), r4)
    return _matches(query, resource, own, r4, lookup or _nothing)


def _matches(query: Query, resource: dict[str, Any], own: Sequence[Key], r4: R4, lookup: Lookup) -> bool:
    typed = not query.types or resource["resourceType"] in query.types
    return typed and all(_holds(term, resource, own, r4, lookup) for term in query.terms)


def _nothing(type: str, id: str) -> Iterable[tuple[dict[str, Any], int]]:
    return ()


def _holds(term: Term, resource: dict[str, Any], own: Sequence[Key], r4: R4, lookup: Lookup) -> bool:
    if term.any:
        return any(_matches(query, resource, own, r4, lookup) for query in term.any)
    if term.has is not None:
        return _referred(term, f"{resource['resourceType']}/{resource['id']}", r4, lookup)
    mine = [k for k in own if k.name == term.key_name]
    if term.chain is not None:
        return any(_leads(term.chain, k.text, r4, lookup) for k in mine if local(k.text))
    if term.modifier == "missing":
        return (not mine) == (term.values[0].text == "true")
    hit = any(_hit(term, k, v) for k in mine for v in term.values)
    return not hit if term.modifier == "not" else hit


def _leads(chain: Query, target: str, r4: R4, lookup: Lookup) -> bool:
    type, _, id = target.partition("/")
    if type not in chain.types:
        return False
    return any(matches(chain, r, filtered=f, r4=r4, lookup=lookup) for r, f in lookup(type, id))


def _referred(term: Term, me: str, r4: R4, lookup: Lookup) -> bool:
    assert term.has is not None and term.chain is not None
    source, name = term.has
    for other, filtered in lookup(source, ""):
        points = any(k.name == name and k.text == me for k in keys(rendered(other, filtered), r4))
        if points and matches(term.chain, other, filtered=filtered, r4=r4, lookup=lookup):
            return True
    return False


def _hit(term: Term, k: Key, v: Value) -> bool:
    """One key against one value."""
    match term.kind:
        case "token":
            return _token_hit(term.modifier, k, v)
        case "string":
            if term.modifier == "exact":
                return k.exact == v.exact
            return v.text in k.text if term.modifier == "contains" else k.text.startswith(v.text)
        case "reference":
            return _token_hit("", k, v) if term.modifier == "identifier" else _points(k.text, v)
        case "uri":
            return _uri_hit(term.modifier, k.text, v.text)
        case "quantity":
            return (not v.text or k.text == v.text) and v.system in (None, k.system) and _in_range(k, v)
        case "composite":
            if v.low is None:
                return k.text.startswith(v.text) if v.exact == "*" else k.text == v.text
            return k.text == v.text and (not v.exact or k.exact == v.exact) and v.system in (None, k.system) and _in_range(k, v)
    return _in_range(k, v)


def _token_hit(modifier: str, k: Key, v: Value) -> bool:
    if modifier == "text":
        return bool(v.text) and k.exact.startswith(v.text)
    return (not v.text or k.text == v.text) and v.system in (None, k.system)


def _points(text: str, v: Value) -> bool:
    if "/" in v.text or ":" in v.text or v.text.startswith("#"):
        return text == v.text
    if v.types:
        return any(text == f"{t}/{v.text}" for t in v.types)
    return local(text) and text.endswith("/" + v.text)


def _uri_hit(modifier: str, text: str, wanted: str) -> bool:
    if modifier == "below":
        return text == wanted or text.startswith(wanted.rstrip("/") + "/")
    if modifier == "above":
        return text == wanted or wanted.startswith(text.rstrip("/") + "/")
    return text == wanted


def _in_range(k: Key, v: Value) -> bool:
    return k.low is not None and k.high is not None and compare(v.prefix, k.low, k.high, v.low, v.high)


def compare(prefix: str, low: Any, high: Any, first: Any, last: Any) -> bool:
    """What the resource has, [low, high], against what is asked for, [first, last]. https://hl7.org/fhir/R4/search.html#prefix"""
    inside = first <= low and high <= last
    return bool(
        {
            "eq": inside,
            "ne": not inside,
            "gt": high > last,
            "lt": low < first,
            "ge": high > last or inside,
            "le": low < first or inside,
            "sa": low > last,
            "eb": high < first,
            "ap": low <= last and first <= high,
        }[prefix]
    )


# -- order ------------------------------------------------------------------------------------------------------------


def arranged(
    query: Query, resources: Iterable[dict[str, Any]], *, filtered: Callable[[dict[str, Any]], int | Cut], r4: R4
) -> list[dict[str, Any]]:
    """In the order of `_sort`, then by type and id. What has no value to sort by comes last, either way.

    A resource with several values goes by its least, or by its greatest when descending; dates and numbers by where they begin.
    """
    out = sorted(resources, key=lambda r: (r["resourceType"], r["id"]))
    for name, down in reversed(query.sort):
        valued = [(sort_value(name, down, r, filtered(r), r4), r) for r in out]
        have = [(v, r) for v, r in valued if v is not None]
        have.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=down)
        out = [r for _, r in have] + [r for v, r in valued if v is None]
    return out


def sort_value(name: str, down: bool, resource: dict[str, Any], filtered: int | Cut, r4: R4) -> Any:
    """What this resource is sorted by, None when it has nothing of that name."""
    own = [k for k in keys(rendered(resource, filtered), r4) if k.name == name]
    ranged = [k.low for k in own if k.low is not None]
    written = [k.text for k in own if k.low is None and k.text]
    values: list[Any] = [*ranged] or [*written]
    if not values:
        return None
    return max(values) if down else min(values)
