"""A plan's JSON as the pages show it: names instead of ids, words instead of codes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

from ...domain.in_force import crisis_plans, crisis_state, has_left, in_force, in_time, is_key_worker, title
from ...domain.in_force import team as team_of
from ...domain.medicines import forbidden_again
from ...domain.plans_of_others import is_for_an_emergency, is_urgent
from ...domain.sentences import language_name
from ...domain.told_by_others import Told
from ...domain.written_down import standing, with_number
from ...plans import Others
from . import plan_more as more
from .languages import locale
from .pictures import progress
from .plan_items import Item, Line, elsewhere, lines, list_of, note, span, texts, thing, undescribed
from .words import _, day

ABOUT = {
    "most_important": "What is most important to me",
    "people_important": "People who are important to me",
    "how_i_communicate": "How I communicate",
    "my_wellness": "My wellness",
    "please_do_and_dont": "Please do and please don't",
    "how_to_support": "How and when to support me",
    "also_worth_knowing": "Also worth knowing about me",
}
COLOURS = {
    "in progress": "blue", "active": "blue", "planned": "grey", "waiting": "yellow", "done": "green",
    "completed": "green", "met": "green", "stopped": "red", "on hold": "yellow",
}  # fmt: skip

NOTHING = Others()
OTHERS = "Others wrote this. It stands beside the plan."

# Where a plan names somebody: an id of its own, which says nothing to a reader who may not see whose it is; else words.
ID = re.compile(r"(?=\S*\d)\S+|[a-z]\w*[-_:./|]\S*")


@dataclass(frozen=True, slots=True)
class PlanView:
    """One plan as a page shows it, part by part; an empty part is left out."""

    title: str
    name: str
    about: tuple[Line, ...]
    written: str
    needs: tuple[Item, ...]
    goals: tuple[Item, ...]
    actions: tuple[Item, ...]
    crisis: tuple[dict[str, Any], ...]
    team: tuple[Item, ...]
    contacts: tuple[Item, ...]
    key_worker: str
    strengths: tuple[str, ...]
    review: str
    reviewed_on: str
    practical: tuple[Line, ...] = ()
    papers: tuple[Item, ...] = ()
    stories: tuple[Item, ...] = ()
    referrals: tuple[Item, ...] = ()
    unmet: tuple[Item, ...] = ()
    wheels: tuple[Item, ...] = ()
    decisions: tuple[more.Decision, ...] = ()
    risks: tuple[Item, ...] = ()
    itself: tuple[Line, ...] = ()
    changed: str = ""
    medicines: tuple[Item, ...] = ()
    problems: tuple[Item, ...] = ()
    findings: tuple[Item, ...] = ()
    goals_of_others: tuple[Item, ...] = ()
    urgent: tuple[Item, ...] = ()  # of the papers, those for an emergency

    @property
    def sections(self) -> list[tuple[str, str]]:
        """(anchor, words) of what this plan has, in page order."""
        every = [
            ("practical", _("Good to know"), self.practical), ("matters", _("What matters to me"), self.about),
            ("needs", _("What I need help with"), self.needs), ("problems", _("Health problems that others wrote down"), self.problems), ("stories", _("How it came to be like this"), self.stories),
            ("goals", _("My goals"), self.goals), ("goals-of-others", _("Goals that others wrote down"), self.goals_of_others), ("decisions", _("What we decided"), self.decisions), ("wheels", _("How I am doing, part by part"), self.wheels),
            ("actions", _("What we will do"), self.actions), ("medicines", _("My medicines"), self.medicines), ("referrals", _("Where I was sent"), self.referrals),
            ("findings", _("Assessments and answers that others wrote down"), self.findings), ("unmet", _("What I could not get"), self.unmet), ("crisis", _("If things get worse"), self.crisis),
            ("team", _("My team"), self.team or self.contacts), ("risks", _("Risk, as professionals see it"), self.risks),
            ("papers", _("Other plans and papers"), self.papers), ("itself", _("About this plan"), self.itself),
        ]  # fmt: skip
        return [(anchor, text) for anchor, text, there in every if there]


def plan_view(
    plan: dict[str, Any], today: date, *, own: bool, changes: Mapping[str, str] = MappingProxyType({}), filled_in: tuple[Item, ...] = (), medicines: Sequence[dict[str, Any]] = (), joined: Sequence[Elsewhere] = (),
    others: Others = NOTHING, senders: Mapping[str, str] = MappingProxyType({}),
) -> PlanView:  # fmt: skip
    """`own`: the reader is the person, who is then called "I" and not by name. `changes`: as `changes.last_changes` gives them. `filled_in`: wheels of forms.
    `medicines`: those of the record that the plan does not hold; `others`: what else of it does, and `senders`, who sent it.
    `joined`: of other records of the person."""
    person = thing(plan.get("person"))
    full, name = preferred_name(person), _namer(plan, own)
    team = list_of(plan, "team")
    key = next((str(m.get("name", "")) for m in team if is_key_worker(m, today)), "")
    about = thing(plan.get("about_me"))
    review = thing(plan.get("review"))
    goals = {str(g.get("id")): g.get("text") for g in list_of(plan, "goals")}
    papers = (*list_of(plan, "additional_plans"), *list_of(plan, "documents"))
    return PlanView(
        title=title(plan, _("My plan") if own else _("Care and support plan"), _),
        name=full,
        about=(*(Line(_(label), str(about[k])) for k, label in ABOUT.items() if about.get(k)), *more.media(plan)),
        written=_written(about, name),
        needs=tuple(_need(n, name) for n in list_of(plan, "needs")),
        goals=tuple(_goal(g, today, name, changes.get(str(g.get("id")), ""), more.in_the_way(plan, g, name)) for g in list_of(plan, "goals")),
        actions=tuple(_action(a, name, goals) for a in list_of(plan, "actions")),
        crisis=tuple(sorted((*_crises(plan, name, today), *(told_crisis(t, senders) for t in others.crisis), *(c for j in joined for c in j.crisis)), key=lambda c: not c["in_force"])),
        team=tuple(_member(m, today) for m in team_of(plan)),
        contacts=tuple(_contact(c, today) for c in list_of(plan, "contacts")),
        key_worker=key,
        strengths=tuple(str(s.get("text", "")) for s in list_of(plan, "strengths")),
        review=day(review.get("next")),
        reviewed_on=day(plan.get("reviewed_on")),
        practical=_practical(person),
        papers=(*(_paper(p, name) for p in papers), *(_told(t, senders, _(OTHERS)) for t in others.papers)),
        stories=tuple(more.story(f, name) for f in list_of(plan, "formulations")),
        referrals=tuple(more.referral(r, name, goals) for r in list_of(plan, "referrals")),
        unmet=tuple(more.unmet(u, {str(n.get("id")): n.get("text") for n in list_of(plan, "needs")}) for u in list_of(plan, "unmet_needs")),
        decisions=tuple(more.decision(d, name, goals) for d in list_of(plan, "decisions")),
        wheels=(*(more.wheel(w, name) for w in list_of(plan, "wheels")), *filled_in),
        risks=tuple(more.risk(r, plan, name) for r in list_of(plan, "risks")),
        itself=more.itself(plan, name),
        changed=changes.get("", ""),
        medicines=more.medicines(list_of(plan, "medicines"), name, medicines, today, [m for j in joined for m in j.medicines]),
        problems=tuple(map(_told, others.problems)),
        findings=tuple(map(_told, others.findings)),
        goals_of_others=tuple(_told(t, senders, _(OTHERS)) for t in others.goals),
        urgent=(*(_paper(p, name) for p in papers if is_for_an_emergency(p)), *(_told(t, senders, _(OTHERS)) for t in others.papers if is_urgent(t.resource) and not t.over)),
    )


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What counts today of a plan in another record of the same person, each said to be from there: crisis plans in force, medicines that are not over."""

    crisis: tuple[dict[str, Any], ...]
    medicines: tuple[Item, ...]

    def __bool__(self) -> bool:
        return bool(self.crisis or self.medicines)


