"""Rules written back as a FHIR Consent, for the law that reading a consent loses nothing which decides. The gateway itself never does."""

from __future__ import annotations

from typing import Any

from fhir_gateway.domain.grants import Grant, Labels, Rule
from fhir_gateway.domain.periods import instant
from fhir_gateway.domain.provisions import DATA_SOURCE, ENVIRONMENT
from fhir_gateway.domain.vocabulary import (
    ACT_CODE,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_ACTION,
    CONSENT_SCOPE,
    CUSTODIAN_ROLES,
    LEGAL_SYSTEM,
    POLICY_SYSTEM,
    PROFILE_SYSTEM,
    PROXY_BASIS_SUFFIX,
    REQUESTER_ROLES,
    RESOURCE_TYPES,
    SENSITIVITY_SYSTEM,
    UK_DIRECT_CARE,
)


def unparse(grant: Grant) -> dict[str, Any]:
    """A Consent that says the same: parsing it gives these rules again. What decides nothing (text, dates, sources) is not in it."""
    rule = {"system": f"https://fhir.nhs.uk/England{PROXY_BASIS_SUFFIX}", "code": grant.proxy}
    return {
        "resourceType": "Consent",
        "id": grant.id,
        "status": grant.status,
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": grant.scope}]},
        **({"patient": {"reference": grant.patient}} if grant.patient else {}),
        **({"policy": [{"uri": u} for u in sorted(grant.under)]} if grant.under else {}),
        "policyRule": {"coding": [rule if grant.proxy else {"system": POLICY_SYSTEM, "code": UK_DIRECT_CARE}]},
        "provision": _provision(grant.root),
    }


def _provision(rule: Rule) -> dict[str, Any]:
    actors = [_as_actor("IRCP", n) for n in sorted(rule.who)] + [_as_actor("CST", n) for n in sorted(rule.custodians)]
    extensions = [{"url": ENVIRONMENT, "valueCodeableConcept": {"coding": [_as_coding(e, "/")]}} for e in sorted(rule.env)]
    extensions += [{"url": DATA_SOURCE, "valueUri": s} for s in sorted(rule.sources)]
    data = [("instance", n) for n in sorted(rule.instances)] + [("related", n) for n in sorted(rule.related)]
    data += [("authoredby", n) for n in sorted(rule.authored)]
    classes = [{"system": RESOURCE_TYPES, "code": t} for t in sorted(rule.types)]
    out: dict[str, Any] = {
        "id": rule.id,
        "extension": extensions,
        "type": rule.type,
        "period": _as_period(rule.low, rule.high),
        "actor": actors,
        "action": [{"coding": [{"system": CONSENT_ACTION, "code": a}]} for a in sorted(rule.actions)],
        "securityLabel": _as_labels(rule.labels) if rule.labels else [],
        "purpose": [_as_coding(p) for p in sorted(rule.said)],
        "class": classes + [{"system": PROFILE_SYSTEM, "code": p} for p in sorted(rule.profiles)],
        "code": [{"coding": [_as_coding(c)]} for c in sorted(rule.codes)],
        "data": [{"meaning": m, "reference": _as_reference(n)} for m, n in data],
        "provision": [_provision(r) for r in rule.rules],
    }
    kept = {k: v for k, v in out.items() if v}
    return kept | ({"dataPeriod": _as_period(rule.data_low, rule.data_high)} if rule.dated else {})


def _as_actor(role: str, name: str) -> dict[str, Any]:
    system = next(s for s, c in REQUESTER_ROLES | CUSTODIAN_ROLES if c == role)
    return {"role": {"coding": [{"system": system, "code": role}]}, "reference": _as_reference(name)}


def _as_reference(name: str) -> dict[str, Any]:
    system, bar, value = name.partition("|")
    return {"identifier": {"system": system, "value": value}} if bar else {"reference": name}


def _as_coding(text: str, between: str = "|") -> dict[str, str]:
    system, _, code = text.rpartition(between)
    return {"system": system, "code": code}


def _as_labels(labels: Labels) -> list[dict[str, str]]:
    level = [] if labels.level is None else ["ULMNRV"[labels.level]]
    ours = {"SOCIAL"}
    return [
        *({"system": CONFIDENTIALITY_SYSTEM, "code": c} for c in level),
        *({"system": SENSITIVITY_SYSTEM if c in ours else ACT_CODE, "code": c} for c in sorted(labels.sensitivity)),
        *({"system": LEGAL_SYSTEM, "code": c} for c in sorted(labels.legal)),
    ]


def _as_period(low: int | None, high: int | None) -> dict[str, str]:
    out = {"start": low, "end": high}
    return {k: instant(v).isoformat(timespec="microseconds").replace("+00:00", "Z") for k, v in out.items() if v is not None}
