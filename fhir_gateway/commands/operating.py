"""`token`, `clients`, `inbox`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from .. import gate
from ..auth import clients
from ..auth.oauth import OAuth
from ..domain import strict
from ..domain.problem import Problem
from ..domain.scopes import Scopes
from ..settings import Refused, load
from ..wiring import context_as, demo_token, now, operator, wired
from .bringing import bar

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


async def token(who: str, as_json: bool) -> int:
    """A token of a demo persona; only where the demo has been seeded."""
    if who not in PERSONAS:
        raise Refused(f"--as is one of {', '.join(PERSONAS)}; not `{who}`.")
    async with wired(load()) as w:
        seeded = await w.store.kept("demo", "seeded", now())
        if seeded is None:
            raise Refused("Tokens like this are for the demo only: start it with `make run` first.")
        made, caller = await demo_token(w, who)
    if as_json:
        out({"token": made, "patient": seeded.decode(), "fhirUser": caller.fhir_user, "scope": caller.scopes, "expires": caller.expires.isoformat()})
    else:
        print(made)
    return 0


async def clients_list(as_json: bool) -> int:
    async with wired(load()) as w:
        for c in await clients.list_clients(w.store, now()):
            if as_json:
                out({"id": c.id, "kind": c.kind, "name": c.name, "scopes": c.scopes, "organisation": c.organisation, "contributor": c.contributor})
            else:
                print(f"{c.id}: {c.kind}, {c.name or '-'}, {c.scopes or '-'}")
    return 0


async def clients_add(
    id: str, keys: Path, organisation: str, scopes: str, name: str, purpose: str, contributor: bool, refers: bool
) -> int:
    """Register a system. Refused, in words, when its keys, scopes or organisation cannot be."""
    parsed = Scopes.parse(scopes)
    if parsed.others or not parsed.resources or any(s.level != "system" for s in parsed.resources):
        raise Refused(f"The scopes of a system are all `system/...`, such as `system/*.rs`; not `{scopes}`.")
    async with wired(load()) as w:
        called = await gate.organisation_called(w.house, organisation)
        if called is None:
            raise Refused(f"There is no organisation `{organisation}` here: bring it in first, by `fhir-gateway import --as operator FILE`.")
        client = clients.Client(
            id, "system", name or called, scopes, jwks=jwk_set(keys), organisation=organisation, purpose=purpose,
            contributor=contributor, may_refer=refers,
        )  # fmt: skip
        try:
            await clients.add(w.store, client)
        except ValueError as wrong:
            raise Refused(f"{id} cannot be registered: {wrong}.") from None
    print(f"{id}: registered for {called}, {scopes}")
    return 0


async def clients_remove(id: str) -> int:
    """Forget a client; Refused when there is none."""
    settings = load()
    async with wired(settings) as w:
        oauth = OAuth(w.store, w.tokens, settings.base, settings.fhir_base, w.house.new_id, timedelta(minutes=settings.token_minutes))
        if not await oauth.remove_client(id, now()):
            raise Refused(f"There is no client `{id}`: `fhir-gateway clients list` says which there are.")
    print(f"{id}: removed; its tokens are refused from now on")
    return 0


def jwk_set(file: Path) -> dict[str, Any]:
    """A JWK set from a file; one key by itself counts as a set."""
    try:
        found = strict.read(file.read_bytes())
    except OSError as wrong:
        raise Refused(f"{file} cannot be read: {wrong.strerror}.") from None
    except Problem:
        raise Refused(f"{file} is no JWK set: that is JSON with `keys`.") from None
    return found if "keys" in found else {"keys": [found]}


async def inbox_list(as_json: bool) -> int:
    async with wired(load()) as w:
        for item in await gate.inbox(operator(w)):
            if as_json:
                out(item)
            else:
                why = item["outcome"]["issue"][0].get("diagnostics", "")
                print(f"{item['id']}: from {item['client']} at {item['at']}, refused {item['status']}: {why}")
    return 0


async def inbox_replay(id: str, file: Path | None) -> int:
    async with wired(load()) as w:
        for item in await gate.inbox(operator(w)):
            if item["id"] == id:
                sender = await context_as(w, item["client"])
                answer = await gate.replay(sender, item["key"], file.read_bytes() if file else None)
                print(f"{id}: written, {len(answer.get('entry', []))} entries")
                return 0
    raise Refused(f"There is no inbox item `{id}`.")
