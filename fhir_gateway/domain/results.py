"""What a person's Observations say: readings of one kind (`alike`) over time, each beside the range that came with it. Pure.

Nothing is judged here: a value is high, low or as it should be only where `interpretation` or `referenceRange` of whoever sent it says so.
https://hl7.org/fhir/R4/observation-definitions.html#Observation.referenceRange
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from . import units
from .alike import Around, Known, alike, around, panels, root
from .forms.items import extension, nodes, value
from .mapping.names import BASE, EXTENSIONS, PLAN_OBSERVATION, own_identifier
from .periods import interval
from .vitals import CATEGORY

Node = Mapping[str, Any]
Side = str  # inside, above, below, outside (no side is said), or "" where nobody said

WHEELS: Final = {(PLAN_OBSERVATION, "wheel"), (f"{BASE}/CodeSystem/wheel", "own-wheel")}
HOPED: Final = EXTENSIONS + "wheel-next"  # of a spoke: where one hopes to be
MEANING: Final = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"
SAYS: Final = {"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "http://terminology.hl7.org/CodeSystem/v2-0078", None}
SIDES: Final[Mapping[str, Side]] = {
    "H": "above", "HH": "above", "HU": "above", ">": "above", "L": "below", "LL": "below", "LU": "below", "<": "below",
    "N": "inside", "A": "outside", "AA": "outside",
}  # fmt: skip
FOUND_OUT: Final = {"laboratory", "vital-signs", "survey", "exam", "imaging", "procedure", "therapy", "activity"}  # where a plan's words, too, are a result
MINUTE: Final = 60_000_000
NOWHERE: Final = Around()
NEVER: Final = {"entered-in-error", "cancelled"}
HUGE: Final = 16  # digits before or behind the point: beyond that a number is told as it was sent, and not reckoned with


@dataclass(frozen=True, slots=True)
class Range:
    """What the sender expects of a value; `for_whom` where it holds for some people or some purpose only."""

    low: Decimal | None
    high: Decimal | None
    unit: str
    text: str
    for_whom: str
    usual: bool  # for everybody, and of what is usual: a value is held against this kind alone


@dataclass(frozen=True, slots=True)
class Value:
    """One number, or words, of a reading. `code` tells the parts of a reading apart, and is "" for the reading itself."""

    code: str
    name: str
    number: Decimal | None = None
    comparator: str = ""
    unit: str = ""
    ucum: str = ""
    text: str = ""
    truth: bool | None = None
    ranges: tuple[Range, ...] = ()
    side: Side = ""  # by the range
    said: tuple[str, ...] = ()  # interpretation codes, HL7's own
    words: str = ""  # of an interpretation that is no code of HL7's

    @property
    def mark(self) -> Side:
        """Where it lies: what the sender says of it, else by the range that the sender gave."""
        return next((SIDES[c] for c in self.said if c in SIDES), self.side)


@dataclass(frozen=True, slots=True)
class Reading:
    """One Observation. `at` is microseconds since 1970 UTC, None where no day is said, `until` the end of that time; `on` as it was written."""

    id: str
    at: int | None
    on: str
    status: str
    values: tuple[Value, ...]
    absent: str = ""
    by: tuple[str, ...] = ()  # references, or names
    source: str = ""
    message: bool = False
    until: int | None = None
    name: str = ""


@dataclass(slots=True)
class Kind:
    """Readings of one kind, the oldest first: of one code (`root`), and of one thing (`around`). `codes` are all that stand beside that one."""

    name: str
    root: str = ""
    around: Around = NOWHERE
    codes: set[str] = field(default_factory=set)
    readings: list[Reading] = field(default_factory=list)

    @property
    def told(self) -> list[Reading]:
        """Those that have a value."""
        return [r for r in self.readings if r.values]

    @property
    def newest(self) -> Reading:
        return (self.told or self.readings)[-1]

    @property
    def before(self) -> Reading | None:
        """The one before the newest: of an earlier minute, and not of a day or a month that holds the newest."""
        at = self.newest.at
        return next((r for r in reversed(self.told) if at is not None and r.until is not None and r.until < at - at % MINUTE), None)


# -- which there are --------------------------------------------------------------------------------------------------


def kinds(observations: Iterable[Node], known: Known | None = None) -> list[Kind]:
    """Results by kind, the kind with the newest first. `known`: what they refer to, by `Type/id`. A wheel is none of these, nor what was entered in error,
    nor a plan's words about a life."""
    held = sorted((o for o in observations if o.get("status") not in NEVER), key=_order)
    referred, above = known or {}, panels(held)
    found: dict[int, Kind] = {}
    for n, (o, same) in enumerate(zip(held, alike(held, referred), strict=True)):
        if is_wheel(o) or not _is_result(o):
            continue
        kind = found.setdefault(same, Kind("", root(o.get("code"))))
        kind.codes |= _codes(o.get("code"))
        kind.readings.append(_reading(o))
        kind.name, kind.around = _words(o.get("code")) or kind.name, around(o, referred, above[n])
    return sorted(found.values(), key=lambda k: -(k.newest.at or 0))


