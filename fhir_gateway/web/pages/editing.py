"""A goal, an action or a crisis plan changed on a page. Whoever finds that somebody else changed it meanwhile gets both versions side by side, with what it
was, and chooses line by line; nothing that was typed is lost. docs/editing.md"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate, plans
from ...domain import main_plan
from ...domain.mapping.names import local, own_identifier, quote
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from ...plans import Item
from . import edit_fields as fields
from .changes import by_whom
from .frame import Pages, go, only, show
from .names import names, own_ids
from .people import ID
from .words import _, moment

TYPES: Final = {"Goal": "goal", "Task": "action", "CarePlan": "contingency"}
OWN: Final = {**TYPES, "QuestionnaireResponse": "about-me"}  # in the person's own words: theirs alone to change here
DONE: Final = ("changed", "draft", "same")
SIDES: Final = ("theirs", "mine")
VERSION: Final = 9  # digits
AGAIN: Final = 5  # times that somebody else may be first before the page gives up


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is: which thing, whose record it must be in, where the page leads back to."""

    ref: Ref
    people: frozenset[str]
    back: str
    action: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What came by the form. `version`: the one it was made over; `opened`: the one that the writer began with."""

    version: int
    opened: int
    mine: dict[str, str]
    picks: dict[str, str]
    errors: dict[str, str]
    choosing: bool = False


async def theirs(pages: Pages, request: Request, ctx: Context) -> Response:
    """For the team, and for who acts for somebody."""
    person = str(request.path_params["id"])
    return await _edit(pages, request, ctx, frozenset({f"Patient/{person}"}), f"/team/people/{_segment(person)}", TYPES)


async def mine(pages: Pages, request: Request, ctx: Context) -> Response:
    """For the person."""
    return await _edit(pages, request, ctx, frozenset(f"Patient/{id}" for id in own_ids(ctx).split(",")), "/my-plan", OWN)


async def _edit(pages: Pages, request: Request, ctx: Context, people: frozenset[str], back: str, types: Mapping[str, str]) -> Response:
    """The form; what is sent is saved, or comes back with what is wrong, or beside what somebody else wrote. Problem not-found, for hidden and absent alike."""
    ref = Ref(str(request.path_params["type"]), str(request.path_params["item"]))
    if ref.type not in types or not ID.fullmatch(ref.id):
        raise not_found()
    place = Place(ref, people, back, request.url.path)
    if request.method != "POST":
        now = await _now(ctx, place)
        if ref not in await gate.changeable(ctx, [ref]):
            raise Problem("forbidden", "look")
        return await _form(pages, request, ctx, place, now, fields.texts(now.kind, now.said), {})
    try:
        for _round in range(AGAIN):
            answer = await _sent(pages, request, ctx, place, await _now(ctx, place))
            if answer is not None:
                return answer
    except Problem as p:
        if p.kind not in ("not-found", "gone"):
            raise
        return await _gone(pages, request, ctx, place)
    now = await _now(ctx, place)
    here = fields.texts(now.kind, now.said)
    return await _form(pages, request, ctx, place, now, {f.name: fields.typed(f, request.state.form, here[f.name]) for f in fields.FIELDS[now.kind]}, {"form": _busy()})


async def _gone(pages: Pages, request: Request, ctx: Context, place: Place) -> Response:
    """There is nothing here by that name, or it is not for them to see, now: their own words come back, and nothing else is said."""
    form = request.state.form
    sent = [(_(f.label), fields.in_words(f, text)) for f in fields.FIELDS[OWN[place.ref.type]] if (text := fields.typed(f, form, ""))]
    return await show(pages, request, "edit_gone.html", ctx=ctx, status=404, place=place, sent=sent)


async def _now(ctx: Context, place: Place) -> Item:
    """As it is. Problem not-found where it is in no record that this page is about, as where it is hidden."""
    now = await plans.item(ctx, place.ref)
    if now.subject not in place.people:
        raise not_found()
    return now


async def _sent(pages: Pages, request: Request, ctx: Context, place: Place, now: Item) -> Response | None:
    """The answer to what was sent; None where somebody else was first while it was written."""
    form = request.state.form
    only(form, "version", "opened", "do", *fields.names(now.kind))
    versions = [str(form.get(n, form.get("version", ""))) for n in ("version", "opened")]
    if not all(v.isascii() and v.isdecimal() and len(v) <= VERSION for v in versions):
        raise Problem("bad-request", "This form does not say which version it is about.")
    version, opened = map(int, versions)
    base = now if version == now.version else await plans.item_then(ctx, place.ref, version)
    sent = _read(form, now, base, version, opened)
    here = fields.texts(now.kind, now.said)
    was = fields.texts(base.kind, base.said) if base is not None else None
    if version != now.version and _differ(was, here, sent.mine):
        return await _beside(pages, request, ctx, place, now, base, sent, 409)
    was = was or here
    merged = {name: here[name] if sent.mine[name] == was[name] else sent.mine[name] for name in here}
    otherwise, errors = fields.wanted(now.kind, here, merged)
    errors = sent.errors | errors
    if not errors and not otherwise:
        return go(f"{place.back}?done=same")
    if not errors:
        try:
            written = await plans.edit(ctx, now, otherwise)
            return go(f"{place.back}?done={'draft' if written.did == 'drafted' else 'changed'}")
        except Problem as p:
            if p.kind == "stale":
                return None
            if p.kind in ("not-found", "gone"):
                raise
            errors = {"form": _refused(p)}
    if sent.choosing and version == now.version:
        return await _beside(pages, request, ctx, place, now, await plans.item_then(ctx, place.ref, opened), sent, 400, errors)
    return await _form(pages, request, ctx, place, now, merged, errors)


def _read(form: Mapping[str, Any], now: Item, base: Item | None, version: int, opened: int) -> Sent:
    """What was typed, line by line; where both versions stood side by side, what was chosen of them."""
    was = fields.texts(now.kind, (base or now).said)
    choosing, picks, errors = form.get("do") == "choose", {}, {}
    typed: dict[str, str] = {}
    for f in fields.FIELDS[now.kind]:
        typed[f.name] = fields.typed(f, form, was[f.name])
        if choosing and any(n in form for n in f.inputs):
            picked = str(form.get(f"pick-{f.name}", ""))
            if picked in SIDES:
                picks[f.name] = picked
            else:
                errors[f"pick-{f.name}"] = f"{_(f.label)}: {_('Choose one of the two.')}"
    return Sent(version, opened, {n: was[n] if picks.get(n) == "theirs" else t for n, t in typed.items()}, picks, errors, choosing)


def _differ(was: Mapping[str, str] | None, now: Mapping[str, str], mine: Mapping[str, str]) -> bool:
    """Did somebody else change a line that this form shows, and not to what is typed here; they may have, where nobody knows what it was."""
    return any((was is None or was[n] != now[n]) and now[n] != mine[n] for n in now)


def _refused(p: Problem) -> str:
    if p.kind in ("forbidden", "insufficient-scope"):
        return _("You may look at this, but you may not change it any more. What you wrote is still here: copy it if you need it.")
    if p.status >= 500 or p.kind == "throttled":
        return _busy()
    return _("This could not be saved as it is. What you wrote is still here. Look at each line.")


def _busy() -> str:
    return _("We could not save this just now. What you wrote is still here. Try again in a minute.")


# -- the pages ----------------------------------------------------------------------------------------------------


async def _form(pages: Pages, request: Request, ctx: Context, place: Place, now: Item, mine: Mapping[str, str], errors: dict[str, str]) -> Response:
    here = fields.texts(now.kind, now.said)
    return await show(
        pages, request, "edit.html", ctx=ctx, status=400 if errors else 200, place=place, kind_of=now.kind, name=here.get("text", here.get("name", "")),
        fields=fields.FIELDS[now.kind], texts=mine, version=now.version, errors=errors, drafts=ctx.actor.drafts_only, boxes=fields.boxes, options=fields.options, fixed=fields.fixed(here), held=fields.held(now.held),
    )  # fmt: skip


async def _beside(
    pages: Pages, request: Request, ctx: Context, place: Place, now: Item, was: Item | None, sent: Sent, status: int, errors: Mapping[str, str] | None = None
) -> Response:
    """Both versions side by side, with what it was where that is known."""
    before, here = fields.texts(was.kind, was.said) if was is not None else None, fields.texts(now.kind, now.said)
    rows = fields.lines(now.kind, before, here, sent.mine if status == 409 else _unpicked(request.state.form, now, sent), sent.picks if status != 409 else {})
    who, when = await _who(ctx, place.ref)
    return await show(
        pages, request, "edit_beside.html", ctx=ctx, status=status, place=place, kind_of=now.kind, lines=rows, words_of=fields.in_words, who=who, when=when, version=now.version,
        opened=was.version if was is not None else now.version, errors=_placed(errors or {}, rows), boxes=fields.boxes, options=fields.options, fixed=fields.fixed(here), held=fields.held(now.held), name=here.get("text", here.get("name", "")),
    )  # fmt: skip


def _placed(errors: Mapping[str, str], rows: Sequence[fields.Line]) -> dict[str, str]:
    """What is wrong, each at a place that the page has."""
    here = {name for r in rows for name in (r.field.name, f"pick-{r.field.name}")}
    return {name if name in here else "form": words for name, words in errors.items()}


def _unpicked(form: Mapping[str, Any], now: Item, sent: Sent) -> dict[str, str]:
    """What was typed, also where the other side was picked: it comes back as it was."""
    return {f.name: fields.typed(f, form, sent.mine[f.name]) for f in fields.FIELDS[now.kind]}


async def _who(ctx: Context, ref: Ref) -> tuple[str, str]:
    """Who made it what it is now, as far as this reader may know, and when."""
    hand = (await gate.last_written(ctx, [ref])).get(ref)
    if hand is None:
        return _("Somebody"), ""
    if hand.user == ctx.actor.user:
        return _("You yourself, perhaps in another window"), moment(hand.at)
    known = await names(ctx, {hand.user, hand.organisation})
    if hand.user.startswith("Patient/"):
        known[hand.user] = _("The person")
    return ", ".join(t for t in by_whom(hand, known) if t), moment(hand.at)


# -- from the plan ----------------------------------------------------------------------------------------------------


async def links(ctx: Context, opened: plans.Opened) -> dict[str, str]:
    """Of the goals, actions and crisis plans of a plan, and what matters to the person, those that this reader may change: `Type/id` by `Type/` and the id that the plan has for it, or `about-me`."""
    found = _shown(opened, OWN if ctx.actor.kind == "patient" else TYPES)
    may = await gate.changeable(ctx, [Ref(*ref.split("/")) for ref in found.values()])
    return {name: ref for name, ref in found.items() if Ref(*ref.split("/")) in may}


def _shown(opened: plans.Opened, types: Mapping[str, str]) -> dict[str, str]:
    main = quote(str(opened.plan["id"])) if opened.plan.get("id") else None
    out: dict[str, str] = {}
    for r in sorted(main_plan.in_order(opened.record), key=lambda r: own_identifier(r) is not None):
        if r.get("resourceType") not in types or not (kind := plans.kind_of(r)):
            continue
        own = own_identifier(r)
        if own is None or main is None or own[1].split("/")[0] == main:
            id = (local(own[1]) if own else None) or str(r["id"])
            out.setdefault(kind if kind == "about-me" else f"{r['resourceType']}/{id}", f"{r['resourceType']}/{r['id']}")
    return out


def _segment(person: str) -> str:
    """A person in an address. Problem not-found for what can be none."""
    if not ID.fullmatch(person):
        raise not_found()
    return person


__all__ = ["links", "mine", "theirs"]
