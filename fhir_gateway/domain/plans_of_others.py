"""Plans for a crisis, other plans, papers for an emergency and goals that others sent as FHIR, and that the plan does not hold. Pure.

CarePlan, DocumentReference and Goal that no plan of ours made, each in sentences, once for page, paper and document. They stand beside what the plan itself
has of the kind, and are never in its place. https://hl7.org/fhir/R4/careplan.html, https://hl7.org/fhir/R4/documentreference.html, https://hl7.org/fhir/R4/goal.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from html import unescape
from typing import Any, Final

from .in_force import is_past, is_to_come
from .mapping.names import EXTENSIONS, SNOMED, SUGGESTED, categories, is_main, own_identifier
from .medicines import forbidden, is_not_to_be
from .told_by_others import Day, InWords, Resource, Told, named_in
from .written_down import Say, Thing, an_object, as_written, coded, lists_of, objects, rows_of, texts

TYPES: Final = frozenset({"CarePlan", "DocumentReference", "Goal"})
URGENT: Final = frozenset(  # contingency, crisis, emergency, treatment escalation, ReSPECT, end of life, its coordination, advance care plan
    {"325691000000100", "736253002", "887701000000100", "735324008", "1382601000000107", "736373009", "861421000000109", "736366004"}
)
NOT_SO: Final = frozenset({"entered-in-error"})
HOLDS: Final = frozenset({"active", "unknown", "current", "None"})  # of a plan or a paper
ENDED: Final = frozenset({"completed", "cancelled", "rejected"})  # of a goal


def is_plan_of_others(r: Resource) -> bool:
    """Whether this is such a plan, a goal, or a paper for an emergency that no newer one replaced; not another main plan, of which there is a question of its own."""
    type = r.get("resourceType")
    if type not in TYPES or own_identifier(r) is not None or not NOT_SO.isdisjoint(str(r.get(e)) for e in ("status", "lifecycleStatus", "docStatus")):
        return False
    if type == "DocumentReference":
        return is_urgent(r) and r.get("status") != "superseded"
    return type == "Goal" or not is_main(r)


def is_urgent(r: Resource) -> bool:
    """Whether this plan or paper is for when things get worse, by its category or type."""
    types = {str(c.get("code")) for c in objects(an_object(r.get("type")).get("coding")) if c.get("system") == SNOMED}
    return not URGENT.isdisjoint(categories(r) | types)


def counts_elsewhere(r: Resource) -> bool:
    """Whether it is read with another record of the same person, too: a plan for a crisis that is in force."""
    return r.get("resourceType") == "CarePlan" and is_urgent(r) and str(r.get("status")) in HOLDS and str(r.get("intent")) not in SUGGESTED


def is_for_an_emergency(paper: Mapping[str, Any]) -> bool:
    """The same of a paper or another plan as the plan says it."""
    return not URGENT.isdisjoint(str(an_object(paper.get(k)).get("code")) for k in ("type", "category", "code"))


@dataclass(frozen=True, slots=True)
class Beside:
    """Those of one record, what holds now first: plans for a crisis; other plans, and papers; goals."""

    crisis: tuple[Told, ...] = ()
    papers: tuple[Told, ...] = ()
    goals: tuple[Told, ...] = ()


def beside(plan: Mapping[str, Any], record: Iterable[Resource], *, say: Say = as_written, day: Day = str, today: date | None = None) -> Beside:
    """What of the record is so and is no thing of the plan."""
    held = list(record)
    known = _ids(plan)
    words = PlansInWords(InWords(named_in(held), say, day, today), {f"{r.get('resourceType')}/{r.get('id')}": r for r in held})
    found = sorted((r for r in held if is_plan_of_others(r) and str(r.get("id")) not in known), key=_when, reverse=True)
    told = sorted((Told(r, words.of(r), words.is_over(r)) for r in found), key=lambda t: t.over)

    def of(*types: str, urgent: bool | None = None) -> tuple[Told, ...]:
        return tuple(t for t in told if t.resource.get("resourceType") in types and (urgent is None or is_urgent(t.resource) == urgent))

    return Beside(of("CarePlan", urgent=True), (*of("DocumentReference"), *of("CarePlan", urgent=False)), of("Goal"))


def _ids(plan: Mapping[str, Any]) -> frozenset[str]:
    """Of what the plan holds."""
    lists = (objects(plan.get(k)) for k in ("contingency", "additional_plans", "documents", "media", "goals"))
    things = [t for held in lists for thing in held for t in (thing, *objects(thing.get("stage_goals")))]
    return frozenset(str(t["id"]) for t in (plan, *things) if t.get("id"))


def _when(r: Resource) -> str:
    keys = ("created", "date", "statusDate", "startDate")
    said = (an_object(r.get("period")).get("start"), an_object(r.get("meta")).get("lastUpdated"))
    return next((str(v) for v in (*(r.get(k) for k in keys), *said) if v), "")


@dataclass(frozen=True, slots=True)
class PlansInWords:
    """`words`: who is referred to, and in which language. `things`: what else of the record a plan may refer to, by reference."""

    words: InWords
    things: Mapping[str, Resource]

    def of(self, r: Resource) -> Thing:
        """One that `is_plan_of_others`, with who wrote it and when."""
        say, day, type = self.words.say, self.words.day, r.get("resourceType")
        title = self._title(r)
        told = [t for t in self._says(r) if t != title]
        notes = [str(n["text"]) for n in objects(r.get("note")) if n.get("text")]
        period, target = an_object(r.get("period")), next(iter(objects(r.get("target"))), {})
        rows = rows_of(
            (say("Who wrote it"), self.who(r) or say("The record does not say")), (say("Made on"), day(r.get("created") or r.get("date") or r.get("statusDate") or "")),
            (say("It came here on"), day(an_object(r.get("meta")).get("lastUpdated") or "")),
            (say("Since"), day(period.get("start") or r.get("startDate") or "")), (say("Until"), day(period.get("end") or "")),
            (say("What it says"), "\n".join(told)), (say("The aim"), self._aim(target)), (say("By"), day(target.get("dueDate") or "")),
            (say("How it went"), coded(r.get("achievementStatus")) if type == "Goal" else ""), (say("Where"), "\n".join(self._kept(r))), (say("Notes"), "\n".join(notes)),
        )  # fmt: skip
        return Thing(title, self.stands(r), rows, self._lists(r))

    def stands(self, r: Resource) -> str:
        """Why it does not hold now, or how a goal stands; "" of a plan or a paper that holds."""
        say, period = self.words.say, an_object(r.get("period"))
        status = str(r.get("lifecycleStatus") or r.get("status"))
        if r.get("resourceType") != "Goal" and status in HOLDS:
            if str(r.get("intent")) in SUGGESTED:
                return say("Proposed")
            if r.get("docStatus") == "preliminary":
                return say("Draft")
            return say("Over") if is_past(period.get("end"), self.words.today) else say("Not yet") if is_to_come(period.get("start"), self.words.today) else ""
        return say(status.replace("-", " ").capitalize()) if status != "None" else ""

    def is_over(self, r: Resource) -> bool:
        """Whether it does not hold now."""
        return str(r.get("lifecycleStatus")) in ENDED if r.get("resourceType") == "Goal" else bool(self.stands(r))

    def who(self, r: Resource) -> str:
        """Whoever it says wrote it or keeps it."""
        for element in ("author", "contributor", "expressedBy", "authenticator", "custodian"):
            named = r.get(element)
            names = [n for one in (named if isinstance(named, list) else [named]) if (n := self.words.who({element: one}, element))]
            if names:
                return ", ".join(names)
        return self.words.who(r)

    # -- what it says -------------------------------------------------------------------------------------------------

    def _title(self, r: Resource) -> str:
        kinds = [t for c in objects(r.get("category")) if (t := coded(c))]
        what = r.get("description")
        words = what if isinstance(what, str) else coded(what)
        files = [str(an_object(c.get("attachment")).get("title") or "") for c in objects(r.get("content"))]
        if r.get("resourceType") == "Goal":
            return words or self.words.say("A goal that is not described")
        if r.get("resourceType") == "DocumentReference":
            return next((t for t in (words, *files, coded(r.get("type"))) if t), "") or self.words.say("A paper without a title")
        unnamed = self.words.say("If things get worse") if is_urgent(r) else self.words.say("A plan without a title")
        return str(r.get("title") or "") or next(iter(kinds), "") or words or unnamed

    def _says(self, r: Resource) -> list[str]:
        """In its own words; where it has none, what its narrative says."""
        wishes = [str(e["valueString"]) for e in objects(r.get("extension")) if e.get("url") == f"{EXTENSIONS}advance-statement" and e.get("valueString")]
        said = [*([str(r["description"])] if isinstance(r.get("description"), str) else []), *wishes]
        if said or self._lists(r) or r.get("note") or r.get("resourceType") != "CarePlan":
            return said
        return [t for t in (_plain(str(an_object(r.get("text")).get("div") or "")),) if t]

    def _lists(self, r: Resource) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if r.get("resourceType") != "CarePlan":
            return ()
        say = self.words.say
        return lists_of(
            (say("What can set it off"), self._own(r, "trigger")), (say("First signs"), self._own(r, "early-warning")), (say("What should happen"), self._own(r, "step")),
            (say("Who to contact"), self._own(r, "contact")), (say("What helps me cope"), self._own(r, "coping")), (say("What is planned"), list(self._planned(r))),
        )  # fmt: skip

    def _own(self, r: Resource, part: str) -> list[str]:
        """What somebody says in our own profile of a crisis plan."""
        found = [e for e in objects(r.get("extension")) if e.get("url") == f"{EXTENSIONS}contingency-{part}"]
        return list(texts([e.get("valueString") or an_object(e.get("valueReference")).get("display") for e in found]))

    def _planned(self, r: Resource) -> Iterator[str]:
        for activity in objects(r.get("activity")):
            detail, reference = an_object(activity.get("detail")), an_object(activity.get("reference"))
            meant = self._meant(r, str(reference.get("reference") or ""))
            status = str((detail or meant).get("status") or "")
            what = str(detail.get("description") or "") or coded(detail.get("code")) or str(meant.get("description") or "") or coded(meant.get("code")) or str(reference.get("display") or "")
            if not what or status in NOT_SO:
                continue
            state = self.words.say(status.replace("-", " ").capitalize()) if status in ("completed", "cancelled", "stopped", "on-hold", "revoked", "rejected") else ""
            words = forbidden(what, self.words.say) if is_not_to_be(detail or meant) else what
            yield f"{words} ({state})" if state else words

    def _meant(self, r: Resource, reference: str) -> Resource:
        if reference.startswith("#"):
            return next((c for c in objects(r.get("contained")) if c.get("id") == reference[1:]), {})
        return self.things.get(reference, {})

    def _aim(self, target: Mapping[str, Any]) -> str:
        amount, words = an_object(target.get("detailQuantity")), coded(target.get("detailCodeableConcept")) or str(target.get("detailString") or "")
        much = " ".join(str(amount[k]) for k in ("value", "unit") if amount.get(k) is not None)
        return ": ".join(t for t in (coded(target.get("measure")), much or words) if t)

    def _kept(self, r: Resource) -> Iterator[str]:
        """Where the paper is: an address, or that it came as a file."""
        for content in objects(r.get("content")):
            attachment = an_object(content.get("attachment"))
            if attachment.get("url"):
                yield str(attachment["url"])
            elif attachment.get("data"):
                yield self.words.say("The paper came with it, as a file")


def _plain(div: str) -> str:
    """The words of a narrative, without its markup."""
    lines = unescape(re.sub(r"<[^>]*>", "", re.sub(r"<(?:br|/?p|/?li|/?div|/?tr|/?h\d|/?d[td])\b[^>]*>", "\n", div))).splitlines()
    return "\n".join(t for line in lines if (t := " ".join(line.split())))


__all__ = ["TYPES", "URGENT", "Beside", "PlansInWords", "beside", "counts_elsewhere", "is_for_an_emergency", "is_plan_of_others", "is_urgent"]
