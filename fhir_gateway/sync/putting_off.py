"""An outbox entry that could not be sent: tried again later, united with what is there and sent at once, or parked with their words."""

from __future__ import annotations

from datetime import timedelta

from ..domain.types import Close, Delay, Queued
from ..gate import House, may_send
from ..remote.client import Refusal, Unknown
from ..store.base import URGENT, StoreError, Taken
from . import attempts
from .missing import NotKnown, NotYet
from .one_by_one import looked_at
from .partner import Partner, as_owner
from .recalling import RECALL_LATE, tell_once
from .said_before import in_a_row, refusals
from .state import spread
from .tally import Tally
from .waiting import refusal_kept

TRIES = 8
OURS = 0  # the status of what was refused here, in words of ours


async def later(house: House, partner: Partner, entry: Queued, e: Exception, said: str = "", tries: int | None = None) -> None:
    due = house.clock() + timedelta(seconds=getattr(e, "wait", None) or spread(house, 2.0 ** min(entry.tries if tries is None else tries, 20)))
    said = said or str(e)
    late = house.clock() - entry.queued_at >= RECALL_LATE
    told = await tell_once(house, partner, entry) if late else []
    try:
        await house.store.commit(Delay(entry.entry, entry.fence, due, said), *told)
    except Taken:  # told meanwhile
        await house.store.commit(Delay(entry.entry, entry.fence, due, said))


async def refused(house: House, partner: Partner, entry: Queued, e: Refusal, tally: Tally) -> None:
    """A version conflict, or a deletion there, is pulled and merged, then sent again; what the server will not take is parked with its words."""
    if isinstance(e, NotYet):
        await _not_yet(house, partner, entry, e, tally)
        return
    link = await house.store.link(partner.name, entry.ref)
    live = link is not None and not link.gone
    again = e.status in (409, 412) or (live and e.status in (404, 410))
    wrong: Refusal | None = None  # nor may it be looked at
    before = await refusals(house, partner, entry) if again else 0  # an outage is none
    if link is not None and live and again and before < TRIES:
        try:
            tally.add(await looked_at(house, partner, link, alone=entry.why == "recall"))
        except Refusal as looked:
            wrong = looked
    if isinstance(wrong, NotYet):
        await _not_yet(house, partner, entry, wrong, tally)
    elif wrong is not None and not e.status == wrong.status == 404:
        await later(house, partner, entry, wrong)
        tally.delayed += 1
    elif wrong is None and again and before < TRIES:
        if entry.tries <= 2:  # merged just now: send the result at once
            await house.store.commit(Delay(entry.entry, entry.fence, house.clock(), in_a_row(e, before)))
        else:
            await later(house, partner, entry, e, in_a_row(e, before), before)
            tally.delayed += 1
    elif entry.tries < 2 and e.status not in (OURS, 400, 422):
        await later(house, partner, entry, e)
        tally.delayed += 1
    else:
        await _parked(house, partner, entry, e, tally)


async def failed(house: House, partner: Partner, entry: Queued, e: Exception, tally: Tally) -> None:
    """A fault of ours with this one: it is tried again, and parked after TRIES such faults. What takes back, or may have to, is never given up."""
    why = f"a fault here ({type(e).__name__})"
    if partner.faulted(entry.entry) < TRIES or entry.why in URGENT or await _may_be_there(house, partner, entry) or not await _may_go(house, partner, entry):
        await later(house, partner, entry, Unknown(why))
        tally.delayed += 1
    else:
        await _parked(house, partner, entry, Refusal(OURS, why), tally)


async def _may_be_there(house: House, partner: Partner, entry: Queued) -> bool:
    """Does that server hold it, or may it? Then this may be what takes a part of it back: an address of somebody who is at risk now."""
    link = await house.store.link(partner.name, entry.ref)
    return (link is not None and not link.gone) or await attempts.of(house, partner, entry.ref) is not None


async def _may_go(house: House, partner: Partner, entry: Queued) -> bool:
    """Is it here, and does consent let it go there? What that cannot be asked of may have to be taken back."""
    try:
        stored = await house.store.get(entry.ref)
        if stored is None or stored.deleted:
            return False
        return (await may_send(await as_owner(house, partner, "disclose"), partner.terms, stored)).permit
    except StoreError:
        raise
    except Exception:
        return False


async def _parked(house: House, partner: Partner, entry: Queued, e: Refusal, tally: Tally) -> None:
    told = await tell_once(house, partner, entry)
    await house.store.commit(Close(entry.entry, entry.fence, "parked", str(e)), refusal_kept(house, partner, entry.ref, e), *told)
    tally.parked += 1


async def _not_yet(house: House, partner: Partner, entry: Queued, e: NotYet, tally: Tally) -> None:
    """It is looked at again. Where that says nothing for as long as RECALL_LATE, a person is asked; `looking_again` goes on."""
    if not isinstance(e, NotKnown) or house.clock() - entry.queued_at < RECALL_LATE:
        await later(house, partner, entry, e)
        tally.delayed += 1
        return
    await _parked(house, partner, entry, Refusal(OURS, e.text), tally)
