"""What an ADT message means here: who it is about, the Encounter it makes or changes, and what it says of the person that the record says
otherwise. Pure. docs/hl7v2.md has the table.

Only the stay is taken: who, where, from when to when. Diagnoses, allergies, kin and insurance (DG1, AL1, NK1, IN1, OBX, Z segments) are not: an admission
notice needs none of it, and clinical content comes as a document. HL7 v2.5.1 chapter 3, https://hl7.org/fhir/R4/encounter.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from .er7 import LONGEST_NAME, Message, wrong
from .identity import NHS_NUMBER, NO_NUMBER, is_nhs_number
from .moments import instant, moment
from .problem import Problem
from .said_of_person import LONGEST, Other, otherwise
from .vocabulary import ACT_CODE, HL7, OURS

ADMIT, DISCHARGE, UPDATE, MERGE = "ADT^A01", "ADT^A03", "ADT^A08", "ADT^A40"
NOT_ADMITTED, NOT_DISCHARGED = "ADT^A11", "ADT^A13"  # the admission, or the discharge, is cancelled
EVENTS: Final = (ADMIT, DISCHARGE, UPDATE, NOT_ADMITTED, NOT_DISCHARGED, MERGE)
NAMES: Final = f"{OURS}/id/hl7v2"  # identifier system of what a sender numbers without a system of its own: /<client>/<authority>
MOST_PAIRS: Final = 50  # of one A40; the standard recommends one
AHEAD: Final = timedelta(days=1)  # how far a sender's clock may be before ours
NHS_OID: Final = "2.16.840.1.113883.2.1.4.1"
_NHS: Final = frozenset({"NHS", "NHSNBR", "NHSN", "NHSNUMBER"})
_CLASSES: Final = {  # PV1-2, table 0004 -> v3-ActCode
    "I": ("IMP", "inpatient encounter"), "E": ("EMER", "emergency"), "O": ("AMB", "ambulatory"), "P": ("PRENC", "pre-admission"),
    "R": ("AMB", "ambulatory"), "B": ("IMP", "inpatient encounter"), "D": ("SS", "short stay"),
}  # fmt: skip
_NUMBERS: Final = (("PV1", 19), ("PID", 18), ("PV1", 50))  # where a stay is numbered, the first of them that is there
_SERVICES: Final = {  # PV1-10, treatment functions that say by themselves what somebody was in for -> sensitivity
    **dict.fromkeys("700 710 711 712 713 715 720 722 723 724 725 726 727 656 PSY MH".split(), "MH"), "721": "SUD", "360": "STD",
}  # fmt: skip
_DISPOSITIONS: Final = {  # PV1-36, NHS discharge destination and HL7 table 0112, where they mean one thing -> HL7 discharge-disposition
    "19": ("home", "Home"), "01": ("home", "Home"), "29": ("alt-home", "Alternative home"), "79": ("exp", "Expired"), "20": ("exp", "Expired"),
    "07": ("aadvice", "Left against advice"), "51": ("other-hcf", "Other healthcare facility"), "54": ("long", "Long-term care"), "65": ("long", "Long-term care"),
    "85": ("snf", "Skilled nursing facility"),
}  # fmt: skip


# -- what kind it is --------------------------------------------------------------------------------------------------


def event(m: Message) -> str:
    """One of EVENTS. Problem bad-request (an ACK of AR) for what is not taken here; invalid (AE) for one without a name."""
    kind, _, trigger = m.event.partition("^")
    if kind != "ADT":
        raise wrong(f"Only ADT is taken here, not `{kind[:20] or 'nothing'}`.", "MSH^1^9", "200", "bad-request")
    if m.event not in EVENTS:
        taken = ", ".join(e.removeprefix("ADT^") for e in EVENTS)
        raise wrong(f"`{trigger[:20] or 'nothing'}` is not taken here: {taken} are.", "MSH^1^9^1^2", "201", "bad-request")
    if m.text("MSH", 11)[:1] not in ("P", ""):
        raise wrong("Only messages of production (`P`) are written into people's records.", "MSH^1^11", "202", "bad-request")
    if (version := m.text("MSH", 12)) and not re.match(r"2\.[1-9]", version):
        raise wrong(f"Version `{version[:20]}` is not read here: 2.1 to 2.9 are.", "MSH^1^12", "203", "bad-request")
    if not m.name or len(m.name) > LONGEST_NAME:
        raise wrong(f"MSH-10 must name the message, in at most {LONGEST_NAME} characters.", "MSH^1^10", "101", "bad-request")
    return m.event


# -- whom it is about -------------------------------------------------------------------------------------------------


def nhs_numbers(m: Message, segment: str, field: int) -> list[str]:
    """The NHS numbers among the identifiers of a field, without spaces and hyphens."""
    out = []
    for n in range(1, m.repetitions(segment, field) + 1):
        authority = {m.text(segment, field, 4, repetition=n, sub=s).upper() for s in (1, 2)}
        kind = m.text(segment, field, 5, repetition=n).upper()
        if authority & _NHS or NHS_OID in authority or kind in ("NH", "NHS"):
            number = m.text(segment, field, repetition=n).replace(" ", "").replace("-", "")
            if number and not is_nhs_number(number):
                raise wrong(NO_NUMBER, f"{segment}^{m.nth}^{field}", "102")
            out += [number] if number else []
    return list(dict.fromkeys(out))


def person(m: Message) -> dict[str, Any]:
    """Whom the message says that it is about, as a Patient: what is compared, and nothing else. Problem invalid."""
    if not m.has("PID"):
        raise wrong("There is no PID segment: whom this is about is not said.", "PID", "100")
    if m.count("PID") > 1:
        raise wrong("There is more than one PID segment: only an A40 may name several people.", "PID^2", "100")
    numbers = nhs_numbers(m, "PID", 3) or nhs_numbers(m, "PID", 2)
    if len(numbers) > 1:
        raise wrong("PID-3 has two NHS numbers.", f"PID^{m.nth}^3", "102", "conflict")
    names = [{"family": f} for n in range(1, m.repetitions("PID", 5) + 1) if (f := m.text("PID", 5, repetition=n))]
    out: dict[str, Any] = {"resourceType": "Patient", "identifier": [{"system": NHS_NUMBER, "value": n} for n in numbers], "name": names}
    born = _born(m)
    return out | ({"birthDate": born} if born else {})


def _born(m: Message) -> str:
    return moment(m, "PID", 7)[:10]


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of an A40: the person that it keeps, the one that it says is the same, and which PID and MRG of the message they are.

    `gone` is None where MRG names no NHS number; else a Patient with that number, the former name (else the name), and the date of birth that
    both must have.
    """

    kept: dict[str, Any]
    gone: dict[str, Any] | None
    nth: int = 1


