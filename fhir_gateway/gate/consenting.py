"""Who may write a Consent, and what goes with it in the same commit. The rules are in `domain/consenting` and `domain/proxies`.

By the person; by somebody whom the law lets decide for them; by staff who write down what the person told them. Nobody else,
and nobody for themselves (leak list L51). consent.md 1.4, 1.7; docs/consents.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..domain import consenting, grants, lint, provisions, proxies, slips, strict
from ..domain.building import read_consent
from ..domain.consenting import Circle
from ..domain.directory import ODS_CODE
from ..domain.grants import Grant
from ..domain.merged import records_of
from ..domain.periods import LONDON, micros
from ..domain.problem import Issue, Problem
from ..domain.standing import Standing, is_self, named_by, relationship
from ..domain.types import Decision, Expect, Facts, Keep, Op, Ref, Stored
from ..domain.vocabulary import ROLE_AT
from .context import Context, ask, directory_now, notes, stand
from .proving import need_proof
from .receiving import refuse_slips
from .somebody import systems_among

Get = Callable[[Ref], Awaitable[Stored | None]]
KEPT = "sharing-preferences"  # which Consent of a person is the one that our pages keep


@dataclass(frozen=True, slots=True)
class Lawful:
    """This writer may. `decision` is the one that lets them where it is not the person's own answer to `collect` or `correct`."""

    decision: Decision | None = None
    ops: list[Op] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """One Consent that somebody wants to write: as it is to be, as it was, and what is known about the person."""

    ctx: Context
    ref: Ref
    facts: Facts
    resource: Mapping[str, Any]
    grant: Grant
    before: Mapping[str, Any]
    was: Grant | None
    standing: Standing
    epoch: int
    get: Get

    @property
    def person(self) -> str:
        """Whose consent it is, `Patient/…`."""
        return self.standing.patient

    @property
    def same_giver(self) -> bool:
        """Are `performer` and `verification` what they were."""
        return all(self.before.get(k) == self.resource.get(k) for k in ("performer", "verification"))


async def lawful(ctx: Context, get: Get, ref: Ref, resource: Mapping[str, Any], facts: Facts, before: Stored | None) -> Lawful:
    """May this writer write this. Problem: forbidden (written down), business-rule, duplicate, conflict."""
    asked = await _asked(ctx, get, ref, resource, facts, before)
    a = ctx.actor
    if a.kind == "patient" and is_self(a, asked.standing) and len(facts.patients) == 1:
        out = await _by_the_person(asked)
    elif a.kind == "proxy" and a.patient == asked.person and proxies.decides_for(asked.standing, a.ids | {a.user}, micros(ctx.at)):
        out = await _for_the_person(asked)
    elif a.kind == "professional" and ctx.may_record and before is None:
        out = await _recorded(asked)
    else:
        raise await _refused(asked, "A consent is written by the person whose record it is.")
    await names_somebody(ctx, get, resource, facts)
    await _names_something(asked)
    return Lawful(out.decision, [*out.ops, *await _the_only_one(asked)])


async def _asked(ctx: Context, get: Get, ref: Ref, resource: Mapping[str, Any], facts: Facts, before: Stored | None) -> Asked:
    person = facts.patients[0]
    epoch = await ctx.house.store.epoch(person)
    standing = (await stand(ctx.house, [person], {person: epoch}, ctx.place))[person]
    old = strict.decode(before.body) if before is not None and before.body is not None else {}
    was = read_consent(old, ref.id, before.version) if old and before is not None else None
    grant = provisions.parse(resource, ref.id, 0)  # it was found computable
    return Asked(ctx, ref, facts, resource, grant, old, was if isinstance(was, Grant) else None, standing, epoch, get)


async def _refused(asked: Asked, text: str, where: str = "") -> Problem:
    letter, what = ("U", "update") if asked.before else ("C", "create")
    trail = notes(asked.ctx, letter, what, Decision(False, "rbac"), asked.facts, asked.ref if asked.before else Ref("Consent", ""))
    await asked.ctx.house.store.commit(*trail)
    return Problem("forbidden", text, where)


def _rule(wrong: tuple[str, str] | None) -> None:
    if wrong is not None:
        raise Problem("business-rule", wrong[1], wrong[0])


