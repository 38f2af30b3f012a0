"""Every issue of a resource against R4: shape, cardinality, primitives, codes, references, invariants, narrative, bundles.

The tables are compiled to closures, one plan a type, when a type is first seen; a plan is a dict from JSON name to the check of its
value. `check` gives HL7's verdict; `policy` what we refuse besides. https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import answers, bundled, derived, narrative, primitives, vitals
from .invariants import ELSEWHERE, RULES, Rule
from .problem import Issue
from .profile import Definitions, Judge
from .r4 import R4, Element, Known, names

Node = dict[str, Any]
Path = tuple[Any, str, int]  # (path of the holder, name, index or -1); the root's holder is None
Handler = Callable[[Any, Path, "Run"], None]

WHITE = frozenset(" \t\r\n")
BACKBONES = ("BackboneElement", "Element")
CODED = ("code", "Coding", "CodeableConcept", "Quantity", "string", "uri")
RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
MISPLACED = frozenset({  # R4's own definitions carry it one level above where it says it belongs; HL7's validator lets the last two stand anywhere
    "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type", "http://hl7.org/fhir/StructureDefinition/regex",
    "http://hl7.org/fhir/StructureDefinition/capabilitystatement-expectation",
    "http://hl7.org/fhir/StructureDefinition/structuredefinition-normative-version",
})  # fmt: skip
BCP47 = "urn:ietf:bcp:47"
LANGUAGES = "http://hl7.org/fhir/ValueSet/all-languages"
# Value sets that the package cannot list: their codes are known by their form.
FORMS = {LANGUAGES: primitives.is_language, "http://hl7.org/fhir/ValueSet/currencies": primitives.is_currency}


def check(
    resource: Node, r4: R4, *, questionnaire: Node | None = None, definitions: Definitions | None = None, profiles: Sequence[str] = ()
) -> list[Issue]:
    """Every issue of `resource`, worst first as found, each with a FHIRPath expression. Empty or only warnings: valid.

    `questionnaire` is the one a QuestionnaireResponse answers, where it is known. `definitions` are the profiles and value sets that
    are known besides R4: what a resource declares in `meta.profile` is checked where it is among them, and so are `profiles`.
    Never raises for any JSON object.
    """
    run = Run(r4, resource, questionnaire)
    if definitions is not None:
        run.judge = Judge(definitions, resource, render, profiles)
    run.resource(resource, (None, "", -1))
    return run.issues if run.judge is None else run.issues + run.judge.issues


def policy(resource: Node, r4: R4) -> list[Issue]:
    """What we refuse though FHIR allows it: modifier extensions nobody here knows, narrative that could act, text of spaces alone."""
    return list(_policy(resource, (None, str(resource.get("resourceType") or ""), -1), r4))


def _policy(node: Any, path: Path, r4: R4) -> Iterator[Issue]:
    for name, value in node.items():
        items = value if type(value) is list else [value]
        for i, item in enumerate(items):
            if type(item) is dict:
                here = (path, name, i if type(value) is list else -1)
                if name == "modifierExtension":
                    said = f"The modifier extension `{str(item.get('url'))[:120]}` is not known here, and may not be passed over."
                    yield Issue("error", "extension", render(here), said, "unknown-modifier")
                yield from _policy(item, here, r4)
            elif type(item) is str and item.isspace():
                said = f"`{name[:64]}` has spaces only: leave it out, or say something."
                yield Issue("error", "value", render((path, name, i if type(value) is list else -1)), said, "blank")
            elif name == "div" and type(item) is str and path[1] == "text":
                for said in narrative.active(item):
                    yield Issue("error", "security", render((path, name, -1)), said, "active-narrative")


# -- a run over one resource ------------------------------------------------------------------------------------------


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


class Run:
    def __init__(self, r4: R4, root: Node, questionnaire: Node | None) -> None:
        self.r4, self.root, self.questionnaire = r4, root, questionnaire
        self.issues: list[Issue] = []
        self.plans: Plans = r4._compiled.setdefault("plans", Plans(r4))
        self.scope = Scope({})
        self.base: Path = (None, "", -1)  # of the resource being read
        self.references: list[tuple[str, Path, tuple[str, ...]]] = []
        self.held = ""  # how others refer to the contained resource that is being read; by itself it is not referred to
        self.inside: str = ""  # "contained", "entry" or "" for what is being read
        self.judge: Judge | None = None  # where profiles are known

    def add(self, code: str, path: Path, text: str, key: str = "", severity: Any = "error") -> None:
        self.issues.append(Issue(severity, code, render(path), text, key))

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
        outer, self.scope = self.scope, Scope(_contained(node))
        self.walk(node, path, self.plans[kind, ""])
        if self.judge is not None:
            self.judge.resource(node, path)
        self._local_references(node, path)
        say = self._sayer(path)
        if kind == "Bundle":
            bundled.check(node, say)
            self._bundled_references(node, path)
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

    def _bundled_references(self, bundle: Node, path: Path) -> None:
        """References in entries must have a form that means something there, and those to other entries the right type."""
        entries = bundled.Entries(bundle)
        nameless: set[int] = set()
        for to, at, targets in self.references:
            i = _entry_of(at, path)
            if i < 0 or i in nameless:
                continue
            if said := entries.wrong_form(to, i):
                self.add("invalid", at, said, "reference")
                nameless.add(i)
            found = entries.meant(to, i)
            if found is not None and targets and entries.type_of(found) not in ("", *targets):
                self.add("structure", at, f"`{to[:80]}` is a {entries.type_of(found)}; this may refer to {_or(targets)}.", "target")

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
                said = f"`{local[:80]}` is a {target.get('resourceType')}; this may refer to {_or(targets)}."
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
            self.add("structure", path, f"`{path[1]}` must be an object, not {_kind(node)}.")
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


def _or(options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 else ", ".join(options[:-1]) + " or " + options[-1]


def _has_id(node: Any, name: str) -> bool:
    """Whether an element or a narrative anywhere in the resource bears this id: what a link `#name` may lead to."""
    if type(node) is dict:
        return node.get("id") == name or any(_has_id(v, name) for v in node.values() if type(v) is not str) or (
            type(node.get("div")) is str and f'id="{name}"' in node["div"]
        )
    return type(node) is list and any(_has_id(v, name) for v in node)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "true or false"}.get(type(value), "a number")


# -- plans: the tables, compiled --------------------------------------------------------------------------------------


@dataclass
class Plan:
    """How to check one object: its members' handlers, what must be there, its rules."""

    label: str
    resource: bool = False
    slots: dict[str, Handler] = field(default_factory=dict)
    required: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    choices: list[dict[str, str]] = field(default_factory=list)  # each JSON name of a choice, with and without _ -> the one without
    rules: list[tuple[str, Rule, str]] = field(default_factory=list)


