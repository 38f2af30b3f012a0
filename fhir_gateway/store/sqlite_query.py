"""Search and consent as SQL for the embedded store: one SELECT that joins resources, search keys and the consent predicate.

- Two-valued throughout: a NULL never turns `not deny` into NULL. Every hop of a chain and of `_has` is under the predicate.
- The same shape is the same text, so that prepared statements are used again: values are numbered parameters, short lists
  are padded to 1, 2, 4, 8 places, long ones travel as one JSON parameter.
- One way in (`_way_in`), chosen here and not by the planner: the most telling term, or the people the predicate is about.
  Everything else is looked up row by row by `rid`. The other columns wear a unary plus, which keeps the planner from them.
- A caseload's predicate goes by the number of each person's group (`Led`); conditions of one shape are one text. A place in a record
  tells what the resource surely lacks (`sqlite_lacks`): a count looks at few resources, and nobody looks for a label that is not there.
- Pages are cut on (sort values, type, id); bodies are read for the page alone. One person's record is read in the order of
  its own index (`member`), so the commonest search sorts nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

import apsw

from ..domain.predicate import spelled_out, values_of
from ..domain.search import Query, Term, Value, after_all
from ..domain.types import (
    CONFIDENTIALITY,
    CONTACT,
    PLACES,
    PRACTICE,
    VIEW,
    All,
    Always,
    Any_,
    ByPerson,
    Confidential,
    Facts,
    Has,
    Key,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Views,
    Within,
)
from .sqlite_lacks import BITS, OTHERS, Told, by_group, lacking

KEY_SCHEMA = """
CREATE TABLE key(
  rid INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, type TEXT NOT NULL, text TEXT NOT NULL, system TEXT NOT NULL,
  exact TEXT NOT NULL, low, high, hidden INTEGER NOT NULL, PRIMARY KEY(rid, name, n)) WITHOUT ROWID;
CREATE INDEX key_text ON key(name, text, type, system, hidden) WHERE text <> '';
CREATE INDEX key_range ON key(name, type, low, high, hidden) WHERE low IS NOT NULL;
CREATE TABLE acl(rid INTEGER NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(rid, field, value)) WITHOUT ROWID;
CREATE INDEX acl_value ON acl(field, value);
CREATE TABLE member(
  patient TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(patient, type, id)) WITHOUT ROWID;
