"""Which of several workers reads what changes at a partner: whoever holds a claim on it, which ends by itself where its holder dies.

Two who read at once do no harm, for what is new is taken in once; the claim spares that server the second reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from ..domain.types import Drop, Keep
from ..gate import House
from ..store.base import StoreError, Taken

log = structlog.get_logger()
KIND: Final = "reader"  # kept: by the name of the partner
HOLD: Final = timedelta(seconds=30)  # from the last page, or from the next time it reads; so long nobody else does where it has died
RENEWED: Final = HOLD / 3  # once so much of it has gone
LOOK_SECONDS: Final = 0.5
TRIES: Final = 5

Still = Callable[[], Awaitable[None]]


class Claim(msgspec.Struct, frozen=True):
    """`at_work`: something that has changed is being taken in."""

    holder: str
    until: datetime
    at_work: bool = False


class Lost(Exception):
    """Somebody else reads now: this one was too slow, or a person asked for a round."""


@dataclass
class Reader:
    """A worker who would read from one partner."""

    house: House
    remote: str
    holder: str
    claim: Claim | None = None  # ours, as it is kept

    async def mine(self) -> bool:
        """May it read now: the claim is its own, nobody's, or its holder's time is over."""
        held = await self._held()
        if held is not None and held.holder != self.holder and held.until > self.house.clock():
            self.claim = None
            return False
        self.claim = held if held is not None and held.holder == self.holder else None
        with suppress(Taken):
            await self._renewed(held)
            return True
        return False

    async def still(self) -> None:
        """It takes in what has changed, and goes on. Lost where somebody else reads."""
        try:
            await self._renewed(self.claim, at_work=True)
        except Taken:
            self.claim = None
            raise Lost from None

    async def rests(self, seconds: float) -> None:
        """It has read, and reads again in so many seconds."""
        if self.claim is None:
            return
        with suppress(Taken):
            await self._renewed(self.claim, rest=timedelta(seconds=seconds))

    async def takes_over(self, stopped: Callable[[], bool]) -> None:
        """For a round that a person asked for: from whoever rests; whoever is at work is waited for, as long as a claim lasts."""
        for look in range(round(HOLD.total_seconds() / LOOK_SECONDS)):
            held = await self._held()
            if stopped() or held is None or held.holder == self.holder or not held.at_work or held.until <= self.house.clock():
                break
            if not look:
                log.info("reader-waits", remote=self.remote, help="another worker takes in what has changed there")
            await asyncio.sleep(LOOK_SECONDS)
        for _ in range(TRIES):
            with suppress(Taken):  # at this moment it was renewed
                await self._write(await self._held(), Claim(self.holder, self.house.clock() + HOLD, True))
                return

    async def leaves(self) -> None:
        """It reads no more: the next may begin at once."""
        if self.claim is not None:
            with suppress(StoreError):
                await self.house.store.commit(Drop(KIND, self.remote, if_value=msgspec.json.encode(self.claim)))
            self.claim = None

    async def _held(self) -> Claim | None:
        raw = await self.house.store.kept(KIND, self.remote, self.house.clock())
        return msgspec.json.decode(raw, type=Claim) if raw is not None else None

    async def _renewed(self, held: Claim | None, *, at_work: bool = False, rest: timedelta = timedelta(0)) -> None:
        """Written only where it says something else, or much of its time has gone. Taken where it is no longer as it was read."""
        now = self.house.clock()
        fresh = held is not None and held.holder == self.holder and held.at_work == at_work and held.until - now >= rest + HOLD - RENEWED
        if not fresh:
            await self._write(held, Claim(self.holder, now + rest + HOLD, at_work))

    async def _write(self, held: Claim | None, claim: Claim) -> None:
        was = msgspec.json.encode(held) if held is not None else None
        await self.house.store.commit(Keep(KIND, self.remote, msgspec.json.encode(claim), if_value=was, if_absent=was is None))
        self.claim = claim


async def alone() -> None:
    """Nobody else reads."""


__all__ = ["HOLD", "Claim", "Lost", "Reader", "Still", "alone"]
