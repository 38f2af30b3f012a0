"""Encryption at rest by setting, and secrets from files: what a thief of the disk, the log or a backup would find."""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from fhir_gateway.command_line import app
from fhir_gateway.settings import Refused, load
from fhir_gateway.store import sqlite

from .conftest import Gateway, gateway

NHS, NAME = "9449305552", "Quistgaard"
PLAN = {
    "plan": "1", "id": "rest", "title": "At rest", "status": "active",
    "person": {"name": {"given": ["Wilhelmina"], "family": NAME}, "birthDate": "1950-02-01", "nhsNumber": NHS},
    "goals": [{"id": "g", "text": "Cook again"}],
}  # fmt: skip


def found(folder: Path, *words: str) -> set[str]:
    """Which of these words stand readable in any file below this folder, also in what a journal's lines hold as base64."""
    said = [read for file in folder.rglob("*") if file.is_file() for read in readings(file)]
    return {w for w in words if any(w.encode() in raw for raw in said)}


def readings(file: Path) -> list[bytes]:
    raw = file.read_bytes()
    inside = [b64decode(json.loads(line).get("ops") or "") for line in raw.splitlines()] if file.parent.parent.name == "data-journal" and file.suffix == ".jsonl" else []
    return [raw, *inside]


def brought(g: Gateway) -> None:
    (g.data.parent / "plan.json").write_text(json.dumps(PLAN))
    (line,) = g.lines("import", str(g.data.parent / "plan.json"), "--json")
    assert line["refused"] == 0 and line["written"] > 1
    (g.data.parent / "plan.json").unlink()


async def backed_up(g: Gateway, key: str | None, to: Path) -> None:
    store = await sqlite.open(g.data / "gateway.sqlite", key=key)
    try:
        await store.backup(to)
    finally:
        await store.close()


