"""What people measure and send in by text message: kept as an Observation with where it came from.

No value is judged here, unless the deployment says by what, who answers for that and when somebody looks (`domain.thresholds`). docs/readings.md
"""

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
from ..gate.committing import Work, again
from ..gate.context import directory_now, need_scope
from ..gate.key_workers import may_be_asked
from ..gate.transacting import prepare, read_steps

MESSAGES = "https://fhir-gateway.example/id/message"  # identifier system; value: `<client> <the service's own name of it>`
HERE = "urn:uuid:7b5f8a52-3f8d-4c0e-9f0e-5d8f5a1c2b11"
SOMEBODY = "Thank you. Your reading is high or low, and your team is asked to look at it now. If you feel very unwell, call 999."
LATER = "Thank you. Your reading is high or low, and nobody looks at it at this hour. If you feel unwell, call 111. If you feel very unwell, call 999."
NOBODY = "Thank you. Your reading is high or low, and we could not ask anybody to look at it. Call your surgery, or 111. If you feel very unwell, call 999."
QUOTED = 60  # characters of what else was written that are said back
KEPT = "reading"  # `Patient/… <client> <its name of the message>`: what came under it. Only who sends by this name writes it; anybody may write an identifier


class Came(msgspec.Struct):
    """What a message became, the digest of its words, the Task that says that it waits as a draft; and of one beyond a threshold whether the team that is
    to look can, and the Task that asks it to: whoever lost the answer and sends again is told what to say to the person."""

    ref: str
    words: str
    draft: str = ""
    beyond: bool = False
    asked: bool = False
    task: str = ""
    also: tuple[str, ...] = ()  # the other readings of it


class Taken(NamedTuple):
    """Where a reading is kept and whether it is new. `draft`: the Task that says that it waits; then nothing is kept there yet, and nobody is asked to look."""

    ref: str
    new: bool
    draft: str = ""
    task: str = ""  # of whoever is to look at it
    said: str = ""  # a sentence for the person, where it is beyond a threshold, or says more than readings
    also: tuple[str, ...] = ()  # where the other readings of the message are kept


async def by_message(ctx: Context, person: str, text: str, at: str = "", message: str = "") -> Taken:
    """Keep the readings that this person (an id) sent. The same `message` of the same sender again is the same readings. What else they wrote is kept with each reading,
    as its note, and the person is told that nobody is asked to read it.

    What a volunteer passes on waits as a draft: again, they are told the same, unless they read the reading by now.

    Problem: invalid, insufficient-scope, name-used, and all of the gate's own.
    """
    need_scope(ctx, "c", "Observation")
    need_scope(ctx, "c", "Provenance")
    sender = ctx.client or ctx.actor.user
    said = readings.read(text)
    bodies = readings.observations(said, text, f"Patient/{person}", readings.taken_at(at, ctx.at) if at else instant(ctx.at), (MESSAGES, f"{sender} {message}") if message else None)
    key = f"Patient/{person} {quote(sender, safe='')} {quote(message, safe='')}" if message else ""

    async def once() -> Taken:
        kept = await ctx.house.store.kept(KEPT, key, ctx.at) if key else None
        return await _write(ctx, person, bodies, key) if kept is None else await _before(ctx, msgspec.json.decode(kept, type=Came), bodies[0])

    taken = await again(once)
    return taken._replace(said=_of_words(said.words, taken.said)) if said.words else taken


def _of_words(words: str, said: str) -> str:
    """What the person is told who wrote more than readings: a number may be looked at, what they say of themselves reaches nobody by this."""
    short = words if len(words) <= QUOTED else words[:QUOTED] + "…"
    return f"Your reading is kept. What else you wrote (“{short}”) is kept with it, and nobody is asked to read it. {said or readings.ADVICE}"


