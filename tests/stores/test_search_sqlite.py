"""The SQL of search: predicates as conditions, rows of the index, statements used again, plans. What it finds: `test_search`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fhir_gateway.domain import predicate as plain
from fhir_gateway.domain.rendering import closer
from fhir_gateway.domain.search import Query, keys, parse, within
from fhir_gateway.domain.types import (
    All,
    Always,
    Any_,
    ByPerson,
    Confidential,
    Facts,
    Has,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Ref,
    Within,
)  # fmt: skip
from fhir_gateway.domain.view import view
from fhir_gateway.store import sqlite, sqlite_file, sqlite_index, sqlite_schema
from fhir_gateway.store import sqlite_query as sql
from fhir_gateway.store.base import Unavailable

from .making import MORNING
from .searches import POOLS, R4, SURGERY, Held, put, records
from .searches import World as Records


class World(Records):
    """Records in a store's own file, so that the statements over its own tables and indexes can be looked at."""

    def __init__(self, held: Held) -> None:
        super().__init__(held, [put(made, about) for made, about in held])
        self._folder = TemporaryDirectory()
        file = Path(self._folder.name) / "store.sqlite"

        async def fill() -> None:
            store = await sqlite.open(file, clock=lambda: MORNING)
            await self.into(store)
            await store.close()

        asyncio.run(fill())
        self.db = sqlite_file.connect(file)

    def put(self, rid: int, resource: dict[str, Any], facts: Facts) -> None:
        """Index this under the number of another that is there."""
        sqlite_index.index(self.db.cursor(), rid, facts.type, facts.patients[0] if facts.patients else None, keys(resource, R4, view(resource), closer(view(resource), SURGERY)), facts)

    def rows(self, query: Query, may: Predicate, filtered: Predicate, count: int = 1000, after: Any = None) -> list[Any]:
        return self.db.execute(*sql.select(query, may, filtered, count, after)).fetchall()

    def found(self, query: Query, may: Predicate, filtered: Predicate) -> list[str]:
        return [f"{row[0]}/{row[1]}" for row in self.rows(query, may, filtered)]

    def total(self, query: Query, may: Predicate, filtered: Predicate) -> int:
        return int(self.db.execute(*sql.count_sql(query, may, filtered)).fetchall()[0][0])

    def plan(self, query: Query, may: Predicate, filtered: Predicate = Always(), after: Any = None) -> list[str]:
        text, params = sql.select(query, may, filtered, 51, after)
        return [row[3] for row in self.db.execute("EXPLAIN QUERY PLAN " + text, params)]


# -- random predicates -------------------------------------------------------------------------------------------------


def world(r: random.Random, size: int) -> World:
    return World(records(r, size))


def predicate(r: random.Random, depth: int = 3) -> Predicate:
    way = r.random()
    if depth and way < 0.15:
        return by_person(r, depth)
    if depth and way < 0.55:
        parts = tuple(predicate(r, depth - 1) for _ in range(r.randint(0, 3)))
        return r.choice([All(parts), Any_(parts), Not(parts[0]) if parts else Always(), Any_(parts)])
    field = r.choice(sorted(POOLS))
    values = frozenset(v for v in POOLS[field] if r.random() < 0.6)
    day = lambda: r.choice([None, 0, 3, 4, 5, 1_700_000_000_000_000, 1_700_200_000_000_000])  # noqa: E731
    return r.choice([
        Has(field, values), Only(field, values), Has("patient", frozenset({f"Patient/{r.randint(1, 4)}"})),
        Confidential(r.choice(["<=", ">="]), r.randint(0, 5)), Within(day(), day()), Overlaps(day(), day()), Always(), Never(),
    ])  # fmt: skip


def by_person(r: random.Random, depth: int = 3) -> ByPerson:
    """Some of the people, each in one of up to four groups."""
    groups: dict[int, set[str]] = {}
    for person in r.sample(POOLS["patient"], r.randint(2, len(POOLS["patient"]))):
        groups.setdefault(r.randint(1, 4), set()).add(person)
    return ByPerson(tuple((frozenset(people), predicate(r, depth - 1)) for people in groups.values()))


