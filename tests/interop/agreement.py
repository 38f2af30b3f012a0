"""Do both sides hold what consent and the rules say? Nothing here is shared with the gateway's sync: the gateway is asked over HTTP,
with a token of the organisation that owns the peer, what that organisation may see; the peer is asked for all that it holds.

A copy there bears a tag with our id. What began there bears none, and is known by its identifier.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from fhir_gateway.domain import said_again

from .driving import Peer

if TYPE_CHECKING:
    from .scenario import Someone

TAG = "https://fhir-gateway.example/id/resource"
OWN_TASKS = "https://fhir-gateway.example/CodeSystem/task"
EMPTY = "https://fhir-gateway.example/id/withheld"
HELD_BACK = "https://fhir-gateway.example/id/held-back"
STAYS = ("Consent", "AuditEvent", "Provenance")  # never sent
DIRECTORY = ("Organization", "Practitioner", "PractitionerRole", "Location", "HealthcareService")
TYPES = ("Patient", "AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Goal", "Observation", "Task", "ServiceRequest", "RelatedPerson", "Communication",
         "DocumentReference", "Flag", "QuestionnaireResponse")  # fmt: skip
Resource = dict[str, Any]


def tag_of(resource: Resource) -> str:
    """Our id on a copy of ours; "" where it began there."""
    return next((str(t["code"]).rpartition(".")[2] for t in resource.get("meta", {}).get("tag", []) if t.get("system") == TAG), "")


def empty(resource: Resource) -> bool:
    """Does it stand in the place of what was taken back, and say nothing: no name, no words, nobody."""
    marked = any(t.get("system") == EMPTY for t in resource.get("meta", {}).get("tag", []))
    words = {k: v for k, v in resource.items() if k not in ("resourceType", "id", "meta", "text")}
    return marked and all(word not in json.dumps(words) for word in ('"reference"', '"display"', '"name"', '"identifier"', '"birthDate"', '"value"', "written"))


def question(resource: Resource) -> bool:
    """A gateway's own question to its people, or work for them: neither side has the other's."""
    codings = resource.get("code", {}).get("coding", []) if resource["resourceType"] == "Task" else []
    return any(c.get("system") == OWN_TASKS for c in codings)


class Both:
    """Both sides. Names are `Type/id` here."""

    def __init__(self, owner: Someone, peer: Peer, theirs: str) -> None:
        self.owner, self.peer, self.theirs = owner, peer, theirs
        self.deleted_there: set[str] = set()  # which the surgery deleted and may not delete here: ours stays, theirs is gone
        self.held_fast: set[str] = set()  # which should be gone, and cannot: a record that began there points to it
        self._ids: dict[str, str] = {}  # name here -> Type/id there
        self._ever: dict[str, str] = {}  # Type/id there -> name here, of all that was ever there
        self._began: dict[str, str] = {}  # identifier there -> name here
        self._whose: dict[str, str] = {}  # name here -> Patient/id here, as it said when it was whole

    # -- there ---------------------------------------------------------------------------------------------------------

    def held_there(self) -> dict[str, Resource]:
        """What the peer holds, by its `Type/id` there."""
        every = {f"{type}/{r['id']}": r for type in TYPES + DIRECTORY for r in self.peer.all(type)}
        return {ref: r for ref, r in every.items() if not (question(r) and not tag_of(r))}

    def look(self) -> tuple[dict[str, Resource], dict[str, str]]:
        """What is there, and what each of it is called here."""
        held = self.held_there()
        names = {}
        for ref, resource in held.items():
            type = resource["resourceType"]
            name = f"{type}/{tag_of(resource)}" if tag_of(resource) else self._began.get(self.identifier(resource), "")
            if name:
                assert name not in names.values(), f"two copies of {name} there"
                names[ref] = name
        self._ids = {name: ref for ref, name in names.items()}
        self._ever |= names
        return held, names

    def has(self, ref: str) -> bool:
        return ref in self._ids

    def copy_of(self, ref: str) -> Resource:
        answer = self.peer.ask("GET", self._ids[ref])
        assert answer.status_code == 200, f"{ref}: {answer.status_code} {answer.text[:300]}"
        out: Resource = answer.json()
        return out

    def identifier(self, resource: Resource) -> str:
        found = resource.get("identifier", [])  # one, in a QuestionnaireResponse
        return next((str(i["value"]) for i in (found if isinstance(found, list) else [found]) if i.get("system") == self.theirs), "")

    def began_there(self, identifier: str) -> str:
        return self._began[identifier]

    # -- here ----------------------------------------------------------------------------------------------------------

    def seen_here(self, people: list[str]) -> dict[str, Resource]:
        """What the peer's organisation may see of these people, by name."""
        from .scenario import everything

        out = {}
        for id in people:
            for resource in everything(self.owner, id):
                if resource["resourceType"] not in STAYS + DIRECTORY and not question(resource):
                    name = f"{resource['resourceType']}/{resource['id']}"
                    out[name] = resource
                    if self.identifier(resource):
                        self._began[self.identifier(resource)] = name
        return out

    def expected(self, people: list[str]) -> dict[str, Resource]:
        """What is to be there: what its organisation may see, but what is restricted (a server that promises nothing gets none of that) or what
        it deleted itself and we keep."""
        return {
            name: resource for name, resource in self.seen_here(people).items()
            if name not in self.deleted_there and not any(s.get("code") in ("R", "V") for s in resource.get("meta", {}).get("security", []))
        }  # fmt: skip

    # -- compared ------------------------------------------------------------------------------------------------------

    def compare(self, people: list[str]) -> None:
        want = self.expected(people)
        held, names = self.look()
        about = {f"Patient/{id}" for id in people}
        self._whose |= {name: self.person(held[ref], names) for ref, name in names.items() if not empty(held[ref])}
        mine = {name: held[ref] for ref, name in names.items() if ref.split("/")[0] in TYPES and self._whose.get(name) in about}
        lacking, beyond = sorted(set(want) - set(mine)), sorted(name for name in set(mine) - set(want) if tag_of(mine[name]))  # theirs stays theirs
        assert not lacking, f"{len(lacking)} should be there: {lacking[:5]}"
        self.held_fast = {name for name in beyond if self.peer.keeps_what_is_pointed_to and self.pointed_to(self._ids[name], held)}
        words = [name for name in sorted(self.held_fast) if not empty(mine[name])]
        assert not words, f"{len(words)} should say nothing: {words[:5]}"
        beyond = [name for name in beyond if name not in self.held_fast]
        assert not beyond, f"{len(beyond)} should not be there: {beyond[:5]}"
        rightly = self._ids.keys() - self.held_fast  # there; what should be gone is named there by its identifier, though a record of theirs keeps it
        for name, resource in want.items():
            # what a crisis plan says again is made anew by whoever gives it out, with the ids that it has there
            ours, theirs = plain(said_again.without(resource), {}, rightly), plain(said_again.without(mine[name]), self._ever, rightly)
            assert ours == theirs, f"{name} differs:\n  here  {difference(ours, theirs)}\n  there {difference(theirs, ours)}"
            for reference in references(mine[name]) if tag_of(mine[name]) or self.peer.keeps_what_is_pointed_to else ():
                self.points_right(name, reference, want)
        nameless = [ref for ref, r in held.items() if ref not in names and ref.split("/")[0] in TYPES]
        assert not nameless, f"neither ours nor known to have begun there: {nameless[:5]}"

    def pointed_to(self, ref: str, held: dict[str, Resource]) -> bool:
        """By a record that began there."""
        return any(r.get("reference") == ref for other in held.values() if not tag_of(other) for r in references(other))

    def person(self, resource: Resource, names: dict[str, str]) -> str:
        if resource["resourceType"] == "Patient":
            return f"Patient/{tag_of(resource)}"
        subject = resource.get("subject") or resource.get("for") or resource.get("patient") or {}
        if subject.get("identifier", {}).get("system") == HELD_BACK:
            return str(subject["identifier"]["value"])
        named = subject.get("reference", "")
        return names.get(named) or self._ever.get(named, "")  # a record of theirs may dangle: its person went again as another

    def points_right(self, name: str, reference: Resource, want: dict[str, Resource]) -> None:
        """What is there is pointed at; what is not there is named by its identifier alone, or by what it was called while it was there:
        Medplum lets any reference dangle, HAPI those that it has no search parameter for."""
        identifier = reference.get("identifier", {})
        if identifier.get("system") == HELD_BACK:
            assert identifier["value"] not in want, f"{name} names {identifier['value']}, which is there, as if it were held back"
        elif "reference" in reference and not reference["reference"].startswith(("#", "urn:", "http")):
            target = self._ever.get(reference["reference"])
            assert target not in want or self._ids[target] == reference["reference"], f"{name} points at {target} as it was called before it went again"
            assert target is not None, f"{name} points at {reference['reference']}, which never was there"

    def versions(self, people: list[str]) -> dict[str, str]:
        """The version of everything there, and of what its organisation sees here."""
        every = self.held_there() | {f"here {name}": r for name, r in self.seen_here(people).items()}
        return {ref: r["meta"]["versionId"] for ref, r in every.items()}


