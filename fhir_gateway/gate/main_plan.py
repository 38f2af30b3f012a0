"""One main plan for each person, by whichever door a CarePlan comes in; the last look at every commit that makes or ends one.

Whoever sees the first is told of it (409). Whoever does not is answered as if there were none: their plan is written as any other, and waits
beside the first until the key worker has looked at both. Which one is the main one is kept beside the record and stands in no resource, and
the store is asked the same in both cases. docs/main-plan.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from ..domain import main_plan, strict
from ..domain.bundle import instant
from ..domain.facts import in_nobodys_name
from ..domain.merged import records_of
from ..domain.problem import Problem
from ..domain.standing import named_by
from ..domain.types import Bump, Facts, Keep, Ref, Stored, Writer
from .committing import Work
from .context import Context, ask, stand, within_launch
from .key_workers import key_workers, may_be_asked
from .marking import labelled
from .reading import in_scope

MAIN: Final = "main-plan"  # kept, by person: which is the main one, and a mark that is another after each change
Put = Callable[[Work, Ref, dict[str, Any], Stored | None, str, str], Awaitable[Any]]


async def one_main_plan(work: Work, put: Put) -> None:
    """Problem conflict where this commit brings a person another main plan than one that its writer sees. `put` writes what the gateway asks."""
    for person, new in sorted(work.plans.items()):
        await _of_person(work, person, new, put)


async def main_plan_of(ctx: Context, person: str) -> str | None:
    """Which of this person's plans (`CarePlan/…`) is said to be the main one: to choose among those that a reader sees, and to tell nobody."""
    return (await said_of(ctx, person))[1]


async def said_of(ctx: Context, person: str) -> tuple[bytes | None, str | None]:
    """The same, and how it is kept."""
    kept = await ctx.house.store.kept(MAIN, person, ctx.at)
    return kept, kept.decode().split(" ")[0] if kept is not None else None


async def _of_person(work: Work, person: str, new: list[Ref], put: Put) -> None:
    """`new`: those that count from this commit on."""
    ctx = work.ctx
    kept, said = await said_of(ctx, person)
    here = await counting(work, person)
    for n, ref in enumerate(new):
        others = {r: s for r, s in here.items() if r not in new[n:]}
        await _told_of(work, here[ref], others)
        first = main_plan.main_of(said, map(str, others))
        await _ask(work, person, here[ref], next((s for r, s in others.items() if str(r) == first), None), put)
    if not new or any(r.type == "CarePlan" and r not in new for r in (*work.new, *work.gone)):
        await _close(work, person, {str(r) for r in here}, put)
        work.ops.append(Bump(person))  # as closing a question does, whether there was one or not: it shows in links to a next page
    before = [str(r) for r in here if r not in new]
    main = main_plan.main_of(said, before) or main_plan.main_of(None, map(str, here))
    if main is not None and (new or main != said):
        mark = f"{main} {ctx.house.new_id()}".encode()
        work.ops.append(Keep(MAIN, person, mark, if_absent=kept is None, if_value=kept))  # of two at once one looks again


async def counting(work: Work, person: str) -> dict[Ref, Stored]:
    """This person's main plans as they will be after this commit: one, and those that wait."""
    there = {s.ref: s for s in await work.ctx.house.store.patient_record(person, ["CarePlan"])}
    there |= {r: s for r, s in work.new.items() if r.type == "CarePlan" and person in s.facts.patients}
    return {r: s for r, s in sorted(there.items()) if r not in work.gone and s.body is not None and main_plan.counts(strict.decode(s.body))}


async def _told_of(work: Work, new: Stored, others: dict[Ref, Stored]) -> None:
    """Problem conflict for who sees one of `others`. What comes from a partner's server waits beside it all the same: nobody there reads a refusal.
    Where there is none, the new one is asked about, so that the store is asked as much."""
    seen = [r for r, s in (others or {new.ref: new}).items() if await sees(work.ctx, s) or r in work.new]
    if others and seen and not work.ctx.beside:
        raise Problem("conflict", main_plan.already(str(seen[0])), work.where.get(new.ref, "CarePlan"))


