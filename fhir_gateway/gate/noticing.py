"""Who works with a person is told that they went into hospital or left it: a Task of the gateway's own, which tells nobody anything they may not see.

The sender learns nothing of it: not whether there is a key worker, nor whether they may see the stay.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

from ..domain import strict
from ..domain.adt import Other
from ..domain.identity import fold
from ..domain.mapping.outward import KEY_WORKER
from ..domain.periods import bounds, covers, micros
from ..domain.person import at_risk
from ..domain.standing import named_by
from ..domain.types import Ref, Stored
from ..domain.vocabulary import OURS, TASK_SYSTEM
from .committing import Work
from .context import ask, directory_now, note, stand
from .preparing import put_by_house
from .raising import task_of_the_house
from .somebody import askers

ADMITTED: Final = "hospital-admission"  # Task.code
LEFT: Final = "hospital-discharge"
NOT_ADMITTED: Final = "hospital-admission-cancelled"
NOT_LEFT: Final = "hospital-discharge-cancelled"
AFTER: Final = "after-hospital"  # ServiceRequest.code, of our task codes: its performers are told that somebody left hospital
DETAILS: Final = "check-details"
NOTICE: Final = f"{OURS}/id/notice"  # Task.identifier: what it tells, so that it is told once
_EXTENSION: Final = f"{OURS}/StructureDefinition/key-worker"
_PERSON: Final = f"{OURS}/StructureDefinition/team-person"
_TEXT: Final[Mapping[str, str]] = {
    ADMITTED: "Went into hospital", LEFT: "Left hospital", NOT_ADMITTED: "Did not go into hospital after all", NOT_LEFT: "Did not leave hospital after all",
}  # fmt: skip


async def tell_helpers(work: Work, stay: Ref, code: str, when: str, turn: int = 0) -> int:
    """A Task for each key worker, and of a discharge (or that it was none) for whoever was asked to help after it, who may see this stay; to how many.

    The stay is about to be written in this commit. Each is told once of an event of it, and again after it was cancelled: `turn` times.
    """
    ctx, stored = work.ctx, await work.get(stay)
    assert stored is not None and stored.body is not None
    person, told = stored.facts.patients[0], 0
    known = await _told(work, person)
    hidden = (await stand(ctx.house, [person], None, ctx.place))[person].at_risk  # nobody is shown where they are
    helpers = await _after_hospital(work, person) if code in (LEFT, NOT_LEFT) else []
    for candidates, order in [*((c, "") for c in await _key_workers(work, person)), *helpers]:
        names = [f"{stay} {code} {' '.join(sorted(named_by(o)))}{f' {turn}' if turn else ''}" for o in candidates]
        if known.intersection(names):
            continue
        found = [o for o in candidates if await _may_see(work, o, stored)]
        if not found:
            continue
        owner, name = found[0], names[candidates.index(found[0])]
        place = "" if hidden else await _called(work)
        body = task_of_the_house(ctx, code, f"{_TEXT[code]}{f': {place}' if place else ''}{f', {when}' if when else ''}.", person, str(stay))
        body["meta"] = {"security": strict.decode(stored.body).get("meta", {}).get("security", [])}  # as private as the stay
        body |= {"identifier": [{"system": NOTICE, "value": name}], "owner": owner}
        if order:
            body["basedOn"] = [{"reference": order}]
        if ctx.actor.organisation:
            body["requester"] = {"reference": ctx.actor.organisation}
        await put_by_house(work, Ref("Task", ctx.house.new_id()), body, None, "create", f"told: {code}")
        known |= set(names)
        told += 1
    if not told:
        work.trail.append(note(ctx, "E", "record", None, (str(stay),), patient=person, allowed=True, detail=f"nobody was told: {code}"))
    return told


async def _called(work: Work) -> str:
    """What the sender's organisation is called here, and nothing of the ward."""
    stored = await work.ctx.house.store.get(Ref(*work.ctx.actor.organisation.split("/", 1))) if work.ctx.actor.organisation else None
    return str(strict.decode(stored.body).get("name", "")) if stored is not None and stored.body is not None else ""


