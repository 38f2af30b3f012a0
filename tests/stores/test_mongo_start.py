"""What the store refuses to start on, in one sentence that says what to do; and what it makes when all is well."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo import MongoClient

from fhir_gateway.settings.unsafe import unsafe_store
from fhir_gateway.store import mongo, mongo_server
from fhir_gateway.store.base import Unavailable

from ..conftest import free_port
from .making import ANN, goal
from .mongo_server import REAL, MongoServer

only_here = pytest.mark.skipif(bool(REAL), reason="servers of other kinds are the stand-in's alone")


async def refusal(uri: str) -> str:
    """One sentence, in which the address with its password is not."""
    with pytest.raises(Unavailable) as refused:
        await mongo.open(uri)
    text = str(refused.value)
    assert uri not in text and "\n" not in text and text.endswith(".")
    return text


async def test_it_makes_its_collections_and_every_index(database: str) -> None:
    await (await mongo.open(database)).close()
    with MongoClient(database) as client:
        db = client.get_default_database()
        for name, wanted in mongo_server.INDEXES.items():
            have = db[name].index_information()
            assert set(have) == {"_id_", *("_".join(f"{f}_1" for f in fields) for fields, _ in wanted)}
        assert db.meta.find_one({"_id": "format"}) == {"_id": "format", "version": mongo_server.FORMAT}


def test_a_person_leads_every_index_of_several_fields_of_records() -> None:
    for name in ("resource", "version"):
        for fields, _ in mongo_server.INDEXES[name]:
            assert len(fields) == 1 or fields[0] in ("patient", "patients")


async def test_an_index_that_went_missing_is_made_again(database: str) -> None:
    await (await mongo.open(database)).close()
    with MongoClient(database) as client:
        db = client.get_default_database()
        db.resource.drop_index("keys_1")
        await (await mongo.open(database)).close()
        assert "keys_1" in db.resource.index_information()


async def test_an_index_that_is_another_is_refused(database: str) -> None:
    await (await mongo.open(database)).close()
    with MongoClient(database) as client:
        db = client.get_default_database()
        db.resource.drop_index("keys_1")
        db.resource.create_index([("keys", 1)], name="keys_1", sparse=True)
    assert "run db.resource.dropIndex('keys_1') and start again" in await refusal(database)


async def test_an_older_binary_leaves_newer_data_alone(database: str) -> None:
    await (await mongo.open(database)).close()
    with MongoClient(database) as client:
        client.get_default_database().meta.update_one({"_id": "format"}, {"$set": {"version": 99}})
    assert f"newer fhir-gateway (format 99, this one knows {mongo_server.FORMAT}): upgrade" in await refusal(database)


async def test_what_an_older_binary_wrote_is_gone_on_with_and_no_more_by_it(database: str) -> None:
    await (await mongo.open(database)).close()
    with MongoClient(database) as client:
        meta = client.get_default_database().meta
        meta.update_one({"_id": "format"}, {"$set": {"version": 2}})
        await (await mongo.open(database)).close()
        assert meta.find_one({"_id": "format"})["version"] == mongo_server.FORMAT > 2


async def test_somebody_elses_database_is_left_alone(database: str) -> None:
    with MongoClient(database) as client:
        client.get_default_database().orders.insert_one({"a": 1})
    assert "holds something else (`orders`): name another database" in await refusal(database)
    with MongoClient(database) as client:
        assert client.get_default_database().list_collection_names() == ["orders"]


async def test_many_processes_may_start_at_once(database: str) -> None:
    stores = await asyncio.gather(*(mongo.open(database) for _ in range(6)))
    await stores[0].commit(goal("walk"))
    assert await stores[5].counts() == {"Goal": 1}
    for s in stores:
        await s.close()


@only_here
async def test_a_standalone_server_is_refused(tmp_path: Path) -> None:
    server = MongoServer(tmp_path, "--standalone").start()
    try:
        assert "standalone server, which has no transactions: start mongod with --replSet" in await refusal(server.uri("x"))
    finally:
        server.stop()


async def test_a_version_too_old_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_server, "OLDEST", (99, 0))
    assert "needs MongoDB 99.0 or newer" in await refusal(database)


async def test_no_server_is_refused_at_once() -> None:
    text = await refusal(f"mongodb://user:secret@127.0.0.1:{free_port()}/x?serverSelectionTimeoutMS=200")
    assert "no primary answers: start the servers, initiate the replica set" in text and "secret" not in text


@pytest.mark.parametrize("uri", ["mongodb:///x", "mongodb://127.0.0.1:99999/x", "mongodb://u:p@ss@127.0.0.1/x"])
async def test_what_is_no_address_is_refused(uri: str) -> None:
    assert "mongodb://HOST" in await refusal(uri)


def test_records_do_not_travel_in_the_clear() -> None:
    assert unsafe_store("mongodb://127.0.0.1:27017/x") is None and unsafe_store("mongodb://localhost,[::1]:27018/x?replicaSet=a") is None
    assert unsafe_store("mongodb://db.example.org/x?replicaSet=a&tls=true") is None and unsafe_store("mongodb+srv://db.example.org/x") is None
    assert unsafe_store("sqlite:x.sqlite") is None and unsafe_store("") is None
    for wrong in ("mongodb://u:secret@db.example.org/x", "mongodb://127.0.0.1,db.example.org/x?tls=false"):
        said = unsafe_store(wrong) or ""
        assert "tls=true" in said and "secret" not in said
    assert "sqlite:PATH or mongodb://" in (unsafe_store("postgres://u:secret@h/x") or "")


def test_the_command_line_refuses_with_2_and_one_sentence(database: str, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")} | {"GATEWAY_DATA": str(tmp_path)}
    with MongoClient(database) as client:
        client.get_default_database().orders.insert_one({"a": 1})
    for address, words in ((database, "holds something else"), ("mongodb://db.example.org/x", "in the clear"), ("redis://x", "must be sqlite:PATH")):
        done = subprocess.run(
            [sys.executable, "-m", "fhir_gateway", "clients", "list"], env=env | {"GATEWAY_STORE": address}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


async def test_a_closed_store_answers_nothing(database: str) -> None:
    store = await mongo.open(database)
    await store.close()
    for ask in (store.epoch(ANN), store.commit(goal("walk")), store.check()):
        with pytest.raises(Unavailable):
            await ask


async def test_what_no_document_can_hold_is_a_refusal_that_writes_nothing(database: str) -> None:
    store = await mongo.open(database)
    with pytest.raises(Unavailable, match="16 MB"):
        await store.commit(goal("small"), replace(goal("large"), body=b"x" * 17_000_000))
    assert await store.counts() == {}
    await store.close()
