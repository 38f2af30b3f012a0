"""Asking for a service, how it stands, and the link by which an organisation without an account answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ...around import referrals
from ...auth.link_tokens import digest, new_token
from ...domain.problem import Problem, not_found
from ...domain.referrals import DAYS, MOST_DAYS, OVER
from ...gate import Context, budgeting, task_links
from . import services
from .frame import Pages, go, show
from .names import called, names, own_id
from .tasks import OF_ASKED as STATES
from .team import id_of
from .words import _, day

DONE = {"asked", "cancelled", "link-ended"}
LONGEST_TOKEN = 100


def _whom(request: Request, ctx: Context, given: str) -> str:
    """Whose record: one's own, or the person that was chosen. Problem not-found for no person at all."""
    if ctx.actor.kind == "patient":
        return own_id(ctx)
    id = given or own_id(ctx)
    if not id or not id.replace("-", "").replace(".", "").isalnum() or len(id) > 64:
        raise not_found()
    return id


async def ask(pages: Pages, request: Request, ctx: Context) -> Response:
    """Ask for this service."""
    form = request.state.form
    person = _whom(request, ctx, str(form.get("for", "")))
    given = {k: str(form.get(k, "")) for k in ("why", "days", "team", "once")}
    days = given["days"].strip() or str(DAYS)
    errors = {} if days.isascii() and days.isdigit() and len(days) < 4 and 1 <= int(days) <= MOST_DAYS else {"days": _in_field(_("For how many days"), _("Write a number from 1 to {n}.").format(n=MOST_DAYS))}
    try:
        if not errors:
            await referrals.ask_for(ctx, person, id_of(request), given["why"], days=int(days), team=given["team"] == "yes", once=given["once"][:64])
    except Problem as p:
        if p.where not in ("why", "team"):
            raise
        errors[p.where] = _in_field(_("Why, and what would help"), _("Write less: 2,000 characters at most.")) if p.where == "why" else _("There is no plan with a care team that you can see. Take this mark away to ask without it.")
    if errors:
        return await services.one(pages, request, ctx, id_of(request), "" if ctx.actor.kind == "patient" else person, given, errors)
    return go(f"/asked?done=asked{'' if ctx.actor.kind == 'patient' else '&for=' + quote(person)}")


def _in_field(name: str, wrong: str) -> str:
    return f"{name}: {wrong}"


async def asked(pages: Pages, request: Request, ctx: Context) -> Response:
    """What was asked for, how it stands, and the links."""
    return await _asked(pages, request, ctx, _whom(request, ctx, request.query_params.get("for", "")[:64]))


async def _asked(pages: Pages, request: Request, ctx: Context, person: str, made: str = "") -> Response:
    found = await referrals.about(ctx, person)
    known = await names(ctx, {p.owner for r in found for p in r.parts})
    mine = ctx.actor.kind == "patient" or (ctx.actor.kind == "proxy" and own_id(ctx) == person)
    live: dict[str, Any] = {}
    if mine:
        try:
            live = {k.task: k for k in await task_links.links(ctx) if k.open(ctx.at)}
        except Problem:
            mine = False
    done = request.query_params.get("done", "")
    return await show(
        pages, request, "asked.html", ctx=ctx, referrals=found, known=known, states=_states(), person="" if ctx.actor.kind == "patient" else person,
        lines=await budgeting.budget(ctx, person), links=live, mine=mine, made=made, done=done if done in DONE else "", day=day, over=OVER,
    )  # fmt: skip


def _states() -> dict[str, tuple[str, str]]:
    return {k: (_(words), colour) for k, (words, colour) in STATES.items()}


async def link(pages: Pages, request: Request, ctx: Context) -> Response:
    """Make a link to one task: it is shown this once, and kept by nobody here."""
    token = new_token()
    made = await task_links.make_link(ctx, id_of(request), digest(token))
    return await _asked(pages, request, ctx, made.patient.removeprefix("Patient/"), f"{pages.base_url}/task-link/{token}")


