"""Other labels for the same version: one commit with the epochs, nothing that a version or a date would tell."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import pytest

from fhir_gateway import definitions, gate
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.search import Query
from fhir_gateway.domain.types import Actor, Always, Bump, Confidential, Has, Key, Never, Put, Ref, Relabel
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
