"""What registered systems push: one effect however often it comes, the right person or nobody, and an inbox for what was refused.

Contracts: idempotent per client for 7 days by `Bundle.identifier` or the `Idempotency-Key` header; a person is found by NHS
number only together with date of birth and family name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from ..domain import strict
from ..domain.problem import Issue, Problem, outcome
from ..domain.types import Drop, Keep, Op, Stored
from ..store.base import Taken
from .committing import again, settle
from .context import Context, note
from .identifying import find_person
from .preparing import known as held_already
from .telling import tell_of_a_message
from .transacting import Step, answered, batch, prepare, read_steps, readable, respond
from .writing import Once, digest

log = structlog.get_logger()
REMEMBERED = timedelta(days=7)


async def push(
    ctx: Context, raw: bytes, *, idempotency_key: str | None = None, waits_as: str | None = None, prefer: str = ""
) -> dict[str, Any]:
    """A Bundle from anyone, answered with what `prefer` (`Prefer: return=`) asks for.

    For a registered system the same bytes under the same name give the same answer (without the resources, which it may see no
    more when it asks again), and a refusal waits in its inbox (`waits_as`: under the name it has there already).
    """
    bundle = strict.read(raw)
    system = ctx.actor.kind == "system" and ctx.client is not None
    keys = _keys(bundle, idempotency_key) if system else []
    key = keys[0] if keys else None
    try:
        said = await _said_before(ctx, keys, bundle, raw)
        return said if said is not None else await again(lambda: _do(ctx, bundle, raw, keys, prefer))
    except Problem as p:
        if p.kind != "name-used":
            said = await _said_before(ctx, keys, bundle, raw)
            if said is not None:  # its twin was written meanwhile, which is what stood in the way
                return said
        if system and p.status in (409, 412, 422):
            await put_in_inbox(ctx, waits_as or _waiting(ctx, key, raw), Waits(raw.decode(), p.status, p.issues))
        raise


def named(ctx: Context, header: str | None) -> Once | None:
    """The name a registered system gave one write (`Idempotency-Key`); None for anyone else. Problem bad-request when too long."""
    if not header or ctx.actor.kind != "system" or ctx.client is None:
        return None
    return Once(f"{ctx.client} {_keys({}, header)[0]} alone", ctx.at + REMEMBERED)


def _keys(bundle: Mapping[str, Any], header: str | None) -> list[str]:
    """The names of a message, its own identifier first: a client may take a new key for each attempt."""
    out = []
    identifier = bundle.get("identifier")
    if isinstance(identifier, dict) and identifier.get("value"):
        out.append(f"bundle {identifier.get('system', '')}|{identifier['value']}")
    if header:
        if len(header) > 200:
            raise Problem("bad-request", "An Idempotency-Key has at most 200 characters.", "Idempotency-Key")
        out.append(f"header {header}")
    return out


async def _said_before(ctx: Context, keys: Sequence[str], bundle: Mapping[str, Any], raw: bytes) -> dict[str, Any] | None:
    """What this very push was answered before. Its reads are made anew: consent may have changed since."""
    kept = None
    for key in keys:
        kept = kept or await ctx.house.store.kept("push", f"{ctx.client} {key}", ctx.at)
    if kept is None:
        return None
    held = msgspec.json.decode(kept, type=_Said)
    if held.digest != digest(raw):
        raise Problem("name-used", "This name was used for another message in the last 7 days: give a changed message a new one.")
    answer: dict[str, Any] = msgspec.json.decode(held.answer)
    await ctx.house.store.commit(note(ctx, "E", "transaction", None, allowed=True, detail="repeated: answered as before"))
    return await respond(ctx, read_steps(ctx, bundle), answer)


class _Said(msgspec.Struct):
    digest: str
    answer: msgspec.Raw


async def _do(ctx: Context, bundle: Mapping[str, Any], raw: bytes, keys: Sequence[str], prefer: str) -> dict[str, Any]:
    key = keys[0] if keys else None
    if bundle.get("type") == "batch":
        answer = await batch(ctx, bundle, Once(f"{ctx.client} {key}", ctx.at + REMEMBERED) if key else None, prefer=prefer)
        if ctx.actor.kind == "system" and ctx.client is not None:
            await _keep_refused(ctx, key, bundle, answer)
        return answer
    steps = read_steps(ctx, bundle)
    looked = await readable(ctx, steps)
    people = await _people(ctx, steps) if ctx.actor.contributor else {}
    known = {steps[at].full_url: s.ref for at, s in people.items() if steps[at].full_url}
    work, answers = await prepare(ctx, [s for s in steps if s.at not in people], known)
    for at, s in people.items():
        answers[at] = await held_already(work, s)
    if key is not None:  # without the resources: who repeats it may not see them any more
        said = msgspec.json.encode({"digest": digest(raw), "answer": msgspec.Raw(strict.dump(answered(ctx, steps, answers)))})
        work.ops += [Keep("push", f"{ctx.client} {k}", said, ctx.at + REMEMBERED, if_absent=True) for k in keys]
        work.ops += [Drop("inbox", name) for name in await ctx.house.store.kept_all("inbox", ctx.at, f"{ctx.client} {key} ")]
    try:
        await work.commit(note(ctx, "E", "transaction", None, allowed=True, detail=f"{len(steps)} entries"))
    except Taken as t:  # the same push won a race; any other race is run again
        said_so = await _said_before(ctx, keys, bundle, raw) if t.kind == "push" else None
        if said_so is None:
            raise
        return said_so
    return await respond(ctx, steps, answered(ctx, steps, answers, "" if keys else prefer), looked)


# -- the right person, or nobody --------------------------------------------------------------------------------------


async def _people(ctx: Context, steps: list[Step]) -> dict[int, Stored]:
    """Entries that name a person we already hold, by NHS number with date of birth and family name. Problem conflict."""
    found: dict[int, Stored] = {}
    for step in steps:
        if step.type != "Patient" or step.resource is None or step.id:
            continue
        if step.method != "POST" and not (step.method == "PUT" and step.condition):
            continue
        person = await find_person(ctx, step.resource, step.where)
        if person is not None:
            found[step.at] = person
    return found


# -- the inbox --------------------------------------------------------------------------------------------------------


def _waiting(ctx: Context, key: str | None, raw: bytes) -> str:
    """The name of a refused push in the inbox: of its sender, under its own name, each message by itself."""
    return f"{ctx.client} {key or 'unnamed'} {digest(raw)}"


async def _keep_refused(ctx: Context, key: str | None, bundle: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Each refused entry of a batch waits as a batch of its own."""
    for entry, said in zip(bundle.get("entry", ()), answer.get("entry", ()), strict=True):
        if said["response"]["status"][:3] in ("409", "412", "422"):
            alone = strict.dump({"resourceType": "Bundle", "type": "batch", "entry": [entry]})
            told = [Issue("error", i["code"], (i.get("expression") or [""])[0], i["diagnostics"]) for i in said["response"]["outcome"]["issue"]]
            await put_in_inbox(ctx, _waiting(ctx, key, alone), Waits(alone.decode(), int(said["response"]["status"][:3]), told))


