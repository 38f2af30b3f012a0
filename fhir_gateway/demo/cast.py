"""The cast of the demo: invented people and organisations. NHS numbers are from the range set aside for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
SECTORS = "https://fhir-gateway.example/CodeSystem/sector"
ROLES = "https://fhir-gateway.example/CodeSystem/role"
PASSWORD = "demo-only-password"
PATIENT_NAME = "Amina Example"
PROXY_NAME = "Leila Example"
HOSPITAL_NAME = "Example General Hospital"


@dataclass(frozen=True, slots=True)
class Staff:
    username: str
    person: str  # name in `directory()`
    organisation: str
    name: str
    what: str
    roles: tuple[str, ...] = ()
    purpose: str = "TREAT"
    assurance: str = "AAL2"


AMBULANCE = "RZ9"  # urgent care: registered as such in every store that holds the demo

STAFF = (
    Staff("gp", "asha", "surgery", "Dr Asha Patel", "GP of Amina, Example Street Surgery", ("clinician", "break-glass", "declassifier"), assurance="AAL3"),
    Staff("social-worker", "tom", "council", "Tom Reed", "Social worker, Example County Council"),
    Staff("link-worker", "rosa", "kindly", "Rosa Lind", "Link worker, Kindly Neighbours (voluntary)"),
    Staff("community-nurse", "ben", "community", "Ben Okafor", "Community nurse, Example Community Team", ("clinician",)),
    Staff("stranger", "sam", "other-surgery", "Dr Sam Other", "A GP elsewhere, with no relationship to Amina", ("clinician", "break-glass")),
    Staff("paramedic", "pia", "ambulance", "Pia Lund", "Paramedic, Example Ambulance Service (urgent care)", ("clinician",), "ETREAT"),
    Staff("privacy-officer", "olu", "board", "Olu Grant", "Privacy officer, Example Care Board", ("privacy-officer",), "HOPERAT"),
    Staff("registrar", "nia", "surgery", "Nia Bello", "Writes down what people choose, Example Street Surgery", ("registrar",)),
)


def directory() -> list[tuple[str, dict[str, Any]]]:
    """(name, resource) in an order in which references point back."""
    return [
        ("surgery", organisation("D82001", "Example Street Surgery", "health")),
        ("council", organisation("926", "Example County Council", "social-care")),
        ("kindly", organisation("org-kindly", "Kindly Neighbours", "voluntary", own=True)),
        ("hospital", organisation("RX9", HOSPITAL_NAME, "health")),
        ("community", organisation("RY9", "Example Community Team", "health")),
        ("other-surgery", organisation("D82999", "Faraway Surgery", "health")),
        ("ambulance", organisation(AMBULANCE, "Example Ambulance Service", "health")),
        ("board", organisation("QX9", "Example Care Board", "health")),
        *worker("asha", "Patel", "Asha", "surgery", "GP", prefix="Dr"),
        *worker("tom", "Reed", "Tom", "council", "Social worker"),
        *worker("rosa", "Lind", "Rosa", "kindly", "Link worker"),
        *worker("ben", "Okafor", "Ben", "community", "Community nurse"),
        *worker("sam", "Other", "Sam", "other-surgery", "GP", prefix="Dr"),
        *worker("pia", "Lund", "Pia", "ambulance", "Paramedic"),
        *worker("nia", "Bello", "Nia", "surgery", "Receptionist"),
        *worker("olu", "Grant", "Olu", "board", "Privacy officer"),
    ]


def organisation(code: str, name: str, sector: str, *, own: bool = False) -> dict[str, Any]:
    system = "https://fhir-gateway.example/id/organisation" if own else ODS
    return {
        "resourceType": "Organization",
        "identifier": [{"system": system, "value": code}],
        "active": True,
        "type": [{"coding": [{"system": SECTORS, "code": sector}]}],
        "name": name,
    }


def worker(key: str, family: str, given: str, place: str, role: str, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    name: dict[str, Any] = {"family": family, "given": [given]}
    if prefix:
        name["prefix"] = [prefix]
    return [
        (key, {"resourceType": "Practitioner", "active": True, "name": [name]}),
        (
            f"{key}-role",
            {
                "resourceType": "PractitionerRole",
                "active": True,
                "practitioner": {"reference": f"@{key}"},
                "organization": {"reference": f"@{place}"},
                "code": [{"coding": [{"system": ROLES, "code": role.lower().replace(" ", "-"), "display": role}], "text": role}],
            },
        ),
    ]


def daughter(person: str) -> dict[str, Any]:
    return {
        "resourceType": "RelatedPerson",
        "active": True,
        "patient": {"reference": person},
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "DAUC"}]}],
        "name": [{"family": "Example", "given": ["Leila"]}],
    }


def proxy_role(person: str, proxy: str) -> dict[str, Any]:
    """Amina lets her daughter see her record on her behalf (the shape of the NHS Validated Relationships Service)."""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "INFA"}]}],
        "patient": {"reference": person},
        "dateTime": "2026-02-03",
        "performer": [{"reference": person}],
        "policyRule": {"coding": [{"system": "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis", "code": "consent"}]},
        "provision": {
            "type": "permit",
            "period": {"start": "2026-02-03"},
            "actor": [
                {
                    "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                    "reference": {"reference": proxy},
                }
            ],
        },
    }


def allergy(person: str, recorder: str) -> dict[str, Any]:
    """What Amina's GP knows that a paramedic must know."""
    status = "http://terminology.hl7.org/CodeSystem/allergyintolerance-"
    return {
        "resourceType": "AllergyIntolerance",
        "clinicalStatus": {"coding": [{"system": f"{status}clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{status}verification", "code": "confirmed"}]},
        "type": "allergy",
        "category": ["medication"],
        "criticality": "high",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "91936005", "display": "Allergy to penicillin"}], "text": "Penicillin"},
        "patient": {"reference": person},
        "onsetDateTime": "1998",
        "recordedDate": "2018-09-03",
        "recorder": {"reference": recorder},
        "reaction": [{"manifestation": [{"text": "Swollen face and lips"}, {"text": "Hard to breathe"}], "severity": "severe", "onset": "1998-06"}],
    }


