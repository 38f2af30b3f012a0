"""The FHIR routes: they translate, they do not think. https://hl7.org/fhir/R4/http.html"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__, definitions, gate
from ..domain import bundle, capability, edits, strict
from ..domain.preconditions import not_modified, tag
from ..domain.problem import Problem, not_found
from ..domain.r4 import R4
from ..domain.types import Ref
from ..gate import Answer, Context, Written
from . import binary, drafts, forms, operations, published, subscriptions
from .app import PRIVATE, Web, body, context, guarded
from .messages import (
    PATCHES,
    acceptable,
    as_fhir,
    asked,
    condition,
    form,
    http_date,
    json,
    pairs,
    prefer,
    ref,
    seen,
    sent_json,
    wants_json,
)

Handle = Callable[[Web, Request, Context, list[str]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing this server does: how it is asked, who answers, and what the CapabilityStatement and OpenAPI say of it.

    `shape` is the path with `type` and `id` for what varies; `types` () means every type.
    """

    method: str
    shape: str
    handle: Handle
    code: str  # the interaction's code in R4; "" for an operation
    words: str  # what it does, for people
    statuses: tuple[int, ...]  # besides those that any request may get
    takes: str = ""  # resource, bundle, patch, form, parameters
    gives: str = "Resource"
    operation: str = ""
    types: tuple[str, ...] = ()
    where: bool = False  # conditional: the query is the condition
    seeks: bool = False  # a search: besides `reads` it takes whatever the CapabilityStatement lists for the type
    reads: tuple[str, ...] = ()  # query parameters besides _format and _pretty


# -- the door ---------------------------------------------------------------------------------------------------------


def endpoint(web: Web) -> ASGIApp:
    """Everything under /fhir as one bare ASGI app: a route table of sixty lines would cost more than the read itself."""
    handler = guarded(web, "fhir", dispatch)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_params"] = {"parts": segments(scope)}
        response = await handler(Request(scope, receive))
        if scope["method"] == "HEAD":
            response.body = b""  # the headers are those of the GET, its length too
        await response(scope, receive, send)

    return answer


async def dispatch(web: Web, request: Request) -> Response:
    """By the shape of the path; HEAD is GET without the body."""
    parts: list[str] = request.path_params["parts"]
    method = "GET" if request.method == "HEAD" else request.method
    attached = parts[:1] == ["Binary"] and TABLE.get((method, shape(parts))) in ATTACHED
    if "xml" in request.headers.get("content-type", "") and not (attached and not as_fhir(request)):
        raise Problem("unsupported-media", "Send application/fhir+json: XML is not offered.", "Content-Type")
    if not attached:
        acceptable(request)
    if method == "GET" and parts[:1] in (["metadata"], ["OperationDefinition"], ["Questionnaire"], ["StructureDefinition"]):
        public = of_ourselves(web, request, parts)
        if public is not None:
            return public
    if parts == ["metadata"]:
        raise Problem("not-offered", f"{request.method[:20]} is not offered at this address.", headers={"Allow": "GET, HEAD"})
    ctx = replace(await context(web, request), limits=web.limits)
    if parts and not parts[0].startswith(("_", "$")) and not web.house.r4.has_type(parts[0]):
        raise Problem("no-such-type", f"`{parts[0][:64]}` is not a FHIR R4 resource type.")
    offer = TABLE.get((method, shape(parts)))
    if offer is None:
        if any("$" in p[:1] for p in parts):
            raise Problem("no-such-operation", f"There is no operation `{parts[-1][:64]}` here.")
        if not offered(parts):
            raise not_found()
        raise Problem("not-offered", f"{request.method} is not offered at this address.", headers={"Allow": offered(parts)})
    if offer.types and parts[0] not in offer.types:
        raise Problem("no-such-operation", f"There is no operation `{parts[-1][:64]}` on {parts[0]}.")
    return await offer.handle(web, request, ctx, parts)


def segments(scope: Scope) -> list[str]:
    """What stands between the slashes after /fhir, each decoded for itself: an escaped slash is part of a name, not of the path."""
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    inside = path.partition(b"?")[0].removeprefix(b"/fhir/") if path.startswith(b"/fhir/") else b"" if path == b"/fhir" else path
    return [unquote(p, errors="replace") for p in inside.decode("ascii", "replace").removesuffix("/").split("/")] if inside else []


def offered(parts: list[str]) -> str:
    """The methods of this address, as `Allow` says them."""
    return ", ".join(sorted(method for method, form in TABLE if form == shape(parts)))


