"""What R4's invariants are made of: how a node is read, the shapes that most rules have, and the rules that have a body of their own.

`invariants` is the table of them. Nodes may be malformed in other ways: what a rule cannot read is not its business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from . import units
from .primitives import span, whole

Node = dict[str, Any]
Rule = Callable[[Node], bool]
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"
MOST = re.compile(r"\*|\d{1,9}")
BINDABLE = ("code", "Coding", "CodeableConcept", "Quantity", "string", "uri")
SYSTEM_TYPE = re.compile(r"^http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+$")
PLAIN_NAME, DOTTED_NAME = re.compile("^[a-zA-Z0-9]+$"), re.compile(r"^[a-zA-Z0-9.]+$")


# -- reading a node ---------------------------------------------------------------------------------------------------


def has(node: Node, name: str) -> bool:
    """Whether the element is there, with a value or with extensions only."""
    return name in node or "_" + name in node


def has_choice(node: Node, name: str) -> bool:
    """Whether `name[x]` is there, in whatever type."""
    size = len(name)
    for k in node:  # noqa: SIM110 - a third of the time of any()
        if name in k and (bare := k.lstrip("_")).startswith(name) and bare[size : size + 1].isupper():
            return True
    return False


def choice(node: Node, name: str) -> Any:
    size = len(name)
    return next((v for k, v in node.items() if k.startswith(name) and k[size : size + 1].isupper()), None)


def each(node: Any, name: str) -> list[Any]:
    """The objects of a repeating (or single) element."""
    value = node.get(name) if type(node) is dict else None
    items = value if type(value) is list else [value]
    return [v for v in items if type(v) is dict]


def coded(node: Node, name: str, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept element has one of these codes."""
    return any(
        c.get("system") == system and c.get("code") in codes for concept in each(node, name) for c in each(concept, "coding")
    )


def number(value: Any) -> Decimal | None:
    return Decimal(str(value)) if type(value) in (int, float, Decimal) else None


def distinct(values: list[Any]) -> bool:
    return len(values) == len(set(map(repr, values)))


def below(node: Any) -> Iterator[Node]:
    """Every object at any depth under this one."""
    for value in node.values() if type(node) is dict else node:
        if type(value) is dict:
            yield value
            yield from below(value)
        elif type(value) is list:
            yield from below(value)
    return


# -- the shapes most rules have ---------------------------------------------------------------------------------------


def one_of(*names: str) -> Rule:
    """At least one is there. `name[x]` for a choice."""
    tests = [(n[:-3], has_choice) if n.endswith("[x]") else (n, has) for n in names]
    return lambda node: any(test(node, n) for n, test in tests)


def never_both(a: str, b: str) -> Rule:
    return lambda node: not (one_of(a)(node) and one_of(b)(node))


def just_one(*names: str) -> Rule:
    tests = [one_of(n) for n in names]
    return lambda node: sum(test(node) for test in tests) == 1


def needs(a: str, b: str) -> Rule:
    """When `a` is there, `b` is too."""
    return lambda node: not one_of(a)(node) or one_of(b)(node)


def unless(a: str, values: tuple[Any, ...], *gone: str) -> Rule:
    """Unless `a` has one of these values, none of `gone` is there."""
    return lambda node: node.get(a) in values or not any(one_of(g)(node) for g in gone)


def when(a: str, value: Any, *there: str) -> Rule:
    """When `a` has this value, all of `there` are there."""
    return lambda node: node.get(a) != value or all(one_of(t)(node) for t in there)


def never_when(a: str, value: Any, *gone: str) -> Rule:
    return lambda node: node.get(a) != value or not any(one_of(g)(node) for g in gone)


# -- rules with a body ------------------------------------------------------------------------------------------------


def in_order(node: Node, start: str, end: str) -> bool:
    first, last = node.get(start), node.get(end)
    if type(first) is not str or type(last) is not str:
        return True
    a, b = span(first), span(last)
    if a is None or b is None:
        return True
    if ("T" in first) == ("T" in last) and ("T" in first or len(first) == len(last)):
        return a[0] <= b[0]
    return a[1] < b[0]  # of different precision: FHIRPath cannot tell where they overlap, and what it cannot tell does not hold


