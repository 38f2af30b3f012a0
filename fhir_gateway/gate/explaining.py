"""Why somebody may see something, or may not, and what would change that; by the function that decides every request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..domain import consent, supposing
from ..domain.problem import Problem, not_found
from ..domain.types import BreakGlass, Decision, Facts, Ref, Stored
from ..domain.vocabulary import PURPOSES
from .context import Context, House, ask, ask_stored, directory_now, need_scope, notes, stand
from .disclosing import kept_for
from .reading import allow
from .somebody import askers, knows_sign_in

ACTIONS = ("access", "disclose", "collect", "correct")
UNKNOWN_SIGN_IN = "What their own sign-in says of them is not known here; this holds for the roles that the directory has."


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision in plain words: why, and what would change it (keys of `supposing.TEXT`, each tried on the same function)."""

    decision: Decision
    text: str
    facts: Facts
    changes: tuple[str, ...] = ()
    guessed: bool = False  # their sign-in is not known here
    emergency: BreakGlass | None = None  # under way, of whoever is asked about
    kept_for: tuple[str, ...] = ()  # `Organization/…`: for these they may keep a copy, as a processor, and not for themselves

    @property
    def texts(self) -> list[str]:
        """What would change it, a sentence each."""
        return [supposing.TEXT[c] for c in self.changes]


async def may(ctx: Context, action: str, ref: Ref) -> Decision:
    """Would this be allowed, and why: for pages that show only what will work. Not-found when hidden."""
    stored = await ctx.house.store.get(ref)
    if stored is None:
        raise not_found()
    if not (await ask(ctx, "access", stored.facts)).permit:
        raise not_found()
    return await ask(ctx, action, stored.facts)


async def explain(house: House, asking: Sequence[Context], action: str, ref: Ref) -> Explained:
    """The decision about this, and why in plain words: for operators, who see nothing of the record. Not-found when it is absent."""
    stored = await house.store.get(ref)
    if stored is None:
        raise not_found()
    return await _explained(asking, action, stored)


async def why(ctx: Context, what: Ref, who: str = "", purpose: str = "", action: str = "access") -> Explained:
    """The decision about this and why: for the person and their proxy about anybody, for everyone else about themselves (leak list L50).

    Problem not-found when the asker may not see it, forbidden about somebody else, bad-request for an unknown action or purpose.
    """
    need_scope(ctx, "r", "Consent")
    need_scope(ctx, "r", what.type)
    if action not in ACTIONS:
        raise Problem("bad-request", f"`action` is {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}, not `{action[:40]}`.", "action")
    if purpose and purpose not in PURPOSES:
        raise Problem("bad-request", f"`{purpose[:40]}` is not a purpose of use (v3-ActReason).", "purpose")
    stored = await ctx.house.store.get(what)
    seen = await allow(ctx, "R", "explain", what, stored)
    assert stored is not None
    theirs = ctx.actor.kind in ("patient", "proxy") and bool(stored.facts.patients)
    theirs = theirs and ctx.records.union((ctx.actor.patient or "",)).issuperset(stored.facts.patients)
    myself = not who or who in ctx.actor.ids
    if not theirs and not myself:
        await ctx.house.store.commit(*notes(ctx, "R", "explain", seen, stored.facts, what, allowed=False))
        raise Problem("forbidden", "You may ask this about yourself. Only the person, or who acts for them, may ask about others.", "who")
    asking = [replace(ctx, purpose=purpose or ctx.purpose)] if myself else await askers(ctx.house, who, purpose or "TREAT")
    said = await _explained(asking, action, stored)
    await ctx.house.store.commit(*notes(ctx, "R", "explain", seen, stored.facts, what))
    if theirs and not await _of_their_own(ctx, said.decision):
        decision = replace(said.decision, consent=None, consent_version=None, rule=consent.ELSEWHERE)
        return replace(said, decision=decision, text=consent.explain(decision), changes=(), kept_for=())
    if not theirs:  # which consent, and what else the person could choose, is the person's to know
        decision = replace(said.decision, consent=None)
        return Explained(decision, consent.explain(decision), stored.facts)
    return said


async def _of_their_own(ctx: Context, decision: Decision) -> bool:
    """Does this rest on what they said themselves, here or in a record that an operator merged with theirs: a record that may be
    somebody else's (`seealso`, `refer`) closes theirs, and of it nothing is told."""
    me = ctx.actor.patient or ""
    known = await stand(ctx.house, [me], None, ctx.place)
    mine = {me, *(k.other for k in known[me].links if k.merged)}
    own = {g.id for p in mine & known.keys() for g in known[p].grants} | {b.id for p in mine & known.keys() for b in known[p].broken}
    return decision.consent is None or decision.consent in own


async def _explained(asking: Sequence[Context], action: str, stored: Stored) -> Explained:
    """Of several ways to sign in the one that is permitted, if there is one."""
    answers = [(c, await ask_stored(c, action, stored)) for c in asking]
    ctx, decision = next((a for a in answers if a[1].permit), answers[0])
    standings = await stand(ctx.house, stored.facts.patients, None, ctx.place)
    sure = ctx.scopes is not None or await knows_sign_in(ctx.house, ctx.actor.user)
    turns = tuple(supposing.changes(ctx.asks(action), stored.facts, standings, decision, sure=bool(sure)))
    guessed = sure is False
    text = consent.explain(decision, [supposing.TEXT[t] for t in turns])
    now = (consent.emergency(replace(c.asks("access"), purpose="BTG"), s) for c, _ in answers for p, s in standings.items() if p in stored.facts.patients)
    glass = next((g for g in now if g is not None), None)
    if glass is not None:
        text += f" Their emergency access to this record is under way until {glass.expires:%Y-%m-%d %H:%M} UTC."
    keeps = await kept_for(ctx, stored)
    if keeps:
        here = (await directory_now(ctx.house))[0].organisations
        called = [here[k].name or k for k in keeps]
        whom = " and ".join(called)
        text += f" They may also keep a copy of it for {whom}." if decision.permit else f" They may keep a copy of it for {whom}, and not for themselves."
    return Explained(decision, f"{text} {UNKNOWN_SIGN_IN}" if guessed else text, stored.facts, turns, guessed, glass, keeps)


__all__ = ["Explained", "explain", "may", "why"]
