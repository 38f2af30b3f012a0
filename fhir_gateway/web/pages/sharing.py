"""Who can see my plan: the list, a grant in four steps, stop in two clicks. All of it is the person's Consent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import sharing, strict
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...domain.vocabulary import PROXY_BASIS_SUFFIX
from ...gate import Context
from .carers import carers, urgent_care
from .draft import DETAILS, PARTS, PRIVATE, STEPS, Draft, given_words, mistakes, summary, until_words, what_words
from .frame import Pages, go, show
from .names import DIRECTORY, Choice, find
from .patient import own_id
from .whom import name_of, names_of, offered
from .words import _, day, today

DONE = {"shared", "stopped", "refused", "not-true"}
RULE = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Held:
    """One Consent of the person as it is now."""

    ref: Ref
    version: int
    body: dict[str, Any]

    @property
    def stamp(self) -> str:
        """What a form remembers of it, to notice that it changed meanwhile."""
        return f"{self.ref.id}.{self.version}"


async def consents(ctx: Context) -> list[Held]:
    """The person's consents in effect; one in the form of these pages comes first, if there is one."""
    asked = [("patient", own_id(ctx)), ("status", "active"), ("_count", "100")]
    page = await gate.search(ctx, "Consent", asked)
    held = [Held(e.ref, e.version, strict.read(e.body)) for e in page.entries if e.body and e.mode == "match"]
    return sorted(held, key=lambda h: (not sharing.is_ours(h.body), h.ref.id))


async def own(ctx: Context) -> Held | None:
    """The one that these pages write."""
    return next((h for h in await consents(ctx) if sharing.is_ours(h.body)), None)


async def keep(ctx: Context, before: Held | None, body: dict[str, Any]) -> bool:
    """Write the changed consent; False when it was changed meanwhile. Then nothing was written."""
    raw = strict.dump(body)
    try:
        if before is None:
            await gate.create(ctx, "Consent", raw)
        else:
            await gate.update(ctx, before.ref, raw, if_match=before.version)
    except Problem as p:
        if p.kind in ("stale", "conflict"):
            return False
        raise
    return True


# -- the list ---------------------------------------------------------------------------------------------------------


async def overview(pages: Pages, request: Request, ctx: Context) -> Response:
    held = await consents(ctx)
    mine = [r for h in held if sharing.is_ours(h.body) for r in sharing.rows(h.body)]
    others = [_acting(r, h.body) for h in held if not sharing.is_ours(h.body) for r in sharing.rows(h.body)]
    surprises = list(dict.fromkeys(s for h in held if not sharing.is_ours(h.body) for s in sharing.lint(h.body)))
    known = await names_of(ctx, {w for r in (*mine, *others) for w in r.who})
    done = request.query_params.get("done", "")
    no = {w for r in mine if not r.allows and not r.kinds for w in r.who}
    return await show(
        pages, request, "sharing/overview.html", ctx=ctx, done=done if done in DONE else "",
        chosen=[said(r, known, today(ctx.at)) for r in mine], others=[said(r, known, today(ctx.at)) for r in others],
        surprises=surprises,
        carers=await carers(ctx, no), urgent=await urgent_care(ctx, no),
    )  # fmt: skip


def _acting(row: sharing.Row, consent: Mapping[str, Any]) -> sharing.Row:
    """A consent that lets somebody act for the person says so."""
    codings = (consent.get("policyRule") or {}).get("coding", ())
    acts = any(str(c.get("system", "")).endswith(PROXY_BASIS_SUFFIX) for c in codings)
    return replace(row, why=_("They act for you")) if acts and row.allows and not row.why else row


def said(row: sharing.Row, known: Mapping[str, str], on: date) -> dict[str, Any]:
    """One choice in plain words."""
    what = what_words(row.kinds) if row.kinds else _("Everything") if row.what == "everything" else row.what
    if row.labels and row.allows:
        what += "\n" + _("Also private things: {labels}").format(labels=", ".join(_(PRIVATE[x]) for x in row.labels))
    if row.ours and row.allows:
        what += "\n" + _(DETAILS)
    return {
        "id": row.id if row.ours else "", "no": not row.allows, "what": what, "why": row.why,
        "who": ", ".join(known.get(w) or _("Somebody we have no name for") for w in row.who) or _("Everybody"),
        "since": day(row.since) if row.since else "", "until": until_words(row.until),
        "ended": bool(row.until and row.until < on),
    }  # fmt: skip


# -- a grant in four steps --------------------------------------------------------------------------------------------


