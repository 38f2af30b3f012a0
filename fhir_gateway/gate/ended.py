"""A recall that an operator has ended: we could not see to it ourselves, and they say there that the copy is gone. docs/sync.md

The ledger's row stays open, for we did not take it back; nobody asks for it any more. It says nothing of what goes there later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from ..domain.types import Disclosed, Ref
from .context import House

KIND: Final = "recall-ended"  # kept: by `<remote> <Type/id>`


class Ended(msgspec.Struct, frozen=True):
    """`why` is what the operator said, which the person reads; `entry` the outbox entry that was closed, `etag` of the copy as it was known."""

    at: datetime
    why: str
    patient: str | None
    entry: int
    etag: str


async def ended(house: House, remote: str, ref: Ref, rows: Iterable[Disclosed]) -> Ended | None:
    """What was said of this copy, by the open `rows` of the ledger; None where nothing was, where something went there since, or where it
    showed itself there again. What began there is theirs, and changes as they like: that says nothing of what was ours in it."""
    raw = await house.store.kept(KIND, f"{remote} {ref}", house.clock())
    if raw is None:
        return None
    said = msgspec.json.decode(raw, type=Ended)
    link = await house.store.link(remote, ref)
    again = link is not None and not link.gone and not link.began_there and link.etag != said.etag
    if again or any(d.ref == ref and d.at > said.at for d in rows):
        return None
    return said


async def to_ask_for(house: House, rows: Sequence[Disclosed]) -> list[Disclosed]:
    """Of open rows of the ledger those whose recall nobody has ended."""
    marked = (await house.store.kept_all(KIND, house.clock())).keys()
    return [d for d in rows if f"{d.remote} {d.ref}" not in marked or await ended(house, d.remote, d.ref, rows) is None]


__all__ = ["KIND", "Ended", "ended", "to_ask_for"]
