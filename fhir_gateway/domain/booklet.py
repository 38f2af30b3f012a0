"""A plan as a booklet of paper: which parts it has, in which order, in which words. Pure; nothing of it is markup.

Everything comes from what one reader may see; a part without anything to show is left out, and nothing says so. Readings and answers to
questionnaires are not printed: they are other by tomorrow. docs/printing.md
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from babel import Locale, UnknownLocaleError

from . import strict
from .written_down import Row, Thing, an_object, coded, flat, in_words, lists_of, objects, over, rows_of, spaced, standing, texts

Say = Callable[[str], str]
Plan = Mapping[str, Any]
Record = Sequence[Mapping[str, Any]]

NOT_PRINTED: Final = frozenset({"plan", "id", "status", "created", "answers", "measurements", "wheels"})
ALSO: Final = frozenset({"AllergyIntolerance", "Flag", "MedicationStatement", "MedicationRequest"})  # printed beside what the plan's own format has
ABOUT: Final = (
    ("most_important", "What is most important to me"), ("people_important", "People who are important to me"),
    ("how_i_communicate", "How I communicate"), ("my_wellness", "My wellness"), ("please_do_and_dont", "Please do and please don't"),
    ("how_to_support", "How and when to support me"), ("also_worth_knowing", "Also worth knowing about me"),
)  # fmt: skip
ID: Final = re.compile(r"(?=\S*\d)\S+|[a-z]\w*[-_:./|]\S*")  # an id of the plan, which says nothing to a reader
RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})


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
    """What is printed. `large`: the person asked for large print."""

    title: str
    name: str
    sections: tuple[Section, ...]
    large: bool = False


def basis(plan: Plan, record: Record) -> str:
    """Names what is printed, by its content: another name where anything on the paper would be other."""
    more = sorted(strict.dump(_bare(r)) for r in record if r.get("resourceType") in ALSO)
    kept = {k: v for k, v in plan.items() if k not in NOT_PRINTED}
    return sha256(strict.dump(_sorted(kept)) + b"".join(more)).hexdigest()[:32]


def code(digest: str) -> str:
    """`7F3A-21C8`: enough of a version's name to hold two papers beside each other."""
    return f"{digest[:4]}-{digest[4:8]}".upper()


