"""Whether something may go to a partner now: consent asked for its owner, or for the team that it keeps it for, and for everybody
who reads from it (sync.md, Outbound)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ..domain import consent
from ..domain.directory import NO_PATIENT_DATA, Directory
from ..domain.periods import micros
from ..domain.standing import Standing, in_team
from ..domain.types import CONTACT, Actor, Cut, Decision, Disclosed, Facts, Stored
from ..domain.vocabulary import own_task
from .context import Context, House, Remote, ask_stored, attached, directory_now, filled, stand
from .entering import house_context

NORMAL = ("U", "L", "M", "N")
NOT_AGREED = "the agreement with this partner does not take it (types, direction)"


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a disclosure rests on. `on_behalf_of`: the organisation for which a processor keeps it (`Organization/…`)."""

    decision: Decision
    on_behalf_of: str | None = None


async def may_send(ctx: Context, terms: Remote, stored: Stored) -> Decision:
    """Whether this may go there now, and why: `grounds` without for whom."""
    return (await grounds(ctx, terms, stored)).decision


async def grounds(ctx: Context, terms: Remote, stored: Stored) -> Grounds:
    """It must be agreed on, and the owner permitted (of a processor: a member of the person's team that it works for) and no member of the audience denied.

    A partner that enforces nothing gets nothing restricted, and nothing that anyone who reads from it may not see. The
    decision that opened it when it may go; else the refusal, without saying who of the audience it was.
    """
    if not terms.takes(stored.ref.type) and (stored.ref.type not in NO_PATIENT_DATA or terms.direction == "in"):
        return Grounds(Decision(False, "implicit", rule=NOT_AGREED))
    if own_task(stored.facts.type, stored.facts.codes):
        return Grounds(Decision(False, "implicit", rule="a question or work of this gateway's own"))
    if attached(stored.facts):  # nobody's by itself: no ledger could say whose it was, no review would take it back
        return Grounds(Decision(False, "implicit", rule="an attachment stays with what it is attached to"))
    processor = terms.role == "processor" and bool(stored.facts.patients)
    found = await _for_the_team(ctx, terms, stored) if processor else Grounds(await ask_stored(ctx, "disclose", stored))
    if not found.decision.permit or not stored.facts.patients:
        return found
    if terms.enforces == "nothing" and stored.facts.confidentiality not in NORMAL:
        return Grounds(Decision(False, found.decision.basis, rule="restricted, and the partner enforces nothing"))
    if terms.enforces == "consents" and not terms.audience:
        return found
    return Grounds(refused) if (refused := await _denied(ctx, terms, stored)) is not None else found


async def may_keep(ctx: Context, terms: Remote, stored: Stored, rows: Iterable[Disclosed]) -> bool:
    """May what this server has of it by these open `rows` of the ledger stay there. What was sent, as long as it may go. What they only fetched
    also as long as they may read it here, and nobody who reads there was told no: they could fetch it again."""
    if (await may_send(ctx, terms, stored)).permit:
        return True
    if not all([row.fetched for row in rows] or [False]) or not terms.takes(stored.ref.type) or not stored.facts.patients:
        return False
    if terms.enforces == "nothing" and stored.facts.confidentiality not in NORMAL:
        return False
    heeds = terms.enforces == "consents" and not terms.audience
    return (await ask_stored(ctx, "access", stored)).permit and (heeds or await _denied(ctx, terms, stored, "access") is None)


async def _denied(ctx: Context, terms: Remote, stored: Stored, *asked: Literal["access", "disclose"]) -> Decision | None:
    """Why somebody who reads there, or its owner, keeps this from going; None when nobody does. `asked`: may they do this alone."""
    members = await audience(ctx.house, terms, ctx.at)
    if members is None:
        return Decision(False, "implicit", rule="its audience names an organisation that nobody has confirmed here")
    standings = await stand(ctx.house, stored.facts.patients)
    facts = await filled(ctx.house, stored.facts, standings)
    for member in members:
        for answer in _answers(ctx, member, facts, standings, *asked):
            if not answer.permit and (terms.enforces == "nothing" or answer.basis != "implicit"):
                return Decision(False, answer.basis, answer.consent, rule="somebody who reads from this partner may not see it")
    return None


def _answers(ctx: Context, actor: Actor, facts: Facts, standings: Mapping[str, Standing], *asked: Literal["access", "disclose"]) -> list[Decision]:
    """May they see this, and may they have it; or what is `asked` alone."""
    return [consent.decide(replace(ctx, actor=actor).asks(action), facts, standings) for action in asked or ("access", "disclose")]


async def shown_to(ctx: Context, terms: Remote, stored: Stored) -> Cut:
    """What of it leaves for this partner: what its owner is shown, and everybody who reads from it.

    A processor gets what each member of the team that it works for is shown; of what it would be shown itself only that where
    somebody is stays closed counts.
    """
    standings = await stand(ctx.house, stored.facts.patients)
    views = _shown_itself(terms, consent.views(ctx.asks(ctx.action), stored.facts, standings))
    if terms.role == "processor":
        served = await served_by(ctx.house, terms, ctx.at)
        for member in _members(served, stored.facts.patients, standings, ctx.at):
            views |= consent.views(replace(ctx, actor=member).asks("access"), stored.facts, standings)
        own = set(await _owners(ctx.house, terms)) - {s.actor.organisation for s in served}
    else:
        own = set()
    if terms.enforces != "consents" or terms.audience:
        for member in await audience(ctx.house, terms, ctx.at) or ():
            seen = consent.views(replace(ctx, actor=member).asks("access"), stored.facts, standings)
            views |= _shown_itself(terms, seen) if member.organisation in own else seen
    return views


