"""MongoDB's filters against the plain specification, many searches in one world; shapes, literals and plans.

`test_search` tries the same of worlds of all kinds (slow on the stand-in).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.predicate import matches
from fhir_gateway.domain.search import Query, Term, Value, parse
from fhir_gateway.domain.types import All, Always, Any_, Has, Never, Not, Only, Predicate, Views
from fhir_gateway.store import mongo, mongo_query, mongo_search
from fhir_gateway.store.mongo_documents import flat_number

from .making import MORNING, goal
from .searches import R4, World, filters, found, predicates, queries, readers, total

WORLD = World.of(77, 12)
settled = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[mongo.MongoStore]:
    opened = await mongo.open(database, clock=lambda: MORNING)
    yield opened
    await opened.close()


async def told(store: mongo.MongoStore) -> mongo.MongoStore:
    """The world in it, once for all examples of a test."""
    if not await store.counts():
        await WORLD.into(store)
    return store


@settled
@given(asked=queries(), may=readers, filtered=filters, size=st.integers(1, 5))
async def test_one_world_is_searched_as_the_specification_says(
    store: mongo.MongoStore, asked: Query, may: Predicate, filtered: Predicate | Views, size: int
) -> None:
    await told(store)
    expected = WORLD.expected(asked, may, filtered)
    assert await found(store, asked, may, filtered) == expected
    if len(expected) > size:
        assert await found(store, asked, may, filtered, max(size, len(expected) // 3)) == expected
    assert await total(store, asked, may, filtered) == len(expected)


@settled
@given(may=predicates)
async def test_a_predicate_is_the_same_in_both_languages(store: mongo.MongoStore, may: Predicate) -> None:
    await told(store)
    for here in (may, Not(may)):
        assert set(await found(store, Query(()), here, Never())) == {f"{f.type}/{f.id}" for _, f in WORLD.held if matches(here, f)}


async def test_who_is_referred_to_by_what(store: mongo.MongoStore) -> None:
    refs = {"a": {"Goal/b", "Goal/c"}, "b": {"Goal/c"}, "c": set[str](), "d": {"Goal/x"}}
    await store.commit(*(goal(name, refs=frozenset(to)) for name, to in refs.items()))
    by = {name: frozenset(f"Goal/{n}" for n, to in refs.items() if f"Goal/{name}" in to) for name in refs}
    for values in (frozenset({"Goal/a"}), frozenset({"Goal/b"}), frozenset({"Goal/a", "Goal/b"}), frozenset[str]()):
        for p, test in ((Has("referred_by", values), lambda b: bool(b & values)), (Only("referred_by", values), lambda b: b <= values)):  # noqa: B023
            wanted = sorted(f"Goal/{n}" for n in refs if test(by[n]))
            assert await found(store, Query(("Goal",)), p, Never()) == wanted
            assert await found(store, Query(("Goal",)), All((Not(p), Always())), p) == sorted(f"Goal/{n}" for n in refs if f"Goal/{n}" not in wanted)


async def test_a_predicate_of_two_thousand_shapes_is_still_a_filter(store: mongo.MongoStore) -> None:
    await told(store)
    many = Any_(tuple(All((Has("patient", frozenset({f"Patient/{n}"})), Not(Has("sens", frozenset({f"S{n}"}))))) for n in range(1, 2001)))
    query = parse("CarePlan", [], R4)
    assert await found(store, query, many, Always()) == WORLD.expected(query, many, Always()) != []


async def test_a_chain_through_too_much_is_refused_not_answered_in_part(store: mongo.MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from fhir_gateway.store.base import Unavailable

    await told(store)
    query = parse("CarePlan", [("subject:Patient._id:missing", "false")], R4)
    assert await found(store, query, Always(), Never()) == WORLD.expected(query, Always(), Never())
    monkeypatch.setattr(mongo_search, "MOST_HOPS", 1)
    with pytest.raises(Unavailable, match="narrow it"):
        await found(store, query, Always(), Never())


# -- shapes ---------------------------------------------------------------------------------------------------------------


def every_term(query: Query) -> Iterator[Term]:
    """Those of its alternatives included."""
    for t in query.terms:
        yield t
        for alternative in t.any:
            yield from every_term(alternative)


def rendered(query: Query, may: Predicate = Always(), filtered: bool = False) -> mongo_query.Said:
    hops = {t: {"Patient/1"} for t in every_term(query) if t.chain is not None}
    return mongo_query.where(query, mongo_query.allowed(may, query.types), hops, filtered=filtered)


def operators(filter: Any) -> set[str]:
    if isinstance(filter, dict):
        return {k for k in filter if k.startswith("$")} | {o for v in filter.values() for o in operators(v)}
    return {o for v in filter for o in operators(v)} if isinstance(filter, list) else set()


KNOWN = {"$and", "$or", "$nor", "$not", "$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$elemMatch", "$regex"}


@settled
@given(asked=queries(), may=predicates, filtered=st.booleans())
def test_a_filter_is_made_of_few_plain_operators(asked: Query, may: Predicate, filtered: bool) -> None:
    """No $where, no $text, no $expr: nothing that runs code or that an index cannot serve."""
    said = rendered(asked, may, filtered)
    assert isinstance(said, bool) or operators(said) <= KNOWN


@settled
@given(text=st.text(min_size=1, max_size=8) | st.sampled_from(["$where", "$gt", "{'$ne': null}", "a.b", "\0", "\\Q.*\\E", "^", "(?i)a", "\n"]))
def test_what_a_user_writes_is_only_ever_a_value(text: str) -> None:
    for kind, modifier in (("token", ""), ("token", "text"), ("string", ""), ("string", "exact"), ("reference", ""), ("uri", "below"), ("reference", "identifier")):
        said = rendered(Query(("Goal",), (Term("p", kind, modifier, (Value(text=text, exact=text, system=text, types=("Goal",)),)),)), Always())
        assert isinstance(said, bool) or operators(said) <= KNOWN - {"$regex"}
    contains = rendered(Query(("Goal",), (Term("p", "string", "contains", (Value(text=text),)),)))
    assert isinstance(contains, dict)
    pattern = contains["key"]["$elemMatch"]["t"]["$regex"]
    assert all(c == "\\" or c.isalnum() or ord(c) > 127 for c in pattern)


@pytest.mark.parametrize("nothing", [Never(), Any_(()), Has("patient", frozenset()), All((Has("patient", frozenset()), Always()))])
def test_an_empty_predicate_is_no_filter_at_all_and_asks_nothing(nothing: Predicate) -> None:
    assert rendered(parse("CarePlan", [], R4), nothing) is False


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(2**62), 2**62), min_size=2, max_size=5))
def test_flat_numbers_stand_in_the_order_of_the_numbers(values: list[float]) -> None:
    ordered = [flat_number("T", "p", v) for v in sorted(values)]
    assert ordered == sorted(ordered)
