"""What a Bundle must hold besides its shape. https://hl7.org/fhir/R4/bundle.html#rules"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from .primitives import is_absolute

Node = dict[str, Any]
Say = Callable[[str, str, str, str], None]  # issue code, where below the bundle, sentence, rule

_SERVED = re.compile(r"(https?://.+/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_VERSIONED = re.compile(r"(.+)/_history/([^/]+)")
_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.*|[^/]+/[^/]*(?:/_history/[^/]+)?")  # of a reference inside an entry
ASKING = ("batch", "transaction", "history")
ANSWERING = ("batch-response", "transaction-response", "history")
NAMELESS = ("batch", "transaction", "batch-response", "transaction-response")  # whose entries need no fullUrl of their own
PAGES = ("first", "prev", "previous", "next", "last")
# What a Composition and its sections refer to within their document; `.` leads down.
_COMPOSED = ("subject", "author", "encounter", "custodian", "attester.party", "event.detail")
_SECTIONED = ("author", "focus", "entry")
_NO_LINK = frozenset({"system", "profile", "fullUrl", "endpoint", "div"})  # strings that lead to no entry, whatever they hold


class Entries:
    """The entries of a Bundle, and which of them a reference means. https://hl7.org/fhir/R4/bundle.html#references"""

    def __init__(self, bundle: Node) -> None:
        some = bundle.get("entry")
        self.kind = bundle.get("type")
        self.all: list[Node] = [e if type(e) is dict else {} for e in some] if type(some) is list else []
        self.by_url: dict[str, int] = {}
        for i, entry in enumerate(self.all):
            if type(url := entry.get("fullUrl")) is str:
                self.by_url.setdefault(url, i)

    def meant(self, reference: str, at: int) -> int | None:
        """The entry that a reference in entry `at` leads to; None when it leads out of the Bundle."""
        url = reference
        if not is_absolute(reference):
            base = _SERVED.fullmatch(str(self.all[at].get("fullUrl", "")))
            if base is None:
                return None
            url = base[1] + reference
        if m := _VERSIONED.fullmatch(url):
            found = self.by_url.get(m[1])
            return found if found is not None and _version(self.all[found]) == m[2] else None
        return self.by_url.get(url)

    def type_of(self, at: int) -> str:
        return _type(self.all[at])

    def wrong_form(self, reference: str, at: int) -> str:
        """Why a reference cannot stand in this entry; "" when it can."""
        if type(self.all[at].get("fullUrl")) is not str:
            return "" if self.kind in ANSWERING[:2] else "An entry whose resource refers to others needs a fullUrl."
        if _FORM.fullmatch(reference) or (self.kind in ASKING[:2] and re.match(r"[A-Z][A-Za-z]+\?", reference)):
            return ""
        return f"`{reference[:80]}` is not a reference: a relative one is Type/id."


def check(bundle: Node, say: Say) -> None:
    """Say everything that is wrong with the bundle as a bundle; its entries' resources are checked where they stand."""
    kind = bundle.get("type")
    held = Entries(bundle)
    entries = [(f"entry[{i}]", e) for i, e in enumerate(held.all)]
    if "total" in bundle and kind not in ("searchset", "history"):
        say("invariant", "total", "Only a searchset or history has a total.", "bdl-1")
    if kind != "searchset" and any("search" in e for _, e in entries):
        say("invariant", "", "Only a searchset's entries have `search`.", "bdl-2")
    for at, entry in entries:
        _entry(kind, at, entry, say)
    _once(kind, entries, say)
    _links(kind, bundle, say)
    if kind == "searchset":
        _found(bundle, entries, say)
    if kind == "document":
        _document(bundle, say)
    if kind in ("document", "message"):
        first = "Composition" if kind == "document" else "MessageHeader"
        if not entries or held.type_of(0) != first:
            say("invariant", "", f"The first entry of a {kind} is a {first}.", "bdl-11" if kind == "document" else "bdl-12")
        else:
            _leads(held, say)


def _version(entry: Node) -> str:
    resource = entry.get("resource")
    meta = resource.get("meta") if type(resource) is dict else None
    return str(meta.get("versionId", "")) if type(meta) is dict else ""


def _type(entry: Node) -> str:
    resource = entry.get("resource")
    return str(resource.get("resourceType", "")) if type(resource) is dict else ""


def _entry(kind: Any, at: str, entry: Node, say: Say) -> None:
    resource = entry.get("resource")
    if not {"request", "response"} & entry.keys() and (type(resource) is not dict or not resource.keys() - {"resourceType"}):
        say("invariant", at, "An entry needs a resource, a request or a response.", "bdl-5")
    if ("request" in entry) != (kind in ASKING):
        say("invariant", at, f"`request` belongs in every entry of a {', '.join(ASKING)}, and nowhere else.", "bdl-3")
    if ("response" in entry) != (kind in ANSWERING):
        say("invariant", at, f"`response` belongs in every entry of a {', '.join(ANSWERING)}, and nowhere else.", "bdl-4")
    url = entry.get("fullUrl")
    if type(url) is str:
        _full_url(at, entry, url, say)
    elif "fullUrl" not in entry and "_fullUrl" not in entry and kind not in NAMELESS:
        say("required", at, f"Every entry of a {str(kind)[:40]} has a fullUrl.", "")


