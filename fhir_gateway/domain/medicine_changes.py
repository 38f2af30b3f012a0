"""What a discharge from hospital says otherwise of a plan's medicines (`medicine_lines`), proposed as a Task for each; what a yes makes of the plan. Pure. docs/partners.md

https://hl7.org/fhir/R4/valueset-medicationrequest-category.html https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from .bundle import instant
from .follow_ups import OPEN
from .in_force import is_past, is_to_come
from .mapping.carrier import read as kept_as_it_is
from .mapping.names import EXTENSIONS, own_identifier, system
from .medicine_lines import Asked, Said, differs, holds, proposals
from .medicines import NOT_MEANT, RESOURCES, concept_of, doses, period, told_by_record, why_of
from .vocabulary import CHANGE_MEDICINE, CONFIDENTIALITY_SYSTEM, HL7, TASK_SYSTEM
from .written_down import an_object, coded, objects

ASKED: Final = "A discharge from hospital says otherwise of a medicine than the plan. Look at both, and say whether the plan is to be changed."
AGREE: Final = "The record and the plan say the same now."
GONE: Final = "What was ordered, or the medicine of the plan, is there no more."
LOOK_AT_ALL: Final = "A discharge from hospital says something of a medicine, and it cannot be told what of the plan it means. Look at all of it, and change the plan yourself."
PRESCRIBED: Final = "What was prescribed says otherwise of a medicine than the plan. Look at both, and say whether the plan is to be changed."
LOOK_AT_PRESCRIBED: Final = "What was prescribed says something of a medicine, and it cannot be told what of the plan it means. Look at all of it, and change the plan yourself."
STAYS: Final = frozenset({"IMP", "ACUTE", "NONAC", "OBSENC", "EMER", "SS"})  # of Encounter.class: who was there was in a hospital, and was discharged
PLANNED: Final = "planned-medicine"  # Task.input.type: which medicine of the plan
LOOK: Final = "look-at-all"  # the same: a yes changes nothing by itself
DISCHARGE: Final = "discharge"  # MedicationRequest.category
YES: Final = frozenset({"accepted", "ready", "in-progress", "completed"})  # of a Task: each says that the plan is to be changed
NO: Final = frozenset({"rejected", "cancelled", "failed", "entered-in-error"})
STATUSES: Final = {"now": "active", "paused": "on-hold", "finished": "completed", "not taken": "not-taken"}  # of a medicine of a plan, else it is stopped
KINDS: Final = {"now": "changed", "paused": "paused"}  # of a change in a plan, else it was stopped


def is_medicine(resource: Mapping[str, Any]) -> bool:
    return resource.get("resourceType") in RESOURCES and resource.get("status") not in NOT_MEANT


def says(resource: Mapping[str, Any], medicine: Mapping[str, Any] | None = None, today: date | None = None) -> Said:
    """What it says of its medicine, and when that was written. `medicine`: the Medication that it refers to. `today`: by which a course may be over."""
    named = {"medicationCodeableConcept": medicine["code"]} if medicine and medicine.get("code") else {}
    told = told_by_record({**resource, **named}, today=today)
    if any(k.path == ("do_not",) and k.value is True for k in kept_as_it_is(resource)):  # a plan's own word, for which a MedicationStatement has no place
        told = replace(told, never=True)
    return told, str(resource.get("authoredOn") or resource.get("dateAsserted") or "")


def of_discharge(order: Mapping[str, Any]) -> bool:
    """By its own category."""
    return any(c.get("code") == DISCHARGE for k in objects(order.get("category")) for c in objects(k.get("coding")))


def stay_of(order: Mapping[str, Any]) -> str:
    """The Encounter in which it was ordered; "" for none."""
    named = str((order.get("encounter") or order.get("context") or {}).get("reference", "")).split("/_history/")[0]
    return named if named.startswith("Encounter/") else ""


def is_as_before(order: Mapping[str, Any]) -> bool:
    """Does it say of itself that nothing was changed: by our own extension, or the UK Core's."""
    said = [e for x in objects(order.get("extension")) if str(x.get("url")) in (_CHANGE, _UK_CHANGE) for e in objects(x.get("extension"))]
    return any(e.get("valueCode") == "unchanged" or an_object(e.get("valueCoding")).get("code") == "continued" for e in said if e.get("url") in ("kind", "status"))