def pairs(m: Message) -> list[Pair]:
    """Every pair of PID and MRG of an A40 (HL7 v2.5.1, 3.3.40: they repeat). Problem invalid names the segment that makes no pair."""
    groups: list[list[Any]] = []
    merged = 0
    for segment in m.segments:
        if segment[0] == "PID":
            groups.append([segment])
        elif segment[0] == "MRG":
            merged += 1
            if not groups or len(groups[-1]) > 1:
                raise wrong("This MRG has no PID of its own before it: whose record is kept is not said.", f"MRG^{merged}", "100")
            groups[-1].append(segment)
    if len(groups) > MOST_PAIRS:
        raise wrong(f"At most {MOST_PAIRS} pairs are taken in one A40.", f"PID^{MOST_PAIRS + 1}", "100")
    return [_pair(replace(m, segments=tuple(g), nth=n)) for n, g in enumerate(groups or [[]], 1)]


def _pair(m: Message) -> Pair:
    kept = person(m)
    if not m.has("MRG"):
        raise wrong("A40 needs an MRG segment after each PID: which record is merged is not said.", f"PID^{m.nth}", "100")
    numbers = nhs_numbers(m, "MRG", 1) or nhs_numbers(m, "MRG", 4)
    if not numbers:
        return Pair(kept, None, m.nth)
    family = m.text("MRG", 7)
    gone = {**kept, "identifier": [{"system": NHS_NUMBER, "value": numbers[0]}]} | ({"name": [{"family": family}]} if family else {})
    return Pair(kept, gone, m.nth)


