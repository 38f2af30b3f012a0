"""One run over one resource: resources in resources, members, cardinality, what must be there, rules, what is referred to inside.

What a type's members are is a `Plan`, which `plans` compiles; the checks of the values themselves are `values` and `extensions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import answers, bundled, derived, primitives, vitals
from ..problem import MOST_ISSUES, Issue
from ..profile import Judge
from ..r4 import R4
from ..rule_shapes import Rule

Node = dict[str, Any]
Path = tuple[Any, str, int]  # (path of the holder, name, index or -1); the root's holder is None
Handler = Callable[[Any, Path, "Run"], None]
Reference = tuple[str, Path, tuple[str, ...]]  # what it says, where, and the types it may lead to
_IDS = re.compile(r'id="([^"]*)"')


class Enough(Exception):
    """So many errors are found that judging ends."""


def render(path: Path) -> str:
    """`CarePlan.activity[0].detail`"""
    steps: list[str] = []
    at: Path | None = path
    while at is not None:
        if at[1]:
            steps.append(at[1] if at[2] < 0 else f"{at[1]}[{at[2]}]")
        at = at[0]
    return ".".join(reversed(steps))


@dataclass
class Scope:
    """One resource that contains others, while it is read: what is referred to inside it."""

    contained: dict[str, Node]
    refers: set[str] = field(default_factory=set)
    locals: list[tuple[str, Path, tuple[str, ...], bool]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


@dataclass
class Plan:
    """How to check one object: its members' handlers, what must be there, its rules."""

    label: str
    resource: bool = False
    slots: dict[str, Handler] = field(default_factory=dict)
    required: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    choices: list[dict[str, str]] = field(default_factory=list)  # each JSON name of a choice, with and without _ -> the one without
    rules: list[tuple[str, Rule, str]] = field(default_factory=list)


