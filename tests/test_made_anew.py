"""Whoever changes how facts, views or search keys are made says so by `facts.MADE`, so that what is kept is made anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from fhir_gateway import definitions
from fhir_gateway.domain.facts import MADE, derive
from fhir_gateway.domain.labels import LabelSets, label
from fhir_gateway.domain.rendering import closer, rendered
from fhir_gateway.domain.search import keys
from fhir_gateway.domain.types import VIEW, Facts, Ref, Writer

R4 = definitions.load_r4()
SETS = LabelSets.load(definitions.load("labels.json"))
ME = {"reference": "Patient/p", "display": "Ann"}
OTHER = {"reference": "Goal/g", "display": "Walk", "identifier": {"system": "urn:s", "value": "1"}}
GP = {"reference": "Organization/gp", "display": "Surgery"}
SOME: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "1", "name": [{"family": "A"}], "address": [{"city": "B"}], "telecom": [{"value": "1"}], "generalPractitioner": [GP]},
    {"resourceType": "Goal", "id": "1", "subject": ME, "description": {"text": "x"}, "addresses": [OTHER], "startDate": "2026-01-01", "text": {"div": "x"}},
    {"resourceType": "CareTeam", "id": "1", "subject": ME, "participant": [{"member": GP}], "encounter": {"reference": "Encounter/1"}},
    {"resourceType": "Task", "id": "1", "for": ME, "owner": GP, "focus": OTHER, "location": {"reference": "Location/l"}, "authoredOn": "2026-01-02"},
    {"resourceType": "Encounter", "id": "1", "subject": ME, "serviceProvider": GP, "location": [{"location": {"reference": "Location/l"}}]},
    {"resourceType": "Observation", "id": "1", "subject": ME, "performer": [GP], "code": {"coding": [{"system": "s", "code": "c"}]}, "meta": {"source": "urn:s"}},
    {"resourceType": "ServiceRequest", "id": "1", "subject": ME, "reasonReference": [{"display": "HIV"}], "contained": [
        {"resourceType": "Patient", "id": "c", "birthDate": "1950-01-01", "generalPractitioner": [{"display": "Surgery"}]},
        {"resourceType": "Person", "id": "q", "birthDate": "1950-01-01", "address": [{"city": "B"}]}]},
    {"resourceType": "RelatedPerson", "id": "1", "patient": ME, "address": [{"city": "B"}], "meta": {"security": [
        {"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}]}},
]  # fmt: skip
# What this release makes of them. A change here without another number leaves what is kept as it was.
KNOWN = {3: "c424de95918f9847"}


def made() -> str:
    lines = []
    for resource in SOME:
        found = label(resource, SETS)
        facts = derive(resource, Ref(resource["resourceType"], "1"), datetime(2026, 1, 1, tzinfo=UTC), Writer("Device/h"), found)
        shown = rendered(resource, VIEW)
        said = {f: sorted(v) if isinstance(v, frozenset) else v for f in Facts.__dataclass_fields__ if f not in ("made", "labelled") for v in [getattr(facts, f)]}
        lines.append([said, shown, {str(k): v for k, v in closer(shown).items()}, sorted(map(str, keys(resource, R4, shown, closer(shown))))])
    return sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]


def test_another_way_of_making_facts_views_or_keys_has_another_number() -> None:
    assert KNOWN.get(MADE) == made(), f"facts, views or search keys are made in another way: raise domain/facts.py MADE, and note {made()} here"
