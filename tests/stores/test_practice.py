"""Which practice somebody at risk is with is not to be found out by a search either, when somebody begins to work there after all was written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import HANDLING_SYSTEM, LOCATION_PROTECTED
from fhir_gateway.gate.context import directory_now
from fhir_gateway.store import mongo, sqlite

from ..telling.place import Place
from .conftest import ENGINES


@pytest_asyncio.fixture(params=ENGINES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Amina is at risk and with the surgery; the hospital, where Bo works, may see her record."""
    here = Place(SimpleNamespace(port=1))  # type: ignore[arg-type]
    store: Any
    if request.param == "mongo":
        store = await mongo.open(request.getfixturevalue("database"), clock=lambda: here.now)
    else:
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: here.now)
    await here.open(store)
    await here.change(here.hospital, "amina", generalPractitioner=[{"reference": here.names["surgery"]}])
    await here.change(here.me, "amina", meta={"security": [{"system": HANDLING_SYSTEM, "code": LOCATION_PROTECTED}]})
    await here.grant("hospital")
    for key in ("bo", "new"):
        await here.add(key, {"resourceType": "Practitioner", "active": True, "name": [{"family": key}]})
    await here.add("bo-role", here.role("bo", "hospital"))
    yield here
    await store.close()


async def test_whoever_joins_the_practice_is_found_no_more_by_who_does_not_know_it(place: Place) -> None:
    about, by = {"reference": place.names["amina"]}, {"reference": place.names["new"]}
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, "subject": about, "performer": [by]}
    seen = str((await gate.create(place.me, "Observation", strict.dump(body))).ref)

    async def finds(who: str) -> tuple[int, bool]:
        """(how many a search by whoever did it finds, does a read name them)."""
        directory, _ = await directory_now(place.house)
        ctx = gate.house_context(place.house, directory.actor(place.names[who], kind="professional", at=place.now, clinician=True))
        found = await gate.search(ctx, "Observation", [("performer", place.names["new"])])
        return len(found.entries), place.names["new"] in (await gate.read(ctx, Ref(*seen.split("/")))).body.decode()

    assert await finds("bo") == (1, True)
    await place.add("new-role", place.role("new", "surgery"))
    assert await finds("bo") == (0, False)
    await place.change(place.operator, "new-role", active=False)
    assert await finds("bo") == (1, True)
    await place.change(place.operator, "new-role", active=True)
    assert await finds("bo") == (0, False)
    me = await gate.search(place.me, "Observation", [("performer", place.names["new"])])
    assert len(me.entries) == 1, "the person finds it"
