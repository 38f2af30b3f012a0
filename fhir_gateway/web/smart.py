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

from ..auth import discovery
from ..auth.asked import Asked
from ..auth.oauth import OAuth, own_record
from ..auth.prompting import BEGAN
from ..auth.refusal import Refusal, SentBack
from ..auth.sessions import Session, Sessions
from ..domain.problem import Problem
from . import app
from .admission import Admission
from .pages import frame, people
from .pages.asked import in_words
from .pages.words import _

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
PUBLIC = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
LONGEST_QUERY = 4_000  # it travels inside `next` of the sign-in page


@dataclass(frozen=True, slots=True)
class Smart:
    """What these routes need, built by `wiring`."""

    oauth: OAuth
    sessions: Sessions
    pages: frame.Pages
    clock: Callable[[], datetime]
    admission: Admission
    elsewhere: Callable[[datetime], Awaitable[dict[str, Any]]] | None = None  # where people sign in instead: its discovery document


def routes(web: app.Web, smart: Smart) -> list[Route]:
    """Every sign-in address, with the limits and the counter of the rest of the house around it; where it is done elsewhere, only who tells where."""

    def route(path: str, handler: Callable[[Smart, Request], Awaitable[Response]], *methods: str) -> Route:
        async def run(_web: app.Web, request: Request) -> Response:
            return await handler(smart, request)

        return Route(path, app.guarded(web, "sign-in", run, say=refusal), methods=methods)

    if smart.elsewhere is not None:
        return [route("/fhir/.well-known/smart-configuration", smart_configuration, "GET")]
    return [
        route("/fhir/.well-known/smart-configuration", smart_configuration, "GET"),
        route("/.well-known/openid-configuration", openid_configuration, "GET"),
        route("/.well-known/oauth-authorization-server", openid_configuration, "GET"),
        route("/oauth/jwks", jwks, "GET"),
        route("/oauth/authorize", authorize, "GET"),
        route("/oauth/authorize", approve, "POST"),
        route("/oauth/token", token, "POST"),
        route("/oauth/introspect", introspect, "POST"),
        route("/oauth/revoke", revoke, "POST"),
    ]


# -- for programs to read ---------------------------------------------------------------------------------------------


async def smart_configuration(smart: Smart, request: Request) -> Response:
    if smart.elsewhere is not None:
        return JSONResponse(discovery.of_another(await smart.elsewhere(smart.clock())), headers=PUBLIC)
    return JSONResponse(discovery.smart_configuration(smart.oauth.base), headers=PUBLIC)


async def openid_configuration(smart: Smart, request: Request) -> Response:
    return JSONResponse(discovery.openid_configuration(smart.oauth.base), headers=PUBLIC)


async def jwks(smart: Smart, request: Request) -> Response:
    await smart.oauth.tokens.refresh(smart.clock())
    return JSONResponse(smart.oauth.tokens.ring.jwks(), headers=PUBLIC)


# -- a person approves an app -----------------------------------------------------------------------------------------


async def authorize(smart: Smart, request: Request) -> Response:
    """The page that asks; before it, for whom, where an app wants one person and the one signed in can see several."""
    query = request.url.query
    try:
        asked = await _asked(smart, request.query_params.multi_items(), len(query))
    except Refusal as why:
        return await wrong(smart, request, why.text)
    except SentBack as back:
        return frame.go(back.location)
    session = await smart.sessions.session(request.cookies)
    if session is None or not asked.prompt.proven(session.caller.signed_in, smart.clock()):
        if asked.prompt.quiet:
            return frame.go(smart.oauth.refuse(asked, "login_required"))
        return at_the_door(smart, asked, query)
    if asked.prompt.quiet:
        return frame.go(smart.oauth.refuse(asked, "consent_required"))
    if whom_is_open(asked, session):
        return may_lead_to(await whom(smart, request, asked, query), origin_of(asked.redirect_uri))
    ctx = await smart.pages.context_for(request)
    person = await people.named(ctx, asked.launch) if ctx and asked.launch and not own_record(session.caller) else None
    host = urlsplit(asked.redirect_uri).hostname or asked.client.name
    page = await frame.show(
        smart.pages, request, "oauth/approve.html", ctx=ctx, app=asked.client.name,
        lines=in_words(asked.scopes), name=session.caller.name or session.caller.subject, host=host,
        patient=session.caller.kind == "patient", asked=query, person=person,
    )  # fmt: skip
    return may_lead_to(page, origin_of(asked.redirect_uri))


