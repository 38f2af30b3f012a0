"""What is about two people, such as what the hospital sees of an infant and writes of their mother, too: each of them has a say in whether it
goes, whoever of them it stands under in the ledger and the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.types import Actor, Delay, Op, Ref
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.push import push

from . import test_believing
from .faults.scripted import Habits, There
from .telling.servers import mail_server
from .test_believing import ACTIONS, Beside

here = test_believing.here


async def mother(here: Beside, **period: str) -> gate.Context:
    """She, who lets the surgery have hers (`mother's yes`); `period`: of that yes."""
    infant = here.names["amina"]
    body = {"resourceType": "Patient", "name": [{"family": "Mother"}]}
    mother = here.names["amina"] = here.names["mother"] = str((await gate.create(here.hospital, "Patient", strict.dump(body))).ref)
    permit = {"type": "permit", "actor": [here.reader()], "action": ACTIONS, **({"period": period} if period else {})}
    here.names["mother's yes"] = here.names[await here.grant("surgery", provision={"provision": [permit]})]
    here.names["amina"] = infant
    return gate.house_context(here.house, Actor("patient", frozenset({mother}), mother, "Mother", patient=mother))


async def observed(here: Beside, subject: str = "amina", focus: str = "mother", text: str = "fed") -> Ref:
    about: dict[str, Any] = {"subject": {"reference": here.names[subject]}, "focus": [{"reference": here.names[focus]}]}
    body = {"resourceType": "Observation", "status": "final", "code": {"text": text}, **about}
    here.names[text] = str((await gate.create(here.hospital, "Observation", strict.dump(body))).ref)
    return Ref(*here.names[text].split("/"))


def seen(here: Beside) -> list[str]:
    """What is there, by its texts."""
    return sorted(o["code"]["text"] for o in here.there.named("Observation"))


async def test_a_no_of_the_second_takes_it_back_and_her_yes_sends_it_again(here: Beside) -> None:
    she = await mother(here)
    ref = await observed(here)
    await observed(here, "mother", "amina", "slept")  # either of them is first once: neither review calls for the other's again and again
    await here.settled()
    assert seen(here) == ["fed", "slept"]
    await here.change(she, "mother's yes", status="inactive")
    await here.settled()
    assert seen(here) == [], "she said no, and it is still there"
    assert all(row.recalled is not None for row in await here.house.store.ledger(remote="hub", ref=ref))
    assert len(here.there.named("Patient")) == 1, "the infant's own record stays"
    await here.change(she, "mother's yes", status="active")
    await here.settled()
    assert seen(here) == ["fed", "slept"]
    status = await here.status()
    assert status["quiet"] and status["recalls_open"] == 0


async def test_her_yes_sends_what_waited_for_it(here: Beside) -> None:
    she = await mother(here)
    await here.change(she, "mother's yes", status="inactive")
    await observed(here)
    await here.settled()
    assert seen(here) == []
    await here.change(she, "mother's yes", status="active")
    await here.settled()
    assert seen(here) == ["fed"]


@pytest.mark.parametrize("known", [pytest.param(True, id="sent before a start"), pytest.param(False, id="sent since")])
async def test_the_end_of_her_yes_takes_it_back(here: Beside, known: bool) -> None:
    terms = replace(here.partner.terms, types=frozenset({"Observation"}))  # her own record does not go: nothing stands under her
    here.house.remotes, here.partner = (terms,), Partner(terms, here.partner.server)
    await mother(here, end=(here.now + timedelta(days=2)).isoformat())
    if known:
        await observed(here)
    await worker.once(here.house, here.partner)
    here.partner = Partner(terms, here.partner.server)  # it starts again, and knows what it looks for in the store
    await worker.once(here.house, here.partner)
    if not known:
        await observed(here)
    for _ in range(3):
        await worker.once(here.house, here.partner)
    assert seen(here) == ["fed"]
    here.now += timedelta(days=3)
    for _ in range(3):
        await worker.once(here.house, here.partner)
        here.now += timedelta(minutes=2)
    assert seen(here) == []


@pytest.mark.parametrize("known", [pytest.param(False, id="made there"), pytest.param(True, id="there before")])
async def test_what_went_while_her_own_record_was_held_back_names_her_when_that_may_go(here: Beside, known: bool) -> None:
    she = await mother(here)
    if known:
        number = [{"system": NHS_NUMBER, "value": "9434765919"}]
        await here.change(she, "mother", identifier=number, birthDate="1990-01-01")
        here.there.write({"resourceType": "Patient", "identifier": number, "birthDate": "1990-01-01", "name": [{"family": "Mother"}]})
    infant, here.names["amina"] = here.names["amina"], here.names["mother"]
    kind = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Patient"}]}
    no = await here.grant("surgery", provision={"provision": [{"type": "deny", "actor": [here.reader()], **kind}]})
    here.names["amina"] = infant
    await observed(here)  # stands under the infant
    await observed(here, "mother", "mother", "slept")
    await here.settled()
    held_back = [o["focus"][0] for o in here.there.named("Observation")]
    assert len(held_back) == 2 and not any("reference" in f for f in held_back)
    await here.change(she, no, status="inactive")
    await here.settled()
    (her,) = [p["id"] for p in here.there.named("Patient") if p["name"] == [{"family": "Mother"}]]
    named = {o["code"]["text"]: (o["subject"]["reference"], o["focus"]) for o in here.there.named("Observation")}
    assert named["fed"][1] == [{"reference": f"Patient/{her}"}] and named["slept"] == (f"Patient/{her}", [{"reference": f"Patient/{her}"}])
    assert (await here.status())["quiet"]


class Crossing(httpx2.AsyncBaseTransport):
    """The store, and the line to a server: once `meant`, whoever looks for a person there waits until another looks, too, and what makes one
    there arrives only when another makes one, or a worker has put off what it was about to send. `meanwhile` happens when one is looked for."""

    def __init__(self, there: There, store: Any) -> None:
        self.there, self.store, self.meant = there.transport(), store, False
        self.looked, self.made = 0, 0
        self.both_looked, self.settled = asyncio.Event(), asyncio.Event()
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Op) -> None:
        await self.store.commit(*ops)
        if any(isinstance(op, Delay) for op in ops):
            self.settled.set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        asked = f"{request.url} {(await request.aread()).decode()}"
        looks = "/Patient" in request.url.path and "_tag" in asked
        if looks and self.meanwhile is not None:
            then, self.meanwhile = self.meanwhile, None
            await then()
        if self.meant and request.url.path.endswith("/Patient") and request.method == "POST":
            self.made += 1
            if self.made == 2:
                self.settled.set()
            await self.settled.wait()
        elif self.meant and looks and not self.both_looked.is_set():
            self.looked += 1
            if self.looked == 2:
                self.settled.clear()
                self.both_looked.set()
            await self.both_looked.wait()
        return await self.there.handle_async_request(request)


@pytest_asyncio.fixture
async def crossed(tmp_path: Path) -> AsyncIterator[tuple[Beside, Crossing]]:
    """A server that keeps each of two copies that it is sent."""
    there = There(Habits(conditional_create=False))
    with mail_server() as post:
        here = Beside(post)
        line = Crossing(there, await sqlite.open(tmp_path / "store.sqlite", clock=lambda: here.now))
        await here.begin_on(line, there, RemoteServer(there.url, lambda: here.now, transport=line))
        yield here, line
        await here.end()


async def test_what_both_of_two_people_wait_for_is_made_there_once(crossed: tuple[Beside, Crossing]) -> None:
    here, line = crossed
    await mother(here)
    await observed(here)  # stands under the infant, and takes the mother's own record with it, which goes by itself at this moment
    line.meant = True
    async with asyncio.timeout(30):
        await push(here.house, here.partner, "w")
    assert line.looked == 2, "both looked before either was made"
    line.meant = False
    await here.settled()
    assert seen(here) == ["fed"] and (await here.status())["quiet"]
    assert len(here.there.ever("Patient")) == 2, "the infant and the mother, each once"


async def test_who_changes_while_their_own_record_is_sent_ahead_is_named_in_what_is_about_them(crossed: tuple[Beside, Crossing]) -> None:
    here, line = crossed
    she = await mother(here)
    await observed(here)

    async def meanwhile() -> None:
        await here.change(she, "mother", birthDate="1990-01-01")

    line.meanwhile = meanwhile
    await here.settled()
    (observation,) = here.there.named("Observation")
    (there,) = [p for p in here.there.named("Patient") if p.get("birthDate") == "1990-01-01"]
    assert observation["focus"] == [{"reference": f"Patient/{there['id']}"}] and (await here.status())["quiet"]
