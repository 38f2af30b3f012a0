"""A partner's address was changed. What is known of a partner goes by its name, and by the ids that its server gave: at another server these
are somebody else's. So the first address is kept, and at another one nothing is asked, sent, taken back or deleted. docs/sync.md
"""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog

from ..domain.types import Keep
from ..gate import House
from ..remote.client import Elsewhere
from ..remote.origin import canonical
from ..store.base import Taken
from . import attempts
from .partner import Partner
from .state import KIND

log = structlog.get_logger()
LOOKS: Final = "/metadata"  # carries nothing, and names nobody


async def elsewhere(house: House, partner: Partner) -> str | None:
    """The address of the server that is known by this partner's name, where that is another than it has now."""
    first = await _first(house, partner)
    return first if first is not None and first != canonical(partner.server.base) else None


async def stand(house: House, partner: Partner, *, keep: bool = True) -> None:
    """Before a round: Elsewhere where that is another server's; that alarms once. With `keep` the address of what is known already is kept (a
    store of before that was); else nothing is written, whatever is asked."""
    guard(house, partner, keep=keep)
    before, partner.elsewhere = partner.elsewhere, await elsewhere(house, partner)
    partner.checked = False
    if partner.elsewhere is None:
        await _may_ask(house, partner, keep, LOOKS)
        return
    now = canonical(partner.server.base)
    if before is None:
        log.error("alarm", what=f"{partner.name} is now {now} in the settings, and we were in step with {partner.elsewhere}: it stands still. `fhir-gateway sync status` says what to do.")
    raise Elsewhere(partner.elsewhere, now)


def guard(house: House, partner: Partner, *, keep: bool = True) -> None:
    """From now on each request to this partner asks whether it may leave: whoever makes it, it goes to no other server. The first that is more
    than a look at what that server can do keeps its address."""
    partner.server.may_ask = partial(_may_ask, house, partner, keep)


async def _may_ask(house: House, partner: Partner, keep: bool, path: str) -> None:
    if partner.checked:  # in this round
        return
    here, first = canonical(partner.server.base), await _first(house, partner)
    if first is None and keep and (path != LOOKS or await _known(house, partner)):
        try:
            await house.store.commit(address_kept(partner, here))
            first = here
        except Taken:  # another process was quicker
            first = await _first(house, partner)
    if first is not None and first != here:
        raise Elsewhere(first, here)
    partner.checked = first is not None


def address_kept(partner: Partner, here: str, first: str | None = None) -> Keep:
    """That its server is here, where it was known as `first`, or nowhere yet; else Taken."""
    return Keep(KIND, _key(partner), here.encode(), if_absent=first is None, if_value=first.encode() if first is not None else None)


async def _known(house: House, partner: Partner) -> bool:
    """Is anything known of it that goes by its ids, or did anything leave for it."""
    if await house.store.links(partner.name, count=1) or await attempts.open_of(house, partner):
        return True
    return bool(await house.store.ledger(remote=partner.name, open_only=True))


async def _first(house: House, partner: Partner) -> str | None:
    raw = await house.store.kept(KIND, _key(partner), house.clock())
    return raw.decode() if raw is not None else None


def _key(partner: Partner) -> str:
    return f"{partner.name} address"


__all__ = ["address_kept", "elsewhere", "guard", "stand"]
