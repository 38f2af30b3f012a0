"""search. https://hl7.org/fhir/R4/search.html

The consent predicate is in the query; every hit is decided again by the plain evaluator before it leaves, and a difference
is a 503 and an alarm, never data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..domain import consent
from ..domain import search as searching
from ..domain.directory import NO_PATIENT_DATA
from ..domain.problem import Problem
from ..domain.search import Include, Query, Term, Value
from ..domain.standing import Standing
from ..domain.types import All, Always, Any_, Found, Has, Not, Note, Only, Predicate, Ref, Stored, Views
from .asked_about import asked_about
from .checking import decide_again, epoch_stamp
from .context import (
    Context,
    Entry,
    Page,
    filled,
    leaving,
    need_scope,
    note,
    rendering,
    stand,
    why_shown,
    within_launch,
)  # fmt: skip
from .counting import Counted, counted_again, counted_of, too_large
from .handing_out import handed_out
from .hops import covered, followed
from .paging import resumed, seal
from .reading import in_scope, reach_of, reachable, seen_by
from .subscribers import TYPE as SUBSCRIPTION
from .subscribing import find
from .trail import TYPE as TRAIL
from .trail import may_look, search_trail
from .writings import TYPE as WRITINGS
from .writings import skipped, with_writings

PAGE = 50
INCLUDED = 1_000
QUERIES_KEPT = 2_000


async def search(
    ctx: Context, type: str | None, params: Sequence[tuple[str, str]], *, strict: bool = False, within: Ref | None = None
) -> Page:
    """Search one type (or all with None) with decoded query parameters. `_page` is the token of a `next` link.

    `within`: only what is in the compartment of this resource (https://hl7.org/fhir/R4/compartmentdefinition.html).
    """
    if type is not None:
        need_scope(ctx, "s", type)
    if type == SUBSCRIPTION and within is None and (own := await find(ctx, params)) is not None:
        return own
    params, after, held = resumed(ctx, _what(type, within), params)
    query = _parsed(ctx, type, params, strict)
    for each in query.types or ("*",):
        need_scope(ctx, "s", each)
    limited = covered(ctx, query if within is None else _inside(ctx, query, within))
    if type == TRAIL and (whose := await may_look(ctx)) is not None:
        return await search_trail(ctx, whose, await followed(ctx, limited, officer=whose.person is None), params, after, _what(type, within))
    if type == WRITINGS and "written" in held:
        made = await followed(ctx, limited)
        return await with_writings(ctx, made, Page((), None, None, query.used), params, skipped(held), _what(type, within))
    want_total = query.total in ("accurate", "estimate") or query.summary == "count"
    named = _named(query, within)
    people = await _people(ctx, query, within) if named is None else named if ctx.launch is None else named & ctx.bound
    standings = await stand(ctx.house, people, None, ctx.place)
    stamp = epoch_stamp(ctx, standings)  # of those asked about: whom hidden resources name besides must not show in a link
    if held.get("ep", stamp) != stamp:
        raise Problem("not-found", "This page link does not work any more. Search again.")
    if named is not None and want_total:
        standings |= await stand(ctx.house, await beside(ctx, query.types, people), None, ctx.place)
    filtered = seen_by(ctx, standings)
    count = 0 if query.summary == "count" else PAGE if query.count is None else query.count
    ask = partial(ctx.house.store.search, limited, filtered=filtered, count=count, after=after, total=want_total)
    predicate = reach_of(ctx, standings)
    found = await ask(predicate if named is None or want_total else _or_beside(predicate, standings))
    while named is not None and (more := await _strangers(ask, found, predicate, standings)):
        standings = await stand(ctx.house, {*standings, *more}, None, ctx.place)
        predicate, filtered = reach_of(ctx, standings), seen_by(ctx, standings)
        ask = partial(ask, filtered=filtered)
        found = await ask(_or_beside(predicate, standings))
    await decide_again(ctx, found.hits, standings)
    counted = await counted_again(ctx, partial(ask, predicate), found, standings) if want_total else {}
    hits = [h for h in found.hits if within_launch(ctx, "r", h.facts)]
    included = await _included(ctx, query, hits, standings, filtered) if query.includes else []
    entries = [await entry_of(ctx, h, "match") for h in hits] + [await entry_of(ctx, h, "include") for h in included]
    trail = await _disclosed(ctx, "search", type, within, params, [*hits, *included])
    await _written_down(ctx, [*hits, *included], trail, counted, query if within is None else searching.with_terms(query, _whose(within)))
    token = None
    if found.after is not None and query.summary != "count":
        token = seal(ctx, _what(type, within), {"q": [list(p) for p in params], "at": list(found.after), "ep": stamp})
    page = Page(tuple(entries), _total(query, params, found, len(hits) if after is None else None), token, query.used)
    if type != WRITINGS or within is not None:
        return page
    return await with_writings(ctx, await followed(ctx, limited), page, params, 0, _what(type, within))


async def _written_down(ctx: Context, shown: Sequence[Stored], trail: list[Note], counted: dict[str, Counted], query: Query) -> None:
    """What was shown, with who was counted or asked about without being shown."""
    trail += counted_of(ctx, counted, trail[0].query, {n.patient for n in trail})
    trail += await asked_about(ctx, query, trail[0].query, {n.patient for n in trail})
    await handed_out(ctx, shown, *(trail[1:] if trail[0].patient is None and trail[1:] else trail))


def _total(query: Query, params: Sequence[tuple[str, str]], found: Found, first: int | None) -> int | None:
    """How many there are, as far as it is known and wanted; `first` are on this page, where it is the first."""
    if query.total == "none" and query.summary != "count" and any(k == "_total" for k, _ in params):
        return None
    if found.total is None and first is not None and found.after is None:
        return first
    return None if too_large(found) else found.total


def _what(type: str | None, within: Ref | None) -> str:
    """Of which search a page link is: it is of no use at another address."""
    return f"search {within or ''} {type or '*'}"


def _parsed(ctx: Context, type: str | None, params: Sequence[tuple[str, str]], strict: bool) -> Query:
    key = (type, tuple(params), strict, ctx.limits)
    kept = ctx.house._queries
    query = kept.get(key)
    if query is None:
        query = searching.parse(type, params, ctx.house.r4, strict=strict, base=ctx.house.base_url, limits=ctx.limits)
        if len(kept) > QUERIES_KEPT:
            kept.clear()
        kept[key] = query
    return query


def compartment(ctx: Context, whose: Ref, type: str) -> tuple[str | None, Ref]:
    """What to search of which compartment at `Patient/1/Goal`; `*` is all of it. Problem not-offered."""
    if whose.type not in ctx.house.r4.compartments or not (type == "*" or ctx.house.r4.has_type(type)):
        raise Problem("not-offered", f"There is no compartment `{whose.type[:64]}/[id]/{type[:64]}` to search.")
    return None if type == "*" else type, whose


def _inside(ctx: Context, query: Query, within: Ref) -> Query:
    """The search, of what is in this compartment; over every type that can be in it when it names none."""
    term = searching.within(within, query.types, ctx.house.r4)
    types = query.types or tuple(dict.fromkeys(t for way in term.any for t in way.types))
    return searching.with_terms(replace(query, types=types), (term,))


def _whose(within: Ref) -> tuple[Term, ...]:
    """A person's compartment names that person."""
    return (Term("patient", "reference", values=(Value(text=str(within)),)),) if within.type == "Patient" else ()


# -- whose records ------------------------------------------------------------------------------------------------------


async def _people(ctx: Context, query: Query, within: Ref | None) -> set[str]:
    """Whose records a search may touch that names nobody alone: all that this asker could reach, and whose compartment it is."""
    if query.types and all(t in NO_PATIENT_DATA for t in query.types) and not any(t.has or t.chain for t in query.terms):
        return set()
    people = await reachable(ctx)
    return people | {str(within)} if within is not None and within.type == "Patient" and ctx.launch is None else people


def _or_beside(predicate: Predicate, known: Collection[str]) -> Predicate:
    """What the predicate permits, and what names others besides: so that they are asked, too, before anything is shown.
    Where nobody is named besides, as nearly always, this costs nothing."""
    people = frozenset(known)
    return Any_((predicate, All((Has("patient", people), Not(Only("patient", people)))))) if people else predicate


async def _strangers(ask: Any, found: Found, predicate: Predicate, known: Collection[str]) -> set[str]:
    """Whom these hits name, and the one that would come next, whose standing is not at hand: whether there is a next page
    is told of what may be seen alone."""
    people = {p for h in found.hits for p in h.facts.patients}
    if found.after is not None:
        beyond = found.extra.get("beyond")
        if beyond is None:
            following = await ask(_or_beside(predicate, known), count=1, after=found.after, total=False)
            beyond = [p for h in following.hits for p in h.facts.patients]
        people.update(beyond)
    return people - set(known)


async def beside(ctx: Context, types: tuple[str, ...], people: set[str]) -> set[str]:
    """Who else is named in these people's records."""
    known = frozenset(people)
    if not known:
        return set()
    others, after = All((Has("patient", known), Not(Only("patient", known)))), None
    out: set[str] = set()
    while True:
        found = await ctx.house.store.search(Query(types), others, filtered=Always(), count=INCLUDED, after=after)
        out.update(p for h in found.hits for p in h.facts.patients)
        after = found.after
        if after is None:
            return out


def _named(query: Query, within: Ref | None = None) -> set[str] | None:
    """`patient=`, `subject=` with plain ids and a Patient's compartment, where no hop leads elsewhere."""
    if any(t.chain or t.has for t in query.terms) or any(i.reverse or i.iterate for i in query.includes):
        return None
    if within is not None and within.type == "Patient":  # other people are in it, too: those whose record is linked to this one
        return None if not query.types or "Patient" in query.types else {str(within)}
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


async def _included(
    ctx: Context, query: Query, hits: Sequence[Stored], standings: Mapping[str, Standing], filtered: Views
) -> list[Stored]:
    """What `_include` and `_revinclude` bring, each resource under the predicate itself (leak list L07).

    Problem bad-request when that is more than a page can hold: what is left out silently would be taken for absent.
    """
    seen = {h.ref for h in hits}
    out: list[Stored] = []
    ring: Sequence[Stored] = hits
    includes: Sequence[Include] = query.includes
    while ring and includes:
        new = {s.ref: s for s in await _ring(ctx, includes, ring, standings, filtered) if s.ref not in seen}
        seen |= new.keys()
        ring, includes = list(new.values()), [i for i in query.includes if i.iterate]
        out += ring
        if len(out) > INCLUDED:
            raise too_many()
    return out


def too_many() -> Problem:
    """What a search is refused with whose includes would be cut: 400."""
    return Problem("bad-request", f"This brings along more than {INCLUDED} other resources: ask for fewer with `_count`, or search for them.")


async def _ring(
    ctx: Context, includes: Sequence[Include], ring: Sequence[Stored], standings: Mapping[str, Standing], filtered: Views
) -> list[Stored]:
    out: list[Stored] = []
    forward = [i for i in includes if not i.reverse]
    if forward:
        wanted = {i.source for i in forward}
        resources = [searching.decoded((await rendering(ctx, s))[0]) for s in ring if "*" in wanted or s.ref.type in wanted]
        refs = [r for r in searching.include_refs(forward, resources, ctx.house.r4) if ctx.house.r4.has_type(r.type)]
        found = (await ctx.house.store.get_many(refs)).values() if refs else ()
        out += await shown(ctx, found)
    for include in (i for i in includes if i.reverse):
        out += await shown(ctx, await _referring(ctx, include, [s.ref for s in ring], standings, filtered))
    return out


async def _referring(
    ctx: Context, include: Include, refs: Sequence[Ref], standings: Mapping[str, Standing], filtered: Views
) -> list[Stored]:
    """What points to these, as `_revinclude` asks. A type that this sign-in may not search brings nothing."""
    r4, scopes = ctx.house.r4, ctx.scopes
    predicate = reach_of(ctx, standings)
    if include.source == "*":
        near = All((Has("ref", frozenset(map(str, refs))), predicate))
        found = await ctx.house.store.search(Query(()), near, filtered=filtered, count=INCLUDED)
        hits = [h for h in found.hits if scopes is None or scopes.covers("s", h.ref.type)]
        await decide_again(ctx, hits, standings)
        hits = [h for h in hits if searching.points(searching.decoded((await rendering(ctx, h))[0]), refs, r4)]
        return _all_of(hits, found.after)
    if scopes is not None and not scopes.covers("s", include.source):
        return []
    out: list[Stored] = []
    for query in searching.reverse_queries(include, refs, r4):
        found = await ctx.house.store.search(query, predicate, filtered=filtered, count=INCLUDED)
        await decide_again(ctx, found.hits, standings)
        out += _all_of(found.hits, found.after)
    return out


def _all_of(hits: Sequence[Stored], after: Any) -> list[Stored]:
    if after is not None:
        raise too_many()
    return list(hits)


async def shown(ctx: Context, found: Iterable[Stored]) -> list[Stored]:
    """Those that this reader may have beside others: consent, scope, launch."""
    scopes = ctx.scopes
    able = [
        s for s in found if not s.deleted and within_launch(ctx, "r", s.facts) and (scopes is None or scopes.covers("r", s.ref.type))
    ]
    standings = await stand(ctx.house, {p for s in able for p in s.facts.patients}, None, ctx.place)
    question = ctx.asks(ctx.action)
    return [s for s in able if consent.decide(question, await filled(ctx.house, s.facts, standings), standings).permit and in_scope(ctx, "r", s)]


async def entry_of(ctx: Context, stored: Stored, mode: str) -> Entry:
    """One resource of a Bundle, as this reader may have it."""
    return Entry(stored.ref, stored.version, stored.updated, (await leaving(ctx, stored))[0], mode)


async def _disclosed(
    ctx: Context, what: str, type: str | None, within: Ref | None, params: Sequence[tuple[str, str]], shown: Sequence[Stored]
) -> list[Note]:
    """One audit row for each person disclosed, with the reason for the first of what was shown; one without a person when nobody was."""
    refs: dict[str | None, list[str]] = {}
    of: dict[str | None, list[Stored]] = {}
    for s in shown:
        for p in s.facts.patients:
            refs.setdefault(p, []).append(str(s.ref))
            of.setdefault(p, []).append(s)
    query = f"{f'{within}/' if within else ''}{type or ''}?{'&'.join(f'{k}={v}' for k, v in params)}"
    why = {p: await why_shown(ctx, theirs) for p, theirs in of.items()}
    people = refs.keys() or {None}
    return [note(ctx, "E", what, why.get(p), sorted(refs.get(p, ())), patient=p, query=query, allowed=True) for p in people]


