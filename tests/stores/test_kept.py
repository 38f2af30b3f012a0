"""Named values with an end: exactly once, compare and swap, gone when over."""

from __future__ import annotations

import asyncio

import pytest

from fhir_gateway.domain.types import Drop, Keep
from fhir_gateway.store.base import AT_A_TIME, Store, Taken

from .making import Reopen, at, note, refused


async def test_a_value_is_kept_until_its_end(store: Store) -> None:
    await store.commit(Keep("code", "k", b"\x00\xff", at(60)), Keep("client", "k", b"", None))
    assert await store.kept("code", "k", at(59.999999)) == b"\x00\xff"
    assert await store.kept("code", "k", at(60)) is None
    assert await store.kept("client", "k", at(10**9)) == b""
    assert await store.kept("client", "K", at()) is None and await store.kept("other", "k", at()) is None


async def test_keeping_again_replaces_value_and_end(store: Store) -> None:
    await store.commit(Keep("code", "k", b"1", at(60)))
    await store.commit(Keep("code", "k", b"2"))
    assert await store.kept("code", "k", at(100)) == b"2"


async def test_if_absent_is_exactly_once(store: Store, reopen: Reopen) -> None:
    other = await reopen()
    race = [(store, other)[i % 2].commit(Keep("jti", "j", str(i).encode(), if_absent=True), note(f"n{i}")) for i in range(30)]
    results = await asyncio.gather(*race, return_exceptions=True)
    winner = results.index(None)
    assert all(isinstance(r, Taken) for i, r in enumerate(results) if i != winner)
    assert await store.kept("jti", "j", at()) == str(winner).encode() and len(await store.notes()) == 1


async def test_if_absent_names_what_was_taken(store: Store) -> None:
    await store.commit(Keep("jti", "j", b"1"))
    e = await refused(store, Taken, Keep("client", "x", b"1"), Keep("jti", "j", b"2", if_absent=True))
    assert isinstance(e, Taken) and (e.kind, e.key) == ("jti", "j")


async def test_an_ended_value_is_absent_at_the_moment_of_the_commit(store: Store) -> None:
    await store.commit(Keep("jti", "j", b"1", at(60)))
    await refused(store, Taken, Keep("jti", "j", b"2", at(120), if_absent=True), note("n1", when=59))
    await store.commit(Keep("jti", "j", b"2", at(120), if_absent=True), note("n2", when=60))
    assert await store.kept("jti", "j", at(61)) == b"2"


async def test_compare_and_swap(store: Store) -> None:
    await refused(store, Taken, Keep("s", "k", b"2", if_value=b"1"))
    await store.commit(Keep("s", "k", b"1"))
    await refused(store, Taken, Keep("s", "k", b"3", if_value=b"2"))
    await refused(store, Taken, Keep("s", "k", b"3", if_value=b""))
    await store.commit(Keep("s", "k", b"2", if_value=b"1"))
    assert await store.kept("s", "k", at()) == b"2"


async def test_a_counter_under_compare_and_swap_loses_nothing(store: Store, reopen: Reopen) -> None:
    stores = [store, await reopen()]
    await store.commit(Keep("n", "n", b"0"))

    async def count(one: Store) -> None:
        for _ in range(15):
            while True:
                was = await one.kept("n", "n", at()) or b""
                try:
                    await one.commit(Keep("n", "n", str(int(was) + 1).encode(), if_value=was))
                    break
                except Taken:
                    continue

    await asyncio.gather(*(count(stores[i % 2]) for i in range(6)))
    assert await store.kept("n", "n", at()) == b"90"


async def test_drop(store: Store) -> None:
    await store.commit(Keep("s", "k", b"1"))
    await store.commit(Drop("s", "k", must_exist=True))
    assert await store.kept("s", "k", at()) is None
    await store.commit(Drop("s", "k"))
    await refused(store, Taken, Keep("s", "other", b""), Drop("s", "k", must_exist=True))


async def test_kept_all_is_of_one_kind_and_prefix_in_order(store: Store) -> None:
    await store.commit(
        Keep("a", "ann 2", b"2"), Keep("a", "ann 1", b"1"), Keep("a", "anna 1", b"3"), Keep("a", "bob", b"4", at(5)), Keep("b", "ann 1", b"5"),
        Keep("a", "A", b"6"), Keep("a", "zoë", b"7"), Keep("a", "\U0010fffe", b"8"), Keep("a", "100%_", b"9"),
    )  # fmt: skip
    assert list((await store.kept_all("a", at(1))).items()) == [
        ("100%_", b"9"), ("A", b"6"), ("ann 1", b"1"), ("ann 2", b"2"), ("anna 1", b"3"), ("bob", b"4"), ("zoë", b"7"), ("\U0010fffe", b"8"),
    ]  # fmt: skip
    assert await store.kept_all("a", at(1), "ann ") == {"ann 1": b"1", "ann 2": b"2"}
    assert await store.kept_all("a", at(5), "b") == {}
    assert await store.kept_all("a", at(), "%") == {} and await store.kept_all("a", at(), "_") == {}
    assert [await store.kept_count(kind, at(n)) for kind, n in (("a", 1), ("a", 5), ("b", 1), ("none", 1))] == [8, 7, 1, 0]
    assert [await store.kept_count("a", at(1), p) for p in ("", "ann", "b", "%")] == [len(await store.kept_all("a", at(1), p)) for p in ("", "ann", "b", "%")]
    await store.commit(*(Keep("a", f"many {n:03}", b"m") for n in range(2 * AT_A_TIME)))
    for p, n in (("", 1), ("ann", 1), ("b", 5), ("many ", 1), ("%", 1)):
        assert [one async for one in store.kept_each("a", at(n), p)] == list((await store.kept_all("a", at(n), p)).items())


@pytest.mark.parametrize("days", [2])
async def test_what_ended_long_ago_does_not_pile_up_for_ever(store: Store, days: int) -> None:
    """Nothing of it can be seen; and reading at an earlier instant shows that it is gone, a day after its end."""
    await store.commit(*(Keep("jti", f"old{i}", b"", at(60)) for i in range(300)))
    later = days * 86_400
    for i in range(20):
        await store.commit(*(Keep("jti", f"new{i}-{j}", b"", at(later + 60)) for j in range(50)), note(f"n{i}", when=later))
    assert await store.kept_all("jti", at(), "old") == {}
    assert len(await store.kept_all("jti", at(later), "new")) == 1000


async def test_a_value_is_dropped_only_as_it_was_read(store: Store) -> None:
    await store.commit(Keep("s", "k", b"new"))
    await store.commit(Drop("s", "k", if_value=b"old"))
    assert await store.kept("s", "k", at()) == b"new"
    await store.commit(Drop("s", "k", if_value=b"new"))
    assert await store.kept("s", "k", at()) is None
