"""The outbox under fenced leases, links, the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.types import Close, Delay, Disclosed, Keep, Linked, Op, Place, Queued, Ref, Renew, Send
from fhir_gateway.store import sqlite
from fhir_gateway.store.base import Fenced, Moved, Store, Taken

from .making import ANN, BOB, Reopen, at, goal, note, refused


def send(id: str, version: int = 1, patient: str | None = ANN, **more: str) -> Send:
    return Send(more.pop("remote", "hospital"), Ref("Goal", id), version, patient, **more)


async def lease(store: Store, when: float = 0, holder: str = "w", seconds: float = 60, count: int = 10) -> list[Queued]:
    return await store.lease("hospital", holder, at(when), seconds, count)


async def test_what_is_queued_is_leased_as_it_was_queued(store: Store) -> None:
    await store.commit(goal("walk", when=7), send("walk", why="released"))
    (entry,) = await lease(store, 8)
    assert (entry.remote, entry.ref, entry.version, entry.patient, entry.why, entry.tries, entry.queued_at) == (
        "hospital", Ref("Goal", "walk"), 1, ANN, "released", 0, at(7),
    )  # fmt: skip
    assert await store.outbox() == {"leased": 1} == await store.outbox("hospital") and await store.outbox("other") == {}
    assert await lease(store, 9) == []


async def test_one_entry_of_a_person_at_a_time_in_order(store: Store) -> None:
    await store.commit(send("a"), send("b"), send("his", patient=BOB), send("a", 2))
    first = await lease(store)
    assert [(e.ref.id, e.version) for e in first] == [("a", 1), ("his", 1)]
    assert await lease(store, 1) == []
    await store.commit(Close(first[0].entry, first[0].fence, "sent", "ok"))
    assert [(e.ref.id, e.version) for e in await lease(store, 1)] == [("b", 1)]


async def test_one_entry_of_a_resource_at_a_time_even_if_it_changes_hands(store: Store) -> None:
    await store.commit(send("a", patient=None), send("b", patient=None), send("a", 2, patient=BOB), send("a", 3, patient=None))
    first = await lease(store)
    assert [(e.ref.id, e.version) for e in first] == [("a", 1), ("b", 1)]
    await store.commit(*(Close(e.entry, e.fence, "sent") for e in first))
    (second,) = await lease(store, 1)
    assert second.version == 2
    await store.commit(Close(second.entry, second.fence, "sent"))
    assert [e.version for e in await lease(store, 2)] == [3]


async def test_remotes_do_not_wait_for_each_other(store: Store) -> None:
    await store.commit(send("a"), send("a", remote="council"))
    assert len(await lease(store)) == 1
    assert len(await store.lease("council", "w", at(), 60, 10)) == 1
    assert await store.outbox("council") == {"leased": 1}


async def test_no_more_than_asked_oldest_first(store: Store) -> None:
    await store.commit(*(send(f"g{i}", patient=f"Patient/{i}") for i in range(10)))
    assert [e.ref.id for e in await lease(store, count=3)] == ["g0", "g1", "g2"]
    assert [e.ref.id for e in await lease(store, count=100)] == [f"g{i}" for i in range(3, 10)]
    assert await lease(store, count=0) == []


async def test_reviews_and_recalls_come_before_what_was_queued_earlier_of_others(store: Store) -> None:
    await store.commit(*(send(f"g{i}", patient=f"Patient/{i}") for i in range(5)))
    await store.commit(send("ann", why="review", patient=ANN), send("his", why="recall", patient=BOB), send("g9", patient=BOB))
    assert [e.ref.id for e in await lease(store, count=3)] == ["ann", "his", "g0"]
    assert [e.ref.id for e in await lease(store, count=9)] == ["g1", "g2", "g3", "g4"], "one of a person at a time, as ever"


async def test_a_no_of_somebody_of_whom_something_is_there_goes_before_a_backlog_with_what_stands_before_it(store: Store) -> None:
    """Her last edit stood behind the backlog, and her no behind that. Of whom nothing is there, nothing is to be taken back."""
    await store.commit(Disclosed("hospital", Ref("Goal", "old"), 1, ANN, "Organization/hospital", at()))
    await store.commit(*(send(f"g{i}", patient=f"Patient/{i}") for i in range(5)), send("first", why="review", patient=BOB))
    await store.commit(send("edit"), send("ann", why="review"))
    for left in (["edit", "first", "g0"], ["ann", "first", "g0"]):
        mine, *others = await lease(store, count=3)
        assert [e.ref.id for e in (mine, *others)] == left
        await store.commit(Close(mine.entry, mine.fence, "sent"), *(Delay(e.entry, e.fence, at(), untried=True) for e in others))
    await store.commit(send("later"), send("last", patient=BOB))
    assert [e.ref.id for e in await lease(store, 1, count=3)] == ["first", "g0", "g1"], "her lane is as any other again"


async def test_what_is_older_of_the_same_resource_goes_before_somebody_in_a_hurry_in_whatever_lane(store: Store) -> None:
    await store.commit(Disclosed("hospital", Ref("Goal", "old"), 1, ANN, "Organization/hospital", at()))
    await store.commit(send("shared", why="recall", patient=BOB), send("shared", 2), send("ann", why="review"))
    (recall,) = await lease(store)
    assert (recall.why, recall.patient) == ("recall", BOB), "not beside what was changed since"
    assert await lease(store, 1) == []
    await store.commit(Close(recall.entry, recall.fence, "recalled"))
    assert [(e.ref.id, e.why) for e in await lease(store, 2)] == [("shared", "changed")]


async def test_what_goes_there_or_comes_back_in_the_same_commit_counts_for_the_hurry(store: Store) -> None:
    rows = [Disclosed("hospital", Ref("Goal", id), 1, who, "Organization/hospital", at()) for id, who in (("his", BOB), ("hers", ANN))]
    await store.commit(*(send(f"g{i}", patient=f"Patient/{i}") for i in range(2)), rows[0])
    await store.commit(replace(rows[0], recalled=at(1)), send("his edit", patient=BOB), send("bob", why="review", patient=BOB))
    await store.commit(rows[1], send("edit"), send("ann", why="review"))
    assert [(e.ref.id, e.patient) for e in await lease(store, 1, count=2)] == [("edit", ANN), ("g0", "Patient/0")]


async def test_reviews_alone_are_leased_where_nothing_may_be_sent(store: Store) -> None:
    """Of each lane where nothing runs, whatever stands before it; nothing else is touched."""
    await store.commit(send("g1"), send("ann", why="review"), send("g2", why="recall"), send("g3", patient=BOB), send("bob", why="review", patient=BOB))
    await store.commit(send("ann", why="recall"), send("ann", why="review"), send("g4", patient="Patient/eve"))

    async def reviews(when: float) -> list[Queued]:
        return await store.lease("hospital", "w", at(when), 60, 10, True)

    first = await reviews(0)
    assert [(e.ref.id, e.why) for e in first] == [("ann", "review"), ("bob", "review")] and await reviews(1) == []
    await store.commit(*(Close(e.entry, e.fence, "sent") for e in first))
    assert await reviews(2) == [], "behind a recall of the same resource"
    assert [e.ref.id for e in await lease(store, 2)] == ["g1", "g3", "g4"], "each as if nobody had looked"


async def test_an_urgent_entry_of_a_resource_that_runs_elsewhere_waits_for_it(store: Store) -> None:
    await store.commit(send("a", patient=None))
    (a,) = await lease(store)
    await store.commit(send("a", why="recall", patient=BOB), send("b"))
    assert [e.ref.id for e in await lease(store, 1)] == ["b"]
    await store.commit(Close(a.entry, a.fence, "sent"))
    assert [e.why for e in await lease(store, 2)] == ["recall"]


async def test_given_back_untried_it_has_no_try_the_less(store: Store) -> None:
    await store.commit(send("a"))
    for n in range(3):
        (entry,) = await lease(store, n)
        assert entry.tries == 0
        await store.commit(Delay(entry.entry, entry.fence, at(n), "the server went away", untried=True))
    assert [i["tries"] for i in await store.outbox_items("hospital", "queued")] == [0]


async def test_what_is_not_over_is_counted_by_state_and_reason_since_the_oldest(store: Store) -> None:
    await store.commit(goal("walk", when=7), send("a"), send("b", why="recall", patient=BOB), send("c", patient="Patient/c"), send("x", remote="council"))
    (b, a, _) = await lease(store, 8)
    await store.commit(Close(b.entry, b.fence, "parked", "422"), Close(a.entry, a.fence, "sent"), goal("run", when=9), send("d"), send("e"))
    assert await store.outbox_unfinished("hospital") == {
        ("parked", "recall"): (1, at(7)), ("leased", "changed"): (1, at(7)), ("queued", "changed"): (2, at(9)),
    }  # fmt: skip
    assert await store.outbox_unfinished("nobody") == {}


async def test_who_lost_the_lease_cannot_close(store: Store) -> None:
    await store.commit(send("a"))
    (old,) = await lease(store, 0, "slow", 60)
    assert await lease(store, 59.999, "other") == []
    (new,) = await lease(store, 60, "other")
    assert new.entry == old.entry and new.fence > old.fence and new.tries == 1
    await refused(store, Fenced, Close(old.entry, old.fence, "sent"), note("n"))
    await refused(store, Fenced, Delay(old.entry, old.fence, at(100)), note("n"))
    await store.commit(Close(new.entry, new.fence, "sent", "version 1"))
    await refused(store, Fenced, Close(new.entry, new.fence, "sent"))
    (item,) = await store.outbox_items("hospital", "sent")
    assert (item["ref"], item["detail"], item["tries"]) == ("Goal/a", "version 1", 2)


async def test_whose_lease_ran_out_may_close_while_nobody_else_took_it(store: Store) -> None:
    await store.commit(send("a"))
    (entry,) = await lease(store, 0, seconds=1)
    await store.commit(Close(entry.entry, entry.fence, "sent"))
    assert await store.outbox() == {"sent": 1}


async def test_what_is_leased_says_by_whom_and_until_when(store: Store) -> None:
    await store.commit(send("a"))
    await lease(store, 0, seconds=60)
    (item,) = await store.outbox_items("hospital", "leased")
    assert item["holder"] and item["until"] == at(60)


async def test_given_back_it_is_due_later_and_keeps_its_place(store: Store) -> None:
    await store.commit(send("a"), send("b"))
    (entry,) = await lease(store)
    await store.commit(Delay(entry.entry, entry.fence, at(30), "503"))
    (item, _) = await store.outbox_items("hospital", "queued")
    assert (item["due"], item["detail"], item["queued_at"], item["holder"], item["until"]) == (at(30), "503", at(), None, None)
    assert await lease(store, 29) == []
    (again,) = await lease(store, 30)
    assert (again.entry, again.tries) == (entry.entry, 1) and again.fence > entry.fence


async def test_who_goes_on_holding_an_entry_holds_it_longer(store: Store) -> None:
    await store.commit(send("a"))
    (old,) = await lease(store, 0, seconds=60)
    await store.commit(Renew(old.entry, old.fence, at(110)), Keep("attempt", "hospital Goal/a", b"1"))
    assert await lease(store, 109.9, "other") == []
    (new,) = await lease(store, 110, "other")
    await refused(store, Fenced, Renew(old.entry, old.fence, at(200)), Keep("attempt", "hospital Goal/a", b"2"))
    assert await store.kept("attempt", "hospital Goal/a", at(110)) == b"1"
    await store.commit(Close(new.entry, new.fence, "sent"))
    await refused(store, Fenced, Renew(new.entry, new.fence, at(200)))


async def test_a_review_or_recall_goes_by_what_waits_for_another_try(store: Store) -> None:
    await store.commit(send("a"), send("b"), send("ann", why="review"), send("a", why="recall"), send("b", why="recall"))
    (a,) = await lease(store)
    assert await lease(store, 1) == [], "one of a person at a time"
    await store.commit(Delay(a.entry, a.fence, at(300), "503"))
    (review,) = await lease(store, 2)
    assert review.why == "review" and await lease(store, 2) == []
    await store.commit(Delay(review.entry, review.fence, at(200), "503"))
    (recall,) = await lease(store, 3)
    assert (recall.why, recall.ref.id) == ("recall", "a"), "also of what waits itself"
    await store.commit(Close(recall.entry, recall.fence, "recalled"))
    (recall,) = await lease(store, 4)
    assert (recall.why, recall.ref.id) == ("recall", "b"), "by its own send too, which has no turn while a waits: it asks consent when it has"
    assert await lease(store, 5) == []
    await store.commit(Close(recall.entry, recall.fence, "recalled"))
    (review,) = await lease(store, 200)
    await store.commit(Close(review.entry, review.fence, "sent"))
    (a,) = await lease(store, 300)
    assert (a.why, a.tries) == ("changed", 1)


async def test_a_recall_of_a_person_that_is_held_up_holds_up_no_review_of_them_and_no_recall_of_anything_else(store: Store) -> None:
    amina = "Patient/amina"
    them = Send("hospital", Ref("Patient", "amina"), 1, amina, "recall")
    await store.commit(them, Send("hospital", Ref("Patient", "amina"), 0, amina, "review"))
    (first,) = await lease(store)
    assert first.why == "recall" and await lease(store, 1) == [], "one of a person at a time"
    await store.commit(Delay(first.entry, first.fence, at(250), "409"))
    (review,) = await lease(store, 2)
    assert (review.why, review.ref) == ("review", Ref("Patient", "amina")), "of the very record that is to be taken back"
    await store.commit(Close(review.entry, review.fence, "sent"), send("a", patient=amina, why="recall"), them)
    (recall,) = await lease(store, 3)
    assert (recall.why, recall.ref.id) == ("recall", "a")
    await store.commit(Close(recall.entry, recall.fence, "recalled"))
    assert await lease(store, 4) == [], "a second recall of them waits behind the first"
    (again,) = await lease(store, 250)
    assert (again.entry, again.tries) == (first.entry, 1)
    await store.commit(Close(again.entry, again.fence, "recalled"))
    assert [e.why for e in await lease(store, 251)] == ["recall"]


async def test_what_waited_for_another_try_does_not_run_beside_what_went_by(store: Store) -> None:
    await store.commit(send("a"), send("b", why="recall"))
    (a,) = await lease(store)
    await store.commit(Delay(a.entry, a.fence, at(10), "503"))
    (b,) = await lease(store, 1, seconds=60)
    assert b.why == "recall" and await lease(store, 20) == []
    assert [e.ref.id for e in await lease(store, 61)] == ["a"], "its lease is over: the oldest first again"


async def test_parked_and_withheld_stand_in_nobody_s_way_until_queued_again(store: Store) -> None:
    await store.commit(send("a"), send("b"), send("c"))
    (a,) = await lease(store)
    await store.commit(Close(a.entry, a.fence, "parked", "422"))
    (b,) = await lease(store)
    await store.commit(Close(b.entry, b.fence, "withheld", "consent 4"))
    assert [e.ref.id for e in await lease(store, seconds=1)] == ["c"]
    assert await store.requeue("hospital", "withheld", at(), [Ref("Goal", "a")]) == 0
    assert await store.requeue("hospital", "withheld", at(), []) == 0
    assert await store.requeue("hospital", "withheld", at(), [Ref("Goal", "b"), Ref("Goal", "b")]) == 1
    assert await store.requeue("council", "parked", at()) == 0
    assert await store.requeue("hospital", "parked", at(), into="skipped") == 1 and await lease(store, seconds=1) == []
    assert (await store.outbox("hospital"))["skipped"] == 1 and await store.requeue("hospital", "skipped", at(), into="parked") == 1
    assert await store.requeue("hospital", "parked", at()) == 1
    (again,) = await lease(store, 1)
    assert (again.ref.id, again.tries) == ("a", 0) and again.fence > a.fence, "fresh tries, and no way back for the old holder"
    await refused(store, Fenced, Close(a.entry, a.fence, "sent"))


async def test_one_entry_is_placed_alone_and_only_from_where_it_was(store: Store) -> None:
    for _ in range(2):
        await store.commit(send("a"))
        (entry,) = await lease(store)
        await store.commit(Close(entry.entry, entry.fence, "parked", "422"))
    first, second = [i["entry"] for i in await store.outbox_items("hospital", "parked")]
    await store.commit(Place(first, "parked", "skipped"))
    assert [i["entry"] for i in await store.outbox_items("hospital", "parked")] == [second]
    await refused(store, Fenced, Place(first, "parked", "queued"))
    await store.commit(Place(first, "skipped", "queued"))
    (again,) = await lease(store, 1)
    assert (again.entry, again.tries) == (first, 0), "fresh tries"
    await refused(store, Fenced, Place(first, "parked", "queued"))


@pytest.mark.parametrize("how", ["all", "one", "placed"])
async def test_a_withdrawal_that_is_queued_again_goes_before_a_backlog_as_when_it_came(store: Store, how: str) -> None:
    """With what stands before it in its lane, which was behind the backlog otherwise. Of whom nothing is there any more, nothing hurries."""
    rows = [Disclosed("hospital", Ref("Goal", who[-3:]), 1, who, "Organization/hospital", at()) for who in (ANN, BOB)]
    await store.commit(*rows, *(send(f"g{i}", patient=f"Patient/{i}") for i in range(2)))
    await store.commit(*(send(f"{name} {who[-3:]}", patient=who, why=why) for who in (BOB, ANN) for name, why in (("edit", "changed"), ("back", "recall"))))
    for n in range(2):
        for entry in await lease(store, n):
            parked = entry.why == "recall"
            await store.commit(Close(entry.entry, entry.fence, "parked", "422") if parked else Delay(entry.entry, entry.fence, at(10), "503"))
    await store.commit(replace(rows[1], recalled=at(2)))
    items = await store.outbox_items("hospital", "parked")
    assert len(items) == 2
    if how == "placed":
        await store.commit(*(Place(i["entry"], "parked", "queued") for i in items))
    else:
        refs = None if how == "all" else [Ref(*i["ref"].split("/")) for i in items]
        assert await store.requeue("hospital", "parked", at(), refs) == 2
    assert [e.ref.id for e in await lease(store, 20)] == [f"edit {ANN[-3:]}", "g0", "g1", f"edit {BOB[-3:]}"]


async def test_what_is_withheld_of_one_person_is_found_among_that_of_many(store: Store) -> None:
    await store.commit(*(send(f"g{i}", patient=f"Patient/{i % 3}") for i in range(9)))
    while entries := await lease(store, 9):  # one of each person at a time
        await store.commit(*(Close(e.entry, e.fence, "withheld", "consent 4") for e in entries))
    mine = await store.outbox_items("hospital", "withheld", 2, patient="Patient/2")
    assert [i["ref"] for i in mine] == ["Goal/g2", "Goal/g5"]
    assert await store.outbox_items("hospital", "withheld", patient="Patient/3") == []


async def test_what_is_to_be_taken_back_is_found_behind_however_much_else(store: Store) -> None:
    await store.commit(*(send(f"g{i}") for i in range(5)), send("back", why="recall"), send("his", patient=BOB, why="recall"))
    assert [i["ref"] for i in await store.outbox_items("hospital", "queued", 2, why="recall")] == ["Goal/back", "Goal/his"]
    assert [i["ref"] for i in await store.outbox_items("hospital", "queued", 2, patient=BOB, why="recall")] == ["Goal/his"]
    assert await store.outbox_items("hospital", "parked", why="recall") == []


async def test_a_clock_set_back_frees_what_it_would_hold_for_ever(store: Store) -> None:
    await store.commit(send("a"))
    await lease(store, 86_400, seconds=60)
    assert await lease(store, 86_350) == [], "a little before is another process's clock"
    assert len(await lease(store, 0)) == 1


async def test_two_workers_never_hold_the_same_entry(store: Store, reopen: Reopen) -> None:
    stores = [store, await reopen(), await reopen()]
    await store.commit(*(send(f"g{i}", patient=f"Patient/{i % 25}") for i in range(100)))
    held: list[tuple[int, int]] = []

    async def work(n: int) -> None:
        while True:
            mine = await stores[n % 3].lease("hospital", f"w{n}", at(), 60, 4)
            if not mine and (await stores[n % 3].outbox()).get("queued", 0) == 0:
                return
            held.extend((e.entry, e.fence) for e in mine)
            for e in mine:
                await stores[n % 3].commit(Close(e.entry, e.fence, "sent"))

    await asyncio.gather(*(work(n) for n in range(6)))
    assert sorted(e for e, _ in held) == sorted({e for e, _ in held}) and len(held) == 100
    assert await store.outbox() == {"sent": 100}


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["send", "lease", "close", "delay", "late", "requeue", "wait"]), st.integers(0, 5), st.integers(0, 3)),
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_workers_do_order_and_fences_hold(reopen: Reopen, steps: list[tuple[str, int, int]]) -> None:
    """For any history of sends, leases, closes and late closes: one open lease a person, in order, fences only grow."""
    store = await _shared(reopen)
    remote = f"r{next(_remotes)}"
    clock, mine, fences = 0.0, dict[int, Queued](), dict[int, int]()
    old: list[Queued] = []
    closed: list[int] = []
    for n, (what, a, b) in enumerate(steps):
        if what == "send":
            await store.commit(Send(remote, Ref("Goal", f"g{a}"), n + 1, f"Patient/{a % 3}" if b else None))
        elif what == "lease":
            taken = await store.lease(remote, "w", at(clock), 10, a)
            people = [e.patient or str(e.ref) for e in taken]
            assert len(people) == len(set(people)) and [e.entry for e in taken] == sorted(e.entry for e in taken)
            for e in taken:
                assert e.fence > fences.get(e.entry, 0), "a fence went back"
                fences[e.entry] = e.fence
                if e.entry in mine:
                    old.append(mine[e.entry])
                mine[e.entry] = e
                order = [i["entry"] for s in ("queued", "leased") for i in await store.outbox_items(remote, s) if i["patient"] == e.patient and (e.patient or i["ref"] == str(e.ref))]
                assert e.entry == min(order), "an older entry of the same person was passed over"
        elif what in ("close", "delay") and mine:
            entry = mine.pop(sorted(mine)[a % len(mine)])
            op: Op = Close(entry.entry, entry.fence, ("sent", "parked", "withheld", "sent")[b]) if what == "close" else Delay(entry.entry, entry.fence, at(clock + b))
            await store.commit(op)
            old.append(entry)
            closed += [entry.entry] if what == "close" else []
        elif what == "late" and old:
            entry = old[a % len(old)]
            try:
                await store.commit(Close(entry.entry, entry.fence, "sent"))
                raise AssertionError("a lost lease closed an entry")
            except Fenced:
                pass
        elif what == "requeue":
            await store.requeue(remote, ("parked", "withheld")[b % 2], at(clock))
        else:
            clock += a * 3
    total = sum((await store.outbox(remote)).values())
    assert total == sum(1 for s in steps if s[0] == "send"), "an entry was lost"


_remotes = iter(range(10**9))
_open: dict[int, Store] = {}


async def _shared(reopen: Reopen) -> Store:
    if id(reopen) not in _open:
        _open[id(reopen)] = await reopen()
    return _open[id(reopen)]


# -- links and the ledger -----------------------------------------------------------------------------------------------------


async def test_a_link_is_found_from_both_sides(store: Store) -> None:
    link = Linked("hospital", Ref("Goal", "walk"), "Goal/77", 'W/"3"', "2026-05-04T09:00:00Z", 2, b"{}", b'{"a":1}')
    await store.commit(link)
    assert await store.link("hospital", Ref("Goal", "walk")) == link == await store.link_by_remote("hospital", "Goal/77")
    assert await store.link("council", Ref("Goal", "walk")) is None and await store.link_by_remote("hospital", "Goal/78") is None
    moved = replace(link, remote_id="Goal/99", gone=True, base_sent=None)
    await store.commit(moved)
    assert await store.link("hospital", Ref("Goal", "walk")) == moved == await store.link_by_remote("hospital", "Goal/99")
    assert await store.link_by_remote("hospital", "Goal/77") is None


async def test_a_link_is_written_over_the_one_that_was_read_or_not_at_all(store: Store) -> None:
    first = Linked("hospital", Ref("Goal", "walk"), "Goal/77", 'W/"3"', base_sent=b"{}")
    await store.commit(replace(first, if_absent=True))
    assert await store.link("hospital", first.ref) == first == await store.link_by_remote("hospital", "Goal/77")
    await refused(store, Moved, replace(first, etag="x", if_absent=True), send("walk"))
    gone = replace(first, gone=True, if_was=first)
    await store.commit(gone, send("b"))
    await refused(store, Moved, replace(first, etag="late", if_was=first), send("walk"))
    await refused(store, Moved, Linked("hospital", Ref("Goal", "never"), "Goal/78", if_was=first), send("walk"))
    assert await store.link("hospital", first.ref) == replace(first, gone=True) and await store.outbox() == {"queued": 1}
    await store.commit(replace(first, etag="again", if_was=gone))
    assert await store.link("hospital", first.ref) == replace(first, etag="again")


async def test_of_two_who_read_the_same_link_one_writes(store: Store, reopen: Reopen) -> None:
    first, other = Linked("hospital", Ref("Goal", "walk"), "Goal/77"), await reopen()
    await store.commit(first)
    two = [replace(first, etag=f"{n}", if_was=first) for n in range(2)]
    done = await asyncio.gather(store.commit(two[0]), other.commit(two[1]), return_exceptions=True)
    assert sorted(type(d) for d in done if d is not None) == [Moved] and sum(d is None for d in done) == 1
    new = [Linked("hospital", Ref("Goal", "new"), f"Goal/{n}", if_absent=True) for n in range(2)]
    done = await asyncio.gather(store.commit(new[0]), other.commit(new[1]), return_exceptions=True)
    assert [type(d) for d in done if d is not None] == [Moved]


async def test_one_copy_there_has_one_live_link(store: Store, reopen: Reopen) -> None:
    one, two, other = Linked("hospital", Ref("Goal", "one"), "Goal/77"), Linked("hospital", Ref("Goal", "two"), "Goal/77"), await reopen()
    done = await asyncio.gather(store.commit(one, send("one")), other.commit(two, send("two")), return_exceptions=True)
    assert [type(d) for d in done if d is not None] == [Taken]
    won, lost = (one, two) if done[0] is None else (two, one)
    assert await store.link("hospital", lost.ref) is None and await store.link_by_remote("hospital", "Goal/77") == won
    assert await store.outbox() == {"queued": 1}
    await store.commit(replace(lost, remote="council"), replace(lost, remote_id="Goal/78"), replace(won, etag="2"))
    await refused(store, Taken, lost)
    await store.commit(replace(lost, gone=True))  # what is gone may be anything's
    assert await store.link_by_remote("hospital", "Goal/77") == replace(won, etag="2")
    await store.commit(replace(won, gone=True), lost)  # it changes hands in one commit
    assert await store.link_by_remote("hospital", "Goal/77") == lost
    await refused(store, Taken, won)


async def test_two_live_links_of_before_stay_and_may_change(tmp_path: Path) -> None:
    """A file of before this was asked may have them; no link is lost, and no third joins them."""
    one, two = (Linked("hospital", Ref("Goal", id), "Goal/77") for id in ("one", "two"))
    store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: at())
    await store.commit(one, replace(two, gone=True))
    await store.close()
    with apsw.Connection(str(tmp_path / "store.sqlite")) as db:
        db.execute("UPDATE link SET body = ? WHERE id = 'two'", (msgspec.msgpack.encode(two),))
    store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: at())
    await store.commit(replace(one, etag="2"), replace(two, etag="2"))
    assert [link.etag for link in await store.links("hospital")] == ["2", "2"]
    await refused(store, Taken, replace(one, ref=Ref("Goal", "three")))
    await store.close()


async def test_all_links_to_one_remote_are_listed_in_parts(store: Store) -> None:
    links = [Linked("hospital", Ref(type, f"{n}"), f"{type}/t{n}", gone=n == 2) for type in ("Goal", "GoalX", "Task") for n in range(3)]
    await store.commit(*links, Linked("council", Ref("Goal", "0"), "Goal/c"), Linked("hospital ward", Ref("Goal", "0"), "Goal/w"))
    found: list[Linked] = []
    while batch := await store.links("hospital", found[-1].ref if found else None, 4):
        found += batch
    assert sorted(found, key=lambda link: link.ref) == links and await store.links("nobody") == []


async def test_the_ledger_says_what_went_where_and_what_came_back(store: Store) -> None:
    one = Disclosed("hospital", Ref("Goal", "a"), 1, ANN, "Organization/h", at(1), "Consent/c", 4)
    two = Disclosed("hospital", Ref("Goal", "a"), 2, ANN, "Organization/h", at(2))
    his = Disclosed("council", Ref("Goal", "b"), 1, BOB, "Organization/c", at(1))
    nobodys = Disclosed("hospital", Ref("Organization", "o"), 1, None, "Organization/h", at(0))
    await store.commit(two, one, his, nobodys)
    assert await store.ledger() == [nobodys, one, his, two]
    assert await store.ledger(patient=ANN) == [one, two] and await store.ledger(remote="council") == [his]
    back = replace(one, recalled=at(9))
    await store.commit(back)
    assert await store.ledger(patient=ANN) == [back, two]
    assert await store.ledger(patient=ANN, remote="hospital", open_only=True) == [two]
    assert await store.ledger(patient=ANN, ref=two.ref) == [d for d in (back, two) if d.ref == two.ref]
    assert await store.ledger(remote="hospital", open_only=True) == [nobodys, two]


async def test_a_backlog_of_one_person_drains(store: Store) -> None:
    await store.commit(*(send(f"g{i % 50}", i // 50 + 1) for i in range(1000)))
    seen = 0
    start = at()
    while entries := await store.lease("hospital", "w", start + timedelta(seconds=seen), 60, 20):
        (entry,) = entries
        assert (entry.ref.id, entry.version) == (f"g{seen % 50}", seen // 50 + 1)
        seen += 1
        await store.commit(Close(entry.entry, entry.fence, "sent"))
        if seen == 120:
            break
    assert seen == 120 and await store.outbox() == {"sent": 120, "queued": 880}