def _full_url(at: str, entry: Node, url: str, say: Say) -> None:
    if "/_history/" in url:
        say("invariant", at, "A fullUrl names no version.", "bdl-8")
    if not is_absolute(url):
        say("invalid", at, f"The fullUrl must be absolute, not `{url[:80]}`.", "")
    resource = entry.get("resource")
    own = resource.get("id") if type(resource) is dict else None
    if not _type(entry) or not _SERVED.fullmatch(url):
        return
    if own is None:
        say("invalid", at, f"The fullUrl `{url[:80]}` names an id, the resource has none.", "")
    elif not url.endswith(f"/{_type(entry)}/{own}"):
        say("invalid", at, f"The fullUrl `{url[:80]}` must end in the resource's type and id, `{_type(entry)}/{str(own)[:64]}`.", "")


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


def _links(kind: Any, bundle: Node, say: Say) -> None:
    some = bundle.get("link")
    relations = Counter(str(n.get("relation")) for n in some if type(n) is dict) if type(some) is list else Counter()
    for relation, count in relations.items():
        if relation in PAGES and relation != "prev" and kind not in ("searchset", "history"):
            say("invalid", "link", f"The link `{relation}` belongs in a searchset or a history.", "")
        elif count > 1 and (relation in ("self", *PAGES)):
            say("invalid", "link", f"The link `{relation[:40]}` may stand once.", "")


def _found(bundle: Node, entries: list[tuple[str, Node]], say: Say) -> None:
    """What a searchset's entries are: matches of the types that were asked for, what they include, one outcome."""
    asked = _asked(bundle)
    for at, entry in entries:
        resource = entry.get("resource")
        if type(resource) is not dict:
            say("invalid", at, "An entry of a searchset has a resource.", "")
            continue
        search = entry.get("search")
        mode = search.get("mode") if type(search) is dict else None
        if mode in ("match", "include") and "id" not in resource:
            say("invalid", f"{at}.resource", "What a search finds has an id.", "")
        if mode == "match" and asked and _type(entry) not in asked:
            say("invalid", f"{at}.resource", f"A {_type(entry)[:64]} is no match of a search for {', '.join(list(asked)[:8])[:120]}.", "")
        if mode == "outcome" and _type(entry) != "OperationOutcome":
            say("invalid", f"{at}.resource", f"The outcome of a search is an OperationOutcome, not a {_type(entry)[:64]}.", "")


def _asked(bundle: Node) -> dict[str, None]:
    """The types that the self link asked for, in order; none when it does not say."""
    some = bundle.get("link")
    own = [n for n in some if type(n) is dict and n.get("relation") == "self"] if type(some) is list else []
    url, _, query = str(own[0].get("url", "")).partition("?") if own else ("", "", "")
    last = url.rpartition("/")[2]
    if re.fullmatch(r"[A-Z][A-Za-z]+", last):
        return {last: None}
    return {t: None for part in query.split("&") if part.startswith("_type=") for t in part[6:].split(",")}


def _document(bundle: Node, say: Say) -> None:
    identifier = bundle.get("identifier")
    if type(identifier) is not dict or not {"system", "value"} <= identifier.keys():
        say("invariant", "", "A document has an identifier with a system and a value.", "bdl-9")
    if "timestamp" not in bundle:
        say("invariant", "", "A document has a timestamp.", "bdl-10")


# -- what leads where in a document or message -------------------------------------------------------------------------


def _leads(held: Entries, say: Say) -> None:
    first = held.all[0]["resource"]
    named = _below(first, "focus") if held.kind == "message" else [r for p in _COMPOSED for r in _below(first, p)] + list(_sections(first))
    for reference in named:
        to = reference.get("reference")
        if type(to) is str and to[:1] != "#" and held.meant(to, 0) is None:
            say("not-found", "entry[0].resource", f"`{to[:80]}` is not in this {held.kind}, as it must be.", "")
    if held.kind == "document":
        for i in _apart(held):
            say("invalid", f"entry[{i}]", "Nothing in the document leads to this entry, or from it to the rest.", "")


def _sections(node: Node) -> Iterator[Node]:
    for section in _below(node, "section"):
        for path in _SECTIONED:
            yield from _below(section, path)
        yield from _sections(section)


def _below(node: Node, path: str) -> list[Node]:
    """The objects at `path` below it."""
    nodes = [node]
    for name in path.split("."):
        found = [n.get(name) for n in nodes]
        nodes = [v for f in found for v in (f if type(f) is list else [f]) if type(v) is dict]
    return nodes


def _apart(held: Entries) -> list[int]:
    """The entries that are not connected with the first, in either direction."""
    near: dict[int, set[int]] = {i: set() for i in range(len(held.all))}
    for i, entry in enumerate(held.all):
        for text in _strings(entry.get("resource")):
            to = held.meant(text, i)
            if to is not None:
                near[i].add(to)
                near[to].add(i)
    seen, todo = {0}, [0]
    while todo:
        fresh = near[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return [i for i, entry in enumerate(held.all) if i not in seen and type(entry.get("resource")) is dict]


def _strings(node: Any) -> Iterator[str]:
    if type(node) is dict:
        for name, value in node.items():
            if type(value) is str and name not in _NO_LINK:
                yield value
            elif type(value) in (dict, list):
                yield from _strings(value)
    elif type(node) is list:
        for value in node:
            yield from _strings(value)
