"""The worker: pushes and pulls at its own pace, never inside a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog

from .. import gate
from ..domain.types import Ref
from ..gate import House
from ..remote.client import Down, Locked, Unknown
from . import attempts, reading_back
from .backfill import backfill
from .partner import Partner, as_owner, began_there
from .pull import pull
from .push import push
from .tally import Tally
from .turning import turned

log = structlog.get_logger()
IDLE_SECONDS = 0.25
PAUSE_SECONDS = (1.0, 60.0)


async def once(house: House, partner: Partner, holder: str = "once", *, most: int = 1_000) -> Tally:
    """Rounds until nothing moves any more (or `most` rounds). Raises Down or Locked when the server does not answer."""
    total = Tally()
    partner.paused = ""
    if partner.terms.direction != "in":
        await backfill(house, partner)
    for _ in range(most):
        tally = Tally()
        if partner.terms.direction != "in":
            await turned(house, partner)
            tally.add(await push(house, partner, holder))
        tally.add(await pull(house, partner))
        total.add(tally)
        if not tally.anything or (tally.delayed and tally.seen == tally.delayed):
            break
    return total


async def run(house: House, partners: Sequence[Partner], holder: str, stop: asyncio.Event) -> None:
    """Serve every partner until `stop`."""
    await asyncio.gather(*(serve(house, p, holder, stop) for p in partners))


async def serve(house: House, partner: Partner, holder: str, stop: asyncio.Event) -> None:
    """Push as soon as something is due, pull every `poll_seconds`; pause with growing waits while the server is away."""
    loop = asyncio.get_running_loop()
    next_pull, pause, filled = 0.0, PAUSE_SECONDS[0], False
    while not stop.is_set():
        wait = IDLE_SECONDS
        try:
            moved = False
            if partner.terms.direction != "in":
                if not filled:
                    await backfill(house, partner)
                    filled = True
                await turned(house, partner)
                moved = (await push(house, partner, holder)).anything
            if loop.time() >= next_pull:
                moved = (await pull(house, partner)).anything or moved
                next_pull = loop.time() + partner.poll_seconds
            partner.paused, pause = "", PAUSE_SECONDS[0]
            wait = 0.0 if moved else IDLE_SECONDS
        except (Down, Unknown, Locked) as e:
            partner.paused = str(e)
            log.warning("remote-away", remote=partner.name, kind=type(e).__name__, why=str(e), pause_s=pause)
            wait, pause = pause, min(pause * 2, PAUSE_SECONDS[1])
        except Exception:
            log.exception("sync-failed", remote=partner.name)
            wait, pause = pause, min(pause * 2, PAUSE_SECONDS[1])
        await _sleep(stop, wait)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass


# -- what an operator sees ----------------------------------------------------------------------------------------------


async def status(house: House, partner: Partner) -> dict[str, Any]:
    """`{remote, lag_s, queued, withheld, parked, conflicts, quarantined, recalls_open, dropped, paused, quiet}`"""
    states = await house.store.outbox(partner.name)
    due = await house.store.outbox_items(partner.name, "queued", 1)
    recalls = {i["ref"] for i in await house.store.outbox_items(partner.name, "queued", 10_000) if i["why"] == "recall"}
    under_way = await attempts.open_of(house, partner)
    recalls |= {str(ref) for ref, a in under_way.items() if a.recall or not await _may_be_there(house, partner, ref)}
    conflicts = await house.store.kept_all("conflict", house.clock(), f"{partner.name} ")
    quarantined = await house.store.kept_all("quarantine", house.clock(), f"{partner.name} ")
    queued = states.get("queued", 0) + states.get("leased", 0)
    lag = max(0.0, (house.clock() - due[0]["queued_at"]).total_seconds()) if due else 0.0
    return {
        "remote": partner.name,
        "lag_s": round(lag, 1),
        "queued": queued,
        "withheld": states.get("withheld", 0),
        "parked": states.get("parked", 0),
        "conflicts": len(conflicts),
        "quarantined": len(quarantined),
        "recalls_open": len(recalls),
        "dropped": len(await house.store.kept_all(reading_back.KIND, house.clock(), f"{partner.name} ")),
        "paused": partner.paused,
        "quiet": queued == 0 and not under_way,
    }


async def _may_be_there(house: House, partner: Partner, ref: Ref) -> bool:
    stored = await house.store.get(ref)
    if stored is None or stored.deleted:
        return False
    return (await gate.may_send(await as_owner(house, partner, "disclose"), partner.terms, stored)).permit


async def preview(house: House, partner: Partner) -> AsyncIterator[dict[str, Any]]:
    """`{remote, ref, would, why}` of everything queued, by the question asked at the moment of sending. Nothing is sent."""
    ctx = await as_owner(house, partner, "disclose")
    for item in await house.store.outbox_items(partner.name, "queued", 10_000):
        ref = Ref(*item["ref"].split("/"))
        stored, link = await house.store.get(ref), await house.store.link(partner.name, ref)
        if item["why"] == "review" or stored is None or (began_there(link) and link is not None and link.version == stored.version):
            continue
        decision = await gate.may_send(ctx, partner.terms, stored)
        yield {
            "remote": partner.name, "ref": item["ref"], "would": "send" if decision.permit else "withhold",
            "why": f"{decision.basis}: {decision.rule}" if decision.rule else decision.basis,
        }  # fmt: skip


async def ledger(house: House, partner: Partner) -> list[dict[str, Any]]:
    """`{remote, ref, sent, recalled, open}`: what was sent and taken back, then what is still to be taken back."""
    done = [
        {"remote": partner.name, "ref": str(d.ref), "sent": d.at, "recalled": d.recalled, "open": False}
        for d in await house.store.ledger(remote=partner.name)
        if d.recalled is not None
    ]
    waiting = await house.store.outbox_items(partner.name, "queued", 10_000)
    return done + [
        {"remote": partner.name, "ref": i["ref"], "sent": None, "recalled": None, "open": True} for i in waiting if i["why"] == "recall"
    ]
