"""The trail as AuditEvents: for the person, for whoever lawfully decides for them, and for the privacy officer. For nobody else.

To everybody else no AuditEvent is here: they are answered like those who ask for what is absent, by the same code, and nothing of the
trail is looked at for them. What a row names that its reader may not see is not in it, and a row about nothing else is none (leak list L39).
"""

from __future__ import annotations

import re
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from typing import Any, Final

from ..domain import audit, proxies, strict
from ..domain import search as searching
from ..domain.periods import instant, micros
from ..domain.problem import Problem, not_found
from ..domain.search import Query, Term
from ..domain.types import VIEW, Decision, Note, Ref
from .context import Answer, Context, Entry, House, Page, ask_stored, note, stand, views_of
from .identifying import with_number
from .paging import resumed, seal

TYPE: Final = "AuditEvent"
ID: Final = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}\Z")
OFFICER: Final = "privacy officer"  # whose job it is; no basis of a decision about consent
PAGE: Final = 50
BATCH: Final = 200
MOST: Final = 5_000  # rows looked at for one page; then it ends and says where to go on
SIGNED: Final = frozenset({"sign-in", "launch", "sign-out", "login", "logout", "token"})  # rows that are of nobody's record
SORTS: Final = ((), (("date", True),), (("_lastUpdated", True),))
OF_DRAFTS: Final = frozenset({"draft", "drafts", "refuse-draft"})
SPOKEN: Final = frozenset({"claim", "print", "unchanged"})  # whose words the person reads on their page, too

Position = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Trail:
    """Whose rows somebody may see: one person's, by all their `records`, or (None) everybody's."""

    person: str | None
    basis: Decision
    records: frozenset[str] = frozenset()


async def may_look(ctx: Context) -> Trail | None:
    """Whose trail this asker may see; None for everybody who may see none."""
    a = ctx.actor
    if ctx.officer and a.kind == "professional":
        return Trail(None, Decision(True, "", rule=OFFICER))
    if a.patient is None or (ctx.launch is not None and ctx.launch != a.patient):
        return None
    if a.kind == "patient":
        return Trail(a.patient, Decision(True, "self"), ctx.records | {a.patient})
    if a.kind == "proxy":
        standing = (await stand(ctx.house, [a.patient], None, ctx.place))[a.patient]
        if proxies.decides_for(standing, a.ids | {a.user}, micros(ctx.at)) and not await _narrowed(ctx, a.patient):
            return Trail(a.patient, Decision(True, "proxy"), frozenset({a.patient}))
    return None


async def whose_trail(ctx: Context, named: str) -> str | None:
    """The `Patient/id` that a privacy officer means by an id or an NHS number (spaces and all); None when nobody here is or was called so.

    For others it is only the reference: they are told nothing of who is here.
    """
    ref = f"Patient/{named.removeprefix('Patient/')}"
    trail = await may_look(ctx)
    if trail is None or trail.person is not None:
        return ref
    number = "".join(named.split())
    if len(number) == 10 and number.isdigit():
        found = await with_number(ctx, number)
        if found:
            return str(found[0].ref)
    known = ID.match(ref) and (await ctx.house.store.get(Ref(*ref.split("/"))) is not None or await ctx.house.store.notes(patient=ref, count=1))
    return ref if known else None


async def _narrowed(ctx: Context, person: str) -> bool:
    """Is something of the person (where they live, who is their practice) hidden from this asker: who looked could tell it."""
    stored = await ctx.house.store.get(Ref("Patient", person.removeprefix("Patient/")))
    return stored is None or bool((await views_of(ctx, stored)).bits & ~VIEW)


async def read_trail(ctx: Context, trail: Trail, id: str, within: Callable[[dict[str, Any]], bool]) -> Answer:
    """One row. Problem not-found for what is absent and for what this reader may not see alike. `within`: does their scope reach it."""
    row = await ctx.house.store.note(id)
    seen = [n for n in await _seen(ctx, trail, [row]) if within(shown(ctx, n))] if row is not None else []
    if not seen:
        await ctx.house.store.commit(note(ctx, "R", "read", None, (f"{TYPE}/{id[:64]}",), allowed=False, detail="absent"))
        raise not_found()
    await ctx.house.store.commit(note(ctx, "R", "who-looked", trail.basis, (seen[0].patient or "",) if seen[0].patient else (), patient=seen[0].patient))
    return _answer(ctx, seen[0])


