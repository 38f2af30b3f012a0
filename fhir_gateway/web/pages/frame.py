"""The frame every page stands in: who is asking, the form check, the template, the headers; a Problem becomes a page.

A handler is `async (pages, request, ctx) -> Response`. It asks the gate and fills a template, nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from jinja2 import ChainableUndefined, ChoiceLoader, Environment, PackageLoader
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ... import gate
from ...auth.launching import Launches
from ...domain.problem import Problem
from ...gate import Context, House
from ...store.base import Unavailable, Unsettled
from . import languages, words

log = structlog.get_logger()

SERVICE = "My shared care plan"
TOKEN = "form_token"  # the hidden field of every form
TOKENS = (TOKEN, "csrf_token")  # and the name under which forms of others know it
LONGEST_FORM = 64 * 1024


class Sessions(Protocol):
    """What the pages need to know of sessions (`auth.sessions`, joined in `wiring`)."""

    @property
    def open(self) -> bool:
        """May anybody sign in here."""
        ...

    async def form_token(self, request: Request, response_cookies: list[str]) -> str:
        """The token forms of this visitor carry. Appends a Set-Cookie value when the visitor has none yet."""
        ...

    async def form_token_ok(self, request: Request, token: str) -> bool:
        """Is this the token of a form that this session was shown."""
        ...

    async def start(self, caller: Any, old: Mapping[str, str]) -> list[str]:
        """Sign in whoever was verified otherwise than by a password; Set-Cookie values."""
        ...

    async def end(self, request: Request) -> list[str]:
        """End the session; Set-Cookie values for the answer."""
        ...

    def gone(self) -> list[str]:
        """Set-Cookie values that take the session out of this browser, whether or not it ended."""
        ...


class Mine(Protocol):
    """One's own sign-in (`auth.own`): each answers for whoever has this request's cookie."""

    async def account(self, request: Request) -> Any: ...

    async def sign_ins(self, request: Request) -> Sequence[Any]: ...

    async def sign_out_everywhere(self, request: Request) -> list[str]:
        """Set-Cookie values for the answer."""
        ...

    async def change_password(self, request: Request, old: str, new: str) -> list[str] | None:
        """Set-Cookie values for the answer; None when the old one is wrong. ValueError when the new one is too easy."""
        ...

    async def apps(self, request: Request) -> Sequence[Any]: ...

    async def stop_app(self, request: Request, client: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """Somebody to sign in as, shown on the start page in demo mode only."""

    name: str
    what: str
    username: str
    password: str
    tries: Sequence[str] = ()


async def _no() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Pages:
    """The one seam to the rest of the house; `wiring` fills it.

    `context_for(request)`: the gate's Context of whoever is signed in, or None.
    `people_sign_in(request, username, password)`: Set-Cookie values of a new session, or None when name or password is
    wrong. Problem throttled after too many tries, forbidden at `given-password` for one to be changed first. `confirm(request, password)`: whoever is signed in proves it again; their
    Context with a sign-in of this moment, or None when the password is wrong. `first_password(request, username, given, new)`: Set-Cookie
    values for whoever changes the password that they were given, or None as for a sign-in; ValueError, `easy` or `same`, for a new one that will not do.
    """

    house: House
    sessions: Sessions
    context_for: Callable[[Request], Awaitable[Context | None]]
    people_sign_in: Callable[[Request, str, str], Awaitable[list[str] | None]]
    base_url: str = ""
    confirm: Callable[[Request, str], Awaitable[Context | None]] | None = None
    first_password: Callable[[Request, str, str, str], Awaitable[list[str] | None]] | None = None
    demo: Sequence[DemoPerson] = ()
    mine: Mine | None = None
    more: dict[str, Any] = field(default_factory=dict)
    stranger: Callable[[Request], None] = lambda request: None  # slows whoever asks too often without a sign-in: Problem throttled
    opens_apps: Callable[[], Awaitable[bool]] = _no  # whether there is an app to open on a person
    launches: Launches | None = None  # from which systems people come with a person open
    leave: str = "https://www.bbc.co.uk/weather"  # where somebody goes who must not be seen here


Handler = Callable[[Pages, Request, Any], Awaitable[Response]]


def environment() -> Environment:
    """Templates: ours, then the NHS macros. Everything is escaped, always."""
    env = Environment(
        loader=ChoiceLoader([PackageLoader("fhir_gateway.web", "templates"), PackageLoader("nhsuk_frontend_jinja", "templates")]),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    env.install_gettext_callables(languages.said, languages.counted, newstyle=True)  # type: ignore[attr-defined]
    env.filters.update(day=words.day, moment=words.moment, segment=segment)
    env.globals.update(service=SERVICE, token_field=TOKEN)
    return env


def segment(text: Any) -> str:
    """One path segment of a link."""
    return quote(str(text), safe="")


ENV = environment()


# -- answers ----------------------------------------------------------------------------------------------------------


def headers(nonce: str = "", *, also_form_action: str = "") -> dict[str, str]:
    """The headers of every page. `also_form_action`: an origin that a form's answer may lead to."""
    script = f"'nonce-{nonce}'" if nonce else "'none'"
    return {
        "Content-Security-Policy": "; ".join(
            [
                "default-src 'none'",
                f"script-src {script}",
                "style-src 'self'",
                "img-src 'self'",
                f"form-action 'self' {also_form_action}".rstrip(),
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ]
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
        "Vary": "Cookie, Accept-Language",
    }


async def show(
    pages: Pages, request: Request, template: str, *, ctx: Context | None = None, status: int = 200, **values: Any
) -> Response:
    """The template in the common layout, with the visitor's form token."""
    cookies: list[str] = []
    token = await pages.sessions.form_token(request, cookies)
    leaves = ctx is not None and ctx.actor.kind in ("patient", "proxy")
    return render(request, template, ctx=ctx, status=status, token=token, cookies=cookies, leave=pages.leave if leaves else "", **values)


def render(
    request: Request, template: str, *, ctx: Context | None = None, status: int = 200, token: str = "",
    cookies: Sequence[str] = (), leave: str = "", **values: Any,
) -> Response:  # fmt: skip
    """A page from a template, with the headers of every page and a nonce of its own. `leave`: where its *Leave this page* leads, if it has one."""
    nonce = secrets.token_urlsafe(16)
    kind = ctx.actor.kind if ctx else None
    language = languages.now.get()
    html = ENV.get_template(template).render(
        htmlLang=language, rtl=language in languages.RIGHT_TO_LEFT, htmlAttributes={"dir": "rtl"} if language in languages.RIGHT_TO_LEFT else {},
        tongues=languages.NAMES, tongue=language,
        cspNonce=nonce, token=token, at=ctx.at if ctx else None, me=ctx.actor if ctx else None, kind=kind,
        path=request.url.path, officer=ctx.officer if ctx else False, operator=ctx.actor.operator if ctx else False,
        assurance=words.level(ctx.assurance).split(":")[0] if ctx else "", leave=bool(leave), **values,
    )  # fmt: skip
    return with_cookies(HTMLResponse(html, status, headers=headers(nonce, also_form_action="/".join(leave.split("/")[:3]))), cookies)


def go(where: str, cookies: Sequence[str] = ()) -> Response:
    """See other: a saved form leads on, so that reloading does not save again."""
    return with_cookies(RedirectResponse(where, 303, headers=headers()), cookies)


def changed(request: Request, cookies: Sequence[str]) -> None:
    """This visitor has these cookies from now on, whatever is answered: the rest of the request sees them, too."""
    request.state.cookies = cookies
    for said in cookies:
        name, _, value = said.partition(";")[0].partition("=")
        request.cookies[name] = value


def with_cookies(response: Response, cookies: Sequence[str]) -> Response:
    for c in cookies:
        response.headers.append("Set-Cookie", c)
    return response


# -- the frame --------------------------------------------------------------------------------------------------------


def framed(
    pages: Pages, handler: Handler, who: str | None = None, fields: Collection[str] | None = None, by_link: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    """A handler with everything around it. `fields`: those that its form has. `by_link`: its address is a secret, which no browser names as a referrer. `who`: None for a visitor, anybody who is signed in, patient, team, officer, operator, owner (the person, and who may choose for them)."""

    async def endpoint(request: Request) -> Response:
        languages.speak(languages.chosen(request.cookies.get(languages.COOKIE), request.headers.get("accept-language", "")))
        response = await answer(request)
        return with_cookies(response, getattr(request.state, "cookies", ()))

    async def answer(request: Request) -> Response:
        ctx: Context | None = None
        try:
            if request.method == "POST":
                await check_form(pages, request, fields, by_link)
            ctx = await pages.context_for(request)
            if who is not None and ctx is None:
                return go(f"/sign-in?next={quote(request.url.path)}" if request.method == "GET" else "/sign-in")
            if who is not None and ctx is not None and not await _belongs(who, ctx):
                raise Problem("forbidden", "helper" if who == "owner" and ctx.actor.kind == "proxy" else "wrong-door")
            return await handler(pages, request, ctx)
        except Problem as p:
            return await sorry(pages, request, p, ctx)
        except Unavailable as wrong:
            return await sorry(pages, request, gate.unanswered(wrong), ctx, unsure=isinstance(wrong, Unsettled))
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            log.exception("unexpected", area="pages", method=request.method, route=handler.__name__)
            return error_page(request, 500, unsure=True)

    return endpoint


async def _belongs(who: str, ctx: Context) -> bool:
    if who == "owner":
        return await gate.may_share(ctx)
    if who == "officer":
        return ctx.officer
    if who == "operator":
        return ctx.actor.operator
    if who == "anybody":
        return True
    return ctx.actor.kind in (("patient",) if who == "patient" else ("professional", "proxy"))


async def check_form(pages: Pages, request: Request, fields: Collection[str] | None = None, by_link: bool = False) -> None:
    """A form must come from our own page, with the token we gave this visitor; then it is `request.state.form`.

    `fields` are all that it has, where that is said. Problem bad-request for another, forbidden, too-large, unsupported-media.
    """
    request.state.form = form = await read_form(request)
    if fields is not None:
        only(form, *fields)
    unsaid = by_link and request.headers.get("origin", "null") == "null" and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    if not (unsaid or same_origin(pages, request)):
        raise Problem("forbidden", "form")
    if not await pages.sessions.form_token_ok(request, next((str(form[t]) for t in TOKENS if t in form), "")):
        raise Problem("forbidden", "form")


def only(form: FormData, *fields: str) -> None:
    """Problem bad-request for a field that this form does not have: nothing is taken that was not asked for."""
    if unknown := sorted(set(form) - {*fields, *TOKENS}):
        raise Problem("bad-request", f"This form has no field `{unknown[0][:40]}`.")


async def read_form(request: Request) -> FormData:
    """The fields of a plain form, at most 64 KiB."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem("unsupported-media", "A form is sent as a form.")
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > LONGEST_FORM:
            raise Problem("too-large", "This form is too long.")
    try:
        fields = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise Problem("malformed", "This form could not be read.") from None
    return FormData([(name, value) for name, value in fields])


def same_origin(pages: Pages, request: Request) -> bool:
    """Origin (else Referer) names this very host, or the address that settings give."""
    source = request.headers.get("origin") or request.headers.get("referer") or ""
    try:
        host = urlsplit(source).netloc
    except ValueError:  # `http://[`
        return False
    ours = {request.headers.get("host", ""), urlsplit(pages.base_url).netloc} - {""}
    return host in ours and request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


# -- when it goes wrong -----------------------------------------------------------------------------------------------

SORRY: dict[int, str] = {
    400: "400",
    403: "403",
    405: "400",
    404: "404",
    409: "409",
    410: "404",
    412: "409",
    413: "400",
    415: "400",
    422: "400",
    429: "429",
}


async def sorry(pages: Pages, request: Request, problem: Problem, ctx: Context | None = None, *, unsure: bool = False) -> Response:
    """The page of a Problem: plain words and what to do next; the same page for hidden and absent. `unsure`: nobody knows whether what was sent was kept."""
    status = 404 if problem.status == 410 else problem.status
    why = problem.text if problem.kind == "forbidden" and problem.text in ("form", "wrong-door", "helper", "look") else ""
    if problem.kind == "forbidden" and not why and ctx is not None and ctx.actor.kind == "proxy":
        why = "acting"
    try:
        response = await show(pages, request, f"errors/{SORRY.get(status, '503')}.html", ctx=ctx, status=status, why=why, sent=_sent(request), unsure=unsure and _sent(request))
    except Exception:
        if status < 500:
            raise
        response = render(request, "errors/503.html", status=status, sent=_sent(request), unsure=unsure and _sent(request))  # the store is away: no token, still a page
    for name, value in problem.headers.items():
        if name.lower() == "retry-after":
            response.headers[name] = value
    return response


def error_page(request: Request, status: int, *, unsure: bool = False) -> Response:
    """For the application's own handlers (no such address, an unexpected failure): the page without a session. `unsure` as for `sorry`."""
    return render(request, f"errors/{SORRY.get(status, '503')}.html", status=status, sent=_sent(request), unsure=unsure and _sent(request))


def _sent(request: Request) -> bool:
    """Was something sent, which may be lost or kept now."""
    return request.method not in ("GET", "HEAD")


__all__ = [
    "DemoPerson",
    "Pages",
    "Sessions",
    "check_form",
    "error_page",
    "framed",
    "go",
    "headers",
    "render",
    "show",
    "sorry",
]
