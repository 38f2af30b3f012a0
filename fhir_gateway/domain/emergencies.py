"""An emergency access to one person's record: what is kept of it, and what is said by whoever begins or reviews one (consent.md 1.8).

Reasons and words are plain text; nothing else here comes from a person's record.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from .problem import Problem
from .types import BreakGlass

EMERGENCY: Final = "emergency"  # what they are kept as, by `Patient/… id`
LASTS: Final = timedelta(hours=2)
FRESH: Final = timedelta(minutes=5)  # since the person last proved who they are
LONGEST_REASON: Final = 500  # characters
LONGEST_REVIEW: Final = 2_000
GROUNDS: Final = frozenset({"incapacity-vital-interest", "public-interest", "express-permission"})
OUTCOMES: Final = ("justified", "not-justified")


class Review(msgspec.Struct, frozen=True):
    """What a privacy officer found."""

    by: str
    name: str
    at: datetime
    outcome: Literal["justified", "not-justified"]
    words: str


class Emergency(msgspec.Struct, frozen=True):
    """One emergency access, for good: it counts until `until`, unless `ended` says that it was over earlier."""

    id: str
    patient: str  # Patient/…
    user: str  # Practitioner/…
    name: str
    organisation: str | None
    reason: str
    ground: str
    at: datetime
    until: datetime
    ended: datetime | None = None
    reviews: tuple[Review, ...] = ()

    @property
    def open(self) -> BreakGlass:
        """As a decision knows it."""
        return BreakGlass(self.reason, self.ground, self.until, self.user, self.organisation, self.id)

    def is_live(self, at: datetime) -> bool:
        return self.ended is None and at <= self.until


def plain_words(text: object, where: str, longest: int = LONGEST_REASON) -> str:
    """What somebody typed, as plain text without surrounding space. Problem invalid when there is none, too much, or it is no text."""
    if not isinstance(text, str) or not text.strip():
        raise Problem("invalid", f"Say why, in words, in `{where}`.", where)
    said = "\n".join(" ".join(line.split()) for line in text.strip().splitlines())
    if len(said) > longest:
        raise Problem("invalid", f"`{where}` may have {longest} characters; this has {len(said)}.", where)
    if any(unicodedata.category(c) in ("Cc", "Cs", "Co") and c != "\n" for c in said):
        raise Problem("invalid", f"`{where}` must be plain text.", where)
    if not any(c.isalnum() for c in said):
        raise Problem("invalid", f"Say why, in words, in `{where}`.", where)
    return said


def known_ground(ground: object) -> str:
    """One of the three grounds. Problem invalid for anything else."""
    if not isinstance(ground, str) or ground not in GROUNDS:
        raise Problem("invalid", f"`ground` is one of {', '.join(sorted(GROUNDS))}.", "ground")
    return ground
