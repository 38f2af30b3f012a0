"""The SQL of search against its plain specification: random resources, queries, readers; pages, totals, order, plans."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pytest

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain import predicate as plain
from fhir_gateway.domain.search import Query, arranged, keys, matches, parse
from fhir_gateway.domain.types import (
    CONFIDENTIALITY,
    All,
    Always,
    Any_,
    Confidential,
    Facts,
    Has,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Within,
)  # fmt: skip
from fhir_gateway.domain.view import view
from fhir_gateway.store import sqlite_query as sql

R4 = load_r4()
RESOURCE = """
CREATE TABLE resource(
  rid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER, patient TEXT, updated INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0, conf INTEGER, d0 INTEGER, d1 INTEGER, body BLOB, view BLOB, facts BLOB, writer BLOB,
  created_by TEXT, UNIQUE(type, id));
CREATE INDEX resource_patient ON resource(patient, type, deleted);
CREATE INDEX resource_type_updated ON resource(type, deleted, updated, id);
CREATE TABLE epoch(subject TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
SENS = ("PSY", "SUD", "HIV", "STD")


class World:
    """A few resources in a database and in a list, and both ways of asking."""

    def __init__(self, held: list[tuple[dict[str, Any], Facts]]) -> None:
        self.held = held
        self.db = apsw.Connection(":memory:")
        self.db.execute(RESOURCE + sql.KEY_SCHEMA)
        for rid, (resource, facts) in enumerate(held, 1):
            self.put(rid, resource, facts)

    def put(self, rid: int, resource: dict[str, Any], facts: Facts) -> None:
        patient = facts.patients[0] if facts.patients else None
        conf = CONFIDENTIALITY[facts.confidentiality]
        self.db.execute(
            "INSERT OR REPLACE INTO resource VALUES (?,?,?,1,?,?,0,?,?,?,?,?,x'',x'','')",
            (rid, facts.type, facts.id, patient, facts.updated, conf, facts.low, facts.high, json.dumps(resource).encode(), b""),
        )
        sql.index(self.db.cursor(), rid, facts.type, patient, keys(resource, R4, view(resource)), facts)

    def rows(self, query: Query, may: Predicate, filtered: Predicate, count: int = 1000, after: Any = None) -> list[Any]:
        return self.db.execute(*sql.select(query, may, filtered, count, after)).fetchall()

    def found(self, query: Query, may: Predicate, filtered: Predicate) -> list[str]:
        return [f"{row[0]}/{row[1]}" for row in self.rows(query, may, filtered)]

    def paged(self, query: Query, may: Predicate, filtered: Predicate, size: int) -> list[str]:
        out: list[str] = []
        after = None
        while True:
            rows = self.rows(query, may, filtered, size, after)
            out += [f"{row[0]}/{row[1]}" for row in rows]
            if len(rows) < size:
                return out
            after = tuple(json.loads(json.dumps(sql.position(rows[-1]))))  # as a page link carries it

    def total(self, query: Query, may: Predicate, filtered: Predicate) -> int:
        return int(self.db.execute(*sql.count_sql(query, may, filtered)).fetchall()[0][0])

    def expected(self, query: Query, may: Predicate, filtered: Predicate) -> list[str]:
        facts_of = {id(r): f for r, f in self.held}
        seen = [r for r, f in self.held if plain.matches(may, f)]

        def of_view(resource: dict[str, Any]) -> bool:
            return plain.matches(filtered, facts_of[id(resource)])

        def lookup(type: str, name: str) -> Iterator[tuple[dict[str, Any], bool]]:
            return ((r, of_view(r)) for r in seen if r["resourceType"] == type and name in ("", r["id"]))

        hits = [r for r in seen if matches(query, r, filtered=of_view(r), r4=R4, lookup=lookup)]
        return [f"{r['resourceType']}/{r['id']}" for r in arranged(query, hits, filtered=of_view, r4=R4)]

    def plan(self, query: Query, may: Predicate, filtered: Predicate = Always(), after: Any = None) -> list[str]:
        text, params = sql.select(query, may, filtered, 51, after)
        return [row[3] for row in self.db.execute("EXPLAIN QUERY PLAN " + text, params)]


# -- random worlds ----------------------------------------------------------------------------------------------------

CODES = ("a", "b", "c")
SYSTEMS = ("http://s/1", "http://s/2", None)
NAMES = ("Ann", "Änne", "ANN  Lee", "Bob", "O'Hara", "Zoë", "日本")
DATES = ("2026", "2026-03", "2026-03-29", "2026-03-29T01:30:00Z", "2026-03-29T01:30:00.5+01:00", "2025-12-31T23:59:59Z", "2026-10-25")
NUMBERS = ("1", "1.0", "1.04", "0.95", "2", "-3.5", "100")


def concept(r: random.Random) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if r.random() < 0.9:
        out["coding"] = [coding(r) for _ in range(r.randint(1, 2))]
    if not out or r.random() < 0.4:
        out["text"] = r.choice(NAMES)
    return out


def coding(r: random.Random) -> dict[str, Any]:
    out = {"code": r.choice(CODES), "system": r.choice(SYSTEMS), "display": r.choice((*NAMES, None))}
    return {k: v for k, v in out.items() if v is not None}


def reference(r: random.Random, *types: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    way = r.random()
    if way < 0.85:
        out["reference"] = f"{r.choice(types)}/{r.randint(1, 4)}"
        if r.random() < 0.1:
            out["reference"] += "/_history/2"
    if way >= 0.85 or r.random() < 0.3:
        out["identifier"] = {"system": "http://nhs", "value": str(r.randint(1, 3))}
    if r.random() < 0.3:
        out["display"] = r.choice(NAMES)
    return out


def period(r: random.Random) -> dict[str, Any]:
    out = {k: r.choice(DATES) for k in ("start", "end") if r.random() < 0.8}
    return out or {"start": "2026"}


def some(r: random.Random, chance: float, make: Callable[[], Any]) -> Any:
    return make() if r.random() < chance else None


def resource(r: random.Random, type: str, id: str) -> dict[str, Any]:
    out: dict[str, Any] = {"resourceType": type, "id": id}
    match type:
        case "Patient":
            out["name"] = some(r, 0.9, lambda: [{"family": r.choice(NAMES), "given": [r.choice(NAMES)]}])
            out["gender"] = some(r, 0.8, lambda: r.choice(["male", "female"]))
            out["birthDate"] = some(r, 0.8, lambda: r.choice(["1950", "1950-04", "1950-04-03"]))
            out["identifier"] = some(r, 0.5, lambda: [{"system": "http://nhs", "value": str(r.randint(1, 3)), "type": {"coding": [coding(r)]}}])
            out["generalPractitioner"] = some(r, 0.5, lambda: [reference(r, "Practitioner", "Organization")])
        case "CarePlan":
            out["subject"] = reference(r, "Patient", "Patient", "Group")
            out["status"] = r.choice(["active", "revoked"])
            out["category"] = some(r, 0.8, lambda: [concept(r) for _ in range(r.randint(1, 2))])
            out["goal"] = some(r, 0.7, lambda: [reference(r, "Goal") for _ in range(r.randint(1, 3))])
            out["period"] = some(r, 0.7, lambda: period(r))
            out["instantiatesUri"] = some(r, 0.4, lambda: [r.choice(["http://x.org/a", "http://x.org/a/b", "http://x.org/ab"])])
        case "Goal":
            out["subject"] = reference(r, "Patient")
            out["lifecycleStatus"] = r.choice(["active", "completed"])
            out["startDate"] = some(r, 0.6, lambda: r.choice(DATES[:3]))
            out["target"] = some(r, 0.5, lambda: [{"dueDate": r.choice(DATES[:3])} for _ in range(2)])
            out["description"] = concept(r)
        case "Observation":
            out["subject"] = some(r, 0.9, lambda: reference(r, "Patient"))
            out["code"] = concept(r)
            value = r.random()
            if value < 0.6:
                q = {"value": float(r.choice(NUMBERS)), "code": r.choice(["mg", None]), "unit": r.choice(["mg", "milligram", None]), "system": r.choice(["http://u", None])}
                out["valueQuantity"] = {k: v for k, v in q.items() if v is not None}
            elif value < 0.8:
                out["valueString"] = r.choice(NAMES)
            out["effectiveDateTime"] = some(r, 0.6, lambda: r.choice(DATES))
            out["performer"] = some(r, 0.5, lambda: [reference(r, "Practitioner", "Patient")])
    return {k: v for k, v in out.items() if v is not None}


TYPES = ("Patient", "CarePlan", "Goal", "Observation")


def world(r: random.Random, size: int) -> World:
    held = []
    for type in TYPES:
        for n in range(1, (4 if type == "Patient" else size) + 1):
            made = resource(r, type, str(n))
            updated = 1_700_000_000_000_000 + r.randint(0, 5) * 86_400_000_000 + r.randint(0, 999) * 1000
            made["meta"] = {"lastUpdated": iso(updated)}
            held.append((made, facts(r, made, updated)))
    return World(held)


def iso(us: int) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def facts(r: random.Random, made: dict[str, Any], updated: int) -> Facts:
    type, id = made["resourceType"], made["id"]
    people = (f"Patient/{id}",) if type == "Patient" else tuple(f"Patient/{n}" for n in r.sample(range(1, 5), r.choice([0, 1, 1, 1, 2])))
    low, high = r.choice([(None, None), (0, 5), (3, 3), (None, 4), (4, None)])
    pick = lambda *values: frozenset(v for v in values if r.random() < 0.4)  # noqa: E731
    return Facts(
        type, id, people, r.choice("ULMNRV"), pick(*SENS), pick("l1"), pick("HFEA"), pick("p1", "p2"), pick("s|a", "s|b"),
        pick("Practitioner/1", "Organization/1"), r.choice([None, "Organization/1"]), r.choice([None, "http://src"]),
        pick("Goal/1", "Goal/2", "Patient/1"), low=low, high=high, updated=updated,
    )  # fmt: skip


def predicate(r: random.Random, depth: int = 3) -> Predicate:
    way = r.random()
    if depth and way < 0.55:
        parts = tuple(predicate(r, depth - 1) for _ in range(r.randint(0, 3)))
        return r.choice([All(parts), Any_(parts), Not(parts[0]) if parts else Always(), Any_(parts)])
    field = r.choice(["patient", "type", "id", "profile", "sens", "label", "legal", "code", "author", "custodian", "source", "ref"])
    pools: dict[str, tuple[str, ...]] = {
        "patient": tuple(f"Patient/{n}" for n in range(1, 5)), "type": TYPES, "id": ("Goal/1", "CarePlan/2"), "profile": ("p1", "p2"),
        "sens": SENS, "label": ("l1",), "legal": ("HFEA",), "code": ("s|a", "s|b"), "author": ("Practitioner/1", "Organization/1"),
        "custodian": ("Organization/1",), "source": ("http://src",), "ref": ("Goal/1", "Goal/2"),
    }  # fmt: skip
    values = frozenset(v for v in pools[field] if r.random() < 0.6)
    day = lambda: r.choice([None, 0, 3, 4, 5, 1_700_000_000_000_000, 1_700_200_000_000_000])  # noqa: E731
    return r.choice([
        Has(field, values), Only(field, values), Has("patient", frozenset({f"Patient/{r.randint(1, 4)}"})),
        Confidential(r.choice(["<=", ">="]), r.randint(0, 5)), Within(day(), day()), Overlaps(day(), day()), Always(), Never(),
    ])  # fmt: skip


SEARCHES: dict[str, tuple[Callable[[random.Random], tuple[str, str]], ...]] = {
    "Patient": (
        lambda r: ("name" + r.choice(["", ":exact", ":contains"]), r.choice(NAMES)),
        lambda r: ("family", r.choice(["ann", "o", "z", "zoe", "Ann,Bob"])),
        lambda r: ("gender" + r.choice(["", ":not"]), r.choice(["male", "female", "male,female", "http://hl7.org/fhir/administrative-gender|male"])),
        lambda r: ("birthdate", r.choice(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]) + r.choice(["1950", "1950-04", "1950-04-03"])),
        lambda r: ("identifier", r.choice(["1", "http://nhs|2", "http://nhs|", "|1", "1,2,3,http://nhs|3"])),
        lambda r: ("identifier:of-type", f"http://s/1|{r.choice(CODES)}|{r.randint(1, 3)}"),
        lambda r: ("general-practitioner", r.choice(["Practitioner/1", "Organization/2,Practitioner/3", "2"])),
        lambda r: (f"_has:{r.choice(['CarePlan', 'Goal', 'Observation'])}:patient:_id", str(r.randint(1, 3))),
        lambda r: ("_has:CarePlan:subject:category", r.choice(CODES)),
        lambda r: ("_has:Observation:performer:code", r.choice(CODES)),
        lambda r: ("birthdate:missing", r.choice(["true", "false"])),
    ),
    "CarePlan": (
        lambda r: ("patient", r.choice(["1", "Patient/2", "1,2,3"])),
        lambda r: (r.choice(["subject", "subject:Patient", "subject:Group"]), r.choice(["1", "2,3"])),
        lambda r: ("subject:identifier", r.choice(["1", "http://nhs|2", "|3", "http://nhs|"])),
        lambda r: ("status" + r.choice(["", ":not"]), r.choice(["active", "revoked"])),
        lambda r: ("category" + r.choice(["", ":not"]), r.choice(["a", "http://s/1|a", "|b", "http://s/2|", "a,b", "http://s/1|a,http://s/2|c"])),
        lambda r: ("category:text", r.choice(["ann", "zo", "日"])),
        lambda r: ("goal", r.choice(["Goal/1", "2", "Goal/1,Goal/3"])),
        lambda r: ("goal:identifier", r.choice(["1", "http://nhs|2"])),
        lambda r: (f"{r.choice(['goal', 'subject', 'category', 'date'])}:missing", r.choice(["true", "false"])),
        lambda r: ("date", r.choice(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]) + r.choice(DATES)),
        lambda r: ("instantiates-uri" + r.choice(["", ":below", ":above"]), r.choice(["http://x.org/a", "http://x.org/a/b/c", "http://x.org"])),
        lambda r: ("subject:Patient.name", r.choice(["ann", "bob"])),
        lambda r: ("patient.gender", "male"),
        lambda r: ("goal.target-date", r.choice(["2026", "ge2026-03"])),
        lambda r: ("goal.patient.name", r.choice(["ann", "o"])),
        lambda r: ("subject:Patient._has:Goal:patient:lifecycle-status", "active"),
    ),
    "Goal": (
        lambda r: ("patient", str(r.randint(1, 4))),
        lambda r: ("lifecycle-status", r.choice(["active", "completed,active"])),
        lambda r: ("target-date", r.choice(["", "ne", "gt", "le", "sa"]) + r.choice(DATES[:3])),
        lambda r: ("start-date:missing", r.choice(["true", "false"])),
        lambda r: ("_has:CarePlan:goal:status", "active"),
    ),
    "Observation": (
        lambda r: ("code", r.choice(["a", "http://s/1|b", "a,c"])),
        lambda r: ("value-quantity", r.choice(["", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]) + r.choice(NUMBERS) + r.choice(["", "||mg", "|http://u|mg"])),
        lambda r: ("value-string", r.choice(["ann", "o"])),
        lambda r: ("code-value-quantity", r.choice(["a", "http://s/1|b"]) + "$" + r.choice(["", "gt", "le"]) + r.choice(NUMBERS) + r.choice(["", "||mg"])),
        lambda r: ("code-value-string", "a$an"),
        lambda r: ("performer", r.choice(["1", "Practitioner/2"])),
        lambda r: ("date", r.choice(["", "ge", "lt"]) + r.choice(DATES)),
    ),
}  # fmt: skip
ANY = (
    lambda r: ("_id" + r.choice(["", ":not"]), r.choice(["1", "1,2", "3"])),
    lambda r: ("_lastUpdated", r.choice(["", "gt", "le", "eb"]) + r.choice(["2023-11-15", "2023-11", "2023-11-16T22:13:20Z"])),
)
SORTS = {
    "Patient": ("name", "birthdate", "gender"), "CarePlan": ("date", "category", "subject"), "Goal": ("target-date", "start-date"),
    "Observation": ("value-quantity", "code", "date"),
}  # fmt: skip