CREATE TABLE tie(who TEXT NOT NULL, patient TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(who, patient, rid)) WITHOUT ROWID;
"""

COLUMNS = "r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient, e.value"
TYING = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient"})  # whom these name may know the person
_MULTI = {
    "patient": "patients", "profile": "profiles", "sens": "sensitivity", "label": "other_labels", "legal": "legal", "code": "codes",
    "author": "authors", "maker": "makers", "ref": "refs",
}  # fmt: skip
_OF_ORIGIN = ("custodian", "keeper", "source", "sourced")
_FIELDS = frozenset((*_MULTI, *_OF_ORIGIN))
FEW = 8
NO_WAY = 9


# -- writing the index ------------------------------------------------------------------------------------------------


def index(cursor: apsw.Cursor, rid: int, type: str, patient: str | None, keys: Iterable[Key], facts: Facts) -> None:
    """Replace every row of this resource, whose row in `resource` is there already."""
    unindex(cursor, rid)
    cursor.executemany("INSERT INTO key VALUES (?,?,?,?,?,?,?,?,?,?)", key_rows(rid, type, keys))
    listed = acl_rows(rid, facts)
    cursor.executemany("INSERT INTO acl VALUES (?,?,?)", listed)
    lacks = lacking(facts, [row[1:] for row in listed])
    cursor.executemany(
        "INSERT INTO member(patient, type, id, rid, lacks) VALUES (?,?,?,?,?)", [(p, type, facts.id, rid, lacks) for p in dict.fromkeys(facts.patients)]
    )
    knows = facts.authors | facts.refs if type in TYING else facts.authors
    if knows and facts.patients:
        cursor.executemany("INSERT INTO tie VALUES (?,?,?)", [(w, p, rid) for w in knows for p in dict.fromkeys(facts.patients)])


def unindex(cursor: apsw.Cursor, rid: int) -> None:
    """Forget every row of this resource, whose row in `resource` is still there."""
    mine = "(SELECT value FROM acl WHERE rid = ?1 AND field = 'patient')"
    cursor.execute(
        f"DELETE FROM tie WHERE who IN (SELECT value FROM acl WHERE rid = ?1 AND field IN ('author', 'ref')) AND patient IN {mine} AND rid = ?1",
        (rid,),
    )
    cursor.execute(
        f"DELETE FROM member WHERE patient IN {mine} AND (type, id) = (SELECT type, id FROM resource WHERE rid = ?1)", (rid,)
    )
    cursor.execute("DELETE FROM key WHERE rid = ?", (rid,))
    cursor.execute("DELETE FROM acl WHERE rid = ?", (rid,))


def key_rows(rid: int, type: str, keys: Iterable[Key]) -> list[tuple[Any, ...]]:
    return [(rid, k.name, n, type, k.text, k.system, k.exact, k.low, k.high, int(k.hidden)) for n, k in enumerate(keys)]


def acl_rows(rid: int, facts: Facts) -> list[tuple[int, str, str]]:
    rows = [(rid, field, value) for field, name in _MULTI.items() for value in dict.fromkeys(getattr(facts, name))]
    return rows + [(rid, field, value) for field in _OF_ORIGIN for value in sorted(values_of(facts, field))]


# -- SQL text with its parameters -------------------------------------------------------------------------------------


class _Sql:
    def __init__(self) -> None:
        self.params: list[Any] = []
        self.hops = 0
        self.led: Led | None = None

    def add(self, value: Any) -> str:
        """A numbered parameter: it may be written anywhere, in any order."""
        self.params.append(value)
        return f"?{len(self.params)}"

    def equals(self, values: Collection[str]) -> str:
        """`= ?1`, `IN (?1, ?2)` or `IN` a JSON list."""
        several = sorted(values)
        if len(several) == 1:
            return f"= {self.add(several[0])}"
        if len(several) <= FEW:
            places = 1 << (len(several) - 1).bit_length()
            return f"IN ({', '.join(self.add(v) for v in [*several, *several[-1:] * (places - len(several))])})"
        return f"IN (SELECT value FROM json_each({self.add(json.dumps(several))}))"

    def another(self) -> str:
        """A name for the resource at the end of one more hop."""
        self.hops += 1
        return f"r{self.hops}"


_PLACE = re.compile(r"\?(\d+)")
G = "\0g"  # where the number of a group goes in the text of its condition


class Led:
    """A search led by the people of the predicate, each with the number of their group: `place` is where the resource `alias` stands
    in the record of one of them (`member`), `group` the number of that one's group, `numbers` the parameter with everybody's.

    Conditions of one shape are one text: where groups differ in a value alone, it is looked up by the number of the group. So the
    statement does not grow with the people who each said something about something else.
    """

    def __init__(self, by: ByPerson, alias: str, place: str, group: str, sql: _Sql) -> None:
        self.by, self.alias, self.place, self.group = by, alias, place, group
        self.order: list[Predicate] = [shape for _, shape in by.groups]
        self.sql = sql
        self.values: list[list[Any]] = []
        self.numbers = self.differing = ""

    def begin(self, told: Callable[[Predicate, _Sql], str]) -> None:
        """Number the groups so that those of one shape stand together."""
        texts = {shape: self._private(told, shape)[0] for _, shape in self.by.groups}
        groups = sorted(self.by.groups, key=lambda g: texts[g[1]])
        self.order = [shape for _, shape in groups]
        self.values = [[] for _ in groups]
        self.numbers = self.sql.add(json.dumps({person: n for n, (people, _) in enumerate(groups) for person in sorted(people)}))
        self.differing = self.sql.add(None)

    def _private(self, told: Callable[[Predicate, _Sql], str], shape: Predicate) -> tuple[str, list[Any]]:
        own = _Sql()
        own.led = self
        return told(shape, own), own.params

    def each(self, told: Callable[[Predicate, _Sql], str]) -> str:
        """One condition for all the groups, with `G` for the number of the group."""
        said = [self._private(told, shape) for shape in self.order]
        alike: dict[str, list[int]] = {}
        for n, (text, _) in enumerate(said):
            alike.setdefault(text, []).append(n)
        written = {text: self._written(text, {n: said[n][1] for n in numbers}) for text, numbers in alike.items()}
        return by_group([written[text] for text, _ in said], G)

    def _written(self, text: str, params: dict[int, list[Any]]) -> str:
        places: dict[int, str] = {}
        for i in sorted({int(i) - 1 for i in _PLACE.findall(text)}):
            first = next(iter(params.values()))[i]
            if all(mine[i] == first for mine in params.values()):
                places[i] = self.sql.add(first)
                continue
            at = max(len(self.values[n]) for n in params)
            for n, mine in params.items():
                self.values[n] += [None] * (at - len(self.values[n])) + [mine[i]]
            places[i] = f"json_extract({self.differing}, '$[' || {G} || '][{at}]')"
        return _PLACE.sub(lambda m: places[int(m[1]) - 1], text)

    def end(self) -> None:
        self.sql.params[int(self.differing[1:]) - 1] = json.dumps(self.values)


# -- the consent predicate --------------------------------------------------------------------------------------------

NOTHING: frozenset[str] = frozenset()


def _allowed(p: Predicate, a: str, sql: _Sql, types: tuple[str, ...] = (), people: frozenset[str] = NOTHING) -> str:
    """The condition, "1" for always, "0" for never; smaller where `a` is known to be of one of `types`, and to be in the
    record of one of `people`."""
    match p:
        case Never():
            return "0"
        case Always():
            return "1"
        case All(parts):
            whose = next((q for q in parts if isinstance(q, Only) and q.field == "patient" and Has("patient", q.values) in parts), None)
            if whose is None or not whose.values:
                return _joined(parts, " AND ", "0", "1", a, sql, types, people)
            rest = [q for q in parts if q not in (whose, Has("patient", whose.values))]
            return _theirs(whose.values, _joined(rest, " AND ", "0", "1", a, sql, types, people), a, sql)
        case Any_(parts):
            return _joined(parts, " OR ", "1", "0", a, sql, types, people)
        case Not(part):
            inner = _allowed(part, a, sql, types, people)
            return {"0": "1", "1": "0"}.get(inner) or f"(NOT {inner})"
        case Has("type", values) if types and (values.issuperset(types) or values.isdisjoint(types)):
            return "0" if values.isdisjoint(types) else "1"
        case Has("patient", values) if people and people <= values:
            return "1"
        case ByPerson():
            return _by_person(p, a, sql, types, people)
        case Only("patient", values) if people and not values:
            return "0"
        case Has(_, values):
            return _has_one(p, a, sql) if values else "0"
        case Only():
            return _has_only(p, a, sql)
        case Confidential(op, level):
            return f"(COALESCE({a}.conf, {CONFIDENTIALITY['V']}) {op} {int(level)})"
        case Within(low, high):
            dated = f"({a}.d0 IS NOT NULL OR {a}.d1 IS NOT NULL)"
            then, otherwise = _inside(f"{a}.d0", f"{a}.d1", low, high, sql), _inside(f"{a}.updated", f"{a}.updated", low, high, sql)
            return f"(CASE WHEN {dated} THEN {then} ELSE {otherwise} END)"
        case Overlaps(low, high):
            dated, touched = _touches(f"{a}.d0", f"{a}.d1", low, high, sql), _touches(f"{a}.updated", f"{a}.updated", low, high, sql)
            return f"(({a}.d0 IS NULL AND {a}.d1 IS NULL) OR {dated} OR {touched})"
    raise TypeError(f"not a predicate: {p!r}")


def _by_person(p: ByPerson, a: str, sql: _Sql, types: tuple[str, ...], people: frozenset[str]) -> str:
    """By the number of the person's group, where people with their numbers lead; what is in several records is asked of each, once."""
    led = sql.led
    if led is None or led.alias != a or led.by is not p:
        return _allowed(spelled_out(p), a, sql, types, people)
    shape = led.each(lambda q, own: _allowed(q, a, own, types, people))
    alone = f"{led.place}.lacks & {OTHERS} <> 0"
    number = f"json_extract({led.numbers}, '$.\"' || x.value || '\"')"
    listed = f"FROM acl x WHERE x.rid = {a}.rid AND x.field = 'patient'"
    several = f"SELECT {number} {listed} AND NOT {alone}"
    first = f"({alone} OR {led.place}.patient = (SELECT min(x.value) {listed}))"
    refused = f"y.n IS NULL OR NOT {shape.replace(G, 'y.n')}"
    return f"({first} AND NOT EXISTS (SELECT 1 FROM (SELECT {led.group} AS n WHERE {alone} UNION ALL {several}) y WHERE {refused}))"