class Plans(dict[tuple[str, str], Plan]):
    """(type, path below it) -> Plan, made when first asked for."""

    def __init__(self, r4: R4) -> None:
        super().__init__()
        self.r4 = r4

    def __missing__(self, key: tuple[str, str]) -> Plan:
        type_name, below = key
        table = self.r4.type(type_name)
        label = type_name + ("." + below if below else "")
        plan = Plan(label, resource=table.kind == "resource" and not below)
        self[key] = plan
        for name, element in table.children(below):
            self._slot(plan, type_name, below, name, element)
        plan.rules = self._rules(type_name, below)
        return plan

    def _slot(self, plan: Plan, owner: str, below: str, name: str, e: Element) -> None:
        every = names(name, e)
        if e.min:
            plan.required.append((every + tuple("_" + n for n in every), name.removesuffix("[x]")))
        if len(every) > 1:
            plan.choices.append({n: n for n in every} | {"_" + n: n for n in every})
        path = f"{below}.{name}" if below else name
        own = [r for r in self._rules(owner, path)] if not self._nested(owner, path, e) else []
        for json_name, kind in zip(every, e.types or ("",), strict=True):
            kind = "id" if plan.resource and name == "id" else kind  # the tables say string: that is its FHIRPath type
            value = self._value(owner, path, kind, e, json_name, own)
            plan.slots[json_name] = _many(json_name, e, value) if e.many else value_of(json_name, value)
            if kind and self.r4.is_primitive(kind) and kind != "xhtml":
                twin = self["Element", ""]
                plan.slots["_" + json_name] = _twins(json_name, twin) if e.many else _twin(json_name, twin)

    def _nested(self, owner: str, path: str, e: Element) -> bool:
        return bool(e.types) and e.types[0] in BACKBONES and any(self.r4.type(owner).children(path))

    def _value(
        self, owner: str, path: str, kind: str, e: Element, name: str, rules: list[tuple[str, Rule, str]]
    ) -> Handler:
        """The check of one value; its path is that of the value itself."""
        if e.ref:
            holder, _, inner = e.ref.partition(".")
            return self._complex((holder, inner), [])
        if kind == "Resource":
            return _inner(name)
        if kind == "xhtml":
            return _xhtml
        if self.r4.is_primitive(kind):
            plain = _primitive(kind, name, self._binding(e))
            return _both(plain, _ruled(rules)) if rules else plain
        nested = self._nested(owner, path, e)
        after: list[Handler] = []
        if not nested and kind == "Reference":
            after.append(_reference(e.targets))
        if kind == "Quantity" and e.simple:
            after.append(_simple)
        if not nested and (bound := self._binding(e)) is not None and kind in CODED:
            after.append(_bound(kind, bound))
        if not nested and kind == "Extension":
            after.append(_extension)
        if not nested and kind in AFTER:
            after.append(AFTER[kind])
        if not nested and kind == "Coding" and owner != "CodeableConcept" and all(s == "example" or self.r4.value_set(url) is None for s, url in e.bind):
            after.append(_absolute_system)
        if rules:
            after.append(_ruled(rules))
        return self._complex((owner, path) if nested else (kind, ""), after)

    def _complex(self, key: tuple[str, str], after: list[Handler]) -> Handler:
        plans = self

        def handler(value: Any, path: Path, run: Run) -> None:
            run.walk(value, path, plans[key])
            if type(value) is dict:
                for then in after:
                    then(value, path, run)

        return handler

    def _binding(self, e: Element) -> Bound | None:
        for strength, url in e.bind:
            if strength in ("required", "max"):
                if url in FORMS:
                    return Bound(url, None, strength)
                codes = self.r4.value_set(url)
                if codes is not None:
                    return Bound(url, codes, strength)
        return None

    def _rules(self, owner: str, below: str) -> list[tuple[str, Rule, str]]:
        table = self.r4.type(owner)
        out = []
        for key, words, _ in table.rules.get(below, ()):
            rule = RULES.get((key, owner))
            if rule is not None and key not in ELSEWHERE:
                out.append((key, rule, words))
        if not below and self.r4.type(owner).base == "Quantity":
            out += self._rules("Quantity", "")
        return out


