"""What was sent to other services, and what was taken back, in plain words."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain.directory import ODS_CODE
from ...domain.problem import not_found
from ...gate import Context
from .frame import Pages, show
from .names import bodies, names, own_ids, partners_called
from .things import plural, title
from .words import _, day

ROWS: Final = 50
NOW: Final[dict[str, tuple[str, str]]] = {  # by state: a word, and a sentence
    "there": ("They have it", ""),
    "back": ("Taken back", ""),
    "asked-back": ("Being taken back", "We have asked for it back. We ask again until it is done."),
    "refused": ("Not back yet", "Their computer would not give it back. We have been told, and we will ask them to delete it."),
    "unanswered": ("Not sure", "It was on its way when the line broke. We are finding out if they have it."),
    "missing": ("Not sure", "Their computer may have lost it. We are finding out."),
    "ended": ("They say it is gone", "We could not take it back ourselves."),
    "parted": ("They may have it", "We are no longer linked to them. Ask them to delete it if you do not want them to have it."),
}
COLOURS: Final = {"there": "blue", "back": "green", "refused": "red"}


async def sent(pages: Pages, request: Request, ctx: Context) -> Response:
    """One row for each thing at each place and time; what should be back and is not comes first."""
    asked = request.query_params.get("page", "1")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0
    every = await gate.given(ctx)
    rows = every[(number - 1) * ROWS : number * ROWS] if number else []
    if not rows and number != 1:
        raise not_found()
    places = await partners_called(ctx)
    known = await names(ctx, {w for r in rows for w in (r.recipient, f"{ODS_CODE}|{r.recipient}", r.on_behalf_of)})
    titles = await _titles(ctx, rows)
    said = [_said(r, places.get(r.remote) or known.get(r.recipient) or known.get(f"{ODS_CODE}|{r.recipient}") or "", titles, known.get(r.on_behalf_of or "", "")) for r in rows]
    stubs = any(r.recall == "stub" and r.name in {g.remote for g in every if g.recalled} for r in ctx.house.remotes)
    late = sum(g.state == "refused" for g in every)
    return await show(
        pages, request, "sent.html", ctx=ctx, rows=said, number=number, more=len(every) > number * ROWS, stubs=stubs, late=late
    )  # fmt: skip


async def _titles(ctx: Context, rows: list[gate.Given]) -> dict[str, str]:
    """What each is called, as the person may see it."""
    out = {}
    for type in sorted({r.ref.type for r in rows}):
        ids = sorted({r.ref.id for r in rows if r.ref.type == type})
        whose = [] if type == "Patient" else [("patient", own_ids(ctx))]
        for body in await bodies(ctx, type, [("_id", ",".join(ids)), *whose, ("_count", str(ROWS))]):
            out[f"{type}/{body['id']}"] = title(body)
    return out


def _said(g: gate.Given, place: str, titles: dict[str, str], whom: str) -> dict[str, Any]:
    word, sentence = NOW[g.state]
    kind, name = plural(g.ref.type), titles.get(str(g.ref), "")
    return {
        "what": name or kind, "kind": kind if name and name != kind else "", "who": place or _("A service that we have no name for"),
        "whom": whom or (_("somebody in your team") if g.on_behalf_of else ""),
        "first": g.first, "last": g.last if day(g.last) != day(g.first) else None, "recalled": g.recalled,
        "word": _(word), "sentence": _(sentence) if sentence else "", "why": g.why, "fetched": g.fetched, "colour": COLOURS.get(g.state, "orange"),
    }  # fmt: skip
