"""A commit is all or nothing, names what it replaces, and is there for whoever looks next."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fhir_gateway.domain.types import Bump, Close, Disclosed, Drop, Expect, Keep, Linked, Ref, Send
from fhir_gateway.store.base import Fenced, Moved, Stale, Store, StoreError, Taken

from .making import ANN, BOB, GP, Reopen, at, goal, gone, micros, note, refused

WALK = Ref("Goal", "walk")


async def test_what_was_committed_is_read_back_as_it_was(store: Store) -> None:
    put = goal("walk", when=0.123456, sensitivity=frozenset({"MH"}), codes=frozenset({"s|c"}), low=-5, high=2**60)
    await store.commit(put, note("n1"))
    found = await store.get(WALK)
    assert found is not None and not found.deleted
    assert (found.ref, found.version, found.updated, found.body, found.view) == (WALK, 1, put.at, put.body, put.view)
    assert (found.facts, found.writer, found.created_by, found.epoch) == (put.facts, GP, "Practitioner/gp", 0)
    assert await store.version(WALK, 1) == found
    assert [n.id for n in await store.notes()] == ["n1"]


async def test_a_view_equal_to_its_body_stays_equal(store: Store) -> None:
    put = goal("walk")
    await store.commit(replace(put, view=put.body))
    found = await store.get(WALK)
    assert found is not None and found.view == found.body == put.body


async def test_what_never_was_is_none(store: Store) -> None:
    await store.commit(goal("walk"))
    assert await store.get(Ref("Goal", "run")) is None
    assert await store.get(Ref("Task", "walk")) is None
    assert await store.get(Ref("goal", "walk")) is None and await store.get(Ref("Goal", "WALK")) is None
    assert await store.version(WALK, 2) is None
    assert await store.get_many([]) == {}


async def test_get_many_gives_those_that_are_there(store: Store) -> None:
    await store.commit(goal("a"), goal("b"))
    found = await store.get_many([Ref("Goal", "b"), Ref("Goal", "x"), Ref("Goal", "a"), Ref("Goal", "b")])
    assert {ref.id: s.body for ref, s in found.items()} == {"a": goal("a").body, "b": goal("b").body}


async def test_an_update_replaces_and_history_keeps(store: Store) -> None:
    await store.commit(goal("walk", 1, text="walk"))
    await store.commit(goal("walk", 2, when=5, text="walk far", writer=replace(GP, user="Practitioner/other")))
    now, then = await store.get(WALK), await store.version(WALK, 1)
    assert now is not None and then is not None
    assert (now.version, now.created_by, now.writer.user) == (2, "Practitioner/gp", "Practitioner/other")
    assert then.version == 1 and b"walk far" not in (then.body or b"") and b"walk far" in (now.body or b"")


async def test_a_deletion_is_a_version_without_a_body(store: Store) -> None:
    await store.commit(goal("walk"))
    await store.commit(gone("walk", 2, when=3))
    found = await store.get(WALK)
    assert found is not None and found.deleted and found.body is None and found.view is None
    assert (found.version, found.updated, found.facts.patients) == (2, at(3), (ANN,))
    assert await store.version(WALK, 2) == found
    assert await store.counts() == {} and await store.patient_record(ANN, ["Goal"]) == []


async def test_what_was_deleted_can_be_written_again(store: Store) -> None:
    await store.commit(goal("walk"))
    await store.commit(gone("walk", 2))
    await refused(store, Stale, goal("walk", 1))
    await store.commit(goal("walk", 3))
    found = await store.get(WALK)
    assert found is not None and (found.version, found.deleted) == (3, False)
    assert await store.counts() == {"Goal": 1}


@pytest.mark.parametrize("version", [1, 3, 4])
async def test_a_stale_write_changes_nothing(store: Store, version: int) -> None:
    await store.commit(goal("walk", 1), note("n1"))
    if version == 1:
        wrong = goal("walk", 1)  # it exists
    else:
        wrong = goal("walk", version)  # replaces a version that is not current
    e = await refused(store, Stale, goal("other"), note("n2"), Bump(ANN), Keep("code", "k", b"v"), Send("hospital", WALK, 1, ANN), wrong)
    assert isinstance(e, Stale) and e.ref == WALK
    await refused(store, Stale, gone("walk", version))
    await refused(store, Stale, gone("never", 2))


async def test_versions_follow_one_another(store: Store) -> None:
    await store.commit(goal("walk"))
    await refused(store, ValueError, replace(goal("walk", 2), version=3))
    await refused(store, ValueError, replace(gone("walk", 2), version=2, if_version=2))


async def test_one_commit_may_write_one_resource_twice(store: Store) -> None:
    await store.commit(goal("walk"), goal("walk", 2), gone("walk", 3))
    found = await store.get(WALK)
    assert found is not None and found.version == 3 and found.deleted


@pytest.mark.parametrize("bad", ["lone \ud800 surrogate"])
async def test_what_cannot_be_written_is_refused_alone(store: Store, bad: str) -> None:
    await refused(store, UnicodeError, goal("walk"), note("n1", detail=bad))
    await refused(store, UnicodeError, note("n2"), note("n1", detail=bad))
    good = [store.commit(note(f"g{i}")) for i in range(10)] + [store.commit(goal(f"g{i}"), note(f"h{i}")) for i in range(10)]
    results = await asyncio.gather(store.commit(note("n3", user=bad)), *good, return_exceptions=True)
    assert isinstance(results[0], UnicodeError) and results[1:] == [None] * 20
    assert len(await store.notes(count=100)) == 20


async def test_nobody_pays_for_a_neighbour(store: Store) -> None:
    """Many commits at once, some refused: each gets its own answer, whatever the others'."""
    await store.commit(goal("taken"))
    commits = []
    for i in range(300):
        ops = [goal(f"g{i}"), note(f"n{i}")] if i % 3 else [note(f"n{i}"), goal(f"x{i}"), goal("taken")]
        commits.append(store.commit(*ops))
    results = await asyncio.gather(*commits, return_exceptions=True)
    for i, result in enumerate(results):
        assert (result is None) if i % 3 else isinstance(result, Stale)
    assert await store.counts() == {"Goal": 201}
    assert {n.id for n in await store.notes(count=1000)} == {f"n{i}" for i in range(300) if i % 3}


