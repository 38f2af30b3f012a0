"""A change of theirs, united with what was changed here since both sides last agreed; written as theirs, by the rules for any client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.entries import same
from ..domain.identity import unlike
from ..domain.labels import joined
from ..domain.masked import found_again, shown_again, unmasked
from ..domain.problem import Problem
from ..domain.reconcile import Conflict, Merge, Nothing, Pull, Push, Step, content, reconcile
from ..domain.rendering import put_back, rendered
from ..domain.types import VIEW, Cut, Drop, Linked, Op, Send, Stored
from ..gate import Context, House
from ..gate.ended import KIND as ENDED
from . import attempts, identity, reading_back
from .links import agreed_by, began_there, changed, etag_of
from .partner import Partner, addressed, as_owner, incoming, said_in, sides
from .tally import Tally
from .waiting import QUARANTINE, both_kept, quarantine, refused_there
from .whose import called_by_both, called_now, called_there, held_by_name, names_of, only_shared


class Again(Exception):
    """What is here changed while it was looked at."""


async def merged(
    house: House, partner: Partner, ctx: Context, link: Linked, stored: Stored, there: dict[str, Any], ours: Mapping[str, str]
) -> Tally:
    """`ours`: what of that it refers to is a copy of ours that no link tells of yet, their `Type/id` to ours."""
    names = {**ours, **await names_of(house, partner, there, link.base_sent)}
    agreed, theirs, local, known = await as_here(house, partner, link, stored, there, names)
    if link.ref.type == "Patient" and (why := unlike(local, theirs)):
        await identity.hold(house, partner, ctx, link.ref, why, [link.remote_id])
        return await quarantine(house, partner, ctx, link.remote_id, theirs, identity.wrong(why), [])
    settled = link.ref.type == "Patient" and await identity.settle(house, partner, ctx, link.ref)
    alike = await called_by_both(house, partner, local, theirs) if agreed is None or not same(content(agreed), content(local)) else {}
    tally = await _united(house, partner, ctx, link, stored, there, theirs, local, reconcile(agreed, local, theirs, alike), known)
    tally.seen += settled
    return tally


async def as_here(
    house: House, partner: Partner, link: Linked, stored: Stored, there: dict[str, Any], names: dict[str, str]
) -> tuple[dict[str, Any] | None, dict[str, Any], dict[str, Any], set[str]]:
    """What both sides agreed on last (None of a copy that was found there) and theirs now, as it is called here, with what either side held back
    put in its place; ours; and what they may name. `names`: their `Type/id` to ours."""
    local = strict.decode(stored.body or b"")
    names = await called_now(house, partner, local, there, names)
    as_them = await as_owner(house, partner, "disclose")
    names |= {their: ours for ours, their in (await called_there(house, partner, as_them, local, ())).items() if their in names}
    views = Cut(VIEW) if began_there(link) else await gate.shown_to(as_them, partner.terms, stored)
    then = local if stored.version == link.version else await _then(house, link, local)
    at, said, held = sides(house, partner), said_in(local, then), await reading_back.agreed(house, partner, link, there)
    base = incoming(held, link.ref, names, said, at) if held is not None else None
    theirs = incoming(there, link.ref, names, said, at)
    local, then = found_again(local, theirs, names), found_again(then, theirs, names)
    if link.version:
        base, theirs = shown_again(base, rendered(then, views), theirs)
    else:  # of what was agreed on it is not known what it named
        _, theirs = shown_again(None, rendered(then, views), theirs)
    agreed = _restored(then, base, views) if base is not None else None
    local = unmasked(local, agreed, agreed) if agreed is not None else local
    return agreed, _restored(then, theirs, views), local, {*names.values(), *said, *addressed(at, at.ours, local, then)}


async def _united(
    house: House, partner: Partner, ctx: Context, link: Linked, stored: Stored, there: dict[str, Any], theirs: dict[str, Any], local: dict[str, Any],
    step: Step, known: set[str],
) -> Tally:  # fmt: skip
    """The step that both sides take from what they last agreed on. `known`: what theirs may name."""
    updated = str(there.get("meta", {}).get("lastUpdated", ""))
    seen = changed(link, etag=etag_of(there), remote_updated=updated, base_received=strict.dump(there))
    try:
        await only_shared(house, partner, theirs, known)
    except Problem as p:
        return await _stands(house, partner, ctx, seen, theirs, p)
    if isinstance(step, Nothing):
        await house.store.commit(seen, waits_no_more(partner, link.remote_id))
        return Tally()
    if isinstance(step, Push):
        await house.store.commit(seen, waits_no_more(partner, link.remote_id), Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None)))
        return Tally()
    if partner.terms.direction == "out":  # theirs is not taken: ours goes there again, and theirs is kept for a person
        step = Conflict(local, theirs, step.paths if isinstance(step, Conflict) else (link.ref.type,))
    if isinstance(step, Conflict):
        winner = await held_by_name(house, step.winner, theirs, known) if step.winner is not None else None
        return await _conflict(house, partner, ctx, seen, stored, await held_by_name(house, theirs, theirs, known), replace(step, winner=winner))
    merged = (step.body if isinstance(step, (Merge, Pull)) else None) or theirs
    return await _take(house, partner, ctx, seen, stored, await held_by_name(house, merged, theirs, known), isinstance(step, Merge))


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
    house: House, partner: Partner, ctx: Context, seen: Linked, stored: Stored, merged: dict[str, Any], push_back: bool, more: Sequence[Op] = ()
) -> Tally:
    """Write their change here, as their organisation, by the rules for any client; the link, and what goes with it, in that commit."""

    def also(written: gate.Written) -> list[Op]:
        version = seen.version if push_back else written.version
        return [changed(seen, version=version), waits_no_more(partner, seen.remote_id), *more]

    try:
        await gate.update(ctx, stored.ref, strict.dump(merged), if_match=stored.version, also=also)
    except Problem as p:
        return await _stands(house, partner, ctx, seen, merged, p, more)
    return Tally(pulled=1)


def waits_no_more(partner: Partner, remote_id: str) -> Op:
    """What of it was in quarantine is over: a later state of it is taken in."""
    return Drop(QUARANTINE, f"{partner.name} {remote_id}")


async def as_agreed(house: House, partner: Partner, link: Linked, there: dict[str, Any], fresh: bool) -> Tally:
    """What is there is what both sides agreed on last. Where what they wrote since was refused and is not there any more (`fresh`: read just now), ours goes."""
    await reading_back.looked(house, partner, link, there)
    stored = await house.store.get(link.ref) if fresh and await refused_there(house, partner, link) else None
    if stored is not None:
        await house.store.commit(waits_no_more(partner, link.remote_id), Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None)))
    return Tally()


async def _stands(house: House, partner: Partner, ctx: Context, seen: Linked, body: Any, p: Problem, more: Sequence[Op] = ()) -> Tally:
    """Refused here, and it stays as it is there: what both sides agreed on is what it was before (`seen.if_was`), and nothing of ours goes over it
    while it waits. Each look at it there tries it once more. A copy that was said to be gone, and is written in, is there. A processor keeps
    nothing for itself: what was changed there waits here, with `more`, and ours goes on."""
    if partner.terms.role == "processor":
        return await refused(house, partner, ctx, seen.remote_id, body, p, [seen, *more])
    link = seen.if_was or seen
    holds = {"agreed": agreed_by(link), "there": attempts.digest(strict.decode(seen.base_received or b"{}"))}
    raw = await house.store.kept(QUARANTINE, f"{partner.name} {link.remote_id}", ctx.at)
    new = not began_there(link) and (raw is None or strict.decode(raw).get("holds") != holds)
    shows: list[Op] = [Drop(ENDED, f"{partner.name} {link.ref}")] if new else []
    return await refused(house, partner, ctx, seen.remote_id, body, p, [changed(link), *shows], holds)


async def refused(
    house: House, partner: Partner, ctx: Context, remote_id: str, body: Any, p: Problem, also: list[Op], holds: Mapping[str, str] | None = None
) -> Tally:
    """What cannot be taken is in quarantine; what only came at the wrong moment is looked at again."""
    if p.kind in ("stale", "unavailable"):
        raise Again
    return await quarantine(house, partner, ctx, remote_id, body, p, also, holds=holds)


async def _conflict(
    house: House, partner: Partner, ctx: Context, seen: Linked, stored: Stored, theirs: dict[str, Any], step: Conflict
) -> Tally:
    """Both versions are kept, the deterministic winner is served, a person decides."""
    kept, trail = await both_kept(house, partner, ctx, stored, theirs, step)
    local = strict.decode(stored.body or b"")
    if step.winner is not None and step.winner != local:
        tally = await _take(house, partner, ctx, seen, stored, step.winner, True, [kept, *trail])
    else:
        first = next(iter(stored.facts.patients), None)
        await house.store.commit(seen, kept, *trail, Send(partner.name, stored.ref, stored.version, first))
        tally = Tally()
    tally.conflicts += 1
    return tally
