"""What a request says and how an answer is said: media types, preferences, what stands in an address. https://hl7.org/fhir/R4/http.html"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..domain.edits import JSON_PATCH
from ..domain.preconditions import etag
from ..domain.problem import Problem, not_found
from ..domain.types import Ref
from .app import FHIR_JSON, PRIVATE, Web, body

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
JSON_TYPES = {"application/fhir+json", "application/json", "text/json"}
ACCEPTED = JSON_TYPES | {"*/*", "application/*", "json"}
PATCHES = frozenset({JSON_PATCH})
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
MEDIA_TYPE = re.compile(rf"{TOKEN}/{TOKEN}\Z")
PARAMETER = re.compile(rf"""\s*;\s*(?:({TOKEN})=({TOKEN}|"[^"\\]*"))?\s*""")
LONGEST_MEDIA_TYPE = 500  # characters


# -- what is sent -----------------------------------------------------------------------------------------------------


def media(request: Request) -> tuple[str, dict[str, str]]:
    """The media type of the body in lower case and its parameters, "" when none is said. Problem unsupported-media where it cannot be
    read (RFC 9110 8.3.1): nothing is guessed."""
    said = request.headers.get("content-type", "").strip()
    if not said:
        return "", {}
    kind, _, rest = said.partition(";")
    found: dict[str, str] = {}
    at = 0
    rest = f";{rest}" if _ else ""
    while at < len(rest) and len(said) <= LONGEST_MEDIA_TYPE:
        part = PARAMETER.match(rest, at)
        if part is None:
            break
        at = part.end()
        if part[1] is not None:
            found[part[1].lower()] = part[2].strip('"')
    if at < len(rest) or not MEDIA_TYPE.match(kind.strip()):
        raise Problem("unsupported-media", "The Content-Type cannot be read.", "Content-Type")
    return kind.strip().lower(), found


def as_fhir(request: Request) -> bool:
    """Whether the body says that it is FHIR, and not the bytes of an attachment."""
    kind, _ = media(request)
    return kind in JSON_TYPES or kind == "application/fhir+xml" or not kind


def sent_json(request: Request, also: frozenset[str] = frozenset()) -> str:
    """The media type. Problem unsupported-media unless the body says it is JSON in UTF-8."""
    kind, said = media(request)
    if kind not in JSON_TYPES | also:
        raise Problem("unsupported-media", f"Send application/fhir+json, not `{kind[:60] or 'nothing'}`.", "Content-Type")
    version = said.get("fhirversion")
    if version is not None and version.split(".")[:2] != ["4", "0"]:
        raise Problem("unsupported-media", f"This server speaks FHIR 4.0, not `{version[:10]}`.", "Content-Type")
    if said.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise Problem("unsupported-media", "The body must be UTF-8.", "Content-Type")
    return kind


async def form(web: Web, request: Request) -> list[tuple[str, str]]:
    """The parameters in the body of a POST."""
    kind, said = media(request)
    if (kind and kind != "application/x-www-form-urlencoded") or said.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise Problem("unsupported-media", "A search is sent as application/x-www-form-urlencoded.", "Content-Type")
    try:
        return pairs((await body(web, request)).decode())
    except UnicodeDecodeError:
        raise Problem("malformed", "The form is not UTF-8.") from None


# -- what is wanted ---------------------------------------------------------------------------------------------------


def acceptable(request: Request) -> None:
    """JSON only. `_format` beats Accept. Problem not-acceptable."""
    if not wants_json(request):
        raise Problem("not-acceptable", "This server speaks JSON only: application/fhir+json.", "Accept")


def wants_json(request: Request) -> bool:
    """Does the asker take JSON; `_format` wins over Accept."""
    wanted = request.query_params.get("_format") if b"_format" in request.scope["query_string"] else None
    if wanted is None:
        wanted = request.headers.get("accept", "*/*") or "*/*"
    kinds = {w.split(";")[0].strip().lower().replace(" ", "+") for w in wanted.split(",")}
    return bool(kinds & ACCEPTED)


def prefer(request: Request, name: str) -> str:
    """`return` or `handling` of the Prefer headers, "" when not said (https://www.rfc-editor.org/rfc/rfc7240)."""
    for header in request.headers.getlist("prefer"):
        for part in re.split("[,;]", header):
            key, _, value = part.partition("=")
            if key.strip().lower() == name:
                return value.strip().strip('"')
    return ""


def ref(parts: list[str]) -> Ref:
    """`Type/id` of an address. Problem not-found for what can be no id."""
    if not ID.match(parts[1]):
        raise not_found()
    return Ref(parts[0], parts[1])


def asked(request: Request) -> list[tuple[str, str]]:
    """What stands behind the question mark."""
    query: bytes = request.scope["query_string"]
    return pairs(query.decode("utf-8", "surrogateescape")) if query else []


def pairs(query: str) -> list[tuple[str, str]]:
    """Decoded name and value pairs, in order. Problem bad-request when they are no UTF-8."""
    try:
        found = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=200)
        if not query.isascii():
            query.encode()  # bytes that were no UTF-8 and not even escaped
        return found
    except ValueError:
        raise Problem("bad-request", "The search is not readable: at most 200 parameters, in UTF-8.") from None


def seen(request: Request) -> int | None:
    """The version that the writer says they saw."""
    return etag(request.headers.get("if-match"))


def condition(request: Request) -> str:
    """The query, as a condition. Problem not-offered without one: nothing is written to all of a type."""
    query = request.url.query
    if not query:
        raise Problem("not-offered", f"{request.method} needs an id in the address, or a condition in the query.")
    return query


# -- the answer -------------------------------------------------------------------------------------------------------


def json(request: Request, raw: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """FHIR JSON, indented with `_pretty=true`; private and not stored unless other headers are given."""
    if request.scope["query_string"] and request.query_params.get("_pretty") == "true":
        raw = msgspec.json.format(raw, indent=2)
    return Response(raw, status, headers or PRIVATE, media_type=FHIR_JSON)


def plain(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON that is no FHIR."""
    return Response(msgspec.json.encode(answer), status, headers or PRIVATE, media_type="application/json")


@lru_cache(4096)
def http_date(at: datetime) -> str:
    """An aware instant as HTTP writes it: Thu, 26 Nov 2026 09:00:00 GMT."""
    return format_datetime(at, usegmt=True)
