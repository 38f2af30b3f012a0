"""`sync status, run, recalls`."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from rich.console import Console

from ..remote.client import Down, Locked, Unknown
from ..settings import Refused, load
from ..sync import worker
from ..sync.partner import Partner
from ..wiring import Wired, wired, worker_name

console = Console(stderr=True)


def line(item: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(item) + b"\n")
    else:
        print(text)
    sys.stdout.flush()


def partners(w: Wired) -> list[Partner]:
    if not w.partners:
        raise Refused("There is no remote: set GATEWAY_REMOTE_URL and GATEWAY_REMOTE_ORGANISATION.")
    return w.partners


async def status(as_json: bool) -> int:
    async with wired(load()) as w:
        for partner in partners(w):
            s = await worker.status(w.house, partner)
            state = "in step" if s["quiet"] else f"{s['queued']} to send, {s['lag_s']} s behind"
            more = f"{s['withheld']} withheld, {s['parked']} parked, {s['conflicts']} conflicts, {s['recalls_open']} recalls open"
            line(s, as_json, f"{s['remote']}: {state}; {more}")
    return 0


async def run(once: bool, dry_run: bool, as_json: bool) -> int:
    """One round until nothing moves. 0 only when every remote is in step."""
    async with wired(load()) as w:
        if dry_run:
            return await preview(w, as_json)
        if not once:
            import asyncio

            await worker.run(w.house, partners(w), worker_name(), asyncio.Event())
        good = True
        for partner in partners(w):
            with console.status(f"In step with {partner.name} ..."):
                try:
                    tally = await worker.once(w.house, partner, worker_name())
                except (Down, Unknown, Locked) as e:
                    print(f"fhir-gateway: {partner.name} {e}", file=sys.stderr)
                    good = False
                    continue
            s = await worker.status(w.house, partner)
            good = good and s["quiet"]
            item = {"remote": partner.name, **{n: getattr(tally, n) for n in tally.__dataclass_fields__}, "quiet": s["quiet"]}
            line(item, as_json, f"{partner.name}: {tally.sent} sent, {tally.pulled} taken in, {tally.withheld} withheld, {tally.recalled} taken back")
    return 0 if good else 1


async def preview(w: Wired, as_json: bool) -> int:
    """What is queued and whether consent would let it go now; nothing is sent."""
    for partner in partners(w):
        async for item in worker.preview(w.house, partner):
            line(item, as_json, f"{item['ref']}: {item['would']} ({item['why']})")
    return 0


async def recalls(as_json: bool) -> int:
    """The ledger of what was taken back, and what still has to be."""
    async with wired(load()) as w:
        for partner in partners(w):
            for item in await worker.ledger(w.house, partner):
                text = "still to be taken back" if item["open"] else f"sent {item['sent']:%Y-%m-%d %H:%M}, taken back {item['recalled']:%Y-%m-%d %H:%M}"
                line(item, as_json, f"{item['ref']}: {text}")
    return 0
