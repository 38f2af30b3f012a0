"""What a Subscription asks for, and what a subscriber is told, per the Subscriptions R5 Backport guide for R4.

http://hl7.org/fhir/uv/subscriptions-backport (version 1.1.0). Pure: bodies in, bodies out. Nobody is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from .bundle import instant
from .problem import Problem

GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport"
PROFILE: Final = f"{GUIDE}/StructureDefinition/backport-subscription"
TOPIC: Final = "https://fhir-gateway.example/SubscriptionTopic/record-changed"
OPERATIONS: Final = {name: f"{GUIDE}/OperationDefinition/backport-subscription-{name}" for name in ("status", "events")}
TOPICS_HELD: Final = f"{GUIDE}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
SERVER: Final = f"{GUIDE}/CapabilityStatement/backport-subscription-server-r4"
FILTER: Final = f"{GUIDE}/StructureDefinition/backport-filter-criteria"
CONTENT: Final = f"{GUIDE}/StructureDefinition/backport-payload-content"
HEARTBEAT: Final = f"{GUIDE}/StructureDefinition/backport-heartbeat-period"
TIMEOUT: Final = f"{GUIDE}/StructureDefinition/backport-timeout"
MOST: Final = f"{GUIDE}/StructureDefinition/backport-max-count"
MEDIA: Final = ("application/fhir+json", "application/json")
OF_CHANNEL: Final = (HEARTBEAT, TIMEOUT, MOST)
LONGEST_TIMEOUT: Final = 10  # seconds
LARGEST: Final = 20  # events of one notification
HEADERS: Final = 10
HEADER_BYTES: Final = 4096
# An address that every reader takes apart alike: no name or password, no `\`, no fragment, plain ASCII.
ENDPOINT: Final = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<rest>/[!$&-;=?-\[\]_a-z~%]*)?\Z")
HEADER: Final = re.compile(r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}): ?(?P<value>[\x20-\x7e]{0,2000})\Z")
OF_THE_CONNECTION: Final = frozenset(
    "connection content-encoding content-length content-type expect host keep-alive te trailer transfer-encoding upgrade via".split()
)
NUMBER: Final = re.compile(r"[0-9]{1,12}\Z")
LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a Subscription asks for. `types` and `patients` None: any. `content` "" is plain R4: an empty request and no Bundle."""

    endpoint: str
    place: str  # host:port
    types: frozenset[str] | None
    patients: frozenset[str] | None
    content: str
    heartbeat: int = 0  # seconds; 0: none
    timeout: int = LONGEST_TIMEOUT
    most: int = LARGEST

    def fits(self, type: str, people: Collection[str]) -> bool:
        """Is a change of this type in these people's records asked for at all."""
        return (self.types is None or type in self.types) and (self.patients is None or not self.patients.isdisjoint(people))


@dataclass(frozen=True, slots=True)
class Event:
    """One change as its subscriber is told: `focus` is `Type/id`."""

    number: int
    at: datetime
    focus: str
    method: str  # POST, PUT, DELETE


# -- what is asked for ------------------------------------------------------------------------------------------------


def wanted(resource: Mapping[str, Any], types: Collection[str], allowed: Collection[str], base: str = "") -> Wanted:
    """What this (valid R4) Subscription asks for. `types` are those with records, `allowed` hosts that may be told, `base` our own address.

    Problem business-rule, which names the element that cannot be honoured.
    """
    channel = resource["channel"]
    if channel.get("type") != "rest-hook":
        raise _not("Subscribers are told by `rest-hook`, and by nothing else.", "Subscription.channel.type")
    endpoint, place = address(channel.get("endpoint", ""), allowed)
    criteria = str(resource.get("criteria", ""))
    plain = ":" not in criteria.split("?")[0]
    if plain and channel.get("payload"):
        raise _not("Who subscribes by a search is told by an empty request: leave `payload` out, or subscribe to the topic.", "Subscription.channel.payload")
    _all_understood(resource, channel, plain)
    if plain:
        type, those = _filter(criteria, types, "Subscription.criteria", base)
        return Wanted(endpoint, place, type, those, "")
    if criteria != TOPIC:
        raise _not(f"There is one topic here: `{TOPIC}`.", "Subscription.criteria")
    filters = [str(f) for f in _values(resource.get("_criteria"), FILTER)]
    asked = [_filter(f, types, "Subscription.criteria.extension", base) for f in filters]
    kinds, people = _together(asked)
    content = next(iter(_values(channel.get("_payload"), CONTENT)), None)
    if content not in ("empty", "id-only"):
        raise _not("Say in the extension `backport-payload-content` what is to be told: `empty` or `id-only`. A record itself is read, never sent.", "Subscription.channel.payload")
    if channel.get("payload", MEDIA[0]) not in MEDIA:
        raise _not("Notifications are application/fhir+json or application/json.", "Subscription.channel.payload")
    beat = _whole(channel, HEARTBEAT, 0, 86_400)
    if 0 < beat < 10:
        raise _not("A heartbeat comes every 10 seconds at most.", "Subscription.channel.extension")
    return Wanted(
        endpoint, place, kinds, people, content, beat, _whole(channel, TIMEOUT, LONGEST_TIMEOUT, LONGEST_TIMEOUT) or 1, _whole(channel, MOST, LARGEST, LARGEST) or 1
    )  # fmt: skip


