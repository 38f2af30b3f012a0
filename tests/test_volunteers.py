"""Whose writes are drafts, which of them are not, and what cannot be one: the rules alone. The whole is told in tests/systems/test_11_*.py."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fhir_gateway.auth.people import Account
from fhir_gateway.domain import drafts
from fhir_gateway.domain.drafts import JOB, Draft, Item
from fhir_gateway.domain.types import Actor, Facts, Ref
from fhir_gateway.domain.vocabulary import RESTRICTING_ROLES, SIGN_IN_ROLES
from fhir_gateway.gate.launching import ROLES

VOLUNTEER = Actor("professional", frozenset({"Practitioner/v", "Organization/h"}), user="Practitioner/v", drafts_only=True)
TASK = {"resourceType": "Task", "status": "requested", "owner": {"reference": "Practitioner/v"}, "description": "Come on Tuesdays"}
ANSWERS = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}


@pytest.mark.parametrize(("kind", "roles", "jobs", "said"), [
    ("professional", {"volunteer"}, [], True), ("proxy", {"volunteer"}, [], True), ("professional", set(), [frozenset({JOB})], True),
    ("professional", {"clinician"}, [frozenset({"x|gp"}), frozenset({JOB})], True), ("professional", {"refer"}, [frozenset({"x|gp"})], False),
    ("patient", {"volunteer"}, [], False), ("system", {"volunteer"}, [], False),
])  # fmt: skip
def test_a_volunteer_is_one_by_the_sign_in_or_by_a_job(kind: str, roles: set[str], jobs: list[frozenset[str]], said: bool) -> None:
    assert drafts.only_drafts(kind, roles, jobs) is said


def test_only_their_own_answer_to_a_task_and_unfinished_answers_do_not_wait() -> None:
    def waits(new: dict[str, object], before: dict[str, object] | None = None, own: bool = False, actor: Actor = VOLUNTEER) -> bool:
        return drafts.waits(actor, new, before, own)

    assert waits({"resourceType": "Goal", "lifecycleStatus": "proposed"}), "whatever it says of itself"
    assert not waits({"resourceType": "Goal"}, actor=replace(VOLUNTEER, drafts_only=False))
    assert waits(TASK), "a new one is nobody's answer"
    assert not waits(TASK | {"status": "accepted"}, TASK)
    for more in ({"note": [{"text": "x"}]}, {"owner": {"reference": "Organization/o"}}, {"description": "x"}, {"output": []}):
        assert waits(TASK | {"status": "accepted"} | more, TASK), more
    assert waits(TASK | {"status": "accepted"}, TASK | {"owner": {"reference": "Practitioner/other"}})
    assert not waits(ANSWERS) and not waits(ANSWERS | {"item": []}, ANSWERS, own=True)
    assert waits(ANSWERS | {"item": []}, ANSWERS), "somebody else's answers"
    assert waits(ANSWERS, ANSWERS | {"status": "completed"}, own=True), "what was finished is not begun again"
    assert waits(ANSWERS | {"status": "completed"}, ANSWERS, own=True)


def test_what_lets_people_in_or_is_hidden_from_the_person_is_no_draft() -> None:
    def facts(type: str, *people: str, **more: object) -> Facts:
        return replace(Facts(type, "1", people or ("Patient/1",)), **more)  # type: ignore[arg-type]

    assert drafts.refused(facts("Goal")) == ""
    for type in ("Patient", "Consent", "Binary", "Encounter", "Person", "Group", "Practitioner"):
        assert drafts.refused(facts(type)), type
    assert drafts.refused(facts("Goal", "Patient/1", "Patient/2"))
    assert drafts.refused(facts("Goal", sensitivity=frozenset({"NOPAT"})))


def test_the_task_of_a_draft_says_nothing_of_what_is_in_it() -> None:
    items = (Item("Goal/1", 3, '{"resourceType":"Goal","description":{"text":"secret"}}', "secret"), Item("Goal/2", 0, "{}", "secret"))
    draft = Draft("t", "Patient/1", "Practitioner/v", "Vic", "Organization/h", "town", "professional", "2026-11-26T10:00:00Z", items)
    task = drafts.task(draft)
    assert "secret" not in json.dumps(task) and task["intent"] == "proposal"
    assert not {"focus", "basedOn", "partOf", "reasonReference"} & task.keys(), "it stands for nothing in the record: a referral would close with it"
    said = drafts.attested(draft, [Ref("Goal", "1")], "Patient/1", datetime(2026, 11, 26, tzinfo=UTC))
    assert [a["who"]["reference"] for a in said["agent"]] == ["Practitioner/v", "Patient/1"] and said["agent"][0]["onBehalfOf"] == {"reference": "Organization/h"}


def test_however_a_volunteer_comes_in_they_are_one() -> None:
    """From their own system, by an app let in there, by a token of before: what restricts is taken from the account."""
    vic = Account("vic", "Practitioner/v", roles=("clinician", "operator", "volunteer"))
    assert vic.narrowed(frozenset({"clinician"})) == {"clinician", "volunteer"}
    assert vic.narrowed(frozenset()) == {"volunteer"} and Account("gp", "Practitioner/g", roles=("clinician",)).narrowed(ROLES) == {"clinician"}
    assert {drafts.ROLE} == RESTRICTING_ROLES <= SIGN_IN_ROLES
