"""A condition by a business identifier asks the consents of those whom it names, tells nothing of what is hidden, and costs the same with many people."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.gate.conditions import matching
from fhir_gateway.store import sqlite

from .sim.town import Clock, Town

VERY = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}


class Counting:
    """A store that says how often it was asked what."""

    def __init__(self, store: Any) -> None:
        self.store, self.asked = store, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self.store, name)


class Practice:
    """A gateway whose people all let another gateway's home see their goals; one keeps what is very restricted from it."""

    async def open(self, path: Path, people: int) -> Practice:
        clock = Clock()
        self.town = Town(clock, "a")  # type: ignore[arg-type]
        self.store = Counting(await sqlite.open(path / f"{people}.sqlite", clock=clock.now))
        self.town.move_in(self.store)  # type: ignore[arg-type]
        self.town.house = replace(self.town.house, store=self.store)  # type: ignore[arg-type]
        await self.town.found()
        for n in range(people):
            body = {"resourceType": "Patient", "name": [{"family": f"P{n}"}], "birthDate": "1950-01-01"}
            self.town.names[f"p{n}"] = str((await gate.create(self.town.hospital, "Patient", strict.dump(body))).ref)
            for whom in ("home", "hospital"):
                await self.town.consents(f"p{n}", whom)
        no = await self.town.consents("amina", "home", "deny", cls="Goal")
        stored = await self.store.get(no)
        consent = strict.decode(stored.body)
        rule = {k: v for k, v in consent["provision"]["provision"][0].items() if k != "class"} | {"securityLabel": [VERY]}
        await gate.update(self.town.person("amina"), no, strict.dump({**consent, "provision": {"provision": [rule]}}), if_match=stored.version)
        await self.goal("p0", "seen")
        await self.goal("amina", "hidden", meta={"security": [VERY]})
        return self

    async def goal(self, who: str, value: str, **more: Any) -> Ref:
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": {"reference": self.town.names[who]}}
        return (await gate.create(self.town.hospital, "Goal", strict.dump({**body, "identifier": [{"system": "urn:x", "value": value}], **more}))).ref

    async def match(self, value: str) -> tuple[bool, Counter[str]]:
        """Does it match, and what was the store asked; once the consents are known."""
        home = self.town.names["home"]
        partner = gate.house_context(self.town.house, Actor("system", frozenset({"Device/b", home}), "Device/b", "B", home, "health", contributor=True))
        for _ in range(2):
            self.store.asked.clear()
            found = await matching(partner, "Goal", f"identifier=urn:x|{value}", own=True)
        return found is not None, Counter(self.store.asked)


async def test_it_asks_no_more_with_many_people_and_of_the_hidden_the_same_as_of_the_absent(tmp_path: Path) -> None:
    few, many = await Practice().open(tmp_path, 2), await Practice().open(tmp_path, 12)
    for place in (few, many):
        assert [(await place.match(v))[0] for v in ("seen", "hidden", "absent")] == [True, False, False]
        assert (await place.match("hidden"))[1] == (await place.match("absent"))[1]
    for value in ("seen", "hidden", "absent"):
        assert (await few.match(value))[1] == (await many.match(value))[1]
    await many.goal("p1", "hidden")
    assert (await many.match("hidden"))[0], "what is hidden beside it is not counted"
    await many.goal("p2", "hidden")
    with pytest.raises(Problem, match="More than one resource"):
        await many.match("hidden")
    for place in (few, many):
        await place.store.close()
