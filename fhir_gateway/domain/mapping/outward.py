"""Plan to FHIR: `to_fhir(plan, tables)`. Order and parentage are carried by the references of the main CarePlan and the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ..identity import NHS_NUMBER, nhs_number
from . import carrier
from .carrier import Kept
from .leftover import EXTRA, restore
from .names import BASE, full_url, is_nowhere, quote, system
from .paths import HL7, MISSING
from .primitives import is_text
from .tables import Table, Tables
from .ways import Outward

SUBJECT: Final = {"Task": "for", "RelatedPerson": "patient"}  # every other type: `subject`
MILESTONE: Final = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/goal-relationship-type", "code": "milestone"}]}
ACHIEVEMENT: Final = "http://terminology.hl7.org/CodeSystem/goal-achievement"
OUTCOME: Final = f"{BASE}/StructureDefinition/goal-outcome"
RELATIONSHIP: Final = HL7 + "goal-relationship"
KEY_WORKER: Final = {"coding": [{"system": f"{BASE}/CodeSystem/plan-team-role", "code": "key-worker", "display": "Key worker"}]}
INFORMATION: Final = (
    "about-me", "medicine", "strength", "measurement", "answers", "document", "contingency", "additional-plan", "media", "formulation", "barrier", "decision", "wheel", "risk",
)  # fmt: skip
ACTIVITIES: Final = ("action", "unmet-need", "referral")
SINGLE: Final = (
    "need", "goal", "action", "unmet-need", "contact", "medicine", "strength", "measurement", "answers", "document", "media", "formulation", "barrier", "decision", "wheel",
    "risk", "referral",
)  # fmt: skip
BESIDE: Final = frozenset({"contingency", "additional-plan"})


class Entry(NamedTuple):
    """One resource of a plan: its kind, its name among the entries, the resource."""

    kind: str
    full_url: str
    resource: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a plan became. `dry` has one row a field: `{path, to, why}`; filled only where it was asked for."""

    entries: tuple[Entry, ...]
    dry: list[dict[str, str]] = field(default_factory=list)

    @property
    def resources(self) -> list[dict[str, Any]]:
        return [e.resource for e in self.entries]


class Thing(NamedTuple):
    """One item of a list of the plan, with the name it gets."""

    item: Mapping[str, Any]
    value: str  # of the identifier
    url: str
    keeps_id: bool  # its `id` is in the name
    kind: str = ""  # whose table it is for


def to_fhir(plan: Mapping[str, Any], tables: Tables, *, dry: bool = False) -> Mapped:
    """Every resource of a plan, with references between them by fullUrl. Nothing of the plan is lost; nothing in it is evaluated."""
    return _Writing(plan, tables, dry).everything()


def again(plan: Mapping[str, Any], tables: Tables) -> dict[int, dict[str, Any]]:
    """By `id()` of each thing of a plan: the resource it becomes."""
    writing = _Writing(plan, tables, False)
    writing.everything()
    return writing.made


