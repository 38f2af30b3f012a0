"""What the answers of a form become: `$extract`, in three of the ways that SDC has. https://hl7.org/fhir/uv/sdc/extraction.html

The result is a transaction that the same answers make again, entry for entry and name for name; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ..problem import Issue
from ..r4 import R4
from . import defined, observed, templates
from .enabling import pruned
from .items import SDC, Node, answers, every, extensions, items, link, nodes, value
from .made import Made
from .observed import Inherited
from .saying import Speech

ALLOCATED: Final = SDC + "extractAllocateId"
MAP: Final = SDC + "targetStructureMap"
MAKING: Final = (defined.EXTRACT, defined.LEGACY, observed.EXTRACT, observed.ENTRY, templates.TEMPLATE, templates.BUNDLE)
TypeOf = Callable[[str], str]  # canonical of a profile -> the type it is of; "" when it is not known


@dataclass(frozen=True, slots=True)
class Extracted:
    """Entries of a transaction Bundle, each with a key that says where in the response it was made, and what could not be made of the answers."""

    entries: tuple[Node, ...]
    keys: tuple[str, ...]
    issues: tuple[Issue, ...]

    def bundle(self) -> Node:
        """The transaction."""
        return {"resourceType": "Bundle", "type": "transaction", **({"entry": list(self.entries)} if self.entries else {})}


def makes_something(questionnaire: Node) -> bool:
    """Does this form say of anything what its answers become."""
    return any(extensions(node, url) for node in (questionnaire, *every(questionnaire)) for url in MAKING)


def extract(questionnaire: Node, response: Node, r4: R4, at: datetime, type_of: TypeOf = lambda _: "") -> Extracted:
    """Everything that the Questionnaire says its answers become: by Observations, by definitions and by templates.

    Answers that are not open count for nothing. The response is taken to be valid: whoever asks has checked it.
    """
    open = pruned(questionnaire, response)
    speech = Speech({"resource": open, "questionnaire": questionnaire}, at)
    made = Made(open, r4, speech)
    _Walk(questionnaire, made, speech, type_of).all()
    if extensions(questionnaire, MAP):
        speech.tell("not-supported", "Extraction by StructureMap is not offered here.")
    return Extracted(tuple(made.entries), tuple(made.keys), tuple(speech.issues))


class _Walk:
    def __init__(self, questionnaire: Node, made: Made, speech: Speech, type_of: TypeOf) -> None:
        self.questionnaire, self.made, self.speech, self.type_of = questionnaire, made, speech, type_of
        self.contained = {"#" + str(r.get("id")): r for r in nodes(questionnaire, "contained")}

    def all(self) -> None:
        root, response = self.questionnaire, self.made.response
        names = self._allocated(root, {}, "")
        self._bundled(root, response, names)
        self._templates(root, response, "", names)
        self._definitions(root, response, "", names)
        self._items(root, response, "", names, Inherited().at(root))

    def _items(self, asked: Node, got: Node, above: str, names: Node, inherited: Inherited) -> None:
        questions, turns = {link(q): q for q in items(asked)}, dict[str, int]()
        for item in items(got):
            name = link(item)
            turns[name] = turns.get(name, -1) + 1
            if name in questions:
                self._item(questions[name], item, f"{above}/{name}#{turns[name]}", names, inherited)

    def _item(self, question: Node, item: Node, key: str, names: Node, inherited: Inherited) -> None:
        if question.get("type") != "group" and not answers(item):
            return
        names = self._allocated(question, names, key)
        self._templates(question, item, key, names)
        self._definitions(question, item, key, names)
        below = observed.observe(self.made, question, item, key, inherited.at(question))
        self._items(question, item, key, names, below)
        for n, answer in enumerate(answers(item)):
            self._items(question, answer, f"{key}.{n}", names, below)

    def _allocated(self, node: Node, names: Node, key: str) -> Node:
        """With the ids that this item sets aside, each by its name."""
        found = [value(x)[1] for x in extensions(node, ALLOCATED)]
        return {**names, **{str(n): self.made.urn(f"{key}=>{n}") for n in found if type(n) is str}} if found else names

    def _templates(self, question: Node, item: Node, key: str, names: Node) -> None:
        for n, x in enumerate(extensions(question, templates.TEMPLATE)):
            parts = {str(p.get("url")): value(p)[1] for p in nodes(x, "extension")}
            template = self.contained.get(_reference(parts.pop("template", None)))
            if template is None:
                self.speech.tell("not-found", f"The template of `{link(question)[:64]}` is not in the Questionnaire.")
                continue
            resource = templates.fill(template, item, self.speech, names)
            if len(resource) > 1:
                self.made.add(f"{key}~{n}", resource, parts, item, names)

    def _bundled(self, root: Node, response: Node, names: Node) -> None:
        """A whole transaction as a template."""
        for x in extensions(root, templates.BUNDLE):
            template = self.contained.get(_reference(value(x)[1]), {})
            for n, entry in enumerate(nodes(templates.fill(template, response, self.speech, names), "entry")):
                resource, request = entry.get("resource"), entry.get("request")
                if type(resource) is dict and len(resource) > 1:
                    self.made.add(f"~{n}", resource)
                    _like(self.made.entries, entry, request)

    def _definitions(self, question: Node, item: Node, key: str, names: Node) -> None:
        for n, (canonical, parts) in enumerate(defined.types_here(question)):
            parts.pop("definition", None)
            core = canonical.startswith(defined.CORE)
            type = canonical.removeprefix(defined.CORE).partition("|")[0] if core else self.type_of(canonical)
            if not type or not self.made.r4.has_type(type):
                self.speech.tell("not-found", f"The definition `{canonical[:100]}` is not known here.")
                continue
            building = defined.Building(canonical, type, self.made.r4, self.speech, names, {"resourceType": type} | ({} if core else {"meta": {"profile": [canonical]}}))
            building.read(_as_group(question), item)
            if len(building.resource) > (1 if core else 2):
                self.made.add(f"{key}={n}", building.resource, parts, item, names)


def _as_group(question: Node) -> Node:
    """The Questionnaire itself is read as a group of its items."""
    return {"type": "group", **question} if question.get("resourceType") == "Questionnaire" else question


def _reference(found: Any) -> str:
    return str(found.get("reference", "")) if type(found) is dict else str(found)


def _like(made: list[Node], entry: Node, request: Any) -> None:
    """An entry of a Bundle template keeps its own name and request; ours only finds it again."""
    own, url = made[-1], entry.get("fullUrl")
    if type(url) is str and all(e["fullUrl"] != url for e in made):
        own["fullUrl"] = url
    if type(request) is dict and request.get("method") in ("POST", "PUT") and type(request.get("url")) is str:
        kept = own["request"] if request["method"] == "POST" else {}
        own["request"] = {**kept, **{k: v for k, v in request.items() if k != "extension"}}
