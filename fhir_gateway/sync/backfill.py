"""First contact outward: what was here before a partner was configured, or a type was agreed on, is queued for it like anything new.

Consent is asked when each is sent, as always. The position is kept in the commit of what it covers, so a stop loses and doubles nothing.
What is parked, left out or withheld already stays so: each has its own way back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from ..domain.search import Query
from ..domain.types import Always, Keep, Never, Op, Ref, Send, Stored
from ..gate import House
from ..gate.addressed import MET
from ..gate.context import Remote
from ..gate.disclosing import NOT_AGREED
from ..store.base import Taken
from .partner import Partner

KIND = MET
PAGE = 200  # resources in memory at once, and queued in one commit
MOST = 10_000  # of one person, in one state
EVERYTHING = Query(())


class Mark(msgspec.Struct, frozen=True):
    """`types` are agreed on, and of those in `before` everything was queued earlier (None: of every type). The others are being gone
    through, up to `after`; then what is linked there, for what was deleted here, up to `links` (type, id). Once that is done both are the same."""

    types: list[str] | None
    before: list[str] | None = msgspec.field(default_factory=list)
    after: list[object] | None = None
    links: tuple[str, str] | None = None

    @property
    def done(self) -> bool:
        return self.types == self.before

    def covers(self, type: str) -> bool:
        return self.before is None or type in self.before


def agreed_on(terms: Remote) -> list[str] | None:
    """The types that go there; None: every one."""
    return [] if terms.direction == "in" else None if terms.types is None else sorted(terms.types)


async def mark(house: House, terms: Remote) -> tuple[Mark, bytes | None]:
    """How far it is under the agreement of now, and what is kept of it. Types that left the agreement are gone through again when they are
    back in it: what was written meanwhile was not queued."""
    kept, now = await house.store.kept(KIND, terms.name, house.clock()), agreed_on(terms)
    raw = msgspec.json.decode(kept) if kept is not None else None
    if not isinstance(raw, dict):  # the first time; or kept before it named its types
        return Mark(now), kept
    known = msgspec.convert(raw, Mark)
    return (known if known.types == now else Mark(now, _both(known.before, now))), kept


async def filled(house: House, terms: Remote) -> bool:
    """Is everything queued that was here, under the agreement of now?"""
    found, kept = await mark(house, terms)
    return found.done and kept == msgspec.json.encode(found)


async def backfill(
    house: House, partner: Partner, stopped: Callable[[], bool] = lambda: False, told: Callable[[], Awaitable[None]] | None = None
) -> int:
    """Queue everything of people that this partner has no copy of, or an older one, and that waits neither for it nor for a person; how many. Once for each
    type that is agreed on, and by one worker at a time. Stopped, the next goes on where it was. `told` is called after each page."""
    terms = next((r for r in house.remotes if r.name == partner.name), None)
    if terms is None:
        return 0
    now, kept = await mark(house, terms)
    queued = 0
    while kept != msgspec.json.encode(now) or not now.done:
        if stopped():
            break
        page = await _page(house, terms, now) if not now.done else _Page([], now)
        sends: list[Op] = [Send(terms.name, s.ref, s.version, s.facts.patients[0], "released" if s.deleted else "changed") for s in page.missing]
        then = page.then
        value = msgspec.json.encode(then)
        try:
            await house.store.commit(*sends, Keep(KIND, terms.name, value, if_absent=kept is None, if_value=kept))
        except Taken:  # another worker is at it
            break
        queued, now, kept = queued + len(sends), then, value
        if told is not None:
            await told()
    return queued


async def anew(house: House, partner: Partner) -> None:
    """Go through all that is here next time, whatever was queued before. It stays known meanwhile to whoever writes without its settings."""
    await house.store.commit(Keep(KIND, partner.name, msgspec.json.encode(Mark(agreed_on(partner.terms)))))


async def missing(house: House, partner: Partner) -> AsyncIterator[Stored]:
    """What it would queue now."""
    now, _ = await mark(house, partner.terms)
    while not now.done:
        page = await _page(house, partner.terms, now)
        for stored in page.missing:
            yield stored
        now = page.then


@dataclass(frozen=True, slots=True)
class _Page:
    missing: list[Stored]
    then: Mark


async def _page(house: House, terms: Remote, now: Mark) -> _Page:
    if now.links is not None:
        return await _deleted(house, terms, now, now.links)
    found = await house.store.search(EVERYTHING, Always(), filtered=Never(), count=PAGE, after=tuple(now.after) if now.after else None)
    wanted = [s for s in found.hits if s.facts.patients and terms.takes(s.ref.type) and not now.covers(s.ref.type)]
    waiting = await house.store.outbox_open(terms.name, [s.ref for s in wanted])
    seen_to, out = await _seen_to(house, terms, wanted), []
    for stored in wanted:
        if seen_to.get(stored.ref, 0) >= stored.version:
            continue
        link = await house.store.link(terms.name, stored.ref) if stored.ref not in waiting else None
        if stored.ref not in waiting and (link is None or (not link.gone and link.version != stored.version)):
            out.append(stored)
    return _Page(out, Mark(now.types, now.before, list(found.after)) if found.after else Mark(now.types, now.before, links=("", "")))


async def _deleted(house: House, terms: Remote, now: Mark, after: tuple[str, str]) -> _Page:
    """What is there, and was deleted here while its type was not agreed on: nothing told them, or asked."""
    links = await house.store.links(terms.name, Ref(*after) if any(after) else None, PAGE)
    asked = {k.ref for k in links if not k.gone and k.etag and terms.takes(k.ref.type) and not now.covers(k.ref.type)}
    found = (await house.store.get_many(sorted(asked))).values() if asked else ()
    gone = [s for s in found if s.deleted and s.facts.patients]
    waiting, seen_to = await house.store.outbox_open(terms.name, [s.ref for s in gone]), await _seen_to(house, terms, gone)
    out = [s for s in gone if s.ref not in waiting and seen_to.get(s.ref, 0) < s.version]
    return _Page(out, Mark(now.types, now.before, links=(links[-1].ref.type, links[-1].ref.id)) if len(links) == PAGE else Mark(now.types, now.types))


async def _seen_to(house: House, terms: Remote, wanted: Sequence[Stored]) -> dict[Ref, int]:
    """Up to which version some of these are parked, left out by an operator, or withheld by consent."""
    counts, found = await house.store.outbox(terms.name), dict[Ref, int]()
    for state in (s for s in ("parked", "skipped", "withheld") if counts.get(s)):
        for person in {s.facts.patients[0] for s in wanted}:
            for item in await house.store.outbox_items(terms.name, state, MOST, patient=person):
                if item["detail"] != NOT_AGREED:  # that is what may have changed
                    ref = Ref(*item["ref"].split("/"))
                    found[ref] = max(found.get(ref, 0), item["version"])
    return found


def _both(one: list[str] | None, other: list[str] | None) -> list[str] | None:
    """What is in both; None is everything."""
    if one is None or other is None:
        return other if one is None else one
    return [t for t in one if t in other]


__all__ = ["anew", "backfill", "filled", "missing"]
