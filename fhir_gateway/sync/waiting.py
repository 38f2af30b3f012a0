"""What waits for a person: conflicts with both versions, what could not be taken, what was parked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.problem import Problem, outcome
from ..domain.reconcile import Conflict
from ..domain.types import Drop, Keep, Linked, Note, Op, Ref, Send, Stored
from ..gate import Context, House
from ..gate.context import note
from .partner import Partner, as_owner
from .tally import Tally

DELETED = "deleted-there"  # kept: when we learned that they deleted it


def both_kept(
    house: House, partner: Partner, ctx: Context, stored: Stored, theirs: dict[str, Any] | None, step: Conflict
) -> tuple[Keep, list[Note]]:
    """The record of a conflict, with our version and theirs (None: deleted), and its audit rows."""
    record = {
        "id": house.new_id(), "remote": partner.name, "ref": str(stored.ref), "at": ctx.at.isoformat(), "paths": list(step.paths),
        "ours": strict.decode(stored.body or b""), **({"theirs": theirs} if theirs is not None else {}),
    }  # fmt: skip
    trail = [note(ctx, "U", "conflict", None, (str(stored.ref),), patient=p, allowed=True) for p in stored.facts.patients]
    return Keep("conflict", f"{partner.name} {stored.ref}", strict.dump(record)), trail


def deletion_kept(house: House, partner: Partner, ctx: Context, stored: Stored) -> list[Op]:
    """They deleted what we did not: ours stays here and is not made anew there, until a person decides."""
    step = Conflict(None, strict.decode(stored.body or b""), (stored.ref.type,))
    kept, trail = both_kept(house, partner, ctx, stored, None, step)
    return [kept, *trail, Keep(DELETED, f"{partner.name} {stored.ref}", ctx.at.isoformat().encode())]


async def deleted_there(house: House, partner: Partner, link: Linked | None) -> bool:
    """Does this wait for a person, because they deleted it?"""
    return link is not None and link.gone and await house.store.kept(DELETED, f"{partner.name} {link.ref}", house.clock()) is not None


async def quarantine(
    house: House, partner: Partner, ctx: Context, remote_id: str, body: Any, p: Problem, also: list[Op]
) -> Tally:
    item = {"remote": partner.name, "id": remote_id, "at": ctx.at.isoformat(), "body": body, "outcome": outcome(p.issues)}
    trail = note(ctx, "U", "sync", None, (), allowed=False, detail=f"quarantined: {p.kind}")
    await house.store.commit(*also, Keep("quarantine", f"{partner.name} {remote_id}", strict.dump(item)), trail)
    return Tally(refused=1)


async def conflicts(house: House, partner: Partner) -> list[dict[str, Any]]:
    """What both sides changed in the same place, both versions kept; `theirs` is None where they deleted it."""
    kept = await house.store.kept_all("conflict", house.clock(), f"{partner.name} ")
    return [{"theirs": None, **strict.decode(v)} for v in kept.values()]


async def retry(house: House, partner: Partner) -> int:
    """Queue what was parked or delayed again, now."""
    return await house.store.requeue(partner.name, "parked", house.clock())


async def resolve(
    house: House, partner: Partner, conflict: Mapping[str, Any], body: Mapping[str, Any] | None, *, delete: bool = False
) -> Ref:
    """Settle a conflict: `body` is written as the partner's, or it is deleted as theirs is; ours stays when there is neither, and goes
    there again where they deleted it. The conflict is over."""
    ref = Ref(*conflict["ref"].split("/"))
    stored = await house.store.get(ref)
    if body is not None or delete:
        ctx = await as_owner(house, partner, "access")
        version = stored.version if stored else None
        await (gate.update(ctx, ref, strict.dump(dict(body)), if_match=version) if body is not None else gate.remove(ctx, ref, if_match=version))
    again: list[Op] = []
    if conflict.get("theirs") is None and not delete and stored is not None and not stored.deleted:
        again = [Send(partner.name, ref, stored.version, next(iter(stored.facts.patients), None))]
    await house.store.commit(Drop("conflict", f"{partner.name} {ref}"), Drop(DELETED, f"{partner.name} {ref}"), *again)
    return ref
