"""read and vread. https://hl7.org/fhir/R4/http.html#read"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain import consent
from ..domain import search as searching
from ..domain.merged import records_of
from ..domain.problem import Problem, not_found
from ..domain.standing import Standing
from ..domain.types import All, Always, Any_, Decision, Has, Never, Not, Only, Predicate, Ref, Stored, Views
from .context import (
    Answer,
    Context,
    ask,
    ask_stored,
    leaving,
    need_scope,
    note,
    notes,
    whose,
    within_launch,
)  # fmt: skip
from .handing_out import PAST, handed_out
from .trail import TYPE as TRAIL
from .trail import may_look, read_trail

REACHES = "reaches"  # `user Patient/… id`: whom somebody reaches by their own word, until it ends


async def read(ctx: Context, ref: Ref) -> Answer:
    """The current version. Problem: not-found (hidden and absent alike), gone, insufficient-scope."""
    need_scope(ctx, "r", ref.type)
    if ref.type == TRAIL and (mine := await may_look(ctx)) is not None:
        return await read_trail(ctx, mine, ref.id, lambda event: resource_in_scope(ctx, "r", event))
    stored = await ctx.house.store.get(ref)
    decision = await allow(ctx, "R", "read", ref, stored)
    assert stored is not None
    await handed_out(ctx, [stored], *notes(ctx, "R", "read", decision, await whose(ctx, stored.facts), ref))
    if stored.deleted:
        raise Problem("gone", "This was deleted.")
    body, filtered = await leaving(ctx, stored)
    return Answer(ref, stored.version, stored.updated, body, filtered)


async def allow(ctx: Context, letter: str, what: str, ref: Ref, stored: Stored | None) -> Decision:
    """Permit, or not-found for hidden and absent alike, written down either way."""
    if stored is None:
        await ctx.house.store.commit(note(ctx, letter, what, None, (str(ref),), allowed=False, detail="absent"))
        raise not_found()
    decision = await ask_stored(ctx, ctx.action, stored)
    facts = await whose(ctx, stored.facts)
    if decision.permit and not (within_launch(ctx, "r", facts) and in_scope(ctx, "r", stored)):
        decision = Decision(False, "rbac", rule="scope")
    if not decision.permit:
        await ctx.house.store.commit(*notes(ctx, letter, what, decision, facts, ref))
        raise not_found()
    return decision


def in_scope(ctx: Context, interaction: str, stored: Stored) -> bool:
    """Granular scopes (`patient/Observation.rs?category=…`) restrict what a read may reach, as a search."""
    limits = ctx.scopes.restrictions(stored.ref.type, interaction) if ctx.scopes is not None else ()
    if not limits:
        return True
    if stored.body is None:  # a deletion holds nothing that a restriction could match
        return False
    return resource_in_scope(ctx, interaction, searching.decoded(stored.body))


def resource_in_scope(ctx: Context, interaction: str, resource: dict[str, Any]) -> bool:
    """The same of a resource as it is, or as it would be kept: with its id and meta."""
    type = str(resource["resourceType"])
    limits = ctx.scopes.restrictions(type, interaction) if ctx.scopes is not None else ()
    if not limits:
        return True
    try:
        queries = [searching.parse(type, limit, ctx.house.r4, strict=True) for limit in limits]
    except Problem:  # a restriction that cannot be understood restricts to nothing
        return False
    return any(searching.matches(q, resource, filtered=False, r4=ctx.house.r4) for q in queries)


async def vread(ctx: Context, ref: Ref, version: int) -> Answer:
    """One version, judged by the more restrictive of that version's labels and today's (leak list L15, L16)."""
    need_scope(ctx, "r", ref.type)
    now = await ctx.house.store.get(ref)
    decision = await allow(ctx, "R", "vread", ref, now)
    then = await ctx.house.store.version(ref, version)
    if then is None:
        raise not_found()
    facts = await whose(ctx, then.facts)
    if (then.facts.patients and not (await ask(ctx, ctx.action, then.facts)).permit) or not in_scope(ctx, "r", then):
        await ctx.house.store.commit(*notes(ctx, "R", "vread", decision, facts, ref, allowed=False))
        raise not_found()
    await handed_out(ctx, [then], *notes(ctx, "R", "vread", decision, facts, ref, detail=f"version {version}"), since=PAST)
    if then.deleted:
        raise Problem("gone", "This version is the deletion.")
    body, filtered = await leaving(ctx, then)
    return Answer(ref, version, then.updated, body, filtered)


async def reachable(ctx: Context) -> set[str]:
    """The people whose record could answer this asker at all."""
    if ctx.launch:
        return set(ctx.bound)
    if ctx.actor.kind in ("patient", "proxy") and ctx.actor.patient:
        return {ctx.actor.patient, *ctx.records}
    people = await ctx.house.store.concerned(ctx.actor.ids | {"*"})
    if ctx.actor.kind == "professional":  # what they themselves said: a claim, an emergency
        said = await ctx.house.store.kept_all(REACHES, ctx.at, prefix=f"{ctx.actor.user} ")
        people |= {key.split(" ")[1] for key in said}
    return people


def seen_by(ctx: Context, standings: Mapping[str, Standing]) -> Views:
    """Of which resources this reader gets which view, where what it drops is not found: as `views_of` says of each."""
    me = ctx.actor.patient
    view: Predicate = Always()
    if ctx.actor.kind == "patient" and me is not None:
        mine = standings.get(me)
        own = ctx.records | {me}
        if mine is not None and own >= records_of(mine):
            return Views(Never())
        view = Not(All((Has("patient", own), Only("patient", own))))
    return Views(view, *consent.narrowed(ctx.asks(ctx.action), standings))


def reach_of(ctx: Context, standings: Mapping[str, Standing]) -> Predicate:
    """The consent predicate over these people, and the launch patient's fence."""
    predicate = consent.scope(ctx.asks(ctx.action), standings)
    if ctx.launch and ctx.scopes is not None:
        fence = Any_((Has("patient", ctx.bound), Only("patient", frozenset())))
        predicate = All((fence, predicate))
    return predicate
