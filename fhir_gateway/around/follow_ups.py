"""Asking somebody to answer a form later, once or again and again: who is asked what, and what is due. docs/questionnaires.md"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from .. import gate
from ..domain import follow_ups, strict
from ..domain.bundle import instant
from ..domain.follow_ups import ASKS, MOST, OPEN, SDC, WITHIN, FollowUp
from ..domain.periods import LONDON
from ..domain.problem import Problem
from ..domain.types import Ref
from ..gate import Context
from . import forms

FURTHEST: Final = 366 * 5  # days from now
WEEKS: Final = (4, 13, 26, 52)  # between one time and the next
LONGEST: Final = 52 * 2  # weeks between two times
MOST_DUE: Final = 50  # on one page


@dataclass(frozen=True, slots=True)
class Due:
    """One Task of this kind. `form` is the form's id where it is one that can be answered here."""

    task: str
    person: str
    title: str
    form: str
    asks: FollowUp
    late: bool
    requester: str


def today(ctx: Context) -> date:
    return ctx.at.astimezone(LONDON).date()


async def ask_again(ctx: Context, person: str, form: str, first: date, *, weeks: int = 0, times: int = 1, within: int = WITHIN) -> list[str]:
    """Ask this person (an id) to answer this form (an id) from `first` on, `times` times `weeks` apart, `within` days each: the Tasks' references;
    where a volunteer asks, they wait as a draft. Problem not-found, invalid, and all of the gate's own."""
    wanted = await forms.by_id(ctx, form)
    here = today(ctx)
    if not here <= first <= here + timedelta(days=FURTHEST):
        raise Problem("invalid", "The first day is today or later, and at most five years away.", "first")
    if not 1 <= times <= MOST or not (times == 1 or 1 <= weeks <= LONGEST):
        raise Problem("invalid", f"Somebody is asked once, or at most {MOST} times with 1 to {LONGEST} weeks between.", "times")
    if not 1 <= within <= 366:
        raise Problem("invalid", "There are 1 to 366 days to answer.", "within")
    title = str(wanted.get("title") or wanted.get("name") or wanted["url"])
    asked = follow_ups.tasks(f"Patient/{person}", ctx.actor.user, str(wanted["url"]), title, follow_ups.days(first, weeks, times), within, instant(ctx.at))
    entries = [{"resource": t, "request": {"method": "POST", "url": "Task"}} for t in asked]
    answer = await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    return [str(e["response"].get("location", "")).split("/_history/")[0] for e in answer["entry"]]


async def of_person(ctx: Context, person: str) -> tuple[list[Due], list[Due]]:
    """(what is due, what will be) of what this person (an id) is asked, as far as this reader may see it; by day."""
    found = await _bodies(ctx, [("patient", person), ("status", ",".join(OPEN)), ("_count", "200")])
    every = await _said(ctx, found)
    now = today(ctx)
    return [d for d in every if d.asks.due(now)], [d for d in every if not d.asks.due(now)]


async def due_of_all(ctx: Context) -> list[Due]:
    """What is due now of everybody whom this reader may see, the oldest first."""
    asked = [("code", f"{SDC}|{ASKS}"), ("status", ",".join(OPEN)), ("period", f"lt{(today(ctx) + timedelta(days=1)).isoformat()}"), ("_sort", "period"), ("_count", str(MOST_DUE))]
    return [d for d in await _said(ctx, await _bodies(ctx, asked)) if d.asks.due(today(ctx))]


async def decline(ctx: Context, task: str) -> None:
    """The person does not want to answer; anybody else takes back what was asked. Problem not-found, forbidden, conflict where it is over."""
    read = await gate.read(ctx, Ref("Task", task))
    body = strict.decode(read.body)
    if follow_ups.asked_by(body) is None or not follow_ups.still_open(body):
        raise Problem("conflict", "This is over already.")
    mine = (body.get("owner") or {}).get("reference") in ctx.actor.ids | {ctx.actor.user, ctx.actor.patient}
    await gate.patch(ctx, Ref("Task", task), lambda t: {**t, "status": "rejected" if mine else "cancelled"}, if_match=read.version)


async def _bodies(ctx: Context, params: list[tuple[str, str]]) -> list[dict[str, Any]]:
    page = await gate.search(ctx, "Task", params)
    return [strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"]


async def _said(ctx: Context, tasks: Iterable[dict[str, Any]]) -> list[Due]:
    asking = [(t, asks) for t in tasks if (asks := follow_ups.asked_by(t)) is not None]
    known = {str(f["url"]): f for f in await forms.offered(ctx)} if asking else {}
    out = []
    for task, asks in asking:
        form = known.get(asks.form.partition("|")[0], {})
        subject, said = str((task.get("for") or {}).get("reference", "")), task.get("description") or form.get("title") or ""
        asker = str((task.get("requester") or {}).get("reference", ""))
        out.append(Due(task["id"], subject.removeprefix("Patient/"), str(said), str(form.get("id", "")), asks, asks.late(today(ctx)), asker))
    return sorted(out, key=lambda d: (d.asks.opens, d.title, d.task))


__all__ = ["FURTHEST", "MOST", "WEEKS", "WITHIN", "Due", "ask_again", "decline", "due_of_all", "of_person", "today"]