@pytest.mark.parametrize("seed", range(8))
def test_what_people_permit_by_group_is_found_and_counted_as_in_python(seed: int) -> None:
    """One shape with other values for each, several records, what a place in a record tells and what it does not."""
    r = random.Random(100 + seed)
    here = world(r, 15)
    if seed % 2:  # a file of before: nothing is told
        here.db.execute("UPDATE member SET lacks = lacks & 511" if seed % 4 == 1 else "UPDATE member SET lacks = 0")
    nobodys = All((Only("patient", frozenset()), Has("type", frozenset({"Organization"}))))
    for n in range(150):
        asked: Predicate = by_person(r)
        if n % 3 == 1:
            code = lambda: Has("code", frozenset(r.sample(POOLS["code"], 1)))  # noqa: E731
            asked = ByPerson(tuple((people, Any_((code(), Not(Has("id", frozenset(r.sample(POOLS["id"], 2))))))) for people, _ in asked.groups))
        if n % 2:
            asked = Any_((nobodys, asked)) if n % 4 == 1 else All((Not(nobodys), asked))
        for query in (Query(()), Query(("Goal",)), Query(("CarePlan", "Goal"))):
            want = sorted((f.type, f.id) for _, f in here.held if plain.matches(asked, f) and (not query.types or f.type in query.types))
            assert here.found(query, asked, Never()) == [f"{type}/{id}" for type, id in want], asked
            assert here.total(query, asked, Never()) == len(want), asked
            pages, after = [], None
            while rows := here.rows(query, asked, Never(), 2, after):
                pages += [(row[0], row[1]) for row in rows]
                after = sql.position(rows[-1])
            assert pages == want, asked


@pytest.mark.parametrize("seed", range(8))
def test_a_predicate_in_sql_is_the_predicate_in_python_and_never_null(seed: int) -> None:
    r = random.Random(seed)
    here = world(r, 15)
    for _ in range(150):
        asked = predicate(r, 4)
        for said in (asked, Not(asked)):  # together they are everything: it is never NULL
            assert set(here.found(Query(()), said, Never())) == {f"{f.type}/{f.id}" for _, f in here.held if plain.matches(said, f)}, said


def test_who_is_referred_to_by_what() -> None:
    r = random.Random(5)
    here = world(r, 6)
    for asked, test in (
        (Has("referred_by", frozenset({"CarePlan/1", "Goal/2"})), lambda by: bool(by & {"CarePlan/1", "Goal/2"})),
        (Only("referred_by", frozenset({"CarePlan/1", "Goal/2"})), lambda by: by <= {"CarePlan/1", "Goal/2"}),
        (Only("referred_by", frozenset()), lambda by: not by),
    ):
        got = set(here.found(Query(()), asked, Never()))
        want = set()
        for _, f in here.held:
            me = f"{f.type}/{f.id}"
            if test({f"{o.type}/{o.id}" for _, o in here.held if me in o.refs}):
                want.add(me)
        assert got == want, asked


def test_writing_again_leaves_no_row_of_before_and_removing_leaves_none() -> None:
    r = random.Random(3)
    here, there = world(r, 5), world(random.Random(4), 5)
    tables = {"key": "rid, name, n", "acl": "rid, field, value", "member": "patient, type, id", "tie": "who, patient, rid"}

    def dump(w: World) -> dict[str, list[Any]]:
        return {t: w.db.execute(f"SELECT * FROM {t} ORDER BY {by}").fetchall() for t, by in tables.items()}

    for rid, (made, about) in enumerate(there.held, 1):
        sqlite_index.unindex(here.db.cursor(), rid)
        here.put(rid, made, about)
    assert dump(here) == dump(there)
    for rid in range(1, len(here.held) + 1):
        sqlite_index.unindex(here.db.cursor(), rid)
    assert not any(dump(here).values())


def test_whom_an_actor_may_know() -> None:
    here = world(random.Random(11), 20)
    for ids in ({"Practitioner/1"}, {"Organization/1", "Goal/1"}, {"nobody"}, set()):
        rows = here.db.execute(*sql.concerned_sql(ids)).fetchall()
        want = {
            p for _, f in here.held for p in f.patients
            if ids & (f.authors | (f.refs if f.type in sqlite_index.TYING else frozenset()))
        }  # fmt: skip
        assert sorted(row[0] for row in rows) == sorted(want)


# -- shapes and plans -------------------------------------------------------------------------------------------------


