"""Tasks on the pages: what waits for this worker's answer, what they took on, and what others were asked to do for a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ... import gate
from ...around import answering
from ...domain import medicine_changes
from ...domain.bundle import instant
from ...domain.follow_ups import asked_by
from ...domain.main_plan import asks_about
from ...domain.mapping.foreign import asks_membership
from ...domain.mapping.names import own_identifier
from ...domain.medicine_changes import Asked
from ...domain.medicines import Told, concept_of, doses, period, why_of
from ...domain.referrals import OVER, reason_of
from ...domain.types import Ref
from ...domain.vocabulary import CHANGE_MEDICINE, TASK_SYSTEM
from ...domain.written_down import coded
from ...gate import Context
from .changes import by_whom
from .names import bodies, called, names
from .plan_items import span
from .plan_more import as_told
from .words import _, day, today

OWNERS = ("Practitioner", "PractitionerRole", "Organization", "CareTeam")
WAITING = ("requested", "received")
TAKEN_ON = ("accepted", "ready", "in-progress", "on-hold")
STATES: dict[str, tuple[str, str]] = {  # status -> words, colour
    "requested": ("Not answered yet", "grey"), "received": ("Not answered yet", "grey"), "accepted": ("Accepted", "blue"),
    "ready": ("Accepted", "blue"), "in-progress": ("In progress", "blue"), "on-hold": ("On hold", "yellow"),
}  # fmt: skip
OF_ASKED: dict[str, tuple[str, str]] = {  # the same for whoever asked
    "draft": ("Not sent yet", "grey"), "requested": ("Asked", "grey"), "received": ("Asked", "grey"), "accepted": ("Accepted", "blue"), "ready": ("Accepted", "blue"),
    "in-progress": ("In progress", "blue"), "on-hold": ("On hold", "yellow"), "completed": ("Done", "green"), "rejected": ("Declined", "red"),
    "failed": ("It did not work out", "red"), "cancelled": ("Taken back", "grey"), "entered-in-error": ("A mistake", "grey"),
}  # fmt: skip
PRIORITIES: dict[str, str] = {"stat": "At once", "asap": "As soon as possible", "urgent": "Urgent"}  # the most urgent first
MOST = 50
ANSWERED_FOR = timedelta(days=30)  # how long what became of it is on the list of whoever asked
MOST_ASKED = 20


async def owned(ctx: Context, statuses: tuple[str, ...]) -> list[dict[str, Any]]:
    """Tasks that name this worker or their organisation as owner, by reference or by identifier, in one of these states: the most urgent first, then the
    oldest. "Are you in this team?" is a task only until it is answered."""
    names_of_mine = ctx.actor.ids | {ctx.actor.user, ctx.actor.organisation or ""}
    refs = sorted(n for n in names_of_mine if n.split("/")[0] in OWNERS)
    identifiers = sorted(n for n in names_of_mine if "|" in n and "," not in n)
    found: dict[str, dict[str, Any]] = {}
    for param, owners in (("owner", refs), ("owner:identifier", identifiers)):
        if owners:
            asked = [(param, ",".join(owners)), ("status", ",".join(statuses)), ("_count", str(MOST))]
            if statuses is not WAITING:  # of many people they would leave no room for the others
                asked.append(("code:not", f"{TASK_SYSTEM}|"))
            for first in ([("priority", ",".join(PRIORITIES))], []):  # what is urgent finds room however many wait
                found |= {t["id"]: t for t in await bodies(ctx, "Task", [*asked, *first])}
    answered = statuses is not WAITING
    ranks = list(PRIORITIES)
    wanted = [t for t in found.values() if not (answered and asks_membership(t))]
    wanted.sort(key=lambda t: (ranks.index(t["priority"]) if t.get("priority") in ranks else len(ranks), str(t.get("authoredOn") or ""), str(t["id"])))
    people = await _people(ctx, wanted)
    return [said | {"who": people.get(said["person"], "")} for said in await _said(ctx, wanted)]


async def _people(ctx: Context, tasks: Iterable[dict[str, Any]]) -> dict[str, str]:
    """What those are called whom these are for, by id, as far as this reader may see them."""
    ids = sorted({ref.removeprefix("Patient/") for t in tasks if (ref := _named(t.get("for")) or "").startswith("Patient/")})
    some = [ids[i : i + MOST] for i in range(0, len(ids), MOST)]
    return {p["id"]: called(p) for part in some for p in await bodies(ctx, "Patient", [("_id", ",".join(part)), ("_count", str(MOST))])}


async def about(ctx: Context, patient: str) -> list[dict[str, Any]]:
    """What others were asked to do for this person and is still open: the steps of the plan itself are shown with the plan, questions by themselves.
    Of what the gateway asks what this reader is asked of another plan, and what a discharge proposed of medicines, with what became of that for 30 days more."""
    asked = [("patient", patient), ("status", ",".join((*WAITING, *TAKEN_ON))), ("_count", str(MOST))]
    tasks = await bodies(ctx, "Task", asked)
    answered = [("patient", patient), ("code", f"{TASK_SYSTEM}|{CHANGE_MEDICINE}"), ("status", "completed,rejected"), ("_lastUpdated", f"ge{instant(ctx.at - ANSWERED_FOR)}"), ("_count", str(MOST))]
    over = [t for t in (await bodies(ctx, "Task", answered) if ctx.actor.kind == "patient" else []) if await answering.about(ctx, t) is not None]
    ours = (t for t in tasks if not asks_membership(t) or _asks_of_plans(ctx, t) or medicine_changes.asks_about(t) is not None)
    return await _said(ctx, (t for t in (*ours, *over) if own_identifier(t) is None and asked_by(t) is None))


async def asked_by_me(ctx: Context) -> list[dict[str, Any]]:
    """What this worker asked others to do: how it stands, why not, what came of it; what is over for 30 days more."""
    since = instant(ctx.at - ANSWERED_FOR)
    found = await bodies(ctx, "Task", [("requester", ctx.actor.user), ("code:not", f"{TASK_SYSTEM}|"), ("_sort", "-_lastUpdated"), ("_count", str(MOST_ASKED))])
    recent = [t for t in found if t.get("status") not in OVER or str((t.get("meta") or {}).get("lastUpdated", "")) >= since]
    out = []
    for task, said in zip(recent, await _said(ctx, recent), strict=True):
        state, colour = OF_ASKED.get(str(task.get("status")), ("", "grey"))
        outcome = next((str(o["valueString"]) for o in reversed(task.get("output", [])) if o.get("valueString")), "")
        more = [{"label": label, "text": text} for label, text in ((_("Why not"), reason_of(task)), (_("What came of it"), outcome)) if text]
        out.append({**said, "state": _(state), "colour": colour, "lines": [*said["lines"], *more]})
    return out


async def _said(ctx: Context, tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each task in plain words: id, what, how it stands, lines below it, whose record it is in."""
    found = list(tasks)
    known = await names(ctx, {_named(t.get(who)) for t in found for who in ("requester", "owner")})
    medicines = [await answering.about(ctx, t) for t in found]
    return [_with_its_name(await _of_medicines(ctx, t, m, _task(t, known, m) | await _of_plans(ctx, t))) for t, m in zip(found, medicines, strict=True)]