def _all_understood(resource: Mapping[str, Any], channel: Mapping[str, Any], plain: bool) -> None:
    """An extension of what is asked for that is not known here may narrow it, or mean another channel: it is refused, never left out.
    Problem business-rule."""
    places: list[tuple[str, Any, Collection[str]]] = [
        ("criteria", resource.get("_criteria"), () if plain else (FILTER,)),
        ("channel", channel, () if plain else OF_CHANNEL),
        ("channel.payload", channel.get("_payload"), () if plain else (CONTENT,)),
        *((f"channel.{name}", channel.get(f"_{name}"), ()) for name in ("type", "endpoint")),
    ]
    for name, element, known in places:
        urls = [str(e.get("url", "")) for e in element.get("extension", [])] if isinstance(element, Mapping) else []
        for url in urls:
            if url not in known:
                raise _not(f"The extension `{url[:100]}` is not known here, and cannot be left out of what is asked for.", f"Subscription.{name}.extension")
            if url != FILTER and urls.count(url) > 1:
                raise _not(f"`{url.rsplit('/', 1)[-1]}` is given once.", f"Subscription.{name}.extension")


def as_used(channel: Mapping[str, Any], asked: Wanted) -> dict[str, Any]:
    """The channel as its subscriber reads it: without headers, and with the numbers that hold."""
    used = {HEARTBEAT: asked.heartbeat, TIMEOUT: asked.timeout, MOST: asked.most}
    listed = [{k: used.get(e.get("url"), v) if k.startswith("value") else v for k, v in e.items()} for e in channel.get("extension", [])]
    return {**{k: v for k, v in channel.items() if k not in ("header", "_header")}, **({"extension": listed} if listed else {})}


def address(text: str, allowed: Collection[str]) -> tuple[str, str]:
    """(the address as it will be called, `host:port`). Problem business-rule unless it is https (http on this machine) to an allowed place.

    `allowed` holds `host` (its port 443) or `host:port`; what is this machine itself must name its port.
    """
    where = "Subscription.channel.endpoint"
    parts = ENDPOINT.match(text) if len(text) <= 1000 else None
    if parts is None:
        raise _not("`endpoint` must be a plain https address: no name or password, no `#`, nothing but ASCII.", where)
    scheme, host, rest = parts["scheme"].lower(), parts["host"].lower(), parts["rest"] or "/"
    port = int(parts["port"]) if parts["port"] else 443 if scheme == "https" else 80
    here = LOOPBACK.fullmatch(host) is not None
    if scheme != "https" and not here:
        raise _not("`endpoint` must be an https address: who changes what must not be told in the clear.", where)
    place = f"{host}:{port}"
    if place not in allowed and not (port == 443 and not here and host in allowed):
        raise _not(f"`{place[:100]}` is not among the places that this server may tell: its operator lists them in GATEWAY_SUBSCRIBERS, for all or for one client.", where)
    return f"{scheme}://{host}:{port}{rest}", place


def places_of(client: str, listed: Iterable[str]) -> frozenset[str]:
    """Where this client may be told: of `place` and `client=place` those that are for all, and those that are its own."""
    parted = (entry.rpartition("=") for entry in listed)
    return frozenset(place for whose, _, place in parted if whose in ("", client))


def headers(listed: Iterable[Any]) -> list[tuple[str, str]]:
    """The headers a subscriber wants to be sent, which may be secret; one without a value is not sent. Problem business-rule."""
    out: list[tuple[str, str]] = []
    where = "Subscription.channel.header"
    for text in listed:
        found = HEADER.match(str(text))
        if found is None:
            raise _not("A header is `Name: value`, in plain ASCII.", where)
        name = found["name"].lower()
        if name in OF_THE_CONNECTION or name.startswith(("proxy-", "sec-")):
            raise _not(f"The header `{name[:40]}` is this server's own to set.", where)
        if value := found["value"].strip():
            out.append((name, value))
    if len(out) > HEADERS or sum(len(n) + len(v) for n, v in out) > HEADER_BYTES:
        raise _not(f"At most {HEADERS} headers, of {HEADER_BYTES} bytes together.", where)
    return out


def _filter(text: str, types: Collection[str], where: str, base: str) -> tuple[frozenset[str], frozenset[str] | None]:
    """`Goal?patient=1`: (types, patients)."""
    type, _, query = text.partition("?")
    if type not in types:
        raise _not(f"`{text[:80]}` must begin with a type of record, such as `Goal?patient=1`.", where)
    people: frozenset[str] | None = None
    try:
        asked = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20) if query else []
    except ValueError:
        raise _not(f"`{text[:80]}` cannot be read as a search.", where) from None
    for name, value in asked:
        ids = [v.removeprefix(f"{base}/").removeprefix("Patient/") for v in value.split(",")]
        if name not in ("patient", "subject") or not all(re.fullmatch(r"[A-Za-z0-9.-]{1,64}", i) for i in ids) or len(ids) > 100:
            raise _not(f"`{name[:40]}={value[:60]}`: what is told of can be narrowed by type and by `patient=` (ids, with commas), and by nothing else.", where)
        these = frozenset(f"Patient/{i}" for i in ids)
        people = these if people is None else people & these
    return frozenset({type}), people


