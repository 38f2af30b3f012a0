"""What an operator sees of a partner: how far it is, what is still to be taken back, what would be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from .. import gate
from ..domain.reasons import plainly
from ..domain.types import Disclosed, Ref
from ..gate import House
from ..gate.ended import ended, to_ask_for
from ..gate.waiting_room import GONE
from ..remote.client import Elsewhere
from . import attempts, beyond, identity, originals, reading_back
from .backfill import filled, missing
from .links import began_there
from .missing import counts, doubt, resending
from .missing import missed as not_found
from .moved import elsewhere
from .partner import Partner, as_owner
from .state import WAYS, abilities, identity_search, read

MOST = 10_000
FOR_A_PERSON = ("parked", "conflicts", "quarantined", "identity", "recalls_open")
SILENT = timedelta(seconds=5)  # of a worker that has entries
LOOKED_AT = 200  # parked entries of which consent is asked; the others count as they stand. As many people of whom a review waits


async def status(house: House, partner: Partner) -> dict[str, Any]:
    """What `going` says, with `{held, withheld, parked, conflicts, quarantined, identity, recalls_open, recalls_parked, dropped, missing, missing_until, lost, resending, unread, abilities, organisation_known,
    met, first_sync, quiet, in_step}`.

    `abilities` as it was met last (None: never yet). `first_sync`: all that was here before is queued. `quiet`: it was met, and nothing waits,
    is under way or is still to be taken back. `missing`: answered 404 and
    count as gone, all of them, when they do so again after `missing_until`. `lost`: as `lost` says; `resending`: that is being mended. `unread`: under so many stamps is more than can be read there. `in_step`: nor is anything missing or unread, nor waits anything for a person, and
    the directory knows whose server it is.
    """
    states, now, how = await house.store.outbox(partner.name), house.clock(), await going(house, partner)
    recalls = await open_recalls(house, partner)
    under_way = await attempts.open_of(house, partner)
    able, begun = await abilities(house, partner.name), await filled(house, partner.terms)
    missed = await not_found(house, partner)
    met = bool(able or how["last_push"] or how["last_pull"] or await house.store.links(partner.name, count=1))

    async def kept(kind: str) -> int:
        return await house.store.kept_count(kind, now, f"{partner.name} ")

    said = {
        **how,
        "held": await _held(house, partner),
        "withheld": states.get("withheld", 0),
        "parked": states.get("parked", 0),
        "conflicts": await kept("conflict"),
        "quarantined": await kept("quarantine"),
        "identity": await kept(identity.KIND),
        "recalls_open": len(recalls),
        "recalls_parked": sum(r["why"].startswith("parked") for r in recalls.values()),
        "dropped": await kept(reading_back.KIND),
        "missing": len(missed),
        "lost": await lost(house, partner.name),
        "resending": await house.store.kept(*resending(partner), now) is not None,
        "unread": await kept(beyond.KIND),
        "missing_until": _text(max((counts(partner, first) for first in missed.values()), default=None)),
        "abilities": able,
        "organisation_known": await gate.owner_known(house, partner.terms),
        "met": met,
        "first_sync": begun,
        "quiet": met and begun and how["queued"] == 0 and not under_way and not recalls,
    }
    return {**said, "in_step": said["quiet"] and said["organisation_known"] and not said["paused"] and not any(said[k] for k in ("missing", "lost", "resending", "unread", *FOR_A_PERSON))}


async def _held(house: House, partner: Partner) -> list[dict[str, Any]]:
    """`{holder, entries, spoke, until}` of each worker that has entries and has said nothing for SILENT: it is at a slow request, or it died.
    Nobody else takes these before `until`."""
    by: dict[str, list[datetime]] = {}
    for item in await house.store.outbox_items(partner.name, "leased", MOST):
        if item["holder"] and item["until"]:
            by.setdefault(item["holder"], []).append(item["until"])
    return [
        {"holder": name, "entries": len(ends), "spoke": _text(max(ends) - attempts.HOLD), "until": _text(max(ends))}
        for name, ends in sorted(by.items()) if house.clock() - max(ends) + attempts.HOLD >= SILENT
    ]  # fmt: skip


async def lost(house: House, remote: str) -> dict[str, Any] | None:
    """`{listed, known, since}` of a server that lacks more than half of what it is known to have; else None."""
    said = await doubt(house, remote)
    return {"listed": said.known - said.lacking, "known": said.known, "since": said.since.isoformat()} if said is not None else None


async def going(house: House, partner: Partner) -> dict[str, Any]:
    """`{remote, lag_s, queued, state, paused, since, next_try, failures, last_push, last_pull, identity_search, first_at}`; times are texts or None. `lag_s` is the age of
    the oldest entry that waits. `state` is "" while all goes well, else what its breakers say: away, asked-to-wait, locked; or moved: nothing is asked of it, for it is not at `first_at`, where the server is that we were in step with; `failures` in a row;
    `next_try` is None where nothing is left to send that would be tried. `identity_search`: it says who has an NHS number; False: it does not,
    so people are made there without looking; None: it was not asked yet."""
    now, remote, first = house.clock(), partner.name, await elsewhere(house, partner)
    waiting = [found for (state, _), found in (await house.store.outbox_unfinished(remote)).items() if state != "parked"]
    ways = {way: await read(house, remote, way) for way in WAYS}
    wrong = [s for s in ways.values() if s.kind and first is None]
    tried = [s.until for way, s in ways.items() if s.kind and first is None and s.until and (waiting or way == "pull" or s.until > now)]  # else there is nothing to try with
    return {
        "remote": remote,
        "lag_s": round(max([0.0, *((now - oldest).total_seconds() for _, oldest in waiting)]), 1),
        "queued": sum(n for n, _ in waiting),
        "state": "moved" if first is not None else "; ".join(dict.fromkeys(s.kind for s in wrong)),
        "paused": str(Elsewhere(first, partner.server.base)) if first is not None else "; ".join(dict.fromkeys(s.why for s in wrong)),
        "since": _text(min((s.since for s in wrong if s.since), default=None)),
        "next_try": _text(min(tried, default=None)),
        "failures": max((s.failures for s in wrong), default=0),
        "last_push": _text(ways["push"].good),
        "last_pull": _text(ways["pull"].good),
        "identity_search": await identity_search(house, remote),
        "first_at": first,
    }


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


async def open_recalls(house: House, partner: Partner) -> dict[str, dict[str, Any]]:
    """What is there, or may be, and is to be taken back: by `Type/id`, `{since, why, words}`, of it `words` where it was refused. Queued, being tried, to be tried again or parked, and
    what a review that waits would take back."""
    counts = await house.store.outbox_unfinished(partner.name)
    found: dict[str, dict[str, Any]] = {}
    looked = 0
    for state in ("queued", "leased", "parked"):
        if not any(s == state and (why == "recall" or s == "parked") for s, why in counts):
            continue
        for item in await _may_be_recalls(house, partner, state):
            if item["why"] != "recall" and (state != "parked" or item["why"] == "review"):
                continue
            if state == "parked":
                looked += 1
                if looked > LOOKED_AT and item["why"] != "recall":
                    continue
                if looked <= LOOKED_AT and not await _is_to_go(house, partner, item):
                    continue
            why = f"{state}: {item['detail']}" if item["detail"] else state
            found.setdefault(item["ref"], {"since": item["queued_at"], "why": why, "words": plainly(item["detail"]) if state == "parked" else ""})
    for person, since in (await _to_be_reviewed(house, partner, counts)).items():
        rows = await attempts.there_now(house, partner, person)
        for row in rows:
            if str(row.ref) not in found and not await _may_be_there(house, partner, row.ref, rows):
                found[str(row.ref)] = {"since": since, "why": "queued: what has changed for this person is still to be looked at", "words": ""}
    for ref, attempt in (await attempts.open_of(house, partner)).items():
        if attempt.recall or not await _may_be_there(house, partner, ref):
            since = min((t.when for t in attempt.tries), default=house.clock())
            found.setdefault(str(ref), {"since": since, "why": "a request of ours has not been answered", "words": ""})
    return found


async def _may_be_recalls(house: House, partner: Partner, state: str) -> list[dict[str, Any]]:
    """Every recall in this state, however much else is; of what is parked the oldest of the others, too, which may have become one."""
    recalls = await house.store.outbox_items(partner.name, state, MOST, why="recall")
    if state != "parked":
        return recalls
    both = {i["entry"]: i for i in (*recalls, *await house.store.outbox_items(partner.name, state, MOST))}
    return [both[entry] for entry in sorted(both)]


async def _to_be_reviewed(house: House, partner: Partner, counts: Mapping[tuple[str, str], Any]) -> dict[str, datetime]:
    """Of whom a review waits, and since when; the oldest of them."""
    found: dict[str, datetime] = {}
    for state in ("queued", "leased"):
        if (state, "review") in counts:
            for item in await house.store.outbox_items(partner.name, state, MOST, why="review"):
                if item["patient"] and len(found) < LOOKED_AT:
                    found.setdefault(item["patient"], item["queued_at"])
    return found


async def oldest_recall(house: House, partner: Partner) -> datetime | None:
    """Since when something is to be taken back."""
    return min((r["since"] for r in (await open_recalls(house, partner)).values()), default=None)


async def _is_to_go(house: House, partner: Partner, item: dict[str, Any]) -> bool:
    """Was this sent, is it still there as far as we know, and may it not be."""
    ref = Ref(*item["ref"].split("/"))
    rows = await attempts.there_now(house, partner, item["patient"])
    under_way = await attempts.of(house, partner, ref) is not None
    return (under_way or any(d.ref == ref for d in rows)) and not await _may_be_there(house, partner, ref, [] if under_way else rows)


async def _may_be_there(house: House, partner: Partner, ref: Ref, rows: Collection[Disclosed] = ()) -> bool:
    there = [row for row in rows if row.ref == ref]
    return await originals.may_stay(house, partner, await as_owner(house, partner, "disclose"), await house.store.get(ref), there)


async def preview(house: House, partner: Partner) -> AsyncIterator[dict[str, Any]]:
    """`{remote, ref, would, why, for}` of everything queued or to be queued, by the question asked at the moment of sending. Nothing is sent.

    `would`: send, withhold, take back, or wait for somebody of whom it is not sure who they are there. Of whom that server was not yet asked nothing
    is said: to ask is to tell it a number. `for`: the organisation that a processor would keep it for, or None.
    """
    ctx = await as_owner(house, partner, "disclose")
    doubts = {d.ref: d for d in await identity.waiting(house, partner)}
    for unsure in doubts.values():
        yield {"remote": partner.name, "ref": unsure.ref, "would": "wait", "why": f"identity: {unsure.text}", "for": None}
    there: dict[Ref, list[Disclosed]] = {}
    for row in await to_ask_for(house, await attempts.there_now(house, partner, None)):
        there.setdefault(row.ref, []).append(row)
    async for ref, waits_to_go in _to_look_at(house, partner, there):
        stored, link = await house.store.get(ref), await house.store.link(partner.name, ref)
        if stored is None or (began_there(link) and link is not None and link.version == stored.version and ref not in there):
            continue
        found = await gate.grounds(ctx, partner.terms, stored)
        decision = found.decision
        if stored.deleted and ref in there:
            yield {"remote": partner.name, "ref": str(ref), "would": "take back", "why": "it was deleted here", "for": None}
            continue
        settled = decision.permit and link is not None and not link.gone and link.version == stored.version
        back = not decision.permit and ref in there and not await gate.may_keep(ctx, partner.terms, stored, there[ref])
        if stored.deleted or settled or not (decision.permit or waits_to_go or back):
            continue
        if decision.permit and (waits := next((doubts[p] for p in stored.facts.patients if p in doubts), None)) is not None:
            if str(ref) != waits.ref:
                yield {"remote": partner.name, "ref": str(ref), "would": "wait", "why": f"identity of {waits.ref}: {waits.text}", "for": None}
            continue
        yield {
            "remote": partner.name, "ref": str(ref), "would": "send" if decision.permit else "take back" if back else "withhold",
            "why": f"{decision.basis}: {decision.rule}" if decision.rule else decision.basis,
            "for": found.on_behalf_of if decision.permit else None,
        }  # fmt: skip


async def _to_look_at(house: House, partner: Partner, there: Collection[Ref]) -> AsyncIterator[tuple[Ref, bool]]:
    """What is queued, what was here before it was agreed on, and what a review would look at: what is there, was held back, or taken back.
    With each whether it waits to go."""

    async def of(state: str) -> list[Ref]:
        return [Ref(*i["ref"].split("/")) for i in await house.store.outbox_items(partner.name, state, MOST) if i["why"] != "review"]

    back = [d.ref for d in await house.store.ledger(remote=partner.name) if d.recalled is not None]
    queued, reviewed = dict.fromkeys(await of("queued")), {*there, *await of("withheld"), *back}
    said = {*queued, *reviewed}
    for ref in dict.fromkeys((*queued, *sorted(reviewed))):
        yield ref, ref in queued
    async for stored in missing(house, partner):
        if stored.ref not in said:
            yield stored.ref, True


async def ledger(house: House, partner: Partner) -> list[dict[str, Any]]:
    """`{remote, ref, sent, fetched, recalled, open, why, for}`, and `since` and `words` of what is open: what was sent and taken back, what a person ended because they say that it is gone
    (neither recalled nor open), then what is still to be taken back."""
    rows = await house.store.ledger(remote=partner.name)
    sent = {str(d.ref): d for d in sorted(rows, key=lambda d: not d.fetched) if d.recalled is None}
    over = {ref: said for ref, d in sent.items() if (said := await ended(house, partner.name, d.ref, [d])) is not None}

    def row(d: Disclosed | None, **more: Any) -> dict[str, Any]:
        return {"remote": partner.name, "sent": d.at if d else None, "fetched": bool(d and d.fetched), "for": d.on_behalf_of if d else None, "recalled": None, "why": "", "open": False, **more}

    done = [row(d, ref=str(d.ref), recalled=d.recalled) for d in rows if d.recalled is not None]
    done += [row(sent[ref], ref=ref, why=f"{GONE}: {said.why}") for ref, said in over.items()]
    return done + [row(sent.get(ref), ref=ref, open=True, **found) for ref, found in (await open_recalls(house, partner)).items()]
