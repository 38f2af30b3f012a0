"""Every engine's search against `domain.search.matches`, page by page, and against itself: the properties by name.

The generators are in `searches`; each example has a world of its own in a store of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.search import Query, parse
from fhir_gateway.domain.types import Always, Any_, Has, Never, Predicate
from fhir_gateway.store.base import Store

from ..conftest import times
from .searches import (
    DATES,
    MOST,
    PARAMETERS,
    R4,
    TYPES,
    Fresh,
    World,
    filters,
    found,
    param_of,
    predicates,
    put,
    queries,
    readers,
    sort_of,
    total,
    worlds,
)  # fmt: skip

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large])
LONG = {"sqlite": 300, "mongo": 120}  # worlds, and a hundred times as many in make soak: each takes the stand-in for MongoDB several times as long
few = st.integers(1, 5)  # hits on a page


def told(fresh: Fresh, *worlds: World, tell: Callable[..., Awaitable[None]]) -> None:
    """Each world in a store of its own, told to `tell`."""

    async def run() -> None:
        stores: list[Store] = []
        try:
            for world in worlds:
                stores.append(await fresh())
                await world.into(stores[-1])
            await tell(*stores)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(run())


def finds_what_the_specification_finds(
    fresh: Fresh, world: World, asked: list[tuple[Query, Predicate, Predicate]], size: int
) -> None:
    async def tell(store: Store) -> None:
        for query, may, filtered in asked:
            expected = world.expected(query, may, filtered)
            said = (query, may, filtered)
            assert await found(store, query, may, filtered) == expected, said
            assert await found(store, query, may, filtered, size) == expected, said
            assert await total(store, query, may, filtered) == len(expected), said

    told(fresh, world, tell=tell)


ASKED = st.lists(st.tuples(queries(), readers, filters), min_size=1, max_size=12)


@quick
@given(worlds, ASKED, few)
def test_a_store_finds_what_the_specification_finds_in_its_order_page_by_page(
    fresh: Fresh, world: World, asked: list[tuple[Query, Predicate, Predicate]], size: int
) -> None:
    finds_what_the_specification_finds(fresh, world, asked, size)


@pytest.mark.slow
def test_a_store_finds_what_the_specification_finds_in_many_worlds(fresh: Fresh, request: pytest.FixtureRequest) -> None:
    @settings(quick, max_examples=times(LONG[request.node.callspec.params["fresh"]]))
    @given(worlds, ASKED, few)
    def holds(world: World, asked: list[tuple[Query, Predicate, Predicate]], size: int) -> None:
        finds_what_the_specification_finds(fresh, world, asked, size)

    holds()


@pytest.mark.parametrize("type", TYPES)
def test_every_parameter_of_the_generators_finds_something_somewhere(type: str) -> None:
    """The properties here would hold of searches that find nothing, too."""
    worlds = [World.of(seed, 25) for seed in range(6)]
    for strategy in PARAMETERS[type]:
        tries = some_of(strategy)
        assert any(w.expected(parse(type, [p], R4), Always(), Never()) for w in worlds for p in tries), tries


def some_of(strategy: st.SearchStrategy[tuple[str, str]]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(strategy)
    def collect(param: tuple[str, str]) -> None:
        out.append(param)

    collect()
    return out


# -- hidden is absent -------------------------------------------------------------------------------------------------


@quick
@given(worlds, predicates, st.lists(st.tuples(queries(), filters), min_size=1, max_size=8), few)
def test_what_may_not_be_seen_is_as_if_it_had_been_removed(
    fresh: Fresh, world: World, may: Predicate, asked: list[tuple[Query, Predicate]], size: int
) -> None:
    """Hits, order, pages, their positions and totals, through chains and `_has`: a function of what is visible."""
    left = world.without(may)

    async def tell(full: Store, reduced: Store) -> None:
        for query, filtered in asked:
            after: tuple[Any, ...] | None = None
            while True:
                here = await full.search(query, may, filtered=filtered, count=size, after=after, total=True)
                there = await reduced.search(query, Always(), filtered=filtered, count=size, after=after, total=True)
                assert [h.ref for h in here.hits] == [h.ref for h in there.hits], (query, filtered)
                assert (here.total, here.after) == (there.total, there.after), (query, filtered)
                after = here.after
                if after is None:
                    break

    told(fresh, world, left, tell=tell)


async def test_an_empty_predicate_lets_nothing_through(store: Store) -> None:
    await World.of(2, 5).into(store)
    for nothing in (Never(), Any_(()), Has("patient", frozenset())):
        for type in TYPES:
            assert await found(store, parse(type, [], R4), nothing, Never()) == []
            assert await total(store, parse(type, [], R4), nothing, Never()) == 0


# -- a search and its like --------------------------------------------------------------------------------------------

PARAM = st.sampled_from(TYPES).flatmap(lambda t: st.tuples(st.just(t), st.lists(param_of(t), min_size=1, max_size=3)))


@quick
@given(worlds, PARAM, st.randoms(use_true_random=False), few)
def test_the_order_of_parameters_and_the_size_of_a_page_change_nothing(
    fresh: Fresh, world: World, asked: tuple[str, list[tuple[str, str]]], r: random.Random, size: int
) -> None:
    type, params = asked
    other = list(params)
    r.shuffle(other)

    async def tell(store: Store) -> None:
        one = await found(store, parse(type, params, R4), Always(), Always())
        assert await found(store, parse(type, other, R4), Always(), Always(), size) == one

    told(fresh, world, tell=tell)


@quick
@given(worlds, PARAM)
def test_parameters_narrow_and_values_widen(fresh: Fresh, world: World, asked: tuple[str, list[tuple[str, str]]]) -> None:
    type, params = asked

    async def tell(store: Store) -> None:
        each = [set(await found(store, parse(type, [p], R4), Always(), Never())) for p in params]
        assert set(await found(store, parse(type, params, R4), Always(), Never())) == set.intersection(*each)
        (name, value), *rest = params
        together = [v for n, v in rest if n == name]
        if together and ":missing" not in name and ":not" not in name:
            alike = [e for e, (n, _) in zip(each, params, strict=True) if n == name]
            joined = ",".join([value, *together])
            assert set(await found(store, parse(type, [(name, joined)], R4), Always(), Never())) == set.union(*alike)

    told(fresh, world, tell=tell)


@quick
@given(worlds, st.sampled_from([("Patient", "gender", "male"), ("CarePlan", "category", "a"), ("CarePlan", "status", "active"), ("Observation", "_tag", "http://s/1|b"), ("Goal", "_id", "1,2")]), readers)
def test_not_and_missing_are_complements(fresh: Fresh, world: World, asked: tuple[str, str, str], may: Predicate) -> None:
    type, name, value = asked

    async def tell(store: Store) -> None:
        async def hits(*params: tuple[str, str]) -> list[str]:
            return await found(store, parse(type, params, R4), may, Never())

        everything = await hits()
        for one, other in (((name, value), (f"{name}:not", value)), ((f"{name}:missing", "true"), (f"{name}:missing", "false"))):
            yes, no = await hits(one), await hits(other)
            assert sorted(yes + no) == sorted(everything), (one, other)
            assert not set(yes) & set(no)

    told(fresh, world, tell=tell)


@quick
@given(worlds, st.sampled_from([("CarePlan", "date"), ("Observation", "date"), ("Goal", "target-date"), ("Patient", "birthdate")]))
def test_a_year_holds_its_months_and_a_month_its_days(fresh: Fresh, world: World, asked: tuple[str, str]) -> None:
    type, name = asked

    async def tell(store: Store) -> None:
        async def hits(value: str) -> set[str]:
            return set(await found(store, parse(type, [(name, value)], R4), Always(), Never()))

        for year, month, day in (("2026", "2026-03", "2026-03-29"), ("1950", "1950-04", "1950-04-03")):
            assert await hits(day) <= await hits(month) <= await hits(year)
            months = [f"{year}-{m:02}" for m in range(1, 13)]
            assert await hits(",".join(months)) <= await hits(year)
            assert await hits(year) == await hits(year) & await hits(f"ge{year}") & await hits(f"le{year}")
            if type in ("CarePlan", "Goal"):  # several dates, or a period that ends before it begins
                continue
            assert not await hits(f"sa{year}") & await hits(year) and not await hits(f"eb{year}") & await hits(year)

    told(fresh, world, tell=tell)


@quick
@given(worlds, st.sampled_from(["Patient", "CarePlan", "Observation"]).flatmap(lambda t: st.tuples(st.just(t), sort_of("_id"))), readers)
def test_sorting_changes_the_order_alone(fresh: Fresh, world: World, asked: tuple[str, tuple[str, str]], may: Predicate) -> None:
    type, sort = asked

    async def tell(store: Store) -> None:
        assert sorted(await found(store, parse(type, [sort], R4), may, Always(), 3)) == sorted(await found(store, parse(type, [], R4), may, Always()))

    told(fresh, world, tell=tell)


# -- edges ------------------------------------------------------------------------------------------------------------


async def test_text_that_looks_like_the_engines_language_is_text(store: Store) -> None:
    world = World.of(2, 5)
    await world.into(store)
    for text in ("' OR 1=1 --", "%", "_", "\\", "a' , 'b", "?1", "json_each", "$where", "$gt", "{'$gt': ''}", ".*", "^", "a|b$c", "\u202e", "日"):
        for name in ("name", "name:contains", "name:exact", "identifier", "general-practitioner", "_id", "gender:not"):
            query = parse("Patient", [(name, text)], R4)
            assert await found(store, query, Always(), Never()) == world.expected(query, Always(), Never())


async def test_a_page_may_be_asked_for_from_anywhere(store: Store) -> None:
    """A position is a place in the order, also when what stood there is gone."""
    world = World.of(7, 12)
    await world.into(store)
    query = parse("CarePlan", [("_sort", "-date,category")], R4)
    every = world.expected(query, Always(), Never())
    page = await store.search(query, Always(), filtered=Never(), count=3)
    assert page.after is not None
    made, about = next((m, f) for m, f in world.held if f"{f.type}/{f.id}" == every[2])
    current = await store.get(page.hits[2].ref)
    assert current is not None
    from fhir_gateway.domain.types import Remove

    await store.commit(Remove(current.ref, current.version + 1, current.updated, put(made, about).writer, current.version))
    rest = await store.search(query, Always(), filtered=Never(), count=MOST, after=page.after)
    assert [str(h.ref) for h in rest.hits] == every[3:]


async def test_dates_at_the_clock_change_are_londons(store: Store) -> None:
    world = World.of(11, 12)
    await world.into(store)
    for text in (*DATES, "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-10-25T01:30:00", "2026-03-29T01:30"):
        for prefix in ("", "ge", "lt", "ap"):
            query = parse("Observation", [("date", prefix + text)], R4)
            assert await found(store, query, Always(), Always()) == world.expected(query, Always(), Always())