def shape(parts: list[str]) -> str:
    """`CarePlan/1/_history/2` -> `type/id/_history/id`."""
    out = ["type" if i == 0 and p[:1] not in "_$" else p if p[:1] in "_$" else "id" for i, p in enumerate(parts)]
    return "/".join(out)


# -- one resource -----------------------------------------------------------------------------------------------------


async def read(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """GET [type]/[id]: 200, or 304. Problem not-found for hidden and absent alike, gone. https://hl7.org/fhir/R4/http.html#read"""
    return found(request, ctx, await gate.read(ctx, ref(parts)))


async def vread(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """GET [type]/[id]/_history/[version]: as `read`, of that version. https://hl7.org/fhir/R4/http.html#vread"""
    return found(request, ctx, await gate.vread(ctx, ref(parts), gate.version_number(parts[3])))


def found(request: Request, ctx: Context, answer: Answer) -> Response:
    """200 with the bytes or the part asked for, or 304 when the reader (permitted by now) has them already."""
    if request.scope["query_string"]:
        answer = gate.part_of(ctx, answer, pairs(request.url.query))
    headers = {**PRIVATE, "ETag": tag(answer.version), "Last-Modified": http_date(answer.updated)}
    known, since = request.headers.get("if-none-match"), request.headers.get("if-modified-since")
    if (known is not None or since is not None) and not_modified(answer.version, answer.updated, known, since):
        return Response(status_code=304, headers=headers)
    if answer.ref.type == "Binary":
        headers |= binary.INERT
        if not wants_json(request):
            return binary.bare(answer.body, headers)
    return json(request, answer.body, headers=headers)


async def create(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """POST [type], on a condition with If-None-Exist. https://hl7.org/fhir/R4/http.html#create"""
    raw = await received(web, request, parts)
    asked = request.headers.get("if-none-exist")
    return wrote(web, request, await gate.create(ctx, parts[0], raw, if_none_exist=asked, once=named(ctx, request)))


async def update(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """PUT [type]/[id], of the version in If-Match. https://hl7.org/fhir/R4/http.html#update"""
    raw = await received(web, request, parts)
    return wrote(web, request, await gate.update(ctx, ref(parts), raw, if_match=seen(request), once=named(ctx, request)))


async def update_where(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """PUT [type]?condition. Problem bad-request without a condition, several-matches. https://hl7.org/fhir/R4/http.html#cond-update"""
    asked = condition(request)
    sent_json(request)
    raw = await body(web, request)
    written = await gate.update_where(ctx, parts[0], asked, raw, if_match=seen(request), once=named(ctx, request))
    return wrote(web, request, written)


async def patch(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """PATCH [type]/[id], by JSON Patch or FHIRPath Patch. https://hl7.org/fhir/R4/http.html#patch"""
    edit, raw = await edited(web, request)
    return wrote(web, request, await gate.patch(ctx, ref(parts), edit, if_match=seen(request), once=named(ctx, request), raw=raw))


async def patch_where(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """PATCH [type]?condition. Problem not-found, several-matches. https://hl7.org/fhir/R4/http.html#patch"""
    asked = condition(request)
    edit, raw = await edited(web, request)
    written = await gate.patch_where(ctx, parts[0], asked, edit, if_match=seen(request), once=named(ctx, request), raw=raw)
    return wrote(web, request, written)


async def received(web: Web, request: Request, parts: list[str]) -> bytes:
    """The JSON text of the resource sent. Problem unsupported-media, too-large."""
    plain = parts[0] != "Binary" or as_fhir(request)
    if plain:
        sent_json(request)
    if parts[0] == "Binary":
        return await binary.sent(web, request, plain, parts[1] if len(parts) > 1 else "")
    return await body(web, request)


async def edited(web: Web, request: Request) -> tuple[edits.Edit, bytes]:
    """A JSON Patch or the Parameters of a FHIRPath Patch, and the bytes it came as."""
    media = sent_json(request, PATCHES)
    raw = await body(web, request)
    return edits.sent(media, raw, web.house.r4), raw


def named(ctx: Context, request: Request) -> gate.Once | None:
    """The name a registered system gives this write, so that it has one effect however often it comes."""
    return gate.named(ctx, request.headers.get("idempotency-key"))


async def delete(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """DELETE [type]/[id]. https://hl7.org/fhir/R4/http.html#delete"""
    return gone(web, request, await gate.remove(ctx, ref(parts), if_match=seen(request), once=named(ctx, request)))


async def delete_where(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """DELETE [type]?condition: the one match. https://hl7.org/fhir/R4/http.html#3.1.0.7.1"""
    written = await gate.remove_where(ctx, parts[0], condition(request), if_match=seen(request), once=named(ctx, request))
    return gone(web, request, written)


def gone(web: Web, request: Request, w: Written) -> Response:
    """The answer to a deletion: 204, or 200 with an OperationOutcome where that is preferred."""
    if w.draft is not None:
        return drafts.kept(web, request, w)
    headers = {**PRIVATE, "ETag": tag(w.version)} if w.shown else dict(PRIVATE)
    if prefer(request, "return") == "OperationOutcome":
        return json(request, msgspec.json.encode(bundle.informed(bundle.SAID["deleted"])), 200, headers)
    return Response(status_code=204, headers=headers)


def wrote(web: Web, request: Request, w: Written) -> Response:
    """201 or 200 with Location, ETag and what `Prefer: return=` asks for; the place alone of what the writer may not read; 202 for a draft."""
    if w.draft is not None:
        return drafts.kept(web, request, w)
    headers = {**PRIVATE, "Location": f"{web.base}/fhir/{w.ref}"}
    if w.shown:
        headers = {**PRIVATE, "ETag": tag(w.version), "Last-Modified": http_date(w.updated)}
        headers["Location"] = f"{web.base}/fhir/{w.ref}/_history/{w.version}"
    status = 201 if w.did == "created" else 200
    wanted = prefer(request, "return")
    if wanted == "minimal" or w.body is None:
        return Response(status_code=status, headers=headers)
    if wanted == "OperationOutcome":
        told = gate.with_lacks(web.house, w, wanted).issues
        return json(request, msgspec.json.encode(bundle.informed(bundle.SAID.get(w.did, "Updated."), w.body, told)), status, headers)
    return json(request, w.body, status, headers)


# -- many -------------------------------------------------------------------------------------------------------------


async def search(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """GET [type]?… or ?_type=…: a searchset. https://hl7.org/fhir/R4/http.html#search"""
    return await searched(request, ctx, parts[0] if parts else None, None, asked(request))


async def post_search(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """POST [type]/_search: parameters of the address and of the form together."""
    type = parts[0] if len(parts) > 1 else None
    return await searched(request, ctx, type, None, asked(request) + await form(web, request))


async def compartment(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """`Patient/1/Goal` and `Patient/1/*`: what is in that compartment (https://hl7.org/fhir/R4/http.html#vsearch)."""
    return await searched(request, ctx, *gate.compartment(ctx, ref(parts), parts[2]), asked(request))


async def post_compartment(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """POST [compartment]/[id]/[type]/_search."""
    type, within = gate.compartment(ctx, ref(parts), parts[2])
    return await searched(request, ctx, type, within, asked(request) + await form(web, request))


async def searched(request: Request, ctx: Context, type: str | None, within: Ref | None, params: list[tuple[str, str]]) -> Response:
    """The page a search finds as a searchset Bundle; `within` is the compartment's owner. Unknown parameters are refused with `handling=strict`."""
    params = [(k, v) for k, v in params if k not in ("_format", "_pretty")]
    page = await gate.search(ctx, type, params, strict=prefer(request, "handling") == "strict", within=within)
    return json(request, gate.searchset(ctx, page, f"{within}/{type or '*'}" if within else type or ""))


async def history(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """GET _history of one resource, a type or everything. https://hl7.org/fhir/R4/http.html#history"""
    type = parts[0] if parts[0] != "_history" else None
    id = ref(parts).id if len(parts) == 3 else None
    page = await gate.history(ctx, type, id, pairs(request.url.query), strict=prefer(request, "handling") == "strict")
    return json(request, gate.historyset(ctx, page, "/".join(parts)))


async def transaction(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """POST of a Bundle: batch, transaction or message. `Idempotency-Key` makes a repeat harmless. https://hl7.org/fhir/R4/http.html#transaction"""
    sent_json(request)
    raw = await body(web, request)
    key = request.headers.get("idempotency-key")
    return json(request, strict.dump(await gate.push(ctx, raw, idempotency_key=key, prefer=prefer(request, "return"))))


# -- about itself -----------------------------------------------------------------------------------------------------


def of_ourselves(web: Web, request: Request, parts: list[str]) -> Response | None:
    """The CapabilityStatement, the definitions of our own operations, profiles and extensions, and our own forms: for anyone, signed in or not."""
    if parts == ["metadata"]:
        return json(request, _statement(web.house.r4, f"{web.base}/fhir", web.signs_in, web.house.name), headers=published.ABOUT)
    if parts[0] == "Questionnaire":
        return published.form(request, parts)
    if parts[0] == "StructureDefinition":
        return published.structure(web, request, parts)
    if len(parts) == 2 and parts[1] in OWN_OPERATIONS:
        return json(request, _definition(parts[1], f"{web.base}/fhir"), headers=published.ABOUT)
    return None


@lru_cache(8)
def _statement(r4: R4, base: str, signs_in: bool, name: str) -> bytes:
    profiles = definitions.own_profiles()
    whole = capability.statement(
        r4, base=base, version=__version__, offers=OFFERED, own=OWN_OPERATIONS, profiles=profiles, signs_in=signs_in, name=name
    )
    return strict.dump(whole)


@lru_cache(8)
def _definition(name: str, base: str) -> bytes:
    return strict.dump({**definitions.load(f"operations/{name}.json"), "url": f"{base}/OperationDefinition/{name}"})


# -- what is offered --------------------------------------------------------------------------------------------------


PART = ("_summary", "_elements")
HISTORY = ("_since", "_at", "_count", *PART)
SEARCH = (
    "_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_count", "_sort", "_total", "_include", "_revinclude", *PART,
)  # fmt: skip
EVERYTHING = ("_since", "_type", "_count", "start", "end", *PART)
EVENTS = ("eventsSinceNumber", "eventsUntilNumber", "content")
WHY = ("what", "who", "purpose", "action")
FIND = (400, 403, 404)
WRITE = (400, 403, 404, 409, 410, 412, 413, 415, 422)
# The one table: it dispatches, and the CapabilityStatement and /openapi.json are made from it.
OFFERED: tuple[Offer, ...] = (
    Offer("GET", "", search, "search-system", "Search several types, or all", (200, *FIND), gives="Bundle", reads=("_type", *SEARCH), seeks=True),
    Offer("POST", "", transaction, "transaction", "A batch, or a transaction: all or nothing", (200, *WRITE), takes="bundle", gives="Bundle"),
    Offer("POST", "_search", post_search, "", "Search several types by form", (200, *FIND, 413, 415), takes="form", gives="Bundle"),
    Offer("GET", "_history", history, "history-system", "Versions of everything, newest first", (200, *FIND), gives="Bundle", reads=HISTORY),
    Offer("GET", "type", search, "search-type", "Search one type", (200, *FIND), gives="Bundle", reads=SEARCH, seeks=True),
    Offer("POST", "type", create, "create", "Create, or find what is there by If-None-Exist", (200, 201, *WRITE, 405), takes="resource"),
    Offer("PUT", "type", update_where, "", "Update the one match of a condition, or create", (200, 201, *WRITE, 405), takes="resource", where=True),
    Offer("PATCH", "type", patch_where, "", "Patch the one match of a condition", (200, *WRITE, 405), takes="patch", where=True),
    Offer("DELETE", "type", delete_where, "", "Delete the one match of a condition", (200, 204, *WRITE, 405), where=True),
    Offer("POST", "type/_search", post_search, "", "Search one type by form", (200, *FIND, 413, 415), takes="form", gives="Bundle"),
    Offer("GET", "type/_history", history, "history-type", "Versions of one type, newest first", (200, *FIND), gives="Bundle", reads=HISTORY),
    Offer("GET", "type/id", read, "read", "Read", (200, 304, *FIND, 410), reads=PART),
    Offer("PUT", "type/id", update, "update", "Update", (200, *WRITE, 405), takes="resource"),
    Offer("PATCH", "type/id", patch, "patch", "JSON Patch or FHIRPath Patch", (200, *WRITE, 405), takes="patch"),
    Offer("DELETE", "type/id", delete, "delete", "Delete", (200, 204, *WRITE)),
    Offer("GET", "type/id/_history", history, "history-instance", "Versions of one resource, newest first", (200, *FIND), gives="Bundle", reads=HISTORY),
    Offer("GET", "type/id/_history/id", vread, "vread", "Read one version", (200, 304, *FIND, 410), reads=PART),
    Offer("GET", "type/id/id", compartment, "", "Search within a compartment", (200, *FIND, 405), gives="Bundle", reads=SEARCH, seeks=True),
    Offer("POST", "type/id/id/_search", post_compartment, "", "Search within a compartment by form", (200, *FIND, 405, 413, 415), takes="form", gives="Bundle"),
    Offer("POST", "type/$validate", operations.validate, "", "Would this be taken", (200, *FIND, 413, 415), takes="parameters", gives="OperationOutcome", operation="validate", reads=("mode", "profile")),
    Offer("POST", "type/id/$validate", operations.validate, "", "Would this be taken, here", (200, *FIND, 410, 413, 415), takes="parameters", gives="OperationOutcome", operation="validate", reads=("mode", "profile")),
    Offer("GET", "type/id/$meta", operations.meta, "", "Its profiles, tags and labels", (200, *FIND, 410), gives="Parameters", operation="meta"),
    Offer("POST", "type/id/$meta-add", operations.meta_add, "", "Put profiles, tags or privacy labels on", (200, *WRITE), takes="parameters", gives="Parameters", operation="meta-add"),
    Offer("POST", "type/id/$meta-delete", operations.meta_delete, "", "Take profiles, tags or, with the right to, privacy labels off", (200, *WRITE), takes="parameters", gives="Parameters", operation="meta-delete"),
    Offer("GET", "type/$everything", operations.everything, "", "The records of all whom the reader can reach", (200, *FIND), gives="Bundle", operation="everything", types=("Patient",), reads=EVERYTHING),
    Offer("POST", "type/$everything", operations.everything, "", "The records of all whom the reader can reach", (200, *FIND, 413, 415), takes="parameters", gives="Bundle", operation="everything", types=("Patient",)),
    Offer("GET", "type/id/$everything", operations.everything, "", "One person's record", (200, *FIND, 410), gives="Bundle", operation="everything", types=("Patient",), reads=EVERYTHING),
    Offer("POST", "type/id/$everything", operations.everything, "", "One person's record", (200, *FIND, 410, 413, 415), takes="parameters", gives="Bundle", operation="everything", types=("Patient",)),
    Offer("GET", "type/id/$document", operations.document, "", "A plan as a document, a Composition first", (200, *FIND, 410), gives="Bundle", operation="document", types=("CarePlan",)),
    Offer("POST", "type/id/$document", operations.document, "", "A plan as a document, a Composition first", (200, *FIND, 410), gives="Bundle", operation="document", types=("CarePlan",)),
    Offer("GET", "type/$explain", operations.explain, "", "Why somebody may see something, or may not", (200, *FIND), gives="Parameters", operation="explain", types=("Consent",), reads=WHY),
    Offer("POST", "type/$explain", operations.explain, "", "Why somebody may see something, or may not", (200, *FIND, 413, 415), takes="parameters", gives="Parameters", operation="explain", types=("Consent",)),
    Offer("GET", "type/$status", subscriptions.status, "", "How one's own Subscriptions are", (200, *FIND), gives="Bundle", operation="status", types=("Subscription",), reads=("id", "status")),
    Offer("POST", "type/$status", subscriptions.status, "", "How one's own Subscriptions are", (200, *FIND, 413, 415), takes="parameters", gives="Bundle", operation="status", types=("Subscription",)),
    Offer("GET", "type/id/$status", subscriptions.status, "", "How one's Subscription is", (200, *FIND), gives="Bundle", operation="status", types=("Subscription",)),
    Offer("POST", "type/id/$status", subscriptions.status, "", "How one's Subscription is", (200, *FIND, 413, 415), takes="parameters", gives="Bundle", operation="status", types=("Subscription",)),
    Offer("GET", "type/id/$events", subscriptions.events, "", "What its subscriber was told, by number", (200, *FIND), gives="Bundle", operation="events", types=("Subscription",), reads=EVENTS),
    Offer("POST", "type/id/$events", subscriptions.events, "", "What its subscriber was told, by number", (200, *FIND, 413, 415), takes="parameters", gives="Bundle", operation="events", types=("Subscription",)),
    Offer("POST", "type/$populate", forms.populate, "", "A form with what is known already", (200, *WRITE), takes="parameters", gives="Parameters", operation="populate", types=("Questionnaire",)),
    Offer("POST", "type/id/$populate", forms.populate, "", "This form with what is known already", (200, *WRITE), takes="parameters", gives="Parameters", operation="populate", types=("Questionnaire",)),
    Offer("POST", "type/$extract", forms.extract, "", "What answers to a form would become", (200, *WRITE), takes="parameters", gives="Parameters", operation="extract", types=("QuestionnaireResponse",)),
    Offer("POST", "type/id/$extract", forms.extract, "", "Make of these answers what their form says", (200, *WRITE), takes="parameters", gives="Parameters", operation="extract", types=("QuestionnaireResponse",)),
    Offer("POST", "type/$preview", operations.preview, "", "What somebody would see under a Consent that is not saved", (200, *WRITE), takes="parameters", gives="Parameters", operation="preview", types=("Consent",)),
)  # fmt: skip
ATTACHED = tuple(o for o in OFFERED if (o.method, o.shape) in (("POST", "type"), ("PUT", "type/id"), ("GET", "type/id")))
TABLE: dict[tuple[str, str], Offer] = {(o.method, o.shape): o for o in OFFERED}
OWN_OPERATIONS = ("CarePlan-document", "Consent-explain", "Consent-preview", "QuestionnaireResponse-extract")
