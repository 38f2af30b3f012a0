"""What a subscriber asks of a Subscription. http://hl7.org/fhir/uv/subscriptions-backport"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .. import gate
from ..domain import strict
from ..gate import Context
from ..sync import hooks
from .app import Web, address, guarded
from .messages import json, ref
from .operations import given


async def status(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """Subscription/$status and Subscription/[id]/$status: a searchset of Parameters. Problem not-found."""
    return json(request, strict.dump(await gate.status(ctx, ref(parts).id if len(parts) == 3 else None, await given(web, request))))


async def events(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """Subscription/[id]/$events: what was told, from a number on, as far as it may still be seen. Problem not-found, bad-request."""
    return json(request, strict.dump(await gate.events(ctx, ref(parts).id, await given(web, request))))


# -- a partner calls --------------------------------------------------------------------------------------------------

APART = 0.2  # seconds between two calls of one partner that are written down


def routes(web: Web) -> list[BaseRoute]:
    """Where partners call when something changed there (`sync.hooks`)."""
    last: dict[str, float] = {}
    later: dict[str, asyncio.Task[None]] = {}

    async def write_down(name: str, wait: float) -> None:
        await asyncio.sleep(wait)
        later.pop(name, None)
        last[name] = asyncio.get_running_loop().time()
        await hooks.call(web.house, name)

    async def called(web: Web, request: Request) -> Response:
        """One answer to everybody, right or wrong: an empty 200. The body is not read."""
        name, now = request.path_params["remote"], asyncio.get_running_loop().time()
        known = any(r.name == name for r in web.house.remotes)
        if not hooks.knows(web.house, name, request.path_params["secret"]) or not known:
            web.admission.stranger(address(request))
        elif (wait := last.get(name, -APART) + APART - now) <= 0:
            last[name] = now
            await hooks.call(web.house, name)
        elif name not in later:
            later[name] = asyncio.create_task(write_down(name, wait))
        return Response(headers={"Cache-Control": "no-store"})

    return [Route("/sync/hook/{remote}/{secret}", guarded(web, "hook", called), methods=["POST"])]
