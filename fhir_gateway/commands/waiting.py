"""`sync waiting, conflicts, resolve, retry, skip, gone, replay` and `inbox end`: what waits for a person, and what an operator does about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.problem import Problem
from ..gate import waiting_room
from ..remote.client import Down, Locked, Refusal, Unknown
from ..settings import Refused, load
from ..sync.ending import gone as recall_ended
from ..sync.replaying import replay as taken_again
from ..sync.tally import Tally
from ..wiring import operator, wired
from . import saying
from .files import resource_in
from .syncing import line, partners


def _out(item: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        sys.stdout.buffer.write(strict.dump({k: v for k, v in item.items() if v is not None}) + b"\n")
    else:
        print(text)
    sys.stdout.flush()


async def waiting(as_json: bool, content: bool) -> int:
    """Whatever waits for a person, of every partner and in the inbox; how much waits of partners that are in the settings no more."""
    async with wired(load()) as w:
        some = await waiting_room.everything(operator(w), content=content)
        for i in some:
            _out(i, as_json, "\n".join([saying.waiting(i), *(saying.content(i) if content else [])]))
        strangers = await waiting_room.not_configured(operator(w))
        for n in strangers:
            _out({"kind": "not-configured", **n}, as_json, saying.not_configured(n))
        if not some and not strangers and not as_json:
            print("Nothing waits for you.")
    return 0


async def conflicts(as_json: bool, content: bool) -> int:
    async with wired(load()) as w:
        partners(w)
        some = await gate.conflicts(operator(w), content=content)
        for c in some:
            _out(c, as_json, "\n".join([saying.conflict(c), *(saying.content(c) if content else [])]))
        if not some and not as_json:
            print("There is no conflict.")
    return 0


async def resolve(id: str, how: str, file: Path | None, *, version: int | None = None, who: str = "", reason: str = "", as_json: bool = False) -> int:
    """Settle one conflict as an operator: ours, theirs, or a merged resource from a file."""
    if how not in ("ours", "theirs", "merged") or (how == "merged") != (file is not None):
        raise Refused("Say `resolve ID ours`, `resolve ID theirs`, or `resolve ID merged FILE`.")
    body = resource_in(file) if file else None
    said = ", ".join(filter(None, (f"for {who.strip()}" if who.strip() else "", reason.strip())))
    async with wired(load()) as w:
        partners(w)
        try:
            ref = await gate.settle(operator(w), id, how, body, version=version, reason=said)
        except Problem as p:
            raise Refused(f"There is no conflict `{id}`." if p.kind == "not-found" else p.text) from None
    line({"id": id, "ref": str(ref), "settled": how}, as_json, f"{ref}: {how}")
    return 0


async def retry(ids: Sequence[str], as_json: bool) -> int:
    async with wired(load()) as w:
        partners(w)
        try:
            done = await waiting_room.retry(operator(w), ids)
        except Problem as p:
            raise Refused(p.text) from None
        for name, n in done.items():
            line({"remote": name, "queued": n}, as_json, f"{name}: {n} queued again")
    return 0


async def skip(id: str, reason: str, as_json: bool = False) -> int:
    async with wired(load()) as w:
        try:
            await waiting_room.skip(operator(w), id, reason)
        except Problem as p:
            raise Refused(p.text) from None
    line({"id": id, "skipped": True}, as_json, f"{id}: left out; `sync retry {id}` queues it again")
    return 0


async def gone(id: str, reason: str, as_json: bool = False) -> int:
    """End a recall: they say there that it is gone."""
    async with wired(load()) as w:
        try:
            await recall_ended(w.house, partners(w), operator(w), id, reason)
        except Problem as p:
            raise Refused(p.text) from None
    line({"id": id, "ended": True}, as_json, f"{id}: nobody asks for it any more; `sync retry {id}` does")
    return 0


async def replay(id: str, file: Path | None, as_json: bool = False) -> int:
    """Take in again what waits in quarantine, as it is there now or corrected. 1 when nothing is written, or it is refused again."""
    body = resource_in(file) if file else None
    async with wired(load()) as w:
        for partner in partners(w):
            try:
                tally = await taken_again(w.house, partner, operator(w), id, body)
            except Problem as p:
                if p.kind == "not-found":
                    continue
                raise Refused(p.text) from None
            except (Down, Unknown, Locked, Refusal) as e:
                raise Refused(f"{partner.name}: {e}") from None
            became, said = _became(tally)
            line({"id": id, "remote": partner.name, "became": became}, as_json, f"{id}: {said}")
            return 1 if became in ("refused", "left") else 0
    raise Refused(f"Nothing waits in quarantine as `{id}`.")


def _became(tally: Tally) -> tuple[str, str]:
    if tally.refused:
        return "refused", "refused again: see `sync waiting`"
    if tally.conflicts:
        return "conflict", "a conflict waits"
    if tally.ignored and not tally.pulled:
        return "left", f"nothing was written: {', '.join(tally.ignored)}"
    return "taken", "taken in"


async def inbox_end(id: str, reason: str) -> int:
    async with wired(load()) as w:
        try:
            await waiting_room.end(operator(w), id, reason)
        except Problem as p:
            raise Refused(p.text) from None
    print(f"{id}: ended, nothing of it was written")
    return 0
