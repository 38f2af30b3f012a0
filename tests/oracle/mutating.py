"""One random fault or oddity in a resource: `mutated(r4, rnd, base)` gives (kind, resource). The base is not touched.

A mutation need not make the resource invalid: what matters is that both validators say the same of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

from fhir_gateway.domain.r4 import R4, Element, names

from . import growing

Node = dict[str, Any]


@dataclass
class Place:
    """One value in a resource, and what R4 says of it."""

    holder: Any  # a dict, or the list the value stands in
    key: Any  # name or index
    node: Node  # the object that has the element
    name: str  # its JSON name there
    kind: str  # its type; "" for a backbone
    e: Element
    owner: str  # the type and the path below it whose children a complex value has
    below: str
    depth: int

    @property
    def value(self) -> Any:
        return self.holder[self.key]

    @value.setter
    def value(self, new: Any) -> None:
        self.holder[self.key] = new

    @property
    def whole(self) -> Any:
        return self.node[self.name]


def places(r4: R4, resource: Node) -> list[Place]:
    """Every value below the root that R4 knows."""
    out: list[Place] = []
    kind = resource.get("resourceType")
    if isinstance(kind, str) and r4.has_type(kind):
        _walk(r4, resource, kind, "", 1, out)
    return out


def _walk(r4: R4, node: Any, owner: str, below: str, depth: int, out: list[Place]) -> None:
    if not isinstance(node, dict) or depth > 12:
        return
    known = {j: (n, e, e.types[i] if e.types else "") for n, e in r4.type(owner).children(below) for i, j in enumerate(names(n, e))}
    for name, value in list(node.items()):
        if name not in known:
            continue
        element, e, kind = known[name]
        path = f"{below}.{element}" if below else element
        inner: tuple[str, str] = (kind, "")
        if e.ref:
            holder, _, rest = e.ref.partition(".")
            inner, kind = (holder, rest), ""
        elif kind in ("BackboneElement", "Element") and any(True for _ in r4.type(owner).children(path)):
            inner, kind = (owner, path), ""
        for box, key in ((value, i) for i in range(len(value))) if isinstance(value, list) else ((node, name),):
            at = box[key]
            here = Place(box, key, node, name, kind, e, *inner, depth)
            out.append(here)
            if kind == "Resource":
                if isinstance(at, dict) and isinstance(at.get("resourceType"), str) and r4.has_type(at["resourceType"]):
                    here.owner, here.below = at["resourceType"], ""
                    _walk(r4, at, at["resourceType"], "", depth + 1, out)
            elif not (kind and r4.is_primitive(kind)):
                _walk(r4, at, *inner, depth + 1, out)


class Nothing(Exception):
    """This mutation has no place in this resource."""


class Mutating:
    def __init__(self, r4: R4, rnd: Random, resource: Node) -> None:
        self.r4, self.rnd, self.root = r4, rnd, resource
        self.places = places(r4, resource)

    def one(self, fits: Callable[[Place], bool] = lambda p: True) -> Place:
        some = [p for p in self.places if fits(p)]
        if not some:
            raise Nothing
        return self.rnd.choice(some)

    def node(self) -> Node:
        """The root, or any object R4 knows below it."""
        if self.rnd.random() < 0.25:
            return self.root
        place = self.one(lambda p: isinstance(p.value, dict))
        value = place.value
        assert isinstance(value, dict)
        return value

    def grown_place(self, kind: str) -> Place:
        """A place of this type; one is grown where there is none, in an extension where there is no room for one."""
        if not any(p.kind == kind for p in self.places):
            try:
                self.grow(kind)
            except Nothing:
                value = growing.grown(self.r4, self.rnd, kind, "", 1)
                held = {"url": "http://e.test/value", "value" + kind[:1].upper() + kind[1:]: value}
                self.root["extension"] = [*(self.root.get("extension") or []), held]
                self.places = places(self.r4, self.root)
        return self.one(lambda p: p.kind == kind)

    def grow(self, kind: str = "") -> None:
        """Add an optional element that is not there; of this type, when there is room for one."""
        room = []
        spots = [(self.root, str(self.root["resourceType"]), "")]
        spots += [(p.value, p.owner, p.below) for p in self.places if isinstance(p.value, dict) and self.r4.knows(p.owner)]
        for node, owner, below in spots:
            for name, e in self.r4.type(owner).children(below):
                if any(j in node for j in names(name, e)) or name in ("contained", "extension", "modifierExtension", "id"):
                    continue
                if not kind or kind in e.types:
                    room.append((node, owner, below, name, e))
        if not room:
            raise Nothing
        node, owner, below, name, e = self.rnd.choice(room)
        if kind and name.endswith("[x]"):
            value = growing.grown(self.r4, self.rnd, kind, "", 1, e)
            json_name = name[:-3] + kind[:1].upper() + kind[1:]
            node[json_name] = [value] if e.many else value
        else:
            json_name, value = growing.element(self.r4, self.rnd, owner, below, name, e, 1)
            node[json_name] = value
        self.places = places(self.r4, self.root)


# -- elements ---------------------------------------------------------------------------------------------------------


def delete(m: Mutating) -> None:
    p = m.one()
    if isinstance(p.holder, list) and m.rnd.random() < 0.5:
        del p.holder[p.key]
        if not p.holder and m.rnd.random() < 0.7:
            del p.node[p.name]
    else:
        del p.node[p.name]


def delete_required(m: Mutating) -> None:
    p = m.one(lambda p: p.e.min > 0)
    del p.node[p.name]


def duplicate(m: Mutating) -> None:
    p = m.one()
    if isinstance(p.holder, list):
        p.holder.insert(p.key, deepcopy(p.value))
    else:
        p.node[p.name] = [p.value, deepcopy(p.value)] if m.rnd.random() < 0.5 else [p.value]


def rename(m: Mutating) -> None:
    p = m.one()
    n = p.name
    new = m.rnd.choice([n + "s", n[:-1] or "x", n.upper(), n[:1].upper() + n[1:], "_" + n, n + "Code", n + " ", "extension", "id", "value"])
    p.node[new] = p.node.pop(n)


def unknown(m: Mutating) -> None:
    name = m.rnd.choice(["colour", "x-y", "fhir_comments", "resourceType", "$schema", "status", "text", "value", "_id", "valueCode", ""])
    m.node().setdefault(name, m.rnd.choice(["x", 1, True, {"text": "x"}, ["x"], [{"text": "x"}]]))


def move(m: Mutating) -> None:
    p = m.one()
    value = p.node.pop(p.name)
    m.node().setdefault(p.name, value)


def swap(m: Mutating) -> None:
    a, b = m.one(), m.one()
    if (isinstance(a.value, dict) and isinstance(b.value, dict) and json.dumps(b.value) in json.dumps(a.value)) or a is b:
        raise Nothing
    a.value, b.value = deepcopy(b.value), deepcopy(a.value)


def grow(m: Mutating) -> None:
    for _ in range(m.rnd.choice((1, 1, 2, 3))):
        m.grow()


# -- JSON types -------------------------------------------------------------------------------------------------------


def other_type(m: Mutating) -> None:
    p = m.one()
    v = p.value
    options: list[Any] = ["x", "", 0, 1, -1, 1.5, True, False, None, [], {}, [v], {"value": v}, [None], [[v]], {"id": "x"}, str(v)]
    if isinstance(v, str):
        options += [[v, v], {"text": v}] + ([int(v)] if v.isdigit() else [])
    if isinstance(v, dict) and v:
        options += [next(iter(v.values())), list(v.values())]
    p.value = m.rnd.choice(options)


def array_or_not(m: Mutating) -> None:
    p = m.one()
    whole = p.whole
    p.node[p.name] = whole[0] if isinstance(whole, list) and whole else [whole]


def emptied(m: Mutating) -> None:
    p = m.one()
    if m.rnd.random() < 0.5:
        p.node[p.name] = m.rnd.choice([[], {}, "", None, [None], [{}], [""]])
    else:
        p.value = m.rnd.choice(["", {}, [], None])


# -- primitives -------------------------------------------------------------------------------------------------------

STRINGS = [
    " ", "  ", "\t", "\n", " x", "x ", "x  y", "x\ty", "x\u00a0y", "\u00a0", "\u2003", "\u200b", "Zoë", "名前", "😀", "a" * 300, "<b>x</b>", "&amp;",
    "x\u0000", "x\u0007", "\u007f", "\ufeffx", "null", "true", "0", "${x}", "x\r\ny",
]  # fmt: skip
DATES = [
    "2024", "2024-02", "2024-2", "2024-02-30", "2023-02-29", "2024-02-29", "24-02-03", "0000", "0001", "9999-12-31", "10000", "2024-13", "2024-00",
    "2024-02-29T10:00:00Z", "2024-02-29T10:00Z", "2024-02-29T24:00:00Z", "2024-02-29T23:59:60Z", "2024-02-29T10:00:00", "2024-02-29 10:00:00Z",
    "2024-02-29T10:00:00+14:00", "2024-02-29T10:00:00+14:01", "2024-02-29T10:00:00+15:00", "2024-02-29T10:00:00.123456789Z", "2024-02-29T10:00:00.Z",
    "2024-02-29T10:00:00z", "2024-02-29t10:00:00Z", "2024-02-29T10", "2024-02T10:00:00Z", "2024-02-29Z", "2024-02-29+01:00", "2024-366", "2024-W01",
    "20240229", "29/02/2024", "yesterday", "1800-01-01", "1582-10-10", "2024-02-29T10:00:00-00:00", "-2024", "+2024", "2024-02-29T10:00:00+0100",
    "10:00:00", "10:00", "24:00:00", "10:00:00Z", "10:00:00.5", "10:60:00", "10:00:60", "T10:00:00",
]  # fmt: skip
NUMBERS = [
    0, -0.0, 1, -1, 1.0, 1.5, 100, 1e3, 1e-7, 1e22, 2147483647, 2147483648, -2147483648, -2147483649, 12345678901234567890, 0.1234567890123456789,
    "1", True, 1e308,
]  # fmt: skip
URIS = [
    "x", "x y", "/x", "http://", "http://x y", "http://e.test/a|1", "urn:oid:1.2.3.4", "urn:oid:1.2.3", "urn:oid:3.1.2.3", "urn:oid:1.02.3.4", "urn:oid:x",
    "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "urn:uuid:x", "URN:UUID:x", "urn:x", "1.2.3.4",
    "c757873d-ec9a-4326-a141-556f43239520", "#x", "#", "Patient/1", "http://hl7.org/fhir/sid/us-ssn", "http://hl7.org/fhir/x", "mailto:x@e.test",
    "https://é.test/", "http://e.test/%zz", "http://e.test/<x>", "{x}", "http://e.test/{x}", "HTTP://E.TEST", "file:///x", "http:e", ":", "a:b",
    "http://terminology.hl7.org/CodeSystem/x", "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/ValueSet/goal-status", "|", "http://e.test/a|",
]  # fmt: skip
CODES = [
    "bogus", "", " active", "active ", "a  b", "a b", "ACTIVE", "Active", "active", "unknown", "en", "en-GB", "en_GB", "xx-YY", "x", "a\tb", "completed",
    "*", "Patient", "Goal", "male", "M", "R", "1", "text/plain", "kg", "GBP", "text", "usual", "official", "final",
]  # fmt: skip
B64 = ["aGVsbG8=", "aGVsbG8", "aGVs bG8=", "aGVs\nbG8=", "a", "ab", "abc", "abcd", "abcd=", "a===", "%%%", "aGVsbG8==", "_-aa", " ", "aGVsbG8= "]
LINES = {
    "string": STRINGS, "markdown": STRINGS, "code": CODES + STRINGS[:6], "id": ["a_b", "a" * 64, "a" * 65, "a b", "", " ", "é", "A.b-1", "1", "#a"],
    "uri": URIS + STRINGS[:4], "url": URIS, "canonical": URIS, "oid": URIS, "uuid": URIS, "date": DATES, "dateTime": DATES, "instant": DATES, "time": DATES,
    "base64Binary": B64, "boolean": ["true", 1, 0, "", None, "x"], "decimal": NUMBERS, "integer": NUMBERS, "unsignedInt": NUMBERS, "positiveInt": NUMBERS,
}  # fmt: skip


def primitive(kind: str) -> Callable[[Mutating], None]:
    def mutate(m: Mutating) -> None:
        p = m.grown_place(kind)
        p.value = m.rnd.choice(LINES[kind])

    return mutate


def any_primitive(m: Mutating) -> None:
    p = m.one(lambda p: p.kind in LINES)
    p.value = m.rnd.choice(LINES[p.kind])


def text(m: Mutating) -> None:
    p = m.one(lambda p: p.kind in ("string", "markdown", "uri", "code"))
    p.value = m.rnd.choice([*STRINGS, f" {p.value}", f"{p.value} ", str(p.value).upper()])


# -- codes ------------------------------------------------------------------------------------------------------------


def bad_code(m: Mutating) -> None:
    p = m.one(lambda p: p.kind == "code" and bool(p.e.bind))
    p.value = m.rnd.choice([*CODES, str(p.value).upper(), str(p.value) + " ", str(p.value)[:-1] or "x"])


def coding(m: Mutating) -> None:
    p = m.grown_place("Coding" if m.rnd.random() < 0.7 else "CodeableConcept")
    c = p.value
    if isinstance(c, dict) and p.kind == "CodeableConcept":
        if "coding" not in c or m.rnd.random() < 0.2:
            c["coding"] = [{"system": "http://e.test/codes", "code": "c"}]
        c = m.rnd.choice(c["coding"]) if isinstance(c["coding"], list) and c["coding"] else c
    if not isinstance(c, dict):
        raise Nothing
    system = m.rnd.choice(sorted(m.r4._systems.raw))
    match m.rnd.randrange(9):
        case 0:
            c["code"] = m.rnd.choice(CODES)
        case 1:
            c.pop("system", None)
        case 2:
            c.pop("code", None)
        case 3:
            c["system"] = m.rnd.choice(URIS)
        case 4:
            c["system"], c["code"] = system, m.rnd.choice(sorted(m.r4._systems[system].codes))
        case 5:
            c["system"], c["code"] = system, m.rnd.choice(CODES)
        case 6:
            c["system"] = m.rnd.choice([*m.r4._sets.raw])
        case 7:
            c["code"] = str(c.get("code", "x")).upper()
        case 8:
            c["version"], c["display"], c["userSelected"] = "9", m.rnd.choice(["x", " "]), True


def concept(m: Mutating) -> None:
    p = m.grown_place("CodeableConcept")
    p.value = m.rnd.choice([{"text": "x"}, {"coding": [{"display": "x"}]}, {"coding": [{"code": "x"}]}, {"coding": []}, {"coding": [{}]}, {"text": " "},
                            {"coding": [{"system": "http://e.test/x", "code": "y"}, {"system": "http://e.test/x", "code": "z"}]}])  # fmt: skip


def bound(m: Mutating) -> None:
    """Another code of a set that some element is bound to, or one of its system outside the set."""
    p = m.one(lambda p: p.kind in ("code", "Coding", "CodeableConcept") and bool(p.e.bind))
    sets = m.r4.value_set(p.e.bind[0][1])
    if not sets:
        raise Nothing
    system = m.rnd.choice(sorted(sets))
    known = m.r4.system(system)
    code = m.rnd.choice(sorted(known.codes if known and m.rnd.random() < 0.6 else sets[system]) or ["x"])
    c = {"system": system, "code": code}
    p.value = code if p.kind == "code" else c if p.kind == "Coding" else {"coding": [c]}


# -- references -------------------------------------------------------------------------------------------------------

REFERENCES = [
    "Patient/1", "Practitioner/1", "Medication/1", "Foo/1", "patient/1", "Patient/", "Patient", "/Patient/1", "Patient/1/", "Patient/1/_history/2",
    "Patient/1/_history", "Patient/a_b", "Patient?identifier=x|1", "Patient/1#a", "#missing", "#", "", " ", "Patient/1 ", "x y", "http://e.test/Patient/1",
    "http://e.test/Medication/1/_history/1", "http://e.test/x", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:x", "urn:oid:1.2.3.4",
    "../Patient/1", "./Patient/1", "Patient/" + "a" * 65, "mailto:x@e.test", "Patient/1?x=y", "ftp://e.test/Patient/1", "Bundle/1", "Parameters/1",
]  # fmt: skip


def reference(m: Mutating) -> None:
    p = m.grown_place("Reference")
    match m.rnd.randrange(6):
        case 0 | 1 | 2:
            p.value = {"reference": m.rnd.choice(REFERENCES)}
        case 3:
            p.value = {"type": m.rnd.choice(["Patient", "Medication", "Foo", "http://hl7.org/fhir/StructureDefinition/Patient", "patient", "Resource"]),
                       **m.rnd.choice([{"display": "x"}, {"identifier": {"value": "1"}}, {"reference": m.rnd.choice(REFERENCES)}])}  # fmt: skip
        case 4:
            p.value = m.rnd.choice([{"display": "x"}, {"identifier": {"system": "http://e.test/i", "value": "1"}}, {}, {"id": "r"}, {"reference": "Patient/1", "identifier": {}}])
        case 5:
            p.value = {"reference": f"{m.rnd.choice(m.r4.types)}/1"}


# -- cardinality and choices ------------------------------------------------------------------------------------------


def choice_doubled(m: Mutating) -> None:
    if not any(len(p.e.types) > 1 for p in m.places):
        m.grow()
    p = m.one(lambda p: len(p.e.types) > 1)
    stem = p.name[: -len(p.kind or p.e.types[0])] if p.kind else p.name
    kind = m.rnd.choice(p.e.types)
    p.node[stem + kind[:1].upper() + kind[1:]] = growing.grown(m.r4, m.rnd, kind, "", 2, p.e)


def choice_other(m: Mutating) -> None:
    p = m.one(lambda p: len(p.e.types) > 1)
    stem = p.name[: -len(p.kind)] if p.kind else p.name
    kind = m.rnd.choice(["String", "Boolean", "Quantity", "Integer", "Code", "", "string", "Period", "Date", "DateTime", "Uri", "Foo", "CodeableConcept"])
    p.node[stem + kind] = p.node.pop(p.name)


# -- invariants -------------------------------------------------------------------------------------------------------

BROKEN: list[tuple[str, list[Node]]] = [
    ("Period", [{"start": "2024-03", "end": "2024-02"}, {"start": "2024-03", "end": "2024-03-01"}, {"start": "2024-03-01T10:00:00Z", "end": "2024-03-01"},
                {"start": "2024", "end": "2024-01"}, {"start": "2024-03-01T10:00:00+02:00", "end": "2024-03-01T09:00:00Z"}, {"end": "2024"},
                {"start": "2024-03-01T10:00:00Z", "end": "2024-03-01T10:00:00Z"}, {"start": "2024-03-01T10:00:00.5Z", "end": "2024-03-01T10:00:00Z"}]),
    ("Quantity", [{"value": 1, "code": "mg"}, {"value": 1, "unit": "x", "system": "http://unitsofmeasure.org"}, {"comparator": "~", "value": 1}, {"unit": "x"},
                  {"value": 1, "system": "http://unitsofmeasure.org", "code": "notaunit"}, {"value": 1, "system": "x", "code": "y"}, {"value": "1"}, {"comparator": "<", "value": 1}]),
    ("Range", [{"low": {"value": 3}, "high": {"value": 2}}, {"low": {"value": 3, "unit": "a"}, "high": {"value": 4, "unit": "b"}},
               {"low": {"value": 3, "comparator": "<"}}, {"low": {"value": 2000, "system": "http://unitsofmeasure.org", "code": "g"}, "high": {"value": 1, "system": "http://unitsofmeasure.org", "code": "kg"}}]),
    ("Ratio", [{"numerator": {"value": 1}}, {"denominator": {"value": 1}}, {"numerator": {"value": 1}, "denominator": {"value": 0}}, {"extension": [{"url": "http://e.test/x", "valueCode": "y"}]}]),
    ("Timing", [{"repeat": r} for r in (
        {"duration": 1}, {"durationUnit": "h"}, {"period": -1, "periodUnit": "d"}, {"periodMax": 2}, {"countMax": 2}, {"offset": 5}, {"offset": 5, "when": ["C"]},
        {"timeOfDay": ["10:00:00"], "when": ["HS"]}, {"period": 1, "periodUnit": "x"}, {"frequency": 0}, {"dayOfWeek": ["monday"]}, {"durationMax": 1, "duration": 1, "durationUnit": "h"},
        {"when": ["MORN", "AC"], "offset": 3}, {"boundsPeriod": {"start": "2024"}, "boundsRange": {}}, {"period": 1.5, "periodUnit": "d"})]),
    ("Attachment", [{"data": "aGVsbG8="}, {"contentType": "x", "data": "aGVsbG8=", "size": 5}, {"contentType": "text/plain", "data": "aGVsbG8=", "size": 6}, {"title": "x"}, {"url": "x", "hash": "x"}]),
    ("ContactPoint", [{"value": "x"}, {"system": "phone"}, {"system": "bogus", "value": "x"}, {"rank": 0, "system": "email", "value": "x"}, {"use": "home"}]),
    ("Identifier", [{"system": "x", "value": "1"}, {"system": "urn:ietf:rfc:3986", "value": "x"}, {"value": " "}, {"system": "http://e.test/i"}, {"use": "bogus"}, {"assigner": {"reference": "Patient/1"}, "value": "1"}]),
    ("HumanName", [{"use": "bogus"}, {"given": "x"}, {"given": []}, {"given": [None], "_given": [{"extension": [{"url": "http://e.test/x", "valueCode": "y"}]}]}, {"given": [None]},
                   {"given": ["a"], "_given": [None, {"id": "x"}]}, {"family": "x", "_family": {"id": "a"}}, {"_family": {"id": "a"}}]),
    ("Address", [{"use": "bogus"}, {"type": "x"}, {"line": "x"}, {"period": {"start": "2025", "end": "2024"}}]),
    ("Age", [{"value": -1, "system": "http://unitsofmeasure.org", "code": "a"}, {"value": 1}, {"value": 1, "code": "a"}, {"value": 1, "system": "http://e.test/u", "code": "a"}, {"value": 0, "system": "http://unitsofmeasure.org", "code": "a"}]),
    ("Duration", [{"value": 1, "unit": "h"}, {"value": 1, "code": "h"}, {"value": 1, "system": "http://e.test/u", "code": "h"}, {"system": "http://unitsofmeasure.org", "code": "h"}]),
    ("Annotation", [{"text": "x", "authorString": "a", "authorReference": {"display": "b"}}, {"time": "2024"}, {"text": "x", "authorReference": {"reference": "Medication/1"}}]),
    ("Money", [{"value": 1, "currency": "XXXX"}, {"currency": "GBP"}, {"value": 1, "currency": "gbp"}]),
    ("SampledData", [{"origin": {"value": 1}, "period": 1, "dimensions": 1, "data": "1 2 E"}, {"origin": {"value": 1, "comparator": "<"}, "period": 1, "dimensions": 0, "data": "x"}]),
    ("Meta", [{"profile": ["x"]}, {"profile": ["http://e.test/p"]}, {"lastUpdated": "2024"}, {"security": [{"code": "R"}]}, {"tag": [{"system": "x", "code": "y"}]}, {"versionId": "a b"}, {"source": "x y"}]),
    ("Dosage", [{"asNeededBoolean": True, "asNeededCodeableConcept": {"text": "x"}}, {"doseAndRate": [{"doseQuantity": {"value": 1}, "doseRange": {}}]}, {"sequence": "1"}]),
    ("Signature", [{"type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}], "when": "2024", "who": {"display": "x"}}, {"type": [], "when": "2024-01-01T00:00:00Z"}]),
]  # fmt: skip


def invariant(m: Mutating) -> None:
    kind, options = m.rnd.choice(BROKEN)
    p = m.grown_place(kind)
    p.value = deepcopy(m.rnd.choice(options))


def pair(m: Mutating) -> None:
    """Most invariants speak of two elements of one object: take one away or add one."""
    node = m.node()
    p = m.one(lambda p: p.node is node) if m.rnd.random() < 0.5 else None
    if p is not None:
        del p.node[p.name]
    else:
        owner, below = next(((p.owner, p.below) for p in m.places if p.value is node), (str(m.root["resourceType"]), ""))
        some = [(n, e) for n, e in m.r4.type(owner).children(below) if n not in ("contained", "extension", "modifierExtension")]
        name, e = m.rnd.choice(some)
        json_name, value = growing.element(m.r4, m.rnd, owner, below, name, e, 2)
        node[json_name] = value


# -- contained, extensions, narrative ---------------------------------------------------------------------------------


def contained(m: Mutating) -> None:
    held = {"resourceType": "Organization", "id": "c1", "name": "Held"}
    m.root.setdefault("contained", [])
    if not isinstance(m.root["contained"], list):
        raise Nothing
    m.root["contained"].append(held)
    used = m.rnd.random() < 0.75
    if used:
        p = m.grown_place("Reference")
        p.value = {"reference": "#c1"}
    match m.rnd.randrange(12):
        case 0:
            del held["id"]
        case 1:
            held["meta"] = m.rnd.choice([{"versionId": "1"}, {"lastUpdated": "2024-01-01T00:00:00Z"}, {"security": [{"code": "R", "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}]}, {"profile": ["http://e.test/p"]}])  # type: ignore[assignment]
        case 2:
            held["contained"] = [{"resourceType": "Organization", "id": "c2", "name": "x"}]  # type: ignore[assignment]
        case 3:
            held["resourceType"] = m.rnd.choice(["Patient", "Foo", "", "Bundle", "Basic"])
        case 4:
            m.root["contained"].append(dict(held))
        case 5:
            held["partOf"] = {"reference": m.rnd.choice(["#", "#c1", "#c2", "Organization/1"])}  # type: ignore[assignment]
        case 6:
            m.root["contained"].append({"resourceType": "Organization", "id": "c2", "name": "x", "partOf": {"reference": "#c1"}})
        case 7:
            held["text"] = {"status": "generated", "div": growing.DIV}  # type: ignore[assignment]
        case 8:
            held["id"] = m.rnd.choice(["#c1", "c 1", "C1"])
        case 9:
            m.root["contained"] = m.rnd.choice([held, [], [None], ["x"], [[held]]])
        case 10:
            held.pop("name")


def extension(m: Mutating) -> None:
    known = sorted(m.r4._extensions.raw)
    url = m.rnd.choice([*known, *["http://e.test/x"] * len(known)])
    some: list[Node] = [
        {"url": url, "valueString": "x"}, {"url": url, "valueCode": "x"}, {"url": url, "valueBoolean": True}, {"url": url}, {"valueString": "x"},
        {"url": "x", "valueString": "x"}, {"url": url, "valueString": "x", "valueCode": "y"}, {"url": url, "value": "x"}, {"url": url, "valueFoo": "x"},
        {"url": url, "extension": [{"url": "a", "valueString": "x"}]}, {"url": url, "valueString": "x", "extension": [{"url": "a", "valueString": "x"}]},
        {"url": url, "extension": []}, {"url": " ", "valueString": "x"}, {"url": url, "valueReference": {"reference": "Patient/1"}}, {"id": "e"},
        {"url": url, "valueCodeableConcept": {"text": "x"}}, {"url": url, "valueInteger": 1}, {"url": url, "valueCanonical": "http://e.test/c"},
        {"url": url, "_valueString": {"extension": [{"url": "http://e.test/y", "valueBoolean": True}]}}, {"url": url, "extension": [{"url": "a"}]},
    ]  # fmt: skip
    e = m.rnd.choice(some)
    where = m.rnd.random()
    if where < 0.25:
        p = m.one(lambda p: p.kind in LINES and not isinstance(p.holder, list))
        p.node["_" + p.name] = {"extension": [e]}
        if m.rnd.random() < 0.3:
            del p.node[p.name]
    elif where < 0.35:
        m.node()["modifierExtension"] = [e]
    else:
        node = m.node()
        node["extension"] = [*(node.get("extension") or []), e]


def known_extension(m: Mutating) -> None:
    """One of R4's own where it belongs, with a value it may or may not have."""
    url = m.rnd.choice(sorted(m.r4._extensions.raw))
    known = m.r4.extension(url)
    assert known is not None
    e: Node = {"url": url}
    types = known.types if m.rnd.random() < 0.8 else ("string", "boolean", "Quantity")
    if types:
        kind = m.rnd.choice(types)
        e["value" + kind[:1].upper() + kind[1:]] = growing.grown(m.r4, m.rnd, kind, "", 2, Element(types=(kind,), bind=known.bind, targets=known.targets))
    for part, inner in known.parts.items():
        if (inner.min or m.rnd.random() < 0.4) and inner.types:
            kind = m.rnd.choice(inner.types)
            e.setdefault("extension", []).append({"url": part, "value" + kind[:1].upper() + kind[1:]: growing.grown(m.r4, m.rnd, kind, "", 2, Element(types=(kind,), bind=inner.bind))})
    paths = {x for k, x in known.contexts if k == "element"}
    fits = [p.value for p in m.places if isinstance(p.value, dict) and m.r4.knows(p.owner) and (p.owner in paths or f"{p.owner}.{p.below}" in paths)]
    twins = [p for p in m.places if p.kind in LINES and not isinstance(p.holder, list) and p.kind in paths]
    if m.root["resourceType"] in paths or paths & {"DomainResource", "Resource"}:
        fits.append(m.root)
    if fits and m.rnd.random() < 0.85:
        node = m.rnd.choice(fits)
        node["extension"] = [*(node.get("extension") or []), e]
    elif twins and m.rnd.random() < 0.85:
        p = m.rnd.choice(twins)
        p.node["_" + p.name] = {"extension": [e]}
    else:
        m.node()["extension"] = [e]


