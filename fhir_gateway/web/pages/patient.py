"""The person's own pages: my plan, who has looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate, plans
from ...domain import main_plan
from ...domain.audit import ITSELF, OPERATOR
from ...domain.medicines import RESOURCES as MEDICINES
from ...domain.problem import Problem, not_found
from ...gate import Context, task_links
from . import editing, follow_ups, reviews, tasks, versions, volunteers
from .acts import ACTS, OTHERWISE
from .alerts import TYPES, alerts
from .changes import last_changes, senders
from .frame import Pages, show
from .joined import joined
from .names import bodies, names, own_id
from .plan_view import plan_view
from .timeline import Look, timeline
from .wheels import filled_in, kept_as
from .words import _, day, today, typed_day

BATCH = 200
ALIKE = 6  # lines back that one of the same minute is added to: a page looks in several ways at once
ABOUT = ("Condition", "Goal", "Task", "ClinicalImpression", "RiskAssessment")
ROWS = 25  # on one page of "who has looked"
KEPT = {"organisation", "mine", "who", "what", *(f"{end}-{part}" for end in ("from", "to") for part in ("day", "month", "year"))}
MOST_READ = 5_000  # rows read to fill one page under a narrow filter; then the page offers to go on


async def my_plan(pages: Pages, request: Request, ctx: Context, errors: Mapping[str, str] | None = None, status: int = 400, unsent: str = "") -> Response:
    """The person's own plan, whole; of a merged record of theirs by `record`, its id. Without it the one that they go on with. `errors`: what was wrong with what came
    (with this `status`), `unsent`: what was typed and has no place on the page any more."""
    shown = request.query_params.get("record") or (await gate.record_to_open(ctx, f"Patient/{own_id(ctx)}")).removeprefix("Patient/")
    if shown != own_id(ctx) and f"Patient/{shown}" not in ctx.records:
        raise not_found()
    others = sorted(r.removeprefix("Patient/") for r in ctx.records - {f"Patient/{shown}"})
    try:
        mine = await plans.opened(ctx, shown)
    except Problem as p:
        if p.kind not in ("not-found", "gone"):
            raise
        mine = plans.Opened({}, [])
    asked, more = await tasks.about(ctx, shown), await joined(ctx, shown, own=True)
    turned, asks = filled_in(mine.record), await follow_ups.due_for(ctx, shown)
    found = plans.others_beside(mine, today(ctx.at), _, day)
    empty = not (mine.plan.keys() - {"plan", "person"} or asked or turned or any(more.plans) or found)
    view = plan_view(
        mine.shown(_), today(ctx.at), own=True, changes=await last_changes(ctx, mine.record, shown, _("Me")), filled_in=turned, medicines=plans.medicines_beside(mine, _), joined=more.plans, others=found, senders=await senders(ctx, found.every()),
    )  # fmt: skip
    first = alerts(mine.record, today(ctx.at), own=True, others=more.records)
    refs = main_plan.called([*mine.record, *await _items(ctx, shown)], {*ABOUT, *MEDICINES, *TYPES}) | kept_as(mine.record) | _told(found)
    return await show(
        pages, request, "my_plan.html", ctx=ctx, plan=view, own=True, empty=empty, asks=asks, tasks=asked, refs=refs, alerts=first, joined=more, others=others,
        drafts=await volunteers.waiting(ctx, shown), clashes=await versions.waiting(ctx, f"Patient/{shown}"), errors=errors or {}, done=request.query_params.get("done", ""),
        status=status if errors else 200, unsent=unsent, typed=str(request.state.form.get("words", "")) if errors else "",
        edits=await editing.links(ctx, mine), edit_base="/my-plan/edit", reviews=await reviews.due_for(ctx, mine.record),
    )  # fmt: skip


def _told(others: plans.Others) -> dict[str, str]:
    refs = (f"{t.resource['resourceType']}/{t.resource.get('id')}" for t in others.every())
    return {ref: ref for ref in refs}


async def _items(ctx: Context, person: str) -> list[dict[str, Any]]:
    """What the person can say something about, hidden from the plan or not."""
    return [r for type in ABOUT for r in await bodies(ctx, type, [("patient", person), ("_count", str(BATCH))])]


# -- who has looked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """What the person asked to see of their log."""

    start: date | None
    end: date | None
    organisation: str
    mine: bool
    who: str = ""  # a part of a name
    what: str = ""  # of KINDS

    def takes(self, row: dict[str, Any], me: str) -> bool:
        on = today(row["at"])
        if (self.start and on < self.start) or (self.end and on > self.end):
            return False
        if self.organisation and row.get("organisation") != self.organisation:
            return False
        if self.who and self.who.casefold() not in str(row.get("who") or "").casefold():
            return False
        if self.what == "refused" and row["allowed"]:
            return False
        if self.what not in ("", "refused") and not (row["allowed"] and row["what"] in KINDS.get(self.what, ("", frozenset()))[1]):
            return False
        return self.mine or self.what == "signed" or row.get("user") != me or bool(row["app"]) or _failed(row)


def _failed(row: Mapping[str, Any]) -> bool:
    """Somebody tried the person's own name and had not the password: it need not have been the person."""
    return row["what"] == "sign-in" and not row["allowed"]


