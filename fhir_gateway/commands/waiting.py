"""`sync conflicts, resolve, retry`: what waits for a person."""

from __future__ import annotations

import sys
from pathlib import Path

from ..domain import strict
from ..settings import Refused, load
from ..sync import waiting
from ..wiring import wired
from .syncing import line, partners


async def conflicts(as_json: bool) -> int:
    async with wired(load()) as w:
        for partner in partners(w):
            for c in await waiting.conflicts(w.house, partner):
                if as_json:
                    sys.stdout.buffer.write(strict.dump(c) + b"\n")
                else:
                    what = "deleted there, not here" if c["theirs"] is None else f"both changed {', '.join(c['paths'])}"
                    print(f"{c['id']}: {c['ref']} at {partner.name}, {what}")
    return 0


async def resolve(id: str, how: str, file: Path | None) -> int:
    """Settle one conflict as an operator: ours, theirs, or a merged resource from a file."""
    if how not in ("ours", "theirs", "merged") or (how == "merged") != (file is not None):
        raise Refused("Say `resolve ID ours`, `resolve ID theirs`, or `resolve ID merged FILE`.")
    async with wired(load()) as w:
        for partner in partners(w):
            for c in await waiting.conflicts(w.house, partner):
                if c["id"] != id:
                    continue
                body = c["theirs"] if how == "theirs" else strict.read(file.read_bytes()) if file else None
                ref = await waiting.resolve(w.house, partner, c, body, delete=how == "theirs" and body is None)
                print(f"{ref}: {how}")
                return 0
    raise Refused(f"There is no conflict `{id}`.")


async def retry(as_json: bool) -> int:
    async with wired(load()) as w:
        for partner in partners(w):
            n = await waiting.retry(w.house, partner)
            line({"remote": partner.name, "queued": n}, as_json, f"{partner.name}: {n} queued again")
    return 0
