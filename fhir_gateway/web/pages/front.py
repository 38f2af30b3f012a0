"""Coming in and going out: the start page, sign in, sign out."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from ...auth.sessions import GIVEN
from ...domain.problem import Problem
from ...gate import Context
from . import languages
from .frame import Pages, go, show
from .words import _

DONE = {"signed-out", "signed-out-everywhere"}


async def start(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """The first page, for anybody."""
    done = request.query_params.get("done", "")
    return await show(pages, request, "start.html", ctx=ctx, demo=pages.demo, closed=not pages.sessions.open, done=done if done in DONE else "")


async def sign_in(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """GET the form; POST name and password. A wrong name and a wrong password are one answer. Where nobody signs in here, a page that says so."""
    if not pages.sessions.open:
        return await show(pages, request, "sign_in_elsewhere.html", ctx=ctx, status=403 if request.method == "POST" else 200)
    if request.method != "POST":
        onward = within(request.query_params.get("next", ""))
        return await show(pages, request, "sign_in.html", ctx=ctx, next=onward, username="", errors={})
    form = request.state.form
    name, password = form.get("username", "").strip(), form.get("password", "")
    onward = within(form.get("next", ""))
    try:
        cookies = await pages.people_sign_in(request, name, password) if name and password else None
    except Problem as p:
        if p.where != GIVEN:
            raise
        return await show(pages, request, "first_password.html", ctx=ctx, next=onward, username=name, errors={})
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


async def first_password(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """Their own password in the place of the one that they were given, and in."""
    form = request.state.form
    name, given, new, again = (form.get(field, "") for field in ("username", "old", "new", "again"))
    onward, errors = within(form.get("next", "")), mistyped(new, again)
    if not errors and pages.first_password is not None:
        try:
            cookies = await pages.first_password(request, name.strip(), given, new)
            if cookies is not None:
                return go(onward or "/home", cookies)
            errors["old"] = _("That sign-in name and password do not go together. Check both and try again.")
        except ValueError as why:
            errors["new"] = _("This is the password that you were given. Take another one.") if str(why) == "same" else easy()
    return await show(pages, request, "first_password.html", ctx=ctx, status=400, next=onward, username=name, errors=errors)


def mistyped(new: str, again: str) -> dict[str, str]:
    """What is wrong with a new password before anybody looks at how good it is, by field."""
    if new != again:
        return {"again": _("This is not the same as the new password above.")}
    return {} if 8 <= len(new) <= 1_000 else {"new": _("A password has 8 to 1,000 characters.")}


def easy() -> str:
    return _("This password is easy to guess. Take a longer one, such as four words that do not belong together.")


async def home(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """Where this person's own first page is."""
    if ctx is None:
        return go("/sign-in")
    if ctx.officer:
        return go("/privacy")
    if ctx.actor.operator and not ctx.actor.clinician:
        return go("/operator")
    return go({"patient": "/my-plan", "professional": "/team", "proxy": "/team"}.get(ctx.actor.kind, "/"))


async def language(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """From now on the pages are in this language, in this browser, which goes on where it was (what it says as `Referer`: no page names itself in
    its links, so that one that is hidden looks like one that is not there). Problem not-found for a language that we do not speak."""
    code = request.path_params["code"]
    if code not in languages.NAMES:
        raise Problem("not-found", "There is no such page.")
    secure = "; Secure" if pages.base_url.startswith("https:") else ""
    return go(within(_came_from(request)) or "/", [f"{languages.COOKIE}={code}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000{secure}"])


def _came_from(request: Request) -> str:
    """The path and query of the page of ours that led here; "" where another's did, or nobody says."""
    try:
        came = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return ""
    return (f"{came.path}?{came.query}" if came.query else came.path) if came.netloc == request.url.netloc else ""


CLEARED = '"cache", "storage"'  # not the cookies: the two of ours are taken away by name


async def sign_out(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """End the session, and back to the first page."""
    response = go("/?done=signed-out", await pages.sessions.end(request))
    response.headers["Clear-Site-Data"] = CLEARED
    return response


def within(path: str) -> str:
    """Where to go on to: a path of these pages (or of the sign-in of an app), nothing else."""
    known = ("/my-plan", "/team", "/privacy", "/operator", "/account", "/oauth/", "/sign-in", "/open/")
    steps = path.partition("?")[0].split("/")[1:]  # none empty, none that leads up
    good = path.startswith(known) and not {"", ".", ".."} & set(steps) and "\\" not in path and not any(ord(c) < 33 for c in path) and len(path) < 5_000
    return path if good else ""
