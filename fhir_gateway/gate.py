"""The one door: find, ask consent, do, write down.

Everything that reads or writes a person's record comes through here: FHIR routes, plans, pages, sync. Who asks is bound
once, in a `Context`. No audit row, no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .domain.scopes import Scopes
from .domain.types import Actor, BreakGlass, Decision, Ref
from .store.base import Store


@dataclass(frozen=True, slots=True)
class House:
    """What every request shares; built once by `wiring`."""

    store: Store
    clock: Callable[[], datetime]  # aware UTC
    new_id: Callable[[], str]  # random, time-ordered UUIDs


@dataclass(frozen=True, slots=True)
class Context:
    """One asker, one moment. `scopes` is None for what the house itself does on a person's behalf (worker, operator commands)."""

    house: House
    actor: Actor
    at: datetime
    purpose: str = "TREAT"
    scopes: Scopes | None = None
    client: str | None = None
    request_id: str = ""
    btg: BreakGlass | None = None
    action: str = "access"  # sync reads with "disclose"


@dataclass(frozen=True, slots=True)
class Answer:
    """One resource as this reader may have it: JSON bytes (the stored bytes, or the filtered view)."""

    ref: Ref
    version: int
    updated: datetime
    body: bytes
    filtered: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One Bundle entry: `mode` is match, include or outcome; history entries carry `method` and may have no body."""

    ref: Ref
    version: int
    updated: datetime
    body: bytes | None
    mode: str = "match"
    method: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a search, a history or `$everything` found. `next` is an opaque signed token, None on the last page."""

    entries: tuple[Entry, ...]
    total: int | None = None
    next: str | None = None
    used: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: `created`, `updated`, `unchanged` (content equal: no new version), `deleted`, `matched` (conditional create)."""

    ref: Ref
    version: int
    updated: datetime
    body: bytes | None
    did: str = "updated"


async def read(ctx: Context, ref: Ref) -> Answer:
    """The current version. Problem: not-found (hidden and absent alike), gone, insufficient-scope."""
    raise NotImplementedError


async def vread(ctx: Context, ref: Ref, version: int) -> Answer:
    raise NotImplementedError


async def history(ctx: Context, type: str | None, id: str | None, params: Sequence[tuple[str, str]] = ()) -> Page:
    raise NotImplementedError


async def search(ctx: Context, type: str | None, params: Sequence[tuple[str, str]], *, strict: bool = False) -> Page:
    """Search one type (or all with None) with decoded query parameters."""
    raise NotImplementedError


async def everything(ctx: Context, patient: str, params: Sequence[tuple[str, str]] = ()) -> Page:
    """`Patient/[id]/$everything`: the whole record of one person, as far as this reader may see it."""
    raise NotImplementedError


async def create(ctx: Context, type: str, raw: bytes, *, if_none_exist: str | None = None) -> Written:
    """`raw` is the JSON text of one resource. Problem: malformed, invalid, forbidden, not-found."""
    raise NotImplementedError


async def update(ctx: Context, ref: Ref, raw: bytes, *, if_match: int | None = None) -> Written:
    raise NotImplementedError


async def remove(ctx: Context, ref: Ref, *, if_match: int | None = None) -> Written:
    raise NotImplementedError


async def transaction(ctx: Context, raw: bytes, *, idempotency_key: str | None = None) -> dict[str, Any]:
    """A Bundle of type transaction or batch in; the response Bundle out. All or nothing for a transaction."""
    raise NotImplementedError


async def may(ctx: Context, action: str, ref: Ref) -> Decision:
    """Would this be allowed, and why: for `explain` and for pages that show only what will work."""
    raise NotImplementedError


async def who_looked(ctx: Context, patient: str, *, before: str | None = None, count: int = 50) -> list[dict[str, Any]]:
    """The person's own access log, newest first: at, who, organisation, what, allowed, why. Only for the person and their proxies."""
    raise NotImplementedError
