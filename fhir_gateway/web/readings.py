"""`/readings/sms`: a reading that somebody sent to a text message service, which passes it on. JSON in and out."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..around import readings
from ..domain.bundle import SAID
from ..domain.problem import Problem
from .app import PRIVATE, Web, context, guarded
from .messages import ID, plain
from .recording import shaped


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """`patient` is the person's id here, `text` what they typed, `at` when (an instant; now), `message` the service's own name of it."""

    patient: str
    text: str
    at: str = ""
    message: str = ""


def routes(web: Web) -> list[Route]:
    return [Route("/readings/sms", guarded(web, "readings", take), methods=["POST"])]


async def take(web: Web, request: Request) -> Response:
    """201 and where it is kept (`also`: the other readings of the message); 200 for a message that came before; 202 where a volunteer passed it on and it waits for the person."""
    ctx = await context(web, request)
    said = await shaped(web, request, Message)
    if not ID.match(said.patient):
        raise Problem("invalid", "`patient` is the id of a person here.", "patient")
    if len(said.message) > 100 or len(said.at) > 40:
        raise Problem("invalid", "`message` has at most 100 characters, `at` is an instant such as 2026-11-20T08:00:00Z.", "message")
    taken = await readings.by_message(ctx, said.patient, said.text, said.at, said.message)
    also = {"also": taken.also} if taken.also else {}
    if taken.draft:
        return plain({"waits": taken.ref, **also, "draft": taken.draft, "said": " ".join(s for s in (SAID["drafted"], taken.said) if s)}, 202, {**PRIVATE, "Location": f"{web.base}/fhir/{taken.draft}"})
    more = {"task": taken.task, "said": taken.said}
    return plain({"kept": taken.ref, **also, **{k: v for k, v in more.items() if v}}, 201 if taken.new else 200)


__all__ = ["routes"]