async def test_of_many_writers_of_one_version_one_wins(store: Store, reopen: Reopen) -> None:
    others = [store, await reopen(), await reopen()]
    await store.commit(goal("walk"))
    race = [others[i % 3].commit(goal("walk", 2, text=f"writer {i}"), note(f"n{i}")) for i in range(30)]
    results = await asyncio.gather(*race, return_exceptions=True)
    winner = results.index(None)
    assert sum(r is None for r in results) == 1 and all(isinstance(r, Stale) for i, r in enumerate(results) if i != winner)
    for one in others:
        found = await one.get(WALK)
        assert found is not None and f'"writer {winner}"'.encode() in (found.body or b"")
        assert [n.id for n in await one.notes()] == [f"n{winner}"]


async def test_a_cancelled_caller_leaves_whole_commits(store: Store) -> None:
    tasks = [asyncio.ensure_future(store.commit(goal(f"g{i}"), note(f"g{i}"))) for i in range(50)]
    await asyncio.sleep(0)
    for t in tasks[::2]:
        t.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.commit(note("last"))
    there = {n.id for n in await store.notes(count=100)} - {"last"}
    assert {f"g{i}" for i in range(1, 50, 2)} <= there
    assert {r.id for r in await store.get_many([Ref("Goal", f"g{i}") for i in range(50)])} == there


async def test_a_reader_never_sees_half_a_commit(store: Store, reopen: Reopen) -> None:
    other = await reopen()
    pair = [Ref("Goal", "a"), Ref("Goal", "b")]
    await store.commit(goal("a"), goal("b"))
    stop = asyncio.Event()

    async def write() -> None:
        for v in range(2, 60):
            await store.commit(goal("a", v), goal("b", v))
        stop.set()

    async def look() -> int:
        looks = 0
        while not stop.is_set():
            for one in (store, other):
                found = await one.get_many(pair)
                assert len({s.version for s in found.values()}) == 1
                looks += 1
            await asyncio.sleep(0)
        return looks

    _, looks = await asyncio.gather(write(), look())
    assert looks > 10


async def test_what_one_process_wrote_the_other_reads_at_once(store: Store, reopen: Reopen) -> None:
    other = await reopen()
    for v in range(1, 30):
        await (store if v % 2 else other).commit(goal("walk", v), Bump(ANN))
        for one in (store, other):
            found = await one.get(WALK)
            assert found is not None and (found.version, found.epoch) == (v, v)


