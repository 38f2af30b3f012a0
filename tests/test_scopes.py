"""SMART scopes: what a token lets its bearer ask for."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.scopes import Scopes

TYPES = ("CarePlan", "Goal")
WORDS = [
    f"{level}/{type}.{may}{query}"
    for level, type, may, query in product(
        ("patient", "user", "system"),
        ("*", *TYPES),
        ("r", "rs", "cruds", "read", "write", "*"),
        ("", "?category=x", "?category=y&status=active"),
    )
]
scopes = st.lists(st.sampled_from([*WORDS, "openid", "launch/patient", "offline_access"]), max_size=5).map(
    lambda words: Scopes.parse(" ".join(words))
)


def allowed(s: Scopes) -> set[tuple[str, str, str, frozenset[tuple[str, str]]]]:
    """Everything these scopes open, one by one, in a world of two types and two restrictions."""
    worlds = [frozenset(w) for w in ((), (("category", "x"),), (("category", "y"), ("status", "active")))]
    worlds += [worlds[1] | worlds[2]]
    return {
        (scope.level, i, t, has)
        for scope in s.resources
        for i, t, has in product("cruds", TYPES, worlds)
        if scope.allows(i, t) and set(scope.query) <= has
    }


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("patient/CarePlan.rs", "rs"),
        ("patient/CarePlan.r", "r"),
        ("patient/CarePlan.s", "s"),
        ("user/*.cruds", "cruds"),
        ("system/CarePlan.cud", "cud"),
        ("patient/CarePlan.read", "rs"),
        ("patient/CarePlan.write", "cud"),
        ("patient/*.*", "cruds"),
        ("patient/Goal.cruds", ""),
        ("openid launch/patient", ""),
        ("", ""),
    ],
)
def test_reading_is_not_searching_and_creating_is_not_updating(text, covered):
    assert {i for i in "cruds" if Scopes.parse(text).covers(i, "CarePlan")} == set(covered)


@pytest.mark.parametrize(
    "word",
    [
        "patient/CarePlan", "patient/CarePlan.", "patient/careplan.r", "patient/CarePlan.sr", "patient/CarePlan.rr",
        "patient/CarePlan.rx", "Patient/CarePlan.r", "patient\\CarePlan.r", "patient/CarePlan.r?", "patient/CarePlan.r?x",
        "patient/CarePlan.r?=x", "patient/CarePlan.r?category=", "patient/CarePlan.r?_count=5", "patient/CarePlan.r?_include=*",
        "other/CarePlan.r", "patient/Care Plan.r", "patient/CarePlan.r?category=%ff", "patient/**.r", "patient/CarePlan.readwrite",
    ],
)  # fmt: skip
def test_what_is_no_scope_grants_nothing(word):
    assert not Scopes.parse(word)


def test_restrictions_are_alternatives_and_a_whole_scope_beats_them():
    s = Scopes.parse("patient/Goal.rs?category=x patient/Goal.r?status=active&category=y%7Cz patient/*.s")
    assert s.restrictions("Goal", "r") == ((("category", "x"),), (("status", "active"), ("category", "y|z")))
    assert s.restrictions("Goal", "s") == ()
    assert s.restrictions("CarePlan", "s") == ()


def test_every_type_at_once_needs_a_wildcard():
    assert not Scopes.parse("user/Goal.s user/CarePlan.s").covers("s", "*")
    assert Scopes.parse("user/*.s").covers("s", "*")


def test_patient_bound_means_no_user_and_no_system_scope():
    assert Scopes.parse("patient/*.rs openid").patient_bound
    assert not Scopes.parse("patient/*.rs user/Goal.r").patient_bound
    assert not Scopes.parse("openid").patient_bound


def test_an_interaction_is_one_letter():
    s = Scopes.parse("user/*.cruds")
    assert not s.covers("rs", "Goal") and not s.covers("", "Goal") and not s.covers("x", "Goal")


@given(scopes)
def test_written_down_and_read_again_it_is_the_same(s):
    assert Scopes.parse(str(s)) == s


@given(st.text(max_size=80))
def test_parsing_never_raises(text):
    Scopes.parse(text)


@given(scopes, scopes)
def test_narrowing_is_intersection(a, b):
    assert allowed(a.narrow(b)) == allowed(a) & allowed(b)
    assert set(a.narrow(b).others) == set(a.others) & set(b.others)


@given(scopes, scopes)
def test_narrowing_is_symmetric_and_idempotent(a, b):
    assert allowed(a.narrow(b)) == allowed(b.narrow(a))
    assert allowed(a.narrow(a)) == allowed(a)


@given(scopes, st.booleans(), st.booleans())
def test_a_scope_means_something_only_for_whom_it_is_meant(s, system, launched):
    left = s.usable(system, launched)
    assert set(left.resources) <= set(s.resources) and left.others == s.others
    for scope in s.resources:
        wanted = {"system": system, "user": not system, "patient": not system and launched}[scope.level]
        assert (scope in left.resources) == wanted