async def names_somebody(ctx: Context, get: Get, resource: Mapping[str, Any], facts: Facts) -> None:
    """Problem business-rule where a no in this Consent names a group or a system that is not here, or an identifier that nobody has, of a
    system that our directory holds; and where it quotes a group here as an agreement on sharing that is none."""
    directory, _ = ctx.place or await directory_now(ctx.house)
    out = slips.nobody(resource, directory, ctx.house.base_url)
    devices = slips.devices(resource)
    systems = await systems_among(ctx.house, (name for _, name in devices))
    for where, name in devices:
        if name not in systems and not await is_here(ctx, get, name, facts):
            out.append(slips.Slip(where, f"`{name[:80]}` is no system that is registered here: name one that is, or its organisation"))
    refuse_slips(out)


async def _names_something(asked: Asked) -> None:
    """Problem business-rule where a no names a thing that is not here, or that its writer does not see: the same sentence, so that
    it tells nothing of the hidden. What it named already stays as it is: that may have gone since."""
    already = {name for _, name in slips.things(asked.before)} if asked.before else set()
    out = []
    for where, name in slips.things(asked.resource):
        type, _, id = name.partition("/")
        if name not in already and not (asked.ctx.house.r4.has_type(type) and await _sees(asked, Ref(type, id))):
            out.append(slips.Slip(where, f"`{name[:80]}` is nothing that you can see here: name something that is"))
    refuse_slips(out)


async def _sees(asked: Asked, ref: Ref) -> bool:
    stored = await asked.get(ref)
    return stored is not None and not stored.deleted and (await ask(asked.ctx, "access", stored.facts)).permit


async def unknown(ctx: Context, get: Get, resource: Mapping[str, Any], facts: Facts) -> tuple[Issue, ...]:
    """A warning for each whom a Consent names and who is not here. A team or a relative counts as here for the person whose they are."""
    out = []
    named = lint.named(resource) if facts.type == "Consent" and resource.get("status") == "active" else []
    systems = await systems_among(ctx.house, (said.code for said in named))
    for said in named:
        if said.code not in systems and not await is_here(ctx, get, said.code, facts):
            out.append(Issue("warning", "not-found", said.where, said.text))
    return tuple(out)


async def nobody_yet(ctx: Context, ref: Ref, resource: Mapping[str, Any]) -> list[str]:
    """The same of a Consent of the one who asks, as sentences for their page."""
    mine = Facts("Consent", ref.id, (ctx.actor.patient,) if ctx.actor.patient else ())
    return [i.text for i in await unknown(ctx, ctx.house.store.get, resource, mine)]


async def is_here(ctx: Context, get: Get, name: str, facts: Facts) -> bool:
    """Is whom a Consent about these people names (`Type/id`, `system|value`) somebody here. A system with a sign-in here is asked of `systems_among`."""
    place = name.removeprefix(f"{ROLE_AT}|").split(" ", 1)[0]
    if "|" in place:
        directory, _ = ctx.place or await directory_now(ctx.house)
        return place in directory.identifiers()
    type, _, id = place.partition("/")
    if type == "Patient":  # another sees nothing of this record in any case: whether they are here is not told
        return place in facts.patients
    if type == "Group":  # of staff: one of patients is nobody's to know
        directory, _ = ctx.place or await directory_now(ctx.house)
        return place in directory.groups
    stored = await get(Ref(type, id))
    ours = type not in ("CareTeam", "RelatedPerson", "Device") or (stored is not None and bool(set(facts.patients) & set(stored.facts.patients)))
    return stored is not None and not stored.deleted and ours


# -- by the person ----------------------------------------------------------------------------------------------------


async def _by_the_person(asked: Asked) -> Lawful:
    if not asked.before or not asked.same_giver:
        if consenting.given_by(asked.resource) - records_of(asked.standing):
            raise Problem("business-rule", "A consent is given by the person whose record it is.", "Consent.performer")
        if asked.resource.get("verification", []) != asked.before.get("verification", []):
            raise Problem("business-rule", "Verification is added by whoever records a consent for you, not by you.", "Consent.verification")
    if asked.grant.proxy or proxies.basis(asked.before):
        await _appointed_by_the_person(asked)
    return Lawful()


