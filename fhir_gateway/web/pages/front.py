"""Coming in and going out: the start page, sign in, sign out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...gate import Context
from .frame import Pages, go, show
from .words import _

DONE = {"signed-out", "signed-out-everywhere"}


async def start(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """The first page, for anybody."""
    done = request.query_params.get("done", "")
    return await show(pages, request, "start.html", ctx=ctx, demo=pages.demo, done=done if done in DONE else "")


async def sign_in(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """GET the form; POST name and password. A wrong name and a wrong password are one answer."""
    if request.method != "POST":
        onward = within(request.query_params.get("next", ""))
        return await show(pages, request, "sign_in.html", ctx=ctx, next=onward, username="", errors={})
    form = request.state.form
    name, password = form.get("username", "").strip(), form.get("password", "")
    onward = within(form.get("next", ""))
    cookies = await pages.people_sign_in(request, name, password) if name and password else None
    if cookies is None:
        text = _("That sign-in name and password do not go together. Check both and try again.")
        if not name or not password:
            text = _("Type your sign-in name and your password.")
        return await show(
            pages,
            request,
            "sign_in.html",
            status=200 if not name or not password else 401,
            next=onward,
            username=name,
            errors={"username": text},
        )
    return go(onward or "/home", cookies)


async def home(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """Where this person's own first page is."""
    if ctx is None:
        return go("/sign-in")
    if ctx.officer:
        return go("/privacy")
    return go({"patient": "/my-plan", "professional": "/team", "proxy": "/team"}.get(ctx.actor.kind, "/"))


CLEARED = '"cache", "storage"'  # not the cookies: the two of ours are taken away by name


async def sign_out(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """End the session, and back to the first page."""
    response = go("/?done=signed-out", await pages.sessions.end(request))
    response.headers["Clear-Site-Data"] = CLEARED
    return response


def within(path: str) -> str:
    """Where to go on to: a path of these pages (or of the sign-in of an app), nothing else."""
    known = ("/my-plan", "/team", "/privacy", "/account", "/oauth/")
    steps = path.partition("?")[0].split("/")[1:]  # none empty, none that leads up
    good = path.startswith(known) and not {"", ".", ".."} & set(steps) and "\\" not in path and not any(ord(c) < 33 for c in path) and len(path) < 5_000
    return path if good else ""
