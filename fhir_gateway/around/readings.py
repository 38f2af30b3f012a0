"""What people measure and send in by text message: kept as an Observation with where it came from. No value is judged here."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from .. import gate
from ..domain import readings, strict
from ..domain.bundle import instant
from ..domain.problem import Problem
from ..gate import Context
from ..gate.context import need_scope

MESSAGES = "https://fhir-gateway.example/id/message"  # identifier system; value: `<client> <the service's own name of it>`
HERE = "urn:uuid:7b5f8a52-3f8d-4c0e-9f0e-5d8f5a1c2b11"


async def by_message(ctx: Context, person: str, text: str, at: str = "", message: str = "") -> tuple[str, bool]:
    """Keep a reading that this person (an id) sent: (its reference, whether it is new). The same `message` again is the same reading.

    Problem: invalid, insufficient-scope, and all of the gate's own.
    """
    need_scope(ctx, "c", "Observation")
    need_scope(ctx, "c", "Provenance")
    name = (MESSAGES, f"{ctx.client or ctx.actor.user} {message}") if message else None
    body = readings.observation(text, f"Patient/{person}", at or instant(ctx.at), name)
    whence = {
        "resourceType": "Provenance", "target": [{"reference": HERE}], "recorded": instant(ctx.at),
        "activity": {"text": "Sent in by text message"},
        "agent": [
            {"type": {"text": "author"}, "who": {"reference": f"Patient/{person}"}},
            {"type": {"text": "transmitter"}, "who": {"reference": ctx.actor.organisation} if ctx.actor.organisation else {"display": ctx.actor.name or "a system"}},
        ],
    }  # fmt: skip
    once: dict[str, str] = {}
    if name is not None:
        known = "|".join(_escaped(n) for n in name)
        held = await gate.search(ctx, "Observation", [("patient", person), ("identifier", known)])
        if held.entries:
            if held.entries[0].version == 1:  # as it came: later, people may have put it right
                _same(held.entries[0].body, body)
            return str(held.entries[0].ref), False
        once = {"ifNoneExist": urlencode({"patient": person, "identifier": known})}
    entries = [
        {"fullUrl": HERE, "resource": body, "request": {"method": "POST", "url": "Observation", **once}},
        {"resource": whence, "request": {"method": "POST", "url": "Provenance"}},
    ]
    answer = await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    return "/".join(str(answer["entry"][0]["response"]["location"]).split("/_history")[0].split("/")[-2:]), True


def _same(held: bytes | None, body: dict[str, Any]) -> None:
    """Problem name-used where another reading came under this name: it would be lost without a word."""
    if held is not None and (said := strict.decode(held).get("note")) is not None and said != body["note"]:
        raise Problem("name-used", "Another reading came under this `message` before: give each text message its own.", "message")


def _escaped(value: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return "".join("\\" + c if c in "\\,|$" else c for c in value)


__all__ = ["by_message"]
