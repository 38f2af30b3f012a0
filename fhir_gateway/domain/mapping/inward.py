"""FHIR to plan: `from_fhir(resources, tables)`, for what a plan made and for records that nobody here wrote.

Where a main CarePlan of ours is among the resources, the plan is what it refers to and what carries its id. Otherwise the
record is read as others write it: conditions are needs, activities actions, the first active care plan the main one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..identity import nhs_number
from . import foreign
from .codecs import CODECS, person_name
from .leftover import EXTRA, leftover, lost
from .names import MAIN_CATEGORY, ODS, OWN_ORGANISATION, counts, kind_of, local, own_identifier, quote
from .outward import RELATIONSHIP, SINGLE, again
from .paths import MISSING
from .tables import Table, Tables
from .ways import Found, Inward

Resource = dict[str, Any]
LISTS: Final = (*SINGLE, "contingency", "additional-plan")
ORDER: Final = (
    "plan", "id", "title", "status", "created", "reviewed_on", "responsible_organisation", "person", "about_me", "media", "team", "contacts",
    "strengths", "needs", "formulations", "goals", "barriers", "decisions", "actions", "medicines", "referrals", "contingency", "additional_plans", "documents", "answers",
    "wheels", "measurements", "risks", "unmet_needs", "funding", "agreement", "review", "written", "notes",
)  # fmt: skip
AROUND: Final = frozenset({"Practitioner", "PractitionerRole", "Organization", "Location", "Provenance", "AuditEvent", "Consent"})


@dataclass(slots=True)
class _One:
    """A resource at hand, under every name it has."""

    resource: Resource
    names: tuple[str, ...]
    kind: str = ""
    value: str = ""  # of our identifier
    id: str | None = None  # local id in the plan

    @property
    def type(self) -> str:
        return str(self.resource.get("resourceType", ""))


@dataclass(slots=True)
class Read:
    """A plan that was read. `homeless`: what had no place in it, `{path, to, why}`; it stays in the record. `landed`: what had one.
    `became`: by each name of a resource, the kind of thing of the plan that it is, and that thing."""

    plan: dict[str, Any]
    homeless: list[dict[str, str]] = field(default_factory=list)
    landed: list[dict[str, str]] = field(default_factory=list)
    became: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)


def from_fhir(resources: Iterable[Mapping[str, Any]], tables: Tables, *, keep: bool = False, main: str | None = None) -> dict[str, Any]:
    """The plan that these resources (or Bundle entries with `fullUrl`) hold. `keep`: elements without a place in the plan go along
    as `x_fhir` of each item, and come back with `to_fhir`. `main`: which is the main plan (`CarePlan/…`) if it is among several."""
    return read(resources, tables, keep=keep, homeless=False, main=main).plan


def read(resources: Iterable[Mapping[str, Any]], tables: Tables, *, keep: bool = False, homeless: bool = True, main: str | None = None) -> Read:
    """As `from_fhir`, with the list of what had no place."""
    return _Reading([_one(r) for r in resources], tables, keep, homeless, main).everything()


def _one(given: Mapping[str, Any]) -> _One:
    resource = given["resource"] if "resourceType" not in given and isinstance(given.get("resource"), dict) else given
    names = [str(given["fullUrl"])] if resource is not given and given.get("fullUrl") else []
    if resource.get("id"):
        names.append(f"{resource.get('resourceType')}/{resource['id']}")
    own = own_identifier(resource)
    one = _One(dict(resource), tuple(names))
    if own is not None:
        one.kind, one.value = own
        one.id = local(one.value)
    return one


class _Reading:
    def __init__(self, ones: list[_One], tables: Tables, keep: bool, homeless: bool, main: str | None) -> None:
        ones = [o for o in ones if not foreign.asks_membership(o.resource) and (keep or not (foreign.was_a_mistake(o.resource) or foreign.is_forbidden(o.resource)))]
        self.ones, self.tables, self.keep = ones, tables, keep
        self.by_name = {name: one for one in ones for name in one.names}
        self.homeless: list[dict[str, str]] | None = [] if homeless else None
        self.landed: list[dict[str, str]] = []
        self.used: set[int] = set()
        self.became: list[tuple[_One, str, dict[str, Any]]] = []  # each resource, and the thing of the plan it is
        self.main = self._main(main)
        self.own = self.main is not None and self.main.kind == "plan"
        self.prefix = (self.main.value if self.main and self.own else self._prefix()) + "/"
        self.order = self._order()
        self._choose()
        self.targets = self._targets()
        self.way = Inward(self.targets, keep=keep)

    # -- what is what

    def _main(self, said: str | None) -> _One | None:
        plans = [o for o in self.ones if o.type == "CarePlan"]
        if (one := next((o for o in plans if said in o.names and counts(o.resource)), None)) is not None:
            return one
        ours = sorted((o for o in plans if o.kind == "plan"), key=lambda o: ("partOf" in o.resource, o.resource.get("status") != "active", o.value))
        if ours:
            return ours[0]
        theirs = [o for o in plans if not o.kind]
        theirs.sort(key=lambda o: (not _category(o.resource, MAIN_CATEGORY), "partOf" in o.resource, o.resource.get("status") != "active"))
        return theirs[0] if theirs else None

    def _prefix(self) -> str:
        """The plan most of our resources speak of, when its CarePlan is not at hand (a reader may not see it)."""
        counts: dict[str, int] = {}
        for o in self.ones:
            if o.kind:
                name = o.value.split("/", 1)[0]
                counts[name] = counts.get(name, 0) + 1
        return max(sorted(counts), key=lambda n: counts[n]) if counts else ""

    def _order(self) -> dict[str, int]:
        """Where each reference stands in the lists of the main CarePlan and the team."""
        out: dict[str, int] = {}
        if self.main is None:
            return out
        r = self.main.resource
        names = [x.get("reference") for e in ("addresses", "goal", "supportingInfo", "careTeam") for x in _dicts(r.get(e))]
        names += [a["reference"].get("reference") for a in _dicts(r.get("activity")) if isinstance(a.get("reference"), dict)]
        for o in self.ones:
            if o.type == "CareTeam":
                names += [p["member"].get("reference") for p in _dicts(o.resource.get("participant")) if isinstance(p.get("member"), dict)]
        for n, name in enumerate(names):
            if isinstance(name, str):
                out.setdefault(name, n)
        return out

    def _place(self, one: _One) -> int:
        return min((self.order[n] for n in one.names if n in self.order), default=1_000_000)

    def _choose(self) -> None:
        """Give every resource of the plan its kind."""
        theirs = self.main.resource.get("id") if self.main is not None and not self.own else None
        ours = self.own or self.prefix not in ("/", f"{quote(str(theirs))}/")  # by that name things are added to a plan that others began
        for o in self.ones:
            if o.kind and not (o.value + "/").startswith(self.prefix):
                o.kind = "?"  # another plan
            elif not o.kind:
                o.kind = self._kind(o) if not ours or self._place(o) < 1_000_000 or o.type in AROUND or o.type == "Patient" else "?"
            if o.id is None and o.kind and "#" not in o.value:
                o.id = str(o.resource.get("id") or (o.names[0].rsplit(":", 1)[-1].rsplit("/", 1)[-1] if o.names else "")) or None
        self._adopt_stages()

    def _kind(self, o: _One) -> str:
        if o is self.main:
            return "plan"
        if o.type == "CarePlan" and self.main is not None and _category(o.resource, "325691000000100"):
            return "contingency"
        return foreign.KINDS.get(o.type) or foreign.observed(o.resource)

    def _adopt_stages(self) -> None:
        """Goals that another goal names as its milestones."""
        for o in self.ones:
            if o.kind == "goal":
                for name in _milestones(o.resource):
                    child = self._find(name)
                    if child is not None and child.type == "Goal" and child is not o:
                        child.kind = "stage-goal"

    def _find(self, name: str) -> _One | None:
        found = self.by_name.get(name)
        return found or self.by_name.get("/".join(name.split("/_history/", 1)[0].rsplit("/", 2)[-2:]))

    def _targets(self) -> dict[str, Found]:
        out: dict[str, Found] = {}
        for o in self.ones:
            found = self._found(o)
            if found is not None:
                out |= {name: found for name in o.names}
        return out

    def _found(self, o: _One) -> Found | None:
        r = o.resource
        if o.type == "Patient":
            return Found("person", "person", person_name(r))
        if o.type == "Organization":
            more: dict[str, Any] = {}
            for i in _dicts(r.get("identifier")):
                key = {ODS: "ods", OWN_ORGANISATION: "id"}.get(str(i.get("system")))
                if key and key not in more and i.get("value"):
                    more[key] = i["value"]
            return Found("organisation", o.id or "", str(r.get("name", "")), more | ({"name": r["name"]} if r.get("name") else {}))
        if o.type in ("Practitioner", "PractitionerRole"):
            name = person_name(r)
            if o.type == "PractitionerRole" and isinstance(r.get("practitioner"), dict):
                name = str(r["practitioner"].get("display", ""))
            return Found("practitioner", o.id or "", name)
        if o.type == "Medication":
            return Found("medication", o.id or "", name if isinstance(name := CODECS["concept-words"].back(r.get("code"), Inward({})), str) else "")
        return Found(o.kind, o.id or "", person_name(r) if o.type == "RelatedPerson" else "") if o.kind not in ("", "?") else None

    # -- the plan

    def everything(self) -> Read:
        plan: dict[str, Any] = {}
        if self.main is not None:
            plan |= self._item(self.main, "plan")
            self.became.append((self.main, "plan", plan))
            if (self.own and self.main.id is not None) or (not self.own and self.main.id):
                plan["id"] = self.main.id
        elif self.prefix not in ("/", "#/"):
            plan["id"] = local(self.prefix[:-1])
        if not self.own:
            plan.setdefault("plan", "1")
        self._person(plan)
        self._about_me(plan)
        for kind in LISTS:
            self._list(plan, kind)
        self._team(plan)
        if not self.own:
            self.used |= foreign.activities(plan, self.ones, self.way)
        self._take_along(plan)
        self._say_unused()
        became = {name: (kind, thing) for one, kind, thing in self.became for name in one.names}
        return Read({k: plan[k] for k in (*(k for k in ORDER if k in plan), *(k for k in plan if k not in ORDER))}, self.homeless or [], self.landed, became)

    def _item(self, one: _One, kind: str) -> dict[str, Any]:
        table = self.tables[kind]
        self.used.add(id(one))
        self.way.ours = bool(one.value)
        out = table.fields.back(one.resource, self.way)
        if self.homeless is not None and kind != "team":
            name = one.names[-1] if one.names else one.type
            unread = (path for path, value in leftover(one.resource, table) if not foreign.read_elsewhere(path, value, self.own))
            self.homeless += [{"path": f"{name}: {one.type}.{path}", "to": "", "why": WHY} for path in unread]
            self.landed += [
                {"path": f"{name}: {one.type}.{row.fhir}", "to": _spell(table, row.plan), "why": LANDED if one.value else BESIDE.get(one.type, LANDED)}
                for row in table.fields.rows if not (row.theirs and self.way.ours) and row.get(one.resource) is not MISSING and _said(out, row.plan)
            ]  # fmt: skip
        return out

    def _take_along(self, plan: Mapping[str, Any]) -> None:
        """Where asked for: what the plan would not say again of each resource goes along with what became of it."""
        made = again(plan, self.tables) if self.keep else {}
        for one, kind, thing in self.became if self.keep else ():
            gone = lost(one.resource, made.get(id(thing), {}), self.tables[kind], self._leads)
            if gone:
                thing[EXTRA] = [*thing.get(EXTRA, ()), *(g.extra for g in gone)]

    def _leads(self, name: str) -> bool:
        found = self._find(name)
        return found is not None and found.kind not in ("", "?") and found.type not in AROUND

    def _person(self, plan: dict[str, Any]) -> None:
        for o in self.ones:
            if o.type == "Patient" and id(o) not in self.used:
                self.used.add(id(o))
                own = next((i for i in _dicts(o.resource.get("identifier")) if self._mine(i, "person")), None)
                person = self._item(o, "person")
                if own is not None and local(own["value"]) is not None:
                    person = {"id": local(own["value"]), **person}
                elif own is None and o.resource.get("id") and (not self.own or nhs_number(o.resource) is None):
                    person = {"id": str(o.resource["id"]), **person}
                if person:
                    plan["person"] = person | plan.get("person", {}) if isinstance(plan.get("person", {}), dict) else person
                    self.became.append((o, "person", plan["person"]))
                return

    def _mine(self, identifier: Mapping[str, Any], kind: str) -> bool:
        return kind_of(identifier.get("system")) == kind and str(identifier.get("value", "")).startswith(self.prefix)

    def _about_me(self, plan: dict[str, Any]) -> None:
        """The one that the plan names, or else the oldest: what somebody added beside it stays beside."""
        ones = sorted((o for o in self.ones if o.kind == "about-me"), key=lambda o: (self._place(o), o.names))
        for o in ones[:1]:
            plan["about_me"] = self._item(o, "about-me")
            self.became.append((o, "about-me", plan["about_me"]))

    def _list(self, plan: dict[str, Any], kind: str) -> None:
        kinds = (kind, *self.tables.beside(kind))
        ones = sorted((o for o in self.ones if o.kind in kinds), key=lambda o: (self._place(o), o.value))
        items = [self._named(o, o.kind) for o in ones]
        if items:
            plan[self.tables[kind].key] = items

    def _named(self, one: _One, kind: str) -> dict[str, Any]:
        item = self._item(one, kind)
        if kind == "goal":
            stages = [c for c in (self._find(n) for n in _milestones(one.resource)) if c is not None and c.kind == "stage-goal"]
            if stages:
                item["stage_goals"] = [self._named(c, "stage-goal") for c in stages if id(c) not in self.used]
        item = {"id": one.id, **item} if one.id is not None and "id" not in item else item
        self.became.append((one, kind, item))
        return item

    def _team(self, plan: dict[str, Any]) -> None:
        team: list[dict[str, Any]] = []
        for o in self.ones:
            if o.kind != "team":
                continue
            self.used.add(id(o))
            for n, participant in enumerate(_dicts(o.resource.get("participant"))):
                member = foreign.member(participant, n, o.resource, self.tables["team"], self.way, o.value != "")
                if member is not None and (o.value or not any(_alike(member, m) for m in team)):
                    team.append(member)
        if team:
            plan["team"] = team

    def _say_unused(self) -> None:
        if self.homeless is None:
            return
        for o in self.ones:
            if id(o) not in self.used and o.type not in AROUND:
                name = o.names[-1] if o.names else o.type
                self.homeless.append({"path": f"{name}: {o.type}", "to": "", "why": "a plan has no place for this kind of record: it stays beside"})


def _alike(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """The same member in another of the person's teams."""
    return {k: v for k, v in a.items() if k in ("name", "role", "organisation")} == {k: v for k, v in b.items() if k in ("name", "role", "organisation")}


