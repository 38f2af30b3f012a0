"""Other labels for the same version: one commit with the epochs, nothing that a version or a date would tell."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import pytest

from fhir_gateway import definitions, gate
from fhir_gateway.domain.facts import MADE
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.search import Query, keys
from fhir_gateway.domain.types import Actor, Always, Bump, Confidential, Drop, Has, Key, Never, Put, Ref, Relabel, Stored, Within
from fhir_gateway.domain.vocabulary import HL7, POLICY_SYSTEM
from fhir_gateway.gate import Context, House, house_context
from fhir_gateway.store.base import Stale, Store

from .making import ANN, MORNING, goal, gone, refused
from .searches import R4

SEXUAL = Key("_security", "token", "SEX", "http://terminology.hl7.org/CodeSystem/v3-ActCode")


def again(put: Put, **labels: object) -> Relabel:
    body = put.body.replace(b'{"resourceType', b'{"meta":{"security":[{"code":"SEX"}]},"resourceType')
    return Relabel(put.ref, put.version, put.at, body, put.view, replace(put.facts, labelled="new", **labels), (SEXUAL,), put.writer)


async def test_the_version_and_its_date_stay_and_the_labels_decide_at_once(store: Store) -> None:
    first = goal("g1", when=5)
    await store.commit(first)
    epoch = await store.epoch(ANN)
    await store.commit(again(first, confidentiality="R", sensitivity=frozenset({"SEX"})), Bump(ANN))
    now = await store.get(Ref("Goal", "g1"))
    assert now is not None and (now.version, now.updated, now.writer, now.created_by) == (1, first.at, first.writer, first.writer.user)
    assert now.facts.confidentiality == "R" and now.facts.labelled == "new" and b"SEX" in (now.body or b"")
    assert await store.epoch(ANN) == epoch + 1
    normal, sexual = Confidential("<=", 3), Has("sens", frozenset({"SEX"}))
    assert [len((await store.search(Query(("Goal",)), p, filtered=Never(), count=5)).hits) for p in (normal, sexual, Always())] == [0, 1, 1]
    (then,) = (await store.history(Ref("Goal", "g1"), None, Always())).hits
    assert then.body == first.body, "history keeps what was written"
    await store.commit(goal("g1", 2, when=9))


async def test_only_the_current_version_can_be_labelled_again(store: Store) -> None:
    first = goal("g1")
    await store.commit(first, goal("g2"))
    await store.commit(goal("g1", 2), gone("g2", 2))
    await refused(store, Stale, again(first))
    await refused(store, Stale, again(goal("never")))
    await refused(store, Stale, again(replace(goal("g2"), version=2)))


@pytest.mark.parametrize("field", ["label", "sens"])
async def test_labels_that_are_gone_are_found_no_more(store: Store, field: str) -> None:
    first = goal("g1", sensitivity=frozenset({"SEX"}), other_labels=frozenset({"SEX"}), confidentiality="R")
    await store.commit(first)
    await store.commit(again(first, confidentiality="N", sensitivity=frozenset(), other_labels=frozenset()))
    assert not (await store.search(Query(("Goal",)), Has(field, frozenset({"SEX"})), filtered=Never(), count=5)).hits


# -- through the gate: the value sets change ----------------------------------------------------------------------------

SETS = LabelSets.load(definitions.load("labels.json"))
KNEE = {"system": "http://example.org/knees", "code": "left"}


def sets_with(coding: dict[str, str], label: tuple[str, str]) -> LabelSets:
    """Today's value sets and one more code."""
    bundle = definitions.load("labels.json")
    more = {
        "resourceType": "ValueSet", "id": "more",
        "useContext": [{"code": {"code": "focus"}, "valueCodeableConcept": {"coding": [{"system": label[0], "code": label[1], "display": "x"}]}}],
        "compose": {"include": [{"system": coding["system"], "concept": [{"code": coding["code"]}]}]},
    }  # fmt: skip
    return LabelSets.load({**bundle, "entry": [*bundle["entry"], {"resource": more}]})


def house(store: Store, sets: LabelSets) -> House:
    ids = count(1)
    return House(
        store=store, clock=lambda: MORNING, new_id=lambda: f"01a20e05-0000-7000-8000-{next(ids):012d}", r4=R4, label_sets=sets, secret=b"x" * 32,
        alarm=lambda text: pytest.fail(text),
    )  # fmt: skip


