"""The CapabilityStatement, from the table that dispatches. https://hl7.org/fhir/R4/capabilitystatement.html"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from .edits import JSON_PATCH
from .r4 import R4, Parameter
from .topics import OPERATIONS, PROFILE, SERVER, TOPIC, TOPICS_HELD

GATEWAY: Final = "https://fhir-gateway.example/StructureDefinition/gateway-name"  # what a gateway calls itself on its copies
READ_ONLY: Final = ("AuditEvent",)
READS: Final = frozenset({"read", "search-type"})
SYSTEM: Final = ("transaction", "batch", "search-system", "history-system")


class Offer(Protocol):
    """A row of the table, as far as this needs it."""

    @property
    def method(self) -> str: ...
    @property
    def shape(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def types(self) -> tuple[str, ...]: ...
    @property
    def where(self) -> bool: ...


def statement(
    r4: R4, *, base: str, version: str, offers: Sequence[Offer], own: Collection[str] = (), compartments: Iterable[str] = ("patient",),
    profiles: Mapping[str, Sequence[str]] | None = None, signs_in: bool = True,
    name: str = "",
) -> dict[str, Any]:  # fmt: skip
    """What this server can do, type by type. `own` names the operations that we define ourselves, `Type-name`; `profiles` are ours by type;
    `signs_in`: this server gives tokens itself; `name`: what it is called on copies of its records."""
    codes = [o.code for o in offers if o.code]
    system = {c for c in codes if c in SYSTEM} | ({"batch"} if "transaction" in codes else set())
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-25",
        "kind": "instance",
        "software": {"name": "fhir_gateway", "version": version},
        "implementation": {
            **({"extension": [{"url": GATEWAY, "valueString": name}]} if name else {}),
            "description": "The FHIR gateway for shared personal care plans",
            "url": base,
        },
        "instantiates": [SERVER],
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "patchFormat": [JSON_PATCH, "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Every answer is what this reader may see by the person's own consents; what they may not see is absent. "
                "If-Match is required to change or delete, also in Bundles and by condition.",
                "security": _security(base if signs_in else ""),
                "resource": [_resource(r4, t, base, offers, own, (profiles or {}).get(t, ())) for t in r4.types],
                "interaction": [{"code": code} for code in SYSTEM if code in system],
                "searchParam": _of_every_type(r4),
                "compartment": [f"http://hl7.org/fhir/CompartmentDefinition/{c}" for c in compartments],
            }
        ],
    }


def _security(base: str) -> dict[str, Any]:
    """https://hl7.org/fhir/smart-app-launch/conformance.html . No base: one signs in elsewhere, as smart-configuration says."""
    root = base.removesuffix("/fhir")
    here = [
        {
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [
                {"url": "authorize", "valueUri": f"{root}/oauth/authorize"},
                {"url": "token", "valueUri": f"{root}/oauth/token"},
                {"url": "manage", "valueUri": f"{root}/account/apps"},
            ],
        }
    ]
    return {
        **({"extension": here} if base else {}),
        "cors": True,
        "service": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}]},
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "OAuth"}]},
        ],
    }


def _of_every_type(r4: R4) -> list[dict[str, str]]:
    """What a search of several types takes: the parameters that every type has."""
    first, *others = (r4.search_parameters(t) for t in r4.types)
    return [_parameter(p) for code, p in first.items() if p.expression and all(t.get(code) == p for t in others)]


def _parameter(p: Parameter) -> dict[str, str]:
    return {"name": p.code, **({"definition": p.url} if p.url else {}), "type": p.type}


def _resource(r4: R4, type: str, base: str, offers: Sequence[Offer], own: Collection[str], profiles: Sequence[str]) -> dict[str, Any]:
    writes = type not in READ_ONLY
    codes = dict.fromkeys(o.code for o in offers if o.code and o.shape.startswith("type") and (writes or o.code in READS))
    by_condition = {o.method for o in offers if o.where and writes}
    out: dict[str, Any] = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "supportedProfile": list(profiles),
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned-update",
        "readHistory": "vread" in codes,
        "updateCreate": False,
        "conditionalCreate": "create" in codes,
        "conditionalRead": "full-support",
        "conditionalUpdate": "PUT" in by_condition,
        "conditionalDelete": "single" if "DELETE" in by_condition else "not-supported",
        "searchInclude": [] if not writes else ["*", *sorted(f"{type}:{p.code}" for p in r4.search_parameters(type).values() if p.type == "reference")],
        "searchRevInclude": _pointing(r4).get(type, []),
        "searchParam": [_parameter(p) for p in r4.search_parameters(type).values() if p.expression],
        "operation": _operations(type, base, offers, own),
    }
    if type == "Subscription":
        out |= _of_subscribers(codes)
    elif "PATCH" in by_condition:
        out["documentation"] = "Patch by condition as well as by id."
    return {k: v for k, v in out.items() if v != []}


def _of_subscribers(codes: Iterable[str]) -> dict[str, Any]:
    """What there is of Subscriptions: its subscriber's alone, without versions and conditions."""
    return {
        "extension": [{"url": TOPICS_HELD, "valueCanonical": TOPIC}],
        "supportedProfile": [PROFILE],
        "documentation": "For registered systems, by `rest-hook` to the places that the operator allows; each sees their own alone. By the topic above, or by `Type?patient=` "
        "as in plain R4: then each change is an empty request.",
        "interaction": [{"code": c} for c in codes if c in ("read", "search-type", "create", "update", "delete")],
        "versioning": "versioned", "readHistory": False, "conditionalUpdate": False, "conditionalDelete": "not-supported",
    }  # fmt: skip


def _operations(type: str, base: str, offers: Sequence[Offer], own: Collection[str]) -> list[dict[str, str]]:
    names = dict.fromkeys(o.operation for o in offers if o.operation and type in (o.types or (type,)))
    return [{"name": name, "definition": _defined(type, name, base, own)} for name in names]


def _defined(type: str, name: str, base: str, own: Collection[str]) -> str:
    if f"{type}-{name}" in own:
        return f"{base}/OperationDefinition/{type}-{name}"
    if type == "Subscription" and name in OPERATIONS:
        return OPERATIONS[name]
    if name == "populate":
        return f"http://hl7.org/fhir/uv/sdc/OperationDefinition/{type}-{name}"
    owner = "Resource" if name == "validate" or name.startswith("meta") else type
    return f"http://hl7.org/fhir/OperationDefinition/{owner}-{name}"


def _pointing(r4: R4) -> dict[str, list[str]]:
    """For each type the reference parameters of other types that may point to it: what `_revinclude` takes."""
    known: dict[str, list[str]] | None = r4._compiled.get("pointing")
    if known is None:
        known = {}
        for source in r4.types:
            for p in r4.search_parameters(source).values():
                if p.type == "reference" and p.expression:
                    for target in p.targets or r4.types:
                        known.setdefault(target, []).append(f"{source}:{p.code}")
        r4._compiled["pointing"] = known = {t: sorted(v) for t, v in known.items()}
    return known