def _together(asked: Sequence[tuple[frozenset[str], frozenset[str] | None]]) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """All filters hold; one for each of several types must name the same people."""
    if not asked:
        return None, None
    if len({people for _, people in asked}) > 1:
        raise _not("The filters of one Subscription are of the same people: make one for each.", "Subscription.criteria.extension")
    return frozenset().union(*(kinds for kinds, _ in asked)), asked[0][1]


def _values(element: Any, url: str) -> list[Any]:
    listed = element.get("extension", []) if isinstance(element, dict) else []
    return [next((v for k, v in e.items() if k.startswith("value")), None) for e in listed if e.get("url") == url]


def _whole(channel: Any, url: str, default: int, most: int) -> int:
    value = next(iter(_values(channel, url)), default)
    if type(value) is not int or value < 0:
        raise _not(f"`{url.rsplit('/', 1)[-1]}` is a whole number.", "Subscription.channel.extension")
    return min(value, most)


def _not(text: str, where: str) -> Problem:
    return Problem("business-rule", text, where)


# -- what is told -----------------------------------------------------------------------------------------------------


def shown(resource: Mapping[str, Any], status: str, trouble: str = "") -> dict[str, Any]:
    """The Subscription as its subscriber reads it: with the status it has, and without the headers, which may be secret."""
    channel = {k: v for k, v in resource["channel"].items() if k not in ("header", "_header")}
    out = {**{k: v for k, v in resource.items() if k not in ("status", "error", "_error")}, "status": status, "channel": channel}
    return {**out, "error": trouble} if trouble and status in ("error", "off") else out


def status(subscription: str, plain: bool, state: str, kind: str, number: int, events: Iterable[Event] = (), base: str = "", content: str = "empty", trouble: str = "") -> dict[str, Any]:
    """The Parameters of a status. `subscription` is its address; `kind` handshake, heartbeat, event-notification, query-status, query-event."""
    told: list[dict[str, Any]] = [
        {"name": "subscription", "valueReference": {"reference": subscription}},
        *([] if plain or (content == "empty" and kind != "query-status") else [{"name": "topic", "valueCanonical": TOPIC}]),
        {"name": "status", "valueCode": state},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(number)},
    ]
    for e in events:
        part: list[dict[str, Any]] = [{"name": "event-number", "valueString": str(e.number)}, {"name": "timestamp", "valueInstant": instant(e.at)}]
        if content == "id-only":
            part.append({"name": "focus", "valueReference": {"reference": f"{base}/{e.focus}"}})
        told.append({"name": "notification-event", "part": part})
    if trouble:
        told.append({"name": "error", "valueCodeableConcept": {"text": trouble}})
    return {"resourceType": "Parameters", "meta": {"profile": [f"{GUIDE}/StructureDefinition/backport-subscription-status-r4"]}, "parameter": told}


ANSWERS: Final = {"POST": "201", "PUT": "200", "DELETE": "204"}


def notification(id: str, first: Mapping[str, Any], subscription: str, at: datetime, events: Iterable[Event], base: str, content: str) -> dict[str, Any]:
    """A notification Bundle: the status first, then by `id-only` where each change is. Nothing of what it is. `id` is new for each."""
    entries: list[dict[str, Any]] = [
        {"fullUrl": f"urn:uuid:{id}", "resource": dict(first), "request": {"method": "GET", "url": f"{subscription}/$status"}, "response": {"status": "200"}}
    ]
    for e in {e.focus: e for e in events}.values() if content == "id-only" else ():
        url = e.focus.split("/")[0] if e.method == "POST" else e.focus
        entries.append({"fullUrl": f"{base}/{e.focus}", "request": {"method": e.method, "url": url}, "response": {"status": ANSWERS[e.method]}})
    return {
        "resourceType": "Bundle", "meta": {"profile": [f"{GUIDE}/StructureDefinition/backport-subscription-notification-r4"]},
        "type": "history", "timestamp": instant(at), "entry": entries,
    }  # fmt: skip


def statuses(found: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The Bundle of `$status`: (a new id, the Parameters) of each."""
    entries = [{"fullUrl": f"urn:uuid:{id}", "resource": dict(told), "search": {"mode": "match"}} for id, told in found]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), **({"entry": entries} if entries else {})}


__all__ = [
    "CONTENT", "FILTER", "GUIDE", "HEARTBEAT", "MOST", "OPERATIONS", "PROFILE", "SERVER", "TIMEOUT", "TOPIC", "TOPICS_HELD", "Event", "Wanted", "address", "as_used",
    "headers", "notification", "places_of", "shown", "status", "statuses", "wanted",
]  # fmt: skip
