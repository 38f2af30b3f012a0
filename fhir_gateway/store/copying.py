"""A store as plain rows, part by part, the same from every engine: what `fhir-gateway store copy` moves and compares.

Bytes are moved as they are; what an engine makes of them for its own use (indexes, who is tied to whom) is made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from ..domain.types import Key

Row = tuple[Any, ...]
BATCH: Final = 200

# In the order in which they are written; each with the columns of its rows.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "version": ("type", "id", "version", "patient", "updated", "created_by", "writer", "facts", "body", "view"),
    # keys: (name, text, system, exact, low, high, hidden), in order
    "resource": ("type", "id", "version", "patient", "updated", "created_by", "writer", "facts", "body", "view", "deleted", "keys"),
    "epoch": ("subject", "value"),
    "audit": ("at", "id", "patient", "user", "note"),  # segment by segment, then what is in none
    "segment": ("number", "rows", "head", "listed"),  # in order: each takes the next rows of the audit
    "kept": ("kind", "key", "value", "expires"),
    "outbox": (
        "entry", "remote", "lane", "type", "id", "version", "patient", "why", "state", "due", "queued_at", "tries", "fence", "holder",
        "taken", "until", "detail",
    ),
    "number": ("last",),  # of the outbox: never given twice
    "link": ("remote", "type", "id", "remote_id", "body"),  # oldest first
    "ledger": ("remote", "type", "id", "version", "at", "patient", "recalled", "body"),
}  # fmt: skip


class Rows(Protocol):
    """One store, opened for copying; nobody else writes to it meanwhile."""

    async def counts(self) -> dict[str, int]: ...

    def read(self, part: str) -> AsyncIterator[list[Row]]:
        """In batches."""
        ...

    async def write(self, part: str, rows: Sequence[Row]) -> None: ...

    async def begin(self) -> None:
        """Take the copy. Unavailable, in one sentence, when there is anything already. Until `finish` no gateway starts on it."""
        ...

    async def finish(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class Sum:
    """How many rows, and a hash of them in any order."""

    rows: int = 0
    _sum: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows += 1
            self._sum += int.from_bytes(hashlib.sha256(msgspec.msgpack.encode(row)).digest(), "big")

    @property
    def sha256(self) -> str:
        return f"{self._sum % 2**256:064x}"


async def summed(store: Rows, part: str) -> Sum:
    out = Sum()
    async for rows in store.read(part):
        out.add(rows)
    return out


def key_of(row: Sequence[Any]) -> Key:
    """Of no known kind: rows do not say it."""
    name, text, system, exact, low, high, hidden = row
    return Key(name, "", text, system, exact, low, high, int(hidden))


def plain(value: Any) -> Any:
    """Numbers of a driver's own kind as Python's."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
