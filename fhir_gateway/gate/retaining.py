"""What is over its retention, what must not go yet, and the one way in which a record is disposed of. docs/retention.md

For operators, in the name of a privacy officer; no route leads here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec

from ..domain import retention, strict
from ..domain.periods import LONDON, micros
from ..domain.person import born, died
from ..domain.problem import Problem, not_found
from ..domain.retention import day
from ..domain.search import Query
from ..domain.types import Always, Bump, Dispose, Drop, Has, Keep, Ref, Send, Stored
from ..domain.versions import Version
from . import told_again
from .context import Context, note
from .ended import to_ask_for
from .kinds import KINDS

HOLD, DISPOSED = "retention-hold", "disposed"  # kept
LONGEST: Final = 500  # characters of a reason
PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Due:
    """A record at the end of its retention. `state`: due, held, linked (one person's two records: a person
    decides), copies (partners hold some: they are recalled first). `recent`: something in it is of a later day than `until`."""

    person: str
    rule: str
    last: str
    until: str
    state: str
    resources: int
    copies: int
    recent: bool = False


# -- legal holds ----------------------------------------------------------------------------------------------------------


async def hold(ctx: Context, patient: str, reason: str, officer: str) -> None:
    """This record does not go, whatever the schedule says. Problem not-found, business-rule."""
    ref = await _somebody(ctx, patient)
    if not reason.strip() or len(reason) > LONGEST:
        raise Problem("business-rule", f"Say why in `reason` (at most {LONGEST} characters).", "reason")
    said = {"reason": reason.strip(), "officer": officer, "at": ctx.at.isoformat()}
    row = note(ctx, "U", "hold", None, (str(ref),), patient=str(ref), allowed=True, detail=f"for {officer}: {reason.strip()}")
    await ctx.house.store.commit(Keep(HOLD, str(ref), msgspec.json.encode(said)), row)


async def release(ctx: Context, patient: str, officer: str) -> None:
    """The hold is over. Problem not-found when there is none."""
    ref = await _somebody(ctx, patient)
    if await ctx.house.store.kept(HOLD, str(ref), ctx.at) is None:
        raise not_found()
    row = note(ctx, "U", "release", None, (str(ref),), patient=str(ref), allowed=True, detail=f"for {officer}")
    await ctx.house.store.commit(Drop(HOLD, str(ref)), row)


async def holds(ctx: Context) -> dict[str, dict[str, str]]:
    """By person: reason, officer, at."""
    _may(ctx)
    return {k: msgspec.json.decode(v) for k, v in (await ctx.house.store.kept_all(HOLD, ctx.at)).items()}


async def _somebody(ctx: Context, patient: str) -> Ref:
    _may(ctx)
    ref = Ref("Patient", patient.removeprefix("Patient/"))
    if await ctx.house.store.get(ref) is None:
        raise not_found()
    return ref


def _may(ctx: Context) -> None:
    if not ctx.actor.operator:
        raise Problem("forbidden", "Records are kept and disposed of by an operator for a privacy officer.")


# -- what is due ----------------------------------------------------------------------------------------------------------


async def due(ctx: Context, schedule: retention.Schedule) -> AsyncIterator[Due]:
    """Whoever's retention is over. Who has no birth date is never due: nobody can tell whether they were a child."""
    _may(ctx)
    held, today = await holds(ctx), ctx.at.astimezone(LONDON).date()
    after: tuple[Any, ...] | None = None
    while True:
        found = await ctx.house.store.search(Query(("Patient",)), Always(), filtered=Always(), count=PAGE, after=after)
        for stored in found.hits:
            one = await _due(ctx, schedule, stored, today, held)
            if one is not None:
                yield one
        if (after := found.after) is None:
            return


async def _due(ctx: Context, schedule: retention.Schedule, stored: Stored, today: date, held: dict[str, Any]) -> Due | None:
    body = strict.decode(stored.body or b"{}")
    birth = born(body)
    if birth is None:
        return None
    birthday, death = day(birth[0]), died(Version(body, stored.writer, micros(stored.updated)))
    dead = None if death is None else day(death)
    least = retention.kept_until(schedule, birthday, dead, retention.contact(stored, ctx.at) or birthday, ())
    if least.until >= today:
        return None  # more contacts only make it later
    versions = await ctx.house.store.patient_versions(str(stored.ref), ctx.house.r4.types)
    last = max((d for v in versions if (d := retention.contact(v, ctx.at))), default=day(min(micros(v.updated) for v in versions)))
    sensitive = {code for v in versions for code in v.facts.sensitivity}
    kept = retention.kept_until(schedule, birthday, dead, last, sensitive)
    if kept.until >= today:
        return None
    person = str(stored.ref)
    rows = await to_ask_for(ctx.house, await ctx.house.store.ledger(patient=person, open_only=True))
    copies = len(rows) + len(await _under_way(ctx, person) - {(r.remote, r.ref) for r in rows})
    joined = any(k.get("type") in ("replaces", "replaced-by") for k in body.get("link", ()))
    state = "held" if person in held else "linked" if joined else "copies" if copies else "due"
    return Due(person, kept.rule, last.isoformat(), kept.until.isoformat(), state, len({v.ref for v in versions}), copies, last > kept.until)


def digest(plan: list[Due]) -> str:
    """Names a plan: another day's, or one with another person in it, has another name."""
    return sha256(msgspec.json.encode([(d.person, d.rule, d.until, d.state, d.recent) for d in plan])).hexdigest()[:16]


# -- doing it -------------------------------------------------------------------------------------------------------------


