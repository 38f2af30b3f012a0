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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping
from fhir_gateway.domain.mapping.names import EXTENSIONS, system
from fhir_gateway.domain.own_profiles import held_to, meant_for
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import load_tables

from .conftest import ROOT, Gateway, times
from .oracle.profiled import OWN
from .test_forms import GOALS
from .test_forms_over_http import extracted, kept, response
from .test_mapping import PLANS
from .test_mapping_laws import SCHEMA, from_schema, without_errors
from .test_sharing import share
from .web import test_doors as doors
from .web.test_editing import editor, goal
from .web.test_wheels import fill_in

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


LISTS = {t.key for k, t in TABLES.by_kind.items() if k in OWN and t.many and k != "stage-goal"}
TABLES_KEYS = {t.key for t in TABLES.by_kind.values() if t.key}  # the rest is said at the top of a plan, of the plan itself
PARTS = st.sampled_from(sorted(LISTS | {"about_me", ""})).flatmap(
    lambda key: st.fixed_dictionaries({key: from_schema(SCHEMA["properties"][key])}) if key
    else st.fixed_dictionaries({}, optional={k: from_schema(s) for k, s in SCHEMA["properties"].items() if k not in TABLES_KEYS})
)  # fmt: skip


@settings(max_examples=times(120), deadline=None, suppress_health_check=list(HealthCheck))
@given(PARTS)
def test_whatever_a_plan_says_what_becomes_of_it_meets_our_profiles(part: dict[str, Any]) -> None:
    for entry in mapping.to_fhir(without_errors(part), TABLES).entries:
        assert held_to(entry.resource, TABLES.profiles) == ([EXTENSIONS + OWN[entry.kind]] if entry.kind in OWN else [])
        assert errors(entry.resource, *([OWN[entry.kind]] if entry.kind in OWN else [])) == [], entry.resource


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
    assert {OWN[e.kind] for e in entries if e.kind in OWN} == set(OWN.values()) - {"plan-formulation", "plan-wheel"}, "those two are in `tests/cases/mapping/whole-standard.json`"


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


def test_a_thing_of_a_plan_is_held_to_its_profile_though_it_declares_none(demo: Gateway) -> None:
    """By its identifier, whoever changes it; what is neither made by a plan nor declared is R4, and its writer is told what it lacks."""
    ours = goal(demo)
    wordless = {**ours, "description": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}}
    sent = {"body": wordless, "headers": {"If-Match": f'W/"{ours["meta"]["versionId"]}"'}}
    refused = demo.call("gp", "PUT", f"Goal/{ours['id']}", **sent)
    assert refused.status_code == 422 and refused.json()["issue"][0]["expression"] == ["Goal.description.text"]
    assert goal(demo) == ours

    theirs = {k: v for k, v in wordless.items() if k in ("resourceType", "lifecycleStatus", "description", "subject")}
    wanted = {"Prefer": "return=OperationOutcome"}
    taken = demo.call("gp", "POST", "Goal", body=theirs, headers=wanted)
    assert taken.status_code == 201
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "POST", "url": "Goal"}, "resource": theirs}]}
    (entry,) = demo.call("gp", "POST", "", body=batch, headers=wanted).json()["entry"]
    looked = demo.call("gp", "POST", "Goal/$validate", body=theirs)
    for told in (taken.json(), entry["response"]["outcome"], looked.json()):
        (lacks,) = [i for i in told["issue"] if i.get("details", {}).get("coding") == [{"code": "not-our-profile"}]]
        assert lacks["severity"] == "information" and lacks["expression"] == ["Goal.description.text"] and "plan-goal" in lacks["diagnostics"]
        assert all(i["severity"] == "information" for i in told["issue"])
    assert "not-our-profile" not in demo.call("gp", "POST", "Goal/$validate", body=theirs | {"description": {"text": "Walk"}}).text
    asked = demo.call("gp", "POST", f"Goal/$validate?profile={EXTENSIONS}plan-goal", body=theirs).json()["issue"]
    assert [i["severity"] for i in asked] == ["error"], "whoever asks for the profile gets its verdict"


