"""A link to one Task, for an organisation that has no account here: it shows that Task, and how to reach the person where they let that
organisation know. Each answer goes once. Whoever made it, and the person, can end it; what comes through it is the organisation's act.

The link itself is kept by nobody here: its digest alone. docs/referrals.md
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ..domain import strict
from ..domain.periods import bounds
from ..domain.periods import instant as at_micros
from ..domain.problem import Problem, not_found
from ..domain.referrals import ANSWERS, OVER, answered, is_a_persons_act, plain
from ..domain.relationships import BY_LINK, OF_PERSON
from ..domain.scopes import Scopes
from ..domain.standing import named_by
from ..domain.types import Decision, Keep, Op, Ref, Stored
from ..store.base import Taken
from .committing import Work, settle
from .context import Context, House, ask_stored, directory_now, note, rendering
from .preparing import put_edited
from .previewing import may_share
from .reading import allow, read

LINK: Final = "task-link"  # kept: the link, by the digest of its token
OF_TASK: Final = "task-link-to"  # kept: the digest of the newest link, by `Task/…`: of two that are made at once one is
OF_RECORD: Final = "task-link-of"  # kept: that digest, by `Patient/… id`
DAYS, MOST_DAYS = 14, 60
SHOWN: Final = timedelta(days=30)  # how long an ended one is still shown to the person


class TaskLink(msgspec.Struct, frozen=True):
    """`done` are the answers given through it, `ended` when it was ended before its time."""

    id: str
    task: str
    patient: str
    organisation: str
    maker: str
    made: datetime
    until: datetime
    done: tuple[str, ...] = ()
    ended: datetime | None = None

    def open(self, at: datetime) -> bool:
        return self.ended is None and at < self.until


@dataclass(frozen=True, slots=True)
class Shown:
    """What the link shows: the Task as its owner sees it, whose it is as far as the person lets the organisation know, and what can be answered."""

    link: TaskLink
    task: dict[str, Any]
    person: dict[str, Any] | None
    answers: tuple[str, ...]


# -- by who asks ------------------------------------------------------------------------------------------------------


async def make_link(ctx: Context, task: str, digest: str, days: int = DAYS) -> TaskLink:
    """A link to this Task (an id) for the organisation that owns it; earlier links to it end. Only for the person, who may choose for them,
    and who asked for the Task. Problem not-found, forbidden, invalid, business-rule, conflict."""
    ref = Ref("Task", task)
    stored = await ctx.house.store.get(ref)
    await allow(ctx, "R", "read", ref, stored)
    assert stored is not None and stored.body is not None
    if not await _may_give(ctx, stored):
        await ctx.house.store.commit(note(ctx, "E", LINK, Decision(False, "rbac"), (str(ref),), patient=stored.facts.patients[0], allowed=False))
        raise Problem("forbidden", "A link to a task is made by the person, or by whoever asked for the task.")
    if not 1 <= days <= MOST_DAYS:
        raise Problem("invalid", f"How long is a number of days, from 1 to {MOST_DAYS}.", "days")
    body = strict.decode(stored.body)
    if body.get("status") in OVER or len(stored.facts.patients) != 1:
        raise Problem("business-rule", "This task is over: there is nothing to answer any more.", "Task.status")
    if is_a_persons_act(body):
        raise Problem("business-rule", "This task is answered by somebody who signs in, in their own name: there is no link to it.", "Task.code")
    organisation = await _owner(ctx, body)
    link = TaskLink(ctx.house.new_id(), task, stored.facts.patients[0], organisation, ctx.actor.user, ctx.at, _until(body, ctx.at, days))
    newest = await ctx.house.store.kept(OF_TASK, str(ref), ctx.at)
    before = [(d, raw, k) for d, raw, k in await _of(ctx.house, link.patient, ctx.at) if k.task == task and k.open(ctx.at)]
    try:
        await settle(
            ctx, *(op for d, raw, k in before for op in _ended(ctx, d, raw, k)),
            Keep(LINK, digest, msgspec.json.encode(link), link.until + SHOWN, if_absent=True),
            Keep(OF_RECORD, f"{link.patient} {link.id}", digest.encode(), link.until + SHOWN),
            Keep(OF_TASK, str(ref), digest.encode(), link.until + SHOWN, if_absent=newest is None, if_value=newest),
            note(ctx, "E", LINK, Decision(True, "", rule=f"link {link.id}"), (str(ref), organisation), patient=link.patient),
        )  # fmt: skip
    except Taken:
        raise Problem("conflict", "Another link to this task was made or used meanwhile. Look again.") from None
    return link


async def _may_give(ctx: Context, stored: Stored) -> bool:
    if not stored.facts.patients:
        return False
    if ctx.actor.patient in stored.facts.patients and await may_share(ctx):
        return True
    return ctx.actor.kind == "professional" and stored.created_by == ctx.actor.user


async def _owner(ctx: Context, task: dict[str, Any]) -> str:
    """The one organisation that this Task is for. Problem business-rule."""
    directory, _ = ctx.place or await directory_now(ctx.house)
    found = {directory.find(n) for n in named_by(task.get("owner")) if n.startswith("Organization/") or "|" in n} - {None}
    known = [o for o in found if o and o in directory.organisations and directory.organisations[o].confirmed]
    if len(known) != 1:
        raise Problem("business-rule", "A link is for an organisation that is in the directory, as the owner of the task.", "Task.owner")
    return known[0]


def _until(task: dict[str, Any], at: datetime, days: int) -> datetime:
    """Never longer than the Task itself."""
    until = at + timedelta(days=days)
    try:
        _, high = bounds((task.get("restriction") or {}).get("period"))
    except (ValueError, TypeError):
        high = None
    return until if high is None else min(until, at_micros(high))


async def links(ctx: Context) -> list[TaskLink]:
    """Links into the records of the person who asks (or for whom they may choose), newest first, those that ended lately with them. Problem not-found."""
    if ctx.actor.patient is None or not await may_share(ctx):
        raise not_found()
    every = [k for person in sorted(ctx.answers_for) for _, _, k in await _of(ctx.house, person, ctx.at)]
    return sorted(every, key=lambda k: k.made, reverse=True)


async def end_link(ctx: Context, id: str) -> TaskLink:
    """End a link at once, by its id: the person, who may choose for them, or who made it. Problem not-found, also for one of somebody else."""
    people = ctx.answers_for if ctx.actor.patient is not None and await may_share(ctx) else frozenset[str]()
    found = [f for p in sorted(people) for f in await _of(ctx.house, p, ctx.at) if f[2].id == id]
    if not found and ctx.actor.kind == "professional":
        every = await ctx.house.store.kept_all(LINK, ctx.at)
        held = ((d, raw, msgspec.json.decode(raw, type=TaskLink)) for d, raw in every.items())
        found = [f for f in held if f[2].id == id and f[2].maker == ctx.actor.user]
    if not found:
        raise not_found()
    digest, raw, link = found[0]
    if not link.open(ctx.at):
        return link
    try:
        await settle(ctx, *_ended(ctx, digest, raw, link))
    except Taken:
        raise Problem("conflict", "It was used meanwhile. Look again.") from None
    return link


def _ended(ctx: Context, digest: str, raw: bytes, link: TaskLink) -> list[Op]:
    over = msgspec.structs.replace(link, ended=ctx.at)
    return [
        Keep(LINK, digest, msgspec.json.encode(over), link.until + SHOWN, if_value=raw),
        note(ctx, "E", "task-link-end", Decision(True, "", rule=f"link {link.id}"), (f"Task/{link.task}",), patient=link.patient),
    ]


async def _of(house: House, person: str, at: datetime) -> list[tuple[str, bytes, TaskLink]]:
    """(digest, as it is kept, the link) of each into this record."""
    out = []
    for raw in (await house.store.kept_all(OF_RECORD, at, prefix=f"{person} ")).values():
        kept = await house.store.kept(LINK, raw.decode(), at)
        if kept is not None:
            out.append((raw.decode(), kept, msgspec.json.decode(kept, type=TaskLink)))
    return out


# -- by who has it ----------------------------------------------------------------------------------------------------


async def by_link(house: House, digest: str) -> tuple[Context, TaskLink, bytes]:
    """Who asks by this link: the organisation, for one Task and nothing else. Problem not-found, the same for one that never was, ran out, or was ended."""
    at = house.clock()
    raw = await house.store.kept(LINK, digest, at)
    link = msgspec.json.decode(raw, type=TaskLink) if raw is not None else None
    if raw is None or link is None or not link.open(at):
        raise not_found()
    directory, epoch = await directory_now(house)
    here = directory.organisations.get(link.organisation)
    if here is None or not here.confirmed:
        raise not_found()
    actor = directory.actor(link.organisation, kind="system", organisation=link.organisation, at=at)
    scopes = Scopes.parse(f"system/Task.ru?_id={link.task} system/Patient.r?_id={link.patient.removeprefix('Patient/')}")
    named = replace(actor, name=here.name)
    own = OF_PERSON if link.maker.startswith(("Patient/", "RelatedPerson/")) else ""
    return Context(house, named, at, "TREAT", scopes, f"{BY_LINK}{link.id}{own}", house.new_id(), place=(directory, epoch)), link, raw


async def shown(ctx: Context, link: TaskLink) -> Shown:
    """What the link shows. It is written down as the organisation's look. Problem not-found where they may not see the Task any more."""
    answer = await read(ctx, Ref("Task", link.task))
    task = strict.decode(answer.body)
    if not named_by(task.get("owner")) & ctx.actor.ids or is_a_persons_act(task):
        raise not_found()
    open_to = tuple(a for a, (states, _) in ANSWERS.items() if task.get("status") in states and a not in link.done)
    return Shown(link, task, await _reach(ctx, link), open_to)


