"""A care plan as a FHIR document: the Composition in front of what its reader may see. https://hl7.org/fhir/R4/documents.html

Everything here is made from the renderings of one reader; what they may not see is not counted, listed or hinted at. Whoever shows the
narrative alone shows the plan: each thing stands in the words that are printed too (`domain.sentences`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .mapping.foreign import verified
from .mapping.names import CONTINGENCY_CATEGORY, EXTENSIONS, categories, is_main, own_identifier
from .medicines import (
    FORBIDDEN,
    RESOURCES,
    Told,
    by_name,
    doses,
    forbidden,
    in_names,
    is_not_to_be,
    of_record,
    otherwise,
    taken,
    told,
    told_by_record,
)
from .periods import LONDON
from .plans_of_others import URGENT as CRISIS
from .plans_of_others import PlansInWords, is_plan_of_others
from .readable import ENGLISH, listed, narrative, rows, said
from .sentences import Sentences
from .told_by_others import InWords, is_of_others, named_in
from .types import Ref
from .written_down import Row, Thing, an_object, coded, objects

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
Resources = Mapping[Ref, Mapping[str, Any]]
Code = tuple[str, str, str] | None


class Part(NamedTuple):
    """A section: its title, its code (system, code, display) where there is one, and which resources stand in it."""

    title: str
    code: Code
    holds: Callable[[Mapping[str, Any]], bool]


class Read(NamedTuple):
    """The plan that these resources make (`mapping.read`): the whole of it, and which thing of it each is, by `Type/id`: its kind and what it says."""

    plan: Mapping[str, Any]
    things: Mapping[str, tuple[str, Mapping[str, Any]]]


def _of(*types: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda r: r.get("resourceType") in types


def _kind(*kinds: str) -> Callable[[Mapping[str, Any]], bool]:
    """What our own plans call so (`mapping.names`)."""
    return lambda r: (own_identifier(r) or ("",))[0] in kinds


def _crisis(resource: Mapping[str, Any]) -> bool:
    return resource.get("resourceType") == "CarePlan" and (_kind("contingency")(resource) or bool(categories(resource) & CRISIS))


FURTHER: Final = Part("Further information", (LOINC, "55107-7", "Addendum Document"), _of())
PARTS: Final = (  # the first that holds a resource has it
    Part("About the person", (LOINC, "51855-5", "Patient Note"), _kind("about-me")),
    Part("Allergies and warnings", (LOINC, "48765-2", "Allergies and adverse reactions Document"), _of("AllergyIntolerance", "Flag")),
    Part("If things get worse", (SNOMED, CONTINGENCY_CATEGORY, "Contingency plan"), _crisis),
    Part("Strengths", (LOINC, "29762-2", "Social history Narrative"), _kind("strength")),
    Part("How it hangs together, barriers, decisions and risks", None, lambda r: _kind("formulation", "barrier", "decision", "risk")(r) or _of("RiskAssessment", "ClinicalImpression")(r)),
    Part("Needs and concerns", (LOINC, "75310-3", "Health concerns Document"), _of("Condition")),
    Part("Assessments and answers of others", (LOINC, "51848-0", "Evaluation note"), lambda r: r.get("resourceType") != "Condition" and is_of_others(r)),
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
ALWAYS: Final = frozenset({"About the person", "Allergies and warnings", "If things get worse", "Needs and concerns", "Goals", "What is planned", "Who helps"})  # in each main plan
NOTHING: Final = "There is nothing here for the reader of this document. That does not say that there is nothing."
LEFT_OUT: Final = "Not everything is here: a document holds {most} resources at most. Left out of this section: {more}."
EMPTY: Final = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-empty-reason", "code": "unavailable", "display": "Unavailable"}]}
NO_SECTION: Final = frozenset({"Patient", "Practitioner", "PractitionerRole", "Organization", "Location", "Device", "Medication", "Provenance", "Binary"})  # named by others
WORDS: Final = ("description", "code", "medicationCodeableConcept", "valueString", "name", "title", "category", "type", "focus")
MORE: Final = ("lifecycleStatus", "status")  # how it stands: beside the words
STANDING: Final = frozenset({"Goal", "Task", "ServiceRequest", "MedicationStatement", "MedicationRequest", "Flag"})
MOST: Final = 500  # resources in one document, the plan with them
URGENT: Final = ("If things get worse", "Allergies and warnings")
SOON: Final = ("Goals", "What is planned", "Needs and concerns", "Who helps", "About the person")
OVER: Final = frozenset({"completed", "stopped", "cancelled", "revoked", "rejected", "failed", "entered-in-error", "inactive", "resolved", "refuted"})
PAST: Final = 3  # the first turn of what is over


def belongs(resource: Mapping[str, Any], plan: Ref) -> bool:
    """Whether this, of the same person, is part of their main plan though the plan does not refer to it: what a plan of ours was made of,
    plans that are part of it, medicines, allergies, warnings, services asked for, family and friends, and what others found (`told_by_others`)."""
    type = resource.get("resourceType")
    if resource.get("status") == "entered-in-error":
        return False
    if type in ("AllergyIntolerance", "Flag", "MedicationStatement", "MedicationRequest", "ServiceRequest", "RelatedPerson") or is_of_others(resource) or is_plan_of_others(resource):
        return True
    above = {str(r.get("reference", "")) for r in _each(resource.get("partOf")) if isinstance(r, Mapping)}  # of a plan of ours
    return own_identifier(resource) is not None or (type == "CarePlan" and any(_ref(a) == plan for a in above))


def joins(resource: Mapping[str, Any]) -> bool:
    """Whether this, of another record of the same person, goes into the document of their plan: whose it is, allergies, warnings, medicines, crisis plans that are in force."""
    type, status = resource.get("resourceType"), resource.get("status")
    if status == "entered-in-error":
        return False
    return type in ("Patient", "AllergyIntolerance", "Flag", *RESOURCES) or (_crisis(resource) and status in ("active", "unknown", None))


def goes_along(type: str) -> bool:
    """Whether what `joins` brings this along where it names it, of that other record: who is meant in a crisis plan."""
    return type in ("RelatedPerson", "CareTeam")


def turn(resource: Mapping[str, Any], named: bool) -> tuple[int, int]:
    """When this has its turn where a document has not room for everything, the least first: (which turn, its place in that).

    0: the person, what is urgent, who wrote the plan. 1: what the plan names or was made of. 2: what else is so now. From `PAST` on what is over, and measurements:
    first those of the plan. `named`: by the plan itself.
    """
    type, title = resource.get("resourceType"), _part(resource).title
    of_plan = named or own_identifier(resource) is not None
    if type in NO_SECTION:
        return 0, 0 if type == "Patient" else 1 + len(URGENT)
    if _over(resource) or title == "Measurements":
        return PAST + (not of_plan), 0
    if title in URGENT:
        return 0, 1 + URGENT.index(title)
    return 1 + (not of_plan), SOON.index(title) if title in SOON else len(SOON) + [p.title for p in PARTS].index(title)


def _over(resource: Mapping[str, Any]) -> bool:
    type = resource.get("resourceType")
    if type in ("Condition", "AllergyIntolerance"):
        return not OVER.isdisjoint(_stands(resource).split(", "))
    return (type in STANDING or type in ("CarePlan", "CareTeam")) and not OVER.isdisjoint(str(resource.get(k)) for k in MORE)


def composition(
    plan: Ref, resources: Resources, read: Read, *, id: str, at: datetime, base: str, confidentiality: str, left: Iterable[Mapping[str, Any]] = (), joined: Mapping[Ref, Read] = MappingProxyType({}),
) -> dict[str, Any]:
    """The Composition of a document about `plan`. References are absolute: this resource has no address of its own.

    `joined`: which of the resources are of another record of the same person, and the plan that those of that record make.

    `left`: what this reader may see and the document has no room for (`MOST`). It is counted, section by section, and nothing else is said of it.
    """
    today = at.astimezone(LONDON).date()
    body, sentences = resources[plan], Sentences(read.plan, tuple(resources.values()), today=today)
    parts, whole, things = _sorted_into(plan, resources, joined), is_main(body), _in_sentences(resources, read, sentences, joined, today)
    more = Counter(_part(r).title for r in left if r.get("resourceType") not in NO_SECTION)
    first = Part("Care plan", (LOINC, "18776-5", "Plan of care note"), _of())
    there = [(p, refs) for p, refs in [(first, [plan]), *parts] if refs or more[p.title] or (whole and p.title in ALWAYS)]
    sections = [_section(p, refs, base, [things(r) for r in refs], more[p.title]) for p, refs in there]
    person = an_object(read.plan.get("person"))
    who = (*((Row("Name", name),) if (name := sentences.full_name(person)) else ()), *sentences.who(person))
    attested, keeper = _attesters(body, resources, base), _custodian(body, resources)
    title = str(body.get("title") or "Care plan")
    return {
        "resourceType": "Composition",
        "id": id,
        "language": ENGLISH,
        "text": narrative(said(title) + rows(who) + (said(sentences.more_than_once()) if joined else "") + listed(Thing(_counted(part, more[part["title"]])) for part in sections)),
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": "18776-5", "display": "Plan of care note"}]},
        "subject": _at(base, str(body["subject"].get("reference", ""))),
        "date": at.isoformat(timespec="seconds"),
        "author": [_author(body, resources, base)],
        "title": title,
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


def _counted(section: Mapping[str, Any], more: int) -> str:
    here = len(section.get("entry", ()))
    return f"{section['title']}: {here} of {here + more}" if more else f"{section['title']}: {here}"


def _section(part: Part, refs: Sequence[Ref], base: str, things: Sequence[Thing], more: int) -> dict[str, Any]:
    """One section. One that every plan has says that there is nothing in it: in the same words whether there is nothing or this reader may not see it.
    One that is cut says how many of what this reader may see are not in it, and never that there is nothing."""
    code = {"code": {"coding": [dict(zip(("system", "code", "display"), part.code, strict=True))]}} if part.code else {}
    if not refs and not more:
        return {"title": part.title, **code, "text": narrative(said(NOTHING)), "emptyReason": EMPTY}
    inner = (listed(things) if refs else "") + (said(LEFT_OUT.format(most=MOST, more=more)) if more else "")
    return {"title": part.title, **code, "text": narrative(inner), **({"entry": [_at(base, str(r)) for r in refs]} if refs else {})}


def _in_sentences(resources: Resources, read: Read, sentences: Sentences, joined: Mapping[Ref, Read], today: date) -> Callable[[Ref], Thing]:
    """Says each resource by the record that it is of: who is meant, and what else that record has of a medicine, is read there alone."""
    resources = dict(zip(resources, in_names(resources.values()), strict=True))
    records = {id(r): _beside([b for ref, b in resources.items() if joined.get(ref, read) is r], today) for r in (read, *joined.values())}
    spoken = {id(r): replace(sentences, plan=r.plan) for r in joined.values()}

    def thing(ref: Ref) -> Thing:
        there = joined.get(ref)
        if there is None:
            return _thing(ref, resources[ref], read, sentences, records[id(read)])
        return sentences.elsewhere(_thing(ref, resources[ref], there, spoken[id(there)], records[id(there)]))

    return thing


def _sorted_into(plan: Ref, resources: Resources, joined: Container[Ref] = ()) -> list[tuple[Part, list[Ref]]]:
    """Each part with its resources: what the plan refers to first, in the plan's order; what is of another record (`joined`) last."""
    named = {ref: n for n, ref in enumerate(dict.fromkeys(_named(resources[plan])))}
    found: dict[str, list[Ref]] = {}
    for ref in sorted(resources, key=lambda r: (r in joined, named.get(r, len(named)))):
        if ref == plan or ref.type in NO_SECTION:
            continue
        found.setdefault(_part(resources[ref]).title, []).append(ref)
    return [(p, found.get(p.title, [])) for p in PARTS]


