"""What no search there can reach: more of one type under one stamp than that server lets anybody go through. Said until a sweep reads it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog

from ..domain.types import Drop, Keep
from ..gate import House
from .partner import Partner

log = structlog.get_logger()
KIND: Final = "out-of-reach"  # kept by `<remote> <Type> <stamp>`: since when


async def noted(house: House, partner: Partner, type: str, stamp: str) -> None:
    key = f"{partner.name} {type} {stamp}"
    if await house.store.kept(KIND, key, house.clock()) is None:
        log.warning("out-of-reach", remote=partner.name, feed=type, stamp=stamp)
        await house.store.commit(Keep(KIND, key, house.clock().isoformat().encode()))


async def read_but(house: House, partner: Partner, type: str, stamps: Collection[str]) -> None:
    """All there is of this type was gone through, but under these stamps."""
    known = await house.store.kept_all(KIND, house.clock(), f"{partner.name} {type} ")
    if over := [key for key in known if key.rpartition(" ")[2] not in stamps]:
        await house.store.commit(*(Drop(KIND, key) for key in over))
    for stamp in stamps:
        await noted(house, partner, type, stamp)
