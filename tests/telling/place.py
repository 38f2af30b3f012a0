"""A house with one person, her GP's surgery and a mail server; its clock is ours."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_gateway import definitions, gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.notices import Choice
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.domain.vocabulary import HL7, SECTOR_SYSTEM
from fhir_gateway.gate import Context, House, Remote
from fhir_gateway.gate.choosing import code_of
from fhir_gateway.gate.context import directory_now
from fhir_gateway.gate.telling import tell
from fhir_gateway.tell import worker
from fhir_gateway.tell.channel import Channels
from fhir_gateway.tell.mail import Mail

from .servers import Post

R4 = definitions.load_r4()
FACTS = "https://fhir-gateway.example/StructureDefinition/"
BASIS = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"
OFFICER = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/role", "code": "privacy-officer"}]}
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday


class Place:
    """A house with one person, her GP's surgery and a mail server; time stands still but for `later`."""

    def __init__(self, post: Post) -> None:
        self.post, self.now = post, NOON
        self.numbers = itertools.count(1)
        self.names: dict[str, str] = {}
        mail = Mail("127.0.0.1", post.port, "plans@gateway.example", "none")
        self.channels = Channels({"email": mail}, "https://gateway.example/sign-in", 60, lambda text: f"tell-{abs(hash(text))}")

    async def open(self, store: Any, *remotes: Remote) -> Place:
        self.house = House(
            store=store, clock=lambda: self.now, new_id=lambda: f"01a20e05-0000-7000-8000-{next(self.numbers):012d}", r4=R4,
            label_sets=LabelSets.load(definitions.load("labels.json")), secret=b"x" * 32, alarm=lambda text: pytest.fail(text),
            remotes=remotes,
        )  # fmt: skip
        health = [{"coding": [{"system": SECTOR_SYSTEM, "code": "health"}]}]
        for key in ("surgery", "hospital"):
            await self.add(key, {"resourceType": "Organization", "active": True, "name": key, "type": health, "identifier": [{"system": ODS_CODE, "value": key}]})
        await self.add("asha", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Patel"}]})
        await self.add("asha-role", self.role("asha", "surgery"))
        amina = {"resourceType": "Patient", "name": [{"family": "Example"}], "telecom": [{"system": "email", "value": "in-the-record@mail.example"}]}
        self.names["amina"] = str((await gate.create(self.hospital, "Patient", strict.dump(amina))).ref)
        return self

    def role(self, who: str, where: str, **more: Any) -> dict[str, Any]:
        there = {"practitioner": {"reference": self.names[who]}, "organization": {"reference": self.names[where]}}
        return {"resourceType": "PractitionerRole", "active": True, **there, **more}

    async def add(self, key: str, body: dict[str, Any]) -> str:
        self.names[key] = str((await gate.create(self.operator, body["resourceType"], strict.dump(body))).ref)
        return self.names[key]

    async def change(self, ctx: Context, key: str, **more: Any) -> None:
        """The resource with these elements set, or taken out where they are None."""
        ref = Ref(*self.names[key].split("/"))
        stored = await self.house.store.get(ref)
        assert stored is not None and stored.body is not None
        body = {k: v for k, v in {**strict.read(stored.body), **more}.items() if v is not None}
        await gate.update(ctx, ref, strict.dump(body), if_match=stored.version)

    @property
    def operator(self) -> Context:
        return gate.house_context(self.house, Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))

    @property
    def hospital(self) -> Context:
        place = self.names["hospital"]
        return gate.house_context(self.house, Actor("system", frozenset({"Device/h", place}), "Device/h", "Hospital", place, "health", contributor=True))

    @property
    def records(self) -> Context:
        """The hospital's records office, whose staff the operator trusts with links between records."""
        place = self.names["hospital"]
        actor = Actor("system", frozenset({"Device/h", place}), "Device/h", "Records", place, "health", contributor=True, operator=True)
        return gate.house_context(self.house, actor)

    @property
    def me(self) -> Context:
        me = self.names["amina"]
        return gate.house_context(self.house, Actor("patient", frozenset({me}), me, "Amina", patient=me))

    def proxy(self, ref: str) -> Context:
        return gate.house_context(self.house, Actor("proxy", frozenset({ref}), ref, "Leila", patient=self.names["amina"]))

    async def gp(self) -> Context:
        directory, _ = await directory_now(self.house)
        return gate.house_context(self.house, directory.actor(self.names["asha"], kind="professional", at=self.now, clinician=True))

    async def choose(self, channel: str = "email", address: str = "amina@mail.example", ctx: Context | None = None, **more: Any) -> None:
        """The choice; the code that goes to a new address is sent back at once, before any worker looks."""
        new = await gate.choose(ctx or self.me, Choice(channel, address, **more))  # type: ignore[arg-type]
        if new is not None:
            await gate.confirm(ctx or self.me, code_of(self.house, new))
            await worker.once(self.house, self.channels)  # which finds nobody who waits for it any more

    async def grant(self, *whom: str, until: str = "2040-12-31", basis: tuple[str, str] = ("https://fhir-gateway.example/CodeSystem/policy", "uk-direct-care"), **more: Any) -> str:
        """Amina's consent that permits these; as its own key."""
        actors = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": self.names[w]}} for w in whom]
        permit = {"type": "permit", "period": {"end": until}, "actor": actors}
        body = {
            "resourceType": "Consent", "status": "active", "patient": {"reference": self.names["amina"]},
            "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "policyRule": {"coding": [{"system": basis[0], "code": basis[1]}]},
            "provision": permit if basis[0] == BASIS else {"provision": [permit]}, **more,
        }  # fmt: skip
        key = f"consent-{next(self.numbers)}"
        self.names[key] = str((await gate.create(self.me, "Consent", strict.dump(body))).ref)
        return key

    async def refuse(self, *whom: str, class_: list[dict[str, Any]] | None = None) -> None:
        """Amina's no to these, about everything or about this class."""
        actors = [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": self.names[w]}} for w in whom]
        await self.grant(provision={"provision": [{"type": "deny", "actor": actors, **({"class": class_} if class_ else {})}]})

    async def appoint(self, whom: str, basis: str) -> str:
        """A role that an operator registers: this related person acts for Amina; as its own key."""
        person = self.names["amina"].removeprefix("Patient/")
        done = await gate.appoint(self.operator, person, self.names[whom], basis, grantor="surgery", evidence="papers seen")
        key = f"role-{next(self.numbers)}"
        self.names[key] = str(done.ref)
        return key

    async def event(self, why: str = "break-glass", whom: str = "patient") -> None:
        await self.house.store.commit(*tell(why, self.names["amina"], whom))  # type: ignore[arg-type]

    async def later(self, seconds: float = 61) -> worker.Told:
        self.now += timedelta(seconds=seconds)
        return await worker.once(self.house, self.channels)

    async def states(self, ctx: Context | None = None) -> list[tuple[str, str]]:
        return [(n.why, n.state) for n in await gate.my_notices(ctx or self.me)]

    async def parked(self) -> int:
        return sum(s["parked"] for s in await worker.status(self.house, self.channels))