class Bound:
    """A value set that a code must be in; `sets` None for languages and currencies, whose codes need only be well formed."""

    def __init__(self, url: str, sets: Any, strength: str = "required") -> None:
        self.url, self.sets, self.must = url, sets, strength == "required"
        self.codes: frozenset[str] | None = frozenset().union(*sets.values()) if sets is not None else None

    def has_code(self, code: Any) -> bool:
        return FORMS[self.url](code) if self.codes is None else code in self.codes

    def has(self, coding: Node) -> bool:
        if self.sets is None:
            return FORMS[self.url](str(coding.get("code", "")))
        system, code = coding.get("system"), coding.get("code")
        return type(system) is str and type(code) is str and code in self.sets.get(system, ())


# -- handlers ---------------------------------------------------------------------------------------------------------


def value_of(name: str, inner: Handler) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        inner(value, (path, name, -1), run)

    return handler


def _many(name: str, e: Element, inner: Handler) -> Handler:
    most = e.max

    def handler(value: Any, path: Path, run: Run) -> None:
        if type(value) is not list:
            run.add("structure", (path, name, -1), f"`{name}` must be an array, not {_kind(value)}.")
            return
        if not value:
            run.add("structure", (path, name, -1), f"`{name}` is empty; leave it out instead.")
        if most and len(value) > most:
            run.add("structure", (path, name, -1), f"`{name}` may hold at most {most}.")
        for i, item in enumerate(value):
            if item is not None:  # the reader has seen to it that `_name` holds its place
                inner(item, (path, name, i), run)

    return handler