async def search_trail(ctx: Context, trail: Trail, query: Query, params: Sequence[tuple[str, str]], after: Sequence[Any] | None, what: str) -> Page:
    """Rows that match, newest first; `_total` counts them where `MOST` rows hold the answer. Problem bad-request for another order."""
    found, total, position = await looked_up(ctx, trail, query, (int(after[0]), str(after[1])) if after else None)
    text = f"{TYPE}?" + "&".join(f"{k}={v}" for k, v in params)
    people: Sequence[str | None] = sorted({n.patient for n in found if n.patient} | ({trail.person} if trail.person else set()))
    rows = [note(ctx, "E", "who-looked", trail.basis, (p,) if p else (), patient=p, query=text) for p in people or [None]]
    await ctx.house.store.commit(*rows)
    token = seal(ctx, what, {"q": [list(p) for p in params], "at": list(position), "ep": ""}) if position and query.summary != "count" else None
    used = tuple((k, v) for k, v in query.used if not k.startswith(("_include", "_revinclude")))
    entries = [Entry(a.ref, a.version, a.updated, a.body) for a in (_answer(ctx, n) for n in found)]
    return Page(tuple(entries), total, token, used)


async def trail_page(ctx: Context, params: Sequence[tuple[str, str]]) -> tuple[list[Note], str | None]:
    """Rows for a page of this gateway, and the link to go on; asked as by FHIR. Problem not-found for who may see none."""
    trail = await may_look(ctx)
    if trail is None:
        await ctx.house.store.commit(note(ctx, "R", "who-looked", None, (), allowed=False))
        raise not_found()
    params, after, _ = resumed(ctx, "trail", params)
    query = searching.parse(TYPE, params, ctx.house.r4, strict=True, base=ctx.house.base_url, limits=ctx.limits)
    found, _, position = await looked_up(ctx, trail, query, (int(after[0]), str(after[1])) if after else None)
    people: Sequence[str | None] = sorted({n.patient for n in found if n.patient})
    text = f"{TYPE}?" + "&".join(f"{k}={v}" for k, v in params)
    await ctx.house.store.commit(*(note(ctx, "E", "who-looked", trail.basis, (p,) if p else (), patient=p, query=text) for p in people or [None]))
    return found, seal(ctx, "trail", {"q": [list(p) for p in params], "at": list(position)}) if position else None


async def trail_events(ctx: Context, params: Sequence[tuple[str, str]]) -> AsyncIterator[list[dict[str, Any]]]:
    """All that match, as AuditEvents, in batches; who takes them out is written down, for each person before their rows leave."""
    trail = await may_look(ctx)
    if trail is None:
        await ctx.house.store.commit(note(ctx, "R", "audit-export", None, (), allowed=False))
        raise not_found()
    query = searching.parse(TYPE, params, ctx.house.r4, strict=True, base=ctx.house.base_url, limits=ctx.limits)
    text, told = f"{TYPE}?" + "&".join(f"{k}={v}" for k, v in params), set[str | None]()
    async for rows in _batches(ctx, trail, query, None):
        found = [n for n in await _seen(ctx, trail, rows) if searching.matches(query, shown(ctx, n), filtered=0, r4=ctx.house.r4)]
        people = sorted({n.patient for n in found if n.patient} - told) if told else [None, *sorted({n.patient for n in found if n.patient})]
        told |= {None, *people}
        if people:
            await ctx.house.store.commit(*(note(ctx, "R", "audit-export", trail.basis, (p,) if p else (), patient=p, query=text) for p in people))
        yield [shown(ctx, n) for n in found]
        await sleep(0)


