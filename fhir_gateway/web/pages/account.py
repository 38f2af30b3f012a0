"""One's own sign-in: who one is signed in as and how surely, where else one is signed in, and the apps one has let in."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from ...domain.problem import not_found
from ...gate import Context
from .asked import in_words
from .frame import Pages, go, show
from .front import CLEARED, easy, mistyped
from .names import names
from .words import _, level, moment

CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}\Z")
ROLES = {
    "clinician": "You treat people", "break-glass": "You may open a record in an emergency", "privacy-officer": "You check emergencies",
    "registrar": "You may write down what people choose", "declassifier": "You may take wrong privacy labels off",
    "refer": "You may refer people", "contributor": "You may add to records", "operator": "You look after this service",
    "volunteer": "What you write waits until the person accepts it",
}  # fmt: skip


async def account(pages: Pages, request: Request, ctx: Context) -> Response:
    """Who one is here, and every browser that is signed in."""
    mine = pages.mine
    held = await mine.account(request) if mine else None
    if mine is None or held is None:
        raise not_found()
    place = (await names(ctx, {held.organisation})).get(held.organisation, "") if held.organisation else ""
    return await show(
        pages, request, "account/account.html", ctx=ctx, username=held.username, name=ctx.actor.name, place=place,
        level=level(ctx.assurance), roles=[_(ROLES[r]) for r in sorted(held.roles) if r in ROLES],
        signed_in=moment(ctx.signed_in) if ctx.signed_in else "", done=request.query_params.get("done") == "password",
        sign_ins=[{"since": moment(s.started), "used": moment(s.used), "this": s.this} for s in await mine.sign_ins(request)],
    )  # fmt: skip


async def password(pages: Pages, request: Request, ctx: Context) -> Response:
    """Another password, for whoever knows the one there is."""
    if pages.mine is None or await pages.mine.account(request) is None:
        raise not_found()
    if request.method == "GET":
        return await show(pages, request, "account/password.html", ctx=ctx, errors={})
    old, new, again = (str(request.state.form.get(name, "")) for name in ("old", "new", "again"))
    errors = mistyped(new, again)
    if not errors:
        try:
            cookies = await pages.mine.change_password(request, old, new)
            if cookies is not None:
                return go("/account?done=password", cookies)
            errors["old"] = _("This is not your password.")
        except ValueError:
            errors["new"] = easy()
    return await show(pages, request, "account/password.html", ctx=ctx, status=400, errors=errors)


async def everywhere(pages: Pages, request: Request, ctx: Context) -> Response:
    """Sign out of every browser at once, this one included."""
    response = go("/?done=signed-out-everywhere", await pages.mine.sign_out_everywhere(request) if pages.mine else [])
    response.headers["Clear-Site-Data"] = CLEARED
    return response


async def apps(pages: Pages, request: Request, ctx: Context) -> Response:
    """The apps that may use the plan, and what each may do."""
    found = await pages.mine.apps(request) if pages.mine else []
    items = [
        {
            "id": a.id, "name": a.name, "since": moment(a.since), "ends": moment(a.ends), "lines": in_words(a.scopes),
        }
        for a in found
    ]  # fmt: skip
    own = ctx.actor.kind in ("patient", "proxy") and ctx.actor.patient is not None
    return await show(
        pages, request, "account/apps.html", ctx=ctx, items=items, done=request.query_params.get("done") == "stopped",
        opens_apps=own and await pages.opens_apps(),
    )  # fmt: skip


async def stop(pages: Pages, request: Request, ctx: Context) -> Response:
    """One app may do nothing more, from this moment on."""
    client = str(request.path_params["client"])
    if not CLIENT.match(client) or pages.mine is None or not await pages.mine.stop_app(request, client):
        raise not_found()
    return go("/account/apps?done=stopped")
