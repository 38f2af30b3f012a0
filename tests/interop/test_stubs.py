"""A stub at other people's servers: it stands there alone, is never applied here, and the copy takes its place again without a trace of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway.domain.withheld import is_stub, says_more, stub
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite

from ..faults.scripted import There
from ..telling.servers import mail_server
from ..test_believing import Beside
from .peers import hapi, medplum

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module", params=[hapi, medplum], ids=["hapi", "medplum"])
def peer(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    started: AbstractContextManager[str] = request.param()
    with started as url:
        yield request.param.__name__, url


@pytest_asyncio.fixture
async def here(tmp_path: Path, peer: tuple[str, str]) -> AsyncIterator[Beside]:
    with mail_server() as post:
        place = Beside(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        yield await place.begin_on(store, There(), RemoteServer(peer[1], lambda: place.now), recall="stub")
        await place.end()


async def there(here: Beside, url: str, ref: Any) -> dict[str, Any]:
    link = await here.link(ref)
    assert link is not None and not link.gone
    async with httpx2.AsyncClient() as http:
        found = await http.get(f"{url}/{link.remote_id}", headers={"Cache-Control": "no-cache"})
    assert found.status_code == 200, found.text
    return dict(found.json())


async def test_a_stub_stands_there_and_the_copy_takes_its_place_again(here: Beside, peer: tuple[str, str]) -> None:
    _, url = peer
    ref = await here.goal("walk to the clinic")
    await here.settled()
    first = await there(here, url, ref)
    assert first["description"]["text"] == "walk to the clinic"
    consents = [k for k in here.names if k.startswith("consent")]
    for key in consents:
        await here.change(here.me, key, status="inactive")
    await here.settled()
    one = await there(here, url, ref)
    assert one["id"] == first["id"] and is_stub(one) and not says_more(one, stub(here.house.r4, "Goal", [])), one
    assert all(d.recalled for d in await here.house.store.ledger(remote="hub")) and (await here.status())["quiet"]
    for key in consents:
        await here.change(here.me, key, status="active")
    await here.settled()
    back = await there(here, url, ref)
    assert back["description"]["text"] == "walk to the clinic" and not is_stub(back) and "security" not in back["meta"], back
    assert back["id"] == first["id"] and (await here.status())["quiet"]
    stored = await here.house.store.get(ref)
    assert stored is not None and stored.version == 1 and "NODSCLCD" not in str(stored.body)
    assert not await here.waiting() and not await here.house.store.kept_all("conflict", here.now, "hub ")


async def test_what_a_record_of_theirs_holds_up_is_emptied_and_a_yes_puts_it_back(tmp_path: Path, peer: tuple[str, str]) -> None:
    """`recall = "delete"`: HAPI refuses to delete what is referred to, and Medplum does not mind."""
    name, url = peer
    with mail_server() as post:
        here = Beside(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: here.now)
        await here.begin_on(store, There(), RemoteServer(url, lambda: here.now))
        ref = await here.goal("walk to the clinic")
        await here.settled()
        first = await there(here, url, ref)
        theirs = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": first["subject"], "goal": [{"reference": f"Goal/{first['id']}"}]}
        async with httpx2.AsyncClient() as http:
            made = await http.post(f"{url}/CarePlan", json=theirs, headers={"Content-Type": "application/fhir+json"})
            assert made.status_code == 201, made.text
        consents = [k for k in here.names if k.startswith("consent")]
        for key in consents:
            await here.change(here.me, key, status="inactive")
        for _ in range(4):
            await here.round()
        async with httpx2.AsyncClient() as http:
            kept = [await http.get(f"{url}/{link}", headers={"Cache-Control": "no-cache"}) for link in (f"Goal/{first['id']}", first["subject"]["reference"])]
        if name == "hapi":
            assert [k.status_code for k in kept] == [200, 200] and all(is_stub(k.json()) for k in kept)
            assert not any(word in k.text for k in kept for word in ("walk to the clinic", "Amina", '"name"', '"link"', '"birthDate"'))
            assert (await here.status())["parked"] == 2
        else:
            assert [k.status_code for k in kept] == [410, 410] or [k.status_code for k in kept] == [404, 404]
        for key in consents:
            await here.change(here.me, key, status="active")
        await here.settled()
        back = await there(here, url, ref)
        assert back["description"]["text"] == "walk to the clinic" and not is_stub(back) and "security" not in back["meta"], back
        assert (back["id"] == first["id"]) is (name == "hapi") and (await here.status())["parked"] == 0
        await here.end()
