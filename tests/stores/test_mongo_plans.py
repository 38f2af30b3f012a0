"""Every shape of question has its index, asserted by `explain`.

A real server (MONGODB_URI) is asked for each shape as it is. The stand-in's planner uses one index for one condition, so it is
asked for a shape that is one equality or span as it is, and of the others for the conditions on indexed fields by themselves: what leads
the search near. The shapes are the table of docs/mongodb.md, which is held to this list and says which is asserted where.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_gateway.domain.search import parse
from fhir_gateway.domain.types import All, Always, Any_, Confidential, Has, Only, Predicate
from fhir_gateway.store import mongo, mongo_query, mongo_server

from .making import MORNING
from .mongo_server import REAL
from .searches import R4, World

DOC = Path(__file__).resolve().parents[2] / "docs/mongodb.md"
ANY, ONE = Always(), Has("patient", frozenset({"Patient/1"}))
TEAM = Any_((
    All((Only("patient", frozenset()), Has("type", frozenset({"Organization", "Questionnaire"})))),
    All((Has("patient", frozenset(f"Patient/{n}" for n in range(1, 60))), Confidential("<=", 3))),
))  # fmt: skip
PERSON, KEYS, NAME = "patients_1__id_1", "keys_1", "_id_"


def search(type: str, params: list[tuple[str, str]], may: Predicate = ANY, hops: set[str] | None = None) -> dict[str, Any]:
    query = parse(type or None, params, R4)
    said = mongo_query.where(
        query, mongo_query.allowed(may, query.types), {t: hops or set() for t in query.terms if t.chain is not None}, filtered=True
    )
    assert isinstance(said, dict)
    return said


# shape: (collection, filter, sort, indexes of which one serves it)
SHAPES: dict[str, tuple[str, dict[str, Any], str | None, set[str]]] = {
    "one person's resources of a type": ("resource", search("CarePlan", [], ONE), "_id", {PERSON}),
    "one person's, by a parameter": ("resource", search("CarePlan", [("category", "http://s/1|a")], ONE), "_id", {PERSON, KEYS}),
    "a caseload's resources of a type": ("resource", search("CarePlan", [], TEAM), "_id", {PERSON, NAME}),
    "a caseload's, by a parameter": ("resource", search("CarePlan", [("status", "active")], TEAM), "_id", {PERSON, KEYS, NAME}),
    "all of a type": ("resource", search("CarePlan", []), "_id", {NAME}),
    "token": ("resource", search("Patient", [("identifier", "http://nhs|1")]), "_id", {KEYS, NAME}),
    "several tokens": ("resource", search("Patient", [("identifier", "http://nhs|1,http://nhs|2")]), "_id", {KEYS, NAME}),
    "string, from its beginning": ("resource", search("Patient", [("name", "ann")]), "_id", {KEYS, NAME}),
    "string, exact": ("resource", search("Patient", [("name:exact", "Ann")]), "_id", {KEYS, NAME}),
    "reference": ("resource", search("CarePlan", [("goal", "Goal/1,Goal/2")]), "_id", {KEYS, NAME}),
    "identifier of a reference": ("resource", search("CarePlan", [("subject:identifier", "http://nhs|1")]), "_id", {KEYS, NAME}),
    "uri, below and above": ("resource", search("CarePlan", [("instantiates-uri:below", "http://x.org/a")]), "_id", {KEYS, NAME}),
    "date": ("resource", search("Observation", [("date", "2026-03")]), "_id", {KEYS, NAME}),
    "number, quantity": ("resource", search("Observation", [("value-quantity", "1.0||mg")]), "_id", {KEYS, NAME}),
    "composite": ("resource", search("Observation", [("code-value-quantity", "a$gt1")]), "_id", {KEYS, NAME}),
    "id": ("resource", search("CarePlan", [("_id", "1,2")]), "_id", {NAME, "id_1"}),
    "id, of any type": ("resource", search("", [("_id", "1")]), "_id", {"id_1", NAME}),
    "chain, once resolved": ("resource", search("CarePlan", [("subject:Patient.name", "ann")], ANY, {"Patient/1"}), "_id", {KEYS, NAME}),
    "`_has`, once resolved": ("resource", search("Patient", [("_has:CarePlan:subject:status", "active")], ANY, {"Patient/1"}), "_id", {NAME}),
    "last update": ("resource", {"updated": {"$gt": 1}}, None, {"updated_1"}),
    "who refers to it": ("resource", {"acl.ref": {"$eq": "Goal/1"}}, None, {"acl.ref_1"}),
    "a resource": ("resource", {"_id": {"$eq": "Goal/1"}}, None, {NAME}),
    "a version": ("version", {"_id": {"$eq": "Goal/1 0000000001"}}, None, {NAME}),
    "a resource's history": ("version", {"_id": {"$gte": "Goal/1 ", "$lt": "Goal/1!"}}, None, {NAME}),
    "a type's history": ("version", {"type_at": {"$gte": "Goal ", "$lt": "Goal!"}}, "type_at", {"type_at_1"}),
    "the whole history": ("version", {"at": {"$gte": "0"}}, "at", {"at_1"}),
    "a person's versions": ("version", {"patient": {"$eq": "Patient/1"}}, "_id", {"patient_1__id_1"}),
    "who looked at a person": ("audit", {"patient": {"$eq": "Patient/1"}}, "at", {"patient_1_at_1"}),
    "what somebody did": ("audit", {"user": {"$eq": "Practitioner/1"}}, "at", {"user_1_at_1"}),
    "a row of the trail": ("audit", {"id": {"$eq": "x"}}, None, {"id_1"}),
    "a sealed segment's rows": ("audit", {"seg": {"$eq": 7}}, "at", {"seg_1_at_1"}),
    "a named value": ("kept", {"_id": {"$eq": "jti x"}}, None, {NAME}),
    "values long over": ("kept", {"ends": {"$lt": 5}}, None, {"ends_1"}),
    "what is due at a remote": ("outbox", {"open": {"$eq": "hospital"}}, "_id", {"open_1__id_1"}),
    "entries in a state": ("outbox", {"remote": {"$eq": "hospital"}, "state": {"$eq": "parked"}}, "_id", {"remote_1_state_1__id_1"}),
    "a link from the other side": ("link", {"there": {"$eq": "hospital Goal/7"}}, None, {"there_1"}),
    "a person's disclosures": ("ledger", {"patient": {"$eq": "Patient/1"}}, None, {"patient_1_at_1"}),
    "people whom somebody may know": ("tie", {"$or": [{"_id": {"$gte": "Practitioner/1 ", "$lt": "Practitioner/1!"}}]}, None, {NAME}),
}
# What the stand-in's planner can show as it is: one plain equality, or one span of anything but names.
SHOWN = {
    name for name, (_, filter, _, _) in SHAPES.items()
    if len(filter) == 1 and all(isinstance(t, dict) and (set(t) == {"$eq"} or (f != "_id" and set(t) <= {"$gt", "$gte", "$lt"})) for f, t in filter.items())
}  # fmt: skip


def leads(filter: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What of a filter, by itself, an index of the stand-in's can be asked for: index name to condition."""
    parts = [{field: test} for field, test in filter.items() if field != "$and"] + filter.get("$and", [])
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        ((field, test),) = part.items()
        if field == "keys":
            found[KEYS] = {field: test.get("$elemMatch", test)}  # it does not look into $elemMatch: the same span, plainly
        elif field == "patients" and set(test) == {"$eq"}:
            found[PERSON] = {field: test["$eq"], "_id": filter["_id"]}  # it knows an equality of two fields by its short form
        elif field in ("id", "_id") and set(test) <= {"$eq", "$in"}:
            found["id_1" if field == "id" else NAME] = part
    return found


