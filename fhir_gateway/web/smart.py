"""Sign-in for programs: the OAuth and SMART addresses. What they mean is `auth.oauth`; here it becomes HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..auth import clients, discovery
from ..auth.oauth import Asked, OAuth, Refusal, SentBack
from ..auth.sessions import Sessions
from ..domain.primitives import whole
from ..domain.problem import Problem
from . import app
from .pages import frame
from .pages.asked import in_words
from .pages.words import _

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
SHORTEST_AGE = 60  # seconds
LONGEST_QUERY = 1_500  # it travels inside `next` of the sign-in page


@dataclass(frozen=True, slots=True)
class Smart:
    """What these routes need, built by `wiring`."""

    oauth: OAuth
    sessions: Sessions
    pages: frame.Pages
    clock: Callable[[], datetime]


def routes(web: app.Web, smart: Smart) -> list[Route]:
    """Every sign-in address, with the limits and the counter of the rest of the house around it."""

    def route(path: str, handler: Callable[[Smart, Request], Awaitable[Response]], *methods: str) -> Route:
        async def run(_web: app.Web, request: Request) -> Response:
            return await handler(smart, request)

        return Route(path, app.guarded(web, "sign-in", run, say=refusal), methods=methods)

    return [
        route("/fhir/.well-known/smart-configuration", smart_configuration, "GET"),
        route("/.well-known/openid-configuration", openid_configuration, "GET"),
        route("/.well-known/oauth-authorization-server", openid_configuration, "GET"),
        route("/oauth/jwks", jwks, "GET"),
        route("/oauth/authorize", authorize, "GET"),
        route("/oauth/authorize", approve, "POST"),
        route("/oauth/token", token, "POST", "OPTIONS"),
        route("/oauth/introspect", introspect, "POST"),
        route("/oauth/revoke", revoke, "POST", "OPTIONS"),
    ]


# -- for programs to read ---------------------------------------------------------------------------------------------


async def smart_configuration(smart: Smart, request: Request) -> Response:
    return JSONResponse(discovery.smart_configuration(smart.oauth.base), headers=PUBLIC)


async def openid_configuration(smart: Smart, request: Request) -> Response:
    return JSONResponse(discovery.openid_configuration(smart.oauth.base), headers=PUBLIC)


async def jwks(smart: Smart, request: Request) -> Response:
    await smart.oauth.tokens.refresh(smart.clock())
    return JSONResponse(smart.oauth.tokens.ring.jwks(), headers=PUBLIC)


# -- a person approves an app -----------------------------------------------------------------------------------------


async def authorize(smart: Smart, request: Request) -> Response:
    """The page that asks. Nobody is sent anywhere that the app has not registered."""
    query = request.url.query
    try:
        asked = await _asked(smart, request.query_params.multi_items(), len(query))
    except Refusal as why:
        return await wrong(smart, request, why.text)
    except SentBack as back:
        return frame.go(back.location)
    session = await smart.sessions.session(request.cookies)
    if session is None or too_old(session.caller.signed_in, request.query_params.get("max_age"), smart.clock()):
        return frame.go(f"/sign-in?next={quote(f'/oauth/authorize?{query}', safe='')}")
    host = urlsplit(asked.redirect_uri).hostname or asked.client.name
    page = await frame.show(
        smart.pages, request, "oauth/approve.html", ctx=await smart.pages.context_for(request), app=asked.client.name,
        lines=in_words(asked.scopes), name=session.caller.name or session.caller.subject, host=host,
        patient=session.caller.kind == "patient", asked=urlencode(request.query_params.multi_items()),
    )  # fmt: skip
    return may_lead_to(page, asked)


def too_old(signed_in: datetime | None, max_age: str | None, at: datetime) -> bool:
    """Whether the person must sign in again first: the app said how many seconds ago is too long (OpenID Connect 3.1.2.1).

    Less than a minute counts as one, so that whoever has just signed in can go on.
    """
    seconds = whole(max_age) if max_age is not None else None
    return seconds is not None and (signed_in is None or (at - signed_in).total_seconds() > max(seconds, SHORTEST_AGE))


async def approve(smart: Smart, request: Request) -> Response:
    """Yes or no, from our own page by a person who is signed in."""
    try:
        await frame.check_form(smart.pages, request)
        session = await smart.sessions.session(request.cookies)
        if session is None:
            return frame.go("/sign-in")
        form = request.state.form
        asked = await _asked(smart, parse_qsl(form.get("asked", ""), keep_blank_values=True), 0)
        if form.get("decision") == "approve":
            return may_lead_to(frame.go(await smart.oauth.approve(asked, session.caller, smart.clock())), asked)
        return may_lead_to(frame.go(smart.oauth.refuse(asked)), asked)
    except Refusal as why:
        return await wrong(smart, request, why.text)
    except SentBack as back:
        return frame.go(back.location)
    except Problem as p:
        text = _("This form did not come from our page, or it is old. Start again.")
        return await wrong(smart, request, text, p.status)


async def _asked(smart: Smart, params: list[tuple[str, str]], length: int) -> Asked:
    if length > LONGEST_QUERY:
        raise Refusal("invalid_request", "This request is too long.")
    return await smart.oauth.asked(params, smart.clock())


async def wrong(smart: Smart, request: Request, text: str, status: int = 400) -> Response:
    return await frame.show(smart.pages, request, "oauth/wrong.html", status=status, text=text)


def may_lead_to(response: Response, asked: Asked) -> Response:
    """Browsers hold `form-action` against the redirect that follows a form too: name the app's origin."""
    url = urlsplit(asked.redirect_uri)
    origin = f"{url.scheme}://{url.netloc}" if url.netloc else f"{url.scheme}:"
    policy = response.headers.get("Content-Security-Policy", "")
    response.headers["Content-Security-Policy"] = policy.replace("form-action 'self'", f"form-action 'self' {origin}")
    return response


