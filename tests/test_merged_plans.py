"""Two records of one person, each with a main plan; and a second main plan that a partner's server brings. docs/main-plan.md"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fhir_gateway import gate, plans
from fhir_gateway.domain import main_plan, strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import ACT_CODE
from fhir_gateway.gate import Context, merged_plans, merging

from .staff import consent, permit
from .test_main_plan import ACTIONS, MAIN, body, care_plan, counting, hide, made, questions
from .test_plans import Place, harold, opened
from .test_pulling import Begin, begin  # noqa: F401

WHY = "both cards seen"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


async def two(place: Place) -> tuple[str, Ref, str, Ref]:
    """Harold's record with a plan, and another of his with one: (id, plan, id, plan)."""
    on = (await plans.save(place.hospital, harold())).patient
    assert on
    gone = (await made(place.hospital, {"resourceType": "Patient", "name": [{"family": "Example"}], "birthDate": "1950-04-03"})).id
    other = await made(place.hospital, care_plan(gone, title="From the other record"))
    (plan,) = await counting(place, on)
    return on, plan, gone, other


def him(place: Place, on: str, gone: str) -> Context:
    return replace(place.patient(on), records=frozenset({f"Patient/{on}", f"Patient/{gone}"}))


async def whole(place: Place, *ids: str) -> dict[str, bytes | None]:
    """Every CarePlan of these records as it is kept, by name."""
    return {str(s.ref): s.body for id in ids for s in await place.house.store.patient_record(f"Patient/{id}", ["CarePlan"])}


@pytest.mark.parametrize("how", ["part", "main"])
async def test_two_records_put_together_ask_once_and_parted_again_have_their_own(place: Place, how: str) -> None:
    on, plan, gone, other = await two(place)
    before, me = await whole(place, on, gone), him(place, on, gone)
    assert await gate.record_to_open(me, f"Patient/{on}") == f"Patient/{on}"
    await merging.merge(place.operator, gone, on, evidence=WHY)
    (asked,) = await questions(me, on)
    assert asked["focus"]["reference"] == str(other) and asked["owner"]["reference"] == f"Patient/{on}" and asked["description"] == main_plan.MERGED
    assert await questions(place.hospital, on) == [], "no other reader of either is told of both"

    with pytest.raises(Problem) as no:
        await gate.join_plans(me, Ref("Task", asked["id"]), "end")
    assert no.value.kind == "business-rule"
    await gate.join_plans(me, Ref("Task", asked["id"]), how)
    assert [t["status"] for t in await questions(me, on)] == ["completed"]
    assert await whole(place, on, gone) == before, "nothing is written into either plan"
    assert await gate.record_to_open(me, f"Patient/{on}") == f"Patient/{on if how == 'part' else gone}"
    with pytest.raises(Problem) as over:
        await gate.join_plans(me, Ref("Task", asked["id"]), how)
    assert over.value.kind == "conflict"

    await merging.unmerge(place.operator, gone, on, evidence=WHY)
    assert await gate.record_to_open(place.patient(on), f"Patient/{on}") == f"Patient/{on}"
    assert (await counting(place, on), await counting(place, gone)) == ([plan], [other]) and await whole(place, on, gone) == before
    for id, its in ((on, plan), (gone, other)):
        assert await gate.main_plan_of(place.patient(id), f"Patient/{id}") in (str(its), None)


async def test_what_was_not_answered_is_asked_no_more_once_they_are_parted(place: Place) -> None:
    on, _, gone, _ = await two(place)
    await merging.merge(place.operator, gone, on, evidence=WHY)
    await merging.unmerge(place.operator, gone, on, evidence=WHY)
    assert await questions(place.patient(on), on) == await questions(place.patient(gone), gone) == []


@pytest.mark.parametrize("how", ["part", "main", "deleted", ""])
async def test_of_two_people_who_were_one_by_mistake_neither_keeps_a_word_of_the_others_plan(place: Place, how: str) -> None:
    on, plan, gone, _ = await two(place)
    await gate.update(place.hospital, plan, strict.dump({**await body(place.hospital, plan), "status": "revoked"}), if_match=(await gate.read(place.hospital, plan)).version)
    private = {"security": [{"system": ACT_CODE, "code": "HIV"}]}
    await made(place.patient(on), care_plan(on, title="Hers"))
    for s in await counting(place, gone):
        await gate.update(place.hospital, s, strict.dump({**await body(place.hospital, s), "meta": private}), if_match=1)
    me = him(place, on, gone)
    await merging.merge(place.operator, gone, on, evidence=WHY)
    (asked,) = await questions(me, on)
    task = Ref("Task", asked["id"])
    assert "HIV" in str(asked["meta"]["security"])
    if how == "deleted":
        await gate.remove(place.patient(on), task, if_match=1)
    elif how:
        await gate.join_plans(me, task, how)
    await merging.unmerge(place.operator, gone, on, evidence=WHY)
    assert await questions(place.patient(on), on) == []
    for look in (gate.read(place.patient(on), task), gate.vread(place.patient(on), task, 1), gate.history(place.patient(on), "Task", task.id)):
        with pytest.raises(Problem) as no:
            await look
        assert no.value.kind == "not-found"
    assert str(task) not in {str(e.ref) for e in (await gate.history(place.patient(on), None, None)).entries}
    assert await place.house.store.version(task, 1) is None
    assert [len(await counting(place, p)) for p in (on, gone)] == [1, 1]


