"""A worker, or whoever resends or settles, in a process of its own that a partner may kill: `python -m tests.faults.working STORE URL ORGANISATION AT
[push|pull|resend|settle] [STEP]`. With STEP it kills itself (SIGKILL): `taken`, once it has leased something; `before N`, `after N`: its Nth commit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from fhir_gateway import definitions, gate
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.types import Actor, Op, Queued
from fhir_gateway.gate import House, Remote
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push
from fhir_gateway.sync.resending import resend


class Dying:
    """A store of a process that is killed at this step."""

    def __init__(self, store: Any, step: str) -> None:
        self.store, self.step, self.commits = store, step, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def at(self, step: str) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    async def lease(self, *args: Any) -> list[Queued]:
        entries: list[Queued] = await self.store.lease(*args)
        if entries:
            self.at("taken")
        return entries

    async def commit(self, *ops: Op) -> None:
        self.commits += bool(ops)
        self.at(f"before {self.commits}")
        await self.store.commit(*ops)
        self.at(f"after {self.commits}")


async def main(file: str, url: str, organisation: str, at: str, way: str = "push", step: str = "") -> None:
    began, start = time.monotonic(), datetime.fromisoformat(at)

    def clock() -> datetime:
        return start + timedelta(seconds=time.monotonic() - began)

    store: Any = Dying(await sqlite.open(Path(file), clock=clock), step)
    terms = Remote("hub", organisation)
    house = House(
        store=store, clock=clock, new_id=lambda: str(uuid4()), r4=definitions.load_r4(),
        label_sets=LabelSets.load(definitions.load("labels.json")), secret=b"x" * 32, alarm=print, remotes=(terms,),
    )  # fmt: skip
    partner = Partner(terms, RemoteServer(url, clock), **({"concurrency": 1} if step else {}))  # so that commits are in one order
    operator = gate.house_context(house, Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))
    if way == "pull":
        await pull(house, partner)
    elif way == "resend":
        assert (await resend(house, partner, operator, "their disk broke")).done
    elif way == "settle":
        (conflict,) = await gate.conflicts(operator)
        await gate.settle(operator, conflict["id"], "theirs", reason="as they said")
    else:
        while (await push(house, partner, "child")).anything:
            pass
    await partner.server.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
