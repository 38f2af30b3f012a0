"""Whether a medicine is taken, and how, as a plan or a record says it: once, for the page, the paper and the document. Pure.

https://hl7.org/fhir/R4/medicationrequest.html https://hl7.org/fhir/R4/medicationstatement.html https://hl7.org/fhir/R4/dosage.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from .written_down import Say, an_object, as_written, coded, objects

Taken = Literal["now", "not yet", "paused", "stopped", "finished", "not taken", "a mistake"]

STATUSES: Final[Mapping[str, Taken]] = {  # of a plan (`mappings/codes/medicine-status.json`, `prescription-status.json`) and of both FHIR types, with a space for each hyphen
    "draft": "not yet", "intended": "not yet", "planned": "not yet", "on hold": "paused", "paused": "paused", "stopped": "stopped", "completed": "finished",
    "finished": "finished", "done": "finished", "not taken": "not taken", "cancelled": "not taken", "entered in error": "a mistake",
}  # fmt: skip
NO_ORDER: Final = frozenset({"proposal", "proposed", "option", "an option"})  # the intent of a request that nobody has ordered
OVER: Final[frozenset[Taken]] = frozenset({"stopped", "finished", "not taken"})
FORBIDDEN: Final = "Do not: "  # begins what `forbidden` says in English
CHANGES: Final[Mapping[str, Taken]] = {"stopped": "stopped", "paused": "paused"}
SAID: Final = frozenset({"id", "sequence", "text", "patientInstruction", "additionalInstruction", "timing", "asNeededBoolean", "asNeededCodeableConcept", "route", "doseAndRate", "extension"})  # what `in_words` says


def taken(medicine: Mapping[str, Any]) -> Taken:
    """Of a medicine of a plan. Its status beats what is said of a change; only where it has none does a change that stopped or paused it count."""
    if not medicine.get("status"):
        changed = CHANGES.get(str(an_object(medicine.get("change")).get("kind")))
        if changed is not None:
            return changed
    return _stands(medicine.get("status"), an_object(medicine.get("prescription")).get("intent"))


def taken_by_record(resource: Mapping[str, Any]) -> Taken:
    """Of a MedicationStatement or MedicationRequest."""
    return _stands(resource.get("status"), resource.get("intent"))


def _stands(status: Any, intent: Any) -> Taken:
    said = STATUSES.get(str(status or "").replace("-", " "), "now")
    return "not yet" if said == "now" and intent in NO_ORDER else said


def forbidden(what: str, say: Say = as_written) -> str:
    """That this, or something nobody describes, is not to be done, or not to be taken."""
    return say("Do not: {what}").format(what=what or say("something that is not described"))


def forbidden_again(text: str, say: Say) -> str:
    """The text of an action that was read as not to be done (`mapping.foreign`), in the language of `say`; any other as it is."""
    what = text.removeprefix(FORBIDDEN)
    return text if what == text else forbidden("" if what == forbidden("").removeprefix(FORBIDDEN) else what, say)


def is_not_to_be(resource: Mapping[str, Any]) -> bool:
    """`doNotPerform`: what this asks for is not to be done, or not to be taken."""
    return resource.get("doNotPerform") is True


def doses(resource: Mapping[str, Any], say: Say = as_written) -> tuple[str, ...]:
    """All that is said of how it is taken, in its sequence: the texts as they were written, or where there is none, what is said in numbers, in our words by `say`."""
    every = objects(resource.get("dosage") or resource.get("dosageInstruction"))
    ordered = sorted(every, key=lambda d: n if type(n := d.get("sequence")) is int else 0)
    return tuple(dict.fromkeys(t for d in ordered if (t := _instruction(d, say))))


def _instruction(dose: Mapping[str, Any], say: Say) -> str:
    said = [str(dose[k]).strip() for k in ("text", "patientInstruction") if isinstance(dose.get(k), str) and dose[k].strip()]
    return "\n".join(dict.fromkeys(said)) if dose.get("text") else "\n".join([*said, *([w] if (w := in_words(dose, say)) else [])])


def in_words(dose: Mapping[str, Any], say: Say = as_written) -> str:
    """What a Dosage says in numbers, as far as that is simple; what is not is said to be in the record."""
    rates, timing = objects(dose.get("doseAndRate")), an_object(dose.get("timing"))
    repeat = an_object(timing.get("repeat"))
    amount = _quantity(rates[0].get("doseQuantity")) if len(rates) == 1 else ""
    often, whole = _often(repeat, say)
    said = [amount, often or coded(timing.get("code")), _needed(dose, say), coded(dose.get("route")), *(coded(a) for a in objects(dose.get("additionalInstruction")))]
    simple = dose.keys() <= SAID and whole and timing.keys() <= {"repeat", "code"} and (not rates or (bool(amount) and rates[0].keys() <= {"type", "doseQuantity"}))
    words, more = ", ".join(t for t in said if t), say("More is in the record")
    return words if simple else f"{words}. {more}" if words else more


def _needed(dose: Mapping[str, Any], say: Say) -> str:
    if dose.get("asNeededBoolean") is True:
        return say("as needed")
    return say("as needed for {what}").format(what=coded(dose["asNeededCodeableConcept"])) if dose.get("asNeededCodeableConcept") else ""


def _quantity(quantity: Any) -> str:
    q = an_object(quantity)
    said = (q.get("comparator"), q.get("value"), q.get("unit") or q.get("code"))
    return " ".join(str(t) for t in said if t not in (None, "")) if q.get("value") is not None else ""


def _often(repeat: Mapping[str, Any], say: Say) -> tuple[str, bool]:
    """How often, and whether that is all that is said of it."""
    units, period, times = _units(say).get(str(repeat.get("periodUnit"))), repeat.get("period"), repeat.get("frequency", 1)
    whole = repeat.keys() <= {"frequency", "period", "periodUnit", "boundsDuration", "boundsPeriod"}
    lasts = _quantity(repeat.get("boundsDuration"))
    if units is None or period is None:
        bounded = say("for {long}").format(long=lasts) if lasts else ""
        return bounded, whole and not repeat.keys() - {"boundsDuration", "boundsPeriod"} and (bool(lasts) or "boundsDuration" not in repeat)
    every = units[0] if period == 1 else units[1].format(n=period)
    often = every if times == 1 else say("{n} times {every}").format(n=times, every=every)
    return say("{often} for {long}").format(often=often, long=lasts) if lasts else often, whole and (bool(lasts) or "boundsDuration" not in repeat)


def _units(say: Say) -> Mapping[str, tuple[str, str]]:
    """Every one of a unit of time, and every so many."""
    return {
        "s": (say("every second"), say("every {n} seconds")), "min": (say("every minute"), say("every {n} minutes")), "h": (say("every hour"), say("every {n} hours")),
        "d": (say("every day"), say("every {n} days")), "wk": (say("every week"), say("every {n} weeks")), "mo": (say("every month"), say("every {n} months")),
        "a": (say("every year"), say("every {n} years")),
    }  # fmt: skip
