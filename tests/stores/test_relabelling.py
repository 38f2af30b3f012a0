"""Other labels for the same version: one commit with the epochs, nothing that a version or a date would tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_gateway.domain.search import Query
from fhir_gateway.domain.types import Always, Bump, Confidential, Has, Key, Never, Put, Ref, Relabel
from fhir_gateway.store.base import Stale, Store

from .making import ANN, goal, gone, refused

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
