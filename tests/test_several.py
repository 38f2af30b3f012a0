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
from fhir_gateway.domain.types import Actor, Delay, Drop, Keep, Op, Ref
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.push import push

from . import test_believing, test_two_gateways
from .faults.scripted import Habits, There
from .sim.town import Town
from .telling.servers import mail_server
from .test_believing import ACTIONS, Beside
from .test_two_gateways import Both, both_quiet

here, both = test_believing.here, test_two_gateways.both


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


async def value(town: Town, ref: Ref) -> str | None:
    """What this Observation says there; None where it says nothing, or is gone."""
    stored = await town.house.store.get(ref)
    return None if stored is None or stored.body is None else strict.decode(stored.body).get("valueString")


async def written_in_theirs(both: Both, meanwhile: Callable[[], Awaitable[None]] | None = None) -> tuple[Ref, Ref]:
    """An Observation of A's about Amina and Ben, and its copy at B, in which they wrote before Amina said no at A: A took the copy back, and
    what B wrote stays in A's own record. `meanwhile` happens while B looks whether that record is there."""
    about = {"subject": {"reference": both.a.names["amina"]}, "focus": [{"reference": both.a.names["ben"]}]}
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "fed"}, **about}
    began = (await gate.create(both.a.hospital, "Observation", strict.dump(body))).ref
    await both.rounds()
    copy = await both.there(both.a, began)
    stored = await both.b.house.store.get(copy)
    assert stored is not None and stored.body is not None and stored.facts.patients == (both.b.names["amina"], both.b.names["ben"])
    written = {**strict.decode(stored.body), "valueString": "by spoon"}
    await gate.update(both.b.hospital, copy, strict.dump(written), if_match=stored.version)
    await both.rounds()
    await both.a.consents("amina", "home", "deny", cls="Observation")
    if meanwhile is not None:
        both.meanwhile.append((f"GET http://a.test/fhir/{began}", meanwhile))
        await both.rounds()
        return began, copy
    await both.rounds()
    assert await both.deleted(both.b, copy) and await value(both.a, began) == "by spoon"
    return began, copy


async def test_a_no_of_the_second_takes_back_what_was_written_in_their_record_of_which_the_copy_here_is_gone(both: Both) -> None:
    began, copy = await written_in_theirs(both)
    await both.b.consents("ben", "home", "deny", cls="Observation")
    await both.rounds()
    assert await value(both.a, began) is None and not await both.deleted(both.a, began), "what they wrote at B is out of it, and the rest is A's own"
    assert not [d for d in await both.b.house.store.ledger(remote="a", ref=copy) if d.recalled is None]
    await both_quiet(both)
    await both.b.consents("ben", "hospital", "deny")
    await both.rounds()
    assert not await both.b.house.store.kept_all("left-there", both.clock.now()), "nothing of it is there any more, so nobody needs to know"


async def test_a_no_of_the_second_is_not_missed_while_it_is_decided_whether_that_stays(both: Both) -> None:
    deleted = []

    async def says_no() -> None:
        (link,) = [k for k in await both.b.house.store.links("a") if k.ref.type == "Observation"]
        deleted.append(await both.deleted(both.b, link.ref))
        await both.b.consents("ben", "home", "deny", cls="Observation")
        await push(both.b.house, both.partners["b"], "another worker")  # it looks at what is about Ben, and finds what it finds

    began, copy = await written_in_theirs(both, says_no)
    await both.rounds()
    assert deleted == [True] and await both.deleted(both.b, copy)
    assert await value(both.a, began) is None
    await both_quiet(both)


async def test_so_does_a_no_of_the_second_that_begins_later(both: Both) -> None:
    began, _ = await written_in_theirs(both)
    later = (both.clock.now() + timedelta(days=3)).isoformat()
    await both.b.consents("ben", "home", "deny", cls="Observation", since=later)
    await both.rounds()
    assert await value(both.a, began) == "by spoon"
    both.clock.at += timedelta(days=4)
    await both.rounds()
    assert await value(both.a, began) is None
    await both_quiet(both)


async def test_and_so_it_is_with_what_an_earlier_version_left_there(both: Both) -> None:
    began, copy = await written_in_theirs(both)
    store, partner = both.b.house.store, both.partners["b"]
    (mark,) = [strict.decode(v) for v in (await store.kept_all("turned", both.clock.now())).values()]
    del mark["left"]  # as it was written then; and nobody was written down
    await store.commit(Drop("left-there", f"a {both.b.names['ben']} {copy}"), Keep("turned", partner.name, strict.dump(mark)))
    await both.b.consents("ben", "home", "deny", cls="Observation")
    await push(both.b.house, partner, "w")
    assert await value(both.a, began) == "by spoon"
    both.partners["b"] = both.partner(both.b)  # a worker of this version starts
    await both.rounds()
    assert await value(both.a, began) is None
    await both_quiet(both)



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