async def looked_up(ctx: Context, trail: Trail, query: Query, after: Position | None) -> tuple[list[Note], int | None, Position | None]:
    """(rows of this page, how many there are where that was asked and can be told, where the next page goes on)."""
    if query.sort not in SORTS:
        raise Problem("bad-request", "AuditEvents are given newest first: `_sort=-date`, or without `_sort`.", "_sort")
    if any(t.has is not None for t in query.terms):
        raise Problem("bad-request", "What points to an AuditEvent is not kept here: `_has` cannot be asked of it.", "_has")
    if any(_unmet(t) for t in query.terms):
        return [], 0, None
    count = 0 if query.summary == "count" else PAGE if query.count is None else query.count
    counting = query.summary == "count" or query.total in ("accurate", "estimate")
    found: list[Note] = []
    total = seen = 0
    async for rows in _batches(ctx, trail, query, after):
        for row in await _seen(ctx, trail, rows):
            if not searching.matches(query, shown(ctx, row), filtered=0, r4=ctx.house.r4):
                continue
            total += 1
            if len(found) < count:
                found.append(row)
            elif not counting:
                return found, None, _position(found[-1])
        seen += len(rows)
        if seen >= MOST:
            return found, None, _position(found[-1] if found and len(found) == count else rows[-1])
        await sleep(0)
    return found, total if after is None else None, _position(found[-1]) if found and total > len(found) else None


async def _batches(ctx: Context, trail: Trail, query: Query, after: Position | None) -> AsyncIterator[list[Note]]:
    """Rows that may match, newest first: by one index of the store, or two at once."""
    id = next((t.values[0].text for t in query.terms if t.name == "_id" and not t.modifier and len(t.values) == 1), None)
    if id is not None:
        row = await ctx.house.store.note(id)
        if row is not None and (after is None or (micros(row.at), row.id) < after):
            yield [row]
        return
    since, before = _span(query.terms, after)
    person = trail.person or _local(query.terms, "patient", "Patient/")
    user = _local(query.terms, "agent", "Practitioner/")
    ways: list[dict[str, str | None]] = [{"user": user}] if user else [{}]
    if person:
        ways = [{by: one} for one in sorted(trail.records or {person}) for by in ("patient", "user")]
    streams = [_Stream(ctx.house, way, since, before) for way in ways]
    seen: set[str] = set()
    while True:
        for stream in streams:
            await stream.fill()
        # what all streams have read down to: rows above it are complete
        floor = max((micros(s.rows[-1].at), s.rows[-1].id) if s.more else (-(10**18), "") for s in streams) if any(s.more for s in streams) else None
        batch = [
            n for n in merge(*(s.rows for s in streams), key=_position, reverse=True) if floor is None or _position(n) >= floor
        ]
        yield [n for n in batch if n.id not in seen and not seen.add(n.id)]  # type: ignore[func-returns-value]
        for stream in streams:
            stream.rows = [n for n in stream.rows if floor is not None and _position(n) < floor]
        if floor is None:
            return


def _position(n: Note) -> Position:
    return micros(n.at), n.id


class _Stream:
    """Rows by one index, newest first, a batch at a time."""

    def __init__(self, house: House, way: dict[str, str | None], since: datetime | None, before: Position | None) -> None:
        self.house, self.way, self.since, self.before = house, way, since, before
        self.rows: list[Note] = []
        self.more = True

    async def fill(self) -> None:
        if self.rows or not self.more:
            return
        self.rows = await self.house.store.notes(patient=self.way.get("patient"), user=self.way.get("user"), since=self.since, before=self.before, count=BATCH)
        self.more = len(self.rows) == BATCH
        if self.rows:
            self.before = _position(self.rows[-1])


def _span(terms: Iterable[Term], after: Position | None) -> tuple[datetime | None, Position | None]:
    """Between which instants a match can be, as far as `date` says so."""
    low: int | None = None
    top = after
    for term in terms:
        if term.name not in ("date", "_lastUpdated") or term.modifier or len(term.values) != 1:
            continue
        v = term.values[0]
        if v.prefix in ("eq", "ge", "gt", "sa") and v.low is not None:
            low = max(int(v.low) - 1_000, low if low is not None else -(10**18))
        if v.prefix in ("eq", "le", "lt", "eb") and v.high is not None:
            end = (int(v.high) + 1_000, "")
            top = end if top is None or end < top else top
    return None if low is None else instant(max(low, 0)), top


