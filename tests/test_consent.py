"""Decisions by example: every outside case through the function the gate runs, and the refusals they leave out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import cases, consent, grants, predicate, provisions
from fhir_gateway.domain.periods import interval, micros
from fhir_gateway.domain.provisions import Uncomputable, parse
from fhir_gateway.domain.standing import Invitation, Link, Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, BreakGlass, Facts
from fhir_gateway.domain.vocabulary import (
    ACT_CODE,
    CHANGE_MEDICINE,
    MERGE_PLANS,
    NOT_RECOGNISED,
    ROLE_AT,
    SECTOR_SYSTEM,
    TASK_SYSTEM,
)

from .worlds import Dice, a_world

SUITE = Path(__file__).resolve().parents[1] / ".." / "shared" / "suites" / "consent-cases.jsonl"
CASES = SUITE.read_text().splitlines() if SUITE.exists() else []
P1 = "Patient/p1"
NOW = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
HL7 = "http://terminology.hl7.org/CodeSystem"

GP = Actor(
    "professional",
    frozenset({"Practitioner/gp", "Organization/gp"}),
    "Practitioner/gp",
    sector="health",
    organisation="Organization/gp",
)
LINK = Actor("professional", frozenset({"Practitioner/link", "Organization/charity"}), "Practitioner/link", sector="voluntary")
MEDIC = Actor(
    "professional", frozenset({"Practitioner/medic", "Organization/trust"}), "Practitioner/medic", sector="health", btg_role=True
)
ME = Actor("patient", frozenset({P1}), P1, patient=P1)
LOOKS_AFTER = Relationship(frozenset({"Organization/gp"}), "claim", "claim 1")
PLAN = Facts("CarePlan", "cp1", (P1,), "N")


def given(*bodies: dict[str, Any], **more: Any) -> Standing:
    return Standing(P1, tuple(parse(b, f"c{i}", 1) for i, b in enumerate(bodies)), relationships=(LOOKS_AFTER,), **more)


def consent_of(root: dict[str, Any], **more: Any) -> dict[str, Any]:
    policy = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]}
    body = {"resourceType": "Consent", "status": "active", "patient": {"reference": P1}, "policyRule": policy}
    return {**body, "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]}, "provision": root, **more}


def to(name: str) -> list[dict[str, Any]]:
    return [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": name}}]


def why(*codes: str) -> list[dict[str, Any]]:
    return [{"system": f"{HL7}/v3-ActReason", "code": c} for c in codes]


def ask(
    actor: Actor = GP, action: Any = "access", purpose: str = "TREAT", at: datetime = NOW
) -> Ask:
    return Ask(actor, action, at, purpose)


def decided(question: Ask, facts: Facts, standing: Standing) -> tuple[bool, str]:
    d = consent.decide(question, facts, {P1: standing})
    assert predicate.matches(consent.scope(question, {P1: standing}), facts) == d.permit
    return d.permit, d.basis


# -- the outside suite ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CASES, reason="../shared/suites is not here")
@pytest.mark.parametrize("line", CASES, ids=[json.loads(c)["id"] for c in CASES])
def test_outside_case(line: str) -> None:
    case = json.loads(line)
    (got,) = cases.run([line])
    expected = case["expect"]
    wanted = {k: sorted(v) if k == "obligations" else v for k, v in expected.items()}
    assert {k: got[k] for k in wanted} == wanted


@pytest.mark.skipif(not CASES, reason="../shared/suites is not here")
@pytest.mark.parametrize("line", CASES, ids=[json.loads(c)["id"] for c in CASES])
def test_outside_case_as_a_predicate(line: str) -> None:
    question, facts, known = cases.question(json.loads(line))
    assert predicate.matches(consent.scope(question, known), facts) == (json.loads(line)["expect"]["decision"] == "permit")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "  ",
        "{",
        "[]",
        "7",
        "{}",
        '{"id": 1}',
        '{"id": "x", "request": {}}',
        '{"id":"x","request":{"at":"yesterday"}}',
        "null",
        '"x"',
    ],
)
def test_a_malformed_line_is_named_not_raised(line: str) -> None:
    answers = list(cases.run([line]))
    assert len(answers) == (1 if line.strip() else 0)
    assert all("error" in a and "decision" not in a for a in answers)


def test_a_case_without_env_is_direct_care() -> None:
    request = {
        "at": "2026-11-01T10:00:00Z", "purpose": "TREAT", "action": "access",
        "actor": {"kind": "professional", "ids": ["Practitioner/a"], "sector": "health", "relationship": True},
        "resource": {"type": "Goal", "id": "g", "patient": P1},
    }  # fmt: skip
    assert list(cases.run([json.dumps({"id": "x", "consents": [], "request": request})])) == [
        {"id": "x", "decision": "permit", "basis": "implicit", "consent": None, "obligations": []}
    ]


# -- who asks ---------------------------------------------------------------------------------------------------------


def test_scope_and_role_come_before_the_person_themself() -> None:
    assert decided(ask(replace(ME, rbac=False)), PLAN, given()) == (False, "rbac")


def test_what_holds_no_patient_data_is_open_and_only_from_the_list() -> None:
    assert decided(ask(LINK), Facts("Questionnaire", "q"), given()) == (True, "no-patient-data")
    assert decided(ask(LINK), Facts("Invented", "q"), given()) == (False, "implicit")
    assert decided(ask(LINK), Facts("Location", "q", (P1,)), given()) == (False, "implicit")


def test_the_person_sees_all_but_what_is_held_back_from_them() -> None:
    assert decided(ask(ME), replace(PLAN, confidentiality="V"), given(consent_of({"type": "deny"}))) == (True, "self")
    assert decided(ask(ME), replace(PLAN, other_labels=frozenset({f"{ACT_CODE}|NOPAT"})), given()) == (False, "refrain")
    assert decided(ask(ME), replace(PLAN, sensitivity=frozenset({"TBOO"})), given()) == (False, "refrain")
    assert decided(ask(replace(ME, patient="Patient/p2")), PLAN, given()) == (False, "other-patient")


def test_every_person_named_must_permit() -> None:
    both = replace(PLAN, patients=(P1, "Patient/p2"))
    known = {P1: given(), "Patient/p2": Standing("Patient/p2")}
    assert not consent.decide(ask(), both, known).permit
    known["Patient/p2"] = Standing("Patient/p2", relationships=(LOOKS_AFTER,))
    assert consent.decide(ask(), both, known).permit


def test_a_voluntary_worker_needs_a_yes() -> None:
    related = given()
    related = replace(related, relationships=(Relationship(frozenset({"Practitioner/link"}), "claim", "x"),))
    assert decided(ask(LINK), PLAN, related) == (False, "implicit")
    yes = consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/link")}]})
    assert decided(ask(LINK), PLAN, given(yes)) == (True, "explicit")


@pytest.mark.parametrize("code", [MERGE_PLANS, NOT_RECOGNISED, CHANGE_MEDICINE])
def test_a_question_about_two_plans_is_for_whom_it_asks_and_for_the_person_whatever_is_open_to_others(code: str) -> None:
    asked = replace(PLAN, type="Task", id="t1", codes=frozenset({f"{TASK_SYSTEM}|{code}"}))
    yes = given(consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/link")}]}))
    invited = replace(yes, invitations=(Invitation("Task/t1", frozenset({"Practitioner/link"})),))
    for facts, standing, seen in ((asked, yes, False), (asked, invited, True), (replace(asked, codes=frozenset()), yes, True)):
        permit, _ = decided(ask(LINK), facts, standing)
        assert permit is seen is predicate.matches(consent.scope(ask(LINK), {P1: standing}), facts)


def test_how_somebody_is_ranked_by_risk_is_shown_outside_care_only_where_the_yes_names_it() -> None:
    tier = replace(PLAN, type="RiskAssessment", id="r1", codes=frozenset({"urn:tier|red"}), profiles=frozenset({"https://town.example/StructureDefinition/tier"}))
    yes = {"type": "permit", "actor": to("Practitioner/link")}
    named = {
        "kind": {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "RiskAssessment"}]},
        "profile": {"class": [{"system": "urn:ietf:rfc:3986", "code": "https://town.example/StructureDefinition/tier"}]},
        "code": {"code": [{"coding": [{"system": "urn:tier", "code": "red"}]}]},
        "itself": {"data": [{"meaning": "instance", "reference": {"reference": "RiskAssessment/r1"}}]},
    }
    other = {
        "nothing": {}, "dates": {"dataPeriod": {"start": "1900"}}, "level": {"securityLabel": [{"system": f"{HL7}/v3-Confidentiality", "code": "V"}]},
        "author": {"data": [{"meaning": "authoredby", "reference": {"reference": "Practitioner/gp"}}]},
    }  # fmt: skip
    for why_, what in (named | other).items():
        known = given(consent_of({"provision": [yes | what]}))
        for action in ("access", "disclose"):
            assert decided(ask(LINK, action), tier, known)[0] is (why_ in named), why_
    for_the_nurse = given(consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/gp")}]}))
    assert decided(ask(), tier, for_the_nurse) == (True, "explicit"), "in care a yes in general is enough"
    around = consent_of({"provision": [{"type": "deny", "actor": to("Practitioner/link"), "provision": [yes]}]})
    assert decided(ask(LINK), tier, given(around)) == (False, "explicit"), "an exception from a no names it, too"


def test_both_engines_agree_on_what_is_shown_only_where_it_is_named() -> None:
    opened = closed = 0
    for seed in range(400):
        dice = Dice(f"named {seed}")
        question, known, resources = a_world(dice)
        if question.actor.kind not in ("professional", "system"):
            continue
        outside = replace(question, actor=replace(question.actor, sector=dice.choice(("voluntary", "housing", ""))))
        for facts in resources:
            tier = replace(facts, type="RiskAssessment")
            permitted = consent.decide(outside, tier, known).permit
            assert predicate.matches(consent.scope(outside, known), tier) == permitted, seed
            opened += permitted
            closed += not permitted and consent.decide(outside, replace(tier, type="Goal"), known).permit
    assert opened > 5 and closed > 5, (opened, closed)


# -- what -------------------------------------------------------------------------------------------------------------


def test_not_labelled_yet_counts_as_restricted() -> None:
    assert decided(ask(), Facts("CarePlan", "cp1", (P1,)), given()) == (False, "implicit")


def test_authors_keep_what_they_wrote_at_any_level() -> None:
    mine = replace(PLAN, confidentiality="R", makers=frozenset({"Organization/charity"}))
    assert decided(ask(LINK), mine, given()) == (True, "implicit")
    assert decided(ask(LINK, "correct"), mine, given()) == (False, "implicit")
    assert decided(ask(LINK, purpose="HRESCH"), mine, given()) == (False, "implicit")
    assert decided(ask(LINK), mine, given(consent_of({"type": "deny"}))) == (False, "explicit")


def test_naming_a_whole_sector_as_author_opens_nothing() -> None:
    actor = replace(GP, ids=GP.ids | {"https://fhir-gateway.example/CodeSystem/sector|health"})
    claimed = replace(PLAN, confidentiality="R", makers=frozenset({"https://fhir-gateway.example/CodeSystem/sector|health"}))
    assert decided(ask(actor), claimed, given()) == (False, "implicit")


def test_a_sensitivity_grant_does_not_reach_the_very_restricted() -> None:
    psy = consent_of(
        {"provision": [{"type": "permit", "actor": to("Practitioner/gp"), "securityLabel": [{"system": ACT_CODE, "code": "PSY"}]}]}
    )
    private = replace(PLAN, confidentiality="R", sensitivity=frozenset({"PSY"}))
    assert decided(ask(), private, given(psy)) == (True, "explicit")
    assert decided(ask(), replace(private, confidentiality="V"), given(psy)) == (False, "implicit")


@pytest.mark.parametrize(
    ("granted", "has", "opens"),
    [("SUD", {"ETHUD"}, True), ("ETH", {"ETHUD"}, True), ("SUD", {"ETHUD", "SUD", "ETH"}, True), ("SUD", {"ETH"}, False),
     ("SPI", {"PSY"}, True), ("PSY", {"SPI"}, False), ("BH", {"SUD"}, False), ("ETHUD", {"SUD"}, False)],
)  # fmt: skip
def test_a_sensitivity_covers_its_members(granted: str, has: set[str], opens: bool) -> None:
    root = {
        "provision": [{"type": "permit", "actor": to("Practitioner/gp"), "securityLabel": [{"system": ACT_CODE, "code": granted}]}]
    }
    facts = replace(PLAN, confidentiality="R", sensitivity=frozenset(has))
    assert decided(ask(), facts, given(consent_of(root)))[0] is opens


@pytest.mark.parametrize(("denied", "has"), [("ETH", "ETHUD"), ("SUD", "OPIOIDUD"), ("SPI", "MH"), ("BH", "SUD")])
def test_hiding_a_sensitivity_hides_its_members(denied: str, has: str) -> None:
    open_ = {"type": "permit", "provision": [{"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": denied}]}]}
    facts = replace(PLAN, confidentiality="R", sensitivity=frozenset({has}))
    assert decided(ask(), facts, given(consent_of(open_))) == (False, "explicit")


def test_a_permit_for_a_time_needs_the_date_inside_a_deny_hits_the_undated() -> None:
    year = {"start": "2022-01-01", "end": "2022-12-31"}
    permit = given(consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/link"), "dataPeriod": year}]}))
    deny = given(consent_of({"provision": [{"type": "deny", "dataPeriod": year}]}))

    def on(text: str | None) -> Facts:
        low, high = interval(text) if text else (None, None)
        return replace(PLAN, low=low, high=high, updated=micros(NOW))

    assert [decided(ask(LINK), on(d), permit)[0] for d in ("2022-05", "2022", "2021-12-31", None)] == [True, True, False, False]
    assert [decided(ask(), on(d), deny)[0] for d in ("2022-05", "2023", "2021-12-31", None)] == [False, True, True, False]


def test_legal_restriction_needs_the_recipient_and_the_label() -> None:
    ivf = replace(PLAN, confidentiality="R", legal=frozenset({"HFEA"}))
    legal = {"system": "https://fhir-gateway.example/CodeSystem/legal-restriction", "code": "HFEA"}
    named = {"type": "permit", "actor": to("Organization/gp"), "securityLabel": [legal]}
    assert decided(ask(), ivf, given(consent_of({"provision": [named]}))) == (True, "explicit")
    nobody = {k: v for k, v in named.items() if k != "actor"}
    assert decided(ask(), ivf, given(consent_of({"provision": [nobody]}))) == (False, "legal")
    assert decided(ask(), ivf, given(consent_of({"provision": [{"type": "permit", "actor": to("Organization/gp")}]}))) == (
        False,
        "legal",
    )
    sector = {**named, "actor": [{**to("x/y")[0], "reference": {"identifier": {"system": SECTOR_SYSTEM, "value": "health"}}}]}
    theirs = ask(replace(GP, ids=GP.ids | {f"{SECTOR_SYSTEM}|health"}))
    assert decided(theirs, PLAN, given(consent_of({"provision": [sector]}))) == (True, "implicit")
    assert decided(theirs, ivf, given(consent_of({"provision": [sector]}))) == (False, "legal"), "a sector names no recipient"
    both = replace(ivf, legal=frozenset({"HFEA", "GRA"}))
    assert decided(ask(), both, given(consent_of({"provision": [named]})))[0] is False
    assert decided(ask(), replace(ivf, makers=GP.ids), given()) == (False, "legal")


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_yes_to_reading_is_no_yes_to_writing() -> None:
    yes = given(consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/link")}]}))
    assert decided(ask(LINK), PLAN, yes) == (True, "explicit")
    assert decided(ask(LINK, "correct"), PLAN, yes) == (False, "implicit")
    assert decided(ask(LINK, "collect"), PLAN, yes) == (False, "implicit")


def test_a_hospital_may_add_under_an_objection_to_sharing() -> None:
    hospital = replace(MEDIC, kind="system", contributor=True)
    assert decided(ask(hospital, "collect"), replace(PLAN, confidentiality="R"), given(consent_of({"type": "deny"}))) == (
        True,
        "implicit",
    )
    assert decided(ask(hospital), PLAN, given(consent_of({"type": "deny"}))) == (False, "explicit")


def test_disclosure_is_written_in_the_ledger() -> None:
    d = consent.decide(ask(replace(GP, kind="system"), "disclose"), PLAN, {P1: given()})
    assert d.permit and d.obligations == {"LEDGER"}


# -- emergencies ------------------------------------------------------------------------------------------------------

GLASS = BreakGlass("unconscious", "incapacity-vital-interest", NOW + timedelta(hours=2), MEDIC.user, None, "e1")


def test_an_emergency_opens_over_an_objection_and_tells() -> None:
    d = consent.decide(ask(MEDIC), PLAN, {P1: given(consent_of({"type": "deny"}), emergencies=(GLASS,))})
    assert (d.permit, d.basis, d.obligations) == (True, "break-glass", {"AUDIT-BTG", "NOTIFY-PRIVACY-OFFICER", "NOTIFY-PATIENT"})
    assert d.rule == "emergency e1"


def test_an_emergency_opens_one_persons_record_alone() -> None:
    both = replace(PLAN, patients=(P1, "Patient/p2"))
    known = {P1: given(emergencies=(GLASS,)), "Patient/p2": replace(given(), patient="Patient/p2")}
    for facts, opens in ((PLAN, True), (replace(PLAN, patients=("Patient/p2",)), False), (both, False)):
        assert consent.decide(ask(MEDIC), facts, known).permit is opens
        assert predicate.matches(consent.scope(ask(MEDIC), known), facts) is opens


@pytest.mark.parametrize(
    ("question", "glass"),
    [
        (ask(replace(MEDIC, btg_role=False)), GLASS),
        (ask(replace(MEDIC, user="Practitioner/other")), GLASS),
        (ask(replace(MEDIC, organisation="Organization/elsewhere")), GLASS),
        (ask(MEDIC), replace(GLASS, reason="  ")),
        (ask(MEDIC), replace(GLASS, ground="curiosity")),
        (ask(MEDIC), replace(GLASS, expires=NOW - timedelta(microseconds=1))),
        (ask(MEDIC, "disclose"), GLASS),
        (ask(MEDIC, "correct"), GLASS),
        (ask(MEDIC, "collect"), GLASS),
        (ask(MEDIC, purpose="HRESCH"), GLASS),
        (ask(MEDIC, purpose="BTG"), None),
        (ask(replace(MEDIC, kind="proxy")), GLASS),
        (ask(replace(MEDIC, kind="patient", patient="Patient/p2")), GLASS),
    ],
)
def test_half_an_emergency_is_none(question: Ask, glass: BreakGlass | None) -> None:
    assert not decided(question, PLAN, given(emergencies=(glass,) if glass else ()))[0]


def test_an_emergency_does_not_tell_whom_else_the_person_said_yes_or_no_to() -> None:
    alone = replace(given(emergencies=(GLASS,)), relationships=())
    assert decided(ask(MEDIC), replace(PLAN, type="Goal"), alone) == (True, "break-glass")
    for type in ("Consent", "AuditEvent"):
        assert decided(ask(MEDIC), replace(PLAN, type=type), alone) == (False, "implicit")


def test_what_an_emergency_opened_can_not_be_changed() -> None:
    """Not even by whoever wrote it and was since told no: they would see it, and the no is only to seeing."""
    theirs = replace(PLAN, makers=frozenset(MEDIC.ids))
    related = Relationship(frozenset({"Organization/trust"}), "team", "CareTeam/1")
    no = replace(given(consent_of({"provision": [{"type": "deny"}]})), relationships=(related,))
    for known in (no, replace(no, emergencies=(GLASS,))):
        assert decided(ask(MEDIC, "correct"), theirs, known) == (False, "no-read-no-update")


def test_nothing_of_the_law_breaks_in_an_emergency() -> None:
    ivf = replace(PLAN, legal=frozenset({"HFEA"}))
    now: dict[str, Any] = {"emergencies": (GLASS,)}
    assert decided(ask(MEDIC), ivf, given(**now)) == (False, "legal")
    assert decided(ask(MEDIC), PLAN, given(policy=Policy("Policy-deny"), **now))[0] is False
    assert decided(ask(MEDIC), PLAN, given(policy=Policy(break_glass="consent-only"), **now))[0] is False
    refused = given(consent_of({"provision": [{"type": "deny", "purpose": why("BTG")}]}), **now)
    assert decided(ask(MEDIC), PLAN, refused) == (False, "explicit")


def test_an_emergency_over_what_cannot_be_computed_still_raises_the_task() -> None:
    body = consent_of({"type": "permit"}, implicitRules="http://example.org/rules")
    found = cases.read_consent(body, "c", 1)
    assert not isinstance(found, grants.Grant)
    known = {P1: Standing(P1, broken=(found,), relationships=(LOOKS_AFTER,))}
    assert consent.decide(ask(), PLAN, known).basis == "uncomputable"
    known = {P1: replace(known[P1], emergencies=(GLASS,))}
    assert "RAISE-TASK" in consent.decide(ask(MEDIC), PLAN, known).obligations


# -- urgent care, invitations, death, links, opt-out ------------------------------------------------------------------


def test_urgent_care_sees_its_narrow_view_without_a_relationship() -> None:
    standing = Standing(P1, policy=Policy(urgent_care=frozenset({"Organization/trust"})))
    flag, crisis = replace(PLAN, type="Flag"), replace(PLAN, codes=frozenset({"http://snomed.info/sct|736253002"}))
    assert decided(ask(MEDIC, purpose="ETREAT"), flag, standing) == (True, "implicit")
    assert decided(ask(MEDIC, purpose="ERTREAT"), crisis, standing) == (True, "implicit")
    assert decided(ask(MEDIC, purpose="ETREAT"), PLAN, standing) == (False, "implicit")
    assert decided(ask(MEDIC, purpose="TREAT"), flag, standing) == (False, "implicit")
    assert decided(ask(MEDIC, purpose="ETREAT"), replace(flag, confidentiality="R"), standing) == (False, "implicit")
    objects = replace(
        standing, grants=(parse(consent_of({"provision": [{"type": "deny", "actor": to("Organization/trust")}]}), "o", 1),)
    )
    assert decided(ask(MEDIC, purpose="ETREAT"), flag, objects) == (False, "explicit")
    assert decided(ask(MEDIC, purpose="ETREAT"), flag, Standing(P1)) == (False, "implicit")


def test_who_is_asked_may_read_that_one_task_and_nothing_else() -> None:
    standing = Standing(P1, invitations=(Invitation("Task/t1", frozenset({"Organization/charity"})),))
    task = Facts("Task", "t1", (P1,), "R")
    assert decided(ask(LINK), task, standing) == (True, "implicit")
    assert decided(ask(LINK), replace(task, id="t2"), standing) == (False, "implicit")
    assert decided(ask(LINK, "disclose"), task, standing) == (False, "implicit")
    assert decided(ask(LINK), PLAN, standing) == (False, "implicit")
    assert decided(ask(GP), task, standing) == (False, "implicit")


def test_after_a_death_the_team_of_record_reads_and_nobody_writes() -> None:
    died = micros(NOW) - 10**12
    before = Standing(P1, relationships=(replace(LOOKS_AFTER, low=died - 1),), died=died)
    after = Standing(P1, relationships=(replace(LOOKS_AFTER, low=died + 1),), died=died)
    assert decided(ask(), PLAN, before) == (True, "implicit")
    assert decided(ask(), PLAN, after) == (False, "implicit")
    assert not decided(ask(action="correct"), PLAN, before)[0]
    assert not decided(ask(action="collect"), PLAN, before)[0]
    assert not decided(ask(action="disclose"), PLAN, before)[0]


def test_an_unsure_link_only_closes_and_a_merge_joins() -> None:
    yes = parse(consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/link")}]}), "y", 1)
    no = parse(consent_of({"type": "deny"}), "n", 1)
    other = "Patient/p9"

    def answer(merged: bool, grant: grants.Grant, actor: Actor) -> tuple[bool, str]:
        known = {P1: replace(given(), links=(Link(other, merged),)), other: Standing(other, (grant,))}
        d = consent.decide(ask(actor), PLAN, known)
        assert predicate.matches(consent.scope(ask(actor), known), PLAN) == d.permit
        return d.permit, d.basis

    assert answer(True, yes, LINK) == (True, "explicit")
    assert answer(False, yes, LINK) == (False, "implicit")
    assert answer(True, no, GP) == answer(False, no, GP) == (False, "explicit")


def test_only_a_merged_record_is_the_persons_own() -> None:
    """A `seealso` may be somebody else of the same name."""
    theirs = replace(ME, ids=frozenset({"Patient/p2"}), user="Patient/p2", patient="Patient/p2")
    for merged in (True, False):
        known = {P1: replace(given(), links=(Link("Patient/p2", merged),)), "Patient/p2": Standing("Patient/p2")}
        d = consent.decide(ask(theirs), PLAN, known)
        assert (d.permit, d.basis) == ((True, "self") if merged else (False, "other-patient"))
        assert predicate.matches(consent.scope(ask(theirs), known), PLAN) is merged


WARD = "urn:place/ward"
MEMOS: dict[str, tuple[Standing, Ask, Ask]] = {  # what is kept for the one must not answer the other: only one thing differs
    "env": (
        given(consent_of({"provision": [{"type": "deny", "extension": [
            {"url": provisions.ENVIRONMENT, "valueCodeableConcept": {"coding": [{"system": "urn:place", "code": "ward"}]}}]}]})),
        ask(), ask(replace(GP, env=frozenset({WARD}))),
    ),
    "sector": (given(), ask(), ask(replace(GP, sector="voluntary"))),
    "contributor": (Standing(P1), ask(LINK, "collect"), ask(replace(LINK, contributor=True), "collect")),
    "patient": (given(), ask(ME), ask(replace(ME, patient="Patient/p2"))),
}  # fmt: skip


@pytest.mark.parametrize("what", MEMOS)
def test_what_is_remembered_for_one_asker_is_not_the_answer_to_another(what: str) -> None:
    standing, one, other = MEMOS[what]
    alone = [decided(q, PLAN, replace(standing)) for q in (one, other)]
    assert alone[0][0] != alone[1][0]
    for order in ((one, other), (other, one)):
        known = replace(standing)
        assert [decided(q, PLAN, known) for q in order] == [alone[(one, other).index(q)] for q in order]


def test_a_linked_record_that_is_not_at_hand_closes() -> None:
    assert decided(ask(), PLAN, replace(given(), links=(Link("Patient/p9", False),))) == (False, "uncomputable")


def test_an_opt_out_of_research_is_beaten_by_a_yes_to_that_study() -> None:
    out = given(ndoo=True, policy=Policy("Policy-all-normal"))
    assert decided(ask(purpose="HRESCH"), PLAN, out) == (False, "ndoo")
    assert decided(ask(purpose="TREAT"), PLAN, out) == (True, "implicit")
    study = consent_of({"provision": [{"type": "permit", "actor": to("Organization/gp"), "purpose": why("HRESCH")}]})
    assert decided(ask(purpose="HRESCH"), PLAN, given(study, ndoo=True)) == (True, "explicit")


def test_a_research_consent_governs_research_only() -> None:
    research = {"coding": [{"system": f"{HL7}/consentscope", "code": "research"}]}
    assert decided(ask(), PLAN, given(consent_of({"type": "deny"}, scope=research))) == (True, "implicit")
    assert decided(ask(), PLAN, given(consent_of({"type": "permit", "class": []}, scope=research))) == (True, "implicit")
    assert decided(ask(LINK, purpose="HRESCH"), PLAN, given(consent_of({"type": "permit"}, scope=research))) == (True, "explicit")


# -- proxies ----------------------------------------------------------------------------------------------------------

CARER = Actor("proxy", frozenset({"RelatedPerson/carer"}), "RelatedPerson/carer", patient=P1, sector="citizen")


def role(basis: str, root: dict[str, Any] | None = None) -> dict[str, Any]:
    system = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"
    rule = root or {"type": "permit", "actor": to("RelatedPerson/carer")}
    return consent_of(rule, policyRule={"coding": [{"system": system, "code": basis}]})


LPA = "health-and-welfare-lasting-power-of-attorney"


@pytest.mark.parametrize(
    ("basis", "more", "answer"),
    [
        ("consent", {}, (True, "proxy")),
        ("best-interest", {}, (True, "proxy")),
        ("UNK", {}, (False, "no-proxy-role")),
        (LPA, {}, (False, "lpa-not-applicable")),
        (LPA, {"capacity_lost": True}, (True, "proxy")),
        ("court-appointed-personal-welfare-deputy", {"capacity_lost": True}, (True, "proxy")),
        ("parental-responsibility", {"age": 15}, (True, "proxy")),
        ("parental-responsibility", {"age": 16}, (False, "proxy-age")),
        ("parental-responsibility", {}, (False, "proxy-age")),
        ("parental-responsibility", {"born": interval("2010-11-02")}, (True, "proxy")),
        ("parental-responsibility", {"born": interval("2010-11-01")}, (False, "proxy-age")),
        ("consent", {"safeguarding": frozenset({"RelatedPerson/carer"})}, (False, "safeguarding")),
        ("consent", {"died": micros(NOW)}, (False, "proxy-ended")),
    ],
)
def test_a_proxy_role_holds_on_its_legal_basis(basis: str, more: dict[str, Any], answer: tuple[bool, str]) -> None:
    assert decided(ask(CARER, purpose="FAMRQT"), PLAN, given(role(basis), **more)) == answer


def test_a_carer_without_a_role_sees_nothing_whatever_else_is_granted() -> None:
    friend = consent_of({"provision": [{"type": "permit", "actor": to("RelatedPerson/carer")}]})
    assert decided(ask(CARER), PLAN, given(friend)) == (False, "no-proxy-role")


def test_only_a_no_that_aims_at_something_reaches_a_proxy() -> None:
    def with_(root: dict[str, Any]) -> tuple[bool, str]:
        return decided(ask(CARER), PLAN, given(role("consent"), consent_of(root)))

    assert with_({"type": "deny"}) == (True, "proxy")
    assert with_({"type": "deny", "actor": to("RelatedPerson/carer")}) == (False, "explicit")
    assert with_(
        {"provision": [{"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": "CarePlan/cp1"}}]}]}
    ) == (False, "explicit")
    assert decided(ask(CARER), replace(PLAN, other_labels=frozenset({f"{ACT_CODE}|NOPAT"})), given(role("consent"))) == (
        False,
        "refrain",
    )


def test_a_proxy_role_opens_nothing_to_professionals() -> None:
    open_role = role("consent", {"type": "permit"})
    assert decided(ask(LINK), PLAN, given(open_role)) == (False, "implicit")


# -- what cannot be computed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        consent_of({"type": "permit", "provision": [{"actor": to("Practitioner/a")}]}),
        consent_of({"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}),
        consent_of({"type": "perhaps"}),
        consent_of({"type": "permit"}, implicitRules="http://example.org"),
        consent_of({"type": "permit", "actor": [{**to("Practitioner/a")[0], "modifierExtension": [{"url": "x"}]}]}),
        consent_of({"type": "permit", "class": [{"system": "http://example.org", "code": "Goal"}]}),
        consent_of({"type": "permit", "securityLabel": [{"system": "http://example.org", "code": "secret"}]}),
        consent_of({"type": "permit", "securityLabel": [{"system": ACT_CODE, "code": "NOPAT"}]}),
        consent_of({"type": "deny", "actor": to("https://elsewhere.example/Practitioner/a")}),
        consent_of({"type": "deny", "actor": [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "AUT"}]},
                                               "reference": {"reference": "Practitioner/a"}}]}),
        consent_of({"type": "deny", "actor": [{"reference": {"reference": "Practitioner/a"}}]}),
        consent_of({"type": "deny", "actor": [{**to("x/y")[0], "reference": {"display": "Dr Bob"}}]}),
        consent_of({"type": "deny", "actor": [{**to("x/y")[0], "reference": {"identifier": {"system": SECTOR_SYSTEM, "value": "helth"}}}]}),
        consent_of({"type": "deny", "actor": [{**to("x/y")[0], "reference": {"identifier": {"system": ROLE_AT, "value": "garbage"}}}]}),
        consent_of({"type": "deny", "code": [{"text": "everything about my divorce"}]}),
        consent_of({"type": "deny", "action": [{"coding": [{"system": "http://example.org", "code": "peek"}]}]}),
        consent_of({"type": "deny", "period": {"end": "soon"}}),
        consent_of({"type": "deny", "data": [{"meaning": "nearby", "reference": {"reference": "Goal/1"}}]}),
        consent_of({"type": "deny", "data": [{"meaning": "instance", "reference": {"identifier": {"value": "1"}}}]}),
        consent_of({"type": "deny", "exception": [{"type": "permit"}]}),
        consent_of({"type": "permit"}, scope={"coding": [{"system": f"{HL7}/consentscope", "code": "everything"}]}),
        consent_of({}, policyRule={"coding": [{"system": "http://example.org", "code": "house-rules"}]}),
        consent_of({"type": ["permit"]}),
        consent_of({"type": "permit", "actor": "everybody"}),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_refused_and_says_where(body: dict[str, Any]) -> None:
    with pytest.raises(Uncomputable) as wrong:
        parse(body, "c", 1)
    assert wrong.value.where.startswith("Consent") and wrong.value.why


def test_rules_know_whom_they_name() -> None:
    named = parse(consent_of({"provision": [{"type": "permit", "actor": to("Practitioner/a")}]}), "c", 1)
    assert grants.names(named) == {"Practitioner/a"}
    anyone = parse(consent_of({"type": "permit", "provision": [{"type": "deny", "actor": to("Practitioner/a")}]}), "c", 1)
    assert grants.names(anyone) == {"Practitioner/a", "*"}


# -- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-03-29", "2026-03-29T00:00:00Z", "2026-03-29T22:59:59.999999Z"),  # 23 hours: clocks go forward
        ("2026-10-25", "2026-10-24T23:00:00Z", "2026-10-25T23:59:59.999999Z"),  # 25 hours
        ("2026-06", "2026-05-31T23:00:00Z", "2026-06-30T22:59:59.999999Z"),
        ("2026", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59.999999Z"),
        ("9999-12-31", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999998Z"),
        ("2026-12", "2026-12-01T00:00:00Z", "2026-12-31T23:59:59.999999Z"),
        ("2026-11-01T10:00:00+01:00", "2026-11-01T09:00:00Z", "2026-11-01T09:00:00.999999Z"),
        ("2026-11-01T10:00:00.5Z", "2026-11-01T10:00:00.5Z", "2026-11-01T10:00:00.599999Z"),
    ],
)
def test_a_date_is_its_whole_interval_in_london(text: str, first: str, last: str) -> None:
    assert interval(text) == (micros(datetime.fromisoformat(first)), micros(datetime.fromisoformat(last)))


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13", "2026-02-30", "26-01-01", "2026-01-01T10", "0000", "2026-01-01T25:00:00Z", "２０２６"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        interval(text)


# -- in words ---------------------------------------------------------------------------------------------------------


def test_every_basis_has_words() -> None:
    contract = (
        "rbac no-patient-data no-read-no-update self refrain other-patient proxy no-proxy-role proxy-ended proxy-age"
        " lpa-not-applicable safeguarding uncomputable explicit legal break-glass governed ndoo implicit"
    )
    assert set(consent.WORDS) == set(contract.split())


def test_an_explanation_names_the_consent_and_what_would_change_it() -> None:
    no = consent.decide(ask(), PLAN, {P1: given(consent_of({"provision": [{"type": "deny", "actor": to("Practitioner/gp")}]}))})
    assert consent.explain(no) == (
        "No. The person said no to this. The person can change this choice at any time."
        " This rests on the consent c0, version 1, Consent.provision.provision[0]."
    )
    assert consent.explain(consent.decide(ask(), PLAN, {P1: given()})).startswith("Yes. They look after the person now")
