"""The one pattern around a plan: a ServiceRequest says what is wanted, a Task asks somebody for it, for a time, of a service in the directory.

Referrals, courses, aftercare packages, budgets, menus and befriending differ in their codes and times alone. docs/referrals.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from .bundle import instant
from .problem import Problem
from .vocabulary import OURS, TASK_SYSTEM, own_task

SNOMED: Final = "http://snomed.info/sct"
TO_A_SERVICE: Final = {"coding": [{"system": SNOMED, "code": "871731000000106", "display": "Referral to social prescribing service"}]}
DECLINED: Final = "871711000000103"
UNMET: Final = f"{OURS}/StructureDefinition/unmet-need-reason"
ASKED: Final = f"{OURS}/id/asked"  # identifier system: what was asked from one page, in the same words
FUNDED_BY: Final = f"{OURS}/StructureDefinition/funded-by"
AUTHORISE: Final = "authorise-budget"  # Task.code: whoever owns it says yes to the budget of its referral
OVER: Final = frozenset({"completed", "rejected", "failed", "cancelled", "entered-in-error"})
ENDED: Final = frozenset({"completed", "revoked", "entered-in-error"})  # of a ServiceRequest
MOST_MONEY: Final = 10_000_000  # of one line of one person's budget, in any currency
STAYED_AWAY: Final = frozenset({"did not attend", "dna", "did not come", "did not turn up", "no show", "noshow", "was not brought"})
STAYED_AWAY_CODES: Final = frozenset({"281399006", "noshow"})  # SNOMED CT, http://hl7.org/fhir/appointmentstatus
DAYS, MOST_DAYS, GRACE = 90, 366, 1  # how long a referral is for, and how many days more they may read to finish


def request_of(task: Mapping[str, Any]) -> str:
    """`ServiceRequest/…` that this Task is about, by its focus, else what it is based on; "" for none."""
    named = [task.get("focus"), *task.get("basedOn", ())]
    refs = (str(n["reference"]).split("/_history/")[0] for n in named if isinstance(n, dict) and n.get("reference"))
    return next((r for r in refs if r.startswith("ServiceRequest/")), "")


def closed(request: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The referral as it is once all its Tasks are over; None while one is open, and where it is over itself. A Task that asks for a budget
    is a step and not what was wanted: it closes nothing by itself but with a no."""
    wanted = [t for t in tasks if not asks_for_a_budget(t)]
    if not wanted or request.get("status") in ENDED or any(t.get("status") not in OVER for t in wanted):
        return None
    if any(t.get("status") == "completed" for t in wanted):
        return {**request, "status": "completed"}
    reason = next((r for t in wanted if (r := reason_of(t)) and not _stayed_away(t)), "")
    away = next((r for t in wanted if (r := reason_of(t)) and _stayed_away(t)), "") if not reason else ""
    known = [e for e in request.get("extension", ()) if e.get("url") != UNMET]
    said = [{"url": UNMET, "valueString": reason}] if reason else []
    noted = {"note": [*request.get("note", ()), {"text": away}]} if away else {}
    return {**request, "status": "revoked", **({"extension": [*known, *said]} if known or said else {}), **noted}


def _stayed_away(task: Mapping[str, Any]) -> bool:
    concept = task.get("statusReason") or {}
    return stayed_away(reason_of(task)) or any(c.get("code") in STAYED_AWAY_CODES for c in concept.get("coding", ()))


def stayed_away(reason: str) -> bool:
    """Whether this says that the person did not come: it was there to be had, and is no unmet need."""
    return " ".join(re.sub(r"[^a-z]", " ", reason.casefold()).split()) in STAYED_AWAY


def reason_of(task: Mapping[str, Any]) -> str:
    """Why it was declined, in the words that were given."""
    concept = task.get("statusReason") or {}
    return str(concept.get("text") or next((c.get("display") or c.get("code") for c in concept.get("coding", ())), "") or "")


ANSWERS: Final[Mapping[str, tuple[frozenset[str], str]]] = {  # what may be answered -> in which states of the Task, and what it becomes
    "accept": (frozenset({"requested", "received"}), "accepted"),
    "decline": (frozenset({"requested", "received", "accepted", "in-progress"}), "rejected"),
    "done": (frozenset({"accepted", "ready", "in-progress"}), "completed"),
}  # fmt: skip
LONGEST_ANSWER: Final = 2_000  # characters


def plain(words: str, *, needed: bool) -> str:
    """What whoever answers a Task says of it. Problem invalid at `words` for too much, and for nothing where it is `needed`."""
    said = "".join(c for c in words if c.isprintable() or c == "\n").strip()
    if len(said) > LONGEST_ANSWER:
        raise Problem("invalid", f"At most {LONGEST_ANSWER} characters.", "words")
    if needed and not said:
        raise Problem("invalid", "Say why, so that whoever asked can look for something else.", "words")
    return said


def answered(task: Mapping[str, Any], what: str, words: str, at: datetime, by: str = "") -> dict[str, Any]:
    """The Task with this answer (of ANSWERS, or `note`). `by` (`Type/id`) is who says the words, where that is somebody to name."""
    out = {**task, "lastModified": instant(at), **({"status": ANSWERS[what][1]} if what in ANSWERS else {})}
    if what == "decline":
        out["statusReason"] = {"text": words}
    elif words:
        out["note"] = [*task.get("note", []), {**({"authorReference": {"reference": by}} if by else {}), "text": words, "time": instant(at)}]
    if what == "done":
        out["output"] = [*task.get("output", []), {"type": {"text": "Outcome"}, "valueString": words or "Done"}]
    return out


