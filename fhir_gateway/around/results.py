"""What was measured of a person, as far as the reader may see it, to be told in plain words. docs/results.md"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.alike import pointed
from ..domain.problem import not_found
from ..gate import Context

MOST: Final = 500  # readings on one page
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Measured:
    """The newest Observations that this reader may see, at most `MOST`; `person` is the Patient, or {} where that is hidden from them. `known`: of what and of
    whom those are, by `Type/id`; `reports`: the newest DiagnosticReports, at most `BATCH`."""

    person: dict[str, Any]
    observations: list[dict[str, Any]]
    more: bool
    known: dict[str, dict[str, Any]]
    reports: list[dict[str, Any]]
    more_reports: bool


async def measured(ctx: Context, ids: str) -> Measured:
    """What was measured of one person, and reported (an id, or the ids of one's merged records with commas). Problem not-found, the same for hidden and absent."""
    people = await gate.search(ctx, "Patient", [("_id", ids)])
    person: dict[str, Any] = next(iter(_bodies(people)), {})
    found: list[dict[str, Any]] = []
    asked = [("patient", ids), ("_sort", "-date"), ("_count", str(BATCH))]
    while True:
        page = await gate.search(ctx, "Observation", asked)
        found += _bodies(page)
        if page.next is None or len(found) >= MOST:
            break
        asked = [("_page", page.next)]
    told = await gate.search(ctx, "DiagnosticReport", [("patient", ids), ("_sort", "-date"), ("_count", str(BATCH))])
    reports = _bodies(told)
    if not person and not found and not reports:
        raise not_found()
    return Measured(person, found[:MOST], page.next is not None or len(found) > MOST, await _known(ctx, found[:MOST]), reports, told.next is not None)


async def _known(ctx: Context, observations: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the Observations refer to, as far as this reader may see it."""
    wanted: dict[str, list[str]] = {}
    for ref in sorted(pointed(observations)):
        type, _, id = ref.partition("/")
        wanted.setdefault(type, []).append(id)
    known: dict[str, dict[str, Any]] = {}
    for type, all in wanted.items():
        for some in (all[n : n + BATCH] for n in range(0, len(all), BATCH)):
            known |= {f"{type}/{r['id']}": r for r in _bodies(await gate.search(ctx, type, [("_id", ",".join(some)), ("_count", str(BATCH))]))}
    return known


def _bodies(page: gate.Page) -> list[dict[str, Any]]:
    return [strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"]


__all__ = ["MOST", "Measured", "measured"]
