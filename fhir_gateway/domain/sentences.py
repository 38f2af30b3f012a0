"""Each thing of a plan in sentences: a goal, an action, an allergy, somebody who helps. What a booklet prints and a document tells is this,
once. Pure; nothing of it is markup. docs/printing.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from babel import Locale, UnknownLocaleError

from .alerts import flag_stands, is_unsure, none_known
from .in_force import crisis_state, has_left, how_it_went, in_time, is_done, is_key_worker, is_off, step_state, steps_of
from .medicines import (
    Taken,
    Told,
    concept_of,
    doses,
    forbidden,
    forbidden_again,
    in_doubt,
    is_not_to_be,
    period,
    taken,
    taken_by_record,
)
from .written_down import (
    UNSAID,
    Row,
    Say,
    Thing,
    an_object,
    as_written,
    coded,
    flat,
    in_words,
    lists_of,
    objects,
    rows_of,
    spaced,
    standing,
    texts,
    with_number,
)

Plan = Mapping[str, Any]
Record = Sequence[Mapping[str, Any]]

ABOUT: Final = (
    ("most_important", "What is most important to me"), ("people_important", "People who are important to me"),
    ("how_i_communicate", "How I communicate"), ("my_wellness", "My wellness"), ("please_do_and_dont", "Please do and please don't"),
    ("how_to_support", "How and when to support me"), ("also_worth_knowing", "Also worth knowing about me"),
)  # fmt: skip
ID: Final = re.compile(r"(?=\S*\d)\S+|[a-z]\w*[-_:./|]\S*")  # an id of the plan, which says nothing to a reader


def language_name(code: str, among: str = "en") -> str:
    """A language by its BCP 47 code, as the language `among` calls it; "" for an unknown one."""
    try:
        return str(Locale.parse(code.replace("-", "_")).get_language_name(among) or "")
    except (UnknownLocaleError, ValueError):
        return ""


@dataclass(frozen=True, slots=True)
class Sentences:
    """What is said of each thing of `plan`. `say` translates a sentence, `day` says a date; `own`: the reader is the person;
    `today`: what was over before is said to be."""

    plan: Plan
    record: Record = ()
    say: Say = as_written
    day: Say = str
    own: bool = False
    language: str = "en"  # of the sentences
    today: date | None = None

    def of(self, kind: str, item: Mapping[str, Any]) -> Thing:
        """The thing of the plan that is of this kind (`mappings/`), in sentences; whatever is of none that is known here, as it is written."""
        known = {
            "about-me": self.about, "need": self.need, "goal": self.goal, "stage-goal": self.goal, "action": self.action, "medicine": self.medicine,
            "referral": self.referral, "contingency": self.in_a_crisis, "formulation": self.formulation, "barrier": self.barrier, "risk": self.risk,
            "decision": self.decision, "unmet-need": self.wish, "additional-plan": self.paper, "document": self.paper, "media": self.paper,
            "contact": self.contact, "strength": self.strength, "plan": self.whole_plan, "measurement": self.measurement, "answers": self.answers,
            "wheel": self.wheel,
        }.get(kind, self.anything)  # fmt: skip
        return known(item)

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

    def who(self, person: Mapping[str, Any]) -> tuple[Row, ...]:
        """Who this is. Where they live, their phone and their email are not said: paper is lost."""
        name, gp = an_object(person.get("name")), an_object(person.get("gp"))
        language = str(person.get("language") or "")
        return rows_of(
            (self.say("Please call me"), name.get("preferred")),
            (self.say("Born"), self.day(person.get("birth_date") or "")),
            (self.say("NHS number"), spaced(str(person.get("nhs_number") or ""))),
            (self.say("My GP practice"), gp.get("name")),
            (self.say("My language"), "" if language.startswith("en") else language_name(language, self.language) or language),
            (self.say("Interpreter"), self.say("Yes, please bring one") if person.get("interpreter") is True else ""),
            (self.say("How to get in touch"), person.get("contact_preference")),
            (self.say("What makes it easier"), "\n".join(texts(person.get("adjustments")))),
        )

    def about(self, about: Mapping[str, Any]) -> Thing:
        rows = rows_of(*((self.say(label), about.get(key)) for key, label in ABOUT))
        return Thing("", "", rows, lists_of((self.say("Notes"), self.written(about) if rows else [])))

    def written(self, about: Mapping[str, Any]) -> list[str]:
        written = [self.say("Written on {on}").format(on=self.day(about["written_on"]))] if about.get("written_on") else []
        helped = [self.say("Helped to write it: {who}").format(who=self.name(about["supported_to_write_by"]))] if about.get("supported_to_write_by") else []
        return [*written, *helped]

    def strength(self, s: Mapping[str, Any]) -> Thing:
        return Thing(str(s.get("text") or coded(s.get("code")) or self.say("Something that is not described")))

    def member(self, m: Mapping[str, Any]) -> Thing:
        """Somebody of the team."""
        place = str(an_object(m.get("organisation")).get("name") or "")
        rows = rows_of((self.say("Role"), m.get("role")), (self.say("Where"), place if m.get("name") else ""), (self.say("Phone"), m.get("phone")), (self.say("Email"), m.get("email")), (self.say("Time"), self.span(m.get("since"), m.get("until"))))
        return Thing(str(m.get("name") or place or self.say("Somebody")), self.say("No longer in the team") if has_left(m, self.today) else self.say("Key worker") if is_key_worker(m, self.today) else "", rows)

    def contact(self, c: Mapping[str, Any]) -> Thing:
        also = [self.say(w) for k, w in (("carer", "carer"), ("next_of_kin", "next of kin")) if c.get(k) is True]
        rows = rows_of((self.say("Who they are"), ", ".join(t for t in (str(c.get("relationship") or ""), *also) if t)), (self.say("Phone"), c.get("phone")))
        return Thing(str(c.get("name") or self.say("Somebody")), self.say("Not to be contacted any more") if has_left(c, self.today) else "", rows)

    # -- what ---------------------------------------------------------------------------------------------------------

    def allergy(self, r: Mapping[str, Any]) -> Thing:
        """Of an AllergyIntolerance of the record."""
        high = self.say("Dangerous") if r.get("criticality") == "high" else ""
        reactions = objects(r.get("reaction"))
        signs = ", ".join(dict.fromkeys(t for x in reactions for m in objects(x.get("manifestation")) if (t := coded(m))))
        name = coded(r.get("code")) or ", ".join(t for x in reactions if (t := coded(x.get("substance")))) or self.say("An allergy that is not described")
        if none := none_known(r):
            return Thing(self.say(none), "", rows_of((self.say("Written down on"), self.day(r.get("recordedDate") or ""))))
        unsure = self.say("No, nobody has made sure") if is_unsure(r) else ""
        return Thing(self.say("Allergy: {what}").format(what=name), high, rows_of((self.say("Is it sure?"), unsure), (self.say("What happens"), signs), (self.say("Written down on"), self.day(r.get("recordedDate") or ""))))

    def flag(self, r: Mapping[str, Any]) -> Thing:
        return Thing(coded(r.get("code")) or self.say("A warning that is not described"), {"now": self.say("Please note"), "over": self.say("Over"), "not yet": self.say("Not yet")}[flag_stands(r, self.today)])

    def elsewhere(self, thing: Thing) -> Thing:
        """The same, of another record of the same person (`joined`)."""
        where = self.say("In another record about me") if self.own else self.say("In another record of this person")
        return replace(thing, rows=(Row(self.say("Where it is written"), where), *thing.rows))

    def more_than_once(self) -> str:
        """What a reader is told who sees anything of another record of the person."""
        mine = self.say("You are in our books more than once. Your allergies, warnings, medicines and plans for a crisis from there are here too.")
        theirs = self.say("This person is in our books more than once. What you may see of their other record is here too: allergies, warnings, medicines and plans for a crisis.")
        return mine if self.own else theirs

    def in_a_crisis(self, c: Mapping[str, Any]) -> Thing:
        ready = [f"{a.get('item', '')}: {a['where']}" if a.get("where") else str(a.get("item", "")) for a in objects(c.get("anticipatory"))]
        lists = lists_of(
            (self.say("What can set it off"), self.in_time(c, "trigger", "triggers")), (self.say("First signs"), self.in_time(c, "early warning", "early_warnings")),
            (self.say("What should happen"), self.in_time(c, "what should happen", "what_should_happen")),
            (self.say("Who to contact"), [self.reached(w) for w in texts(c.get("who_to_contact"))]),
            (self.say("What helps me cope"), self.in_time(c, "coping", "coping")), (self.say("Ready for this"), ready),
        )  # fmt: skip
        advance, known = an_object(c.get("advance")), {t for key in ("triggers", "early_warnings", "what_should_happen", "coping") for t in texts(c.get(key))}
        more = [str(d["text"]) for d in objects(c.get("details")) if d.get("text") and d["text"] not in known]
        rows = rows_of(
            (self.say("My wishes"), c.get("advance_statement")), (self.say("Made on"), self.day(advance.get("on") or "")),
            (self.say("Where"), "\n".join(str(advance[k]) for k in ("document", "where") if advance.get(k))),
        )  # fmt: skip
        return Thing(str(c.get("name") or self.say("If things get worse")), crisis_state(c, self.say), rows, (*lists, *lists_of((self.say("Notes"), more))))

    def in_time(self, c: Mapping[str, Any], part: str, key: str) -> list[str]:
        return in_time(c, part, list(texts(c.get(key))), self.span)

    def reached(self, id: str) -> str:
        """Whom to contact, with the number: whoever holds the paper need not look for it."""
        meant = next((m for k in ("team", "contacts") for m in objects(self.plan.get(k)) if m.get("id") == id), an_object(None))
        if has_left(meant, self.today):
            return self.say("{name}: not to be contacted any more").format(name=self.name(id))
        return with_number(self.name(id), str(meant["phone"])) if meant.get("phone") else self.name(id)

    def need(self, n: Mapping[str, Any]) -> Thing:
        return Thing(
            str(n.get("text") or coded(n.get("code")) or self.say("A need that is not described")), standing(n, self.say) if n.get("status_word") or n.get("status") != "active" else "",
            rows_of((self.say("Said by"), self.name(n.get("said_by"))), (self.say("Since"), self.day(n.get("since") or "")), (self.say("Also called"), coded(n.get("code")) if n.get("text") else "")),
        )  # fmt: skip

    def goal(self, g: Mapping[str, Any]) -> Thing:
        target = an_object(g.get("target"))
        aim = " ".join(str(target[k]) for k in ("value", "unit") if target.get(k) is not None).replace(" /", "/")
        what = f"{target['what']}: {aim}" if target.get("what") and aim else str(target.get("what") or aim)
        said = {"agree": self.say("agrees"), "disagree": self.say("does not agree"), "pending": self.say("has not said yet")}
        agreed = "\n".join(f"{self.name(a.get('by'))}: {said.get(str(a.get('status')), a.get('status'))}" for a in objects(g.get("agreed")))
        steps = [self.step(s) for s in steps_of(g)]
        happened = [self.dated(how_it_went(o, self.say), o.get("on"), o.get("by")) for o in objects(g.get("outcomes"))]
        notes = [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(g.get("notes"))]
        rows = rows_of(
            (self.say("How much it matters"), self.of_ten(g.get("importance"))), (self.say("The aim"), what), (self.say("By"), self.day(target.get("by") or "")),
            (self.say("Chosen by"), self.name(g.get("set_by"))), (self.say("What people think"), agreed), (self.say("Why"), g.get("status_reason")),
            (self.say("Look at it again"), self.day(g.get("review") or "")),
        )  # fmt: skip
        return Thing(str(g.get("text") or self.say("A goal that is not described")), standing(g, self.say), rows, lists_of((self.say("Steps on the way"), steps), (self.say("How it went"), happened), (self.say("Notes"), notes)))

    def step(self, s: Mapping[str, Any]) -> str:
        """With a box that is ticked or open; a step that was called off has none."""
        state, text = step_state(s, self.say), str(s.get("text", ""))
        box = "☑ " if is_done(s) else "" if is_off(s) else "☐ "
        return self.dated(f"{box}{text}: {state}" if state else f"{box}{text}", s.get("on"))

    def dated(self, text: str, on: Any, by: Any = None) -> str:
        more = ", ".join(t for t in (self.name(by), self.day(on or "")) if t)
        return f"{text} ({more})" if more else text

    def of_ten(self, n: Any) -> str:
        return "" if n is None else self.say("{n} out of 10").format(n=n)

    def action(self, a: Mapping[str, Any]) -> Thing:
        goals = {str(g.get("id")): str(g.get("text") or "") for g in objects(self.plan.get("goals"))}
        return Thing(
            forbidden_again(str(a.get("text") or ""), self.say) or self.say("Something that is not described"), standing(a, self.say),
            rows_of(
                (self.say("Who does it"), self.name(a.get("who"))), (self.say("When"), "\n".join(t for t in (str(a.get("when") or ""), self.span(a.get("from"), a.get("to"))) if t)),
                (self.say("Service"), an_object(a.get("service")).get("name")), (self.say("How sure I am"), self.of_ten(a.get("confidence"))),
                (self.say("What helps"), a.get("strategies")), (self.say("For the goal"), "\n".join(goals[g] for g in texts(a.get("goals")) if goals.get(g))),
                (self.say("Look at it again"), self.day(a.get("review") or "")),
            ),
            lists_of((self.say("Notes"), [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(a.get("notes"))])),
        )  # fmt: skip

    def span(self, start: Any, end: Any) -> str:
        if start and end:
            return self.say("from {start} to {end}").format(start=self.day(start), end=self.day(end))
        return self.say("from {start}").format(start=self.day(start)) if start else self.say("until {end}").format(end=self.day(end)) if end else ""

    def medicine(self, m: Mapping[str, Any], otherwise: Sequence[Told] = ()) -> Thing:
        """`otherwise`: what the record says otherwise of it."""
        change = an_object(m.get("change"))
        kinds = {"new": self.say("New"), "changed": self.say("Changed"), "unchanged": self.say("As before"), "stopped": self.say("Stopped"), "paused": self.say("Paused")}
        kind = str(change.get("kind") or "")
        changed = self.dated(kinds.get(kind, kind.capitalize()), change.get("on"), change.get("by")) if kind else ""
        rows = rows_of(
            (self.say("How to take it"), m.get("how")), (self.say("What for"), m.get("why")), (self.say("What changed"), "\n".join(t for t in (changed, str(change.get("what") or "")) if t)), (self.say("It was"), change.get("was")),
            (self.say("Why"), change.get("reason") or m.get("status_reason")), (self.say("When"), self.span(m.get("from"), m.get("to"))),
        )  # fmt: skip
        rows = (self.otherwise(otherwise), *rows) if otherwise else rows
        notes = [self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(m.get("notes"))]
        return Thing(str(m.get("text") or self.say("A medicine that is not described")), self.say("Taken or stopped: ask") if in_doubt(m, self.today) else self.taken(taken(m, self.today)), rows, lists_of((self.say("Notes"), notes)))

    def otherwise(self, said: Sequence[Told]) -> Row:
        """What the record says otherwise of a medicine of the plan (`medicines.otherwise`)."""
        return Row(self.say("The record says otherwise"), "\n".join(self._told(t) for t in said))

    def _told(self, t: Told) -> str:
        state = self.say("Not to be taken") if t.never else self.taken(t.taken) or self.say("Taken now")
        return "\n".join(s for s in (state, t.how if t.taken == "now" and not t.never else "", t.why) if s)

    def medicine_of_record(self, r: Mapping[str, Any]) -> Thing:
        """Of a MedicationStatement or MedicationRequest."""
        why = ", ".join(t for c in [*objects(r.get("statusReason")), an_object(r.get("statusReason"))] if (t := coded(c)))
        what = coded(concept_of(r)) or str(an_object(r.get("medicationReference")).get("display") or "") or self.say("A medicine that is not described")
        rows = rows_of((self.say("How to take it"), "\n".join(doses(r, self.say))), (self.say("What for"), ", ".join(t for c in objects(r.get("reasonCode")) if (t := coded(c)))), (self.say("Why"), why), (self.say("When"), self.span(*period(r))))
        state = self.say("Taken or stopped: ask") if in_doubt(r, self.today) else self.taken(taken_by_record(r, self.today))
        return Thing(self.not_to_be(what) if is_not_to_be(r) else what, state, rows)

    def not_to_be(self, what: str) -> str:
        return forbidden(what, self.say)

    def taken(self, how: Taken) -> str:
        """"" of what is taken now, and of a mistake, which nobody lists."""
        words = {"not yet": self.say("Not begun yet"), "paused": self.say("Paused"), "stopped": self.say("Stopped"), "finished": self.say("Finished"), "not taken": self.say("Not taken")}
        return words.get(how, "")


    def referral(self, r: Mapping[str, Any]) -> Thing:
        return Thing(
            str(r.get("text") or coded(r.get("code")) or self.say("Something that is not described")), standing(r, self.say),
            rows_of(
                (self.say("Service"), an_object(r.get("service")).get("name")), (self.say("Sent to"), self.name(r.get("sent_to"))), (self.say("Asked for by"), self.dated(self.name(r.get("sent_by")), r.get("on"))),
                (self.say("When"), self.span(r.get("from"), r.get("to"))), (self.say("Why"), r.get("status_reason")),
            ),
        )  # fmt: skip

    def formulation(self, f: Mapping[str, Any]) -> Thing:
        return Thing(str(f.get("text") or self.say("Something that is not described")), "", rows_of((self.say("Written on"), self.day(f.get("on") or ""))))

    def barrier(self, b: Mapping[str, Any]) -> Thing:
        return Thing(str(b.get("text") or self.say("Something that is not described")), self.say("Gets in the way"), rows_of((self.say("Said by"), self.name(b.get("said_by")))))

    def risk(self, r: Mapping[str, Any]) -> Thing:
        return Thing(str(r.get("of") or self.say("A risk that is not described")), str(r.get("tier") or ""), rows_of((self.say("Why"), r.get("reason")), (self.say("What helps"), r.get("what_helps")), (self.say("Said by"), self.dated(self.name(r.get("by")), r.get("on")))))

    def decision(self, d: Mapping[str, Any]) -> Thing:
        return Thing(
            str(d.get("question") or self.say("A decision that is not described")), "",
            rows_of((self.say("What mattered"), d.get("matters")), *(self.option(o) for o in objects(d.get("options"))), (self.say("Why"), d.get("why")), (self.say("Decided"), self.dated(self.name(d.get("with")), d.get("on")))),
        )  # fmt: skip

    def option(self, o: Mapping[str, Any]) -> tuple[str, str]:
        chosen = self.say("Chosen") if o.get("chosen") is True else self.say("Not chosen")
        said = "\n".join(f"{label}: {o[key]}" for label, key in ((self.say("For it"), "good"), (self.say("Against it"), "bad")) if o.get(key))
        return f"{o.get('text') or self.say('An option')} ({chosen})", said or chosen

    # -- around it ----------------------------------------------------------------------------------------------------

    def wish(self, u: Mapping[str, Any]) -> Thing:
        needs = {str(n.get("id")): str(n.get("text") or "") for n in objects(self.plan.get("needs"))}
        return Thing(str(u.get("wanted") or self.say("Something that is not described")), "", rows_of((self.say("Why not"), u.get("reason")), (self.say("For"), needs.get(str(u.get("need")))), (self.say("Said on"), self.day(u.get("on") or ""))))

    def paper(self, p: Mapping[str, Any]) -> Thing:
        return Thing(str(p.get("title") or self.say("A paper without a title")), "", rows_of((self.say("What it says"), p.get("text")), (self.say("Made on"), self.day(p.get("on") or "")), (self.say("Who keeps it"), self.name(p.get("held_by"))), (self.say("Where"), "\n".join(str(p[k]) for k in ("link", "where") if p.get(k)))))

    def money(self) -> tuple[Row, ...]:
        funding = an_object(self.plan.get("funding"))
        budget = an_object(funding.get("budget"))
        amount, currency = budget.get("amount"), str(budget.get("currency") or "")
        much = "" if amount is None else f"£{amount}" if currency == "GBP" else f"{amount} {currency}".strip()
        return rows_of((self.say("Where it comes from"), funding.get("source")), (self.say("Who pays"), an_object(funding.get("organisation")).get("name")), (self.say("How much"), much), (self.say("When"), self.span(budget.get("from"), budget.get("to"))))

    def agreed(self) -> tuple[Row, ...]:
        """Who agreed, when it is looked at again, who wrote it down."""
        review, written = an_object(self.plan.get("review")), an_object(self.plan.get("written"))
        agreed = "\n".join(self.dated(self.name(a.get("by")), a.get("on")) for a in objects(self.plan.get("agreement")))
        keeper = ", ".join(t for k, v in an_object(self.plan.get("responsible_organisation")).items() if k not in UNSAID and (t := flat(v)))
        return rows_of(
            (self.say("Responsible for this plan"), keeper), (self.say("Who agreed to this plan"), agreed), (self.say("Last looked at together"), self.day(self.plan.get("reviewed_on") or "")),
            (self.say("We look at it again"), self.day(review.get("next") or "")), (self.say("How often"), review.get("every")), (self.say("Who sees to that"), self.name(review.get("responsible"))),
            (self.say("Written down by"), self.dated(self.name(written.get("by")), written.get("on")) if written.get("by") else ""), (self.say("Where"), written.get("where")),
        )  # fmt: skip

    def notes(self) -> tuple[str, ...]:
        return tuple(self.dated(str(n.get("text") or ""), n.get("on"), n.get("by")) for n in objects(self.plan.get("notes")))

    def more(self) -> tuple[Row, ...]:
        """Whatever else the person's plan holds: nothing of theirs is left out for want of a place."""
        return tuple(Row(in_words(k), text) for k, v in self.plan.items() if k not in KNOWN | NOT_PRINTED and (text := flat(v)))

    def measurement(self, m: Mapping[str, Any]) -> Thing:
        much = " ".join(str(m[k]) for k in ("value", "unit") if m.get(k) not in (None, ""))
        return Thing(": ".join(t for t in (coded(m.get("what")), much) if t), "", rows_of((self.say("Written on"), self.day(m.get("on") or ""))))

    def answers(self, a: Mapping[str, Any]) -> Thing:
        """What was asked, by its text or else by its name, and what was answered."""
        rows = [Row(str(i.get("text") or i.get("id") or ""), flat(i["answer"])) for i in self.asked(a.get("items")) if flat(i.get("answer"))]
        more = rows_of((self.say("Written on"), self.day(a.get("on") or "")), (self.say("Said by"), self.name(a.get("by"))))
        return Thing(str(a.get("title") or a.get("questionnaire") or ""), "", (*rows, *more))

    def wheel(self, w: Mapping[str, Any]) -> Thing:
        """Each spoke: now, what it is to be, and why."""
        spokes = [(s, " → ".join(str(s[k]) for k in ("now", "next") if s.get(k) is not None)) for s in objects(w.get("spokes"))]
        rows = [Row(str(s.get("name") or ""), "\n".join(t for t in (much, str(s.get("why") or "")) if t)) for s, much in spokes]
        return Thing(str(w.get("title") or ""), "", (*rows, *rows_of((self.say("Written on"), self.day(w.get("on") or "")))))

    def asked(self, items: Any) -> list[Mapping[str, Any]]:
        return [x for i in objects(items) for x in (i, *self.asked(i.get("items")))]

    def whole_plan(self, plan: Mapping[str, Any]) -> Thing:
        """Of the plan itself, beside what hangs on it."""
        notes = self.notes()
        title = str(plan.get("title") or self.say("My care and support plan"))
        return Thing(title, standing(plan, self.say), (*self.money(), *self.agreed(), *self.more()), ((self.say("Notes"), notes),) if notes else ())

    def anything(self, item: Mapping[str, Any]) -> Thing:
        """What nobody has sentences for: its own words, then all that it says."""
        key = next((k for k in ("text", "title", "name", "what") if item.get(k) and flat(item[k])), "")
        rows = [Row(in_words(str(k)), t) for k, v in item.items() if k not in (key, "id") and (t := flat(v))]
        return Thing(flat(item.get(key)), "", tuple(rows))


NOT_PRINTED: Final = frozenset({"plan", "id", "status", "created", "answers", "measurements", "wheels"})
KNOWN: Final = frozenset(
    "title person about_me strengths needs goals actions contingency team contacts unmet_needs additional_plans documents funding agreement review written reviewed_on notes medicines referrals formulations barriers decisions risks media responsible_organisation".split()
)


__all__ = ["ABOUT", "KNOWN", "NOT_PRINTED", "Plan", "Record", "Say", "Sentences"]
