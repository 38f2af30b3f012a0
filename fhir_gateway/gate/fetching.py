"""Whatever a GET can ask for, by its address: what entries of a Bundle use, and the Bundles that reads and entries share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from ..domain import bundle, summary
from ..domain.preconditions import not_modified
from ..domain.primitives import whole
from ..domain.problem import Problem
from ..domain.summary import Part
from ..domain.types import Ref
from .context import Answer, Context, Page
from .gathering import everything, plan_document
from .past import history
from .reading import vread
from .searching import compartment, search
from .writings import read

TRANSPORT = ("_format", "_pretty")

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """`body` is None when the reader has it already. Of one resource also its version and time."""

    body: bytes | None
    ref: Ref | None = None
    version: int = 0
    updated: datetime | None = None


async def fetch(
    ctx: Context, path: Sequence[str], params: Params, *, if_none_match: str | None = None, if_modified_since: str | None = None
) -> Fetched:
    """The answer to `GET path?params`. Problem: not-found, gone, bad-request, no-such-operation, insufficient-scope."""
    match list(path):
        case [] | ["_history"] | [_] | [_, "_history"] | [_, _, "_history"]:
            return Fetched(await _many(ctx, list(path), params))
        case ["Patient", "$everything"] | ["Patient", _, "$everything"]:
            page = await everything(ctx, path[1] if len(path) == 3 else None, [p for p in params if p[0] not in TRANSPORT])
            return Fetched(searchset(ctx, page, "/".join(path)))
        case ["CarePlan", id, "$document"]:
            return Fetched(await plan_document(ctx, id))
        case [type, id] if not id.startswith(("_", "$")):
            answer = await read(ctx, Ref(type, id))
        case [type, id, "_history", version]:
            answer = await vread(ctx, Ref(type, id), version_number(version))
        case [type, id, inner] if not inner.startswith(("_", "$")):
            of, whose = compartment(ctx, Ref(type, id), inner)
            page = await search(ctx, of, asked_of(params), within=whose)
            return Fetched(searchset(ctx, page, "/".join(path)))
        case _:
            raise Problem("no-such-operation", f"There is nothing to read at `{'/'.join(path)[:80]}`.")
    if not_modified(answer.version, answer.updated, if_none_match, if_modified_since):
        return Fetched(None, answer.ref, answer.version, answer.updated)
    return Fetched(part_of(ctx, answer, params).body, answer.ref, answer.version, answer.updated)


async def _many(ctx: Context, path: list[str], params: Params) -> bytes:
    """A search or a history."""
    if path[-1:] == ["_history"]:
        page = await history(ctx, path[0] if len(path) > 1 else None, path[1] if len(path) == 3 else None, params)
        return historyset(ctx, page, "/".join(path))
    page = await search(ctx, path[0] if path else None, asked_of(params))
    return searchset(ctx, page, "/".join(path))


def asked_of(params: Params) -> list[tuple[str, str]]:
    """The parameters of a search, without those that say how to write the answer down."""
    return [(k, v) for k, v in params if k not in TRANSPORT]


def version_number(text: str) -> int:
    """A version as it stands in an address; 0, which there never is, for what can be none."""
    return whole(text, 15) or 0


# -- writing it down --------------------------------------------------------------------------------------------------


def part_of(ctx: Context, answer: Answer, params: Params) -> Answer:
    """The part of one resource that `_summary` and `_elements` ask for. Problem bad-request."""
    part = summary.asked(params, one=True)
    return replace(answer, body=summary.render(answer.body, part, ctx.house.r4)) if part else answer


def searchset(ctx: Context, page: Page, path: str) -> bytes:
    """The Bundle of a search, each resource in the part asked for, with its links."""
    return bundle.searchset(_parts(ctx, page), ctx.house.base_url, _links(ctx, page, path))


def historyset(ctx: Context, page: Page, path: str) -> bytes:
    """The Bundle of a history."""
    return bundle.history(_parts(ctx, page), ctx.house.base_url, _links(ctx, page, path))


def _parts(ctx: Context, page: Page) -> Page:
    part: Part = summary.asked(page.used)
    if not part:
        return page
    r4 = ctx.house.r4
    return replace(page, entries=tuple(e if e.body is None else replace(e, body=summary.render(e.body, part, r4)) for e in page.entries))


def _links(ctx: Context, page: Page, path: str) -> dict[str, str]:
    here = f"{ctx.house.base_url}/{path}" if path else ctx.house.base_url
    links = {"self": f"{here}?{urlencode(page.used)}" if page.used else here}
    if page.next:
        links["next"] = f"{here}?{urlencode({'_page': page.next})}"
    return links
