"""What a discharge from hospital says otherwise of a plan's medicines, proposed as a Task for each; what a yes makes of the plan. Pure. docs/partners.md

https://hl7.org/fhir/R4/valueset-medicationrequest-category.html https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from .bundle import instant
from .follow_ups import OPEN
from .mapping.names import EXTENSIONS, own_identifier, system
from .medicines import NOT_MEANT, RESOURCES, Told, by_name, otherwise, told_by_record
from .vocabulary import CHANGE_MEDICINE, CONFIDENTIALITY_SYSTEM, HL7, TASK_SYSTEM
from .written_down import an_object, coded, objects

ASKED: Final = "A discharge from hospital says otherwise of a medicine than the plan. Look at both, and say whether the plan is to be changed."
AGREE: Final = "The record and the plan say the same now."
GONE: Final = "What was ordered, or the medicine of the plan, is there no more."
PLANNED: Final = "planned-medicine"  # Task.input.type: which medicine of the plan
DISCHARGE: Final = "discharge"  # MedicationRequest.category
YES: Final = frozenset({"accepted", "ready", "in-progress", "completed"})  # of a Task: each says that the plan is to be changed
NO: Final = frozenset({"rejected", "cancelled", "failed", "entered-in-error"})
STATUSES: Final = {"now": "active", "paused": "on-hold", "finished": "completed", "not taken": "not-taken"}  # of a medicine of a plan, else it is stopped
KINDS: Final = {"now": "changed", "paused": "paused"}  # of a change in a plan, else it was stopped
MOST: Final = 50  # of one commit
Said = tuple[Told, str]


def is_medicine(resource: Mapping[str, Any]) -> bool:
    return resource.get("resourceType") in RESOURCES and resource.get("status") not in NOT_MEANT


def says(resource: Mapping[str, Any], medicine: Mapping[str, Any] | None = None) -> Said:
    """What it says of its medicine, and when that was written. `medicine`: the Medication that it refers to."""
    named = {"medicationCodeableConcept": medicine["code"]} if medicine and medicine.get("code") else {}
    return told_by_record({**resource, **named}), str(resource.get("authoredOn") or resource.get("dateAsserted") or "")


def of_discharge(order: Mapping[str, Any]) -> bool:
    """By its own category."""
    return any(c.get("code") == DISCHARGE for k in objects(order.get("category")) for c in objects(k.get("coding")))


def stay_of(order: Mapping[str, Any]) -> str:
    """The Encounter in which it was ordered; "" for none."""
    named = str((order.get("encounter") or order.get("context") or {}).get("reference", "")).split("/_history/")[0]
    return named if named.startswith("Encounter/") else ""


def is_over(stay: Mapping[str, Any]) -> bool:
    return stay.get("resourceType") == "Encounter" and stay.get("status") == "finished"


def proposals(planned: Mapping[str, Said], ordered: Mapping[str, Said]) -> list[tuple[str, str]]:
    """(order, medicine of the plan that it says otherwise of, "" where the plan has none of that name), by their references."""
    out, known = list[tuple[str, str]](), set[str]()
    for name, (mine, _) in sorted(planned.items()):
        known |= mine.names
        about = {o: t for o, (t, _) in ordered.items() if t.names & mine.names}
        if found := _furthest(mine, about):
            out.append((found, name))
    for order, (new, _) in sorted(ordered.items()):
        if new.taken == "now" and not new.never and new.names and not new.names & known:
            out.append((order, ""))
            known |= new.names
    return out[:MOST]


def _furthest(mine: Told, about: Mapping[str, Told]) -> str:
    """Of what is ordered by this name what the plan is to follow; "" where one of it is what the plan says already."""
    differ = [o for o, t in about.items() if differs(mine, t)]
    if len(differ) < len(about) and not any(about[o].never for o in differ):
        return ""
    return min(differ, key=lambda o: (not about[o].never, about[o].taken != "now", o), default="")


def differs(mine: Told, ordered: Told) -> bool:
    return ordered.taken not in ("not yet", "a mistake") and bool(otherwise(mine, by_name([ordered])))


def holds(planned: Mapping[str, Said], ordered: Told, mine: str) -> bool:
    """Is what was proposed still something to say: the plan is not as it would be."""
    if mine:
        return mine in planned and differs(planned[mine][0], ordered)
    return ordered.taken == "now" and not ordered.never and not any(t.names & ordered.names for t, _ in planned.values())


def proposal(order: str, mine: str, person: str, owner: Mapping[str, Any], labels: Iterable[Mapping[str, Any]], at: datetime) -> dict[str, Any]:
    """The Task that asks `owner`. It says nothing of the medicine: who reads it may not see that. `labels`: of both, for it is as private as either."""
    security = [{"system": CONFIDENTIALITY_SYSTEM, "code": "R"}]
    security += [dict(c) for c in labels if c not in security]
    planned = [{"type": {"coding": [{"system": TASK_SYSTEM, "code": PLANNED}]}, "valueReference": {"reference": mine}}] if mine else []
    return {
        "resourceType": "Task", "meta": {"security": security}, "status": "requested", "intent": "proposal",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": CHANGE_MEDICINE}]}, "description": ASKED, "focus": {"reference": order},
        "for": {"reference": person}, "authoredOn": instant(at), "owner": dict(owner), **({"input": planned} if planned else {}),
    }  # fmt: skip


def asks_about(task: Mapping[str, Any]) -> tuple[str, str] | None:
    """(order, medicine of the plan or "") of such a Task, open or not; None for any other."""
    codings = objects(an_object(task.get("code")).get("coding"))
    if not any(c.get("system") == TASK_SYSTEM and c.get("code") == CHANGE_MEDICINE for c in codings):
        return None
    mine = next((str(an_object(i.get("valueReference")).get("reference", "")) for i in objects(task.get("input"))), "")
    return str(an_object(task.get("focus")).get("reference", "")), mine


def is_open(task: Mapping[str, Any]) -> bool:
    return task.get("status") in OPEN


def changed(mine: Mapping[str, Any], ordered: Told, on: str) -> dict[str, Any]:
    """The medicine of a plan as the record has it, with what was changed and why."""
    was, stays, request = told_by_record(mine), ordered.taken == "now" and not ordered.never, mine.get("resourceType") == "MedicationRequest"
    status = "stopped" if ordered.never or (request and ordered.taken == "not taken") else STATUSES.get(ordered.taken, "stopped")
    out = {k: v for k, v in mine.items() if k != "statusReason"} | {"status": status}
    if ordered.why:
        out["statusReason"] = {"text": ordered.why} if request else [{"text": ordered.why}]
    if stays and ordered.how:
        out["dosageInstruction" if request else "dosage"] = [{"text": ordered.how}]
    kind = "stopped" if ordered.never else KINDS.get(ordered.taken, "stopped")
    out["extension"] = [e for e in objects(mine.get("extension")) if e.get("url") != _CHANGE] + [_change(kind, ordered.why, was.how if stays and ordered.how else "", on)]
    return out


def made(order: Mapping[str, Any], ordered: Told, medicine: Mapping[str, Any] | None, plan: Mapping[str, Any]) -> dict[str, Any]:
    """A new medicine of this plan, as it was ordered."""
    concept = an_object((medicine or {}).get("code")) or an_object(order.get("medicationCodeableConcept"))
    called = coded(concept) or str(an_object(order.get("medicationReference")).get("display") or "")
    value = f"{(own_identifier(plan) or ('', plan.get('id', '')))[1]}/{order.get('id', '')}"
    why = ordered.why or ", ".join(t for r in objects(order.get("reasonCode")) if (t := coded(r)))
    labels = an_object(order.get("meta")).get("security")
    return {
        "resourceType": "MedicationStatement", **({"meta": {"security": labels}} if labels else {}), "extension": [_change("new", why, "", str(order.get("authoredOn") or ""))],
        "identifier": [{"system": system("medicine"), "value": value}], "status": "active", "medicationCodeableConcept": {**concept, "text": called},
        "subject": dict(an_object(order.get("subject"))), **({"dosage": [{"text": ordered.how}]} if ordered.how else {}),
    }  # fmt: skip


_CHANGE: Final = f"{EXTENSIONS}medicine-change"


def _change(kind: str, reason: str, was: str, on: str) -> dict[str, Any]:
    said = [{"url": "kind", "valueCode": kind}]
    said += [{"url": url, "valueString": text} for url, text in (("reason", reason), ("was", was)) if text]
    return {"url": _CHANGE, "extension": [*said, *([{"url": "on", "valueDateTime": on}] if on else [])]}


def said_yes(target: str, order: str, who: str, organisation: str | None, at: datetime) -> dict[str, Any]:
    """The Provenance of a change of the plan: who said yes, and to what of the discharge."""
    agent: dict[str, Any] = {"type": {"coding": [{"system": f"{HL7}/provenance-participant-type", "code": "author", "display": "Author"}]}, "who": {"reference": who}}
    if organisation:
        agent["onBehalfOf"] = {"reference": organisation}
    return {
        "resourceType": "Provenance", "target": [{"reference": target}], "recorded": instant(at), "agent": [agent],
        "entity": [{"role": "source", "what": {"reference": order}}],
    }  # fmt: skip


__all__ = [
    "AGREE", "ASKED", "GONE", "NO", "YES", "Said", "asks_about", "changed", "differs", "holds", "is_medicine", "is_open", "is_over", "made", "of_discharge", "proposal", "proposals",
    "said_yes", "says", "stay_of",
]  # fmt: skip
