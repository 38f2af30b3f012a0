"""Search and consent as SQL for the embedded store: one SELECT that joins resources, search keys and the consent predicate.

- Two-valued throughout: a NULL never turns `not deny` into NULL. Every hop of a chain and of `_has` is under the predicate.
- The same shape is the same text, so that prepared statements are used again: values are numbered parameters, short lists
  are padded to 1, 2, 4, 8 places, long ones travel as one JSON parameter.
- One way in (`_way_in`), chosen here and not by the planner: the most telling term, or the people the predicate is about.
  Everything else is looked up row by row by `rid`. The other columns wear a unary plus, which keeps the planner from them.
- Pages are cut on (sort values, type, id); bodies are read for the page alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import apsw

from ..domain.predicate import simplify
from ..domain.search import Query, Term, Value, after_all
from ..domain.types import (
    CONFIDENTIALITY,
    All,
    Always,
    Any_,
    Confidential,
    Facts,
    Has,
    Key,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Within,
)  # fmt: skip

KEY_SCHEMA = """
CREATE TABLE key(
  rid INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, type TEXT NOT NULL, text TEXT NOT NULL, system TEXT NOT NULL,
  exact TEXT NOT NULL, low, high, hidden INTEGER NOT NULL, PRIMARY KEY(rid, name, n)) WITHOUT ROWID;
