"""One change there: an echo, a merge, a new resource, a deletion; written here by the rules for any client."""

from __future__ import annotations

from typing import Any

from .. import gate
from ..domain import strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.identity import contradicts, nhs_numbers
from ..domain.labels import joined
from ..domain.problem import Problem
from ..domain.reconcile import Conflict, Merge, Nothing, Pull, Push, reconcile
from ..domain.rendering import put_back
from ..domain.types import VIEW, Cut, Linked, Send, Stored
from ..gate import Context, House
from ..remote.client import Refusal
from . import attempts
from .feed import Change, change_of
from .links import etag_of, fields_of
from .partner import Partner, as_owner, began_there, incoming, local_references, our_tag
from .tally import Tally
from .waiting import both_kept, deletion_kept, quarantine


async def pull_one(house: House, partner: Partner, link: Linked) -> Tally:
    """Look at one resource there now (after a version conflict)."""
    type, id = link.remote_id.split("/")
    try:
        reply = await partner.server.read(type, id)
    except Refusal as e:
        if e.status not in (404, 410):
            raise
        return await apply(house, partner, {"id": link.remote_id, "resource": None, "updated": ""}, False)
    return await apply(house, partner, change_of(reply.body or {}), False)


async def apply(house: House, partner: Partner, change: Change, first_contact: bool) -> Tally:
    """One change there: an echo, a merge, a new resource, a deletion."""
    if change.get("broken"):
        ctx = await as_owner(house, partner, "access")
        return await quarantine(house, partner, ctx, change["id"], change["resource"], Problem("malformed", change["broken"]), [])
    link = await house.store.link_by_remote(partner.name, change["id"])
    if link is None:
        if change["resource"] is None or our_tag(change["resource"]) or first_contact:
            return Tally()
        return await _new_there(house, partner, change)
    if link.gone:
        return Tally()
    if change["resource"] is None:
        return await _deleted_there(house, partner, link)
    if link.etag and etag_of(change["resource"]) == link.etag:
        return Tally()
    return await _changed_there(house, partner, link, change["resource"])


async def _changed_there(house: House, partner: Partner, link: Linked, there: dict[str, Any]) -> Tally:
    stored = await house.store.get(link.ref)
    if stored is None or stored.deleted:
        return Tally()
    ctx = await as_owner(house, partner, "access")
    names = await _names(house, partner, there, link.base_sent)
    local = strict.decode(stored.body or b"")
    views = Cut(VIEW) if began_there(link) else await gate.shown_to(await as_owner(house, partner, "disclose"), partner.terms, stored)
    theirs = _restored(local, incoming(there, link.ref, names), views)
    if link.ref.type == "Patient" and (contradicts(local, theirs) or nhs_numbers(local) != nhs_numbers(theirs)):
        wrong = Problem("conflict", "Who this is has changed there: NHS number, date of birth or family name. A person must look.", "Patient")
        return await quarantine(house, partner, ctx, link.remote_id, theirs, wrong, [])
    held = link.base_received or link.base_sent
    agreed = None  # a copy that was found there
    if held is not None:
        then = local if stored.version == link.version else await _then(house, link, local)
        agreed = _restored(then, incoming(strict.decode(held), link.ref, names), views)
    step = reconcile(agreed, local, theirs)
    seen = Linked(**{**fields_of(link), "etag": etag_of(there), "base_received": strict.dump(there)})
    if isinstance(step, Nothing):
        await house.store.commit(seen)
        return Tally()
    if isinstance(step, Push):
        await house.store.commit(seen, Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None)))
        return Tally()
    if isinstance(step, Conflict):
        return await _conflict(house, partner, ctx, seen, stored, theirs, step)
    merged = (step.body if isinstance(step, (Merge, Pull)) else None) or theirs
    return await _take(house, partner, ctx, seen, stored, merged, isinstance(step, Merge))


def _restored(local: dict[str, Any], theirs: dict[str, Any], views: Cut) -> dict[str, Any]:
    """What the view held back is put back before merging. Of labels theirs are joined to ours: nothing is lowered from there."""
    meta = {k: v for k, v in theirs.get("meta", {}).items() if k != "security"}
    ours = local.get("meta", {})
    kept = {k: ours[k] for k in ("versionId", "lastUpdated", "source") if k in ours}
    security = joined(ours.get("security", ()), theirs.get("meta", {}).get("security", ()))
    edited = {**theirs, "meta": {**meta, **kept, **({"security": security} if security else {})}}
    if "text" not in local:
        edited.pop("text", None)
    return put_back(local, edited, views)


async def _then(house: House, link: Linked, local: dict[str, Any]) -> dict[str, Any]:
    """Our resource as it was when both sides last agreed."""
    stored = await house.store.version(link.ref, link.version) if link.version else None
    return strict.decode(stored.body) if stored is not None and stored.body is not None else local