def refusal(p: Problem) -> Response:
    """A Problem as RFC 6749 5.2 says it."""
    error = "temporarily_unavailable" if p.status in (429, 503) else "server_error" if p.status >= 500 else "invalid_request"
    return JSONResponse({"error": error, "error_description": p.text}, p.status, {**NO_STORE, **p.headers})


# -- for programs to use ----------------------------------------------------------------------------------------------


async def token(smart: Smart, request: Request) -> Response:
    return await _answer(smart, request, smart.oauth.token)


async def introspect(smart: Smart, request: Request) -> Response:
    return await _answer(smart, request, smart.oauth.introspect)


async def revoke(smart: Smart, request: Request) -> Response:
    return await _answer(smart, request, smart.oauth.revoke)


async def _answer(smart: Smart, request: Request, ask: Callable[..., Awaitable[dict[str, Any] | None]]) -> Response:
    """A form in, JSON out, errors as RFC 6749 5.2 has them. Pages of registered origins may read the answer (CORS)."""
    at = smart.clock()
    headers = NO_STORE | await cors(smart, request, at)
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    try:
        form = await frame.read_form(request)
        answer = await ask(form.multi_items(), request.headers.get("authorization"), at)
    except Refusal as why:
        if why.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="oauth"'
        return JSONResponse({"error": why.error, "error_description": why.text}, why.status, headers)
    except Problem as p:
        error = "temporarily_unavailable" if p.status == 503 else "invalid_request"
        status = p.status if p.status in (413, 429, 503) else 400
        return JSONResponse({"error": error, "error_description": p.text}, status, headers | p.headers)
    return JSONResponse(answer or {}, headers=headers)


async def cors(smart: Smart, request: Request, at: datetime) -> dict[str, str]:
    """CORS headers when the page that calls is served from an origin that a client has registered."""
    origin = request.headers.get("origin", "")
    if not origin or origin not in await clients.origins(smart.oauth.store, at):
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Content-Type, Authorization", "Access-Control-Max-Age": "600",
    }  # fmt: skip
