"""Who can see my plan: the list, a grant in four steps, stop in two clicks. All of it is the person's Consent."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from ...gate import Context
from .draft import PARTS, PRIVATE, SECTORS, STEPS, Draft, mistakes, summary, until_words, what_words
from .frame import Pages, show
from .names import Choice, bodies, find, names
from .patient import own_id
from .words import _, day, today

DONE = {"shared", "stopped", "removed"}


# -- a grant in four steps --------------------------------------------------------------------------------------------


async def new(pages: Pages, request: Request, ctx: Context) -> Response:
    """Who, what, until when and why, a summary; only the last step saves. The form carries what was chosen so far."""
    if request.method != "POST":
        consent, version = await own_consent(ctx)
        return await _step(pages, request, ctx, "who", Draft(version=str(version)))
    form = request.state.form
    draft, wanted = Draft.of(form), form.get("go", "who")
    if wanted == "find":
        return await _step(pages, request, ctx, "who", draft)
    known = await name_of(ctx, draft.who)
    before = STEPS if wanted == "save" else STEPS[: STEPS.index(wanted)] if wanted in STEPS else ()
    for step in before:
        wrong = mistakes(draft, step, today(ctx.at), bool(known))
        if wrong:
            return await _step(pages, request, ctx, step, draft, errors=wrong)
    if wanted == "save":
        return await _save(pages, request, ctx, draft, known)
    return await _step(pages, request, ctx, wanted if wanted in STEPS else "who", draft)


async def _step(
    pages: Pages, request: Request, ctx: Context, step: str, draft: Draft, *, errors: dict[str, str] | None = None,
    moved: bool = False,
) -> Response:  # fmt: skip
    choices: list[Choice] = []
    if step == "who":
        found = await find(ctx, draft.find) if draft.find else []
        if draft.find and not found:
            errors = {**(errors or {}), "find": _("We found nobody by that name. Try a part of the name.")}
        choices = await offered(ctx, draft, found)
    name = await name_of(ctx, draft.who)
    ready = step == "check"
    return await show(
        pages, request, "sharing/new.html", ctx=ctx, status=409 if moved else 200, step=step, draft=draft.values(),
        errors=errors or {}, choices=choices, name=name, moved=moved,
        parts=[(key, _(label), _(hint)) if hint else (key, _(label), "") for key, (label, hint) in PARTS.items()],
        labels=[(key, _(label)) for key, label in PRIVATE.items()],
        example=day(today(ctx.at) + timedelta(days=90)),
        what=what_words(draft.parts), private="\n".join(_(PRIVATE[p]) for p in draft.private),
        until=until_words(draft.last_day()) if ready else "", summary=summary(draft, name) if ready else "",
    )  # fmt: skip


async def offered(ctx: Context, draft: Draft, found: list[Choice]) -> list[Choice]:
    """Whom the first step offers: who was found, who is in the person's own team, then whole sectors."""
    out = {c.ref: c for c in [*found, *await _my_team(ctx)]}
    if draft.who and draft.who not in out and not draft.who.startswith("sector:"):
        name = await name_of(ctx, draft.who)
        out = {**({draft.who: Choice(draft.who, name)} if name else {}), **out}
    return [*out.values(), *(Choice(f"sector:{key}", _(text)) for key, text in SECTORS.items())]


async def _my_team(ctx: Context) -> list[Choice]:
    """Members of the person's teams that the directory knows, and the teams themselves."""
    teams = await bodies(ctx, "CareTeam", [("patient", own_id(ctx)), ("_count", "20")])
    out: dict[str, Choice] = {}
    for team in teams:
        for member in team.get("participant", []):
            ref = (member.get("member") or {}).get("reference", "")
            if ref.split("/")[0] in ("Practitioner", "PractitionerRole", "Organization"):
                role = next((r.get("text") for r in member.get("role", []) if r.get("text")), "")
                out[ref] = Choice(ref, "", role or _("in your team"))
    known = await names(ctx, out)
    people = [Choice(ref, known[ref], c.what) for ref, c in out.items() if known.get(ref)]
    return people + [
        Choice(f"CareTeam/{t['id']}", t["name"], _("everybody in this team")) for t in teams if t.get("name")
    ]


async def name_of(ctx: Context, who: str) -> str:
    """The name of whoever was chosen; empty when the directory and the person's own teams do not have them."""
    kind, _sep, id = who.partition(":")
    if kind == "sector":
        return _(SECTORS[id]) if id in SECTORS else ""
    if who.startswith("CareTeam/"):
        return next((c.name for c in await _my_team(ctx) if c.ref == who), "")
    return (await names(ctx, [who])).get(who, "")
