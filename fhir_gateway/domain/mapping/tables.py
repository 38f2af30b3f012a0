"""Tables of rows, checked and compiled once: `compile_tables(files, codes, r4)`.

A file says where a thing sits in the plan, which FHIR type it becomes, which profile of ours that meets (`profile: plan-goal`) and, row by row,
which field is which element:

    {plan: text, fhir: description.text, type: text}     one field, one element; `type` names a codec (text when left out)
    {plan: status, fhir: lifecycleStatus, table: goal-status}   a word by a code table (`lossy: true` where two words share a code)
    {plan: needs, fhir: addresses, link: need, list: .}  local ids as references; `list` for lists of values
    {plan: items, fhir: item, type: answers, whole: true}   a codec that makes the whole list
    {plan: notes, fhir: note, must: [text], each: [...]} a list of things, with rows of its own
    with: {path: constant}                               written beside the row
    else: value, else_from: key, else_when: path         what FHIR demands where the plan is silent; a marker takes it back
    standard: [17, 18]                                  which items of the PRSB standard it holds, by their number; for readers
    unsaid: value                                        what FHIR says where the plan is silent, and the other way round
    read: true                                           only from FHIR to the plan, of resources that no plan made (`any`: of all)

A file with `when: key` has those things of its list that say something there (an object); the others are the table's without it.
Every path is looked up in R4; a table that cannot be right is refused, naming file and row. Values are data: there is no
expression in a table and none is ever found in a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from . import paths
from .codecs import CODECS, Codec, coded, constant, link, ranged
from .names import EXTENSIONS
from .paths import MISSING, Segment
from .questions import items_back, items_out
from .rows import Fields, Node, Row, each, listed

KEYS: Final = frozenset(
    ["plan", "fhir", "type", "table", "lossy", "link", "range", "is", "each", "list", "whole", "must", "with", "else", "else_from", "else_when", "unsaid", "read", "about", "standard"]
)


NAMED: Final[Mapping[str, Codec]] = {**CODECS, "answers": Codec(items_out, items_back)}


class TableError(ValueError):
    """A mapping file that cannot be right; `str()` names file and row."""


class Shape(Protocol):
    @property
    def many(self) -> bool: ...


class Shapes(Protocol):
    """What the loader asks of the R4 definitions."""

    def element(self, path: str) -> Shape | None: ...


@dataclass(frozen=True, slots=True)
class Table:
    """One mapping file. `kind` is the name in identifiers; `plan` the key in the plan (`goals[]`: one of a list)."""

    name: str
    kind: str
    plan: str
    type: str
    about: str
    fields: Fields
    always: tuple[tuple[Any, Any], ...]  # (compiled setter, value)
    known: frozenset[tuple[Segment, ...]] = frozenset()
    source: Mapping[str, Any] = field(default_factory=dict)
    when: str = ""  # of the things of its list only those that say this; the others are the other table's
    profile: str = ""  # of ours, which everything that it makes meets; "" for R4 itself

    @property
    def key(self) -> str:
        return self.plan.removesuffix("[]")

    @property
    def many(self) -> bool:
        return self.plan.endswith("[]")


@dataclass(frozen=True, slots=True)
class Tables:
    """All mapping files, by kind."""

    by_kind: Mapping[str, Table]
    codes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> Table:
        return self.by_kind[kind]

    def kind_of(self, kind: str, item: Mapping[str, Any]) -> str:
        """Which table a thing of this table's list is for: one may have those that say a certain thing."""
        return next((k for k in self.beside(kind) if (said := item.get(self[k].when)) and type(said) is dict), kind)

    def beside(self, kind: str) -> tuple[str, ...]:
        """The kinds of tables that share the list of this one, by what its things say."""
        return tuple(k for k, t in self.by_kind.items() if t.when and t.plan == self[kind].plan and k != kind)

    def sharing(self, kind: str) -> tuple[str, ...]:
        """The other kinds whose things are in the same list of the plan."""
        return tuple(k for k, t in self.by_kind.items() if k != kind and t.plan == self[kind].plan and (t.when or self[kind].when))

    @property
    def types(self) -> dict[str, str]:
        return {kind: t.type for kind, t in self.by_kind.items()}

    @property
    def profiles(self) -> dict[str, str]:
        """The profiles of ours that things of plans are held to, by kind."""
        return {kind: t.profile for kind, t in self.by_kind.items() if t.profile}