def is_wheel(o: Node) -> bool:
    """Is this a wheel of the person's own spokes."""
    return any((c.get("system"), c.get("code")) in WHEELS for c in nodes(_thing(o.get("code")), "coding"))


def wheels(observations: Iterable[Node]) -> list[list[Node]]:
    """Wheels, by what they are called, each the oldest first; the one that was filled in last comes first."""
    out: dict[str, list[Node]] = {}
    for o in sorted(observations, key=_order):
        if is_wheel(o) and o.get("status") not in NEVER and nodes(o, "component"):
            out.setdefault(_words(o.get("code")).casefold(), []).append(o)
    return sorted(out.values(), key=lambda same: _order(same[-1]), reverse=True)


def one_spoke(o: Node, place: int) -> dict[str, Any] | None:
    """The wheel with the spoke at this place (from 0) alone, where one hopes to be as the low end of a range; None where there is none, or it was taken back."""
    spokes = nodes(o, "component")
    if not is_wheel(o) or o.get("status") in NEVER or not 0 <= place < len(spokes):
        return None
    chosen_one = spokes[place]
    hoped = extension(chosen_one, HOPED)
    ranges = [{"low": {"value": hoped}}] if hoped is not None else nodes(chosen_one, "referenceRange")
    kept = {k: v for k, v in chosen_one.items() if k in ("code", "valueInteger")}
    return {**o, "component": [{**kept, **({"referenceRange": ranges} if ranges else {})}]}


def change(new: Value, old: Value) -> Decimal | None:
    """How much more it is; None where the two cannot be compared."""
    exact = not (new.comparator or old.comparator)
    same = new.ucum == old.ucum if new.ucum and old.ucum else new.unit == old.unit
    return new.number - old.number if exact and same and new.number is not None and old.number is not None else None


# -- one of them ------------------------------------------------------------------------------------------------------


def when(o: Node) -> str:
    """The day or instant it is about, else when it was made known; "" where nobody says."""
    period = _thing(o.get("effectivePeriod"))
    said = (o.get("effectiveDateTime"), o.get("effectiveInstant"), period.get("end"), period.get("start"), o.get("issued"))
    return next((str(t) for t in said if t and _at(t) is not None), "")


def _order(o: Node) -> tuple[int, str]:
    return _at(when(o)) or 0, str(_thing(o.get("meta")).get("lastUpdated") or "")


def moment_of(text: str) -> int | None:
    """Microseconds since 1970 UTC of the beginning of a date or an instant; None for anything else."""
    return _at(text)


def _at(text: Any, end: int = 0) -> int | None:
    try:
        return interval(str(text))[end]
    except (ValueError, OverflowError):
        return None


