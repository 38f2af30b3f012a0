"""`/patients`: emergency access, saying that one looks after somebody, finding a person by name and number. JSON in and out."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import gate
from ..domain import strict
from ..domain.problem import Problem
from ..gate import Named
from .app import PRIVATE, Web, body, context, guarded
from .messages import plain, sent_json

PAPER = ("nhs_number", "birth_date", "family_name")


def routes(web: Web) -> list[Route]:
    def at(path: str, handler: Any, method: str = "POST") -> Route:
        return Route(path, guarded(web, "patients", handler), methods=[method])

    return [
        at("/patients/find", find),
        at("/patients/break-glass", break_glass),
        at("/patients/claims", claim),
        at("/patients/{id}/break-glass", break_glass),
        at("/patients/{id}/break-glass", end_emergency, "DELETE"),
        at("/patients/{id}/claims", claim),
        at("/patients/{id}/link", link),
        at("/patients/{id}/claims", end_claim, "DELETE"),
    ]


async def find(web: Web, request: Request) -> Response:
    """The id of the person whom NHS number, date of birth and family name name together, for who may see something of theirs."""
    ctx = await context(web, request)
    said = await _said(web, request, PAPER)
    return plain({"patient": await gate.find(ctx, Named.said(said))})


async def break_glass(web: Web, request: Request) -> Response:
    """201 and until when; 200 for one that is under way with the same words."""
    ctx = await context(web, request)
    whom, said = await _whom(web, request, ("reason", "ground"))
    e = await gate.break_glass(ctx, whom, said.get("reason"), said.get("ground"))
    answer = {"id": e.id, "patient": e.patient.removeprefix("Patient/"), "ground": e.ground, "begun": e.at, "until": e.until}
    return plain(answer, 201 if e.at == ctx.at else 200)


async def end_emergency(web: Web, request: Request) -> Response:
    ctx = await context(web, request)
    await gate.end_emergency(ctx, request.path_params["id"])
    return Response(status_code=204, headers=PRIVATE)


async def claim(web: Web, request: Request) -> Response:
    """201 and until when."""
    ctx = await context(web, request)
    whom, said = await _whom(web, request, ("reason", "days"))
    c = await gate.claim(ctx, whom, said.get("reason"), said.get("days"))
    return plain({"id": c.id, "patient": c.patient.removeprefix("Patient/"), "begun": c.at, "until": c.until}, 201)


async def end_claim(web: Web, request: Request) -> Response:
    ctx = await context(web, request)
    await gate.end_claim(ctx, request.path_params["id"])
    return Response(status_code=204, headers=PRIVATE)


async def link(web: Web, request: Request) -> Response:
    """A link to this person's one screen, for whoever signs in and may see them, and until when it leads there."""
    ctx = await context(web, request)
    token, until = await gate.link_to(ctx, request.path_params["id"])
    return plain({"url": f"{web.base}/open/{token}", "until": until}, 201)


async def _whom(web: Web, request: Request, fields: tuple[str, ...]) -> tuple[str | Named, dict[str, Any]]:
    """Whom the address names, else the body; and the body."""
    id = request.path_params.get("id")
    said = await _said(web, request, fields if id else (*fields, *PAPER))
    return id or Named.said(said), said


async def _said(web: Web, request: Request, fields: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object of these fields and no others. Problem malformed, invalid, unsupported-media."""
    sent_json(request)
    said = strict.read(await body(web, request))
    unknown = sorted(said.keys() - set(fields))
    if unknown:
        raise Problem("invalid", f"`{unknown[0][:80]}` is not known here: send {', '.join(fields)}.", unknown[0][:80])
    return said


__all__ = ["routes"]
