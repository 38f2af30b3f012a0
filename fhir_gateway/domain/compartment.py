"""Whose record is this: from a resource to the people it is about.

The table is the official Patient compartment (https://hl7.org/fhir/R4/compartmentdefinition-patient.html), its search
parameters written as element paths; beside it every `subject`, `patient`, `for`, `beneficiary` and their like that the
compartment leaves out (Task.for, Device.patient, Contract.subject, …), and whoever else it tells of (Observation.focus, …).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .directory import NO_PATIENT_DATA

_PATIENT_ELEMENT: Final = (
    "AllergyIntolerance BodyStructure Claim ClaimResponse Consent CoverageEligibilityRequest"
    " CoverageEligibilityResponse DetectedIssue Device EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory"
    " Immunization ImmunizationEvaluation ImmunizationRecommendation MolecularSequence NutritionOrder"
    " RelatedPerson SupplyDelivery VisionPrescription"
)

# The element that says whose record a resource belongs to, where it is not `subject`.
SUBJECT: Final[Mapping[str, str]] = {
    "Binary": "securityContext",
    "Coverage": "beneficiary",
    "EnrollmentRequest": "candidate",
    "Patient": "id",
    "ResearchSubject": "individual",
    "SupplyRequest": "deliverTo",
    "Task": "for",
    "AuditEvent": "entity.what",
    "Appointment": "participant.actor",
    "AppointmentResponse": "actor",
    "Group": "member.entity",
    "Person": "link.target",
    "Provenance": "target",
    "Schedule": "actor",
    **dict.fromkeys(_PATIENT_ELEMENT.split(), "patient"),
}

# What else the compartment reaches, type by type.
_ALSO: Final[Mapping[str, str]] = {
    "AllergyIntolerance": "recorder asserter",
    "AuditEvent": "agent.who entity.what",
    "Basic": "author",
    "CarePlan": "activity.detail.performer",
    "CareTeam": "participant.member",
    "Claim": "payee.party",
    "Communication": "sender recipient",
    "CommunicationRequest": "sender recipient requester",
    "Composition": "author attester.party",
    "Condition": "asserter",
    "Coverage": "policyHolder subscriber payor",
    "DeviceRequest": "performer",
    "DocumentManifest": "author recipient",
    "DocumentReference": "author",
    "ExplanationOfBenefit": "payee.party",
    "Invoice": "recipient",
    "List": "source",
    "MedicationAdministration": "performer.actor",
    "MedicationDispense": "receiver",
    "Observation": "performer",
    "Procedure": "performer.actor",
    "QuestionnaireResponse": "author",
    "RequestGroup": "action.participant",
    "ServiceRequest": "performer",
}
_ANYWHERE: Final = ("subject", "patient", "for", "beneficiary")

# Where R4 lets somebody else than the subject be what a resource tells of (the donor, the baby, a person on a list). Who asked for it,
# wrote it, did it or pays is not told of, but where the compartment says so. Any `valueReference` (an extension, an answer) counts too.
_TOLD_OF: Final[Mapping[str, str]] = {
    "BiologicallyDerivedProduct": "collection.source",
    "Composition": "section.focus section.entry",
    "Contract": "term.action.subject.reference",
    "DocumentReference": "context.sourcePatientInfo context.related",
    "Linkage": "item.resource",
    "List": "entry.item",
    "VerificationResult": "target",
}
_TOLD_OF_ANYWHERE: Final = ("focus", "about")
_OWN_WORDS: Final = frozenset({"Consent", "Patient"})  # whom a consent names is for the person to say; links between people: `standing`


def _paths(type: str) -> tuple[tuple[str, ...], ...]:
    names = dict.fromkeys([SUBJECT.get(type, "subject"), *_ANYWHERE, *_ALSO.get(type, "").split()])
    return tuple(tuple(n.split(".")) for n in names if n != "id")


_BY_TYPE: Final = {t: _paths(t) for t in {*SUBJECT, *_ALSO}}
_PLAIN: Final = _paths("")


def patients(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Every `Patient/…` whose record this is part of, the record's own subject first, and whom else it tells of. A Patient is its own.

    What is contained, and what a Bundle or Parameters carries, names its people too. Empty for types that hold no
    patient data, and for what is in nobody's record: to be told of makes it nobody's.
    """
    whose = dict.fromkeys(_named(resource))
    return tuple(whose | dict.fromkeys(_told_of(resource))) if whose else ()


def subject(resource: Mapping[str, Any]) -> str | None:
    """The one `Patient/…` whose record this belongs to, or None."""
    return next(_named(resource), None)


def patient_of(reference: Any) -> str | None:
    """`Patient/…` of a Reference to a Patient of this server; None for anything else."""
    text = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(text, str) or not text.startswith("Patient/"):
        return None
    return text.split("/_history/", 1)[0]


def _named(resource: Mapping[str, Any]) -> Iterator[str]:
    type = resource.get("resourceType", "")
    if type in NO_PATIENT_DATA:
        return
    if type == "Patient" and isinstance(resource.get("id"), str) and resource["id"]:
        yield f"Patient/{resource['id']}"
    for path in _BY_TYPE.get(type, _PLAIN) if type != "Patient" else ():  # links between people: `standing`
        for value in _at(resource, path):
            found = patient_of(value)
            if found is not None:
                yield found
    for inside in _within(resource, type):
        if inside.get("resourceType") != "Patient" or type in ("Bundle", "Parameters"):
            yield from _named(inside)


def _told_of(resource: Mapping[str, Any]) -> Iterator[str]:
    type = resource.get("resourceType", "")
    if type in NO_PATIENT_DATA or type in _OWN_WORDS:
        return
    named = (v for name in (*_TOLD_OF_ANYWHERE, *_TOLD_OF.get(type, "").split()) for v in _at(resource, tuple(name.split("."))))
    yield from filter(None, map(patient_of, (*named, *_values(resource))))
    for inside in _within(resource, type):
        yield from _told_of(inside)


def _values(node: Any) -> Iterator[Any]:
    """Every `valueReference` of this resource, at any depth, but not of a resource in it."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if name == "valueReference":
            yield value
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, dict) and "resourceType" not in each:
                yield from _values(each)


def _within(resource: Mapping[str, Any], type: str) -> Iterator[Mapping[str, Any]]:
    carried = _at(resource, ("contained",))
    yield from (r for r in carried if isinstance(r, dict))
    if type in ("Bundle", "Parameters"):
        for path in (("entry", "resource"), ("parameter", "resource"), ("parameter", "part", "resource")):
            yield from (r for r in _at(resource, path) if isinstance(r, dict))


def _at(node: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """Every value at this path, lists opened."""
    if isinstance(node, list):
        for item in node:
            yield from _at(item, path)
    elif not path:
        yield node
    elif isinstance(node, dict) and path[0] in node:
        yield from _at(node[path[0]], path[1:])


__all__ = ["NO_PATIENT_DATA", "SUBJECT", "patient_of", "patients", "subject"]
