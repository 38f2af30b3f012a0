"""The third rendering: what a store finds under a compiled predicate is what the plain evaluator permits, resource by resource."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fhir_gateway.domain import consent, predicate, reach
from fhir_gateway.domain.periods import micros
from fhir_gateway.domain.search import Query
from fhir_gateway.domain.types import Always, Facts, Put, Ref
from fhir_gateway.store.base import Store

from ..conftest import times
from ..worlds import IDS, P1, P2, P3, TYPES, Dice, a_resource, a_world
from .making import GP, Reopen, at

MANY = 500
PEOPLE = ((P1,),) * 6 + ((P2,), (P1, P2), (P3,), (), (P1, "Patient/stranger"))


async def filled(reopen: Reopen, dice: Dice) -> tuple[Store, list[Facts]]:
    """A store with a resource of every type and id, and the facts of each: who refers to it is what the others say."""
    made = [replace(a_resource(dice, dice.choice(PEOPLE)), type=t, id=i, referred_by=frozenset()) for t in TYPES for i in IDS]
    made = [replace(f, updated=micros(at(n))) for n, f in enumerate(made)]  # as a write has it
    store = await reopen()
    for n, facts in enumerate(made):
        body = b'{"resourceType":"%s","id":"%s"}' % (facts.type.encode(), facts.id.encode())
        await store.commit(Put(Ref(facts.type, facts.id), 1, at(n), body, body, facts, (), GP, 0))
    refers = {f: frozenset(f"{o.type}/{o.id}" for o in made if f"{f.type}/{f.id}" in o.refs) for f in made}
    return store, [replace(f, referred_by=refers[f]) for f in made]


async def agree(store: Store, made: list[Facts], worlds: range, seed: str) -> Counter[bool]:
    seen: Counter[bool] = Counter()
    for number in worlds:
        ask, known, _ = a_world(Dice(f"{seed} {number}"))
        reached = reach.scope(ask, known)
        permitted = {Ref(f.type, f.id) for f in made if consent.decide(ask, f, known).permit}
        assert {Ref(f.type, f.id) for f in made if predicate.matches(reached, f)} == permitted
        found = await store.search(Query(()), reached, filtered=Always(), count=MANY, total=True)
        assert {h.ref for h in found.hits} == permitted, f"world {number} of {seed}"
        assert found.total == len(permitted)
        versions = await store.history(None, None, reached, count=MANY)
        assert {h.ref for h in versions.hits} == permitted, f"world {number} of {seed}: history"
        seen[bool(permitted)] += 1
    return seen


async def test_a_store_finds_what_the_evaluator_permits(reopen: Reopen) -> None:
    store, made = await filled(reopen, Dice("store"))
    seen = await agree(store, made, range(60), "few")
    assert seen[True] > 10


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_a_store_finds_what_the_evaluator_permits_in_many_worlds(reopen: Reopen) -> None:
    store, made = await filled(reopen, Dice("store of many"))
    assert (await agree(store, made, range(times(2_000)), "many"))[True] > 100