def bundle(plan: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    """A transaction Bundle that would create all of it, https://hl7.org/fhir/R4/http.html#transaction"""
    return transaction(to_fhir(plan, tables))


def transaction(mapped: Mapped, *, of_list: bool = False) -> dict[str, Any]:
    """The Bundle of what a plan became: conditional creations, so that the same Bundle again makes nothing twice. What names no one thing is created
    without a condition, which would find somebody else's: all of a plan without an id, or of one of many that are called the same (`of_list`)."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": [_entry(e, of_list) for e in mapped.entries]}


def _entry(e: Entry, of_list: bool) -> dict[str, Any]:
    identifier = e.resource["identifier"]
    own = identifier if isinstance(identifier, dict) else identifier[-1 if e.kind == "person" else 0]
    if of_list or is_nowhere(own["value"]):
        number = nhs_number(e.resource) if e.kind == "person" else None
        own = {"system": NHS_NUMBER, "value": number} if number is not None else None
    request = {"method": "POST", "url": e.resource["resourceType"]}
    if own is not None:
        request["ifNoneExist"] = f"identifier={_query(own['system'])}|{_query(_plain(own['value']))}"
    return {"fullUrl": e.full_url, "resource": e.resource, "request": request}


def _plain(value: str) -> str:
    """A value without meaning for search, https://hl7.org/fhir/R4/search.html#escaping"""
    return "".join("\\" + c if c in "\\,|$" else c for c in value)


def _query(text: str) -> str:
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-._~:/" else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


class _Writing:
    """One plan on its way to FHIR."""

    def __init__(self, plan: Mapping[str, Any], tables: Tables, dry: bool) -> None:
        self.plan, self.tables = plan, tables
        id = plan.get("id")
        self.named = is_text(id)
        self.way = Outward(quote(str(id)) if self.named else "#", tables.types, dry=[] if dry else None)
        self.entries: list[Entry] = []
        self.root_skip = {"id"} if self.named else set()
        self.things: dict[str, list[Thing]] = {}
        self.made: dict[int, dict[str, Any]] = {}
        self.patient_url = full_url("person", self.way.value(self._person_name()))
        self.way.patient = self.patient_url
        self._name_everything()

    def _person_name(self) -> str:
        person = self.plan.get("person")
        id = person.get("id") if isinstance(person, dict) else None
        return quote(id) if is_text(id) else "#person"

    def _name_everything(self) -> None:
        for kind, table in self.tables.by_kind.items():
            if not table.many or kind == "stage-goal" or table.when:
                continue
            items = self.plan.get(table.key)
            if type(items) is not list or not items or any(type(i) is not dict for i in items):
                continue
            self.root_skip.add(table.key)
            self.things[kind] = self._named(kind, items, "")
        team = self.things.get("team", ())
        self.way.team = {t.item["id"]: t.item for t in team if t.keeps_id}

    def _named(self, kind: str, items: Sequence[Mapping[str, Any]], under: str) -> list[Thing]:
        out = []
        seen: set[str] = set()
        for n, item in enumerate(items):
            id = item.get("id")
            name, keeps = f"#{n}", False
            if is_text(id) and id not in seen:
                name, keeps = quote(id), True
                seen.add(id)
            value, mine = self.way.value(f"{under}{name}"), self.tables.kind_of(kind, item)
            url = full_url(mine, value)
            if keeps:
                self.way.urls[mine, str(id)] = url
            out.append(Thing(item, value, url, keeps, mine))
        return out

    def everything(self) -> Mapped:
        self._person()
        self._about_me()
        for kind in SINGLE:
            for n, thing in enumerate(self.things.get(kind, ())):
                self._thing(thing.kind, thing, f"{self.tables[kind].key}[{n}]")
        for kind in sorted(BESIDE):
            for n, thing in enumerate(self.things.get(kind, ())):
                made = self._thing(kind, thing, f"{self.tables[kind].key}[{n}]")
                made["partOf"] = [{"reference": self.main_url}, *made.get("partOf", ())]
        self._team()
        self._main()
        return Mapped(tuple(self.entries), self.way.dry or [])

    @property
    def main_url(self) -> str:
        return full_url("plan", self.way.plan)

    # -- one resource

    def _resource(self, table: Table, value: str, url: str) -> dict[str, Any]:
        identifier = {"system": system(table.kind), "value": value}
        resource: dict[str, Any] = {
            "resourceType": table.type,
            "identifier": identifier if table.type == "QuestionnaireResponse" else [identifier],
        }
        for put, constant in table.always:
            put(resource, constant)
        if table.type != "Patient":
            resource[SUBJECT.get(table.type, "subject")] = {"reference": self.patient_url}
        self.entries.append(Entry(table.kind, url, resource))
        return resource

    def _thing(self, kind: str, thing: Thing, where: str) -> dict[str, Any]:
        table = self.tables[kind]
        resource = self._resource(table, thing.value, thing.url)
        skip = {"id"} if thing.keeps_id else set()
        if kind == "goal":
            self._stages(thing, resource, skip, where)
        self.way.where, self.way.into = where, table.type
        table.fields.out(thing.item, resource, self.way, frozenset(skip))
        if kind == "goal":
            _achieved(thing.item, resource)
        _again(resource, thing.item)
        self.made[id(thing.item)] = resource
        return resource

    def _stages(self, thing: Thing, goal: dict[str, Any], skip: set[str], where: str) -> None:
        """Steps on the way are goals of their own; the goal says which and in which order."""
        items = thing.item.get("stage_goals")
        if type(items) is not list or not items or any(type(i) is not dict for i in items):
            return
        skip.add("stage_goals")
        parts = []
        for n, stage in enumerate(self._named("stage-goal", items, thing.value.split("/", 1)[1] + "/")):
            self._thing("stage-goal", stage, f"{where}.stage_goals[{n}]")
            parts.append({"url": RELATIONSHIP, "extension": [
                {"url": "type", "valueCodeableConcept": MILESTONE}, {"url": "target", "valueReference": {"reference": stage.url}},
            ]})  # fmt: skip
        goal["extension"] = parts

    def _person(self) -> None:
        person = self.plan.get("person")
        value = self.way.value(self._person_name())
        resource = self._resource(self.tables["person"], value, self.patient_url)
        if type(person) is not dict or not person:
            return
        self.root_skip.add("person")
        self.way.where, self.way.into = "person", "Patient"
        own = resource.pop("identifier")
        self.tables["person"].fields.out(person, resource, self.way, frozenset({"id"}) if is_text(person.get("id")) else frozenset())
        resource["identifier"] = resource.get("identifier", []) + own
        _again(resource, person)
        self.made[id(person)] = resource
        name = resource.get("name")
        if name:
            name.sort(key=lambda n: n.get("use") != "official")

    def _about_me(self) -> None:
        about = self.plan.get("about_me")
        if type(about) is not dict or not about:
            return
        self.root_skip.add("about_me")
        value = self.way.value("#about-me")
        url = full_url("about-me", value)
        resource = self._resource(self.tables["about-me"], value, url)
        resource["source"] = {"reference": self.patient_url}
        self.way.where, self.way.into = "about_me", "QuestionnaireResponse"
        self.tables["about-me"].fields.out(about, resource, self.way)
        _again(resource, about)
        self.made[id(about)] = resource
        self.things["about-me"] = [Thing(about, value, url, False)]

    def _team(self) -> None:
        team, contacts = self.things.get("team", []), self.things.get("contact", [])
        if not team and not contacts:
            return
        table = self.tables["team"]
        value = self.way.value("#team")
        resource = self._resource(table, value, full_url("team", value))
        resource |= {"status": "active", "name": "My care and support team"}
        resource["participant"] = [self._member(t, n) for n, t in enumerate(team)] + [{"member": {"reference": c.url}} for c in contacts]
        self.things["#team"] = [Thing({}, value, full_url("team", value), False)]

    def _member(self, thing: Thing, n: int) -> dict[str, Any]:
        participant: dict[str, Any] = {}
        self.way.where, self.way.into = f"team[{n}]", "CareTeam.participant"
        self.tables["team"].fields.out(thing.item, participant, self.way)
        if "member" not in participant:
            participant["member"] = self._without_organisation(thing)
        if thing.item.get("key_worker") is True:
            participant.setdefault("role", []).append(KEY_WORKER)
        return participant

    def _without_organisation(self, thing: Thing) -> dict[str, Any]:
        name = thing.item.get("name")
        out = {"type": "Practitioner", "identifier": {"system": system("team"), "value": thing.value}}
        return out | ({"display": name} if is_text(name) else {})

    def _main(self) -> None:
        table = self.tables["plan"]
        resource = self._resource(table, self.way.plan, self.main_url)
        self._refer(resource, "careTeam", ("#team",))
        self._refer(resource, "addresses", ("need",))
        self._refer(resource, "goal", ("goal",))
        stages = [{"reference": e.full_url} for e in self.entries if e.kind == "stage-goal"]
        if stages:
            resource["goal"] += stages
        self._refer(resource, "supportingInfo", INFORMATION)
        activities = [{"reference": {"reference": t.url}} for kind in ACTIVITIES for t in self.things.get(kind, ())]
        if activities:
            resource["activity"] = activities
        self.way.where, self.way.into = "", table.type
        table.fields.out(self.plan, resource, self.way, frozenset(self.root_skip))
        _again(resource, self.plan)
        self.made[id(self.plan)] = resource

    def _refer(self, resource: dict[str, Any], element: str, kinds: tuple[str, ...]) -> None:
        references = [{"reference": t.url} for kind in kinds for t in self.things.get(kind, ())]
        if references:
            resource[element] = references


def _achieved(item: Mapping[str, Any], goal: dict[str, Any]) -> None:
    """FHIR keeps the latest outcome only: the last one of the list, unless the goal names its own. The list itself is an extension."""
    outcomes = [e for e in goal.get("extension", ()) if e["url"] == OUTCOME]
    results = [p["valueCode"] for p in outcomes[-1].get("extension", ()) if p["url"] == "result"] if outcomes else []
    if results and "outcome" not in item:
        goal["achievementStatus"] = {"coding": [{"system": ACHIEVEMENT, "code": results[0]}]}
        carrier.write(goal, [Kept(("outcome",), MISSING, results[0])])


def _again(resource: dict[str, Any], item: Mapping[str, Any]) -> None:
    """Elements that `from_fhir(keep=True)` found no place for and took along."""
    extra = item.get(EXTRA)
    if type(extra) is list:
        restore(resource, ((e["path"], e["value"], e.get("as", MISSING)) for e in extra if type(e) is dict and is_text(e.get("path")) and "value" in e))
        _one_of_two(resource)


def _one_of_two(resource: dict[str, Any]) -> None:
    """Where theirs came back beside ours and FHIR takes one of the two, theirs stays; a medicine's words hang on it then."""
    for note in resource.get("note", ()):
        if isinstance(note, dict) and "authorString" in note and note.get("authorReference") == {"display": note["authorString"]}:
            del note["authorReference"]
    concept = resource.get("medicationCodeableConcept")
    if "medicationReference" in resource and isinstance(concept, dict) and concept.keys() == {"text"}:
        del resource["medicationCodeableConcept"]
        if not any(k.path == ("text",) for k in carrier.read(resource)):
            carrier.write(resource, [Kept(("text",), concept["text"])])


__all__ = ["Entry", "Mapped", "bundle", "to_fhir", "transaction"]
