"""Stubs: what stands at a partner in the place of a copy that was taken back, where `recall = "stub"` was agreed on. docs/notes/0029

The link to one is a live link whose last agreed body is the stub, of no version of ours. A stub is never applied here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain import copies, strict
from ..domain.reasons import because
from ..domain.types import Linked, Send
from ..domain.withheld import is_stub, says_more, sticks, stub
from ..gate import Context, House
from ..remote.client import Reply
from . import attempts
from .links import changed, etag_of
from .partner import Partner, as_owner
from .tally import Tally, ignored
from .waiting import quarantine


def made(house: House, link: Linked) -> dict[str, Any]:
    """The stub of what this link leads to, as it is to stand there."""
    before = strict.decode(link.base_received or link.base_sent or b"{}")
    by = copies.tags(before) or [copies.tag(house.name, link.ref.id)]
    return {**stub(house.r4, link.ref.type, by), "id": link.remote_id.split("/")[1]}


def stands(link: Linked | None) -> bool:
    """Is what we left there a stub."""
    return link is not None and not link.gone and link.base_sent is not None and is_stub(strict.decode(link.base_sent))


def linked(link: Linked, copy: Mapping[str, Any], there: Mapping[str, Any], etag: str = "") -> Linked:
    """The link to a stub, as it stands there now."""
    updated = str(there.get("meta", {}).get("lastUpdated", ""))
    now = {"etag": etag or etag_of(there), "remote_updated": updated, "version": 0, "gone": False}
    return changed(link, **now, base_sent=strict.dump(copy), base_received=strict.dump(there))


async def came_back(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> Tally:
    """A stub of ours stands there: what a recall waited for, or one that this store does not know of (it was restored), or that was changed."""
    ctx = await as_owner(house, partner, "access")
    copy = made(house, link)
    now, attempt = linked(link, copy, there), await attempts.of(house, partner, link.ref)
    if says_more(there, copy):
        if not stands(link):
            stored = await house.store.get(link.ref)
            again = [Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None))] if stored is not None else []
            await house.store.commit(now, *again)
            return ignored("a stub of ours")
        return await written_over(house, partner, ctx, link, there)
    if attempt is not None and attempt.recall:
        return await attempts.came_back(house, partner, ctx, now, attempt)
    stored = await house.store.get(link.ref)
    known = stands(link) or stored is None
    again = [] if known or stored is None else [Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None))]
    await house.store.commit(now, *again)
    return ignored("a stub of ours")


async def written_over(house: House, partner: Partner, ctx: Context, link: Linked, there: Mapping[str, Any]) -> Tally:
    """A stub of ours was changed there. Our own copy, put back, of which no answer came, is known; theirs waits for a person."""
    now = changed(link, etag=etag_of(there), base_received=strict.dump(there))
    if attempts.sent(await attempts.of(house, partner, link.ref), there):
        await house.store.commit(changed(now, base_sent=strict.dump(there)))
        return Tally()
    return await quarantine(house, partner, ctx, link.remote_id, dict(there), because("over-a-stub", link.ref.type), [now])


async def left_over(partner: Partner, link: Linked, reply: Reply, copy: Mapping[str, Any]) -> bool:
    """Did that server, which now has the copy again, keep the stub's label or mark on it."""
    there = reply.body if reply.body is not None else (await partner.server.read(*link.remote_id.split("/"))).body
    return there is not None and sticks(there, copy)
