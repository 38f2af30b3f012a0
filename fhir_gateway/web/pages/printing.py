"""A plan on paper: the button that prints it, and the page behind the square on the paper."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ... import gate
from ...around import printing
from ...domain.problem import Problem, not_found
from ...gate import Context
from . import languages
from .asking import everybody
from .finding import find
from .frame import Pages, headers, show
from .names import own_id
from .team import id_of
from .words import _, day, moment

FIELDS = ("for", "as", "find")
SEES_NONE = "{who}: may not see your plan now, so there is nothing to print for them. You can choose on the page about sharing what they may see."
UNSAFE = re.compile(r"[^A-Za-z0-9]+")


async def mine(pages: Pages, request: Request, ctx: Context) -> Response:
    """The person's own: for whom, and as what; then the booklet."""
    if request.method != "POST":
        return await _asked(pages, request, ctx, "/my-plan/print", text=request.query_params.get("find", "").strip()[:100])
    whom = str(request.state.form.get("for", ""))[:400]
    people = {p.ref: p.name for p in await everybody(ctx, whom, [])} if whom else {}
    if whom and whom not in people:
        return await _asked(pages, request, ctx, "/my-plan/print", {"for": _("Choose whom you print it for.")}, status=422)
    if whom and whom not in await gate.who_can_read(ctx, own_id(ctx), [whom]):
        return await _asked(pages, request, ctx, "/my-plan/print", {"for": _(SEES_NONE).format(who=people[whom])}, status=422)
    return await _printed(pages, request, ctx, own_id(ctx), "/my-plan/print", whom, people.get(whom, ""))


async def theirs(pages: Pages, request: Request, ctx: Context) -> Response:
    """For a member of the team, or who acts for the person: what they see, on paper."""
    id = id_of(request)
    here = f"/team/people/{id}/print"
    if request.method != "POST":
        await _may_open(ctx, id)
        return await _asked(pages, request, ctx, here)
    return await _printed(pages, request, ctx, id, here, "", "")


async def behind(pages: Pages, request: Request, ctx: Context | None) -> Response:
    """Behind the square: is there a newer version of this paper. To anybody this and nothing else; to who may see the plan, the way there."""
    if ctx is None:
        pages.stranger(request)
    token = str(request.path_params["token"])
    newest = await printing.is_newest(pages.house, token, ctx)
    way = await _way(ctx, token) if ctx is not None and newest is not None else ""
    return await show(pages, request, "printed.html", ctx=ctx, status=404 if newest is None else 200, newest=newest, way=way)


# -- what they share --------------------------------------------------------------------------------------------------


async def _asked(
    pages: Pages, request: Request, ctx: Context, here: str, errors: dict[str, str] | None = None, *, text: str = "", missing: str = "", status: int = 200
) -> Response:
    mine = here == "/my-plan/print"
    found = await find(ctx, text) if mine and text else []
    errors = errors or ({"find": _("We found nobody by that name. Try a part of the name.")} if text and not found else {})
    people = await everybody(ctx, "", found) if mine else []
    readers = await gate.who_can_read(ctx, own_id(ctx), [p.ref for p in people]) if mine else frozenset()
    if found and readers.isdisjoint(p.ref for p in found):
        errors = errors or {"find": _(SEES_NONE).format(who=", ".join(p.name for p in found))}
    people = [p for p in people if p.ref in readers]
    return await show(pages, request, "print.html", ctx=ctx, status=status, here=here, mine=mine, people=people, find=text, errors=errors, missing=missing)


async def _printed(pages: Pages, request: Request, ctx: Context, patient: str, here: str, whom: str, name: str) -> Response:
    as_page = request.state.form.get("as") == "page"
    if not as_page and not printing.can_pdf():
        return await _asked(pages, request, ctx, here, missing=printing.MISSING, status=503)
    language = languages.now.get()
    rtl, raw = language in languages.RIGHT_TO_LEFT, b""

    async def draw(sheet: printing.Sheet) -> None:
        nonlocal raw
        raw = await printing.pdf(sheet, say=_, moment=moment, language=language, rtl=rtl)

    try:
        sheet = await printing.print_plan(ctx, patient, pages.base_url, whom=whom, name=name, say=_, day=day, language=languages.locale(), draw=None if as_page else draw)
    except Problem as p:
        if not p.text.startswith(printing.LETTERS):
            raise
        return await _asked(pages, request, ctx, here, missing=printing.LETTERS, status=503)
    if as_page:
        return HTMLResponse(printing.html(sheet, say=_, moment=moment, language=language, rtl=rtl), headers=_only_its_own_style())
    file = f"plan-version-{sheet.printed.number}.pdf"
    return Response(raw, media_type="application/pdf", headers={**headers(), "Content-Disposition": f'inline; filename="{file}"'})


def _only_its_own_style() -> dict[str, str]:
    """The page brings its style along: this very one may be used, by its hash."""
    digest = b64encode(sha256(printing.css().encode()).digest()).decode()
    said = headers()
    return said | {"Content-Security-Policy": said["Content-Security-Policy"].replace("style-src 'self'", f"style-src 'sha256-{digest}'")}


async def _way(ctx: Context, token: str) -> str:
    """Where this reader finds the plan; "" where they may not see it."""
    id = await gate.printed_plan_of(ctx.house, token)
    if id is None:
        return ""
    if ctx.actor.kind == "patient":
        return ("/my-plan" if id == own_id(ctx) else f"/my-plan?record={id}") if f"Patient/{id}" in ctx.answers_for else ""
    try:
        await _may_open(ctx, id)
    except Problem:
        return ""
    return f"/team/people/{id}"


async def _may_open(ctx: Context, id: str) -> None:
    """Problem not-found unless this reader sees something of the person's plan."""
    params: list[tuple[str, str]] = [("patient", id), ("_count", "1"), ("_elements", "id")]
    if not any(e.body for e in (await gate.search(ctx, "CarePlan", params)).entries):
        raise not_found()


__all__: list[Any] = ["FIELDS", "behind", "mine", "theirs"]