def primitive_twin(m: Mutating) -> None:
    p = m.one(lambda p: p.kind in LINES)
    x = {"extension": [{"url": "http://e.test/x", "valueCode": "y"}]}
    some: list[Any] = [x, [x], {"id": "t"}, {"id": "t", **x}, {}, [], None, "x", [None], [None, x], {"value": "x"}, {"extension": []}]
    p.node["_" + p.name] = m.rnd.choice(some)
    if m.rnd.random() < 0.4:
        del p.node[p.name]
    elif isinstance(p.holder, list) and m.rnd.random() < 0.5:
        p.value = None


NARRATIVES = [
    "", " ", "x", "<b>x</b>", "<p>x</p>", "<p>x", "<br/>", "<img src='x' alt='y'/>", "<img src='#x' alt='y'/>", "<a href='#x'>y</a>", "<a name='x'>y</a>", "<script>x</script>",
    "<p onclick='x'>x</p>", "<p style='color:red'>x</p>", "<form>x</form>", "<iframe src='x'/>", "<table><tr><td>x</td></tr></table>", "<table border='1'><tr><td>x</td></tr></table>",
    "<p class='x' id='y' title='z' lang='en'>x</p>", "<p xml:lang='en'>x</p>", "&nbsp;", "&#160;", "&amp;", "&", "&lt;", "&copy;", "&bogus;", "<![CDATA[x]]>", "<![CDATA[ ]]>", "<!-- x -->",
    "<!-- x -->y", "<?x y?>z", "<p>\u0007</p>", "<p>😀</p>", "<h1>x</h1>", "<H1>x</H1>", "<u>x</u>", "<font>x</font>", "<center>x</center>", "<section>x</section>", "<nav>x</nav>",
    "<svg xmlns='http://www.w3.org/2000/svg'>x</svg>", "<p data-x='y'>x</p>", "<a href='javascript:x'>y</a>", "<a href='http://e.test'>y</a>", "<style>x</style>", "<link href='x'/>",
    "<ul><li>x</li></ul>", "<dl><dt>x</dt><dd>y</dd></dl>", "<p>x</p><p id='a'>y</p><p id='a'>z</p>", "<input type='text'/>", "<del>x</del>", "<ins>x</ins>", "<p title=\"a'b\">x</p>",
    "<p title=x>x</p>", "<p a>x</p>", "<br>", "<td>x</td>", "<p/>", "<hr/>", "<p><div>x</div></p>", "<blockquote cite='x'>y</blockquote>", "<abbr title='x'>y</abbr>", "<ol start='3'><li>x</li></ol>",
    "<td bgcolor='x'>y</td>", "<p align='left'>x</p>", "<p width='1'>x</p>", "<map name='x'><area alt='y'/></map>", "<object>x</object>", "<bdo dir='rtl'>x</bdo>", "<a target='_blank' href='#'>x</a>",
]  # fmt: skip
DIVS = [
    "<div>{}</div>", "<div xmlns='http://www.w3.org/1999/xhtml'>{}</div>", "<p xmlns='http://www.w3.org/1999/xhtml'>{}</p>", "{}", "<h:div xmlns:h='http://www.w3.org/1999/xhtml'>{}</h:div>",
    "<?xml version='1.0'?><div xmlns='http://www.w3.org/1999/xhtml'>{}</div>", "<!DOCTYPE html><div xmlns='http://www.w3.org/1999/xhtml'>{}</div>", " <div xmlns='http://www.w3.org/1999/xhtml'>{}</div> ",
    "<DIV xmlns='http://www.w3.org/1999/xhtml'>{}</DIV>", "<div xmlns='http://www.w3.org/1999/xhtml' xmlns='x'>{}</div>", "<div xmlns='x'>{}</div>", "<div xmlns='http://www.w3.org/1999/xhtml'>{}</div>x",
    "<div xmlns='http://www.w3.org/1999/xhtml' id='a' xml:lang='en' lang='en'>{}</div>", "<!-- x --><div xmlns='http://www.w3.org/1999/xhtml'>{}</div>", "<html xmlns='http://www.w3.org/1999/xhtml'>{}</html>",
]  # fmt: skip