def person(here: House, id: str) -> Context:
    me = f"Patient/{id}"
    return house_context(here, Actor("patient", frozenset({me}), me, "Ann", patient=me))


async def written(here: House, store: Store) -> Ref:
    operator = house_context(here, Actor("system", frozenset({"Device/h"}), "Device/h", contributor=True))
    ann = (await gate.create(operator, "Patient", b'{"resourceType":"Patient","name":[{"text":"Ann"}],"birthDate":"1980-01-01"}')).ref
    knee = {"resourceType": "Condition", "subject": {"reference": str(ann)}, "code": {"coding": [KNEE]}}
    return (await gate.create(person(here, ann.id), "Condition", json.dumps(knee).encode())).ref


async def test_what_is_written_without_value_sets_counts_as_restricted_until_labelling_has_run(store: Store) -> None:
    ref = await written(house(store, LabelSets()), store)
    before = await store.get(ref)
    assert before is not None and before.facts.confidentiality == "R" and b"security" not in (before.body or b"")
    with pytest.raises(Problem, match="value sets"):
        await gate.relabel(house(store, LabelSets()))
    here = house(store, SETS)
    assert not await gate.labelled_by_these(here)
    seen, changed = await gate.relabel(here)
    assert (seen, changed) == (2, 2) and await gate.labelled_by_these(here)
    after = await store.get(ref)
    assert after is not None and after.facts.confidentiality == "N"
    assert (after.version, after.updated, after.body) == (before.version, before.updated, before.body)
    assert await gate.relabel(here) == (2, 0)


async def test_a_code_that_is_private_from_now_on_closes_what_is_there_without_a_trace_in_its_version(store: Store) -> None:
    ref = await written(house(store, SETS), store)
    before = await store.get(ref)
    assert before is not None and before.facts.confidentiality == "N"
    person_ref = before.facts.patients[0]
    epoch = await store.epoch(person_ref)
    assert (await gate.relabel(house(store, sets_with(KNEE, ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "SEX")))))[1] == 1
    after = await store.get(ref)
    assert after is not None and after.facts.confidentiality == "R" and "SEX" in after.facts.sensitivity
    assert (after.version, after.updated) == (before.version, before.updated) and await store.epoch(person_ref) > epoch
    shown, whole = json.loads(after.view or b""), json.loads(after.body or b"")
    assert [c["code"] for c in whole["meta"]["security"]] == ["R", "SEX"] and [c["code"] for c in shown["meta"]["security"]] == ["R"]
    assert {k: whole["meta"][k] for k in ("versionId", "lastUpdated")} == {k: json.loads(before.body or b"")["meta"][k] for k in ("versionId", "lastUpdated")}
    assert any(n.what == "relabel" for n in await store.notes(patient=person_ref))
    assert (await gate.relabel(house(store, SETS)))[1] == 0, "a smaller set opens nothing"


async def from_an_earlier_release(here: House, ref: Ref) -> Stored:
    """As a release would have kept it that knew nothing of views: all of it shown, and found by all of it."""
    good = await here.store.get(ref)
    assert good is not None and good.body is not None
    old = replace(good.facts, made=0, codes=frozenset(), low=None, high=None)
    await here.store.commit(Relabel(ref, good.version, good.updated, good.body, good.body, old, keys(json.loads(good.body), R4), good.writer))
    return good


