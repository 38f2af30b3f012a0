"""Coming from one's own system with a person open there (docs/launch.md): off to where it signs people in, and back onto that person's one screen."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...auth.launching import WHY, Launches, stopped
from ...domain.problem import Problem
from ...gate import Context
from .frame import Pages, go, show, with_cookies


async def launch(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """`?iss&launch`: on to their system, for a system that is registered; else a page that says why not."""
    pages.stranger(request)
    try:
        launches = _here(pages)
        where, kept = await launches.begin(request.query_params.get("iss", ""), request.query_params.get("launch", ""))
    except Problem as no:
        return await _not_in(pages, request, no)
    return go(where, [*launches.beyond(request.cookies), launches.carried(kept)])


async def callback(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """Back from there: signed in, onto the person's one screen; else a page that says why not, and nothing of anybody."""
    pages.stranger(request)
    kept: list[str] = []
    try:
        launches = _here(pages)
        begun = launches.kept(request.cookies, request.query_params.get("state", ""))
        kept = [launches.carried(begun, ended=True)] if begun else []
        told = await launches.finish(str(request.path_params["name"]), request.query_params, begun)
        caller, person = await gate.launched(pages.house, told, pages.base_url)
    except Problem as no:
        return await _not_in(pages, request, no, kept)
    return go(f"/team/people/{person}/in-a-hurry", [*await pages.sessions.start(caller, request.cookies), *kept])


def _here(pages: Pages) -> Launches:
    if pages.launches is None:
        raise stopped("launch-unknown", "nobody comes here from elsewhere")
    return pages.launches


async def _not_in(pages: Pages, request: Request, no: Problem, ended: Sequence[str] = ()) -> Response:
    """A page that says why not. What another window of this browser has begun goes on."""
    if no.where not in WHY:
        raise no
    await gate.not_launched(pages.house, no)
    page = await show(pages, request, "launch.html", status=no.status, why=no.where.removeprefix("launch-"))
    return with_cookies(page, ended)


__all__ = ["callback", "launch"]
