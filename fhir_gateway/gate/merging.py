"""One person with two records, and two people in one: found, joined, parted again. consent.md 1.4; sync.md, Identity

What a join or a parting turns at a partner is looked at by the reviews that `link` queues in its own commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..domain import recorded, strict
from ..domain.identity import families, nhs_number
from ..domain.problem import Problem
from ..domain.search import Query
from ..domain.types import Always, Never
from .context import Context, note, stand_apart
from .recording import link

PAGE = 200


async def merge(ctx: Context, one: str, other: str, *, evidence: str) -> int:
    """`one` is the same person as `other`, whose record goes on: `one` is replaced by it, and the consents of both hold for both.

    Ids without the type. Nothing is moved and nothing is lost, so `unmerge` parts them again. Answers how many copies at partners are
    looked at again. For operators. Problem: not-found, bad-request, business-rule where they are merged already.
    """
    if await _joined(ctx, one, other):
        raise Problem("business-rule", "These two records are merged already.", "other")
    await link(ctx, one, other, "replaced-by", evidence=evidence)
    return await _copies(ctx, one, other)


async def unmerge(ctx: Context, one: str, other: str, *, evidence: str) -> int:
    """These are two people after all: consents part, and what a partner got by the other's consent is taken back from it.

    As `merge`. Problem business-rule where they are not merged.
    """
    if not await _joined(ctx, one, other):
        raise Problem("business-rule", "These two records are not merged.", "other")
    await link(ctx, one, other, "", evidence=evidence)
    return await _copies(ctx, one, other)


async def _joined(ctx: Context, one: str, other: str) -> bool:
    """Did an operator merge these two: what a client wrote joins nothing."""
    me = f"Patient/{one}"
    apart = await stand_apart(ctx.house, [me], None, ctx.place) if ctx.actor.operator else {}
    return any(k.other == f"Patient/{other}" and k.merged for s in apart.values() for k in s.links)


async def _copies(ctx: Context, *people: str) -> int:
    return sum([len(await ctx.house.store.ledger(patient=f"Patient/{p}", open_only=True)) for p in people])


@dataclass(frozen=True, slots=True)
class Alike:
    """Two records that may be one person's: the same date of birth and a family name in common, and not two NHS numbers."""

    one: str  # `Patient/…`
    other: str
    numbered: str  # which of them has an NHS number; "" for neither


async def alike(ctx: Context) -> list[Alike]:
    """Likely duplicates that no operator has linked, by id. For operators; each of these people's log says so. Problem forbidden."""
    if not ctx.actor.operator:
        raise Problem("forbidden", "Which records may be one person's twice is for an operator.")
    found = await _alike(ctx)
    people = sorted({p for a in found for p in (a.one, a.other)})
    rows = [note(ctx, "E", "record", None, (p,), patient=p, allowed=True, detail="listed: may be the same person as another") for p in people]
    await ctx.house.store.commit(*(rows or [note(ctx, "E", "record", None, allowed=True, detail="nobody is here twice, as it seems")]))
    return found


async def _alike(ctx: Context) -> list[Alike]:
    known: dict[tuple[str, str], list[tuple[str, str]]] = {}
    linked: set[frozenset[str]] = set()
    after: tuple[Any, ...] | None = None
    while True:
        found = await ctx.house.store.search(Query(("Patient",)), Always(), filtered=Never(), count=PAGE, after=after)
        for stored in found.hits:
            body, me = strict.decode(stored.body or b"{}"), str(stored.ref)
            linked |= {frozenset((me, other)) for _, other in recorded.links(body)}
            for family in families(body) if body.get("birthDate") else ():
                known.setdefault((body["birthDate"], family), []).append((me, nhs_number(body) or ""))
        if (after := found.after) is None:
            break
    pairs = {}
    for some in known.values():
        for (one, first), (other, second) in combinations(sorted(some), 2):
            if not (first and second) and frozenset((one, other)) not in linked:
                pairs[one, other] = Alike(one, other, one if first else other if second else "")
    return [pairs[p] for p in sorted(pairs)]


__all__ = ["Alike", "alike", "merge", "unmerge"]
