"""Who has the right to refer, through HTTP: only then does a Task that somebody accepts open a record (consent.md, "A legitimate relationship")."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_gateway.domain.directory import Directory
from fhir_gateway.domain.referring import by_job

from .conftest import Gateway
from .staff import Colleague, consent, given, id_of, permit, save, signed_in, system

ACTIONS = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("access", "disclose", "collect", "correct")]
ROLES = "https://fhir-gateway.example/CodeSystem/role"


def task(demo: Gateway, owner: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": f"Patient/{demo.patient}"}, "owner": {"reference": owner}} | more


def sees(demo: Gateway, who: str = "community-nurse") -> int:
    return int(demo.get(who, f"Goal?patient={demo.patient}").json()["total"])


def take(demo: Gateway, made: Any, who: str = "community-nurse") -> None:
    """Whoever it names accepts it."""
    now = demo.get(who, f"Task/{id_of(made)}")
    assert now.status_code == 200, "who is asked may read what they are asked"
    assert save(demo, now.json() | {"status": "accepted"}, now.headers["etag"], by=who).status_code == 200


def finish(demo: Gateway, made: Any) -> None:
    now = demo.get("patient", f"Task/{id_of(made)}")
    assert save(demo, now.json() | {"status": "completed"}, now.headers["etag"]).status_code == 200


@contextmanager
def taken(demo: Gateway, writer: str | Colleague, who: str = "community-nurse") -> Iterator[int]:
    """How much they see once they accepted what this writer asked of them; it is over afterwards."""
    body = task(demo, demo.persona(who)["fhirUser"])
    made = demo.call(writer, "POST", "Task", body=body) if isinstance(writer, str) else writer.call("POST", "Task", body=body)
    assert made.status_code == 201, made.text
    take(demo, made, who)
    try:
        yield sees(demo, who)
    finally:
        finish(demo, made)
        assert sees(demo, who) == 0


@pytest.mark.parametrize("writer", ["gp", "social-worker", "hospital", "patient"])
def test_who_treats_or_looks_after_refers_and_so_do_a_hospital_and_the_person(demo: Gateway, writer: str) -> None:
    with taken(demo, writer) as seen:
        assert seen > 0


@pytest.mark.slow
def test_a_receptionist_refers_nobody_unless_they_are_given_the_role(demo: Gateway) -> None:
    with taken(demo, "registrar") as seen:
        assert seen == 0
    desk = signed_in(demo, "referring-desk", demo.persona("registrar")["fhirUser"], organisation="D82001", roles=("refer",))
    with taken(demo, desk) as seen:
        assert seen > 0


@pytest.mark.slow
def test_a_voluntary_link_worker_with_an_accepted_task_and_a_yes_refers_nobody_unless_given_the_role(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    mine = demo.call("gp", "POST", "Task", body=task(demo, rosa))
    take(demo, mine, "link-worker")
    with given(demo, consent(demo.patient, permit(rosa, action=ACTIONS))):
        assert sees(demo, "link-worker") > 0
        with taken(demo, "link-worker") as seen:
            assert seen == 0
        helper = signed_in(demo, "referring-link", rosa, organisation="https://fhir-gateway.example/id/organisation|org-kindly", roles=("refer",))
        with taken(demo, helper) as seen:
            assert seen > 0
    finish(demo, mine)


def test_a_yes_for_research_or_to_one_thing_lets_nobody_refer_nor_add(demo: Gateway) -> None:
    """Even with the role: they must be let see the record as a whole, for care."""
    rosa = demo.persona("link-worker")["fhirUser"]
    mine = demo.call("gp", "POST", "Task", body=task(demo, rosa))
    take(demo, mine, "link-worker")
    helper = signed_in(demo, "research-link", rosa, organisation="https://fhir-gateway.example/id/organisation|org-kindly", roles=("refer",))
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "Seen"}, "subject": {"reference": f"Patient/{demo.patient}"}}
    research = permit(rosa, purpose=[{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}], action=ACTIONS)
    one = permit(rosa, data=[{"meaning": "instance", "reference": {"reference": "Goal/zzz"}}])
    for rule in (research, one):
        with given(demo, consent(demo.patient, rule)):
            assert helper.call("POST", "Observation", body=seen).status_code == 422, "nothing is implied for the voluntary sector"
            assert helper.call("POST", "Task", body=task(demo, demo.persona("community-nurse")["fhirUser"])).status_code == 422
    finish(demo, mine)


@pytest.mark.parametrize("actions", [None, ("access",), ("disclose",), ("collect", "correct"), ("access", "disclose", "collect", "correct")])
def test_somebody_to_whom_the_person_said_no_refers_nobody(demo: Gateway, actions: tuple[str, ...] | None) -> None:
    tom = demo.persona("social-worker")["fhirUser"]
    listed = {"action": [a for a in ACTIONS if a["coding"][0]["code"] in actions]} if actions else {}
    with given(demo, consent(demo.patient, permit(tom, type="deny", **listed))):
        made = demo.call("social-worker", "POST", "Task", body=task(demo, demo.persona("community-nurse")["fhirUser"]))
        if made.status_code == 201:
            take(demo, made)
            assert sees(demo) == 0
    if made.status_code == 201:
        assert sees(demo) == 0, "it is decided when it is written"
        finish(demo, made)


def test_a_no_to_one_kind_of_thing_leaves_the_right_to_refer(demo: Gateway) -> None:
    kinds = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]}
    with given(demo, consent(demo.patient, permit(demo.persona("social-worker")["fhirUser"], type="deny", **kinds))), taken(demo, "social-worker") as seen:
        assert seen > 0


def test_a_no_that_comes_later_leaves_what_was_referred(demo: Gateway) -> None:
    with taken(demo, "social-worker") as seen:
        assert seen > 0
        with given(demo, consent(demo.patient, permit(demo.persona("social-worker")["fhirUser"], type="deny"))):
            assert sees(demo) == seen


def test_a_registered_hospital_to_whom_the_person_said_no_refers_nobody(demo: Gateway) -> None:
    source = system(demo, "referring-source", "D82999", refers=True)
    with taken(demo, source) as seen:
        assert seen > 0
    with given(demo, consent(demo.patient, permit(source_of(demo), type="deny"))), taken(demo, source) as seen:
        assert seen == 0


def source_of(demo: Gateway) -> str:
    return "Organization/" + str(demo.get("patient", "Organization?identifier=D82999").json()["entry"][0]["resource"]["id"])


def test_a_claimant_refers_nobody(demo: Gateway) -> None:
    claimed = demo.call("stranger", "POST", f"/patients/{demo.patient}/claims", body={"reason": "She is with me in clinic today"})
    assert claimed.status_code in (200, 201), claimed.text
    with taken(demo, "stranger") as seen:
        assert seen == 0


@pytest.mark.parametrize(
    ("job", "sector", "confirmed", "right"),
    [
        ("gp", "health", True, True), ("social-worker", "social-care", True, True), ("social-worker", "voluntary", True, False), ("nurse", "housing", True, False),
        ("receptionist", "health", True, False), ("link-worker", "health", True, False), ("gp", "health", False, False),
    ],
)  # fmt: skip
def test_a_job_gives_the_right_in_health_and_social_care_as_an_operator_confirmed_it(job: str, sector: str, confirmed: bool, right: bool) -> None:
    place = {"resourceType": "Organization", "type": [{"coding": [{"system": "https://fhir-gateway.example/CodeSystem/sector", "code": sector}]}]}
    worker = {"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/w"}, "organization": {"reference": "Organization/o"},
              "code": [{"coding": [{"system": ROLES, "code": job}]}]}  # fmt: skip
    at = datetime(2026, 11, 20, tzinfo=UTC)
    d = Directory.of([(place, "Organization/o", True), ({"resourceType": "Practitioner"}, "Practitioner/w", True), (worker, "PractitionerRole/r", confirmed)])
    actor = d.actor("Practitioner/w", kind="professional", organisation="Organization/o", at=at)
    assert by_job(actor, d, int(at.timestamp() * 1_000_000)) is right


