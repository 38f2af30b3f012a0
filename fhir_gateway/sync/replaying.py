"""What waits in quarantine, taken in once more: as it is at the partner now, or as a person has corrected it. docs/sync.md"""

from __future__ import annotations

from typing import Any

from .. import gate
from ..domain import strict
from ..domain.facts import codes_in
from ..domain.identity import unlike
from ..domain.problem import Problem, not_found
from ..domain.reconcile import Conflict, Merge, Pull, reconcile
from ..domain.types import Drop, Linked, Op, Send
from ..domain.vocabulary import own_task
from ..gate import Context, House
from ..gate.context import note
from ..gate.proving import need_proof
from ..store.base import Moved
from . import attempts, identity, missing
from .feed import Change, askable, change_of
from .links import changed, etag_of
from .not_taken import left_out
from .partner import Partner, addressed, as_owner, said_in, sides
from .taking import apply
from .tally import Tally, ignored
from .uniting import as_here
from .waiting import QUARANTINE, Corrected, both_kept, left_out_of, quarantine
from .whose import names_of, only_shared, unsure

DELETION = {"deleted": True}


async def replay(house: House, partner: Partner, by: Context, id: str, body: dict[str, Any] | None = None) -> Tally:
    """Take in again what waits in quarantine: as it is there now, or as it was corrected (`body`), by the rules for any write of theirs.

    It leaves the list when it is written, or when there is nothing left to write it to; refused again it stays, with the new outcome, and
    what is not for us to take (`ignored`) stays, too. `by` is the operator who asks, by a fresh sign-in.
    Problem: not-found, forbidden, bad-request, business-rule. Raises what the remote raises.
    """
    if not by.actor.operator:
        raise Problem("forbidden", "What waits in quarantine is replayed by an operator.")
    await need_proof(by, "U", "sync", "taking in what waits")
    key, raw, item = await _waiting(house, partner, id)
    remote_id = str(item["id"])
    if not askable(remote_id):
        raise Problem("business-rule", "This came without a name by which it could be asked for again. It is taken in when that service sends it corrected.")
    link = await house.store.link_by_remote(partner.name, remote_id)
    if partner.terms.direction == "out" or (why := left_out(house, partner, remote_id.split("/")[0], link is not None)):
        raise Problem("business-rule", f"Nothing of this is taken in from there: {'it is agreed that nothing comes from there' if partner.terms.direction == 'out' else why}.")
    how = "replayed from quarantine" if body is None else "corrected by an operator"
    row = note(by, "U", "sync", None, (item["ref"],) if "ref" in item else (), allowed=True, detail=f"{how}: {remote_id} at {partner.name}")
    over: list[Op] = [row, Drop(QUARANTINE, key, if_value=raw)]
    try:
        tally = await _again(house, partner, by, item, link, body, over)
    except Moved:
        raise Problem("stale", "This was changed at this moment. Try again.") from None
    except Problem as p:
        if p.kind in ("stale", "bad-request"):
            raise
        ctx = await as_owner(house, partner, "access")
        tally = await quarantine(house, partner, ctx, remote_id, body or item["body"], p, [])
    await house.store.commit(*(over if _over(tally) else [row]))
    return tally


async def _waiting(house: House, partner: Partner, id: str) -> tuple[str, bytes, dict[str, Any]]:
    """The item by its own id, or by what it is called there: its key, its value as it was read. Problem not-found."""
    async for key, raw in house.store.kept_each(QUARANTINE, house.clock(), f"{partner.name} "):
        if id.encode() in raw and id in ((item := strict.decode(raw)).get("item"), item["id"]):
            return key, raw, item
    raise not_found()


GONE = "gone there"
HERE = "deleted here"


def _over(tally: Tally) -> bool:
    """Was it written, kept as a conflict, or is there nothing left of it on one side?"""
    return not tally.refused and bool(tally.pulled or tally.conflicts or tally.recalled or {GONE, HERE} & tally.ignored.keys())


