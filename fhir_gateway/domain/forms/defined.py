"""Answers into the elements that their items' `definition` names. https://hl7.org/fhir/uv/sdc/extraction.html#definition-based-extraction

An element that may stand several times is one for all items of a group that has it as its own definition, and otherwise one for each
item that would write over another's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..r4 import R4
from .items import EXTENSION, SDC, Node, answers, expression, extension, items, link, nodes, part, value
from .saying import Speech

EXTRACT: Final = SDC + "definitionExtract"
VALUE: Final = SDC + "definitionExtractValue"
LEGACY: Final = SDC + "itemExtractionContext"
CORE: Final = "http://hl7.org/fhir/StructureDefinition/"
FIXED: Final = "fixed-value"


def types_here(item: Node) -> list[tuple[str, Node]]:
    """(canonical, parts of the extension) of each resource that this item begins."""
    out = [(str(part(x, "definition")), {str(p.get("url")): value(p)[1] for p in nodes(x, "extension")}) for x in nodes(item, "extension") if x.get("url") == EXTRACT]
    old = extension(item, LEGACY)
    return [*out, (CORE + old, {})] if type(old) is str else out


@dataclass(slots=True)
class Building:
    """One resource being built from the items below the one that began it."""

    canonical: str
    type: str
    r4: R4
    speech: Speech
    names: Node
    resource: Node

    def read(self, question: Node, item: Node, at: Sequence[tuple[str, Node]] = ()) -> None:
        """Take what this response item and those below it say. `at`: groups above that stand for an element, (path, element)."""
        path = self._path(str(question.get("definition", "")))
        own = (question.get("type") == "group" or not answers(item)) and bool(path)
        if own and question.get("type") == "group":
            at = [*at, (path, self._new(path, at))]
        elif path:
            for a in answers(item):
                self._put(path, value(a)[1], question, at)
        if question.get("type") == "group" or answers(item):
            self._values(question, item, at)
        asked = {link(q): q for q in items(question)}
        for below in (*items(item), *(i for a in answers(item) for i in items(a))):
            q = asked.get(link(below))
            if q is not None and not types_here(q):
                self.read(q, below, at)

    def _values(self, question: Node, item: Node, at: Sequence[tuple[str, Node]]) -> None:
        """Fixed values, and values by expression."""
        for x in (x for x in nodes(question, "extension") if x.get("url") == VALUE):
            path = self._path(str(part(x, "definition")))
            if not path:
                continue
            fixed = part(x, FIXED)
            found = [fixed] if fixed is not None else self.speech.said(expression(part(x, "expression")), item, self.names)
            for v in found:
                self._put(path, v, question, at, beside=True)

    def _path(self, definition: str) -> str:
        """The path below the type; "" for another resource's element, or one that R4 does not have."""
        url, mark, id = definition.partition("#")
        if not mark or url.partition("|")[0] != self.canonical.partition("|")[0]:
            return ""
        type, _, path = id.partition(".")
        steps = [_step(s) for s in path.split(".")] if type.partition(":")[0] == self.type and path else []
        if not steps or self.r4.element(".".join([self.type, *steps])) is None or "extension" in steps:
            self.speech.tell("not-supported", f"`{id[:80]}` is not an element that an answer can be put into.")
            return ""
        return ".".join(steps)

    def _new(self, path: str, at: Sequence[tuple[str, Node]]) -> Node:
        """A new element for a group that stands for it."""
        where, rest = self._from(path, at)
        spot, last = self._down(where, rest, path), rest[-1]
        if not self._many(path):
            single: Node = spot.setdefault(last, {})
            return single
        new: Node = {}
        spot.setdefault(last, []).append(new)
        return new

    def _from(self, path: str, at: Sequence[tuple[str, Node]]) -> tuple[Node, list[str]]:
        """The innermost element above that the path goes through, and the steps from there."""
        for above, node in reversed(at):
            if path.startswith(above + "."):
                return node, path[len(above) + 1 :].split(".")
        return self.resource, path.split(".")

    def _put(self, path: str, v: Any, question: Node, at: Sequence[tuple[str, Node]], *, beside: bool = False) -> None:
        """Put a value in; `beside` what the same item has put in already."""
        where, rest = self._from(path, at)
        last, v = self._fitting(path, rest[-1], v, question)
        if v is None:
            return
        spot = self._down(where, rest, path)
        if self._many(path):
            spot.setdefault(last, []).append(v)
        elif last not in spot:
            spot[last] = v
        elif spot[last] != v and not beside:
            if not any(self._many(p) for p in self._on_the_way(rest, path)):
                self.speech.tell("value", f"Two answers go into `{path[:60]}`, which takes one. The first was kept.")
                return
            self._down(where, rest, path, fresh=True)[last] = v

    def _on_the_way(self, rest: Sequence[str], path: str) -> list[str]:
        """The paths of the elements between where one stands and the last."""
        steps = path.split(".")
        first = len(steps) - len(rest)
        return [".".join(steps[: n + 1]) for n in range(first, len(steps) - 1)]

    def _down(self, where: Node, rest: Sequence[str], path: str, *, fresh: bool = False) -> Node:
        """The element that holds the last step, made where it is not there: of several the last, or a `fresh` one of the innermost."""
        between = self._on_the_way(rest, path)
        several = [p for p in between if self._many(p)]
        for p in between:
            step = p.rsplit(".", 1)[-1]
            if p not in several:
                where = where.setdefault(step, {})
                continue
            listed: list[Node] = where.setdefault(step, [])
            if not listed or (fresh and p == several[-1]):
                listed.append({})
            where = listed[-1]
        return where

    def _many(self, path: str) -> bool:
        element = self.r4.element(f"{self.type}.{path}")
        return element is not None and element.many

    def _fitting(self, path: str, last: str, v: Any, question: Node) -> tuple[str, Any]:
        """(the element's name in JSON, the value as its type has it); None for what does not fit."""
        element = self.r4.element(f"{self.type}.{path}")
        types = element.types if element is not None else ()
        if len(types) > 1 and not last.endswith(tuple(t[0].upper() + t[1:] for t in types)):
            kind = next((t for t in _kinds(v, types) if t in types), "")
            if not kind:
                self.speech.tell("value", f"The answer to `{link(question)[:64]}` does not fit `{path[:60]}`.")
                return last, None
            return last + kind[0].upper() + kind[1:], _as(v, kind, question)
        kind = next((t for t in types if last.endswith(t[0].upper() + t[1:])), types[0] if types else "")
        return last, _as(v, kind, question)


