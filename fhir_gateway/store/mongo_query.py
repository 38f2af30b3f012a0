"""Search and consent as MongoDB filters: plain data built from `Query` and `Predicate`, held to `search.matches`.

- A filter is two-valued by itself: a field that is not there equals nothing, and `$nor` of it is true.
- A search is asked by halves: of what this reader sees whole, and of what they see the view of (where keys from what the view
  drops do not count). So no condition has to say both.
- `keys`, the flat array, leads near by an index; `key`, the same in full, decides. What leads near may find too much, never too little.
- Hops (chains, `_has`) are resolved before, under the predicate at every hop: here they are lists of references.
- Every value of a user is a text or a number inside `$eq`, `$in`, `$gt` and their like: never a key, never an operator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ..domain.predicate import spelled_out
from ..domain.search import Query, Term, Value, after_all
from ..domain.types import (
    PRACTICE,
    VIEW,
    All,
    Always,
    Any_,
    ByPerson,
    Confidential,
    Has,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Within,
)
from .mongo_documents import LISTS, OF_ORIGIN, flat, flat_number

Filter = dict[str, Any]
Said = Filter | bool  # True: everything; False: nothing
Hops = Mapping[Term, Collection[str]]

_FIELDS: Final = {"patient": "patients", "id": "_id", **{name: f"acl.{name}" for name in (*LISTS, *OF_ORIGIN)}}
LIVE: Final[Filter] = {"live": True}


# -- together -----------------------------------------------------------------------------------------------------------


def both(*parts: Said) -> Said:
    """All of them, in one flat document where their fields differ (the simplest planners like it best)."""
    flat_: Filter = {}
    rest: list[Filter] = []
    for part in parts:
        if part is False:
            return False
        if part is True:
            continue
        assert isinstance(part, dict)
        for name, test in part.items():
            if name == "$and":
                rest += test
            elif name in flat_:
                rest.append({name: test})
            else:
                flat_[name] = test
    if rest:
        flat_["$and"] = rest
    return flat_ or True


def either(*parts: Said) -> Said:
    if any(part is True for part in parts):
        return True
    told = [part for part in parts if part is not False]
    return False if not told else told[0] if len(told) == 1 else {"$or": told}


def neither(part: Said) -> Said:
    return (not part) if isinstance(part, bool) else {"$nor": [part]}


def among(field: str, values: Collection[str]) -> Said:
    """One of these texts."""
    if not values:
        return False
    several = sorted(values)
    return {field: {"$eq": several[0]}} if len(several) == 1 else {field: {"$in": several}}


def of_types(types: Iterable[str]) -> Said:
    """By the resource's name, whose index keeps each type together."""
    return either(*({"_id": {"$gte": f"{t}/", "$lt": f"{t}0"}} for t in sorted(set(types))))


# -- the consent predicate ------------------------------------------------------------------------------------------------


def allowed(p: Predicate, types: tuple[str, ...] = ()) -> Said:
    """The resources the predicate describes; smaller where they are known to be of one of `types`.

    `referred_by` has been turned into `id` before (`mongo_hops`).
    """
    match p:
        case Never():
            return False
        case Always():
            return True
        case All(parts):
            return both(*(allowed(part, types) for part in parts))
        case Any_(parts):
            return either(*(allowed(part, types) for part in parts))
        case Not(part):
            return neither(allowed(part, types))
        case Has("type", values):
            return _of(values, types)
        case Has(field, values):
            return among(_FIELDS[field], values)
        case Only("type", values):
            return _of(values, types)
        case Only("id", values):
            return among("_id", values)
        case Only(field, values):
            return {_FIELDS[field]: {"$not": {"$elemMatch": {"$nin": sorted(values)}}}}
        case Confidential(op, level):
            return {"conf": {"$lte" if op == "<=" else "$gte": int(level)}}
        case Within(low, high):
            then, otherwise = _inside("low", "high", low, high), _inside("updated", "updated", low, high)
            return either(both(neither(_UNDATED), then), both(_UNDATED, otherwise))
        case Overlaps(low, high):
            return either(_UNDATED, _touches("low", "high", low, high), _touches("updated", "updated", low, high))
        case ByPerson():
            return allowed(spelled_out(p), types)
    raise TypeError(f"not a predicate: {p!r}")


_UNDATED: Final[Filter] = {"low": None, "high": None}


def _of(values: frozenset[str], types: tuple[str, ...]) -> Said:
    if types and values.issuperset(types):
        return True
    return of_types(values.intersection(types) if types else values)


def _inside(first: str, last: str, low: int | None, high: int | None) -> Said:
    return both(True if low is None else {first: {"$gte": low}}, True if high is None else {last: {"$lte": high}})


