"""Who can see my plan: the list; stop a choice, end a consent, say no. All of it is the person's Consents."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import choices, sharing
from ...domain.choices import Row
from ...domain.lint import lint
from ...domain.problem import Problem, not_found
from ...domain.proxies import REASON_URL, REASONS
from ...domain.types import Ref
from ...gate import Context
from . import details, elsewhere
from .asking import whom
from .carers import carers, in_emergency, urgent_care
from .draft import PRIVATE, PURPOSES, until_words, what_words
from .frame import Pages, go, show
from .held import Held, choice, consents, keep, own, replaced
from .names import DIRECTORY, own_id
from .sights import sentence, view_of
from .things import things
from .whom import name_of, names_of
from .words import _, day, today

DONE = {"shared", "changed", "stopped", "refused", "hidden", "only", "usual", "ended", "not-true"}
RULE = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
BASES: dict[str, str] = {  # VRS: https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis
    "consent": "You agreed to it",
    "best-interest": "It was decided in your best interest",
    "health-and-welfare-lasting-power-of-attorney": "They have a power of attorney for your health and welfare. It counts once it is written down that you can no longer decide yourself",
    "court-appointed-personal-welfare-deputy": "A court named them. It counts once it is written down that you can no longer decide yourself",
    "recorded": "It was written down that you agreed to it",
    "parental-responsibility": "They have parental responsibility for you, until you are 16",
}


# -- the list ---------------------------------------------------------------------------------------------------------


async def overview(pages: Pages, request: Request, ctx: Context) -> Response:
    """Everybody who can see something: chosen, acting, looking after, urgent care, other consents."""
    held = await consents(ctx)
    ours = [h for h in held if sharing.is_ours(h.body)]
    mine = [r for h in ours for r in choices.rows(h.body)]
    others = [(h, choices.rows(h.body)) for h in held if h not in ours]
    only = any(sharing.is_only_named(h.body) for h in ours)
    every = [*mine, *(r for _, rows in others for r in rows)]
    known = await names_of(ctx, {w for r in every for w in (*r.who, *_writers(r))})
    named = {t.ref: t.name for t in await things(ctx)} if any(r.refs or r.rules for r in every) else {}
    called = {k: w for h in ours for k, w in elsewhere.described(h.body).items()}
    refused = {w for r in mine if not r.allows and not (r.kinds or r.refs or r.labels) for w in r.who}
    looking_after = await carers(ctx, refused, only_named=only)
    shown, recorded = await _details(ctx, mine), await _recorded(ctx, [h for h, _rows in others])
    sees, total = await gate.counted(ctx, {w for r in mine if r.allows for w in r.who} | {c["key"] for c in looking_after})
    done = request.query_params.get("done", "")
    return await show(
        pages, request, "sharing/overview.html", ctx=ctx, done=done if done in DONE else "", only=only,
        chosen=[said(r, known, today(ctx.at), named, sees, shown.get(r.id, ()), called) for r in mine],
        acting=[{"id": h.ref.id, **_acting(h, rows, known, today(ctx.at), recorded.get(h.ref))} for h, rows in others if choices.is_proxy(h.body)],
        others=[
            {"id": h.ref.id, "rows": [said(r, known, today(ctx.at), named, called=elsewhere.described(h.body)) for r in rows], 
             "surprises": [*(s.text for s in lint(h.body)), *await gate.nobody_yet(ctx, h.ref, h.body)]}
            for h, rows in others if not choices.is_proxy(h.body)
        ],
        carers=[{**c, "sees": sees.get(c["key"], 0)} for c in looking_after], total=total, urgent=await urgent_care(ctx, refused),
        emergencies=await in_emergency(ctx),
    )  # fmt: skip


async def _recorded(ctx: Context, held: Iterable[Held]) -> dict[Ref, tuple[str, str]]:
    """Of these roles those that the person did not give here: who wrote them down and when, and what they were shown, in words."""
    found = await gate.recorded_by(ctx, [h.ref for h in held if choices.is_proxy(h.body)])
    known = await names_of(ctx, {w for first, _said in found.values() for w in (first.writer.user, first.writer.organisation or "") if w})
    out = {}
    for ref, (first, evidence) in found.items():
        who = ", ".join(n for n in (known.get(first.writer.user), known.get(first.writer.organisation or "")) if n) or _("whoever runs this service")
        out[ref] = (_("{who}, on {day}").format(who=who, day=day(first.updated)), evidence)
    return out


def _acting(held: Held, rows: Iterable[Row], known: Mapping[str, str], on: date, recorded: tuple[str, str] | None) -> dict[str, Any]:
    """A consent that lets somebody act for the person, and why it does. `recorded`: who wrote it down, where the person did not, and on what evidence."""
    rows = list(rows)
    codings = (held.body.get("policyRule") or {}).get("coding", ())
    basis = next((str(c.get("code")) for c in codings if str(c.get("code")) in BASES), "")
    basis = "recorded" if recorded and basis == "consent" else basis
    by, evidence = recorded or ("", "")
    who = dict.fromkeys(w for r in rows if r.allows for w in r.who)
    last = min((r.until for r in rows if r.until), default=None)
    since = next((r.since for r in rows if r.since), None)
    return {
        "who": ", ".join(known.get(w) or _("Somebody we have no name for") for w in who) or _("Nobody"),
        "why": _(BASES[basis]) if basis else _("They act for you"), "by": by, "evidence": evidence, "since": day(since) if since else "",
        "until": until_words(last), "ended": bool(last and last < on), "key": next(iter(who), ""),
    }  # fmt: skip


async def _details(ctx: Context, rows: Iterable[Row]) -> dict[str, frozenset[int]]:
    """For each choice that lets somebody see something: how much they now get of the person's own details."""
    out: dict[str, frozenset[int]] = {}
    by_purpose: dict[str, list[Row]] = {}
    for r in rows:
        if r.allows and r.who:
            by_purpose.setdefault(next(iter(sharing.PURPOSES[r.purpose]), "TREAT"), []).append(r)
    for purpose, some in by_purpose.items():
        found = await gate.details(ctx, {w for r in some for w in r.who}, purpose=purpose)
        out |= {r.id: frozenset().union(*(found[w] for w in r.who)) for r in some}
    return out


