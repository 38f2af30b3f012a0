"""Query string to Query, resource to index keys, and `matches(query, resource)`: the executable specification of search.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from .expressions import compile_expression, target_type
from .problem import Problem
from .r4 import R4, Parameter
from .types import Key, Ref

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_COUNT, MOST_VALUES, MOST_HOPS = 200, 100, 4
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
MODIFIERS = {
    "token": {"not", "text", "missing"}, "string": {"exact", "contains", "missing"}, "reference": {"identifier", "missing"},
    "uri": {"above", "below", "missing"}, "date": {"missing"}, "number": {"missing"}, "quantity": {"missing"},
}  # fmt: skip
CONTROLS = {"_sort", "_count", "_total", "_summary", "_elements", "_include", "_revinclude", "_format", "_pretty", "_page"}
OFFERED = frozenset(MODIFIERS)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, slots=True)
class Value:
    """One of the OR'd values of a parameter.

    `prefix` (eq ne gt lt ge le sa eb ap) and `low`/`high` for dates, numbers, quantities; `system` None = any system
    (token `code`), "" = no system (token `|code`); `text` folded for strings.
    """

    text: str = ""
    system: str | None = None
    exact: str = ""
    prefix: str = "eq"
    low: float | int | None = None
    high: float | int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One parameter: values are OR'd; terms of a query are AND'd."""

    name: str
    kind: str  # token string reference date number quantity uri composite special
    modifier: str = ""
    values: tuple[Value, ...] = ()
    chain: Query | None = None  # `subject:Patient.name=x`: this reference must point to a match of `chain`
    has: tuple[str, str] | None = None  # `_has:Goal:patient:…`: (referring type, its reference parameter), `chain` = the rest


