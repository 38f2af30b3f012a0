"""A care plan as a FHIR document: the Composition in front of what its reader may see. https://hl7.org/fhir/R4/documents.html

Everything here is made from the renderings of one reader; what they may not see is not counted, listed or hinted at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final, NamedTuple

from .mapping.names import CONTINGENCY_CATEGORY, EXTENSIONS, MAIN_CATEGORY, own_identifier
from .types import Ref

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
XHTML: Final = "http://www.w3.org/1999/xhtml"
Resources = Mapping[Ref, Mapping[str, Any]]
Code = tuple[str, str, str] | None


class Part(NamedTuple):
    """A section: its title, its code (system, code, display) where there is one, and which resources stand in it."""

    title: str
    code: Code
    holds: Callable[[Mapping[str, Any]], bool]


def _of(*types: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda r: r.get("resourceType") in types


def _kind(*kinds: str) -> Callable[[Mapping[str, Any]], bool]:
    """What our own plans call so (`mapping.names`)."""
    return lambda r: (own_identifier(r) or ("",))[0] in kinds


def _crisis(resource: Mapping[str, Any]) -> bool:
    codes = {str(c.get("code")) for k in _each(resource.get("category")) if isinstance(k, Mapping) for c in _each(k.get("coding")) if isinstance(c, Mapping)}
    return resource.get("resourceType") == "CarePlan" and (_kind("contingency")(resource) or bool(codes & CRISIS))


CRISIS: Final = frozenset({CONTINGENCY_CATEGORY, "736253002", "887701000000100"})  # contingency, mental health crisis, emergency
FURTHER: Final = Part("Further information", (LOINC, "55107-7", "Addendum Document"), _of())
PARTS: Final = (  # the first that holds a resource has it
    Part("About the person", (LOINC, "51855-5", "Patient Note"), _kind("about-me")),
    Part("Allergies and warnings", (LOINC, "48765-2", "Allergies and adverse reactions Document"), _of("AllergyIntolerance", "Flag")),
    Part("If things get worse", (SNOMED, CONTINGENCY_CATEGORY, "Contingency plan"), _crisis),
    Part("Strengths", (LOINC, "29762-2", "Social history Narrative"), _kind("strength")),
    Part("How it hangs together, barriers, decisions and risks", None, lambda r: _kind("formulation", "barrier", "decision", "risk")(r) or _of("RiskAssessment", "ClinicalImpression")(r)),
    Part("Needs and concerns", (LOINC, "75310-3", "Health concerns Document"), _of("Condition")),
    Part("Goals", (LOINC, "61146-7", "Goals Narrative"), _of("Goal")),
    Part("What could not be had", None, _kind("unmet-need")),
    Part("Services and referrals", (LOINC, "57133-1", "Referral note"), _of("ServiceRequest", "HealthcareService")),
    Part("What is planned", (LOINC, "18776-5", "Plan of care note"), _of("Task", "Appointment", "CommunicationRequest", "DeviceRequest", "NutritionOrder", "RequestGroup")),
    Part("Medicines", (LOINC, "10160-0", "History of Medication use Narrative"), _of("MedicationStatement", "MedicationRequest")),
    Part("Who helps", (LOINC, "85847-2", "Patient Care team Document"), _of("CareTeam", "RelatedPerson")),
    Part("Measurements", (LOINC, "8716-3", "Vital signs"), _of("Observation")),
    Part("Other plans", (LOINC, "18776-5", "Plan of care note"), _of("CarePlan")),
    FURTHER,
)
NO_SECTION: Final = frozenset({"Patient", "Practitioner", "PractitionerRole", "Organization", "Location", "Device", "Medication", "Provenance", "Binary"})  # named by others
WORDS: Final = ("description", "code", "medicationCodeableConcept", "valueString", "name", "title", "category", "type", "focus")
MORE: Final = ("lifecycleStatus", "status")  # how it stands: beside the words


def is_main(plan: Mapping[str, Any]) -> bool:
    """Whether this is the person's one main plan, which everything that belongs to a plan is part of."""
    codes = {str(c.get("code")) for k in _each(plan.get("category")) if isinstance(k, Mapping) for c in _each(k.get("coding")) if isinstance(c, Mapping)}
    return (own_identifier(plan) or ("",))[0] == "plan" or MAIN_CATEGORY in codes


def belongs(resource: Mapping[str, Any], plan: Ref) -> bool:
    """Whether this, of the same person, is part of their main plan though the plan does not refer to it: what a plan of ours was made of,
    plans that are part of it, medicines, allergies, warnings, services asked for, family and friends."""
    type = resource.get("resourceType")
    if resource.get("status") == "entered-in-error":
        return False
    if type in ("AllergyIntolerance", "Flag", "MedicationStatement", "MedicationRequest", "ServiceRequest", "RelatedPerson"):
        return True
    above = {str(r.get("reference", "")) for r in _each(resource.get("partOf")) if isinstance(r, Mapping)}
    return own_identifier(resource) is not None or (type == "CarePlan" and any(_ref(a) == plan for a in above))


def composition(plan: Ref, resources: Resources, *, id: str, at: datetime, base: str, confidentiality: str) -> dict[str, Any]:
    """The Composition of a document about `plan`. References are absolute: this resource has no address of its own."""
    body = resources[plan]
    parts = _sorted_into(plan, resources)
    sections = [_section("Care plan", (LOINC, "18776-5", "Plan of care note"), [plan], resources, base), *(_section(p.title, p.code, refs, resources, base) for p, refs in parts)]
    listed = "".join(f"<li>{escape(part['title'])}: {len(part['entry'])}</li>" for part in sections)
    attested, keeper = _attesters(body, resources, base), _custodian(body, resources)
    return {
        "resourceType": "Composition",
        "id": id,
        "text": _narrative(f"<p>{escape(str(body.get('title') or 'Care plan'))}</p><ul>{listed}</ul>"),
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": "18776-5", "display": "Plan of care note"}]},
        "subject": _at(base, str(body["subject"].get("reference", ""))),
        "date": at.isoformat(timespec="seconds"),
        "author": [_author(body, resources, base)],
        "title": str(body.get("title") or "Care plan"),
        "confidentiality": confidentiality,
        **({"attester": attested} if attested else {}),
        **({"custodian": _at(base, str(keeper))} if keeper else {}),
        "section": sections,
    }


