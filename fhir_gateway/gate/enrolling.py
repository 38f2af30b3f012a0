"""Whom a sign-in can be for: somebody who is in the store, as what they are there. Nothing of any record is told."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..domain import strict
from ..domain.directory import confirmed
from ..domain.organisations import person_name
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.types import Ref
from .context import Context, directory_now

SIGN_IN_AS = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson")
STAFF = SIGN_IN_AS[:2]


class Enrolled(NamedTuple):
    """Somebody who can sign in: `user` is `Type/id`; `patient` for whom a RelatedPerson is here; `organisation` a reference."""

    user: str
    name: str
    patient: str | None
    organisation: str | None


async def enrolled(ctx: Context, who: str, organisation: str = "") -> Enrolled:
    """Who `who` (`Type/id`) is here, for an operator. `organisation`: ODS code or reference; staff work there, others have none.

    Problem invalid (`who`, `organisation`) in words that say what to do; forbidden for anybody but an operator.
    """
    if not ctx.actor.operator:
        raise Problem("forbidden", "Accounts are an operator's.")
    type, _, id = who.partition("/")
    if type not in SIGN_IN_AS or not id:
        raise Problem("invalid", f"`{who[:80]}` must be {', '.join(f'{t}/…' for t in SIGN_IN_AS[:-1])} or {SIGN_IN_AS[-1]}/….", "who")
    stored = await ctx.house.store.get(Ref(type, id))
    if stored is None or stored.body is None:
        raise Problem("invalid", f"There is no {who[:80]} here: bring it in first, by `fhir-gateway import`.", "who")
    found = strict.decode(stored.body)
    if found.get("active") is False:
        raise Problem("invalid", f"{who} is not active.", "who")
    if type not in STAFF:
        return _person(who, found, organisation)
    if not confirmed(stored.writer):
        raise Problem("invalid", f"Nobody has confirmed {who}: an operator does, by `fhir-gateway import --as operator FILE`.", "who")
    return await _staff(ctx, who, found, organisation)


def _person(who: str, found: Any, organisation: str) -> Enrolled:
    if organisation:
        raise Problem("invalid", f"{who} signs in for themselves, not for an organisation.", "organisation")
    patient = None
    if who.startswith("RelatedPerson/"):
        patient = str((found.get("patient") or {}).get("reference") or "")
        if not patient.startswith("Patient/"):
            raise Problem("invalid", f"{who} does not say which Patient here they belong to.", "who")
    return Enrolled(who, person_name(found), patient, None)


async def _staff(ctx: Context, who: str, found: Any, organisation: str) -> Enrolled:
    """A worker and the place they work at, where the directory has them."""
    directory, _ = await directory_now(ctx.house)
    place = directory.find(organisation) if organisation else None
    if organisation and place is None:
        raise Problem("invalid", f"There is no organisation `{organisation[:80]}` here that an operator has confirmed.", "organisation")
    if who.startswith("PractitionerRole/"):
        role = directory.roles.get(who)
        at = role.organisation if role else None
        person = role.practitioner if role else None
        if at is None or person is None:
            raise Problem("invalid", f"{who} must name a practitioner and an organisation, and be active.", "who")
        if place is not None and place not in directory.ancestors(at):
            raise Problem("invalid", f"{who} is a role at another organisation.", "organisation")
        return Enrolled(who, directory.people.get(person, ("", frozenset()))[0], None, place or at)
    if place is None:
        raise Problem("invalid", f"Say for which organisation {who} signs in, by its ODS code.", "organisation")
    if not directory.roles_at(who, micros(ctx.at), place):
        text = f"{who} has no role at `{organisation[:80]}` now: bring in a PractitionerRole first, by `fhir-gateway import --as operator FILE`."
        raise Problem("invalid", text, "organisation")
    return Enrolled(who, person_name(found), None, place)


__all__ = ["Enrolled", "enrolled"]
