"""Two records of one person, each with a main plan: which of them the person goes on with is asked once, and kept beside both records.

No plan is changed by it and each record keeps the word that is its own, so parting the records again gives both back. docs/main-plan.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

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


class Asked(NamedTuple):
    """A question about two plans of one person: the Task, and whose records and plans it is about; the first goes on as it was."""

    task: Ref
    records: tuple[str, ...]
    plans: tuple[Stored, Stored]


async def ask_of_merged(work: Work, gone: Sequence[str], on: Sequence[str]) -> Asked | None:
    """These two lists of records (`Patient/…`, all that were one person's before) are one person's with this commit, and `on` goes on: what becomes of
    the plan of the others is asked, where both sides have one. Of the person, so that the question is there whatever happens next; `hand_over` asks a key worker."""
    if set(gone) & set(on):
        return None
    here, there = await _main_of_side(work, on), await _main_of_side(work, gone)
    if here is None or there is None:
        return None
    (record, first), (_, other) = here, there
    record = on[0] if (await plans_of(work, on[:1]))[on[0]] else record
    asked = Asked(Ref("Task", work.ctx.house.new_id()), (record, *(r for r in (*on, *gone) if r != record)), (first, other))
    await put_by_house(work, asked.task, _question(work.ctx, asked, {"reference": record}), None, "create", "two records of one person have a plan each")
    return asked


async def hand_over(ctx: Context, asked: Asked) -> None:
    """The same question to a key worker who may see both plans and it, by what the consents of all records say together; else the person keeps it.

    It is as private as the plans are now, not as they were when the records were put together. Whoever answers or changes it meanwhile has it as it is.
    """

    async def attempt() -> None:
        now = await ctx.house.store.get(asked.task)
        if now is None or now.version != 1:
            return
        work = Work(ctx, unseen=True)
        first, other = [await work.get(s.ref) for s in asked.plans]
        if first is None or first.deleted or other is None or other.deleted:
            return
        newest = asked._replace(plans=(first, other))
        owner = await question_to(work, asked.records, newest.plans, asked.task, lambda owner: _question(ctx, newest, owner))
        if owner != {"reference": asked.records[0]}:
            await put_by_house(work, asked.task, _question(ctx, newest, owner), now, "update", "a key worker is asked")
            await work.commit()

    await again(attempt)


def _question(ctx: Context, asked: Asked, owner: dict[str, Any]) -> dict[str, Any]:
    labels = [c for s in asked.plans for c in strict.decode(s.body or b"{}").get("meta", {}).get("security", ())]
    return main_plan.question(str(asked.plans[1].ref), asked.records[0], owner, labels, instant(ctx.at), main_plan.MERGED)


async def _main_of_side(work: Work, records: Sequence[str]) -> tuple[str, Stored] | None:
    """The record and the plan that somebody with these records goes on with: what they said, else the first that has one."""
    found = await plans_of(work, records)
    chosen = await main_of_records(work.ctx.house, records, [s for plans in found.values() for s in plans])
    of_them = [(r, s) for r in records for s in found[r]]
    return next((p for p in of_them if str(p[1].ref) == chosen), of_them[0] if of_them else None)


async def asked_no_more(work: Work, groups: Iterable[Collection[str]]) -> None:
    """Each of these is what is one person's records from this commit on. What was asked about a plan in none of them goes, answered or not, with every
    version, for it names that plan and is labelled by what is in it. Of one that a partner holds the copy is asked back first, so it is only deleted."""
    ctx, store = work.ctx, work.ctx.house.store
    for here in groups:
        for person in sorted(here):
            for ref in [v.ref for v in await store.patient_versions(person, ["Task"]) if v.version == 1 and await _of_others(ctx, v, set(here))]:
                now = await store.get(ref)
                if now is None or not await store.ledger(ref=ref, open_only=True):
                    work.ops += [Dispose(str(ref), (ref,)), Bump(person)]
                elif not now.deleted:
                    await away(work, now)
                work.trail.append(note(ctx, "D", "delete", None, (str(ref),), patient=person, allowed=True, detail="the records were parted"))


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


__all__ = ["CHOSEN", "Asked", "ask_of_merged", "asked_no_more", "choose", "hand_over", "main_of_records", "plans_of", "record_to_open", "records_now"]
