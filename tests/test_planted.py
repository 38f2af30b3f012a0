"""What a partner may plant: names of ours, tags, stubs and labels reach nobody and nothing that it does not share with us."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.masked import HELD_BACK
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import HL7
from fhir_gateway.domain.withheld import stub
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.sync.backfill import backfill
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push
from fhir_gateway.sync.replaying import replay
from fhir_gateway.sync.waiting import QUARANTINE

from .faults.rig import ACTIONS, rigged
from .faults.scripted import Habits, There, scripted
from .test_pulling import Begin, begin

__all__ = ["begin"]
slow = pytest.mark.slow
Body = dict[str, Any]


async def somebody_else(here: Any, type: str = "Goal", **what: Any) -> tuple[str, Ref]:
    """Somebody of whom the partner has nothing, whose GP is the hospital, and a record of theirs."""
    person: Body = {"resourceType": "Patient", "name": [{"family": "Else"}], "generalPractitioner": [{"reference": here.names["hospital"]}]}
    name = str((await gate.create(here.hospital, "Patient", strict.dump(person))).ref)
    more = what or {"lifecycleStatus": "active", "description": {"text": "v"}}
    return name, (await gate.create(here.hospital, type, strict.dump({"resourceType": type, **more, "subject": {"reference": name}}))).ref


def spelled(how: str, name: str, house: Any) -> Body:
    return {
        "literal": {"reference": name}, "version": {"reference": f"{name}/_history/1"}, "address": {"reference": f"{house.base_url}/{name}"},
        "held back": {"identifier": {"system": HELD_BACK, "value": name}},
        "held back address": {"identifier": {"system": HELD_BACK, "value": f"{house.base_url}/{name}"}},
    }[how]  # fmt: skip


SPELLINGS = ("literal", pytest.param("version", marks=slow), pytest.param("address", marks=slow), "held back", pytest.param("held back address", marks=slow))


def closing(about: Mapping[str, Any], **more: Any) -> Body:
    return {
        "resourceType": "Consent", "status": "active", "patient": about, "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]}, "provision": {"type": "deny"}, **more,
    }  # fmt: skip


@pytest.mark.parametrize("how", SPELLINGS)
async def test_a_partner_closes_the_record_of_nobody_whom_it_does_not_share(begin: Begin, how: str) -> None:
    here = await begin()
    other, goal = await somebody_else(here)
    here.there.write(closing(spelled(how, other, here.house), performer=[{"reference": here.her}]))
    await here.pull()
    assert not await here.house.store.patient_record(other, ["Consent"]) and (await here.quarantined() or how == "held back address")
    await gate.read(here.hospital, goal)


@pytest.mark.parametrize("how", SPELLINGS)
async def test_what_they_write_refers_to_nothing_here_that_they_do_not_share(begin: Begin, how: str) -> None:
    here = await begin()
    other, condition = await somebody_else(here, "Condition", code={"text": "v"})
    for words, more in (("performer", {"performer": [spelled(how, other, here.house)]}), ("focus", {"focus": [spelled(how, str(condition), here.house)]})):
        here.seen(words, **more)
    here.seen("good")
    ref = await here.goal("walk")
    here.there.write({**here.there.named("Goal")[0], "addresses": [spelled(how, str(condition), here.house)]})
    await here.pull()
    for item in await here.quarantined():
        await replay(here.house, here.partner, here.operator, item["item"])
    kept = await here.house.store.patient_record(here.names["amina"], ["Observation", "Goal"])
    assert "good" in await here.texts() and ref in [s.ref for s in kept]
    for name in (other, str(condition)):
        assert not [s.ref for s in kept if f'"reference":"{name}'.encode() in (s.body or b"")], name
        assert not [s.ref for s in kept if f'"reference":"{here.house.base_url}/{name}'.encode() in (s.body or b"")]
    assert not await here.house.store.patient_record(other, ["Observation"])


async def test_a_stub_that_somebody_there_posts_with_our_tag_takes_no_link_over(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        ref = await rig.goal("secret")
        await rig.settled()
        before, copy = await rig.link(ref), rig.there.named("Goal")[0]
        rig.there.write(stub(rig.house.r4, "Goal", copies.tags(copy)), rig.now + timedelta(seconds=1))
        rig.now += timedelta(seconds=30)
        await rig.round(2)
        after = await rig.link(ref)
        assert after is not None and before is not None and after.remote_id == before.remote_id
        assert len(await rig.house.store.kept_all(QUARANTINE, rig.now, "hub ")) == 1 and len(rig.there.named("Goal")) == 2
        await rig.no()
        await rig.round(4)
        assert "secret" not in [(g.get("description") or {}).get("text") for g in rig.there.named("Goal")]


# -- another gateway's tag


TWO = "2" * 16


@asynccontextmanager
async def two(here: Any) -> AsyncIterator[tuple[Partner, There, str]]:
    """Another gateway, the hospital's, which has Amina from us: the partner, its server, and what she is called there."""
    with scripted(Habits(gateway=TWO), lambda: here.now) as there:
        terms = Remote("two", here.names["hospital"])
        here.house.remotes = (*here.house.remotes, terms)
        partner = Partner(terms, RemoteServer(there.url, lambda: here.now))
        provision = {"type": "permit", "actor": [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": here.names["hospital"]}}]}
        await here.grant("hospital", provision={"provision": [{**provision, "action": ACTIONS}]})
        await here.grant("surgery")
        await backfill(here.house, partner, lambda: False)
        for _ in range(6):
            await push(here.house, partner, "w2")
        yield partner, there, f"Patient/{there.named('Patient')[0]['id']}"
        await partner.server.close()


async def turns(here: Any, partner: Partner) -> None:
    for _ in range(4):
        here.now += timedelta(seconds=60)
        await pull(here.house, partner)
        await push(here.house, partner, "w2")
        await here.pull()
        await here.push()


@pytest.mark.parametrize("faithful", [pytest.param("then", marks=slow), pytest.param("since", marks=slow), ""])
@pytest.mark.parametrize("first", ["pull", pytest.param("push", marks=slow)])
async def test_another_gateways_tag_joins_nothing_that_this_gateway_never_said(begin: Begin, faithful: str, first: str) -> None:
    """Whoever may write at a hub may put it on whatever they like. A faithful copy is one with its original, also one that was edited since."""
    here = await begin()
    async with two(here) as (partner, there, her):
        words = {"status": "final", "code": {"text": "true record of two"}}
        if first == "push" or faithful:
            true = there.write({"resourceType": "Observation", "id": "real1", **words, "subject": {"reference": her}}, here.now)
        here.seen("true record of two" if faithful else "planted", meta={"tag": [copies.tag(TWO, "real1")]}, **({} if faithful else {"note": [{"text": "hub says so"}]}))
        here.now += timedelta(seconds=60)
        await here.pull()
        if first == "pull" and not faithful:
            true = there.write({"resourceType": "Observation", "id": "real1", **words, "subject": {"reference": her}}, here.now)
        if faithful == "since":
            true = there.write({**true, "code": {"text": "corrected by two"}}, here.now)
        if first == "push":
            await push(here.house, partner, "w2")
        await turns(here, partner)
        now, (ours,) = there.held["Observation/real1"], await here.house.store.patient_record(here.names["amina"], ["Observation"])
        waits = await here.house.store.kept_all(QUARANTINE, here.now, "two ")
        assert "note" not in now and now["code"] == true["code"], "nothing of theirs is written over"
        linked = await here.house.store.link("two", ours.ref)
        if faithful:
            assert linked is not None and not waits and strict.decode(ours.body)["code"] == true["code"]
            return
        assert linked is None and len(waits) == 1 and len(there.named("Observation")) == 1
        await gate.remove(here.me, ours.ref, if_match=ours.version)
        await replay(here.house, partner, here.operator, strict.decode(next(iter(waits.values())))["item"])
        assert await here.texts() == ["true record of two"] and not await here.house.store.kept_all(QUARANTINE, here.now, "two ")


# -- labels


@pytest.mark.parametrize("code", ["NOPAT", pytest.param("TBOO", marks=slow)])
@pytest.mark.parametrize("inside", [False, pytest.param(True, marks=slow)])
async def test_a_partners_label_shuts_nobody_out_from_what_is_theirs(begin: Begin, code: str, inside: bool) -> None:
    """What she wrote stays hers to read, and other labels of theirs are kept. What they wrote themselves they may keep from her."""
    here = await begin()
    ref = await here.goal("walk")
    copy = here.there.named("Goal")[0]
    secret = {"security": [{"system": f"{HL7}/v3-ActCode", "code": code}]}
    closed = {"security": [{"system": f"{HL7}/v3-Confidentiality", "code": "R"}]}
    more = {"contained": [{"resourceType": "Condition", "id": "c", "meta": secret, "subject": copy["subject"]}], "addresses": [{"reference": "#c"}]} if inside else {}
    here.there.write({**copy, "meta": {**copy["meta"], **({} if inside else secret)}, **more}, here.now + timedelta(seconds=1))
    here.seen("theirs", meta=secret)
    here.now += timedelta(seconds=30)
    await here.pull()
    assert len(await here.quarantined()) == 1
    await gate.read(here.me, ref)
    (theirs,) = await here.house.store.patient_record(here.names["amina"], ["Observation"])
    with pytest.raises(Problem):
        await gate.read(here.me, theirs.ref)
    here.there.write({**copy, "meta": {**copy["meta"], **closed}}, here.now + timedelta(seconds=1))
    here.now += timedelta(seconds=30)
    await here.pull()
    stored = await here.house.store.get(ref)
    assert stored.facts.confidentiality == "R" and not await here.quarantined()
    await gate.read(here.me, ref)


async def test_what_names_ever_more_people_beside_our_tag_is_looked_at_no_further_than_it_takes(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal("hers")
        await rig.settled()
        (copy,) = rig.there.named("Goal")
        await rig.no()
        await rig.round(4)
        many = [{"url": "urn:x", "valueReference": {"reference": f"Patient/nobody{n}"}} for n in range(150)]
        rig.there.write({**{k: v for k, v in copy.items() if k != "id"}, "extension": many})
        await rig.round(2)
        before = len(rig.there.asked)
        await rig.grant("surgery", provision={"provision": [{"type": "permit", "actor": [rig.reader()], "action": ACTIONS}]})
        await rig.round(3)
        looked = [a.path for a in rig.there.asked[before:] if a.method == "GET" and a.path.startswith("Patient/nobody")]
        assert len(looked) <= 10 and (await rig.status())["parked"] == 1 and await rig.waiting()
