"""Bundles out of stored bytes, and what a transaction needs before it can be written: references rewritten and found.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from . import strict
from .lint import warnings
from .problem import Issue, outcome
from .r4 import R4
from .speaking import unlabelled
from .types import Ref


class Row(Protocol):
    """One entry as the gate gives it."""

    @property
    def ref(self) -> Ref: ...
    @property
    def version(self) -> int: ...
    @property
    def updated(self) -> datetime: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def mode(self) -> str: ...
    @property
    def method(self) -> str: ...


class Rows(Protocol):
    @property
    def entries(self) -> Sequence[Any]: ...
    @property
    def total(self) -> int | None: ...


class Done(Protocol):
    """What a write did."""

    @property
    def ref(self) -> Ref: ...
    @property
    def version(self) -> int: ...
    @property
    def updated(self) -> datetime: ...
    @property
    def did(self) -> str: ...
    @property
    def shown(self) -> bool: ...


_encode = msgspec.json.encode
_LINK = re.compile(r"""(\b(?:href|src)=["'])(urn:[^"'<>]*)(["'])""")
_LINKS = frozenset({"uri", "url", "oid", "uuid"})


def searchset(page: Rows, base: str, links: Mapping[str, str]) -> bytes:
    """The Bundle of a search: stored bytes are joined, never re-encoded."""
    return _bundle(b"searchset", page, links, [_found(e, base) for e in page.entries])


def history(page: Rows, base: str, links: Mapping[str, str]) -> bytes:
    """The Bundle of a history, newest first; a deletion has no resource."""
    return _bundle(b"history", page, links, [_happened(e, base) for e in page.entries])


def document(front: bytes, front_id: str, parts: Sequence[tuple[Ref, bytes]], base: str, *, identifier: str, at: datetime) -> bytes:
    """The Bundle of a document: `front` is its Composition, the rest stored bytes, joined."""
    head = {
        "resourceType": "Bundle", "type": "document",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{identifier}"}, "timestamp": instant(at),
    }  # fmt: skip
    named = [(f"urn:uuid:{front_id}", front), *((f"{base}/{ref}", raw) for ref, raw in parts)]
    entries = b",".join(b'{"fullUrl":"%s","resource":%s}' % (url.encode(), raw) for url, raw in named)
    return _encode(head)[:-1] + b',"entry":[' + entries + b"]}"


def _bundle(type: bytes, page: Rows, links: Mapping[str, str], entries: list[bytes]) -> bytes:
    parts = [b'{"resourceType":"Bundle","type":"', type, b'"']
    if page.total is not None:
        parts += [b',"total":', str(page.total).encode()]
    if links:
        parts += [b',"link":', _encode([{"relation": k, "url": v} for k, v in links.items()])]
    if entries:
        parts += [b',"entry":[', b",".join(entries), b"]"]
    parts.append(b"}")
    return b"".join(parts)


def _found(e: Row, base: str) -> bytes:
    url = f"{base}/{e.ref.type}/{e.ref.id}"
    return b'{"fullUrl":"%s","resource":%s,"search":{"mode":"%s"}}' % (url.encode(), e.body or b"{}", e.mode.encode())


def _happened(e: Row, base: str) -> bytes:
    method = "DELETE" if e.body is None else "POST" if e.version == 1 else "PUT"
    status = {"DELETE": "204 No Content", "POST": "201 Created", "PUT": "200 OK"}[method]
    about = {
        "request": {"method": method, "url": e.ref.type if method == "POST" else str(e.ref)},
        "response": {"status": status, "etag": f'W/"{e.version}"', "lastModified": instant(e.updated)},
    }
    body = b"" if e.body is None else b'"resource":%s,' % e.body
    return b'{"fullUrl":"%s",%s%s' % (f"{base}/{e.ref}".encode(), body, _encode(about)[1:])


SAID = {"created": "Created.", "unchanged": "Nothing to change.", "matched": "It was here already.", "deleted": "Deleted.", "drafted": "Kept as a draft: it counts once the person accepts it."}


def informed(text: str, body: bytes | None = None, more: Sequence[Issue] = ()) -> dict[str, Any]:
    """An OperationOutcome that says it went well, with what may surprise about a Consent and what in their own words the writer
    may want to think about (`body`); `more` is what else is known."""
    hints = unlabelled(strict.decode(body)) if body is not None else []
    return outcome([Issue("information", "informational", "", text), *warnings(body), *more, *hints])


def answered(done: Done, prefer: str = "", base: str = "") -> dict[str, Any]:
    """The response entry of one write, without a version where it is not shown; with the resource or an OperationOutcome where `prefer` (`Prefer: return=`) says so."""
    status = {"created": "201 Created", "deleted": "204 No Content", "drafted": "202 Accepted"}.get(done.did, "200 OK")
    about = {"location": f"{done.ref}/_history/{done.version}", "etag": f'W/"{done.version}"', "lastModified": instant(done.updated)}
    out: dict[str, Any] = {"response": {"status": status, **(about if done.shown else {"location": str(done.ref)} if done.ref.id else {})}}
    body = getattr(done, "body", None)
    if prefer == "representation" and body is not None:
        return {"fullUrl": f"{base}/{done.ref}", "resource": msgspec.Raw(body), **out}
    if prefer == "OperationOutcome":
        out["response"]["outcome"] = informed(SAID.get(done.did, "Updated."), body, getattr(done, "issues", ()))
    return out


def instant(at: datetime) -> str:
    """As FHIR writes it, to the millisecond."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


