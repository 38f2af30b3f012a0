"""One goal or action changed by itself: what is said otherwise comes back, and everything else of the resource stays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.domain import mapping
from fhir_gateway.domain.entries import same
from fhir_gateway.domain.problem import Problem
from fhir_gateway.plans.editing import ALONG, PARTS, asked_again, changed, held, kind_of, said
from fhir_gateway.tables import load_tables

AT = "2026-11-27T10:00:00Z"
WORDS = st.text("abc äی.\n", min_size=1, max_size=12).filter(str.strip)
DAYS = st.sampled_from(["2026-01-01", "2026-12-31", "2027-02-28", "2026-11", "2026"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "importance": st.integers(1, 10), "confidence": st.integers(1, 10), "by": DAYS, "from": DAYS, "to": DAYS, "review": st.just("2026-12-01"),
    "value": st.integers(0, 900) | st.decimals(0, 99, places=2, allow_nan=False), "status": st.sampled_from(["planned", "in progress", "done", "completed", "odd word"]),
}  # fmt: skip
SEVERAL = st.lists(WORDS, min_size=1, max_size=3)
VALUES |= dict.fromkeys(("triggers", "early_warnings", "what_should_happen", "coping"), SEVERAL)
LISTS = {"about-me": "about_me", "contingency": "contingency", "goal": "goals", "action": "actions"}


def values(kind: str) -> st.SearchStrategy[dict[tuple[str, ...], Any]]:
    needed: dict[tuple[str, ...], Any] = {PARTS[kind][0]: WORDS}
    return st.fixed_dictionaries(needed, optional={p: VALUES.get(p[-1], WORDS) for p in PARTS[kind] if p not in needed})


def plan(kind: str, item: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """A plan with this one thing, and around it what no form shows."""
    thing: dict[str, Any] = {"x_odd": {"a": [1]}} if kind == "about-me" else {"id": "x", "x_odd": {"a": [1]}, "who_to_contact": ["t"], "advance_statement": "At home"} if kind == "contingency" else {"id": "x", "status_word": "getting there", "x_odd": {"a": [1]}, "notes": [{"by": "person", "text": "Said then"}]}
    thing |= {"needs": ["n"], "agreed": [{"by": "t", "status": "agree"}], "set_by": "person"} if kind == "goal" else {"goals": [], "who": "t", "kind": "team"} if kind == "action" else {}
    for path, value in item.items():
        here = thing
        for key in path[:-1]:
            here = here.setdefault(key, {})
        here[path[-1]] = value
    return {"plan": "1", "id": "p", "person": {"id": "person"}, "team": [{"id": "t", "name": "Asha"}], "needs": [{"id": "n", "text": "Breath"}], LISTS[kind]: thing if kind == "about-me" else [thing]}


def resource(kind: str, item: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    return next(e.resource for e in mapping.to_fhir(plan(kind, item), load_tables()).entries if e.kind == kind)


def back(of: dict[str, Any], kind: str, item: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """The thing of the plan that it is now."""
    others = [e.resource | {"id": e.full_url} for e in mapping.to_fhir(plan(kind, item), load_tables()).entries if e.kind != kind]
    read = mapping.from_fhir([*others, of], load_tables())
    return dict(read["about_me"] if kind == "about-me" else read[LISTS[kind]][0])


@pytest.mark.parametrize("kind", sorted(PARTS))
@settings(deadline=None)  # the tables are read by the first of them
@given(st.data())
def test_what_is_said_otherwise_is_said_so_and_the_rest_as_before(kind: str, data: st.DataObject) -> None:
    before, after = data.draw(values(kind)), data.draw(values(kind))
    some = data.draw(st.sets(st.sampled_from(PARTS[kind])))
    otherwise = {path: after.get(path) for path in some if path != PARTS[kind][0] or path in after}
    was = resource(kind, before)
    now = changed(was, kind, otherwise, AT)
    assert said(now, kind) == {path: v for path, v in (before | otherwise).items() if v is not None}
    mine = {path[0] for path in (*PARTS[kind], *ALONG[kind])}
    then, here = back(was, kind, before), back(now, kind, before)
    assert {k: v for k, v in then.items() if k not in mine} == {k: v for k, v in here.items() if k not in mine}
    moved = before.get(("status",)) != said(now, kind).get(("status",))
    assert kind in ("about-me", "contingency") or ("status_word" in here) is not moved, "what somebody called the state before is no word for the new one"


@pytest.mark.parametrize("kind", sorted(PARTS))
@settings(deadline=None)  # the tables are read by the first of them
@given(st.data())
def test_who_changes_nothing_gets_the_same_resource(kind: str, data: st.DataObject) -> None:
    item = data.draw(values(kind))
    was = resource(kind, item)
    assert same(changed(was, kind, {p: item.get(p) for p in PARTS[kind]}, AT), was)


def test_a_time_of_words_that_were_taken_out_of_a_crisis_plan_goes_with_them() -> None:
    item = {("name",): "Breath", ("triggers",): ["Cold", "Smoke"], ("coping",): ["Smoke"]}
    times = [{"of": "trigger", "text": "Cold", "from": "2026-01-01"}, {"of": "trigger", "text": "Smoke", "to": "2027-01-01"}, {"of": "coping", "text": "Smoke", "from": "2026-02-01"}]
    whole = plan("contingency", item)
    whole["contingency"][0]["details"] = times
    was = next(e.resource for e in mapping.to_fhir(whole, load_tables()).entries if e.kind == "contingency")
    now = changed(was, "contingency", {("triggers",): ["Cold", "Dust"], ("status",): "stopped"}, AT)
    after = back(now, "contingency", item)
    assert (after["triggers"], after["details"], after["status"], now["status"]) == (["Cold", "Dust"], [times[0], times[2]], "stopped", "revoked")
    assert kind_of(now) == "contingency" and kind_of(now | {"identifier": []}) == "contingency" and kind_of(now | {"identifier": [], "category": []}) == ""


def test_a_goal_of_another_system_keeps_its_codes_and_what_we_have_no_word_for() -> None:
    theirs = {
        "resourceType": "Goal", "id": "1", "lifecycleStatus": "active", "subject": {"reference": "Patient/p"},
        "description": {"coding": [{"system": "http://snomed.info/sct", "code": "1", "display": "Stop smoking"}]},
        "target": [{"measure": {"coding": [{"code": "w"}]}, "dueDate": "2027-01-01", "detailQuantity": {"value": Decimal("1.50"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}}],
        "continuous": [1],
    }  # fmt: skip
    assert said(theirs, "goal")[("text",)] == "Stop smoking"
    now = changed(theirs, "goal", {("text",): "No cigarettes", ("target", "by"): "2027-06-01"}, AT)
    assert now["description"] == theirs["description"] | {"text": "No cigarettes"}
    assert now["target"] == [theirs["target"][0] | {"dueDate": "2027-06-01"}]
    assert {k: v for k, v in now.items() if k not in ("description", "target")} == {k: v for k, v in theirs.items() if k not in ("description", "target")}


def pressure(**target: Any) -> dict[str, Any]:
    return {"resourceType": "Goal", "id": "1", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": "Patient/p"}, "target": [{"measure": {"text": "pressure"}, **target}]}


MMHG = {"value": 140, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
VALUE, UNIT, BY, WHAT = ("target", "value"), ("target", "unit"), ("target", "by"), ("target", "what")


def test_another_number_keeps_the_code_of_its_unit_and_another_unit_does_not() -> None:
    twin = {"measure": {"text": "pressure"}, "detailQuantity": {"value": 140, "unit": "mmHg"}}
    goal = pressure(detailQuantity=MMHG, extension=[{"url": "urn:x", "valueString": "at night"}])
    goal["target"].append(twin)
    assert changed(goal, "goal", {VALUE: 135}, AT)["target"] == [goal["target"][0] | {"detailQuantity": MMHG | {"value": 135}}, twin]
    assert changed(goal, "goal", {UNIT: "kPa", VALUE: 18}, AT)["target"][0]["detailQuantity"] == {"value": 18, "unit": "kPa"}
    assert changed(goal, "goal", {UNIT: None}, AT)["target"][0]["detailQuantity"] == {"value": 140}
    bare = changed(goal, "goal", {VALUE: None, UNIT: None, WHAT: None}, AT)
    assert bare["target"] == [{"extension": goal["target"][0]["extension"]}, twin], "what no line shows stays"


@pytest.mark.parametrize(
    ("target", "held_paths"),
    [
        ({"detailQuantity": MMHG | {"comparator": "<"}}, {VALUE, UNIT}), ({"detailRange": {"low": MMHG, "high": MMHG}}, {VALUE, UNIT}), ({"detailString": "as low as you can"}, {VALUE, UNIT}),
        ({"detailBoolean": True, "_detailBoolean": {"id": "a"}}, {VALUE, UNIT}), ({"dueDuration": {"value": 3, "unit": "weeks"}}, {BY}), ({"detailQuantity": MMHG, "dueDate": "2027-01-01"}, set()),
    ],
)  # fmt: skip
def test_what_the_lines_have_no_place_for_is_held_and_stays(target: dict[str, Any], held_paths: set[tuple[str, ...]]) -> None:
    goal = pressure(**target)
    assert held(goal, "goal") == held_paths
    for path, value in ((VALUE, 135), (UNIT, "kPa"), (BY, "2027-05-05")):
        if path in held_paths:
            with pytest.raises(Problem) as refused:
                changed(goal, "goal", {path: value}, AT)
            assert refused.value.kind == "business-rule"
        else:
            changed(goal, "goal", {path: value}, AT)
    for otherwise in ({("text",): "y"}, {WHAT: "another"}, {WHAT: None}):
        now = changed(goal, "goal", otherwise, AT)["target"][0]
        assert {k: v for k, v in now.items() if k != "measure"} == target
        assert "measure" in now or not any(k.startswith("detail") for k in now)


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ({"resourceType": "Goal"}, "goal"), ({"resourceType": "Goal", "identifier": [{"system": "https://fhir-gateway.example/id/plan/stage-goal", "value": "p/g/1"}]}, ""),
        ({"resourceType": "Task", "intent": "order"}, ""), ({"resourceType": "Task", "intent": "plan"}, "action"),
        ({"resourceType": "Task", "intent": "plan", "focus": {"reference": "ServiceRequest/1"}}, ""),
        ({"resourceType": "Task", "intent": "plan", "code": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": "accept-draft"}]}}, ""),
        ({"resourceType": "Condition"}, ""), ({"resourceType": "Consent"}, ""),
    ],
)  # fmt: skip
def test_only_goals_and_actions_of_a_plan_are_changed_so(resource: dict[str, Any], kind: str) -> None:
    assert kind_of(resource) == kind


def test_who_agreed_to_other_words_has_not_agreed_to_these() -> None:
    def accepted(who: str, status: str) -> dict[str, Any]:
        return {"url": "http://hl7.org/fhir/StructureDefinition/goal-acceptance", "extension": [{"url": "individual", "valueReference": {"reference": who}}, {"url": "status", "valueCode": status}]}

    other = {"url": "urn:other", "valueString": "x"}
    goal = {"resourceType": "Goal", "extension": [other, accepted("Patient/1", "agree"), accepted("Practitioner/2", "agree"), accepted("RelatedPerson/3", "disagree")]}
    assert asked_again(goal, {"Practitioner/2"})["extension"] == [other, accepted("Patient/1", "pending"), accepted("Practitioner/2", "agree"), accepted("RelatedPerson/3", "pending")]
    assert asked_again({"resourceType": "Goal"}, set()) == {"resourceType": "Goal"}