async def _appointed_by_the_person(asked: Asked) -> None:
    """The person appoints somebody, and may end whatever role anybody has; what the law gives is not theirs to give."""
    was = proxies.basis(asked.before)
    if was and asked.grant.proxy != was:
        raise Problem("business-rule", "The legal basis of a role does not change: end this one and write another.", "Consent.policyRule")
    if asked.grant.proxy != "consent":
        kept = ("status", "extension", "dateTime", "meta", "text")
        same = {k: v for k, v in asked.before.items() if k not in kept} == {k: v for k, v in asked.resource.items() if k not in kept}
        if not asked.before or not same or (asked.resource.get("status") == "active" != asked.before.get("status")):
            _rule(proxies.ill_formed(asked.grant) if not asked.before else None)
            raise Problem("business-rule", "On this basis a role is registered by whoever checks it; you can end it.", "Consent.policyRule")
    await role_stands(asked, needs_reason=False)


# -- for the person ---------------------------------------------------------------------------------------------------


async def _for_the_person(asked: Asked) -> Lawful:
    """An attorney or deputy of a person who lacks capacity, or a parent: as the person would, but nothing for themselves."""
    ctx, mine = asked.ctx, consenting.myself(asked.ctx.actor)
    if asked.grant.proxy or proxies.basis(asked.before):
        raise await _refused(asked, "Who acts for somebody cannot appoint another, nor change a role.", "Consent.policyRule")
    if asked.before and asked.was is None:
        raise await _refused(asked, "This consent cannot be computed: an operator must look at it.")
    if not asked.same_giver:
        if consenting.given_by(asked.resource) - {asked.person, ctx.actor.user}:
            raise Problem("business-rule", "A consent is given by the person, or by you for them.", "Consent.performer")
        if asked.resource.get("verification", []) != asked.before.get("verification", []):
            raise Problem("business-rule", "Verification is added by whoever records a consent, not by its giver.", "Consent.verification")
    wider = consenting.widens(asked.was, asked.grant, mine, acting=True)
    if wider:
        raise await _refused(asked, "Who acts for somebody cannot give themselves more by it.", wider)
    seen = await ask(ctx, "access", asked.facts)
    if not seen.permit:
        raise await _refused(asked, "Your role does not reach this.")
    return Lawful(seen, [Expect(asked.person, asked.epoch)])


# -- recorded by staff ------------------------------------------------------------------------------------------------


async def _recorded(asked: Asked) -> Lawful:
    """What the person told a colleague who may record consents and looks after them, checked with who gave it."""
    ctx = asked.ctx
    found = relationship(asked.standing, ctx.actor, ctx.at)
    if found is None or found.origin == "claim":
        raise await _refused(asked, "A consent is recorded by somebody who looks after the person.")
    if asked.grant.proxy:
        await need_proof(ctx, "C", "create", "giving somebody a role", Decision(False, "rbac"))
        _role_given_and_checked(asked)
        await role_stands(asked, needs_reason=True)
    else:
        _given_and_checked(asked)
        await _not_to_themselves(asked)
    return Lawful(None, [Expect(asked.person, asked.epoch)])


def _given_and_checked(asked: Asked) -> None:
    givers = consenting.given_by(asked.resource)
    giver = next(iter(givers), "")
    may = giver == asked.person or proxies.decides_for(asked.standing, {giver}, micros(asked.ctx.at))
    if len(givers) != 1 or not may:
        raise Problem("business-rule", "Say who gave it: the person, or whoever the law lets decide for them.", "Consent.performer")
    _checked(asked, giver)


def _role_given_and_checked(asked: Asked) -> None:
    """A role by consent is given by the person; by another basis the person or whoever is to act shows that it is so."""
    givers = consenting.given_by(asked.resource)
    may = {asked.person} if asked.grant.proxy == "consent" else {asked.person, *proxies.proxies_of(asked.grant)}
    if len(givers) != 1 or not givers <= may:
        whom = "the person" if asked.grant.proxy == "consent" else "the person, or whoever is to act for them"
        raise Problem("business-rule", f"Say who told you that they act for the person: {whom}.", "Consent.performer")
    _checked(asked, next(iter(givers)))
    _rule(consenting.unproven(asked.resource))


def _checked(asked: Asked, giver: str) -> None:
    _rule(consenting.unverified(asked.resource, giver, asked.ctx.at.astimezone(LONDON).date().isoformat()))


async def _not_to_themselves(asked: Asked) -> None:
    mine = await _circle(asked)
    wider = consenting.widens(None, asked.grant, mine.holds)
    if wider:
        raise await _refused(asked, "Nobody records a consent that gives something to themselves or their organisation.", wider)
    unknown = sorted(n for n in consenting.opens_to(asked.grant) if not mine.knows(n))
    if unknown:
        said = f"Nobody here can tell who `{unknown[0][:60]}` is: name somebody of the directory, or a team of the person."
        raise Problem("business-rule", said, "Consent.provision")