def _twin(name: str, plan: Plan) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        run.walk(value, (path, "_" + name, -1), plan)

    return handler


def _twins(name: str, plan: Plan) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        if type(value) is not list:
            run.add("structure", (path, "_" + name, -1), f"`_{name}` must be an array, not {_kind(value)}.")
            return
        for i, item in enumerate(value):
            if item is not None:
                run.walk(item, (path, "_" + name, i), plan)

    return handler


def _primitive(kind: str, name: str, bound: Bound | None) -> Handler:
    wrong = primitives.wrong(kind)
    watch = kind in ("uri", "url", "canonical")

    def handler(value: Any, path: Path, run: Run) -> None:
        said = wrong(value)
        if said:
            run.add("structure" if said.startswith("must be") else "value", path, f"`{name}` {said}." if said[0] != "`" else said + ".")
        elif bound is not None and not bound.has_code(value):
            run.add("code-invalid", path, f"`{value[:64]}` is not a code that {name} may have ({_short(bound.url)}).")
        elif watch and value[:1] == "#":
            run.refer(value)

    return handler


def _short(url: str) -> str:
    return url.rpartition("/")[2]


def _xhtml(value: Any, path: Path, run: Run) -> None:
    if type(value) is not str:
        run.add("structure", path, f"`div` must be a string, not {_kind(value)}.")
        return
    for said in narrative.wrong(value, lambda name: _has_id(run.root, name)):
        run.add("invalid", path, said, "txt-1")


def _inner(name: str) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        if name == "contained":
            run.contained(value, path)
        else:
            before, run.inside = run.inside, "entry"
            run.resource(value, path)
            run.inside = before

    return handler


def _reference(targets: tuple[str, ...]) -> Handler:
    def handler(value: Node, path: Path, run: Run) -> None:
        to = value.get("reference")
        if type(to) is str:
            if to[:1] == "#":
                run.refer(to)
                run.scope.locals.append((to, path, targets, run.inside == "contained"))
            else:
                run.references.append((to, path, targets))
            if not WHITE.isdisjoint(to):
                run.add("invalid", path, f"`{to[:80]}` is not a reference: it holds a space.", "reference")
        said = value.get("type")
        if type(said) is str and ":" not in said and not run.r4.has_type(said) and said not in ("Resource", "DomainResource"):
            run.add("code-invalid", path, f"`{said[:64]}` is not a type of resource.")
        if type(said) is str and type(to) is str and targets and said.removeprefix("http://hl7.org/fhir/StructureDefinition/") not in targets:
            run.add("structure", path, f"This may refer to {_or(targets)}, not to a `{said[:64]}`.", "target")
        elif type(said) is str and type(to) is str and (m := RELATIVE.fullmatch(to)) and said.rpartition("/")[2] != m[1]:
            run.add("structure", path, f"`{to[:80]}` is no `{said[:64]}`, as its `type` says.", "target")

    return handler


def _bound(kind: str, bound: Bound) -> Handler:
    def handler(value: Node, path: Path, run: Run) -> None:
        if kind == "CodeableConcept":
            some = value.get("coding")
            codings = [c for c in some if type(c) is dict] if type(some) is list else []
        else:
            codings = [value]
        if bound.sets is None:
            codings = [c for c in codings if "code" in c and c.get("system", BCP47) == BCP47]
        if not any(bound.has(c) for c in codings) and (codings or bound.must):
            run.add("code-invalid", path, f"`{path[1]}` needs a code of {_short(bound.url)}.")

    return handler


