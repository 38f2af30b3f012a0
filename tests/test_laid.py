"""A partner's list that comes again says nothing anew, whatever others have said since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_gateway import plans
from fhir_gateway.domain import strict
from fhir_gateway.domain.laid import digests, since, unsaid, words
from fhir_gateway.domain.mapping import Partner, TableError, compile_partner
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.sourced import named, plain, things
from fhir_gateway.plans.laying import contribute

from .test_plans import Place, opened

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4))
PARTS = st.dictionaries(
    st.sampled_from(["plan", "id", "person", "goals", "medicines", "x_theirs"]),
    st.recursive(LEAVES, lambda s: st.one_of(st.lists(s, max_size=3), st.dictionaries(st.sampled_from(["id", "text", "a/b"]), s, max_size=3)), max_leaves=8), max_size=5,
)  # fmt: skip


@example({"goals": [{"id": "0", "text": {}}]}, {})
@given(PARTS, PARTS)
def test_what_was_said_so_says_nothing_but_whose_it_is(part: dict[str, Any], here: dict[str, Any]) -> None:
    again = unsaid(part, words(part), here)
    assert not again.keys() - {"plan", "id", "person"}
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


async def test_a_list_renames_nobody_and_says_what_the_record_does_not_say(place: Place) -> None:
    who: dict[str, Any] = {"id": "x", "nhs_number": "9990000018", "name": {"given": ["Ann"], "family": "Lists", "preferred": "Annie"}, "birth_date": "1950-02-03"}
    saved = await contribute(place.hospital, {**LIST, "person": who}, by="ward")
    assert saved.patient is not None
    me = place.patient(saved.patient)
    other = {**who, "id": "7", "name": {"given": ["ANN", "BEGUM"], "family": "LISTS", "preferred": "A.", "title": "Mrs", "full": "LISTS, ANN"}, "gender": "female"}
    await contribute(place.hospital, {**LIST, "person": other}, by="pharmacy")
    now = (await plans.load(me, saved.patient))["person"]
    assert now == {**who, "name": {**who["name"], "title": "Mrs"}, "gender": "female"}, "what says more than whom it means is laid over, as before"
    again = await contribute(place.hospital, {**LIST, "person": other}, by="pharmacy")
    assert again.written == 0


# -- whose ids --------------------------------------------------------------------------------------------------------


KNOWN = plans.schema()


def lists_of(name: str) -> Partner:
    """A ward that numbers its jobs, its medicines and who does them 1, 2, 3."""
    each = [{"theirs": "no", "plan": "id"}, {"theirs": "what", "plan": "text"}, {"theirs": "who", "plan": "who"}, {"theirs": "for", "plan": "goals"}]
    rows = [
        {"theirs": "nhs", "plan": "person.nhs_number"}, {"theirs": "family", "plan": "person.name.family"}, {"theirs": "born", "plan": "person.birth_date"},
        {"theirs": "jobs", "plan": "actions", "each": each}, {"theirs": "aims", "plan": "goals", "each": each[:2]},
        {"theirs": "medicines", "plan": "medicines", "each": [*each[:2], {"theirs": "how", "plan": "how"}]},
        {"theirs": "staff", "plan": "team", "each": [{"theirs": "no", "plan": "id"}, {"theirs": "name", "plan": "name"}]},
    ]  # fmt: skip
    return compile_partner(f"{name}.yaml", {"partner": name, "version": 1, "rows": rows, "always": {"id": "p-1"}}, KNOWN)


@given(PARTS)
def test_ids_of_a_list_go_and_come_back(part: dict[str, Any]) -> None:
    there = named(part, "the-ward", ())
    assert plain(there, "the-ward") == part and all(id.startswith("the-ward:") for _, id in things(there))


WHO = {"nhs": "9990000018", "family": "Lists", "born": "1950-02-03"}


def sends(word: str, **more: Any) -> bytes:
    return strict.dump(WHO | {
        "jobs": [{"no": "1", "what": f"{word} job", "who": "1", "for": ["1"]}], "aims": [{"no": "1", "what": f"{word} aim"}],
        "medicines": [{"no": "1", "what": f"{word} medicine", "how": f"{word} dose"}], "staff": [{"no": "1", "name": f"{word} nurse"}],
    } | more)  # fmt: skip


class Between:
    """A store where something else is done, once, while a list is between the plan that it read and its own save."""

    def __init__(self, store: Any, first: Callable[[], Awaitable[Any]]) -> None:
        self.store, self.first = store, [first]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def kept(self, kind: str, key: str, at: datetime) -> Any:
        found = await self.store.kept(kind, key, at)
        if kind == "laid" and self.first:
            await self.first.pop()()
        return found


async def test_two_lists_laid_at_the_same_time_are_both_in_the_plan(place: Place) -> None:
    """Another process lays its own between: what the plan had when it was read is not what it has when it is saved."""
    saved = await contribute(place.hospital, LIST, by="ward")

    async def meanwhile() -> None:
        await contribute(place.hospital, {**BASE, "actions": [{"id": "a", "text": "From the other"}]}, by="other")

    beside = replace(place, house=replace(place.house, store=Between(place.house.store, meanwhile)))
    await contribute(beside.hospital, {**BASE, "actions": [{"id": "b", "text": "From this"}]}, by="this")
    plan = await plans.load(place.hospital, str(saved.patient))
    assert {"w-job-1", "a", "b"} <= {a["id"] for a in plan["actions"]}


async def test_what_two_partners_both_call_1_is_two_things(place: Place) -> None:
    for word in ("East", "West"):
        saved = await plans.bring_in(place.hospital, sends(word), "list.json", partner=lists_of(word.lower()))
    plan = await plans.load(place.hospital, str(saved.patient))
    for word in ("East", "West"):
        id = f"{word.lower()}:1"
        of = {key: next(t for t in plan[key] if t["id"] == id) for key in ("actions", "goals", "medicines", "team")}
        assert (of["actions"]["text"], of["goals"]["text"], of["team"]["name"]) == (f"{word} job", f"{word} aim", f"{word} nurse")
        assert (of["actions"]["who"], of["actions"]["goals"]) == (id, [id]) and (of["medicines"]["text"], of["medicines"]["how"]) == (f"{word} medicine", f"{word} dose")
        again = await plans.bring_in(place.hospital, sends(word), "list.json", partner=lists_of(word.lower()))
        assert again.written == 0
        back, _ = plans.to_partner({**plan, **{k: [t for t in plan[k] if t["id"] == id] for k in of}}, lists_of(word.lower()))
        assert {k: v for k, v in back.items() if k in ("jobs", "aims", "medicines", "staff")} == {k: v for k, v in strict.decode(sends(word)).items() if k not in WHO}


async def test_what_a_list_brought_by_plain_ids_before_is_found_by_them_and_nothing_of_others_is(place: Place) -> None:
    """Before lists had ids of their own: what was written so by the sender goes on; another's, or the plan's own, is another thing."""
    part, _ = plans.from_partner(strict.decode(sends("East")), lists_of("east"))
    first = await contribute(place.hospital, part)  # as an earlier release brought it in
    east = await plans.bring_in(place.hospital, sends("East", aims=[{"no": "1", "what": "A new aim"}]), "list.json", partner=lists_of("east"))
    assert east.patient == first.patient
    plan = await plans.load(place.hospital, str(first.patient))
    assert {k: [t["id"] for t in plan[k]] for k in ("actions", "goals", "medicines", "team")} == {k: ["1"] for k in ("actions", "goals", "medicines", "team")}
    assert plan["goals"][0]["text"] == "A new aim"
    me = place.patient(str(first.patient))
    hers = await plans.load(me, str(first.patient))
    await plans.save(me, {**hers, "goals": [*hers["goals"], {"id": "2", "text": "Hers"}], "actions": []})
    more = sends("East", aims=[{"no": "1", "what": "A new aim"}, {"no": "2", "what": "Theirs"}])
    await plans.bring_in(place.hospital, more, "list.json", partner=lists_of("east"))
    now = await plans.load(me, str(first.patient))
    assert {g["id"]: g["text"] for g in now["goals"]} == {"1": "A new aim", "2": "Hers", "east:2": "Theirs"}
    assert "actions" not in now or not now["actions"], "what somebody took out is not said anew under another id"


async def test_a_partner_that_answers_by_the_ids_of_the_plan_says_so(place: Place) -> None:
    answers = replace(lists_of("answers"), own_ids=False)
    assert compile_partner("a.yaml", {"partner": "a", "rows": [{"theirs": "a", "plan": "title"}], "ids": "plan"}, KNOWN).own_ids is False
    with pytest.raises(TableError, match="`ids` is `theirs`"):
        compile_partner("a.yaml", {"partner": "a", "rows": [{"theirs": "a", "plan": "title"}], "ids": "ours"}, KNOWN)
    first = await contribute(place.hospital, plans.from_partner(strict.decode(sends("East")), answers)[0])
    await plans.bring_in(place.hospital, strict.dump(WHO | {"jobs": [{"no": "1", "what": "Done as asked"}]}), "answer.json", partner=answers)
    assert [(a["id"], a["text"]) for a in (await plans.load(place.hospital, str(first.patient)))["actions"]] == [("1", "Done as asked")]