def _theirs(people: frozenset[str], rest: str, a: str, sql: _Sql) -> str:
    """In the record of these people and of nobody else: `patient` is the first of whom it names, so that one look tells nearly always,
    and the rows of the others are looked at last."""
    if rest == "0":
        return "0"
    mine = f"{a}.patient IS NOT NULL AND +{a}.patient {sql.equals(people)}"
    nobody_else = f"(NOT {_listed(a, 'patient', f'NOT {sql.equals(people)}', sql)})"
    return f"({mine} AND {nobody_else})" if rest == "1" else f"({mine} AND {rest} AND {nobody_else})"


def _joined(
    parts: Iterable[Predicate], word: str, ends: str, nothing: str, a: str, sql: _Sql, types: tuple[str, ...], people: frozenset[str]
) -> str:
    """All (or any) of the parts; one that settles the matter stands alone, and the parameters of the others go."""
    start = len(sql.params)
    out: list[str] = []
    for part in parts:
        text = _allowed(part, a, sql, types, people)
        if text == ends:
            del sql.params[start:]
            return ends
        if text != nothing:
            out.append(text)
    out.sort(key=lambda text: "SELECT" in text)  # what the row itself can tell comes before what must be looked up
    return _tree(out, word) if out else nothing


def _tree(parts: list[str], word: str) -> str:
    """Joined without depth: SQLite refuses expressions more than 1,000 deep, and `a OR b OR c …` is as deep as it is long."""
    if len(parts) == 1:
        return parts[0]
    if len(parts) <= FEW:
        return f"({word.join(parts)})"
    half = len(parts) // 2
    return f"({_tree(parts[:half], word)}{word}{_tree(parts[half:], word)})"


def _inside(first: str, last: str, low: int | None, high: int | None, sql: _Sql) -> str:
    """An open end is inside only of what is open there itself."""
    starts = "1" if low is None else f"({first} IS NOT NULL AND {first} >= {sql.add(low)})"
    ends = "1" if high is None else f"({last} IS NOT NULL AND {last} <= {sql.add(high)})"
    return f"({starts} AND {ends})"


def _touches(first: str, last: str, low: int | None, high: int | None, sql: _Sql) -> str:
    starts = "1" if high is None else f"({first} IS NULL OR {first} <= {sql.add(high)})"
    ends = "1" if low is None else f"({last} IS NULL OR {last} >= {sql.add(low)})"
    return f"({starts} AND {ends})"


def _has_one(p: Has, a: str, sql: _Sql) -> str:
    match p.field:
        case "type":
            return f"(+{a}.type {sql.equals(p.values)})"
        case "id":
            return f"(({a}.type || '/' || {a}.id) {sql.equals(p.values)})"
        case "referred_by":
            return f"(({a}.type || '/' || {a}.id) IN (SELECT x.value FROM json_each({_pairs(p.values, sql)}) j {_REFERRERS} x.field = 'ref'))"
        case "patient":
            return f"(({a}.patient IS NOT NULL AND +{a}.patient {sql.equals(p.values)}) OR {_listed(a, 'patient', sql.equals(p.values), sql)})"
    return _listed(a, _field(p.field), sql.equals(p.values), sql)


def _has_only(p: Only, a: str, sql: _Sql) -> str:
    match p.field:
        case "type" | "id":
            return _has_one(Has(p.field, p.values), a, sql) if p.values else "0"
        case "referred_by":
            other = f"AND NOT ((x.type || '/' || x.id) {sql.equals(p.values)})" if p.values else ""
            return (
                f"(NOT EXISTS (SELECT 1 FROM acl y CROSS JOIN resource x ON x.rid = y.rid WHERE y.field = 'ref' AND "
                f"y.value = {a}.type || '/' || {a}.id AND x.deleted = 0 {other}))"
            )
    if not p.values:
        return f"(NOT {_listed(a, _field(p.field), '', sql)})"
    return f"(NOT {_listed(a, _field(p.field), f'NOT {sql.equals(p.values)}', sql)})"


