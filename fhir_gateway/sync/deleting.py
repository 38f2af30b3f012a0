"""What was deleted there, and what that means here."""

from __future__ import annotations

from .. import gate
from ..domain.directory import NO_PATIENT_DATA
from ..domain.problem import Problem
from ..domain.types import Linked
from ..gate import House
from ..gate.context import note
from . import attempts, identity, originals, recognising, stubs
from .links import changed
from .partner import Partner, as_owner
from .tally import Tally
from .uniting import refused, waits_no_more
from .waiting import deletion_kept


async def deleted_there(house: House, partner: Partner, link: Linked) -> Tally:
    """Their deletion is a proposal: applied where they may change it and we have not. Else ours stays, and a person decides: one conflict.
    What of it waited in quarantine is over, in the commit that says that it is gone; not where our recall deleted it: what they wrote is kept."""
    ctx = await as_owner(house, partner, "access")
    stored = await house.store.get(link.ref)
    gone, over = changed(link, gone=True), waits_no_more(partner, link.remote_id)
    attempt = await attempts.of(house, partner, link.ref)
    if attempt is not None and attempt.recall:  # ours: it is what the recall waits for
        return await attempts.came_back(house, partner, ctx, gone, attempt)
    if stored is None or stored.deleted or stubs.stands(link) or (recognising.theirs_to_write(link) and link.ref.type in NO_PATIENT_DATA):
        await house.store.commit(gone, over, *originals.read(partner, stored))
        return Tally()
    if link.ref.type == "Patient":
        await identity.hold(house, partner, ctx, link.ref, "deleted", [link.remote_id], gone, over)
        return Tally(turned_away={link.remote_id})
    if stored.version != link.version or partner.terms.direction == "out" or await identity.unsure(house, partner, stored.facts.patients):
        await house.store.commit(gone, over, *await deletion_kept(house, partner, ctx, stored))
        return Tally(conflicts=1)
    try:
        await gate.remove(ctx, link.ref, if_match=stored.version, also=lambda _: [gone, over])
    except Problem as p:
        kept = [gone, *await deletion_kept(house, partner, ctx, stored)]
        if link.ref.type == "Consent" or p.kind in ("stale", "unavailable"):  # a Consent that is gone may be a no, whatever waits
            return await refused(house, partner, ctx, link.remote_id, {"deleted": True}, p, kept)
        trail = note(ctx, "D", "sync", None, (str(stored.ref),), allowed=False, detail=f"their deletion waits: {p.kind}")
        await house.store.commit(over, *kept, trail)
        return Tally(conflicts=1)
    return Tally(pulled=1)
