"""Two gateways that had the same before they met, made of one source: it is one record at each, and what differs is never written over unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate, plans
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.search import Query
from fhir_gateway.domain.types import Actor, Always, Never, Ref, Stored
from fhir_gateway.gate import waiting_room
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.sync import worker
from fhir_gateway.sync.ending import gone
from fhir_gateway.sync.partner import Partner, as_owner
from fhir_gateway.sync.recalling import ENTWINED
from fhir_gateway.sync.waiting import QUARANTINE

from .sim.lines import of_gateway
from .sim.town import Town
from .test_two_gateways import Both, both, both_quiet, line, says, words

__all__ = ["both"]
PLAN = Path(__file__).parent / "cases" / "plans" / "harold.json"
SOURCE = "urn:the-source"


async def made(town: Town, text: str = "walk", value: str = "g1", who: str = "amina", **more: Any) -> Ref:
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": town.names[who]}}
    return (await gate.create(town.hospital, "Goal", strict.dump({**body, "identifier": [{"system": SOURCE, "value": value}], **more}))).ref


async def goals(town: Town, who: str = "amina") -> list[Stored]:
    found = await town.house.store.search(Query(("Goal",)), Always(), filtered=Never(), count=100)
    return [s for s in found.hits if town.names[who] in s.facts.patients]


async def waits(both: Both, town: Town) -> tuple[int, int]:
    status = await worker.status(town.house, both.partners[town.name])
    return status["quarantined"], status["parked"]


async def test_what_both_had_is_one_at_each_without_another_version_and_stays_in_step(both: Both) -> None:
    at_a, at_b = await made(both.a), await made(both.b)
    await both.rounds(2)
    assert [[(s.ref, s.version) for s in await goals(t)] for t in (both.a, both.b)] == [[(at_a, 1)], [(at_b, 1)]]
    assert await both.there(both.a, at_a) == at_b and await both.there(both.b, at_b) == at_a
    await both_quiet(both)
    await says(both.b, at_b, "run")
    await both.rounds(2)
    assert await words(both.a, at_a) == "run"
    assert [[s.version for s in await goals(t)] for t in (both.a, both.b)] == [[2], [2]]
    await gate.remove(both.a.hospital, at_a, if_match=2)
    await both.rounds(2)
    assert await both.deleted(both.b, at_b)


async def test_what_one_changed_before_they_met_is_in_both_and_what_both_changed_waits_for_a_person(both: Both) -> None:
    one_a, two_a = await made(both.a), await made(both.a, "eat", "g2")
    one_b, two_b = await made(both.b), await made(both.b, "eat", "g2")
    await says(both.a, one_a, "run")
    await says(both.a, two_a, "cook")
    await says(both.b, two_b, "bake")
    await both.rounds()
    assert (await words(both.a, one_a), await words(both.b, one_b)) == ("run", "run")
    assert await words(both.a, two_a) == await words(both.b, two_b)
    assert [len(await goals(t)) for t in (both.a, both.b)] == [2, 2]
    assert sum([(await worker.status(t.house, both.partners[t.name]))["conflicts"] for t in (both.a, both.b)]) >= 1


@pytest.mark.slow
async def test_what_never_said_the_same_is_neither_joined_nor_written_over_until_it_does(both: Both) -> None:
    at_a, at_b = await made(both.a, "walk"), await made(both.b, "drink")
    await both.rounds()
    assert [[(s.ref, s.version) for s in await goals(t)] for t in (both.a, both.b)] == [[(at_a, 1)], [(at_b, 1)]]
    assert [await waits(both, t) for t in (both.a, both.b)] == [(1, 1), (1, 1)]
    await says(both.a, at_a, "drink")
    await both.rounds()
    assert await both.there(both.a, at_a) == at_b and await both.there(both.b, at_b) == at_a
    for town in (both.a, both.b):
        assert not await town.house.store.kept_all(QUARANTINE, both.clock.now())


@pytest.mark.slow
async def test_neither_another_person_nor_another_value_nor_a_copy_of_somebodys_is_joined(both: Both) -> None:
    hers, his = await made(both.a), await made(both.b, who="ben")
    more = [{"system": "urn:other", "value": "1"}, {"system": SOURCE, "value": "g3"}]
    apart = await made(both.a, "sit", identifier=more), await made(both.b, "sit", identifier=[*more[1:], {"system": "urn:other", "value": "2"}])
    copy = {"meta": {"tag": [copies.tag("0" * 16, "x")]}}
    system = await as_owner(both.a.house, both.partners["a"], "access")
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "eat"}, "identifier": [{"system": SOURCE, "value": "g4"}]}
    copied = (await gate.create(system, "Goal", strict.dump({**body, **copy, "subject": {"reference": both.a.names["amina"]}}))).ref
    own = await made(both.b, "eat", "g4")
    await both.rounds()
    for ref, there in ((hers, his), (apart[0], apart[1]), (copied, own)):
        assert await both.there(both.a, ref) != there
    assert (len(await goals(both.a)), len(await goals(both.a, "ben"))) == (5, 1)
    await both_quiet(both)


@pytest.mark.slow
async def test_what_is_kept_from_them_is_as_if_it_were_not_here(both: Both) -> None:
    """Who makes a record there with the identifier of one that is hidden here finds their own copy here, as anybody would."""
    very = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    stored = await both.a.house.store.get(no)
    assert stored is not None
    body = strict.decode(stored.body or b"")
    rule = {k: v for k, v in body["provision"]["provision"][0].items() if k != "class"} | {"securityLabel": [very]}
    await gate.update(both.a.person("amina"), no, strict.dump({**body, "provision": {"provision": [rule]}}), if_match=stored.version)
    hidden = await made(both.a, meta={"security": [very]})
    own = await made(both.b)
    await both.rounds()
    link = await both.a.house.store.link_by_remote("b", str(own))
    assert link is not None and link.ref != hidden and len(await goals(both.a)) == 2
    assert [await waits(both, t) for t in (both.a, both.b)] == [(0, 0), (0, 0)]


@pytest.mark.slow
async def test_a_no_takes_nothing_away_that_they_had_themselves_and_of_what_was_written_in_it_a_person_is_asked(both: Both) -> None:
    at_a, at_b = await made(both.a), await made(both.b)
    await both.rounds()
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert (await words(both.b, at_b), await words(both.a, at_a)) == ("walk", "walk")
    by = gate.house_context(both.a.house, Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))
    (asked,) = await waiting_room.everything(by)
    assert asked["kind"] == "recall" and ENTWINED in asked["why"], "B fetched it from A, and says itself what it said before: a person looks"
    await gone(both.a.house, [both.partners["a"]], by, asked["id"], "it was theirs before")
    now = await worker.status(both.a.house, both.partners["a"])
    assert now["quiet"] and (now["parked"], now["conflicts"], now["recalls_open"]) == (0, 0, 0)
    await both.yes(no)
    await both.rounds()
    await says(both.a, at_a, "run")
    await worker.once(both.a.house, both.partners["a"])  # A sends it before B fetches it
    assert await words(both.b, at_b) == "run"
    await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert (await words(both.b, at_b), await words(both.a, at_a)) == ("run", "run")
    assert (await worker.status(both.a.house, both.partners["a"]))["recalls_open"] == 1


async def imported(town: Town) -> None:
    saved = await plans.save(town.hospital, plans.read_plan(PLAN.read_bytes()))
    town.names["harold"] = f"Patient/{saved.patient}"
    for whom in ("surgery", "home", "hospital"):
        await town.consents("harold", whom)


async def his(town: Town) -> list[Stored]:
    found = await town.house.store.search(Query(()), Always(), filtered=Never(), count=1000)
    return [s for s in found.hits if town.names["harold"] in s.facts.patients and s.ref.type not in ("Consent", "Patient")]


@pytest.mark.slow
async def test_one_plan_imported_at_both_is_one_plan_at_both(both: Both) -> None:
    for town, other in ((both.a, both.b), (both.b, both.a)):
        town.terms = (replace(town.terms[0], types=None),)
        town.house = replace(town.house, remotes=town.terms)
        server = RemoteServer(f"http://{other.name}.test/fhir", both.clock.now, "Bearer x", line(of_gateway(other.app(town.name)), both.asked, both.lost, both.busy, both.meanwhile, both.offers_not))
        both.partners[town.name] = Partner(town.terms[0], server)
        await imported(town)
    before = len(await his(both.a))
    await both.rounds(2)
    assert before > 30 and len(await his(both.a)) == len(await his(both.b)) == before
    names = {str(s.ref): str(await both.there(both.a, s.ref)) for s in await his(both.a)} | {both.a.names["harold"]: both.b.names["harold"]}
    at_b = {str(s.ref): s for s in await his(both.b)}
    for stored in await his(both.a):
        twin = at_b.pop(names[str(stored.ref)])
        assert (stored.version, twin.version) == (1, 1)
        assert strict.read(twin.body or b"") | {"meta": 0, "id": 0} == renamed(strict.read(stored.body or b""), names) | {"meta": 0, "id": 0}
    assert not at_b
    await both_quiet(both)


def renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [renamed(n, names) for n in node]
    if not isinstance(node, dict):
        return node
    return {k: names.get(v, v) if k == "reference" and isinstance(v, str) else renamed(v, names) for k, v in node.items()}
