"""Those who were let in wait in line, and few begin in one turn of the event loop.

Everything shares one loop: whatever begins in a turn is worked on before anybody else is looked at. When all who may be in hand begin
at once, each of them waits for all of them, several times over. Nobody stands longer than there is hope for an answer in good time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

LONG: Final = 0.02  # seconds: a turn that took longer had too much in it
AT_FIRST: Final = 8  # that begin in one turn, until it is known how long a turn takes
MOST: Final = 32
FEW: Final = 16  # so many are soon done with, however long something held everybody up: none of them is sent away


class Line:
    """`turn` comes back when it is one's turn, first come first served, or when `seconds` are over and many stand behind. `clock` in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds, self._clock = seconds, clock
        self._standing: deque[tuple[asyncio.Future[bool], float]] = deque()
        self._at_once, self._begun, self._going, self._since = AT_FIRST, 0, False, 0.0

    def __len__(self) -> int:
        return len(self._standing)

    async def turn(self) -> bool:
        """Whether to begin: False after too long a wait, when somebody has to be told to come again."""
        loop = asyncio.get_running_loop()
        if not self._going:
            self._going, self._begun, self._since = True, 0, self._clock()
            loop.call_soon(self._next, loop)
        if not self._standing and self._begun < self._at_once:
            self._begun += 1
            return True
        mine: asyncio.Future[bool] = loop.create_future()
        self._standing.append((mine, self._clock()))
        return await mine

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once in each turn of the loop, as long as somebody begins or stands."""
        now = self._clock()
        self._at_once = max(self._at_once // 2, 1) if now - self._since > LONG else min(self._at_once + 1, MOST)
        self._since, self._begun = now, 0
        while self._standing and self._begun < self._at_once:
            somebody, came = self._standing.popleft()
            if not somebody.done():  # else they were cancelled
                in_time = now - came <= self.seconds or len(self._standing) < FEW
                somebody.set_result(in_time)
                self._begun += in_time
        self._going = bool(self._begun or self._standing)
        if self._going:
            loop.call_soon(self._next, loop)