def warning(person: str, author: str) -> dict[str, Any]:
    return {
        "resourceType": "Flag",
        "status": "active",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "safety", "display": "Safety"}]}],
        "code": {"text": "Falls easily: help her to stand up, her stick is by the door"},
        "subject": {"reference": person},
        "period": {"start": "2026-02-10"},
        "author": {"reference": author},
    }


TRIES = {
    "stranger": ("Open a record in an emergency: NHS number 999 000 0018, born 7 April 1951, family name Example",),
    "registrar": ("Write down a choice that Amina told you, or who acts for her: by program, as docs/consents.md shows",),
    "gp": ("Take a wrong privacy label off, with a reason: by program, as docs/labels.md shows",),
}


def people_for_the_page() -> list[dict[str, Any]]:
    """Name, what, username and password of everybody who can sign in."""
    me = [
        {"name": PATIENT_NAME, "what": "The person whose plan it is", "username": "patient"},
        {"name": PROXY_NAME, "what": "Amina's daughter, with a proxy role", "username": "proxy"},
    ]
    staff = [{"name": s.name, "what": s.what, "username": s.username, "tries": TRIES.get(s.username, ())} for s in STAFF]
    return [{**p, "password": PASSWORD} for p in me + staff]


WHAT_TO_TRY = """
fhir_gateway is serving a demo at {base} (these people are invented).

  Open {base} in a browser and sign in as `patient`, `gp` or `link-worker`, password `demo-only-password`.

  Or in another terminal, in this folder:
    .venv/bin/fhir-gateway token --as gp --json
    TOKEN=$(.venv/bin/fhir-gateway token --as gp)
    curl -H "Authorization: Bearer $TOKEN" "{base}/fhir/CarePlan?_include=CarePlan:goal"
    .venv/bin/fhir-gateway import YOUR-PLAN.json

  The link worker sees nothing until Amina grants it: {base}/my-plan/sharing
  `stranger` can open her record in an emergency, and she sees it: {base}/my-plan/who-looked
  `registrar` writes down what Amina told her (docs/consents.md); `gp` may take a wrong privacy label off (docs/labels.md).
  Ctrl-C ends it; deleting {data} resets it.
"""
