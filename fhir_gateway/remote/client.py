"""The other FHIR server: bounded, same-origin, honest about what is not known.

Every call answers a `Reply` or raises `Down` (try again later), `Unknown` (it may have been applied), `Refusal` (it will
not take this) or `Locked` (it does not know us).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpx2

from .. import outbound
from ..domain import strict
from ..domain.primitives import whole
from ..domain.problem import Problem
from ..outbound import NOWHERE

LIMIT = 20 * 1024 * 1024
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
WAIT_MIN, WAIT_MAX = 1.0, 900.0


class Down(Exception):
    """Not reachable, overloaded or failing. `wait` is what it asked for, in seconds. A write was not applied for sure only where
    it did not arrive (`arrived` False)."""

    def __init__(self, text: str, wait: float | None = None, *, arrived: bool = True) -> None:
        super().__init__(text)
        self.wait, self.arrived = wait, arrived


class Unknown(Exception):
    """The request left and no answer came: it may have been applied. Ask before trying again."""


class Locked(Exception):
    """401 or 403: our credentials are not good there."""


class Refusal(Exception):
    """The server will not take this: 400, 404, 409, 410, 412, 422 with its OperationOutcome's words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: dict[str, Any] | None
    etag: str = ""
    location: str = ""
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Abilities:
    """What /metadata says that a sync must know."""

    types: frozenset[str]
    type_history: frozenset[str]
    system_history: bool
    conditional_create: frozenset[str]
    software: str = ""


