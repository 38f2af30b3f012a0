"""Inbound: what changed there, merged with what changed here, through the same gate as any client.

The watermark moves in the commit that follows the applied page; the window overlaps, and what was seen is recognised by
(id, ETag). What cannot be taken is quarantined with its reason, never dropped.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.identity import contradicts, nhs_numbers
from ..domain.labels import joined
from ..domain.problem import Problem, outcome
from ..domain.reconcile import Conflict, Merge, Nothing, Pull, Push, reconcile
from ..domain.rendering import put_back
from ..domain.types import VIEW, Cut, Keep, Linked, Op, Send, Stored
from ..gate import Context, House
from ..gate.context import note
from ..remote.client import Refusal
from .partner import Partner, as_owner, began_there, incoming, our_tag
from .push import Tally, _etag_of, _fields

OVERLAP = timedelta(seconds=5)
MANY = 100


async def pull(house: House, partner: Partner) -> Tally:
    """Everything that changed there since the watermark."""
    if partner.terms.direction == "out":
        return Tally()
    abilities = await partner.met()
    tally = Tally()
    kept = await house.store.kept("watermark", partner.name, house.clock())
    since = kept.decode() if kept else None
    if abilities.system_history:
        changes, newest = await _from_history(partner, None, since)
    else:
        changes, newest = [], since
        for type in sorted(_types(partner, abilities.types)):
            if type in abilities.type_history:
                more, seen = await _from_history(partner, type, since)
            else:
                more, seen = await _from_search(partner, type, since)
            changes += more
            newest = max(filter(None, (newest, seen)), default=None)
    first_contact = since is None
    for change in _in_order(changes):
        tally.add(await _apply(house, partner, change, first_contact))
    mark = _mark(newest, since)
    if mark is not None and mark != since:
        await house.store.commit(Keep("watermark", partner.name, mark.encode()))
    return tally


def _types(partner: Partner, offered: frozenset[str]) -> set[str]:
    """Which types to ask for, where a server has no feed over all."""
    wanted = partner.terms.types or FIRST_CLASS
    return set(wanted) & set(offered) if offered else set(wanted)


FIRST_CLASS = frozenset(
    ["Patient", "CarePlan", "Goal", "QuestionnaireResponse", "CareTeam", "Condition", "Task", "ServiceRequest", "Observation", "Communication", "DocumentReference", "RelatedPerson", "Flag", "List", "RiskAssessment", "Consent"]
)

Change = dict[str, Any]  # {"id": "Type/id", "resource": dict or None, "updated", "broken": why it is none}


async def _from_history(partner: Partner, type: str | None, since: str | None) -> tuple[list[Change], str | None]:
    changes: list[Change] = []
    newest = None
    async for page in partner.server.history(type, since):
        for entry in _entries(page):
            resource, request = entry.get("resource"), _object(entry.get("request"))
            if request.get("method") == "DELETE" or resource is None:
                parts = str(request.get("url", "")).split("/")
                if len(parts) >= 2:
                    changes.append({"id": "/".join(parts[-2:] if "_history" not in parts else parts[:2]), "resource": None, "updated": ""})
                continue
            changes.append(_change(resource))
            newest = max(filter(None, (newest, changes[-1]["updated"])), default=None)
    return changes, newest


async def _from_search(partner: Partner, type: str, since: str | None) -> tuple[list[Change], str | None]:
    params = {"_sort": "_lastUpdated", "_count": str(MANY)}
    if since:
        params["_lastUpdated"] = f"ge{since}"
    changes: list[Change] = []
    newest = None
    async for page in partner.server.search(type, params):
        for entry in _entries(page):
            resource = _object(entry.get("resource"))
            if resource.get("resourceType") == type and resource.get("id"):
                changes.append(_change(resource))
                newest = max(filter(None, (newest, changes[-1]["updated"])), default=None)
    return changes, newest


def _entries(page: dict[str, Any]) -> list[dict[str, Any]]:
    some = page.get("entry", [])
    return [_object(e) for e in some] if isinstance(some, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _change(resource: Any) -> Change:
    """What is no resource keeps the place of one, to be quarantined: it must not stop what stands beside it."""
    held = _object(resource)
    updated = _utc(str(_object(held.get("meta")).get("lastUpdated", "")))
    name = f"{held.get('resourceType')}/{held.get('id')}"
    return {"id": name, "resource": resource, "updated": updated, "broken": _broken(resource)}


def _broken(resource: Any) -> str:
    """Why this is not even the outline of a resource; "" when it is."""
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str) or not isinstance(resource.get("id"), str):
        return "An entry that is not a resource with a type and an id."
    meta = resource.get("meta", {})
    tags = meta.get("tag", []) if isinstance(meta, dict) else None
    if not isinstance(tags, list) or not all(isinstance(t, dict) for t in tags):
        return "A resource whose `meta` is not of its shape."
    return ""


def _utc(text: str) -> str:
    """One spelling, so that instants compare as texts."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError):
        return ""


