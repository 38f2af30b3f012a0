"""What of a plan is over is nowhere shown as what is now: crisis plans, team, steps, medicines; on the paper, in a document, on a page."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from fhir_gateway.domain.booklet import booklet
from fhir_gateway.domain.in_force import crisis_plans, has_left, in_force, is_past
from fhir_gateway.domain.mapping.names import EXTENSIONS
from fhir_gateway.domain.medicines import in_doubt, taken
from fhir_gateway.domain.said_again import said, without
from fhir_gateway.domain.shown_plan import shown_plan
from fhir_gateway.web.pages.alerts import alerts
from fhir_gateway.web.pages.plan_view import plan_view
from fhir_gateway.web.pages.words import today

TODAY = date(2026, 11, 27)
PLAN: dict[str, Any] = {
    "plan": "1", "id": "p", "person": {"id": "x", "name": "Stella States"},
    "team": [
        {"id": "t-old", "name": "Gone Nurse", "role": "Nurse", "phone": "01632 960999", "until": "2020-01-01", "key_worker": True},
        {"id": "t-now", "name": "Dr Here", "role": "GP", "phone": "01632 960101", "until": "2026-11-27", "key_worker": True},
    ],
    "needs": [{"id": "n-1", "text": "Walking", "status": "resolved"}, {"id": "n-2", "text": "Breathing", "status": "active"}],
    "goals": [{
        "id": "g-1", "text": "To the shop", "status": "in progress", "outcomes": [{"on": "2026-01-01", "result": "worse", "text": "It hurts more"}],
        "stage_goals": [{"text": "By bus", "status": "stopped"}, {"text": "By foot", "status": "done", "outcome": "not met"}, {"text": "By car", "status": "entered in error"}, {"text": "With my son", "status": "waiting"}],
    }],
    "contingency": [
        {"id": "k-1", "name": "Of last year", "status": "stopped", "what_should_happen": ["Ring the ward"]},
        {"id": "k-2", "name": "By mistake", "status": "entered in error", "advance_statement": "At home"},
        {"id": "k-3", "name": "Of today", "what_should_happen": ["Sit up", "Ring 999"], "who_to_contact": ["t-old", "t-now"], "details": [{"of": "what should happen", "text": "Sit up", "to": "2020-01-01"}]},
    ],
    "medicines": [
        {"id": "m-1", "text": "Amoxicillin", "status": "taking", "from": "2020-01-01", "to": "2020-01-08"},
        {"id": "m-2", "text": "Warfarin", "status": "taking", "change": {"kind": "stopped", "reason": "bleeding"}},
    ],
}  # fmt: skip


def of(kind: str) -> dict[str, tuple[str, str]]:
    """Each thing of a part of the paper: how it stands, and what stands below it."""
    (section,) = [s for s in booklet(PLAN, [], today=TODAY).sections if s.key == kind]
    return {t.text: (t.state, "\n".join([*(r.text for r in t.rows), *(i for _, items in t.lists for i in items)])) for t in section.things}


def test_a_crisis_plan_that_does_not_hold_comes_after_what_does_and_says_so() -> None:
    on_paper = of("crisis")
    assert [(name, state) for name, (state, _) in on_paper.items()] == [("Of today", ""), ("Of last year", "Stopped")]
    assert "Sit up (until 2020-01-01)" in on_paper["Of today"][1]
    on_page = plan_view(PLAN, TODAY, own=False).crisis
    assert [(c["name"], c["state"], c["in_force"]) for c in on_page] == [("Of today", "", True), ("Of last year", "Stopped", False)]


@pytest.mark.parametrize("status", ["draft", "on hold", "stopped", "completed", "done", "paused"])
def test_only_what_is_active_is_in_force(status: str) -> None:
    assert not in_force({"status": status}) and crisis_plans({"contingency": [{"status": status}]})
    assert in_force({}) and in_force({"status": "active"}) and in_force({"status": "unknown"})
    assert crisis_plans({"contingency": [{"status": "entered in error"}]}) == []


def test_who_left_the_team_is_no_key_worker_and_nobody_to_ring() -> None:
    assert [has_left(m, TODAY) for m in PLAN["team"]] == [True, False]
    assert {name: state for name, (state, _) in of("people").items()} == {"Gone Nurse": "No longer in the team", "Dr Here": "Key worker"}
    for ring in (of("crisis")["Of today"][1], str(plan_view(PLAN, TODAY, own=False).crisis[0]["lists"])):
        assert "Gone Nurse (Nurse): not to be contacted any more" in ring and "960999" not in ring and "Dr Here (GP), 01632 960101" in ring
    assert plan_view(PLAN, TODAY, own=False).key_worker == "Dr Here"


def test_a_step_that_was_called_off_is_no_open_box_and_what_came_of_one_is_said() -> None:
    steps = of("goals")["To the shop"][1]
    assert "By bus: Stopped" in steps and "☐ By bus" not in steps and "☑ By foot: Not met" in steps and "☐ With my son" in steps and "By car" not in steps
    assert "Worse: It hurts more" in steps and of("needs")["Walking"][0] == "Resolved" and of("needs")["Breathing"][0] == ""
    (goal,) = plan_view(PLAN, TODAY, own=True).goals
    assert goal.picture is not None
    assert [(s.text, s.done, s.off, s.state) for s in goal.picture.steps] == [("By bus", False, True, "Stopped"), ("By foot", True, False, "Not met"), ("With my son", False, False, "")]


def test_a_course_that_is_over_is_finished_and_what_is_said_both_ways_is_asked() -> None:
    over, both = PLAN["medicines"]
    assert taken(over) == "now" and taken(over, TODAY) == "finished" and taken({**over, "to": "2026-11"}, TODAY) == "now"
    assert in_doubt(both, TODAY) and not in_doubt({**both, "status": "stopped"}, TODAY) and not in_doubt({**both, "change": {"kind": "new"}}, TODAY)
    assert {name: state for name, (state, _) in of("medicines").items()} == {"Amoxicillin": "Finished", "Warfarin": "Taken or stopped: ask"}
    first, last = plan_view(PLAN, TODAY, own=True).medicines
    assert (first.text, first.state, last.text, last.state) == ("Warfarin", "Taken or stopped: ask", "Amoxicillin", "Finished")


@pytest.mark.parametrize(("end", "past"), [
    ("2026-11-26", True), ("2026-11-27", False), ("2026", False), ("2025", True), ("2026-11-26T23:59:00Z", True), ("2026-11-27T00:30:00Z", False), ("soon", False), (None, False), (7, False),
])  # fmt: skip
def test_a_day_is_past_once_another_has_begun(end: Any, past: bool) -> None:
    assert is_past(end, TODAY) is past and not is_past(end, None)


def test_today_is_the_day_in_london() -> None:
    assert today(datetime(2026, 6, 30, 23, 30, tzinfo=UTC)) == date(2026, 7, 1)


def test_a_withdrawn_crisis_plan_read_alone_says_that_it_is() -> None:
    step = {"url": "https://fhir-gateway.example/StructureDefinition/contingency-step", "valueString": "Ring the ward"}
    plan = {"resourceType": "CarePlan", "status": "revoked", "intent": "plan", "title": "Of last year", "extension": [step]}
    told = said(plan)
    assert "Of last year (stopped)" in told["text"]["div"] and without(told) == plan
    assert "(" not in said({**plan, "status": "active"})["text"]["div"]


def test_what_was_entered_in_error_is_not_shown_and_whom_nobody_is_to_ring_says_so() -> None:
    plan = {
        "contacts": [{"id": "c-1", "name": "Sis Ter", "phone": "07700 900777", "next_of_kin": True}], "about_me": {"most_important": "Quiet"},
        "risks": [{"id": "r", "of": "Fall", "tier": "high"}, {"id": "r2", "of": "Stroke"}], "contingency": [{"id": "k", "name": "K", "who_to_contact": ["c-1"]}],
    }  # fmt: skip
    record = [
        {"resourceType": "RelatedPerson", "id": "1", "active": False}, {"resourceType": "QuestionnaireResponse", "id": "2", "status": "entered-in-error"},
        {"resourceType": "RiskAssessment", "id": "3", "status": "entered-in-error"}, {"resourceType": "RiskAssessment", "id": "4", "status": "final"},
    ]
    things = {"RelatedPerson/1": ("contact", plan["contacts"][0]), "QuestionnaireResponse/2": ("about-me", plan["about_me"]), "RiskAssessment/3": ("risk", plan["risks"][0]), "RiskAssessment/4": ("risk", plan["risks"][1])}  # type: ignore[index]
    shown = shown_plan(plan, things, record)
    assert "about_me" not in shown and [r["of"] for r in shown["risks"]] == ["Stroke"] and len(plan["risks"]) == 2
    view = plan_view(shown, TODAY, own=False)
    assert view.contacts[0].state == "Not to be contacted any more" and "900777" not in str(view.crisis[0]["lists"])
    assert [t.state for s in booklet(shown, [], today=TODAY).sections if s.key == "people" for t in s.things] == ["Not to be contacted any more"]
    team = [{"resourceType": "CareTeam", "id": "5", "status": "entered-in-error"}]
    assert "team" not in shown_plan({"team": [{"id": "t", "name": "N"}]}, {}, team) and "team" in shown_plan({"team": [{"id": "t", "name": "N"}]}, {}, [*team, {**team[0], "status": "active"}])


def test_who_sees_the_team_sees_whom_it_has_and_others_whom_to_ring() -> None:
    ring = {
        "resourceType": "CarePlan", "id": "k",
        "extension": [{"url": f"{EXTENSIONS}contingency-contact", "valueReference": {"identifier": {"system": "https://fhir-gateway.example/id/plan/team", "value": "p/t-9"}, "display": "Dr Gone"}}],
    }  # fmt: skip
    crisis = {"id": "k", "name": "K", "who_to_contact": ["t-9"]}
    things = {"CarePlan/k": ("contingency", crisis)}
    for record, team in (([ring], ["Dr Gone"]), ([ring, {"resourceType": "CareTeam", "id": "1", "status": "active"}], [])):
        view = plan_view(shown_plan({"contingency": [crisis]}, things, record), TODAY, own=True)
        assert [m.text for m in view.team] == team and "Dr Gone" in str(view.crisis[0]["lists"])


def test_a_plan_that_does_not_hold_says_so_in_its_name() -> None:
    assert plan_view({"title": "My plan", "status": "entered in error"}, TODAY, own=True).title == "My plan (Entered in error)"
    assert booklet({"title": "My plan", "status": "stopped"}, []).title == "My plan (Stopped)" and booklet({"title": "My plan", "status": "active"}, []).title == "My plan"


@pytest.mark.parametrize(("more", "state"), [
    ({"effectivePeriod": {"start": "2020-01-01", "end": "2020-02-01"}}, "Finished"), ({"effectivePeriod": {"start": "2040-01-01"}}, "Not begun yet"), ({"status": "unknown"}, "Taken or stopped: ask"),
    ({"dosage": [{"text": "one", "timing": {"repeat": {"boundsPeriod": {"start": "2020-01-01", "end": "2020-01-08"}}}}]}, "Finished"),
    ({"dosage": [{"text": "one", "timing": {"repeat": {"boundsPeriod": {"end": "2020-01-08"}}}}, {"text": "two"}]}, ""), ({"effectivePeriod": {"start": "2026-11-27"}}, ""),
])  # fmt: skip
def test_a_medicine_of_the_record_is_taken_while_its_period_lasts(more: dict[str, Any], state: str) -> None:
    of_hospital = {"resourceType": "MedicationStatement", "id": "1", "status": "active", "medicationCodeableConcept": {"text": "Amoxicillin"}, **more}
    (section,) = [s for s in booklet({}, [of_hospital], today=TODAY).sections if s.key == "medicines"]
    (thing,) = section.things
    assert thing.state == state and (not more.get("effectivePeriod") or any(more["effectivePeriod"]["start"] in r.text for r in thing.rows))


def test_warnings_stand_on_paper_as_they_do_on_the_page() -> None:
    def allergy(code: str, **more: Any) -> dict[str, Any]:
        return {"resourceType": "AllergyIntolerance", "id": code, "code": {"coding": [{"system": "http://snomed.info/sct", "code": code, "display": f"Allergy {code}"}]}, **more}

    record = [
        {"resourceType": "Flag", "id": "1", "status": "active", "code": {"text": "Dog"}, "period": {"end": "2020-01-01"}}, {"resourceType": "Flag", "id": "2", "status": "active", "code": {"text": "Ramp"}, "period": {"start": "2040-01-01"}},
        {"resourceType": "Flag", "id": "3", "status": "active", "code": {"text": "Oxygen"}}, allergy("716186003"), allergy("1", verificationStatus={"coding": [{"code": "unconfirmed"}]}), allergy("2"),
    ]  # fmt: skip
    (section,) = [s for s in booklet({}, record, today=TODAY).sections if s.key == "warnings"]
    assert [(t.text, t.state) for t in section.things] == [("No known allergies", ""), ("Allergy: Allergy 1", ""), ("Allergy: Allergy 2", ""), ("Ramp", "Not yet"), ("Oxygen", "Please note")]
    assert [r.label for r in section.things[1].rows] == ["Is it sure?"] and not section.things[2].rows
    page = alerts(record, TODAY, own=False)
    assert [(i.text, i.state) for i in page.warnings] == [("Oxygen", "Now"), ("Ramp", "Not yet"), ("Dog", "Over")] and page.none_known == ("No known allergies. Somebody wrote this down.",)
