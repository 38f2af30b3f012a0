"""batch and transaction. https://hl7.org/fhir/R4/http.html#transaction

A transaction is one commit: everything or nothing. A batch is its entries one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from ..domain import bundle as bundles
from ..domain import strict
from ..domain.primitives import whole
from ..domain.problem import Problem, outcome
from ..domain.types import Ref
from .context import Context, Written, need_scope, note
from .identifying import known_person
from .writing import Once, Work, again, create, matching, patch, put_new, put_over, remove, take_away, update

T = TypeVar("T")
MAX_ENTRIES = 500
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the Bundle: `target` is `Type`, `Type/id` or `Type?condition`."""

    at: int
    method: str
    url: str
    full_url: str
    resource: dict[str, Any] | None
    if_match: int | None
    if_none_exist: str | None

    @property
    def where(self) -> str:
        return f"Bundle.entry[{self.at}]"

    @property
    def type(self) -> str:
        return self.url.split("?", 1)[0].split("/", 1)[0]

    @property
    def id(self) -> str | None:
        path = self.url.split("?", 1)[0]
        return path.split("/", 1)[1] if "/" in path else None

    @property
    def condition(self) -> str | None:
        return self.url.split("?", 1)[1] if "?" in self.url else None


async def transaction(ctx: Context, raw: bytes) -> dict[str, Any]:
    """A Bundle of type transaction or batch in, the response Bundle out, entries in the order they came."""
    bundle = strict.read(raw)
    steps = read_steps(ctx, bundle)
    if bundle["type"] == "batch":
        return await batch(ctx, steps)

    async def once() -> dict[int, Written]:
        work, answers = await prepare(ctx, steps)
        await work.commit()
        return answers

    reads = await readable(ctx, steps)
    answers = await again(once)
    return await respond(ctx, reads, answered(steps, answers))


async def readable(ctx: Context, steps: list[Step]) -> list[Step]:
    """The reads of a transaction, tried before anything is written: one that fails fails all of it."""
    reads = [s for s in steps if s.method in ("GET", "HEAD")]
    for step in reads:
        await _at(step, _get(ctx, step))
    return reads


def read_steps(ctx: Context, bundle: Mapping[str, Any]) -> list[Step]:
    """The entries, checked for shape. Problem: bad-request, too-large."""
    if bundle.get("resourceType") != "Bundle":
        raise Problem("bad-request", "Only a Bundle can be sent to this address.", "resourceType")
    if bundle.get("type") not in ("transaction", "batch"):
        raise Problem("bad-request", f"A Bundle sent here is a transaction or a batch, not `{bundle.get('type')}`.", "Bundle.type")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise Problem("bad-request", "`entry` must be a list.", "Bundle.entry")
    if len(entries) > MAX_ENTRIES:
        raise Problem("too-large", f"A Bundle may have {MAX_ENTRIES} entries, this one has {len(entries)}.", "Bundle.entry")
    steps = [_step(ctx, i, e) for i, e in enumerate(entries)]
    _no_name_twice(steps)
    return steps


def _step(ctx: Context, at: int, entry: Any) -> Step:
    where = f"Bundle.entry[{at}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("request"), dict):
        raise Problem("bad-request", "Each entry needs a `request` with method and url.", f"{where}.request")
    request = entry["request"]
    method, url = request.get("method"), request.get("url")
    if method not in METHODS:
        raise Problem("bad-request", f"`{method}` is not a method for a Bundle entry.", f"{where}.request.method")
    if not isinstance(url, str):
        raise Problem("bad-request", "The request needs a `url`.", f"{where}.request.url")
    url = url.removeprefix(ctx.house.base_url).lstrip("/") if url.startswith(ctx.house.base_url) else url
    type = url.split("?", 1)[0].split("/", 1)[0]
    if not ctx.house.r4.has_type(type) or "//" in url or ".." in url:
        raise Problem("bad-request", f"`{url[:80]}` is not an address of a resource here.", f"{where}.request.url")
    resource = entry.get("resource")
    if method in ("POST", "PUT", "PATCH") and not isinstance(resource, dict):
        raise Problem("bad-request", f"{method} needs a resource.", f"{where}.resource")
    if_match = request.get("ifMatch")
    full_url = entry.get("fullUrl", "")
    if not isinstance(full_url, str):
        raise Problem("bad-request", "`fullUrl` must be a text.", f"{where}.fullUrl")
    condition = request.get("ifNoneExist")
    if condition is not None and not isinstance(condition, str):
        raise Problem("bad-request", "`ifNoneExist` must be a text.", f"{where}.request.ifNoneExist")
    return Step(at, method, url, full_url, resource, etag(if_match, f"{where}.request.ifMatch"), condition)


def etag(text: Any, where: str = "If-Match") -> int | None:
    """`W/"3"` to 3. Problem bad-request for anything else."""
    if text is None:
        return None
    bare = text.removeprefix("W/").strip('"') if isinstance(text, str) else ""
    version = whole(bare)
    if version is None:
        raise Problem("bad-request", f'`{str(text)[:40]}` is not a version tag of this server, such as W/"3".', where)
    return version


