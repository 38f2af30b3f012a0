"""`fhir-gateway store copy`: everything arrives, byte for byte, from either engine in the other; or nothing starts on it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_gateway.domain.types import Always, Bump, Close, Disclosed, Drop, Keep, Linked, Ref, Send
from fhir_gateway.store import mongo, sqlite
from fhir_gateway.store.base import Store, Unavailable
from fhir_gateway.store.sqlite_copy import SqliteRows

from ..nursery import nursery
from .making import ANN, BOB, MORNING, at, everything, goal, gone, note
from .mongo_server import MongoServer, drop
from .searches import World, filters, found, queries, readers


async def opened(address: str) -> Store:
    if address.startswith("sqlite:"):
        return await sqlite.open(address.removeprefix("sqlite:"), clock=lambda: MORNING)
    return await mongo.open(address, clock=lambda: MORNING)


async def lived_in(store: Store) -> None:
    """One of everything, in every state it can be in."""
    await World.of(3, 8).into(store)
    await store.commit(goal("both", patients=(BOB, ANN), authors=frozenset({"Practitioner/gp"})), goal("team", type="CareTeam", refs=frozenset({"Practitioner/gp"})))
    await store.commit(goal("both", 2, when=5, text="again"), goal("nobody", patient=None), replace(goal("same"), view=goal("same").body))
    await store.commit(gone("nobody", 2), *(note(f"n{i}", when=i) for i in range(300)), note("n1", when=1), note("x", patient=None))
    await store.commit(Bump(ANN), Bump("directory"), Bump(ANN), Keep("code", "k", b"\x00\xff", at(60)), Keep("client", "a b", b""), Keep("s", "dropped", b"1"))
    await store.commit(Drop("s", "dropped"), *(Send("hospital", Ref("Goal", f"g{i}"), 1, ANN if i % 2 else None, "released") for i in range(8)))
    held = await store.lease("hospital", "w", at(1), 60, 10)
    await store.commit(Close(held[0].entry, held[0].fence, "sent", "ok"), Close(held[1].entry, held[1].fence, "parked", "422"))
    await store.commit(Linked("hospital", Ref("Goal", "both"), "Goal/77", base_sent=b"{}"), Linked("hospital", Ref("Goal", "same"), "Goal/77", gone=True))
    sent = Disclosed("hospital", Ref("Goal", "both"), 1, ANN, "Organization/h", at(1), "Consent/c", 2)
    await store.commit(sent, replace(sent, version=2, at=at(2), recalled=at(9)))


def command(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")} | {"GATEWAY_DATA": str(folder / "data")}
    return nursery().run(args, env, folder, None, 120)


def copied(source: str, target: str, folder: Path) -> list[dict[str, Any]]:
    done = command("store", "copy", source, target, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def sees(store: Store) -> dict[str, Any]:
    out = await everything(store)
    out["links"] = [await store.link("hospital", Ref("Goal", n)) for n in ("both", "same")], await store.link_by_remote("hospital", "Goal/77")
    out["concerned"] = await store.concerned({"Practitioner/gp", "*"})
    out["record"] = await store.patient_record(ANN, ["Goal", "CarePlan"]), await store.patient_versions(ANN, ["Goal", "CarePlan"])
    out["referrers"] = await store.referrers(Ref("Goal", "1"))
    return out


@pytest.mark.parametrize("start", ["sqlite", "mongo"])
def test_a_deployment_goes_over_and_back_and_is_the_same(start: str, database: str, mongo_server: MongoServer, tmp_path: Path) -> None:
    one = f"sqlite:{tmp_path / 'one.sqlite'}" if start == "sqlite" else database
    two = mongo_server.uri(database.rsplit("/", 1)[1].split("?")[0] + "b") if start == "sqlite" else f"sqlite:{tmp_path / 'two.sqlite'}"
    back = f"sqlite:{tmp_path / 'back.sqlite'}" if start == "sqlite" else mongo_server.uri(database.rsplit("/", 1)[1].split("?")[0] + "c")

    async def fill() -> None:
        store = await opened(one)
        await lived_in(store)
        await store.close()

    async def compare() -> None:
        stores = [await opened(a) for a in (one, two, back)]
        seen = [await sees(s) for s in stores]
        assert seen[0] == seen[1] == seen[2]
        for query, may, filtered in ASKED:
            hits = [await found(s, query, may, filtered) for s in stores]
            assert hits[0] == hits[1] == hits[2]
        for store in stores:  # numbers of the outbox go on, and fences hold
            await store.commit(Send("council", Ref("Goal", "later"), 1, BOB))
            (entry,) = await store.lease("council", "w", at(), 60, 1)
            assert entry.entry == 9
            assert [(e.ref.id, e.fence) for e in await store.lease("hospital", "w2", at(1e6), 60, 10)] == [("g2", 2), ("g3", 1), ("g4", 2), ("g6", 2)]
            await store.close()

    asyncio.run(fill())
    there = copied(one, two, tmp_path)
    again = copied(two, back, tmp_path)
    assert there == again and all(line["equal"] for line in there)
    assert {line["part"]: line["rows"] for line in there}.items() >= {"audit": 302, "kept": 2, "outbox": 8, "link": 2, "ledger": 2, "epoch": 2}.items()
    asyncio.run(compare())
    for address in (two, back):
        if address.startswith("mongodb"):
            drop(address)


def _asked() -> list[Any]:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    out: list[Any] = []

    @settings(max_examples=30, deadline=None, database=None, derandomize=True)
    @given(st.tuples(queries(), readers, filters))
    def collect(asked: Any) -> None:
        out.append(asked)

    collect()
    return out


ASKED = _asked()


def test_what_is_there_is_not_overwritten(database: str, tmp_path: Path) -> None:
    file = tmp_path / "one.sqlite"

    async def fill() -> None:
        for address in (f"sqlite:{file}", database):
            store = await opened(address)
            await store.commit(goal("walk"))
            await store.close()

    asyncio.run(fill())
    before = file.read_bytes()
    for source, target, words in ((f"sqlite:{file}", database, "is not empty"), (database, f"sqlite:{file}", "is there already")):
        done = command("store", "copy", source, target, folder=tmp_path)
        assert done.returncode == 2 and words in done.stderr and not done.stdout, done.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("sqlite:none.sqlite", "sqlite:new.sqlite", "is not there"), ("oracle:x", "sqlite:new.sqlite", "mongodb://HOST"),
        ("sqlite:a", "sqlite:a", "the same store"), ("sqlite:a", "mongodb://u:secret@db.example.org/x", "in the clear"),
    ],
)  # fmt: skip
def test_wrong_addresses_are_wrong_usage(source: str, target: str, words: str, tmp_path: Path) -> None:
    done = command("store", "copy", source, target, folder=tmp_path)
    assert done.returncode == 2 and words in done.stderr and "secret" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.glob("*.sqlite"))


def test_a_source_that_is_not_there_is_refused_and_not_made(database: str, tmp_path: Path) -> None:
    done = command("store", "copy", database, f"sqlite:{tmp_path / 'e.sqlite'}", folder=tmp_path)
    assert done.returncode == 2 and "There is no store" in done.stderr
    again = command("store", "copy", database, f"sqlite:{tmp_path / 'e.sqlite'}", folder=tmp_path)
    assert again.returncode == 2 and "There is no store" in again.stderr, "nothing was made of it"


def test_a_database_must_be_named(tmp_path: Path) -> None:
    done = command("store", "copy", f"sqlite:{tmp_path / 'e.sqlite'}", "mongodb://127.0.0.1:1/?replicaSet=rs", folder=tmp_path)
    assert done.returncode == 2 and "Name the database" in done.stderr


async def test_no_gateway_starts_on_half_a_copy(database: str) -> None:
    await (await mongo.open(database)).close()
    with MongoClient(database) as client:
        client.get_default_database().meta.insert_one({"_id": "copying"})
    with pytest.raises(Unavailable, match="stopped half-way: wait, or drop it"):
        await mongo.open(database)


async def test_a_copy_to_a_file_that_stopped_half_way_can_be_made_again(tmp_path: Path) -> None:
    """Its name appears when it is whole."""
    target = tmp_path / "new.sqlite"
    half = SqliteRows(target, target=True)
    await half.begin()
    await half.write("epoch", [("Patient/ann", 3)])
    await half.close()
    assert not target.exists()
    again = SqliteRows(target, target=True)
    await again.begin()
    await again.write("epoch", [("Patient/ann", 4)])
    await again.finish()
    store = await sqlite.open(target)
    assert await store.epoch(ANN) == 4 and (await store.history(None, None, Always())).hits == ()
    await store.close()
    assert [f.name for f in tmp_path.iterdir() if "copying" in f.name] == []


async def test_a_source_that_changes_meanwhile_is_noticed(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fhir_gateway.commands import copying

    store = await sqlite.open(tmp_path / "one.sqlite")
    await store.commit(goal("walk"), note("n1"))
    summed = copying.summed

    async def slow(rows: Any, part: str) -> Any:
        if part == "audit":
            await store.commit(note(f"meanwhile {id(rows)}"))
        return await summed(rows, part)

    monkeypatch.setattr(copying, "summed", slow)
    with pytest.raises(Unavailable, match=r"audit.*stop every gateway"):
        await copying.copy(f"sqlite:{tmp_path / 'one.sqlite'}", database, True)
    await store.close()
    with pytest.raises(Unavailable, match="half-way"):
        await mongo.open(database)


def test_somebody_who_watches_sees_a_bar(tmp_path: Path) -> None:
    """In a terminal (a pty), on stderr; results stay on stdout. Nowhere else is there a bar."""
    import pty

    async def fill() -> None:
        store = await sqlite.open(tmp_path / "one.sqlite", clock=lambda: MORNING)
        await lived_in(store)
        await store.close()

    asyncio.run(fill())
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")} | {"GATEWAY_DATA": str(tmp_path / "data"), "TERM": "xterm", "COLUMNS": "100"}
    ours, theirs = pty.openpty()
    args = ["store", "copy", f"sqlite:{tmp_path / 'one.sqlite'}", f"sqlite:{tmp_path / 'two.sqlite'}", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "fhir_gateway", *args], env=env, stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.stdout is not None
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert process.wait(30) == 0 and all(line["equal"] for line in lines)
    rows = sum(line["rows"] for line in lines)
    assert rows > 300 and f"{2 * rows}/{2 * rows}" in shown.decode() and "comparing" in shown.decode(), shown
    unwatched = command(*args[:3], f"sqlite:{tmp_path / 'three.sqlite'}", folder=tmp_path)
    assert unwatched.returncode == 0 and unwatched.stderr == ""
