"""What one change there may have us look at beside itself: each resource that it leads to once, so many, and so long for all of them.

Whoever may write there can let one record lead to any number of others, in a fan or in circles. Beyond these bounds the change waits in
quarantine; what was taken in until then stays, and what stands behind it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ..gate import House
from . import missing
from .partner import Partner

MOST: Final = 100  # resources that are read there for one change
SECONDS: Final = 30.0  # in which
DEEPEST: Final = 16  # how many may be read one for the other


class Far(Exception):
    """It leads to more than is looked at for one change."""


@dataclass
class Ahead:
    """What was looked at for one change. `alone`: nothing is, since a withdrawal waits for what is read."""

    alone: bool = False
    seen: set[str] = field(default_factory=set)  # `Type/id` there
    ours: dict[str, str] = field(default_factory=dict)  # of these, copies of ours whose answer is not here yet: what they are called here
    read: int = 0
    depth: int = 0
    far: bool = False  # did it lead beyond the bounds
    until: float = field(default_factory=lambda: asyncio.get_running_loop().time() + SECONDS)  # of the loop's time

    def new(self, name: str) -> bool:
        """Is this to be looked at: not yet, and not too deep?"""
        return not self.alone and self.depth <= DEEPEST and name not in self.seen

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """While what one of them leads to is looked at."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    async def at(self, house: House, partner: Partner, name: str) -> dict[str, Any] | None:
        """What is there under this name; None where it is gone. Far beyond the bounds; Refusal, Unknown, Down."""
        self.seen.add(name)
        return await self.bounded(missing.now(house, partner, name))

    async def bounded(self, reading: Coroutine[Any, Any, dict[str, Any] | None]) -> dict[str, Any] | None:
        """One more reading. Far beyond the bounds."""
        if self.read >= MOST:
            reading.close()
            raise Far(f"it leads to more than {MOST} others that are not here")
        self.read += 1
        try:
            async with asyncio.timeout_at(self.until):
                return await reading
        except TimeoutError:
            raise Far(f"what it leads to cannot be read in {SECONDS:.0f} seconds") from None
