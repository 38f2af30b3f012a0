"""A FHIR server that can be told to misbehave: a real little store behind it, habits that it always has, and faults that happen to a request.

    with scripted(Habits(feed="search", etag="strong")) as there:
        there.fault("PUT", "Goal/", times=1, status=503, applied=True, headers={"Retry-After": "2"})
        ... Partner(terms, RemoteServer(there.url, clock)) ...
        assert there.named("Goal")

`There.transport()` is the same server without a socket, for `RemoteServer(transport=...)`.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import httpx2

Body = dict[str, Any]
GATEWAY = "https://fhir-gateway.example/StructureDefinition/gateway-name"  # what a gateway calls itself on its copies
TYPES = ("Patient", "Organization", "Practitioner", "CarePlan", "Goal", "CareTeam", "Condition", "Task", "Observation", "Consent")


@dataclass
class Habits:
    """How this server is, always. A row of the table of faults is often one of these."""

    feed: Literal["system", "type", "search"] = "system"  # a history over all, by type, or none: deletions are then not seen
    types: Sequence[str] = TYPES  # what /metadata offers
    etag: Literal["weak", "strong", "none", "odd"] = "weak"  # odd: it is not the versionId
    versions: Literal["numbers", "jumps", "words", "none"] = "numbers"  # versionId: 1, 2; 10, 3, 17; a UUID; not said
    conditional_create: bool = True  # False: If-None-Exist is ignored, and /metadata says so
    tags: bool = True  # False: a search by `_tag` is refused with 403, as one server does
    minimal: bool = False  # a write answers with no body, as `Prefer: return=minimal` would
    stale: int = 412  # what a stale If-Match gets; one server says 409
    must_match: bool = False  # a PUT or DELETE without If-Match is refused with 400
    update_creates: bool = False  # a PUT to an id that is not there: 201, else 404
    delete_answers: int = 204  # another server says 200, with an OperationOutcome
    delete_again: int = 0  # what a DELETE of what is not there gets; 0: 404, or 410
    tombstone: bool = False  # what is gone has an ETag
    unchanged: bool = False  # an update that changes nothing makes no version
    keeps_referred: bool = False  # what is referred to is not deleted: 409
    names_referrer: bool = False  # and by what it is referred to is said
    deletes: bool = True  # False: nothing is deleted, 405
    races: bool = False  # it looks and creates in two steps: a create that comes while another is under way makes a second
    clamps: bool = False  # it says in each page of fewer than was asked for that it gives no more, in an entry
    most_versions: int = 0  # more of one resource in a minute are refused with 429
    most_requests: int = 0  # more in a minute are refused with 429 and a RateLimit, where that is not 0
    skew: timedelta = timedelta(0)  # its clock, against ours
    stamps: Literal["ms", "s"] = "ms"  # how fine `lastUpdated` is
    adds_up: bool = False  # tags and labels that an update leaves out stay, as at one server
    drops: Sequence[str] = ()  # elements of the top level that it does not keep
    absolute: bool = False  # what it keeps refers to its own records by their whole address
    lies: bool = False  # a write is answered with all that was sent, whatever was kept
    reads_versions: bool = True  # False: an earlier version cannot be read
    page: int = 100  # most entries of a page
    caches: bool = False  # for a minute it finds what it found before, unless asked with `Cache-Control: no-cache`; one server
    cap: int = 0  # a page that begins behind so many entries is refused with 400, as one server does
    counts_once: bool = False  # a history asked for without `_since` is never longer than it was at first; one server, for a minute
    next: Literal["good", "relative", "itself", "twice", "elsewhere"] = "good"  # what the link to the next page is
    elsewhere: str = "http://127.0.0.1:9"
    searched: bool = True  # False: /metadata names no search parameter, as many a server's
    ignores: Sequence[str] = ()  # search parameters of which it takes no notice: it finds whatever the others find
    own_link: bool = False  # a page says which parameters it took notice of
    gateway: str = ""  # what it calls itself, where it is one of ours


@dataclass(frozen=True)
class Asked:
    """One request as it arrived. `path` without the base and without the leading slash: `Goal/1`, `Goal/_history`, `metadata`."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in small letters
    raw: bytes
    at: float  # of time.monotonic

    @property
    def sent(self) -> Body:
        body = json.loads(self.raw) if self.raw.strip() else {}
        return body if isinstance(body, dict) else {}


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens to a request. Nothing of it is done there unless `applied`."""

    status: int = 0  # 0: the status of the true answer, or 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None  # in the place of the true one
    change: Callable[[Body], Body] | None = None  # of the true answer's body; with `applied`
    applied: bool = False  # it is done all the same
    wait: float = 0.0  # seconds before the answer
    cut: Literal["", "before", "middle"] = ""  # the connection is reset before the answer, or in the middle of its body
    drip: float = 0.0  # seconds between two bytes of the answer
    bomb: int = 0  # an answer of so many spaces, zipped
    before: Callable[[Asked], object] | None = None  # called when it has arrived, and nothing of it is done yet; may kill a process, or take long
    act: Callable[[Asked], object] | None = None  # called when it has arrived, and been applied where it is; may kill a process
    after: Callable[[Asked], object] | None = None  # called when it has been answered


@dataclass
class Rule:
    method: str
    path: str
    fault: Fault
    left: int
    skip: int
    when: Callable[[Asked], bool]


@dataclass
class Kept:
    """One version of one resource; `body` None: deleted."""

    name: str
    version: str
    at: datetime
    body: Body | None
    method: str


class There:
    """The store and the script. `held` is what is there now, by `Type/id`."""

    def __init__(
        self, habits: Habits | None = None, clock: Callable[[], datetime] | None = None, new_id: Callable[[], str] = lambda: str(uuid4())
    ) -> None:
        self.habits, self.new_id = habits or Habits(), new_id
        self.clock = clock or (lambda: datetime.now(UTC))
        self.url = "http://there.test/fhir"
        self.held: dict[str, Body] = {}
        self.history: list[Kept] = []  # oldest first
        self.fetched: list[tuple[str, dict[str, Any]]] = []  # what it was not sent, by its name there: of a gateway that reads here
        self.asked: list[Asked] = []
        self.extra: list[bytes] = []  # entries that stand in the first page of every feed and search, as they are
        self.rules: list[Rule] = []
        self._numbers = 0
        self._count: dict[str, int] = {}
        self._last: dict[str, str] = {}
        self._pages: dict[str, list[bytes]] = {}
        self._long: dict[str, int] = {}
        self._found: dict[str, tuple[datetime, list[str]]] = {}
        self._own: dict[str, str] = {}
        self._lock = threading.RLock()
        self._came: list[datetime] = []  # requests, where there is a most of them
        self.throttled = 0

    # -- the script

    def fault(
        self, method: str = "", path: str = "", *, times: int = 1_000_000, skip: int = 0, when: Callable[[Asked], bool] | None = None, **what: Any
    ) -> Rule:
        """From now on this happens to requests of `method` ("" for any) whose path begins with `path`, after `skip` of them, `times` times."""
        rule = Rule(method, path, Fault(**what), times, skip, when or (lambda _: True))
        self.rules.append(rule)
        return rule

    def well(self) -> None:
        """No more faults."""
        self.rules.clear()

    def due(self, asked: Asked) -> Fault | None:
        with self._lock:
            for rule in self.rules:
                if rule.left > 0 and rule.method in ("", asked.method) and asked.path.startswith(rule.path) and rule.when(asked):
                    if rule.skip > 0:
                        rule.skip -= 1
                        continue
                    rule.left -= 1
                    return rule.fault
        return None

    # -- what a test does there by itself

    def write(self, body: Body, at: datetime | None = None) -> Body:
        """Somebody there writes: a body without an id is new. `at` is its stamp, when it is not to be the time of now."""
        with self._lock:
            name = f"{body['resourceType']}/{body.get('id') or self._id()}"
            return self._put(name, body, "PUT" if "id" in body else "POST", at)

    def remove(self, name: str, at: datetime | None = None) -> None:
        with self._lock:
            self.held.pop(name, None)
            self.history.append(Kept(name, self._version(name), self._now(at), None, "DELETE"))

    def forget(self, name: str) -> None:
        """Expunged: no trace, and its versions begin again."""
        for one in (self._last, self._count):
            one.pop(name, None)

    def named(self, type: str) -> list[Body]:
        return [b for n, b in self.held.items() if n.startswith(f"{type}/")]

    def ever(self, type: str) -> list[Body]:
        """Every body of this type that was ever here."""
        return [k.body for k in self.history if k.body is not None and k.name.startswith(f"{type}/")]

    def requests(self, method: str = "", path: str = "") -> list[Asked]:
        return [a for a in self.asked if method in ("", a.method) and a.path.startswith(path)]

    # -- the server

    def answer(self, asked: Asked) -> Answer:
        """The true answer, and what was asked is done."""
        with self._lock:
            if (spent := self._spent()) is not None:
                return spent
            if asked.path == "metadata":
                return self._json(200, self._capability())
            parts = asked.path.split("/")
            if asked.method == "POST" and parts[-1] == "_search":
                return self._search(parts[0], {**asked.query, **dict(parse_qsl(asked.raw.decode()))}, asked)
            if "_getpages" in asked.query:
                return self._page(asked.query["_getpages"], int(asked.query["_offset"]), int(asked.query["_count"]))
            if parts[-1] == "_history":
                return self._feed("/".join(parts[:-1]), asked.query)
            if len(parts) == 1:
                return self._create(asked) if asked.method == "POST" else self._search(parts[0], asked.query, asked)
            verb = {"GET": self._read, "PUT": self._update, "DELETE": self._delete}.get(asked.method, self._unknown)
            return verb("/".join(parts[:2]), asked)

    def transport(self) -> httpx2.MockTransport:
        """The same server without a socket. Of a fault `status`, `headers`, `body`, `change`, `applied`, `before`, `act` and `cut` count."""

        def handle(request: httpx2.Request) -> httpx2.Response:
            asked = self.arrived(request.method, str(request.url), dict(request.headers), request.content)
            fault = self.due(asked)
            answer = self.spoiled(asked, fault)
            if fault is not None and fault.cut:
                raise httpx2.ReadError("cut", request=request)
            return httpx2.Response(answer.status, headers=answer.headers, content=answer.body)

        return httpx2.MockTransport(handle)

    def arrived(self, method: str, url: str, headers: Mapping[str, str], raw: bytes) -> Asked:
        at = urlsplit(url)
        path = at.path.removeprefix("/fhir").strip("/")
        asked = Asked(method, path, dict(parse_qsl(at.query)), {k.lower(): v for k, v in headers.items()}, raw, time.monotonic())
        self.asked.append(asked)
        return asked

    def spoiled(self, asked: Asked, fault: Fault | None) -> Answer:
        """What is answered, with this fault."""
        if fault is None:
            return self.answer(asked)
        if fault.before is not None:
            fault.before(asked)
        untouched = not fault.status and fault.body is None and not fault.bomb
        true = self.answer(asked) if fault.applied or fault.change or (untouched and not fault.cut) else Answer(fault.status or 200)
        if fault.act is not None:
            fault.act(asked)
        if fault.change is not None and true.body:
            true.body = json.dumps(fault.change(json.loads(true.body))).encode()
        if fault.status >= 400 and fault.body is None:
            true = self._outcome(fault.status, "a fault of the script")
        if fault.body is not None:
            true = Answer(true.status, fault.body, {"Content-Type": "application/fhir+json"})
        if fault.bomb:
            true = Answer(true.status, _zipped(fault.bomb), {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"})
        return Answer(fault.status or true.status, true.body, {**true.headers, **fault.headers})

    def _capability(self) -> Body:
        h = self.habits
        one = {
            "interaction": [{"code": c} for c in ("read", "create", "update", "delete", "search-type", *(["history-type"] if h.feed == "type" else []))],
            "versioning": "versioned-update" if h.must_match else "no-version" if h.etag == "none" else "versioned",
            "conditionalCreate": h.conditional_create, "updateCreate": h.update_creates,
            "searchParam": [{"name": n, "type": "token"} for n in ("_lastUpdated", *(["_tag"] if h.tags else []), "identifier")],
        }  # fmt: skip
        if not h.searched:
            del one["searchParam"]
        rest: Body = {"mode": "server", "resource": [{"type": t, **one} for t in h.types]}
        if h.feed == "system":
            rest["interaction"] = [{"code": "history-system"}]
        named = {"implementation": {"description": "a gateway", "extension": [{"url": GATEWAY, "valueString": h.gateway}]}} if h.gateway else {}
        return {"resourceType": "CapabilityStatement", "status": "active", "date": "2026-11-01", "kind": "instance", "fhirVersion": "4.0.1", "format": ["json"], **named, "rest": [rest]}

    def _create(self, asked: Asked) -> Answer:
        type, wanted = asked.path, asked.headers.get("if-none-exist")
        if wanted and self.habits.conditional_create and not self.habits.races:
            same = self._matching(type, dict(parse_qsl(wanted)))
            if len(same) > 1:
                return self._outcome(412, "more than one matches")
            if same:
                return self._written(200, self.held[same[0]])
        return self._written(201, self._put(f"{type}/{self._id()}", asked.sent, "POST", None), asked.sent)

    def _read(self, name: str, asked: Asked) -> Answer:
        if "/_history/" in asked.path:
            return self._past(name, asked.path.rpartition("/")[2])
        if name in self.held:
            return self._json(200, self.held[name], self._tagged(self.held[name]))
        gone = self._outcome(410 if name in self._last else 404, f"{name} is not here")
        return Answer(gone.status, gone.body, {**gone.headers, "ETag": f'W/"{self._last[name]}"'}) if self.habits.tombstone and name in self._last else gone

    def _past(self, name: str, version: str) -> Answer:
        found = next((k.body for k in self.history if self.habits.reads_versions and (k.name, k.version) == (name, version)), None)
        return self._outcome(404, f"no version {version} of {name} is here") if found is None else self._json(200, found)

    def _update(self, name: str, asked: Asked) -> Answer:
        known = name in self.held
        if wrong := self._precondition(name, asked):
            return wrong
        if not known and name not in self._last and not self.habits.update_creates:
            return self._outcome(404, f"{name} is not here")
        if asked.sent.get("id") != name.split("/")[1]:
            return self._outcome(400, "the id of the body is not that of the address")
        lately = [k for k in self.history if k.name == name and k.at > self._now(None) - timedelta(minutes=1)]
        if self.habits.most_versions and len(lately) >= self.habits.most_versions:
            self.throttled += 1
            return self._outcome(429, "too many versions of one resource in a minute")
        if known and self.habits.unchanged and _said(self.held[name]) == _said(asked.sent):
            return self._written(200, self.held[name], asked.sent)
        return self._written(200 if known else 201, self._put(name, asked.sent, "PUT", None), asked.sent)

    def _delete(self, name: str, asked: Asked) -> Answer:
        if name not in self.held:
            again = self.habits.delete_again
            return Answer(again) if again else self._outcome(410 if name in self._last else 404, f"{name} is not here")
        if not self.habits.deletes:
            return self._outcome(405, "nothing is deleted here")
        if wrong := self._precondition(name, asked):
            return wrong
        by = [n for n, b in self.held.items() if n != name and re.search(rf'"{re.escape(name)}("|/_history/)', json.dumps(b))]
        if self.habits.keeps_referred and by:
            return self._outcome(409, f"{name} is referred to" + (f". First reference found was resource {by[0]} in path x" if self.habits.names_referrer else ""))
        self.remove(name)
        if self.habits.delete_answers == 204:
            return Answer(204)
        return self._outcome(self.habits.delete_answers, "deleted", "information")

    def _precondition(self, name: str, asked: Asked) -> Answer | None:
        match = asked.headers.get("if-match")
        if match is None:
            return self._outcome(400, "If-Match is required") if self.habits.must_match else None
        if name in self.held and match != self._tagged(self.held[name]).get("ETag"):
            return self._outcome(self.habits.stale, "it has changed")
        return None

    def _spent(self) -> Answer | None:
        """Too many requests in this minute."""
        most, now = self.habits.most_requests, self._now(None)
        if not most:
            return None
        self._came = [at for at in self._came if at > now - timedelta(minutes=1)]
        if len(self._came) >= most:
            self.throttled += 1
            left = max(1, round((self._came[0] + timedelta(minutes=1) - now).total_seconds()))
            told = self._outcome(429, "too many requests")
            return Answer(429, told.body, {**told.headers, "RateLimit": f'"requests";r=0;t={left}'})
        self._came.append(now)
        return None

    def _unknown(self, name: str, asked: Asked) -> Answer:
        return self._outcome(405, f"no {asked.method} here")

    def _search(self, type: str, query: Mapping[str, str], asked: Asked) -> Answer:
        if "_tag" in query and not self.habits.tags:
            return self._outcome(403, "a search by _tag is not supported")
        query = {k: v for k, v in query.items() if k not in self.habits.ignores}
        names = self._cached(type, query, asked) if self.habits.caches else self._matching(type, query)
        found = sorted((self.held[n] for n in names if n in self.held), key=lambda b: b["meta"].get("lastUpdated", ""))
        if query.get("_sort") != "_lastUpdated":
            found.reverse()  # as some servers do who are not asked for an order
        if query.get("_elements") == "id":
            found = [{"resourceType": type, "id": b["id"], "meta": {"tag": [{"code": "SUBSETTED"}]}} for b in found]
        entries = [_dump({"fullUrl": f"{self.url}/{type}/{b['id']}", "resource": b, "search": {"mode": "match"}}) for b in found]
        return self._first("searchset", entries, query, f"{self.url}/{type}?{urlencode(query)}")

    def _cached(self, type: str, query: Mapping[str, str], asked: Asked) -> list[str]:
        key, now = f"{type}?{urlencode(sorted(query.items()))}", self._now(None)
        at, names = self._found.get(key, (None, []))
        if at is None or now - at >= timedelta(minutes=1) or "no-cache" in asked.headers.get("cache-control", ""):
            names = self._matching(type, query)
            self._found[key] = now, names
        return names

    def _matching(self, type: str, query: Mapping[str, str]) -> list[str]:
        tests = {
            "_id": lambda b, v: b["id"] == v,
            "_tag": lambda b, v: _token(b["meta"].get("tag", []), v, "code"),
            "identifier": lambda b, v: _token(b.get("identifier", []), v, "value"),
            "_lastUpdated": lambda b, v: _stamped(b["meta"].get("lastUpdated", ""), v),
            "patient": lambda b, v: v.removeprefix("Patient/") == str((b.get("subject") or b.get("patient") or {}).get("reference", "")).removeprefix("Patient/"),
        }  # fmt: skip
        tests["subject"] = tests["patient"]
        wanted = [(tests[k], v) for k, v in query.items() if k in tests]
        return [n for n, b in self.held.items() if n.startswith(f"{type}/") and all(t(b, v) for t, v in wanted)]

    def _feed(self, of: str, query: Mapping[str, str]) -> Answer:
        allowed = {"": self.habits.feed == "system"}.get(of, self.habits.feed == "type" or "/" in of)
        if not allowed:
            return self._outcome(404, "no such feed")
        since = query.get("_since", "")
        some = [k for k in self.history if (k.name == of or k.name.startswith(f"{of}/" if of else "")) and (not since or k.at >= _instant(since))]
        newest = sorted(reversed(some), key=lambda k: k.at, reverse=True)
        if self.habits.counts_once and not since:
            newest = newest[: self._long.setdefault(of, len(newest))]
        return self._first("history", [self._changed(k) for k in newest], query)

    def _changed(self, k: Kept) -> bytes:
        url = k.name if k.method != "POST" else k.name.split("/")[0]
        entry: Body = {"fullUrl": f"{self.url}/{k.name}", "request": {"method": k.method, "url": url}}
        entry["response"] = {"status": "200", "lastModified": self._stamp(k.at)}
        return _dump(entry if k.body is None else {**entry, "resource": k.body})

    def _first(self, kind: str, entries: list[bytes], query: Mapping[str, str], own: str = "") -> Answer:
        token = f"{kind}.{self.new_id()}"
        self._own[token] = own if self.habits.own_link else ""
        self._pages[token] = [*self.extra, *entries]
        return self._page(token, 0, int(query.get("_count", "1000")))

    def _page(self, token: str, start: int, count: int) -> Answer:
        every = self._pages.get(token)
        if every is None:
            return self._outcome(410, "this page is no longer kept")
        if 0 < self.habits.cap < start:
            return self._outcome(400, f"no more than {self.habits.cap} entries can be gone through")
        kind, size = token.split(".")[0], min(count, self.habits.page)
        here, more = every[start : start + size], len(every) > start + size
        if self.habits.clamps and size < count:
            said = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational", "diagnostics": f"no more than {size} are given"}]}
            here = [*here, _dump({"resource": said, "search": {"mode": "outcome"}})]
        meta = {"lastUpdated": self._stamp(self._now(None))}
        parts = [b'"resourceType":"Bundle"', b'"type":' + _dump(kind), b'"meta":' + _dump(meta), b'"total":' + _dump(len(every))]
        links = [{"relation": "self", "url": own}] if (own := self._own.get(token, "")) else []
        if more or self.habits.next in ("itself", "elsewhere"):
            links.append({"relation": "next", "url": self._next(token, start, size)})
        if links:
            parts.append(b'"link":' + _dump(links))
        if here:
            parts.append(b'"entry":[' + b",".join(here) + b"]")
        return Answer(200, b"{" + b",".join(parts) + b"}", self._headers())

    def _next(self, token: str, at: int, size: int) -> str:
        how = self.habits.next
        if how == "elsewhere":
            return self.habits.elsewhere
        again = how == "itself" or (how == "twice" and not token.endswith("+"))
        if how == "twice" and again:
            self._pages[token + "+"] = self._pages[token]
            token += "+"
        query = urlencode({"_getpages": token, "_offset": at if again else at + size, "_count": size})
        return f"?{query}" if how == "relative" else f"{self.url}?{query}"

    # -- one version after the other

    def _put(self, name: str, body: Body, method: str, at: datetime | None) -> Body:
        now, version = self._now(at), self._version(name)
        meta = {k: v for k, v in body.get("meta", {}).items() if k != "versionId"}
        if self.habits.adds_up and name in self.held:
            before = self.held[name]["meta"]
            meta |= {n: [*meta.get(n, []), *(t for t in before[n] if t not in meta.get(n, []))] for n in ("tag", "security") if n in before}
        meta = {**meta, **({} if self.habits.versions == "none" else {"versionId": version}), "lastUpdated": self._stamp(now)}
        kept = {k: _absolute(v, self.url) if self.habits.absolute else v for k, v in body.items() if k not in self.habits.drops}
        self.held[name] = {"resourceType": name.split("/")[0], "id": name.split("/")[1], **{**kept, "id": name.split("/")[1], "meta": meta}}
        self.history.append(Kept(name, version, now, self.held[name], method))
        return self.held[name]

    def _id(self) -> str:
        self._numbers += 1  # never one that was given before
        return f"t{self._numbers}"

    def _version(self, name: str) -> str:
        number = self._count[name] = self._count.get(name, 0) + 1
        self._last[name] = {"jumps": str((number * 7919) % 1000), "words": self.new_id()}.get(self.habits.versions, str(number))
        return self._last[name]

    def _tagged(self, body: Body) -> dict[str, str]:
        last = self._last[f"{body['resourceType']}/{body['id']}"]
        how = {"weak": f'W/"{last}"', "strong": f'"{last}"', "odd": f'W/"x-{last}"'}
        return {"ETag": how[self.habits.etag]} if self.habits.etag in how else {}

    def _now(self, at: datetime | None) -> datetime:
        return at or self.clock() + self.habits.skew

    def _stamp(self, at: datetime) -> str:
        return at.astimezone(UTC).isoformat(timespec="milliseconds" if self.habits.stamps == "ms" else "seconds").replace("+00:00", "Z")

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/fhir+json", "Date": format_datetime(self._now(None), usegmt=True)}

    def _json(self, status: int, body: Body, more: Mapping[str, str] | None = None) -> Answer:
        return Answer(status, _dump(body), {**self._headers(), **(more or {})})

    def _written(self, status: int, body: Body, sent: Body | None = None) -> Answer:
        where = {"Location": f"{self.url}/{body['resourceType']}/{body['id']}/_history/{body['meta'].get('versionId', '1')}"}
        said = {**sent, **body} if sent is not None and self.habits.lies else body
        answer = self._json(status, said, {**self._tagged(body), **where})
        return Answer(status, b"" if self.habits.minimal else answer.body, answer.headers)

    def _outcome(self, status: int, text: str, severity: str = "error") -> Answer:
        issue = {"severity": severity, "code": "processing", "diagnostics": text}
        return self._json(status, {"resourceType": "OperationOutcome", "issue": [issue]})


class Listening(There):
    """The same behind a socket of this machine."""

    def __init__(self, habits: Habits | None = None, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(habits, clock)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = 0

            def do_any(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = outer.arrived(self.command, self.path, dict(self.headers), raw)
                fault = outer.due(asked)
                answer = outer.spoiled(asked, fault)
                try:
                    self.say(answer, fault or Fault())
                except OSError:  # whoever asked has gone
                    self.close_connection = True
                if fault is not None and fault.after is not None:
                    fault.after(asked)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any

            def say(self, answer: Answer, fault: Fault) -> None:
                time.sleep(fault.wait)
                if fault.cut == "before":
                    return self.reset()
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if fault.drip:
                    for byte in answer.body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(fault.drip)
                    return None
                self.wfile.write(answer.body[: len(answer.body) // 2] if fault.cut else answer.body)
                return self.reset() if fault.cut else None

            def reset(self) -> None:
                """RST, as a machine that died."""
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/fhir"


@contextmanager
def scripted(habits: Habits | None = None, clock: Callable[[], datetime] | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Listening]:
    there = Listening(habits, clock)
    if tls is not None:
        there.server.socket = tls.wrap_socket(there.server.socket, server_side=True, do_handshake_on_connect=False)
        there.url = there.url.replace("http:", "https:")
    threading.Thread(target=there.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield there
    finally:
        there.server.shutdown()
        there.server.server_close()


def page(*entries: bytes | Body, kind: str = "history", **more: Any) -> bytes:
    """A Bundle with these entries, each as it is where it is given as bytes."""
    head = _dump({"resourceType": "Bundle", "type": kind, **more})
    return head[:-1] + b',"entry":[' + b",".join(e if isinstance(e, bytes) else _dump(e) for e in entries) + b"]}"


def _absolute(value: Any, base: str) -> Any:
    if isinstance(value, list):
        return [_absolute(v, base) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: f"{base}/{v}" if k == "reference" and isinstance(v, str) and re.fullmatch(r"[A-Z]\w+/[\w.-]+", v) else _absolute(v, base) for k, v in value.items()}


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@cache
def _zipped(size: int) -> bytes:
    return gzip.compress(b" " * size, 9)


def _said(body: Body) -> Body:
    """Without what a server sets itself."""
    meta = {k: v for k, v in body.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    return {**body, "meta": meta}


def _token(values: Sequence[Body], wanted: str, name: str) -> bool:
    """`wanted` is `system|code`, or several with commas between."""
    every = [one.rpartition("|") for one in wanted.split(",")]
    return any(v.get(name) == code and (not system or v.get("system") == system) for v in values for system, _, code in every)


def _stamped(stamp: str, wanted: str) -> bool:
    how, at = (wanted[:2], wanted[2:]) if wanted[:2].isalpha() else ("eq", wanted)
    a, b = _instant(stamp), _instant(at)
    return {"ge": a >= b, "gt": a > b, "le": a <= b, "lt": a < b}.get(how, a == b)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
