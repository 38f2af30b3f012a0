"""Answering a Task as whom it asks: decline with a reason, report as done, add a note. Whoever asked reads it, in the order in which it came."""

from __future__ import annotations

from typing import Any, Final

from .. import gate
from ..domain import medicine_changes, strict
from ..domain.main_plan import asks_about
from ..domain.medicines import RESOURCES
from ..domain.problem import Problem
from ..domain.referrals import ANSWERS, OVER, answered, plain
from ..domain.relationships import asks_membership
from ..domain.standing import named_by
from ..domain.types import Ref
from ..domain.written_down import an_object
from ..gate import Context

NOTE: Final = "note"
SPEAKERS: Final = ("Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Organization")  # who can be named beside a note (R4 Annotation.author)


async def about(ctx: Context, task: dict[str, Any]) -> medicine_changes.Asked | None:
    """What of a medicine the gateway asks by it; None for any other, also for a Task that somebody wrote with the same code."""
    found = medicine_changes.asks_about(task)
    return found if found is not None and await gate.asked_here(ctx, [Ref("Task", str(task["id"]))]) else None


def open_to(task: dict[str, Any], medicine: medicine_changes.Asked | None) -> tuple[str, ...]:
    """Which answers this Task takes now: of ANSWERS, and `note` while it is open. A question that the gateway asks takes a yes or a no; one about
    two plans none of these, and one about a medicine (`about`) a yes or a no alone."""
    status = task.get("status")
    if asks_about(task) is not None or status in OVER:
        return ()
    if medicine is not None:
        return ("accept", "decline")
    found = tuple(a for a, (states, _) in ANSWERS.items() if status in states)
    return tuple(a for a in found if a != "done") if asks_membership(task) else (*found, NOTE)


def asks(ctx: Context, task: dict[str, Any], medicine: medicine_changes.Asked | None) -> bool:
    """Is it for this reader to answer: it asks them, or it is about a medicine of their own plan (`about`), whoever else is asked."""
    if named_by(task.get("owner")) & (ctx.actor.ids | {ctx.actor.user, ctx.actor.organisation or ""}):
        return True
    whose = named_by(task.get("for")) & (ctx.records | {ctx.actor.patient or ""})
    return ctx.actor.kind == "patient" and bool(whose) and medicine is not None


async def shown(ctx: Context, task: dict[str, Any], medicine: medicine_changes.Asked | None) -> str:
    """Which versions of what this Task asks about a reader sees now, so that nobody answers what they were not shown; "" of what asks of no medicine."""
    if medicine is None:
        return ""
    versions = [_version(task)]
    for name in (medicine.order, *medicine.mine):
        found = await _seen(ctx, name)
        versions += [_version(found), _version(await _seen(ctx, str(an_object(found.get("medicationReference")).get("reference", ""))))]
    return ".".join(versions)


async def _seen(ctx: Context, name: str) -> dict[str, Any]:
    type, _, id = name.split("/_history/")[0].partition("/")
    page = await gate.search(ctx, type, [("_id", id)]) if id and type in (*RESOURCES, "Medication") else None
    return next((strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"), {}) if page is not None else {}


def _version(resource: dict[str, Any]) -> str:
    return str(an_object(resource.get("meta")).get("versionId", "0"))


async def answer(ctx: Context, task: str, what: str, words: str = "", seen: str = "") -> str:
    """Answer this Task (an id) as its owner; what became of it (`gate.Written.did`: `drafted` where it waits for the person). `seen`: what they were
    shown of a medicine (`shown`).

    Problem bad-request, invalid at `words`, not-found, forbidden for whom it does not ask, conflict where it takes that answer no more, stale where
    what was shown has changed.
    """
    if what not in (*ANSWERS, NOTE):
        raise Problem("bad-request", "What is answered is accept, decline, done or note.", "what")
    said = plain(words, needed=what in ("decline", NOTE))
    ref = Ref("Task", task)
    read = await gate.read(ctx, ref)
    body = strict.decode(read.body)
    medicine = await about(ctx, body)
    if not asks(ctx, body, medicine):
        raise Problem("forbidden", "This task is for somebody else to answer.")
    if what not in open_to(body, medicine):
        raise Problem("conflict", "This was answered already.")
    if medicine is not None and seen != await shown(ctx, body, medicine):
        raise Problem("stale", "What this asks about was changed meanwhile. Look at it again.", "seen")
    by = ctx.actor.user if ctx.actor.user.split("/")[0] in SPEAKERS else ""
    done = await gate.patch(ctx, ref, lambda seen: answered(seen, what, said, ctx.at, by), if_match=read.version)
    return done.did


__all__ = ["about", "answer", "asks", "open_to", "shown"]
