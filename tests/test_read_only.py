"""Who reads and does not write, by the deployment's word: how it is said, and whom and what it speaks of. Told in tests/systems/test_38_*.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_gateway.domain import read_only
from fhir_gateway.domain.directory import ODS_CODE, Directory
from fhir_gateway.domain.types import Facts

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