def _listed(a: str, field: str, test: str, sql: _Sql) -> str:
    """Has the resource a value of this field that passes the test: `= ?1`, `IN (…)`, `NOT …`, or any."""
    if test.startswith("NOT "):
        test = f" AND NOT (x.value {test[4:]})"
    elif test:
        test = f" AND x.value {test}"
    there = f"EXISTS (SELECT 1 FROM acl x WHERE x.rid = {a}.rid AND x.field = '{field}'{test})"
    led = sql.led
    return f"({led.place}.lacks & {BITS[field]} = 0 AND {there})" if led is not None and led.alias == a and field in BITS else there


def _field(name: str) -> str:
    if name not in _FIELDS:
        raise KeyError(name)
    return name


_REFERRERS = (
    "CROSS JOIN resource b ON b.type = j.value ->> 0 AND b.id = j.value ->> 1 AND b.deleted = 0 CROSS JOIN acl x ON x.rid = b.rid WHERE"
)


def _pairs(refs: Iterable[str], sql: _Sql) -> str:
    return sql.add(json.dumps([r.split("/", 1) for r in sorted(refs) if "/" in r]))


# -- one parameter ----------------------------------------------------------------------------------------------------


class _Reader:
    """Whose search it is: what they may see, and for which of it they get the view."""

    def __init__(self, predicate: Predicate, filtered: Predicate | Views, sql: _Sql) -> None:
        self.predicate, self.views, self.sql = predicate, Views.of(filtered), sql

    def shown(self, a: str) -> str:
        """Keys from what a view drops are not matched for those who get that view."""
        views = self.views
        if isinstance(views.view, Never):
            return ""
        narrower = ((CONTACT, views.contact), (PLACES, views.places), (PRACTICE, views.practice))
        cuts = [self._hides(VIEW, Always(), a), *(self._hides(bit, where, a) for bit, where in narrower)]
        hides = " OR ".join(c for c in cuts if c)
        if isinstance(views.view, Always):
            return f" AND NOT ({hides})"
        return f" AND (k.hidden = 0 OR NOT ({_allowed(views.view, a, self.sql)} AND ({hides})))"

    def _hides(self, bit: int, where: Predicate, a: str) -> str:
        if isinstance(where, Never):
            return ""
        return f"k.hidden & {bit} <> 0" if isinstance(where, Always) else f"(k.hidden & {bit} <> 0 AND {_allowed(where, a, self.sql)})"

    @property
    def same_for_all(self) -> bool:
        return isinstance(self.views.view, Never) or (isinstance(self.views.view, Always) and self.views.plain)


def _term(t: Term, types: tuple[str, ...], a: str, reader: _Reader) -> str:
    """A condition on the resource `a`."""
    sql = reader.sql
    if t.any:
        return _tree([_alternative(q, types, a, reader) for q in t.any], " OR ")
    if t.has is not None:
        return _has(t, a, reader)
    if t.chain is not None:
        return _chain(t, a, reader)
    if t.name == "_id" and t.modifier in ("", "not", "missing"):
        return _own_id(t, a, sql)
    if t.name == "_lastUpdated":
        if t.modifier == "missing":
            return "1" if t.values[0].text == "false" else "0"
        return "(" + " OR ".join(_range(v, f"+{a}.updated", f"+{a}.updated", sql) for v in t.values) + ")"
    mine = f"SELECT 1 FROM key k WHERE k.rid = {a}.rid AND k.name = {sql.add(t.key_name)}{reader.shown(a)}"
    if t.modifier == "missing":
        return f"{'NOT ' if t.values[0].text == 'true' else ''}EXISTS ({mine})"
    return f"{'NOT ' if t.modifier == 'not' else ''}EXISTS ({mine} AND {_hits(t, sql)})"


def _alternative(query: Query, types: tuple[str, ...], a: str, reader: _Reader) -> str:
    """`a` itself matches this query."""
    known = not query.types or (types and set(types) <= set(query.types))
    parts = [] if known else [f"+{a}.type {reader.sql.equals(query.types)}"]
    parts += [_term(t, types, a, reader) for t in query.terms]
    return f"({' AND '.join(parts) or '1'})"


def _own_id(t: Term, a: str, sql: _Sql) -> str:
    if t.modifier == "missing":
        return "1" if t.values[0].text == "false" else "0"
    ids = {v.text for v in t.values if not v.system and v.text}
    inside = f"+{a}.id {sql.equals(ids)}" if ids else "0"
    return f"NOT ({inside})" if t.modifier == "not" else f"({inside})"


def _hits(t: Term, sql: _Sql) -> str:
    """Any of the values, against the key `k`. Plain equalities go as one list."""
    equal: dict[str | None, set[str]] = {}
    parts: list[str] = []
    for v in t.values:
        texts = _plain(t, v)
        if texts is None:
            parts.append(_hit(t, v, sql))
        else:
            equal.setdefault(v.system, set()).update(texts)
    for system, found in equal.items():
        of = "" if system is None else f" AND k.system = {sql.add(system)}"
        parts.insert(0, f"k.text {sql.equals(found)}{of}")
    return f"({' OR '.join(parts)})" if len(parts) > 1 else parts[0] if parts else "0"


def _plain(t: Term, v: Value) -> list[str] | None:
    """The texts one of which, with the value's system, is all there is to this value; None when there is more to it."""
    if (t.kind == "token" and t.modifier != "text") or (t.kind == "reference" and t.modifier == "identifier"):
        return [v.text] if v.text else None
    if t.kind == "reference":
        return [v.text] if _names_type(v.text) else [f"{x}/{v.text}" for x in v.types] or None
    if t.kind == "uri" and t.modifier == "":
        return [v.text]
    if t.kind == "uri" and t.modifier == "above":
        return [v.text, *_above(v.text)]
    return None


def _names_type(text: str) -> bool:
    return "/" in text or ":" in text or text.startswith("#")


