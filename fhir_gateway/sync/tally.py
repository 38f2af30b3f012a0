"""What one round of sync did, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """What one round did, or several. `ignored` are changes there that are none of ours, by reason: nothing follows from them. What was
    refused may be tried in every round, and is one thing."""

    sent: int = 0
    withheld: int = 0
    recalled: int = 0
    parked: int = 0
    delayed: int = 0
    pulled: int = 0
    turned_away: set[str] = field(default_factory=set)  # their `Type/id`: what was refused
    conflicts: int = 0
    seen: int = 0  # outbox entries looked at
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, mine | theirs if isinstance(mine, set) else mine + theirs)

    @property
    def refused(self) -> int:
        return len(self.turned_away)

    def figures(self) -> dict[str, Any]:
        """Every number by its name."""
        named = ("refused" if n == "turned_away" else n for n in self.__dataclass_fields__)
        return {n: getattr(self, n) for n in named}

    @property
    def asked(self) -> bool:
        """Did the server answer something: not only reviews, or what was held back."""
        return bool(self.sent or self.recalled or self.parked or self.conflicts)

    @property
    def anything(self) -> bool:
        return any(getattr(self, n) for n in self.__dataclass_fields__ if n != "ignored")


def ignored(why: str) -> Tally:
    return Tally(ignored=Counter([why]))