def _author(plan: Mapping[str, Any], resources: Resources, base: str) -> dict[str, Any]:
    """Who wrote the plan, when it says so and the document brings them along; else the gateway that put it together."""
    reference = str((plan.get("author") or {}).get("reference", ""))
    if _ref(reference) in resources:
        return _at(base, reference)
    return {"type": "Device", "display": "fhir_gateway"}


def _attesters(plan: Mapping[str, Any], resources: Resources, base: str) -> list[dict[str, Any]]:
    """Who agreed to the plan, and when (`plan-agreement`): the person, who stands for them, professionals. Whom this reader does not see is not named."""
    out = []
    for agreed in _each(plan.get("extension")):
        if not isinstance(agreed, Mapping) or agreed.get("url") != f"{EXTENSIONS}plan-agreement":
            continue
        said = {str(e.get("url")): e for e in _each(agreed.get("extension")) if isinstance(e, Mapping)}
        by = said.get("by", {}).get("valueReference") or {}
        on = said.get("date", {}).get("valueDateTime")
        ref = _ref(str(by.get("reference", "")))
        if ref in resources and ref.type in ("Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization"):
            mode = "personal" if ref.type in ("Patient", "RelatedPerson") else "professional"
            out.append({"mode": mode, **({"time": on} if on else {}), "party": _at(base, str(ref))})
    return out


def _custodian(plan: Mapping[str, Any], resources: Resources) -> Ref | None:
    """The organisation that keeps the plan: the one it names, its author, or its author's."""
    named = next((_ref(str((e.get("valueReference") or {}).get("reference", ""))) for e in _each(plan.get("extension")) if isinstance(e, Mapping) and str(e.get("url")).endswith("custodian")), None)
    author = _ref(str((plan.get("author") or {}).get("reference", "")))
    place = _ref(str((resources.get(author, {}).get("organization") or {}).get("reference", "")))
    team = next((_ref(str(o.get("reference", ""))) for r in resources.values() if r.get("resourceType") == "CareTeam" for o in _each(r.get("managingOrganization")) if isinstance(o, Mapping)), None)
    return next((r for r in (named, author, place, team) if r is not None and r.type == "Organization" and r in resources), None)


def _section(title: str, code: Code, refs: Sequence[Ref], resources: Resources, base: str) -> dict[str, Any]:
    lines = "".join(f"<li>{escape(_words(resources[r]))}</li>" for r in refs)
    return {
        "title": title,
        **({"code": {"coding": [dict(zip(("system", "code", "display"), code, strict=True))]}} if code else {}),
        "text": _narrative(f"<ul>{lines}</ul>"),
        "entry": [_at(base, str(r)) for r in refs],
    }


def _narrative(inner: str) -> dict[str, str]:
    return {"status": "generated", "div": f'<div xmlns="{XHTML}">{inner}</div>'}


def _sorted_into(plan: Ref, resources: Resources) -> list[tuple[Part, list[Ref]]]:
    """Each part that has something, with its resources: what the plan refers to first, in the plan's order."""
    named = {ref: n for n, ref in enumerate(dict.fromkeys(_named(resources[plan])))}
    found: dict[str, list[Ref]] = {}
    for ref in sorted(resources, key=lambda r: named.get(r, len(named))):
        if ref == plan or ref.type in NO_SECTION:
            continue
        part = next((p for p in PARTS if p.holds(resources[ref])), FURTHER)
        found.setdefault(part.title, []).append(ref)
    return [(p, found[p.title]) for p in PARTS if p.title in found]


def _named(node: Any) -> Iterator[Ref]:
    if isinstance(node, Mapping):
        if isinstance(node.get("reference"), str):
            yield _ref(node["reference"])
        for value in node.values():
            yield from _named(value)
    elif isinstance(node, list):
        for value in node:
            yield from _named(value)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _ref(reference: str) -> Ref:
    type, _, id = reference.partition("/_history/")[0].partition("/")
    return Ref(type, id)


def _at(base: str, reference: str) -> dict[str, str]:
    return {"reference": f"{base}/{_ref(reference)}"}


def _words(resource: Mapping[str, Any]) -> str:
    """A line about a resource for people to read: what it is, and how it stands."""
    said = next((t[:300] for name in WORDS for value in _each(resource.get(name)) if (t := _text(value))), str(resource.get("resourceType")))
    if resource.get("resourceType") == "Observation":
        value = resource.get("valueQuantity")
        if isinstance(value, Mapping) and value.get("value") is not None:
            said += f": {value['value']} {value.get('unit', '')}".rstrip()
    stands = next((str(resource[k]) for k in MORE if resource.get("resourceType") in ("Goal", "Task", "ServiceRequest", "MedicationStatement", "MedicationRequest") and resource.get(k)), "")
    return f"{said} ({stands})" if stands else said


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, dict):
        return ""
    if value.get("family"):
        return " ".join([*map(str, _each(value.get("given"))), str(value["family"])])
    codings = [c for c in _each(value.get("coding")) if isinstance(c, dict)]
    return str(value.get("text") or next((c["display"] for c in codings if c.get("display")), "") or "").strip()