def _above(text: str) -> list[str]:
    """Every shorter path of a url, with and without its last slash."""
    cuts = [text[:i] for i, c in enumerate(text) if c == "/"]
    return [x for cut in cuts for x in (cut, cut + "/")]


def _hit(t: Term, v: Value, sql: _Sql) -> str:
    match t.kind:
        case "token":
            return f"({_begins('k.exact', v.text, sql)})" if t.modifier == "text" else _of_system(v, sql)
        case "string":
            if t.modifier == "exact":
                return f"(k.text = {sql.add(v.text)} AND k.exact = {sql.add(v.exact)})"
            return f"instr(k.text, {sql.add(v.text)}) > 0" if t.modifier == "contains" else f"({_begins('k.text', v.text, sql)})"
        case "reference":
            if t.modifier == "identifier":
                return _of_system(v, sql)
            tail = sql.add("/" + v.text)
            head = f"substr(k.text, 1, length(k.text) - length({tail}))"
            return f"(substr(k.text, -length({tail})) = {tail} AND {head} <> '' AND instr({head}, '/') = 0 AND instr({head}, ':') = 0 AND instr({head}, '#') = 0)"
        case "uri":
            return f"(k.text = {sql.add(v.text)} OR ({_begins('k.text', v.text.rstrip('/') + '/', sql)}))"
        case "composite":
            return _composite(v, sql)
    test = f"(k.low IS NOT NULL AND {_range(v, 'k.low', 'k.high', sql)}"
    if v.text and t.kind == "quantity":
        test += f" AND k.text = {sql.add(v.text)}"
    if v.system is not None:
        test += f" AND k.system = {sql.add(v.system)}"
    return test + ")"


def _of_system(v: Value, sql: _Sql) -> str:
    return "1" if v.system is None else f"k.system = {sql.add(v.system)}"


def _composite(v: Value, sql: _Sql) -> str:
    if v.low is None:
        return f"({_begins('k.text', v.text, sql)})" if v.exact == "*" else f"k.text = {sql.add(v.text)}"
    unit = f" AND k.exact = {sql.add(v.exact)}" if v.exact else ""
    system = f" AND k.system = {sql.add(v.system)}" if v.system is not None else ""
    return f"(k.text = {sql.add(v.text)}{unit}{system} AND {_range(v, 'k.low', 'k.high', sql)})"


def _begins(column: str, text: str, sql: _Sql) -> str:
    if not text:
        return "0"
    end = after_all(text)
    return f"{column} >= {sql.add(text)}" + (f" AND {column} < {sql.add(end)}" if end is not None else "")


def _range(v: Value, low: str, high: str, sql: _Sql) -> str:
    """https://hl7.org/fhir/R4/search.html#prefix"""
    match v.prefix:
        case "gt":
            return f"({high} > {sql.add(v.high)})"
        case "lt":
            return f"({low} < {sql.add(v.low)})"
        case "sa":
            return f"({low} > {sql.add(v.high)})"
        case "eb":
            return f"({high} < {sql.add(v.low)})"
    first, last = sql.add(v.low), sql.add(v.high)
    inside = f"({low} >= {first} AND {high} <= {last})"
    match v.prefix:
        case "eq":
            return inside
        case "ne":
            return f"(NOT {inside})"
        case "ge":
            return f"({high} > {last} OR {inside})"
        case "le":
            return f"({low} < {first} OR {inside})"
        case "ap":
            return f"({low} <= {last} AND {high} >= {first})"
    raise ValueError(v.prefix)


# -- hops -------------------------------------------------------------------------------------------------------------


def _chain(t: Term, a: str, reader: _Reader) -> str:
    """A reference of `a` points to a visible match."""
    assert t.chain is not None
    sql, b = reader.sql, reader.sql.another()
    name = sql.add(t.key_name)
    target = f"{b}.type {sql.equals(t.chain.types)} AND {b}.id = substr(k.text, instr(k.text, '/') + 1) AND k.text = {b}.type || '/' || {b}.id"
    return (
        f"EXISTS (SELECT 1 FROM key k CROSS JOIN resource {b} ON {target} WHERE k.rid = {a}.rid AND k.name = {name}"
        f"{reader.shown(a)} AND {_matches(t.chain, b, reader)})"
    )


def _has(t: Term, a: str, reader: _Reader) -> str:
    """A visible match refers to `a`."""
    assert t.chain is not None and t.has is not None
    sql, b = reader.sql, reader.sql.another()
    return (
        f"EXISTS (SELECT 1 FROM key k CROSS JOIN resource {b} ON {b}.rid = k.rid WHERE k.name = {sql.add(t.has[1])} AND "
        f"k.type = {sql.add(t.has[0])} AND k.text <> '' AND k.text = {a}.type || '/' || {a}.id{reader.shown(b)} AND {_matches(t.chain, b, reader)})"
    )


def _matches(query: Query, a: str, reader: _Reader, told: Term | None = None, people: frozenset[str] = NOTHING) -> str:
    """Everything a resource must be: there, visible, as asked; but for what the way in has settled already, the term `told`
    and being in the record of one of `people`."""
    parts = [f"+{a}.deleted = 0", _allowed(reader.predicate, a, reader.sql, query.types, people)]
    parts += [_term(t, query.types, a, reader) for t in query.terms if t is not told]
    return " AND ".join(p for p in parts if p != "1")


# -- the way in -------------------------------------------------------------------------------------------------------


def _where(query: Query, a: str, reader: _Reader) -> str:
    way, told, people = _way_in(query, a, reader)
    return f"{way} AND {_matches(query, a, reader, told, people)}"


