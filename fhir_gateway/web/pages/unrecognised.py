""""I don’t recognise this": the person asks about a line of who has looked, the privacy officer answers."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain.problem import Problem, not_found
from ...gate import Context
from .acts import ACTS, OTHERWISE
from .frame import Pages, go, show
from .names import names
from .patient import ANSWERS, told
from .privacy import AGAIN
from .words import _, moment

ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
FIELDS = ("words",)
ANSWER_FIELDS = ("outcome", "words", "password")
TOO_LONG = "Write it in plain words, with no more than 500 letters."


async def ask(pages: Pages, request: Request, ctx: Context) -> Response:
    """One line of the person's own log, with what they can say of it; sent, the privacy officer is asked."""
    row, errors = _id(request, "row"), dict[str, str]()
    typed = ""
    if request.method == "POST":
        typed = str(request.state.form.get("words", ""))
        try:
            new = await gate.not_recognised(ctx, row, typed)
            return go(f"/my-plan/who-looked?done={'asked' if new else 'asked-before'}")
        except Problem as p:
            if p.kind != "invalid":
                raise
            errors["words"] = _(TOO_LONG)
    line = await gate.its_line(ctx, row)
    (said,) = await told(ctx, await gate.rows_told(ctx, str(ctx.actor.patient), [line]))
    return await show(pages, request, "not_recognised.html", ctx=ctx, status=400 if errors else 200, errors=errors, line=said, row=row, typed=typed)


async def waiting(pages: Pages, request: Request, ctx: Context) -> Response:
    """What people asked, for the privacy officer: those that wait, or those that were answered."""
    return await _listed(pages, request, ctx, {}, "")


async def answer(pages: Pages, request: Request, ctx: Context) -> Response:
    """The officer's answer, with the password once more where the sign-in is not fresh."""
    id, form = _id(request, "id"), request.state.form
    fresh: Context | None = ctx
    if not gate.signed_in_now(ctx):
        password = str(form.get("password", ""))
        fresh = await pages.confirm(request, password) if password and pages.confirm is not None else None
    if fresh is None:
        return await _listed(pages, request, ctx, {f"password-{id}": AGAIN}, id)
    try:
        await gate.answer_question(fresh, id, form.get("outcome"), form.get("words"))
    except Problem as p:
        if p.kind != "invalid":
            raise
        wrong = {"outcome": "Choose one.", "words": "Say why you think so."}
        return await _listed(pages, request, ctx, {f"{p.where}-{id}": wrong.get(p.where, p.text)}, id)
    return go("/privacy/not-recognised?done=answered")


async def _listed(pages: Pages, request: Request, ctx: Context, errors: dict[str, str], at: str) -> Response:
    answered = request.query_params.get("show") == "answered"
    found, more = await gate.unrecognised(ctx, answered=answered)
    lines = [a.line for a in found if a.line is not None]
    known = await names(ctx, {n.organisation for n in lines} | {n.user for n in lines})
    form = getattr(request.state, "form", {})
    return await show(
        pages, request, "privacy_not_recognised.html", ctx=ctx, status=400 if errors else 200, stale=not gate.signed_in_now(ctx), errors={k: _(t) for k, t in errors.items()},
        answered=answered, more=more, done=request.query_params.get("done") == "answered", items=[_said(a, known) for a in found],
        typed={"id": at, "outcome": form.get("outcome", ""), "words": form.get("words", "")}, outcomes=[(code, _(text)) for code, text in ANSWERS.items()],
    )  # fmt: skip


def _said(a: gate.Asked, known: dict[str, str]) -> dict[str, Any]:
    n = a.line
    who = ", ".join(x for x in (n.user_name or known.get(n.user) or n.user, known.get(n.organisation or "", "")) if x) if n else _("This line is not kept any more.")
    return {
        "id": a.id, "patient": a.patient, "at": moment(a.at), "who": who or _("Somebody"), "words": a.words, "answer": a.answer,
        "outcome": _(ANSWERS[a.outcome]) if a.outcome else "", "looked": moment(n.at.isoformat()) if n else "", "did": _(ACTS.get(n.what, OTHERWISE).officer) if n else "",
        "allowed": (_("Allowed") if n.allowed else _("Told no")) if n else "", "why": ", ".join(w for w in (n.basis, n.rule, n.purpose, n.client) if w) if n else "",
    }  # fmt: skip


def _id(request: Request, name: str) -> str:
    id = str(request.path_params[name])
    if not ID.match(id):
        raise not_found()
    return id