class Run:
    def __init__(self, r4: R4, root: Node, questionnaire: Node | None, plans: Mapping[tuple[str, str], Plan]) -> None:
        self.r4, self.root, self.questionnaire = r4, root, questionnaire
        self.issues: list[Issue] = []
        self.errors = 0
        self.plans = plans
        self.scope = Scope({})
        self.base: Path = (None, "", -1)  # of the resource being read
        self.references: list[Reference] = []
        self.held = ""  # how others refer to the contained resource that is being read; by itself it is not referred to
        self.inside: str = ""  # "contained", "entry" or "" for what is being read
        self.judge: Judge | None = None  # where profiles are known
        self.ids: set[str] | None = None  # of elements and in narratives, anywhere in it: made when a link asks

    def add(self, code: str, path: Path, text: str, key: str = "", severity: Any = "error") -> None:
        """One thing wrong. Enough, when so many errors are found that nobody reads on: the verdict is settled then."""
        self.errors += severity == "error"
        if severity == "error" or len(self.issues) < MOST_ISSUES:
            self.issues.append(Issue(severity, code, render(path), text, key))
        if self.errors >= MOST_ISSUES:
            raise Enough

    def has_id(self, name: str) -> bool:
        """Whether an element or a narrative anywhere in the resource bears this id: what a link `#name` may lead to."""
        if self.ids is None:
            self.ids = set(_ids(self.root))
        return name in self.ids

    # -- resources

    def resource(self, node: Any, path: Path) -> None:
        """A resource: the root, contained, in a Bundle entry or in a parameter."""
        if type(node) is not dict:
            self.add("structure", path, f"`{path[1]}` must be a resource.")
            return
        kind = node.get("resourceType")
        if type(kind) is not str or not self.r4.has_type(kind):
            said = f"`{str(kind)[:64]}` is not a FHIR R4 resource type." if kind is not None else "A resource needs a resourceType."
            self.add("structure", path, said)
            return
        if path[0] is None:
            path = (None, kind, -1)
        base, self.base = self.base, path
        if self.inside == "contained":
            self.walk(node, path, self.plans[kind, ""])
            if self.judge is not None:
                self.judge.resource(node, path)
            self._as_contained(node, path)
            self.base = base
            return
        outer, self.scope, referred = self.scope, Scope(_contained(node)), len(self.references)
        self.walk(node, path, self.plans[kind, ""])
        if self.judge is not None:
            self.judge.resource(node, path)
        self._local_references(node, path)
        say = self._sayer(path)
        if kind == "Bundle":
            bundled.check(node, say)
            self._bundled_references(node, path, self.references[referred:])
        elif kind == "QuestionnaireResponse":
            answers.check(node, self.questionnaire, self.r4, say)
        elif kind == "Observation":
            vitals.check(node, say)
        elif kind == "Questionnaire":
            answers.check_questions(node, say)
        elif kind == "SearchParameter":
            derived.check_parameter(node, self.r4, say)
        elif kind == "CodeSystem":
            derived.check_codes(node, say)
        elif kind == "CapabilityStatement":
            derived.check_capability(node, self.r4, say)
        if "url" in node and not primitives.is_absolute(str(node["url"])) and self.r4.path_exists(kind, "version"):
            self.add("invalid", (path, "url", -1), f"The canonical address of a {kind} is absolute, not `{str(node['url'])[:80]}`.")
        self.scope, self.base = outer, base

    def _sayer(self, path: Path) -> Callable[..., None]:
        def say(code: str, below: str, text: str, key: str = "", severity: str = "error") -> None:
            self.add(code, (path, below, -1) if below else path, text, key, severity)

        return say

    def _bundled_references(self, bundle: Node, path: Path, references: Sequence[Reference]) -> None:
        """References in its entries must have a form that means something there, and those to other entries the right type."""
        entries = bundled.Entries(bundle)
        nameless: set[int] = set()
        for to, at, targets in references:
            i = _entry_of(at, path)
            if i < 0 or i in nameless:
                continue
            if said := entries.wrong_form(to, i):
                self.add("invalid", at, said, "reference")
                nameless.add(i)
            found = entries.meant(to, i)
            if found is not None and targets and entries.type_of(found) not in ("", *targets):
                self.add("structure", at, f"`{to[:80]}` is a {entries.type_of(found)}; this may refer to {listed(targets)}.", "target")

    def refer(self, local: str) -> None:
        if local != self.held:
            self.scope.refers.add(local)

    def contained(self, node: Any, path: Path) -> None:
        before, self.inside = self.inside, "contained"
        self.held = "#" + str(node.get("id")) if type(node) is dict else ""
        self.resource(node, path)
        self.inside, self.held = before, ""

    def _as_contained(self, node: Node, path: Path) -> None:
        if "id" not in node:
            self.add("required", path, "A contained resource needs an id.")
        if "contained" in node:
            self.add("invariant", path, "A contained resource must not contain others.", "dom-2")
        meta = node.get("meta")
        if type(meta) is dict and ("versionId" in meta or "lastUpdated" in meta):
            self.add("invariant", path, "A contained resource has no version and no time of update.", "dom-4")
        if type(meta) is dict and "security" in meta:
            self.add("invariant", path, "A contained resource has no security label of its own.", "dom-5")

    def _local_references(self, node: Node, path: Path) -> None:
        scope = self.scope
        for local, at, targets, inner in scope.locals:
            target = node if local == "#" and inner else scope.contained.get(local[1:])
            if target is None:
                self.add("invariant", at, f"`{local[:80]}` refers to a contained resource that is not there.", "ref-1")
            elif targets and target.get("resourceType") not in targets:
                said = f"`{local[:80]}` is a {target.get('resourceType')}; this may refer to {listed(targets)}."
                self.add("structure", at, said, "target")
        if len(scope.contained) < len(_held(node)):
            self.add("invalid", path, "Two contained resources have the same id.")
        for id_, part in scope.contained.items():
            if "#" + id_ not in scope.refers and not _mentions(part, "#"):
                self.add("invariant", path, f"Nothing refers to the contained resource `{id_[:64]}`.", "dom-3")

    # -- nodes

    def walk(self, node: Any, path: Path, plan: Plan) -> None:
        """One object against its plan: every member, what is missing, its rules."""
        if type(node) is not dict:
            self.add("structure", path, f"`{path[1]}` must be an object, not {kind_of(node)}.")
            return
        slots = plan.slots
        for name, value in node.items():
            handler = slots.get(name)
            if handler is not None:
                handler(value, path, self)
            elif name != "resourceType" or not plan.resource:
                self.add("structure", (path, name, -1), f"{plan.label} has no element `{name[:64]}`.")
            if name[:1] == "_" and name[1:] not in node and _only_id(value):
                self.add("invariant", (path, name, -1), f"`{name[:64]}` has no content.", "ele-1")
        for wanted, label in plan.required:
            for name in wanted:
                if name in node:
                    break
            else:
                self.add("required", (path, label, -1), f"{plan.label} needs `{label}`.")
        for alternatives in plan.choices:
            self._one_type(node, path, alternatives)
        if not plan.resource:
            self._element(node, path)
        elif "_id" in node and "id" not in node:
            self.add("value", (path, "_id", -1), "The id of a resource is a value, not an extension in its place.")
        for key, rule, words in plan.rules:
            self.rule(node, path, key, rule, words)

    def _element(self, node: Node, path: Path) -> None:
        if not node:  # an id alone is let pass, as HL7's validator lets it
            self.add("invariant", path, f"`{path[1]}` has no content.", "ele-1")
        own = node.get("id")
        if type(own) is str:
            if own in self.scope.ids and self.base[1] != "StructureDefinition":  # its two lists of elements share their ids
                self.add("invalid", path, f"The element id `{own[:64]}` is used twice in this resource.")
            self.scope.ids.add(own)

    def _one_type(self, node: Node, path: Path, alternatives: dict[str, str]) -> None:
        found = {alternatives[n] for n in node if n in alternatives}
        if len(found) > 1:
            both = " and ".join(f"`{n}`" for n in sorted(found))
            self.add("structure", path, f"Only one of {both} may be given.")

    def rule(self, node: Any, path: Path, key: str, rule: Rule, words: str) -> None:
        try:
            holds = rule(node)
        except (TypeError, AttributeError, ValueError, KeyError):
            return  # the node is malformed in a way that is reported already
        if not holds:
            self.add("invariant", path, words if words.endswith(".") else words + ".", key)