def is_over(stay: Mapping[str, Any]) -> bool:
    return stay.get("resourceType") == "Encounter" and stay.get("status") == "finished"


def is_in_hospital(stay: Mapping[str, Any]) -> bool:
    """Not a telephone call, a clinic or a visit at home."""
    return an_object(stay.get("class")).get("code") in STAYS


def over_since(stay: Mapping[str, Any]) -> str:
    """When it ended; "" where it does not say."""
    return str(an_object(stay.get("period")).get("end") or "")


def is_before(a: str, b: str) -> bool:
    """Is this of an earlier day than that, as far as both say it."""
    said = min(len(a), len(b), len("2026-11-20"))
    return a[:said] < b[:said]


def proposal(asked: Asked, person: str, owner: Mapping[str, Any], labels: Iterable[Mapping[str, Any]], at: datetime, *, discharge: bool = True) -> dict[str, Any]:
    """The Task that asks `owner`. It says nothing of the medicine: who reads it may not see that. `labels`: of all, for it is as private as any.
    `discharge`: somebody left a hospital with it."""
    says = (LOOK_AT_ALL if asked.look else ASKED) if discharge else (LOOK_AT_PRESCRIBED if asked.look else PRESCRIBED)
    security = [{"system": CONFIDENTIALITY_SYSTEM, "code": "R"}]
    security += [dict(c) for c in labels if c not in security]
    planned = [{"type": _input(PLANNED), "valueReference": {"reference": m}} for m in asked.mine] + [{"type": _input(LOOK), "valueBoolean": True}] * asked.look
    return {
        "resourceType": "Task", "meta": {"security": security}, "status": "requested", "intent": "proposal",
        "code": _input(CHANGE_MEDICINE), "description": says, "focus": {"reference": asked.order},
        "for": {"reference": person}, "authoredOn": instant(at), "owner": dict(owner), **({"input": planned} if planned else {}),
    }  # fmt: skip


def _input(code: str) -> dict[str, Any]:
    return {"coding": [{"system": TASK_SYSTEM, "code": code}]}


def asks_about(task: Mapping[str, Any]) -> Asked | None:
    """What such a Task is about, open or not; None for any other."""
    codings = objects(an_object(task.get("code")).get("coding"))
    if not any(c.get("system") == TASK_SYSTEM and c.get("code") == CHANGE_MEDICINE for c in codings):
        return None
    inputs = objects(task.get("input"))
    mine = [str(r) for i in inputs if (r := an_object(i.get("valueReference")).get("reference"))]
    look = any(i.get("valueBoolean") is True and c.get("code") == LOOK for i in inputs for c in objects(an_object(i.get("type")).get("coding")))
    return Asked(str(an_object(task.get("focus")).get("reference", "")), tuple(mine), look or len(mine) > 1)


def is_open(task: Mapping[str, Any]) -> bool:
    return task.get("status") in OPEN


def changed(mine: Mapping[str, Any], order: Mapping[str, Any], medicine: Mapping[str, Any] | None, today: date | None) -> dict[str, Any]:
    """The medicine of a plan as the record has it, all of it, with what was changed and why. `medicine`: the Medication that the order refers to."""
    (was, _), (ordered, on) = says(mine, today=today), says(order, medicine, today)
    how, why, request = "\n".join(doses(order)), why_of(order), mine.get("resourceType") == "MedicationRequest"
    stays = ordered.taken == "now" and not ordered.never
    status = "stopped" if ordered.never or (request and ordered.taken == "not taken") else STATUSES.get(ordered.taken, "stopped")
    out = {k: v for k, v in mine.items() if k != "statusReason"} | {"status": status}
    if why:
        out["statusReason"] = {"text": why} if request else [{"text": why}]
    before = ""
    if stays:
        before = "\n".join(doses(mine)) if how else ""
        if how:
            out["dosageInstruction" if request else "dosage"] = [{"text": how}]
        named = _called(mine, order, medicine)
        if named is not None:
            before = ": ".join(t for t in (was.called, before) if t)
            out = {k: v for k, v in out.items() if k != "medicationReference"} | {"medicationCodeableConcept": named}
        out = _bounded(out, _times(mine, order, was.taken == "now", today))
    kind = "stopped" if ordered.never else KINDS.get(ordered.taken, "stopped")
    out["extension"] = [e for e in objects(mine.get("extension")) if e.get("url") != _CHANGE] + [_change(kind, why, before, on)]
    return out


