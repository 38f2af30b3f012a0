"""Builds the ASGI app: the only place where a Problem becomes HTTP. No middleware on the hot path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import gate
from ..domain import limits as asking
from ..domain import strict
from ..domain.primitives import whole
from ..domain.problem import Problem, not_found, outcome
from ..gate import Context, House
from ..gate.subscriber_states import subscriber_states
from ..store.base import Unavailable
from .admission import Admission, Limits
from .syncing import Figures

log = structlog.get_logger()

FHIR_JSON = "application/fhir+json; charset=utf-8"
PRIVATE = {"Cache-Control": "private, no-store", "Vary": "Authorization", "X-Content-Type-Options": "nosniff"}


@dataclass
class Web:
    """What the routes need, built by `wiring`."""

    house: House
    caller: Callable[[str], Awaitable[Any]]  # bearer token -> verified caller, or Problem sign-in
    base: str  # http://127.0.0.1:8080
    ready: Callable[[], Awaitable[bool]]
    body_limit: int = 5 * 1024 * 1024
    header_limit: int = 32 * 1024
    uri_limit: int = 16 * 1024
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    binary_limit: int = 25 * 1024 * 1024  # of the data of a Binary
    queues: Callable[[], Awaitable[dict[str, dict[str, int]]]] | None = None
    waiting: Callable[[], Awaitable[int]] | None = None  # refused pushes in the inbox
    synced: Callable[[], Awaitable[list[dict[str, Any]]]] | None = None  # how far each partner is
    plain_beyond: bool = False  # served without https on more than the loopback address: for names of this machine alone
    admission: Admission = field(default_factory=lambda: Admission(Limits()))
    channels: frozenset[str] = frozenset()  # what people can be told by here
    limits: asking.Limits = asking.DEFAULT  # of what one FHIR request may ask for
    depth_limit: int = strict.MAX_DEPTH  # of the JSON of a body
    signs_in: bool = True  # the built-in issuer is open
    answers: Any = None
    alarms: Any = None

    def __post_init__(self) -> None:
        self.answers = Counter("gateway_answers_total", "Answers by status", ["area", "status"], registry=self.registry)
        self.alarms = Counter("gateway_alarms_total", "Answers that the two engines of consent differed on, so that nothing was sent", registry=self.registry)
        hand = Gauge("gateway_requests_in_hand", "Requests being answered", registry=self.registry)
        hand.set_function(lambda: self.admission.in_hand)
        away = Gauge("gateway_requests_turned_away", "Requests answered 503 at the door since the start", registry=self.registry)
        away.set_function(lambda: self.admission.turned_away)
        self.queued = Gauge("gateway_outbox_entries", "Outbox entries by remote and state", ["remote", "state"], registry=self.registry)
        self.inbox = Gauge("gateway_inbox_waiting", "Pushes that were refused and wait for a person", registry=self.registry)
        self.figures = Figures()
        self.registry.register(self.figures)


async def context(web: Web, request: Request) -> Context:
    """Who asks. Problem sign-in without a good bearer token."""
    header = request.headers.get("authorization", "")
    kind, _, token = header.partition(" ")
    try:
        if kind.lower() != "bearer" or not token:
            raise Problem("sign-in", "Sign in first: this needs a bearer token.", headers={"WWW-Authenticate": "Bearer"})
        caller = await web.caller(token.strip())
    except Problem as p:
        if p.kind == "sign-in":
            web.admission.stranger(address(request))
        raise
    web.admission.client(request.scope["state"], f"{caller.client or ''} {caller.subject}")
    ctx = await gate.enter(
        web.house, caller, purpose=request.headers.get("x-purpose-of-use"), request_id=request.headers.get("x-request-id", "")[:64]
    )
    request.scope["state"]["asker"] = ctx
    return ctx


async def refused(request: Request, p: Problem) -> Problem:
    """The same Problem, in the trail where we know who asks and it is not there yet; the store's, when it cannot be written down."""
    ctx = request.scope.get("state", {}).get("asker")
    if ctx is None:
        return p
    parts = request.path_params.get("parts")
    person = request.path_params.get("id") or request.path_params.get("patient")
    named = [s for s in parts if s[:1] not in ("_", "$")][:2] if parts is not None else ["Patient", person] if person else []
    try:
        await gate.turned_away(ctx, p, request.method, wanted(request), "/".join(named))
    except Unavailable as wrong:
        return gate.unanswered(wrong)
    return p


