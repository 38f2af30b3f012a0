"""What people measure and send in by text message: kept as an Observation with where it came from. No value is judged here."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from .. import gate
from ..domain import readings
from ..domain.bundle import instant
from ..domain.problem import Problem
from ..domain.types import Keep, Ref
from ..gate import Context
from ..gate.committing import again
from ..gate.context import need_scope
from ..gate.transacting import prepare, read_steps

MESSAGES = "https://fhir-gateway.example/id/message"  # identifier system; value: `<client> <the service's own name of it>`
HERE = "urn:uuid:7b5f8a52-3f8d-4c0e-9f0e-5d8f5a1c2b11"
KEPT = "reading"  # `Patient/… <client> <its name of the message>`: what came under it. Only who sends by this name writes it; anybody may write an identifier


class Came(msgspec.Struct):
    """What a message became, the digest of its words, and the Task that says that it waits as a draft."""

    ref: str
    words: str
    draft: str = ""


class Taken(NamedTuple):
    """Where a reading is kept and whether it is new. `draft`: the Task that says that it waits; then nothing is kept there yet."""

    ref: str
    new: bool
    draft: str = ""


async def by_message(ctx: Context, person: str, text: str, at: str = "", message: str = "") -> Taken:
    """Keep a reading that this person (an id) sent. The same `message` of the same sender again is the same reading.

    What a volunteer passes on waits as a draft: again, they are told the same, unless they read the reading by now.

    Problem: invalid, insufficient-scope, name-used, and all of the gate's own.
    """
    need_scope(ctx, "c", "Observation")
    need_scope(ctx, "c", "Provenance")
    sender = ctx.client or ctx.actor.user
    body = readings.observation(text, f"Patient/{person}", at or instant(ctx.at), (MESSAGES, f"{sender} {message}") if message else None)
    key = f"Patient/{person} {quote(sender, safe='')} {quote(message, safe='')}" if message else ""

    async def once() -> Taken:
        kept = await ctx.house.store.kept(KEPT, key, ctx.at) if key else None
        return await _write(ctx, person, body, key) if kept is None else await _before(ctx, msgspec.json.decode(kept, type=Came), body)

    return await again(once)


async def _write(ctx: Context, person: str, body: dict[str, Any], key: str) -> Taken:
    whence = {
        "resourceType": "Provenance", "target": [{"reference": HERE}], "recorded": instant(ctx.at),
        "activity": {"text": "Sent in by text message"},
        "agent": [
            {"type": {"text": "author"}, "who": {"reference": f"Patient/{person}"}},
            {"type": {"text": "transmitter"}, "who": {"reference": ctx.actor.organisation} if ctx.actor.organisation else {"display": ctx.actor.name or "a system"}},
        ],
    }  # fmt: skip
    entries = [
        {"fullUrl": HERE, "resource": body, "request": {"method": "POST", "url": "Observation"}},
        {"resource": whence, "request": {"method": "POST", "url": "Provenance"}},
    ]
    work, answers = await prepare(ctx, read_steps(ctx, {"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    ref, draft = str(answers[0].ref), str(answers[0].draft or "")
    await work.commit(*([Keep(KEPT, key, msgspec.json.encode(Came(ref, _words(body), draft)), if_absent=True)] if key else []))
    return Taken(ref, True, draft)


async def _before(ctx: Context, came: Came, body: dict[str, Any]) -> Taken:
    """What came under this name before. Problem name-used where it was another reading: this one would be lost without a word."""
    type, _, id = came.ref.partition("/")
    draft = came.draft
    try:
        await gate.read(ctx, Ref(type, id))  # written down as a look, and as one that was refused where it is hidden by now
        draft = ""
    except Problem as p:
        if p.kind not in ("not-found", "gone", "insufficient-scope"):
            raise
    if came.words != _words(body):
        raise Problem("name-used", "Another reading came under this `message` before: give each text message its own.", "message")
    return Taken(came.ref, False, draft)


def _words(body: dict[str, Any]) -> str:
    return sha256(str(body["note"][0]["text"]).encode()).hexdigest()


__all__ = ["Taken", "by_message"]