def _is_result(o: Node) -> bool:
    parts = [o, *nodes(o, "component")]
    if any(c.get("system") == PLAN_OBSERVATION for c in nodes(_thing(o.get("code")), "coding")):
        return False
    if any(value(p)[0] in ("Quantity", "Integer", "Range", "Ratio") or "referenceRange" in p or "interpretation" in p for p in parts):
        return True
    of_plan = own_identifier(o) is not None and _category(o) not in FOUND_OUT
    return not of_plan and any(value(p)[0] or "dataAbsentReason" in p for p in parts)


def _category(o: Node) -> str:
    return next((str(c.get("code")) for k in nodes(o, "category") for c in nodes(k, "coding") if c.get("system") == CATEGORY), "")


def _reading(o: Node) -> Reading:
    codes = _parts(o)
    parts = [v for v in (_value(o, ""), *(_value(c, code) for c, code in zip(nodes(o, "component"), codes, strict=True))) if v is not None]
    on = when(o)
    by = [str(p.get("reference") or p.get("display") or "") for p in nodes(o, "performer")]
    return Reading(
        str(o.get("id", "")), _at(on), on, str(o.get("status", "")), tuple(parts), _absent(o), tuple(b for b in by if b),
        _text(extension(o, EXTENSIONS + "source-words")), any(str(i.get("system", "")).endswith("/id/message") for i in nodes(o, "identifier")), _at(on, 1), _words(o.get("code")),
    )  # fmt: skip


def _absent(o: Node) -> str:
    """Why there is no value, as far as somebody says."""
    reason = _thing(o.get("dataAbsentReason"))
    return _words(reason) or next((str(c.get("code")).replace("-", " ") for c in nodes(reason, "coding") if c.get("code")), "")


def _parts(o: Node) -> list[str]:
    """The code of each component; of those that share one, with their words, and nothing that another reading has where these are the same, too."""
    codes = [root(c.get("code")) for c in nodes(o, "component")]
    times = Counter(codes)
    named = [f"{code}|{_words(c.get('code'))}" if times[code] > 1 else code for code, c in zip(codes, nodes(o, "component"), strict=True)]
    times = Counter(named)
    return [f"{code}|{n} of {o.get('id')}" if times[code] > 1 else code for n, code in enumerate(named)]


def _value(part: Node, code: str) -> Value | None:
    """The value of an Observation or of a component; None where it has none that can be told."""
    kind, found = value(part)
    name = _words(part.get("code"))
    marked = [(_words(i), [str(c["code"]) for c in nodes(i, "coding") if c.get("system") in SAYS and c.get("code")]) for i in nodes(part, "interpretation")]
    said, words = tuple(c for _, codes in marked for c in codes), ", ".join(t for t, codes in marked if t and not codes)
    ranges = tuple(_range(r) for r in nodes(part, "referenceRange"))
    told: dict[str, Any] = {"ranges": ranges, "said": said, "words": words}
    number = _number(found.get("value") if kind == "Quantity" and isinstance(found, dict) else found if kind == "Integer" else None)
    if number is not None:
        of: dict[str, Any] = found if isinstance(found, dict) else {}
        v = Value(code, name, number, str(of.get("comparator") or ""), _text(of.get("unit")) or _text(of.get("code")), _text(of.get("code")), **told)
        usual = [(r, raw) for r, raw in zip(ranges, nodes(part, "referenceRange"), strict=True) if r.usual]
        return replace(v, side=_side(of or {"value": number}, usual[0][1])) if len(usual) == 1 else v
    if kind == "Boolean":
        return Value(code, name, truth=found is True, **told)
    text = _told(kind, found)
    return Value(code, name, text=text, **told) if text else None