def _way_in(query: Query, a: str, reader: _Reader) -> tuple[str, Term | None, frozenset[str]]:
    """The one condition on `a` that an index serves, and what it settles: a term, or being in the record of these people."""
    sql = reader.sql
    fence = _fence(reader.predicate, query.types)
    rank, t = _best(query)
    if fence is not None and _rank_of(*fence) < rank:
        return _inside_of(*fence, query.types, a, sql)
    if t is None:
        return (f"{a}.type {sql.equals(query.types)}" if query.types else "1"), None, NOTHING
    return (*_through(t, rank, query.types, a, reader), NOTHING)


def _best(query: Query) -> tuple[int, Term | None]:
    """The most telling term and its rank."""
    ranked = [(rank, i) for i, t in enumerate(query.terms) if (rank := _rank(t)) is not None]
    rank, best = min(ranked, default=(NO_WAY, -1))
    return rank, query.terms[best] if best >= 0 else None


def _rank_of(people: frozenset[str], kinds: frozenset[str]) -> int:
    if kinds:
        return 8
    return 1 if len(people) < 2 else 4 if len(people) <= FEW else 5


def _inside_of(
    people: frozenset[str], kinds: frozenset[str], types: tuple[str, ...], a: str, sql: _Sql
) -> tuple[str, Term | None, frozenset[str]]:
    ways: list[str] = []
    if people:
        of_type = f" AND m.type {sql.equals(types)}" if types else ""
        ways.append(f"SELECT m.rid FROM member m WHERE m.patient {sql.equals(people)}{of_type}")
    if kinds:
        ways.append(f"SELECT d.rid FROM resource d WHERE d.type {sql.equals(kinds)}")
    return (f"{a}.rid IN ({' UNION ALL '.join(ways)})" if ways else "0"), None, NOTHING if kinds else people


def _through(t: Term, rank: int, types: tuple[str, ...], a: str, reader: _Reader) -> tuple[str, Term | None]:
    sql = reader.sql
    if rank == 0:
        ids = {v.text for v in t.values if not v.system}
        of = f"{a}.type {sql.equals(types)} AND " if types else ""
        return (f"{of}{a}.id {sql.equals(ids)}" if ids else "0"), t
    if t.any:
        ways = [w for q in t.any if (w := _one_way(q, types, reader)) is not None]
        return (f"{a}.rid IN ({' UNION ALL '.join(ways)})" if ways else "0"), None
    if t.chain is not None:
        typed = f" AND +{a}.type {sql.equals(types)}" if types else ""
        return f"{a}.rid IN ({_leading(t, types, reader)}){typed}", t
    # Where only some of the resources are filtered for this reader, the index finds too many and the term is asked again.
    exact = reader.same_for_all
    shown = reader.shown(a) if exact else ""
    of_type = f" AND k.type {sql.equals(types)}" if types else ""
    there = "k.low IS NOT NULL" if t.kind in ("date", "number", "quantity") else "k.text <> ''"
    found = f"SELECT k.rid FROM key k WHERE k.name = {sql.add(t.key_name)}{of_type} AND {there} AND {_hits(t, sql)}{shown}"
    return f"{a}.rid IN ({found})", t if exact else None


def _one_way(query: Query, types: tuple[str, ...], reader: _Reader) -> str | None:
    """What one of several alternatives finds by its most telling term; None when it is about other types than are asked for."""
    mine = tuple(t for t in types if t in query.types) if types and query.types else types or query.types
    if types and query.types and not mine:
        return None
    rank, best = _best(query)
    assert best is not None
    x = reader.sql.another()
    way, _ = _through(best, rank, mine, x, reader)
    return f"SELECT {x}.rid FROM resource {x} WHERE {way}"


def _rank(t: Term) -> int | None:
    """How telling a term is: 0 an id … 8 a hop from the other side; None: no way in."""
    if t.any:
        ranks = [_best(q)[0] for q in t.any]
        return None if NO_WAY in ranks else max(ranks)
    if t.name == "_id" and t.modifier == "":
        return 0
    if t.name == "_lastUpdated" or t.modifier in ("missing", "not", "text", "contains"):
        return None
    if t.chain is not None:
        return 8 if any(_rank(x) is not None for x in t.chain.terms) else None
    if t.kind == "reference" and t.modifier != "identifier":
        if any(_plain(t, v) is None for v in t.values):
            return None
        return 3 if all(x.startswith("Patient/") for v in t.values for x in _plain(t, v) or ()) else 6
    if t.kind in ("date", "number", "quantity"):
        return 8 if all(v.prefix in ("eq", "sa", "gt", "eb", "lt") for v in t.values) else None
    if not all(v.text for v in t.values):
        return None
    return 1 if t.name == "identifier" or t.modifier in ("identifier", "of-type") else 7


def _leading(t: Term, types: tuple[str, ...], reader: _Reader) -> str:
    """The chain walked from its far end: first the matches, then what refers to them (or what they refer to)."""
    assert t.chain is not None
    sql, b = reader.sql, reader.sql.another()
    found = _where(t.chain, b, reader)
    if t.has is not None:
        mine = f"k.rid = {b}.rid AND k.name = {sql.add(t.has[1])}{reader.shown(b)}"
        target = "x.type = substr(k.text, 1, instr(k.text, '/') - 1) AND x.id = substr(k.text, instr(k.text, '/') + 1)"
        return f"SELECT x.rid FROM resource {b} CROSS JOIN key k ON {mine} CROSS JOIN resource x ON {target} WHERE {found}"
    of_type = f" AND k.type {sql.equals(types)}" if types else ""
    shown = reader.shown("y")
    join = " CROSS JOIN resource y ON y.rid = k.rid" if shown and not reader.same_for_all else ""
    pointing = f"k.name = {sql.add(t.key_name)} AND k.text = {b}.type || '/' || {b}.id AND k.text <> ''{of_type}"
    return f"SELECT k.rid FROM resource {b} CROSS JOIN key k ON {pointing}{join} WHERE {found}{shown}"