def _may(*people: str) -> Predicate:
    """As a professional's consent predicate looks: the directory, or these people's records up to normal."""
    everyone = frozenset(people)
    return Any_((
        All((Only("patient", frozenset()), Has("type", frozenset({"Questionnaire", "Organization"})))),
        All((
            Has("patient", everyone), Only("patient", everyone), Only("legal", frozenset()), Not(Has("label", frozenset({"l1"}))),
            Any_((Confidential("<=", 3), Has("author", frozenset({"Practitioner/1"})))),
        )),
    ))  # fmt: skip


TEAM = tuple(f"Patient/{n}" for n in range(200))
SELF = Has("patient", frozenset({"Patient/1"}))
STORY: list[tuple[str, list[tuple[str, str]], Predicate]] = [
    ("CarePlan", [("patient", "1")], _may("Patient/1")),
    ("CarePlan", [("patient", "1"), ("category", "http://s/1|a")], _may("Patient/1")),
    ("CarePlan", [("patient", "1"), ("_sort", "-date"), ("date", "ge2026")], _may("Patient/1")),
    ("Goal", [("subject", "Patient/1"), ("lifecycle-status:not", "completed")], SELF),
    ("Observation", [("subject:Patient", "1"), ("code", "http://s/1|a")], _may("Patient/1")),
    ("CarePlan", [("_id", "1")], _may("Patient/1")),
    ("CarePlan", [], _may(*TEAM)),
    ("CarePlan", [("status", "active"), ("_sort", "-_lastUpdated")], _may(*TEAM)),
    ("CarePlan", [("goal", "Goal/1,Goal/2")], _may(*TEAM)),
    ("CarePlan", [("goal.target-date", "2026")], _may(*TEAM)),
    ("CarePlan", [("subject:Patient.identifier", "http://nhs|1")], Always()),
    ("CarePlan", [("subject:Patient.identifier", "http://nhs|1")], _may(*TEAM)),
    ("CarePlan", [("category", "a")], Always()),
    ("CarePlan", [], Always()),
    ("CarePlan", [("_sort", "_lastUpdated")], Always()),
    ("Patient", [("identifier", "http://nhs|1")], Always()),
    ("Patient", [("identifier", "http://nhs|1"), ("family", "ann"), ("birthdate", "1950-04-03")], _may(*TEAM)),
    ("Patient", [("name", "ann")], Always()),
    ("Patient", [("_has:CarePlan:patient:category", "a")], _may(*TEAM)),
    ("Patient", [("_has:CarePlan:patient:_id", "1")], Always()),
    ("Observation", [("date", "gt2026")], Always()),
    ("Organization", [("name", "x")], _may(*TEAM)),
    ("", [("_id", "1")], _may(*TEAM)),
    ("", [("_lastUpdated", "gt2026")], _may(*TEAM)),
    ("Observation", [("value-quantity", "gt5||mg"), ("patient", "1")], _may(*TEAM)),
    ("Observation", [("code:text", "ann"), ("_sort", "-date,code")], _may(*TEAM)),
    ("Patient", [("name:contains", "n"), ("_sort", "name")], _may(*TEAM)),
    ("CarePlan", [("status:not", "active"), ("date:missing", "true")], _may(*TEAM)),
    ("CarePlan", [("instantiates-uri:below", "http://x.org")], Always()),
    ("CarePlan", [("_security", "http://s|R")], _may(*TEAM)),
    ("Patient", [("_has:Goal:patient:_has:CarePlan:goal:status", "active")], _may(*TEAM)),
    ("Goal", [("patient.general-practitioner:Practitioner.identifier", "http://p|1")], _may(*TEAM)),
    ("CarePlan", [("subject:identifier", "http://nhs|1")], _may(*TEAM)),
    ("CarePlan", [], All((Has("ref", frozenset({"Goal/1"})), _may(*TEAM)))),
]
INSIDE = [  # compartments, and what a sign-in allows
    ("Patient/1", "Observation", SELF), ("Practitioner/1", "Observation", _may(*TEAM)), ("Practitioner/1", "", _may(*TEAM)), ("Practitioner/1", "Observation", Always()),
]


@pytest.mark.parametrize(("type", "params", "may"), STORY, ids=[f"{t}?{p}" for t, p, _ in STORY])
def test_no_search_of_the_story_reads_a_whole_table(
    type: str, params: list[tuple[str, str]], may: Predicate, big: World
) -> None:
    reads_no_whole_table(parse(type or None, params, R4), may, big)


