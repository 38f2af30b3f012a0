"""Two records of one person, each with a main plan: which of them the person goes on with is asked once, and kept beside both records.

No plan is changed by it and each record keeps the word that is its own, so parting the records again gives both back. docs/main-plan.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..domain import main_plan, strict
from ..domain.bundle import instant
from ..domain.merged import records_of
from ..domain.types import Bump, Dispose, Keep, Ref, Stored
from .committing import Work, again
from .context import Context, House, note, stand
from .main_plan import counting, question_to, said_of, sees
from .storing import away, put_by_house

CHOSEN: Final = "main-of-merged"  # kept, by each record: the plan that the person goes on with, and since when


async def records_now(ctx: Context, person: str) -> list[str]:
    """`Patient/…` of every record of this person: this one first, then those that an operator merged with it."""
    known = (await stand(ctx.house, [person], None, ctx.place))[person]
    return [person, *sorted(records_of(known) - {person})]


async def main_of_records(house: House, records: Sequence[str], plans: Sequence[Stored]) -> str | None:
    """Which of these plans was said to be the one, where it stands in one of these records; None where nothing was said."""
    here = {str(s.ref) for s in plans}
    said = [v.decode().split(" ") for r in records if (v := await house.store.kept(CHOSEN, r, house.clock())) is not None]
    return next((plan for plan, _ in sorted(said, key=lambda s: s[1], reverse=True) if plan in here), None)


async def plans_of(work: Work, records: Sequence[str]) -> dict[str, list[Stored]]:
    """The main plans of each record, the one that is its main one first."""
    out: dict[str, list[Stored]] = {}
    for record in records:
        here = await counting(work, record)
        main = main_plan.main_of((await said_of(work.ctx, record))[1], map(str, here))
        out[record] = sorted(here.values(), key=lambda s: str(s.ref) != main)
    return out


async def record_to_open(ctx: Context, person: str) -> str:
    """The record in which this person's plan is: where it was said to be, else their own, else the first that has one."""
    records = await records_now(ctx, person)
    if len(records) == 1:
        return person
    found = {r: [s for s in plans if await sees(ctx, s)] for r, plans in (await plans_of(Work(ctx), records)).items()}
    chosen = await main_of_records(ctx.house, records, [s for plans in found.values() for s in plans])
    whose = next((r for r, plans in found.items() if any(str(s.ref) == chosen for s in plans)), "")
    return whose or next((r for r, plans in found.items() if plans), person)


async def ask_of_merged(ctx: Context, gone: str, on: str) -> None:
    """These two records (`Patient/…`) are one person's now, and `on` goes on: what becomes of the plan of the other is asked, where both have one."""

    async def attempt() -> None:
        work = Work(ctx)
        found = await plans_of(work, [on, gone])
        if not (found[on] and found[gone]):
            return
        first, other, task = found[on][0], found[gone][0], Ref("Task", ctx.house.new_id())
        labels = [c for s in (first, other) for c in strict.decode(s.body or b"{}").get("meta", {}).get("security", ())]

        def question(owner: dict[str, Any]) -> dict[str, Any]:
            return main_plan.question(str(other.ref), on, owner, labels, instant(ctx.at), main_plan.MERGED)

        owner = await question_to(work, (on, gone), (first, other), task, question)
        await put_by_house(work, task, question(owner), None, "create", "two records of one person have a plan each")
        await work.commit()

    await again(attempt)


async def asked_no_more(ctx: Context, people: Sequence[str]) -> None:
    """The records of these people were parted: what was asked about a plan of another of them goes, answered or not, with every version, for it names
    that plan and is labelled by what is in it. Of one that a partner holds the copy is asked back first, so it is only deleted."""

    async def attempt() -> None:
        work, store = Work(ctx), ctx.house.store
        for person in sorted({r for p in people for r in await records_now(ctx, p)}):
            here = set(await records_now(ctx, person))
            for ref in [v.ref for v in await store.patient_versions(person, ["Task"]) if v.version == 1 and await _of_others(ctx, v, here)]:
                now = await store.get(ref)
                if now is None or not await store.ledger(ref=ref, open_only=True):
                    work.ops += [Dispose(str(ref), (ref,)), Bump(person)]
                elif not now.deleted:
                    await away(work, now)
                work.trail.append(note(ctx, "D", "delete", None, (str(ref),), patient=person, allowed=True, detail="the records were parted"))
        if work.ops:
            await work.commit()

    await again(attempt)


async def _of_others(ctx: Context, first: Stored, here: set[str]) -> bool:
    """Is this the first version of a question that the gateway asked, about a plan in none of these records."""
    about = main_plan.asks_about(strict.decode(first.body or b"{}")) if first.writer.method == "SYSTEM" else None
    if not about:
        return False
    plan = await ctx.house.store.get(Ref(*about.split("/", 1)))
    return plan is None or here.isdisjoint(plan.facts.patients)


def choose(ctx: Context, records: Sequence[str], plan: str) -> list[Keep]:
    """That the person goes on with this plan, beside each of their records."""
    return [Keep(CHOSEN, record, f"{plan} {ctx.at.isoformat()}".encode()) for record in records]


__all__ = ["CHOSEN", "ask_of_merged", "asked_no_more", "choose", "main_of_records", "plans_of", "record_to_open", "records_now"]
