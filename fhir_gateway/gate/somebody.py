"""Somebody who is not here, as they would ask: a person, a role somewhere, a team, an organisation, a whole sector.

What their sign-in would give them (organisation, roles) is known for the accounts and clients of this gateway's own issuer;
somebody who signs in elsewhere is taken to speak for each organisation the directory has them in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ..auth import clients, people
from ..domain import drafts
from ..domain.directory import Directory
from ..domain.groups import NO_YES
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.types import Actor, Ref
from ..domain.vocabulary import ROLE_AT, SECTOR_SYSTEM
from .context import Context, House, directory_now
from .entering import house_context

Kind = Literal["patient", "proxy", "professional", "system"]
SIGN_IN_HERE = ("Practitioner", "PractitionerRole", "Device")
KINDS: dict[str, Kind] = {"Patient": "patient", "RelatedPerson": "proxy", "Device": "system", "Organization": "system"}


async def understood(house: House, who: str, *, here: bool = False) -> None:
    """Problem bad-request for a `who` that can be nobody; with `here`, for operators, also for one who is neither here nor has a sign-in here.

    Without `here` it tells of nobody's record.
    """
    if who.startswith("sector:"):
        known = sorted(set(house.sectors.sectors.values()))
        if who.removeprefix("sector:") not in known:
            raise Problem("bad-request", f"`{who[:80]}` is no sector here: it is one of {', '.join(known)}.", "who")
        return
    if who.startswith("role:"):
        place, _, code = who.removeprefix("role:").partition(" ")
        system, _, value = code.partition("|")
        if not place.startswith("Organization/") or not system or not value:
            raise Problem("bad-request", f"`{who[:120]}` must be `role:Organization/… system|code`.", "who")
        directory, _ = await directory_now(house)
        if here and (place not in directory.organisations or not any(code in r.codes for r in directory.roles.values())):
            raise Problem("bad-request", f"`{who[:120]}`: there is no such organisation here, or nobody has this role.", "who")
        return
    if "|" in who:
        return
    type, _, id = who.partition("/")
    if not house.r4.has_type(type) or not id:
        raise Problem("bad-request", f"`{who[:80]}` is nobody: write Practitioner/1, say.", "who")
    stored = await house.store.get(Ref(type, id)) if here else None
    if here and (stored is None or stored.deleted) and not (type in SIGN_IN_HERE and who in await _known(house, house.clock())):
        raise Problem("bad-request", f"There is no {who[:80]} here.", "who")


@dataclass(frozen=True, slots=True)
class _SignIn:
    organisation: str | None = None
    roles: frozenset[str] = frozenset()
    client: str = ""


async def askers(house: House, who: str, purpose: str = "TREAT") -> list[Context]:
    """`who` as they would ask, once for each way they can sign in; at least one.

    `who`: `Type/id`, `system|value`, or as a choice names it: `sector:health`, `role:Organization/… system|code`.
    """
    return (await askers_of(house, [who], purpose))[who]


async def askers_of(house: House, whom: Iterable[str], purpose: str = "TREAT") -> dict[str, list[Context]]:
    """Each of them, with one look at the accounts and clients for all."""
    directory, _ = await directory_now(house)
    at = house.clock()
    known = None
    out: dict[str, list[Context]] = {}
    for named in whom:
        who = _by_reference(directory, named)
        whole = _many(directory, who, micros(at))
        if whole is not None:
            out[named] = [house_context(house, whole, purpose=purpose)]
            continue
        if known is None and who.split("/")[0] in SIGN_IN_HERE:
            known = await _known(house, at)
        kind = KINDS.get(who.split("/")[0], "professional")
        patient = who if kind == "patient" else None
        found = (known or {}).get(who) or _by_directory(directory, who, at)
        out[named] = [house_context(house, _signed_in(directory, who, kind, patient, s, at), purpose=purpose) for s in found]
    return out


async def asker(house: House, who: str, purpose: str) -> Context:
    """The first of them."""
    return (await askers(house, who, purpose))[0]


def _signed_in(directory: Directory, who: str, kind: Kind, patient: str | None, by: _SignIn, at: datetime) -> Actor:
    actor = directory.actor(
        who, kind=kind, organisation=by.organisation, patient=patient, at=at, clinician="clinician" in by.roles,
        btg_role="break-glass" in by.roles, contributor="contributor" in by.roles, operator="operator" in by.roles,
    )  # fmt: skip
    jobs = [directory.roles[name].codes for name in actor.opening if name in directory.roles]
    ids = actor.ids | {f"client|{by.client}"} if by.client else actor.ids
    return replace(actor, ids=ids, drafts_only=drafts.only_drafts(kind, by.roles, jobs))


def _by_reference(directory: Directory, who: str) -> str:
    """An identifier that one confirmed organisation or person has, by its reference."""
    if "|" not in who or who.startswith(("role:", "sector:")):
        return who
    place = directory.find(who)
    person = next((ref for ref, (_, identifiers) in sorted(directory.people.items()) if who in identifiers), None)
    return place or person or who


def _many(directory: Directory, who: str, at: int) -> Actor | None:
    """Everybody of a sector, in a role at a place, of a team: what all of them have in common, and no more."""
    if who.startswith("sector:"):
        sector = who.removeprefix("sector:")
        name = f"{SECTOR_SYSTEM}|{sector}"
        return Actor("professional", frozenset({name}), name, sector=sector)
    if who.startswith("role:"):
        place, _, code = who.removeprefix("role:").partition(" ")
        roles = {f"{ROLE_AT}|{o} {code}" for o in directory.ancestors(place)}
        over = directory.past_names(place)
        past = over | {f"{ROLE_AT}|{o} {code}" for o in over}
        ids = frozenset(roles) | directory.organisation_names(place) | past
        return _apart(directory, Actor("professional", ids | directory.groups_of(ids, at), f"{ROLE_AT}|{place} {code}", organisation=place, sector=directory.sector(place), past=past), at)
    kind = who.split("/")[0]
    if kind in ("CareTeam", "Group"):
        return Actor("professional", frozenset({who}), who)
    if kind == "HealthcareService":
        home = directory.services.get(who) or None
        past = directory.past_names(home)
        ids = frozenset({who}) | (directory.organisation_names(home) if home else frozenset()) | past
        return _apart(directory, Actor("professional", ids | directory.groups_of(ids, at), who, organisation=home, sector=directory.sector(home), past=past), at)
    return None


def _apart(directory: Directory, actor: Actor, at: int) -> Actor:
    """The same, under agreements on sharing."""
    apart = directory.apart(actor.ids, at)
    return replace(actor, apart=apart, past=actor.ids if NO_YES in apart else actor.past)


async def _known(house: House, at: datetime) -> dict[str, list[_SignIn]]:
    """How people and systems sign in here, by the reference they sign as."""
    out: dict[str, list[_SignIn]] = {}
    for a in await people.accounts(house.store, at):
        if not a.closed:
            out.setdefault(a.fhir_user, []).append(_SignIn(a.organisation, frozenset(a.roles)))
    for c in await clients.list_clients(house.store, at):
        if c.kind == "system":
            out.setdefault(c.device, []).append(_SignIn(c.organisation, c.roles, c.id))
    return out


def _by_directory(directory: Directory, who: str, at: datetime) -> list[_SignIn]:
    """Somebody who signs in elsewhere: for each place where the directory has them."""
    roles = directory.roles_at(who, micros(at)) if who.startswith("Practitioner/") else ()
    return [_SignIn(p) for p in sorted({r.organisation for r in roles if r.organisation})] or [_SignIn()]


async def knows_sign_in(house: House, who: str) -> bool | None:
    """Does this gateway's own issuer know how they sign in: what an issuer elsewhere says of them is not known here. None for
    those who are many, whose roles differ.
    """
    kind = who.split("/")[0]
    if kind in ("Patient", "RelatedPerson"):
        return True
    return who in await _known(house, house.clock()) if kind in SIGN_IN_HERE else None


async def systems_among(house: House, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` (`Device/…`) that are systems with a sign-in here, with one look for all."""
    devices = frozenset(n for n in names if n.startswith("Device/"))
    return devices & (await _known(house, house.clock())).keys() if devices else devices


__all__ = ["asker", "askers", "askers_of", "knows_sign_in", "systems_among", "understood"]
