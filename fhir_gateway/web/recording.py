"""`/patients/{id}/facts` and `/patients/{id}/roles`: what staff with the right to record may say about a person."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import gate
from ..domain.problem import Problem, not_found
from ..gate import Context, Written
from ..gate.context import need_scope
from .app import Web, body, context, guarded
from .messages import ID, plain, sent_json


class Fact(msgspec.Struct, forbid_unknown_fields=True):
    """`fact` is national-data-opt-out, capacity-lost, no-notify or safeguarding-proxy; `who` the proxy of the last."""

    fact: str
    on: bool = True
    evidence: str = ""
    who: str = ""


class Role(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody to act for the person: `proxy` is `RelatedPerson/…`, `grantor` an ODS code, `present` who was there (`Type/id` or words), `start` and `end` days."""

    proxy: str
    basis: str
    grantor: str
    evidence: str
    present: str = ""
    status: str = "active"
    start: str = ""
    end: str = ""


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """A role's new status and a status reason of the NHS Validated Relationships Service; `text` goes with OTHER."""

    status: str
    reason: str
    text: str = ""


def routes(web: Web) -> list[Route]:
    """`/patients/{patient}/facts` and `/patients/{patient}/roles`."""
    return [
        Route("/patients/{patient}/facts", guarded(web, "patients", record), methods=["POST"]),
        Route("/patients/{patient}/roles", guarded(web, "patients", appoint), methods=["POST"]),
        Route("/patients/{patient}/roles", guarded(web, "patients", roles), methods=["GET"]),
        Route("/patients/{patient}/roles/{consent}", guarded(web, "patients", change), methods=["POST"]),
    ]


async def record(web: Web, request: Request) -> Response:
    """POST a fact: where it is kept."""
    ctx, patient = await _asked(web, request, "u", "Patient")
    said = await shaped(web, request, Fact)
    return _wrote(await gate.record(ctx, patient, said.fact, on=said.on, evidence=said.evidence, who=said.who))


async def appoint(web: Web, request: Request) -> Response:
    """POST somebody to act for the person: 201."""
    ctx, patient = await _asked(web, request, "c", "Consent")
    r = await shaped(web, request, Role)
    written = await gate.appoint(
        ctx, patient, r.proxy, r.basis, grantor=r.grantor, evidence=r.evidence, present=r.present, status=r.status, start=r.start, end=r.end
    )
    return _wrote(written, 201)


async def roles(web: Web, request: Request) -> Response:
    """GET who acts for the person, with status and reason."""
    ctx, patient = await _asked(web, request, "r", "Consent")
    return plain({"roles": await gate.roles(ctx, patient)})


async def change(web: Web, request: Request) -> Response:
    """POST a role's new status."""
    ctx, patient = await _asked(web, request, "u", "Consent")
    said = await shaped(web, request, Change)
    consent = request.path_params["consent"]
    if not ID.match(consent):
        raise not_found()
    return _wrote(await gate.change_role(ctx, patient, consent, said.status, said.reason, said.text))


async def _asked(web: Web, request: Request, letter: str, type: str) -> tuple[Context, str]:
    ctx = await context(web, request)
    need_scope(ctx, letter, type)
    patient = request.path_params["patient"]
    if not ID.match(patient):
        raise not_found()
    return ctx, patient


async def shaped(web: Web, request: Request, shape: type[Any]) -> Any:
    """The body in this shape. Problem malformed for what is no JSON, bad-request for what has another shape."""
    sent_json(request)
    try:
        return msgspec.json.decode(await body(web, request), type=shape)
    except msgspec.ValidationError as wrong:
        raise Problem("bad-request", f"{wrong}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed", "The body is not JSON, or nested too deep.") from None


def _wrote(w: Written, status: int = 200) -> Response:
    """Where it is kept, and in which version; nothing of what is kept there."""
    return plain({"kept": str(w.ref), "version": w.version, "did": w.did}, status)
