"""A StructureDefinition as a tree of Shapes: only what it asks beyond R4, since R4 itself is checked beside it.

A differential is laid over a copy of its base's tree, so a snapshot need not be there; one that is there is read alone and what it
repeats of R4 dropped. https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..primitives import whole
from ..r4 import PRIMITIVE, R4, Element, names
from .items import nodes

Node = dict[str, Any]
CORE = "http://hl7.org/fhir/StructureDefinition/"
MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
EXTENSIONS = ("extension", "modifierExtension")
ANY = ("Resource", "DomainResource", "Element", "BackboneElement")


@dataclass(frozen=True, slots=True)
class Kind:
    """One type an element may have; canonical addresses without R4's own."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()  # of what a Reference may point to: profiles, and R4 types by their address


@dataclass(frozen=True, slots=True)
class Constraint:
    key: str
    words: str
    expression: str


@dataclass(slots=True)
class Slicing:
    by: tuple[tuple[str, str], ...] = ()  # (discriminator type, path)
    rules: str = "open"
    ordered: bool = False


@dataclass(slots=True, eq=False)
class Shape:
    """What an element must be. `most` None: any number; `kinds` None: whatever R4 allows; `fixed` and `pattern` None: nothing."""

    name: str  # as in JSON, without [x]; of a slice its name
    label: str = ""  # `Patient.identifier:nhsNumber.system`
    at: tuple[str, str] | None = None  # where R4 has this element: (type, path below it)
    core: Element | None = None
    choice: bool = False
    least: int = 0
    most: int | None = None
    unbounded: bool = False  # `*` was said of it
    kinds: tuple[Kind, ...] | None = None
    fixed: Any = None
    pattern: Any = None
    low: Any = None
    high: Any = None
    longest: int | None = None
    bind: tuple[tuple[str, str], ...] = ()
    rules: tuple[Constraint, ...] = ()
    children: dict[str, Shape] = field(default_factory=dict)
    slicing: Slicing | None = None
    slices: dict[str, Shape] = field(default_factory=dict)
    repeats: str = ""  # the element whose content this one has: `Questionnaire.item`
    same: Shape | None = None
    json: dict[str, str] = field(default_factory=dict)  # of a choice: JSON name -> type
    tests: Any = None  # of its slices, made when first needed
    url: str = ""  # of an extension or a slice of extensions: known by it, so it is not asked again
    by_url: dict[str, str] | None = None  # of slices of extensions: url -> slice
    says_value: bool = False

    @property
    def empty(self) -> bool:
        """Whether it asks nothing at all."""
        return not (self.least or self.children or self.slices or self.rules or self.bind or self.kinds or self.same) and (
            self.most is None and self.fixed is None and self.pattern is None and self.low is None and self.high is None
            and self.longest is None
        )  # fmt: skip


def root(type: str, r4: R4) -> Shape:
    """The tree of an R4 type: nothing beyond R4."""
    return Shape(type, type, (type, "") if r4.knows(type) else None)


def lay(definition: Node, base: Shape, r4: R4) -> Shape:
    """The tree of a definition: its snapshot alone, or its differential over (a copy of) the tree of its base."""
    elements = _elements(definition, "snapshot")
    tree = root(str(definition.get("type")), r4) if elements else copy.deepcopy(base)
    _Laying(tree, r4).all(elements or _elements(definition, "differential"))
    return tree


def elements_of(definition: Node) -> list[Node]:
    """Its snapshot's elements, or its differential's."""
    return _elements(definition, "snapshot") or _elements(definition, "differential")


def _elements(definition: Node, part: str) -> list[Node]:
    some = definition.get(part)
    elements = some.get("element") if type(some) is dict else None
    return [e for e in elements if type(e) is dict and type(e.get("path")) is str] if type(elements) is list else []


def url_of(slice: Shape) -> str:
    """The url of a slice of extensions: fixed, or that of the definition it names; "" when it has none."""
    if slice.url:
        return slice.url
    own = slice.children.get("url")
    if own is not None and type(own.fixed) is str:
        return own.fixed
    profiles = [p for k in slice.kinds or () for p in k.profiles]
    return profiles[0].partition("|")[0] if len(profiles) == 1 else ""


# -- laying elements over a tree --------------------------------------------------------------------------------------