def _with_its_name(said: dict[str, Any]) -> dict[str, Any]:
    """Of what a discharge proposes `called`: the medicine, as far as this reader sees its name, so that no two buttons are called the same."""
    name = next((line["text"] for line in said["lines"] if line["label"] == _("Medicines")), "") if said["medicine"] else ""
    return {**said, "called": name}


def _asks_of_plans(ctx: Context, task: dict[str, Any]) -> bool:
    """Is this reader asked by it what becomes of another plan."""
    whom = _named(task.get("owner"))
    records = ctx.records if ctx.actor.kind == "patient" else frozenset()
    mine = whom is not None and whom in ctx.actor.ids | {ctx.actor.user, ctx.actor.organisation} | records
    return mine and asks_about(task) is not None and not ctx.actor.drafts_only


async def _of_plans(ctx: Context, task: dict[str, Any]) -> dict[str, Any]:
    """Whether it asks this reader what becomes of another plan; that plan's title, as far as they see it."""
    about = asks_about(task) if _asks_of_plans(ctx, task) else None
    seen = await bodies(ctx, "CarePlan", [("_id", about.removeprefix("CarePlan/"))]) if about else []
    elsewhere = bool(seen) and (seen[0].get("subject") or {}).get("reference") != (task.get("for") or {}).get("reference")
    return {"plans": about is not None, "records": elsewhere, "other": str(seen[0].get("title") or seen[0].get("description") or "") if seen else ""}


