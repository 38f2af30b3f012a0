"""`sync status, run, resend, moved, recalls`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import gate
from ..domain.problem import Problem
from ..gate import waiting_room
from ..remote.client import Down, Locked, Unknown
from ..settings import Refused, load
from ..sync import foreseeing, moved, moving, resending, worker
from ..sync.partner import Partner
from ..sync.tally import Tally
from ..wiring import Wired, operator, wired, worker_name
from . import saying

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


def named(w: Wired, name: str) -> Partner:
    partner = next((p for p in partners(w) if p.name == name), None)
    if partner is None:
        raise Refused(f"There is no remote `{name}`: there is {', '.join(p.name for p in w.partners)}.")
    return partner


async def status(as_json: bool) -> int:
    """Of each partner, and of whoever is in these settings no more and has something that waits."""
    async with wired(load()) as w:
        strangers = await waiting_room.not_configured(operator(w))
        for partner in w.partners if strangers else partners(w):
            s = await worker.status(w.house, partner)
            line(s, as_json, "\n".join(saying.lines(s)))
        for n in strangers:
            line({"configured": False, "quiet": False, "in_step": False, **n}, as_json, f"{n['remote']}: not in step; {saying.not_configured(n)}")
    return 0


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Set by SIGTERM or SIGINT: what is under way is finished. The second of them ends it at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def once(s: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(s)

    for s in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(s, once, s)
    try:
        yield stop
    finally:
        for s in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(s)


async def run(once: bool, dry_run: bool, as_json: bool, *, sweep: bool = False) -> int:
    """Until SIGTERM or SIGINT; with `once` until nothing moves, and 0 only when every remote is in step."""
    if sweep and not once:
        raise Refused("--sweep goes with --once.")
    async with wired(load()) as w:
        if dry_run:
            return await preview(w, as_json)
        with stopping() as stop:
            if not once:
                await worker.run(w.house, partners(w), worker_name(), stop)
                return 0
            good = [await _once(w, partner, stop, as_json, sweep) for partner in partners(w)]
            if stop.is_set():
                print("fhir-gateway: stopped; run it again to go on.", file=sys.stderr)
    return 0 if all(good) and not stop.is_set() else 1


async def _once(w: Wired, partner: Partner, stop: asyncio.Event, as_json: bool, sweep: bool) -> bool:
    """One remote until nothing moves; whether it is in step."""
    if stop.is_set():
        return False
    try:
        with bar(partner.name) as told:
            tally = await worker.swept(w.house, partner) if sweep else Tally()
            tally.add(await worker.once(w.house, partner, worker_name(), stopped=stop.is_set, told=told))
    except saying.WRONG as e:
        print(f"fhir-gateway: {saying.unreachable(partner, e)}", file=sys.stderr)
        return False
    s = await worker.status(w.house, partner)
    item = {"remote": partner.name, **tally.figures(), "missing": s["missing"], "quiet": s["quiet"], "in_step": s["in_step"]}
    waiting = "" if s["quiet"] else f"; {s['queued']} still to send, {s['recalls_open']} still to be taken back"
    did = f"{partner.name}: {tally.sent} sent, {tally.pulled} taken in, {tally.withheld} withheld, {tally.recalled} taken back{left(tally)}{waiting}"
    line(item, as_json, "\n".join([did, *saying.to_do(s)]))
    return bool(s["in_step"])


@contextmanager
def bar(name: str) -> Iterator[worker.Told]:
    """A bar on stderr, where that is a terminal: what was done of what is known to be to do, or that nobody knows how much that is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)

        def told(tally: Tally, left: int | None) -> None:
            done = tally.seen + tally.pulled
            progress.tasks[0].total = done + left if left is not None else None  # `update` takes None for "as it was"
            progress.update(task, completed=done, description=f"{name}: {tally.sent} sent, {tally.pulled} taken in")

        yield told


def left(tally: Tally) -> str:
    """What needs somebody, and what was there and is none of ours."""
    counted = ((tally.parked, "parked"), (tally.conflicts, "in conflict"), (tally.refused, "refused"))
    refused = [f", {n} {what}" for n, what in counted if n]
    return "".join([*refused, *(f", {n} ignored ({why})" for why, n in sorted(tally.ignored.items()))])


async def preview(w: Wired, as_json: bool) -> int:
    """What is queued, and whether consent would let it go now; what has changed there, and what would become of it. Nothing is written.
    1 when a partner cannot be asked: what is known of it, and the others, are shown all the same."""
    code = 0
    for partner in partners(w):
        if not await gate.owner_known(w.house, partner.terms):
            print(f"fhir-gateway: {partner.name}: {saying.NOBODY}", file=sys.stderr)
        try:
            await moved.stand(w.house, partner, keep=False)
            for foreseen in (worker.preview(w.house, partner), foreseeing.preview(w.house, partner)):
                async for item in foreseen:
                    whom = f", for {item['for']}" if item.get("for") else ""
                    line(item, as_json, f"{partner.name}: {item['ref']}: {item['would']}{whom} ({saying.why(item)})")
        except (Down, Unknown, Locked) as e:
            print(f"fhir-gateway: {saying.unreachable(partner, e)}", file=sys.stderr)
            code = 1
    return code


async def resend(name: str, why: str, as_json: bool) -> int:
    """Have what a partner lost sent again. 0 when all of it is queued."""
    async with wired(load()) as w:
        partner = named(w, name)
        with stopping() as stop:
            try:
                did = await resending.resend(w.house, partner, operator(w), why, stop.is_set)
            except Problem as p:
                raise Refused(p.text) from None
            except saying.WRONG as e:
                raise Refused(f"{saying.unreachable(partner, e)} `fhir-gateway sync resend {name}` goes on where it was.") from None
    item = {"remote": name, "looked": did.looked, "queued": did.queued, "theirs": [str(r) for r in did.theirs], "done": did.done}
    line(item, as_json, "\n".join(saying.resent(item)))
    return 0 if did.done else 1


async def moved_here(name: str, why: str, as_json: bool) -> int:
    """Keep that a partner's server is the same one at its new address."""
    async with wired(load()) as w:
        partner = named(w, name)
        try:
            did = await moving.moved(w.house, partner, operator(w), why)
        except Problem as p:
            raise Refused(p.text) from None
        except saying.WRONG as e:
            raise Refused(f"{saying.unreachable(partner, e)} Nothing was changed: {name} stands still.") from None
    item = {"remote": name, **asdict(did)}
    line(item, as_json, f"{name}: is at {did.now} from now on, and was at {did.first}; {did.looked} looked at there, {did.same} as they are known, {did.missing} not found")
    return 0


async def recalls(as_json: bool) -> int:
    """The ledger of what was taken back, and what still has to be."""
    async with wired(load()) as w:
        for partner in partners(w):
            some = await worker.ledger(w.house, partner)
            for item in some:
                line(item, as_json, saying.recall(item))
            if not some and not as_json:
                print(f"{partner.name}: nothing was, or is to be, taken back")
    return 0