def _unmet(term: Term) -> bool:
    """Whose hop led nowhere (`hops.followed`): no row is looked at for it."""
    return term.kind == "reference" and not term.values and not term.any


def _local(terms: Iterable[Term], name: str, start: str) -> str | None:
    """The one `Type/id` that this parameter asks for."""
    for term in terms:
        if term.name == name and not term.modifier and term.chain is None and term.has is None and len(term.values) == 1:
            text = term.values[0].text
            ref = text if "/" in text else f"{start}{text}" if term.values[0].types == (start[:-1],) else ""
            if ref.startswith(start):
                return ref
    return None


async def _seen(ctx: Context, trail: Trail, rows: Sequence[Note]) -> list[Note]:
    """These rows as this reader may have them."""
    if trail.person is None:
        return list(rows)
    mine = [n for n in rows if n.patient in trail.records]
    signed = [n for n in rows if n.patient is None and n.user in trail.records and n.what in SIGNED]
    return sorted([_redacted(ctx, trail, n) for n in [*await as_told(ctx, mine), *signed]], key=_position, reverse=True)


async def as_told(ctx: Context, rows: Sequence[Note]) -> list[Note]:
    """These rows without what this reader may not see; a row about nothing else is none."""
    named = {Ref(*r.split("/", 1)) for n in rows for r in n.refs if r.count("/") == 1}
    found = await ctx.house.store.get_many(sorted(named))
    if ctx.actor.kind == "proxy":  # of a draft they learn by the draft itself: a row could tell of one that is hidden from them
        rows = [n for n in rows if n.what not in OF_DRAFTS or n.user == ctx.actor.user]
    hidden = {str(ref) for ref, stored in found.items() if not (await ask_stored(ctx, "access", stored)).permit}
    left = [(row, tuple(r for r in row.refs if r not in hidden)) for row in rows]
    return [replace(row, refs=refs) if refs != row.refs else row for row, refs in left if refs or not row.refs]


def _redacted(ctx: Context, trail: Trail, n: Note) -> Note:
    """What others asked may name other people, and what they said is told on the page alone."""
    if n.user in trail.records or n.user == ctx.actor.user:
        return n
    query = n.query.split("?")[0] + "?" if n.query else ""
    return replace(n, query=query, detail=n.detail if n.what in SPOKEN and n.allowed else "")


def shown(ctx: Context, n: Note) -> dict[str, Any]:
    """The AuditEvent, as it is answered."""
    event = audit.event(n, ctx.house.base_url)
    meta = {"versionId": "1", "lastUpdated": event["recorded"], **event.get("meta", {})}
    return {"resourceType": TYPE, "id": n.id, "meta": meta, **{k: v for k, v in event.items() if k not in ("resourceType", "id", "meta")}}


def _answer(ctx: Context, n: Note) -> Answer:
    return Answer(Ref(TYPE, n.id), 1, n.at, strict.dump(shown(ctx, n)))


# -- for those who run this gateway -----------------------------------------------------------------------------------


async def took_out(ctx: Context, what: str, person: str | None, detail: str) -> None:
    """That rows were taken out by a command."""
    await ctx.house.store.commit(note(ctx, "E", what, Decision(True, ""), (person,) if person else (), patient=person, detail=detail))


async def trail_between(house: House, person: str | None, low: datetime | None, high: datetime | None) -> AsyncIterator[list[dict[str, Any]]]:
    """AuditEvents since `low` and before `high`, newest first, in batches. For an operator's command."""
    before: Position | None = (micros(high), "") if high is not None else None
    while rows := await house.store.notes(patient=person, since=low, before=before, count=BATCH):
        yield [audit.event(n, house.base_url) for n in rows]
        before = _position(rows[-1])