def _mark(newest: str | None, since: str | None) -> str | None:
    """The next window's start: the newest stamp the server gave, less the overlap; never backwards."""
    if not newest:
        return since
    start = (datetime.fromisoformat(newest) - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return max(filter(None, (start, since)))


def _in_order(changes: list[Change]) -> list[Change]:
    """The newest state of each resource, people first, then oldest change first."""
    latest: dict[str, Change] = {}
    for change in changes:
        known = latest.get(change["id"])
        if known is None or (change["updated"] or "~") > (known["updated"] or "~"):
            latest[change["id"]] = change
    return sorted(latest.values(), key=lambda c: (not c["id"].startswith("Patient/"), c["updated"]))


async def pull_one(house: House, partner: Partner, link: Linked) -> Tally:
    """Look at one resource there now (after a version conflict)."""
    type, id = link.remote_id.split("/")
    try:
        reply = await partner.server.read(type, id)
    except Refusal as e:
        if e.status not in (404, 410):
            raise
        return await _apply(house, partner, {"id": link.remote_id, "resource": None, "updated": ""}, False)
    return await _apply(house, partner, _change(reply.body or {}), False)


async def _apply(house: House, partner: Partner, change: Change, first_contact: bool) -> Tally:
    """One change there: an echo, a merge, a new resource, a deletion."""
    if change.get("broken"):
        ctx = await as_owner(house, partner, "access")
        return await _quarantine(house, partner, ctx, change["id"], change["resource"], Problem("malformed", change["broken"]), [])
    link = await house.store.link_by_remote(partner.name, change["id"])
    if link is None:
        if change["resource"] is None or our_tag(change["resource"]) or first_contact:
            return Tally()
        return await _new_there(house, partner, change)
    if link.gone:
        return Tally()
    if change["resource"] is None:
        return await _deleted_there(house, partner, link)
    if link.etag and _etag_of(change["resource"]) == link.etag:
        return Tally()
    return await _changed_there(house, partner, link, change["resource"])


async def _changed_there(house: House, partner: Partner, link: Linked, there: dict[str, Any]) -> Tally:
    stored = await house.store.get(link.ref)
    if stored is None or stored.deleted:
        return Tally()
    ctx = await as_owner(house, partner, "access")
    names = await _names(house, partner, there, link.base_sent)
    local = strict.read(stored.body or b"")
    views = Cut(VIEW) if began_there(link) else await gate.shown_to(await as_owner(house, partner, "disclose"), partner.terms, stored)
    theirs = _restored(local, incoming(there, link.ref, names), views)
    if link.ref.type == "Patient" and (contradicts(local, theirs) or nhs_numbers(local) != nhs_numbers(theirs)):
        wrong = Problem("conflict", "Who this is has changed there: NHS number, date of birth or family name. A person must look.", "Patient")
        return await _quarantine(house, partner, ctx, link.remote_id, theirs, wrong, [])
    base = strict.read(link.base_received or link.base_sent or b"{}")
    agreed = _restored(local if stored.version == link.version else await _then(house, link, local), incoming(base, link.ref, names), views)
    step = reconcile(agreed, local, theirs)
    seen = Linked(**{**_fields(link), "etag": _etag_of(there), "base_received": strict.dump(there)})
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
    return strict.read(stored.body) if stored is not None and stored.body is not None else local


async def _take(
    house: House, partner: Partner, ctx: Context, seen: Linked, stored: Stored, merged: dict[str, Any], push_back: bool
) -> Tally:
    """Write their change here, as their organisation, by the rules for any client."""
    try:
        written = await gate.update(ctx, stored.ref, strict.dump(merged), if_match=stored.version)
    except Problem as p:
        if p.kind == "stale":
            return Tally(delayed=1)
        return await _quarantine(house, partner, ctx, seen.remote_id, merged, p, [seen])
    version = written.version if not push_back else seen.version
    await house.store.commit(Linked(**{**_fields(seen), "version": version}))
    return Tally(pulled=1)


async def _conflict(
    house: House, partner: Partner, ctx: Context, seen: Linked, stored: Stored, theirs: dict[str, Any], step: Conflict
) -> Tally:
    """Both versions are kept, the deterministic winner is served, a person decides."""
    record = {
        "id": house.new_id(), "remote": partner.name, "ref": str(stored.ref), "at": ctx.at.isoformat(), "paths": list(step.paths),
        "ours": strict.read(stored.body or b""), "theirs": theirs,
    }  # fmt: skip
    kept: list[Op] = [seen, Keep("conflict", f"{partner.name} {stored.ref}", strict.dump(record))]
    trail = [note(ctx, "U", "conflict", None, (str(stored.ref),), patient=p, allowed=True) for p in stored.facts.patients]
    local = strict.read(stored.body or b"")
    if step.winner is not None and step.winner != local:
        tally = await _take(house, partner, ctx, seen, stored, step.winner, True)
        await house.store.commit(*kept[1:], *trail)
    else:
        first = next(iter(stored.facts.patients), None)
        await house.store.commit(*kept, *trail, Send(partner.name, stored.ref, stored.version, first))
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
        return await _quarantine(house, partner, ctx, change["id"], body, p, [])
    linked = Linked(
        partner.name, written.ref, change["id"], _etag_of(there), change["updated"], written.version, strict.dump(there), strict.dump(there)
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
        return await _quarantine(house, partner, ctx, change["id"], body, p, [])
    sent = strict.dump(there)
    await house.store.commit(Linked(partner.name, written.ref, change["id"], _etag_of(there), change["updated"], written.version, sent, sent))
    return Tally(pulled=1)


async def _deleted_there(house: House, partner: Partner, link: Linked) -> Tally:
    """Their deletion is a proposal: applied where they may change it, else our copy stays and the link ends."""
    ctx = await as_owner(house, partner, "access")
    stored = await house.store.get(link.ref)
    gone = Linked(**{**_fields(link), "gone": True})
    if stored is None or stored.deleted:
        await house.store.commit(gone)
        return Tally()
    if stored.version != link.version:
        await house.store.commit(gone, Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None)))
        return Tally()
    await house.store.commit(gone)
    try:
        await gate.remove(ctx, link.ref, if_match=stored.version)
    except Problem as p:
        return await _quarantine(house, partner, ctx, link.remote_id, {"deleted": True}, p, [])
    return Tally(pulled=1)


async def _quarantine(
    house: House, partner: Partner, ctx: Context, remote_id: str, body: Any, p: Problem, also: list[Op]
) -> Tally:
    item = {"remote": partner.name, "id": remote_id, "at": ctx.at.isoformat(), "body": body, "outcome": outcome(p.issues)}
    trail = note(ctx, "U", "sync", None, (), allowed=False, detail=f"quarantined: {p.kind}")
    await house.store.commit(*also, Keep("quarantine", f"{partner.name} {remote_id}", strict.dump(item)), trail)
    return Tally(refused=1)


async def _names(house: House, partner: Partner, there: dict[str, Any], sent: bytes | None) -> dict[str, str]:
    """Their `Type/id` to ours, for everything this resource refers to."""
    from .partner import local_references

    out: dict[str, str] = {}
    bodies = [there] + ([strict.read(sent)] if sent else [])
    for target in (t for b in bodies for t in local_references(b)):
        link = await house.store.link_by_remote(partner.name, str(target))
        if link is not None:
            out[str(target)] = str(link.ref)
    return out


__all__ = ["pull", "pull_one"]
