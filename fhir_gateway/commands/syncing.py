"""`sync status, run, conflicts, resolve, retry, recalls`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from .. import gate
from ..domain import strict
from ..domain.types import Drop, Ref
from ..remote.client import Down, Locked, Unknown
from ..settings import Refused, load
from ..sync import worker
from ..sync.partner import Partner, as_owner, began_there
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
    from ..gate.context import ask_stored

    for partner in partners(w):
        ctx = await as_owner(w.house, partner, "disclose")
        for item in await w.store.outbox_items(partner.name, "queued", 10_000):
            stored = await w.store.get(Ref(*item["ref"].split("/")))
            link = await w.store.link(partner.name, Ref(*item["ref"].split("/")))
            if item["why"] == "review" or stored is None or (began_there(link) and link is not None and link.version == stored.version):
                continue
            decision = await ask_stored(ctx, "disclose", stored)
            answer = "send" if decision.permit else "withhold"
            line({"remote": partner.name, "ref": item["ref"], "would": answer, "why": decision.basis}, as_json, f"{item['ref']}: {answer} ({decision.basis})")
    return 0


async def conflicts(as_json: bool) -> int:
    async with wired(load()) as w:
        for partner in partners(w):
            for c in await worker.conflicts(w.house, partner):
                if as_json:
                    sys.stdout.buffer.write(strict.dump(c) + b"\n")
                else:
                    print(f"{c['id']}: {c['ref']} at {partner.name}, both changed {', '.join(c['paths'])}")
    return 0


async def resolve(id: str, how: str, file: Path | None) -> int:
    """Settle one conflict as an operator: ours, theirs, or a merged resource from a file."""
    if how not in ("ours", "theirs", "merged") or (how == "merged") != (file is not None):
        raise Refused("Say `resolve ID ours`, `resolve ID theirs`, or `resolve ID merged FILE`.")
    async with wired(load()) as w:
        for partner in partners(w):
            for c in await worker.conflicts(w.house, partner):
                if c["id"] != id:
                    continue
                ref = Ref(*c["ref"].split("/"))
                ctx = await as_owner(w.house, partner, "access")
                if how != "ours":
                    body = c["theirs"] if how == "theirs" else strict.read(file.read_bytes()) if file else {}
                    stored = await w.store.get(ref)
                    await gate.update(ctx, ref, strict.dump(body), if_match=stored.version if stored else None)
                await w.store.commit(Drop("conflict", f"{partner.name} {ref}"))
                print(f"{ref}: {how}")
                return 0
    raise Refused(f"There is no conflict `{id}`.")


async def retry(as_json: bool) -> int:
    async with wired(load()) as w:
        for partner in partners(w):
            n = await worker.retry(w.house, partner)
            line({"remote": partner.name, "queued": n}, as_json, f"{partner.name}: {n} queued again")
    return 0


async def recalls(as_json: bool) -> int:
    """The ledger of what was taken back, and what still has to be."""
    async with wired(load()) as w:
        for partner in partners(w):
            for d in await w.store.ledger(remote=partner.name):
                if d.recalled is not None:
                    item = {"remote": partner.name, "ref": str(d.ref), "sent": d.at, "recalled": d.recalled, "open": False}
                    line(item, as_json, f"{d.ref}: sent {d.at:%Y-%m-%d %H:%M}, taken back {d.recalled:%Y-%m-%d %H:%M}")
            for i in await w.store.outbox_items(partner.name, "queued", 10_000):
                if i["why"] == "recall":
                    item = {"remote": partner.name, "ref": i["ref"], "sent": None, "recalled": None, "open": True}
                    line(item, as_json, f"{i['ref']}: still to be taken back")
    return 0
