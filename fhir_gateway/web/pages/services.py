"""Services to choose from: a search box and a plain list, for everybody who is signed in. Nothing of anybody is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...around import services
from ...domain.problem import Problem
from ...gate import Context
from .frame import Pages, show
from .words import _

LONGEST = 80  # characters of what is typed


async def find(pages: Pages, request: Request, ctx: Context) -> Response:
    """A menu of services, by words, kind and postcode."""
    asked = {k: request.query_params.get(k, "")[:LONGEST] for k in ("words", "near")}
    kind, page, anywhere = request.query_params.get("kind", "")[:300], request.query_params.get("page", ""), request.query_params.get("anywhere", "")
    anywhere = anywhere if anywhere in ("yes", "named") else ""
    errors: dict[str, str] = {}
    menu = services.Menu(())
    try:
        menu = await services.offers(ctx, asked["words"], asked["near"], kind, anywhere=anywhere, page=page)
    except Problem as p:
        if p.where != "near":
            raise
        errors["near"] = _("Write a postcode, or its first half, as in NR30.")
    person = request.query_params.get("for", "")[:64]
    kept: list[tuple[str, str]] = [(k, v) for k, v in (*asked.items(), ("kind", kind), ("for", person)) if v]
    every: list[tuple[str, str]] = await services.kinds(ctx, _known(pages))
    return await show(
        pages, request, "services.html", ctx=ctx, status=400 if errors else 200, errors=errors, asked={**asked, "kind": kind}, kinds=every,
        menu=menu, kept=kept, anywhere=anywhere, person=person,
    )  # fmt: skip


async def look(pages: Pages, request: Request, ctx: Context) -> Response:
    """One service, and the way to ask for it."""
    return await one(pages, request, ctx, str(request.path_params["id"]), request.query_params.get("for", "")[:64], {"days": "90"}, {})


async def one(pages: Pages, request: Request, ctx: Context, id: str, person: str, given: Mapping[str, str], errors: Mapping[str, str]) -> Response:
    """A service (an id), with what was typed (`given`) and what is wrong with it. Each page has a name of its own, so that what is sent twice from it is asked once."""
    found = await services.offer(ctx, id)
    return await show(pages, request, "service.html", ctx=ctx, status=422 if errors else 200, offer=found, person=person, given=given, errors=errors, once=given.get("once") or ctx.house.new_id())


def _known(pages: Pages) -> dict[str, Any]:
    kept: dict[str, Any] = pages.more.setdefault("kinds of service", {})
    return kept
