"""The privacy officer's page: emergency accesses that wait for a review, how many messages wait. Nothing of any person's record."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain.problem import Problem, not_found
from ...gate import Context
from .frame import Pages, go, show
from .names import names
from .urgent import GROUNDS
from .words import _, moment

ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
OUTCOMES = {"justified": "It was justified", "not-justified": "It was not justified"}
DONE = {"reviewed", "ended"}
AGAIN = "Type the password with which you signed in. We ask again because you have been signed in for a while."


async def emergencies(pages: Pages, request: Request, ctx: Context) -> Response:
    """The emergencies that wait for a review, or those that were reviewed."""
    return await _listed(pages, request, ctx, {}, "")


async def review(pages: Pages, request: Request, ctx: Context) -> Response:
    """What the officer found, in their words."""
    id, form = _id(request), request.state.form
    fresh = await _fresh(pages, request, ctx)
    if fresh is None:
        return await _listed(pages, request, ctx, {f"password-{id}": AGAIN}, id)
    try:
        await gate.review(fresh, id, form.get("outcome"), form.get("words"))
    except Problem as p:
        if p.kind != "invalid":
            raise
        wrong = {"outcome": _("Choose one."), "words": _("Say why you think so.")}
        return await _listed(pages, request, ctx, {f"{p.where}-{id}": wrong.get(p.where, p.text)}, id)
    return go("/privacy?done=reviewed")


async def end(pages: Pages, request: Request, ctx: Context) -> Response:
    """End an emergency access now, with the password once more where the sign-in is not fresh."""
    id, fresh = _id(request), await _fresh(pages, request, ctx)
    if fresh is None:
        return await _listed(pages, request, ctx, {f"end-password-{id}": AGAIN}, id)
    await gate.stop_emergency(fresh, id)
    return go("/privacy?done=ended")


async def _fresh(pages: Pages, request: Request, ctx: Context) -> Context | None:
    """The officer, at the keyboard now: their sign-in is of this moment, or they typed their password again. None when not."""
    if gate.signed_in_now(ctx):
        return ctx
    password = str(request.state.form.get("password", ""))
    return await pages.confirm(request, password) if password and pages.confirm is not None else None


async def _listed(pages: Pages, request: Request, ctx: Context, errors: dict[str, str], at: str) -> Response:
    reviewed = request.query_params.get("show") == "reviewed"
    after = request.query_params.get("after", "")
    found, more = await gate.emergencies(ctx, reviewed=reviewed, after=after)
    known = await names(ctx, {e["organisation"] for e in found})
    form = getattr(request.state, "form", {})
    done = request.query_params.get("done", "")
    return await show(
        pages, request, "privacy.html", ctx=ctx, stale=not gate.signed_in_now(ctx), errors={k: _(text) for k, text in errors.items()}, reviewed=reviewed, after=after, more=more, done=done if done in DONE else "",
        items=[_said(e, known) for e in found], typed={"id": at, "outcome": form.get("outcome", ""), "words": form.get("words", "")},
        outcomes=[(code, _(text)) for code, text in OUTCOMES.items()], waiting=await gate.waiting(ctx),
    )  # fmt: skip


def _said(e: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    who = ", ".join(x for x in (e["name"] or e["user"], known.get(e["organisation"] or "", "")) if x)
    kinds = "\n".join(f"{kind}: {n}" for kind, n in e["read"].items())
    return {
        "id": e["id"], "who": who, "patient": e["patient"], "begun": moment(e["at"]), "over": moment(e["until"]), "live": e["live"],
        "reason": e["reason"], "ground": _(GROUNDS[e["ground"]][0]), "looked": e["looked"], "read": kinds or _("Nothing"),
        "reviews": [
            {"outcome": _(OUTCOMES[r["outcome"]]), "by": f"{r['name'] or r['by']}, {moment(r['at'])}", "words": r["words"]} for r in e["reviews"]
        ],
    }  # fmt: skip


def _id(request: Request) -> str:
    id = str(request.path_params["id"])
    if not ID.match(id):
        raise not_found()
    return id
