"""What others found and wrote down as FHIR beside a plan: health problems, assessments that are finished, answers to questions. Pure.

Condition, Task and QuestionnaireResponse that no plan of ours made and that the plan does not hold, each in sentences, once for page, paper and document.
https://hl7.org/fhir/R4/condition.html, https://hl7.org/fhir/R4/questionnaireresponse.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from .follow_ups import asked_by
from .in_force import is_past, is_to_come
from .mapping.codecs import person_name
from .mapping.foreign import asks_membership, verified
from .mapping.names import BASE, own_identifier
from .written_down import Row, Say, Thing, an_object, as_written, coded, objects, rows_of

Resource = Mapping[str, Any]
Day = Callable[[Any], str]
TYPES: Final = frozenset({"Condition", "Task", "QuestionnaireResponse"})
FINISHED: Final[Mapping[str, frozenset[str]]] = {"Task": frozenset({"completed"}), "QuestionnaireResponse": frozenset({"completed", "amended"})}
OUR_FORMS: Final = f"{BASE}/Questionnaire/"
GONE: Final = frozenset({"inactive", "resolved", "remission"})  # of `clinicalStatus`
UNSURE: Final = frozenset({"unconfirmed", "provisional", "differential"})
SOURCE: Final = "/Source"  # the end of the system of the tag by which the shared care record says who keeps it
ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
WHO: Final = frozenset({"Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization"})
DEEPEST: Final = 20  # questions within questions


def is_of_others(r: Resource) -> bool:
    """Whether this is such a problem, a task that is finished and says by a code what it was, or answers that were finished and are of no form of ours."""
    type = str(r.get("resourceType"))
    if type not in TYPES or own_identifier(r) is not None:
        return False
    if type == "Condition":
        return "entered-in-error" not in verified(r)
    if r.get("status") not in FINISHED[type]:
        return False
    if type == "Task":
        return bool(coded(r.get("code"))) and not asks_membership(r) and asked_by(r) is None
    return not str(r.get("questionnaire") or "").startswith(OUR_FORMS)


@dataclass(frozen=True, slots=True)
class Told:
    """One of them: the resource, in sentences, and whether it is over."""

    resource: Resource
    thing: Thing
    over: bool = False


def problems(plan: Resource, record: Iterable[Resource], *, say: Say = as_written, day: Day = str, today: date | None = None) -> tuple[Told, ...]:
    """Conditions of others that the plan does not name already: those that are so now first, the newest of them first."""
    held = list(record)
    needs = objects(plan.get("needs"))
    ids = {str(n.get("id")) for n in needs}
    named = {t.casefold() for n in needs for t in (str(n.get("text") or ""), coded(n.get("code"))) if t}
    codes = {(c.get("system"), c.get("code")) for n in needs if (c := an_object(n.get("code"))).get("code")}
    words = InWords(named_in(held), say, day, today)
    found = [r for r in held if r.get("resourceType") == "Condition" and is_of_others(r) and str(r.get("id")) not in ids]
    new = [r for r in found if coded(r.get("code")).casefold() not in named and codes.isdisjoint((c.get("system"), c.get("code")) for c in objects(an_object(r.get("code")).get("coding")))]
    told = [Told(r, words.problem(r), bool(words.gone(r))) for r in sorted(new, key=_when, reverse=True)]
    return tuple(sorted(told, key=lambda t: t.over))


def findings(plan: Resource, record: Iterable[Resource], *, say: Say = as_written, day: Day = str) -> tuple[Told, ...]:
    """Assessments and answers of others, the newest first."""
    held = list(record)
    ids = {str(a.get("id")) for a in objects(plan.get("actions"))}
    words = InWords(named_in(held), say, day)
    found = [r for r in held if r.get("resourceType") != "Condition" and is_of_others(r) and not (r.get("resourceType") == "Task" and str(r.get("id")) in ids)]
    return tuple(Told(r, words.finding(r)) for r in sorted(found, key=_when, reverse=True))


def named_in(record: Iterable[Resource]) -> dict[str, Resource]:
    """Whoever of these can have said or done something, by reference."""
    return {f"{r['resourceType']}/{r.get('id')}": r for r in record if r.get("resourceType") in WHO}


def _when(r: Resource) -> str:
    """When it was said, or so."""
    keys = ("recordedDate", "onsetDateTime", "authored", "lastModified", "authoredOn")
    return next((str(r[k]) for k in keys if r.get(k)), "")


@dataclass(frozen=True, slots=True)
class InWords:
    """`people`: those who are referred to, as of `named_in`. `say` translates a sentence, `day` says a date."""

    people: Mapping[str, Resource]
    say: Say = as_written
    day: Day = str
    today: date | None = None

    def of(self, r: Resource) -> Thing:
        return self.problem(r) if r.get("resourceType") == "Condition" else self.finding(r)

    def problem(self, r: Resource) -> Thing:
        unsure = self.say("No, nobody has made sure") if verified(r) & UNSURE else ""
        began = an_object(r.get("onsetPeriod"))
        rows = rows_of(
            (self.say("Said by"), self.who(r, "asserter", "recorder")), (self.say("Written down on"), self.day(r.get("recordedDate") or "")),
            (self.say("Since"), self.day(r.get("onsetDateTime") or began.get("start") or "") or r.get("onsetString")), (self.say("Until"), self.day(self._end(r) or "")),
            (self.say("Is it sure?"), unsure), (self.say("Also called"), self._other_name(r)), (self.say("Notes"), "\n".join(str(n["text"]) for n in objects(r.get("note")) if n.get("text"))),
        )  # fmt: skip
        return Thing(coded(r.get("code")) or self.say("A health problem that is not described"), self.gone(r), rows)

    def gone(self, r: Resource) -> str:
        """Why this does not hold now; "" where it does, or nobody says."""
        if "refuted" in verified(r):
            return self.say("Ruled out")
        codes = {str(c.get("code")) for c in objects(an_object(r.get("clinicalStatus")).get("coding"))}
        if codes & GONE or r.get("abatementString") or r.get("abatementAge") or is_past(self._end(r), self.today):
            return self.say("Over")
        return self.say("Not yet") if is_to_come(r.get("onsetDateTime"), self.today) else ""

    def finding(self, r: Resource) -> Thing:
        if r.get("resourceType") == "Task":
            period = an_object(r.get("executionPeriod"))
            done = self.day(period.get("end") or r.get("lastModified") or "")
            rows = rows_of((self.say("Who did it"), self.who(r, "owner")), (self.say("Finished on"), done), (self.say("What came of it"), "\n".join(self._outcome(r))))
            return Thing(coded(r.get("code")), self.say("Done"), rows)
        said = rows_of((self.say("Asked by"), self.who(r, "author")), (self.say("Answered on"), self.day(r.get("authored") or "")))
        title = next((str(e["valueString"]) for e in objects(an_object(r.get("_questionnaire")).get("extension")) if e.get("valueString")), "")
        return Thing(title or self.say("Answers to questions"), "", (*said, *self._asked(r.get("item"))))

    # -- who, and what ------------------------------------------------------------------------------------------------

    def who(self, r: Resource, *elements: str) -> str:
        """Whoever the first of these names; else the source that keeps it, where its tag says so."""
        for reference in (an_object(r.get(e)) for e in elements):
            if name := str(reference.get("display") or "") or self._named(str(reference.get("reference") or "")):
                return name
        tags = objects(an_object(r.get("meta")).get("tag"))
        return next((str(t["display"]) for t in tags if str(t.get("system", "")).endswith(SOURCE) and t.get("display")), "")

    def _named(self, ref: str) -> str:
        found = self.people.get(ref, an_object(None))
        name = found.get("name")
        return name if isinstance(name, str) else person_name(found) or str(an_object(found.get("practitioner")).get("display") or "")

    def _other_name(self, r: Resource) -> str:
        names = [str(c["display"]) for c in objects(an_object(r.get("code")).get("coding")) if c.get("display")]
        return ", ".join(n for n in dict.fromkeys(names) if n != coded(r.get("code")))

    def _end(self, r: Resource) -> Any:
        return r.get("abatementDateTime") or an_object(r.get("abatementPeriod")).get("end")

    def _outcome(self, r: Resource) -> Iterator[str]:
        """What the task itself says came of it, and by the extension of an assessment."""
        outputs = [v for o in objects(r.get("output")) for k, v in o.items() if k in ("valueString", "valueCodeableConcept")]
        more = [e.get("valueCodeableConcept") for e in objects(r.get("extension")) if str(e.get("url", "")).endswith("Outcome")]
        yield from dict.fromkeys(t for v in (*more, *outputs, r.get("businessStatus")) if (t := v if isinstance(v, str) else coded(v)))

    def _asked(self, items: Any, depth: int = 0) -> Iterator[Row]:
        """Each question that was answered, in its own words, with the answer; those within it after it."""
        for item in objects(items) if depth < DEEPEST else ():
            answers = objects(item.get("answer"))
            said = "\n".join(t for a in answers if (t := self._answer(a)))
            if said:
                yield Row(str(item.get("text") or item.get("linkId") or ""), said)
            for below in (item.get("item"), *(a.get("item") for a in answers)):
                yield from self._asked(below, depth + 1)

    def _answer(self, answer: Resource) -> str:
        key = next((k for k in answer if k.startswith("value")), "")
        value = answer.get(key)
        if isinstance(value, bool):
            return self.say("Yes") if value else self.say("No")
        if key in ("valueDate", "valueDateTime"):
            return self.day(value)
        if key == "valueQuantity":
            amount = an_object(value)
            return " ".join(str(t) for t in (amount.get("comparator"), amount.get("value"), amount.get("unit")) if t is not None)
        if isinstance(value, Mapping):
            return str(value.get("display") or value.get("title") or value.get("code") or "")
        absent = any(e.get("url") == ABSENT for e in objects(answer.get("extension")))
        return str(value) if value is not None else self.say("Not answered") if absent else ""


__all__ = ["TYPES", "InWords", "Told", "findings", "is_of_others", "named_in", "problems"]
