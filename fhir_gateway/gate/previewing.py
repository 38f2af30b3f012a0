"""What somebody would see of a person's own record under a choice that is not saved yet. Nothing is saved but the audit row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..domain import consent, proxies, showing, strict, supposing
from ..domain.periods import micros
from ..domain.problem import Problem, not_found
from ..domain.search import Query
from ..domain.standing import Standing
from ..domain.types import CONTACT, PLACES, Decision, Facts, Has, Never, Ref, Stored
from ..domain.vocabulary import PURPOSES
from .consenting import names_somebody
from .context import Context, need_scope, note, stand, within_launch
from .reading import in_scope
from .receiving import judged, taken
from .somebody import askers, askers_of

PAGE, MOST = 500, 5_000  # resources of one record that are looked at
NOT_SHOWN = frozenset({"AuditEvent", "Provenance", "Consent"})  # about access itself, not what a plan holds


@dataclass(frozen=True, slots=True)
class Sight:
    """One thing of the record as somebody could see it: now, and with the choice. `resource` is decoded."""

    ref: Ref
    resource: dict[str, Any]
    facts: Facts
    before: Decision
    after: Decision
    shown: tuple[int, int] = (0, 0)  # how, before and after: bits of `types.CONTACT` and `PLACES` say what is not in it
    cares: bool = True  # could looking after the person open what is not private to them

    @property
    def text(self) -> str:
        """Why, with the choice, in plain words."""
        yes_alone = self.after.basis == "implicit" and not self.after.permit and (not self.cares or self.facts.confidentiality in ("R", "V"))
        return consent.explain(self.after, ["The person's own yes would change it."] if yes_alone else [])


@dataclass(frozen=True, slots=True)
class Preview:
    """`whole` is False when the record is longer than what was looked at."""

    sights: tuple[Sight, ...]
    whole: bool = True


async def preview(
    ctx: Context, who: str, *, choice: Mapping[str, Any] | None = None, replaces: str | None = None, purpose: str = "TREAT"
) -> Preview:
    """Everything the person themselves sees of their record, with what `who` may see of it now and with `choice` saved.

    `choice` is a Consent body, `replaces` the id of the one it would be saved over; without it: as things are. For the person and
    who acts for them. Problem not-found for anybody else, business-rule for a consent that could not be kept.
    """
    need_scope(ctx, "r", "Consent")
    me = ctx.actor.patient
    if ctx.actor.kind not in ("patient", "proxy") or me is None:
        await ctx.house.store.commit(note(ctx, "E", "preview", None, (), allowed=False))
        raise not_found()
    if purpose not in PURPOSES:
        raise Problem("bad-request", f"`{purpose[:40]}` is not a purpose of use (v3-ActReason).", "purpose")
    if choice is not None:
        await _could_be_kept(ctx, choice, me)
    record, whole = await _record(ctx, me)
    people = {p for s in record for p in s.facts.patients} | {me}
    now = await stand(ctx.house, people, None, ctx.place)
    own = ctx.asks("access")
    visible = [s for s in record if _mine(ctx, s) and consent.decide(own, s.facts, now).permit]
    then: Mapping[str, Standing] = now if choice is None else {**now, me: supposing.supposed(now[me], choice, replaces)}
    asking = await askers(ctx.house, who, purpose)
    sights = tuple(_sight(asking, s, now, then) for s in visible)
    yes = Decision(True, "self" if ctx.actor.kind == "patient" else "proxy")
    await ctx.house.store.commit(note(ctx, "E", "preview", yes, (), patient=me, query=f"who={who}"))
    return Preview(sights, whole)


async def _could_be_kept(ctx: Context, choice: Mapping[str, Any], me: str) -> None:
    wrong = [i for i in judged(ctx, dict(choice)) if i.severity in ("error", "fatal")]
    if wrong:
        raise Problem("invalid", wrong[0].text, wrong[0].where, issues=wrong)
    taken(ctx, "Consent", dict(choice))
    if (choice.get("patient") or {}).get("reference") != me:
        raise Problem("business-rule", "A choice is about the person's own record.", "Consent.patient")
    await names_somebody(ctx, ctx.house.store.get, choice, Facts("Consent", "", (me,)))


async def counted(
    ctx: Context, whom: Collection[str], *, choice: Mapping[str, Any] | None = None, replaces: str | None = None
) -> tuple[dict[str, int], int]:
    """How many things of their own record each of these can see, and of how many: now, or with `choice` saved.

    For the person and who acts for them; Problem not-found for anybody else.
    """
    me = ctx.actor.patient
    if ctx.actor.kind not in ("patient", "proxy") or me is None:
        raise not_found()
    if choice is not None:
        await _could_be_kept(ctx, choice, me)
    record, _ = await _record(ctx, me)
    now = await stand(ctx.house, {p for s in record for p in s.facts.patients} | {me}, None, ctx.place)
    own = ctx.asks("access")
    visible = [s.facts for s in record if _mine(ctx, s) and consent.decide(own, s.facts, now).permit]
    then = now if choice is None else {**now, me: supposing.supposed(now[me], choice, replaces)}
    asking = await askers_of(ctx.house, whom)
    return {who: sum(_best(asked, f, then).permit for f in visible) for who, asked in asking.items()}, len(visible)


async def details(
    ctx: Context, whom: Collection[str], *, choice: Mapping[str, Any] | None = None, replaces: str | None = None, purpose: str = "TREAT"
) -> dict[str, frozenset[int]]:
    """How much each of these gets of who and where the person is: `types.CONTACT` and `PLACES` as bits, one for each way they can sign in.

    Of a team one for members in health and social care, one for the others. For the person and who acts for them; Problem not-found
    for anybody else.
    """
    me = ctx.actor.patient
    if ctx.actor.kind not in ("patient", "proxy") or me is None:
        raise not_found()
    now = await stand(ctx.house, [me], None, ctx.place)
    then = now if choice is None else {**now, me: supposing.supposed(now[me], choice, replaces)}
    facts = Facts("Patient", me.removeprefix("Patient/"), (me,))
    out = {}
    for who, asking in (await askers_of(ctx.house, whom, purpose)).items():
        actors = [c.actor for c in asking]
        if who.startswith(("CareTeam/", "Group/")):
            actors += [replace(a, sector="health") for a in actors]
        asks = [replace(c.asks("access"), actor=a) for c in asking[:1] for a in actors]
        out[who] = frozenset(consent.views(q, facts, then).bits & (CONTACT | PLACES) for q in asks)
    return out


async def may_share(ctx: Context) -> bool:
    """May this asker choose for the person who sees their record: the person, or somebody whom the law lets decide for them.

    Whether a choice is taken is asked again when it is written.
    """
    me = ctx.actor.patient
    if ctx.actor.kind == "patient":
        return True
    if ctx.actor.kind != "proxy" or me is None or (ctx.scopes is not None and not ctx.scopes.covers("u", "Consent")):
        return False
    standing = (await stand(ctx.house, [me], None, ctx.place))[me]
    return bool(proxies.decides_for(standing, ctx.actor.ids | {ctx.actor.user}, micros(ctx.at)))


async def _record(ctx: Context, me: str) -> tuple[list[Stored], bool]:
    """The whole record, those merged with it among it, each with who refers to it from within."""
    found: list[Stored] = []
    after: tuple[Any, ...] | None = None
    while True:
        page = await ctx.house.store.search(Query(()), Has("patient", ctx.records | {me}), filtered=Never(), count=PAGE, after=after)
        found += page.hits
        after = page.after
        if after is None or len(found) >= MOST:
            break
    incoming: dict[str, set[str]] = defaultdict(set)
    for s in found:
        for target in s.facts.refs:
            incoming[target].add(str(s.ref))
    known = [replace(s, facts=replace(s.facts, referred_by=frozenset(incoming[str(s.ref)]))) for s in found]
    return known, after is None


def _mine(ctx: Context, stored: Stored) -> bool:
    if stored.ref.type in NOT_SHOWN or stored.body is None or not within_launch(ctx, "r", stored.facts):
        return False
    return (ctx.scopes is None or ctx.scopes.covers("r", stored.ref.type)) and in_scope(ctx, "r", stored)


def _sight(asking: Sequence[Context], stored: Stored, now: Mapping[str, Standing], then: Mapping[str, Standing]) -> Sight:
    """Of several ways to sign in the one that sees it, if there is one."""
    before, after = (_best(asking, stored.facts, s) for s in (now, then))
    shown = (_less(before), _less(after))
    cares = any(c.actor.sector in showing.CARE for c in asking)
    return Sight(stored.ref, strict.decode(stored.body or b"{}"), stored.facts, before, after, shown, cares)


def _less(decision: Decision) -> int:
    return sum(bit for duty, bit in showing.VIEW_BITS.items() if duty in decision.obligations)


def _best(asking: Sequence[Context], facts: Facts, standings: Mapping[str, Standing]) -> Decision:
    answers = [consent.decide(c.asks("access"), facts, standings) for c in asking]
    return min((a for a in answers if a.permit), key=_less, default=answers[0])


__all__ = ["Preview", "Sight", "counted", "details", "may_share", "preview"]
