"""Attachments: a Binary as FHIR JSON or as the bytes it holds, in and out. https://hl7.org/fhir/R4/binary.html#rest"""

from __future__ import annotations

import base64
import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..domain import strict
from ..domain.problem import Problem
from .app import PRIVATE, Web, body, too_large
from .messages import media

MEDIA = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}\Z")
AROUND = 64 * 1024  # what a Binary has besides its data
# Never shown in our own origin, whatever it says it is.
INERT = {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox; default-src 'none'"}


async def sent(web: Web, request: Request, as_json: bool, id: str = "") -> bytes:
    """The JSON text of the Binary in the body. Problem too-large when its data is more than the setting allows, unsupported-media."""
    if as_json:
        raw = await body(web, request, web.binary_limit * 4 // 3 + AROUND)
        data = strict.read(raw).get("data") if len(raw) > web.binary_limit or len(raw) > web.body_limit else None
        size = len(data) * 3 // 4 - data[-2:].count("=") if isinstance(data, str) else 0
        if size > web.binary_limit:
            raise too_large(web.binary_limit)
        if len(raw) - (len(data) if isinstance(data, str) else 0) > web.body_limit:
            raise too_large(web.body_limit)
        return raw
    kind, _ = media(request)
    if not MEDIA.match(kind):
        raise Problem("unsupported-media", "Say in Content-Type what these bytes are.", "Content-Type")
    held = await body(web, request, web.binary_limit)
    about = {"reference": request.headers["x-security-context"]} if request.headers.get("x-security-context") else None
    resource = {"resourceType": "Binary", **({"id": id} if id else {}), "contentType": kind, **({"securityContext": about} if about else {})}
    if held:
        resource["data"] = base64.b64encode(held).decode()
    return msgspec.json.encode(resource)


def bare(raw: bytes, headers: dict[str, str]) -> Response:
    """The bytes that this Binary holds, to be saved and never to be rendered."""
    resource = strict.decode(raw)
    kind = str(resource.get("contentType", ""))
    media = kind if MEDIA.match(kind.partition(";")[0].strip()) and kind.isascii() and kind.isprintable() else "application/octet-stream"
    held = base64.b64decode(resource.get("data", ""))
    return Response(held, 200, {**PRIVATE, **INERT, **headers, "Content-Type": media})
