"""Looking at all that is there: for deletions where no feed tells of them, and after a restore, before anything is sent.

What is missing in a list is read before it counts as deleted, and where that is a 404, once more later (`missing`). A list that lacks more than
half of what is known is not believed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ..domain.types import Keep, Linked, Ref
from ..gate import House
from ..remote.client import Down, Refusal, Unknown
from ..store.journalled import OPENED
from . import beyond, missing
from .asked import types_of
from .feed import Expired, Feed, pages
from .one_by_one import looked_at, taken
from .partner import Partner, Rereading
from .reader import Still, alone
from .tally import Tally

log = structlog.get_logger()
MARK = "watermark"  # kept: by `<remote> sweep` when the last one ended, by `<remote> opened` after which restore was read again
TURNS = 4
FEW = 10  # that answer 404 at once are no reason to doubt that server
RARELY = 7  # pauses between two sweeps where a history tells of deletions
ODD_MOST = 5  # answers in a row that are something else than what was asked for: then that server counts as away


async def due(house: House, partner: Partner) -> bool:
    """Was the last sweep long enough ago? The first one comes after one pause. A history tells of deletions, and not of what was expunged."""
    abilities = await partner.met()
    if not partner.sweep_hours:
        return False
    told = abilities.system_history or set(types_of(partner.terms, abilities)) <= abilities.type_history
    kept = await house.store.kept(MARK, f"{partner.name} sweep", house.clock())
    if kept is None:
        await house.store.commit(_swept(house, partner))
        return False
    return house.clock() - datetime.fromisoformat(kept.decode()) >= timedelta(hours=partner.sweep_hours) * (RARELY if told else 1)


async def sweep(house: House, partner: Partner, still: Still = alone) -> Tally:
    """Everything of the agreed types there is looked at, and what is linked and not among it is read. Down where the list is broken off."""
    tally, listed = Tally(), dict[str, set[str]]()
    if partner.terms.direction == "out":
        return tally
    for type in types_of(partner.terms, await partner.met()):
        try:
            listed[type] = await _all_of(house, partner, type, tally, still)
        except Refusal as e:
            log.warning("feed-refused", remote=partner.name, feed=type, status=e.status)
    for remote_id in await missing.missed(house, partner):
        if remote_id in listed.get(remote_id.split("/")[0], ()):
            await house.store.commit(missing.settled(partner, remote_id))
    known = [link async for link in live(house, partner) if link.ref.type in listed]
    lacking = [link for link in known if link.remote_id not in listed[link.ref.type]]
    hides = (await partner.met()).gateway  # it lists what the people there let us see, and says 410 of what is gone
    if 2 * len(lacking) > len(known) and not hides:
        await missing.doubted(house, partner, len(lacking), len(known), "lists")
    else:
        await house.store.commit(missing.believed(partner))
        looks = _Looks(house, partner)
        for link in lacking:
            await still()
            tally.add(await looks.at(link))
    await house.store.commit(_swept(house, partner))
    return tally


async def reread(house: House, partner: Partner) -> Tally:
    """After a restore, before anything is sent: what they have of ours is read, for what was agreed on since is not known here.

    Down or Unknown where that server does not answer, or answers several in a row with something else: what is to be taken back does not wait
    for it, and the next call goes on behind. What could not be read is tried once more at the end; a write of it meets their version.
    """
    opened = await house.store.kept(*OPENED, house.clock())
    if opened is None or opened == await house.store.kept(MARK, f"{partner.name} opened", house.clock()):
        return Tally()
    if partner.rereading is None or partner.rereading.opened != opened:
        partner.rereading = Rereading(opened)
    tally, r = Tally(), partner.rereading
    looks = _Looks(house, partner, unread=r.again)
    async for link in live(house, partner, r.after):
        r.after = link.ref
        try:
            tally.add(await looks.at(link))
        except Down:
            r.again.append(link.ref)
            raise
    looks = _Looks(house, partner)
    while r.again:
        known = await house.store.link(partner.name, r.again.pop())
        if known is not None and not known.gone:
            tally.add(await looks.at(known))
    await house.store.commit(Keep(MARK, f"{partner.name} opened", opened))
    partner.rereading = None
    return tally


async def missed_again(house: House, partner: Partner) -> Tally:
    """What was answered 404 is looked at once more: there again, or deleted. Not where that is more than FEW and half of what is there: whoever
    sends or takes back one of these looks for itself, and the rest is forgotten when it is there again, or in time."""
    tally, looks, now = Tally(), _Looks(house, partner), house.clock()
    missed = await missing.missed(house, partner)
    due = [remote_id for remote_id, first in missed.items() if now >= missing.counts(partner, first)]
    if len(due) > FEW and 2 * len(due) > (known := len([link async for link in live(house, partner)])):
        await missing.doubted(house, partner, len(due), known, "404")
        await _there_again(house, partner, due)
        if not due and not await missing.missed(house, partner):
            await house.store.commit(missing.believed(partner))
        return tally
    if missed and (doubt := await missing.doubt(house, partner.name)) is not None and doubt.by == "404":
        await house.store.commit(missing.believed(partner))
    for remote_id, first in missed.items():
        link = await house.store.link_by_remote(partner.name, remote_id)
        if link is not None and not link.gone:
            if remote_id not in due:
                continue
            tally.add(await looks.at(link))
            if looks.unread:
                looks.unread.clear()
                continue
        elif link is None and now < missing.counts(partner, first) + missing.UNLINKED:
            continue
        await house.store.commit(missing.settled(partner, remote_id))
    return tally


async def _there_again(house: House, partner: Partner, due: list[str]) -> None:
    """Which of these can be read, by any of them, until one cannot."""
    with suppress(Refusal, Unknown):
        while due:
            one = due.pop(int(house.chance() * len(due)))
            await missing.read(house, partner, one)


async def live(house: House, partner: Partner, after: Ref | None = None) -> AsyncIterator[Linked]:
    """Every link to what is there, as far as we know, behind this one."""
    while batch := await house.store.links(partner.name, after):
        for link in batch:
            if not link.gone:
                yield link
        after = batch[-1].ref


@dataclass
class _Looks:
    """One resource after the other is read there. What cannot be says nothing of the others, nor of whether it is there: its link stays as it
    is, so that a write meets their version; what is read and cannot be taken in waits in quarantine.
    Unknown where several in a row are answered with something else."""

    house: House
    partner: Partner
    odd: int = 0  # in a row
    unread: list[Ref] = field(default_factory=list)

    async def at(self, link: Linked) -> Tally:
        try:
            tally = await looked_at(self.house, self.partner, link)
        except (Refusal, Unknown) as e:
            self.odd = self.odd + 1 if isinstance(e, Unknown) else 0
            self.unread.append(link.ref)
            if self.odd >= ODD_MOST:
                raise
            if not (isinstance(e, Refusal) and e.status == 404):  # looked at again (`missed_again`), or kept from us by a gateway
                log.warning("not-read-again", remote=self.partner.name, ref=str(link.ref), status=e.status if isinstance(e, Refusal) else 200)
            return Tally()
        self.odd = 0
        return tally


async def _all_of(house: House, partner: Partner, type: str, tally: Tally, still: Still) -> set[str]:
    """The ids of this type there, each looked at."""
    why = ""
    for _ in range(TURNS):
        found, unread = set[str](), set[str]()
        try:
            async for page in pages(partner, Feed(type, type, False), None):
                await still()
                unread |= {page.beyond} - {""}
                for change in page.changes:
                    if change["id"] not in found and not change["broken"]:
                        tally.add(await taken(house, partner, change))
                    found.add(change["id"])
            await beyond.read_but(house, partner, type, unread)
            return found
        except Expired as e:
            why = str(e)
    raise Down(f"its list of {type} cannot be read to the end ({why})")


def _swept(house: House, partner: Partner) -> Keep:
    return Keep(MARK, f"{partner.name} sweep", house.clock().isoformat().encode())
