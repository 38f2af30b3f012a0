"""What the gate hands back: of a read, a page, a write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..domain.problem import Issue
from ..domain.types import Ref


@dataclass(frozen=True, slots=True)
class Answer:
    """One resource as this reader may have it: JSON bytes (the stored bytes, or the filtered view)."""

    ref: Ref
    version: int
    updated: datetime
    body: bytes
    filtered: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One Bundle entry: `mode` is match, include or outcome; history entries carry `method` and may have no body."""

    ref: Ref
    version: int
    updated: datetime
    body: bytes | None
    mode: str = "match"
    method: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a search, a history or `$everything` found. `next` is an opaque signed token, None on the last page."""

    entries: tuple[Entry, ...]
    total: int | None = None
    next: str | None = None
    used: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: `created`, `updated`, `unchanged` (content equal: no new version), `deleted`, `matched` (conditional create), `drafted` (a volunteer's,
    which waits for the person).

    `shown` is False where the writer may not read what they hit upon: they are told its place, and no version, which would count
    what others do (leak list L21, L45).
    """

    ref: Ref
    version: int
    updated: datetime
    body: bytes | None
    did: str = "updated"
    shown: bool = True
    issues: tuple[Issue, ...] = ()  # what may surprise about it, that is not to be seen in it
    draft: Ref | None = None  # `drafted`: the Task that says that this waits for the person
