"""The team's pages: people this worker may see, tasks waiting for their organisation, one shared plan."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate, plans
from ...around import answering
from ...domain import strict
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from . import editing, follow_ups, messages, reviews, tasks, versions, volunteers
from .alerts import TYPES, alerts
from .changes import MOST_CHANGES, changed_since, last_changes, senders
from .finding import LONGEST, literal
from .frame import Pages, go, show
from .joined import joined
from .names import called
from .patient import my_plan
from .plan_items import thing
from .plan_view import plan_view, preferred_name
from .wheels import filled_in
from .words import _, day, moment, today

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
PEOPLE = 50
DONE = {"accepted", "emergency-over", "claim-over", "chosen", "plans", "decline", "done", "note", "drafted"}
ANSWER = ("what", "words", "seen")
OLD = ("stale", "conflict", "not-found", "gone")  # an answer from a page that says what is not so any more
LONGEST_ANSWER = 5_000


async def team(pages: Pages, request: Request, ctx: Context, errors: dict[str, str] | None = None, status: int = 400, unsent: str = "") -> Response:
    """People this worker may see, a page at a time or by name, and first of all tasks that wait for them."""
    named, later = request.query_params.get("name", "")[:80].strip(), request.query_params.get("page")
    words = [w for w in map(literal, named.split()[:LONGEST]) if w]
    asked = [("name:contains", w) for w in words] + [("_sort", "family"), ("_count", str(PEOPLE))]
    found = await gate.search(ctx, "Patient", [("_page", later)] if later else asked)
    people = [_person(strict.decode(e.body)) for e in found.entries if e.body and e.mode == "match"]
    first = not (named or later)
    waiting, done = await tasks.owned(ctx, tasks.WAITING) if first else [], request.query_params.get("done")
    return await show(
        pages,
        request,
        "team.html",
        ctx=ctx,
        status=status if errors else 200,
        errors=errors or {},
        unsent=unsent,
        typed=str(request.state.form.get("words", "")) if errors else "",
        asked=await tasks.asked_by_me(ctx) if first and ctx.actor.kind == "professional" else [],
        people=people,
        more=found.next,
        named=named,
        first=first,
        tasks=waiting[: tasks.MOST],
        more_wait=len(waiting) >= tasks.MOST,
        questions=await follow_ups.due_of_all(ctx) if first else [],
        messages=await messages.for_me(ctx) if first else [],
        reviews=await reviews.due_of_all(ctx) if first else [],
        taken=await tasks.owned(ctx, tasks.TAKEN_ON) if first else [],
        done=done if done in DONE else "",
        ways=ways(ctx),
        clashes=await versions.waiting(ctx) if first else [],
        chooses=ctx.actor.kind == "proxy" and await gate.may_share(ctx),
    )


def ways(ctx: Context) -> list[str]:
    """Which other ways to a person this worker has: urgent care, a claim, an emergency."""
    a = ctx.actor
    found = [("find", bool(a.ids & ctx.house.policy.urgent_care)), ("claim", a.sector in ("health", "social-care")), ("emergency", a.btg_role)]
    return [way for way, has in found if has and a.kind == "professional"]


def _person(patient: dict[str, Any]) -> dict[str, str]:
    return {"id": patient["id"], "name": called(patient) or _("Somebody without a name"), "born": day(patient.get("birthDate"))}


async def accept(pages: Pages, request: Request, ctx: Context) -> Response:
    """Say yes to a task as its owner."""
    await gate.accept(ctx, Ref("Task", id_of(request)))
    return go("/team?done=accepted")


async def answer(pages: Pages, request: Request, ctx: Context) -> Response:
    """Decline a task, report it as done, or add a note, as its owner; `yes`: accept what was proposed of a medicine."""
    id, form = id_of(request), request.state.form
    what, words = str(form.get("what", "")), str(form.get("words", ""))
    chosen, what = what == "yes" or ctx.actor.kind == "patient", "accept" if what == "yes" else what
    try:
        did = await answering.answer(ctx, id, what, words, str(form.get("seen", "")))
    except Problem as p:
        back = my_plan if ctx.actor.kind == "patient" else team
        if p.kind in OLD:
            said = {f"answer-{id}": _("This was changed meanwhile, so nothing was saved. Look at what it says now, and answer again.")} if p.kind == "stale" else {}
            over = {"maincontent": _("This was answered already, or it is not for you any more. Nothing was saved.")}
            return await back(pages, request, ctx, said or over, p.status, words.strip()[:LONGEST_ANSWER])
        if p.where != "words":
            raise
        wrong = _("Write less: 2,000 characters at most.") if words.strip() else _("Write something first.")
        why = _("Say why, so that whoever asked can look for something else.") if what == "decline" and not words.strip() else wrong
        return await back(pages, request, ctx, {f"words-{what}-{id}": why})
    if chosen:
        return go("/my-plan?done=chosen" if ctx.actor.kind == "patient" else "/team?done=chosen")
    return go(f"/team?done={'drafted' if did == 'drafted' else {'accept': 'accepted'}.get(what, what)}")


async def join_plans(pages: Pages, request: Request, ctx: Context) -> Response:
    """Say what becomes of a plan that waits beside the main one."""
    await gate.join_plans(ctx, Ref("Task", id_of(request)), str(request.state.form.get("how", "")))
    return go("/my-plan?done=plans" if ctx.actor.kind == "patient" else "/team?done=plans")


async def person(pages: Pages, request: Request, ctx: Context) -> Response:
    """The shared plan as far as this reader may see it. Problem not-found, the same for hidden and absent."""
    id = id_of(request)
    since = await gate.last_looked(ctx, id)
    seen = await plans.opened(ctx, id, TYPES)
    others = await joined(ctx, id, own=False)
    asked = await tasks.about(ctx, id)
    turned = filled_in(seen.record)
    told = plans.others_beside(seen, today(ctx.at), _, day)
    empty = not (seen.plan.keys() - {"plan", "person"} or asked or turned or any(others.plans) or told)
    name = preferred_name(thing(seen.plan.get("person"))) or _("The person")
    done = request.query_params.get("done", "")
    return await show(
        pages,
        request,
        "team_person.html",
        ctx=ctx,
        plan=plan_view(
            seen.shown(_), today(ctx.at), own=False, changes=await last_changes(ctx, seen.record, id, name), filled_in=turned, medicines=plans.medicines_beside(seen, _), joined=others.plans, others=told, senders=await senders(ctx, told.every()),
        ),
        alerts=alerts(seen.record, today(ctx.at), own=False, others=others.records),
        joined=others,
        own=False,
        empty=empty,
        tasks=asked,
        person=id,
        since=moment(since) if since else "",
        changed=await changed_since(ctx, others.believed(seen.record), since),
        more=MOST_CHANGES,
        mine=await here_because(ctx, id),
        opens_apps=await pages.opens_apps(),
        asks=await follow_ups.due_for(ctx, id),
        reviews=await reviews.due_for(ctx, seen.record),
        drafts=await volunteers.waiting(ctx, id),
        clashes=await versions.waiting(ctx, f"Patient/{id}"),
        done=done if done in ("emergency", "claim", "asked", "asked-draft", "not-asked", *editing.DONE) else "",
        edits=await editing.links(ctx, seen),
        edit_base=f"/team/people/{id}/edit",
    )


async def here_because(ctx: Context, person: str) -> dict[str, str]:
    """What the page of a person says of this reader's own emergency or claim: until when."""
    out: dict[str, str] = {}
    if ctx.actor.kind == "professional":
        e, c = await gate.current(ctx, person), await gate.claimed_now(ctx, person)
        out |= {"emergency": moment(e.until)} if e else {}
        out |= {"claim": moment(c.until)} if c else {}
    return out


def id_of(request: Request) -> str:
    """The id in the address. Problem not-found for what can be none."""
    id = str(request.path_params["id"])
    if not ID.match(id):
        raise not_found()
    return id