def _fence(p: Predicate, types: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]] | None:
    """(people, kinds): outside these people's records and these types the predicate lets nothing of `types` through.
    None when there is no telling, or it would tell nothing."""
    match p:
        case Never():
            return NOTHING, NOTHING
        case Has("patient", values):
            return values, NOTHING
        case ByPerson():
            return p.people, NOTHING
        case Has("type", values):
            kinds = values.intersection(types) if types else values
            return None if types and len(kinds) == len(set(types)) else (NOTHING, kinds)
        case All(parts):
            known = [f for part in parts if (f := _fence(part, types)) is not None]
            return min(known, key=lambda f: (len(f[1]), len(f[0])), default=None)
        case Any_(parts):
            people: set[str] = set()
            others: set[str] = set()
            for part in parts:
                if (f := _fence(part, types)) is None:
                    return None
                people |= f[0]
                others |= f[1]
            return None if types and others.issuperset(types) else (frozenset(people), frozenset(others))
    return None


# -- the whole statement ----------------------------------------------------------------------------------------------


def select(
    query: Query, predicate: Predicate, filtered: Predicate | Views, count: int, after: Sequence[Any] | None
) -> tuple[str, Sequence[Any]]:
    """(SQL, parameters): `COLUMNS`, then the sort values; at most `count` rows, those after the position `after`."""
    return _select(query, predicate, filtered, count, None if after is None else tuple(after))


@lru_cache(maxsize=512)
def _select(
    query: Query, predicate: Predicate, filtered: Predicate | Views, count: int, after: tuple[Any, ...] | None
) -> tuple[str, Sequence[Any]]:
    reader = _Reader(predicate, filtered, _Sql())
    people, kinds = _fence(predicate, query.types) or (NOTHING, NOTHING)
    if len(people) == 1 and not kinds and not query.sort and _best(query)[0] > 1:
        return _of_one_person(query, people, reader, count, after)
    if len(people) > 1 and not kinds and not query.sort and _rank_of(people, kinds) < _best(query)[0]:
        return _of_several(query, people, reader, count, after)
    return _sorted_page(query, reader, count, after)


def _of_one_person(
    query: Query, people: frozenset[str], reader: _Reader, count: int, after: tuple[Any, ...] | None
) -> tuple[str, Sequence[Any]]:
    """One record in the order of its own index: nothing to sort, and no more rows read than the page takes."""
    sql = reader.sql
    types = f" AND m.type {sql.equals(query.types)}" if query.types else ""
    single = len(query.types) == 1
    step = f" AND {_beyond('m', list(after), single, sql)}" if after is not None else ""
    (person,) = people
    me = sql.add(person)
    epoch = f"CASE WHEN r.patient = {me} THEN (SELECT value FROM epoch WHERE subject = {me}) ELSE (SELECT value FROM epoch WHERE subject = r.patient) END"
    return (
        f"SELECT {COLUMNS.replace('e.value', epoch)} FROM member m CROSS JOIN resource r ON r.rid = m.rid "
        f"WHERE m.patient = {me}{types}{step} AND {_matches(query, 'r', reader, None, people)} "
        f"ORDER BY {'m.id' if single else 'm.type, m.id'} LIMIT {sql.add(count)}"
    ), tuple(sql.params)


def _of_several(
    query: Query, people: frozenset[str], reader: _Reader, count: int, after: tuple[Any, ...] | None
) -> tuple[str, Sequence[Any]]:
    """Several records put in order by their own index first: the predicate is asked no further than the page takes.

    The LIMIT inside keeps SQLite from leaving the order out (https://sqlite.org/optoverview.html), CROSS JOIN from
    turning the loops round.
    """
    sql = reader.sql
    single = len(query.types) == 1
    inside = _places(query, people, reader, "r", "h", "h.g")
    step = f" AND {_beyond('m', list(after), single, sql)}" if after is not None else ""
    text = (
        f"SELECT {COLUMNS} FROM ({inside}{step} ORDER BY {'m.id' if single else 'm.type, m.id'} LIMIT -1) h CROSS JOIN resource r ON r.rid = h.rid "
        f"LEFT JOIN epoch e ON e.subject = r.patient WHERE {_matches(query, 'r', reader, None, people)} LIMIT {sql.add(count)}"
    )
    if sql.led is not None:
        sql.led.end()
    return text, tuple(sql.params)


def _places(query: Query, people: frozenset[str], reader: _Reader, a: str, place: str, group: str) -> str:
    """The places in these people's records that `a` is looked up from; with the number of each one's group where the predicate has
    groups, and then what is in several records stands once for each."""
    sql = reader.sql
    by = _groups(reader.predicate, query.types)
    of_type = f" AND m.type {sql.equals(query.types)}" if query.types else ""
    columns = "m.type AS type, m.id AS id, m.rid AS rid"
    if by is None or by.people != people:
        return f"SELECT DISTINCT {columns} FROM member m WHERE m.patient {sql.equals(people)}{of_type}"
    sql.led = led = Led(by, a, place, group, sql)
    led.begin(lambda q, own: _allowed(q, a, own, query.types, people))
    return f"SELECT {columns}, m.patient AS patient, m.lacks AS lacks, j.value AS g FROM json_each({led.numbers}) j CROSS JOIN member m ON m.patient = j.key{of_type} WHERE 1"


def _groups(p: Predicate, types: tuple[str, ...]) -> ByPerson | None:
    """The part that whatever the predicate lets through of `types` passes."""
    match p:
        case ByPerson():
            return p
        case All(parts):
            return next((by for part in parts if (by := _groups(part, types)) is not None), None)
        case Any_(parts):
            open_to = [part for part in parts if _fence(part, types) != (NOTHING, NOTHING)]
            return _groups(open_to[0], types) if len(open_to) == 1 else None
    return None


