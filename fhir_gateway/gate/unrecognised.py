"""A line of "Who has looked" that the person does not recognise: the privacy officer is asked, and the person reads the answer.

The question is a Task in the person's record which is for the two of them alone (`vocabulary.FOR_WHOM_IT_ASKS`): whoever looked is told nothing of
it, whatever else is open to them. Of one line there is one question, whoever asks again or at once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..domain import search as searching
from ..domain import strict
from ..domain.emergencies import LONGEST_REVIEW, plain_words
from ..domain.predicate import ALWAYS
from ..domain.problem import Problem, not_found
from ..domain.types import Decision, Note, Ref, Send, Stored
from ..domain.vocabulary import NOT_RECOGNISED, TASK_SYSTEM
from .committing import Work
from .context import Context, note
from .looking import question_of, rows_told
from .proving import is_oneself, need_proof
from .raising import task_of_the_house
from .searching import search
from .storing import put_by_house
from .telling import tell
from .trail import OFFICER, as_told

ASKED, ANSWERED, LISTED = "not-recognised", "not-recognised-answer", "not-recognised-list"
OUTCOMES: Final = ("right", "wrong")  # they had a reason to; they had none
MOST_OPEN: Final = 20  # questions of one person that wait for an answer
MOST: Final = 50  # on a page
BATCH: Final = 200  # Tasks looked at together
DESCRIPTION: Final = "The person does not recognise a line of who has looked."
LONGEST: Final = 500  # characters of what the person says of it


class Asked(msgspec.Struct, frozen=True):
    """One question: its Task's id, whose (`Patient/…`), since when, what the person said, the answer ("" while it waits) and its words, and the
    line: as `who_looked` tells it to the person, as it stands in the log to the officer. None where they may not see it any more."""

    id: str
    patient: str
    at: str
    words: str
    outcome: str
    answer: str
    row: dict[str, Any] | None = None
    line: Note | None = None


async def not_recognised(ctx: Context, row: str, words: object = "") -> bool:
    """Ask the privacy officer about this line (its id) of the person's own log; False where it was asked before. Only for the person.

    `words` may be empty. Problem not-found for a line that is not theirs and for one that is nobody's alike, invalid, throttled.
    """
    n = await its_line(ctx, row)
    said = plain_words(words, "words", LONGEST) if str(words or "").strip() else ""
    ref = question_of(ctx.house, n)
    if await ctx.house.store.get(ref) is not None:
        return False
    if len([q for q in await my_questions(ctx) if not q.outcome]) >= MOST_OPEN:
        raise Problem("throttled", f"{MOST_OPEN} of your questions wait for an answer. Wait for that before you ask more.", headers={"Retry-After": "3600"})
    me, person = {"reference": ctx.actor.user}, str(n.patient)
    body = task_of_the_house(ctx, NOT_RECOGNISED, DESCRIPTION, person, f"AuditEvent/{n.id}") | {"requester": me}
    if said:
        body["note"] = [{"authorReference": me, "time": body["authoredOn"], "text": said}]
    try:
        await _put(ctx, ref, body, None, ASKED, "the person does not recognise it", person, "privacy-officer")
    except Problem as p:
        if p.kind != "stale":
            raise
        return False  # two at once
    return True


async def its_line(ctx: Context, row: str) -> Note:
    """This line of the person's own log. Problem not-found for anybody else, for another's line, and where nothing of it may be told to them."""
    n = await ctx.house.store.note(row) if ctx.actor.kind == "patient" else None
    if n is None or n.patient not in ctx.answers_for or not await as_told(ctx, [n]):
        await ctx.house.store.commit(note(ctx, "R", "who-looked", None, (), allowed=False))
        raise not_found()
    return n


async def my_questions(ctx: Context) -> list[Asked]:
    """What the person asked about lines of their log, newest first."""
    people = ",".join(sorted(r.removeprefix("Patient/") for r in ctx.answers_for))
    asked = [("patient", people), ("code", f"{TASK_SYSTEM}|{NOT_RECOGNISED}"), ("_sort", "-authored-on"), ("_count", str(BATCH))]
    out: list[Asked] = []
    while len(out) < MOST:
        page = await search(ctx, "Task", asked)
        for body in (strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"):
            n = await ctx.house.store.note(_line_of(body))
            if n is None or n.patient not in ctx.answers_for or question_of(ctx.house, n).id != body["id"]:
                continue  # of somebody else's making: no id of a question can be guessed
            rows = await rows_told(ctx, str(ctx.actor.patient), await as_told(ctx, [n]))
            out.append(_asked(body, row=rows[0] if rows else None))
        if page.next is None:
            break
        asked = [("_page", page.next)]
    return out[:MOST]


# -- the privacy officer ----------------------------------------------------------------------------------------------


async def unrecognised(ctx: Context, *, answered: bool = False) -> tuple[list[Asked], bool]:
    """Those that wait for an answer, oldest first (else those that had one, newest first), and whether there are more than `MOST`.

    Each look is written down for each person. Problem forbidden for anybody but a privacy officer.
    """
    await _only_officers(ctx, LISTED)
    status, order = ("completed", "-authored-on") if answered else ("requested", "authored-on")
    params = [("code", f"{TASK_SYSTEM}|{NOT_RECOGNISED}"), ("status", status), ("_sort", order)]
    query = searching.parse("Task", params, ctx.house.r4)
    after: Any = None
    every: list[Asked] = []
    while len(every) <= MOST:  # those of somebody else's making take nobody's place
        found = await ctx.house.store.search(query, ALWAYS, filtered=ALWAYS, count=BATCH, after=after)
        every += [a for a in [await _shown(ctx, stored) for stored in found.hits] if a is not None]
        after = found.after
        if after is None:
            break
    out = every[:MOST]
    told = Decision(True, "", rule=OFFICER)
    rows = [note(ctx, "R", LISTED, told, (f"Task/{a.id}",), patient=a.patient) for a in out]
    await ctx.house.store.commit(*(rows or [note(ctx, "R", LISTED, told)]))
    return out, len(every) > MOST


async def answer_question(ctx: Context, id: str, outcome: object, words: object) -> None:
    """Write down for the person whether whoever it was had a reason to, in words. A sign-in of this moment is needed, and nobody answers of themselves,
    nor of a line that is gone: it might be theirs.

    Problem: forbidden, invalid, not-found where it waits no more.
    """
    await _only_officers(ctx, ANSWERED)
    await need_proof(ctx, "U", ANSWERED, "an answer")
    if outcome not in OUTCOMES:
        raise Problem("invalid", f"`outcome` is {' or '.join(OUTCOMES)}.", "outcome")
    said = plain_words(words, "words", LONGEST_REVIEW)
    stored = await ctx.house.store.get(Ref("Task", id))
    asked = await _shown(ctx, stored) if stored is not None and not stored.deleted else None
    if stored is None or asked is None or strict.decode(stored.body or b"{}").get("status") != "requested":
        raise Problem("not-found", "There is no such question that waits.")
    if asked.line is None or await is_oneself(ctx, asked.line.user):
        detail = "their own" if asked.line is not None else "the line is gone"
        await ctx.house.store.commit(note(ctx, "U", ANSWERED, None, (str(stored.ref),), patient=asked.patient, allowed=False, detail=detail))
        if asked.line is None:
            raise Problem("forbidden", "The line that this asks about is here no more, so nobody can say whose look it was.")
        raise Problem("forbidden", "Somebody else must answer what is asked about you.")
    kind = {"coding": [{"system": TASK_SYSTEM, "code": str(outcome)}]}
    body = {**strict.decode(stored.body or b"{}"), "status": "completed", "output": [{"type": kind, "valueString": said}]}
    await _put(ctx, stored.ref, body, stored, ANSWERED, str(outcome), asked.patient, "patient")


async def _only_officers(ctx: Context, what: str) -> None:
    if not (ctx.officer and ctx.actor.kind == "professional"):
        await ctx.house.store.commit(note(ctx, "R", what, Decision(False, "rbac"), allowed=False))
        raise Problem("forbidden", "These are answered by a privacy officer.")


async def _put(ctx: Context, ref: Ref, body: dict[str, Any], before: Stored | None, what: str, detail: str, person: str, whom: Any) -> None:
    """Written, and told of, in one commit; no partner is sent it."""
    work = Work(ctx)
    await put_by_house(work, ref, body, before, what, detail)
    work.ops = [op for op in work.ops if not isinstance(op, Send)]
    await work.commit(*tell("not-recognised", person, whom))


async def _shown(ctx: Context, stored: Stored) -> Asked | None:
    """As it was asked by the gateway, whatever was made of the Task since, with its answer. None for a Task that somebody else wrote."""
    first = await ctx.house.store.version(stored.ref, 1)
    body = strict.decode(first.body or b"{}") if first is not None else {}
    ours = first is not None and first.writer.method == "SYSTEM" and _line_of(body) != ""
    n = await ctx.house.store.note(_line_of(body)) if ours else None
    if not ours or (n is not None and n.patient not in stored.facts.patients):
        return None
    return _asked({**strict.decode(stored.body or b"{}"), **{k: body[k] for k in ("for", "note") if k in body}}, line=n)


def _asked(task: dict[str, Any], row: dict[str, Any] | None = None, line: Note | None = None) -> Asked:
    said: dict[str, Any] = next((o for o in task.get("output", ()) if o.get("valueString")), {})
    coded = next((c.get("code") for c in (said.get("type") or {}).get("coding", ()) if c.get("code") in OUTCOMES), "")
    words = next((str(n.get("text", "")) for n in task.get("note", ())), "")
    whose = str((task.get("for") or {}).get("reference", ""))
    return Asked(str(task["id"]), whose, str(task.get("authoredOn", "")), words, coded or "", str(said.get("valueString", "")), row, line)


def _line_of(task: dict[str, Any]) -> str:
    """The id of the row of the log that this Task asks about; "" for any other Task."""
    coded = {(c.get("system"), c.get("code")) for c in (task.get("code") or {}).get("coding", ())}
    focus = str((task.get("focus") or {}).get("reference", ""))
    return focus.removeprefix("AuditEvent/") if (TASK_SYSTEM, NOT_RECOGNISED) in coded and focus.startswith("AuditEvent/") else ""


__all__ = ["Asked", "answer_question", "its_line", "my_questions", "not_recognised", "unrecognised"]