# -- the stay ---------------------------------------------------------------------------------------------------------


def of_no_stay(m: Message) -> bool:
    """Is it an A08 of the person alone: without a number of a stay, or of class N (PV1-2, not applicable)."""
    alone = m.text("PV1", 2).upper() == "N" or not any(m.text(*at) for at in _NUMBERS)
    return event(m) == UPDATE and alone and m.count("PV1") < 2


def visit(m: Message, client: str) -> tuple[str, str]:
    """(system, value) by which its sender knows this stay. Problem invalid without one, or with two stays."""
    if m.count("PV1") > 1:
        raise wrong("There is more than one PV1 segment: a message tells of one stay.", "PV1^2", "100")
    for segment, field in _NUMBERS:
        if value := m.text(segment, field):
            return _system(m, segment, field, client), value[:LONGEST]
    raise wrong("PV1-19 must number this stay, so that its end is known as its end.", "PV1^1^19", "101")


def _system(m: Message, segment: str, field: int, client: str) -> str:
    """The system of an identifier: an OID or a URI where the sender gives one, else one of ours for this sender alone."""
    space, universal, kind = (m.text(segment, field, 4, sub=s) for s in (1, 2, 3))
    if kind.upper() == "ISO" and re.fullmatch(r"[0-2](\.(0|[1-9]\d*)){1,40}", universal):
        return f"urn:oid:{universal}"
    return f"{NAMES}/{quote(client, safe='')}/{quote((space or m.sender[1] or 'visit')[:60], safe='')}"


