"""What a report over all people counts of one of them, and nothing by which they could be known: `of_person(kind, group, record, today)`. docs/reports.md"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from .follow_ups import asked_by, still_open
from .plan_reviews import review_of
from .referrals import stayed_away
from .reporting import COLUMNS, REASONS, Code, Kind, Person
from .vocabulary import OURS

MAIN_PLAN: Final = "2181441000000107"
REVIEW_OF_PLAN: Final = "425268008"
OFFER: Final = f"{OURS}/CodeSystem/plan-offer"
PUBLIC: Final = {"http://snomed.info/sct": r"\d{6,18}", "http://loinc.org": r"\d{1,7}-\d"}  # systems whose codes are nobody's words
_DISTRICT: Final = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?) ?[0-9][A-Z]{2}\Z")


def of_person(kind: Kind, group: str, record: Iterable[Mapping[str, Any]], today: date) -> Person:
    """What this report counts of one person, from those of their resources that may be counted."""
    by: dict[str, list[Mapping[str, Any]]] = {}
    for resource in record:
        if resource.get("status") != "entered-in-error" and resource.get("lifecycleStatus") != "entered-in-error":
            by.setdefault(str(resource.get("resourceType")), []).append(resource)
    if kind == "coverage":
        return Person(group, _coverage(by, today))
    if kind == "goals":
        return _goals(group, by.get("Goal", []))
    if kind == "choices":
        return _choices(group, by.get("ServiceRequest", []))
    if kind == "unmet-need":
        return Person(group, _unmet(by.get("ServiceRequest", [])))
    return replace(_scores(group, by.get("Observation", [])), has=_asked_again(by.get("Task", []), today))


def district(patient: Mapping[str, Any]) -> str:
    """The postcode district of where somebody lives (`NR30`); "" where it is not known."""
    homes = [a for a in patient.get("address", ()) if a.get("use") not in ("old", "billing", "work") and "end" not in a.get("period", {})]
    found = (_DISTRICT.match(str(a.get("postalCode", "")).strip().upper()) for a in homes)
    return next((m[1] for m in found if m), "")


def _coverage(by: Mapping[str, list[Mapping[str, Any]]], on: date) -> frozenset[str]:
    today = on.isoformat()
    plans = [p for p in by.get("CarePlan", ()) if MAIN_PLAN in _codes(p.get("category"))]
    live = [p for p in plans if p.get("status") in ("active", "on-hold")]
    offers = [t for t in by.get("Task", ()) if any(c.get("system") == OFFER for c in _codings([t.get("code", {})]))]
    workers = [p for t in by.get("CareTeam", ()) for p in t.get("participant", ()) if _said(p, "key-worker") is True and _still(p, today)]
    late = [r for p in live if (r := review_of(p)) is not None and r.late(on)]
    due = {str(t.get("restriction", {}).get("period", {}).get("end", "9")) for t in by.get("Task", ()) if _open_review(t)}
    counted = {
        "offered a plan": plans or offers, "has a plan": live, "has a key worker": live and workers,
        "overdue for review": live and (late or any(d[:10] < today[: len(d[:10])] for d in due)),
    }  # fmt: skip
    return frozenset(name for name, true in counted.items() if true)


def _open_review(task: Mapping[str, Any]) -> bool:
    return REVIEW_OF_PLAN in _codes([task.get("code", {})]) and task.get("status") not in ("completed", "cancelled", "rejected", "failed")


def _goals(group: str, goals: Sequence[Mapping[str, Any]]) -> Person:
    has = {"has a goal"} if goals else set()
    about: dict[Code, str] = {}
    for goal in goals:
        has |= {f"goal {goal.get('lifecycleStatus')}", *(f"outcome {c}" for c in _codes([goal.get("achievementStatus", {})])), f"importance {_said(goal, 'goal-importance')}"}
        about |= _public(goal.get("description", {}))
        for category in goal.get("category", ()):
            about |= _public(category)
    return Person(group, frozenset(has & {*COLUMNS["goals"]}), about)


def _choices(group: str, requests: Sequence[Mapping[str, Any]]) -> Person:
    """What somebody asked for, or was sent to, by how it stands; what it was, where a public code says so."""
    asked = [r for r in requests if r.get("status") in _STANDS]
    has = {_STANDS[str(r["status"])] if _said(r, "unmet-need-reason") is None else "did not have it" for r in asked}
    about: dict[Code, str] = {}
    for request in asked:
        about |= _public(request.get("code", {}))
    return Person(group, frozenset(has | ({"asked for a service"} if asked else set())), about)


_STANDS: Final = {"active": "waits for it", "on-hold": "waits for it", "completed": "had it", "revoked": "did not have it"}  # ServiceRequest.status


def _unmet(requests: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    said = [str(r) for s in requests if (r := _said(s, "unmet-need-reason")) is not None and not stayed_away(str(r))]
    if not said:
        return frozenset()
    plain = {r.strip().lower().replace("-", " ") for r in said}
    return frozenset({"has an unmet need", *(plain & {*REASONS}), *(("another reason",) if plain - {*REASONS} else ())})


def _scores(group: str, observations: Sequence[Mapping[str, Any]]) -> Person:
    taken: dict[Code, list[tuple[str, float]]] = {}
    called: dict[Code, str] = {}
    for o in observations:
        value, day = _number(o), str(o.get("effectiveDateTime") or o.get("effectivePeriod", {}).get("start") or "")[:10]
        if value is None or len(day) < 10:
            continue
        for code, name in _public(o.get("code", {})).items():
            taken.setdefault(code, []).append((day, value))
            called[code] = name
    two = {code: sorted(t) for code, t in taken.items() if len({day for day, _ in t}) > 1}
    return Person(group, scores={code: (t[0][1], t[-1][1]) for code, t in two.items()}, called=called)


def _asked_again(tasks: Sequence[Mapping[str, Any]], today: date) -> frozenset[str]:
    """Of questions that have fallen due: whether somebody was asked any, answered any, and let the time of any go by."""
    due = [(t, asks) for t in tasks if (asks := asked_by(t)) is not None and asks.opens and asks.due(today)]
    late = any(still_open(t) and asks.late(today) for t, asks in due)
    counted = {"asked again": due, "answered": any(t.get("status") == "completed" for t, _ in due), "not answered in time": late}
    return frozenset(name for name, true in counted.items() if true)


def _number(observation: Mapping[str, Any]) -> float | None:
    raw = observation.get("valueQuantity", {}).get("value", observation.get("valueInteger"))
    try:
        return float(raw) if raw is not None else None
    except (TypeError, ValueError):
        return None


def _codings(concepts: Any) -> list[Mapping[str, Any]]:
    return [c for concept in concepts or () for c in concept.get("coding", ())]


def _codes(concepts: Any) -> set[str]:
    return {str(c.get("code")) for c in _codings(concepts)}


def _public(concept: Mapping[str, Any]) -> dict[Code, str]:
    """The first coding of a public system: what the concept was coded as."""
    for c in concept.get("coding", ()):
        form = PUBLIC.get(str(c.get("system")))
        if form and re.fullmatch(form, str(c.get("code"))):
            return {(str(c["system"]), str(c["code"])): str(c.get("display", "")).strip()}
    return {}


def _said(holder: Mapping[str, Any], name: str) -> Any:
    """The value of an extension of ours."""
    for e in holder.get("extension", ()):
        if str(e.get("url", "")).endswith(f"/StructureDefinition/{name}"):
            return next((v for k, v in e.items() if k.startswith("value")), None)
    return None


def _still(participant: Mapping[str, Any], today: str) -> bool:
    end = str(participant.get("period", {}).get("end", ""))[:10]
    return not end or end >= today[: len(end)]


__all__ = ["district", "of_person"]
