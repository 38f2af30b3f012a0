"""Hops of a search (`patient.identifier=…`): what the sign-in allows of each, and where they lead for what lies in no index.

AuditEvents and the Provenance of a write are made as they are asked for, so that no store can follow a chain from them. Each hop is
answered first, by what this reader may see, and stands in the search as the references it leads to.
https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..domain import search as searching
from ..domain.identity import NHS_NUMBER
from ..domain.problem import Problem
from ..domain.scopes import Scopes
from ..domain.search import Query, Term, Value
from ..domain.types import Ref
from .checking import decide_again
from .context import Context, need_scope, stand, within_launch
from .identifying import with_number
from .reading import reach_of, reachable, seen_by
from .trail import TYPE as TRAIL

LED: Final = 100  # references that one hop may lead to: as many as a parameter may have values
BY_REFERENCE: Final = frozenset({"patient", "target", "entity"})  # what these name has no identifier beside its reference

# -- what the sign-in allows of it --------------------------------------------------------------------------------------

def covered(ctx: Context, query: Query) -> Query:
    """The scope's own search restrictions, as further terms; here and at every hop, which needs a scope of its own."""
    if ctx.scopes is None:
        return query
    terms = tuple(_hop(ctx, t) for t in query.terms) if any(t.chain is not None for t in query.terms) else query.terms
    more = _restriction(ctx, ctx.scopes, query.types)
    return query if terms is query.terms and not more else replace(query, terms=terms + more)


def _hop(ctx: Context, term: Term) -> Term:
    """A chain tells of what it leads to: where nothing of that may be searched, neither may this."""
    if term.chain is None or ctx.scopes is None:
        return term
    types = tuple(t for t in term.chain.types if ctx.scopes.covers("s", t))
    if not types:
        need_scope(ctx, "s", term.chain.types[0])
    return replace(term, chain=covered(ctx, replace(term.chain, types=types)))


def _restriction(ctx: Context, scopes: Scopes, types: tuple[str, ...]) -> tuple[Term, ...]:
    """Terms for what the scopes allow of these types (() is all): each type is asked its own."""
    if not scopes.restricted:
        return ()
    limits = {t: found for t in types or ctx.house.r4.types if (found := scopes.restrictions(t, "s"))}
    if not limits:
        return ()
    if len(types) == 1 and len(limits[types[0]]) == 1:
        return _understood(ctx, types[0], limits[types[0]][0])
    ways = [Query((t,), _understood(ctx, t, limit)) for t, found in limits.items() for limit in found]
    free = tuple(t for t in types or ctx.house.r4.types if t not in limits)
    return (Term("_allowed", "special", any=(*ways, *([Query(free)] if free else []))),)


def _understood(ctx: Context, type: str, limit: Sequence[tuple[str, str]]) -> tuple[Term, ...]:
    try:
        return searching.parse(type, limit, ctx.house.r4, strict=True).terms
    except Problem:
        raise Problem("insufficient-scope", f"What this sign-in allows of {type} cannot be understood.") from None


# -- where they lead ----------------------------------------------------------------------------------------------------


async def followed(ctx: Context, query: Query, *, officer: bool = False) -> Query:
    """The search with each chain, and each `:identifier`, as the references it leads to for this reader; `_has` as it was.

    An `officer` knows people by NHS number alone (`whose_trail`). Problem bad-request for other ways to a person of theirs, and for
    a hop to more than `LED` resources.
    """
    if not any(t.chain is not None or t.any or t.modifier == "identifier" for t in query.terms):
        return query
    return replace(query, terms=tuple([await _followed(ctx, query.types, t, officer) for t in query.terms]))


async def _followed(ctx: Context, types: tuple[str, ...], term: Term, officer: bool) -> Term:
    if term.any:
        return replace(term, any=tuple([await followed(ctx, way, officer=officer) for way in term.any]))
    if term.has is not None:
        return term
    if term.chain is not None:
        return await _leads(ctx, term, term.chain, officer)
    chain = _identified(ctx, types, term) if term.modifier == "identifier" else None
    if chain is None:
        return term
    led = await _leads(ctx, term, chain, officer)
    return led if term.name in BY_REFERENCE else Term("_in", "special", any=(Query((), (term,)), Query((), (led,))))


def _identified(ctx: Context, types: tuple[str, ...], term: Term) -> Query | None:
    """`agent:identifier=x` as a search for what has this identifier; None where the sign-in may search for nothing of it."""
    r4, scopes = ctx.house.r4, ctx.scopes
    named = {t for type in types for t in r4.search_parameters(type)[term.name].targets or r4.types}
    known = (t for t in r4.types if t in named and "identifier" in r4.search_parameters(t))
    able = tuple(t for t in known if scopes is None or scopes.covers("s", t))
    return covered(ctx, Query(able, (Term("identifier", "token", values=term.values),))) if able else None


async def _leads(ctx: Context, term: Term, chain: Query, officer: bool) -> Term:
    """The term with what `chain` finds in place of the hop. Without any it has no value, and is met by nothing."""
    if chain.types == (TRAIL,):
        raise Problem("bad-request", f"`{term.name}` cannot be followed to AuditEvents: search for them by themselves.", term.name)
    numbers = _numbers(chain) if officer and "Patient" in chain.types else ()
    if officer and chain.types == ("Patient",) and not numbers:
        raise Problem("bad-request", f"Say whom `{term.name}` means by id, or by NHS number as `{term.name}.identifier`.", term.name)
    refs = dict.fromkeys([s.ref for number in numbers for s in await with_number(ctx, number)])
    refs |= dict.fromkeys(await _found(ctx, chain))
    if len(refs) > LED:
        raise Problem("bad-request", f"`{term.name}` leads to more than {LED} others here: ask more closely.", term.name)
    return replace(term, modifier="", values=tuple(Value(text=str(ref)) for ref in refs), chain=None)


def _numbers(chain: Query) -> tuple[str, ...]:
    """The NHS numbers that a hop asks for and nothing else; () otherwise."""
    if len(chain.terms) != 1 or chain.terms[0].name != "identifier" or chain.terms[0].modifier:
        return ()
    said = [(v.system, "".join(v.text.split())) for v in chain.terms[0].values]
    good = all(system in (None, NHS_NUMBER) and len(text) == 10 and text.isascii() and text.isdigit() for system, text in said)
    return tuple(text for _, text in said) if good else ()


async def _found(ctx: Context, chain: Query) -> list[Ref]:
    standings = await stand(ctx.house, await reachable(ctx), None, ctx.place)
    found = await ctx.house.store.search(chain, reach_of(ctx, standings), filtered=seen_by(ctx, standings), count=LED + 1)
    await decide_again(ctx, found.hits, standings)
    return [h.ref for h in found.hits if within_launch(ctx, "r", h.facts)]
