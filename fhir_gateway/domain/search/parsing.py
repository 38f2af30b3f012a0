"""Query string to Query. What cannot be understood is refused by name; what R4 does not know is ignored, or refused when strict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..limits import DEFAULT, Limits
from ..problem import Problem
from ..r4 import R4, Parameter
from .indexing import JOIN, searchable
from .query import Include, Query, Term, Value
from .values import LONGEST, around, date_span, fold, number, number_span, plain, split

MOST_HOPS = 4
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
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


@dataclass(frozen=True, slots=True)
class _Asked:
    r4: R4
    zone: str
    base: str  # this server's own address, with a slash at its end; "" when it is not known
    limits: Limits

    def parameter(self, type: str, code: str) -> Parameter | None:
        """A parameter of this type that can be searched by, None for any other name."""
        found = self.r4.search_parameters(type).get(code)
        return found if searchable(found) else None

    def common(self, types: tuple[str, ...], code: str) -> list[Parameter]:
        """The parameter in each of these types; [] unless all have it, of one kind. No types: those every type has."""
        found = [self.parameter(t, code) for t in types or ("Basic",)]
        if not code or (not types and not code.startswith("_")):
            return []
        known = [p for p in found if p is not None]
        return known if len(known) == len(found) and len({p.type for p in known}) == 1 else []


def parse(
    type: str | None, params: Sequence[tuple[str, str]], r4: R4, *, strict: bool = False, zone: str = "Europe/London", base: str = "",
    limits: Limits = DEFAULT,
) -> Query:  # fmt: skip
    """Decoded parameters to a Query; `type` None searches several types (`_type`) or all. A reference that spells out this
    server's own address, `base`, is read without it.

    Problem bad-request, naming the parameter, for what cannot be understood. An unknown parameter is ignored and listed in
    `unknown`, or refused when `strict` (`Prefer: handling=strict`). https://hl7.org/fhir/R4/search.html#errors
    """
    asked = _Asked(r4, zone, base and base.rstrip("/") + "/", limits)
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
                raise _bad(f"`{base_name}` has no modifier `:{name.partition(':')[2][:40]}`.", name)
            said.update(_CONTROLS[name](value, types, asked))
            used = [(n, v) for n, v in used if n != name]  # said again: the last word counts
            value = str(said["count"]) if name == "_count" else value
        else:
            term = _term(asked, types, name, name, value)
            if term is None:
                _known_modifier(r4, name)
                if strict:
                    raise _bad(f"`{name[:80]}` is not a search parameter of {type or 'every type searched'}.", name)
                unknown.append(name)
                continue
            terms.append(term)
        used.append((name, value))
    if said.get("count") == 0:
        said["summary"] = "count"
    if said.get("summary") == "text" and includes:
        raise _bad("`_summary=text` cannot be asked together with `_include` or `_revinclude`.", "_summary")
    return Query(types, tuple(terms), tuple(includes), unknown=tuple(unknown), used=tuple(used), **said)


def _readable(name: str, value: str) -> None:
    """Problem for what no parameter can be called, and for text that no resource can hold."""
    if not _NAME.fullmatch(name):
        raise _bad(f"`{_CONTROL.sub('?', name)[:80]}` is not the name of a search parameter.", _CONTROL.sub("?", name))
    if _CONTROL.search(value):
        raise _bad(f"The value of `{name[:80]}` has control characters in it.", name)


def _known_modifier(r4: R4, name: str) -> None:
    """Problem for a modifier that R4 does not have, also on a parameter that is not known: what changes a meaning is not passed over."""
    modifier = name.partition(".")[0].partition(":")[2]
    if modifier and not name.startswith("_has:") and modifier not in _EVERY_MODIFIER and not r4.has_type(modifier):
        raise _bad(f"There is no modifier `:{modifier[:40]}`.", name)


def _bad(text: str, where: str) -> Problem:
    return Problem("bad-request", text, where[:100])


def _types(type: str | None, params: Sequence[tuple[str, str]], r4: R4) -> tuple[str, ...]:
    if type is not None:
        return (type,)
    named = tuple(dict.fromkeys(t for k, v in params if k == "_type" for t in v.split(",") if t))
    for t in named:
        if not r4.has_type(t):
            raise _bad(f"`{t[:64]}` is not a FHIR R4 resource type.", "_type")
    return named


# -- what a page looks like -------------------------------------------------------------------------------------------


def _count(value: str, types: tuple[str, ...], asked: _Asked) -> dict[str, Any]:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise _bad(f"`_count` must be a whole number, not `{value[:40]}`.", "_count")
    return {"count": min(int(value), asked.limits.count)}


def _sort(value: str, types: tuple[str, ...], asked: _Asked) -> dict[str, Any]:
    out = []
    for part in value.split(","):
        name = part.removeprefix("-")
        found = asked.common(types, name)
        if not found or found[0].type == "composite":
            raise _bad(f"Results cannot be sorted by `{name[:80]}`.", "_sort")
        out.append((name, part.startswith("-")))
    return {"sort": tuple(out)}


def _word(name: str, field: str, words: tuple[str, ...]) -> Any:
    def one(value: str, types: tuple[str, ...], asked: _Asked) -> dict[str, Any]:
        if value not in words:
            raise _bad(f"`{name}` is {', '.join(words[:-1])} or {words[-1]}, not `{value[:40]}`.", name)
        return {field: value}

    return one


def _elements(value: str, types: tuple[str, ...], asked: _Asked) -> dict[str, Any]:
    return {"elements": tuple(e.strip() for e in value.split(",") if e.strip())}


_CONTROLS = {
    "_count": _count, "_sort": _sort, "_elements": _elements, "_total": _word("_total", "total", TOTALS),
    "_summary": _word("_summary", "summary", SUMMARIES),
}  # fmt: skip


def _include(name: str, value: str, asked: _Asked) -> Include:
    base, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise _bad(f"`{base}` has no modifier `:{modifier[:40]}`.", name)
    reverse, iterate = base == "_revinclude", bool(modifier)
    if value == "*":
        return Include("*", "*", "", reverse, iterate)
    source, _, rest = value.partition(":")
    parameter, _, target = rest.partition(":")
    if not asked.r4.has_type(source) or not parameter or (target and not asked.r4.has_type(target)):
        raise _bad(f"`{value[:80]}` must be Type:parameter or Type:parameter:TargetType, such as CarePlan:goal.", name)
    found = asked.parameter(source, parameter)
    if parameter != "*" and (found is None or found.type != "reference"):
        raise _bad(f"`{parameter[:60]}` is not a reference parameter of {source}.", name)
    return Include(source, parameter, target, reverse, iterate)


# -- one parameter ----------------------------------------------------------------------------------------------------


def _term(asked: _Asked, types: tuple[str, ...], name: str, where: str, value: str, hops: int = 0) -> Term | None:
    """None when the types searched have no such parameter."""
    if hops > MOST_HOPS:
        raise _bad(f"A search may follow at most {MOST_HOPS} references in a row.", where)
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


def _plain_term(asked: _Asked, found: list[Parameter], modifier: str, where: str, value: str) -> Term:
    code, kind = found[0].code, found[0].type
    if modifier and modifier not in MODIFIERS[kind] and not (kind == "reference" and asked.r4.has_type(modifier)):
        raise _bad(f"`{code}` has no modifier `:{modifier[:40]}`.", where)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise _bad(f"`:missing` is true or false, not `{value[:40]}`.", where)
        return Term(code, kind, modifier, (Value(text=value),))
    texts = split(value, ",")
    if len(texts) > asked.limits.values:
        raise _bad(f"A parameter may have {asked.limits.values} values, this one has {len(texts)}.", where)
    if not all(texts):
        raise _bad(f"`{where[:80]}` has an empty value.", where)
    if modifier in ("in", "not-in"):
        members = tuple(v for t in texts for v in _members(asked.r4, plain(t), where))
        return Term(code, kind, "not" if modifier == "not-in" else "", members)
    values = tuple(v for t in texts for v in _values(asked, found, modifier, t, where))
    return Term(code, kind, modifier, values)


def _members(r4: R4, url: str, where: str) -> list[Value]:
    """Every code of a value set that is at hand, as what to look for."""
    members = r4.value_set(url.partition("|")[0])
    if members is None:
        raise _bad(f"What is in the value set `{url[:200]}` is not known here: name the codes themselves.", where)
    return [Value(text=code, system=system) for system, codes in sorted(members.items()) for code in sorted(codes)]


def _chained(asked: _Asked, found: list[Parameter], modifier: str, rest: str, where: str, value: str, hops: int) -> Term | None:
    code = found[0].code
    if found[0].type != "reference":
        raise _bad(f"`{code}` is not a reference, so nothing can follow it.", where)
    if modifier and not asked.r4.has_type(modifier):
        raise _bad(f"`{code}` has no modifier `:{modifier[:40]}`.", where)
    targets = (modifier,) if modifier else _targets(asked, found)
    able = [(t, term) for t in targets if (term := _try(asked, t, rest, where, value, hops)) is not None]
    if not able:
        return None
    if any(term != able[0][1] for _, term in able):
        raise _bad(f"Say which type `{code}` points to, such as {code}:{able[0][0]}.{rest[:40]}.", where)
    return Term(code, "reference", modifier, chain=Query(tuple(t for t, _ in able), (able[0][1],)))


def _targets(asked: _Asked, found: list[Parameter]) -> tuple[str, ...]:
    """The types these references may point to."""
    named = tuple(dict.fromkeys(t for p in found for t in p.targets))
    return tuple(t for t in named if asked.r4.has_type(t)) or asked.r4.types


def _try(asked: _Asked, type: str, rest: str, where: str, value: str, hops: int) -> Term | None:
    code = rest.partition(".")[0].partition(":")[0]
    if code != "_has" and asked.parameter(type, code) is None:
        return None
    return _term(asked, (type,), rest, where, value, hops + 1)


def _has(asked: _Asked, types: tuple[str, ...], name: str, where: str, value: str, hops: int) -> Term:
    parts = name.split(":", 3)
    source = parts[1] if len(parts) > 1 else ""
    reference = asked.parameter(source, parts[2]) if len(parts) == 4 and asked.r4.has_type(source) else None
    if reference is None or reference.type != "reference":
        raise _bad(f"`{name[:80]}` must be _has:Type:reference:parameter, such as _has:Observation:patient:code.", where)
    inner = _term(asked, (source,), parts[3], where, value, hops + 1)
    if inner is None:
        raise _bad(f"{source} has no search parameter `{parts[3][:60]}`.", where)
    return Term("_has", "special", chain=Query((source,), (inner,)), has=(source, parts[2]))


# -- one value --------------------------------------------------------------------------------------------------------


def _values(asked: _Asked, found: list[Parameter], modifier: str, text: str, where: str) -> list[Value]:
    """What one written value means: several for a code that has others above or below it."""
    kind = found[0].type
    if kind == "composite":
        return [_composite(asked, found[0], text, where)]
    if kind == "token":
        value = _token(modifier, text, where)
        return _hierarchy(asked.r4, modifier, value) if modifier in ("above", "below") else [value]
    return [_value(asked, found, kind, modifier, text, where)]


def _value(asked: _Asked, found: list[Parameter], kind: str, modifier: str, text: str, where: str) -> Value:
    match kind:
        case "string":
            folded = fold(plain(text))
            if not folded:
                raise _bad(f"`{text[:40]}` has nothing to look for.", where)
            return Value(text=folded, exact=plain(text)[:LONGEST])
        case "reference":
            if modifier == "identifier":
                return _token("", text, where)
            target = plain(text).split("/_history/", 1)[0][:LONGEST]
            return _pointing(asked, found, modifier, target.removeprefix(asked.base))
        case "uri":
            if modifier and plain(text).startswith("urn:"):
                raise _bad(f"`:{modifier}` goes by path segments, which a urn does not have.", where)
            return Value(text=plain(text)[:LONGEST])
        case "date":
            prefix, rest = _prefix(text)
            span = date_span(rest.replace(" ", "+"), asked.zone)  # a `+` that was not encoded arrives as a space
            if span is None:
                raise _bad(f"`{text[:60]}` is not a date such as 2026-11 or 2026-11-01T10:00:00Z.", where)
            return Value(text=rest, prefix=prefix, low=span[0], high=span[1])
        case "number":
            return _number(text, where)
    return _quantity(text, where)


def _prefix(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def _token(modifier: str, text: str, where: str) -> Value:
    if modifier == "text":
        return Value(text=fold(plain(text)), exact=plain(text))
    parts = [plain(p) for p in split(text, "|")]
    if modifier == "of-type":
        if len(parts) != 3 or not all(parts[1:]):
            raise _bad("`:of-type` takes system|code|value.", where)
        return Value(text="|".join(parts))
    if len(parts) == 1:
        return Value(text=parts[0])
    value = "|".join(parts[1:])
    if not value and not parts[0]:
        raise _bad(f"`{text[:40]}` names neither a system nor a code.", where)
    return Value(text=value, system=parts[0])


def _hierarchy(r4: R4, modifier: str, value: Value) -> list[Value]:
    """The code itself and everything above or below it, where its code system is at hand."""
    if not value.system or not value.text:
        return [value]
    if modifier == "below":
        codes = r4.below(value.system, value.text)
    else:
        table = r4.system(value.system)
        codes, grown = frozenset({value.text}), False
        while table is not None and not grown:
            more = codes | {p for c in codes for p in table.parents.get(c, ())}
            codes, grown = more, more == codes
    return [Value(text=c, system=value.system) for c in sorted(codes)]


def _pointing(asked: _Asked, found: list[Parameter], modifier: str, text: str) -> Value:
    if "/" in text or ":" in text or text.startswith("#"):
        return Value(text=text)
    if modifier:
        return Value(text=f"{modifier}/{text}")
    if found[0].code == "patient":
        return Value(text=f"Patient/{text}")
    targets = tuple(dict.fromkeys(t for p in found for t in p.targets if asked.r4.has_type(t)))
    if not targets or len(targets) > 20:
        return Value(text=text)
    return Value(text=f"{targets[0]}/{text}") if len(targets) == 1 else Value(text=text, types=targets)


def _number(text: str, where: str) -> Value:
    prefix, rest = _prefix(text)
    exact, span = number(rest), number_span(rest)
    if exact is None or span is None:
        raise _bad(f"`{text[:60]}` is not a number.", where)
    if prefix == "ap":
        span = around(exact)
    elif prefix not in ("eq", "ne"):  # the others compare with the number itself
        span = (exact, exact)
    return Value(exact=rest, prefix=prefix, low=span[0], high=span[1])


def _quantity(text: str, where: str) -> Value:
    written, *unit = split(text, "|")
    value = _number(written, where)
    if len(unit) not in (0, 2):
        raise _bad(f"`{text[:60]}` must be a number, or number|system|code.", where)
    system, code = (plain(unit[0]) or None, plain(unit[1])) if unit else (None, "")
    return Value(code, system, value.exact, value.prefix, value.low, value.high)


def _composite(asked: _Asked, parameter: Parameter, text: str, where: str) -> Value:
    parts = split(text, "$")
    if len(parts) != len(parameter.components):
        names = "$".join(c.code for c in parameter.components)
        raise _bad(f"`{parameter.code}` takes {names}.", where)
    forms: list[str] = []
    ranged: Value | None = None
    for component, part in zip(parameter.components, parts, strict=True):
        if component.type == "token":
            token = _token("", part, where)
            if not token.text:
                raise _bad(f"`{part[:40]}` needs a code.", where)
            forms.append(token.text if token.system is None else f"{token.system}|{token.text}")
            continue
        fake = Parameter(component.code, component.type)
        value = _value(asked, [fake], component.type, "", part, where)
        if component.type in ("string", "reference"):
            forms.append(value.text)
        elif ranged is None:
            ranged = value
            forms.append("")
        else:
            if value.prefix != "eq":
                raise _bad(f"`{part[:40]}`: the last number of `{parameter.code}` takes no prefix.", where)
            forms.append(repr(number(value.exact)))
    joined = JOIN.join(forms)
    if ranged is None:
        return Value(text=joined, exact="*" if parameter.components[-1].type == "string" else "")
    quantity = any(c.type == "quantity" for c in parameter.components)
    return Value(joined, ranged.system, ranged.text if quantity else "", ranged.prefix, ranged.low, ranged.high)
