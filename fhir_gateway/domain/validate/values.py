"""The checks of values: primitives, codes against their value sets, references, identifiers, attachments, narrative.

Each is a `Handler` (`run`), or makes one for an element; `plans` puts them where they belong. Extensions: `extensions`.
"""

from __future__ import annotations

import re
from typing import Any

from .. import narrative, primitives
from ..r4 import Element
from ..rule_shapes import Rule
from .run import Handler, Node, Path, Plan, Run, kind_of, listed

WHITE = frozenset(" \t\r\n")
CODED = ("code", "Coding", "CodeableConcept", "Quantity", "string", "uri")
RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
BCP47 = "urn:ietf:bcp:47"
LANGUAGES = "http://hl7.org/fhir/ValueSet/all-languages"
# Value sets that the package cannot list: their codes are known by their form.
FORMS = {LANGUAGES: primitives.is_language, "http://hl7.org/fhir/ValueSet/currencies": primitives.is_currency}


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


def value_of(name: str, inner: Handler) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        inner(value, (path, name, -1), run)

    return handler


def many(name: str, e: Element, inner: Handler) -> Handler:
    most = e.max

    def handler(value: Any, path: Path, run: Run) -> None:
        if type(value) is not list:
            run.add("structure", (path, name, -1), f"`{name}` must be an array, not {kind_of(value)}.")
            return
        if not value:
            run.add("structure", (path, name, -1), f"`{name}` is empty; leave it out instead.")
        if most and len(value) > most:
            run.add("structure", (path, name, -1), f"`{name}` may hold at most {most}.")
        for i, item in enumerate(value):
            if item is not None:  # the reader has seen to it that `_name` holds its place
                inner(item, (path, name, i), run)

    return handler


def twin_of(name: str, plan: Plan) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        run.walk(value, (path, "_" + name, -1), plan)

    return handler


def twins_of(name: str, plan: Plan) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        if type(value) is not list:
            run.add("structure", (path, "_" + name, -1), f"`_{name}` must be an array, not {kind_of(value)}.")
            return
        for i, item in enumerate(value):
            if item is not None:
                run.walk(item, (path, "_" + name, i), plan)

    return handler


def primitive(kind: str, name: str, bound: Bound | None) -> Handler:
    wrong = primitives.wrong(kind)
    watch = kind in ("uri", "url", "canonical")

    def handler(value: Any, path: Path, run: Run) -> None:
        said = wrong(value)
        if said:
            run.add("structure" if said.startswith("must be") else "value", path, f"`{name}` {said}." if said[0] != "`" else said + ".")
        elif bound is not None and not bound.has_code(value):
            run.add("code-invalid", path, f"`{value[:64]}` is not a code that {name} may have ({short(bound.url)}).")
        elif watch and value[:1] == "#":
            run.refer(value)

    return handler


def short(url: str) -> str:
    return url.rpartition("/")[2]


def xhtml(value: Any, path: Path, run: Run) -> None:
    if type(value) is not str:
        run.add("structure", path, f"`div` must be a string, not {kind_of(value)}.")
        return
    for said in narrative.wrong(value, run.has_id):
        run.add("invalid", path, said, "txt-1")


def inner_resource(name: str) -> Handler:
    def handler(value: Any, path: Path, run: Run) -> None:
        if name == "contained":
            run.contained(value, path)
        else:
            before, run.inside = run.inside, "entry"
            run.resource(value, path)
            run.inside = before

    return handler


def reference(targets: tuple[str, ...]) -> Handler:
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
            run.add("structure", path, f"This may refer to {listed(targets)}, not to a `{said[:64]}`.", "target")
        elif type(said) is str and type(to) is str and (m := RELATIVE.fullmatch(to)) and said.rpartition("/")[2] != m[1]:
            run.add("structure", path, f"`{to[:80]}` is no `{said[:64]}`, as its `type` says.", "target")

    return handler


def bound_to(kind: str, bound: Bound) -> Handler:
    def handler(value: Node, path: Path, run: Run) -> None:
        if kind == "CodeableConcept":
            some = value.get("coding")
            codings = [c for c in some if type(c) is dict] if type(some) is list else []
        else:
            codings = [value]
        if bound.sets is None:
            codings = [c for c in codings if "code" in c and c.get("system", BCP47) == BCP47]
        if not any(bound.has(c) for c in codings) and (codings or bound.must):
            run.add("code-invalid", path, f"`{path[1]}` needs a code of {short(bound.url)}.")

    return handler


def ruled(rules: list[tuple[str, Rule, str]]) -> Handler:
    def handler(value: Node, path: Path, run: Run) -> None:
        for key, rule, words in rules:
            run.rule(value, path, key, rule, words)

    return handler


def both(first: Handler, second: Handler) -> Handler:
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


def absolute_system(value: Node, path: Path, run: Run) -> None:
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


def simple(value: Node, path: Path, run: Run) -> None:
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
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"), absolute_system),
}  # fmt: skip