@pytest.mark.parametrize(("whose", "type", "may"), INSIDE, ids=[f"{w}/{t}" for w, t, _ in INSIDE])
def test_no_search_of_a_compartment_reads_a_whole_table(whose: str, type: str, may: Predicate, big: World) -> None:
    types = (type,) if type else tuple(t for t in R4.types if R4.compartment_params(whose.split("/")[0], t))
    reads_no_whole_table(Query(types, (within(Ref(*whose.split("/")), types, R4),)), may, big)


def reads_no_whole_table(query: Query, may: Predicate, big: World) -> None:
    for filtered in (Always(), Never(), Has("patient", frozenset({"Patient/1"}))):
        for text, values in (sql.select(query, may, filtered, 51, None), sql.count_sql(query, may, filtered)):
            plan = [row[3] for row in big.db.execute("EXPLAIN QUERY PLAN " + text, values)]
            scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] not in ("p", "h", "json_each", "CONSTANT")]
            assert not scans, plan
            assert any(step.startswith("SEARCH") for step in plan)


def test_one_persons_record_is_read_in_order_without_sorting(big: World) -> None:
    or_beside = Any_((_may("Patient/1"), All((SELF, Not(Only("patient", frozenset({"Patient/1"})))))))  # as the gate asks
    for query in (parse("CarePlan", [("patient", "1"), ("category", "a")], R4), Query(())):
        for may, after in ((All((SELF, _may("Patient/1"))), None), (All((SELF, _may("Patient/1"))), ("CarePlan", "3")), (or_beside, None)):
            if may is or_beside and not query.types:
                continue  # the directory is nobody's
            plan = big.plan(query, may, after=after)
            assert not any("TEMP B-TREE" in step for step in plan), plan
            assert any("m USING PRIMARY KEY (patient=?" in step for step in plan), plan


@pytest.fixture(scope="module", params=["as made", "analysed"])
def big(request: pytest.FixtureRequest) -> World:
    """With what the planner knows of a new file, and with what ANALYZE tells it."""
    made = world(random.Random(1), 150)
    if request.param == "analysed":
        made.db.execute("ANALYZE")
    return made


def test_a_file_of_an_older_program_is_brought_up_to_date(tmp_path: Path) -> None:
    file, steps = tmp_path / "old.sqlite", sqlite_schema.STEPS
    for known in range(1, len(steps) + 1):
        db = sqlite_file.connect(file)
        sqlite_schema.migrate(db, steps[:known])
        assert db.pragma("user_version") == known
        db.close()
    asked = "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2"
    fresh = sqlite_file.connect(tmp_path / "new.sqlite")
    sqlite_schema.migrate(fresh)
    old = sqlite_file.connect(file)
    assert old.execute(asked).fetchall() == fresh.execute(asked).fetchall() != []
    with pytest.raises(Unavailable, match="newer"):
        sqlite_schema.migrate(old, steps[:-1])


def test_the_same_shape_is_the_same_statement() -> None:
    def text(person: str, code: str, after: Any = None) -> str:
        query = parse("CarePlan", [("patient", person), ("category", code)], R4)
        return sql.select(query, _may(f"Patient/{person}"), Always(), 51, after)[0]

    assert text("1", "a") == text("2", ["http://elsewhere", "b"][1])
    assert text("1", "a", ("CarePlan", "x")) == text("2", "b", ("CarePlan", "y"))
    team = [sql.select(parse("Goal", [], R4), _may(*TEAM[:n]), Always(), 51, None)[0] for n in (9, 50, 200)]
    assert len(set(team)) == 1
    each = [sql.select(parse("Goal", [], R4), _choosy(*TEAM[:n]), Always(), 51, None)[0] for n in (30, 31)]
    assert abs(len(each[0]) - len(each[1])) < 100 and len(each[0]) < 10_000  # one condition, however many said something of their own


def _choosy(*people: str) -> Predicate:
    return ByPerson(tuple((frozenset({p}), All((Only("legal", frozenset()), Not(Has("id", frozenset({f"Goal/{p[-3:]}"})))))) for p in people))


def test_a_predicate_of_two_thousand_shapes_is_still_a_statement() -> None:
    here = world(random.Random(2), 5)
    many = Any_(tuple(All((Has("patient", frozenset({f"Patient/{n}"})), Confidential("<=", n % 6))) for n in range(1, 2001)))
    query = parse("CarePlan", [], R4)
    assert here.found(query, many, Always()) == here.expected(query, many, Always()) != []