def measured(node: Node) -> bool:
    """age-1 and its kind: a value has a code, the system is UCUM."""
    return (has(node, "code") or not has(node, "value")) and node.get("system", UCUM) == UCUM


def positive(node: Node) -> bool:
    value = number(node.get("value"))
    return value is None or value > 0


def whole_count(node: Node) -> bool:
    value = number(node.get("value"))
    whole = value is None or "." not in str(node["value"])
    return measured(node) and node.get("code", "1") == "1" and whole


def both_or_none(node: Node) -> bool:
    both = has(node, "numerator") == has(node, "denominator")
    return both and (has(node, "numerator") or "extension" in node)


def low_to_high(node: Node) -> bool:
    """rng-2; without codes the units must be written alike to be compared."""
    low, high = node.get("low"), node.get("high")
    if type(low) is not dict or type(high) is not dict:
        return True
    a, b = number(low.get("value")), number(high.get("value"))
    if a is None or b is None:
        return True
    if "code" not in low and "code" not in high:
        return low.get("unit") == high.get("unit") and a <= b
    return units.compare(low, high) != 1


def resolved(node: Node) -> bool:
    over = f"{HL7}/condition-clinical"
    return not has_choice(node, "abatement") or coded(node, "clinicalStatus", over, "resolved", "remission", "inactive")


def observed_once(node: Node) -> bool:
    """obs-7"""
    if not has_choice(node, "value"):
        return True
    own = {(c.get("system"), c.get("code")) for c in each(node.get("code"), "coding")}
    parts = [c for part in each(node, "component") for c in each(part.get("code"), "coding")]
    return all((c.get("system"), c.get("code")) not in own for c in parts)


def percent(node: Node) -> bool:
    value = number(node.get("probabilityDecimal"))
    return value is None or value <= 100


def percents(node: Node) -> bool:
    return all(s.get("code") == "%" and s.get("system") == UCUM for s in (*each(node, "low"), *each(node, "high")))


def offset(node: Node) -> bool:
    times = node.get("when") or []
    return not has(node, "offset") or (bool(times) and not {"C", "CM", "CD", "CV"} & set(times))


def not_negative(name: str) -> Rule:
    def check(node: Node) -> bool:
        value = number(node.get(name))
        return value is None or value >= 0

    return check


def trigger(node: Node) -> bool:
    kind = str(node.get("type"))
    return (
        (kind != "named-event" or has(node, "name"))
        and (kind != "periodic" or has_choice(node, "timing"))
        and (not kind.startswith("data-") or has(node, "data"))
    )


def parameter(node: Node) -> bool:
    value, resource = has_choice(node, "value"), "resource" in node
    return not (value or resource) if "part" in node else value != resource


def group_has_items(node: Node) -> bool:
    kind = node.get("type")
    return (kind != "group" or "item" in node) and (kind != "display" or "item" not in node)


CHOOSING = ("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity")
LENGTHY = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")


def link_ids(node: Node) -> bool:
    return distinct([n["linkId"] for n in below(node) if "linkId" in n and not has(n, "question")])


def retired(node: Node) -> bool:
    return node.get("status") in ("proposed", "cancelled", "waitlist") or (has(node, "start") and has(node, "end"))


def all_have(node: Node, name: str, *wanted: str) -> bool:
    return all(has(part, w) for part in each(node, name) for w in wanted)


def all_elements(node: Node) -> list[Node]:
    return [e for part in ("snapshot", "differential") for view in each(node, part) for e in each(view, "element")]


def unique(name: str, *keys: str) -> Rule:
    return lambda node: distinct([tuple(str(part.get(k)) for k in keys) for part in each(node, name)])


def first_path(view: str) -> Rule:
    def check(node: Node) -> bool:
        paths = [str(e.get("path")) for part in each(node, view) for e in each(part, "element")]
        return node.get("kind") == "logical" or not paths or paths[0] == node.get("type")

    return check


def below_the_first(node: Node) -> bool:
    """sdf-8, sdf-8a: every path begins with the first one's root."""
    paths = [str(e.get("path")) for e in each(node, "element")]
    return not paths or all(p.startswith(paths[0].partition(".")[0] + ".") for p in paths[1:])