def query(r: random.Random) -> Query:
    type = r.choice(TYPES)
    params = [r.choice((*SEARCHES[type], *SEARCHES[type], *ANY))(r) for _ in range(r.choice([0, 1, 1, 2, 3]))]
    if r.random() < 0.6:
        names = r.sample((*SORTS[type], "_lastUpdated", "_id"), r.randint(1, 2))
        params.append(("_sort", ",".join(r.choice(["", "-"]) + n for n in names)))
    if r.random() < 0.15:
        named = [("_type", ",".join(r.sample(TYPES, r.randint(1, 3))))] if r.random() < 0.8 else []
        return parse(None, [*named, *([r.choice(ANY)(r)] if r.random() < 0.5 else [])], R4)
    return parse(type, params, R4)


def filter_of(r: random.Random) -> Predicate:
    return r.choice([Always(), Never(), predicate(r, 1)])


@pytest.mark.parametrize("seed", range(40))
def test_the_sql_finds_what_the_specification_finds(seed: int) -> None:
    _same(seed, 12, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_the_sql_finds_what_the_specification_finds_on_many_worlds(seed: int) -> None:
    _same(seed, 25, 150)


def _same(seed: int, size: int, queries: int) -> None:
    r = random.Random(seed)
    here = world(r, size)
    found = 0
    for _ in range(queries):
        asked, may, filtered = query(r), r.choice([predicate(r), Always(), Always()]), filter_of(r)
        expected = here.expected(asked, may, filtered)
        said = (asked.used, may, filtered)
        assert here.found(asked, may, filtered) == expected, said
        assert here.paged(asked, may, filtered, r.randint(1, 5)) == expected, said
        assert here.total(asked, may, filtered) == len(expected), said
        found += len(expected)
    assert found > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_predicate_in_sql_is_the_predicate_in_python_and_never_null(seed: int) -> None:
    r = random.Random(seed)
    here = world(r, 15)
    for _ in range(150):
        asked = predicate(r, 4)
        text, params = sql.compile_predicate(asked)
        rows = here.db.execute(f"SELECT r.type, r.id, {text} FROM resource r", params).fetchall()
        assert {f"{t}/{i}": v for t, i, v in rows} == {f"{f.type}/{f.id}": int(plain.matches(asked, f)) for _, f in here.held}, asked


def test_who_is_referred_to_by_what() -> None:
    r = random.Random(5)
    here = world(r, 6)
    for asked, test in (
        (Has("referred_by", frozenset({"CarePlan/1", "Goal/2"})), lambda by: bool(by & {"CarePlan/1", "Goal/2"})),
        (Only("referred_by", frozenset({"CarePlan/1", "Goal/2"})), lambda by: by <= {"CarePlan/1", "Goal/2"}),
        (Only("referred_by", frozenset()), lambda by: not by),
    ):
        text, params = sql.compile_predicate(asked)
        got = {f"{t}/{i}" for t, i in here.db.execute(f"SELECT r.type, r.id FROM resource r WHERE {text}", params)}
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
        sql.unindex(here.db.cursor(), rid)
        here.put(rid, made, about)
    assert dump(here) == dump(there)
    for rid in range(1, len(here.held) + 1):
        sql.unindex(here.db.cursor(), rid)
    assert not any(dump(here).values())


def test_whom_an_actor_may_know() -> None:
    here = world(random.Random(11), 20)
    for ids in ({"Practitioner/1"}, {"Organization/1", "Goal/1"}, {"nobody"}, set()):
        rows = here.db.execute(*sql.concerned_sql(ids)).fetchall()
        want = {
            p for _, f in here.held for p in f.patients
            if ids & (f.authors | (f.refs if f.type in sql.TYING else frozenset()))
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
]


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize(("type", "params", "may"), STORY, ids=[f"{t}?{p}" for t, p, _ in STORY])
def test_no_search_of_the_story_reads_a_whole_table(
    type: str, params: list[tuple[str, str]], may: Predicate, analysed: bool, big: World
) -> None:
    if analysed:
        big.db.execute("ANALYZE")
    for filtered in (Always(), Never(), Has("patient", frozenset({"Patient/1"}))):
        for text, values in (
            sql.select(parse(type or None, params, R4), may, filtered, 51, None),
            sql.count_sql(parse(type or None, params, R4), may, filtered),
        ):  # fmt: skip
            plan = [row[3] for row in big.db.execute("EXPLAIN QUERY PLAN " + text, values)]
            scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] not in ("p", "h", "json_each", "CONSTANT")]
            assert not scans, plan
            assert any(step.startswith("SEARCH") for step in plan)


