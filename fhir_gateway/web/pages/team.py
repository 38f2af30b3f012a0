"""The team's pages: people this worker may see, tasks waiting for their organisation, one shared plan."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ... import gate, plans
from ...domain.problem import not_found
from ...domain.types import Ref
from ...gate import Context
from .frame import Pages, go, show
from .names import bodies, called, names
from .plan_view import plan_view
from .words import _, day, today

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
PEOPLE = 50


async def team(pages: Pages, request: Request, ctx: Context) -> Response:
    asked = [("_sort", "family"), ("_count", str(PEOPLE))]
    if request.query_params.get("page"):
        asked.append(("_page", request.query_params["page"]))
    found = await gate.search(ctx, "Patient", asked)
    people = [_person(msgspec.json.decode(e.body)) for e in found.entries if e.body and e.mode == "match"]
    done = request.query_params.get("done")
    return await show(
        pages,
        request,
        "team.html",
        ctx=ctx,
        people=people,
        more=found.next,
        tasks=await _tasks(ctx),
        done="accepted" if done == "accepted" else "",
    )


def _person(patient: dict[str, Any]) -> dict[str, str]:
    return {"id": patient["id"], "name": called(patient) or patient["id"], "born": day(patient.get("birthDate"))}


async def _tasks(ctx: Context) -> list[dict[str, Any]]:
    """Tasks asked of this worker or their organisation, by reference or by identifier, and not yet answered."""
    names_of_mine = ctx.actor.ids | {ctx.actor.user, ctx.actor.organisation or ""}
    refs = sorted(n for n in names_of_mine if n.split("/")[0] in OWNERS)
    identifiers = sorted(n for n in names_of_mine if "|" in n and "," not in n)
    waiting: dict[str, dict[str, Any]] = {}
    for param, owners in (("owner", refs), ("owner:identifier", identifiers)):
        if owners:
            asked = [(param, ",".join(owners)), ("status", "requested,received"), ("_count", "50")]
            waiting |= {t["id"]: t for t in await bodies(ctx, "Task", asked)}
    known = await names(ctx, [(t.get("requester") or {}).get("reference") for t in waiting.values()])
    return [_task(t, known) for t in waiting.values()]


OWNERS = ("Practitioner", "PractitionerRole", "Organization", "CareTeam")


def _task(task: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    code = task.get("code") or {}
    what = task.get("description") or code.get("text") or next((c.get("display") for c in code.get("coding", [])), None)
    due = ((task.get("restriction") or {}).get("period") or {}).get("end") or (task.get("executionPeriod") or {}).get("end")
    lines = [
        (_("Asked by"), known.get((task.get("requester") or {}).get("reference", ""), "")),
        (_("Asked on"), day(task.get("authoredOn"))),
        (_("Do it by"), day(due)),
        (_("Note"), "\n".join(n.get("text", "") for n in task.get("note", []))),
    ]
    return {
        "id": task["id"], "text": str(what or _("A task")),
        "lines": [pair for pair in lines if pair[1]],
    }  # fmt: skip


async def accept(pages: Pages, request: Request, ctx: Context) -> Response:
    """Say yes to a task as its owner."""
    await gate.accept(ctx, Ref("Task", _id(request)))
    return go("/team?done=accepted")


async def person(pages: Pages, request: Request, ctx: Context) -> Response:
    """The shared plan as far as this reader may see it. Problem not-found, the same for hidden and absent."""
    plan = await plans.load(ctx, _id(request))
    empty = not (plan.keys() - {"plan", "person"})
    return await show(
        pages,
        request,
        "team_person.html",
        ctx=ctx,
        plan=plan_view(plan, today(ctx.at), own=False),
        own=False,
        empty=empty,
    )


def _id(request: Request) -> str:
    id = str(request.path_params["id"])
    if not ID.match(id):
        raise not_found()
    return id
