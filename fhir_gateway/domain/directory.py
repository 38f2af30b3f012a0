"""Who is who: organisations with their sectors and ancestors, practitioners with their roles and groups, as operators wrote them.

What an import or a partner added counts for nothing until an operator confirms it: no sector, no ancestors, no membership.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import msgspec

from . import groups as grouping
from . import strict
from .groups import NO_YES, Group
from .organisations import Organisation, Role, identifiers_of, organisation_of, person_name, role_of, target_of
from .periods import covers, micros
from .types import Actor, Ref, Writer
from .vocabulary import ROLE_AT, SECTOR_CODES, SECTOR_SYSTEM

DIRECTORY_TYPES: Final = frozenset({"Organization", "Practitioner", "PractitionerRole", "HealthcareService", "Group"})

# Types that hold no patient data: an explicit list (consent.md 1.2 line 2). Anything not here is patient data.
NO_PATIENT_DATA: Final = frozenset({
    "ActivityDefinition", "CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "Endpoint",
    "EventDefinition", "GraphDefinition", "HealthcareService", "ImplementationGuide", "InsurancePlan", "Library",
    "Location", "MeasureDefinition", "Measure", "Medication", "MedicationKnowledge", "MessageDefinition",
    "NamingSystem", "OperationDefinition", "Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner",
    "PractitionerRole", "Questionnaire", "ResearchDefinition", "SearchParameter", "SpecimenDefinition",
    "StructureDefinition", "StructureMap", "Substance", "TerminologyCapabilities", "TestScript", "ValueSet",
})  # fmt: skip
# What may be in nobody's record: a Group of staff names no patient, and no other is taken. One that names patients is theirs.
NOBODYS: Final = NO_PATIENT_DATA | {"Group"}

ODS_CODE: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
ORG_TYPE: Final = "http://terminology.hl7.org/CodeSystem/organization-type"


class Record(Protocol):
    """What is needed of `types.Stored`."""

    @property
    def ref(self) -> Ref: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def writer(self) -> Writer: ...


@dataclass(frozen=True, slots=True)
class Sectors:
    """Which Organization.type means which sector (`profiles/sectors.json`); `inherit` are kinds of part, such as a ward."""

    sectors: Mapping[str, str]  # system|code -> sector
    inherit: frozenset[str] = frozenset()

    @classmethod
    def from_json(cls, raw: bytes) -> Sectors:
        """`{"inherit": [{system, code}], "sectors": {sector: [{system, code}]}}`. ValueError for a sector that no consent can name."""
        data = msgspec.json.decode(raw)
        unknown = sorted(set(data["sectors"]) - set(SECTOR_CODES))
        if unknown:
            raise ValueError(f"`{unknown[0]}` is no sector that a consent can name: {', '.join(SECTOR_CODES)}")
        table = {f"{c['system']}|{c['code']}": s for s, codings in data["sectors"].items() for c in codings}
        return cls(table, frozenset(f"{c['system']}|{c['code']}" for c in data.get("inherit", ())))


_KINDS = {
    "health": "prov",
    "education": "edu",
}
DEFAULT_SECTORS: Final = Sectors(
    {f"{ORG_TYPE}|{code}": sector for sector, code in _KINDS.items()} | {f"{SECTOR_SYSTEM}|{s}": s for s in SECTOR_CODES},
    frozenset({f"{ORG_TYPE}|dept", f"{ORG_TYPE}|team"}),
)


@dataclass(frozen=True, slots=True)
class Directory:
    """Built from current records; answers what an asker is called and where an organisation belongs."""

    organisations: Mapping[str, Organisation] = field(default_factory=dict)
    people: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  # Practitioner/… -> (name, identifiers)
    roles: Mapping[str, Role] = field(default_factory=dict)
    roles_of: Mapping[str, tuple[Role, ...]] = field(default_factory=dict)
    by_identifier: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)  # HealthcareService/… -> Organization/…
    table: Sectors = DEFAULT_SECTORS
    groups: Mapping[str, Group] = field(default_factory=dict)

    @classmethod
    def build(cls, records: Iterable[Record], table: Sectors = DEFAULT_SECTORS) -> Directory:
        """From the current Organization, Practitioner, PractitionerRole, HealthcareService and Group records that are nobody's."""
        return cls.of(
            ((strict.decode(r.body), str(r.ref), confirmed(r.writer)) for r in records if r.body is not None),
            table,
        )

    @classmethod
    def of(cls, resources: Iterable[tuple[Mapping[str, Any], str, bool]], table: Sectors = DEFAULT_SECTORS) -> Directory:
        """From (resource, `Type/id`, confirmed by an operator)."""
        organisations: dict[str, Organisation] = {}
        people: dict[str, tuple[str, frozenset[str]]] = {}
        roles: dict[str, Role] = {}
        services: dict[str, str] = {}
        groups: dict[str, Group] = {}
        for body, ref, sure in resources:
            kind = body.get("resourceType")
            if kind == "Organization":
                organisations[ref] = organisation_of(body, ref, sure)
            elif kind == "Practitioner":
                people[ref] = (person_name(body), identifiers_of(body) if sure else frozenset())
            elif kind == "PractitionerRole" and sure and body.get("active") is not False:
                role = role_of(body, ref)
                if role is not None:
                    roles[ref] = role
            elif kind == "HealthcareService" and sure and body.get("active") is not False:
                services[ref] = target_of(body.get("providedBy")) or ""
            elif kind == "Group" and sure and (group := grouping.read(body, ref)) is not None:
                groups[ref] = group
        return cls._whole(organisations, people, roles, services, table, groups)

    @classmethod
    def _whole(
        cls, organisations: dict[str, Organisation], people: dict[str, tuple[str, frozenset[str]]], roles: dict[str, Role],
        services: dict[str, str], table: Sectors, groups: dict[str, Group],
    ) -> Directory:  # fmt: skip
        of: dict[str, list[Role]] = {}
        for role in roles.values():
            if role.practitioner:
                of.setdefault(role.practitioner, []).append(role)
        found: dict[str, str] = {}
        for o in sorted(organisations.values(), key=lambda o: o.ref):
            if o.confirmed:
                for identifier in sorted(o.identifiers):
                    found.setdefault(identifier, o.ref)
        return cls(organisations, people, roles, {k: tuple(v) for k, v in of.items()}, found, services, table, groups)

    def having(self, ref: str, body: Mapping[str, Any] | None, sure: bool) -> Directory:
        """The same directory with this one resource as it is here (None: without it); `sure` when an operator confirmed it."""
        one = Directory.of([(body, ref, sure)] if body is not None else [], self.table)

        def swapped(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
            return {k: v for k, v in mine.items() if k != ref} | dict(theirs)

        return self._whole(
            swapped(self.organisations, one.organisations), swapped(self.people, one.people), swapped(self.roles, one.roles),
            swapped(self.services, one.services), self.table, swapped(self.groups, one.groups),
        )  # fmt: skip

    # -- organisations

    def find(self, name: str) -> str | None:
        """`Organization/…` of a reference, an ODS code or a `system|value`; None when no confirmed one has it."""
        if name.startswith("Organization/"):
            return name
        return self.by_identifier.get(name) or self.by_identifier.get(f"{ODS_CODE}|{name}")

    def identifiers(self) -> frozenset[str]:
        """Every `system|value` that an organisation, a practitioner or a role here has, confirmed or not."""
        several = (*(o.identifiers for o in self.organisations.values()), *(i for _, i in self.people.values()), *(r.identifiers for r in self.roles.values()))
        return frozenset().union(*several)

    def ancestors(self, organisation: str) -> tuple[str, ...]:
        """The organisation and, as far as operators wrote it, everything it is part of; nearest first."""
        out = [organisation]
        here = self.organisations.get(organisation)
        while here is not None and here.confirmed and here.part_of and here.part_of not in out:
            out.append(here.part_of)
            here = self.organisations.get(here.part_of)
        return tuple(out)

    def sector(self, organisation: str | None) -> str | None:
        """None unless an operator confirmed it; an unknown type counts as voluntary."""
        for ref in self.ancestors(organisation) if organisation else ():
            here = self.organisations.get(ref)
            if here is None or not here.confirmed:
                return None
            known = [self.table.sectors[t] for t in here.types if t in self.table.sectors]
            if known:
                return known[0] if len(set(known)) == 1 else "voluntary"
            if not here.types or not all(t in self.table.inherit for t in here.types):
                return "voluntary"
        return "voluntary" if organisation else None

    def organisation_names(self, organisation: str) -> frozenset[str]:
        """References and identifiers of an organisation and its ancestors, and its sector."""
        out: set[str] = set()
        for ref in self.ancestors(organisation):
            out.add(ref)
            here = self.organisations.get(ref)
            if here is not None and here.confirmed:
                out |= here.identifiers
        sector = self.sector(organisation)
        return frozenset(out | ({f"{SECTOR_SYSTEM}|{sector}"} if sector else set()))

    def past_names(self, organisation: str | None) -> frozenset[str]:
        """Names of an organisation that is no more, and of what it was part of: a consent that names them closes, and opens nothing."""
        out: set[str] = set()
        ended, seen = False, set[str]()
        while organisation and organisation not in seen:
            here = self.organisations.get(organisation)
            if here is None or not (here.confirmed or here.ended):
                break
            ended = ended or here.ended
            if ended:
                out |= {here.ref, *here.identifiers}
            seen.add(organisation)
            organisation = here.part_of
        return frozenset(out)

    def everyone_at(self, name: str) -> tuple[str, ...]:
        """Every confirmed organisation that `name` stands for, with its parts: all of a sector, or one and what is part of it."""
        if name in SECTOR_CODES:
            return tuple(ref for ref, o in sorted(self.organisations.items()) if o.confirmed and self.sector(ref) == name)
        top = self.find(name)
        here = self.organisations.get(top) if top else None
        if here is None or not here.confirmed:
            return ()
        return tuple(ref for ref, o in sorted(self.organisations.items()) if o.confirmed and here.ref in self.ancestors(ref))

    # -- people

    def workers(self, organisation: str, at: int) -> tuple[str, ...]:
        """Practitioners with a role in this very organisation now."""
        found = (r for r in self.roles.values() if r.organisation == organisation and covers(r.low, r.high, at))
        return tuple(sorted({r.practitioner for r in found if r.practitioner}))

    def roles_at(self, practitioner: str, at: int, organisation: str | None = None) -> tuple[Role, ...]:
        """Their roles now; with `organisation`, those there or in a part of it."""
        now = (r for r in self.roles_of.get(practitioner, ()) if covers(r.low, r.high, at))
        if organisation is None:
            return tuple(now)
        return tuple(r for r in now if r.organisation and organisation in self.ancestors(r.organisation))

    def organisations_of(self, name: str, at: int) -> frozenset[str]:
        """The organisations that a named owner (organisation, practitioner, role or service) stands for."""
        if name.startswith("Organization/"):
            return frozenset({name})
        if name.startswith("Practitioner/"):
            return frozenset(r.organisation for r in self.roles_at(name, at) if r.organisation)
        if name.startswith("PractitionerRole/"):
            role = self.roles.get(name)
            return frozenset({role.organisation}) if role and role.organisation and covers(role.low, role.high, at) else frozenset()
        if name.startswith("HealthcareService/"):
            return frozenset({self.services[name]} - {""}) if name in self.services else frozenset()
        ref = self.find(name) if "|" in name else None
        if ref is not None:
            return frozenset({ref})
        people = [p for p, (_, ids) in self.people.items() if name in ids] if "|" in name else []
        return frozenset(o for p in people for o in self.organisations_of(p, at))

    def groups_of(self, names: Collection[str], at: int, *, later: bool = False) -> frozenset[str]:
        """The groups that whoever goes by these names is in now; `later`: or will be."""
        return frozenset(
            g.ref for g in self.groups.values()
            if any(m.name in names and (covers(m.low, m.high, at) or (later and (m.high is None or m.high >= at))) for m in g.members)
        )  # fmt: skip

    def apart(self, names: frozenset[str], at: int) -> frozenset[str]:
        """Agreements on sharing of which whoever goes by these names is no partner now (`groups.apart_from`)."""
        agreements = [g for g in self.groups.values() if g.quoted]
        return grouping.apart_from(agreements, names, at) if agreements else frozenset()

    def taken_out(self, ref: str, at: int) -> bool:
        """Was this organisation or practitioner, wherever they sign in for, taken out of an agreement on sharing, and is a partner of none."""
        return all(NO_YES in self.apart(way, at) for way in self.ways_of(ref, at))

    def remembering(self, earlier: Mapping[str, Iterable[Mapping[str, Any]]]) -> Directory:
        """The same, with earlier versions of agreements on sharing (by `Group/…`)."""
        groups = {ref: grouping.with_earlier(g, earlier[ref]) if ref in earlier else g for ref, g in self.groups.items()}
        return replace(self, groups=groups)

    def at_address(self, base: str) -> Directory:
        """The same, served under this address: consents may quote an agreement on sharing by it."""
        return replace(self, groups={ref: grouping.at_address(g, base) for ref, g in self.groups.items()})

    def next_change(self, at: int) -> int | None:
        """The next instant at which some role, or membership of a group, begins or ends."""
        spans = [(r.low, r.high) for r in self.roles.values()] + [(m.low, m.high) for g in self.groups.values() for m in g.members]
        edges = (e for low, high in spans for e in (low, None if high is None else high + 1))
        return min((e for e in edges if e is not None and e > at), default=None)

    def actor(
        self,
        user: str | None,
        *,
        kind: Literal["patient", "proxy", "professional", "system"],
        organisation: str | None = None,
        patient: str | None = None,
        at: datetime,
        clinician: bool = False,
        btg_role: bool = False,
        contributor: bool = False,
        operator: bool = False,
        rbac: bool = True,
    ) -> Actor:
        """Who asks, under every name they go by at this moment: person, roles, organisation and ancestors, identifiers, sector, groups.

        `user` is `Type/id`; `organisation` a reference, an ODS code or `system|value`. With an organisation named, only the
        roles there count; without one, a practitioner of a single organisation is taken to speak for it.
        """
        now = micros(at)
        user = user or ""
        ids: set[str] = {user} - {""}
        person, place = self._signed(user, organisation, now)
        name = ""
        past: set[str] = set()
        everywhere_out = False
        if person.startswith("Practitioner/"):
            name, identifiers = self.people.get(person, ("", frozenset()))
            ids |= {person, *identifiers}
            if place is None and organisation is None:
                places = {r.organisation for r in self.roles_at(person, now) if r.organisation}
                place = next(iter(places)) if len(places) == 1 else None
            for role in self.roles_at(person, now, place):
                ids |= self._role_names(role)
                over = self.past_names(role.organisation)
                past |= {f"{ROLE_AT}|{o} {c}" for o in over for c in role.codes}
            if place is None and kind in ("professional", "system"):
                there, everywhere_out = self._where_taken_out(person, frozenset({user, person, *identifiers}), now)
                past |= there  # a no to it still holds for them
        if patient:
            ids.add(patient) if kind == "patient" else None
        if place:
            ids |= self.organisation_names(place)
            past |= self.past_names(place)
            here = self.organisations.get(place)
            name = name or (here.name if here and user.startswith("Organization/") else "")
        if self.groups and kind in ("professional", "system"):
            lasting = self.groups_of(ids - past, now)
            past |= self.groups_of(ids | past, now) - lasting  # in it by way of an organisation that is no more
            ids |= lasting
        apart = self.apart(frozenset(ids | past), now) if kind in ("professional", "system") else frozenset[str]()
        if everywhere_out:
            apart |= {NO_YES}
        if NO_YES in apart:
            past |= ids
        return Actor(
            kind, frozenset(ids | past), user, name, place, self.sector(place) if kind in ("professional", "system") else None, patient,
            clinician, btg_role, rbac, contributor, operator, past=frozenset(past), apart=apart,
        )  # fmt: skip

    def _where_taken_out(self, person: str, me: frozenset[str], at: int) -> tuple[frozenset[str], bool]:
        """Of somebody (`me`) who speaks for no one place: the names of their roles where no yes would reach them if they spoke for that place,
        and that they have from no other place; and whether that is so of all their places."""
        if not any(g.quoted for g in self.groups.values()):
            return frozenset(), False
        found = self.roles_at(person, at)
        me = me.union(*(self._role_names(r) for r in found if not r.organisation))
        out: dict[str, bool] = {}
        for place in {r.organisation for r in found if r.organisation}:
            way = me | self.organisation_names(place) | self.past_names(place)
            out[place] = NO_YES in self.apart(way.union(*(self._role_names(r) for r in self.roles_at(person, at, place))), at)
        gone = frozenset[str]().union(*(self._role_names(r) for r in found if r.organisation and out[r.organisation]))
        kept = (self._role_names(r) for r in found if not (r.organisation and out[r.organisation]))
        return gone.difference(*kept), bool(out) and all(out.values())

    def _signed(self, user: str, organisation: str | None, now: int) -> tuple[str, str | None]:
        """The person, and the place they speak for, as far as a sign-in says both."""
        place = self.find(organisation) if organisation else None
        if user.startswith("PractitionerRole/"):
            role = self.roles.get(user)
            place = place or (role.organisation if role and covers(role.low, role.high, now) else None)
            return (role.practitioner or "") if role else "", place
        return user, place or (user if user.startswith("Organization/") else None)

    def names_of(self, ref: str, at: int) -> frozenset[str]:
        """Every name by which a consent can let this practitioner or organisation in, now or once a role of theirs has begun."""
        return frozenset().union(*self.ways_of(ref, at))

    def ways_of(self, ref: str, at: int) -> list[frozenset[str]]:
        """The same, a set for each place that a practitioner may speak for: who asks for one place has none of another's names."""
        return [names | self.groups_of(names, at, later=True) for names in self._ways_of(ref, at)]

    def _ways_of(self, ref: str, at: int) -> list[frozenset[str]]:
        if ref.startswith("Organization/"):
            return [self.organisation_names(ref)]
        roles = [r for r in self.roles_of.get(ref, ()) if r.high is None or r.high >= at]
        me = {ref, *self.people.get(ref, ("", frozenset()))[1]}.union(*(self._role_names(r) for r in roles if not r.organisation))
        places = {p: None for r in roles if r.organisation for p in self.ancestors(r.organisation)}
        here = ((p, [r for r in roles if r.organisation and p in self.ancestors(r.organisation)]) for p in places)
        return [frozenset(me | self.organisation_names(p)).union(*map(self._role_names, some)) for p, some in here] or [frozenset(me)]

    def _role_names(self, role: Role) -> set[str]:
        out = {role.ref, *role.identifiers, *role.services}
        if role.organisation:
            out |= {f"{ROLE_AT}|{o} {c}" for o in self.ancestors(role.organisation) for c in role.codes}
        return out


def confirmed(writer: Writer) -> bool:
    """Did an operator, or the gateway itself, write this directory entry."""
    return writer.kind == "operator" or writer.method == "SYSTEM"
