"""Why can they see this, why not; and everything that somebody can see now."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import sharing
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from .because import GUESSED, NEXT, because
from .carers import carers
from .frame import Pages, show
from .held import consents
from .hiding import chosen_names
from .names import Choice, find
from .sights import is_team, view_of
from .things import CHOSEN_ONE_BY_ONE, things
from .whom import name_of, offered
from .words import _, moment

TYPES = ("Patient", *CHOSEN_ONE_BY_ONE, "ServiceRequest", "CareTeam", "RelatedPerson", "Observation", "Flag")


async def why(pages: Pages, request: Request, ctx: Context) -> Response:
    """Pick somebody and a thing: yes or no, why, and what would change that."""
    asked = request.query_params
    who, what, text = asked.get("who", "")[:400], asked.get("what", "")[:120], asked.get("find", "").strip()[:100]
    found = await find(ctx, text) if text else []
    errors = {"find": _("We found nobody by that name. Try a part of the name.")} if text and not found else {}
    people = await _people(ctx, who, found)
    single = await things(ctx, TYPES)
    answer = None
    if who and what and not text:
        if what not in {t.ref for t in single}:
            errors["what"] = _("Choose what you ask about.")
        if who not in {p.ref for p in people}:
            errors["who"] = _("Choose whom you ask about.")
        if not errors:
            answer = await _answer(ctx, who, what, {t.ref: t.name for t in single}, {p.ref: p.name for p in people})
    return await show(
        pages, request, "sharing/why.html", ctx=ctx, who=who, what=what, find=text, people=people, things=single, answer=answer, errors=errors,
    )  # fmt: skip


async def _people(ctx: Context, who: str, found: list[Choice]) -> list[Choice]:
    """Who was found, who can see something, who acts for the person, then teams and sectors."""
    seeing = [Choice(c["key"], c["who"], "") for c in await carers(ctx, set())]
    chosen = [Choice(w, name) for w, name in (await chosen_names(ctx)).items()]
    family = [Choice(t.ref, t.name, _("family or friend")) for t in await things(ctx, ("RelatedPerson",))]
    return await offered(ctx, who, [*found, *chosen, *seeing, *family])


async def _answer(ctx: Context, who: str, what: str, named: dict[str, str], people: dict[str, str]) -> dict[str, Any]:
    type, _slash, id = what.partition("/")
    said = await gate.why(ctx, Ref(type, id), who)
    only = any(sharing.is_only_named(h.body) for h in await consents(ctx))
    return {
        "permit": said.decision.permit, "who": people[who], "what": named[what],
        "why": because(said.decision, said.facts, only_named=only, team=is_team(who)),
        "emergency": _("They opened your record in an emergency, until {when}. They said: “{reason}”").format(
            when=moment(said.emergency.expires), reason=said.emergency.reason
        ) if said.emergency else "",
        "next": [_(NEXT[c]) for c in said.changes], "guessed": _(GUESSED) if said.guessed else "", "ref": who,
    }  # fmt: skip


async def sees(pages: Pages, request: Request, ctx: Context) -> Response:
    """Everything that somebody can see now, and what stays closed to them and why."""
    who = str(request.query_params.get("who", ""))[:200]
    name = await name_of(ctx, who)
    if not name:
        raise not_found()
    purpose = str(request.query_params.get("for", "care"))
    try:
        asked = next(iter(sharing.PURPOSES[purpose]), "TREAT")
    except KeyError:
        raise Problem("not-found", "There is no such reason.") from None
    only = any(sharing.is_only_named(h.body) for h in await consents(ctx))
    view = view_of(await gate.preview(ctx, who, purpose=asked), only_named=only, team=is_team(who))
    return await show(pages, request, "sharing/sees.html", ctx=ctx, name=name, view=view, who=who)


__all__ = ["sees", "why"]