async def _take(
    house: House, partner: Partner, ctx: Context, seen: Linked, stored: Stored, merged: dict[str, Any], push_back: bool
) -> Tally:
    """Write their change here, as their organisation, by the rules for any client."""
    try:
        written = await gate.update(ctx, stored.ref, strict.dump(merged), if_match=stored.version)
    except Problem as p:
        if p.kind == "stale":
            return Tally(delayed=1)
        return await quarantine(house, partner, ctx, seen.remote_id, merged, p, [seen])
    version = written.version if not push_back else seen.version
    await house.store.commit(Linked(**{**fields_of(seen), "version": version}))
    return Tally(pulled=1)


async def _conflict(
    house: House, partner: Partner, ctx: Context, seen: Linked, stored: Stored, theirs: dict[str, Any], step: Conflict
) -> Tally:
    """Both versions are kept, the deterministic winner is served, a person decides."""
    kept, trail = both_kept(house, partner, ctx, stored, theirs, step)
    local = strict.decode(stored.body or b"")
    if step.winner is not None and step.winner != local:
        tally = await _take(house, partner, ctx, seen, stored, step.winner, True)
        await house.store.commit(kept, *trail)
    else:
        first = next(iter(stored.facts.patients), None)
        await house.store.commit(seen, kept, *trail, Send(partner.name, stored.ref, stored.version, first))
        tally = Tally()
    tally.conflicts += 1
    return tally


async def _new_there(house: House, partner: Partner, change: Change) -> Tally:
    """A resource that began there, about a person we share."""
    there = change["resource"]
    type = change["id"].split("/")[0]
    if type == "Consent":
        return await _consent_there(house, partner, change)
    if not house.r4.has_type(type) or type in NO_PATIENT_DATA or type in ("AuditEvent", "Provenance", "Patient"):
        return Tally()
    names = await _names(house, partner, there, None)
    if not any(ours.startswith("Patient/") for ours in names.values()):
        return Tally()  # not about anyone whom this server knows from us
    ctx = await as_owner(house, partner, "access")
    body = incoming(there, None, names)
    try:
        written = await gate.create(ctx, type, strict.dump(body))
    except Problem as p:
        return await quarantine(house, partner, ctx, change["id"], body, p, [])
    linked = Linked(
        partner.name, written.ref, change["id"], etag_of(there), change["updated"], written.version, strict.dump(there), strict.dump(there)
    )
    await house.store.commit(linked)
    return Tally(pulled=1)


async def _consent_there(house: House, partner: Partner, change: Change) -> Tally:
    """A consent that a partner sends about a person we share closes here what it closes, and opens nothing."""
    there = change["resource"]
    names = await _names(house, partner, there, None)
    if not any(ours.startswith("Patient/") for ours in names.values()):
        return Tally()
    ctx = await as_owner(house, partner, "access")
    body = incoming(there, None, names)
    try:
        written = await gate.keep_foreign(ctx, body)
    except Problem as p:
        return await quarantine(house, partner, ctx, change["id"], body, p, [])
    sent = strict.dump(there)
    await house.store.commit(Linked(partner.name, written.ref, change["id"], etag_of(there), change["updated"], written.version, sent, sent))
    return Tally(pulled=1)


async def _deleted_there(house: House, partner: Partner, link: Linked) -> Tally:
    """Their deletion is a proposal: applied where they may change it and we have not. Else ours stays, and a person decides."""
    ctx = await as_owner(house, partner, "access")
    stored = await house.store.get(link.ref)
    gone = Linked(**{**fields_of(link), "gone": True})
    attempt = await attempts.of(house, partner, link.ref)
    if attempt is not None and attempt.recall:  # ours: it is what the recall waits for
        rows = await house.store.ledger(remote=partner.name, patient=attempt.patient, open_only=True)
        sent = [d for d in rows if d.ref == link.ref] + attempts.rows(partner, link.ref, attempt)
        await house.store.commit(gone, *attempts.taken_back(ctx, partner, link.ref, attempt.patient, attempt, sent))
        return Tally(recalled=1)
    if stored is None or stored.deleted:
        await house.store.commit(gone)
        return Tally()
    if stored.version != link.version or partner.terms.direction == "out":
        await house.store.commit(gone, *deletion_kept(house, partner, ctx, stored))
        return Tally(conflicts=1)
    await house.store.commit(gone)
    try:
        await gate.remove(ctx, link.ref, if_match=stored.version)
    except Problem as p:
        return await quarantine(house, partner, ctx, link.remote_id, {"deleted": True}, p, deletion_kept(house, partner, ctx, stored))
    return Tally(pulled=1)


async def _names(house: House, partner: Partner, there: dict[str, Any], sent: bytes | None) -> dict[str, str]:
    """Their `Type/id` to ours, for everything this resource refers to."""
    out: dict[str, str] = {}
    bodies = [there] + ([strict.decode(sent)] if sent else [])
    for target in (t for b in bodies for t in local_references(b)):
        link = await house.store.link_by_remote(partner.name, str(target))
        if link is not None:
            out[str(target)] = str(link.ref)
    return out