async def cancel(pages: Pages, request: Request, ctx: Context) -> Response:
    await referrals.cancel(ctx, id_of(request))
    return go(_back(request, ctx, "cancelled"))


async def end(pages: Pages, request: Request, ctx: Context) -> Response:
    """End a link."""
    await task_links.end_link(ctx, id_of(request))
    return go(_back(request, ctx, "link-ended"))


def _back(request: Request, ctx: Context, done: str) -> str:
    person = str(request.state.form.get("for", ""))[:64]
    return f"/asked?done={done}{'' if ctx.actor.kind == 'patient' or not person else '&for=' + quote(person, safe='')}"


# -- by the link, without an account ----------------------------------------------------------------------------------


async def open_link(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """One task, for whoever has its link. Absent, ended and run out are one page."""
    pages.stranger(request)
    token = str(request.path_params["token"])[:LONGEST_TOKEN]
    asking, found, _raw = await task_links.by_link(pages.house, digest(token))
    return await _one_task(pages, request, token, await task_links.shown(asking, found), asking.actor.name)


async def answer_link(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """Accept, decline or report as done."""
    pages.stranger(request)
    token, form = str(request.path_params["token"])[:LONGEST_TOKEN], request.state.form
    what, words = str(form.get("what", "")), str(form.get("words", ""))
    try:
        asking, found, raw = await task_links.by_link(pages.house, digest(token))
        await task_links.answer(asking, digest(token), found, raw, what, words, str(form.get("seen", "")))
    except Problem as p:
        return await _not_taken(pages, request, p, token, what, words)
    if what == "accept":
        return private(go(f"/task-link/{token}"))
    return private(await show(pages, request, "task_link_over.html", what=what))


async def _not_taken(pages: Pages, request: Request, p: Problem, token: str, what: str, words: str) -> Response:
    """Why an answer was not taken, with the words that were typed; the task as it is now, where the link still shows it."""
    errors: dict[str, str] = {}
    if p.where == "words":
        none = what == "decline" and not words.strip()
        errors[f"words-{what}"] = _("Say why, so that whoever asked can look for something else.") if none else _("Write less: 2,000 characters at most.")
    elif p.kind not in ("conflict", "stale", "not-found"):
        raise p
    try:
        asking, found, _raw = await task_links.by_link(pages.house, digest(token))
        return await _one_task(pages, request, token, await task_links.shown(asking, found), asking.actor.name, errors, {what: words}, 400 if errors else 409)
    except Problem as over:
        if over.kind != "not-found" or not words.strip():
            raise
    return private(await show(pages, request, "task_link_over.html", status=404, what="gone", words=words))


async def _one_task(
    pages: Pages, request: Request, token: str, shown: task_links.Shown, name: str, errors: dict[str, str] | None = None, typed: dict[str, str] | None = None, status: int = 200
) -> Response:
    task = shown.task
    who = shown.person or {}
    state, colour = STATES.get(str(task.get("status")), ("", "grey"))
    return private(await show(
        pages, request, "task_link.html", status=status, errors=errors or {}, typed=typed or {}, meanwhile=status == 409, seen=str(task.get("status")), secret=token, organisation=name, answers=shown.answers, state=_(state),
        colour=colour, what=str(task.get("description") or _("A task")), why=str((task.get("reasonCode") or {}).get("text") or ""),
        until=day(((task.get("restriction") or {}).get("period") or {}).get("end")), asked_on=day(task.get("authoredOn")), until_link=shown.link.until,
        person=called({"resourceType": "Patient", "name": who["name"]}) if who.get("name") else "", reach=[str(t["value"]) for t in who.get("telecom", []) if t.get("value")],
    ))  # fmt: skip


def private(response: Response) -> Response:
    """The address is a secret: it goes nowhere as a referrer, and is kept nowhere."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


__all__ = ["answer_link", "ask", "asked", "cancel", "end", "link", "open_link"]