def wanted(request: Request) -> str:
    """What a request wants, where its method does not say it: a search, a transaction, an operation by its name."""
    parts: list[str] | None = request.path_params.get("parts")
    if parts is None:
        return request.url.path.rsplit("/", 1)[-1][:40] if request.method == "POST" else ""
    if operation := next((s[1:41] for s in parts if s.startswith("$")), ""):
        return operation
    if request.method == "POST" and not parts:
        return "transaction"
    alone = len(parts) < 2 and request.method in ("GET", "HEAD")
    return "search" if alone or "_search" in parts else "history" if "_history" in parts else ""


def address(request: Request) -> str:
    """Where a request comes from: what the connection says, or a proxy that the settings trust."""
    return request.client.host if request.client else ""


async def body(web: Web, request: Request, limit: int = 0) -> bytes:
    """The request body within the limits (`limit` bytes, else what any body may have), inflated when it came as gzip.

    Problem too-large, unsupported-media, malformed.
    """
    raw = await _sized(web, request, limit)
    if web.depth_limit < strict.MAX_DEPTH and strict.deeper(raw, web.depth_limit):  # no deeper than that is read anywhere
        raise Problem("malformed", f"The JSON is nested more than {web.depth_limit} levels deep.")
    if much := strict.beyond(raw, web.limits.items, web.limits.elements):
        raise Problem("too-large", f"The body holds {much}. Send it in parts.")
    return raw


async def _sized(web: Web, request: Request, limit: int) -> bytes:
    limit = limit or web.body_limit
    declared = whole(request.headers.get("content-length", ""))
    if declared is not None and declared > limit:
        raise too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    raw = b"".join(parts)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding != "gzip":
        raise Problem("unsupported-media", f"The content encoding `{encoding[:40]}` is not offered: send the body plain or as gzip.")
    return inflate(limit, raw)


def inflate(limit: int, raw: bytes) -> bytes:
    import zlib

    stream = zlib.decompressobj(wbits=31)
    try:
        out = stream.decompress(raw, limit + 1)
    except zlib.error:
        raise Problem("malformed", "The body is said to be gzip but is not.") from None
    if len(out) > limit or stream.unconsumed_tail:
        raise too_large(limit)
    if not stream.eof or stream.unused_data:
        raise Problem("malformed", "The gzip body is cut short or has something after its end.")
    return out


def too_large(limit: int) -> Problem:
    return Problem("too-large", f"A body may have {limit} bytes, also when inflated.", headers={"Connection": "close"})


def problem_response(p: Problem, *, media: str = FHIR_JSON) -> Response:
    """The OperationOutcome of a Problem."""
    return Response(msgspec.json.encode(outcome(p.issues)), p.status, {**PRIVATE, **p.headers}, media_type=media)


Handler = Callable[[Web, Request], Awaitable[Response]]


def guarded(
    web: Web, area: str, handler: Handler, say: Callable[[Problem], Response] = problem_response
) -> Callable[[Request], Awaitable[Response]]:
    """Limits before, one counter after, and nothing but a Problem in between, told by `say`."""

    counters: dict[int, Counter] = {}

    def count(status: int) -> None:
        counter = counters.get(status)
        if counter is None:
            counter = counters[status] = web.answers.labels(area, str(status))
        counter.inc()

    async def run(request: Request) -> Response:
        try:
            limits(web, request)
            response = await handler(web, request)
        except Problem as p:
            response = say(await refused(request, p))
        except Unavailable as wrong:
            response = say(gate.unanswered(wrong))
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception:
            log.exception("unexpected", area=area, method=request.method, route=area)
            response = say(Problem("unavailable", "This went wrong here and has been noted. Read again before you repeat it: part of it may have been written."))
            response.status_code = 500
        count(response.status_code)
        return response

    return run


def limits(web: Web, request: Request) -> None:
    """URI and header sizes. Problem uri-too-long, headers-too-large."""
    scope = request.scope
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > web.uri_limit:
        raise Problem("uri-too-long", f"An address may have {web.uri_limit} bytes. Use POST _search for long searches.")
    if sum(len(k) + len(v) for k, v in scope["headers"]) > web.header_limit:
        raise Problem("headers-too-large", f"The headers may have {web.header_limit} bytes together.")


