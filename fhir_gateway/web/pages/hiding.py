"""Hide something: parts, single things or private things, from one or from everybody. It opens nothing, and it has no end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import choices, sharing
from ...gate import Context
from .carers import carers, why_here
from .draft import LONGEST_WHY, PARTS, PRIVATE, REF
from .finding import find
from .frame import Pages, go, show
from .held import Held, keep, own, replaced, stamp_of
from .names import Choice, own_id
from .things import Thing, things
from .whom import name_of, names_of, offered
from .words import _

STEPS = ("what", "who", "check")
EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Hiding:
    """The fields of the form as typed. `who` is `everybody` or as `sharing.hide` takes it."""

    parts: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    find: str = ""
    who: str = ""
    why: str = ""
    version: str = ""

    @classmethod
    def of(cls, fields: Any) -> Hiding:
        """From a form's fields; unknown parts are dropped."""
        return cls(
            parts=tuple(p for p in PARTS if p in fields.getlist("parts")),
            things=tuple(dict.fromkeys(t for t in fields.getlist("things") if REF.match(t)))[:100],
            private=tuple(p for p in PRIVATE if p in fields.getlist("private")), find=fields.get("find", "").strip()[:100],
            who=fields.get("who", "")[:400], why=fields.get("why", "").strip().replace("\r\n", "\n"),
            version=fields.get("version", "")[:100],
        )  # fmt: skip

    def values(self) -> dict[str, Any]:
        """For the template: one value a field."""
        return {
            "parts": list(self.parts), "things": list(self.things), "private": list(self.private), "find": self.find,
            "who": self.who, "why": self.why, "version": self.version,
        }  # fmt: skip


def mistakes(hiding: Hiding, step: str, known: bool) -> dict[str, str]:
    """What must be put right in one step: field to sentence. `known`: the directory has whoever was chosen."""
    if step == "what" and not (hiding.parts or hiding.things or hiding.private):
        return {"parts": _("Choose what you want to hide.")}
    if step == "who" and not (known or hiding.who == EVERYBODY):
        return {"who": _("Choose from whom you want to hide it.")}
    if step == "who" and len(hiding.why) > LONGEST_WHY:
        return {"why": _("Write at most {n} letters.").format(n=LONGEST_WHY)}
    return {}


async def hide(pages: Pages, request: Request, ctx: Context) -> Response:
    """What, from whom, a summary; only the last step saves."""
    if request.method != "POST":
        asked = request.query_params.get("thing", "")
        first = Hiding(version=stamp_of(await own(ctx)), things=(asked,) if REF.match(asked) else ())
        return await _step(pages, request, ctx, "what", first)
    form = request.state.form
    hiding, wanted = Hiding.of(form), form.get("go", "what")
    single = await things(ctx)
    hiding = replace(hiding, things=tuple(t for t in hiding.things if t in {s.ref for s in single}))
    if wanted == "find":
        return await _step(pages, request, ctx, "who", hiding)
    name = _("Everybody") if hiding.who == EVERYBODY else await name_of(ctx, hiding.who)
    before = STEPS if wanted == "save" else STEPS[: STEPS.index(wanted)] if wanted in STEPS else ()
    for step in before:
        wrong = mistakes(hiding, step, bool(name))
        if wrong:
            return await _step(pages, request, ctx, step, hiding, errors=wrong)
    if wanted == "save":
        held = await own(ctx)
        if stamp_of(held) == hiding.version and await keep(ctx, held, _body(ctx, held, hiding, name, single)):
            return go("/my-plan/sharing?done=hidden")
        hiding = replace(hiding, version=stamp_of(await own(ctx)))
        return await _step(pages, request, ctx, "check", hiding, moved=True)
    return await _step(pages, request, ctx, wanted if wanted in STEPS else "what", hiding)


