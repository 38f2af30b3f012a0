"""Resource to index keys: every search parameter of its type, compiled once to closures grouped by the element they begin at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

from ..r4 import R4, Component, Parameter
from ..types import VIEW, Key
from .measures import numbers, quantities, text_of
from .paths import Place, Visit, extension_values, places, root, walk
from .values import DAWN, DUSK, LONGEST, date_span, fold

JOIN = "\x1f"  # between the parts of a composite
KINDS = frozenset({"token", "string", "reference", "uri", "date", "number", "quantity", "composite"})
_DECEASED = "Patient.deceased.exists() and Patient.deceased != false"

Run = Callable[[dict[str, Any], list[Key]], None]
NONE: Mapping[int, dict[str, Any]] = {}


def keys(
    resource: dict[str, Any], r4: R4, shown: dict[str, Any] | None = None, closer: Mapping[int, dict[str, Any]] = NONE
) -> tuple[Key, ...]:
    """Every indexed value of every search parameter of this resource, each once.

    With `shown`, its filtered view, and `closer`, what narrower views make of that (`rendering.closer`), each key says which of
    them hide it.
    """
    found = _keys(resource, r4)
    views = {**({} if shown is None or shown is resource else {VIEW: shown}), **closer}
    if not views:
        return tuple(found)
    seen = {bit: _keys(less, r4) for bit, less in views.items()}
    return tuple(k if not (h := sum(bit for bit, there in seen.items() if k not in there)) else k._replace(hidden=h) for k in found)


def _keys(resource: dict[str, Any], r4: R4) -> dict[Key, None]:
    starts, wholes = _compiled(resource.get("resourceType", ""), r4)
    out: list[Key] = []
    for name in resource:
        for run in starts.get(name, ()):
            run(resource, out)
    for run in wholes:
        run(resource, out)
    return dict.fromkeys(out)


def references(resource: dict[str, Any], names: Iterable[str] | None, r4: R4) -> list[Key]:
    """The reference keys of these parameters (None: of all) in one resource."""
    kept = _followed.get(r4)
    if kept is None:
        kept = _followed[r4] = {}
    type, wanted = resource.get("resourceType", ""), None if names is None else frozenset(names)
    runs = kept.get((type, wanted))
    if runs is None:
        runs = kept[type, wanted] = _reference_runs(type, wanted, r4)
    out: list[Key] = []
    for name in resource:
        for run in runs.get(name, ()):
            run(resource, out)
    return [k for k in dict.fromkeys(out) if k.kind == "reference"]


def _reference_runs(type: str, names: frozenset[str] | None, r4: R4) -> dict[str, tuple[Run, ...]]:
    """Only what is needed to follow references: an include looks at every hit."""
    starts: dict[str, list[Run]] = {}
    for parameter in r4.search_parameters(type).values():
        if parameter.type == "reference" and searchable(parameter) and (names is None or parameter.code in names):
            _begin(parameter, type, r4, starts)
    return {name: tuple(runs) for name, runs in starts.items()}


def searchable(parameter: Parameter | None) -> bool:
    """Can this parameter be answered from a resource's content."""
    return parameter is not None and bool(parameter.expression) and parameter.type in KINDS


_Table = tuple[dict[str, tuple[Run, ...]], tuple[Run, ...]]
_tables: WeakKeyDictionary[R4, dict[str, _Table]] = WeakKeyDictionary()
_followed: WeakKeyDictionary[R4, dict[Any, dict[str, tuple[Run, ...]]]] = WeakKeyDictionary()


def _compiled(type: str, r4: R4) -> _Table:
    tables = _tables.get(r4)
    if tables is None:
        tables = _tables[r4] = {}
    found = tables.get(type)
    if found is None:
        found = tables[type] = _compile(type, r4)
    return found


def _compile(type: str, r4: R4) -> _Table:
    starts: dict[str, list[Run]] = {}
    wholes: list[Run] = []
    for parameter in r4.search_parameters(type).values():
        if not searchable(parameter):
            continue
        if parameter.expression == _DECEASED:
            wholes.append(_deceased)
        elif parameter.components:
            wholes += [_composite(parameter, p, r4) for p in places(parameter.expression, root(type), r4)]
        else:
            _begin(parameter, type, r4, starts)
    return {name: tuple(runs) for name, runs in starts.items()}, tuple(wholes)


def _begin(parameter: Parameter, type: str, r4: R4, starts: dict[str, list[Run]]) -> None:
    for place in places(parameter.expression, root(type), r4):
        for steps, emit in _emitters(parameter.code, parameter.type, place, r4):
            starts.setdefault(steps[0][1], []).append(walk(steps, emit))