async def who_looked(pages: Pages, request: Request, ctx: Context) -> Response:
    """Who looked, changed or was refused, newest first; narrowed by day and organisation."""
    asked = request.query_params
    errors: dict[str, str] = {}
    wanted = Filter(
        _date(asked, "from", errors), _date(asked, "to", errors),
        asked.get("organisation", ""), asked.get("mine") == "yes", asked.get("who", "").strip(), asked.get("what", ""),
    )  # fmt: skip
    if wanted.start and wanted.end and wanted.start > wanted.end:
        errors["from"] = _("The first day must not be after the last day.")
    found = await _rows(ctx, wanted, asked.get("before") or None)
    rows, places = found.rows, found.places
    live = [k for k in await task_links.links(ctx) if k.open(ctx.at)]
    asked_about = await gate.my_questions(ctx)
    known = await names(ctx, places | {k.organisation for k in live} | {r.get(k) for r in found.told for k in ("organisation", "user", "for")})
    link = [(k, v) for k, v in asked.items() if k in KEPT and v]
    choices = sorted(((ref, known.get(ref) or _("An organisation")) for ref in places), key=lambda o: o[1].lower())
    return await show(
        pages, request, "who_looked.html", ctx=ctx, rows=[_said(r, known, ctx) for r in rows], more=found.more, link=link, times=timeline(_look(r, known, ctx) for r in found.told),
        asked=asked, errors=errors, organisations=choices, questions=await _questions(ctx, asked_about), answered={q.id: bool(q.outcome) for q in asked_about},
        done=asked.get("done") if asked.get("done") in ("asked", "asked-before") else "",
        links=[{"name": known.get(k.organisation) or _("An organisation"), "until": k.until} for k in live], mine=wanted.mine, kinds=[(code, _(words)) for code, (words, _of) in KINDS.items()],
    )  # fmt: skip


async def _questions(ctx: Context, asked: Sequence[gate.Asked]) -> list[dict[str, Any]]:
    """What the person asked about lines of the log, with the line and the answer."""
    lines = await told(ctx, [q.row for q in asked if q.row is not None])
    said = {line["question"]: line for line in lines}
    return [{"line": said.get(q.id), "on": q.at, "words": q.words, "outcome": _(ANSWERS[q.outcome]) if q.outcome else "", "answer": q.answer} for q in asked]