def stay(m: Message, person: str, provider: str | None, client: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The Encounter as it is after this message: what it says over what was there (`before`), where it says nothing as it was.

    `person` is `Patient/…`, `provider` the sender's `Organization/…`. A stay that has ended stays ended until the discharge is cancelled, one
    that was cancelled stays so until there is another admission, and what was recorded before such a turn and comes after changes nothing.
    Problem invalid.
    """
    system, value = visit(m, client)
    kind = event(m)
    if before is not None and _late(m, before):
        return _admitted_then(m, before)
    if before is not None and kind == NOT_DISCHARGED and before.get("status") == "cancelled":
        return dict(before)
    out: dict[str, Any] = dict(before or {"resourceType": "Encounter", "identifier": [{"system": system, "value": value}], "subject": {"reference": person}})
    began, ended = moment(m, "PV1", 44), moment(m, "PV1", 45)
    if kind == DISCHARGE:
        ended = ended or _happened(m)
    elif kind == ADMIT:
        began = began or _happened(m)
    elif kind in (NOT_ADMITTED, NOT_DISCHARGED):
        ended = ""  # of the discharge that did not happen
    out["status"] = _status(m, kind, str(out.get("status", "")), bool(ended))
    period = {**out.get("period", {}), **({"start": began} if began else {}), **({"end": ended} if ended else {})}
    if kind == NOT_DISCHARGED:
        period.pop("end", None)
    _in_order(period)
    if period:
        out["period"] = period
    elif "period" in out:
        del out["period"]
    way = _way(m, out)
    if kind == NOT_DISCHARGED and "hospitalization" in {**out, **way}:
        held = {k: v for k, v in {**out, **way}["hospitalization"].items() if k != "dischargeDisposition"}
        out, way = {k: v for k, v in out.items() if k != "hospitalization"}, {"hospitalization": held} if held else {}
    return {**out, **_class(m, out), **_where(m, out), **_who(m), **way, **_provider(provider, out), **_labels(m, out), **_turned(m, kind, before)}


def _admitted_then(m: Message, before: Mapping[str, Any]) -> dict[str, Any]:
    """What comes too late, unchanged; but when a stay began says an admission also after its discharge, where nothing does."""
    period = before.get("period", {})
    began = moment(m, "PV1", 44) or _happened(m)
    if event(m) != ADMIT or before.get("status") != "finished" or "start" in period or not began or instant(began) > instant(period["end"], last=True):
        return dict(before)
    return {**before, "period": {"start": began, **period}}


def _status(m: Message, kind: str, before: str, ended: bool) -> str:
    if kind == NOT_ADMITTED or (kind == UPDATE and before == "cancelled"):
        return "cancelled"
    if ended or (before == "finished" and kind != NOT_DISCHARGED):
        return "finished"
    if m.text("PV1", 2).upper() == "P" and kind not in (ADMIT, NOT_DISCHARGED):
        return "planned"
    return before or "in-progress" if kind == UPDATE else "in-progress"


def _turned(m: Message, kind: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a stay was until its admission or discharge was cancelled, and when that was recorded: what was recorded before comes too late."""
    was, recorded = (before or {}).get("status"), _recorded(m)
    if before is None or not recorded or not ((kind == NOT_ADMITTED and was != "cancelled") or (kind == NOT_DISCHARGED and was == "finished")):
        return {}
    start = before.get("period", {}).get("end" if was == "finished" else "start", "")
    since = {"start": start} if start and instant(start) <= instant(recorded, last=True) else {}
    return {"statusHistory": [*before.get("statusHistory", ()), {"status": was, "period": {**since, "end": recorded}}]}


def turns(stay: Mapping[str, Any]) -> int:
    """How often an admission or a discharge of it was cancelled."""
    return len(stay.get("statusHistory", ()))


def _recorded(m: Message) -> str:
    return moment(m, "EVN", 2) or moment(m, "MSH", 7)


def _late(m: Message, before: Mapping[str, Any]) -> bool:
    """Was it recorded before the stay ended, or before the last cancellation. Who cancels a discharge may do so before the time that it was for."""
    recorded, end = _recorded(m), before.get("period", {}).get("end", "")
    if not recorded:
        return False
    if event(m) == NOT_DISCHARGED and end and moment(m, "PV1", 45) == end:
        end = ""
    turned = [h.get("period", {}).get("end", "") for h in before.get("statusHistory", ())][-1:]
    ends = [t for t in (end if before.get("status") == "finished" else "", *turned) if t]
    return any(instant(recorded, last=True) < instant(t) for t in ends)


def _in_order(period: Mapping[str, str]) -> None:
    start, end = (period.get(k, "") for k in ("start", "end"))
    if start and end and instant(end, last=True) < instant(start):
        raise wrong(f"This stay would end ({end}) before it began ({start}).", "PV1^1^45", "102")


def _happened(m: Message) -> str:
    """When the event was: EVN-6, EVN-2, else MSH-7."""
    return next((t for at in (("EVN", 6), ("EVN", 2), ("MSH", 7)) if (t := moment(m, *at))), "")


def _class(m: Message, before: Mapping[str, Any]) -> dict[str, Any]:
    said = m.text("PV1", 2)
    if not said and before.get("class"):
        return {}
    if said.upper() in _CLASSES:
        code, display = _CLASSES[said.upper()]
        return {"class": {"system": ACT_CODE, "code": code, "display": display}}
    return {"class": {"system": f"{HL7}/v3-NullFlavor", "code": "UNK", "display": said[:LONGEST] or "unknown"}}


def _where(m: Message, out: Mapping[str, Any]) -> dict[str, Any]:
    """The one place where somebody is now: point of care, room, bed, facility."""
    parts = [m.text("PV1", 3, n) for n in (9, 1, 2, 3, 4)]
    named = ", ".join(dict.fromkeys(p for p in parts if p))[: 2 * LONGEST]
    over = out.get("status") in ("finished", "cancelled")
    if named:
        return {"location": [{"location": {"display": named}, "status": "completed" if over else "active"}]}
    held = out.get("location") or []
    return {"location": [{**place, "status": "completed" if over else "active"} for place in held]} if held and (over or event(m) == NOT_DISCHARGED) else {}


def _who(m: Message) -> dict[str, Any]:
    """The attending doctor by name; a number alone says nothing to people."""
    family, given, prefix = m.text("PV1", 7, 2), m.text("PV1", 7, 3), m.text("PV1", 7, 6)
    name = " ".join(p for p in (prefix, given, family) if p)[:LONGEST]
    if not family:
        return {}
    attending = {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "ATND", "display": "attender"}]}
    return {"participant": [{"type": [attending], "individual": {"type": "Practitioner", "display": name}}]}


