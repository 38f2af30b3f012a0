"""One written value of a search parameter to what is looked for. What cannot be understood is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from ..limits import Limits
from ..problem import Problem
from ..r4 import R4, Parameter
from .indexing import JOIN, searchable
from .query import Value
from .values import LONGEST, around, date_span, fold, number, number_span, plain, split

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


@dataclass(frozen=True, slots=True)
class Asked:
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


def bad(text: str, where: str) -> Problem:
    return Problem("bad-request", text, where[:100])


def wanted(asked: Asked, found: list[Parameter], modifier: str, text: str, where: str) -> list[Value]:
    """What one written value means: several for a code that has others above or below it."""
    kind = found[0].type
    if kind == "composite":
        return [_composite(asked, found[0], text, where)]
    if kind == "token":
        value = _token(modifier, text, where)
        return _hierarchy(asked.r4, modifier, value) if modifier in ("above", "below") else [value]
    return [_value(asked, found, kind, modifier, text, where)]


def _value(asked: Asked, found: list[Parameter], kind: str, modifier: str, text: str, where: str) -> Value:
    match kind:
        case "string":
            folded = fold(plain(text))
            if not folded:
                raise bad(f"`{text[:40]}` has nothing to look for.", where)
            return Value(text=folded, exact=plain(text)[:LONGEST])
        case "reference":
            if modifier == "identifier":
                return _token("", text, where)
            target = plain(text).split("/_history/", 1)[0][:LONGEST]
            return _pointing(asked, found, modifier, target.removeprefix(asked.base))
        case "uri":
            if modifier and plain(text).startswith("urn:"):
                raise bad(f"`:{modifier}` goes by path segments, which a urn does not have.", where)
            return Value(text=plain(text)[:LONGEST])
        case "date":
            prefix, rest = _prefix(text)
            span = date_span(rest.replace(" ", "+"), asked.zone)  # a `+` that was not encoded arrives as a space
            if span is None:
                raise bad(f"`{text[:60]}` is not a date such as 2026-11 or 2026-11-01T10:00:00Z.", where)
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
            raise bad("`:of-type` takes system|code|value.", where)
        return Value(text="|".join(parts))
    if len(parts) == 1:
        return Value(text=parts[0])
    value = "|".join(parts[1:])
    if not value and not parts[0]:
        raise bad(f"`{text[:40]}` names neither a system nor a code.", where)
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


def _pointing(asked: Asked, found: list[Parameter], modifier: str, text: str) -> Value:
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
        raise bad(f"`{text[:60]}` is not a number.", where)
    if prefix == "ap":
        span = around(exact)
    elif prefix not in ("eq", "ne"):  # the others compare with the number itself
        span = (exact, exact)
    return Value(exact=rest, prefix=prefix, low=span[0], high=span[1])


def _quantity(text: str, where: str) -> Value:
    written, *unit = split(text, "|")
    value = _number(written, where)
    if len(unit) not in (0, 2):
        raise bad(f"`{text[:60]}` must be a number, or number|system|code.", where)
    system, code = (plain(unit[0]) or None, plain(unit[1])) if unit else (None, "")
    return Value(code, system, value.exact, value.prefix, value.low, value.high)


def _composite(asked: Asked, parameter: Parameter, text: str, where: str) -> Value:
    parts = split(text, "$")
    if len(parts) != len(parameter.components):
        names = "$".join(c.code for c in parameter.components)
        raise bad(f"`{parameter.code}` takes {names}.", where)
    forms: list[str] = []
    ranged: Value | None = None
    for component, part in zip(parameter.components, parts, strict=True):
        if component.type == "token":
            token = _token("", part, where)
            if not token.text:
                raise bad(f"`{part[:40]}` needs a code.", where)
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
                raise bad(f"`{part[:40]}`: the last number of `{parameter.code}` takes no prefix.", where)
            forms.append(repr(number(value.exact)))
    joined = JOIN.join(forms)
    if ranged is None:
        return Value(text=joined, exact="*" if parameter.components[-1].type == "string" else "")
    quantity = any(c.type == "quantity" for c in parameter.components)
    return Value(joined, ranged.system, ranged.text if quantity else "", ranged.prefix, ranged.low, ranged.high)
