"""What is hidden, and what points to it: a record of many types, with a canary wherever somebody could forget to look."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

CANARY = "CANARY"  # in everything hidden, and in what the view drops of what is not; the letter behind it says from whom
VERY_RESTRICTED, OTHER, KEPT, DENIED, DROPPED, OPEN = "V", "O", "K", "D", "S", "X"  # X: from nobody
NOBODY = "0198c0de-0000-7000-8000-000000000000"  # never given to anything, and as long as an id that was
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
VERY = {"system": CONFIDENTIALITY, "code": "V"}
SECRET = {"system": "urn:names", "value": f"{CANARY}-IDENTIFIER"}


def concept(text: str) -> dict[str, Any]:
    return {"coding": [{"system": "urn:codes", "code": f"{CANARY}-code", "display": f"{CANARY}-DISPLAY"}], "text": text}


def marked(letter: str, resource: dict[str, Any], *labels: dict[str, Any]) -> dict[str, Any]:
    """With a canary of this letter in narrative, extension and wherever the resource has one, and these labels."""
    more: dict[str, Any] = {"meta": {"tag": [{"system": "urn:tags", "code": f"{CANARY}-tag"}], **({"security": list(labels)} if labels else {})}}
    if resource["resourceType"] == "Binary":
        more["data"] = b64encode(f"{CANARY}{letter}-BINARY".encode()).decode()
    else:
        more["text"] = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{CANARY}-NARRATIVE</div>'}
        more["extension"] = [{"url": "https://fhir-gateway.example/StructureDefinition/said", "valueString": f"{CANARY}-EXTENSION"}]
    out: dict[str, Any] = json.loads(json.dumps({**resource, **more}).replace(f"{CANARY}-", f"{CANARY}{letter}-"))
    return out


def told(letter: str) -> tuple[str, ...]:
    """What a canary of this letter looks like, also in a Binary, whose every third byte may begin it."""
    return f"{CANARY}{letter}", b64encode(f"{CANARY}{letter}-B".encode()).decode()[:9]


def record(me: str, author: str, other: str = f"Goal/{NOBODY}") -> list[dict[str, Any]]:
    """One resource of many types about `me`, each full of canaries; what can refer to something refers to `other`."""
    person = {"reference": me}
    code = concept(f"{CANARY}-TEXT")
    there = {"reference": other, "display": f"{CANARY}-DISPLAY", "identifier": SECRET}
    note = [{"text": f"{CANARY}-NOTE"}]
    own = {"identifier": [SECRET], "subject": person}
    inside = {"contained": [{"resourceType": "Observation", "id": "in", "status": "final", "code": code, "valueString": f"{CANARY}-CONTAINED"}]}
    return [
        {"resourceType": "Goal", "lifecycleStatus": "active", "description": code, "startDate": "2026-03-01", "addresses": [{"reference": "Condition/elsewhere", "display": f"{CANARY}-DISPLAY"}], **own},
        {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": f"{CANARY}-TITLE", "period": {"start": "2026-01-01"}, "goal": [there], "supportingInfo": [{"reference": "#in"}], **inside, **own},
        {"resourceType": "Condition", "code": code, "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}, "recordedDate": "2026-05-01", **own},
        {"resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": "2026-05-01", "valueString": f"{CANARY}-VALUE", "focus": [there], **own},
        {"resourceType": "QuestionnaireResponse", "status": "completed", "authored": "2026-05-01", "item": [{"linkId": "1", "text": f"{CANARY}-QUESTION", "answer": [{"valueString": f"{CANARY}-ANSWER"}]}], "identifier": SECRET, "subject": person},
        {"resourceType": "ServiceRequest", "status": "draft", "intent": "order", "code": code, "authoredOn": "2026-05-01", **own},
        {"resourceType": "Task", "status": "draft", "intent": "order", "description": f"{CANARY}-DESCRIPTION", "for": person, "identifier": [SECRET], "focus": there},
        {"resourceType": "CareTeam", "status": "inactive", "name": f"{CANARY}-TEAM", **own},
        {"resourceType": "Communication", "status": "completed", "payload": [{"contentString": f"{CANARY}-PAYLOAD"}], "sent": "2026-05-01T10:00:00Z", **own},
        {"resourceType": "DocumentReference", "status": "current", "description": f"{CANARY}-DOCUMENT", "content": [{"attachment": {"contentType": "text/plain", "title": f"{CANARY}-ATTACHMENT", "url": f"Binary/{NOBODY}"}}], **own},
        {"resourceType": "Encounter", "status": "finished", "class": {"system": ACT_CODE, "code": "AMB"}, "reasonCode": [code], **own},
        {"resourceType": "Procedure", "status": "completed", "code": code, "performedDateTime": "2026-05-01", **own},
        {"resourceType": "AllergyIntolerance", "code": code, "patient": person, "identifier": [SECRET], "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]}},
        {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": code, **own},
        {"resourceType": "Flag", "status": "active", "code": code, **own},
        {"resourceType": "RiskAssessment", "status": "final", "code": code, "note": note, **own},
        {"resourceType": "RelatedPerson", "active": True, "patient": person, "identifier": [SECRET], "name": [{"family": f"{CANARY}-FAMILY"}], "telecom": [{"system": "phone", "value": f"{CANARY}-PHONE"}]},
        {"resourceType": "List", "status": "current", "mode": "working", "title": f"{CANARY}-LIST", "entry": [{"item": there}], **own},
        {"resourceType": "Composition", "status": "final", "type": code, "date": "2026-05-01", "author": [{"reference": author}], "title": f"{CANARY}-COMPOSITION", "subject": person, "section": [{"title": f"{CANARY}-SECTION", "entry": [there]}]},
        {"resourceType": "Provenance", "target": [person, there], "recorded": "2026-05-01T10:00:00Z", "reason": [code], "agent": [{"who": {"reference": author}}]},
        {"resourceType": "Binary", "contentType": "text/plain", "securityContext": person},
        {"resourceType": "Group", "type": "person", "actual": True, "name": f"{CANARY}-GROUP", "member": [{"entity": person}]},
    ]  # fmt: skip


def sharing(me: str, rules: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A Consent in the form of the pages."""
    return {
        "resourceType": "Consent", "status": "active", "patient": {"reference": me},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": rules}, **more,
    }  # fmt: skip


def rule(type: str, who: str, **what: Any) -> dict[str, Any]:
    """Permit or deny this person or organisation."""
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    return {"type": type, "actor": [{"role": role, "reference": {"reference": who}}], **what}


def classes(*types: str) -> list[dict[str, Any]]:
    return [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in types]
