"""A plan as a booklet of paper: which parts it has, in which order, in which words. Pure; nothing of it is markup.

Everything comes from what one reader may see; a part without anything to show is left out, and nothing says so. Readings and answers to
questionnaires are not printed: they are other by tomorrow. docs/printing.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any, Final

from . import strict
from .alerts import flag_stands
from .in_force import crisis_plans, in_force, team, title
from .joined import Other, believed, counting, lasting
from .mapping.names import own_identifier
from .medicines import OVER, by_name, in_names, of_record, otherwise, taken, told, told_by_record
from .plans_of_others import Beside, beside, is_plan_of_others
from .sentences import ABOUT, NOT_PRINTED, Plan, Record, Say, Sentences
from .told_by_others import Told, findings, is_of_others, problems
from .written_down import Row, Thing, an_object, objects, over, right_to_left, rows_of, texts

ALSO: Final = frozenset({"AllergyIntolerance", "Flag", "MedicationStatement", "MedicationRequest"})  # printed beside what the plan's own format has


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the booklet. `urgent`: somebody in a hurry looks for it."""

    key: str
    title: str
    rows: tuple[Row, ...] = ()
    things: tuple[Thing, ...] = ()
    words: tuple[str, ...] = ()
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Booklet:
    """What is printed. `large`: the person asked for large print. `more_than_once`: what is said where something of another record of the person is in it."""

    title: str
    name: str
    sections: tuple[Section, ...]
    large: bool = False
    more_than_once: str = ""


def basis(plan: Plan, record: Record, others: Sequence[Other] = ()) -> str:
    """Names what is printed, by its content: another name where anything on the paper would be other."""
    return sha256(_content(plan, record) + b"".join(b"\n" + _content(o.plan, o.record) for o in map(lasting, others))).hexdigest()[:32]


def _content(plan: Plan, record: Record) -> bytes:
    more = sorted(strict.dump(_bare(r)) for r in in_names(record) if r.get("resourceType") in ALSO or is_of_others(r) or is_plan_of_others(r))
    kept = {k: v for k, v in plan.items() if k not in NOT_PRINTED}
    return strict.dump(_sorted(kept)) + b"".join(more)


def code(digest: str) -> str:
    """`7F3A-21C8`: enough of a version's name to hold two papers beside each other."""
    return f"{digest[:4]}-{digest[4:8]}".upper()


def booklet(plan: Plan, record: Record, *, say: Say = lambda t: t, day: Say = str, own: bool = True, language: str = "en", today: date | None = None, others: Sequence[Other] = ()) -> Booklet:
    """The plan as printed, with what counts of `others`, the same person's other records. `say` translates a sentence, `day` says a date; `own`: the reader is the person; `language`: of the sentences;
    `today`: the day of printing, in London."""
    first, *more = believed([record, *(o.record for o in others)])
    theirs = tuple(_Making(counting(o.plan), seen, say, day, own, language, today) for o, seen in zip(others, more, strict=True))
    return _Making(plan, first, say, day, own, language, today, theirs).whole()


def _bare(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in _sorted(resource).items() if k not in ("meta", "text", "id")}


def _sorted(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: _sorted(node[k]) for k in sorted(node)}
    return [_sorted(n) for n in node] if isinstance(node, list) else node


