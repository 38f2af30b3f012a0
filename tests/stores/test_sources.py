"""Where data came from is what its writer says: it closes by what was ever said, and opens by what was vouched for."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from fhir_gateway import definitions, gate
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.gate import Context, House, house_context
from fhir_gateway.store.base import Store

from .making import MORNING
from .searches import R4

LAB, SOURCE = "urn:the-lab", "https://g.co/fhir/medicalrecords/DataSource"
ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
SYSTEM = Actor("system", frozenset({"Device/h", "Organization/h"}), "Device/h", "H", "Organization/h", contributor=True)
HELPER = Actor("professional", frozenset({"Practitioner/helper"}), "Practitioner/helper", sector="voluntary")
READER = Actor("professional", frozenset({"Practitioner/coach"}), "Practitioner/coach", sector="voluntary")


def house(store: Store) -> House:
    ids = count(1)
    return House(
        store=store, clock=lambda: MORNING, new_id=lambda: f"01a20e05-0000-7000-8000-{next(ids):012d}", r4=R4,
        label_sets=LabelSets.load(definitions.load("labels.json")), secret=b"x" * 32, alarm=lambda text: pytest.fail(text),
    )  # fmt: skip


def who(name: str) -> dict[str, Any]:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    return {"role": role, "reference": {"reference": f"Practitioner/{name}"}}


async def begun(store: Store, effect: str) -> tuple[House, Context, str]:
    """Ann, who lets (or does not let) the coach see what came from the lab, and whatever else the coach may see."""
    here = house(store)
    ann = str((await gate.create(house_context(here, SYSTEM), "Patient", b'{"resourceType":"Patient","birthDate":"1980-01-01"}')).ref)
    person = house_context(here, Actor("patient", frozenset({ann}), ann, "Ann", patient=ann))
    rules: list[dict[str, Any]] = [
        {"type": effect, "actor": [who("coach")], "extension": [{"url": SOURCE, "valueUri": LAB}]},
        {"type": "permit", "actor": [who("helper")], "action": [{"coding": [{"system": ACTION, "code": a}]} for a in ("access", "collect", "correct")]},
    ]
    if effect == "deny":
        rules.append({"type": "permit", "actor": [who("coach")]})
    body = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": ann},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": rules},
    }  # fmt: skip
    await gate.create(person, "Consent", json.dumps(body).encode())
    return here, person, ann


def goal(ann: str, source: str | None, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "subject": {"reference": ann}, "description": {"text": "Walk"},
        **({"meta": {"source": source}} if source else {}), **more,
    }  # fmt: skip


async def made(ctx: Context, body: dict[str, Any]) -> Ref:
    return (await gate.create(ctx, "Goal", json.dumps(body).encode())).ref


async def edited(ctx: Context, ref: Ref, **changes: Any) -> None:
    """What somebody makes of what they see; `source` None takes it out."""
    stored = await ctx.house.store.get(ref)
    assert stored is not None
    body = json.loads((await gate.read(ctx, ref)).body)
    meta = {k: v for k, v in body["meta"].items() if k != "source"} | {k: v for k, v in changes.items() if k == "source" and v}
    rest = {k: v for k, v in changes.items() if k != "source"}
    await gate.update(ctx, ref, json.dumps({**body, **rest, "meta": meta}).encode(), if_match=stored.version)


async def seen(here: House, ref: Ref) -> bool:
    """By read and by search alike: the plain evaluator and the compiled predicate."""
    coach = house_context(here, READER)
    try:
        await gate.read(coach, ref)
        read = True
    except Problem as p:
        assert p.kind == "not-found"
        read = False
    found = [e.ref for e in (await gate.search(coach, "Goal", [("_id", ref.id)])).entries]
    assert (found == [ref]) is read
    return read


async def test_a_source_opens_what_was_vouched_for_and_nothing_by_its_writers_own_word(store: Store) -> None:
    here, person, ann = await begun(store, "permit")
    system, helper = house_context(here, SYSTEM), house_context(here, HELPER)
    assert await seen(here, await made(system, goal(ann, LAB))), "a registered contributor, of what it brought in"
    assert await seen(here, await made(person, goal(ann, LAB))), "the person, of what is theirs"
    assert not await seen(here, await made(system, goal(ann, None)))
    claimed = await made(helper, goal(ann, LAB))
    stored = await store.get(claimed)
    assert stored is not None and stored.facts.source == LAB and not await seen(here, claimed), "kept as it was said, and opens nothing"
    await edited(person, claimed, description={"text": "Walk more"})
    assert not await seen(here, claimed), "what stood there is not vouched for by an edit of something else"
    plain = await made(system, goal(ann, None))
    await edited(helper, plain, source=LAB)
    assert not await seen(here, plain)
    await edited(person, plain, source=None)
    await edited(person, plain, source=LAB)
    assert await seen(here, plain)


async def test_a_source_that_is_edited_out_goes_on_closing(store: Store) -> None:
    here, person, ann = await begun(store, "deny")
    system = house_context(here, SYSTEM)
    closed, open_ = await made(system, goal(ann, LAB)), await made(system, goal(ann, None))
    assert [await seen(here, closed), await seen(here, open_)] == [False, True]
    await edited(person, closed, source=None)
    assert not await seen(here, closed), "what it came from is not undone by an edit"
    await edited(person, open_, source=LAB)
    assert not await seen(here, open_)
