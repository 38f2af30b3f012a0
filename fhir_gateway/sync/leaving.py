"""What is asked just before a request that carries a record leaves: may it still, and is it still this much of it."""

from __future__ import annotations

from ..domain.types import Cut, Linked, Queued, Stored
from ..gate import House, may_send, shown_to
from . import attempts, identity
from .partner import Partner, as_owner
from .tally import Tally


class AskAgain(Exception):
    """Between the question and the sending something changed: ask again. `tally` says what was taken in meanwhile."""

    def __init__(self, tally: Tally | None = None) -> None:
        super().__init__()
        self.tally = tally or Tally()


async def as_asked(house: House, partner: Partner, entry: Queued, stored: Stored, views: Cut, link: Linked | None) -> None:
    """What it refers to, or a look at what is there, may have taken long: at the moment it leaves it is still this version with these
    labels, linked as it was, still allowed, and still this much of it. AskAgain otherwise. This worker holds the entry from now on; Fenced where it does not."""
    now, ctx = await house.store.get(stored.ref), await as_owner(house, partner, "disclose")
    if now is None or (now.version, now.body) != (stored.version, stored.body) or await house.store.link(partner.name, stored.ref) != link:
        raise AskAgain
    if stored.facts.patients and not (await may_send(ctx, partner.terms, now)).permit:
        raise AskAgain
    if await shown_to(ctx, partner.terms, now) != views or await identity.unsure(house, partner, stored.facts.patients):
        raise AskAgain
    await attempts.renewed(house, partner, entry, stored.ref)


async def still_asked(house: House, partner: Partner, stored: Stored) -> None:
    """To ask who or what bears an identifier of this is to tell it, and so is to ask for its deletion: at the moment at which the question leaves,
    or is put once more, it is still this, and still allowed. AskAgain otherwise."""
    now = await house.store.get(stored.ref)
    if now is None or now.body != stored.body or not (await may_send(await as_owner(house, partner, "disclose"), partner.terms, now)).permit:
        raise AskAgain
