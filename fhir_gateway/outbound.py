"""The one way out by HTTP: to the host that was named, at an address that such a host can have, looked up and checked as it is connected to.

What a name stands for can change (DNS rebinding): an address is judged once, and that very address is connected to. Certificates are still
held to the name. No redirects, and no proxy, certificates or passwords that the environment names.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final

import httpcore2
import httpx2
import structlog

from .settings.unsafe import loopback

log = structlog.get_logger()

NOWHERE: Final = "its name stands for no address that may be asked"
TRIED: Final = 4  # addresses of one name, in the order of the name service
NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address inside
CLOUDS_OWN: Final = frozenset(
    ip_address(a) for a in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)  # metadata services of clouds that are not link-local


def client(
    seconds: float, *, connect: float | None = None, authority: Path | None = None, transport: httpx2.AsyncBaseTransport | None = None
) -> httpx2.AsyncClient:
    """A client that waits so many `seconds` for each step. `authority`: a file of certificates to trust in the place of the system's.
    `transport`: no network, but this."""
    timeout = httpx2.Timeout(seconds, connect=connect if connect is not None else seconds)
    return httpx2.AsyncClient(transport=transport or Transport(authority), timeout=timeout, follow_redirects=False, trust_env=False)


def reachable(address: str, host: str) -> bool:
    """Whether `host` may stand for this address: this machine by its own names alone, and never a cloud's own services (169.254.0.0/16)."""
    a = _plain(ip_address(address.partition("%")[0]))
    if loopback(host):
        return a.is_loopback
    return not (a.is_loopback or a.is_link_local or a.is_multicast or a.is_unspecified or a.is_reserved or a in CLOUDS_OWN)


def _plain(a: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that another network will make of this one, or itself."""
    if isinstance(a, IPv4Address):
        return a
    return a.ipv4_mapped or a.sixtofour or (IPv4Address(int(a) & 0xFFFFFFFF) if a in NAT64 else a)


@cache
def _of_the_system() -> ssl.SSLContext:
    """Trust in the certificates of the system, read once by each process: it takes longer than a request."""
    return httpx2.create_ssl_context(trust_env=False)


class Transport(httpx2.AsyncHTTPTransport):
    def __init__(self, authority: Path | None = None) -> None:
        tls = ssl.create_default_context(cafile=authority) if authority else _of_the_system()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls, max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0, network_backend=Checked()
        )  # fmt: skip


class Checked(httpcore2.AsyncNetworkBackend):
    """Connects to what a name stands for now, when that may be."""

    def __init__(self) -> None:
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None, socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:  # fmt: skip
        """httpcore2.ConnectError, ConnectTimeout."""
        good = await _addresses(host, port, timeout)
        share = None if timeout is None else timeout / len(good)
        wrong: Exception | None = None
        for address in good:
            try:
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as why:
                wrong = why
        raise wrong or httpcore2.ConnectError(NOWHERE)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


async def _addresses(host: str, port: int, seconds: float | None) -> list[str]:
    """What this name stands for and may be connected to; at least one."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise httpcore2.ConnectTimeout("the name service did not answer") from None
    except (OSError, UnicodeError):
        raise httpcore2.ConnectError("its name is not known") from None
    named = list(dict.fromkeys(str(address) for *_, (address, *_) in found))
    good = [a for a in named if reachable(a, host)][:TRIED]
    if not good:
        log.error("address-refused", host=host, addresses=named[:TRIED], help="a name must not stand for this machine, a link-local address or a cloud's own services")
        raise httpcore2.ConnectError(NOWHERE)
    return good


__all__ = ["NOWHERE", "client", "reachable"]
