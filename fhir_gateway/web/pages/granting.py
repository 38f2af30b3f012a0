"""Share with somebody, or change what they may see: four steps, a plain summary with what they would see, then saved at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import sharing
from ...domain.choices import Row
from ...domain.lint import lint
from ...domain.problem import not_found
from ...gate import Context
from . import details
from .draft import PARTS, PRIVATE, PURPOSES, STEPS, Draft, given_words, mistakes, summary, until_words
from .finding import find
from .frame import Pages, go, show
from .held import Held, choice, keep, own, replaced, stamp_of
from .names import Choice, own_id
from .sharing import RULE
from .sights import as_team, is_team, sentence, view_of
from .things import Thing, things
from .whom import name_of, offered
from .words import _, day, today


async def new(pages: Pages, request: Request, ctx: Context) -> Response:
    """Who, what, until when and why, a summary; only the last step saves. The form carries what was chosen so far."""
    if request.method != "POST":
        return await _step(pages, request, ctx, "who", Draft(version=stamp_of(await own(ctx))))
    return await _go_on(pages, request, ctx, None)


async def change(pages: Pages, request: Request, ctx: Context) -> Response:
    """The same steps with a choice as it is now; who it is stays."""
    rule = str(request.path_params["rule"])
    if not RULE.match(rule):
        raise not_found()
    held, row = await choice(ctx, rule)
    if not (row.allows and row.exact and len(row.who) == 1):
        raise not_found()
    if request.method != "POST":
        return await _step(pages, request, ctx, "what", Draft.of_choice(row, held.stamp))
    return await _go_on(pages, request, ctx, row)


async def _go_on(pages: Pages, request: Request, ctx: Context, old: Row | None) -> Response:
    form = request.state.form
    draft, wanted = Draft.of(form), form.get("go", "who")
    draft = replace(draft, rule=old.id, who=old.who[0]) if old else replace(draft, rule="")
    if wanted == "find" and not old:
        return await _step(pages, request, ctx, "who", draft)
    named = await _known(ctx)
    draft = replace(draft, things=tuple(t for t in draft.things if t in named or (old and t in old.refs)))
    name = await name_of(ctx, draft.who)
    before = STEPS if wanted == "save" else STEPS[: STEPS.index(wanted)] if wanted in STEPS else ()
    for step in before:
        wrong = mistakes(draft, step, today(ctx.at), bool(name) or old is not None)
        if wrong:
            return await _step(pages, request, ctx, step, draft, errors=wrong)
    if wanted == "save":
        return await _save(pages, request, ctx, draft, name)
    first = "what" if old else "who"
    return await _step(pages, request, ctx, wanted if wanted in STEPS and not (old and wanted == "who") else first, draft)


async def _save(pages: Pages, request: Request, ctx: Context, draft: Draft, name: str) -> Response:
    held = await own(ctx)
    if stamp_of(held) == draft.version:
        body = await _body(ctx, held, draft, name, await _known(ctx))
        if await keep(ctx, held, body):
            return go(f"/my-plan/sharing?done={'changed' if draft.rule else 'shared'}")
        held = await own(ctx)
    return await _step(pages, request, ctx, "check", replace(draft, version=stamp_of(held)), moved=True)


async def _body(ctx: Context, held: Held | None, draft: Draft, name: str, named: Mapping[str, str]) -> dict[str, Any]:
    """The consent as it would be saved, with the sentence that is true of this reader under it."""
    views = await _details(ctx, draft, held, _chosen(ctx, held, draft, ""))
    return _chosen(ctx, held, draft, summary(draft, name, named, views))


def _chosen(ctx: Context, held: Held | None, draft: Draft, words: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "who": draft.who, "kinds": draft.kinds(), "refs": draft.things, "labels": draft.private, "purpose": draft.purpose,
        "until": draft.last_day(), "words": words, "why": draft.why,
    }  # fmt: skip
    if draft.rule:
        if held is None:
            raise not_found()
        return sharing.change(held.body, draft.rule, at=ctx.at, **chosen)
    rule = ctx.house.new_id()
    return sharing.grant(held.body if held else None, f"Patient/{own_id(ctx)}", at=ctx.at, rule_id=rule, **chosen)


async def _details(ctx: Context, draft: Draft, held: Held | None, body: Mapping[str, Any]) -> frozenset[int]:
    found = await gate.details(ctx, [draft.who], choice=body, replaces=replaced(held), purpose=_asked(draft))
    return found[draft.who]


def _asked(draft: Draft) -> str:
    return next(iter(sharing.PURPOSES[draft.purpose]), "TREAT")


async def _known(ctx: Context) -> dict[str, str]:
    return {t.ref: t.name for t in await things(ctx)}


# -- the steps --------------------------------------------------------------------------------------------------------


async def _step(
    pages: Pages, request: Request, ctx: Context, step: str, draft: Draft, *, errors: dict[str, str] | None = None,
    moved: bool = False,
) -> Response:  # fmt: skip
    people: list[Choice] = []
    single: list[Thing] = []
    if step == "who":
        found = await find(ctx, draft.find) if draft.find else []
        if draft.find and not found:
            errors = {**(errors or {}), "find": _("We found nobody by that name. Try a part of the name.")}
        people = await offered(ctx, draft.who, found)
    elif step in ("what", "check"):
        single = await things(ctx)
    name = await name_of(ctx, draft.who) or _("Somebody we have no name for")
    return await show(
        pages, request, "sharing/new.html", ctx=ctx, status=409 if moved else 200, step=step, draft=draft.values(),
        errors=errors or {}, choices=people, name=name, moved=moved, things=single,
        action=f"/my-plan/sharing/{draft.rule}/change" if draft.rule else "/my-plan/sharing/new",
        parts=[(key, _(label), _(hint)) for key, (label, hint) in PARTS.items()],
        labels=[(key, _(label)) for key, label in PRIVATE.items()], identity=[("yes", *map(_, details.OFFER))],
        purposes=[(key, _(text)) for key, (text, *_more) in PURPOSES.items()],
        example=day(today(ctx.at) + timedelta(days=90)),
        **(await _checked(ctx, draft, name, {t.ref: t.name for t in single}) if step == "check" else {}),
    )  # fmt: skip


async def _checked(ctx: Context, draft: Draft, name: str, named: Mapping[str, str]) -> dict[str, Any]:
    """What the last step shows: the choice in words, what they would see, and what may surprise."""
    held = await own(ctx)
    body = await _body(ctx, held, draft, name, named)
    views = await _details(ctx, draft, held, body)
    preview = await gate.preview(ctx, draft.who, choice=body, replaces=replaced(held), purpose=_asked(draft))
    view = view_of(preview, only_named=sharing.is_only_named(body), team=is_team(draft.who))
    only = sharing.is_only_named(body)
    return {
        "what": given_words(draft, named, views), "private": "\n".join(_(PRIVATE[p]) for p in draft.private),
        "purpose": _(PURPOSES[draft.purpose][1]), "until": until_words(draft.last_day()), "summary": summary(draft, name, named, views),
        "view": view, "told": sentence(view, as_team(draft.who, name)), "surprises": [] if only else [s.text for s in lint(body)],
        "many": draft.who.startswith("sector:"),
    }  # fmt: skip


__all__ = ["change", "new"]
