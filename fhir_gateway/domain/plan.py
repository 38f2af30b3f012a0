"""The plan's own format: a JSON Schema made from the mapping tables, and every problem of a plan in plain words.

What a plan may hold beyond this is the person's: unknown keys are welcome anywhere and come back. Empty texts and null count as
"not said".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from .entries import aligned
from .identity import NO_NUMBER, is_nhs_number
from .mapping import Table, Tables
from .mapping.primitives import is_date, is_moment
from .problem import Issue, Problem

Schema = dict[str, Any]
URL: Final = "https://fhir-gateway.example/plans/schema"
DAY: Final = r"^(|\d{4}(-\d\d(-\d\d)?)?)$"
MOMENT: Final = r"^(|\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?)$"
LOOSE: Final = frozenset({"gender", "goal-outcome", "action-kind"})  # another word is kept as it is


# -- the schema -------------------------------------------------------------------------------------------------------


def overlay(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with what somebody else says of it laid over: their words where both speak, things of lists by `id`, the rest as it
    was. The plan keeps its own id. Laying the same over again changes nothing."""
    out: dict[str, Any] = _over(whole, part)
    return out | {"id": whole["id"]} if "id" in whole else out


def _over(whole: Any, part: Any) -> Any:
    if isinstance(whole, Mapping) and isinstance(part, Mapping):
        return {**whole, **{k: _over(whole[k], v) if k in whole else v for k, v in part.items()}}
    if isinstance(whole, list) and isinstance(part, list) and all(isinstance(p, Mapping) for p in (*whole, *part)):
        return _by_id(whole, part)
    return part


def _by_id(whole: list[Any], part: list[Any]) -> list[Any]:
    out = list(whole)
    for thing in part:
        places = [n for n, w in enumerate(out) if "id" in thing and w.get("id") == thing["id"]]
        if places:
            out[places[0]] = _over(out[places[0]], thing)
        elif thing not in out:
            out.append(thing)
    return out


def refuse_twice(part: Mapping[str, Any]) -> None:
    """Problem invalid where two things of one list have the same id: laid over each other one of them would be lost."""
    for key, things in part.items():
        seen: dict[Any, int] = {}
        for n, thing in enumerate(_things(things)):
            id = thing.get("id")
            if id not in (None, "") and isinstance(id, (str, int)) and (first := seen.setdefault(id, n)) != n:
                raise Problem("invalid", f"`{str(id)[:60]}` is the id of `{key}[{first}]` already: each thing of a list has one of its own.", f"{key}[{n}].id")


def refuse_other_medicines(whole: Mapping[str, Any], part: Mapping[str, Any]) -> None:
    """Problem conflict where a medicine has the id of one in the plan that is called otherwise: two who number their lists 1, 2, 3 mean two medicines."""
    called = {m["id"]: _words(m.get("text")) for m in _things(whole.get("medicines")) if isinstance(m.get("id"), str)}
    for n, m in enumerate(_things(part.get("medicines"))):
        here, name = called.get(m.get("id", "")) if isinstance(m.get("id"), str) else None, _words(m.get("text"))
        if here and name and here != name:
            said = f"A medicine of this plan has the id `{str(m['id'])[:60]}` already and is called otherwise: give yours an id that nobody else uses, or end that one and write the new one beside it."
            raise Problem("conflict", said, f"medicines[{n}].id")


def _words(text: Any) -> str:
    return " ".join(str(text or "").split()).casefold()


def respelt(plan: Any, shown: Any) -> Any:
    """A plan with its numbers written as the reader was shown them where they are the same numbers: 840.0 for 840.00 is no edit."""
    if isinstance(plan, Mapping) and isinstance(shown, Mapping):
        return {k: respelt(v, shown[k]) if k in shown else v for k, v in plan.items()}
    if isinstance(plan, list) and isinstance(shown, list):
        return [v if was is None else respelt(v, shown[was]) for v, was in zip(plan, aligned(shown, plan), strict=True)]
    return shown if type(plan) in (int, Decimal) and type(shown) in (int, Decimal) and plan == shown else plan


def schema(tables: Tables) -> Schema:
    """The JSON Schema (2020-12) of a plan, as published at `/plans/schema`."""
    root = _object(tables["plan"].source["rows"], tables)
    root["properties"] = {"plan": {"const": "1"}, "id": _text()} | {k: v for k, v in root["properties"].items() if k != "plan"}
    for table in sorted(tables.by_kind.values(), key=lambda t: bool(t.when)):
        if table.kind in ("plan", "stage-goal"):
            continue
        thing = _thing(table, tables)
        if table.when:  # what things of a list say that is there already
            there = root["properties"][table.key]["items"]["properties"]
            there |= {key: said for key, said in thing["properties"].items() if key not in there}
            continue
        root["properties"][table.key] = {"type": ["array", "null"], "items": thing} if table.many else thing
    goal = root["properties"]["goals"]["items"]
    goal["properties"]["stage_goals"] = {"type": ["array", "null"], "items": _thing(tables["stage-goal"], tables)}
    goal["properties"]["stage_goals"]["items"]["required"] = ["text"]
    goal["required"] = ["text"]
    root["properties"]["person"]["type"] = "object"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": URL,
        "title": "Personal care and support plan",
        "description": "One plan of one person. Keys that are not named here are kept and come back.",
        **root,
        "required": ["plan", "person"],
    }