def from_elsewhere(plan: dict[str, Any], today: date, *, own: bool, medicines: Sequence[dict[str, Any]] = (), others: Others = NOTHING) -> Elsewhere:
    """Of the plan of another record, of the medicines beside it there, and of plans for a crisis that others sent there. An id that a crisis
    plan has there means another one here."""
    name, where = _namer(plan, own), elsewhere(own)
    return Elsewhere(
        tuple({**c, "id": "", "where": where} for c in (*_crises(plan, name, today), *(told_crisis(t) for t in others.crisis)) if c["in_force"]),
        more.taken_elsewhere(list_of(plan, "medicines"), name, medicines, today, where),
    )


def _namer(plan: dict[str, Any], own: bool) -> Callable[[Any], str]:
    """Says whom an id of this plan means."""
    names = _names(plan, _("Me") if own else preferred_name(thing(plan.get("person"))))

    def name(id: Any) -> str:
        if not id:
            return ""
        return names.get(str(id)) or (_("Somebody") if ID.fullmatch(str(id)) else str(id))

    return name


def _crises(plan: dict[str, Any], name: Callable[[Any], str], today: date) -> list[dict[str, Any]]:
    reached = {str(m.get("id")): _reached(m, name, today) for m in (*list_of(plan, "team"), *list_of(plan, "contacts"))}
    return [_crisis(c, name, reached) for c in crisis_plans(plan)]