def _touches(first: str, last: str, low: int | None, high: int | None) -> Said:
    starts = True if high is None else either({first: None}, {first: {"$lte": high}})
    ends = True if low is None else either({last: None}, {last: {"$gte": low}})
    return both(starts, ends)


# -- a query ----------------------------------------------------------------------------------------------------------------


def where(query: Query, may: Said, hops: Hops, *, filtered: int) -> Said:
    """The current resources that answer `query` among those of `may`, all of which lack what these views (bits) drop."""
    if query.types:
        may = both(of_types(query.types), may)
    return both(LIVE, may, _all_of(query.terms, query.types, hops, filtered))


def _all_of(terms: tuple[Term, ...], types: tuple[str, ...], hops: Hops, filtered: int) -> Said:
    return both(*(_near(t, types, hops) for t in terms), *(_term(t, types, hops, filtered) for t in terms))


def _alternative(query: Query, types: tuple[str, ...], hops: Hops, filtered: int) -> Said:
    """The resource itself matches this query, too."""
    mine = tuple(t for t in types if t in query.types) if types and query.types else types or query.types
    if query.types and not mine:
        return False
    return both(of_types(mine) if mine != types else True, _all_of(query.terms, mine, hops, filtered))


def _term(t: Term, types: tuple[str, ...], hops: Hops, filtered: int) -> Said:
    if t.any:
        return either(*(_alternative(q, types, hops, filtered) for q in t.any))
    if t.has is not None:
        return among("_id", hops[t])
    if t.name == "_id" and t.modifier in ("", "not", "missing"):
        return _own_id(t)
    if t.name == "_lastUpdated":
        return t.values[0].text == "false" if t.modifier == "missing" else either(*(_range(v, "updated", "updated") for v in t.values))
    mine: Said = {"n": {"$eq": t.key_name}} | ({"z": {"$nin": hidden_by(filtered)}} if filtered else {})
    if t.chain is not None:
        return _some_key(both(mine, among("t", hops[t])))
    if t.modifier == "missing":
        there = _some_key(mine)
        return neither(there) if t.values[0].text == "true" else there
    found = _some_key(both(mine, _hits(t)))
    return neither(found) if t.modifier == "not" else found


def hidden_by(views: int) -> list[int]:
    """What stands in `z` of the keys that these views hide; `true` was written before there were several views."""
    return [z for z in range(1, 2 * PRACTICE) if z & views] + ([True] if views & VIEW else [])


def _some_key(test: Said) -> Said:
    return False if test is False else {"key": {"$elemMatch": test}}


def _own_id(t: Term) -> Said:
    if t.modifier == "missing":
        return t.values[0].text == "false"
    inside = among("id", {v.text for v in t.values if not v.system and v.text})
    return neither(inside) if t.modifier == "not" else inside


def _hits(t: Term) -> Said:
    """Any of the values, against the fields of one key. Plain equalities go as one list."""
    equal: dict[str | None, set[str]] = {}
    parts: list[Said] = []
    for v in t.values:
        texts = plain(t, v)
        if texts is None:
            parts.append(_hit(t, v))
        else:
            equal.setdefault(v.system, set()).update(texts)
    parts += [both(among("t", texts), _system(system)) for system, texts in equal.items()]
    return either(*parts)


def plain(t: Term, v: Value) -> list[str] | None:
    """The texts one of which, with the value's system, is all there is to this value; None when there is more to it."""
    if (t.kind == "token" and t.modifier != "text") or (t.kind == "reference" and t.modifier == "identifier"):
        return [v.text] if v.text else None
    if t.kind == "reference":
        if "/" in v.text or ":" in v.text or v.text.startswith("#"):
            return [v.text]
        return [f"{x}/{v.text}" for x in v.types] or None
    if t.kind == "uri" and t.modifier == "":
        return [v.text]
    if t.kind == "uri" and t.modifier == "above":
        cuts = [v.text[:i] for i, c in enumerate(v.text) if c == "/"]
        return [v.text, *(x for cut in cuts for x in (cut, cut + "/"))]
    return None


def _hit(t: Term, v: Value) -> Said:
    match t.kind:
        case "token":
            return _begins("x", v.text) if t.modifier == "text" else _system(v.system)
        case "string":
            if t.modifier == "exact":
                return both(_same("t", v.text), _same("x", v.exact))
            return {"t": {"$regex": _literal(v.text)}} if t.modifier == "contains" else _begins("t", v.text)
        case "reference":
            return _system(v.system) if t.modifier == "identifier" else {"i": {"$eq": v.text}}
        case "uri":
            return either({"t": {"$eq": v.text}}, _begins("t", v.text.rstrip("/") + "/"))
        case "composite":
            return _composite(v)
    unit = _same("t", v.text) if v.text and t.kind == "quantity" else True
    return both(_span(v), unit, _system(v.system))


