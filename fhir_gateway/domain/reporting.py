"""What all plans teach, as counts of people: who has a plan, what goals are about, what could not be had, how scores changed.

No row of a person leaves. A count of fewer than `FEW` people, or of all but so few, is not told, nor what would give it away by subtraction; what
is told is rounded to `FEW`. No words that anybody typed: codes of public systems, and a name for one only where `FEW` people have it by the
same name. docs/reports.md
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from math import floor, log10
from statistics import fmean
from typing import Any, Final, Literal

from .follow_ups import asked_by, still_open
from .plan_reviews import review_of
from .vocabulary import OURS

FEW: Final = 5
MEAN_OF: Final = 25  # people, by their rounded count, and more, whose mean is told
NO_SCORE: Final = 1e12  # what no scale has, nor a part of it so small
LEAST_GROUP: Final = 2 * FEW  # people of a place by itself; of fewer they are counted as `elsewhere`
ELSEWHERE, EVERYBODY = "elsewhere", "everybody"
MAIN_PLAN: Final = "2181441000000107"
REVIEW_OF_PLAN: Final = "425268008"
OFFER: Final = f"{OURS}/CodeSystem/plan-offer"
PUBLIC: Final = {"http://snomed.info/sct": r"\d{6,18}", "http://loinc.org": r"\d{1,7}-\d"}  # systems whose codes are nobody's words
REASONS: Final = ("not available", "not affordable", "waiting list", "not accessible", "declined")  # and whatever else is said
STATES: Final = ("proposed", "planned", "accepted", "active", "on-hold", "completed", "cancelled", "rejected")
OUTCOMES: Final = ("in-progress", "improving", "worsening", "no-change", "achieved", "sustaining", "not-achieved", "no-progress", "not-attainable")
IMPORTANCE: Final = tuple(f"importance {n}" for n in range(1, 11))  # of a goal, 10 matters most
Kind = Literal["coverage", "goals", "choices", "unmet-need", "outcomes"]
KINDS: Final[tuple[Kind, ...]] = ("coverage", "goals", "choices", "unmet-need", "outcomes")
_DISTRICT: Final = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?) ?[0-9][A-Z]{2}\Z")

WAYS: Final = ("higher", "the same", "lower")

Code = tuple[str, str]  # system, code


@dataclass(frozen=True, slots=True)
class Person:
    """What is counted of one person, and nothing by which they could be known."""

    group: str
    has: frozenset[str] = frozenset()  # the columns of the report in which this person counts
    about: Mapping[Code, str] = field(default_factory=dict)  # codes of goals, with the name each was given
    scores: Mapping[Code, tuple[float, float]] = field(default_factory=dict)  # the first and the last, of different days
    called: Mapping[Code, str] = field(default_factory=dict)  # the name that each score was given


@dataclass(frozen=True, slots=True)
class Row:
    """One line: of how many `people` (rounded) this is, and how many of them are in each column (rounded; None: not told)."""

    group: str
    people: int | None
    counts: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Change:
    """Before and after of one score: of `people` (rounded), the means, or how many are higher, the same and lower (rounded; None: not told)."""

    system: str
    code: str
    name: str
    people: int
    counts: Mapping[str, int | None]
    score_before: float | None = None
    score_after: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` with a last one for everybody, where there are several groups; `about` by code; `changes` of scores."""

    kind: Kind
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    about: tuple[tuple[Code, str, int], ...] = ()
    changes: tuple[Change, ...] = ()


COLUMNS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "coverage": ("offered a plan", "has a plan", "has a key worker", "overdue for review"),
    "goals": ("has a goal", *(f"goal {s}" for s in STATES), *(f"outcome {o}" for o in OUTCOMES), *IMPORTANCE),
    "choices": ("asked for a service", "waits for it", "had it", "did not have it"),
    "unmet-need": ("has an unmet need", *REASONS, "another reason"),
    "outcomes": ("asked again", "answered", "not answered in time"),
}


# -- one person -------------------------------------------------------------------------------------------------------


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
    said = [str(r) for s in requests if (r := _said(s, "unmet-need-reason")) is not None]
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


