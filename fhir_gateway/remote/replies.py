"""What a server says of one resource, and how far that is believed: a reply, the outline of a resource, its ETag, what it sets itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2

from ..domain import strict
from ..domain.problem import Problem
from ..domain.spelling import named
from .waiting import instant

_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_NAMED = re.compile(r"(?<![A-Za-z0-9.-])[A-Z][A-Za-z]{1,63}/[A-Za-z0-9-](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9-])?(?![A-Za-z0-9-])")
_LONGEST_TAG, _LONGEST_WORDS = 200, 10_000
_USUAL = {"http": ":80", "https": ":443"}
_SENDABLE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` None: it said nothing, or nothing that can be kept. `location` is `Type/id` where a resource was named."""

    status: int
    body: dict[str, Any] | None
    etag: str = ""  # as it came
    location: str = ""
    date: datetime | None = None


def of_response(response: httpx2.Response) -> Reply:
    """Its status and headers."""
    h = response.headers
    return Reply(response.status_code, None, header_tag(h.get("etag", "")), h.get("location", ""), instant(h.get("date", "")))


async def bounded(response: httpx2.Response, most: int) -> tuple[bytes, bool]:
    """Its first bytes, unzipped, and whether that is all."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > most:
            return b"".join(parts)[:most], False
    return b"".join(parts), True


def outline(value: Any) -> str:
    """Why this is not even the outline of a resource, in a sentence; "" when it is."""
    if not isinstance(value, dict) or not _fits(_TYPE, value.get("resourceType")) or not _fits(_ID, value.get("id")):
        return "An entry that is not a resource with a type and an id."
    meta = value.get("meta", {})
    if not isinstance(meta, dict) or not all(isinstance(meta.get(name, ""), str) for name in ("versionId", "lastUpdated", "source")):
        return "A resource whose `meta` is not of its shape."
    lists = [meta.get(name, []) for name in ("tag", "security")]
    if not all(isinstance(some, list) and all(isinstance(t, dict) for t in some) for some in lists):
        return "A resource whose `meta` is not of its shape."
    return ""


def name_in(url: Any) -> str:
    """`Type/id` of an address, absolute or not, of a version or not; "" where there is none."""
    if not isinstance(url, str):
        return ""
    parts = url.partition("?")[0].partition("/_history")[0].rstrip("/").split("/")[-2:]
    return "/".join(parts) if len(parts) == 2 and _fits(_TYPE, parts[0]) and _fits(_ID, parts[1]) else ""


def relative(value: Any, base: str) -> Any:
    """The value that was just read, where each reference to `base`/`Type/id`, of a version or not, begins with the type: the same record by the same
    server, however it spells it.
    https://hl7.org/fhir/R4/references.html#literal"""
    todo, whole = [value] if base else [], _split(base)
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            said = node.get("reference")
            short = _below(said, base, whole) if isinstance(said, str) else ""
            if short:
                node["reference"] = short if named(short) and name_in(short) == named(short) else said
        todo += [v for v in (node.values() if isinstance(node, dict) else node) if isinstance(v, (dict, list))]
    return value


def _below(said: str, base: str, whole: tuple[str, str, str]) -> str:
    """What follows `base` in an address, whatever case its scheme and host are in, with its port or without where that is the usual one; "" where it does not begin so.
    https://www.rfc-editor.org/rfc/rfc3986#section-6.2"""
    if said.startswith(base + "/"):
        return said[len(base) + 1 :].lstrip("/")
    scheme, host, path = _split(said)
    if not scheme or (scheme, host) != whole[:2] or not path.startswith(whole[2] + "/"):
        return ""
    return path[len(whole[2]) + 1 :].lstrip("/")


def _split(url: str) -> tuple[str, str, str]:
    """Scheme and authority in lower case, the usual port left out, and what follows; ("", "", "") of what is no address of the web."""
    scheme, found, rest = url[:4_000].partition("://")
    scheme = scheme.lower()
    if not found or scheme not in _USUAL:
        return "", "", ""
    host, slash, path = rest.partition("/")
    return scheme, host.lower().removesuffix(_USUAL[scheme]), slash + path


def believed(reply: Reply, raw: bytes, type: str, id: str | None, base: str) -> Reply | None:
    """What a create, an update or a read of this resource was answered with; None where that is something else.

    A body must be this resource, of this id where it is known. Without a body (Prefer: minimal) the address, or the ETag of a resource
    whose id is known, says that it was this one. What is of it and cannot be kept (an empty list) is no body. References to `base` are relative (`relative`).
    """
    told = leniently(raw)
    if raw.strip() and told is None:
        return None
    if told is None or told.get("resourceType") == "OperationOutcome":
        where = name_in(reply.location)
        if where == "" and id is not None and reply.etag:
            where = f"{type}/{id}"
        return Reply(reply.status, None, reply.etag, where, reply.date) if where.startswith(f"{type}/") and id in (None, where.split("/")[1]) else None
    if outline(told) or told["resourceType"] != type or id not in (None, told["id"]):
        return None
    if name_in(reply.location) not in ("", f"{type}/{told['id']}"):  # it says two things
        return None
    try:
        body: dict[str, Any] | None = relative(strict.read(raw), base)
    except Problem:
        body = None
    return Reply(reply.status, body, reply.etag, f"{type}/{told['id']}", reply.date)


def leniently(raw: bytes) -> dict[str, Any] | None:
    """The object in JSON of which nothing is kept: an outcome, a capability statement. None where there is none."""
    try:
        value = strict.decode(raw)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, whatever it is."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def words(outcome: Mapping[str, Any] | None) -> str:
    """The first sentence of an OperationOutcome."""
    for issue in objects((outcome or {}).get("issue")):
        details = issue.get("details")
        text = issue.get("diagnostics") or (details.get("text") if isinstance(details, dict) else "")
        if text:
            return str(text)[:300]
    return "no reason given"


def names_in(outcome: Mapping[str, Any] | None) -> frozenset[str]:
    """Every `Type/id` in the words of an OperationOutcome."""
    said = [i.get("diagnostics") for i in objects((outcome or {}).get("issue"))]
    return frozenset(name for text in said if isinstance(text, str) for name in _NAMED.findall(text[:_LONGEST_WORDS]))


def unsupported(outcome: Mapping[str, Any] | None) -> bool:
    """Does this OperationOutcome say that something is not offered at all."""
    return any(issue.get("code") == "not-supported" for issue in objects((outcome or {}).get("issue")))


def etag_of(body: Mapping[str, Any]) -> str:
    """The ETag that most servers give the version that this body says it is. What the header said goes before it. "" where no header can
    carry it: then bodies are compared."""
    version = body.get("meta", {}).get("versionId")
    return header_tag(f'W/"{version}"') if version else ""


def header_tag(text: str) -> str:
    """An ETag that can be sent back (RFC 9110 8.8.3); "" where it is none."""
    return text if len(text) <= _LONGEST_TAG and _SENDABLE.fullmatch(text) else ""


def bare(r: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a server sets itself."""
    meta = {k: v for k, v in r.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source")}
    return {**{k: v for k, v in r.items() if k not in ("id", "text")}, "meta": meta}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Equal but for what a server sets itself."""
    return bare(a) == bare(b)


def _fits(shape: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and shape.fullmatch(value) is not None
