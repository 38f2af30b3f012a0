"""What is masked, or held back, is never an edit: nothing is lost by it, nothing is there twice, and what is changed beside it still counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.entries import same
from fhir_gateway.domain.masked import HELD_BACK, MOST, found_again, is_masked, shown_again, unmasked
from fhir_gateway.domain.reconcile import Conflict, Nothing, Pull, content, reconcile
from fhir_gateway.domain.view import MASKED

Json = Any
GOALS = [f"Goal/{c}" for c in "abcdef"]
THEIRS = {f"Goal/their-{c}": f"Goal/{c}" for c in "abcdef"}  # what they call ours
MASK = {"extension": [MASKED], "type": "Goal"}


def refs(*names: str) -> list[dict[str, str]]:
    return [{"reference": f"Goal/{n}"} for n in names]


def plan(goals: list[Json], member: Json = None, **more: Json) -> dict[str, Json]:
    part = {"activity": [{"reference": member, "note": "walk"}]} if member else {}
    return {"resourceType": "CarePlan", "title": "x", "goal": goals, **part, **more}


some_goals = st.lists(st.sampled_from(GOALS[:4]), max_size=4, unique=True).map(lambda names: [{"reference": n} for n in names])
plans = st.builds(plan, some_goals, st.none() | st.sampled_from(GOALS).map(lambda n: {"reference": n, "display": "far"}))
WAYS = st.sampled_from([MASK, {"extension": [MASKED]}, {"extension": [{"url": "http://x", "valueCode": "y"}, MASKED], "type": "Goal"}, "held back"])


def hidden(node: Json, names: set[str], way: Json = MASK) -> Json:
    """With the references to these masked, or held back by what they call them."""
    if isinstance(node, list):
        return [hidden(n, names, way) for n in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("reference"), str) and node["reference"] in names:
        called = next(t for t, ours in THEIRS.items() if ours == node["reference"])
        return {"type": "Goal", "identifier": {"system": HELD_BACK, "value": called}} if way == "held back" else way
    return {k: hidden(v, names, way) for k, v in node.items()}


subsets = st.sets(st.sampled_from(GOALS))


@given(plans, subsets, WAYS)
def test_what_is_handed_back_masked_is_what_was_there(whole: Json, names: set[str], way: Json) -> None:
    assert unmasked(hidden(whole, names, way), whole, whole, THEIRS) == whole


@given(plans, subsets, subsets)
def test_whatever_either_masks_is_no_edit_and_nothing_is_twice(whole: Json, then: set[str], now: set[str]) -> None:
    agreed, theirs = shown_again(hidden(whole, then), whole, hidden(whole, now))
    assert agreed == theirs == whole and reconcile(agreed, whole, theirs) == Nothing()
    assert shown_again(None, whole, hidden(whole, now)) == (None, whole)


@given(plans, subsets, subsets, subsets)
def test_whatever_all_three_mask_is_learned_and_never_lost(whole: Json, here: set[str], then: set[str], now: set[str]) -> None:
    local = hidden(whole, here)
    agreed, theirs = shown_again(hidden(whole, then), local, hidden(whole, now))
    assert agreed is not None
    ours = unmasked(local, agreed, agreed)
    step = reconcile(agreed, ours, theirs)
    assert isinstance(step, Nothing | Pull)
    merged = content(ours) if isinstance(step, Nothing) else step.body
    assert merged == hidden(whole, here & then & now)


@given(plans, subsets, st.data())
def test_what_is_taken_out_or_added_beside_it_counts_as_if_nothing_were_masked(whole: Json, names: set[str], data: st.DataObject) -> None:
    def edited() -> Json:
        gone = data.draw(subsets) - names
        goals = [g for g in whole["goal"] if g["reference"] not in gone]
        for new in data.draw(st.lists(st.sampled_from(GOALS[4:]), max_size=2, unique=True)):
            if new not in names:
                goals.insert(data.draw(st.integers(0, len(goals))), {"reference": new})
        return {**whole, "goal": goals, "title": data.draw(st.sampled_from("xyz"))}

    made, ours = edited(), edited()
    agreed, theirs = shown_again(hidden(whole, names), whole, hidden(made, names))
    assert same(agreed, whole) and same(theirs, made)
    assert reconcile(agreed, ours, theirs) == reconcile(whole, ours, made)


@given(plans, subsets, WAYS, st.sampled_from(GOALS[4:]))
def test_what_is_written_over_with_masks_loses_only_what_was_taken_out(whole: Json, names: set[str], way: Json, new: str) -> None:
    goals = hidden(whole["goal"], names, way)
    kept = unmasked(plan([*goals, {"reference": new}]), whole, whole, THEIRS)["goal"]
    assert kept == [*whole["goal"], {"reference": new}]
    fewer = unmasked(plan(goals[:-1]), whole, whole, THEIRS)["goal"]
    assert len(fewer) == len(goals[:-1]) and all(g in whole["goal"] for g in fewer)


@given(st.lists(st.sampled_from(GOALS[:2]), max_size=4), subsets)
def test_the_same_twice_stays_twice(names: list[str], masked: set[str]) -> None:
    whole = plan([{"reference": n} for n in names])
    assert unmasked(hidden(whole, masked), whole, whole) == whole


@pytest.mark.parametrize(
    ("said", "seen", "kept"),
    [
        ([MASK, *refs("b")], refs("a", "b"), refs("a", "b")),
        ([MASK, *refs("e")], refs("a"), refs("a", "e")),
        ([MASK], refs("a", "b"), refs("a")),
        ([*refs("b"), MASK, MASK, MASK], refs("a", "b"), [*refs("b", "a"), MASK, MASK]),
        ([MASK, MASK, MASK], [*refs("a"), MASK, MASK], [*refs("a"), MASK, MASK]),
        ([MASK], [*refs("a"), MASK], [MASK]),
        ([{"extension": [MASKED], "type": "Condition"}], refs("a"), [{"extension": [MASKED], "type": "Condition"}]),
        ([{"type": "Goal", "identifier": {"system": HELD_BACK, "value": "Goal/new"}}], refs("a"), [{"type": "Goal", "identifier": {"system": HELD_BACK, "value": "Goal/new"}}]),
        ([{"type": "Goal", "identifier": {"system": HELD_BACK, "value": "Goal/b"}}, MASK], refs("a", "b"), refs("b", "a")),
    ],
)  # fmt: skip
def test_entries_that_match_come_first_and_then_those_that_are_left(said: Json, seen: Json, kept: Json) -> None:
    assert unmasked(plan(said), plan(seen), plan(seen))["goal"] == kept


def test_who_shows_one_and_masks_another_has_lost_neither() -> None:
    agreed, theirs = shown_again(plan([MASK, *refs("b")]), plan(refs("a", "b")), plan([*refs("a"), MASK]))
    assert agreed == theirs == plan(refs("a", "b"))


def test_where_it_is_not_known_what_ours_is_what_they_show_by_now_is_taken_in() -> None:
    agreed, theirs = shown_again(plan([MASK]), plan([MASK]), plan(refs("a")))
    step = reconcile(agreed, plan([MASK]), theirs)
    assert isinstance(step, Pull) and step.body == plan(refs("a"))


def test_one_that_was_taken_out_here_stays_out_however_they_mask_it() -> None:
    whole = plan(refs("a", "b"))
    agreed, theirs = shown_again(plan([MASK, MASK]), whole, plan([MASK, MASK], title="y"))
    step = reconcile(agreed, plan(refs("b")), theirs)
    assert not isinstance(step, Conflict | Nothing) and step.body == plan(refs("b"), title="y")


def test_an_element_that_is_masked_is_as_it_was_and_one_that_is_left_out_is_gone() -> None:
    whole = {"resourceType": "Patient", "birthDate": "1951-04-07", "_birthDate": {"id": "b"}, "gender": "female", "managingOrganization": {"reference": "Organization/1"}}
    said = {"resourceType": "Patient", "_birthDate": {"extension": [MASKED]}, "managingOrganization": {"extension": [MASKED]}}
    assert unmasked(said, whole, whole) == {k: v for k, v in whole.items() if k != "gender"}


def test_a_record_whose_own_identifier_has_that_system_is_no_reference() -> None:
    one = {"resourceType": "QuestionnaireResponse", "identifier": {"system": HELD_BACK, "value": "Goal/a"}, "status": "completed"}
    assert unmasked(one | {"status": "amended"}, one, one)["status"] == "amended"


def test_what_is_held_back_here_is_found_again_as_they_show_it() -> None:
    held = {"type": "Goal", "identifier": {"system": HELD_BACK, "value": "Goal/their-a"}}
    shown = {"reference": "Goal/a", "type": "Goal"}
    assert found_again(plan([held]), plan([shown]), THEIRS) == plan([shown])
    assert found_again(plan([held]), plan(refs("b")), THEIRS) == plan([held])


def test_a_list_without_end_is_filled_in_its_order() -> None:
    many = [{"reference": f"Goal/{n}"} for n in range(500)]
    assert len(many) ** 2 > MOST and unmasked(plan([MASK] * 500), plan(many), plan(many))["goal"] == many


@pytest.mark.parametrize("odd", [7, "x", [], {}, {"": 1}, {"_": MASK}, {"extension": MASKED}, {"identifier": []}, {"type": 3, "extension": [MASKED]}, [[MASK]], None])
def test_no_shape_breaks_it(odd: Json) -> None:
    for said, seen in ((odd, MASK), (MASK, odd), ([odd, MASK], [MASK, odd]), (odd, odd)):
        out = unmasked({"resourceType": "Basic", "x": said, "y": MASK}, {"x": seen}, {"x": seen})
        assert is_masked(out["y"])
