"""Whether something may go to a partner now: consent asked for its owner, and for everybody who reads from it (sync.md, Outbound)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ..domain import consent
from ..domain.directory import Directory
from ..domain.periods import micros
from ..domain.types import Actor, Cut, Decision, Stored
from .context import Context, House, Remote, ask_stored, directory_now, filled, stand

NORMAL = ("U", "L", "M", "N")


async def may_send(ctx: Context, terms: Remote, stored: Stored) -> Decision:
    """The owner must be permitted and no member of the audience denied.

    A partner that enforces nothing gets nothing restricted, and nothing that anyone who reads from it may not see. The
    decision of the owner when it may go; else the refusal, without saying who of the audience it was.
    """
    decision = await ask_stored(ctx, "disclose", stored)
    if not decision.permit or not stored.facts.patients:
        return decision
    if terms.enforces == "nothing" and stored.facts.confidentiality not in NORMAL:
        return Decision(False, decision.basis, rule="restricted, and the partner enforces nothing")
    if terms.enforces == "consents" and not terms.audience:
        return decision
    members = await audience(ctx.house, terms, ctx.at)
    if members is None:
        return Decision(False, "implicit", rule="its audience names an organisation that nobody has confirmed here")
    standings = await stand(ctx.house, stored.facts.patients)
    facts = await filled(ctx.house, stored.facts, standings)
    for member in members:
        for action in ("access", "disclose"):
            answer = consent.decide(replace(ctx, actor=member).asks(action), facts, standings)
            if not answer.permit and (terms.enforces == "nothing" or answer.basis != "implicit"):
                return Decision(False, answer.basis, answer.consent, rule="somebody who reads from this partner may not see it")
    return decision


async def shown_to(ctx: Context, terms: Remote, stored: Stored) -> Cut:
    """What of it leaves for this partner: what its owner is shown, and everybody who reads from it."""
    standings = await stand(ctx.house, stored.facts.patients)
    views = consent.views(ctx.asks(ctx.action), stored.facts, standings)
    if terms.enforces != "consents" or terms.audience:
        for member in await audience(ctx.house, terms, ctx.at) or ():
            views |= consent.views(replace(ctx, actor=member).asks("access"), stored.facts, standings)
    return views


async def audience(house: House, terms: Remote, at: datetime) -> tuple[Actor, ...] | None:
    """Everybody who reads from this partner, its owner's own people included; None when it names somebody unknown.

    Organisations with their parts; each person who works there, unless the partner enforces consents itself.
    """
    directory, epoch = await directory_now(house)
    now = micros(at)
    known = house._audiences.get(terms.name)
    if known is None or known[0] != epoch or (known[1] is not None and now >= known[1]):
        found: dict[tuple[str, str], Actor] | None = {}
        for name in (terms.organisation, *terms.audience):
            actors = list(readers(directory, name, at, people=terms.enforces != "consents"))
            found = {**found, **{(a.user, a.organisation or ""): a for a in actors}} if found is not None and actors else None
        known = house._audiences[terms.name] = (epoch, directory.next_change(now), None if found is None else tuple(found.values()))
    return known[2]


def readers(directory: Directory, name: str, at: datetime, *, people: bool) -> Iterator[Actor]:
    """The organisations that `name` (a sector, an ODS code, a reference) stands for, as they would ask; nobody when unknown."""
    for organisation in directory.everyone_at(name):
        yield directory.actor(organisation, kind="system", organisation=organisation, at=at)
        if people:
            for worker in directory.workers(organisation, micros(at)):
                yield directory.actor(worker, kind="professional", organisation=organisation, at=at)
