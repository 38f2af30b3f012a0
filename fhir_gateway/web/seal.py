"""A sealed gateway: an older copy of the store was put in its place, and nothing is disclosed until somebody has seen to that.

Every address answers 503, in the words of those who come to it. docs/backup.md . But leaving a page leads away, as always: it tells nothing,
and whose sessions those were has ended (docs/leaving.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..domain.problem import Problem
from ..store.base import Unavailable
from .app import problem_response
from .pages.frame import render

SAID = "The records here come from an older copy. They stay closed until what people have decided since is in force again."
PROGRAMS = ("/fhir", "/plans", "/patients", "/oauth", "/openapi.json", "/metrics", "/.well-known")
LATER = {"Retry-After": "60", "Cache-Control": "no-store"}


def sealed(app: ASGIApp, still: Callable[[], Awaitable[bool]]) -> ASGIApp:
    """`app` behind the seal; `still` is asked on each request, until it says no."""

    async def closed() -> bool:
        try:
            return await still()
        except Unavailable:
            return True

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path.startswith("/static/") or path == "/leave" or not await closed():
            await app(scope, receive, send)
            return
        await refusal(Request(scope, receive), path)(scope, receive, send)

    return front


def refusal(request: Request, path: str) -> Response:
    if path == "/health":
        return JSONResponse({"status": "sealed"}, 503, LATER)
    if any(path == place or path.startswith(f"{place}/") for place in PROGRAMS):
        return problem_response(Problem("unavailable", SAID, headers=LATER))
    page = render(request, "errors/sealed.html", status=503)
    page.headers.update(LATER)
    return page
