"""What of theirs is not taken in: why, and how it waits alone, so that what comes beside it and after it is taken in."""

from __future__ import annotations

from typing import Any, Final

from .. import gate
from ..domain.compartment import patients
from ..domain.directory import NOBODYS
from ..domain.problem import Problem
from ..domain.reasons import because
from ..domain.types import Disclosed, Op, Ref, Send
from ..gate import Context, House
from .ahead import Ahead, Far
from .feed import Change
from .partner import Partner, as_owner, incoming, sides
from .tally import Tally
from .uniting import waits_no_more
from .waiting import QUARANTINE, broken, put_aside, quarantine
from .whose import held_by_name, names_of, whose

PATIENT_DATA_NOT_TAKEN: Final = frozenset({"AuditEvent", "Provenance"})


def left_out(house: House, partner: Partner, type: str, linked: bool = False) -> str:
    """Why nothing of this type is taken in; "" when it is. A consent always is: it closes here what it closes."""
    if not house.r4.has_type(type):
        return "not a type of FHIR R4"
    if type in NOBODYS:
        return "" if linked else "of the directory, which is kept here"
    if type in PATIENT_DATA_NOT_TAKEN:
        return "their audit trail"
    if partner.terms.types is not None and type not in partner.terms.types and type != "Consent":
        return "not of the types agreed on"
    return ""


async def never_here(house: House, partner: Partner, name: str) -> Tally:
    """It is gone there and was never taken in: what of it waited in quarantine is over."""
    if await house.store.kept(QUARANTINE, f"{partner.name} {name}", house.clock()) is not None:
        await house.store.commit(waits_no_more(partner, name))
    return Tally()


async def unread(house: House, partner: Partner, change: Change, e: Exception) -> Tally:
    """It, or somebody or something that it speaks of, cannot be read there: it waits alone."""
    ctx = await as_owner(house, partner, "access")
    wrong = because("cannot-be-read", kind="not-offered", said=f"It has changed there, and cannot be read: {e}"[:300])
    return await quarantine(house, partner, ctx, change["id"], change["resource"] or {"deleted": True}, wrong, [])


async def too_big(house: House, partner: Partner, change: Change, why: Problem | None = None) -> Tally:
    """It is more than is taken from any client (`why`), or this store cannot keep it, or what is written down beside it."""
    ctx, link = await as_owner(house, partner, "access"), await house.store.link_by_remote(partner.name, change["id"])
    wrong = why or Problem("too-large", "It is larger than the store here keeps in one record.", change["id"].split("/")[0])
    return await put_aside(house, partner, ctx, {**change, "resource": change["resource"] or {}}, link, wrong)


async def far(house: House, partner: Partner, change: Change, e: Far) -> Tally:
    """It waits alone, as what cannot be read does: with what it says where it is of something, or speaks of somebody, that is linked."""
    ctx, link = await as_owner(house, partner, "access"), await house.store.link_by_remote(partner.name, change["id"])
    return await broken(house, partner, ctx, {**change, "resource": change["resource"] or {}, "broken": f"It is not taken in yet: {e}."}, link, "leads-too-far")


async def said_otherwise(house: House, partner: Partner, ctx: Context, change: Change, numbered: list[str]) -> Tally:
    """It waits; what is a no in a Consent of who is `numbered` in it holds meanwhile."""
    there, type = change["resource"], change["id"].split("/")[0]
    if type != "Consent":
        return await quarantine(house, partner, ctx, change["id"], there, because("said-otherwise", type), [])
    body = incoming(there, None, await names_of(house, partner, there, None), (), sides(house, partner))
    body = await held_by_name(house, body, body)
    return await quarantine(house, partner, ctx, change["id"], body, because("said-otherwise", type), [], numbered=numbered)


async def lost_here(house: House, partner: Partner, ctx: Context, ref: Ref, there: dict[str, Any], under_way: Ahead) -> list[Op]:
    """They have a copy of what is not here, for this store was restored from before it: the ledger says so, so that the person sees it and
    their next change of consent takes it back; it is taken back now where nothing of theirs may be there. What it says is in quarantine."""
    try:
        names = await whose(house, partner, ctx, there, under_way)
    except Problem:
        return []
    person = next((p for p in patients(incoming(there, None, names)) if p in names.values()), None)
    if person is None or any(d.ref == ref for d in await house.store.ledger(remote=partner.name, patient=person, open_only=True)):
        return []
    stored = await house.store.get(Ref(*person.split("/")))
    permitted = stored is not None and (await gate.may_send(await as_owner(house, partner, "disclose"), partner.terms, stored)).permit
    again: list[Op] = [] if permitted else [Send(partner.name, Ref(*person.split("/")), 0, person, "review")]
    return [Disclosed(partner.name, ref, 0, person, partner.terms.organisation, ctx.at), *again]
