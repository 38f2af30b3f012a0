"""A person was found to have a record at a partner already: what that record holds is read once, and what waited because of it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from ..domain import strict
from ..domain.types import Drop, Keep, Ref
from ..gate import House
from ..remote.client import Down, Locked, Refusal, Unknown
from ..store.base import Taken
from .feed import askable, change_of
from .identity import MEETING
from .one_by_one import taken
from .partner import Partner, local_references
from .reader import Still, alone
from .tally import Tally
from .waiting import QUARANTINE

PEOPLE: Final = 50  # who are caught up in one round, so that the feeds, with the consents that close, are not kept waiting for all
HOLD: Final = timedelta(minutes=1)  # so long a person is one worker's, who says so again for each type


async def caught_up(house: House, partner: Partner, types: Collection[str], still: Still = alone) -> Tally:
    """Of PEOPLE who were found there since, each `seen`: their resources of these `types`. A stop begins that person anew, which doubles
    nothing; of several workers one does it."""
    tally = Tally()
    for key, raw in (await house.store.kept_all(MEETING, house.clock(), f"{partner.name} ")).items():
        if tally.seen >= PEOPLE:
            break
        name, _, until = raw.decode().partition(" ")
        if until > house.clock().isoformat():
            continue
        await still()
        try:
            tally.add(await _met(house, partner, types, key, name, raw))
        except Taken:  # another worker's
            continue
        tally.seen += 1
    return tally


async def wait(house: House, partner: Partner) -> bool:
    """Is there anybody left who is to be caught up?"""
    return await house.store.kept_count(MEETING, house.clock(), f"{partner.name} ") > 0


async def _met(house: House, partner: Partner, types: Collection[str], key: str, name: str, held: bytes) -> Tally:
    """Everything of one person. Taken where another worker has begun, or begins because this one is too slow."""
    tally = Tally()

    async def mine(value: bytes) -> bytes:
        await house.store.commit(Keep(MEETING, key, value, if_value=held))
        return value

    def now() -> bytes:
        return f"{name} {(house.clock() + HOLD).isoformat()}".encode()

    try:
        for type in sorted(set(types) - {"Patient"}):
            held = await mine(now())
            tally.add(await _theirs(house, partner, type, name))
        held = await mine(now())
        tally.add(await _waited(house, partner, name))
    except (Down, Locked):
        await mine(name.encode())
        raise
    await house.store.commit(Drop(MEETING, key, if_value=held))
    return tally


async def _theirs(house: House, partner: Partner, type: str, name: str) -> Tally:
    tally = Tally()
    try:
        async for page in partner.server.search(type, {"patient": name, "_count": "100"}):
            for entry in page.entries:
                resource = None if entry.broken else entry.value.get("resource")
                if isinstance(resource, dict) and resource.get("resourceType") == type and resource.get("id"):
                    tally.add(await taken(house, partner, change_of(resource)))
    except Refusal:  # it cannot be searched so: what is written from now on comes all the same
        pass
    return tally


async def _waited(house: House, partner: Partner, name: str) -> Tally:
    """What was put aside because it was not sure whose it is."""
    tally = Tally()
    async for key, raw in house.store.kept_each(QUARANTINE, house.clock(), f"{partner.name} "):
        if name.encode() not in raw:
            continue
        body, id = strict.decode(raw).get("body"), key.removeprefix(f"{partner.name} ")
        if not isinstance(body, dict) or not askable(id) or Ref(*name.split("/")) not in local_references(body):
            continue
        try:
            reply = await partner.server.read(*id.split("/"))
        except (Refusal, Unknown) as e:
            if isinstance(e, Refusal) and e.status in (404, 410):
                await house.store.commit(Drop(QUARANTINE, key, if_value=raw))
            continue
        done = await taken(house, partner, change_of(reply.body or {}), fresh=True)
        if done.pulled and not done.refused:
            await house.store.commit(Drop(QUARANTINE, key, if_value=raw))
        tally.add(done)
    return tally