def said(
    row: Row, known: Mapping[str, str], on: date, named: Mapping[str, str] | None = None, sees: Mapping[str, int] | None = None,
    views: Collection[int] = (), called: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One choice in plain words. `named`: titles of single things. `sees`: how many things each can see now. `views`: how much of
    the person's own details they get. `called`: words of codes; `codes` of the answer has none."""
    return {
        "id": row.id if row.ours else "", "no": not row.allows, "hides": not row.allows and bool(row.kinds or row.refs or row.labels), "what": _what(row, known, named or {}, views, called or {}),
        "why": elsewhere.why(row.rules) if row.rules and not row.ours else row.why, "codes": elsewhere.codes(row.rules, called or {}),
        "who": ", ".join(known.get(w) or _("Somebody we have no name for") for w in row.who) or _("Everybody"),
        "purpose": _(PURPOSES[row.purpose][1]) if row.ours and row.allows and row.exact and row.purpose != "any" else "",
        "since": day(row.since) if row.since else "",
        "until": until_words(row.until) if row.allows or row.until else _("Until you take it back"),
        "ended": bool(row.until and row.until < on), "can_change": row.ours and row.allows and row.exact,
        "key": row.who[0] if len(row.who) == 1 else "", "sees": (sees or {}).get(row.who[0]) if row.allows and len(row.who) == 1 else None,
    }  # fmt: skip


def _writers(row: Row) -> set[str]:
    return {w for r in row.rules for w in (*r.authored, *r.custodians)}


def _what(row: Row, known: Mapping[str, str], named: Mapping[str, str], views: Collection[int], called: Mapping[str, str]) -> str:
    if row.rules:
        return elsewhere.what(row.rules, called, known, named)
    if not row.exact or not row.ours:
        return _("Something that we cannot read. Until somebody has looked at it we say no")
    lines = [what_words(row.kinds)] if row.kinds else []
    lines += [named.get(r, _("One thing in your record")) for r in row.refs]
    if row.labels:
        labels = ", ".join(_(PRIVATE[x]) for x in row.labels)
        lines.append((_("Also private things: {labels}") if row.allows else _("Private things: {labels}")).format(labels=labels))
    if row.allows:
        lines.append(details.listed(views))
    return "\n".join(lines) or _("Everything")


# -- stop, end, and saying no -----------------------------------------------------------------------------------------


async def stop(pages: Pages, request: Request, ctx: Context) -> Response:
    """The question, then the end of it: the second click takes effect at once."""
    rule = str(request.path_params["rule"])
    if not RULE.match(rule):
        raise not_found()
    held, found = await choice(ctx, rule)
    body = sharing.stop(held.body, rule, ctx.at)
    if request.method == "POST":
        if not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
        return go("/my-plan/sharing?done=stopped")
    named = {t.ref: t.name for t in await things(ctx)} if found.refs else {}
    shown = await _details(ctx, [found])
    words = said(found, await names_of(ctx, set(found.who)), today(ctx.at), named, views=shown.get(found.id, ()))
    question = _("Take back your “no” to {who}?") if words["no"] else _("Stop sharing with {who}?")
    after = await _after(ctx, found.who[:1], words["who"], body, held, found.purpose)
    return await show(
        pages, request, "sharing/stop.html", ctx=ctx, rule=words, question=question.format(who=words["who"]),
        action=f"/my-plan/sharing/{rule}/stop", **after,
    )  # fmt: skip


async def _after(
    ctx: Context, who: tuple[str, ...], name: str, body: dict[str, Any], held: Held | None, purpose: str = "any"
) -> dict[str, Any]:
    """What whoever a choice names would see without it, or with it."""
    if not who:
        return {"view": None, "told": ""}
    asked = next(iter(sharing.PURPOSES[purpose]), "TREAT")
    preview = await gate.preview(ctx, who[0], choice=body, replaces=replaced(held), purpose=asked)
    view = view_of(preview, only_named=sharing.is_only_named(body))
    return {"view": view, "told": sentence(view, name)}


async def end(pages: Pages, request: Request, ctx: Context) -> Response:
    """End a whole consent that these pages did not write: a role to act for the person, or a choice made elsewhere."""
    id = str(request.path_params["id"])
    held = next((h for h in await consents(ctx) if h.ref.id == id and not sharing.is_ours(h.body)), None)
    if held is None:
        raise not_found()
    body = _ended(held.body)
    if request.method == "POST":
        if not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
        return go("/my-plan/sharing?done=ended")
    rows = choices.rows(held.body)
    whom = list(dict.fromkeys(w for r in rows for w in r.who))
    known = await names_of(ctx, {*whom, *(w for r in rows for w in _writers(r))})
    acts = choices.is_proxy(held.body)
    named = {t.ref: t.name for t in await things(ctx)}
    shown = [said(r, known, today(ctx.at), named, called=elsewhere.described(held.body)) for r in rows]
    if acts:
        shown = [_acting(held, rows, known, today(ctx.at), (await _recorded(ctx, [held])).get(held.ref)) | {"what": _("Your record, in your place")}]
    name = ", ".join(known.get(w) or _("Somebody we have no name for") for w in whom) or _("everybody")
    after = await _after(ctx, tuple(whom[:1]), name, body, held)
    return await show(pages, request, "sharing/end.html", ctx=ctx, rows=shown, acts=acts, name=name, action=f"/my-plan/sharing/consents/{id}/end", **after)


def _ended(consent: Mapping[str, Any]) -> dict[str, Any]:
    """A role ends with the reason the NHS Validated Relationships Service has for it."""
    if not choices.is_proxy(consent):
        return {**consent, "status": "inactive"}
    reason = {"url": REASON_URL, "valueCodeableConcept": {"coding": [{"system": REASONS, "code": "ROLE_DEACTIVATED_PATIENT_REQUEST"}]}}
    others = [e for e in consent.get("extension", ()) if e.get("url") != REASON_URL]
    return {**consent, "status": "inactive", "extension": [*others, reason]}


async def refuse(pages: Pages, request: Request, ctx: Context) -> Response:
    """Say no to somebody who looks after the person: they see nothing from then on, whoever else may."""
    posted = request.method == "POST"
    who = str((request.state.form if posted else request.query_params).get("who", ""))[:400]
    if not (who or posted):
        return await whom(pages, request, ctx, "no")
    name = await name_of(ctx, who) if who.split("/")[0] in DIRECTORY or "|" in who else ""
    if not name:
        raise not_found()
    held = await own(ctx)
    body = sharing.hide(
        held.body if held else None, f"Patient/{own_id(ctx)}", who=who, at=ctx.at, rule_id=ctx.house.new_id(),
        words=_("{name} may see nothing.").format(name=name),
    )  # fmt: skip
    if posted:
        if not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
        return go("/my-plan/sharing?done=refused")
    after = await _after(ctx, (who,), name, body, held)
    return await show(pages, request, "sharing/refuse.html", ctx=ctx, who=who, name=name, **after)


async def only(pages: Pages, request: Request, ctx: Context) -> Response:
    """"Only the people I name": a separate choice with a warning, and its undoing. It changes what others see, and says so."""
    held = await own(ctx)
    now = held is not None and sharing.is_only_named(held.body)
    if now and held is not None:
        body = sharing.as_usual(held.body, ctx.at)
    else:
        body = sharing.only_named(held.body if held else None, f"Patient/{own_id(ctx)}", ctx.at)
    if request.method == "POST":
        if str(request.state.form.get("now", "")) != str(int(now)) or not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
        return go(f"/my-plan/sharing?done={'usual' if now else 'only'}")
    rows = [r for r in choices.rows(held.body) if r.allows] if held else []
    whom = {w for r in rows for w in r.who}
    known = await names_of(ctx, whom)
    people = {c["key"]: c["who"] for c in await carers(ctx, set()) if not c["waits"]} | {w: known[w] for w in whom if w in known}
    before, total = await gate.counted(ctx, people)
    after, _total = await gate.counted(ctx, people, choice=body, replaces=replaced(held))
    shown = sorted(({"who": people[k], "now": before[k], "then": after[k]} for k in people), key=lambda p: p["who"].lower())
    return await show(pages, request, "sharing/only.html", ctx=ctx, now=now, people=shown, total=total, held=held)


async def disown(pages: Pages, request: Request, ctx: Context) -> Response:
    """“I don't know them”: a no to whoever says that they look after the person, and the end of that, by one click."""
    id = str(request.path_params["id"])
    made = next((c for c in await gate.claims_about(ctx) if c["id"] == id), None)
    if made is None:
        raise not_found()
    held = await own(ctx)
    refused = {w for r in (choices.rows(held.body) if held else ()) if not r.allows and not (r.kinds or r.refs or r.labels) for w in r.who}
    if made["user"] not in refused:
        body = sharing.hide(
            held.body if held else None, f"Patient/{own_id(ctx)}", who=made["user"], at=ctx.at, rule_id=ctx.house.new_id(),
            words=_("{name} may see nothing.").format(name=made["name"]), why=_("I do not know them."),
        )  # fmt: skip
        if not await keep(ctx, held, body):
            raise Problem("conflict", "This was changed meanwhile.")
    await gate.disown(ctx, id)
    return go("/my-plan/sharing?done=not-true")


__all__ = ["disown", "end", "only", "overview", "refuse", "said", "stop"]
