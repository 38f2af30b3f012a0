"""Questions that somebody is asked later: on the person's page and the team's when they are due, and a page to ask."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...around import follow_ups, forms
from ...around.follow_ups import MOST, WEEKS, WITHIN, Due
from ...domain.types import Ref
from ...gate import Context
from .frame import Pages, go, show
from .names import bodies, called, names
from .team import ID, id_of
from .words import _, day, typed_day

FIELDS: Final = ("form", "first-day", "first-month", "first-year", "weeks", "times", "within")


async def due_for(ctx: Context, person: str) -> dict[str, list[dict[str, Any]]]:
    """For a person's page: what is due, and what will be, in words."""
    now, later = await follow_ups.of_person(ctx, person)
    known = await names(ctx, {d.requester for d in (*now, *later)})
    return {"now": [_said(d, known) for d in now], "later": [_said(d, known) for d in later]}


async def due_of_all(ctx: Context) -> list[dict[str, Any]]:
    """For the team's page: whose questions are due."""
    found = await follow_ups.due_of_all(ctx)
    people = sorted({d.person for d in found})
    known = {p["id"]: called(p) for p in await bodies(ctx, "Patient", [("_id", ",".join(people)), ("_count", str(len(people)))])} if people else {}
    return [{**_said(d, {}), "name": known.get(d.person) or _("Somebody without a name")} for d in found]


def _said(d: Due, known: dict[str, str]) -> dict[str, Any]:
    return {
        "id": d.task, "person": d.person, "title": d.title or _("Questions"), "form": d.form, "late": d.late, "by": known.get(d.requester, ""),
        "opens": day(d.asks.opens), "until": day(d.asks.until),
    }  # fmt: skip


async def ask(pages: Pages, request: Request, ctx: Context) -> Response:
    """A form to answer later: which, from when on, how often."""
    person = id_of(request)
    await gate.read(ctx, Ref("Patient", person))
    given = {k: str(request.state.form.get(k, "")).strip() for k in FIELDS} if request.method == "POST" else {"weeks": "13", "times": "1", "within": str(WITHIN)}
    offered = await forms.offered(ctx)
    errors = _mistakes(given, {str(f["id"]) for f in offered}, follow_ups.today(ctx)) if request.method == "POST" else {}
    if request.method == "POST" and not errors:
        first = typed_day(given, "first")
        assert isinstance(first, date)
        await follow_ups.ask_again(ctx, person, given["form"], first, weeks=int(given["weeks"]), times=int(given["times"]), within=int(given["within"]))
        return go(f"/team/people/{person}?done={'asked-draft' if ctx.actor.drafts_only else 'asked'}")
    return await show(
        pages, request, "ask_again.html", ctx=ctx, status=422 if errors else 200, person=person, forms=offered, given=given, errors=errors, weeks=[(str(w), _weeks(w)) for w in WEEKS], most=MOST,
    )  # fmt: skip


def _weeks(n: int) -> str:
    return {4: _("Every 4 weeks"), 13: _("Every 3 months"), 26: _("Every 6 months"), 52: _("Every year")}[n]


def _mistakes(given: dict[str, str], known: set[str], here: date) -> dict[str, str]:
    first, out = typed_day(given, "first"), dict[str, str]()
    if given["form"] not in known:
        out["form"] = _("Choose a form.")
    if first is None:
        out["first"] = _("Write the first day on which to ask.")
    elif isinstance(first, str):
        out["first"] = first
    elif not 0 <= (first - here).days <= follow_ups.FURTHEST:
        out["first"] = _("Choose today or a later day, at most five years away.")
    if given["weeks"] not in map(str, WEEKS):
        out["weeks"] = _("Choose how often.")
    for field, most in (("times", MOST), ("within", 366)):
        if not (given[field].isascii() and given[field].isdigit() and len(given[field]) < 4 and 1 <= int(given[field]) <= most):
            out[field] = _("Write a number from 1 to {n}.").format(n=most)
    return out


async def decline(pages: Pages, request: Request, ctx: Context) -> Response:
    """The person does not want to answer, or the team takes it back."""
    task, person = id_of(request), str(request.state.form.get("for", ""))
    await follow_ups.decline(ctx, task)
    if ctx.actor.kind == "patient" or not ID.match(person):
        return go("/my-plan?done=not-asked" if ctx.actor.kind == "patient" else "/team")
    return go(f"/team/people/{person}?done=not-asked")


__all__ = ["FIELDS", "ask", "decline", "due_for", "due_of_all"]