def whom_is_open(asked: Asked, session: Session) -> bool:
    """Whether the app wants one person's record and nothing says yet whose (`launch/patient`)."""
    return asked.launch is None and "launch/patient" in asked.scopes.split() and own_record(session.caller) is None


async def whom(smart: Smart, request: Request, asked: Asked, query: str, *, mistake: bool = False) -> Response:
    """The page on which staff choose a person for the app, among those whom they may see."""
    ctx = await smart.pages.context_for(request)
    if ctx is None:
        return frame.go("/sign-in")
    looked = dict(parse_qsl(query)).get(people.LOOKED, "")
    found, more = await people.seen(ctx, looked)
    errors = {"patient": _("Choose a person.")} if mistake else {}
    return await frame.show(
        smart.pages, request, "oauth/whom.html", ctx=ctx, app=asked.client.name, people=found, more=more, looked=looked, asked=query,
        errors=errors,
    )  # fmt: skip


def at_the_door(smart: Smart, asked: Asked, query: str) -> Response:
    """To the sign-in page, and back with when that was, where it matters: who signs in from now on need not again."""
    if asked.prompt.fresh:
        query = onward(query, BEGAN, str(int(smart.clock().timestamp())))
    return frame.go(f"/sign-in?next={quote(f'/oauth/authorize?{query}', safe='')}")


async def approve(smart: Smart, request: Request) -> Response:
    """Yes or no, from our own page by a person who is signed in; or an app's own request, sent as a form (`authorize-post`)."""
    try:
        if not frame.same_origin(smart.pages, request):
            return await sent_by_form(smart, request)
        await frame.check_form(smart.pages, request)
        session = await smart.sessions.session(request.cookies)
        if session is None:
            return frame.go("/sign-in")
        form = request.state.form
        query = form.get("asked", "")
        asked = await _asked(smart, parse_qsl(query, keep_blank_values=True), len(query))
        match form.get("decision"):
            case "approve" if not asked.prompt.proven(session.caller.signed_in, smart.clock()):
                return at_the_door(smart, asked, query)
            case "approve":
                where = await smart.oauth.approve(asked, session.caller, smart.clock(), session.first)
            case "choose" if not form.get("patient"):
                return may_lead_to(await whom(smart, request, asked, query, mistake=True), origin_of(asked.redirect_uri))
            case "choose":
                where = await chosen(smart, request, asked, session, query, form.get("patient", ""))
            case "look":
                where = f"/oauth/authorize?{onward(query, people.LOOKED, form.get('name', ''))}"
            case _:
                where = smart.oauth.refuse(asked)
        return may_lead_to(frame.go(where), origin_of(asked.redirect_uri))
    except Refusal as why:
        return await wrong(smart, request, why.text)
    except SentBack as back:
        return frame.go(back.location)
    except Problem as p:
        text = _("This form did not come from our page, or it is old. Start again.")
        return await wrong(smart, request, text, p.status if p.status in (403, 404) else 400)


async def sent_by_form(smart: Smart, request: Request) -> Response:
    """An authorization request by POST goes on as the same one by GET: it decides nothing, and our cookie comes with that one only."""
    form = await frame.read_form(request)
    if frame.TOKEN in form or "asked" in form:  # our own form, sent by somebody else's page
        raise Problem("forbidden", "form")
    params = [(name, str(value)) for name, value in form.multi_items()]
    query = urlencode(params)
    await _asked(smart, params, len(query))
    return frame.go(f"/oauth/authorize?{query}")


