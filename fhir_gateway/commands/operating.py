"""`relabel`, `token`, `inbox`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .. import gate
from ..domain import strict
from ..gate import waiting_room
from ..settings import Refused, load
from ..wiring import context_as, demo_token, now, operator, wired
from . import saying
from .bringing import bar
from .files import contents

PERSONAS = ("patient", "proxy", "gp", "social-worker", "link-worker", "community-nurse", "hospital", "stranger", "paramedic", "privacy-officer", "registrar")


def out(item: Any) -> None:
    sys.stdout.buffer.write(strict.dump(item) + b"\n")
    sys.stdout.flush()


async def relabel(as_json: bool) -> int:
    """Everything of a store; a server may go on meanwhile."""
    async with wired(load()) as w:
        total = sum((await w.store.counts()).values())
        with bar("Labelling", total) as step:
            seen, changed = await gate.relabel(w.house, step)
    if as_json:
        out({"seen": seen, "changed": changed})
    else:
        print(f"{seen} resources looked at, {changed} have other labels than before")
    return 0


async def token(whom: list[str], as_json: bool) -> int:
    """A token of each of these demo personas, a line each; only where the demo has been seeded."""
    for who in whom:
        if who not in PERSONAS:
            raise Refused(f"--as is one of {', '.join(PERSONAS)}; not `{who}`.")
    async with wired(load()) as w:
        seeded = await w.store.kept("demo", "seeded", now())
        if seeded is None:
            raise Refused("Tokens like this are for the demo only: start it with `make run` first.")
        for who in whom:
            made, caller = await demo_token(w, who)
            if as_json:
                expires = caller.expires.isoformat()
                out({"token": made, "patient": seeded.decode(), "fhirUser": caller.fhir_user, "scope": caller.scopes, "expires": expires})
            else:
                print(made)
    return 0


async def inbox_list(as_json: bool) -> int:
    async with wired(load()) as w:
        some = await gate.inbox(operator(w))
        for item in some:
            if as_json:
                out(item)
            else:
                print(saying.waiting(waiting_room.message(item)))
        if not some and not as_json:
            print("No message waits.")
    return 0


async def inbox_replay(id: str, file: Path | None) -> int:
    async with wired(load()) as w:
        for item in await gate.inbox(operator(w)):
            if item["id"] == id:
                sender = await context_as(w, item["client"])
                entries = await gate.replay(sender, item["key"], contents(file) if file else None)
                print(f"{id}: written, {entries} entries")
                return 0
    raise Refused(f"There is no inbox item `{id}`.")
