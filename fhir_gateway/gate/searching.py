"""search. https://hl7.org/fhir/R4/search.html

The consent predicate is in the query; every hit is decided again by the plain evaluator before it leaves, and a difference
is a 503 and an alarm, never data.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from ..domain import consent
from ..domain import search as searching
from ..domain.directory import NO_PATIENT_DATA
from ..domain.problem import Problem
from ..domain.search import Include, Query, Term, Value
from ..domain.standing import Standing
from ..domain.types import Always, Never, Note, Predicate, Stored
from .asked_about import refusals
from .context import (
    Context,
    Entry,
    Page,
    ask_stored,
    need_scope,
    note,
    reads_bytes,
    rendering,
    resumed,
    seal,
    stand,
    within_launch,
)  # fmt: skip
from .reading import in_scope, reach, reachable

PAGE = 50
INCLUDED = 1_000
QUERIES_KEPT = 2_000


async def search(ctx: Context, type: str | None, params: Sequence[tuple[str, str]], *, strict: bool = False) -> Page:
    """Search one type (or all with None) with decoded query parameters. `_page` is the token of a `next` link."""
    need_scope(ctx, "s", type or "*")
    params, after, held = resumed(ctx, f"search {type or ''}", params)
    query = _parsed(ctx, type, params, strict)
    people = await _people(ctx, query)
    standings = await stand(ctx.house, people, None, ctx.place)
    stamp = _stamp(ctx, standings)
    if held.get("ep", stamp) != stamp:
        raise Problem("not-found", "This page link does not work any more. Search again.")
    predicate = await reach(ctx, people)
    limited = _limited(ctx, query)
    count = PAGE if query.count is None else query.count
    want_total = query.total in ("accurate", "estimate") or query.summary == "count"
    filtered: Predicate = Never() if ctx.actor.kind == "patient" else Always()
    found = await ctx.house.store.search(
        limited, predicate, filtered=filtered, count=0 if query.summary == "count" else count, after=after, total=want_total
    )
    _again(ctx, found.hits, standings, await _more_standings(ctx, found.hits, standings))
    hits = [h for h in found.hits if within_launch(ctx, "r", h.facts)]
    included = await _included(ctx, query, hits, people, predicate, filtered)
    entries = [_entry(ctx, h, "match") for h in hits] + [_entry(ctx, h, "include") for h in included]
    trail = await _disclosed(ctx, "search", type, params, [*hits, *included])
    named = await refusals(ctx, query, trail[0].query, {n.patient for n in trail})
    await ctx.house.store.commit(*(named if named and trail[0].patient is None else [*trail, *named]))
    total = found.total
    if total is None and after is None and found.after is None:
        total = len(hits)
    if query.total == "none" and not want_total and any(k == "_total" for k, _ in params):
        total = None
    token = None
    if found.after is not None and query.summary != "count":
        token = seal(ctx, f"search {type or ''}", {"q": [list(p) for p in params], "at": list(found.after), "ep": stamp})
    return Page(tuple(entries), total, token, query.used)


def _parsed(ctx: Context, type: str | None, params: Sequence[tuple[str, str]], strict: bool) -> Query:
    key = (type, tuple(params), strict)
    kept = ctx.house._queries
    query = kept.get(key)
    if query is None:
        query = searching.parse(type, params, ctx.house.r4, strict=strict)
        if len(kept) > QUERIES_KEPT:
            kept.clear()
        kept[key] = query
    return query


def _limited(ctx: Context, query: Query) -> Query:
    """The scope's own search restrictions, as further terms."""
    if ctx.scopes is None:
        return query
    more: list[Term] = []
    for type in query.types:
        limits = ctx.scopes.restrictions(type, "s")
        if len(limits) == 1:
            more += _understood(ctx, type, limits[0])
        elif limits:
            raise Problem("forbidden", "This sign-in allows several different parts of this type: ask for one of them at a time.")
    if not more:
        return query
    return searching.with_terms(query, tuple(more))


def _understood(ctx: Context, type: str, limit: Sequence[tuple[str, str]]) -> tuple[Term, ...]:
    try:
        return searching.parse(type, limit, ctx.house.r4, strict=True).terms
    except Problem:
        raise Problem("insufficient-scope", f"What this sign-in allows of {type} cannot be understood.") from None


async def _people(ctx: Context, query: Query) -> set[str]:
    """Whose records this search may touch: those it names, else all that this asker could reach."""
    named = _named(query)
    if named is not None:
        return named if ctx.launch is None else named & {ctx.launch}
    if query.types and all(t in NO_PATIENT_DATA for t in query.types) and not any(t.has or t.chain for t in query.terms):
        return set()
    return await reachable(ctx)


