"""Who looks after this person, from the very facts that decide about access."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ...domain.standing import Relationship
from ...gate import Context
from ...gate.context import micros, stand
from .names import names
from .patient import own_id
from .words import _, day

ORIGINS: dict[str, str] = {
    "team": "They are written down in your team",
    "practitioner": "You are registered with them",
    "task": "They have a task to do for you",
    "referral": "Somebody sent you to them",
    "claim": "They said that they look after you",
}


async def carers(ctx: Context, refused: set[str]) -> list[dict[str, Any]]:
    """Everybody with a relationship, from the very facts that decide: who, why, since when, until when, added by whom.

    `refused`: whom the person has said no to already.
    """
    me = f"Patient/{own_id(ctx)}"
    related = (await stand(ctx.house, [me]))[me].relationships
    now = micros(ctx.at)
    current = [r for r in related if r.high is None or r.high >= now]
    refs = {n for r in current for n in (*r.names, r.writer, r.writer_organisation or "")}
    known = await names(ctx, refs)
    shown = [_carer(r, known, me, refused) for r in current if r.counts or known.keys() & r.names]
    return list({(c["who"], c["why"], c["what"]): c for c in reversed(shown)}.values())[::-1]


def _carer(r: Relationship, known: Mapping[str, str], me: str, refused: set[str]) -> dict[str, Any]:
    who = ", ".join(sorted({known[n] for n in r.names if n in known})) or _("Somebody we have no name for")
    why = _(ORIGINS.get(r.origin, "They look after you"))
    writer = _("You") if r.writer == me else known.get(r.writer) or known.get(r.writer_organisation or "") or _("a care service")
    added = _("{who}, on {day}").format(who=writer, day=day(at(r.low))) if r.low is not None else writer
    what = _("Your plan, but not what is marked as private")
    if not r.counts:
        what = _("Nothing yet: {why}").format(why=_(WAITING.get(r.why, "they have not said yes to this")))
    elif r.consent_needed:
        what = _("Only what you choose to share with them")
    refs = sorted(n for n in r.names if n in known)
    no = bool(refused & set(r.names))
    return {
        "who": who, "what": _("Nothing: you said no") if no else what, "why": f"{why}: {r.reason}" if r.reason else why,
        "since": day(at(r.low)) if r.low is not None else "", "until": day(at(r.high)) if r.high is not None else "",
        "added": added, "no": no, "ref": refs[0] if refs and r.counts and not no else "",
    }  # fmt: skip


WAITING: dict[str, str] = {
    "they have not accepted": "they have not said yes to this",
    "whoever wrote it could not refer": "whoever wrote this may not add people",
    "who named them is not known": "we do not know who wrote this",
}


def at(micro: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)
