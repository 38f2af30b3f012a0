"""What volunteers wrote for somebody, in plain words: the person accepts it, or does not."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import strict
from ...domain.bundle import references
from ...domain.drafts import Item, made_of
from ...domain.problem import Problem, not_found
from ...domain.vocabulary import ACCEPT_DRAFT, TASK_SYSTEM
from ...gate import Context, Waiting
from .frame import Pages, go, show
from .leaves import changed, every
from .names import bodies, names
from .people import ID
from .things import plural
from .versions import label
from .words import _, moment

DID: Final = {"POST": "New", "PUT": "Changed", "DELETE": "To be taken away"}


async def drafts(pages: Pages, request: Request, ctx: Context) -> Response:
    """Every draft that waits, with what it would change."""
    return await _page(pages, request, ctx, request.query_params.get("done", ""))


async def answer(pages: Pages, request: Request, ctx: Context) -> Response:
    """The person accepts it, or does not."""
    said = str(request.state.form.get("answer", ""))
    id = str(request.path_params["id"])
    if said not in ("accept", "refuse") or not ID.fullmatch(id):
        raise not_found()
    try:
        await gate.answer_draft(ctx, str(ctx.actor.patient), id, said)  # type: ignore[arg-type]
    except Problem as p:
        if p.kind not in ("stale", "forbidden"):
            raise
        return await _page(pages, request, ctx, p.kind, 409 if p.kind == "stale" else 403)
    return go(f"/my-plan/drafts?done={said}")


async def _page(pages: Pages, request: Request, ctx: Context, done: str, status: int = 200) -> Response:
    waiting = await gate.drafts_for(ctx, str(ctx.actor.patient))
    said = [strict.decode(i.body.encode()) for w in waiting for i in w.draft.items if i.body] + [now for w in waiting for now in w.before.values()]
    spoken_of = {r for resource in said for r in references(resource)}
    known = await names(ctx, spoken_of | {w.draft.organisation for w in waiting} | {w.draft.by for w in waiting})
    return await show(pages, request, "drafts.html", ctx=ctx, status=status, drafts=[_said(w, known) for w in waiting], done=done)


def _said(w: Waiting, known: dict[str, str]) -> dict[str, Any]:
    d = w.draft
    return {
        "id": d.id, "who": d.name or known.get(d.by) or _("Somebody"), "place": known.get(d.organisation or "", ""), "when": moment(d.at), "fits": w.fits, "may": w.may,
        "items": [_item(i, w, known) for i in d.items if not i.ref.startswith("Provenance/") or made_of(i)],
    }  # fmt: skip


def _item(item: Item, w: Waiting, known: dict[str, str]) -> dict[str, Any]:
    """What would be there, part by part; of a change what is there now, too; of what would be taken away all that would go."""
    new, now = strict.decode(item.body.encode()) if item.body else {}, w.before.get(item.ref, {})
    if item.ref.startswith("Provenance/"):  # of which nothing else is written
        new = {"entity": made_of(item)}
    rows = [{"label": label(k), "was": every(now.get(k), known), "new": every(new.get(k), known) or _("Nothing")} for k in changed(now, new)] if new else []
    goes = [{"label": label(k), "was": "", "new": every(now[k], known)} for k in changed({}, now)] if item.method == "DELETE" else []
    return {"what": item.title or plural(item.ref.split("/")[0])[0], "did": _(DID[item.method]), "rows": rows or goes, "goes": bool(goes)}


async def waiting(ctx: Context, person: str) -> int:
    """How many drafts this reader may know of that wait for this person: who acts for them, by the drafts that they are shown."""
    if ctx.actor.kind in ("patient", "proxy"):
        return await gate.drafts_seen(ctx, f"Patient/{person}")
    asked = [("patient", person), ("status", "requested"), ("code", f"{TASK_SYSTEM}|{ACCEPT_DRAFT}"), ("_count", "50")]
    return len(await bodies(ctx, "Task", asked))


__all__ = ["answer", "drafts", "waiting"]