def _thing(table: Table, tables: Tables) -> Schema:
    out = _object(table.source["rows"], tables)
    out["description"] = table.about
    out["properties"] = {"id": _text()} | out["properties"]
    return out


def _object(rows: Iterable[Mapping[str, Any]], tables: Tables) -> Schema:
    out: Schema = {"type": ["object", "null"], "properties": {}}
    for row in rows:
        if row.get("read"):
            continue
        here = out
        *above, last = row["plan"].split(".")
        for key in above:
            here = here["properties"].setdefault(key, {"type": ["object", "null"], "properties": {}})
        here["properties"][last] = _field(row, tables)
    return out


def _field(row: Mapping[str, Any], tables: Tables) -> Schema:
    if "each" in row:
        return {"type": ["array", "null"], "items": _object(row["each"], tables)}
    if row.get("type") == "answers":
        return {"type": ["array", "null"], "items": {"type": "object", "properties": {"id": _text(), "text": {}, "answer": {}, "items": {}}}}
    one = _single(row, tables)
    return {"type": ["array", "null"], "items": one} if "list" in row else one


def _single(row: Mapping[str, Any], tables: Tables) -> Schema:
    if "table" in row:
        words = [e["code"] for g in tables.codes[row["table"]]["group"] for e in g["element"]]
        return {"examples": words, "type": ["string", "null"]} if row["table"] in LOOSE else {"enum": [*words, "", None]}
    if "range" in row:
        low, _, high = str(row["range"]).partition("..")
        return {"type": ["integer", "null"], "minimum": int(low), "maximum": int(high)}
    kinds: dict[str, Schema] = {
        "date": {"type": ["string", "null"], "pattern": DAY},
        "moment": {"type": ["string", "null"], "pattern": MOMENT},
        "boolean": {"type": ["boolean", "null"]},
        "number": {"type": ["number", "null"]},
        "reading": {},  # a number, or what the person wrote: 141/80
        "coding": {"type": ["object", "null"], "properties": {"system": _text(), "code": _text(), "display": _text()}},
        "organisation": {
            "type": ["object", "null"],
            "properties": {"ods": _text(), "id": _text(), "name": _text(), "sector": _text()},
        },
    }
    return kinds.get(str(row.get("type", "text")), _text())


def _text() -> Schema:
    return {"type": ["string", "null"]}


# -- what is wrong ----------------------------------------------------------------------------------------------------


def check(plan: Any, tables: Tables) -> list[Issue]:
    """Every problem of a plan: errors refuse it, warnings do not. Paths are the plan's (`goals[2].status`)."""
    if type(plan) is not dict:
        return [_error("", "A plan is one JSON object.")]
    return [*_walk(plan, _schema(tables), ""), *_dangling(plan), *_bare_scores(plan)]


