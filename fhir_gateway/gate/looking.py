"""What the person may ask about access itself: who looked, and would this be allowed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from ..domain import audit, consent
from ..domain.primitives import whole
from ..domain.problem import Problem, not_found
from ..domain.types import Decision, Note, Ref, Stored
from .context import Context, House, ask, ask_stored, directory_now, house_context, micros, need_scope, note, notes
from .emergencies import reasons
from .reading import allow

KINDS: dict[str, Literal["patient", "proxy", "professional", "system"]] = {
    "Patient": "patient", "RelatedPerson": "proxy", "Device": "system", "Organization": "system",
}  # fmt: skip


async def may(ctx: Context, action: str, ref: Ref) -> Decision:
    """Would this be allowed, and why: for `explain` and for pages that show only what will work. Not-found when hidden."""
    stored = await ctx.house.store.get(ref)
    if stored is None:
        raise not_found()
    if not (await ask(ctx, "access", stored.facts)).permit:
        raise not_found()
    return await ask(ctx, action, stored.facts)


async def explain(ctx: Context, action: str, ref: Ref) -> tuple[Decision, str]:
    """The decision about this, and why in plain words: for operators, who see nothing of the record. Not-found when it is absent."""
    stored = await ctx.house.store.get(ref)
    if stored is None:
        raise not_found()
    decision = await ask_stored(ctx, action, stored)
    return decision, consent.explain(decision)


ACTIONS = ("access", "disclose", "collect", "correct")


async def why(ctx: Context, what: Ref, who: str = "", purpose: str = "", action: str = "access") -> tuple[Decision, str]:
    """The decision about this and why: for the person and their proxy about anybody, for everyone else about themselves (leak list L50).

    Problem not-found when the asker may not see it, forbidden about somebody else, bad-request for an unknown action.
    """
    need_scope(ctx, "r", "Consent")
    need_scope(ctx, "r", what.type)
    if action not in ACTIONS:
        raise Problem("bad-request", f"`action` is {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}, not `{action[:40]}`.", "action")
    stored = await ctx.house.store.get(what)
    seen = await allow(ctx, "R", "explain", what, stored)
    assert stored is not None
    theirs = ctx.actor.kind in ("patient", "proxy") and set(stored.facts.patients) == {ctx.actor.patient}
    myself = not who or who in ctx.actor.ids
    if not theirs and not myself:
        await ctx.house.store.commit(*notes(ctx, "R", "explain", seen, stored.facts, what, allowed=False))
        raise Problem("forbidden", "You may ask this about yourself. Only the person, or who acts for them, may ask about others.", "who")
    asking = replace(ctx, purpose=purpose or ctx.purpose) if myself else await asker(ctx.house, who, purpose or "TREAT")
    decision = await ask_stored(asking, action, stored)
    await ctx.house.store.commit(*notes(ctx, "R", "explain", seen, stored.facts, what))
    if not theirs:
        decision = replace(decision, consent=None)
    return decision, consent.explain(decision)


async def asker(house: House, who: str, purpose: str) -> Context:
    """Somebody of the directory (`Practitioner/…`, `Patient/…`, `Organization/…`) as they would ask, without their signing in."""
    directory, _ = await directory_now(house)
    kind = KINDS.get(who.split("/")[0], "professional")
    actor = directory.actor(who, kind=kind, organisation=None, patient=who if kind == "patient" else None, at=house.clock())
    return house_context(house, actor, purpose=purpose)


async def organisation_called(house: House, name: str) -> str | None:
    """What a confirmed organisation is called, by ODS code or reference; None when there is none."""
    directory, _ = await directory_now(house)
    ref = directory.find(name)
    here = directory.organisations.get(ref) if ref else None
    return (here.name or name) if here is not None and here.confirmed else None


async def who_looked(ctx: Context, patient: str, *, before: str | None = None, count: int = 50) -> list[dict[str, Any]]:
    """The person's own access log, newest first; only for the person (leak list L39).

    Each: `{at, who, user, organisation, what, allowed, why, rule, reason, unchanged, purpose, sentence, before}`; `before` continues after
    that row. `reason` is what whoever did it said, in an emergency or of looking after the person.
    """
    me = f"Patient/{patient}"
    if ctx.actor.kind != "patient" or ctx.actor.patient != me:
        await ctx.house.store.commit(note(ctx, "R", "who-looked", None, (me,), allowed=False))
        raise not_found()
    at: tuple[Any, ...] | None = None
    if before:
        micro, _, id = before.partition("~")
        instant = whole(micro)
        if instant is None:
            raise not_found()
        at = (instant, id)
    rows = await _told(ctx, me, at, count)
    said = await reasons(ctx, me)
    return [
        {
            "at": n.at,
            "who": n.user_name or n.user,
            "user": n.user,
            "organisation": n.organisation,
            "what": n.what,
            "allowed": n.allowed,
            "why": n.basis,
            "rule": n.rule,
            "reason": n.detail if n.what == "claim" and n.allowed else said.get(n.rule, "") if n.what != "emergency-review" else n.detail,
            "unchanged": n.detail == "unchanged" or n.basis == "matched",
            "purpose": n.purpose,
            "sentence": audit.sentence(n),
            "before": f"{micros(n.at)}~{n.id}",
        }
        for n in rows
    ]


async def _told(ctx: Context, me: str, before: tuple[Any, ...] | None, count: int) -> list[Note]:
    """Rows of the log, newest first, that name nothing which is hidden from the person themselves: a row about nothing else is none."""
    told: list[Note] = []
    while True:
        rows = await ctx.house.store.notes(patient=me, before=before, count=count)
        named = {Ref(*r.split("/", 1)) for n in rows for r in n.refs if r.count("/") == 1}
        found = await ctx.house.store.get_many(sorted(named))
        hidden = {str(ref) for ref, stored in found.items() if not (await ask_stored(ctx, "access", stored)).permit}
        for row in rows:
            left = tuple(r for r in row.refs if r not in hidden)
            if left or not row.refs:
                told.append(replace(row, refs=left))
        if len(rows) < count or len(told) >= count:
            return told[:count]
        before = micros(rows[-1].at), rows[-1].id


async def keepers(ctx: Context) -> dict[str, int]:
    """Who wrote or keeps something of the person's own record, and since when (microseconds): they may go on reading that.

    Organisations as `Organization/…` for whom the directory knows them, else the person or system that wrote it. Only for the
    person; Problem not-found otherwise.
    """
    me = ctx.actor.patient
    if ctx.actor.kind != "patient" or me is None:
        raise not_found()
    directory, _ = await directory_now(ctx.house)
    first: dict[Ref, datetime] = {}
    now: dict[Ref, Stored] = {}
    for version in await ctx.house.store.patient_versions(me, ctx.house.r4.types):
        first.setdefault(version.ref, version.updated)
        now[version.ref] = version
    out: dict[str, int] = {}
    for ref, stored in now.items():
        if stored.deleted:
            continue
        named = stored.facts.authors | ({stored.facts.custodian} if stored.facts.custodian else set())
        places = {o for o in (directory.find(n) for n in named) if o in directory.organisations}
        people = {n for n in named if n.split("/")[0] in ("Practitioner", "PractitionerRole", "Device")}
        for who in places or people:
            since = micros(first[ref])
            out[str(who)] = min(since, out.get(str(who), since))
    return out