def _composite(v: Value) -> Said:
    if v.low is None:
        return _begins("t", v.text) if v.exact == "*" else _same("t", v.text)
    return both(_same("t", v.text), _same("x", v.exact) if v.exact else True, _system(v.system), _span(v))


def _same(field: str, text: str) -> Filter:
    """An empty text is kept as none."""
    return {field: {"$eq": text or None}}


def _system(system: str | None) -> Said:
    return True if system is None else _same("s", system)


def _begins(field: str, text: str) -> Said:
    if not text:
        return False
    end = after_all(text)
    return {field: {"$gte": text} | ({} if end is None else {"$lt": end})}


def _literal(text: str) -> str:
    """A pattern that is these characters: whatever has a meaning in patterns goes by its number."""
    return "".join(c if c.isalnum() or ord(c) > 127 else f"\\x{ord(c):02x}" for c in text)


def _span(v: Value) -> Said:
    return both({"l": {"$ne": None}}, _range(v, "l", "h"))


def _range(v: Value, low: str, high: str) -> Said:
    """https://hl7.org/fhir/R4/search.html#prefix"""
    over: Filter = {high: {"$gt": v.high}}
    under: Filter = {low: {"$lt": v.low}}
    inside = both({low: {"$gte": v.low}}, {high: {"$lte": v.high}})
    match v.prefix:
        case "eq":
            return inside
        case "ne":
            return neither(inside)
        case "gt":
            return over
        case "lt":
            return under
        case "ge":
            return either(over, inside)
        case "le":
            return either(under, inside)
        case "sa":
            return {low: {"$gt": v.high}}
        case "eb":
            return {high: {"$lt": v.low}}
        case "ap":
            return both({low: {"$lte": v.high}}, {high: {"$gte": v.low}})
    raise ValueError(v.prefix)


# -- what leads near -----------------------------------------------------------------------------------------------------------


def _near(t: Term, types: tuple[str, ...], hops: Hops) -> Said:
    """A condition on the flat keys, or on the name, that everything the term finds fulfils: what an index serves."""
    if t.any or t.has is not None or t.modifier in ("not", "missing", "text", "contains"):
        return True  # each of several alternatives has a way of its own
    if t.name == "_id" and types:
        return among("_id", {f"{type}/{v.text}" for type in types for v in t.values if v.text and not v.system})
    if not types or t.name == "_lastUpdated":
        return True
    if t.chain is not None:
        return among("keys", {flat(type, t.key_name, x) for type in types for x in hops[t]})
    texts: set[str] = set()
    parts: list[Said] = []
    for v in t.values:
        equal = plain(t, v)
        if equal is None and t.kind == "string" and t.modifier == "exact":
            equal = [v.text]
        if equal is None and t.kind == "composite" and v.exact != "*":
            equal = [v.text]
        if equal is not None:
            texts.update(equal)
            continue
        spans = _near_span(t, v, types)
        if spans is True:
            return True
        parts.append(spans)
    return either(among("keys", {flat(type, t.key_name, x) for type in types for x in texts if x}), *parts)


def _near_span(t: Term, v: Value, types: tuple[str, ...]) -> Said:
    if t.kind in ("string", "composite"):
        return either(*(_begins_key(flat(type, t.key_name, v.text)) for type in types)) if v.text else True
    if t.kind == "uri":
        below = v.text.rstrip("/") + "/"
        return either(*(either({"keys": {"$eq": flat(x, t.key_name, v.text)}}, _begins_key(flat(x, t.key_name, below))) for x in types))
    if t.kind not in ("date", "number", "quantity") or v.low is None or v.high is None:
        return True
    low = {"eq": v.low, "sa": v.high}.get(v.prefix)
    high = {"eq": v.high, "lt": v.low, "le": v.high, "ap": v.high, "eb": v.low}.get(v.prefix)
    ends = [
        (flat(type, t.key_name, "") if low is None else flat_number(type, t.key_name, low),
         flat(type, t.key_name, "") + "g" if high is None else flat_number(type, t.key_name, high))
        for type in types
    ]  # fmt: skip
    return either(*({"keys": {"$elemMatch": {"$gte": first, "$lte": last}}} for first, last in ends))


def _begins_key(text: str) -> Said:
    end = after_all(text)
    assert end is not None
    return {"keys": {"$elemMatch": {"$gte": text, "$lt": end}}}
