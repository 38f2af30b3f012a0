"""`/account/apps/open`: an app is opened on a person from here (SMART EHR launch)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..auth import clients
from ..auth.oauth import own_record
from ..auth.sessions import Session
from ..domain.problem import Problem, not_found
from . import app
from .pages import frame, people
from .smart import Smart, may_lead_to, origin_of

Handler = Callable[[Smart, Request, Session, Any], Awaitable[Response]]
PLACE = "/account/apps/open"


def routes(web: app.Web, smart: Smart) -> list[Route]:
    """The page and its form."""

    def at(handler: Handler, method: str) -> Route:
        async def run(_web: app.Web, request: Request) -> Response:
            try:
                return await _for_somebody(smart, request, handler)
            except Problem as p:
                ctx = None if p.kind == "throttled" else await smart.pages.context_for(request)
                return await frame.sorry(smart.pages, request, p, ctx)

        return Route(PLACE, app.guarded(web, "pages", run), methods=[method])

    return [at(choose, "GET"), at(open_app, "POST")]


async def _for_somebody(smart: Smart, request: Request, handler: Handler) -> Response:
    if request.method == "POST":
        await frame.check_form(smart.pages, request)
    session = await smart.sessions.session(request.cookies)
    ctx = await smart.pages.context_for(request) if session else None
    if session is None or ctx is None:
        return frame.go(f"/sign-in?next={quote(PLACE)}" if request.method == "GET" else "/sign-in")
    return await handler(smart, request, session, ctx)


async def choose(smart: Smart, request: Request, session: Session, ctx: Any) -> Response:
    """Which app to open on this person. Problem not-found for whom the reader may not see."""
    person = await _person(ctx, session, request.query_params.get("person", ""))
    launched = [c for c in await clients.list_clients(smart.oauth.store, smart.clock()) if c.launch_uri]
    own = own_record(session.caller) is not None
    page = await frame.show(smart.pages, request, "account/open.html", ctx=ctx, person=person, launched=launched, own=own)
    return may_lead_to(page, *(origin_of(c.launch_uri) for c in launched))


async def open_app(smart: Smart, request: Request, session: Session, ctx: Any) -> Response:
    """The app's own launch page, told where we are and what to hand back. Problem not-found for an app or person that is not there."""
    form = request.state.form
    client = await clients.find(smart.oauth.store, form.get("app", ""), smart.clock())
    person = await _person(ctx, session, form.get("person", ""))
    if client is None or not client.launch_uri:
        raise not_found()
    value = await smart.oauth.launch(client.id, f"Patient/{person['id']}", session.caller.subject, smart.clock())
    where = client.launch_uri + ("&" if "?" in client.launch_uri else "?") + urlencode({"iss": smart.oauth.fhir_base, "launch": value})
    return frame.go(where)


async def _person(ctx: Any, session: Session, asked: str) -> dict[str, str]:
    """One's own record (or whom one acts for), whatever is asked; else who was asked for and can be seen."""
    found = await people.named(ctx, own_record(session.caller) or f"Patient/{asked}")
    if found is None:
        raise not_found()
    return found