def _sorted_page(query: Query, reader: _Reader, count: int, after: tuple[Any, ...] | None) -> tuple[str, Sequence[Any]]:
    sql = reader.sql
    sorts = [(f"s{i}", down) for i, (_, down) in enumerate(query.sort)]
    heads = "".join(
        f", {_sort_value(name, down, reader)} AS {s}" for (s, _), (name, down) in zip(sorts, query.sort, strict=True)
    )
    found = f"SELECT r.rid AS rid, r.type AS type, r.id AS id{heads} FROM resource r WHERE {_where(query, 'r', reader)}"
    single = len(query.types) == 1
    step = f" WHERE {_after(sorts, list(after), single, sql)}" if after is not None else ""
    order = [f"h.{s} IS NULL, h.{s}{' DESC' if down else ''}" for s, down in sorts]
    page = f"SELECT h.* FROM ({found}) h{step} ORDER BY {', '.join([*order, *(['h.id'] if single else ['h.type', 'h.id'])])} LIMIT {sql.add(count)}"
    # The page is read in its own order: a CROSS JOIN is never turned round (https://sqlite.org/optoverview.html#crossjoin).
    values = "".join(f", p.{s}" for s, _ in sorts)
    return f"SELECT {COLUMNS}{values} FROM ({page}) p CROSS JOIN resource r ON r.rid = p.rid LEFT JOIN epoch e ON e.subject = r.patient", tuple(sql.params)


def count_sql(query: Query, predicate: Predicate, filtered: Predicate | Views) -> tuple[str, Sequence[Any]]:
    """(SQL, parameters) of the exact number of matches that the predicate lets through."""
    return _count(query, predicate, filtered)


@lru_cache(maxsize=512)
def _count(query: Query, predicate: Predicate, filtered: Predicate | Views) -> tuple[str, Sequence[Any]]:
    reader = _Reader(predicate, filtered, _Sql())
    people, kinds = _fence(predicate, query.types) or (NOTHING, NOTHING)
    by = _groups(predicate, query.types)
    if len(people) > 1 and not kinds and not query.terms and by is not None and by.people == people:
        return _count_of_several(query, people, reader)
    return f"SELECT count(*) FROM resource r WHERE {_where(query, 'r', reader)}", tuple(reader.sql.params)


def _count_of_several(query: Query, people: frozenset[str], reader: _Reader) -> tuple[str, Sequence[Any]]:
    """The resource itself is looked at only where its place in the record does not tell."""
    sql = reader.sql
    places = _places(query, people, reader, "r", "m", "j.value")
    led = sql.led
    assert led is not None
    told = Told("m", query.types, led.by)
    sure = told.sure(reader.predicate, sql, led.each(lambda q, own: told.sure(q, own, "0"))).replace(G, led.group)
    never = told.never(reader.predicate, sql, led.each(lambda q, own: told.never(q, own))).replace(G, led.group)
    asked = f"EXISTS (SELECT 1 FROM resource r WHERE r.rid = m.rid AND {_matches(query, 'r', reader, None, people)})"
    led.end()
    text = f"SELECT count(*) FROM ({places} AND (CASE WHEN {sure} THEN 1 WHEN {never} THEN 0 ELSE {asked} END))"
    return text, tuple(sql.params[: max(int(n) for n in _PLACE.findall(text))])  # what settled a matter alone left those of others behind


def position(row: Sequence[Any]) -> tuple[Any, ...]:
    """Where a row of `select` stands: its sort values, type and id."""
    return (*row[11:], row[0], row[1])


def _sort_value(name: str, down: bool, reader: _Reader) -> str:
    if name == "_lastUpdated":
        return "r.updated"
    if name == "_id":
        return "r.id"
    pick, shown = "max" if down else "min", reader.shown("r")
    mine = f"FROM key k WHERE k.rid = r.rid AND k.name = {reader.sql.add(name)}{shown}"
    return f"COALESCE((SELECT {pick}(k.low) {mine} AND k.low IS NOT NULL), (SELECT {pick}(k.text) {mine} AND k.text <> ''))"


def _after(sorts: list[tuple[str, bool]], after: list[Any], single: bool, sql: _Sql) -> str:
    """Strictly after a position. What has no value to sort by (NULL) comes last."""
    *values, type, id = after
    rest = _beyond("h", [type, id], single, sql)
    for (name, down), value in reversed(list(zip(sorts, values, strict=True))):
        if value is None:
            rest = f"(h.{name} IS NULL AND {rest})"
        else:
            v = sql.add(value)
            rest = f"(h.{name} IS NULL OR h.{name} {'<' if down else '>'} {v} OR (h.{name} = {v} AND {rest}))"
    return rest


def _beyond(a: str, after: list[Any], single: bool, sql: _Sql) -> str:
    type, id = after[-2:]
    return f"{a}.id > {sql.add(id)}" if single else f"({a}.type, {a}.id) > ({sql.add(type)}, {sql.add(id)})"


def concerned_sql(ids: Collection[str]) -> tuple[str, list[Any]]:
    """(SQL, parameters): the people whose Consents, teams, tasks, referrals or own record name one of `ids`, or of whom
    one of `ids` wrote something. Steps from person to person, however many resources tie them."""
    return (
        "WITH RECURSIVE known(who, patient) AS (SELECT j.value, (SELECT min(t.patient) FROM tie t WHERE t.who = j.value) "
        "FROM json_each(?1) j UNION ALL SELECT k.who, (SELECT min(t.patient) FROM tie t WHERE t.who = k.who AND t.patient > k.patient) "
        "FROM known k WHERE k.patient IS NOT NULL) SELECT DISTINCT patient FROM known WHERE patient IS NOT NULL",
        [json.dumps(sorted(ids))],
    )