def _part(resource: Mapping[str, Any]) -> Part:
    return next((p for p in PARTS if p.holds(resource)), FURTHER)


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


def _beside(resources: Iterable[Mapping[str, Any]], today: date) -> dict[str, tuple[Told, ...]]:
    """What the medicines that no plan of ours made say, by name."""
    return by_name(told_by_record(r, today=today) for r in of_record(resources) if own_identifier(r) is None)


def _thing(ref: Ref, resource: Mapping[str, Any], read: Read, sentences: Sentences, record: Mapping[str, tuple[Told, ...]]) -> Thing:
    """A resource in sentences (`_put`). What is not to be done is nowhere said as if it were; a medicine of a plan says where the `record` says otherwise."""
    thing = _put(ref, resource, read, sentences)
    if record and resource.get("resourceType") in RESOURCES and own_identifier(resource) is not None:
        item, how = read.things.get(str(ref), ("", {}))[1], "\n".join(doses(resource))
        if item and (says := otherwise(told({**item, "how": how or item.get("how")}, sentences.today), record)):
            thing = replace(thing, rows=(sentences.otherwise(says), *thing.rows))
    if not is_not_to_be(resource) or thing.text.startswith(FORBIDDEN):
        return thing
    return replace(thing, text=sentences.not_to_be(thing.text))