def _body(ctx: Context, held: Held | None, hiding: Hiding, name: str, single: list[Thing]) -> dict[str, Any]:
    return sharing.hide(
        held.body if held else None, f"Patient/{own_id(ctx)}", who=None if hiding.who == EVERYBODY else hiding.who, refs=hiding.things,
        kinds=hiding.parts, labels=hiding.private, at=ctx.at, rule_id=ctx.house.new_id(), why=hiding.why,
        words=summary(hiding, name, {t.ref: t.name for t in single}),
    )  # fmt: skip


def what_lines(hiding: Hiding, named: Mapping[str, str]) -> list[str]:
    lines = [_(PARTS[p][0]) for p in hiding.parts] + [named.get(t, t) for t in hiding.things]
    return lines + [_("What is marked as private: {label}").format(label=_(PRIVATE[p])) for p in hiding.private]


def summary(hiding: Hiding, name: str, named: Mapping[str, str]) -> str:
    """The choice in a sentence, read before saving and kept with it."""
    what = ", ".join(what_lines(hiding, named))
    if hiding.who == EVERYBODY:
        return _("Nobody but you may see this: {what}.").format(what=what)
    return _("{name} may not see this: {what}.").format(name=name, what=what)


async def _step(
    pages: Pages, request: Request, ctx: Context, step: str, hiding: Hiding, *, errors: dict[str, str] | None = None,
    moved: bool = False,
) -> Response:  # fmt: skip
    single = await things(ctx)
    people: list[Choice] = []
    more: dict[str, Any] = {}
    if step == "who":
        found = await find(ctx, hiding.find) if hiding.find else []
        if hiding.find and not found:
            errors = {**(errors or {}), "find": _("We found nobody by that name. Try a part of the name.")}
        alone = _("Nobody but you can see it") if ctx.actor.kind == "patient" else _("Only the person can see it. You will not see it, too, and only they can take that back")
        people = [Choice(EVERYBODY, _("Everybody"), alone), *await offered(ctx, hiding.who, [*found, *await _seeing(ctx)])]
    elif step == "check":
        more = await _checked(ctx, hiding, single)
    return await show(
        pages, request, "sharing/hide.html", ctx=ctx, status=409 if moved else 200, step=step, draft=hiding.values(),
        errors=errors or {}, choices=people, moved=moved, things=single,
        parts=[(key, _(label), _(hint)) for key, (label, hint) in PARTS.items() if key != "plan"],
        labels=[(key, _(label)) for key, label in PRIVATE.items()], **more,
    )  # fmt: skip


async def _seeing(ctx: Context) -> list[Choice]:
    """Whom the list says can see something: the first to be offered."""
    looking_after = [Choice(c["key"], c["who"], why_here(c)) for c in await carers(ctx, set()) if c["ref"]]
    return looking_after + [Choice(w, name, _("you share with them")) for w, name in (await chosen_names(ctx)).items()]


async def chosen_names(ctx: Context) -> dict[str, str]:
    """Whom the person shares with by name, and what they are called."""
    held = await own(ctx)
    whom = {w for r in choices.rows(held.body) if r.allows for w in r.who} if held else set()
    return await names_of(ctx, whom)


async def _checked(ctx: Context, hiding: Hiding, single: list[Thing]) -> dict[str, Any]:
    """The choice in words, and who would see how much less."""
    held = await own(ctx)
    name = _("Everybody") if hiding.who == EVERYBODY else await name_of(ctx, hiding.who)
    body = _body(ctx, held, hiding, name, single)
    named = {t.ref: t.name for t in single}
    people = {c["key"]: c["who"] for c in await carers(ctx, set()) if not c["waits"]} | await chosen_names(ctx)
    if hiding.who != EVERYBODY:
        people = {hiding.who: name}
    before, total = await gate.counted(ctx, people)
    after, _total = await gate.counted(ctx, people, choice=body, replaces=replaced(held))
    shown = sorted(({"who": people[k], "now": before[k], "then": after[k]} for k in people), key=lambda p: p["who"].lower())
    return {
        "what": "\n".join(what_lines(hiding, named)), "name": name, "summary": summary(hiding, name, named), "people": shown, "total": total,
    }  # fmt: skip


__all__ = ["Hiding", "chosen_names", "hide", "mistakes", "summary"]
