"""A backup while serving, and a restore that reopens nothing that was withdrawn since. docs/backup.md"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_gateway import safekeeping, serving, wiring
from fhir_gateway.auth import accounts, people
from fhir_gateway.commands import copying
from fhir_gateway.domain.types import Ref, Send
from fhir_gateway.settings import Refused, Settings
from fhir_gateway.store import sqlite, sqlite_backup
from fhir_gateway.store.base import StoreError
from fhir_gateway.store.journal import Journal

from .conftest import Gateway, free_port, gateway
from .staff import wired_operator
from .test_story import careplan, permit, sharing


@contextmanager
def running(g: Gateway, sealed: bool = False) -> Iterator[Gateway]:
    """Started again, until it is ready or says that it is sealed."""
    if not sealed:
        yield g.start("--demo")
    else:
        with open(g.log, "ab") as log:
            g.process = subprocess.Popen([sys.executable, "-m", "fhir_gateway", "serve", "--demo"], env=g.env, stdout=log, stderr=log, cwd=g.data.parent)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if httpx2.get(f"{g.base}/health", timeout=2).json() == {"status": "sealed"}:
                    break
            except httpx2.HTTPError:
                time.sleep(0.05)
        else:
            raise AssertionError(g.log.read_text()[-3000:])
        yield g
    g.stop()


def refused(g: Gateway, *args: str, code: int = 2) -> str:
    done = g.command(*args)
    assert done.returncode == code, (args, done.stdout, done.stderr)
    return done.stderr


def journal(g: Gateway) -> Path:
    (folder,) = (g.data.parent / "data-journal").iterdir()
    return folder


def goal(g: Gateway, text: str) -> dict[str, Any]:
    return {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": f"Patient/{g.patient}"}}


@pytest.mark.slow
def test_an_older_copy_never_reopens_what_was_withdrawn_since(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo") as g:
        plan, rosa, copy = careplan(g), g.persona("link-worker")["fhirUser"], tmp_path / "older.zip"
        grant = g.call("patient", "POST", "Consent", body=sharing(g, [permit(rosa, "CarePlan", "Goal")]))
        hidden = g.call("patient", "POST", "Goal", body=goal(g, "See my daughter"))
        other = g.call("patient", "POST", "Goal", body=goal(g, "Learn to swim"))
        assert g.get("link-worker", f"CarePlan/{plan}").status_code == 200
        for place in (hidden, other):
            assert g.get("link-worker", f"Goal/{place.json()['id']}").status_code == 200
        (made,) = g.lines("backup", str(copy), "--json")  # while it serves
        assert made["bytes"] > 100_000 and copy.stat().st_mode & 0o077 == 0
        old = {who: g.persona(who)["token"] for who in ("gp", "link-worker", "patient")}

        # What a day brings: the person takes the grant back, hides a goal and deletes another; a nurse's account is closed.
        off = {**grant.json(), "status": "inactive"}
        assert g.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": grant.headers["etag"]}).status_code == 200
        private = hidden.json()
        private["meta"]["security"] = [*private["meta"].get("security", []), {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]
        put = g.call("patient", "PUT", f"Goal/{private['id']}", body=private, headers={"If-Match": hidden.headers["etag"]})
        assert put.status_code == 200, put.text
        gone = g.call("patient", "DELETE", f"Goal/{other.json()['id']}", headers={"If-Match": other.headers["etag"]})
        assert gone.status_code in (200, 204), gone.text
        hit = g.get("gp", f"Goal/{private['id']}").status_code
        wired_operator(g, lambda ctx: accounts.close(ctx.house.store, "community-nurse", accounts.Act(ctx.at, ctx.house.new_id)))
        assert "stop it first" in refused(g, "restore", str(copy)), "not under a running server"
        g.stop()

        # The disk dies; the copy is put in its place.
        done = g.command("restore", str(copy))
        assert done.returncode == 0 and "sealed" in done.stdout and "--replay" in done.stdout, done.stderr
        with running(g, sealed=True):
            for token in old.values():
                answer = g.call(None, "GET", f"CarePlan/{plan}", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 503 and "older copy" in answer.json()["issue"][0]["diagnostics"]
            for path in ("/", "/metrics", "/sign-in", "/my-plan", "/plans", "/oauth/jwks", "/fhir/metadata", "/fhir/.well-known/smart-configuration"):
                answer = httpx2.get(f"{g.base}{path}", headers={"Accept": "text/html"})
                assert answer.status_code == 503 and answer.headers["retry-after"] == "60", path
            assert "older copy" in httpx2.get(f"{g.base}/", headers={"Accept": "text/html"}).text
            assert httpx2.get(f"{g.base}/health").status_code == 503
            for method in ("GET", "POST"):
                left = httpx2.request(method, f"{g.base}/leave", headers={"Origin": g.base, "Sec-Fetch-Site": "same-origin"})
                assert left.status_code == 303 and left.headers["location"].startswith("https://"), "whoever must get away gets away"
            assert "sealed" in refused(g, "token", "--as", "gp")
            # Replayed beside it: it opens by itself.
            done = g.command("restore", "--replay")
            assert done.returncode == 0, done.stderr
            g.ready()
            g._tokens.clear()
            for who, token in old.items():
                answer = g.call(None, "GET", f"CarePlan/{plan}", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 401, f"a token of {who} from before the restore"
            assert g.get("gp", f"CarePlan/{plan}").status_code == 200
            assert g.get("link-worker", f"CarePlan/{plan}").status_code == 404
            assert g.get("patient", f"Consent/{off['id']}").json()["status"] == "inactive"
            assert g.get("gp", f"Goal/{private['id']}").status_code == hit
            assert "V" in json.dumps(g.get("patient", f"Goal/{private['id']}").json()["meta"]["security"])
            assert g.get("patient", f"Goal/{other.json()['id']}").status_code in (404, 410)
            account = wired_operator(g, lambda ctx: people.find(ctx.house.store, "community-nurse", ctx.at))
            assert account.closed
            assert "nothing to replay" in refused(g, "restore", "--replay")
        # Restored and replayed once more it is the same: what stands twice in a journal is taken up once.
        entries = len(list(Journal(journal(g)).entries()))
        settings = Settings(data=g.data)
        asyncio.run(safekeeping.restore(settings, copy, lambda n: None))
        asyncio.run(safekeeping.replay(settings, [], lambda *_: None))
        assert len(list(Journal(journal(g)).entries())) == entries
        assert stored(g, "Consent", off["id"]).version == 2


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    """A stopped demo with a grant that was taken back after its backup."""
    folder = tmp_path_factory.mktemp("kept")
    with gateway(folder, "--demo") as g:
        made = g.call("patient", "POST", "Consent", body=sharing(g, [permit(g.persona("link-worker")["fhirUser"], "CarePlan")]))
        assert g.command("backup", str(folder / "copy.zip")).returncode == 0
        off = {**made.json(), "status": "inactive"}
        assert g.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": made.headers["etag"]}).status_code == 200
        (folder / "grant").write_text(off["id"])
    yield g, folder / "copy.zip"


@pytest.fixture
def grant(kept: tuple[Gateway, Path]) -> str:
    """The id of the consent that was taken back."""
    return (kept[0].data.parent / "grant").read_text()


def stored(g: Gateway, type: str, id: str) -> Any:
    async def look() -> Any:
        store = await sqlite.open(g.data / "gateway.sqlite")
        try:
            return await store.get(Ref(type, id))
        finally:
            await store.close()

    return asyncio.run(look())


@pytest.fixture
def other(kept: tuple[Gateway, Path], tmp_path: Path) -> tuple[Gateway, Path]:
    """The same, in a folder of its own."""
    g, copy = kept
    for name in ("data", "data-journal"):
        shutil.copytree(g.data.parent / name, tmp_path / name)
    shutil.copy(copy, tmp_path / "copy.zip")
    return Gateway(tmp_path / "data", free_port(), {}), tmp_path / "copy.zip"


def test_an_old_file_put_back_by_hand_is_sealed_too(other: tuple[Gateway, Path], grant: str) -> None:
    g, copy = other
    for file in g.data.glob("gateway.sqlite*"):
        file.unlink()
    with zipfile.ZipFile(copy) as z:
        (g.data / "gateway.sqlite").write_bytes(z.read(sqlite_backup.STORE))
    settings = Settings(data=g.data)

    async def command() -> None:
        async with wiring.wired(settings):
            pass

    with pytest.raises(Refused, match="sealed"):
        asyncio.run(command())
    assert stored(g, "Consent", grant).version == 1
    assert asyncio.run(safekeeping.replay(settings, [], lambda *_: None)) == 1
    assert stored(g, "Consent", grant).version == 2
    asyncio.run(command())


def test_a_gap_is_accepted_by_somebody_with_a_name_and_a_reason_and_that_is_written_down(other: tuple[Gateway, Path], grant: str) -> None:
    g, copy = other
    shutil.rmtree(g.data)
    asyncio.run(safekeeping.restore(Settings(data=g.data), copy, lambda n: None))  # where nothing is left
    sealed = g.command("restore", "--seal")
    assert sealed.returncode == 0 and "Sealed" in sealed.stdout and "--replay" in sealed.stdout, "it did what was asked"
    assert "--who" in refused(g, "restore", "--accept-gap")
    assert g.command("restore", "--accept-gap", "--who", "Mo Begum", "--reason", "The journal burned, too").returncode == 0
    said = [n.detail for n in wired_operator(g, lambda ctx: ctx.house.store.notes(user="Device/operator")) if n.what == "restore"]
    assert stored(g, "Consent", grant).version == 1, "open again, as Mo Begum has accepted"
    assert any("Mo Begum" in d and "burned" in d and "1 entries" in d for d in said) and any("sealed" in d for d in said)


def turned_away(g: Gateway, doing: Any) -> str:
    """What a command in this process says when it refuses."""
    with pytest.raises((Refused, StoreError)) as said:
        asyncio.run(doing(Settings(data=g.data)))
    return str(said.value)


def test_a_journal_with_a_hole_or_a_changed_line_is_not_replayed(other: tuple[Gateway, Path]) -> None:
    g, copy = other
    asyncio.run(safekeeping.restore(Settings(data=g.data), copy, lambda n: None))
    file = journal(g) / "000001.jsonl"
    whole = file.read_bytes()
    *lines, last = whole.splitlines(keepends=True)
    for wrong in (b"".join(lines[:-2]) + last, whole.replace(b'"sum":"', b'"sum":"0', 1), whole[:-9] + b"AAAA" + whole[-5:], last):
        file.write_bytes(wrong)
        said = turned_away(g, lambda s: safekeeping.replay(s, [], lambda *_: None))
        assert "stays sealed" in said and "000001.jsonl" in said, said
    file.rename(tmp := file.with_name("elsewhere"))
    assert "no consent journal" in turned_away(g, lambda s: safekeeping.replay(s, [], lambda *_: None))
    tmp.rename(file)
    file.write_bytes(whole + b'{"id":"cut sho')  # a crash cut it short: nobody was told of that
    assert asyncio.run(safekeeping.replay(Settings(data=g.data), [journal(g)], lambda *_: None)) == 1


def test_with_a_key_backup_restore_and_journal_are_encrypted_and_open_with_it_alone(tmp_path: Path) -> None:
    key, other = secrets.token_hex(32), secrets.token_hex(32)
    settings = Settings(data=tmp_path / "data", store_key=key)

    async def known() -> Any:
        async with wiring.wired(settings) as w:
            return await people.find(w.store, "xyzzy", wiring.now())

    async def opened(name: str) -> None:
        async with wiring.wired(settings) as w:
            await people.add(w.store, people.Account(name, "Practitioner/xyzzy"), "only-for-this-test")

    asyncio.run(opened("nobody"))
    asyncio.run(safekeeping.backup(settings, tmp_path / "copy.zip", lambda n: None))
    asyncio.run(opened("xyzzy"))
    with zipfile.ZipFile(tmp_path / "copy.zip") as z:
        inside = z.read("store.sqlite")
    assert b"xyzzy" not in inside + b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    with pytest.raises(StoreError):
        asyncio.run(safekeeping.restore(Settings(data=tmp_path / "data", store_key=other), tmp_path / "copy.zip", lambda n: None))
    asyncio.run(safekeeping.restore(settings, tmp_path / "copy.zip", lambda n: None))
    assert asyncio.run(safekeeping.replay(settings, [], lambda *_: None)) == 1
    assert asyncio.run(known()) is not None


@pytest.mark.parametrize("old", [secrets.token_hex(32), ""], ids=["another key", "no key"])
def test_the_key_is_changed_and_a_backup_under_the_old_one_is_rescued(old: str, tmp_path: Path) -> None:
    """docs/security.md "Secrets", docs/backup.md "A backup under another key", step by step."""
    new = secrets.token_hex(32)
    (tmp_path / "old").write_text(old)
    (tmp_path / "new").write_text(new)
    before, after = (Settings(data=tmp_path / "data", store_key=key) for key in (old, new))
    store, copied = tmp_path / "data" / "gateway.sqlite", tmp_path / "copied.sqlite"

    async def opened(settings: Settings, name: str) -> None:
        async with wiring.wired(settings) as w:
            await people.add(w.store, people.Account(name, "Practitioner/x"), "only-for-this-test")

    async def known() -> set[str]:
        async with wiring.wired(after) as w:
            return {a.username for a in await people.accounts(w.store, wiring.now())}

    def copy(from_: Path) -> None:
        assert asyncio.run(copying.copy(f"sqlite:{from_}", f"sqlite:{copied}", True, tmp_path / "old" if old else None, tmp_path / "new")) == 0
        for file in (store, *(store.with_name(store.name + end) for end in ("-wal", "-shm"))):
            file.unlink(missing_ok=True)
        copied.rename(store)

    asyncio.run(opened(before, "first"))
    asyncio.run(safekeeping.backup(before, tmp_path / "old.zip", lambda n: None))
    asyncio.run(opened(before, "second"))
    copy(store)
    asyncio.run(opened(after, "third"))
    assert asyncio.run(known()) == {"first", "second", "third"}, "the store itself starts under the new key"

    rescue = Settings(data=tmp_path / "rescue", journal=before.journal_path, store_key=old)
    asyncio.run(safekeeping.restore(rescue, tmp_path / "old.zip", lambda n: None))
    if old:
        with pytest.raises(Refused, match="another key"):
            asyncio.run(safekeeping.replay(rescue, [], lambda *_: None))
    copy(tmp_path / "rescue" / "gateway.sqlite")
    with pytest.raises(Refused, match="sealed"):
        asyncio.run(known())
    assert asyncio.run(safekeeping.replay(after, [], lambda *_: None)) == (1 if old else 2)
    assert asyncio.run(known()) == {"first", "second", "third"}


def test_only_a_whole_backup_of_this_store_is_restored(other: tuple[Gateway, Path], tmp_path: Path) -> None:
    g, copy = other
    raw = copy.read_bytes()
    (tmp_path / "cut.zip").write_bytes(raw[:-5000])
    (tmp_path / "changed.zip").write_bytes(raw[:20_000] + b"xxxx" + raw[20_004:])
    with zipfile.ZipFile(copy) as z:
        said, store = json.loads(z.read("backup.json")), z.read("store.sqlite")
    for name, change in {"newer": {"steps": 999}, "format": {"format": 2}, "swapped": {"sha256": "0" * 64}, "another": {"store": "x"}}.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as z:
            z.writestr("backup.json", json.dumps(said | change))
            z.writestr("store.sqlite", store)
    for name, why in {
        "data/gateway.sqlite": "is no backup", "nowhere.zip": "cannot be read", "cut.zip": "damaged", "changed.zip": "damaged", "newer.zip": "newer",
        "format.zip": "newer", "swapped.zip": "damaged", "another.zip": "another store",
    }.items():  # fmt: skip
        assert why in turned_away(g, lambda s, name=name: safekeeping.restore(s, tmp_path / name, lambda n: None)), name
    assert not list(g.data.glob("*.restoring*")) and not list(g.data.glob("*.before*"))
    assert "not sealed" in turned_away(g, lambda s: safekeeping.replay(s, [], lambda *_: None)), "nothing has changed"


def test_a_gap_accepted_over_a_damaged_journal_begins_a_new_one_that_a_later_restore_replays(other: tuple[Gateway, Path], tmp_path: Path) -> None:
    g, copy = other
    settings = Settings(data=g.data)
    asyncio.run(safekeeping.restore(settings, copy, lambda n: None))
    file = journal(g) / "000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"sum":"', b'"sum":"0', 1))
    assert asyncio.run(safekeeping.accept_gap(settings, [], "Mo Begum", "It is damaged")) == safekeeping.GivenUp(0, whole=False)
    asyncio.run(safekeeping.backup(settings, tmp_path / "after.zip", lambda n: None))  # not sealed again
    asyncio.run(safekeeping.restore(settings, tmp_path / "after.zip", lambda n: None))
    assert asyncio.run(safekeeping.replay(settings, [], lambda *_: None)) == 0


async def test_a_sealed_store_is_not_synced_and_nobody_is_told_until_it_is_open(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", remote_url="http://127.0.0.1:9/fhir", remote_organisation="D82001")
    async with wiring.wired(settings) as w:
        await w.store.commit(Send("remote", Ref("Goal", "walk"), 1, "Patient/ann"))
    await safekeeping.seal(settings)

    async def works(seconds: float) -> bool:
        """Whether the workers did anything in this time."""
        async with wiring.wired_sealed_or_not(settings) as w:
            stop = asyncio.Event()
            both = asyncio.create_task(serving.run_both(w, stop))
            end = time.monotonic() + seconds
            while (idle := await w.store.outbox("remote") == {"queued": 1}) and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            stop.set()
            await both
            return not idle

    assert not await works(0.7)
    await safekeeping.accept_gap(settings, [], "Mo Begum", "Tried out")
    assert await works(20)


def cut(g: Gateway, lines: int) -> None:
    """Take the last lines off the journal."""
    file = journal(g) / "000001.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-lines]))


def put_in_place(g: Gateway, copy: Path) -> None:
    """The old store, by hand."""
    for file in g.data.glob("gateway.sqlite*"):
        file.unlink()
    with zipfile.ZipFile(copy) as z:
        (g.data / "gateway.sqlite").write_bytes(z.read(sqlite_backup.STORE))


async def opened_by_a_command(settings: Settings) -> None:
    async with wiring.wired(settings):
        pass


async def replayed(settings: Settings, *expect: int) -> int:
    return await safekeeping.replay(settings, [], lambda *_: None, expect)


def test_a_journal_that_lost_its_end_seals_the_store_that_knows_more(other: tuple[Gateway, Path], grant: str) -> None:
    g, _ = other
    whole = (journal(g) / "000001.jsonl").read_bytes()
    for head in (journal(g) / "head.json", *g.data.glob("journal-*.head")):
        head.unlink()  # what the store itself knows is enough
    cut(g, 1)
    assert "end of the consent journal is missing" in turned_away(g, opened_by_a_command)
    assert "before entry" in turned_away(g, lambda s: replayed(s, whole.count(b"\n")))
    (journal(g) / "000001.jsonl").write_bytes(whole)
    assert asyncio.run(replayed(Settings(data=g.data), whole.count(b"\n"))) == 0
    asyncio.run(opened_by_a_command(Settings(data=g.data)))


def test_an_old_copy_and_a_journal_cut_before_the_withdrawal_stay_sealed(other: tuple[Gateway, Path], grant: str) -> None:
    g, copy = other
    asyncio.run(safekeeping.restore(Settings(data=g.data), copy, lambda n: None))
    cut(g, 1)
    said = turned_away(g, replayed)
    assert "before entry" in said and "stays sealed" in said
    assert "sealed" in turned_away(g, opened_by_a_command) and stored(g, "Consent", grant).version == 1


@pytest.mark.parametrize("lost", ["journal's head", "both heads"])
def test_a_cut_last_line_is_found_by_the_second_head_or_by_the_number_in_the_log(other: tuple[Gateway, Path], lost: str) -> None:
    g, copy = other
    asyncio.run(safekeeping.restore(Settings(data=g.data), copy, lambda n: None))
    whole = (journal(g) / "000001.jsonl").read_bytes()
    cut(g, 1)
    (journal(g) / "head.json").unlink()
    if lost == "both heads":
        for head in g.data.glob("journal-*.head"):
            head.unlink()
        assert "nobody can say" in turned_away(g, replayed)
        n = whole.count(b"\n")
        assert f"before entry {n}" in turned_away(g, lambda s: replayed(s, n))
        (journal(g) / "000001.jsonl").write_bytes(whole)
        assert asyncio.run(replayed(Settings(data=g.data), n)) == 1
    else:
        assert "before entry" in turned_away(g, replayed)


@pytest.mark.parametrize("how", ["missing", "empty", "cut to match"])
def test_an_old_file_put_back_by_hand_beside_a_lost_or_cut_journal_is_sealed(other: tuple[Gateway, Path], how: str) -> None:
    g, copy = other
    put_in_place(g, copy)
    if how == "cut to match":
        cut(g, 1)
    else:
        shutil.rmtree(journal(g)) if how == "missing" else (journal(g) / "000001.jsonl").write_bytes(b"")
        for head in g.data.glob("journal-*.head"):
            head.unlink()
    assert "end of the consent journal is missing" in turned_away(g, opened_by_a_command)
    done = g.command("restore", "--accept-gap", "--who", "Mo Begum", "--reason", "It is lost")
    said = [n.detail for n in wired_operator(g, lambda ctx: ctx.house.store.notes(user="Device/operator")) if "Mo Begum" in n.detail]
    assert done.returncode == 0 and all("nobody knows how many entries" in words and "0 entries" not in words for words in (done.stdout, *said)) and said
    asyncio.run(opened_by_a_command(Settings(data=g.data)))  # somebody has answered for it


@pytest.mark.slow
def test_killed_at_any_moment_the_journal_knows_every_withdrawal_that_was_acknowledged(other: tuple[Gateway, Path]) -> None:
    g, _ = other
    with running(g):
        body = sharing(g, [permit(g.persona("link-worker")["fhirUser"], "CarePlan")])
        made = g.call("patient", "POST", "Consent", body=body)
        g.stop(signal.SIGKILL)
    said = [str(e.ops) for e in Journal(journal(g)).entries()]
    assert any(made.json()["id"] in each for each in said)
    with running(g):  # not taken for an older copy
        assert g.get("patient", f"Consent/{made.json()['id']}").status_code == 200
