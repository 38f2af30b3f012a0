"""A page of a feed or a search: the envelope is read leniently, each entry strictly and by itself.

One bad entry must not hide those beside it, nor what comes after the page. So a page is cut at its brackets, by a scan that no depth
stops, and each entry is read as the record of any client is; what cannot be is kept as it came, with why, for quarantine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ..domain import strict
from ..domain.problem import Problem
from .replies import leniently, name_in, objects, outline, relative

MOST_BRACKETS = 1_000_000  # of a page that msgspec cannot read: what is scanned by hand costs
SHOWN = 64 * 1024  # bytes of a broken entry that are kept

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|[\[\]{},]', re.DOTALL)  # a string may break off at the end
_NAME = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_TOLD = {n: re.compile(rb'"%s"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,300})"' % n.encode()) for n in ("fullUrl", "resourceType", "id", "lastUpdated")}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. Where it is `broken` (why, in a sentence) it may be `value` or, where that cannot be read, how its `raw` began."""

    value: dict[str, Any]
    broken: str = ""
    raw: bytes = b""

    @property
    def name(self) -> str:
        """`Type/id` as far as can be told, else one of its own that stays the same as long as it does."""
        resource = self.value.get("resource") if self.value else _told(self.raw)
        if isinstance(resource, dict) and not outline(resource):
            return f"{resource['resourceType']}/{resource['id']}"
        full = self.value.get("fullUrl") if self.value else _first("fullUrl", self.raw)
        return name_in(_url(self.value)) or name_in(full) or f"entry-{sha256(self.raw or strict.dump(self.value)).hexdigest()[:16]}"

    @property
    def updated(self) -> str:
        """When it says that it last changed; "" where it does not."""
        resource = self.value.get("resource")
        meta = resource.get("meta") if isinstance(resource, dict) else None
        return str(meta.get("lastUpdated", "")) if isinstance(meta, dict) else _first("lastUpdated", self.raw)

    @property
    def state(self) -> str:
        """What tells it from any other, and from another version of the same."""
        resource, response = self.value.get("resource"), self.value.get("response")
        meta = resource.get("meta") if isinstance(resource, dict) else response
        return f"{self.name} {[meta.get(n) for n in ('versionId', 'lastUpdated', 'etag', 'lastModified')] if isinstance(meta, dict) else ''}"

    @property
    def shown(self) -> Any:
        """What a person gets to see of a broken one."""
        return self.value.get("resource", self.value) if self.value else self.raw.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Page:
    """`updated` is `Bundle.meta.lastUpdated`, `date` the header: what the server's own clock said."""

    entries: tuple[Entry, ...]
    next: str | None = None
    updated: str = ""
    date: datetime | None = None
    heeded: frozenset[str] | None = None  # the parameters that its own link names, of which that server took notice; None where it does not say


def envelope(raw: bytes, date: datetime | None = None, base: str = "") -> Page:
    """A page, each of its entries read, in which references to `base` are relative. Problem `malformed` where this is no Bundle, or one in which no entry can be told from the next."""
    bundle, entries = _parted(raw)
    if bundle.get("resourceType") != "Bundle":
        raise Problem("malformed", "It is not a Bundle.")
    return _page(bundle, tuple(_entry(e, base) for e in entries), date)


def begun(raw: bytes, date: datetime | None, why: str) -> tuple[Page | None, int]:
    """Of the beginning of a page: the page with the entry in which it breaks off as its only one, None where no link stands before it;
    and how many entries are whole."""
    cut = _Cut.of(raw)
    if cut is None or cut.end is not None:
        return None, len(cut.spans) if cut is not None else 0
    whole = len(cut.spans)
    bundle = leniently(raw[: cut.start].rstrip() + b"[]}")
    if bundle is None or bundle.get("resourceType") != "Bundle" or not objects(bundle.get("link")):
        return None, whole
    return _page(bundle, (Entry({}, why, raw[cut.last : cut.last + SHOWN].lstrip()),), date), whole


class _Envelope(msgspec.Struct):
    resourceType: Any = None
    link: Any = None
    meta: Any = None
    entry: list[msgspec.Raw] | None = None