def _put(ref: Ref, resource: Mapping[str, Any], read: Read, sentences: Sentences) -> Thing:
    """A resource in sentences: as the thing of the plan that it is, or else as it says itself what it is and how it stands. What it calls itself is always there."""
    type, (kind, item) = resource.get("resourceType"), read.things.get(str(ref), ("", {}))
    if type == "AllergyIntolerance":
        thing = sentences.allergy(resource)
    elif type == "Flag":
        thing = sentences.flag(resource)
    elif type in RESOURCES and kind != "medicine":
        thing = sentences.medicine_of_record(resource)
        thing = replace(thing, state=sentences.taken(taken(item, sentences.today))) if item else thing
    elif type == "CareTeam":
        thing = _team(resource, sentences)
    elif not kind and is_of_others(resource):
        thing = InWords(named_in(sentences.record), today=sentences.today).of(resource)
    elif not kind and is_plan_of_others(resource):
        thing = _beside_the_plan(resource, sentences)
    elif not kind:
        on = str(resource.get("effectiveDateTime") or "")
        return _with_activities(Thing(_called(resource) or str(type), _stands(resource), (Row("Written on", on),) if on else ()), resource)
    else:
        said = doses(resource) if kind == "medicine" else ()
        thing = sentences.of(kind, {**item, "how": "\n".join(said)} if said else item)
    never = type == "AllergyIntolerance" or (type == "Condition" and verified(resource) & {"refuted", "entered-in-error"})
    thing = replace(thing, state=(_stands(resource) if never else "") or thing.state or ("" if kind == "unmet-need" else _stands(resource)))
    if resource.get("status") == "entered-in-error":
        return Thing(thing.text, _stands(resource) or sentences.say("Entered in error"))  # what it said is not to be acted upon
    called, known = _called(resource), [thing.text, *(r.text for r in thing.rows), *(t for _, items in thing.lists for t in items)]
    if called and (not thing.text or type != "Observation") and not any(called in t for t in known):
        thing = replace(thing, text=called) if not thing.text else replace(thing, rows=(*thing.rows, Row("Also called", called)))
    return _with_activities(thing, resource)


