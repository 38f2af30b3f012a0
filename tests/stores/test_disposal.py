"""What is disposed of is gone from every table; nothing else removes a version; what a restore brings back goes again."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from pathlib import Path

import apsw
import pytest

from fhir_gateway.domain.search import Query
from fhir_gateway.domain.types import Always, Disclosed, Dispose, Drop, Has, Keep, Linked, Ref, Send
from fhir_gateway.store import journalled, sqlite, sqlite_file
from fhir_gateway.store.base import Store, Unsettled
from fhir_gateway.store.journal import Damaged, Head, Journal

from .making import ANN, BOB, at, goal, gone, note

ids = itertools.count(1)


def kept(store: Store, folder: Path) -> journalled.Journalled:
    return journalled.Journalled(store, Journal(folder), lambda: f"{next(ids):06}", at)


def consent(id: str, version: int = 1, text: str = "yes", **more: object) -> object:
    return goal(id, version, text=text, type="Consent", **more)  # type: ignore[arg-type]


async def test_a_disposal_leaves_nothing_but_the_trail(store: Store) -> None:
    for n, text in enumerate(("xyzzy one", "xyzzy two"), 1):
        await store.commit(goal("old", n, text=text, when=n))
    await store.commit(goal("old2"), gone("old2", 2), goal("his", patient=BOB), goal("both", patients=(BOB, ANN)))
    ref = Ref("Goal", "old")
    await store.commit(
        Send("hub", ref, 2, ANN), Linked("hub", ref, "Goal/77", base_sent=b"xyzzy"), Disclosed("hub", ref, 2, ANN, "Organization/x", at()),
        Keep("notice", f"{ANN} 1", b"xyzzy"), Keep("notice", f"{BOB} 1", b"stays"), note("n1"), Send("hub", Ref("Goal", "his"), 1, BOB),
    )  # fmt: skip
    await store.commit(Dispose(ANN, (ref, Ref("Goal", "old2")), (("notice", f"{ANN} 1"),)), note("n2"))
    assert await store.get(ref) is None and await store.version(ref, 1) is None and await store.get(Ref("Goal", "old2")) is None
    assert {v.ref.id for v in (await store.history(None, None, Always())).hits} == {"his", "both"}
    found = await store.search(Query(("Goal",)), Has("patient", frozenset({ANN, BOB})), filtered=Always(), count=9)
    assert {h.ref.id for h in found.hits} == {"his", "both"}
    assert await store.patient_versions(ANN, ["Goal"]) == [] and await store.referrers(Ref("Patient", "ann")) == [Ref("Goal", "both")]
    assert await store.outbox() == {"queued": 1} and await store.link("hub", ref) is None and await store.ledger() == []
    assert list(await store.kept_all("notice", at())) == [f"{BOB} 1"]
    assert {n.id for n in await store.notes(patient=ANN)} == {"n1", "n2"}
    await store.commit(goal("old", text="new life"))  # a name is free again
    assert (await store.get(ref)).version == 1  # type: ignore[union-attr]


async def test_a_disposal_is_all_or_nothing(store: Store) -> None:
    await store.commit(goal("old"))
    with pytest.raises(Exception, match="Goal/none"):
        await store.commit(Dispose(ANN, (Ref("Goal", "old"),)), goal("none", 3))
    assert await store.get(Ref("Goal", "old")) is not None and await store.version(Ref("Goal", "old"), 1) is not None


async def test_nothing_else_removes_a_version_and_what_went_is_overwritten(tmp_path: Path) -> None:
    store = await sqlite.open(tmp_path / "s.sqlite")
    await store.commit(*(goal(f"g{i}", text=f"xyzzy{i} " * 400) for i in range(40)))
    db = sqlite_file.connect(tmp_path / "s.sqlite")
    for sql in ("DELETE FROM version", "UPDATE version SET body = NULL", "INSERT OR REPLACE INTO version SELECT * FROM version"):
        with pytest.raises(apsw.ConstraintError):
            db.execute(sql)
    db.close()
    await store.commit(Dispose(ANN, tuple(Ref("Goal", f"g{i}") for i in range(40))), Keep("disposed", "c", b"{}"))
    assert await store.scrub()
    await store.close()
    for file in tmp_path.iterdir():
        assert b"xyzzy" not in file.read_bytes(), file


async def test_what_decides_is_in_the_journal_before_it_is_acknowledged_and_the_rest_is_not(store: Store, tmp_path: Path) -> None:
    j = kept(store, tmp_path / "j")
    await j.commit(goal("walk"), note("n1"))
    await j.commit(goal("walk", 2, text="run"), Keep("session", "x", b"y"))
    assert list(j.journal.entries()) == []
    await j.commit(consent("c"), note("n2"))
    await j.commit(goal("walk", 3, confidentiality="V"))  # somebody raised its label
    await j.commit(gone("walk", 4))
    await j.commit(Keep("account", "nurse", b"closed"), Drop("client", "app"))
    said = [[type(op).__name__ for op in journalled.decode(e.ops or b"")] for e in j.journal.entries()]
    assert said == [["Put", "Note"], ["Put"], ["Remove"], ["Keep", "Drop"]]
    assert not await journalled.is_behind(store, j.journal, at())


async def test_a_commit_that_is_refused_is_in_no_journal(store: Store, tmp_path: Path) -> None:
    j = kept(store, tmp_path / "j")
    await j.commit(consent("c"))
    with pytest.raises(Exception, match="Consent"):
        await j.commit(consent("c", 3))
    assert len(list(j.journal.entries())) == 1


async def test_killed_between_the_commit_and_the_journal_the_next_start_says_it(store: Store, tmp_path: Path) -> None:
    j = kept(store, tmp_path / "j")
    await j.commit(consent("c"))
    (tmp_path / "j" / "lock").unlink()
    (tmp_path / "j" / "lock").mkdir()  # the journal cannot be written
    with pytest.raises(Unsettled):
        await j.commit(consent("c", 2, "no"))
    (tmp_path / "j" / "lock").rmdir()
    again = kept(store, tmp_path / "j")
    assert await again.settle() == 1 and await again.settle() == 0
    assert [e.id for e in again.journal.entries()] == sorted(await store.kept_all("journal", at()))


async def test_an_older_copy_becomes_what_the_journal_says_however_often_it_is_replayed(tmp_path: Path) -> None:
    store = await sqlite.open(tmp_path / "now.sqlite")
    j = kept(store, tmp_path / "j")
    await j.commit(consent("c"))
    await j.commit(Keep("nhs-number", "9990000018", BOB.encode()))
    await j.commit(goal("walk"), goal("old", patient=BOB, text="xyzzy"))
    await store.backup(tmp_path / "old.sqlite")
    await j.commit(goal("walk", 2))
    await j.commit(consent("c", 2, "no"))
    await j.commit(consent("c", 3, "yes but"), consent("d"))
    await j.commit(goal("walk", 3, confidentiality="V"))
    await j.commit(consent("e", patient=BOB, text="xyzzy"))
    await j.commit(Dispose(BOB, (Ref("Goal", "old"), Ref("Consent", "e")), (("nhs-number", "9990000018"),)), note("n", patient=BOB))
    files = b"".join(f.read_bytes() for f in j.journal.files())
    assert b"9990000018" not in files
    old = await sqlite.open(tmp_path / "old.sqlite")
    assert await journalled.is_behind(old, j.journal, at())
    entries = list(j.journal.entries())
    assert [e.ops is None for e in entries].count(True) >= 1, "what stood there of Bob is forgotten"
    with pytest.raises(Damaged):
        await journalled.replay(old, entries[3:], at())
    assert await journalled.replay(old, entries, at()) == 5
    assert await journalled.replay(old, entries, at()) == 0
    assert not await journalled.is_behind(old, j.journal, at())
    for ref, version in ((Ref("Consent", "c"), 3), (Ref("Consent", "d"), 1), (Ref("Goal", "walk"), 2)):
        here, there = await old.get(ref), await store.get(ref)
        assert here is not None and there is not None and here.version == version
        assert here.facts == there.facts
    for ref in (Ref("Goal", "old"), Ref("Consent", "e")):
        assert await old.get(ref) is None
    assert await old.kept("nhs-number", "9990000018", at()) is None
    await old.close()
    await store.close()


async def test_a_journal_goes_on_in_a_next_file_and_is_one_chain(tmp_path: Path) -> None:
    from fhir_gateway.store.journal import Entry

    j = Journal(tmp_path, segment=2_000)
    for n in range(30):
        j.append([Entry(f"{n:03}", at(n), b"x" * 200, (ANN if n % 2 else BOB,))])
    assert len(j.files()) > 3 and [e.id for e in j.entries()] == [f"{n:03}" for n in range(30)]
    assert j.forget(ANN) == 15 and j.forget(ANN) == 0
    assert [e.ops is None for e in j.entries()] == [bool(n % 2) for n in range(30)] and j.newest(2) == ["029", "028"]
    (tmp_path / f"{len(j.files()) + 1:06}.jsonl").write_bytes(b'{"id":"cut')  # the machine stopped as it began the next
    Journal(tmp_path, segment=2_000).append([Entry("030", at(), b"x")])
    assert [e.id for e in j.entries()][-2:] == ["029", "030"]
    j.files()[1].unlink()
    with pytest.raises(Damaged):
        list(j.entries())


def test_what_a_start_wrote_down_late_stands_where_it_was_committed(tmp_path: Path) -> None:
    from fhir_gateway.store.journal import Entry, merged

    j = Journal(tmp_path / "one")
    j.append([Entry("001", at(), b"a"), Entry("004", at(), b"b"), Entry("003", at(), b"c")])
    j.append([Entry("002", at(), b"late", late=True)])
    assert [e.id for e in merged([j])] == ["001", "002", "004", "003"]
    other = Journal(tmp_path / "two")
    other.append([Entry("0015", at(), b"d")])
    assert [e.id for e in merged([j, other])] == ["001", "0015", "002", "004", "003"]


async def test_what_could_not_be_written_is_written_first_the_next_time(store: Store, tmp_path: Path) -> None:
    j = kept(store, tmp_path / "j")
    (tmp_path / "j" / "lock").mkdir(parents=True)
    with pytest.raises(Unsettled):
        await j.commit(consent("c"))
    (tmp_path / "j" / "lock").rmdir()
    await j.commit(consent("c", 2))
    assert [e.id for e in j.journal.entries()] == sorted(await store.kept_all("journal", at()))
    await j.close()


async def test_with_a_key_nobody_reads_the_journal_and_another_key_replays_nothing(tmp_path: Path) -> None:
    key, other = secrets.token_hex(32), secrets.token_hex(32)
    now, old = await sqlite.open(tmp_path / "now.sqlite"), await sqlite.open(tmp_path / "old.sqlite")
    j = journalled.Journalled(now, Journal(tmp_path / "j", key), lambda: f"{next(ids):06}", at)
    await j.commit(consent("c", text="xyzzy"))
    assert b"xyzzy" not in b"".join(f.read_bytes() for f in j.journal.files()) and b"xyzzy" in (next(iter(j.journal.entries())).ops or b"")
    for wrong in (other, ""):
        with pytest.raises(Damaged, match="GATEWAY_STORE_KEY"):
            await journalled.replay(old, list(Journal(tmp_path / "j", wrong).entries()), at())
    assert await journalled.replay(old, list(Journal(tmp_path / "j", key).entries()), at()) == 1
    await now.close()
    await old.close()


async def test_what_was_journalled_before_there_was_a_key_is_encrypted_in_its_place(tmp_path: Path) -> None:
    key, now = secrets.token_hex(32), await sqlite.open(tmp_path / "now.sqlite")
    await kept(now, tmp_path / "j").commit(consent("c", text="xyzzy"))
    head = Journal(tmp_path / "j").end()
    j = journalled.Journalled(now, Journal(tmp_path / "j", key), lambda: f"{next(ids):06}", at)
    assert j.journal.encrypt() == 1 and j.journal.encrypt() == 0 and j.journal.end() == head
    await j.commit(consent("c", 2, text="plugh"))
    assert b"xyzzy" in (next(iter(j.journal.entries())).ops or b"") and [e.locked for e in Journal(tmp_path / "j").entries()] == [True, True]
    with pytest.raises(Damaged, match="GATEWAY_STORE_KEY"):
        old = await sqlite.open(tmp_path / "old.sqlite")
        try:
            await journalled.replay(old, list(Journal(tmp_path / "j", secrets.token_hex(32)).entries()), at())
        finally:
            await old.close()
    assert j.journal.forget(ANN) == 2 and [e.ops for e in j.journal.entries()] == [None, None]
    await now.close()


async def test_a_log_that_cannot_be_written_holds_no_commit_up(tmp_path: Path) -> None:
    """Whoever reads the log may be gone: the end of the journal then goes unsaid, and every consent is still written and answered."""
    store, said = await sqlite.open(tmp_path / "s.sqlite"), list[int]()

    def told(head: Head) -> None:
        said.append(head.number)
        raise BrokenPipeError

    j = journalled.Journalled(store, Journal(tmp_path / "j"), lambda: f"{next(ids):06}", at, told=told)
    for version in (1, 2, 3):
        await asyncio.wait_for(j.commit(consent("c", version)), 10)
    assert said == [1, 2, 3] and len(list(j.journal.entries())) == 3
    await asyncio.wait_for(j.close(), 10)
