"""The official R4 4.0.1 definitions as tables: types, elements, search parameters, compartments, codes.

Built from the bytes of `profiles/r4/` (see its README for their shape); each type, parameter list and code system is decoded
when first asked for. `fhir_gateway.definitions.load_r4()` gives the one that comes with the gateway. https://hl7.org/fhir/R4/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
PRIMITIVE, COMPLEX, RESOURCE = "primitive-type", "complex-type", "resource"


class Element(msgspec.Struct, frozen=True):
    """One element of a type. `max` 0 means any number. `ref` names the element whose content this one repeats."""

    types: tuple[str, ...] = ()
    min: int = 0
    max: int = 1
    targets: tuple[str, ...] = ()  # resource types a Reference or canonical may point to; () = any
    bind: tuple[tuple[str, str], ...] = ()  # (required | extensible | preferred | example | max, value set)
    ref: str = ""
    simple: bool = False  # its Quantity is a SimpleQuantity, which has no comparator
    modifier: bool = False
    summary: bool = False

    @property
    def many(self) -> bool:
        return self.max != 1


class Type(msgspec.Struct, frozen=True):
    """A resource or data type. `elements` are keyed by their path below the type: `activity.detail.status`, `start[x]`."""

    kind: str
    base: str = ""
    abstract: bool = False
    regex: str = ""  # primitives
    elements: dict[str, Element] = {}
    rules: dict[str, tuple[tuple[str, str, str], ...]] = {}  # path -> (key, words, FHIRPath expression)

    def children(self, path: str = "") -> Iterator[tuple[str, Element]]:
        """The elements directly below `path`, by name, in the order of the definition."""
        below = path + "." if path else ""
        for name, element in self.elements.items():
            rest = name[len(below) :]
            if name.startswith(below) and rest and "." not in rest:
                yield rest, element


class Component(msgspec.Struct, frozen=True):
    """One half of a composite parameter; `expression` starts where the composite's ends."""

    code: str
    type: str
    expression: str


class Parameter(msgspec.Struct, frozen=True):
    """One search parameter of one type. `expression` "" means it has none: it cannot be searched from the content."""

    code: str
    type: str  # token string reference date quantity number uri composite special
    url: str = ""
    expression: str = ""
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    comparator: tuple[str, ...] = ()
    modifier: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()


# Search parameters of our own, by type: what people ask for that R4 has none for.
OWN_PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "CarePlan": (
        Parameter("title", "string", "https://fhir-gateway.example/SearchParameter/CarePlan-title", "CarePlan.title", modifier=("missing", "exact", "contains")),
        Parameter("review", "date", "https://fhir-gateway.example/SearchParameter/CarePlan-review",
                  "CarePlan.extension('https://fhir-gateway.example/StructureDefinition/plan-review').extension('next')", modifier=("missing",)),
    ),
}


class CodeSystem(msgspec.Struct, frozen=True):
    """Every code of a complete code system; `parents` are its is-a edges when it has a hierarchy."""

    codes: frozenset[str]
    parents: dict[str, tuple[str, ...]] = {}
    any_case: bool = False


class Known(msgspec.Struct, frozen=True):
    """What an R4 extension, or a part of one, may hold; `types` () means no value of its own."""

    types: tuple[str, ...] = ()
    contexts: tuple[tuple[str, str], ...] = ()  # (element | extension | fhirpath, expression)
    modifier: bool = False
    targets: tuple[str, ...] = ()
    bind: tuple[tuple[str, str], ...] = ()
    required: bool = False  # the value
    min: int = 0
    max: int = 1
    parts: dict[str, Known] = {}


