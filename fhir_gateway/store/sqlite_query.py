"""Search and consent as SQL for the embedded store: one SELECT that joins resource, search keys and the consent predicate.

Two-valued throughout: a NULL never turns `not deny` into NULL. Lists travel as one JSON parameter, so that the same shape
is the same statement. Every hop of a chain and of `_has` is under the predicate.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

import apsw

from ..domain.search import DAWN, DUSK, Query, Term, Value
from ..domain.types import (
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
  rid INTEGER NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, system TEXT NOT NULL,
  exact TEXT NOT NULL, low, high, hidden INTEGER NOT NULL);
CREATE INDEX key_text ON key(type, name, text, rid);
CREATE INDEX key_low ON key(type, name, low, rid) WHERE low IS NOT NULL;
CREATE INDEX key_system ON key(type, name, system, rid) WHERE kind = 'reference' AND system <> '';
CREATE INDEX key_rid ON key(rid, name, text, system, low, high, hidden);
CREATE TABLE acl(rid INTEGER NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL);
CREATE INDEX acl_value ON acl(field, value, rid);
CREATE INDEX acl_rid ON acl(rid, field, value);
"""

COLUMNS = "r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient, e.value"
STANDING = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient"})
_MULTI = {
    "patient": "patients", "profile": "profiles", "sens": "sensitivity", "label": "other_labels", "legal": "legal", "code": "codes",
    "author": "authors", "ref": "refs",
}  # fmt: skip


# -- writing the index -------------------------------------------------------------------------------------------------


