"""The other FHIR server: bounded, same-origin, honest about what is not known, and believed in nothing that it cannot show.

Every call answers a `Reply` or raises `Down` (try again later), `Unknown` (it may have been applied), `Refusal` (it will
not take this) or `Locked` (it does not know us).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import httpx2

from .. import outbound
from ..domain import strict
from ..domain.problem import Problem
from ..domain.withheld import is_stub
from ..outbound import NOWHERE
from .abilities import Abilities, of_statement
from .asking import Asking, asked
from .failures import Down, Elsewhere, Forbidden, Garbled, Locked, Plain, Refusal, Unknown, unreached
from .origin import address
from .page_by_page import MANY, MOST_PAGES, Large, page_by_page
from .pages import Page, envelope
from .plain import its_way
from .plain import words as said_plainly
from .replies import Reply, believed, bounded, etag_of, header_tag, leniently, of_response, same, unsupported, words
from .waiting import WAIT_MAX, WAIT_MIN, spent, wait_asked

LIMIT: Final = 20 * 1024 * 1024
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
PAGE_SECONDS, WHOLE_SECONDS = 120.0, 50.0  # a whole page; any other whole answer, which is less than an attempt is held for
FRESH, AGAIN = timedelta(hours=1), timedelta(minutes=1)  # how long its /metadata is believed; and at the least
FORBIDDEN = 3  # people in a row of whom nothing is ours to write: then it is asked whether we may write at all
NOT_FHIR: Final = frozenset({"text/html", "text/plain", "text/xml", "application/xml", "application/fhir+xml"})  # what is said of an answer: its words may be anything
AS_SENT: Final = {"X-Meta-Snapshot-Mode": "TAG, SECURITY_LABEL"}  # HAPI's: `meta` has these of this version alone
EVER: Final = "1970-01-01T00:00:00Z"


class SignsIn(Protocol):
    """`sign_in.SignIn`."""

    async def header(self) -> str: ...
    def forget(self, header: str) -> None: ...
    async def close(self) -> None: ...


@dataclass
class RemoteServer:
    """One external FHIR R4 server."""

    base: str
    clock: Callable[[], datetime]  # aware UTC
    authorization: str = ""  # the header, whole
    transport: httpx2.AsyncBaseTransport | None = None  # in the place of the network's
    limit: int = LIMIT  # bytes of an answer, unzipped
    sign_in: SignsIn | None = None  # in the place of `authorization`: a token that ends
    may_ask: Callable[[str], Awaitable[None]] | None = None  # comes before each request, a sign-in too: Elsewhere where none may leave
    http: httpx2.AsyncClient = field(init=False)
    not_before: datetime | None = field(init=False, default=None)  # it asked us to wait until then
    met: datetime | None = field(init=False, default=None)  # when its /metadata was read
    contradicted: bool = field(init=False, default=False)  # it refused what that says it does
    tags: str = field(init=False, default="")  # its ETags: "usual" W/"versionId", "own", "none"; "" not known yet
    forbidden: set[str] = field(init=False, default_factory=set)  # of whom nothing was ours to write, in a row

    def __post_init__(self) -> None:
        self.base = self.base.rstrip("/")
        self.http = outbound.client(READ_SECONDS, connect=CONNECT_SECONDS, transport=self.transport)

    async def close(self) -> None:
        await self.http.aclose()
        if self.sign_in is not None:
            await self.sign_in.close()

    async def forbidden_to_write(self, whose: str, type: str, nobodys: str) -> None:
        """One more write about this person, or entry of the directory, was Forbidden. Of FORBIDDEN of them in a row it is asked whether it is
        they, or our key: by the deletion of an id that nobody has (`nobodys`), which carries nothing, changes nothing, and is forbidden, too, to a
        key that only reads. Locked where that is answered 401 or 403; any other answer, or none, says nothing of our key."""
        self.forbidden.add(whose)
        if len(self.forbidden) < FORBIDDEN:
            return
        try:
            await self._delete(type, nobodys, "")
        except Forbidden:
            raise Locked("it answered 403") from None
        except (Refusal, Down, Unknown):
            pass
        self.forbidden.clear()

    # -- what it is asked

    async def abilities(self) -> Abilities:
        """Of /metadata. Down where there is none."""
        try:
            _, raw = await self._ask("GET", "/metadata")
        except Refusal as e:
            raise Down(f"its /metadata cannot be had ({e})") from None
        statement = leniently(raw) or {}
        if statement.get("resourceType") != "CapabilityStatement":
            raise Down("its /metadata is no CapabilityStatement")
        self.contradicted, self.met = False, self.clock()
        known = of_statement(statement)
        self.tags = self.tags or ("usual" if known.gateway else "")
        return known

    async def abilities_now(self, known: Abilities | None) -> Abilities:
        """What is `known`, read again each hour, and where a refusal contradicted it; what was known where that cannot be had now."""
        age = self.clock() - self.met if self.met is not None else None
        if known is not None and age is not None and age < (AGAIN if self.contradicted else FRESH):
            return known
        try:
            return await self.abilities()
        except Down:
            if known is None:
                raise
            return known

    async def read(self, type: str, id: str) -> Reply:
        """What this resource is there now. Garbled where it cannot be kept, Unknown where it answers something else."""
        reply, raw = await self._ask("GET", f"/{type}/{id}", one=f"{type}/{id}")
        good = believed(reply, raw, type, id, self.base)
        if good is None or good.body is None:
            told = (leniently(raw) or {}) if good is not None else {}
            if good is not None and told.get("resourceType") == type:
                raise Garbled(f"{type}/{id} is of no shape there that can be kept", good.etag or etag_of(told))
            raise Unknown(f"it answered something that is not {type}/{id}, or cannot be read")
        self._seen(good)
        return good

    async def version(self, type: str, id: str, version: str) -> dict[str, Any] | None:
        """What this resource was there in this version; None where that cannot be had: many keep none. Down, Locked."""
        if not re.fullmatch(r"[A-Za-z0-9.-]{1,64}", version):
            return None
        try:
            reply, raw = await self._ask("GET", f"/{type}/{id}/_history/{version}", one=f"{type}/{id}")
        except (Refusal, Unknown):
            return None
        good = believed(reply, raw, type, id, self.base)
        was = good.body if good is not None and good.body is not None else {}
        return was if was.get("meta", {}).get("versionId") == version else None

    async def create(self, type: str, body: Mapping[str, Any], if_none_exist: str, asking: Asking | None = None) -> Reply:
        """`asking` is awaited when all is ready, before each request that carries `body`; once more where it took long to connect."""
        return await self._write("POST", f"/{type}", type, None, body, {"If-None-Exist": if_none_exist}, asking)

    async def update(
        self, type: str, id: str, body: Mapping[str, Any], etag: str, base: Mapping[str, Any] | None = None, asking: Asking | None = None
    ) -> Reply:
        """Over the version that `etag` names, or, where that server tells none, over what is still `base`. Refusal 412 where it is another.
        `asking` is awaited before each request that carries `body`: what is read there first may take as long as a request may.

        Over a stub, or by one, labels and tags are to be these alone: where that server adds up those of each version it is asked not to.
        A server that spells the ETag of that very version otherwise than we took it to be is sent its own spelling.
        """
        etag = header_tag(etag)  # it may be kept from before
        alone = is_stub(body) or (base is not None and is_stub(base))
        if etag and self.tags in ("usual", "own"):
            try:
                return await self._put(type, id, body, etag, asking, alone)
            except Refusal as e:
                there = await self.read(type, id) if e.status in (409, 412) else None
                if there is None or there.etag in ("", etag) or etag_of(there.body or {}) != etag:
                    raise
                return await self._put(type, id, body, there.etag, asking, alone)
        there = await self._still(type, id, etag, base)
        try:
            return await self._put(type, id, body, there.etag or etag_of(there.body or {}), asking, alone)
        except Refusal as e:
            if e.status not in (409, 412) or there.etag:
                raise
        await self._still(type, id, "", there.body)
        return await self._put(type, id, body, "", asking, alone)

    async def _still(self, type: str, id: str, etag: str, base: Mapping[str, Any] | None) -> Reply:
        """What is there, where that is what we know. Refusal 412 where it is not."""
        there = await self.read(type, id)
        if etag and (self.tags != "none" or base is None):
            known = etag in (there.etag, etag_of(there.body or {}))
        else:
            known = base is not None and same(there.body or {}, base)
        if not known:
            raise Refusal(412, "it has changed there since")
        return there

    async def delete(self, type: str, id: str, etag: str = "", asking: Asking | None = None) -> Reply:
        """The version that `etag` names, in that server's own spelling; whatever there is where it is "". Refusal 409 or 412 where it is
        another. Unknown where it answers something else than nothing, or FHIR. `asking` is awaited before each such request, as before a write."""
        etag = header_tag(etag)
        try:
            return await self._delete(type, id, etag, asking)
        except Refusal as e:
            try:
                there = await self.read(type, id) if etag and e.status in (409, 412) else None
            except Garbled:
                raise e from None
            if there is None or there.etag == etag or etag_of(there.body or {}) != etag:
                raise
            try:
                return await self._delete(type, id, there.etag, asking)
            except Refusal as again:
                if not there.etag and again.status in (400, 428):  # it will not do without: what it said first counts
                    raise e from None
                raise

    async def _delete(self, type: str, id: str, etag: str, asking: Asking | None = None) -> Reply:
        reply, raw = await self._ask("DELETE", f"/{type}/{id}", headers={"If-Match": etag} if etag else {}, one=f"{type}/{id}", asking=asking)
        if raw.strip() and "resourceType" not in (leniently(raw) or {}):
            raise Unknown("it answered DELETE with something that is no FHIR")
        return reply

    async def delete_named(self, type: str, tag: str) -> Reply:
        """What bears this `system|value` there; of a gateway also what it keeps from us and fetched here. Answered alike where nothing does."""
        asked = urlencode({"_tag": tag})
        reply, raw = await self._ask("DELETE", f"/{type}?{asked}", one=f"{type}?{asked}")
        if raw.strip() and "resourceType" not in (leniently(raw) or {}):
            raise Unknown("it answered DELETE with something that is no FHIR")
        return reply

    def search(self, type: str, params: Mapping[str, str]) -> AsyncIterator[Page]:
        """Every page of a search. By `_id`, `_tag` or `patient` it is about one thing, not about us."""
        one = next((f"{type}?{params[n]}" for n in ("_id", "_tag", "patient") if n in params), "")
        return page_by_page(lambda url: self._page(url, one), f"/{type}", params, self._most())

    async def identified(self, type: str, token: str, count: int = 20, *, patient: str = "", named: bool = True, asking: Asking | None = None) -> Page:
        """The first page of those with this `system|value`, of a `patient` there alone where one is given. Asked in a body, for an address is
        kept in logs; in the address where that server takes no other search. Where its /metadata does not name the parameter (`named`), what
        is no answer is a Refusal, too: 501. `asking` is awaited before each of these, as before a write."""
        wanted = urlencode({"identifier": token, **({"patient": patient} if patient else {}), "_count": str(count)})
        one = "" if named else f"{type}?identifier"
        try:
            try:
                reply, raw = await self._ask("POST", f"/{type}/_search", wanted.encode(), one=one, page=True, asking=asking)
            except Refusal as e:
                if e.status not in (404, 405, 415) and not e.unsupported:
                    raise
                reply, raw = await self._ask("GET", f"/{type}?{wanted}", one=one, page=True, asking=asking)
            return envelope(raw, reply.date, self.base)
        except Large:
            wrong = f"who has one identifier there is more than {self._most()}"
        except Problem as p:
            wrong = f"it answered a page that cannot be read: {p.text}"
        raise Down(wrong) if named else Refusal(501, wrong)

    def history(self, type: str | None, since: str | None, count: int = MANY) -> AsyncIterator[Page]:
        """Every page of a type's (or the system's) history, newest first as servers give it.

        Never without `_since`: HAPI keeps the length of the whole of it for a minute, and gives no more than that.
        """
        path = f"/{type}/_history" if type else "/_history"
        return page_by_page(lambda url: self._page(url, ""), path, {"_count": str(count), "_since": since or EVER}, self._most())

    async def _put(self, type: str, id: str, body: Mapping[str, Any], etag: str, asking: Asking | None, alone: bool) -> Reply:
        headers = {**({"If-Match": etag} if etag else {}), **(AS_SENT if alone else {})}
        return await self._write("PUT", f"/{type}/{id}", type, id, body, headers, asking)

    async def _write(
        self, method: str, path: str, type: str, id: str | None, body: Mapping[str, Any], headers: Mapping[str, str], asking: Asking | None
    ) -> Reply:
        one = f"{type}/{id}" if id else f"{path}?{headers}"
        reply, raw = await self._ask(method, path, strict.dump(dict(body)), headers, one=one, asking=asking)
        good = believed(reply, raw, type, id, self.base)
        if good is None:
            raise Unknown(f"it answered {method} with something else than that {type}")
        self._seen(good)
        return good

    def _seen(self, reply: Reply) -> None:
        """How its ETags are, by one answer about one resource."""
        if reply.body is not None:
            self.tags = "none" if not reply.etag else "usual" if reply.etag == etag_of(reply.body) else "own"

    # -- a page

    async def _page(self, url: str, one: str) -> Page:
        reply, raw = await self._ask("GET", url, one=one, page=True)
        try:
            return envelope(raw, reply.date, self.base)
        except Problem as p:
            raise Down(f"it answered a page that cannot be read: {p.text}") from None

    # -- one request

    async def _ask(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None, *,
        one: str = "", page: bool = False, asking: Asking | None = None,
    ) -> tuple[Reply, bytes]:  # fmt: skip
        """One request, and what it means where that server says 404 in plain words: Refusal where that is its way, Plain where it is not."""
        try:
            return await self._signed(method, path, content, headers, one=one, page=page, asking=asking)
        except Plain as e:
            if e.status == 404 and await its_way(self._signed, self.abilities, one, e, self.clock().isoformat()):
                raise Refusal(404, "it is not there, says that server in plain words") from None
            raise

    async def _signed(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None, *,
        one: str = "", page: bool = False, asking: Asking | None = None,
    ) -> tuple[Reply, bytes]:  # fmt: skip
        """One request; once more with a new token where ours ended early. `one`: the resource that it is about, where it is about one.
        `asking` comes last before each: a token, too, may take long."""
        end = asyncio.get_running_loop().time() + (PAGE_SECONDS if page else WHOLE_SECONDS)
        if self.may_ask is not None:
            await self.may_ask(path)
        self._patient()
        if self.sign_in is None:
            return await self._once(method, path, content, headers, self.authorization, end, one, page, asking)
        header = await self.sign_in.header()
        try:
            return await self._once(method, path, content, headers, header, end, one, page, asking)
        except Locked:
            self.sign_in.forget(header)
        return await self._once(method, path, content, headers, await self.sign_in.header(), end, one, page, asking)

    async def _once(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] | None, authorization: str, end: float, one: str, page: bool,
        asking: Asking | None,
    ) -> tuple[Reply, bytes]:  # fmt: skip
        """Never follows a redirect, never leaves the configured origin, never reads more than 20 MiB nor beyond `end`, of the loop's time."""
        url, form = address(self.base, path), path.endswith("/_search")
        reading = method == "GET" or form
        sent = {
            "Accept": "application/fhir+json", "Accept-Encoding": "gzip", "Cache-Control": "no-cache",
            "Prefer": "return=representation", **(headers or {}),
        }  # fmt: skip
        if authorization:
            sent["Authorization"] = authorization
        if content is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/fhir+json"
        leaving = {} if asking is None else {"trace": await asked(asking)}
        try:
            async with asyncio.timeout_at(end), self.http.stream(method, url, content=content, headers=sent, extensions=leaving) as response:
                raw, whole = await bounded(response, self.limit)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as e:
            raise Down(NOWHERE if str(e) == NOWHERE else f"cannot be reached: {unreached(e)}", arrived=False) from None
        except httpx2.InvalidURL:
            raise Down("it sent us to an address that is none", arrived=False) from None
        except (httpx2.HTTPError, TimeoutError) as e:
            if reading:
                raise Down(f"the answer broke off ({type(e).__name__})") from None
            raise Unknown(f"no answer to {method} ({type(e).__name__})") from None
        self._judge(response, raw, one, reading, page)
        reply = of_response(response)
        if not reading and reply.status not in (200, 201, 204):
            raise Unknown(f"it answered {method} with {reply.status}")
        if not whole:
            if page:
                raise Large(raw, reply.date)
            raise Unknown(f"its answer to {method} is larger than {self._most()}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if raw.strip() and kind and "json" not in kind and method != "DELETE":
            wrong = f"it answered {kind if kind in NOT_FHIR else 'something else'}, not FHIR JSON"
            raise Unknown(wrong) if one and not page else Down(wrong)
        return reply, raw

    def _most(self) -> str:
        return f"{self.limit // 1024**2} MiB" if self.limit >= 1024**2 else f"{self.limit} bytes"

    def _patient(self) -> None:
        """Down while it has asked us to wait: nothing is sent."""
        if self.not_before is not None:
            left = (self.not_before - self.clock()).total_seconds()
            if left > 0:
                raise Down("it asked us to wait", max(min(left, WAIT_MAX), WAIT_MIN), arrived=False)
            self.not_before = None

    def _judge(self, response: httpx2.Response, raw: bytes, one: str, reading: bool, page: bool) -> None:
        """Raises what a status means that is no success."""
        status = response.status_code
        wait = wait_asked(response.headers, self.clock()) if status >= 400 else spent(response.headers)
        if wait is not None:
            self.not_before = self.clock() + timedelta(seconds=wait)
        if status < 400 and not reading:
            self.forbidden.clear()
        outcome = leniently(raw) if status >= 400 else None
        forbidden = status == 403 and not unsupported(outcome)
        if status == 401 or (forbidden and not one):
            raise Locked(f"it answered {status}")
        if status in (408, 429) or (status >= 500 and status not in (501, 505)):
            raise Down(f"it answered {status}", wait, arrived=status != 429)
        if 300 <= status < 400 and status != 304:
            raise Down(f"it answered with a redirect ({status}), which is not followed")
        if status >= 400:
            self.contradicted = self.contradicted or (not one if page else status in (405, 501))
            if status in (404, 410) and not page and one and not one.startswith("/") and raw.strip() and "resourceType" not in (outcome or {}):
                raise Plain(status, (response.headers.get("content-type", ""), said_plainly(raw, one)))  # who stands before it knows nothing of what it has
            kind = Forbidden if forbidden and not reading else Refusal
            raise kind(status, words(outcome) if outcome is not None else "an answer that is no FHIR JSON", outcome)


__all__ = [
    "LIMIT", "MANY", "MOST_PAGES", "WAIT_MAX", "WAIT_MIN", "Abilities", "Asking", "Down", "Elsewhere", "Forbidden", "Garbled", "Locked", "Refusal", "RemoteServer", "Reply", "Unknown",
    "wait_asked",
]  # fmt: skip