class _Laying:
    def __init__(self, tree: Shape, r4: R4) -> None:
        self.tree, self.r4 = tree, r4
        self.slices: dict[str, str] = {}  # path -> the slice that the elements below it speak of

    def all(self, elements: list[Node]) -> None:
        for e in elements:
            self.one(e, e["path"])

    def one(self, e: Node, path: str) -> None:
        self.slices = {p: s for p, s in self.slices.items() if path.startswith(p + ".")}
        if type(e.get("sliceName")) is str:
            self.slices[path] = e["sliceName"]
        shape, so_far = self.tree, ""
        for step in path.split("."):
            if so_far:
                if self.foreign(shape, step):
                    return
                shape = self.below(shape, step, alone=so_far + "." + step == path)
            so_far = f"{so_far}.{step}" if so_far else step
            if so_far in self.slices:
                shape = self.slice(shape, self.slices[so_far])
        _apply(shape, e, self.r4)

    def foreign(self, shape: Shape, step: str) -> bool:
        """Whether R4 has no such element there: what a definition says of it cannot be meant."""
        return shape.at is not None and self.r4.type(shape.at[0]).kind != PRIMITIVE and self.r4.step(*shape.at, step) is None

    def below(self, shape: Shape, step: str, *, alone: bool) -> Shape:
        """The child of that name; `valueQuantity` of a choice is its slice for that type, and where `alone` the only one."""
        name = step.removesuffix("[x]")
        hit = self.r4.step(*shape.at, step) if shape.at is not None else None
        choice = step.endswith("[x]") or (hit is not None and hit[0].endswith("[x]"))
        if hit is not None and choice and not step.endswith("[x]"):
            name = hit[0].rpartition(".")[2][:-3]
            hit = self.r4.step(*shape.at, name + "[x]") if shape.at is not None else None
        child = shape.children.get(name)
        if child is None:
            core = hit[1] if hit is not None else None
            child = shape.children[name] = Shape(name, f"{shape.label}.{name}", self.into(shape, hit), core, choice)
            if choice:
                types = core.types if core is not None else ()
                child.json = dict(zip(names(name + "[x]", core), types, strict=True)) if core is not None else {}
        if not choice or step in (name, name + "[x]"):
            return child
        if alone and child.slicing is None:
            child.slicing = Slicing((("type", "$this"),), "closed")
        return self.slice(child, step)

    def into(self, shape: Shape, hit: tuple[str, Element] | None) -> tuple[str, str] | None:
        return self.r4.into(shape.at[0], *hit) if hit is not None and shape.at is not None else None

    def slice(self, shape: Shape, name: str) -> Shape:
        """The slice of that name, `a/b` being slice b of slice a."""
        for part in name.split("/"):
            found = shape.slices.get(part)
            if found is None:
                found = shape.slices[part] = Shape(part, f"{shape.label}:{part}", shape.at, shape.core, json=shape.json)
                found.repeats = shape.repeats
                if shape.choice and part in shape.json:
                    self.typed(found, shape.json[part])
            shape = found
        return shape

    def typed(self, shape: Shape, type: str) -> None:
        shape.kinds = (Kind(type),)
        shape.at = (type, "") if self.r4.knows(type) else None


def _apply(shape: Shape, e: Node, r4: R4) -> None:
    if type(e.get("min")) is int:
        shape.least = e["min"]
    if type(e.get("max")) is str:
        shape.most = whole(e["max"])
        shape.unbounded = shape.most is None
    if "type" in e and "." in e["path"]:
        _apply_types(shape, e, r4)
    for name, value in e.items():
        if name.startswith("fixed"):
            shape.fixed = value
        elif name.startswith("pattern"):
            shape.pattern = value
        elif name.startswith("minValue"):
            shape.low = value
        elif name.startswith("maxValue"):
            shape.high = value
    if type(e.get("maxLength")) is int:
        shape.longest = e["maxLength"]
    if type(e.get("binding")) is dict and (bind := tuple(_bindings(e["binding"]))):
        shape.bind = bind
    if new := tuple(_constraints(e, shape.rules)):
        shape.rules += new
    if type(e.get("contentReference")) is str:
        shape.repeats = e["contentReference"].partition("#")[2] if e["contentReference"].startswith("#") else ""
    if type(e.get("slicing")) is dict:
        shape.slicing = _slicing(e["slicing"], shape.slicing)


def _apply_types(shape: Shape, e: Node, r4: R4) -> None:
    kinds = tuple(_kinds(e["type"]))
    shape.kinds = kinds or shape.kinds
    if len(kinds) == 1 and (shape.at is None or shape.json or r4.has_type(kinds[0].code)):
        shape.at = (kinds[0].code, "") if r4.knows(kinds[0].code) else None


def _kinds(types: Any) -> Iterator[Kind]:
    for t in types if type(types) is list else []:
        if type(t) is dict and type(t.get("code")) is str:
            yield Kind(t["code"].removeprefix(CORE), _urls(t.get("profile")), _urls(t.get("targetProfile")))


def _urls(some: Any) -> tuple[str, ...]:
    return tuple(u for u in some if type(u) is str) if type(some) is list else ()


def _bindings(b: Node) -> Iterator[tuple[str, str]]:
    if type(b.get("valueSet")) is str:
        yield str(b.get("strength")), b["valueSet"]
    for x in nodes(b, "extension"):
        if x.get("url") == MAX_VALUE_SET:
            url = x.get("valueCanonical") or x.get("valueUri")
            if type(url) is str:
                yield "max", url


def _constraints(e: Node, known: tuple[Constraint, ...]) -> Iterator[Constraint]:
    seen = {c.key for c in known}
    for c in nodes(e, "constraint"):
        if c.get("severity") == "error" and type(c.get("expression")) is str and str(c.get("key")) not in seen:
            own = str(c.get("source", "")).removeprefix(CORE)
            if own != c.get("source") and own[:1].isupper() and "-" not in own:
                continue  # R4's, repeated in a snapshot
            yield Constraint(str(c.get("key")), str(c.get("human", "")), c["expression"])


def _slicing(s: Node, before: Slicing | None) -> Slicing:
    by = tuple((str(d.get("type")), str(d.get("path"))) for d in nodes(s, "discriminator"))
    if before is None:
        return Slicing(by, str(s.get("rules", "open")), s.get("ordered") is True)
    return Slicing(by or before.by, str(s.get("rules", before.rules)), s.get("ordered", before.ordered) is True)
