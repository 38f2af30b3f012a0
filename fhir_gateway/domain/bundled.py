"""What a Bundle must hold besides its shape. https://hl7.org/fhir/R4/bundle.html#rules"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from .primitives import is_absolute

Node = dict[str, Any]
Say = Callable[[str, str, str, str], None]  # issue code, where below the bundle, sentence, rule

_SERVED = re.compile(r"https?://.+/[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
ASKING = ("batch", "transaction", "history")
ANSWERING = ("batch-response", "transaction-response", "history")


def check(bundle: Node, say: Say) -> None:
    """Say everything that is wrong with the bundle as a bundle; its entries' resources are checked where they stand."""
    kind = bundle.get("type")
    some = bundle.get("entry")
    entries = [(f"entry[{i}]", e) for i, e in enumerate(some) if type(e) is dict] if type(some) is list else []
    if "total" in bundle and kind not in ("searchset", "history"):
        say("invariant", "total", "Only a searchset or history has a total.", "bdl-1")
    if kind != "searchset" and any("search" in e for _, e in entries):
        say("invariant", "", "Only a searchset's entries have `search`.", "bdl-2")
    for at, entry in entries:
        _entry(kind, at, entry, say)
    _once(kind, entries, say)
    _links(bundle, say)
    if kind == "document":
        _document(bundle, entries, say)
    if kind in ("document", "message"):
        first = "Composition" if kind == "document" else "MessageHeader"
        if not entries or _type(entries[0][1]) != first:
            say("invariant", "", f"The first entry of a {kind} is a {first}.", "bdl-11" if kind == "document" else "bdl-12")


def targets(bundle: Node) -> dict[str, str]:
    """fullUrl -> resource type of the entry."""
    some = bundle.get("entry")
    entries = [e for e in some if type(e) is dict] if type(some) is list else []
    return {e["fullUrl"]: _type(e) for e in entries if type(e.get("fullUrl")) is str and _type(e)}


def _type(entry: Node) -> str:
    resource = entry.get("resource")
    return str(resource.get("resourceType", "")) if type(resource) is dict else ""


def _entry(kind: Any, at: str, entry: Node, say: Say) -> None:
    if not {"resource", "request", "response"} & entry.keys():
        say("invariant", at, "An entry needs a resource, a request or a response.", "bdl-5")
    if ("request" in entry) != (kind in ASKING):
        say("invariant", at, f"`request` belongs in every entry of a {', '.join(ASKING)}, and nowhere else.", "bdl-3")
    if ("response" in entry) != (kind in ANSWERING):
        say("invariant", at, f"`response` belongs in every entry of a {', '.join(ANSWERING)}, and nowhere else.", "bdl-4")
    url = entry.get("fullUrl")
    if type(url) is str:
        _full_url(kind, at, entry, url, say)


def _full_url(kind: Any, at: str, entry: Node, url: str, say: Say) -> None:
    if "/_history/" in url:
        say("invariant", at, "A fullUrl names no version.", "bdl-8")
    if not is_absolute(url):
        say("invalid", at, f"The fullUrl must be absolute, not `{url[:80]}`.", "")
    resource = entry.get("resource")
    own = resource.get("id") if type(resource) is dict else None
    if type(own) is str and url.startswith(("http://", "https://")) and url.rpartition("/")[2] != own:
        say("invalid", at, f"The fullUrl `{url[:80]}` must end in the resource's id, `{own[:64]}`.", "")
    elif own is None and _type(entry) and _SERVED.fullmatch(url):
        say("invalid", at, f"The fullUrl `{url[:80]}` names an id, the resource has none.", "")


def _once(kind: Any, entries: list[tuple[str, Node]], say: Say) -> None:
    if kind == "history":
        return
    seen: set[tuple[str, str]] = set()
    for at, entry in entries:
        if type(url := entry.get("fullUrl")) is not str:
            continue
        resource = entry.get("resource")
        meta = resource.get("meta") if type(resource) is dict else None
        key = (url, str(meta.get("versionId", "")) if type(meta) is dict else "")
        if key in seen:
            say("invariant", at, f"The fullUrl `{url[:80]}` stands twice.", "bdl-7")
        seen.add(key)


def _links(bundle: Node, say: Say) -> None:
    some = bundle.get("link")
    relations = Counter(str(n.get("relation")) for n in some if type(n) is dict) if type(some) is list else Counter()
    for relation, count in relations.items():
        if count > 1 and relation in ("self", "first", "prev", "previous", "next", "last"):
            say("invalid", "link", f"The link `{relation[:40]}` may stand once.", "")


def _document(bundle: Node, entries: list[tuple[str, Node]], say: Say) -> None:
    identifier = bundle.get("identifier")
    if type(identifier) is not dict or not {"system", "value"} <= identifier.keys():
        say("invariant", "", "A document has an identifier with a system and a value.", "bdl-9")
    if "timestamp" not in bundle:
        say("invariant", "", "A document has a timestamp.", "bdl-10")
    for at, entry in entries:
        if "fullUrl" not in entry:
            say("required", at, "Every entry of a document has a fullUrl.", "")