def _told(t: Told, senders: Mapping[str, str] = MappingProxyType({}), where: str = "") -> Item:
    """What somebody else wrote down."""
    lists = ((label, "\n".join(items)) for label, items in t.thing.lists)
    return Item(str(t.resource.get("id", "")), t.thing.text, t.thing.state, "grey", lines(*_sent(t, senders), *((r.label, r.text) for r in t.thing.rows), *lists), where=where, type=str(t.resource.get("resourceType")))


def _sent(t: Told, senders: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return ((_("Who sent it"), senders.get(f"{t.resource.get('resourceType')}/{t.resource.get('id')}", "")),)


def told_crisis(t: Told, senders: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """What somebody else sent as a plan for a crisis, as the page shows those of the plan."""
    return {
        "id": str(t.resource.get("id", "")), "text": t.thing.text, "state": t.thing.state, "in_force": not t.over, "where": _(OTHERS), "name": t.thing.text, "lists": list(t.thing.lists), "statement": "", "wishes": (),
        "lines": lines(*_sent(t, senders), *((r.label, r.text) for r in t.thing.rows)), "codes": (), "of_others": True,
    }  # fmt: skip


def preferred_name(person: dict[str, Any]) -> str:
    """What the person is called: preferred or first given name, and family name."""
    name = person.get("name")
    if isinstance(name, str):
        return name
    name = thing(name)
    first = name.get("preferred") or next(iter(texts(name.get("given"))), "")
    return f"{first} {name.get('family', '')}".strip()


def _names(plan: dict[str, Any], person: str) -> dict[str, str]:
    names = {"person": person}
    for m in list_of(plan, "team"):
        role = f" ({m['role']})" if m.get("role") else ""
        names[str(m.get("id"))] = f"{m.get('name') or _('Somebody')}{role}"
    for c in list_of(plan, "contacts"):
        kin = f" ({c['relationship']})" if c.get("relationship") else ""
        names[str(c.get("id"))] = f"{c.get('name') or _('Somebody')}{kin}"
    return names


def _state(item: dict[str, Any]) -> tuple[str, str]:
    status = str(item.get("status") or "")
    return standing(item, _), COLOURS.get(status, "grey")


def _written(about: dict[str, Any], name: Callable[[Any], str]) -> str:
    if not about:
        return ""
    helper = about.get("supported_to_write_by")
    on = day(about.get("written_on"))
    if helper and on:
        return _("Written on {on} with help from {helper}").format(on=on, helper=name(helper))
    return _("Written on {on}").format(on=on) if on else ""


def _need(n: dict[str, Any], name: Callable[[Any], str]) -> Item:
    state, colour = _state(n)
    return Item(
        str(n.get("id", "")), str(n.get("text") or thing(n.get("code")).get("display") or _("A need that is not described")), state, colour,
        lines((_("Said by"), name(n.get("said_by"))), (_("Since"), day(n.get("since"))),
               (_("Also called"), thing(n.get("code")).get("display"))),
        codes=undescribed(n.get("code")),
    )  # fmt: skip


def _goal(g: dict[str, Any], today: date, name: Callable[[Any], str], changed: str, in_the_way: str) -> Item:
    state, colour = _state(g)
    target = thing(g.get("target"))
    aim = " ".join(str(target[k]) for k in ("value", "unit") if target.get(k) is not None)
    if target.get("what"):
        aim = f"{target['what']}: {aim}" if aim else str(target["what"])
    return Item(
        str(g.get("id", "")), str(g.get("text", "")), state, colour,
        lines(
            (_("How much it matters"), _of_ten(g.get("importance"))),
            (_("The aim"), aim),
            (_("By"), day(target.get("by"))),
            (_("Chosen by"), name(g.get("set_by"))),
            (_("What people think"), _agreed(g, name)),
            (_("Why"), g.get("status_reason")),
            (_("What is in the way"), in_the_way),
            (_("Look at it again"), day(g.get("review"))),
            (_("Notes"), "\n".join(note(n, name) for n in list_of(g, "notes"))),
            (_("Last changed"), changed),
        ),
        progress(g, today, lambda id: name(id)),
    )  # fmt: skip


def _of_ten(n: Any) -> str | None:
    return None if n is None else _("{n} out of 10").format(n=n)


def _agreed(g: dict[str, Any], name: Callable[[Any], str]) -> str:
    said = {"agree": _("agrees"), "disagree": _("does not agree"), "pending": _("has not said yet")}
    return "\n".join(f"{name(a.get('by'))}: {said.get(str(a.get('status')), a.get('status'))}" for a in list_of(g, "agreed"))


def _action(a: dict[str, Any], name: Callable[[Any], str], goals: dict[Any, Any]) -> Item:
    state, colour = _state(a)
    when = str(a.get("when") or "")
    lasts = span(a.get("from"), a.get("to"))
    return Item(
        str(a.get("id", "")), forbidden_again(str(a.get("text", "")), _), state, colour,
        lines(
            (_("Who does it"), name(a.get("who"))),
            (_("When"), "\n".join(t for t in (when, lasts) if t)),
            (_("How sure I am"), _of_ten(a.get("confidence"))),
            (_("What helps"), a.get("strategies")),
            (_("Service"), thing(a.get("service")).get("name")),
            (_("For the goal"), "\n".join(str(goals[g]) for g in texts(a.get("goals")) if g in goals)),
            (_("Look at it again"), day(a.get("review"))),
        ),
    )  # fmt: skip


def _reached(m: dict[str, Any], name: Callable[[Any], str], today: date) -> str:
    """Whom a crisis plan says to contact, with the number; of somebody who has left, that."""
    if has_left(m, today):
        return _("{name}: not to be contacted any more").format(name=name(m.get("id")))
    called, number = name(m.get("id")), str(m.get("phone") or "")
    return with_number(called, number) if called and number else called or number


def _crisis(c: dict[str, Any], name: Callable[[Any], str], reached: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": str(c.get("id", "")), "text": str(c.get("name") or _("If things get worse")), "state": crisis_state(c, _), "in_force": in_force(c), "where": "",
        "name": str(c.get("name") or _("If things get worse")),
        "lists": [
            (label, items)
            for label, items in (
                (_("What can set it off"), in_time(c, "trigger", texts(c.get("triggers")), span)),
                (_("First signs"), in_time(c, "early warning", texts(c.get("early_warnings")), span)),
                (_("What should happen"), in_time(c, "what should happen", texts(c.get("what_should_happen")), span)),
                (_("Who to contact"), [reached.get(w) or name(w) for w in texts(c.get("who_to_contact"))]),
                (_("What helps me cope"), in_time(c, "coping", texts(c.get("coping")), span)),
                (_("Ready for this"), [_ready(a) for a in list_of(c, "anticipatory")]),
            )
            if items
        ],
        "statement": str(c.get("advance_statement") or ""), "wishes": more.wishes(c, name), "lines": lines(*more.standing(c, name)),
        "codes": undescribed(c.get("code"), thing(c.get("advance")).get("code"), *(d.get("code") for d in list_of(c, "details"))), "of_others": False,
    }


def _ready(a: dict[str, Any]) -> str:
    return f"{a.get('item', '')}: {a['where']}" if a.get("where") else str(a.get("item", ""))


def _member(m: dict[str, Any], today: date) -> Item:
    org = thing(m.get("organisation")).get("name")
    return Item(
        str(m.get("id", "")), str(m.get("name") or org or _("Somebody without a name")), _("No longer in the team") if has_left(m, today) else _("Key worker") if is_key_worker(m, today) else "", "grey" if has_left(m, today) else "blue",
        lines((_("Role"), ", ".join(str(t) for t in (m.get("role"), m.get("grade"), m.get("speciality")) if t)), (_("Team"), m.get("team")),
               (_("Organisation"), org), (_("Professional number"), m.get("professional_id")), (_("Phone"), m.get("phone")),
               (_("Email"), m.get("email")), (_("Time"), span(m.get("since"), m.get("until")))),
    )  # fmt: skip


def _contact(c: dict[str, Any], today: date) -> Item:
    what = [_("carer")] if c.get("carer") else []
    what += [_("next of kin")] if c.get("next_of_kin") else []
    what += texts(c.get("roles"))
    return Item(
        str(c.get("id", "")), str(c.get("name") or _("Somebody without a name")), _("Not to be contacted any more") if has_left(c, today) else "", "grey",
        lines((_("Who they are"), c.get("relationship")), (_("Also"), ", ".join(what)), (_("Phone"), c.get("phone")),
              (_("Email"), c.get("email")), (_("Good to know"), c.get("comment"))),
    )  # fmt: skip


def _practical(person: dict[str, Any]) -> tuple[Line, ...]:
    """What somebody must know before they ring or visit."""
    language = str(person.get("language") or "")
    speaks = (language_name(language, locale()) or language) if language and not language.startswith("en") else ""
    if person.get("interpreter"):
        speaks = _("{language}, please bring an interpreter").format(language=speaks or _("Own language"))
    return lines(
        (_("Language"), speaks),
        (_("How to get in touch"), person.get("contact_preference")),
        (_("Other ways to reach me"), "\n".join(texts(person.get("other_contact")))),
        (_("Also known as"), "\n".join(texts(person.get("also_known_as")))),
        (_("Religion"), person.get("religion")),
        (_("GP"), ", ".join(str(t) for t in (person.get("gp_name"), thing(person.get("gp")).get("name")) if t)),
        (_("What makes it easier"), "\n".join(texts(person.get("adjustments")))),
    )


def _paper(p: dict[str, Any], name: Callable[[Any], str]) -> Item:
    return Item(
        str(p.get("id", "")), str(p.get("title") or _("A paper without a title")), "", "grey",
        lines((_("What it says"), p.get("text")), (_("Made on"), day(p.get("on"))),
               (_("Who keeps it"), name(p.get("held_by"))), (_("Kept where"), "\n".join(str(p[k]) for k in ("link", "where") if p.get(k))), *more.standing(p, name)),
        codes=undescribed(p.get("type"), p.get("category")),
    )  # fmt: skip
