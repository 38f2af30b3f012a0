"""A partner's own format from a mapping file alone: `compile_partner(name, data, ...)`; `partnering` runs it, both ways.

    partner: ward-actions            the file's name for itself
    version: 1
    about: What the ward's list holds.
    rows:
      - {theirs: patient.number, plan: person.nhs_number}          one field, one field
      - {theirs: state, plan: status, words: {todo: ready}}        a word by a list of words, one-to-one unless `lossy: true`
      - {theirs: seen, plan: "on", date: DD/MM/YYYY}               a day as they write it; `number: true`; `text: true`; `split: "; "` for a list in one text
      - {theirs: tasks, plan: actions, each: [...]}                a list of things, with rows of its own
      - {theirs: pharmacy, plan: team, one: [...]}                 one thing, which is one of a list in the plan
      - {theirs: answers, plan: items, pairs: {key: id, value: answer}}    an object as a list of its names and values
    always: {id: ward-plan}                                        what the plan needs and they do not say

`always` of a row with `each` or `one` is said of each thing; two rows may fill one list of the plan when it tells their things apart.

    form: csv                        a table: one line, one thing of `lines`
    columns: [nhs_number, dob, job]  in the order in which they write them
    person: [nhs_number, dob]        those that say who: lines that agree in them are one document
    delimiter: ";"                   where it is no comma; `encoding: windows-1252` where it is not UTF-8

A key that a plan does not have is refused, with the nearest that it has, but for one of theirs that begins with `x_`.
What has no row stays beside, under `x_<partner>` of the object it was found in, and comes back with `from_plan`. Values are data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from .changing import CHANGES, Change, change
from .partnering import from_plan, to_plan
from .tables import TableError

SHAPES: Final = ("each", "one", "pairs")
WORDS: Final = frozenset({"theirs", "plan", "lossy", "about", "always", *SHAPES, *CHANGES})
CSV: Final = frozenset({"columns", "person", "delimiter", "encoding"})
LINES: Final = "lines"
MOST_KEYS: Final = 30  # of a path: a resource is nested 64 levels at most
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")

Constants = tuple[tuple[tuple[str, ...], Any], ...]
Schema = Mapping[str, Any]  # JSON Schema of what a path begins at; None where any key may be


@dataclass(frozen=True, slots=True)
class PartnerRow:
    """One field: `theirs` and `plan` are paths of keys; how a value changes, or the rows of the things below it, where it has any."""

    theirs: tuple[str, ...]
    plan: tuple[str, ...]
    change: Change | None = None
    shape: str = ""  # one of SHAPES
    rows: tuple[PartnerRow, ...] = ()
    pairs: tuple[str, str] = ("", "")
    always: Constants = ()
    joined: bool = False  # other rows fill the same list


@dataclass(frozen=True, slots=True)
class Sheet:
    """How a partner writes a table."""

    columns: tuple[str, ...]
    person: tuple[str, ...]
    delimiter: str = ","
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Partner:
    """A compiled mapping file of a partner."""

    name: str
    about: str
    rows: tuple[PartnerRow, ...]
    always: Mapping[str, Any]
    sheet: Sheet | None = None
    own_ids: bool = True  # their ids are their own numbering (`domain.sourced`); else those of the plan, which they were told

    @property
    def beside(self) -> str:
        """The key under which what has no row travels."""
        return f"x_{self.name.replace('-', '_')}"


def compile_partner(file: str, data: Any, known: Schema) -> Partner:
    """`known`: the JSON Schema of a plan. TableError names file and row, and of a key that there is not the nearest that there is."""
    if not isinstance(data, Mapping) or not {"partner", "rows"} <= data.keys():
        raise TableError(f"{file}: a partner's mapping needs `partner` and `rows`")
    if not _NAME.match(str(data["partner"])):
        raise TableError(f"{file}: `partner` is a short name in small letters, like `ward-actions`")
    _known_words(file, data, ("partner", "version", "about", "rows", "always", "form", "ids", *CSV), "a partner's mapping")
    if data.get("ids", "theirs") not in ("theirs", "plan"):
        raise TableError(f"{file}: `ids` is `theirs` (they number their own things) or `plan` (they answer by the ids of the plan)")
    rows = _rows(file, data["rows"], known, "")
    always = _always(file, "always", data.get("always"), known, ())
    partner = Partner(str(data["partner"]), str(data.get("about", "")), rows, {".".join(p): v for p, v in always}, _sheet(file, data, rows), data.get("ids") != "plan")
    _keep_apart(file, rows, always, partner.beside)
    return partner


def _keep_apart(file: str, rows: Sequence[PartnerRow], always: Constants, beside: str) -> None:
    if any(path[0] == beside for path in (*(r.plan for r in rows), *(p for p, _ in always))):
        raise TableError(f"{file}: `{beside}` is where what has no row stays: give the key of your own another name")
    for row in rows:
        _keep_apart(file, row.rows, row.always, beside)


def _known_words(place: str, said: Iterable[Any], words: Iterable[str], what: str) -> None:
    words = sorted(words)
    for word in sorted({str(w) for w in said} - set(words)):
        raise TableError(f"{place}: `{word[:60]}` is not a word for {what}{_nearest(word, words)}")


def _nearest(key: str, known: Iterable[str]) -> str:
    near = get_close_matches(key[:60], list(known), 1)
    return f": the nearest is `{near[0]}`" if near else ""


def _rows(file: str, rows: Any, known: Schema | None, below: str) -> tuple[PartnerRow, ...]:
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise TableError(f"{file}: `rows`{below} must be a list of rows")
    out: list[PartnerRow] = []
    for n, row in enumerate(rows, 1):
        made = _row(file, f"row {n}{below}", row, known)
        for other in out:
            if not (made.plan == other.plan and _apart(made, other)) and _overlap(made.plan, other.plan):
                more = " (`always` may tell the things of two lists apart)" if made.rows and other.rows else ""
                raise TableError(f"{file}, row {n}{below}: `plan: {'.'.join(made.plan)}` has a row already{more}")
            if _overlap(made.theirs, other.theirs):
                raise TableError(f"{file}, row {n}{below}: `theirs: {'.'.join(made.theirs)}` has a row already")
        out.append(made)
    many = {r.plan for r in out if [o.plan for o in out].count(r.plan) > 1}
    return tuple(PartnerRow(r.theirs, r.plan, r.change, r.shape, r.rows, r.pairs, r.always, r.plan in many) for r in out)


def _overlap(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return a[: len(b)] == b or b[: len(a)] == a


def _apart(a: PartnerRow, b: PartnerRow) -> bool:
    """Whether every thing of one row can be told from every thing of the other."""
    theirs = dict(b.always)
    return any(path in theirs and (type(theirs[path]), theirs[path]) != (type(value), value) for path, value in a.always)


def _row(file: str, where: str, row: Any, known: Schema | None) -> PartnerRow:
    if not isinstance(row, Mapping) or not {"theirs", "plan"} <= row.keys():
        raise TableError(f"{file}, {where}: a row needs `theirs` and `plan`")
    _known_words(f"{file}, {where}", row, WORDS, "a row")
    plan, theirs = _path(file, where, row["plan"], known), _path(file, where, row["theirs"], None)
    things = _things(known, plan)
    shapes = [s for s in (*SHAPES, *CHANGES) if s in row]
    shape = shapes[0] if shapes and shapes[0] in SHAPES else ""
    if shape and len(shapes) > 1:
        raise TableError(f"{file}, {where}: `{shapes[0]}` and `{shapes[1]}` do not go together")
    below = _rows(file, row[shape], things, f" of `{row['theirs']}`") if shape in ("each", "one") else ()
    if "always" in row and not below:
        raise TableError(f"{file}, {where}: `always` is for a row with `each` or `one`")
    always = _always(file, where, row.get("always"), things, tuple(r.plan for r in below))
    pairs = _pairs(file, where, row["pairs"], things) if shape == "pairs" else ("", "")
    try:
        changed = change(row)
    except ValueError as wrong:
        raise TableError(f"{file}, {where}: {wrong}") from None
    return PartnerRow(theirs, plan, changed, shape, below, pairs, always)


def _path(file: str, where: str, path: Any, known: Schema | None) -> tuple[str, ...]:
    if not isinstance(path, str) or not path or any(not part for part in path.split(".")):
        raise TableError(f"{file}, {where}: `{path}` is not a path of keys, like person.name.family (quote `on`, which YAML takes for a yes)")
    keys = tuple(path.split("."))
    if len(keys) > MOST_KEYS:
        raise TableError(f"{file}, {where}: `{path[:60]}…` has {len(keys)} keys, and {MOST_KEYS} are the most")
    node: Any = known
    for n, key in enumerate(keys):
        if node is None or key.startswith("x_"):
            break
        there = node.get("properties", {})
        if key not in there and not (n and _free(node)):
            raise TableError(f"{file}, {where}: a plan has no `{'.'.join(keys[: n + 1])}`{'' if known and '$id' in known else ' there'}{_nearest(key, there)}")
        node = there.get(key)
    return keys


def _free(node: Schema) -> bool:
    """May an object with any keys stand here."""
    types = node.get("type", "object")
    return "properties" not in node and "object" in (types if isinstance(types, list) else [types])


def _things(known: Schema | None, plan: Sequence[str]) -> Schema | None:
    """The schema of the things of a list of the plan; None where it has none."""
    node: Any = known
    for key in plan:
        node = (node or {}).get("properties", {}).get(key)
    items = (node or {}).get("items")
    return items if items and "properties" in items else None


def _always(file: str, where: str, given: Any, known: Schema | None, rows: Sequence[tuple[str, ...]]) -> Constants:
    if given is not None and not isinstance(given, Mapping):
        raise TableError(f"{file}{'' if where == 'always' else ', ' + where}: `always` is a list of keys of the plan, each with its value")
    out: list[tuple[tuple[str, ...], Any]] = []
    for key, value in (given or {}).items():
        path = _path(file, where, key, known)
        if any(_overlap(path, other) for other in (*rows, *(p for p, _ in out))):
            raise TableError(f"{file}, {where}: `always: {key}` has a row already")
        out.append((path, value))
    return tuple(out)


def _pairs(file: str, where: str, given: Any, known: Schema | None) -> tuple[str, str]:
    if not isinstance(given, Mapping) or set(given) != {"key", "value"} or not all(isinstance(v, str) and v for v in given.values()) or given["key"] == given["value"]:
        raise TableError(f"{file}, {where}: `pairs` names two keys of the plan, like {{key: id, value: answer}}")
    return _path(file, where, given["key"], known)[0], _path(file, where, given["value"], known)[0]


def _sheet(file: str, data: Mapping[str, Any], rows: Sequence[PartnerRow]) -> Sheet | None:
    if data.get("form", "json") not in ("json", "csv"):
        raise TableError(f"{file}: `form` is json or csv")
    if data.get("form") != "csv":
        if data.keys() & CSV:
            raise TableError(f"{file}: `{sorted(data.keys() & CSV)[0]}` is for `form: csv`")
        return None
    columns, person = _names(file, "columns", data.get("columns")), _names(file, "person", data.get("person"))
    if not set(person) <= set(columns) or len(set(columns)) < len(columns):
        raise TableError(f"{file}: `person` names some of `columns`, and each column has a name of its own")
    if LINES in person:
        raise TableError(f"{file}: a column that says who cannot be called `{LINES}`")
    delimiter, encoding = data.get("delimiter", ","), data.get("encoding", "utf-8")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise TableError(f"{file}: `delimiter` is one character")
    if encoding not in ("utf-8", "windows-1252", "latin-1"):
        raise TableError(f"{file}: `encoding` is utf-8, windows-1252 or latin-1")
    _in_columns(file, rows, [*person, LINES], "")
    for row in rows:
        if row.theirs == (LINES,):
            _in_columns(file, row.rows, [c for c in columns if c not in person], f" of `{LINES}`")
    return Sheet(columns, person, delimiter, encoding)


def _in_columns(file: str, rows: Sequence[PartnerRow], columns: Sequence[str], below: str) -> None:
    """A row of what no column says is never filled."""
    for n, row in enumerate(rows, 1):
        if row.theirs[0] not in columns:
            said = "a column that says who, or `lines`" if not below else "a column of a line"
            raise TableError(f"{file}, row {n}{below}: `theirs: {'.'.join(row.theirs)}` is not {said}{_nearest(row.theirs[0], columns)}")


def _names(file: str, what: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(c, str) and c for c in given):
        raise TableError(f"{file}: a table needs `{what}`, a list of names of columns")
    return tuple(given)


__all__ = ["Partner", "PartnerRow", "Sheet", "compile_partner", "from_plan", "to_plan"]
