"""One gateway of the simulation: its people, its store, and its processes, which die."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fhir_gateway import definitions, gate
from fhir_gateway.auth.tokens import Caller
from fhir_gateway.domain import strict
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.types import Op, Ref, Send
from fhir_gateway.domain.vocabulary import HL7, SECTOR_SYSTEM
from fhir_gateway.gate import House, Remote
from fhir_gateway.store.sqlite import SqliteStore
from fhir_gateway.web.app import Web
from fhir_gateway.web.fhir import endpoint

from ..telling.place import Place

if TYPE_CHECKING:
    from .story import Story

R4 = definitions.load_r4()
LABELS = LabelSets.load(definitions.load("labels.json"))
RECIPIENT = {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}
ACTIONS = [{"coding": [{"system": f"{HL7}/consentaction", "code": c}]} for c in ("access", "disclose", "collect", "correct")]
SHARED = frozenset({"Patient", "Goal", "Observation", "CarePlan", "Condition"})  # with another gateway
PEOPLE = {"amina": ("9434765919", "1951-04-07"), "ben": ("9000000009", "1940-02-03")}
TYPES = "http://hl7.org/fhir/resource-types"
Body = dict[str, Any]


class Process:
    """Everything in it ends at once when it dies, and nothing of it reaches the store or a partner afterwards."""

    def __init__(self, story: Story, name: str) -> None:
        self.story, self.name, self.dead = story, name, False
        self.tasks: list[asyncio.Task[Any]] = []
        self.commits_left = -1  # until it dies, at a commit; -1: it does not
        self.before = True

    def alive(self) -> None:
        if self.dead:
            raise asyncio.CancelledError

    def die(self) -> None:
        self.dead = True
        for task in self.tasks:
            task.cancel()

    async def turn(self) -> None:
        """Somebody else may go first."""
        self.alive()
        await asyncio.sleep(self.story.random.random() * 0.02)
        self.alive()


class Bell:
    """Rung when there is something to send."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    def ring(self) -> None:
        self.rung.set()
        self.rung = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.rung.wait(), seconds)


class Seat:
    """A process's view of the store: others may go before each of its commits, and it may die before or after one."""

    def __init__(self, store: SqliteStore, process: Process, bell: Bell) -> None:
        self.store, self.process, self.bell = store, process, bell

    def __getattr__(self, name: str) -> Any:
        self.process.alive()
        return getattr(self.store, name)

    async def commit(self, *ops: Op) -> None:
        p = self.process
        await p.turn()
        p.commits_left -= p.commits_left > 0
        dies = p.commits_left == 0
        if dies and p.before:
            self._dies("before", ops)
        await self.store.commit(*ops)
        if any(isinstance(op, Send) for op in ops):
            self.bell.ring()
        if dies:
            self._dies("after", ops)

    def _dies(self, when: str, ops: tuple[Op, ...]) -> None:
        self.process.story.say(f"{self.process.name} dies {when} a commit of {', '.join(sorted({type(op).__name__ for op in ops}))}")
        self.process.die()
        raise asyncio.CancelledError

    async def lease(self, *args: Any) -> Any:
        await self.process.turn()
        return await self.store.lease(*args)


