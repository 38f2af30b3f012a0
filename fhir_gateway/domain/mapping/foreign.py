"""Records that nobody here wrote: which kind of thing each type is in a plan, and what they say in ways of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..medicines import forbidden, is_not_to_be
from .codecs import CODECS
from .names import BASE, PLAN_OBSERVATION, own_identifier
from .paths import MISSING
from .tables import Table
from .ways import Inward

KINDS: Final = {
    "Patient": "person",
    "CarePlan": "additional-plan",
    "Goal": "goal",
    "Condition": "need",
    "Task": "action",
    "ServiceRequest": "action-request",
    "MedicationStatement": "medicine",
    "MedicationRequest": "prescription",
    "CareTeam": "team",
    "RelatedPerson": "contact",
    "QuestionnaireResponse": "answers",
    "DocumentReference": "document",
    "RiskAssessment": "risk",
}
STATUS: Final = {
    "not-started": "planned", "scheduled": "planned", "in-progress": "in progress", "on-hold": "paused", "completed": "done",
    "cancelled": "stopped", "stopped": "stopped", "entered-in-error": "entered in error",
}  # fmt: skip
REQUEST: Final = {"draft": "proposed", "active": "in progress", "on-hold": "paused", "revoked": "stopped", "completed": "done"}


TASK_SYSTEM: Final = f"{BASE}/CodeSystem/task"


def was_a_mistake(resource: Mapping[str, Any]) -> bool:
    """A document or condition that somebody says was entered in error, or another's request or judgement of a risk: the plan has no word for that, so it has none of it.
    It stays in the record."""
    type = resource.get("resourceType")
    if type == "Condition":
        return "entered-in-error" in verified(resource)
    if type == "RiskAssessment" and own_identifier(resource) is None:
        return resource.get("status") in ("entered-in-error", "cancelled")
    return (type == "DocumentReference" or (type == "ServiceRequest" and own_identifier(resource) is None)) and resource.get("status") == "entered-in-error"


def verified(condition: Mapping[str, Any]) -> frozenset[str]:
    """The codes of `verificationStatus`."""
    status = condition.get("verificationStatus")
    codings = status.get("coding") if isinstance(status, dict) else None
    return frozenset(str(c.get("code")) for c in (codings if isinstance(codings, list) else ()) if isinstance(c, dict))


def is_forbidden(resource: Mapping[str, Any]) -> bool:
    """`doNotPerform` of a medicine, or of a referral of ours: a plan says only what is to be taken or was asked for, so it has none of it.
    It stays in the record, and is said from there. https://hl7.org/fhir/R4/medicationrequest-definitions.html#MedicationRequest.doNotPerform"""
    ours = resource.get("resourceType") == "ServiceRequest" and own_identifier(resource) is not None
    return (ours or resource.get("resourceType") == "MedicationRequest") and is_not_to_be(resource)


def asks_membership(resource: Mapping[str, Any]) -> bool:
    """A Task of the gateway's own ("are you in this team?"): part of the record, not of a plan."""
    code = resource.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    return resource.get("resourceType") == "Task" and any(isinstance(c, dict) and c.get("system") == TASK_SYSTEM for c in codings or ())


def observed(resource: Mapping[str, Any]) -> str:
    """What an Observation of another's is in a plan, by our code for it; "?" for whatever is none of ours."""
    code = resource.get("code")
    codings = code.get("coding") if isinstance(code, dict) and resource.get("resourceType") == "Observation" else None
    ours = {c.get("code") for c in codings or () if isinstance(c, dict) and c.get("system") == PLAN_OBSERVATION and isinstance(c.get("code"), str)}
    return "decision" if "decision" in ours else "?"