async def test_what_an_earlier_release_showed_and_found_is_hidden_by_the_rules_of_today(store: Store) -> None:
    here = house(store, SETS)
    ann = await written(here, store)
    me = (await store.get(ann)).facts.patients[0]  # type: ignore[union-attr]
    body = {
        "resourceType": "Condition", "subject": {"reference": me}, "code": {"coding": [KNEE]}, "onsetDateTime": "2026-01-01",
        "asserter": {"reference": me, "display": "Ann Secret"}, "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Secret</div>'},
        "evidence": [{"detail": [{"reference": "Observation/1", "identifier": {"system": "urn:s", "value": "secret"}}]}],
    }  # fmt: skip
    ref = (await gate.create(person(here, me.removeprefix("Patient/")), "Condition", json.dumps(body).encode())).ref
    good = await from_an_earlier_release(here, ref)
    worker = house_context(here, Actor("system", frozenset({"Organization/h", "Device/h"}), "Device/h", organisation="Organization/h", contributor=True))
    claim = {"type": "permit", "actor": [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": "Organization/h"}}]}
    consent = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": me}, "category": [{"text": "Sharing"}],
        "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}, "provision": {"provision": [claim]},
    }  # fmt: skip
    await gate.create(person(here, me.removeprefix("Patient/")), "Consent", json.dumps(consent).encode())
    by_name = [("evidence-detail:identifier", "urn:s|secret")]
    assert b"ecret" not in (await gate.read(worker, ref)).body, "the view is today's at once"
    assert (await gate.search(worker, "Condition", by_name)).entries, "a key hides as it did"
    epoch = await store.epoch(me)
    await gate.relabel(here)
    assert not (await gate.search(worker, "Condition", by_name)).entries
    assert (await gate.search(person(here, me.removeprefix("Patient/")), "Condition", by_name)).entries, "the person finds it as before"
    now = await store.get(ref)
    assert now is not None and now.facts == good.facts and (now.body, now.view) == (good.body, good.view)
    assert (now.version, now.updated) == (good.version, good.updated) and await store.epoch(me) > epoch
    dated = await store.search(Query(("Condition",)), Within(good.facts.low, good.facts.high), filtered=Never(), count=5)
    assert ref in [h.ref for h in dated.hits], "the dates that a consent asks about too"


async def test_a_kill_on_the_way_loses_nothing_and_does_nothing_twice(store: Store) -> None:
    here = house(store, SETS)
    refs = [await written(here, store) for _ in range(3)]
    for ref in refs:
        await from_an_earlier_release(here, ref)
    looked = 0

    def step() -> None:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise KeyboardInterrupt

    await store.commit(Drop("labelled", "digest"))
    with pytest.raises(KeyboardInterrupt):
        await gate.relabel(here, step)
    assert not await gate.labelled_by_these(here)
    half = [(await store.get(ref)).facts.made for ref in refs]  # type: ignore[union-attr]
    assert set(half) == {0, MADE}
    done = next(ref for ref, made in zip(refs, half, strict=True) if made)
    person_of = (await store.get(done)).facts.patients[0]  # type: ignore[union-attr]
    epoch = await store.epoch(person_of)
    assert await gate.relabel(here) == (6, 0) and await gate.labelled_by_these(here)
    assert {(await store.get(ref)).facts.made for ref in refs} == {MADE}  # type: ignore[union-attr]
    assert await store.epoch(person_of) == epoch, "what was done is not done again"


@pytest.mark.parametrize(
    "wrong",
    [
        {"include": [{"system": "s", "filter": [{"property": "concept", "op": "is-a", "value": "1"}]}]},
        {"include": [{"valueSet": ["http://x"]}]}, {"include": [{"system": "s"}]}, {"include": [{"concept": [{"code": "1"}]}]},
        {"include": [{"system": "s", "filter": [{"property": "code", "op": "regex", "value": "("}]}]}, {"include": [{"system": "s", "concept": [{"code": "1"}]}], "exclude": []},
    ],
)  # fmt: skip
def test_a_value_set_that_cannot_be_computed_is_refused_and_not_passed_over(wrong: dict[str, object]) -> None:
    label = {"coding": [{"system": "s", "code": "MH", "display": "x"}]}
    value_set = {"id": "v", "useContext": [{"code": {"code": "focus"}, "valueCodeableConcept": label}], "compose": wrong}
    with pytest.raises(ValueError):
        LabelSets.load({"entry": [{"resource": value_set}]})


async def test_whoever_holds_an_answer_looks_again_at_what_an_earlier_release_let_somebody_refer(store: Store) -> None:
    """Nothing in such a Task is other than before, but whether it brings somebody in (`referring.counts`)."""
    here = house(store, SETS)
    ref = await written(here, store)
    me = (await store.get(ref)).facts.patients[0]  # type: ignore[union-attr]
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": me}}
    asked = (await gate.create(person(here, me.removeprefix("Patient/")), "Task", json.dumps(task).encode())).ref
    for old, what, moves in ((2, asked, True), (2, ref, False), (3, asked, False)):
        good = await store.get(what)
        assert good is not None and good.body is not None
        kept = keys(json.loads(good.body), R4)
        await store.commit(Relabel(what, good.version, good.updated, good.body, good.view, replace(good.facts, made=old), kept, good.writer))
        epoch = await store.epoch(me)
        await gate.relabel(here)
        assert (await store.epoch(me) > epoch) is moves, (old, what)
