"""For whom a change is queued: every partner of these settings, and whoever another process, or an earlier one, served and these leave out."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from .context import House, Remote

MET: Final = "backfill"  # kept of each remote that a worker ever served, by its name: the types that were agreed on (`sync.backfill`)


async def addressed(house: House, at: datetime) -> list[Remote]:
    """The remotes of these settings, and those that this store knows besides: what waits for these goes once a worker has their settings.
    Of the latter nothing but name and types is known."""
    mine = {r.name for r in house.remotes}
    kept = await house.store.kept_all(MET, at)
    return [*house.remotes, *(Remote(name, "", types=_types(raw)) for name, raw in sorted(kept.items()) if name not in mine)]


def _types(raw: bytes) -> frozenset[str] | None:
    """Those that were agreed on last. None: all."""
    said = msgspec.json.decode(raw)
    types = said.get("types") if isinstance(said, dict) else None
    return None if types is None else frozenset(types)


__all__ = ["MET", "addressed"]