@dataclass(frozen=True, slots=True)
class Include:
    source: str
    name: str  # or "*"
    target: str = ""
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search. `types` has one entry except for searches over several types."""

    types: tuple[str, ...]
    terms: tuple[Term, ...] = ()
    includes: tuple[Include, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()  # (parameter, descending)
    count: int | None = None
    total: str = "none"  # none, estimate, accurate
    summary: str = ""
    elements: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # ignored parameters, absent from the self link
    used: tuple[tuple[str, str], ...] = ()  # what goes into the self link


def decoded(raw: bytes) -> dict[str, Any]:
    """A stored resource as Python values, decimals exact."""
    out: dict[str, Any] = _decode(raw)
    return out


# -- query string to Query ----------------------------------------------------------------------------------------------


def parse(
    type: str | None, params: Sequence[tuple[str, str]], r4: R4, *, strict: bool = False, zone: str = "Europe/London"
) -> Query:
    """Decoded parameters to a Query. Problem bad-request, naming the parameter, for what cannot be understood.

    An unknown parameter is ignored and listed in `unknown`, or refused when `strict` (`Prefer: handling=strict`).
    """
    types, params = _types(type, params, r4)
    terms: list[Term] = []
    includes: list[Include] = []
    unknown: list[str] = []
    used: list[tuple[str, str]] = []
    settings: dict[str, Any] = {}
    for name, value in params:
        if name in ("_format", "_pretty", "_page"):
            continue
        if name.split(":")[0] in ("_include", "_revinclude"):
            includes.append(_include(name, value, r4))
        elif name in CONTROLS:
            settings.update(_control(name, value, types, r4))
        else:
            term = _term(types, name, value, r4, zone)
            if term is None:
                if strict:
                    raise _bad(f"`{name[:80]}` is not a search parameter of {type or 'every type'}.", name)
                unknown.append(name)
                continue
            terms.append(term)
        used.append((name, value))
    return Query(types, tuple(terms), tuple(includes), unknown=tuple(unknown), used=tuple(used), **settings)


def with_terms(query: Query, more: tuple[Term, ...]) -> Query:
    """The same search with further terms."""
    return replace(query, terms=query.terms + more)


def _types(type: str | None, params: Sequence[tuple[str, str]], r4: R4) -> tuple[tuple[str, ...], Sequence[tuple[str, str]]]:
    if type is not None:
        return (type,), params
    named = [t for k, v in params if k == "_type" for t in v.split(",")]
    for t in named:
        if not r4.has_type(t):
            raise _bad(f"`{t[:64]}` is not a FHIR R4 resource type.", "_type")
    return tuple(named), [(k, v) for k, v in params if k != "_type"]


def _bad(text: str, where: str) -> Problem:
    return Problem("bad-request", text, where[:100])


def _control(name: str, value: str, types: tuple[str, ...], r4: R4) -> dict[str, Any]:
    if name == "_count":
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            raise _bad(f"`_count` must be a whole number, not `{value[:40]}`.", name)
        return {"count": min(int(value), MOST_COUNT)}
    if name == "_sort":
        return {"sort": tuple(_sorting(part, types, r4) for part in value.split(",") if part)}
    if name == "_total":
        if value not in ("none", "estimate", "accurate"):
            raise _bad(f"`_total` is none, estimate or accurate, not `{value[:40]}`.", name)
        return {"total": value}
    if name == "_summary":
        if value not in ("true", "false", "text", "data", "count"):
            raise _bad(f"`_summary` is true, false, text, data or count, not `{value[:40]}`.", name)
        return {"summary": value}
    return {"elements": tuple(e for e in value.split(",") if e)}


def _sorting(part: str, types: tuple[str, ...], r4: R4) -> tuple[str, bool]:
    name = part.removeprefix("-")
    kinds = {_kind(t, name, r4) for t in types} or {_kind("Patient", name, r4)}
    if None in kinds or (name not in ("_id", "_lastUpdated") and kinds <= {"composite", "special"}):
        raise _bad(f"Results cannot be sorted by `{name[:80]}`.", "_sort")
    return name, part.startswith("-")


def _kind(type: str, name: str, r4: R4) -> str | None:
    parameter = r4.search_parameters(type).get(name)
    return parameter.type if parameter is not None and (parameter.expression or name in ("_id", "_lastUpdated")) else None


def _include(name: str, value: str, r4: R4) -> Include:
    base, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise _bad(f"`{name}` has a modifier that does not exist.", name)
    reverse = base == "_revinclude"
    if value == "*":
        if reverse:
            raise _bad("`_revinclude=*` is not offered: name the type and its parameter, such as Goal:patient.", name)
        return Include("*", "*", "", False, bool(modifier))
    parts = value.split(":")
    if len(parts) not in (2, 3) or not r4.has_type(parts[0]):
        raise _bad(f"`{value[:80]}` must be Type:parameter, such as CarePlan:goal.", name)
    if parts[1] != "*" and _kind(parts[0], parts[1], r4) != "reference":
        raise _bad(f"`{parts[1][:60]}` is not a reference parameter of {parts[0]}.", name)
    return Include(parts[0], parts[1], parts[2] if len(parts) == 3 else "", reverse, bool(modifier))


def _term(types: tuple[str, ...], name: str, value: str, r4: R4, zone: str, hops: int = 0) -> Term | None:
    """One parameter. None when no type searched has it."""
    if hops > MOST_HOPS:
        raise _bad(f"A search may follow {MOST_HOPS} references in a row.", name)
    if name.startswith("_has:"):
        return _has(name, value, r4, zone, hops)
    first, dot, rest = name.partition(".")
    code, _, modifier = first.partition(":")
    kinds = {_kind(t, code, r4) for t in types} if types else {_common(code, r4)}
    if None in kinds or not code:
        return None
    (kind,) = kinds if len(kinds) == 1 else ("special",)
    assert kind is not None
    if dot:
        return _chained(types, code, modifier, kind, rest, value, r4, zone, hops)
    _check_modifier(types, code, modifier, kind, r4)
    if kind not in OFFERED:
        raise _bad(f"`{code}` cannot be searched by here yet ({kind}).", name)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise _bad(f"`:missing` is true or false, not `{value[:40]}`.", name)
        return Term(code, kind, "missing", (Value(text=value),))
    texts = _split(value)
    if len(texts) > MOST_VALUES:
        raise _bad(f"A parameter may have {MOST_VALUES} values, this one has {len(texts)}.", name)
    values = tuple(_value(kind, modifier, text, name, zone) for text in texts)
    return Term(code, kind, modifier, values)


def _common(code: str, r4: R4) -> str | None:
    """Parameters of every type, for a search over several."""
    return _kind("Basic", code, r4) if code.startswith("_") else None


def _check_modifier(types: tuple[str, ...], code: str, modifier: str, kind: str, r4: R4) -> None:
    if not modifier or modifier in MODIFIERS.get(kind, ()):
        return
    if kind == "reference" and r4.has_type(modifier):
        return
    raise _bad(f"`{code}` has no modifier `:{modifier[:40]}`.", f"{code}:{modifier}")


def _chained(
    types: tuple[str, ...], code: str, modifier: str, kind: str, rest: str, value: str, r4: R4, zone: str, hops: int
) -> Term | None:
    if kind != "reference":
        raise _bad(f"`{code}` is no reference, so nothing can follow it.", code)
    targets = tuple(t for name in types for t in r4.search_parameters(name)[code].targets if r4.has_type(t))
    if modifier:
        if not r4.has_type(modifier):
            raise _bad(f"`{modifier[:40]}` is not a resource type.", f"{code}:{modifier}")
        targets = (modifier,)
    able = tuple(t for t in dict.fromkeys(targets) if _has_parameter(t, rest, r4))
    if not able:
        return None
    inner = [_term((t,), rest, value, r4, zone, hops + 1) for t in able]
    found = [(t, term) for t, term in zip(able, inner, strict=True) if term is not None]
    if not found:
        return None
    if len(found) > 1 and len({repr(term) for _, term in found}) > 1:
        raise _bad(f"Say which type `{code}` points to, such as {code}:{found[0][0]}.{rest}.", code)
    return Term(code, "reference", chain=Query(tuple(t for t, _ in found), (found[0][1],)))


def _has_parameter(type: str, rest: str, r4: R4) -> bool:
    name = rest.split(".")[0].split(":")[0]
    return name == "_has" or _kind(type, name, r4) is not None


def _has(name: str, value: str, r4: R4, zone: str, hops: int) -> Term | None:
    parts = name.split(":", 3)
    if len(parts) != 4 or not r4.has_type(parts[1]) or _kind(parts[1], parts[2], r4) != "reference":
        raise _bad(f"`{name[:80]}` must be _has:Type:reference:parameter.", "_has")
    inner = _term((parts[1],), parts[3], value, r4, zone, hops + 1)
    if inner is None:
        raise _bad(f"{parts[1]} has no search parameter `{parts[3][:60]}`.", "_has")
    return Term("_has", "special", chain=Query((parts[1],), (inner,)), has=(parts[1], parts[2]))


def _split(text: str) -> list[str]:
    """At commas that are not escaped."""
    return [t for t in re.split(r"(?<!\\),", text)]


def _plain(text: str) -> str:
    return re.sub(r"\\([,|$\\])", r"\1", text)


def _value(kind: str, modifier: str, text: str, name: str, zone: str) -> Value:
    if kind == "token":
        if modifier == "text":
            return Value(text=fold(_plain(text)), exact=_plain(text))
        return _token(text)
    if kind == "string":
        return Value(text=fold(_plain(text)), exact=_plain(text))
    if kind == "reference":
        if modifier == "identifier":
            return _token(text)
        plain = _plain(text)
        return Value(text=f"{modifier}/{plain}" if modifier and "/" not in plain else plain)
    if kind == "uri":
        return Value(text=_plain(text))
    prefix, rest = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    if kind == "date":
        span = date_span(rest, zone)
        if span is None:
            raise _bad(f"`{text[:60]}` is not a date such as 2026-11 or 2026-11-01T10:00:00Z.", name)
        return Value(text=rest, prefix=prefix, low=span[0], high=span[1])
    number, *unit = re.split(r"(?<!\\)\|", rest)
    low_high = number_span(number)
    if low_high is None:
        raise _bad(f"`{text[:60]}` is not a number.", name)
    system, code = (unit[0] or None, unit[1]) if len(unit) == 2 else (None, "")
    return Value(text=code, system=system, exact=number, prefix=prefix, low=low_high[0], high=low_high[1])


def _token(text: str) -> Value:
    parts = re.split(r"(?<!\\)\|", text, maxsplit=1)
    if len(parts) == 1:
        return Value(text=_plain(text), system=None)
    return Value(text=_plain(parts[1]), system=_plain(parts[0]))


def fold(text: str) -> str:
    """Without case, accents and runs of white space: how strings are compared."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(bare.casefold().split())