def _shown_itself(terms: Remote, views: Cut) -> Cut:
    """Of a processor: it keeps more of a person than how to reach them, whatever sector it is of."""
    return replace(views, bits=views.bits & ~CONTACT) if terms.role == "processor" else views


async def owner_of(house: House, terms: Remote, action: str = "disclose") -> Context:
    """The organisation that owns a partner's server, asking: `disclose` for what goes out, `access` for what it brings."""
    directory, _ = await directory_now(house)
    organisation = directory.find(terms.organisation)
    actor = directory.actor(organisation, kind="system", organisation=organisation, at=house.clock())
    return house_context(house, actor, purpose=terms.purpose, action="disclose" if action == "disclose" else "access")


async def owner_known(house: House, terms: Remote) -> bool:
    """Is there somebody in the directory whom consent could let anything go to? Not where its code is mistyped, or nobody confirmed it."""
    directory, _ = await directory_now(house)
    found = directory.organisations.get(directory.find(terms.organisation) or "")
    return found is not None and found.confirmed


# -- for whom a processor keeps it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """Somebody of an organisation that a processor works for, and the names that are their own: without their organisation's."""

    actor: Actor
    called: frozenset[str]


async def _for_the_team(ctx: Context, terms: Remote, stored: Stored) -> Grounds:
    """The first member of the team of everybody this is about who may see it and have it, organisations before people."""
    standings = await stand(ctx.house, stored.facts.patients)
    facts = await filled(ctx.house, stored.facts, standings)
    for member in _members(await served_by(ctx.house, terms, ctx.at), stored.facts.patients, standings, ctx.at):
        seen, had = _answers(ctx, member, facts, standings)
        if seen.permit and had.permit:
            return Grounds(had, member.organisation)
    return Grounds(Decision(False, "implicit", rule="nobody of the team that this partner works for may have it"))


def _members(served: Iterable[Served], people: Iterable[str], standings: Mapping[str, Standing], at: datetime) -> Iterator[Actor]:
    """Who of these is in a team of each of these people now."""
    now = micros(at)
    for one in served:
        if all(p in standings and in_team(standings[p], one.actor, now, one.called) for p in people):
            yield one.actor


async def served_by(house: House, terms: Remote, at: datetime) -> tuple[Served, ...]:
    """Whom a processor works for, by name: the organisations of its audience that are confirmed here, with their parts, then who works there."""
    directory, epoch = await directory_now(house)
    now = micros(at)
    known = house._served.get(terms)
    if known is None or known[0] != epoch or (known[1] is not None and now >= known[1]):
        found = {(a.user, a.organisation or ""): a for name in terms.audience for a in readers(directory, name, at, people=True)}
        actors = sorted(found.values(), key=lambda a: (not a.user.startswith("Organization/"), _name(directory, a.organisation), a.organisation or "", a.user))
        known = house._served[terms] = (epoch, directory.next_change(now), tuple(Served(a, _called(directory, a)) for a in actors))
    return known[2]


def _name(directory: Directory, organisation: str | None) -> str:
    here = directory.organisations.get(organisation or "")
    return here.name if here is not None else ""


def _called(directory: Directory, actor: Actor) -> frozenset[str]:
    """The names by which they are a member themselves: not by one of where they work."""
    if actor.user == actor.organisation or actor.organisation is None:
        return actor.opening
    return actor.opening - directory.organisation_names(actor.organisation)


async def _owners(house: House, terms: Remote) -> tuple[str, ...]:
    directory, _ = await directory_now(house)
    return directory.everyone_at(terms.organisation)


async def kept_for(ctx: Context, stored: Stored) -> tuple[str, ...]:
    """For whom this asker may keep a copy of it as a processor (`Organization/…`), whatever they may see themselves."""
    directory, _ = await directory_now(ctx.house)
    mine = [r for r in ctx.house.remotes if r.role == "processor" and r.takes(stored.ref.type) and ctx.actor.organisation in directory.everyone_at(r.organisation)]
    found = [await grounds(replace(ctx, purpose=r.purpose), r, stored) for r in mine]
    return tuple(dict.fromkeys(g.on_behalf_of for g in found if g.decision.permit and g.on_behalf_of))


# -- who reads there --------------------------------------------------------------------------------------------------


async def audience(house: House, terms: Remote, at: datetime) -> tuple[Actor, ...] | None:
    """Everybody who reads from this partner, its owner's own people included; None when it names somebody unknown.

    Organisations with their parts; each person who works there, unless the partner enforces consents itself.
    """
    directory, epoch = await directory_now(house)
    now = micros(at)
    known = house._audiences.get(terms)
    if known is None or known[0] != epoch or (known[1] is not None and now >= known[1]):
        found: dict[tuple[str, str], Actor] | None = {}
        for name in (terms.organisation, *terms.audience):
            actors = list(readers(directory, name, at, people=terms.enforces != "consents"))
            found = {**found, **{(a.user, a.organisation or ""): a for a in actors}} if found is not None and actors else None
        known = house._audiences[terms] = (epoch, directory.next_change(now), None if found is None else tuple(found.values()))
    return known[2]


def readers(directory: Directory, name: str, at: datetime, *, people: bool) -> Iterator[Actor]:
    """The organisations that `name` (a sector, an ODS code, a reference) stands for, as they would ask; nobody when unknown."""
    for organisation in directory.everyone_at(name):
        yield directory.actor(organisation, kind="system", organisation=organisation, at=at)
        if people:
            for worker in directory.workers(organisation, micros(at)):
                yield directory.actor(worker, kind="professional", organisation=organisation, at=at)