@dataclass
class RemoteServer:
    """One external FHIR R4 server."""

    base: str
    clock: Callable[[], datetime]  # aware UTC
    authorization: str = ""  # the header, whole
    http: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.base = self.base.rstrip("/")
        self.http = outbound.client(READ_SECONDS, connect=CONNECT_SECONDS)

    async def close(self) -> None:
        await self.http.aclose()

    async def abilities(self) -> Abilities:
        body = (await self.call("GET", "/metadata")).body or {}
        rest = (body.get("rest") or [{}])[0]
        types, history, conditional = set(), set(), set()
        for r in rest.get("resource", []):
            codes = {i.get("code") for i in r.get("interaction", [])}
            types.add(r.get("type"))
            if "history-type" in codes:
                history.add(r["type"])
            if r.get("conditionalCreate"):
                conditional.add(r["type"])
        system = any(i.get("code") == "history-system" for i in rest.get("interaction", []))
        return Abilities(frozenset(types), frozenset(history), system, frozenset(conditional), (body.get("software") or {}).get("name", ""))

    async def read(self, type: str, id: str) -> Reply:
        return await self.call("GET", f"/{type}/{id}")

    async def create(self, type: str, body: Mapping[str, Any], if_none_exist: str) -> Reply:
        return await self.call("POST", f"/{type}", body, {"If-None-Exist": if_none_exist})

    async def update(self, type: str, id: str, body: Mapping[str, Any], etag: str) -> Reply:
        return await self.call("PUT", f"/{type}/{id}", body, {"If-Match": etag} if etag else {})

    async def delete(self, type: str, id: str, etag: str = "") -> Reply:
        return await self.call("DELETE", f"/{type}/{id}", headers={"If-Match": etag} if etag else {})

    async def search(self, type: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Every page of a search."""
        async for page in self._pages(f"/{type}?{urlencode(params)}"):
            yield page

    async def history(self, type: str | None, since: str | None, count: int = 100) -> AsyncIterator[dict[str, Any]]:
        """Every page of a type's (or the system's) history, newest first as servers give it."""
        params = {"_count": str(count), **({"_since": since} if since else {})}
        async for page in self._pages(f"{f'/{type}' if type else ''}/_history?{urlencode(params)}"):
            yield page

    async def _pages(self, path: str) -> AsyncIterator[dict[str, Any]]:
        seen: set[str] = set()
        url: str | None = path
        while url and url not in seen:
            seen.add(url)
            reply = await self.call("GET", url)
            page = reply.body or {}
            if page.get("resourceType") != "Bundle":
                raise Down("it answered something that is not a Bundle")
            if reply.date:
                page.setdefault("_date", reply.date)
            yield page
            url = next((link.get("url") for link in page.get("link", []) if link.get("relation") == "next"), None)

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request. Never follows a redirect, never leaves the configured origin, never reads more than 20 MiB."""
        url = self._same_origin(path)
        sent = {"Accept": "application/fhir+json", "Cache-Control": "no-cache", "Prefer": "return=representation", **(headers or {})}
        if self.authorization:
            sent["Authorization"] = self.authorization
        content = None
        if body is not None:
            sent["Content-Type"] = "application/fhir+json"
            content = strict.dump(dict(body))
        try:
            async with self.http.stream(method, url, content=content, headers=sent) as response:
                raw = await _bounded(response)
                return self._reply(method, response, raw)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as e:
            raise Down(NOWHERE if str(e) == NOWHERE else f"cannot be reached ({type(e).__name__})", arrived=False) from None
        except httpx2.InvalidURL:
            raise Down("it sent us to an address that is none", arrived=False) from None
        except httpx2.HTTPError as e:
            if method == "GET":
                raise Down(f"the answer broke off ({type(e).__name__})") from None
            raise Unknown(f"no answer to {method} ({type(e).__name__})") from None

    def _same_origin(self, path: str) -> str:
        """The whole address of a path of ours, or of a link in an answer. Down for one of another origin (RFC 6454) or that is none."""
        try:
            here, there = urlsplit(self.base), urlsplit(self.base + path if path.startswith("/") else urljoin(f"{self.base}/", path))
        except ValueError:
            raise Down("it sent us to an address that is none") from None
        if (here.scheme, here.netloc.lower()) != (there.scheme, there.netloc.lower()):
            raise Down("it sent us to another server, where our credentials do not go")
        return there.geturl()

    def _reply(self, method: str, response: httpx2.Response, raw: bytes) -> Reply:
        status = response.status_code
        if status in (401, 403):
            raise Locked(f"it answered {status}")
        if status == 429 or status == 408 or status >= 500:
            raise Down(f"it answered {status}", wait_asked(response.headers, self.clock()), arrived=status != 429)
        if 300 <= status < 400 and status != 304:
            raise Down(f"it answered with a redirect ({status}), which is not followed")
        try:
            body = strict.read(raw) if raw.strip() else None
        except Problem as p:
            if status >= 400:
                raise Refusal(status, "an answer that is no FHIR JSON") from None
            if method == "GET":
                raise Down(f"it answered something unreadable: {p.text[:120]}") from None
            body = None
        if status >= 400:
            raise Refusal(status, words(body))
        return Reply(status, body, response.headers.get("etag", ""), response.headers.get("location", ""), _date(response.headers))


async def _bounded(response: httpx2.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LIMIT:
            raise Down("its answer is larger than 20 MiB")
        parts.append(part)
    return b"".join(parts)


def wait_asked(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After as seconds or as a date, kept within 1 s and 15 minutes; None when absent or unreadable."""
    ms = headers.get("x-ms-retry-after-ms", "")
    if (thousandths := whole(ms)) is not None:
        return min(max(thousandths / 1000, WAIT_MIN), WAIT_MAX)
    text = headers.get("retry-after", "").strip()
    if (seconds := whole(text[:12])) is not None:
        return min(max(float(seconds), WAIT_MIN), WAIT_MAX)
    try:
        return min(max((parsedate_to_datetime(text) - now).total_seconds(), WAIT_MIN), WAIT_MAX)
    except (ValueError, TypeError):
        return None


def words(outcome: Mapping[str, Any] | None) -> str:
    """The first sentence of an OperationOutcome."""
    for issue in (outcome or {}).get("issue", []):
        text = issue.get("diagnostics") or (issue.get("details") or {}).get("text")
        if text:
            return str(text)[:300]
    return "no reason given"


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