def _step(step: str) -> str:
    """`value[x]:valueQuantity` is `valueQuantity`, `name:official` is `name`, `value[x]` is `value`."""
    name, _, slice = step.partition(":")
    return slice if name.endswith("[x]") and slice.startswith(name[:-3]) else name.removesuffix("[x]")


def _kinds(v: Any, types: Sequence[str]) -> list[str]:
    """The types that a value may be of, the likeliest first."""
    if type(v) is bool:
        return ["boolean"]
    if type(v) is dict:
        if "coding" in v:
            return ["CodeableConcept"]
        if "reference" in v:
            return ["Reference"]
        return ["Quantity", "Age", "SimpleQuantity"] if "value" in v else ["Coding", "CodeableConcept"] if "code" in v or "display" in v else ["Attachment"]
    if type(v) is str:
        dated = v[:4].isdigit() and (len(v) == 4 or v[4:5] == "-")
        return (["date", "dateTime", "instant"] if dated and len(v) <= 10 else ["dateTime", "instant"] if dated else []) + ["string", "uri", "CodeableConcept", "Annotation"]
    return ["integer", "decimal", "Quantity"] if type(v) is int else ["decimal", "Quantity"]


def _as(v: Any, kind: str, question: Node) -> Any:
    """The value as this type has it."""
    if type(v) is dict and kind == "CodeableConcept" and ("code" in v or "display" in v):
        return {"coding": [v]} if "code" in v else {"text": v["display"]}
    if type(v) is dict and kind in ("code", "string", "markdown", "uri", "id") and ("code" in v or "display" in v):
        return v.get("code") if kind in ("code", "id") else v.get("display") or v.get("code")
    if type(v) is str and kind in ("CodeableConcept", "Annotation"):
        return {"text": v}
    if type(v) is str and kind == "Reference":
        return {"reference": v}
    if type(v) not in (dict, str, bool) and kind in ("Quantity", "SimpleQuantity", "Age", "Duration"):
        unit = extension(question, EXTENSION + "questionnaire-unit")
        about = {"unit": unit.get("display") or unit.get("code"), "system": unit.get("system"), "code": unit.get("code")} if type(unit) is dict else {}
        return {"value": v, **{k: u for k, u in about.items() if u}}
    if type(v) is not dict and type(v) is not str and kind in ("string", "markdown", "code", "id", "uri"):
        return str(v).lower() if type(v) is bool else str(v)
    return v
