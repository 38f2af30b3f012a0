"""What a person has let apps do (`held` keeps it): which apps those are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..domain.scopes import Scopes
from . import clients, held
from .kept import Kept


@dataclass(frozen=True, slots=True)
class App:
    """One app with everything one person has let it do. `keeps`: it goes on when they are not there."""

    id: str
    name: str
    scopes: str
    since: datetime
    ends: datetime
    keeps: bool


async def with_access(store: Kept, subject: str, at: datetime) -> list[App]:
    """The apps that may act for this person now, by name."""
    out: dict[str, App] = {}
    for grant in (await held.of_person(store, subject, at)).values():
        client = await clients.find(store, grant.client, at)
        before = out.get(grant.client)
        scopes = str(Scopes.parse(f"{before.scopes if before else ''} {grant.scopes}".strip()))
        out[grant.client] = App(
            grant.client, (client.name if client else "") or grant.client, scopes,
            min(grant.since or grant.signed_in, before.since) if before else grant.since or grant.signed_in,
            max(grant.ends, before.ends) if before else grant.ends, "offline_access" in scopes.split(),
        )  # fmt: skip
    return sorted(out.values(), key=lambda app: (app.name.casefold(), app.id))
