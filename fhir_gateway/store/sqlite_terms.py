"""The terms of a search as conditions on a resource, and all that a match must be. Every hop of a chain and of `_has` is under
the predicate (`sqlite_predicate`), and nobody finds by what their view drops.

Which term an index serves first is chosen in `sqlite_way`.
"""

from __future__ import annotations

from ..domain.search import Query, Term, Value, after_all
from ..domain.types import CONTACT, PLACES, PRACTICE, VIEW, Always, Never, Predicate, Views
from .sqlite_predicate import NOTHING, allowed
from .sqlite_text import Sql, tree

# -- whose search it is -----------------------------------------------------------------------------------------------


class Reader:
    """Whose search it is: what they may see, and for which of it they get the view."""

    def __init__(self, predicate: Predicate, filtered: Predicate | Views, sql: Sql) -> None:
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
        return f" AND (k.hidden = 0 OR NOT ({allowed(views.view, a, self.sql)} AND ({hides})))"

    def _hides(self, bit: int, where: Predicate, a: str) -> str:
        if isinstance(where, Never):
            return ""
        return f"k.hidden & {bit} <> 0" if isinstance(where, Always) else f"(k.hidden & {bit} <> 0 AND {allowed(where, a, self.sql)})"

    @property
    def same_for_all(self) -> bool:
        return isinstance(self.views.view, Never) or (isinstance(self.views.view, Always) and self.views.plain)


# -- one parameter ----------------------------------------------------------------------------------------------------


def term(t: Term, types: tuple[str, ...], a: str, reader: Reader) -> str:
    """A condition on the resource `a`."""
    sql = reader.sql
    if t.any:
        return tree([_alternative(q, types, a, reader) for q in t.any], " OR ")
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
    return f"{'NOT ' if t.modifier == 'not' else ''}EXISTS ({mine} AND {hits(t, sql)})"


def _alternative(query: Query, types: tuple[str, ...], a: str, reader: Reader) -> str:
    """`a` itself matches this query."""
    known = not query.types or (types and set(types) <= set(query.types))
    parts = [] if known else [f"+{a}.type {reader.sql.equals(query.types)}"]
    parts += [term(t, types, a, reader) for t in query.terms]
    return f"({' AND '.join(parts) or '1'})"


def _own_id(t: Term, a: str, sql: Sql) -> str:
    if t.modifier == "missing":
        return "1" if t.values[0].text == "false" else "0"
    ids = {v.text for v in t.values if not v.system and v.text}
    inside = f"+{a}.id {sql.equals(ids)}" if ids else "0"
    return f"NOT ({inside})" if t.modifier == "not" else f"({inside})"


def hits(t: Term, sql: Sql) -> str:
    """Any of the values, against the key `k`. Plain equalities go as one list."""
    equal: dict[str | None, set[str]] = {}
    parts: list[str] = []
    for v in t.values:
        texts = plain(t, v)
        if texts is None:
            parts.append(_hit(t, v, sql))
        else:
            equal.setdefault(v.system, set()).update(texts)
    for system, found in equal.items():
        of = "" if system is None else f" AND k.system = {sql.add(system)}"
        parts.insert(0, f"k.text {sql.equals(found)}{of}")
    return f"({' OR '.join(parts)})" if len(parts) > 1 else parts[0] if parts else "0"


def plain(t: Term, v: Value) -> list[str] | None:
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


def _hit(t: Term, v: Value, sql: Sql) -> str:
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


def _of_system(v: Value, sql: Sql) -> str:
    return "1" if v.system is None else f"k.system = {sql.add(v.system)}"


def _composite(v: Value, sql: Sql) -> str:
    if v.low is None:
        return f"({_begins('k.text', v.text, sql)})" if v.exact == "*" else f"k.text = {sql.add(v.text)}"
    unit = f" AND k.exact = {sql.add(v.exact)}" if v.exact else ""
    system = f" AND k.system = {sql.add(v.system)}" if v.system is not None else ""
    return f"(k.text = {sql.add(v.text)}{unit}{system} AND {_range(v, 'k.low', 'k.high', sql)})"


def _begins(column: str, text: str, sql: Sql) -> str:
    if not text:
        return "0"
    end = after_all(text)
    return f"{column} >= {sql.add(text)}" + (f" AND {column} < {sql.add(end)}" if end is not None else "")


def _range(v: Value, low: str, high: str, sql: Sql) -> str:
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


def _chain(t: Term, a: str, reader: Reader) -> str:
    """A reference of `a` points to a visible match."""
    assert t.chain is not None
    sql, b = reader.sql, reader.sql.another()
    name = sql.add(t.key_name)
    target = f"{b}.type {sql.equals(t.chain.types)} AND {b}.id = substr(k.text, instr(k.text, '/') + 1) AND k.text = {b}.type || '/' || {b}.id"
    return (
        f"EXISTS (SELECT 1 FROM key k CROSS JOIN resource {b} ON {target} WHERE k.rid = {a}.rid AND k.name = {name}"
        f"{reader.shown(a)} AND {matches(t.chain, b, reader)})"
    )


def _has(t: Term, a: str, reader: Reader) -> str:
    """A visible match refers to `a`."""
    assert t.chain is not None and t.has is not None
    sql, b = reader.sql, reader.sql.another()
    return (
        f"EXISTS (SELECT 1 FROM key k CROSS JOIN resource {b} ON {b}.rid = k.rid WHERE k.name = {sql.add(t.has[1])} AND "
        f"k.type = {sql.add(t.has[0])} AND k.text <> '' AND k.text = {a}.type || '/' || {a}.id{reader.shown(b)} AND {matches(t.chain, b, reader)})"
    )


def matches(query: Query, a: str, reader: Reader, told: Term | None = None, people: frozenset[str] = NOTHING) -> str:
    """Everything a resource must be: there, visible, as asked; but for what the way in has settled already, the term `told`
    and being in the record of one of `people`."""
    parts = [f"+{a}.deleted = 0", allowed(reader.predicate, a, reader.sql, query.types, people)]
    parts += [term(t, query.types, a, reader) for t in query.terms if t is not told]
    return " AND ".join(p for p in parts if p != "1")