_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?\Z"
)
_zones: dict[str, ZoneInfo] = {}


def date_span(text: str, zone: str = "Europe/London") -> tuple[int, int] | None:
    """The instants a FHIR date, dateTime or instant stands for, in microseconds since 1970 UTC, both inclusive."""
    match = _DATE.match(text.replace(" ", "+"))
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    place = _zones.setdefault(zone, ZoneInfo(zone))
    try:
        if hour is None:
            start = datetime(int(year), int(month or 1), int(day or 1), tzinfo=place)
            if day:
                end = start + timedelta(days=1)
            elif month:
                end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
            else:
                end = start.replace(year=start.year + 1)
            return micros(start), micros(end) - 1
        if offset and offset != "Z":
            at = datetime.fromisoformat(f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}{offset}")
        else:
            tz = UTC if offset else place
            at = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=tz)
    except (ValueError, OverflowError):
        return None
    start_us = micros(at)
    if second is None:
        return start_us, start_us + 60_000_000 - 1
    if fraction is None:
        return start_us, start_us + 1_000_000 - 1
    digits = fraction[1:7]
    unit = 10 ** (6 - len(digits))
    low = start_us + int(digits) * unit
    return low, low + unit - 1


def micros(at: datetime) -> int:
    delta = at.astimezone(UTC) - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def number_span(text: str) -> tuple[float, float] | None:
    """The interval a written number stands for: 5.4 is 5.35 to 5.45 (https://hl7.org/fhir/R4/search.html#number)."""
    if not re.fullmatch(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", text):
        return None
    try:
        value = Decimal(text)
        exponent = value.as_tuple().exponent
        half = Decimal(1).scaleb(int(exponent)) / 2
        return float(value - half), float(value + half)
    except (InvalidOperation, OverflowError):
        return None


# -- resource to keys ---------------------------------------------------------------------------------------------------

_Extract = Callable[[dict[str, Any]], Iterable[Key]]


def keys(resource: dict[str, Any], r4: R4) -> tuple[Key, ...]:
    """Every indexed value of every search parameter of this resource."""
    type = resource["resourceType"]
    cache = r4._compiled
    extractors: list[_Extract] | None = cache.get(("search", type))
    if extractors is None:
        extractors = [_extractor(p, type, r4) for p in r4.search_parameters(type).values() if p.expression and p.type in OFFERED]
        cache[("search", type)] = extractors
    found: dict[Key, None] = {}
    for extract in extractors:
        for key in extract(resource):
            found[key] = None
    return tuple(found)


def _extractor(p: Parameter, type: str, r4: R4) -> _Extract:
    find = compile_expression(p.expression, type, r4)
    make = _MAKERS[p.type]
    name, targets = p.code, frozenset(p.targets)
    if p.type == "reference" and targets and name == "patient":
        return lambda resource: (k for t, v in find(resource) if target_type(v) in targets for k in make(name, t, v))
    return lambda resource: (k for t, v in find(resource) for k in make(name, t, v))


def _token_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if isinstance(v, bool):
        yield Key(name, "token", "true" if v else "false")
    elif isinstance(v, str):
        yield Key(name, "token", v)
    elif isinstance(v, dict):
        if type == "CodeableConcept":
            text = fold(v.get("text", ""))
            codings = v.get("coding", [])
            for c in codings:
                yield Key(name, "token", str(c.get("code", "")), str(c.get("system", "")), fold(c.get("display", "")) or text)
            if text:
                yield Key(name, "token", "", "", text)
        elif type == "Coding":
            yield Key(name, "token", str(v.get("code", "")), str(v.get("system", "")), fold(v.get("display", "")))
        elif type in ("Identifier", "ContactPoint"):
            if v.get("value"):
                text = fold(v.get("type", {}).get("text", "")) if type == "Identifier" else ""
                yield Key(name, "token", str(v["value"]), str(v.get("system", "")), text)


_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


def _string_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if isinstance(v, str):
        yield Key(name, "string", fold(v), "", v)
    elif isinstance(v, dict):
        for part in _NAME_PARTS if type == "HumanName" else _ADDRESS_PARTS if type == "Address" else ("text",):
            got = v.get(part)
            for text in got if isinstance(got, list) else [got]:
                if isinstance(text, str):
                    yield Key(name, "string", fold(text), "", text)


def _reference_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if isinstance(v, str):
        yield Key(name, "reference", v)
        if "|" in v:
            yield Key(name, "reference", v.split("|")[0])
    elif isinstance(v, dict):
        text = str(v.get("reference", "")).split("/_history/")[0]
        identifier = v.get("identifier") or {}
        named = f"{identifier.get('system', '')}|{identifier['value']}" if identifier.get("value") else ""
        if text and not text.startswith("#"):
            yield Key(name, "reference", text)
        if named:
            yield Key(name, "reference", "", named)


def _uri_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if isinstance(v, str):
        yield Key(name, "uri", v)


def _date_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if isinstance(v, str):
        span = date_span(v)
        if span is not None:
            yield Key(name, "date", "", "", "", span[0], span[1])
    elif isinstance(v, dict):
        if type == "Timing":
            spans = [s for e in v.get("event", []) if isinstance(e, str) and (s := date_span(e)) is not None]
            if spans:
                yield Key(name, "date", "", "", "", min(s[0] for s in spans), max(s[1] for s in spans))
            v = (v.get("repeat") or {}).get("boundsPeriod") or {}
        start, end = v.get("start"), v.get("end")
        low = date_span(start) if isinstance(start, str) else None
        high = date_span(end) if isinstance(end, str) else None
        if low or high:
            yield Key(name, "date", "", "", "", low[0] if low else DAWN, high[1] if high else DUSK)


DAWN, DUSK = -(2**62), 2**62


def _number_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if isinstance(v, (int, Decimal)) and not isinstance(v, bool):
        span = number_span(str(v))
        if span is not None:
            yield Key(name, "number", "", "", "", span[0], span[1])


def _quantity_keys(name: str, type: str, v: Any) -> Iterable[Key]:
    if not isinstance(v, dict):
        return
    if type == "Range":
        low, high = v.get("low", {}), v.get("high", {})
        ends = number_span(str(low.get("value", "x"))), number_span(str(high.get("value", "x")))
        about = low or high
        if ends[0] or ends[1]:
            span = (ends[0][0] if ends[0] else float("-inf"), ends[1][1] if ends[1] else float("inf"))
            yield Key(name, "quantity", str(about.get("code") or about.get("unit", "")), str(about.get("system", "")), "", *span)
    elif "value" in v:
        found = number_span(str(v["value"]))
        if found is not None:
            unit = str(v.get("code") or v.get("currency") or v.get("unit", ""))
            yield Key(name, "quantity", unit, str(v.get("system", "")), "", found[0], found[1])


_MAKERS: Mapping[str, Callable[[str, str, Any], Iterable[Key]]] = {
    "token": _token_keys, "string": _string_keys, "reference": _reference_keys, "uri": _uri_keys, "date": _date_keys,
    "number": _number_keys, "quantity": _quantity_keys,
}  # fmt: skip


# -- the executable specification ---------------------------------------------------------------------------------------

Lookup = Callable[[str, str], Iterable[tuple[dict[str, Any], bool]]]


def matches(query: Query, resource: dict[str, Any], *, filtered: bool, r4: R4, lookup: Lookup | None = None) -> bool:
    """Does this resource match. `lookup(type, id or "")` gives visible resources (and whether each is filtered) for hops."""
    if query.types and resource["resourceType"] not in query.types:
        return False
    mine = [k for k in keys(resource, r4) if not (filtered and k.hidden)]
    return all(_term_matches(t, resource, mine, r4, lookup) for t in query.terms)


def _term_matches(t: Term, resource: dict[str, Any], mine: list[Key], r4: R4, lookup: Lookup | None) -> bool:
    if t.has is not None and t.chain is not None and lookup is not None:
        me = f"{resource['resourceType']}/{resource['id']}"
        for other, hidden in lookup(t.has[0], ""):
            points = any(k.name == t.has[1] and k.text == me for k in keys(other, r4) if not (hidden and k.hidden))
            if points and matches(t.chain, other, filtered=hidden, r4=r4, lookup=lookup):
                return True
        return False
    own = [k for k in mine if k.name == t.name]
    if t.chain is not None:
        for k in own:
            type, _, id = k.text.partition("/")
            if type in t.chain.types and lookup is not None:
                for other, hidden in lookup(type, id):
                    if matches(t.chain, other, filtered=hidden, r4=r4, lookup=lookup):
                        return True
        return False
    if t.modifier == "missing":
        return bool(own) != (t.values[0].text == "true")
    if t.modifier == "not":
        return not any(_hit(t, k, v) for k in own for v in t.values)
    return any(_hit(t, k, v) for k in own for v in t.values)


def _hit(t: Term, k: Key, v: Value) -> bool:
    """One key against one value."""
    if t.kind == "token":
        if t.modifier == "text":
            return k.exact.startswith(v.text) if v.text else False
        return (v.text == "" or k.text == v.text) and (v.system is None or k.system == v.system)
    if t.kind == "string":
        if t.modifier == "exact":
            return k.exact == v.exact
        return v.text in k.text if t.modifier == "contains" else k.text.startswith(v.text)
    if t.kind == "reference":
        if t.modifier == "identifier":
            system, _, value = k.system.rpartition("|")
            return bool(k.system) and value == v.text and (v.system is None or system == v.system)
        return k.text == v.text or ("/" not in v.text and k.text.endswith("/" + v.text) and k.text.count("/") == 1)
    if t.kind == "uri":
        if t.modifier == "below":
            return k.text == v.text or k.text.startswith(v.text.rstrip("/") + "/")
        if t.modifier == "above":
            return k.text == v.text or v.text.startswith(k.text.rstrip("/") + "/")
        return k.text == v.text
    if t.kind == "quantity" and ((v.text and k.text != v.text) or (v.system is not None and k.system != v.system)):
        return False
    return compare(v.prefix, k.low, k.high, v.low, v.high)


def compare(prefix: str, low: Any, high: Any, vlow: Any, vhigh: Any) -> bool:
    """The R4 prefixes over ranges: the resource's [low, high] against the value's (https://hl7.org/fhir/R4/search.html#prefix)."""
    if prefix == "eq":
        return bool(vlow <= low and high <= vhigh)
    if prefix == "ne":
        return not (vlow <= low and high <= vhigh)
    if prefix == "gt":
        return bool(high > vhigh)
    if prefix == "lt":
        return bool(low < vlow)
    if prefix == "ge":
        return bool(high > vhigh or (vlow <= low and high <= vhigh))
    if prefix == "le":
        return bool(low < vlow or (vlow <= low and high <= vhigh))
    if prefix == "sa":
        return bool(low > vhigh)
    if prefix == "eb":
        return bool(high < vlow)
    return bool(low <= vhigh and vlow <= high)


# -- includes -----------------------------------------------------------------------------------------------------------


def include_refs(includes: Sequence[Include], resources: Sequence[dict[str, Any]], r4: R4) -> list[Ref]:
    """What `_include` asks to bring for these resources, each once."""
    out: dict[Ref, None] = {}
    for resource in resources:
        type = resource["resourceType"]
        own = keys(resource, r4)
        for include in includes:
            if include.source not in (type, "*"):
                continue
            names = {n for n, p in r4.search_parameters(type).items() if p.type == "reference"} if include.name == "*" else {include.name}
            for k in own:
                if k.kind == "reference" and k.name in names and k.text.count("/") == 1 and ":" not in k.text:
                    ref = Ref(*k.text.split("/"))
                    if not include.target or include.target == ref.type:
                        out[ref] = None
    return list(out)


def reference_names(include: Include, r4: R4) -> list[str]:
    """The reference parameters a `_revinclude` goes by."""
    if include.name != "*":
        return [include.name]
    return [n for n, p in r4.search_parameters(include.source).items() if p.type == "reference" and p.expression]