class R4:
    """`R4(structures=..., search=..., codes=..., extensions=..., profiles=...)`: each the bytes of the file of that name."""

    def __init__(
        self, *, structures: bytes, search: bytes, codes: bytes, extensions: bytes, profiles: bytes = b'{"profiles":{}}'
    ) -> None:
        self._types: _Lazy[Type] = _Lazy(structures, "types", Type)
        self._extensions: _Lazy[Known] = _Lazy(extensions, "extensions", Known)
        self._profiles: _Lazy[dict[str, Any]] = _Lazy(profiles, "profiles", dict[str, Any])
        self._systems: _Lazy[CodeSystem] = _Lazy(codes, "systems", CodeSystem)
        self._sets: _Lazy[dict[str, str | frozenset[str]]] = _Lazy(codes, "sets", dict[str, str | frozenset[str]])
        self._parameters: _Lazy[tuple[Parameter, ...]] = _Lazy(search, "parameters", tuple[Parameter, ...])
        self._compartments: _Lazy[dict[str, tuple[str, ...]]] = _Lazy(search, "compartments", dict[str, tuple[str, ...]])
        self._searched: dict[str, dict[str, Parameter]] = {}
        self._by_url: dict[str, tuple[str, frozenset[str]]] = {}
        self._members: dict[str, Mapping[str, frozenset[str]] | None] = {}
        self._compiled: dict[Any, Any] = {}  # closures that `validate` makes from these tables, kept with them
        self.types: tuple[str, ...] = tuple(
            n for n, raw in self._types.raw.items() if b'"resource"' in bytes(raw)[:24] and not self._types[n].abstract
        )
        self._resources = frozenset(self.types)

    # -- types and elements

    def has_type(self, name: str) -> bool:
        """Whether R4 has a resource type of this name that can be instantiated."""
        return name in self._resources

    def type(self, name: str) -> Type:
        """A resource or data type. KeyError when R4 has none of that name."""
        return self._types[name]

    def knows(self, name: str) -> bool:
        """Whether R4 has any type of this name: resource, data type or primitive."""
        return name in self._types.raw

    @property
    def every_type(self) -> tuple[str, ...]:
        """Every name that `knows` knows."""
        return tuple(self._types.raw)

    def is_primitive(self, name: str) -> bool:
        return name in self._types.raw and self._types[name].kind == PRIMITIVE

    def element(self, path: str) -> Element | None:
        """The element at `CarePlan.activity.detail.status`, `CarePlan.period.start`, `Goal.startDate`, `Goal.start`, `Goal.start[x]`;
        indexes (`CarePlan.goal[0]`) are ignored. None when R4 has no such element."""
        name, *steps = re.sub(r"\[\d+\]", "", path).split(".")
        if not steps or not self.knows(name):
            return None
        owner, below = name, ""
        found: Element | None = None
        for step in steps:
            if found is not None:
                into = self.into(owner, below, found)
                if into is None:
                    return None
                owner, below = into
            hit = self.step(owner, below, step)
            if hit is None:
                return None
            below, found = hit
        return found

    def names_of(self, type: str, steps: Sequence[str]) -> set[str]:
        """Every name by which the element at `steps` below `type` may be called: its paths, its types and what they are made from.

        `("Patient", ["name"])` is `Patient.name`, `HumanName` and `Element`; of a type itself its own name and its bases'.
        """
        owner, below, kind, path = type, "", type, type
        found = {type}
        for step in steps:
            hit = self.step(owner, below, step) if self.knows(owner) else None
            if hit is None:
                return found | {"Element"}
            below, e = hit
            path = f"{path}.{step}"
            plain = f"{owner}.{below}"
            found = {path, plain, plain.removesuffix("[x]")}
            kind = e.types[0] if e.types else "BackboneElement"
            into = self.into(owner, below, e)
            if into is None:
                break
            owner, below = into
            if e.ref:
                found.add(e.ref)
        while kind and self.knows(kind):
            found.add(kind)
            kind = self._types[kind].base
        return found | {"Element"}  # R4 says Element where it means anywhere, resources included

    def path_exists(self, type: str, path: str) -> bool:
        """Whether `path` (with or without the type's own name before it) is an element of `type`."""
        return self.element(path if path.split(".")[0] == type else f"{type}.{path}") is not None

    def summary(self, type: str) -> frozenset[str]:
        """The top-level elements that `_summary=true` keeps; choices by the names they have in JSON."""
        return frozenset(n for name, e in self.type(type).children() if e.summary for n in names(name, e))

    def step(self, owner: str, below: str, step: str) -> tuple[str, Element] | None:
        """(path below `owner`, element) of the child called `step`, also `valueString` of a choice; None when there is none."""
        elements = self._types[owner].elements
        prefix = below + "." if below else ""
        for name in (step, step + "[x]"):
            if (e := elements.get(prefix + name)) is not None:
                return prefix + name, e
        for name, e in self._types[owner].children(below):
            if name.endswith("[x]") and step.startswith(name[:-3]):
                for t in e.types:
                    if step == name[:-3] + t[:1].upper() + t[1:]:
                        return prefix + name, msgspec.structs.replace(e, types=(t,))
        return None

    def into(self, owner: str, below: str, e: Element) -> tuple[str, str] | None:
        """(type, path below it) where the children of this element are defined; None for a choice of several types."""
        if e.ref:
            holder, _, path = e.ref.partition(".")
            return holder, path
        if e.types[0] in ("BackboneElement", "Element") and any(self._types[owner].children(below)):
            return owner, below
        if e.types[0] == "Resource":
            return "Resource", ""
        return (e.types[0], "") if len(e.types) == 1 and self.knows(e.types[0]) else None

    # -- search

    def search_parameters(self, type: str) -> Mapping[str, Parameter]:
        """code -> parameter: the type's own, then those of DomainResource and Resource. Empty for a name R4 does not have."""
        found = self._searched.get(type)
        if found is None:
            found = {}
            for base in (type, "DomainResource", "Resource"):
                if base in self._parameters.raw and self.has_type(type):
                    for p in (*self._parameters[base], *OWN_PARAMETERS.get(base, ())):
                        found.setdefault(p.code, p)
            self._searched[type] = found
        return found

    def search_parameter_at(self, url: str) -> tuple[str, frozenset[str]] | None:
        """(type, the types it is for) of the search parameter with this address; None when R4 has none."""
        if not self._by_url:
            bases: dict[str, tuple[str, set[str]]] = {}
            for base in self._parameters.raw:
                for p in self._parameters[base]:
                    bases.setdefault(p.url, (p.type, set()))[1].add(base)
            self._by_url = {u: (kind, frozenset(some)) for u, (kind, some) in bases.items()}
        return self._by_url.get(url)

    @property
    def compartments(self) -> tuple[str, ...]:
        """The types that have a compartment: Device, Encounter, Patient, Practitioner, RelatedPerson."""
        return tuple(self._compartments.raw)

    def compartment_params(self, compartment: str, type: str) -> tuple[str, ...]:
        """The search parameters that put a resource of `type` into the compartment of a resource of type `compartment`.

        () when they never do, and for a name that has no compartment. The resource itself is in its own compartment besides.
        https://hl7.org/fhir/R4/compartmentdefinition.html
        """
        return self._compartments[compartment].get(type, ()) if compartment in self._compartments.raw else ()

    # -- codes

    def system(self, url: str) -> CodeSystem | None:
        """A code system that R4 defines in full; None for any other."""
        return self._systems[url] if url in self._systems.raw else None

    def value_set(self, url: str) -> Mapping[str, frozenset[str]] | None:
        """system -> codes of a value set of R4; None when R4 cannot say what is in it."""
        if url not in self._members:
            made: dict[str, frozenset[str]] | None = None
            if url in self._sets.raw:
                made = {}
                for system, codes in self._sets[url].items():
                    made[system] = self._systems[system].codes if isinstance(codes, str) else codes
            self._members[url] = made
        return self._members[url]

    def below(self, system: str, code: str) -> frozenset[str]:
        """`code` and everything that is-a `code`; only `code` where there is no hierarchy here."""
        table = self.system(system)
        found = {code}
        grew = table is not None and bool(table.parents)
        while grew and table is not None:
            more = {c for c, above in table.parents.items() if c not in found and not found.isdisjoint(above)}
            found |= more
            grew = bool(more)
        return frozenset(found)

    def extension(self, url: str) -> Known | None:
        """The definition of an extension that R4 itself publishes."""
        return self._extensions[url] if url in self._extensions.raw else None

    def profile(self, url: str) -> dict[str, Any] | None:
        """A profile that R4 itself publishes (vital signs, SimpleQuantity ...), as a StructureDefinition with its differential."""
        return self._profiles[url] if url in self._profiles.raw else None


def names(name: str, e: Element) -> tuple[str, ...]:
    """The JSON names of an element: one, or one for each type of a choice."""
    if not name.endswith("[x]"):
        return (name,)
    return tuple(name[:-3] + t[:1].upper() + t[1:] for t in e.types)


class _Lazy(Generic[T]):
    """One part of a table, its values decoded one by one when asked for."""

    def __init__(self, table: bytes, part: str, kind: Any) -> None:
        self.raw = _rows(_rows(table)[part])
        self._decode = msgspec.json.Decoder(kind).decode
        self._seen: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._seen:
            self._seen[name] = self._decode(self.raw[name])
        return self._seen[name]


_rows = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
