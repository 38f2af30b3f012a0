"""Which Observations are of one kind: what agrees as it was recorded may be compared, and nothing else. Pure. docs/results.md

Of one kind are those of one code of which also agree `focus`, `bodySite`, `method`, the kinds of specimen and device, and what they are part of.
https://hl7.org/fhir/R4/observation-definitions.html#Observation.focus
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .mapping.codecs import person_name
from .mapping.names import EXTENSIONS
from .written_down import an_object, coded, objects

Node = Mapping[str, Any]
Known = Mapping[str, Node]  # what Observations refer to, by `Type/id`

HL7: Final = "http://hl7.org/fhir/StructureDefinition/"
FIRST: Final = ("http://loinc.org", "http://snomed.info/sct")  # whose code says what it is, whichever others stand beside it
PEOPLE: Final = frozenset({"", "Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Group"})  # "": nobody says of what type it is
LOOKED_UP: Final = frozenset({"Specimen", "Device", "RelatedPerson", "Goal", "Condition"})
_ADDRESS: Final = re.compile(r"[A-Za-z]+/[A-Za-z0-9.-]{1,64}")
LEVELS: Final = 2  # a result, its panel, and the panel of that


@dataclass(frozen=True, slots=True)
class Around:
    """What a result is of beside its code, in the words of whoever sent it; "" where nobody says."""

    another: bool = False  # it is of somebody else: an unborn child
    whose: str = ""
    about: str = ""  # a goal, a problem
    site: str = ""
    how: str = ""
    of: str = ""  # the kind of specimen
    device: str = ""
    within: str = ""  # the panel


def alike(observations: Sequence[Node], known: Known) -> list[int]:
    """A number for each, which those of its kind share, and no other. The panels that they are part of are among `observations`."""
    own = _numbered([(code, *_circumstances(o, known)) for code, o in zip(_codes(observations), observations, strict=True)])
    rank, above = own, _above(observations)
    for _level in range(LEVELS):
        rank = _numbered([(own[n], frozenset(rank[p] if isinstance(p, int) else p for p in parents)) for n, parents in enumerate(above)])
    return rank


def around(o: Node, known: Known, panels: Iterable[Node] = ()) -> Around:
    """What this one is of, in words. `panels`: those that it is part of."""
    others, codes = _others(o), _extended(o, "observation-focusCode")
    who = [p for p in others if _type(o, p) in PEOPLE]
    return Around(
        bool(who or codes), _join([*(_called(o, p, known) for p in who), *map(coded, codes)]), _join(_called(o, p, known) for p in others if p not in who),
        _join([coded(o.get("bodySite")), *(str(p.get("display") or "") for p in _extended(o, "bodySite"))]),
        _join([coded(o.get("method")), *map(coded, _extended(o, "observation-bodyPosition")), version(o)]),
        _join([_called(o, an_object(o.get("specimen")), known), *map(coded, _extended(o, "observation-specimenCode"))]),
        _called(o, an_object(o.get("device")), known), _join(coded(p.get("code")) for p in panels),
    )  # fmt: skip


def is_own(o: Node) -> bool:
    """Whether it is of the person themselves, or about something of theirs, such as a goal."""
    return not any(_type(o, p) in PEOPLE for p in _others(o)) and not _extended(o, "observation-focusCode")


def panels(observations: Sequence[Node]) -> list[list[Node]]:
    """What each is part of, as far as it is among them."""
    return [[observations[p] for p in sorted(p for p in parents if isinstance(p, int))] for parents in _above(observations)]


def pointed(observations: Iterable[Node]) -> set[str]:
    """`Type/id` of what must be read to know what these are of."""
    found = {reference(p) for o in observations for p in (*_others(o), an_object(o.get("specimen")), an_object(o.get("device")))}
    return {ref for ref in found if _ADDRESS.fullmatch(ref) and ref.partition("/")[0] in LOOKED_UP}


def root(concept: Any) -> str:
    """`system|code` of what it was coded as: of LOINC, else of SNOMED CT, else the first; `text|` and its words where there is none."""
    codes = _coded(concept)
    first = next((c for system in FIRST for c in codes if c[0] == system), next(iter(codes), None))
    return "|".join(first) if first else f"text|{coded(concept).casefold()}"


def reference(pointer: Any) -> str:
    """What a Reference names, without a version; "" where it names nothing by an address."""
    return str(an_object(pointer).get("reference") or "").partition("/_history/")[0]


def version(o: Node) -> str:
    """Of what it was measured with (our `instrument`)."""
    found = (p.get("valueString") for x in objects(o.get("extension")) if x.get("url") == EXTENSIONS + "instrument" for p in objects(x.get("extension")) if p.get("url") == "version")
    return str(next(found, "") or "")


# -- what must agree --------------------------------------------------------------------------------------------------


def _codes(observations: Sequence[Node]) -> list[Hashable]:
    """The root code of each; with all its codes where two of one root contradict each other in another system."""
    roots = [root(o.get("code")) for o in observations]
    said: dict[tuple[str, str], list[set[str]]] = {}
    for r, o in zip(roots, observations, strict=True):
        codes = _coded(o.get("code"))
        for system in {s for s, _ in codes}:
            said.setdefault((r, system), []).append({c for s, c in codes if s == system})
    apart = {r for (r, _), sets in said.items() if not set.intersection(*sets)}
    return [(r, frozenset(_coded(o.get("code")))) if r in apart else r for r, o in zip(roots, observations, strict=True)]


def _circumstances(o: Node, known: Known) -> tuple[Hashable, ...]:
    return (
        frozenset(_one(o, p) for p in _others(o)), *(frozenset(map(_same, _extended(o, name))) for name in ("observation-focusCode", "observation-bodyPosition", "observation-specimenCode")),
        _same(o.get("bodySite")), frozenset(_one(o, p) for p in _extended(o, "bodySite")), _same(o.get("method")), version(o), _kind(o, o.get("specimen"), known), _kind(o, o.get("device"), known),
    )  # fmt: skip


def _above(observations: Sequence[Node]) -> list[set[Hashable]]:
    """What each is part of: the place of it, or what names it where it is not among them."""
    places = {f"Observation/{o['id']}": n for n, o in enumerate(observations) if o.get("id")}
    above: list[set[Hashable]] = [set() for _ in observations]
    for n, o in enumerate(observations):
        for child in map(reference, objects(o.get("hasMember"))):
            if places.get(child, n) != n:
                above[places[child]].add(n)
        for parent in objects(o.get("derivedFrom")):
            ref = reference(parent)
            if ref.startswith("Observation/") and places.get(ref) != n:
                above[n].add(places.get(ref, ref))
    return above


def _same(concept: Any) -> Hashable:
    """A concept, as far as two of them are the same as they were written."""
    codes, found = _coded(concept), an_object(concept)
    return (frozenset(codes), str(found.get("text") or ("" if codes else coded(found))).casefold().strip())


def _one(o: Node, p: Node) -> Hashable:
    """Who or what a Reference means, and nobody else."""
    ref, identifier = reference(p), an_object(p.get("identifier"))
    if ref.startswith("#"):
        return ("within", _called(o, p, {}) or f"{ref} of {o.get('id')}")
    return ref or (identifier.get("system"), identifier.get("value"), str(p.get("display") or "").casefold())


def _kind(o: Node, pointer: Any, known: Known) -> Hashable:
    """Of which kind a specimen or a device is: each blood is another specimen, and of one kind."""
    p = an_object(pointer)
    thing = _held(o, p, known)
    taken = an_object(thing.get("collection"))
    said = (
        _same(thing.get("type")), _same(taken.get("bodySite")), _same(taken.get("method")), _same(taken.get("fastingStatusCodeableConcept")),
        frozenset(str(n.get("name")) for n in objects(thing.get("deviceName"))), str(thing.get("manufacturer") or ""), str(thing.get("modelNumber") or ""),
    )  # fmt: skip
    if said != NOTHING:
        return said
    return str(p.get("display") or "").casefold() or (_one(o, p) if p else "")


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


# -- pieces -----------------------------------------------------------------------------------------------------------


def _others(o: Node) -> list[Node]:
    """What it is about where that is not the person whose record this is."""
    subject = reference(o.get("subject"))
    return [p for p in objects(o.get("focus")) if not subject or reference(p) != subject]


def _held(o: Node, p: Node, known: Known) -> Node:
    ref = reference(p)
    return next((c for c in objects(o.get("contained")) if ref == f"#{c.get('id')}"), {}) if ref.startswith("#") else known.get(ref, {})


def _type(o: Node, p: Node) -> str:
    ref = reference(p)
    return str(_held(o, p, {}).get("resourceType") or "") if ref.startswith("#") else ref.split("/")[-2] if "/" in ref else str(p.get("type") or "")


def _called(o: Node, p: Node, known: Known) -> str:
    """Somebody or something in words: by what is known of it, else by what the Reference says."""
    thing = _held(o, p, known)
    match thing.get("resourceType"):
        case "RelatedPerson" | "Patient" | "Practitioner":
            said = person_name(thing) or _join(map(coded, objects(thing.get("relationship"))))
        case "Goal":
            said = coded(thing.get("description"))
        case "Specimen":
            said = _join([coded(thing.get("type")), coded(an_object(thing.get("collection")).get("bodySite"))])
        case "Device":
            said = coded(thing.get("type")) or _join(str(n.get("name") or "") for n in objects(thing.get("deviceName"))) or str(thing.get("modelNumber") or "")
        case _:
            said = coded(thing.get("code"))
    return said or str(p.get("display") or "")


def _extended(o: Node, name: str) -> list[Node]:
    """The values of an extension of HL7's."""
    return [an_object(v) for x in objects(o.get("extension")) if x.get("url") == HL7 + name for k, v in x.items() if k.startswith("value")]


def _coded(concept: Any) -> list[tuple[str, str]]:
    found = ((str(c.get("system") or ""), str(c["code"])) for c in objects(an_object(concept).get("coding")) if c.get("code"))
    return list(dict.fromkeys(c for c in found if c[0]))


def _join(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(w for w in words if w))


NOTHING: Final = (*([_same(None)] * 4), frozenset[str](), "", "")

__all__ = ["Around", "Known", "alike", "around", "is_own", "panels", "pointed", "reference", "root", "version"]
