"""A partner's list that comes again says nothing anew, whatever others have said since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway import plans
from fhir_gateway.domain.laid import digests, since, unsaid, words
from fhir_gateway.domain.problem import Problem
from fhir_gateway.plans.laying import contribute

from .test_plans import Place, opened

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4))
PARTS = st.dictionaries(
    st.sampled_from(["plan", "id", "person", "goals", "medicines", "x_theirs"]),
    st.recursive(LEAVES, lambda s: st.one_of(st.lists(s, max_size=3), st.dictionaries(st.sampled_from(["id", "text", "a/b"]), s, max_size=3)), max_leaves=8), max_size=5,
)  # fmt: skip


@given(PARTS, PARTS)
def test_what_was_said_so_says_nothing_but_whose_it_is(part: dict[str, Any], here: dict[str, Any]) -> None:
    again = unsaid(part, words(part), here)
    empty = {k: v for k, v in again.items() if k not in ("plan", "id", "person")}
    assert not words(empty), "nothing but empty objects is left"
    assert unsaid(part, {}, here) == part


@given(PARTS, PARTS)
def test_a_plan_that_says_the_same_changes_nothing_and_one_whom_nobody_else_wrote_is_as_it_is_sent(now: dict[str, Any], plan: dict[str, Any]) -> None:
    assert since(digests(plan), now, plan) == now
    assert digests(since(digests(now), now, plan)) == digests(plan)


def test_of_a_plan_each_side_s_own_changes_are_kept_and_what_both_changed_is_a_conflict() -> None:
    before = {"id": "p", "goals": [{"id": "1", "text": "a", "by": Decimal("840.0")}, {"id": "2", "text": "b"}], "plan": "1"}
    now = {"id": "p", "goals": [{"id": "3", "text": "theirs"}, {"id": "1", "text": "a", "by": Decimal("840.00"), "status": "done"}], "plan": "1"}
    sent = {"id": "p", "goals": [{"id": "1", "text": "ours", "by": Decimal("840.0")}, {"id": "2", "text": "b"}, {"id": "4", "text": "new"}], "plan": Decimal("1.00")}
    merged = since(digests(before), now, sent)
    assert {g["id"]: g for g in merged["goals"]} == {
        "3": {"id": "3", "text": "theirs"}, "1": {"id": "1", "text": "ours", "by": Decimal("840.00"), "status": "done"}, "4": {"id": "4", "text": "new"},
    }  # fmt: skip
    assert merged["plan"] == Decimal("1.00"), "the number one is not the word for it"
    with pytest.raises(Problem) as refused:
        since(digests(before), now, {**before, "goals": [before["goals"][0], {"id": "2", "text": "changed"}]})  # type: ignore[index]
    assert (refused.value.kind, refused.value.where) == ("conflict", "goals[1].text"), "they took out what we change"


def test_what_the_plan_has_no_more_is_said_whole_or_not_at_all() -> None:
    """The GP took it out; the list then says another dose: that alone would be a medicine without a name."""
    now = {"medicines": [{"id": "1", "text": "Warfarin", "how": "3 mg"}]}
    newer = {"medicines": [{"id": "1", "text": "Warfarin", "how": "5 mg"}]}
    assert unsaid(newer, words(now), now) == {"medicines": [{"id": "1", "how": "5 mg"}]}
    assert unsaid(newer, words(now), {}) == unsaid(newer, words(now), {"medicines": [{"id": "2"}]}) == newer
    assert unsaid(now, words(now), {}) == {}


BASE = {"plan": "1", "id": "p-1", "person": {"id": "x", "name": {"given": ["Ann"], "family": "Lists"}, "birth_date": "1950-02-03"}}
LIST = {
    **BASE, "medicines": [{"id": "w-1", "text": "Warfarin", "how": "3 mg at six", "status": "taking"}, {"id": "w-2", "text": "Bisoprolol", "status": "taking"}],
    "actions": [{"id": "w-job-1", "text": "Fit a rail", "status": "planned"}],
}  # fmt: skip


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


async def test_a_list_that_comes_again_starts_no_medicine_that_was_stopped(place: Place) -> None:
    saved = await contribute(place.hospital, LIST, by="ward")
    assert saved.patient is not None
    me = place.patient(saved.patient)
    plan = await plans.load(me, saved.patient)
    warfarin = next(m for m in plan["medicines"] if m["id"] == "w-1")
    warfarin |= {"status": "stopped", "status_reason": "It made me bleed"}
    plan["actions"][0]["status"] = "done"
    await plans.save(me, plan)
    stopped = await plans.load(me, saved.patient)
    again = await contribute(place.hospital, LIST, by="ward")
    assert again.written == 0 and await plans.load(me, saved.patient) == stopped, "the same list says nothing anew"

    newer = {**LIST, "medicines": [LIST["medicines"][0], {**LIST["medicines"][1], "how": "5 mg"}]}  # type: ignore[index]
    await contribute(place.hospital, newer, by="ward")
    after = {m["id"]: m for m in (await plans.load(me, saved.patient))["medicines"]}
    assert after["w-1"]["status"] == "stopped" and after["w-2"]["how"] == "5 mg", "and what is new in it is all that it says"
    started = {**newer, "medicines": [{**newer["medicines"][0], "status": "paused"}, newer["medicines"][1]]}
    await contribute(place.hospital, started, by="ward")
    assert {m["id"]: m["status"] for m in (await plans.load(me, saved.patient))["medicines"]}["w-1"] == "paused", "what they say otherwise than before is said"