def _concept(order: Mapping[str, Any], medicine: Mapping[str, Any] | None) -> dict[str, Any]:
    concept = an_object((medicine or {}).get("code")) or concept_of(order)
    return {**concept, "text": coded(concept) or str(an_object(order.get("medicationReference")).get("display") or "")}


def _called(mine: Mapping[str, Any], order: Mapping[str, Any], medicine: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the medicine of the plan is called from now on: a dose is of the very medicine that was ordered, of its strength and by its code. None: as it is."""
    new, old = _concept(order, medicine), concept_of(mine)
    words = [" ".join(str(c).split()).casefold() for c in (new["text"], coded(old))]
    if not new["text"] or (words[0] == words[1] and (not new.get("coding") or new["coding"] == old.get("coding"))):
        return None
    return new


def _times(mine: Mapping[str, Any], order: Mapping[str, Any], goes_on: bool, today: date | None) -> dict[str, str]:
    """From when to when it is taken: as ordered; an end that is over, or was of what was stopped, ends nothing that goes on."""
    (start, end), (was, until) = period(order), period(mine)
    start = start or (was if not is_to_come(was, today) else None)
    end = end or (until if goes_on and not is_past(until, today) else None)
    return {k: str(v) for k, v in (("start", start), ("end", end)) if v}


def _bounded(body: dict[str, Any], times: dict[str, str]) -> dict[str, Any]:
    """The same, taken from when to when these say."""
    if body.get("resourceType") != "MedicationRequest":
        return {k: v for k, v in body.items() if k != "effectivePeriod"} | ({"effectivePeriod": times} if times else {})
    doses = objects(body.get("dosageInstruction")) or ([{}] if times else [])
    return {**body, **({"dosageInstruction": [_dose(d, times) for d in doses]} if doses else {})}


def _dose(dose: Mapping[str, Any], times: dict[str, str]) -> dict[str, Any]:
    timing = an_object(dose.get("timing"))
    repeat = {k: v for k, v in an_object(timing.get("repeat")).items() if k != "boundsPeriod"} | ({"boundsPeriod": times} if times else {})
    timing = {k: v for k, v in timing.items() if k != "repeat"} | ({"repeat": repeat} if repeat else {})
    return {k: v for k, v in dose.items() if k != "timing"} | ({"timing": timing} if timing else {})


def made(order: Mapping[str, Any], medicine: Mapping[str, Any] | None, plan: Mapping[str, Any]) -> dict[str, Any]:
    """A new medicine of this plan, as it was ordered, all of it."""
    value = f"{(own_identifier(plan) or ('', plan.get('id', '')))[1]}/{order.get('id', '')}"
    why = why_of(order) or ", ".join(t for r in objects(order.get("reasonCode")) if (t := coded(r)))
    labels, how = an_object(order.get("meta")).get("security"), "\n".join(doses(order))
    times = {k: v for k, v in zip(("start", "end"), period(order), strict=True) if v}
    return {
        "resourceType": "MedicationStatement", **({"meta": {"security": labels}} if labels else {}), "extension": [_change("new", why, "", str(order.get("authoredOn") or ""))],
        "identifier": [{"system": system("medicine"), "value": value}], "status": "active", "medicationCodeableConcept": _concept(order, medicine),
        "subject": dict(an_object(order.get("subject"))), **({"effectivePeriod": times} if times else {}), **({"dosage": [{"text": how}]} if how else {}),
    }  # fmt: skip


_CHANGE: Final = f"{EXTENSIONS}medicine-change"
_UK_CHANGE: Final = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationChangeSummary"


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
    "AGREE", "ASKED", "GONE", "LOOK_AT_ALL", "LOOK_AT_PRESCRIBED", "NO", "PRESCRIBED", "YES", "Asked", "Said", "asks_about", "changed", "differs", "holds", "is_before", "is_in_hospital", "is_medicine", "is_open", "is_over", "made", "of_discharge", "over_since", "proposal", "proposals",
    "said_yes", "says", "stay_of",
]  # fmt: skip