# -- all of them ------------------------------------------------------------------------------------------------------


def report(kind: Kind, people: Sequence[Person]) -> Report:
    """The counts that may be told, in the manner of the analysis guide of Hospital Episode Statistics: small ones left out, others to the nearest five."""
    changes = tuple(_changes(people)) if kind == "outcomes" else ()
    columns = COLUMNS[kind]
    if kind == "outcomes" and sum("asked again" in p.has for p in people) < FEW:
        return Report(kind, changes=changes)
    groups = _grouped(people)
    exact = {g: Counter(c for p in theirs for c in p.has) for g, theirs in groups.items()}
    sizes = {g: len(theirs) for g, theirs in groups.items()}
    hidden = _hidden(sizes, exact, columns, adds_up=kind != "coverage")
    rows = [_row(g, sizes[g], exact[g], columns, {c for h, c in hidden if h == g}) for g in groups]
    if len(groups) > 1:
        whole = sum(exact.values(), Counter[str]())
        rows.append(_row(EVERYBODY, len(people), whole, columns, {c for h, c in hidden if h == EVERYBODY}))
    about = Counter(code for p in people for code in p.about)
    told = [(code, _name(code, (p.about for p in people)), n) for code, has in about.items() if (n := told_of(has, len(people)))]
    return Report(kind, columns, tuple(rows), tuple(sorted(told, key=lambda t: (-t[2], t[0]))), changes)