async def _told(work: Work, person: str) -> set[str]:
    """What this person's record tells already, by the names of its notices."""
    tasks = await work.ctx.house.store.patient_record(person, ["Task"])
    found = [i for t in tasks if not t.deleted and t.body is not None for i in strict.decode(t.body).get("identifier", ())]
    return {str(i.get("value")) for i in found if i.get("system") == NOTICE}


async def _key_workers(work: Work, person: str) -> list[list[dict[str, Any]]]:
    """Of each member whom the person's teams call a key worker now who that may be, as references: themselves rather than where they work."""
    at, out = micros(work.ctx.at), list[list[dict[str, Any]]]()
    for team in await work.ctx.house.store.patient_record(person, ["CareTeam"]):
        body = strict.decode(team.body or b"{}")
        for p in body.get("participant", ()) if body.get("status", "active") == "active" else ():
            member = _bare(p.get("member", {}))
            if _is_key_worker(p) and covers(*bounds(p.get("period")), at) and named_by(member):
                out.append([*await _by_name(work, p, member), member])
    return out


async def _after_hospital(work: Work, person: str) -> list[tuple[list[dict[str, Any]], str]]:
    """Who was asked beforehand to help after a stay in hospital: performers of the ServiceRequests that say so and are active now."""
    at, out = micros(work.ctx.at), list[tuple[list[dict[str, Any]], str]]()
    for order in await work.ctx.house.store.patient_record(person, ["ServiceRequest"]):
        body = strict.decode(order.body or b"{}")
        said = {(c.get("system"), c.get("code")) for c in body.get("code", {}).get("coding", ())}
        if (TASK_SYSTEM, AFTER) in said and body.get("status") == "active" and covers(*bounds(body.get("occurrencePeriod")), at):
            out += [([_bare(p)], str(order.ref)) for p in body.get("performer", ()) if named_by(p)]
    return out


def _bare(reference: Mapping[str, Any]) -> dict[str, Any]:
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


async def _may_see(work: Work, owner: Mapping[str, Any], stay: Stored) -> bool:
    """Would the person's own consents let this key worker, or where they work, see this stay."""
    for name in sorted(named_by(owner)):
        for somebody in await askers(work.ctx.house, name):
            if (await ask(somebody, "access", stay.facts)).permit:
                return True
    return False


async def propose_details(work: Work, person: Stored, others: list[Other]) -> None:
    """A Task for the person: the hospital has some of their details otherwise. Nothing of their record is changed, and each difference is said once.

    Of somebody at risk only which details they are: where they are said to be now stands nowhere.
    """
    if not others or person.body is None:
        return
    ctx, hidden = work.ctx, at_risk(person.facts)
    said = strict.dump([[str(person.ref), o.what, o.theirs] for o in others])  # by our secret: a short address could be guessed from a plain digest
    name = f"{DETAILS} {hmac.new(ctx.house.secret, said, 'sha256').hexdigest()[:32]}"
    if name in await _told(work, str(person.ref)):
        return
    text = f"A hospital has other details than this record: {', '.join(o.what for o in others)}. Nothing was changed. Look which are right."
    body = task_of_the_house(ctx, DETAILS, text, str(person.ref), str(person.ref))
    shown = [o for o in others if not (o.place and hidden)]
    body |= {"identifier": [{"system": NOTICE, "value": name}], "owner": {"reference": str(person.ref)}}
    if shown:
        body["input"] = [{"type": {"text": o.what}, "valueString": o.theirs} for o in shown]
    if ctx.actor.organisation:
        body["requester"] = {"reference": ctx.actor.organisation}
    await put_by_house(work, Ref("Task", ctx.house.new_id()), body, None, "create", "raised: a hospital has other details")


__all__ = ["ADMITTED", "AFTER", "DETAILS", "LEFT", "NOT_ADMITTED", "NOT_LEFT", "propose_details", "tell_helpers"]
