"""What is written down of a copy there: that it got there, as they answered; what was found there of ours, and of theirs that ours is a copy of."""

from __future__ import annotations

from typing import Any, NoReturn

from ..domain import strict
from ..domain.types import Disclosed, Linked, Op, Ref, Stored
from ..gate import Context, Grounds, House, grounds
from ..gate.context import note
from ..remote.client import Refusal, Reply
from . import attempts, belonging, missing, reading_back, tags
from .attempts import Attempt
from .leaving import AskAgain
from .links import began_there, etag_of, id_of, over
from .partner import Partner, as_owner
from .renaming import named_otherwise
from .taking import at_home, pull_one
from .tally import Tally
from .waiting import quarantine


async def recorded(
    house: House, partner: Partner, ctx: Context, stored: Stored, was: Linked | None, copy: dict[str, Any], reply: Reply, why: Grounds
) -> list[Op]:
    """That it is there as they answered: the link, a row for each person, and what they dropped of it."""
    ref, live = stored.ref, was if was is not None and not was.gone else None
    remote_id = f"{ref.type}/{(reply.body or {}).get('id') or id_of(reply, live)}"
    seen = await reading_back.seen(house, partner, remote_id, reply, copy)
    there = seen or {}
    if ref.type == "Patient":
        partner.met_now(remote_id, house.clock())
    linked = Linked(
        partner.name, ref, remote_id, reply.etag or etag_of(there), str(there.get("meta", {}).get("lastUpdated", "")),
        stored.version, strict.dump(copy), strict.dump(seen) if seen is not None else None, began_there=began_there(live),
    )  # fmt: skip
    trail = [
        note(ctx, "R", "disclose", why.decision, (str(ref),), patient=person, allowed=True, detail=attempts.went(f"sent to {partner.name}", why.on_behalf_of))
        for person in stored.facts.patients or (None,)
    ]
    dropped = await reading_back.flags(house, partner, copy, seen) if seen is not None else []
    return [over(was, linked), *await missing.forgotten(house, partner, linked.remote_id), *trail, *dropped]


def known_there(ctx: Context, partner: Partner, ref: Ref, attempt: Attempt | None, *, trail: bool = True) -> list[Op]:
    """It got there: the ledger says since when, and the attempt is over."""
    if attempt is None:
        return []
    return [*attempts.rows(partner, ref, attempt), attempts.ended(partner, ref), *(attempts.trail(ctx, partner, ref, attempt) if trail else [])]


async def never_noted(house: House, partner: Partner, ctx: Context, stored: Stored) -> list[Op]:
    """A copy of ours is there, and the ledger, which may be of before a restore, says nothing of it, or only that they fetched it: what may
    have been sent is taken back as what was."""
    person = next(iter(stored.facts.patients), None)
    if person is None or any(d.ref == stored.ref and not d.fetched for d in await house.store.ledger(remote=partner.name, patient=person, open_only=True)):
        return []
    why = await grounds(ctx, partner.terms, stored)
    row = Disclosed(
        partner.name, stored.ref, stored.version, person, partner.terms.organisation, ctx.at, why.decision.consent, stored.epoch, None, why.on_behalf_of
    )
    detail = attempts.went(f"found at {partner.name}", why.on_behalf_of)
    return [row, note(ctx, "R", "disclose", why.decision, (str(stored.ref),), patient=person, allowed=True, detail=detail)]


async def adopt(house: House, partner: Partner, stored: Stored, was: Linked | None, there: dict[str, Any], before: Attempt | None) -> Tally:
    """A copy of ours is there of which we do not know when it was agreed on: linked, and united with ours. Nothing there is overwritten."""
    ref = stored.ref
    await _of_the_same(house, partner, stored, there)
    link, again = attempts.adopted(partner, ref, there, ""), await named_otherwise(house, partner, stored, was)
    await house.store.commit(over(was, link), *attempts.rows(partner, ref, before), attempts.ended(partner, ref), *again)
    return await pull_one(house, partner, link)


async def _of_the_same(house: House, partner: Partner, stored: Stored, there: dict[str, Any]) -> None:
    """What is about somebody else is joined with nothing of ours: it waits in quarantine, and ours is parked. Refusal."""
    if not await belonging.same(house, partner, stored.facts.patients, there):
        ctx = await as_owner(house, partner, "access")
        await quarantine(house, partner, ctx, f"{stored.ref.type}/{there['id']}", there, belonging.wrong(), [])
        raise Refusal(422, "what there bears the tag of this is not about the same person") from None


async def home(house: House, partner: Partner, stored: Stored, was: Linked | None, id: str) -> NoReturn:
    """What is a copy of their own is not made there again: it is linked with its original and united with it (AskAgain). NotAtHome, where they
    have it no more, or not for us."""
    try:
        reply = await partner.server.read(stored.ref.type, id)
    except Refusal as e:
        if e.status not in (404, 410):
            raise
        raise tags.NotAtHome from None
    there = reply.body or {"resourceType": stored.ref.type, "id": id}
    await _of_the_same(house, partner, stored, there)
    agreed = await belonging.vouched(house, partner, stored, there)
    if agreed is None:
        await quarantine(house, partner, await as_owner(house, partner, "access"), f"{stored.ref.type}/{id}", there, belonging.unlike(), [])
        raise Refusal(422, "it is given out as a copy of a record there, which never said this")
    raise AskAgain(await at_home(house, partner, over(was, tags.home(partner.name, stored.ref, id, agreed)), reply.body or {}))
