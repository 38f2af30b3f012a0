"""Values of any R4 type out of the tables, mostly right: so that mutations reach elements no example has."""

from __future__ import annotations

from random import Random
from typing import Any

from fhir_gateway.domain.r4 import R4, Element, names

Node = dict[str, Any]
LANGUAGES = ("http://hl7.org/fhir/ValueSet/languages", "http://hl7.org/fhir/ValueSet/all-languages")
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Words</p></div>'
PLAIN: dict[str, tuple[Any, ...]] = {
    "string": ("Some words", "x"), "markdown": ("*Words*",), "code": ("a", "b-c"), "id": ("i1", "a.b-c"), "xhtml": (DIV,),
    "uri": ("http://e.test/x", "urn:oid:1.2.3.4", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"), "url": ("https://e.test/y",),
    "canonical": ("http://e.test/z", "http://e.test/z|2"), "oid": ("urn:oid:1.2.3.4",), "uuid": ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520",),
    "date": ("2024", "2024-02", "2024-02-29"), "dateTime": ("2024", "2024-02-29", "2024-02-29T10:00:00Z", "2024-02-29T10:00:00.5+01:00"),
    "instant": ("2024-02-29T10:00:00Z",), "time": ("10:00:00", "23:59:59"), "base64Binary": ("aGVsbG8=", "AAAA"),
    "boolean": (True, False), "decimal": (1, 0, 2.50, -3), "integer": (0, 5, -2), "unsignedInt": (0, 5), "positiveInt": (1, 7),
}  # fmt: skip


def grown(r4: R4, rnd: Random, type: str, below: str = "", depth: int = 0, e: Element | None = None) -> Any:
    """A value of `type` (or of its backbone `below`): what is required, and some of the rest."""
    if r4.is_primitive(type) and not below:
        return _primitive(r4, rnd, type, e)
    if type == "Reference":
        target = rnd.choice(e.targets if e and e.targets else ("Patient", "Organization"))
        return {"reference": f"{target if r4.has_type(target) else 'Patient'}/x1"}
    if type == "Extension":
        return {"url": "http://e.test/extension", "valueString": "x"}
    if type == "Narrative":
        return {"status": "generated", "div": DIV}
    if type in ("Coding", "CodeableConcept", "Quantity") and (coded := _coded(r4, rnd, type, e)):
        return coded
    if type == "Resource":
        return {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}}
    return _object(r4, rnd, type, below, depth)


def resource(r4: R4, rnd: Random, type: str) -> Node:
    return {"resourceType": type, **_object(r4, rnd, type, "", 0)}


def element(r4: R4, rnd: Random, owner: str, below: str, name: str, e: Element, depth: int) -> tuple[str, Any]:
    """(JSON name, value) of one element, a list where it may stand often."""
    every = names(name, e)
    at = rnd.randrange(len(every))
    path = f"{below}.{name}" if below else name
    if e.ref:
        holder, _, inner = e.ref.partition(".")
        value = grown(r4, rnd, holder, inner, depth + 1)
    elif e.types[0] in ("BackboneElement", "Element") and any(True for _ in r4.type(owner).children(path)):
        value = grown(r4, rnd, owner, path, depth + 1)
    else:
        value = grown(r4, rnd, e.types[at], "", depth + 1, e)
    return every[at], [value] if e.many else value


def _object(r4: R4, rnd: Random, owner: str, below: str, depth: int) -> Node:
    out: Node = {}
    chance = (0.25, 0.2, 0.12, 0.05)[min(depth, 3)]
    for name, e in r4.type(owner).children(below):
        if name in ("extension", "modifierExtension", "contained", "meta", "text", "implicitRules", "id", "language"):
            continue
        if e.min or (depth < 6 and rnd.random() < chance):
            json_name, value = element(r4, rnd, owner, below, name, e, depth)
            if value not in ({}, [{}]):
                out[json_name] = value
    return out or ({"extension": [{"url": "http://e.test/x", "valueBoolean": True}]} if depth else {})


def _sets(r4: R4, e: Element | None) -> dict[str, frozenset[str]]:
    for strength, url in e.bind if e else ():
        known = r4.value_set(url)
        if known is not None and strength in ("required", "extensible", "max"):
            return {s: c for s, c in known.items() if c}
    return {}


def _primitive(r4: R4, rnd: Random, type: str, e: Element | None) -> Any:
    for _, url in e.bind if e else ():
        if url in LANGUAGES:
            return "en-GB"
        if "mimetypes" in url:
            return "text/plain"
        if "currencies" in url:
            return "GBP"
        if "ucum" in url:
            return "kg"
    if type in ("code", "uri", "string") and (sets := _sets(r4, e)):
        return rnd.choice(sorted(rnd.choice(sorted(sets.items()))[1]))
    return rnd.choice(PLAIN[type])


def _coded(r4: R4, rnd: Random, type: str, e: Element | None) -> Node | None:
    sets = _sets(r4, e)
    if type == "Quantity":
        return {"value": rnd.choice((1, 2.5)), "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}
    if sets:
        system, codes = rnd.choice(sorted(sets.items()))
        coding = {"system": system, "code": rnd.choice(sorted(codes))}
    else:
        coding = {"system": "http://e.test/codes", "code": "c1"}
    return coding if type == "Coding" else {"coding": [coding]}
