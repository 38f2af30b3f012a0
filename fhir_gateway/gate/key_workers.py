"""Whom a person's teams call their key worker, and whether the person lets them see something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ..domain import consent, strict
from ..domain.identity import fold
from ..domain.mapping.outward import KEY_WORKER
from ..domain.periods import bounds, covers, micros
from ..domain.standing import Invitation, named_by
from ..domain.types import Facts, Stored
from ..domain.vocabulary import OURS
from .committing import Work
from .context import ask, directory_now, stand
from .somebody import askers

_EXTENSION: Final = f"{OURS}/StructureDefinition/key-worker"
_PERSON: Final = f"{OURS}/StructureDefinition/team-person"


async def key_workers(work: Work, person: str) -> list[list[dict[str, Any]]]:
    """Of each member whom the person's teams call a key worker now who that may be, as references: themselves rather than where they work."""
    at, out = micros(work.ctx.at), list[list[dict[str, Any]]]()
    for team in await work.ctx.house.store.patient_record(person, ["CareTeam"]):
        body = strict.decode(team.body or b"{}")
        for p in body.get("participant", ()) if body.get("status", "active") == "active" else ():
            member = bare(p.get("member", {}))
            if _is_key_worker(p) and covers(*bounds(p.get("period")), at) and named_by(member):
                out.append([*await _by_name(work, p, member), member])
    return out


def bare(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in reference.items() if k in ("reference", "identifier", "type", "display")}


async def _by_name(work: Work, participant: Mapping[str, Any], member: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A plan names people in words and where they work: who works there under that name."""
    people = [e.get("valueReference", {}) for e in participant.get("extension", ()) if e.get("url") == _PERSON]
    called = fold(str(people[0].get("display", ""))) if people else ""
    directory, _ = work.ctx.place or await directory_now(work.ctx.house)
    place = next((o for n in named_by(member) if (o := n if n in directory.organisations else directory.find(n))), None)
    if not called or place is None:
        return []
    parts = {place, *directory.everyone_at(place)}
    at_work = sorted({r.practitioner for r in directory.roles.values() if r.practitioner and r.organisation in parts})
    names = {ref: fold(directory.people[ref][0]) for ref in at_work if ref in directory.people}
    return [{"reference": ref} for ref, name in names.items() if name and (called.endswith(name) or name.endswith(called))]


def _is_key_worker(participant: Mapping[str, Any]) -> bool:
    ours = KEY_WORKER["coding"][0]
    said = any(e.get("url") == _EXTENSION and e.get("valueBoolean") is True for e in participant.get("extension", ()))
    codes = [c for r in participant.get("role", ()) for c in r.get("coding", ())]
    return said or any(c.get("system") == ours["system"] and c.get("code") == ours["code"] for c in codes)


async def may_see(work: Work, owner: Mapping[str, Any], *things: Stored) -> bool:
    """Would the person's own consents let whom this names, or where they work, see each of these."""
    for name in sorted(named_by(owner)):
        for somebody in await askers(work.ctx.house, name):
            if all([(await ask(somebody, "access", s.facts)).permit for s in things]):
                return True
    return False


async def may_be_asked(work: Work, owner: Mapping[str, Any], task: Facts, *things: Stored) -> bool:
    """Would they let whom this names see each of these, and the Task that is to ask them about it, once it does. A volunteer is asked nothing. It asks
    the store the same whatever the answer is."""
    house, called, found = work.ctx.house, named_by(owner), False
    for name in sorted(called):
        for somebody in await askers(house, name):
            seen = [(await ask(somebody, "access", s.facts)).permit for s in things]
            invited = Invitation(f"{task.type}/{task.id}", called)
            then = {p: replace(s, invitations=(*s.invitations, invited)) for p, s in (await stand(house, task.patients, None)).items()}
            told = consent.decide(somebody.asks("access"), task, then).permit
            found = found or (all(seen) and told and not somebody.actor.drafts_only)
    return found


__all__ = ["bare", "key_workers", "may_be_asked", "may_see"]