def _entry_of(at: Path, bundle: Path) -> int:
    """The entry of the bundle at this path in which `at` lies; -1 when in none."""
    while at[0] is not None:
        if at[0] is bundle:
            return at[2] if at[1] == "entry" else -1
        at = at[0]
    return -1


def _ids(root: Node) -> Iterator[str]:
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if type(node) is dict:
            if type(own := node.get("id")) is str:
                yield own
            if type(div := node.get("div")) is str:
                yield from _IDS.findall(div)
            node = node.values()
        waiting.extend(v for v in node if type(v) in (dict, list))


def _held(node: Node) -> list[Node]:
    """The contained resources that have an id."""
    some = node.get("contained")
    return [c for c in some if type(c) is dict and type(c.get("id")) is str] if type(some) is list else []


def _contained(node: Node) -> dict[str, Node]:
    return {c["id"]: c for c in _held(node)}


def _mentions(node: Any, local: str) -> bool:
    if type(node) is dict:
        return any(v == local or _mentions(v, local) for v in node.values() if type(v) in (str, dict, list))
    return type(node) is list and any(v == local or _mentions(v, local) for v in node)


def _only_id(twin: Any) -> bool:
    return type(twin) is dict and twin.keys() == {"id"}


def listed(options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 else ", ".join(options[:-1]) + " or " + options[-1]


def kind_of(value: Any) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "true or false"}.get(type(value), "a number")
