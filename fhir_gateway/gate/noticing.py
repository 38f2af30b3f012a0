"""Who works with a person is told that they went into hospital or left it: a Task of the gateway's own, which tells nobody anything they may not see.

The sender learns nothing of it: not whether there is a key worker, nor whether they may see the stay.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

from ..domain import strict
from ..domain.adt import Other
from ..domain.periods import bounds, covers, micros
from ..domain.person import at_risk
from ..domain.standing import named_by
from ..domain.types import Ref, Stored
from ..domain.vocabulary import OURS, TASK_SYSTEM
from .committing import Work
from .context import note, stand
from .key_workers import bare, key_workers, may_see
from .raising import task_of_the_house
from .storing import put_by_house

ADMITTED: Final = "hospital-admission"  # Task.code
LEFT: Final = "hospital-discharge"
NOT_ADMITTED: Final = "hospital-admission-cancelled"
NOT_LEFT: Final = "hospital-discharge-cancelled"
AFTER: Final = "after-hospital"  # ServiceRequest.code, of our task codes: its performers are told that somebody left hospital
DETAILS: Final = "check-details"
NOTICE: Final = f"{OURS}/id/notice"  # Task.identifier: what it tells, so that it is told once
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
    for candidates, order in [*((c, "") for c in await key_workers(work, person)), *helpers]:
        names = [f"{stay} {code} {' '.join(sorted(named_by(o)))}{f' {turn}' if turn else ''}" for o in candidates]
        if known.intersection(names):
            continue
        found = [o for o in candidates if await may_see(work, o, stored)]
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


async def _after_hospital(work: Work, person: str) -> list[tuple[list[dict[str, Any]], str]]:
    """Who was asked beforehand to help after a stay in hospital: performers of the ServiceRequests that say so and are active now."""
    at, out = micros(work.ctx.at), list[tuple[list[dict[str, Any]], str]]()
    for order in await work.ctx.house.store.patient_record(person, ["ServiceRequest"]):
        body = strict.decode(order.body or b"{}")
        said = {(c.get("system"), c.get("code")) for c in body.get("code", {}).get("coding", ())}
        if (TASK_SYSTEM, AFTER) in said and body.get("status") == "active" and covers(*bounds(body.get("occurrencePeriod")), at):
            out += [([bare(p)], str(order.ref)) for p in body.get("performer", ()) if named_by(p)]
    return out


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