async def take_back(ctx: Context, one: Due) -> int:
    """Partners give back what they hold; the record goes when they have. How many copies."""
    _may(ctx)
    rows = await to_ask_for(ctx.house, await ctx.house.store.ledger(patient=one.person, open_only=True))
    copies = dict.fromkeys(await _under_way(ctx, one.person), 0) | {(r.remote, r.ref): r.version for r in rows}
    waiting = {(r, i["ref"]) for r in {remote for remote, _ in copies} for i in await ctx.house.store.outbox_items(r, "queued", 10_000, why="recall")}
    sends = [Send(remote, ref, version, one.person, "recall") for (remote, ref), version in copies.items() if (remote, str(ref)) not in waiting]
    if sends:
        await ctx.house.store.commit(*sends, note(ctx, "D", "recall", None, (), patient=one.person, allowed=True, detail="its retention is over"))
    return len(copies)


async def _under_way(ctx: Context, person: str) -> set[tuple[str, Ref]]:
    """What may be at a partner though the ledger does not say so yet (`sync.attempts`): by remote."""
    kept = await ctx.house.store.kept_all("attempt", ctx.at)
    names = [key.rpartition(" ") for key, raw in kept.items() if msgspec.json.decode(raw).get("patient") == person]
    return {(remote, Ref(*ref.split("/", 1))) for remote, _, ref in names}


async def dispose(ctx: Context, one: Due, officer: str) -> dict[str, Any]:
    """The record is gone, with its versions, keys, views and all that was kept for it; the certificate. Shared resources stay.

    Everything in one commit, with the row that says so. What came in meanwhile goes after it.
    """
    _may(ctx)
    store, person = ctx.house.store, one.person
    if await store.kept(HOLD, person, ctx.at) is not None:
        raise Problem("business-rule", f"{person} is held.")
    versions = await store.patient_versions(person, ctx.house.r4.types)
    speaks: dict[Ref, set[str]] = {}  # of whom else, in any version or now
    for v in [*versions, *await _in_record(ctx, person)]:
        speaks.setdefault(v.ref, set()).update(set(v.facts.patients) - {person})
    others = {Ref(*p.split("/", 1)) for several in speaks.values() for p in several}
    here = {str(r) for r, s in (await store.get_many(sorted(others))).items() if not s.deleted}
    refs = tuple(sorted(r for r, several in speaks.items() if not several & here))
    refs += tuple(r for r in [b for ref in refs for b in await store.referrers(ref)] if r.type == "Binary" and r not in refs)
    kept = await _kept(ctx, person, {str(r) for r in refs})
    counts = Counter(r.type for r in refs)
    said: dict[str, Any] = {
        "certificate": ctx.house.new_id(), "person": person, "rule": one.rule, "lastContact": one.last, "keptUntil": one.until,
        "disposedAt": ctx.at.isoformat(), "officer": officer, "resources": dict(sorted(counts.items())),
        "versions": sum(v.ref in set(refs) for v in versions), "messages": len(kept), "sharedAndKept": len(set(speaks) - set(refs)),
    }  # fmt: skip
    said["sha256"] = sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
    row = note(ctx, "D", "dispose", None, (), patient=person, allowed=True, detail=f"{one.rule}, kept until {one.until}, for {officer}: certificate {said['certificate']}")
    await store.commit(Dispose(person, tuple(dict.fromkeys(refs)), kept), Bump(person), Keep(DISPOSED, said["certificate"], msgspec.json.encode(said)), *await told_again.forgotten(ctx.house, person, ctx.at), row)
    return said


async def _in_record(ctx: Context, person: str) -> list[Stored]:
    """What is in this record now, first or beside another's."""
    out: list[Stored] = []
    after: tuple[Any, ...] | None = None
    while True:
        found = await ctx.house.store.search(Query(()), Has("patient", frozenset({person})), filtered=Always(), count=PAGE, after=after)
        out += found.hits
        if (after := found.after) is None:
            return out


async def _kept(ctx: Context, person: str, refs: set[str]) -> tuple[tuple[str, str], ...]:
    """What is kept by name for this person, of these resources, or says something of the person."""
    out: list[tuple[str, str]] = []
    named = re.compile(rf"(?<![\w/.-]){re.escape(person)}(?![\w.-])".encode())
    for kind in (k for k, about in KINDS.items() if about.goes):
        rows = ctx.house.store.kept_each(kind, ctx.at)
        out += [(kind, key) async for key, raw in rows if named.search(raw) or (refs | {person}) & set(key.split(" "))]
    return tuple(out)


async def certificates(ctx: Context) -> list[dict[str, Any]]:
    _may(ctx)
    return [msgspec.json.decode(raw) for raw in (await ctx.house.store.kept_all(DISPOSED, ctx.at)).values()]


async def old_messages(ctx: Context, schedule: retention.Schedule, *, drop: bool) -> Counter[str]:
    """Messages that nobody settled in the days the schedule gives them; they go when `drop` says so."""
    _may(ctx)
    gone: Counter[str] = Counter()
    for kind, days in schedule.messages.items():
        async for key, raw in ctx.house.store.kept_each(kind, ctx.at):
            came = datetime.fromisoformat(str(strict.decode(raw).get("at", ctx.at.isoformat())))
            if (came if came.tzinfo else came.replace(tzinfo=UTC)) < ctx.at - timedelta(days=days):
                gone[kind] += 1
                if drop:
                    await ctx.house.store.commit(Drop(kind, key), note(ctx, "D", "dispose", None, allowed=True, detail=f"a message in {kind}, after {days} days"))
    return gone