def _emitters(name: str, kind: str, place: Place, r4: R4) -> list[tuple[tuple[Any, ...], Visit]]:
    if place.type == "Extension":
        return [x for p in extension_values(place, r4) for x in _emitters(name, kind, p, r4)]
    emit = _KINDS[kind](name, place, r4)
    return [(place.steps, emit)] if emit else []


def _deceased(resource: dict[str, Any], out: list[Key]) -> None:
    """The one search expression with `and`: has this person died."""
    dead = resource.get("deceasedBoolean") is True or "deceasedDateTime" in resource
    out.append(Key("deceased", "token", "true" if dead else "false"))


# -- one value to keys: for a kind of parameter and a FHIR type, what to write down ----------------------------------


def _token(name: str, place: Place, r4: R4) -> Visit | None:
    match place.type:
        case "CodeableConcept":
            return lambda v, out: _concept(name, v, out)
        case "Coding":
            return lambda v, out: _coding(name, v, out)
        case "Identifier":
            return lambda v, out: _identifier(name, v, out)
        case "ContactPoint":
            return lambda v, out: _plain_token(name, v.get("value") if type(v) is dict else None, out)
        case "boolean":
            return lambda v, out: out.append(Key(name, "token", "true" if v is True else "false"))
        case "Reference":
            return lambda v, out: _plain_token(name, v.get("reference") if type(v) is dict else None, out)
        case "code":
            systems = _systems(place, r4)
            return lambda v, out: _plain_token(name, v, out, systems.get(v, "") if type(v) is str else "")
    return (lambda v, out: _plain_token(name, v, out)) if r4.is_primitive(place.type) or "." in place.type else None


def _systems(place: Place, r4: R4) -> dict[str, str]:
    """code -> system, where the element is bound to a value set that says so."""
    for strength, url in place.element.bind if place.element else ():
        if strength == "required" and (members := r4.value_set(url)):
            return {code: system for system, codes in members.items() for code in codes}
    return {}


def _plain_token(name: str, value: Any, out: list[Key], system: str = "") -> None:
    if value is not None and type(value) not in (dict, list):
        out.append(Key(name, "token", str(value)[:LONGEST], system))


def _coding(name: str, v: Any, out: list[Key]) -> None:
    if type(v) is dict:
        code, display = text_of(v, "code"), text_of(v, "display")
        if code or display:
            out.append(Key(name, "token", code, text_of(v, "system"), fold(display)))


def _concept(name: str, v: Any, out: list[Key]) -> None:
    if type(v) is not dict:
        return
    for coding in _items(v, "coding"):
        _coding(name, coding, out)
    if text := text_of(v, "text"):
        out.append(Key(name, "token", "", "", fold(text)))


def _identifier(name: str, v: Any, out: list[Key]) -> None:
    value = text_of(v, "value")
    if not value:
        return
    kind = v.get("type")
    out.append(Key(name, "token", value, text_of(v, "system"), fold(text_of(kind, "text"))))
    for coding in _items(kind, "coding"):
        if text_of(coding, "code"):
            out.append(Key(f"{name}:of-type", "token", f"{text_of(coding, 'system')}|{text_of(coding, 'code')}|{value}"))


def _items(v: Any, part: str) -> list[Any]:
    value = v.get(part) if type(v) is dict else None
    return value if type(value) is list else []


_PARTS = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    "CodeableConcept": ("text",),
}


def _string(name: str, place: Place, r4: R4) -> Visit | None:
    parts = _PARTS.get(place.type)
    if parts is None:
        return (lambda v, out: _one_string(name, v, out)) if r4.is_primitive(place.type) or "." in place.type else None

    def emit(v: Any, out: list[Key]) -> None:
        if type(v) is dict:
            for part in parts:
                got = v.get(part)
                for text in got if type(got) is list else (got,):
                    _one_string(name, text, out)

    return emit


def _one_string(name: str, v: Any, out: list[Key]) -> None:
    if type(v) is str and (folded := fold(v)):
        out.append(Key(name, "string", folded, "", v[:LONGEST]))


def _reference(name: str, place: Place, r4: R4) -> Visit | None:
    if place.type == "Reference":
        return lambda v, out: _one_reference(name, v, out)
    if place.type == "Resource":
        return lambda v, out: _one_reference(name, {"reference": f"{text_of(v, 'resourceType')}/{text_of(v, 'id')}"}, out)
    return (lambda v, out: _canonical(name, v, out)) if place.type in ("canonical", "uri", "url", "code") else None


