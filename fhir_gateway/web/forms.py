"""`$populate` and `$extract` by HTTP: Parameters in, Parameters out. https://hl7.org/fhir/uv/sdc/"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..around import extracting
from ..around import forms as filling
from ..domain import strict
from ..domain.forms.items import value
from ..domain.modifiers import plain
from ..domain.problem import Problem, outcome
from ..gate import Context
from .app import Web, body
from .messages import json, pairs, ref, sent_json


async def populate(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """Questionnaire/$populate, Questionnaire/[id]/$populate: a response with what is known already."""
    said = await _sent(web, request)
    form, address = said.get("questionnaire"), said.get("questionnaire")
    asked = filling.Asked(
        id=ref(parts).id if len(parts) == 3 else "", canonical=address if isinstance(address, str) else "",
        form=form if isinstance(form, dict) and "resourceType" in form else None, subject=_subject(said.get("subject", "")), context=_context(said),
    )  # fmt: skip
    found = await filling.populate(ctx, asked)
    told: list[dict[str, Any]] = [{"name": "response", "resource": found.response}]
    return _told(request, told, found.issues)


async def extract(web: Web, request: Request, ctx: Context, parts: list[str]) -> Response:
    """QuestionnaireResponse/$extract: what answers would become. QuestionnaireResponse/[id]/$extract: that, written, unless `dry-run`."""
    said = await _sent(web, request)
    sent, form = said.get("questionnaire-response"), said.get("questionnaire")
    if form is not None and not isinstance(form, dict):
        raise Problem("bad-request", "`questionnaire` holds a Questionnaire.", "questionnaire")
    if len(parts) == 3:
        if sent is not None:
            raise Problem("bad-request", "The address says which answers: `questionnaire-response` is not sent along.", "questionnaire-response")
        if not _yes(said.get("dry-run")):
            if form is not None:
                raise Problem("bad-request", "What is written follows the form that the answers name: `questionnaire` goes with `dry-run`.", "questionnaire")
            done = await extracting.extract(ctx, ref(parts).id)
            entries = [{"response": {"status": STATUS.get(did, "200 OK"), "location": r}} for r, did in done.refs]
            written = {"resourceType": "Bundle", "type": "transaction-response", **({"entry": entries} if entries else {})}
            return _told(request, [{"name": "return", "resource": written}], done.issues)
        sent = await extracting.kept_answers(ctx, ref(parts).id)
    if not isinstance(sent, dict) or sent.get("resourceType") != filling.ANSWERS:
        raise Problem("bad-request", "`questionnaire-response` holds the answers.", "questionnaire-response")
    found = await extracting.shown(ctx, sent, form)
    return _told(request, [{"name": "return", "resource": found.bundle()}], found.issues)


STATUS = {"created": "201 Created"}


async def _sent(web: Web, request: Request) -> dict[str, Any]:
    """The parameters by name, in the address or the body; a bare resource is the one that the operation is about. Problem bad-request."""
    out: dict[str, Any] = {k: v for k, v in pairs(request.url.query) if k not in ("_format", "_pretty")}
    raw = await body(web, request) if request.method == "POST" else b""
    if not raw:
        return out
    sent_json(request)
    whole = strict.read(raw)
    if whole.get("resourceType") in (filling.TYPE, filling.ANSWERS):
        return {**out, "questionnaire" if whole["resourceType"] == filling.TYPE else "questionnaire-response": dict(whole)}
    listed = whole.get("parameter", [])
    if whole.get("resourceType") != "Parameters" or not isinstance(listed, list) or not all(isinstance(p, dict) for p in listed):
        raise Problem("bad-request", "An operation takes a Parameters resource.", "resourceType")
    plain(whole, "Parameters")
    for p in listed:
        name = str(p.get("name", ""))
        held = p["resource"] if isinstance(p.get("resource"), dict) else p.get("part") if "part" in p else value(p)[1]
        if name == "context":
            out.setdefault("context", []).append(held)
        elif name in out:
            raise Problem("bad-request", f"The parameter `{name[:40]}` stands once.", "Parameters.parameter")
        else:
            out[name] = held
    return out


def _subject(said: Any) -> str:
    return str(said.get("reference", "")) if isinstance(said, dict) else str(said)


def _context(said: dict[str, Any]) -> dict[str, Any]:
    """`context` parameters: name, and content by reference or as it is. Problem bad-request."""
    out: dict[str, Any] = {}
    for parts in said.get("context", []):
        if not isinstance(parts, list) or not all(isinstance(p, dict) for p in parts):
            raise Problem("bad-request", "Each `context` has the parts `name` and `content`.", "context")
        held = {str(p.get("name")): p["resource"] if isinstance(p.get("resource"), dict) else value(p)[1] for p in parts}
        if not isinstance(held.get("name"), str):
            raise Problem("bad-request", "Each `context` has the parts `name` and `content`.", "context")
        out[held["name"]] = held.get("content")
    return out


def _yes(said: Any) -> bool:
    """Problem bad-request for what is neither yes nor no."""
    if said not in (None, True, False, "true", "false"):
        raise Problem("bad-request", "`dry-run` is true or false.", "dry-run")
    return said in (True, "true")


def _told(request: Request, told: list[dict[str, Any]], issues: Any) -> Response:
    if issues:
        told = [*told, {"name": "issues", "resource": outcome(issues)}]
    return json(request, strict.dump({"resourceType": "Parameters", "parameter": told}))