async def test_it_is_all_there_after_closing_and_opening(store: Store, reopen: Reopen) -> None:
    await store.commit(goal("walk"), note("n1"), Bump(ANN), Keep("code", "k", b"v"), Send("hospital", WALK, 1, ANN))
    await asyncio.gather(*(store.commit(note(f"m{i}")) for i in range(40)))
    await store.close()
    with pytest.raises(StoreError):
        await store.commit(note("late"))
    again = await reopen()
    assert (await again.get(WALK)) is not None and await again.epoch(ANN) == 1 and await again.kept("code", "k", at()) == b"v"
    assert await again.outbox() == {"queued": 1} and len(await again.notes(count=100)) == 41


async def test_what_was_submitted_before_closing_is_written(store: Store, reopen: Reopen) -> None:
    under_way = [asyncio.ensure_future(store.commit(note(f"m{i}"))) for i in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*under_way)
    assert len(await (await reopen()).notes(count=100)) == 20


async def test_an_empty_commit_is_nothing(store: Store) -> None:
    await store.commit()
    assert await store.counts() == {}


# -- epochs -----------------------------------------------------------------------------------------------------------------


async def test_an_epoch_moves_with_the_commit_that_moves_it(store: Store) -> None:
    assert await store.epoch(ANN) == 0
    await store.commit(goal("walk"), Bump(ANN), Bump("directory"))
    await store.commit(Bump(ANN))
    assert (await store.epoch(ANN), await store.epoch("directory"), await store.epoch(BOB)) == (2, 1, 0)
    found = await store.get(WALK)
    assert found is not None and found.epoch == 2
    await refused(store, Stale, Bump(ANN), goal("walk"))


async def test_a_decision_that_was_overtaken_commits_nothing(store: Store) -> None:
    await store.commit(goal("walk"), Expect(ANN, 0))
    await store.commit(Bump(ANN))
    await refused(store, Moved, goal("walk", 2), note("n1"), Expect(ANN, 0))
    await refused(store, Moved, Expect("directory", 1))
    await store.commit(goal("walk", 2), Expect(ANN, 1), Expect("directory", 0))


async def test_expect_speaks_of_before_the_commit(store: Store) -> None:
    await store.commit(Bump(ANN), Expect(ANN, 0))
    await store.commit(Expect(ANN, 1), Bump(ANN), Bump(ANN), Expect(ANN, 1))
    assert await store.epoch(ANN) == 3


async def test_of_decisions_on_one_epoch_one_may_move_it(store: Store, reopen: Reopen) -> None:
    other = await reopen()
    race = [(store, other)[i % 2].commit(Expect(ANN, 0), Bump(ANN), note(f"n{i}")) for i in range(20)]
    results = await asyncio.gather(*race, return_exceptions=True)
    assert sum(r is None for r in results) == 1 and sum(isinstance(r, Moved) for r in results) == 19
    assert await store.epoch(ANN) == 1 and len(await store.notes()) == 1


# -- refusals of the rest ------------------------------------------------------------------------------------------------------


async def test_every_kind_of_refusal_leaves_no_trace(store: Store) -> None:
    await store.commit(goal("walk"), Keep("code", "k", b"v"), Send("hospital", WALK, 1, ANN))
    (held,) = await store.lease("hospital", "w1", at(), 60, 10)
    linked = Linked("hospital", Ref("Goal", "new"), "Goal/77")
    sent = Disclosed("hospital", Ref("Goal", "new"), 1, ANN, "Organization/hospital", at())
    before = (goal("new"), note("n"), Bump(BOB), Keep("client", "c", b"1"), Drop("code", "k"), Send("hospital", WALK, 1, BOB), linked, sent)
    await refused(store, Taken, *before, Keep("code", "q", b"", if_value=b"other"))
    await refused(store, Fenced, *before, Close(held.entry, held.fence + 1, "sent"))
    await refused(store, Moved, *before, Expect(ANN, 9))
    assert await store.link("hospital", Ref("Goal", "new")) is None and await store.link_by_remote("hospital", "Goal/77") is None


def test_micros_of_these_tests_is_exact() -> None:
    assert micros(at(0.000001)) - micros(at(0)) == 1
