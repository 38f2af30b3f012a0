"""Is it gone there? 410, or a deletion in a history, says so. A 404 may be of a moment (a tenant that is off, a backup put back) or of what is
hidden from us, so it counts when it is seen twice and a search that is answered lists no such thing."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ..domain.types import Drop, Keep, Op
from ..gate import House
from ..remote.client import Down, Garbled, Locked, Refusal, Reply, Unknown
from ..store.base import Taken
from .partner import Partner

MARK: Final = "watermark"  # kept: by `<remote> doubted` that it lacks most of it, by `<remote> resend` how far it is sent again
KIND: Final = "missed"  # kept by `<remote> <Type/id there>`: when that server first said that it has it not
KEPT: Final = timedelta(days=3)  # so a command once a day looks again in time
UNLINKED: Final = timedelta(hours=1)  # so long what no link leads to waits for the recall that saw it there, once it counts
UNREADABLE: Final = "they seem to have been put back, and what is there under its id cannot be read: look whether it is ours, then try again, or say that it is gone"
NOT_KNOWN: Final = "it says 404 of it, and no search there says that it is gone: look whether it is there, then try again, or say that it is gone"


class NotYet(Refusal):
    """404 of what was there, first met `since` seconds ago; it counts in `left` seconds at the earliest. It may be there all along, so `wait`, in
    seconds, begins with one and grows: a withdrawal is tried again soon."""

    def __init__(self, since: float, left: float, text: str = "it says that it has this not: it is looked at again before it counts as gone") -> None:
        super().__init__(404, text)
        self.wait = max(min(3.0 * since, 1.4 * left), 1.0)  # however it is spread, the last one is late enough


class NotKnown(NotYet):
    """404, seen twice, of what may be there all the same: it is listed, or a search for it is refused. It counts as there. Or, with another `text`, what
    stands there cannot be read, and may be another's (`put_back_there`)."""

    def __init__(self, left: float, text: str = NOT_KNOWN, since: float = 0.0) -> None:
        super().__init__(since, left, text)


async def now(house: House, partner: Partner, remote_id: str, *, told: bool = False) -> dict[str, Any] | None:
    """What is there under this `Type/id` now; None where it is gone, of which a history may have `told`. NotYet, NotKnown, Refusal, Unknown, Down."""
    try:
        return (await read(house, partner, remote_id)).body
    except Refusal as e:
        if (told and e.status == 404 and not (await partner.met()).gateway) or await gone(house, partner, e, remote_id):
            return None
        raise


async def shown(house: House, partner: Partner, remote_id: str) -> dict[str, Any] | None:
    """What is there under this `Type/id` now; None where it is gone, or not for us to see. Refusal, Unknown, Down."""
    try:
        return await now(house, partner, remote_id, told=True)
    except Refusal as e:
        if e.status != 404:
            raise
        return None


async def read(house: House, partner: Partner, remote_id: str) -> Reply:
    """What is there under this `Type/id`: that it was missed before is forgotten then. Garbled, Refusal, Unknown, Down."""
    try:
        reply = await partner.server.read(*remote_id.split("/"))
    except Garbled:
        await _forget(house, partner, remote_id)
        raise
    await _forget(house, partner, remote_id)
    return reply


async def forgotten(house: House, partner: Partner, remote_id: str) -> list[Op]:
    """That it was missed is so no more, for the commit that writes down a good answer about it: a later 404 is the first again."""
    if partner.abilities is not None and partner.abilities.gateway:  # of which nothing is kept
        return []
    missed = await house.store.kept(KIND, f"{partner.name} {remote_id}", house.clock())
    return [settled(partner, remote_id)] if missed is not None else []


async def _forget(house: House, partner: Partner, remote_id: str) -> None:
    if ops := await forgotten(house, partner, remote_id):
        await house.store.commit(*ops)


