"""Our own profiles and extensions: what SUSHI makes of `profiles/fsh`, and that what we write meets them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping
from fhir_gateway.domain.mapping.names import EXTENSIONS
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import load_tables

from .conftest import ROOT, Gateway
from .oracle.profiled import OWN
from .test_mapping import PLANS
from .test_sharing import share

R4 = definitions.load_r4()
KNOWN = definitions.read_definitions(None)
TABLES = load_tables()
OURS = {f.name: json.loads(f.read_bytes()) for f in (ROOT / "profiles").glob("StructureDefinition-*.json")}


def errors(resource: dict[str, Any], *profiles: str, known: Any = KNOWN) -> list[tuple[str, str]]:
    urls = tuple(EXTENSIONS + p for p in profiles)
    return [(i.where, i.text) for i in check(resource, R4, definitions=known, profiles=urls) if i.severity == "error"]


@pytest.mark.interop
def test_the_committed_definitions_are_what_sushi_makes() -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node and npm are not here: the profiles are not built")
    done = subprocess.run([sys.executable, "scripts/build-profiles", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_each_definition_is_valid_r4_and_compiles() -> None:
    assert len(OURS) >= 50
    for name, definition in OURS.items():
        assert errors(definition) == [], name
        assert KNOWN.profile(definition["url"]) is not None, name


def test_each_extension_that_we_write_has_a_definition_and_the_other_way_round() -> None:
    """Names in the tables and in the code, against the definitions."""
    used = {n for f in (ROOT / "mappings").glob("*.yaml") for n in re.findall(r"\[own:([a-z-]+)\]", f.read_text())}
    for file in (ROOT / "fhir_gateway").rglob("*.py"):
        found = re.findall(r'(?:EXTENSIONS|FACTS) \+ "([a-z-]+)"|/StructureDefinition/(consent-[a-z]+|goal-outcome)"', file.read_text())
        used |= {a or b for a, b in found}
    defined = {d["id"] for d in OURS.values() if d["type"] == "Extension"}
    assert used == defined


@pytest.mark.parametrize("file", PLANS, ids=lambda f: f.stem)
def test_what_we_write_of_a_plan_meets_our_profiles(file: Path) -> None:
    seen = set()
    for entry in mapping.to_fhir(plans.read_plan(file.read_bytes()), TABLES).entries:
        asked = [OWN[entry.kind]] if entry.kind in OWN else []
        assert errors(entry.resource, *asked) == [], entry.kind
        seen.update(asked)
    assert "personal-plan" in seen


def test_the_demo_plan_has_something_for_every_profile() -> None:
    entries = mapping.to_fhir(plans.read_plan(definitions.demo_file("plan.json")), TABLES).entries
    assert {OWN[e.kind] for e in entries if e.kind in OWN} == set(OWN.values())


def test_the_choices_a_person_makes_meet_our_profile() -> None:
    consent = share(labels=["mental"], words="The link worker sees my goals", why="She helps me")
    assert errors(consent, "sharing-preferences") == []
    unruled = errors({k: v for k, v in consent.items() if k != "policyRule"}, "sharing-preferences")
    assert ("Consent.policyRule", "SharingPreferences needs `policyRule`.") in unruled


@pytest.mark.parametrize(
    ("profile", "change", "where"),
    [
        ("plan-goal", {"description": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}}, "Goal.description.text"),
        ("plan-goal", {"extension": [{"url": EXTENSIONS + "goal-importance", "valueInteger": 11}]}, "Goal.extension[0].valueInteger"),
        ("plan-goal", {"extension": [{"url": EXTENSIONS + "goal-importance", "valueString": "8"}]}, "Goal.extension[0].valueString"),
        ("plan-goal", {"extension": [{"url": EXTENSIONS + "action-confidence", "valueInteger": 8}]}, "Goal.extension[0]"),
        ("plan-goal", {"extension": [{"url": EXTENSIONS + "goal-review", "valueDate": d} for d in ("2026", "2027")]}, "Goal.extension[1]"),
        ("plan-goal", {"contained": [{"resourceType": "Group", "id": "g", "type": "person", "actual": True}], "subject": {"reference": "#g"}}, "Goal.subject"),
    ],
)
def test_what_does_not_meet_a_profile_of_ours_says_where(profile: str, change: dict[str, Any], where: str) -> None:
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Walk"}, "subject": {"reference": "Patient/1"}}
    assert errors(goal, profile) == []
    assert where in [w for w, _ in errors({**goal, **change}, profile)]


def test_what_the_gateway_writes_of_a_plan_declares_nothing(demo: Gateway) -> None:
    """A partner's copy keeps its bytes: `meta` is the server's own. Who declares one of ours is held to it."""
    plan = demo.get("gp", f"CarePlan?patient={demo.patient}").json()["entry"][0]["resource"]
    assert "profile" not in plan["meta"]
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"coding": [{"code": "x"}]},
            "subject": {"reference": f"Patient/{demo.patient}"}, "meta": {"profile": [EXTENSIONS + "plan-goal"]}}  # fmt: skip
    refused = demo.call("patient", "POST", "Goal", body=goal)
    assert refused.status_code == 422 and refused.json()["issue"][0]["expression"] == ["Goal.description.text"]
    assert demo.call("patient", "POST", "Goal", body=goal | {"description": {"text": "Walk"}}).status_code == 201


def test_uk_core_holds_too_where_it_is_known(shared: Path) -> None:
    both = definitions.read_definitions(shared / "data" / "ukcore")
    for entry in mapping.to_fhir(plans.read_plan(definitions.demo_file("plan.json")), TABLES).entries:
        asked = [OWN[entry.kind]] if entry.kind in OWN else []
        assert errors(entry.resource, *asked, known=both) == [], entry.kind
