"""`/patients/{patient}/telling`: how a person wants to be told that something changed, for programs. JSON in and out, as the page has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import gate
from ..domain import notices
from ..domain.notices import CHANNELS, EVERY_DAY, LANGUAGES, Choice
from ..domain.problem import Problem, not_found
from ..gate import Context
from ..gate.choosing import Confirming
from ..gate.context import need_scope
from .app import Web, context, guarded
from .messages import ID, plain
from .recording import shaped

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # http://hl7.org/fhir/days-of-week


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """`address` goes with email and text. `start` and `end` are times of the clock in London, HH:MM; both empty: at any time."""

    channel: str
    address: str = ""
    language: str = "en"
    start: str = ""
    end: str = ""
    days: tuple[str, ...] = DAYS


class Code(msgspec.Struct, forbid_unknown_fields=True):
    """The six digits that were sent to the new address."""

    code: str


def routes(web: Web) -> list[Route]:
    """Read, choose, and send back the code."""
    return [
        Route("/patients/{patient}/telling", guarded(web, "patients", read), methods=["GET"]),
        Route("/patients/{patient}/telling", guarded(web, "patients", choose), methods=["PUT"]),
        Route("/patients/{patient}/telling/code", guarded(web, "patients", confirm), methods=["POST"]),
    ]


async def read(web: Web, request: Request) -> Response:
    """What is used now, what waits for its code, what can be chosen, and what became of the last notices."""
    ctx = await _asked(web, request, "r")
    return plain(await _state(web, ctx))


async def choose(web: Web, request: Request) -> Response:
    """200 when it is used from now on; 202 when its address waits for a code. Problem invalid names the field."""
    ctx = await _asked(web, request, "u")
    choice = checked(await shaped(web, request, Wanted), offered(web.channels, await gate.my_choice(ctx)))
    new = await gate.choose(ctx, choice)
    return plain(await _state(web, ctx), 202 if new else 200)


async def confirm(web: Web, request: Request) -> Response:
    """The code came back: the new address is used from now on. Problem invalid for another code, not-found when none waits."""
    ctx = await _asked(web, request, "u")
    await gate.confirm(ctx, (await shaped(web, request, Code)).code)
    return plain(await _state(web, ctx))


def offered(here: frozenset[str], now: Choice) -> list[str]:
    """What is set up here, what the person has now, and no message at all."""
    return [c for c in CHANNELS if c in here or c in ("page", now.channel)]


def checked(w: Wanted, channels: list[str]) -> Choice:
    """The choice as it is kept. Problem invalid at the first field that is none."""
    if w.channel not in channels:
        raise Problem("invalid", f"`{w.channel[:40]}` cannot be chosen here: {', '.join(channels)}.", "channel")
    readers: Mapping[str, Callable[[str], str | None]] = {"email": notices.email, "text": notices.mobile}
    address = readers[w.channel](w.address) if w.channel in readers else ""
    if address is None:
        raise Problem("invalid", f"`{w.address[:80]}` is no address that `{w.channel}` goes to.", "address")
    if w.channel not in readers and w.address:
        raise Problem("invalid", f"`{w.channel}` takes no address.", "address")
    if w.language not in LANGUAGES:
        raise Problem("invalid", f"`{w.language[:40]}` is no language we write in: {', '.join(LANGUAGES)}.", "language")
    start, end = _hours(w)
    unknown = next((d for d in w.days if d not in DAYS), None)
    if unknown is not None or not w.days:
        raise Problem("invalid", f"`{str(unknown or '')[:40]}` is no day: {', '.join(DAYS)}, one or more.", "days")
    days = tuple(n for n in EVERY_DAY if DAYS[n] in w.days)
    return Choice(w.channel, address, w.language, start, end, days)  # type: ignore[arg-type]


def _hours(w: Wanted) -> tuple[str, str]:
    if not w.start and not w.end:
        return "", ""
    start, end = notices.clock(w.start), notices.clock(w.end)
    for name, said, hour in (("start", w.start, start), ("end", w.end, end)):
        if hour is None:
            raise Problem("invalid", f"`{said[:40]}` is no time of day: HH:MM, both or none.", name)
    if start == end:
        raise Problem("invalid", "`start` and `end` are the same.", "end")
    return start or "", end or ""


async def _state(web: Web, ctx: Context) -> dict[str, Any]:
    c = await gate.my_choice(ctx)
    new: Confirming | None = await gate.confirming(ctx)
    told = [
        {k: v for k, v in {"why": n.why, "state": n.state, "queued": n.queued, "at": n.at, "channel": n.channel, "due": n.due}.items() if v}
        for n in await gate.my_notices(ctx)
    ]
    return {
        "channel": c.channel, "address": c.address, "language": c.language, "start": c.start, "end": c.end, "days": [DAYS[n] for n in c.days],
        "confirming": {"channel": new.choice.channel, "address": new.choice.address, "until": new.until} if new else None,
        "offered": offered(web.channels, c), "notices": told,
    }  # fmt: skip


async def _asked(web: Web, request: Request, interaction: str) -> Context:
    """Who asks: the person, or who acts for them. For anybody else there is nothing at this address."""
    ctx = await context(web, request)
    need_scope(ctx, interaction, "Patient")
    patient = str(request.path_params["patient"])
    if ctx.actor.kind not in ("patient", "proxy") or not ID.fullmatch(patient) or ctx.actor.patient != f"Patient/{patient}":
        raise not_found()
    return ctx


__all__ = ["checked", "offered", "routes"]
