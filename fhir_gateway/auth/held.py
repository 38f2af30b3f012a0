"""What people let apps do, until when, and its end: an app's access goes with a refresh token used twice, by the person on their
page, by the app itself, at sign-out (`online_access`), and with the app.

Kept: `grant NAME`, by whom (`grant-of PERSON NAME`) and in which session (`online SESSION NAME`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from ..domain.types import Drop, Keep, Op
from .kept import Kept, digest, pack
from .tokens import revocation

GRANT, GRANT_OF, ONLINE_OF, REFRESH = "grant", "grant-of", "online", "refresh"
LONGEST = timedelta(hours=1)  # of any access token that was ever handed out here


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person let an app do, until when. `session` is the page session it goes on no longer than; an app may no more than that had."""""

    client: str
    subject: str
    scopes: str
    launch: str | None
    signed_in: datetime
    ends: datetime
    since: datetime | None = None
    session: str = ""
    roles: tuple[str, ...] | None = None  # that the sign-in had, where it had not all of the account's
    assurance: str | None = None  # of that sign-in


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token by its hash: of which grant, and whether it was exchanged for the next one already."""

    grant: str
    used: bool = False


def keeping(grant: Grant, name: str) -> list[Op]:
    """A new grant, and where it is found again."""
    ops: list[Op] = [
        Keep(GRANT, name, pack(grant), grant.ends),
        Keep(GRANT_OF, f"{digest(grant.subject)} {name}", b"1", grant.ends),
    ]
    return ops + ([Keep(ONLINE_OF, f"{grant.session} {name}", b"1", grant.ends)] if grant.session else [])


async def find(store: Kept, name: str, at: datetime) -> tuple[Grant, bytes] | None:
    """The grant and its bytes as kept, or None."""
    raw = await store.kept(GRANT, name, at)
    return (msgspec.json.decode(raw, type=Grant), raw) if raw else None


async def of_person(store: Kept, subject: str, at: datetime) -> dict[str, Grant]:
    """Every grant of this person that has not ended, by name, oldest first."""
    names = [k.rsplit(" ", 1)[1] for k in await store.kept_all(GRANT_OF, at, prefix=f"{digest(subject)} ")]
    found = {name: known[0] for name in names if (known := await find(store, name, at)) is not None}
    return dict(sorted(found.items(), key=lambda item: item[1].since or item[1].signed_in))


async def of_client(store: Kept, client: str, at: datetime) -> list[str]:
    """Names of every grant of this app."""
    return [name for name, raw in (await store.kept_all(GRANT, at)).items() if msgspec.json.decode(raw, type=Grant).client == client]


async def of_session(store: Kept, session: str, at: datetime) -> list[str]:
    """Names of the grants that go on no longer than this page session."""
    return [k.rsplit(" ", 1)[1] for k in await store.kept_all(ONLINE_OF, at, prefix=f"{session} ")]


def ending(name: str, at: datetime) -> list[Op]:
    """The grant is over, and every token under it."""
    return [Drop(GRANT, name), revocation(name, at + LONGEST)]
