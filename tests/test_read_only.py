"""Who reads and does not write, by the deployment's word: how it is said, and whom and what it speaks of. Told in tests/systems/test_38_*.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import read_only, strict
from fhir_gateway.domain.directory import ODS_CODE, Directory
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Facts
from fhir_gateway.domain.vocabulary import CONFIDENTIALITY_SYSTEM

from .staff import consent, permit
from .test_plans import Place, opened

OURS = "https://fhir-gateway.example/CodeSystem"


def organisation(id: str, sector: str) -> dict[str, object]:
    return {"resourceType": "Organization", "id": id, "active": True, "type": [{"coding": [{"system": f"{OURS}/sector", "code": sector}]}]}


ROLE = {
    "resourceType": "PractitionerRole", "id": "r", "active": True, "practitioner": {"reference": "Practitioner/g"}, "organization": {"reference": "Organization/surgery"},
    "code": [{"coding": [{"system": f"{OURS}/role", "code": "gp"}]}],
}  # fmt: skip
DIRECTORY = Directory.of([(b, f"{b['resourceType']}/{b['id']}", True) for b in (organisation("surgery", "health"), organisation("council", "social-care"), ROLE)])
SURGERY = frozenset({"Organization/surgery", f"{ODS_CODE}|D82001", f"{OURS}/sector|health"})
TASK = replace(Facts("Task", "1", ("Patient/1",)), origin=frozenset({"Practitioner/s", "Organization/council"}))


@pytest.mark.parametrize(("said", "names", "facts", "refused"), [
    ("D82001=Task", SURGERY, TASK, True), ("Organization/surgery=Goal,Task", SURGERY, TASK, True), ("health=Task of social-care", SURGERY, TASK, True),
    ("D82001=Goal", SURGERY, TASK, False), ("D82002=Task", SURGERY, TASK, False), ("", SURGERY, TASK, False),
    ("D82001=Task of health", SURGERY, TASK, False), ("D82001=Task of social-care", SURGERY, replace(TASK, origin=None), False),
    ("gp@D82001=Task", SURGERY | {"PractitionerRole/r"}, TASK, True), ("gp@D82001=Task", SURGERY, TASK, False), ("nurse@D82001=Task", SURGERY | {"PractitionerRole/r"}, TASK, False),
    ("D82002=Task; D82001=Task of social-care", SURGERY, TASK, True),
])  # fmt: skip
def test_a_rule_speaks_of_who_is_named_and_of_what_that_sector_made(said: str, names: frozenset[str], facts: Facts, refused: bool) -> None:
    assert read_only.refuses(read_only.parse(said), names, facts, DIRECTORY) is refused


@pytest.mark.parametrize("said", ["D82001", "=Task", "D82001=", "D82001=task", "D82001=Task of", "D82001=Task of church", "@D82001=Task", "gp@=Task", "D82001=Ta sk"])
def test_what_cannot_be_meant_is_said_and_not_guessed(said: str) -> None:
    with pytest.raises(ValueError, match="`"):
        read_only.parse(said)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A house in which a test says who only reads what."""
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


async def somebody(place: Place, *rules: dict[str, Any]) -> str:
    body = {"resourceType": "Patient", "name": [{"family": "Only"}], "birthDate": "1950-01-01"}
    id = (await gate.create(place.hospital, "Patient", strict.dump(body))).ref.id
    if rules:
        await gate.create(place.patient(id), "Consent", strict.dump(consent(id, *rules)))
    return id


async def test_who_may_not_write_is_told_the_same_of_somebody_hidden_and_of_nobody(place: Place) -> None:
    seen, hidden = await somebody(place), await somebody(place, permit(place.organisations["RX9"], type="deny"))
    place.house.read_only = read_only.parse("RX9=Goal")
    said = []
    for id in (seen, hidden, "absent"):
        goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": f"Patient/{id}"}}
        with pytest.raises(Problem) as refused:
            await gate.create(place.hospital, "Goal", strict.dump(goal))
        said.append((refused.value.kind, refused.value.text, refused.value.where))
    assert said[0] == said[1] == said[2] and said[0][0] == "forbidden"
    rows = [n for n in await place.house.store.notes(patient=f"Patient/{hidden}") if n.rule == "read only"]
    assert len(rows) == 1, "whom it was about is told of the attempt"


async def test_nor_do_they_attach_anything_or_take_a_label_off(place: Place) -> None:
    id = await somebody(place)
    label = {"system": CONFIDENTIALITY_SYSTEM, "code": "R"}
    goal = {"resourceType": "Goal", "meta": {"security": [label]}, "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": f"Patient/{id}"}}
    ref = (await gate.create(place.hospital, "Goal", strict.dump(goal))).ref
    picture = {"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": str(ref)}, "data": "eA=="}
    place.house.read_only = read_only.parse("RX9=Goal,Binary")
    sure = replace(place.hospital, may_declassify=True)
    for doing in (gate.create(sure, "Binary", strict.dump(picture)), gate.take_off(sure, ref, {"security": [label]}, "no longer private")):
        with pytest.raises(Problem) as refused:
            await doing
        assert refused.value.kind == "forbidden" and "and not write it" in refused.value.text
    place.house.read_only = ()
    await gate.create(sure, "Binary", strict.dump(picture))
    await gate.take_off(sure, ref, {"security": [label]}, "no longer private")