def member(
    participant: Mapping[str, Any], n: int, team: Mapping[str, Any], table: Table, way: Inward, ours: bool
) -> dict[str, Any] | None:
    """One member of a team; None for the person and for personal contacts, who are elsewhere in a plan."""
    found = way.find(participant["member"]) if isinstance(participant.get("member"), dict) else None
    if found is not None and found.kind in ("person", "contact"):
        return None
    if isinstance(participant.get("member"), dict) and not ours:
        target = str(participant["member"].get("reference", ""))
        if target.startswith(("Patient/", "RelatedPerson/")):
            return None
    elif ours and isinstance(participant.get("member"), dict) and str(participant["member"].get("reference", "")).startswith("RelatedPerson"):
        return None
    way.ours = ours
    out = table.fields.back(participant, way)
    if ours:
        return out
    return {"id": f"{team.get('id', 'team')}-{n + 1}"} | out if out else None


def read_elsewhere(path: str, value: Any, ours: bool) -> bool:
    """An activity that became an action of the plan."""
    return not ours and path.startswith("activity[") and isinstance(value, dict) and ("detail" in value or "reference" in value)


def activities(plan: dict[str, Any], ones: Sequence[Any], way: Inward) -> set[int]:
    """`CarePlan.activity.detail` and requests are actions. Read, and never written so: `activity.detail` is not ours to make.

    Returns which requests were read.
    """
    used: set[int] = set()
    actions: list[dict[str, Any]] = plan.get("actions", [])
    for o in ones:
        if o.type == "CarePlan" and o.kind in ("plan", "additional-plan", "contingency"):
            for n, activity in enumerate(a for a in o.resource.get("activity", ()) if isinstance(a, dict)):
                if isinstance(activity.get("detail"), dict) and activity["detail"].get("status") != "entered-in-error":
                    actions.append({"id": f"{o.id or 'plan'}-{n + 1}", **_detail(activity["detail"], way)})
        elif o.kind == "action-request":
            used.add(id(o))
            actions.append({"id": o.id or "request", **_request(o.resource, way)})
    if actions:
        plan["actions"] = actions
    return used


def _detail(detail: Mapping[str, Any], way: Inward) -> dict[str, Any]:
    words = CODECS["concept-words"].back(detail.get("code"), way)
    text = detail.get("description")
    out: dict[str, Any] = {"text": text if isinstance(text, str) else words} if isinstance(text, str) or words is not MISSING else {}
    goals = [f.id for f in (way.find(g) for g in detail.get("goal", ()) if isinstance(g, dict)) if f is not None and f.kind == "goal"]
    if goals:
        out["goals"] = goals
    status = detail.get("status")
    if isinstance(status, str) and status in STATUS:
        out["status"] = STATUS[status]
    for performer in detail.get("performer", ())[:1]:
        who = CODECS["who"].back(performer, way)
        if who is not MISSING:
            out["who"] = who
    if isinstance(detail.get("scheduledString"), str):
        out["when"] = detail["scheduledString"]
    period = detail.get("scheduledPeriod")
    if isinstance(period, dict):
        out |= {plan: period[fhir] for plan, fhir in (("from", "start"), ("to", "end")) if isinstance(period.get(fhir), str)}
    place = detail.get("location")
    if isinstance(place, dict) and isinstance(place.get("display"), str):
        out["service"] = {"name": place["display"]}
    return _not_to_be(out) if is_not_to_be(detail) else out


def _not_to_be(action: dict[str, Any]) -> dict[str, Any]:
    """What is not to be done is an action only as that: it is neither planned, nor under way, nor a referral."""
    left = {k: v for k, v in action.items() if k != "kind" and not (k == "status" and v in ("planned", "in progress"))}
    return {**left, "text": forbidden(str(action.get("text") or ""))}


def _request(request: Mapping[str, Any], way: Inward) -> dict[str, Any]:
    words = CODECS["concept-words"].back(request.get("code"), way)
    out: dict[str, Any] = {"text": words} if words is not MISSING else {}
    out["kind"] = "referral"
    if request.get("status") in REQUEST:
        out["status"] = REQUEST[request["status"]]
    for performer in request.get("performer", ())[:1]:
        who = CODECS["who"].back(performer, way)
        if who is not MISSING:
            out["who"] = who
    return _not_to_be(out) if is_not_to_be(request) else out