def _spell(table: Table, path: tuple[str, ...]) -> str:
    return ".".join(path if table.kind == "plan" else (table.plan, *path))


def _said(item: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(item, Mapping) or key not in item:
            return False
        item = item[key]
    return True


LANDED: Final = "has a place in the plan"
KEPT: Final = f"{LANDED} made of this alone; `import` keeps it as FHIR beside a plan that is there"
BESIDE: Final = {  # of what nobody here wrote: where it is read once it is imported
    **dict.fromkeys(("ServiceRequest", "CareTeam", "RelatedPerson"), KEPT),
    "CarePlan": f"{KEPT}: read under 'Other plans and papers', a plan for a crisis under 'If things get worse'",
    "DocumentReference": f"{KEPT}: a paper for an emergency is read under 'Other plans and papers'",
    "Goal": f"{KEPT}: read under 'Goals that others wrote down'",
    "Condition": f"{KEPT}: read under 'Health problems that others wrote down'",
    "MedicationStatement": f"{KEPT}: read under 'My medicines'",
    "MedicationRequest": f"{KEPT}: read under 'My medicines'",
    "Task": f"{KEPT}: read under 'What others were asked to do', and when it is done under 'Assessments and answers that others wrote down'",
    "QuestionnaireResponse": f"{KEPT}: read under 'Assessments and answers that others wrote down'",
}
WHY: Final = "the plan has no place for it: it stays in the record"


def _category(resource: Mapping[str, Any], code: str) -> bool:
    return any(c.get("code") == code for cc in _dicts(resource.get("category")) for c in _dicts(cc.get("coding")))


def _milestones(goal: Mapping[str, Any]) -> list[str]:
    out = []
    for e in _dicts(goal.get("extension")):
        if e.get("url") == RELATIONSHIP:
            parts = {p.get("url"): p for p in _dicts(e.get("extension"))}
            codes = [c.get("code") for c in _dicts(parts.get("type", {}).get("valueCodeableConcept", {}).get("coding"))]
            target = parts.get("target", {}).get("valueReference", {}).get("reference")
            if "milestone" in codes and isinstance(target, str):
                out.append(target)
    return out


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


__all__ = ["Read", "from_fhir", "read"]
