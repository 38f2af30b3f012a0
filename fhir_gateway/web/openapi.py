"""The OpenAPI document of every route: the FHIR ones from the table that dispatches them, the rest from the routes themselves.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from starlette.routing import BaseRoute, Route

from .. import __version__
from .fhir import OFFERED, OWN_OPERATIONS, Offer

FHIR = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"
ANY_FHIR = (401, 406, 413, 414, 415, 429, 431, 503)  # what any FHIR request may get
ANY = (400, 413, 414, 431, 503)
METHODS = ("get", "post", "put", "patch", "delete")

HL7V2 = "x-application/hl7-v2+er7"
GLASS = (200, 201, 401, 403, 404, 409, 415, 422, 429)
CLAIM = (201, 401, 403, 404, 409, 415, 422, 429)
# Addresses for programs outside /fhir: words, statuses besides ANY, media of body and answer. All others are pages.
PROGRAMS: dict[tuple[str, str], tuple[str, tuple[int, ...], str, str]] = {
    ("/health", "get"): ("Ready, or not", (200,), "", "application/json"),
    ("/metrics", "get"): ("Prometheus text", (200,), "", "text/plain"),
    ("/openapi.json", "get"): ("This document", (200,), "", "application/json"),
    ("/sync/hook/{remote}/{secret}", "post"): ("A partner says that something changed there", (200, 429), "", ""),
    ("/plans", "post"): ("Bring in a plan", (200, 201, 401, 403, 404, 409, 412, 415, 422), "application/json", "application/json"),
    ("/plans/schema", "get"): ("The JSON Schema of a plan", (200,), "", "application/schema+json"),
    ("/plans/{patient}", "get"): ("One person's plan", (200, 401, 403, 404, 410), "", "application/json"),
    ("/hl7v2", "post"): ("An HL7 v2 message, answered with its ACK", (200, 401, 403, 404, 409, 412, 415, 422, 429), "text/plain", HL7V2),
    ("/patients/{patient}/facts", "post"): ("Record a fact that decides", (200, 401, 403, 404, 412, 415, 422), "application/json", "application/json"),
    ("/patients/{patient}/roles", "get"): ("Who acts for a person", (200, 401, 403, 404), "", "application/json"),
    ("/patients/{patient}/roles", "post"): ("Register who acts for a person", (201, 401, 403, 404, 409, 412, 415, 422), "application/json", "application/json"),
    ("/patients/{patient}/roles/{consent}", "post"): ("Move a role to another status", (200, 401, 403, 404, 409, 412, 415, 422), "application/json", "application/json"),
    ("/patients/find", "post"): ("The id of a person, by NHS number, date of birth and family name", (200, 401, 403, 404, 415, 422, 429), "application/json", "application/json"),
    ("/patients/break-glass", "post"): ("Emergency access to the person named on paper", GLASS, "application/json", "application/json"),
    ("/patients/claims", "post"): ("Say that one looks after the person named on paper", CLAIM, "application/json", "application/json"),
    ("/patients/{id}/break-glass", "post"): ("Emergency access to one person's record", GLASS, "application/json", "application/json"),
    ("/patients/{id}/break-glass", "delete"): ("End one's emergency access", (204, 401, 403, 404, 409), "", ""),
    ("/patients/{id}/link", "post"): ("A sealed link to somebody's one screen", (201, 401, 403, 404), "", "application/json"),
    ("/patients/{id}/claims", "post"): ("Say that one looks after somebody", CLAIM, "application/json", "application/json"),
    ("/patients/{id}/claims", "delete"): ("Say no longer that one looks after somebody", (204, 401, 403, 404, 409), "", ""),
    ("/patients/{patient}/drafts", "get"): ("What volunteers wrote for a person and waits for them", (200, 401, 403, 404), "", "application/json"),
    ("/patients/{patient}/drafts/{draft}", "post"): ("Accept such a draft, or not", (200, 401, 403, 404, 409, 412, 415, 422), "application/json", "application/json"),
    ("/patients/{patient}/telling", "get"): ("How a person is told that something changed", (200, 401, 403, 404), "", "application/json"),
    ("/patients/{patient}/telling", "put"): ("Choose how to be told", (200, 202, 401, 403, 404, 409, 415, 422, 429), "application/json", "application/json"),
    ("/patients/{patient}/telling/code", "post"): ("Send back the code that went to a new address", (200, 401, 403, 404, 409, 415, 422), "application/json", "application/json"),
    ("/readings/sms", "post"): ("A reading that somebody sent as a text message", (200, 201, 202, 401, 403, 404, 415, 422), "application/json", "application/json"),
    ("/fhir/.well-known/smart-configuration", "get"): ("SMART configuration", (200,), "", "application/json"),
    ("/.well-known/openid-configuration", "get"): ("OpenID configuration", (200,), "", "application/json"),
    ("/.well-known/oauth-authorization-server", "get"): ("OAuth server metadata", (200,), "", "application/json"),
    ("/oauth/jwks", "get"): ("Public keys", (200,), "", "application/json"),
    ("/oauth/token", "post"): ("Tokens", (200, 401, 403, 429), FORM, "application/json"),
    ("/oauth/introspect", "post"): ("What a token allows", (200, 401, 403, 429), FORM, "application/json"),
    ("/oauth/revoke", "post"): ("End a token", (200, 401, 403, 429), FORM, "application/json"),
}
PAGE = (200, 302, 303, 401, 403, 404, 405, 409, 410, 412, 415, 422, 429)


def document(routes: Sequence[BaseRoute], base: str, types: Iterable[str], compartments: Iterable[str]) -> dict[str, Any]:
    """OpenAPI 3.1 of the whole service at `base`; `compartments` are the types that have one."""
    paths: dict[str, dict[str, Any]] = {"/fhir/metadata": {"get": _about("The CapabilityStatement")}}
    for name in OWN_OPERATIONS:
        paths[f"/fhir/OperationDefinition/{name}"] = {"get": _about(f"The definition of our operation {name}")}
    for offer in OFFERED:
        for path, fixed in _paths(offer):
            paths.setdefault(path, {})[offer.method.lower()] = _offered(offer, path, fixed)
    for route in routes:
        if isinstance(route, Route):
            for method in sorted(m.lower() for m in route.methods or {"GET"}):
                if method in METHODS:
                    paths.setdefault(route.path_format, {})[method] = _other(route.path_format, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fhir_gateway", "version": __version__, "description": "FHIR R4 for shared personal care plans; consent everywhere."},
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "parameters": {"search": SEARCHED},
            "schemas": _schemas(sorted(types), sorted(compartments)),
        },
    }


def _paths(offer: Offer) -> list[tuple[str, str]]:
    """`type/id/_history/id` is `/fhir/{type}/{id}/_history/{version}`; what only some types have has a path for each."""
    steps = offer.shape.split("/") if offer.shape else []
    if steps[:3] == ["type", "id", "id"]:
        return [("/".join(["/fhir/{compartment}/{id}/{type}", *steps[3:]]), "")]
    shaped = ["{version}" if s == "id" and at > 1 else "{id}" if s == "id" else s for at, s in enumerate(steps)]
    return [("/".join(["/fhir", *([t, *shaped[1:]] if steps[:1] == ["type"] else shaped)]), t) for t in offer.types or ("{type}",)]


def _offered(o: Offer, path: str, fixed: str) -> dict[str, Any]:
    params: list[Any] = [{"name": n, "in": "path", "required": True, "schema": _path_schema(n)} for n in _names(path)]
    params += [_query(n) for n in (*o.reads, "_format", "_pretty")]
    if o.where:
        params.append({"name": "_id", "in": "query", "description": "The condition: any search parameters of the type", "schema": {"type": "string"}})
    if o.seeks or o.where:
        params.append({"$ref": "#/components/parameters/search"})
    params += [{"name": n, "in": "header", "schema": s} for n, s in _headers(o)]
    answers = sorted({*o.statuses, *ANY_FHIR})
    out: dict[str, Any] = {
        "summary": o.words,
        "operationId": f"{o.method.lower()}-{(o.code or o.operation or o.shape).replace('/', '-')}-{o.shape.replace('/', '-')}-{fixed.strip('{}')}",
        "tags": ["FHIR"],
        "security": [{"bearer": []}],
        "parameters": params,
        "responses": {str(s): _fhir_answer(s, o.gives) for s in answers},
    }
    if o.takes:
        out["requestBody"] = {"required": o.takes != "parameters", "content": _body(o.takes)}
    return out


def _query(name: str) -> dict[str, Any]:
    schema = QUERY.get(name, {"type": "string", "maxLength": 200})
    many = {"schema": {"type": "array", "items": schema, "maxItems": 10}, "style": "form", "explode": True} if name in REPEATED else {"schema": schema}
    return {"name": name, "in": "query", **({"description": SAID[name]} if name in SAID else {}), **many}


def _names(path: str) -> list[str]:
    return [s[1:-1] for s in path.split("/") if s.startswith("{")]


def _path_schema(name: str) -> dict[str, Any]:
    if name in ("type", "compartment"):
        return {"$ref": f"#/components/schemas/{name.capitalize()}"}
    return {"type": "string", "pattern": "^[0-9]{1,9}$" if name == "version" else "^[A-Za-z0-9.-]{1,64}$"}


QUERY: dict[str, dict[str, Any]] = {
    "_summary": {"type": "string", "enum": ["true", "text", "data", "false", "count"]},
    "_pretty": {"type": "string", "enum": ["true", "false"]},
    "_format": {"type": "string", "enum": ["json", "application/json", FHIR]},
    "_count": {"type": "integer", "minimum": 0, "maximum": 200},
    "_since": {"type": "string", "format": "date-time"},
    "_total": {"type": "string", "enum": ["none", "estimate", "accurate"]},
    "mode": {"type": "string", "enum": ["create", "update", "delete", "profile"]},
}


REPEATED = ("_include", "_revinclude", "_tag", "_profile", "_security")
SAID = {
    "_include": "`Type:parameter`, `Type:parameter:TargetType` or `*`: bring along what the matches refer to. Also `_include:iterate`.",
    "_revinclude": "`Type:parameter`: bring along what refers to the matches. Also `_revinclude:iterate`.",
    "_total": "Whether the Bundle says how many this reader could see in all.",
    "_tag": "`system|code` in meta.tag.",
    "_profile": "The address of a profile in meta.profile.",
    "_security": "`system|code` in meta.security.",
    "_source": "The uri in meta.source.",
    "_sort": "Parameters by comma, `-` before one for descending.",
}
HAS = "_has:Observation:patient:code"  # an example of the form: type, reference and parameter vary
# What a type can be searched by is said once, in the CapabilityStatement: lists for every type here would only repeat it.
SEARCHED = {
    "name": "search",
    "in": "query",
    "style": "form",
    "explode": True,
    "description": "Any search parameter that `/fhir/metadata` lists for the type (rest.resource.searchParam), with its modifiers "
    "(`code:in`) and chains (`patient.name`), several times for AND; and `_has:Type:reference:parameter` for what others say of it.",
    "schema": {"$ref": "#/components/schemas/Search"},
    "examples": {"by person": {"value": {"patient": "Patient/1", "status": "active"}}, "by others": {"value": {"_has:Observation:patient:code": "8867-4"}}},
}


def _headers(o: Offer) -> list[tuple[str, dict[str, Any]]]:
    text: dict[str, Any] = {"type": "string", "pattern": r"^[ -~]{0,60}$"}
    version: dict[str, Any] = {"type": "string", "pattern": r'^W/"[0-9]{1,9}"$'}
    prefer = ("Prefer", {"type": "string", "enum": ["return=minimal", "return=representation", "return=OperationOutcome", "handling=strict"]})
    if o.method in ("PUT", "PATCH", "DELETE"):
        return [("If-Match", version), prefer]
    if o.code in ("read", "vread"):
        return [("If-None-Match", version), ("If-Modified-Since", text)]
    return [("If-None-Exist", text), prefer] if o.code == "create" else [prefer] if o.method == "POST" or "search" in o.code else []


def _body(takes: str) -> dict[str, Any]:
    ref = {"resource": "Resource", "bundle": "Request", "parameters": "Parameters", "patch": "Parameters"}
    if takes == "form":
        return {FORM: {"schema": {"$ref": "#/components/schemas/Search"}}}
    body = {FHIR: {"schema": {"$ref": f"#/components/schemas/{ref[takes]}"}}}
    return {JSON_PATCH: {"schema": {"$ref": "#/components/schemas/JsonPatch"}}, **body} if takes == "patch" else body


def _fhir_answer(status: int, gives: str) -> dict[str, Any]:
    out: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status not in (204, 304):
        name = gives if status < 300 else "OperationOutcome"
        out["content"] = {FHIR: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return out


def _about(words: str) -> dict[str, Any]:
    return {
        "summary": words,
        "tags": ["FHIR"],
        "responses": {str(s): _fhir_answer(s, "Resource") for s in (200, 406, 414, 415, 431)},
    }


def _other(path: str, method: str) -> dict[str, Any]:
    words, statuses, takes, gives = PROGRAMS.get((path, method), ("A page for people", PAGE, FORM if method == "post" else "", "text/html"))
    out: dict[str, Any] = {
        "summary": words,
        "tags": ["programs" if (path, method) in PROGRAMS else "pages"],
        "parameters": [{"name": n, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for n in _plain(path)],
        "responses": {str(s): {"description": HTTPStatus(s).phrase} for s in sorted({*statuses, *ANY})},
    }
    if gives:
        out["responses"]["200"] = {"description": "OK", "content": {gives: {}}}
    if path.startswith(("/plans", "/patients", "/hl7v2", "/readings")) and path != "/plans/schema":
        out["security"] = [{"bearer": []}]
    if takes:
        out["requestBody"] = {"content": {takes: {"schema": {"type": "string" if takes == "text/plain" else "object"}}}}
    return out


def _plain(path: str) -> list[str]:
    return [name.split(":")[0] for name in _names(path)]


def _schemas(types: list[str], compartments: list[str]) -> dict[str, Any]:
    """Shapes only as far as any resource has them: what each type may hold is FHIR's own to say (`$validate` tells)."""
    def named(name: str) -> dict[str, Any]:
        return {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"const": name}}}

    request = {
        "type": "object", "required": ["method", "url"],
        "properties": {"method": {"enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]}, "url": {"type": "string"}, "ifMatch": {"type": "string"}},
    }  # fmt: skip
    entry = {
        "type": "object", "required": ["request"],
        "properties": {"fullUrl": {"type": "string"}, "resource": {"$ref": "#/components/schemas/Resource"}, "request": request},
    }  # fmt: skip
    bundle = named("Bundle") | {"required": ["resourceType", "type"]}
    bundle["properties"] = {**bundle["properties"], "type": {"type": "string"}, "entry": {"type": "array", "items": {"type": "object"}}}
    asking = named("Bundle") | {"required": ["resourceType", "type"]}
    asking["properties"] = {**asking["properties"], "type": {"enum": ["batch", "transaction"]}, "entry": {"type": "array", "items": entry}}
    parameter = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "part": {"type": "array"}}}
    operation = {
        "type": "object", "required": ["op", "path"],
        "properties": {"op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]}, "path": {"type": "string"}, "from": {"type": "string"}, "value": {}},
    }  # fmt: skip
    return {
        "Type": {"type": "string", "enum": types},
        "Compartment": {"type": "string", "enum": compartments},
        "Resource": {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"$ref": "#/components/schemas/Type"}}},
        "Search": {"type": "object", "properties": {HAS: {"type": "string"}}, "additionalProperties": {"type": "string"}},
        "Bundle": bundle,
        "Request": asking,
        "Parameters": named("Parameters") | {"properties": {"resourceType": {"const": "Parameters"}, "parameter": {"type": "array", "items": parameter}}},
        "OperationOutcome": named("OperationOutcome"),
        "JsonPatch": {"type": "array", "items": operation},
    }
