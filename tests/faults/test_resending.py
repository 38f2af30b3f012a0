"""`sync resend` where stubs were agreed on, and to another gateway: what they lost is there once again, and nothing else is. docs/sync.md"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fhir_gateway import gate
from fhir_gateway.domain.types import Actor
from fhir_gateway.domain.withheld import is_stub
from fhir_gateway.gate import Context
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import resending, worker
from fhir_gateway.sync.partner import Partner

from ..sim.lines import of_gateway
from ..sim.town import Clock, Town
from ..test_believing import ACTIONS
from ..test_pulling import slow
from ..test_two_gateways import Both, both_quiet, line, words
from .rig import Rig, rigged
from .test_missing import lost

WHY = "their disk broke"


def said(rig: Rig) -> list[str]:
    """What the goals there say, "" for a stub."""
    return sorted("" if is_stub(g) else g["description"]["text"] for g in rig.there.named("Goal"))


@slow
async def test_a_stub_that_they_lost_is_not_made_again_and_what_it_stood_for_goes_after_a_yes(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rig.partner.terms = replace(rig.partner.terms, recall="stub")
        first = rig.names["amina"]
        for n in range(3):
            await rig.goal(f"hers {n}")
        await rig.settled()
        await rig.no()
        await rig.round(4)
        assert said(rig) == [""] * 3
        await rig.another()
        for n in range(12):
            await rig.goal(f"other {n}")
        await rig.settled()
        others = sorted(f"other {n}" for n in range(12))
        assert said(rig) == [""] * 3 + others
        await lost(rig)
        assert (await resending.resend(rig.house, rig.partner, rig.operator, WHY)).done
        await rig.round(6)
        assert said(rig) == others, "nothing of hers, not even that there was something"
        status = await rig.status()
        assert status["quiet"] and not status["lost"] and status["parked"] == 0
        rig.names["amina"] = first
        await rig.grant("surgery", provision={"provision": [{"type": "permit", "actor": [rig.reader()], "action": ACTIONS}]})
        await rig.round(6)
        assert said(rig) == sorted([f"hers {n}" for n in range(3)] + others) and (await rig.status())["quiet"]


def operator(town: Town) -> Context:
    return gate.house_context(town.house, Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))


async def two(folder: Path) -> Both:
    clock = Clock()
    return await Both(Town(clock, "a"), Town(clock, "b"), clock).begin(folder)  # type: ignore[arg-type]


async def copied(both: Both, folder: Path) -> bytes:
    """B's file as it is now; B goes on from it."""
    await both.b.house.store.close()
    copy = (folder / "b.sqlite").read_bytes()
    await restored(both, folder, copy)
    return copy


async def restored(both: Both, folder: Path, copy: bytes) -> None:
    """B goes on from this copy of its file; what was written since is lost."""
    await both.b.house.store.close()
    for one in folder.glob("b.sqlite*"):
        one.unlink()
    (folder / "b.sqlite").write_bytes(copy)
    both.b.house = replace(both.b.house, store=await sqlite.open(folder / "b.sqlite", clock=both.clock.now))
    for town, other in ((both.a, both.b), (both.b, both.a)):
        await both.partners[town.name].server.close()
        server = RemoteServer(f"http://{other.name}.test/fhir", both.clock.now, "Bearer x", line(of_gateway(other.app(town.name)), both.asked, both.lost, both.busy, both.meanwhile, both.offers_not))
        both.partners[town.name] = Partner(town.terms[0], server)


async def goals(town: Town) -> list[str]:
    """What her goals there say, as often as they are there."""
    found = await town.house.store.patient_record(town.names["amina"], ["Goal"])
    return sorted([await words(town, s.ref) for s in found if not s.deleted])


async def test_a_gateway_that_was_put_back_to_before_has_once_again_what_it_lost_and_nothing_that_may_not_be_there(tmp_path: Path) -> None:
    both = await two(tmp_path)
    await both.rounds()
    copy = await copied(both, tmp_path)
    kept, secret = await both.goal(both.a), await both.goal(both.a)
    await both.rounds()
    assert await goals(both.b) == ["walk", "walk"]
    await restored(both, tmp_path, copy)
    assert await goals(both.b) == []
    await gate.remove(both.a.hospital, secret, if_match=1)
    did = await resending.resend(both.a.house, both.partners["a"], operator(both.a), WHY)
    assert did.done and did.queued == 2, "what is deleted here is looked at, too"
    await both.rounds(4)
    assert await goals(both.b) == ["walk"] == await goals(both.a)
    assert await words(both.b, await both.there(both.a, kept)) == "walk"
    await both_quiet(both)
    no = await both.a.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await goals(both.b) == [] and await goals(both.a) == ["walk"]
    await both.yes(no)
    await both.rounds()
    assert await goals(both.b) == ["walk"] == await goals(both.a)
    await both_quiet(both)
    await both.end()


@slow
async def test_what_a_gateway_only_keeps_from_us_is_not_made_a_second_time_there(tmp_path: Path) -> None:
    both = await two(tmp_path)
    await both.rounds()
    ours, theirs = await both.goal(both.a), await both.goal(both.b)
    await both.rounds()
    no = await both.b.consents("amina", "home", "deny", cls="Goal")
    await both.rounds()
    assert await goals(both.b) == ["walk", "walk"] and await goals(both.a) == ["walk"], "B took its own back, and keeps A's copy"
    assert (await resending.resend(both.a.house, both.partners["a"], operator(both.a), WHY)).done
    await both.rounds(4)
    assert await goals(both.b) == ["walk", "walk"] and await goals(both.a) == ["walk"]
    await both.yes(no, both.b)
    for _ in range(2):
        both.partners["a"].stirred = True
        await both.rounds(4)
    assert await goals(both.b) == ["walk", "walk"] == await goals(both.a)
    assert await words(both.b, await both.there(both.a, ours)) == "walk" == await words(both.a, await both.there(both.b, theirs))
    status = await worker.status(both.a.house, both.partners["a"])
    assert (status["quiet"], status["parked"], status["conflicts"]) == (True, 0, 0), status
    await both.end()