# What it can show of the other searches: the conditions that lead near.
LED = {
    (name, index): condition
    for name, (collection, filter, _, _) in SHAPES.items() if collection == "resource" and name not in SHOWN
    for index, condition in leads(filter).items()
}  # fmt: skip
SHOWN_BY = {
    name: "the stand-in, whole" if name in SHOWN else "the stand-in, what leads" if any(name == n for n, _ in LED) else "a real server"
    for name in SHAPES
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(mongo_server: Any) -> Iterator[Any]:
    import asyncio
    import secrets

    uri = mongo_server.uri(f"x{secrets.token_hex(6)}")

    async def fill() -> None:
        store = await mongo.open(uri, clock=lambda: MORNING)
        await World.of(4, 12).into(store)
        await store.close()

    asyncio.run(fill())
    with MongoClient(uri) as client:
        yield client.get_default_database()
        if REAL:
            client.drop_database(client.get_default_database().name)


def scans(plan: Any) -> tuple[set[str], set[str]]:
    """(stages, index names) anywhere in a plan."""
    stages: set[str] = set()
    indexes: set[str] = set()
    for key, value in plan.items() if isinstance(plan, dict) else []:
        if key == "stage":
            stages.add(value)
        elif key == "indexName":
            indexes.add(value)
        for inner in value if isinstance(value, list) else [value]:
            more = scans(inner)
            stages |= more[0]
            indexes |= more[1]
    return stages, indexes


@pytest.mark.parametrize("name", sorted(SHAPES) if REAL else sorted(SHOWN))
def test_a_shape_is_served_by_its_index(name: str, filled: Any) -> None:
    collection, filter, sort, expected = SHAPES[name]
    cursor = filled[collection].find(filter)
    plan = (cursor.sort(sort, 1) if sort else cursor).explain()["queryPlanner"]["winningPlan"]
    stages, indexes = scans(plan)
    assert "COLLSCAN" not in stages and indexes <= expected and (indexes or "IDHACK" in stages or "EXPRESS_IXSCAN" in stages), plan


@pytest.mark.parametrize(("name", "index"), sorted(LED))
def test_what_leads_a_search_near_is_served_by_its_index(name: str, index: str, filled: Any) -> None:
    stages, indexes = scans(filled.resource.find(LED[name, index]).explain()["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in stages and index in SHAPES[name][3]
    assert indexes == {index} or (index == NAME and not indexes and stages & {"IDHACK", "EXPRESS_IXSCAN"}), (stages, indexes)


def test_the_stand_in_shows_every_kind_of_parameter() -> None:
    for name in (
        "one person's resources of a type", "token", "several tokens", "string, from its beginning", "string, exact", "reference",
        "identifier of a reference", "date", "number, quantity", "composite", "id", "id, of any type", "chain, once resolved", "`_has`, once resolved",
    ):  # fmt: skip
        assert SHOWN_BY[name] == "the stand-in, what leads", name
    assert {index for name, index in LED if name == "one person's, by a parameter"} == {PERSON, KEYS}


def test_every_index_serves_a_shape_and_every_shape_has_one_that_is_made() -> None:
    made = {
        collection: {NAME, *("_".join(f"{f}_1" for f in fields) for fields, _ in several)} for collection, several in mongo_server.INDEXES.items()
    }  # fmt: skip
    for name, (collection, _, _, expected) in SHAPES.items():
        assert expected <= made[collection], name
    asked = {(collection, index) for collection, _, _, expected in SHAPES.values() for index in expected}
    spare = {("audit", "at_1"), ("ledger", "remote_1_at_1"), ("ledger", "open_1_at_1"), ("marker", "at_1")}  # the operator's lists; what forgets
    assert {(c, i) for c, several in made.items() for i in several if i != NAME} == {a for a in asked if a[1] != NAME} | spare


def test_the_page_names_every_shape_and_its_indexes() -> None:
    rows = {
        cells[1].strip(): cells for line in DOC.read_text().splitlines() if line.startswith("| ") and len(cells := line.split("|")) >= 5
    }  # fmt: skip
    for name, (collection, _, _, expected) in SHAPES.items():
        assert name in rows, name
        assert all(f"`{collection}.{index}`" in rows[name][2] for index in expected), name
        assert rows[name][3].strip() == SHOWN_BY[name], (name, SHOWN_BY[name])