@pytest.mark.parametrize(
    ("said", "profile"),
    [
        ({"resourceType": "CarePlan", "category": [{"coding": [{"code": "2181441000000107"}]}]}, "personal-plan"),
        ({"resourceType": "CarePlan", "category": [{"coding": [{"code": "736253002"}]}]}, "contingency-plan"),
        ({"resourceType": "CarePlan"}, ""),
        ({"resourceType": "Condition", "category": [{"coding": [{"code": "health-concern"}]}]}, "plan-need"),
        ({"resourceType": "Condition"}, ""),
        ({"resourceType": "Task", "intent": "plan"}, "plan-action"),
        ({"resourceType": "Task", "intent": "order"}, ""),
        ({"resourceType": "QuestionnaireResponse", "questionnaire": "https://fhir-gateway.example/Questionnaire/about-me|2"}, "about-me"),
        ({"resourceType": "Observation", "code": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/plan-observation", "code": "wheel"}]}}, "plan-wheel"),
        ({"resourceType": "Observation", "code": {"coding": [{"code": "wheel"}]}}, ""),
        ({"resourceType": "Consent", "category": [{"coding": [{"code": "59284-0"}]}]}, "sharing-preferences"),
        ({"resourceType": "Consent", "category": [{"coding": [{"code": "INFA"}]}]}, ""),
        ({"resourceType": "Goal", "meta": {"profile": [EXTENSIONS + "plan-goal"]}}, ""),
        ({"resourceType": "Goal", "identifier": [{"system": system("goal"), "value": "p/g"}]}, ""),
        ({"resourceType": "Goal", "identifier": 7, "meta": 7}, "plan-goal"),
        ({"resourceType": "Condition", "category": 7}, ""),
    ],
)
def test_what_others_write_is_compared_with_the_profile_for_its_kind(said: dict[str, Any], profile: str) -> None:
    assert meant_for(said, TABLES.profiles) == (EXTENSIONS + profile if profile else "")


def test_whatever_our_pages_and_forms_write_meets_our_profiles(demo: Gateway) -> None:
    """A goal changed, a wheel filled in, answers that became goals and a plan for a crisis, a choice of sharing: all that is there of the person afterwards."""
    types = sorted({d["type"] for d in OURS.values() if d["type"] != "Extension"})
    before = {(t, r["id"], r["meta"]["versionId"]) for t in types for r in of_type(demo, t)}
    at_the_form = editor(demo, "patient", f"Goal/{goal(demo)['id']}")
    at_the_form.save(text="Cook for the children", importance="9")
    assert "Your change is saved." in at_the_form.words(), at_the_form.words()
    v = doors.as_(demo, "patient")
    fill_in(v, Sleep=(2, 6), Money=(4, 5))
    extracted(demo, "patient", kept(demo, "patient", response(demo, "my-own-words", *GOALS)))
    doors.share(v)
    v.send("/my-plan/sharing/new", go="save")

    seen = []
    for type, resource in ((t, r) for t in types for r in of_type(demo, t)):
        new = (type, resource["id"], resource["meta"]["versionId"]) not in before
        ours = next(iter(held_to(resource, TABLES.profiles)), "") or (meant_for(resource, TABLES.profiles) if new else "")
        assert not ours or errors(resource, ours.removeprefix(EXTENSIONS)) == [], resource
        seen += [ours.removeprefix(EXTENSIONS)] if ours and new else []
    assert sorted(seen) == ["contingency-plan", "personal-plan", "plan-goal", "plan-goal", "plan-goal", "sharing-preferences"]


def of_type(demo: Gateway, type: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in demo.get("patient", f"{type}?patient={demo.patient}&_count=200").json().get("entry", ())]


def test_uk_core_holds_too_where_it_is_known(shared: Path) -> None:
    both = definitions.read_definitions(shared / "data" / "ukcore")
    for entry in mapping.to_fhir(plans.read_plan(definitions.demo_file("plan.json")), TABLES).entries:
        asked = [OWN[entry.kind]] if entry.kind in OWN else []
        assert errors(entry.resource, *asked, known=both) == [], entry.kind
