"""The consent predicate as one condition on a resource. Two-valued throughout: a NULL never turns `not deny` into NULL.

`sqlite_terms` puts it to what is searched and to every hop; `sqlite_way` looks for the people whose records it opens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..domain.predicate import spelled_out
from ..domain.types import (
    CONFIDENTIALITY,
    All,
    Always,
    Any_,
    ByPerson,
    Confidential,
    Has,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Within,
)
from .sqlite_index import FIELDS
from .sqlite_lacks import BITS, OTHERS
from .sqlite_text import G, Sql, tree

NOTHING: frozenset[str] = frozenset()


def allowed(p: Predicate, a: str, sql: Sql, types: tuple[str, ...] = (), people: frozenset[str] = NOTHING) -> str:
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
            inner = allowed(part, a, sql, types, people)
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


def _by_person(p: ByPerson, a: str, sql: Sql, types: tuple[str, ...], people: frozenset[str]) -> str:
    """By the number of the person's group, where people with their numbers lead; what is in several records is asked of each, once."""
    led = sql.led
    if led is None or led.alias != a or led.by is not p:
        return allowed(spelled_out(p), a, sql, types, people)
    shape = led.each(lambda q, own: allowed(q, a, own, types, people))
    alone = f"{led.place}.lacks & {OTHERS} <> 0"
    number = f"json_extract({led.numbers}, '$.\"' || x.value || '\"')"
    listed = f"FROM acl x WHERE x.rid = {a}.rid AND x.field = 'patient'"
    several = f"SELECT {number} {listed} AND NOT {alone}"
    first = f"({alone} OR {led.place}.patient = (SELECT min(x.value) {listed}))"
    refused = f"y.n IS NULL OR NOT {shape.replace(G, 'y.n')}"
    return f"({first} AND NOT EXISTS (SELECT 1 FROM (SELECT {led.group} AS n WHERE {alone} UNION ALL {several}) y WHERE {refused}))"


def _theirs(people: frozenset[str], rest: str, a: str, sql: Sql) -> str:
    """In the record of these people and of nobody else: `patient` is the first of whom it names, so that one look tells nearly always,
    and the rows of the others are looked at last."""
    if rest == "0":
        return "0"
    mine = f"{a}.patient IS NOT NULL AND +{a}.patient {sql.equals(people)}"
    nobody_else = f"(NOT {_listed(a, 'patient', f'NOT {sql.equals(people)}', sql)})"
    return f"({mine} AND {nobody_else})" if rest == "1" else f"({mine} AND {rest} AND {nobody_else})"


def _joined(
    parts: Iterable[Predicate], word: str, ends: str, nothing: str, a: str, sql: Sql, types: tuple[str, ...], people: frozenset[str]
) -> str:
    """All (or any) of the parts; one that settles the matter stands alone, and the parameters of the others go."""
    start = len(sql.params)
    out: list[str] = []
    for part in parts:
        text = allowed(part, a, sql, types, people)
        if text == ends:
            del sql.params[start:]
            return ends
        if text != nothing:
            out.append(text)
    out.sort(key=lambda text: "SELECT" in text)  # what the row itself can tell comes before what must be looked up
    return tree(out, word) if out else nothing


def _inside(first: str, last: str, low: int | None, high: int | None, sql: Sql) -> str:
    """An open end is inside only of what is open there itself."""
    starts = "1" if low is None else f"({first} IS NOT NULL AND {first} >= {sql.add(low)})"
    ends = "1" if high is None else f"({last} IS NOT NULL AND {last} <= {sql.add(high)})"
    return f"({starts} AND {ends})"


def _touches(first: str, last: str, low: int | None, high: int | None, sql: Sql) -> str:
    starts = "1" if high is None else f"({first} IS NULL OR {first} <= {sql.add(high)})"
    ends = "1" if low is None else f"({last} IS NULL OR {last} >= {sql.add(low)})"
    return f"({starts} AND {ends})"


def _has_one(p: Has, a: str, sql: Sql) -> str:
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


def _has_only(p: Only, a: str, sql: Sql) -> str:
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


def _listed(a: str, field: str, test: str, sql: Sql) -> str:
    """Has the resource a value of this field that passes the test: `= ?1`, `IN (…)`, `NOT …`, or any."""
    if test.startswith("NOT "):
        test = f" AND NOT (x.value {test[4:]})"
    elif test:
        test = f" AND x.value {test}"
    there = f"EXISTS (SELECT 1 FROM acl x WHERE x.rid = {a}.rid AND x.field = '{field}'{test})"
    led = sql.led
    return f"({led.place}.lacks & {BITS[field]} = 0 AND {there})" if led is not None and led.alias == a and field in BITS else there


def _field(name: str) -> str:
    if name not in FIELDS:
        raise KeyError(name)
    return name


_REFERRERS = (
    "CROSS JOIN resource b ON b.type = j.value ->> 0 AND b.id = j.value ->> 1 AND b.deleted = 0 CROSS JOIN acl x ON x.rid = b.rid WHERE"
)


def _pairs(refs: Iterable[str], sql: Sql) -> str:
    return sql.add(json.dumps([r.split("/", 1) for r in sorted(refs) if "/" in r]))