def narrative(m: Mutating) -> None:
    div = m.rnd.choice(DIVS) if m.rnd.random() < 0.25 else DIVS[1]
    inside = m.rnd.choice(NARRATIVES) if div is DIVS[1] or m.rnd.random() < 0.3 else "<p>x</p>"
    m.root["text"] = {"status": "generated", "div": div.format(inside)}
    odd = m.rnd.random()
    if odd < 0.1:
        m.root["text"]["status"] = m.rnd.choice(["bogus", "empty", "extensions", "additional"])
    elif odd < 0.15:
        m.root["text"] = m.rnd.choice([{"status": "generated"}, {"div": growing.DIV}, {"status": "empty"}, {}, "x", {"status": "generated", "div": ["x"]}])


def root(m: Mutating) -> None:
    """What every resource has."""
    some: list[Node] = [
        {"id": m.rnd.choice(LINES["id"])}, {"language": m.rnd.choice(["en", "en-GB", "en_GB", "xx", "", "e", "x-klingon", "zh-Hant-TW", "english"])},
        {"implicitRules": m.rnd.choice(URIS)}, {"resourceType": m.rnd.choice(["Foo", "", "patient", "Resource", "DomainResource", None, 1, *m.r4.types[:4]])},
        {"meta": m.rnd.choice([{}, {"profile": []}, {"profile": ["http://hl7.org/fhir/StructureDefinition/" + str(m.root["resourceType"])]}, {"tag": [{"code": "x"}]}])},
        {"id": None}, {"text": None},
    ]  # fmt: skip
    change = m.rnd.choice(some)
    m.root.update(change)
    for name, value in change.items():
        if value is None and m.rnd.random() < 0.6:
            del m.root[name]