class Dying:
    """A store that takes so many commits, and no more."""

    def __init__(self, store: Any, commits: int) -> None:
        self.store, self.left = store, commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Any) -> Any:
        if not self.left:
            raise RuntimeError("killed")
        self.left -= 1
        return await self.store.commit(*ops)


async def test_the_question_comes_and_goes_with_the_link_in_one_commit(place: Place) -> None:
    """A kill right after it loses no question, and leaves none about another person's plan."""
    on, _, gone, _ = await two(place)

    def dying() -> Context:
        return replace(place.operator, house=replace(place.house, store=cast(Any, Dying(place.house.store, 1))))

    await merging.merge(dying(), gone, on, evidence=WHY)
    assert [t["status"] for t in await questions(him(place, on, gone), on)] == ["requested"]
    await merging.unmerge(dying(), gone, on, evidence=WHY)
    assert await questions(place.patient(on), on) == await questions(place.patient(gone), gone) == []


async def test_of_three_records_the_plans_of_both_sides_are_asked_about_wherever_they_stand(place: Place) -> None:
    on, plan, gone, _ = await two(place)
    between = (await made(place.hospital, {"resourceType": "Patient", "name": [{"family": "Example"}], "birthDate": "1950-04-03"})).id
    await merging.merge(place.operator, gone, between, evidence=WHY)
    me = replace(place.patient(on), records=frozenset(f"Patient/{p}" for p in (on, gone, between)))
    assert await questions(me, gone) == await questions(me, between) == [], "one of the two has a plan"
    await merging.merge(place.operator, on, between, evidence=WHY)
    (asked,) = [t for p in (on, gone, between) for t in await questions(me, p)]
    assert asked["focus"]["reference"] == str(plan) and asked["for"]["reference"] == f"Patient/{gone}", "of the third, at the record in which the plan of the others is"
    await gate.join_plans(me, Ref("Task", asked["id"]), "main")
    assert await gate.record_to_open(me, f"Patient/{gone}") == f"Patient/{on}"
    await merging.unmerge(place.operator, on, between, evidence=WHY)
    assert [t for p in (on, gone, between) for t in await questions(me, p)] == [] and len(await counting(place, gone)) == 1


async def test_what_was_said_of_two_records_holds_when_a_third_comes(place: Place) -> None:
    on, _, gone, _ = await two(place)
    await merging.merge(place.operator, gone, on, evidence=WHY)
    (asked,) = await questions(him(place, on, gone), on)
    await gate.join_plans(him(place, on, gone), Ref("Task", asked["id"]), "main")
    third = (await made(place.hospital, {"resourceType": "Patient", "name": [{"family": "Example"}], "birthDate": "1950-04-03"})).id
    late = await made(place.hospital, care_plan(third, title="The third"))
    await merging.merge(place.operator, third, on, evidence=WHY)
    me = replace(place.patient(on), records=frozenset(f"Patient/{p}" for p in (on, gone, third)))
    (again,) = [t for p in (on, gone, third) for t in await questions(me, p) if t["id"] != asked["id"]]
    assert again["focus"]["reference"] == str(late)
    await gate.join_plans(me, Ref("Task", again["id"]), "part")
    assert await gate.record_to_open(me, f"Patient/{on}") == f"Patient/{gone}", "the third is beside the one that they said, not beside the one that was there first"


async def test_a_change_of_one_plan_leaves_the_question_open_and_the_end_of_one_answers_it(place: Place) -> None:
    on, plan, gone, other = await two(place)
    await merging.merge(place.operator, gone, on, evidence=WHY)
    me = him(place, on, gone)
    extra = await made(me, care_plan(on, partOf=[{"reference": str(plan)}]))
    await gate.update(me, extra, strict.dump(await body(me, extra) | {"title": "More"}), if_match=1)
    now = await gate.read(me, plan)
    await gate.update(me, plan, strict.dump(strict.decode(now.body) | {"title": "Mine"}), if_match=now.version)
    assert [t["status"] for t in await questions(me, on)] == ["requested"]
    await gate.update(me, other, strict.dump(await body(me, other) | {"status": "completed"}), if_match=1)
    assert [t["status"] for t in await questions(me, on)] == ["completed"]


async def test_where_one_record_has_no_plan_nothing_is_asked_and_the_one_with_the_plan_opens(place: Place) -> None:
    on, _, gone, other = await two(place)
    await gate.update(place.hospital, other, strict.dump(await body(place.hospital, other) | {"status": "revoked"}), if_match=1)
    await merging.merge(place.operator, on, gone, evidence=WHY)
    me = him(place, gone, on)
    assert await questions(me, on) == await questions(me, gone) == []
    assert await gate.record_to_open(me, f"Patient/{gone}") == f"Patient/{on}"