class Town(Place):
    """A gateway, with Amina and Ben, a hospital, a surgery, and another gateway's home."""

    def __init__(self, story: Story, name: str, names: dict[str, str] | None = None, first: int = 1) -> None:
        self.story, self.name = story, name
        self.names = dict(names or {})
        self.numbers = itertools.count(first)
        self.bell = Bell()
        self.web = Process(story, f"{name}-web")
        self.terms: tuple[Remote, ...] = ()

    @property
    def now(self) -> datetime:  # type: ignore[override]
        return self.story.now()

    def new_id(self) -> str:
        return f"01a20e05-000{self.name}-7000-8000-{next(self.numbers):012d}"

    def house_of(self, process: Process) -> House:
        return House(
            store=Seat(self.store, process, self.bell), clock=self.story.now, new_id=self.new_id, r4=R4, label_sets=LABELS,  # type: ignore[arg-type]
            secret=self.name.encode() * 32, chance=self.story.random.random, alarm=self.story.wrong_here, remotes=self.terms, base_url=f"http://{self.name}.test/fhir",
        )  # fmt: skip

    def move_in(self, store: SqliteStore, *terms: Remote) -> None:
        self.store, self.terms = store, terms
        self.house = self.house_of(self.web)

    async def found(self) -> None:
        """What every story begins with."""
        health = [{"coding": [{"system": SECTOR_SYSTEM, "code": "health"}]}]
        for key in ("surgery", "hospital", "home"):
            await self.add(key, {"resourceType": "Organization", "active": True, "name": key, "type": health, "identifier": [{"system": ODS_CODE, "value": key}]})
        for key, (number, born) in PEOPLE.items():
            body = {"resourceType": "Patient", "identifier": [{"system": NHS_NUMBER, "value": number}], "birthDate": born, "name": [{"family": "Example"}]}
            self.names[key] = str((await gate.create(self.hospital, "Patient", strict.dump(body))).ref)
            for whom in ("surgery", "home", "hospital"):
                await self.consents(key, whom)

    async def consents(self, person: str, whom: str, type: str = "permit", *, cls: str = "", actions: Collection[str] = (), since: str = "") -> Ref:
        acts = [a for a in ACTIONS if a["coding"][0]["code"] in actions] if actions else ACTIONS if type == "permit" else []
        rule = {"type": type, "actor": [{"role": RECIPIENT, "reference": {"reference": self.names[whom]}}], "action": acts}
        rule = {k: v for k, v in rule.items() if v} | ({"period": {"end": "2040-12-31"}} if type == "permit" else {})
        rule |= {"class": [{"system": TYPES, "code": cls}]} if cls else {}
        rule |= {"period": {"start": since}} if since else {}
        body = {
            "resourceType": "Consent", "status": "active", "patient": {"reference": self.names[person]},
            "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
            "provision": {"provision": [rule]},
        }  # fmt: skip
        return (await gate.create(self.person(person), "Consent", strict.dump(body))).ref

    def person(self, key: str) -> gate.Context:
        from fhir_gateway.domain.types import Actor

        ref = self.names[key]
        return gate.house_context(self.house, Actor("patient", frozenset({ref}), ref, key, patient=ref))

    def app(self, client: str) -> Any:
        """Its FHIR address, for a registered system of the other gateway's home."""
        expires = self.story.now() + timedelta(days=1000)

        async def caller(_: str) -> Caller:
            return Caller(client, client, f"Device/{client}", "system", "system/*.cruds", "issuer", "jti", expires, organisation=self.names["home"],
                          roles=frozenset({"contributor"}))  # fmt: skip

        async def ready() -> bool:
            return True

        web = Web(self.house, caller, f"http://{self.name}.test", ready)
        return web.admission.front(endpoint(web))


class Clock:
    """The story that a town is founded in."""

    def __init__(self) -> None:
        self.random, self.at = Random(0), datetime(2026, 11, 25, 12, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def say(self, text: str) -> None: ...

    def wrong_here(self, text: str) -> None:
        raise AssertionError(text)


def founded(folder: Path, open: Callable[..., SqliteStore], close: Callable[[SqliteStore], None], run: Callable[[Any], Any]) -> dict[str, tuple[Path, dict[str, str], int]]:
    """The two gateways before anything happens: file, names and the next number of each."""
    out = {}
    for name in ("a", "b"):
        clock = Clock()

        async def begin(name: str = name, clock: Clock = clock) -> Town:
            town = Town(clock, name)  # type: ignore[arg-type]
            town.move_in(open(folder / f"{name}.sqlite", clock.now))
            await town.found()
            return town

        town = run(begin())
        close(town.store)
        out[name] = (folder / f"{name}.sqlite", town.names, next(town.numbers))
    return out
