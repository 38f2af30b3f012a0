"""What a store promises, whatever the engine. The conformance suite in `tests/stores/` is this page as tests.

1. `commit(*ops)` is all or nothing and durable when it returns.
2. A Put or Remove names the version it replaces; a stale one raises `Stale` and changes nothing.
3. Read your own writes; a read never sees half a commit.
4. `search` applies the consent predicate before counting, sorting and limiting.
5. Leases are fenced; clocks may jump.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from ..domain.sealing import Segment, TrailRow
from ..domain.search import Query
from ..domain.types import Disclosed, Found, Linked, Note, Op, Predicate, Queued, Ref, Stored, Views


class StoreError(Exception):
    """A commit that changed nothing."""


class Stale(StoreError):
    """`if_version` is not the current version of `ref`."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(str(ref))
        self.ref = ref


class Taken(StoreError):
    """A named value is there already (`if_absent`), gone (`must_exist`) or another (`if_value`); or a copy is linked with something else."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key}")
        self.kind, self.key = kind, key


class Moved(StoreError):
    """An epoch, or a link, moved between the decision and the commit: decide again."""


class Fenced(StoreError):
    """The lease on this outbox entry is somebody else's now."""


class Unavailable(StoreError):
    """The engine cannot answer now (locked, disk full, no primary). The caller answers 503."""


class TooLong(Unavailable):
    """A question was worked on for as long as one may be, and given up. The caller answers 503 and says how to ask for less."""


class TooBig(Unavailable):
    """This engine cannot keep a record of that size, and never will. The caller answers 413."""


class Unsettled(Unavailable):
    """The engine did not say whether the commit was made: all of it or nothing was. The caller answers 503 and says so."""


AT_A_TIME: Final = 50  # kept values that are fetched at once


