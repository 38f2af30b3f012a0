"""Search and consent as SQL for the embedded store: one SELECT that joins resources, search keys and the consent predicate.

- The whole statement is here. Its text and parameters are `sqlite_text`; the predicate `sqlite_predicate`; what is searched for
  `sqlite_terms`; the way in `sqlite_way`; the tables, and their writing, `sqlite_index`.
- A caseload's predicate goes by the number of each person's group (`Led`); conditions of one shape are one text. A place in a record
  tells what the resource surely lacks (`sqlite_lacks`): a count looks at few resources, and nobody looks for a label that is not there.
- Pages are cut on (sort values, type, id); bodies are read for the page alone. One person's record is read in the order of
  its own index (`member`), so the commonest search sorts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from ..domain.search import Query
from ..domain.types import All, Any_, ByPerson, Predicate, Views
from .sqlite_lacks import Told
from .sqlite_predicate import NOTHING, allowed
from .sqlite_terms import Reader, matches
from .sqlite_text import FEW, PLACE, G, Led, Sql
from .sqlite_way import best_term, fenced, rank_of, where

COLUMNS = "r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient, e.value"


def select(
    query: Query, predicate: Predicate, filtered: Predicate | Views, count: int, after: Sequence[Any] | None
) -> tuple[str, Sequence[Any]]:
    """(SQL, parameters): `COLUMNS`, then the sort values; at most `count` rows, those after the position `after`."""
    return _select(query, predicate, filtered, count, None if after is None else tuple(after))


@lru_cache(maxsize=512)
def _select(
    query: Query, predicate: Predicate, filtered: Predicate | Views, count: int, after: tuple[Any, ...] | None
) -> tuple[str, Sequence[Any]]:
    reader = Reader(predicate, filtered, Sql())
    people, kinds = fenced(predicate, query.types) or (NOTHING, NOTHING)
    if len(people) == 1 and not kinds and not query.sort and best_term(query)[0] > 1:
        return _of_one_person(query, people, reader, count, after)
    several = people if _by_places(query, predicate, people, kinds) else NOTHING
    if several and not query.sort:
        return _of_several(query, several, reader, count, after)
    return _sorted_page(query, reader, count, after, several)


def _by_places(query: Query, predicate: Predicate, people: frozenset[str], kinds: frozenset[str]) -> bool:
    """Is a search of several people's records to go by their places in them? Of many people also where a term is more telling: a predicate
    that names each of them is read anew each time, 50 milliseconds for 200."""
    if len(people) < 2 or kinds:
        return False
    rank = best_term(query)[0]
    if rank_of(people, kinds) < rank:
        return True
    by = _groups(predicate, query.types)
    return rank > 0 and len(people) > FEW and by is not None and by.people == people


def _of_one_person(
    query: Query, people: frozenset[str], reader: Reader, count: int, after: tuple[Any, ...] | None
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
        f"WHERE m.patient = {me}{types}{step} AND {matches(query, 'r', reader, None, people)} "
        f"ORDER BY {'m.id' if single else 'm.type, m.id'} LIMIT {sql.add(count)}"
    ), tuple(sql.params)


def _of_several(
    query: Query, people: frozenset[str], reader: Reader, count: int, after: tuple[Any, ...] | None
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
        f"LEFT JOIN epoch e ON e.subject = r.patient WHERE {matches(query, 'r', reader, None, people)} LIMIT {sql.add(count)}"
    )
    if sql.led is not None:
        sql.led.end()
    return text, tuple(sql.params)


def _places(query: Query, people: frozenset[str], reader: Reader, a: str, place: str, group: str) -> str:
    """The places in these people's records that `a` is looked up from; with the number of each one's group where the predicate has
    groups, and then what is in several records stands once for each."""
    sql = reader.sql
    by = _groups(reader.predicate, query.types)
    of_type = f" AND m.type {sql.equals(query.types)}" if query.types else ""
    columns = "m.type AS type, m.id AS id, m.rid AS rid"
    if by is None or by.people != people:
        return f"SELECT DISTINCT {columns} FROM member m WHERE m.patient {sql.equals(people)}{of_type}"
    sql.led = led = Led(by, a, place, group, sql)
    led.begin(lambda q, own: allowed(q, a, own, query.types, people))
    return f"SELECT {columns}, m.patient AS patient, m.lacks AS lacks, j.value AS g FROM json_each({led.numbers}) j CROSS JOIN member m ON m.patient = j.key{of_type} WHERE 1"


def _groups(p: Predicate, types: tuple[str, ...]) -> ByPerson | None:
    """The part that whatever the predicate lets through of `types` passes."""
    match p:
        case ByPerson():
            return p
        case All(parts):
            return next((by for part in parts if (by := _groups(part, types)) is not None), None)
        case Any_(parts):
            open_to = [part for part in parts if fenced(part, types) != (NOTHING, NOTHING)]
            return _groups(open_to[0], types) if len(open_to) == 1 else None
    return None


def _sorted_page(
    query: Query, reader: Reader, count: int, after: tuple[Any, ...] | None, several: frozenset[str]
) -> tuple[str, Sequence[Any]]:
    """In the order that is asked for. `several`: by the places in these people's records."""
    sql = reader.sql
    sorts = [(f"s{i}", down) for i, (_, down) in enumerate(query.sort)]
    heads = "".join(
        f", {_sort_value(name, down, reader)} AS {s}" for (s, _), (name, down) in zip(sorts, query.sort, strict=True)
    )
    if several:
        inside = _places(query, several, reader, "r", "h", "h.g")
        found = f"FROM ({inside}) h CROSS JOIN resource r ON r.rid = h.rid WHERE {matches(query, 'r', reader, None, several)}"
        if sql.led is not None:
            sql.led.end()
    else:
        found = f"FROM resource r WHERE {where(query, 'r', reader)}"
    found = f"SELECT r.rid AS rid, r.type AS type, r.id AS id{heads} {found}"
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
    reader = Reader(predicate, filtered, Sql())
    people, kinds = fenced(predicate, query.types) or (NOTHING, NOTHING)
    by = _groups(predicate, query.types)
    if len(people) > 1 and not kinds and not query.terms and by is not None and by.people == people:
        return _count_of_several(query, people, reader)
    return f"SELECT count(*) FROM resource r WHERE {where(query, 'r', reader)}", tuple(reader.sql.params)