async def sees(ctx: Context, stored: Stored) -> bool:
    """May this asker read it, by scope and by consent."""
    may = ctx.scopes is None or (ctx.scopes.covers("r", stored.ref.type) and within_launch(ctx, "r", stored.facts))
    return may and in_scope(ctx, "r", stored) and (await ask(ctx, ctx.action, stored.facts)).permit


async def open_question(ctx: Context, task: Stored) -> str | None:
    """The plan that this Task asks about, where it is open and the gateway itself asked that. Anybody may write such a Task, or change another into
    one: what became of it would tell them of plans that they do not see."""
    about = main_plan.asks_about(strict.decode(task.body or b"{}"))
    first = await ctx.house.store.version(task.ref, 1) if about is not None else None
    ours = first is not None and first.writer.method == "SYSTEM" and main_plan.asks_about(strict.decode(first.body or b"{}")) == about
    return about if ours else None


async def _ask(work: Work, person: str, new: Stored, first: Stored | None, put: Put) -> None:
    """Ask what is to become of a plan that waits beside `first`. Where there is none the question is made ready all the same, and thrown away."""
    ctx, aside = work.ctx, Work(work.ctx)
    plans, ref = (first or new, new), Ref("Task", ctx.house.new_id())
    labels = [c for s in plans for c in strict.decode(s.body or b"{}").get("meta", {}).get("security", ())]

    def question(owner: dict[str, Any]) -> dict[str, Any]:
        return main_plan.question(str(new.ref), person, owner, labels, instant(ctx.at))

    owner = await question_to(work, (person,), plans, ref, question)
    await put(aside, ref, question(owner), None, "create", "another plan waits beside the main one")
    if first is None:
        work.ops += [op for op in aside.ops if isinstance(op, Bump)]
        return
    work.ops += aside.ops
    work.new |= aside.new
    work.trail += aside.trail


async def question_to(
    work: Work, people: Sequence[str], plans: tuple[Stored, Stored], ref: Ref, question: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """A key worker of these records who may see both plans and the `question` (a Task, for each of them), and is not who brings the new one; else
    the person, who is the first of `people`."""
    asked = None
    for person in people:
        for candidates in await key_workers(work, person):
            for owner in candidates:
                known = as_kept(work.ctx, ref, question(owner))
                if named_by(owner).isdisjoint(work.ctx.actor.ids | {work.ctx.actor.user}) and await may_be_asked(work, owner, known, *plans):
                    asked = asked or owner
    return asked or {"reference": people[0]}


def as_kept(ctx: Context, ref: Ref, task: dict[str, Any]) -> Facts:
    """What consent will know of this Task once the gateway has written it."""
    return in_nobodys_name(labelled(ctx, task, ref, Writer(ctx.actor.user, method="SYSTEM"), None)[0], None)


async def _close(work: Work, person: str, here: set[str], put: Put) -> None:
    """What was asked is answered where the plan that it was asked about waits no more, or is the only one left, in all records of the person."""
    records = records_of((await stand(work.ctx.house, [person], None, work.ctx.place))[person]) | {person}
    for record in sorted(records - {person}):
        here = here | {str(r) for r in await counting(work, record)}
    for task in [t for r in sorted(records) for t in await work.ctx.house.store.patient_record(r, ["Task"])]:
        about = await open_question(work.ctx, task)
        if about is not None and task.ref not in work.new and (about not in here or len(here) == 1):
            await put(work, task.ref, {**strict.decode(task.body or b"{}"), "status": "completed"}, task, "update", "it waits beside another no more")


__all__ = ["MAIN", "Put", "as_kept", "counting", "main_plan_of", "one_main_plan", "open_question", "question_to", "said_of", "sees"]