# -- references of a transaction ---------------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    """Every `reference` in a resource."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "reference" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def conditional_references(resource: Any) -> list[str]:
    """References of the form `Type?search`, each once (https://hl7.org/fhir/R4/http.html#trules)."""
    return list(dict.fromkeys(r for r in references(resource) if "?" in r and not r.startswith(("http:", "https:", "urn:", "#"))))


def urn_references(resource: Any) -> list[str]:
    """References to another entry of the Bundle by `urn:uuid:` or `urn:oid:`, each once, without a fragment."""
    return list(dict.fromkeys(r.split("#", 1)[0] for r in references(resource) if r.startswith(("urn:uuid:", "urn:oid:"))))


def rewrite(node: Any, names: Mapping[str, str], full_url: str = "", r4: R4 | None = None) -> Any:
    """The same resource with every reference in `names` replaced. Other texts stay as they are, also where they look alike.

    With the entry's own `full_url` (`http://base/Type/id`) a relative `Goal/1` also stands for `http://base/Goal/1`
    (https://hl7.org/fhir/R4/bundle.html#references). With `r4` elements that are a uri, url, oid or uuid are links, too
    (Attachment.url), and so are `href` and `src` in narrative (https://hl7.org/fhir/R4/http.html#trules).
    """
    base = full_url.rsplit("/", 2)[0] if full_url.startswith(("http:", "https:")) else ""
    return _Names(names, base, r4).rewritten(node, str(node.get("resourceType", "")) if isinstance(node, dict) else "")


@dataclass(frozen=True, slots=True)
class _Names:
    names: Mapping[str, str]
    base: str
    r4: R4 | None

    def rewritten(self, node: Any, path: str) -> Any:
        if isinstance(node, dict):
            path = str(node.get("resourceType") or path)
            return {k: self._value(k, v, f"{path}.{k}") for k, v in node.items()}
        if isinstance(node, list):
            return [self._value("", v, path) for v in node]
        return node

    def _value(self, key: str, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            return self.rewritten(value, path)
        if key == "reference":
            return self._renamed(value)
        if self.r4 is None:
            return value
        if key == "div":
            return _LINK.sub(lambda m: m[1] + self.names.get(m[2], m[2]) + m[3], value)
        if value in self.names and value.startswith("urn:"):
            element = self.r4.element(path)
            return self.names[value] if element is not None and _LINKS.issuperset(element.types) else value
        return value

    def _renamed(self, reference: str) -> str:
        if reference in self.names:
            return self.names[reference]
        target, mark, fragment = reference.partition("#")
        if target in self.names:
            return self.names[target] + mark + fragment
        if self.base and ":" not in target:
            return self.names.get(f"{self.base}/{target}", target) + mark + fragment
        return reference
