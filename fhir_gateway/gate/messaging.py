"""HL7 v2 messages of registered systems: one effect however often a message comes, the right person or nobody, and the inbox for what was refused.

As `pushing`, of which these are the other kind: who may, whom it finds, and what is remembered are the same. docs/hl7v2.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from ..domain import adt, strict
from ..domain.er7 import Message
from ..domain.problem import Issue, Problem, not_found
from ..domain.types import Decision, Drop, Keep, Note, Op, Stored
from ..store.base import Taken
from .committing import Work, again, settle
from .context import Context, ask, ask_stored, need_scope, note, notes, rendering
from .identifying import find_person
from .noticing import ADMITTED, LEFT, NOT_ADMITTED, NOT_LEFT, propose_details, tell_helpers
from .preparing import known, put_new, put_over
from .pushing import REMEMBERED, Waits, put_in_inbox
from .storing import put_by_house
from .writing import digest

WAITING: Final = frozenset({403, 404, 409, 412, 422})  # a refusal that a person can put right: the message waits
FORMAT: Final = "hl7v2"
MERGE_WORDS: Final = (
    "A hospital says that two records here are one person's. Nothing was merged. Look whether that is so: then merge them by the command that you see, and end this."
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message came to, for its acknowledgement: `issues` say what its sender is to know, none of it about the record."""

    message: Message
    issues: tuple[Issue, ...] = ()
    repeated: bool = False


class _Said(msgspec.Struct):
    digest: str
    answer: list[tuple[str, str, str]]  # severity, key, text of each issue


async def hear(ctx: Context, message: Message, *, waits_as: str | None = None) -> Heard:
    """Do what an ADT message says, as the registered system that sent it. The same message again within 7 days changes nothing.

    Problem forbidden for anybody else; bad-request for what is not taken here; invalid, conflict and the gate's own, which wait in the
    inbox (`waits_as`: under the name it has there already).
    """
    if ctx.actor.kind != "system" or ctx.client is None or not ctx.actor.contributor:
        raise Problem("forbidden", "HL7 v2 messages are taken from registered systems that bring in what they know of people (`--contributor`).")
    kind = adt.event(message)
    key = f"{ctx.client} {FORMAT} {'|'.join(quote(n, safe='') for n in (*message.sender, message.name))}"
    try:
        return await _once(ctx, message, kind, key)
    except Problem as p:
        if p.status in WAITING:
            await put_in_inbox(ctx, waits_as or f"{key} {_digest(message)}", _waits(message, p.status, p.issues))
        raise


async def _once(ctx: Context, message: Message, kind: str, key: str) -> Heard:
    said = await _said_before(ctx, message, key)
    if said is not None:
        return said

    adt.in_time(message, ctx.at)

    async def attempt() -> Heard:
        doing = _merge if kind == adt.MERGE else _stay
        try:
            return await doing(ctx, message, key)
        except Problem as p:
            if p.kind == "stale":  # another message about this stay was quicker
                raise Taken("stay", key) from None
            raise
        except Taken as t:
            if t.kind == "push" and (twin := await _said_before(ctx, message, key)) is not None:
                return twin
            raise

    return await again(attempt)


async def _said_before(ctx: Context, message: Message, key: str) -> Heard | None:
    """What this very message was answered before. Problem name-used where its name was another's."""
    kept = await ctx.house.store.kept("push", key, ctx.at)
    if kept is None:
        return None
    held = msgspec.json.decode(kept, type=_Said)
    if held.digest != _digest(message):
        text = "Another message came under this MSH-10 in the last 7 days: give a changed message a new one."
        raise Problem("name-used", text, "MSH^1^10", issues=[Issue("error", "business-rule", "MSH^1^10", text, "205")])
    await ctx.house.store.commit(note(ctx, "E", "transaction", None, allowed=True, detail="repeated: answered as before"))
    return Heard(message, tuple(Issue(severity, "informational", "", text, condition) for severity, condition, text in held.answer), True)  # type: ignore[arg-type]


def _digest(message: Message) -> str:
    """What tells one message from another: all of it but when it was sent and for whom, which change when it is sent again."""
    plain = [[name, [f for n, f in enumerate(fields) if name != "MSH" or n not in (5, 6, 7, 8)]] for name, fields in message.segments]
    return digest(strict.dump(plain))


# -- a stay -----------------------------------------------------------------------------------------------------------


