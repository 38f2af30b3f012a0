"""The tables, compiled: one plan a type, made when the type is first seen; a plan is a dict from JSON name to the check of its value.

The checks are `values` and `extensions`; `run` walks a resource by its plan.
"""

from __future__ import annotations

from typing import Any

from ..invariants import ELSEWHERE, RULES
from ..r4 import R4, Element, names
from ..rule_shapes import Rule
from .extensions import extension
from .run import Handler, Path, Plan, Run
from .values import (
    AFTER,
    CODED,
    FORMS,
    Bound,
    absolute_system,
    both,
    bound_to,
    inner_resource,
    many,
    primitive,
    reference,
    ruled,
    simple,
    twin_of,
    twins_of,
    value_of,
    xhtml,
)  # fmt: skip

BACKBONES = ("BackboneElement", "Element")


def plans_of(r4: R4) -> Plans:
    """Made once for these tables."""
    plans: Plans = r4._compiled.setdefault("plans", Plans(r4))
    return plans


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
            plan.slots[json_name] = many(json_name, e, value) if e.many else value_of(json_name, value)
            if kind and self.r4.is_primitive(kind) and kind != "xhtml":
                twin = self["Element", ""]
                plan.slots["_" + json_name] = twins_of(json_name, twin) if e.many else twin_of(json_name, twin)

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
            return inner_resource(name)
        if kind == "xhtml":
            return xhtml
        if self.r4.is_primitive(kind):
            plain = primitive(kind, name, self._binding(e))
            return both(plain, ruled(rules)) if rules else plain
        nested = self._nested(owner, path, e)
        after: list[Handler] = []
        if not nested and kind == "Reference":
            after.append(reference(e.targets))
        if kind == "Quantity" and e.simple:
            after.append(simple)
        if not nested and (bound := self._binding(e)) is not None and kind in CODED:
            after.append(bound_to(kind, bound))
        if not nested and kind == "Extension":
            after.append(extension)
        if not nested and kind in AFTER:
            after.append(AFTER[kind])
        if not nested and kind == "Coding" and owner != "CodeableConcept" and all(s == "example" or self.r4.value_set(url) is None for s, url in e.bind):
            after.append(absolute_system)
        if rules:
            after.append(ruled(rules))
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
