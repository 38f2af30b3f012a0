"""What the gateway publishes of its own at /fhir, for anyone, signed in or not: its profiles, extensions and forms."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from .. import definitions
from ..domain import strict
from .app import Web
from .messages import json

ABOUT: Final = {"Cache-Control": "public, max-age=60", "X-Content-Type-Options": "nosniff"}


def form(request: Request, parts: list[str]) -> Response | None:
    """A form of ours by id; None for any other address."""
    own = definitions.own_forms()
    return json(request, strict.dump(own[parts[1]]), headers=ABOUT) if len(parts) == 2 and parts[1] in own else None


def structure(web: Web, request: Request, parts: list[str]) -> Response | None:
    """A profile or an extension of ours, by id, or found by the address that resources and the CapabilityStatement call it by
    (`?url=`); None for any other address."""
    own = definitions.own_structures()
    if len(parts) == 2:
        return json(request, strict.dump(own[parts[1]]), headers=ABOUT) if parts[1] in own else None
    asked = request.query_params.multi_items()
    if parts != ["StructureDefinition"] or [name for name, _ in asked] != ["url"]:
        return None
    found = next((d for d in own.values() if asked[0][1] in (d["url"], f"{d['url']}|{d.get('version')}")), None)
    if found is None:
        return None
    entry = {"fullUrl": f"{web.base}/fhir/StructureDefinition/{found['id']}", "resource": found, "search": {"mode": "match"}}
    link = {"relation": "self", "url": f"{web.base}/fhir/StructureDefinition?{request.url.query}"}
    return json(request, strict.dump({"resourceType": "Bundle", "type": "searchset", "total": 1, "link": [link], "entry": [entry]}), headers=ABOUT)


__all__ = ["ABOUT", "form", "structure"]
