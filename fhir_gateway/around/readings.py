"""What people measure and send in by text message: kept as an Observation with where it came from. No value is judged here."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
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
    """What a message became, and the digest of its words."""

    ref: str
    words: str


async def by_message(ctx: Context, person: str, text: str, at: str = "", message: str = "") -> tuple[str, bool]:
    """Keep a reading that this person (an id) sent: (its reference, whether it is new). The same `message` of the same sender again is the same reading.

    Problem: invalid, insufficient-scope, name-used, and all of the gate's own.
    """
    need_scope(ctx, "c", "Observation")
    need_scope(ctx, "c", "Provenance")
    sender = ctx.client or ctx.actor.user
    body = readings.observation(text, f"Patient/{person}", at or instant(ctx.at), (MESSAGES, f"{sender} {message}") if message else None)
    key = f"Patient/{person} {quote(sender, safe='')} {quote(message, safe='')}" if message else ""

    async def once() -> tuple[str, bool]:
        kept = await ctx.house.store.kept(KEPT, key, ctx.at) if key else None
        return await _write(ctx, person, body, key) if kept is None else (await _before(ctx, msgspec.json.decode(kept, type=Came), body), False)

    return await again(once)


async def _write(ctx: Context, person: str, body: dict[str, Any], key: str) -> tuple[str, bool]:
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
    ref = str(answers[0].ref)
    await work.commit(*([Keep(KEPT, key, msgspec.json.encode(Came(ref, _words(body))), if_absent=True)] if key else []))
    return ref, True


async def _before(ctx: Context, came: Came, body: dict[str, Any]) -> str:
    """What came under this name before. Problem name-used where it was another reading: this one would be lost without a word."""
    type, _, id = came.ref.partition("/")
    try:
        await gate.read(ctx, Ref(type, id))  # written down as a look, and as one that was refused where it is hidden by now
    except Problem as p:
        if p.kind not in ("not-found", "gone", "insufficient-scope"):
            raise
    if came.words != _words(body):
        raise Problem("name-used", "Another reading came under this `message` before: give each text message its own.", "message")
    return came.ref


def _words(body: dict[str, Any]) -> str:
    return sha256(str(body["note"][0]["text"]).encode()).hexdigest()


__all__ = ["by_message"]
