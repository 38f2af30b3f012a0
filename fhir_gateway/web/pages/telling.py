"""How we tell you: the channel, the address, the language and the safe times that a person chooses, and what became of each notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import notices
from ...domain.notices import EVERY_DAY, LANGUAGES, Choice
from ...domain.problem import Problem, not_found
from ...gate import Context
from ..telling import offered
from .frame import Pages, go, show
from .words import _, moment

WAYS: Mapping[str, tuple[str, str]] = {
    "email": ("Email", ""),
    "text": ("Text message", ""),
    "app": ("The app of your care service", "Ask them if you do not know it."),
    "page": ("No message. I look on this page", ""),
}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WHY: Mapping[str, str] = {
    "break-glass": "Somebody opened the plan in an emergency",
    "claim": "Somebody said that they give care here",
    "new-access": "Somebody new can see something of the plan",
    "recall-failed": "Another service still holds something that it should have given back",
    "conflict": "Something was changed in two places at the same time",
    "identity": "Another service says otherwise who somebody is",
    "inbox-waits": "A message from another service was refused and waits",
    "not-recognised": "Somebody asked, or was answered, about who has looked",
    "choice-changed": "How we tell you was changed",
    "address-code": "A code, to check a new address",
}
SENT: Mapping[str, str] = {"email": "Sent by email", "text": "Sent as a text message", "app": "Sent to the app"}
NOT_SENT: Mapping[str, str] = {
    "email": "We could not send the email. Check your email address.",
    "text": "We could not send the text message. Check your number.",
    "app": "We could not send it to the app.",
}


async def choose(pages: Pages, request: Request, ctx: Context) -> Response:
    """GET the form and the list; POST a choice. For the person, and for whoever acts for them."""
    _chooses(ctx)
    if request.method != "POST":
        return await _form(pages, request, ctx, await _now(ctx), {})
    form = request.state.form
    choice, errors = read(form, _offered(pages, await gate.my_choice(ctx)))
    if errors or choice is None:
        return await _form(pages, request, ctx, _typed(form), errors)
    waits = await gate.choose(ctx, choice)
    return go(f"{request.url.path}?done={'sent' if waits else 'saved'}")


async def confirm(pages: Pages, request: Request, ctx: Context) -> Response:
    """The code that went to a new address came back: it is used from now on."""
    _chooses(ctx)
    try:
        await gate.confirm(ctx, str(request.state.form.get("code", ""))[:20])
    except Problem as wrong:
        if wrong.kind not in ("invalid", "not-found"):
            raise
        still = await gate.confirming(ctx) is not None
        error = {"code": _("That is not the code we sent. Try again.")} if still else {}
        return await _form(pages, request, ctx, await _now(ctx), error, lost=not still)
    return go(f"{request.url.path.removesuffix('/code')}?done=saved")


def _chooses(ctx: Context) -> None:
    if ctx.actor.kind not in ("patient", "proxy"):
        raise not_found()


async def _now(ctx: Context) -> dict[str, Any]:
    """The form as it stands: with the address that waits for its code, so that saving it sends another."""
    new = await gate.confirming(ctx)
    return _values(new.choice if new else await gate.my_choice(ctx))


def read(form: FormData, offered: list[str]) -> tuple[Choice | None, dict[str, str]]:
    """The choice as it was typed; the mistakes by field."""
    errors: dict[str, str] = {}
    channel = str(form.get("channel", ""))
    if channel not in offered:
        errors["channel"] = _("Choose how we tell you.")
    address = _address(form, channel, errors)
    language = str(form.get("language", "en"))
    if language not in LANGUAGES:
        errors["language"] = _("Choose a language.")
    start, end, days = "", "", EVERY_DAY
    if form.get("when") == "times":
        start, end = _hour(form, "start", errors), _hour(form, "end", errors)
        days = tuple(d for d in EVERY_DAY if str(d) in form.getlist("days"))
        if not days:
            errors["days"] = _("Choose one day or more.")
        if start and start == end:
            errors["end"] = _("Write two times that are not the same.")
    if errors:
        return None, errors
    return Choice(channel, address, language, start, end, days), {}  # type: ignore[arg-type]


def _address(form: FormData, channel: str, errors: dict[str, str]) -> str:
    if channel == "email":
        address = notices.email(str(form.get("email", "")))
        if address is None:
            errors["email"] = _("Write an email address. For example name@example.com.")
        return address or ""
    if channel == "text":
        address = notices.mobile(str(form.get("number", "")))
        if address is None:
            errors["number"] = _("Write a mobile number. For example 07700 900123.")
        return address or ""
    return ""


NO_TIME: Mapping[str, str] = {
    "start": "Write from when it is safe. For example 9:30.", "end": "Write until when it is safe. For example 17:00.",
}  # fmt: skip


def _hour(form: FormData, name: str, errors: dict[str, str]) -> str:
    hour = notices.clock(str(form.get(name, "")))
    if hour is None:
        errors[name] = _(NO_TIME[name])
    return hour or ""


def _offered(pages: Pages, now: Choice) -> list[str]:
    return offered(pages.more.get("channels", frozenset()), now)


def _values(choice: Choice) -> dict[str, Any]:
    return {
        "channel": choice.channel, "email": choice.address if choice.channel == "email" else "",
        "number": choice.address if choice.channel == "text" else "", "language": choice.language,
        "when": "any" if choice.anytime else "times", "start": choice.start, "end": choice.end, "days": [str(d) for d in choice.days],
    }  # fmt: skip


def _typed(form: FormData) -> dict[str, Any]:
    names = ("channel", "email", "number", "language", "when", "start", "end")
    return {**{n: str(form.get(n, ""))[:300] for n in names}, "days": [str(d) for d in form.getlist("days")]}


async def _form(pages: Pages, request: Request, ctx: Context, values: dict[str, Any], errors: dict[str, str], *, lost: bool = False) -> Response:
    new = await gate.confirming(ctx)
    ways = _offered(pages, await gate.my_choice(ctx))
    return await show(
        pages, request, "telling.html", ctx=ctx, values=values, errors=errors, done=request.query_params.get("done", ""), new=new, lost=lost,
        ways=[(c, _(WAYS[c][0]), _(WAYS[c][1]) if WAYS[c][1] else "") for c in ways], languages=list(LANGUAGES.items()),
        days=[(str(n), _(d)) for n, d in enumerate(DAYS)], action=request.url.path.removesuffix("/code"), mine=ctx.actor.kind == "patient",
        told=[_told(n) for n in await gate.my_notices(ctx)],
    )  # fmt: skip


def _told(n: Any) -> dict[str, str]:
    """One notice in plain words."""
    if n.state == "waiting":
        state = _("Will be sent on {moment}").format(moment=moment(n.due)) if n.due else _("Will be sent soon")
        if n.trouble:
            state = _("It did not work yet. We try again on {moment}").format(moment=moment(n.due))
    elif n.state == "sent":
        state = _("{how}, on {moment}").format(how=_(SENT.get(n.channel, "Sent")), moment=moment(n.at))
    elif n.state == "joined":
        state = _("Told together with another message")
    elif n.state == "failed":
        state = _(NOT_SENT.get(n.channel, "We could not send it."))
    else:
        state = _("Shown here only")
    return {"when": moment(n.queued), "why": _(WHY.get(n.why, "Something changed")), "state": state}
