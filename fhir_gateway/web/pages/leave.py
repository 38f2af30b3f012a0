"""Leave this page: out of here at once, onto a page that anybody may be seen to read (docs/leaving.md).

Whoever presses it may have somebody behind them: it leads away whatever goes wrong here, and what goes wrong is logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import Response

from ...domain.problem import Problem
from .frame import Pages, check_form, go, same_origin
from .front import CLEARED

log = structlog.get_logger()


def leaving(pages: Pages) -> Callable[[Request], Awaitable[Response]]:
    """GET leads away and ends nothing; POST of a form of ours ends the session first, as signing out does."""

    async def leave(request: Request) -> Response:
        if request.method != "POST":
            return go(pages.leave)
        response = go(pages.leave, ended := await _ended(pages, request))
        if ended:
            response.headers["Clear-Site-Data"] = CLEARED
        return response

    return leave


async def _ended(pages: Pages, request: Request) -> list[str]:
    """Set-Cookie values: none where the form is somebody else's, which ends nothing."""
    try:
        if await _ours(pages, request):
            return await pages.sessions.end(request)
    except Exception:  # the store is away: the session ends by itself, half an hour later
        log.exception("unexpected", area="pages", method=request.method, route="leave")
        return pages.sessions.gone()
    return []


async def _ours(pages: Pages, request: Request) -> bool:
    """A form of this session; or an older one that is still open in this browser, which says itself that the page is ours."""
    try:
        await check_form(pages, request)
    except Problem as no:
        if no.kind != "forbidden":
            return False
        return same_origin(pages, request) and request.headers.get("sec-fetch-site") == "same-origin"
    return True


__all__ = ["leaving"]
