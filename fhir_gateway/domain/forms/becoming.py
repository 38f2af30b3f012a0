"""What answers may become in a person's record, and how it finds its place in their plan.

A form is written by one and answered by another, so it may not act in the name of whoever answers: it makes what the answers say about
the person, of the kinds listed here, and hands nothing to anybody whom the answers do not name. A Consent, a place in a team, a label or
a task for somebody else is made by people who mean it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ..compartment import patients
from ..mapping.names import BASE, CONTINGENCY_CATEGORY
from ..problem import Problem
from .items import Node

MAY_BECOME: Final = frozenset({
    "AllergyIntolerance", "CarePlan", "ClinicalImpression", "Condition", "FamilyMemberHistory", "Goal", "Immunization",
    "MedicationStatement", "Observation", "Procedure", "RelatedPerson", "RiskAssessment", "ServiceRequest", "Task",
})  # fmt: skip
PLACES: Final = {"Goal": "goal", "Condition": "addresses"}  # in the main CarePlan
SAID_AGAIN: Final = frozenset({f"{BASE}/Questionnaire/my-own-words"})  # forms of which a second answer says more of the same, and no second one
IMPORTANCE: Final = f"{BASE}/StructureDefinition/goal-importance"  # there is one
OVER: Final = frozenset({"completed", "revoked", "cancelled", "rejected", "entered-in-error"})
STEPS: Final = frozenset({"Task", "ServiceRequest"})


def allowed(entries: Sequence[Node], response: Mapping[str, Any], asker: Collection[str]) -> None:
    """Problem business-rule for what a form may not make. `asker`: the names of whoever writes it."""
    answered = frozenset(_references(response))
    made = (u for e in entries if (u := str(e["fullUrl"])).startswith("urn:"))  # another address that a form gives may be somebody's
    named = {*answered, *asker, *made, f"QuestionnaireResponse/{response.get('id')}"}
    known = {*_identified(response)}
    about = response.get("subject")
    subject = str(about.get("reference", "")) if isinstance(about, dict) else ""
    for n, entry in enumerate(entries):
        resource, where = entry["resource"], f"Bundle.entry[{n}].resource"
        type = str(resource.get("resourceType"))
        if type not in MAY_BECOME:
            raise Problem("business-rule", f"Answers do not become a {type[:40]} here: only {', '.join(sorted(MAY_BECOME))}.", where)
        if "security" in resource.get("meta", {}) or "contained" in resource:
            raise Problem("business-rule", "A form puts no labels on, and holds nothing within what it makes.", where)
        if patients(resource) != (subject,):
            raise Problem("business-rule", "What answers become is about the person whom they are about.", where)
        request = entry.get("request", {})
        if request.get("method") == "PUT" and request.get("url") not in answered:
            raise Problem("business-rule", "A form changes nothing that the answers do not name.", where)
        strangers = any(r not in named for r in _references(resource)) or any(i not in known for i in _identified(resource))
        if strangers:
            raise Problem("business-rule", "What answers become names nobody and nothing that the answers do not name.", where)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, v in node.items():
            if key == "reference" and isinstance(v, str):
                yield v.split("/_history/")[0]
            else:
                yield from _references(v)
    elif isinstance(node, list):
        for v in node:
            yield from _references(v)


def _identified(node: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """References by identifier: an `identifier` that stands alone and not in a list."""
    if isinstance(node, Mapping):
        found = node.get("identifier")
        if depth and isinstance(found, Mapping):
            yield str(found.get("system")), str(found.get("value"))
        for v in node.values():
            yield from _identified(v, depth + 1)
    elif isinstance(node, list):
        for v in node:
            yield from _identified(v, depth + 1)


def placed(plan: Mapping[str, Any], made: Iterable[tuple[str, Node]]) -> Node | None:
    """The main CarePlan with what was made (its reference, itself) put in; None when nothing of it has a place there."""
    out: Node = dict(plan)
    for reference, resource in made:
        type, ref = resource["resourceType"], {"reference": reference}
        if type in PLACES:
            out[PLACES[type]] = [*out.get(PLACES[type], []), ref]
        elif type in STEPS:
            out["activity"] = [*out.get("activity", []), {"reference": ref}]
        elif is_contingency(resource):
            out["supportingInfo"] = [*out.get("supportingInfo", []), ref]
    return out if out != plan else None


def is_contingency(resource: Mapping[str, Any]) -> bool:
    """A plan for when things get worse."""
    codings = (c for k in resource.get("category", []) if isinstance(k, dict) for c in k.get("coding", []) if isinstance(c, dict))
    return resource.get("resourceType") == "CarePlan" and any(c.get("code") == CONTINGENCY_CATEGORY for c in codings)


def one_and_the_same(made: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether what an answer makes is what an earlier one made already, and it is not over: the crisis plan, a goal of the same words."""
    if here.get("lifecycleStatus", here.get("status")) in OVER or made.get("resourceType") != here.get("resourceType"):
        return False
    if is_contingency(made):
        return is_contingency(here)
    words = [" ".join(str((r.get("description") or {}).get("text", "")).casefold().split()) for r in (made, here)]
    return made.get("resourceType") == "Goal" and bool(words[0]) and words[0] == words[1]


def laid_over(made: Mapping[str, Any], here: Mapping[str, Any]) -> Node:
    """What is here with what was said since: nothing is taken out, for who answers a form anew is not shown what it says."""
    out: Node = dict(here)
    for name in ("extension", "note"):
        held = [e for e in here.get(name, ()) if e.get("url") != IMPORTANCE or IMPORTANCE not in [m.get("url") for m in made.get(name, ())]]
        if more := [m for m in made.get(name, ()) if m not in held]:
            out[name] = [*held, *more]
    due = next((t["dueDate"] for t in made.get("target", ()) if "dueDate" in t), None)
    if due is not None and "dueDuration" not in (first := dict(next(iter(here.get("target", ())), {}))):
        out["target"] = [{**first, "dueDate": due}, *list(here.get("target", ()))[1:]]
    return out


def provenance(response: str, version: int, targets: Sequence[str], who: str, source: Any, at: str) -> Node:
    """Where what was made comes from: this version of these answers, whose they are, and who had it made. https://hl7.org/fhir/R4/provenance.html"""
    kind = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
    agents: list[Node] = [{"type": {"coding": [{"system": kind, "code": "assembler"}]}, "who": {"reference": who}}]
    if isinstance(source, dict) and source.get("reference") not in (None, who):
        agents.append({"type": {"coding": [{"system": kind, "code": "informant"}]}, "who": source})
    return {
        "resourceType": "Provenance", "target": [{"reference": t} for t in targets], "recorded": at,
        "activity": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion", "code": "AU"}], "text": "Made of the answers to a questionnaire"},
        "agent": agents, "entity": [{"role": "source", "what": {"reference": f"{response}/_history/{version}"}}],
    }  # fmt: skip
