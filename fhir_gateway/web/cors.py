"""Calls from other people's pages: the origins that clients have registered may read our answers, nobody else's page may.

https://hl7.org/fhir/smart-app-launch/app-launch.html#considerations-for-cross-origin-resource-sharing-cors-support
Never with credentials: a page's cookies open nothing here. What anybody may read, anybody's page may (`PUBLIC`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth.clients import Origins
from ..store.base import Unavailable

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
SENT = (
    "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, Prefer, "
    "X-Purpose-Of-Use, X-Request-Id"
)
EXPOSED = "Content-Location, ETag, Last-Modified, Location, Retry-After, WWW-Authenticate"
PLACES = ("/fhir", "/plans", "/patients", "/oauth/token", "/oauth/revoke", "/oauth/introspect")
PUBLIC = ("/fhir/metadata", "/fhir/.well-known/", "/fhir/OperationDefinition/", "/.well-known/", "/oauth/jwks", "/openapi.json", "/plans/schema")


def crossing(inner: ASGIApp, origins: Origins, clock: Callable[[], datetime]) -> ASGIApp:
    """The app, with the answers that a browser needs around it. Costs a look at the headers where no page is calling."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        public = scope["type"] == "http" and path.startswith(PUBLIC)
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" and (public or _is_at(path)) else None
        if origin is None and not public:
            await inner(scope, receive, send)
            return
        allowed = "*" if public else await _registered(origins, origin or "", clock())
        if allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            await _preflight(send, allowed)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if not public:  # these are the same for everybody, and caches may keep them
                    headers.add_vary_header("Origin")
                if allowed:
                    headers["Access-Control-Allow-Origin"] = allowed
                    headers["Access-Control-Expose-Headers"] = EXPOSED
            await send(message)

        await inner(scope, receive, sent)

    return run


async def _registered(origins: Origins, origin: str, at: datetime) -> str:
    try:
        return origin if await origins.has(origin, at) else ""
    except Unavailable:
        return ""


def _is_at(path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in PLACES)


async def _preflight(send: Send, allowed: str) -> None:
    headers = {
        "Access-Control-Allow-Origin": allowed, "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": SENT,
        "Access-Control-Max-Age": "600", "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
    }  # fmt: skip
    raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": 204, "headers": raw})
    await send({"type": "http.response.body", "body": b""})