class Store(Protocol):
    @property
    def largest_link(self) -> int:
        """Bytes of both states of a copy, as sent and as received, that it writes down in one link: more may be TooBig."""
        ...

    async def commit(self, *ops: Op) -> None: ...

    async def get(self, ref: Ref) -> Stored | None:
        """The current version, deleted ones included (`Stored.deleted`); None if it never was."""
        ...

    async def get_many(self, refs: Sequence[Ref]) -> dict[Ref, Stored]: ...

    async def version(self, ref: Ref, version: int) -> Stored | None: ...

    async def history(
        self, ref: Ref | None, type: str | None, predicate: Predicate, *, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50, oldest_first: bool = False,
    ) -> Found:  # fmt: skip
        """Versions newest first (or `oldest_first`), of one resource, one type or all, keyset-paged by (updated, type, id, version)."""
        ...

    async def search(
        self, query: Query, predicate: Predicate, *, filtered: Predicate | Views, count: int, after: tuple[Any, ...] | None = None,
        total: bool = False,
    ) -> Found:  # fmt: skip
        """Resources matching `query` among those `predicate` lets this reader see.

        `filtered` says for which of them this reader gets the view (or, by `Views`, less): keys that it hides do not match there.
        Also used for chains and `_has` inside `query`: every hop is under `predicate`. `Found.extra["beyond"]`, where the
        engine has it at hand, is whom the first hit of the next page speaks of.
        """
        ...

    async def patient_record(self, patient: str, types: Sequence[str]) -> list[Stored]:
        """Current, not deleted resources of these types in this person's compartment (for consents, relationships)."""
        ...

    async def patient_versions(self, patient: str, types: Sequence[str]) -> list[Stored]:
        """Every version, deletions included, of the resources of these types whose first patient is this person."""
        ...

    async def directory(self, types: Sequence[str]) -> list[Stored]:
        """Current resources of types that are no patient data (Organization, PractitionerRole, …)."""
        ...

    async def concerned(self, ids: Collection[str]) -> set[str]:
        """People (`Patient/…`) whose Consents, CareTeams, Tasks, ServiceRequests or Patient name one of `ids` (`Facts.refs`;
        `*` stands for a consent open to anyone), or who have a resource that one of `ids` wrote (`Facts.authors`)."""
        ...

    async def epoch(self, subject: str) -> int: ...

    async def referrers(self, target: Ref) -> list[Ref]:
        """Who refers to this, one hop."""
        ...

    async def notes(
        self, *, patient: str | None = None, user: str | None = None, since: datetime | None = None,
        before: tuple[Any, ...] | None = None, count: int = 50,
    ) -> list[Note]:  # fmt: skip
        """Audit rows, newest first."""
        ...

    async def note(self, id: str) -> Note | None:
        """One audit row."""
        ...

    # the trail, sealed: rows are plain inserts, and later belong to a segment
    async def unsealed(self, count: int) -> list[TrailRow]:
        """Rows that are in no segment yet, whoever wrote them, in an order in which they may be sealed."""
        ...

    async def waiting(self) -> int:
        """How many rows are in no segment yet."""
        ...

    async def seal(self, segment: Segment, rows: Sequence[TrailRow]) -> None:
        """Keep this segment, and that these rows of `unsealed` are it: all or nothing. Taken when somebody else was quicker."""
        ...

    async def segments(self, after: int = 0, count: int = 100) -> list[Segment]:
        """Sealed segments in order, after this number."""
        ...

    async def segment_rows(self, number: int) -> list[TrailRow]:
        """The rows that are in this segment now."""
        ...

    async def rows_of(self, patient: str) -> list[tuple[int | None, TrailRow]]:
        """A person's rows, each with the number of its segment (None: in none yet), oldest first."""
        ...

    async def strays(self) -> list[TrailRow]:
        """Rows that are in no segment and do not wait for one: nobody of us wrote them."""
        ...

    async def kept(self, kind: str, key: str, at: datetime) -> bytes | None:
        """A named value, unless it has ended at `at`."""
        ...

    async def kept_all(self, kind: str, at: datetime, prefix: str = "") -> dict[str, bytes]: ...

    def kept_each(self, kind: str, at: datetime, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """The same one by one, of what may be more than there is memory for: a few are fetched at a time, and others get their turn between."""
        ...

    async def kept_count(self, kind: str, at: datetime, prefix: str = "") -> int:
        """How many values of this kind there are, of keys that begin so, without fetching them."""
        ...

    # sync
    async def lease(self, remote: str, holder: str, at: datetime, seconds: float, count: int, reviews: bool = False) -> list[Queued]:
        """Due outbox entries, reviews and recalls first, then oldest first, one running entry per patient; fenced. `reviews`: these alone."""
        ...

    async def outbox(self, remote: str | None = None) -> dict[str, int]:
        """How many entries stand in each state."""
        ...

    async def outbox_unfinished(self, remote: str) -> dict[tuple[str, str], tuple[int, datetime]]:
        """Of what is queued, leased or parked, by state and reason: how many entries, and when the oldest was queued."""
        ...

    async def outbox_items(self, remote: str, state: str, count: int = 100, *, patient: str | None = None, why: str | None = None) -> list[dict[str, Any]]:
        """Entries in this state, oldest first; with `patient` only those of this person (`Patient/…`), with `why` only those. Of what is leased `holder` and `until`."""
        ...

    async def outbox_open(self, remote: str, refs: Sequence[Ref]) -> set[Ref]:
        """Which of these are queued for this remote, or being sent. A review bears a person's name and sends nothing of theirs."""
        ...

    async def requeue(
        self, remote: str, state: str, at: datetime, refs: Sequence[Ref] | None = None, *, into: str = "queued"
    ) -> int:
        """Queue parked, skipped or withheld entries again, or close parked ones as skipped (`into`); how many."""
        ...

    async def link(self, remote: str, ref: Ref) -> Linked | None: ...

    async def link_by_remote(self, remote: str, remote_id: str) -> Linked | None:
        """`remote_id` is `Type/id` at the remote. The live link, else the newest of those that are gone."""
        ...

    async def links(self, remote: str, after: Ref | None = None, count: int = 500) -> list[Linked]:
        """Every link to this remote, `gone` ones too, in a fixed order, after this one."""
        ...

    async def ledger(self, *, patient: str | None = None, remote: str | None = None, ref: Ref | None = None, open_only: bool = False) -> list[Disclosed]: ...

    async def counts(self) -> dict[str, int]:
        """Current resources per type (for the operator; never shown to a reader)."""
        ...

    async def scrub(self) -> bool:
        """Overwrite on disk what was disposed of; whether that is certain."""
        ...

    async def check(self) -> None:
        """Raise `Unavailable` unless the store answers."""
        ...

    async def close(self) -> None: ...
