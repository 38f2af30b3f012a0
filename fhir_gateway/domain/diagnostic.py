"""What a DiagnosticReport says, as it was written: what of, when, by whom, what was concluded, and which results belong to it. Pure.

https://hl7.org/fhir/R4/diagnosticreport.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .alike import reference
from .results import NEVER, moment_of, when
from .written_down import an_object, coded, objects


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `by`: references, or names; `results`: (`Observation/id` or "", the name that the report has for it)."""

    id: str
    name: str
    on: str
    status: str
    conclusion: str
    by: tuple[str, ...]
    results: tuple[tuple[str, str], ...]
    papers: tuple[str, ...]  # titles of what is attached


def reports(found: Iterable[Mapping[str, Any]]) -> list[Report]:
    """The newest first; none that was entered in error or cancelled."""
    held = [_report(r) for r in found if r.get("status") not in NEVER]
    return sorted(held, key=lambda r: -(moment_of(r.on) or 0))


def _report(r: Mapping[str, Any]) -> Report:
    by = [reference(p) or str(p.get("display") or "") for e in ("performer", "resultsInterpreter") for p in objects(r.get(e))]
    said = [str(r.get("conclusion") or ""), *map(coded, objects(r.get("conclusionCode")))]
    results = [(reference(p), str(p.get("display") or "")) for p in objects(r.get("result"))]
    return Report(
        str(r.get("id", "")), coded(r.get("code")) or next(filter(None, map(coded, objects(r.get("category")))), ""), when(r), str(r.get("status") or ""),
        "\n".join(dict.fromkeys(t for t in said if t)), tuple(dict.fromkeys(b for b in by if b)), tuple(x for x in results if any(x)),
        tuple(t for a in objects(r.get("presentedForm")) if (t := str(an_object(a).get("title") or ""))),
    )  # fmt: skip


__all__ = ["Report", "reports"]