async def _write(ctx: Context, person: str, bodies: list[dict[str, Any]], key: str) -> Taken:
    limits = ctx.house.thresholds
    bodies = sorted(bodies, key=lambda b: limits is None or not limits.crossed(b))  # what somebody is to look at first: of several beyond a threshold one is named
    places = [f"{HERE[:-2]}{n:02}" for n in range(11, 11 + len(bodies))]
    whence = {
        "resourceType": "Provenance", "target": [{"reference": place} for place in places], "recorded": instant(ctx.at),
        "activity": {"text": "Sent in by text message"},
        "agent": [
            {"type": {"text": "author"}, "who": {"reference": f"Patient/{person}"}},
            {"type": {"text": "transmitter"}, "who": {"reference": ctx.actor.organisation} if ctx.actor.organisation else {"display": ctx.actor.name or "a system"}},
        ],
    }  # fmt: skip
    entries: list[dict[str, Any]] = [
        *({"fullUrl": place, "resource": body, "request": {"method": "POST", "url": "Observation"}} for place, body in zip(places, bodies, strict=True)),
        {"resource": whence, "request": {"method": "POST", "url": "Provenance"}},
    ]
    crossed = limits.crossed(bodies[0]) if limits is not None else []
    look = await _look(ctx, person) if crossed else None
    work, answers, asked = await _prepared(ctx, entries, look)
    task = str(answers[len(entries)].ref) if len(entries) in answers else ""
    also = tuple(str(answers[n].ref) for n in range(1, len(bodies)))
    came = Came(str(answers[0].ref), _words(bodies[0]), str(answers[0].draft or ""), bool(crossed) and not answers[0].draft, asked, task, also)
    await work.commit(*([Keep(KEPT, key, msgspec.json.encode(came), if_absent=True)] if key else []))
    if came.beyond and not asked:
        ctx.house.alarm("A reading is beyond a threshold, and the team that is to look could not be asked.")
    return Taken(came.ref, True, came.draft, task, _told(ctx, came), also)


async def _look(ctx: Context, person: str) -> dict[str, Any] | None:
    """The Task of the team that looks, in the name of whoever passes the reading on; None where the deployment's team is nobody here. It tells no number: who
    may see the Task may be closed to the reading."""
    limits = ctx.house.thresholds
    directory, _ = await directory_now(ctx.house)
    team = directory.find(limits.team) if limits is not None else None
    if limits is None or team is None:
        return None
    why = f"It is beyond a threshold of {limits.manufacturer}, who answer for it."
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "priority": "urgent", "authoredOn": instant(ctx.at), "description": f"Look at this reading. {why}",
        "for": {"reference": f"Patient/{person}"}, "focus": {"reference": HERE}, "owner": {"reference": team},
    }  # fmt: skip
    return {"resource": task, "request": {"method": "POST", "url": "Task"}}


async def _prepared(ctx: Context, entries: list[dict[str, Any]], look: dict[str, Any] | None) -> tuple[Work, dict[int, gate.Written], bool]:
    """The reading with the Task, or alone where that may not be written, the reading waits itself, or by the person's own consents as they are the team that is to
    look may not see the Task, the reading and whose it is: a number makes nobody known to them. No reading is lost for it. And whether that team is asked."""

    async def once(every: list[dict[str, Any]]) -> tuple[Work, dict[int, gate.Written]]:
        return await prepare(ctx, read_steps(ctx, {"resourceType": "Bundle", "type": "transaction", "entry": every}))

    if look is not None:
        try:
            work, answers = await once([*entries, look])
            reading, task, team = work.new[answers[0].ref], work.new[answers[len(entries)].ref], look["resource"]["owner"]
            person = await work.get(Ref("Patient", look["resource"]["for"]["reference"].partition("/")[2]))
            if person is not None and not answers[0].draft and not answers[len(entries)].draft and await may_be_asked(work, team, task.facts, reading, person):
                return work, answers, True
        except Problem as p:
            if p.kind not in ("forbidden", "insufficient-scope", "not-found", "business-rule", "invalid"):
                raise
    return *(await once(entries)), False


def _told(ctx: Context, came: Came) -> str:
    """What the person is told of a reading beyond a threshold: whether somebody looks, and what to do if not."""
    limits = ctx.house.thresholds
    if not came.beyond:
        return ""
    if not came.asked or limits is None:
        return NOBODY
    return SOMEBODY if limits.looked_at(ctx.at) else LATER


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
    return Taken(came.ref, False, draft, came.task, _told(ctx, came), came.also)


def _words(body: dict[str, Any]) -> str:
    return sha256(str(body["note"][0]["text"]).encode()).hexdigest()


__all__ = ["Taken", "by_message"]
