"""Do commits fail now? Said once when it begins and once when it is over.

A full disk still takes a small write now and then, as the probe of /health is: so one that goes does not end it, only time without
one that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from .base import TooBig, TooLong, Unavailable

WHILE: Final = timedelta(seconds=10)  # so long after the last commit that failed it counts as going on


class Trouble:
    """`said` hears why it began, and None when it is over."""

    def __init__(self, clock: Callable[[], datetime], said: Callable[[str | None], None]) -> None:
        self._clock, self._said = clock, said
        self._last: datetime | None = None

    @property
    def now(self) -> bool:
        return self._last is not None and self._clock() < self._last + WHILE

    def failed(self, wrong: Unavailable) -> None:
        """What one request asked too much of is its own trouble."""
        if isinstance(wrong, (TooLong, TooBig)):
            return
        first, self._last = self._last is None, self._clock()
        if first:
            self._said(str(wrong))

    def went(self) -> None:
        if self._last is not None and not self.now:
            self._last = None
            self._said(None)
