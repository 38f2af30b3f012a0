"""Bundles out of stored bytes, and what a transaction needs before it can be written: references rewritten and found.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

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


_encode = msgspec.json.encode


def searchset(page: Rows, base: str, links: Mapping[str, str]) -> bytes:
    """The Bundle of a search: stored bytes are joined, never re-encoded."""
    return _bundle(b"searchset", page, links, [_found(e, base) for e in page.entries])


def history(page: Rows, base: str, links: Mapping[str, str]) -> bytes:
    """The Bundle of a history, newest first; a deletion has no resource."""
    return _bundle(b"history", page, links, [_happened(e, base) for e in page.entries])


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
        "response": {"status": status, "etag": f'W/"{e.version}"', "lastModified": _instant(e.updated)},
    }
    body = b"" if e.body is None else b'"resource":%s,' % e.body
    return b'{"fullUrl":"%s",%s%s' % (f"{base}/{e.ref}".encode(), body, _encode(about)[1:])


def answered(done: Done) -> dict[str, Any]:
    """The response entry of one write."""
    status = {"created": "201 Created", "deleted": "204 No Content"}.get(done.did, "200 OK")
    return {
        "response": {
            "status": status,
            "location": f"{done.ref}/_history/{done.version}",
            "etag": f'W/"{done.version}"',
            "lastModified": _instant(done.updated),
        }
    }


def _instant(at: datetime) -> str:
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


def conditional_references(resource: Mapping[str, Any]) -> list[str]:
    """References of the form `Type?search`, each once (https://hl7.org/fhir/R4/http.html#trules)."""
    return list(dict.fromkeys(r for r in references(resource) if "?" in r and not r.startswith(("http:", "https:", "urn:", "#"))))


def urn_references(resource: Mapping[str, Any]) -> list[str]:
    """References to another entry of the Bundle by `urn:uuid:` or `urn:oid:`, each once, without a fragment."""
    return list(dict.fromkeys(r.split("#", 1)[0] for r in references(resource) if r.startswith(("urn:uuid:", "urn:oid:"))))


def rewrite(node: Any, names: Mapping[str, str], full_url: str = "") -> Any:
    """The same resource with every reference in `names` replaced. Other texts stay as they are, also where they look alike.

    With the entry's own `full_url` (`http://base/Type/id`) a relative `Goal/1` also stands for `http://base/Goal/1`
    (https://hl7.org/fhir/R4/bundle.html#references).
    """
    base = full_url.rsplit("/", 2)[0] if full_url.startswith(("http:", "https:")) else ""
    return _rewritten(node, names, base)


def _rewritten(node: Any, names: Mapping[str, str], base: str) -> Any:
    if isinstance(node, dict):
        return {
            k: _renamed(v, names, base) if k == "reference" and isinstance(v, str) else _rewritten(v, names, base)
            for k, v in node.items()
        }
    if isinstance(node, list):
        return [_rewritten(item, names, base) for item in node]
    return node


def _renamed(reference: str, names: Mapping[str, str], base: str) -> str:
    if reference in names:
        return names[reference]
    target, mark, fragment = reference.partition("#")
    if target in names:
        return names[target] + mark + fragment
    return names.get(f"{base}/{target}", target) + mark + fragment if base and ":" not in target else reference
