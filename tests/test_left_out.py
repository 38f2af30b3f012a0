"""A partner that is left out of the settings of whoever writes: what is said and written meanwhile is done once a worker has them again. docs/sync.md"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from fhir_gateway import gate
from fhir_gateway.commands import saying, syncing
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Drop, Keep
from fhir_gateway.gate import waiting_room
from fhir_gateway.gate.addressed import addressed
from fhir_gateway.sync import backfill, turning, worker
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.tally import Tally

from . import test_believing
from .test_believing import Beside

here = test_believing.here


async def no(here: Beside) -> None:
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")


async def back(here: Beside) -> Tally:
    """A process that has the settings, as it starts."""
    terms = here.partner.terms
    here.house.remotes, here.partner = (terms,), Partner(terms, here.partner.server)
    return await worker.once(here.house, here.partner)


async def begun(here: Beside, *others: str) -> None:
    """A goal is there, and `others`; from now on whoever writes leaves the partner out."""
    await here.goal()
    await worker.once(here.house, here.partner)
    assert here.texts() == sorted(["walk", *others]) and (await here.status())["in_step"]
    here.house.remotes = ()


async def test_a_no_said_meanwhile_is_carried_out(here: Beside) -> None:
    await begun(here)
    await no(here)
    (waits,) = await waiting_room.not_configured(here.operator)
    assert waits["remote"] == "hub" and waits["queued"] > 0 and "hub is in the settings no more" in saying.not_configured(waits)
    here.house.remotes = (here.partner.terms,)
    status = await here.status()
    assert not status["quiet"] and not status["in_step"] and status["recalls_open"] == 2, "she and her goal"
    assert (await back(here)).recalled == 2
    assert here.there.named("Goal") == here.there.named("Patient") == [] and (await here.status())["in_step"]
    assert {g.state for g in await gate.given(here.me)} == {"back"}


async def test_a_no_said_where_it_is_left_out_is_found_by_a_worker_that_runs_beside(here: Beside) -> None:
    """It started before, and its directory, agreement and types are as they were."""
    await begun(here)
    await no(here)
    here.house.remotes = (here.partner.terms,)
    assert (await worker.once(here.house, here.partner)).recalled == 2 and here.there.named("Goal") == []


async def test_what_was_written_changed_and_deleted_meanwhile_goes(here: Beside) -> None:
    gone = await here.goal("stand")
    await begun(here, "stand")
    await here.goal("meanwhile")
    await here.change(here.me, "walk", description={"text": "walked"})
    await gate.remove(here.me, gone, if_match=1)
    await back(here)
    assert here.texts() == ["meanwhile", "walked"] and (await here.status())["in_step"]


async def test_a_yes_said_meanwhile_lets_go_what_was_held_back(here: Beside) -> None:
    await no(here)
    await here.goal()
    assert (await worker.once(here.house, here.partner)).sent == 0
    here.house.remotes = ()
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="active")
    await back(here)
    assert here.texts() == ["walk"]


async def test_of_a_partner_that_is_left_out_the_types_of_its_agreement_alone_are_queued(here: Beside) -> None:
    assert [r.name for r in await addressed(here.house, here.now)] == ["hub"]
    here.house.remotes = ()
    await here.house.store.commit(
        Keep("backfill", "few", msgspec.json.encode(backfill.Mark(["Patient"], ["Patient"]))), Keep("backfill", "in", msgspec.json.encode(backfill.Mark([], []))),
        Keep("backfill", "old", b'"done"'),
    )  # fmt: skip
    assert {r.name: (r.takes("Patient"), r.takes("Goal"), r.takes("Consent")) for r in await addressed(here.house, here.now)} == {
        "few": (True, False, False), "hub": (True, True, False), "in": (False, False, False), "old": (True, True, False),
    }  # fmt: skip


async def unsaid(here: Beside) -> None:
    """A no and an edit of which nothing is queued: as by an earlier version, which did not know whom it left out."""
    here.house.remotes = ()
    kept = await here.house.store.kept("backfill", "hub", here.now) or b""
    await here.house.store.commit(Drop("backfill", "hub"))
    await no(here)
    await here.change(here.me, "walk", description={"text": "walked"})
    await here.house.store.commit(Keep("backfill", "hub", kept))
    assert not await here.house.store.outbox_items("hub", "queued")


async def test_what_an_earlier_version_queued_for_nobody_is_looked_at_once(here: Beside) -> None:
    await begun(here)
    await unsaid(here)
    kept = strict.decode(await here.house.store.kept("turned", "hub", here.now) or b"")
    await here.house.store.commit(Keep("turned", "hub", strict.dump({k: v for k, v in kept.items() if k != "known"})))
    assert (await back(here)).recalled == 2 and here.there.named("Goal") == []
    assert strict.decode(await here.house.store.kept("turned", "hub", here.now) or b"")["known"]
    assert not (await worker.once(here.house, here.partner)).anything


async def test_who_began_to_write_when_nobody_knew_it_is_looked_at_a_minute_later(here: Beside) -> None:
    await begun(here)
    await unsaid(here)
    here.now += turning.KNOWN - timedelta(seconds=1)
    assert (await back(here)).recalled == 0
    here.now += timedelta(seconds=1)
    assert (await worker.once(here.house, here.partner)).recalled == 2


async def test_a_sweep_looks_at_everybody_and_everything_here_anew(here: Beside) -> None:
    await begun(here)
    here.now += turning.KNOWN
    await back(here)
    await unsaid(here)
    assert not (await back(here)).anything, "nothing says that there is anything to do"
    await worker.swept(here.house, here.partner)
    assert [r.name for r in await addressed(here.house, here.now)] == ["hub"]
    assert (await back(here)).recalled == 2 and here.there.named("Goal") == []
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="active")
    await back(here)
    assert here.texts() == ["walked"]


async def test_status_of_whoever_leaves_it_out_says_that_it_is_not_in_step(
    here: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    await begun(here)
    await no(here)
    monkeypatch.setenv("GATEWAY_STORE", f"sqlite:{tmp_path / 'store.sqlite'}")
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    await here.house.store.close()
    assert await syncing.status(False) == await syncing.status(True) == 0
    text, said = capfdbinary.readouterr().out.splitlines()
    assert text.startswith(b"hub: not in step; hub is in the settings no more: ") and b"wait to go there" in text
    assert {k: strict.decode(said)[k] for k in ("remote", "configured", "quiet", "in_step")} == {"remote": "hub", "configured": False, "quiet": False, "in_step": False}
