"""Whom a search names: the person is shown who asked about them and was shown nothing, as they are shown a refused read.

That nothing was found is an answer, too, where the asker may see it: no such diagnosis, no task. A row is written for both.
The asker is not told of it: the answer is complete before this looks, and for a person who is hidden, absent or open it asks the store the
same questions.
"""

from __future__ import annotations

from collections.abc import Collection

from ..domain.search import Query, Term
from ..domain.types import Always, Decision, Never, Note, Ref
from .context import Context, ask_stored, note, within_launch

FOUND_NOTHING = "found nothing"
MOST = 100  # people named in one search whose log is looked after


async def asked_about(ctx: Context, query: Query, text: str, shown: Collection[str | None]) -> list[Note]:
    """One row for each person whom this search names and of whom nothing was shown or counted: refused where they may see nothing.

    `shown` are people who have a row already. Nothing for what the house itself asks.
    """
    if ctx.scopes is None:
        return []
    rows: list[Note] = []
    named = await _named(ctx, query)
    for ref in [r for r in named if str(r) not in shown][:MOST]:
        stored = await ctx.house.store.get(ref)
        if stored is None or stored.deleted:
            continue
        decision = await ask_stored(ctx, ctx.action, stored)
        if decision.permit and not within_launch(ctx, "r", stored.facts):
            decision = Decision(False, "rbac")
        rows.append(note(ctx, "E", "search", decision, named[ref], patient=str(ref), query=text, detail=FOUND_NOTHING if decision.permit else ""))
    return rows


async def _named(ctx: Context, query: Query) -> dict[Ref, tuple[str, ...]]:
    """People whom it names by id or by an identifier, whatever it asks of them; and by which of their resources, where by those
    alone: what is kept from the person themselves is then no row of their log."""
    out: dict[Ref, None] = {}
    by: dict[Ref, list[str]] = {}
    for term in query.terms:
        if term.kind == "reference" and term.name in ("patient", "subject") and term.modifier in ("", "Patient"):
            if term.chain is None:
                out |= dict.fromkeys(_refs(term))
            else:
                for inner in term.chain.terms:
                    out |= dict.fromkeys(await _known_as(ctx, inner))
        elif query.types == ("Patient",):
            out |= dict.fromkeys(await _known_as(ctx, term))
        elif term.name == "_id" and len(query.types) == 1 and not term.modifier:
            by |= await _whose(ctx, query.types[0], term)
    return {**{person: tuple(refs) for person, refs in by.items()}, **dict.fromkeys(out, ())}


async def _whose(ctx: Context, type: str, term: Term) -> dict[Ref, list[str]]:
    """The people of resources that are asked for by id, with those resources."""
    found = await ctx.house.store.get_many([Ref(type, v.text) for v in term.values if v.text and "/" not in v.text][:MOST])
    out: dict[Ref, list[str]] = {}
    for s in found.values():
        for p in () if s.deleted else s.facts.patients:
            out.setdefault(Ref("Patient", p.removeprefix("Patient/")), []).append(str(s.ref))
    return out


def _refs(term: Term) -> list[Ref]:
    ids = (v.text.removeprefix("Patient/") for v in term.values)
    return [Ref("Patient", id) for id in ids if id and "/" not in id]


async def _known_as(ctx: Context, term: Term) -> list[Ref]:
    """Of a Patient's own parameters those that say who it is: `_id` and `identifier`."""
    if term.modifier or term.chain is not None or term.has is not None:
        return []
    if term.name == "_id":
        return _refs(term)
    if term.name != "identifier":
        return []
    found = await ctx.house.store.search(Query(("Patient",), (term,)), Always(), filtered=Never(), count=MOST)
    return [s.ref for s in found.hits]
