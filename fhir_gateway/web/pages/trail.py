"""The privacy officer's search of the audit, and its download. Each look is written down for each person shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ... import gate
from ...domain import strict
from ...domain.problem import Problem
from ...domain.types import Note
from ...gate import Context
from .acts import ACTS, OTHERWISE
from .frame import Pages, show
from .names import names
from .words import LONDON, _, typed_day

ROWS = 50
KEPT = ("person", "who", "what", *(f"{end}-{part}" for end in ("from", "to") for part in ("day", "month", "year")))
WHICH: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "": ("Everything", ()),
    "refused": ("Was told no", (("outcome", "8"),)),
    "looked": ("Looked at something", (("subtype", "read,vread,search,history,history-instance,operation"), ("outcome", "0"))),
    "changed": ("Changed something", (("subtype", "create,update,patch,delete,transaction,batch,sync,record,relabel"), ("outcome", "0"))),
    "sent": ("Was sent a copy, or told of a change", (("subtype", "disclose,recall,notify"),)),
    "emergency": ("Emergencies", (("subtype", "110127,110138,emergency-review"),)),
    "signed": ("Signed in or out", (("type", "110114"),)),
    "taken": ("Took a copy of the audit", (("subtype", "audit-export,audit-proof"),)),
}  # fmt: skip


async def search(pages: Pages, request: Request, ctx: Context) -> Response:
    asked, errors = request.query_params, dict[str, str]()
    params = await _params(ctx, asked, errors)
    rows: list[Note] = []
    more: str | None = None
    if not errors:
        if page := asked.get("page"):
            params = [("_page", page)]
        rows, more = await gate.trail_page(ctx, [*params, ("_count", str(ROWS))] if not asked.get("page") else params)
    known = await names(ctx, {n.organisation for n in rows} | {n.user for n in rows})
    kept = [(k, asked[k]) for k in KEPT if asked.get(k)]
    return await show(
        pages, request, "privacy_audit.html", ctx=ctx, status=400 if errors else 200, errors=errors, asked=asked, kept=kept, more=more,
        rows=[_said(n, known) for n in rows], which=[(code, _(words)) for code, (words, _terms) in WHICH.items()],
    )  # fmt: skip


async def download(pages: Pages, request: Request, ctx: Context) -> Response:
    """The same rows as AuditEvents, one a line, as many as there are."""
    errors: dict[str, str] = {}
    params = await _params(ctx, request.query_params, errors)
    if errors:
        raise Problem("bad-request", next(iter(errors.values())))
    found = gate.trail_events(ctx, params)
    first: list[dict[str, Any]] = await anext(found, [])

    async def lines() -> AsyncIterator[bytes]:
        yield b"".join(strict.dump(e) + b"\n" for e in first)
        async for events in found:
            yield b"".join(strict.dump(e) + b"\n" for e in events)

    headers = {"Content-Disposition": 'attachment; filename="audit.ndjson"', "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(lines(), media_type="application/fhir+ndjson", headers=headers)


async def _params(ctx: Context, asked: Mapping[str, str], errors: dict[str, str]) -> list[tuple[str, str]]:
    """What was typed, as FHIR asks it."""
    out: list[tuple[str, str]] = []
    person, who = asked.get("person", "").strip(), asked.get("who", "").strip()
    ref = await gate.whose_trail(ctx, person) if person else None
    if person and ref is None:
        errors["person"] = _("Nobody here has this id or NHS number: {person}").format(person=person)
    elif ref is not None:
        out.append(("patient", ref))
    if "/" in who:
        out.append(("agent", who))
    elif who:
        out.append(("agent-name:contains", who.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$")))
    for end, prefix, later in (("from", "ge", 0), ("to", "lt", 1)):
        day = typed_day(asked, end)
        if isinstance(day, str):
            errors[end] = day
        elif day is not None:
            out.append(("date", prefix + _midnight(day + timedelta(days=later))))
    return out + list(WHICH.get(asked.get("what", ""), WHICH[""])[1])


def _midnight(day: date) -> str:
    return datetime.combine(day, clock(), LONDON).isoformat()


def _said(n: Note, known: dict[str, str]) -> dict[str, Any]:
    """One row, as an auditor needs it: ids and kinds of things, nothing of their content."""
    place = known.get(n.organisation or "", n.organisation or "")
    return {
        "id": n.id, "at": n.at, "who": n.user_name or known.get(n.user) or n.user or _("Somebody"), "user": n.user, "organisation": place,
        "did": _(ACTS.get(n.what, OTHERWISE).officer), "patient": n.patient or "", "refs": ", ".join(r for r in n.refs if r != n.patient)[:400],
        "allowed": n.allowed, "why": ", ".join(w for w in (n.basis, n.rule, n.purpose, n.client) if w), "detail": n.detail,
    }  # fmt: skip