@dataclass(frozen=True, slots=True)
class _Making(Sentences):
    joined: tuple[_Making, ...] = ()  # the same of each other record

    def whole(self) -> Booklet:
        person = an_object(self.plan.get("person"))
        sections = (
            self.details(person), self.warnings(), self.about_me(), self.crisis(), self.needs(), self.problems(), self.goals(), self.goals_of_others(), self.actions(), self.medicines(),
            self.services(), self.findings(), self.people(), self.wishes(), self.thoughts(), self.decided(), self.papers(), self.paid(), self.how_agreed(), self.also(),
        )  # fmt: skip
        large = any("large print" in t.lower() for t in texts(person.get("adjustments")))
        return Booklet(title(self.plan, self.say("My care and support plan"), self.say), self.full_name(person), tuple(s for s in sections if s.rows or s.things or s.words), large and self.own, self.more_than_once() if self.joined else "")

    def details(self, person: Mapping[str, Any]) -> Section:
        return Section("details", self.say("About this person") if not self.own else self.say("My details"), self.who(person))

    def about_me(self) -> Section:
        about = an_object(self.plan.get("about_me"))
        rows = rows_of(*((self.say(label), about.get(key)) for key, label in ABOUT))
        strengths = tuple(str(s["text"]) for s in objects(self.plan.get("strengths")) if s.get("text"))
        things = (Thing("", lists=((self.say("What I am good at"), strengths),)),) if strengths else ()
        return Section("about", self.say("What matters to me"), rows, things, tuple(self.written(about)) if rows else ())

    def people(self) -> Section:
        things = (*(self.member(m) for m in team(self.plan)), *(self.contact(c) for c in objects(self.plan.get("contacts"))))
        return Section("people", self.say("Who helps me"), (), things)

    def warnings(self) -> Section:
        return Section("warnings", self.say("Allergies and warnings"), (), (*self.warned(), *(self.elsewhere(t) for j in self.joined for t in j.warned())), urgent=True)

    def warned(self) -> tuple[Thing, ...]:
        allergies = [self.allergy(r) for r in self.record if r.get("resourceType") == "AllergyIntolerance" and not over(r)]
        flags = [self.flag(r) for r in self.record if r.get("resourceType") == "Flag" and r.get("status") == "active" and flag_stands(r, self.today) != "over"]
        return (*allergies, *flags)

    def crisis(self) -> Section:
        """In force before what is not, the own before those that others sent, and these before those of another record."""
        own, others = crisis_plans(self.plan), self.of_others().crisis
        theirs = [self.elsewhere(t) for j in self.joined for t in (*(j.in_a_crisis(c) for c in crisis_plans(j.plan)), *(self.by_others(t) for t in j.of_others().crisis if not t.over))]
        now, not_now = ([*(self.in_a_crisis(c) for c in own if in_force(c) == holds), *(self.by_others(t) for t in others if t.over != holds)] for holds in (True, False))
        return Section("crisis", self.say("If things get worse"), (), (*now, *theirs, *not_now), urgent=True)

    def of_others(self) -> Beside:
        return beside(self.plan, self.record, say=self.say, day=self.day, today=self.today)

    def by_others(self, told: Told) -> Thing:
        """That it is no part of the plan."""
        return replace(told.thing, rows=(Row(self.say("Please note"), self.say("Others wrote this. It stands beside the plan.")), *told.thing.rows))

    def goals_of_others(self) -> Section:
        return Section("goals-of-others", self.say("Goals that others wrote down"), (), tuple(self.by_others(t) for t in self.of_others().goals))

    def needs(self) -> Section:
        return Section("needs", self.say("What I need help with"), (), tuple(self.need(n) for n in objects(self.plan.get("needs"))))

    def problems(self) -> Section:
        told = problems(self.plan, self.record, say=self.say, day=self.day, today=self.today)
        return Section("problems", self.say("Health problems that others wrote down"), (), tuple(t.thing for t in told))

    def findings(self) -> Section:
        told = findings(self.plan, self.record, say=self.say, day=self.day)
        return Section("findings", self.say("Assessments and answers that others wrote down"), (), tuple(t.thing for t in told))

    def goals(self) -> Section:
        return Section("goals", self.say("My goals"), (), tuple(self.goal(g) for g in objects(self.plan.get("goals"))))

    def actions(self) -> Section:
        return Section("actions", self.say("What we will do"), (), tuple(self.action(a) for a in objects(self.plan.get("actions"))))

    def medicines(self) -> Section:
        """What is taken now, in whichever record; what was stopped or changed, with why."""
        over, mine = {self.taken(how) for how in OVER}, self.listed()
        now, not_now = ([t for t in mine if (t.state in over) == ended] for ended in (False, True))
        theirs = [self.elsewhere(t) for j in self.joined for t in j.listed() if t.state not in over]
        return Section("medicines", self.say("My medicines"), (), (*now, *theirs, *not_now))

    def listed(self) -> list[Thing]:
        """Medicines by the plan, and what else the record has."""
        listed = of_record(in_names(self.record))
        says = by_name(told_by_record(r, self.say, self.today) for r in listed if own_identifier(r) is None)
        things = [self.medicine(m, otherwise(told(m, self.today), says)) for m in objects(self.plan.get("medicines")) if taken(m) != "a mistake"]
        by_status = [self.medicine({k: v for k, v in m.items() if k != "change"}) for m in objects(self.plan.get("medicines"))]
        known = {(t.text.casefold(), t.state) for t in (*things, *by_status)}  # what a change alone stopped is the same medicine in the record
        for r in listed:
            thing = self.medicine_of_record(r)
            things += [thing] if (thing.text.casefold(), thing.state) not in known else []  # one that is stopped is none that is taken
        return sorted(things, key=lambda t: t.text.casefold())

    def services(self) -> Section:
        return Section("services", self.say("Services I was referred to"), (), tuple(self.referral(r) for r in objects(self.plan.get("referrals"))))

    def thoughts(self) -> Section:
        """How it hangs together, what gets in the way, what could happen."""
        seen = [self.formulation(f) for f in objects(self.plan.get("formulations")) if f.get("text")]
        gets = [self.barrier(b) for b in objects(self.plan.get("barriers")) if b.get("text")]
        return Section("thoughts", self.say("How it hangs together"), (), (*seen, *gets, *(self.risk(r) for r in objects(self.plan.get("risks")))))

    def decided(self) -> Section:
        """What there was to choose from, and what was chosen: what was not stays on the paper."""
        return Section("decided", self.say("What we decided"), (), tuple(self.decision(d) for d in objects(self.plan.get("decisions"))))

    def wishes(self) -> Section:
        return Section("wishes", self.say("What I would have liked and could not get"), (), tuple(self.wish(u) for u in objects(self.plan.get("unmet_needs"))))

    def papers(self) -> Section:
        papers = (*objects(self.plan.get("additional_plans")), *objects(self.plan.get("documents")), *objects(self.plan.get("media")))
        return Section("papers", self.say("Other plans and papers"), (), (*(self.paper(p) for p in papers), *(self.by_others(t) for t in self.of_others().papers)))

    def paid(self) -> Section:
        return Section("money", self.say("Money for my care"), self.money())

    def how_agreed(self) -> Section:
        notes = self.notes()
        return Section("agreed", self.say("How we agreed this"), self.agreed(), (Thing("", lists=((self.say("Notes"), notes),)),) if notes else ())

    def also(self) -> Section:
        return Section("more", self.say("Also in my plan"), self.more())


__all__ = ["ABOUT", "NOT_PRINTED", "Booklet", "Row", "Say", "Section", "Thing", "basis", "booklet", "code", "right_to_left"]