def _told(kind: str, found: Any) -> str:
    of = _thing(found)
    if kind in ("String", "DateTime", "Time"):
        return _text(found)
    if kind == "CodeableConcept":
        return _words(of)
    if kind == "Quantity":
        return f"{of.get('comparator', '')}{of.get('value', '')} {of.get('unit') or of.get('code') or ''}".strip()[:60]
    ends = ("low", "high") if kind == "Range" else ("numerator", "denominator") if kind == "Ratio" else ("start", "end") if kind == "Period" else ()
    sides = [_told("Quantity", of.get(e)) if kind != "Period" else _text(of.get(e)) for e in ends]
    return (" : " if kind == "Ratio" else "\N{EN DASH}").join(s for s in sides if s)


# -- beside its range -------------------------------------------------------------------------------------------------


def _range(r: Node) -> Range:
    low, high = _thing(r.get("low")), _thing(r.get("high"))
    kind = _thing(r.get("type"))
    usual = not kind or any(c.get("system") == MEANING and c.get("code") == "normal" for c in nodes(kind, "coding"))
    some = [t for t in (_words(kind) if not usual else "", *(_words(a) for a in nodes(r, "appliesTo")), _told("Range", r.get("age"))) if t]
    everybody = not (r.get("appliesTo") or r.get("age"))
    ends = _number(low.get("value")), _number(high.get("value"))
    unit = next((_text(q.get("unit")) or _text(q.get("code")) for q in (low, high) if q), "")
    return Range(*ends, unit, _text(r.get("text")), ", ".join(some), usual and everybody and ends != (None, None))


def _side(quantity: Node, given: Node) -> Side:
    """Where a quantity lies beside one range, both ends inclusive; "" where that cannot be known."""
    low, high = (_thing(given.get(end)) or None for end in ("low", "high"))
    over, under = (_against(quantity, end) if end is not None else None for end in (high, low))
    if (high is not None and over is None) or (low is not None and under is None):
        return ""  # a unit that cannot be compared
    match str(quantity.get("comparator") or ""):
        case "<" | "<=" as c:
            if under is not None and (under < 0 or (under == 0 and c == "<")):
                return "below"
            return "inside" if low is None and over is not None and over <= 0 else ""
        case ">" | ">=" as c:
            if over is not None and (over > 0 or (over == 0 and c == ">")):
                return "above"
            return "inside" if high is None and under is not None and under >= 0 else ""
        case "":
            return "below" if under is not None and under < 0 else "above" if over is not None and over > 0 else "inside"
        case _:
            return ""


def _against(quantity: Node, end: Node) -> int | None:
    a, b = _number(quantity.get("value")), _number(end.get("value"))
    if a is None or b is None:
        return None
    said, wanted = (_text(q.get("code")) or _text(q.get("unit")) for q in (quantity, end))
    if not wanted or said == wanted or (_text(quantity.get("unit")) and _text(quantity.get("unit")) == _text(end.get("unit"))):
        return (a > b) - (a < b)
    return units.compare({**quantity, "value": a}, {**end, "value": b})


# -- pieces -----------------------------------------------------------------------------------------------------------


def _number(found: Any) -> Decimal | None:
    if type(found) not in (int, float, Decimal):
        return None
    number = Decimal(str(found))
    return number if number.is_finite() and abs(number.adjusted()) < HUGE else None


def _codes(concept: Any) -> set[str]:
    return {f"{c['system']}|{c['code']}" for c in nodes(_thing(concept), "coding") if c.get("system") and c.get("code")}


def _words(concept: Any) -> str:
    found = _thing(concept)
    return _text(found.get("text")) or next((_text(c["display"]) for c in nodes(found, "coding") if c.get("display")), "")


def _text(found: Any) -> str:
    return found if type(found) is str else ""


def _thing(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def chosen(values: Sequence[Value], code: str) -> Value | None:
    """The part of a reading that has this code."""
    return next((v for v in values if v.code == code), None)


__all__ = ["HOPED", "NEVER", "Kind", "Range", "Reading", "Value", "change", "chosen", "is_wheel", "kinds", "moment_of", "one_spoke", "wheels", "when"]