async def gone(house: House, partner: Partner, e: Refusal, remote_id: str, *, seen: bool = False) -> bool:
    """Does this say that nothing is there any more under this `Type/id`? A gateway says 410, and 404 of what the person there keeps from us.
    Another server's 404 of what we have a link to, or was `seen` there, counts when it is seen again `missing_seconds` later and a search by the id is answered and has
    it not. NotYet until then, NotKnown where that search does not say so."""
    if e.status != 404:
        return e.status == 410
    if (await partner.met()).gateway:
        return False
    link = await house.store.link_by_remote(partner.name, remote_id)
    if not seen and (link is None or link.gone):
        return True
    if await house.store.kept(*resending(partner), house.clock()) is not None:  # it is lost there, and goes again
        raise NotYet(0.0, partner.missing_seconds)
    if not partner.missing_seconds:
        return True
    key, at = f"{partner.name} {remote_id}", house.clock()
    first = await house.store.kept(KIND, key, at)
    since = (at - datetime.fromisoformat(first.decode())).total_seconds() if first is not None else 0.0
    if first is not None and since >= partner.missing_seconds:
        if await lacking(partner, remote_id):
            return True
        await house.store.commit(_seen(key, at))  # as for the first time
        raise NotKnown(partner.missing_seconds)
    if first is None:
        with suppress(Taken):
            await house.store.commit(_seen(key, at, if_absent=True))
    raise NotYet(since, partner.missing_seconds - since)


async def missed(house: House, partner: Partner) -> dict[str, datetime]:
    """Every `Type/id` that answered 404 and does not count as gone yet, and when it did so first."""
    kept = await house.store.kept_all(KIND, house.clock(), f"{partner.name} ")
    return {key.rpartition(" ")[2]: datetime.fromisoformat(first.decode()) for key, first in kept.items()}


def counts(partner: Partner, first: datetime) -> datetime:
    """When a second look counts."""
    return first + timedelta(seconds=partner.missing_seconds)


def settled(partner: Partner, remote_id: str) -> Drop:
    """It is known to be there, or to be gone."""
    return Drop(KIND, f"{partner.name} {remote_id}")


def resending(partner: Partner) -> tuple[str, str]:
    """What is kept while a person has what was lost there sent again (`resending`)."""
    return MARK, f"{partner.name} resend"


class Doubt(msgspec.Struct, frozen=True):
    """A server that lacks more than half of what it is `known` to have, since when; `by`: its lists, or the 404s of single resources."""

    since: datetime
    lacking: int
    known: int
    by: str


async def doubt(house: House, remote: str) -> Doubt | None:
    raw = await house.store.kept(MARK, f"{remote} doubted", house.clock())
    return msgspec.json.decode(raw, type=Doubt) if raw is not None else None


async def doubted(house: House, partner: Partner, lacking: int, known: int, by: str) -> None:
    """It is that server with which something is wrong: kept for whoever looks, and said once."""
    if await doubt(house, partner.name) is None:
        kept = Keep(MARK, f"{partner.name} doubted", msgspec.json.encode(Doubt(house.clock(), lacking, known, by)))
        await house.store.commit(kept)
        house.alarm(
            f"{partner.name} lists {known - lacking} of the {known} resources that it is known to have. Nothing is deleted here for it. "
            f"Ask them; where it lost them: fhir-gateway sync resend {partner.name} --reason TEXT"
        )


def believed(partner: Partner) -> Drop:
    """It has again what it is known to have."""
    return Drop(MARK, f"{partner.name} doubted")


def _seen(key: str, at: datetime, *, if_absent: bool = False) -> Keep:
    return Keep(KIND, key, at.isoformat().encode(), at + KEPT, if_absent=if_absent)


async def lacking(partner: Partner, remote_id: str) -> bool:
    """Does that server answer a search by the id with a list that is whole, and has it not? A search that is refused says nothing: what is hidden
    from us is so, too."""
    type, id = remote_id.split("/")
    with suppress(Refusal, Down, Locked, Unknown):
        async for page in partner.server.search(type, {"_id": id}):
            return page.next is None and not any(e.broken or (e.value.get("resource") or {}).get("id") == id for e in page.entries)
    return False