def test_one_persons_record_is_read_in_order_without_sorting(big: World) -> None:
    for query in (parse("CarePlan", [("patient", "1"), ("category", "a")], R4), Query(())):
        for after in (None, ("CarePlan", "3")):
            plan = big.plan(query, All((SELF, _may("Patient/1"))), after=after)
            assert not any("TEMP B-TREE" in step for step in plan), plan
            assert any("m USING PRIMARY KEY (patient=?" in step for step in plan), plan


@pytest.fixture(scope="module")
def big() -> World:
    return world(random.Random(1), 150)


def test_the_same_shape_is_the_same_statement() -> None:
    def text(person: str, code: str, after: Any = None) -> str:
        query = parse("CarePlan", [("patient", person), ("category", code)], R4)
        return sql.select(query, _may(f"Patient/{person}"), Always(), 51, after)[0]

    assert text("1", "a") == text("2", ["http://elsewhere", "b"][1])
    assert text("1", "a", ("CarePlan", "x")) == text("2", "b", ("CarePlan", "y"))
    team = [sql.select(parse("Goal", [], R4), _may(*TEAM[:n]), Always(), 51, None)[0] for n in (9, 50, 200)]
    assert len(set(team)) == 1


def test_a_predicate_of_two_thousand_shapes_is_still_a_statement() -> None:
    here = world(random.Random(2), 5)
    many = Any_(tuple(All((Has("patient", frozenset({f"Patient/{n}"})), Confidential("<=", n % 6))) for n in range(1, 2001)))
    query = parse("CarePlan", [], R4)
    assert here.found(query, many, Always()) == here.expected(query, many, Always()) != []


def test_an_empty_predicate_lets_nothing_through() -> None:
    here = world(random.Random(2), 5)
    for nothing in (Never(), Any_(()), Has("patient", frozenset()), All((Has("patient", frozenset()), Always()))):
        for type in TYPES:
            assert here.found(parse(type, [], R4), nothing, Never()) == []
            assert here.total(parse(type, [], R4), nothing, Never()) == 0


def test_text_that_looks_like_sql_is_text() -> None:
    here = world(random.Random(2), 5)
    for text in ("' OR 1=1 --", "%", "_", "\\", "a' , 'b", "\x00", "?1", "json_each"):
        for name in ("name", "name:contains", "identifier", "general-practitioner", "_id", "gender:not"):
            if text != "\x00" or name != "name":
                query = parse("Patient", [(name, text)], R4)
                assert here.found(query, Always(), Never()) == here.expected(query, Always(), Never())
