"""Who has an identifier there: asked of that server, whatever its /metadata says, and believed only as far as what comes back bears it.

To name search parameters in /metadata is optional, and servers pass over those that they do not know: such a one answers with
everybody. https://hl7.org/fhir/R4/search.html#errors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..gate import House
from ..remote.client import Asking, Refusal
from ..remote.pages import Page
from ..remote.replies import objects, unsupported
from .partner import Partner
from .shapes import misshapen
from .state import keep_identity_search


async def may_be_asked(partner: Partner, type: str) -> bool:
    """Not where it refused since its /metadata was read."""
    await partner.met()
    return type not in partner.unasked


async def having(
    house: House, partner: Partner, type: str, system: str, value: str, bears: Callable[[dict[str, Any]], bool], asking: Asking | None = None
) -> list[dict[str, Any]] | None:
    """Those there that have this identifier, which each `bears`; `asking` is awaited before each request. None where that server cannot be asked: it does not offer this search, or takes
    no notice of it and has none such among those that it gave. Refusal where it is named in its /metadata and refused for another reason."""
    named = type in (await partner.met()).identified
    if not await may_be_asked(partner, type):
        return None
    try:
        page = await partner.server.identified(type, f"{system}|{value}", named=named, asking=asking)
    except Refusal as e:
        if named and not e.unsupported:
            raise
        partner.unasked.add(type)
        await _said(house, partner, type, False)
        return None
    given, found = _resources(page), [r for r in shaped(house, page, type) if bears(r)]
    refused = any(unsupported(r) for r in given if r.get("resourceType") == "OperationOutcome")
    heeded = not refused and "identifier" in (page.heeded or ("identifier",)) and all(_has(r, value) for r in given if r.get("resourceType") == type)
    if refused and not found:
        partner.unasked.add(type)
    await _said(house, partner, type, heeded)
    return found if found or heeded else None


def shaped(house: House, page: Page, type: str) -> list[dict[str, Any]]:
    """Of a page those of this type that are of a shape to be looked at."""
    return [r for r in _resources(page) if r.get("resourceType") == type and r.get("id") and misshapen(house, r) is None]


def _resources(page: Page) -> list[dict[str, Any]]:
    return objects([e.value.get("resource") for e in page.entries if not e.broken])


def _has(resource: Mapping[str, Any], value: str) -> bool:
    """In whatever use or spelling."""
    return any("".join(str(i.get("value")).split()) == "".join(value.split()) for i in objects(resource.get("identifier")))


async def _said(house: House, partner: Partner, type: str, asked: bool) -> None:
    if type == "Patient":
        await keep_identity_search(house, partner, asked)