def compile_tables(
    files: Mapping[str, Mapping[str, Any]], codes: Mapping[str, Mapping[str, Any]], r4: Shapes | None = None
) -> Tables:
    """`files`: file name to parsed YAML; `codes`: name to ConceptMap. Raises TableError."""
    by_kind: dict[str, Table] = {}
    words = {name: _words(name, concept_map) for name, concept_map in codes.items()}
    for name in sorted(files):
        table = _table(name, files[name], words, r4)
        if table.kind in by_kind:
            raise TableError(f"{name}: `{table.kind}` is in {by_kind[table.kind].name} already")
        by_kind[table.kind] = table
    for table in by_kind.values():
        shared = [t for t in by_kind.values() if t.many and t.plan == table.plan and not t.when]
        if len(shared) > 1 or (table.when and not shared):
            raise TableError(f"{table.name}: things of `{table.plan}` must say by `when` which table they are for, but for one table")
    return Tables(by_kind, codes)


def _table(name: str, data: Mapping[str, Any], words: Mapping[str, _Words], r4: Shapes | None) -> Table:
    for key in ("mapping", "plan", "fhir", "rows"):
        if key not in data:
            raise TableError(f"{name}: `{key}` is missing")
    loader = _Loader(name, f"{data['fhir']}.{data['each']}" if "each" in data else str(data["fhir"]), words, r4)
    fields = loader.fields(data["rows"], ())
    always = tuple(loader.always(path, value) for path, value in (data.get("always") or {}).items())
    if data.get("each"):
        loader.read = {(Segment(str(data["each"]), each=True), *s) for s in loader.read}
    known = frozenset(loader.read)
    profile = EXTENSIONS + str(data["profile"]) if "profile" in data else ""
    return Table(name, str(data["mapping"]), str(data["plan"]), str(data["fhir"]), str(data.get("about", "")), fields, always, known, data, str(data.get("when", "")), profile)