def _one_reference(name: str, v: Any, out: list[Key]) -> None:
    target, identifier = text_of(v, "reference"), v.get("identifier") if type(v) is dict else None
    if target:
        out.append(Key(name, "reference", target.split("/_history/", 1)[0]))
    if value := text_of(identifier, "value"):
        system = text_of(identifier, "system")
        if not target:
            out.append(Key(name, "reference", "", f"{system}|{value}"))
        out.append(Key(f"{name}:identifier", "token", value, system))


def _canonical(name: str, v: Any, out: list[Key]) -> None:
    if type(v) is str:
        out.append(Key(name, "reference", v[:LONGEST]))
        if "|" in v:
            out.append(Key(name, "reference", v.split("|", 1)[0][:LONGEST]))


def _uri(name: str, place: Place, r4: R4) -> Visit | None:
    if not (r4.is_primitive(place.type) or "." in place.type):
        return None
    return lambda v, out: out.append(Key(name, "uri", v[:LONGEST])) if type(v) is str else None


def _date(name: str, place: Place, r4: R4) -> Visit | None:
    def add(span: tuple[int, int] | None, out: list[Key]) -> None:
        if span is not None:
            out.append(Key(name, "date", "", "", "", span[0], span[1]))

    match place.type:
        case "date" | "dateTime" | "instant" | "string":
            return lambda v, out: add(date_span(v), out) if type(v) is str else None
        case "Period":
            return lambda v, out: add(_period(v), out)
        case "Timing":
            return lambda v, out: add(_timing(v), out)
    return None


def _period(v: Any) -> tuple[int, int] | None:
    start, end = date_span(text_of(v, "start")), date_span(text_of(v, "end"))
    return (start[0] if start else DAWN, end[1] if end else DUSK) if start or end else None


def _timing(v: Any) -> tuple[int, int] | None:
    """From the first to the last moment that a schedule can reach."""
    if type(v) is not dict:
        return None
    spans = [s for e in _items(v, "event") if type(e) is str and (s := date_span(e))]
    repeat = v.get("repeat")
    if type(repeat) is dict and (bounds := _period(repeat.get("boundsPeriod"))):
        spans.append(bounds)
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None


_KINDS: dict[str, Callable[[str, Place, R4], Visit | None]] = {
    "token": _token, "string": _string, "reference": _reference, "uri": _uri, "date": _date, "number": numbers,
    "quantity": quantities,
}  # fmt: skip


# -- composites -------------------------------------------------------------------------------------------------------


def _composite(parameter: Parameter, place: Place, r4: R4) -> Run:
    """Keys of all parts found in one element, joined. A quantity's unit stands in `exact` and `system`, a range in `low` and `high`."""
    below = [_part(c, place, r4) for c in parameter.components]
    name = parameter.code

    def join(node: Any, resource: dict[str, Any], out: list[Key]) -> None:
        found: list[list[Key]] = []
        for of_root, runs in below:
            part: list[Key] = []
            for run in runs:
                run(resource if of_root else node, part)
            if not part:
                return
            found.append([k for k in part if ":" not in k.name])
        for parts in product(*found):
            out.extend(_joined(name, parts))

    if not place.steps:
        return lambda resource, out: join(resource, resource, out)
    collect = walk(place.steps, lambda node, nodes: nodes.append(node))

    def run(resource: dict[str, Any], out: list[Key]) -> None:
        nodes: list[Any] = []
        collect(resource, nodes)
        for node in nodes:
            join(node, resource, out)

    return run


def _part(component: Component, place: Place, r4: R4) -> tuple[bool, list[Visit]]:
    of_root = component.expression.startswith("%resource.")
    start = root(place.owner) if of_root else replace(place, steps=())
    found = places(component.expression.removeprefix("%resource."), start, r4)
    return of_root, [walk(s, e) for p in found for s, e in _emitters(component.code, component.type, p, r4)]


def _joined(name: str, parts: tuple[Key, ...]) -> Iterable[Key]:
    low: float | int | None = None
    high: float | int | None = None
    unit = system = ""
    forms: list[tuple[str, ...]] = []
    for k in parts:
        if k.low is None:
            forms.append((k.text, f"{k.system}|{k.text}") if k.kind == "token" else (k.text,))
        elif low is None:
            low, high, unit, system = k.low, k.high, k.text, k.system
            forms.append(("",))
        else:
            forms.append((repr(float(k.low)),))
    for form in product(*forms):
        yield Key(name, "composite", JOIN.join(form), system, unit, low, high)