def plain(resource: Resource, names: Mapping[str, str], there: Container[str]) -> Resource:
    """What a person wrote, its words and tags with it: no id and no version, references by their name here. `there`: what is at that server,
    by its name here; only of what is not may a logical reference stand for it."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source", "tag")}
    tags = [t for t in resource.get("meta", {}).get("tag", []) if t.get("system") != TAG]
    meta |= {"tag": tags} if tags else {}
    out = {k: v for k, v in resource.items() if k not in ("id", "meta")} | ({"meta": meta} if meta else {})

    def reference(node: Resource) -> Resource:
        held = held_back(node)
        name = held or names.get(node["reference"], node["reference"])
        if name in there:
            return node if held else {**node, "reference": name}
        return {**{k: v for k, v in node.items() if k not in ("identifier", "type")}, "reference": name}

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(n) for n in node]
        if not isinstance(node, dict):
            return float(node) if isinstance(node, (int, float)) and not isinstance(node, bool) else node
        inside = {k: walk(v) for k, v in node.items()}
        return reference(inside) if isinstance(inside.get("reference"), str) or held_back(inside) else inside

    walked = walk(out)
    assert isinstance(walked, dict)
    return walked


def held_back(reference: Resource) -> str:
    """What a logical reference of a gateway names; "" for any other."""
    identifier = reference.get("identifier")
    return str(identifier["value"]) if isinstance(identifier, dict) and identifier.get("system") == HELD_BACK and "reference" not in reference else ""


def references(node: Any) -> list[Resource]:
    if isinstance(node, list):
        return [r for n in node for r in references(n)]
    if not isinstance(node, dict):
        return []
    own = [node] if isinstance(node.get("reference"), str) or (isinstance(node.get("identifier"), dict) and "resourceType" not in node) else []
    return own + [r for v in node.values() for r in references(v)]


def difference(one: Resource, other: Resource) -> str:
    return json.dumps({k: v for k, v in one.items() if other.get(k) != v}, ensure_ascii=False)[:800]
