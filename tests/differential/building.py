"""From the steps of a world to what was committed: played once, through the app, into a real store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from fhir_gateway import gate
from fhir_gateway.demo.cast import organisation
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Actor, Note, Op, Ref
from fhir_gateway.gate import Context

from .sides import URGENT_CARE, Ids, Recording, Reply, Shelf, Side, fill, side
from .worlds import Step, World

ORGANISATIONS = (("gp", "D1", "health"), ("trust", "R1", "health"), ("council", "C1", "social-care"), ("charity", "V1", "voluntary"), ("other", "D2", "health"),
                 ("ambulance", URGENT_CARE, "health"))  # fmt: skip
WORKERS = (("gp", "gp"), ("nurse", "trust"), ("social", "council"), ("link", "charity"), ("sam", "other"), ("medic", "ambulance"))


@dataclass
class Played:
    """What a world came to: its commits, when it ended, whatever was written with how many versions it has, and the audit."""

    ops: list[Op]
    at: datetime
    refs: dict[Ref, int]
    refused: list[tuple[Step, Reply]]
    notes: list[Note]


async def play(world: World, shelf: Shelf) -> Played:
    await fill(shelf, ())
    recording = Recording(shelf.store)
    here = side(recording, Ids("w"))  # type: ignore[arg-type]
    await _directory(here)
    refused = []
    for step in world.steps:
        here.clock.at += step.after
        for reply in await _done(here, step):
            if reply.status >= 400:
                refused.append((step, reply))
    return Played(recording.ops, here.clock.at, recording.refs(), refused, recording.notes)


def _operator(here: Side) -> Context:
    return gate.house_context(here.house, Actor("system", frozenset({"Device/operator"}), "Device/operator", "Operator", operator=True))


async def _directory(here: Side) -> None:
    operator = _operator(here)

    async def put(id: str, body: dict[str, object]) -> None:
        here.ids.named = id
        await gate.create(operator, str(body["resourceType"]), strict.dump(body))

    for id, code, sector in ORGANISATIONS:
        await put(id, organisation(code, f"The {id}", sector))
    for id, place in WORKERS:
        await put(id, {"resourceType": "Practitioner", "active": True, "name": [{"family": id.title()}]})
        await put(f"{id}-role", {"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": f"Practitioner/{id}"},
                                 "organization": {"reference": f"Organization/{place}"}})  # fmt: skip
    await put("last", organisation("Z9", "The last", "health"))


async def _done(here: Side, step: Step) -> list[Reply]:
    if step.method == "ACCEPT":
        return await _accept(here, step.who)
    headers = list(step.headers)
    if step.method in ("PUT", "DELETE"):
        type, _, id = step.path.partition("/")
        now = await here.house.store.get(Ref(type, id))
        if now is None:
            return []
        headers.append(("if-match", f'W/"{now.version}"'))
    here.ids.named = step.name
    reply = await here.ask(step.who, step.method, step.path, headers, step.raw())
    here.ids.named = ""
    return [reply]


async def _accept(here: Side, who: str) -> list[Reply]:
    """Whoever is asked to help says yes to everything that waits for them."""
    out = []
    found = json.loads((await here.ask(who, "GET", "Task?status=requested&_count=50")).body)
    for entry in found.get("entry", ()):
        task = entry["resource"]
        patch = json.dumps([{"op": "replace", "path": "/status", "value": "accepted"}]).encode()
        headers = [("if-match", f'W/"{task["meta"]["versionId"]}"'), ("content-type", "application/json-patch+json")]
        out.append(await here.ask(who, "PATCH", f"Task/{task['id']}", headers, patch))
    return out
