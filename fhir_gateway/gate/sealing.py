"""Closing segments of the trail (`domain.sealing`), and asking whether it is whole. Nothing here waits for a write, and no write for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..auth.jose import PublicKey
from ..auth.seals import Seals, opened, seals
from ..domain import sealing
from ..domain.merkle import Peaks
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.sealing import SEGMENT_ROWS, Chain, Head, Proof, Segment, Wrong
from ..domain.search import Query
from ..domain.types import Always, Keep
from ..store.base import Store, StoreError, Taken
from .context import House

BATCH = 100  # segments read at once
NEWEST = ("audit-head", "newest")  # kept: the signed head of a segment that was surely made


@dataclass(slots=True)
class Sealer:
    """Seals what was written, by whomever. Many may run at once: who is late looks again. Killed, it has sealed or it has not."""

    house: House
    _last: Head | None = None
    _signed: str = ""
    _peaks: Peaks = field(default_factory=Peaks)

    async def seal(self) -> list[str]:
        """Everything that is in no segment yet; the signed heads of the segments made."""
        made: list[str] = []
        while rows := await self.house.store.unsealed(SEGMENT_ROWS):
            keys = await seals(self.house.store, self.house.clock())
            await self._catch_up(keys)
            ordered = sealing.ordered(rows)
            peaks = Peaks(self._peaks.size, self._peaks.hashes)
            head, listed = sealing.closed(ordered, self._last, self._signed, peaks, micros(self.house.clock()))
            signed = keys.sign(head)
            try:
                await self.house.store.seal(Segment(head.number, head.rows, signed, listed), ordered)
            except Taken:
                continue
            self._last, self._signed, self._peaks = head, signed, peaks
            made.append(signed)
        if made:
            try:
                await self.house.store.commit(Keep(*NEWEST, made[-1].encode()))
            except StoreError:
                pass  # it is sealed, and the next head says more
        return made

    async def _catch_up(self, keys: Seals) -> None:
        """Segments that others made since."""
        async for segment in all_segments(self.house.store, self._last.number if self._last else 0):
            head = await _opened(self.house, segment.head, keys.public)
            if head is None:
                raise Problem("unavailable", f"The head of segment {segment.number} of the audit cannot be believed: run `fhir-gateway audit verify`.")
            self._peaks.add(head.entry())
            self._last, self._signed = head, segment.head


async def all_segments(store: Store, after: int = 0) -> AsyncIterator[Segment]:
    """In order, after this number."""
    while batch := await store.segments(after, BATCH):
        for segment in batch:
            yield segment
        after = batch[-1].number


@dataclass(slots=True)
class Verdict:
    """`rows` were compared with what was sealed; `waiting` are in no segment yet."""

    wrong: list[Wrong] = field(default_factory=list)
    segments: int = 0
    rows: int = 0
    waiting: int = 0


async def verify(
    house: House, *, kept: Mapping[int, str] | None = None, step: Callable[[], None] = lambda: None
) -> Verdict:
    """Is the trail what was sealed, and is what was sealed all that the heads `kept` outside speak of?

    Every row is compared, whomever it is asked for: a row of somebody that was removed, or given to another, is no longer theirs to be found.
    """
    keys = (await seals(house.store, house.clock())).public
    newest = await house.store.kept(*NEWEST, house.clock())  # before the segments: more may be made meanwhile
    chain, found, known = Chain(), Verdict(), dict[int, str]()
    async for segment in all_segments(house.store):
        head = await _opened(house, segment.head, keys)
        found.wrong += chain.follow(segment.number, segment.head, head)
        known[segment.number] = segment.head
        found.segments += 1
        if head is not None:
            rows = await house.store.segment_rows(segment.number)
            found.wrong += sealing.compared(segment, head, rows)
            found.rows += len(rows)
        step()
    found.wrong += [Wrong("inserted", None, r.id, f"row {r.id} is in no segment and was never to be") for r in await house.store.strays()]
    last = max(known, default=0)
    found.wrong += sealing.outside(known, kept or {}, last)
    if newest is not None:
        head = await _opened(house, newest.decode(errors="replace"), keys)
        lost = [Wrong("signature", None, "", "the newest head that the store keeps is not signed by a key of this trail")] if head is None else []
        lost += sealing.outside(known, {head.number: newest.decode()}, last) if head else ()
        told = {w.segment for w in found.wrong}
        found.wrong += [] if any(w.what == "truncated" for w in found.wrong) else [w for w in lost if w.segment not in told]
    found.waiting = await house.store.waiting()
    if not found.segments and not found.waiting and not found.wrong and await _holds_records(house.store):
        found.wrong.append(Wrong("truncated", None, "", "the store holds people's records, and the trail is empty: no record comes without a row"))
    return found


async def _opened(house: House, signed: str, keys: Iterable[PublicKey]) -> Head | None:
    """The claim of a head by one of these keys, or by one that was made meanwhile; None when it is none of this trail's."""
    return opened(signed, keys) or opened(signed, (await seals(house.store, house.clock())).public)


async def _holds_records(store: Store) -> bool:
    return bool((await store.search(Query(("Patient",)), Always(), filtered=Always(), count=1)).hits)


async def rows_of(house: House, person: str) -> dict[int | None, int]:
    """How many rows this person (`Patient/id`) has in which segment; None: in none yet."""
    return dict(Counter(n for n, _ in await house.store.rows_of(person)))


async def proof_of(house: House, person: str, kept: Collection[int] = ()) -> tuple[Proof, int]:
    """The sealed rows of this person with what proves them, and how many rows are not sealed yet. Problem not-found when none is sealed."""
    keys = (await seals(house.store, house.clock())).public
    rows = await house.store.rows_of(person)
    by: dict[int, list[sealing.TrailRow]] = {}
    for number, row in rows:
        if number is not None:
            by.setdefault(number, []).append(row)
    if not by:
        raise Problem("not-found", f"No row of {person} is sealed.")
    heads: list[tuple[str, Head]] = []
    parts: dict[int, tuple[Segment, list[sealing.TrailRow]]] = {}
    async for segment in all_segments(house.store):
        head = opened(segment.head, keys)
        if head is None:
            raise Problem("unavailable", f"The head of segment {segment.number} of the audit cannot be believed: run `fhir-gateway audit verify`.")
        heads.append((segment.head, head))
        if segment.number in by:
            parts[segment.number] = segment, by[segment.number]
    try:
        return sealing.proof_of(person, heads, parts, kept), sum(n is None for n, _ in rows)
    except (KeyError, ValueError):
        raise Problem("unavailable", f"The rows of {person} are not those that were sealed: run `fhir-gateway audit verify`.") from None
