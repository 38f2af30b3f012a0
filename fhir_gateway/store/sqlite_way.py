"""The way in to a search: the one condition that an index serves, chosen here and not by the planner.

It is the most telling term, or the people the predicate is about. Everything else (`sqlite_terms`) is looked up row by row
by `rid`; the other columns wear a unary plus, which keeps the planner from them.
"""

from __future__ import annotations

from ..domain.search import Query, Term
from ..domain.types import All, Any_, ByPerson, Has, Never, Predicate
from .sqlite_predicate import NOTHING
from .sqlite_terms import Reader, hits, matches, plain
from .sqlite_text import FEW, Sql

NO_WAY = 9

def where(query: Query, a: str, reader: Reader) -> str:
    way, told, people = _way_in(query, a, reader)
    return f"{way} AND {matches(query, a, reader, told, people)}"


def _way_in(query: Query, a: str, reader: Reader) -> tuple[str, Term | None, frozenset[str]]:
    """The one condition on `a` that an index serves, and what it settles: a term, or being in the record of these people."""
    sql = reader.sql
    fence = fenced(reader.predicate, query.types)
    rank, t = best_term(query)
    if fence is not None and rank_of(*fence) < rank:
        return _inside_of(*fence, query.types, a, sql)
    if t is None:
        return (f"{a}.type {sql.equals(query.types)}" if query.types else "1"), None, NOTHING
    return (*_through(t, rank, query.types, a, reader), NOTHING)


def best_term(query: Query) -> tuple[int, Term | None]:
    """The most telling term and its rank."""
    ranked = [(rank, i) for i, t in enumerate(query.terms) if (rank := _rank(t)) is not None]
    rank, best = min(ranked, default=(NO_WAY, -1))
    return rank, query.terms[best] if best >= 0 else None


def rank_of(people: frozenset[str], kinds: frozenset[str]) -> int:
    if kinds:
        return 8
    return 1 if len(people) < 2 else 4 if len(people) <= FEW else 5


def _inside_of(
    people: frozenset[str], kinds: frozenset[str], types: tuple[str, ...], a: str, sql: Sql
) -> tuple[str, Term | None, frozenset[str]]:
    ways: list[str] = []
    if people:
        of_type = f" AND m.type {sql.equals(types)}" if types else ""
        ways.append(f"SELECT m.rid FROM member m WHERE m.patient {sql.equals(people)}{of_type}")
    if kinds:
        ways.append(f"SELECT d.rid FROM resource d WHERE d.type {sql.equals(kinds)}")
    return (f"{a}.rid IN ({' UNION ALL '.join(ways)})" if ways else "0"), None, NOTHING if kinds else people


def _through(t: Term, rank: int, types: tuple[str, ...], a: str, reader: Reader) -> tuple[str, Term | None]:
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
    found = f"SELECT k.rid FROM key k WHERE k.name = {sql.add(t.key_name)}{of_type} AND {there} AND {hits(t, sql)}{shown}"
    return f"{a}.rid IN ({found})", t if exact else None


def _one_way(query: Query, types: tuple[str, ...], reader: Reader) -> str | None:
    """What one of several alternatives finds by its most telling term; None when it is about other types than are asked for."""
    mine = tuple(t for t in types if t in query.types) if types and query.types else types or query.types
    if types and query.types and not mine:
        return None
    rank, best = best_term(query)
    assert best is not None
    x = reader.sql.another()
    way, _ = _through(best, rank, mine, x, reader)
    return f"SELECT {x}.rid FROM resource {x} WHERE {way}"


def _rank(t: Term) -> int | None:
    """How telling a term is: 0 an id … 8 a hop from the other side; None: no way in."""
    if t.any:
        ranks = [best_term(q)[0] for q in t.any]
        return None if NO_WAY in ranks else max(ranks)
    if t.name == "_id" and t.modifier == "":
        return 0
    if t.name == "_lastUpdated" or t.modifier in ("missing", "not", "text", "contains"):
        return None
    if t.chain is not None:
        return 8 if any(_rank(x) is not None for x in t.chain.terms) else None
    if t.kind == "reference" and t.modifier != "identifier":
        if any(plain(t, v) is None for v in t.values):
            return None
        return 3 if all(x.startswith("Patient/") for v in t.values for x in plain(t, v) or ()) else 6
    if t.kind in ("date", "number", "quantity"):
        return 8 if all(v.prefix in ("eq", "sa", "gt", "eb", "lt") for v in t.values) else None
    if not all(v.text for v in t.values):
        return None
    return 1 if t.name == "identifier" or t.modifier in ("identifier", "of-type") else 7


def _leading(t: Term, types: tuple[str, ...], reader: Reader) -> str:
    """The chain walked from its far end: first the matches, then what refers to them (or what they refer to)."""
    assert t.chain is not None
    sql, b = reader.sql, reader.sql.another()
    found = where(t.chain, b, reader)
    if t.has is not None:
        mine = f"k.rid = {b}.rid AND k.name = {sql.add(t.has[1])}{reader.shown(b)}"
        target = "x.type = substr(k.text, 1, instr(k.text, '/') - 1) AND x.id = substr(k.text, instr(k.text, '/') + 1)"
        return f"SELECT x.rid FROM resource {b} CROSS JOIN key k ON {mine} CROSS JOIN resource x ON {target} WHERE {found}"
    of_type = f" AND k.type {sql.equals(types)}" if types else ""
    shown = reader.shown("y")
    join = " CROSS JOIN resource y ON y.rid = k.rid" if shown and not reader.same_for_all else ""
    pointing = f"k.name = {sql.add(t.key_name)} AND k.text = {b}.type || '/' || {b}.id AND k.text <> ''{of_type}"
    return f"SELECT k.rid FROM resource {b} CROSS JOIN key k ON {pointing}{join} WHERE {found}{shown}"


def fenced(p: Predicate, types: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]] | None:
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
            known = [f for part in parts if (f := fenced(part, types)) is not None]
            return min(known, key=lambda f: (len(f[1]), len(f[0])), default=None)
        case Any_(parts):
            people: set[str] = set()
            others: set[str] = set()
            for part in parts:
                if (f := fenced(part, types)) is None:
                    return None
                people |= f[0]
                others |= f[1]
            return None if types and others.issuperset(types) else (frozenset(people), frozenset(others))
    return None
