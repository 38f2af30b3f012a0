"""Why can they see this, why not; and everything that somebody can see now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import choices, sharing
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from .because import GUESSED, NEXT, because
from .carers import carers, why_here
from .finding import find
from .frame import Pages, show
from .held import consents
from .hiding import chosen_names
from .names import DIRECTORY, Choice, bodies, called, kin_of, names, own_ids
from .sights import is_team, view_of
from .things import CHOSEN_ONE_BY_ONE, things
from .whom import name_of, offered
from .words import _, moment

TYPES = ("Patient", *CHOSEN_ONE_BY_ONE, "ServiceRequest", "CareTeam", "RelatedPerson", "Observation")


async def why(pages: Pages, request: Request, ctx: Context) -> Response:
    """Pick somebody and a thing: yes or no, why, and what would change that."""
    asked = request.query_params
    who, what, text = asked.get("who", "")[:400], asked.get("what", "")[:120], asked.get("find", "").strip()[:100]
    found = await find(ctx, text) if text else []
    errors = {"find": _("We found nobody by that name. Try a part of the name.")} if text and not found else {}
    people = await everybody(ctx, who, found)
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


async def everybody(ctx: Context, who: str, found: list[Choice]) -> list[Choice]:
    """Who was found, who can see something, who acts for the person, then teams and sectors."""
    seeing = [Choice(c["key"], c["who"], why_here(c)) for c in await carers(ctx, set())]
    chosen = [Choice(w, name, _("you share with them")) for w, name in (await chosen_names(ctx)).items()]
    return apart(await offered(ctx, who, [*found, *chosen, *seeing, *await _family(ctx)]))


async def _family(ctx: Context) -> list[Choice]:
    """Family and friends, with what they are to the person and whether they act for them."""
    held = [h.body for h in await consents(ctx) if choices.is_proxy(h.body)]
    acting = {w for body in held for r in choices.rows(body) if r.allows for w in r.who}
    found = await bodies(ctx, "RelatedPerson", [("patient", own_ids(ctx)), ("_count", "100")])
    out = []
    for body in found:
        ref = f"RelatedPerson/{body['id']}"
        what = ", ".join(t for t in (kin_of(body) or _("family or friend"), _("acts for you") if ref in acting else "") if t)
        out.append(Choice(ref, called(body), what))
    return out


def apart(people: list[Choice]) -> list[Choice]:
    """The same people; those of one name say what tells them apart, or are numbered: a list must not say the same twice."""
    twice = {name for name, n in Counter(p.name for p in people).items() if n > 1}
    out: dict[str, Choice] = {}
    for p in people:
        name = f"{p.name} ({p.what})" if p.name in twice and p.what else p.name
        n = sum(k == name or k.startswith(f"{name} (") for k in out)
        out[f"{name} ({n + 1})" if name in out else name] = p
    return [replace(p, name=name) for name, p in out.items()]


async def _answer(ctx: Context, who: str, what: str, named: dict[str, str], people: dict[str, str]) -> dict[str, Any]:
    type, _slash, id = what.partition("/")
    said = await gate.why(ctx, Ref(type, id), who)
    only = any(sharing.is_only_named(h.body) for h in await consents(ctx))
    whom = await names(ctx, said.kept_for)
    return {
        "permit": said.decision.permit, "who": people[who], "what": named[what],
        "why": because(said.decision, said.facts, only_named=only, team=is_team(who)),
        "emergency": _("They opened your record in an emergency, until {when}. They said: “{reason}”").format(
            when=moment(said.emergency.expires), reason=said.emergency.reason
        ) if said.emergency else "",
        "keeps": [
            (_("They may also keep a copy of it for {name}.") if said.decision.permit else _("They may keep a copy of it for {name}, and not for themselves."))
            .format(name=whom.get(k) or _("somebody in your team")) for k in said.kept_for
        ],
        "next": [_(NEXT[c]) for c in said.changes], "guessed": _(GUESSED) if said.guessed else "", "ref": who,
    }  # fmt: skip


async def sees(pages: Pages, request: Request, ctx: Context) -> Response:
    """Everything that somebody can see now, and what stays closed to them and why."""
    who = str(request.query_params.get("who", ""))[:400]
    if not who:
        return await whom(pages, request, ctx, "sees")
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
    return await show(pages, request, "sharing/sees.html", ctx=ctx, name=name, view=view, who=who, team=is_team(who))


async def whom(pages: Pages, request: Request, ctx: Context, ask: str) -> Response:
    """Of whom? What a page needs that was opened without saying it: `ask` is "sees" or "no"."""
    text = request.query_params.get("find", "").strip()[:100]
    found = await find(ctx, text) if text else []
    errors = {"find": _("We found nobody by that name. Try a part of the name.")} if text and not found else {}
    people = found or await everybody(ctx, "", [])
    if ask == "no":  # a no to a team or a whole sector, or to a job somewhere, is said where something is hidden
        people = [p for p in people if p.ref.split("/")[0] in DIRECTORY or ("|" in p.ref and not p.ref.startswith("role:"))]
    return await show(pages, request, "sharing/whom.html", ctx=ctx, ask=ask, people=people, find=text, errors=errors)


__all__ = ["apart", "everybody", "sees", "whom", "why"]
