"""`tell status, retry`."""

from __future__ import annotations

from ..gate.telling import DIRECTORY, QUEUES
from ..settings import load
from ..tell import worker
from ..wiring import wired
from .syncing import line


async def status(as_json: bool) -> int:
    """1 when something is parked and waits for an operator."""
    parked = 0
    async with wired(load()) as w:
        for s in await worker.status(w.house, w.channels):
            parked += s["parked"]
            why = "".join(f"; {n} parked: {trouble}" for trouble, n in s["troubles"].items())
            became = f"{s['sent']} told, {s['shown']} only on a page, {s['withheld']} to nobody, {s['parked']} parked{why}"
            looked = f"{s['sent']} changes of the directory looked at"
            line(s, as_json, f"{s['queue']}: {s['queued']} waiting, {looked if s['queue'] == DIRECTORY else became}")
    return 1 if parked else 0


async def retry(as_json: bool) -> int:
    async with wired(load()) as w:
        for queue in QUEUES:
            n = await worker.retry(w.house, queue)
            line({"queue": queue, "queued": n}, as_json, f"{queue}: {n} queued again")
    return 0
