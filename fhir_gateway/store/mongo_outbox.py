"""The outbox: what waits for which server, and who holds it. A lease is fenced: whoever lost it cannot close the entry.

A lane is a person, or a resource that is nobody's. Entries of a lane run one at a time, in order; so do those of a resource.
Only a review or a recall goes by what waits for another try, and a review by a recall of the very record, too; of all lanes theirs come first. The lane of somebody of whom something is there when
theirs is queued is in a hurry until that has been tried: with what stands before it, it goes before all others, however much waits.
One lease of a remote is given at a time, whatever the number of workers: each writes to the remote's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from ..domain.periods import instant, micros
from ..domain.types import Queued, Ref
from .base import HURRY, URGENT, Unavailable
from .mongo_documents import Document
from .mongo_server import Database

SKEW: Final = 60_000_000
_LOOKED_AT: Final = {
    "lane": 1, "ref": 1, "state": 1, "due": 1, "until": 1, "taken": 1, "fence": 1, "version": 1, "patient": 1, "why": 1, "tries": 1,
    "queued_at": 1,
}  # fmt: skip


async def numbers(db: Database, count: int) -> range:
    """Numbers for further entries, given once; in order for whoever writes one after the other."""
    if not count:
        return range(0)
    last = await _counted(db, count) or await _counted(db, count)  # of two who make the counter at one moment, one finds it made
    if last is None:
        raise Unavailable("the counter of the outbox cannot be written")
    return range(last - count + 1, last + 1)


async def _counted(db: Database, count: int) -> int | None:
    """None where another made the counter at this moment."""
    try:
        d: Any = await db.counter.find_one_and_update({"_id": "outbox"}, {"$inc": {"n": count}}, upsert=True, return_document=ReturnDocument.AFTER)
    except DuplicateKeyError:
        return None
    return int(d["n"]) if d is not None else None


async def lease(
    db: Database, session: AsyncClientSession, remote: str, holder: str, at: datetime, seconds: float, count: int, reviews: bool = False
) -> list[Queued]:
    """Due entries, of those in a hurry first, then reviews and recalls, then oldest first: the first open one of each lane whose lease is over, and nothing older of its resource is open.
    `reviews`: the first of these, as if nothing else were due."""
    now = micros(at)
    await db.counter.update_one({"_id": f"lease {remote}"}, {"$inc": {"n": 1}}, upsert=True, session=session)
    entries = await _due(db, session, remote, now, count, reviews)
    if entries:
        until = now + round(seconds * 1e6)
        await db.outbox.bulk_write(
            [
                UpdateOne(
                    {"_id": e["_id"], "fence": e["fence"]},
                    {"$set": {"state": "leased", "holder": holder, "taken": now, "until": until}, "$inc": {"fence": 1, "tries": 1}},
                )
                for e in entries
            ],
            session=session,
        )
    return [
        Queued(
            int(e["_id"]), int(e["fence"]) + 1, remote, Ref(*e["ref"].split("/", 1)), e["version"], e["patient"], e["why"], e["tries"], instant(e["queued_at"])
        )
        for e in entries
    ]  # fmt: skip


async def _due(db: Database, session: AsyncClientSession, remote: str, now: int, count: int, reviews: bool) -> list[Document]:
    if count < 1:
        return []
    running = {
        name
        async for e in db.outbox.find({"open": remote, "state": "leased"}, _LOOKED_AT, session=session)
        if not _over(e, now)
        for name in (f"lane {e['lane']}", f"ref {e['ref']}")
    }
    async def beside(lanes: Collection[str], refs: Collection[str]) -> list[Document]:
        """What stands in these lanes, or is of these resources, says which of them may go."""
        near: Document = {"$or": [{name: {"$in": sorted(those)}} for name, those in (("lane", lanes), ("ref", refs))]}
        return [e async for e in db.outbox.find({"open": remote, **near}, _LOOKED_AT, session=session).sort("_id", 1)]

    urgent = [e async for e in db.outbox.find({"open": remote, "why": {"$in": ["review"] if reviews else list(URGENT)}}, {"lane": 1, "ref": 1, "due": 1}, session=session)]
    first: list[Document] = []
    if hurried := [e for e in urgent if e["due"] == HURRY]:
        lanes = {e["lane"] for e in hurried}
        theirs = await beside(lanes, {e["ref"] for e in hurried})
        turn = {e["ref"] for e in _Turns(running, now, reviews).of(theirs) if e["lane"] in lanes}
        near = {e["_id"]: e for e in [*theirs, *await beside((), turn)]}  # what is older of these, in whatever lane, goes before
        first = [e for e in _Turns(running, now, reviews).of([near[id] for id in sorted(near)]) if e["lane"] in lanes][:count]
    if urgent and len(first) < count:
        mine, near_urgent = {e["_id"] for e in first}, await beside({e["lane"] for e in urgent}, {e["ref"] for e in urgent})
        first += [e for e in _Turns(running, now, reviews).of(near_urgent) if e["why"] in URGENT and e["_id"] not in mine][: count - len(first)]
    if len(first) < count and not reviews:
        turns, mine = _Turns(running, now), {e["_id"] for e in first}
        async for e in db.outbox.find({"open": remote}, _LOOKED_AT, session=session).sort("_id", 1):
            first += [e for e in turns.of([e]) if e["_id"] not in mine]
            if len(first) >= count:
                break
    return first


class _Turns:
    """Whose turn it is, asked of open entries in order."""

    def __init__(self, running: set[str], now: int, reviews: bool = False) -> None:
        self.running, self.now, self.reviews = running, now, reviews
        self.taken, self.passed = set[str](), set[str]()  # lanes and resources: nothing more of these; only what is urgent of those
        self.late = set[str]()  # resources of which a recall waits for another try: of these only a review

    def of(self, entries: Sequence[Document]) -> list[Document]:
        return [e for e in entries if self._goes(e)]

    def _goes(self, e: Document) -> bool:
        running, taken, passed, late = self.running, self.taken, self.passed, self.late
        lane, ref, urgent = f"lane {e['lane']}", f"ref {e['ref']}", e["why"] in URGENT
        ready = (e["due"] <= self.now if e["state"] == "queued" else _over(e, self.now)) and (e["why"] == "review" or not self.reviews)
        turn = lane not in running and lane not in taken and (lane not in passed or (urgent and ready))
        free = ref not in running and ref not in taken and (ref not in passed or urgent) and (ref not in late or e["why"] == "review")
        if turn:
            (taken if ready else passed).add(lane)
        queued = e["state"] == "queued"
        (passed if queued and not urgent and not (turn and ready) else late if queued and urgent and e["due"] > self.now else taken).add(ref)
        return turn and free and ready


def _over(e: Document, now: int) -> bool:
    """A lease taken more than a minute after now was granted by a clock that has been set back since: it is over too."""
    return bool(e["until"] <= now or e["taken"] > now + SKEW)


async def requeue(
    db: Database, session: AsyncClientSession, remote: str, state: str, refs: Sequence[Ref] | None, into: str = "queued"
) -> int:
    """Fresh tries, due at once, or before all else where it was so when it came; the fence stays, so that no late worker can close it."""
    which: Document = {"remote": remote, "state": state}
    if refs is not None:
        which["ref"] = {"$in": sorted({str(ref) for ref in refs})}
    hurried: list[str | None] = []
    if into == "queued":
        for person in await db.outbox.distinct("patient", {**which, "why": {"$in": list(URGENT)}}, session=session):
            if await db.ledger.find_one({"patient": person, "open": remote}, {"_id": 1}, session=session) is not None:
                hurried.append(person)
    hurries: Document = {**which, "why": {"$in": list(URGENT)}, "patient": {"$in": hurried}}
    sets: Document = {"state": into} | ({"due": 0, "tries": 0, "open": remote} if into == "queued" else {})
    first = await db.outbox.update_many(hurries, {"$set": {**sets, "due": HURRY}}, session=session) if hurried else None
    done = await db.outbox.update_many(which, {"$set": sets}, session=session)
    return done.matched_count + (first.matched_count if first is not None else 0)


def item(e: Document) -> Document:
    """As the operator sees an entry."""
    names = ("ref", "version", "patient", "why", "tries", "detail", "holder")
    until = instant(e["until"]) if e["until"] is not None else None
    return {"entry": int(e["_id"]), **{n: e[n] for n in names}, "queued_at": instant(e["queued_at"]), "due": instant(e["due"]), "until": until}