async def test_with_a_key_nothing_of_anybody_stands_in_file_log_or_backup(tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    with gateway(tmp_path / "shut", "--demo", GATEWAY_STORE_KEY=key) as g:
        brought(g)
        await backed_up(g, key, tmp_path / "shut" / "data" / "copy.sqlite")
        assert (g.data / "gateway.sqlite-wal").exists(), "while it serves, the newest is in the log of the file"
        assert found(tmp_path / "shut", NHS, NAME, "Cook again", key) == set()
        g.stop()
        assert found(tmp_path / "shut", NHS, NAME, "Cook again", key) == set()
        g.start("--demo")
        who = g.persona("hospital")["token"]
        assert who and g.get("hospital", f"Patient?family={NAME}").status_code == 200, "and it opens again"
    with gateway(tmp_path / "open", "--demo") as g:
        brought(g)
        await backed_up(g, None, tmp_path / "open" / "data" / "copy.sqlite")
        assert found(tmp_path / "open" / "data", NHS, NAME, "Cook again") == {NHS, NAME, "Cook again"}, "the same look finds them without a key"


def test_another_key_or_none_does_not_open_it_and_says_so(tmp_path: Path) -> None:
    key, other = secrets.token_hex(32), secrets.token_hex(32)
    with gateway(tmp_path, "--demo", GATEWAY_STORE_KEY=key) as g:
        g.stop()
        for wrong in (other, ""):
            served = g.command("serve", env={"GATEWAY_STORE_KEY": wrong})
            assert served.returncode == 2 and "GATEWAY_STORE_KEY" in served.stderr and len(served.stderr.strip().splitlines()) == 1
            refused = g.command("clients", "list", env={"GATEWAY_STORE_KEY": wrong})
            assert refused.returncode == 2 and "GATEWAY_STORE_KEY" in refused.stderr
            assert key not in refused.stderr and (not wrong or wrong not in refused.stderr)
        assert g.command("clients", "list").returncode == 0


@pytest.mark.slow
def test_a_store_is_encrypted_or_given_another_key_by_a_copy(tmp_path: Path) -> None:
    first, second = secrets.token_hex(32), secrets.token_hex(32)
    (tmp_path / "first").write_text(first + "\n")
    (tmp_path / "second").write_text(second)
    with gateway(tmp_path, "--demo") as g:
        brought(g)
        g.stop()
        plain, one, two = (f"sqlite:{g.data / name}" for name in ("gateway.sqlite", "one.sqlite", "two.sqlite"))
        steps = ((plain, one, "--to-key", "first"), (one, two, "--from-key", "first", "--to-key", "second"))
        unkeyed = g.command("store", "copy", plain, one, env={"GATEWAY_STORE_KEY": first})
        assert unkeyed.returncode == 2 and "--to-key" in unkeyed.stderr and not (g.data / "one.sqlite").exists()
        for step in steps:
            assert all(line["equal"] for line in g.lines("store", "copy", *step, "--json"))
        (g.data / "gateway.sqlite").unlink()
        assert found(g.data, NHS, NAME) == set()
        listed = g.command("clients", "list", env={"GATEWAY_STORE": two, "GATEWAY_STORE_KEY": second})
        assert listed.returncode == 0 and listed.stdout
        for bad in ("first", "third"):
            assert g.command("store", "copy", two, f"sqlite:{g.data / 'three.sqlite'}", "--from-key", bad).returncode == 2


@pytest.mark.slow
def test_a_store_that_gets_a_key_leaves_nothing_readable_in_its_consent_journal(tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    (tmp_path / "key").write_text(key)
    journal = tmp_path / "data-journal"
    with gateway(tmp_path, "--demo") as g:
        brought(g)
        g.stop()
        assert found(journal, NHS, NAME) == {NHS, NAME}, "the look finds them before there is a key"
        plain, shut = g.data / "gateway.sqlite", g.data / "new.sqlite"
        g.lines("store", "copy", f"sqlite:{plain}", f"sqlite:{shut}", "--to-key", "key", "--json")
        for old in g.data.glob("gateway.sqlite*"):
            old.unlink()
        shut.rename(plain)
        g.env["GATEWAY_STORE_KEY"] = key
        g.start("--demo")
        assert found(tmp_path, NHS, NAME) == set()
        g.lines("backup", "copy.zip", "--json")
        g.stop()
        assert found(tmp_path, NHS, NAME) == set()
        g.command("restore", "copy.zip")
        replayed = g.command("restore", "--replay")
        assert replayed.returncode == 0, "the chain of the journal and its heads are as they were: " + replayed.stderr


@pytest.mark.parametrize(
    ("key", "more"),
    [("secret", {}), ("0" * 64, {}), ("ab" * 32, {}), (secrets.token_hex(31), {}), (secrets.token_hex(32), {"GATEWAY_STORE": "mongodb://127.0.0.1/x?replicaSet=r"})],
    ids=["short", "zeros", "pattern", "odd", "mongodb"],
)
def test_a_key_that_protects_nothing_is_refused_without_being_repeated(key: str, more: dict[str, str], tmp_path: Path) -> None:
    g = Gateway(tmp_path / "data", 1, {"GATEWAY_STORE_KEY": key, **more})
    refused = g.command("serve")
    assert refused.returncode == 2 and "GATEWAY_STORE_KEY" in refused.stderr
    assert key not in refused.stderr + refused.stdout


def test_secrets_come_from_a_folder_of_files(tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "gateway_store_key").write_text(key + "\n")
    (folder / "gateway_store_key").chmod(0o644)
    (folder / "..data").mkdir()  # as some mount it
    with gateway(tmp_path, "--demo", GATEWAY_SECRETS=str(folder)) as g:
        brought(g)
        assert found(g.data, NHS, NAME) == set()
        assert key not in g.log.read_text() and "secret-readable" in g.log.read_text()
    (folder / "gateway_store_keys").write_text("mistyped")
    refused = Gateway(tmp_path / "data", 1, {"GATEWAY_SECRETS": str(folder)}).command("serve")
    assert refused.returncode == 2 and "gateway_store_keys" in refused.stderr and "mistyped" not in refused.stderr
    refused = Gateway(tmp_path / "data", 1, {"GATEWAY_SECRETS": str(tmp_path / "nowhere")}).command("serve")
    assert refused.returncode == 2 and "not a folder" in refused.stderr


@pytest.mark.slow
def test_a_secret_that_would_not_arrive_is_refused_by_every_command(tmp_path: Path) -> None:
    folder, key = tmp_path / "secrets", secrets.token_hex(32)
    file = folder / "gateway_store_key"
    g = Gateway(tmp_path / "data", 1, {"GATEWAY_SECRETS": str(folder)})

    def refused(*command: str, **env: str) -> str:
        done = g.command(*command, env=env)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and key not in done.stderr, done.stderr
        return done.stderr

    file.mkdir(parents=True)
    assert "not a file" in refused("serve")
    file.rmdir()
    file.write_text(" \n")
    assert "is empty" in refused("serve") and "is empty" in refused("clients", "list")
    file.write_text(key)
    file.chmod(0o666)
    assert "chmod o-w" in refused("serve")
    file.chmod(0o600)
    for command in (("serve",), ("clients", "list"), ("store", "copy", "sqlite:a", "sqlite:b")):
        assert "GATEWAY_STOREKEY" in refused(*command, GATEWAY_STOREKEY=key)
    folder.chmod(0o777)
    assert "chmod o-w" in refused("serve")
    folder.chmod(0o700)
    file.unlink()
    assert "holds no file" in refused("serve")
    (tmp_path / "gateway.toml").write_text("log_level = 'info'")
    (tmp_path / "gateway.toml").chmod(0o666)
    assert "chmod o-w" in refused("serve", GATEWAY_CONFIG=str(tmp_path / "gateway.toml"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"GATEWAY_STORE_KEY": ""}, "GATEWAY_STORE_KEY is set and empty"),
        ({"gateway_store_key": " "}, "GATEWAY_STORE_KEY is set and empty"),
        ({"GATEWAY_TELL_SMS_TOKEN": ""}, "GATEWAY_TELL_SMS_TOKEN is set and empty"),
        ({"GATEWAY_SECRETS": ""}, "GATEWAY_SECRETS is set and empty"),
        ({"gateway_secrets": "somewhere"}, "gateway_secrets"),
        ({"gateway_storekey": "0123456789abcdef" * 4}, "gateway_storekey"),
        ({"GATEWAY_STORE_KEY__": "0123456789abcdef" * 4}, "GATEWAY_STORE_KEY__"),
    ],
)
def test_no_store_is_plain_because_a_name_was_mistyped_or_its_value_left_empty(given: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(0o700)
    (folder / "gateway_store_key").write_text(secrets.token_hex(32))
    for name, value in ({"GATEWAY_SECRETS": str(folder)} | given).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused) as refused:
        load()
    assert said in str(refused.value) and "0123456789abcdef" not in str(refused.value)


