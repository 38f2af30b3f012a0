"""A report as FHIR: a MeasureReport (R4, type `summary`) of the counts that may be told, and of nothing else. https://hl7.org/fhir/R4/measurereport.html"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from .reporting import Report
from .vocabulary import OURS

MASKED: Final = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
PEOPLE: Final = "people"


def measure_report(report: Report, at: datetime, until: datetime) -> dict[str, Any]:
    """A group for each place with its counts, then one for each code, then before and after of each score (`measureScore` is the mean). A count that is
    not told is `masked`. The period is the time in which the report stays the same."""
    groups = [_group({"text": row.group}, row.people, row.counts) for row in report.rows]
    groups += [_group(_code(system, code, name), people, {}) for (system, code), name, people in report.about]
    for x in report.changes:
        code = _code(x.system, x.code, x.name)
        groups.append(_group({**code, "text": "before"}, x.people, {}) | {"measureScore": {"value": x.before}})
        groups.append(_group({**code, "text": "after"}, x.people, x.counts) | {"measureScore": {"value": x.after}})
    return {
        "resourceType": "MeasureReport", "status": "complete", "type": "summary", "measure": f"{OURS}/Measure/{report.kind}",
        "date": at.isoformat(), "period": {"start": at.isoformat(), "end": until.isoformat()}, **({"group": groups} if groups else {}),
    }  # fmt: skip


def _group(code: Mapping[str, Any], people: int | None, counts: Mapping[str, int | None]) -> dict[str, Any]:
    return {"code": dict(code), "population": [_population(PEOPLE, people), *(_population(name, n) for name, n in counts.items())]}


def _population(name: str, count: int | None) -> dict[str, Any]:
    return {"code": {"text": name}, **({"_count": MASKED} if count is None else {"count": count})}


def _code(system: str, code: str, name: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, **({"display": name} if name else {})}]}


__all__ = ["measure_report"]
