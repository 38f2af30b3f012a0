"""Query string to Query. What cannot be understood is refused by name; what R4 does not know is ignored, or refused when strict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..limits import DEFAULT, Limits
from ..r4 import R4, Parameter
from .query import Include, Query, Term, Value
from .values import plain, split
from .wanted import Asked, bad, wanted

MOST_HOPS = 4
MODIFIERS = {
    "token": {"missing", "not", "text", "above", "below", "in", "not-in", "of-type"}, "string": {"missing", "exact", "contains"},
    "reference": {"missing", "identifier"}, "uri": {"missing", "above", "below"}, "date": {"missing"}, "number": {"missing"},
    "quantity": {"missing"}, "composite": {"missing"},
}  # fmt: skip
_EVERY_MODIFIER = frozenset().union(*MODIFIERS.values())
SUMMARIES = ("true", "false", "text", "data", "count")
TOTALS = ("none", "estimate", "accurate")
_TRANSPORT = ("_format", "_pretty", "_page", "_type")  # not part of what is asked
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:.-]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def parse(
    type: str | None, params: Sequence[tuple[str, str]], r4: R4, *, strict: bool = False, zone: str = "Europe/London", base: str = "",
    limits: Limits = DEFAULT,
) -> Query:  # fmt: skip
    """Decoded parameters to a Query; `type` None searches several types (`_type`) or all. A reference that spells out this
    server's own address, `base`, is read without it.

    Problem bad-request, naming the parameter, for what cannot be understood. An unknown parameter is ignored and listed in
    `unknown`, or refused when `strict` (`Prefer: handling=strict`). https://hl7.org/fhir/R4/search.html#errors
    """
    asked = Asked(r4, zone, base and base.rstrip("/") + "/", limits)
    for name, value in params:
        _readable(name, value)
    types = _types(type, params, r4)
    terms: list[Term] = []
    includes: dict[Include, None] = {}
    unknown: list[str] = []
    used: list[tuple[str, str]] = []
    said: dict[str, Any] = {}
    for name, value in params:
        base_name = name.partition(":")[0]
        if name in _TRANSPORT:
            if name == "_type" and type is None:
                used.append((name, value))
            continue
        if not value and not strict:
            continue
        if base_name in ("_include", "_revinclude"):
            includes[_include(name, value, asked)] = None
        elif base_name in _CONTROLS or base_name in _TRANSPORT:
            if base_name != name:
                raise bad(f"`{base_name}` has no modifier `:{name.partition(':')[2][:40]}`.", name)
            said.update(_CONTROLS[name](value, types, asked))
            used = [(n, v) for n, v in used if n != name]  # said again: the last word counts
            value = str(said["count"]) if name == "_count" else value
        else:
            term = _term(asked, types, name, name, value)
            if term is None:
                _known_modifier(r4, name)
                if strict:
                    raise bad(f"`{name[:80]}` is not a search parameter of {type or 'every type searched'}.", name)
                unknown.append(name)
                continue
            terms.append(term)
        used.append((name, value))
    if said.get("count") == 0:
        said["summary"] = "count"
    if said.get("summary") == "text" and includes:
        raise bad("`_summary=text` cannot be asked together with `_include` or `_revinclude`.", "_summary")
    return Query(types, tuple(terms), tuple(includes), unknown=tuple(unknown), used=tuple(used), **said)


def _readable(name: str, value: str) -> None:
    """Problem for what no parameter can be called, and for text that no resource can hold."""
    if not _NAME.fullmatch(name):
        raise bad(f"`{_CONTROL.sub('?', name)[:80]}` is not the name of a search parameter.", _CONTROL.sub("?", name))
    if _CONTROL.search(value):
        raise bad(f"The value of `{name[:80]}` has control characters in it.", name)


def _known_modifier(r4: R4, name: str) -> None:
    """Problem for a modifier that R4 does not have, also on a parameter that is not known: what changes a meaning is not passed over."""
    modifier = name.partition(".")[0].partition(":")[2]
    if modifier and not name.startswith("_has:") and modifier not in _EVERY_MODIFIER and not r4.has_type(modifier):
        raise bad(f"There is no modifier `:{modifier[:40]}`.", name)


def _types(type: str | None, params: Sequence[tuple[str, str]], r4: R4) -> tuple[str, ...]:
    if type is not None:
        return (type,)
    named = tuple(dict.fromkeys(t for k, v in params if k == "_type" for t in v.split(",") if t))
    for t in named:
        if not r4.has_type(t):
            raise bad(f"`{t[:64]}` is not a FHIR R4 resource type.", "_type")
    return named


# -- what a page looks like -------------------------------------------------------------------------------------------


def _count(value: str, types: tuple[str, ...], asked: Asked) -> dict[str, Any]:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise bad(f"`_count` must be a whole number, not `{value[:40]}`.", "_count")
    return {"count": min(int(value), asked.limits.count)}


def _sort(value: str, types: tuple[str, ...], asked: Asked) -> dict[str, Any]:
    out = []
    for part in value.split(","):
        name = part.removeprefix("-")
        found = asked.common(types, name)
        if not found or found[0].type == "composite":
            raise bad(f"Results cannot be sorted by `{name[:80]}`.", "_sort")
        out.append((name, part.startswith("-")))
    return {"sort": tuple(out)}


def _word(name: str, field: str, words: tuple[str, ...]) -> Any:
    def one(value: str, types: tuple[str, ...], asked: Asked) -> dict[str, Any]:
        if value not in words:
            raise bad(f"`{name}` is {', '.join(words[:-1])} or {words[-1]}, not `{value[:40]}`.", name)
        return {field: value}

    return one


def _elements(value: str, types: tuple[str, ...], asked: Asked) -> dict[str, Any]:
    return {"elements": tuple(e.strip() for e in value.split(",") if e.strip())}


_CONTROLS = {
    "_count": _count, "_sort": _sort, "_elements": _elements, "_total": _word("_total", "total", TOTALS),
    "_summary": _word("_summary", "summary", SUMMARIES),
}  # fmt: skip


def _include(name: str, value: str, asked: Asked) -> Include:
    base, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise bad(f"`{base}` has no modifier `:{modifier[:40]}`.", name)
    reverse, iterate = base == "_revinclude", bool(modifier)
    if value == "*":
        return Include("*", "*", "", reverse, iterate)
    source, _, rest = value.partition(":")
    parameter, _, target = rest.partition(":")
    if not asked.r4.has_type(source) or not parameter or (target and not asked.r4.has_type(target)):
        raise bad(f"`{value[:80]}` must be Type:parameter or Type:parameter:TargetType, such as CarePlan:goal.", name)
    found = asked.parameter(source, parameter)
    if parameter != "*" and (found is None or found.type != "reference"):
        raise bad(f"`{parameter[:60]}` is not a reference parameter of {source}.", name)
    return Include(source, parameter, target, reverse, iterate)


# -- one parameter ----------------------------------------------------------------------------------------------------


def _term(asked: Asked, types: tuple[str, ...], name: str, where: str, value: str, hops: int = 0) -> Term | None:
    """None when the types searched have no such parameter."""
    if hops > MOST_HOPS:
        raise bad(f"A search may follow at most {MOST_HOPS} references in a row.", where)
    if name.startswith("_has:"):
        return _has(asked, types, name, where, value, hops)
    first, dot, rest = name.partition(".")
    code, _, modifier = first.partition(":")
    found = asked.common(types, code)
    if not found:
        return None
    if dot:
        return _chained(asked, found, modifier, rest, where, value, hops)
    return _plain_term(asked, found, modifier, where, value)


def _plain_term(asked: Asked, found: list[Parameter], modifier: str, where: str, value: str) -> Term:
    code, kind = found[0].code, found[0].type
    if modifier and modifier not in MODIFIERS[kind] and not (kind == "reference" and asked.r4.has_type(modifier)):
        raise bad(f"`{code}` has no modifier `:{modifier[:40]}`.", where)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise bad(f"`:missing` is true or false, not `{value[:40]}`.", where)
        return Term(code, kind, modifier, (Value(text=value),))
    texts = split(value, ",")
    if len(texts) > asked.limits.values:
        raise bad(f"A parameter may have {asked.limits.values} values, this one has {len(texts)}.", where)
    if not all(texts):
        raise bad(f"`{where[:80]}` has an empty value.", where)
    if modifier in ("in", "not-in"):
        members = tuple(v for t in texts for v in _members(asked.r4, plain(t), where))
        return Term(code, kind, "not" if modifier == "not-in" else "", members)
    values = tuple(v for t in texts for v in wanted(asked, found, modifier, t, where))
    return Term(code, kind, modifier, values)


def _members(r4: R4, url: str, where: str) -> list[Value]:
    """Every code of a value set that is at hand, as what to look for."""
    members = r4.value_set(url.partition("|")[0])
    if members is None:
        raise bad(f"What is in the value set `{url[:200]}` is not known here: name the codes themselves.", where)
    return [Value(text=code, system=system) for system, codes in sorted(members.items()) for code in sorted(codes)]


def _chained(asked: Asked, found: list[Parameter], modifier: str, rest: str, where: str, value: str, hops: int) -> Term | None:
    code = found[0].code
    if found[0].type != "reference":
        raise bad(f"`{code}` is not a reference, so nothing can follow it.", where)
    if modifier and not asked.r4.has_type(modifier):
        raise bad(f"`{code}` has no modifier `:{modifier[:40]}`.", where)
    targets = (modifier,) if modifier else _targets(asked, found)
    able = [(t, term) for t in targets if (term := _try(asked, t, rest, where, value, hops)) is not None]
    if not able:
        return None
    if any(term != able[0][1] for _, term in able):
        raise bad(f"Say which type `{code}` points to, such as {code}:{able[0][0]}.{rest[:40]}.", where)
    return Term(code, "reference", modifier, chain=Query(tuple(t for t, _ in able), (able[0][1],)))


def _targets(asked: Asked, found: list[Parameter]) -> tuple[str, ...]:
    """The types these references may point to."""
    named = tuple(dict.fromkeys(t for p in found for t in p.targets))
    return tuple(t for t in named if asked.r4.has_type(t)) or asked.r4.types


def _try(asked: Asked, type: str, rest: str, where: str, value: str, hops: int) -> Term | None:
    code = rest.partition(".")[0].partition(":")[0]
    if code != "_has" and asked.parameter(type, code) is None:
        return None
    return _term(asked, (type,), rest, where, value, hops + 1)


def _has(asked: Asked, types: tuple[str, ...], name: str, where: str, value: str, hops: int) -> Term:
    parts = name.split(":", 3)
    source = parts[1] if len(parts) > 1 else ""
    reference = asked.parameter(source, parts[2]) if len(parts) == 4 and asked.r4.has_type(source) else None
    if reference is None or reference.type != "reference":
        raise bad(f"`{name[:80]}` must be _has:Type:reference:parameter, such as _has:Observation:patient:code.", where)
    inner = _term(asked, (source,), parts[3], where, value, hops + 1)
    if inner is None:
        raise bad(f"{source} has no search parameter `{parts[3][:60]}`.", where)
    return Term("_has", "special", chain=Query((source,), (inner,)), has=(source, parts[2]))