def _way(m: Message, out: Mapping[str, Any]) -> dict[str, Any]:
    """How they came in and where they went."""
    held = dict(out.get("hospitalization") or {})
    if source := _words(m, "PV1", 14):
        held["admitSource"] = {"text": source}
    if gone := _words(m, "PV1", 36):
        code = _DISPOSITIONS.get(m.text("PV1", 36))
        coding = {"coding": [{"system": f"{HL7}/discharge-disposition", "code": code[0], "display": code[1]}]} if code else {}
        held["dischargeDisposition"] = {**coding, "text": gone}
    return {"hospitalization": held} if held else {}


def _words(m: Message, segment: str, field: int) -> str:
    """A coded field in words: its text, else its code."""
    return (m.text(segment, field, 2) or m.text(segment, field))[:LONGEST]


def _provider(provider: str | None, out: Mapping[str, Any]) -> dict[str, Any]:
    return {"serviceProvider": {"reference": provider}} if provider and "serviceProvider" not in out else {}


def _labels(m: Message, out: Mapping[str, Any]) -> dict[str, Any]:
    """A ward may say by itself what somebody was in for: then the stay is as private as that."""
    code = _SERVICES.get(m.text("PV1", 10).upper())
    held = list((out.get("meta") or {}).get("security", ()))
    if code is None or any(c.get("code") == code for c in held):
        return {}
    return {"meta": {**(out.get("meta") or {}), "security": [*held, {"system": ACT_CODE, "code": code}]}}


# -- times ------------------------------------------------------------------------------------------------------------


def in_time(m: Message, now: datetime) -> None:
    """Problem invalid where it tells of what is yet to come, more than a day ahead: all that comes after it would be too late.

    A stay that is planned may begin when it likes.
    """
    kind = event(m)
    planned = m.text("PV1", 2).upper() == "P" and kind not in (ADMIT, DISCHARGE)
    began = () if planned else (("PV1", 44),)
    ended = () if kind in (NOT_ADMITTED, NOT_DISCHARGED) else (("PV1", 45),)
    for at in (("EVN", 2), ("EVN", 6), ("MSH", 7), *began, *ended, ("PID", 29)):
        try:
            said = moment(m, *at)
        except Problem:  # is told where it is read
            continue
        if said and instant(said) > now + AHEAD:
            raise wrong(f"{at[0]}-{at[1]} says {said}, which is yet to come. Look at the clock of the sender.", f"{at[0]}^1^{at[1]}", "102")


__all__ = ["ADMIT", "DISCHARGE", "EVENTS", "MERGE", "NOT_ADMITTED", "NOT_DISCHARGED", "UPDATE", "Other", "Pair", "event", "in_time", "of_no_stay", "otherwise", "pairs", "person", "stay", "turns", "visit"]
