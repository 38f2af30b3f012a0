"""Answering a Task as whom it asks: decline with a reason, report as done, add a note. Whoever asked reads it, in the order in which it came."""

from __future__ import annotations

from typing import Any, Final

from .. import gate
from ..domain import medicine_changes, strict
from ..domain.main_plan import asks_about
from ..domain.problem import Problem
from ..domain.referrals import ANSWERS, OVER, answered, plain
from ..domain.relationships import asks_membership
from ..domain.standing import named_by
from ..domain.types import Ref
from ..gate import Context

NOTE: Final = "note"
SPEAKERS: Final = ("Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Organization")  # who can be named beside a note (R4 Annotation.author)


def open_to(task: dict[str, Any]) -> tuple[str, ...]:
    """Which answers this Task takes now: of ANSWERS, and `note` while it is open. A question that the gateway asks takes a yes or a no; one about
    two plans none of these, and one about a medicine a yes or a no alone."""
    status = task.get("status")
    if asks_about(task) is not None or status in OVER:
        return ()
    if medicine_changes.asks_about(task) is not None:
        return ("accept", "decline")
    found = tuple(a for a, (states, _) in ANSWERS.items() if status in states)
    return tuple(a for a in found if a != "done") if asks_membership(task) else (*found, NOTE)


def asks(ctx: Context, task: dict[str, Any]) -> bool:
    """Is it for this reader to answer: it asks them, or it is about a medicine of their own plan, whoever else is asked."""
    if named_by(task.get("owner")) & (ctx.actor.ids | {ctx.actor.user, ctx.actor.organisation or ""}):
        return True
    whose = named_by(task.get("for")) & (ctx.records | {ctx.actor.patient or ""})
    return ctx.actor.kind == "patient" and bool(whose) and medicine_changes.asks_about(task) is not None


async def answer(ctx: Context, task: str, what: str, words: str = "") -> str:
    """Answer this Task (an id) as its owner; what became of it (`gate.Written.did`: `drafted` where it waits for the person).

    Problem bad-request, invalid at `words`, not-found, forbidden for whom it does not ask, conflict where it takes that answer no more.
    """
    if what not in (*ANSWERS, NOTE):
        raise Problem("bad-request", "What is answered is accept, decline, done or note.", "what")
    said = plain(words, needed=what in ("decline", NOTE))
    ref = Ref("Task", task)
    read = await gate.read(ctx, ref)
    body = strict.decode(read.body)
    if not asks(ctx, body):
        raise Problem("forbidden", "This task is for somebody else to answer.")
    if what not in open_to(body):
        raise Problem("conflict", "This was answered already.")
    by = ctx.actor.user if ctx.actor.user.split("/")[0] in SPEAKERS else ""
    done = await gate.patch(ctx, ref, lambda seen: answered(seen, what, said, ctx.at, by), if_match=read.version)
    return done.did


__all__ = ["answer", "asks", "open_to"]