async def _of_medicines(ctx: Context, task: dict[str, Any], about: Asked | None, said: dict[str, Any]) -> dict[str, Any]:
    """Of what a discharge proposes: what both say, as far as this reader sees either, what became of it, and whether it asks them. Any other as it is."""
    if about is None:
        return {**said, "medicine": False}
    seen = [await _medicine(ctx, ref) for ref in (about.order, *about.mine)]
    order, mine = seen[0], [m for found in seen[1:] for m in found]
    called_so = list(dict.fromkeys(name for _told, name in (*order, *mine) if name))

    def says(found: list[tuple[Told, str]]) -> str:
        return "\n\n".join("\n".join(t for t in (name if len(called_so) > 1 else "", as_told(told)) if t) for told, name in found)

    more = [
        (_("Medicines"), called_so[0] if called_so else ""), (_("The plan says"), says(mine)), (_("The record says otherwise"), says(order)), (_("Said by"), await _said_by(ctx, about.order)), (_("Why not"), reason_of(task)),
    ]  # fmt: skip
    states = {"completed": (_("It was looked at") if about.look else _("The plan was changed"), "green"), "rejected": (_("The plan stays as it is"), "grey")}
    state, colour = states.get(str(task.get("status")), (said["state"], said["colour"]))
    lines = [{"label": label, "text": text} for label, text in more if text]
    return {**said, "medicine": True, "look": about.look, "seen": await answering.shown(ctx, task, about), "text": _asking(task, about), "state": state, "colour": colour, "lines": [*lines, *said["lines"]], "mine": answering.asks(ctx, task, about) and bool(said["answers"])}


def _asking(task: dict[str, Any], about: Asked) -> str:
    if task.get("description") in (medicine_changes.PRESCRIBED, medicine_changes.LOOK_AT_PRESCRIBED):
        if about.look:
            return _("What was prescribed says something of a medicine, and it cannot be told what of the plan it means. Look at all of it, and change the plan yourself.")
        return _("What was prescribed says otherwise of a medicine than the plan. Look at both, and say whether the plan is to be changed.")
    if about.look:
        return _("A discharge from hospital says something of a medicine, and it cannot be told what of the plan it means. Look at all of it, and change the plan yourself.")
    return _("A discharge from hospital says otherwise of a medicine than the plan. Look at both, and say whether the plan is to be changed.")


async def _said_by(ctx: Context, ref: str) -> str:
    """Who wrote it here, and of which organisation; "" for what this reader does not see."""
    type, _sep, id = ref.partition("/")
    hands = await gate.last_written(ctx, [Ref(type, id)] if id else [])
    known = await names(ctx, {who for h in hands.values() for who in (h.user, h.organisation)})
    return ", ".join(t for h in hands.values() for t in by_whom(h, known) if t)


async def _medicine(ctx: Context, ref: str) -> list[tuple[Told, str]]:
    """All that it says, and what it is called; nothing where this reader does not see it."""
    type, _sep, id = ref.partition("/")
    out = []
    for body in await bodies(ctx, type, [("_id", id)]) if id else []:
        named = str((body.get("medicationReference") or {}).get("reference", ""))
        beside = await bodies(ctx, "Medication", [("_id", named.removeprefix("Medication/"))]) if named.startswith("Medication/") else []
        medicine = beside[0] if beside else None
        concept = (medicine or {}).get("code") or concept_of(body) or body.get("medicationReference")
        when = span(*period(body))
        out.append((replace(medicine_changes.says(body, medicine, today(ctx.at))[0], how="\n".join([*doses(body, _), *([when] if when else [])]), why=why_of(body)), coded(concept)))
    return out


def _named(reference: Any) -> str | None:
    """`Type/id`, else the identifier `system|value`."""
    given = reference or {}
    identifier = given.get("identifier") or {}
    if given.get("reference"):
        return str(given["reference"])
    return f"{identifier['system']}|{identifier['value']}" if {"system", "value"} <= identifier.keys() else None


def _task(task: dict[str, Any], known: dict[str, str], medicine: Asked | None) -> dict[str, Any]:
    code = task.get("code") or {}
    what = task.get("description") or code.get("text") or next((c.get("display") for c in code.get("coding", [])), None)
    due = ((task.get("restriction") or {}).get("period") or {}).get("end") or (task.get("executionPeriod") or {}).get("end")
    state, colour = STATES.get(str(task.get("status")), ("", "grey"))
    owner, requester = task.get("owner") or {}, task.get("requester") or {}
    lines = [
        (_("Who does it"), known.get(_named(owner) or "") or str(owner.get("display") or "")),
        (_("Asked by"), known.get(_named(requester) or "", "")),
        (_("Asked on"), day(task.get("authoredOn"))),
        (_("Do it by"), day(due)),
        (_("Note"), "\n".join(n.get("text", "") for n in task.get("note", []))),
    ]
    subject = str((task.get("for") or {}).get("reference", ""))
    return {
        "who": "", "urgent": _(PRIORITIES[p]) if (p := str(task.get("priority"))) in PRIORITIES else "",
        "answers": answering.open_to(task, medicine), "id": task["id"], "text": str(what or _("A task")), "state": _(state), "colour": colour,
        "lines": [{"label": label, "text": text} for label, text in lines if text],
        "person": subject.removeprefix("Patient/") if subject.startswith("Patient/") else "",
    }  # fmt: skip
