"""A message that waits in the inbox, sent again as its sender: as it came, or corrected by an operator."""

from __future__ import annotations

from typing import Any

from ..domain import er7, strict
from ..domain.problem import Problem
from ..domain.types import Drop
from .committing import settle
from .context import Context, note
from .messaging import FORMAT, hear
from .pushing import push


async def replay(sender: Context, key: str, raw: bytes | None = None) -> int:
    """How many entries were dealt with. It leaves the inbox when it is written, and stays what it is, with the new outcome, when it is
    refused again."""
    kept = await sender.house.store.kept("inbox", key, sender.at)
    if kept is None:
        raise Problem("not-found", "There is no such message in the inbox.")
    item: dict[str, Any] = strict.decode(kept)
    if item.get("format") == FORMAT:
        charset = str(item.get("charset", "utf-8"))
        await hear(sender, er7.read(raw if raw is not None else item["body"].encode(charset)), waits_as=key)
        entries = 1
    else:
        entries = len((await push(sender, raw if raw is not None else item["body"].encode(), waits_as=key)).get("entry", ()))
    await settle(sender, Drop("inbox", key), note(sender, "E", "transaction", None, allowed=True, detail="replayed from the inbox"))
    return entries


__all__ = ["replay"]
