"""What the person may ask about access itself: who looked, and would this be allowed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..domain import audit
from ..domain.primitives import whole
from ..domain.problem import not_found
from ..domain.types import Decision, Ref
from .context import Context, ask, note


async def may(ctx: Context, action: str, ref: Ref) -> Decision:
    """Would this be allowed, and why: for `explain` and for pages that show only what will work. Not-found when hidden."""
    stored = await ctx.house.store.get(ref)
    if stored is None:
        raise not_found()
    if not (await ask(ctx, "access", stored.facts)).permit:
        raise not_found()
    return await ask(ctx, action, stored.facts)


async def who_looked(ctx: Context, patient: str, *, before: str | None = None, count: int = 50) -> list[dict[str, Any]]:
    """The person's own access log, newest first; only for the person (leak list L39).

    Each: `{at, who, user, organisation, what, allowed, why, rule, unchanged, purpose, sentence, before}`; `before` continues after that row.
    """
    me = f"Patient/{patient}"
    if ctx.actor.kind != "patient" or ctx.actor.patient != me:
        await ctx.house.store.commit(note(ctx, "R", "who-looked", None, (me,), allowed=False))
        raise not_found()
    at: tuple[Any, ...] | None = None
    if before:
        micro, _, id = before.partition("~")
        instant = whole(micro)
        if instant is None:
            raise not_found()
        at = (instant, id)
    rows = await ctx.house.store.notes(patient=me, before=at, count=count)
    return [
        {
            "at": n.at,
            "who": n.user_name or n.user,
            "user": n.user,
            "organisation": n.organisation,
            "what": n.what,
            "allowed": n.allowed,
            "why": n.basis,
            "rule": n.rule,
            "unchanged": n.detail == "unchanged" or n.basis == "matched",
            "purpose": n.purpose,
            "sentence": audit.sentence(n),
            "before": f"{_micro(n.at)}~{n.id}",
        }
        for n in rows
    ]


def _micro(at: datetime) -> int:
    from .context import micros

    return micros(at)
