"""The address of a partner is changed in the settings: what is known by its name is asked of no other server, until an operator says what it is."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_gateway.commands import saying
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Drop
from fhir_gateway.remote.client import Elsewhere, RemoteServer
from fhir_gateway.remote.origin import canonical
from fhir_gateway.sync import moving, sweeping, worker
from fhir_gateway.sync.partner import Partner

from .faults import invariants
from .faults.scripted import Body, There
from .stores.test_attempts import Hub
from .telling.servers import mail_server
from .test_believing import Beside
from .web.test_operator import operator, partnered


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Beside]:
    there = There()
    with mail_server() as post:
        here = Beside(post)
        there.clock = lambda: here.now
        await here.begin(tmp_path / "store.sqlite", there)
        yield here
        await here.end()


BOB: list[Body] = [
    {"resourceType": "Patient", "id": "t1", "name": [{"family": "Bobson"}], "birthDate": "1950-01-01"},
    {"resourceType": "Goal", "id": "t2", "lifecycleStatus": "active", "description": {"text": "Bob's"}, "subject": {"reference": "Patient/t1"}},
]


def another(here: Beside, url: str = "http://another.test/fhir") -> There:
    """A server that counts, too, and has given the same ids to somebody else's."""
    there = There(clock=lambda: here.now)
    there.url = url
    for body in BOB:
        there.write(body)
    return there


def at(here: Beside, there: There, url: str = "") -> Partner:
    """The partner as a process has it whose settings say this address."""
    return Partner(here.partner.terms, RemoteServer(url or there.url, lambda: here.now, transport=there.transport()))


async def left(here: Beside) -> list[bool]:
    """Of what went there, in the ledger: is it taken back."""
    return [row.recalled is not None for row in await here.house.store.ledger(remote="hub")]


async def no(here: Beside) -> None:
    for name in [n for n in here.names if n.startswith("consent")]:
        await here.change(here.me, name, status="inactive")


def test_how_an_address_is_spelled_is_no_change() -> None:
    for same in ("https://Hub.example/fhir/", "HTTPS://hub.example:443/fhir", "https://hub.example./fhir"):
        assert canonical(same) == "https://hub.example/fhir"
    others = ("http://hub.example/fhir", "https://hub.example:8443/fhir", "https://hub.example/FHIR", "https://hub.example/fhir/R4", "https://[::1]:8443/fhir")
    assert len({canonical(url) for url in ("https://hub.example/fhir", *others)}) == 6


async def test_at_another_address_nothing_is_asked_sent_deleted_or_called_taken_back(here: Beside) -> None:
    """Not by any of the ways in which a partner is gone to; the old server keeps what it has, and at its old address all of it is taken back."""
    await here.goal("walk")
    await here.round(2)
    old, new = here.partner, another(here)
    assert len(here.there.named("Goal")) == 1
    here.partner = at(here, new)
    await here.goal("swim")
    await no(here)
    stops = await here.round(3)
    for way in (worker.once(here.house, here.partner), sweeping.sweep(here.house, here.partner)):
        with pytest.raises(Elsewhere):
            await way
    assert new.asked == [] and len(stops) == 6
    assert len(here.there.named("Goal")) == 1 and not any(await left(here))
    status = await here.status()
    assert (status["state"], status["first_at"], status["failures"], status["in_step"]) == ("moved", here.there.url, 0, False) and status["recalls_open"] > 0
    text = "\n".join(saying.lines(status))
    assert here.there.url in text and "`fhir-gateway sync moved hub --reason TEXT`" in text and "put the old address back" in text
    here.partner = old
    await here.round(3)
    assert here.there.named("Goal") == [] and all(await left(here)) and len(await left(here)) > 0
    assert [r["id"] for r in new.named("Goal")] == ["t2"]


async def test_a_store_of_before_keeps_the_address_it_starts_with_and_another_process_stands_still(here: Beside) -> None:
    await here.goal("walk")
    await here.round(2)
    await here.house.store.commit(Drop("remote-state", "hub address"))
    beside, stranger = at(here, here.there, here.there.url.replace("http://there", "HTTP://THERE") + "/"), at(here, another(here))
    await worker.stand(here.house, beside)
    for partner, stands in ((here.partner, True), (stranger, False), (beside, True)):
        if stands:
            await worker.once(here.house, partner)
        else:
            with pytest.raises(Elsewhere):
                await worker.once(here.house, partner)


async def test_the_same_server_at_a_new_address_is_gone_on_with_and_another_one_is_not(here: Beside) -> None:
    """Somebody says so, and it is looked at: at the new address the old one's no is carried out, and the trail has who said that and why."""
    await here.goal("walk")
    await here.round(2)
    await no(here)
    old, stranger = here.there.url, another(here)
    here.partner = at(here, stranger)
    with pytest.raises(Problem, match="not the same server"):
        await moving.moved(here.house, here.partner, here.operator, "the council moved it")
    assert {asked.method for asked in stranger.asked} == {"GET"} and (await here.status())["state"] == "moved"
    here.there.url = "https://new.test/fhir"
    here.partner = at(here, here.there)
    with pytest.raises(Problem, match="reason"):
        await moving.moved(here.house, here.partner, here.operator, " ")
    found = await moving.moved(here.house, here.partner, here.operator, "the council moved it")
    assert (found.first, found.now, found.missing) == (old, "https://new.test/fhir", 0) and found.looked == found.same > 0
    await here.round(3)
    assert here.there.named("Goal") == [] and all(await left(here))
    assert any(old in n.detail and "the council moved it" in n.detail for n in await invariants.notes(here.house.store))
    with pytest.raises(Elsewhere):
        await worker.once(here.house, at(here, here.there, old))


@pytest.mark.slow
def test_an_operator_at_night_is_told_what_to_do_and_does_it(tmp_path: Path) -> None:
    """The commands with other settings, and a gateway that still runs with the old ones."""
    stranger = Hub()
    threading.Thread(target=stranger.server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with partnered(tmp_path) as (g, there):
            new, wrong = ({"GATEWAY_REMOTE_URL": url} for url in (there.url.replace("127.0.0.1", "localhost"), stranger.url))
            for way in ("--once", "--dry-run"):
                done = g.command("sync", "run", way, env=wrong)
                assert done.returncode == 1 and "sync moved remote --reason TEXT" in done.stderr and there.url in done.stderr, (way, done)
            done = g.command("sync", "status", env=wrong)
            assert done.returncode == 0 and "stands still" in done.stdout and there.url in done.stdout
            assert stranger.keys == set(), "not asked at all"
            done = g.command("sync", "moved", "remote", "--reason", "a new name", "--yes", env=wrong)
            assert done.returncode != 0 and "not the same server" in done.stderr
            done = g.command("sync", "moved", "remote", "--reason", "a new name", "--yes", "--json", env=new)
            assert done.returncode == 0 and json.loads(done.stdout)["now"] == new["GATEWAY_REMOTE_URL"], done
            assert "sync moved" not in g.command("sync", "run", "--once", env=new).stderr
            assert "sync moved" in g.command("sync", "run", "--once").stderr
            olu = operator(g)
            olu.get("/operator")
            assert "Its address was changed in the settings." in olu.words() and f"Address that we know {new['GATEWAY_REMOTE_URL']}" in olu.words()
    finally:
        stranger.server.shutdown()
