"""Two copies and what they last agreed on: the laws of bringing them together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from difflib import SequenceMatcher
from random import Random
from time import process_time
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain import entries
from fhir_gateway.domain import reconcile as reconciling
from fhir_gateway.domain.entries import same, text
from fhir_gateway.domain.reconcile import Conflict, Merge, Nothing, Pull, Push, content, reconcile, theirs_alone

GOAL: dict[str, Any] = {
    "resourceType": "Goal",
    "id": "ours",
    "meta": {"versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z", "profile": ["http://x/goal"]},
    "lifecycleStatus": "active",
    "description": {"text": "Walk the dog"},
    "startDate": "2026-01-01",
    "note": [{"text": "first"}, {"text": "second"}],
    "target": [
        {"id": "t1", "dueDate": "2026-06-01", "measure": {"text": "steps"}},
        {"id": "t2", "detailQuantity": {"value": 5, "unit": "km", "system": "http://unitsofmeasure.org", "code": "km"}},
    ],
    "addresses": [{"reference": "Condition/a"}, {"reference": "Condition/b"}],
}


def changed(**elements: Any) -> dict[str, Any]:
    """GOAL with elements set; None takes one away."""
    whole = {**copy.deepcopy(GOAL), **elements}
    return {k: v for k, v in whole.items() if v is not None}


def target(*entries: dict[str, Any]) -> dict[str, Any]:
    return changed(target=list(entries))


T1, T2 = GOAL["target"]


# -- single answers ---------------------------------------------------------------------------------------------------


def test_no_change_is_nothing():
    there = {**copy.deepcopy(GOAL), "id": "theirs", "meta": {"versionId": "x", "lastUpdated": "now", "source": "#a", "profile": ["http://x/goal"],
             "tag": [{"system": "https://fhir-gateway.example/id/resource", "code": "ours"}]}}  # fmt: skip
    assert reconcile(GOAL, GOAL, there) == Nothing()


def test_the_same_change_on_both_sides_is_nothing():
    assert reconcile(GOAL, changed(lifecycleStatus="completed"), changed(lifecycleStatus="completed")) == Nothing()


def test_one_side_changed_is_pushed_or_pulled_whole():
    new = changed(lifecycleStatus="completed", startDate=None)
    assert reconcile(GOAL, new, GOAL) == Push(new)
    assert reconcile(GOAL, GOAL, new) == Pull(new)


def test_edits_of_different_elements_are_both_kept():
    step = reconcile(GOAL, changed(lifecycleStatus="completed"), changed(startDate="2026-02-02"))
    assert step == Merge(changed(lifecycleStatus="completed", startDate="2026-02-02"))


def test_edits_of_different_parts_of_one_entry_are_both_kept():
    ours = target({**T1, "dueDate": "2026-07-01"}, T2)
    theirs = target({**T1, "measure": {"text": "minutes"}}, T2)
    assert reconcile(GOAL, ours, theirs) == Merge(target({**T1, "dueDate": "2026-07-01", "measure": {"text": "minutes"}}, T2))


def test_new_entries_of_both_sides_are_kept_and_the_same_one_once():
    ours = changed(note=[*GOAL["note"], {"text": "ours"}, {"text": "both"}])
    theirs = changed(note=[{"text": "theirs"}, *GOAL["note"], {"text": "both"}])
    step = reconcile(GOAL, ours, theirs)
    assert isinstance(step, Merge)
    assert [n["text"] for n in step.body["note"]] == ["theirs", "first", "second", "both", "ours"]


def test_an_entry_that_both_set_to_the_same_is_there_once_though_one_added_another() -> None:
    base, one, more = ([{"text": t} for t in texts] for texts in (["z"], ["a"], ["a", "p"]))
    for local, remote in ((more, one), (one, more)):
        step = reconcile(changed(note=base), changed(note=local), changed(note=remote))
        assert isinstance(step, Push | Pull) and step.body is not None and step.body["note"] == more


def test_an_entry_taken_away_here_and_untouched_there_is_gone():
    step = reconcile(GOAL, changed(addresses=[{"reference": "Condition/b"}]), changed(startDate="2026-02-02"))
    assert isinstance(step, Merge) and step.body["addresses"] == [{"reference": "Condition/b"}]


@pytest.mark.parametrize(
    ("ours", "theirs", "path"),
    [
        (changed(lifecycleStatus="completed"), changed(lifecycleStatus="cancelled"), "Goal.lifecycleStatus"),
        (changed(startDate=None), changed(startDate="2027-01-01"), "Goal.startDate"),
        (target({**T1, "dueDate": "2026-07-01"}, T2), target({**T1, "dueDate": "2026-08-01"}, T2), "Goal.target[0].dueDate"),
        (target(T2), target({**T1, "dueDate": "2026-08-01"}, T2), "Goal.target[0]"),
        (
            target(T1, {"id": "t2", "detailString": "far"}),
            target(T1, {"id": "t2", "detailQuantity": {**T2["detailQuantity"], "value": 6}}),
            "Goal.target[1].detail[x]",
        ),
        (
            target(T1, {"id": "t2", "detailQuantity": {**T2["detailQuantity"], "value": 6}}),
            target(T1, {"id": "t2", "detailQuantity": {"value": 5, "unit": "mi", "code": "[mi_i]"}}),
            "Goal.target[1].detailQuantity",
        ),
    ],
)
def test_edits_of_the_same_element_are_a_conflict_that_names_it(ours, theirs, path):
    step = reconcile(GOAL, ours, theirs)
    assert isinstance(step, Conflict) and step.paths == (path,)
    assert {text(content(step.winner)), text(content(step.loser))} == {text(content(ours)), text(content(theirs))}


def test_what_does_not_clash_is_in_winner_and_loser():
    step = reconcile(
        GOAL, changed(lifecycleStatus="completed", startDate="2020-01-01"), changed(lifecycleStatus="cancelled", note=None)
    )
    assert isinstance(step, Conflict)
    for body in (step.winner, step.loser):
        assert body is not None and body["startDate"] == "2020-01-01" and "note" not in body


def test_deletes():
    new = changed(lifecycleStatus="completed")
    assert reconcile(GOAL, None, None) == reconcile(None, None, None) == Nothing()
    assert reconcile(GOAL, None, GOAL) == Push(None)
    assert reconcile(GOAL, GOAL, None) == Pull(None)
    assert reconcile(GOAL, None, new) == Conflict(None, new, ("Goal",))
    assert reconcile(GOAL, new, None) == Conflict(None, new, ("Goal",))
    assert reconcile(None, GOAL, None) == Push(GOAL)
    assert reconcile(None, None, GOAL) == Pull(GOAL)


def test_first_contact_without_a_base_unites_what_does_not_differ():
    step = reconcile(None, changed(note=None), changed(startDate=None))
    assert isinstance(step, Merge) and same(content(step.body), content(GOAL))
    assert isinstance(reconcile(None, GOAL, changed(startDate="2020-01-01")), Conflict)


def test_labels_only_come_together():
    a, b = {"system": "s", "code": "R"}, {"system": "s", "code": "MH"}
    ours, theirs = changed(meta={"security": [a]}), changed(meta={"security": [b]})
    step = reconcile(changed(meta={"security": [{"system": "s", "code": "N"}]}), ours, theirs)
    assert isinstance(step, Merge) and {c["code"] for c in step.body["meta"]["security"]} == {"R", "MH"}


def test_the_body_carries_the_id_and_version_of_ours():
    step = reconcile(
        GOAL,
        GOAL,
        {**changed(lifecycleStatus="completed"), "id": "theirs", "meta": {"versionId": "9", "profile": ["http://x/goal"]}},
    )
    assert isinstance(step, Pull) and step.body is not None
    assert step.body["id"] == "ours" and step.body["meta"]["versionId"] == "3"


# -- laws -------------------------------------------------------------------------------------------------------------

words = st.sampled_from(["a", "b", "c", "d"])
leaf = st.one_of(words, st.integers(0, 2), st.booleans())
entry = st.fixed_dictionaries({}, optional={"id": words, "one": leaf, "two": leaf, "three": leaf})
body = st.fixed_dictionaries(
    {"resourceType": st.just("Goal")},
    optional={
        "status": leaf, "when": leaf, "name": st.fixed_dictionaries({"family": leaf}, optional={"given": leaf}),
        "list": st.lists(words, min_size=1, max_size=4), "part": st.lists(entry.filter(bool), min_size=1, max_size=3),
        "valueString": words, "valueInteger": st.integers(0, 2),
    },
)  # fmt: skip
maybe = st.one_of(st.none(), body)


@given(maybe, maybe, maybe)
def test_reconciling_is_symmetric(base, a, b):
    one, other = reconcile(base, a, b), reconcile(base, b, a)
    mirror = {Push: Pull, Pull: Push}
    assert type(other) is mirror.get(type(one), type(one))
    if isinstance(one, Conflict) and isinstance(other, Conflict):
        assert sorted(one.paths) == sorted(other.paths)
        assert same(one.winner, other.winner) and same(one.loser, other.loser)
    elif not isinstance(one, Nothing):
        assert same(one.body, other.body)  # type: ignore[union-attr]


things = st.sampled_from(["Goal/one.1", "Goal/one.2", "Goal/two.1", "Goal/two.2"])  # as both sides call them
naming = st.fixed_dictionaries({"reference": things}, optional={"display": words})
naming_body = st.fixed_dictionaries(
    {"resourceType": st.just("Goal")},
    optional={
        "status": leaf, "by": naming, "list": st.lists(naming, min_size=1, max_size=4),
        "part": st.lists(st.fixed_dictionaries({"id": words}, optional={"by": naming, "one": leaf}), min_size=1, max_size=3),
    },
)  # fmt: skip


def renamed(node: Any, names: dict[str, str]) -> Any:
    """The same with every reference by one of these names."""
    if isinstance(node, list):
        return [renamed(n, names) for n in node]
    return {k: names[v] if k == "reference" else renamed(v, names) for k, v in node.items()} if isinstance(node, dict) else node


@given(st.one_of(st.none(), naming_body), naming_body, naming_body, st.permutations(range(4)), st.permutations(range(4)))
def test_two_sides_that_call_what_they_name_by_ids_of_their_own_choose_alike(base, a, b, ids_here, ids_there):
    both = ["Goal/one.1", "Goal/one.2", "Goal/two.1", "Goal/two.2"]
    here, there = ({name: f"Goal/{ids[n]}" for n, name in enumerate(both)} for ids in (ids_here, ids_there))
    one, other = (
        reconcile(renamed(base, names), renamed(mine, names), renamed(theirs, names), {own: name for name, own in names.items()})
        for names, mine, theirs in ((here, a, b), (there, b, a))
    )
    assert type(other) is {Push: Pull, Pull: Push}.get(type(one), type(one))
    back = ({own: name for name, own in names.items()} for names in (here, there))
    for found, names in zip((one, other), back, strict=True):
        for part in ("body", "winner", "loser"):
            if hasattr(found, part):
                object.__setattr__(found, part, renamed(getattr(found, part), names))
    if isinstance(one, Conflict) and isinstance(other, Conflict):
        assert one.paths == other.paths
        assert same(one.winner, other.winner) and same(one.loser, other.loser)
    elif not isinstance(one, Nothing):
        assert same(one.body, other.body)  # type: ignore[union-attr]


@st.composite
def grown(draw: Any, base: dict[str, Any]) -> dict[str, Any]:
    """The same with other values, and with more in its list: what is taken out of a list and put into it at once, likeness alone tells apart."""
    new = draw(st.lists(st.sampled_from("xyz"), unique=True))
    whole = list(base["list"])
    for word in new:
        whole.insert(draw(st.integers(0, len(whole))), word)
    return {**base, "status": draw(leaf), "by": draw(naming), "list": whole}


@given(st.lists(words, unique=True, min_size=1), leaf, st.data())
def test_what_one_side_made_of_both_the_other_takes_as_it_is(old, status, data):
    base = {"resourceType": "Goal", "status": status, "list": old}
    a, b = data.draw(grown(base)), data.draw(grown(base))
    step = reconcile(base, a, b)
    made = step.winner if isinstance(step, Conflict) else a if isinstance(step, Nothing | Push) else step.body
    again = reconcile(base, b, made)
    assert same(made, b if isinstance(again, Nothing) else again.winner if isinstance(again, Conflict) else again.body)


def test_what_clashes_twice_in_one_list_is_won_by_one_side_whoever_asks() -> None:
    mine, theirs = ([{"id": "a", "one": x}, {"id": "b", "one": y}] for x, y in ((1, 2), (5, 0)))
    mirrored = [{"id": "a", "one": 2}, {"id": "b", "one": 1}]
    for other in (theirs, mirrored):
        local, remote = ({"resourceType": "Goal", "part": part} for part in (mine, other))
        one, two = reconcile({"resourceType": "Goal"}, local, remote), reconcile({"resourceType": "Goal"}, remote, local)
        assert isinstance(one, Conflict) and isinstance(two, Conflict)
        assert same(one.winner, two.winner) and same(one.loser, two.loser)


@given(body, body)
def test_whoever_has_not_changed_gets_the_other(base, new):
    assume(not same(base, new))
    assert reconcile(base, new, base) == Push(new)
    assert reconcile(base, base, new) == Pull(new)


@given(maybe, body)
def test_equal_copies_need_nothing(base, a):
    assert reconcile(base, a, copy.deepcopy(a)) == Nothing()


@given(body, st.data())
def test_a_merge_of_disjoint_edits_contains_both(base, data):
    names = ["status", "when", "list", "part", "name"]
    mine = data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=4))
    ours = {**base, **{k: v for k, v in data.draw(body).items() if k in mine}}
    theirs = {**base, **{k: v for k, v in data.draw(body).items() if k in set(names) - mine}}
    step = reconcile(base, ours, theirs)
    assert not isinstance(step, Conflict)
    got = ours if isinstance(step, Nothing) else step.body
    for k in names:
        assert same(got.get(k), (ours if k in mine else theirs).get(k))


@given(body, body, body)
def test_both_sides_that_follow_the_answer_agree(base, a, b):
    step = reconcile(base, a, b)
    settled = {Nothing: a, Push: a}.get(type(step)) or getattr(step, "body", None) or getattr(step, "winner", None)
    assert reconcile(settled, settled, settled) == Nothing()
    assert reconcile(base, settled, settled) == Nothing()


@given(body, maybe)
def test_deletes_do_not_resurrect(base, other):
    for step in (reconcile(base, None, other), reconcile(base, other, None)):
        assert not isinstance(step, Merge)
        if isinstance(step, Push | Pull):
            assert step.body is None
        if isinstance(step, Conflict):
            assert step.winner is None and step.loser == other


@given(body, body, body)
def test_what_neither_side_wrote_never_appears(base, a, b):
    step = reconcile(base, a, b)
    seen = {repr(leaf) for side in (base, a, b) for leaf in _leaves(side)}
    for whole in (getattr(step, n, None) for n in ("body", "winner", "loser")):
        assert {repr(leaf) for leaf in _leaves(whole or {})} <= seen


@given(body, body, body)
def test_nothing_is_changed_in_place(base, a, b):
    before = copy.deepcopy((base, a, b))
    reconcile(base, a, b)
    assert (base, a, b) == before


def _leaves(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [x for v in node.values() for x in _leaves(v)]
    if isinstance(node, list):
        return [x for v in node for x in _leaves(v)]
    return [node]


def test_a_record_without_what_others_changed_of_it() -> None:
    begun = {"resourceType": "Goal", "description": {"text": "Walk"}}
    noted = begun | {"note": [{"text": "mine"}]}
    edited = noted | {"description": {"text": "Walk far"}}
    assert theirs_alone([(begun, True), (noted, False), (edited, True)]) == begun | {"description": {"text": "Walk far"}}
    assert theirs_alone([(begun, True), (noted, False)]) == begun
    assert theirs_alone([(begun, False)]) is None
    clash = begun | {"description": {"text": "Run"}}
    assert theirs_alone([(begun, True), (clash, False), (clash | {"description": {"text": "Run far"}}, True)]) is None


# -- long lists -------------------------------------------------------------------------------------------------------


def long(prefix: str, n: int, **more: str) -> list[dict[str, str]]:
    return [{**more, "text": f"{prefix}{i}"} for i in range(n)]


@pytest.mark.parametrize("more", [{}, {"authorString": "x"}], ids=["nothing in common", "one thing in common"])
def test_of_long_lists_few_pairs_are_compared_and_nothing_is_lost(more: dict[str, str]) -> None:
    old, new = ({i: frozenset(entries._leaves(e)) for i, e in enumerate(long(p, 500, **more))} for p in "ac")
    assert sum(entries._rarely_shared(old, new).values()) <= entries.MOST
    base, theirs = changed(note=long("a", 500, **more)), changed(note=long("c", 500, **more))
    ours = {**base, "note": [*base["note"], {"text": "mine"}]}
    step = reconcile(base, ours, theirs)
    assert isinstance(step, Merge) and sorted(map(text, step.body["note"])) == sorted(map(text, [*theirs["note"], {"text": "mine"}]))
    both = reconcile(base, changed(note=long("b", 500, **more)), theirs)
    assert isinstance(both, Conflict) and {text(n) for side in ("local", "remote") for n in (both.of(side) or {})["note"]} >= {
        text(n) for p in "bc" for n in long(p, 500, **more)
    }


def test_in_long_lists_an_edited_entry_is_known_by_what_it_shares_with_few() -> None:
    old = [{"authorString": "x", "time": f"t{i}", "text": f"a{i}"} for i in range(300)]
    new = [{"authorString": "x", "time": f"t{i}", "text": f"c{i}"} for i in reversed(range(1, 300))]
    assert entries.aligned(old, new, bounded=True) == entries.aligned(old, new) == list(reversed(range(1, 300)))


# -- long lists: as if every pair had been told -----------------------------------------------------------------------


def every_pair(old: list[tuple[int, Any]], new: list[tuple[int, Any]]) -> set[tuple[int, int]]:
    """Who is whose, told pair by pair, the nearest first."""
    left, right = ({at: frozenset(entries._leaves(v)) for at, v in side} for side in (old, new))
    out = set()
    for score, _, a, b in sorted((-len(left[a] & right[b]), abs(a - b), a, b) for a in left for b in right):
        if score and a in left and b in right:
            del left[a], right[b]
            out.add((a, b))
    return out | (set(zip(left, right, strict=True)) if len(left) == len(right) else set())


LIKE = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4)
SIDE = st.dictionaries(st.integers(0, 30), LIKE, max_size=12).map(lambda d: sorted(d.items()))


@settings(max_examples=400)
@given(SIDE, SIDE)
def test_the_most_alike_are_those_of_every_pair_told(old: list[tuple[int, Any]], new: list[tuple[int, Any]]) -> None:
    found = list(entries._nearest(old, new, False))
    assert set(found) == every_pair(old, new) and len(found) == len(set(found))


def one_after_the_other(size: int, order: list[int]) -> list[int]:
    out = [-1, *order]
    for i in range(size):
        if i not in order:
            out.insert(out.index(i - 1) + 1, i)
    return out


@given(st.integers(0, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.sampled_from(range(n)), unique=True) if n else st.just([]))))
def test_what_did_not_move_follows_what_stood_before_it(case: tuple[int, list[int]]) -> None:
    size, order = case
    moved = order if order != sorted(order) else []
    assert reconciling._order(size, order, []) == one_after_the_other(size, moved)


def test_of_a_long_list_one_edit_is_one_edit() -> None:
    """Somebody who is shown less of each edits one of them: 10,000 were a hundred million pairs, and more than a minute."""
    stored = {"resourceType": "X", "note": [{"text": f"note {n}", "time": f"2026-01-{n % 28 + 1:02d}"} for n in range(3_000)]}
    shown = {"resourceType": "X", "note": [{"text": n["text"]} for n in stored["note"]]}
    made = copy.deepcopy(shown)
    made["note"][1_500]["text"] = "other"
    whole, seconds = timed(lambda: reconciling.edited(shown, made, stored))
    want = copy.deepcopy(stored)
    want["note"][1_500]["text"] = "other"
    assert whole == want and seconds < 5


def timed(do: Callable[[], Any]) -> tuple[Any, float]:
    """What it makes, and how long the processor worked at it."""
    start = process_time()
    return do(), process_time() - start


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.lists(st.sampled_from("abcdefgh"), max_size=30))
def test_equal_entries_in_order_are_those_of_difflib(old: list[str], new: list[str]) -> None:
    left, right = map(text, old), map(text, new)
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    assert sorted(entries._in_order([*left], [*right])) == sorted((b.a + i, b.b + i) for b in blocks for i in range(b.size))


SOME: list[list[dict[str, Any]]] = [[{k: 1 for k in Random(f"{side} {n}").sample("abcdefghijklmnopqrst", 8)} | {side: n} for n in range(1_500)] for side in ("old", "new")]


@pytest.mark.parametrize(
    ("old", "new"),
    [SOME, ([{"n": n % 2} for n in range(1_500)], [{"n": n // 750} for n in range(1_500)]), (long("a", 4_000), [v if n % 2 else {"text": f"c{n}"} for n, v in enumerate(long("a", 4_000))])],
    ids=["each shares something with all", "two kinds alone", "every second edited"],
)
def test_a_long_list_holds_nobody_up(old: list[Any], new: list[Any]) -> None:
    """A PUT of 4,000 entries by somebody who is shown less of each took 23 seconds, in which nobody else was answered."""
    came, seconds = timed(lambda: entries.aligned(old, new))
    assert None not in came and len(set(came)) == len(new) and seconds < 2


def test_of_many_that_look_alike_one_that_is_new_moves_no_other() -> None:
    old = [{"n": n % 2} for n in range(1_000)]
    assert entries.aligned(old, [*old[:501], {"n": "new"}, *old[501:]]) == [*range(501), None, *range(501, 1_000)]
    assert entries.aligned(old, [*old[:501], *old[502:]]) == [*range(501), *range(502, 1_000)]
