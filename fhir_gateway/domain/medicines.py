"""Whether a medicine is taken, and how, as a plan or a record says it: once, for the page, the paper and the document. Pure.

https://hl7.org/fhir/R4/medicationrequest.html https://hl7.org/fhir/R4/medicationstatement.html https://hl7.org/fhir/R4/dosage.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any, Final, Literal

from .in_force import is_past, is_to_come
from .written_down import Say, an_object, as_written, coded, cut, objects

Taken = Literal["now", "not yet", "paused", "stopped", "finished", "not taken", "a mistake"]

STATUSES: Final[Mapping[str, Taken]] = {  # of a plan (`mappings/codes/medicine-status.json`, `prescription-status.json`) and of both FHIR types, with a space for each hyphen
    "draft": "not yet", "intended": "not yet", "planned": "not yet", "on hold": "paused", "paused": "paused", "stopped": "stopped", "completed": "finished",
    "finished": "finished", "done": "finished", "not taken": "not taken", "cancelled": "not taken", "entered in error": "a mistake",
}  # fmt: skip
NO_ORDER: Final = frozenset({"proposal", "proposed", "option", "an option"})  # the intent of a request that nobody has ordered
OVER: Final[frozenset[Taken]] = frozenset({"stopped", "finished", "not taken"})
RESOURCES: Final = ("MedicationStatement", "MedicationRequest")
NOT_MEANT: Final = ("entered-in-error", "draft", "cancelled")
FORBIDDEN: Final = "Do not: "  # begins what `forbidden` says in English
UNKNOWN: Final = "unknown"
CHANGES: Final[Mapping[str, Taken]] = {"stopped": "stopped", "paused": "paused"}
MOST: Final = 100  # of one name in a record that a medicine of the plan is compared with
SAID_AT_MOST: Final = 10  # at one medicine: a record lists each of its own by itself
NEEDED: Final = ("needed", "required", "necessary", "prn")  # in a text of a dose: it says so itself
MOST_TO_TAKE: Final = frozenset({"maxDosePerPeriod", "maxDosePerAdministration", "maxDosePerLifetime"})
SAID: Final = frozenset({"id", "sequence", "text", "patientInstruction", "additionalInstruction", "timing", "asNeededBoolean", "asNeededCodeableConcept", "route", "doseAndRate", "extension"})  # what `in_words` says


def taken(medicine: Mapping[str, Any], today: date | None = None) -> Taken:
    """Of a medicine of a plan. Its status beats what is said of a change; only where it has none does a change that stopped or paused it count. A course whose
    last day was before `today` is finished, and one that begins later is not begun."""
    return _by(today, _said_to_be(medicine), medicine.get("from"), medicine.get("to"))


def _by(today: date | None, said: Taken, start: Any, end: Any) -> Taken:
    if said != "now":
        return said
    return "finished" if is_past(end, today) else "not yet" if is_to_come(start, today) else said


def in_doubt(medicine: Mapping[str, Any], today: date | None = None) -> bool:
    """Whether it, of a plan or a record, is said to be taken and to be stopped or paused, or that nobody knows: whoever reads must ask."""
    doubted = medicine.get("status") == UNKNOWN or str(an_object(medicine.get("change")).get("kind")) in CHANGES
    return doubted and (taken_by_record(medicine, today) if "resourceType" in medicine else taken(medicine, today)) == "now"


def _said_to_be(medicine: Mapping[str, Any]) -> Taken:
    if not medicine.get("status"):
        changed = CHANGES.get(str(an_object(medicine.get("change")).get("kind")))
        if changed is not None:
            return changed
    return _stands(medicine.get("status"), an_object(medicine.get("prescription")).get("intent"))


def taken_by_record(resource: Mapping[str, Any], today: date | None = None) -> Taken:
    """Of a MedicationStatement or MedicationRequest: by its status, and by its period where that is over by `today` or has not begun."""
    return _by(today, _stands(resource.get("status"), resource.get("intent")), *period(resource))


def period(resource: Mapping[str, Any]) -> tuple[Any, Any]:
    """From when to when a medicine of a record is taken, as it says: by `effectivePeriod`, or by the times of all its doses."""
    said = an_object(resource.get("effectivePeriod"))
    if said:
        return said.get("start"), said.get("end")
    every = [an_object(an_object(an_object(d.get("timing")).get("repeat")).get("boundsPeriod")) for d in objects(resource.get("dosageInstruction") or resource.get("dosage"))]
    starts, ends = ([t for p in every if isinstance(t := p.get(end), str)] for end in ("start", "end"))
    return min(starts) if starts and len(starts) == len(every) else None, max(ends) if ends and len(ends) == len(every) else None


def of_record(resources: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Every MedicationStatement and MedicationRequest that says something of a medicine: no mistake, no draft, none that was called off."""
    return [r for r in resources if r.get("resourceType") in RESOURCES and r.get("status") not in NOT_MEANT]


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one medicine: what it is called and coded as, whether it is taken and how, and that it is not to be; `why`, where it was changed.
    How and why are the beginnings: they stand at every medicine of that name. `whole`: the digest of all of how. `called`: its name, as it was written."""

    names: frozenset[str]
    taken: Taken
    how: str = ""
    never: bool = False
    why: str = ""
    whole: bytes = b""
    called: str = ""


def _told(called: Any, codes: Iterable[Mapping[str, Any]], taken: Taken, how: str, never: bool, why: str) -> Told:
    whole = sha256(_bare(how).encode("utf-8", "surrogatepass")).digest() if how else b""
    return Told(_names(called, codes), taken, cut(how), never, cut(why), whole, cut(str(called or "")))


def told(medicine: Mapping[str, Any], today: date | None = None) -> Told:
    """By a plan, or of a record in the words of a plan."""
    why = an_object(medicine.get("change")).get("reason") or medicine.get("status_reason") or ""
    return _told(medicine.get("text"), [an_object(medicine.get("code"))], taken(medicine, today), str(medicine.get("how") or ""), medicine.get("do_not") is True, str(why))


def told_by_record(resource: Mapping[str, Any], say: Say = as_written, today: date | None = None) -> Told:
    """By a MedicationStatement or MedicationRequest, how it is taken by `say`."""
    concept = concept_of(resource)
    called = coded(concept) or an_object(resource.get("medicationReference")).get("display")
    return _told(called, objects(concept.get("coding")), taken_by_record(resource, today), "\n".join(doses(resource, say)), is_not_to_be(resource), why_of(resource))


def why_of(resource: Mapping[str, Any]) -> str:
    """All that its `statusReason` says in words."""
    return ", ".join(t for c in [*objects(resource.get("statusReason")), an_object(resource.get("statusReason"))] if (t := coded(c)))


def concept_of(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a MedicationStatement or MedicationRequest calls its medicine: itself, or by the Medication that it contains."""
    named = str(an_object(resource.get("medicationReference")).get("reference", ""))
    inside = [c for c in objects(resource.get("contained")) if named.startswith("#") and c.get("resourceType") == "Medication" and c.get("id") == named[1:]]
    return an_object(resource.get("medicationCodeableConcept")) or (an_object(inside[0].get("code")) if inside else {})