def _ruled(rules: list[tuple[str, Rule, str]]) -> Handler:
    def handler(value: Node, path: Path, run: Run) -> None:
        for key, rule, words in rules:
            run.rule(value, path, key, rule, words)

    return handler


def _both(first: Handler, second: Handler) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        first(value, path, run)
        second(value, path, run)

    return handler


def _known_code(value: Node, path: Path, run: Run) -> None:
    """A code of a system that R4 defines in full must be one of its codes, whatever the binding."""
    url, code = value.get("system"), value.get("code")
    if type(url) is not str:
        return
    if type(code) is str and run.r4.value_set(url) is not None:
        run.add("invalid", path, f"`{url[:120]}` is a value set, not a code system.")
    system = run.r4.system(url) if run.judge is None else run.judge.known.codes.system(url)
    if system is None or type(code) is not str or code in system.codes:
        return
    if not (system.any_case and code.lower() in {c.lower() for c in system.codes}):
        run.add("code-invalid", path, f"`{code[:64]}` is not a code of {url[:120]}.")


def _absolute_system(value: Node, path: Path, run: Run) -> None:
    """Of a quantity's unit and of a Coding that stands alone and unbound; elsewhere anything goes."""
    url = value.get("system")
    if type(url) is not str or "code" not in value:
        return
    if not primitives.is_system(url):
        run.add("invalid", path, f"The system of a code is an absolute address, not `{url[:80]}`.")
    elif run.r4.value_set(url) is not None:
        run.add("invalid", path, f"`{url[:120]}` is a value set, not a code system.")


def _identifier(value: Node, path: Path, run: Run) -> None:
    own, system = value.get("value"), value.get("system")
    if type(system) is str and not primitives.is_system(system):
        run.add("invalid", path, f"The system of an identifier is an absolute address, not `{system[:80]}`.")
    if value.get("system") == "urn:ietf:rfc:3986" and type(own) is str and not primitives.is_uri(own):
        run.add("invalid", path, f"An identifier of the system urn:ietf:rfc:3986 is a whole URI, not `{own[:80]}`.")


def _simple(value: Node, path: Path, run: Run) -> None:
    if "comparator" in value:
        run.add("invariant", path, "A quantity that is exact here has no comparator.", "sqty-1")


def _attachment(value: Node, path: Path, run: Run) -> None:
    data, size = value.get("data"), value.get("size")
    if type(data) is str and type(size) is int:
        bare = "".join(data.split())
        held = len(bare) * 3 // 4 - (len(bare) - len(bare.rstrip("=")))
        if held != size:
            run.add("invalid", path, f"The attachment says {size} bytes and holds {held}.")
    if type(data) is str and type(value.get("hash")) is str and not primitives.hashes_to(data, value["hash"]):
        run.add("invalid", path, "The attachment's hash is not that of its data.")


AFTER: dict[str, Handler] = {
    "Attachment": _attachment,
    "Coding": _known_code, "Identifier": _identifier,
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"), _absolute_system),
}  # fmt: skip


def _extension(value: Node, path: Path, run: Run) -> None:
    """An extension that R4 publishes must be what R4 says; any other is kept as it is."""
    url = value.get("url")
    if type(url) is not str:
        if "_url" in value and "url" not in value:
            run.add("required", path, "An extension needs its url.")
        return
    parent = path[0]
    inside = parent is not None and parent[1] in ("extension", "modifierExtension")
    if not inside and not primitives.is_absolute(url):
        run.add("invalid", path, f"The url of an extension is absolute, not `{url[:80]}`.")
    given = run.judge.extension(value, path) if run.judge is not None else None
    known = given or run.r4.extension(url)
    if known is not None:
        if given is None:
            _as_defined(value, known, path, run)
        if known.modifier != (path[1] == "modifierExtension"):
            right = "modifierExtension" if known.modifier else "extension"
            run.add("structure", path, f"`{url[:120]}` belongs in `{right}`.")
        if known.contexts and url not in MISPLACED and not _stands_right(known, path, run):
            run.add("structure", path, f"`{url[:120]}` may not stand here, but on {_or([c[1] for c in known.contexts])}.")