def build(
    web: Web, fhir: ASGIApp, routes: Sequence[BaseRoute], *, describe: Callable[[Sequence[BaseRoute]], dict[str, Any]],
    sorry: Callable[[Request, Problem], Response],
) -> ASGIApp:  # fmt: skip
    """The app: FHIR, plans, sign-in and pages as plain routes; FastAPI is the shell around them. `describe` makes /openapi.json."""
    app = FastAPI(title="fhir_gateway", docs_url=None, redoc_url=None, openapi_url=None)
    mounted = [Route("/health", guarded(web, "health", health)), Route("/metrics", guarded(web, "metrics", metrics)), *routes]

    async def described_here(_: Request) -> Response:
        return openapi

    own = [Route("/openapi.json", described_here), *mounted]
    app.router.routes.extend(own)
    openapi = JSONResponse(describe(own), headers={"Cache-Control": "public, max-age=60"})
    app.router.redirect_slashes = False
    told = web.house.alarm

    def alarm(what: str) -> None:
        web.alarms.inc()
        told(what)

    web.house.alarm = alarm

    async def nowhere(request: Request, wrong: Exception) -> Response:
        status = getattr(wrong, "status_code", 500)
        p = not_found()
        if status == 405:
            p = Problem("not-offered", f"{request.method[:20]} is not offered at this address.", headers={"Allow": offered(own, request.scope)})
        elif status != 404:
            p = Problem("bad-request", "This request cannot be understood.")
        return sorry(request, p)

    app.add_exception_handler(HTTPException, nowhere)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and (path == "/fhir" or path.startswith("/fhir/")) and not path.startswith("/fhir/.well-known/"):
            await fhir(scope, receive, send)
        else:
            await app(scope, receive, send)

    if web.base.startswith("https:"):
        return saying(SAFE + HSTS, web.admission.front(front))
    return saying(SAFE, web.admission.front(here_only(front) if web.plain_beyond else front))


SAFE = ((b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"), (b"referrer-policy", b"no-referrer"))
HSTS = ((b"strict-transport-security", b"max-age=63072000; includeSubDomains"),)  # on an https address browsers keep to https for two years (RFC 6797)


def also(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    """Whatever is sent has these headers, unless it says otherwise itself."""

    async def give(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            message = {**message, "headers": [*message["headers"], *(h for h in headers if h[0] not in said)]}
        await send(message)

    return give


HERE = frozenset({"localhost", "127.0.0.1", "[::1]"})


def here_only(app: ASGIApp) -> ASGIApp:
    """The app without https, in a container that publishes it on the loopback address: whoever calls it by another name came over a network."""

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if re.sub(r":\d*$", "", host).lower() not in HERE:
                text = "This address is not served in the clear beyond this machine: set GATEWAY_BASE_URL to the https address that people use."
                await problem_response(Problem("misdirected", text))(scope, receive, send)
                return
        await app(scope, receive, send)

    return enter


def saying(headers: Sequence[tuple[bytes, bytes]], app: ASGIApp) -> ASGIApp:
    """The app, each answer of which, also to whoever is turned away, has these headers."""

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, also(send, headers) if scope["type"] == "http" else send)

    return enter


def offered(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """The methods that some route has at this address, as `Allow` says them; those of files when it is below a mount."""
    here = [r for r in routes if r.matches(scope)[0] is not Match.NONE]
    return ", ".join(sorted({m for r in here for m in getattr(r, "methods", None) or ()})) or "GET, HEAD"


async def health(web: Web, request: Request) -> Response:
    if await web.ready():
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "not ready"}, 503, {"Retry-After": "1"})


async def metrics(web: Web, request: Request) -> Response:
    if web.queues is not None:
        queues = await web.queues()
        web.queued.clear()  # a state in which nothing stands any more keeps no old figure
        for remote, states in queues.items():
            for state, n in states.items():
                web.queued.labels(remote, state).set(n)
    if web.waiting is not None:
        web.inbox.set(await web.waiting())
    if web.synced is not None:
        web.figures.seen = await web.synced()
    web.figures.told = await subscriber_states(web.house)
    return Response(generate_latest(web.registry), media_type=CONTENT_TYPE_LATEST)


__all__ = ["ASGIApp", "Receive", "Scope", "Send", "Web", "body", "build", "context", "guarded", "problem_response"]