def right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs from right to left."""
    return next((unicodedata.bidirectional(c) in RIGHT_TO_LEFT for c in text if unicodedata.bidirectional(c) in ("L", *RIGHT_TO_LEFT)), False)


def language_name(code: str) -> str:
    """A language by its BCP 47 code, in English; "" for an unknown one."""
    try:
        return str(Locale.parse(code.replace("-", "_")).get_language_name("en") or "")
    except (UnknownLocaleError, ValueError):
        return ""


def booklet(plan: Plan, record: Record, *, say: Say = lambda t: t, day: Say = str, own: bool = True) -> Booklet:
    """The plan as printed. `say` translates a sentence, `day` says a date; `own`: the reader is the person."""
    return _Making(plan, record, say, day, own).whole()


def _bare(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in _sorted(resource).items() if k not in ("meta", "text", "id")}


def _sorted(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: _sorted(node[k]) for k in sorted(node)}
    return [_sorted(n) for n in node] if isinstance(node, list) else node


@dataclass(frozen=True, slots=True)
class _Making:
    plan: Plan
    record: Record
    say: Say
    day: Say
    own: bool

    def whole(self) -> Booklet:
        person = an_object(self.plan.get("person"))
        sections = (
            self.details(person), self.warnings(), self.about(), self.crisis(), self.needs(), self.goals(), self.actions(), self.medicines(),
            self.services(), self.people(), self.wishes(), self.thoughts(), self.decided(), self.papers(), self.money(), self.agreed(), self.more(),
        )  # fmt: skip
        large = any("large print" in t.lower() for t in texts(person.get("adjustments")))
        title = str(self.plan.get("title") or self.say("My care and support plan"))
        return Booklet(title, self.full_name(person), tuple(s for s in sections if s.rows or s.things or s.words), large and self.own)

    # -- who ----------------------------------------------------------------------------------------------------------

    def full_name(self, person: Mapping[str, Any]) -> str:
        name = person.get("name")
        if isinstance(name, str):
            return name
        name = an_object(name)
        return " ".join(t for t in (*texts(name.get("given")), str(name.get("family") or "")) if t)

    def name(self, id: Any) -> str:
        """Whoever the plan means: the person, somebody of the team or the contacts, or as the plan writes it."""
        key = str(id or "")
        if key == "person":
            return self.say("Me") if self.own else self.full_name(an_object(self.plan.get("person")))
        for k, what in (("team", "role"), ("contacts", "relationship")):
            for m in objects(self.plan.get(k)):
                if m.get("id") == key:
                    return str(m.get("name") or self.say("Somebody")) + (f" ({m[what]})" if m.get(what) else "")
        return self.say("Somebody") if ID.fullmatch(key) else key

    def details(self, person: Mapping[str, Any]) -> Section:
        name, gp = an_object(person.get("name")), an_object(person.get("gp"))
        language = str(person.get("language") or "")
        rows = rows_of(
            (self.say("Please call me"), name.get("preferred")),
            (self.say("Born"), self.day(person.get("birth_date") or "")),
            (self.say("NHS number"), spaced(str(person.get("nhs_number") or ""))),
            (self.say("My GP practice"), gp.get("name")),
            (self.say("My language"), "" if language.startswith("en") else language_name(language) or language),
            (self.say("Interpreter"), self.say("Yes, please bring one") if person.get("interpreter") is True else ""),
            (self.say("How to get in touch"), person.get("contact_preference")),
            (self.say("What makes it easier"), "\n".join(texts(person.get("adjustments")))),
        )
        return Section("details", self.say("About this person") if not self.own else self.say("My details"), rows)

    def about(self) -> Section:
        about = an_object(self.plan.get("about_me"))
        rows = rows_of(*((self.say(label), about.get(key)) for key, label in ABOUT))
        written = [self.say("Written on {on}").format(on=self.day(about["written_on"]))] if about.get("written_on") and rows else []
        helped = [self.say("Helped to write it: {who}").format(who=self.name(about["supported_to_write_by"]))] if about.get("supported_to_write_by") and rows else []
        strengths = tuple(str(s["text"]) for s in objects(self.plan.get("strengths")) if s.get("text"))
        things = (Thing("", lists=((self.say("What I am good at"), strengths),)),) if strengths else ()
        return Section("about", self.say("What matters to me"), rows, things, tuple((*written, *helped)))

    def people(self) -> Section:
        things = []
        for m in objects(self.plan.get("team")):
            place = str(an_object(m.get("organisation")).get("name") or "")
            rows = rows_of((self.say("Role"), m.get("role")), (self.say("Where"), place if m.get("name") else ""), (self.say("Phone"), m.get("phone")), (self.say("Email"), m.get("email")))
            things.append(Thing(str(m.get("name") or place or self.say("Somebody")), self.say("Key worker") if m.get("key_worker") else "", rows))
        for c in objects(self.plan.get("contacts")):
            also = [self.say(w) for k, w in (("carer", "carer"), ("next_of_kin", "next of kin")) if c.get(k) is True]
            rows = rows_of((self.say("Who they are"), ", ".join(t for t in (str(c.get("relationship") or ""), *also) if t)), (self.say("Phone"), c.get("phone")))
            things.append(Thing(str(c.get("name") or self.say("Somebody")), "", rows))
        return Section("people", self.say("Who helps me"), (), tuple(things))

    # -- what ---------------------------------------------------------------------------------------------------------

    def warnings(self) -> Section:
        things = []
        for r in self.record:
            if r.get("resourceType") == "AllergyIntolerance" and not over(r):
                high = self.say("Dangerous") if r.get("criticality") == "high" else ""
                reactions = objects(r.get("reaction"))
                signs = ", ".join(dict.fromkeys(t for x in reactions for m in objects(x.get("manifestation")) if (t := coded(m))))
                name = coded(r.get("code")) or ", ".join(t for x in reactions if (t := coded(x.get("substance")))) or self.say("An allergy that is not described")
                things.append(Thing(self.say("Allergy: {what}").format(what=name), high, rows_of((self.say("What happens"), signs), (self.say("Written down on"), self.day(r.get("recordedDate") or "")))))
        for r in self.record:
            if r.get("resourceType") == "Flag" and r.get("status") == "active":
                things.append(Thing(coded(r.get("code")) or self.say("A warning that is not described"), self.say("Please note")))
        return Section("warnings", self.say("Allergies and warnings"), (), tuple(things), urgent=True)

    def crisis(self) -> Section:
        things = []
        for c in objects(self.plan.get("contingency")):
            ready = [f"{a.get('item', '')}: {a['where']}" if a.get("where") else str(a.get("item", "")) for a in objects(c.get("anticipatory"))]
            lists = lists_of(
                (self.say("What can set it off"), texts(c.get("triggers"))), (self.say("First signs"), texts(c.get("early_warnings"))),
                (self.say("What should happen"), texts(c.get("what_should_happen"))),
                (self.say("Who to contact"), [self.reached(w) for w in texts(c.get("who_to_contact"))]),
                (self.say("What helps me cope"), texts(c.get("coping"))), (self.say("Ready for this"), ready),
            )  # fmt: skip
            things.append(Thing(str(c.get("name") or self.say("If things get worse")), "", rows_of((self.say("My wishes"), c.get("advance_statement"))), lists))
        return Section("crisis", self.say("If things get worse"), (), tuple(things), urgent=True)

    def reached(self, id: str) -> str:
        """Whom to contact, with the number: whoever holds the paper need not look for it."""
        phone = next((m["phone"] for k in ("team", "contacts") for m in objects(self.plan.get(k)) if m.get("id") == id and m.get("phone")), "")
        return f"{self.name(id)}, {phone}" if phone else self.name(id)

    def needs(self) -> Section:
        things = tuple(
            Thing(
                str(n.get("text") or coded(n.get("code")) or self.say("A need that is not described")), str(n.get("status_word") or ""),
                rows_of((self.say("Said by"), self.name(n.get("said_by"))), (self.say("Since"), self.day(n.get("since") or "")), (self.say("Also called"), coded(n.get("code")) if n.get("text") else "")),
            ) for n in objects(self.plan.get("needs"))
        )  # fmt: skip
        return Section("needs", self.say("What I need help with"), (), things)

    def goals(self) -> Section:
        return Section("goals", self.say("My goals"), (), tuple(self.goal(g) for g in objects(self.plan.get("goals"))))

    def goal(self, g: Mapping[str, Any]) -> Thing:
        target = an_object(g.get("target"))
        aim = " ".join(str(target[k]) for k in ("value", "unit") if target.get(k) is not None).replace(" /", "/")
        what = f"{target['what']}: {aim}" if target.get("what") and aim else str(target.get("what") or aim)
        said = {"agree": self.say("agrees"), "disagree": self.say("does not agree")}
        agreed = "\n".join(f"{self.name(a.get('by'))}: {said.get(str(a.get('status')), a.get('status'))}" for a in objects(g.get("agreed")))
        steps = [self.dated(f"{'☑' if s.get('status') in ('done', 'completed') else '☐'} {s.get('text', '')}", s.get("on")) for s in objects(g.get("stage_goals"))]
        happened = [self.dated(str(o.get("text") or o.get("result") or ""), o.get("on"), o.get("by")) for o in objects(g.get("outcomes"))]
        notes = [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(g.get("notes"))]
        rows = rows_of(
            (self.say("How much it matters"), self.of_ten(g.get("importance"))), (self.say("The aim"), what), (self.say("By"), self.day(target.get("by") or "")),
            (self.say("Chosen by"), self.name(g.get("set_by"))), (self.say("What people think"), agreed), (self.say("Why"), g.get("status_reason")),
            (self.say("Look at it again"), self.day(g.get("review") or "")),
        )  # fmt: skip
        return Thing(str(g.get("text") or self.say("A goal that is not described")), standing(g), rows, lists_of((self.say("Steps on the way"), steps), (self.say("How it went"), happened), (self.say("Notes"), notes)))

    def dated(self, text: str, on: Any, by: Any = None) -> str:
        more = ", ".join(t for t in (self.name(by), self.day(on or "")) if t)
        return f"{text} ({more})" if more else text

    def of_ten(self, n: Any) -> str:
        return "" if n is None else self.say("{n} out of 10").format(n=n)

    def actions(self) -> Section:
        goals = {str(g.get("id")): str(g.get("text") or "") for g in objects(self.plan.get("goals"))}
        things = tuple(
            Thing(
                str(a.get("text") or self.say("Something that is not described")), standing(a),
                rows_of(
                    (self.say("Who does it"), self.name(a.get("who"))), (self.say("When"), "\n".join(t for t in (str(a.get("when") or ""), self.span(a.get("from"), a.get("to"))) if t)),
                    (self.say("Service"), an_object(a.get("service")).get("name")), (self.say("How sure I am"), self.of_ten(a.get("confidence"))),
                    (self.say("What helps"), a.get("strategies")), (self.say("For the goal"), "\n".join(goals[g] for g in texts(a.get("goals")) if goals.get(g))),
                    (self.say("Look at it again"), self.day(a.get("review") or "")),
                ),
                lists_of((self.say("Notes"), [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(a.get("notes"))])),
            ) for a in objects(self.plan.get("actions"))
        )  # fmt: skip
        return Section("actions", self.say("What we will do"), (), things)

    def span(self, start: Any, end: Any) -> str:
        if start and end:
            return self.say("from {start} to {end}").format(start=self.day(start), end=self.day(end))
        return self.say("from {start}").format(start=self.day(start)) if start else self.say("until {end}").format(end=self.day(end)) if end else ""

    def medicines(self) -> Section:
        """What is taken now; what was stopped or changed, with why. By the plan, and what else the record has."""
        things = [self.medicine(m) for m in objects(self.plan.get("medicines"))]
        known = {(t.text.casefold(), t.state) for t in things}
        for r in self.record:
            if r.get("resourceType") in ("MedicationStatement", "MedicationRequest") and r.get("status") not in ("entered-in-error", "draft", "cancelled"):
                doses = [str(d["text"]) for d in objects(r.get("dosage") or r.get("dosageInstruction")) if d.get("text")]
                why = ", ".join(t for c in [*objects(r.get("statusReason")), an_object(r.get("statusReason"))] if (t := coded(c)))
                what = coded(r.get("medicationCodeableConcept")) or str(an_object(r.get("medicationReference")).get("display") or "") or self.say("A medicine that is not described")
                rows = rows_of((self.say("How to take it"), "\n".join(doses)), (self.say("What for"), ", ".join(t for c in objects(r.get("reasonCode")) if (t := coded(c)))), (self.say("Why"), why))
                state = self.taken(r.get("status"))
                things += [Thing(what, state, rows)] if (what.casefold(), state) not in known else []  # one that is stopped is none that is taken
        return Section("medicines", self.say("My medicines"), (), tuple(sorted(things, key=lambda t: (t.state == self.say("Stopped"), t.text.casefold()))))

    def medicine(self, m: Mapping[str, Any]) -> Thing:
        change = an_object(m.get("change"))
        changed = self.dated(str(change.get("kind") or "").capitalize(), change.get("on"), change.get("by")) if change.get("kind") else ""
        rows = rows_of(
            (self.say("How to take it"), m.get("how")), (self.say("What for"), m.get("why")), (self.say("What changed"), "\n".join(t for t in (changed, str(change.get("what") or "")) if t)), (self.say("It was"), change.get("was")),
            (self.say("Why"), change.get("reason") or m.get("status_reason")), (self.say("When"), self.span(m.get("from"), m.get("to"))),
        )  # fmt: skip
        notes = [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(m.get("notes"))]
        return Thing(str(m.get("text") or self.say("A medicine that is not described")), self.taken(m.get("status")), rows, lists_of((self.say("Notes"), notes)))

    def taken(self, status: Any) -> str:
        return self.say("Stopped") if status in ("stopped", "completed", "not-taken", "not taken", "done") else self.say("Paused") if status in ("on-hold", "on hold", "paused") else ""

    def services(self) -> Section:
        things = tuple(
            Thing(
                str(r.get("text") or coded(r.get("code")) or self.say("Something that is not described")), standing(r),
                rows_of(
                    (self.say("Service"), an_object(r.get("service")).get("name")), (self.say("Sent to"), self.name(r.get("sent_to"))), (self.say("Asked for by"), self.dated(self.name(r.get("sent_by")), r.get("on"))),
                    (self.say("When"), self.span(r.get("from"), r.get("to"))), (self.say("Why"), r.get("status_reason")),
                ),
            ) for r in objects(self.plan.get("referrals"))
        )  # fmt: skip
        return Section("services", self.say("Services I was referred to"), (), things)

    def thoughts(self) -> Section:
        """How it hangs together, what gets in the way, what could happen."""
        seen = [Thing(str(f["text"]), "", rows_of((self.say("Written on"), self.day(f.get("on") or "")))) for f in objects(self.plan.get("formulations")) if f.get("text")]
        gets = [Thing(str(b["text"]), self.say("Gets in the way"), rows_of((self.say("Said by"), self.name(b.get("said_by"))))) for b in objects(self.plan.get("barriers")) if b.get("text")]
        risks = [
            Thing(str(r.get("of") or self.say("A risk that is not described")), str(r.get("tier") or ""), rows_of((self.say("Why"), r.get("reason")), (self.say("What helps"), r.get("what_helps")), (self.say("Said by"), self.dated(self.name(r.get("by")), r.get("on")))))
            for r in objects(self.plan.get("risks"))
        ]
        return Section("thoughts", self.say("How it hangs together"), (), (*seen, *gets, *risks))

    def decided(self) -> Section:
        """What there was to choose from, and what was chosen: what was not stays on the paper."""
        things = tuple(
            Thing(
                str(d.get("question") or self.say("A decision that is not described")), "",
                rows_of((self.say("What mattered"), d.get("matters")), *(self.option(o) for o in objects(d.get("options"))), (self.say("Why"), d.get("why")), (self.say("Decided"), self.dated(self.name(d.get("with")), d.get("on")))),
            ) for d in objects(self.plan.get("decisions"))
        )  # fmt: skip
        return Section("decided", self.say("What we decided"), (), things)

    def option(self, o: Mapping[str, Any]) -> tuple[str, str]:
        chosen = self.say("Chosen") if o.get("chosen") is True else self.say("Not chosen")
        said = "\n".join(f"{label}: {o[key]}" for label, key in ((self.say("For it"), "good"), (self.say("Against it"), "bad")) if o.get(key))
        return f"{o.get('text') or self.say('An option')} ({chosen})", said or chosen

    # -- around it ----------------------------------------------------------------------------------------------------

    def wishes(self) -> Section:
        needs = {str(n.get("id")): str(n.get("text") or "") for n in objects(self.plan.get("needs"))}
        things = tuple(
            Thing(str(u.get("wanted") or self.say("Something that is not described")), "", rows_of((self.say("Why not"), u.get("reason")), (self.say("For"), needs.get(str(u.get("need")))), (self.say("Said on"), self.day(u.get("on") or ""))))
            for u in objects(self.plan.get("unmet_needs"))
        )
        return Section("wishes", self.say("What I would have liked and could not get"), (), things)

    def papers(self) -> Section:
        things = tuple(
            Thing(str(p.get("title") or self.say("A paper without a title")), "", rows_of((self.say("What it says"), p.get("text")), (self.say("Made on"), self.day(p.get("on") or "")), (self.say("Who keeps it"), self.name(p.get("held_by"))), (self.say("Where"), "\n".join(str(p[k]) for k in ("link", "where") if p.get(k)))))
            for p in (*objects(self.plan.get("additional_plans")), *objects(self.plan.get("documents")), *objects(self.plan.get("media")))
        )
        return Section("papers", self.say("Other plans and papers"), (), things)

    def money(self) -> Section:
        funding = an_object(self.plan.get("funding"))
        budget = an_object(funding.get("budget"))
        amount, currency = budget.get("amount"), str(budget.get("currency") or "")
        much = "" if amount is None else f"£{amount}" if currency == "GBP" else f"{amount} {currency}".strip()
        rows = rows_of((self.say("Where it comes from"), funding.get("source")), (self.say("Who pays"), an_object(funding.get("organisation")).get("name")), (self.say("How much"), much), (self.say("When"), self.span(budget.get("from"), budget.get("to"))))
        return Section("money", self.say("Money for my care"), rows)

    def agreed(self) -> Section:
        review, written = an_object(self.plan.get("review")), an_object(self.plan.get("written"))
        agreed = "\n".join(self.dated(self.name(a.get("by")), a.get("on")) for a in objects(self.plan.get("agreement")))
        notes = [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(self.plan.get("notes"))]
        rows = rows_of(
            (self.say("Who agreed to this plan"), agreed), (self.say("Last looked at together"), self.day(self.plan.get("reviewed_on") or "")),
            (self.say("We look at it again"), self.day(review.get("next") or "")), (self.say("How often"), review.get("every")), (self.say("Who sees to that"), self.name(review.get("responsible"))),
            (self.say("Written down by"), self.dated(self.name(written.get("by")), written.get("on")) if written.get("by") else ""), (self.say("Where"), written.get("where")),
        )  # fmt: skip
        return Section("agreed", self.say("How we agreed this"), rows, (Thing("", lists=((self.say("Notes"), tuple(notes)),)),) if notes else ())

    def more(self) -> Section:
        """Whatever else the person's plan holds: nothing of theirs is left out for want of a place."""
        rows = [Row(in_words(k), text) for k, v in self.plan.items() if k not in KNOWN | NOT_PRINTED and (text := flat(v))]
        return Section("more", self.say("Also in my plan"), tuple(rows))


KNOWN: Final = frozenset(
    "title person about_me strengths needs goals actions contingency team contacts unmet_needs additional_plans documents funding agreement review written reviewed_on notes medicines referrals formulations barriers decisions risks media".split()
)


__all__ = ["Booklet", "Row", "Section", "Thing", "basis", "booklet", "code", "right_to_left"]