async def _again(
    house: House, partner: Partner, by: Context, item: dict[str, Any], link: Linked | None, body: dict[str, Any] | None, over: list[Op]
) -> Tally:
    """`over` is committed with what is written here of a change of theirs, so that no stop leaves one without the other."""
    if body is not None and own_task(str(body.get("resourceType", "")), codes_in(body)):
        raise Problem("bad-request", "This would be a question or work of a gateway's own, and none is taken in from a partner.", "code")
    if item["body"] == DELETION:
        return await _changed(house, partner, link, None, item, body, over) if link is not None else ignored(GONE)
    there = await missing.now(house, partner, str(item["id"]))
    change: Change = change_of(there) if there is not None else {"id": str(item["id"]), "resource": None, "updated": "", "broken": "", "doubt": ""}
    if there is None and link is None:
        return ignored(GONE)
    if body is None and (there is None or link is None or link.gone or "holds" in item or etag_of(there) != link.etag):
        return await apply(house, partner, change, fresh=True)
    if link is not None:
        if body is None and left_out_of(item):  # it is still as it was refused
            stored = await house.store.get(link.ref)
            if stored is not None and there is not None:
                names = await names_of(house, partner, there, link.base_sent)
                item = item | {"body": (await as_here(house, partner, link, stored, there, names))[1]}
        return await _changed(house, partner, link, there, item, body, over)
    assert body is not None
    type = str(item["id"]).split("/")[0]
    if body.get("resourceType") != type:
        raise Problem("bad-request", f"The corrected resource must be a {type}.", "resourceType")
    return await apply(house, partner, change, fresh=True, corrected=Corrected(body, by))


async def _changed(
    house: House, partner: Partner, link: Linked, there: dict[str, Any] | None, item: dict[str, Any], body: dict[str, Any] | None, over: list[Op]
) -> Tally:
    """A change of theirs, merged with what was changed here since it was refused. Corrected it stands for what is there, as far as that is still
    what was refused: it, or what is here, goes over it."""
    stored = await house.store.get(link.ref)
    if stored is None or stored.deleted:
        return ignored(HERE)
    ctx = await as_owner(house, partner, "access")
    if link.ref.type != "Patient" and await identity.unsure(house, partner, stored.facts.patients):
        raise unsure()
    if item["body"] == DELETION and body is None:
        await gate.remove(ctx, link.ref, if_match=stored.version, also=lambda _: over)
        return Tally(pulled=1)
    wanted = body if body is not None else item["body"]
    if (wanted.get("resourceType"), wanted.get("id")) != (link.ref.type, link.ref.id):
        raise Problem("bad-request", f"The corrected resource must be {link.ref}, as it is called here.", "id")
    if link.ref.type == "Consent" and gate.theirs(stored):
        await gate.keep_foreign(ctx, wanted, stored.facts.patients, over=stored, also=lambda _: over)
        return Tally(pulled=1)
    then = await house.store.version(link.ref, int(item.get("version", stored.version)))
    base = strict.decode(then.body) if then is not None and then.body is not None else None
    local = strict.decode(stored.body or b"")
    if link.ref.type == "Patient" and (why := unlike(local, wanted)):
        raise identity.wrong(why)
    at = sides(house, partner)
    await only_shared(house, partner, wanted, {*said_in(local, base), *addressed(at, at.ours, local, base)})
    step = reconcile(base, local, wanted)
    settled = _settled(link, there, item, stored.version)
    if isinstance(step, Conflict):
        kept, also = await both_kept(house, partner, ctx, stored, wanted, step)
        await house.store.commit(kept, *also, *settled, *over)
        return Tally(conflicts=1)
    if isinstance(step, Pull | Merge) and step.body is not None:
        await gate.update(ctx, link.ref, strict.dump(step.body), if_match=stored.version, also=lambda _: [*settled, *over])
    else:
        await house.store.commit(*settled, *over)
    return Tally(pulled=1)


def _settled(link: Linked, there: dict[str, Any] | None, item: dict[str, Any], version: int) -> list[Op]:
    """What was refused, and is there still, is what both sides agree on from now on, so ours goes there."""
    if there is None or item.get("holds", {}).get("there") != attempts.digest(there):
        return []
    stamp = str(there.get("meta", {}).get("lastUpdated", ""))
    seen = changed(link, etag=etag_of(there), remote_updated=stamp, version=0, base_received=strict.dump(there))
    return [seen, Send(link.remote, link.ref, version, next(iter(item.get("people", ())), None))]
