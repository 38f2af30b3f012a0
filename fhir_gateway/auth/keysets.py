"""The key sets that clients publish themselves (`jwks_uri`), fetched only from hosts that the settings name.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html prefers them to keys on file. Nothing a request
says is ever fetched: the address is the registration's, https, and asked as `outbound` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from .. import outbound
from ..settings.unsafe import loopback
from .jose import Bad, PublicKey, public_keys

KEPT = timedelta(minutes=10)
NOT_SOONER = timedelta(minutes=1)  # than this is a set asked for again, whatever kid an assertion names
LARGEST = 256 * 1024  # bytes
SECONDS = 5.0

Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(slots=True)
class _Known:
    asked: datetime
    good: datetime
    keys: tuple[PublicKey, ...]


@dataclass(slots=True)
class KeySets:
    """Public keys by the address of their set. `hosts` are the only ones ever asked."""

    hosts: frozenset[str] = frozenset()
    fetch: Fetch | None = None
    _known: dict[str, _Known] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def keys(self, address: str, at: datetime, kid: str | None) -> tuple[PublicKey, ...]:
        """The keys at this address, not older than ten minutes while it answers. `Bad` when there are none to be had.

        A set that cannot be fetched again is believed for an hour after it last could: a partner's short outage locks
        nobody out, and a key that they withdrew does not live for ever.
        """
        if not allowed(address, self.hosts):
            raise Bad("the host of its jwks_uri is not among those that the settings name")
        async with self._locks.setdefault(address, asyncio.Lock()):
            known = self._known.get(address)
            if _due(known, at, kid):
                known = await self._ask(address, at, known)
        if known is None or not known.keys or at - known.good > timedelta(hours=1):
            raise Bad("its jwks_uri cannot be read")
        return known.keys

    async def _ask(self, address: str, at: datetime, known: _Known | None) -> _Known:
        try:
            found = public_keys(msgspec.json.decode(await (self.fetch or fetch)(address), type=dict[str, Any]))
        except (Bad, OSError, httpx2.HTTPError, msgspec.MsgspecError, TimeoutError):
            known = _Known(at, known.good, known.keys) if known else _Known(at, at, ())
        else:
            known = _Known(at, at, found)
        self._known[address] = known
        return known


def _due(known: _Known | None, at: datetime, kid: str | None) -> bool:
    if known is None:
        return True
    unknown = not known.keys or (kid is not None and all(k.kid != kid for k in known.keys))
    return at - known.asked >= (NOT_SOONER if unknown or known.good != known.asked else KEPT)


def allowed(address: str, hosts: frozenset[str]) -> bool:
    """Whether a key set may be fetched from this address: https (or this machine), a host that was named, nothing hidden in it."""
    try:
        url = urlsplit(address)
        host = url.hostname or ""
        plain = url.scheme == "http" and loopback(host)
        return host in hosts and (url.scheme == "https" or plain) and not (url.username or url.password or url.fragment) and url.port != 0
    except ValueError:
        return False


async def fetch(address: str) -> bytes:
    """The body at this address. `Bad` unless it is a 200 of at most 256 KiB."""
    async with outbound.client(SECONDS) as client, client.stream("GET", address, headers={"Accept": "application/json"}) as response:
        if response.status_code != 200:
            raise Bad(f"status {response.status_code}")
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LARGEST:
                raise Bad("a key set of more than 256 KiB")
        return body
