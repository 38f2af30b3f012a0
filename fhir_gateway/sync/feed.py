"""What a server says has changed, page by page: a history feed, or a search by last change.

A feed is believed only so far: that something changed. http://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from ..gate.context import Remote
from ..remote.abilities import Abilities
from ..remote.client import MOST_PAGES, Down, Refusal
from ..remote.pages import Entry
from ..remote.pages import Page as Given
from ..remote.replies import outline
from .asked import types_of
from .partner import Partner

MANY = 100
NUMBER = re.compile(r"[0-9]{1,18}")
ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9.-]{1,64}")  # http://hl7.org/fhir/R4/datatypes.html#id, but no step up in an address
# {"id": "Type/id", "resource": dict or None, "updated", "broken": why it is none, "doubt": what else may be its newest state}
Change = dict[str, Any]


class Expired(Exception):
    """A link to the next page leads nowhere any more, or round in a circle: the window is read anew."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A row of pages with its own watermark. `type` None: over all types; `history`: newest first, and tells of deletions."""

    name: str
    type: str | None
    history: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Its changes in the order of the feed; `at` is that server's own time, "" where it does not say; `date` when it answered, if it says so.
    `beyond`: a stamp under which there is more than can be reached; nothing else then."""

    changes: list[Change]
    at: str
    date: datetime | None = None
    beyond: str = ""


def feeds(terms: Remote, abilities: Abilities) -> list[Feed]:
    """What to read from this server under this agreement. A feed over all has a watermark for each set of types: what was not agreed
    when it was read is read once it is."""
    if abilities.system_history:
        few = f" {sha256(' '.join(sorted(terms.types)).encode()).hexdigest()[:8]}" if terms.types is not None else ""
        return [Feed(f"system{few}", None, True)]
    return [Feed(type, type, type in abilities.type_history) for type in types_of(terms, abilities)]


async def pages(partner: Partner, feed: Feed, since: str | None) -> AsyncIterator[Page]:
    """Expired where a later page cannot be had; Refusal where the server does not offer this feed at all. Down where they have no end.

    A search whose later page is refused (one server lets nobody go through more than 10,000 entries) goes on from the newest stamp that it
    showed, where these rise. Where that is one stamp, twice, the rest of it is out of reach: said, and it goes on behind that stamp.
    """
    start, given, stuck = since, 0, False
    while True:
        newest, rising = "", not feed.history
        try:
            async for page in _asked(partner, feed, start):
                given += 1
                if given > MOST_PAGES:
                    raise Down(f"its pages have no end: more than {MOST_PAGES}")
                changes = _newest(_changes(page, feed)) if feed.history else _changes(page, feed)
                stamps = [newest, *(c["updated"] for c in changes if c["updated"])]
                newest, rising = max(stamps), rising and stamps == sorted(stamps)
                yield Page(changes, _at(page), page.date)
            return
        except Refusal as e:
            if not given or e.status not in (400, 404, 410):
                raise
            ahead = rising and newest > (utc(start) if start else "")
            if not ahead and not (rising and newest and e.status == 400):
                raise Expired(str(e)) from None
        if not ahead and stuck:
            yield Page([], "", beyond=newest)
            newest = _behind(newest)
        start, stuck = newest, not ahead and not stuck


def _asked(partner: Partner, feed: Feed, since: str | None) -> AsyncIterator[Given]:
    if feed.history:
        return partner.server.history(feed.type, since)
    assert feed.type is not None
    return partner.server.search(feed.type, {"_sort": "_lastUpdated", "_count": str(MANY), **({"_lastUpdated": f"ge{since}"} if since else {})})


def _behind(stamp: str) -> str:
    """The next stamp that there can be. Expired where there is none."""
    try:
        return utc((datetime.fromisoformat(stamp) + timedelta(milliseconds=1)).isoformat())
    except OverflowError:
        raise Expired("its last stamp is the last that there is") from None


def _changes(page: Given, feed: Feed) -> list[Change]:
    found = [_change(e, feed) for e in page.entries]
    return [c for c in found if c is not None and (c["broken"] or feed.type is None or c["id"].startswith(f"{feed.type}/"))]


def _change(entry: Entry, feed: Feed) -> Change | None:
    """One entry. A deletion in a history names what is gone in its address: absolute or relative, with or without its version."""
    if entry.broken:
        return {"id": entry.name, "resource": entry.shown, "updated": utc(entry.updated), "broken": entry.broken, "doubt": ""}
    resource, request, response = (entry.value.get("resource"), *(_object(entry.value.get(n)) for n in ("request", "response")))
    if resource is not None and (request.get("method") != "DELETE" or not feed.history):
        return None if _object(resource).get("resourceType") == "OperationOutcome" else change_of(resource)  # what it has to say of the feed
    for address in (request.get("url"), entry.value.get("fullUrl")) if feed.history else ():
        parts = str(address or "").split("?")[0].partition("/_history")[0].rstrip("/").split("/")[-2:]
        if len(parts) == 2 and parts[0][:1].isupper() and ID.fullmatch(parts[1]):
            return {"id": "/".join(parts), "resource": None, "updated": utc(str(response.get("lastModified", ""))), "broken": "", "doubt": ""}
    return None


def _newest(changes: list[Change]) -> list[Change]:
    """Of a page of a history the newest state of each resource, oldest first."""
    latest: dict[str, Change] = {}
    for change in changes:
        known = latest.get(change["id"])
        latest[change["id"]] = change if known is None else newer(known, change)
    return list(latest.values())[::-1]


def newer(known: Change, other: Change) -> Change:
    """Of two states of a resource in one history the newer one. What stands first is newer; where their stamps and versions do not say so,
    too, it is in doubt."""
    if later(known, other):
        return known
    return {**known, "doubt": f"{known['doubt']} {state_of(other)}"}


def later(one: Change, other: Change) -> bool:
    """Do the stamps and the versions both say that `one` is the later state? A clock may have been put back; versions that are no numbers
    say nothing."""
    a, b = _version(one), _version(other)
    return one["updated"] > other["updated"] > "" and bool(NUMBER.fullmatch(a) and NUMBER.fullmatch(b)) and int(a) > int(b)


def stamped(change: Change) -> Change:
    """What tells whether another state of the same is later, without the resource: a feed may be longer than there is memory."""
    return {**change, "resource": {"meta": {"versionId": _version(change)}}, "broken": ""}


def _at(page: Given) -> str:
    """The earlier of both, where it says both."""
    said = utc(page.updated), utc(page.date.isoformat()) if page.date is not None else ""
    return min((at for at in said if at), default="")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def change_of(resource: Any) -> Change:
    """What is no resource keeps the place of one, to be quarantined: it must not stop what stands beside it."""
    held = _object(resource)
    updated = utc(str(_object(held.get("meta")).get("lastUpdated", "")))
    broken = _broken(resource)
    name = f"{held.get('resourceType')}/{held.get('id')}"
    if broken and not _named(held):
        name = f"unnamed/{sha256(repr(resource).encode()).hexdigest()[:16]}"
    return {"id": name, "resource": resource, "updated": updated, "broken": broken, "doubt": ""}


def askable(name: str) -> bool:
    """Is this a `Type/id` that a server can be asked for? What is broken may have a name of ours alone."""
    type, _, id = name.partition("/")
    return type.isascii() and type.isalpha() and type[0].isupper() and ID.fullmatch(id) is not None


def _named(held: dict[str, Any]) -> bool:
    type, id = held.get("resourceType"), held.get("id")
    return isinstance(type, str) and isinstance(id, str) and type.isalpha() and ID.fullmatch(id) is not None


def _broken(resource: Any) -> str:
    """Why this is not even the outline of a resource; "" when it is."""
    return outline(resource) or ("" if _named(resource) else "A resource whose type or id is none of FHIR.")


def state_of(change: Change) -> str:
    """What tells one state of a resource from another: its id with its version and stamp, else with its content."""
    resource, updated, version = change["resource"], change["updated"], _version(change)
    if change["broken"] or not (version or updated):
        version = sha256(repr(resource).encode()).hexdigest()[:32]
    return f"{change['id']} {version} {updated}{change['doubt']}"


def _version(change: Change) -> str:
    """As their server calls it; "" where it does not say, or of a deletion."""
    version = _object(_object(change["resource"]).get("meta")).get("versionId")
    return str(version or "")


def utc(text: str) -> str:
    """One spelling, so that instants compare as texts; to the millisecond, as some servers cut them."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return ""
