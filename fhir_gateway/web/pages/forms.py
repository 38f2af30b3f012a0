"""Forms to answer: which there are, page by page with what is typed kept at once, a last look, and what became of the answers.

What is typed is a QuestionnaireResponse in progress from the first page on, kept beside the record for whoever types it, and in the record once it
is sent. One that an app of theirs has begun in the record is gone on with there. The person answers (`source`), whoever is signed in types (`author`). https://hl7.org/fhir/R4/questionnaireresponse.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...around import extracting, forms
from ...domain import strict
from ...domain.forms import about_me, pruned
from ...domain.forms.items import Node
from ...domain.forms.pages import Group, Question, View, expanded, questions, tops
from ...domain.forms.typed import Mistake, Reading, missing, nothing
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from . import answered
from .frame import Pages, go, show
from .names import bodies
from .words import _, day, typed_date

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
NAME = re.compile(r"q[0-9]{1,4}(-[0-9]{1,4}){0,20}\Z")  # of a question or group: places only
PAGE = re.compile(r"[0-9]{1,4}\Z")
WRONG: dict[str, str] = {
    "choose": "Choose one of the answers.", "own": "Write your own answer, or choose another one.", "number": "Write a number, such as 7.",
    "comma": "Use a full stop for part of a number, as in 2.5. Use a comma only for thousands, as in 1,250.",
    "whole": "Write a whole number, such as 7.", "low": "Write {n} or more.", "high": "Write {n} or less.", "long": "Write at most {n} letters.",
    "time": "Write a time with hours and minutes, such as 14:30.", "day-of-time": "Write the whole day of this time, with day, month and year.",
    "other": "This cannot be answered here.", "missing": "Answer this question.",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sheet:
    """Answers in progress, and the form they answer. `begun`: their name, where they are beside the record."""

    form: forms.Form
    body: Node
    version: int
    begun: str = ""

    @property
    def at(self) -> str:
        return f"/forms/{self.form['id']}/{self.begun or self.body['id']}"

    async def keep(self, ctx: Context, body: Node) -> None:
        if self.begun:
            await gate.type_on(ctx, self.begun, self.version, body)
        else:
            await gate.update(ctx, Ref(forms.ANSWERS, self.body["id"]), strict.dump(body), if_match=self.version)

    async def send(self, ctx: Context, body: Node) -> gate.Written:
        if self.begun:
            return await gate.send_begun(ctx, self.begun, self.version, body)
        return await gate.update(ctx, Ref(forms.ANSWERS, self.body["id"]), strict.dump(body), if_match=self.version)

    @property
    def person(self) -> str:
        return str(self.body["subject"]["reference"]).removeprefix("Patient/")


# -- which there are --------------------------------------------------------------------------------------------------


def person_of(request: Request, ctx: Context) -> str:
    """Whom the answers are about. Problem not-found where nobody is named."""
    if ctx.actor.kind in ("patient", "proxy") and ctx.actor.patient:
        return ctx.actor.patient.removeprefix("Patient/")
    asked = str(request.query_params.get("person", ""))
    if not ID.match(asked):
        raise not_found()
    return asked


async def overview(pages: Pages, request: Request, ctx: Context) -> Response:
    """The forms, those that were begun, and those that were sent."""
    person = person_of(request, ctx)
    await gate.read(ctx, Ref("Patient", person))
    offered = await forms.offered(ctx)
    known = {str(f["url"]): f for f in offered}
    begun = [row for name, b in (await gate.begun_about(ctx, person)).items() if b.sent is None and (row := _begun(known, name, b)) is not None]
    sent: list[dict[str, Any]] = []
    for body in await bodies(ctx, forms.ANSWERS, [("patient", person), ("_sort", "-authored"), ("_count", "100")]):
        form = known.get(str(body.get("questionnaire", "")).partition("|")[0])
        if form is not None and not about_me.is_of_a_plan(body):
            row = {"at": f"/forms/{form['id']}/{body['id']}", "title": form.get("title"), "on": day(body.get("authored")), "waits": await extracting.waits(ctx, form, body)}
            (begun if body.get("status") == "in-progress" else sent).append(row)
    mine = ctx.actor.kind == "patient"
    return await show(pages, request, "forms/overview.html", ctx=ctx, forms=offered, begun=begun, sent=sent, person="" if mine else person, back_to=_back(ctx, person), done=request.query_params.get("done", ""))


def _begun(known: Mapping[str, forms.Form], name: str, begun: gate.Begun) -> dict[str, Any] | None:
    """What is begun, of a form that is still there."""
    form = known.get(str(begun.body.get("questionnaire", "")).partition("|")[0])
    return {"at": f"/forms/{form['id']}/{name}", "title": form.get("title"), "on": day(begun.body.get("authored")), "drop": True} if form is not None else None


async def drop(pages: Pages, request: Request, ctx: Context) -> Response:
    """What was begun is thrown away."""
    name = str(request.path_params["answers"])
    person = name.rpartition(".")[0]
    await gate.throw_away(ctx, name)
    return go("/forms" if ctx.actor.kind in ("patient", "proxy") else f"/forms?person={quote(person, safe='')}")


def _back(ctx: Context, person: str) -> str:
    return "/my-plan" if ctx.actor.kind == "patient" else f"/team/people/{person}"


async def begin(pages: Pages, request: Request, ctx: Context) -> Response:
    """What the form is for, and a button that begins it with what is known already."""
    form, person = await forms.by_id(ctx, str(request.path_params["form"])), person_of(request, ctx)
    if request.method == "POST":
        return go(await started(ctx, form, person, {}))
    await gate.read(ctx, Ref("Patient", person))
    return await show(pages, request, "forms/begin.html", ctx=ctx, form=form, person="" if ctx.actor.kind == "patient" else person)


async def started(ctx: Context, form: forms.Form, person: str, context: Mapping[str, Any]) -> str:
    """Begins answers about the person with what is known and what `context` has for the form; the address of their first page."""
    filled = await forms.populate(ctx, forms.Asked(canonical=_address(form), subject=f"Patient/{person}", context=context))
    body = {**filled.response, "source": {"reference": f"Patient/{person}"}, "author": {"reference": ctx.actor.user}}
    name = await gate.begin(ctx, body)
    first = View(form, body).pages()
    return f"/forms/{form['id']}/{name}/{first[0][0] if first else 'check'}"


def _address(form: forms.Form) -> str:
    version = form.get("version")
    return str(form["url"]) + (f"|{version}" if version else "")


# -- page by page -----------------------------------------------------------------------------------------------------


async def sheet(request: Request, ctx: Context) -> Sheet:
    """The answers that the address names; once they are sent, as they are in the record. Problem not-found where they are hidden, absent or of another form."""
    name = str(request.path_params["answers"])
    begun = await gate.begun(ctx, name)
    if begun is not None and begun.sent is None:
        body, version = begun.body, begun.version
    else:
        name = (begun.sent or "") if begun is not None else name
        if not ID.match(name):
            raise not_found()
        stored = await gate.read(ctx, Ref(forms.ANSWERS, name))
        body, version, name = strict.decode(stored.body), stored.version, ""
    form = await forms.by_address(ctx, str(body.get("questionnaire", "")))
    if form.get("id") != request.path_params["form"]:
        raise not_found()
    return Sheet(expanded(form), body, version, name)


async def page(pages: Pages, request: Request, ctx: Context) -> Response:
    """One page: what was typed is kept, then on, back, or one more of something."""
    s = await sheet(request, ctx)
    if s.body.get("status") != "in-progress":
        return go(f"{s.at}/done")
    said = str(request.path_params["page"])
    n = int(said) if PAGE.match(said) else len(tops(s.form))
    if n >= len(tops(s.form)):
        raise not_found()
    if request.method == "POST":
        return await _typed(pages, request, ctx, s, n)
    more = str(request.query_params.get("more", ""))
    view = View(s.form, s.body, {more: 1} if more else {})
    return await _page(pages, request, ctx, s, n, view, opened=request.query_params.get("more-questions") == "yes")


async def _typed(pages: Pages, request: Request, ctx: Context, s: Sheet, n: int) -> Response:
    form = request.state.form
    asked = frozenset(n for n in str(form.get("asked", "")).split() if NAME.match(n))
    wanted, _mark, name = str(form.get("go", "next")).partition(":")
    name = name if NAME.match(name) else ""
    gone = name if wanted == "drop" else ""
    fields = {k: [str(v) for v in form.getlist(k)] for k in form if not (gone and (k == gone or k.startswith(gone + "-")))}
    reading = Reading(fields, lambda name: _day(fields, name), asked)
    body = {k: v for k, v in s.body.items() if k != "item"}
    found = reading.page(s.form, s.body, n)
    body = pruned(s.form, {**body, **({"item": found} if found else {})})
    if reading.mistakes:
        return await _page(pages, request, ctx, s, n, View(s.form, s.body, least=_turns(asked)), errors=reading.mistakes, fields=fields)
    version = str(form.get("version", ""))
    if version != str(s.version):
        return await _beside(pages, request, ctx, s, n, asked, fields)
    if body != s.body:
        try:
            await s.keep(ctx, {**body, "authored": ctx.at.isoformat(timespec="seconds")})
        except Problem as p:
            if p.kind != "stale":
                raise
            return await _beside(pages, request, ctx, await sheet(request, ctx), n, asked, fields)
    after = replace(s, body=body)
    if wanted in ("more", "drop"):
        return go(f"{s.at}/{n}" + (f"?more={name}#{name}-more" if wanted == "more" and name else ""))
    if wanted == "save":
        return go(f"/forms?done=saved{_who(ctx, s)}")
    return await _on(pages, request, ctx, after, n, wanted, asked)


async def _beside(pages: Pages, request: Request, ctx: Context, s: Sheet, n: int, asked: frozenset[str], fields: dict[str, list[str]]) -> Response:
    """Somebody changed these answers meanwhile, or the same person in another window: what was typed here comes back, beside what is kept now."""
    return await _page(pages, request, ctx, s, n, View(s.form, s.body, least=_turns(asked)), fields=fields, kept=answered.rows(View(s.form, s.body).page(n)))


async def _on(pages: Pages, request: Request, ctx: Context, s: Sheet, n: int, wanted: str, asked: frozenset[str]) -> Response:
    """To the next page or the one before; first to what has just opened on this one, and to what must be answered."""
    view = View(s.form, s.body)
    here = view.page(n)
    if wanted == "next" and {q.name for q in questions(here)} - asked:
        return go(f"{s.at}/{n}?more-questions=yes")
    if wanted == "next" and (left := missing(here)):
        now = await sheet(request, ctx)
        return await _page(pages, request, ctx, now, n, view, errors={q.name: Mistake("missing") for q in left})
    numbers = [at for at, _title in view.pages()]
    before, after = [at for at in numbers if at < n], [at for at in numbers if at > n]
    if wanted == "back":
        return go(f"{s.at}/{before[-1]}" if before else f"/forms?{_who(ctx, s).lstrip('&')}")
    return go(f"{s.at}/{after[0] if after else 'check'}")


def _who(ctx: Context, s: Sheet) -> str:
    return "" if ctx.actor.kind in ("patient", "proxy") else f"&person={s.person}"


def _day(fields: Mapping[str, list[str]], name: str) -> str | Mistake | None:
    found, wrong = typed_date({k: v[0] for k, v in fields.items() if v}, name)
    return Mistake("day", wrong) if wrong else found or None


def _turns(asked: frozenset[str]) -> dict[str, int]:
    """How often each group stood on the page that was sent: as many are shown again."""
    out: dict[str, int] = {}
    for name in asked:
        steps = name.split("-")
        for k in range(1, len(steps) - 1, 2):
            group = "-".join(steps[:k])
            if steps[k].isdigit():
                out[group] = max(out.get(group, 0), int(steps[k]) + 1)
    return out


async def _page(
    pages: Pages, request: Request, ctx: Context, s: Sheet, n: int, view: View, *, errors: dict[str, Mistake] | None = None,
    fields: dict[str, list[str]] | None = None, opened: bool = False, kept: list[tuple[str, str]] | None = None,
) -> Response:  # fmt: skip
    shown = view.page(n)
    numbers = view.pages()
    title = next((words for at, words in numbers if at == n), "")
    return await show(
        pages, request, "forms/page.html", ctx=ctx, status=200 if kept is None else 409, kept=kept, form=s.form, here=s.at, n=n, shown=shown, title=title or s.form.get("title"), asked=" ".join(_names(shown)),
        place=[at for at, _t in numbers].index(n) + 1 if n in dict(numbers) else 1, places=len(numbers), version=s.version, fields=fields, opened=opened,
        errors={k: _said(m) for k, m in (errors or {}).items()}, person=s.person if ctx.actor.kind != "patient" else "", is_group=lambda x: isinstance(x, Group),
        is_question=lambda x: isinstance(x, Question),
    )  # fmt: skip


def _said(mistake: Mistake) -> str:
    return mistake.with_ if mistake.why == "day" else _(WRONG[mistake.why]).format(n=mistake.with_)


def _names(shown: list[Any]) -> list[str]:
    out: list[str] = []
    for one in shown:
        if isinstance(one, Question):
            out.append(one.name)
        elif isinstance(one, Group):
            out += [one.name, *(x for turn in one.turns for x in _names(list(turn)))]
    return out


# -- a last look, and what became of it -------------------------------------------------------------------------------


async def check(pages: Pages, request: Request, ctx: Context) -> Response:
    """All answers to be read once more; sending them finishes them and makes of them what the form says."""
    s = await sheet(request, ctx)
    if s.body.get("status") != "in-progress":  # sent again: a stop came between the answers and what is made of them
        return await _made(ctx, s) if request.method == "POST" else go(f"{s.at}/done")
    view = View(s.form, s.body)
    left = [(n, q) for n, _title in view.pages() for q in missing(view.page(n))]
    empty = nothing([one for n, _title in view.pages() for one in view.page(n)]) and not about_me.filled_in_from(s.body)  # who takes all away says something
    if request.method == "POST" and not left and not empty:
        if str(request.state.form.get("version", "")) != str(s.version):
            raise Problem("stale", "These answers were changed on another page meanwhile.")
        body = {**s.body, "status": "completed", "authored": ctx.at.isoformat(timespec="seconds")}
        written = await s.send(ctx, body)
        sent = replace(s, body={**body, "id": written.ref.id}, begun="")
        return await _made(ctx, sent) if written.draft is None else go(f"/forms?done=draft{_who(ctx, s)}")
    rows = [(n, title or s.form.get("title"), answered.rows(view.page(n))) for n, title in view.pages()]
    return await show(
        pages, request, "forms/check.html", ctx=ctx, form=s.form, here=s.at, parts=rows, left=left, empty=empty, version=s.version,
        errors={f"p{n}": _("Answer this question: {question}").format(question=q.label) for n, q in left} if request.method == "POST" else {},
    )  # fmt: skip


async def _made(ctx: Context, s: Sheet) -> Response:
    """What the form says is made of the finished answers, once; then to the page that shows it."""
    try:
        await extracting.extract(ctx, str(s.body["id"]))
    except Problem as p:
        if p.kind not in ("business-rule", "invalid", "forbidden", "insufficient-scope"):
            raise
        return go(f"{s.at}/done?kept=answers")
    return go(f"{s.at}/done")


async def done(pages: Pages, request: Request, ctx: Context) -> Response:
    """The answers as they were sent, and what became of them, as far as this reader may see it."""
    s = await sheet(request, ctx)
    if s.body.get("status") == "in-progress":
        return go(f"{s.at}/check")
    view = View(s.form, s.body)
    became = [answered.thing(strict.decode(b)) for b in await extracting.became(ctx, str(s.body["id"]))]
    rows = [(n, title or s.form.get("title"), answered.rows(view.page(n))) for n, title in view.pages()]
    return await show(
        pages, request, "forms/done.html", ctx=ctx, form=s.form, became=became, parts=rows, on=day(s.body.get("authored")),
        kept=request.query_params.get("kept") == "answers", waits=await extracting.waits(ctx, s.form, s.body), here=s.at, back_to=_back(ctx, s.person), who=_who(ctx, s).lstrip("&"),
    )  # fmt: skip