def rounded(n: int) -> int:
    """To the nearest five, so that two reports cannot be subtracted from each other."""
    return FEW * ((n + FEW // 2) // FEW)


def told_of(n: int, people: int) -> int:
    """How many of so many `people` this is, where nothing says that it is not told: all, and all but few, as five less; 0, left out, of few, or of few people."""
    return min(rounded(n), rounded(people) - FEW) if n >= FEW and people >= LEAST_GROUP else 0


def _grouped(people: Sequence[Person]) -> dict[str, list[Person]]:
    """By group, by name; those of small ones together, and with the smallest of the others where they are still too few."""
    groups: dict[str, list[Person]] = {}
    for p in people:
        groups.setdefault(p.group or ELSEWHERE, []).append(p)
    small = [g for g, theirs in groups.items() if len(theirs) < LEAST_GROUP and g != ELSEWHERE]
    together = [p for g in small for p in groups.pop(g)] + groups.pop(ELSEWHERE, [])
    while together and len(together) < LEAST_GROUP and groups:
        together += groups.pop(min(groups, key=lambda g: (len(groups[g]), g)))
    ordered = {g: groups[g] for g in sorted(groups)}
    if together:
        ordered[ELSEWHERE if ordered else EVERYBODY] = together
    return ordered


def _hidden(sizes: Mapping[str, int], exact: Mapping[str, Counter[str]], columns: Sequence[str], *, adds_up: bool) -> set[tuple[str, str]]:
    """What is not told: (group, column). Few, all but few, and beside each that stands alone in its sum the next smallest one."""
    cells = {(g, c): exact[g][c] for g in sizes for c in columns}
    hidden = {(g, c) for (g, c), n in cells.items() if n < FEW or sizes[g] - n < FEW}
    if len(sizes) > 1:
        whole, all = sum(exact.values(), Counter[str]()), sum(sizes.values())
        hidden |= {(EVERYBODY, c) for c in columns if whole[c] < FEW or all - whole[c] < FEW}
    before = None
    while before != hidden:
        before = set(hidden)
        for line in _lines(sizes, columns, adds_up):
            alone = [at for at in line if at in hidden]
            if len(alone) == 1:
                rest = [at for at in line if at not in hidden]
                hidden |= {min(rest, key=lambda at: (cells.get(at, 1 << 60), at))} if rest else set()
    return hidden


def _lines(sizes: Mapping[str, int], columns: Sequence[str], adds_up: bool) -> Iterable[list[tuple[str, str]]]:
    """What is told together with its sum: each column down to everybody, and a group's columns where they may add up."""
    if len(sizes) > 1:
        for c in columns:
            yield [*((g, c) for g in sizes), (EVERYBODY, c)]
    if adds_up:
        for g in (*sizes, EVERYBODY) if len(sizes) > 1 else sizes:
            yield [(g, c) for c in columns]


def _row(group: str, size: int, exact: Counter[str], columns: Sequence[str], hidden: set[str]) -> Row:
    if size < FEW:  # nothing of so few
        return Row(group, None, dict.fromkeys(columns))
    return Row(group, rounded(size), {c: None if c in hidden else rounded(exact[c]) for c in columns})


def _name(code: Code, given: Iterable[Mapping[Code, str]]) -> str:
    """What at least five people's records call this code, "" where no five agree: a rare name may be somebody's words."""
    names = Counter(name for each in given if (name := each.get(code)))
    name, many = names.most_common(1)[0] if names else ("", 0)
    return name if many >= FEW else ""


def _changes(people: Sequence[Person]) -> Iterable[Change]:
    by: dict[Code, list[tuple[float, float]]] = {}
    for p in people:
        for code, pair in p.scores.items():
            by.setdefault(code, []).append(pair)
    for code, pairs in sorted(by.items()):
        if many := told_of(len(pairs), len(people)):
            means = _means(pairs, many)
            counts = _ways(pairs, len(people)) if means == (None, None) else dict.fromkeys(WAYS)
            yield Change(*code, _name(code, (p.called for p in people)), many, counts, *means)


def _ways(pairs: Sequence[tuple[float, float]], people: int) -> dict[str, int | None]:
    """How many are higher, the same and lower (rounded; None: not told); none where they would tell that all but few of all `people` have this score."""
    if people - len(pairs) < FEW:
        return dict.fromkeys(WAYS)
    exact = Counter(WAYS[0] if after > before else WAYS[2] if after < before else WAYS[1] for before, after in pairs)
    hidden = {way for _, way in _hidden({"": len(pairs)}, {"": exact}, WAYS, adds_up=True)}
    return {way: None if way in hidden else rounded(exact[way]) for way in WAYS}


def _means(pairs: Sequence[tuple[float, float]], many: int) -> tuple[float, float] | tuple[None, None]:
    """Before and after, or neither. Of a scale of two scores a mean were a count."""
    if many < MEAN_OF:
        return None, None
    taken = [_by_fives([pair[i] for pair in pairs], many) for i in (0, 1)]
    if len({score for fives in taken for score in fives}) < 3:
        return None, None
    before, after = map(_mean, taken)
    return (before, after) if before is not None and after is not None else (None, None)


def _by_fives(values: Sequence[float], many: int) -> list[float]:
    """Everybody in order of score, in fives, and the ten lowest and the ten highest together: for each five the one in its middle. So it says how many
    have each score or less as counts are told, by steps of `FEW`, and none, few and all but few alike; and nothing else of anybody. docs/reports.md"""
    ordered = sorted(values)
    low, high = ordered[FEW - 1], ordered[-FEW]
    return [low, low, *ordered[2 * FEW + FEW // 2 : many - 2 * FEW : FEW], high, high]


def _mean(fives: Sequence[float]) -> float | None:
    """Their mean, rounded to about as much as one five makes who go from the lowest to the highest; None where it would be at an end."""
    low, high = fives[0], fives[-1]
    if max(-low, high) > NO_SCORE or high - low < 1 / NO_SCORE:
        return None
    step = _step((high - low) * max(1 / len(fives), 1 / 20))
    told = float(f"{round(fmean(fives) / step) * step:.12g}")
    return told if low < told < high else None


def _step(least: float) -> float:
    """The next of 1, 2, 5, 10 and so on, and of their tenths, that is not below `least`."""
    ten = 10.0 ** floor(log10(least))
    return next(n * ten for n in (1, 2, 5, 10) if n * ten >= least * (1 - 1e-9))


__all__ = ["COLUMNS", "ELSEWHERE", "EVERYBODY", "FEW", "IMPORTANCE", "KINDS", "Change", "Kind", "Person", "Report", "Row", "district", "of_person", "report", "rounded", "told_of"]
