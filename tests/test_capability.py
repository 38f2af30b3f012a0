"""What the server says it can do is what R4 lets it say, type by type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from fhir_gateway.domain.capability import statement
from fhir_gateway.domain.r4 import R4
from fhir_gateway.domain.validate import check


@dataclass
class Offer:
    method: str
    shape: str
    code: str = ""
    operation: str = ""
    types: tuple[str, ...] = ()
    where: bool = False


TABLES = Path(__file__).parents[1] / "profiles" / "r4"


@pytest.fixture(scope="module")
def r4() -> R4:
    return R4(**{n: (TABLES / f"{n}.json").read_bytes() for n in ("structures", "search", "codes", "extensions")})


@pytest.fixture(scope="module")
def said(r4):
    return statement(
        r4, base="https://here.example/fhir", version="1.2", own=("CarePlan-document",),
        offers=(
            Offer("GET", "type/id", "read"), Offer("POST", "type", "create"), Offer("POST", "", "transaction"),
            Offer("PUT", "type", where=True), Offer("GET", "type/id/$everything", operation="everything", types=("Patient",)),
            Offer("GET", "type/id/$document", operation="document", types=("CarePlan",)),
        ),
    )  # fmt: skip


def test_it_is_valid_r4(r4, said):
    assert [i for i in check(said, r4) if i.severity in ("error", "fatal")] == []


def test_every_type_offers_what_the_routes_offer(r4, said):
    rest = said["rest"][0]
    assert [c["code"] for c in rest["interaction"]] == ["transaction", "batch"]
    for resource in rest["resource"]:
        assert r4.has_type(resource["type"])
        ours = resource["type"] in ("AuditEvent", "Subscription")
        if resource["type"] == "Subscription":
            assert [c["code"] for c in resource["interaction"]] == ["read", "create"] and resource["extension"] and not resource["conditionalUpdate"]
            continue
        assert [c["code"] for c in resource["interaction"]] == (["read"] if ours else ["read", "create"])
        assert resource["conditionalUpdate"] is not ours and resource["conditionalDelete"] == "not-supported"
    types = [r["type"] for r in rest["resource"]]
    assert len(types) == len(set(types)) > 140 and {"CarePlan", "Goal", "Patient", "Consent"} <= set(types)
    operations = {r["type"]: r["operation"] for r in rest["resource"] if "operation" in r}
    assert operations == {
        "CarePlan": [{"name": "document", "definition": "https://here.example/fhir/OperationDefinition/CarePlan-document"}],
        "Patient": [{"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}],
    }


def test_search_parameters_are_the_official_ones(said):
    goal = next(r for r in said["rest"][0]["resource"] if r["type"] == "Goal")
    assert {"patient", "lifecycle-status", "category", "_id", "_lastUpdated"} <= {p["name"] for p in goal["searchParam"]}
    assert "Goal:patient" in goal["searchInclude"]
    assert "CarePlan:goal" in goal["searchRevInclude"] and "Goal:patient" not in goal["searchRevInclude"]


def test_no_count_and_no_name_of_anyone_is_in_it(said):
    assert said["implementation"]["url"] == "https://here.example/fhir" and said["software"]["version"] == "1.2"
    assert not {"document", "messaging"} & said.keys()
