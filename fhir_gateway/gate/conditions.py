"""Which resource a condition means: `Goal?identifier=…` in the place of an id. https://hl7.org/fhir/R4/http.html#cond-update

Only what this writer may see can match, so the answer to a condition tells nothing of the rest. A conditional create also
matches what the writer once wrote, seen or not: who pushes the same message twice has written it once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from ..domain import copies
from ..domain import search as searching
from ..domain.predicate import ALWAYS
from ..domain.problem import Problem
from ..domain.search import Query, Term, Value
from ..domain.types import Has, Never, Ref, Stored
from .checking import decide_again
from .context import Context, attached, need_scope, stand, within_launch
from .hops import covered
from .reading import in_scope, reach_of, reachable, seen_by

SEVERAL = 50  # how many matches are looked at before the rest cannot matter
BY_NAME = ("identifier", "_tag")  # what is one thing's alone, or few things', where it is asked for by system and value


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
    here = not of_a_copy(query) or await _borne(ctx, query)
    found = {s.ref: Match(s.ref, s) for s in await visible(ctx, query) if s.ref not in gone and s.ref not in beside} if here else {}
    if own and here and not found:
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


def of_a_copy(query: Query) -> bool:
    """Does this ask for copies by their names (`domain.copies`) alone."""
    return all(t.name == "_tag" and not t.modifier and all(v.system == copies.SYSTEM and v.text for v in t.values) for t in query.terms)


async def _borne(ctx: Context, query: Query) -> bool:
    """Does anything here, of anybody, bear these names. Where nothing does, nobody's consents need be gone through.

    Not for other conditions: an answer that comes sooner where nothing is here would tell who is. The name of a copy is nobody's to guess.
    """
    return bool((await ctx.house.store.search(query, ALWAYS, filtered=Never(), count=1)).hits)


async def visible(ctx: Context, query: Query) -> list[Stored]:
    """What matches, as far as this writer may see it; of more than SEVERAL some."""
    standings = await stand(ctx.house, await _asked(ctx, query), None, ctx.place)
    found = await ctx.house.store.search(covered(ctx, query), reach_of(ctx, standings), filtered=seen_by(ctx, standings), count=SEVERAL)
    await decide_again(ctx, found.hits, standings)
    return [h for h in found.hits if within_launch(ctx, "r", h.facts) and in_scope(ctx, "s", h)]


async def identified(ctx: Context, type: str, names: Sequence[tuple[str, str]], person: str) -> list[Stored]:
    """What of this person alone has one of these business identifiers (system, value), as far as this asker may see it."""
    query = Query((type,), (Term("identifier", "token", values=tuple(Value(text=value, system=system) for system, value in names)),))
    return [s for s in await visible(ctx, query) if s.facts.patients == (person,)]


async def _asked(ctx: Context, query: Query) -> set[str]:
    """Whose consents are gone through: of a business identifier those whom it names alone, else everybody's who could answer.

    Where it names nobody of them, one of the others stands in, so that the answer takes no less time where nothing is here than where
    something is that is hidden.
    """
    people = await reachable(ctx)
    if not all(t.name in BY_NAME and not t.modifier and all(v.system and v.text for v in t.values) for t in query.terms):
        return people
    found = await ctx.house.store.search(query, ALWAYS, filtered=Never(), count=SEVERAL)
    if found.after is not None or any(attached(h.facts) for h in found.hits):
        return people
    return people & {p for h in found.hits for p in h.facts.patients} or ({min(people)} if people else set())


async def _written(ctx: Context, query: Query) -> list[Match]:
    """What this writer created, judged by what they wrote: what others made of it since tells them nothing. By the name of a copy also
    what was fetched from their organisation's server, as it was then: their gateway knows its own record's name."""
    mine = {(ctx.actor.user, ctx.client if ctx.actor.kind == "system" else None)}
    if ctx.actor.kind == "system" and ctx.client is not None and ctx.actor.organisation is not None and of_a_copy(query):
        mine.add((ctx.actor.organisation, None))
    found = await ctx.house.store.search(query, Has("author", frozenset(user for user, _ in mine)), filtered=Never(), count=SEVERAL)
    out = []
    for hit in found.hits:
        first = await ctx.house.store.version(hit.ref, 1)
        if first is None or first.body is None:
            continue
        by = (first.writer.user, first.writer.client if first.writer.kind == "system" else None)
        if by not in mine:
            continue
        if searching.matches(query, searching.decoded(first.body), filtered=False, r4=ctx.house.r4) and within_launch(ctx, "c", hit.facts):
            out.append(Match(hit.ref, replace(first, epoch=hit.epoch), seen=False))
    return out


__all__ = ["Match", "identified", "matching", "of_a_copy", "understood", "visible"]