@dataclass(slots=True)
class _Loader:
    """Compiles the rows of one file."""

    file: str
    type: str
    words: Mapping[str, _Words]
    r4: Shapes | None
    written: dict[tuple[Segment, ...], str] = field(default_factory=dict)
    read: set[tuple[Segment, ...]] = field(default_factory=set)

    def fields(self, rows: Any, below: tuple[Segment, ...], must: Sequence[Any] = ()) -> Fields:
        if not isinstance(rows, list) or not rows:
            raise TableError(f"{self.file}: `rows` must be a list")
        compiled = tuple(self.row(n, r, below) for n, r in enumerate(rows, 1))
        tree: dict[str, Node] = {}
        by_path: dict[tuple[str, ...], tuple[Row, ...]] = {}
        for row in compiled:
            by_path[row.plan] = (*by_path.get(row.plan, ()), row)
            if not row.read_only:
                _hang(tree, row)
        defaults = tuple(r for r in compiled if r.otherwise is not MISSING or r.unsaid is not MISSING)
        return Fields(compiled, tree, defaults, tuple(must), by_path, tuple(_periods(compiled)))

    def row(self, n: int, data: Any, below: tuple[Segment, ...]) -> Row:
        where = f"row {n}" + (f" of `{paths.spelled(below)}`" if below else "")
        if not isinstance(data, dict) or "plan" not in data or "fhir" not in data:
            raise TableError(f"{self.file}, {where}: a row needs `plan` and `fhir`")
        where = f"{where} (`{data['plan']}`)"
        unknown = data.keys() - KEYS
        if unknown:
            raise TableError(f"{self.file}, {where}: `{sorted(unknown)[0]}` is not a word for a row")
        if not isinstance(data["plan"], str) or not isinstance(data["fhir"], str):
            raise TableError(f"{self.file}, {where}: `plan` and `fhir` are text (quote `on`, which YAML takes for a yes)")
        many = "each" in data or "list" in data or data.get("whole") is True
        segments = self.parse(data["fhir"], where, each=many)
        self.check((*below, *segments), where)
        codec = self.codec(data, segments, below, where)
        read_only = "read" in data
        if data.get("read", True) not in (True, "any"):
            raise TableError(f"{self.file}, {where}: `read` is `true` (of resources that no plan made) or `any`")
        full = (*below, *segments)
        if not read_only:
            self.claim(full, where)
        if codec.whole or many is False:
            self.read.add(full)
        if "list" in data and data["list"] != ".":
            self.check((*full, *self.parse(data["list"], where)), where)
            self.read.add((*full, *self.parse(data["list"], where)))
        return Row(
            tuple(str(data["plan"]).split(".")), str(data["fhir"]), segments, paths.getter(segments), self.put(segments, where, read_only),
            codec, self.companions(data, below, where), read_only, data.get("read") is True, self.otherwise(data, where), str(data.get("else_from", "")),
            paths.getter(self.parse(data["else_when"], where)) if "else_when" in data else None, data.get("unsaid", MISSING),
        )  # fmt: skip

    def always(self, path: str, value: Any) -> tuple[Any, Any]:
        """A constant that every such resource has."""
        segments = self.parse(path, "always", each=isinstance(value, list))
        self.check(segments, "always")
        self.claim(segments, "always")
        self.read.add(segments)
        return paths.setter(segments), value

    def put(self, segments: tuple[Segment, ...], where: str, read_only: bool) -> Any:
        if read_only:
            return lambda element, value: None
        try:
            return paths.setter(segments)
        except ValueError as wrong:
            raise TableError(f"{self.file}, {where}: {wrong}") from None

    def otherwise(self, data: Mapping[str, Any], where: str) -> Any:
        if "else_from" in data and "else" not in data:
            raise TableError(f"{self.file}, {where}: `else_from` needs an `else` for when that is silent too")
        return data.get("else", MISSING)

    def companions(self, data: Mapping[str, Any], below: tuple[Segment, ...], where: str) -> Any:
        out = []
        for path, value in (data.get("with") or {}).items():
            segments = self.parse(path, where)
            self.check((*below, *segments), where)
            self.read.add((*below, *segments))
            out.append((paths.getter(segments), paths.setter(segments), value))
        return tuple(out)

    def codec(self, data: Mapping[str, Any], segments: tuple[Segment, ...], below: tuple[Segment, ...], where: str) -> Codec:
        if "each" in data:
            must = [self.parse(path, where) for path in data.get("must", ())]
            for path in must:
                self.check((*below, *segments, *path), where)
            fields = self.fields(data["each"], (*below, *segments), [paths.getter(path) for path in must])
            return each(fields)
        inner = self.single(data, where)
        if "list" in data:
            if not isinstance(data["list"], str):
                raise TableError(f"{self.file}, {where}: `list` is the element that holds the value, or `.`")
            return listed(inner, data["list"])
        return inner

    def single(self, data: Mapping[str, Any], where: str) -> Codec:
        if "table" in data:
            words = self.words.get(str(data["table"]))
            if words is None:
                raise TableError(f"{self.file}, {where}: there is no code table `{data['table']}`")
            if words.lossy and data.get("lossy") is not True:
                raise TableError(f"{self.file}, {where}: the code table `{data['table']}` is not one-to-one ({words.lossy}): say `lossy: true`")
            return coded(words.out, words.also, words.back)
        if "link" in data:
            return link(str(data["link"]))
        if "range" in data:
            low, _, high = str(data["range"]).partition("..")
            if not low.isdigit() or not high.isdigit():
                raise TableError(f"{self.file}, {where}: a range is written 1..10")
            return ranged(int(low), int(high))
        if "is" in data:
            return constant(data["is"])
        name = str(data.get("type", "text"))
        if name not in NAMED:
            raise TableError(f"{self.file}, {where}: there is no codec `{name}`")
        return NAMED[name]

    # -- what is refused

    def parse(self, path: Any, where: str, each: bool = False) -> tuple[Segment, ...]:
        try:
            return paths.parse(str(path), each=each)
        except ValueError as wrong:
            raise TableError(f"{self.file}, {where}: {wrong}") from None

    def check(self, segments: tuple[Segment, ...], where: str) -> None:
        """The path is one that R4 has, and its places fit how often each element may occur."""
        if self.r4 is None:
            return
        path = self.type
        for segment in segments:
            path = f"{path}.{segment.name}"
            element = self.r4.element(path)
            if element is None:
                raise TableError(f"{self.file}, {where}: R4 has no `{path}`")
            listed = segment.each or segment.place is not None or bool(segment.key)
            if element.many and not listed:
                raise TableError(f"{self.file}, {where}: `{path}` may occur often: say which with [0] or [key=value], or use `list` or `each`")
            if listed and not element.many:
                raise TableError(f"{self.file}, {where}: `{path}` occurs once: no place in a list, no `list`, no `each`")

    def claim(self, segments: tuple[Segment, ...], where: str) -> None:
        """Nothing else writes here, above or below."""
        for other, row in self.written.items():
            n = min(len(other), len(segments))
            if other[:n] == segments[:n] and not (len(other) != len(segments) and _open(other if len(other) < len(segments) else segments)):
                raise TableError(f"{self.file}, {where}: `{paths.spelled(segments)}` is written by {row} too")
        self.written[segments] = where