async def chosen(smart: Smart, request: Request, asked: Asked, session: Session, query: str, patient: str) -> str:
    """Back to the page that asks, now on this person; not-found for whom they may not see."""
    ctx = await smart.pages.context_for(request)
    if ctx is None or not whom_is_open(asked, session):
        raise Problem("forbidden", "form")
    if await people.named(ctx, f"Patient/{patient}") is None:
        raise Problem("not-found", "whom")
    value = await smart.oauth.launch(asked.client.id, f"Patient/{patient}", session.caller.subject, smart.clock())
    return f"/oauth/authorize?{onward(query, 'launch', value)}"


def onward(query: str, name: str, value: str) -> str:
    """The same request with this parameter, and without the one that only the page of choosing has."""
    kept = [(k, v) for k, v in parse_qsl(query, keep_blank_values=True) if k not in (name, people.LOOKED)]
    return urlencode([*kept, (name, value)])


async def _asked(smart: Smart, params: list[tuple[str, str]], length: int) -> Asked:
    if length > LONGEST_QUERY:
        raise Refusal("invalid_request", "This request is too long.")
    return await smart.oauth.asked(params, smart.clock())


async def wrong(smart: Smart, request: Request, text: str, status: int = 400) -> Response:
    return await frame.show(smart.pages, request, "oauth/wrong.html", status=status, text=text)


def may_lead_to(response: Response, *origins: str) -> Response:
    """Browsers hold `form-action` against the redirect that follows a form too: name the app's origin."""
    policy = response.headers.get("Content-Security-Policy", "")
    allowed = " ".join(["form-action 'self'", *dict.fromkeys(origins)])
    response.headers["Content-Security-Policy"] = policy.replace("form-action 'self'", allowed)
    return response


def origin_of(address: str) -> str:
    """`https://app.example`, or `com.example.app:` of an app's own scheme."""
    url = urlsplit(address)
    return f"{url.scheme}://{url.netloc}" if url.netloc else f"{url.scheme}:"


def refusal(p: Problem) -> Response:
    """A Problem as RFC 6749 5.2 says it."""
    error = "temporarily_unavailable" if p.status in (429, 503) else "server_error" if p.status >= 500 else "invalid_request"
    return JSONResponse({"error": error, "error_description": p.text}, p.status, {**NO_STORE, **p.headers})


# -- for programs to use ----------------------------------------------------------------------------------------------


async def token(smart: Smart, request: Request) -> Response:
    return await _answer(smart, request, "token", smart.oauth.token)


async def introspect(smart: Smart, request: Request) -> Response:
    return await _answer(smart, request, "introspect", smart.oauth.introspect)


async def revoke(smart: Smart, request: Request) -> Response:
    return await _answer(smart, request, "token-end", smart.oauth.revoke)


Params = list[tuple[str, str]]


async def _answer(
    smart: Smart, request: Request, what: str, ask: Callable[[Params, str | None, datetime], Awaitable[dict[str, Any] | None]]
) -> Response:
    """A form in, JSON out, errors as RFC 6749 5.2 has them; a refusal is written down as a refused `what`.

    Refusals alone spend the pace of an address. What is beyond it is 429 and not written down: nobody fills the trail that fast.
    """
    at = smart.clock()
    headers = dict(NO_STORE)
    try:
        form = [(name, str(value)) for name, value in (await frame.read_form(request)).multi_items()]
        try:
            answer = await ask(form, request.headers.get("authorization"), at)
        except Refusal as why:
            smart.admission.stranger(app.address(request))
            await smart.oauth.refused(what, form, why, at)
            raise
    except Refusal as why:
        if why.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="oauth"'
        return JSONResponse({"error": why.error, "error_description": why.text}, why.status, headers)
    except Problem as p:
        error = "temporarily_unavailable" if p.status in (429, 503) else "invalid_request"
        status = p.status if p.status in (408, 413, 429, 503) else 400
        return JSONResponse({"error": error, "error_description": p.text}, status, headers | p.headers)
    return JSONResponse(answer or {}, headers=headers)
