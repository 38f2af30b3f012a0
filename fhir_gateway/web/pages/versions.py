"""Two versions of something that was changed in two places at once, side by side in plain words; whoever may change it chooses one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import entries
from ...domain.bundle import references
from ...domain.problem import Problem, not_found
from ...gate import Context
from ...gate.settling import Clash
from .frame import Pages, go, only, show
from .names import names, partners_called
from .things import title
from .words import _, day, moment, short

ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
PARTS: Mapping[str, str] = {
    "description": "What it is", "title": "What it is called", "name": "Name", "code": "What it is", "note": "Notes", "status": "How it stands",
    "lifecycleStatus": "How it stands", "achievementStatus": "How far it is", "priority": "How important it is", "startDate": "From", "target": "What we want to reach",
    "period": "From and to", "dueDate": "By when", "telecom": "Phone and email", "address": "Address", "activity": "What we will do", "category": "What kind it is",
    "value": "What was measured", "valueQuantity": "What was measured", "valueString": "What was measured", "contact": "People to call", "goal": "Goals",
    "addresses": "What it is for", "text": "In words", "reason": "Why", "reasonCode": "Why", "detail": "More about it", "item": "Answers",
    "recorder": "Who wrote it down", "author": "Who wrote it", "asserter": "Who said so", "performer": "Who did it", "expressedBy": "Who said so", "identifier": "Numbers it goes by",
    "extension": "More about it",
}  # fmt: skip
NEVER = frozenset({"id", "meta", "resourceType"})
LEFT_OUT = frozenset({"text", "extension", "identifier"})  # where anything else differs
WAYS = ("ours", "theirs")
_CODE = re.compile(r"[a-z]+(-[a-z]+)+\Z")
_DATE = re.compile(r"\d{4}-\d\d(-\d\d(T.*)?)?\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of it as each side has it, and as it is now."""

    label: str
    ours: str
    theirs: str
    now: str
    element: str = ""
    words: str | None = None  # what it says now, where it is plain words that can be written anew


WORDS = 2_000  # characters that can be written for one part


async def look(pages: Pages, request: Request, ctx: Context) -> Response:
    """Both versions; POST the one that is to count. Problem not-found, for hidden and absent alike."""
    id = str(request.path_params["id"])
    if not ID.match(id):
        raise not_found()
    c = await gate.clash(ctx, id)
    if request.method != "POST":
        return await _page(pages, request, ctx, c, {})
    form = request.state.form
    elements = [p.element for p in parts(c.ours, c.theirs, c.now)]
    only(form, "do", "version", *(f"{n}-{e}" for e in elements for n in ("part", "words")))
    how, seen = str(form.get("do", "")), str(form.get("version", ""))
    if how == "merged":
        return await _merge(pages, request, ctx, c)
    if how not in WAYS or not seen.isdecimal():
        return await _page(pages, request, ctx, c, {"ours": _("Choose one of the two.")})
    try:
        await gate.settle(ctx, id, how, version=int(seen))
    except Problem as p:
        if p.kind != "stale":
            raise
        return await _page(pages, request, ctx, await gate.clash(ctx, id), {"ours": _("Somebody has changed it meanwhile. Look at it again.")})
    return go(f"{_back(ctx, c)}?done=chosen")


async def _merge(pages: Pages, request: Request, ctx: Context, c: Clash) -> Response:
    """Part by part: ours, theirs, or words that are written here. Everything else is as it is now."""
    form = request.state.form
    errors: dict[str, str] = {}
    after = dict(c.now)
    if c.theirs is None:
        raise not_found()
    if str(form.get("version", "")) != str(c.version):
        return await _page(pages, request, ctx, c, {"merge": _("Somebody has changed it meanwhile. Look at it again.")})
    for part in parts(c.ours, c.theirs, c.now):
        chosen, words = str(form.get(f"part-{part.element}", "")), str(form.get(f"words-{part.element}", "")).strip()
        if chosen in WAYS:
            after = gate.with_part(after, c, part.element, chosen)
        elif chosen == "new" and part.words is not None and 0 < len(words) <= WORDS:
            after[part.element] = words if isinstance(_written(c, part.element), str) else {"text": words}
        else:
            errors[f"part-{part.element}"] = f"{part.label}: {_('Choose one, or write what it is to say.')}"
    if errors:
        return await _page(pages, request, ctx, c, errors)
    body = {**after, "meta": {**after.get("meta", {}), "versionId": str(c.version)}}
    try:
        await gate.settle(ctx, c.id, "merged", body, version=c.version)
    except Problem as p:
        if p.kind not in ("stale", "invalid", "malformed", "business-rule", "bad-request"):
            raise
        said = _("Somebody has changed it meanwhile. Look at it again.") if p.kind == "stale" else _("This cannot go together so. Choose other parts.")
        return await _page(pages, request, ctx, await gate.clash(ctx, c.id), {"merge": said})
    return go(f"{_back(ctx, c)}?done=chosen")


def _written(c: Clash, element: str) -> Any:
    """How this part is written in whichever side has it."""
    return c.ours.get(element, (c.theirs or {}).get(element))