def _no_name_twice(steps: list[Step]) -> None:
    named: set[str] = set()
    for step in steps:
        for name in {step.full_url, f"{step.type}/{step.id}" if step.id and step.method != "GET" else ""} - {""}:
            if name in named:
                raise Problem("bad-request", f"`{name[:80]}` is named by two entries.", step.where)
            named.add(name)


async def prepare(ctx: Context, steps: list[Step], known: Mapping[str, Ref] | None = None) -> tuple[Work, dict[int, Written]]:
    """Everything a transaction writes, in R4's order (DELETE, POST, PUT and PATCH, GET), not yet committed.

    `known` maps fullUrls to people found by other means (a push that names them by NHS number).
    """
    work = Work(ctx)
    answers: dict[int, Written] = {}
    ids: dict[str, str] = {url: str(ref) for url, ref in (known or {}).items()}
    for step in steps:
        scope = {"DELETE": "d", "POST": "c", "PUT": "u", "PATCH": "u"}.get(step.method)
        if scope:
            need_scope(ctx, scope, step.type)
    for step in (s for s in steps if s.method == "DELETE"):
        answers[step.at] = await _at(step, _delete(work, step))
    posts = [s for s in steps if s.method == "POST" and not (s.full_url and s.full_url in ids)]
    fresh = await _name_creations(ctx, posts, ids, answers)
    await _name_updates(ctx, steps, ids)
    for step in sorted(posts, key=lambda s: s.type != "Patient"):  # whoever it is about comes first, wherever they stand
        if step.at in answers:
            continue
        raw = await _resolved(ctx, step, ids)
        answers[step.at] = await _at(step, put_new(work, step.type, raw, id=fresh[step.at], if_none_exist=step.if_none_exist))
    for step in (s for s in steps if s.method == "PUT"):
        answers[step.at] = await _at(step, _put(work, step, ids))
    for step in (s for s in steps if s.method == "PATCH"):
        raise Problem("not-implemented", "PATCH inside a Bundle is not offered yet.", step.where)
    return work, answers


async def _at(step: Step, doing: Awaitable[T]) -> T:
    """A Problem of one entry says which."""
    try:
        return await doing
    except Problem as p:
        from dataclasses import replace

        issues = [replace(i, where=f"{step.where}.resource.{i.where}" if i.where else step.where) for i in p.issues]
        raise Problem(p.kind, p.text, step.where, issues=issues, headers=p.headers) from None


async def _name_creations(ctx: Context, posts: list[Step], ids: dict[str, str], answers: dict[int, Written]) -> dict[int, str]:
    """Each creation gets its id before references are rewritten; a conditional one may turn out to be there already, or to
    be what another entry makes, and a Patient somebody who is known here."""
    fresh: dict[int, str] = {}
    made: dict[tuple[str, str], Ref] = {}
    for step in posts:
        same = made.get((step.type, step.if_none_exist)) if step.if_none_exist else None
        match = await matching(ctx, step.type, step.if_none_exist) if step.if_none_exist and same is None else None
        if match is None and same is None and step.resource is not None:
            match = await known_person(ctx, step.type, step.resource)
        if same is not None:
            answers[step.at] = Written(same, 1, ctx.at, None, "matched")
            target = same
        elif match is not None:
            answers[step.at] = Written(match.ref, match.version, match.updated, match.body, "matched")
            target = match.ref
        else:
            fresh[step.at] = ctx.house.new_id()
            target = Ref(step.type, fresh[step.at])
        if step.if_none_exist:
            made[step.type, step.if_none_exist] = target
        if step.full_url:
            ids[step.full_url] = str(target)
    return fresh


async def _name_updates(ctx: Context, steps: list[Step], ids: dict[str, str]) -> None:
    for step in steps:
        if step.method == "PUT" and step.full_url:
            if step.id:
                ids[step.full_url] = f"{step.type}/{step.id}"
            elif step.condition:
                match = await matching(ctx, step.type, step.condition)
                if match is not None:
                    ids[step.full_url] = str(match.ref)


async def _resolved(ctx: Context, step: Step, ids: dict[str, str]) -> bytes:
    """The entry's resource with `urn:uuid:` and conditional references rewritten to what they now mean."""
    assert step.resource is not None
    names = dict(ids)
    for condition in bundles.conditional_references(step.resource):
        type, _, query = condition.partition("?")
        if not ctx.house.r4.has_type(type):
            raise Problem("bad-request", f"`{condition[:80]}` is not a conditional reference.", step.where)
        match = await matching(ctx, type, query)
        if match is None:
            raise Problem("business-rule", "A conditional reference has no match that you may see.", step.where)
        names[condition] = str(match.ref)
    unknown = [u for u in bundles.urn_references(step.resource) if u not in names]
    if unknown:
        raise Problem("business-rule", f"`{unknown[0][:60]}` is not the fullUrl of any entry.", step.where)
    return strict.dump(bundles.rewrite(step.resource, names, step.full_url))