async def test_a_key_worker_who_may_not_see_one_of_them_is_not_asked(place: Place) -> None:
    on, _, gone, other = await two(place)
    org = place.organisations["RY9"]
    role = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/plan-team-role", "code": "key-worker"}]}
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{on}"}, "participant": [{"role": [role], "member": {"reference": org}}]}
    await made(place.patient(on), team)
    await made(place.patient(on), consent(on, permit(org, action=ACTIONS)))
    await hide(place, gone, other, org)
    await merging.merge(place.operator, gone, on, evidence=WHY)
    (asked,) = await questions(him(place, on, gone), on)
    assert asked["owner"]["reference"] == f"Patient/{on}"


async def handed_over(place: Place) -> tuple[str, str, merged_plans.Asked]:
    """Harold's two records put together, a question to him about both plans as they are now, and a surgery that sees both and keeps them."""
    on, plan, gone, other = await two(place)
    await merging.merge(place.operator, gone, on, evidence=WHY)
    (task,) = await questions(him(place, on, gone), on)
    org = place.organisations["RY9"]
    role = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/plan-team-role", "code": "key-worker"}]}
    await made(place.patient(on), {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{on}"}, "participant": [{"role": [role], "member": {"reference": org}}]})
    await made(place.patient(on), consent(on, permit(org, action=ACTIONS)))
    first, second = await place.house.store.get(plan), await place.house.store.get(other)
    assert first is not None and second is not None
    return on, gone, merged_plans.Asked(Ref("Task", task["id"]), (f"Patient/{on}", f"Patient/{gone}"), (first, second))


@pytest.mark.parametrize("private", [False, True])
async def test_a_question_is_as_private_as_the_plans_are_when_it_is_handed_over(place: Place, private: bool) -> None:
    on, gone, asked = await handed_over(place)
    other = asked.plans[1].ref
    if private:
        more = {"security": [{"system": ACT_CODE, "code": "HIV"}]}
        await gate.update(place.hospital, other, strict.dump({**await body(place.hospital, other), "meta": more}), if_match=asked.plans[1].version)
    await merged_plans.hand_over(place.operator, asked)
    (task,) = await questions(him(place, on, gone), on)
    assert task["owner"] != {"reference": f"Patient/{on}"}, "the surgery is asked"
    assert ("HIV" in str(task["meta"]["security"])) == private


class Meddling:
    """A store in which somebody else writes once, just before a commit."""

    def __init__(self, store: Any, write: Any) -> None:
        self.store, self.write = store, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Any) -> Any:
        write, self.write = self.write, None
        if write is not None:
            await write()
        return await self.store.commit(*ops)


async def test_a_question_that_somebody_changes_at_that_moment_stays_as_they_made_it(place: Place) -> None:
    """And the operator who put the records together hears of no clash: that was done before."""
    on, gone, asked = await handed_over(place)
    me = him(place, on, gone)

    async def noted() -> None:
        await gate.patch(me, asked.task, lambda seen: {**seen, "note": [{"text": "I will think about it"}]}, if_match=1)

    meddled = cast(Any, Meddling(place.house.store, noted))
    await merged_plans.hand_over(replace(place.operator, house=replace(place.house, store=meddled)), asked)
    (task,) = await questions(me, on)
    assert task["owner"]["reference"] == f"Patient/{on}" and task["note"] == [{"text": "I will think about it"}]


# -- by a partner's server --------------------------------------------------------------------------------------------


async def test_a_second_main_plan_that_a_partner_brings_waits_beside_the_first_and_holds_up_nothing(begin: Begin) -> None:  # noqa: F811
    house = await begin()
    her = house.names["amina"].removeprefix("Patient/")
    first = await made(house.me, care_plan(her, title="Mine"))
    await house.push()
    house.seen("Theirs", "CarePlan", category=MAIN)
    house.seen("A reading behind it")
    await house.pull()
    assert await house.texts("CarePlan") == ["Mine", "Theirs"] and await house.texts() == ["A reading behind it"] and await house.quarantined() == []
    assert await gate.main_plan_of(house.me, f"Patient/{her}") == str(first)

    async def asked() -> list[dict[str, Any]]:
        return await questions(house.me, her)

    (question,) = await asked()
    theirs = Ref(*question["focus"]["reference"].split("/"))
    assert (await body(house.me, theirs))["title"] == "Theirs" and question["status"] == "requested"
    await house.pull()
    await house.push()
    assert len(await asked()) == 1 and house.there.named("Task") == [], "it is asked once, and stays here"

    await gate.join_plans(house.me, Ref("Task", question["id"]), "end")
    assert [t["status"] for t in await asked()] == ["completed"]
    await house.push()
    assert sorted(p["status"] for p in house.there.named("CarePlan")) == ["active", "revoked"]
    await house.pull()
    assert len(await asked()) == 1 and await gate.main_plan_of(house.me, f"Patient/{her}") == str(first)
