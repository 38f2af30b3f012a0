"""`/hl7v2`: HL7 v2 messages of registered systems over HTTP, each answered with its acknowledgement.

https://hapifhir.github.io/hapi-hl7v2/hapi-hl7overhttp/specification.html
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..around import adt
from ..domain import er7
from ..domain.problem import Problem
from .app import PRIVATE, Web, body, context, guarded
from .messages import media

TAKEN = frozenset(adt.MEDIA)


def routes(web: Web) -> list[Route]:
    return [Route("/hl7v2", guarded(web, "hl7v2", post), methods=["POST"])]


async def post(web: Web, request: Request) -> Response:
    """200 with AA, 400 with AR, 4xx with AE: the body is an ACK each time, once it is known who asks."""
    ctx = await context(web, request)
    kind, said = media(request)
    if kind not in TAKEN:
        raise Problem("unsupported-media", f"Send {adt.MEDIA[0]}, not `{kind[:60] or 'nothing'}`.", "Content-Type")
    heard = await adt.receive(ctx, await body(web, request, er7.MOST), said.get("charset", ""))
    return Response(heard.ack, heard.status, {**PRIVATE, **dict(heard.headers), "Content-Type": f"{adt.MEDIA[0]}; charset=utf-8"})
