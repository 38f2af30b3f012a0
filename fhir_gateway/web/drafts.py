"""`/patients/{patient}/drafts`: what volunteers wrote and the person has not accepted yet, for programs. JSON in and out, as the page has it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import gate
from ..domain import bundle, strict
from ..domain.problem import Problem, not_found
from ..gate import Context, Waiting, Written
from ..gate.context import need_scope
from .app import PRIVATE, Web, context, guarded
from .messages import ID, json, plain
from .recording import shaped

ANSWERS = ("accept", "refuse", "withdraw")


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """`answer` is accept or refuse, by the person; withdraw, by whoever wrote it."""

    answer: str


def routes(web: Web) -> list[Route]:
    """Look at what waits, and answer one of it."""
    return [
        Route("/patients/{patient}/drafts", guarded(web, "patients", look), methods=["GET"]),
        Route("/patients/{patient}/drafts/{draft}", guarded(web, "patients", answer), methods=["POST"]),
    ]


def kept(web: Web, request: Request, w: Written) -> Response:
    """202 for a FHIR write that is kept as a draft: where the Task is that says that it waits for the person. Nothing is changed yet."""
    said = msgspec.json.encode(bundle.informed(bundle.SAID["drafted"]))
    return json(request, said, 202, {**PRIVATE, "Location": f"{web.base}/fhir/{w.draft}"})


async def look(web: Web, request: Request) -> Response:
    """What waits, oldest first."""
    ctx, patient = await _asked(web, request)
    return Response(strict.dump({"drafts": [_said(w) for w in await gate.drafts_for(ctx, patient)]}), 200, PRIVATE, media_type="application/json")


async def answer(web: Web, request: Request) -> Response:
    """What was written by it: nothing, where it was not accepted."""
    ctx, patient = await _asked(web, request)
    said = (await shaped(web, request, Answer)).answer
    draft = str(request.path_params["draft"])
    if said not in ANSWERS:
        raise Problem("invalid", f"`{said[:40]}` is no answer: {', '.join(ANSWERS)}.", "answer")
    if not ID.fullmatch(draft):
        raise not_found()
    return plain({"draft": draft, "answer": said, "written": [str(r) for r in await gate.answer_draft(ctx, patient, draft, said)]})  # type: ignore[arg-type]


def _said(w: Waiting) -> dict[str, Any]:
    d = w.draft
    changes = [
        {
            "method": i.method, "ref": i.ref, **({"version": i.over} if i.over else {}), **({"title": i.title} if i.title else {}),
            **({"resource": strict.decode(i.body.encode())} if i.body else {}), **({"now": w.before[i.ref]} if w.before.get(i.ref) else {}),
        }
        for i in d.items
    ]  # fmt: skip
    return {"id": d.id, "by": d.by, "name": d.name, "at": d.at, "fits": w.fits, "may": w.may, "changes": changes}


async def _asked(web: Web, request: Request) -> tuple[Context, str]:
    ctx = await context(web, request)
    need_scope(ctx, "r" if request.method == "GET" else "u", "Task")
    patient = str(request.path_params["patient"])
    if not ID.fullmatch(patient):
        raise not_found()
    return ctx, f"Patient/{patient}"


__all__ = ["kept", "routes"]