@dataclass(frozen=True, slots=True)
class Waits:
    """What is kept of a message that waits for a person: its text, what was answered, and `more` of it (what form it is of, say).

    A status below 400 is of one that was taken and needs somebody all the same.
    """

    body: str
    status: int
    issues: Sequence[Issue]
    more: Mapping[str, str] = field(default_factory=dict)


async def put_in_inbox(ctx: Context, name: str, what: Waits, *also: Op) -> None:
    """Body, outcome and time, with a task for whoever runs this gateway, and `also` in the same commit; nothing of it is visible elsewhere.

    What waits there already keeps its id and the time it first came.
    """
    kept = await ctx.house.store.kept("inbox", name, ctx.at)
    before = strict.decode(kept) if kept is not None else {}
    refused = what.status >= 400
    item = {
        "id": before.get("id") or ctx.house.new_id(),
        "client": ctx.client,
        "organisation": ctx.actor.organisation,
        "at": before.get("at") or ctx.at.isoformat(),
        "tried": ctx.at.isoformat(),
        "status": what.status,
        "outcome": outcome(what.issues),
        "task": _task(ctx, what.status),
        "body": what.body,
        **what.more,
    }
    await settle(
        ctx,
        Keep("inbox", name, strict.dump(item)),
        note(ctx, "E", "transaction", None, allowed=not refused, detail=f"{'refused' if refused else 'taken'} {what.status}: waits in the inbox"),
        *([] if before else tell_of_a_message(ctx.actor.user)),
        *also,
    )
    if refused:
        log.warning("push-refused", client=ctx.client, status=what.status, again=bool(before))


def _task(ctx: Context, status: int) -> dict[str, Any]:
    code = "check-identity" if status in (202, 409) else "correct-push"
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": code}]},
        "description": "A message from a registered system was refused. Look at it, correct it and send it again, or end it.",
        "authoredOn": ctx.at.isoformat(),
        **({"requester": {"reference": ctx.actor.organisation}} if ctx.actor.organisation else {}),
    }


async def inbox(ctx: Context) -> list[dict[str, Any]]:
    """Refused pushes, oldest first: all for an operator, its own for a system. Problem forbidden for anyone else."""
    if ctx.actor.operator:
        prefix = ""
    elif ctx.actor.kind == "system" and ctx.client:
        prefix = f"{ctx.client} "
    else:
        raise Problem("forbidden", "The inbox is for the operator and for the system that sent.")
    items = await ctx.house.store.kept_all("inbox", ctx.at, prefix)
    return sorted((strict.decode(v) | {"key": k} for k, v in items.items()), key=lambda i: i["at"])


async def waiting(ctx: Context) -> int:
    """How many refused pushes wait for somebody: the number alone. For an operator or a privacy officer: Problem forbidden."""
    if not (ctx.actor.operator or ctx.officer):
        raise Problem("forbidden", "How many messages wait is for whoever runs this service and for a privacy officer.")
    return await ctx.house.store.kept_count("inbox", ctx.at)


__all__ = ["REMEMBERED", "Waits", "inbox", "named", "push", "put_in_inbox", "waiting"]