def _as_defined(value: Node, known: Known, path: Path, run: Run) -> None:
    name = next((k for k in value if k.startswith("value") and k[5:6].isupper()), None)
    if name is not None:
        kinds = {n: t for t, n in zip(known.types, names("value[x]", Element(types=known.types)), strict=True)}
        if name not in kinds:
            said = f"a {_or(known.types)}" if known.types else "no value of its own"
            run.add("structure", path, f"`{str(value.get('url'))[:120]}` holds {said}, not `{name}`.")
        else:
            _bound_value(value[name], kinds[name], known, (path, name, -1), run)
    elif known.required and not any(k.startswith("_value") for k in value):
        run.add("required", path, f"`{str(value.get('url'))[:120]}` needs a value.")
    if known.parts:
        _parts(value, known, path, run)


def _bound_value(value: Any, kind: str, known: Known, path: Path, run: Run) -> None:
    if kind == "Reference" and known.targets and type(value) is dict and str(value.get("reference"))[:1] == "#":
        run.scope.locals.append((str(value["reference"]), path, known.targets, run.inside == "contained"))
    bound = next((b for s, b in known.bind if s == "required"), None)
    sets = run.r4.value_set(bound) if bound else None
    if sets is None or bound is None:
        return
    if kind in ("code", "string", "uri") and type(value) is str:
        if not Bound(bound, sets).has_code(value):
            run.add("code-invalid", path, f"`{value[:64]}` is not a code of {_short(bound)}.")
    elif kind in CODED and type(value) is dict:
        _bound(kind, Bound(bound, sets))(value, path, run)


def _parts(value: Node, known: Known, path: Path, run: Run) -> None:
    some = value.get("extension")
    parts = [p for p in some if type(p) is dict] if type(some) is list else []
    counts: dict[str, int] = {}
    for i, part in enumerate(parts):
        url = str(part.get("url"))
        counts[url] = counts.get(url, 0) + 1
        if url in known.parts:
            _as_defined(part, known.parts[url], (path, "extension", i), run)
        elif ":" not in url:
            run.add("structure", (path, "extension", i), f"`{str(value.get('url'))[:120]}` has no part `{url[:64]}`.")
    for url, wanted in known.parts.items():
        if counts.get(url, 0) < wanted.min:
            run.add("required", path, f"`{str(value.get('url'))[:120]}` needs its part `{url}`.")
        if wanted.max and counts.get(url, 0) > wanted.max:
            run.add("structure", path, f"`{str(value.get('url'))[:120]}` may have its part `{url}` at most {wanted.max} times.")


def _stands_right(known: Known, path: Path, run: Run) -> bool:
    steps: list[str] = []
    at: Path | None = path[0]
    while at is not None and at is not run.base:
        steps.append(at[1].removeprefix("_"))
        at = at[0]
    holder = path[0]
    assert holder is not None
    here: set[str] | None = None
    for kind, expression in known.contexts:
        if kind == "element":
            here = run.r4.names_of(_type_at(run), list(reversed(steps))) if here is None else here
            if expression in here:
                return True
        elif kind != "extension" or holder[1] in ("extension", "modifierExtension"):
            return True
    return False


def _type_at(run: Run) -> str:
    at: Any = run.root
    steps: list[tuple[str, int]] = []
    path: Path | None = run.base
    while path is not None and path[0] is not None:
        steps.append((path[1], path[2]))
        path = path[0]
    for name, index in reversed(steps):
        at = at[name] if index < 0 else at[name][index]
    return str(at.get("resourceType"))