def _periods(rows: Sequence[Row]) -> Iterable[tuple[Row, Row, Any]]:
    """Rows that write the two ends of one Period, and where it is."""
    starts = {r.segments[:-1]: r for r in rows if r.segments[-1].name == "start" and not r.read_only and len(r.segments) > 1}
    for row in rows:
        if row.segments[-1].name == "end" and row.segments[:-1] in starts:
            yield starts[row.segments[:-1]], row, paths.getter(row.segments[:-1])


def _open(segments: tuple[Segment, ...]) -> bool:
    """A list with rows of its own is written by those rows."""
    return segments[-1].each


def _hang(tree: dict[str, Node], row: Row) -> None:
    for key in row.plan[:-1]:
        tree = tree.setdefault(key, Node()).below
    tree.setdefault(row.plan[-1], Node()).rows.append(row)


# -- code tables ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Words:
    """A code table: word to code, further words for a code that has one, code to word; why it is lossy, if so."""

    out: dict[str, str]
    also: dict[str, str]
    back: dict[str, str]
    lossy: str


SAME: Final = frozenset({"equivalent", "equal"})


def _words(name: str, concept_map: Mapping[str, Any]) -> _Words:
    """Of a ConceptMap, https://hl7.org/fhir/R4/conceptmap.html: `equal` and `equivalent` go both ways, all else only out."""
    out: dict[str, str] = {}
    also: dict[str, str] = {}
    back: dict[str, str] = {}
    lossy: list[str] = []
    for word, code, equivalence in _elements(name, concept_map):
        if word in out or word in also:
            raise TableError(f"codes/{name}: the word `{word}` has two codes")
        if equivalence in SAME and code not in back:
            out[word] = code
            back[code] = word
        else:
            also[word] = code
            lossy.append(f"`{word}` shares `{code}`")
    return _Words(out, also, back, lossy[0] if lossy else "")


def _elements(name: str, concept_map: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    if concept_map.get("resourceType") != "ConceptMap":
        raise TableError(f"codes/{name}: is not a ConceptMap")
    for group in concept_map.get("group", ()):
        for element in group.get("element", ()):
            for target in element.get("target", ()):
                yield str(element["code"]), str(target["code"]), str(target.get("equivalence", ""))
