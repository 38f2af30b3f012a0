"""Whose record at a partner is not sure: nothing of theirs goes there and nothing comes in, until somebody has looked.

Each is kept under `<remote> Patient/<id>`, with a Task. docs/notes/0023
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import structlog

from ..domain.problem import Problem
from ..domain.reasons import UNSURE, because
from ..domain.types import Drop, Keep, Op, Ref, Send
from ..gate import Context, House
from ..gate.doubting import in_doubt, sure_again
from ..store.base import Taken
from .partner import Partner

log = structlog.get_logger()
KIND = "identity"
MEETING = "identity-met"  # kept: a record of theirs that was just found to be of somebody here; what it holds is still to be read


class Waits(Exception):
    """Who this is there is not sure: nothing of this person goes."""


class Doubt(msgspec.Struct, frozen=True):
    """Somebody whose record there is not sure. `there`: `Patient/id` of those that may be theirs. `at`: ISO 8601, UTC."""

    id: str
    remote: str
    ref: str
    why: str
    there: tuple[str, ...]
    at: str
    task: str

    @property
    def text(self) -> str:
        return UNSURE[self.why]


def wrong(why: str) -> Problem:
    """Nothing of this is taken in: it is of somebody who waits, or is to."""
    return because(why, "Patient", said=f"{UNSURE[why]} Nothing was written; it waits until a person has looked at it.")


async def of(house: House, partner: Partner, person: Ref | str) -> Doubt | None:
    raw = await house.store.kept(KIND, f"{partner.name} {person}", house.clock())
    return msgspec.json.decode(raw, type=Doubt) if raw is not None else None


async def waiting(house: House, partner: Partner) -> list[Doubt]:
    """Everybody who waits at this partner, who waits longest first."""
    kept = await house.store.kept_all(KIND, house.clock(), f"{partner.name} ")
    return sorted((msgspec.json.decode(raw, type=Doubt) for raw in kept.values()), key=lambda d: (d.at, d.ref))


async def unsure(house: House, partner: Partner, people: Collection[str]) -> bool:
    """Is it not sure who one of these is there?"""
    return any([await of(house, partner, p) is not None for p in people])


async def hold(house: House, partner: Partner, ctx: Context, person: Ref, why: str, there: Collection[str], *also: Op) -> None:
    """From now on nothing of this person goes to this partner, and a Task says why."""
    before = await of(house, partner, person)
    if before is not None and (before.why, set(before.there)) == (why, set(there)):
        if also:
            await house.store.commit(*also)
        return
    at, task = ctx.at.isoformat(), Ref("Task", house.new_id())
    if before is not None:
        at, task = before.at, Ref(*before.task.split("/"))
    doubt = Doubt(before.id if before else house.new_id(), partner.name, str(person), why, tuple(sorted(there)), at, str(task))
    keep = Keep(KIND, f"{partner.name} {person}", msgspec.json.encode(doubt), if_absent=before is None)
    if before is not None:
        await house.store.commit(keep, *also)
    else:
        try:
            await in_doubt(ctx, task, person, f"{UNSURE[why]} Until somebody has looked, nothing about this person goes to {partner.name}.", keep, *also)
        except Taken:  # another worker saw it, too: one Task for both
            await hold(house, partner, ctx, person, why, there, *also)
            return
    log.warning("identity-waits", remote=partner.name, item=doubt.id, why=why)


async def settle(house: House, partner: Partner, ctx: Context, person: Ref, *also: Op, met: str = "") -> bool:
    """It is sure, or sure again, who this is there: what waits is looked at. `met` is the record that was found to be theirs.

    Did somebody wait? Nothing is written where the Task is changed at this moment: it is looked at again.
    """
    doubt = await of(house, partner, person)
    if doubt is not None and not met and doubt.why in ("changed", "merged", "inactive"):
        met = doubt.there[0]  # what was put aside meanwhile
    if met and partner.terms.direction != "out":
        also = (*also, Keep(MEETING, f"{partner.name} {person}", met.encode()))
    if doubt is None:
        if also:
            await house.store.commit(*also)
        return False
    over = [Drop(KIND, f"{partner.name} {person}"), *(Drop("quarantine", f"{partner.name} {name}") for name in doubt.there)]
    review = Send(partner.name, person, 0, str(person), "review")
    try:
        await sure_again(ctx, Ref(*doubt.task.split("/")), *over, review, *also)
    except Problem as p:
        if p.kind != "stale":
            raise
    return True


async def look_again(house: House, partner: Partner, person: Ref | None = None) -> int:
    """Have this person looked at once more, or everybody who waits; how many do."""
    people = [ref for d in await waiting(house, partner) if person in ((ref := Ref(*d.ref.split("/"))), None)]
    here = await house.store.get_many(people)
    sends = [Send(partner.name, ref, s.version, str(ref)) for ref, s in here.items() if not s.deleted]
    if sends:
        await house.store.commit(*sends)
    return len(sends)