async def new(pages: Pages, request: Request, ctx: Context) -> Response:
    """Who, what, until when and why, a summary; only the last step saves. The form carries what was chosen so far."""
    if request.method != "POST":
        held = await own(ctx)
        return await _step(pages, request, ctx, "who", Draft(version=held.stamp if held else NONE))
    form = request.state.form
    draft, wanted = Draft.of(form), form.get("go", "who")
    if wanted == "find":
        return await _step(pages, request, ctx, "who", draft)
    name = await name_of(ctx, draft.who)
    before = STEPS if wanted == "save" else STEPS[: STEPS.index(wanted)] if wanted in STEPS else ()
    for step in before:
        wrong = mistakes(draft, step, today(ctx.at), bool(name))
        if wrong:
            return await _step(pages, request, ctx, step, draft, errors=wrong)
    if wanted == "save":
        return await _save(pages, request, ctx, draft, name)
    return await _step(pages, request, ctx, wanted if wanted in STEPS else "who", draft)


NONE = "none"  # the stamp of a person who has chosen nothing yet


async def _save(pages: Pages, request: Request, ctx: Context, draft: Draft, name: str) -> Response:
    held = await own(ctx)
    stamp = held.stamp if held else NONE
    if stamp == draft.version:
        body = sharing.grant(
            held.body if held else None, f"Patient/{own_id(ctx)}", who=draft.who, kinds=draft.kinds(),
            labels=draft.private, until=draft.last_day(), at=ctx.at, rule_id=ctx.house.new_id(),
            words=summary(draft, name), why=draft.why,
        )  # fmt: skip
        if await keep(ctx, held, body):
            return go("/my-plan/sharing?done=shared")
        held = await own(ctx)
    draft = replace(draft, version=held.stamp if held else NONE)
    return await _step(pages, request, ctx, "check", draft, moved=True)


# -- stop, and saying no ----------------------------------------------------------------------------------------------


async def stop(pages: Pages, request: Request, ctx: Context) -> Response:
    """The question, then the end of it: the second click takes effect at once."""
    rule = str(request.path_params["rule"])
    if not RULE.match(rule):
        raise not_found()
    for held in await consents(ctx):
        found = next((r for r in sharing.rows(held.body) if r.ours and r.id == rule), None)
        if found:
            break
    else:
        raise not_found()
    if request.method == "POST":
        if not await keep(ctx, held, sharing.stop(held.body, rule, ctx.at)):
            raise Problem("conflict", "This was changed meanwhile.")
        return go("/my-plan/sharing?done=stopped")
    words = said(found, await names_of(ctx, set(found.who)), today(ctx.at))
    question = _("Take back your “no” to {who}?") if words["no"] else _("Stop sharing with {who}?")
    return await show(
        pages, request, "sharing/stop.html", ctx=ctx, rule=words, question=question.format(who=words["who"]),
        action=f"/my-plan/sharing/{rule}/stop",
    )  # fmt: skip


async def refuse(pages: Pages, request: Request, ctx: Context) -> Response:
    """Say no to somebody who looks after the person: they see nothing from then on, whoever else may."""
    posted = request.method == "POST"
    who = str((request.state.form if posted else request.query_params).get("who", ""))
    name = await name_of(ctx, who) if who.split("/")[0] in DIRECTORY or "|" in who else ""
    if not name:
        raise not_found()
    if posted:
        held = await own(ctx)
        body = sharing.hide(
            held.body if held else None, f"Patient/{own_id(ctx)}", who=who, at=ctx.at, rule_id=ctx.house.new_id(),
            words=_("{name} may see nothing.").format(name=name),
        )  # fmt: skip
        if not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
        return go("/my-plan/sharing?done=refused")
    return await show(pages, request, "sharing/refuse.html", ctx=ctx, who=who, name=name)


async def disown(pages: Pages, request: Request, ctx: Context) -> Response:
    """“I don't know them”: a no to whoever says that they look after the person, and the end of that, by one click."""
    id = str(request.path_params["id"])
    made = next((c for c in await gate.claims_about(ctx) if c["id"] == id), None)
    if made is None:
        raise not_found()
    held = await own(ctx)
    said = {w for r in (sharing.rows(held.body) if held else ()) if not r.allows and not r.kinds for w in r.who}
    if made["user"] not in said:
        body = sharing.hide(
            held.body if held else None, f"Patient/{own_id(ctx)}", who=made["user"], at=ctx.at, rule_id=ctx.house.new_id(),
            words=_("{name} may see nothing.").format(name=made["name"]), why=_("I do not know them."),
        )  # fmt: skip
        if not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
    await gate.disown(ctx, id)
    return go("/my-plan/sharing?done=not-true")


# -- the steps --------------------------------------------------------------------------------------------------------


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
        what=given_words(draft) if ready else "", private="\n".join(_(PRIVATE[p]) for p in draft.private),
        until=until_words(draft.last_day()) if ready else "", summary=summary(draft, name) if ready else "",
    )  # fmt: skip
