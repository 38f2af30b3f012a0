"""The operations, and what our own take and give, as Parameters. https://hl7.org/fhir/R4/operations.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .. import gate
from ..domain import strict
from ..domain.lint import lint
from ..domain.modifiers import plain
from ..domain.preconditions import tag
from ..domain.problem import Problem
from ..domain.types import Ref
from ..gate import Context, Explained, Sight, Written
from .app import PRIVATE, Web, body
from .messages import ID, json, pairs, ref, sent_json

Asked = tuple[dict[str, Any] | None, dict[str, str]]


async def everything(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """Patient/$everything as a searchset. https://hl7.org/fhir/R4/patient-operation-everything.html"""
    params = [p for p in await given(web, request) if p[0] not in ("_format", "_pretty")]
    page = await gate.everything(ctx, ref(parts).id if len(parts) == 3 else None, params)
    return json(request, gate.searchset(ctx, page, "/".join(parts)))


async def document(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """CarePlan/[id]/$document: a document Bundle."""
    return json(request, await gate.plan_document(ctx, ref(parts).id))


async def validate(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """[type]/$validate: an OperationOutcome, of what was sent or of what is here. https://hl7.org/fhir/R4/resource-operation-validate.html"""
    raw = await body(web, request)
    if raw:
        sent_json(request)
    id = ref(parts).id if len(parts) == 3 else None
    said = await gate.judge(ctx, parts[0], id, strict.read(raw) if raw else None, pairs(request.url.query))
    return json(request, strict.dump(said))


async def explain(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """Why somebody may see something, or may not, as Parameters."""
    said = {k: v for k, v in await given(web, request) if k not in ("_format", "_pretty")}
    type, _, id = said.get("what", "").partition("/")
    if not web.house.r4.has_type(type) or not ID.match(id):
        raise Problem("bad-request", "`what` names the resource that this is about, such as Goal/1.", "what")
    if said.get("who"):
        await gate.understood(ctx.house, said["who"])
    why = await gate.why(ctx, Ref(type, id), said.get("who", ""), said.get("purpose", ""), said.get("action", "access"))
    return json(request, strict.dump(explain_told(why)))


async def preview(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """What somebody would see under a Consent that is not saved, as Parameters."""
    sent_json(request)
    listed = strict.read(await body(web, request))
    choice, said = preview_asked(listed)
    await gate.understood(ctx.house, said["who"])
    found = await gate.preview(ctx, said["who"], choice=choice, replaces=(choice or {}).get("id"), purpose=said.get("purpose", "TREAT"))
    return json(request, strict.dump(preview_told(found.sights, choice)))


async def meta(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """[type]/[id]/$meta. https://hl7.org/fhir/R4/resource-operation-meta.html"""
    return metas(request, await gate.meta_of(ctx, ref(parts)))


async def meta_add(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """[type]/[id]/$meta-add: labels put on."""
    wanted, _ = await about_meta(web, request)
    return labelled(request, await gate.put_on(ctx, ref(parts), wanted))


async def meta_delete(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """[type]/[id]/$meta-delete: labels taken off, with a reason where they are somebody else's."""
    wanted, reason = await about_meta(web, request)
    return labelled(request, await gate.take_off(ctx, ref(parts), wanted, reason))


async def about_meta(web: Web, request: Request) -> tuple[dict[str, Any], str]:
    """`meta` and `reason` of a Parameters resource. Problem bad-request."""
    sent_json(request)
    listed = strict.read(await body(web, request))
    found = {p["name"]: p for p in _listed(listed) if isinstance(p, dict) and isinstance(p.get("name"), str)}
    reason = found.get("reason", {}).get("valueString", "")
    if not isinstance(reason, str) or len(reason) > 1000:
        raise Problem("bad-request", "`reason` is a text of at most 1,000 characters.", "reason")
    return found.get("meta", {}).get("valueMeta", {}), reason


def labelled(request: Request, w: Written) -> Response:
    """The answer to a change of labels: the meta as this reader may see it, and its ETag; nothing of what they see no more by it."""
    shown = strict.decode(w.body).get("meta", {}) if w.body else {}
    return metas(request, {k: v for k, v in shown.items() if k in ("profile", "tag", "security")}, {"ETag": tag(w.version)})


def metas(request: Request, shown: dict[str, Any], more: dict[str, str] | None = None) -> Response:
    """Parameters with `return`, a Meta; without it when there is nothing to show."""
    told = {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": shown}] if shown else []}
    return json(request, strict.dump({k: v for k, v in told.items() if v}), headers={**PRIVATE, **(more or {})})


async def given(web: Web, request: Request) -> list[tuple[str, str]]:
    """The parameters of an operation: in the address, or by POST in a Parameters resource. Problem bad-request."""
    out = pairs(request.url.query)
    raw = await body(web, request) if request.method == "POST" else b""
    if not raw:
        return out
    sent_json(request)
    listed = strict.read(raw)
    for p in _listed(listed):
        value = next((v for k, v in p.items() if k.startswith("value")), None) if isinstance(p, dict) else None
        if not isinstance(value, (str, int)) or not isinstance(p.get("name"), str):
            raise Problem("bad-request", "Each parameter of this operation has a name and one plain value.", "Parameters.parameter")
        out.append((p["name"], str(value)))
    return out


def _listed(sent: Mapping[str, Any], *, whole: bool = False) -> list[Any]:
    """What a Parameters resource lists; `whole` asks that each is an object. Problem bad-request, or what `domain.modifiers.plain` says."""
    listed = sent.get("parameter", [])
    if sent.get("resourceType") != "Parameters" or not isinstance(listed, list) or (whole and not all(isinstance(p, dict) for p in listed)):
        raise Problem("bad-request", "An operation takes a Parameters resource.", "resourceType")
    plain(sent, "Parameters")
    return listed


# -- what our own take and give ---------------------------------------------------------------------------------------


def preview_asked(sent: Mapping[str, Any]) -> Asked:
    """(the Consent that is not saved, if any; `who` and `purpose`). Problem bad-request."""
    listed = _listed(sent, whole=True)
    choice: dict[str, Any] | None = None
    said: dict[str, str] = {}
    for p in listed:
        name, value = p.get("name"), next((v for k, v in p.items() if k.startswith("value")), None)
        if name == "consent":
            choice = p.get("resource")
            if not isinstance(choice, dict) or choice.get("resourceType") != "Consent" or not isinstance(choice.get("id", ""), str):
                raise Problem("bad-request", "The parameter `consent` holds one Consent.", "Parameters.parameter")
        elif name in ("who", "purpose"):
            if not isinstance(value, str) or not value:
                raise Problem("bad-request", f"The parameter `{name}` must be a text.", "Parameters.parameter")
            said[name] = value[:200]
        else:
            raise Problem("bad-request", f"`{str(name)[:40]}` is not a parameter of this operation.", "Parameters.parameter")
    if "who" not in said:
        raise Problem("bad-request", "`who` names whom this is about, such as Practitioner/1.", "who")
    return choice, said


def explain_told(why: Explained) -> dict[str, Any]:
    """The decision, why in words, each thing that would change it, and the Consent it rests on where it is told."""
    decision = why.decision
    told: list[dict[str, Any]] = [
        {"name": "permit", "valueBoolean": decision.permit}, {"name": "basis", "valueString": decision.basis}, {"name": "text", "valueString": why.text},
    ]  # fmt: skip
    told += [{"name": "change", "valueString": text} for text in why.texts]
    if decision.consent:
        told.append({"name": "consent", "valueReference": {"reference": f"Consent/{decision.consent.removeprefix('Consent/')}"}})
    return {"resourceType": "Parameters", "parameter": told}


def preview_told(sights: Iterable[Sight], choice: Mapping[str, Any] | None) -> dict[str, Any]:
    """Counts, what would open and close, what stays closed and why, and what may surprise about the Consent."""
    sights = list(sights)

    def ref(s: Sight) -> dict[str, Any]:
        return {"reference": str(s.ref)}

    told: list[dict[str, Any]] = [
        {"name": "now", "valueInteger": sum(s.before.permit for s in sights)},
        {"name": "then", "valueInteger": sum(s.after.permit for s in sights)},
        {"name": "of", "valueInteger": len(sights)},
    ]
    told += [{"name": "opens", "valueReference": ref(s)} for s in sights if s.after.permit and not s.before.permit]
    told += [{"name": "closes", "valueReference": ref(s)} for s in sights if s.before.permit and not s.after.permit]
    for s in sights:
        if not (s.before.permit or s.after.permit):
            told.append({"name": "closed", "part": [{"name": "what", "valueReference": ref(s)}, {"name": "text", "valueString": s.text}]})
    told += [{"name": "warning", "valueString": w.text} for w in (lint(choice) if choice else ())]
    return {"resourceType": "Parameters", "parameter": told}