def test_an_empty_key_in_the_file_of_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway.toml").write_text('store_key = ""')
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.toml"))
    with pytest.raises(Refused, match="GATEWAY_STORE_KEY is set and empty"):
        load()


def parameters(of: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Name and type of every option and argument of these commands and those below them."""
    for command in of.registered_commands:
        assert command.callback is not None
        yield from ((name, type) for name, type in get_type_hints(command.callback).items() if name != "return")
    for group in of.registered_groups:
        if group.typer_instance is not None:
            yield from parameters(group.typer_instance)


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Others on the machine could read it from the list of processes, and the shell keeps it: files and prompts only."""
    secret = {name: type for name, type in parameters(app) if re.search("password|secret|key$|keys$|credential", name)}
    assert {"from_key", "to_key"} <= set(secret)
    assert {name for name, type in secret.items() if Path not in (type, *get_args(type)) and type is not bool} == set()


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    with gateway(tmp_path / "new", "--demo", GATEWAY_DATA=str(tmp_path / "new" / "made")) as g:
        g.persona("gp")
        made = tmp_path / "new" / "made"
        files = [f for f in made.rglob("*") if f.is_file()]
        assert {"gateway.sqlite", "gateway.sqlite-wal"} <= {f.name for f in files}
        assert {f.name: oct(f.stat().st_mode & 0o777) for f in files} == {f.name: "0o600" for f in files}
        assert made.stat().st_mode & 0o077 == 0