async def _reach(ctx: Context, link: TaskLink) -> dict[str, Any] | None:
    """Name and how to reach them, where the person lets this organisation know; None, without a trace of a no, where not."""
    ref = Ref("Patient", link.patient.removeprefix("Patient/"))
    stored = await ctx.house.store.get(ref)
    if stored is None or stored.deleted or not (await ask_stored(ctx, "access", stored)).permit:
        return None
    seen = strict.decode((await read(ctx, ref)).body)
    return {k: seen[k] for k in ("name", "telecom") if k in seen}


async def answer(ctx: Context, digest: str, link: TaskLink, raw: bytes, what: str, words: str = "", seen: str = "") -> None:
    """Accept, decline (with a reason) or report as done, once; what was accepted by this link already stays so. `seen`: the status that whoever answers was shown,
    where they say it. Problem invalid at `words`, conflict where it was answered already, or stands otherwise than it was shown, not-found."""
    if what not in ANSWERS:
        raise Problem("bad-request", "What is answered is accept, decline or done.", "what")
    said = plain(words, needed=what == "decline")
    ref = Ref("Task", link.task)
    stored = await ctx.house.store.get(ref)
    await allow(ctx, "U", "update", ref, stored)
    assert stored is not None
    states, status = ANSWERS[what]
    body = strict.decode((await rendering(ctx, stored))[0])
    if is_a_persons_act(body):  # by a code that it was given since
        raise not_found()
    if what == "accept" and what in link.done and body.get("status") == status:
        return
    if what in link.done or (seen and seen != body.get("status")) or body.get("status") not in states or not named_by(body.get("owner")) & ctx.actor.ids:
        raise Problem("conflict", "This was answered already.")
    work = Work(ctx)
    await put_edited(work, ref, lambda task: answered(task, what, said, ctx.at), if_match=stored.version)
    after = msgspec.structs.replace(link, done=(*link.done, what), ended=ctx.at if status in OVER else None)
    try:
        await work.commit(
            Keep(LINK, digest, msgspec.json.encode(after), link.until + SHOWN, if_value=raw),
            note(ctx, "E", f"task-link-{what}", Decision(True, "implicit", rule="invited"), (str(ref),), patient=link.patient, detail=f"link {link.id}"),
        )
    except Taken:
        raise Problem("conflict", "This was answered already.") from None


__all__ = ["ANSWERS", "OVER", "Shown", "TaskLink", "answer", "by_link", "end_link", "links", "make_link", "shown"]
