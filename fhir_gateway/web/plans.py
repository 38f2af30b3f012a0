"""`/plans`: the personal plan as plain JSON, in and out."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import plans
from ..domain import strict
from ..domain.problem import Problem
from .app import PRIVATE, Web, body, context, guarded
from .messages import ID, plain, sent_json

ETAG: Final = re.compile(r'"[0-9a-f]{32}"')


def routes(web: Web) -> list[Route]:
    return [
        Route("/plans", guarded(web, "plans", post), methods=["POST"]),
        Route("/plans/schema", guarded(web, "plans", schema), methods=["GET"]),
        Route("/plans/{patient}", guarded(web, "plans", get), methods=["GET"]),
    ]


async def post(web: Web, request: Request) -> Response:
    """With If-Match only over the plan as its writer read it (412). 201 and where the plan is; 200 when it was here and changed or the same; 202 when a volunteer wrote it and it waits for the person."""
    ctx = await context(web, request)
    sent_json(request)
    saved = await plans.save(ctx, plans.read_plan(await body(web, request)), if_match=_seen(request))
    answer = {
        "patient": saved.patient, "written": saved.written, "unchanged": saved.unchanged, "refused": saved.refused,
        "unmapped": saved.unmapped,
    }  # fmt: skip
    headers = {**PRIVATE, "Location": f"/plans/{saved.patient}"}
    return plain(answer, 202 if saved.drafted else 201 if saved.written else 200, headers)


async def get(web: Web, request: Request) -> Response:
    """The plan, as far as this reader may see it; its ETag names that."""
    ctx = await context(web, request)
    patient = request.path_params["patient"]
    if not ID.match(patient):
        raise Problem("not-found", "There is nothing here by that name, or it is not for you to see.")
    plan = await plans.load(ctx, patient)
    return Response(strict.dump(plan), 200, {**PRIVATE, "ETag": f'"{plans.version_of(plan)}"'}, media_type="application/json")


def _seen(request: Request) -> str | None:
    """The ETag of the plan that the writer changed; None where they do not say."""
    said = request.headers.get("if-match")
    if said is None:
        return None
    tag = said.strip().removeprefix("W/")
    if not ETAG.fullmatch(tag):
        raise Problem("stale", 'If-Match is the ETag of the plan as you read it (`GET /plans/ID`), such as "0f3a…": one, in quotes.', "If-Match")
    return tag.strip('"')


async def schema(web: Web, request: Request) -> Response:
    return Response(msgspec.json.encode(plans.schema()), media_type="application/schema+json")
