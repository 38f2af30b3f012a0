"""What waits for a person: conflicts with both versions, what could not be taken, what was parked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.problem import Problem, outcome
from ..domain.reconcile import Conflict
from ..domain.types import Drop, Keep, Note, Op, Ref, Stored
from ..gate import Context, House
from ..gate.context import note
from .partner import Partner, as_owner
from .tally import Tally


def both_kept(
    house: House, partner: Partner, ctx: Context, stored: Stored, theirs: dict[str, Any], step: Conflict
) -> tuple[Keep, list[Note]]:
    """The record of a conflict, with our version and theirs, and its audit rows."""
    record = {
        "id": house.new_id(), "remote": partner.name, "ref": str(stored.ref), "at": ctx.at.isoformat(), "paths": list(step.paths),
        "ours": strict.decode(stored.body or b""), "theirs": theirs,
    }  # fmt: skip
    trail = [note(ctx, "U", "conflict", None, (str(stored.ref),), patient=p, allowed=True) for p in stored.facts.patients]
    return Keep("conflict", f"{partner.name} {stored.ref}", strict.dump(record)), trail


async def quarantine(
    house: House, partner: Partner, ctx: Context, remote_id: str, body: Any, p: Problem, also: list[Op]
) -> Tally:
    item = {"remote": partner.name, "id": remote_id, "at": ctx.at.isoformat(), "body": body, "outcome": outcome(p.issues)}
    trail = note(ctx, "U", "sync", None, (), allowed=False, detail=f"quarantined: {p.kind}")
    await house.store.commit(*also, Keep("quarantine", f"{partner.name} {remote_id}", strict.dump(item)), trail)
    return Tally(refused=1)


async def conflicts(house: House, partner: Partner) -> list[dict[str, Any]]:
    """What both sides changed in the same place, both versions kept."""
    kept = await house.store.kept_all("conflict", house.clock(), f"{partner.name} ")
    return [strict.decode(v) for v in kept.values()]


async def retry(house: House, partner: Partner) -> int:
    """Queue what was parked or delayed again, now."""
    return await house.store.requeue(partner.name, "parked", house.clock())


async def resolve(house: House, partner: Partner, conflict: Mapping[str, Any], body: Mapping[str, Any] | None) -> Ref:
    """Settle a conflict: `body` is written as the partner's (ours stays when it is None), and the conflict is over."""
    ref = Ref(*conflict["ref"].split("/"))
    if body is not None:
        stored = await house.store.get(ref)
        ctx = await as_owner(house, partner, "access")
        await gate.update(ctx, ref, strict.dump(dict(body)), if_match=stored.version if stored else None)
    await house.store.commit(Drop("conflict", f"{partner.name} {ref}"))
    return ref
