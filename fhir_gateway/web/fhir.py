"""The FHIR routes: they translate, they do not think. https://hl7.org/fhir/R4/http.html"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__, gate
from ..domain import bundle, capability, strict
from ..domain.primitives import whole
from ..domain.problem import Problem
from ..domain.types import Ref
from ..gate import Answer, Context, Page, Written
from ..gate.transacting import etag
from .app import FHIR_JSON, PRIVATE, Web, body, context, guarded

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
JSON_TYPES = {"application/fhir+json", "application/json", "text/json"}
ACCEPTED = JSON_TYPES | {"*/*", "application/*", "json"}

# (method, shape of the path) -> handler; the CapabilityStatement is made from the interactions named here
INTERACTIONS = ("read", "vread", "update", "delete", "history-instance", "history-type", "create", "search-type")
SYSTEM = ("transaction", "batch", "search-system", "history-system")

Handle = Callable[[Web, Request, Context, list[str]], Awaitable[Response]]


def endpoint(web: Web) -> ASGIApp:
    """Everything under /fhir as one bare ASGI app: a route table of sixty lines would cost more than the read itself."""
    handler = guarded(web, "fhir", dispatch)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_params"] = {"path": scope["path"][len("/fhir") :]}
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    return answer


async def dispatch(web: Web, request: Request) -> Response:
    """By the shape of the path; HEAD is GET without the body (the server leaves it out)."""
    if "xml" in request.headers.get("content-type", ""):
        raise Problem("unsupported-media", "Send application/fhir+json: XML is not offered.", "Content-Type")
    acceptable(request)
    parts = [p for p in request.path_params.get("path", "").split("/") if p]
    if parts == ["metadata"] and request.method in ("GET", "HEAD"):
        return metadata(web, request)
    ctx = await context(web, request)
    method = "GET" if request.method == "HEAD" else request.method
    if parts and not parts[0].startswith(("_", "$")) and not web.house.r4.has_type(parts[0]):
        raise Problem("no-such-type", f"`{parts[0][:64]}` is not a FHIR R4 resource type.")
    handle = TABLE.get((method, shape(parts)))
    if handle is None:
        if any("$" in p[:1] for p in parts):
            raise Problem("no-such-operation", f"There is no operation `{parts[-1][:64]}` here.")
        raise Problem("not-offered", f"{request.method} is not offered at this address.")
    return await handle(web, request, ctx, parts)


def shape(parts: list[str]) -> str:
    """`CarePlan/1/_history/2` -> `type/id/_history/id`."""
    out = ["type" if i == 0 and p[:1] not in "_$" else p if p[:1] in "_$" else "id" for i, p in enumerate(parts)]
    return "/".join(out)


def acceptable(request: Request) -> None:
    """JSON only. `_format` beats Accept. Problem not-acceptable."""
    wanted = request.query_params.get("_format")
    if wanted is None:
        wanted = request.headers.get("accept", "*/*") or "*/*"
    kinds = {w.split(";")[0].strip().lower().replace(" ", "+") for w in wanted.split(",")}
    if not kinds & ACCEPTED and not any(k in ACCEPTED for k in kinds):
        raise Problem("not-acceptable", "This server speaks JSON only: application/fhir+json.", "Accept")


def sent_json(request: Request, also: frozenset[str] = frozenset()) -> None:
    """Problem unsupported-media unless the body says it is JSON in UTF-8."""
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() not in JSON_TYPES | also:
        raise Problem("unsupported-media", f"Send application/fhir+json, not `{kind[:60] or 'nothing'}`.", "Content-Type")
    charset = dict(p.strip().partition("=")[::2] for p in rest.lower().split(";") if "=" in p).get("charset", "utf-8")
    version = re.search(r"fhirversion\s*=\s*\"?([\d.]+)", rest.lower())
    if version and not version.group(1).startswith("4.0"):
        raise Problem("unsupported-media", f"This server speaks FHIR 4.0, not {version.group(1)[:10]}.", "Content-Type")
    if charset.strip('"') not in ("utf-8", "utf8"):
        raise Problem("unsupported-media", "The body must be UTF-8.", "Content-Type")


# -- one resource -----------------------------------------------------------------------------------------------------


async def read(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    answer = await gate.read(ctx, ref(parts))
    return found(request, answer)


async def vread(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    return found(request, await gate.vread(ctx, ref(parts), whole(parts[3], 15) or 0))


def found(request: Request, answer: Answer) -> Response:
    """200 with the bytes, or 304 when the reader (permitted by now) has them already."""
    tag = f'W/"{answer.version}"'
    headers = {**PRIVATE, "ETag": tag, "Last-Modified": http_date(answer.updated)}
    known = request.headers.get("if-none-match")
    if known is not None:
        if tag in [t.strip() for t in known.split(",")] or known.strip() == "*":
            return Response(status_code=304, headers=headers)
    elif not_since(request.headers.get("if-modified-since"), answer.updated):
        return Response(status_code=304, headers=headers)
    return json(request, answer.body, headers=headers)


async def create(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    sent_json(request)
    raw = await body(web, request)
    once = gate.named(ctx, request.headers.get("idempotency-key"))
    written = await gate.create(ctx, parts[0], raw, if_none_exist=request.headers.get("if-none-exist"), once=once)
    return wrote(web, request, written)


async def update(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    sent_json(request)
    raw = await body(web, request)
    if_match = etag(request.headers.get("if-match"))
    once = gate.named(ctx, request.headers.get("idempotency-key"))
    return wrote(web, request, await gate.update(ctx, ref(parts), raw, if_match=if_match, once=once))


async def delete(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    if_match = etag(request.headers.get("if-match"))
    written = await gate.remove(ctx, ref(parts), if_match=if_match)
    return Response(status_code=204, headers={**PRIVATE, "ETag": f'W/"{written.version}"'})


def wrote(web: Web, request: Request, w: Written) -> Response:
    """201 or 200 with Location, ETag and what `Prefer: return=` asks for."""
    headers = {**PRIVATE, "ETag": f'W/"{w.version}"', "Last-Modified": http_date(w.updated)}
    headers["Location"] = f"{web.base}/fhir/{w.ref}/_history/{w.version}"
    status = 201 if w.did == "created" else 200
    prefer = request.headers.get("prefer", "")
    if "return=minimal" in prefer or w.body is None:
        return Response(status_code=status, headers=headers)
    if "return=OperationOutcome" in prefer:
        text = {"created": "Created.", "unchanged": "Nothing to change.", "matched": "It was here already."}.get(w.did, "Updated.")
        return json(request, msgspec.json.encode(informed(text)), status, headers)
    return json(request, w.body, status, headers)


def informed(text: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational", "diagnostics": text}]}


# -- many -------------------------------------------------------------------------------------------------------------


async def search(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    return await searched(web, request, ctx, parts[0] if parts else None, pairs(request.url.query))


async def post_search(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind and kind != "application/x-www-form-urlencoded":
        raise Problem("unsupported-media", "A search is sent as application/x-www-form-urlencoded.", "Content-Type")
    raw = await body(web, request)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Problem("malformed", "The form is not UTF-8.") from None
    type = parts[0] if len(parts) > 1 else None
    return await searched(web, request, ctx, type, pairs(request.url.query) + pairs(text))


async def compartment(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """`Patient/1/Goal` is `Goal?patient=1` (https://hl7.org/fhir/R4/http.html#vsearch)."""
    if parts[0] != "Patient" or not web.house.r4.has_type(parts[2]):
        raise Problem("not-offered", "Only the Patient compartment can be searched.")
    return await searched(web, request, ctx, parts[2], [("patient", parts[1]), *pairs(request.url.query)])


async def searched(web: Web, request: Request, ctx: Context, type: str | None, params: list[tuple[str, str]]) -> Response:
    strictly = "handling=strict" in request.headers.get("prefer", "")
    page = await gate.search(ctx, type, [(k, v) for k, v in params if k not in ("_format", "_pretty")], strict=strictly)
    return json(request, searchset(web, page, type or ""))


def searchset(web: Web, page: Page, path: str) -> bytes:
    base = f"{web.base}/fhir"
    here = f"{base}/{path}" if path else base
    links = {"self": f"{here}?{urlencode(page.used)}" if page.used else here}
    if page.next:
        links["next"] = f"{here}?{urlencode({'_page': page.next})}"
    return bundle.searchset(page, base, links)


async def history(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    type = parts[0] if parts[0] != "_history" else None
    id = parts[1] if len(parts) == 3 else None
    if id is not None:
        ref(parts)
    page = await gate.history(ctx, type, id, pairs(request.url.query))
    base = f"{web.base}/fhir"
    here = f"{base}/{'/'.join(parts)}"
    links = {"self": f"{here}?{urlencode(page.used)}" if page.used else here}
    if page.next:
        links["next"] = f"{here}?{urlencode({'_page': page.next})}"
    return json(request, bundle.history(page, base, links))


async def everything(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    if parts[0] != "Patient":
        raise Problem("no-such-operation", f"There is no operation `$everything` on {parts[0]}.")
    page = await gate.everything(ctx, ref(parts).id, pairs(request.url.query))
    return json(request, searchset(web, page, f"Patient/{parts[1]}/$everything"))


async def transaction(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    sent_json(request)
    raw = await body(web, request)
    answer = await gate.push(ctx, raw, idempotency_key=request.headers.get("idempotency-key"))
    return json(request, strict.dump(answer))


# -- about itself -----------------------------------------------------------------------------------------------------


def metadata(web: Web, request: Request) -> Response:
    statement = capability.statement(
        web.house.r4, base=f"{web.base}/fhir", version=__version__, interactions=INTERACTIONS, system=SYSTEM,
        operations={"Patient": ["everything"]},
    )  # fmt: skip
    return json(request, strict.dump(statement), headers={"Cache-Control": "public, max-age=60", "X-Content-Type-Options": "nosniff"})


# -- small ------------------------------------------------------------------------------------------------------------


def ref(parts: list[str]) -> Ref:
    if not ID.match(parts[1]):
        raise Problem("not-found", "There is nothing here by that name, or it is not for you to see.")
    return Ref(parts[0], parts[1])


def pairs(query: str) -> list[tuple[str, str]]:
    """Decoded name and value pairs, in order. Problem bad-request when they are no UTF-8."""
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise Problem("bad-request", "The search is not readable: at most 200 parameters, in UTF-8.") from None


def json(request: Request, raw: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    if request.query_params.get("_pretty") == "true":
        raw = msgspec.json.format(raw, indent=2)
    return Response(raw, status, headers or PRIVATE, media_type=FHIR_JSON)


@lru_cache(4096)
def http_date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)


def not_since(header: str | None, updated: datetime) -> bool:
    if header is None:
        return False
    try:
        return updated.replace(microsecond=0) <= parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return False


TABLE: dict[tuple[str, str], Handle] = {
    ("GET", ""): search,
    ("POST", ""): transaction,
    ("POST", "_search"): post_search,
    ("GET", "_history"): history,
    ("GET", "type"): search,
    ("POST", "type"): create,
    ("POST", "type/_search"): post_search,
    ("GET", "type/_history"): history,
    ("GET", "type/id"): read,
    ("PUT", "type/id"): update,
    ("DELETE", "type/id"): delete,
    ("GET", "type/id/_history"): history,
    ("GET", "type/id/_history/id"): vread,
    ("GET", "type/id/$everything"): everything,
    ("GET", "type/id/id"): compartment,
}