async def _circle(asked: Asked) -> Circle:
    """The writer's own, with the teams of the person that they are in. Problem business-rule for a team of somebody else."""
    teams = {}
    for name in sorted(n for n in grants.names(asked.grant) if n.startswith("CareTeam/")):
        stored = await asked.get(Ref("CareTeam", name.removeprefix("CareTeam/")))
        if stored is None or stored.body is None or stored.facts.patients != (asked.person,):
            raise Problem("business-rule", f"`{name[:60]}` is no team of this person.", "Consent.provision.actor")
        teams[name] = strict.decode(stored.body)
    directory, _ = asked.ctx.place or await directory_now(asked.ctx.house)
    return consenting.circle(asked.ctx.actor, directory, micros(asked.ctx.at), teams)


# -- roles ------------------------------------------------------------------------------------------------------------


async def role_stands(asked: Asked, *, needs_reason: bool) -> None:
    """A role that makes somebody a proxy is as the Validated Relationships Service has it. Problem: business-rule, duplicate."""
    before, after = str(asked.before.get("status", "")), str(asked.resource.get("status", ""))
    _rule(proxies.ill_formed(asked.grant))
    why = proxies.reason(asked.resource)
    if not needs_reason and why == proxies.reason(asked.before):  # what was said of the last change
        why = ("", "")
    _rule(proxies.ill_changed(before, after, why, asked=needs_reason))
    for name in sorted(proxies.proxies_of(asked.grant)):
        relative = await asked.get(Ref("RelatedPerson", name.removeprefix("RelatedPerson/")))
        body = strict.decode(relative.body) if relative is not None and relative.body is not None else {}
        if asked.person not in named_by(body.get("patient")) or body.get("active") is False:
            raise Problem("business-rule", f"`{name[:60]}` is not here as a RelatedPerson of this person.", "Consent.provision.actor")
    if after == "active":
        _rule(proxies.not_yet(asked.grant, asked.standing, micros(asked.ctx.at)))
        if needs_reason:
            await _answered_for(asked)
    if after in ("active", "proposed") and after != before:
        await _no_twin(asked)


async def _answered_for(asked: Asked) -> None:
    directory, _ = asked.ctx.place or await directory_now(asked.ctx.house)
    name = proxies.grantor(asked.resource)
    place = directory.find(name) if name else None
    here = directory.organisations.get(place) if place else None
    if here is None or not here.confirmed or not any(i.startswith(f"{ODS_CODE}|") for i in here.identifiers):
        raise Problem("business-rule", "Say by its ODS code which organisation answers for this role (`grantor`, or `organization`).", "Consent.extension")


async def _no_twin(asked: Asked) -> None:
    """A second role of the same kind is a duplicate, for whoever may know of the first (leak list L24)."""
    for stored in await asked.ctx.house.store.patient_record(asked.person, ["Consent"]):
        if stored.ref == asked.ref or stored.body is None:
            continue
        body = strict.decode(stored.body)
        other = read_consent(body, stored.ref.id, stored.version)
        if isinstance(other, Grant) and other.status in ("active", "proposed") and proxies.same_role(other, asked.grant):
            a = asked.ctx.actor
            own = a.operator or (a.organisation is not None and a.organisation == stored.writer.organisation)
            if own or (await ask(asked.ctx, "access", stored.facts)).permit:
                raise Problem("duplicate", f"They have this role already: {stored.ref}.", "Consent")


# -- one for the pages ------------------------------------------------------------------------------------------------


async def _the_only_one(asked: Asked) -> list[Op]:
    """Of the consent that our pages keep a person has one: of two that are saved at once, one is told to look again."""
    store, at = asked.ctx.house.store, asked.ctx.at
    held = await store.kept(KEPT, asked.person, at)
    me = str(asked.ref).encode()
    if not consenting.kept_by_pages(asked.resource) or held == me:
        return []
    if held is not None:
        type, _, id = held.decode().partition("/")
        other = await asked.get(Ref(type, id))
        if other is not None and other.body is not None and consenting.kept_by_pages(strict.decode(other.body)):
            raise Problem("conflict", f"There is one already: change {other.ref}, or end it first.", "Consent.identifier")
    return [Keep(KEPT, asked.person, me, if_absent=held is None, if_value=held)]


__all__ = ["Asked", "Get", "Lawful", "is_here", "lawful", "names_somebody", "nobody_yet", "role_stands", "unknown"]