def refuse_no_number(plan: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> None:
    """Problem invalid where `person.nhs_number` is none: with a wrong digit somebody who is here would be here twice. What was `shown` already stays."""
    number = _number(plan)
    if number is not None and number != _number(shown or {}) and not is_nhs_number(number):
        raise Problem("invalid", NO_NUMBER, "person.nhs_number")


def _number(plan: Mapping[str, Any]) -> str | None:
    """The NHS number that a checked plan says, without the spaces and hyphens that people write."""
    said = (plan.get("person") or {}).get("nhs_number")
    return re.sub(r"[\s-]", "", said) or None if isinstance(said, str) else None


_made: dict[int, tuple[Tables, Schema]] = {}


def _schema(tables: Tables) -> Schema:
    kept = _made.get(id(tables))
    if kept is None or kept[0] is not tables:
        _made.clear()
        kept = _made[id(tables)] = (tables, schema(tables))
    return kept[1]


def _error(where: str, text: str) -> Issue:
    return Issue("error", "invalid", where, text)


def _walk(value: Any, wanted: Schema, where: str) -> Iterator[Issue]:
    types = wanted.get("type")
    if types is not None and not _is(value, types):
        yield _error(where, f"{_named(where)} must be {_said(types)}, not {_kind(value)}.")
        return
    if "const" in wanted and value != wanted["const"]:
        yield _error(where, f"{_named(where)} must be `{wanted['const']}`: the version of the format.")
    if "enum" in wanted and (type(value) not in (str, type(None)) or value not in wanted["enum"]):
        words = ", ".join(f"`{w}`" for w in wanted["enum"] if w)
        shown = f"`{value[:60]}`" if type(value) is str else _kind(value)
        yield Issue("error", "code-invalid", where, f"{shown} is not a word for {_named(where)}: use one of {words}.")
    if "pattern" in wanted and type(value) is str and not _day(value, wanted["pattern"]):
        more = ", or with time and zone 2026-03-14T09:30:00+00:00" if wanted["pattern"] == MOMENT else ""
        yield _error(where, f"`{value[:40]}` is not a date: write 2026, 2026-03 or 2026-03-14{more}.")
    if "minimum" in wanted and value is not None and not wanted["minimum"] <= value <= wanted["maximum"]:
        yield _error(where, f"{_named(where)} must be from {wanted['minimum']} to {wanted['maximum']}, not {value}.")
    if type(value) is dict:
        yield from _members(value, wanted, where)
    elif type(value) is list and "items" in wanted:
        for n, item in enumerate(value):
            yield from _walk(item, wanted["items"], f"{where}[{n}]")


def _members(value: Mapping[str, Any], wanted: Schema, where: str) -> Iterator[Issue]:
    for key in wanted.get("required", ()):
        there = value.get(key)
        wrong_kind = key in value and not _is(there, wanted["properties"][key].get("type", "null"))
        if there in (None, "", {}) and not wrong_kind:
            place = f"{where}.{key}" if where else key
            yield Issue("error", "required", place, f"{_named(place)} is missing.")
    for key, below in wanted.get("properties", {}).items():
        if key in value:
            yield from _walk(value[key], below, f"{where}.{key}" if where else key)


def _day(text: str, pattern: str) -> bool:
    return text == "" or (re.match(pattern, text) is not None and (is_moment(text) if pattern == MOMENT else is_date(text)))


def _is(value: Any, types: str | list[str]) -> bool:
    return any(_is_one(value, t) for t in ([types] if isinstance(types, str) else types))


def _is_one(value: Any, type_: str) -> bool:
    match type_:
        case "object":
            return type(value) is dict
        case "array":
            return type(value) is list
        case "string":
            return type(value) is str
        case "boolean":
            return type(value) is bool
        case "integer":
            return type(value) is int
        case "number":
            return type(value) in (int, Decimal, float)
        case _:
            return value is None


WORDS: Final = {
    "object": "an object", "array": "a list", "string": "text", "boolean": "true or false", "integer": "a whole number",
    "number": "a number",
}  # fmt: skip


def _said(types: str | list[str]) -> str:
    return " or ".join(WORDS[t] for t in ([types] if isinstance(types, str) else types) if t != "null")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if type(value) is bool:
        return "true or false"
    if type(value) in (int, Decimal, float):
        return f"the number {value}"
    return "an object" if type(value) is dict else "a list" if type(value) is list else "text"


def _named(where: str) -> str:
    return f"`{where}`" if where else "The plan"


# -- ids that lead nowhere --------------------------------------------------------------------------------------------

POINTERS: Final = (
    ("goals", "needs", "needs"), ("actions", "goals", "goals"), ("unmet_needs", "need", "needs"), ("formulations", "needs", "needs"),
    ("barriers", "goals", "goals"), ("decisions", "goals", "goals"), ("referrals", "goals", "goals"), ("referrals", "needs", "needs"), ("risks", "instead_of", "risks"),
)  # fmt: skip


def _dangling(plan: Mapping[str, Any]) -> Iterator[Issue]:
    for key, pointer, to in POINTERS:
        there = {i.get("id") for i in _things(plan.get(to)) if type(i.get("id")) is str}
        for n, item in enumerate(_things(plan.get(key))):
            ids = item.get(pointer)
            for id in ids if type(ids) is list else [ids]:
                if type(id) is str and id and id not in there:
                    yield Issue("warning", "not-found", f"{key}[{n}].{pointer}", f"`{id[:60]}` is not the id of anything in `{to}`.")


# Scores of instruments that belong to somebody: what makes them mean the same elsewhere.
SCORES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "962851000000103": ("level of the Patient Activation Measure", ("version", "licence_holder")),
    "925431000000109": ("score of the Patient Activation Measure", ("version", "licence_holder")),
    "736534008": ("EQ-5D-5L index", ("version", "value_set", "licence_holder")),
    "736535009": ("EQ-5D-5L visual analogue scale", ("version", "licence_holder")),
}


def _bare_scores(plan: Mapping[str, Any]) -> Iterator[Issue]:
    for n, item in enumerate(_things(plan.get("measurements"))):
        what, instrument = item.get("what"), item.get("instrument")
        code = what.get("code") if type(what) is dict else None
        said = instrument if type(instrument) is dict else {}
        name, needed = SCORES.get(code, ("", ())) if type(code) is str else ("", ())
        missing = [k for k in needed if not said.get(k)]
        if missing:
            yield Issue("warning", "required", f"measurements[{n}].instrument", f"A {name} means nothing elsewhere without its {', '.join(missing)}.")


def _things(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if type(v) is dict] if type(value) is list else []
