"""What a person has let apps do (`oauth` keeps it): which apps those are, and stopping one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ..domain.scopes import Scopes
from ..domain.types import Drop, Op
from . import clients
from .kept import Kept
from .oauth import GRANT, LONGEST
from .tokens import revocation


@dataclass(frozen=True, slots=True)
class Grant:
    """A row of `oauth`: what one person let one app do, until when."""

    client: str
    subject: str
    scopes: str
    signed_in: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class App:
    """One app with everything one person has let it do. `keeps`: it goes on when they are not there."""

    id: str
    name: str
    scopes: str
    since: datetime
    ends: datetime
    keeps: bool


async def grants_of(store: Kept, subject: str, at: datetime) -> dict[str, Grant]:
    """Every access that this person gave to an app and that has not ended, by its name."""
    found = {name: msgspec.json.decode(raw, type=Grant) for name, raw in (await store.kept_all(GRANT, at)).items()}
    return {name: grant for name, grant in found.items() if grant.subject == subject and grant.ends > at}


def endings(grants: Mapping[str, Grant], at: datetime) -> list[Op]:
    """What ends these accesses and every token issued under them; `kept.CHANGED` goes with it."""
    return [op for name in grants for op in (Drop(GRANT, name), revocation(name, at + LONGEST))]


async def with_access(store: Kept, subject: str, at: datetime) -> list[App]:
    """The apps that may act for this person now, by name."""
    out: dict[str, App] = {}
    for grant in (await grants_of(store, subject, at)).values():
        client = await clients.find(store, grant.client, at)
        before = out.get(grant.client)
        scopes = str(Scopes.parse(f"{before.scopes if before else ''} {grant.scopes}".strip()))
        out[grant.client] = App(
            grant.client, (client.name if client else "") or grant.client, scopes,
            min(grant.signed_in, before.since) if before else grant.signed_in,
            max(grant.ends, before.ends) if before else grant.ends, "offline_access" in scopes.split(),
        )  # fmt: skip
    return sorted(out.values(), key=lambda app: (app.name.casefold(), app.id))