def named_inside(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with what a contained Medication is called where it stands for it."""
    concept = concept_of(resource)
    return {**resource, "medicationCodeableConcept": concept} if concept and not resource.get("medicationCodeableConcept") else dict(resource)


def in_names(resources: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All of these, each MedicationStatement and MedicationRequest with what its Medication is called, contained or one of these: a hospital names what it orders so."""
    every = list(resources)
    beside = {f"Medication/{r.get('id')}": r for r in every if r.get("resourceType") == "Medication"}

    def named(r: Mapping[str, Any]) -> Mapping[str, Any]:
        there = beside.get(str(an_object(r.get("medicationReference")).get("reference", "")).partition("/_history/")[0])
        return {**r, "medicationCodeableConcept": there["code"]} if there and there.get("code") and not concept_of(r) else named_inside(r)

    return [named(r) if r.get("resourceType") in RESOURCES else r for r in every]


def _names(called: Any, codes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    words = _bare(called)
    return frozenset([*([words] if words else []), *(f"{c['system']}|{c['code']}" for c in codes if c.get("system") and c.get("code"))])


def _bare(text: Any) -> str:
    return " ".join(str(text or "").split()).casefold()


def by_name(record: Iterable[Told]) -> dict[str, tuple[Told, ...]]:
    """What a record says of each name and code, what is not to be or is not taken first; of one name no more than anybody would read."""
    out: dict[str, dict[Told, None]] = {}
    for t in sorted(record, key=lambda t: (not t.never, t.taken == "now")):
        for name in t.names if t.taken != "a mistake" else ():
            if len(held := out.setdefault(name, {})) < MOST:
                held[t] = None
    return {name: tuple(held) for name, held in out.items()}


def otherwise(mine: Told, record: Mapping[str, tuple[Told, ...]]) -> tuple[Told, ...]:
    """What a record says otherwise of a medicine of the plan that it calls the same, or codes the same: that it is stopped, is taken, is taken another way,
    is of another strength, or is not to be, or that it is taken where the plan says not to (`by_name`). Nothing is taken over by it. That an earlier order is finished, or a later one not begun, is nothing where another says what the plan says."""
    same = tuple(dict.fromkeys(t for name in sorted(mine.names) for t in record.get(name, ())))
    differs = [t for t in same if _differs(mine, t)]
    agreed = len(differs) < len(same)
    said = [t for t in differs if not (agreed and not t.never and t.taken in ("finished", "not yet"))][:SAID_AT_MOST]
    return tuple(replace(t, how=": ".join(w for w in (t.called, t.how) if w)) if other_strength(mine, t) else t for t in said)


def _differs(mine: Told, t: Told) -> bool:
    if mine.never or t.never:
        return mine.never != t.never and (t.never or t.taken == "now")
    if t.taken != mine.taken:
        return not {t.taken, mine.taken} <= OVER
    return t.taken == "now" and ((bool(t.whole and mine.whole) and t.whole != mine.whole) or other_strength(mine, t))


STRENGTH: Final = re.compile(r"(\d+(?:[.,]\d+)?)\s*(mg|mcg|µg|μg|micrograms?|milligrams?|nanograms?|ng|grams?|g|ml|mmol|units?|iu|%)(?![a-z])", re.IGNORECASE)
IN_MICROGRAMS: Final = {"ng": 0.001, "nanogram": 0.001, "mcg": 1, "µg": 1, "μg": 1, "microgram": 1, "mg": 1000, "milligram": 1000, "g": 1_000_000, "gram": 1_000_000}


def other_strength(mine: Told, other: Told) -> bool:
    """Do the words in which both are called name strengths that differ."""
    strengths = [_strengths(t.called) for t in (mine, other)]
    return all(strengths) and strengths[0] != strengths[1]


def _strengths(called: str) -> frozenset[tuple[str, str]]:
    out = set()
    for number, written in STRENGTH.findall(called):
        unit, amount = str(written).casefold(), float(str(number).replace(",", "."))
        factor = IN_MICROGRAMS.get(unit.removesuffix("s")) or IN_MICROGRAMS.get(unit)
        out.add((f"{amount * factor:.6g}", "µg") if factor else (f"{amount:.6g}", unit.removesuffix("s")))
    return frozenset(out)


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
    return "\n".join(dict.fromkeys([*said, *_beside(dose, " ".join(said), say)])) if dose.get("text") else "\n".join([*said, *([w] if (w := in_words(dose, say)) else [])])


def _beside(dose: Mapping[str, Any], text: str, say: Say) -> list[str]:
    """What is said beside the text of a dose and not in it, and would be missed: as needed, for how long, what else to mind, that there is a most."""
    lasts = _quantity(an_object(an_object(dose.get("timing")).get("repeat")).get("boundsDuration"))
    needed = _needed(dose, say) if not any(w in text.casefold() for w in NEEDED) else ""
    said = [needed, say("for {long}").format(long=lasts) if lasts else "", *(coded(a) for a in objects(dose.get("additionalInstruction")))]
    most = [say("More is in the record")] if dose.keys() & MOST_TO_TAKE else []
    return [t for t in said if t and t.casefold() not in text.casefold()] + most


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