def _named(query: Query) -> set[str] | None:
    """`patient=` and `subject=` with plain ids, where no hop leads elsewhere."""
    if any(t.chain or t.has for t in query.terms) or any(i.reverse or i.iterate for i in query.includes):
        return None
    for term in query.terms:
        if term.kind == "reference" and term.name in ("patient", "subject") and not term.modifier.replace("Patient", ""):
            ids = {v.text.removeprefix("Patient/") for v in term.values}
            if all(i and "/" not in i for i in ids):
                return {f"Patient/{i}" for i in ids}
    if query.types == ("Patient",):
        for term in query.terms:
            if term.name == "_id" and not term.modifier:
                return {f"Patient/{v.text}" for v in term.values}
    return None


async def _more_standings(ctx: Context, hits: Iterable[Stored], known: dict[str, Standing]) -> dict[str, Standing]:
    missing = {p for h in hits for p in h.facts.patients if p not in known}
    return await stand(ctx.house, missing, None, ctx.place) if missing else {}


def _again(ctx: Context, hits: Sequence[Stored], standings: dict[str, Standing], more: dict[str, Standing]) -> None:
    """Every hit decided again by the plain evaluator."""
    everyone = {**standings, **more} if more else standings
    question = ctx.asks(ctx.action)
    for hit in hits:
        if not consent.decide(question, hit.facts, everyone).permit:
            ctx.house.alarm(f"search predicate and decision differ on {hit.ref}")
            raise Problem("unavailable", "The answer could not be checked. Nothing was sent; please tell the operator.")


async def _included(
    ctx: Context, query: Query, hits: Sequence[Stored], people: set[str], predicate: Predicate, filtered: Predicate
) -> list[Stored]:
    """What `_include` and `_revinclude` bring, each resource under the predicate itself (leak list L07)."""
    if not query.includes or not hits:
        return []
    seen = {h.ref for h in hits}
    out: list[Stored] = []
    ring: Sequence[Stored] = hits
    includes: Sequence[Include] = query.includes
    while ring and includes and len(out) < INCLUDED:
        new = [s for s in await _ring(ctx, includes, ring, predicate, filtered) if s.ref not in seen]
        new = list({s.ref: s for s in new}.values())
        seen |= {s.ref for s in new}
        out += new
        ring, includes = new, [i for i in query.includes if i.iterate]
    return out[:INCLUDED]


async def _ring(
    ctx: Context, includes: Sequence[Include], ring: Sequence[Stored], predicate: Predicate, filtered: Predicate
) -> list[Stored]:
    out: list[Stored] = []
    resources = [searching.decoded(rendering(ctx, s)[0]) for s in ring]
    forward = [i for i in includes if not i.reverse]
    if forward:
        refs = searching.include_refs(forward, resources, ctx.house.r4)
        found = await ctx.house.store.get_many([r for r in refs if ctx.house.r4.has_type(r.type)])
        out += [s for s in found.values() if await shown(ctx, s)]
    for include in (i for i in includes if i.reverse):
        if ctx.scopes is not None and not ctx.scopes.covers("s", include.source):
            continue
        refs_in = tuple(Value(text=str(s.ref)) for s in ring)
        for name in searching.reference_names(include, ctx.house.r4):
            query = Query((include.source,), (Term(name, "reference", values=refs_in),))
            found_in = await ctx.house.store.search(query, predicate, filtered=filtered, count=INCLUDED)
            out += [s for s in found_in.hits if await shown(ctx, s)]
    return out


async def shown(ctx: Context, stored: Stored) -> bool:
    """May this reader have this resource beside others: consent, scope, launch."""
    if stored.deleted or not within_launch(ctx, "r", stored.facts):
        return False
    if ctx.scopes is not None and not ctx.scopes.covers("r", stored.ref.type):
        return False
    standings = await stand(ctx.house, stored.facts.patients, None, ctx.place)
    return consent.decide(ctx.asks(ctx.action), stored.facts, standings).permit and in_scope(ctx, "r", stored)


def _entry(ctx: Context, stored: Stored, mode: str) -> Entry:
    body = stored.body if reads_bytes(ctx, stored) else stored.view
    return Entry(stored.ref, stored.version, stored.updated, body, mode)


async def _disclosed(
    ctx: Context, what: str, type: str | None, params: Sequence[tuple[str, str]], shown: Sequence[Stored]
) -> list[Note]:
    """One audit row for each person disclosed, with the reason for the first of what was shown; one without a person when nobody was."""
    refs: dict[str | None, list[str]] = {}
    first: dict[str | None, Stored] = {}
    for s in shown:
        for p in s.facts.patients:
            refs.setdefault(p, []).append(str(s.ref))
            first.setdefault(p, s)
    query = f"{type or ''}?{'&'.join(f'{k}={v}' for k, v in params)}"
    why = {p: await ask_stored(ctx, ctx.action, s) for p, s in first.items()}
    people = refs.keys() or {None}
    return [note(ctx, "E", what, why.get(p), sorted(refs.get(p, ())), patient=p, query=query, allowed=True) for p in people]


def _stamp(ctx: Context, standings: dict[str, Standing]) -> int:
    """A number that changes with any consent, relationship or membership of these people."""
    kept = ctx.house._standings
    return zlib.crc32(repr(sorted((p, kept[p][0]) for p in standings if p in kept)).encode())