_at_once = msgspec.json.Decoder(_Envelope).decode


def _parted(raw: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The envelope without its entries, and these."""
    if raw.count(b'"entry"') <= 1:  # else it may stand there twice
        try:
            read = _at_once(raw)
            return {n: getattr(read, n) for n in _Envelope.__struct_fields__[:-1]}, [bytes(e) for e in read.entry or ()]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
    if raw.count(b"{") + raw.count(b"[") > MOST_BRACKETS:
        raise Problem("malformed", "A page that cannot be read, and is too large to be searched for what of it can.")
    cut = _Cut.of(raw)
    if cut is None or cut.end is None:
        raise Problem("malformed", "Not JSON, or no Bundle with entries.")
    return leniently(raw[: cut.start] + b"[]" + raw[cut.end :]) or {}, [raw[a:b].strip() for a, b in cut.spans]


def _page(bundle: dict[str, Any], entries: tuple[Entry, ...], date: datetime | None) -> Page:
    links = {str(one.get("relation")): url for one in reversed(objects(bundle.get("link"))) if isinstance(url := one.get("url"), str)}
    meta = bundle.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    return Page(entries, links.get("next"), updated if isinstance(updated, str) else "", date, _heeded(links.get("self", "")))


def _heeded(own: str) -> frozenset[str] | None:
    """HAPI names none where it was asked by a POST."""
    names = {name.partition(":")[0] for name, _ in parse_qsl(own.partition("?")[2], keep_blank_values=True)}
    return frozenset(names) if names else None


def _entry(raw: bytes, base: str) -> Entry:
    try:
        value = relative(strict.read(raw), base)
    except Problem as p:
        return Entry({}, p.text, raw[:SHOWN])
    resource = value.get("resource")
    if resource is None:
        known = name_in(_url(value)) or name_in(value.get("fullUrl"))
        return Entry(value, "" if known else "An entry that is neither a resource nor the deletion of one.")
    said = isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome"
    return Entry(value, "" if said else outline(resource))


def _url(value: dict[str, Any]) -> Any:
    request = value.get("request")
    return request.get("url") if isinstance(request, dict) else None


def _told(raw: bytes) -> dict[str, Any] | None:
    """The outline of what cannot be read."""
    whole = leniently(raw) if len(raw) < SHOWN else None
    if whole is not None:
        return whole.get("resource") if isinstance(whole.get("resource"), dict) else None
    return {"resourceType": _first("resourceType", raw), "id": _first("id", raw)}


def _first(name: str, raw: bytes) -> str:
    found = _TOLD[name].search(raw)
    return found[1].decode(errors="replace") if found is not None else ""


# -- the scan -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where the list of entries stands: from its bracket `start` to after `end` (None: it breaks off in the entry that begins at `last`)."""

    start: int
    end: int | None
    spans: list[tuple[int, int]]
    last: int

    @classmethod
    def of(cls, raw: bytes) -> _Cut | None:
        """None where there is no such list in the outermost object, or the brackets do not fit."""
        start = last = -1
        end: int | None = None
        spans: list[tuple[int, int]] = []
        for at, token, depth in _walk(raw):
            if depth < 0:
                return None
            if depth == 1 and token == b'"entry"' and (value := _NAME.match(raw, at + 7)) is not None:
                if start >= 0 or raw[value.end() : value.end() + 1] != b"[":
                    return None
                start, last = value.end(), value.end() + 1
            elif start >= 0 and end is None and at > start:
                if token == b"]" and depth == 1:
                    end = at + 1
                if (token == b"," and depth == 2) or end is not None:
                    if raw[last:at].strip():
                        spans.append((last, at))
                    last = at + 1
        return None if start < 0 else cls(start, end, spans, last)


def _walk(raw: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Each string, bracket and comma: where, what, and how deep it is after it; -1 where a bracket closes what none opened."""
    open_ = bytearray()
    for found in _TOKEN.finditer(raw):
        token = found[0]
        if token in b"{[":
            open_ += token
        elif token in b"}]":
            if not open_ or open_[-1:] + token not in (b"{}", b"[]"):
                yield found.start(), token, -1
                return
            del open_[-1]
        yield found.start(), token, len(open_)
