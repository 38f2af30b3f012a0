"""Answers as Observations. https://hl7.org/fhir/uv/sdc/extraction.html#observation-based-extraction"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .items import EXTENSION, SDC, Node, answers, extension, items, link, nodes, value
from .made import Made

EXTRACT: Final = SDC + "observationExtract"
ENTRY: Final = SDC + "observationExtractEntry"
CATEGORY: Final = SDC + "observation-extract-category"
SURVEY: Final = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}]}
PARTS: Final = ("component", "member", "derived")
AS_VALUE: Final = {  # an answer's type -> that of an Observation's value
    "Boolean": "Boolean", "Integer": "Integer", "String": "String", "Uri": "String", "DateTime": "DateTime", "Date": "DateTime", "Time": "Time",
    "Quantity": "Quantity",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an item has from those above it."""

    on: bool = False
    category: tuple[Any, ...] = ()
    parent: Node | None = None  # the Observation of the group or question above
    parent_url: str = ""

    def at(self, item: Node) -> Inherited:
        """With what the item itself says."""
        said = extension(item, EXTRACT)
        found = tuple(value(x)[1] for x in nodes(item, "extension") if x.get("url") == CATEGORY)
        on = said if type(said) is bool else True if said in (*PARTS, "independent") else self.on
        return replace(self, on=on, category=found or self.category)


def observe(made: Made, question: Node, item: Node, key: str, here: Inherited) -> Inherited:
    """Add what this response item is an Observation of; what the items below it hang on."""
    codes = _codes(question)
    if not here.on or not codes or question.get("type") == "display":
        return here
    code: Node = {"coding": codes} | ({"text": question["text"]} if question.get("text") else {})
    relation = str(extension(question, EXTRACT))
    values = [(n, v) for n, a in enumerate(answers(item)) if (v := _valued(question, a, made)) is not None]
    if question.get("type") == "group":
        if not any(str(extension(q, EXTRACT)) in PARTS[:2] for q in items(question)):
            return here
        values = [(0, {})]
    last = here
    for n, v in values:
        if relation == "component" and here.parent is not None:
            here.parent.setdefault("component", []).append({"code": code, **v})
            continue
        observation = _observation(made, code, v, here)
        if relation == "derived" and here.parent_url:
            observation["derivedFrom"] = [{"reference": here.parent_url}, *observation.get("derivedFrom", [])]
        url = made.add(f"{key}.{n}" if n else key, observation, _entry(question), item)
        if relation == "member" and here.parent is not None:
            here.parent.setdefault("hasMember", []).append({"reference": url})
        last = replace(here, parent=_added(made, url, observation), parent_url=url)
    return last


def _added(made: Made, url: str, observation: Node) -> Node:
    """As it is kept, for its components and members to be put in."""
    return next((e["resource"] for e in reversed(made.entries) if e["fullUrl"] == url), observation)


def _codes(question: Node) -> list[Node]:
    """All of them, or those that are marked."""
    every = nodes(question, "code")
    marked = [c for c in every if extension(c, EXTRACT) is True]
    return [{k: v for k, v in c.items() if k != "extension"} for c in marked or every]


def _entry(question: Node) -> Node:
    found = next((x for x in nodes(question, "extension") if x.get("url") == ENTRY), {})
    return {str(x.get("url")): value(x)[1] for x in nodes(found, "extension")}


def _observation(made: Made, code: Node, v: Node, here: Inherited) -> Node:
    """https://hl7.org/fhir/uv/sdc/extraction.html: when, by whom and in which visit are the response's."""
    r = made.response
    out: Node = {"resourceType": "Observation"}
    out |= {k: r[k] for k in ("basedOn", "partOf") if k in r}
    out |= {"status": "final", "category": [*here.category] or [SURVEY], "code": code}
    out |= {k: r[k] for k in ("subject", "encounter") if k in r}
    authored = r.get("authored")
    if type(authored) is str:
        out["effectiveDateTime"] = authored
        if "T" in authored:
            out["issued"] = authored
    who = r.get("source") or r.get("author")  # whose answers they are, whoever typed them
    if type(who) is dict:
        out["performer"] = [who]
    out |= v
    if r.get("id"):
        out["derivedFrom"] = [{"reference": f"QuestionnaireResponse/{r['id']}"}]
    return out


def _valued(question: Node, answer: Node, made: Made) -> Node | None:
    """`value[x]`; None for what an Observation cannot hold."""
    kind, v = value(answer)
    unit = extension(question, EXTENSION + "questionnaire-unit")
    if kind in ("Decimal", "Integer") and (kind == "Decimal" or type(unit) is dict):
        return {"valueQuantity": {"value": v, **_unit(unit)}}
    if kind == "Coding":
        return {"valueCodeableConcept": {"coding": [v]}}
    if kind in AS_VALUE:
        return {"value" + AS_VALUE[kind]: v}
    if kind:
        made.speech.tell("not-supported", f"The answer to `{link(question)[:64]}` is no value of an Observation.")
    return None


def _unit(unit: Any) -> Mapping[str, Any]:
    if type(unit) is not dict:
        return {}
    named = unit.get("display") or unit.get("code")
    return {k: v for k, v in (("unit", named), ("system", unit.get("system")), ("code", unit.get("code"))) if v}


__all__ = ["Inherited", "observe"]
