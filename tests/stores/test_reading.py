"""History, records, referrers: in the same order, with the same pages, from every engine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.predicate import matches
from fhir_gateway.domain.types import (
    All,
    Always,
    Any_,
    Confidential,
    Facts,
    Found,
    Has,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Ref,
    Stored,
    Within,
)  # fmt: skip
from fhir_gateway.store.base import Store

from .making import ANN, BOB, Reopen, at, goal, gone, micros


async def pages(store: Store, count: int, ref: Ref | None = None, type: str | None = None, predicate: Predicate = Always(), **more: Any) -> list[Stored]:
    """Every page of a history, one after the other."""
    hits: list[Stored] = []
    before = None
    while True:
        found: Found = await store.history(ref, type, predicate, before=before, count=count, **more)
        assert len(found.hits) <= count
        hits += found.hits
        if found.after is None:
            return hits
        assert len(found.hits) == count
        before = tuple(found.after)


def names(hits: Any) -> list[str]:
    return [f"{h.ref.id}{h.version}" for h in hits]


async def written(store: Store) -> None:
    await store.commit(goal("a", when=1), goal("b", when=1), goal("t", when=1, type="Task"))
    await store.commit(goal("a", 2, when=2), goal("b", 2, when=2, patient=BOB))
    await store.commit(gone("a", 3, when=3), goal("c", when=2.000001))


async def test_history_is_newest_first_and_ties_are_told_apart(store: Store) -> None:
    await written(store)
    assert names((await store.history(None, "Goal", Always())).hits) == ["a3", "c1", "b2", "a2", "b1", "a1"]
    assert names((await store.history(None, None, Always())).hits) == ["a3", "c1", "b2", "a2", "t1", "b1", "a1"]
    assert names((await store.history(None, None, Always(), oldest_first=True)).hits) == ["a1", "b1", "t1", "a2", "b2", "c1", "a3"]
    assert names((await store.history(Ref("Goal", "a"), None, Always())).hits) == ["a3", "a2", "a1"]
    assert names((await store.history(None, "Goal", Always(), since=at(2))).hits) == ["a3", "c1", "b2", "a2"]
    assert (await store.history(Ref("Goal", "x"), None, Always())).hits == ()


@pytest.mark.parametrize("count", [1, 2, 3, 50])
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_of_history_are_the_history(store: Store, count: int, oldest_first: bool) -> None:
    await written(store)
    for ref, type in ((None, None), (None, "Goal"), (Ref("Goal", "a"), None)):
        whole = (await store.history(ref, type, Always(), oldest_first=oldest_first)).hits
        assert await pages(store, count, ref, type, oldest_first=oldest_first) == list(whole)


async def test_a_page_of_history_stays_where_it_was_while_others_write(store: Store) -> None:
    await written(store)
    first = await store.history(None, "Goal", Always(), count=3)
    await store.commit(goal("z", when=9), goal("c", 2, when=9))
    rest = await store.history(None, "Goal", Always(), count=3, before=first.after)
    assert names(first.hits + rest.hits) == ["a3", "c1", "b2", "a2", "b1", "a1"]


async def test_each_version_is_judged_by_its_own_facts(store: Store) -> None:
    await written(store)
    mine = Has("patient", frozenset({ANN}))
    assert names(await pages(store, 2, None, "Goal", mine)) == ["a3", "c1", "a2", "b1", "a1"]
    assert names(await pages(store, 1, None, None, Not(mine))) == ["b2"]
    assert (await store.history(None, None, Never())).hits == () and (await store.history(None, None, Any_(()))).hits == ()


async def test_history_behind_much_that_is_hidden(store: Store) -> None:
    await store.commit(*(goal(f"g{i}", when=i, patient=ANN if i % 97 == 0 else BOB) for i in range(400)))
    seen = await pages(store, 2, None, "Goal", Has("patient", frozenset({ANN})))
    assert names(seen) == ["g3881", "g2911", "g1941", "g971", "g01"]


async def test_who_refers_to_it_counts_as_of_now(store: Store) -> None:
    await store.commit(goal("walk"), goal("plan", type="CarePlan", refs=frozenset({"Goal/walk", ANN})))
    named = Has("referred_by", frozenset({"CarePlan/plan"}))
    assert names((await store.history(None, "Goal", named)).hits) == ["walk1"]
    assert (await store.history(None, "Goal", Not(named))).hits == ()
    await store.commit(gone("plan", 2, type="CarePlan"))
    assert (await store.history(None, "Goal", named)).hits == ()


async def test_no_total_without_being_asked_and_no_last_page_token(store: Store) -> None:
    await written(store)
    found = await store.history(None, "Goal", Always(), count=6)
    assert found.after is None and len(found.hits) == 6


# -- records ----------------------------------------------------------------------------------------------------------------


async def test_a_person_s_record_is_what_is_current_and_theirs(store: Store) -> None:
    await store.commit(
        goal("mine"), goal("his", patient=BOB), goal("both", patients=(BOB, ANN)), goal("task", type="Task"), goal("old"),
        goal("nobody", patient=None),
    )  # fmt: skip
    await store.commit(gone("old", 2), goal("mine", 2, text="again"))
    got = await store.patient_record(ANN, ["Goal", "Consent"])
    assert names(got) == ["both1", "mine2"]
    assert names(await store.patient_record(ANN, ["Goal", "Task"])) == ["both1", "mine2", "task1"]
    assert await store.patient_record(ANN, []) == [] and await store.patient_record("Patient/x", ["Goal"]) == []


async def test_a_person_s_versions_are_all_of_them_in_order(store: Store) -> None:
    await store.commit(goal("b"), goal("a"), goal("his", patient=BOB), goal("t", type="Task"))
    await store.commit(goal("a", 2), gone("b", 2))
    assert names(await store.patient_versions(ANN, ["Task", "Goal"])) == ["a1", "a2", "b1", "b2", "t1"]
    assert names(await store.patient_versions(BOB, ["Goal"])) == ["his1"]


async def test_the_directory_is_what_is_current_of_its_types(store: Store) -> None:
    await store.commit(
        goal("o2", type="Organization", patient=None), goal("o1", type="Organization", patient=None), goal("r", type="PractitionerRole", patient=None),
    )  # fmt: skip
    await store.commit(gone("o2", 2, type="Organization"))
    assert names(await store.directory(["PractitionerRole", "Organization"])) == ["o11", "r1"]


async def test_referrers_are_one_hop_and_current(store: Store) -> None:
    to = frozenset({"Goal/walk"})
    await store.commit(goal("walk"), goal("p", type="CarePlan", refs=to), goal("q", type="CarePlan", refs=to), goal("t", type="Task"))
    await store.commit(goal("q", 2, type="CarePlan", refs=frozenset()))
    assert await store.referrers(Ref("Goal", "walk")) == [Ref("CarePlan", "p")]
    await store.commit(gone("p", 2, type="CarePlan"))
    assert await store.referrers(Ref("Goal", "walk")) == []


async def test_concerned_are_those_whose_standing_names_them_or_who_have_what_they_wrote(store: Store) -> None:
    gp = frozenset({"Practitioner/gp"})
    await store.commit(
        goal("team", type="CareTeam", refs=gp), goal("goal", patient="Patient/c", refs=gp), goal("by", patient=BOB, authors=gp),
        goal("open", type="Consent", patient="Patient/d", refs=frozenset({"*"})),
    )  # fmt: skip
    assert await store.concerned({"Practitioner/gp"}) == {ANN, BOB}
    assert await store.concerned({"*"}) == {"Patient/d"}
    assert await store.concerned({"Practitioner/none"}) == set() and await store.concerned(set()) == set()


async def test_counts_are_of_what_is_current(store: Store) -> None:
    await store.commit(goal("a"), goal("b"), goal("t", type="Task"))
    await store.commit(goal("a", 2), gone("b", 2))
    assert await store.counts() == {"Goal": 1, "Task": 1}
    await store.check()


# -- the predicate ------------------------------------------------------------------------------------------------------------

_values = st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2)
_edge = st.one_of(st.none(), st.integers(0, 9))


def _facts(n: int) -> st.SearchStrategy[Facts]:
    return st.builds(
        lambda conf, sens, label, codes, authors, low, high, people: Facts(
            "Goal", f"g{n}", tuple(people), conf, sens, label, codes=codes, authors=authors, low=low, high=high, updated=micros(at(n))
        ),
        st.sampled_from("ULMNRV"), _values, _values, _values, _values, _edge, _edge, st.lists(st.sampled_from([ANN, BOB]), unique=True),
    )  # fmt: skip


_leaf: st.SearchStrategy[Predicate] = st.one_of(
    st.just(Always()), st.just(Never()),
    st.builds(Has, st.sampled_from(["sens", "label", "code", "author", "patient"]), _values | st.just(frozenset({ANN}))),
    st.builds(Only, st.sampled_from(["sens", "label", "author"]), _values),
    st.builds(Confidential, st.sampled_from(["<=", ">="]), st.integers(0, 5)),
    st.builds(Within, _edge, _edge), st.builds(Overlaps, _edge, _edge),
)  # fmt: skip
_predicates = st.recursive(
    _leaf, lambda p: st.one_of(st.builds(Not, p), st.builds(All, st.tuples(p, p)), st.builds(Any_, st.tuples(p, p))), max_leaves=5
)


@given(facts=st.tuples(*(_facts(n) for n in range(6))), predicates=st.lists(_predicates, min_size=1, max_size=6), count=st.integers(1, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_history_shows_exactly_what_the_predicate_describes(
    reopen: Reopen, facts: tuple[Facts, ...], predicates: list[Predicate], count: int
) -> None:
    store = await _fresh(reopen)
    base = await store.counts()
    start = base.get("Goal", 0)  # a further example in the same store writes further resources
    puts = []
    for n, f in enumerate(facts):
        put = goal(f"g{start + n:05}", when=start + n, patients=f.patients, **{s: getattr(f, s) for s in _COPIED})
        puts.append(put)
    await store.commit(*puts)
    mine = {p.ref for p in puts}
    for predicate in predicates:
        expected = {p.ref for p in puts if matches(predicate, p.facts)}
        assert {h.ref for h in await pages(store, count, None, "Goal", predicate, since=at(start)) if h.ref in mine} == expected


_COPIED = ("confidentiality", "sensitivity", "other_labels", "codes", "authors", "low", "high")
_open: dict[int, Store] = {}


async def _fresh(reopen: Reopen) -> Store:
    """One store for all examples of one test."""
    if id(reopen) not in _open:
        _open[id(reopen)] = await reopen()
    return _open[id(reopen)]