async def _put(work: Work, step: Step, ids: dict[str, str]) -> Written:
    ctx = work.ctx
    raw = await _resolved(ctx, step, ids)
    if step.id:
        return await put_over(work, Ref(step.type, step.id), raw, if_match=step.if_match)
    if not step.condition:
        raise Problem("bad-request", "PUT needs an id or a condition.", step.where)
    match = await matching(ctx, step.type, step.condition)
    if match is None:
        need_scope(ctx, "c", step.type)
        return await put_new(work, step.type, raw)
    resource = strict.read(raw)
    if "id" not in resource:
        raw = strict.dump({"resourceType": step.type, "id": match.ref.id, **resource})
    return await put_over(work, match.ref, raw, if_match=step.if_match)


async def _delete(work: Work, step: Step) -> Written:
    if not step.id:
        raise Problem("bad-request", "DELETE in a Bundle needs an id.", step.where)
    return await take_away(work, Ref(step.type, step.id), if_match=step.if_match)


def answered(steps: list[Step], answers: Mapping[int, Written]) -> dict[str, Any]:
    """The response Bundle of what was written, an entry for each that was asked; those of reads are still to be filled."""
    entries = [bundles.answered(answers[s.at]) if s.at in answers else {"response": {"status": "200 OK"}} for s in steps]
    return {"resourceType": "Bundle", "type": "transaction-response", **({"entry": entries} if entries else {})}


async def respond(ctx: Context, reads: list[Step], answer: dict[str, Any]) -> dict[str, Any]:
    """The response Bundle with its reads: they see what the writes made."""
    for step in reads:
        answer["entry"][step.at] = await _got(ctx, step)
    return answer


async def _got(ctx: Context, step: Step) -> dict[str, Any]:
    """A read after its writes: what fails only now (they deleted it) is said in its own place."""
    try:
        return await _get(ctx, step)
    except Problem as p:
        return {"response": {"status": str(p.status), "outcome": outcome(p.issues)}}


async def _get(ctx: Context, step: Step) -> dict[str, Any]:
    from .reading import history, read, vread
    from .searching import everything, search

    params = parse_qsl(step.condition or "", keep_blank_values=True)
    if step.id is None:
        page = await search(ctx, step.type, params)
        return {"resource": strict.read(bundles.searchset(page, ctx.house.base_url, _self(ctx, step))), "response": {"status": "200 OK"}}
    parts = step.id.split("/")
    if len(parts) == 2 and parts[1] == "$everything" and step.type == "Patient":
        page = await everything(ctx, parts[0], params)
        return {"resource": strict.read(bundles.searchset(page, ctx.house.base_url, _self(ctx, step))), "response": {"status": "200 OK"}}
    if len(parts) == 3 and parts[1] == "_history":
        answer = await vread(ctx, Ref(step.type, parts[0]), whole(parts[2], 15) or 0)
    elif len(parts) == 2 and parts[1] == "_history":
        page = await history(ctx, step.type, parts[0], params)
        return {"resource": strict.read(bundles.history(page, ctx.house.base_url, _self(ctx, step))), "response": {"status": "200 OK"}}
    elif len(parts) == 1:
        answer = await read(ctx, Ref(step.type, step.id))
    else:
        raise Problem("bad-request", f"`{step.url[:80]}` cannot be read.", step.where)
    return {
        "resource": strict.read(answer.body),
        "response": {"status": "200 OK", "etag": f'W/"{answer.version}"', "lastModified": answer.updated.isoformat()},
    }


def _self(ctx: Context, step: Step) -> dict[str, str]:
    return {"self": f"{ctx.house.base_url}/{step.url}"}


async def batch(ctx: Context, steps: list[Step], once: Once | None = None) -> dict[str, Any]:
    """Each entry by itself; one that fails says so and hinders no other. With `once`, each entry has one effect however often
    the batch comes."""
    entries = []
    for step in steps:
        try:
            entries.append(await _alone(ctx, step, once.entry(step.at) if once else None))
        except Problem as p:
            entries.append({"response": {"status": str(p.status), "outcome": outcome(p.issues)}})
    await ctx.house.store.commit(note(ctx, "E", "batch", None, allowed=True, detail=f"{len(steps)} entries"))
    return {"resourceType": "Bundle", "type": "batch-response", **({"entry": entries} if entries else {})}


async def _alone(ctx: Context, step: Step, once: Once | None) -> dict[str, Any]:
    if step.method in ("GET", "HEAD"):
        return await _get(ctx, step)
    raw = strict.dump(step.resource) if step.resource is not None else b""
    if step.method == "POST":
        return bundles.answered(await create(ctx, step.type, raw, if_none_exist=step.if_none_exist, once=once))
    if not step.id:
        raise Problem("bad-request", f"{step.method} in a batch needs an id.", step.where)
    ref = Ref(step.type, step.id)
    if step.method == "PUT":
        return bundles.answered(await update(ctx, ref, raw, if_match=step.if_match, once=once))
    if step.method == "DELETE":
        return bundles.answered(await remove(ctx, ref, if_match=step.if_match, once=once))
    raise Problem("not-implemented", "PATCH inside a Bundle is not offered yet.", step.where)


__all__ = ["Step", "answered", "batch", "patch", "prepare", "read_steps", "respond", "transaction"]
