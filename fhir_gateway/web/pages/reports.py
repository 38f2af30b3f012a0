"""The operator's page of counts over all people: a table to read, nothing of anybody. docs/reports.md"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain.reporting import HIGHER, IMPORTANCE
from ...gate import Context, Counted
from .frame import Pages, show
from .words import _, day

KINDS: Mapping[str, str] = {
    "coverage": "Who has a plan", "goals": "What goals are about", "choices": "What people asked for", "unmet-need": "What people could not get", "outcomes": "How scores changed",
}  # fmt: skip
BY: Mapping[str, str] = {"": "Everybody together", "locality": "By place", "practice": "By GP practice"}


async def counted(pages: Pages, request: Request, ctx: Context) -> Response:
    """The choice of a report, and the one that was chosen."""
    kind, by = request.query_params.get("kind", ""), request.query_params.get("by", "")
    told = await gate.counted_over_all(ctx, kind, by) if kind else None
    return await show(
        pages, request, "reports.html", ctx=ctx, kinds=[(k, _(v)) for k, v in KINDS.items()], ways=[(k, _(v)) for k, v in BY.items()],
        chosen=kind, split=by, told=_said(told) if told else None,
    )  # fmt: skip


def _said(c: Counted) -> dict[str, Any]:
    """The report with what is not told as None, and its days in words."""
    r = c.report
    return {
        "at": day(c.at.isoformat()), "until": day(c.until.isoformat()), "earlier": {part: day(at.isoformat()) for part, at in c.earlier.items()},
        "scored_again": any(x.part in c.earlier for x in r.changes), "columns": [_heading(name) for name in r.columns],
        "rows": [(row.group, row.people, [row.counts[name] for name in r.columns]) for row in r.rows],
        "about": [(name or code, people) for (_system, code), name, people in r.about],
        "changes": [(_of(x.name or x.code, c.earlier.get(x.part)), x.people, _mean(x.score_before), _mean(x.score_after), x.counts.get(HIGHER)) for x in r.changes],
    }  # fmt: skip


def _of(score: str, at: datetime | None) -> str:
    """What a score is called, with the day on which it was counted where it is told again."""
    return score if at is None else _("%(what)s (counted on %(day)s)") % {"what": score, "day": day(at.isoformat())}


def _heading(column: str) -> str:
    """What stands over a column; over one of importance as the plan's page has it."""
    return f"{_('How much it matters')}: {column.removeprefix('importance ')}" if column in IMPORTANCE else _(column)


def _mean(n: float | None) -> str | None:
    return f"{n:g}" if n is not None else None
