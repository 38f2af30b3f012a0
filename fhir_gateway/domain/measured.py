"""A report over all people as a FHIR MeasureReport: `measure_report(report, ...)`. https://hl7.org/fhir/R4/measurereport.html

The same counts as in the table and no other: each column is a group with how many it is of and how many of those it is true; places are its strata.
What is not told has no `count`, or no `value`, but a data-absent-reason `masked`. docs/reports.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from .reporting import EVERYBODY, Change, Report
from .vocabulary import OURS

POPULATION: Final = "http://terminology.hl7.org/CodeSystem/measure-population"
ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
Node = dict[str, Any]


def measure_report(report: Report, at: datetime, by: str, since: datetime | None = None) -> Node:
    """A summary MeasureReport of `report`, counted `at`, the first part of it `since`, by `by` ("" for everybody together). Its `measure` is named after
    the report, which docs/reports.md describes."""
    day, first = (d.isoformat(timespec="seconds") for d in (at, since or at))
    groups = [*_columns(report, by), *_about(report), *(g for c in report.changes for g in _change(c))]
    return {
        "resourceType": "MeasureReport", "status": "complete", "type": "summary", "measure": f"{OURS}/Measure/{report.kind}", "date": day,
        "period": {"start": first, "end": day}, **({"group": groups} if groups else {}),
    }  # fmt: skip


def _columns(report: Report, by: str) -> Iterable[Node]:
    """A group for each column, of everybody, with the places as strata where there are several."""
    whole = next((r for r in report.rows if r.group == EVERYBODY), None)
    parts = [r for r in report.rows if r is not whole]
    for column in report.columns:
        strata = [{"value": {"text": r.group}, "population": _counted(r.people, r.counts[column])} for r in parts]
        yield {
            "code": {"text": column},
            **({"population": _counted(whole.people, whole.counts[column])} if whole is not None else {}),
            **({"stratifier": [{"code": [{"text": by or "place"}], "stratum": strata}]} if strata else {}),
        }


def _about(report: Report) -> Iterable[Node]:
    """A group for each code that records are about."""
    for (system, code), name, people in report.about:
        yield {"code": _concept(system, code, name, "about"), "population": [_population("numerator", people)]}


def _change(c: Change) -> Iterable[Node]:
    """Two groups of one score, before and after, each with its mean; how many went which way stands with the second."""
    ways = [{"value": {"text": way}, "population": [_population("numerator", n)]} for way, n in c.counts.items()]
    of = [_population("initial-population", c.people)]
    yield {"code": _concept(c.system, c.code, c.name, "before"), "population": of, "measureScore": _mean(c.score_before)}
    yield {
        "code": _concept(c.system, c.code, c.name, "after"), "population": of, "measureScore": _mean(c.score_after),
        "stratifier": [{"code": [{"text": "change"}], "stratum": ways}],
    }  # fmt: skip


def _concept(system: str, code: str, name: str, text: str) -> Node:
    return {"coding": [{"system": system, "code": code, **({"display": name} if name else {})}], "text": f"{text} {name}".strip()}


def _mean(value: float | None) -> Node:
    return {"value": value} if value is not None else {"extension": [{"url": ABSENT, "valueCode": "masked"}]}


def _counted(people: int | None, true: int | None) -> list[Node]:
    return [_population("initial-population", people), _population("numerator", true)]


def _population(code: str, count: int | None) -> Node:
    said: Mapping[str, Any] = {"count": count} if count is not None else {"_count": {"extension": [{"url": ABSENT, "valueCode": "masked"}]}}
    return {"code": {"coding": [{"system": POPULATION, "code": code}]}, **said}


__all__ = ["measure_report"]