def index(cursor: apsw.Cursor, rid: int, type: str, patient: str | None, keys: Iterable[Key], facts: Facts) -> None:
    """Replace every row of this resource."""
    unindex(cursor, rid)
    rows = [(rid, type, k.name, k.kind, k.text, k.system, k.exact, _num(k.low), _num(k.high), int(k.hidden)) for k in keys]
    if rows:
        cursor.executemany("INSERT INTO key VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
    acl = [(rid, field, value) for field, value in _acl(facts)]
    if acl:
        cursor.executemany("INSERT INTO acl VALUES (?,?,?)", acl)


def unindex(cursor: apsw.Cursor, rid: int) -> None:
    cursor.execute("DELETE FROM key WHERE rid = ?", (rid,))
    cursor.execute("DELETE FROM acl WHERE rid = ?", (rid,))


def _num(n: Any) -> Any:
    return n if n is None or isinstance(n, int) else float(n)


def _acl(facts: Facts) -> Iterable[tuple[str, str]]:
    for field, attribute in _MULTI.items():
        for value in getattr(facts, attribute):
            yield field, value
    if facts.custodian:
        yield "custodian", facts.custodian
    if facts.source:
        yield "source", facts.source


# -- the consent predicate ---------------------------------------------------------------------------------------------


class _Sql:
    """SQL text with its parameters, built left to right."""

    def __init__(self) -> None:
        self.params: list[Any] = []

    def add(self, value: Any) -> str:
        self.params.append(value)
        return "?"

    def one_of(self, values: Collection[str]) -> str:
        """`= ?`, or `IN` a JSON list."""
        if len(values) == 1:
            return f"= {self.add(next(iter(values)))}"
        return f"IN (SELECT value FROM json_each({self.add(json.dumps(sorted(values)))}))"


def compile_predicate(predicate: Predicate, alias: str = "r") -> tuple[str, list[Any]]:
    """A two-valued condition over `resource AS alias`, and its parameters."""
    sql = _Sql()
    return _predicate(predicate, alias, sql), sql.params


def _predicate(p: Predicate, a: str, sql: _Sql) -> str:
    if isinstance(p, Never):
        return "0"
    if isinstance(p, Always):
        return "1"
    if isinstance(p, All):
        return "(" + " AND ".join(_predicate(part, a, sql) for part in p.parts) + ")" if p.parts else "1"
    if isinstance(p, Any_):
        return "(" + " OR ".join(_predicate(part, a, sql) for part in p.parts) + ")" if p.parts else "0"
    if isinstance(p, Not):
        return f"(NOT {_predicate(p.part, a, sql)})"
    if isinstance(p, Has):
        return _has_value(p, a, sql)
    if isinstance(p, Only):
        return f"(NOT EXISTS (SELECT 1 FROM acl x WHERE x.rid = {a}.rid AND x.field = {sql.add(p.field)} AND NOT (x.value {sql.one_of(p.values) if p.values else 'IS NULL'})))"
    if isinstance(p, Confidential):
        return f"(COALESCE({a}.conf, 4) {p.op} {int(p.level)})"
    low, high = DAWN if p.low is None else p.low, DUSK if p.high is None else p.high
    if isinstance(p, Within):
        first, last = f"COALESCE({a}.d0, {a}.d1, {a}.updated)", f"COALESCE({a}.d1, {a}.d0, {a}.updated)"
        return f"({first} >= {sql.add(low)} AND {last} <= {sql.add(high)})"
    if isinstance(p, Overlaps):
        dated = f"(COALESCE({a}.d0, {a}.d1) <= {sql.add(high)} AND COALESCE({a}.d1, {a}.d0) >= {sql.add(low)})"
        touched = f"({a}.updated BETWEEN {sql.add(low)} AND {sql.add(high)})"
        return f"(({a}.d0 IS NULL AND {a}.d1 IS NULL) OR COALESCE({dated}, 0) OR {touched})"
    raise TypeError(p)


def _has_value(p: Has, a: str, sql: _Sql) -> str:
    if not p.values:
        return "0"
    if p.field == "type":
        return f"({a}.type {sql.one_of(p.values)})"
    if p.field == "id":
        return f"(({a}.type || '/' || {a}.id) {sql.one_of(p.values)})"
    if p.field == "referred_by":
        return (
            "EXISTS (SELECT 1 FROM resource b JOIN acl x ON x.rid = b.rid WHERE x.field = 'ref' AND "
            f"x.value = {a}.type || '/' || {a}.id AND b.deleted = 0 AND (b.type || '/' || b.id) {sql.one_of(p.values)})"
        )
    return f"EXISTS (SELECT 1 FROM acl x WHERE x.rid = {a}.rid AND x.field = {sql.add(p.field)} AND x.value {sql.one_of(p.values)})"


# -- the query ---------------------------------------------------------------------------------------------------------


def select(
    query: Query, predicate: Predicate, filtered: Predicate, count: int, after: tuple[Any, ...] | None
) -> tuple[str, list[Any]]:
    """Resource columns, then sort values and rid; `after` is such a position."""
    sql = _Sql()
    sorts = [_sort(name, down, sql) for name, down in query.sort]
    columns = "".join(f", {expression}" for expression, _ in sorts)
    where = _where(query, predicate, filtered, "r", sql)
    order = [*((i + 12, down) for i, (_, down) in enumerate(sorts)), (12 + len(sorts), False)]
    inner = f"SELECT {COLUMNS}{columns}, r.rid FROM resource r LEFT JOIN epoch e ON e.subject = r.patient WHERE {where}"
    by = ", ".join(f"{n}{' DESC' if down else ''}" for n, down in order)
    if after is None:
        return f"{inner} ORDER BY {by} LIMIT {sql.add(count)}", sql.params
    if not sorts:
        return f"{inner} AND r.rid > {sql.add(after[-1])} ORDER BY {by} LIMIT {sql.add(count)}", sql.params
    named = [f"s{i}" for i in range(len(sorts))] + ["rid"]
    heads = "type, id, version, updated, body, view, facts, writer, created_by, patient, epoch"
    step = _after([(n, down) for n, (_, down) in zip(named, order, strict=True)], after, sql)
    wrapped = f"WITH hit({heads}, {', '.join(named)}) AS ({inner}) SELECT * FROM hit WHERE {step}"
    return f"{wrapped} ORDER BY {by} LIMIT {sql.add(count)}", sql.params


def _after(columns: list[tuple[str, bool]], after: tuple[Any, ...], sql: _Sql) -> str:
    """Strictly after a position whose columns go up or down each by themselves."""
    options = []
    for i, (name, down) in enumerate(columns):
        equal = [f"{n} = {sql.add(after[j])}" for j, (n, _) in enumerate(columns[:i])]
        options.append("(" + " AND ".join([*equal, f"{name} {'<' if down else '>'} {sql.add(after[i])}"]) + ")")
    return "(" + " OR ".join(options) + ")"


def _sort(name: str, down: bool, sql: _Sql) -> tuple[str, bool]:
    """The value to sort by; what has none comes last either way."""
    if name == "_lastUpdated":
        return "r.updated", down
    if name == "_id":
        return "r.id", down
    pick = "max" if down else "min"
    number = f"(SELECT {pick}({'k.high' if down else 'k.low'}) FROM key k WHERE k.rid = r.rid AND k.name = {sql.add(name)} AND k.hidden = 0)"
    text = f"(SELECT {pick}(k.text) FROM key k WHERE k.rid = r.rid AND k.name = {sql.add(name)} AND k.hidden = 0 AND k.text <> '')"
    last = f"-{2**62}" if down else "char(1114111)"
    return f"COALESCE({number}, {text}, {last})", down


def position(row: Any) -> tuple[Any, ...]:
    """Where this row stands: its sort values and rid."""
    return tuple(row[11:])


def count_sql(query: Query, predicate: Predicate, filtered: Predicate) -> tuple[str, list[Any]]:
    sql = _Sql()
    return f"SELECT count(*) FROM resource r WHERE {_where(query, predicate, filtered, 'r', sql)}", sql.params


def concerned_sql(ids: Collection[str]) -> tuple[str, list[Any]]:
    """The people whose Consents, teams, tasks, referrals or own record name one of `ids`, or who have something they wrote."""
    sql = _Sql()
    named = sql.one_of(ids)
    types = sql.one_of(STANDING)
    wrote = sql.one_of(ids)
    return (
        f"SELECT p.value FROM acl x JOIN resource r ON r.rid = x.rid JOIN acl p ON p.rid = x.rid AND p.field = 'patient' "
        f"WHERE x.field = 'ref' AND x.value {named} AND r.deleted = 0 AND r.type {types} "
        f"UNION SELECT p.value FROM acl x JOIN acl p ON p.rid = x.rid AND p.field = 'patient' WHERE x.field = 'author' AND x.value {wrote}",
        sql.params,
    )


def _where(query: Query, predicate: Predicate, filtered: Predicate, a: str, sql: _Sql) -> str:
    parts = [f"{a}.deleted = 0"]
    if query.types:
        parts.append(f"{a}.type {sql.one_of(query.types)}")
    people = _people(predicate)
    if people is not None and a == "r":
        parts.append(f"{a}.rid IN (SELECT rid FROM acl WHERE field = 'patient' AND value {sql.one_of(people)})")
    parts += [_term(t, query.types, predicate, filtered, a, sql) for t in query.terms]
    parts.append(_predicate(predicate, a, sql))
    return " AND ".join(parts)


def _people(predicate: Predicate) -> frozenset[str] | None:
    """When the predicate as a whole is about named people, the people: the way into the index."""
    if isinstance(predicate, Has) and predicate.field == "patient":
        return predicate.values
    if isinstance(predicate, All):
        for part in predicate.parts:
            found = _people(part)
            if found is not None:
                return found
    if isinstance(predicate, Any_) and predicate.parts:
        all_ = [_people(part) for part in predicate.parts]
        if all(f is not None for f in all_):
            return frozenset().union(*(f for f in all_ if f is not None))
    return None


def _term(t: Term, types: tuple[str, ...], predicate: Predicate, filtered: Predicate, a: str, sql: _Sql) -> str:
    if t.name == "_id" and t.kind == "token":
        inside = f"({a}.id {sql.one_of({v.text for v in t.values})})"
        return f"(NOT {inside})" if t.modifier == "not" else inside
    if t.name == "_lastUpdated" and t.kind == "date" and t.modifier != "missing":
        return "(" + " OR ".join(_range(v, f"{a}.updated", f"{a}.updated", sql) for v in t.values) + ")"
    if t.has is not None and t.chain is not None:
        return _reverse(t, predicate, filtered, a, sql)
    if t.chain is not None:
        return _chain(t, predicate, filtered, a, sql)
    if t.modifier == "missing":
        exists = f"EXISTS (SELECT 1 FROM key k WHERE k.rid = {a}.rid AND k.name = {sql.add(t.name)}{_shown(filtered, a, sql)})"
        return f"(NOT {exists})" if t.values[0].text == "true" else exists
    test = "(" + " OR ".join(_value(t, v, sql) for v in t.values) + ")"
    shown = _shown(filtered, a, sql)
    if t.modifier == "not":
        # parameters come in the order of the text: the test was built before the name
        name = t.name.replace("'", "''")
        return f"(NOT EXISTS (SELECT 1 FROM key k WHERE k.rid = {a}.rid AND {test} AND k.name = '{name}'{shown}))"
    name = t.name.replace("'", "''")
    if len(types) == 1 and a == "r" and _selective(t):
        type = types[0].replace("'", "''")
        return f"({a}.rid IN (SELECT k.rid FROM key k WHERE {test} AND k.type = '{type}' AND k.name = '{name}'{shown}))"
    return f"EXISTS (SELECT 1 FROM key k WHERE k.rid = {a}.rid AND {test} AND k.name = '{name}'{shown})"


def _selective(t: Term) -> bool:
    return t.kind in ("token", "reference", "uri") and t.modifier in ("", "identifier") and all(v.text for v in t.values)


def _shown(filtered: Predicate, a: str, sql: _Sql) -> str:
    """Keys from what the view drops are not matched for filtered readers."""
    if isinstance(filtered, Never):
        return ""
    if isinstance(filtered, Always):
        return " AND k.hidden = 0"
    return f" AND (k.hidden = 0 OR NOT {_predicate(filtered, a, sql)})"


def _value(t: Term, v: Value, sql: _Sql) -> str:
    if t.kind == "token":
        if t.modifier == "text":
            return f"(k.exact {_begins('k.exact', v.text, sql)})"
        parts = [f"k.text = {sql.add(v.text)}"] if v.text else []
        if v.system is not None:
            parts.append(f"k.system = {sql.add(v.system)}")
        return "(" + (" AND ".join(parts) or "1") + ")"
    if t.kind == "string":
        if t.modifier == "exact":
            return f"(k.exact = {sql.add(v.exact)})"
        if t.modifier == "contains":
            return f"(instr(k.text, {sql.add(v.text)}) > 0)"
        return f"(k.text {_begins('k.text', v.text, sql)})"
    if t.kind == "reference":
        if t.modifier == "identifier":
            if v.system is None:
                return f"(k.system <> '' AND substr(k.system, instr(k.system, '|') + 1) = {sql.add(v.text)})"
            return f"(k.kind = 'reference' AND k.system <> '' AND k.system = {sql.add(f'{v.system}|{v.text}')})"
        if "/" in v.text:
            return f"(k.text = {sql.add(v.text)})"
        if t.name == "patient":
            return f"(k.text = {sql.add(f'Patient/{v.text}')})"
        n = len(v.text) + 1
        return f"(substr(k.text, -{n}) = {sql.add('/' + v.text)} AND instr(substr(k.text, 1, length(k.text) - {n}), '/') = 0)"
    if t.kind == "uri":
        if t.modifier == "below":
            return f"(k.text = {sql.add(v.text)} OR k.text {_begins('k.text', v.text.rstrip('/') + '/', sql)})"
        if t.modifier == "above":
            mine = sql.add(v.text)
            return f"(k.text = {mine} OR (k.text <> '' AND instr({sql.add(v.text)}, rtrim(k.text, '/') || '/') = 1))"
        return f"(k.text = {sql.add(v.text)})"
    test = _range(v, "k.low", "k.high", sql)
    if t.kind == "quantity":
        if v.text:
            test += f" AND k.text = {sql.add(v.text)}"
        if v.system is not None:
            test += f" AND k.system = {sql.add(v.system)}"
    return f"(k.low IS NOT NULL AND {test})"


def _begins(column: str, text: str, sql: _Sql) -> str:
    if not text:
        return "IS NOT NULL"
    return f">= {sql.add(text)} AND {column} < {sql.add(_next(text))}"


def _next(text: str) -> str:
    """The least text after everything that begins with `text`."""
    for i in range(len(text) - 1, -1, -1):
        point = ord(text[i]) + 1
        if point == 0xD800:
            point = 0xE000
        if point <= 0x10FFFF:
            return text[:i] + chr(point)
    return text + "\U0010ffff"


def _range(v: Value, low: str, high: str, sql: _Sql) -> str:
    def inside() -> str:
        return f"({sql.add(v.low)} <= {low} AND {high} <= {sql.add(v.high)})"

    if v.prefix == "eq":
        return inside()
    if v.prefix == "ne":
        return f"(NOT {inside()})"
    if v.prefix in ("gt", "ge"):
        first = f"{high} > {sql.add(v.high)}"
        return f"({first})" if v.prefix == "gt" else f"({first} OR {inside()})"
    if v.prefix in ("lt", "le"):
        first = f"{low} < {sql.add(v.low)}"
        return f"({first})" if v.prefix == "lt" else f"({first} OR {inside()})"
    if v.prefix == "sa":
        return f"({low} > {sql.add(v.high)})"
    if v.prefix == "eb":
        return f"({high} < {sql.add(v.low)})"
    return f"({low} <= {sql.add(v.high)} AND {sql.add(v.low)} <= {high})"



def _alias(a: str) -> str:
    return "t1" if a == "r" else f"t{int(a[1:]) + 1}"


def _chain(t: Term, predicate: Predicate, filtered: Predicate, a: str, sql: _Sql) -> str:
    """This reference points to a visible match."""
    assert t.chain is not None
    b = _alias(a)
    name = t.name.replace("'", "''")
    shown = " AND c.hidden = 0" if not isinstance(filtered, Never) else ""
    inner = _where(t.chain, predicate, filtered, b, sql)
    return (
        f"EXISTS (SELECT 1 FROM key c JOIN resource {b} ON {b}.type = substr(c.text, 1, instr(c.text, '/') - 1) AND "
        f"{b}.id = substr(c.text, instr(c.text, '/') + 1) WHERE c.rid = {a}.rid AND c.name = '{name}'{shown} AND {inner})"
    )


def _reverse(t: Term, predicate: Predicate, filtered: Predicate, a: str, sql: _Sql) -> str:
    """A visible match refers to this."""
    assert t.chain is not None and t.has is not None
    b = _alias(a)
    type, name = (x.replace("'", "''") for x in t.has)
    shown = " AND c.hidden = 0" if not isinstance(filtered, Never) else ""
    inner = _where(t.chain, predicate, filtered, b, sql)
    return (
        f"EXISTS (SELECT 1 FROM key c JOIN resource {b} ON {b}.rid = c.rid WHERE c.type = '{type}' AND c.name = '{name}' AND "
        f"c.text = {a}.type || '/' || {a}.id{shown} AND {inner})"
    )
