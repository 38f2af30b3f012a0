"""Plans that are to be looked at again: on the person's page and the team's from their day on, and a page to say that it was done or another day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...around import plan_reviews
from ...around.follow_ups import FURTHEST
from ...around.plan_reviews import LIVE, Due
from ...domain.main_plan import counts
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from .frame import Pages, go, show
from .names import bodies, called, names, own_ids
from .people import ID
from .words import _, day, today, typed_day

FIELDS: Final = ("version", *(f"{name}-{part}" for name in ("on", "then") for part in ("day", "month", "year")))


async def due_for(ctx: Context, record: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For a person's page: which plans of these resources are due, in words, and whether this reader may write it down; the main plan (an id),
    where it is not due and they may say when it is to be."""
    found = plan_reviews.of_record(record, today(ctx.at))
    main = [Ref("CarePlan", str(p["id"])) for p in record if p.get("resourceType") == "CarePlan" and counts(p) and p.get("status") in LIVE]
    may = await gate.changeable(ctx, [*main, *(Ref("CarePlan", d.plan) for d in found)])
    due = [{**said, "may": Ref("CarePlan", d.plan) in may} for d, said in zip(found, await _said(ctx, found), strict=True)]
    return {"due": due, "main": next((r.id for r in main if r in may and r.id not in {d.plan for d in found}), "")}


async def due_of_all(ctx: Context) -> list[dict[str, Any]]:
    """For the team's page: whose plans are due."""
    found = await plan_reviews.due_of_all(ctx)
    people = sorted({d.person for d in found})
    known = {p["id"]: called(p) for p in await bodies(ctx, "Patient", [("_id", ",".join(people)), ("_count", str(len(people)))])} if people else {}
    return [{**said, "name": known.get(d.person) or _("Somebody without a name")} for d, said in zip(found, await _said(ctx, found), strict=True)]


async def _said(ctx: Context, found: list[Due]) -> list[dict[str, Any]]:
    known = await names(ctx, {str(d.review.responsible.get("reference") or "") for d in found})
    return [
        {
            "plan": d.plan, "person": d.person, "title": d.title or _("Care and support plan"), "late": d.late, "day": day(d.review.next),
            "who": str(d.review.responsible.get("display") or known.get(str(d.review.responsible.get("reference")), "")),
        }
        for d in found
    ]  # fmt: skip


async def mine(pages: Pages, request: Request, ctx: Context) -> Response:
    """For the person."""
    return await _page(pages, request, ctx, frozenset(f"Patient/{id}" for id in own_ids(ctx).split(",")), "/my-plan")


async def theirs(pages: Pages, request: Request, ctx: Context) -> Response:
    """For the team, and for who acts for somebody."""
    person = str(request.path_params["id"])
    if not ID.fullmatch(person):
        raise not_found()
    return await _page(pages, request, ctx, frozenset({f"Patient/{person}"}), f"/team/people/{person}")


async def _page(pages: Pages, request: Request, ctx: Context, people: frozenset[str], back: str) -> Response:
    """The form, and what is sent by it. Problem not-found, forbidden for who may not change the plan."""
    plan, form = str(request.path_params["plan"]), request.state.form if request.method == "POST" else {}
    if not ID.fullmatch(plan):
        raise not_found()
    version, body = await plan_reviews.of_plan(ctx, plan, people)
    if Ref("CarePlan", plan) not in await gate.changeable(ctx, [Ref("CarePlan", plan)]):
        raise Problem("forbidden", "look")
    now, errors = today(ctx.at), dict[str, str]()
    if request.method == "POST":
        on, then = _day(form, "on", now - timedelta(days=FURTHEST), now, errors), _day(form, "then", now + timedelta(days=1), now + timedelta(days=FURTHEST), errors)
        if not errors and on is None and then is None:
            errors["on"] = _("Write one of the two days.")
        seen = str(form.get("version", ""))
        if not errors:
            try:
                of = int(seen) if seen.isascii() and seen.isdecimal() and len(seen) < 10 else 0
                cleared = then is None and plan_reviews.to_propose(body, now) is not None  # it stood in the form of this version, and was emptied
                done = await plan_reviews.write_down(ctx, plan, of, on, then, clear=cleared)
                return go(f"{back}?done={'draft' if done.did == 'drafted' else 'changed'}")
            except Problem as p:
                if p.kind != "stale":
                    raise
                errors["on"] = _("Somebody changed this plan meanwhile. Look at it, then send this again.")
                version, body = await plan_reviews.of_plan(ctx, plan, people)
    given = {name: str(form.get(name, "")) for name in FIELDS} if form else _typed("on", now) | _typed("then", plan_reviews.to_propose(body, now))
    due = plan_reviews.review_of(body)
    return await show(
        pages, request, "review.html", ctx=ctx, status=422 if errors else 200, errors=errors, given=given, version=version, back_to=back, action=request.url.path,
        plan_title=str(body.get("title") or _("Care and support plan")), planned=day(due.next) if due else "", last=day(due.last) if due else "",
    )  # fmt: skip


def _typed(name: str, day: date | None) -> dict[str, str]:
    return {f"{name}-day": str(day.day), f"{name}-month": str(day.month), f"{name}-year": str(day.year)} if day else {}


def _day(form: Mapping[str, str], name: str, first: date, last: date, errors: dict[str, str]) -> date | None:
    """The day that was typed, between these; what is wrong goes to `errors`."""
    found = typed_day(form, name)
    if isinstance(found, str):
        errors[name] = found
        return None
    if found is not None and not first <= found <= last:
        errors[name] = _("Write today or an earlier day, at most five years ago.") if name == "on" else _("Write a day after today, at most five years away.")
    return found
