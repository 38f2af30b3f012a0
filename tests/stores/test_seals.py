"""The trail in sealed segments: whoever wrote a row, it is in one; and whatever is done to the file itself shows, and where."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from base64 import urlsafe_b64decode as b64decode
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_gateway import gate
from fhir_gateway.auth.seals import Seals, opened, rotate, seals
from fhir_gateway.commands.auditing import kept_heads
from fhir_gateway.domain import sealing
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.sealing import read_proof
from fhir_gateway.store import mongo, sqlite
from fhir_gateway.store.base import Store

from .making import ANN, BOB, MORNING, Reopen, at, goal, note
from .test_copying import copied
from .test_copying import opened as opened_store


@dataclass
class House:
    """What sealing needs of a house."""

    store: Store
    clock: Any = field(default_factory=lambda: lambda ticks=count(): at(next(ticks)))


async def sealed(store: Store, rows: int = 10, segments: int = 3) -> list[str]:
    heads: list[str] = []
    for s in range(segments):
        await store.commit(*(note(f"s{s}-r{i:03}", when=s * 100 + i, patient=(ANN, BOB, None)[i % 3]) for i in range(rows)))
        heads += await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
    return heads


async def wrong(store: Store, heads: list[str] | None = None) -> set[tuple[str, int | None, str]]:
    kept = dict(enumerate(heads, 1)) if heads is not None else None
    return {(w.what, w.segment, w.row) for w in (await gate.verify(House(store), kept=kept)).wrong}  # type: ignore[arg-type]


async def test_every_row_is_in_one_segment_and_the_trail_is_whole(store: Store) -> None:
    heads = await sealed(store)
    await store.commit(note("later", when=900))
    verdict = await gate.verify(House(store), kept=dict(enumerate(heads, 1)))  # type: ignore[arg-type]
    assert (verdict.wrong, verdict.segments, verdict.rows, verdict.waiting) == ([], 3, 30, 1)
    assert await store.strays() == [] and [s.number for s in await store.segments()] == [1, 2, 3]
    assert [n for n, _ in await store.rows_of(BOB)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


async def test_nothing_to_seal_makes_no_segment(store: Store) -> None:
    assert await gate.Sealer(House(store)).seal() == [] and await wrong(store) == set()  # type: ignore[arg-type]


async def test_ties_and_rows_that_come_late_are_sealed_once(store: Store) -> None:
    """The same instant, the same id twice, and a row older than all that is sealed already."""
    await store.commit(note("same", when=5), note("other", when=5))
    await store.commit(note("same", when=5, user="Practitioner/else"))
    await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
    await store.commit(note("old", when=-1000))
    await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
    assert [s.rows for s in await store.segments()] == [3, 1]
    assert [n for n, _ in await store.rows_of(ANN)] == [2, 1, 1, 1]


async def test_several_processes_write_and_seal_at_once(reopen: Reopen) -> None:
    stores = [await reopen() for _ in range(3)]
    sealers = [gate.Sealer(House(s)) for s in stores]  # type: ignore[arg-type]

    async def write(n: int, store: Store) -> None:
        for i in range(20):
            await store.commit(note(f"w{n}-{i}", when=i))

    async def seal(sealer: gate.Sealer) -> None:
        for _ in range(4):
            await sealer.seal()

    await asyncio.gather(*(write(n, s) for n, s in enumerate(stores)), *(seal(s) for s in sealers))
    await sealers[1].seal()
    verdict = await gate.verify(sealers[2].house)
    assert (verdict.wrong, verdict.rows, verdict.waiting) == ([], 60, 0)


async def test_who_is_late_seals_nothing_twice(reopen: Reopen) -> None:
    one, two = await reopen(), await reopen()
    await one.commit(*(note(f"r{i}") for i in range(5)))
    rows = sealing.ordered(await two.unsealed(100))
    await gate.Sealer(House(one)).seal()  # type: ignore[arg-type]
    (first,) = await one.segments()
    for number in (1, 2):
        with pytest.raises(Exception, match="segment"):
            await two.seal(first._replace(number=number), rows)
    assert [s.number for s in await one.segments()] == [1] and await wrong(one) == set()


async def test_an_older_proof_is_not_wrong_beside_newer_heads(store: Store) -> None:
    """But a next head that does not follow is: then the trail was made again since, and one of the two is not the one given out."""
    heads = await sealed(store)
    keys = (await seals(store, MORNING)).public
    proof, _ = await gate.proof_of(House(store), ANN, [1])  # type: ignore[arg-type]
    await store.commit(note("later", when=9_000))
    heads += await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
    await store.commit(note("latest", when=9_001))
    heads += await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
    kept = {n: h for n, text in enumerate(heads, 1) if (h := opened(text, keys)) is not None}
    head = opened(proof.head, keys)
    assert head is not None and len(kept) == head.number + 2
    assert list(sealing.examined(proof, head, kept)) == [] and sealing.untold(proof, head, kept) == len(kept) - 3
    other = kept | {head.number + 1: sealing.msgspec.structs.replace(kept[head.number + 1], previous="0" * 64)}
    assert [w.what for w in sealing.examined(proof, head, other)] == ["head"]


async def test_one_persons_rows_are_proved_without_anybody_elses(store: Store) -> None:
    heads = await sealed(store)
    keys = (await seals(store, MORNING)).public
    proof, left = await gate.proof_of(House(store), ANN, [1, 2])  # type: ignore[arg-type]
    raw = sealing.msgspec.json.encode(proof)
    assert left == 0 and BOB.encode() not in raw and sum(len(s.rows) for s in proof.segments) == 12
    head = opened(proof.head, keys)
    kept = {n: opened(h, keys) for n, h in enumerate(heads, 1)}
    assert head is not None and None not in kept.values()

    def found(text: bytes) -> set[str]:
        return {w.what for w in sealing.examined(read_proof(text), head, kept)}  # type: ignore[arg-type]

    assert found(raw) == set()
    assert found(raw.replace(b"Practitioner/gp", b"Practitioner/xx")) == {"altered"}
    assert "inserted" in found(raw.replace(b'"patient":"Patient/ann"', b'"patient":"Patient/bob"', 1))
    assert found(raw.replace(b'"rows":10,', b'"rows":11,', 1)) == {"segment"}
    other = {**kept, 2: kept[1]}
    assert {w.what for w in sealing.examined(proof, head, other)} == {"head"}  # type: ignore[arg-type]


async def test_another_key_signs_from_now_on_and_old_heads_verify_for_ever(store: Store) -> None:
    heads = await sealed(store)
    first = await seals(store, MORNING)
    kid = await rotate(store, at(500), note("turned", when=500, patient=None), "ES384")
    heads += await sealed(store, segments=1)
    heads += await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
    keys = await seals(store, MORNING)
    assert [k["kid"] for k in keys.keys] == [first.keys[0]["kid"], kid] and keys.jwks()["keys"][0] == first.jwks()["keys"][0]
    signed_by = [json.loads(b64decode(h.split(".")[0] + "==")) for h in heads]
    assert [(h["kid"], h["alg"]) for h in signed_by] == [(first.keys[0]["kid"], "ES256")] * 3 + [(kid, "ES384")]
    assert await wrong(store, heads) == set()
    assert all(opened(h, first.public) for h in heads[:3]) and opened(heads[3], first.public) is None
    (turned,) = [n for n in await store.notes() if n.id == "turned"]
    assert turned.detail == f"{first.keys[0]['kid']} -> {kid}"
    proof, left = await gate.proof_of(House(store), ANN, [1, 2])  # type: ignore[arg-type]
    head = opened(proof.head, keys.public)
    assert head is not None and left == 0
    assert list(sealing.examined(read_proof(sealing.msgspec.json.encode(proof)), head, {1: opened(heads[0], first.public)})) == []  # type: ignore[dict-item]


class Turning:
    """A store in which the key is changed, and the next segment sealed by it, just before the segments are first read."""

    def __init__(self, store: Store) -> None:
        self.store, self.turned = store, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def segments(self, *where: Any) -> Any:
        if not self.turned:
            self.turned = True
            await rotate(self.store, at(500), note("turned", when=500))
            await gate.Sealer(House(self.store)).seal()  # type: ignore[arg-type]
        return await self.store.segments(*where)


async def test_a_key_that_comes_while_somebody_verifies_or_seals_is_no_alarm(store: Store) -> None:
    await sealed(store, segments=1)
    turning: Any = Turning(store)
    assert await wrong(turning) == set() and turning.turned
    again: Any = Turning(store)
    await store.commit(note("more", when=600))
    assert await gate.Sealer(House(again)).seal() == [] and await store.waiting() == 0, "somebody else has sealed it meanwhile"
    await store.commit(note("yet more", when=700))
    assert len(await gate.Sealer(House(store)).seal()) == 1  # type: ignore[arg-type]
    assert await wrong(store) == set()


async def test_of_two_who_change_the_key_at_once_one_does_and_nothing_is_lost(reopen: Reopen) -> None:
    one, two = await reopen(), await reopen()
    heads = await sealed(one, segments=1)
    done = await asyncio.gather(*(rotate(s, at(500 + n), note(f"turned-{n}", when=500 + n)) for n, s in enumerate((one, two))), return_exceptions=True)
    made = [d for d in done if isinstance(d, str)]
    assert made and all(isinstance(d, ValueError) for d in done if d not in made)
    assert {k["kid"] for k in (await seals(two, MORNING)).keys[1:]} == set(made)
    heads += await gate.Sealer(House(one)).seal()  # type: ignore[arg-type]
    assert await wrong(two, heads) == set()


# -- somebody at the file itself ----------------------------------------------------------------------------------------


TAMPERED: list[tuple[str, list[str], set[tuple[str, int | None, str]]]] = [
    ("altered", ["UPDATE audit SET user = 'Practitioner/nobody' WHERE id = 's1-r004'"], {("altered", 2, "s1-r004")}),
    ("its note altered", ["UPDATE audit SET note = replace(note, 'true', 'null') WHERE id = 's0-r000'"], {("altered", 1, "s0-r000")}),
    ("its note no text", ["UPDATE audit SET note = CAST(note AS TEXT) || x'ff' WHERE id = 's0-r000'"], {("altered", 1, "s0-r000")}),
    ("given to another", ["UPDATE audit SET patient = 'Patient/bob' WHERE id = 's2-r009'"], {("altered", 3, "s2-r009")}),
    ("dated otherwise", ["UPDATE audit SET at = at - 1 WHERE id = 's2-r009'"], {("altered", 3, "s2-r009")}),
    ("removed", ["DELETE FROM audit WHERE id = 's1-r004'"], {("removed", 2, "s1-r004")}),
    ("the newest removed", ["DELETE FROM audit WHERE id = 's2-r009'"], {("removed", 3, "s2-r009")}),
    (
        "removed and another put in its place",
        ["CREATE TABLE x AS SELECT * FROM audit WHERE id = 's1-r004'", "DELETE FROM audit WHERE id = 's1-r004'", "UPDATE x SET id = 'forged'", "INSERT INTO audit SELECT * FROM x"],
        {("removed", 2, "s1-r004"), ("inserted", 2, "forged")},
    ),
    (
        "two swapped",
        ["UPDATE audit SET patient = CASE id WHEN 's0-r001' THEN NULL ELSE 'Patient/bob' END WHERE id IN ('s0-r001', 's0-r002')"],
        {("altered", 1, "s0-r001"), ("altered", 1, "s0-r002")},
    ),
    ("put before all", ["INSERT INTO audit SELECT -5, at, 'forged', patient, user, note FROM audit WHERE id = 's0-r000'"], {("inserted", None, "forged")}),
    ("a segment removed, and its rows", ["DELETE FROM audit WHERE id LIKE 's1-%'", "DELETE FROM segment WHERE number = 2"], {("segment", 2, ""), ("head", 3, "")}),
    ("a list damaged", ["UPDATE segment SET listed = x'00' WHERE number = 1"], {("segment", 1, "")}),
    ("a list that is a text", ["UPDATE segment SET listed = 'abc' WHERE number = 1"], {("segment", 1, "")}),
    ("a head that is no text", ["UPDATE segment SET head = x'ff' WHERE number = 3"], {("signature", 3, "")}),
    ("a count changed", ["UPDATE segment SET rows = 99 WHERE number = 2"], {("segment", 2, "")}),
    ("the newest head spoiled", ["UPDATE kept SET value = x'ff' WHERE kind = 'audit-head'"], {("signature", None, "")}),
    ("a head damaged", ["UPDATE segment SET head = replace(head, '.', 'A.') WHERE number = 3"], {("signature", 3, "")}),
    ("two heads exchanged", ["UPDATE segment SET head = (SELECT b.head FROM segment b WHERE b.number = 5 - segment.number) WHERE number > 1"], {("head", 2, ""), ("head", 3, "")}),
]  # fmt: skip


def tamper(path: Path, *statements: str) -> None:
    """The triggers are no hindrance to who holds the file."""
    with closing(sqlite3.connect(path)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
        db.commit()


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, list[str]]:
    async def fill() -> list[str]:
        store = await sqlite.open(tmp_path / "s.sqlite", clock=lambda: MORNING)
        heads = await sealed(store)
        await store.close()
        return heads

    return tmp_path / "s.sqlite", asyncio.run(fill())


def judged(path: Path, heads: list[str] | None = None) -> set[tuple[str, int | None, str]]:
    async def look() -> set[tuple[str, int | None, str]]:
        store = await sqlite.open(path, clock=lambda: MORNING)
        try:
            return await wrong(store, heads)
        finally:
            await store.close()

    return asyncio.run(look())


@pytest.mark.parametrize(("how", "statements", "expected"), TAMPERED, ids=[t[0] for t in TAMPERED])
def test_what_is_done_to_the_file_shows_and_where(how: str, statements: list[str], expected: set[Any], filled: tuple[Path, list[str]]) -> None:
    path, _ = filled
    assert judged(path) == set()
    tamper(path, *statements)
    found = judged(path)
    if how == "two heads exchanged":
        assert found >= expected
    else:
        assert found == expected


@pytest.mark.parametrize("damage", ["first = 'zz'", "last = x'00'"])
def test_a_segment_whose_range_is_no_range_is_named(damage: str, filled: tuple[Path, list[str]]) -> None:
    path, _ = filled
    tamper(path, f"UPDATE segment SET {damage} WHERE number = 2")
    assert 2 in {segment for _, segment, _ in judged(path)}


@pytest.mark.parametrize("value", ["x'ff'", "CAST('{}' AS BLOB)", "CAST('[]' AS BLOB)"])
def test_a_key_of_the_trail_that_cannot_be_read_is_said_in_a_sentence(value: str, filled: tuple[Path, list[str]]) -> None:
    path, _ = filled
    tamper(path, f"UPDATE kept SET value = {value} WHERE kind = 'audit-key'")
    with pytest.raises(Problem, match="of the audit is damaged"):
        judged(path)


def test_a_tail_that_was_cut_off_with_its_segments_shows_by_the_heads_outside(filled: tuple[Path, list[str]]) -> None:
    path, heads = filled
    tamper(path, "DELETE FROM audit WHERE id LIKE 's2-%'", "DELETE FROM segment WHERE number = 3")
    assert judged(path) == judged(path, heads) == {("truncated", 3, "")}, "the store keeps its newest head apart"
    tamper(path, "DELETE FROM kept WHERE kind = 'audit-head'")
    assert judged(path) == set(), "what is left is whole by itself"
    assert judged(path, heads) == {("truncated", 3, "")}


@pytest.mark.parametrize("with_head", [True, False], ids=["and its head kept", "and its head, too"])
def test_an_emptied_trail_beside_records_is_wrong_without_any_head_outside(filled: tuple[Path, list[str]], with_head: bool) -> None:
    path, _ = filled

    async def admit() -> None:
        store = await sqlite.open(path, clock=lambda: MORNING)
        await store.commit(goal("ann", type="Patient"))
        await store.close()

    asyncio.run(admit())
    tamper(path, "DELETE FROM audit", "DELETE FROM segment", *(() if with_head else ("DELETE FROM kept WHERE kind = 'audit-head'",)))
    assert {what for what, _, _ in judged(path)} == {"truncated"}


def test_a_tail_that_was_sealed_anew_shows_by_the_heads_outside(filled: tuple[Path, list[str]]) -> None:
    """Who has the file has its key, too: only what was given out before tells."""
    path, heads = filled
    tamper(path, "DELETE FROM audit WHERE id = 's2-r003'", "DELETE FROM segment WHERE number = 3")

    async def again() -> tuple[list[str], Seals]:
        store = await sqlite.open(path, clock=lambda: MORNING)
        made = await gate.Sealer(House(store)).seal()  # type: ignore[arg-type]
        keys = await seals(store, MORNING)
        await store.close()
        return made, keys

    made, keys = asyncio.run(again())
    assert judged(path) == set() and judged(path, heads) == {("head", 3, "")}
    both = path.with_name("heads")
    both.write_text("\n".join([*heads, *made]))
    kept, twice = kept_heads(both, keys.public)
    assert [kept[n][0] for n in (1, 2, 3)] == heads, "the first that was given out counts"
    assert [(w.what, w.segment) for w in twice] == [("head", 3)] and "after a restore of a backup, or by somebody" in twice[0].text


FORGED = {
    "segment 2 alone": (["does not follow the one before it", "does not speak of the segments before it"], False, False),
    "and what segment 3 says it follows": (["does not speak of the segments before it"], True, False),
    "and what segment 3 says of all before it": (["does not follow the one before it"], False, True),
}


@pytest.mark.parametrize("how", FORGED)
def test_who_signs_an_inner_segment_anew_with_the_key_is_found_by_the_next_head(how: str, filled: tuple[Path, list[str]]) -> None:
    """A row was altered, and the segment's list, root and head made to fit it. Number, rows and totals are as they were, and no
    head was kept outside: what tells is that segment 3 names the head before it, and the root of all segments."""
    path, _ = filled
    said, follows, speaks = FORGED[how]

    async def forge() -> None:
        store = await sqlite.open(path, clock=lambda: MORNING)
        ring, segments = await seals(store, MORNING), await store.segments()
        heads = [opened(s.head, ring.public) for s in segments]
        rows = sealing.ordered([r if r.id != "s1-r004" else r._replace(user="Practitioner/nobody") for r in await store.segment_rows(2)])
        await store.close()
        first, second, third = heads
        assert first and second and third
        tree = sealing.Peaks()
        tree.add(first.entry())
        anew, listed = sealing.closed(rows, first, segments[0].head, tree, second.sealed)
        signed = ring.sign(anew)
        tree.add(third.entry())
        if follows:
            third = sealing.msgspec.structs.replace(third, previous=sealing.digest(signed))
        if speaks:
            third = sealing.msgspec.structs.replace(third, log=tree.root.hex())
        assert (anew.number, anew.rows, anew.total, anew.root != second.root) == (2, second.rows, second.total, True)
        tamper(path, "UPDATE audit SET user = 'Practitioner/nobody' WHERE id = 's1-r004'",
               f"UPDATE segment SET head = '{signed}', listed = x'{listed.hex()}' WHERE number = 2",
               f"UPDATE segment SET head = '{ring.sign(third) if follows or speaks else segments[2].head}' WHERE number = 3")  # fmt: skip

    async def texts() -> list[str]:
        store = await sqlite.open(path, clock=lambda: MORNING)
        try:
            return [w.text for w in (await gate.verify(House(store))).wrong]  # type: ignore[arg-type]
        finally:
            await store.close()

    assert asyncio.run(texts()) == []
    asyncio.run(forge())
    assert asyncio.run(texts()) == [f"the head of segment 3 {words}" for words in said]


ON_MONGO: list[tuple[str, Callable[[Any], Any], set[tuple[str, int | None, str]]]] = [
    ("altered", lambda db: db.audit.update_one({"id": "s1-r004"}, {"$set": {"user": "x"}}), {("altered", 2, "s1-r004")}),
    ("removed", lambda db: db.audit.delete_one({"id": "s1-r004"}), {("removed", 2, "s1-r004")}),
    ("inserted", lambda db: db.audit.insert_one({**db.audit.find_one({"id": "s1-r004"}, {"_id": 0}), "at": "100000001000000000 forged"}), {("inserted", 2, "forged")}),
    ("moved out of its segment", lambda db: db.audit.update_one({"id": "s1-r004"}, {"$set": {"seg": 9}}), {("removed", 2, "s1-r004"), ("inserted", None, "s1-r004")}),
    ("a segment removed", lambda db: db.segment.delete_one({"_id": 2}), {("segment", 2, ""), ("head", 3, "")}),
    ("the tail cut off", lambda db: (db.segment.delete_one({"_id": 3}), db.audit.delete_many({"seg": 3})), {("truncated", 3, "")}),
]  # fmt: skip


@pytest.mark.parametrize(("how", "do", "expected"), ON_MONGO, ids=[t[0] for t in ON_MONGO])
def test_what_is_done_to_the_database_shows_and_where(how: str, do: Callable[[Any], Any], expected: set[Any], database: str) -> None:
    async def fill() -> list[str]:
        store = await mongo.open(database, clock=lambda: MORNING)
        heads = await sealed(store)
        await store.close()
        return heads

    async def look() -> set[Any]:
        store = await mongo.open(database, clock=lambda: MORNING)
        found = await wrong(store, heads)
        await store.close()
        return found

    heads = asyncio.run(fill())
    client: Any = MongoClient(database)
    do(client.get_default_database("fhir_gateway"))
    client.close()
    found = asyncio.run(look())
    assert {w for w in found if w[0] != "head"} == {w for w in expected if w[0] != "head"}, found


# -- older stores, and copies ---------------------------------------------------------------------------------------------


async def test_rows_of_an_older_format_are_found_and_sealed(database: str) -> None:
    store = await mongo.open(database, clock=lambda: MORNING)
    await store.commit(*(note(f"r{i}", when=i) for i in range(5)))
    await store.close()
    with MongoClient[Any](database) as client:
        db = client.get_default_database()
        db.audit.update_many({}, {"$unset": {"id": ""}})
        db.meta.update_one({"_id": "format"}, {"$set": {"version": 1}})
    store = await mongo.open(database, clock=lambda: MORNING)
    found = await store.note("r3")
    assert found is not None and found.id == "r3" and len(await gate.Sealer(House(store)).seal()) == 1  # type: ignore[arg-type]
    assert await wrong(store) == set()
    await store.close()


@pytest.mark.parametrize("start", ["sqlite", "mongo"])
def test_a_copy_is_sealed_as_the_first(start: str, database: str, tmp_path: Path) -> None:
    one, two = (f"sqlite:{tmp_path / 'one.sqlite'}", database)[:: 1 if start == "sqlite" else -1]

    async def fill() -> list[str]:
        store = await opened_store(one)
        heads = await sealed(store)
        await store.commit(note("later", when=900), note("and-late", when=-900))
        await store.close()
        return heads

    async def look(heads: list[str]) -> None:
        store = await opened_store(two)
        assert await wrong(store, heads) == set() and await store.waiting() == 2
        assert len(await gate.Sealer(House(store)).seal()) == 1 and await wrong(store, heads) == set()  # type: ignore[arg-type]
        await store.close()

    heads = asyncio.run(fill())
    copied(one, two, tmp_path)
    asyncio.run(look(heads))
