"""What one round of sync did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """What one round did."""

    sent: int = 0
    withheld: int = 0
    recalled: int = 0
    parked: int = 0
    delayed: int = 0
    pulled: int = 0
    refused: int = 0
    conflicts: int = 0
    seen: int = 0  # outbox entries looked at

    def add(self, other: Tally) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def anything(self) -> bool:
        return any(getattr(self, n) for n in self.__dataclass_fields__)
