"""Which resource a condition means: `Goal?identifier=…` in the place of an id. https://hl7.org/fhir/R4/http.html#cond-update

Only what this writer may see can match, so the answer to a condition tells nothing of the rest. A conditional create also
matches what the writer once wrote, seen or not: who pushes the same message twice has written it once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from ..domain import search as searching
from ..domain.problem import Problem
from ..domain.search import Query
from ..domain.types import Has, Never, Ref, Stored
from .checking import decide_again
from .context import Context, need_scope, stand, within_launch
from .hops import covered
from .reading import in_scope, reach_of, reachable, seen_by

SEVERAL = 50  # how many matches are looked at before the rest cannot matter


@dataclass(frozen=True, slots=True)
class Match:
    """The one match. `stored` is None for what an earlier entry of the same Bundle makes."""

    ref: Ref
    stored: Stored | None = None
    seen: bool = True  # False: only known because this writer wrote it


async def matching(
    ctx: Context, type: str, condition: str, *, own: bool = False, gone: Collection[Ref] = (),
    beside: Mapping[Ref, dict[str, Any]] | None = None,
) -> Match | None:  # fmt: skip
    """The one match among what this writer may see; None without any.

    `own`: also among what they wrote themselves. `gone` and `beside` are what the same Bundle takes away and makes or changes.
    Problem bad-request for what is no condition, several-matches.
    """
    need_scope(ctx, "s", type)
    query = understood(ctx, type, condition)
    beside = beside or {}
    found = {m.ref: m for m in await _visible(ctx, query) if m.ref not in gone and m.ref not in beside}
    if own and not found:
        found = {m.ref: m for m in await _written(ctx, query) if m.ref not in gone and m.ref not in beside}
    for ref, resource in beside.items():
        if ref not in gone and ref.type == type and searching.matches(query, {**resource, "id": ref.id}, filtered=False, r4=ctx.house.r4):
            found[ref] = Match(ref)
    if len(found) > 1:
        raise Problem("several-matches", "More than one resource matches this condition.", condition[:100])
    return next(iter(found.values()), None)


def understood(ctx: Context, type: str, condition: str) -> Query:
    """A condition as a search. Problem bad-request unless it asks for something."""
    try:
        params = parse_qsl(condition.lstrip("?"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Problem("bad-request", "The condition is not readable: at most 50 parameters, in UTF-8.") from None
    query = searching.parse(type, [(k, v) for k, v in params if k not in ("_format", "_pretty")], ctx.house.r4, strict=True, limits=ctx.limits)
    if not query.terms:
        raise Problem("bad-request", "A condition needs at least one search parameter.", condition[:100])
    return Query(query.types, query.terms)


async def _visible(ctx: Context, query: Query) -> list[Match]:
    standings = await stand(ctx.house, await reachable(ctx), None, ctx.place)
    found = await ctx.house.store.search(covered(ctx, query), reach_of(ctx, standings), filtered=seen_by(ctx, standings), count=SEVERAL)
    await decide_again(ctx, found.hits, standings)
    return [Match(h.ref, h) for h in found.hits if within_launch(ctx, "r", h.facts) and in_scope(ctx, "s", h)]


async def _written(ctx: Context, query: Query) -> list[Match]:
    """What this writer created, judged by what they wrote: what others made of it since tells them nothing."""
    mine = Has("author", frozenset({ctx.actor.user}))
    found = await ctx.house.store.search(query, mine, filtered=Never(), count=SEVERAL)
    out = []
    for hit in found.hits:
        first = await ctx.house.store.version(hit.ref, 1) if hit.created_by == ctx.actor.user else None
        if first is None or first.body is None or (ctx.actor.kind == "system" and first.writer.client != ctx.client):
            continue
        if searching.matches(query, searching.decoded(first.body), filtered=False, r4=ctx.house.r4) and within_launch(ctx, "c", hit.facts):
            out.append(Match(hit.ref, replace(first, epoch=hit.epoch), seen=False))
    return out


__all__ = ["Match", "matching", "understood"]
