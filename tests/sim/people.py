"""What people do on all sides, one act after another: they write, change, delete and say no; the weather turns and processes are killed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref, Stored

from ..faults import invariants
from .lines import WEATHER
from .town import PEOPLE, Town

if TYPE_CHECKING:
    from .story import Story

KINDS = ("Goal", "Observation", "CarePlan")
SERVERS = ("hub", "a", "b")


class People:
    def __init__(self, story: Story) -> None:
        self.story = story
        self.refused: list[tuple[Town, str, Ref]] = []  # whose no is in force, and where
        self.deleted_there = 0
        often, seldom = story.told.seed % 10 == 6, story.told.seed % 50 == 41
        self.of_two = often or seldom  # some stories tell of two people at once, too; the others are as they were
        self.kinds = ("Observation", *KINDS, "Observation") if often else KINDS

    async def act(self) -> None:
        r = self.story.random
        acts = {
            self.writes: 22, self.changes: 22, self.deletes: 6, self.refuses: 12, self.allows: 8, self.there_writes: 5, self.there_changes: 12, self.there_deletes: 4,
            self.weather_turns: 9, self.somebody_dies: 4,
        }  # fmt: skip
        (act,) = r.choices(list(acts), list(acts.values()))
        await act()
        await self.story.look()

    async def done(self, town: Town, what: str, doing: Coroutine[Any, Any, Any]) -> Any:
        try:
            written = await doing
        except Problem as p:
            self.story.say(f"{town.name}: {what}: {p.kind}")
            return None
        self.story.say(f"{town.name}: {what}: {written.did} {written.ref} version {written.version}")
        if written.did in ("created", "updated", "deleted"):
            self.story.acknowledged[town.name].append((written.ref, written.version))
        return written

    def town(self) -> Town:
        return self.story.random.choice((self.story.a, self.story.a, self.story.b))

    async def some(self, town: Town) -> Stored | None:
        every = [s for s in await invariants.records(town.store) if s.ref.type in KINDS]
        return self.story.random.choice(every) if every else None

    def body(self, type: str, subject: str, others: list[str]) -> dict[str, Any]:
        n = self.story.number()
        goals = [o for o in others if o.startswith("Goal/")]
        if type == "Goal":
            return {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"goal {n}"}, "subject": {"reference": subject}}
        if type == "Observation":
            focus = [{"reference": self.story.random.choice(goals)}] if goals and self.story.random.random() < 0.5 else []
            focus += [{"reference": other} for other in others if other.startswith("Patient/") and other != subject and self.of_two]
            about = {"subject": {"reference": subject}, **({"focus": focus} if focus else {})}
            return {"resourceType": "Observation", "status": "final", "code": {"text": f"observation {n}"}, **about}
        aims = {"goal": [{"reference": g} for g in self.story.random.sample(goals, min(2, len(goals)))]} if goals else {}
        return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": f"plan {n}", "subject": {"reference": subject}, **aims}

    def edited(self, body: dict[str, Any]) -> dict[str, Any]:
        """One of two people's places, or a place that both may change."""
        n, r = self.story.number(), self.story.random
        if r.random() < 0.5:
            return {**body, "note": [*body.get("note", []), {"text": f"note {n}"}]}
        if body["resourceType"] == "Goal":
            return {**body, "description": {"text": f"goal {n}"}} if r.random() < 0.5 else {**body, "statusReason": f"because {n}"}
        if body["resourceType"] == "Observation":
            return {**body, "valueString": f"value {n}"}
        return {**body, "title": f"plan {n}"} if r.random() < 0.5 else {**body, "description": f"described {n}"}

    async def writes(self) -> None:
        town, person = self.town(), self.story.random.choice(list(PEOPLE))
        others = [str(s.ref) for s in await invariants.records(town.store) if s.facts.patients[:1] == (town.names[person],)]
        body = self.body(self.story.random.choice(self.kinds), town.names[person], [*others, *(town.names[p] for p in PEOPLE)])
        ctx = town.person(person) if self.story.random.random() < 0.5 else town.hospital
        await self.done(town, f"a new {body['resourceType']}", gate.create(ctx, body["resourceType"], strict.dump(body)))

    async def changes(self) -> None:
        town = self.town()
        if (stored := await self.some(town)) is not None:
            body = self.edited(strict.decode(stored.body or b"{}"))
            ctx = town.hospital if self.story.random.random() < 0.5 else gate_person(town, stored)
            await self.done(town, f"a change of {stored.ref}", gate.update(ctx, stored.ref, strict.dump(body), if_match=stored.version))

    async def deletes(self) -> None:
        town = self.town()
        if (stored := await self.some(town)) is not None:
            await self.done(town, f"a deletion of {stored.ref}", gate.remove(town.hospital, stored.ref, if_match=stored.version))

    async def refuses(self) -> None:
        town, r = self.town(), self.story.random
        person, whom, cls = r.choice(list(PEOPLE)), r.choice(("surgery", "home", "home")), r.choice(("", "", *KINDS))
        if town is self.story.b:
            whom = "home"
        ref = await town.consents(person, whom, "deny", cls=cls)
        self.refused.append((town, person, ref))
        self.story.say(f"{town.name}: {person} says no to {whom} {cls}: {ref}")
        self.story.acknowledged[town.name].append((ref, 1))

    async def allows(self) -> None:
        if not self.refused:
            return
        town, person, ref = self.story.random.choice(self.refused)
        self.refused = [o for o in self.refused if o[2] != ref]
        stored = await town.store.get(ref)
        assert stored is not None and stored.body is not None
        body = {**strict.decode(stored.body), "status": "inactive"}
        await self.done(town, f"{person} takes back a no", gate.update(town.person(person), ref, strict.dump(body), if_match=stored.version))

    async def there_writes(self) -> None:
        people = [n for n in self.story.hub.held if n.startswith("Patient/")]
        if people:
            body = self.body(self.story.random.choice(("Goal", "Observation")), self.story.random.choice(people), [])
            body["identifier"] = [{"system": "http://hub.example/id", "value": str(self.story.number())}]
            made = self.story.hub.write(body)
            self.story.say(f"hub: a new {body['resourceType']}/{made['id']}")

    def copy(self) -> str:
        every = [n for n in self.story.hub.held if n.split("/")[0] in KINDS]
        return self.story.random.choice(every) if every else ""

    async def there_changes(self) -> None:
        if name := self.copy():
            self.story.hub.write(self.edited(self.story.hub.held[name]))
            self.story.say(f"hub: a change of {name}")

    async def there_deletes(self) -> None:
        few = self.story.habits.feed == "search" and 3 * (self.deleted_there + 1) > len(self.story.hub.held)  # a list without half of all is not believed
        if (name := self.copy()) and not few:
            self.story.hub.remove(name)
            self.deleted_there += 1
            self.story.say(f"hub: a deletion of {name}")

    async def weather_turns(self) -> None:
        server = self.story.random.choice(SERVERS)
        self.story.weather[server] = self.story.random.choice(("good", "bad", "bad", "bad", *WEATHER))
        self.story.say(f"weather at {server}: {self.story.weather[server]}")

    async def somebody_dies(self) -> None:
        living = [p for p in self.story.processes if not p.dead]
        if living:
            process = self.story.random.choice(living)
            self.story.say(f"{process.name} is killed")
            process.die()


def gate_person(town: Town, stored: Stored) -> gate.Context:
    """Whose record it is."""
    key = next(k for k in PEOPLE if town.names[k] == stored.facts.patients[0])
    return town.person(key)