def _beside_the_plan(resource: Mapping[str, Any], sentences: Sentences) -> Thing:
    """A plan, a paper or a goal of others."""
    words = InWords(named_in(sentences.record), today=sentences.today)
    thing = PlansInWords(words, {f"{r.get('resourceType')}/{r.get('id')}": r for r in sentences.record}).of(resource)
    return replace(thing, rows=(Row("Please note", "Others wrote this. It stands beside the plan."), *thing.rows))


def _team(resource: Mapping[str, Any], sentences: Sentences) -> Thing:
    """The people of the plan's team, whichever of the person's teams they are of."""
    things = [sentences.member(m) for m in objects(sentences.plan.get("team"))]
    rows = [Row(" ".join(t for t in (m.text, f"({m.state})" if m.state else "") if t), "\n".join(f"{r.label}: {r.text}" for r in m.rows)) for m in things]
    return Thing(_called(resource) or "Team", "", tuple(rows))


def _with_activities(thing: Thing, plan: Mapping[str, Any]) -> Thing:
    """What a CarePlan says itself of what is to be done (`activity.detail`)."""
    details = [an_object(a.get("detail")) for a in objects(plan.get("activity"))] if plan.get("resourceType") == "CarePlan" else []
    done = [forbidden(t) if is_not_to_be(d) else t for d in details if d.get("status") != "entered-in-error" and (t := str(d.get("description") or "") or coded(d.get("code")))]
    return replace(thing, lists=(*thing.lists, ("What is planned", tuple(done)))) if done and all(label != "What is planned" for label, _ in thing.lists) else thing


def _called(resource: Mapping[str, Any]) -> str:
    """What it says that it is."""
    called = next((t for name in WORDS for value in _each(resource.get(name)) if (t := _text(value))), "")
    value = resource.get("valueQuantity")
    if resource.get("resourceType") == "Observation" and isinstance(value, Mapping) and value.get("value") is not None:
        called += f": {value['value']} {value.get('unit', '')}".rstrip()
    return called


def _stands(resource: Mapping[str, Any]) -> str:
    """How it stands, where that is not as one would think: of a problem or an allergy that it is over, or never was."""
    type = resource.get("resourceType")
    if type in ("Condition", "AllergyIntolerance"):
        codes = [str(c.get("code")) for e in ("verificationStatus", "clinicalStatus") for c in objects(an_object(resource.get(e)).get("coding"))]
        return ", ".join(dict.fromkeys(c for c in codes if c not in ("active", "confirmed")))
    if type in ("Flag", "MedicationStatement", "MedicationRequest") and resource.get("status") == "active":
        return ""
    return next((str(resource[k]) for k in MORE if type in STANDING and resource.get(k)), "")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, dict):
        return ""
    if value.get("family"):
        return " ".join([*map(str, _each(value.get("given"))), str(value["family"])])
    codings = [c for c in _each(value.get("coding")) if isinstance(c, dict)]
    return str(value.get("text") or next((c["display"] for c in codings if c.get("display")), "") or "").strip()
