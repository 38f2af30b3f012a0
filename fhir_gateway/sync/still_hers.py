"""Is who has the id of somebody's Patient there still that person? Where ids may be given again, a stranger may have it. docs/sync.md

What is there and cannot be read as a Patient is nobody's whom we know, unless it bears our tag: nothing goes under it and nothing of it comes in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..domain import strict
from ..domain.identity import unlike
from ..domain.types import Linked, Ref
from ..gate import House
from ..remote.client import Refusal
from . import identity, missing, put_back_there, tags
from .feed import change_of
from .leaving import AskAgain
from .links import began_there, given_twice
from .partner import Partner, as_owner
from .recognising import theirs_to_write
from .shapes import misshapen, too_much
from .uniting import waits_no_more


async def strange(house: House, partner: Partner, link: Linked | None, there: Mapping[str, Any]) -> bool:
    """Is this, which is there now, of no shape to be read as the person of this link, who may have lost the id? The link is over then, and ours
    is made anew; where it is not to be known whose it is, nothing of theirs goes or comes until somebody has looked. Down, Moved."""
    if link is None or link.gone or link.ref.type != "Patient" or not given_twice(link):
        return False
    broken = bool(change_of(there)["broken"])
    if not broken and (tags.names(there, house, link.ref) or (misshapen(house, there) is None and too_much(partner.limits, there) is None)):
        return False
    if not broken and not began_there(link) and await put_back_there.standing(house, partner, link, there) == "another":
        await _over(house, partner, link, there)
    else:
        await identity.hold(house, partner, await as_owner(house, partner, "access"), link.ref, "changed", [link.remote_id])
    return True


async def before_making(house: House, partner: Partner, people: Collection[str], made: Ref) -> None:
    """Something about these (our `Patient/id`) is to be made there: who has the id of each is looked at first, once in LOOKED. AskAgain where it
    is somebody else, or not to be known. Who may not be looked at holds back nothing. Unknown, Down."""
    for person in (p for p in people if p != str(made)):
        link = await house.store.link(partner.name, Ref(*person.split("/")))
        if link is None or link.gone or not given_twice(link) or partner.met_lately(link.remote_id, house.clock()):
            continue
        try:
            there = (await missing.read(house, partner, link.remote_id)).body or {}
        except Refusal:
            continue
        if await strange(house, partner, link, there) or await _another(house, partner, link, there):
            raise AskAgain
        partner.met_now(link.remote_id, house.clock())


async def _another(house: House, partner: Partner, link: Linked, there: dict[str, Any]) -> bool:
    """Is it a Patient, and somebody else's? The link is over then, but of a record that they had before: that waits."""
    if theirs_to_write(link):
        stored = await house.store.get(link.ref)
        if stored is None or unlike(strict.decode(stored.body or b"{}"), there) != "changed":
            return False
        await identity.hold(house, partner, await as_owner(house, partner, "access"), link.ref, "changed", [link.remote_id])
        return True
    if not await put_back_there.other(house, partner, link, there):
        return False
    await _over(house, partner, link, there)
    return True


async def _over(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> None:
    """It is somebody else: what waited of them in quarantine is about nobody here."""
    ctx, stored = await as_owner(house, partner, "access"), await house.store.get(link.ref)
    await put_back_there.met(house, partner, ctx, link, stored, dict(there), "another")
    await house.store.commit(waits_no_more(partner, link.remote_id))
