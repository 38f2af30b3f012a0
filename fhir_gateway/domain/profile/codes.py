"""Whether a code is in a value set given as a definition: yes, no, or it cannot be said from what is known here.

A set of SNOMED CT by filter cannot be told without a terminology server; what cannot be told is accepted.
https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .. import primitives
from ..r4 import R4, CodeSystem
from .items import nodes

Node = dict[str, Any]
Find = Callable[[str], Node | None]
LANGUAGES = ("http://hl7.org/fhir/ValueSet/all-languages", "http://hl7.org/fhir/ValueSet/languages")
BCP47 = "urn:ietf:bcp:47"


class Codes:
    """`find_set` and `find_system` give the definitions that a deployment brought, by canonical address; {} for another version."""

    def __init__(self, r4: R4, find_set: Find, find_system: Find) -> None:
        self.r4, self.find_set, self.find_system = r4, find_set, find_system
        self._systems: dict[str, CodeSystem | None] = {}
        self._asked: set[str] = set()
        self._answers: dict[tuple[str, str | None, str], bool | None] = {}

    def forget(self) -> None:
        """A definition came: what was worked out may be otherwise now."""
        self._systems.clear()
        self._answers.clear()

    def system(self, url: str) -> CodeSystem | None:
        """A code system known in full."""
        if url not in self._systems:
            given = self.find_system(url)
            self._systems[url] = _system(given) if given is not None and given.get("content") == "complete" else self.r4.system(url)
        return self._systems[url]

    def has(self, url: str, system: str | None, code: str) -> bool | None:
        """Whether the value set has this code; `system` None for a bare `code`. None when that cannot be said."""
        bare = url.partition("|")[0]
        if bare in LANGUAGES:
            return primitives.is_language(code) if system in (None, BCP47) else None
        if url in self._asked:  # it includes itself
            return None
        key = (url, system, code)
        if key not in self._answers:
            self._asked.add(url)
            try:
                if len(self._answers) > 50_000:
                    self._answers.clear()
                self._answers[key] = self._look(url, system, code)
            finally:
                self._asked.discard(url)
        return self._answers[key]

    def _look(self, url: str, system: str | None, code: str) -> bool | None:
        given = self.find_set(url)
        if given is None:
            return _in_table(self.r4.value_set(url.partition("|")[0]), system, code)
        compose = given.get("compose")
        composed = self._composed(compose, system, code) if type(compose) is dict else None
        expansion = given.get("expansion")
        if composed is None and type(expansion) is dict:
            return True if any(_is(c, system, code) for c in _contains(expansion)) else None
        return composed

    def _composed(self, compose: Node, system: str | None, code: str) -> bool | None:
        said = _any(self._included(i, system, code) for i in nodes(compose, "include"))
        if said is False:
            return False
        out = _any(self._included(e, system, code) for e in nodes(compose, "exclude"))
        return False if out else None if out is None else said

    def _included(self, include: Node, system: str | None, code: str) -> bool | None:
        own = include.get("system")
        some = include.get("valueSet")
        sets = [u for u in some if type(u) is str] if type(some) is list else []
        inside = _all(self.has(u, system, code) for u in sets)
        if type(own) is not str:
            return inside if sets else False
        return _all((inside, self._of_system(include, own, system, code)))

    def _of_system(self, include: Node, own: str, system: str | None, code: str) -> bool | None:
        if system is not None and system != own:
            return False
        if "concept" in include:
            return any(c.get("code") == code for c in nodes(include, "concept"))
        table = self.system(own)
        if table is None:
            return None if system is None or "filter" in include or _is_partial(self.find_system(own), code) else True
        if code not in table.codes and not (table.any_case and code.lower() in {c.lower() for c in table.codes}):
            return False
        return _all(_passes(f, table, code, self.find_system(own)) for f in nodes(include, "filter"))


def _any(answers: Iterator[bool | None]) -> bool | None:
    seen = list(answers)
    return True if True in seen else None if None in seen else False


def _all(answers: Any) -> bool | None:
    seen = list(answers)
    return False if False in seen else None if None in seen else True


def _in_table(table: Mapping[str, frozenset[str]] | None, system: str | None, code: str) -> bool | None:
    if table is None:
        return None
    return code in table.get(system, ()) if system is not None else any(code in codes for codes in table.values())


def _is(c: Node, system: str | None, code: str) -> bool:
    return c.get("code") == code and (system is None or c.get("system") == system)


def _contains(node: Node) -> Iterator[Node]:
    for c in nodes(node, "contains"):
        yield c
        yield from _contains(c)


def _is_partial(system: Node | None, code: str) -> bool:
    """A fragment or supplement says nothing about the codes that it leaves out."""
    return system is not None and not any(c.get("code") == code for c, _ in _concepts(system, ()))


def _concepts(node: Node, above: tuple[str, ...]) -> Iterator[tuple[Node, tuple[str, ...]]]:
    for c in nodes(node, "concept"):
        parents = [str(p.get("valueCode")) for p in nodes(c, "property") if p.get("code") == "parent"]
        yield c, (*above[-1:], *parents)
        yield from _concepts(c, (*above, str(c.get("code"))))


def _system(given: Node) -> CodeSystem:
    concepts = [(c, above) for c, above in _concepts(given, ()) if type(c.get("code")) is str]
    parents = {c["code"]: above for c, above in concepts if above}
    return CodeSystem(frozenset(c["code"] for c, _ in concepts), parents, given.get("caseSensitive") is False)


def _passes(f: Node, table: CodeSystem, code: str, given: Node | None) -> bool | None:
    wanted, op = str(f.get("value")), f.get("op")
    if f.get("property") in ("concept", "parent", "code") and op in ("is-a", "descendent-of", "is-not-a"):
        below = _above(code, table)
        return (wanted in below or code == wanted) if op == "is-a" else wanted in below if op == "descendent-of" else (
            wanted not in below and code != wanted
        )
    if op == "=" and given is not None:
        concept = next((c for c, _ in _concepts(given, ()) if c.get("code") == code), {})
        mine = [p for p in nodes(concept, "property") if p.get("code") == f.get("property")]
        return any(str(v).lower() == wanted.lower() for p in mine for k, v in p.items() if k.startswith("value"))
    return None


def _above(code: str, table: CodeSystem) -> set[str]:
    found: set[str] = set()
    todo = [code]
    while todo:
        for parent in table.parents.get(todo.pop(), ()):
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return found