async def told(ctx: Context, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows, each a line in plain words."""
    known = await names(ctx, {r.get(k) for r in rows for k in ("organisation", "user", "for")})
    return [_said({"times": 1, **r}, known, ctx) for r in rows]


def _date(asked: Mapping[str, str], field: str, errors: dict[str, str]) -> date | None:
    found = typed_day(asked, field)
    if isinstance(found, str):
        errors[field] = found
        return None
    return found


@dataclass(slots=True)
class Found:
    """Lines of one page of the log, where the next page goes on, organisations seen on the way; `told`: every row that was read and asked for."""

    places: set[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    more: str | None = None

    def take(self, row: dict[str, Any], before: str | None) -> None:
        """As a line of its own, as one more of a line, or, where the page is full, for the picture alone."""
        self.told.append(row)
        same = next((r for r in reversed(self.rows[-ALIKE:]) if _alike(r, row)), None) if self.more is None else None
        if same is not None:
            same["times"] += 1
        elif self.more is None and len(self.rows) == ROWS:
            self.more = before
        elif self.more is None:
            self.rows.append({**row, "times": 1})


async def _rows(ctx: Context, wanted: Filter, before: str | None) -> Found:
    """One page of the log, and what was read with it."""
    me = ctx.actor.user
    found = Found({wanted.organisation} - {""})
    read = 0
    while read < MOST_READ:
        batch = await gate.who_looked(ctx, own_id(ctx), before=before, count=BATCH)
        for row in batch:
            if row.get("organisation"):
                found.places.add(row["organisation"])
            if wanted.start and today(row["at"]) < wanted.start:
                return found
            if wanted.takes(row, me):
                found.take(row, before)
            before = row["before"]
        if len(batch) < BATCH or found.more is not None:
            return found
        read += len(batch)
    found.more = before
    return found


def _alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """The same person did the same with the same answer in the same minute: one line with a count."""
    same = ("user", "app", "organisation", "what", "allowed", "why", "rule", "reason", "recorded", "unchanged", "for")
    return all(a.get(k) == b.get(k) for k in same) and a["at"].replace(second=0, microsecond=0) == b["at"].replace(
        second=0, microsecond=0
    )


KINDS: dict[str, tuple[str, frozenset[str]]] = {  # what to show only, and which rows that is
    "looked": ("They looked", frozenset({"read", "vread", "history", "search", "everything", "document", "print", "scan", "who-looked", "find"})),
    "changed": ("They added or changed something", frozenset({"create", "update", "patch", "delete", "transaction", "batch", "accept", "draft", "accept-draft", "sync", "record", "declassify", "relabel", "task-link-accept", "task-link-decline", "task-link-done"})),
    "sent": ("A copy was sent or taken back, or a system was told of a change", frozenset({"disclose", "recall", "notify", "audit-export", "audit-proof"})),
    "emergency": ("It was an emergency", frozenset({"break-glass", "break-glass-end", "emergency-review"})),
    "signed": ("Signed in or out, or an app was let in or stopped", frozenset({"sign-in", "sign-out", "sign-out-everywhere", "authorize", "app-stopped", "token", "token-end"})),
    "refused": ("They were told no", frozenset()),
}  # fmt: skip
JOBS: dict[str, str] = {"privacy officer": "checking who looked is their job", "no partner": "they are not a partner of the agreement on sharing now"}  # by the rule of the row; no decision about consent
WHY: dict[str, str] = {
    "self": "it is your own record", "implicit": "they look after you", "explicit": "you said yes",
    "refrain": "you said no, or it is marked as private", "break-glass": "they said it was an emergency",
    "legal": "the law closes it", "rbac": "their sign-in does not allow it", "ndoo": "you opted out of research",
    "governed": "you share only with people you name", "safeguarding": "to keep somebody safe",
    "uncomputable": "we could not be sure what you want, so we said no", "no-read-no-update": "only who may see it without an emergency may change it",
    "other-patient": "it is not their record", "no-proxy-role": "they may not act for you",
    "proxy": "they act for you", "proxy-ended": "their time to act for you has ended",
    "proxy-age": "a parent can see a young person's record only until they are 16", "no-patient-data": "it holds nothing about you",
    "lpa-not-applicable": "they may act for you only when it is written down that you can no longer decide yourself",
}  # fmt: skip


IMPLIED: dict[str, str] = {  # by the default policy's own rule
    "declassifier": "it is their job to put wrong labels right",
    "relationship": "they look after you", "own data": "they wrote it or keep it themselves",
    "invited": "it is a task or referral for them", "contributor": "they may add to people's records",
    "team of record": "they looked after you", "urgent care": "they are an urgent care service",
    "treating clinician": "they treat you", "authorised use": "this service shares ordinary records with them",
}  # fmt: skip
OF_APPS = frozenset({"authorize", "app-stopped"})  # done by somebody to an app, and not by it
ANSWERS: dict[str, str] = {"right": "They had a reason to look", "wrong": "They should not have looked"}
REVIEWS: dict[str, str] = {"justified": "it was justified", "not-justified": "it was not justified"}
RECORDED: dict[str, str] = {
    "national-data-opt-out recorded": "Recorded that you opted out of research and planning, in your plan or record",
    "national-data-opt-out ended": "Recorded that you no longer opt out of research and planning, in your plan or record",
    "capacity-lost recorded": "Wrote down in your plan or record that you cannot decide this for yourself now",
    "capacity-lost ended": "Wrote down in your plan or record that you can decide this for yourself again", "roles": "Looked at who acts for you, in your plan or record",
}
SAME_AGAIN = "Sent the same again to your plan or record"


def _who(row: dict[str, Any]) -> str:
    """The name the log kept; a computer is said to be one."""
    if row.get("user") == OPERATOR:
        return _("Those who run this service")
    if row.get("user") == ITSELF:
        return _("This service")
    if str(row.get("user") or "").startswith("Device/"):
        return _("A computer system")
    name = str(row.get("who") or "")
    return name if name and "/" not in name else _("Somebody")


def _by(row: dict[str, Any], known: dict[str, str], mine: bool) -> str:
    """Who did it, and by which app."""
    if mine and _failed(row):
        return _("Somebody with your user name")
    app = row["app"] if row["what"] not in OF_APPS else ""
    if mine:
        return _("{app}, for you").format(app=app) if app else _("You")
    who = known.get(row.get("user") or "") or _who(row)
    return _("{app}, for {name}").format(app=app, name=who) if app else who


def _said(row: dict[str, Any], known: dict[str, str], ctx: Context) -> dict[str, Any]:
    """One row in plain words."""
    why = JOBS.get(row.get("rule") or "", "") or WHY.get(row.get("why") or "", "")
    if row["allowed"] and row.get("why") == "implicit":
        why = IMPLIED.get(row.get("rule") or "", why)
    if not why:
        why = "" if row["allowed"] or row["what"] == "token-reused" else _("the name and the password did not go together, or it was tried too often") if _failed(row) else _("nobody said yes to this")
    if not row["allowed"] and row.get("why") == "implicit":
        why = _("you have not shared this with them")
    review = REVIEWS.get(row.get("reason") or "", "") if row["what"] == "emergency-review" and row["allowed"] else ""
    if row["allowed"] and row.get("reason") and not review:
        why = f"{_(why)}: “{row['reason']}”" if why else f"“{row['reason']}”"
    whom = known.get(row.get("for") or "") or (_("somebody in your team") if row.get("for") else "")
    printed = _("for {name}").format(name=whom) if whom and row["what"] == "print" else ""
    if printed:
        why, whom = "", ""
    if whom and row.get("why") == "explicit":
        why = _("you said yes to {name}").format(name=whom)
    elif whom:
        why = _("{name} looks after you").format(name=whom)
    mine = row.get("user") == ctx.actor.user
    did = RECORDED.get(row.get("recorded") or "") or ACTS.get(row["what"], OTHERWISE).person
    if row.get("unchanged") and row["what"] in ("create", "update", "patch"):
        did = SAME_AGAIN
    return {
        "id": row["id"] if not mine or row["app"] or row["what"] == "sign-in" else "", "question": row["question"],
        "at": row["at"],
        "who": _by(row, known, mine),
        "organisation": known.get(row.get("organisation") or "", ""),
        "did": _(did).replace("{app}", row["app"]) + (f", {printed}" if printed else "") + (f": {_(review)}" if review else "") + (_(", to keep it for {name}").format(name=whom) if whom else ""),
        "times": row["times"],
        "allowed": row["allowed"],
        "why": _(why) if why else "",
        "ask": row.get("user") if not mine and str(row.get("user") or "") in known else "",
    }


def _look(row: dict[str, Any], known: dict[str, str], ctx: Context) -> Look:
    """One row for the picture."""
    who = _by(row, known, row.get("user") == ctx.actor.user)
    place = known.get(row.get("organisation") or "", "")
    return Look(row["at"], f"{who}, {place}" if place else who, row["allowed"], row.get("why") == "break-glass" or row["what"] in KINDS["emergency"][1])


__all__: Sequence[str] = ["my_plan", "told", "who_looked"]