def _count_of_several(query: Query, people: frozenset[str], reader: Reader) -> tuple[str, Sequence[Any]]:
    """The resource itself is looked at only where its place in the record does not tell."""
    sql = reader.sql
    places = _places(query, people, reader, "r", "m", "j.value")
    led = sql.led
    assert led is not None
    told = Told("m", query.types, led.by)
    sure = told.sure(reader.predicate, sql, led.each(lambda q, own: told.sure(q, own, "0"))).replace(G, led.group)
    never = told.never(reader.predicate, sql, led.each(lambda q, own: told.never(q, own))).replace(G, led.group)
    asked = f"EXISTS (SELECT 1 FROM resource r WHERE r.rid = m.rid AND {matches(query, 'r', reader, None, people)})"
    led.end()
    text = f"SELECT count(*) FROM ({places} AND (CASE WHEN {sure} THEN 1 WHEN {never} THEN 0 ELSE {asked} END))"
    return text, tuple(sql.params[: max(int(n) for n in PLACE.findall(text))])  # what settled a matter alone left those of others behind


def position(row: Sequence[Any]) -> tuple[Any, ...]:
    """Where a row of `select` stands: its sort values, type and id."""
    return (*row[11:], row[0], row[1])


def _sort_value(name: str, down: bool, reader: Reader) -> str:
    if name == "_lastUpdated":
        return "r.updated"
    if name == "_id":
        return "r.id"
    pick, shown = "max" if down else "min", reader.shown("r")
    mine = f"FROM key k WHERE k.rid = r.rid AND k.name = {reader.sql.add(name)}{shown}"
    return f"COALESCE((SELECT {pick}(k.low) {mine} AND k.low IS NOT NULL), (SELECT {pick}(k.text) {mine} AND k.text <> ''))"


def _after(sorts: list[tuple[str, bool]], after: list[Any], single: bool, sql: Sql) -> str:
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


def _beyond(a: str, after: list[Any], single: bool, sql: Sql) -> str:
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
