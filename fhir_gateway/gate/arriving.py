"""To whom a change of the directory is news: people whose consents let somebody in by it who was not let in before."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain import strict
from ..domain.arrivals import Move, let_in, lets_somebody_in, movers, moves, refused
from ..domain.directory import Directory, confirmed
from ..domain.periods import micros
from ..domain.types import Queued, Stored
from .context import House, directory_now, stand, stood


@dataclass(frozen=True, slots=True)
class News:
    """One change of the directory: how it was, who moved to other names, and whom it may concern, in order.

    It may also make somebody count who did not: an organisation's sector, a service's provider (`relations`), or where a
    practitioner works who took something on before (`theirs`: what they themselves are called).
    """

    before: Directory
    after: Directory
    moved: tuple[Move, ...]
    people: tuple[str, ...]
    relations: bool
    theirs: frozenset[str]


async def news(house: House, entry: Queued) -> News | None:
    """What changed by this entry, beside the directory as it is now; None when it lets nobody in who was not."""
    now = await house.store.version(entry.ref, entry.version)
    if now is None or now.body is None:
        return None
    after, _epoch = await directory_now(house)
    at, ref = micros(house.clock()), str(entry.ref)
    who = movers(after, ref, strict.decode(now.body))
    relations = entry.ref.type in ("Organization", "HealthcareService")
    names = {n for m in who for n in after.names_of(m, at)} | ({ref} if relations else set())
    people = await house.store.concerned(names)
    if not people:
        return None
    was = await house.store.version(entry.ref, entry.version - 1) if entry.version > 1 else None
    before = after.having(ref, *_as_it_was(was))
    moved = tuple(moves(before, after, who, at))
    theirs = frozenset() if relations else frozenset({n for m in who for n in _own_names(after, m, at)})
    return News(before, after, moved, tuple(sorted(people)), relations, theirs) if moved or relations else None


def _own_names(directory: Directory, ref: str, at: int) -> frozenset[str]:
    """What a practitioner alone is called, and nobody else where they work."""
    places = {r.organisation for r in directory.roles_of.get(ref, ()) if r.organisation}
    return directory.names_of(ref, at) - frozenset().union(*(directory.organisation_names(p) for p in places))


def _as_it_was(was: Stored | None) -> tuple[dict[str, object] | None, bool]:
    if was is None or was.body is None:
        return None, False
    return strict.decode(was.body), confirmed(was.writer)


async def is_news(house: House, told: News, person: str) -> bool:
    """Does this change let somebody in to this person's record."""
    at = micros(house.clock())
    standing = (await stand(house, [person]))[person]
    if lets_somebody_in(standing, told.moved, at):
        return True
    if not any(told.relations or r.names & told.theirs for r in standing.relationships):
        return False
    begun, no = let_in(standing, at) - let_in(await stood(house, person, told.before), at), refused(standing, at)
    return any(_not_refused(told.after, names, no, at) for names in begun)


def _not_refused(directory: Directory, names: frozenset[str], no: frozenset[str], at: int) -> bool:
    """Can any of those whom these names stand for ask without a name to which the person says no."""
    refs = [n for n in names if n.startswith(("Practitioner/", "Organization/"))]
    return not names & no and (not refs or any(not way & no for n in refs for way in directory.ways_of(n, at)))


__all__ = ["News", "is_news", "news"]
