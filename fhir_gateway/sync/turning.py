"""What was sent is looked at again when an answer may have turned though nothing was written about the person: a period began or
ended, the directory changed (who reads from a partner), or the agreement or the deployment's policy did.

Writes about a person queue their own review, in their own commit, also where the writer does not have this partner in its settings
(`gate.addressed`). How far this has looked is kept beside the reviews it queues, so that a stop loses none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final

import msgspec

from ..domain.directory import Directory
from ..domain.periods import micros
from ..domain.standing import Standing
from ..domain.types import Drop, Keep, Op, Queued, Ref, Send
from ..gate import House
from ..gate.context import directory_now, stand
from ..gate.several import about_others_too
from ..store.base import Taken
from . import attempts, originals
from .partner import Partner

KIND = "turned"
MOST = 1_000_000
AT_A_TIME = 200  # people of whom is asked at once who is named beside them
KNOWN: Final = timedelta(minutes=1)  # after it was first met no writer is at work that began when nobody knew this partner


class _Mark(msgspec.Struct):
    """Looked at until this instant (microseconds), under this directory and this agreement. `left`: an earlier version did not write down
    whom what stays there is about besides (`originals.LEFT`); now it is."""

    at: int
    place: int
    terms: str
    left: bool = False
    known: int | None = None


async def turned(house: House, partner: Partner) -> int:
    """Queue a review of everybody whose answer may have turned since it was looked at last; how many."""
    directory, place = await directory_now(house)
    at = house.clock()
    now, terms = micros(at), agreed(house, partner)
    if partner.looked == (place, terms) and (partner.turns is None or now < partner.turns):
        return 0
    kept = await house.store.kept(KIND, partner.name, at)
    before = msgspec.json.decode(kept, type=_Mark) if kept is not None else None
    people = await _with_others(house, await _held(house, partner)) | await originals.left_of(house, partner)
    late, ops = (set[str](), list[Op]()) if before is None or before.left else await _left_before(house, partner)
    people |= late
    known = await stand(house, people)
    known_from = micros(at + KNOWN) if before is None else now if before.known is None else before.known
    everyone = before is None or _others(before, now) or (before.place, before.terms) != (place, terms) or _passed(_edge(directory, (), before.at), now)
    due = sorted(p for p in people if everyone or (before is not None and _passed(_edge(None, _of(known, p), before.at), now)))
    ops += [Send(partner.name, Ref("Patient", p.removeprefix("Patient/")), 0, p, "review") for p in sorted({*due, *late})]
    try:
        mark = msgspec.json.encode(_Mark(now, place, terms, True, known_from))
        await house.store.commit(*ops, Keep(KIND, partner.name, mark, if_absent=kept is None, if_value=kept))
    except Taken:  # another worker is at it
        partner.looked = None
        return 0
    edges = (_edge(directory, known.values(), now), known_from if known_from > now else None)
    partner.looked, partner.turns = (place, terms), min((e for e in edges if e is not None), default=None)
    return len(due)


async def noticed(house: House, partner: Partner, entry: Queued) -> None:
    """This was sent or held back: the next instant at which that may turn, for anybody whom it is about, counts from now on."""
    stored = await house.store.get(entry.ref) if entry.patient is not None else None
    people = {p for p in (entry.patient, *(stored.facts.patients if stored is not None else ())) if p is not None}
    if people:
        edge = _edge(None, (await stand(house, people)).values(), micros(house.clock()))
        partner.turns = min((e for e in (edge, partner.turns) if e is not None), default=None)


def _others(before: _Mark, now: int) -> bool:
    """May others have said something meanwhile of which nothing is queued?"""
    return before.known is None or before.at < before.known <= now


async def anew(house: House, partner: Partner) -> None:
    """Look at everybody next time."""
    await house.store.commit(Drop(KIND, partner.name))
    partner.looked = None


def agreed(house: House, partner: Partner) -> str:
    """What the agreement and the policy come to, in a few letters."""
    return sha256(msgspec.json.encode((partner.terms, house.policy.said()), order="deterministic")).hexdigest()[:16]


async def _held(house: House, partner: Partner) -> set[str]:
    """Of whom the partner has something, or does not get what waits."""
    rows = await house.store.ledger(remote=partner.name, open_only=True)
    under_way = await attempts.open_of(house, partner)
    withheld = await house.store.outbox_items(partner.name, "withheld", MOST)
    return {p for p in (*(d.patient for d in rows), *(a.patient for a in under_way.values()), *(i["patient"] for i in withheld)) if p}


async def _left_before(house: House, partner: Partner) -> tuple[set[str], list[Op]]:
    return await originals.left_before(house, partner, await house.store.ledger(remote=partner.name, open_only=True))


async def _with_others(house: House, people: set[str]) -> set[str]:
    """Whom something is about besides, too: what waits or is there stands under the first of them alone."""
    every, out = sorted(people), set(people)
    for n in range(0, len(every), AT_A_TIME):
        async for stored in about_others_too(house, every[n : n + AT_A_TIME]):
            out.update(stored.facts.patients)
    return out


def _of(known: Mapping[str, Standing], person: str) -> list[Standing]:
    """A person's standing and those of the records linked to it."""
    return [known[p] for p in (person, *known[person].also) if p in known]


def _edge(directory: Directory | None, standings: Iterable[Standing], after: int) -> int | None:
    """The first instant after this one at which something there begins or ends."""
    edges = [s.next_edge(after) for s in standings]
    if directory is not None:
        edges.append(directory.next_change(after))
    return min((e for e in edges if e is not None), default=None)


def _passed(edge: int | None, now: int) -> bool:
    return edge is not None and edge <= now


__all__ = ["anew", "noticed", "turned"]
