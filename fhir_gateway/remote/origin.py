"""Where a request goes: to that server's own origin and nowhere else, whatever stands in its links. https://www.rfc-editor.org/rfc/rfc6454#section-4"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from .failures import Down

PORTS: Final = {"http": 80, "https": 443}  # said or not, it is the same origin


def address(base: str, path: str) -> str:
    """The whole address of a path of ours, or of a link in an answer. Down for one of another origin or that is none."""
    try:
        here, there = urlsplit(base), urlsplit(base + path if path.startswith("/") else urljoin(f"{base}/", path))
        same = _origin(here) == _origin(there)
    except ValueError:
        raise Down("it sent us to an address that is none") from None
    if not same:
        raise Down("it sent us to another server, where our credentials do not go")
    return there.geturl()


def canonical(base: str) -> str:
    """A base as it is compared: letter case of scheme and host, a port that goes without saying and a slash at the end change nothing."""
    of = urlsplit(base)
    host = (of.hostname or "").rstrip(".")
    named = f"[{host}]" if ":" in host else host
    port = "" if of.port is None or of.port == PORTS.get(of.scheme) else f":{of.port}"
    return f"{of.scheme}://{named}{port}{of.path.rstrip('/')}"


def _origin(of: SplitResult) -> tuple[str, str | None, int | None, str]:
    """With what stands before the host (`user@`), which no server may give us. ValueError where the port is none."""
    port = PORTS.get(of.scheme) if of.port is None else of.port
    return of.scheme, of.hostname, port, of.netloc.rpartition("@")[0]
