"""A record that may be the same person's closes this one and is told of to nobody; nor what is under way there."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.gate import Context, House, house_context
from fhir_gateway.store.base import Store

from .making import MORNING
from .test_relabelling import SETS, house, person


async def somebody(here: House, name: str) -> str:
    body = {"resourceType": "Patient", "name": [{"text": name}], "birthDate": "1980-01-01"}
    hospital = house_context(here, Actor("system", frozenset({"Device/h"}), "Device/h", contributor=True))
    return (await gate.create(hospital, "Patient", json.dumps(body).encode())).ref.id


async def says_no(ctx: Context, whom: str) -> str:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    body = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": ctx.actor.patient},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "deny", "actor": [{"role": role, "reference": {"reference": whom}}]}]},
    }  # fmt: skip
    return (await gate.create(ctx, "Consent", json.dumps(body).encode())).ref.id


@pytest.mark.parametrize(("how", "told"), [("seealso", False), ("refer", False), ("replaces", True)])
async def test_an_explanation_tells_nothing_of_a_record_that_may_be_somebody_elses(store: Store, how: str, told: bool) -> None:
    here = house(store, SETS)
    ann, other = await somebody(here, "Ann"), await somebody(here, "An")
    operator = house_context(here, Actor("system", frozenset({"Device/operator"}), "Device/operator", operator=True))
    medic = await gate.create(operator, "Practitioner", b'{"resourceType":"Practitioner","active":true,"name":[{"family":"Medic"}]}')
    no = await says_no(person(here, other), str(medic.ref))
    await gate.link(operator, ann, other, how, evidence="Checked")
    me = person(here, ann)
    said = await gate.why(me, Ref("Patient", ann), str(medic.ref))
    assert not said.decision.permit and said.decision.basis == "explicit"
    assert (said.decision.consent == no) is told and (no in said.text) is told
    if not told:
        assert said.changes == () and other not in said.text and "said no" not in said.text and "look into it" in said.text
    own = await says_no(me, str(medic.ref))
    mine = await gate.why(me, Ref("Patient", ann), str(medic.ref))
    assert mine.decision.consent in (own, no if told else None)


async def test_nor_of_an_emergency_in_it(store: Store) -> None:
    here = house(store, SETS)
    ann, other = await somebody(here, "Ann"), await somebody(here, "An")
    operator = house_context(here, Actor("system", frozenset({"Device/operator"}), "Device/operator", operator=True))
    type = '[{"coding":[{"system":"https://fhir-gateway.example/CodeSystem/sector","code":"health"}]}]'
    trust = await gate.create(operator, "Organization", f'{{"resourceType":"Organization","active":true,"type":{type},"name":"Trust"}}'.encode())
    who = await gate.create(operator, "Practitioner", b'{"resourceType":"Practitioner","active":true,"name":[{"family":"Medic"}]}')
    role = {"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": str(who.ref)}, "organization": {"reference": str(trust.ref)}}
    await gate.create(operator, "PractitionerRole", json.dumps(role).encode())
    await gate.link(operator, ann, other, "seealso", evidence="Checked")
    medic = Actor("professional", frozenset({str(who.ref), str(trust.ref)}), str(who.ref), "Medic", str(trust.ref), "health", btg_role=True)
    at_work = Context(here, medic, MORNING, signed_in=MORNING - timedelta(minutes=1))
    await gate.break_glass(at_work, other, "Unconscious in the street", "incapacity-vital-interest")
    for id, told in ((ann, False), (other, True)):
        said = await gate.explain(here, [at_work], "access", Ref("Patient", id))
        assert ("under way" in said.text) is told and (said.emergency is not None) is told