def codes_once(node: Node) -> bool:
    codes = [c["code"] for c in concepts(node) if type(c.get("code")) is str]
    return len(codes) == len(set(codes))


def concepts(node: Node) -> Iterator[Node]:
    for c in each(node, "concept"):
        yield c
        yield from concepts(c)


def least_most(node: Node) -> bool:
    low, high = node.get("min"), node.get("max")
    return type(low) is not int or type(high) is not str or (most := whole(high)) is None or low <= most


def one_action(node: Node) -> bool:
    """tst-7, 8, 9"""
    named = sum(has(node, n) for n in ("targetId", "url", "params"))
    kind = node.get("type")
    free = type(kind) is dict and kind.get("code") in ("capabilities", "search", "transaction", "history")
    return has(node, "sourceId") or named == 1 or free


ASSERTED = (
    "contentType", "expression", "headerField", "minimumId", "navigationLinks", "path", "requestMethod", "resource", "responseCode",
    "response", "validateProfileId",
)  # fmt: skip


def one_assertion(node: Node) -> bool:
    """tst-5, 6"""
    return "extension" in node or sum(has(node, n) for n in ASSERTED) <= 1


def compared(node: Node) -> bool:
    """tst-10, 11"""
    return has(node, "compareToSourceId") == (has(node, "compareToSourceExpression") or has(node, "compareToSourcePath"))


def directed(node: Node) -> bool:
    """tst-12, 13"""
    said = has(node, "response") or has(node, "responseCode")
    return not has(node, "direction") or node.get("direction") == "response" or not said


def refers_only(node: Node) -> bool:
    """eld-5"""
    return not has(node, "contentReference") or not one_of(
        "type", "defaultValue[x]", "fixed[x]", "pattern[x]", "example", "minValue[x]", "maxValue[x]", "maxLength", "binding"
    )(node)


def bindable(node: Node) -> bool:
    """eld-11"""
    codes = {t["code"] for t in each(node, "type") if "code" in t}
    return not has(node, "binding") or not codes or not codes.isdisjoint(BINDABLE)


def matches(name: str, pattern: str) -> Rule:
    """As FHIRPath has it: anywhere in the text, unless the pattern says where."""
    find = re.compile(pattern).search
    return lambda node: type(node.get(name)) is not str or find(node[name]) is not None


def elements_in(node: Node, view: str) -> list[Node]:
    return [e for part in each(node, view) for e in each(part, "element")]


def root_elements(elements: list[Node]) -> list[Node]:
    return [e for e in elements if "." not in str(e.get("path"))]


def untyped_root(view: str) -> Rule:
    """sdf-15, sdf-15a"""

    def check(node: Node) -> bool:
        first = elements_in(node, view)[:1]
        return node.get("kind") == "logical" or not root_elements(first) or not has(first[0], "type")

    return check


def own_ids(view: str) -> Rule:
    """sdf-16, sdf-17"""

    def check(node: Node) -> bool:
        ids = [e.get("id") for e in elements_in(node, view)]
        return None not in ids and distinct(ids)

    return check


def from_hl7(node: Node) -> bool:
    return str(node.get("url", "")).startswith("http://hl7.org/fhir/StructureDefinition")


def plain_types(node: Node) -> bool:
    """sdf-19"""
    if not from_hl7(node):
        return True
    given = [(t["code"], view) for view in ("differential", "snapshot") for e in elements_in(node, view) for t in each(e, "type") if "code" in t]
    return all(SYSTEM_TYPE.search(code) or (PLAIN_NAME if view == "differential" else DOTTED_NAME).search(code) for code, view in given)


def no_defaults(node: Node) -> bool:
    """sdf-22"""
    return not from_hl7(node) or not any(has_choice(e, "defaultValue") for e in all_elements(node))


def in_groups(node: Node) -> bool:
    """ig-1"""
    known = {g.get("id") for g in each(node, "grouping")}
    return all(r["groupingId"] in known for r in each(node, "resource") if "groupingId" in r)


def of_its_versions(node: Node) -> bool:
    """ig-2"""
    known = set(node.get("fhirVersion") or ())
    return all(v in known for d in each(node, "definition") for r in each(d, "resource") for v in r.get("fhirVersion", ()))
