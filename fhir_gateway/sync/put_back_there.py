"""Their server was put back from a backup: is what it has under an id still what both sides know by it? docs/sync.md

Ids that were given since may be given again, to something else, with the same version; and a state of before is no edit. Where that server
shows earlier versions, the one that was agreed on tells; else our tag, whom it is about, and number and stamp together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from ..domain import strict
from ..domain.identity import families, nhs_numbers
from ..domain.reconcile import Conflict
from ..domain.types import Linked, Send, Stored
from ..gate import Context, House
from ..remote.client import Down, Garbled, Refusal, Unknown
from . import belonging, missing, tags
from .feed import utc
from .links import began_there, changed, etag_of, given_twice, same
from .partner import Partner
from .reading_back import less
from .tally import Tally, ignored
from .uniting import as_here
from .waiting import both_kept, deletion_kept
from .whose import held_by_name, names_of

Standing = Literal["as agreed", "older", "beside", "another"]
LOOKED_AT: Final = 60.0  # seconds, until that is looked at again
_VERSION: Final = re.compile(r'(?:W/)?"([A-Za-z0-9.-]{1,64})"')


async def standing(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> Standing:
    """How this, which is there under the id of `link` now, comes from what both sides agreed on last. `as agreed`: it is that, or was made from
    it. `older`: a state of before. `beside`: made from such a one. `another`: a record that has nothing to do with it. Down, Locked."""
    if link.base_received is None and link.base_sent is None:
        return "as agreed"
    held = strict.decode(link.base_received or link.base_sent or b"{}")
    named = _VERSION.fullmatch(link.etag)
    version, now = str(held.get("meta", {}).get("versionId") or (named[1] if named is not None else "")), str(there.get("meta", {}).get("versionId", ""))
    at, stamp = utc(link.remote_updated) or utc(str(held.get("meta", {}).get("lastUpdated", ""))), utc(str(there.get("meta", {}).get("lastUpdated", "")))
    untagged = not began_there(link) and tags.names(held, house, link.ref) and not tags.names(there, house, link.ref)
    earlier, lower = bool(at and stamp and stamp < at), version.isdecimal() and now.isdecimal() and int(now) <= int(version)
    if same(held, there) or not (untagged or earlier or lower):
        return "as agreed"
    stored = await house.store.get(link.ref)
    people = stored.facts.patients if stored is not None else ()
    type, id = link.remote_id.split("/")
    was = await partner.server.version(type, id, version) if version else None
    if was is not None and (same(was, held) or (less(held, was) and _identified(house, link, held, was))):
        return "as agreed"
    others = await belonging.another(house, partner, people, there)
    if others or (untagged and (was is not None or lower or earlier)):
        return "another"
    if was is not None:
        return "older" if earlier else "beside"
    if not earlier:
        return "as agreed"
    if version.isdecimal() and now.isdecimal():
        known = lower and stored is not None and await belonging.once_ours(house, stored, there)
        return "older" if known else "beside" if lower else "as agreed"
    return "older" if now and await partner.server.version(type, id, now) is not None else "as agreed"  # it keeps versions, and not that one


def _identified(house: House, link: Linked, held: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
    """Less than was sent is our copy of somebody where it still says who they are, or bears our tag: a bare one under an id that may be given
    again is anybody's."""
    if link.ref.type != "Patient" or not given_twice(link) or tags.names(was, house, link.ref):
        return True
    return not tags.names(held, house, link.ref) and _who(held) == _who(was)


def _who(patient: Mapping[str, Any]) -> tuple[Any, ...]:
    return families(patient), patient.get("birthDate"), nhs_numbers(patient)


async def another_there(house: House, partner: Partner, link: Linked, *, recall: bool = True) -> bool:
    """Is something else there under this id now. Asked before it is written over or deleted, for a version may be given twice as well. Nothing
    is written over what gives no answer or is not ours to read: Down, Unknown, Refusal. That holds back no `recall`, and what comes in a shape that
    cannot be kept holds back nothing, for the version that it names does; unless they seem to have been put back (NotKnown)."""
    if not given_twice(link):
        return False
    try:
        there = (await missing.read(house, partner, link.remote_id)).body or {}
        return await other(house, partner, link, there)
    except (Down, Refusal, Unknown) as e:
        if isinstance(e, Refusal) and e.status in (404, 410):  # said by the request that follows
            return False
        if not recall and not isinstance(e, Garbled):
            raise
        if await put_back_lately(house, partner):
            raise missing.NotKnown(5 * LOOKED_AT, missing.UNREADABLE, LOOKED_AT / 3) from None
        return False


async def put_back_lately(house: House, partner: Partner) -> bool:
    """Do they lack much of what they are known to have, or is what they lost sent there again."""
    resending = await house.store.kept(*missing.resending(partner), house.clock())
    return resending is not None or await missing.doubt(house, partner.name) is not None


async def other(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> bool:
    """Is this something else than what both sides know by its id."""
    if not given_twice(link) or (link.etag and etag_of(there) == link.etag and utc(str(there.get("meta", {}).get("lastUpdated", ""))) == utc(link.remote_updated)):
        return False
    return await standing(house, partner, link, there) == "another"


async def met(
    house: House, partner: Partner, ctx: Context, link: Linked, stored: Stored | None, there: dict[str, Any], stands: Standing
) -> Tally | None:
    """What is not `as agreed` is no edit. What was ours and is older goes there once more; of a record of theirs, and where they went on from the
    older state, a person decides, and nothing goes over it meanwhile. None where it is another: it is theirs, as anything new, and ours is made anew."""
    here = stored if stored is not None and not stored.deleted else None
    again = [Send(partner.name, link.ref, here.version, next(iter(here.facts.patients), None))] if here is not None else []
    if stands == "another":
        theirs_gone = await deletion_kept(house, partner, ctx, here) if here is not None and began_there(link) else again
        await house.store.commit(changed(link, gone=True), *theirs_gone)
        return None
    held, stamp = strict.dump(there), str(there.get("meta", {}).get("lastUpdated", ""))
    seen = changed(link, etag=etag_of(there), remote_updated=stamp, version=0, base_sent=held, base_received=held)
    if here is None or (stands == "older" and not began_there(link)):
        await house.store.commit(seen, *again)
        return ignored("a state of before, for they were put back")
    _, theirs, local, known = await as_here(house, partner, link, here, there, await names_of(house, partner, there, link.base_sent))
    step = Conflict(local, await held_by_name(house, theirs, theirs, known), (link.ref.type,), "local")
    record, trail = await both_kept(house, partner, ctx, here, theirs, step, link.remote_id)
    await house.store.commit(seen, record, *trail)
    return Tally(conflicts=1)
