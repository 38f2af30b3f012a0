"""What a code covers besides itself, as far as a deployment configured it; and a "no" by a code that reaches all of it.

consent.md 1.5, row `code`: a permit is for exactly the codings it names, a deny for their descendants too.
https://hl7.org/fhir/R4/codesystem.html#hierarchy, https://hl7.org/fhir/R4/valueset.html#expansion
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

import msgspec

from .grants import Grant, Rule

Node = Mapping[str, Any]
_BELOW: Final = frozenset({"is-a", "descendent-of"})  # operators of a value set's filter on `concept`
_IMPLICIT: Final = re.compile(r"(.+)\?fhir_vs=isa/(\w+)")  # https://hl7.org/fhir/R4/snomedct.html#implicit


@dataclass(frozen=True, slots=True)
class Descendants:
    """`below` has each code, as `system|code`, with those directly under it; `digest` names the whole, empty when there are none."""

    below: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)
    digest: str = ""

    @classmethod
    def read(cls, definitions: Iterable[Node]) -> Descendants:
        """From CodeSystems with a hierarchy of kinds, and from ValueSets that say whose descendants they list. Others say nothing here."""
        below: dict[str, set[str]] = {}
        for definition in definitions:
            kind = definition.get("resourceType")
            pairs = _in_system(definition) if kind == "CodeSystem" else _in_set(definition) if kind == "ValueSet" else ()
            for above, code in pairs:
                if above != code:
                    below.setdefault(above, set()).add(code)
        said = {above: sorted(codes) for above, codes in below.items()}
        digest = sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16] if said else ""
        return cls({above: frozenset(codes) for above, codes in below.items()}, digest)

    def of(self, codes: Iterable[str]) -> frozenset[str]:
        """These codes and everything under them, at any depth."""
        found, todo = set(codes), list(codes)
        while todo:
            new = self.below.get(todo.pop(), frozenset()) - found
            found |= new
            todo += new
        return frozenset(found)


def widened(grant: Grant, descendants: Descendants) -> Grant:
    """The same consent, every deny by a code covering the codes below too. What it permits stays as it is."""
    return replace(grant, root=_widened(grant.root, descendants)) if descendants.digest else grant


def _widened(rule: Rule, descendants: Descendants) -> Rule:
    rules = tuple(_widened(r, descendants) for r in rule.rules)
    more = descendants.of(rule.codes) - rule.codes if rule.type == "deny" else frozenset()
    if more and all(r.type == "deny" for r in rules):
        return replace(rule, codes=rule.codes | more, rules=rules)
    if more:  # an exception opens what the deny itself names; a table that a deployment configured opens nothing
        rules = (*rules, replace(rule, codes=more, rules=()))
    return replace(rule, rules=rules) if rules != rule.rules else rule


# -- reading definitions ----------------------------------------------------------------------------------------------


def _in_system(system: Node) -> Iterator[tuple[str, str]]:
    """(above, below) of nested concepts and of the properties `parent` and `child`."""
    url = system.get("url")
    if not isinstance(url, str) or system.get("hierarchyMeaning", "is-a") != "is-a" or system.get("content") == "supplement":
        return
    todo = [("", c) for c in _each(system.get("concept"))]
    while todo:
        above, concept = todo.pop()
        code = concept.get("code")
        if not isinstance(code, str):
            continue
        if above:
            yield above, f"{url}|{code}"
        for said in _each(concept.get("property")):
            other = said.get("valueCode")
            if isinstance(other, str) and said.get("code") in ("parent", "child"):
                pair = (f"{url}|{other}", f"{url}|{code}")
                yield pair if said["code"] == "parent" else pair[::-1]
        todo += [(f"{url}|{code}", c) for c in _each(concept.get("concept"))]


def _in_set(value_set: Node) -> Iterator[tuple[str, str]]:
    """Each code whose descendants it lists, with each that it lists: those of its expansion, or else of its definition."""
    heads = set(_heads(value_set))
    codes = (set(_expanded(value_set)) if "expansion" in value_set else set(_listed(value_set))) if heads else set()
    for head in heads:
        for code in codes:
            yield head, code


def _heads(value_set: Node) -> Iterator[str]:
    """Named by `useContext` (`focus`), by the one filter `concept is-a X`, or by the address of an implicit SNOMED CT value set."""
    for context in _each(value_set.get("useContext")):
        if _coded(context.get("code"), "code") == "focus":
            concept = context.get("valueCodeableConcept")
            for coding in _each(concept.get("coding") if isinstance(concept, Mapping) else None):
                yield from _coding(coding.get("system"), coding)
    includes = _each(_part(value_set, "compose").get("include"))
    filters = _each(includes[0].get("filter")) if len(includes) == 1 else []
    if len(filters) == 1 and filters[0].get("property") == "concept" and filters[0].get("op") in _BELOW:
        yield from _coding(includes[0].get("system"), {"code": filters[0].get("value")})
    implicit = _IMPLICIT.fullmatch(str(value_set.get("url", "")))
    if implicit:
        yield f"{implicit[1]}|{implicit[2]}"


def _expanded(value_set: Node) -> Iterator[str]:
    todo = _each(_part(value_set, "expansion").get("contains"))
    while todo:
        item = todo.pop()
        yield from _coding(item.get("system"), item)
        todo += _each(item.get("contains"))


def _listed(value_set: Node) -> Iterator[str]:
    """Without what it excludes. A rule that would need a terminology server lists nothing."""
    compose = _part(value_set, "compose")
    gone = {c for part in _each(compose.get("exclude")) for c in _concepts(part)}
    for part in _each(compose.get("include")):
        yield from (c for c in _concepts(part) if c not in gone)


def _concepts(part: Node) -> Iterator[str]:
    for concept in _each(part.get("concept")):
        yield from _coding(part.get("system"), concept)


def _coding(system: Any, coding: Node) -> Iterator[str]:
    if isinstance(system, str) and isinstance(coding.get("code"), str):
        yield f"{system}|{coding['code']}"


def _coded(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, Mapping) else None


def _part(node: Node, name: str) -> Node:
    found = node.get(name)
    return found if isinstance(found, Mapping) else {}


def _each(value: Any) -> list[Node]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


__all__ = ["Descendants", "widened"]