async def _stay(ctx: Context, message: Message, key: str) -> Heard:
    """A01, A03, A08, A11, A13: the Encounter, and who is told."""
    need_scope(ctx, "c", "Encounter")
    need_scope(ctx, "u", "Encounter")
    kind, alone = adt.event(message), adt.of_no_stay(message)
    number = ("", "") if alone else adt.visit(message, ctx.client or "")
    person = await find_person(ctx, adt.person(message), "PID^1^3")
    if person is None or person.body is None:
        return await _nobody(ctx, message)
    work = Work(ctx)
    await known(work, person)
    if alone:
        return await _details(work, message, key, person, person.body)
    condition = f"identifier={number[0]}|{number[1]}"
    await work.seek("Encounter", condition)
    stored = await _own(ctx, str(person.ref), number)
    if stored is None and kind == adt.NOT_ADMITTED:
        return await _no_stay(ctx, message, key)
    was, seen = await _as_seen(ctx, stored)
    body = adt.stay(message, str(person.ref), ctx.actor.organisation, ctx.client or "", was)
    if stored is None:
        written = await put_new(work, "Encounter", strict.dump(body), unless=condition)
    elif seen:
        written = await put_over(work, stored.ref, strict.dump(body), if_match=stored.version)
    else:
        written = await put_by_house(work, stored.ref, body, stored, "update", f"{message.event}, by its sender, who may not see it")
    code, end = _turn(kind, str((was or {}).get("status", "")), body["status"])
    if code:
        await tell_helpers(work, written.ref, code, _day(body, end) if end else "", turn=adt.turns(body))
    return await _details(work, message, key, person, person.body)


async def _details(work: Work, message: Message, key: str, person: Stored, body: bytes) -> Heard:
    """What it says of the person, and all that it came to."""
    await propose_details(work, person, adt.otherwise(message, strict.decode(body)))
    await work.commit(*await _done(work.ctx, message, key, ()))
    return Heard(message)


def _turn(kind: str, before: str, now: str) -> tuple[str, str]:
    """What helpers are told, and which end of the stay says when; ("", "") where nothing came or went."""
    if before == now or kind == adt.UPDATE:
        return "", ""
    if now == "finished" and kind == adt.DISCHARGE:
        return LEFT, "end"
    if now == "in-progress" and kind == adt.ADMIT:
        return ADMITTED, "start"
    if now == "cancelled" and kind == adt.NOT_ADMITTED and before in ("in-progress", "finished"):
        return NOT_ADMITTED, ""
    return (NOT_LEFT, "") if before == "finished" and kind == adt.NOT_DISCHARGED else ("", "")


async def _no_stay(ctx: Context, message: Message, key: str) -> Heard:
    """An admission that this sender never told of is cancelled: there is nothing to write."""
    issue = Issue("information", "informational", "PV1^1^19", "No stay under this number came from you. Nothing was written.", "204")
    await settle(ctx, *await _done(ctx, message, key, (issue,)))
    return Heard(message, (issue,))


def _day(stay: Mapping[str, Any], end: str) -> str:
    """`26 Nov 2026, 10:12`, as the clock of the hospital said."""
    said = str(stay.get("period", {}).get(end, ""))
    if len(said) < 10:
        return said
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    day = f"{int(said[8:10])} {months[int(said[5:7]) - 1]} {said[:4]}"
    return f"{day}, {said[11:16]}" if len(said) > 16 else day


async def _own(ctx: Context, person: str, number: tuple[str, str]) -> Stored | None:
    """The Encounter that this sender made under this number: another's stay is nobody's to end, whatever it is called."""
    for stored in await ctx.house.store.patient_record(person, ["Encounter"]):
        named = {(i.get("system"), i.get("value")) for i in strict.decode(stored.body or b"{}").get("identifier", ())}
        first = await ctx.house.store.version(stored.ref, 1) if number in named else None
        if first is not None and first.writer.kind == "system" and first.writer.client == ctx.client:
            return stored
    return None


async def _as_seen(ctx: Context, stored: Stored | None) -> tuple[dict[str, Any] | None, bool]:
    """The stay as its sender has it, and whether they see it.

    Who shares nothing with a hospital is discharged all the same: while the person lets it add to the record, it goes on with what nobody
    wrote but itself. Problem not-found where somebody else wrote in it, or it may not add.
    """
    if stored is None or stored.body is None:
        return None, True
    if (await ask_stored(ctx, ctx.action, stored)).permit:
        return strict.decode((await rendering(ctx, stored))[0]), True
    decision = await ask(ctx, "collect", stored.facts)
    if not decision.permit or stored.writer.client != ctx.client:
        await ctx.house.store.commit(*notes(ctx, "U", "update", Decision(False, decision.basis), stored.facts, stored.ref))
        raise not_found()
    return strict.decode(stored.body), False