def asks_for_a_budget(task: Mapping[str, Any]) -> bool:
    return any(c.get("system") == TASK_SYSTEM and c.get("code") == AUTHORISE for c in (task.get("code") or {}).get("coding", ()))


def is_a_persons_act(task: Mapping[str, Any]) -> bool:
    """A Task with a code of ours (a budget, a place in a team, two plans, who somebody is): its answer is the act of somebody who signs in."""
    return own_task("Task", [f"{c.get('system')}|" for c in (task.get("code") or {}).get("coding", ())])


# -- asking -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: `service` and `owner` are `HealthcareService/…` and `Organization/…`, `what` each one Task of it. `days` of help,
    and `grace` more in which they may read to finish."""

    person: str
    requester: str
    service: str
    owner: str
    name: str
    what: tuple[str, ...]
    why: str = ""
    days: int = DAYS
    grace: int = GRACE
    plan: str = ""  # `CarePlan/…` in whose team whoever takes it on is while they do it


def asked(wish: Wish, at: datetime, key: str = "") -> list[dict[str, Any]]:
    """The entries of a transaction: the ServiceRequest, and a Task to its owner for each thing. What was asked by the same `key` before is found, not made again. Problem invalid for a time that is none."""
    if not 1 <= wish.days <= MOST_DAYS:
        raise Problem("invalid", f"How long is a number of days, from 1 to {MOST_DAYS}.", "days")
    start, end = at, at + timedelta(days=wish.days)
    until = end + timedelta(days=wish.grace)
    request: dict[str, Any] = {
        "resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {**TO_A_SERVICE, "text": wish.name},
        "subject": {"reference": wish.person}, "requester": {"reference": wish.requester}, "authoredOn": instant(at),
        "occurrencePeriod": {"start": instant(start), "end": instant(end)},
        "performer": [{"reference": wish.owner}, {"reference": wish.service}],
        **({"reasonCode": [{"text": wish.why}]} if wish.why else {}), **({"basedOn": [{"reference": wish.plan}]} if wish.plan else {}),
    }  # fmt: skip
    place = "urn:uuid:7c2f3d0e-0000-4000-8000-000000000001"
    entries = [{"fullUrl": place, **_once("ServiceRequest", request, key)}]
    for n, what in enumerate(wish.what):
        task = {
            "resourceType": "Task", "status": "requested", "intent": "order", "description": what, "focus": {"reference": place},
            "for": {"reference": wish.person}, "requester": {"reference": wish.requester}, "owner": {"reference": wish.owner},
            "authoredOn": instant(at), "executionPeriod": {"start": instant(start), "end": instant(end)},
            "restriction": {"period": {"start": instant(start), "end": instant(until)}},
            **({"reasonCode": {"text": wish.why}} if wish.why else {}),
        }  # fmt: skip
        entries.append(_once("Task", task, f"{key}-{n}" if key else ""))
    return entries


def _once(type: str, resource: dict[str, Any], key: str) -> dict[str, Any]:
    if not key:
        return {"resource": resource, "request": {"method": "POST", "url": type}}
    return {"resource": {**resource, "identifier": [{"system": ASKED, "value": key}]}, "request": {"method": "POST", "url": type, "ifNoneExist": f"identifier={ASKED}|{key}"}}


# -- budgets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a person's budget: of which referral, how much, until when, whether it counts, and why not."""

    request: str
    what: str
    amount: str
    currency: str
    start: str
    end: str
    counts: bool
    why: str = ""


def line_of(request: Mapping[str, Any], counts: bool, why: str) -> Line | None:
    """What this referral says of its money; None where it says nothing."""
    said = next((e for e in request.get("extension", ()) if e.get("url") == FUNDED_BY), None)
    if said is None:
        return None
    parts: dict[str, Any] = {e.get("url"): e for e in said.get("extension", ())}
    money, period = parts.get("amount", {}).get("valueMoney", {}), parts.get("period", {}).get("valuePeriod", {})
    code = request.get("code") or {}
    what = code.get("text") or next((c.get("display") for c in code.get("coding", ()) if c.get("display")), "") or "A service"
    return Line(
        f"ServiceRequest/{request.get('id', '')}", str(what), str(money.get("value", "")), str(money.get("currency", "")), str(period.get("start", "")),
        str(period.get("end", "")), counts, why,
    )  # fmt: skip


def not_money(request: Mapping[str, Any]) -> str:
    """The amount of this referral's budget where it is none that a line can have; "" where it is one, or none is said."""
    line = line_of(request, False, "")
    try:
        return "" if line is None or not line.amount or 0 < Decimal(line.amount) <= MOST_MONEY else line.amount
    except ArithmeticError:
        return line.amount if line is not None else ""


def people_of(references: Iterable[Any]) -> frozenset[str]:
    """`Type/id` of each of these."""
    return frozenset(str(r["reference"]).split("/_history/")[0] for r in references if isinstance(r, dict) and r.get("reference"))