def _plain(*sides: Any) -> bool:
    """Are these words alone: a text that is no code and no date, or one without any code."""
    return all(
        s is None or (isinstance(s, str) and not _CODE.match(s) and not _DATE.match(s) and " " in s.strip()) or (isinstance(s, Mapping) and s.keys() == {"text"})
        for s in sides
    )


async def waiting(ctx: Context, person: str | None = None) -> list[dict[str, str]]:
    """`{href, text}` of each that this reader may settle, of one person (`Patient/…`) or of everybody."""
    base = "/my-plan" if ctx.actor.kind == "patient" else "/team"
    return [{"href": f"{base}/two-versions/{c.id}", "text": title(c.now)} for c in await gate.clashes(ctx, person)]


async def _page(pages: Pages, request: Request, ctx: Context, c: Clash, errors: dict[str, str]) -> Response:
    known = await partners_called(ctx)
    named = await names(ctx, {r for side in (c.ours, c.theirs or {}, c.now) for r in references(side)})
    return await show(
        pages, request, "two_versions.html", ctx=ctx, status=409 if errors else 200, name=title(c.now), parts=parts(c.ours, c.theirs, c.now, named), gone=c.theirs is None,
        typed=dict(getattr(request.state, "form", {})), most=WORDS, other=known.get(c.remote) or _("another service"), when=moment(c.at), version=c.version, action=request.url.path, back=_back(ctx, c), errors=errors,
    )  # fmt: skip


def _back(ctx: Context, c: Clash) -> str:
    return "/my-plan" if ctx.actor.kind == "patient" else "/team"


def parts(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None, now: Mapping[str, Any], named: Mapping[str, str] | None = None) -> list[Part]:
    """Where the two differ, part by part; all of ours where they deleted it. What people do not read is there only where nothing else differs.
    `named`: what the references that this reader may follow are called."""
    other = theirs if theirs is not None else {}
    differ = [k for k in dict.fromkeys((*ours, *other)) if k not in NEVER and not entries.same(ours.get(k), other.get(k))]
    read = [k for k in differ if k not in LEFT_OUT and not k.startswith("_")]
    found = [_part(k, ours, other, now, named or {}) for k in (read if read or theirs is None else differ)]
    return [p for p in found if theirs is not None or p.ours != p.theirs]


def _part(key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], now: Mapping[str, Any], named: Mapping[str, str]) -> Part:
    mine, yours, is_now = (side.get(key) for side in (ours, theirs, now))
    words = words_of(is_now, named) if _plain(mine, yours, is_now) else None
    here, there, shown = _whatever(mine, named), _whatever(yours, named), _whatever(is_now, named)
    if here == there:  # alike in words, and yet two
        there = _("{words} (another one, or put in another way)").format(words=there)
        shown = there if entries.same(is_now, yours) else shown
    return Part(label(key), here, there, shown, key, words)


def _whatever(value: Any, named: Mapping[str, str]) -> str:
    """A value in plain words, also where it has none."""
    if value is None:
        return _("Nothing")
    return words_of(value, named) or _("Something that we have no words for")


def label(element: str) -> str:
    """A name of FHIR as people read it."""
    element = element.removeprefix("_")
    return _(PARTS[element]) if element in PARTS else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", element).capitalize()


def words_of(value: Any, named: Mapping[str, str] | None = None) -> str:
    """A value in plain words: its text, else what it holds line by line; no codes, no ids. `named`: what references are called."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if isinstance(value, int | float | Decimal):
        return short(value)
    if isinstance(value, date):
        return day(value)
    if isinstance(value, str):
        return day(value) if _DATE.match(value) else value.replace("-", " ") if _CODE.match(value) else value
    if isinstance(value, list):
        return "\n".join(t for v in value if (t := words_of(v, named)))
    return _said(value, named or {}) if isinstance(value, Mapping) else ""


def _said(value: Mapping[str, Any], named: Mapping[str, str]) -> str:
    if "div" in value:
        return ""
    for key in ("text", "display"):
        if isinstance(value.get(key), str):
            return str(value[key])
    if "coding" in value:
        found = [str(c["display"]) for c in value["coding"] if isinstance(c, Mapping) and c.get("display")]
        return found[0] if found else _("Something with a code")
    if "reference" in value or "identifier" in value:
        return named.get(str(value.get("reference"))) or _("Something else in the record")
    if "value" in value and not isinstance(value["value"], Mapping):
        return " ".join(words_of(value[k], named) for k in ("value", "unit") if k in value)
    if "family" in value or "given" in value:
        return " ".join([*map(str, value.get("given", [])), str(value.get("family", ""))]).strip()
    if value.keys() & {"start", "end"}:
        return " – ".join(words_of(value.get(k), named) or "…" for k in ("start", "end"))
    return ", ".join(t for k, v in value.items() if k not in ("id", "extension", "system", "use") and (t := words_of(v, named)))


__all__ = ["Part", "label", "look", "parts", "waiting", "words_of"]
