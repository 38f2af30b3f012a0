"""The team's ways to a person whom they cannot see yet: in an emergency, by saying that they look after them, as urgent care."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain.problem import Problem
from ...gate import Context, Named
from .frame import Pages, go, show
from .team import id_of
from .words import _, typed_day

GROUNDS: dict[str, tuple[str, str]] = {
    "incapacity-vital-interest": ("They cannot say yes, and it is to protect their life or health", "For example they are unconscious."),
    "public-interest": ("It is to protect other people from serious harm", ""),
    "express-permission": ("They say yes to it now", "They told you so themselves."),
}
MISTAKES: dict[str, str] = {
    "reason": "Say why, in your own words, with no more than 500 letters.",
    "ground": "Choose one of the three.",
    "nhs_number": "Check the NHS number. It has 10 digits, and at least one of these is missing or wrong.",
    "family_name": "Type the family name.",
    "days": "Type a number of days from 1 to 28.",
}
NOBODY = "We found nobody with this NHS number, date of birth and family name together. Check all three."
TYPED = ("nhs_number", "family_name", "reason", "ground", "days", "born-day", "born-month", "born-year")


async def emergency(pages: Pages, request: Request, ctx: Context) -> Response:
    """Emergency access, with the password once more: it proves that who asks is at the keyboard now."""
    if request.method != "POST":
        return await _asked(pages, request, ctx, "team_emergency.html", {}, may=ctx.actor.btg_role)
    form, errors = request.state.form, dict[str, str]()
    password = str(form.get("password", ""))
    fresh = await pages.confirm(request, password) if password and pages.confirm is not None else None
    if fresh is None:
        errors["password"] = _("Type the password with which you signed in. We ask again because this opens a record.")

    async def act(whom: Named) -> str:
        e = await gate.break_glass(fresh or ctx, whom, form.get("reason"), form.get("ground"))
        return e.patient.removeprefix("Patient/")

    return await _tried(pages, request, ctx, "team_emergency.html", act, "emergency", errors, may=ctx.actor.btg_role)


async def claim(pages: Pages, request: Request, ctx: Context) -> Response:
    """Say that one looks after a person, and why."""
    if request.method != "POST":
        return await _asked(pages, request, ctx, "team_claim.html", {}, may=ctx.actor.sector in ("health", "social-care"))

    async def act(whom: Named) -> str:
        form = request.state.form
        days = str(form.get("days", "")).strip()
        number = int(days) if days.isascii() and days.isdigit() and len(days) < 4 else days or None
        made = await gate.claim(ctx, whom, form.get("reason"), number)
        return made.patient.removeprefix("Patient/")

    return await _tried(pages, request, ctx, "team_claim.html", act, "claim", {}, may=True)


async def find(pages: Pages, request: Request, ctx: Context) -> Response:
    """Find a person whose record is open to one: urgent care comes in by this."""
    if request.method != "POST":
        return await _asked(pages, request, ctx, "team_find.html", {})

    async def act(whom: Named) -> str:
        return await gate.find(ctx, whom)

    return await _tried(pages, request, ctx, "team_find.html", act, "", {})


async def end_emergency(pages: Pages, request: Request, ctx: Context) -> Response:
    await gate.end_emergency(ctx, id_of(request))
    return go("/team?done=emergency-over")


async def end_claim(pages: Pages, request: Request, ctx: Context) -> Response:
    await gate.end_claim(ctx, id_of(request))
    return go("/team?done=claim-over")


# -- the form ---------------------------------------------------------------------------------------------------------


async def _asked(
    pages: Pages, request: Request, ctx: Context, template: str, errors: dict[str, str], *, status: int = 200, **more: Any
) -> Response:
    form: Mapping[str, Any] = getattr(request.state, "form", {})
    grounds = [(code, _(words), _(hint) if hint else "") for code, (words, hint) in GROUNDS.items()]
    typed = {name: str(form.get(name, "")) for name in TYPED}
    return await show(pages, request, template, ctx=ctx, status=status, errors=errors, typed=typed, grounds=grounds, **more)


async def _tried(
    pages: Pages, request: Request, ctx: Context, template: str, act: Callable[[Named], Awaitable[str]], done: str,
    errors: dict[str, str], **more: Any,
) -> Response:  # fmt: skip
    """Do it and go on to the person's plan; else the form once more, with what is wrong."""
    form, born = request.state.form, typed_day(request.state.form, "born")
    if not hasattr(born, "isoformat"):
        errors["born"] = born if isinstance(born, str) else _("Type the date of birth.")
    if not errors:
        try:
            paper = {"nhs_number": form.get("nhs_number"), "family_name": form.get("family_name"), "birth_date": born.isoformat()}  # type: ignore[union-attr]
            person = await act(Named.said(paper))
            return go(f"/team/people/{person}" + (f"?done={done}" if done else ""))
        except Problem as p:
            if p.kind == "not-found":
                errors["nhs_number"] = _(NOBODY)
            elif p.kind == "invalid" and p.where in MISTAKES:
                errors[p.where] = _(MISTAKES[p.where])
            else:
                raise
    return await _asked(pages, request, ctx, template, errors, **more)
