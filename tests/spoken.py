"""What people and systems say to a gateway over HTTP, and the consents they write: nothing of the gateway's own code is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from .conftest import Gateway

PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
LEGAL_BASIS = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"
REASON_URL = "https://fhir.nhs.uk/England/StructureDefinition/Extension-England-Consent-Status-Reason"
REASONS = "https://fhir.nhs.uk/England/CodeSystem/England-ConsentStatusReason"
PRESENT = "https://fhir-gateway.example/StructureDefinition/consent-present"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"


class Colleague:
    """Somebody signed in: `call` as on a Gateway."""

    def __init__(self, gateway: Gateway, user: str, token: str, organisation: str = "") -> None:
        self.gateway, self.user, self.token, self.organisation = gateway, user, token, organisation

    def call(self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None) -> httpx2.Response:
        return self.gateway.call(None, method, path, body=body, headers={"Authorization": f"Bearer {self.token}", **(headers or {})})

    def get(self, path: str) -> httpx2.Response:
        return self.call("GET", path)

    def total(self, search: str) -> int:
        return int(self.get(search).json()["total"])


def reference(name: str) -> dict[str, Any]:
    system, bar, value = name.rpartition("|")
    return {"identifier": {"system": system, "value": value}} if bar else {"reference": name}


def actor(name: str, role: str = "IRCP", system: str = PARTICIPATION) -> dict[str, Any]:
    return {"role": {"coding": [{"system": system, "code": role}]}, "reference": reference(name)}


def permit(*names: str, type: str = "permit", **more: Any) -> dict[str, Any]:
    return {"type": type, **({"actor": [actor(n) for n in names]} if names else {}), **more}


def consent(patient: str, *rules: dict[str, Any], root: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A Consent of ours; `root` replaces the silent one."""
    provision = root if root is not None else {"provision": list(rules)} if rules else {}
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        **({"provision": provision} if provision else {}),
    } | more  # fmt: skip


def recorded(patient: str, *rules: dict[str, Any], root: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The same as staff write it down, checked with the person."""
    me = {"reference": f"Patient/{patient}"}
    return consent(patient, *rules, root=root, **(checked(f"Patient/{patient}", me) | more))


def checked(giver: str, *present: dict[str, Any]) -> dict[str, Any]:
    """Given by them and checked with them, before whoever was there."""
    there = [{"url": PRESENT, "valueReference": who} for who in present or ({"reference": giver},)]
    check = {"extension": there, "verified": True, "verifiedWith": {"reference": giver}, "verificationDate": "2026-11-20"}
    return {"performer": [{"reference": giver}], "verification": [check]}


def role(patient: str, proxy: str, basis: str = "consent", status: str = "active", reason: str = "ROLE_CREATED", grantor: str = "D82001", **more: Any) -> dict[str, Any]:
    """A Consent that makes `proxy` act for the person."""
    said = [{"url": REASON_URL, "valueCodeableConcept": {"coding": [{"system": REASONS, "code": reason}]}}] if reason else []
    answers = {"organization": [{"identifier": {"system": ODS, "value": grantor}}]} if grantor else {}
    return consent(
        patient, root={"type": "permit", "actor": [actor(proxy)]}, status=status,
        policyRule={"coding": [{"system": LEGAL_BASIS, "code": basis}]}, **({"extension": said} if said else {}), **answers, **more,
    )  # fmt: skip


def save(who: Colleague | Gateway, resource: dict[str, Any], etag: str, by: str = "patient") -> httpx2.Response:
    path, headers = f"{resource['resourceType']}/{resource['id']}", {"If-Match": etag}
    if isinstance(who, Gateway):
        return who.call(by, "PUT", path, body=resource, headers=headers)
    return who.call("PUT", path, body=resource, headers=headers)


def end(gateway: Gateway, answer: httpx2.Response) -> None:
    """The person ends a consent."""
    id = answer.headers["location"].split("/Consent/")[1].split("/")[0]
    now = gateway.get("patient", f"Consent/{id}")
    if now.json()["status"] == "active":
        done = save(gateway, now.json() | {"status": "inactive"}, now.headers["etag"])
        assert done.status_code == 200, done.text


def id_of(answer: httpx2.Response) -> str:
    """The id of what was made: who may not read it gets no body."""
    return str(answer.headers["location"].split("/_history")[0].rsplit("/", 1)[1])


@contextmanager
def given(gateway: Gateway, body: dict[str, Any]) -> Iterator[httpx2.Response]:
    """A consent that the person writes, and ends afterwards."""
    made = gateway.call("patient", "POST", "Consent", body=body)
    assert made.status_code == 201, made.text
    try:
        yield made
    finally:
        end(gateway, made)