CREATE INDEX key_text ON key(name, text, type, system, hidden) WHERE text <> '';
CREATE INDEX key_range ON key(name, type, low, high, hidden) WHERE low IS NOT NULL;
CREATE TABLE acl(rid INTEGER NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(rid, field, value)) WITHOUT ROWID;
CREATE INDEX acl_value ON acl(field, value);
CREATE TABLE member(patient TEXT NOT NULL, type TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(patient, type, rid)) WITHOUT ROWID;
CREATE TABLE tie(who TEXT NOT NULL, patient TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(who, patient, rid)) WITHOUT ROWID;
"""

COLUMNS = "r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient, e.value"
TYING = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient"})  # whom these name may know the person
_MULTI = {
    "patient": "patients", "profile": "profiles", "sens": "sensitivity", "label": "other_labels", "legal": "legal", "code": "codes",
    "author": "authors", "ref": "refs",
}  # fmt: skip
_FIELDS = frozenset(_MULTI) | {"custodian", "source"}
FEW = 8
NO_WAY = 9


# -- writing the index ------------------------------------------------------------------------------------------------


def index(cursor: apsw.Cursor, rid: int, type: str, patient: str | None, keys: Iterable[Key], facts: Facts) -> None:
    """Replace every row of this resource, whose row in `resource` is there already."""
    unindex(cursor, rid)
    cursor.executemany("INSERT INTO key VALUES (?,?,?,?,?,?,?,?,?,?)", key_rows(rid, type, keys))
    cursor.executemany("INSERT INTO acl VALUES (?,?,?)", acl_rows(rid, facts))
    cursor.executemany("INSERT INTO member VALUES (?,?,?)", [(p, type, rid) for p in dict.fromkeys(facts.patients)])
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
        f"DELETE FROM member WHERE patient IN {mine} AND type = (SELECT type FROM resource WHERE rid = ?1) AND rid = ?1", (rid,)
    )
    cursor.execute("DELETE FROM key WHERE rid = ?", (rid,))
    cursor.execute("DELETE FROM acl WHERE rid = ?", (rid,))


def key_rows(rid: int, type: str, keys: Iterable[Key]) -> list[tuple[Any, ...]]:
    return [(rid, k.name, n, type, k.text, k.system, k.exact, k.low, k.high, int(k.hidden)) for n, k in enumerate(keys)]


def acl_rows(rid: int, facts: Facts) -> list[tuple[int, str, str]]:
    rows = [(rid, field, value) for field, name in _MULTI.items() for value in dict.fromkeys(getattr(facts, name))]
    if facts.custodian is not None:
        rows.append((rid, "custodian", facts.custodian))
    if facts.source is not None:
        rows.append((rid, "source", facts.source))
    return rows


# -- SQL text with its parameters -------------------------------------------------------------------------------------


class _Sql:
    def __init__(self) -> None:
        self.params: list[Any] = []
        self.hops = 0

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


# -- the consent predicate --------------------------------------------------------------------------------------------


def compile_predicate(predicate: Predicate, alias: str = "r") -> tuple[str, list[Any]]:
    """A two-valued condition over `resource AS alias`, and its parameters."""
    sql = _Sql()
    return _allowed(predicate, alias, sql), sql.params


def _allowed(p: Predicate, a: str, sql: _Sql) -> str:
    match p:
        case Never():
            return "0"
        case Always():
            return "1"
        case All(parts):
            return "(" + (" AND ".join(_allowed(part, a, sql) for part in parts) or "1") + ")"
        case Any_(parts):
            return "(" + (" OR ".join(_allowed(part, a, sql) for part in parts) or "0") + ")"
        case Not(part):
            return f"(NOT {_allowed(part, a, sql)})"
        case Has(_, values):
            return _has_one(p, a, sql) if values else "0"
        case Only():
            return _has_only(p, a, sql)
        case Confidential(op, level):
            return f"(COALESCE({a}.conf, {CONFIDENTIALITY['V']}) {op} {int(level)})"
        case Within(low, high):
            dated = f"({a}.d0 IS NOT NULL OR {a}.d1 IS NOT NULL)"
            return f"(CASE WHEN {dated} THEN {_inside(f'{a}.d0', f'{a}.d1', low, high, sql)} ELSE {_inside(f'{a}.updated', f'{a}.updated', low, high, sql)} END)"
        case Overlaps(low, high):
            dated = _touches(f"{a}.d0", f"{a}.d1", low, high, sql)
            return f"(({a}.d0 IS NULL AND {a}.d1 IS NULL) OR {dated} OR {_touches(f'{a}.updated', f'{a}.updated', low, high, sql)})"
    raise TypeError(f"not a predicate: {p!r}")


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
            return f"(({a}.patient IS NOT NULL AND +{a}.patient {sql.equals(p.values)}) OR {_listed(a, 'patient', sql.equals(p.values))})"
    return _listed(a, _field(p.field), sql.equals(p.values))


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
        return f"(NOT {_listed(a, _field(p.field), '')})"
    return f"(NOT {_listed(a, _field(p.field), f'NOT {sql.equals(p.values)}')})"


def _listed(a: str, field: str, test: str) -> str:
    """Has the resource a value of this field that passes the test: `= ?1`, `IN (…)`, `NOT …`, or any."""
    if test.startswith("NOT "):
        test = f" AND NOT (x.value {test[4:]})"
    elif test:
        test = f" AND x.value {test}"
    return f"EXISTS (SELECT 1 FROM acl x WHERE x.rid = {a}.rid AND x.field = '{field}'{test})"


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
    """Whose search it is: the predicate, for which resources they get the view, and both made smaller where the type is known."""

    def __init__(self, predicate: Predicate, filtered: Predicate, sql: _Sql) -> None:
        self.predicate, self.filtered, self.sql = predicate, filtered, sql
        self._small: dict[tuple[str, ...], Predicate] = {}

    def may(self, types: tuple[str, ...]) -> Predicate:
        found = self._small.get(types)
        if found is None:
            found = self._small[types] = simplify(self.predicate, frozenset(types) if types else None)
        return found

    def shown(self, a: str) -> str:
        """Keys from what the view drops are not matched for those who get the view."""
        match self.filtered:
            case Never():
                return ""
            case Always():
                return " AND k.hidden = 0"
        return f" AND (k.hidden = 0 OR NOT {_allowed(self.filtered, a, self.sql)})"

    @property
    def same_for_all(self) -> bool:
        return isinstance(self.filtered, (Never, Always))


def _term(t: Term, types: tuple[str, ...], a: str, reader: _Reader) -> str:
    """A condition on the resource `a`."""
    sql = reader.sql
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


def _matches(query: Query, a: str, reader: _Reader, told: Term | None = None) -> str:
    """Everything a resource must be: there, as asked (but for the term `told`, that the way in has told already), visible."""
    parts = [f"+{a}.deleted = 0"]
    parts += [_term(t, query.types, a, reader) for t in query.terms if t is not told]
    parts.append(_allowed(reader.may(query.types), a, reader.sql))
    return " AND ".join(p for p in parts if p != "1")


# -- the way in -------------------------------------------------------------------------------------------------------


def _where(query: Query, predicate: Predicate, filtered: Predicate, sql: _Sql) -> str:
    reader = _Reader(predicate, filtered, sql)
    way, told = _way_in(query, "r", reader)
    return f"{way} AND {_matches(query, 'r', reader, told)}"


def _way_in(query: Query, a: str, reader: _Reader) -> tuple[str, Term | None]:
    """The one condition on `a` that an index serves, and the term it makes superfluous."""
    sql = reader.sql
    people = _people(reader.may(query.types))
    ranked = [(rank, i) for i, t in enumerate(query.terms) if (rank := _rank(t)) is not None]
    rank, best = min(ranked, default=(NO_WAY, 0))
    if people is not None and (3 if len(people) <= 4 else 5) < rank:
        if not people:
            return "0", None
        of_type = f" AND m.type {sql.equals(query.types)}" if query.types else ""
        return f"{a}.rid IN (SELECT m.rid FROM member m WHERE m.patient {sql.equals(people)}{of_type})", None
    if rank == NO_WAY:
        return (f"{a}.type {sql.equals(query.types)}" if query.types else "1"), None
    t = query.terms[best]
    if rank == 0:
        ids = {v.text for v in t.values if not v.system}
        types = f"{a}.type {sql.equals(query.types)} AND " if query.types else ""
        return (f"{types}{a}.id {sql.equals(ids)}", t) if ids else ("0", t)
    if t.chain is not None:
        typed = f" AND +{a}.type {sql.equals(query.types)}" if query.types else ""
        return f"{a}.rid IN ({_leading(t, query.types, reader)}){typed}", t
    # Where only some of the resources are filtered for this reader, the index finds too many and the term is asked again.
    exact = reader.same_for_all
    shown = reader.shown(a) if exact else ""
    of_type = f" AND k.type {sql.equals(query.types)}" if query.types else ""
    some = "k.low IS NOT NULL" if t.kind in ("date", "number", "quantity") else "k.text <> ''"
    found = f"SELECT k.rid FROM key k WHERE k.name = {sql.add(t.key_name)}{of_type} AND {some} AND {_hits(t, sql)}{shown}"
    return f"{a}.rid IN ({found})", t if exact else None


def _rank(t: Term) -> int | None:
    """How telling a term is: 0 an id … 8 a hop from the other side; None: no way in."""
    if t.name == "_id" and t.modifier == "":
        return 0
    if t.name == "_lastUpdated" or t.modifier in ("missing", "not", "text", "contains"):
        return None
    if t.chain is not None:
        return 8 if any(_rank(x) is not None for x in t.chain.terms) else None
    if t.kind == "reference" and t.modifier != "identifier":
        if any(_plain(t, v) is None for v in t.values):
            return None
        return 1 if all(x.startswith("Patient/") for v in t.values for x in _plain(t, v) or ()) else 6
    if t.kind in ("date", "number", "quantity"):
        return 8 if all(v.prefix in ("eq", "sa", "gt", "eb", "lt") for v in t.values) else None
    if not all(v.text for v in t.values):
        return None
    return 2 if t.name == "identifier" or t.modifier in ("identifier", "of-type") else 7


def _leading(t: Term, types: tuple[str, ...], reader: _Reader) -> str:
    """The chain walked from its far end: first the matches, then what refers to them (or what they refer to)."""
    assert t.chain is not None
    sql, b = reader.sql, reader.sql.another()
    way, told = _way_in(t.chain, b, reader)
    found = f"{way} AND {_matches(t.chain, b, reader, told)}"
    if t.has is not None:
        mine = f"k.rid = {b}.rid AND k.name = {sql.add(t.has[1])}{reader.shown(b)}"
        target = "x.type = substr(k.text, 1, instr(k.text, '/') - 1) AND x.id = substr(k.text, instr(k.text, '/') + 1)"
        return f"SELECT x.rid FROM resource {b} CROSS JOIN key k ON {mine} CROSS JOIN resource x ON {target} WHERE {found}"
    of_type = f" AND k.type {sql.equals(types)}" if types else ""
    shown = reader.shown("y")
    join = " CROSS JOIN resource y ON y.rid = k.rid" if shown and not reader.same_for_all else ""
    pointing = f"k.name = {sql.add(t.key_name)} AND k.text = {b}.type || '/' || {b}.id AND k.text <> ''{of_type}"
    return f"SELECT k.rid FROM resource {b} CROSS JOIN key k ON {pointing}{join} WHERE {found}{shown}"


def _people(p: Predicate) -> frozenset[str] | None:
    """The people outside whose records the predicate lets nothing through; None when there is no telling."""
    match p:
        case Never():
            return frozenset()
        case Has("patient", values):
            return values
        case All(parts):
            known = [f for part in parts if (f := _people(part)) is not None]
            return min(known, key=len) if known else None
        case Any_(parts):
            each = [_people(part) for part in parts]
            return None if any(f is None for f in each) else frozenset().union(*(f for f in each if f is not None))
    return None


# -- the whole statement ----------------------------------------------------------------------------------------------


def select(
    query: Query, predicate: Predicate, filtered: Predicate, count: int, after: Sequence[Any] | None
) -> tuple[str, list[Any]]:
    """(SQL, parameters): `COLUMNS`, then the sort values; at most `count` rows, those after the position `after`."""
    sql = _Sql()
    sorts = [_sort_value(name, down, filtered, sql) for name, down in query.sort]
    single = len(query.types) == 1
    names = [f"s{i}" for i in range(len(sorts))]
    heads = "".join(f", {value} AS {name}" for value, name in zip(sorts, names, strict=True))
    where = _where(query, predicate, filtered, sql)
    ties = ["h.id"] if single else ["h.type", "h.id"]
    order = [f"h.{n} IS NULL, h.{n}{' DESC' if down else ''}" for n, (_, down) in zip(names, query.sort, strict=True)]
    found = f"SELECT r.rid AS rid, r.type AS type, r.id AS id{heads} FROM resource r WHERE {where}"
    step = ""
    if after is not None:
        step = f" WHERE {_after([(n, d) for n, (_, d) in zip(names, query.sort, strict=True)], list(after), single, sql)}"
    page = f"SELECT h.* FROM ({found}) h{step} ORDER BY {', '.join([*order, *ties])} LIMIT {sql.add(count)}"
    # The page is read in its own order: a CROSS JOIN is never turned round (https://sqlite.org/optoverview.html#crossjoin).
    values = "".join(f", p.{n}" for n in names)
    return f"SELECT {COLUMNS}{values} FROM ({page}) p CROSS JOIN resource r ON r.rid = p.rid LEFT JOIN epoch e ON e.subject = r.patient", sql.params


def count_sql(query: Query, predicate: Predicate, filtered: Predicate) -> tuple[str, list[Any]]:
    """(SQL, parameters) of the exact number of matches that the predicate lets through."""
    sql = _Sql()
    return f"SELECT count(*) FROM resource r WHERE {_where(query, predicate, filtered, sql)}", sql.params


def position(row: Sequence[Any]) -> tuple[Any, ...]:
    """Where a row of `select` stands: its sort values, type and id."""
    return (*row[11:], row[0], row[1])


def _sort_value(name: str, down: bool, filtered: Predicate, sql: _Sql) -> str:
    if name == "_lastUpdated":
        return "r.updated"
    if name == "_id":
        return "r.id"
    pick, mine = "max" if down else "min", f"FROM key k WHERE k.rid = r.rid AND k.name = {sql.add(name)}"
    shown = _Reader(Always(), filtered, sql).shown("r")
    ranged = f"(SELECT {pick}(k.low) {mine} AND k.low IS NOT NULL{shown})"
    return f"COALESCE({ranged}, (SELECT {pick}(k.text) {mine} AND k.text <> ''{shown}))"


def _after(names: list[tuple[str, bool]], after: list[Any], single: bool, sql: _Sql) -> str:
    """Strictly after a position. What has no value to sort by (NULL) comes last."""
    *values, type, id = after
    rest = f"h.id > {sql.add(id)}" if single else f"(h.type, h.id) > ({sql.add(type)}, {sql.add(id)})"
    for (name, down), value in reversed(list(zip(names, values, strict=True))):
        if value is None:
            rest = f"(h.{name} IS NULL AND {rest})"
        else:
            v = sql.add(value)
            rest = f"(h.{name} IS NULL OR h.{name} {'<' if down else '>'} {v} OR (h.{name} = {v} AND {rest}))"
    return rest


def concerned_sql(ids: Collection[str]) -> tuple[str, list[Any]]:
    """(SQL, parameters): the people whose Consents, teams, tasks, referrals or own record name one of `ids`, or of whom
    one of `ids` wrote something. Steps from person to person, however many resources tie them."""
    return (
        "WITH RECURSIVE known(who, patient) AS (SELECT j.value, (SELECT min(t.patient) FROM tie t WHERE t.who = j.value) "
        "FROM json_each(?1) j UNION ALL SELECT k.who, (SELECT min(t.patient) FROM tie t WHERE t.who = k.who AND t.patient > k.patient) "
        "FROM known k WHERE k.patient IS NOT NULL) SELECT DISTINCT patient FROM known WHERE patient IS NOT NULL",
        [json.dumps(sorted(ids))],
    )
