"""A worker in a process of its own that a partner may kill: `python -m tests.faults.working STORE URL ORGANISATION AT [push|pull]`."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from fhir_gateway import definitions
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.gate import House, Remote
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push


async def main(file: str, url: str, organisation: str, at: str, way: str = "push") -> None:
    began, start = time.monotonic(), datetime.fromisoformat(at)

    def clock() -> datetime:
        return start + timedelta(seconds=time.monotonic() - began)

    store = await sqlite.open(Path(file), clock=clock)
    terms = Remote("hub", organisation)
    house = House(
        store=store, clock=clock, new_id=lambda: str(uuid4()), r4=definitions.load_r4(),
        label_sets=LabelSets.load(definitions.load("labels.json")), secret=b"x" * 32, alarm=print, remotes=(terms,),
    )  # fmt: skip
    partner = Partner(terms, RemoteServer(url, clock))
    if way == "pull":
        await pull(house, partner)
    else:
        while (await push(house, partner, "child")).anything:
            pass
    await partner.server.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