def ids(m: Mutating) -> None:
    """Element ids: once in a resource."""
    for _ in range(2):
        m.node()["id"] = m.rnd.choice(["a", "a", "b", "a b", "", "é", "a_b", "a" * 70, "x#y"])


# -- bundles ----------------------------------------------------------------------------------------------------------


def bundled(m: Mutating) -> None:
    """The resource in a Bundle, with one thing odd about it."""
    rnd = m.rnd
    kind = rnd.choice(["collection", "searchset", "transaction", "batch", "history", "document", "message", "batch-response", "transaction-response", "bogus"])
    inner = deepcopy(m.root)
    for key in ("fhirUrl",):
        inner.pop(key, None)
    other = {"resourceType": "Patient", "id": "p1", "active": True}
    third = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p1"}}
    entries: list[Node] = []
    for r in (inner, other, third):
        type, id_ = r.get("resourceType"), r.get("id") or "x"
        e: Node = {"fullUrl": f"http://e.test/fhir/{type}/{id_}", "resource": r}
        if kind in ("transaction", "batch", "history"):
            e["request"] = {"method": "PUT", "url": f"{type}/{id_}"}
        if kind in ("history", "batch-response", "transaction-response"):
            e["response"] = {"status": "200"}
        entries.append(e)
    bundle: Node = {"resourceType": "Bundle", "type": kind, "entry": entries}
    if kind == "document":
        entries.insert(0, {"fullUrl": "http://e.test/fhir/Composition/c1", "resource": {
            "resourceType": "Composition", "id": "c1", "status": "final", "type": {"text": "x"}, "date": "2024", "author": [{"reference": "Practitioner/p"}], "title": "x",
            "section": [{"title": "x", "text": {"status": "generated", "div": growing.DIV}, "entry": [{"reference": f"{r['resourceType']}/{r.get('id', 'x')}"} for r in (inner, other, third)]}]}})  # fmt: skip
        bundle |= {"identifier": {"system": "http://e.test/i", "value": "1"}, "timestamp": "2024-01-01T00:00:00Z"}
    if kind == "message":
        entries.insert(0, {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "resource": {
            "resourceType": "MessageHeader", "eventUri": "http://e.test/e", "source": {"endpoint": "http://e.test/s"}, "focus": [{"reference": f"{r['resourceType']}/{r.get('id', 'x')}"} for r in (inner, other, third)]}})  # fmt: skip
        bundle |= {"timestamp": "2024-01-01T00:00:00Z"}
    e = rnd.choice(entries)
    match rnd.randrange(30):
        case 0:
            e.pop("fullUrl")
        case 1:
            e["fullUrl"] = rnd.choice(URIS)
        case 2:
            e["fullUrl"] = entries[0]["fullUrl"]
        case 3:
            e["fullUrl"] += "/_history/1"
        case 4:
            e["fullUrl"] = "urn:uuid:c757873d-ec9a-4326-a141-556f43239521"
            third["subject"] = {"reference": rnd.choice([e["fullUrl"], "Patient/p1", "urn:uuid:c757873d-ec9a-4326-a141-556f43239529"])}
        case 5:
            e.pop("resource")
        case 6:
            e["request"] = rnd.choice([{"method": "GET", "url": "Patient"}, {"method": "FOO", "url": "x"}, {"url": "x"}, {"method": "POST"}, {"method": "DELETE", "url": "Patient/1"}])
        case 7:
            e.pop("request", None)
        case 8:
            e["response"] = rnd.choice([{"status": "200"}, {}, {"status": "200", "outcome": {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid"}]}}])
        case 9:
            e.pop("response", None)
        case 10:
            e["search"] = rnd.choice([{"mode": "match"}, {"mode": "x"}, {"score": 0.5}, {"score": 2}])
        case 11:
            bundle["total"] = rnd.choice([0, 3, -1, "3"])
        case 12:
            bundle["link"] = [{"relation": rnd.choice(["self", "next"]), "url": "http://e.test/x"} for _ in range(2)]
        case 13:
            bundle.pop("type")
        case 14:
            third["subject"] = {"reference": rnd.choice(REFERENCES)}
        case 15:
            e["resource"] = rnd.choice([{}, "x", {"id": "x"}, {"resourceType": "Foo"}, [other], None])
        case 16:
            bundle["entry"] = rnd.choice([[], {}, [{}], None, "x", entries[1:], entries[::-1]])
        case 17:
            other.pop("id")
        case 18:
            other["id"] = "p2"
        case 19:
            bundle.pop("identifier", None)
        case 20:
            bundle.pop("timestamp", None)
        case 21:
            bundle["identifier"] = {"value": "1"}
        case 22:
            third["subject"] = {"reference": "http://e.test/fhir/Patient/p1"}
        case 23:
            third["subject"] = {"reference": "http://other.test/fhir/Patient/p1"}
        case 24:
            for x in entries:
                x.pop("fullUrl", None)
        case 25:
            third["subject"] = {"reference": "Patient/p1/_history/1"}
            other["meta"] = {"versionId": rnd.choice(["1", "2"])}
        case 26:
            entries.append(deepcopy(e))
        case 27:
            e["fullUrl"] = e.get("fullUrl", "").replace("http://e.test/fhir/", rnd.choice(["http://other.test/", "https://e.test/fhir/", "urn:", "/", ""]))
        case 28:
            third["performer"] = [{"reference": rnd.choice(["Patient/p1", "Observation/o1", "#p1", "http://e.test/fhir/Observation/o1"])}]
    m.root.clear()
    m.root.update(bundle)


KINDS: dict[str, tuple[int, Callable[[Mutating], None]]] = {
    "el-delete": (4, delete), "el-required": (4, delete_required), "el-duplicate": (3, duplicate), "el-rename": (2, rename), "el-unknown": (2, unknown),
    "el-move": (3, move), "el-swap": (3, swap), "el-grow": (10, grow), "type-other": (4, other_type), "type-array": (2, array_or_not), "type-empty": (2, emptied),
    "prim-any": (6, any_primitive), "prim-text": (3, text), **{f"prim-{k}": (1, primitive(k)) for k in LINES},
    "code-bad": (4, bad_code), "code-coding": (6, coding), "code-concept": (2, concept), "code-bound": (4, bound), "ref": (7, reference),
    "choice-doubled": (3, choice_doubled), "choice-other": (3, choice_other), "inv-datatype": (8, invariant), "inv-pair": (8, pair),
    "contained": (5, contained), "ext": (5, extension), "ext-known": (6, known_extension), "ext-primitive": (4, primitive_twin),
    "narrative": (6, narrative), "root": (3, root), "ids": (2, ids), "bundle": (12, bundled),
}  # fmt: skip


def mutated(r4: R4, rnd: Random, base: Node) -> tuple[str, Node]:
    """(kind, a changed copy). One time in twelve the change is made to a resource grown from the tables alone."""
    chosen = list(KINDS)
    weights = [KINDS[k][0] for k in chosen]
    for _ in range(40):
        resource = deepcopy(base)
        kind = rnd.choices(chosen, weights)[0]
        try:
            KINDS[kind][1](Mutating(r4, rnd, resource))
            if rnd.random() < 0.08 and resource.get("resourceType") in r4.types:
                KINDS["el-grow"][1](Mutating(r4, rnd, resource))
        except (Nothing, TypeError, AttributeError, KeyError, IndexError, ValueError):
            continue  # the first change left nothing that the second could be made to
        if resource != base:
            return kind, resource
    return "none", base
