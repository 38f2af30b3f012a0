"""The CapabilityStatement, from the table of interactions that the routes offer. https://hl7.org/fhir/R4/capabilitystatement.html"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .r4 import R4

READ_ONLY = ("AuditEvent",)


def statement(
    r4: R4, *, base: str, version: str, interactions: Sequence[str], system: Sequence[str], operations: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What this server can do, for every type alike; operations by type."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-24",
        "kind": "instance",
        "software": {"name": "fhir_gateway", "version": version},
        "implementation": {"description": "The FHIR gateway for shared personal care plans", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "security": _security(base),
                "resource": [_resource(r4, t, interactions, operations.get(t, ())) for t in r4.types if t not in READ_ONLY],
                "interaction": [{"code": code} for code in system],
            }
        ],
    }


def _security(base: str) -> dict[str, Any]:
    """https://hl7.org/fhir/smart-app-launch/conformance.html"""
    root = base.removesuffix("/fhir")
    return {
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [
                    {"url": "authorize", "valueUri": f"{root}/oauth/authorize"},
                    {"url": "token", "valueUri": f"{root}/oauth/token"},
                ],
            }
        ],
        "cors": False,
        "service": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}]}
        ],
    }


def _resource(r4: R4, type: str, interactions: Sequence[str], operations: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "type": type,
        "interaction": [{"code": code} for code in interactions],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "searchInclude": sorted(f"{type}:{p.code}" for p in r4.search_parameters(type).values() if p.type == "reference"),
        "searchParam": [{"name": p.code, "type": p.type} for p in r4.search_parameters(type).values() if p.expression],
    }
    if operations:
        out["operation"] = [
            {"name": name, "definition": f"http://hl7.org/fhir/OperationDefinition/{type}-{name}"} for name in operations
        ]
    return {k: v for k, v in out.items() if v != []}