async def _nobody(ctx: Context, message: Message) -> Heard:
    """Nobody here has this number: most of a hospital's patients are none of ours. Nothing is written, and nothing kept."""
    await ctx.house.store.commit(note(ctx, "E", "transaction", None, allowed=True, detail=f"HL7 v2 {message.event}: nobody here"))
    return Heard(message, (Issue("information", "informational", "PID^1^3", "Nobody here has this NHS number. Nothing was written.", "204"),))


async def _done(ctx: Context, message: Message, key: str, issues: tuple[Issue, ...]) -> list[Op | Note]:
    """What is committed with it: that it was heard, its row, and that it waits no more."""
    said = msgspec.json.encode(_Said(_digest(message), [(i.severity, i.key, i.text) for i in issues]))
    waited = await ctx.house.store.kept_all("inbox", ctx.at, f"{key} ")
    row = note(ctx, "E", "transaction", None, allowed=True, detail=f"HL7 v2 {message.event}")
    return [Keep("push", key, said, ctx.at + REMEMBERED, if_absent=True), row, *(Drop("inbox", name) for name in waited)]


# -- two records ------------------------------------------------------------------------------------------------------


async def _merge(ctx: Context, message: Message, key: str) -> Heard:
    """A40: a proposal for an operator of each of its pairs. Who is who is decided by a person; nothing is merged here.

    All of its pairs are looked up before any is proposed: of a message with one that is wrong nothing is.
    """
    need_scope(ctx, "u", "Patient")
    looked = [(p, await _two(ctx, p)) for p in adt.pairs(message)]
    issues = tuple(Issue("information", "informational", f"MRG^{p.nth}^1", _words(two), "204" if isinstance(two, str) else "0") for p, two in looked)
    proposed = [(p, two) for p, two in looked if not isinstance(two, str)]
    if not proposed:
        await settle(ctx, note(ctx, "E", "transaction", None, allowed=True, detail=f"HL7 v2 {message.event}: nothing to merge"))
        return Heard(message, issues)
    for p, (kept, merged) in proposed:
        people = (str(merged.ref), str(kept.ref))
        rows = [note(ctx, "E", "record", None, (who,), patient=who, allowed=True, detail="a hospital says: the same person as another record") for who in people]
        command = f"fhir-gateway patients merge {merged.ref.id} {kept.ref.id} --evidence TEXT"
        last = await _heard(ctx, message, key, issues) if p is proposed[-1][0] else ()  # a stop before it: the message is sent again, and waits once
        waits = _waits(message, 202, (issues[p.nth - 1],), words=MERGE_WORDS, command=command)
        await put_in_inbox(ctx, f"{key} {_digest(message)}{f' {p.nth}' if p.nth > 1 else ''}", waits, *last, *rows)
    return Heard(message, issues)


async def _two(ctx: Context, pair: adt.Pair) -> tuple[Stored, Stored] | str:
    """The two records that a pair is about, (kept, merged); or in words why there are not two. Problem conflict, invalid."""
    if pair.gone is None:
        return "MRG names no NHS number. Nothing here is known by another."
    kept, merged = await find_person(ctx, pair.kept, f"PID^{pair.nth}^3"), await find_person(ctx, pair.gone, f"MRG^{pair.nth}^1")
    if kept is None or merged is None:
        return "Not both of these numbers are known here. Nothing was written."
    return "These are one record here. Nothing was written." if kept.ref == merged.ref else (kept, merged)


def _words(two: tuple[Stored, Stored] | str) -> str:
    return two if isinstance(two, str) else "An operator looks whether these are one person's. Nothing was merged."


async def _heard(ctx: Context, message: Message, key: str, issues: tuple[Issue, ...]) -> list[Op | Note]:
    """As `_done`, and it goes on waiting."""
    return [op for op in await _done(ctx, message, key, issues) if not isinstance(op, Drop)]


def _waits(message: Message, status: int, issues: Sequence[Issue], **more: str) -> Waits:
    return Waits(message.source, status, issues, {"format": FORMAT, "charset": message.charset, **more})


__all__ = ["FORMAT", "Heard", "hear"]
