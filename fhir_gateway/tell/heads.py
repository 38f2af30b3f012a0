"""Sealing the trail at its own pace, and telling its signed heads to the log and to a witness outside, who makes truncation show."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx2
import msgspec
import structlog

from ..auth.seals import opened, seals
from ..domain.problem import Problem
from ..domain.types import Keep
from ..gate import House, Sealer, all_segments
from ..store.base import StoreError
from .channel import Failed
from .hook import client, post

log = structlog.get_logger()
TOLD = ("audit-told", "witness")  # up to which segment the witness knows


class Witness(Protocol):
    """Somebody outside who keeps signed heads and forgets none."""

    async def tell(self, heads: Sequence[str]) -> None:
        """Raises Failed."""
        ...

    async def close(self) -> None: ...


@dataclass
class HeadFile:
    """A file that is only appended to, one signed head a line; best on another machine, or where nobody can write over."""

    path: Path

    async def tell(self, heads: Sequence[str]) -> None:
        try:
            await asyncio.to_thread(self._append, "".join(f"{h}\n" for h in heads).encode())
        except OSError as wrong:
            raise Failed(f"cannot be written: {wrong.strerror}") from None

    def _append(self, text: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(fd, text)
            os.fsync(fd)
        finally:
            os.close(fd)

    async def close(self) -> None:
        pass


@dataclass
class HeadPost:
    """An address that takes `{"heads": [...]}` by POST; a 2xx says that they are kept. `authority`: certificates to trust there, by default the system's."""

    url: str
    authority: Path | None = None
    http: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = client(self.authority)

    async def tell(self, heads: Sequence[str]) -> None:
        await post(self.http, self.url, msgspec.json.encode({"heads": heads}), {"content-type": "application/json"})

    async def close(self) -> None:
        await self.http.aclose()


async def run(house: House, witness: Witness | None, seconds: float, stop: asyncio.Event) -> None:
    """Seal every `seconds`, and once more at `stop`."""
    sealer = Sealer(house)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            pass
        await once(sealer, witness)


async def once(sealer: Sealer, witness: Witness | None) -> int:
    """How many segments were made. What cannot be done now is done next time."""
    try:
        made = await sealer.seal()
        keys = (await seals(sealer.house.store, sealer.house.clock())).public if made else ()
        for signed in made:
            head = opened(signed, keys)
            if head is not None:
                log.info("audit-sealed", segment=head.number, rows=head.rows, total=head.total, head=signed)
        if witness is not None:
            await _tell(sealer.house, witness)
        return len(made)
    except (StoreError, Problem) as wrong:
        log.error("audit-not-sealed", why=str(wrong), help="it is tried again; `fhir-gateway audit verify` says more")
    except Failed as wrong:
        log.error("audit-witness-not-told", why=str(wrong), help="it is told all at the next sealing")
    return 0


async def _tell(house: House, witness: Witness) -> None:
    """All heads that the witness does not know yet, in order. It may be told one twice, never none."""
    known = int(await house.store.kept(*TOLD, house.clock()) or b"0")
    heads: list[str] = []
    async for segment in all_segments(house.store, known):
        heads.append(segment.head)
        known = segment.number
        if len(heads) >= 100:
            break
    if heads:
        await witness.tell(heads)
        await house.store.commit(Keep(*TOLD, str(known).encode()))


__all__ = ["HeadFile", "HeadPost", "Witness", "once", "run"]
